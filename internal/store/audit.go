package store

import (
	"encoding/binary"
	"errors"
	"math"
	"time"
)

// TrailRow is an event as it stands in the audit trail, or waits to: then Seq
// is 0.
type TrailRow struct {
	Seq    int64 // from 1, without a gap
	ID     EventID
	Digest []byte // of the event
	Hash   []byte // of this row and all before it
	Event  *Event // nil: no event has that id (any more)
}

// AuditHead is where a tenant's trail ends.
type AuditHead struct {
	Seq           int64
	Hash          []byte
	MAC           []byte // keyed, of all else here
	CheckpointSeq int64  // of the last checkpoint
	CheckpointAt  time.Time
}

// Checkpoint is a signed statement about a tenant's trail.
type Checkpoint struct {
	Seq       int64
	Kind      string
	Hash      []byte // of the row Seq
	MadeAt    time.Time
	KeyID     string
	Signature []byte
}

// The kinds of checkpoints.
const (
	CheckpointBegin  = "begin"      // events from MadeAt on are in the trail
	CheckpointRow    = "checkpoint" // the row Seq has this hash
	CheckpointPruned = "pruned"     // the rows up to Seq were swept away for their age
)

// LeaseSeal is the job of putting events into the trail.
const LeaseSeal = "seal"

// QueuedTenant returns the first tenant, from one on, that has events which
// are not in the trail, or ErrNotFound.
func (tx *Tx) QueuedTenant(from TenantID) (t TenantID, err error) {
	err = tx.row(`SELECT tenant_id FROM audit_queue WHERE tenant_id >= ? ORDER BY tenant_id LIMIT 1`, []any{from}, &t)
	return t, err
}

// trailEvent are the columns of an event that a row may lack.
const trailEvent = `e.id, COALESCE(e.name, ''), COALESCE(e.actor, ''), e.user_id, e.session_id, COALESCE(e.ip, ''), COALESCE(e.request_id, ''), e.data, COALESCE(e.created_at, 0)`

// trailRows reads rows of the columns first and those of trailEvent.
func (tx *Tx) trailRows(query string, args []any, first func(*TrailRow) []any) (list []TrailRow, err error) {
	err = tx.rows(query, args, func(scan func(...any) error) error {
		var r TrailRow
		var e Event
		var at int64
		err := scan(append(first(&r), &e.ID, &e.Name, &e.Actor, &e.UserID, &e.SessionID, &e.IP, &e.RequestID, &e.Data, &at)...)
		e.CreatedAt = instant(at)
		if e.ID == r.ID {
			r.Event = &e
		}
		list = append(list, r)
		return err
	})
	return list, err
}

// QueuedEvents returns up to limit events that are not in the trail, oldest
// first. Who puts them there has locked the head before (HoldHead).
func (tx *Tx) QueuedEvents(limit int) ([]TrailRow, error) {
	return tx.trailRows(`SELECT q.event_id, `+trailEvent+` FROM audit_queue q LEFT JOIN events e ON e.tenant_id = q.tenant_id AND e.id = q.event_id
		WHERE q.tenant_id = ? ORDER BY q.event_id LIMIT ?`, []any{tx.Tenant, limit}, func(r *TrailRow) []any { return []any{&r.ID} })
}

// AppendTrail moves events from the queue into the trail.
func (tx *Tx) AppendTrail(rows []TrailRow) error {
	for _, r := range rows {
		err := tx.later(`INSERT INTO audit_trail (tenant_id, seq, event_id, digest, hash) VALUES (?, ?, ?, ?, ?)`, tx.Tenant, r.Seq, r.ID, r.Digest, r.Hash)
		if err == nil {
			err = tx.later(`DELETE FROM audit_queue WHERE tenant_id = ? AND event_id = ?`, tx.Tenant, r.ID)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// TrailPage returns up to limit rows of the trail behind one, with their
// events.
func (tx *Tx) TrailPage(after int64, limit int) ([]TrailRow, error) {
	return tx.trailRows(`SELECT t.seq, t.event_id, t.digest, t.hash, `+trailEvent+` FROM audit_trail t LEFT JOIN events e ON e.tenant_id = t.tenant_id AND e.id = t.event_id
		WHERE t.tenant_id = ? AND t.seq > ? ORDER BY t.seq LIMIT ?`, []any{tx.Tenant, after, limit},
		func(r *TrailRow) []any { return []any{&r.Seq, &r.ID, &r.Digest, &r.Hash} })
}

// TrailStart returns up to limit of the oldest rows of the trail, without
// their events.
func (tx *Tx) TrailStart(limit int) (list []TrailRow, err error) {
	err = tx.rows(`SELECT seq, event_id, digest, hash FROM audit_trail WHERE tenant_id = ? ORDER BY seq LIMIT ?`, []any{tx.Tenant, limit},
		func(scan func(...any) error) error {
			var r TrailRow
			err := scan(&r.Seq, &r.ID, &r.Digest, &r.Hash)
			list = append(list, r)
			return err
		})
	return list, err
}

// TrailSince returns the last row of the trail before all whose event happened
// at an instant or later; of seq 0 when there is none.
func (tx *Tx) TrailSince(at time.Time) (r TrailRow, err error) {
	// An event takes its place when it was committed, some time after it happened,
	// so that older ones may stand behind younger ones: but for so long no
	// transaction goes on.
	const late = 10 * time.Minute
	var first int64
	err = tx.row(`SELECT seq FROM audit_trail WHERE tenant_id = ? AND event_id >= ? ORDER BY event_id LIMIT 1`, []any{tx.Tenant, LeastEvent(at.Add(-late))}, &first)
	if errors.Is(err, ErrNotFound) { // all are older
		first, err = math.MaxInt64, nil
	}
	if err != nil {
		return r, err
	}
	err = tx.row(`SELECT seq, event_id, digest, hash FROM audit_trail WHERE tenant_id = ? AND seq < ? ORDER BY seq DESC LIMIT 1`, []any{tx.Tenant, first},
		&r.Seq, &r.ID, &r.Digest, &r.Hash)
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return r, err
}

// LastTrailSeq returns the number of the last row of the trail, 0 when there is
// none, and where its head says that it ends, both at one instant.
func (tx *Tx) LastTrailSeq() (last, head int64, err error) {
	err = tx.row(`SELECT (SELECT COALESCE(MAX(t.seq), 0) FROM audit_trail t WHERE t.tenant_id = ?), (SELECT COALESCE(MAX(h.seq), 0) FROM audit_heads h WHERE h.tenant_id = ?)`,
		[]any{tx.Tenant, tx.Tenant}, &last, &head)
	return last, head, err
}

// DropTrail deletes the oldest rows of the trail, which these are, with their
// events and the checkpoints of those before the last of them.
func (tx *Tx) DropTrail(rows []TrailRow) error {
	last := rows[len(rows)-1].Seq
	for _, r := range rows {
		err := tx.later(`DELETE FROM events WHERE tenant_id = ? AND id = ?`, tx.Tenant, r.ID)
		if err != nil {
			return err
		}
	}
	err := tx.later(`DELETE FROM audit_trail WHERE tenant_id = ? AND seq <= ?`, tx.Tenant, last)
	if err != nil {
		return err
	}
	return tx.later(`DELETE FROM audit_checkpoints WHERE tenant_id = ? AND seq < ? AND kind <> ?`, tx.Tenant, last, CheckpointBegin)
}

// Head returns where the tenant's trail ends, or ErrNotFound before its first
// row.
func (tx *Tx) Head() (h AuditHead, err error) {
	var at int64
	err = tx.row(`SELECT seq, hash, mac, checkpoint_seq, checkpoint_at FROM audit_heads WHERE tenant_id = ?`, []any{tx.Tenant},
		&h.Seq, &h.Hash, &h.MAC, &h.CheckpointSeq, &at)
	h.CheckpointAt = instant(at)
	return h, err
}

// HoldHead is Head, and locks it until the commit: nobody else appends or
// sweeps meanwhile.
func (tx *Tx) HoldHead() (AuditHead, error) {
	err := tx.later(`UPDATE audit_heads SET seq = seq WHERE tenant_id = ?`, tx.Tenant)
	if err != nil {
		return AuditHead{}, err
	}
	return tx.Head()
}

// AddHead inserts the head of a trail that begins, or returns ErrDuplicate.
func (tx *Tx) AddHead(h AuditHead) error {
	return tx.later(`INSERT INTO audit_heads (tenant_id, seq, hash, mac, checkpoint_seq, checkpoint_at) VALUES (?, ?, ?, ?, ?, ?)`,
		tx.Tenant, h.Seq, h.Hash, h.MAC, h.CheckpointSeq, micros(h.CheckpointAt))
}

// SetHead writes a head that HoldHead has locked.
func (tx *Tx) SetHead(h AuditHead) error {
	return tx.later(`UPDATE audit_heads SET seq = ?, hash = ?, mac = ?, checkpoint_seq = ?, checkpoint_at = ? WHERE tenant_id = ?`,
		h.Seq, h.Hash, h.MAC, h.CheckpointSeq, micros(h.CheckpointAt), tx.Tenant)
}

// UnsignedTenants returns up to limit tenants, from one on, whose trail has
// grown since its last checkpoint, which is from before an instant.
func (tx *Tx) UnsignedTenants(from TenantID, before time.Time, limit int) (list []TenantID, err error) {
	err = tx.rows(`SELECT tenant_id FROM audit_heads WHERE tenant_id >= ? AND seq > checkpoint_seq AND checkpoint_at <= ? ORDER BY tenant_id LIMIT ?`,
		[]any{from, micros(before), limit}, func(scan func(...any) error) error {
			var id TenantID
			err := scan(&id)
			list = append(list, id)
			return err
		})
	return list, err
}

// AddCheckpoint inserts c.
func (tx *Tx) AddCheckpoint(c Checkpoint) error {
	return tx.later(`INSERT INTO audit_checkpoints (tenant_id, seq, kind, hash, made_at, key_id, signature) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		tx.Tenant, c.Seq, c.Kind, c.Hash, micros(c.MadeAt), c.KeyID, c.Signature)
}

const checkpointColumns = `SELECT seq, kind, hash, made_at, key_id, signature FROM audit_checkpoints WHERE tenant_id = ?`

func scanCheckpoint(scan func(...any) error) (c Checkpoint, err error) {
	var at int64
	err = scan(&c.Seq, &c.Kind, &c.Hash, &at, &c.KeyID, &c.Signature)
	c.MadeAt = instant(at)
	return c, err
}

// Checkpoints returns up to limit checkpoints of the rows from one to another,
// both included, in order.
func (tx *Tx) Checkpoints(from, to int64, limit int) (list []Checkpoint, err error) {
	err = tx.rows(checkpointColumns+` AND seq >= ? AND seq <= ? ORDER BY seq, kind LIMIT ?`, []any{tx.Tenant, from, to, limit},
		func(scan func(...any) error) error {
			c, err := scanCheckpoint(scan)
			list = append(list, c)
			return err
		})
	return list, err
}

// FirstCheckpoint returns the oldest checkpoint of a kind, or ErrNotFound. Of
// the records of begin and of what was swept there is one.
func (tx *Tx) FirstCheckpoint(kind string) (c Checkpoint, err error) {
	return tx.oneCheckpoint(` AND kind = ? ORDER BY seq LIMIT 1`, kind)
}

// NewestCheckpoint returns the checkpoint of the latest row, or ErrNotFound.
func (tx *Tx) NewestCheckpoint() (c Checkpoint, err error) {
	return tx.oneCheckpoint(` ORDER BY seq DESC, kind DESC LIMIT 1`)
}

func (tx *Tx) oneCheckpoint(where string, args ...any) (c Checkpoint, err error) {
	found := false
	err = tx.rows(checkpointColumns+where, append([]any{tx.Tenant}, args...), func(scan func(...any) error) (err error) {
		found = true
		c, err = scanCheckpoint(scan)
		return err
	})
	if err == nil && !found {
		err = ErrNotFound
	}
	return c, err
}

// EventPlaces returns the ids of up to limit events from an instant on and
// behind one of them, and which of those are beside the trail: neither in it
// nor waiting.
func (tx *Tx) EventPlaces(from time.Time, after EventID, limit int) (ids, beside []EventID, err error) {
	err = tx.rows(`SELECT e.id, COALESCE(t.seq, 0), q.event_id FROM events e
		LEFT JOIN audit_trail t ON t.tenant_id = e.tenant_id AND t.event_id = e.id
		LEFT JOIN audit_queue q ON q.tenant_id = e.tenant_id AND q.event_id = e.id
		WHERE e.tenant_id = ? AND e.id >= ? AND e.id > ? ORDER BY e.id LIMIT ?`, []any{tx.Tenant, LeastEvent(from), after, limit},
		func(scan func(...any) error) error {
			var id, queued EventID
			var seq int64
			err := scan(&id, &seq, &queued)
			ids = append(ids, id)
			if seq == 0 && queued != id {
				beside = append(beside, id)
			}
			return err
		})
	return ids, beside, err
}

// NewestOutside returns the newest event that is neither in the trail nor
// waiting, or the zero id.
func (tx *Tx) NewestOutside() (id EventID, err error) {
	err = tx.row(`SELECT e.id FROM events e WHERE e.tenant_id = ?
		AND NOT EXISTS (SELECT 1 FROM audit_queue q WHERE q.tenant_id = e.tenant_id AND q.event_id = e.id)
		AND NOT EXISTS (SELECT 1 FROM audit_trail t WHERE t.tenant_id = e.tenant_id AND t.event_id = e.id)
		ORDER BY e.id DESC LIMIT 1`, []any{tx.Tenant}, &id)
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return id, err
}

// LeastEvent returns the least id of an event at an instant.
func LeastEvent(at time.Time) (id EventID) {
	if at.UnixMicro() <= 0 { // ids begin in 1970
		return id
	}
	id = eventID(at.UnixMicro() * ticks)
	clear(id[8:])
	return id
}

// EventMillisecond is the millisecond an event's id says it happened in: no id
// of that millisecond is less than that instant's, and none reaches the next.
func EventMillisecond(id EventID) time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint64(id[:8]) >> 16)).UTC()
}
