package tenants_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/internal/authtest"
	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
	"gatehouse/internal/tenants"
)

// works is a tenant at work in these tests: its row as it was then.
type works struct {
	row store.Tenant
	key tenants.Key
}

// town is a directory and what it was asked to make.
type town struct {
	*tenants.Directory[*works]
	db    *store.DB
	clock *storetest.Clock
	made  atomic.Int64
	fail  atomic.Pointer[error] // what Make answers
	gate  chan struct{}         // if not nil, Make waits for it
}

func newTown(t *testing.T, most int) *town {
	t.Helper()
	db, clock := storetest.New(t)
	return over(db, clock, most)
}

func over(db *store.DB, clock *storetest.Clock, most int) *town {
	w := &town{db: db, clock: clock}
	w.Directory = tenants.New(tenants.Options[*works]{DB: db, Most: most, Make: w.make})
	return w
}

func (w *town) make(_ context.Context, row store.Tenant, k tenants.Key) (*works, error) {
	w.made.Add(1)
	if w.gate != nil {
		<-w.gate
	}
	if err := w.fail.Load(); err != nil && *err != nil {
		return nil, *err
	}
	return &works{row, k}, nil
}

func (w *town) failing(err error) { w.fail.Store(&err) }

// write changes tenants, a moment later.
func (w *town) write(t *testing.T, fn func(*store.Tx) error) {
	t.Helper()
	w.clock.Advance(time.Millisecond)
	err := w.db.Write(t.Context(), store.TenantID{}, fn)
	if err != nil {
		t.Fatal(err)
	}
}

func (w *town) add(t *testing.T, name string, hosts ...string) store.TenantID {
	t.Helper()
	id := store.NewTenantID()
	w.write(t, func(tx *store.Tx) error { return tx.AddTenant(store.Tenant{ID: id, Name: name, Hosts: hosts}) })
	return id
}

// rename changes a tenant's row.
func (w *town) rename(t *testing.T, id store.TenantID, name string) {
	t.Helper()
	w.write(t, func(tx *store.Tx) error {
		row, err := tx.TenantByID(id)
		if err != nil {
			return err
		}
		row.Name = name
		return tx.SetTenant(row)
	})
}

func (w *town) look(t *testing.T) {
	t.Helper()
	err := w.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
}

// get is Get that must answer with a tenant called so.
func (w *town) get(t *testing.T, id store.TenantID, name string) *works {
	t.Helper()
	s, err := w.Get(t.Context(), tenants.Key{ID: id})
	if err != nil {
		t.Fatal(err)
	}
	if s.row.ID != id || s.row.Name != name {
		t.Fatalf("got the tenant %s %q, want %s %q", s.row.ID, s.row.Name, id, name)
	}
	return s
}

func (w *town) unknown(t *testing.T, id store.TenantID) {
	t.Helper()
	s, err := w.Get(t.Context(), tenants.Key{ID: id})
	if !errors.Is(err, tenants.ErrUnknown) || s != nil {
		t.Errorf("got %+v, %v; want it to be unknown", s, err)
	}
}

// making fails the test unless do had n tenants made.
func (w *town) making(t *testing.T, what string, n int64, do func()) {
	t.Helper()
	before := w.made.Load()
	do()
	if got := w.made.Load() - before; got != n {
		t.Errorf("%s: %d tenants were made, want %d", what, got, n)
	}
}

func TestGet_ofManyAtOnceMakesATenantOnce(t *testing.T) {
	t.Parallel()
	w := newTown(t, 10)
	w.gate = make(chan struct{})
	id := w.add(t, "shop")
	got := make([]*works, 50)
	var all sync.WaitGroup
	for i := range got {
		all.Go(func() {
			var err error
			got[i], err = w.Get(t.Context(), tenants.Key{ID: id})
			if err != nil {
				t.Error(err)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Get(ctx, tenants.Key{ID: id}); !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up waiting is told %v", err)
	}
	close(w.gate)
	all.Wait()
	for i := range got {
		if got[i] == nil || got[i] != got[0] {
			t.Errorf("caller %d got %p, caller 0 got %p", i, got[i], got[0])
		}
	}
	if n := w.made.Load(); n != 1 {
		t.Errorf("it was made %d times", n)
	}
}

// The first who asks may well go away: the tenant is made for the others.
func TestGet_goesOnForOthersWhenTheFirstGivesUp(t *testing.T) {
	t.Parallel()
	w := newTown(t, 10)
	w.gate = make(chan struct{})
	id := w.add(t, "shop")
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error)
	go func() {
		_, err := w.Get(ctx, tenants.Key{ID: id})
		first <- err
	}()
	for w.made.Load() == 0 {
		runtime.Gosched()
	}
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the first is told %v", err)
	}
	close(w.gate)
	w.making(t, "the next", 0, func() { w.get(t, id, "shop") })
}

func TestGet_neverAnswersForOneTenantWithAnother(t *testing.T) {
	t.Parallel()
	w := newTown(t, 3) // so that they push each other out all the time
	names := map[store.TenantID]string{}
	for i := range 8 {
		name := fmt.Sprintf("shop-%d", i)
		names[w.add(t, name)] = name
	}
	var all sync.WaitGroup
	for id, name := range names {
		for _, variant := range []string{"", "a", "b"} {
			all.Go(func() {
				for range 30 {
					s, err := w.Get(t.Context(), tenants.Key{ID: id, Variant: variant})
					if err != nil || s.row.ID != id || s.row.Name != name || s.key.Variant != variant {
						t.Errorf("asked for %s %q: %+v, %v", name, variant, s, err)
					}
				}
			})
		}
	}
	all.Wait()
}

func TestGet_forgetsTheOneAskedForLeastRecentlyAndNeverTheDefault(t *testing.T) {
	t.Parallel()
	w := newTown(t, 3)
	w.get(t, store.TenantID{}, "default")
	a, b, c := w.add(t, "a"), w.add(t, "b"), w.add(t, "c")
	w.get(t, a, "a")
	w.get(t, b, "b")
	w.get(t, a, "a")
	w.making(t, "a third beside the default", 1, func() { w.get(t, c, "c") })
	w.making(t, "the default and those asked for last", 0, func() {
		w.get(t, store.TenantID{}, "default")
		w.get(t, a, "a")
		w.get(t, c, "c")
	})
	w.making(t, "the one asked for least recently", 1, func() { w.get(t, b, "b") })
	for i := range 20 {
		id := w.add(t, fmt.Sprintf("more-%d", i))
		w.get(t, id, fmt.Sprintf("more-%d", i))
	}
	w.making(t, "the default", 0, func() { w.get(t, store.TenantID{}, "default") })
	n := 0
	w.Living(func(k tenants.Key, s *works) {
		n++
		if k.ID != s.row.ID {
			t.Errorf("%s works under the key of %s", s.row.ID, k.ID)
		}
	})
	if n != 3 {
		t.Errorf("%d tenants are at work, want at most 3", n)
	}
}

func TestLook_seesEachChangeOnce(t *testing.T) {
	t.Parallel()
	w := newTown(t, 10)
	id, other := w.add(t, "shop"), w.add(t, "other-shop")
	w.look(t)
	w.get(t, id, "shop")
	w.get(t, other, "other-shop")
	node := over(storetest.Again(t, w.db), w.clock, 10)
	node.rename(t, id, "store")
	w.making(t, "before a look", 0, func() { w.get(t, id, "shop") })
	w.look(t)
	w.making(t, "after it", 1, func() { w.get(t, id, "store"); w.get(t, id, "store") })
	for range 3 { // the change is still within what is looked at for late commits
		w.clock.Advance(time.Second)
		w.look(t)
	}
	w.making(t, "after more looks", 0, func() { w.get(t, id, "store") })
	w.making(t, "another tenant", 0, func() { w.get(t, other, "other-shop") })
	w.clock.Advance(time.Minute)
	w.look(t)
	node.rename(t, id, "shop")
	w.look(t)
	w.making(t, "the next change", 1, func() { w.get(t, id, "shop") })
}

// The commit of another node may come late, and its clock may be behind.
func TestLook_seesAChangeFromALittleInThePast(t *testing.T) {
	t.Parallel()
	w := newTown(t, 10)
	id := w.add(t, "shop")
	w.clock.Advance(time.Hour)
	w.look(t)
	w.get(t, id, "shop")
	w.clock.Advance(-20 * time.Second)
	w.rename(t, id, "store")
	w.clock.Advance(20 * time.Second)
	w.look(t)
	w.get(t, id, "store")
}

func TestLook_aDeletedTenantIsUnknown(t *testing.T) {
	t.Parallel()
	w := newTown(t, 10)
	id := w.add(t, "shop", "shop.example")
	w.look(t)
	w.get(t, id, "shop")
	if got, err := w.ByName(t.Context(), "shop"); got != id || err != nil {
		t.Fatalf("by name: %s, %v", got, err)
	}
	if got, err := w.ByHost(t.Context(), "shop.example"); got != id || err != nil {
		t.Fatalf("by host: %s, %v", got, err)
	}
	w.write(t, func(tx *store.Tx) error { return tx.RetireTenant(id) })
	w.look(t)
	w.unknown(t, id)
	for _, find := range []func(context.Context, string) (store.TenantID, error){w.ByName, w.ByHost} {
		for _, asked := range []string{"shop", "shop.example", "deleted " + id.String()} {
			if got, err := find(t.Context(), asked); !errors.Is(err, tenants.ErrUnknown) || !got.IsZero() {
				t.Errorf("%q is still %s, %v", asked, got, err)
			}
		}
	}
	w.unknown(t, store.NewTenantID())
	w.making(t, "those who are unknown", 0, func() { w.unknown(t, id) })
}

// A name that is free again may be another tenant's a moment later.
func TestFind_aNameGoesOverToAnotherTenant(t *testing.T) {
	t.Parallel()
	w := newTown(t, 10)
	first := w.add(t, "shop", "shop.example")
	w.look(t)
	find := func() (byName, byHost store.TenantID) {
		t.Helper()
		byName, errName := w.ByName(t.Context(), "shop")
		byHost, errHost := w.ByHost(t.Context(), "shop.example")
		if err := errors.Join(errName, errHost); err != nil {
			t.Fatal(err)
		}
		return byName, byHost
	}
	if name, host := find(); name != first || host != first {
		t.Fatalf("found %s and %s", name, host)
	}
	w.write(t, func(tx *store.Tx) error { return tx.RetireTenant(first) })
	second := w.add(t, "shop", "shop.example")
	w.look(t)
	if name, host := find(); name != second || host != second {
		t.Errorf("found %s and %s, want the new tenant %s", name, host, second)
	}
	w.write(t, func(tx *store.Tx) error { return tx.RetireTenant(second) })
	third := w.add(t, "shop", "shop.example")
	w.Forget(third) // this node did it
	if name, host := find(); name != third || host != third {
		t.Errorf("found %s and %s, want the newest tenant %s", name, host, third)
	}
}

func TestFind_namesAreAskedForOnce(t *testing.T) {
	t.Parallel()
	db, outage := frail(t)
	w := over(db, outage.clock, 10)
	id := w.add(t, "shop", "shop.example")
	w.look(t)
	for round := range 2 {
		if got, err := w.ByHost(t.Context(), "shop.example"); got != id || err != nil {
			t.Fatalf("by host: %s, %v", got, err)
		}
		if got, err := w.ByHost(t.Context(), "nobody.example"); !errors.Is(err, tenants.ErrUnknown) {
			t.Fatalf("nobody: %s, %v", got, err)
		}
		if round == 0 {
			outage.cut(t) // what was asked before is known
		}
	}
	if _, err := w.ByName(t.Context(), "shop"); err == nil || errors.Is(err, tenants.ErrUnknown) {
		t.Errorf("a name that could not be asked for: %v, want the failure", err)
	}
	outage.mend(t)
	if got, err := w.ByName(t.Context(), "shop"); got != id || err != nil {
		t.Errorf("by name: %s, %v", got, err)
	}
}

// Whoever asks for rubbish fills the memory with it otherwise.
func TestFind_namesNobodyCanHaveAreNotKept(t *testing.T) {
	t.Parallel()
	w := newTown(t, 10)
	w.add(t, "shop", "shop.example")
	w.look(t)
	for _, name := range []string{"", strings.Repeat("a", 64), strings.Repeat("a", 60_000), "Shop", "shop\x00", "sh op", "deleted 1", "-shop", "shöp"} {
		if _, err := w.ByName(t.Context(), name); !errors.Is(err, tenants.ErrUnknown) {
			t.Errorf("the name %.20q: %v", name, err)
		}
	}
	for _, host := range []string{"", strings.Repeat("a", 254), "shop\x00.example", "shop example", "[::1]"} {
		if _, err := w.ByHost(t.Context(), host); !errors.Is(err, tenants.ErrUnknown) {
			t.Errorf("the host %.20q: %v", host, err)
		}
	}
	if n := w.Found(); n != 0 {
		t.Errorf("%d of them are kept", n)
	}
}

func TestByHost_asksNobodyWhileThereIsOneTenant(t *testing.T) {
	t.Parallel()
	db, outage := frail(t)
	w := over(db, outage.clock, 10)
	w.write(t, func(tx *store.Tx) error { return tx.RetireTenant(storetest.Other()) })
	w.clock.Advance(2 * time.Hour)
	for gone := 1; gone > 0; {
		err := db.Write(t.Context(), storetest.Other(), func(tx *store.Tx) (err error) {
			gone, err = tx.SweepTenant(100)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	w.look(t)
	outage.cut(t)
	if _, err := w.ByHost(t.Context(), "shop.example"); !errors.Is(err, tenants.ErrUnknown) {
		t.Errorf("with one tenant: %v", err)
	}
	outage.mend(t)
	for w.Look(t.Context()) != nil { // until the connections that were cut are known to be
		t.Log("not back yet")
	}
	id := w.add(t, "shop", "shop.example") // on another node
	w.look(t)
	if got, err := w.ByHost(t.Context(), "shop.example"); got != id || err != nil {
		t.Errorf("with two: %s, %v", got, err)
	}
}

var errBroken = errors.New("its settings are broken")

func TestGet_aTenantThatCannotWorkIsTriedAgainAfterASecond(t *testing.T) {
	t.Parallel()
	w := newTown(t, 10)
	id := w.add(t, "shop")
	w.failing(errBroken)
	ask := func() {
		t.Helper()
		if s, err := w.Get(t.Context(), tenants.Key{ID: id}); !errors.Is(err, errBroken) || s != nil {
			t.Errorf("got %v, %v", s, err)
		}
	}
	w.making(t, "at first", 1, func() { ask(); ask(); ask() })
	w.clock.Advance(999 * time.Millisecond)
	w.making(t, "within a second", 0, ask)
	w.clock.Advance(time.Millisecond)
	w.making(t, "after a second", 1, func() { ask(); ask() })
	w.failing(nil)
	w.making(t, "mended, too soon", 0, ask)
	w.clock.Advance(time.Second)
	w.making(t, "mended", 1, func() { w.get(t, id, "shop"); w.get(t, id, "shop") })
}

// A change that breaks a tenant must not leave the old one serving: it may be
// the change that shuts somebody out.
func TestGet_isNotServedAsItWasWhenAChangeBreaksIt(t *testing.T) {
	t.Parallel()
	w := newTown(t, 10)
	id := w.add(t, "shop")
	w.look(t)
	w.get(t, id, "shop")
	w.failing(errBroken)
	w.rename(t, id, "store")
	w.look(t)
	if _, err := w.Get(t.Context(), tenants.Key{ID: id}); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
}

func TestGet_servesAsItWasWhileTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	db, outage := frail(t)
	w := over(db, outage.clock, 10)
	id := w.add(t, "shop")
	w.look(t)
	w.get(t, id, "shop")
	w.rename(t, id, "store")
	w.look(t)
	outage.cut(t)
	for range 3 {
		w.get(t, id, "shop")
	}
	if _, err := w.Get(t.Context(), tenants.Key{ID: storetest.Other()}); err == nil || errors.Is(err, tenants.ErrUnknown) {
		t.Errorf("one that was not at work: %v, want the failure", err)
	}
	if err := w.Look(t.Context()); err == nil {
		t.Error("a look without the database did not fail")
	}
	w.clock.Advance(2 * time.Second)
	w.get(t, id, "shop")
	outage.mend(t)
	w.clock.Advance(2 * time.Second)
	w.get(t, id, "store")
	w.making(t, "the database is back", 0, func() { w.get(t, id, "store") })
}

// Settings read before a change must not be kept as if they were read after.
func TestForget_whatIsBeingMadeIsMadeAgain(t *testing.T) {
	t.Parallel()
	for name, forget := range map[string]func(*town, store.TenantID){
		"of one":       func(w *town, id store.TenantID) { w.Forget(id) },
		"of all":       func(w *town, _ store.TenantID) { w.Reset() },
		"by a look":    func(w *town, _ store.TenantID) { w.look(t) },
		"by two looks": func(w *town, _ store.TenantID) { w.look(t); w.look(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTown(t, 10)
			id := w.add(t, "shop")
			w.look(t)
			w.gate = make(chan struct{})
			slow := make(chan *works)
			go func() {
				s, _ := w.Get(t.Context(), tenants.Key{ID: id})
				slow <- s
			}()
			for w.made.Load() == 0 {
				runtime.Gosched()
			}
			w.rename(t, id, "store")
			forget(w, id)
			close(w.gate)
			if s := <-slow; s == nil || s.row.Name != "shop" {
				t.Errorf("who waited got %+v", s)
			}
			w.get(t, id, "store")
			w.making(t, "then", 0, func() { w.get(t, id, "store") })
		})
	}
}

func TestReset_makesAllAnew(t *testing.T) {
	t.Parallel()
	w := newTown(t, 10)
	id := w.add(t, "shop")
	w.get(t, id, "shop")
	w.get(t, store.TenantID{}, "default")
	w.Reset()
	w.making(t, "after a reset", 2, func() {
		w.get(t, id, "shop")
		w.get(t, store.TenantID{}, "default")
		w.get(t, id, "shop")
	})
}

func TestFind_memoryIsBounded(t *testing.T) {
	t.Parallel()
	w := newTown(t, 10)
	w.add(t, "shop")
	w.look(t)
	const most = 20_000
	ask := func(from, to int) {
		for i := from; i < to; i++ {
			_, err := w.ByHost(t.Context(), fmt.Sprintf("host-%d.example", i))
			if !errors.Is(err, tenants.ErrUnknown) {
				t.Fatal(err)
			}
		}
	}
	if storetest.Engine() != "sqlite" {
		t.Skip("the names are in memory on every engine")
	}
	ask(0, most+50)
	if n := w.Found(); n != most {
		t.Errorf("%d names are kept, want %d", n, most)
	}
}

// Another node's change is in force here within two seconds.
func TestWatch_seesChangesBySecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := storetest.Open(t, time.Now) //nolint:forbidigo // the clock of the bubble
		var lost atomic.Int64
		w := &town{db: db, clock: storetest.NewClock()}
		w.Directory = tenants.New(tenants.Options[*works]{DB: db, Make: w.make, Lost: func(context.Context, error) { lost.Add(1) }})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- w.Watch(ctx) }()
		id := w.add(t, "shop")
		time.Sleep(1100 * time.Millisecond)
		w.get(t, id, "shop")
		w.rename(t, id, "store")
		time.Sleep(1100 * time.Millisecond)
		w.get(t, id, "store")
		cancel()
		if err := <-ended; err != nil || lost.Load() != 0 {
			t.Errorf("it ended with %v, and lost %d", err, lost.Load())
		}
	})
}

// frail is a database that can be taken away. SQLite's cannot: who only reads
// goes on.
func frail(t *testing.T) (*store.DB, away) {
	t.Helper()
	if storetest.Engine() == "sqlite" {
		t.Skip("SQLite is no server")
	}
	h, o := authtest.Frail(t)
	return h.DB, away{o, h.Clock}
}

type away struct {
	outage *authtest.Outage
	clock  *storetest.Clock
}

func (a away) cut(t *testing.T)  { a.outage.Cut(t) }
func (a away) mend(t *testing.T) { a.outage.Mend(t) }
