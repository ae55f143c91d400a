package auth

import (
	"context"
	"errors"
	"log/slog"

	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

// A Method is one way of proving who you are. It judges answers and nothing
// more: users, sessions and tokens are made by the Service once a Method is
// satisfied, so that no Method can skip a limit, a policy or the audit trail.
type Method interface {
	Name() string
	// Finish does the slow part of judging (hashing) and returns the verdict,
	// which runs inside the transaction that opens the session: what it
	// consumes is consumed if, and only if, the sign-in is kept. An unknown
	// user must cost as much as a known one.
	Finish(ctx context.Context, k *Kit, in Input) (Verdict, error)
}

// Verdict decides. ErrDenied, or an *Error, means no, and is committed: a
// wrong guess stays counted. It may run twice.
type Verdict func(*Desk) (Proof, error)

// ErrDenied is how a Verdict says no without saying more.
var ErrDenied = errors.New("auth: denied")

// ErrMoved is how a Verdict says that what it judged by was replaced meanwhile,
// as a password's hash is when two sign-ins renew it at one instant. Nothing is
// kept and the answer is judged once more.
var ErrMoved = errors.New("auth: changed meanwhile")

// Input is what the client sent.
type Input struct {
	Email    string // canonical
	Phone    string // likewise: E.164 digits
	Password string
	Token    string // the long secret of a link, or an authorization code
	Code     string // the short one, to type
	Kinds    []Kind // of question the secret may answer
	Verifier string // PKCE, RFC 7636 §4.1
	Here     bool   // of a link asked for with PKCE: sign in where it was opened

	Journey     *Journey // that comes to its end
	Provider    string   // whose account; of a journey it says so itself
	Issuer      string   // of an answer that names who gives it (RFC 9207)
	AccessToken string   // of the provider, beside an ID token
	Nonce       string   // likewise
	Form        string   // what a provider adds to its answer, unsigned
	State       string   // of what Receive is given
	Flow        Flow     // of a mail that has to go out first
}

// Proof is what a Method found out.
type Proof struct {
	UserID   UserID
	AMR      string     // how, in the words of the amr claim
	Provider string     // the identity it was proved with, if any
	Identity IdentityID // likewise, of an account elsewhere
	First    bool       // an address was proved by it for the first time
	Answered *Question
	Weak     []string // what is wrong with the right password by today's rules
}

// Kit is all a Method may touch outside the transaction.
type Kit struct {
	s *Service
	c Caller

	vouched *vouched
	domain  string
}

// Password returns what a password for that address or number is compared with.
// The try is counted as a wrong one, until Desk.PasswordIs finds it right. For an
// unknown one there is neither user nor hash: check it all the same.
//
// Codes: TooMany.
func (k *Kit) Password(ctx context.Context, in Input) (Try, error) {
	return k.s.tryPassword(ctx, k.c, Contact{Email: in.Email, Phone: in.Phone})
}

// CheckPassword reports whether password made the try's hash, and whether the
// hash should be made anew by today's parameters.
func (k *Kit) CheckPassword(ctx context.Context, t Try, password string) (ok, rehash bool, err error) {
	return k.s.compare(ctx, k.c, t, password)
}

// HashPassword hashes by today's parameters.
func (k *Kit) HashPassword(ctx context.Context, password string) (string, error) {
	return k.s.hashPassword(ctx, k.c, password)
}

// KeptCode has the service that made the code of a text message judge it, where
// there is one. The answer goes to Desk.UseCode.
func (k *Kit) KeptCode(ctx context.Context, in Input) (Kept, error) {
	found, err := k.s.askKeeper(ctx, in.Kinds, in.Phone, in.Code)
	return Kept{found}, err
}

// Trusted tells whether an operator's own server asks.
func (k *Kit) Trusted() bool { return k.c.Actor != "" }

// Kept is what another service said of a code.
type Kept struct{ of *kept }

// WeakPassword returns what is wrong with a password by today's rules.
func (k *Kit) WeakPassword(password string) []string { return k.s.weak(password) }

// Desk is all a Verdict may touch inside the transaction.
type Desk struct {
	s    *Service
	tx   *store.Tx
	c    Caller
	user *User // read along with what a verdict asked for
}

// PasswordIs reports whether the hash of a try that was found right still is the
// user's, and puts next in its place when next is not empty. A password changed
// while the old one was being checked must not let its bearer in.
func (d *Desk) PasswordIs(t Try, next string) (bool, error) {
	id, hash := t.ID, t.Hash
	cred := store.Credential{UserID: id, Kind: "password", Lookup: id[:], Data: []byte(hash)}
	// The user first, who is held by it: whoever changes the password takes them
	// in the same order.
	u, now, err := d.tx.UserPassword(id)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	d.user = &u
	if err == nil && string(now) == hash {
		err = d.s.succeeded(d.tx, t)
	}
	if err != nil || string(now) != hash || next == "" {
		return err == nil && string(now) == hash, err
	}
	return d.tx.SwapCredential(cred, []byte(next))
}

// whose returns the user with that id.
func (d *Desk) whose(id UserID) (User, error) {
	if d.user != nil && d.user.ID == id {
		return *d.user, nil
	}
	return d.tx.User(id)
}

// Linked proves who has the linked account of that name, by the word of who asks.
func (d *Desk) Linked(provider, clientID string) (Proof, error) {
	u, i, err := linkedUser(d.tx, provider, clientID)
	if errors.Is(err, store.ErrNotFound) {
		return Proof{}, ErrDenied
	}
	if err != nil {
		return Proof{}, err
	}
	d.user = &u
	return Proof{UserID: u.ID, AMR: "oauth", Provider: i.Provider, Identity: i.ID}, nil
}

// UseLink consumes the question whose long secret this is, if it is of one of
// the kinds; nil: there is none alive.
func (d *Desk) UseLink(kinds []Kind, link string) (*Question, error) {
	for _, k := range kinds {
		c, err := d.tx.UseToken(d.s.linkHash(k, link))
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return readQuestion(c)
	}
	return nil, nil
}

// UseCode spends a try on the questions of those kinds put to that address or
// number and consumes the one whose short secret this is; nil: none. What is
// spent is spent for an address nobody has, too.
//
// Codes: TooMany, CodeFailed.
func (d *Desk) UseCode(in Input, by Kept) (*Question, error) {
	if by.of != nil {
		return d.useKept(in, by.of)
	}
	to := Contact{Email: in.Email, Phone: in.Phone}
	err := d.s.guess(d.tx, to)
	if err != nil {
		return nil, err
	}
	for _, k := range in.Kinds {
		asked, err := d.tx.AskedAt(string(k), to.String(), maxAsked)
		if err != nil {
			return nil, err
		}
		for _, subject := range asked {
			q, err := d.tryCode(k, subject, in.Code)
			if err == nil && q != nil {
				err = d.s.guessed(d.tx, to, q.UserID)
			}
			if q != nil || err != nil {
				return q, err
			}
		}
	}
	return nil, nil
}

// useKept consumes the question whose code a service has found right; the try
// was spent before the service was asked.
func (d *Desk) useKept(in Input, by *kept) (*Question, error) {
	if !by.right {
		return nil, nil
	}
	c, err := d.tx.Challenge(string(by.kind), by.subject)
	if err != nil {
		return nil, err
	}
	used, err := d.tx.UseChallenge(by.id, string(by.kind), by.subject)
	if err != nil || !used {
		return nil, err
	}
	err = d.s.guessed(d.tx, Contact{Phone: in.Phone}, c.UserID)
	if err != nil {
		return nil, err
	}
	return readQuestion(c)
}

// maxAsked bounds how many questions of a kind to one mailbox one answer is
// held against: several people may want the same new address or number. It is
// as many as a number gets messages in an hour, so that strangers who want it
// too do not crowd its owner out.
const maxAsked = 5

// tryCode spends a try on one question and consumes it if code is its answer.
func (d *Desk) tryCode(k Kind, subject []byte, code string) (*Question, error) {
	c, err := d.tx.TryCode(string(k), subject, codeTries)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err == nil {
		err = d.s.guessOf(d.tx, c.UserID)
	}
	if err != nil {
		return nil, err
	}
	if !secret.Same(c.CodeHash, d.s.codeHash(k, c.UserID, c.SentTo, code)) {
		return nil, nil // the try stays counted
	}
	used, err := d.tx.UseChallenge(c.ID, c.Kind, c.Subject)
	if err != nil || !used {
		return nil, err
	}
	return readQuestion(c)
}

// UseAuthCode spends a try on an authorization code and consumes it when right
// says so of its PKCE challenge.
func (d *Desk) UseAuthCode(code string, right func(PKCE) bool) (*Question, error) {
	hash := d.s.linkHash(KindPKCE, code)
	c, alive, err := d.tx.TokenChallenge(hash)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fail(FlowNotFound)
	}
	if err != nil {
		return nil, err
	}
	if !alive && !d.tx.Now.Before(c.ExpiresAt) {
		return nil, fail(FlowExpired)
	}
	c, err = d.tx.TryToken(hash, codeTries)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fail(FlowNotFound)
	}
	if err != nil {
		return nil, err
	}
	q, err := readQuestion(c)
	if err != nil {
		return nil, err
	}
	if !right(q.PKCE) {
		return nil, fail(VerifierFailed)
	}
	used, err := d.tx.UseChallenge(c.ID, c.Kind, c.Subject)
	if err == nil && !used {
		err = fail(FlowNotFound)
	}
	return q, err
}

// logf keeps what a client must not be told.
func (s *Service) warn(c Caller, msg string, args ...any) {
	s.log.Warn(msg, append(args, slog.String("request_id", c.RequestID))...)
}
