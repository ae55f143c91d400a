// Package store keeps everything the server remembers. Begin with DB.Write;
// each other file holds one table: its row type and every statement that
// touches it.
//
// Rules: rows are plain values, no policy lives here, a statement is written
// once in the SQL that SQLite, PostgreSQL and MySQL share, and every statement
// is a method of Tx, which speaks for one tenant: none can forget to say whose
// rows it means.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

var (
	// ErrNotFound reports that no row matched.
	ErrNotFound = errors.New("store: not found")
	// ErrDuplicate reports a broken unique rule. The transaction is spent, on
	// every engine because PostgreSQL refuses all later statements: return it.
	ErrDuplicate = errors.New("store: duplicate")
	errSpent     = errors.New("store: statement after a duplicate; the transaction is spent")
)

// DB is an open database.
type DB struct {
	now     func() time.Time
	writer  *writer
	readers chan *conn
	conns   []*conn       // all, the writer's first
	closed  chan struct{} // once it is, nobody reads
	closing sync.Once
	path    string
}

// Tx hands out the statements of one tenant. All rows of one write carry the
// same Now. In a Write it is a transaction; in a Read every statement stands
// alone, so an answer that must be consistent is one statement.
type Tx struct {
	Now    time.Time // microseconds, UTC
	Tenant TenantID
	c      *conn
	spent  bool
}

// Read runs fn, which must not write. It costs one round trip a statement.
func (db *DB) Read(ctx context.Context, tenant TenantID, fn func(*Tx) error) error {
	select {
	case c := <-db.readers:
		defer func() { db.readers <- c }()
		return fn(&Tx{Now: db.Now(), Tenant: tenant, c: c})
	case <-db.closed:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Write runs fn in a transaction and commits if fn returns nil; when Write
// returns nil the change is on disk. fn may run twice and beside other
// writers' work: it touches nothing but tx and variables it sets afresh, and
// does no network, hashing or waiting. A refusal that must persist is not an
// error: set a verdict, return nil, and hand the verdict out after Write.
func (db *DB) Write(ctx context.Context, tenant TenantID, fn func(*Tx) error) error {
	return db.writer.do(ctx, func(c *conn) error {
		tx := &Tx{Now: db.Now(), Tenant: tenant, c: c}
		err := fn(tx)
		if err == nil && tx.spent {
			return errSpent
		}
		return err
	})
}

// Now is the instant by the database's clock, cut to what rows can hold.
func (db *DB) Now() time.Time { return db.now().UTC().Truncate(time.Microsecond) }

// Close waits for reads and writes under way and closes the database. The file
// is whole afterwards, without its log beside it.
func (db *DB) Close() (err error) {
	db.closing.Do(func() {
		db.writer.close()
		close(db.closed)
		for range cap(db.readers) {
			<-db.readers
		}
		err = db.closeConns()
	})
	return err
}

// closeConns ends with the writer, because the last one to leave folds the
// write-ahead log into the file and readers may not.
func (db *DB) closeConns() error {
	var errs []error
	for _, c := range slices.Backward(db.conns) {
		// A pool knows neither the connection that was taken out of it nor the
		// statements prepared on that; SQLite keeps the file open for each.
		for _, s := range c.stmts {
			errs = append(errs, s.Close())
		}
		errs = append(errs, c.c.Close(), c.pool.Close())
	}
	return errors.Join(errs...)
}

// conn is one connection with its prepared statements. It belongs to one
// goroutine at a time. Query texts are constants, so the map stays small.
type conn struct {
	pool  *sql.DB // of this one connection
	c     *sql.Conn
	stmts map[string]*sql.Stmt
}

func (c *conn) prepare(query string) (*sql.Stmt, error) {
	if s, ok := c.stmts[query]; ok {
		return s, nil
	}
	s, err := c.c.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, fmt.Errorf("store: prepare %q: %w", query, err)
	}
	c.stmts[query] = s
	return s, nil
}

// run executes a statement without arguments, such as COMMIT.
func (c *conn) run(query string) error {
	s, err := c.prepare(query)
	if err != nil {
		return err
	}
	_, err = s.ExecContext(context.Background())
	return err
}

// Statements take no caller's context: on SQLite an interrupt would roll back
// the whole group of commits, and they last microseconds.

// exec runs a statement and reports how many rows it matched.
func (tx *Tx) exec(query string, args ...any) (int64, error) {
	if tx.spent {
		return 0, errSpent
	}
	s, err := tx.c.prepare(query)
	if err != nil {
		return 0, err
	}
	res, err := s.ExecContext(context.Background(), args...)
	if err != nil {
		if isDuplicate(err) {
			tx.spent = true
			return 0, fmt.Errorf("%w: %w", ErrDuplicate, err)
		}
		return 0, err
	}
	return res.RowsAffected()
}

// row scans a single row, or returns ErrNotFound.
func (tx *Tx) row(query string, args []any, dest ...any) error {
	if tx.spent {
		return errSpent
	}
	s, err := tx.c.prepare(query)
	if err != nil {
		return err
	}
	err = s.QueryRowContext(context.Background(), args...).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

// rows calls each for every row.
func (tx *Tx) rows(query string, args []any, each func(scan func(...any) error) error) error {
	if tx.spent {
		return errSpent
	}
	s, err := tx.c.prepare(query)
	if err != nil {
		return err
	}
	rs, err := s.QueryContext(context.Background(), args...)
	if err != nil {
		return err
	}
	defer rs.Close()
	for rs.Next() {
		err := each(rs.Scan)
		if err != nil {
			return err
		}
	}
	return rs.Err()
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
