package auth

import (
	"context"
	"errors"

	"gatehouse/internal/store"
)

// apply carries out what the answer to a mailed question proves: that u reads
// mail at the address it went to. more tells that a change of address still
// waits for the other one.
func (s *Service) apply(tx *store.Tx, c Caller, u *User, q *Question, hash string) (more bool, err error) {
	switch q.Kind {
	case KindChangeCurrent, KindChangeNew:
		return s.agree(tx, c, u, q)
	case KindConfirmation, KindInvite, KindMagicLink, KindRecovery:
	default:
		return false, fail(LinkFailed)
	}
	if q.SentTo != u.Email { // asked of an address the user has left
		return false, fail(LinkFailed)
	}
	if u.EmailVerifiedAt.IsZero() {
		if q.Kind == KindMagicLink || q.Kind == KindRecovery {
			// Whoever chose the password never proved the address; its owner
			// arrives by another door and must not share the account with them.
			err = tx.DropCredentials(u.ID)
			if err != nil {
				return false, err
			}
		}
		u.EmailVerifiedAt = tx.Now
		err = s.markVerified(tx, u)
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
	if s.policy.SecureEmailChange && u.Email != "" && !u.EmailVerifiedAt.IsZero() {
		need |= store.OldAddress
	}
	if u.EmailChangeProved&need != need {
		return true, tx.SetUser(u)
	}
	return false, s.setEmail(tx, c, u, u.NewEmail)
}

// setEmail makes a proved address the user's. Every question put to the old
// one is void: a link that was mailed there must not outlive the change.
func (s *Service) setEmail(tx *store.Tx, c Caller, u *User, email string) error {
	u.Email, u.NewEmail, u.EmailChangeProved = email, "", 0
	u.EmailVerifiedAt = tx.Now
	u.IsAnonymous = false
	err := tx.DropChallenges(u.ID)
	if err == nil {
		err = tx.SetUser(u)
	}
	if err == nil {
		err = s.markVerified(tx, u)
	}
	if err == nil {
		err = s.emit(tx, c, EmailChanged, u.ID, SessionID{}, nil)
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
	err := s.db.Write(ctx, c.Tenant, func(tx *store.Tx) error {
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
	err = s.db.Read(ctx, c.Tenant, func(tx *store.Tx) error {
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
