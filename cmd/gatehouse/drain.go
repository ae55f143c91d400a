package main

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"gatehouse/internal/config"
)

// drain is a server's last seconds: it serves on, but tells whoever asks for
// its health to go elsewhere, and keeps no connection. A server that simply
// stopped would fail the requests that are on their way to it.
type drain struct {
	next http.Handler
	on   atomic.Bool
}

func (d *drain) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !d.on.Load() {
		d.next.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Connection", "close")
	if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/health") {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "this server is stopping", http.StatusServiceUnavailable)
		return
	}
	d.next.ServeHTTP(w, r)
}

// until keeps serving for so long, or until ctx ends.
func (d *drain) until(ctx context.Context, wait time.Duration) {
	if wait == 0 {
		return
	}
	// Connections end with their next answer and not at once, as
	// http.Server.SetKeepAlivesEnabled would have it: a proxy may be sending on
	// one that seems idle here.
	d.on.Store(true)
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// draining is how long the last seconds are. Where nobody else can be sent to,
// nobody waits.
func draining(cfg *config.Config) time.Duration {
	if cfg.Loopback() && cfg.Database.Engine() == "sqlite" {
		return 0
	}
	return cfg.Server.Drain
}
