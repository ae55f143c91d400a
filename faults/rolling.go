package main

import (
	"context"
	"math/rand/v2"
	"time"
)

// rolling restarts three nodes behind haproxy in random order, over and over:
// nobody notices. That callers notice a node that ends otherwise, three-nodes
// shows.
func rolling() []scenario {
	return []scenario{{name: "rolling-restart/postgres", bound: 90 * time.Second, needs: "haproxy", run: restartInTurn}}
}

func restartInTurn(ctx context.Context, t *trial) error {
	w, err := t.open(ctx, postgres)
	if err != nil {
		return err
	}
	err = w.addNodes(ctx, 3)
	if err != nil {
		return err
	}
	front, err := w.haproxy(ctx)
	if err != nil {
		return err
	}
	w.callers(front)
	w.load.think = time.Second // an account may try so many codes in an hour, and all are tried again at the end
	stop := w.begin(ctx)
	pause(ctx, t.scaled(2*time.Second))
	restarts := 0
	var longest time.Duration
	for range t.rounds(3) {
		for _, i := range rand.Perm(len(w.nodes)) {
			began := time.Now()
			err = w.nodes[i].stop()
			if err != nil {
				t.broke("a node did not leave in peace: %v", err)
			}
			longest = max(longest, time.Since(began))
			_, err = w.nodes[i].start(ctx)
			if err != nil {
				return err
			}
			restarts++
			pause(ctx, noticed)
		}
	}
	err = stop()
	if err != nil {
		return err
	}
	ops := w.j.all()
	t.note("%d restarts, each left within %v", restarts, longest.Round(10*time.Millisecond))
	t.expectNoFailure("while nodes were restarted", ops)
	h, err := w.settle(ctx)
	if err != nil {
		return err
	}
	return w.busyEnough(h, 500)
}
