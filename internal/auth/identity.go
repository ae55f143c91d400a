package auth

import (
	"context"
	"encoding/json"
	"fmt"
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
	err := s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
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
		u.Identities = slices.DeleteFunc(slices.Clone(u.Identities), func(i Identity) bool { return i.ID == id })
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

// ownProviders are those of our own identities a user has: of an address, of a
// number.
func ownProviders(u *User) (list []string) {
	if u.Email != "" {
		list = append(list, "email")
	}
	if u.Phone != "" {
		list = append(list, "phone")
	}
	return list
}

// newIdentity is how a user is known here by an address or a number. Its data
// repeats the user's metadata because clients of Supabase look for it there.
func newIdentity(u *User, provider string, now time.Time) Identity {
	i := Identity{
		ID: store.NewIdentityID(), UserID: u.ID, Provider: provider, Subject: u.ID.String(), Data: identityData(u),
		LastSignInAt: now, CreatedAt: now, UpdatedAt: now,
	}
	if provider == "email" {
		i.Email = u.Email
	}
	return i
}

func identityData(u *User) []byte {
	data, err := readMetadata(u.UserMetadata)
	if err != nil {
		data = map[string]any{} // of a row nobody here wrote: the user must still be known by the address
	}
	data["sub"] = u.ID.String()
	if u.Email != "" {
		data["email"] = u.Email
	}
	if u.Phone != "" {
		data["phone"] = u.Phone
	}
	data["email_verified"], data["phone_verified"] = !u.EmailVerifiedAt.IsZero(), !u.PhoneVerifiedAt.IsZero()
	b, err := json.Marshal(data)
	if err != nil {
		return []byte("{}")
	}
	return b
}

// identify brings the identities of the user's own address and number in line
// with the user: those that are missing are added, those without one removed.
func (s *Service) identify(tx *store.Tx, u *User) error {
	want := map[string]bool{"email": u.Email != "", "phone": u.Phone != ""}
	var kept []Identity
	for _, i := range u.Identities {
		own, has := want[i.Provider]
		switch {
		case !has:
			kept = append(kept, i)
			continue
		case !own:
			err := tx.DropIdentity(i.ID)
			if err != nil {
				return err
			}
			continue
		}
		want[i.Provider] = false
		i.Data, i.UpdatedAt = identityData(u), tx.Now
		if i.Provider == "email" {
			i.Email = u.Email
		}
		err := tx.SetIdentity(i)
		if err != nil {
			return err
		}
		kept = append(kept, i)
	}
	u.Identities = kept
	for _, provider := range []string{"email", "phone"} {
		if !want[provider] {
			continue
		}
		i := newIdentity(u, provider, tx.Now)
		err := tx.AddIdentity(i)
		if err != nil {
			return err
		}
		u.Identities = append(u.Identities, i)
	}
	return s.nameProviders(u)
}

// nameProviders writes into the user's own metadata by which providers they
// are known, where clients look for it.
func (s *Service) nameProviders(u *User) error {
	data, err := readMetadata(u.AppMetadata)
	if err != nil {
		return nil //nolint:nilerr // a row nobody here wrote is left as it is
	}
	names := []string{}
	for _, i := range u.Identities {
		if !slices.Contains(names, i.Provider) {
			names = append(names, i.Provider)
		}
	}
	first, _ := data["provider"].(string)
	own := first == "" || first == "email" || first == "phone"
	if own && len(names) > 0 && !slices.Contains(names, first) {
		data["provider"] = names[0]
	}
	data["providers"] = names
	if len(names) == 0 { // nobody in particular
		delete(data, "providers")
	}
	b, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("auth: app metadata: %w", err)
	}
	u.AppMetadata = b
	return nil
}
