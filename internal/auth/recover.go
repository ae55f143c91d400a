package auth

import (
	"context"
	"errors"
	"time"

	"gatehouse/internal/store"
)

// Recover mails a way back in to the user with that address. An unknown one
// gets the same answer and no mail.
//
// Codes: EmailDisabled, EmailInvalid, TooSoon. Events: RecoveryAsked.
func (s *Service) Recover(ctx context.Context, c Caller, email string, f Flow) error {
	return s.mailKnown(ctx, c, email, func(tx *store.Tx, u *User) error {
		return s.send(tx, c, u, KindRecovery, &u.RecoverySentAt, SessionID{}, f)
	})
}

// MagicLink mails a link and a code that sign in. With create an unknown
// address becomes a user first, unconfirmed until the mail is answered.
//
// Codes: EmailDisabled, MagicLinkDisabled, EmailInvalid, SignupDisabled,
// NoSuchUserForCode, TooSoon. Events: SignedUp, CodeAsked.
func (s *Service) MagicLink(ctx context.Context, c Caller, email string, create bool, data map[string]any, f Flow) error {
	if s.policy.EmailDisabled {
		return fail(EmailDisabled)
	}
	if s.policy.MagicLinkDisabled {
		return fail(MagicLinkDisabled)
	}
	email, err := CleanEmail(email)
	if err != nil {
		return err
	}
	meta, err := mergeMetadata(nil, data)
	if err != nil {
		return err
	}
	var refused error
	ask := func(tx *store.Tx) error {
		refused = nil
		u, err := tx.UserByEmail(email)
		if errors.Is(err, store.ErrNotFound) {
			if !create {
				return fail(NoSuchUserForCode)
			}
			if s.policy.SignupDisabled {
				return fail(SignupDisabled)
			}
			u = s.newUser(tx, email)
			u.UserMetadata = meta
			err = s.addUser(tx, c, &u, "", SignedUp)
		}
		if err != nil {
			return err
		}
		kind, sent := KindMagicLink, &u.RecoverySentAt
		if u.EmailVerifiedAt.IsZero() {
			kind, sent = KindConfirmation, &u.ConfirmationSentAt
			// Whoever may have chosen a password before is not known to own
			// this mailbox; the confirmation proves only who reads the mail.
			err = tx.DropCredentials(u.ID)
			if err != nil {
				return err
			}
		}
		// Too soon is a verdict: the password stays dropped, because the mail
		// of whoever chose it may be on its way.
		refused, err = refusal(s.send(tx, c, &u, kind, sent, SessionID{}, f))
		return err
	}
	err = s.db.Write(ctx, c.Tenant, ask)
	if errors.Is(err, store.ErrDuplicate) { // made between our read and our write, on another node
		err = s.db.Write(ctx, c.Tenant, ask)
	}
	if err == nil {
		err = refused
	}
	if err != nil {
		return err
	}
	s.wake()
	return nil
}

// Resend mails the last unanswered question of a kind again, with new secrets.
// Where there is nothing to send, nothing is sent and nothing is said.
//
// Codes: EmailDisabled, EmailInvalid, TooSoon. Events: CodeAsked.
func (s *Service) Resend(ctx context.Context, c Caller, kind Kind, email string, f Flow) error {
	return s.mailKnown(ctx, c, email, func(tx *store.Tx, u *User) error {
		switch {
		case kind == KindConfirmation && u.EmailVerifiedAt.IsZero():
			return s.send(tx, c, u, kind, &u.ConfirmationSentAt, SessionID{}, f)
		case kind == KindChangeNew && u.NewEmail != "":
			err := s.tooSoon(u.EmailChangeSentAt, tx.Now)
			if err == nil {
				err = s.askChange(tx, u, f)
			}
			if err == nil {
				err = tx.SetUser(u)
			}
			if err == nil {
				err = s.emit(tx, c, CodeAsked, u.ID, SessionID{}, map[string]any{"kind": string(kind)})
			}
			return err
		}
		return nil
	})
}

// Reauthenticate mails a code that proves, a moment later, that the bearer of
// an old session still is its user.
//
// Codes: InvalidInput, EmailNotConfirmed, TooSoon. Events: CodeAsked.
func (s *Service) Reauthenticate(ctx context.Context, c Caller, v *Viewer) error {
	err := s.db.Write(ctx, c.Tenant, func(tx *store.Tx) error {
		u, err := tx.User(v.User.ID)
		if err != nil {
			return err
		}
		if u.Email == "" {
			return Invalid("email", "Reauthentication requires the user to have an email or a phone number")
		}
		if u.EmailVerifiedAt.IsZero() {
			return fail(EmailNotConfirmed)
		}
		return s.send(tx, c, &u, KindReauth, &u.ReauthenticationSentAt, v.Session.ID, Flow{})
	})
	if err != nil {
		return err
	}
	s.wake()
	return nil
}

// mailKnown runs f for the user with that address, and nothing for one nobody
// has: whoever asks learns no difference.
func (s *Service) mailKnown(ctx context.Context, c Caller, email string, f func(*store.Tx, *User) error) error {
	if s.policy.EmailDisabled {
		return fail(EmailDisabled)
	}
	email, err := CleanEmail(email)
	if err != nil {
		return err
	}
	err = s.db.Write(ctx, c.Tenant, func(tx *store.Tx) error {
		u, err := tx.UserByEmail(email)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return f(tx, &u)
	})
	if err != nil {
		return err
	}
	s.wake()
	return nil
}

// send mails a question to the address of u, unless one of its kind went out
// just now; sent is the field of u that remembers when.
//
// Codes: TooSoon. Events: RecoveryAsked, or CodeAsked.
func (s *Service) send(tx *store.Tx, c Caller, u *User, k Kind, sent *time.Time, session SessionID, f Flow) error {
	err := s.tooSoon(*sent, tx.Now)
	if err != nil {
		return err
	}
	*sent = tx.Now
	err = s.askByMail(tx, u, k, u.Email, f)
	if err == nil {
		err = tx.SetUser(u)
	}
	if err != nil {
		return err
	}
	if k == KindRecovery {
		return s.emit(tx, c, RecoveryAsked, u.ID, session, nil)
	}
	return s.emit(tx, c, CodeAsked, u.ID, session, map[string]any{"kind": string(k)})
}
