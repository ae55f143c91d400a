package store_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

func TestCharge_countsWhatHasHappenedWhetherItFitsOrNot(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		now := clock.Now()
		charge := func(n int, full time.Duration) time.Duration {
			t.Helper()
			ends, err := db.Charge(t.Context(), []store.Charge{{Tenant: home, Name: "requests", Subject: []byte("ada"), N: n, Cost: time.Duration(n) * time.Second, Full: now.Add(full), Far: time.Minute}})
			if err != nil {
				t.Fatal(err)
			}
			return ends[0].Sub(now)
		}
		for _, c := range []struct {
			what       string
			n          int
			full, want time.Duration
		}{
			{"the first", 2, 2 * time.Second, 2 * time.Second},
			{"more are added", 3, 3 * time.Second, 5 * time.Second},
			{"past what a burst is", 40, 40 * time.Second, 45 * time.Second},
			{"what came later ends later", 1, 50 * time.Second, 50 * time.Second},
			{"what came earlier is counted too", 1, -time.Hour, 51 * time.Second},
		} {
			if got := charge(c.n, c.full); got != c.want {
				t.Errorf("%s: it ends in %v, want %v", c.what, got, c.want)
			}
		}
		// It is the counter of Take.
		if wait, err := db.Take(t.Context(), home, "requests", []byte("ada"), 1, time.Second, 50*time.Second); wait != 2*time.Second || err != nil {
			t.Errorf("Take is to wait %v, %v; want 2s", wait, err)
		}
		// One that ends further ahead than any can was begun before a clock was set
		// back.
		clock.Advance(-time.Hour)
		if got, want := charge(1, -time.Hour+time.Second), -time.Hour+time.Second; got != want {
			t.Errorf("after the clock was set back it ends in %v, want %v", got, want)
		}
	})
}

// Of many, of several tenants, in any order and by two nodes at once, each
// counts, and each is told of its own.
func TestCharge_countsManyTogether(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		nodes := []*store.DB{db, storetest.Again(t, db)}
		now := clock.Now()
		var list []store.Charge
		for i := range 150 {
			n := i%7 + 1
			c := store.Charge{Tenant: home, Name: "requests", Subject: fmt.Append(nil, "client ", i), N: n, Cost: time.Duration(n) * time.Second, Full: now.Add(time.Duration(n) * time.Second), Far: time.Hour}
			list = append(list, c)
			c.Tenant = storetest.Other()
			list = append(list, c)
		}
		var group sync.WaitGroup
		for i := range 4 {
			group.Go(func() {
				mine := slices.Clone(list)
				if i%2 == 0 {
					slices.Reverse(mine)
				}
				ends, err := nodes[i%2].Charge(t.Context(), mine)
				if err != nil || len(ends) != len(mine) {
					t.Errorf("%d of %d, %v", len(ends), len(mine), err)
				}
			})
		}
		group.Wait()
		again, err := db.Charge(t.Context(), list)
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range list {
			if got, want := again[i].Sub(now), 5*c.Cost; got != want {
				t.Errorf("number %d ends in %v, want %v", i, got, want)
			}
		}
		if ends, err := db.Charge(t.Context(), nil); len(ends) != 0 || err != nil {
			t.Errorf("of none: %v, %v", ends, err)
		}
	})
}
