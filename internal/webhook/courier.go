package webhook

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"gatehouse/internal/fetch"
	"gatehouse/internal/store"
)

// CourierOptions are what a Courier is made of.
type CourierOptions struct {
	DB *store.DB
	// Open opens a secret that was sealed for an endpoint.
	Open func(tenant store.TenantID, endpoint store.WebhookID, sealed []byte) (Secret, error)
	// Client may be used for other things, too: the limits of deliveries are
	// their own.
	Client *fetch.Client
	// Payload is what an event looks like to endpoints. Nil: EventBody.
	Payload func(store.TenantID, store.Event) ([]byte, error)
	Log     *slog.Logger  // nil: nobody hears
	Workers int           // deliveries at one time; zero: 8
	Lease   time.Duration // zero: 60 s. One delivery gets three quarters of it, and no more than 15 s
}

// Courier delivers events to the endpoints that want them. It is safe for
// concurrent use; any number of Couriers, in any number of processes, may share
// a database.
//
// Delivery is at least once, in order for each endpoint and user: a process
// that dies between sending and writing it down has it sent again, with the
// same Webhook-Id, when its lease has run out.
type Courier struct {
	opt    CourierOptions
	client *fetch.Client
	wake   chan struct{} // holds at most one signal
}

const (
	idlePoll    = 5 * time.Second // how late a signal that was lost is made up for
	waitingPoll = time.Second     // the same while something waits: clocks may jump
	shortest    = 20 * time.Millisecond
	graceful    = 10 * time.Second // for deliveries under way when Run is told to end
	parting     = time.Second      // for those that are cut off, to put their row back
	worstPause  = 30 * time.Second // between two attempts at a database that fails
	bookLimit   = 5 * time.Second  // to write down what became of a delivery
)

// NewCourier returns a Courier. It does nothing until Run or DeliverNow.
func NewCourier(o CourierOptions) *Courier {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Workers <= 0 {
		o.Workers = 8
	}
	if o.Lease <= 0 {
		o.Lease = 60 * time.Second
	}
	if o.Payload == nil {
		o.Payload = EventBody
	}
	client := o.Client.Within(fetch.Limits{Timeout: tryLimit, MaxBytes: maxReply, MaxConcurrent: o.Workers})
	return &Courier{opt: o, client: client, wake: make(chan struct{}, 1)}
}

// Wake tells Run that a commit promised something. It never waits.
func (c *Courier) Wake() {
	select {
	case c.wake <- struct{}{}:
	default: // Run has a signal waiting already
	}
}

// ErrAbandoned reports that deliveries were under way when Run had to return.
// They are made again once their lease has run out.
var ErrAbandoned = errors.New("webhook: deliveries that would not end were left behind; they will be made again")

// Run delivers until ctx ends, then lets deliveries under way finish for 10 s
// and cuts off the rest. It returns nil, or ErrAbandoned if one stayed even
// then. A database that fails is logged and tried again.
func (c *Courier) Run(ctx context.Context) error {
	work, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	h := c.newHands()
	failed := 0
	for ctx.Err() == nil {
		n, wait, err := c.start(ctx, work, h)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			pause := min(time.Second<<min(failed, 10), worstPause)
			failed++
			c.opt.Log.Error("webhook: the database does not answer", "err", err, "again_in", pause.String())
			pauseFor(ctx, nil, pause) // not to be woken: each signal would bring the next failure
		default:
			failed = 0
			if n == 0 {
				pauseFor(ctx, c.wake, wait)
			}
		}
	}
	if h.rest(graceful) {
		return nil
	}
	cut()
	if h.rest(parting) {
		return nil
	}
	return ErrAbandoned
}

// DeliverNow delivers until nothing is due any more, and returns how many were
// delivered. Failures of single deliveries are logged and put back, as in Run;
// err is the database's or ctx's. It returns when the last delivery is over.
func (c *Courier) DeliverNow(ctx context.Context) (int, error) {
	h := c.newHands()
	quiet := false // nothing has been under way since the last look
	for {
		n, _, err := c.start(ctx, ctx, h)
		if err == nil && n > 0 {
			quiet = false
			continue
		}
		h.wait()
		if err != nil || quiet {
			return h.delivered(), err
		}
		quiet = true // once more: what was under way may have left something due
	}
}

// start leases what is due, as much as there are free hands for, and hands it
// out: a lease never runs while a delivery waits for its turn. It returns how
// many it started and, if none, how long there is nothing to do. It waits for
// the first free hand; ctx ends that, and work ends the deliveries.
func (c *Courier) start(ctx, work context.Context, h *hands) (n int, wait time.Duration, err error) {
	free := h.take(ctx)
	if free == 0 {
		return 0, 0, ctx.Err()
	}
	defer func() { h.release(free - n) }()

	// Asking is cheap; only what is worth it takes the writer's time.
	busy, full := h.busy()
	wait, err = c.untilDue(ctx, full)
	if err != nil || wait > 0 {
		return 0, wait, err
	}
	var batch []store.WebhookParcel
	var until time.Time
	err = c.opt.DB.Write(ctx, store.TenantID{}, func(tx *store.Tx) (err error) {
		until = tx.Now.Add(c.opt.Lease)
		batch, err = tx.TakeWebhooks(free, c.opt.Lease, handsEach, busy)
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	for _, p := range batch {
		h.begin(p.Endpoint)
		go func() {
			delivered := c.deliver(work, p, until)
			h.end(p.Endpoint, delivered)
			c.Wake() // the next of that user, or of that endpoint, may be due
		}()
	}
	return len(batch), shortest, nil // none, although due: another courier was quicker
}

// untilDue returns how long to wait before looking again; zero: not at all.
func (c *Courier) untilDue(ctx context.Context, full map[store.WebhookID]bool) (wait time.Duration, err error) {
	err = c.opt.DB.Read(ctx, store.TenantID{}, func(tx *store.Tx) error {
		next, err := tx.NextWebhook(full)
		wait = 0
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

// pauseFor waits for a signal, for d, or for the end of ctx.
func pauseFor(ctx context.Context, signal <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-signal:
	case <-ctx.Done():
	}
}

// hands are those of one Run: a token in free is a free one.
type hands struct {
	free chan struct{}

	mu   sync.Mutex // guards the rest
	at   map[store.WebhookID]int
	sent int
}

func (c *Courier) newHands() *hands {
	h := &hands{free: make(chan struct{}, c.opt.Workers), at: map[store.WebhookID]int{}}
	h.release(c.opt.Workers)
	return h
}

// busy says how many hands are at each endpoint, and at which no more may be.
func (h *hands) busy() (at map[store.WebhookID]int, full map[store.WebhookID]bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at, full = map[store.WebhookID]int{}, map[store.WebhookID]bool{}
	for id, n := range h.at {
		at[id] = n
		if n >= handsEach {
			full[id] = true
		}
	}
	return at, full
}

func (h *hands) begin(id store.WebhookID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.at[id]++
}

func (h *hands) end(id store.WebhookID, delivered bool) {
	h.mu.Lock()
	h.at[id]--
	if h.at[id] == 0 {
		delete(h.at, id)
	}
	if delivered {
		h.sent++
	}
	h.mu.Unlock()
	h.release(1)
}

func (h *hands) delivered() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sent
}

// take waits for one free hand and takes all others that are free, or none
// when ctx ends.
func (h *hands) take(ctx context.Context) (n int) {
	if ctx.Err() != nil {
		return 0
	}
	select {
	case <-h.free:
	case <-ctx.Done():
		return 0
	}
	for n = 1; ; n++ {
		select {
		case <-h.free:
		default:
			return n
		}
	}
}

func (h *hands) release(n int) {
	for range n {
		h.free <- struct{}{}
	}
}

// wait returns when all hands are free.
func (h *hands) wait() {
	for range cap(h.free) {
		<-h.free
	}
	h.release(cap(h.free))
}

// rest reports whether all hands became free within d. Nobody is given work
// any more.
func (h *hands) rest(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	for n := 0; n < cap(h.free); n++ {
		select {
		case <-h.free:
		case <-t.C:
			h.release(n)
			return false
		}
	}
	return true
}
