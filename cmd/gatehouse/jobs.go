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

// How long rows that nobody can use any more are kept.
const (
	keepChallenges = 24 * time.Hour // a late click deserves «expired», not «unknown»
	keepSessions   = 7 * 24 * time.Hour
	keepDead       = 7 * 24 * time.Hour
	bite           = 500 // rows of a kind in one transaction
)

// sweep deletes those rows every hour, in small bites.
func (h *house) sweep(ctx context.Context) error {
	return every(ctx, time.Hour, func() {
		for gone := bite; gone >= bite && ctx.Err() == nil; {
			now := h.db.Now()
			err := h.db.Write(ctx, store.TenantID{}, func(tx *store.Tx) (err error) {
				gone, err = tx.Sweep(bite, now.Add(-keepChallenges), now.Add(-keepSessions), now.Add(-keepDead))
				return err
			})
			if err != nil {
				h.log.Error("old rows could not be swept", "err", err)
				return
			}
		}
	})
}
