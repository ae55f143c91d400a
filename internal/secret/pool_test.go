package secret_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/secret"
)

// crowd is many callers of one pool, within a synctest bubble.
type crowd struct {
	pool *secret.Pool
	wg   sync.WaitGroup
	mu   sync.Mutex // guards all below
	ran  []string
	errs map[string]error
}

// come has key call Do and returns when the call runs, waits or has failed.
// Without a gate the work takes no time.
func (c *crowd) come(ctx context.Context, key, name string, gate <-chan struct{}) {
	c.wg.Go(func() {
		err := c.pool.Do(ctx, key, func() {
			c.mu.Lock()
			c.ran = append(c.ran, name)
			c.mu.Unlock()
			if gate != nil {
				<-gate
			}
		})
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.errs == nil {
			c.errs = map[string]error{}
		}
		if err != nil {
			c.errs[name] = err
		}
	})
	synctest.Wait()
}

// held returns a crowd whose pool of one slot is taken until open is called.
func held(t *testing.T, maxWait time.Duration) (c *crowd, open func()) {
	c, gate := &crowd{pool: secret.NewPool(1, maxWait, time.Now)}, make(chan struct{})
	c.come(t.Context(), "holder", "holder", gate)
	return c, func() {
		close(gate)
		c.wg.Wait()
		if !c.pool.Idle() {
			t.Error("the pool is not idle when all have left")
		}
	}
}

func TestPool_neverRunsMoreThanItsSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := secret.NewPool(3, time.Minute, time.Now)
		var running, most atomic.Int32
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				err := p.Do(t.Context(), fmt.Sprint(i%7), func() {
					n := running.Add(1)
					for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
					}
					time.Sleep(25 * time.Millisecond)
					running.Add(-1)
				})
				if err != nil {
					t.Errorf("Do: %v", err)
				}
			})
		}
		wg.Wait()
		if got := most.Load(); got != 3 {
			t.Errorf("%d ran at once, want 3", got)
		}
		if !p.Idle() {
			t.Error("the pool is not idle when all have left")
		}
	})
}

func TestPool_aFloodDelaysOthersByOneRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, open := held(t, 0)
		for i := range 100 {
			c.come(t.Context(), "flood", fmt.Sprintf("flood %d", i), nil)
		}
		c.come(t.Context(), "single", "single", nil)
		open()
		if got := slices.Index(c.ran, "single"); len(c.ran) != 102 || got > 2 {
			t.Errorf("of %d, the single call ran as number %d: after the holder and more than one of the flood", len(c.ran), got)
		}
	})
}

func TestPool_linesTakeTurnsAndEachIsFirstComeFirstServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, open := held(t, 0)
		for _, name := range []string{"a1", "a2", "a3", "b1", "b2", "c1"} {
			c.come(t.Context(), name[:1], name, nil)
		}
		open()
		want := []string{"holder", "a1", "b1", "c1", "a2", "b2", "a3"}
		if diff := cmp.Diff(want, c.ran); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
	})
}

func TestPool_shedsTheNewestOfTheLongestLineThenRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, open := held(t, time.Nanosecond) // so that two for each slot may wait
		for _, name := range []string{"a1", "a2", "a3", "b1", "b2", "c1"} {
			c.come(t.Context(), name[:1], name, nil)
		}
		open()
		if diff := cmp.Diff([]string{"holder", "a1", "b1"}, c.ran); diff != "" {
			t.Errorf("ran (-want +got):\n%s", diff)
		}
		want := map[string]error{
			"a2": &secret.BusyError{RetryAfter: time.Second}, // shed for b1
			"a3": &secret.BusyError{RetryAfter: time.Second}, // its own client fills the queue
			"b2": &secret.BusyError{RetryAfter: time.Second}, // no line has two more
			"c1": &secret.BusyError{RetryAfter: time.Second}, // no line has two more
		}
		if diff := cmp.Diff(want, c.errs); diff != "" {
			t.Errorf("refused (-want +got):\n%s", diff)
		}
	})
}

func TestPool_queueHoldsWhatIsDoneWithinMaxWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := secret.NewPool(1, 5*time.Second, time.Now)
		for range 60 { // until the mean is a second, less a millisecond or so
			if err := p.Do(t.Context(), "a", func() { time.Sleep(time.Second) }); err != nil {
				t.Fatal(err)
			}
		}
		c, gate := &crowd{pool: p}, make(chan struct{})
		for i := range 20 {
			c.come(t.Context(), fmt.Sprint(i), fmt.Sprint(i), gate)
		}
		if got, want := p.Waiting(), 5; got != want {
			t.Errorf("%d wait, want %d", got, want)
		}
		want := &secret.BusyError{RetryAfter: 6 * time.Second}
		if diff := cmp.Diff(error(want), c.errs["19"]); diff != "" {
			t.Errorf("refusal (-want +got):\n%s", diff)
		}
		close(gate)
		c.wg.Wait()
	})
}

func TestPool_whoeverLeavesGivesUpTheirPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, open := held(t, 0)
		ctx, cancel := context.WithCancel(t.Context())
		c.come(t.Context(), "a", "a1", nil)
		c.come(ctx, "a", "a2", nil)
		c.come(ctx, "b", "b1", nil)
		c.come(t.Context(), "a", "a3", nil)
		cancel()
		synctest.Wait()
		if got, want := c.pool.Waiting(), 2; got != want {
			t.Errorf("%d wait, want %d", got, want)
		}
		c.come(ctx, "d", "late", nil)
		open()
		if diff := cmp.Diff([]string{"holder", "a1", "a3"}, c.ran); diff != "" {
			t.Errorf("ran (-want +got):\n%s", diff)
		}
		for _, name := range []string{"a2", "b1", "late"} {
			if got := c.errs[name]; got != context.Canceled {
				t.Errorf("%s: %v, want context.Canceled", name, got)
			}
		}
	})
}

func TestPool_aPanicFreesTheSlot(t *testing.T) {
	p := secret.NewPool(1, 0, time.Now)
	func() {
		defer func() {
			if got := recover(); got != "boom" {
				t.Errorf("recovered %v, want the panic of fn", got)
			}
		}()
		p.Do(t.Context(), "a", func() { panic("boom") })
	}()
	if !p.Idle() {
		t.Fatal("the slot is still taken")
	}
}

// Calls end, leave, are shed and are refused at the same instants; no slot and
// no place may get lost or be given twice.
func TestPool_losesNoSlotWhenCallersLeaveAsTheyAreAdmitted(t *testing.T) {
	p := secret.NewPool(2, time.Nanosecond, time.Now)
	var running atomic.Int32
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for j := range 100 {
				ctx, cancel := context.WithCancel(t.Context())
				if (i+j)%3 > 0 {
					go cancel()
				}
				err := p.Do(ctx, fmt.Sprint(i%5), func() {
					if n := running.Add(1); n > 2 {
						t.Errorf("%d run at once", n)
					}
					running.Add(-1)
				})
				var busy *secret.BusyError
				if err != nil && err != context.Canceled && !errors.As(err, &busy) {
					t.Errorf("Do: %v", err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if !p.Idle() {
		t.Error("the pool is not idle when all have left")
	}
}
