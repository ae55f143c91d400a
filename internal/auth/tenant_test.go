package auth_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
	"gatehouse/internal/vault"
)

// tenantsOf are the tenants of a house, all of whose settings are sound but
// BROKEN. changed hears of each change; nil: nobody does.
func tenantsOf(h *authtest.House, changed func(auth.TenantID)) *auth.Tenants {
	return auth.NewTenants(auth.TenantsOptions{
		Home: h.Service, Keys: vault.New(h.DB, h.Root), Changed: changed,
		Sound: func(_ context.Context, t auth.Tenant) error {
			if _, ok := t.Settings["BROKEN"]; ok {
				return auth.Invalid("settings", "BROKEN is no setting")
			}
			return nil
		},
	})
}

// row reads a tenant as it lies in the database.
func row(t *testing.T, h *authtest.House, id auth.TenantID) (r store.Tenant) {
	t.Helper()
	ok(t, "read", h.DB.Read(t.Context(), id, func(tx *store.Tx) (err error) {
		r, err = tx.TenantByID(id)
		return err
	}))
	return r
}

func TestTenants_secretsAreSealedAndOpenInNoOtherRow(t *testing.T) {
	h := authtest.New(t)
	all, keys := tenantsOf(h, nil), vault.New(h.DB, h.Root)
	add := func(name string) *auth.Tenant {
		made, err := all.Add(t.Context(), authtest.Operator(), auth.Tenant{
			Name: name, Settings: map[string]string{"SMTP_PASS": "hunter2 of " + name}, Instance: json.RawMessage(`{"jwt":{"secret":"hunter2"}}`),
		})
		ok(t, "add", err)
		return made
	}
	shop, other := add("shop"), add("other-shop")
	mine, theirs := row(t, h, shop.ID), row(t, h, other.ID)
	if s := fmt.Sprintf("%s %+v", mine.Settings, mine); strings.Contains(s, "hunter2") || strings.Contains(s, "SMTP_PASS") {
		t.Errorf("the row tells the settings: %s", s)
	}
	got, err := all.Tenant(t.Context(), shop.ID)
	ok(t, "show", err)
	if got.Settings["SMTP_PASS"] != "hunter2 of shop" || string(got.Instance) != `{"jwt":{"secret":"hunter2"}}` {
		t.Errorf("it is %+v", got)
	}
	root, err := keys.Open(mine)
	ok(t, "open", err)
	for what, r := range map[string]store.Tenant{
		"its settings in another row":     {ID: theirs.ID, Name: theirs.Name, Settings: mine.Settings},
		"another's settings in its row":   {ID: mine.ID, Name: mine.Name, Settings: theirs.Settings},
		"settings cut short":              {ID: mine.ID, Name: mine.Name, Settings: mine.Settings[:len(mine.Settings)-1]},
		"settings that were never sealed": {ID: mine.ID, Name: mine.Name, Settings: []byte(`{"settings":{"SMTP_HOST":"evil.example"}}`)},
	} {
		if got, err := auth.ReadTenant(r, root); err == nil || got.Settings != nil {
			t.Errorf("%s are read: %+v, %v", what, got, err)
		}
	}
	theirs.RootKey, theirs.Settings = mine.RootKey, mine.Settings // a whole row copied over another
	if _, err = keys.Open(theirs); !errors.Is(err, secret.ErrNotSealed) {
		t.Errorf("a copied root key opens: %v", err)
	}
	for _, e := range h.Events(t, auth.UserID{}) {
		if strings.Contains(string(e.Data), "hunter2") {
			t.Errorf("the trail tells a secret: %s", e.Data)
		}
	}
}

func TestTenants_whoChangesAtOnceLosesNothing(t *testing.T) {
	h := authtest.New(t)
	all := tenantsOf(h, nil)
	shop, err := all.Add(t.Context(), authtest.Operator(), auth.Tenant{Name: "shop"})
	ok(t, "add", err)
	nodes := h.Nodes(t, 2)
	set := func(i int) error {
		_, err := tenantsOf(nodes[i%2], nil).Set(t.Context(), authtest.Operator(), shop.ID, func(t *auth.Tenant) error {
			if t.Settings == nil {
				t.Settings = map[string]string{}
			}
			t.Settings[fmt.Sprintf("X_%d", i)] = "1"
			return nil
		})
		return err
	}
	const n = 8
	done := 0
	for i, err := range together(n, set) {
		for auth.CodeOf(err) == auth.Busy && err != nil { // the others were quicker, again and again
			err = set(i)
		}
		ok(t, "set", err)
		done++
	}
	got, err := all.Tenant(t.Context(), shop.ID)
	ok(t, "show", err)
	if len(got.Settings) != done {
		t.Errorf("%d changes were told to be made, and %d are there: %v", done, len(got.Settings), got.Settings)
	}
}

func TestTenants_whatIsRefusedIsNotKeptAndNobodyHears(t *testing.T) {
	h := authtest.New(t)
	var mu sync.Mutex
	var heard []auth.TenantID
	all := tenantsOf(h, func(id auth.TenantID) {
		mu.Lock()
		defer mu.Unlock()
		heard = append(heard, id)
	})
	op := authtest.Operator()
	shop, err := all.Add(t.Context(), op, auth.Tenant{Name: "shop", ExternalID: "ext", Hosts: []string{"Shop.Example."}})
	ok(t, "add", err)
	before := row(t, h, shop.ID)
	change := func(f func(*auth.Tenant)) error {
		_, err := all.Set(t.Context(), op, shop.ID, func(t *auth.Tenant) error { f(t); return nil })
		return err
	}
	_, err = all.Add(t.Context(), op, auth.Tenant{Name: "shop"})
	want(t, "the name of another", err, auth.TenantTaken)
	_, err = all.Add(t.Context(), op, auth.Tenant{Name: "x", Hosts: []string{"shop.example"}})
	want(t, "the host of another", err, auth.TenantTaken)
	_, err = all.Add(t.Context(), op, auth.Tenant{Name: "x", ExternalID: "ext"})
	want(t, "the external id of another", err, auth.TenantTaken)
	_, err = all.Add(t.Context(), op, auth.Tenant{Name: "x", Settings: map[string]string{"BROKEN": "1"}})
	want(t, "unsound settings", err, auth.InvalidInput)
	want(t, "a bad name", change(func(t *auth.Tenant) { t.Name = "../x" }), auth.InvalidInput)
	want(t, "unsound settings", change(func(t *auth.Tenant) { t.Settings = map[string]string{"BROKEN": "1"} }), auth.InvalidInput)
	want(t, "a bad host", change(func(t *auth.Tenant) { t.Hosts = []string{"a/b"} }), auth.InvalidInput)
	want(t, "the name of another", change(func(t *auth.Tenant) { t.Name = "other" }), auth.TenantTaken)
	_, err = all.Set(t.Context(), op, auth.TenantID{}, func(*auth.Tenant) error { return nil })
	want(t, "the default tenant", err, auth.InvalidInput)
	want(t, "the default tenant, deleted", all.Drop(t.Context(), op, auth.TenantID{}), auth.TenantNotFound)
	nobody := store.NewTenantID()
	_, err = all.Set(t.Context(), op, nobody, func(*auth.Tenant) error { return nil })
	want(t, "nobody", err, auth.TenantNotFound)
	want(t, "nobody, deleted", all.Drop(t.Context(), op, nobody), auth.TenantNotFound)
	if diff := cmp.Diff(before, row(t, h, shop.ID)); diff != "" {
		t.Errorf("refusals changed the tenant (-before +after):\n%s", diff)
	}
	_, err = all.TenantByName(t.Context(), "x")
	want(t, "what was refused", err, auth.TenantNotFound)
	if !slices.Equal(heard, []auth.TenantID{shop.ID}) {
		t.Errorf("changes were heard of %v", heard)
	}
	ok(t, "a change", change(func(t *auth.Tenant) { t.Name = "store" }))
	ok(t, "its end", all.Drop(t.Context(), op, shop.ID))
	want(t, "after its end", change(func(*auth.Tenant) {}), auth.TenantNotFound)
	if len(heard) != 3 {
		t.Errorf("%d changes were heard of, want 3", len(heard))
	}
}
