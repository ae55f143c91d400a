package storetest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"

	"gatehouse/internal/store"

	_ "github.com/jackc/pgx/v5/stdlib" // named "pgx"
)

// server is the databases this process has on the shared server of an engine.
//
// Making a database costs ten times what emptying one does. So a test that
// passed hands its database back, and the next one gets it, emptied, if it is
// then row for row and column for column what a fresh one is; else it is
// dropped. Nothing here may outlive a call in a goroutine or a connection: the
// caller may be in a testing/synctest bubble.
type server struct {
	engine string
	kind   kind
	ready  func() error // connects and makes the template, once
	mine   string       // begins the names of this process's databases

	// Set by ready.
	addr  string
	locks []*os.File // held until the process ends
	fresh snapshot

	mu   sync.Mutex // guards made and back
	made int
	back []string // handed back, not emptied
}

// kind is what differs between the engines.
type kind interface {
	// admin returns the driver and the DSN of a connection as superuser that
	// takes several statements at once.
	admin(addr, database string) (driver, dsn string)
	// clone returns the statement that makes a migrated database, empty when
	// there is none and it has to be migrated.
	clone(name, template string) string
	drop(name string) string
	// databases lists the names of all.
	databases() string
	// look reads what a database is.
	look(ctx context.Context, c *sql.Conn) (snapshot, error)
	// empty returns what makes a database as the template is, if nobody changed
	// its schema.
	empty(template string, fresh snapshot) string
}

// snapshot is a database as a test gets it.
type snapshot struct {
	schema string
	tables []string // quoted
	rows   []string // of all tables: each the table's name and the row as text, sorted
}

func newServer(engine string) *server {
	s := &server{engine: engine, kind: kinds(engine), mine: fmt.Sprintf("g%08x", rand.Uint32())}
	s.ready = sync.OnceValue(func() error {
		var err error
		s.addr, s.locks, err = attach(place(engine), s.mine)
		if err == nil {
			err = s.makeTemplate()
		}
		return err
	})
	return s
}

// template is the database that all others are made like. Every process makes
// its own, so that none is ever older than the program that is tested.
func (s *server) template() string { return s.mine + "_template" }

func (s *server) makeTemplate() error {
	ctx := context.Background()
	err := s.do(ctx, "", "CREATE DATABASE "+s.template())
	if err == nil {
		err = s.migrate(s.template())
	}
	if err == nil {
		s.fresh, err = s.look(ctx, s.template())
	}
	return err
}

func (s *server) migrate(name string) error {
	driver, dsn := s.kind.admin(s.addr, name)
	return migrate(s.url(name), driver, dsn)
}

// url is what store.Options.URL takes.
func (s *server) url(name string) string {
	if s.engine == "mysql" {
		return "mysql://gatehouse@" + s.addr + "/" + name
	}
	return "postgres://gatehouse@" + s.addr + "/" + name + "?sslmode=disable"
}

// on runs f on a connection to a database; "" is the server's own.
func (s *server) on(ctx context.Context, name string, f func(c *sql.Conn) error) error {
	driver, dsn := s.kind.admin(s.addr, name)
	pool, err := sql.Open(driver, dsn)
	if err != nil {
		return err
	}
	defer pool.Close()
	c, err := pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return f(c)
}

func (s *server) do(ctx context.Context, name, statements string) error {
	return s.on(ctx, name, func(c *sql.Conn) error { return run(ctx, c, statements) })
}

// run runs statements on a connection of kind.admin.
func run(ctx context.Context, c *sql.Conn, statements string) error {
	_, err := c.ExecContext(ctx, statements)
	if err != nil {
		return fmt.Errorf("storetest: %.200s: %w", statements, err)
	}
	return nil
}

func (s *server) look(ctx context.Context, name string) (found snapshot, err error) {
	err = s.on(ctx, name, func(c *sql.Conn) (err error) {
		found, err = s.kind.look(ctx, c)
		return err
	})
	return found, err
}

// databases lists the names of all on the server.
func (s *server) databases(ctx context.Context) (names []string, err error) {
	err = s.on(ctx, "", func(c *sql.Conn) (err error) {
		names, err = texts(ctx, c, s.kind.databases())
		return err
	})
	return names, err
}

// use gives a test a database to itself and returns its URL.
func (s *server) use(t testing.TB) string {
	t.Helper()
	err := s.ready()
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background() // the test's is over when its database is handed back
	name := s.handedBack(ctx)
	if name == "" {
		name, err = s.migrated(ctx)
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			s.drop(t, ctx, name)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.back = append(s.back, name)
	})
	return s.url(name)
}

// lend gives a test a database that make has made, until the end of the test.
func (s *server) lend(t testing.TB, made func(context.Context) (string, error)) string {
	t.Helper()
	err := s.ready()
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	name, err := made(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.drop(t, ctx, name) })
	return s.url(name)
}

func (s *server) drop(t testing.TB, ctx context.Context, name string) {
	t.Helper()
	err := s.do(ctx, "", s.kind.drop(name))
	if err != nil {
		t.Error(err)
	}
}

// handedBack returns the name of a database that was handed back, made as good
// as new; empty when there is none.
func (s *server) handedBack(ctx context.Context) string {
	for {
		s.mu.Lock()
		if len(s.back) == 0 {
			s.mu.Unlock()
			return ""
		}
		last := len(s.back) - 1
		name := s.back[last]
		s.back = s.back[:last]
		s.mu.Unlock()
		err := s.empty(ctx, name)
		if err == nil {
			return name
		}
		_ = s.do(ctx, "", s.kind.drop(name)) // else the keeper does, when this process has ended
	}
}

var errNotFresh = errors.New("storetest: the database is not what it was before its test")

// empty makes a used database as good as new, and makes sure that it is.
func (s *server) empty(ctx context.Context, name string) error {
	return s.on(ctx, name, func(c *sql.Conn) error {
		err := run(ctx, c, s.kind.empty(s.template(), s.fresh))
		if err != nil {
			return err
		}
		found, err := s.kind.look(ctx, c)
		if err != nil {
			return err
		}
		if found.schema != s.fresh.schema || !slices.Equal(found.tables, s.fresh.tables) || !slices.Equal(found.rows, s.fresh.rows) {
			return errNotFresh
		}
		return nil
	})
}

func (s *server) name() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	return s.mine + "_" + strconv.Itoa(s.made)
}

// bare makes a database with nothing in it and returns its name.
func (s *server) bare(ctx context.Context) (string, error) {
	name := s.name()
	return name, s.do(ctx, "", "CREATE DATABASE "+name)
}

// migrated makes a database like the template and returns its name.
func (s *server) migrated(ctx context.Context) (string, error) {
	name := s.name()
	clone := s.kind.clone(name, s.template())
	if clone != "" {
		return name, s.do(ctx, "", clone)
	}
	err := s.do(ctx, "", "CREATE DATABASE "+name)
	if err == nil {
		err = s.migrate(name)
	}
	return name, err
}

// migrate makes an empty database what tests get: migrated, with two tenants.
func migrate(url, driver, dsn string) error {
	ctx := context.Background()
	db, err := store.Open(ctx, store.Options{URL: url, Synchronous: "NORMAL", MaxConns: 1, Now: NewClock().Now})
	if err != nil {
		return err
	}
	_, err = db.Migrate(ctx)
	err = errors.Join(err, db.Close())
	if err != nil {
		return err
	}
	pool, err := sql.Open(driver, dsn)
	if err != nil {
		return err
	}
	defer pool.Close()
	id := Other()
	literal := fmt.Sprintf("x'%x'", id[:])
	if driver == "pgx" {
		literal = fmt.Sprintf(`'\x%x'`, id[:])
	}
	_, err = pool.ExecContext(ctx, "INSERT INTO tenants (id, name, created_at, updated_at) VALUES ("+literal+", 'other', 0, 0)")
	if err != nil {
		return fmt.Errorf("storetest: tenant: %w", err)
	}
	return pool.Close()
}
