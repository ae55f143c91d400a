package auth

import (
	"context"
	"encoding/json"
	"errors"

	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

// setupSubject is whom the one setup question is put to: nobody yet.
var setupSubject = make([]byte, 16)

// setupUsers is up to how many users a house is new enough to look for its
// first administrator: the look goes through all of them, at every start.
const setupUsers = 10_000

// OfferSetup makes the one-time secret that makes the first administrator, in
// place of any earlier one. ok is false where there is an administrator, or so
// many users that somebody must be in charge of them; gatehouse user promote
// makes one there.
func (s *Service) OfferSetup(ctx context.Context) (link string, ok bool, err error) {
	link = secret.Token()
	data, err := json.Marshal(Question{})
	if err != nil {
		return "", false, err
	}
	offer := func(tx *store.Tx) error {
		users, err := tx.CountUsers()
		ok = users <= setupUsers
		if err != nil || !ok {
			return err
		}
		n, err := tx.CountRole(s.policy.AdminRole)
		ok = n == 0
		if err != nil || !ok {
			return err
		}
		return tx.SetChallenge(store.Challenge{
			ID: store.NewChallengeID(), Kind: string(KindSetup), Subject: setupSubject, TokenHash: s.linkHash(KindSetup, link),
			CodeHash: []byte{}, Data: data, ExpiresAt: tx.Now.Add(setupTTL),
		}, 0)
	}
	err = s.db.Write(ctx, s.tenant, offer)
	if errors.Is(err, store.ErrDuplicate) { // another node starts at this instant; the later link is the one that works
		err = s.db.Write(ctx, s.tenant, offer)
	}
	return link, ok, err
}

// Setup makes the first administrator. The link dies with it; of two people
// who hold the link one becomes it.
//
// Codes: SetupClosed, EmailInvalid, PasswordMissing, WeakPassword,
// PasswordTooLong, EmailTaken, Busy. Events: SignedUp, FirstAdmin.
func (s *Service) Setup(ctx context.Context, c Caller, link, email, password string) (*User, error) {
	_, err := s.Link(ctx, c, []Kind{KindSetup}, link) // before the slow part: strangers must not make us hash
	if CodeOf(err) == Unavailable {
		return nil, err
	}
	if err != nil {
		return nil, fail(SetupClosed)
	}
	email, err = CleanEmail(email)
	if err != nil {
		return nil, err
	}
	if password == "" {
		return nil, fail(PasswordMissing)
	}
	hash, err := s.newPassword(ctx, c, password)
	if err != nil {
		return nil, err
	}
	var u User
	err = s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
		_, err := tx.UseToken(s.linkHash(KindSetup, link))
		if errors.Is(err, store.ErrNotFound) {
			return fail(SetupClosed)
		}
		if err != nil {
			return err
		}
		n, err := tx.CountRole(s.policy.AdminRole)
		if err == nil && n > 0 {
			err = fail(SetupClosed)
		}
		if err != nil {
			return err
		}
		u = s.newUser(Contact{Email: email})
		u.Role, u.EmailVerifiedAt = s.policy.AdminRole, tx.Now
		err = s.addUser(tx, c, &u, hash, SignedUp)
		if err == nil {
			err = s.emit(tx, c, FirstAdmin, u.ID, SessionID{}, nil)
		}
		return err
	})
	if errors.Is(err, store.ErrDuplicate) {
		return nil, fail(EmailTaken)
	}
	return &u, err
}
