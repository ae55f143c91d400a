package auth

import (
	"strings"
	"time"

	"gatehouse/internal/store"
)

// What an owner finds who arrives by an account elsewhere, and somebody else was
// there before.

// takeOver is for an address that its owner has proved elsewhere, and whoever has
// it here never did: what they left must not be shared with the owner, who would
// not know of it.
func (s *Service) takeOver(tx *store.Tx, c Caller, v *vouched, u User) (User, bool, error) {
	a := &v.account
	if !u.PhoneVerifiedAt.IsZero() {
		// Somebody who is known by their number has written down an address that is
		// not theirs: that alone is taken from them.
		u.Email, u.EmailVerifiedAt, u.NewEmail, u.EmailChangeProved = "", time.Time{}, "", 0
		err := tx.DropChallenges(u.ID, "")
		if err == nil {
			err = s.identify(tx, &u)
		}
		if err == nil {
			err = tx.SetUser(&u)
		}
		if err == nil {
			err = s.emit(tx, Caller{Actor: "system", IP: c.IP, RequestID: c.RequestID}, EmailChanged, u.ID, SessionID{}, nil)
		}
		if err != nil {
			return u, false, err
		}
		if v.draft == nil { // nobody was asked about a new user: look again
			return u, false, s.remake(v)
		}
		return s.admitNew(tx, c, v, a.Email)
	}
	if gate := s.admit(&u, tx.Now); gate != nil && CodeOf(gate) != EmailNotConfirmed {
		return u, false, gate
	}
	err := s.empty(tx, c, &u)
	if err == nil {
		u.EmailVerifiedAt = tx.Now
		err = s.join(tx, c, &u, a, "address")
	}
	if err == nil {
		err = s.emit(tx, c, Confirmed, u.ID, SessionID{}, map[string]any{"by": a.Provider})
	}
	return u, true, err
}

// remake makes the draft that draftFor saw no need for. An operator's service was
// not asked about it: then all is gone through again.
func (s *Service) remake(v *vouched) error {
	v.retake = true
	return ErrMoved
}

// detach takes one account elsewhere from its user: its tokens and the sessions it
// opened go with it.
func (s *Service) detach(tx *store.Tx, c Caller, i *Identity) error {
	err := tx.DropIdentity(i.ID)
	if err == nil {
		err = s.dropTokens(tx, i.ID)
	}
	if err == nil {
		err = s.endBy(tx, c, i, SessionID{})
	}
	if err == nil {
		err = s.emit(tx, c, IdentityUnlinked, i.UserID, SessionID{}, map[string]any{"provider": i.Provider})
	}
	return err
}

// detachAll takes from u the accounts elsewhere that go says, and leaves u to be
// written by whoever calls.
func (s *Service) detachAll(tx *store.Tx, c Caller, u *User, goes func(*Identity) bool) error {
	var kept []Identity
	for _, i := range u.Identities {
		if !outside(&i) || !goes(&i) {
			kept = append(kept, i)
			continue
		}
		err := s.detach(tx, c, &i)
		if err != nil {
			return err
		}
	}
	u.Identities = kept
	return nil
}

// dropOutside takes all accounts elsewhere from u but one, of whom nobody knows
// whose address it is.
func (s *Service) dropOutside(tx *store.Tx, u *User, but IdentityID) error {
	had := len(u.Identities)
	err := s.detachAll(tx, Caller{Actor: "system"}, u, func(i *Identity) bool { return i.ID != but })
	if err != nil || len(u.Identities) == had {
		return err
	}
	return s.identify(tx, u)
}

// dropCompanies takes from u the accounts of companies that had the domain of their
// address before: the one that has it now is there, and no other speaks for it.
func (s *Service) dropCompanies(tx *store.Tx, c Caller, u *User) error {
	return s.detachAll(tx, c, u, func(i *Identity) bool { return strings.HasPrefix(i.Provider, SSOPrefix) })
}

// empty takes from an account all that whoever made it has: password, factors,
// sessions, identities, questions, and what they wrote about themselves. What an
// administrator gave stays.
func (s *Service) empty(tx *store.Tx, c Caller, u *User) error {
	err := s.detachAll(tx, Caller{Actor: "system", IP: c.IP, RequestID: c.RequestID}, u, func(*Identity) bool { return true })
	if err == nil {
		err = tx.DropCredentials(u.ID)
	}
	if err == nil {
		err = tx.DropIdentities(u.ID) // their own, too: the address is proved elsewhere
	}
	if err == nil {
		err = tx.DropChallenges(u.ID, "")
	}
	if err == nil {
		err = s.putOut(tx, c, u)
	}
	u.Identities, u.VerifiedFactors, u.Phone, u.PhoneVerifiedAt = nil, 0, "", time.Time{}
	if u.InvitedAt.IsZero() {
		u.UserMetadata = []byte("{}")
	}
	return err
}

// warnOwner answers an account whose address has a user, and is proved by nobody:
// alike whether the user has proved it, and as if there were none.
//
// Codes: ProviderUnproved.
func (s *Service) warnOwner(tx *store.Tx, c Caller, u *User, f Flow) error {
	if u.EmailVerifiedAt.IsZero() && u.PhoneVerifiedAt.IsZero() {
		// Two people want one address, and the mailbox does not tell whose password
		// or account elsewhere is whose: neither is kept.
		err := tx.DropCredentials(u.ID)
		if err == nil {
			err = s.dropOutside(tx, u, IdentityID{})
		}
		if err != nil {
			return err
		}
		return s.askFirst(tx, c, u, f)
	}
	to := Contact{Email: u.Email}
	refused, err := refusal(s.pace(tx, c, string(KindConfirmation), to))
	if err == nil && refused == nil {
		err = s.tellOwner(tx, c, u, to)
	}
	if err != nil {
		return err
	}
	return fail(ProviderUnproved)
}
