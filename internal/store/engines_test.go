package store_test

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

// onAll runs f as parallel subtests, one for each of the engines that are
// tested, on the URL of an empty, migrated database: for tests that open it by
// options of their own, or speak to it beside the store.
func onAll(t *testing.T, f func(t *testing.T, engine, url string)) {
	t.Helper()
	for _, e := range storetest.Engines() {
		t.Run(e, func(t *testing.T) {
			t.Parallel()
			f(t, e, storetest.MigratedURL(t, e))
		})
	}
}

// onServers is onAll without SQLite.
func onServers(t *testing.T, f func(t *testing.T, engine, url string)) {
	t.Helper()
	for _, e := range storetest.Engines() {
		if e == "sqlite" {
			continue
		}
		t.Run(e, func(t *testing.T) {
			t.Parallel()
			f(t, e, storetest.MigratedURL(t, e))
		})
	}
}

// node opens a database as o says, by a clock that stands still and with
// limits that a busy machine keeps unless o sets its own.
func node(t testing.TB, o store.Options) *store.DB {
	t.Helper()
	o.Synchronous = "NORMAL"
	o.MaxConns = cmp.Or(o.MaxConns, 8)
	o.StatementTimeout = cmp.Or(o.StatementTimeout, time.Minute)
	o.LockTimeout = cmp.Or(o.LockTimeout, 30*time.Second)
	o.TransactionTimeout = cmp.Or(o.TransactionTimeout, time.Minute)
	if o.Now == nil {
		o.Now = storetest.NewClock().Now
	}
	db, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return db
}

// plain opens the database of a URL without the store.
func plain(t testing.TB, address string) *sql.DB {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	driver, dsn := "pgx", ""
	switch u.Scheme {
	case "postgres":
		q := u.Query()
		q.Set("default_query_exec_mode", "describe_exec") // a migration may change what was prepared before
		u.RawQuery = q.Encode()
		dsn = u.String()
	case "sqlite":
		driver, dsn = "sqlite", "file:"+strings.TrimPrefix(address, "sqlite:")+"?_busy_timeout=10000"
	case "mysql":
		driver, dsn = "mysql", u.User.String()+"@tcp("+u.Host+")"+u.Path+"?multiStatements=true"
	}
	pool, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pool.Close() })
	return pool
}

// do runs statements, or ends the test.
func do(t testing.TB, pool *sql.DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		_, err := pool.ExecContext(t.Context(), s)
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// ask returns the one column of a query as texts, or ends the test.
func ask(t testing.TB, pool *sql.DB, query string, args ...any) (all []string) {
	t.Helper()
	rows, err := pool.QueryContext(t.Context(), query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		all = append(all, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return all
}

// users returns how many users there are, counted one by one.
func users(t testing.TB, db *store.DB) int {
	t.Helper()
	n := 0
	read(t, db, func(tx *store.Tx) error {
		page, _, err := tx.UserPage(store.UserFilter{Limit: 10_000})
		n = len(page)
		return err
	})
	return n
}

// until waits for what happens soon, or ends the test when it does not.
func until(t testing.TB, what string, happened func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	for !happened() {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("waited for %s in vain", what)
		}
	}
}

// unavailable reports whether an error says so, and no other thing.
func unavailable(err error) bool {
	return errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrDuplicate) && !errors.Is(err, store.ErrNotFound)
}
