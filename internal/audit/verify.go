package audit

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"gatehouse/internal/store"
)

// Fault is one way in which a trail is not what was sealed, where it shows
// first.
type Fault struct {
	Kind FaultKind
	Seq  int64 // the row; 0: none
	What string
}

// FaultKind is what was done to a trail.
type FaultKind string

// The kinds of faults.
const (
	ChangedEvent FaultKind = "changed event"    // an event is not what it was
	MissingEvent FaultKind = "missing event"    // an event is gone, its row is not
	BrokenChain  FaultKind = "broken chain"     // rows were changed, moved or put between
	MissingRows  FaultKind = "missing rows"     // a gap in the numbers
	MissingStart FaultKind = "missing start"    // the oldest rows are gone, and no record says they were swept
	WrongEnd     FaultKind = "wrong end"        // rows behind the end, or an end without its rows
	BesideTrail  FaultKind = "beside the trail" // an event that is not in it and should be
	Forged       FaultKind = "forged statement" // a checkpoint or record that is not the house's
	Contradicted FaultKind = "contradicted"     // a checkpoint says otherwise
)

// Report is what Verify found.
type Report struct {
	Tenant      store.TenantID
	Rows        int64     // followed
	Last        int64     // the number of the last one
	Pruned      int64     // the number of the last one that was swept away for its age
	Began       time.Time // events from then on are in the trail; zero: there is none yet
	Checkpoints int
	KeyID       string
	Public      ed25519.PublicKey // what signatures were held against; KeyID is made of it
	Unchecked   string            // why a given checkpoint could not be compared; empty: it was, or none was given
	Faults      []Fault
}

// Err returns the faults in one sentence, or nil.
func (r *Report) Err() error {
	if len(r.Faults) == 0 {
		return nil
	}
	var b bytes.Buffer
	for i, f := range r.Faults {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(f.What)
	}
	return errors.New(b.String())
}

// fault notes what is found, of each kind the first.
func (r *Report) fault(kind FaultKind, seq int64, format string, args ...any) {
	for _, f := range r.Faults {
		if f.Kind == kind {
			return
		}
	}
	r.Faults = append(r.Faults, Fault{kind, seq, fmt.Sprintf(format, args...)})
}

// chain follows rows one after the other.
type chain struct {
	*Report
	seq  int64
	hash []byte
}

// row takes the next row. A gap has been explained before, or is a fault.
func (c *chain) row(r store.TrailRow) {
	switch {
	case r.Seq != c.seq+1 && c.seq == 0:
		c.fault(MissingStart, c.seq+1, "the rows before row %d are missing, and no record says that they were swept", r.Seq)
	case r.Seq != c.seq+1:
		c.fault(MissingRows, c.seq+1, "after row %d comes row %d: what was between them is missing", c.seq, r.Seq)
	case !follows(c.seq, c.hash, r):
		c.fault(BrokenChain, r.Seq, "row %d does not follow from the row before it: one of them was changed or moved", r.Seq)
	}
	switch {
	case bytes.Equal(r.Digest, digestOf(c.Tenant, r)):
		if r.Event == nil {
			c.fault(MissingEvent, r.Seq, "the event %s of row %d was removed before it was sealed", r.ID, r.Seq)
		}
	case r.Event == nil:
		c.fault(MissingEvent, r.Seq, "the event %s of row %d is missing", r.ID, r.Seq)
	default:
		c.fault(ChangedEvent, r.Seq, "the event %s of row %d is not what was sealed (%s of %s)", r.ID, r.Seq, r.Event.Name, r.Event.CreatedAt.Format(time.RFC3339))
	}
	c.seq, c.hash = r.Seq, r.Hash
	c.Rows++
}

// statement checks a checkpoint by itself.
func (c *chain) statement(p *store.Checkpoint) bool {
	if signed(c.Public, c.Tenant, p) {
		return true
	}
	c.fault(Forged, p.Seq, "the %s of row %d, of %s, is not signed by the house's key %s", p.Kind, p.Seq, p.MadeAt.Format(time.RFC3339), KeyID(c.Public))
	return false
}

// says compares a checkpoint with the row it is of.
func (c *chain) says(p *store.Checkpoint, hash []byte) {
	if !bytes.Equal(p.Hash, hash) {
		c.fault(Contradicted, p.Seq, "the %s of row %d, of %s, holds another hash than the row: something up to it was rewritten", p.Kind, p.Seq, p.MadeAt.Format(time.RFC3339))
	}
}

// page is how many rows are read at a time.
const page = 500

// verifier reads one tenant's trail.
type verifier struct {
	chain
	db    *store.DB
	key   *Key
	given *store.Checkpoint // kept elsewhere; nil: none
	from  int64             // checkpoints of earlier rows were looked at
}

// Verify reads a tenant's whole trail with its events and reports what is wrong
// with it. given is a checkpoint that was kept elsewhere, or nil: against it
// shows that a whole database is an older copy.
//
// It takes the memory of a page, however long the trail is, and may run while
// the house works.
func Verify(ctx context.Context, db *store.DB, key *Key, given *store.Checkpoint) (*Report, error) {
	v := &verifier{
		chain: chain{Report: &Report{Tenant: key.Tenant, KeyID: key.ID, Public: key.Public()}, hash: Start(key.Tenant)},
		db:    db, key: key, given: given,
	}
	if given != nil && !v.statement(given) {
		v.given = nil
	}
	for _, step := range []func(context.Context) error{v.start, v.rows, v.end, v.beside} {
		err := step(ctx)
		if err != nil {
			return nil, err
		}
	}
	v.Last = v.seq
	return v.Report, nil
}

func (v *verifier) read(ctx context.Context, fn func(*store.Tx) error) error {
	return v.db.Read(ctx, v.Tenant, fn)
}

// start finds what the oldest row that is left follows.
func (v *verifier) start(ctx context.Context) error {
	return v.read(ctx, func(tx *store.Tx) error {
		began, err := tx.FirstCheckpoint(store.CheckpointBegin)
		if errors.Is(err, store.ErrNotFound) {
			// Read before what it is the beginning of: what has just begun has none.
			last, head, err := tx.LastTrailSeq()
			if err != nil || last == 0 && head == 0 {
				return err
			}
			began, err = tx.FirstCheckpoint(store.CheckpointBegin)
			if errors.Is(err, store.ErrNotFound) {
				v.fault(MissingStart, 0, "the record of when the trail began is missing")
				return v.anchor(tx)
			}
			if err != nil {
				return err
			}
		} else if err != nil {
			return err
		}
		if v.statement(&began) {
			v.Began = began.MadeAt
		}
		return v.anchor(tx)
	})
}

// anchor moves to the end of what was swept away.
func (v *verifier) anchor(tx *store.Tx) error {
	p, err := tx.FirstCheckpoint(store.CheckpointPruned)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err == nil && p.Seq > v.seq && v.statement(&p) {
		v.seq, v.hash, v.Pruned = p.Seq, p.Hash, p.Seq
	}
	return err
}

// rows follows all rows there are, with the checkpoints beside them.
func (v *verifier) rows(ctx context.Context) error {
	for {
		var list []store.TrailRow
		err := v.read(ctx, func(tx *store.Tx) (err error) {
			list, err = tx.TrailPage(v.seq, page)
			if err == nil && len(list) > 0 && list[0].Seq != v.seq+1 { // swept meanwhile?
				err = v.anchor(tx)
			}
			return err
		})
		if err != nil || len(list) == 0 {
			return err
		}
		last := list[len(list)-1].Seq
		hashes := map[int64][]byte{v.seq: v.hash}
		for _, r := range list {
			if r.Seq > v.seq { // what was swept meanwhile is not followed
				v.row(r)
				hashes[r.Seq] = r.Hash
			}
		}
		err = v.checkpoints(ctx, v.from, last, hashes)
		if err != nil {
			return err
		}
		v.from = last + 1
	}
}

// checkpoints checks those of the rows from one to another.
func (v *verifier) checkpoints(ctx context.Context, from, to int64, hashes map[int64][]byte) error {
	var list []store.Checkpoint
	err := v.read(ctx, func(tx *store.Tx) (err error) {
		list, err = tx.Checkpoints(from, to, 3*page+3) // of each row at most one of each kind
		return err
	})
	if err != nil {
		return err
	}
	if v.given != nil && from <= v.given.Seq && v.given.Seq <= to {
		if hash := hashes[v.given.Seq]; hash != nil {
			v.says(v.given, hash)
		} else {
			v.Unchecked = fmt.Sprintf("row %d, of which the given checkpoint is, was swept away", v.given.Seq)
		}
		v.given = nil
	}
	for i := range list {
		p := &list[i]
		if p.Kind == store.CheckpointBegin || !v.statement(p) {
			continue
		}
		v.Checkpoints++
		if hash := hashes[p.Seq]; hash != nil {
			v.says(p, hash)
		}
	}
	return nil
}

// end compares where the rows end with where they should.
func (v *verifier) end(ctx context.Context) error {
	for {
		e, err := v.marks(ctx)
		if err != nil {
			return err
		}
		switch was := v.seq; {
		case e.none:
			if v.seq > 0 || e.before > 0 || !v.Began.IsZero() {
				v.fault(WrongEnd, v.seq, "the mark of where the trail ends is missing")
			}
			return v.unseen()
		case e.last > v.seq: // it has grown
			err = v.rows(ctx)
		case e.head.Seq > v.seq: // swept away meanwhile, the end with it?
			err = v.read(ctx, v.anchor)
			if err == nil && v.seq == was {
				v.compare(e)
				return v.unseen()
			}
		default:
			v.compare(e)
			return v.unseen()
		}
		if err != nil {
			return err
		}
	}
}

// marks are what says where a trail ends.
type marks struct {
	none          bool // there is no head
	head          store.AuditHead
	last          int64 // row, as it was after the head was read
	before, after int64 // the newest checkpoint's row, as it was before the head was read, and after
}

func (v *verifier) marks(ctx context.Context) (e marks, err error) {
	newest := func(tx *store.Tx, seq *int64) error {
		c, err := tx.NewestCheckpoint()
		*seq = c.Seq
		if errors.Is(err, store.ErrNotFound) {
			err = nil
		}
		return err
	}
	err = v.read(ctx, func(tx *store.Tx) (err error) {
		e = marks{}
		err = newest(tx, &e.before)
		if err == nil {
			e.head, err = tx.Head()
			e.none = errors.Is(err, store.ErrNotFound)
		}
		if e.none {
			return nil
		}
		if err == nil {
			e.last, _, err = tx.LastTrailSeq()
		}
		if err == nil {
			err = newest(tx, &e.after)
		}
		return err
	})
	return e, err
}

// compare holds the end of the rows against the mark and the newest checkpoint.
func (v *verifier) compare(e marks) {
	head := &e.head
	switch {
	case !v.key.sealed(head):
		v.fault(WrongEnd, head.Seq, "the mark of where the trail ends, row %d, is not the house's", head.Seq)
	case v.seq > head.Seq:
		v.fault(WrongEnd, head.Seq+1, "the trail was sealed up to row %d, and goes on to row %d", head.Seq, v.seq)
	case v.seq < head.Seq:
		v.fault(WrongEnd, v.seq+1, "the trail ends with row %d, and was sealed up to row %d: its end is missing", v.seq, head.Seq)
	case !bytes.Equal(v.hash, head.Hash):
		v.fault(WrongEnd, head.Seq, "the last row, %d, is not the one that was sealed", head.Seq)
	}
	if newest := e.before; newest > max(head.Seq, v.seq) {
		v.fault(WrongEnd, v.seq+1, "the trail ends with row %d, and there is a checkpoint of row %d: its end is missing", v.seq, newest)
	}
	if head.CheckpointSeq > 0 && e.after < head.CheckpointSeq {
		v.fault(WrongEnd, head.CheckpointSeq, "the checkpoint of row %d is missing", head.CheckpointSeq)
	}
}

// unseen tells of a given checkpoint whose row did not come.
func (v *verifier) unseen() error {
	switch {
	case v.given == nil:
	case v.given.Seq > v.seq:
		v.fault(WrongEnd, v.seq+1, "the trail ends with row %d, and the given checkpoint is of row %d: its end is missing, or this is an older copy", v.seq, v.given.Seq)
	case v.given.Seq == v.seq:
		v.says(v.given, v.hash)
	default:
		v.Unchecked = fmt.Sprintf("row %d, of which the given checkpoint is, was swept away", v.given.Seq)
	}
	v.given = nil
	return nil
}

// beside looks for events that should be in the trail and are not.
func (v *verifier) beside(ctx context.Context) error {
	if v.Began.IsZero() {
		return nil
	}
	for after := (store.EventID{}); ; {
		var ids, beside []store.EventID
		err := v.read(ctx, func(tx *store.Tx) (err error) {
			ids, beside, err = tx.EventPlaces(v.Began, after, page)
			return err
		})
		if err != nil || len(ids) == 0 {
			return err
		}
		if len(beside) > 0 {
			v.fault(BesideTrail, 0, "the event %s is younger than the trail and not in it: it was put there from outside", beside[0])
			return nil
		}
		after = ids[len(ids)-1]
	}
}
