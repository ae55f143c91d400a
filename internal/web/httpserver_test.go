package web

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener inside this process, so that time can be turned.
type pipes struct {
	dialed chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.dialed:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (p *pipes) dial() net.Conn {
	here, there := net.Pipe()
	p.dialed <- there
	return here
}

// serving starts a server that ends with the test; within synctest.Test only.
func serving(t *testing.T, h http.Handler, l HTTPLimits) *pipes {
	t.Helper()
	p := &pipes{dialed: make(chan net.Conn), closed: make(chan struct{})}
	srv := NewHTTPServer(h, l)
	ended := make(chan error)
	go func() { ended <- srv.Serve(p) }()
	t.Cleanup(func() {
		_ = srv.Close()
		<-ended
	})
	return p
}

// drip sends a beginning at once and then a byte a second, until the other side
// has gone; the function it returns waits for that.
func drip(c net.Conn, first string) (wait func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, err := io.WriteString(c, first)
		for err == nil {
			time.Sleep(time.Second)
			_, err = io.WriteString(c, "x")
		}
	}()
	return func() { <-ended }
}

// untilClosed reads until the other side has gone and returns how long that
// took since began.
func untilClosed(c net.Conn, began time.Time) time.Duration {
	_, _ = io.Copy(io.Discard, c)
	return time.Since(began)
}

// within tells whether d is a limit, give or take a millisecond.
func within(d, limit time.Duration) bool { return (d - limit).Abs() <= time.Millisecond }

func TestThreat_D08_aHeaderThatDripsIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := serving(t, http.NotFoundHandler(), HTTPLimits{Idle: time.Hour})
		for what, first := range map[string]string{"nothing": "", "a request line": "GET / HTTP/1.1\r\n"} {
			c, began := p.dial(), time.Now()
			wait := drip(c, first)
			if took := untilClosed(c, began); !within(took, headerTime) {
				t.Errorf("after %s, a header that drips is cut after %v, want %v", what, took, headerTime)
			}
			wait()
		}
	})
}

func TestHTTPServer_cutsABodyThatDrips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		read := make(chan error, 1)
		p := serving(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, err := io.ReadAll(r.Body)
			read <- err
			w.WriteHeader(http.StatusBadRequest)
		}), HTTPLimits{Idle: time.Hour})
		c, began := p.dial(), time.Now()
		wait := drip(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
		took := untilClosed(c, began)
		wait()
		if err := <-read; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the handler reads %v, want a deadline", err)
		}
		if took < bodyTime || took > bodyTime+time.Second {
			t.Errorf("a body that drips is cut after %v, want %v", took, bodyTime)
		}
	})
}

func TestHTTPServer_cutsAReaderThatDoesNotRead(t *testing.T) {
	for longest, want := range map[time.Duration]time.Duration{10 * time.Second: writeTime, time.Minute: 65 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			wrote := make(chan error, 1)
			p := serving(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, err := w.Write(make([]byte, 1<<20))
				wrote <- err
			}), HTTPLimits{Idle: time.Hour, Longest: longest})
			c, began := p.dial(), time.Now()
			defer c.Close()
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			err := <-wrote
			if took := time.Since(began); !errors.Is(err, os.ErrDeadlineExceeded) || !within(took, want) {
				t.Errorf("requests of %v: the answer ends with %v after %v, want a deadline after %v", longest, err, took, want)
			}
		})
	}
}

func TestHTTPServer_closesWhatIsIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := serving(t, http.NotFoundHandler(), HTTPLimits{Idle: time.Minute})
		c := p.dial()
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		in := bufio.NewReader(c)
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		began := time.Now()
		if took := untilClosed(c, began); !within(took, time.Minute) {
			t.Errorf("an idle connection is closed after %v, want a minute", took)
		}
	})
}

// ask sends a request to h as a server serves it, and returns the answer.
func ask(t *testing.T, h http.Handler, l HTTPLimits, change func(*http.Request)) *http.Response {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = NewHTTPServer(h, l)
	srv.Start()
	defer srv.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	change(r)
	res, err := srv.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	res.Body.Close()
	return res
}

func TestThreat_D06_whatARequestHasTooMuchOfIsNotParsed(t *testing.T) {
	for _, c := range []struct {
		what   string
		change func(*http.Request)
		want   int
	}{
		{"100 parameters", func(r *http.Request) { r.URL.RawQuery = strings.Repeat("&", 99) }, 418},
		{"101 parameters", func(r *http.Request) { r.URL.RawQuery = strings.Repeat("&", 100) }, 414},
		{"300 cookies", func(r *http.Request) { r.Header.Set("Cookie", strings.Repeat("a=b;", 299)) }, 418},
		{"301 cookies", func(r *http.Request) { r.Header.Set("Cookie", strings.Repeat("a=b;", 300)) }, 431},
		{"301 cookies in two lines", func(r *http.Request) {
			r.Header["Cookie"] = []string{strings.Repeat("a=b;", 149), strings.Repeat("a=b;", 150)}
		}, 431},
		{"a header of 15 KiB", func(r *http.Request) { r.Header.Set("X-Own", strings.Repeat("a", 15<<10)) }, 418},
		{"a header of 17 KiB", func(r *http.Request) { r.Header.Set("X-Own", strings.Repeat("a", 17<<10)) }, 431},
		{"a path of 17 KiB", func(r *http.Request) { r.URL.Path = "/" + strings.Repeat("a", 17<<10) }, 431},
		{"many headers of 17 KiB together", func(r *http.Request) {
			for i := range 17 {
				r.Header.Add("X-Own", strings.Repeat(string(rune('a'+i)), 1<<10))
			}
		}, 431},
		// An access token holds the user's metadata, of which there may be 32 KiB.
		{"an access token of 50 KiB", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+strings.Repeat("a", 50<<10)) }, 418},
		{"an access token of 65 KiB", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+strings.Repeat("a", 65<<10)) }, 431},
	} {
		res := ask(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }), HTTPLimits{}, c.change)
		if res.StatusCode != c.want {
			t.Errorf("%s: %d, want %d", c.what, res.StatusCode, c.want)
		}
	}
}

func TestForm_ofManyFieldsIsRefusedUnparsed(t *testing.T) {
	for n, taken := range map[int]bool{100: true, 101: false, 100_000: false} {
		r := httptest.NewRequest("POST", "/", strings.NewReader(strings.Repeat("&", n-1)))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		err := Form(httptest.NewRecorder(), r)
		if (err == nil) != taken || taken != (r.PostForm != nil) {
			t.Errorf("%d fields: %v, parsed: %v; want them taken: %v", n, err, r.PostForm != nil, taken)
		}
	}
}

func TestHTTPServer_everyAnswerBeginsWithTheHeadersThatGuardIt(t *testing.T) {
	want := map[string]string{
		"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
		"Cross-Origin-Resource-Policy": "same-origin", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
	}
	server := func(f http.HandlerFunc) http.Handler { return quietly(&Server{Next: f}) }
	for what, c := range map[string]struct {
		h      http.Handler
		change func(*http.Request)
	}{
		"an answer":      {server(func(http.ResponseWriter, *http.Request) {}), func(*http.Request) {}},
		"nobody's":       {server(http.NotFound), func(*http.Request) {}},
		"a panic":        {server(func(http.ResponseWriter, *http.Request) { panic("oh") }), func(*http.Request) {}},
		"too much of it": {http.NotFoundHandler(), func(r *http.Request) { r.URL.RawQuery = strings.Repeat("&", 100) }},
		"turned away":    {full(), func(*http.Request) {}},
	} {
		for _, hsts := range []bool{false, true} {
			h := ask(t, c.h, HTTPLimits{HSTS: func() bool { return hsts }}, c.change).Header
			for name, value := range want {
				if h.Get(name) != value {
					t.Errorf("%s has %s %q, want %q", what, name, h.Get(name), value)
				}
			}
			if (h.Get("Strict-Transport-Security") != "") != hsts {
				t.Errorf("%s has Strict-Transport-Security %q, want one: %v", what, h.Get("Strict-Transport-Security"), hsts)
			}
		}
	}
}
