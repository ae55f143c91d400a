package main

import (
	"database/sql"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/internal/storetest"
)

// database is one that servers and verbs under test share.
type database struct{ engine, url string }

// masterKey is the one that all nodes on a database of these tests have.
const masterKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

// onEngines runs f as parallel subtests, one for each engine and named after
// it, with a database that is migrated and empty.
func onEngines(t *testing.T, f func(t *testing.T, d database)) {
	t.Helper()
	for _, e := range storetest.Engines() {
		t.Run(e, func(t *testing.T) {
			t.Parallel()
			f(t, database{e, storetest.MigratedURL(t, e)})
		})
	}
}

// onEmpty is onEngines with databases that are not migrated.
func onEmpty(t *testing.T, f func(t *testing.T, d database)) {
	t.Helper()
	for _, e := range storetest.Engines() {
		t.Run(e, func(t *testing.T) {
			t.Parallel()
			f(t, database{e, storetest.URL(t, e)})
		})
	}
}

// settings are those of a server or verb on d, below those of the test.
func (d database) settings(own ...string) []string {
	return append([]string{"DATABASE_URL=" + d.url, "GATEHOUSE_MASTER_KEY=" + masterKey}, own...)
}

// databaseOf is the one that settings name.
func databaseOf(dir string, environ []string) database {
	d := database{"sqlite", "sqlite:" + filepath.Join(dir, "gatehouse-data", "gatehouse.db")}
	for _, line := range environ {
		raw, ok := strings.CutPrefix(line, "DATABASE_URL=")
		if ok {
			d.url = raw
			d.engine, _, _ = strings.Cut(raw, ":")
		}
	}
	return d
}

// open connects to the database behind the server's back.
func (d database) open(t *testing.T) *sql.DB {
	t.Helper()
	driver, dsn := "pgx", d.url
	switch d.engine {
	case "sqlite":
		driver, dsn = "sqlite", "file:"+strings.TrimPrefix(d.url, "sqlite:")+"?_busy_timeout=5000"
	case "mysql":
		u, err := url.Parse(d.url)
		if err != nil {
			t.Fatal(err)
		}
		driver, dsn = "mysql", u.User.String()+"@tcp("+u.Host+")"+u.Path
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// one reads one value out of the database.
func (d database) one(t *testing.T, query string, args ...any) (value string) {
	t.Helper()
	db := d.open(t)
	defer db.Close()
	err := db.QueryRow(query, args...).Scan(&value)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return value
}

// change runs a statement behind the server's back and returns how many rows it
// changed.
func (d database) change(t *testing.T, statement string) int64 {
	t.Helper()
	db := d.open(t)
	defer db.Close()
	res, err := db.Exec(statement)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// sql reads one value out of the server's database.
func (s *server) sql(query string, args ...any) string {
	s.t.Helper()
	return s.db.one(s.t, query, args...)
}
