package main

import (
	"context"
	"time"

	"gatehouse/internal/limit"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

// sharedLimits counts requests on all nodes together; nil where there is but
// one. Under root, which all nodes have, addresses become what tells nobody who
// has asked.
func sharedLimits(db *store.DB, root *secret.Root, own *limit.Limiter) *limit.Shared {
	if db.Engine() == "sqlite" {
		return nil
	}
	name := func(k limit.Key) (string, []byte) {
		who := root.MAC("counted client", k.Tenant[:], []byte(k.Subject))
		return "requests " + k.Name, who[:16]
	}
	draw := func(ctx context.Context, k limit.Key, n int, one, span time.Duration) (time.Duration, error) {
		what, who := name(k)
		return db.Take(ctx, k.Tenant, what, who, n, one, span)
	}
	charge := func(ctx context.Context, debts []limit.Debt) ([]time.Time, error) {
		list := make([]store.Charge, len(debts))
		for i, d := range debts {
			what, who := name(d.Key)
			list[i] = store.Charge{Tenant: d.Key.Tenant, Name: what, Subject: who, N: d.N, Cost: d.Cost, Full: d.Full, Far: d.Far}
		}
		return db.Charge(ctx, list)
	}
	return limit.NewShared(time.Now, draw, charge, own)
}
