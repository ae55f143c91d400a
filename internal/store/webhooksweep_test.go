package store_test

import (
	"errors"
	"testing"
	"time"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

func TestSweepWebhooks_goesInBitesAndSparesTheYoung(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		var r trail
		w := addWebhook(t, db)
		r.fanOut(t, db, store.NewUserID(), 6)
		for i := range 6 {
			if i == 3 {
				clock.Advance(time.Hour)
			}
			state := store.WebhookDelivered
			if i%3 == 2 {
				state = store.WebhookDead
			}
			endWebhook(t, db, takeWebhooks(t, db, 1, 1)[0], state, well)
		}
		old := clock.Now().Add(-time.Minute)
		sweep := func(want int, delivered, dead, undelivered time.Time) {
			t.Helper()
			err := db.Write(t.Context(), storetest.Other(), func(tx *store.Tx) error { // whoever sweeps, sweeps for all
				n, err := tx.SweepWebhooks(2, delivered, dead, undelivered)
				if n != want {
					t.Errorf("swept %d, want %d", n, want)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		sweep(0, time.Time{}, time.Time{}, old)
		sweep(2, old, time.Time{}, old)
		sweep(1, old, old, old)
		sweep(0, old, old, old)
		if n := states(t, db, w.ID); n[store.WebhookDelivered] != 2 || n[store.WebhookDead] != 1 {
			t.Errorf("%v are left, want the young", n)
		}
		write(t, db, func(tx *store.Tx) error { return second(tx.DropWebhook(w.ID)) })
		sweep(2, old, old, old)
		sweep(1, old, old, old)
		sweep(0, old, old, old)
		if n := states(t, db, w.ID); len(n) != 0 {
			t.Errorf("%v are left of an endpoint that was dropped", n)
		}
	})
}

func TestSweepWebhooks_givesUpWhatNobodyTries(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		for name, ill := range map[string]func(w store.Webhook){
			"disabled": func(w store.Webhook) {
				w.Disabled = true
				write(t, db, func(tx *store.Tx) error { return second(tx.SetWebhook(w)) })
			},
			"resting": func(store.Webhook) {
				try := failed
				try.Rest = func(int) time.Duration { return 30 * time.Hour }
				putBack(t, db, takeWebhooks(t, db, 1, 1)[0], time.Second, try)
			},
			"well": func(store.Webhook) {},
		} {
			var r trail
			w := addWebhook(t, db)
			ada, bob := store.NewUserID(), store.NewUserID()
			r.fanOut(t, db, ada, 3)
			r.fanOut(t, db, bob, 1)
			clock.Advance(20 * time.Hour)
			young := r.fanOut(t, db, ada, 1)
			ill(w)
			clock.Advance(5 * time.Hour)
			swept := 0
			for range 10 {
				write(t, db, func(tx *store.Tx) error {
					n, err := tx.SweepWebhooks(2, time.Time{}, time.Time{}, tx.Now.Add(-24*time.Hour))
					swept += n
					return err
				})
			}
			n := states(t, db, w.ID)
			if name == "well" {
				if swept != 0 || n[store.WebhookDead] != 0 {
					t.Errorf("%s: swept %d, %v", name, swept, n)
				}
			} else if swept != 4 || n[store.WebhookDead] != 4 || n[store.WebhookDue] != 1 {
				t.Errorf("%s: swept %d, %v; want four dead, and the young one in front", name, swept, n)
			}
			write(t, db, func(tx *store.Tx) error {
				list, err := tx.WebhookDeliveries(w.ID, store.WebhookDue, store.WebhookPlace{}, 10)
				if name != "well" && (len(list) != 1 || list[0].Event != young[0]) {
					t.Errorf("%s: due are %+v", name, list)
				}
				return errors.Join(err, second(tx.DropWebhook(w.ID)), second(tx.SweepWebhooks(100, time.Time{}, time.Time{}, time.Time{})))
			})
		}
	})
}

// The belt: a queue that stands still, which nothing brings about, is set going
// again, and one that moves is left alone.
func TestSweepWebhooks_mendsWhatStandsStill(t *testing.T) {
	onAll(t, func(t *testing.T, engine, url string) {
		clock := storetest.NewClock()
		db := node(t, store.Options{URL: url, MaxConns: 2, Now: clock.Now})
		pool := plain(t, url)
		var r trail
		w := addWebhook(t, db)
		ada, bob := store.NewUserID(), store.NewUserID()
		hers := r.fanOut(t, db, ada, 3)
		his := r.fanOut(t, db, bob, 1)
		sweep := func(want int) {
			t.Helper()
			write(t, db, func(tx *store.Tx) error {
				n, err := tx.SweepWebhooks(10, time.Time{}, time.Time{}, time.Time{})
				if n != want {
					t.Errorf("mended %d, want %d", n, want)
				}
				return err
			})
		}
		sweep(0)
		do(t, pool, `UPDATE webhook_deliveries SET state = 'waiting'`, `UPDATE webhook_endpoints SET next_at = 0`)
		nextWebhook(t, db, time.Time{})
		sweep(2)
		list := takeWebhooks(t, db, 10, 2)
		for _, p := range list {
			if p.Event != hers[0] && p.Event != his[0] {
				t.Errorf("took %d, which is not the first", p.Seq)
			}
		}
		clock.Advance(time.Minute)
		do(t, pool, `UPDATE webhook_endpoints SET next_at = 0`)
		takeWebhooks(t, db, 10, 0)
		sweep(1)
		takeWebhooks(t, db, 10, 2)
		sweep(0)
		if n := states(t, db, w.ID); n[store.WebhookWaiting] != 2 || n[store.WebhookDue] != 2 {
			t.Errorf("%v", n)
		}
	})
}
