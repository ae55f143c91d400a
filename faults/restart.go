package main

import (
	"context"
	"fmt"
	"time"
)

// restarts stops the database in order and starts it again under load: the
// node says 503 meanwhile and finds it again by itself.
func restarts() (all []scenario) {
	for _, engine := range []string{postgres, mysql} {
		all = append(all, scenario{name: "restart/" + engine, bound: 60 * time.Second, run: func(ctx context.Context, t *trial) error {
			return restartDatabase(ctx, t, engine)
		}})
	}
	return all
}

// afterRestart is how much longer than the database a node may be out of order.
const afterRestart = 2 * time.Second

func restartDatabase(ctx context.Context, t *trial, engine string) error {
	w, err := t.open(ctx, engine)
	if err != nil {
		return err
	}
	err = w.addNodes(ctx, 1)
	if err != nil {
		return err
	}
	w.callers(w.nodes[0].url())
	stop := w.begin(ctx)
	pause(ctx, t.scaled(6*time.Second))
	down := time.Now()
	err = w.db.server.Stop()
	if err != nil {
		return err
	}
	pause(ctx, 2*time.Second)
	err = w.db.server.Start(ctx)
	if err != nil {
		return fmt.Errorf("the database did not start again: %w", err)
	}
	up := time.Now()
	pause(ctx, afterRestart+t.scaled(6*time.Second))
	err = stop()
	if err != nil {
		return err
	}
	w.nobodyRestarted()
	ops := w.j.all()
	first, last, n := window(ops, time.Time{})
	t.note("the database was away for %v; %d requests failed, over %v", up.Sub(down).Round(10*time.Millisecond), n, last.Sub(first).Round(10*time.Millisecond))
	t.expect(n > 0, "no request failed: the restart went unnoticed, and nothing was tried")
	t.expectNoFailure("before the database was stopped", before(ops, down))
	t.expectNoFailure(fmt.Sprintf("more than %v after the database was back", afterRestart), within(ops, up.Add(afterRestart), time.Now()))
	t.expectManners(ops)
	h, err := w.settle(ctx)
	if err != nil {
		return err
	}
	return w.busyEnough(h, 200)
}
