package auth

import (
	"errors"
	"reflect"
	"strings"

	"gatehouse/internal/store"
)

// returning brings what is known of somebody in line with their account, who
// signs in with it again. first tells that their address is proved by it.
//
// Codes: ProviderUnproved.
func (s *Service) returning(tx *store.Tx, c Caller, u *User, a *Account, f Flow) (first bool, err error) {
	at := -1
	for i := range u.Identities {
		if k := &u.Identities[i]; k.Provider == a.Provider && k.Issuer == a.Issuer && k.Subject == a.Subject {
			at = i
		}
	}
	if at < 0 {
		return false, ErrMoved
	}
	gate := s.admit(u, tx.Now)
	if gate != nil && CodeOf(gate) != EmailNotConfirmed {
		return false, gate // who may not come in changes nothing
	}
	was := u.Identities[at]
	k := &u.Identities[at]
	k.Email, k.Data, k.LastSignInAt, k.UpdatedAt = a.Email, accountData(a), tx.Now, tx.Now
	err = tx.SetIdentity(*k)
	if err == nil {
		err = s.keepTokens(tx, k.ID, u.ID, a.Tokens)
	}
	if err == nil {
		u.UserMetadata, err = newer(u.UserMetadata, was.Data, a.Data)
	}
	if err != nil {
		return false, err
	}
	switch {
	case u.Email != "" && u.EmailVerifiedAt.IsZero() && a.EmailVerified && a.Email == u.Email:
		u.EmailVerifiedAt, first = tx.Now, true
		err = s.emit(tx, c, Confirmed, u.ID, SessionID{}, map[string]any{"by": a.Provider})
	case u.Email != "" && u.EmailVerifiedAt.IsZero() && !s.policy.UnverifiedSignIn && u.PhoneVerifiedAt.IsZero():
		f.identity = k.ID
		return false, s.askFirst(tx, c, u, f)
	case a.EmailVerified && a.Email != u.Email && (u.Email == "" || u.Email == was.Email) && !has(u, "email") && !has(u, "phone"):
		err = s.follow(tx, c, u, a)
	}
	if err == nil {
		err = s.nameProviders(u)
	}
	if err == nil {
		err = tx.SetUser(u)
	}
	return first, err
}

// follow gives u the address that their account has now, and by which alone they
// are known here, unless it is somebody else's. The old one is told.
func (s *Service) follow(tx *store.Tx, c Caller, u *User, a *Account) error {
	taken, err := tx.EmailTaken(a.Email)
	if err != nil || taken {
		return err
	}
	return s.setEmail(tx, c, u, a.Email)
}

// askFirst mails whoever reads the address of u a question, for nobody else vouches
// for it, and refuses.
//
// Codes: ProviderUnproved; those of pace.
func (s *Service) askFirst(tx *store.Tx, c Caller, u *User, f Flow) error {
	to := Contact{Email: u.Email}
	other, err := s.disputed(tx, u, f.identity)
	if err == nil && other {
		f.identity = IdentityID{}
		err = s.dropOutside(tx, u, IdentityID{})
	}
	if err != nil {
		return err
	}
	err = s.pace(tx, c, string(KindConfirmation), to)
	if err == nil {
		u.ConfirmationSentAt = tx.Now
		err = s.put(tx, c, u, KindConfirmation, to, false, f)
	}
	if err == nil {
		err = tx.SetUser(u)
	}
	if refused, failed := refusal(err); failed != nil || refused != nil && CodeOf(refused) != TooSoon {
		return err
	}
	return fail(ProviderUnproved)
}

// disputed tells whether the address of u, whom nobody knows to have it, is asked
// about for somebody else than the owner of that account: then the mailbox does
// not tell whose account is whose, and whoever asks last must not be let in by what
// the other reads.
func (s *Service) disputed(tx *store.Tx, u *User, by IdentityID) (bool, error) {
	for _, k := range []Kind{KindConfirmation, KindRecovery, KindMagicLink, KindInvite} {
		ch, err := tx.Challenge(string(k), u.ID[:])
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		alive := false
		if err == nil {
			ch, alive, err = tx.TokenChallenge(ch.TokenHash)
		}
		if err != nil {
			return false, err
		}
		q, err := readQuestion(ch)
		if err != nil {
			return false, err
		}
		if alive && (k != KindConfirmation || q.Identity != by) {
			return true, nil
		}
	}
	return false, nil
}

// newer lays what an account says now over what a user's metadata are, but for
// what the user has changed since the account said something else.
func newer(meta, said []byte, says map[string]any) ([]byte, error) {
	now, err := readMetadata(meta)
	if err != nil {
		return meta, nil //nolint:nilerr // a row nobody here wrote is left as it is
	}
	before, err := readMetadata(said)
	if err != nil {
		before = map[string]any{}
	}
	patch := map[string]any{}
	for key, value := range says {
		mine, has := now[key]
		old, had := before[key]
		if !has || had && reflect.DeepEqual(mine, old) || strings.HasPrefix(key, "email") || key == "sub" || key == "iss" {
			patch[key] = value
		}
	}
	return mergeMetadata(meta, patch)
}
