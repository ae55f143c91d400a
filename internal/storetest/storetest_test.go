package storetest_test

import (
	"testing"
	"time"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

func TestNew_databasesShareNothing(t *testing.T) {
	a, clock := storetest.New(t)
	b, _ := storetest.New(t)
	id := store.NewUserID()
	err := a.Write(t.Context(), store.TenantID{}, func(tx *store.Tx) error {
		return tx.AddUser(store.User{ID: id, AppMetadata: []byte("{}"), UserMetadata: []byte("{}")})
	})
	if err != nil {
		t.Fatal(err)
	}
	err = b.Read(t.Context(), store.TenantID{}, func(tx *store.Tx) error {
		_, err := tx.User(id)
		return err
	})
	if err != store.ErrNotFound {
		t.Errorf("user of another test's database: got %v, want ErrNotFound", err)
	}
	start := a.Now()
	clock.Advance(90 * time.Second)
	if got := a.Now().Sub(start); got != 90*time.Second {
		t.Errorf("the database's clock moved by %v, want 90 s", got)
	}
	if !b.Now().Equal(start) {
		t.Errorf("another test's clock moved too: %v, want %v", b.Now(), start)
	}
}

func TestNew_clockShowsTheAgreedInstant(t *testing.T) {
	db, _ := storetest.New(t)
	if got, want := db.Now().Format(time.RFC3339Nano), "2030-01-02T03:04:05.678901Z"; got != want {
		t.Errorf("clock shows %s, want %s", got, want)
	}
}
