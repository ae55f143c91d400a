package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"gatehouse/internal/notify"
	"gatehouse/internal/store"
)

// NewUser is what a person signs up with.
type NewUser struct {
	Email    string
	Password string
	Data     map[string]any // becomes the user's metadata; it carries no rights
	Tell     bool           // an address that is taken is told so, instead of hidden
}

// SignUp makes a user with an address and a password.
//
// With Autoconfirm the Grant has tokens. Without, a mail goes out and the
// Grant has none; an address whose owner has confirmed it gets the same answer
// (unless Tell), and its owner a mail that says so; one that nobody confirmed
// yet gets its mail again, and its data stay those of the one who came first;
// its password too, unless the two differ: then it has none until whoever reads
// the mail chooses one.
//
// Codes: SignupDisabled, EmailDisabled, EmailInvalid, PasswordMissing,
// PasswordTooLong, WeakPassword, AlreadyRegistered, TooSoon, Busy.
// Events: SignedUp, SignedIn; CodeAsked where the address has a user.
func (s *Service) SignUp(ctx context.Context, c Caller, n NewUser, f Flow) (*Grant, error) {
	if s.policy.SignupDisabled {
		return nil, fail(SignupDisabled)
	}
	if s.policy.EmailDisabled {
		return nil, fail(EmailDisabled)
	}
	email, err := CleanEmail(n.Email)
	if err != nil {
		return nil, err
	}
	if n.Password == "" {
		return nil, fail(PasswordMissing)
	}
	meta, err := mergeMetadata(nil, n.Data)
	if err != nil {
		return nil, err
	}
	hash, err := s.newPassword(ctx, c, n.Password) // slow: before the transaction
	if err != nil {
		return nil, err
	}
	var u User
	var sess Session
	err = s.db.Write(ctx, c.Tenant, func(tx *store.Tx) error {
		u = s.newUser(tx, email)
		u.UserMetadata = meta
		if s.policy.Autoconfirm {
			u.EmailVerifiedAt = tx.Now
		} else {
			u.ConfirmationSentAt = tx.Now
		}
		err := s.addUser(tx, c, &u, hash, SignedUp)
		if err != nil {
			return err
		}
		if s.policy.Autoconfirm {
			sess, err = s.open(tx, c, &u, Proof{UserID: u.ID, AMR: "password", Provider: "email"})
			return err
		}
		return s.askByMail(tx, &u, KindConfirmation, email, f)
	})
	if errors.Is(err, store.ErrDuplicate) {
		return s.signUpAgain(ctx, c, n, email, meta, f)
	}
	if err != nil {
		return nil, err
	}
	if !s.policy.Autoconfirm {
		s.wake()
		return &Grant{User: u}, nil
	}
	return s.grant(c.Tenant, u, sess, sess.Generation, sess.CreatedAt)
}

// signUpAgain answers a sign-up with an address that has a user.
func (s *Service) signUpAgain(ctx context.Context, c Caller, n NewUser, email string, meta []byte, f Flow) (*Grant, error) {
	first, conflict, err := s.otherPassword(ctx, c, email, n.Password)
	if err != nil {
		return nil, err
	}
	var u User
	confirmed := false
	var refused error
	err = s.db.Write(ctx, c.Tenant, func(tx *store.Tx) error {
		refused = nil
		var err error
		u, err = tx.UserByEmail(email)
		if err != nil {
			return err
		}
		confirmed = !u.EmailVerifiedAt.IsZero()
		if confirmed && (s.policy.Autoconfirm || n.Tell) {
			return fail(AlreadyRegistered)
		}
		if conflict && !confirmed { // also where no mail goes out now: one may be on its way
			_, err = tx.DropPassword(u.ID, first)
			if err != nil {
				return err
			}
		}
		refused = s.tooSoon(u.ConfirmationSentAt, tx.Now) // whether the address is proved or not: the answers must not differ
		if refused != nil {
			return nil //nolint:nilerr // a verdict, not a failure: what was done so far is kept
		}
		u.ConfirmationSentAt = tx.Now
		if confirmed {
			err = s.mail(tx, &u, notify.Mail{Kind: notify.AlreadyRegistered, To: email, Vars: notify.Vars{Email: email, SendingTo: email}}, s.policy.LinkTTL)
		} else {
			err = s.askByMail(tx, &u, KindConfirmation, email, f)
		}
		if err == nil {
			err = s.emit(tx, c, CodeAsked, u.ID, SessionID{}, map[string]any{"kind": string(KindConfirmation), "confirmed": confirmed})
		}
		if err != nil {
			return err
		}
		return tx.SetUser(&u)
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		return nil, err
	}
	s.wake()
	if !confirmed {
		return &Grant{User: u}, nil
	}
	// A user who does not exist: no more of it is kept than of any guess.
	now := s.db.Now()
	return &Grant{User: User{
		ID: store.NewUserID(), Aud: s.policy.Audience, Email: email, ConfirmationSentAt: now,
		AppMetadata: providerMetadata("email"), UserMetadata: meta, CreatedAt: now, UpdatedAt: now,
	}}, nil
}

// otherPassword returns the hash of the password an address has already, and
// whether it is another than the one somebody signs up with now. Of two people
// who sign up with one unproved address the mailbox tells who is its owner, but
// not whose password is whose: then neither is kept, and the owner, let in by
// the mail, chooses one.
func (s *Service) otherPassword(ctx context.Context, c Caller, email, password string) (hash string, other bool, err error) {
	err = s.db.Read(ctx, c.Tenant, func(tx *store.Tx) error {
		u, err := tx.UserByEmail(email)
		if err != nil || !u.EmailVerifiedAt.IsZero() {
			return err // a proved address costs what an unknown one does
		}
		h, err := tx.PasswordOf(u.ID)
		hash = string(h)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	if err != nil || hash == "" {
		return "", false, err
	}
	same, _, err := s.checkPassword(ctx, c, hash, password)
	return hash, !same, err
}

// newUser is a user as all begin.
func (s *Service) newUser(tx *store.Tx, email string) User {
	return User{
		ID: store.NewUserID(), Aud: s.policy.Audience, Role: s.policy.DefaultRole, Email: email,
		AppMetadata: providerMetadata("email"), UserMetadata: []byte("{}"), CreatedAt: tx.Now, UpdatedAt: tx.Now,
	}
}

// addUser inserts u with the identity of its address and, unless hash is
// empty, a password.
func (s *Service) addUser(tx *store.Tx, c Caller, u *User, hash string, event EventName) error {
	err := tx.AddUser(*u)
	if err != nil {
		return err
	}
	if u.Email != "" {
		i := emailIdentity(u, tx)
		err = tx.AddIdentity(i)
		if err != nil {
			return err
		}
		u.Identities = append(u.Identities, i)
	}
	if hash != "" {
		err = tx.AddPassword(u.ID, []byte(hash))
		if err != nil {
			return err
		}
	}
	return s.emit(tx, c, event, u.ID, SessionID{}, nil)
}

// emailIdentity is how a user is known here by an address. Its data repeats
// the user's metadata because clients of Supabase look for it there.
func emailIdentity(u *User, tx *store.Tx) Identity {
	return Identity{
		ID: store.NewIdentityID(), UserID: u.ID, Provider: "email", Subject: u.ID.String(), Email: u.Email,
		Data: identityData(u), LastSignInAt: tx.Now, CreatedAt: tx.Now, UpdatedAt: tx.Now,
	}
}

func identityData(u *User) []byte {
	data, err := readMetadata(u.UserMetadata)
	if err != nil {
		data = map[string]any{} // of a row nobody here wrote: the user must still be known by the address
	}
	data["sub"], data["email"] = u.ID.String(), u.Email
	data["email_verified"], data["phone_verified"] = !u.EmailVerifiedAt.IsZero(), !u.PhoneVerifiedAt.IsZero()
	b, err := json.Marshal(data)
	if err != nil {
		return []byte("{}")
	}
	return b
}

// markVerified brings the identity of the user's address in line with the user.
func (s *Service) markVerified(tx *store.Tx, u *User) error {
	for n := range u.Identities {
		i := &u.Identities[n]
		if i.Provider != "email" {
			continue
		}
		i.Email, i.Data, i.UpdatedAt = u.Email, identityData(u), tx.Now
		return tx.SetIdentity(*i)
	}
	if u.Email == "" {
		return nil
	}
	i := emailIdentity(u, tx)
	u.Identities = append(u.Identities, i)
	return tx.AddIdentity(i)
}

func providerMetadata(provider string) []byte {
	return fmt.Appendf(nil, `{"provider":%q,"providers":[%q]}`, provider, provider)
}
