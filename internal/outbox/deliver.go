package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"gatehouse/internal/notify"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

var errLate = errors.New("the lease ran out before sending")

const (
	maxTries  = 20             // then a delivery is given up
	maxAge    = 24 * time.Hour // likewise
	firstWait = 5 * time.Second
	worstWait = time.Hour
	bookLimit = 5 * time.Second // to write down what became of a delivery
)

// deliver carries out one leased delivery and writes down what became of it.
// It reports whether it was sent.
func (w *Worker) deliver(ctx context.Context, d store.Delivery, until time.Time) bool {
	log := w.opt.Log.With("id", d.ID, "kind", d.Kind, "try", d.Tries)
	if d.Tries > maxTries {
		// Nobody lived to tell of the last attempt. A delivery that takes the
		// process down must not do so for ever.
		w.bury(log, d, fmt.Errorf("given up: leased %d times and never finished", d.Tries-1))
		return false
	}
	if !d.ExpiresAt.IsZero() && !w.opt.DB.Now().Before(d.ExpiresAt) {
		// A dead code only makes people ask for help.
		log.Warn("outbox: dropped, because it expired before it could be sent")
		w.drop(log, d)
		return false
	}
	m, err := w.open(d)
	if err == nil {
		log = log.With("mail", m.Kind)
		err = w.send(ctx, d, m, until)
	}
	switch {
	case err == nil:
		log.Info("outbox: sent")
		w.drop(log, d)
		return true
	case errors.Is(err, errLate):
		log.Warn("outbox: the lease ran out before sending; left to the next worker")
	case notify.Permanent(err):
		w.bury(log, d, scrub(err, m))
	case ctx.Err() != nil:
		// Cut off by our own end: not the delivery's fault.
		w.putBack(log, d, 0, errors.New("cut off: the server was stopped while sending"))
	case d.Tries >= maxTries, w.opt.DB.Now().Sub(d.CreatedAt) > maxAge:
		w.bury(log, d, fmt.Errorf("given up after %d tries: %w", d.Tries, scrub(err, m)))
	default:
		w.putBack(log, d, backOff(d.Tries), scrub(err, m))
	}
	return false
}

// open returns the mail in a delivery. A body that will never open is a
// permanent error; one sealed under another root key may open again, when the
// operator brings the right key back.
func (w *Worker) open(d store.Delivery) (notify.Mail, error) {
	if d.Kind != store.DeliverMail { // written by a newer version, perhaps, that runs beside this one
		return notify.Mail{}, errors.New("this version cannot deliver that kind")
	}
	body, err := w.opt.Root.Open(store.DeliverySeal, d.ID[:], d.Body)
	if errors.Is(err, secret.ErrWrongKey) {
		return notify.Mail{}, fmt.Errorf("the body is %w", err)
	}
	if err != nil {
		return notify.Mail{}, &notify.PermanentError{Err: fmt.Errorf("the body does not open: %w", err)}
	}
	var m notify.Mail
	if json.Unmarshal(body, &m) != nil { // whose error might quote the body
		return notify.Mail{}, &notify.PermanentError{Err: errors.New("the body is not a mail")}
	}
	m.ID = d.ID.String()
	return m, nil
}

// send renders and sends m within the lease.
func (w *Worker) send(ctx context.Context, d store.Delivery, m notify.Mail, until time.Time) (err error) {
	ctx, cancel := context.WithTimeout(ctx, w.opt.Lease*3/4)
	defer cancel()
	defer func() {
		v := recover()
		if v != nil {
			// One broken mail must not end the server. The value may quote the
			// mail, so only the place is logged.
			w.opt.Log.Error("outbox: panic while sending", "id", d.ID, "kind", d.Kind, "type", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
			err = errors.New("the sender panicked; see the log")
		}
	}()
	words, err := w.opt.Templates.Render(ctx, m)
	if err != nil {
		return fmt.Errorf("template: %w", err)
	}
	if !w.opt.DB.Now().Before(until) {
		return errLate // paused meanwhile: it is another worker's, who will send it too
	}
	return w.opt.Sender.Send(ctx, m, words)
}

// backOff is how long to wait after so many tries: 5 s, doubled each time, at
// most an hour, less up to a quarter, so that a mail server which comes back
// does not meet all of them at once.
func backOff(tries int) time.Duration {
	d := min(firstWait<<min(tries-1, 20), worstWait)
	return d - rand.N(d/4)
}
