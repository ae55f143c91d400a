package audit_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"gatehouse/internal/audit"
	"gatehouse/internal/store"
)

// victim is a tenant's trail of 30 rows with checkpoints at 10 and 20, about to
// be tampered with.
type victim struct {
	*house
	tenant store.TenantID
	rows   []store.TrailRow
	head10 store.AuditHead // as it was at row 10
}

func (v *victim) id(seq int) string { return v.bytes(v.rows[seq-1].ID[:]) }

// sql runs statements on the victim.
func (v *victim) sql(statements ...string) { v.t.Helper(); v.do(v.tenant, statements...) }

// drop deletes the rows from one to another, with their events.
func (v *victim) drop(from, to int) {
	for seq := from; seq <= to; seq++ {
		v.sql(fmt.Sprintf(`DELETE FROM audit_trail WHERE tenant_id = {T} AND seq = %d`, seq), `DELETE FROM events WHERE tenant_id = {T} AND id = `+v.id(seq))
	}
}

// rewrite changes the event of a row, and all digests and hashes from there on
// so that they fit.
func (v *victim) rewrite(from int) {
	v.sql(`UPDATE events SET actor = 'eve' WHERE tenant_id = {T} AND id = ` + v.id(from))
	hash := v.rows[from-2].Hash
	for _, r := range v.trail(v.tenant)[from-1:] {
		digest := audit.Digest(v.tenant, r.Event)
		hash = audit.Chain(hash, r.Seq, digest)
		v.sql(fmt.Sprintf(`UPDATE audit_trail SET digest = %s, hash = %s WHERE tenant_id = {T} AND seq = %d`, v.bytes(digest), v.bytes(hash), r.Seq))
	}
	v.sql(`UPDATE audit_heads SET hash = ` + v.bytes(hash) + ` WHERE tenant_id = {T}`)
}

// back sets the head to what it was at row 10, MAC and all.
func (v *victim) back() {
	h := v.head10
	v.sql(fmt.Sprintf(`UPDATE audit_heads SET seq = %d, hash = %s, mac = %s, checkpoint_seq = %d, checkpoint_at = %d WHERE tenant_id = {T}`,
		h.Seq, v.bytes(h.Hash), v.bytes(h.MAC), h.CheckpointSeq, h.CheckpointAt.UnixMicro()))
}

// grown returns a victim.
func (h *house) grown(n byte) *victim {
	h.t.Helper()
	v := &victim{house: h, tenant: store.TenantID{0: 9, 15: n}}
	for i := range 3 {
		h.happen(v.tenant, 10)
		h.clock.Advance(time.Minute + time.Second)
		h.seal()
		if i == 0 {
			h.happen(v.tenant, 0)
			h.clock.Advance(time.Minute + time.Second)
			h.seal()
			err := h.db.Read(h.t.Context(), v.tenant, func(tx *store.Tx) (err error) {
				v.head10, err = tx.Head()
				return err
			})
			if err != nil {
				h.t.Fatal(err)
			}
		}
		if i == 1 {
			h.clock.Advance(time.Minute + time.Second)
			h.seal()
		}
	}
	v.rows = h.trail(v.tenant)
	if len(v.rows) != 30 || v.head10.CheckpointSeq != 10 {
		h.t.Fatalf("%d rows, and at row 10 the head was %+v", len(v.rows), v.head10)
	}
	h.whole(v.tenant, 30)
	return v
}

// newest is the checkpoint somebody has kept elsewhere.
func (v *victim) newest() *store.Checkpoint {
	v.t.Helper()
	var c store.Checkpoint
	err := v.db.Read(v.t.Context(), v.tenant, func(tx *store.Tx) (err error) {
		c, err = tx.NewestCheckpoint()
		return err
	})
	if err != nil {
		v.t.Fatal(err)
	}
	return &c
}

// Whoever may write to the database, and has no root key, changes nothing of
// the trail unseen.
func TestVerify_showsEveryTamperingWhereItIsFirst(t *testing.T) {
	t.Parallel()
	type found struct {
		kind audit.FaultKind
		seq  int64
	}
	changed := func(set string) func(v *victim) {
		return func(v *victim) { v.sql(`UPDATE events SET ` + set + ` WHERE tenant_id = {T} AND id = ` + v.id(5)) }
	}
	cases := map[string]struct {
		tamper func(v *victim)
		want   []found
	}{
		"another name":    {changed(`name = 'session.ended'`), []found{{audit.ChangedEvent, 5}}},
		"another actor":   {changed(`actor = 'eve'`), []found{{audit.ChangedEvent, 5}}},
		"another user":    {changed(`user_id = {T}`), []found{{audit.ChangedEvent, 5}}},
		"another session": {changed(`session_id = {T}`), []found{{audit.ChangedEvent, 5}}},
		"another address": {changed(`ip = '192.0.2.2'`), []found{{audit.ChangedEvent, 5}}},
		"another request": {changed(`request_id = ''`), []found{{audit.ChangedEvent, 5}}},
		"other data":      {changed(`data = '{"i": 4,"word":"ünï"}'`), []found{{audit.ChangedEvent, 5}}},
		"another time":    {changed(`created_at = created_at - 1`), []found{{audit.ChangedEvent, 5}}},
		"a change with its digest": {func(v *victim) {
			changed(`actor = 'eve'`)(v)
			e := *v.rows[4].Event
			e.Actor = "eve"
			v.sql(`UPDATE audit_trail SET digest = ` + v.bytes(audit.Digest(v.tenant, &e)) + ` WHERE tenant_id = {T} AND seq = 5`)
		}, []found{{audit.BrokenChain, 5}}},
		"a change with its digest and hash": {func(v *victim) {
			changed(`actor = 'eve'`)(v)
			e := *v.rows[4].Event
			e.Actor = "eve"
			d := audit.Digest(v.tenant, &e)
			v.sql(`UPDATE audit_trail SET digest = ` + v.bytes(d) + `, hash = ` + v.bytes(audit.Chain(v.rows[3].Hash, 5, d)) + ` WHERE tenant_id = {T} AND seq = 5`)
		}, []found{{audit.BrokenChain, 6}}},
		"everything from a row on made anew": {func(v *victim) { v.rewrite(15) }, []found{{audit.Contradicted, 20}, {audit.WrongEnd, 30}}},
		"everything after the last checkpoint": {func(v *victim) {
			v.sql(`DELETE FROM audit_checkpoints WHERE tenant_id = {T} AND seq > 20`)
			v.rewrite(25)
		}, []found{{audit.WrongEnd, 30}}},
		"an event removed": {func(v *victim) { v.sql(`DELETE FROM events WHERE tenant_id = {T} AND id = ` + v.id(7)) }, []found{{audit.MissingEvent, 7}}},
		"a row removed from the middle": {
			func(v *victim) { v.sql(`DELETE FROM audit_trail WHERE tenant_id = {T} AND seq = 7`) },
			[]found{{audit.MissingRows, 7}, {audit.BesideTrail, 0}},
		},
		"rows and events removed from the middle": {func(v *victim) { v.drop(7, 9) }, []found{{audit.MissingRows, 7}}},
		"a gap that is closed": {func(v *victim) {
			v.drop(7, 7)
			for seq := 8; seq <= 30; seq++ {
				v.sql(fmt.Sprintf(`UPDATE audit_trail SET seq = %d WHERE tenant_id = {T} AND seq = %d`, seq-1, seq))
			}
		}, []found{{audit.BrokenChain, 7}, {audit.WrongEnd, 30}}},
		"the start removed": {func(v *victim) { v.drop(1, 3) }, []found{{audit.MissingStart, 1}}},
		"the start removed with a record of somebody else's": {func(v *victim) {
			v.drop(1, 3)
			v.sql(`INSERT INTO audit_checkpoints (tenant_id, seq, kind, hash, made_at, key_id, signature) SELECT tenant_id, 3, 'pruned', ` + v.bytes(v.rows[2].Hash) +
				`, made_at, key_id, signature FROM audit_checkpoints WHERE tenant_id = {T} AND kind = 'checkpoint' AND seq = 10`)
		}, []found{{audit.MissingStart, 1}, {audit.Forged, 3}}},
		"the start removed with a checkpoint as the record": {func(v *victim) {
			v.drop(1, 10)
			v.sql(`UPDATE audit_checkpoints SET kind = 'pruned' WHERE tenant_id = {T} AND kind = 'checkpoint' AND seq = 10`)
		}, []found{{audit.MissingStart, 1}, {audit.Forged, 10}}},
		"the end removed": {func(v *victim) { v.drop(28, 30) }, []found{{audit.WrongEnd, 28}}},
		"the end removed and the mark moved": {func(v *victim) {
			v.drop(28, 30)
			v.sql(`UPDATE audit_heads SET seq = 27, hash = ` + v.bytes(v.rows[26].Hash) + ` WHERE tenant_id = {T}`)
		}, []found{{audit.WrongEnd, 27}}},
		"the end removed and an older mark put back": {func(v *victim) {
			v.drop(11, 30)
			v.back()
		}, []found{{audit.WrongEnd, 11}}},
		"the end of the rows removed, not of the events": {func(v *victim) {
			v.back()
			v.sql(`DELETE FROM audit_trail WHERE tenant_id = {T} AND seq > 10`, `DELETE FROM audit_checkpoints WHERE tenant_id = {T} AND seq > 10`)
		}, []found{{audit.BesideTrail, 0}}},
		"the mark removed": {func(v *victim) { v.sql(`DELETE FROM audit_heads WHERE tenant_id = {T}`) }, []found{{audit.WrongEnd, 30}}},
		"two rows swapped": {func(v *victim) {
			v.sql(`UPDATE audit_trail SET seq = 1000 WHERE tenant_id = {T} AND seq = 5`, `UPDATE audit_trail SET seq = 5 WHERE tenant_id = {T} AND seq = 6`,
				`UPDATE audit_trail SET seq = 6 WHERE tenant_id = {T} AND seq = 1000`)
		}, []found{{audit.BrokenChain, 5}}},
		"the events of two rows swapped": {func(v *victim) {
			v.sql(`UPDATE audit_trail SET event_id = {T} WHERE tenant_id = {T} AND seq = 5`, `UPDATE audit_trail SET event_id = `+v.id(5)+` WHERE tenant_id = {T} AND seq = 6`,
				`UPDATE audit_trail SET event_id = `+v.id(6)+` WHERE tenant_id = {T} AND seq = 5`)
		}, []found{{audit.ChangedEvent, 5}}},
		"an event beside the trail": {func(v *victim) { v.insert() }, []found{{audit.BesideTrail, 0}}},
		"a row behind the end": {func(v *victim) {
			e := v.insert()
			d := audit.Digest(v.tenant, e)
			v.sql(fmt.Sprintf(`INSERT INTO audit_trail (tenant_id, seq, event_id, digest, hash) VALUES ({T}, 31, %s, %s, %s)`,
				v.bytes(e.ID[:]), v.bytes(d), v.bytes(audit.Chain(v.rows[29].Hash, 31, d))))
		}, []found{{audit.WrongEnd, 31}}},
		"a checkpoint with another hash": {func(v *victim) {
			v.sql(`UPDATE audit_checkpoints SET hash = ` + v.bytes(v.rows[0].Hash) + ` WHERE tenant_id = {T} AND seq = 20`)
		}, []found{{audit.Forged, 20}}},
		"a checkpoint of another row": {func(v *victim) {
			v.sql(`UPDATE audit_checkpoints SET seq = 19 WHERE tenant_id = {T} AND seq = 20`)
		}, []found{{audit.Forged, 19}}},
		"a checkpoint nobody signed": {func(v *victim) {
			v.sql(`INSERT INTO audit_checkpoints (tenant_id, seq, kind, hash, made_at, key_id, signature) VALUES ({T}, 15, 'checkpoint', ` +
				v.bytes(v.rows[14].Hash) + `, 1, '` + v.key(v.tenant).ID + `', ` + v.bytes(make([]byte, 64)) + `)`)
		}, []found{{audit.Forged, 15}}},
		"a checkpoint by another key": {func(v *victim) {
			c := store.Checkpoint{Seq: 15, Kind: store.CheckpointRow, Hash: v.rows[14].Hash, MadeAt: v.clock.Now()}
			v.key(store.TenantID{15: 99}).Sign(&c)
			v.sql(fmt.Sprintf(`INSERT INTO audit_checkpoints (tenant_id, seq, kind, hash, made_at, key_id, signature) VALUES ({T}, 15, 'checkpoint', %s, %d, '%s', %s)`,
				v.bytes(c.Hash), c.MadeAt.UnixMicro(), c.KeyID, v.bytes(c.Signature)))
		}, []found{{audit.Forged, 15}}},
		"the last checkpoint removed": {func(v *victim) {
			v.sql(`DELETE FROM audit_checkpoints WHERE tenant_id = {T} AND seq = 30`)
		}, []found{{audit.WrongEnd, 30}}},
		"its beginning removed": {func(v *victim) {
			v.sql(`DELETE FROM audit_checkpoints WHERE tenant_id = {T} AND kind = 'begin'`)
		}, []found{{audit.MissingStart, 0}}},
		"its beginning put off": {func(v *victim) {
			v.sql(`UPDATE audit_checkpoints SET made_at = made_at + 100000000 WHERE tenant_id = {T} AND kind = 'begin'`)
		}, []found{{audit.Forged, 0}}},
		"nothing left but the events": {func(v *victim) {
			v.sql(`DELETE FROM audit_trail WHERE tenant_id = {T}`, `DELETE FROM audit_heads WHERE tenant_id = {T}`)
		}, []found{{audit.WrongEnd, 0}, {audit.BesideTrail, 0}}},
	}
	onEngines(t, func(h *house) {
		n := byte(0)
		for what, c := range cases {
			n++
			v := h.grown(n)
			c.tamper(v)
			r := h.verify(v.tenant, nil)
			for _, w := range c.want {
				if !slices.ContainsFunc(r.Faults, func(f audit.Fault) bool { return f.Kind == w.kind && f.Seq == w.seq }) {
					h.t.Errorf("%s: want %s at row %d, got %+v", what, w.kind, w.seq, r.Faults)
				}
			}
		}
	})
}

// insert adds an event as somebody does who knows the table.
func (v *victim) insert() *store.Event {
	v.t.Helper()
	e := *v.rows[20].Event
	e.ID[15]++
	e.Name = "user.signed_up"
	v.sql(fmt.Sprintf(`INSERT INTO events (tenant_id, id, name, actor, user_id, session_id, ip, request_id, data, created_at)
		SELECT tenant_id, %s, 'user.signed_up', actor, user_id, session_id, ip, request_id, data, created_at FROM events WHERE tenant_id = {T} AND id = %s`,
		v.bytes(e.ID[:]), v.id(21)))
	return &e
}

// A copy of an older state of the whole trail is whole in itself; what was kept
// elsewhere shows it.
func TestVerify_anOlderCopyShowsAgainstACheckpointKeptElsewhere(t *testing.T) {
	t.Parallel()
	onEngines(t, func(h *house) {
		v := h.grown(1)
		kept, early := v.newest(), *v.newest()
		if kept.Seq != 30 {
			h.t.Fatalf("the newest checkpoint is of row %d", kept.Seq)
		}
		if r := h.verify(v.tenant, kept); r.Err() != nil || r.Unchecked != "" {
			h.t.Errorf("against a checkpoint of its own: %v, %q", r.Err(), r.Unchecked)
		}
		other := *kept
		other.Hash = bytes.Clone(kept.Hash)
		other.Hash[0]++
		if r := h.verify(v.tenant, &other); len(r.Faults) != 1 || r.Faults[0].Kind != audit.Forged {
			h.t.Errorf("against one that was changed: %+v", r.Faults)
		}
		early.Seq, early.Hash = 15, v.rows[3].Hash // the house's own, of another course of things
		h.key(v.tenant).Sign(&early)
		if r := h.verify(v.tenant, &early); len(r.Faults) != 1 || r.Faults[0].Kind != audit.Contradicted || r.Faults[0].Seq != 15 {
			h.t.Errorf("against one that says otherwise: %+v", r.Faults)
		}
		v.drop(11, 30)
		v.back()
		v.sql(`DELETE FROM audit_checkpoints WHERE tenant_id = {T} AND seq > 10`)
		h.whole(v.tenant, 10)
		if r := h.verify(v.tenant, kept); len(r.Faults) != 1 || r.Faults[0].Kind != audit.WrongEnd || r.Faults[0].Seq != 11 {
			h.t.Errorf("the older copy: %+v", r.Faults)
		}
	})
}
