// Package store keeps everything the server remembers, in SQLite, PostgreSQL
// or MySQL. Begin with DB.Write; each other file holds one table: its row type
// and every statement that touches it. What may differ between the engines is
// in dialect.go; how each is reached in sqlite.go, postgres.go and mysql.go.
//
// Rules: rows are plain values, no policy lives here, a statement is written
// once in the SQL that the three engines share, and every statement is a
// method of Tx, which speaks for one tenant: none can forget to say whose rows
// it means.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

var (
	// ErrNotFound reports that no row matched.
	ErrNotFound = errors.New("store: not found")
	// ErrDuplicate reports a broken unique rule. The transaction is spent, on
	// every engine because PostgreSQL refuses all later statements: return it.
	// A write that was put off reports it when Write commits.
	ErrDuplicate = errors.New("store: duplicate")
	// ErrUnavailable reports that the database cannot do its work now: it is
	// down, full, or too busy. Whoever asks again later may succeed. Of a commit
	// whose answer was lost nobody knows whether it happened.
	ErrUnavailable = errors.New("store: the database is not available")

	errSpent  = fmt.Errorf("%w: the transaction is spent by it", ErrDuplicate)
	errReads  = errors.New("store: a write inside Read")
	errSecond = errors.New("store: a second statement in WriteOne")
	errClosed = errors.New("store: the database is closed")
)

// DB is an open database. Its methods may be called from many goroutines.
type DB struct {
	now    func() time.Time
	engine engine
	*dialect
	names  names
	limits timeouts
	event  atomic.Int64 // tick of the last event this node has seen happen

	watcher atomic.Pointer[func(string)] // see Watch
	above   map[string]string            // migrations on top of ours, by file: of tests
}

// engine is one kind of database at work. Only an engine's own files know how
// its connections, pools and transactions are handled.
type engine interface {
	// read lends fn a connection whose statements stand alone.
	read(ctx context.Context, fn func(conn) error) error
	// write runs fn in one transaction, once, and commits if it returns nil.
	write(ctx context.Context, fn func(conn) error) error
	// one runs fn, which makes a single statement: a transaction by itself.
	one(ctx context.Context, fn func(conn) error) error
	// migrations opens connections for migrating, to be closed by the caller.
	migrations() (*sql.DB, error)
	// tablesThere lists the tables where ours are, or will be.
	tablesThere(ctx context.Context, pool *sql.DB) (map[string]bool, error)
	// place says in words where that is.
	place() string
	close() error
}

// conn is a connection at work for one Tx, used by one goroutine at a time.
type conn interface {
	// exec runs a statement and returns how many rows it matched.
	exec(query string, args []any) (int64, error)
	// rows runs a statement and calls each for every row.
	rows(query string, args []any, each func(scan func(...any) error) error) error
	// later runs a statement whose outcome nobody waits for, together with the
	// next one that must answer or with the commit: one round trip for all.
	later(query string, args []any) error
}

// Tx hands out the statements of one tenant. All rows of one write carry the
// same Now. In a Write it is a transaction; in a Read every statement stands
// alone, so an answer that must be consistent is one statement.
type Tx struct {
	Now    time.Time // microseconds, UTC
	Tenant TenantID
	db     *DB
	c      conn
	may    mode
	spent  bool
	done   []string // what Watch is to be told of after the commit
}

// mode is what a Tx may do.
type mode int

const (
	reads  mode = iota
	alone       // one statement
	writes      // users that are read are read to be written, and held
)

func (db *DB) tx(tenant TenantID, c conn, m mode) *Tx {
	return &Tx{Now: db.Now(), Tenant: tenant, db: db, c: c, may: m}
}

// Read runs fn, which must not write and may run twice. It costs one round
// trip a statement.
func (db *DB) Read(ctx context.Context, tenant TenantID, fn func(*Tx) error) error {
	return db.again(ctx, func() error {
		return db.engine.read(ctx, func(c conn) error { return fn(db.tx(tenant, c, reads)) })
	})
}

// Write runs fn in a transaction and commits if fn returns nil; when Write
// returns nil the change is on disk. fn may run several times, because
// databases ask for that (a deadlock, a serialization failure, a connection
// lost before the commit), and beside other writers' work: it touches nothing
// but tx and variables it sets afresh, and does no network, hashing or
// waiting. A refusal that must persist is not an error: set a verdict, return
// nil, and hand the verdict out after Write.
func (db *DB) Write(ctx context.Context, tenant TenantID, fn func(*Tx) error) error {
	return db.again(ctx, func() error {
		var tx *Tx
		err := db.engine.write(ctx, func(c conn) error {
			tx = db.tx(tenant, c, writes)
			err := fn(tx)
			if err == nil && tx.spent {
				return errSpent
			}
			return err
		})
		return db.tell(tx, err)
	})
}

// WriteOne is Write for an fn that makes one statement and no more: it costs
// one round trip, where a transaction of several costs two or three.
func (db *DB) WriteOne(ctx context.Context, tenant TenantID, fn func(*Tx) error) error {
	return db.again(ctx, func() error {
		var tx *Tx
		err := db.engine.one(ctx, func(c conn) error {
			tx = db.tx(tenant, c, alone)
			return fn(tx)
		})
		return db.tell(tx, err)
	})
}

// How often an operation is tried while the database asks for it to be run
// again, and while it cannot be reached.
const (
	maxRaces   = 10
	maxOutages = 3
)

// again repeats run while the engine says that nothing was done and that doing
// it once more may succeed. The waits grow and differ, so that those who stood
// in each other's way meet again one after the other.
func (db *DB) again(ctx context.Context, run func() error) error {
	deadline := time.Now().Add(db.limits.transaction) //nolint:forbidigo // how long a caller waits is not the rows' time
	races, outages := 0, 0
	for {
		err := run()
		switch db.judge(err) {
		case final:
			return err
		case raced:
			races++
		case cutOff:
			outages++
		case lost:
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		wait := time.Duration(1+rand.N(1<<min(races+outages+1, 7))) * time.Millisecond
		if races >= maxRaces || outages >= maxOutages || time.Now().Add(wait).After(deadline) { //nolint:forbidigo // as above
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

// Now is the instant by the database's clock, cut to what rows can hold.
func (db *DB) Now() time.Time { return db.now().UTC().Truncate(time.Microsecond) }

// Engine is "sqlite", "postgres" or "mysql" (MariaDB too).
func (db *DB) Engine() string { return db.name }

// Close waits for reads and writes under way and closes the database.
func (db *DB) Close() error { return db.engine.close() }

// exec runs a statement and reports how many rows it matched.
func (tx *Tx) exec(query string, args ...any) (int64, error) {
	err := tx.mayWrite()
	if err != nil {
		return 0, err
	}
	n, err := tx.c.exec(query, plain(args))
	return n, tx.failed(err)
}

// later runs a statement that must succeed and whose row count nobody needs. A
// failure may show only at the commit.
func (tx *Tx) later(query string, args ...any) error {
	err := tx.mayWrite()
	if err != nil {
		return err
	}
	return tx.failed(tx.c.later(query, plain(args)))
}

// row scans a single row, or returns ErrNotFound.
func (tx *Tx) row(query string, args []any, dest ...any) error {
	found := false
	err := tx.rows(query, args, func(scan func(...any) error) error {
		found = true
		return scan(dest...)
	})
	if err == nil && !found {
		return ErrNotFound
	}
	return err
}

// rows calls each for every row.
func (tx *Tx) rows(query string, args []any, each func(scan func(...any) error) error) error {
	if tx.spent {
		return errSpent
	}
	return tx.failed(tx.c.rows(query, plain(args), each))
}

func (tx *Tx) mayWrite() error {
	switch {
	case tx.spent:
		return errSpent
	case tx.may == reads:
		return errReads
	}
	return nil
}

// failed spends the transaction on a duplicate, of this statement or of one
// that was put off until it.
func (tx *Tx) failed(err error) error {
	if errors.Is(err, ErrDuplicate) {
		tx.spent = true
	}
	return err
}

// scanAll calls each for every row of an answer, which its caller closes.
func scanAll(rs interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
}, each func(scan func(...any) error) error,
) error {
	for rs.Next() {
		err := each(rs.Scan)
		if err != nil {
			return err
		}
	}
	return rs.Err()
}

// duplicateOf marks a broken unique rule.
func duplicateOf(d *dialect, err error) error {
	if err != nil && d.duplicate(err) {
		return fmt.Errorf("%w: %w", ErrDuplicate, err)
	}
	return err
}

// micros stores instants so that every engine agrees on them; the zero time
// is 0.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func instant(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

// orNull stores the empty string as NULL, which unique indexes pass over.
func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}
