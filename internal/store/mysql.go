package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/pressly/goose/v3"
)

var mysqlDialect = &dialect{
	name: "mysql", goose: goose.DialectMySQL,
	// Into a variable, because a result of its own would be taken for the answer
	// of the statement after it.
	holdFirst:  `SELECT 1 INTO @held FROM users u WHERE u.tenant_id = ? AND % FOR UPDATE`,
	claim:      ` FOR UPDATE SKIP LOCKED`,
	by:         ` FORCE KEY (%)`,
	orHold:     ` ON DUPLICATE KEY UPDATE n = n`,
	countUsers: `INSERT INTO user_counts (tenant_id, slot, n) VALUES (?, ?, ?) ON DUPLICATE KEY UPDATE n = n + VALUES(n)`,
	asText:     `%`,
	clock:      `SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)`,
	verdict:    mysqlVerdict,
	duplicate:  func(err error) bool { return mysqlNumber(err) == 1062 },
}

// mysqlVerdict reads the number of an error (MySQL 8.0 Error Reference).
func mysqlVerdict(err error) verdict {
	switch mysqlNumber(err) {
	case 0:
	case 1213, 1205, 1020, // deadlock, a lock that did not come in time, a row that changed
		8002, 8022, 8028, 9007: // TiDB: the commit met another, or a change of the schema
		return raced
	case 1053, 1047, 1927, 1290, 1836: // going down, not in the cluster, killed, read-only
		return cutOff
	case 3024, 1969, 1317, 3, 1021, 1026, 1030, 1114, 1040, 1203, 1037, 1041, // took too long, full, too many, out of memory
		9001, 9002, 9003, 9004, 9005: // TiDB: a part of it does not answer
		return lost
	default:
		return final
	}
	var network net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return lost
	case errors.Is(err, driver.ErrBadConn), errors.Is(err, mysql.ErrInvalidConn), errors.Is(err, io.EOF), errors.As(err, &network):
		return cutOff
	}
	return final
}

func mysqlNumber(err error) uint16 {
	var e *mysql.MySQLError
	if errors.As(err, &e) {
		return e.Number
	}
	return 0
}

// mysqlDB is a pool of connections to MySQL or MariaDB.
type mysqlDB struct {
	pool   *sql.DB
	config *mysql.Config // for migrations
	names  names
	limits timeouts

	prepared sync.Map // text → *sql.Stmt; texts are constants, so that there are few
}

func openMySQL(ctx context.Context, o Options, n names) (engine, error) {
	cfg, err := mysqlConfig(o.URL)
	if err != nil {
		return nil, err
	}
	db := &mysqlDB{config: cfg.Clone(), names: n, limits: timeouts{o.StatementTimeout, o.LockTimeout, o.TransactionTimeout}}
	cfg.InterpolateParams = true // one round trip a statement of a transaction
	cfg.MultiStatements = true   // what was put off goes with what must answer
	if cfg.Timeout == 0 {
		cfg.Timeout = o.StatementTimeout
	}
	c, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, fmt.Errorf("store: DATABASE_URL: %w", err)
	}
	db.pool = sql.OpenDB(&bounded{Connector: c, limits: db.limits})
	db.pool.SetMaxOpenConns(o.MaxConns)
	db.pool.SetMaxIdleConns(o.MaxIdle)
	db.pool.SetConnMaxLifetime(o.ConnLifetime)
	db.pool.SetConnMaxIdleTime(o.ConnIdle)
	ctx, cancel := context.WithTimeout(ctx, 2*o.TransactionTimeout)
	defer cancel()
	err = db.pool.PingContext(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("store: mysql: %w", err), db.pool.Close())
	}
	return db, nil
}

// mysqlConfig reads mysql://user:password@host/database, user@host/database,
// or the driver's own user:password@tcp(host:port)/database?parameters.
func mysqlConfig(raw string) (*mysql.Config, error) {
	if strings.Contains(raw, "strict=") { // at which the parser panics
		return nil, errors.New("store: DATABASE_URL: the parameter strict is no more; leave it out")
	}
	dsn := raw
	if strings.HasPrefix(raw, "mysql://") {
		u, err := url.Parse(raw)
		if err != nil { // which may quote the password
			return nil, errors.New("store: DATABASE_URL: it is not a URL; a password with special characters must be percent-encoded")
		}
		host := u.Host
		if u.Port() == "" {
			host = net.JoinHostPort(u.Hostname(), "3306")
		}
		cfg, err := mysql.ParseDSN("tcp(" + host + ")/" + strings.TrimPrefix(u.EscapedPath(), "/") + "?" + u.RawQuery)
		if err != nil {
			return nil, errors.New("store: DATABASE_URL: the MySQL driver cannot read it; write mysql://user:password@host:3306/database")
		}
		cfg.User = u.User.Username()
		cfg.Passwd, _ = u.User.Password()
		return strict(cfg)
	}
	path, _, _ := strings.Cut(dsn, "?")
	at := strings.LastIndexByte(path, '@')
	if rest := dsn[at+1:]; !strings.Contains(rest, "(") { // root@localhost/gotrue
		host, tail, _ := strings.Cut(rest, "/")
		if !strings.Contains(host, ":") {
			host += ":3306"
		}
		dsn = dsn[:at+1] + "tcp(" + host + ")/" + tail
	}
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, errors.New("store: DATABASE_URL: the MySQL driver cannot read it; write user:password@tcp(host:3306)/database")
	}
	return strict(cfg)
}

// strict makes MySQL behave as the others do: matched rows are counted, not
// changed ones; what does not fit is an error and not cut.
func strict(cfg *mysql.Config) (*mysql.Config, error) {
	if cfg.DBName == "" {
		return nil, errors.New("store: DATABASE_URL names no database; write mysql://user:password@host/database")
	}
	cfg.ClientFoundRows, cfg.Loc, cfg.ParseTime = true, time.UTC, false
	cfg.Logger = &mysql.NopLogger{} // its errors come back to us
	cfg.RejectReadOnly = true       // a primary that has become a replica: another connection finds the new one
	// Values are written into the text of statements; only of UTF-8 can every
	// quote in them be told from the end of the value.
	err := cfg.Apply(mysql.Charset("utf8mb4", "utf8mb4_bin"))
	if err != nil {
		return nil, fmt.Errorf("store: mysql: %w", err)
	}
	for name := range cfg.Params {
		if strings.HasPrefix(name, "character_set") || strings.HasPrefix(name, "collation") {
			return nil, fmt.Errorf("store: DATABASE_URL: %s cannot be set; the connection speaks utf8mb4", name)
		}
	}
	if cfg.Params == nil {
		cfg.Params = map[string]string{}
	}
	cfg.Params["sql_mode"] = "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'"
	cfg.Params["time_zone"] = "'+00:00'"
	return cfg, nil
}

// bounded sets what every connection of the pool has, in one round trip.
type bounded struct {
	driver.Connector
	limits timeouts
}

func (b *bounded) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := b.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	// READ COMMITTED: a snapshot would show a decision what is no longer so.
	// The limit of a statement has another name and unit on each: what stands in
	// /*M! is for MariaDB alone, and what in /*!50708 for MySQL from 5.7.8 on.
	set := fmt.Sprintf(`SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; SET SESSION innodb_lock_wait_timeout = %d /*M! , SESSION max_statement_time = %g */ /*!50708 , SESSION max_execution_time = %d */`,
		int((b.limits.lock+time.Second-1)/time.Second), b.limits.statement.Seconds(), b.limits.statement.Milliseconds())
	_, err = c.(driver.ExecerContext).ExecContext(ctx, set, nil)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (db *mysqlDB) close() error {
	db.prepared.Range(func(_, s any) bool {
		_ = s.(*sql.Stmt).Close() // of a connection that is gone it cannot be
		return true
	})
	err := db.pool.Close()
	if err != nil && strings.HasSuffix(err.Error(), "bad connection") { // gone already; the driver has an error of its own for it
		return nil
	}
	return err
}

func (db *mysqlDB) acquire(ctx context.Context) (*sql.Conn, error) {
	wait, cancel := context.WithTimeout(ctx, db.limits.statement)
	defer cancel()
	c, err := db.pool.Conn(wait)
	if err != nil && errors.Is(closedMySQL(err), errClosed) {
		return nil, errClosed
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("%w, or none can be made: %w", errWaited, err)
	}
	return c, err
}

// read and one make statements that stand alone. These are prepared, each once
// a connection: to read the text of the hot ones and to plan them took MariaDB
// longer than to carry them out. What is under way ends by its own limit and
// not with the caller, as on PostgreSQL.
func (db *mysqlDB) read(ctx context.Context, fn func(conn) error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), db.limits.statement)
	defer cancel()
	return fn(&preparedConn{db, ctx})
}

func (db *mysqlDB) one(ctx context.Context, fn func(conn) error) error {
	return db.read(ctx, func(c conn) error { return unknownMySQL(fn(&single{conn: c})) })
}

// preparedConn is whichever connection is free, for each statement.
type preparedConn struct {
	db  *mysqlDB
	ctx context.Context //nolint:containedctx // that of one operation, which this is
}

func (c *preparedConn) statement(query string) (*sql.Stmt, error) {
	if s, ok := c.db.prepared.Load(query); ok {
		return s.(*sql.Stmt), nil
	}
	s, err := c.db.pool.PrepareContext(c.ctx, c.db.names.say(query))
	if err != nil {
		return nil, err
	}
	first, loaded := c.db.prepared.LoadOrStore(query, s)
	if loaded {
		err = s.Close()
	}
	return first.(*sql.Stmt), err
}

func (c *preparedConn) exec(query string, args []any) (int64, error) {
	s, err := c.statement(query)
	if err != nil {
		return 0, closedMySQL(err)
	}
	res, err := s.ExecContext(c.ctx, args...)
	if err != nil {
		return 0, closedMySQL(duplicateOf(mysqlDialect, err))
	}
	return res.RowsAffected()
}

func (c *preparedConn) later(query string, args []any) error {
	_, err := c.exec(query, args)
	return err
}

func (c *preparedConn) rows(query string, args []any, each func(scan func(...any) error) error) error {
	s, err := c.statement(query)
	if err != nil {
		return closedMySQL(err)
	}
	rs, err := s.QueryContext(c.ctx, args...) //nolint:rowserrcheck // scanAll asks
	if err != nil {
		return closedMySQL(err)
	}
	defer rs.Close()
	return scanAll(rs, each)
}

// closedMySQL tells a pool that was closed from a server that went.
func closedMySQL(err error) error {
	if err.Error() == "sql: database is closed" || err.Error() == "sql: statement is closed" {
		return errClosed
	}
	return err
}

func (db *mysqlDB) write(ctx context.Context, fn func(conn) error) error {
	c, err := db.acquire(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // back into the pool
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), db.limits.transaction)
	defer cancel()
	tx := &mysqlConn{names: db.names, ctx: ctx, c: c}
	tx.put(`START TRANSACTION`, nil)
	committed := false
	defer func() {
		if !committed && tx.begun { // also when fn panics: the next to use the connection must not find it in a transaction
			tx.rollback()
		}
	}()
	err = fn(tx)
	if err == nil {
		err = tx.commit()
	}
	committed = err == nil
	return err
}

// mysqlConn puts statements off and sends them with the next that must answer,
// as one text.
type mysqlConn struct {
	names names
	ctx   context.Context //nolint:containedctx // that of one transaction, which this is
	c     *sql.Conn
	off   []string
	args  []any
	begun bool
}

func (c *mysqlConn) put(query string, args []any) {
	c.off = append(c.off, c.names.say(query))
	c.args = append(c.args, args...)
}

func (c *mysqlConn) later(query string, args []any) error {
	c.put(query, args)
	return nil
}

// take returns all that was put off, and what must answer, as one.
func (c *mysqlConn) take(query string, args []any) (string, []any) {
	if len(c.off) == 0 {
		return c.names.say(query), args
	}
	c.put(query, args)
	text, all := strings.Join(c.off, "; "), c.args
	c.off, c.args, c.begun = nil, nil, true
	return text, all
}

func (c *mysqlConn) exec(query string, args []any) (int64, error) {
	text, all := c.take(query, args)
	res, err := c.c.ExecContext(c.ctx, text, all...)
	if err != nil {
		return 0, duplicateOf(mysqlDialect, err)
	}
	return res.RowsAffected() // of the last
}

func (c *mysqlConn) rows(query string, args []any, each func(scan func(...any) error) error) error {
	text, all := c.take(query, args)
	rs, err := c.c.QueryContext(c.ctx, text, all...) //nolint:rowserrcheck // scanAll asks
	if err != nil {
		return duplicateOf(mysqlDialect, err)
	}
	defer rs.Close()
	return scanAll(rs, each)
}

func (c *mysqlConn) commit() error {
	if !c.begun && len(c.off) == 1 {
		return nil // nothing was asked and nothing is to be done
	}
	_, err := c.exec(`COMMIT`, nil)
	return unknownMySQL(err)
}

// unknownMySQL marks an error that may have come after the commit it was the
// answer to: of the connection, or of a server that goes. A refusal of the
// server to write at all comes before it.
func unknownMySQL(err error) error {
	n := mysqlNumber(err)
	if err == nil || n == 1290 || n == 1836 || mysqlVerdict(err) != cutOff || errors.Is(err, driver.ErrBadConn) || errors.Is(err, ErrDuplicate) {
		return err
	}
	return fmt.Errorf("%w: %w", errUnknown, err)
}

// rollback leaves a connection that others can use, or none.
func (c *mysqlConn) rollback() {
	_, err := c.c.ExecContext(c.ctx, `ROLLBACK`)
	if err != nil {
		_ = c.c.Raw(func(any) error { return driver.ErrBadConn })
	}
}
