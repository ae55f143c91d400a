package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"gatehouse/internal/cluster"
)

// engineNames are what -db takes. mysql is MariaDB, which Debian has.
const engineNames = "sqlite,postgres,mysql"

// clusterSettings are what the database servers are told. Memory holds the
// largest database that is compared, as it should in earnest; no checkpoint
// falls into a measured window by itself. All that makes a commit durable is
// left as it comes. scratch is a folder for temporary tables.
func clusterSettings(engine, scratch string) map[string]string {
	switch engine {
	case "postgres":
		return map[string]string{"shared_buffers": "2GB", "max_wal_size": "32GB", "checkpoint_timeout": "1d"}
	case "mysql":
		// A MariaDB that starts deletes all it takes for its own leftovers in the
		// folder of temporary tables; in one that two share, the other crashes.
		return map[string]string{"innodb-buffer-pool-size": "4G", "innodb-log-file-size": "4G", "tmpdir": scratch}
	}
	return nil
}

// newScratch makes a folder that the database server's account can write to.
func newScratch(folder string) (string, error) {
	scratch := folder + "-scratch"
	if err := os.MkdirAll(scratch, 0o700); err != nil {
		return "", err
	}
	return scratch, os.Chmod(scratch, 0o777|os.ModeSticky)
}

// An engine is a kind of database and, where it needs one, a throw-away server
// of it: durable, with nothing in it.
type engine struct {
	name    string
	version string
	server  *cluster.Server // nil for SQLite, which lives in Gatehouse's own process
}

// startEngine starts the server of an engine on the empty folder.
func startEngine(ctx context.Context, name, folder string) (*engine, error) {
	e := &engine{name: name}
	scratch, err := newScratch(folder)
	if err != nil {
		return nil, err
	}
	o := cluster.Options{Dir: folder, Settings: clusterSettings(name, scratch)}
	switch name {
	case "sqlite":
		return e, nil
	case "postgres":
		e.server, err = cluster.Postgres(ctx, o)
	case "mysql":
		e.server, err = cluster.MariaDB(ctx, o)
	default:
		return nil, fmt.Errorf("no engine %q, only %s", name, engineNames)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	e.version, err = e.server.Query(ctx, "", "SELECT version()")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), e.stop())
	}
	return e, nil
}

// String names the engine and its version.
func (e *engine) String() string {
	if e.version == "" {
		return e.name
	}
	return e.name + " " + e.version
}

// stop ends the server, if there is one.
func (e *engine) stop() error {
	if e.server == nil {
		return nil
	}
	if err := e.server.Stop(); err != nil {
		return fmt.Errorf("%s: %w", e.name, err)
	}
	return nil
}

// A database is an empty one, ready for `gatehouse migrate`.
type database struct {
	*engine
	name string
	url  string // what GATEHOUSE_DATABASE_URL takes
}

// create makes a database; one of SQLite is a file in folder.
func (e *engine) create(ctx context.Context, name, folder string) (*database, error) {
	b := &database{engine: e, name: name}
	if e.server == nil {
		b.url = "sqlite:" + filepath.Join(folder, "data", "gatehouse.db")
		return b, nil
	}
	if err := e.server.CreateDatabase(ctx, name); err != nil {
		return nil, fmt.Errorf("%s: %w", e.name, err)
	}
	b.url = e.server.URL(name)
	return b, nil
}

// cpu returns what all processes of the database server have used so far, 0
// when it has none.
func (b *database) cpu() (time.Duration, error) {
	if b == nil || b.server == nil {
		return 0, nil
	}
	return treeTime(b.server.PID())
}

// logged returns how many bytes the database server has ever written into its
// write-ahead log: WAL of PostgreSQL, redo log of InnoDB. 0 when it has none of
// its own.
func (b *database) logged(ctx context.Context) (int64, error) {
	if b == nil || b.server == nil {
		return 0, nil
	}
	question := map[string]string{
		"postgres": `SELECT CAST(CAST(pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0') AS BIGINT) AS TEXT)`,
		"mysql":    `SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'INNODB_LSN_CURRENT'`,
	}[b.engine.name]
	text, err := b.server.Query(ctx, b.name, question)
	if err != nil {
		return 0, fmt.Errorf("%s: how long the log is: %w", b.engine.name, err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: how long the log is: %w", b.engine.name, err)
	}
	return n, nil
}

// checkpoint has PostgreSQL write all changed pages. The first change of each
// page after that puts the whole page into the log. Reports false for engines
// whose log has no such thing.
func (b *database) checkpoint(ctx context.Context) (bool, error) {
	if b.engine.name != "postgres" {
		return false, nil
	}
	return true, b.server.Exec(ctx, b.name, "CHECKPOINT")
}

// settle lets the database finish what a load has left behind, so that it does
// not fall into what is measured next.
func (b *database) settle(ctx context.Context) error {
	switch b.engine.name {
	case "postgres":
		// What autovacuum would do in its own time.
		if err := b.server.Exec(ctx, b.name, "VACUUM (ANALYZE)"); err != nil {
			return fmt.Errorf("postgres: %w", err)
		}
		_, err := b.checkpoint(ctx)
		return err
	case "mysql":
		if err := b.server.Exec(ctx, b.name, "ANALYZE TABLE users, identities, credentials, sessions"); err != nil {
			return fmt.Errorf("mysql: %w", err)
		}
		return b.flush(ctx)
	}
	return nil
}

// flushPatience bounds how long InnoDB may take to write changed pages.
const flushPatience = 5 * time.Minute

// flush has InnoDB write nearly all changed pages, of which it would otherwise
// write a few every second for a long time.
func (b *database) flush(ctx context.Context) error {
	err := b.server.Exec(ctx, "", "SET GLOBAL innodb_io_capacity_max = 100000; SET GLOBAL innodb_io_capacity = 50000; SET GLOBAL innodb_max_dirty_pages_pct = 0")
	if err != nil {
		return fmt.Errorf("mysql: %w", err)
	}
	patience, cancel := context.WithTimeout(ctx, flushPatience)
	defer cancel()
	for {
		text, err := b.server.Query(ctx, "", `SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'INNODB_BUFFER_POOL_PAGES_DIRTY'`)
		if err != nil {
			return fmt.Errorf("mysql: %w", err)
		}
		if n, err := strconv.Atoi(strings.TrimSpace(text)); err != nil || n < 100 {
			break // a server that does not tell is not waited for
		}
		select {
		case <-patience.Done():
			return fmt.Errorf("mysql: changed pages are not written within %v", flushPatience)
		case <-time.After(100 * time.Millisecond):
		}
	}
	err = b.server.Exec(ctx, "", "SET GLOBAL innodb_max_dirty_pages_pct = DEFAULT; SET GLOBAL innodb_io_capacity = DEFAULT; SET GLOBAL innodb_io_capacity_max = DEFAULT")
	if err != nil {
		return fmt.Errorf("mysql: %w", err)
	}
	return nil
}
