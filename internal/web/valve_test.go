package web

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/internal/auth"
)

// quietly is a server whose log nobody reads.
func quietly(s *Server) *Server {
	s.Log, s.Now = slog.New(slog.DiscardHandler), time.Now
	return s
}

// full is a valve that lets nobody in.
func full() *Valve {
	return &Valve{Most: -1, Next: http.NotFoundHandler(), Log: slog.New(slog.DiscardHandler), Now: time.Now}
}

// crowd is a valve with requests under way that stay until they are let go.
type crowd struct {
	*Valve
	letGo chan struct{}
	all   sync.WaitGroup
	log   bytes.Buffer
}

func newCrowd(most int) *crowd {
	c := &crowd{letGo: make(chan struct{})}
	c.Valve = &Valve{Most: most, Log: slog.New(slog.NewTextHandler(&c.log, nil)), Now: time.Now}
	c.Next = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/stay") {
			<-c.letGo
		}
		w.WriteHeader(http.StatusTeapot)
	})
	return c
}

func (c *crowd) ask(method, target string) *http.Response {
	w := httptest.NewRecorder()
	c.ServeHTTP(w, httptest.NewRequest(method, target, nil))
	return w.Result()
}

func (c *crowd) enter(n int, method, target string) {
	for range n {
		c.all.Go(func() { c.ask(method, target) })
	}
	synctest.Wait()
}

func TestValve_turnsAwayWhatIsTooMuchAndAnswersForItsHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(2)
		c.enter(2, "GET", "/stay")
		res := c.ask("GET", "/user")
		if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || res.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("one too many is answered %d, Retry-After %q; want 503 and when to come back, for pages to read", res.StatusCode, res.Header.Get("Retry-After"))
		}
		for _, r := range [][2]string{{"GET", "/health"}, {"GET", "/auth/v1/health"}, {"GET", "/health/ready"}, {"OPTIONS", "/user"}} {
			if res := c.ask(r[0], r[1]); res.StatusCode != 418 {
				t.Errorf("%s %s in a crowd is answered %d", r[0], r[1], res.StatusCode)
			}
		}
		for _, path := range []string{"/t/nobody/health", "/t/health/user", "/admin/users/health/x"} { // a path may name anything
			if res := c.ask("GET", path); res.StatusCode != 503 {
				t.Errorf("GET %s in a crowd is answered %d", path, res.StatusCode)
			}
		}
		if n, turned := c.Load(); n != 2 || turned != 4 {
			t.Errorf("%d requests are under way and %d were turned away, want 2 and 4", n, turned)
		}
		close(c.letGo)
		c.all.Wait()
		if res := c.ask("GET", "/user"); res.StatusCode != 418 {
			t.Errorf("after the crowd has gone a request is answered %d", res.StatusCode)
		}
		if n, _ := c.Load(); n != 0 {
			t.Errorf("%d requests are under way when all are done", n)
		}
	})
}

func TestValve_aFloodOfSignInsLeavesRoomForTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(2)
		c.enter(4, "POST", "/stay?grant_type=password")
		for _, r := range []struct {
			method, target string
			want           int
		}{
			{"POST", "/signup", 503},
			{"POST", "/token?grant_type=password", 503},
			{"PUT", "/user", 503},
			{"POST", "/token?grant_type=refresh_token&grant_type=password", 503}, // whichever of them is read
			{"POST", "/signup?grant_type=refresh_token", 503},                    // which does not look at it
			{"POST", "/token?grant_type=refresh_token", 418},
			{"POST", "/t/shop/auth/v1/token?grant_type=refresh_token", 418},
			{"GET", "/user", 418},
		} {
			if res := c.ask(r.method, r.target); res.StatusCode != r.want {
				t.Errorf("%s %s among sign-ins is answered %d, want %d", r.method, r.target, res.StatusCode, r.want)
			}
		}
		form := httptest.NewRequest("POST", "/token?grant_type=refresh_token", strings.NewReader("grant_type=password&username=a&password=b")) // of which the body's is read
		form.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		c.ServeHTTP(w, form)
		if w.Code != 503 {
			t.Errorf("a form that says otherwise in its body is answered %d, want 503", w.Code)
		}
		close(c.letGo)
		c.all.Wait()
	})
}

func TestValve_aBodyThatIsBeingSentTakesNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &Valve{Most: 1, Log: slog.New(slog.DiscardHandler), Now: time.Now}
		var mu sync.Mutex
		crowded, read := 0, 0
		v.Next = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				return
			}
			var body map[string]any
			err := Body(w, r, &body)
			var e *auth.Error
			mu.Lock()
			if errors.As(err, &e) && e.Code == auth.Busy && e.RetryAfter > 0 {
				crowded++
			} else if err == nil {
				read++
			}
			mu.Unlock()
			time.Sleep(time.Second) // its work
		})
		const senders = 10
		var all sync.WaitGroup
		var ends []*io.PipeWriter
		for range senders {
			in, out := io.Pipe()
			ends = append(ends, out)
			all.Go(func() {
				v.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/token?grant_type=refresh_token", in))
			})
			synctest.Wait()
			_, _ = io.WriteString(out, `{"a":1`)
		}
		synctest.Wait()
		if n, _ := v.Load(); n != 0 {
			t.Errorf("%d places are taken by bodies that are being sent", n)
		}
		w := httptest.NewRecorder()
		v.ServeHTTP(w, httptest.NewRequest("GET", "/user", nil))
		if w.Code != 200 {
			t.Errorf("a request beside bodies that are being sent is answered %d", w.Code)
		}
		// The last bytes of all come at one moment: not all are let back in.
		for _, out := range ends {
			go func() {
				_, _ = io.WriteString(out, "}")
				out.Close()
			}()
		}
		all.Wait()
		if n, _ := v.Load(); n != 0 || read == 0 || crowded == 0 || read+crowded != senders {
			t.Errorf("%d places are taken at the end; %d bodies were read, %d were told to come back; want 0, some and the others", n, read, crowded)
		}
	})
}

// Whoever waits longest is given up by the database: what was done for them was
// done for nothing.
func TestValve_takesInLessWhileItIsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slowly := 10 * time.Second
		c := newCrowd(16)
		next := c.Next
		c.Next = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/work" {
				time.Sleep(slowly)
			}
			next.ServeHTTP(w, r)
		})
		let := func() (n int) { // in, of sixteen at one moment, beside the one that stays
			var in [16]bool
			var all sync.WaitGroup
			for i := range in {
				all.Go(func() { in[i] = c.ask("GET", "/work").StatusCode == 418 })
			}
			all.Wait()
			for _, ok := range in {
				if ok {
					n++
				}
			}
			return n
		}
		c.enter(1, "GET", "/stay")
		if n := let(); n != 15 {
			t.Errorf("%d of 16 are let in before any was late, want 15", n)
		}
		if n := let(); n != 1 {
			t.Errorf("%d of 16 are let in when all took 10 s, want 1: two of sixteen places", n)
		}
		slowly = time.Millisecond
		for range 50 {
			let()
		}
		if n := let(); n != 15 {
			t.Errorf("%d of 16 are let in when it has caught up, want 15", n)
		}
		close(c.letGo)
		c.all.Wait()
		// The one that stayed was late, too; but now nobody else is there.
		if n := let(); n != 16 {
			t.Errorf("%d of 16 are let in when it is empty, want all", n)
		}
	})
}

// A flood that fills the log has done its work, too.
func TestValve_saysOnceASecondHowManyItTurnedAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(1)
		c.enter(1, "GET", "/stay")
		for range 100 {
			c.ask("GET", "/user")
		}
		time.Sleep(time.Second)
		c.ask("GET", "/user")
		if n := strings.Count(c.log.String(), "\n"); n != 2 {
			t.Errorf("101 requests turned away in a second and a moment make %d lines, want 2:\n%s", n, c.log.String())
		}
		if !strings.Contains(c.log.String(), "requests=100") {
			t.Errorf("the second line does not count those since the first:\n%s", c.log.String())
		}
		close(c.letGo)
		c.all.Wait()
	})
}

// Who is turned away is told so even while still sending.
func TestValve_turnsAwayBeforeTheBodyIsIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := serving(t, full(), HTTPLimits{Idle: time.Hour})
		c, began := p.dial(), time.Now()
		wait := drip(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
		answer := make([]byte, 12)
		_, err := io.ReadFull(c, answer)
		if took := time.Since(began); err != nil || string(answer) != "HTTP/1.1 503" || took > 50*time.Millisecond {
			t.Errorf("told %q (%v) after %v, want 503 within 50 ms", answer, err, took)
		}
		c.Close()
		wait()
	})
}
