package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"gatehouse/internal/config"
)

func TestDrain_servesOnWhileItSendsOthersAway(t *testing.T) {
	d := &drain{next: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })}
	ask := func(path string) *http.Response {
		w := httptest.NewRecorder()
		d.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Result()
	}
	if got := ask("/health"); got.StatusCode != http.StatusTeapot || got.Header.Get("Connection") != "" {
		t.Errorf("before: health %d, Connection %q; want the server's own answer", got.StatusCode, got.Header.Get("Connection"))
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		d.until(ctx, time.Hour)
		close(ended)
	}()
	for !d.on.Load() {
		time.Sleep(time.Millisecond)
	}
	for path, want := range map[string]int{
		"/health": 503, "/auth/v1/health": 503, "/.netlify/identity/health": 503, "/user": http.StatusTeapot,
	} {
		got := ask(path)
		if got.StatusCode != want || got.Header.Get("Connection") != "close" {
			t.Errorf("%s: %d, Connection %q; want %d and close", path, got.StatusCode, got.Header.Get("Connection"), want)
		}
	}
	cancel()
	<-ended
}

func TestDraining_nobodyWaitsWhereNobodyElseServes(t *testing.T) {
	for _, c := range []struct {
		host, url string
		want      time.Duration
	}{
		{"127.0.0.1", "", 0},
		{"0.0.0.0", "", time.Second},
		{"127.0.0.1", "postgres://u:p@db/gatehouse", time.Second},
	} {
		cfg := &config.Config{Server: config.Server{Host: c.host, Drain: time.Second}, Database: config.Database{URL: config.Secret(c.url)}}
		if got := draining(cfg); got != c.want {
			t.Errorf("on %s with the database %q: %v, want %v", c.host, c.url, got, c.want)
		}
	}
}
