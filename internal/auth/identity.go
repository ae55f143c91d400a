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
		switch {
		case outside(&gone) && gone.Email == u.Email && !has(&u, "email") && !vouchedFor(&u), gone.Provider == "email" && !vouchedFor(&u):
			u.Email, u.EmailVerifiedAt, u.NewEmail, u.EmailChangeProved = "", time.Time{}, "", 0
			err = s.inherit(tx, &u)
		case gone.Provider == "phone":
			u.Phone, u.PhoneVerifiedAt, u.NewPhone = "", time.Time{}, ""
		}
		if err != nil {
			return err
		}
		if s.admit(&u, tx.Now) != nil {
			return fail(LastIdentity) // nobody has proved the one that is left
		}
		err = tx.DropIdentity(id)
		if err == nil {
			err = s.leave(tx, c, v, &u, &gone)
		}
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

// inherit gives a user whose address is gone that of another account of theirs
// which vouches for it, unless somebody else has it.
func (s *Service) inherit(tx *store.Tx, u *User) error {
	for i := range u.Identities {
		k := &u.Identities[i]
		data, err := readMetadata(k.Data)
		proved, _ := data["email_verified"].(bool)
		if err != nil || !outside(k) || k.Email == "" || !proved {
			continue
		}
		taken, err := tx.EmailTaken(k.Email)
		if err != nil {
			return err
		}
		if !taken {
			u.Email, u.EmailVerifiedAt = k.Email, tx.Now
			return nil
		}
	}
	return nil
}

// leave ends what an identity has begun that is gone: its tokens, and the sessions
// it opened but for the one that asks.
func (s *Service) leave(tx *store.Tx, c Caller, v *Viewer, u *User, gone *Identity) error {
	if !outside(gone) {
		return nil
	}
	err := s.dropTokens(tx, gone.ID)
	if err != nil {
		return err
	}
	data, err := readMetadata(u.AppMetadata)
	if err == nil && data["provider"] == gone.Provider && !has(u, gone.Provider) {
		u.AppMetadata, err = mergeMetadata(u.AppMetadata, map[string]any{"provider": nil})
	}
	if err != nil {
		return err
	}
	return s.endBy(tx, c, gone, v.Session.ID)
}

// endBy ends the sessions that an account elsewhere has opened, but for one.
func (s *Service) endBy(tx *store.Tx, c Caller, i *Identity, but SessionID) error {
	const why = "its identity was removed"
	ended, err := tx.EndSessionsOf(i.UserID, i.ID, but, why)
	if err == nil {
		err = s.ended(tx, c, i.UserID, why, ended)
	}
	return err
}

// ownProviders are those of our own identities a user has: of an address, of a
// number.
func ownProviders(u *User) (list []string) {
	if u.Email != "" && !vouchedFor(u) {
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
	want := map[string]bool{"email": u.Email != "" && (has(u, "email") || !vouchedFor(u)), "phone": u.Phone != ""}
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
