package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// onlyNode kills the only node every few seconds, on each engine: nothing that
// was acknowledged is lost, nothing that works once works twice, and the node
// is ready again within two seconds.
func onlyNode() (all []scenario) {
	for _, engine := range []string{sqlite, postgres, mysql} {
		all = append(all, scenario{name: "only-node/" + engine, bound: 90 * time.Second, run: func(ctx context.Context, t *trial) error {
			return killOnlyNode(ctx, t, engine)
		}})
	}
	return all
}

const readyWithin = 2 * time.Second

func killOnlyNode(ctx context.Context, t *trial, engine string) error {
	w, err := t.open(ctx, engine)
	if err != nil {
		return err
	}
	err = w.addNodes(ctx, 1)
	if err != nil {
		return err
	}
	n := w.nodes[0]
	w.callers(n.url())
	stop := w.begin(ctx)
	var worst time.Duration
	kills := 0
	for began := time.Now(); time.Since(began) < t.scaled(30*time.Second) || kills < 2; kills++ {
		pause(ctx, 2*time.Second+rand.N(3*time.Second))
		n.kill()
		took, err := n.start(ctx)
		if err != nil {
			return fmt.Errorf("after kill %d: %w", kills+1, err)
		}
		worst = max(worst, took)
	}
	err = stop()
	if err != nil {
		return err
	}
	t.note("%d kills, ready again after at most %v", kills, worst.Round(time.Millisecond))
	t.expect(worst <= readyWithin, "ready again only after %v, wanted %v", worst, readyWithin)
	h, err := w.settle(ctx)
	if err != nil {
		return err
	}
	return w.busyEnough(h, 200)
}
