package auth

import (
	"context"
	"errors"
	"time"

	"gatehouse/internal/phone"
	"gatehouse/internal/store"
)

// Recover sends a way back in to the user with that address. An unknown one
// gets the same answer and no mail.
//
// Codes: EmailDisabled, EmailInvalid, EmailNotAuthorized, CaptchaFailed, TooSoon.
// Events: RecoveryAsked.
func (s *Service) Recover(ctx context.Context, c Caller, email string, f Flow) error {
	to := Contact{}
	var err error
	to.Email, err = CleanEmail(email)
	if err == nil {
		err = s.reachable(to)
	}
	if err == nil {
		err = s.human(ctx, c)
	}
	if err != nil {
		return err
	}
	return s.later(ctx, c, "recovery", task{Op: taskRecover, To: to, Flow: f.leave(KindRecovery)})
}

func (s *Service) recover(tx *store.Tx, c Caller, t task, u *User) error {
	return s.send(tx, c, u, KindRecovery, t.To, &u.RecoverySentAt, SessionID{}, false, t.Flow.flow())
}

// CodeRequest asks for a link or code that signs in.
type CodeRequest struct {
	Email, Phone string
	Create       bool           // an unknown address or number becomes a user first
	Data         map[string]any // of that user
}

// MagicLink sends a link and a code that sign in, or to a number a code. With
// Create an unknown contact becomes a user first, unconfirmed until the message
// is answered. Who asks for an unknown one without is told nothing, unless the
// policy reveals it.
//
// Codes: EmailDisabled, PhoneDisabled, MagicLinkDisabled, EmailInvalid,
// PhoneInvalid, InvalidInput, SignupDisabled, NoSuchUserForCode, TooSoon,
// SMSTooSoon, SMSRefused, EmailNotAuthorized, CaptchaFailed. Events: SignedUp,
// CodeAsked.
func (s *Service) MagicLink(ctx context.Context, c Caller, r CodeRequest, f Flow) error {
	to, err := cleanContact(r.Email, r.Phone)
	if err == nil {
		err = s.reachable(to)
	}
	if err == nil && to.Phone == "" && s.policy.MagicLinkDisabled {
		err = fail(MagicLinkDisabled)
	}
	if err == nil {
		err = s.human(ctx, c)
	}
	if err != nil {
		return err
	}
	var meta []byte
	if r.Create { // else nobody is made who would need any
		meta, err = s.userData(nil, r.Data)
		if err != nil {
			return err
		}
	}
	if s.policy.Reveal != RevealNothing && (!r.Create || s.policy.SignupDisabled) {
		err = s.tellUnknown(ctx, to, r.Create)
		if err != nil {
			return err
		}
	}
	return s.later(ctx, c, "recovery", task{
		Op: taskMagicLink, To: to, Create: r.Create, Meta: meta, Flow: f.leave(KindMagicLink, KindConfirmation),
	})
}

// tellUnknown tells whoever asks for a code that nobody has that contact.
func (s *Service) tellUnknown(ctx context.Context, to Contact, create bool) error {
	return s.db.Read(ctx, s.tenant, func(tx *store.Tx) error {
		_, err := to.user(tx)
		if errors.Is(err, store.ErrNotFound) {
			if create {
				return fail(SignupDisabled)
			}
			return fail(NoSuchUserForCode)
		}
		return err
	})
}

func (s *Service) magicLink(tx *store.Tx, c Caller, t task, u, draft User, unknown bool) error {
	var err error
	if unknown {
		if !t.Create || s.policy.SignupDisabled {
			return s.unsent(tx, t.To)
		}
		u = draft
		err = s.addUser(tx, c, &u, "", SignedUp)
		if err != nil {
			return err
		}
	}
	kind, sent := KindMagicLink, &u.RecoverySentAt
	if t.To.Phone != "" {
		kind = KindSMS
	}
	if t.To.provedAt(&u).IsZero() {
		kind, sent = confirms(t.To), &u.ConfirmationSentAt
		// Whoever may have chosen a password before is not known to own this
		// mailbox; the confirmation proves only who reads the mail.
		if u.EmailVerifiedAt.IsZero() && u.PhoneVerifiedAt.IsZero() { // else it is theirs who have proved the other contact
			err = tx.DropCredentials(u.ID)
			if err == nil {
				err = s.dropOutside(tx, &u, IdentityID{})
			}
		}
		if err != nil {
			return err
		}
	}
	return s.send(tx, c, &u, kind, t.To, sent, SessionID{}, unknown, t.Flow.flow())
}

// unsent gives back what was counted of everybody's for a text message that is
// not sent after all. What was counted of the number's own is spent: who asks
// must not learn whether it was sent.
func (s *Service) unsent(tx *store.Tx, to Contact) error {
	if to.Phone == "" {
		return nil
	}
	err := tx.Uncount(smsBudget, everybody)
	if err == nil {
		err = tx.Uncount(smsAll, everybody)
	}
	if err == nil {
		err = tx.Uncount(smsNeighbours, []byte(phone.Prefix(to.Phone)))
	}
	return err
}

// Resend sends the last unanswered question of a kind again, with new secrets:
// KindConfirmation, KindChangeNew to an address, KindSMS, KindPhoneChange to a
// number. Where there is nothing to send, nothing is sent and nothing is said.
//
// Codes: EmailDisabled, PhoneDisabled, EmailInvalid, PhoneInvalid, TooSoon,
// SMSTooSoon, SMSRefused, EmailNotAuthorized, CaptchaFailed. Events: CodeAsked.
func (s *Service) Resend(ctx context.Context, c Caller, kind Kind, asked string, f Flow) error {
	email, number := asked, ""
	if kind == KindSMS || kind == KindPhoneChange {
		email, number = "", asked
	}
	to, err := cleanContact(email, number)
	if err == nil {
		err = s.reachable(to)
	}
	if err == nil {
		err = s.human(ctx, c)
	}
	if err != nil {
		return err
	}
	t := task{Op: taskConfirmAgain, To: to, Flow: f.leave(KindConfirmation)}
	pace := string(KindConfirmation)
	if kind == KindChangeNew || kind == KindPhoneChange {
		t.Op, t.Flow = taskChangeAgain, f.leave(KindChangeNew, KindChangeCurrent)
		pace = "change"
	}
	return s.later(ctx, c, pace, t)
}

func (s *Service) confirmAgain(tx *store.Tx, c Caller, t task, u *User) error {
	if !t.To.provedAt(u).IsZero() {
		return s.unsent(tx, t.To)
	}
	f := t.Flow.flow()
	if t.To.Email != "" { // the same question once more, for the same account elsewhere
		ch, err := tx.Challenge(string(KindConfirmation), u.ID[:])
		var q *Question
		if err == nil {
			q, err = readQuestion(ch)
		}
		switch {
		case err == nil:
			f.identity = q.Identity
		case !errors.Is(err, store.ErrNotFound):
			return err
		}
	}
	return s.send(tx, c, u, confirms(t.To), t.To, &u.ConfirmationSentAt, SessionID{}, false, f)
}

func (s *Service) changeAgain(tx *store.Tx, c Caller, t task, u *User) error {
	f := t.Flow.flow()
	wanted := Contact{Phone: u.NewPhone}
	if t.To.Phone == "" {
		wanted = Contact{Email: u.NewEmail}
	}
	err := s.unsent(tx, t.To) // it goes elsewhere, and is counted there
	if err != nil || wanted == (Contact{}) {
		return err
	}
	has, err := taken(tx, wanted)
	if err != nil {
		return err
	}
	refused, err := refusal(s.pace(tx, c, "change", wanted))
	if err != nil || refused != nil {
		return err // what was given back stays so
	}
	switch {
	case wanted.Phone != "" && has:
		return s.unsent(tx, wanted)
	case wanted.Phone != "":
		u.PhoneChangeSentAt = tx.Now
		err = s.askBySMS(tx, c, u, KindPhoneChange, u.NewPhone, false, f)
	case has:
		err = s.askTaken(tx, c, u, f)
	default:
		err = s.askChange(tx, c, u, f)
	}
	if err == nil {
		err = tx.SetUser(u)
	}
	if err == nil {
		err = s.emit(tx, c, CodeAsked, u.ID, SessionID{}, map[string]any{"kind": string(t.Op)})
	}
	return err
}

// Reauthenticate sends a code that proves, a moment later, that the bearer of
// an old session still is its user: to their address, else to their number.
//
// Codes: InvalidInput, EmailNotConfirmed, PhoneNotConfirmed, TooSoon,
// SMSTooSoon, SMSRefused; those of Authenticate when the session ended
// meanwhile. Events: CodeAsked.
func (s *Service) Reauthenticate(ctx context.Context, c Caller, v *Viewer, f Flow) error {
	var refused error
	err := s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
		refused = nil
		_, u, err := s.look(tx, v.User.ID, v.Session.ID)
		if err != nil {
			return err
		}
		to, err := reauthAt(&u)
		if err != nil {
			return err
		}
		refused, err = refusal(s.pace(tx, c, string(KindReauth), to))
		if err != nil || refused != nil {
			return err
		}
		return s.send(tx, c, &u, KindReauth, to, &u.ReauthenticationSentAt, v.Session.ID, false, f)
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		return err
	}
	s.wake()
	return nil
}

// reauthAt is where a user proves again who they are.
//
// Codes: InvalidInput, EmailNotConfirmed, PhoneNotConfirmed.
func reauthAt(u *User) (Contact, error) {
	switch {
	case u.Email != "" && !u.EmailVerifiedAt.IsZero():
		return Contact{Email: u.Email}, nil
	case u.Phone != "" && !u.PhoneVerifiedAt.IsZero():
		return Contact{Phone: u.Phone}, nil
	case u.Email != "":
		return Contact{}, fail(EmailNotConfirmed)
	case u.Phone != "":
		return Contact{}, fail(PhoneNotConfirmed)
	}
	return Contact{}, Invalid("email", "Reauthentication requires the user to have an email or a phone number")
}

// send puts a question to u at one of their contacts; sent is the field of u
// that remembers when. The pace has been kept before.
//
// Events: RecoveryAsked, or CodeAsked.
func (s *Service) send(tx *store.Tx, c Caller, u *User, k Kind, to Contact, sent *time.Time, session SessionID, made bool, f Flow) error {
	*sent = tx.Now
	err := s.put(tx, c, u, k, to, made, f)
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
