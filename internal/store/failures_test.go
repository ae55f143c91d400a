package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

func taken(t *testing.T, db *store.DB, subject string, n int, one, span time.Duration) time.Duration {
	t.Helper()
	wait, err := db.Take(t.Context(), home, "requests", []byte(subject), n, one, span)
	if err != nil {
		t.Fatal(err)
	}
	return wait
}

func TestTake_allowsABurstThenTheSteadyRate(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		const one, span = 10 * time.Second, 100 * time.Second
		for i := range 10 {
			if wait := taken(t, db, "ada", 1, one, span); wait != 0 {
				t.Fatalf("number %d is to wait %v, want none", i+1, wait)
			}
		}
		for range 2 { // what is refused is not counted
			if wait := taken(t, db, "ada", 1, one, span); wait != one {
				t.Errorf("after the burst: wait %v, want %v", wait, one)
			}
		}
		if wait := taken(t, db, "ada", 3, one, span); wait != 3*one {
			t.Errorf("three at once: wait %v, want %v", wait, 3*one)
		}
		if wait := taken(t, db, "bob", 10, one, span); wait != 0 {
			t.Errorf("another's whole burst: wait %v, want none", wait)
		}
		if wait := taken(t, db, "eve", 11, one, span); wait <= 0 {
			t.Error("more than a burst was let through")
		}
		clock.Advance(one - time.Microsecond)
		if wait := taken(t, db, "ada", 1, one, span); wait != time.Microsecond {
			t.Errorf("a microsecond early: wait %v", wait)
		}
		clock.Advance(time.Microsecond)
		if wait := taken(t, db, "ada", 1, one, span); wait != 0 {
			t.Errorf("after %v: wait %v, want none", one, wait)
		}
		clock.Advance(time.Hour)
		if wait := taken(t, db, "ada", 10, one, span); wait != 0 {
			t.Errorf("a burst after a rest: wait %v, want none", wait)
		}
	})
}

func TestTake_ofManyNodesAtOnceIsExact(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		nodes := []*store.DB{db, storetest.Again(t, db), storetest.Again(t, db)}
		for round := range 3 { // first of a row that is not there
			got := atEach(t, nodes, 60, func(db *store.DB, _ int) (bool, error) {
				wait, err := db.Take(t.Context(), home, "requests", []byte("ada"), 1, time.Minute, 20*time.Minute)
				return wait == 0, err
			})
			if got != 20 {
				t.Errorf("round %d: %d were let through, want 20", round, got)
			}
			clock.Advance(20 * time.Minute)
		}
	})
}

// atEach runs fn at one instant on all nodes and returns how many say yes.
func atEach(t *testing.T, nodes []*store.DB, n int, fn func(db *store.DB, i int) (bool, error)) int {
	t.Helper()
	var yes atomic.Int64
	var group sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		group.Go(func() {
			<-start
			won, err := fn(nodes[i%len(nodes)], i)
			if err != nil {
				t.Error(err)
			} else if won {
				yes.Add(1)
			}
		})
	}
	close(start)
	group.Wait()
	return int(yes.Load())
}

// A clock that was wrong locks nobody out for longer than a burst takes.
func TestTake_endsACounterThatBeganInTheFuture(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		clock.Advance(1000 * time.Hour)
		taken(t, db, "ada", 1, time.Minute, time.Minute)
		clock.Advance(-1000 * time.Hour)
		if wait := taken(t, db, "ada", 1, time.Minute, time.Minute); wait != 0 {
			t.Errorf("wait %v, want none", wait)
		}
		if wait := taken(t, db, "ada", 1, time.Minute, time.Minute); wait != time.Minute {
			t.Errorf("the next: wait %v, want a minute", wait)
		}
	})
}

// Rows that are over are swept, and a sweep at one's side lets nobody through.
func TestTake_leavesNothingBehind(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		for i := range 5 {
			taken(t, db, fmt.Sprint(i), 1, time.Minute, time.Hour)
			fails(t, db, fmt.Sprint(i))
		}
		sweep := func() (most int) {
			t.Helper()
			write(t, db, func(tx *store.Tx) (err error) {
				most, err = tx.Sweep(100, tx.Now, tx.Now, tx.Now)
				return err
			})
			return most
		}
		if n := sweep(); n != 0 {
			t.Errorf("%d were swept before their end", n)
		}
		clock.Advance(time.Minute + time.Microsecond)
		if n := sweep(); n != 5 {
			t.Errorf("%d requests were swept, want 5", n)
		}
		clock.Advance(slow.Keep)
		if n := sweep(); n != 5 {
			t.Errorf("%d failures were swept, want 5", n)
		}
	})
}

var slow = store.Failures{Free: 5, First: time.Second, Most: 15 * time.Minute, Shut: 100, Keep: 24 * time.Hour}

func fails(t *testing.T, db *store.DB, subject string) time.Duration {
	t.Helper()
	wait, err := db.CountFailure(t.Context(), home, "passwords", []byte(subject), slow)
	if err != nil {
		t.Fatal(err)
	}
	return wait
}

func TestCountFailure_doublesTheWaitUpToItsMost(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		for i := range 5 {
			if wait := fails(t, db, "ada"); wait != 0 {
				t.Fatalf("try %d is to wait %v, want none", i+1, wait)
			}
		}
		for i := range 95 {
			want := min(time.Second<<min(i, 20), 15*time.Minute)
			for range 2 { // what is refused is not counted
				if wait := fails(t, db, "ada"); wait != want {
					t.Fatalf("after %d tries: wait %v, want %v", i+5, wait, want)
				}
			}
			clock.Advance(want - time.Microsecond)
			if wait := fails(t, db, "ada"); wait != time.Microsecond {
				t.Fatalf("a microsecond early: wait %v", wait)
			}
			clock.Advance(time.Microsecond)
			if wait := fails(t, db, "ada"); wait != 0 {
				t.Fatalf("after waiting as told: wait %v more", wait)
			}
		}
		// A hundred: shut for a day after the last one.
		clock.Advance(time.Hour)
		if wait := fails(t, db, "ada"); wait != 23*time.Hour {
			t.Errorf("after a hundred tries: wait %v, want 23h", wait)
		}
		if wait := fails(t, db, "bob"); wait != 0 {
			t.Errorf("another: wait %v, want none", wait)
		}
		clock.Advance(23 * time.Hour)
		for i := range 5 {
			if wait := fails(t, db, "ada"); wait != 0 {
				t.Errorf("try %d of the day after is to wait %v, want none", i+1, wait)
			}
		}
		if wait := fails(t, db, "ada"); wait != time.Second {
			t.Errorf("the sixth: wait %v, want 1s", wait)
		}
	})
}

func TestCountFailure_isClearedAndGivenBack(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		for range 8 {
			fails(t, db, "ada")
			fails(t, db, "bob")
			clock.Advance(time.Minute)
		}
		write(t, db, func(tx *store.Tx) error { return tx.ClearFailures("passwords", []byte("ada")) })
		for i := range 5 {
			if wait := fails(t, db, "ada"); wait != 0 {
				t.Errorf("try %d after a success is to wait %v, want none", i+1, wait)
			}
		}
		if wait := fails(t, db, "bob"); wait != 0 {
			t.Errorf("another, who has waited: %v", wait)
		}
		if wait := fails(t, db, "bob"); wait < 8*time.Second {
			t.Errorf("another was cleared along: wait %v", wait)
		}
		// What was counted and never compared is taken back.
		for range 20 {
			if wait := fails(t, db, "eve"); wait != 0 {
				t.Fatalf("wait %v, want none", wait)
			}
			write(t, db, func(tx *store.Tx) error { return tx.Uncount("passwords", []byte("eve")) })
		}
	})
}

// Counted before they are compared: fifty guesses at one instant all count.
func TestCountFailure_ofManyNodesAtOnceIsExact(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		nodes := []*store.DB{db, storetest.Again(t, db)}
		for round, want := range []int{5, 1, 1} {
			got := atEach(t, nodes, 50, func(db *store.DB, _ int) (bool, error) {
				wait, err := db.CountFailure(t.Context(), home, "passwords", []byte("ada"), slow)
				return wait == 0, err
			})
			if got != want {
				t.Errorf("round %d: %d were let through, want %d", round, got, want)
			}
			clock.Advance(2 * time.Second)
		}
	})
}

func TestCountFailure_aClockSetBackLocksNobodyOut(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		clock.Advance(1000 * time.Hour)
		for range 20 {
			fails(t, db, "ada")
			clock.Advance(time.Minute)
		}
		clock.Advance(-1000 * time.Hour)
		if wait := fails(t, db, "ada"); wait != 0 {
			t.Errorf("1000 hours back: wait %v, want none", wait)
		}
		for range 6 {
			fails(t, db, "bob")
		}
		clock.Advance(-20 * time.Minute)
		if wait := fails(t, db, "bob"); wait != 0 {
			t.Errorf("back by more than the longest wait: wait %v, want none", wait)
		}
	})
}

// What one tenant's strangers do is nothing to another's.
func TestFailuresAndRequests_ofATenantAreItsOwn(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		other := store.TenantID{15: 9}
		ctx := context.Background()
		for range 6 {
			if _, err := db.CountFailure(ctx, other, "passwords", []byte("ada"), slow); err != nil {
				t.Fatal(err)
			}
		}
		wait, err := db.Take(ctx, other, "requests", []byte("ada"), 1, time.Hour, time.Hour)
		if err != nil || wait != 0 {
			t.Fatal(wait, err)
		}
		if wait := fails(t, db, "ada"); wait != 0 {
			t.Errorf("a try at home is to wait %v", wait)
		}
		if wait := taken(t, db, "ada", 1, time.Hour, time.Hour); wait != 0 {
			t.Errorf("a request at home is to wait %v", wait)
		}
		write(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.ClearFailures("passwords", []byte("ada")), tx.ClearFailures("requests", []byte("ada")))
		})
		wait, err = db.CountFailure(ctx, other, "passwords", []byte("ada"), slow)
		if err != nil || wait == 0 {
			t.Errorf("what the other tenant has counted is gone: %v, %v", wait, err)
		}
	})
}

// Where a user was signed in is known, with the session alive or over; where
// others were, of this tenant or another, is not.
func TestKnownFrom_tellsWhereAUserWas(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		ada, bob := newUser("ada@example.com"), newUser("bob@example.com")
		ada.Phone = "491512345678"
		other := store.TenantID{15: 9}
		her := newUser("ada@example.com")
		session := func(u store.User, ip string) store.Session {
			return store.Session{ID: store.NewSessionID(), UserID: u.ID, Generation: 1, AMR: []byte(`[]`), IP: ip, CreatedAt: clock.Now(), RefreshedAt: clock.Now()}
		}
		over := session(ada, "192.0.2.2")
		write(t, db, func(tx *store.Tx) error {
			err := errors.Join(tx.AddUser(ada), tx.AddUser(bob), tx.AddPassword(ada.ID, []byte("hash")),
				tx.AddSession(session(ada, "192.0.2.1")), tx.AddSession(over), tx.AddSession(session(bob, "192.0.2.3")))
			return errors.Join(err, second(tx.EndSession(over.ID, "over")))
		})
		err := db.Write(t.Context(), other, func(tx *store.Tx) error {
			return errors.Join(tx.AddTenant(store.Tenant{ID: other, Name: "elsewhere"}), tx.AddUser(her), tx.AddSession(session(her, "192.0.2.4")))
		})
		if err != nil {
			t.Fatal(err)
		}
		read(t, db, func(tx *store.Tx) error {
			for network, want := range map[string]bool{"192.0.2.1": true, "192.0.2.2": true, "192.0.2.3": false, "192.0.2.4": false, "192.0.2": false, "192.0.2.10": false, "": false} {
				k, err := tx.KnownByEmailFrom(ada.Email, network)
				p, err2 := tx.KnownByPhoneFrom(ada.Phone, network)
				if k.Here != want || p.Here != want || k.ID != ada.ID || p.ID != ada.ID || string(k.Hash) != "hash" || err != nil || err2 != nil {
					t.Errorf("at %q: %v, %v, by phone %v, %v; want %v", network, k.Here, err, p.Here, err2, want)
				}
			}
			for _, email := range []string{"nobody@example.com", ""} {
				if _, err := tx.KnownByEmailFrom(email, "192.0.2.1"); !errors.Is(err, store.ErrNotFound) {
					t.Errorf("%q: %v, want ErrNotFound", email, err)
				}
			}
			return nil
		})
	})
}
