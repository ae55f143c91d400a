package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"

	"gatehouse/internal/config"
)

// front is what answers requests, and can be replaced between two of them.
type front struct{ now atomic.Pointer[http.Handler] }

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) { (*f.now.Load()).ServeHTTP(w, r) }

func (f *front) set(h http.Handler) { f.now.Store(&h) }

// reloading reads the settings again at each signal, until ctx ends. first is
// called before, whatever becomes of it, and after once they are in force.
func (h *house) reloading(ctx context.Context, again <-chan os.Signal, first, after func()) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-again:
			first()
			h.reload(after)
		}
	}
}

// reload puts the settings in force that the files of the configuration hold
// now. All of them or none: with a fault the server goes on as it was. What a
// request is told by one tenant is by the old ones or by the new ones, never by
// some of both; what counts requests goes on counting.
func (h *house) reload(after func()) {
	before := h.plan.Load()
	base, report := settings(h.env)
	err := report.Err()
	if err != nil {
		h.log.Error("the configuration has faults; the one of before stays in force", "err", err)
		return
	}
	for _, w := range report.Warnings {
		h.log.Warn("configuration: " + w.String())
	}
	restart := config.NeedsRestart(before.base, base)
	next, err := h.nextPlan(base, before)
	if err != nil {
		h.log.Error("the configuration could not be put in force; the one of before stays", "err", err)
	} else {
		h.plan.Store(next)
		h.dir.Reset()
		h.level.Set(next.base.Log.Level.Level())
		after()
	}
	for _, name := range restart {
		h.log.Warn("this setting is in force after a restart only", "setting", name)
	}
	if err == nil {
		h.log.Info("the configuration was read again")
	}
}

// nextPlan is what a server at work can take over of base. Nobody has seen it
// when it fails: it is tried on a tenant that serves nobody.
func (h *house) nextPlan(base *config.Base, before *plan) (*plan, error) {
	kept, report := base.Keeping(before.base)
	err := report.Err()
	if err != nil {
		return nil, fmt.Errorf("it does not go with what is in force until a restart: %w", err)
	}
	kept.FollowFrom(h.address)
	next, err := h.newPlan(kept)
	if err != nil {
		return nil, err
	}
	s, err := h.newSite(next, h.site.tenant, h.site.root, "")
	if err != nil {
		return nil, err
	}
	_, err = h.speak(s)
	return next, err
}

// byHTTPS reports whether clients reach the server by https alone.
func (h *house) byHTTPS() bool {
	return strings.HasPrefix(strings.ToLower(h.plan.Load().base.Server.ExternalURL), "https://")
}
