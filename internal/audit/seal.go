package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

// Options are what a Sealer is made of.
type Options struct {
	DB *store.DB
	// Root returns a tenant's root key. Of one that is deleted, whose events go
	// with it, it is store.ErrNotFound.
	Root func(ctx context.Context, t store.TenantID) (*secret.Root, error)
	// After is told of what got its place in the trail, in order, in the
	// transaction in which it did. It may run twice, as all that runs in one.
	After func(tx *store.Tx, list []store.TrailEvent) error
	// Told is called when what After was told of is committed.
	Told func()
	Log  *slog.Logger
}

// What does not depend on the operator.
const (
	most         = 500              // events in one transaction
	turns        = 8                // transactions for one tenant before the next one's
	sealEvery    = time.Second      // how long an event waits for its place
	signAfter    = 1000             // rows without a checkpoint
	signEvery    = time.Minute      // or so long
	sealLease    = 10 * time.Second // after which another node takes a dead one's place
	lookUnsigned = 10 * time.Second
)

// Sealer puts events into the trail. Of several nodes' one does it at a time.
// An event is committed with what it tells of and waits in a queue; its place,
// its hash and whatever is told to others come in a transaction after that, so
// that no request waits for the end of one chain.
type Sealer struct {
	o      Options
	holder store.Holder
	wake   chan struct{}

	mu     sync.Mutex // guards what is below, and lets one SealNow work at a time
	looked time.Time  // when trails without a checkpoint were last looked for
	held   bool       // the lease may be ours
}

// NewSealer returns a Sealer; Run does its work.
func NewSealer(o Options) *Sealer {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Sealer{o: o, holder: store.NewHolder(), wake: make(chan struct{}, 1)}
}

// Wake has Run look at once.
func (s *Sealer) Wake() {
	select {
	case s.wake <- struct{}{}:
	default: // it is about to
	}
}

// Run seals every second and when woken, until ctx ends, and then leaves the
// work to whichever node comes next. What fails is tried again.
func (s *Sealer) Run(ctx context.Context) error {
	t := time.NewTicker(sealEvery)
	defer t.Stop()
	var said string // not every second the same
	for {
		err := s.SealNow(ctx)
		switch {
		case err == nil:
			said = ""
		case ctx.Err() == nil && err.Error() != said:
			said = err.Error()
			s.o.Log.Error("events could not be put into the audit trail; it is tried again every second", "err", err)
		}
		select {
		case <-ctx.Done():
			err := s.Release(context.WithoutCancel(ctx))
			if err != nil {
				s.o.Log.Debug("another node waits until the lease of the audit trail ends", "err", err)
			}
			return nil
		case <-t.C:
		case <-s.wake:
		}
	}
}

// Release leaves the work to others at once, if it is this sealer's.
func (s *Sealer) Release(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.held {
		return nil
	}
	s.held = false
	return s.o.DB.Write(ctx, store.TenantID{}, func(tx *store.Tx) error {
		_, err := tx.Lease(store.LeaseSeal, s.holder, -time.Microsecond)
		return err
	})
}

// errElsewhere reports that another node does the work.
var errElsewhere = errors.New("audit: another node seals")

// SealNow puts all events that wait into the trail, and signs what is due to
// be. It does nothing while that is another node's work. A tenant whose events
// cannot be sealed keeps nobody else's waiting.
func (s *Sealer) SealNow(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	failed := map[store.TenantID]error{}
	for again := true; again; {
		again = false
		for from, more := (store.TenantID{}), true; more; {
			var t store.TenantID
			err := s.o.DB.Read(ctx, from, func(tx *store.Tx) (err error) {
				t, err = tx.QueuedTenant(from)
				return err
			})
			if errors.Is(err, store.ErrNotFound) {
				break
			}
			if err != nil {
				return err
			}
			from, more = next(t)
			if failed[t] != nil {
				continue
			}
			left, err := s.sealSome(ctx, t)
			switch {
			case errors.Is(err, errElsewhere):
				return nil
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil:
				failed[t] = fmt.Errorf("tenant %s: %w", t, err)
			}
			again = again || left
		}
	}
	var errs []error
	for _, err := range failed {
		if !errors.Is(err, errDeleted) {
			errs = append(errs, err)
		}
	}
	err := s.signDue(ctx)
	if err != nil && !errors.Is(err, errElsewhere) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// errDeleted reports a tenant whose events need no place any more.
var errDeleted = errors.New("audit: the tenant is deleted")

// next returns the tenant id after one, and whether there is any.
func next(t store.TenantID) (store.TenantID, bool) {
	for i := len(t) - 1; i >= 0; i-- {
		t[i]++
		if t[i] != 0 {
			return t, true
		}
	}
	return t, false
}

// sealSome seals a few transactions' worth of a tenant's events, and reports
// whether more are left.
func (s *Sealer) sealSome(ctx context.Context, t store.TenantID) (left bool, err error) {
	key, err := s.key(ctx, t)
	if errors.Is(err, store.ErrNotFound) {
		return false, errDeleted
	}
	if err != nil {
		return false, err
	}
	for range turns {
		n, err := s.bite(ctx, key)
		if err != nil || n < most {
			return false, err
		}
	}
	return true, nil
}

func (s *Sealer) key(ctx context.Context, t store.TenantID) (*Key, error) {
	root, err := s.o.Root(ctx, t)
	if err != nil {
		return nil, err
	}
	return NewKey(root, t), nil
}

// bite seals the oldest events that wait, in one transaction, and returns how
// many.
func (s *Sealer) bite(ctx context.Context, key *Key) (n int, err error) {
	told := false
	err = s.ours(ctx, key.Tenant, func(tx *store.Tx) error {
		n, told = 0, false
		head, fresh, err := s.hold(tx, key)
		if err != nil {
			return err
		}
		rows, err := tx.QueuedEvents(most)
		if err != nil || len(rows) == 0 {
			return err
		}
		n = len(rows)
		if fresh {
			err = begin(tx, key, &head, rows[0].ID)
			if err != nil {
				return err
			}
		}
		list := make([]store.TrailEvent, 0, n)
		for i := range rows {
			r := &rows[i]
			r.Seq, r.Digest = head.Seq+1, digestOf(key.Tenant, *r)
			r.Hash = Chain(head.Hash, r.Seq, r.Digest)
			head.Seq, head.Hash = r.Seq, r.Hash
			if r.Event != nil {
				list = append(list, store.TrailEvent{Seq: r.Seq, ID: r.ID, Name: r.Event.Name, UserID: r.Event.UserID})
			}
		}
		err = tx.AppendTrail(rows)
		if err == nil && (head.Seq-head.CheckpointSeq >= signAfter || !tx.Now.Before(head.CheckpointAt.Add(signEvery))) {
			err = checkpoint(tx, key, &head)
		}
		if err != nil {
			return err
		}
		err = put(tx, key, &head, fresh)
		if err == nil && s.o.After != nil && len(list) > 0 {
			told = true
			err = s.o.After(tx, list)
		}
		return err
	})
	if err == nil && told && s.o.Told != nil {
		s.o.Told()
	}
	return n, err
}

// ours is Write under the lease: a node that was paused, and replaced
// meanwhile, writes nothing.
func (s *Sealer) ours(ctx context.Context, t store.TenantID, fn func(*store.Tx) error) error {
	var mine bool
	s.held = true
	err := s.o.DB.Write(ctx, t, func(tx *store.Tx) (err error) {
		mine, err = tx.Lease(store.LeaseSeal, s.holder, sealLease)
		if err == nil && mine {
			err = fn(tx)
		}
		return err
	})
	if err == nil && !mine {
		err = errElsewhere
	}
	return err
}

// hold locks the head and makes sure that it is as it was left: on an end that
// somebody else has set nothing is built, for that would make it right.
func (s *Sealer) hold(tx *store.Tx, key *Key) (head store.AuditHead, fresh bool, err error) {
	head, err = tx.HoldHead()
	if errors.Is(err, store.ErrNotFound) {
		last, _, err := tx.LastTrailSeq()
		if err == nil && last > 0 {
			err = fmt.Errorf("%w: its rows have no end", ErrBroken)
		}
		return store.AuditHead{Hash: Start(key.Tenant)}, true, err
	}
	if err == nil && !key.sealed(&head) {
		err = fmt.Errorf("%w: its end is not what was sealed", ErrBroken)
	}
	return head, false, err
}

// ErrBroken reports a trail that is not what was sealed; Verify says what is
// wrong with it.
var ErrBroken = errors.New("audit: the trail was tampered with; gatehouse audit verify says where")

// begin writes from when on a tenant's trail is kept, of which this is the
// first event. What is older, or was written by a program that knows of no
// trail, is not in it.
func begin(tx *store.Tx, key *Key, head *store.AuditHead, first store.EventID) error {
	outside, err := tx.NewestOutside()
	if err != nil {
		return err
	}
	from := store.EventMillisecond(first)
	if after := store.EventMillisecond(outside).Add(time.Millisecond); !outside.IsZero() && after.After(from) {
		from = after
	}
	c := store.Checkpoint{Kind: store.CheckpointBegin, Hash: head.Hash, MadeAt: from}
	key.Sign(&c)
	head.CheckpointAt = tx.Now
	return tx.AddCheckpoint(c)
}

// checkpoint signs the end of a trail.
func checkpoint(tx *store.Tx, key *Key, head *store.AuditHead) error {
	c := store.Checkpoint{Seq: head.Seq, Kind: store.CheckpointRow, Hash: head.Hash, MadeAt: tx.Now}
	key.Sign(&c)
	head.CheckpointSeq, head.CheckpointAt = c.Seq, c.MadeAt
	return tx.AddCheckpoint(c)
}

// put writes a head.
func put(tx *store.Tx, key *Key, head *store.AuditHead, fresh bool) error {
	key.seal(head)
	if fresh {
		return tx.AddHead(*head)
	}
	return tx.SetHead(*head)
}

// signDue signs the trails that have grown since their last checkpoint, and
// since then no more.
func (s *Sealer) signDue(ctx context.Context) error {
	now := s.o.DB.Now()
	if ago := now.Sub(s.looked); ago >= 0 && ago < lookUnsigned {
		return nil
	}
	var errs []error
	for from, more := (store.TenantID{}), true; more; {
		var list []store.TenantID
		err := s.o.DB.Read(ctx, from, func(tx *store.Tx) (err error) {
			list, err = tx.UnsignedTenants(from, now.Add(-signEvery), most)
			return err
		})
		if err != nil {
			return err
		}
		for _, t := range list {
			err := s.sign(ctx, t)
			if errors.Is(err, errElsewhere) {
				return err
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("tenant %s: %w", t, err))
			}
		}
		more = len(list) == most
		if more {
			from, more = next(list[len(list)-1])
		}
	}
	s.looked = now
	return errors.Join(errs...)
}

func (s *Sealer) sign(ctx context.Context, t store.TenantID) error {
	key, err := s.key(ctx, t)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.ours(ctx, t, func(tx *store.Tx) error {
		head, fresh, err := s.hold(tx, key)
		if err != nil || fresh || head.Seq == head.CheckpointSeq {
			return err
		}
		err = checkpoint(tx, key, &head)
		if err != nil {
			return err
		}
		return put(tx, key, &head, false)
	})
}
