// Package limit counts how often something happens, by a name (which limit)
// and a key (whose), and says when it is too often.
//
// Begin with Limiter.Take. The counters live in the memory of one process and
// are gone with it: they shape traffic and slow guessing down. A count that a
// restart must not refill, such as the guesses at one code, belongs in a table.
// It starts no goroutines, and must never let a key through because it could
// not be counted.
package limit

import (
	"container/heap"
	"hash/maphash"
	"sync"
	"time"
)

const (
	maxKeys = 100_000
	shards  = 64 // each with a lock of its own, so that clients rarely wait for each other
	maxSpan = 10 * 365 * 24 * time.Hour
)

// Rate is how often something may happen: Burst times at once, and Events times
// in every Per after that. A burst under 1 means 1. A rate without positive
// Events and Per lets nothing through, because an empty setting must not be the
// way to no limit.
type Rate struct {
	Events float64
	Per    time.Duration
	Burst  int
	// Late has a Shared let events through before all nodes have counted them. It
	// is for what everybody does all day and harms nobody a few times too often;
	// never for guesses, or for what costs money.
	Late bool
}

// interval returns the time one event takes to be forgotten, and the time a
// whole burst takes.
func (r Rate) interval() (one, span time.Duration, ok bool) {
	if !(r.Events > 0) || r.Per <= 0 {
		return 0, 0, false
	}
	burst := float64(max(r.Burst, 1))
	ns := min(float64(r.Per)/r.Events, float64(maxSpan)/burst)
	return time.Duration(ns), time.Duration(ns * burst), true
}

// Limiter keeps the counters, at most 100 000 of them. When they are full, the
// counter that is closest to being forgotten makes room: first one that already
// is, then the least used one. So a flood of new keys pushes out other new
// keys, and never frees the client that is being held back.
//
// Safe for concurrent use.
type Limiter struct {
	now    func() time.Time
	start  time.Time    // times are kept as the distance from here, which steps of the wall clock do not change
	seed   maphash.Seed // random: nobody can choose keys that meet in one shard
	perMap int          // most counters in one shard
	shards [shards]shard
}

// shard is a part of the counters.
type shard struct {
	mu       sync.Mutex          // guards all below and the counters in it
	counters map[uint64]*counter // by the hash of name and key: of fixed size, and no addresses in memory
	names    map[string]*queue   // the same counters by name; as many as the program has limits
}

// counter is one key of one name, kept by the generic cell rate algorithm
// (ITU-T I.371): full is when it will have been forgotten, and every event puts
// that off by one interval.
type counter struct {
	id   uint64
	full time.Duration // since Limiter.start
	span time.Duration // how far ahead of now full may be
	at   int           // index in its queue
}

// New makes a Limiter that takes the time from now.
func New(now func() time.Time) *Limiter {
	l := &Limiter{now: now, start: now(), seed: maphash.MakeSeed(), perMap: maxKeys / shards}
	for i := range l.shards {
		l.shards[i].counters = map[uint64]*counter{}
		l.shards[i].names = map[string]*queue{}
	}
	return l
}

// Take counts one event of the key under the name, and reports whether it is
// within the rate. If not, it is not counted, and retryAfter is the time until
// one will be, in whole seconds and at least one; waiting that long is enough
// unless others use the same key.
//
// Keys of different names never meet. A name is one of the program's own, never
// a client's; the rate should be the same at every call with the name.
func (l *Limiter) Take(name, key string, r Rate) (ok bool, retryAfter time.Duration) {
	one, span, ok := r.interval()
	if !ok {
		return false, wholeSeconds(max(r.Per, time.Minute))
	}
	id := l.hash(name, key)
	s := &l.shards[id%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	// Read under the lock: a time that is older than what another call has
	// stored would count as a step back.
	now := l.now().Sub(l.start)

	q := s.names[name]
	if q == nil {
		q = &queue{}
		s.names[name] = q
	}
	c := s.counters[id]
	full := now
	if c != nil {
		// Not further ahead than a burst, so that a clock set back or a rate made
		// stricter locks nobody out for longer than the rate says.
		full = min(max(now, c.full), now+span)
	}
	full += one
	if over := full - span - now; over > 0 {
		return false, wholeSeconds(over)
	}
	if c != nil {
		c.full, c.span = full, span
		heap.Fix(q, c.at)
		return true, 0
	}
	s.makeRoom(q, now, l.perMap)
	c = &counter{id: id, full: full, span: span}
	s.counters[id] = c
	heap.Push(q, c)
	return true, 0
}

// makeRoom drops counters so that one more fits. Two forgotten ones go for
// every new one, so that the memory of a flood is given back after it.
func (s *shard) makeRoom(q *queue, now time.Duration, most int) {
	for range 2 {
		if len(*q) > 0 && (*q)[0].full <= now {
			s.drop(q)
		}
	}
	if len(s.counters) < most {
		return
	}
	var least *queue
	use := 0.0
	for _, q := range s.names {
		if len(*q) == 0 {
			continue
		}
		// The part of its burst that is used, because one mail of thirty an hour
		// takes longer to be forgotten than a whole burst of faster events.
		c := (*q)[0]
		if part := float64(c.full-now) / float64(max(c.span, 1)); least == nil || part < use {
			least, use = q, part
		}
	}
	if least != nil {
		s.drop(least)
	}
}

func (s *shard) drop(q *queue) { delete(s.counters, heap.Pop(q).(*counter).id) }

func (l *Limiter) hash(name, key string) uint64 {
	var h maphash.Hash
	h.SetSeed(l.seed)
	h.WriteString(name)
	h.WriteByte(0) // or the names "a" and "ab" would meet
	h.WriteString(key)
	return h.Sum64()
}

// wholeSeconds rounds up, for the Retry-After header (RFC 9110 §10.2.3).
func wholeSeconds(d time.Duration) time.Duration {
	return max(time.Second, (d + time.Second - 1).Truncate(time.Second))
}

// queue holds the counters of one name, the first to be forgotten on top.
type queue []*counter

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].full < q[j].full }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].at, q[j].at = i, j
}

// Push is for container/heap.
func (q *queue) Push(x any) {
	c := x.(*counter)
	c.at = len(*q)
	*q = append(*q, c)
}

// Pop is for container/heap.
func (q *queue) Pop() any {
	last := len(*q) - 1
	c := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return c
}
