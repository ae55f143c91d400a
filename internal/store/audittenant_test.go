package store_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"gatehouse/internal/store"
)

// trailed is what a tenant has of the audit trail: one event in it, signed, and
// one that waits.
type trailed struct {
	row     store.TrailRow
	waiting store.EventID
}

func trailUp(t *testing.T, db *store.DB, tenant store.TenantID, user store.UserID) (b trailed) {
	t.Helper()
	b.row.Seq, b.row.Digest, b.row.Hash = 2000, []byte("digest"), []byte("hash")
	if tenant == home {
		b.row.Seq = 1000
	}
	err := db.Write(t.Context(), tenant, func(tx *store.Tx) error {
		queued, err := tx.QueuedEvents(1)
		if err != nil {
			return err
		}
		b.row.ID = queued[0].ID
		err = tx.AppendTrail([]store.TrailRow{b.row})
		return errors.Join(err, tx.AddHead(store.AuditHead{Seq: b.row.Seq, Hash: b.row.Hash, MAC: []byte("mac"), CheckpointAt: tx.Now}),
			tx.AddCheckpoint(store.Checkpoint{Seq: b.row.Seq, Kind: store.CheckpointRow, Hash: b.row.Hash, MadeAt: tx.Now, KeyID: user.String()}),
			tx.AddEvent(store.Event{Name: "hello", UserID: user, Data: []byte(`{}`)}))
	})
	if err == nil {
		err = db.Read(t.Context(), tenant, func(tx *store.Tx) error {
			queued, err := tx.QueuedEvents(1)
			if err == nil {
				b.waiting = queued[0].ID
			}
			return err
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func trailSnapshot(tx *store.Tx) []any {
	queued, err := tx.QueuedEvents(10)
	rows, err2 := tx.TrailPage(0, 10)
	head, err3 := tx.Head()
	points, err4 := tx.Checkpoints(0, 1<<40, 10)
	return []any{len(queued), rows, head, points, fmt.Sprint(errors.Join(err, err2, err3, err4))}
}

// trailCalls are those of TestTx_noTenantReachesAnother.
func trailCalls() map[string]func(*store.Tx, belongings) (bool, error) {
	did := func(err error) (bool, error) { return false, err }
	has := func(rows []store.TrailRow, id store.EventID) bool {
		return slices.ContainsFunc(rows, func(r store.TrailRow) bool { return r.ID == id })
	}
	his := func(c store.Checkpoint, b belongings) bool { return c.KeyID == b.user.ID.String() }
	// outside calls f while the event of the home's row is in no trail.
	outside := func(tx *store.Tx, b belongings, f func() (bool, error)) (saw bool, err error) {
		owner := *tx
		owner.Tenant = home
		err = owner.DropTrail([]store.TrailRow{{Seq: b.trail.row.Seq}})
		if err == nil {
			saw, err = f()
		}
		return saw, errors.Join(err, owner.AppendTrail([]store.TrailRow{b.trail.row}))
	}
	return map[string]func(*store.Tx, belongings) (bool, error){
		"QueuedEvents": func(tx *store.Tx, b belongings) (bool, error) {
			rows, err := tx.QueuedEvents(10)
			return has(rows, b.trail.waiting), err
		},
		"AppendTrail": func(tx *store.Tx, b belongings) (bool, error) {
			return did(tx.AppendTrail([]store.TrailRow{{Seq: 77, ID: b.trail.waiting, Digest: []byte("d"), Hash: []byte("h")}}))
		},
		"TrailPage": func(tx *store.Tx, b belongings) (bool, error) {
			rows, err := tx.TrailPage(0, 10)
			return has(rows, b.trail.row.ID), err
		},
		"TrailStart": func(tx *store.Tx, b belongings) (bool, error) {
			rows, err := tx.TrailStart(10)
			return has(rows, b.trail.row.ID), err
		},
		"TrailSince": func(tx *store.Tx, b belongings) (bool, error) {
			r, err := tx.TrailSince(tx.Now.Add(time.Hour))
			return r.ID == b.trail.row.ID, err
		},
		"LastTrailSeq": func(tx *store.Tx, b belongings) (bool, error) {
			last, head, err := tx.LastTrailSeq()
			return last == b.trail.row.Seq || head == b.trail.row.Seq, err
		},
		"DropTrail": func(tx *store.Tx, b belongings) (bool, error) {
			return did(tx.DropTrail([]store.TrailRow{b.trail.row}))
		},
		"Head": func(tx *store.Tx, b belongings) (bool, error) {
			h, err := tx.Head()
			return h.Seq == b.trail.row.Seq, err
		},
		"HoldHead": func(tx *store.Tx, b belongings) (bool, error) {
			h, err := tx.HoldHead()
			return h.Seq == b.trail.row.Seq, err
		},
		"SetHead": func(tx *store.Tx, _ belongings) (bool, error) { return did(tx.SetHead(store.AuditHead{Seq: 5})) },
		"AddCheckpoint": func(tx *store.Tx, _ belongings) (bool, error) {
			return did(tx.AddCheckpoint(store.Checkpoint{Seq: 7, Kind: store.CheckpointRow}))
		},
		"Checkpoints": func(tx *store.Tx, b belongings) (bool, error) {
			list, err := tx.Checkpoints(0, 1<<40, 10)
			return slices.ContainsFunc(list, func(c store.Checkpoint) bool { return his(c, b) }), err
		},
		"FirstCheckpoint": func(tx *store.Tx, b belongings) (bool, error) {
			c, err := tx.FirstCheckpoint(store.CheckpointRow)
			return his(c, b), err
		},
		"NewestCheckpoint": func(tx *store.Tx, b belongings) (bool, error) {
			c, err := tx.NewestCheckpoint()
			return his(c, b), err
		},
		"EventPlaces": func(tx *store.Tx, b belongings) (bool, error) {
			ids, _, err := tx.EventPlaces(time.Time{}, store.EventID{}, 10)
			return slices.Contains(ids, b.trail.row.ID), err
		},
		"EventPage": func(tx *store.Tx, b belongings) (bool, error) {
			page, _, err := tx.EventPage(store.EventFilter{Limit: 10, Count: 10})
			return slices.ContainsFunc(page, func(e store.Event) bool { return e.ID == b.trail.row.ID }), err
		},
		"UsersOf": func(tx *store.Tx, b belongings) (bool, error) {
			list, err := tx.UsersOf([]store.UserID{b.user.ID})
			return len(list) > 0, err
		},
		"NewestOutside": func(tx *store.Tx, b belongings) (bool, error) {
			return outside(tx, b, func() (bool, error) {
				id, err := tx.NewestOutside()
				return id == b.trail.row.ID, err
			})
		},
		"SweepEvents": func(tx *store.Tx, b belongings) (bool, error) {
			return outside(tx, b, func() (bool, error) {
				n, err := tx.SweepEvents(10, tx.Now.Add(time.Hour))
				return n > 0, err
			})
		},
	}
}
