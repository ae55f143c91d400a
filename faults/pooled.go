package main

import (
	"context"
	"time"
)

// pooled puts pgbouncer, in transaction mode, between the node and PostgreSQL:
// nobody may notice.
func pooled() []scenario {
	return []scenario{{name: "pooled/postgres", bound: 45 * time.Second, needs: "pgbouncer", run: behindPooler}}
}

func behindPooler(ctx context.Context, t *trial) error {
	db, err := t.database(ctx, postgres, t.dir)
	if err != nil {
		return err
	}
	db.url, err = t.pgbouncer(ctx, db)
	if err != nil {
		return err
	}
	w, err := t.openOn(ctx, db)
	if err != nil {
		return err
	}
	err = w.addNodes(ctx, 2)
	if err != nil {
		return err
	}
	w.callers(w.nodes[0].url(), w.nodes[1].url())
	err = w.load.runFor(ctx, t.scaled(12*time.Second))
	if err != nil {
		return err
	}
	w.nobodyRestarted()
	t.expectNoFailure("behind the pooler", w.j.all())
	h, err := w.settle(ctx)
	if err != nil {
		return err
	}
	return w.busyEnough(h, 500)
}
