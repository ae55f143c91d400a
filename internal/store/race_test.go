package store_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

func TestRotate_oneOfAHundredWins(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		s := addSession(t, db, addUser(t, db, "ada@example.com").ID)
		start := clock.Now()
		for gen := range int64(3) {
			clock.Advance(time.Minute)
			won := race(t, db, 100, func(i int, tx *store.Tx) (bool, error) {
				return tx.Rotate(s.ID, gen+1, fmt.Sprint("192.0.2.", i), "agent")
			})
			if won != 1 {
				t.Errorf("generation %d was traded %d times, want once", gen+1, won)
			}
		}
		read(t, db, func(tx *store.Tx) error {
			got, err := tx.Session(s.ID)
			want := [3]time.Time{start.Add(3 * time.Minute), start.Add(2 * time.Minute), start.Add(3 * time.Minute)}
			if got.Generation != 4 || [3]time.Time{got.RotatedAt, got.ParentRotatedAt, got.RefreshedAt} != want {
				t.Errorf("after three refreshes: %+v", got)
			}
			return err
		})
	})
}

func TestRotate_neverRevivesAnEndedSession(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		s := addSession(t, db, addUser(t, db, "ada@example.com").ID)
		ended := race(t, db, 50, func(i int, tx *store.Tx) (bool, error) { return tx.EndSession(s.ID, fmt.Sprint("reason ", i)) })
		if ended != 1 {
			t.Errorf("the session ended %d times, want once", ended)
		}
		write(t, db, func(tx *store.Tx) error {
			ok, err := tx.Rotate(s.ID, 1, "", "")
			if ok {
				t.Error("an ended session was refreshed")
			}
			return err
		})
	})
}

func TestEndSessions_endsAllLivingButOneAndSaysWhich(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		u, other := addUser(t, db, "ada@example.com"), addUser(t, db, "bob@example.com")
		kept, a, b, gone, his := addSession(t, db, u.ID), addSession(t, db, u.ID), addSession(t, db, u.ID), addSession(t, db, u.ID), addSession(t, db, other.ID)
		write(t, db, func(tx *store.Tx) error { _, err := tx.EndSession(gone.ID, "before"); return err })
		clock.Advance(time.Minute)
		var ids []store.SessionID
		write(t, db, func(tx *store.Tx) (err error) { ids, err = tx.EndSessions(u.ID, kept.ID, "all out"); return err })
		if len(ids) != 2 || ids[0] == ids[1] || !slices.Contains(ids, a.ID) || !slices.Contains(ids, b.ID) {
			t.Errorf("ended %v, want %v and %v", ids, a.ID, b.ID)
		}
		read(t, db, func(tx *store.Tx) error {
			var errs []error
			for id, want := range map[store.SessionID]string{kept.ID: "", a.ID: "all out", b.ID: "all out", gone.ID: "before", his.ID: ""} {
				s, err := tx.Session(id)
				if s.EndReason != want || s.EndedAt.IsZero() != (want == "") {
					t.Errorf("session %s ended at %v for %q, want %q", id, s.EndedAt, s.EndReason, want)
				}
				errs = append(errs, err)
			}
			return errors.Join(errs...)
		})
		write(t, db, func(tx *store.Tx) (err error) {
			ids, err = tx.EndSessions(u.ID, store.SessionID{}, "really all")
			return err
		})
		if len(ids) != 1 || ids[0] != kept.ID {
			t.Errorf("then ended %v, want %v", ids, kept.ID)
		}
	})
}

func TestUseToken_oneOfAHundredGetsIt(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		c := addChallenge(t, db, newChallenge(db, addUser(t, db, "ada@example.com").ID, "recovery", "token"))
		won := race(t, db, 100, func(_ int, tx *store.Tx) (bool, error) {
			got, err := tx.UseToken(c.TokenHash)
			return got.ID == c.ID, err
		})
		if won != 1 {
			t.Errorf("the token worked %d times, want once", won)
		}
	})
}

func TestTryCode_countsEveryGuessMadeAtOneInstant(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		c := addChallenge(t, db, newChallenge(db, addUser(t, db, "ada@example.com").ID, "recovery", "token"))
		tried := race(t, db, 100, func(_ int, tx *store.Tx) (bool, error) {
			got, err := tx.TryCode(c.Kind, c.Subject, 5)
			return got.ID == c.ID, err
		})
		if tried != 5 {
			t.Errorf("%d guesses were compared, want 5", tried)
		}
	})
}

func TestTryToken_countsEveryGuessMadeAtOneInstant(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		c := addChallenge(t, db, newChallenge(db, addUser(t, db, "ada@example.com").ID, "pkce", "token"))
		tried := race(t, db, 50, func(_ int, tx *store.Tx) (bool, error) {
			got, err := tx.TryToken(c.TokenHash, 3)
			return got.ID == c.ID, err
		})
		if tried != 3 {
			t.Errorf("%d guesses were compared, want 3", tried)
		}
	})
}

func TestUseChallenge_oneOfFiftyIsTheOne(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		c := addChallenge(t, db, newChallenge(db, addUser(t, db, "ada@example.com").ID, "recovery", "token"))
		won := race(t, db, 50, func(_ int, tx *store.Tx) (bool, error) { return tx.UseChallenge(c.ID, c.Kind, c.Subject) })
		if won != 1 {
			t.Errorf("the challenge was answered %d times, want once", won)
		}
	})
}

func TestSwapCredential_oneOfFiftyReplacesWhatAllHaveRead(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		u := addUser(t, db, "ada@example.com")
		write(t, db, func(tx *store.Tx) error { return tx.SetPassword(u.ID, []byte("old")) })
		var c store.Credential
		read(t, db, func(tx *store.Tx) (err error) { c, err = tx.Credential("password", u.ID[:]); return err })
		var winner atomic.Int64
		won := race(t, db, 50, func(i int, tx *store.Tx) (bool, error) {
			ok, err := tx.SwapCredential(c, fmt.Append(nil, "new ", i))
			if ok {
				winner.Store(int64(i))
			}
			return ok, err
		})
		read(t, db, func(tx *store.Tx) error {
			hash, err := tx.PasswordOf(u.ID)
			if want := fmt.Sprint("new ", winner.Load()); won != 1 || string(hash) != want {
				t.Errorf("%d swapped and %q stands, want one and %q", won, hash, want)
			}
			return err
		})
	})
}

func TestAddUser_oneOfFiftyGetsTheAddress(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		won := race(t, db, 50, func(_ int, tx *store.Tx) (bool, error) { return true, tx.AddUser(newUser("ada@example.com")) })
		if won != 1 {
			t.Errorf("%d users have one address", won)
		}
	})
}

func TestTakeDeliveries_eachGoesToOneOfMany(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		write(t, db, func(tx *store.Tx) error {
			var errs []error
			for range 40 {
				errs = append(errs, tx.AddDelivery(store.Delivery{ID: store.NewDeliveryID(), Kind: store.DeliverMail, Body: []byte("b")}))
			}
			return errors.Join(errs...)
		})
		var taken [50][]store.Delivery
		race(t, db, len(taken), func(i int, tx *store.Tx) (_ bool, err error) {
			taken[i], err = tx.TakeDeliveries(3, time.Minute)
			return true, err
		})
		times := map[store.DeliveryID]int{}
		for _, d := range slices.Concat(taken[:]...) {
			times[d.ID]++
		}
		for id, n := range times {
			if n != 1 {
				t.Errorf("%s was taken by %d workers", id, n)
			}
		}
		if len(times) != 40 {
			t.Errorf("fifty workers took %d of 40 deliveries", len(times))
		}
	})
}

func TestKeepValue_allGetTheFirst(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		var kept [50]string
		var group sync.WaitGroup
		for i := range kept {
			group.Go(func() {
				v, err := db.KeepValue(t.Context(), "name", []byte(fmt.Sprint("value ", i)))
				if err != nil {
					t.Error(err)
				}
				kept[i] = string(v)
			})
		}
		group.Wait()
		for i, v := range kept {
			if v == "" || v != kept[0] {
				t.Errorf("caller %d was given %q, another %q", i, v, kept[0])
			}
		}
		v, err := db.KeepValue(t.Context(), "other name", []byte("x"))
		if string(v) != "x" || err != nil {
			t.Errorf("under another name %q was kept, %v; want x", v, err)
		}
	})
}
