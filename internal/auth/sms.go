package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"gatehouse/internal/notify"
	"gatehouse/internal/phone"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

// Texts is what the core has to know of how text messages are sent.
type Texts struct {
	// Keeper judges codes where a service makes them up itself (Twilio Verify).
	// Nil: codes are ours.
	Keeper func(ctx context.Context, to, code string) (bool, error)
	// TestCode is the code of a number that is for tests: it gets no message.
	// Nil: there are none.
	TestCode func(to string, now time.Time) (code string, ok bool)
}

// deliverable refuses numbers that no message is sent to: premium and
// satellite services, and countries that are not on the operator's list.
//
// Codes: SMSRefused.
func (s *Service) deliverable(number string) error {
	p := s.policy
	const shortest = 7 // digits, of the numbers that people have
	if len(number) < shortest || phone.Premium(number) || len(p.SMSCountries) > 0 && !slices.Contains(p.SMSCountries, phone.Country(number)) {
		return &Error{Code: SMSRefused, Field: "phone"}
	}
	return nil
}

// text is a text message as it waits in the outbox: for whom it was, beside
// what is sent, so that one which cannot be sent leaves nothing behind.
type text struct {
	notify.SMS
	Made  bool   `json:"made,omitempty"`  // the user was made by what the message confirms
	Asked string `json:"asked,omitempty"` // the id of that question
}

// askBySMS asks and queues the message that carries the code. made tells that
// the user came to be just now, for this.
func (s *Service) askBySMS(tx *store.Tx, c Caller, u *User, k Kind, number string, made bool, f Flow) error {
	code, test := "", false
	if s.texts.TestCode != nil {
		code, test = s.texts.TestCode(number, tx.Now)
	}
	if !test {
		code = secret.Code(s.policy.SMSDigits)
	}
	q := Question{NewPhone: u.NewPhone, Kept: !test && s.texts.Keeper != nil}
	if k != KindPhoneChange {
		q.NewPhone = ""
	}
	data, err := json.Marshal(q)
	if err != nil {
		return fmt.Errorf("auth: question: %w", err)
	}
	id, ends := store.NewChallengeID(), tx.Now.Add(s.policy.SMSCodeTTL)
	err = tx.SetChallenge(store.Challenge{
		ID: id, Kind: string(k), Subject: u.ID[:], UserID: u.ID,
		TokenHash: s.linkHash(k, secret.Token()), // nobody has it: the code alone answers
		CodeHash:  s.codeHash(k, u.ID, number, code), SentTo: number, Data: data, CodeExpiresAt: ends, ExpiresAt: ends,
	}, codeBudget)
	if err != nil || test {
		return err
	}
	if q.Kept {
		code = "" // the service makes its own
	}
	m := text{
		SMS: notify.SMS{
			User: u.ID.String(), Kind: notify.SMSCode, For: string(k), To: number, Channel: f.Channel, Code: code, Languages: languages(u, c),
		},
		Made: made, Asked: id.String(),
	}
	return s.sendText(tx, m, s.policy.SMSCodeTTL)
}

// sendText queues a text message.
func (s *Service) sendText(tx *store.Tx, m text, ttl time.Duration) error {
	id := store.NewDeliveryID()
	m.ID = id.String()
	body, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("auth: sms: %w", err)
	}
	return tx.AddDelivery(store.Delivery{
		ID: id, Kind: store.DeliverSMS, Body: s.root.Seal(store.DeliverySeal, id[:], body), ExpiresAt: tx.Now.Add(ttl),
	})
}

// askedAgain tells whether the question a message carries has given way to
// another.
func (m *text) askedAgain(tx *store.Tx, id UserID) (bool, error) {
	if m.Asked == "" {
		return false, nil
	}
	ch, err := tx.Challenge(m.For, id[:])
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil && ch.ID.String() != m.Asked, err
}

// Undelivered takes back what a text message that cannot be sent was for: a
// user who was made for it and whom nobody can confirm now, or else the
// question alone, so that the number can be asked again. Nothing is taken back
// once another message has asked the same: that one may have arrived.
//
// Events: UserDeletedEvent.
func (s *Service) Undelivered(ctx context.Context, body []byte) error {
	var m text
	err := json.Unmarshal(body, &m)
	if err != nil {
		return errors.New("auth: the body is not a text message")
	}
	id, err := ParseUserID(m.User)
	if err != nil {
		return errors.New("auth: the text message is to nobody")
	}
	return s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
		u, err := tx.User(id)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		again, err := m.askedAgain(tx, id)
		if err != nil || again {
			return err
		}
		c := Caller{Actor: "system"}
		if m.Made && u.Phone == m.To && u.PhoneVerifiedAt.IsZero() && u.EmailVerifiedAt.IsZero() && u.LastSignInAt.IsZero() {
			err = s.emit(tx, c, UserDeletedEvent, u.ID, SessionID{}, map[string]any{"reason": "the confirmation could not be sent"})
			if err == nil {
				err = tx.DropUser(u.ID)
			}
			return err
		}
		if u.NewPhone == m.To {
			u.NewPhone = ""
			return tx.SetUser(&u)
		}
		return nil
	})
}

// kept is a code that a service has judged for us.
type kept struct {
	id      store.ChallengeID
	kind    Kind
	subject []byte
	right   bool
}

// askKeeper has the service that made a code judge it: nil where no question
// of those kinds waits whose code is not ours. The try is spent before.
//
// Codes: TooMany.
func (s *Service) askKeeper(ctx context.Context, kinds []Kind, number, code string) (*kept, error) {
	if s.texts.Keeper == nil || number == "" {
		return nil, nil
	}
	var found *kept
	var refused error
	waits := false // a question, of whatever kind
	err := s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
		found, refused, waits = nil, nil, false
		for _, k := range kinds {
			asked, err := tx.AskedAt(string(k), number, maxAsked)
			if err != nil {
				return err
			}
			waits = waits || len(asked) > 0
			if len(asked) > 1 {
				continue // the service knows the number alone, so that the code would be good for any of them
			}
			for _, subject := range asked {
				ch, err := tx.Challenge(string(k), subject)
				if err != nil {
					return err
				}
				q, err := readQuestion(ch)
				if err != nil || !q.Kept {
					return err
				}
				refused, err = refusal(s.spend(tx, Contact{Phone: number}, ch))
				if refused == nil && err == nil {
					found = &kept{id: ch.ID, kind: k, subject: subject}
				}
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = refused
	}
	if err != nil || found == nil && waits {
		return nil, err
	}
	right, err := s.texts.Keeper(ctx, number, code) // also where nothing waits, so that the time does not tell
	if err != nil {
		return nil, &Error{Code: Unavailable, RetryAfter: comeBack, Err: fmt.Errorf("the service that keeps the codes: %w", err)}
	}
	if found != nil {
		found.right = right
	}
	return found, nil
}

// spend spends one try at a question: of its own five, and of those of its
// address and its user.
func (s *Service) spend(tx *store.Tx, to Contact, ch store.Challenge) error {
	err := s.guess(tx, to)
	if err == nil {
		err = s.guessOf(tx, ch.UserID)
	}
	if err != nil {
		return err
	}
	_, err = tx.TryCode(ch.Kind, ch.Subject, codeTries)
	if errors.Is(err, store.ErrNotFound) {
		return fail(CodeFailed)
	}
	return err
}
