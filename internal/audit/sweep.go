package audit

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"gatehouse/internal/store"
)

// Sweep deletes, in the caller's transaction, up to limit events from before an
// instant and returns how many: those of the trail from its start, as far as
// they are older, with a signed record of the last of them, from which what is
// left follows; then those from before there was a trail. An event that waits
// for its place is not deleted before it had it.
//
// It follows the chain of what it deletes from the record before: else the
// record would make good what somebody else has removed. Where it does not
// follow the error is ErrBroken, and nothing is deleted.
func (k *Key) Sweep(tx *store.Tx, limit int, before time.Time) (int, error) {
	_, err := tx.HoldHead()
	if errors.Is(err, store.ErrNotFound) {
		return tx.SweepEvents(limit, before)
	}
	if err != nil {
		return 0, err
	}
	n, err := k.sweepTrail(tx, limit, before)
	if err != nil || n == limit {
		return n, err
	}
	began, err := tx.FirstCheckpoint(store.CheckpointBegin)
	if err == nil && !signed(k.Public(), k.Tenant, &began) || errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("%w: there is no telling when it began", ErrBroken)
	}
	if err != nil {
		return 0, err
	}
	if began.MadeAt.Before(before) {
		before = began.MadeAt
	}
	older, err := tx.SweepEvents(limit-n, before)
	return n + older, err
}

func (k *Key) sweepTrail(tx *store.Tx, limit int, before time.Time) (int, error) {
	seq, hash, err := k.anchor(tx)
	if err != nil {
		return 0, err
	}
	rows, err := tx.TrailStart(limit)
	if err != nil {
		return 0, err
	}
	n, end := 0, store.LeastEvent(before)
	for _, r := range rows {
		if bytes.Compare(r.ID[:], end[:]) >= 0 {
			break
		}
		if !follows(seq, hash, r) {
			return 0, fmt.Errorf("%w: row %d does not follow", ErrBroken, r.Seq)
		}
		seq, hash = r.Seq, r.Hash
		n++
	}
	if n == 0 {
		return 0, nil
	}
	err = tx.DropTrail(rows[:n])
	if err != nil {
		return 0, err
	}
	c := store.Checkpoint{Seq: seq, Kind: store.CheckpointPruned, Hash: hash, MadeAt: tx.Now}
	k.Sign(&c)
	return n, tx.AddCheckpoint(c)
}

// anchor is what the oldest row that is left follows.
func (k *Key) anchor(tx *store.Tx) (seq int64, hash []byte, err error) {
	c, err := tx.FirstCheckpoint(store.CheckpointPruned)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return 0, Start(k.Tenant), nil
	case err != nil:
		return 0, nil, err
	case !signed(k.Public(), k.Tenant, &c):
		return 0, nil, fmt.Errorf("%w: the record of what was swept is not ours", ErrBroken)
	}
	return c.Seq, c.Hash, nil
}
