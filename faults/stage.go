package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gatehouse/internal/cluster"
)

// The engines, as scenarios and databases name them.
const (
	sqlite   = "sqlite"
	postgres = "postgres"
	mysql    = "mysql"
)

// stage is what all scenarios share: the binary, and one server of each engine,
// started when it is first needed. Only one scenario at a time uses those, so
// nothing is locked.
type stage struct {
	o       options
	dir     string
	servers map[string]*cluster.Server
	next    int // a number for the next database
}

// server returns the shared server of an engine.
func (s *stage) server(ctx context.Context, engine string) (*cluster.Server, error) {
	if srv := s.servers[engine]; srv != nil {
		if srv.PID() != 0 {
			return srv, nil
		}
		return srv, srv.Start(ctx) // an earlier scenario has found it dead, and said so
	}
	start := cluster.Postgres
	if engine == mysql {
		start = cluster.MariaDB
	}
	srv, err := start(ctx, cluster.Options{Dir: filepath.Join(s.dir, engine)})
	if err != nil {
		return nil, err
	}
	s.servers[engine] = srv
	return srv, nil
}

// close stops the servers.
func (s *stage) close() error {
	var err error
	for _, srv := range s.servers {
		err = errors.Join(err, srv.Stop())
	}
	return err
}

// database is one empty database, and for SQLite one empty folder.
type database struct {
	engine string
	url    string
	name   string          // in server
	server *cluster.Server // nil for SQLite
	file   string          // of SQLite
}

func (s *stage) database(ctx context.Context, engine, dir string) (database, error) {
	if engine == sqlite {
		file := filepath.Join(dir, "gatehouse.db")
		return database{engine: engine, url: "sqlite:" + file, file: file}, nil
	}
	srv, err := s.server(ctx, engine)
	if err != nil {
		return database{}, err
	}
	s.next++
	name := fmt.Sprintf("faults%d", s.next)
	err = srv.CreateDatabase(ctx, name)
	return database{engine: engine, url: srv.URL(name), name: name, server: srv}, err
}

// trial is one run of one scenario. Its methods fill in the result.
type trial struct {
	*stage
	dir     string
	res     *result
	closers []func() error
	began   time.Time
}

// scaled is how long a load lasts when the whole run has -minutes instead of
// fifteen.
func (t *trial) scaled(d time.Duration) time.Duration {
	return max(time.Duration(float64(d)*t.o.scale()), 2*time.Second)
}

// rounds is scaled for things that are counted.
func (t *trial) rounds(n int) int { return max(int(float64(n)*t.o.scale()+0.5), 2) }

// atEnd has f called when the trial is over; the last comes first.
func (t *trial) atEnd(f func() error) { t.closers = append(t.closers, f) }

// end calls what atEnd was given.
func (t *trial) end() error {
	var err error
	for i := len(t.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, t.closers[i]())
	}
	t.closers = nil
	return err
}

// broke notes a broken rule.
func (t *trial) broke(format string, args ...any) {
	t.res.Broken = append(t.res.Broken, fmt.Sprintf(format, args...))
}

// expect notes a broken rule unless ok.
func (t *trial) expect(ok bool, format string, args ...any) {
	if !ok {
		t.broke(format, args...)
	}
}

// note adds a figure to the line of the scenario.
func (t *trial) note(format string, args ...any) {
	t.res.Notes = append(t.res.Notes, fmt.Sprintf(format, args...))
}

// folder makes a folder of the trial.
func (t *trial) folder(name string) (string, error) {
	dir := filepath.Join(t.dir, name)
	return dir, os.MkdirAll(dir, 0o700)
}

// newKey makes a master key.
func newKey() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return base64.StdEncoding.EncodeToString(key)
}

// fileName turns a scenario's name into one of a folder.
func fileName(name string) string { return strings.ReplaceAll(name, "/", "-") }
