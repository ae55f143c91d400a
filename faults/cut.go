package main

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// cuts reset the connections between a node and its database at random bytes,
// thousands of times: every operation happens whole or not at all, once, and
// the pool does not leak.
func cuts() (all []scenario) {
	for _, engine := range []string{postgres, mysql} {
		all = append(all, scenario{name: "cut/" + engine, bound: 75 * time.Second, run: func(ctx context.Context, t *trial) error {
			return cutConnections(ctx, t, engine)
		}})
	}
	return all
}

const (
	bytesToCut = 60_000 // a connection carries, on average
	poolSize   = 8
)

func cutConnections(ctx context.Context, t *trial, engine string) error {
	db, err := t.database(ctx, engine, t.dir)
	if err != nil {
		return err
	}
	between, err := newCutter(db.server.Addr())
	if err != nil {
		return err
	}
	t.atEnd(between.close)
	u, err := url.Parse(db.url)
	if err != nil {
		return err
	}
	u.Host = between.addr()
	db.url = u.String()
	w, err := t.openOn(ctx, db, "GATEHOUSE_DB_MAX_POOL_SIZE="+strconv.Itoa(poolSize))
	if err != nil {
		return err
	}
	err = w.addNodes(ctx, 1)
	if err != nil {
		return err
	}
	w.callers(w.nodes[0].url())
	stop := w.begin(ctx)
	between.mean.Store(bytesToCut)
	pause(ctx, t.scaled(25*time.Second))
	between.honest()
	healed := time.Now()
	pause(ctx, t.scaled(4*time.Second))
	err = stop()
	if err != nil {
		return err
	}
	w.nobodyRestarted()
	ops := w.j.all()
	t.note("%d connections cut", between.cuts.Load())
	t.expect(between.cuts.Load() >= int64(t.rounds(100)), "only %d connections were cut: too little was tried", between.cuts.Load())
	t.expectManners(ops)
	t.expectNoFailure("after the last cut", within(ops, healed.Add(time.Second), time.Now()))
	h, err := w.settle(ctx)
	if err != nil {
		return err
	}
	open, err := w.connections(ctx)
	if err != nil {
		return err
	}
	t.expect(open <= poolSize, "the node holds %d connections, its pool has %d", open, poolSize)
	return w.busyEnough(h, 500)
}

// connections returns how many of the database's connections are open, without
// the one that asks.
func (w *world) connections(ctx context.Context) (int, error) {
	query := "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = '" + w.db.name + "' AND pid <> pg_backend_pid()"
	if w.db.engine == mysql {
		query = "SELECT COUNT(*) FROM information_schema.processlist WHERE db = '" + w.db.name + "' AND id <> CONNECTION_ID()"
	}
	text, err := w.db.server.Query(ctx, w.db.name, query)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		return 0, fmt.Errorf("connections: %w", err)
	}
	return n, nil
}
