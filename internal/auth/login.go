package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

// SignIn ends a sign-in by the named way: the way in proves, the house
// decides. The steps are the same for every way and none can be left out.
//
// A link that was asked for with a PKCE challenge gives an AuthCode in place
// of tokens when byLink is set, for a redirect to carry. It is of use on the
// device that asked alone; who opened the link on another may have the tokens
// there (Input.Here), unless the policy is strict: they have read the mail.
//
// Codes: MethodDisabled, EmailDisabled, PhoneDisabled, InvalidCredentials,
// CodeFailed, LinkFailed, FlowNotFound, FlowExpired, VerifierFailed,
// EmailNotConfirmed, PhoneNotConfirmed, UserBanned, EmailTaken, PhoneTaken,
// WeakPassword, PasswordTooLong, CaptchaFailed, TooMany, Busy, Unavailable. By an
// account elsewhere also those of its keeper (Provider…, IDTokenFailed, Web3…,
// Assertion…) and of the rule in link.go (SignupDisabled, IdentityTaken,
// AccountExists, InviteNotFound, InviteMismatch, SSOManaged, StateFailed).
// Events: SignedIn; Confirmed, EmailChanged, PhoneChanged where the proof was
// of an address or number; SignedUp, IdentityLinked by an account elsewhere.
func (s *Service) SignIn(ctx context.Context, c Caller, method string, in Input, byLink bool) (*Grant, error) {
	g, err := s.signIn(ctx, c, method, in, byLink)
	if errors.Is(err, ErrMoved) {
		c.Excused = true // what was solved is spent
		g, err = s.signIn(ctx, c, method, in, byLink)
	}
	if errors.Is(err, ErrMoved) {
		err = &Error{Code: InvalidCredentials, Err: err}
	}
	return g, err
}

func (s *Service) signIn(ctx context.Context, c Caller, method string, in Input, byLink bool) (*Grant, error) {
	// 1. Is this way in open?
	m, ok := s.methods[method]
	if !ok {
		return nil, fail(MethodDisabled)
	}
	var err error
	if byContact(method) {
		err = s.reachable(Contact{Email: in.Email, Phone: in.Phone})
	}
	if err != nil {
		return nil, err
	}
	if method == "password" || method == "web3" { // who comes by anything else has been sent it, has a session, or an account elsewhere
		err = s.human(ctx, c)
	}
	if err != nil {
		return nil, err
	}
	in.Kinds = slices.DeleteFunc(slices.Clone(in.Kinds), func(k Kind) bool { return !k.signsIn() })
	// 2. The slow part of judging, and of a password that comes along.
	k := &Kit{s: s, c: c}
	verdict, err := m.Finish(ctx, k, in)
	if err != nil {
		return nil, err
	}
	hash := ""
	if in.Password != "" && in.Token != "" {
		hash, err = s.newPassword(ctx, c, in.Password)
		if err != nil {
			return nil, err
		}
	}
	if k.vouched == nil {
		return s.finish(ctx, c, method, in, verdict, hash, byLink)
	}
	// 2b. Whom would an account elsewhere become, and may they be made? All that
	// follows may have to be gone through again, if somebody comes or goes; who
	// keeps the account is not asked twice, for its answer is good once.
	for range maxRaces {
		err = s.draftFor(ctx, c, k.vouched)
		if err != nil {
			return nil, err
		}
		g, err := s.finish(ctx, c, method, in, verdict, "", byLink)
		if !errors.Is(err, ErrMoved) && !errors.Is(err, store.ErrDuplicate) {
			s.wake() // a question to whoever reads the address, or a notice to who was here
			return g, err
		}
	}
	return nil, fail(Busy)
}

// byContact tells whether a way in is by an address or number that somebody
// names. Whose an authorization code is shows when it is read.
func byContact(method string) bool {
	switch method {
	case "password", "emailcode", "emaillink", "smscode":
		return true
	}
	return false
}

// finish is what is left of a sign-in once the slow part is judged.
func (s *Service) finish(ctx context.Context, c Caller, method string, in Input, verdict Verdict, hash string, byLink bool) (*Grant, error) {
	// 3. What does the operator's own service say?
	enter := func(tx *store.Tx, g *Grant, ch Changed) error {
		return s.enter(tx, c, verdict, hash, byLink && (!in.Here || s.policy.StrictPKCE), ch, g)
	}
	changed, asked, err := s.rehearse(ctx, c, method, enter)
	if err != nil {
		return nil, err
	}
	// 4. All else in one transaction: what is spent, is spent for a session.
	var g Grant
	var refused error // told to the client, but committed: a guess stays counted
	err = s.db.Write(ctx, s.tenant, func(tx *store.Tx) (err error) {
		g, refused = Grant{}, nil
		err = enter(tx, &g, changed)
		if err == nil && !asked && s.watched(method, &g) {
			return ErrMoved // refused when it was rehearsed, and now not: nobody was asked
		}
		refused, err = refusal(err)
		return err
	})
	if errors.Is(err, store.ErrDuplicate) && byContact(method) {
		return nil, Contact{Phone: in.Phone}.taken() // somebody else took it while the message was under way
	}
	if err != nil {
		return nil, err
	}
	if refused != nil {
		return nil, refused
	}
	if g.AuthCode != "" || g.MorePending {
		return &g, nil
	}
	// 5. Tokens.
	out, err := s.admitted(ctx, c, amrOf(g.Session), g.User, g.Session)
	if err != nil {
		return nil, err
	}
	out.WeakPassword = g.WeakPassword
	out.ProviderToken, out.ProviderRefresh = g.ProviderToken, g.ProviderRefresh
	if method == "password" {
		out.Device = s.rememberDevice(c, g.User.ID)
	}
	return out, nil
}

// refusal parts what a client is told, which must persist, from what failed.
func refusal(err error) (refused, failed error) {
	if errors.Is(err, ErrDenied) {
		return &Error{Code: InvalidCredentials, Err: err}, nil
	}
	if _, un := errors.AsType[unspent](err); un {
		return nil, err
	}
	var e *Error
	if errors.As(err, &e) {
		return err, nil
	}
	return nil, err
}

// enter runs the steps of a sign-in that need the transaction. Their order is
// the security property.
func (s *Service) enter(tx *store.Tx, c Caller, verdict Verdict, hash string, byLink bool, ch Changed, g *Grant) error {
	// a. Is the answer right?
	d := &Desk{s: s, tx: tx, c: c}
	p, err := verdict(d)
	if err != nil {
		return err
	}
	// b. Whose is it?
	u, err := d.whose(p.UserID)
	if errors.Is(err, store.ErrNotFound) {
		return ErrDenied
	}
	if err != nil {
		return err
	}
	g.User, g.WeakPassword = u, p.Weak
	// c. What does the answer prove?
	q := p.Answered
	if q != nil && q.Kind == KindPKCE && p.Provider == "email" {
		err = s.reachable(Contact{Email: u.Email})
		if err != nil {
			return err
		}
	}
	g.first = p.First
	if q != nil && q.Kind != KindPKCE && q.Kind != kindJourney {
		was := g.User
		g.MorePending, err = s.apply(tx, c, &g.User, q, hash)
		if err != nil || g.MorePending {
			return err
		}
		g.first = !proved(&was) && proved(&g.User)
	}
	err = s.amend(&g.User, ch)
	if err != nil {
		return err
	}
	// d. May they come in? A client that brought a PKCE challenge fetches its
	// tokens with the verifier, and passes the gate again when it does.
	if q != nil && q.Kind != KindPKCE && byLink && q.PKCE.Challenge != "" {
		err = s.admit(&g.User, tx.Now)
		if err == nil && (ch.AppMetadata != nil || ch.UserMetadata != nil) {
			err = tx.SetUser(&g.User)
		}
		if err != nil {
			return err
		}
		g.AuthCode, err = s.authCode(tx, q, p.AMR)
		return err
	}
	// e. Open the session; the gate is inside.
	g.Session, err = s.open(tx, c, &g.User, p)
	if err == nil && q != nil {
		err = s.handOut(g, q)
	}
	return err
}

// handOut gives whoever signs in with an account elsewhere what it is asked with.
func (s *Service) handOut(g *Grant, q *Question) error {
	if len(q.Tokens) == 0 {
		return nil
	}
	plain, err := q.Tokens, error(nil)
	if q.Kind == KindPKCE {
		plain, err = s.root.Open(codeTokensSeal, q.UserID[:], q.Tokens)
	}
	var t Tokens
	if err == nil {
		err = json.Unmarshal(plain, &t)
	}
	if err != nil {
		return fmt.Errorf("auth: tokens of an authorization code: %w", err)
	}
	g.ProviderToken, g.ProviderRefresh = t.Access, t.Refresh
	return nil
}

// codeTokensSeal is for the tokens that wait beside an authorization code.
const codeTokensSeal = "tokens of a code"

// proved tells whether a user has proved any address or number.
func proved(u *User) bool { return !u.EmailVerifiedAt.IsZero() || !u.PhoneVerifiedAt.IsZero() }

// amrOf is how a session was opened.
func amrOf(sess Session) string {
	var list []AMR
	if json.Unmarshal(sess.AMR, &list) != nil || len(list) == 0 {
		return ""
	}
	return list[0].Method
}

// authCode makes the code a client trades, with its verifier, for tokens.
func (s *Service) authCode(tx *store.Tx, q *Question, amr string) (string, error) {
	kept := Question{PKCE: q.PKCE, AMR: amr, Provider: q.Provider, Identity: q.Identity}
	if len(q.Tokens) > 0 {
		kept.Tokens = s.root.Seal(codeTokensSeal, q.UserID[:], q.Tokens)
	}
	data, err := json.Marshal(kept)
	if err != nil {
		return "", fmt.Errorf("auth: authorization code: %w", err)
	}
	code, id := secret.Token(), store.NewChallengeID()
	return code, tx.SetChallenge(store.Challenge{
		ID: id, Kind: string(KindPKCE), Subject: id[:], UserID: q.UserID, TokenHash: s.linkHash(KindPKCE, code), CodeHash: []byte{},
		Data: data, ExpiresAt: tx.Now.Add(s.policy.FlowTTL),
	}, 0)
}
