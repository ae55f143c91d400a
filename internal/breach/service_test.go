package breach

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/fetch"
)

// digits returns the prefix and the suffix of the SHA-1 of password, as a range
// service writes them.
func digits(password string) (prefix, suffix string) {
	sum := sha1.Sum([]byte(password))
	s := strings.ToUpper(hex.EncodeToString(sum[:]))
	return s[:5], s[5:]
}

// rangeServer answers with the rows of one known password and counts requests.
type rangeServer struct {
	*httptest.Server
	asked  atomic.Int64
	answer atomic.Value // http.HandlerFunc
}

func serve(t *testing.T, h http.HandlerFunc) *rangeServer {
	t.Helper()
	s := &rangeServer{}
	s.answer.Store(h)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		s.answer.Load().(http.HandlerFunc)(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func text(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }
}

// clock is turned by hand.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time       { return time.Unix(1_800_000_000, c.at.Load()) }
func (c *clock) turn(d time.Duration) { c.at.Add(int64(d)) }

func open(t *testing.T, url string) (*Service, *clock) {
	t.Helper()
	client := fetch.New(fetch.Options{AllowPrivate: true})
	t.Cleanup(client.Close)
	c := &clock{}
	return New(client, url, "house-test", c.now), c
}

const other = "0123456789ABCDEF0123456789ABCDEF012"

func TestCheck_asksForFiveDigitsAndNoMore(t *testing.T) {
	t.Parallel()
	// SHA-1 of "password" is 5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8.
	type asked struct{ method, target, padding, agent, body string }
	got := make(chan asked, 1)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b := new(bytes.Buffer)
		b.ReadFrom(r.Body)
		got <- asked{r.Method, r.RequestURI, r.Header.Get("Add-Padding"), r.Header.Get("User-Agent"), b.String()}
		for name, values := range r.Header {
			if strings.Contains(strings.ToUpper(name+strings.Join(values, " ")), "1E4C9B") {
				t.Errorf("the header %s tells more than five digits", name)
			}
		}
		fmt.Fprint(w, "003D68EB55068C33ACE09247EE4C639306B:3\r\n1E4C9B93F3F0682250B6CF8331B7EE68FD8:9545824")
	})
	service, _ := open(t, s.URL+"/")
	found, err := service.Check(t.Context(), "password")
	if err != nil || !found {
		t.Errorf("Check = %v, %v, want true", found, err)
	}
	if got, want := <-got, (asked{"GET", "/range/5BAA6", "true", "house-test", ""}); got != want {
		t.Errorf("asked %+v, want %+v", got, want)
	}
}

func TestCheck_readsTheRows(t *testing.T) {
	t.Parallel()
	const password = "hunter2"
	_, suffix := digits(password)
	for name, c := range map[string]struct {
		body  string
		found bool
	}{
		"only row":           {suffix + ":1", true},
		"first row":          {suffix + ":1\r\n" + other + ":2\r\n", true},
		"last row":           {other + ":2\r\n" + suffix + ":1", true},
		"bare line feeds":    {other + ":2\n" + suffix + ":1\n", true},
		"lower case":         {strings.ToLower(suffix) + ":7", true},
		"padding":            {suffix + ":0\r\n" + other + ":1", false},
		"long zero":          {suffix + ":000", false},
		"nothing but others": {other + ":1\r\n", false},
		"only padding":       {other + ":0\r\n", false},
		"last digit differs": {suffix[:34] + next(suffix[34]) + ":1", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, text(c.body))
			service, _ := open(t, s.URL)
			found, err := service.Check(t.Context(), password)
			if err != nil || found != c.found {
				t.Errorf("Check = %v, %v, want %v", found, err, c.found)
			}
		})
	}
}

// next returns another hex digit than c.
func next(c byte) string {
	if c == '0' {
		return "1"
	}
	return "0"
}

func TestCheck_refusesWhatIsNoList(t *testing.T) {
	t.Parallel()
	const password = "hunter2"
	_, suffix := digits(password)
	binary := make([]byte, 5000)
	rand.Read(binary)
	for name, body := range map[string]string{
		"empty":           "",
		"blank lines":     "\r\n\r\n",
		"page":            "<!doctype html><title>Please sign in to the network</title>",
		"binary":          string(binary),
		"zeros":           string(make([]byte, 5000)),
		"good, then bad":  suffix + ":1\r\nnonsense",
		"no count":        suffix + "\r\n",
		"empty count":     suffix + ":\r\n",
		"negative count":  suffix + ":-1\r\n",
		"endless count":   suffix + ":" + strings.Repeat("1", 20),
		"short suffix":    suffix[1:] + ":1",
		"long suffix":     suffix + "0:1",
		"whole hash":      "F3BBB" + suffix + ":1",
		"not hex":         suffix[:34] + "G:1",
		"not hex between": suffix[:10] + "\x00" + suffix[11:] + ":1",
		"space":           suffix + ": 1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, text(body))
			service, _ := open(t, s.URL)
			found, err := service.Check(t.Context(), password)
			if found || !errors.Is(err, ErrAnswer) {
				t.Errorf("Check = %v, %v, want ErrAnswer", found, err)
			}
		})
	}
}

func TestCheck_refusesAnswersThatAreTooLong(t *testing.T) {
	t.Parallel()
	_, suffix := digits("hunter2")
	body := suffix + ":1\r\n" + strings.Repeat(other+":1\r\n", 1<<20/38)
	s := serve(t, text(body))
	for name, c := range map[string]struct {
		client int64
		want   error
	}{
		"by the client":  {0, fetch.ErrTooLarge},
		"by the service": {16 << 20, ErrAnswer},
	} {
		client := fetch.New(fetch.Options{AllowPrivate: true, MaxBytes: c.client})
		t.Cleanup(client.Close)
		found, err := New(client, s.URL, "", (&clock{}).now).Check(t.Context(), "hunter2")
		if found || !errors.Is(err, c.want) {
			t.Errorf("%s: Check = %v, %v, want %v", name, found, err, c.want)
		}
	}
}

func TestCheck_refusesOtherStatuses(t *testing.T) {
	t.Parallel()
	_, suffix := digits("hunter2")
	for _, status := range []int{201, 203, 301, 302, 400, 403, 404, 429, 500, 503} {
		s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/range/00000")
			w.WriteHeader(status)
			fmt.Fprint(w, suffix+":1")
		})
		service, _ := open(t, s.URL)
		if found, err := service.Check(t.Context(), "hunter2"); found || err == nil {
			t.Errorf("%d: Check = %v, %v", status, found, err)
		}
		if n := s.asked.Load(); n != 1 {
			t.Errorf("%d: asked %d times", status, n)
		}
	}
}

// silent is a handler that answers nothing until the test is over.
func silent(t *testing.T) http.HandlerFunc {
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	return func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush() // the header alone is no answer
		select {
		case <-over:
		case <-r.Context().Done():
		}
	}
}

func TestCheck_givesUpOnASlowService(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.answer.Store(silent(t))
	service, _ := open(t, s.URL)
	if service.timeout != 2*time.Second {
		t.Errorf("waits %v, want 2s", service.timeout)
	}
	service.timeout = 50 * time.Millisecond
	if found, err := service.Check(t.Context(), "hunter2"); found || !errors.Is(err, fetch.ErrTimeout) {
		t.Errorf("Check = %v, %v, want ErrTimeout", found, err)
	}
}

func TestCheck_errorsTellNothingOfThePassword(t *testing.T) {
	t.Parallel()
	const password = "hunter2"
	prefix, suffix := digits(password)
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	service, _ := open(t, s.URL)
	bad, _ := open(t, "http://user:s3cret@exa mple.org")
	for _, service := range []*Service{service, bad} {
		_, err := service.Check(t.Context(), password)
		if err == nil {
			t.Fatal("no error")
		}
		for _, secret := range []string{password, prefix, suffix, "s3cret"} {
			if strings.Contains(strings.ToUpper(err.Error()), strings.ToUpper(secret)) {
				t.Errorf("%q tells %q", err, secret)
			}
		}
	}
}

func TestCheck_restsAfterFiveFailuresInARow(t *testing.T) {
	t.Parallel()
	const password = "hunter2"
	_, suffix := digits(password)
	down := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	s := serve(t, down)
	service, c := open(t, s.URL)
	check := func(want error, asked int64) {
		t.Helper()
		_, err := service.Check(t.Context(), password)
		if want == nil && err != nil || want != nil && !errors.Is(err, want) {
			t.Errorf("Check = %v, want %v", err, want)
		}
		if got := s.asked.Load(); got != asked {
			t.Errorf("asked %d times, want %d", got, asked)
		}
	}
	for i := range int64(5) {
		_, err := service.Check(t.Context(), password)
		var status *fetch.StatusError
		if !errors.As(err, &status) || s.asked.Load() != i+1 {
			t.Fatalf("failure %d: %v", i+1, err)
		}
	}
	check(ErrResting, 5)
	c.turn(30*time.Second - 1)
	check(ErrResting, 5)
	c.turn(1)
	_, err := service.Check(t.Context(), password) // one try, in vain
	if s.asked.Load() != 6 || errors.Is(err, ErrResting) {
		t.Errorf("after the rest: asked %d times, %v", s.asked.Load(), err)
	}
	check(ErrResting, 6)
	c.turn(30 * time.Second)
	s.answer.Store(text(suffix + ":1"))
	check(nil, 7)
	// Back to normal: the next five failures count anew.
	s.answer.Store(down)
	c.turn(2 * cacheFor)
	for range 4 {
		service.Check(t.Context(), password)
	}
	s.answer.Store(text(suffix + ":1"))
	check(nil, 12)
}

func TestCheck_letsOneTryAfterTheRest(t *testing.T) {
	t.Parallel()
	var b breaker
	now := time.Unix(1_800_000_000, 0)
	for range breakAfter {
		b.failed(now)
	}
	now = now.Add(breakFor)
	if !b.enter(now, time.Second) {
		t.Fatal("nobody may try")
	}
	if b.enter(now, time.Second) {
		t.Error("a second caller waits for a service that is perhaps still down")
	}
	// The one who tried left without a verdict.
	if !b.enter(now.Add(time.Second), time.Second) {
		t.Error("nobody may ever try again")
	}
}

func TestCheck_doesNotCountCallersWhoLeave(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.answer.Store(silent(t))
	service, _ := open(t, s.URL)
	for range 2 * breakAfter {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := service.Check(ctx, "hunter2"); !errors.Is(err, context.Canceled) {
			t.Fatalf("Check = %v, want canceled", err)
		}
	}
	_, suffix := digits("hunter2")
	s.answer.Store(text(suffix + ":1"))
	if found, err := service.Check(t.Context(), "hunter2"); err != nil || !found {
		t.Errorf("Check = %v, %v, want true", found, err)
	}
}

func TestCheck_remembersAnAnswerForAnHour(t *testing.T) {
	t.Parallel()
	_, suffix := digits("hunter2")
	s := serve(t, text(suffix+":1"))
	service, c := open(t, s.URL)
	for _, step := range []struct {
		turn     time.Duration
		password string
		asked    int64
	}{
		{0, "hunter2", 1},
		{0, "hunter2", 1},
		{0, "hunter3", 2},
		{time.Hour - 1, "hunter2", 2},
		{1, "hunter2", 3},
	} {
		c.turn(step.turn)
		found, err := service.Check(t.Context(), step.password)
		if err != nil || found != (step.password == "hunter2") {
			t.Errorf("%s: Check = %v, %v", step.password, found, err)
		}
		if got := s.asked.Load(); got != step.asked {
			t.Errorf("asked %d times, want %d", got, step.asked)
		}
	}
}

func TestCache_staysSmall(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	for size, most := range map[int]int{0: cachePrefixes, 100: cachePrefixes, cacheOne: cacheBytes / cacheOne, cacheOne + 1: 0} {
		var c cache
		key := func(i int) string { return fmt.Sprintf("%05X", i) }
		for i := range 1000 {
			c.put(key(i), make([]byte, size), now)
			c.put(key(i), make([]byte, size), now) // again: one entry
		}
		if c.order.Len() != most || len(c.by) != most || c.size != most*size {
			t.Errorf("%d bytes each: %d kept, %d known, %d bytes; want %d", size, c.order.Len(), len(c.by), c.size, most)
		}
		if _, ok := c.rows(key(999), now); ok != (most > 0) {
			t.Errorf("%d bytes each: the newest is kept: %v", size, ok)
		}
		if _, ok := c.rows(key(999-most), now); ok {
			t.Errorf("%d bytes each: one too many is kept", size)
		}
	}
}

func TestNew_asksThePublicServiceUnlessToldOtherwise(t *testing.T) {
	t.Parallel()
	if s, _ := open(t, ""); s.baseURL != "https://api.pwnedpasswords.com" {
		t.Errorf("asks %s", s.baseURL)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(other + ":1\r\n" + other + ":0"))
	f.Add([]byte("\x00\xff:\r\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		rows, err := parse(body)
		if err != nil && rows != nil || len(rows)%suffixSize != 0 || len(rows) > len(body) {
			t.Errorf("%d bytes of rows, %v", len(rows), err)
		}
	})
}
