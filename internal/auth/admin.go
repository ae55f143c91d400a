package auth

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"gatehouse/internal/store"
)

// UserFilter picks a page of users.
type UserFilter = store.UserFilter

// UserSorts are the columns a list of users may be sorted by.
var UserSorts = store.UserSorts

// UserChanges is what an administrator sets on a user; nil leaves a thing as
// it is.
type UserChanges struct {
	ID             *UserID // of a new user only
	Aud, Role      *string
	Email          *string // set at once, without mail
	EmailConfirmed *bool
	Phone          *string // likewise
	PhoneConfirmed *bool
	Password       *string
	PasswordHash   *string // of another system, in one of the forms Gatehouse verifies
	AppData        map[string]any
	UserData       map[string]any
	BanFor         *time.Duration // 0 lifts the ban
}

// Users returns a page of users and how many match in all.
//
// Codes: InvalidInput.
func (s *Service) Users(ctx context.Context, c Caller, f UserFilter) (page []User, total int, err error) {
	if f.Sort != "" && !slices.Contains(UserSorts, f.Sort) {
		return nil, 0, Invalid("sort", "users cannot be sorted by that")
	}
	err = s.db.Read(ctx, s.tenant, func(tx *store.Tx) error {
		page, total, err = tx.UserPage(f)
		return err
	})
	return page, total, err
}

// User returns a user by id.
//
// Codes: UserNotFound.
func (s *Service) User(ctx context.Context, c Caller, id UserID) (*User, error) {
	var u User
	err := s.db.Read(ctx, s.tenant, func(tx *store.Tx) (err error) {
		u, err = tx.User(id)
		return err
	})
	return &u, notFound(err)
}

// UserByEmail returns a user by address.
//
// Codes: EmailInvalid, UserNotFound.
func (s *Service) UserByEmail(ctx context.Context, c Caller, email string) (*User, error) {
	email, err := CleanEmail(email)
	if err != nil {
		return nil, err
	}
	var u User
	err = s.db.Read(ctx, s.tenant, func(tx *store.Tx) (err error) {
		u, err = tx.UserByEmail(email)
		return err
	})
	return &u, notFound(err)
}

// UserByPhone returns a user by number.
//
// Codes: PhoneInvalid, UserNotFound.
func (s *Service) UserByPhone(ctx context.Context, c Caller, number string) (*User, error) {
	number, err := CleanPhone(number)
	if err != nil {
		return nil, err
	}
	var u User
	err = s.db.Read(ctx, s.tenant, func(tx *store.Tx) (err error) {
		u, err = tx.UserByPhone(number)
		return err
	})
	return &u, notFound(err)
}

func notFound(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return &Error{Code: UserNotFound, Err: err}
	}
	return err
}

// AddUser makes a user for an administrator. No mail goes out.
//
// Codes: EmailInvalid, PhoneInvalid, InvalidInput, WeakPassword,
// PasswordTooLong, EmailTaken, PhoneTaken, IDTaken, Busy. Events: SignedUp.
func (s *Service) AddUser(ctx context.Context, c Caller, ch UserChanges) (*User, error) {
	to, hash, err := s.prepare(ctx, c, ch)
	if err != nil {
		return nil, err
	}
	if to == (Contact{}) {
		return nil, Invalid("email", "Cannot create a user without either an email or phone")
	}
	var u User
	err = s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
		u = s.newUser(to)
		if ch.ID != nil {
			u.ID = *ch.ID
			_, err := tx.User(u.ID)
			if err == nil {
				return fail(IDTaken)
			}
			if !errors.Is(err, store.ErrNotFound) {
				return err
			}
		}
		err := s.set(tx, &u, ch)
		if err != nil {
			return err
		}
		return s.addUser(tx, c, &u, hash, SignedUp)
	})
	if errors.Is(err, store.ErrDuplicate) {
		return nil, s.which(ctx, c, to, UserID{})
	}
	return &u, err
}

// which tells which of two contacts another user than that one has.
func (s *Service) which(ctx context.Context, c Caller, to Contact, but UserID) error {
	if to.Phone == "" || to.Email == "" {
		return to.taken()
	}
	who, err := s.UserByEmail(ctx, c, to.Email)
	if err == nil && who.ID != but {
		return fail(EmailTaken)
	}
	return fail(PhoneTaken)
}

// SetUser changes a user for an administrator. A new password and a ban end
// the user's sessions at once.
//
// Codes: UserNotFound and those of AddUser.
// Events: UserUpdated, PasswordChanged, UserBannedEvent, SignedOut.
func (s *Service) SetUser(ctx context.Context, c Caller, id UserID, ch UserChanges) (*User, error) {
	to, hash, err := s.prepare(ctx, c, ch)
	if err != nil {
		return nil, err
	}
	var u User
	err = s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
		u, err = tx.User(id)
		if err != nil {
			return err
		}
		email, number := to.Email != "" && to.Email != u.Email, to.Phone != "" && to.Phone != u.Phone
		if email {
			u.Email, u.NewEmail, u.EmailChangeProved = to.Email, "", 0
		}
		if number {
			u.Phone, u.NewPhone = to.Phone, ""
		}
		moved := email || number
		if moved {
			u.IsAnonymous = false
			err = tx.DropChallenges(u.ID, "") // also those that would undo it
			if err != nil {
				return err
			}
		}
		err = s.set(tx, &u, ch)
		if err == nil && (moved || ch.EmailConfirmed != nil || ch.PhoneConfirmed != nil) {
			err = s.identify(tx, &u)
		}
		if err == nil {
			err = tx.SetUser(&u)
		}
		if err == nil {
			err = s.emit(tx, c, UserUpdated, u.ID, SessionID{}, map[string]any{
				"user_metadata": keys(ch.UserData), "app_metadata": keys(ch.AppData), "email": email, "phone": number,
			})
		}
		if err == nil && hash != "" {
			err = s.replacePassword(tx, c, &u, hash, SessionID{})
		}
		if err == nil {
			err = s.tell(tx, c, HookUserModified, &u)
		}
		if err != nil || ch.BanFor == nil || *ch.BanFor <= 0 {
			return err
		}
		return s.shutOut(tx, c, &u, UserBannedEvent, "banned")
	})
	if errors.Is(err, store.ErrDuplicate) {
		return nil, s.which(ctx, c, to, id)
	}
	return &u, notFound(err)
}

// shutOut ends all of a user's sessions and says why.
func (s *Service) shutOut(tx *store.Tx, c Caller, u *User, event EventName, reason string) error {
	ended, err := tx.EndSessions(u.ID, SessionID{}, reason)
	if err == nil {
		err = s.emit(tx, c, event, u.ID, SessionID{}, nil)
	}
	if err == nil {
		err = s.ended(tx, c, u.ID, reason, ended)
	}
	return err
}

// prepare does the slow part of an administrator's change.
func (s *Service) prepare(ctx context.Context, c Caller, ch UserChanges) (to Contact, hash string, err error) {
	if ch.Email != nil && *ch.Email != "" {
		to.Email, err = CleanEmail(*ch.Email)
	}
	if err == nil && ch.Phone != nil && *ch.Phone != "" {
		to.Phone, err = CleanPhone(*ch.Phone)
	}
	if err != nil {
		return to, "", err
	}
	switch {
	case ch.PasswordHash != nil && *ch.PasswordHash != "":
		if ch.Password != nil && *ch.Password != "" {
			return to, "", Invalid("password_hash", "Only a password or a password hash should be provided")
		}
		err = s.hasher.Supported(*ch.PasswordHash)
		if err != nil {
			return to, "", Invalid("password_hash", err.Error())
		}
		hash = *ch.PasswordHash
	case ch.Password != nil && *ch.Password != "":
		hash, err = s.newPassword(ctx, c, *ch.Password)
	}
	return to, hash, err
}

// set puts an administrator's values into u.
func (s *Service) set(tx *store.Tx, u *User, ch UserChanges) error {
	if ch.Aud != nil && *ch.Aud != "" {
		u.Aud = *ch.Aud
	}
	if ch.Role != nil && *ch.Role != "" {
		u.Role = *ch.Role
	}
	if ch.EmailConfirmed != nil && *ch.EmailConfirmed && u.EmailVerifiedAt.IsZero() && u.Email != "" {
		u.EmailVerifiedAt = tx.Now
	}
	if ch.PhoneConfirmed != nil && *ch.PhoneConfirmed && u.PhoneVerifiedAt.IsZero() && u.Phone != "" {
		u.PhoneVerifiedAt = tx.Now
	}
	if ch.BanFor != nil {
		u.BannedUntil = time.Time{}
		if *ch.BanFor > 0 {
			u.BannedUntil = tx.Now.Add(*ch.BanFor)
		}
	}
	var err error
	u.AppMetadata, err = mergeMetadata(u.AppMetadata, ch.AppData)
	if err == nil {
		u.UserMetadata, err = s.userData(u.UserMetadata, ch.UserData)
	}
	return err
}

// DropUser deletes a user with all their sessions, credentials and questions.
// soft keeps the row, so that the id is never given out again, but empties it:
// the address can be signed up anew by whoever proves it.
//
// Codes: UserNotFound. Events: UserDeletedEvent, SignedOut.
func (s *Service) DropUser(ctx context.Context, c Caller, id UserID, soft bool) error {
	err := s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
		u, err := tx.User(id)
		if err != nil {
			return err
		}
		err = s.shutOut(tx, c, &u, UserDeletedEvent, "user deleted")
		if err == nil {
			err = s.tell(tx, c, HookUserDeleted, &u)
		}
		if err != nil {
			return err
		}
		if !soft {
			return tx.DropUser(id)
		}
		return s.hollow(tx, &u)
	})
	return notFound(err)
}

// hollow empties a user of all that names a person.
func (s *Service) hollow(tx *store.Tx, u *User) error {
	err := tx.DropIdentities(u.ID)
	if err == nil {
		err = tx.DropCredentials(u.ID)
	}
	if err == nil {
		err = tx.DropChallenges(u.ID, "")
	}
	if err != nil {
		return err
	}
	was := s.root.MAC("deleted identifier", []byte(u.Email))
	u.Email, u.Phone, u.NewEmail, u.NewPhone = "deleted-"+hex.EncodeToString(was[:16])+"-"+u.ID.String(), "", "", ""
	u.AppMetadata, u.UserMetadata = []byte("{}"), []byte("{}")
	u.EmailVerifiedAt, u.PhoneVerifiedAt = time.Time{}, time.Time{}
	u.DeletedAt = tx.Now
	return tx.SetUser(u)
}
