package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

var quiet = slog.New(slog.DiscardHandler)

// Health checks come from load balancers, and from whoever finds them.
func TestReady_howeverManyAskOneLooksOnceASecond(t *testing.T) {
	t.Parallel()
	var looks atomic.Int64
	var now atomic.Int64
	now.Store(1)
	r := &readiness{
		now: func() time.Time { return time.Unix(0, now.Load()) }, draining: func() bool { return false },
		look: func(context.Context) state { looks.Add(1); return state{} },
	}
	crowd := func() {
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if s := r.ask(context.Background()); !s.Ready {
					t.Errorf("not ready: %+v", s)
				}
			})
		}
		all.Wait()
	}
	for i, step := range []time.Duration{0, 999 * time.Millisecond, time.Millisecond} {
		now.Add(int64(step))
		crowd()
		if want := []int64{1, 1, 2}[i]; looks.Load() != want {
			t.Fatalf("%v later it was looked %d times, want %d", step, looks.Load(), want)
		}
	}
}

// A look that does not end holds nobody for longer than a second, and no other
// begins before it has ended.
func TestReady_aDatabaseThatDoesNotAnswerHoldsNobody(t *testing.T) {
	t.Parallel()
	letGo, ended := make(chan struct{}), make(chan struct{})
	var looks atomic.Int64
	began := time.Now()
	var late atomic.Bool // past the second, by the clock of the readiness
	r := &readiness{
		draining: func() bool { return false },
		now: func() time.Time {
			if late.Load() {
				return began.Add(askFor)
			}
			return began
		},
		look: func(context.Context) state { looks.Add(1); <-letGo; close(ended); return state{} },
	}
	ctx, gone := context.WithCancel(context.Background())
	first := make(chan state)
	go func() { first <- r.ask(ctx) }()
	for looks.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	gone() // a client that leaves does not end the look
	late.Store(true)
	want := state{Reasons: []string{unreachable}}
	for range 10 {
		if diff := cmp.Diff(want, r.ask(context.Background())); diff != "" {
			t.Fatalf("it is said (-want +got):\n%s", diff)
		}
	}
	if diff := cmp.Diff(want, <-first); diff != "" {
		t.Errorf("who left was told (-want +got):\n%s", diff)
	}
	if looks.Load() != 1 {
		t.Errorf("it was looked %d times, want once", looks.Load())
	}
	close(letGo)
	<-ended
	until(t, "ready again", func() bool { return r.ask(context.Background()).Ready })
}

func TestReady_sendsOthersAwayWhileDraining(t *testing.T) {
	t.Parallel()
	r := &readiness{now: time.Now, draining: func() bool { return true }, look: func(context.Context) state { return state{Reasons: []string{outdated}, Warnings: []string{outboxLags}} }}
	for range 2 {
		w := httptest.NewRecorder()
		(&probes{ready: r}).ServeHTTP(w, httptest.NewRequest("GET", "/health/ready", nil))
		if want := `{"ready":false,"reasons":["needs migration","draining"],"warnings":["outbox lags"]}`; w.Code != 503 || w.Body.String() != want || w.Header().Get("Retry-After") == "" {
			t.Errorf("it says %d %s, want 503 %s", w.Code, w.Body, want)
		}
	}
	w := httptest.NewRecorder()
	(&probes{ready: r}).ServeHTTP(w, httptest.NewRequest("GET", "/health/live", nil))
	if w.Code != 200 || w.Body.String() != `{"live":true}` {
		t.Errorf("alive: %d %s", w.Code, w.Body)
	}
}

func TestReady_ofAServerThatIsWell(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t *testing.T, d database) {
		s := start(t, d.settings()...)
		if a := s.do(200, "GET", "/health/ready", nil); a.body != `{"ready":true}` || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("ready: %s, %v", a.body, a.header)
		}
		s.do(200, "HEAD", "/health/ready", nil)
		s.do(200, "GET", "/health/live", nil)
		if a := s.do(200, "GET", "/health", nil); a.text("name") != "GoTrue" || a.text("version") == "" {
			t.Errorf("health: %s", a.body)
		}
		s.do(404, "POST", "/health/ready", object{})
	})
}

func TestReady_theMasterKeyIsGone(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.do(200, "GET", "/health/ready", nil)
	err := os.Rename(filepath.Join(s.dir, "gatehouse-data", "master.key"), filepath.Join(s.dir, "elsewhere"))
	if err != nil {
		t.Fatal(err)
	}
	var a answer
	until(t, "not ready", func() bool {
		a, err = s.ask("GET", "/health/ready", nil)
		return err != nil || a.status == 503
	})
	if err != nil || a.body != `{"ready":false,"reasons":["master key missing"]}` {
		t.Errorf("it says %s, %v", a.body, err)
	}
	s.person("ada@example.com") // the key itself is in memory
}

func TestLook_tellsWhatIsWrong(t *testing.T) {
	t.Parallel()
	db := storetest.Open(t, time.Now)
	err := db.Write(t.Context(), store.TenantID{}, func(tx *store.Tx) error {
		tx.Now = tx.Now.Add(-2 * lateMail)
		return tx.AddDelivery(store.Delivery{ID: store.NewDeliveryID(), Kind: "none"})
	})
	if err != nil {
		t.Fatal(err)
	}
	got := look(t.Context(), db.Probe(), filepath.Join(t.TempDir(), "none"), quiet)
	if diff := cmp.Diff(state{Reasons: []string{keyless}, Warnings: []string{outboxLags}}, got); diff != "" {
		t.Errorf("it sees (-want +got):\n%s", diff)
	}
}

// pipe stands before a database server, and can be shut.
type pipe struct {
	l    net.Listener
	to   string
	all  sync.WaitGroup
	mu   sync.Mutex // guards all below
	shut bool
	open map[net.Conn]bool
}

func layPipe(t *testing.T, to string) *pipe {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &pipe{l: l, to: to, open: map[net.Conn]bool{}}
	p.all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.all.Go(func() { p.join(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.set(true)
		p.all.Wait()
	})
	return p
}

func (p *pipe) join(c net.Conn) {
	defer c.Close()
	d, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer d.Close()
	p.mu.Lock()
	shut := p.shut
	p.open[c], p.open[d] = true, true
	p.mu.Unlock()
	if shut {
		return
	}
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(c, d)
		c.Close()
	})
	_, _ = io.Copy(d, c)
	d.Close()
	back.Wait()
}

func (p *pipe) set(shut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shut = shut
	for c := range p.open {
		if shut {
			c.Close()
			delete(p.open, c)
		}
	}
}

func TestReady_whileTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t *testing.T, d database) {
		if d.engine == "sqlite" {
			t.Skip("it is no server")
		}
		u, err := url.Parse(d.url)
		if err != nil {
			t.Fatal(err)
		}
		p := layPipe(t, u.Host)
		inner := u.Host
		u.Host = p.l.Addr().String()
		s := start(t, database{d.engine, u.String()}.settings("GATEHOUSE_LOG_LEVEL=debug")...)
		s.do(200, "GET", "/health/ready", nil)
		p.set(true)
		var a answer
		until(t, "not ready", func() bool {
			a, err = s.ask("GET", "/health/ready", nil)
			return err != nil || a.status == 503
		})
		if err != nil || a.body != `{"ready":false,"reasons":["database unreachable"]}` || strings.Contains(a.body, inner) {
			t.Errorf("it says %s, %v", a.body, err)
		}
		s.do(200, "GET", "/health/live", nil)
		p.set(false)
		until(t, "ready again", func() bool {
			a, err = s.ask("GET", "/health/ready", nil)
			return err == nil && a.status == 200
		})
	})
}

// SQLite is no server, but another process may hold it.
func TestReady_whileSQLiteIsHeldByAnother(t *testing.T) {
	t.Parallel()
	s := start(t, "GATEHOUSE_DB_TRANSACTION_TIMEOUT=1500ms")
	db := s.db.open(t)
	defer db.Close()
	db.SetMaxOpenConns(1)
	_, err := db.Exec("BEGIN EXCLUSIVE")
	if err != nil {
		t.Fatal(err)
	}
	a := s.do(503, "GET", "/health/ready", nil)
	if a.body != `{"ready":false,"reasons":["database unreachable"]}` {
		t.Errorf("it says %s", a.body)
	}
	_, err = db.Exec("ROLLBACK")
	if err != nil {
		t.Fatal(err)
	}
	until(t, "ready again", func() bool {
		a, err := s.ask("GET", "/health/ready", nil)
		return err == nil && a.status == 200
	})
}
