package main

import (
	"context"
	"math/rand/v2"
	"time"
)

// threeNodes kills one of three nodes behind haproxy: what was in flight on it
// fails and nothing else, and its sessions go on elsewhere.
func threeNodes() []scenario {
	return []scenario{{name: "three-nodes/postgres", bound: 60 * time.Second, needs: "haproxy", run: killOneOfThree}}
}

// killTakes is how long after the call a process may still take requests.
const killTakes = 20 * time.Millisecond

func killOneOfThree(ctx context.Context, t *trial) error {
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
	stop := w.begin(ctx)
	pause(ctx, t.scaled(8*time.Second)+rand.N(time.Second))
	killed := time.Now()
	w.nodes[rand.IntN(3)].kill()
	pause(ctx, t.scaled(8*time.Second))
	err = stop()
	if err != nil {
		return err
	}
	ops := w.j.all()
	t.expectNoFailure("before the kill", before(ops, killed))
	t.expectNoFailure("after the proxy had noticed", within(ops, killed.Add(noticed), time.Now()))
	inFlight, failedThen := 0, 0
	second := within(ops, killed.Add(-time.Second/2), killed.Add(time.Second/2))
	for i := range ops {
		o := &ops[i]
		if o.Answered.After(killed) && o.Sent.Before(killed.Add(killTakes)) {
			inFlight++
		}
		if failed(o) {
			failedThen++
		}
	}
	t.note("%d of the %d requests in that second failed, %d were in flight", failedThen, len(second), inFlight)
	t.expect(failedThen <= inFlight, "%d requests failed, though only %d were in flight when the node was killed", failedThen, inFlight)
	h, err := w.settle(ctx)
	if err != nil {
		return err
	}
	return w.busyEnough(h, 500)
}
