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
	day       = 24 * time.Hour // how long a delivery is tried
	week      = 7 * day        // the same for one that is good for more than a day
	maxLost   = 50             // attempts nobody lived to tell of
	firstWait = 5 * time.Second
	// Links live for an hour or less: a mail server that comes back must be
	// noticed while most of that is left.
	worstWait = 5 * time.Minute
	bookLimit = 5 * time.Second // to write down what became of a delivery
)

// deliver carries out one leased delivery and writes down what became of it.
// It reports whether it was sent.
func (w *Worker) deliver(ctx context.Context, d store.Delivery, until time.Time) bool {
	log := w.opt.Log.With("id", d.ID, "kind", d.Kind, "try", d.Tries)
	if w.lost(d) {
		// A delivery that takes the process down must not do so for ever.
		w.bury(log, d, fmt.Errorf("given up: leased %d times, and too often never finished", d.Tries-1))
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
	case w.beyond(d) > 0:
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

// beyond returns by how much d is older than anybody waits for it.
func (w *Worker) beyond(d store.Delivery) time.Duration {
	most := day
	if d.ExpiresAt.Sub(d.CreatedAt) > day {
		most = week
	}
	return w.opt.DB.Now().Sub(d.CreatedAt) - most
}

// lost reports whether at least maxLost earlier attempts at d ended neither
// well nor badly. No row counts them: an attempt that ended in failure is
// followed by a wait, so d's age bounds how many of those there can have been,
// and the rest are lost. Where processes die too slowly for that to show, age
// decides: one that ends is given up as soon as it is too old, not a day later.
func (w *Worker) lost(d store.Delivery) bool {
	const (
		quick = 7                 // tries before the wait has grown to worstWait
		least = worstWait * 3 / 4 // between two tries from then on
	)
	earlier := d.Tries - 1
	ended := quick + int(w.opt.DB.Now().Sub(d.CreatedAt)/least)
	return earlier-ended >= maxLost || earlier >= maxLost && w.beyond(d) > day
}

// backOff is how long to wait after so many tries: 5 s, doubled each time, at
// most 5 min, less up to a quarter, so that a mail server which comes back
// does not meet all of them at once.
func backOff(tries int) time.Duration {
	d := min(firstWait<<min(tries-1, 20), worstWait)
	return d - rand.N(d/4)
}
