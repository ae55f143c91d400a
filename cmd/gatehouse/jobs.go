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
	for gone := bite; gone >= bite && ctx.Err() == nil; {
		err := h.bite(ctx, self, store.TenantID{}, func(tx *store.Tx) (err error) {
			gone, err = tx.Sweep(bite, tx.Now.Add(-keepChallenges), tx.Now.Add(-keepSessions), tx.Now.Add(-keepDead))
			return err
		}, &gone)
		if err != nil {
			return err
		}
	}
	if h.cfg.Database.EventsKeep == 0 {
		return nil
	}
	for tenants, after := []store.TenantID{{}}, (store.TenantID{}); len(tenants) > 0; {
		for _, t := range tenants {
			for gone := bite; gone >= bite && ctx.Err() == nil; {
				err := h.bite(ctx, self, t, func(tx *store.Tx) (err error) {
					gone, err = tx.SweepEvents(bite, tx.Now.Add(-h.cfg.Database.EventsKeep))
					return err
				}, &gone)
				if err != nil {
					return err
				}
			}
			after = t
		}
		err := h.db.Read(ctx, store.TenantID{}, func(tx *store.Tx) (err error) {
			tenants, err = tx.Tenants(after, bite)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// bite runs one transaction of the sweep, if the work is still ours; else it
// sets gone to 0.
func (h *house) bite(ctx context.Context, self store.Holder, t store.TenantID, f func(*store.Tx) error, gone *int) error {
	return h.db.Write(ctx, t, func(tx *store.Tx) error {
		ours, err := tx.Lease(store.LeaseSweep, self, sweepLease)
		if err != nil {
			return err
		}
		if !ours {
			*gone = 0
			return nil
		}
		return f(tx)
	})
}
