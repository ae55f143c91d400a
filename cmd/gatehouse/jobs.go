package main

import (
	"context"
	"time"

	"gatehouse/internal/store"
)

// every runs f at once and then each period, until ctx ends. A failure is the
// job's to log: the next run tries again.
func every(ctx context.Context, period time.Duration, f func()) error {
	t := time.NewTicker(period)
	defer t.Stop()
	for {
		f()
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// keepKeys reads the key ring every few seconds, so that a key rotated elsewhere
// is published here long before it signs, and a leaked one is refused at once.
func (h *house) keepKeys(ctx context.Context) error {
	return every(ctx, 5*time.Second, func() {
		err := h.auth.LoadKeys(ctx)
		if err != nil && ctx.Err() == nil {
			h.log.Error("the signing keys could not be read again", "err", err)
		}
	})
}

// farApart is from when on clocks that differ are worth a line: sessions that
// are refreshed on two nodes at once allow each other 10 s.
const farApart = 5 * time.Second

// watchClock tells when this node's clock and the database's differ.
func (h *house) watchClock(ctx context.Context) error {
	return every(ctx, time.Minute, func() {
		ahead, err := h.db.Skew(ctx)
		if err == nil && ahead.Abs() > farApart {
			h.log.Error("this node's clock and the database's differ; set both by NTP, or codes end too early or late and users are signed out", "ahead", ahead)
		}
	})
}

// renewKeys makes the next signing key when its time has come.
func (h *house) renewKeys(ctx context.Context) error {
	return every(ctx, time.Hour, func() {
		err := h.auth.RenewKeys(ctx)
		if err != nil && ctx.Err() == nil {
			h.log.Error("the next signing key could not be made", "err", err)
		}
	})
}

// How long rows that nobody can use any more are kept.
const (
	keepChallenges = 24 * time.Hour // a late click deserves «expired», not «unknown»
	keepSessions   = 7 * 24 * time.Hour
	keepDead       = 7 * 24 * time.Hour
	bite           = 1000 // rows of a kind in one transaction
	sweepLease     = 10 * time.Minute
)

// sweep deletes those rows every hour, in small bites. Of several nodes one
// does it; each bite is taken under the lease, so that one that was paused and
// replaced meanwhile takes none.
func (h *house) sweep(ctx context.Context) error {
	self := store.NewHolder()
	return every(ctx, time.Hour, func() {
		err := h.sweepAll(ctx, self)
		if err != nil && ctx.Err() == nil {
			h.log.Error("old rows could not be swept", "err", err)
		}
	})
}

// sweepAll sweeps until nothing is left to go, or the work is another node's.
func (h *house) sweepAll(ctx context.Context, self store.Holder) error {
	ours, err := h.bites(ctx, self, store.TenantID{}, func(tx *store.Tx) (int, error) {
		return tx.Sweep(bite, tx.Now.Add(-keepChallenges), tx.Now.Add(-keepSessions), tx.Now.Add(-keepDead))
	})
	keep := h.cfg.Database.EventsKeep
	if err != nil || !ours || keep == 0 {
		return err
	}
	for tenants := []store.TenantID{{}}; len(tenants) > 0; {
		for _, t := range tenants {
			ours, err := h.bites(ctx, self, t, func(tx *store.Tx) (int, error) { return tx.SweepEvents(bite, tx.Now.Add(-keep)) })
			if err != nil || !ours {
				return err
			}
		}
		last := tenants[len(tenants)-1]
		err := h.db.Read(ctx, store.TenantID{}, func(tx *store.Tx) (err error) {
			tenants, err = tx.Tenants(last, bite)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// bites runs f until it takes less than a bite, each in a transaction of its
// own, and reports whether the work stayed ours.
func (h *house) bites(ctx context.Context, self store.Holder, t store.TenantID, f func(*store.Tx) (int, error)) (ours bool, err error) {
	for gone := bite; gone >= bite; {
		err := h.db.Write(ctx, t, func(tx *store.Tx) (err error) {
			gone = 0
			ours, err = tx.Lease(store.LeaseSweep, self, sweepLease)
			if err == nil && ours {
				gone, err = f(tx)
			}
			return err
		})
		if err != nil {
			return false, err
		}
	}
	return ours, ctx.Err()
}
