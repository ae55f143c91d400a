package web

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/limit"
)

// through sends requests past a Server and returns what Take said to the last.
func through(s Server, l *Limits, name string, times int, from string, headers map[string]string) error {
	var last error
	s.Log, s.Now = slog.New(slog.DiscardHandler), fixed
	s.Next = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { last = l.Take(r, name) })
	for range times {
		r := httptest.NewRequest("POST", "/token", nil)
		r.RemoteAddr = from
		for k, v := range headers {
			if k == "Proto" {
				r.Proto, r.ProtoMajor, r.ProtoMinor = v, 1, 0
				continue
			}
			r.Header.Set(k, v)
		}
		s.ServeHTTP(httptest.NewRecorder(), r)
	}
	return last
}

func fixed() time.Time { return time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC) }

func limits() *Limits {
	return &Limits{Limiter: limit.New(fixed), Rates: map[string]limit.Rate{"token": {Events: 1, Per: time.Minute, Burst: 2}}}
}

func TestTake_countsEachClientByItself(t *testing.T) {
	l, behind := limits(), Server{AddressHeader: "X-Client"}
	if err := through(behind, l, "token", 2, "10.0.0.1:1", map[string]string{"X-Client": "203.0.113.1"}); err != nil {
		t.Fatalf("the second request: %v", err)
	}
	err := through(behind, l, "token", 1, "10.0.0.1:1", map[string]string{"X-Client": "203.0.113.1"})
	var e *auth.Error
	if !errors.As(err, &e) || e.Code != auth.TooMany || e.RetryAfter < time.Second {
		t.Fatalf("the third request: %#v, want TooMany with a time to wait", err)
	}
	if err := through(behind, l, "token", 1, "10.0.0.1:1", map[string]string{"X-Client": "203.0.113.2"}); err != nil {
		t.Errorf("another client: %v", err)
	}
	if err := through(Server{}, l, "token", 1, "203.0.113.1:99", map[string]string{"X-Client": "203.0.113.77"}); auth.CodeOf(err) != auth.TooMany {
		t.Errorf("the same client without a proxy, naming itself otherwise: %v, want TooMany", err)
	}
}

func TestTake_letsOnlyAMachinesOwnPeopleGoUncounted(t *testing.T) {
	if err := through(Server{}, limits(), "token", 9, "127.0.0.1:1", nil); err != nil {
		t.Errorf("a developer on this machine: %v", err)
	}
	if err := through(Server{}, limits(), "token", 9, "[::1]:1", nil); err != nil {
		t.Errorf("a developer on this machine: %v", err)
	}
	for from, s := range map[string]Server{"127.0.0.1:1": {AddressHeader: "X-Client"}, "192.0.2.1:1": {}, "@": {}, "": {}} {
		if err := through(s, limits(), "token", 9, from, nil); auth.CodeOf(err) != auth.TooMany {
			t.Errorf("request 9 from %q behind %q: %v, want TooMany", from, s.AddressHeader, err)
		}
	}
}

// A proxy on this machine that nobody configured must not switch the limits
// off for the whole internet.
func TestTake_countsWhoComesThroughALocalProxy(t *testing.T) {
	l := limits()
	from := func(client string) error {
		return through(Server{}, l, "token", 1, "127.0.0.1:1", map[string]string{"X-Forwarded-For": "192.0.2.77, " + client})
	}
	for range 2 {
		if err := from("203.0.113.1"); err != nil {
			t.Fatal(err)
		}
	}
	if err := from("203.0.113.1"); auth.CodeOf(err) != auth.TooMany {
		t.Errorf("request 3 of one client: %v, want TooMany", err)
	}
	if err := from("203.0.113.2"); err != nil {
		t.Errorf("another client of the same proxy: %v", err)
	}
	for _, trace := range []string{"Forwarded: for=203.0.113.1", "X-Forwarded-For: unknown", "X-Forwarded-Host: auth.example", "X-Forwarded-Proto: https", "X-Real-Ip: 203.0.113.1", "Via: 1.1 proxy", "Proto: HTTP/1.0"} {
		name, value, _ := strings.Cut(trace, ": ")
		if err := through(Server{}, limits(), "token", 3, "127.0.0.1:1", map[string]string{name: value}); auth.CodeOf(err) != auth.TooMany {
			t.Errorf("request 3 with %q: %v, want TooMany", trace, err)
		}
	}
}

func TestTake_ofAnUnknownNameOrSwitchedOffCountsNothing(t *testing.T) {
	if err := through(Server{}, limits(), "other", 9, "192.0.2.1:1", nil); err != nil {
		t.Errorf("a name without a rate: %v", err)
	}
	l := limits()
	l.Off = true
	if err := through(Server{}, l, "token", 9, "192.0.2.1:1", nil); err != nil {
		t.Errorf("limits that are off: %v", err)
	}
}
