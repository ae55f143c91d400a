// Package auth is the rules of the house: who may become a user, what proves
// that you are one, what you get for it and when it is taken away. Begin with
// Service; each other file holds one thing a person can do (signup.go,
// login.go, refresh.go).
//
// It knows nothing of HTTP, of SQL text, of mail servers or of how any one way
// in works, and it never does slow work inside a transaction.
package auth

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"gatehouse/internal/notify"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
	"gatehouse/internal/token"
)

// The rows and names callers see, so that they need not import the store.
type (
	User       = store.User
	Session    = store.Session
	Identity   = store.Identity
	Event      = store.Event
	UserID     = store.UserID
	SessionID  = store.SessionID
	IdentityID = store.IdentityID
	TenantID   = store.TenantID
)

// Service carries out every operation for one tenant: whose users, keys and
// codes it means is settled when it is made, and no request can say otherwise.
// Its methods may be called from many goroutines.
type Service struct {
	tenant   TenantID
	db       *store.DB
	ring     *ring
	root     *secret.Root
	hasher   *secret.Hasher
	policy   Policy
	methods  map[string]Method
	texts    Texts
	checks   PasswordChecks
	schema   Schema
	hooks    Hooks
	byHook   bool // mail is sent by a hook
	endpoint func(url string, events []string) (field string, err error)
	outside  func(url string) error
	tail     func(time.Duration) string
	readIdP  func(ctx context.Context, xml []byte, url string) (IdPMetadata, error)
	captcha  *Captcha
	undoURL  func(token string) string
	wake     func()
	log      *slog.Logger

	captchaBroken, captchaAway lastTold

	lingering atomic.Int64 // requests that wait for tries beside theirs
}

// Options are what a Service is made of.
type Options struct {
	Tenant  TenantID // the zero value is the default tenant
	DB      *store.DB
	Root    *secret.Root // the tenant's own
	Hasher  *secret.Hasher
	Policy  Policy
	Methods []Method
	Texts   Texts
	Checks  PasswordChecks
	Hooks   Hooks
	// MailByHook: mail is sent by a hook, which is told of a change of address
	// once, with the secrets for both addresses.
	MailByHook bool
	Endpoint   func(url string, events []string) (field string, err error)            // judges where events shall be sent; nil: anywhere
	Outside    func(url string) error                                                 // judges where a custom provider or metadata may be; nil: anywhere by https
	ReadIdP    func(ctx context.Context, xml []byte, url string) (IdPMetadata, error) // reads metadata, or fetches them; nil: no company is connected
	Captcha    *Captcha                                                               // nil: nobody has to solve any
	StateTail  func(life time.Duration) string                                        // ends the state of journeys, where those who come back do not say to whom; nil: nothing
	Schema     Schema                                                                 // of user data; nil: any
	UndoURL    func(token string) string                                              // of the page of «this was not me»; nil: notices have none
	Keys       []token.Key                                                            // brought along by configuration; empty: the house makes its own
	Wake       func()                                                                 // called after a commit that queued a message
	Log        *slog.Logger
}

// Policy is what an operator decides. It is read-only once the Service runs.
type Policy struct {
	SignupDisabled     bool
	EmailDisabled      bool
	MagicLinkDisabled  bool
	PhoneDisabled      bool
	AnonymousDisabled  bool
	LinkingDisabled    bool // users may not add or remove identities by themselves
	CustomDisabled     bool // administrators add no providers, and those there are sign nobody in
	CustomMost         int  // of them; 0: no limit but a thousand
	SAMLDisabled       bool // companies' own identity providers sign nobody in
	Linking            Linking
	RelayTTL           time.Duration // of a sign-in by a company's identity provider; 0: as of all others
	DropTokens         bool          // what accounts elsewhere are asked with is not kept
	Recheck            time.Duration // how old the word of whoever keeps the account may be that opened a session; 0: any age
	Autoconfirm        bool          // an address counts as proved at sign-up
	PhoneAutoconfirm   bool          // likewise a number, also at a change
	UnverifiedSignIn   bool          // a password opens the account of an address nobody has proved
	SecureEmailChange  bool          // both addresses must agree to a change
	StrictPKCE         bool          // a link asked for with PKCE signs in nowhere but where it was asked for
	Reveal             Reveal
	Audience           string
	DefaultRole        string
	AdminRole          string   // a user of this role may use the admin operations
	AdminRoles         []string // a token of such a role may, without being a user
	OperatorToken      string   // empty: there is none
	Issuer             string
	AccessTTL          time.Duration
	SessionTimebox     time.Duration // 0: sessions have no end
	SessionInactivity  time.Duration // 0: no limit
	SessionsPerUser    int           // living ones; one more ends the oldest; 0: no limit
	SingleSession      bool          // a sign-in ends all others
	LowAAL             time.Duration // how long a user with a second factor may go without it; 0: no limit
	ReuseGrace         time.Duration // how long a traded refresh token still gets its successor
	CodeDigits         int
	CodeTTL            time.Duration
	LinkTTL            time.Duration
	InviteTTL          time.Duration
	ConfirmationTTL    time.Duration // of a link that confirms a sign-up; 0: LinkTTL
	RecoveryTTL        time.Duration // 0: LinkTTL
	FlowTTL            time.Duration // of the code that PKCE trades for tokens
	MailEvery          time.Duration // at most one mail of a kind to an address in this time
	MailsPerDay        int           // to one address; 0: no limit
	MailRate           Rate          // of all mails people ask for
	MailOnlyTo         []string      // the only addresses that are sent mail; empty: any
	Notices            map[notify.Kind]bool
	SMSDigits          int
	SMSCodeTTL         time.Duration
	SMSEvery           time.Duration // at most one text message to a number in this time
	SMSPerHour         int           // to one number; 0: no limit
	SMSPerDay          int           // likewise
	SMSPerPrefix       int           // to numbers that begin alike, in an hour
	SMSRate            Rate          // of all of them
	SMSBudget          int           // of all of them in a day; its end is an event
	SMSCountries       []string      // ISO 3166-1 alpha-2; empty: any
	MinPassword        int           // characters
	RequiredCharacters []string      // a password holds one character of each set
	ReauthenticatePW   bool          // a change of password by an old session needs a code
	CurrentPW          bool          // a change of password needs the current one
	PasswordFree       int           // wrong passwords of an account that cost no wait; 0: none ever does
	PasswordDelayMax   time.Duration // the longest wait after a wrong one
	KeyOverlap         time.Duration // the next signing key is published so long before it signs
	KeyEvery           time.Duration // the age at which a signing key is followed by the next; 0: none is
	SiteURL            string
}

// What does not depend on the operator.
const (
	codeTries      = 5         // wrong answers to one code
	codeBudget     = time.Hour // for how long a new code inherits them
	reauthAfter    = 24 * time.Hour
	setupTTL       = 30 * time.Minute
	maxMetadata    = 32 << 10 // bytes; it travels in every access token
	maxPassword    = 1024     // bytes
	maxEmail       = 254      // bytes, RFC 5321 §4.5.3.1.3
	refreshPurpose = "refresh token"
)

// New returns a Service. Call Service.LoadKeys before the first request.
func New(o Options) *Service {
	s := &Service{
		tenant: o.Tenant, db: o.DB, root: o.Root, hasher: o.Hasher, policy: o.Policy, wake: o.Wake, log: o.Log,
		texts: o.Texts, checks: o.Checks, schema: o.Schema, hooks: o.Hooks, byHook: o.MailByHook, endpoint: o.Endpoint, outside: o.Outside, tail: o.StateTail, readIdP: o.ReadIdP, captcha: o.Captcha, undoURL: o.UndoURL,
		methods: map[string]Method{}, ring: &ring{configured: o.Keys},
	}
	for _, m := range o.Methods {
		s.methods[m.Name()] = m
	}
	if s.wake == nil {
		s.wake = func() {}
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	return s
}

// Tenant returns whom the Service speaks for.
func (s *Service) Tenant() TenantID { return s.tenant }

// Policy returns what the operator decided.
func (s *Service) Policy() Policy { return s.policy }

// Caller says on whose behalf an operation runs: for limits and for the audit
// trail.
type Caller struct {
	IP             string
	Agent          string
	RequestID      string
	Actor          string // "operator", "cli", …; empty: the user it happens to
	Device         string // what an earlier Grant gave this browser to keep
	AcceptLanguage string // the header, RFC 9110 §12.5.4; at most 512 bytes
	Captcha        string // what the client has solved, as it came along
	Excused        bool   // from captchas
}

// Grant is what a successful sign-in or refresh hands out.
type Grant struct {
	User    User
	Session Session
	Access  string // a JWT; empty: no session yet, the address must be proved first
	Refresh string
	Expires time.Time // of Access
	TTL     time.Duration

	// AuthCode is handed out instead of tokens to a client that asked with a
	// PKCE challenge; it trades it, with the verifier, for the tokens.
	AuthCode string
	// MorePending tells that one of two addresses has agreed to a change.
	MorePending bool
	// ProviderToken and ProviderRefresh are what the account elsewhere is asked
	// with; they are handed out once.
	ProviderToken, ProviderRefresh string
	// WeakPassword lists what is wrong with the right password by today's
	// rules.
	WeakPassword []string

	first bool // an address was proved for the first time
	// Device is for a browser to keep, and to bring as Caller.Device: it shows
	// that the user was there. Empty: nothing new.
	Device string
}

// AMR is one way a user proved themselves, in the wire form of the amr claim.
type AMR struct {
	Method    string `json:"method"`
	Timestamp int64  `json:"timestamp"` // seconds
	Provider  string `json:"provider,omitempty"`
}

// Words that sessions end with, for whoever asks why.
const (
	endedByNewer = "signed in elsewhere"
)

// open starts a session inside tx. It is the only maker of sessions and runs
// the gate itself, so that no way in can forget it.
func (s *Service) open(tx *store.Tx, c Caller, u *User, p Proof) (Session, error) {
	err := s.admit(u, tx.Now)
	if err == nil {
		err = s.provedBy(u, p.Provider)
	}
	if err == nil {
		err = s.newDevice(tx, c, u)
	}
	if err != nil {
		return Session{}, err
	}
	how := AMR{Method: p.AMR, Timestamp: tx.Now.Unix()}
	if !p.Identity.IsZero() {
		how.Provider = strings.TrimPrefix(p.Provider, SSOPrefix) // of a company its connection's id, as Supabase's server has it
	}
	amr, err := json.Marshal([]AMR{how})
	if err != nil {
		return Session{}, fmt.Errorf("auth: amr: %w", err)
	}
	sess := Session{
		ID: store.NewSessionID(), UserID: u.ID, Generation: 1, AAL: 1, AMR: amr,
		IP: c.IP, UserAgent: cut(c.Agent, 255), Device: DeviceName(c.Agent), CreatedAt: tx.Now, RefreshedAt: tx.Now,
		IdentityID: p.Identity,
	}
	if !p.Identity.IsZero() {
		sess.CheckedAt = tx.Now
	}
	if s.policy.SessionTimebox > 0 {
		sess.NotAfter = tx.Now.Add(s.policy.SessionTimebox)
	}
	if s.policy.SingleSession {
		err = s.endOthers(tx, c, u.ID)
	}
	if err == nil {
		err = tx.AddSession(sess)
	}
	if err == nil && s.policy.SessionsPerUser > 0 {
		err = tx.CapSessions(u.ID, s.policy.SessionsPerUser, sess.ID, "too many sessions")
	}
	if err != nil {
		return Session{}, err
	}
	u.LastSignInAt = tx.Now
	err = tx.SetUser(u)
	if err != nil {
		return Session{}, err
	}
	if p.Provider != "" && p.Identity.IsZero() { // link.go has noted the others
		err = tx.SetIdentitySignIn(u.ID, p.Provider)
		for i := range u.Identities {
			if u.Identities[i].Provider == p.Provider {
				u.Identities[i].LastSignInAt, u.Identities[i].UpdatedAt = tx.Now, tx.Now
			}
		}
	}
	if err != nil {
		return Session{}, err
	}
	return sess, s.emit(tx, c, SignedIn, u.ID, sess.ID, map[string]any{"method": p.AMR})
}

// admit is the gate: who may not come in, however well they proved who they
// are. It is asked at every sign-in, every refresh and every use of a session.
func (s *Service) admit(u *User, now time.Time) error {
	if !u.DeletedAt.IsZero() {
		return fail(UserGone)
	}
	if u.BannedUntil.After(now) {
		return fail(UserBanned)
	}
	if !u.EmailVerifiedAt.IsZero() || !u.PhoneVerifiedAt.IsZero() {
		return nil
	}
	switch {
	case u.Email != "" && !s.policy.UnverifiedSignIn:
		return fail(EmailNotConfirmed)
	case u.Email == "" && u.Phone != "":
		return fail(PhoneNotConfirmed)
	}
	return nil
}

// provedBy refuses who comes by an address or number of theirs that nobody has
// proved, though they have proved the other.
func (s *Service) provedBy(u *User, provider string) error {
	switch {
	case provider == "email" && u.EmailVerifiedAt.IsZero() && !s.policy.UnverifiedSignIn:
		return fail(EmailNotConfirmed)
	case provider == "phone" && u.PhoneVerifiedAt.IsZero():
		return fail(PhoneNotConfirmed)
	}
	return nil
}

// alive tells whether a session may still be used, by itself.
func (s *Service) alive(sess *Session, u *User, now time.Time) error {
	if !sess.EndedAt.IsZero() {
		return &Error{Code: SessionGone, Params: map[string]any{"reason": sess.EndReason}}
	}
	low := s.policy.LowAAL
	if low > 0 && u.VerifiedFactors > 0 && sess.AAL < 2 && now.Sub(sess.CreatedAt) > low {
		return fail(SessionExpired)
	}
	if !sess.NotAfter.IsZero() && !now.Before(sess.NotAfter) {
		return fail(SessionExpired)
	}
	idle := s.policy.SessionInactivity
	if idle > 0 && now.Sub(sess.RefreshedAt) > idle {
		return fail(SessionExpired)
	}
	return nil
}

// grant signs the access token; it needs no transaction. method is how its bearer
// came in, for a hook.
//
// Codes: those of hooks.
func (s *Service) grant(ctx context.Context, c Caller, method string, u User, sess Session, generation int64, now time.Time) (*Grant, error) {
	exp := now.Add(s.policy.AccessTTL)
	if !sess.NotAfter.IsZero() && exp.After(sess.NotAfter) {
		exp = sess.NotAfter // who verifies offline knows of no other end
	}
	own := token.Claims{
		Issuer: s.policy.Issuer, Subject: u.ID.String(), Audience: token.Audience(u.Aud),
		ExpiresAt: numeric(exp), IssuedAt: numeric(now),
		Email: u.Email, Phone: u.Phone, Role: u.Role, IsAnonymous: u.IsAnonymous,
		AppMetadata: u.AppMetadata, UserMetadata: u.UserMetadata,
		AAL: fmt.Sprintf("aal%d", sess.AAL), AMR: sess.AMR, SessionID: sess.ID.String(),
	}
	access, err := s.sign(ctx, c, method, &u, own, now)
	if err != nil {
		return nil, fmt.Errorf("auth: access token: %w", err)
	}
	r := token.Refresh{Session: sess.ID, Generation: generation}
	return &Grant{
		User: u, Session: sess, Access: access, Refresh: r.String(s.tenant, s.refreshMAC),
		Expires: exp, TTL: exp.Sub(now),
	}, nil
}

func (s *Service) sign(ctx context.Context, c Caller, method string, u *User, own token.Claims, now time.Time) (string, error) {
	if s.hooks.Claims == nil {
		return s.ring.keys.Sign(own, now)
	}
	claims, err := s.claimsFor(ctx, c, u, own, method)
	if err != nil {
		return "", err
	}
	return s.ring.keys.SignMap(claims, now)
}

// admitted is grant for a session that was opened just now: it ends again if
// there is no token for it.
func (s *Service) admitted(ctx context.Context, c Caller, method string, u User, sess Session) (*Grant, error) {
	g, err := s.grant(ctx, c, method, u, sess, sess.Generation, sess.CreatedAt)
	if err == nil {
		return g, nil
	}
	failed := s.db.Write(context.WithoutCancel(ctx), s.tenant, func(tx *store.Tx) error {
		ended, err := tx.EndSession(sess.ID, "no token could be made")
		if err == nil && ended {
			err = s.ended(tx, c, u.ID, "no token could be made", []SessionID{sess.ID})
		}
		return err
	})
	if failed != nil {
		s.warn(c, "a session without a token could not be ended", "err", failed)
	}
	return nil, err
}

func (s *Service) refreshMAC(parts ...[]byte) [32]byte { return s.root.MAC(refreshPurpose, parts...) }

// ServiceToken signs a token that names no user but a role, such as
// service_role, for servers of the operator.
func (s *Service) ServiceToken(role string, ttl time.Duration) (string, error) {
	now := s.db.Now()
	return s.ring.keys.Sign(token.Claims{
		Issuer: s.policy.Issuer, Role: role, Audience: token.Audience(s.policy.Audience),
		IssuedAt: numeric(now), ExpiresAt: numeric(now.Add(ttl)),
	}, now)
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func cut(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// ParseTenantID reads the 36-character form of a tenant's id.
func ParseTenantID(s string) (TenantID, error) { return store.ParseTenantID(s) }

// ParseUserID reads the 36-character form of a user's id.
func ParseUserID(s string) (UserID, error) { return store.ParseUserID(s) }

// ParseSessionID reads the 36-character form of a session's id.
func ParseSessionID(s string) (SessionID, error) { return store.ParseSessionID(s) }

// ParseIdentityID reads the 36-character form of an identity's id.
func ParseIdentityID(s string) (IdentityID, error) { return store.ParseIdentityID(s) }
