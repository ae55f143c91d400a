package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

func addDelivery(t *testing.T, db *store.DB, body string) store.Delivery {
	t.Helper()
	d := store.Delivery{ID: store.NewDeliveryID(), Kind: store.DeliverMail, Body: []byte(body), ExpiresAt: db.Now().Add(time.Hour), CreatedAt: db.Now()}
	write(t, db, func(tx *store.Tx) error { return tx.AddDelivery(d) })
	return d
}

func take(t *testing.T, db *store.DB, limit, want int) (list []store.Delivery) {
	t.Helper()
	write(t, db, func(tx *store.Tx) (err error) { list, err = tx.TakeDeliveries(limit, time.Minute); return err })
	if len(list) != want {
		t.Fatalf("took %d deliveries, want %d", len(list), want)
	}
	return list
}

func TestTakeDeliveries_leasesTheOldestDueOnes(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		take(t, db, 10, 0)
		var want []store.Delivery
		for _, body := range []string{"a", "b", "c"} {
			d := addDelivery(t, db, body)
			d.Tries = 1
			want = append(want, d)
			clock.Advance(time.Second)
		}
		got := append(take(t, db, 2, 2), take(t, db, 2, 1)...)
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(store.Delivery{})); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		take(t, db, 2, 0)
		read(t, db, func(tx *store.Tx) error {
			next, err := tx.NextDelivery()
			if want := clock.Now().Add(time.Minute); !next.Equal(want) {
				t.Errorf("the next is due at %v, want the end of the lease, %v", next, want)
			}
			return err
		})
		clock.Advance(time.Minute - time.Microsecond)
		take(t, db, 10, 0)
		clock.Advance(time.Microsecond)
		for _, d := range take(t, db, 10, 3) {
			if d.Tries != 2 {
				t.Errorf("a delivery taken twice counts %d tries", d.Tries)
			}
		}
	})
}

func TestDelivery_aLostLeaseDecidesNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		addDelivery(t, db, "body")
		late := take(t, db, 1, 1)[0]
		clock.Advance(time.Minute)
		next := take(t, db, 1, 1)[0]
		write(t, db, func(tx *store.Tx) error {
			dropped, err := tx.DropDelivery(late)
			if dropped {
				t.Error("a worker whose lease was over took away what the next one works on")
			}
			return errors.Join(err, tx.PutBackDelivery(late, tx.Now, "late"), second(tx.BuryDelivery(late, "late")))
		})
		take(t, db, 1, 0) // it was not put back
		write(t, db, func(tx *store.Tx) error {
			waiting, dead, err := tx.CountDeliveries()
			if waiting != 1 || dead != 0 {
				t.Errorf("%d wait, %d are dead; want 1 and 0", waiting, dead)
			}
			dropped, err2 := tx.DropDelivery(next)
			if !dropped {
				t.Error("the owner of the lease could not take its delivery away")
			}
			return errors.Join(err, err2)
		})
		read(t, db, func(tx *store.Tx) error {
			at, err := tx.NextDelivery()
			if !at.IsZero() {
				t.Errorf("an empty outbox has something due at %v", at)
			}
			return err
		})
	})
}

func TestPutBackDelivery_isDueWhenItSays(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		addDelivery(t, db, "body")
		d := take(t, db, 1, 1)[0]
		write(t, db, func(tx *store.Tx) error { return tx.PutBackDelivery(d, tx.Now.Add(5*time.Second), "421 later") })
		clock.Advance(5*time.Second - time.Microsecond)
		take(t, db, 1, 0)
		clock.Advance(time.Microsecond)
		if d := take(t, db, 1, 1)[0]; d.Tries != 2 || string(d.Body) != "body" {
			t.Errorf("came back as %+v", d)
		}
	})
}

func TestBuryDelivery_isNeverTakenAgain(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		addDelivery(t, db, "body")
		addDelivery(t, db, "body")
		d := take(t, db, 1, 1)[0]
		write(t, db, func(tx *store.Tx) error { return second(tx.BuryDelivery(d, "550 no")) })
		clock.Advance(24 * time.Hour)
		if got := take(t, db, 10, 1)[0]; got.ID == d.ID {
			t.Error("a buried delivery was taken")
		}
		read(t, db, func(tx *store.Tx) error {
			waiting, dead, err := tx.CountDeliveries()
			if waiting != 1 || dead != 1 {
				t.Errorf("%d wait, %d are dead; want 1 and 1", waiting, dead)
			}
			return err
		})
	})
}

func TestSweep_goesInBitesAndSparesTheLiving(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		u := addUser(t, db, "ada@example.com")
		for i := range 7 {
			addChallenge(t, db, newChallenge(db, u.ID, string(rune('a'+i)), string(rune('a'+i))))
		}
		for range 5 {
			s := addSession(t, db, u.ID)
			write(t, db, func(tx *store.Tx) error { _, err := tx.EndSession(s.ID, "out"); return err })
		}
		for range 3 {
			addDelivery(t, db, "body")
		}
		for _, d := range take(t, db, 3, 3) {
			write(t, db, func(tx *store.Tx) error { return second(tx.BuryDelivery(d, "no")) })
		}
		// What lives: beside each sort, one that is an instant too young.
		clock.Advance(time.Hour + time.Microsecond)
		edge := clock.Now()
		young := newChallenge(db, u.ID, "young", "young")
		young.ExpiresAt = edge
		addChallenge(t, db, young)
		alive, ended := addSession(t, db, u.ID), addSession(t, db, u.ID)
		write(t, db, func(tx *store.Tx) error { _, err := tx.EndSession(ended.ID, "out"); return err })
		addDelivery(t, db, "waits")
		addDelivery(t, db, "dies now")
		dead := take(t, db, 2, 2)[1]
		write(t, db, func(tx *store.Tx) error { return second(tx.BuryDelivery(dead, "no")) })

		clock.Advance(time.Minute)
		for i, want := range []int{2, 2, 2, 1, 0} /* of the kind that has most */ {
			var got int
			err := db.Write(t.Context(), storetest.Other(), func(tx *store.Tx) (err error) { // whoever sweeps, sweeps for all
				got, err = tx.Sweep(2, edge, edge, edge)
				return err
			})
			if err != nil || got != want {
				t.Errorf("bite %d took %d, %v; want %d", i, got, err, want)
			}
		}
		read(t, db, func(tx *store.Tx) error {
			_, _, err := tx.TokenChallenge(young.TokenHash)
			_, err2 := tx.Session(alive.ID)
			_, err3 := tx.Session(ended.ID)
			waiting, dead, err4 := tx.CountDeliveries()
			if waiting != 1 || dead != 1 {
				t.Errorf("%d deliveries wait and %d are dead, want 1 and 1", waiting, dead)
			}
			return errors.Join(err, err2, err3, err4)
		})
	})
}
