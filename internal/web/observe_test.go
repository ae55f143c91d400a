package web

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/auth"
	"gatehouse/internal/limit"
)

// answered is what Observe, Refused and the end of a trace are told.
type answered struct {
	Who, Route, Method string
	Status             int
	Took               time.Duration
}

func TestServer_tellsThoseWhoObserve(t *testing.T) {
	type key struct{}
	for name, c := range map[string]struct {
		f    http.HandlerFunc
		want []answered
	}{
		"a route": {
			func(w http.ResponseWriter, r *http.Request) { LineOf(r).Route = "GET /user"; w.WriteHeader(403) },
			[]answered{{"observe", "GET /user", "GET", 403, time.Second}, {"trace", "GET /user", "GET", 403, 0}},
		},
		"none": {http.NotFound, []answered{{"observe", "none", "GET", 404, time.Second}, {"trace", "none", "GET", 404, 0}}},
		"a limit": {
			func(w http.ResponseWriter, r *http.Request) { LineOf(r).Limit = "otp"; w.WriteHeader(429) },
			[]answered{{"observe", "none", "GET", 429, time.Second}, {"refused", "otp", "", 0, 0}, {"trace", "none", "GET", 429, 0}},
		},
		"a panic": {func(http.ResponseWriter, *http.Request) { panic("oh") }, []answered{{"observe", "none", "GET", 500, time.Second}, {"trace", "none", "GET", 500, 0}}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []answered
			inside := ""
			now := fixed()
			s := Server{
				Now: func() time.Time { now = now.Add(time.Second); return now },
				Observe: func(route, method string, status int, took time.Duration) {
					got = append(got, answered{"observe", route, method, status, took})
				},
				Refused: func(limit string) { got = append(got, answered{Who: "refused", Route: limit}) },
				Trace: func(r *http.Request) (context.Context, string, func(string, string, int)) {
					return context.WithValue(r.Context(), key{}, "span"), "trace-1", func(route, method string, status int) {
						got = append(got, answered{"trace", route, method, status, 0})
					}
				},
			}
			_, log := logged(s, func(w http.ResponseWriter, r *http.Request) {
				inside, _ = r.Context().Value(key{}).(string)
				c.f(w, r)
			}, nil)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("they are told (-want +got):\n%s", diff)
			}
			if inside != "span" {
				t.Error("the handler is not in the span")
			}
			if !strings.Contains(log, "trace_id=trace-1") {
				t.Errorf("the line does not name the trace:\n%s", log)
			}
		})
	}
}

func TestServer_namesTheLimitThatRefused(t *testing.T) {
	l := &Limits{Limiter: limit.New(fixed), Rates: map[string]limit.Rate{"otp": {}}} // which lets nobody through
	var refused []string
	_, log := logged(Server{Refused: func(limit string) { refused = append(refused, limit) }}, func(w http.ResponseWriter, r *http.Request) {
		err := l.Take(r, "otp")
		if auth.CodeOf(err) != auth.TooMany {
			t.Errorf("the limit lets through: %v", err)
		}
	}, nil)
	if len(refused) != 1 || refused[0] != "otp" || !strings.Contains(log, "limit=otp") {
		t.Errorf("refused by %v, and the line is %s", refused, log)
	}
}

// Where nobody observes, what is asked of a request for it costs nothing.
func TestServer_withoutTracesAllocatesNothingForThem(t *testing.T) {
	s := &Server{Log: slog.New(slog.DiscardHandler), Now: fixed}
	r := httptest.NewRequest("GET", "/user", nil)
	l := &Line{Route: "GET /user"}
	if got := testing.AllocsPerRun(100, func() {
		same, end := s.trace(r, l)
		s.tell(same, l, 200, 0, end)
		if same != r || end != nil || l.Trace != "" {
			t.Fatal("something is traced")
		}
	}); got != 0 {
		t.Errorf("%v allocations, want none", got)
	}
	s.Trace = func(r *http.Request) (context.Context, string, func(string, string, int)) {
		return r.Context(), "x", func(string, string, int) {}
	}
	if got := testing.AllocsPerRun(100, func() { s.trace(r, l) }); got == 0 {
		t.Error("a trace costs nothing, either: the test measures nothing")
	}
}
