package fetch

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func open(t *testing.T, o Options) *Client {
	t.Helper()
	c := New(o)
	t.Cleanup(c.Close)
	return c
}

func TestAllowed_refusesEverythingThatIsNotPublic(t *testing.T) {
	for _, s := range []string{
		"127.0.0.1", "127.8.9.10", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1",
		"100.64.0.1", "100.127.255.255", "169.254.169.254", "168.63.129.16", "100.100.100.200",
		"192.0.0.8", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1",
		"224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
		"64:ff9b::a00:1", "64:ff9b::808:808", "64:ff9b:1::1", "100::1", "2001::1", "2001:2::1", "2001:10::1",
		"2001:db8::1", "2002:a00:1::1", "3fff::1", "5f00::1", "fc00::1", "fd12:3456::1", "fd00:ec2::254",
		"fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1",
	} {
		if allowed(netip.MustParseAddr(s), false) {
			t.Errorf("allowed(%s) = true, want false", s)
		}
	}
}

func TestAllowed_admitsThePublicInternet(t *testing.T) {
	for _, s := range []string{
		"8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.1", "172.32.0.1", "192.0.1.1", "198.20.0.1", "223.255.255.255",
		"::ffff:8.8.8.8", "2606:4700::1111", "2a00:1450:4001::1", "2001:4860:4860::8888",
	} {
		if !allowed(netip.MustParseAddr(s), false) {
			t.Errorf("allowed(%s) = false, want true", s)
		}
	}
}

func TestAllowed_keepsMetadataShutOnPrivateNetworks(t *testing.T) {
	for s, want := range map[string]bool{
		"127.0.0.1": true, "10.0.0.1": true, "::1": true, "fd12::1": true,
		"169.254.169.254": false, "::ffff:169.254.169.254": false, "fe80::1%eth0": false, "fd00:ec2::254": false,
		"100.100.100.200": false, "168.63.129.16": false, "224.0.0.1": false,
	} {
		if got := allowed(netip.MustParseAddr(s), true); got != want {
			t.Errorf("allowed(%s, private) = %v, want %v", s, got, want)
		}
	}
}

func TestGet_returnsBodyAndHeader(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Kind", r.Header.Get("User-Agent"))
		io.WriteString(w, "hello")
	})
	body, header, err := open(t, Options{AllowPrivate: true}).Get(t.Context(), s.URL)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(body)+" "+header.Get("X-Kind"), "hello Gatehouse"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The server behind these URLs answers; only the guard keeps us from it.
func TestGet_refusesInnerAddressesHoweverTheyAreWritten(t *testing.T) {
	var asked atomic.Bool
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Store(true) }))
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	u, _ := url.Parse(s.URL)

	if _, _, err := open(t, Options{AllowPrivate: true, RootCAs: roots}).Get(t.Context(), s.URL); err != nil || !asked.Load() {
		t.Fatalf("the server is not there to be refused: %v", err)
	}
	asked.Store(false)
	c := open(t, Options{RootCAs: roots})
	for _, host := range []string{"127.0.0.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "localhost", "[::1]", "0.0.0.0", "[::]", "10.0.0.1", "169.254.169.254", "[64:ff9b::7f00:1]"} {
		_, _, err := c.Get(t.Context(), "https://"+host+":"+u.Port()+"/secret-path")
		// A machine without IPv6 has no socket to ask the guard about.
		no6 := errors.Is(err, ErrUnreachable) && strings.HasPrefix(host, "[") && !strings.Contains(host, "ffff")
		if !errors.Is(err, ErrRefused) && !no6 {
			t.Errorf("%s: got %v, want ErrRefused", host, err)
		}
	}
	if asked.Load() {
		t.Error("the inner server was reached")
	}
}

func TestGet_refusesSchemesAndUnreadableURLs(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	for _, c := range []struct {
		url     string
		private bool
	}{
		{s.URL, false},
		{"http://example.org/", false},
		{"file:///etc/passwd", true},
		{"gopher://example.org/", true},
		{"ftp://example.org/", true},
		{"//example.org/", true},
		{"example.org", true},
		{"", true},
		{"http://[::1/?secret", true},
		{"https://a b/", false},
	} {
		_, _, err := open(t, Options{AllowPrivate: c.private}).Get(t.Context(), c.url)
		if !errors.Is(err, ErrRefused) {
			t.Errorf("%q: got %v, want ErrRefused", c.url, err)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the message repeats the URL: %v", c.url, err)
		}
	}
}

// A name that leads inside must not tell where: Kratos b988421.
func TestError_doesNotTellInnerAddress(t *testing.T) {
	_, _, err := open(t, Options{}).Get(t.Context(), "https://user:hunter2@localhost:9/path?token=hunter3")
	var fe *Error
	if !errors.As(err, &fe) || !errors.Is(err, ErrRefused) {
		t.Fatalf("got %v, want an *Error for ErrRefused", err)
	}
	if got, want := err.Error(), "fetch https://localhost:9: the address is not allowed"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}

	gone := serve(t, func(http.ResponseWriter, *http.Request) {})
	gone.Close()
	named := strings.Replace(gone.URL, "127.0.0.1", "localhost", 1)
	_, _, err = open(t, Options{AllowPrivate: true}).Get(t.Context(), named)
	if !errors.Is(err, ErrUnreachable) || !errors.As(err, &fe) {
		t.Fatalf("got %v, want an *Error for ErrUnreachable", err)
	}
	if strings.Contains(err.Error(), "127.0.0.1") || strings.Contains(err.Error(), "::1") {
		t.Errorf("the message tells the address: %v", err)
	}
	if fe.Detail() == "" {
		t.Error("the operator's detail is missing")
	}
}

// The log line of a call that failed must not hold the key in its URL.
func TestError_detailLeavesPathAndQueryOut(t *testing.T) {
	gone := serve(t, func(http.ResponseWriter, *http.Request) {})
	gone.Close()
	for _, u := range []string{gone.URL + "/hunter2?key=hunter2", "http://a b/hunter2?key=hunter2"} {
		_, _, err := open(t, Options{AllowPrivate: true}).Get(t.Context(), u)
		var fe *Error
		if !errors.As(err, &fe) {
			t.Fatalf("%s: got %v, want an *Error", u, err)
		}
		if d := fe.Detail(); d == "" || strings.Contains(d, "hunter2") {
			t.Errorf("%s: the detail is %q", u, d)
		}
	}
}

func TestWithin_hasLimitsOfItsOwn(t *testing.T) {
	release := make(chan struct{})
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
		w.Write(make([]byte, 10))
	})
	c := open(t, Options{AllowPrivate: true, MaxBytes: 5, MaxConcurrent: 1})
	w := c.Within(Limits{MaxBytes: 10, MaxConcurrent: 1})
	if body, _, err := w.Get(t.Context(), s.URL); err != nil || len(body) != 10 {
		t.Errorf("got %d bytes, %v, want 10", len(body), err)
	}
	if _, _, err := c.Get(t.Context(), s.URL); !errors.Is(err, ErrTooLarge) {
		t.Errorf("the first client: got %v, want ErrTooLarge", err)
	}
	if _, _, err := c.Within(Limits{Timeout: 20 * time.Millisecond}).Get(t.Context(), s.URL+"/slow"); !errors.Is(err, ErrTimeout) {
		t.Errorf("got %v, want ErrTimeout", err)
	}

	// The one slot of c is taken; w has its own, and a Client without shares.
	c.slots <- struct{}{}
	if _, _, err := w.Get(t.Context(), s.URL); err != nil {
		t.Errorf("own slots: %v", err)
	}
	if _, _, err := c.Within(Limits{Timeout: 20 * time.Millisecond}).Get(t.Context(), s.URL); !errors.Is(err, ErrTimeout) {
		t.Errorf("shared slots: got %v, want ErrTimeout", err)
	}
	<-c.slots
	close(release)

	inner := "https://127.0.0.1:9/"
	if _, _, err := open(t, Options{}).Within(Limits{Timeout: time.Minute}).Get(t.Context(), inner); !errors.Is(err, ErrRefused) {
		t.Errorf("the guard: got %v, want ErrRefused", err)
	}
}

func TestGet_doesNotFollowRedirects(t *testing.T) {
	var hits atomic.Int32
	inner := serve(t, func(http.ResponseWriter, *http.Request) { hits.Add(1) })
	for _, to := range []string{"http://169.254.169.254/latest/meta-data/", inner.URL, "/again"} {
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/again" {
				hits.Add(1)
			}
			http.Redirect(w, r, to, http.StatusFound)
		})
		_, _, err := open(t, Options{AllowPrivate: true}).Get(t.Context(), s.URL)
		var se *StatusError
		if !errors.As(err, &se) || se.Code != http.StatusFound {
			t.Errorf("%s: got %v, want status 302", to, err)
		} else if strings.Contains(err.Error(), "169.254") {
			t.Errorf("the message tells the target: %v", err)
		}
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("%d redirects were followed", n)
	}
}

// net/http reads the environment once per process, so a request could not
// show reliably that it is not read; the field can.
func TestNew_ignoresProxyFromEnvironment(t *testing.T) {
	if open(t, Options{}).http.Transport.(*http.Transport).Proxy != nil {
		t.Error("a proxy is set: it would dial past the guard")
	}
}

func TestGet_refusesLongBodyInsteadOfCuttingIt(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/fits":
			w.Write(make([]byte, 1000))
		case "/long":
			w.Write(make([]byte, 1001))
		case "/endless":
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		case "/bomb":
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			z.Write(make([]byte, 1<<20))
			z.Close()
		}
	})
	c := open(t, Options{AllowPrivate: true, MaxBytes: 1000})
	if body, _, err := c.Get(t.Context(), s.URL+"/fits"); err != nil || len(body) != 1000 {
		t.Errorf("/fits: got %d bytes, %v, want 1000", len(body), err)
	}
	for _, path := range []string{"/long", "/endless", "/bomb"} {
		if body, _, err := c.Get(t.Context(), s.URL+path); !errors.Is(err, ErrTooLarge) || body != nil {
			t.Errorf("%s: got %d bytes, %v, want ErrTooLarge and no body", path, len(body), err)
		}
	}
}

func TestGet_endsAtTimeoutThoughBytesDripIn(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/silent" {
			<-r.Context().Done()
			return
		}
		drip := time.NewTicker(10 * time.Millisecond)
		defer drip.Stop()
		for {
			select {
			case <-r.Context().Done():
				return
			case <-drip.C:
				io.WriteString(w, "x")
				w.(http.Flusher).Flush()
			}
		}
	})
	c := open(t, Options{AllowPrivate: true, Timeout: 150 * time.Millisecond})
	for _, path := range []string{"/silent", "/drip"} {
		begin := time.Now()
		_, _, err := c.Get(t.Context(), s.URL+path)
		if !errors.Is(err, ErrTimeout) {
			t.Errorf("%s: got %v, want ErrTimeout", path, err)
		}
		if d := time.Since(begin); d > 3*time.Second {
			t.Errorf("%s: took %v, want about 150 ms", path, d)
		}
	}
}

func TestGet_callerMayGiveUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	_, _, err := open(t, Options{AllowPrivate: true}).Get(ctx, s.URL)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestDo_handsOutTheBodyOfARefusal(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusBadRequest)
		w.Write(append([]byte(r.Method+" "), body...))
	})
	req, _ := http.NewRequest(http.MethodPost, s.URL, bytes.NewReader([]byte("payload")))
	res, err := open(t, Options{AllowPrivate: true}).Do(t.Context(), req)
	var se *StatusError
	if !errors.As(err, &se) || se.Code != 400 {
		t.Fatalf("got %v, want status 400", err)
	}
	if got, want := err.Error(), "fetch "+s.URL+": status 400 Bad Request"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := string(res.Body), "POST payload"; got != want || res.Status != 400 {
		t.Errorf("got %d %q, want 400 %q", res.Status, got, want)
	}
	if req.Header.Get("User-Agent") != "" {
		t.Error("the caller's request was changed")
	}
}

func TestDo_letsNoMoreThanMaxConcurrentThrough(t *testing.T) {
	var now, most atomic.Int32
	full, release := make(chan struct{}, 8), make(chan struct{})
	s := serve(t, func(http.ResponseWriter, *http.Request) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		full <- struct{}{}
		<-release
		now.Add(-1)
	})
	c := open(t, Options{AllowPrivate: true, MaxConcurrent: 2})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, _, err := c.Get(t.Context(), s.URL); err != nil {
				t.Error(err)
			}
		})
	}
	<-full
	<-full
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := c.Get(ctx, s.URL); !errors.Is(err, ErrTimeout) {
		t.Errorf("waiting for a slot: got %v, want ErrTimeout", err)
	}
	close(release)
	wg.Wait()
	if got := most.Load(); got != 2 {
		t.Errorf("at most %d at once, want 2", got)
	}
}
