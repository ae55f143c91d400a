package auth

import (
	"context"
	"errors"

	"gatehouse/internal/notify"
	"gatehouse/internal/store"
)

// apply carries out what the answer to a question proves: that u is reached
// where it went to. more tells that a change of address still
// waits for the other one.
func (s *Service) apply(tx *store.Tx, c Caller, u *User, q *Question, hash string) (more bool, err error) {
	switch q.Kind {
	case KindChangeCurrent, KindChangeNew:
		return s.agree(tx, c, u, q)
	case KindSMS:
		return false, s.proveNumber(tx, c, u, q)
	case KindPhoneChange:
		if u.NewPhone == "" || q.NewPhone != u.NewPhone || q.SentTo != u.NewPhone {
			return false, fail(CodeFailed)
		}
		return false, s.setPhone(tx, c, u, u.NewPhone)
	case KindConfirmation, KindInvite, KindMagicLink, KindRecovery:
	default:
		return false, fail(LinkFailed)
	}
	if q.SentTo != u.Email { // asked of an address the user has left
		return false, fail(LinkFailed)
	}
	if u.EmailVerifiedAt.IsZero() {
		err = s.arrive(tx, c, u, q)
		if err != nil {
			return false, err
		}
		u.EmailVerifiedAt = tx.Now
		err = s.identify(tx, u)
		if err == nil {
			err = s.emit(tx, c, Confirmed, u.ID, SessionID{}, map[string]any{"by": string(q.Kind)})
		}
		if err != nil {
			return false, err
		}
	}
	if hash != "" && q.Kind == KindInvite {
		// Not just set: the invited may have come by another door before.
		err = s.replacePassword(tx, c, u, hash, SessionID{})
		if err != nil {
			return false, err
		}
	}
	return false, tx.SetUser(u)
}

// arrive takes from an account what whoever made it has, if its owner comes by
// another door than theirs: they never proved the address, and must not share
// the account. Who signed up and confirms keeps all; of a password that two
// people disagreed about nothing is left that tells who it is.
func (s *Service) arrive(tx *store.Tx, c Caller, u *User, q *Question) error {
	by := q.Kind
	_, err := tx.PasswordOf(u.ID)
	if err == nil && by == KindConfirmation {
		return nil
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if by == KindMagicLink || by == KindRecovery {
		err = tx.DropCredentials(u.ID)
		if err != nil {
			return err
		}
	}
	err = s.dropOutside(tx, u, q.Identity) // accounts elsewhere, but the one whose owner was asked
	if err != nil {
		return err
	}
	return s.putOut(tx, c, u)
}

// putOut ends what somebody who never proved the address of an account has
// begun in it.
func (s *Service) putOut(tx *store.Tx, c Caller, u *User) error {
	const why = "the owner of the address came"
	u.NewEmail, u.EmailChangeProved, u.NewPhone = "", 0, ""
	ended, err := tx.EndSessions(u.ID, SessionID{}, why)
	if err == nil {
		err = s.ended(tx, c, u.ID, why, ended)
	}
	return err
}

// agree counts one address's yes to a change and carries the change out once
// every address that must has agreed.
func (s *Service) agree(tx *store.Tx, c Caller, u *User, q *Question) (more bool, err error) {
	if u.NewEmail == "" || q.NewEmail != u.NewEmail {
		return false, fail(LinkFailed)
	}
	switch {
	case q.Kind == KindChangeCurrent && q.SentTo == u.Email:
		u.EmailChangeProved |= store.OldAddress
	case q.Kind == KindChangeNew && q.SentTo == u.NewEmail:
		u.EmailChangeProved |= store.NewAddress
	default: // the addresses have moved on since
		return false, fail(LinkFailed)
	}
	need := store.NewAddress
	if s.bothAgree(u) {
		need |= store.OldAddress
	}
	if u.EmailChangeProved&need != need {
		return true, tx.SetUser(u)
	}
	return false, s.setEmail(tx, c, u, u.NewEmail)
}

// proveNumber notes that u is reached at their number.
func (s *Service) proveNumber(tx *store.Tx, c Caller, u *User, q *Question) error {
	if q.SentTo != u.Phone {
		return fail(CodeFailed)
	}
	if u.PhoneVerifiedAt.IsZero() {
		u.PhoneVerifiedAt = tx.Now
		err := s.identify(tx, u)
		if err == nil {
			err = s.emit(tx, c, Confirmed, u.ID, SessionID{}, map[string]any{"by": string(q.Kind)})
		}
		if err != nil {
			return err
		}
	}
	return tx.SetUser(u)
}

// setEmail makes a proved address the user's. Every question put to the old
// one is void: a link that was mailed there must not outlive the change. The
// old one gets a notice, which can undo it.
func (s *Service) setEmail(tx *store.Tx, c Caller, u *User, email string) error {
	was := *u
	u.Email, u.NewEmail, u.EmailChangeProved = email, "", 0
	u.EmailVerifiedAt = tx.Now
	return s.moved(tx, c, &was, u, EmailChanged)
}

// setPhone is setEmail for a number. Its notice goes to the user's address.
func (s *Service) setPhone(tx *store.Tx, c Caller, u *User, number string) error {
	was := *u
	u.Phone, u.NewPhone = number, ""
	u.PhoneVerifiedAt = tx.Now
	return s.moved(tx, c, &was, u, PhoneChanged)
}

// moved is what every change of address or number brings with it.
func (s *Service) moved(tx *store.Tx, c Caller, was, u *User, event EventName) error {
	u.IsAnonymous = false
	u.NewEmail, u.EmailChangeProved, u.NewPhone = "", 0, "" // a wish left alone could be asked for again, by a thief
	err := tx.DropChallenges(u.ID, string(KindUndo))
	if err == nil {
		err = s.identify(tx, u)
	}
	if err == nil {
		err = tx.SetUser(u)
	}
	if err == nil {
		err = s.emit(tx, c, event, u.ID, SessionID{}, nil)
	}
	switch {
	case err != nil:
	case event == EmailChanged && was.Email != "":
		err = s.notice(tx, c, was, notify.EmailChanged, u.Email)
	case event == PhoneChanged:
		err = s.notice(tx, c, was, notify.PhoneChanged, u.Phone)
	}
	return err
}

// AcceptEmailChange answers a question about a change of address for a
// signed-in user, the way Netlify's clients do.
//
// Codes: ChangeTokenFailed, EmailTaken. Events: EmailChanged.
func (s *Service) AcceptEmailChange(ctx context.Context, c Caller, v *Viewer, link string) (*User, error) {
	var u User
	var refused error
	err := s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
		refused = nil
		q, err := (&Desk{s: s, tx: tx}).UseLink([]Kind{KindChangeNew, KindChangeCurrent}, link)
		if err != nil {
			return err
		}
		if q == nil || q.UserID != v.User.ID {
			refused = fail(ChangeTokenFailed) // consumed all the same: it has been in the wrong hands
			return nil
		}
		_, u, err = s.look(tx, v.User.ID, v.Session.ID)
		if err != nil {
			return err
		}
		_, err = s.agree(tx, c, &u, q)
		refused, err = refusal(err)
		return err
	})
	if errors.Is(err, store.ErrDuplicate) {
		return nil, fail(EmailTaken)
	}
	if err != nil {
		return nil, err
	}
	return &u, refused
}

// Link tells what a mailed link would do, without doing it: for the page a
// click on it opens. A mail scanner that follows the link spends nothing.
//
// Codes: LinkFailed.
func (s *Service) Link(ctx context.Context, c Caller, kinds []Kind, link string) (q *Question, err error) {
	err = s.db.Read(ctx, s.tenant, func(tx *store.Tx) error {
		for _, k := range kinds {
			ch, alive, err := tx.TokenChallenge(s.linkHash(k, link))
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			if alive {
				q, err = readQuestion(ch)
				return err
			}
		}
		return fail(LinkFailed)
	})
	return q, err
}
