package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gatehouse/internal/audit"
	"gatehouse/internal/auth"
	"gatehouse/internal/store"
	"gatehouse/internal/tenants"
	"gatehouse/internal/webhook"
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

// keepKeys reads the default tenant's key ring every few seconds, so that a key rotated elsewhere
// is published here long before it signs, and a leaked one is refused at once.
// Other tenants are made anew when theirs change.
func (h *house) keepKeys(ctx context.Context) error {
	return every(ctx, 5*time.Second, func() {
		home, err := h.dir.Get(ctx, tenants.Key{})
		if err == nil {
			err = home.auth.LoadKeys(ctx)
		}
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

// renewKeys makes the next signing key of each tenant at work when its time has
// come. Of a tenant nobody asks for, no key is in use.
func (h *house) renewKeys(ctx context.Context) error {
	return every(ctx, time.Hour, func() {
		h.dir.Living(func(_ tenants.Key, s *site) {
			err := s.auth.RenewKeys(ctx)
			if err != nil && ctx.Err() == nil {
				h.log.Error("the next signing key could not be made", "tenant", s.tenant.Name, "err", err)
			}
		})
	})
}

// refreshMetadata reads the metadata of companies' identity providers anew, of the
// tenants at work. Of those nobody asks for, nobody signs in.
func (h *house) refreshMetadata(ctx context.Context) error {
	return every(ctx, time.Hour, func() {
		h.dir.Living(func(_ tenants.Key, s *site) {
			_, err := s.auth.RefreshSSOMetadata(ctx)
			if err != nil && ctx.Err() == nil {
				h.log.Error("metadata of identity providers could not be read anew", "tenant", s.tenant.Name, "err", err)
			}
		})
	})
}

// How long rows that nobody can use any more are kept.
const (
	keepChallenges  = 24 * time.Hour // at least: a late click deserves «expired», not «unknown»
	keepSessions    = 7 * 24 * time.Hour
	keepDead        = 7 * 24 * time.Hour
	keepDelivered   = 7 * 24 * time.Hour  // events at their endpoints
	keepUndelivered = 30 * 24 * time.Hour // those that were given up, for a replay
	bite            = 1000                // rows of a kind in one transaction
	sweepLease      = 10 * time.Minute
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
	signups := h.plan.Load().base.Database.SignupsKeep
	if signups > 0 {
		ours, err := h.bites(ctx, self, store.TenantID{}, func(tx *store.Tx) (int, error) {
			return tx.SweepUnconfirmed(bite, tx.Now.Add(-signups), string(auth.SignedUp), store.Event{
				Name: string(auth.UserDeletedEvent), Actor: "system", Data: []byte(`{"reason":"never confirmed"}`),
			})
		})
		if err != nil || !ours {
			return err
		}
	}
	// Their unanswered questions are what users who never confirm are found by.
	challenges := max(keepChallenges, signups)
	ours, err := h.bites(ctx, self, store.TenantID{}, func(tx *store.Tx) (int, error) {
		return tx.Sweep(bite, tx.Now.Add(-challenges), tx.Now.Add(-keepSessions), tx.Now.Add(-keepDead))
	})
	if err == nil && ours {
		ours, err = h.bites(ctx, self, store.TenantID{}, func(tx *store.Tx) (int, error) {
			return tx.SweepWebhooks(bite, tx.Now.Add(-keepDelivered), tx.Now.Add(-keepUndelivered), tx.Now.Add(-webhook.GivenUpAfter))
		})
	}
	if err == nil && ours {
		ours, err = h.sweepTenants(ctx, self)
	}
	keep := h.plan.Load().base.Database.EventsKeep
	if err != nil || !ours || keep == 0 {
		return err
	}
	var broken []error
	for list := []store.TenantID{{}}; len(list) > 0; {
		for _, t := range list {
			ours, err := h.sweepEvents(ctx, self, t, keep)
			if errors.Is(err, audit.ErrBroken) { // its events stay until somebody has looked; the others' go
				broken = append(broken, fmt.Errorf("tenant %s: %w", t, err))
				continue
			}
			if err != nil || !ours {
				return errors.Join(append(broken, err)...)
			}
		}
		last := list[len(list)-1]
		err := h.db.Read(ctx, store.TenantID{}, func(tx *store.Tx) (err error) {
			list, err = tx.Tenants(last, bite)
			return err
		})
		if err != nil {
			return err
		}
	}
	return errors.Join(broken...)
}

// sweepTenants deletes the rows of tenants that are deleted.
func (h *house) sweepTenants(ctx context.Context, self store.Holder) (ours bool, err error) {
	var list []store.TenantID
	err = h.db.Read(ctx, store.TenantID{}, func(tx *store.Tx) (err error) {
		list, err = tx.DeletedTenants(bite)
		return err
	})
	ours = true
	for _, t := range list {
		if err == nil && ours {
			ours, err = h.bites(ctx, self, t, func(tx *store.Tx) (int, error) { return tx.SweepTenant(bite) })
		}
	}
	return ours, err
}

// sweepEvents sweeps those of a tenant that are older than they are kept, with
// their part of the audit trail. Of a deleted tenant all rows go another way.
func (h *house) sweepEvents(ctx context.Context, self store.Holder, t store.TenantID, keep time.Duration) (ours bool, err error) {
	key, err := h.auditKey(ctx, t)
	if errors.Is(err, store.ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return h.bites(ctx, self, t, func(tx *store.Tx) (int, error) { return key.Sweep(tx, bite, tx.Now.Add(-keep)) })
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
