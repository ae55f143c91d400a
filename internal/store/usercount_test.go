package store_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

// total is what UserPage says there are of a tenant's users, and there are when
// they are counted one by one.
func total(t *testing.T, db *store.DB, tenant store.TenantID) (said, there int) {
	t.Helper()
	err := db.Read(t.Context(), tenant, func(tx *store.Tx) error {
		page, n, err := tx.UserPage(store.UserFilter{Limit: 10_000})
		said, there = n, len(page)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return said, there
}

func TestUserPage_totalIsTheNumberOfUsers(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		want := map[store.TenantID]int{home: 0, storetest.Other(): 0}
		check := func(after string) {
			t.Helper()
			for tenant, n := range want {
				if said, there := total(t, db, tenant); said != n || there != n {
					t.Errorf("after %s: tenant %s has %d users and the total says %d, want %d", after, tenant, there, said, n)
				}
			}
		}
		check("nothing")
		var made []store.User
		for i := range 20 {
			for tenant := range want {
				u := newUser(fmt.Sprint("u", i))
				err := db.Write(t.Context(), tenant, func(tx *store.Tx) error { return tx.AddUser(u) })
				if err != nil {
					t.Fatal(err)
				}
				want[tenant]++
				if tenant == home {
					made = append(made, u)
				}
			}
		}
		check("adding")

		undone := errors.New("undone")
		err := db.Write(t.Context(), home, func(tx *store.Tx) error {
			for i := range 5 {
				err := tx.AddUser(newUser(fmt.Sprint("undone ", i)))
				if err != nil {
					return err
				}
			}
			_, err := tx.CountRole("member") // they are at the server by then
			return errors.Join(err, tx.DropUser(made[0].ID), undone)
		})
		if !errors.Is(err, undone) {
			t.Fatal(err)
		}
		check("what was undone")

		for range 5 {
			err = db.Write(t.Context(), home, func(tx *store.Tx) error { return tx.AddUser(newUser("u1")) })
			if !errors.Is(err, store.ErrDuplicate) {
				t.Errorf("a second user of one address: %v, want ErrDuplicate", err)
			}
		}
		check("duplicates")

		for _, u := range made[:15] {
			write(t, db, func(tx *store.Tx) error { return tx.DropUser(u.ID) })
			want[home]--
		}
		check("dropping")
		for _, u := range made[:2] {
			err = db.Write(t.Context(), home, func(tx *store.Tx) error { return tx.DropUser(u.ID) })
			if !errors.Is(err, store.ErrNotFound) {
				t.Errorf("dropping one twice: %v, want ErrNotFound", err)
			}
		}
		check("dropping twice")
		for _, u := range made[15:] {
			write(t, db, func(tx *store.Tx) error {
				// One in, one out, in one transaction.
				return errors.Join(tx.AddUser(newUser("again "+u.Email)), tx.DropUser(u.ID))
			})
		}
		check("adding and dropping in one")
	})
}

func TestUserPage_totalHoldsForManyAtOnce(t *testing.T) {
	const adders, each = 16, 6
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		nodes := []*store.DB{db, storetest.Again(t, db)}
		undone := errors.New("undone")
		var group sync.WaitGroup
		for a := range adders {
			group.Go(func() {
				for i := range each {
					u := newUser(fmt.Sprint(a, " ", i))
					if i == 1 {
						u.Email = "the same for all" // one of them gets it
					}
					err := nodes[a%2].Write(t.Context(), home, func(tx *store.Tx) error {
						err := tx.AddUser(u)
						if err == nil && i == 2 {
							err = undone
						}
						return err
					})
					switch {
					case i == 1 && errors.Is(err, store.ErrDuplicate), i == 2 && errors.Is(err, undone):
					case err != nil:
						t.Error(err)
					case i == 3:
						err = nodes[(a+1)%2].Write(t.Context(), home, func(tx *store.Tx) error { return tx.DropUser(u.ID) })
						if err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		group.Wait()
		want := adders*(each-3) + 1
		if said, there := total(t, db, home); said != want || there != want {
			t.Errorf("%d users, the total says %d; want %d", there, said, want)
		}
		if said, there := total(t, db, storetest.Other()); said != 0 || there != 0 {
			t.Errorf("another tenant has %d users, the total says %d; want none", there, said)
		}
	})
}
