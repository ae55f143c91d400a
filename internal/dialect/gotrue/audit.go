package gotrue

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"gatehouse/internal/auth"
	"gatehouse/internal/web"
)

// action is what an event is called in both families' lists, and its type.
type action struct{ name, kind string }

// actions has every event. Those that neither family has keep a word of their
// own.
var actions = map[auth.EventName]action{
	auth.SignedUp:          {"user_signedup", "team"},
	auth.Invited:           {"user_invited", "team"},
	auth.UserDeletedEvent:  {"user_deleted", "team"},
	auth.SignedIn:          {"login", "account"},
	auth.SignedOut:         {"logout", "account"},
	auth.SessionNamed:      {"session_named", "account"},
	auth.ReuseDetected:     {"token_revoked", "token"},
	auth.SigningKeyRotated: {"signing_key_rotated", "token"},
	auth.Confirmed:         {"user_modified", "user"},
	auth.UserUpdated:       {"user_modified", "user"},
	auth.UserBannedEvent:   {"user_modified", "user"},
	auth.EmailChanged:      {"user_modified", "user"},
	auth.PhoneChanged:      {"user_modified", "user"},
	auth.ChangeUndone:      {"user_modified", "user"},
	auth.FirstAdmin:        {"user_modified", "user"},
	auth.PasswordChanged:   {"user_updated_password", "user"},
	auth.RecoveryAsked:     {"user_recovery_requested", "user"},
	auth.CodeAsked:         {"user_confirmation_requested", "user"},
	auth.EmailChangeAsked:  {"user_confirmation_requested", "user"},
	auth.PhoneChangeAsked:  {"user_confirmation_requested", "user"},
	auth.LinkMade:          {"user_confirmation_requested", "user"},
	auth.IdentityLinked:    {"identity_linked", "user"},
	auth.IdentityUnlinked:  {"identity_unlinked", "user"},
	auth.IdentityRefused:   {"identity_refused", "user"},
	auth.TokensUpdated:     {"identity_token_updated", "user"},
	auth.PasswordSprayed:   {"password_sprayed", "account"},
	auth.SMSBudgetSpent:    {"sms_budget_spent", "account"},
	auth.WebhookAdded:      {"webhook_added", "team"},
	auth.WebhookUpdated:    {"webhook_updated", "team"},
	auth.WebhookDeleted:    {"webhook_deleted", "team"},
	auth.WebhookReplayed:   {"webhook_replayed", "team"},
	auth.CustomAdded:       {"custom_provider_added", "team"},
	auth.CustomUpdated:     {"custom_provider_updated", "team"},
	auth.CustomDeleted:     {"custom_provider_deleted", "team"},
	auth.SSOAdded:          {"sso_provider_added", "team"},
	auth.SSOUpdated:        {"sso_provider_updated", "team"},
	auth.SSODeleted:        {"sso_provider_deleted", "team"},
	auth.TenantAdded:       {"tenant_added", "team"},
	auth.TenantUpdated:     {"tenant_updated", "team"},
	auth.TenantDeleted:     {"tenant_deleted", "team"},
}

// actionOf never leaves an event without a name.
func actionOf(name auth.EventName) action {
	a, ok := actions[name]
	if !ok {
		return action{string(name), "account"}
	}
	return a
}

// auditEntry is an event as both families list it.
type auditEntry struct {
	ID        string       `json:"id"`
	Payload   auditPayload `json:"payload"`
	CreatedAt time.Time    `json:"created_at"`
	IPAddress string       `json:"ip_address"`
}

// auditPayload is Netlify's, with actor_email and timestamp, and Supabase's, with
// actor_username and actor_via_sso.
type auditPayload struct {
	Action        string         `json:"action"`
	ActorID       string         `json:"actor_id"`
	ActorEmail    string         `json:"actor_email"`
	ActorName     string         `json:"actor_name,omitempty"`
	ActorUsername string         `json:"actor_username"`
	ActorViaSSO   bool           `json:"actor_via_sso"`
	LogType       string         `json:"log_type"`
	Timestamp     time.Time      `json:"timestamp"`
	Traits        map[string]any `json:"traits,omitempty"`
}

func auditJSON(h *auth.Happened) auditEntry {
	act := actionOf(auth.EventName(h.Event.Name))
	p := auditPayload{Action: act.name, LogType: act.kind, ActorID: h.Actor, ActorName: h.AuthorName(), Timestamp: h.CreatedAt}
	switch {
	case h.By != "": // an administrator who is no user: the nil UUID, and the role
		p.ActorID, p.ActorUsername = auth.UserID{}.String(), h.By
	case h.Author != nil:
		p.ActorEmail, p.ActorUsername, p.ActorViaSSO = h.Author.Email, h.Author.Email, h.Author.SSO
		if h.Author.Email == "" {
			p.ActorUsername = h.Author.Phone
		}
	}
	traits := map[string]any{}
	_ = json.Unmarshal(h.Data, &traits) // an object, or nothing
	if !h.UserID.IsZero() && h.UserID.String() != h.Actor {
		traits["user_id"] = h.UserID.String()
		if h.Whom != nil && h.Whom.Email != "" {
			traits["user_email"] = h.Whom.Email
		}
		if h.Whom != nil && h.Whom.Phone != "" {
			traits["user_phone"] = h.Whom.Phone
		}
	}
	p.Traits = traits
	return auditEntry{ID: h.ID.String(), Payload: p, CreatedAt: h.CreatedAt, IPAddress: h.IP}
}

// audit handles "GET /admin/audit".
func (a *api) audit(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	q := r.URL.Query()
	page, err := number(q, "page", 1)
	if err != nil {
		return err
	}
	size, err := number(q, "per_page", defaultPage)
	if err != nil {
		return err
	}
	size = min(size, maxPage)
	f, err := trailFilter(q)
	if err != nil {
		return err
	}
	f.Offset, f.Limit = (page-1)*size, size
	list, total, err := a.Auth.Trail(r.Context(), c, f)
	if err != nil {
		return err
	}
	entries := make([]auditEntry, 0, len(list))
	for i := range list {
		entries = append(entries, auditJSON(&list[i]))
	}
	after := ""
	if len(entries) > 0 {
		after = entries[len(entries)-1].ID
	}
	w.Header().Set("X-Total-Count", strconv.Itoa(total))
	w.Header().Set("Link", pageLinks(r.URL, page, size, total, after))
	return web.JSON(w, http.StatusOK, entries)
}

// trailFilter reads query=author:…, action:… or type:…, and the place a Link
// header of this list names.
func trailFilter(q url.Values) (f auth.TrailFilter, err error) {
	if after := q.Get("after"); after != "" {
		f.Before, err = auth.ParseEventID(after)
		if err != nil {
			return f, auth.Invalid("after", "Bad Pagination Parameters: after is not from a Link header of this list")
		}
	}
	query := q.Get("query")
	if query == "" {
		return f, nil
	}
	if len(query) > maxFilter || !utf8.ValidString(query) || strings.ContainsRune(query, 0) {
		return f, auth.Invalid("query", "The query must be text of 256 bytes or less")
	}
	scope, word, found := strings.Cut(query, ":")
	word = strings.ToLower(word)
	switch {
	case !found:
	case scope == "author":
		f.Author = word
		return f, nil
	case scope == "action":
		f.Names = named(func(a action) string { return a.name }, word)
		return f, nil
	case scope == "type":
		f.Names = named(func(a action) string { return a.kind }, word)
		return f, nil
	}
	return f, auth.Invalid("query", "Invalid query scope: write author:, action: or type: and what to look for")
}

// named are the events in whose action or type a word is found.
func named(of func(action) string, word string) []auth.EventName {
	list := []auth.EventName{}
	for _, name := range auth.Events {
		if strings.Contains(of(actionOf(name)), word) {
			list = append(list, name)
		}
	}
	return list
}
