package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pressly/goose/v3"
)

var postgresDialect = &dialect{
	name: "postgres", goose: goose.DialectPostgres,
	holdFirst:  `SELECT 1 FROM users u WHERE u.tenant_id = ? AND % FOR NO KEY UPDATE`,
	claim:      ` FOR UPDATE SKIP LOCKED`,
	orHold:     ` ON CONFLICT (tenant_id, name, subject) DO UPDATE SET n = 0 WHERE FALSE`,
	orPass:     ` ON CONFLICT DO NOTHING`,
	countUsers: `INSERT INTO user_counts AS c (tenant_id, slot, n) VALUES (?, ?, ?) ON CONFLICT (tenant_id, slot) DO UPDATE SET n = c.n + excluded.n`,
	asText:     `%`,
	clock:      `SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)`,
	verdict:    postgresVerdict,
	duplicate:  func(err error) bool { return sqlState(err) == "23505" },
}

// raceStates are what others' work makes of ours: serialization failure,
// deadlock, a lock that did not come in time; a plan that a migration has made
// old, a prepared statement that is gone.
var raceStates = []string{"40001", "40P01", "55P03", "CR000", "0A000", "26000"}

// cutStates are those of a server that goes, is not there yet, or has become a
// standby: another connection, perhaps to another host, will do. All of class
// 08 is among them: poolers say 08P01 of whatever happens behind them.
var cutStates = []string{"57P01", "57P02", "57P03", "57P05", "25P03", "25006"}

// postgresVerdict reads the SQLSTATE (PostgreSQL, appendix A).
func postgresVerdict(err error) verdict {
	state := sqlState(err)
	switch {
	case slices.Contains(raceStates, state):
		return raced
	case slices.Contains(cutStates, state), strings.HasPrefix(state, "08"):
		return cutOff
	case state == "57014", state == "40003", strings.HasPrefix(state, "53"), strings.HasPrefix(state, "58"):
		return lost // took too long, nobody knows, out of something, its disk
	case state != "":
		return final
	}
	return broken(err)
}

// broken tells an error of the connection from one of the program.
func broken(err error) verdict {
	var network net.Error
	var dial *pgconn.ConnectError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return lost
	case errors.As(err, &network) && network.Timeout():
		return lost
	case errors.As(err, &network), errors.As(err, &dial), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), pgconn.SafeToRetry(err):
		return cutOff
	}
	return final
}

func sqlState(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// postgresDB is a pool of connections to whichever host accepts writes.
type postgresDB struct {
	pool    *pgxpool.Pool
	config  *pgx.ConnConfig // for migrations
	names   *names
	limits  timeouts
	primary primary
	dropped atomic.Int64 // when idle connections were last dropped
}

// pooled is the mode in which nothing is kept at the server between two
// transactions, for which a pooler may choose different ones.
const pooled = pgx.QueryExecModeExec

func openPostgres(ctx context.Context, o Options, n *names) (engine, error) {
	authority, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(o.URL, "postgres://"), "postgresql://"), "/")
	if strings.Count(authority, "@") > 1 { // what stands between them would be taken for a host, and told in errors
		return nil, errors.New("store: DATABASE_URL: an @ in the password is written %40")
	}
	cfg, err := pgxpool.ParseConfig(o.URL)
	if err != nil { // which may quote half a password that was not escaped
		return nil, errors.New("store: DATABASE_URL: PostgreSQL's driver cannot read it; write postgres://user:password@host:5432/database, with special characters of the password escaped")
	}
	db := &postgresDB{names: n, limits: timeouts{o.StatementTimeout, o.LockTimeout, o.TransactionTimeout}}
	cfg.MaxConns, cfg.MaxConnLifetime, cfg.MaxConnIdleTime = int32(o.MaxConns), o.ConnLifetime, o.ConnIdle
	cfg.MinIdleConns, cfg.HealthCheckPeriod, cfg.MaxConnLifetimeJitter = int32(min(o.MaxIdle, 2)), o.HealthCheck, o.ConnLifetime/10
	cfg.ConnConfig.ConnectTimeout = min(cfg.ConnConfig.ConnectTimeout, o.StatementTimeout)
	if cfg.ConnConfig.ConnectTimeout == 0 {
		cfg.ConnConfig.ConnectTimeout = o.StatementTimeout
	}
	// A connection that died in the pool shows itself by its error, and the
	// operation moves to another one: asking it first would cost everybody a
	// round trip.
	cfg.ShouldPing = func(_ context.Context, p pgxpool.ShouldPingParams) bool { return p.IdleDuration > o.ConnIdle }
	db.pinWriter(cfg.ConnConfig)
	through, err := db.look(ctx, cfg.ConnConfig, o.Namespace)
	if err != nil {
		return nil, fmt.Errorf("store: postgres: %w", err)
	}
	db.config = cfg.ConnConfig.Copy()
	if through {
		cfg.ConnConfig.DefaultQueryExecMode = pooled
	} else {
		db.bound(cfg.ConnConfig)
	}
	db.pool, err = pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("store: postgres: %w", err)
	}
	return db, nil
}

// bound has the server itself end what takes too long, so that a statement
// does not go on after its caller has gone, and keep its plans. Of a pooler's
// servers we are not the only user; there the client's own limits have to do.
func (db *postgresDB) bound(c *pgx.ConnConfig) {
	ms := func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
	for name, value := range map[string]string{
		"statement_timeout": ms(db.limits.statement), "lock_timeout": ms(db.limits.lock),
		"idle_in_transaction_session_timeout": ms(db.limits.transaction),
		// Every statement here has one good plan, whatever its values are, and to
		// make it anew costs ten times what it takes to run it.
		"plan_cache_mode": "force_generic_plan",
	} {
		if _, set := c.RuntimeParams[name]; !set {
			c.RuntimeParams[name] = value
		}
	}
}

// pinWriter makes several hosts one writer: a connection is taken only from a
// host that accepts writes and, once a standby was promoted, never again from
// the primary before it, should that come back believing it still is one.
func (db *postgresDB) pinWriter(c *pgx.ConnConfig) {
	if len(c.Fallbacks) == 0 && c.ValidateConnect == nil {
		return
	}
	asked := c.ValidateConnect
	several := slices.ContainsFunc(c.Fallbacks, func(f *pgconn.FallbackConfig) bool { return f.Host != c.Host || f.Port != c.Port })
	if asked == nil && several {
		asked = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	c.ValidateConnect = func(ctx context.Context, pg *pgconn.PgConn) error {
		if asked != nil {
			err := asked(ctx, pg)
			if err != nil {
				return err
			}
		}
		// A promotion begins a new timeline; its number is how a segment of the
		// log begins. Engines that only speak the protocol have none.
		rs, err := pg.Exec(ctx, `SELECT system_identifier, CASE WHEN pg_is_in_recovery() THEN '' ELSE pg_walfile_name(pg_current_wal_lsn()) END FROM pg_control_system()`).ReadAll()
		if err != nil || len(rs) != 1 || len(rs[0].Rows) != 1 || len(rs[0].Rows[0][1]) < 8 {
			return nil //nolint:nilerr // nothing to compare
		}
		timeline, err := strconv.ParseInt(string(rs[0].Rows[0][1][:8]), 16, 64)
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		return db.primary.take(string(rs[0].Rows[0][0]), timeline)
	}
}

// primary is the newest one seen.
type primary struct {
	mu       sync.Mutex // guards both
	cluster  string     // of which database system; another one, put in its place, counts anew
	timeline int64
}

func (p *primary) take(cluster string, timeline int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if cluster == p.cluster && timeline < p.timeline {
		return fmt.Errorf("this primary is of timeline %d, and one of timeline %d has taken its place", timeline, p.timeline)
	}
	p.cluster, p.timeline = cluster, timeline
	return nil
}

// look opens a first connection, to see what is there: whether a pooler stands
// between, and whether the namespace is a schema.
func (db *postgresDB) look(ctx context.Context, c *pgx.ConnConfig, space string) (through bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*db.limits.transaction)
	defer cancel()
	first := c.Copy()
	first.DefaultQueryExecMode = pooled
	conn, err := pgx.ConnectConfig(ctx, first)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close(ctx) }()
	var pid int64
	// A pooler hands out process numbers of its own.
	err = conn.QueryRow(ctx, `SELECT pg_backend_pid()`).Scan(&pid)
	if err != nil {
		return false, err
	}
	through = pid != int64(conn.PgConn().PID())
	if space == "" {
		return through, nil
	}
	schema := strings.TrimSuffix(space, ".")
	if schema == space {
		var tables, schemas int
		err = conn.QueryRow(ctx, `SELECT (SELECT COUNT(*) FROM pg_class WHERE oid = to_regclass($1)), (SELECT COUNT(*) FROM pg_namespace WHERE nspname = $2)`,
			db.names.table("schema_migrations"), schema).Scan(&tables, &schemas)
		if err != nil || tables > 0 || schemas == 0 {
			return through, err
		}
	}
	db.names.prefix = schema + "."
	return through, nil
}

func (db *postgresDB) close() error {
	db.pool.Close()
	return nil
}

// acquire waits for a connection no longer than for a statement.
func (db *postgresDB) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, db.limits.statement)
	defer cancel()
	c, err := db.pool.Acquire(ctx)
	if err != nil && strings.Contains(err.Error(), "closed pool") {
		return nil, errClosed
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("%w, or none can be made: %w", errWaited, err)
	}
	return c, err
}

// noticed drops the idle connections once one of them has shown that its
// server is gone or has become a standby: else each would have to fail by
// itself.
func (db *postgresDB) noticed(err error) {
	if err == nil || postgresVerdict(err) != cutOff {
		return
	}
	last, now := db.dropped.Load(), time.Now().UnixNano() //nolint:forbidigo // not the rows' time
	if now-last > int64(100*time.Millisecond) && db.dropped.CompareAndSwap(last, now) {
		db.pool.Reset()
	}
}

func (db *postgresDB) read(ctx context.Context, fn func(conn) error) error { return db.lend(ctx, fn) }

func (db *postgresDB) one(ctx context.Context, fn func(conn) error) error {
	return db.lend(ctx, func(c conn) error {
		pg := c.(*postgresConn)
		err := fn(&single{conn: c})
		// The statement is its own commit. A server that says that it goes before
		// it has said that the statement is done has not done it.
		if s := sqlState(err); s != "" && !strings.HasPrefix(s, "08") && pg.done == "" {
			return err
		}
		return unknown(err)
	})
}

// lend gives fn a connection whose statements stand alone. What is under way
// ends by its own limit and not with the caller, who may hang up: to interrupt
// a statement costs the connection, and a new one costs more than any answer.
func (db *postgresDB) lend(ctx context.Context, fn func(conn) error) error {
	c, err := db.acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), db.limits.statement)
	defer cancel()
	err = fn(&postgresConn{names: db.names, ctx: ctx, c: c.Conn()})
	db.noticed(err)
	return err
}

func (db *postgresDB) write(ctx context.Context, fn func(conn) error) (err error) {
	c, err := db.acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release() // which closes a connection that is still in a transaction
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), db.limits.transaction)
	defer cancel()
	tx := &postgresConn{names: db.names, ctx: ctx, c: c.Conn()}
	tx.put(`BEGIN`, nil)
	err = fn(tx)
	if err == nil {
		err = tx.commit()
	}
	if err != nil && !tx.c.IsClosed() && tx.c.PgConn().TxStatus() != 'I' {
		_, _ = tx.c.Exec(ctx, `ROLLBACK`, pgx.QueryExecModeSimpleProtocol)
	}
	db.noticed(err)
	return err
}

// postgresConn puts statements off and sends them with the next that must
// answer: a transaction of ten statements that asks once costs two round trips.
type postgresConn struct {
	names *names
	ctx   context.Context //nolint:containedctx // that of one transaction, which this is
	c     *pgx.Conn
	off   pgx.Batch
	done  string // what the server said of the last statement that was sent alone
}

func (c *postgresConn) put(query string, args []any) { c.off.Queue(c.names.say(query), args...) }

func (c *postgresConn) later(query string, args []any) error {
	c.put(query, args)
	return nil
}

func (c *postgresConn) exec(query string, args []any) (int64, error) {
	if c.off.Len() == 0 {
		tag, err := c.c.Exec(c.ctx, c.names.say(query), args...)
		c.done = tag.String()
		return tag.RowsAffected(), duplicateOf(postgresDialect, err)
	}
	c.put(query, args)
	tag, err := c.send(func(rs pgx.BatchResults) (pgconn.CommandTag, error) { return rs.Exec() })
	return tag.RowsAffected(), err
}

func (c *postgresConn) rows(query string, args []any, each func(scan func(...any) error) error) error {
	if c.off.Len() == 0 {
		rs, err := c.c.Query(c.ctx, c.names.say(query), args...)
		if err != nil {
			return err
		}
		defer rs.Close()
		return scanAll(rs, each)
	}
	c.put(query, args)
	_, err := c.send(func(rs pgx.BatchResults) (tag pgconn.CommandTag, err error) {
		rows, err := rs.Query()
		if err == nil {
			defer rows.Close()
			err = scanAll(rows, each)
		}
		return tag, err
	})
	return err
}

// send sends all that was put off and hands the last answer to read.
func (c *postgresConn) send(read func(pgx.BatchResults) (pgconn.CommandTag, error)) (tag pgconn.CommandTag, err error) {
	batch := c.off
	c.off = pgx.Batch{}
	rs := c.c.SendBatch(c.ctx, &batch)
	for range batch.Len() - 1 {
		_, err = rs.Exec()
		if err != nil {
			_ = rs.Close() // which says the same
			return tag, duplicateOf(postgresDialect, err)
		}
	}
	tag, err = read(rs)
	closed := rs.Close()
	if err == nil {
		err = closed
	}
	return tag, duplicateOf(postgresDialect, err)
}

// commit sends what is left and COMMIT, in one.
func (c *postgresConn) commit() error {
	if c.off.Len() == 1 && c.off.QueuedQueries[0].SQL == `BEGIN` {
		return nil // nothing was asked and nothing is to be done
	}
	c.put(`COMMIT`, nil)
	reached := false // every statement before COMMIT has succeeded
	tag, err := c.send(func(rs pgx.BatchResults) (pgconn.CommandTag, error) {
		reached = true
		return rs.Exec()
	})
	switch {
	case tag.String() == "COMMIT":
		// A server that is told to stop lets a commit finish, and says goodbye in
		// the same breath: what stands must not be done again.
		return nil
	case err == nil:
		return errors.New("store: the transaction was rolled back by the server")
	case !reached && sqlState(err) != "" && !strings.HasPrefix(sqlState(err), "08"):
		return err // that statement failed, and so COMMIT was not carried out
	}
	return unknown(err)
}

// unknown marks an error that may have come after the commit it was the answer
// to: of the connection, or of a server that goes.
func unknown(err error) error {
	if err == nil || errors.Is(err, ErrDuplicate) || postgresVerdict(err) != cutOff || sqlState(err) == "25006" || pgconn.SafeToRetry(err) {
		return err
	}
	return fmt.Errorf("%w: %w", errUnknown, err)
}
