package auth

import (
	"gatehouse/internal/notify"
	"gatehouse/internal/store"
)

// wishes are the address and number a user wants and does not have.
//
// Codes: EmailInvalid, PhoneInvalid, EmailDisabled, PhoneDisabled, SMSRefused.
func (s *Service) wishes(v *Viewer, ch Changes) (list []Contact, err error) {
	if ch.Email != nil && *ch.Email != "" {
		to := Contact{}
		to.Email, err = CleanEmail(*ch.Email)
		if err != nil {
			return nil, err
		}
		if to.Email != v.User.Email {
			list = append(list, to)
		}
	}
	if ch.Phone != nil && *ch.Phone != "" {
		to := Contact{}
		to.Phone, err = CleanPhone(*ch.Phone)
		if err != nil {
			return nil, err
		}
		if to.Phone != v.User.Phone {
			list = append(list, to)
		}
	}
	for _, to := range list {
		err = s.reachable(to)
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// taken tells whether somebody has a contact already.
func taken(tx *store.Tx, to Contact) (bool, error) {
	if to.Phone != "" {
		return tx.PhoneTaken(to.Phone)
	}
	return tx.EmailTaken(to.Email)
}

// quicker is what a wish ends in that somebody else was quicker with.
func quicker(wish []Contact) error {
	if len(wish) == 0 {
		return fail(EmailTaken)
	}
	return wish[0].taken()
}

// wish begins a change of address or number, or makes it at once where no
// proof is asked for.
func (s *Service) wish(tx *store.Tx, c Caller, v *Viewer, u *User, to Contact, f Flow) error {
	if to.Phone != "" && u.Email != "" && u.EmailVerifiedAt.IsZero() && u.PhoneVerifiedAt.IsZero() {
		// The owner of an address nobody has proved may come yet, and must not
		// find a stranger's number beside it.
		return fail(EmailNotConfirmed)
	}
	has, err := taken(tx, to)
	if err != nil {
		return err
	}
	if has && s.policy.Reveal != RevealNothing {
		return to.taken()
	}
	if to.Phone != "" {
		return s.wishPhone(tx, c, v, u, to, has, f)
	}
	if s.policy.Autoconfirm && u.IsAnonymous {
		if has {
			return to.taken() // it cannot be had at once, and somebody signed in sees that
		}
		return s.setEmail(tx, c, u, to.Email)
	}
	u.NewEmail, u.EmailChangeProved = to.Email, 0
	if has {
		err = s.askTaken(tx, c, u, f)
	} else {
		err = s.askChange(tx, c, u, f)
	}
	if err != nil {
		return err
	}
	return s.emit(tx, c, EmailChangeAsked, u.ID, v.Session.ID, nil)
}

func (s *Service) wishPhone(tx *store.Tx, c Caller, v *Viewer, u *User, to Contact, has bool, f Flow) error {
	if s.policy.PhoneAutoconfirm {
		if has {
			return to.taken()
		}
		return s.setPhone(tx, c, u, to.Phone)
	}
	u.NewPhone, u.PhoneChangeSentAt = to.Phone, tx.Now
	var err error
	if has {
		err = s.unsent(tx, to) // its owner is not called: the number is, so to speak, engaged
	} else {
		err = s.askBySMS(tx, c, u, KindPhoneChange, to.Phone, false, f)
	}
	if err != nil {
		return err
	}
	return s.emit(tx, c, PhoneChangeAsked, u.ID, v.Session.ID, nil)
}

// askChange mails the new address of u and, where both must agree, the old.
func (s *Service) askChange(tx *store.Tx, c Caller, u *User, f Flow) error {
	u.EmailChangeSentAt = tx.Now
	if s.byHook && s.bothAgree(u) {
		return s.askBoth(tx, c, u, f)
	}
	err := s.askByMail(tx, c, u, KindChangeNew, u.NewEmail, f)
	if err == nil && s.bothAgree(u) {
		err = s.askByMail(tx, c, u, KindChangeCurrent, u.Email, f)
	}
	return err
}

// askBoth asks both addresses of a change and queues one message that carries
// the secrets of both: a hook that sends mail is told of a change once.
func (s *Service) askBoth(tx *store.Tx, c Caller, u *User, f Flow) error {
	wanted, err := s.ask(tx, c, u, KindChangeNew, u.NewEmail, f)
	if err != nil {
		return err
	}
	current, err := s.ask(tx, c, u, KindChangeCurrent, u.Email, f)
	if err != nil {
		return err
	}
	return s.mail(tx, c, u, notify.Mail{Kind: notify.EmailChange, To: u.Email, Netlify: f.Netlify, Vars: notify.Vars{
		Email: u.Email, NewEmail: u.NewEmail, SendingTo: u.Email, Token: current.code, TokenHash: current.link,
		TokenNew: wanted.code, TokenHashNew: wanted.link, RedirectTo: f.RedirectTo, Device: DeviceName(c.Agent), At: tx.Now,
	}}, s.linkTTL(KindChangeNew))
}

// askTaken is askChange where the new address is somebody else's: they are
// told, and handed nothing.
func (s *Service) askTaken(tx *store.Tx, c Caller, u *User, f Flow) error {
	u.EmailChangeSentAt = tx.Now
	owner := &User{Email: u.NewEmail} // not read: that would hold somebody who asked for nothing
	err := s.mail(tx, Caller{}, owner, notify.Mail{
		Kind: notify.AddressWanted, To: owner.Email, Vars: notify.Vars{Email: owner.Email, SendingTo: owner.Email},
	}, s.policy.LinkTTL)
	if err == nil && s.bothAgree(u) {
		err = s.askByMail(tx, c, u, KindChangeCurrent, u.Email, f)
	}
	return err
}

// bothAgree tells whether the address a user has must agree to another. How
// sign-ups are confirmed does not matter to it.
func (s *Service) bothAgree(u *User) bool {
	return s.policy.SecureEmailChange && u.Email != "" && !u.EmailVerifiedAt.IsZero()
}
