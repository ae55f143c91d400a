package audit_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"gatehouse/internal/audit"
	"gatehouse/internal/store"
)

// events is how many a tenant has, in the trail or not.
func (h *house) events(t store.TenantID) (n int) {
	h.t.Helper()
	err := h.pool.QueryRow(`SELECT COUNT(*) FROM events WHERE tenant_id = ` + h.bytes(t[:])).Scan(&n)
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

func (h *house) sweeps(t store.TenantID, before time.Time, want, left int) {
	h.t.Helper()
	n, err := h.sweep(t, 3, before)
	if err != nil || n != want || h.events(t) != left {
		h.t.Errorf("the sweep of what is before %v took %d and left %d, %v; want %d and %d", before, n, h.events(t), err, want, left)
	}
}

func TestSweep_takesTheTrailAlongAndSaysSo(t *testing.T) {
	t.Parallel()
	onEngines(t, func(h *house) {
		h.happen(home, 4)
		h.happen(other, 4)
		h.do(home, `DELETE FROM audit_queue WHERE tenant_id = {T}`) // from before there was a trail
		h.clock.Advance(time.Second)
		begins := h.clock.Now()
		h.happen(home, 10)
		h.clock.Advance(time.Second)
		edge := h.clock.Now()
		h.happen(home, 5)
		h.clock.Advance(time.Second)

		h.sweeps(home, edge, 4, 15) // nothing that waits
		h.seal()
		h.happen(home, 1)
		h.sweeps(home, begins, 0, 16)
		h.sweeps(home, begins.Add(time.Microsecond), 10, 6)
		h.sweeps(home, edge, 0, 6)
		h.whole(home, 5)
		r := h.verify(home, nil)
		if r.Pruned != 10 || r.Last != 15 {
			h.t.Errorf("it says that it was swept up to row %d and ends with %d, want 10 and 15", r.Pruned, r.Last)
		}
		if got := h.points(home); !slices.Equal(got, []string{"begin 0", "pruned 10"}) {
			h.t.Errorf("signed are %v", got)
		}
		h.seal()
		h.whole(home, 6)
		h.sweeps(home, h.clock.Now().Add(time.Hour), 6, 0) // all of it
		if got := h.points(home); !slices.Equal(got, []string{"begin 0", "pruned 16"}) {
			h.t.Errorf("signed are %v", got)
		}
		h.whole(home, 0)
		h.happen(home, 2)
		h.seal()
		h.whole(home, 2)
		if n := h.events(other); n != 4 {
			h.t.Errorf("the other tenant has %d events, want 4", n)
		}
		h.do(home, `DELETE FROM audit_checkpoints WHERE tenant_id = {T} AND kind = 'pruned'`)
		if r := h.verify(home, nil); len(r.Faults) == 0 || r.Faults[0].Kind != audit.MissingStart {
			h.t.Errorf("without the record: %+v", r.Faults)
		}
	})
}

func TestSweep_aHouseWithoutATrailSweepsItsEvents(t *testing.T) {
	t.Parallel()
	onEngines(t, func(h *house) {
		h.happen(home, 7)
		h.do(home, `DELETE FROM audit_queue WHERE tenant_id = {T}`)
		h.happen(home, 1)
		h.sweeps(home, h.clock.Now().Add(time.Hour), 7, 1)
		for _, before := range []time.Time{time.UnixMicro(0), h.clock.Now().AddDate(-290, 0, 0), {}} {
			h.sweeps(home, before, 0, 1)
			h.seal()
		}
	})
}

// A record of what was swept must not make good what somebody else removed.
func TestSweep_doesNotSignWhatWasTamperedWith(t *testing.T) {
	t.Parallel()
	onEngines(t, func(h *house) {
		for i, tamper := range []func(v *victim){
			func(v *victim) { v.drop(1, 2) },
			func(v *victim) { v.drop(4, 4) },
			func(v *victim) {
				v.sql(`UPDATE audit_trail SET digest = hash WHERE tenant_id = {T} AND seq = 3`)
			},
			func(v *victim) {
				v.drop(1, 10)
				v.sql(`UPDATE audit_checkpoints SET kind = 'pruned' WHERE tenant_id = {T} AND seq = 10`)
			},
			func(v *victim) { v.sql(`DELETE FROM audit_checkpoints WHERE tenant_id = {T} AND kind = 'begin'`) },
		} {
			v := h.grown(byte(i + 1))
			tamper(v)
			before := h.events(v.tenant)
			_, err := h.sweep(v.tenant, 100, h.clock.Now())
			if !errors.Is(err, audit.ErrBroken) || h.events(v.tenant) != before {
				h.t.Errorf("case %d: %v, and %d events of %d are left; want it refused", i, err, h.events(v.tenant), before)
			}
		}
	})
}

// The sweep and the sealer meet, and whoever verifies sees a whole trail all
// the while.
func TestVerify_whileTheHouseWorks(t *testing.T) {
	t.Parallel()
	onEngines(t, func(h *house) {
		h.happen(home, 5)
		h.seal()
		stop, ended := make(chan struct{}), make(chan error, 1)
		node := h.node()
		go func() {
			for {
				select {
				case <-stop:
					ended <- nil
					return
				default:
				}
				r, err := audit.Verify(h.t.Context(), node, h.key(home), nil)
				if err == nil {
					err = r.Err()
				}
				if err != nil {
					ended <- err
					return
				}
			}
		}()
		for range 20 {
			h.happen(home, 5)
			h.seal()
			h.clock.Advance(time.Minute)
			_, err := h.sweep(home, 4, h.clock.Now().Add(-30*time.Second))
			if err != nil {
				h.t.Error(err)
			}
		}
		close(stop)
		if err := <-ended; err != nil {
			h.t.Error(err)
		}
	})
}
