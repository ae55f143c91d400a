package audit_test

import (
	"bytes"
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/audit"
	"gatehouse/internal/store"
)

func (h *house) export(t store.TenantID, since time.Time) string {
	h.t.Helper()
	var b bytes.Buffer
	err := audit.Export(h.t.Context(), h.db, h.key(t), &b, since)
	if err != nil {
		h.t.Fatal(err)
	}
	return b.String()
}

// outside reads an export as somebody without the house does.
func (h *house) outside(text string, public ed25519.PublicKey) []*audit.Report {
	h.t.Helper()
	r, err := audit.VerifyExport(strings.NewReader(text), public)
	if err != nil {
		h.t.Fatalf("%v: %s", err, text)
	}
	return r
}

func TestExport_isVerifiedWithoutTheHouse(t *testing.T) {
	t.Parallel()
	onEngines(t, func(h *house) {
		v := h.grown(1)
		h.happen(home, 2)
		h.seal()
		public := h.key(v.tenant).Public()
		text := h.export(v.tenant, time.Time{})
		r := h.outside(text, public)
		if len(r) != 1 || r[0].Err() != nil || r[0].Rows != 30 || r[0].Checkpoints != 3 || r[0].Tenant != v.tenant || r[0].KeyID != h.key(v.tenant).ID {
			h.t.Errorf("%+v", r[0])
		}
		if r := h.outside(text+h.export(home, time.Time{}), nil); len(r) != 2 || r[0].Err() != nil || r[1].Err() != nil || r[1].Rows != 2 {
			h.t.Errorf("two trails, by the keys they name: %+v", r)
		}
		if r := h.outside(text, h.key(home).Public()); r[0].Err() == nil {
			h.t.Error("it is signed by another key than was asked for, and no fault")
		}
		lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
		for what, change := range map[string]func() string{
			"a word changed":        func() string { return strings.Replace(text, `"actor":"cli"`, `"actor":"eve"`, 1) },
			"a line removed":        func() string { return strings.Join(append(lines[:7:7], lines[8:]...), "") },
			"two lines swapped":     func() string { return strings.Join(append(append(lines[:7:7], lines[8], lines[7]), lines[9:]...), "") },
			"the last line missing": func() string { return strings.Join(lines[:len(lines)-1], "") },
			"the start missing":     func() string { return lines[0] + strings.Join(lines[4:], "") },
			"another tenant's name": func() string { return strings.ReplaceAll(text, v.tenant.String(), other.String()) },
		} {
			r := h.outside(change(), public)
			if r[0].Err() == nil {
				h.t.Errorf("%s: no fault", what)
			}
		}
		for what, text := range map[string]string{
			"nothing": "", "another file": "{}\n", "no trail before the rows": strings.Join(lines[1:], ""), "half a line": text[:len(text)-20],
			"a field nobody hashed": strings.Replace(text, `"kind":"event"`, `"kind":"event","note":"x"`, 1), "another format": strings.Replace(text, "audit 1", "audit 2", 1),
		} {
			if _, err := audit.VerifyExport(strings.NewReader(text), public); err == nil {
				h.t.Errorf("%s is read as an export", what)
			}
		}

		// What was kept elsewhere.
		kept, err := audit.ReadCheckpoint(strings.NewReader(text), v.tenant)
		if err != nil || kept == nil || kept.Seq != 30 {
			h.t.Fatalf("its newest checkpoint: %+v, %v", kept, err)
		}
		if r := h.verify(v.tenant, kept); r.Err() != nil {
			h.t.Error(r.Err())
		}
		if none, err := audit.ReadCheckpoint(strings.NewReader(text), home); none != nil || err != nil {
			h.t.Errorf("a checkpoint of another tenant: %+v, %v", none, err)
		}
		if _, err := h.sweep(v.tenant, 100, h.clock.Now()); err != nil {
			h.t.Fatal(err)
		}
		h.happen(v.tenant, 1)
		h.seal()
		if r := h.verify(v.tenant, kept); r.Err() != nil {
			h.t.Errorf("after a sweep up to the row itself: %v", r.Err())
		}
	})
}

func TestExport_sinceAndAfterASweep(t *testing.T) {
	t.Parallel()
	onEngines(t, func(h *house) {
		if text := h.export(home, time.Time{}); strings.Count(text, "\n") != 1 {
			h.t.Errorf("of no trail: %s", text)
		}
		h.happen(home, 5)
		h.seal()
		h.clock.Advance(time.Hour)
		edge := h.clock.Now()
		h.happen(home, 3)
		h.seal()
		for _, c := range []struct {
			since time.Time
			rows  int64
		}{{time.Time{}, 8}, {edge, 3}, {edge.Add(-2 * time.Hour), 8}, {edge.Add(2 * time.Hour), 0}} {
			r := h.outside(h.export(home, c.since), nil)
			if r[0].Err() != nil || r[0].Rows != c.rows || r[0].Last != 8 {
				h.t.Errorf("since %v: %d rows up to %d, %v; want %d", c.since, r[0].Rows, r[0].Last, r[0].Err(), c.rows)
			}
		}
		if _, err := h.sweep(home, 100, edge); err != nil {
			h.t.Fatal(err)
		}
		if r := h.outside(h.export(home, time.Time{}), nil); r[0].Err() != nil || r[0].Rows != 3 {
			h.t.Errorf("after a sweep: %+v", r[0])
		}
	})
}

// What does not follow gets no signature of today's.
func TestExport_signsNothingThatWasTamperedWith(t *testing.T) {
	t.Parallel()
	onEngines(t, func(h *house) {
		for i, tamper := range []func(v *victim){
			func(v *victim) { v.sql(`UPDATE events SET actor = 'eve' WHERE tenant_id = {T} AND id = ` + v.id(5)) },
			func(v *victim) { v.drop(5, 5) },
			func(v *victim) { v.drop(30, 30) },
			func(v *victim) { v.rewrite(25) },
			func(v *victim) { v.sql(`UPDATE audit_heads SET seq = 20 WHERE tenant_id = {T}`) },
		} {
			v := h.grown(byte(i + 1))
			tamper(v)
			var b bytes.Buffer
			err := audit.Export(h.t.Context(), h.db, h.key(v.tenant), &b, time.Time{})
			if err == nil || strings.Contains(b.String(), `"kind":"checkpoint","tenant":"`+v.tenant.String()+`","seq":30`) {
				h.t.Errorf("case %d: %v, and %s", i, err, b.String())
			}
		}
	})
}
