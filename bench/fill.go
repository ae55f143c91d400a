package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	_ "modernc.org/sqlite" // named "sqlite"
)

const (
	rowsAStatement   = 200    // few enough for SQLite's 32,766 parameters and MySQL's 65,535
	rowsATransaction = 50_000 // of InnoDB
)

const sqliteWhileLoading = "?_pragma=journal_mode(OFF)&_pragma=synchronous(OFF)&_pragma=locking_mode(EXCLUSIVE)&_pragma=cache_size(-1000000)"

// notEmpty refuses a database in which the load would meet others.
func notEmpty(people int) error {
	if people == 0 {
		return nil
	}
	return fmt.Errorf("there are %d users in it already: a load is for a database that `gatehouse migrate` has just made", people)
}

// loadResult is what a load has put into a database.
type loadResult struct {
	Engine   string        `json:"engine"`
	People   int           `json:"people"`
	Sessions int           `json:"sessions"`
	Took     time.Duration `json:"took_ns"`
}

// fill puts a crowd into an empty database that `gatehouse migrate` has made:
// sqlite:PATH, postgres://… or mysql://…. Half a load is left as it is when it
// fails. While it runs nobody else may use the database, least of all a
// Gatehouse: the rules the engine would check for each row are suspended.
func fill(ctx context.Context, address string, c *crowd) (*loadResult, error) {
	began := time.Now()
	scheme, _, _ := strings.Cut(address, ":")
	var err error
	switch scheme {
	case "sqlite":
		err = fillSQLite(ctx, strings.TrimPrefix(strings.TrimPrefix(address, "sqlite:"), "//"), c)
	case "postgres", "postgresql":
		scheme = "postgres"
		err = fillPostgres(ctx, address, c)
	case "mysql":
		err = fillMySQL(ctx, address, c)
	default:
		return nil, fmt.Errorf("cannot load into %q: write sqlite:PATH, postgres://user@host/database or mysql://user@host/database", scheme+":…")
	}
	if err != nil {
		return nil, fmt.Errorf("load: %s: %w", scheme, err)
	}
	return &loadResult{Engine: scheme, People: c.people, Sessions: sessionsEach * c.people, Took: time.Since(began)}, nil
}

// fillPostgres loads by COPY in the order of age, in which rows lie in earnest.
func fillPostgres(ctx context.Context, address string, c *crowd) error {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing of it is lost any more
	var people int
	if err := conn.QueryRow(ctx, "SELECT COUNT(*) FROM users").Scan(&people); err != nil {
		return err
	}
	if err := notEmpty(people); err != nil {
		return err
	}
	// References are not looked up for each row; only a superuser may say so, and
	// for others it is no more than slower.
	_, _ = conn.Exec(ctx, "SET session_replication_role = replica")
	for _, t := range loadTables() {
		i, rows := 0, t.rows(c)
		next := func() ([]any, error) {
			if i == rows {
				return nil, nil
			}
			i++
			return t.at(c, i-1, false), nil
		}
		if _, err := conn.CopyFrom(ctx, pgx.Identifier{t.name}, t.names(), pgx.CopyFromFunc(next)); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return nil
}

// fillMySQL loads by inserts of many rows, in the order of the key by which
// InnoDB keeps them.
func fillMySQL(ctx context.Context, address string, c *crowd) error {
	cfg, err := mysqlConfig(address)
	if err != nil {
		return err
	}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return err
	}
	return onOneConn(ctx, sql.OpenDB(connector), func(conn *sql.Conn) error {
		if _, err := conn.ExecContext(ctx, "SET SESSION foreign_key_checks = 0, unique_checks = 0"); err != nil {
			return err
		}
		return insertAll(ctx, conn, c, rowsATransaction)
	})
}

// mysqlConfig reads mysql://user:password@host:port/database.
func mysqlConfig(address string) (*mysql.Config, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("it is not a URL")
	}
	cfg := mysql.NewConfig()
	cfg.User, cfg.Net, cfg.Addr, cfg.DBName = u.User.Username(), "tcp", u.Host, strings.TrimPrefix(u.Path, "/")
	cfg.Passwd, _ = u.User.Password()
	if u.Port() == "" {
		cfg.Addr = net.JoinHostPort(u.Hostname(), "3306")
	}
	if cfg.DBName == "" {
		return nil, errors.New("it names no database: write mysql://user@host/database")
	}
	return cfg, nil
}

// fillSQLite loads in one transaction without a journal: half a load is good
// for nothing anyway.
func fillSQLite(ctx context.Context, path string, c *crowd) error {
	if _, err := os.Stat(path); err != nil {
		return err // SQLite would make an empty file
	}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+sqliteWhileLoading)
	if err != nil {
		return err
	}
	err = onOneConn(ctx, db, func(conn *sql.Conn) error {
		if err := insertAll(ctx, conn, c, sessionsEach*c.people); err != nil {
			return err
		}
		_, err := conn.ExecContext(ctx, "PRAGMA journal_mode = WAL") // as it was
		return err
	})
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close()) // not while something is measured
}

// onOneConn hands out one connection of a pool, and closes both.
func onOneConn(ctx context.Context, db *sql.DB, use func(*sql.Conn) error) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	return errors.Join(use(conn), conn.Close(), db.Close())
}

// insertAll fills all tables, with a commit after so many rows.
func insertAll(ctx context.Context, conn *sql.Conn, c *crowd, commit int) error {
	var people int
	if err := conn.QueryRowContext(ctx, "SELECT COUNT(*) FROM users").Scan(&people); err != nil {
		return err
	}
	if err := notEmpty(people); err != nil {
		return err
	}
	for _, t := range loadTables() {
		rows := t.rows(c)
		for from := 0; from < rows; from += commit {
			if err := insertSome(ctx, conn, t, c, from, min(from+commit, rows)); err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
		}
	}
	return nil
}

// insertSome inserts some rows of one table in one transaction.
func insertSome(ctx context.Context, conn *sql.Conn, t *loadTable, c *crowd, from, to int) error {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // of what was committed it takes nothing back
	var stmt *sql.Stmt                   // closed with tx; two at most, for the last may be shorter
	prepared := 0                        // rows of stmt
	var args []any
	for from < to {
		n := min(rowsAStatement, to-from)
		if n != prepared {
			if stmt, err = tx.PrepareContext(ctx, insertStatement(t, n)); err != nil {
				return err
			}
			prepared = n
		}
		args = args[:0]
		for range n {
			args = append(args, t.at(c, from, true)...)
			from++
		}
		if _, err := stmt.ExecContext(ctx, args...); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// insertStatement inserts n rows at once.
func insertStatement(t *loadTable, n int) string {
	row := "(" + strings.TrimSuffix(strings.Repeat("?,", len(t.names())), ",") + ")"
	return "INSERT INTO " + t.name + " (" + strings.Join(t.names(), ", ") + ") VALUES " + strings.TrimSuffix(strings.Repeat(row+",", n), ",")
}
