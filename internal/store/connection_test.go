package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

func newConnection(kind, name, alias string) store.Connection {
	return store.Connection{ID: store.NewConnectionID(), Kind: kind, Name: name, Alias: alias, Data: []byte("sealed " + name)}
}

func TestConnection_isFoundByAllItsNamesAndNoOthers(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		saml := newConnection(store.SAMLConnection, "https://idp.example/Metadata", "acme")
		custom := newConnection(store.CustomConnection, "custom:acme", "")
		write(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.AddConnection(saml), tx.AddConnection(custom), tx.SetConnectionDomains(saml.ID, []string{"acme.example", "acme.test"}))
		})
		saml.CreatedAt, saml.UpdatedAt = db.Now(), db.Now()
		custom.CreatedAt, custom.UpdatedAt = db.Now(), db.Now()
		find := func(tx *store.Tx, in string) (store.Connection, error) {
			switch in {
			case "id":
				return tx.Connection(store.SAMLConnection, saml.ID)
			case "name":
				return tx.ConnectionByName(store.SAMLConnection, saml.Name)
			case "alias":
				return tx.ConnectionByAlias(store.SAMLConnection, saml.Alias)
			case "domain":
				return tx.ConnectionByDomain("acme.example")
			case "second domain":
				return tx.ConnectionByDomain("acme.test")
			case "another kind's id":
				return tx.Connection(store.CustomConnection, saml.ID)
			case "another kind's name":
				return tx.ConnectionByName(store.CustomConnection, saml.Name)
			case "name in another case":
				return tx.ConnectionByName(store.SAMLConnection, "https://idp.example/metadata")
			case "name and a space":
				return tx.ConnectionByName(store.SAMLConnection, saml.Name+" ")
			case "no alias":
				return tx.ConnectionByAlias(store.CustomConnection, "")
			case "a domain within":
				return tx.ConnectionByDomain("eu.acme.example")
			}
			return tx.ConnectionByDomain("")
		}
		for in, found := range map[string]bool{
			"id": true, "name": true, "alias": true, "domain": true, "second domain": true, "another kind's id": false, "another kind's name": false,
			"name in another case": false, "name and a space": false, "no alias": false, "a domain within": false, "no domain": false,
		} {
			look := func(tx *store.Tx) error {
				got, err := find(tx, in)
				if found && (err != nil || cmp.Diff(saml, got) != "") {
					t.Errorf("by %s: %v, (-want +got):\n%s", in, err, cmp.Diff(saml, got))
				}
				if !found && !errors.Is(err, store.ErrNotFound) {
					t.Errorf("by %s: found %+v, %v", in, got, err)
				}
				return nil
			}
			read(t, db, look)
			write(t, db, look)
		}

		clock.Advance(time.Minute)
		next := saml
		next.Name, next.Alias, next.Data, next.UpdatedAt = "https://idp.example/next", "", []byte("next"), db.Now()
		write(t, db, func(tx *store.Tx) error {
			set, err := tx.SetConnection(next)
			stolen := custom
			stolen.Kind = store.SAMLConnection
			wrong, err2 := tx.SetConnection(stolen)
			if !set || wrong {
				t.Errorf("set %v, and by another kind %v; want the first alone", set, wrong)
			}
			return errors.Join(err, err2, tx.SetConnectionDomains(saml.ID, []string{"acme.test", "next.example"}))
		})
		read(t, db, func(tx *store.Tx) error {
			got, err := tx.ConnectionByDomain("next.example")
			if diff := cmp.Diff(next, got); diff != "" || err != nil {
				t.Errorf("after a change %v (-want +got):\n%s", err, diff)
			}
			_, err = tx.ConnectionByDomain("acme.example")
			_, err2 := tx.ConnectionByAlias(store.SAMLConnection, "acme")
			if !errors.Is(err, store.ErrNotFound) || !errors.Is(err2, store.ErrNotFound) {
				t.Errorf("by a domain and an alias it had: %v, %v", err, err2)
			}
			return nil
		})
	})
}

func TestDropConnection_takesItsDomainsAlong(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		a, b := newConnection(store.SAMLConnection, "a", ""), newConnection(store.SAMLConnection, "b", "")
		write(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.AddConnection(a), tx.SetConnectionDomains(a.ID, []string{"a.example"}), tx.AddConnection(b), tx.SetConnectionDomains(b.ID, []string{"b.example"}))
		})
		write(t, db, func(tx *store.Tx) error {
			wrong, err := tx.DropConnection(store.CustomConnection, a.ID)
			dropped, err2 := tx.DropConnection(store.SAMLConnection, a.ID)
			again, err3 := tx.DropConnection(store.SAMLConnection, a.ID)
			if wrong || !dropped || again {
				t.Errorf("dropped as another kind %v, %v, once more %v; want the second alone", wrong, dropped, again)
			}
			return errors.Join(err, err2, err3)
		})
		write(t, db, func(tx *store.Tx) error {
			_, err := tx.ConnectionByDomain("b.example")
			c := newConnection(store.SAMLConnection, "a", "")
			return errors.Join(err, tx.AddConnection(c), tx.SetConnectionDomains(c.ID, []string{"a.example"})) // both are free
		})
	})
}

func TestConnection_namesAliasesAndDomainsAreOnesOwn(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		has := newConnection(store.SAMLConnection, "name", "alias")
		other := newConnection(store.SAMLConnection, "other", "")
		write(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.AddConnection(has), tx.SetConnectionDomains(has.ID, []string{"has.example"}), tx.AddConnection(other),
				tx.AddConnection(newConnection(store.SAMLConnection, "no alias either", "")), tx.AddConnection(newConnection(store.CustomConnection, "name", "alias")))
		})
		for what, fn := range map[string]func(tx *store.Tx) error{
			"a second of the name":  func(tx *store.Tx) error { return tx.AddConnection(newConnection(store.SAMLConnection, "name", "")) },
			"a second of the alias": func(tx *store.Tx) error { return tx.AddConnection(newConnection(store.SAMLConnection, "new", "alias")) },
			"a change to the name": func(tx *store.Tx) error {
				c := other
				c.Name = "name"
				return second(tx.SetConnection(c))
			},
			"a change to the alias": func(tx *store.Tx) error {
				c := other
				c.Alias = "alias"
				return second(tx.SetConnection(c))
			},
			"the domain": func(tx *store.Tx) error { return tx.SetConnectionDomains(other.ID, []string{"has.example"}) },
		} {
			err := db.Write(t.Context(), home, fn)
			if !errors.Is(err, store.ErrDuplicate) {
				t.Errorf("%s: %v, want a duplicate", what, err)
			}
		}
		// Of many who want a domain at one instant one gets it.
		var ids []store.ConnectionID
		for i := range 8 {
			c := newConnection(store.SAMLConnection, fmt.Sprint("racer ", i), "")
			ids = append(ids, c.ID)
			write(t, db, func(tx *store.Tx) error { return tx.AddConnection(c) })
		}
		won := race(t, db, len(ids), func(i int, tx *store.Tx) (bool, error) {
			return true, tx.SetConnectionDomains(ids[i], []string{"wanted.example"})
		})
		if won != 1 {
			t.Errorf("%d got the domain, want 1", won)
		}
	})
}

// Domains that outlive their connection would be nobody's, and could be had by
// nobody.
func TestConnection_oneThatIsDroppedWhileItIsChangedLeavesNoDomain(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		for n := range 10 {
			domain := fmt.Sprint("d", n, ".example")
			c := newConnection(store.SAMLConnection, domain, "")
			write(t, db, func(tx *store.Tx) error { return tx.AddConnection(c) })
			race(t, db, 2, func(i int, tx *store.Tx) (bool, error) {
				if i == 0 {
					return tx.DropConnection(c.Kind, c.ID)
				}
				set, err := tx.SetConnection(c)
				if set {
					err = tx.SetConnectionDomains(c.ID, []string{domain})
				}
				return set, err
			})
			next := newConnection(store.SAMLConnection, domain, "")
			err := db.Write(t.Context(), home, func(tx *store.Tx) error {
				return errors.Join(tx.AddConnection(next), tx.SetConnectionDomains(next.ID, []string{domain}))
			})
			if err != nil {
				t.Fatalf("the domain of a dropped connection is not free: %v", err)
			}
		}
	})
}

func TestConnections_areListedOldestFirstAndCounted(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		var names []string
		for i := range 5 {
			clock.Advance(time.Second)
			c := newConnection(store.CustomConnection, fmt.Sprint("custom:", 9-i), "")
			names = append(names, c.Name)
			write(t, db, func(tx *store.Tx) error {
				return errors.Join(tx.AddConnection(c), tx.AddConnection(newConnection(store.SAMLConnection, c.Name, "")))
			})
		}
		read(t, db, func(tx *store.Tx) error {
			list, err := tx.Connections(store.CustomConnection, 4)
			var got []string
			for _, c := range list {
				got = append(got, c.Name)
			}
			if diff := cmp.Diff(names[:4], got); diff != "" {
				t.Errorf("the first four are (-want +got):\n%s", diff)
			}
			n, err2 := tx.CountConnections(store.CustomConnection)
			if n != 5 {
				t.Errorf("%d are counted, want 5", n)
			}
			return errors.Join(err, err2)
		})
	})
}
