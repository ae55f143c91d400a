package auth

import (
	"context"
	"encoding/json"
	"fmt"

	"gatehouse/internal/store"
)

// EventName says what happened. Audit rows, and whatever else is told of an
// event, come from this one list.
type EventName string

// The events. Refreshes are not among them: the database grows with users,
// not with requests.
const (
	SignedUp          EventName = "user.signed_up"          // a user was made, by themselves or by an administrator
	Invited           EventName = "user.invited"            // a user was invited, or invited again
	Confirmed         EventName = "user.confirmed"          // an address was proved for the first time; data: by
	SignedIn          EventName = "session.opened"          // data: method
	SignedOut         EventName = "session.ended"           // one for each session; data: reason
	SessionNamed      EventName = "session.named"           // the user has called one so
	ReuseDetected     EventName = "session.reuse"           // an old refresh token came back and its session was ended; data: generation, newest
	RecoveryAsked     EventName = "recovery.requested"      // a way back in was mailed
	CodeAsked         EventName = "code.requested"          // a link or code was mailed; data: kind
	PasswordChanged   EventName = "password.changed"        // all other sessions ended with it
	PasswordSprayed   EventName = "password.sprayed"        // an alarm, once an hour: one wrong password was tried on many accounts; data: accounts
	EmailChangeAsked  EventName = "email.change_requested"  // a user wants another address
	EmailChanged      EventName = "email.changed"           // every address that must has agreed
	PhoneChangeAsked  EventName = "phone.change_requested"  // a user wants another number
	PhoneChanged      EventName = "phone.changed"           // the new number was proved
	IdentityLinked    EventName = "identity.linked"         // an account elsewhere joined a user; data: provider, by
	IdentityUnlinked  EventName = "identity.unlinked"       // data: provider
	IdentityRefused   EventName = "identity.refused"        // at a re-check the provider would not vouch for its account any more; data: provider
	TokensUpdated     EventName = "identity.token_updated"  // what a user's account elsewhere is asked with; data: provider
	CustomAdded       EventName = "custom_provider.added"   // data: provider
	CustomUpdated     EventName = "custom_provider.updated" // data: provider, and what changed
	CustomDeleted     EventName = "custom_provider.deleted" // data: provider
	SSOAdded          EventName = "sso.added"               // data: connection, entity
	SSOUpdated        EventName = "sso.updated"             // data: connection, and what changed
	SSODeleted        EventName = "sso.deleted"             // data: connection, entity
	ChangeUndone      EventName = "change.undone"           // «this was not me»; all sessions ended with it
	SMSBudgetSpent    EventName = "sms.budget_spent"        // an alarm, once a day: no text message goes out any more; data: budget
	UserUpdated       EventName = "user.updated"            // data: the names of what changed, never the values
	UserBannedEvent   EventName = "user.banned"             // all sessions ended with it
	UserDeletedEvent  EventName = "user.deleted"            // all sessions ended with it
	LinkMade          EventName = "link.generated"          // an administrator was handed a link; data: kind
	FirstAdmin        EventName = "setup.completed"         // the first administrator was made by the printed link
	SigningKeyRotated EventName = "key.rotated"             // data: kid
	WebhookAdded      EventName = "webhook.added"           // an administrator has events sent somewhere; data: webhook, events
	WebhookUpdated    EventName = "webhook.updated"         // data: webhook, and what changed
	WebhookDeleted    EventName = "webhook.deleted"         // data: webhook
	WebhookReplayed   EventName = "webhook.replayed"        // data: webhook, and event or how many dead ones
	TenantAdded       EventName = "tenant.added"            // in the default tenant's trail, like the next two; data: tenant, name, hosts, names of settings
	TenantUpdated     EventName = "tenant.updated"          // likewise
	TenantDeleted     EventName = "tenant.deleted"          // data: tenant, name
)

// Events lists every name.
var Events = []EventName{
	SignedUp, Invited, Confirmed, SignedIn, SignedOut, SessionNamed, ReuseDetected, RecoveryAsked, CodeAsked, PasswordChanged, PasswordSprayed,
	EmailChangeAsked, EmailChanged, PhoneChangeAsked, PhoneChanged, IdentityLinked, IdentityUnlinked, IdentityRefused, TokensUpdated, CustomAdded, CustomUpdated, CustomDeleted, SSOAdded, SSOUpdated, SSODeleted, ChangeUndone, SMSBudgetSpent, UserUpdated, UserBannedEvent, UserDeletedEvent, LinkMade, FirstAdmin, SigningKeyRotated, WebhookAdded, WebhookUpdated, WebhookDeleted, WebhookReplayed, TenantAdded, TenantUpdated, TenantDeleted,
}

// emit writes an event in the transaction of what it tells of. Nothing happens
// without an actor: where the caller names none it is the user themselves, or
// somebody of whom nothing is known.
func (s *Service) emit(tx *store.Tx, c Caller, name EventName, user UserID, session SessionID, data map[string]any) error {
	actor := c.Actor
	switch {
	case actor != "":
	case user.IsZero():
		actor = "anonymous"
	default:
		actor = user.String()
	}
	body := []byte("{}")
	if len(data) > 0 {
		var err error
		body, err = json.Marshal(data)
		if err != nil {
			return fmt.Errorf("auth: event %s: %w", name, err)
		}
	}
	return tx.AddEvent(Event{
		Name: string(name), Actor: actor, UserID: user, SessionID: session, IP: c.IP, RequestID: cut(c.RequestID, 128), Data: body,
	})
}

// EventsOf returns the newest events that happened to a user.
func (s *Service) EventsOf(ctx context.Context, c Caller, id UserID, limit int) (list []Event, err error) {
	err = s.db.Read(ctx, s.tenant, func(tx *store.Tx) error {
		list, err = tx.EventsOf(id, limit)
		return err
	})
	return list, err
}
