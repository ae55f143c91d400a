package auth

import (
	"context"
	"errors"
	"time"

	"gatehouse/internal/notify"
	"gatehouse/internal/store"
)

// NewUser is what a person signs up with: an address or a number, and a
// password; or neither, and then they are anonymous.
type NewUser struct {
	Email    string
	Phone    string
	Password string
	Data     map[string]any // becomes the user's metadata; it carries no rights
}

// Reveal says how much of who has an account strangers are told.
type Reveal int

// From nothing, which is the zero value, to everything.
const (
	RevealNothing Reveal = iota
	RevealHint           // what Supabase's clients look for: no identities in the answer to a sign-up with a known address
	RevealAll            // errors that say so, as Netlify's server gave
)

// SignUp makes a user.
//
// With autoconfirm, or anonymous, the Grant has tokens. Without, a mail or text
// message goes out and the Grant has none; an address whose owner has proved
// it gets the same answer (unless the policy reveals it), at the same cost, and
// its owner is told; one that nobody proved yet is asked again, and its data
// stay those of the one who came first; its password too, unless the two
// differ: then it has none until whoever is reached there chooses one.
//
// Codes: SignupDisabled, EmailDisabled, PhoneDisabled, AnonymousDisabled,
// EmailInvalid, PhoneInvalid, InvalidInput, PasswordMissing, PasswordTooLong,
// WeakPassword, AlreadyRegistered, TooSoon, SMSTooSoon, SMSRefused,
// EmailNotAuthorized, CaptchaFailed, Busy.
// Events: SignedUp, SignedIn; CodeAsked where the contact has a user.
func (s *Service) SignUp(ctx context.Context, c Caller, n NewUser, f Flow) (*Grant, error) {
	if s.policy.SignupDisabled {
		return nil, fail(SignupDisabled)
	}
	if n.Email == "" && n.Phone == "" && n.Password == "" {
		return s.signUpAnonymous(ctx, c, n)
	}
	to, err := cleanContact(n.Email, n.Phone)
	if err == nil {
		err = s.reachable(to)
	}
	if err == nil {
		err = s.human(ctx, c)
	}
	if err != nil {
		return nil, err
	}
	if n.Password == "" {
		return nil, fail(PasswordMissing)
	}
	meta, err := s.userData(nil, n.Data)
	if err == nil {
		err = s.acceptable(ctx, c, n.Password)
	}
	if err != nil {
		return nil, err
	}
	draft, err := s.draft(ctx, c, to, meta)
	if err != nil {
		return nil, err
	}
	for range maxRaces {
		g, err := s.signUp(ctx, c, to, n.Password, draft, f)
		if !errors.Is(err, ErrMoved) && !errors.Is(err, store.ErrDuplicate) {
			return g, err
		}
	}
	return nil, fail(Busy) // others sign up and vanish under this one as fast as it looks
}

// signUp looks who is there, hashes once whoever it is, and writes.
// ErrMoved, store.ErrDuplicate: somebody came or went meanwhile.
func (s *Service) signUp(ctx context.Context, c Caller, to Contact, password string, draft User, f Flow) (*Grant, error) {
	var who *known
	err := s.db.Read(ctx, s.tenant, func(tx *store.Tx) (err error) {
		who, err = knownBy(tx, to)
		return err
	})
	if err != nil {
		return nil, err
	}
	if who != nil {
		return s.signUpAgain(ctx, c, to, password, who, draft, f)
	}
	hash, err := s.hashPassword(ctx, c, password) // slow: before the transaction
	if err != nil {
		return nil, err
	}
	var u User
	var sess Session
	var refused error
	sure := s.autoconfirm(to)
	if sure && s.hooks.Entering != nil {
		*to.provedAt(&draft) = s.db.Now()
		ch, err := s.hooks.Entering(ctx, c, &draft, true)
		if err == nil {
			err = s.amend(&draft, ch)
		}
		if err != nil {
			return nil, err
		}
	}
	err = s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
		refused = nil
		u = draft
		if sure {
			*to.provedAt(&u) = tx.Now
		} else {
			u.ConfirmationSentAt = tx.Now
			refused, err = refusal(s.pace(tx, c, string(KindConfirmation), to))
			if err != nil || refused != nil {
				return err
			}
		}
		err := s.addUser(tx, c, &u, hash, SignedUp)
		if err != nil {
			return err
		}
		if sure {
			sess, err = s.open(tx, c, &u, Proof{UserID: u.ID, AMR: "password", Provider: to.provider()})
			return err
		}
		return s.put(tx, c, &u, confirms(to), to, true, f)
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		return nil, err
	}
	if !sure {
		s.wake()
		return &Grant{User: u}, nil
	}
	return s.admitted(ctx, c, "password", u, sess)
}

// confirms is the kind of question that proves a contact for the first time.
func confirms(to Contact) Kind {
	if to.Phone != "" {
		return KindSMS
	}
	return KindConfirmation
}

// signUpAgain answers a sign-up with a contact that has a user.
func (s *Service) signUpAgain(ctx context.Context, c Caller, to Contact, password string, who *known, draft User, f Flow) (*Grant, error) {
	// Of two people who sign up with one unproved address the mailbox tells who
	// is its owner, but not whose password is whose: then neither is kept, and
	// the owner, let in by the mail, chooses one. A proved address costs the same.
	hash := who.hash
	if who.proved {
		hash = ""
	}
	agrees, _, err := s.checkPassword(ctx, c, hash, password)
	if err != nil {
		return nil, err
	}
	var u User
	var refused error
	now := s.db.Now()
	err = s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
		refused, now = nil, tx.Now
		u, err = to.user(tx)
		if errors.Is(err, store.ErrNotFound) || err == nil && to.provedAt(&u).IsZero() == who.proved {
			return ErrMoved
		}
		if err != nil {
			return err
		}
		if who.proved && (s.autoconfirm(to) || s.policy.Reveal == RevealAll) {
			return fail(AlreadyRegistered)
		}
		if hash != "" && !agrees && u.EmailVerifiedAt.IsZero() && u.PhoneVerifiedAt.IsZero() { // else it is theirs who have proved the other contact
			_, err = tx.DropPassword(u.ID, hash) // also where nothing goes out now: something may be on its way
			if err != nil {
				return err
			}
		}
		refused, err = refusal(s.pace(tx, c, string(KindConfirmation), to)) // whether it is proved or not: the answers must not differ
		if err != nil || refused != nil {
			return err
		}
		if who.proved {
			err = s.tellOwner(tx, c, &u, to)
		} else {
			u.ConfirmationSentAt = tx.Now
			err = s.put(tx, c, &u, confirms(to), to, false, f)
			if err == nil {
				err = tx.SetUser(&u)
			}
		}
		if err != nil {
			return err
		}
		return s.emit(tx, c, CodeAsked, u.ID, SessionID{}, map[string]any{"kind": string(confirms(to)), "confirmed": who.proved})
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		return nil, err
	}
	s.wake()
	return &Grant{User: s.mask(to, u, who.proved, draft, now)}, nil
}

// tellOwner tells the owner of a proved contact that somebody signed up with
// it again.
func (s *Service) tellOwner(tx *store.Tx, c Caller, u *User, to Contact) error {
	if to.Phone != "" && s.texts.Keeper != nil {
		return s.unsent(tx, to) // a service that makes codes sends nothing else
	}
	if to.Phone != "" && s.texts.TestCode != nil {
		_, test := s.texts.TestCode(to.Phone, tx.Now)
		if test {
			return s.unsent(tx, to)
		}
	}
	if to.Phone != "" {
		return s.sendText(tx, text{SMS: notify.SMS{User: u.ID.String(), Kind: notify.SMSAlreadyRegistered, To: to.Phone, Languages: languages(u, c)}}, s.policy.LinkTTL)
	}
	return s.mail(tx, c, u, notify.Mail{
		Kind: notify.AlreadyRegistered, To: to.Email, Vars: notify.Vars{Email: to.Email, SendingTo: to.Email},
	}, s.policy.LinkTTL)
}

// mask is the user a sign-up with a known contact is answered with: as new as
// any other, saying back what was sent. A contact nobody has proved keeps the
// id of its user, whom its owner will be; that of a proved one is made up, the
// same at each try, because ids of users may be read elsewhere, and whose they
// are is nobody's business; and another in each tenant, for two alike would
// both be known for made up.
func (s *Service) mask(to Contact, u User, proved bool, draft User, now time.Time) User {
	m := User{
		ID: u.ID, Aud: s.policy.Audience, Role: s.policy.DefaultRole, Email: to.Email, Phone: to.Phone, ConfirmationSentAt: now,
		AppMetadata: draft.AppMetadata, UserMetadata: draft.UserMetadata, CreatedAt: now, UpdatedAt: now,
	}
	if proved {
		m.ID = store.UserIDOf(s.root.MAC("made-up user", s.tenant[:], []byte(to.String())))
	}
	i := newIdentity(&m, to.provider(), now)
	for _, known := range u.Identities {
		if !proved && known.Provider == i.Provider {
			i.ID = known.ID
		}
	}
	if proved {
		i.ID = store.IdentityIDOf(s.root.MAC("made-up identity", s.tenant[:], []byte(to.String())))
	}
	m.Identities = []Identity{i}
	if s.nameProviders(&m) != nil {
		m.AppMetadata = []byte("{}") // of a hook's that is no object, which draft refuses
	}
	if proved && s.policy.Reveal == RevealHint {
		m.Role, m.Identities = "", nil
	}
	return m
}

// newUser is a user as all begin.
func (s *Service) newUser(to Contact) User {
	now := s.db.Now()
	return User{
		ID: store.NewUserID(), Aud: s.policy.Audience, Role: s.policy.DefaultRole, Email: to.Email, Phone: to.Phone,
		AppMetadata: []byte("{}"), UserMetadata: []byte("{}"), CreatedAt: now, UpdatedAt: now,
	}
}

// addUser inserts u with the identity of its address and, unless hash is
// empty, a password.
func (s *Service) addUser(tx *store.Tx, c Caller, u *User, hash string, event EventName) error {
	u.CreatedAt, u.UpdatedAt = tx.Now, tx.Now
	for _, provider := range ownProviders(u) {
		u.Identities = append(u.Identities, newIdentity(u, provider, tx.Now))
	}
	err := s.nameProviders(u)
	if err == nil {
		err = tx.AddUser(*u)
	}
	if err != nil {
		return err
	}
	for _, i := range u.Identities {
		err = tx.AddIdentity(i)
		if err != nil {
			return err
		}
	}
	if hash != "" {
		err = tx.AddPassword(u.ID, []byte(hash))
		if err != nil {
			return err
		}
	}
	err = s.tell(tx, c, HookUserCreated, u)
	if err != nil {
		return err
	}
	return s.emit(tx, c, event, u.ID, SessionID{}, nil)
}
