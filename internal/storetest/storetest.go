// Package storetest gives tests a real database of their own, empty and
// migrated, with a clock they can turn. Begin with New; a test of the store's
// own statements goes through Each, so that it runs on every engine.
//
// It must never be imported by anything but tests, and it fakes nothing: what
// a test sees is what an operator gets.
package storetest

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/store"
)

// Clock is a clock that stands still until a test turns it. It is safe for
// concurrent use.
type Clock struct{ us atomic.Int64 }

// NewClock returns a clock that shows 2030-01-02 03:04:05.678901 UTC: every
// field differs, so none can be mistaken for another.
func NewClock() *Clock {
	c := &Clock{}
	c.Set(time.Date(2030, 1, 2, 3, 4, 5, 678_901_000, time.UTC))
	return c
}

// Now is the instant the clock shows, in UTC.
func (c *Clock) Now() time.Time { return time.UnixMicro(c.us.Load()).UTC() }

// Advance turns the clock by d, cut to microseconds.
func (c *Clock) Advance(d time.Duration) { c.us.Add(d.Microseconds()) }

// Set turns the clock to t, cut to microseconds.
func (c *Clock) Set(t time.Time) { c.us.Store(t.UnixMicro()) }

// New returns an empty, migrated SQLite database in a file of its own, and its
// clock. It is closed at the end of the test.
func New(t testing.TB) (*store.DB, *Clock) {
	t.Helper()
	c := NewClock()
	return Open(t, c.Now), c
}

// Open is New by another clock, such as the one of a testing/synctest bubble.
func Open(t testing.TB, now func() time.Time) *store.DB {
	t.Helper()
	empty, err := template()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "gatehouse.db")
	err = os.WriteFile(path, empty, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(context.Background(), store.Options{URL: "sqlite:" + path, Synchronous: "NORMAL", Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := db.Close()
		if err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return db
}

// Each runs f as a subtest for every engine, each on an empty database. Today
// that is SQLite.
func Each(t *testing.T, f func(t *testing.T, db *store.DB, c *Clock)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		db, c := New(t)
		f(t, db, c)
	})
}

// Other is a second tenant, beside the default one, that every database here
// has: to see that neither is shown what is the other's.
func Other() store.TenantID { return store.TenantID{15: 2} }

// template returns the bytes of an empty, migrated database file. Migrating
// takes far longer than copying, so it happens once in a process.
var template = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "storetest")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "template.db")
	ctx := context.Background()
	db, err := store.Open(ctx, store.Options{URL: "sqlite:" + path, Synchronous: "NORMAL", Now: NewClock().Now})
	if err != nil {
		return nil, err
	}
	defer db.Close()
	_, err = db.Migrate(ctx)
	if err != nil {
		return nil, err
	}
	err = db.Close() // else the rows are in the log beside the file
	if err != nil {
		return nil, err
	}
	err = addTenant(path, Other(), "other")
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

func addTenant(path string, id store.TenantID, name string) error {
	pool, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		return err
	}
	defer pool.Close()
	_, err = pool.Exec(`INSERT INTO tenants (id, name, created_at, updated_at) VALUES (?, ?, 0, 0)`, id, name)
	if err != nil {
		return fmt.Errorf("storetest: tenant: %w", err)
	}
	return pool.Close()
}
