package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	"gatehouse/internal/cluster"
)

// failovers kill a PostgreSQL primary and promote its standby. With a
// synchronous one nothing is lost; with one that lags behind, something must
// be, and the run fails when the journal does not show it.
func failovers() []scenario {
	return []scenario{
		{name: "failover/synchronous", bound: 90 * time.Second, run: func(ctx context.Context, t *trial) error {
			return failOver(ctx, t, true)
		}},
		{name: "failover/control", bound: 90 * time.Second, run: func(ctx context.Context, t *trial) error {
			t.res.control = true
			return failOver(ctx, t, false)
		}},
	}
}

const (
	backWithin = 10 * time.Second
	lag        = 3 * time.Second // that the standby of the control run is behind
)

// pair is a primary and its standby.
type pair struct{ primary, standby *cluster.Server }

// pairOf starts both. They end with the trial.
func (t *trial) pairOf(ctx context.Context, synchronous bool) (pair, error) {
	var p pair
	var err error
	p.primary, err = cluster.Postgres(ctx, cluster.Options{Dir: filepath.Join(t.dir, "primary")})
	if err != nil {
		return p, err
	}
	t.atEnd(p.primary.Stop)
	p.standby, err = p.primary.Standby(ctx, cluster.Options{Dir: filepath.Join(t.dir, "standby")}, synchronous)
	if err != nil {
		return p, err
	}
	t.atEnd(p.standby.Stop)
	return p, p.primary.CreateDatabase(ctx, "house")
}

// url names both hosts; the node finds out which of them takes writes.
func (p pair) url() (string, error) {
	u, err := url.Parse(p.primary.URL("house"))
	if err != nil {
		return "", err
	}
	u.Host += "," + p.standby.Addr()
	q := u.Query()
	q.Set("target_session_attrs", "read-write")
	u.RawQuery = q.Encode()
	return u.String(), nil
}

func failOver(ctx context.Context, t *trial, synchronous bool) error {
	p, err := t.pairOf(ctx, synchronous)
	if err != nil {
		return err
	}
	at, err := p.url()
	if err != nil {
		return err
	}
	w, err := t.openOn(ctx, database{engine: postgres, url: at, name: "house", server: p.primary})
	if err != nil {
		return err
	}
	err = w.addNodes(ctx, 1)
	if err != nil {
		return err
	}
	w.callers(w.nodes[0].url())
	stop := w.begin(ctx)
	pause(ctx, t.scaled(8*time.Second))
	if !synchronous {
		// From here on what the primary acknowledges reaches nobody else.
		err = errors.Join(
			p.standby.Exec(ctx, "", "ALTER SYSTEM SET primary_conninfo = ''"),
			p.standby.Exec(ctx, "", "SELECT pg_reload_conf()"))
		if err != nil {
			return fmt.Errorf("the standby could not be cut off: %w", err)
		}
		pause(ctx, lag)
	}
	err = p.primary.Kill()
	if err != nil {
		return err
	}
	killed := time.Now()
	pause(ctx, time.Second)
	err = p.standby.Promote(ctx)
	if err != nil {
		return err
	}
	promoted := time.Now()
	w.db.server = p.standby
	pause(ctx, backWithin/2+t.scaled(6*time.Second))
	err = stop()
	if err != nil {
		return err
	}
	return w.judgeFailover(ctx, killed, promoted)
}

func (w *world) judgeFailover(ctx context.Context, killed, promoted time.Time) error {
	w.nobodyRestarted()
	ops := w.j.all()
	back, ok := backAt(ops, killed)
	if !ok {
		w.broke("no write succeeded after the standby was promoted")
	} else {
		w.note("writes again %v after the promotion", back.Sub(promoted).Round(10*time.Millisecond))
		w.expect(back.Sub(promoted) <= backWithin, "writes again only %v after the promotion, wanted %v", back.Sub(promoted), backWithin)
	}
	w.expectManners(ops)
	w.expectNoFailure("later than the time it may take to come back", within(ops, promoted.Add(backWithin), time.Now()))
	h, err := w.settle(ctx)
	if err != nil {
		return err
	}
	return w.busyEnough(h, 200)
}
