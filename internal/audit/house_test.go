package audit_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/audit"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

// house is a database with a sealer, seen from within and by plain SQL.
type house struct {
	t      *testing.T
	engine string
	url    string
	db     *store.DB
	pool   *sql.DB
	clock  *storetest.Clock
	root   *secret.Root
	sealer *audit.Sealer
}

// onEngines runs f as parallel subtests, one for each engine.
func onEngines(t *testing.T, f func(h *house)) {
	t.Helper()
	for _, e := range storetest.Engines() {
		t.Run(e, func(t *testing.T) {
			t.Parallel()
			root, err := secret.NewRoot(secret.GenerateRoot())
			if err != nil {
				t.Fatal(err)
			}
			h := &house{t: t, engine: e, url: storetest.MigratedURL(t, e), clock: storetest.NewClock(), root: root}
			h.db = h.node()
			h.pool = h.plain()
			h.sealer = h.newSealer(h.db)
			f(h)
		})
	}
}

// node opens the database once more.
func (h *house) node() *store.DB {
	h.t.Helper()
	db, err := store.Open(h.t.Context(), store.Options{
		URL: h.url, Synchronous: "NORMAL", Now: h.clock.Now, MaxConns: 4,
		StatementTimeout: time.Minute, LockTimeout: time.Minute, TransactionTimeout: time.Minute,
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		err := db.Close()
		if err != nil {
			h.t.Error(err)
		}
	})
	return db
}

func (h *house) rootOf(context.Context, store.TenantID) (*secret.Root, error) { return h.root, nil }

// newSealer returns a sealer that notes what it tells.
func (h *house) newSealer(db *store.DB) *audit.Sealer {
	return audit.NewSealer(audit.Options{DB: db, Root: h.rootOf, After: func(tx *store.Tx, list []store.TrailEvent) error {
		return tx.AddDelivery(store.Delivery{ID: store.NewDeliveryID(), Kind: fmt.Sprint(len(list), " from ", list[0].Seq)})
	}})
}

// plain connects behind the house's back.
func (h *house) plain() *sql.DB {
	h.t.Helper()
	driver, dsn := "pgx", h.url
	switch h.engine {
	case "sqlite":
		driver, dsn = "sqlite", "file:"+strings.TrimPrefix(h.url, "sqlite:")+"?_busy_timeout=10000"
	case "mysql":
		u, err := url.Parse(h.url)
		if err != nil {
			h.t.Fatal(err)
		}
		driver, dsn = "mysql", u.User.String()+"@tcp("+u.Host+")"+u.Path
	}
	pool, err := sql.Open(driver, dsn)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { pool.Close() })
	return pool
}

// bytes is a literal of the engine's.
func (h *house) bytes(b []byte) string {
	if h.engine == "postgres" {
		return fmt.Sprintf(`'\x%x'`, b)
	}
	return fmt.Sprintf("x'%x'", b)
}

func (h *house) key(t store.TenantID) *audit.Key { return audit.NewKey(h.root, t) }

// happen commits n events of a tenant, each by itself.
func (h *house) happen(t store.TenantID, n int) {
	h.t.Helper()
	for i := range n {
		err := h.db.Write(h.t.Context(), t, func(tx *store.Tx) error { return tx.AddEvent(event(i)) })
		if err != nil {
			h.t.Fatal(err)
		}
	}
}

func event(i int) store.Event {
	return store.Event{
		Name: "session.opened", Actor: "cli", UserID: store.UserID{15: 7}, SessionID: store.SessionID{15: 8}, IP: "192.0.2.1",
		RequestID: fmt.Sprint("request ", i), Data: fmt.Appendf(nil, `{"i":%d,"word":"ünï"}`, i),
	}
}

func (h *house) seal() {
	h.t.Helper()
	err := h.sealer.SealNow(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
}

// trail is the whole trail of a tenant.
func (h *house) trail(t store.TenantID) (all []store.TrailRow) {
	h.t.Helper()
	err := h.db.Read(h.t.Context(), t, func(tx *store.Tx) (err error) {
		all, err = tx.TrailPage(0, 100_000)
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return all
}

func (h *house) verify(t store.TenantID, given *store.Checkpoint) *audit.Report {
	h.t.Helper()
	r, err := audit.Verify(h.t.Context(), h.db, h.key(t), given)
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

// whole checks that a tenant's trail has that many rows and no fault.
func (h *house) whole(t store.TenantID, rows int64) {
	h.t.Helper()
	r := h.verify(t, nil)
	if r.Err() != nil || r.Rows != rows {
		h.t.Errorf("%d rows, %v; want %d and no fault", r.Rows, r.Err(), rows)
	}
}

// queued is how many events of all tenants wait.
func (h *house) queued() (n int) {
	h.t.Helper()
	err := h.pool.QueryRow(`SELECT COUNT(*) FROM audit_queue`).Scan(&n)
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

// do runs statements behind the house's back, each of which must change
// something. {T} is the tenant.
func (h *house) do(t store.TenantID, statements ...string) {
	h.t.Helper()
	for _, s := range statements {
		s = strings.ReplaceAll(s, "{T}", h.bytes(t[:]))
		res, err := h.pool.Exec(s)
		if err != nil {
			h.t.Fatalf("%s: %v", s, err)
		}
		n, err := res.RowsAffected()
		if err != nil || n == 0 {
			h.t.Fatalf("%s changed nothing (%v)", s, err)
		}
	}
}

// sweep deletes what is from before an instant, as the job does.
func (h *house) sweep(t store.TenantID, limit int, before time.Time) (int, error) {
	h.t.Helper()
	total := 0
	for {
		n := 0
		err := h.db.Write(h.t.Context(), t, func(tx *store.Tx) (err error) {
			n, err = h.key(t).Sweep(tx, limit, before)
			return err
		})
		total += n
		if err != nil || n < limit {
			return total, err
		}
	}
}

var errKilled = errors.New("killed")
