package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
)

var sqliteDialect = &dialect{
	name: "sqlite", goose: goose.DialectSQLite3,
	orHold:     ` ON CONFLICT (tenant_id, name, subject) DO UPDATE SET n = 0 WHERE FALSE`,
	orPass:     ` ON CONFLICT DO NOTHING`,
	countUsers: `INSERT INTO user_counts AS c (tenant_id, slot, n) VALUES (?, ?, ?) ON CONFLICT (tenant_id, slot) DO UPDATE SET n = c.n + excluded.n`,
	by:         ` INDEXED BY %`,
	byDropping: ` INDEXED BY %`,
	asText:     `CAST(% AS TEXT)`,
	verdict:    sqliteVerdict,
	duplicate:  func(err error) bool { c := sqliteCode(err); return c == 1555 || c == 2067 }, // SQLITE_CONSTRAINT_PRIMARYKEY, _UNIQUE
}

// sqliteVerdict reads the primary result code (sqlite.org/rescode.html).
func sqliteVerdict(err error) verdict {
	switch sqliteCode(err) & 0xff {
	case 5, 6: // SQLITE_BUSY, SQLITE_LOCKED: another process writes
		return raced
	case 8, 10, 13, 14: // SQLITE_READONLY, SQLITE_IOERR, SQLITE_FULL, SQLITE_CANTOPEN
		return lost
	}
	return final
}

func sqliteCode(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}

// sqliteDB is one file: one connection that writes and a few that read.
type sqliteDB struct {
	path    string
	names   names
	writer  *writer
	readers chan *sqliteConn
	conns   []*sqliteConn // all, the writer's first
	closed  chan struct{} // once it is, nobody reads
	closing sync.Once
}

func openSQLite(ctx context.Context, o Options, n names) (engine, error) {
	_, path, _ := strings.Cut(o.URL, ":")
	path = strings.TrimPrefix(path, "//")
	if path == ":memory:" { // every connection would have a database of its own
		return nil, errors.New("store: sqlite::memory: keeps nothing; write sqlite:PATH with the path of a file")
	}
	if path == "" {
		return nil, errors.New("store: sqlite: names no file; write sqlite:PATH")
	}
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err != nil {
		return nil, fmt.Errorf("store: data folder: %w", err)
	}
	_, err = os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		// Before SQLite makes it readable for all. Only a new file is opened here:
		// closing one drops every lock this process holds on it (fcntl(2)).
		var f *os.File
		f, err = os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err == nil {
			err = f.Close()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("store: database file: %w", err)
	}
	db := &sqliteDB{path: path, names: n, closed: make(chan struct{})}
	// _defensive and _dqs close doors nobody here uses; mmap stays off because
	// every commit by another connection drops the mapping.
	base := fmt.Sprintf("file:%s?_busy_timeout=%d&_journal_mode=WAL&_synchronous=%s&_foreign_keys=1&_dqs=0&_pragma=cache_size(-4000)",
		(&url.URL{Path: path}).EscapedPath(), max(o.LockTimeout, o.TransactionTimeout).Milliseconds(), o.Synchronous)
	w, err := db.open(ctx, base+"&_txlock=immediate")
	if err != nil {
		return nil, errors.Join(err, db.closeConns())
	}
	count := max(4, runtime.NumCPU())
	db.readers = make(chan *sqliteConn, count)
	for range count {
		c, err := db.open(ctx, base+"&_query_only=1")
		if err != nil {
			return nil, errors.Join(err, db.closeConns())
		}
		db.readers <- c
	}
	db.writer = startWriter(w)
	return db, nil
}

func (db *sqliteDB) open(ctx context.Context, dsn string) (*sqliteConn, error) {
	pool, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	pool.SetMaxOpenConns(1)
	c, err := pool.Conn(ctx)
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("store: open %s: %w", db.path, err)
	}
	db.conns = append(db.conns, &sqliteConn{names: db.names, pool: pool, c: c, stmts: map[string]*sql.Stmt{}})
	return db.conns[len(db.conns)-1], nil
}

func (db *sqliteDB) read(ctx context.Context, fn func(conn) error) error {
	select {
	case c := <-db.readers:
		defer func() { db.readers <- c }()
		return fn(c)
	case <-db.closed:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (db *sqliteDB) write(ctx context.Context, fn func(conn) error) error {
	return db.writer.do(ctx, fn)
}

// one needs no form of its own: the commit is shared, and nothing is far away.
func (db *sqliteDB) one(ctx context.Context, fn func(conn) error) error {
	return db.writer.do(ctx, func(c conn) error { return fn(&single{conn: c}) })
}

// close also waits for reads. The file is whole afterwards, without its log
// beside it.
func (db *sqliteDB) close() (err error) {
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
func (db *sqliteDB) closeConns() error {
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

// sqliteConn is one connection with its prepared statements. It belongs to one
// goroutine at a time. Query texts are constants, so the map stays small.
//
// Statements take no caller's context: an interrupt would roll back the whole
// group of commits, and they last microseconds.
type sqliteConn struct {
	names names
	pool  *sql.DB // of this one connection
	c     *sql.Conn
	stmts map[string]*sql.Stmt
}

func (c *sqliteConn) prepare(query string) (*sql.Stmt, error) {
	if s, ok := c.stmts[query]; ok {
		return s, nil
	}
	s, err := c.c.PrepareContext(context.Background(), c.names.say(query))
	if err != nil {
		return nil, fmt.Errorf("store: prepare %q: %w", query, err)
	}
	c.stmts[query] = s
	return s, nil
}

// run executes a statement without arguments, such as COMMIT.
func (c *sqliteConn) run(query string) error { return c.later(query, nil) }

func (c *sqliteConn) exec(query string, args []any) (int64, error) {
	s, err := c.prepare(query)
	if err != nil {
		return 0, err
	}
	res, err := s.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, duplicateOf(sqliteDialect, err)
	}
	return res.RowsAffected()
}

// later is at once: there is no way to save.
func (c *sqliteConn) later(query string, args []any) error {
	_, err := c.exec(query, args)
	return err
}

func (c *sqliteConn) rows(query string, args []any, each func(scan func(...any) error) error) error {
	s, err := c.prepare(query)
	if err != nil {
		return err
	}
	rs, err := s.QueryContext(context.Background(), args...) //nolint:rowserrcheck // scanAll asks
	if err != nil {
		return err
	}
	defer rs.Close()
	return scanAll(rs, each)
}

// single lets one statement through.
type single struct {
	conn
	used bool
}

func (s *single) exec(query string, args []any) (int64, error) {
	if s.used {
		return 0, errSecond
	}
	s.used = true
	return s.conn.exec(query, args)
}

func (s *single) rows(query string, args []any, each func(scan func(...any) error) error) error {
	if s.used {
		return errSecond
	}
	s.used = true
	return s.conn.rows(query, args, each)
}

func (s *single) later(query string, args []any) error {
	_, err := s.exec(query, args)
	return err
}
