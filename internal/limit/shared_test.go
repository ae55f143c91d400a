package limit_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/limit"
)

// center is where nodes count together: here one Limiter, which rounds waits up
// to seconds. The real one is tested with the database.
type center struct {
	all   *limit.Limiter
	asked atomic.Int64
	down  atomic.Bool

	mu      sync.Mutex              // guards the rest
	full    map[limit.Key]time.Time // of what was charged
	charged map[limit.Key]int
}

var errDown = errors.New("down")

func (c *center) draw(_ context.Context, k limit.Key, n int, one, span time.Duration) (time.Duration, error) {
	c.asked.Add(1)
	if c.down.Load() {
		return 0, errDown
	}
	r := limit.Rate{Events: float64(span / one), Per: span / time.Duration(n), Burst: int(span/one) / n}
	_, wait := c.all.Take(k.Name+strconv.Itoa(n), string(k.Tenant[:])+k.Subject, r)
	return wait, nil
}

func (c *center) charge(ctx context.Context, debts []limit.Debt) ([]time.Time, error) {
	c.asked.Add(1)
	if c.down.Load() {
		return nil, errDown
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []time.Time
	for _, d := range debts {
		full := c.full[d.Key].Add(d.Cost)
		if full.Before(d.Full) {
			full = d.Full
		}
		c.full[d.Key] = full
		c.charged[d.Key] += d.N
		list = append(list, full)
	}
	return list, nil
}

// of is how many events of a key were charged.
func (c *center) of(k limit.Key) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.charged[k]
}

func newCenter(c *clock) *center {
	return &center{all: limit.New(c.now), full: map[limit.Key]time.Time{}, charged: map[limit.Key]int{}}
}

func (c *clock) shared() (*limit.Shared, *center) {
	at := newCenter(c)
	return limit.NewShared(c.now, at.draw, at.charge, limit.New(c.now)), at
}

func spent(s *limit.Shared, n int, k limit.Key, r limit.Rate) (count int) {
	for range n {
		if ok, _ := s.Take(context.Background(), k, r); ok {
			count++
		}
	}
	return count
}

var ada = limit.Key{Name: "token", Subject: "ada"}

func TestShared_asksOnceForEachAllowedAndNeverForARefusedEvent(t *testing.T) {
	c := newClock()
	s, at := c.shared()
	r := rate(30, 10)
	if got := spent(s, 1000, ada, r); got != 10 {
		t.Errorf("%d taken, want 10", got)
	}
	if n := at.asked.Load(); n != 11 { // ten, and the first refusal
		t.Errorf("%d questions, want 11", n)
	}
	ok, after := s.Take(t.Context(), ada, r)
	if ok || after != 10*time.Second {
		t.Errorf("refused: %v, retry after %v, want 10s", ok, after)
	}
	c.turn(10*time.Second - 1)
	if ok, after := s.Take(t.Context(), ada, r); ok || after != time.Second {
		t.Errorf("a nanosecond early: %v, retry after %v", ok, after)
	}
	c.turn(1)
	if got := spent(s, 100, ada, r); got != 1 {
		t.Errorf("after 10s: %d taken, want 1", got)
	}
}

func TestShared_drawsAFiftiethOfABurstAtATime(t *testing.T) {
	c := newClock()
	s, at := c.shared()
	if got := spent(s, 400, ada, rate(300, 500)); got != 400 {
		t.Fatalf("%d taken, want 400", got)
	}
	if n := at.asked.Load(); n != 40 {
		t.Errorf("%d questions for 400 events, want 40", n)
	}
	// What was drawn and not used for long is the bucket's again.
	spent(s, 1, ada, rate(300, 500))
	before := at.asked.Load()
	c.turn(time.Second)
	spent(s, 1, ada, rate(300, 500))
	if at.asked.Load() == before {
		t.Error("an event was taken from what is no longer good")
	}
}

func TestShared_keepsTenantsNamesAndSubjectsApart(t *testing.T) {
	s, _ := newClock().shared()
	for _, k := range []limit.Key{ada, {Name: "verify", Subject: "ada"}, {Name: "token", Subject: "bob"}, {Tenant: [16]byte{1}, Name: "token", Subject: "ada"}} {
		if got := spent(s, 3, k, rate(30, 1)); got != 1 {
			t.Errorf("%v: %d taken, want 1 of its own", k, got)
		}
	}
}

// Who cannot be counted together is counted here; nobody goes uncounted, and
// what does not answer is not asked for each of them.
func TestShared_countsAloneWithoutAnAnswer(t *testing.T) {
	c := newClock()
	s, at := c.shared()
	at.down.Store(true)
	if got := spent(s, 1000, ada, rate(30, 10)); got != 10 {
		t.Errorf("%d taken, want 10", got)
	}
	if n := at.asked.Load(); n != 1 {
		t.Errorf("%d questions, want 1", n)
	}
	at.down.Store(false)
	c.turn(time.Second)
	if got := spent(s, 1000, ada, rate(30, 10)); got != 10 {
		t.Errorf("once it answers: %d taken, want 10", got)
	}
	// A client that hangs up is no sign of that.
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	at.down.Store(true)
	s.Take(gone, limit.Key{Name: "token", Subject: "bob"}, rate(30, 10))
	at.down.Store(false)
	before := at.asked.Load()
	spent(s, 1, limit.Key{Name: "token", Subject: "eve"}, rate(30, 10))
	if at.asked.Load() == before {
		t.Error("one client that hung up has others counted alone")
	}
}

func TestShared_refusesWhenTheRateIsEmpty(t *testing.T) {
	s, at := newClock().shared()
	for _, r := range []limit.Rate{{}, {Burst: 5}, {Events: 1}, {Events: -1, Per: time.Hour}} {
		if ok, after := s.Take(t.Context(), ada, r); ok || after < time.Second {
			t.Errorf("%+v: %v, retry after %v", r, ok, after)
		}
	}
	if at.asked.Load() != 0 {
		t.Error("a question for nothing")
	}
}

func TestShared_aClockSetBackLocksNobodyOut(t *testing.T) {
	c := newClock()
	s, at := c.shared()
	spent(s, 20, ada, rate(30, 10))
	c.turn(-24 * time.Hour)
	before := at.asked.Load()
	spent(s, 1, ada, rate(30, 10))
	if at.asked.Load() == before {
		t.Error("a refusal of tomorrow still holds")
	}
	at.down.Store(true)
	spent(s, 1, limit.Key{Name: "token", Subject: "bob"}, rate(30, 10))
	at.down.Store(false)
	c.turn(-24 * time.Hour)
	before = at.asked.Load()
	spent(s, 1, limit.Key{Name: "token", Subject: "eve"}, rate(30, 10))
	if at.asked.Load() == before {
		t.Error("an outage of tomorrow still holds")
	}
}

// The flood of O12: what is kept is bounded, and what is forgotten is asked for.
func TestShared_staysBoundedAndAFloodFreesNoHotKey(t *testing.T) {
	c := newClock()
	s, _ := c.shared()
	r := rate(30, 10)
	spent(s, 20, ada, r)
	for i := range 2 * limit.MaxKeys {
		s.Take(t.Context(), limit.Key{Name: "token", Subject: strconv.Itoa(i)}, r)
	}
	if got := s.Len(); got > limit.MaxKeys || got < limit.MaxKeys*9/10 {
		t.Errorf("%d keys are kept, want nearly %d", got, limit.MaxKeys)
	}
	if got := spent(s, 20, ada, r); got != 0 {
		t.Errorf("%d taken by the hot key after the flood, want none", got)
	}
}

func TestShared_manyAtOnceShareOneBurst(t *testing.T) {
	c := newClock()
	s, _ := c.shared()
	var count atomic.Int64
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() { count.Add(int64(spent(s, 500, ada, rate(30, 10)))) })
	}
	all.Wait()
	if got := count.Load(); got != 10 {
		t.Errorf("%d taken at once, want 10", got)
	}
}
