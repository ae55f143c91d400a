package vault_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"gatehouse/internal/secret"
	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
	"gatehouse/internal/vault"
)

// master makes a master key.
func master(t *testing.T) *secret.Root {
	t.Helper()
	m, err := secret.NewRoot(secret.GenerateRoot())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// begin returns a vault that has to begin.
func begin(t *testing.T, db *store.DB, m *secret.Root, older ...*secret.Root) *vault.Vault {
	t.Helper()
	v := vault.New(db, m, older...)
	err := v.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// alone is an empty database without the second tenant, which has no root key.
func alone(t *testing.T) *store.DB {
	t.Helper()
	db, _ := storetest.New(t)
	write(t, db, func(tx *store.Tx) error { return tx.RetireTenant(storetest.Other()) })
	return db
}

func write(t *testing.T, db *store.DB, fn func(*store.Tx) error) {
	t.Helper()
	err := db.Write(t.Context(), store.TenantID{}, fn)
	if err != nil {
		t.Fatal(err)
	}
}

// tenant reads a tenant's row.
func tenant(t *testing.T, db *store.DB, id store.TenantID) (row store.Tenant) {
	t.Helper()
	err := db.Read(t.Context(), id, func(tx *store.Tx) (err error) {
		row, err = tx.TenantByID(id)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return row
}

// root is the root key of a tenant as a vault has it.
func root(t *testing.T, v *vault.Vault, id store.TenantID) string {
	t.Helper()
	r, err := v.Root(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return r.ID()
}

// add makes tenants called prefix0000 and so on, and returns their root keys.
func add(t *testing.T, db *store.DB, v *vault.Vault, prefix string, n int) map[store.TenantID]string {
	t.Helper()
	all := map[store.TenantID]string{}
	for i := 0; i < n; {
		var rows []store.Tenant
		for ; len(rows) < 200 && i < n; i++ {
			id := store.NewTenantID()
			r, sealed, err := v.Make(id)
			if err != nil {
				t.Fatal(err)
			}
			all[id] = r.ID()
			rows = append(rows, store.Tenant{ID: id, Name: fmt.Sprintf("%s%04d", prefix, i), RootKey: sealed})
		}
		write(t, db, func(tx *store.Tx) error {
			for _, row := range rows {
				err := tx.AddTenant(row)
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	return all
}

// opens fails the test unless a vault opens exactly these root keys.
func opens(t *testing.T, v *vault.Vault, all map[store.TenantID]string) {
	t.Helper()
	for id, want := range all {
		if got := root(t, v, id); got != want {
			t.Errorf("tenant %s has the root key %s, want %s", id, got, want)
		}
	}
}

func TestBegin_givesAFreshDatabaseARootKeyThatLasts(t *testing.T) {
	t.Parallel()
	db, m := alone(t), master(t)
	begun, err := vault.Begun(t.Context(), db)
	if err != nil || begun {
		t.Fatalf("a fresh database is begun: %v, %v", begun, err)
	}
	v := begin(t, db, m)
	first := root(t, v, store.TenantID{})
	if first == m.ID() {
		t.Error("the root key is the master key: it could not be replaced")
	}
	sealed := tenant(t, db, store.TenantID{}).RootKey
	for range 2 {
		if got := root(t, begin(t, db, m), store.TenantID{}); got != first {
			t.Errorf("after a restart the root key is %s, want %s", got, first)
		}
	}
	if again := tenant(t, db, store.TenantID{}).RootKey; string(again) != string(sealed) {
		t.Error("a restart wrote the root key anew")
	}
	begun, err = vault.Begun(t.Context(), db)
	if err != nil || !begun {
		t.Errorf("begun: %v, %v", begun, err)
	}
}

// together runs f n times at one instant and returns the errors.
func together(n int, f func(i int) error) []error {
	errs := make([]error, n)
	ready := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			<-ready
			errs[i] = f(i)
		})
	}
	close(ready)
	all.Wait()
	return errs
}

func TestBegin_ofManyNodesAtOnceMakesOneRootKey(t *testing.T) {
	t.Parallel()
	db, m := alone(t), master(t)
	nodes := []*store.DB{db, storetest.Again(t, db), storetest.Again(t, db)}
	vaults := make([]*vault.Vault, 9)
	for i := range vaults {
		vaults[i] = vault.New(nodes[i%len(nodes)], m)
	}
	err := errors.Join(together(len(vaults), func(i int) error { return vaults[i].Begin(t.Context()) })...)
	if err != nil {
		t.Fatal(err)
	}
	want := root(t, vaults[0], store.TenantID{})
	for i, v := range vaults {
		if got := root(t, v, store.TenantID{}); got != want {
			t.Errorf("node %d has the root key %s, node 0 has %s", i, got, want)
		}
	}
}

func TestBegin_ofManyNodesAtOnceLetsOneMasterKeyIn(t *testing.T) {
	t.Parallel()
	db := alone(t)
	vaults := make([]*vault.Vault, 6)
	for i := range vaults {
		vaults[i] = vault.New(storetest.Again(t, db), master(t))
	}
	who := -1
	for round := range 2 { // whoever is in stays in, and the others stay out
		errs := together(len(vaults), func(i int) error { return vaults[i].Begin(t.Context()) })
		in := 0
		for i, err := range errs {
			if err == nil {
				in++
				if round == 1 && i != who {
					t.Errorf("the master key of node %d was taken, after that of node %d", i, who)
				}
				who = i
			}
		}
		if in != 1 {
			t.Errorf("%d of 6 master keys were taken for the one, want 1: %v", in, errors.Join(errs...))
		}
	}
}

// Before tenants had root keys, that of the default tenant was the master key.
func TestBegin_inAnOlderDatabaseKeepsTheKeyEverythingIsSealedWith(t *testing.T) {
	t.Parallel()
	old, next := master(t), master(t)
	for name, tc := range map[string]struct {
		vault func(*store.DB) *vault.Vault
		ok    bool
	}{
		"with its key":                  {func(db *store.DB) *vault.Vault { return vault.New(db, old) }, true},
		"with a new key that knows it":  {func(db *store.DB) *vault.Vault { return vault.New(db, next, master(t), old) }, true},
		"with another key":              {func(db *store.DB) *vault.Vault { return vault.New(db, next) }, false},
		"with another key, and a wrong": {func(db *store.DB) *vault.Vault { return vault.New(db, next, master(t)) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := alone(t)
			mac := old.MAC("master key check")
			_, err := db.KeepValue(t.Context(), "master key check", mac[:])
			if err != nil {
				t.Fatal(err)
			}
			v := tc.vault(db)
			err = v.Begin(t.Context())
			if !tc.ok {
				if err == nil || !strings.Contains(err.Error(), "GATEHOUSE_MASTER_KEY") || len(tenant(t, db, store.TenantID{}).RootKey) > 0 {
					t.Errorf("it began: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := root(t, v, store.TenantID{}); got != old.ID() {
				t.Errorf("the root key is %s, want the old master key %s", got, old.ID())
			}
			mine := v.Master()
			if row := tenant(t, db, store.TenantID{}); mine == next.ID() && !next.SealedBy(row.RootKey) || mine == old.ID() && !old.SealedBy(row.RootKey) {
				t.Error("it is not sealed under the master key of today")
			}
		})
	}
}

func TestBegin_refusesAWrongKeyAndChangesNothing(t *testing.T) {
	t.Parallel()
	db, m := alone(t), master(t)
	begin(t, db, m)
	before := tenant(t, db, store.TenantID{})
	err := vault.New(db, master(t), master(t)).Begin(t.Context())
	if err == nil || !strings.Contains(err.Error(), "put back GATEHOUSE_MASTER_KEY") {
		t.Errorf("a wrong master key is told %v", err)
	}
	after := tenant(t, db, store.TenantID{})
	if string(after.RootKey) != string(before.RootKey) || !after.UpdatedAt.Equal(before.UpdatedAt) {
		t.Error("a wrong master key changed the row")
	}
	begin(t, db, m)
}

func TestRewrap_putsANewMasterKeyInPlace(t *testing.T) {
	t.Parallel()
	db, old, next := alone(t), master(t), master(t)
	v := begin(t, db, old)
	all := add(t, db, v, "t", 1203) // more than two pages
	all[store.TenantID{}] = root(t, v, store.TenantID{})

	both := begin(t, db, next, old) // before anything is sealed anew
	opens(t, both, all)
	n, err := both.Rewrap(t.Context())
	if err != nil || n != len(all) {
		t.Fatalf("%d root keys were sealed anew, %v; want %d", n, err, len(all))
	}
	opens(t, begin(t, db, next), all)
	opens(t, begin(t, db, next, old), all)
	opens(t, begin(t, db, old, next), all) // a node that is a step behind
	if n, err = both.Rewrap(t.Context()); n != 0 || err != nil {
		t.Errorf("once more: %d, %v; want nothing to do", n, err)
	}
	err = vault.New(db, old).Begin(t.Context())
	if err == nil {
		t.Error("the old master key still opens")
	}
}

// A rewrap that was ended is begun again; whatever was done meanwhile, nodes
// that know both keys open everything.
func TestRewrap_mayBeEndedAndBegunAgain(t *testing.T) {
	t.Parallel()
	db, old, next := alone(t), master(t), master(t)
	v := begin(t, db, old)
	all := add(t, db, v, "t", 120)
	all[store.TenantID{}] = root(t, v, store.TenantID{})
	both := begin(t, db, next, old)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watched := storetest.Again(t, db)
	var watch sync.WaitGroup
	watch.Go(func() {
		defer cancel()
		for ctx.Err() == nil {
			done := 0
			err := watched.Read(ctx, store.TenantID{}, func(tx *store.Tx) error {
				list, err := tx.TenantPage("", 500)
				for _, row := range list {
					if next.SealedBy(row.RootKey) {
						done++
					}
				}
				return err
			})
			if err != nil || done > 10 {
				return
			}
		}
	})
	first, err := both.Rewrap(ctx)
	cancel()
	watch.Wait()
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	opens(t, vault.New(db, next, old), all)
	opens(t, vault.New(db, old, next), all)
	last, err := vault.New(db, next, old).Rewrap(t.Context())
	if err != nil || first > len(all) || first+last < len(all) {
		t.Errorf("%d root keys were sealed anew and then %d, %v; want %d in all", first, last, err, len(all))
	}
	opens(t, begin(t, db, next), all)
}

func TestRewrap_leavesNoTenantBehindThatIsMadeMeanwhile(t *testing.T) {
	t.Parallel()
	db, old, next := alone(t), master(t), master(t)
	v := begin(t, db, old)
	all := add(t, db, v, "m", 60)
	serving := begin(t, storetest.Again(t, db), next, old)
	var made map[store.TenantID]string
	var wait sync.WaitGroup
	wait.Go(func() { made = add(t, db, serving, "a", 20) }) // whose names come before those under way
	_, err := begin(t, db, next, old).Rewrap(t.Context())
	wait.Wait()
	if err != nil {
		t.Fatal(err)
	}
	alone := begin(t, db, next)
	opens(t, alone, all)
	opens(t, alone, made)
}

func TestRewrap_oneThatDoesNotOpenKeepsNoOtherFromIt(t *testing.T) {
	t.Parallel()
	db, old, next := alone(t), master(t), master(t)
	v := begin(t, db, old)
	before := add(t, db, v, "a", 3)
	broken := add(t, db, vault.New(db, master(t)), "b", 1)
	after := add(t, db, v, "c", 3)
	n, err := begin(t, db, next, old).Rewrap(t.Context())
	if n != len(before)+len(after)+1 || err == nil || !strings.Contains(err.Error(), "tenant b0000") {
		t.Errorf("%d root keys were sealed anew, %v", n, err)
	}
	alone := begin(t, db, next)
	opens(t, alone, before)
	opens(t, alone, after)
	for id := range broken {
		if _, err := alone.Root(t.Context(), id); err == nil {
			t.Error("a root key opened that was sealed under a key nobody has")
		}
	}
}

// A row's root key copied into another tenant's row opens nothing there.
func TestOpen_theRootKeyOfOneTenantIsNoneOfAnothers(t *testing.T) {
	t.Parallel()
	db, m := alone(t), master(t)
	v := begin(t, db, m)
	all := add(t, db, v, "t", 2)
	var ids []store.TenantID
	for id := range all {
		ids = append(ids, id)
	}
	mine, theirs := tenant(t, db, ids[0]), tenant(t, db, ids[1])
	mine.RootKey = theirs.RootKey
	_, err := vault.New(db, m).Open(mine)
	if !errors.Is(err, secret.ErrNotSealed) {
		t.Errorf("opened: %v", err)
	}
	mine.RootKey = nil
	if _, err = v.Open(mine); err == nil {
		t.Error("a tenant without a root key was given one")
	}
	if _, err = v.Root(t.Context(), store.NewTenantID()); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("of nobody: %v, want not found", err)
	}
}

func TestRoot_nothingIsPrintedOfIt(t *testing.T) {
	t.Parallel()
	db, m := alone(t), master(t)
	v := begin(t, db, m)
	r, err := v.Root(t.Context(), store.TenantID{})
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", r, r, r, r); len(text) > 4*len("root key 00000000 ") {
		t.Errorf("a root key prints as %q", text)
	}
}
