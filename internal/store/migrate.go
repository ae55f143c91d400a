package store

import (
	"bytes"
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/url"
	"path"
	"strconv"
	"strings"
	"testing/fstest"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations
var migrations embed.FS

// Migration is one step of the schema's history.
type Migration struct {
	Version int64  `json:"version"`
	Name    string `json:"name"`
	Applied bool   `json:"applied"`
}

// oldestBeside is the newest migration an older program must know to serve
// beside this one, on this one's schema. A change that older programs could
// not live with raises it; all others first add, and take away a version later
// (expand, then contract), so that nodes may be replaced one by one.
const oldestBeside = 1

// floorName is the value that keeps the highest oldestBeside of all programs
// that migrated this database.
const floorName = "oldest schema beside"

// safeToUndo begins the migrations that lose nothing when they are undone.
const safeToUndo = "-- Safe to undo"

// Migrate brings the schema up to date and returns what it applied. Of several
// nodes that do so at one instant one works and the others wait; what a killed
// one left is taken up after its lease has run out, within 15 s. A file that
// has run anywhere is never edited.
func (db *DB) Migrate(ctx context.Context) ([]Migration, error) {
	var applied []Migration
	err := db.goose(ctx, true, func(p *goose.Provider, pool *sql.DB) error {
		var rs []*goose.MigrationResult
		up := func() error {
			more, err := p.Up(ctx)
			rs = append(rs, more...)
			if part, ok := errors.AsType[*goose.PartialError](err); ok {
				rs = append(rs, part.Applied...) // what came before the step that failed is done
			}
			return err
		}
		err := up()
		if err != nil && strings.Contains(err.Error(), "missing zero version") {
			err = db.beginHistory(ctx, pool)
			if err == nil {
				err = up()
			}
		}
		for range p.ListSources() {
			if err == nil || db.name != "sqlite" {
				break
			}
			err = up() // another process is at it too, and may have been quicker at each step
		}
		for range maxRaces {
			if db.judge(err) != raced {
				break
			}
			err = up() // past what those who serve stood in the way of
		}
		for _, r := range rs {
			applied = append(applied, Migration{r.Source.Version, path.Base(r.Source.Path), true})
		}
		if err != nil {
			return err
		}
		return db.raiseFloor(ctx, pool)
	})
	return applied, err
}

// beginHistory puts the first row into a history that was made without it. The
// table and the row are two statements, and MySQL keeps the one when whoever
// made it was killed before the other.
func (db *DB) beginHistory(ctx context.Context, pool *sql.DB) error {
	table := db.names.table("schema_migrations")
	_, err := pool.ExecContext(ctx, `INSERT INTO `+table+` (version_id, is_applied) SELECT 0, TRUE FROM (SELECT 1) one WHERE NOT EXISTS (SELECT 1 FROM `+table+`)`)
	if err != nil && db.judge(err) == raced { // with another node that puts it there
		return nil
	}
	return err
}

// Migrations lists every step and whether this database has it. It waits for
// nobody who migrates.
func (db *DB) Migrations(ctx context.Context) ([]Migration, error) {
	var all []Migration
	err := db.goose(ctx, false, func(p *goose.Provider, pool *sql.DB) error {
		known, err := db.ours(ctx, pool)
		if err != nil || !known { // nothing is there, and looking makes nothing
			for _, s := range p.ListSources() {
				all = append(all, Migration{s.Version, path.Base(s.Path), false})
			}
			return err
		}
		rs, err := p.Status(ctx)
		for _, r := range rs {
			all = append(all, Migration{r.Source.Version, path.Base(r.Source.Path), r.State == goose.StateApplied})
		}
		return err
	})
	return all, err
}

// StepDown undoes the newest migration, if that loses nothing. Every node must
// run a program that does not need it.
func (db *DB) StepDown(ctx context.Context) (undone Migration, err error) {
	err = db.goose(ctx, true, func(p *goose.Provider, _ *sql.DB) error {
		at, err := p.GetDBVersion(ctx)
		if err != nil {
			return err
		}
		for _, s := range p.ListSources() {
			if s.Version != at {
				continue
			}
			text, err := fs.ReadFile(db.history(), s.Path)
			if err != nil {
				return err
			}
			if !bytes.HasPrefix(text, []byte(safeToUndo)) {
				return fmt.Errorf("%s cannot be undone without losing data; put a backup back instead", path.Base(s.Path))
			}
			r, err := p.Down(ctx)
			for range maxRaces {
				if db.judge(err) != raced {
					break
				}
				r, err = p.Down(ctx)
			}
			if err == nil {
				undone = Migration{r.Source.Version, path.Base(r.Source.Path), false}
			}
			return err
		}
		return fmt.Errorf("the database is at migration %d, which this version does not know; the version that made it can undo it", at)
	})
	return undone, err
}

// history is this engine's migrations, with the names of this database.
func (db *DB) history() fs.FS {
	all := fstest.MapFS{}
	dir := "migrations/" + db.name
	files, err := migrations.ReadDir(dir)
	if err != nil {
		panic(err) // they are part of the program
	}
	for _, f := range files {
		text, err := migrations.ReadFile(dir + "/" + f.Name())
		if err != nil {
			panic(err)
		}
		all[f.Name()] = &fstest.MapFile{Data: text}
	}
	coming(db.name, all)
	for name, text := range db.above {
		all[name] = &fstest.MapFile{Data: []byte(text)}
	}
	unnumbered := db.names
	unnumbered.number = false
	for _, f := range all {
		f.Data = []byte(unnumbered.translate(string(f.Data)))
	}
	return all
}

// goose runs f on connections of its own; to change the schema it does so
// alone.
func (db *DB) goose(ctx context.Context, change bool, f func(*goose.Provider, *sql.DB) error) error {
	pool, err := db.engine.migrations()
	if err != nil {
		return err
	}
	defer pool.Close()
	known, err := db.ours(ctx, pool)
	if err != nil {
		return err
	}
	options := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true), goose.WithTableName(db.names.table("schema_migrations"))}
	if change {
		err = db.makeSchema(ctx, pool)
		if err == nil {
			options, err = db.alone(options)
		}
		if err != nil {
			return err
		}
	}
	p, err := goose.NewProvider(db.dialect.goose, pool, db.history(), options...)
	if err != nil {
		return fmt.Errorf("store: migrations: %w", err)
	}
	if known {
		err = db.beside(ctx, pool, p)
		if err != nil {
			return err
		}
	}
	err = f(p, pool)
	if err != nil {
		return fmt.Errorf("store: migrate: %w", err)
	}
	return nil
}

// alone adds the lock that lets one node migrate at a time: a row with a lease
// and a heartbeat. It is no lock of a session, which a pooler between would
// leave with somebody else and CockroachDB only pretends to have.
func (db *DB) alone(options []goose.ProviderOption) ([]goose.ProviderOption, error) {
	const (
		lease, beat = 10 * time.Second, 2 * time.Second
		look        = 250 * time.Millisecond
		looks       = 480 // two minutes
	)
	o := []lock.TableLockerOption{
		lock.WithTableName(db.names.table("schema_lock")), lock.WithTableLeaseDuration(lease), lock.WithTableHeartbeatInterval(beat),
		lock.WithTableLockTimeout(look, looks), lock.WithTableUnlockTimeout(look, 20), lock.WithTableLogger(slog.New(slog.DiscardHandler)),
	}
	var l lock.Locker
	var err error
	switch db.name {
	case "postgres":
		l, err = lock.NewPostgresTableLocker(o...)
	case "mysql":
		l, err = lock.NewMySQLTableLocker(o...)
	default: // SQLite has one writer anyway
		return options, nil
	}
	return append(options, goose.WithLocker(l)), err
}

// ours reports whether a history of ours is there, and refuses tables of
// another program under our names.
func (db *DB) ours(ctx context.Context, pool *sql.DB) (known bool, err error) {
	there, err := db.engine.tablesThere(ctx, pool)
	if err != nil {
		return false, err
	}
	history := db.historyTable()
	if there[history] { // Supabase Auth has one of that name
		var steps int
		err := pool.QueryRowContext(ctx, `SELECT COUNT(version_id) FROM `+db.names.table("schema_migrations")).Scan(&steps)
		if err == nil { // empty: who made it was killed before it went on
			return steps > 0, nil
		}
	}
	for t := range there {
		_, mine := strings.CutPrefix(t, strings.TrimSuffix(db.names.prefix, "."))
		name := strings.TrimPrefix(t, db.names.prefix)
		if db.name == "sqlite" && db.names.prefix == "" || t == history || mine && tables[name] || tables[t] && !db.names.indexed() {
			return false, errors.New("store: " + db.engine.place() + " holds the tables of another program (" + t + "); name another database in DATABASE_URL, or give ours a prefix with DB_NAMESPACE")
		}
	}
	return false, nil
}

// makeSchema makes the schema the namespace names, if it is not there: to make
// one takes a right that the owner of one need not have.
func (db *DB) makeSchema(ctx context.Context, pool *sql.DB) error {
	if db.names.indexed() {
		return nil
	}
	name := strings.TrimSuffix(db.names.prefix, ".")
	there, err := column(ctx, pool, `SELECT nspname FROM pg_namespace WHERE nspname = $1`, name)
	if err == nil && !there[name] {
		_, err = pool.ExecContext(ctx, `CREATE SCHEMA IF NOT EXISTS `+name)
	}
	if err != nil {
		return fmt.Errorf("store: schema: %w", err)
	}
	return nil
}

// historyTable is the name of the table of the history, without its schema.
func (db *DB) historyTable() string {
	name := db.names.table("schema_migrations")
	return name[strings.LastIndexByte(name, '.')+1:]
}

// beside refuses a schema that is newer than this program can serve on.
func (db *DB) beside(ctx context.Context, pool *sql.DB, p *goose.Provider) error {
	at, err := p.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("store: migrations: %w", err)
	}
	sources := p.ListSources()
	newest := sources[len(sources)-1].Version
	if at <= newest {
		return nil
	}
	floor, err := db.floor(ctx, pool)
	if err != nil {
		return err
	}
	if floor == 0 || floor > newest {
		return fmt.Errorf("store: the database is at migration %d and this version knows %d: it was written by a newer Gatehouse; run that, or put a backup back", at, newest)
	}
	return nil
}

func (db *DB) floor(ctx context.Context, pool *sql.DB) (int64, error) {
	var text []byte
	err := pool.QueryRowContext(ctx, db.names.say(`SELECT value FROM server_values WHERE name = ?`), floorName).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("store: migrations: %w", err)
	}
	return strconv.ParseInt(string(text), 10, 64)
}

func (db *DB) raiseFloor(ctx context.Context, pool *sql.DB) error {
	text := strconv.AppendInt(nil, oldestBeside, 10)
	for range maxRaces {
		at, err := db.floor(ctx, pool)
		if err != nil || at >= oldestBeside {
			return err
		}
		query, args := `INSERT INTO server_values (value, name) VALUES (?, ?)`, []any{text, floorName}
		if at > 0 { // only while it is the one that was read: it must never sink
			query, args = `UPDATE server_values SET value = ? WHERE name = ? AND value = ?`, append(args, strconv.AppendInt(nil, at, 10))
		}
		_, err = pool.ExecContext(ctx, db.names.say(query), args...)
		if err != nil && !db.duplicate(err) {
			return err
		}
	}
	return errors.New("the value " + floorName + " is never at rest")
}

func (db *sqliteDB) place() string { return db.path }

func (db *sqliteDB) migrations() (*sql.DB, error) {
	pool, err := sql.Open("sqlite", "file:"+(&url.URL{Path: db.path}).EscapedPath()+"?_busy_timeout=5000&_foreign_keys=1&_txlock=immediate")
	if err == nil {
		pool.SetMaxOpenConns(1)
	}
	return pool, err
}

func (db *sqliteDB) tablesThere(ctx context.Context, pool *sql.DB) (map[string]bool, error) {
	there, err := column(ctx, pool, `SELECT name FROM sqlite_master WHERE type = 'table'`)
	if err != nil {
		return nil, fmt.Errorf("store: %s cannot be read as an SQLite database: %w", db.path, err)
	}
	return there, nil
}

func (db *postgresDB) place() string { return "the database " + db.config.Database }

// migrations has no limit of time for a statement, and keeps nothing at the
// server, so that it may go through a pooler.
func (db *postgresDB) migrations() (*sql.DB, error) {
	c := db.config.Copy()
	c.DefaultQueryExecMode = pooled
	return stdlib.OpenDB(*c), nil
}

func (db *postgresDB) tablesThere(ctx context.Context, pool *sql.DB) (map[string]bool, error) {
	query, args := `SELECT tablename FROM pg_tables WHERE schemaname = current_schema()`, []any(nil)
	if !db.names.indexed() {
		query, args = `SELECT tablename FROM pg_tables WHERE schemaname = $1`, []any{strings.TrimSuffix(db.names.prefix, ".")}
	}
	there, err := column(ctx, pool, query, args...)
	if err != nil {
		return nil, fmt.Errorf("store: postgres: %w", err)
	}
	return there, nil
}

func (db *mysqlDB) place() string { return "the database " + db.config.DBName }

func (db *mysqlDB) migrations() (*sql.DB, error) {
	cfg := db.config.Clone()
	cfg.ParseTime = true // for the history's own column
	// To change a table that another refers to, MariaDB waits for those who are at
	// either, who may be waiting for it; it sees that only by the time. The one
	// that migrates gives way, soon, and tries again.
	cfg.Params = maps.Clone(cfg.Params)
	cfg.Params["innodb_lock_wait_timeout"] = "2"
	c, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, fmt.Errorf("store: mysql: %w", err)
	}
	return sql.OpenDB(c), nil
}

func (db *mysqlDB) tablesThere(ctx context.Context, pool *sql.DB) (map[string]bool, error) {
	there, err := column(ctx, pool, `SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()`)
	if err != nil {
		return nil, fmt.Errorf("store: mysql: %w", err)
	}
	return there, nil
}

// column returns a set of names.
func column(ctx context.Context, pool *sql.DB, query string, args ...any) (map[string]bool, error) {
	rs, err := pool.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rs.Close()
	names := map[string]bool{}
	for rs.Next() {
		var n string
		err := rs.Scan(&n)
		if err != nil {
			return nil, err
		}
		names[n] = true
	}
	return names, rs.Err()
}
