package limit_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/limit"
	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

// lateRate is that of refreshes: one in two seconds, thirty at once.
var lateRate = limit.Rate{Events: 150, Per: 5 * time.Minute, Burst: 30, Late: true}

// What is let through before it is counted stays within the bound that takeLate
// states: whether it comes at one instant, by all nodes or one after the other,
// or for long.
func TestLate_holdsAcrossNodes(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		var asked atomic.Int64
		nodes := []*limit.Shared{
			node(db, clock, &asked), node(storetest.Again(t, db), clock, &asked), node(storetest.Again(t, db), clock, &asked),
		}
		settle := func() {
			for _, n := range nodes {
				n.Settle()
			}
		}
		t.Cleanup(settle)
		flood := func(key limit.Key, each int, use ...int) (got int) {
			var taken atomic.Int64
			var group sync.WaitGroup
			for i := range 4 * len(use) {
				group.Go(func() {
					for range each {
						if ok, wait := nodes[use[i%len(use)]].Take(t.Context(), key, lateRate); ok {
							taken.Add(1)
						} else if wait < time.Second || wait > 2*time.Minute {
							t.Errorf("a refusal for %v", wait)
						}
					}
				})
			}
			group.Wait()
			return int(taken.Load())
		}
		const (
			burst = 30
			over  = 2 * 3 // two nodes, a tenth of a burst each
			free  = 3     // one of each node
		)
		within := func(what string, got, least, most int) {
			t.Helper()
			if got < least || got > most {
				t.Errorf("%s %d were let through, want %d to %d", what, got, least, most)
			}
		}

		ada := limit.Key{Name: "token", Subject: "ada"}
		total := flood(ada, 50, 0, 1, 2)
		within("at once", total, burst, burst+over+free)
		before := asked.Load()
		if before > 36 { // ten for each node, and those that are too late
			t.Errorf("%d questions for one burst", before)
		}
		total += flood(ada, 500, 0, 1, 2)
		within("of a flood that goes on", total, burst, burst+over+free)
		for range 5 * 60 {
			clock.Advance(time.Second)
			total += flood(ada, 2, 0, 1, 2)
			settle()
		}
		// A fiftieth of the Events is what is not charged.
		within("in five minutes", total, burst+150-3, burst+150+over+2*free)

		// By one node after the other: what the first has let through holds for all.
		bob := limit.Key{Name: "token", Subject: "bob"}
		total = flood(bob, 50, 0) + flood(bob, 50, 1) + flood(bob, 50, 2)
		within("one node after the other,", total, burst, burst+over+free)
		clock.Advance(time.Minute)
		total += flood(bob, 50, 2) + flood(bob, 50, 1) + flood(bob, 50, 0)
		within("and a minute later,", total, 2*burst-over, 2*burst+over+free)

		// With the clock turned faster than the database answers.
		eve := limit.Key{Name: "token", Subject: "eve"}
		total = 0
		for range 60 {
			total += flood(eve, 5, 0, 1, 2)
			clock.Advance(time.Second)
		}
		total += flood(eve, 5, 0, 1, 2)
		within("in a minute,", total, 2*burst-over, 2*burst+over+free)
	})
}

// A client that refreshes once in a while, on whichever node, leaves nothing in
// the database, and asks nothing of it.
func TestLate_ofAnOrdinaryClientLeavesNoRow(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		var asked atomic.Int64
		nodes := []*limit.Shared{node(db, clock, &asked), node(storetest.Again(t, db), clock, &asked)}
		for range 3 {
			for _, n := range nodes {
				if ok, _ := n.Take(t.Context(), ada, lateRate); !ok {
					t.Error("it is refused")
				}
				clock.Advance(2 * time.Second)
			}
			clock.Advance(5 * time.Minute)
		}
		for _, n := range nodes {
			n.Settle()
		}
		if n := asked.Load(); n != 0 {
			t.Errorf("%d questions, want none", n)
		}
		// The second within that time is charged.
		for range 2 {
			nodes[0].Take(t.Context(), ada, lateRate)
			clock.Advance(time.Second)
		}
		nodes[0].Take(t.Context(), limit.Key{Name: "token", Subject: "bob"}, lateRate)
		nodes[0].Settle()
		if n := asked.Load(); n != 1 {
			t.Errorf("%d questions, want one", n)
		}
	})
}

// The debts of all clients of a second are charged together, and nobody waits
// for that who is not quick.
func TestLate_chargesAllKeysOfASecondTogether(t *testing.T) {
	c := newClock()
	s, at := c.shared()
	key := func(i int) limit.Key { return limit.Key{Name: "token", Subject: strconv.Itoa(i)} }
	for range 3 {
		for i := range 100 {
			if ok, _ := s.Take(t.Context(), key(i), lateRate); !ok {
				t.Errorf("client %d is refused", i)
			}
		}
	}
	if n := at.asked.Load(); n != 0 {
		t.Errorf("%d questions in the first second, want none", n)
	}
	for want := range int64(3) {
		c.turn(time.Second)
		for i := range 50 {
			s.Take(t.Context(), key(i), lateRate)
		}
		s.Settle()
		if n := at.asked.Load(); n < 1 || n > want+1 {
			t.Errorf("%d questions after %d seconds, want no more", n, want+1)
		}
	}
	// All but the first event of each, and those of the last seconds.
	if a, b := at.of(key(0)), at.of(key(99)); a < 3 || a > 5 || b != 2 {
		t.Errorf("%d and %d events were charged, want 3 to 5, and 2", a, b)
	}
}

// A client that hangs up while it waits is charged all the same, and not let
// through.
func TestLate_chargesWhoHangsUp(t *testing.T) {
	c := newClock()
	s, at := c.shared()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	got := 0
	for range 100 {
		if ok, _ := s.Take(gone, ada, lateRate); ok {
			got++
		}
	}
	if got > 31 || at.of(ada) < 27 {
		t.Errorf("%d were let through, %d of them charged", got, at.of(ada))
	}
}

// With the center away each node counts by itself; what it owes is charged once
// there is an answer.
func TestLate_withoutAnAnswerCountsAloneAndChargesLater(t *testing.T) {
	c := newClock()
	s, at := c.shared()
	at.down.Store(true)
	if got := spent(s, 100, ada, lateRate); got != 30 {
		t.Errorf("%d taken, want 30", got)
	}
	if n := at.asked.Load(); n != 1 {
		t.Errorf("%d questions, want 1", n)
	}
	at.down.Store(false)
	c.turn(2 * time.Second)
	if got := spent(s, 100, ada, lateRate); got != 1 {
		t.Errorf("two seconds later: %d taken, want 1", got)
	}
	s.Settle()
	if n := at.of(ada); n < 3 || n > 4 { // those before the question that failed
		t.Errorf("%d events were charged, want three or four", n)
	}
}

// The flood of O12, of keys that owe something.
func TestLate_staysBoundedAndAFloodFreesNoHotKey(t *testing.T) {
	c := newClock()
	s, at := c.shared()
	spent(s, 50, ada, lateRate)
	for i := range limit.MaxKeys * 5 / 4 {
		spent(s, 2, limit.Key{Name: "token", Subject: strconv.Itoa(i)}, lateRate)
	}
	s.Settle()
	if got := s.Len(); got > limit.MaxKeys || got < limit.MaxKeys*9/10 {
		t.Errorf("%d keys are kept, want nearly %d", got, limit.MaxKeys)
	}
	if got := spent(s, 20, ada, lateRate); got != 0 {
		t.Errorf("%d taken by the hot key after the flood, want none", got)
	}
	if n := at.of(limit.Key{Name: "token", Subject: "7"}); n != 1 {
		t.Errorf("%d events of a key with two were charged, want one", n)
	}
}

func TestLate_aClockSetBackLocksNobodyOut(t *testing.T) {
	c := newClock()
	s, _ := c.shared()
	spent(s, 50, ada, lateRate)
	c.turn(-24 * time.Hour)
	if ok, wait := s.Take(t.Context(), ada, lateRate); !ok && wait > 2*time.Minute {
		t.Errorf("refused for %v", wait)
	}
}

// Rates that nothing fits into, and rates that are hardly any, neither stick
// nor overflow.
func TestLate_takesAnyRate(t *testing.T) {
	c := newClock()
	s, _ := c.shared()
	for i, r := range []limit.Rate{
		{Events: 1, Per: time.Hour, Burst: 1},
		{Events: 1e-300, Per: time.Hour, Burst: 1},
		{Events: 1e-9, Per: time.Hour, Burst: 1 << 30},
		{Events: 1e300, Per: time.Second, Burst: 5},
		{Events: 1e9, Per: time.Second, Burst: 1 << 30},
	} {
		r.Late = true
		k := limit.Key{Name: "any", Subject: fmt.Sprint(i)}
		got := spent(s, 20, k, r)
		if want := min(20, r.Burst); got != want && r.Events < 1e6 {
			t.Errorf("%+v: %d taken at once, want %d", r, got, want)
		}
		if ok, wait := s.Take(t.Context(), limit.Key{Name: "any"}, limit.Rate{Late: true}); ok || wait < time.Second {
			t.Errorf("an empty rate lets through, or has no wait: %v, %v", ok, wait)
		}
	}
}
