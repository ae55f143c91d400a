package auth

import (
	"context"
	"slices"
	"time"

	"gatehouse/internal/notify"
	"gatehouse/internal/store"
)

// Unlink removes one of a user's identities, as long as another is left to come
// in by. With that of their own address or number goes the address or number:
// what is left must not count as proved by what is gone.
//
// Codes: LinkingDisabled, IdentityNotFound, LastIdentity. Events:
// IdentityUnlinked.
func (s *Service) Unlink(ctx context.Context, c Caller, v *Viewer, id IdentityID) error {
	if s.policy.LinkingDisabled {
		return fail(LinkingDisabled)
	}
	err := s.db.Write(ctx, c.Tenant, func(tx *store.Tx) error {
		_, u, err := s.look(tx, v.User.ID, v.Session.ID)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(u.Identities, func(i Identity) bool { return i.ID == id })
		switch {
		case at < 0:
			return fail(IdentityNotFound)
		case len(u.Identities) < 2:
			return fail(LastIdentity)
		}
		gone := u.Identities[at]
		was := u
		u.Identities = withoutIdentity(u.Identities, id)
		switch gone.Provider {
		case "email":
			u.Email, u.EmailVerifiedAt, u.NewEmail, u.EmailChangeProved = "", time.Time{}, "", 0
		case "phone":
			u.Phone, u.PhoneVerifiedAt, u.NewPhone = "", time.Time{}, ""
		}
		if s.admit(&u, tx.Now) != nil {
			return fail(LastIdentity) // nobody has proved the one that is left
		}
		err = tx.DropIdentity(id)
		if err == nil {
			err = tx.DropChallenges(u.ID, string(KindUndo)) // those to an address that is not theirs any more
		}
		if err == nil {
			err = s.identify(tx, &u)
		}
		if err == nil {
			err = tx.SetUser(&u)
		}
		if err == nil {
			err = s.emit(tx, c, IdentityUnlinked, u.ID, v.Session.ID, map[string]any{"provider": gone.Provider})
		}
		if err == nil {
			err = s.notice(tx, c, &was, notify.IdentityUnlinked, gone.Provider)
		}
		return err
	})
	return err
}

func withoutIdentity(list []Identity, id IdentityID) []Identity {
	return slices.DeleteFunc(slices.Clone(list), func(i Identity) bool { return i.ID == id })
}
