package authtest

import (
	"context"
	"database/sql"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

// Outage is what can befall the database of a Frail house: Cut and Stall begin
// it, Mend ends it. SQLite, which is no server, is held by another process in
// either case: nobody can write, and who only reads goes on.
type Outage struct {
	relay *relay
	file  *sql.Conn // nil unless it is SQLite
}

// patience is how long a Frail house waits for its database: long for a busy
// machine, and short for a test that has to wait.
const patience = 2 * time.Second

// Frail is New on a database that can be taken away.
func Frail(t testing.TB, options ...func(*auth.Options)) (*House, *Outage) {
	t.Helper()
	clock := storetest.NewClock()
	raw := storetest.MigratedURL(t, storetest.Engine())
	o := &Outage{}
	if path, ok := strings.CutPrefix(raw, "sqlite:"); ok {
		o.file = hold(t, path)
	} else {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		o.relay = startRelay(t, u.Host)
		u.Host = o.relay.l.Addr().String()
		raw = u.String()
	}
	db, err := store.Open(t.Context(), store.Options{
		URL: raw, Synchronous: "NORMAL", Now: clock.Now, MaxConns: 8,
		StatementTimeout: patience, LockTimeout: patience / 2, TransactionTimeout: patience,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := db.Close()
		if err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return over(t, db, clock, options), o
}

// hold opens a connection that can hold an SQLite file.
func hold(t testing.TB, path string) *sql.Conn {
	t.Helper()
	pool, err := sql.Open("sqlite", "file:"+path+"?_busy_timeout=5000")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pool.Close() })
	c, err := pool.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Cut ends all connections to the database and lets none be made.
func (o *Outage) Cut(t testing.TB) { o.begin(t, cut) }

// Stall lets connections be, and be made, and nothing pass on them.
func (o *Outage) Stall(t testing.TB) { o.begin(t, stalled) }

func (o *Outage) begin(t testing.TB, s state) {
	t.Helper()
	if o.file == nil {
		o.relay.become(s)
		return
	}
	_, err := o.file.ExecContext(t.Context(), "BEGIN EXCLUSIVE")
	if err != nil {
		t.Fatal(err)
	}
}

// Mend brings the database back.
func (o *Outage) Mend(t testing.TB) {
	t.Helper()
	if o.file == nil {
		o.relay.become(sound)
		return
	}
	_, err := o.file.ExecContext(t.Context(), "ROLLBACK")
	if err != nil {
		t.Fatal(err)
	}
}

// state is what a relay does with what it is given.
type state int

const (
	sound state = iota
	cut
	stalled
)

// relay stands between a house and its database server and passes every byte
// on, unless it is told otherwise.
type relay struct {
	l   net.Listener
	to  string // host:port of the server
	all sync.WaitGroup

	mu    sync.Mutex // guards state and conns
	moved *sync.Cond // of state, by mu
	state state
	conns map[net.Conn]bool
}

func startRelay(t testing.TB, to string) *relay {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{l: l, to: to, conns: map[net.Conn]bool{}}
	r.moved = sync.NewCond(&r.mu)
	r.all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.all.Go(func() { r.pass(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		r.become(cut)
		r.all.Wait()
	})
	return r
}

// become changes what the relay does, also with what it has.
func (r *relay) become(s state) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state = s
	r.moved.Broadcast()
	if s == cut {
		for c := range r.conns {
			c.Close()
		}
	}
}

// pass copies between a client and the server until either ends.
func (r *relay) pass(client net.Conn) {
	server, err := new(net.Dialer).DialContext(context.Background(), "tcp", r.to)
	if err != nil {
		client.Close()
		return
	}
	if !r.keep(client, server) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { r.copy(server, client) })
	both.Go(func() { r.copy(client, server) })
	both.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, client)
	delete(r.conns, server)
}

// keep remembers connections, or ends them where none are let be.
func (r *relay) keep(conns ...net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conns {
		if r.state == cut {
			c.Close()
		} else {
			r.conns[c] = true
		}
	}
	return r.state != cut
}

// copy copies one way until its end, which is the end of both.
func (r *relay) copy(to, from net.Conn) {
	defer from.Close()
	defer to.Close()
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		r.mu.Lock()
		for r.state == stalled {
			r.moved.Wait()
		}
		r.mu.Unlock()
		_, lost := to.Write(b[:n])
		if err != nil || lost != nil {
			return
		}
	}
}
