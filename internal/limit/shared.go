package limit

import (
	"context"
	"hash/maphash"
	"sync"
	"time"
)

// Key is what is counted: Subject is whose, Name which limit, and Tenant whose
// limit it is.
type Key struct {
	Tenant  [16]byte
	Name    string // one of the program's own, never a client's
	Subject string
}

// Draw counts n events of a key at once where all nodes count, by the rule of
// Limiter: one is the time one event takes to be forgotten, span that of a whole
// burst. If they do not all fit none is counted, and wait is the time until they
// will.
type Draw func(ctx context.Context, k Key, n int, one, span time.Duration) (wait time.Duration, err error)

// Shared is a Limiter whose limits hold on all nodes together. A node draws a
// fiftieth of a burst at a time, so that an allowed event costs a question for
// every fiftieth of it and nodes that keep some back are wrong by less than that;
// a refusal is remembered until its end, so that a flood of refused events costs
// no question at all.
//
// Of a rate that is Late, events are let through first and charged afterwards:
// see takeLate.
//
// While the answer cannot be had, this node counts by itself. What it remembers
// is bounded: it forgets by chance, and then asks.
//
// Safe for concurrent use.
type Shared struct {
	now    func() time.Time
	draw   Draw
	charge Charge
	local  *Limiter
	seed   maphash.Seed
	shards [shards]sharedShard

	accounts [shards]accountShard // of Late rates
	ledger   ledger

	mu   sync.Mutex // guards down
	down time.Time  // no question before then
}

type sharedShard struct {
	mu   sync.Mutex // guards kept
	kept map[uint64]*stock
}

type accountShard struct {
	mu   sync.Mutex // guards kept; its accounts are locked after it
	kept map[uint64]*account
}

// stock is what this node has of a key.
type stock struct {
	mu      sync.Mutex    // held while asking: who comes second finds what the first has brought
	left    int           // drawn and not used
	good    time.Time     // left is worth something until then
	refused time.Time     // no more before then
	span    time.Duration // how far ahead refused may be
	low     time.Time     // draw one by one until then
}

const (
	// chunks is in how many draws a burst is had.
	chunks = 50
	// comeBack is how long nobody is asked after a question that had no answer.
	comeBack = time.Second
)

// NewShared makes a Shared that takes the time from now and counts by itself, in
// local, while draw and charge fail. Without a charge no rate is Late.
func NewShared(now func() time.Time, draw Draw, charge Charge, local *Limiter) *Shared {
	s := &Shared{now: now, draw: draw, charge: charge, local: local, seed: maphash.MakeSeed()}
	for i := range s.shards {
		s.shards[i].kept = map[uint64]*stock{}
		s.accounts[i].kept = map[uint64]*account{}
	}
	return s
}

// Take counts one event, as Limiter.Take does.
func (s *Shared) Take(ctx context.Context, k Key, r Rate) (ok bool, retryAfter time.Duration) {
	one, span, ok := r.interval()
	if !ok {
		return false, wholeSeconds(max(r.Per, time.Minute))
	}
	if r.Late && s.charge != nil {
		return s.takeLate(ctx, k, r, one, span)
	}
	st := s.stock(k)
	st.mu.Lock()
	defer st.mu.Unlock()
	now := s.now()
	if st.left > 0 && now.Before(st.good) {
		st.left--
		return true, 0
	}
	st.left = 0
	// Not further ahead than a burst takes, so that a clock set back, or a rate
	// made less strict, locks nobody out.
	if wait := st.refused.Sub(now); wait > 0 && wait <= min(st.span, span)+time.Second {
		return false, wholeSeconds(wait)
	}
	if now.Before(s.downUntil()) {
		return s.alone(k, r)
	}
	n := max(1, r.Burst/chunks)
	if now.Before(st.low) {
		n = 1
	}
	wait, err := s.draw(ctx, k, n, one, span)
	if err == nil && wait > 0 && n > 1 { // one may still fit
		st.low, n = now.Add(wait), 1
		wait, err = s.draw(ctx, k, n, one, span)
	}
	switch {
	case err != nil:
		if ctx.Err() == nil {
			s.fail(now)
		}
		return s.alone(k, r)
	case wait > 0:
		wait = min(wait, span)
		st.refused, st.span = now.Add(wait), span
		st.low = st.refused.Add(one * time.Duration(max(1, r.Burst/chunks)))
		return false, wholeSeconds(wait)
	}
	// What is kept for longer than it takes to be forgotten is the bucket's again:
	// kept on, it would be had twice.
	st.left, st.good = n-1, now.Add(one)
	return true, 0
}

// alone counts on this node only.
func (s *Shared) alone(k Key, r Rate) (bool, time.Duration) {
	return s.local.Take(k.Name, string(k.Tenant[:])+k.Subject, r)
}

func (s *Shared) downUntil() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down.Sub(s.now()) > comeBack { // the clock was set back
		s.down = time.Time{}
	}
	return s.down
}

func (s *Shared) fail(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = now.Add(comeBack)
}

func (s *Shared) hash(k Key) uint64 {
	var h maphash.Hash
	h.SetSeed(s.seed)
	h.Write(k.Tenant[:])
	h.WriteString(k.Name)
	h.WriteByte(0) // or the names "a" and "ab" would meet
	h.WriteString(k.Subject)
	return h.Sum64()
}

// stock finds what is kept of a key.
func (s *Shared) stock(k Key) *stock {
	id := s.hash(k)
	sh := &s.shards[id%shards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	st := sh.kept[id]
	if st != nil {
		return st
	}
	if len(sh.kept) >= maxKeys/shards {
		for other := range sh.kept { // in no order that anybody could foresee
			delete(sh.kept, other)
			break
		}
	}
	st = &stock{}
	sh.kept[id] = st
	return st
}
