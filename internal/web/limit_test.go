package web

import (
	"context"
	"errors"
	"fmt"
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
	l, behind := limits(), Server{Clients: Clients{Header: "X-Client"}}
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
	for from, s := range map[string]Server{"127.0.0.1:1": {Clients: Clients{Header: "X-Client"}}, "192.0.2.1:1": {}, "@": {}, "": {}} {
		if err := through(s, limits(), "token", 9, from, nil); auth.CodeOf(err) != auth.TooMany {
			t.Errorf("request 9 from %q behind %q: %v, want TooMany", from, s.Clients.Header, err)
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
	for _, trace := range []string{"Forwarded: for=203.0.113.1", "X-Forwarded-For: unknown", "X-Forwarded-Host: auth.example", "X-Forwarded-Proto: https", "X-Real-Ip: 203.0.113.1", "Via: 1.1 proxy", "Connection: close, X-Forwarded-For", "X-Forwarded-For: ", "Proto: HTTP/1.0"} {
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

// Who rents a larger network than a /64 has not a limit for each part of it.
func TestTake_countsTheNetworksAroundAnIPv6Client(t *testing.T) {
	for _, c := range []struct {
		what string
		from func(i int) string
		most int
	}{
		{"one /64", func(i int) string { return fmt.Sprintf("[2001:db8:1:100::%x]:1", i+1) }, 2},
		{"one /56", func(i int) string { return fmt.Sprintf("[2001:db8:1:1%02x::1]:1", i) }, 8},
		{"one /48", func(i int) string { return fmt.Sprintf("[2001:db8:1:%02x00::1]:1", i) }, 8},
		{"IPv4", func(i int) string { return fmt.Sprintf("198.51.100.%d:1", i) }, 60},
	} {
		l, got := limits(), 0
		for i := range 60 {
			if through(Server{}, l, "token", 1, c.from(i), nil) == nil {
				got++
			}
		}
		if got != c.most {
			t.Errorf("%s: %d of 60 were let through, want %d", c.what, got, c.most)
		}
	}
	// A /64 that is refused does not spend its neighbours' part.
	l := limits()
	if err := through(Server{}, l, "token", 100, "[2001:db8:1:100::1]:1", nil); auth.CodeOf(err) != auth.TooMany {
		t.Errorf("request 100: %v, want TooMany", err)
	}
	if err := through(Server{}, l, "token", 2, "[2001:db8:1:101::1]:1", nil); err != nil {
		t.Errorf("a neighbour: %v", err)
	}
}

func TestTake_countsEachUseOfARateAndEachTenantByItself(t *testing.T) {
	l := limits()
	for _, name := range []string{"token", "token a", "token b"} {
		if err := through(Server{}, l, name, 2, "192.0.2.1:1", nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := through(Server{}, l, name, 1, "192.0.2.1:1", nil); auth.CodeOf(err) != auth.TooMany {
			t.Errorf("%s, one too many: %v", name, err)
		}
	}
	other := &Limits{Limiter: l.Limiter, Rates: l.Rates, Tenant: auth.TenantID{1}}
	if err := through(Server{}, other, "token", 2, "192.0.2.1:1", nil); err != nil {
		t.Errorf("another tenant: %v", err)
	}
}

// New settings take what was counted over.
func TestTake_outlivesItsRates(t *testing.T) {
	l := limits()
	if err := through(Server{}, l, "token", 2, "192.0.2.1:1", nil); err != nil {
		t.Fatal(err)
	}
	next := &Limits{Limiter: l.Limiter, Rates: map[string]limit.Rate{"token": {Events: 1, Per: time.Minute, Burst: 1}}}
	if err := through(Server{}, next, "token", 1, "192.0.2.1:1", nil); auth.CodeOf(err) != auth.TooMany {
		t.Errorf("after a reload: %v, want TooMany", err)
	}
}

func TestTakeOf_countsWhateverTheAddress(t *testing.T) {
	l := limits()
	take := func(from, subject string) (last error) {
		s := Server{Log: slog.New(slog.DiscardHandler), Now: fixed}
		s.Next = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { last = l.TakeOf(r, "token", subject) })
		r := httptest.NewRequest("POST", "/token", nil)
		r.RemoteAddr = from
		s.ServeHTTP(httptest.NewRecorder(), r)
		return last
	}
	for i := range 2 {
		if err := take(fmt.Sprintf("192.0.2.%d:1", i), "one"); err != nil {
			t.Fatal(err)
		}
	}
	if err := take("192.0.2.99:1", "one"); auth.CodeOf(err) != auth.TooMany {
		t.Errorf("the third: %v, want TooMany", err)
	}
	if err := take("192.0.2.99:1", "two"); err != nil {
		t.Errorf("another: %v", err)
	}
	if err := take("127.0.0.1:1", "one"); err != nil {
		t.Errorf("a developer: %v", err)
	}
}

// What is counted on all nodes is asked for once, also of an IPv6 client, until
// more come from its neighbourhood than one client may send.
func TestTake_asksAllNodesOnceForEachRequest(t *testing.T) {
	l, asked, all := limits(), 0, limit.New(fixed)
	l.Shared = limit.NewShared(fixed, func(_ context.Context, k limit.Key, n int, one, span time.Duration) (time.Duration, error) {
		asked++
		_, wait := all.Take(k.Name, k.Subject, limit.Rate{Events: 1, Per: one, Burst: int(span / one)})
		return wait, nil
	}, nil, l.Limiter)
	got := 0
	for i := range 100 {
		if through(Server{}, l, "token", 1, fmt.Sprintf("[2001:db8:1:1%02x::1]:1", i), nil) == nil {
			got++
		}
		if i == 1 && asked != 2 {
			t.Errorf("%d questions for two requests of two clients, want two", asked)
		}
	}
	if got != 10 { // eight, and two before it asked
		t.Errorf("%d of 100 clients of one /56 were let through, want 10", got)
	}
}

// What is counted afterwards asks nothing for a client that comes once, also of
// an IPv6 client, and the limit of its neighbourhood holds.
func TestTake_ofALateRateAsksOnlyForWhoComesOften(t *testing.T) {
	l, asked, full := limits(), 0, map[string]time.Time{}
	l.Rates["token"] = limit.Rate{Events: 1, Per: time.Minute, Burst: 2, Late: true}
	l.Shared = limit.NewShared(fixed, func(context.Context, limit.Key, int, time.Duration, time.Duration) (time.Duration, error) {
		t.Error("a question before a request is let through")
		return 0, nil
	}, func(_ context.Context, debts []limit.Debt) (list []time.Time, _ error) {
		asked++
		for _, d := range debts {
			if full[d.Key.Subject].IsZero() {
				full[d.Key.Subject] = fixed()
			}
			full[d.Key.Subject] = full[d.Key.Subject].Add(d.Cost)
			list = append(list, full[d.Key.Subject])
		}
		return list, nil
	}, l.Limiter)
	got := 0
	for i := range 100 {
		if through(Server{}, l, "token", 1, fmt.Sprintf("[2001:db8:1:1%02x::1]:1", i), nil) == nil {
			got++
		}
		if i == 1 && asked != 0 {
			t.Errorf("%d questions for two requests of two clients, want none", asked)
		}
	}
	if got < 8 || got > 11 { // eight, two before it asked, and one that is not charged
		t.Errorf("%d of 100 clients of one /56 were let through, want 8 to 11", got)
	}
	if asked == 0 || full["2001:db8:1::/48"].IsZero() || full["2001:db8:1:100::/56"].IsZero() {
		t.Errorf("%d questions; charged are %v, want both networks around the clients", asked, full)
	}
}
