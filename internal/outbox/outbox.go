// Package outbox delivers what a commit promised. Rows of the outbox are
// written in the transaction of what they announce; a Worker leases those that
// are due, opens, renders and sends them, and takes them away. Begin with
// Worker.Run; deliver.go holds what happens to one delivery.
//
// Delivery is at least once: a process that dies between sending and taking
// the row away sends again, with the same id, when its lease has run out.
//
// It must never do network work in a transaction, send what has expired, or
// write an address, a number, a code or a link into a log.
package outbox

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/internal/notify"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

// Templates puts mails into words; *notify.Templates does.
type Templates interface {
	Render(ctx context.Context, m notify.Mail) (notify.Rendered, error)
}

// TextWords puts text messages into words; *notify.SMSWords does.
type TextWords interface {
	Render(m notify.SMS) string
}

// Options are what a Worker is made of.
type Options struct {
	DB *store.DB
	// Post is how a tenant's deliveries leave. An error puts what waits back.
	Post func(ctx context.Context, tenant store.TenantID) (*Post, error)

	Log     *slog.Logger  // nil: nobody hears
	Workers int           // deliveries at one time; zero: 8, of which the last two are for tenants that have none
	Lease   time.Duration // zero: 60 s. One delivery gets three quarters of it: more than the Sender's own limit
}

// Post is how the deliveries of one tenant leave.
type Post struct {
	Root      *secret.Root // opens the bodies
	Templates Templates
	Sender    notify.Sender
	Texter    notify.Texter // nil: text messages wait for one until they expire
	Words     TextWords     // of text messages
	// Work does what a request left to be done, in one transaction with done: a
	// task is done once, though Work may be called again for one that failed.
	Work func(ctx context.Context, body []byte, done func(*store.Tx) error) error
	// Tell tells an operator's own service; nil: there is none.
	Tell func(ctx context.Context, body []byte) error
	// Unsent hears of each text message that was given up for good.
	Unsent func(ctx context.Context, body []byte) error
}

// Worker delivers. It is safe for concurrent use; any number of Workers, in any
// number of processes, may share a database.
type Worker struct {
	opt  Options
	wake chan struct{} // holds at most one signal
}

const (
	idlePoll    = 5 * time.Second // how late a signal that was lost is made up for
	waitingPoll = time.Second     // the same while something waits: clocks may jump
	shortest    = 20 * time.Millisecond
	graceful    = 10 * time.Second // for deliveries under way when Run is told to end
	parting     = time.Second      // for those that are cut off, to put their row back
	worstPause  = 30 * time.Second // between two attempts at a database that fails
)

// New returns a Worker. It does nothing until Run or DeliverNow.
func New(o Options) *Worker {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Workers <= 0 {
		o.Workers = 8
	}
	if o.Lease <= 0 {
		o.Lease = 60 * time.Second
	}
	return &Worker{opt: o, wake: make(chan struct{}, 1)}
}

// Wake tells Run that a commit queued something. It never waits.
func (w *Worker) Wake() {
	select {
	case w.wake <- struct{}{}:
	default: // Run has a signal waiting already
	}
}

// ErrAbandoned reports that deliveries were under way when Run had to return.
// They are sent again once their lease has run out.
var ErrAbandoned = errors.New("outbox: deliveries that would not end were left behind; they will be sent again")

// Run delivers until ctx ends, then lets deliveries under way finish for 10 s
// and cuts off the rest. It returns nil, or ErrAbandoned if a Sender stayed
// even then. A database that fails is logged and tried again.
func (w *Worker) Run(ctx context.Context) error {
	work, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	c := w.newCrew()
	failed := 0
	for ctx.Err() == nil {
		n, wait, err := w.start(ctx, work, c)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			pause := min(time.Second<<min(failed, 10), worstPause)
			failed++
			w.opt.Log.Error("outbox: the database does not answer", "err", err, "again_in", pause.String())
			sleep(ctx, nil, pause) // not to be woken: each signal would bring the next failure
		default:
			failed = 0
			if n == 0 {
				sleep(ctx, w.wake, wait)
			}
		}
	}
	if c.rest(graceful) {
		return nil
	}
	cut()
	if c.rest(parting) {
		return nil
	}
	return ErrAbandoned
}

// DeliverNow delivers until nothing is due any more, and returns how many were
// sent. Failures of single deliveries are logged and put back, as in Run; err
// is the database's or ctx's. It returns when the last Sender has.
func (w *Worker) DeliverNow(ctx context.Context) (int, error) {
	c := w.newCrew()
	quiet := false // nothing has been under way since the last look
	for {
		n, _, err := w.start(ctx, ctx, c)
		if err == nil && n > 0 {
			quiet = false
			continue
		}
		c.wait()
		if err != nil || quiet {
			return int(c.sent.Load()), err
		}
		quiet = true // once more: what was under way may have left something due
	}
}

// start leases what is due, as much as there are free hands for, and hands it
// out: a lease never runs while a delivery waits for its turn. It returns how
// many it started and, if none, how long there is nothing to do. It waits for
// the first free hand; ctx ends that, and work ends the deliveries.
func (w *Worker) start(ctx, work context.Context, c *crew) (n int, wait time.Duration, err error) {
	free := c.take(ctx)
	if free == 0 {
		return 0, 0, ctx.Err()
	}
	defer func() { c.release(free - n) }()

	// Asking is cheap; only what is worth it takes the writer's time.
	full := c.full(free)
	c.short.Store(len(full) > 0)
	wait, err = w.untilDue(ctx, full)
	if err != nil || wait > 0 {
		return 0, wait, err
	}
	var batch []store.Delivery
	var until time.Time
	err = w.opt.DB.Write(ctx, store.TenantID{}, func(tx *store.Tx) (err error) {
		until = tx.Now.Add(w.opt.Lease)
		batch, err = tx.TakeDeliveries(c.bite(free), w.opt.Lease, full...)
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	for _, d := range batch {
		c.begin(d.Tenant)
		go func() {
			defer func() {
				c.end(d.Tenant)
				c.release(1)
				if c.short.Load() {
					w.Wake() // more of the same may wait for this hand
				}
			}()
			if w.deliver(work, d, until) {
				c.sent.Add(1)
			}
		}()
	}
	return len(batch), shortest, nil // none, although due: another worker was quicker
}

// untilDue returns how long to wait before looking again; zero: not at all.
func (w *Worker) untilDue(ctx context.Context, full []store.TenantID) (wait time.Duration, err error) {
	err = w.opt.DB.Read(ctx, store.TenantID{}, func(tx *store.Tx) error {
		next, err := tx.NextDelivery(full...)
		switch {
		case err != nil:
			return err
		case next.IsZero():
			wait = idlePoll
		case next.After(tx.Now):
			wait = min(max(next.Sub(tx.Now), shortest), waitingPoll)
		}
		return nil
	})
	return wait, err
}

// sleep waits for a signal, for d, or for the end of ctx.
func sleep(ctx context.Context, signal <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-signal:
	case <-ctx.Done():
	}
}

// crew is the hands of one Run: a token in hands is a free one.
type crew struct {
	hands chan struct{}
	sent  atomic.Int64
	short atomic.Bool // some tenant got no more hands at the last look

	mu   sync.Mutex
	busy map[store.TenantID]int // hands at work for each, which mu guards
}

func (w *Worker) newCrew() *crew {
	c := &crew{hands: make(chan struct{}, w.opt.Workers), busy: map[store.TenantID]int{}}
	c.release(w.opt.Workers)
	return c
}

// full are the tenants that get no more hands now: the last quarter is for those
// who have none. One whose mail server hangs must not keep the mails of all others
// waiting.
func (c *crew) full(free int) (list []store.TenantID) {
	if free > c.reserve() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for t := range c.busy {
		list = append(list, t)
	}
	return list
}

func (c *crew) reserve() int { return cap(c.hands) / 4 }

// bite is how much is taken at once: of the reserve one, for all may be of one
// tenant.
func (c *crew) bite(free int) int { return max(1, free-c.reserve()) }

func (c *crew) begin(t store.TenantID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy[t]++
}

func (c *crew) end(t store.TenantID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy[t]--
	if c.busy[t] == 0 {
		delete(c.busy, t)
	}
}

// take waits for one free hand and takes all others that are free, or none
// when ctx ends.
func (c *crew) take(ctx context.Context) (n int) {
	if ctx.Err() != nil {
		return 0
	}
	select {
	case <-c.hands:
	case <-ctx.Done():
		return 0
	}
	for n = 1; ; n++ {
		select {
		case <-c.hands:
		default:
			return n
		}
	}
}

func (c *crew) release(n int) {
	for range n {
		c.hands <- struct{}{}
	}
}

// wait returns when all hands are free.
func (c *crew) wait() {
	for range cap(c.hands) {
		<-c.hands
	}
	c.release(cap(c.hands))
}

// rest reports whether all hands became free within d. Nobody is given work
// any more.
func (c *crew) rest(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	for n := 0; n < cap(c.hands); n++ {
		select {
		case <-c.hands:
		case <-t.C:
			c.release(n)
			return false
		}
	}
	return true
}
