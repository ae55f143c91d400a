package store_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

// count counts once and returns how long it is to wait.
func count(t *testing.T, db *store.DB, name, subject string, window time.Duration, most int) (wait time.Duration) {
	t.Helper()
	write(t, db, func(tx *store.Tx) (err error) {
		wait, err = tx.Count(name, []byte(subject), window, most)
		return err
	})
	return wait
}

func uncount(t *testing.T, db *store.DB, name, subject string) {
	t.Helper()
	write(t, db, func(tx *store.Tx) error { return tx.Uncount(name, []byte(subject)) })
}

func TestCount_letsSoManyThroughInAWindow(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		const window = time.Hour
		for round := range 2 { // the end of a window begins the next
			for n := range 3 {
				if wait := count(t, db, "sms", "ada", window, 3); wait != 0 {
					t.Errorf("window %d: number %d is to wait %v, want none", round, n, wait)
				}
				clock.Advance(10 * time.Minute)
			}
			for _, c := range []struct {
				advance, wait time.Duration
				most          int
			}{
				{0, 30 * time.Minute, 3},
				{29 * time.Minute, time.Minute, 3},
				{time.Minute - time.Microsecond, time.Microsecond, 3},
				{0, time.Microsecond, 2}, // the limit was lowered
			} {
				clock.Advance(c.advance)
				for range 2 { // what is refused is not counted
					if wait := count(t, db, "sms", "ada", window, c.most); wait != c.wait {
						t.Errorf("window %d: one too many is to wait %v, want %v", round, wait, c.wait)
					}
				}
			}
			if wait := count(t, db, "sms", "ada", window, 4); wait != 0 {
				t.Errorf("window %d: with a higher limit the wait is %v, want none", round, wait)
			}
			clock.Advance(time.Microsecond)
		}
	})
}

func TestCount_keepsNamesAndSubjectsApart(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		for _, c := range [][2]string{{"sms", "ada"}, {"sms", "Ada"}, {"sms", "ada "}, {"SMS", "ada"}, {"sms ", "ada"}, {"sms", ""}, {"sms", "a\x00da"}, {"sms", "\xff\x00\\'"}} {
			for n, want := range []bool{true, false} {
				if wait := count(t, db, c[0], c[1], time.Hour, 1); (wait == 0) != want {
					t.Errorf("number %d of %q: wait %v", n+1, c, wait)
				}
			}
		}
	})
}

// Nothing may happen where the limit is none at all, and nothing is kept of it.
func TestCount_letsNobodyThroughWithoutALimit(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		for _, most := range []int{0, -1} {
			if wait := count(t, db, "sms", "ada", time.Hour, most); wait != time.Hour {
				t.Errorf("at most %d: wait %v, want an hour", most, wait)
			}
		}
		if wait := count(t, db, "sms", "ada", time.Hour, 1); wait != 0 {
			t.Errorf("afterwards: wait %v, want none", wait)
		}
	})
}

// A clock that was wrong must not lock anybody out for longer than a window
// may be ahead of another node's.
func TestCount_endsAWindowThatBeganInTheFuture(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		clock.Advance(1000 * time.Hour)
		count(t, db, "sms", "ada", time.Hour, 1)
		clock.Advance(-1000 * time.Hour)
		if wait := count(t, db, "sms", "ada", time.Hour, 1); wait != 0 {
			t.Errorf("a window that began 1000 hours ahead: wait %v, want none", wait)
		}
		clock.Advance(-time.Minute) // as of another node
		if wait := count(t, db, "sms", "ada", time.Hour, 1); wait != time.Hour+time.Minute {
			t.Errorf("a window that began a minute ahead: wait %v, want an hour and a minute", wait)
		}
	})
}

// Of any number at one instant, on two nodes, exactly as many are let through
// as may be; those who come second wait, and see no error.
func TestCount_letsExactlySoManyOfAllAtOnceThrough(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		nodes := []*store.DB{db, storetest.Again(t, db)}
		for round := range 4 { // first of a row that is not there, then of one whose window is over
			const most = 7
			got := raceOn(t, nodes, 50, func(_ int, tx *store.Tx) (bool, error) {
				wait, err := tx.Count("sms", []byte("ada"), time.Hour, most)
				return wait == 0, err
			})
			if got != most {
				t.Errorf("round %d: %d were let through, want %d", round, got, most)
			}
			if round%2 == 1 {
				clock.Advance(time.Hour)
				continue
			}
			for range 3 { // and of one that has room left
				uncount(t, db, "sms", "ada")
			}
			got = raceOn(t, nodes, 20, func(_ int, tx *store.Tx) (bool, error) {
				wait, err := tx.Count("sms", []byte("ada"), time.Hour, most)
				return wait == 0, err
			})
			if got != 3 {
				t.Errorf("round %d: %d were let through after three were taken back, want 3", round, got)
			}
			clock.Advance(time.Hour)
		}
	})
}

// As requests do it: several counters in one transaction, those of one's own
// and those of all, in one order.
func TestCount_ofDifferentSubjectsGetInNobodysWay(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		nodes := []*store.DB{db, storetest.Again(t, db)}
		const callers = 50
		got := raceOn(t, nodes, callers, func(i int, tx *store.Tx) (bool, error) {
			who := fmt.Appendf(nil, "user %d", i/2)
			for _, name := range []string{"sms", "sms in an hour", "sms in a day"} {
				wait, err := tx.Count(name, who, time.Hour, 2)
				if err != nil || wait > 0 {
					return false, err
				}
			}
			wait, err := tx.Count("all sms", []byte("everybody"), time.Hour, callers-5)
			return wait == 0, err
		})
		if got != callers-5 {
			t.Errorf("%d were let through, want %d", got, callers-5)
		}
	})
}

// A transaction that comes to nothing has counted nothing.
func TestCount_isTakenBackWithItsTransaction(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		for range 3 {
			err := db.Write(t.Context(), home, func(tx *store.Tx) error {
				return errors.Join(second(tx.Count("sms", []byte("ada"), time.Hour, 1)), errUndo)
			})
			if !errors.Is(err, errUndo) {
				t.Fatal(err)
			}
		}
		if wait := count(t, db, "sms", "ada", time.Hour, 1); wait != 0 {
			t.Errorf("wait %v, want none", wait)
		}
	})
}

func TestUncount_neverGoesBelowZero(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		uncount(t, db, "sms", "ada") // not there
		count(t, db, "sms", "ada", time.Hour, 2)
		for range 5 {
			uncount(t, db, "sms", "ada")
		}
		uncount(t, db, "sms", "bob")
		for n, want := range []bool{true, true, false} {
			if wait := count(t, db, "sms", "ada", time.Hour, 2); (wait == 0) != want {
				t.Errorf("number %d: wait %v", n+1, wait)
			}
		}
		uncount(t, db, "SMS", "ada") // another
		if wait := count(t, db, "sms", "ada", time.Hour, 2); wait != time.Hour {
			t.Errorf("taking back another's: wait %v, want an hour", wait)
		}
	})
}

func TestSweep_takesCountersAfterTheirEndAndNotBefore(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		began := clock.Now()
		sweep := func() (most int) {
			t.Helper()
			write(t, db, func(tx *store.Tx) (err error) {
				most, err = tx.Sweep(2, tx.Now, tx.Now, tx.Now)
				return err
			})
			return most
		}
		for i := range 3 {
			count(t, db, "short", fmt.Sprint(i), time.Minute, 1)
		}
		count(t, db, "long", "ada", time.Hour, 1)
		for _, at := range []time.Duration{0, time.Minute - time.Microsecond, time.Minute} {
			clock.Set(began.Add(at))
			if n := sweep(); n != 0 {
				t.Errorf("after %v %d were swept, want none", at, n)
			}
		}
		clock.Set(began)
		if wait := count(t, db, "short", "0", time.Minute, 1); wait != time.Minute {
			t.Errorf("a counter that was not to be swept: wait %v, want a minute", wait)
		}
		clock.Set(began.Add(time.Minute + time.Microsecond))
		for _, want := range []int{2, 1, 0} {
			if n := sweep(); n != want {
				t.Errorf("%d were swept, want %d", n, want)
			}
		}
		if wait := count(t, db, "long", "ada", time.Hour, 1); wait != 59*time.Minute-time.Microsecond {
			t.Errorf("the counter that has not ended: wait %v", wait)
		}
	})
}

// A counter that is over is swept, and counted anew, at one instant, by many:
// none of them fails for it, and no more are let through.
func TestCount_isNotHarmedByASweepAtItsSide(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		nodes := []*store.DB{db, storetest.Again(t, db)}
		for range 20 {
			count(t, db, "sms", "ada", time.Minute, 1)
			clock.Advance(time.Minute + time.Microsecond)
			var group sync.WaitGroup
			group.Go(func() {
				err := nodes[1].Write(t.Context(), home, func(tx *store.Tx) error { return second(tx.Sweep(10, tx.Now, tx.Now, tx.Now)) })
				if err != nil {
					t.Errorf("a sweep: %v", err)
				}
			})
			got := raceOn(t, nodes, 4, func(_ int, tx *store.Tx) (bool, error) {
				wait, err := tx.Count("sms", []byte("ada"), time.Minute, 2)
				if errors.Is(err, store.ErrNotFound) {
					err = fmt.Errorf("the counter went: %v", err)
				}
				return wait == 0, err
			})
			group.Wait()
			if got != 2 {
				t.Fatalf("%d were let through, want 2", got)
			}
			clock.Advance(time.Minute)
		}
	})
}
