package auth

import (
	"time"

	"gatehouse/internal/phone"
	"gatehouse/internal/store"
)

const day = 24 * time.Hour

// Limits of guessing, whoever guesses from wherever: 30 in a day against a
// million codes.
const (
	codesPerHour = 10 // wrong codes for one address or number
	codesPerDay  = 30 // likewise, and for one user over all of theirs
)

// pace refuses a second message of a kind within the least time between two,
// and more of them in a day than a person can want. It counts by the address
// or number and not by its user: whoever asks learns nothing from a refusal,
// and nobody's mailbox is flooded by asking on many accounts' behalf. It counts
// each kind for itself: who spends a victim's ways back in has them sent to the
// victim, and cannot spend them by asking for what is never sent.
//
// Codes: TooSoon, SMSTooSoon, SMSRefused.
func (s *Service) pace(tx *store.Tx, c Caller, kind string, to Contact) error {
	if to.Phone != "" {
		return s.paceSMS(tx, c, kind, to)
	}
	p := s.policy
	if !p.mayMail(to.Email) {
		return &Error{Code: EmailNotAuthorized, Field: "email"}
	}
	err := s.within(tx, "mail "+kind, s.subject(to), p.MailEvery, 1, TooSoon)
	if err == nil {
		err = s.within(tx, "mails "+kind, s.subject(to), day, p.MailsPerDay, TooSoon)
	}
	if err == nil {
		err = s.within(tx, "all mails", everybody, p.MailRate.Window, p.MailRate.Most, TooSoon)
	}
	return err
}

// paceWish is pace for a change of address or number, which also counts by who
// wants it: nobody's session is a way to mail strangers.
func (s *Service) paceWish(tx *store.Tx, c Caller, id UserID, to Contact) error {
	every, code := s.policy.MailEvery, TooSoon
	if to.Phone != "" {
		every, code = s.policy.SMSEvery, SMSTooSoon
	}
	err := s.within(tx, "wishes by "+to.provider(), id[:], every, 1, code)
	if err != nil {
		return err
	}
	return s.pace(tx, c, "change", to)
}

// paceSMS is pace for a number. Each message costs money, and there are those
// who earn it: besides the number's own limits it keeps to a list of countries
// and to a budget for the day, whose end is an event.
func (s *Service) paceSMS(tx *store.Tx, c Caller, kind string, to Contact) error {
	err := s.deliverable(to.Phone)
	if err != nil {
		return err
	}
	p, subject := s.policy, s.subject(to)
	for _, l := range []struct {
		name   string
		who    []byte
		window time.Duration
		most   int
	}{
		{"sms", subject, p.SMSEvery, 1},
		{"sms in an hour " + kind, subject, time.Hour, p.SMSPerHour},
		{"sms in a day " + kind, subject, day, p.SMSPerDay},
		{smsNeighbours, []byte(phone.Prefix(to.Phone)), time.Hour, p.SMSPerPrefix},
		{smsAll, everybody, p.SMSRate.Window, p.SMSRate.Most},
	} {
		err = s.within(tx, l.name, l.who, l.window, l.most, SMSTooSoon)
		if err != nil {
			return err
		}
	}
	err = s.within(tx, smsBudget, everybody, day, p.SMSBudget, SMSTooSoon)
	if err == nil || CodeOf(err) != SMSTooSoon {
		return err
	}
	told, failed := tx.Count("sms budget told", everybody, day, 1)
	if failed == nil && told == 0 {
		failed = s.emit(tx, c, SMSBudgetSpent, UserID{}, SessionID{}, map[string]any{"budget": p.SMSBudget})
	}
	if failed != nil {
		return failed
	}
	return err
}

const (
	smsBudget     = "sms budget"
	smsAll        = "all sms"
	smsNeighbours = "sms to neighbours"
)

// everybody is the subject of what is counted for a whole tenant.
var everybody = []byte("everybody")

// within counts one more, or refuses with code; a most of 0 is no limit.
func (s *Service) within(tx *store.Tx, name string, who []byte, window time.Duration, most int, code Code) error {
	if most <= 0 || window <= 0 {
		return nil
	}
	wait, err := tx.Count(name, who, window, most)
	if err == nil && wait > 0 {
		err = &Error{Code: code, RetryAfter: min(wait, window)}
	}
	return err
}

// Rate is at most so many in a window of time; the zero value is no limit.
type Rate struct {
	Most   int
	Window time.Duration
}

// mayMail tells whether that address may be sent mail: one of a list, where
// there is one.
func (p *Policy) mayMail(email string) bool {
	if len(p.MailOnlyTo) == 0 {
		return true
	}
	for _, a := range p.MailOnlyTo {
		if same, err := CleanEmail(a); err == nil && same == email {
			return true
		}
	}
	return false
}

// guess counts a try at the codes of a contact before it is compared; with a
// right one it is given back.
//
// Codes: TooMany.
func (s *Service) guess(tx *store.Tx, to Contact) error {
	err := s.within(tx, "codes in an hour", s.subject(to), time.Hour, codesPerHour, TooMany)
	if err == nil {
		err = s.within(tx, "codes in a day", s.subject(to), day, codesPerDay, TooMany)
	}
	return err
}

// guessed gives back what guess and guessOf have counted.
func (s *Service) guessed(tx *store.Tx, to Contact, id UserID) error {
	err := tx.Uncount("codes in an hour", s.subject(to))
	if err == nil {
		err = tx.Uncount("codes in a day", s.subject(to))
	}
	if err == nil {
		err = tx.Uncount("codes of a user", id[:])
	}
	return err
}

// guessPassword counts a wrong current password against the user whose session
// it came with: a stolen one is no way to find the password. Once there are too
// many the right one is refused, too.
//
// Codes: TooMany, CurrentWrong.
func (s *Service) guessPassword(tx *store.Tx, id UserID, wrong bool) error {
	err := s.within(tx, "current passwords", id[:], time.Hour, codesPerHour, TooMany)
	switch {
	case err != nil:
		return err
	case wrong:
		return fail(CurrentWrong)
	}
	return tx.Uncount("current passwords", id[:])
}

// guessOf counts a try against the user whose code it is, over all their
// addresses and numbers.
func (s *Service) guessOf(tx *store.Tx, id UserID) error {
	return s.within(tx, "codes of a user", id[:], day, codesPerDay, CodeFailed)
}
