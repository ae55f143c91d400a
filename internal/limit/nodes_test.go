package limit_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/limit"
	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

// node is one of several on a database.
func node(db *store.DB, clock *storetest.Clock, asked *atomic.Int64) *limit.Shared {
	return limit.NewShared(clock.Now, func(ctx context.Context, k limit.Key, n int, one, span time.Duration) (time.Duration, error) {
		asked.Add(1)
		return db.Take(ctx, k.Tenant, k.Name, []byte(k.Subject), n, one, span)
	}, func(ctx context.Context, debts []limit.Debt) ([]time.Time, error) {
		asked.Add(1)
		var list []store.Charge
		for _, d := range debts {
			list = append(list, store.Charge{Tenant: d.Key.Tenant, Name: d.Key.Name, Subject: []byte(d.Key.Subject), N: d.N, Cost: d.Cost, Full: d.Full, Far: d.Far})
		}
		return db.Charge(ctx, list)
	}, limit.New(clock.Now))
}

// Limits hold on all nodes together, within a fiftieth of a burst, also of what
// comes at one instant; and what is refused costs the database nothing.
func TestShared_holdsAcrossNodes(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		var asked atomic.Int64
		nodes := []*limit.Shared{
			node(db, clock, &asked), node(storetest.Again(t, db), clock, &asked), node(storetest.Again(t, db), clock, &asked),
		}
		for _, burst := range []int{1, 30, 300} {
			rate := limit.Rate{Events: float64(burst), Per: 5 * time.Minute, Burst: burst}
			key := limit.Key{Name: "token", Subject: fmt.Sprint("burst ", burst)}
			flood := func(each int) (got int) {
				var taken atomic.Int64
				var group sync.WaitGroup
				for i := range 12 {
					group.Go(func() {
						for range each {
							if ok, wait := nodes[i%3].Take(t.Context(), key, rate); ok {
								taken.Add(1)
							} else if wait < time.Second || wait > 5*time.Minute {
								t.Errorf("burst %d: a refusal for %v", burst, wait)
							}
						}
					})
				}
				group.Wait()
				return int(taken.Load())
			}
			near := func(what string, got, want int) {
				t.Helper()
				if off := want / 50; got > want+off || got < want-off {
					t.Errorf("burst %d: %s %d were let through, want %d and no more than %d off", burst, what, got, want, off)
				}
			}
			asked.Store(0)
			near("at once", flood(100), burst)
			before := asked.Load()
			if most := int64(min(burst, 50) + 50); before > most {
				t.Errorf("burst %d: %d questions, want at most %d", burst, before, most)
			}
			near("of a flood that goes on", flood(500), 0)
			if n := asked.Load(); n != before {
				t.Errorf("burst %d: refused requests asked %d times", burst, n-before)
			}
			if burst == 1 {
				continue
			}
			// A steady flood gets the steady rate: a fifth of the burst in a minute.
			got := 0
			for range 60 {
				clock.Advance(time.Second)
				got += flood(1)
			}
			near("in the minute after", got, burst/5)
			clock.Advance(10 * time.Minute)
			near("after a rest", flood(100), burst)
		}
	})
}

// Another tenant's requests are its own.
func TestShared_countsEachTenantByItself(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		var asked atomic.Int64
		s := node(db, clock, &asked)
		rate := limit.Rate{Events: 1, Per: time.Hour, Burst: 1}
		for i := range byte(3) {
			for want := range 2 {
				ok, _ := s.Take(t.Context(), limit.Key{Tenant: [16]byte{15: i}, Name: "token", Subject: "ada"}, rate)
				if ok != (want == 0) {
					t.Errorf("tenant %d, request %d: %v", i, want+1, ok)
				}
			}
		}
	})
}

// With the database away nobody goes uncounted.
func TestShared_withoutADatabaseCountsAlone(t *testing.T) {
	db, clock := storetest.New(t)
	var asked atomic.Int64
	s := node(db, clock, &asked)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if got := spent(s, 100, ada, rate(30, 10)); got != 10 {
		t.Errorf("%d taken, want 10", got)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("%d questions, want 1", n)
	}
}
