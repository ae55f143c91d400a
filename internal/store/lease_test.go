package store_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

// lease asks for a job and returns whether it is the holder's, or ends the
// test.
func lease(t *testing.T, db *store.DB, job string, h store.Holder) (mine bool) {
	t.Helper()
	write(t, db, func(tx *store.Tx) (err error) {
		mine, err = tx.Lease(job, h, time.Minute)
		return err
	})
	return mine
}

func TestLease_oneOfManyRacersHoldsIt(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		nodes := []*store.DB{db, storetest.Again(t, db)}
		for round := range 3 {
			var holders [40]store.Holder
			var winner atomic.Int64
			for i := range holders {
				holders[i] = store.NewHolder()
			}
			won := raceOn(t, nodes, len(holders), func(i int, tx *store.Tx) (bool, error) {
				mine, err := tx.Lease(store.LeaseSweep, holders[i], time.Minute)
				if mine {
					winner.Store(int64(i))
				}
				return mine, err
			})
			if won != 1 {
				t.Fatalf("round %d: %d hold the job at once", round, won)
			}
			for i, h := range holders {
				if got, want := lease(t, nodes[i%2], store.LeaseSweep, h), i == int(winner.Load()); got != want {
					t.Errorf("round %d: afterwards racer %d holds it: %v, want %v", round, i, got, want)
				}
			}
			clock.Advance(time.Minute + time.Microsecond)
		}
	})
}

func TestLease_isKeptByItsHolderAndTakenAfterItRanOut(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		hers, his := store.NewHolder(), store.NewHolder()
		for _, step := range []struct {
			after time.Duration
			who   store.Holder
			want  bool
			what  string
		}{
			{0, hers, true, "a job that nobody has"},
			{0, his, false, "one that another has"},
			{59 * time.Second, hers, true, "her own, once more"},
			{59 * time.Second, his, false, "hers, which she has kept"},
			{time.Second, his, false, "hers in the instant it ends"},
			{time.Microsecond, his, true, "hers after its end"},
			{0, hers, false, "what was hers"},
			{time.Hour, his, true, "his own after its end, if nobody came"},
			{0, hers, false, "his, after that"},
		} {
			clock.Advance(step.after)
			if got := lease(t, db, "keys", step.who); got != step.want {
				t.Errorf("asking for %s: %v, want %v", step.what, got, step.want)
			}
		}
		if !lease(t, db, store.LeaseSweep, hers) {
			t.Error("another job went with the first")
		}
		for _, job := range []string{"", "Sweep", "sweep ", "unknown"} {
			if lease(t, db, job, hers) {
				t.Errorf("a lease was given of the job %q, which there is not", job)
			}
		}
	})
}

// A node that was paused does not know that its lease is over. What it writes
// in the Write in which it asks for the lease must not stand.
func TestLease_aPausedHolderWritesNothing(t *testing.T) {
	errNotMine := errors.New("not mine")
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		paused, next := store.NewHolder(), store.NewHolder()
		other := storetest.Again(t, db)
		key := func(id string) store.SigningKey {
			return store.SigningKey{ID: id, Alg: "ES256", Private: []byte(id)}
		}
		work := func(node *store.DB, h store.Holder, id string) error {
			return node.Write(t.Context(), home, func(tx *store.Tx) error {
				err := tx.AddSigningKey(key(id)) // also what was written before
				if err != nil {
					return err
				}
				mine, err := tx.Lease("keys", h, time.Minute)
				if err == nil && !mine {
					err = errNotMine
				}
				return err
			})
		}
		if err := work(db, paused, "before the pause"); err != nil {
			t.Fatal(err)
		}
		clock.Advance(2 * time.Minute)
		if err := work(other, next, "the next holder's"); err != nil {
			t.Fatal(err)
		}
		if err := work(db, paused, "after the pause"); !errors.Is(err, errNotMine) {
			t.Errorf("the paused holder's work ended with %v", err)
		}
		read(t, db, func(tx *store.Tx) error {
			keys, err := tx.SigningKeys()
			if len(keys) != 2 || keys[0].ID != "before the pause" || keys[1].ID != "the next holder's" {
				t.Errorf("keys that stand: %+v", keys)
			}
			return err
		})
	})
}

// A holder that is at work is not overtaken between its asking and its commit,
// even if its time runs out meanwhile.
func TestLease_isHeldUntilTheCommit(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		other := storetest.Again(t, db)
		u := newUser("ada@example.com")
		asking, took := make(chan struct{}), make(chan error, 1)
		write(t, db, func(tx *store.Tx) error {
			mine, err := tx.Lease(store.LeaseSweep, store.NewHolder(), time.Minute)
			if err != nil || !mine {
				return errors.Join(err, errors.New("a job that nobody had was refused"))
			}
			clock.Advance(time.Hour)
			go func() {
				close(asking)
				took <- other.Write(t.Context(), home, func(tx *store.Tx) error {
					mine, err := tx.Lease(store.LeaseSweep, store.NewHolder(), time.Minute)
					if err != nil || !mine {
						return errors.Join(err, errors.New("a lease that ran out was not taken"))
					}
					_, err = tx.User(u.ID)
					return err
				})
			}()
			<-asking
			for range 20 { // work that takes its time
				_, err = tx.CountRole("member")
				if err != nil {
					return err
				}
			}
			return tx.AddUser(u)
		})
		if err := <-took; err != nil {
			t.Errorf("the next holder does not find what the one before it wrote: %v", err)
		}
	})
}
