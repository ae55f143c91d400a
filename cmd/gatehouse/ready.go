package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"gatehouse/internal/store"
	"gatehouse/internal/web"
)

const (
	readyFor = time.Second     // how long a verdict holds: whoever asks more often costs nothing (D09)
	askFor   = time.Second     // what those who ask wait at most
	lateMail = 5 * time.Minute // how long a delivery may be due before somebody should look
)

// The reasons not to be ready. Strangers may ask: they tell what, and never
// where.
const (
	unreachable = "database unreachable"
	outdated    = "needs migration"
	readOnly    = "database read-only or standby"
	leaving     = "draining"
	keyless     = "master key missing"

	outboxLags = "outbox lags"
)

// state is whether requests should come here: when there are no reasons against
// it. Warnings are for people, and no load balancer's business.
type state struct {
	Ready    bool     `json:"ready"`
	Reasons  []string `json:"reasons,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

// readiness answers that. However many ask, one looks, once a second.
type readiness struct {
	look     func(context.Context) state
	now      func() time.Time
	draining func() bool

	mu    sync.Mutex    // guards all below
	last  state         // of the last look
	at    time.Time     // when it ended
	began time.Time     // when the one under way did
	under chan struct{} // closed when that ends; nil: nobody looks
}

func newReadiness(e env, h *house) *readiness {
	probe := h.db.Probe()
	key := ""
	if cfg := h.plan.Load().base.Server; cfg.SealingKey() == nil {
		key = filepath.Join(under(e, cfg.Data), "master.key")
	}
	return &readiness{
		now: time.Now, draining: func() bool { return false },
		look: func(ctx context.Context) state { return look(ctx, probe, key, h.log) },
	}
}

// look is the real check. The master key is in memory, but a server whose file
// is gone cannot be started again: that should show while it is still mended
// easily.
func look(ctx context.Context, p *store.Probe, key string, log *slog.Logger) (s state) {
	lag, err := p.Ask(ctx)
	switch {
	case err == nil:
	case errors.Is(err, store.ErrOutdated):
		s.Reasons = append(s.Reasons, outdated)
	case errors.Is(err, store.ErrReadOnly):
		s.Reasons = append(s.Reasons, readOnly)
	default:
		s.Reasons = append(s.Reasons, unreachable)
	}
	if err != nil {
		log.Debug("the database is not ready", "err", err)
	}
	if lag > lateMail {
		s.Warnings = append(s.Warnings, outboxLags)
	}
	if key != "" {
		_, err := os.Stat(key)
		if err != nil {
			s.Reasons = append(s.Reasons, keyless)
			log.Debug("the master key cannot be read", "err", err)
		}
	}
	return s
}

// ask returns the last verdict, if it is young enough, else a new one.
func (r *readiness) ask(ctx context.Context) state {
	s := r.verdict(ctx)
	s.Reasons = slices.Clone(s.Reasons) // others have the same
	if r.draining() {
		s.Reasons = append(s.Reasons, leaving)
	}
	s.Ready = len(s.Reasons) == 0
	return s
}

func (r *readiness) verdict(ctx context.Context) state {
	r.mu.Lock()
	now := r.now()
	if r.under == nil && (r.at.IsZero() || now.Sub(r.at) >= readyFor) {
		r.under, r.began = make(chan struct{}), now
		go r.run(context.WithoutCancel(ctx), r.under)
	}
	under, left, last := r.under, askFor-now.Sub(r.began), r.last
	r.mu.Unlock()
	if under == nil {
		return last
	}
	t := time.NewTimer(max(0, left))
	defer t.Stop()
	select {
	case <-under:
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.last
	case <-t.C:
	case <-ctx.Done():
	}
	return state{Reasons: []string{unreachable}}
}

// run looks. A database may hold it for longer than anybody waits: as long as
// it does nobody else looks, either.
func (r *readiness) run(ctx context.Context, under chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	s := r.look(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last, r.at, r.under = s, r.now(), nil
	close(under)
}

// probes answers those who ask how the server does, before any edge.
type probes struct {
	ready *readiness
	next  http.Handler
}

func (p *probes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		switch r.URL.Path {
		case "/health/ready":
			web.LineOf(r).Route = "GET /health/ready"
			s := p.ready.ask(r.Context())
			status := http.StatusOK
			if !s.Ready {
				status = http.StatusServiceUnavailable
				w.Header().Set("Retry-After", "1")
			}
			_ = web.JSON(w, status, s) // a state is always JSON
			return
		case "/health/live":
			web.LineOf(r).Route = "GET /health/live"
			_ = web.JSON(w, http.StatusOK, map[string]bool{"live": true})
			return
		}
	}
	p.next.ServeHTTP(w, r)
}
