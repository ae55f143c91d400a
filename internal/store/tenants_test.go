package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

// registry is the list of tenants under test.
type registry struct {
	t     *testing.T
	db    *store.DB
	clock *storetest.Clock
}

// try writes a moment later.
func (r registry) try(fn func(*store.Tx) error) error {
	r.clock.Advance(time.Second)
	return r.db.Write(r.t.Context(), store.TenantID{}, fn)
}

func (r registry) write(fn func(*store.Tx) error) {
	r.t.Helper()
	if err := r.try(fn); err != nil {
		r.t.Fatal(err)
	}
}

func (r registry) add(t store.Tenant) store.Tenant {
	r.t.Helper()
	t.ID = store.NewTenantID()
	r.write(func(tx *store.Tx) error { return tx.AddTenant(t) })
	return r.by(func(tx *store.Tx) (store.Tenant, error) { return tx.TenantByID(t.ID) })
}

// find returns a tenant, or the error.
func (r registry) find(fn func(*store.Tx) (store.Tenant, error)) (t store.Tenant, err error) {
	err = r.db.Read(r.t.Context(), store.TenantID{}, func(tx *store.Tx) (err error) {
		t, err = fn(tx)
		return err
	})
	return t, err
}

func (r registry) by(fn func(*store.Tx) (store.Tenant, error)) store.Tenant {
	r.t.Helper()
	t, err := r.find(fn)
	if err != nil {
		r.t.Fatal(err)
	}
	return t
}

func (r registry) gone(what string, fn func(*store.Tx) (store.Tenant, error)) {
	r.t.Helper()
	if t, err := r.find(fn); !errors.Is(err, store.ErrNotFound) {
		r.t.Errorf("%s: %+v, %v; want nothing", what, t, err)
	}
}

func TestTenants(t *testing.T) {
	for name, f := range map[string]func(registry){
		"are found by all they are called": tenantsFound, "share no name": tenantsShareNothing, "change if nobody was quicker": tenantsChange,
		"are deleted": tenantsDeleted, "are listed": tenantsListed,
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, db *store.DB, c *storetest.Clock) { f(registry{t, db, c}) })
		})
	}
}

func tenantsFound(r registry) {
	want := r.add(store.Tenant{Name: "shop", ExternalID: "Ext-1", Hosts: []string{"b.example", "a.example"}, RootKey: []byte{0, 1, 255}, Settings: []byte("sealed")})
	if diff := cmp.Diff(store.Tenant{
		ID: want.ID, Name: "shop", ExternalID: "Ext-1", Hosts: []string{"a.example", "b.example"}, RootKey: []byte{0, 1, 255}, Settings: []byte("sealed"),
		CreatedAt: r.clock.Now(), UpdatedAt: r.clock.Now(),
	}, want); diff != "" {
		r.t.Errorf("the tenant (-want +got):\n%s", diff)
	}
	r.add(store.Tenant{Name: "other-shop", Hosts: []string{"c.example"}})
	for what, fn := range map[string]func(*store.Tx) (store.Tenant, error){
		"by name":         func(tx *store.Tx) (store.Tenant, error) { return tx.TenantByName("shop") },
		"by external id":  func(tx *store.Tx) (store.Tenant, error) { return tx.TenantByExternalID("Ext-1") },
		"by host":         func(tx *store.Tx) (store.Tenant, error) { return tx.TenantByHost("a.example") },
		"by another host": func(tx *store.Tx) (store.Tenant, error) { return tx.TenantByHost("b.example") },
	} {
		if diff := cmp.Diff(want, r.by(fn)); diff != "" {
			r.t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	// Names are compared byte by byte, whatever the engine thinks of letters and
	// spaces.
	for _, x := range []string{"Shop", "shop ", " shop", "shöp", "sho", "shop%", "", "ext-1", "A.example", "example"} {
		r.gone(fmt.Sprintf("%q", x), func(tx *store.Tx) (store.Tenant, error) {
			a, errA := tx.TenantByName(x)
			b, errB := tx.TenantByExternalID(x)
			c, errC := tx.TenantByHost(x)
			for _, f := range []struct {
				t   store.Tenant
				err error
			}{{a, errA}, {b, errB}, {c, errC}} {
				if !errors.Is(f.err, store.ErrNotFound) {
					return f.t, f.err
				}
			}
			return store.Tenant{}, store.ErrNotFound
		})
	}
	r.gone("nobody's id", func(tx *store.Tx) (store.Tenant, error) { return tx.TenantByID(store.NewTenantID()) })
	if d := r.by(func(tx *store.Tx) (store.Tenant, error) { return tx.TenantByID(store.TenantID{}) }); !d.ID.IsZero() {
		r.t.Errorf("the default tenant is %+v", d)
	}
}

func tenantsShareNothing(r registry) {
	first := r.add(store.Tenant{Name: "shop", ExternalID: "ext", Hosts: []string{"shop.example"}})
	second := r.add(store.Tenant{Name: "store", ExternalID: "ext-2", Hosts: []string{"store.example"}})
	for what, t := range map[string]store.Tenant{
		"name": {Name: "shop"}, "external id": {Name: "new", ExternalID: "ext"}, "host": {Name: "new", Hosts: []string{"new.example", "shop.example"}},
	} {
		t.ID = store.NewTenantID()
		if err := r.try(func(tx *store.Tx) error { return tx.AddTenant(t) }); !errors.Is(err, store.ErrDuplicate) {
			r.t.Errorf("a new tenant with the %s of another: %v", what, err)
		}
		r.gone("it", func(tx *store.Tx) (store.Tenant, error) { return tx.TenantByID(t.ID) })
		changed := second
		changed.Name, changed.ExternalID, changed.Hosts = t.Name, t.ExternalID, t.Hosts
		if err := r.try(func(tx *store.Tx) error { return tx.SetTenant(changed) }); !errors.Is(err, store.ErrDuplicate) {
			r.t.Errorf("a tenant given the %s of another: %v", what, err)
		}
	}
	for _, t := range []store.Tenant{first, second} {
		if diff := cmp.Diff(t, r.by(func(tx *store.Tx) (store.Tenant, error) { return tx.TenantByID(t.ID) })); diff != "" {
			r.t.Errorf("a refusal changed a tenant (-want +got):\n%s", diff)
		}
	}
	r.add(store.Tenant{Name: "a"}) // without an external id, as many as there are
	r.add(store.Tenant{Name: "b"})
	r.add(store.Tenant{Name: "Shop", Hosts: []string{"Shop.example"}}) // another name, byte by byte
}

func tenantsChange(r registry) {
	t := r.add(store.Tenant{Name: "shop", ExternalID: "ext", Hosts: []string{"a.example", "b.example"}, RootKey: []byte("key"), Settings: []byte("s")})
	next := t
	next.Name, next.ExternalID, next.Hosts, next.Settings = "store", "", []string{"b.example", "c.example"}, []byte("t")
	r.write(func(tx *store.Tx) error { return tx.SetTenant(next) })
	next.UpdatedAt = r.clock.Now()
	if diff := cmp.Diff(next, r.by(func(tx *store.Tx) (store.Tenant, error) { return tx.TenantByName("store") })); diff != "" {
		r.t.Errorf("the change (-want +got):\n%s", diff)
	}
	r.gone("the host it had", func(tx *store.Tx) (store.Tenant, error) { return tx.TenantByHost("a.example") })
	r.gone("the name it had", func(tx *store.Tx) (store.Tenant, error) { return tx.TenantByName("shop") })
	if err := r.try(func(tx *store.Tx) error { return tx.SetTenant(t) }); !errors.Is(err, store.ErrNotFound) {
		r.t.Errorf("a change of what it was before: %v, want not found", err)
	}

	var done bool
	root := func(was, sealed string) bool {
		r.t.Helper()
		r.write(func(tx *store.Tx) (err error) {
			done, err = tx.SetRootKey(t.ID, []byte(was), []byte(sealed))
			return err
		})
		return done
	}
	if !root("key", "key 2") || root("key", "key 3") {
		r.t.Error("a root key was replaced that was not the one read, or the one read was not")
	}
	if err := r.try(func(tx *store.Tx) error { return tx.SetTenant(next) }); !errors.Is(err, store.ErrNotFound) {
		r.t.Errorf("a change would put the old root key back: %v", err)
	}
	if got := r.by(func(tx *store.Tx) (store.Tenant, error) { return tx.TenantByID(t.ID) }); string(got.RootKey) != "key 2" {
		r.t.Errorf("the root key is %q", got.RootKey)
	}
	err := r.db.Write(r.t.Context(), t.ID, func(tx *store.Tx) error { return tx.HoldTenant() })
	if err != nil {
		r.t.Error(err)
	}
	err = r.db.Write(r.t.Context(), store.NewTenantID(), func(tx *store.Tx) error { return tx.HoldTenant() })
	if !errors.Is(err, store.ErrNotFound) {
		r.t.Errorf("a tenant that is not there was held: %v", err)
	}
}

func tenantsDeleted(r registry) {
	t := r.add(store.Tenant{Name: "shop", ExternalID: "ext", Hosts: []string{"shop.example"}, Settings: []byte("s")})
	retire := func(tx *store.Tx) error { return tx.RetireTenant(t.ID) }
	r.write(retire)
	for what, fn := range map[string]func(*store.Tx) (store.Tenant, error){
		"by id":          func(tx *store.Tx) (store.Tenant, error) { return tx.TenantByID(t.ID) },
		"by name":        func(tx *store.Tx) (store.Tenant, error) { return tx.TenantByName("shop") },
		"by its epitaph": func(tx *store.Tx) (store.Tenant, error) { return tx.TenantByName("deleted " + t.ID.String()) },
		"by external id": func(tx *store.Tx) (store.Tenant, error) { return tx.TenantByExternalID("ext") },
		"by host":        func(tx *store.Tx) (store.Tenant, error) { return tx.TenantByHost("shop.example") },
	} {
		r.gone(what, fn)
	}
	for what, fn := range map[string]func(*store.Tx) error{
		"again": retire, "the default tenant": func(tx *store.Tx) error { return tx.RetireTenant(store.TenantID{}) },
		"and changed": func(tx *store.Tx) error { t.UpdatedAt = r.clock.Now().Add(-time.Second); return tx.SetTenant(t) },
	} {
		if err := r.try(fn); !errors.Is(err, store.ErrNotFound) {
			r.t.Errorf("deleted %s: %v, want not found", what, err)
		}
	}
	next := r.add(store.Tenant{Name: "shop", ExternalID: "ext", Hosts: []string{"shop.example"}}) // all of it is free again
	if next.ID == t.ID {
		r.t.Error("the new tenant is the old one")
	}
}

func tenantsListed(r registry) {
	began := r.clock.Now()
	var want []string
	for i := range 25 {
		name := fmt.Sprintf("shop-%02d", i)
		r.add(store.Tenant{Name: name, Hosts: []string{name + ".b.example", name + ".a.example"}[:i%3]})
		want = append(want, name)
	}
	gone := r.by(func(tx *store.Tx) (store.Tenant, error) { return tx.TenantByName("shop-07") })
	r.write(func(tx *store.Tx) error { return tx.RetireTenant(gone.ID) })
	want = slices.Delete(want, 7, 8)

	var got []string
	err := r.db.Read(r.t.Context(), store.TenantID{}, func(tx *store.Tx) error {
		got = nil
		for after := "other"; ; { // those of every test come before
			list, err := tx.TenantPage(after, 7)
			if err != nil || len(list) == 0 {
				return err
			}
			for _, t := range list {
				single, err := tx.TenantByID(t.ID)
				if diff := cmp.Diff(single, t); err != nil || diff != "" {
					r.t.Errorf("%s in the list (-by id +listed), %v:\n%s", t.Name, err, diff)
				}
				got = append(got, t.Name)
			}
			after = list[len(list)-1].Name
		}
	})
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		r.t.Errorf("the list (-want +got), %v:\n%s", err, diff)
	}
	err = r.db.Read(r.t.Context(), store.TenantID{}, func(tx *store.Tx) error {
		var all []store.TenantID
		for after := (store.TenantID{}); ; {
			list, err := tx.Tenants(after, 4)
			if err != nil {
				return err
			}
			if len(list) == 0 {
				break
			}
			all = append(all, list...)
			after = list[len(list)-1]
		}
		if len(all) != 26 || !slices.Contains(all, gone.ID) {
			r.t.Errorf("%d tenants beside the default one, want 26 with the deleted", len(all))
		}
		changed, err := tx.TenantsChanged(began.Add(time.Second))
		if _, told := changed[gone.ID]; err != nil || len(changed) != 25 || !told {
			r.t.Errorf("%d tenants have changed, of them the deleted one %v, %v", len(changed), told, err)
		}
		changed, err = tx.TenantsChanged(r.clock.Now())
		if at := changed[gone.ID]; err != nil || len(changed) != 1 || !at.Equal(r.clock.Now()) {
			r.t.Errorf("the last change: %v, %v", changed, err)
		}
		return nil
	})
	if err != nil {
		r.t.Error(err)
	}
}

// A tenant goes with all that belongs to it, in bites, and nobody else's rows go.
//
// Mission: U14
func TestSweepTenant_takesAllOfATenantAndNothingElse(t *testing.T) {
	onAll(t, func(t *testing.T, engine, url string) {
		c := storetest.NewClock()
		db, pool := node(t, store.Options{URL: url, Now: c.Now}), plain(t, url)
		r := registry{t, db, c}
		mine, theirs := r.add(store.Tenant{Name: "shop"}), r.add(store.Tenant{Name: "store"})
		for _, id := range []store.TenantID{mine.ID, theirs.ID, {}} {
			furnish(t, db, id)
			err := db.Write(t.Context(), id, func(tx *store.Tx) error {
				return tx.AddDelivery(store.Delivery{ID: store.NewDeliveryID(), Kind: "mail", Body: []byte("x")})
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		sweep := func(id store.TenantID, limit int) (n int, err error) {
			err = db.Write(t.Context(), id, func(tx *store.Tx) (err error) {
				n, err = tx.SweepTenant(limit)
				return err
			})
			return n, err
		}
		rows := func(id store.TenantID) map[string]int {
			all := map[string]int{}
			literal := fmt.Sprintf("x'%x'", id[:])
			if engine == "postgres" {
				literal = fmt.Sprintf(`'\x%x'`, id[:])
			}
			for _, table := range store.Belongings() {
				n, err := strconv.Atoi(ask(t, pool, "SELECT count(*) FROM "+table+" WHERE tenant_id = "+literal)[0])
				if err != nil {
					t.Fatal(err)
				}
				all[table] = n
			}
			return all
		}
		before := map[store.TenantID]map[string]int{theirs.ID: rows(theirs.ID), {}: rows(store.TenantID{})}
		for table, n := range rows(mine.ID) {
			if n == 0 {
				t.Errorf("the test puts nothing into %s", table)
			}
		}
		for _, id := range []store.TenantID{mine.ID, {}} {
			if n, err := sweep(id, 10); err == nil || n != 0 {
				t.Errorf("%d rows of a tenant that lives were swept, %v", n, err)
			}
		}
		r.write(func(tx *store.Tx) error { return tx.RetireTenant(mine.ID) })
		all := 0
		for _, n := range rows(mine.ID) {
			all += n
		}
		for swept := 0; ; {
			n, err := sweep(mine.ID, 4)
			swept += n
			if err != nil || n > 4 || n < 4 && swept != all {
				t.Fatalf("%d of %d rows were swept, %d in the last bite of 4: %v", swept, all, n, err)
			}
			if n < 4 {
				break
			}
		}
		for table, n := range rows(mine.ID) {
			if n != 0 {
				t.Errorf("%d rows of %s are left", n, table)
			}
		}
		for id, want := range before {
			if diff := cmp.Diff(want, rows(id)); diff != "" {
				t.Errorf("rows of %s (-before +after):\n%s", id, diff)
			}
		}
		deleted := func() (list []store.TenantID) {
			err := db.Read(t.Context(), store.TenantID{}, func(tx *store.Tx) (err error) {
				list, err = tx.DeletedTenants(10)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return list
		}
		// A request that was under way may have written since.
		if diff := cmp.Diff([]store.TenantID{mine.ID}, deleted()); diff != "" {
			t.Errorf("deleted tenants (-want +got):\n%s", diff)
		}
		furnish(t, db, mine.ID)
		c.Advance(61 * time.Minute)
		if n, err := sweep(mine.ID, 1000); n == 0 || err != nil {
			t.Errorf("what was written late: %d rows swept, %v", n, err)
		}
		if list := deleted(); len(list) != 0 {
			t.Errorf("the tenant is still there: %v", list)
		}
		if n, err := sweep(mine.ID, 1000); n != 0 || err != nil {
			t.Errorf("a tenant that is not there: %d rows swept, %v", n, err)
		}
	})
}
