package auth

import (
	"errors"
	"time"

	"gatehouse/internal/phone"
	"gatehouse/internal/store"
)

// Contact is where a person is reached, and known by: an address or a number,
// in its one canonical form. One of the two is set; both only where an administrator
// gives a user both at once.
type Contact struct {
	Email string `json:"email,omitempty"`
	Phone string `json:"phone,omitempty"` // E.164 digits, without +
}

// CleanPhone returns the one form a number is kept, compared and looked up in:
// E.164 digits without the leading + (ITU-T E.164 §6).
//
// Codes: PhoneInvalid.
func CleanPhone(s string) (string, error) {
	digits, ok := phone.Clean(s)
	if !ok {
		return "", &Error{Code: PhoneInvalid, Field: "phone"}
	}
	return digits, nil
}

// cleanContact reads what a client sent: an address or a number, not both.
//
// Codes: EmailInvalid, PhoneInvalid, InvalidInput.
func cleanContact(email, number string) (to Contact, err error) {
	switch {
	case email != "" && number != "":
		return to, Invalid("email", "Only an email address or phone number should be provided")
	case number != "":
		to.Phone, err = CleanPhone(number)
	case email != "":
		to.Email, err = CleanEmail(email)
	default:
		return to, Invalid("email", "One of email or phone must be set")
	}
	return to, err
}

// provider is what the identity of a contact is called.
func (to Contact) provider() string {
	if to.Email == "" && to.Phone != "" {
		return "phone"
	}
	return "email" // also of the two that an administrator may give at once
}

func (to Contact) String() string { return to.Email + to.Phone }

// user returns who is known by it, or store.ErrNotFound.
func (to Contact) user(tx *store.Tx) (User, error) {
	if to.Phone != "" {
		return tx.UserByPhone(to.Phone)
	}
	return tx.UserByEmail(to.Email)
}

// provedAt is where u remembers that the contact was proved.
func (to Contact) provedAt(u *User) *time.Time {
	if to.Phone != "" {
		return &u.PhoneVerifiedAt
	}
	return &u.EmailVerifiedAt
}

// taken is what a client is told of a contact that another user has.
func (to Contact) taken() error {
	if to.Phone != "" {
		return fail(PhoneTaken)
	}
	return fail(EmailTaken)
}

// reachable tells whether that kind of contact is a way in here.
//
// Codes: EmailDisabled, PhoneDisabled.
func (s *Service) reachable(to Contact) error {
	if to.Phone != "" && s.policy.PhoneDisabled {
		return fail(PhoneDisabled)
	}
	if to.Phone == "" && s.policy.EmailDisabled {
		return fail(EmailDisabled)
	}
	return nil
}

// autoconfirm tells whether such a contact counts as proved at sign-up.
func (s *Service) autoconfirm(to Contact) bool {
	if to.Phone != "" {
		return s.policy.PhoneAutoconfirm
	}
	return s.policy.Autoconfirm
}

// subject is what counters know a contact by. It is keyed, because the table
// also counts those who are nobody's.
func (s *Service) subject(to Contact) []byte {
	h := s.root.MAC("counted contact", []byte(to.provider()), []byte(to.String()))
	return h[:16]
}

// known is what a sign-up has to know of who has a contact already.
type known struct {
	id     UserID
	proved bool
	hash   string
}

// knownBy looks who is known by a contact; nil: nobody.
func knownBy(tx *store.Tx, to Contact) (*known, error) {
	look, by := tx.KnownByEmail, to.Email
	if to.Phone != "" {
		look, by = tx.KnownByPhone, to.Phone
	}
	k, err := look(by)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	proved := !k.EmailVerifiedAt.IsZero()
	if to.Phone != "" {
		proved = !k.PhoneVerifiedAt.IsZero()
	}
	return &known{k.ID, proved, string(k.Hash)}, nil
}
