package secret

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"
)

const (
	defaultMaxWait = 5 * time.Second
	firstMean      = 25 * time.Millisecond // what a hash is believed to take before any was measured
	leastMean      = time.Millisecond      // keeps the queue finite when the work measures as nothing
	meanWeight     = 8                     // a measurement moves the mean by an eighth of the difference
)

// BusyError is the refusal of work that would have had to wait too long.
type BusyError struct {
	RetryAfter time.Duration // when to try again: whole seconds, at least one
}

// Error says so, with the number of seconds.
func (e *BusyError) Error() string {
	return fmt.Sprintf("too many passwords are being checked: try again in %s", e.RetryAfter)
}

// Pool admits work that fills a processor and much memory, such as password
// hashing: so much at once, a short queue, and a refusal beyond it, because a
// login that waits a minute has been given up and still takes its turn.
//
// The queue is fair. Each client (key) has a line of its own, first come first
// served; the lines take turns. So a client that sends a thousand logins waits
// behind itself, and one that sends a single login waits one round at most.
//
// It starts no goroutines. Safe for concurrent use.
type Pool struct {
	slots   int
	maxWait time.Duration
	now     func() time.Time

	mu      sync.Mutex       // guards all below and the fields of every line
	busy    int              // slots in use; all of them whenever anyone waits
	waiting int              // waiters in all lines
	lines   map[string]*line // by key; only lines in which someone waits
	turns   []*line          // the same lines, next turn first
	lengths []int            // [n]: how many lines have n waiters, n ≥ 1; the last is not zero
	mean    time.Duration    // moving average of how long the work takes
	refused int64            // pieces of work, since the start
}

// line is where the waiters of one key stand, the next to be served first.
type line struct {
	key     string
	waiters []*waiter
}

// waiter is one call of Do that waits.
type waiter struct {
	line    *line
	verdict chan error // receives once, under Pool.mu: nil is a slot, *BusyError a refusal
}

// NewPool returns a pool that admits slots pieces of work at once (0: as many
// as GOMAXPROCS) and lets none wait much longer than maxWait (0: 5 s), as
// measured with now.
func NewPool(slots int, maxWait time.Duration, now func() time.Time) *Pool {
	if slots <= 0 {
		slots = runtime.GOMAXPROCS(0)
	}
	if maxWait <= 0 {
		maxWait = defaultMaxWait
	}
	return &Pool{slots: slots, maxWait: maxWait, now: now, lines: map[string]*line{}, lengths: make([]int, 1), mean: firstMean}
}

// Do runs fn on the caller's goroutine as soon as it is admitted, and returns
// nil; or runs nothing and returns *BusyError, or the context's error when
// that ended first. key names the client, such as its address.
func (p *Pool) Do(ctx context.Context, key string, fn func()) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w, err := p.enter(key)
	if err != nil {
		return err
	}
	select {
	case err := <-w.verdict:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		p.leave(w)
		return ctx.Err()
	}
	began := p.now()
	// Deferred, so that a panic in fn does not cost a slot for good.
	defer func() { p.release(p.now().Sub(began)) }()
	fn()
	return nil
}

// enter takes a free slot or a place in the key's line.
func (p *Pool) enter(key string) (*waiter, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lines[key]
	if l == nil {
		l = &line{key: key}
	}
	w := &waiter{line: l, verdict: make(chan error, 1)}
	if p.busy < p.slots {
		p.busy++
		w.verdict <- nil
		return w, nil
	}
	if p.waiting >= p.limit() {
		// A flood from one client must not shut the others out. Two more, not
		// one: a swap between equals would only move the refusal about.
		if p.longest() < len(l.waiters)+2 {
			return nil, p.refusal()
		}
		i := slices.IndexFunc(p.turns, func(l *line) bool { return len(l.waiters) == p.longest() })
		victim := p.turns[i]
		p.remove(victim, len(victim.waiters)-1).verdict <- p.refusal()
	}
	p.add(w)
	return w, nil
}

// leave withdraws a waiter whose caller has gone.
func (p *Pool) leave(w *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(w.line.waiters, w); i >= 0 {
		p.remove(w.line, i)
		return
	}
	if err := <-w.verdict; err == nil { // admitted at the same moment: the slot goes to the next
		p.next()
	}
}

// release ends a piece of work that took d.
func (p *Pool) release(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mean = max(leastMean, p.mean+(d-p.mean)/meanWeight)
	p.next()
}

// next gives a slot that has come free to the line whose turn it is. p.mu is
// held.
func (p *Pool) next() {
	if p.waiting == 0 {
		p.busy--
		return
	}
	l := p.turns[0]
	w := p.remove(l, 0)
	if len(l.waiters) > 0 {
		p.turns = append(p.turns[1:], l)
	}
	w.verdict <- nil
}

// add puts w at the end of its line. p.mu is held.
func (p *Pool) add(w *waiter) {
	l := w.line
	if len(l.waiters) == 0 {
		p.lines[l.key] = l
		p.turns = append(p.turns, l)
	}
	l.waiters = append(l.waiters, w)
	p.waiting++
	p.recount(len(l.waiters)-1, len(l.waiters))
}

// remove takes the waiter at i out of l, and l out of the pool when that was
// the last. p.mu is held.
func (p *Pool) remove(l *line, i int) *waiter {
	w := l.waiters[i]
	l.waiters = slices.Delete(l.waiters, i, i+1)
	p.waiting--
	p.recount(len(l.waiters)+1, len(l.waiters))
	if len(l.waiters) == 0 {
		delete(p.lines, l.key)
		i := slices.Index(p.turns, l)
		p.turns = slices.Delete(p.turns, i, i+1)
	}
	return w
}

// recount notes that a line went from one length to another. So the length of
// the longest is known without looking at each: refusals come in floods and
// must cost next to nothing. p.mu is held.
func (p *Pool) recount(from, to int) {
	for len(p.lengths) <= to {
		p.lengths = append(p.lengths, 0)
	}
	p.lengths[from]--
	p.lengths[to]++
	p.lengths[0] = 0
	for n := p.longest(); n > 0 && p.lengths[n] == 0; n-- {
		p.lengths = p.lengths[:n]
	}
}

// longest returns how many wait in the longest line. p.mu is held.
func (p *Pool) longest() int { return len(p.lengths) - 1 }

// limit returns how many may wait: what is done within maxWait. p.mu is held.
func (p *Pool) limit() int { return max(2*p.slots, int(p.maxWait*time.Duration(p.slots)/p.mean)) }

// refusal estimates when the queue of now will have been served. p.mu is held.
func (p *Pool) refusal() *BusyError {
	p.refused++
	wait := p.mean * time.Duration(p.waiting+1) / time.Duration(p.slots)
	return &BusyError{RetryAfter: max(1, (wait+time.Second-1)/time.Second) * time.Second}
}
