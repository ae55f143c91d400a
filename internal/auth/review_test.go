package auth_test

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/login"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
	"gatehouse/internal/token"
)

// clocked is a node by a clock of its own.
type clocked struct {
	*auth.Service
	db    *store.DB
	clock *storetest.Clock
}

// byClocks opens a node of one house for each clock, so far ahead of the right
// time.
func byClocks(t *testing.T, ahead ...time.Duration) []clocked {
	t.Helper()
	address := storetest.MigratedURL(t, storetest.Engine())
	root, err := secret.NewRoot(secret.GenerateRoot())
	ok(t, "root", err)
	policy := authtest.Policy()
	autoconfirm(&policy)
	var nodes []clocked
	for _, d := range ahead {
		n := clocked{clock: storetest.NewClock()}
		n.clock.Advance(d)
		n.db, err = store.Open(t.Context(), store.Options{
			URL: address, Synchronous: "NORMAL", MaxConns: 4, Now: n.clock.Now,
			StatementTimeout: time.Minute, LockTimeout: 30 * time.Second, TransactionTimeout: time.Minute,
		})
		ok(t, "open", err)
		t.Cleanup(func() { ok(t, "close", n.db.Close()) })
		hasher, err := secret.NewHasher(secret.Params{MemoryKiB: 8, Time: 1, Threads: 1}, secret.NewPool(8, time.Hour, n.clock.Now))
		ok(t, "hasher", err)
		n.Service = auth.New(auth.Options{DB: n.db, Root: root, Hasher: hasher, Policy: policy, Methods: login.All(login.Options{})})
		ok(t, "load", n.LoadKeys(t.Context()))
		nodes = append(nodes, n)
	}
	return nodes
}

func (n clocked) join(t *testing.T, email string) *auth.Grant {
	t.Helper()
	g, err := n.SignUp(t.Context(), authtest.Caller(), auth.NewUser{Email: email, Password: pw}, authtest.Flow())
	ok(t, "sign up", err)
	return g
}

func (n clocked) recover(t *testing.T, email string) error {
	return n.Recover(t.Context(), authtest.Caller(), email, authtest.Flow())
}

// queued counts the mails that are due by the clock of n.
func (n clocked) queued(t *testing.T) (count int) {
	t.Helper()
	err := n.db.Write(t.Context(), store.TenantID{}, func(tx *store.Tx) error {
		list, err := tx.TakeDeliveries(1000, time.Hour)
		count = len(list)
		return err
	})
	ok(t, "take", err)
	return count
}

// To whoever asks many nodes at once a mailbox must not be open many times:
// also when the clock that dated the last mail is ahead of the one that asks.
func TestRecover_oneMailThoughTheNodesClocksDiffer(t *testing.T) {
	const users, each = 6, 6
	nodes := byClocks(t, 0, 15*time.Second, 30*time.Second)
	email := func(i int) string { return fmt.Sprintf("u%d@example.com", i%users) }
	for i := range users {
		nodes[0].join(t, email(i))
	}
	nodes[2].queued(t) // what signing up has mailed
	ok(t, "by the clock that is ahead", nodes[2].recover(t, email(0)))
	errs := together(users*each, func(i int) error { return nodes[i/users%len(nodes)].recover(t, email(i)) })
	sent := make([]int, users)
	sent[0]++
	for i, err := range errs {
		if err == nil {
			sent[i%users]++
			continue
		}
		want(t, "a mail too many", err, auth.TooSoon)
		var e *auth.Error
		if errors.As(err, &e) && (e.RetryAfter <= 0 || e.RetryAfter > authtest.Policy().MailEvery) {
			t.Errorf("retry after %v, want at most %v", e.RetryAfter, authtest.Policy().MailEvery)
		}
	}
	for i, n := range sent {
		if n != 1 {
			t.Errorf("%d of %d requests for %s had a mail sent, want one", n, each, email(i))
		}
	}
	if got := nodes[2].queued(t); got != users {
		t.Errorf("%d mails are queued, want %d", got, users)
	}
}

// A clock that was hours ahead and is set right must not keep anybody out for
// hours.
func TestRecover_aClockThatWasFarAheadBlocksNoMail(t *testing.T) {
	nodes := byClocks(t, 0, 5*time.Hour)
	right, ahead := nodes[0], nodes[1]
	right.join(t, ann)
	ok(t, "by the clock that is ahead", ahead.recover(t, ann))
	ahead.clock.Set(right.clock.Now())
	for _, n := range nodes {
		n.clock.Advance(authtest.Policy().MailEvery)
	}
	ok(t, "after it was set right", ahead.recover(t, ann))
	want(t, "at once again", right.recover(t, ann), auth.TooSoon)
	for _, n := range nodes {
		n.clock.Advance(authtest.Policy().MailEvery)
	}
	ok(t, "in time", right.recover(t, ann))
}

// The clock of the machine where somebody replaces a leaked key may be ahead.
// It is not the leak that gets the time between.
func TestRotateKeys_atOnceIsAtOnceAlsoByAClockThatIsAhead(t *testing.T) {
	nodes := byClocks(t, 0, 10*time.Minute)
	right, ahead := nodes[0], nodes[1]
	g := right.join(t, ann)
	_, leaked := right.Keys()
	ok(t, "rotate", ahead.RotateKeys(t.Context(), authtest.Operator(), true))
	ok(t, "load", right.LoadKeys(t.Context()))

	_, err := right.Authenticate(t.Context(), authtest.Caller(), g.Access)
	want(t, "a token of the leaked key", err, auth.TokenInvalid)
	keys, signing := right.Keys()
	if signing == leaked || slices.ContainsFunc(keys, func(k token.Key) bool { return k.ID == leaked }) {
		t.Errorf("%s signs, of %d keys; want the new one alone", signing, len(keys))
	}
	next, err := right.Refresh(t.Context(), authtest.Caller(), g.Refresh)
	ok(t, "refresh", err)
	for what, n := range map[string]clocked{"here": right, "there": ahead} {
		_, err = n.Authenticate(t.Context(), authtest.Caller(), next.Access)
		ok(t, "a token of the new key, "+what, err)
	}
}

// More sessions than end at a time.
func TestSignOutAll_endsAThousandAndMore(t *testing.T) {
	const more = 1200
	h := authtest.New(t, authtest.With(autoconfirm))
	g := h.Join(t, ann, pw)
	for from := 0; from < more; from += 400 {
		err := h.DB.Write(t.Context(), store.TenantID{}, func(tx *store.Tx) error {
			for range 400 {
				err := tx.AddSession(store.Session{ID: store.NewSessionID(), UserID: g.User.ID, Generation: 1, AAL: 1, AMR: []byte(`[]`)})
				if err != nil {
					return err
				}
			}
			return nil
		})
		ok(t, "sessions", err)
	}
	n, err := h.SignOutAll(t.Context(), authtest.Operator())
	ok(t, "sign out", err)
	if n != more+1 {
		t.Errorf("%d sessions ended, want %d", n, more+1)
	}
	over(t, "the first", h, g)
	err = h.DB.Write(t.Context(), store.TenantID{}, func(tx *store.Tx) error {
		left, err := tx.EndSessions(g.User.ID, store.SessionID{}, "left")
		if len(left) != 0 {
			t.Errorf("%d sessions live on, want none", len(left))
		}
		return err
	})
	ok(t, "look", err)
	told := 0
	list := endings(t, h, auth.UserID{})
	for _, e := range list {
		n, _ := e["sessions"].(float64)
		told += int(n)
	}
	if len(list) != 2 || told != more+1 {
		t.Errorf("%d events tell of %d sessions, want two of %d", len(list), told, more+1)
	}
	n, err = h.SignOutAll(t.Context(), authtest.Operator())
	if n != 0 || err != nil || len(endings(t, h, auth.UserID{})) != 2 {
		t.Errorf("once more: %d, %v; want nothing, and nothing told", n, err)
	}
}

// To look for an administrator is to look at everybody. Where there are many,
// every start of every node would do so, and the one who runs such a house
// knows another way.
func TestOfferSetup_isForAHouseThatIsNew(t *testing.T) {
	engine := storetest.Engine()
	address := storetest.MigratedURL(t, engine)
	clock := storetest.NewClock()
	db, err := store.Open(t.Context(), store.Options{URL: address, Synchronous: "NORMAL", MaxConns: 2, Now: clock.Now})
	ok(t, "open", err)
	t.Cleanup(func() { ok(t, "close", db.Close()) })
	root, err := secret.NewRoot(secret.GenerateRoot())
	ok(t, "root", err)
	s := auth.New(auth.Options{DB: db, Root: root, Policy: authtest.Policy()})
	pool := plain(t, engine, address)
	for i, c := range []struct {
		users int
		want  bool
	}{{0, true}, {10_000, true}, {10_001, false}} {
		// As if there were so many: half in one slot, half in another.
		tenant := "x'" + strings.Repeat("00", 16) + "'"
		if engine == "postgres" {
			tenant = `'\x` + strings.Repeat("00", 16) + "'"
		}
		for _, statement := range []string{
			`DELETE FROM user_counts`,
			fmt.Sprintf(`INSERT INTO user_counts (tenant_id, slot, n) VALUES (%s, 0, %d), (%s, 1, %d)`, tenant, c.users/2, tenant, c.users-c.users/2),
		} {
			_, err := pool.ExecContext(t.Context(), statement)
			ok(t, statement, err)
		}
		_, offered, err := s.OfferSetup(t.Context())
		if err != nil || offered != c.want {
			t.Errorf("start %d, with %d users and no administrator: offered %v, %v; want %v", i, c.users, offered, err, c.want)
		}
	}
}

// plain opens the database of a URL of storetest without the store.
func plain(t *testing.T, engine, address string) *sql.DB {
	t.Helper()
	u, err := url.Parse(address)
	ok(t, "address", err)
	driver, dsn := "pgx", address
	switch engine {
	case "sqlite":
		driver, dsn = "sqlite", "file:"+strings.TrimPrefix(address, "sqlite:")+"?_busy_timeout=10000"
	case "mysql":
		dsn = u.User.String() + "@tcp(" + u.Host + ")" + u.Path
		driver = "mysql"
	}
	pool, err := sql.Open(driver, dsn)
	ok(t, "open", err)
	t.Cleanup(func() { pool.Close() })
	return pool
}
