package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"strings"
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

	quickTries = 3 // of a task
)

// deliver carries out one leased delivery and writes down what became of it.
// It reports whether it was sent.
func (w *Worker) deliver(ctx context.Context, d store.Delivery, until time.Time) bool {
	log := w.opt.Log.With("id", d.ID, "kind", d.Kind, "try", d.Tries)
	post, err := w.opt.Post(ctx, d.Tenant)
	if errors.Is(err, store.ErrNotFound) {
		log.Warn("outbox: dropped, because its tenant is deleted")
		w.drop(log, d)
		return false
	}
	var body []byte
	if err == nil {
		body, err = post.open(d)
	}
	if w.lost(d) {
		// A delivery that takes the process down must not do so for ever.
		w.giveUp(log, post, d, body, fmt.Errorf("given up: leased %d times, and too often never finished", d.Tries-1))
		return false
	}
	if !d.ExpiresAt.IsZero() && !w.opt.DB.Now().Before(d.ExpiresAt) {
		// A dead code only makes people ask for help.
		log.Warn("outbox: dropped, because it expired before it could be sent")
		if w.drop(log, d) {
			w.unsent(log, post, d, body)
		}
		return false
	}
	var p parcel
	if err == nil {
		p, err = w.unpack(post, d, body)
	}
	if p.what != "" {
		log = log.With(d.Kind, p.what)
	}
	if err == nil {
		err = w.guarded(ctx, d, func(ctx context.Context) error { return p.send(ctx, until) })
		p.gone = d.Kind == store.DeliverTask
	}
	switch {
	case err == nil:
		if p.gone {
			log.Info("outbox: done")
			return true
		}
		log.Info("outbox: sent")
		w.drop(log, d)
		return true
	case errors.Is(err, errLate):
		log.Warn("outbox: the lease ran out before sending; left to the next worker")
	case notify.Permanent(err):
		w.giveUp(log, post, d, body, scrub(err, p.secrets))
	case ctx.Err() != nil:
		// Cut off by our own end: not the delivery's fault.
		w.putBack(log, d, 0, errors.New("cut off: the server was stopped while sending"))
	case w.beyond(d) > 0:
		w.giveUp(log, post, d, body, fmt.Errorf("given up after %d tries: %w", d.Tries, scrub(err, p.secrets)))
	default:
		w.putBack(log, d, backOff(d), scrub(err, p.secrets))
	}
	return false
}

// parcel is what is in a delivery, ready to be sent.
type parcel struct {
	what    string   // kind of message, for the log
	secrets []string // what no text of a failure may hold
	send    func(ctx context.Context, until time.Time) error
	gone    bool // its row went with what it did
}

// unpack reads an opened body by its kind. What it says of one that it cannot
// read must not quote it.
func (w *Worker) unpack(post *Post, d store.Delivery, body []byte) (parcel, error) {
	switch d.Kind {
	case store.DeliverMail:
		var m notify.Mail
		if json.Unmarshal(body, &m) != nil {
			return parcel{}, &notify.PermanentError{Err: errors.New("the body is not a mail")}
		}
		m.ID = d.ID.String()
		v := m.Vars
		return parcel{
			what:    string(m.Kind),
			secrets: []string{m.To, v.Email, v.NewEmail, v.OldEmail, v.Phone, v.OldPhone, v.SendingTo, v.Token, v.TokenHash, v.TokenNew, v.TokenHashNew},
			send:    func(ctx context.Context, until time.Time) error { return w.mail(ctx, post, m, until) },
		}, nil
	case store.DeliverSMS:
		if post.Texter == nil || post.Words == nil {
			return parcel{}, errors.New("no service for text messages is set up")
		}
		var m notify.SMS
		if json.Unmarshal(body, &m) != nil {
			return parcel{}, &notify.PermanentError{Err: errors.New("the body is not a text message")}
		}
		m.ID = d.ID.String()
		return parcel{
			what: string(m.Kind), secrets: []string{m.To, m.Code},
			send: func(ctx context.Context, until time.Time) error { return w.text(ctx, post, m, until) },
		}, nil
	case store.DeliverHook:
		if post.Tell != nil {
			return parcel{secrets: texts(body), send: func(ctx context.Context, until time.Time) error { return w.tell(ctx, post, body, until) }}, nil
		}
	case store.DeliverTask:
		if post.Work != nil {
			return parcel{secrets: texts(body), send: func(ctx context.Context, until time.Time) error { return w.work(ctx, post, d, body, until) }}, nil
		}
	}
	return parcel{}, errors.New("this version cannot deliver that kind") // written by a newer one, perhaps, that runs beside it
}

// mail renders and sends m.
func (w *Worker) mail(ctx context.Context, post *Post, m notify.Mail, until time.Time) error {
	words, err := post.Templates.Render(ctx, m)
	if err != nil {
		return fmt.Errorf("template: %w", err)
	}
	if !w.opt.DB.Now().Before(until) {
		return errLate // paused meanwhile: it is another worker's, who will send it too
	}
	return post.Sender.Send(ctx, m, words)
}

// text renders and sends m.
func (w *Worker) text(ctx context.Context, post *Post, m notify.SMS, until time.Time) error {
	words := post.Words.Render(m)
	if !w.opt.DB.Now().Before(until) {
		return errLate
	}
	return post.Texter.Text(ctx, m, words)
}

// work does what a request left to be done. Its row goes in the transaction
// that does it, so that it is done once, whoever else tries.
func (w *Worker) work(ctx context.Context, post *Post, d store.Delivery, body []byte, until time.Time) error {
	if !w.opt.DB.Now().Before(until) {
		return errLate
	}
	return post.Work(ctx, body, func(tx *store.Tx) error {
		held, err := tx.DropDelivery(d)
		if err == nil && !held {
			err = errLate
		}
		return err
	})
}

// tell tells an operator's own service.
func (w *Worker) tell(ctx context.Context, post *Post, body []byte, until time.Time) error {
	if !w.opt.DB.Now().Before(until) {
		return errLate
	}
	return post.Tell(ctx, body)
}

// giveUp buries a delivery and has what it was for taken back.
func (w *Worker) giveUp(log *slog.Logger, post *Post, d store.Delivery, body []byte, why error) {
	if w.bury(log, d, why) {
		w.unsent(log, post, d, body)
	}
}

// unsent has what a text message was for taken back, once it will never be
// sent. Of a mail nothing is: its link has expired with it. It is called by the
// worker alone whose lease held to the end, for another one may have sent the
// message. The end of Run does not end it.
func (w *Worker) unsent(log *slog.Logger, post *Post, d store.Delivery, body []byte) {
	if d.Kind != store.DeliverSMS || body == nil || post.Unsent == nil {
		return
	}
	err := w.guarded(context.Background(), d, func(ctx context.Context) error { return post.Unsent(ctx, body) })
	if err != nil {
		log.Error("outbox: what an unsent message was for could not be taken back", "err", scrub(err, texts(body)))
	}
}

// texts are those in a JSON object, in whatever depth, that may be an address, a
// number, a code or a link. What is neither of these, such as the name of a
// task, may be told.
func texts(body []byte) (list []string) {
	var v any
	if json.Unmarshal(body, &v) != nil {
		return nil
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			if strings.ContainsAny(v, "@0123456789") {
				list = append(list, v)
			}
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for _, e := range v {
				walk(e)
			}
		}
	}
	walk(v)
	return list
}

// open returns what is in a delivery. A body that will never open is a
// permanent error; one sealed under another root key may open again, when the
// operator brings the right key back, and so may what a newer version has
// written by its own rules.
func (p *Post) open(d store.Delivery) ([]byte, error) {
	if d.Kind != store.DeliverMail && d.Kind != store.DeliverSMS && d.Kind != store.DeliverTask && d.Kind != store.DeliverHook {
		return nil, nil // unpack says so
	}
	body, err := p.Root.Open(store.DeliverySeal, d.ID[:], d.Body)
	if errors.Is(err, secret.ErrWrongKey) {
		return nil, fmt.Errorf("the body is %w", err)
	}
	if err != nil {
		return nil, &notify.PermanentError{Err: fmt.Errorf("the body does not open: %w", err)}
	}
	return body, nil
}

// guarded runs f within three quarters of the lease.
func (w *Worker) guarded(ctx context.Context, d store.Delivery, f func(context.Context) error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, w.opt.Lease*3/4)
	defer cancel()
	defer func() {
		v := recover()
		if v != nil {
			// One broken message must not end the server. The value may quote it, so
			// only the place is logged.
			w.opt.Log.Error("outbox: panic while sending", "id", d.ID, "kind", d.Kind, "type", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
			err = errors.New("the sender panicked; see the log")
		}
	}()
	return f(ctx)
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

// backOff is how long to wait after a try: 5 s, doubled each time, at most
// 5 min, less up to a quarter, so that a mail server which comes back does not
// meet all of them at once. The first tries of a task wait a second: somebody
// is waiting for what it will mail, and nobody's service is down, only ours was.
func backOff(d store.Delivery) time.Duration {
	tries := d.Tries
	if d.Kind == store.DeliverTask {
		tries -= quickTries
	}
	if tries <= 0 {
		return time.Second
	}
	wait := min(firstWait<<min(tries-1, 20), worstWait)
	return wait - rand.N(wait/4)
}
