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
	SignedUp          EventName = "user.signed_up"
	Invited           EventName = "user.invited"
	Confirmed         EventName = "user.confirmed"
	SignedIn          EventName = "session.opened"     // data: method
	SignedOut         EventName = "session.ended"      // data: reason, sessions
	ReuseDetected     EventName = "session.reuse"      // an old refresh token came back
	RecoveryAsked     EventName = "recovery.requested" //
	CodeAsked         EventName = "code.requested"     // data: kind
	PasswordChanged   EventName = "password.changed"   //
	EmailChangeAsked  EventName = "email.change_requested"
	EmailChanged      EventName = "email.changed"
	UserUpdated       EventName = "user.updated" // data: fields
	UserBannedEvent   EventName = "user.banned"
	UserDeletedEvent  EventName = "user.deleted" // data: soft
	LinkMade          EventName = "link.generated"
	FirstAdmin        EventName = "setup.completed"
	SigningKeyRotated EventName = "key.rotated"
)

// Events lists every name.
var Events = []EventName{
	SignedUp, Invited, Confirmed, SignedIn, SignedOut, ReuseDetected, RecoveryAsked, CodeAsked, PasswordChanged,
	EmailChangeAsked, EmailChanged, UserUpdated, UserBannedEvent, UserDeletedEvent, LinkMade, FirstAdmin, SigningKeyRotated,
}

// emit writes an event in the transaction of what it tells of. Nothing happens
// without an actor: where the caller names none it is the user themselves.
func (s *Service) emit(tx *store.Tx, c Caller, name EventName, user UserID, session SessionID, data map[string]any) error {
	actor := c.Actor
	if actor == "" {
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
	err = s.db.Read(ctx, c.Tenant, func(tx *store.Tx) error {
		list, err = tx.EventsOf(id, limit)
		return err
	})
	return list, err
}
