package store_test

import (
	"errors"
	"testing"

	"gatehouse/internal/store"
)

// companyDomain is of the company that each tenant has.
const companyDomain = "company.example"

// connectUp adds a company. Name, alias and domain are the same for every
// tenant; ids are not.
func connectUp(t *testing.T, db *store.DB, tenant store.TenantID) store.Connection {
	t.Helper()
	c := store.Connection{ID: store.NewConnectionID(), Kind: store.SAMLConnection, Name: "https://company.example/idp", Alias: "company", Data: []byte("sealed")}
	err := db.Write(t.Context(), tenant, func(tx *store.Tx) error {
		return errors.Join(tx.AddConnection(c), tx.SetConnectionDomains(c.ID, []string{companyDomain}))
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func connectionSnapshot(tx *store.Tx) (all []any) {
	for _, kind := range []string{store.CustomConnection, store.SAMLConnection} {
		list, err := tx.Connections(kind, 10)
		all = append(all, list, err == nil)
	}
	for _, domain := range []string{companyDomain, "eve.example"} {
		c, err := tx.ConnectionByDomain(domain)
		all = append(all, c, errors.Is(err, store.ErrNotFound))
	}
	return all
}

// connectionCalls are those of TestTx_noTenantReachesAnother.
func connectionCalls() map[string]func(*store.Tx, belongings) (bool, error) {
	is := func(c store.Connection, err error, b belongings) (bool, error) { return c.ID == b.company.ID, err }
	return map[string]func(*store.Tx, belongings) (bool, error){
		"AddConnection": func(tx *store.Tx, b belongings) (bool, error) {
			c := b.company
			c.ID, c.Name, c.Alias = store.NewConnectionID(), "eve", "eve"
			return false, tx.AddConnection(c)
		},
		"SetConnection": func(tx *store.Tx, b belongings) (bool, error) {
			c := b.company
			c.Data = []byte("eve")
			return tx.SetConnection(c)
		},
		"DropConnection": func(tx *store.Tx, b belongings) (bool, error) { return tx.DropConnection(b.company.Kind, b.company.ID) },
		"SetConnectionDomains": func(tx *store.Tx, b belongings) (bool, error) {
			return false, tx.SetConnectionDomains(b.company.ID, []string{"eve.example"})
		},
		"Connection": func(tx *store.Tx, b belongings) (bool, error) {
			c, err := tx.Connection(b.company.Kind, b.company.ID)
			return is(c, err, b)
		},
		"ConnectionByName": func(tx *store.Tx, b belongings) (bool, error) {
			c, err := tx.ConnectionByName(b.company.Kind, b.company.Name)
			return is(c, err, b)
		},
		"ConnectionByAlias": func(tx *store.Tx, b belongings) (bool, error) {
			c, err := tx.ConnectionByAlias(b.company.Kind, b.company.Alias)
			return is(c, err, b)
		},
		"ConnectionByDomain": func(tx *store.Tx, b belongings) (bool, error) {
			c, err := tx.ConnectionByDomain(companyDomain)
			return is(c, err, b)
		},
		"Connections": func(tx *store.Tx, b belongings) (saw bool, err error) {
			list, err := tx.Connections(b.company.Kind, 10)
			for _, c := range list {
				saw = saw || c.ID == b.company.ID
			}
			return saw, err
		},
		"CountConnections": func(tx *store.Tx, b belongings) (bool, error) {
			c := b.company
			c.ID, c.Name, c.Alias = store.NewConnectionID(), "eve", "eve"
			err := tx.AddConnection(c)
			if err != nil {
				return false, err
			}
			n, err := tx.CountConnections(b.company.Kind)
			return n != 2 || tx.Tenant == home, err
		},
	}
}
