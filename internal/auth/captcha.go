package auth

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"gatehouse/internal/store"
)

// Captcha is what a client has to solve before it may sign up or in, or have a
// message sent. One of its two parts is there.
type Captcha struct {
	// Ask has somebody else judge a token; ip is the client's, or empty. Nothing
	// is remembered of it here: who judges takes each token once.
	Ask func(ctx context.Context, token, ip string) error
	// Work judges a proof of work, and returns the id of what was solved and
	// when that ends; until then it is remembered here, and taken once.
	Work func(token string, now time.Time) (id []byte, ends time.Time, err error)
	// Judge tells what an error of the two means, and in a few words why, for
	// the client. Nil: every one is a refusal.
	Judge func(error) (CaptchaFault, string)
	// FailOpen lets a client in whose token nobody could judge. Whoever floods
	// this server or that one can bring it about.
	FailOpen bool
}

// CaptchaFault is why a token was not found good.
type CaptchaFault int

// The faults. The zero value lets nobody in by mistake.
const (
	CaptchaRefused     CaptchaFault = iota // it is the client's
	CaptchaUnavailable                     // nobody knows whether it is good
	CaptchaSetup                           // the operator's, and nobody gets in until it is mended
	CaptchaUndecided                       // the request was over before
)

const (
	workDone   = "proof of work"
	workSpare  = time.Minute // by which the clocks of nodes may differ, for the one that sweeps
	toldEvery  = time.Minute
	notJudged  = "it could not be checked, please try again shortly"
	noToken    = "no captcha_token found"
	workUsed   = "the proof of work was used already"
	workTooOld = "the proof of work is too old"
)

// lastTold keeps a fault that every request meets from filling the log.
type lastTold struct{ at atomic.Int64 } // microseconds

// due reports whether it is time to tell again, to one of all that ask at once.
func (l *lastTold) due(now time.Time) bool {
	last, at := l.at.Load(), now.UnixMicro()
	since := time.Duration(at-last) * time.Microsecond
	return (last == 0 || since < 0 || since >= toldEvery) && l.at.CompareAndSwap(last, at)
}

// AsksCaptcha tells whether clients have to solve anything, so that an edge
// need not find out who asks where they do not.
func (s *Service) AsksCaptcha() bool { return s.captcha != nil }

// human lets those pass who have solved what was asked of them. It comes before
// anything is hashed, looked up, sent or told to a hook: the answer and its
// cost are the same whoever has the account, and a flood ends here.
//
// Codes: CaptchaFailed, Unavailable.
func (s *Service) human(ctx context.Context, c Caller) error {
	k := s.captcha
	switch {
	case k == nil, c.Excused:
		return nil
	case c.Captcha == "":
		return notHuman(noToken, nil)
	case k.Work != nil:
		id, ends, err := k.Work(c.Captcha, s.db.Now())
		if err != nil {
			return s.judged(c, err)
		}
		return s.spendWork(ctx, id, ends)
	case k.Ask != nil:
		err := k.Ask(ctx, c.Captcha, c.IP)
		if err != nil {
			return s.judged(c, err)
		}
		return nil
	}
	return s.judged(c, errNoJudge)
}

var errNoJudge = errors.New("auth: nobody is there to judge a captcha")

// judged says what a client is told of a token that was not found good.
func (s *Service) judged(c Caller, err error) error {
	fault, why := CaptchaRefused, ""
	if s.captcha.Judge != nil {
		fault, why = s.captcha.Judge(err)
	}
	switch fault {
	case CaptchaUndecided:
		return fmt.Errorf("auth: captcha: %w", err)
	case CaptchaSetup:
		if s.captchaBroken.due(s.db.Now()) {
			s.log.Error("nobody gets in: the captcha is not set up right", "err", err, "request_id", c.RequestID)
		}
		return notHuman(notJudged, err)
	case CaptchaUnavailable:
		if s.captchaAway.due(s.db.Now()) {
			s.warn(c, "captchas cannot be judged", "err", err, "let_in", s.captcha.FailOpen)
		}
		if s.captcha.FailOpen {
			return nil
		}
		return notHuman(notJudged, err)
	}
	return notHuman(why, err)
}

// spendWork takes a proof of work once, of any number of requests with it on
// however many nodes. The window ends with the proof, whenever it is spent, and
// is begun with the instant of the transaction: one that waited for its turn
// must not find it over.
func (s *Service) spendWork(ctx context.Context, id []byte, ends time.Time) error {
	var refused error
	err := s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
		refused = nil
		left := ends.Sub(tx.Now)
		if left <= 0 {
			refused = notHuman(workTooOld, nil)
			return nil
		}
		used, err := tx.Count(workDone, id, left+workSpare, 1)
		if used > 0 {
			refused = notHuman(workUsed, nil)
		}
		return err
	})
	if err != nil {
		return err
	}
	return refused
}

func notHuman(why string, err error) error {
	if why == "" {
		why = "it was not solved"
	}
	return &Error{Code: CaptchaFailed, Params: map[string]any{"problem": why}, Err: err}
}
