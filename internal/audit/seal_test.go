package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/audit"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

var (
	home  = store.TenantID{}
	other = store.TenantID{15: 2}
)

// points are the checkpoints of a tenant: kind and row.
func (h *house) points(t store.TenantID) (list []string) {
	h.t.Helper()
	err := h.db.Read(h.t.Context(), t, func(tx *store.Tx) error {
		list = nil
		all, err := tx.Checkpoints(0, 1<<40, 1000)
		for _, c := range all {
			list = append(list, fmt.Sprint(c.Kind, " ", c.Seq))
		}
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return list
}

// tellings are what After was told in transactions that stand, in order.
func (h *house) tellings() (list []string) {
	h.t.Helper()
	rows, err := h.pool.Query(`SELECT kind FROM outbox ORDER BY created_at, id`)
	if err != nil {
		h.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var kind string
		if err := rows.Scan(&kind); err != nil {
			h.t.Fatal(err)
		}
		list = append(list, kind)
	}
	if rows.Err() != nil {
		h.t.Fatal(rows.Err())
	}
	return list
}

func TestSealNow_putsEveryTenantsEventsIntoTheirOrder(t *testing.T) {
	t.Parallel()
	onEngines(t, func(h *house) {
		h.happen(home, 3)
		h.happen(other, 2)
		h.seal()
		h.happen(home, 1)
		h.seal()
		h.seal()
		if n := h.queued(); n != 0 {
			h.t.Errorf("%d events wait still", n)
		}
		h.whole(home, 4)
		h.whole(other, 2)
		for tenant, n := range map[store.TenantID]int{home: 4, other: 2} {
			rows := h.trail(tenant)
			for i, r := range rows {
				if r.Seq != int64(i+1) || r.Event == nil || i > 0 && bytes.Compare(rows[i-1].ID[:], r.ID[:]) >= 0 {
					h.t.Errorf("row %d of %s is %+v", i+1, tenant, r)
				}
			}
			if len(rows) != n || bytes.Equal(rows[0].Hash, h.trail(home)[1].Hash) {
				h.t.Errorf("%s has %d rows, want %d", tenant, len(rows), n)
			}
		}
		if got := h.tellings(); !slices.Equal(got, []string{"3 from 1", "2 from 1", "1 from 4"}) {
			h.t.Errorf("others were told %v", got)
		}
	})
}

// A transaction may be older than one that was sealed before it committed.
func TestSealNow_takesWhatCommittedLate(t *testing.T) {
	t.Parallel()
	onEngines(t, func(h *house) {
		if h.engine == "sqlite" { // has one writer: nothing commits late
			return
		}
		begun, commit, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		var once sync.Once
		node := h.node()
		go func() {
			done <- node.Write(h.t.Context(), home, func(tx *store.Tx) error {
				err := tx.AddEvent(event(0))
				if err == nil {
					_, err = tx.CountUsers() // sends what was put off
				}
				once.Do(func() { close(begun) })
				<-commit
				return err
			})
		}()
		<-begun
		h.clock.Advance(time.Millisecond)
		h.happen(home, 2)
		h.seal()
		h.whole(home, 2)
		close(commit)
		if err := <-done; err != nil {
			h.t.Fatal(err)
		}
		h.seal()
		h.whole(home, 3)
		rows := h.trail(home)
		if bytes.Compare(rows[2].ID[:], rows[0].ID[:]) >= 0 || rows[2].Seq != 3 {
			h.t.Errorf("the late one is %+v, the first was %+v: it proves nothing", rows[2], rows[0])
		}
	})
}

func TestSealNow_signsAThousandRowsAndAMinute(t *testing.T) {
	t.Parallel()
	onEngines(t, func(h *house) {
		many := func(n int) {
			h.t.Helper()
			err := h.db.Write(h.t.Context(), home, func(tx *store.Tx) error {
				var errs []error
				for i := range n {
					errs = append(errs, tx.AddEvent(event(i)))
				}
				return errors.Join(errs...)
			})
			if err != nil {
				h.t.Fatal(err)
			}
			h.seal()
		}
		want := func(list ...string) {
			h.t.Helper()
			if got := h.points(home); !slices.Equal(got, list) {
				h.t.Errorf("signed are %v, want %v", got, list)
			}
		}
		many(999)
		want("begin 0")
		many(1)
		want("begin 0", "checkpoint 1000")
		many(5000)
		want("begin 0", "checkpoint 1000", "checkpoint 2000", "checkpoint 3000", "checkpoint 4000", "checkpoint 5000", "checkpoint 6000")
		many(1)
		h.clock.Advance(time.Minute - time.Microsecond)
		h.seal()
		want("begin 0", "checkpoint 1000", "checkpoint 2000", "checkpoint 3000", "checkpoint 4000", "checkpoint 5000", "checkpoint 6000")
		h.clock.Advance(lookAgain)
		h.seal() // nothing happens any more, and what did is signed
		h.clock.Advance(10 * time.Minute)
		h.seal()
		want("begin 0", "checkpoint 1000", "checkpoint 2000", "checkpoint 3000", "checkpoint 4000", "checkpoint 5000", "checkpoint 6000", "checkpoint 6001")
		h.whole(home, 6001)
	})
}

// lookAgain is more than a sealer waits before it looks for what is unsigned.
const lookAgain = 11 * time.Second

// Each death leaves what it did whole or not at all: the next node goes on.
func TestSealNow_killedAnywhereLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	onEngines(t, func(h *house) {
		for round := range 12 {
			h.happen(home, 3)
			h.happen(other, 1)
			ctx, kill := context.WithCancel(h.t.Context())
			died := false
			fresh := audit.NewSealer(audit.Options{
				DB: h.node(),
				Root: func(context.Context, store.TenantID) (*secret.Root, error) {
					if round%4 == 0 { // before it begins
						died = true
						kill()
					}
					return h.root, nil
				},
				After: func(tx *store.Tx, list []store.TrailEvent) error {
					if round%4 == 1 || round%4 == 3 { // before it commits, or as it does
						died = true
						kill()
					}
					if round%4 == 1 {
						return errKilled
					}
					if round%4 == 2 && tx.Tenant == other { // between two tenants
						died = true
						kill()
						return errKilled
					}
					return tx.AddDelivery(store.Delivery{ID: store.NewDeliveryID(), Kind: fmt.Sprint(len(list), " from ", list[0].Seq)})
				},
			})
			err := fresh.SealNow(ctx)
			kill()
			if err == nil || !died {
				h.t.Errorf("round %d: it died: %v, and answered %v", round, died, err)
			}
			h.clock.Advance(time.Hour) // its lease ends
			h.whole(home, int64(len(h.trail(home))))
			h.seal()
			h.whole(home, int64(3*(round+1)))
			h.whole(other, int64(round+1))
			h.clock.Advance(time.Hour)
		}
		told := 0
		for _, line := range h.tellings() {
			var n, from int
			_, err := fmt.Sscanf(line, "%d from %d", &n, &from)
			if err != nil {
				h.t.Fatal(err)
			}
			told += n
		}
		if told != 12*4 {
			h.t.Errorf("others were told of %d events, want each once: %d", told, 12*4)
		}
	})
}

// Two nodes may both think that the work is theirs.
func TestSealNow_ofTwoNodesOneAppends(t *testing.T) {
	t.Parallel()
	onEngines(t, func(h *house) {
		const rounds, each = 6, 4
		nodes := []*audit.Sealer{h.sealer, h.newSealer(h.node()), h.newSealer(h.node())}
		var writers sync.WaitGroup
		var failed atomic.Pointer[error]
		note := func(err error) {
			if err != nil {
				failed.Store(&err)
			}
		}
		for range rounds {
			for range each {
				writers.Go(func() {
					note(h.db.Write(h.t.Context(), home, func(tx *store.Tx) error { return tx.AddEvent(event(1)) }))
				})
			}
			for _, n := range nodes {
				writers.Go(func() { note(n.SealNow(h.t.Context())) })
			}
			writers.Wait()
			h.clock.Advance(time.Minute) // whoever had the lease has it no more
		}
		if err := failed.Load(); err != nil {
			h.t.Fatal(*err)
		}
		h.seal()
		h.whole(home, rounds*each)
		if n := h.queued(); n != 0 {
			h.t.Errorf("%d events wait still", n)
		}

		// While one has the lease the other does nothing.
		h.happen(home, 1)
		h.seal()
		h.happen(home, 1)
		err := nodes[1].SealNow(h.t.Context())
		if err != nil || h.queued() != 1 {
			h.t.Errorf("beside the one at work the other answered %v, and %d events wait", err, h.queued())
		}
		err = errors.Join(nodes[2].Release(h.t.Context()), nodes[1].SealNow(h.t.Context())) // it was not hers to leave
		if err != nil || h.queued() != 1 {
			h.t.Errorf("after somebody else has left it the other answered %v, and %d events wait", err, h.queued())
		}
		err = errors.Join(h.sealer.Release(h.t.Context()), nodes[1].SealNow(h.t.Context()))
		if err != nil || h.queued() != 0 {
			h.t.Errorf("after it has left the work the other answered %v, and %d events wait", err, h.queued())
		}
	})
}

func TestRun_sealsWhenWoken(t *testing.T) {
	t.Parallel()
	onEngines(t, func(h *house) {
		ctx, stop := context.WithCancel(h.t.Context())
		sealed := make(chan int, 100)
		s := audit.NewSealer(audit.Options{DB: h.db, Root: h.rootOf, After: func(_ *store.Tx, list []store.TrailEvent) error {
			sealed <- len(list)
			return nil
		}})
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		for range 3 {
			h.happen(home, 1)
			s.Wake()
			s.Wake()
			if n := <-sealed; n != 1 {
				h.t.Errorf("%d events at once", n)
			}
		}
		stop()
		if err := <-ended; err != nil {
			h.t.Error(err)
		}
		h.whole(home, 3)
	})
}

// Whoever is woken finds what they were woken for.
func TestSealNow_wakesOnceItIsCommitted(t *testing.T) {
	t.Parallel()
	onEngines(t, func(h *house) {
		told, fails := 0, true
		s := audit.NewSealer(audit.Options{
			DB: h.db, Root: h.rootOf,
			After: func(*store.Tx, []store.TrailEvent) error {
				if fails {
					return errKilled
				}
				return nil
			},
			Told: func() {
				told++
				if n := len(h.trail(home)); n != 2 {
					h.t.Errorf("it wakes when %d rows are committed, want 2", n)
				}
			},
		})
		h.happen(home, 2)
		err := s.SealNow(h.t.Context())
		if err == nil || told != 0 {
			h.t.Errorf("what failed ended with %v, and woke %d times", err, told)
		}
		fails = false
		for range 2 { // the second finds nothing
			err = s.SealNow(h.t.Context())
			if err != nil || told != 1 {
				h.t.Errorf("%v, and it woke %d times, want once", err, told)
			}
		}
	})
}

// A tenant whose key is missing, or whose end was moved, is not built upon, and
// does not keep the others waiting.
func TestSealNow_aBrokenTrailIsNotBuiltUpon(t *testing.T) {
	t.Parallel()
	onEngines(t, func(h *house) {
		h.happen(home, 2)
		h.happen(other, 2)
		h.seal()
		h.do(home, `UPDATE audit_heads SET seq = 1 WHERE tenant_id = {T}`)
		h.happen(home, 1)
		h.happen(other, 1)
		err := h.sealer.SealNow(h.t.Context())
		if !errors.Is(err, audit.ErrBroken) {
			h.t.Errorf("sealing behind an end that was moved: %v", err)
		}
		h.whole(other, 3)
		if n := len(h.trail(home)); n != 2 || h.queued() != 1 {
			h.t.Errorf("%d rows and %d events wait, want 2 and 1", n, h.queued())
		}
		h.do(home, `DELETE FROM audit_heads WHERE tenant_id = {T}`)
		err = h.sealer.SealNow(h.t.Context())
		if !errors.Is(err, audit.ErrBroken) {
			h.t.Errorf("sealing behind rows without an end: %v", err)
		}
	})
}

// Whoever removes an event before it is sealed leaves its place.
func TestSealNow_anEventThatIsGoneAlreadyHasAPlace(t *testing.T) {
	t.Parallel()
	onEngines(t, func(h *house) {
		h.happen(home, 3)
		h.do(home, `DELETE FROM events WHERE tenant_id = {T} AND request_id = 'request 1'`)
		h.seal()
		r := h.verify(home, nil)
		if r.Rows != 3 || len(r.Faults) != 1 || r.Faults[0].Kind != audit.MissingEvent || r.Faults[0].Seq != 2 {
			h.t.Errorf("%d rows and %+v, want the event of row 2 missing", r.Rows, r.Faults)
		}
		if got := h.tellings(); !slices.Equal(got, []string{"2 from 1"}) {
			h.t.Errorf("others were told %v", got)
		}
	})
}

// Events from before there was a trail are not in it, and no fault.
func TestVerify_knowsWhereTheTrailBegins(t *testing.T) {
	t.Parallel()
	onEngines(t, func(h *house) {
		if r := h.verify(home, nil); r.Err() != nil || !r.Began.IsZero() {
			h.t.Errorf("before the first event: %+v", r)
		}
		h.happen(home, 5)
		h.do(home, `DELETE FROM audit_queue WHERE tenant_id = {T}`) // by a program that knew of none
		if r := h.verify(home, nil); r.Err() != nil || !r.Began.IsZero() {
			h.t.Errorf("before the first row: %+v", r)
		}
		h.happen(home, 1)
		h.seal()
		h.clock.Advance(time.Second)
		h.happen(home, 2)
		h.seal()
		h.whole(home, 3)
	})
}
