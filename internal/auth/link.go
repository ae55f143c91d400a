package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"gatehouse/internal/notify"
	"gatehouse/internal/store"
)

// This file is the one rule by which an account elsewhere comes to a user here,
// whatever brings it: a redirect, an ID token, an assertion, a signed message.
//
//   - Its key is tenant, provider, issuer and subject. An address never is.
//   - Unknown, it joins a user who is here only if both sides have proved the
//     address; a user who has not is emptied first, for whoever made them was
//     somebody else.
//   - An address nobody has proved, or none, joins nobody.
//   - In every other case the owner of the user has to prove to be the owner:
//     they sign in as they are used to, and link.

// vouched is an account that a Method has judged, and what it is to become.
type vouched struct {
	account Account
	journey *Journey
	flow    Flow
	draft   *User // who would be made
	retake  bool  // and has to be, though somebody has the address; it stays so when all is gone through again
}

// Vouch is for a Method to hand over an account it has judged. What becomes of
// it is not the Method's business.
func (k *Kit) Vouch(in Input, a Account) Verdict {
	v := &vouched{account: a.cleaned(), journey: in.Journey, flow: in.Flow}
	k.vouched = v
	return func(d *Desk) (Proof, error) { return d.s.settle(d, v) }
}

// cleaned is an account with its address in the one form addresses have here.
func (a Account) cleaned() Account {
	email, err := CleanEmail(a.Email)
	if err != nil {
		email, a.EmailVerified = "", false // nobody is reached there
	}
	a.Email = email
	return a
}

// LinkIdentity has an account elsewhere join the user who is signed in, without a
// redirect, and opens a session with it.
//
// Codes: LinkingDisabled, SSOManaged, IdentityTaken; those of SignIn.
// Events: IdentityLinked, SignedIn.
func (s *Service) LinkIdentity(ctx context.Context, c Caller, v *Viewer, method string, in Input) (*Grant, error) {
	in.Journey = &Journey{Method: method, Link: v.User.ID, Session: v.Session.ID}
	return s.SignIn(ctx, c, method, in, false)
}

// draftFor makes the user an account would become, outside of any transaction,
// because an operator's service may have to be asked.
//
// Codes: InvalidInput and those of hooks.
func (s *Service) draftFor(ctx context.Context, c Caller, v *vouched) error {
	v.draft = nil
	if s.policy.SignupDisabled || v.journey != nil && (!v.journey.Link.IsZero() || v.journey.Invite != "") {
		return nil
	}
	a := &v.account
	if a.Email == "" && !a.EmailOptional {
		return nil // nobody will be made, and nobody has to be asked
	}
	known := false
	err := s.db.Read(ctx, s.tenant, func(tx *store.Tx) error {
		_, err := tx.IdentityOwner(a.Provider, a.Issuer, a.Subject)
		known = err == nil
		if !errors.Is(err, store.ErrNotFound) || a.Email == "" || s.policy.Linking == LinkNever {
			return ignoreNotFound(err)
		}
		known, err = tx.EmailTaken(a.Email)
		return err
	})
	if err != nil || known && !v.retake {
		return err
	}
	u := s.newUser(Contact{Email: a.Email})
	u.SSO = a.SSO
	u.UserMetadata, err = mergeMetadata(nil, a.Data)
	if err != nil {
		return err
	}
	u.Identities = []Identity{s.identityOf(&u, a, s.db.Now())}
	err = s.nameProviders(&u)
	if err == nil && s.hooks.BeforeUser != nil {
		asked := u
		var ch Changed
		ch, err = s.hooks.BeforeUser(ctx, c, &asked)
		if err == nil {
			err = s.amend(&u, ch)
		}
	}
	v.draft = &u
	return err
}

func ignoreNotFound(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// settle finds, links or makes the user of an account.
//
// ErrMoved: somebody came or went since draftFor looked.
func (s *Service) settle(d *Desk, v *vouched) (Proof, error) {
	tx, c, a := d.tx, d.c, &v.account
	var u User
	var found bool
	owner, err := tx.IdentityOwner(a.Provider, a.Issuer, a.Subject)
	if err == nil {
		u, err = tx.User(owner)
		found = err == nil
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return Proof{}, err
	}
	first := false
	j := v.journey
	switch {
	case j != nil && !j.Link.IsZero():
		if found {
			return Proof{}, fail(IdentityTaken) // also their own: the answer does not tell whose
		}
		u, err = s.linkTo(tx, c, j, a)
	case found:
		first, err = s.returning(tx, c, &u, a, v.flow)
	case j != nil && j.Invite != "":
		u, err = s.invitee(tx, c, j.Invite, a)
		first = true
	default:
		u, first, err = s.meet(tx, c, v)
	}
	if err != nil {
		return Proof{}, err
	}
	d.user = &u
	p := Proof{UserID: u.ID, AMR: a.AMR, Provider: a.Provider, First: first}
	for i := range u.Identities {
		if same := &u.Identities[i]; same.Provider == a.Provider && same.Issuer == a.Issuer && same.Subject == a.Subject {
			p.Identity = same.ID
		}
	}
	q := &Question{Kind: kindJourney, UserID: u.ID, Provider: a.Provider, Identity: p.Identity}
	if j != nil {
		q.PKCE = j.PKCE
	}
	if !a.Tokens.none() {
		q.Tokens, err = json.Marshal(a.Tokens)
		if err != nil {
			return Proof{}, fmt.Errorf("auth: tokens: %w", err)
		}
	}
	p.Answered = q
	return p, nil
}

// identityOf is how u is known by an account elsewhere.
func (s *Service) identityOf(u *User, a *Account, now time.Time) Identity {
	return Identity{
		ID: store.NewIdentityID(), UserID: u.ID, Provider: a.Provider, Issuer: a.Issuer, Subject: a.Subject, Email: a.Email,
		Data: accountData(a), LastSignInAt: now, CreatedAt: now, UpdatedAt: now,
	}
}

func accountData(a *Account) []byte {
	b, err := json.Marshal(a.Data)
	if err != nil || a.Data == nil {
		return []byte("{}")
	}
	return b
}

// attach adds an account to u, who is written by whoever calls.
func (s *Service) attach(tx *store.Tx, u *User, a *Account) error {
	i := s.identityOf(u, a, tx.Now)
	err := tx.AddIdentity(i)
	if err != nil {
		return err
	}
	u.Identities = append(u.Identities, i)
	return s.keepTokens(tx, i.ID, u.ID, a.Tokens)
}

// join is attach to somebody who was here before, who is told.
func (s *Service) join(tx *store.Tx, c Caller, u *User, a *Account, by string) error {
	was := *u
	err := s.attach(tx, u, a)
	if err == nil {
		u.UserMetadata, err = newer(u.UserMetadata, nil, a.Data)
	}
	if err == nil {
		err = s.nameProviders(u)
	}
	if err == nil {
		err = tx.SetUser(u)
	}
	if err == nil {
		err = s.emit(tx, c, IdentityLinked, u.ID, SessionID{}, map[string]any{"provider": a.Provider, "by": by})
	}
	if err == nil {
		err = s.notice(tx, c, &was, notify.IdentityLinked, a.Provider)
	}
	return err
}

// linkTo has an account join somebody who is signed in, and still is.
//
// Codes: LinkingDisabled, SSOManaged; those of Authenticate.
func (s *Service) linkTo(tx *store.Tx, c Caller, j *Journey, a *Account) (User, error) {
	_, u, err := s.look(tx, j.Link, j.Session)
	switch {
	case err != nil:
		return u, err
	case s.policy.LinkingDisabled:
		return u, fail(LinkingDisabled)
	case managed(&u) || a.SSO:
		return u, fail(SSOManaged)
	}
	if a.EmailVerified && u.Email == "" { // nobody in particular, who is somebody now
		taken, err := tx.EmailTaken(a.Email)
		if err != nil {
			return u, err
		}
		if !taken {
			u.Email, u.EmailVerifiedAt = a.Email, tx.Now
		}
	}
	u.IsAnonymous = false
	return u, s.join(tx, c, &u, a, "user")
}

// invitee is who was invited, and comes with an account elsewhere of the address
// the invitation went to (GHSA-fmh4-wcc4-5jm3: not with any).
//
// Codes: InviteNotFound, InviteMismatch.
func (s *Service) invitee(tx *store.Tx, c Caller, invite string, a *Account) (User, error) {
	q, err := (&Desk{s: s, tx: tx}).UseLink([]Kind{KindInvite}, invite)
	if err != nil {
		return User{}, err
	}
	if q == nil {
		return User{}, fail(InviteNotFound)
	}
	u, err := tx.User(q.UserID)
	if errors.Is(err, store.ErrNotFound) {
		err = fail(InviteNotFound)
	}
	if err != nil {
		return u, err
	}
	if !a.EmailVerified || a.Email != q.SentTo || a.Email != u.Email {
		return u, unspent{fail(InviteMismatch)}
	}
	_, err = s.apply(tx, c, &u, q, "")
	if err == nil {
		err = s.admit(&u, tx.Now)
	}
	if err == nil {
		err = s.join(tx, c, &u, a, "invitation")
	}
	return u, err
}

// unspent is a refusal after which all is as it was.
type unspent struct{ error }

func (u unspent) Unwrap() error { return u.error }

// meet is the rule for an account that is new here.
//
// Codes: SignupDisabled, ProviderNoEmail, AssertionNoEmail, ProviderUnproved,
// AccountExists, those of the gate.
func (s *Service) meet(tx *store.Tx, c Caller, v *vouched) (u User, first bool, err error) {
	a := &v.account
	if a.Email == "" && !a.EmailOptional {
		if a.SSO {
			return u, false, fail(AssertionNoEmail)
		}
		return u, false, fail(ProviderNoEmail)
	}
	if a.Email == "" {
		return s.admitNew(tx, c, v, "")
	}
	if s.policy.Linking == LinkNever && !a.EmailVerified {
		return s.admitNew(tx, c, v, "") // of their own, and without an address that may be another's
	}
	u, err = tx.UserByEmail(a.Email)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return s.admitNew(tx, c, v, a.Email)
	case err != nil:
		return u, false, err
	case s.policy.Linking == LinkNever:
		return s.admitNew(tx, c, v, "")
	case !a.EmailVerified: // before all else: the answer must not tell who is here
		return u, false, s.warnOwner(tx, c, &u, v.flow)
	case s.policy.Linking == LinkRefuse, a.Apart, managed(&u) && !a.SSO:
		return u, false, fail(AccountExists)
	case u.SSO: // another connection has named them, which does not speak for the address, or not any more
		return s.takeOver(tx, c, v, u)
	case !u.EmailVerifiedAt.IsZero():
		err = s.admit(&u, tx.Now) // who may not come in links nothing
		if err == nil && a.SSO {
			err = s.dropCompanies(tx, c, &u)
		}
		if err == nil {
			err = s.join(tx, c, &u, a, "address")
		}
		return u, false, err
	}
	return s.takeOver(tx, c, v, u)
}

// admitNew makes the user of an account that is new here; email is the address
// they get.
//
// Codes: SignupDisabled, ProviderUnproved. Events: SignedUp.
func (s *Service) admitNew(tx *store.Tx, c Caller, v *vouched, email string) (User, bool, error) {
	if s.policy.SignupDisabled {
		return User{}, false, fail(SignupDisabled)
	}
	if v.draft == nil {
		return User{}, false, ErrMoved
	}
	a, u := &v.account, *v.draft
	u.Email = email
	sure := a.EmailVerified || s.policy.Autoconfirm
	if u.Email != "" && sure {
		u.EmailVerifiedAt = tx.Now
	}
	u.Identities = []Identity{s.identityOf(&u, a, tx.Now)}
	err := s.addUser(tx, c, &u, "", SignedUp)
	if err == nil {
		err = s.keepTokens(tx, u.Identities[0].ID, u.ID, a.Tokens)
	}
	if err == nil && u.Email != "" && !sure && !s.policy.UnverifiedSignIn {
		f := v.flow
		f.identity = u.Identities[0].ID
		err = s.askFirst(tx, c, &u, f)
	}
	return u, u.Email != "" && sure, err
}
