package auth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

// A Journey is a sign-in that leads by somebody else's pages and back. It is kept
// by the browser that set out, sealed, under the name of its state: nobody else
// can bring it to its end (RFC 9700 §4.7), and attempts cost no row.
type Journey struct {
	Method     string    `json:"method"`
	Provider   string    `json:"provider"`
	RedirectTo string    `json:"redirect_to,omitempty"`
	PKCE       PKCE      `json:"pkce,omitzero"`
	Invite     string    `json:"invite,omitempty"`
	Link       UserID    `json:"link,omitzero"`    // whom the account is to join
	Session    SessionID `json:"session,omitzero"` // which must still be alive then
	Netlify    bool      `json:"netlify,omitempty"`
	Verifier   string    `json:"verifier,omitempty"` // ours, for the provider (RFC 7636)
	Nonce      string    `json:"nonce,omitempty"`    // likewise (OIDC Core §3.1.2.1)
	EndsAt     time.Time `json:"ends_at"`
	State      string    `json:"-"`
	scopes     string
	extra      map[string][]string
}

// Scopes are what the client asked for besides the usual; known at the start only.
func (j *Journey) Scopes() string { return j.scopes }

// Extra are the parameters the client wants passed on; known at the start only.
func (j *Journey) Extra() map[string][]string { return j.extra }

// Wish is where somebody wants to go.
type Wish struct {
	Method     string              `json:"method"`   // "social" or "saml"
	Provider   string              `json:"provider"` // its name; of "saml" the id of the connection, or empty
	Domain     string              `json:"domain,omitempty"`
	RedirectTo string              `json:"redirect_to,omitempty"` // checked by the edge
	PKCE       PKCE                `json:"pkce,omitzero"`
	Invite     string              `json:"invite,omitempty"`
	Scopes     string              `json:"scopes,omitempty"`
	Extra      map[string][]string `json:"extra,omitempty"`
	Netlify    bool                `json:"netlify,omitempty"`
	Ticket     string              `json:"-"` // of a user who wants to link: then it says all else
	Solved     bool                `json:"-"` // the caller has to have solved a captcha, where one is asked for
}

// Departure is the way out: the browser keeps Sealed under the name of State and
// goes to URL.
type Departure struct {
	URL    string
	State  string
	Sealed string
	TTL    time.Duration
}

// A Starter is a Method that begins elsewhere.
type Starter interface {
	// Start tells where the browser has to go. The journey has its secrets.
	Start(ctx context.Context, k *Kit, j *Journey) (url string, err error)
}

// A Receiver is a Method whose answers come before the browser can show what it
// kept, because another site posts them.
type Receiver interface {
	Receive(ctx context.Context, k *Kit, in Input) (Account, error)
}

const (
	journeySeal = "journey"
	ticketSeal  = "link ticket"
	receivedTTL = 2 * time.Minute
	ticketTTL   = 2 * time.Minute  // a script goes on at once; a link that is sent around is soon nothing
	journeyTTL  = 10 * time.Minute // at least: people look for their telephones
)

// SetOut begins a sign-in that leads elsewhere.
//
// Codes: ProviderUnknown, ProviderDisabled, ProviderUnavailable, StateFailed,
// ProviderFailed, InviteNotFound, MethodDisabled, SAMLDisabled, SSONotFound,
// SSODisabled, CaptchaFailed, InvalidInput.
func (s *Service) SetOut(ctx context.Context, c Caller, w Wish) (*Departure, error) {
	j := Journey{State: secret.Token() + s.stateTail(), Verifier: secret.Token(), Nonce: secret.Token(), EndsAt: s.db.Now()}
	if w.Solved {
		err := s.human(ctx, c)
		if err != nil {
			return nil, err
		}
	}
	if w.Ticket != "" {
		t, err := s.TicketOf(w.Ticket)
		if err != nil {
			return nil, err
		}
		w, j.Link, j.Session = t.Wish, t.User, t.Session
	}
	m, ok := s.methods[w.Method].(Starter)
	if !ok {
		return nil, fail(MethodDisabled)
	}
	j.Method, j.Provider, j.RedirectTo, j.PKCE, j.Invite, j.Netlify = w.Method, w.Provider, w.RedirectTo, w.PKCE, w.Invite, w.Netlify
	j.scopes, j.extra = w.Scopes, w.Extra
	j.EndsAt = j.EndsAt.Add(s.journeyTTL())
	if j.Method == "saml" && s.policy.RelayTTL > 0 {
		j.EndsAt = s.db.Now().Add(s.policy.RelayTTL)
	}
	k := &Kit{s: s, c: c, domain: w.Domain}
	url, err := m.Start(ctx, k, &j)
	if err != nil {
		return nil, err
	}
	if w.Invite != "" {
		_, err := s.Link(ctx, c, []Kind{KindInvite}, w.Invite)
		if CodeOf(err) == LinkFailed && err != nil {
			err = fail(InviteNotFound)
		}
		if err != nil {
			return nil, err
		}
	}
	body, err := json.Marshal(j)
	if err != nil {
		return nil, fmt.Errorf("auth: journey: %w", err)
	}
	sealed := s.root.Seal(journeySeal, []byte(j.State), body)
	return &Departure{URL: url, State: j.State, Sealed: base64.RawURLEncoding.EncodeToString(sealed), TTL: max(s.journeyTTL(), s.policy.RelayTTL)}, nil
}

// stateTail is what a state ends with that has to tell whose it is.
func (s *Service) stateTail() string {
	if s.tail == nil {
		return ""
	}
	return s.tail(s.journeyTTL())
}

func (s *Service) journeyTTL() time.Duration { return max(s.policy.FlowTTL, journeyTTL) }

// Peek opens a journey without spending it: for where to send a browser that
// comes back with an error.
//
// Codes: StateFailed, RelayExpired.
func (s *Service) Peek(state, sealed string) (*Journey, error) {
	var j Journey
	err := s.unseal(journeySeal, state, sealed, &j)
	late := err == nil && !s.db.Now().Before(j.EndsAt)
	switch {
	case late && j.Method == "saml":
		return nil, fail(RelayExpired)
	case late || err != nil:
		return nil, &Error{Code: StateFailed, Err: err}
	}
	j.State = state
	return &j, nil
}

// Return opens the journey that a browser kept, and spends it: what came back
// once does not come back again.
//
// Codes: StateFailed, RelayExpired.
func (s *Service) Return(ctx context.Context, c Caller, state, sealed string) (*Journey, error) {
	j, err := s.Peek(state, sealed)
	if err != nil {
		return nil, err
	}
	return j, s.once(ctx, "journey", state, j.EndsAt, StateFailed)
}

// once lets something through once until it is good no more, on however many
// nodes.
func (s *Service) once(ctx context.Context, what, value string, until time.Time, code Code) error {
	h := s.root.MAC("spent "+what, []byte(value))
	life := max(until.Sub(s.db.Now()), time.Second)
	var refused error
	err := s.db.Write(ctx, s.tenant, func(tx *store.Tx) (err error) {
		refused, err = refusal(s.within(tx, "spent "+what, h[:], life, 1, code))
		return err
	})
	var e *Error
	if errors.As(refused, &e) {
		e.RetryAfter = 0 // it does not come back
	}
	if err == nil {
		err = refused
	}
	return err
}

func (s *Service) unseal(purpose, aad, sealed string, v any) error {
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	if err == nil {
		raw, err = s.root.Open(purpose, []byte(aad), raw)
	}
	if err == nil {
		err = json.Unmarshal(raw, v)
	}
	return err
}

// Ticket is the wish of somebody signed in to have an account elsewhere join
// theirs. A browser brings it, which sends no access token when it changes pages.
type Ticket struct {
	Wish     Wish      `json:"wish"`
	User     UserID    `json:"user"`
	Session  SessionID `json:"session,omitzero"`
	Email    string    `json:"email,omitempty"` // of the user, for a page to show
	ExpireAt time.Time `json:"expire_at"`
}

// Ticket seals a wish to link, for the browser to bring within two minutes.
//
// Codes: LinkingDisabled, SSOManaged.
func (s *Service) Ticket(_ context.Context, _ Caller, v *Viewer, w Wish) (string, error) {
	switch {
	case s.policy.LinkingDisabled:
		return "", fail(LinkingDisabled)
	case managed(&v.User):
		return "", fail(SSOManaged)
	}
	body, err := json.Marshal(Ticket{Wish: w, User: v.User.ID, Session: v.Session.ID, Email: v.User.Email, ExpireAt: s.db.Now().Add(ticketTTL)})
	if err != nil {
		return "", fmt.Errorf("auth: ticket: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(s.root.Seal(ticketSeal, nil, body)), nil
}

// TicketOf opens a ticket, as often as anybody asks: what it is good for is
// judged when the browser comes back.
//
// Codes: StateFailed.
func (s *Service) TicketOf(ticket string) (*Ticket, error) {
	var t Ticket
	err := s.unseal(ticketSeal, "", ticket, &t)
	if err != nil || !s.db.Now().Before(t.ExpireAt) {
		return nil, &Error{Code: StateFailed, Err: err}
	}
	return &t, nil
}

// Received is an account that was vouched for before the browser could show that
// it was the one to set out.
type Received struct {
	Ticket string // for Input.Token
	State  string // of the journey it belongs to; empty: none
}

// received is what a ticket of Receive holds.
type received struct {
	ID      string    `json:"id"` // by which it is spent: one ticket can be spelled in several ways
	Account Account   `json:"account"`
	State   string    `json:"state,omitempty"`
	EndsAt  time.Time `json:"ends_at"`
}

// Receive judges what another site posted, once, and seals what it says for the
// browser to bring.
//
// Codes: MethodDisabled; those of SAML.
func (s *Service) Receive(ctx context.Context, c Caller, method string, in Input) (*Received, error) {
	m, ok := s.methods[method].(Receiver)
	if !ok {
		return nil, fail(MethodDisabled)
	}
	a, err := m.Receive(ctx, &Kit{s: s, c: c}, in)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(received{ID: secret.Token(), Account: a, State: in.State, EndsAt: s.db.Now().Add(receivedTTL)})
	if err != nil {
		return nil, fmt.Errorf("auth: received: %w", err)
	}
	return &Received{Ticket: base64.RawURLEncoding.EncodeToString(s.root.Seal("received "+method, nil, body)), State: in.State}, nil
}

// Once lets something through once until it is good no more: an assertion, a
// signed message. Others get code.
func (k *Kit) Once(ctx context.Context, what, value string, until time.Time, code Code) error {
	return k.s.once(ctx, what, value, until, code)
}

// Now is the instant by which a Method judges.
func (k *Kit) Now() time.Time { return k.s.db.Now() }

// SSO returns the connection that signs somebody in: by its id, else by the domain
// that was wished for.
//
// Codes: SAMLDisabled, SSONotFound, SSODisabled.
func (k *Kit) SSO(ctx context.Context, id string) (*SSOConnection, error) {
	if id == "" {
		return k.s.SSOByDomain(ctx, k.domain)
	}
	return k.s.SSOToUse(ctx, id)
}

// SSOByEntity returns it by who has sent an assertion.
//
// Codes: SAMLDisabled, IdPNotFound, SSODisabled.
func (k *Kit) SSOByEntity(ctx context.Context, entity string) (*SSOConnection, error) {
	return k.s.SSOByEntity(ctx, entity)
}

// SpeaksFor tells whether a company's word counts about an address: within its own
// domains, and where it has none unless another company has that one (P12: one's
// identity provider must not name another's people).
func (k *Kit) SpeaksFor(ctx context.Context, conn *SSOConnection, email string) (bool, error) {
	domain := domainOf(email)
	if len(conn.Domains) > 0 {
		return slices.Contains(conn.Domains, domain), nil
	}
	free := false
	err := k.s.db.Read(ctx, k.s.tenant, func(tx *store.Tx) error {
		_, err := tx.ConnectionByDomain(domain)
		free = errors.Is(err, store.ErrNotFound)
		return ignoreNotFound(err)
	})
	return free, err
}

// domainOf is the domain of an address as connections have it; empty: it has none.
func domainOf(email string) string {
	domain, _ := cleanDomain(email[strings.LastIndexByte(email, '@')+1:])
	return domain
}

// Received opens the ticket that Receive has sealed. It must be of the journey
// that the browser brings; of one that nobody asked for there is none.
//
// Codes: StateFailed.
func (k *Kit) Received(ctx context.Context, method string, in Input) (Account, error) {
	var r received
	err := k.s.unseal("received "+method, "", in.Token, &r)
	if err != nil || !k.s.db.Now().Before(r.EndsAt) {
		return Account{}, &Error{Code: StateFailed, Err: err}
	}
	if in.Journey == nil && r.State != "" || in.Journey != nil && in.Journey.State != r.State {
		return Account{}, fail(StateFailed) // of another browser
	}
	return r.Account, k.s.once(ctx, "received", r.ID, r.EndsAt, StateFailed)
}

// Derived is a name that follows from a state and that nobody else can make: an
// answer that repeats it was asked for here.
func (k *Kit) Derived(purpose, state string) string {
	h := k.s.root.MAC(purpose, []byte(state))
	return "g" + base64.RawURLEncoding.EncodeToString(h[:20])
}
