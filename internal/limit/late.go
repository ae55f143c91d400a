package limit

import (
	"context"
	"sync"
	"time"
)

// Debt is what this node has let through of a key before it was counted.
type Debt struct {
	Key  Key
	N    int           // how many events
	Cost time.Duration // what they take to be forgotten, one after the other
	Full time.Time     // when they would be, had there been none before
	Far  time.Duration // nothing is further ahead of now, whatever nodes let through
}

// Charge counts debts where all nodes count, whether there is room for them or
// not: what takes until some time to be forgotten then takes until Cost after
// that, or until Full, whichever is later. It returns that time for each; if it
// fails, the zero time for those that may not be counted.
type Charge func(ctx context.Context, debts []Debt) ([]time.Time, error)

const (
	// seldom is how many events take as long to be forgotten as a node remembers
	// that there was one: one in that time is not charged.
	seldom = 150
	// pause is for how long debts are collected before they are charged.
	pause = time.Second
	// maxDebtors is how many keys may owe something before who comes next waits.
	maxDebtors = 512
)

// ahead is how many events a node lets through beyond what the others can know:
// a tenth of a burst, or as much as half a hundredth of the Events, if that is
// more.
func ahead(r Rate) int { return max(1, r.Burst/10, int(min(r.Events/200, 1e6))) }

// far is more than a counter can be ahead with twenty nodes.
func far(r Rate, one, span time.Duration) time.Duration {
	return 2*span + min(20*time.Duration(ahead(r)), maxSpan/max(one, 1)*20)*one + time.Minute
}

// account is what this node knows of a key of a Late rate.
type account struct {
	mu     sync.Mutex // guards the rest
	full   time.Time  // when all is forgotten: the others' events as last heard, and all of this node's
	last   time.Time  // the last event
	owed   debt       // let through, and no charge of it under way
	flying debt       // being charged
	trip   *trip      // by which; nil: none
	queued bool       // to be charged by the next flush
}

// debt is a number of events.
type debt struct {
	n    int
	cost time.Duration
	full time.Time // when they are forgotten by themselves
}

func (d *debt) add(n int, cost time.Duration, full time.Time) {
	d.n, d.cost, d.full = d.n+n, d.cost+cost, later(full, d.full.Add(cost))
}

// trip is one charge of several keys.
type trip struct {
	accounts []*account
	debts    []Debt
	done     chan struct{} // closed when it is settled
}

// ledger is who owes something.
type ledger struct {
	mu       sync.Mutex // guards the rest; the last to be locked
	list     []creditor
	since    time.Time     // when the first came
	flushing chan struct{} // closed when the flush under way is over; nil: none
}

type creditor struct {
	account *account
	key     Key
	far     time.Duration
}

// takeLate is Take of a Late rate.
//
// Each node lets through what fits by the word it last had of the others' events
// and by all of its own, but only so much without another word: ahead(r). Then
// it charges that, and the next event waits for the answer. Otherwise debts are
// charged in the background, those of all keys together, a second after the
// first. The first event of a key in the time that 150 take to be forgotten is
// not charged: a client that comes seldom costs the database nothing.
//
// The bound, with a for ahead(r): take any instant, and of the nodes the one that
// has let the last of its events through by the newest word. Of what the others
// have let through, that word lacks a each at most, because no node lets through
// more than a that it has not said. By that word, all that this node has let
// through fits in a burst. So n nodes together never have more in the bucket
// than a burst and (n-1)·a, and a bucket that is never fuller lets through, in
// any time, Events for each Per and one filling of it. What is not charged adds
// one for each node, and one in 150 of the Events for each. With three nodes
// that is a fifth of a burst, whatever the time, and two hundredths of the
// Events and three.
//
// That is while charges are answered; until then each node counts by itself,
// with what it has heard. A node that stops takes with it what it owes, a for
// each key.
func (s *Shared) takeLate(ctx context.Context, k Key, r Rate, one, span time.Duration) (bool, time.Duration) {
	a := s.account(k)
	for {
		ok, wait, t, mine := s.judge(a, k, r, one, span)
		switch {
		case t == nil:
			s.flushIfDue(ctx)
			return ok, wait
		case mine:
			s.run(ctx, t)
			continue
		}
		select {
		case <-t.done:
		case <-ctx.Done(): // nobody is there to be let through
			return false, time.Second
		}
	}
}

// judge decides, or says on which trip the decision waits, and whether the
// caller is to make it.
func (s *Shared) judge(a *account, k Key, r Rate, one, span time.Duration) (ok bool, wait time.Duration, t *trip, mine bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now, far := s.now(), far(r, one, span)
	if a.full.Sub(now) > far { // a clock was set back, which locks nobody out
		a.full = now
	}
	full := later(a.full, now).Add(one)
	over := full.Sub(now) - span
	if over > 0 {
		return false, wholeSeconds(over), nil, false
	}
	charged := now.Sub(a.last)/seldom < one && !now.Before(s.downUntil())
	if charged && a.owed.n+a.flying.n >= ahead(r) {
		if a.trip != nil {
			return false, 0, a.trip, false
		}
		t = &trip{done: make(chan struct{})}
		t.board(creditor{a, k, far})
		return false, 0, t, true
	}
	// Of more keys than are remembered here it forgets the least used ones, and
	// not, as here, by chance.
	ok, wait = s.alone(k, r)
	if !ok {
		return false, wait, nil, false
	}
	a.full, a.last = full, now
	if charged {
		a.owed.add(1, one, now.Add(one))
		s.enqueue(creditor{a, k, far}, now)
	}
	return true, 0, nil, false
}

// board takes what an account owes along. Its lock is held.
func (t *trip) board(c creditor) {
	a := c.account
	a.trip, a.flying, a.owed = t, a.owed, debt{}
	t.accounts = append(t.accounts, a)
	t.debts = append(t.debts, Debt{Key: c.key, N: a.flying.n, Cost: a.flying.cost, Full: a.flying.full, Far: c.far})
}

// enqueue has an account charged by the next flush. Its lock is held.
func (s *Shared) enqueue(c creditor, now time.Time) {
	if c.account.queued {
		return
	}
	c.account.queued = true
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	if len(s.ledger.list) == 0 {
		s.ledger.since = now
	}
	s.ledger.list = append(s.ledger.list, c)
}

// flushIfDue charges all debts in the background, once they have been collected
// for long enough. Of too many it has its caller wait, so that they are bounded.
func (s *Shared) flushIfDue(ctx context.Context) {
	if s.now().Before(s.downUntil()) {
		return
	}
	q := &s.ledger
	q.mu.Lock()
	waited := s.now().Sub(q.since)
	many := len(q.list) >= maxDebtors
	if len(q.list) == 0 || !many && (q.flushing != nil || waited >= 0 && waited < pause) {
		q.mu.Unlock()
		return
	}
	list := q.list
	q.list = nil
	if many {
		q.mu.Unlock()
		s.flush(ctx, list)
		return
	}
	done := make(chan struct{})
	q.flushing = done
	q.mu.Unlock()
	go func() {
		defer func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.flushing = nil
			close(done)
		}()
		s.flush(ctx, list)
	}()
}

func (s *Shared) flush(ctx context.Context, list []creditor) {
	t := &trip{done: make(chan struct{})}
	for _, c := range list {
		c.account.mu.Lock()
		c.account.queued = false
		if c.account.trip == nil && c.account.owed.n > 0 { // else the trip it is on queues it again
			t.board(c)
		}
		c.account.mu.Unlock()
	}
	if len(t.debts) > 0 {
		s.run(ctx, t)
	}
}

// run makes a trip. A client that hangs up does not end it: what it was let
// through is charged.
func (s *Shared) run(ctx context.Context, t *trip) {
	heard := make([]time.Time, len(t.debts))
	defer func() { s.settle(t, heard) }()
	answer, err := s.charge(context.WithoutCancel(ctx), t.debts)
	if copy(heard, answer) < len(heard) || err != nil {
		s.fail(s.now())
	}
}

// settle writes down what a trip has heard. Who was not charged for sure owes
// it still: a debt that is charged twice holds its client back for that long,
// one that is forgotten is a limit that others can pass by cutting us off.
func (s *Shared) settle(t *trip, heard []time.Time) {
	for i, a := range t.accounts {
		a.mu.Lock()
		gone := a.flying
		a.trip, a.flying = nil, debt{}
		if heard[i].IsZero() {
			since := a.owed
			a.owed = gone
			if since.n > 0 {
				a.owed.add(since.n, since.cost, since.full)
			}
		} else {
			a.full = later(a.full, heard[i].Add(a.owed.cost))
		}
		if a.owed.n > 0 {
			s.enqueue(creditor{a, t.debts[i].Key, t.debts[i].Far}, s.now())
		}
		a.mu.Unlock()
	}
	close(t.done)
}

// account finds what is kept of a key. One that owes something stays.
func (s *Shared) account(k Key) *account {
	id := s.hash(k)
	sh := &s.accounts[id%shards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	a := sh.kept[id]
	if a != nil {
		return a
	}
	if len(sh.kept) >= maxKeys/shards {
		for other, a := range sh.kept { // in no order that anybody could foresee
			if a.idle() {
				delete(sh.kept, other)
				break
			}
		}
	}
	a = &account{}
	sh.kept[id] = a
	return a
}

func (a *account) idle() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.owed.n+a.flying.n == 0
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
