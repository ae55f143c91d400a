package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"net/url"

	"github.com/pressly/goose/v3"
)

//go:embed migrations
var migrations embed.FS

// Migration is one step of the schema's history.
type Migration struct {
	Version int64  `json:"version"`
	Name    string `json:"name"`
	Applied bool   `json:"applied"`
}

// Migrate brings the schema up to date and returns what it applied. A file
// that has run anywhere is never edited.
func (db *DB) Migrate(ctx context.Context) ([]Migration, error) {
	var applied []Migration
	err := db.goose(ctx, func(p *goose.Provider) error {
		rs, err := p.Up(ctx)
		if err != nil { // another process may have been at it: then there is nothing left to do
			rs, err = p.Up(ctx)
		}
		for _, r := range rs {
			applied = append(applied, Migration{r.Source.Version, r.Source.Path, true})
		}
		return err
	})
	return applied, err
}

// Migrations lists every step and whether this database has it.
func (db *DB) Migrations(ctx context.Context) ([]Migration, error) {
	var all []Migration
	err := db.goose(ctx, func(p *goose.Provider) error {
		rs, err := p.Status(ctx)
		for _, r := range rs {
			all = append(all, Migration{r.Source.Version, r.Source.Path, r.State == goose.StateApplied})
		}
		return err
	})
	return all, err
}

// goose runs f on a connection of its own: the writer's belongs to the writer.
func (db *DB) goose(ctx context.Context, f func(*goose.Provider) error) error {
	dir, err := fs.Sub(migrations, "migrations/sqlite")
	if err != nil {
		return err
	}
	pool, err := sql.Open("sqlite", "file:"+(&url.URL{Path: db.path}).EscapedPath()+"?_busy_timeout=5000&_foreign_keys=1&_txlock=immediate")
	if err != nil {
		return err
	}
	defer pool.Close()
	pool.SetMaxOpenConns(1)
	err = db.ours(ctx, pool)
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, pool, dir,
		goose.WithDisableGlobalRegistry(true), goose.WithTableName("schema_migrations"))
	if err != nil {
		return fmt.Errorf("store: migrations: %w", err)
	}
	at, err := p.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("store: migrations: %w", err)
	}
	sources := p.ListSources()
	if newest := sources[len(sources)-1].Version; at > newest {
		return fmt.Errorf("store: the database is at migration %d and this version knows %d: it was written by a newer Gatehouse; run that, or put a backup back", at, newest)
	}
	err = f(p)
	if err != nil {
		return fmt.Errorf("store: migrate: %w", err)
	}
	return nil
}

// ours refuses a file that another program keeps its tables in.
func (db *DB) ours(ctx context.Context, pool *sql.DB) error {
	var tables, known int
	err := pool.QueryRowContext(ctx, `SELECT COUNT(*), COALESCE(SUM(CASE WHEN name = 'schema_migrations' THEN 1 ELSE 0 END), 0) FROM sqlite_master WHERE type = 'table'`).Scan(&tables, &known)
	if err != nil {
		return fmt.Errorf("store: %s cannot be read as an SQLite database: %w", db.path, err)
	}
	if tables > 0 && known == 0 {
		return fmt.Errorf("store: %s holds the tables of another program; name another file in DATABASE_URL", db.path)
	}
	return nil
}
