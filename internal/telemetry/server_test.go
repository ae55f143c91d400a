package telemetry_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"gatehouse/internal/telemetry"
)

// serving runs a listener until the test ends and returns its URL.
func serving(t *testing.T, h http.Handler) string {
	t.Helper()
	l, err := telemetry.Listen(t.Context(), "things", "127.0.0.1:0", h, quiet)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		err := <-ended
		if err != nil {
			t.Errorf("it ended with %v", err)
		}
		err = l.Close()
		if err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return "http://" + l.Addr()
}

func fetch(t *testing.T, url, host string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		r.Host = host
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func TestListener_servesProfilesAndNothingElse(t *testing.T) {
	t.Parallel()
	url := serving(t, telemetry.Profiler())
	for path, want := range map[string]int{
		"/debug/pprof/": 200, "/debug/pprof/goroutine?debug=1": 200, "/debug/pprof/heap": 200, "/debug/pprof/symbol": 200, "/": 404, "/metrics": 404, "/debug/vars": 404,
	} {
		status, _ := fetch(t, url+path, "")
		if status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
	}
}

// A page whose name leads to 127.0.0.1 sends its own name along.
func TestListener_onLoopbackAnswersToNoOtherName(t *testing.T) {
	t.Parallel()
	url := serving(t, telemetry.NewMetrics(telemetry.Sources{}, quiet).Handler())
	for host, want := range map[string]int{
		"": 200, "localhost:9100": 200, "LOCALHOST": 200, "127.0.0.1": 200, "[::1]:9100": 200, "evil.example": 421, "evil.example:9100": 421, "localhost.evil.example": 421,
	} {
		status, body := fetch(t, url+"/metrics", host)
		if status != want || want != 200 && strings.Contains(body, "gatehouse_") {
			t.Errorf("as %q: %d, want %d", host, status, want)
		}
	}
}

func TestListen_refusesATakenAddress(t *testing.T) {
	t.Parallel()
	url := serving(t, telemetry.Profiler())
	_, err := telemetry.Listen(t.Context(), "things", strings.TrimPrefix(url, "http://"), telemetry.Profiler(), quiet)
	if err == nil {
		t.Error("an address is taken twice")
	}
}
