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
	"strings"
	"time"

	"modernc.org/sqlite"
)

// Options say which database and how.
type Options struct {
	URL         string           // sqlite:PATH
	Synchronous string           // FULL (the zero value) or NORMAL: may lose the last commits on power loss
	Now         func() time.Time // required
}

// Open opens the database and creates the file (mode 0600) and its folder
// (0700) when they are missing. It does not migrate.
func Open(ctx context.Context, o Options) (*DB, error) {
	scheme, path, _ := strings.Cut(o.URL, ":")
	if path == ":memory:" { // every connection would have a database of its own
		return nil, errors.New("store: sqlite::memory: keeps nothing; write sqlite:PATH with the path of a file")
	}
	if scheme != "sqlite" || path == "" {
		return nil, fmt.Errorf("store: %q: this version keeps its data in SQLite; write sqlite:PATH", scheme+":…")
	}
	path = strings.TrimPrefix(path, "//")
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
	if o.Synchronous == "" {
		o.Synchronous = "FULL"
	}
	db := &DB{now: o.Now, path: path, closed: make(chan struct{})}
	// _defensive and _dqs close doors nobody here uses; mmap stays off because
	// every commit by another connection drops the mapping.
	base := "file:" + (&url.URL{Path: path}).EscapedPath() + "?_busy_timeout=5000&_journal_mode=WAL&_synchronous=" + o.Synchronous +
		"&_foreign_keys=1&_dqs=0&_pragma=cache_size(-4000)"
	w, err := sqliteConn(ctx, db, base+"&_txlock=immediate")
	if err != nil {
		return nil, errors.Join(err, db.closeConns())
	}
	n := max(4, runtime.NumCPU())
	db.readers = make(chan *conn, n)
	for range n {
		c, err := sqliteConn(ctx, db, base+"&_query_only=1")
		if err != nil {
			return nil, errors.Join(err, db.closeConns())
		}
		db.readers <- c
	}
	db.writer = startWriter(w)
	return db, nil
}

func sqliteConn(ctx context.Context, db *DB, dsn string) (*conn, error) {
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
	db.conns = append(db.conns, &conn{pool: pool, c: c, stmts: map[string]*sql.Stmt{}})
	return db.conns[len(db.conns)-1], nil
}

// isDuplicate tells a broken unique rule: SQLITE_CONSTRAINT_PRIMARYKEY,
// SQLITE_CONSTRAINT_UNIQUE.
func isDuplicate(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && (e.Code() == 1555 || e.Code() == 2067)
}
