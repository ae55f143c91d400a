package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"
)

// Options say which database and how. Zero values are good ones.
type Options struct {
	// URL is sqlite:PATH, postgres://user:password@host,host/database,
	// mysql://user:password@host/database or the MySQL driver's own form,
	// user:password@tcp(host)/database.
	URL string
	// Namespace keeps several houses in one database apart: it goes before the
	// name of every table, with an underscore. On PostgreSQL a name that ends
	// with a dot, or is that of a schema there is, names a schema.
	Namespace   string
	Synchronous string // SQLite: FULL (the zero value) or NORMAL: may lose the last commits on power loss

	MaxConns     int           // zero: four for each processor core; SQLite keeps its own number
	MaxIdle      int           // connections kept open while nobody asks, on MySQL; zero: as many as there were. On PostgreSQL ConnIdle alone decides
	ConnLifetime time.Duration // after which a connection is replaced; zero: 30 min
	ConnIdle     time.Duration // after which an unused one is closed; zero: 5 min
	HealthCheck  time.Duration // how often unused ones are looked at; zero: 1 min

	StatementTimeout   time.Duration // zero: 3 s
	LockTimeout        time.Duration // zero: 1 s
	TransactionTimeout time.Duration // all tries of one operation together; zero: 5 s

	Now func() time.Time // required
}

// Open connects to a database, or returns an error that says what to mend. It
// creates an SQLite file (mode 0600) and its folder (0700) when they are
// missing. It does not migrate.
func Open(ctx context.Context, o Options) (*DB, error) {
	o.defaults()
	db := &DB{now: o.Now, limits: timeouts{o.StatementTimeout, o.LockTimeout, o.TransactionTimeout}}
	scheme, _, _ := strings.Cut(o.URL, ":")
	if o.Namespace != "" && !namespace.MatchString(o.Namespace) {
		return nil, fmt.Errorf("store: namespace %q: letters, digits and underscores, at most 30, a letter first", o.Namespace)
	}
	if strings.HasSuffix(o.Namespace, ".") && !isPostgres(o.URL) {
		return nil, fmt.Errorf("store: namespace %q: only PostgreSQL has schemas; leave the dot out", o.Namespace)
	}
	db.names = names{cache: &sync.Map{}}
	// Without quotes PostgreSQL takes names for lower case, and SQLite sees no
	// difference: Shop and shop are one house.
	o.Namespace = strings.ToLower(o.Namespace)
	if o.Namespace != "" {
		db.names.prefix = strings.TrimSuffix(o.Namespace, "_") + "_"
	}
	var err error
	switch {
	case scheme == "sqlite":
		db.dialect = sqliteDialect
		db.engine, err = openSQLite(ctx, o, db.names)
	case isPostgres(o.URL):
		db.dialect = postgresDialect
		db.names.number = true
		db.engine, err = openPostgres(ctx, o, &db.names)
	case scheme == "mysql" || strings.Contains(o.URL, "@") && !strings.Contains(o.URL, "://"):
		db.dialect = mysqlDialect
		db.engine, err = openMySQL(ctx, o, db.names)
	default:
		err = errors.New("store: the URL of the database begins with sqlite:, postgres:// or mysql://")
	}
	if err != nil {
		return nil, err
	}
	return db, nil
}

var namespace = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,29}\.?$`)

func isPostgres(url string) bool {
	return strings.HasPrefix(url, "postgres://") || strings.HasPrefix(url, "postgresql://")
}

func (o *Options) defaults() {
	o.Synchronous = cmp.Or(o.Synchronous, "FULL")
	o.MaxConns = cmp.Or(o.MaxConns, max(4, 4*runtime.GOMAXPROCS(0)))
	o.MaxIdle = cmp.Or(o.MaxIdle, o.MaxConns)
	o.ConnLifetime = cmp.Or(o.ConnLifetime, 30*time.Minute)
	o.ConnIdle = cmp.Or(o.ConnIdle, 5*time.Minute)
	o.HealthCheck = cmp.Or(o.HealthCheck, time.Minute)
	o.StatementTimeout = cmp.Or(o.StatementTimeout, 3*time.Second)
	o.LockTimeout = cmp.Or(o.LockTimeout, time.Second)
	o.TransactionTimeout = cmp.Or(o.TransactionTimeout, 5*time.Second)
}
