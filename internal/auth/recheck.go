package auth

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"gatehouse/internal/store"
)

// A Rechecker is a Method that can ask whoever keeps an account about it again,
// without its owner.
type Rechecker interface {
	// Recheck returns the account as it is now, with its tokens, which may be new.
	//
	// Codes: ProviderRefused, ProviderUnavailable, ProviderFailed, ProviderDisabled, ProviderUnknown.
	Recheck(ctx context.Context, k *Kit, provider string, t Tokens) (Account, error)
	// Renew returns tokens that are not over.
	Renew(ctx context.Context, k *Kit, provider string, t Tokens) (Tokens, error)
}

// askAgain is when a provider that does not answer is asked about a session once
// more.
const askAgain = time.Minute

// stale tells whether the word is too old by which a session was opened.
func (s *Service) stale(sess *Session, now time.Time) bool {
	return s.policy.Recheck > 0 && !sess.IdentityID.IsZero() && now.Sub(sess.CheckedAt) > s.policy.Recheck
}

// recheck asks whoever keeps the account that opened a session whether they still
// vouch for it. A yes brings user and identity up to date; a no ends the session,
// and so does an account that brought nothing to ask with. Where nobody answers,
// or nothing that can be used, the session goes on, and they are asked again soon:
// an outage elsewhere, or a secret of ours that is wrong, signs nobody out.
//
// Of many requests at one instant one asks; the others go on. It is asked to the
// end, also for who does not wait for it: hanging up must not put it off, and new
// tokens must not be lost.
//
// Codes: SessionExpired. Events: IdentityRefused, EmailChanged.
func (s *Service) recheck(ctx context.Context, c Caller, sess *Session, u *User) error {
	ctx = context.WithoutCancel(ctx) // what is fetched has limits of its own
	var identity Identity
	for i := range u.Identities {
		if u.Identities[i].ID == sess.IdentityID {
			identity = u.Identities[i]
		}
	}
	m, ok := s.methods["social"].(Rechecker)
	switch {
	case identity.ID.IsZero(): // what is gone vouches for nobody
		return s.refuseAgain(ctx, c, sess, identity.Provider, nil)
	case !ok, identity.Issuer == linkedIssuer, strings.HasPrefix(identity.Provider, SSOPrefix), identity.Provider == "saml":
		return nil // wallets, companies and the operator's own server are not asked
	}
	var claimed bool
	var t Tokens
	now := s.db.Now()
	err := s.db.Write(ctx, s.tenant, func(tx *store.Tx) (err error) {
		now = tx.Now
		claimed, err = tx.ClaimCheck(sess.ID, sess.CheckedAt, tx.Now)
		if err == nil && claimed {
			t, err = s.tokensOf(tx, identity.ID)
		}
		return err
	})
	if err != nil || !claimed {
		return err
	}
	if t.none() {
		return s.refuseAgain(ctx, c, sess, identity.Provider, errors.New("auth: there is no token to ask with"))
	}
	a, err := m.Recheck(ctx, &Kit{s: s, c: c}, identity.Provider, t)
	if err == nil && (a.Issuer != identity.Issuer || a.Subject != identity.Subject) {
		return s.refuseAgain(ctx, c, sess, identity.Provider, errors.New("auth: the token is of another account now"))
	}
	switch code := CodeOf(err); {
	case err == nil:
	case code == ProviderRefused, code == ProviderDisabled, code == ProviderUnknown:
		return s.refuseAgain(ctx, c, sess, identity.Provider, err)
	default:
		s.warn(c, "a provider could not be asked about a session again", "provider", identity.Provider, "err", err)
		return s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
			_, err := tx.ClaimCheck(sess.ID, now, tx.Now.Add(askAgain-s.policy.Recheck))
			return err
		})
	}
	err = s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
		fresh, err := tx.User(u.ID)
		vouched := a.cleaned()
		if err == nil {
			_, err = s.returning(tx, c, &fresh, &vouched, Flow{})
		}
		if errors.Is(err, ErrMoved) || errors.Is(err, store.ErrNotFound) {
			return nil // it went while the provider was asked, and its sessions with it
		}
		_, err = refusal(err)
		*u = fresh
		return err
	})
	sess.CheckedAt = now
	return err
}

// refuseAgain ends a session that nobody vouches for any more.
func (s *Service) refuseAgain(ctx context.Context, c Caller, sess *Session, provider string, cause error) error {
	const why = "its provider does not vouch for it any more"
	err := s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
		ended, err := tx.EndSession(sess.ID, why)
		if err != nil || !ended {
			return err
		}
		err = s.ended(tx, Caller{Actor: "system", IP: c.IP, RequestID: c.RequestID}, sess.UserID, why, []SessionID{sess.ID})
		if err == nil {
			err = s.emit(tx, Caller{Actor: "system", IP: c.IP, RequestID: c.RequestID}, IdentityRefused, sess.UserID, sess.ID, map[string]any{"provider": provider})
		}
		return err
	})
	if err != nil {
		return err
	}
	return &Error{Code: SessionExpired, Err: cause, Params: map[string]any{"reason": why}}
}

// ProviderTokens are what an account of a user is asked with, renewed first where
// they are over and the provider allows it.
//
// Codes: UserNotFound, NotLinked, ProviderRefused, ProviderUnavailable.
// Events: TokensUpdated.
func (s *Service) ProviderTokens(ctx context.Context, c Caller, user UserID, provider string) (Tokens, error) {
	var t Tokens
	var identity Identity
	err := s.db.Read(ctx, s.tenant, func(tx *store.Tx) error {
		u, err := tx.User(user)
		if errors.Is(err, store.ErrNotFound) {
			return fail(UserNotFound)
		}
		at := slices.IndexFunc(u.Identities, func(i Identity) bool { return outside(&i) && strings.EqualFold(i.Provider, provider) })
		switch {
		case err != nil:
		case at < 0:
			err = fail(NotLinked)
		default:
			identity = u.Identities[at]
		}
		if err == nil {
			t, err = s.tokensOf(tx, identity.ID)
		}
		return err
	})
	if err != nil {
		return t, err
	}
	m, ok := s.methods["social"].(Rechecker)
	if !ok || t.Refresh == "" || t.ExpiresAt.IsZero() || s.db.Now().Before(t.ExpiresAt) {
		return t, nil
	}
	ctx = context.WithoutCancel(ctx) // the provider may have put others in their place already
	next, err := m.Renew(ctx, &Kit{s: s, c: c}, identity.Provider, t)
	if err != nil {
		return t, err
	}
	if next.Refresh == "" {
		next.Refresh = t.Refresh
	}
	return next, s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
		now, err := s.tokensOf(tx, identity.ID)
		if err == nil && (now.Access != t.Access || now.Refresh != t.Refresh) {
			return fail(NotLinked) // it went, or is another, while the provider was asked
		}
		if err == nil {
			err = s.setTokens(tx, identity.ID, user, next)
		}
		if err == nil {
			err = s.emit(tx, c, TokensUpdated, user, SessionID{}, map[string]any{"provider": identity.Provider})
		}
		return err
	})
}
