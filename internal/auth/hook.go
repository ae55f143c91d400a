package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"gatehouse/internal/store"
	"gatehouse/internal/token"
)

// Hooks are an operator's own services that may veto, add, or want to know.
// Nil: there is none. They are asked outside of every transaction, and whatever
// is not a clear yes of theirs is a no: their errors are *Errors of the codes
// Hook… and Webhook….
type Hooks struct {
	// BeforeUser is asked about a user before they are made. It is asked about one
	// whose address is known already, too, as if they were new: what it takes to
	// answer must not tell.
	BeforeUser func(context.Context, Caller, *User) (Changed, error)
	// Entering is asked before a user comes in: first says that they have proved
	// their address just now, else it is by password or by an account elsewhere.
	Entering func(ctx context.Context, c Caller, u *User, first bool) (Changed, error)
	// Claims may change what an access token says. method is how its bearer
	// came in, or "token_refresh".
	Claims func(ctx context.Context, c Caller, id UserID, claims map[string]any, method string) (map[string]any, error)
	// PasswordTried hears of each password that was compared, also of an address
	// nobody has: then id is made up, and the same each time.
	PasswordTried func(ctx context.Context, c Caller, id UserID, valid bool) (PasswordVerdict, error)
	// Told names who is told of what afterwards, each by a delivery of its own
	// that is repeated until it is heard.
	Told map[HookEvent][]string
}

// Changed is what a hook wants a user's metadata to be; nil leaves them.
type Changed struct {
	AppMetadata, UserMetadata []byte // a JSON object

	asked *User // as the hook was shown them in a rehearsal
}

// PasswordVerdict is what a hook makes of a password that was compared.
type PasswordVerdict struct {
	Reject  bool
	LogOut  bool   // end all sessions of the user
	Message string // for the client, of a rejection
}

// HookEvent is something a hook is told of after it happened.
type HookEvent string

// The events hooks may be told of.
const (
	HookUserCreated  HookEvent = "user.created"
	HookUserModified HookEvent = "user.modified" // by an administrator
	HookUserDeleted  HookEvent = "user.deleted"  // by an administrator
)

// News is a delivery to a hook, as it waits in the outbox.
type News struct {
	Event HookEvent       `json:"event"`
	To    string          `json:"to"`   // one of Hooks.Told
	User  json.RawMessage `json:"user"` // a User
	IP    string          `json:"ip"`
}

// tell queues the news of u for whoever wants to know.
func (s *Service) tell(tx *store.Tx, c Caller, event HookEvent, u *User) error {
	if len(s.hooks.Told[event]) == 0 {
		return nil
	}
	user, err := json.Marshal(u)
	if err != nil {
		return fmt.Errorf("auth: news: %w", err)
	}
	for _, to := range s.hooks.Told[event] {
		body, err := json.Marshal(News{Event: event, To: to, User: user, IP: c.IP})
		if err != nil {
			return fmt.Errorf("auth: news: %w", err)
		}
		id := store.NewDeliveryID()
		err = tx.AddDelivery(store.Delivery{
			ID: id, Kind: store.DeliverHook, Body: s.root.Seal(store.DeliverySeal, id[:], body), ExpiresAt: tx.Now.Add(day),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// draft is a user as they would be made, after a hook was asked about them.
//
// Codes: InvalidInput and those of hooks.
func (s *Service) draft(ctx context.Context, c Caller, to Contact, meta []byte) (User, error) {
	u := s.newUser(to)
	u.IsAnonymous = to == Contact{}
	if meta != nil {
		u.UserMetadata = meta
	}
	if s.hooks.BeforeUser == nil {
		return u, nil
	}
	asked := u
	err := s.nameProviders(&asked) // as it will be
	if err != nil {
		return u, err
	}
	ch, err := s.hooks.BeforeUser(ctx, c, &asked)
	if err == nil {
		err = s.amend(&u, ch)
	}
	return u, err
}

// amend puts what a hook wants in place of a user's metadata. What changed while
// it was asked is not undone by its answer, which was of what was before, such as
// a role that was taken away: then it is ErrMoved.
func (s *Service) amend(u *User, ch Changed) error {
	if was := ch.asked; was != nil && (was.ID != u.ID ||
		ch.AppMetadata != nil && !bytes.Equal(was.AppMetadata, u.AppMetadata) || ch.UserMetadata != nil && !bytes.Equal(was.UserMetadata, u.UserMetadata)) {
		return ErrMoved
	}
	for _, m := range []struct {
		to   *[]byte
		want []byte
	}{{&u.AppMetadata, ch.AppMetadata}, {&u.UserMetadata, ch.UserMetadata}} {
		if m.want == nil {
			continue
		}
		data, err := readMetadata(m.want)
		if err != nil {
			return &Error{Code: HookFailed, Err: fmt.Errorf("auth: metadata of a hook: %w", err)}
		}
		*m.to, err = mergeMetadata([]byte("{}"), data) // also keeps them within their size
		if err != nil {
			return &Error{Code: HookFailed, Err: err}
		}
	}
	return nil
}

// errRehearsed ends the transaction of a rehearsal: nothing of it stays.
var errRehearsed = errors.New("auth: rehearsed")

// rehearse goes through a sign-in without keeping anything, to have the user a
// hook is asked about; then the sign-in is gone through again, with what the
// hook wants changed. A transaction must not wait for a hook, and a code must not
// be spent on a sign-in that a hook refuses. asked tells that the hook said yes.
//
// Codes: those of hooks.
func (s *Service) rehearse(ctx context.Context, c Caller, method string, enter func(*store.Tx, *Grant, Changed) error) (ch Changed, asked bool, err error) {
	if s.hooks.Entering == nil {
		return Changed{}, false, nil
	}
	var g Grant
	err = s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
		g = Grant{}
		err := enter(tx, &g, Changed{})
		if err == nil {
			err = errRehearsed
		}
		return err
	})
	if !errors.Is(err, errRehearsed) {
		_, failed := refusal(err)
		if errors.Is(failed, store.ErrDuplicate) {
			failed = nil
		}
		return Changed{}, false, failed // refused: the real one will be, and counts it
	}
	if !s.watched(method, &g) {
		return Changed{}, false, nil
	}
	shown := g.User
	ch, err = s.hooks.Entering(ctx, c, &g.User, g.first)
	ch.asked = &shown
	return ch, err == nil, err
}

// watched tells whether a hook has to be asked about a sign-in.
func (s *Service) watched(method string, g *Grant) bool {
	return s.hooks.Entering != nil && (g.first || (method == "password" || elsewhere(method)) && !g.MorePending)
}

// elsewhere tells whether a way in is by an account elsewhere.
func elsewhere(method string) bool {
	return method == "social" || method == "saml" || method == "idtoken" || method == "web3"
}

// claimsFor are what an access token says, after a hook had its say.
//
// Codes: those of hooks.
func (s *Service) claimsFor(ctx context.Context, c Caller, u *User, own token.Claims, method string) (map[string]any, error) {
	b, err := json.Marshal(own)
	if err != nil {
		return nil, fmt.Errorf("auth: claims: %w", err)
	}
	var in map[string]any
	err = decodeExact(b, &in)
	if err != nil {
		return nil, err
	}
	out, err := s.hooks.Claims(ctx, c, u.ID, in, method)
	if err != nil {
		return nil, err
	}
	// Whose token it is, and of which session, is not for a hook to say.
	for name, fixed := range map[string]string{"sub": own.Subject, "session_id": own.SessionID} {
		if out[name] != fixed {
			return nil, hookClaims(name + " has changed")
		}
	}
	for name, is := range map[string]func(any) bool{
		"aud": isText, "exp": isNumber, "iat": isNumber, "email": isText, "phone": isText, "role": isText, "aal": isText, "is_anonymous": isBool,
	} {
		if !is(out[name]) {
			return nil, hookClaims(name + " is missing, or of another type")
		}
	}
	return out, nil
}

func hookClaims(problem string) error {
	return &Error{Code: HookFailed, Params: map[string]any{"problem": "output claims do not conform to the expected schema: " + problem}}
}

func isText(v any) bool { _, ok := v.(string); return ok }
func isBool(v any) bool { _, ok := v.(bool); return ok }

func isNumber(v any) bool {
	switch v.(type) {
	case json.Number, float64, int64, int:
		return true
	}
	return false
}

func decodeExact(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return d.Decode(v)
}

// triedPassword lets a hook judge a password that was compared. An address that
// is nobody's has an id that is made up: the time a hook takes must not tell who
// has an account.
//
// Codes: InvalidCredentials, and those of hooks.
func (s *Service) triedPassword(ctx context.Context, c Caller, t Try, valid bool) error {
	if s.hooks.PasswordTried == nil {
		return nil
	}
	id := t.ID
	if id.IsZero() {
		id = store.UserIDOf(s.root.MAC("made-up user of a try", s.tenant[:], t.account))
	}
	v, err := s.hooks.PasswordTried(ctx, c, id, valid)
	if err != nil || !v.Reject {
		return err
	}
	if v.LogOut && !t.ID.IsZero() {
		err = s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
			const why = "a hook refused a password"
			ended, err := tx.EndSessions(t.ID, SessionID{}, why)
			if err == nil {
				err = s.ended(tx, Caller{Actor: "system", IP: c.IP, RequestID: c.RequestID}, t.ID, why, ended)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	e := &Error{Code: InvalidCredentials}
	if v.Message != "" {
		e.Params = map[string]any{"problem": v.Message}
	}
	return e
}
