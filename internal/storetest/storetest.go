// Package storetest gives tests a real database of their own, empty and
// migrated, with a clock they can turn, on SQLite, PostgreSQL and MariaDB.
// Begin with New; a test of the store's own statements goes through Each, and a
// package whose tests all stand on a database hands its TestMain to Main, so
// that they run on every engine.
//
// Who wants to know where the servers come from reads shared.go (one of each
// for all test processes), keeper.go (who starts them and clears them away) and
// database.go (how a test gets a database in a few milliseconds).
//
// It must never be imported by anything but tests, and it fakes nothing: what
// a test sees is what an operator gets.
package storetest

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
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

// Other is a second tenant, beside the default one, that every migrated
// database here has: to see that neither is shown what is the other's.
func Other() store.TenantID { return store.TenantID{15: 2} }

// process is what this test process knows. It is a variable of the package,
// against the rule of the house, because it stands for things there are one of
// in a process: the runs of testing.M, which hands tests nothing, and the locks
// the process holds.
var process = struct {
	engine  atomic.Value // string: the current engine, changed by Main between runs
	servers map[string]*server
	opened  sync.Map // *store.DB to store.Options, for Again
}{servers: map[string]*server{"postgres": newServer("postgres"), "mysql": newServer("mysql")}}

// Engines lists the engines to test: all three, unless the environment
// variable GATEHOUSE_TEST_ENGINES limits them, such as "sqlite,postgres", for
// quick work at one's own desk.
func Engines() []string {
	all := []string{"sqlite", "postgres", "mysql"}
	few := os.Getenv("GATEHOUSE_TEST_ENGINES")
	if few == "" {
		return all
	}
	list := strings.Split(few, ",")
	for _, e := range list {
		if !slices.Contains(all, e) {
			panic(fmt.Sprintf("GATEHOUSE_TEST_ENGINES: %q is none of %q", e, all)) // or a typing mistake would pass every test
		}
	}
	return list
}

// Engine is the engine of New and Open: SQLite, or the one that Main is at.
func Engine() string {
	e, ok := process.engine.Load().(string)
	if !ok {
		return "sqlite"
	}
	return e
}

// Main runs all tests of a package once for each engine and returns the code to
// exit with:
//
//	func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }
//
// It says on standard error on which engine tests failed.
func Main(m interface{ Run() int }) int {
	if !flag.Parsed() {
		flag.Parse()
	}
	engines := Engines()
	for _, once := range []string{"test.fuzz", "test.list"} { // these make sense once, and fuzzing ends the process
		f := flag.Lookup(once)
		if f != nil && f.Value.String() != "" {
			engines = engines[:1]
		}
	}
	code := 0
	defer process.engine.Store("sqlite")
	for _, e := range engines {
		process.engine.Store(e)
		// Now, and not by the first test: that may be in a testing/synctest bubble,
		// which nothing may leave.
		err := ready(e)
		if err != nil {
			fmt.Fprintf(os.Stderr, "FAIL: %s: %v\n", e, err)
			code = 1
			continue
		}
		c := m.Run()
		if c != 0 {
			fmt.Fprintf(os.Stderr, "FAIL: the tests above ran on %s\n", e)
			code = c
		}
	}
	return code
}

// New returns an empty, migrated database of the current engine (Main) and its
// clock. It is closed at the end of the test.
func New(t testing.TB) (*store.DB, *Clock) {
	t.Helper()
	c := NewClock()
	return Open(t, c.Now), c
}

// Open is New by another clock, such as the one of a testing/synctest bubble.
func Open(t testing.TB, now func() time.Time) *store.DB {
	t.Helper()
	return on(t, Engine(), now)
}

// Each runs f as parallel subtests, one for every engine and named after it,
// each on an empty, migrated database of its own.
func Each(t *testing.T, f func(t *testing.T, db *store.DB, c *Clock)) {
	t.Helper()
	for _, e := range Engines() {
		t.Run(e, func(t *testing.T) {
			t.Parallel()
			c := NewClock()
			f(t, on(t, e, c.Now), c)
		})
	}
}

// Again opens the database of db, which is of New, Open or Each, once more, as
// a second node does. It is closed at the end of the test.
func Again(t testing.TB, db *store.DB) *store.DB {
	t.Helper()
	o, ok := process.opened.Load(db)
	if !ok {
		t.Fatal("storetest.Again: the database is none of this test's")
	}
	return open(t, o.(store.Options))
}

// URL is the URL of an empty database of an engine that is not even migrated.
// It goes at the end of the test, whoever is still connected.
func URL(t testing.TB, engine string) string {
	t.Helper()
	if engine == "sqlite" {
		return "sqlite:" + t.TempDir() + "/gatehouse.db"
	}
	s := process.servers[engine]
	return s.lend(t, s.bare)
}

// MigratedURL is URL of an empty database that is migrated.
func MigratedURL(t testing.TB, engine string) string {
	t.Helper()
	if engine == "sqlite" {
		return "sqlite:" + sqliteFile(t)
	}
	s := process.servers[engine]
	return s.lend(t, s.migrated)
}

// ready prepares an engine for its first database.
func ready(engine string) error {
	if engine == "sqlite" {
		_, err := sqliteTemplate()
		return err
	}
	return process.servers[engine].ready()
}

func on(t testing.TB, engine string, now func() time.Time) *store.DB {
	t.Helper()
	o := store.Options{
		Synchronous: "NORMAL", Now: now, MaxConns: 8,
		// A busy machine must not fail a test. Who tests time limits sets his own.
		StatementTimeout: time.Minute, LockTimeout: 30 * time.Second, TransactionTimeout: time.Minute,
	}
	if engine == "sqlite" {
		o.URL = "sqlite:" + sqliteFile(t)
	} else {
		o.URL = process.servers[engine].use(t)
	}
	return open(t, o)
}

func open(t testing.TB, o store.Options) *store.DB {
	t.Helper()
	db, err := store.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	process.opened.Store(db, o)
	t.Cleanup(func() {
		process.opened.Delete(db)
		err := db.Close()
		if err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return db
}
