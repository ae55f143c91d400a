package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/telemetry"
)

var quiet = slog.New(slog.DiscardHandler)

// told is what a collector would fetch.
func told(t *testing.T, m *telemetry.Metrics) string {
	t.Helper()
	srv := httptest.NewServer(m.Handler())
	defer srv.Close()
	res, err := srv.Client().Get(srv.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("status %d, %v: %s", res.StatusCode, err, b)
	}
	return string(b)
}

// series are the lines of a metric.
func series(page, name string) (list []string) {
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, name+"{") || strings.HasPrefix(line, name+" ") {
			list = append(list, strings.TrimSpace(line))
		}
	}
	return list
}

func holds(t *testing.T, page string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(page, w+"\n") {
			t.Errorf("the page lacks %s", w)
		}
	}
}

func TestMetrics_tellWhatHappened(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics(telemetry.Sources{
		Version:      "1.2.3",
		Hashing:      func() telemetry.Hashing { return telemetry.Hashing{Running: 2, Waiting: 3, Refused: 4} },
		Database:     func() telemetry.Connections { return telemetry.Connections{Open: 5, InUse: 6, Waits: 7} },
		Mails:        func(context.Context) (int, int, error) { return 8, 9, nil },
		Webhooks:     func(context.Context) (int, int, error) { return 10, 11, nil },
		DroppedLines: func() int64 { return 12 },
		DroppedSpans: func() int64 { return 13 },
	}, quiet)
	m.Request("GET /user", "GET", 204, 20*time.Millisecond)
	m.Request("GET /user", "GET", 200, 20*time.Millisecond)
	m.Request("POST /token", "POST", 0, time.Second)
	m.Happened("user.signed_up")
	m.Refreshed()
	m.Refused("otp")
	holds(t, told(t, m),
		`gatehouse_http_requests_total{method="GET",route="/user",status="2xx"} 2`,
		`gatehouse_http_requests_total{method="POST",route="/token",status="2xx"} 1`,
		`gatehouse_http_request_duration_seconds_bucket{method="GET",route="/user",status="2xx",le="0.01"} 0`,
		`gatehouse_http_request_duration_seconds_bucket{method="GET",route="/user",status="2xx",le="0.025"} 2`,
		`gatehouse_http_requests_in_flight 0`,
		`gatehouse_events_total{event="user.signed_up"} 1`, `gatehouse_sessions_refreshed_total 1`, `gatehouse_rate_limit_refusals_total{limit="otp"} 1`,
		`gatehouse_password_hashes{state="running"} 2`, `gatehouse_password_hashes{state="waiting"} 3`, `gatehouse_password_hashes_refused_total 4`,
		`gatehouse_database_connections{state="open"} 5`, `gatehouse_database_connections{state="in_use"} 6`, `gatehouse_database_connection_waits_total 7`,
		`gatehouse_outbox_deliveries{state="waiting"} 8`, `gatehouse_outbox_deliveries{state="dead"} 9`,
		`gatehouse_webhook_deliveries{state="waiting"} 10`, `gatehouse_webhook_deliveries{state="dead"} 11`,
		`gatehouse_log_lines_dropped_total 12`, `gatehouse_trace_spans_dropped_total 13`,
	)
	page := told(t, m)
	for _, name := range []string{"go_goroutines", "gatehouse_build_info"} {
		if len(series(page, name)) != 1 {
			t.Errorf("%s: %v", name, series(page, name))
		}
	}
	if !strings.Contains(page, `version="1.2.3"`) {
		t.Error("the version is not told")
	}
}

func TestMetrics_tellTheRestWhenTheDatabaseDoesNotAnswer(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics(telemetry.Sources{Mails: func(ctx context.Context) (int, int, error) {
		<-ctx.Done()
		return 0, 0, errors.New("it is down")
	}}, quiet)
	m.Refreshed()
	page := told(t, m)
	holds(t, page, "gatehouse_sessions_refreshed_total 1")
	if strings.Contains(page, "gatehouse_outbox_deliveries{") {
		t.Error("a number is told that nobody knows")
	}
}

// Whatever strangers send, the number of series stays what the program has of
// routes.
func TestMetrics_strangersMakeNoSeries(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics(telemetry.Sources{}, quiet)
	for i := range 5000 {
		m.Request(fmt.Sprintf("none /%d", i), fmt.Sprintf("M%d", i), 1000+i, time.Millisecond)
		m.Request("", "GET", 404, time.Millisecond)
	}
	got := series(told(t, m), "gatehouse_http_requests_total")
	if len(got) != 2 {
		t.Errorf("%d series, want that of all unknown methods and that of 404: %v", len(got), got[:min(5, len(got))])
	}
}

// Nor does a fault of ours fill the memory.
func TestMetrics_everyLabelIsBounded(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics(telemetry.Sources{}, quiet)
	var all sync.WaitGroup
	for from := range 4 {
		all.Go(func() {
			for i := range 2000 {
				m.Request(fmt.Sprintf("GET /x%d", from*2000+i), "GET", 200, 0)
				m.Happened(fmt.Sprintf("event.%d", from*2000+i))
				m.Refused(fmt.Sprintf("limit %d", from*2000+i))
			}
		})
	}
	all.Wait()
	page := told(t, m)
	for name, most := range map[string]int{"gatehouse_http_requests_total": 501, "gatehouse_events_total": 201, "gatehouse_rate_limit_refusals_total": 101} {
		list := series(page, name)
		if len(list) != most || !strings.Contains(strings.Join(list, "\n"), `="other"`) {
			t.Errorf("%s has %d series, want %d and one of the others", name, len(list), most)
		}
	}
}

func TestMetrics_countRequestsInFlight(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics(telemetry.Sources{}, quiet)
	var during string
	h := m.InFlight(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { during = told(t, m) }))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	holds(t, during, "gatehouse_http_requests_in_flight 1")
	holds(t, told(t, m), "gatehouse_http_requests_in_flight 0")
}

func TestMetrics_ofTwoServersAreTheirOwn(t *testing.T) {
	t.Parallel()
	a, b := telemetry.NewMetrics(telemetry.Sources{}, quiet), telemetry.NewMetrics(telemetry.Sources{}, quiet)
	a.Refreshed()
	holds(t, told(t, b), "gatehouse_sessions_refreshed_total 0")
}

func TestRouteOf_isThePatternAlone(t *testing.T) {
	for pattern, want := range map[string]string{
		"GET /user": "/user", "DELETE /sessions/{id}": "/sessions/{id}", "": "none", "none": "none", "none /ann": "none", "preflight": "preflight", "/": "/",
	} {
		if got := telemetry.RouteOf(pattern); got != want {
			t.Errorf("RouteOf(%q) is %q, want %q", pattern, got, want)
		}
	}
}
