package limit_test

import (
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/limit"
)

// clock is turned by hand.
type clock struct{ t time.Time }

func newClock() *clock                   { return &clock{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }
func (c *clock) now() time.Time          { return c.t }
func (c *clock) turn(d time.Duration)    { c.t = c.t.Add(d) }
func (c *clock) limiter() *limit.Limiter { return limit.New(c.now) }
func rate(n, burst int) limit.Rate {
	return limit.Rate{Events: float64(n), Per: 5 * time.Minute, Burst: burst}
}

func taken(l *limit.Limiter, n int, name, key string, r limit.Rate) (count int) {
	for range n {
		if ok, _ := l.Take(name, key, r); ok {
			count++
		}
	}
	return count
}

func TestTake_allowsABurstThenTheSteadyRate(t *testing.T) {
	c := newClock()
	l := c.limiter()
	r := rate(30, 10) // one every 10 s
	if got := taken(l, 50, "verify", "a", r); got != 10 {
		t.Fatalf("at once: %d of 50 taken, want 10", got)
	}
	if ok, after := l.Take("verify", "a", r); ok || after != 10*time.Second {
		t.Errorf("after the burst: %v, retry after %v, want 10s", ok, after)
	}
	c.turn(10*time.Second - 1)
	if ok, after := l.Take("verify", "a", r); ok || after != time.Second {
		t.Errorf("a nanosecond early: %v, retry after %v, want 1s", ok, after)
	}
	c.turn(1)
	if got := taken(l, 5, "verify", "a", r); got != 1 {
		t.Errorf("after 10 s: %d taken, want 1", got)
	}
	for range 100 { // asking all the time gains nothing
		c.turn(time.Second)
		taken(l, 3, "verify", "a", r)
	}
	if got := taken(l, 5, "verify", "a", r); got != 0 {
		t.Errorf("while refused: %d taken, want 0", got)
	}
	c.turn(time.Hour)
	if got := taken(l, 50, "verify", "a", r); got != 10 {
		t.Errorf("after a rest: %d taken, want the burst of 10", got)
	}
}

func TestTake_neverExceedsTheRateOverAnyLongTime(t *testing.T) {
	c := newClock()
	l := c.limiter()
	count := 0
	for range 3000 { // 50 minutes of one try a second
		count += taken(l, 1, "verify", "a", rate(30, 10))
		c.turn(time.Second)
	}
	if count < 305 || count > 310 { // 10 at once, 30 in each of ten times 5 minutes
		t.Errorf("%d taken in 50 minutes, want about 309", count)
	}
}

func TestTake_succeedsAfterRetryAfter(t *testing.T) {
	c := newClock()
	l := c.limiter()
	r := limit.Rate{Events: 7, Per: time.Minute, Burst: 3} // 8.57 s: rounded
	for i := range 50 {
		ok, after := l.Take("otp", "a", r)
		if ok {
			continue
		}
		if after < time.Second || after%time.Second != 0 {
			t.Fatalf("retry after %v: want whole seconds", after)
		}
		c.turn(after)
		if ok, after := l.Take("otp", "a", r); !ok {
			t.Fatalf("try %d: refused for %v more after waiting as told", i, after)
		}
	}
}

func TestTake_keepsKeysAndNamesApart(t *testing.T) {
	l := newClock().limiter()
	r := rate(30, 1)
	for _, k := range [][2]string{{"a", "bc"}, {"ab", "c"}, {"abc", ""}, {"", "abc"}, {"a", "bd"}} {
		if got := taken(l, 3, k[0], k[1], r); got != 1 {
			t.Errorf("%q: %d taken, want 1 of its own", k, got)
		}
	}
}

func TestTake_refusesWhenTheRateIsEmptyOrNonsense(t *testing.T) {
	l := newClock().limiter()
	for _, r := range []limit.Rate{
		{},
		{Burst: 5},
		{Events: 1, Burst: 5},
		{Per: time.Hour, Burst: 5},
		{Events: -1, Per: time.Hour},
		{Events: 1, Per: -time.Hour},
		{Events: math.NaN(), Per: time.Hour},
	} {
		if ok, after := l.Take("x", "a", r); ok || after < time.Second {
			t.Errorf("%+v: %v, retry after %v", r, ok, after)
		}
	}
	// Extremes must not overflow into "always".
	for i, r := range []limit.Rate{
		{Events: 1e-300, Per: time.Hour},
		{Events: 1, Per: math.MaxInt64, Burst: 2},
		{Events: 1e-9, Per: time.Hour, Burst: math.MaxInt32},
		{Events: 1, Per: time.Hour, Burst: -3},
	} {
		name := strconv.Itoa(i)
		if ok, _ := l.Take(name, "a", r); !ok {
			t.Errorf("%+v: the first is refused", r)
		}
		if i == 0 || i == 3 {
			if ok, after := l.Take(name, "a", r); ok || after < time.Hour {
				t.Errorf("%+v: the second: %v, retry after %v", r, ok, after)
			}
		}
	}
}

func TestTake_aClockSetBackLocksNobodyOutForLong(t *testing.T) {
	c := newClock()
	l := c.limiter()
	taken(l, 10, "verify", "a", rate(30, 10))
	c.turn(-24 * time.Hour)
	if ok, after := l.Take("verify", "a", rate(30, 10)); ok || after > 10*time.Second {
		t.Errorf("after a day back: %v, retry after %v, want 10s at most", ok, after)
	}
}

// The flood of O12: counters are bounded, and filling them up with new keys
// must not free the key that is held back.
func TestTake_staysBoundedAndAFloodFreesNoHotKey(t *testing.T) {
	c := newClock()
	l := c.limiter()
	fast := rate(300, 10)                                          // a second each
	slow := limit.Rate{Events: 30, Per: 24 * time.Hour, Burst: 30} // 48 minutes each
	if got := taken(l, 20, "verify", "hot", fast); got != 10 {
		t.Fatalf("%d taken, want 10", got)
	}
	for i := range 1_000_000 {
		key := strconv.Itoa(i)
		name, r := "verify", fast
		if i%2 == 0 {
			name, r = "mail", slow // of which even one event is long remembered
		}
		if ok, _ := l.Take(name, key, r); !ok {
			t.Fatalf("key %d: its first event is refused", i)
		}
		if i%100_000 == 0 {
			if got := l.Len(); got > limit.MaxKeys {
				t.Fatalf("%d counters, want at most %d", got, limit.MaxKeys)
			}
			if ok, _ := l.Take("verify", "hot", fast); ok {
				t.Fatalf("the hot key is free again after %d others", i)
			}
		}
	}
	if got := l.Len(); got > limit.MaxKeys || got < limit.MaxKeys*9/10 {
		t.Errorf("%d counters, want nearly %d", got, limit.MaxKeys)
	}
	if ok, _ := l.Take("verify", "hot", fast); ok {
		t.Error("the hot key is free again")
	}

	c.turn(48 * time.Hour)
	for i := range 100_000 {
		l.Take([]string{"verify", "mail"}[i%2], "late "+strconv.Itoa(i%1000), fast)
	}
	for i := range 200_000 { // the keys of later days give the memory of the flood back
		l.Take([]string{"verify", "mail"}[i%2], "later "+strconv.Itoa(i), limit.Rate{Events: 1e9, Per: time.Second, Burst: 1})
		c.turn(time.Microsecond)
	}
	if got := l.Len(); got > 5000 {
		t.Errorf("%d counters long after the flood, want few", got)
	}
}

func TestTake_manyAtOnceShareOneBurst(t *testing.T) {
	l := newClock().limiter()
	var count atomic.Int64
	var all sync.WaitGroup
	for g := range 16 {
		all.Go(func() {
			for i := range 500 {
				if ok, _ := l.Take("verify", "a", rate(30, 10)); ok {
					count.Add(1)
				}
				l.Take("verify", strconv.Itoa(g*1000+i), rate(30, 10))
			}
		})
	}
	all.Wait()
	if got := count.Load(); got != 10 {
		t.Errorf("%d taken at once, want 10", got)
	}
}

func BenchmarkTake(b *testing.B) {
	l := limit.New(time.Now)
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			l.Take("verify", strconv.Itoa(i%200_000), rate(30, 10))
		}
	})
}
