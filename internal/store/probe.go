package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

var (
	// ErrOutdated reports tables that wait for a migration.
	ErrOutdated = errors.New("store: the database needs migration")
	// ErrReadOnly reports a database that takes no writes, such as a standby.
	ErrReadOnly = errors.New("store: the database takes no writes")
)

// Probe asks a database whether it can do its work now.
type Probe struct {
	db     *DB
	newest int64
	oldest string // the statement that tells how far the tables are
}

// Probe returns a new one.
func (db *DB) Probe() *Probe {
	p := &Probe{db: db, oldest: `SELECT COALESCE(MAX(version_id), 0) FROM ` + db.names.table("schema_migrations")}
	names, err := fs.Glob(db.history(), "*.sql")
	if err != nil {
		panic(err) // of the pattern alone
	}
	for _, name := range names {
		number, _, _ := strings.Cut(name, "_")
		n, err := strconv.ParseInt(number, 10, 64)
		if err == nil {
			p.newest = max(p.newest, n)
		}
	}
	return p
}

// Ask returns nil, ErrOutdated, ErrReadOnly, or why the database cannot be
// asked; and how long the delivery that is due longest has been. It costs two
// statements and a write that changes nothing.
func (p *Probe) Ask(ctx context.Context) (lag time.Duration, err error) {
	err = p.db.Read(ctx, TenantID{}, func(tx *Tx) error {
		var at int64
		err := tx.row(p.oldest, nil, &at)
		if err != nil {
			return err
		}
		if at < p.newest {
			return fmt.Errorf("%w: it is at %d, this program at %d", ErrOutdated, at, p.newest)
		}
		due, err := tx.NextDelivery()
		if err == nil && !due.IsZero() {
			lag = max(0, tx.Now.Sub(due))
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	err = p.db.WriteOne(ctx, TenantID{}, func(tx *Tx) error {
		_, err := tx.Lease("no job", Holder{}, 0)
		return err
	})
	if err != nil && readOnly(err) {
		err = fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	return lag, err
}

// readOnly tells the errors of a database that may not be written from others
// of those that are not available.
func readOnly(err error) bool {
	number := mysqlNumber(err)
	return sqlState(err) == "25006" || number == 1290 || number == 1836 || sqliteCode(err)&0xff == 8
}
