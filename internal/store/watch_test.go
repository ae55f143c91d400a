package store_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

// Whatever a transaction had to do several times, or did and took back, is told
// as it stands in the end.
func TestWatch_isToldOfWhatWasCommittedOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		var mu sync.Mutex
		var told []string
		db.Watch(func(name string) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, name)
		})
		add := func(tx *store.Tx, name string) error {
			return tx.AddEvent(store.Event{Name: name, Actor: "system", Data: []byte("{}")})
		}
		no := errors.New("no")
		err := db.Write(t.Context(), store.TenantID{}, func(tx *store.Tx) error { return errors.Join(add(tx, "never"), no) })
		if !errors.Is(err, no) {
			t.Fatal(err)
		}
		err = db.Write(t.Context(), store.TenantID{}, func(tx *store.Tx) error { return errors.Join(add(tx, "one"), add(tx, "two"), add(tx, "one")) })
		if err != nil {
			t.Fatal(err)
		}
		u := store.User{ID: store.NewUserID(), AppMetadata: []byte("{}"), UserMetadata: []byte("{}")}
		s := store.Session{ID: store.NewSessionID(), UserID: u.ID, Generation: 1, AAL: 1, AMR: []byte("[]")}
		err = db.Write(t.Context(), store.TenantID{}, func(tx *store.Tx) error { return errors.Join(tx.AddUser(u), tx.AddSession(s)) })
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second is too late
			err = db.WriteOne(t.Context(), store.TenantID{}, func(tx *store.Tx) error {
				_, err := tx.Rotate(s.ID, 1, "", "")
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if want := []string{"one", "two", "one", store.Refreshed}; !slices.Equal(told, want) {
			t.Errorf("told of %v, want %v", told, want)
		}
	})
}

func TestPool_tellsOfOpenConnections(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		err := db.Read(t.Context(), store.TenantID{}, func(tx *store.Tx) error {
			_, err := tx.NextDelivery()
			if p := db.Pool(); p.Open < 1 || p.InUse > p.Open || p.Waits < 0 {
				t.Errorf("during a read the pool is %+v", p)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestProbe_isContentWithADatabaseThatWorks(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		p := db.Probe()
		lag, err := p.Ask(t.Context())
		if err != nil || lag != 0 {
			t.Fatalf("lag %v, %v", lag, err)
		}
		err = db.Write(t.Context(), store.TenantID{}, func(tx *store.Tx) error {
			return tx.AddDelivery(store.Delivery{ID: store.NewDeliveryID(), Kind: "none", ExpiresAt: tx.Now.Add(48 * time.Hour)})
		})
		if err != nil {
			t.Fatal(err)
		}
		clock.Set(clock.Now().Add(24 * time.Hour))
		lag, err = p.Ask(t.Context())
		if err != nil || lag != 24*time.Hour {
			t.Errorf("a delivery that is due for a day: lag %v, %v", lag, err)
		}
	})
}

func TestProbe_tellsWhyADatabaseCannotWork(t *testing.T) {
	t.Parallel()
	ask := func(t *testing.T, url string) error {
		db, err := store.Open(t.Context(), store.Options{URL: url, Now: storetest.NewClock().Now})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		_, err = db.Probe().Ask(t.Context())
		return err
	}
	for _, e := range storetest.Engines() {
		t.Run("outdated "+e, func(t *testing.T) {
			t.Parallel()
			url := storetest.MigratedURL(t, e)
			pool := plain(t, url)
			all := history(t, pool)
			do(t, pool, `DELETE FROM schema_migrations WHERE version_id = `+all[len(all)-1])
			if err := ask(t, url); !errors.Is(err, store.ErrOutdated) {
				t.Errorf("got %v, want ErrOutdated", err)
			}
		})
		if e != "postgres" {
			continue
		}
		t.Run("read-only "+e, func(t *testing.T) {
			t.Parallel()
			url, sep := storetest.MigratedURL(t, e), "?"
			if strings.Contains(url, "?") {
				sep = "&"
			}
			if err := ask(t, url+sep+"default_transaction_read_only=on"); !errors.Is(err, store.ErrReadOnly) {
				t.Errorf("got %v, want ErrReadOnly", err)
			}
		})
	}
}
