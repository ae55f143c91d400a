package store_test

import (
	"errors"
	"testing"
	"time"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

func TestWriteOne_commitsItsStatement(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		other := storetest.Again(t, db)
		u := addUser(t, db, "ada@example.com")
		s := addSession(t, db, u.ID)
		clock.Advance(time.Minute)
		turned := false
		err := db.WriteOne(t.Context(), home, func(tx *store.Tx) (err error) {
			turned, err = tx.Rotate(s.ID, 1, "192.0.2.1", "agent")
			return err
		})
		if err != nil || !turned {
			t.Errorf("a refresh: %v, %v; want true and no error", turned, err)
		}
		// As one whose outcome nobody reads, and one that only reads.
		err = errors.Join(
			db.WriteOne(t.Context(), home, func(tx *store.Tx) error {
				return tx.AddDelivery(store.Delivery{ID: store.NewDeliveryID(), Kind: store.DeliverMail, Body: []byte("b")})
			}),
			db.WriteOne(t.Context(), home, func(tx *store.Tx) error { _, err := tx.User(u.ID); return err }),
			db.WriteOne(t.Context(), home, func(*store.Tx) error { return nil }))
		if err != nil {
			t.Error(err)
		}
		read(t, other, func(tx *store.Tx) error {
			got, err := tx.Session(s.ID)
			if got.Generation != 2 || got.IP != "192.0.2.1" || !got.RotatedAt.Equal(clock.Now()) {
				t.Errorf("the session afterwards: %+v", got)
			}
			waiting, _, err2 := tx.CountDeliveries()
			if waiting != 1 {
				t.Errorf("%d deliveries, want 1", waiting)
			}
			return errors.Join(err, err2)
		})
		err = db.WriteOne(t.Context(), storetest.Other(), func(tx *store.Tx) (err error) {
			turned, err = tx.Rotate(s.ID, 2, "", "")
			return err
		})
		if err != nil || turned {
			t.Errorf("a refresh by another tenant: %v, %v; want false and no error", turned, err)
		}
	})
}

// Two statements would be two transactions on one engine and one on another.
func TestWriteOne_refusesASecondStatement(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		u := addUser(t, db, "ada@example.com")
		statements := map[string]func(tx *store.Tx) error{
			"one that is put off": func(tx *store.Tx) error { return tx.SetIdentitySignIn(u.ID, "email") },
			"one that is counted": func(tx *store.Tx) error { _, err := tx.EndSession(store.SessionID{}, "x"); return err },
			"a read":              func(tx *store.Tx) error { _, err := tx.CountRole("member"); return err },
		}
		for first, one := range statements {
			for second, two := range statements {
				err := db.WriteOne(t.Context(), home, func(tx *store.Tx) error {
					if err := one(tx); err != nil {
						t.Errorf("%s: %v", first, err)
					}
					err := two(tx)
					if err == nil {
						t.Errorf("%s after %s was carried out", second, first)
					}
					return err
				})
				if err == nil || errors.Is(err, store.ErrUnavailable) {
					t.Errorf("%s after %s: WriteOne returned %v", second, first, err)
				}
			}
		}
		err := db.WriteOne(t.Context(), home, func(tx *store.Tx) error { return tx.AddUser(newUser("bob@example.com")) })
		if err == nil {
			t.Error("a user was added, which takes two statements")
		}
	})
}

func TestWriteOne_tellsDuplicatesAndRefusals(t *testing.T) {
	refused := errors.New("refused")
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		u := addUser(t, db, "ada@example.com")
		cred := store.Credential{ID: store.NewCredentialID(), UserID: u.ID, Kind: "k", Lookup: []byte("l"), Data: []byte("1")}
		add := func(tx *store.Tx) error { return tx.AddCredential(cred) }
		if err := db.WriteOne(t.Context(), home, add); err != nil {
			t.Fatal(err)
		}
		cred.Data = []byte("2")
		if err := db.WriteOne(t.Context(), home, add); !errors.Is(err, store.ErrDuplicate) {
			t.Errorf("a second credential of one key: %v, want ErrDuplicate", err)
		}
		err := db.WriteOne(t.Context(), home, func(tx *store.Tx) error {
			_, err := tx.Credential("k", []byte("none"))
			return err
		})
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("what is not there: %v, want ErrNotFound", err)
		}
		if err := db.WriteOne(t.Context(), home, func(*store.Tx) error { return refused }); !errors.Is(err, refused) {
			t.Errorf("a refusal: %v, want it as it is", err)
		}
		s := store.Session{ID: store.NewSessionID(), UserID: store.NewUserID(), AMR: []byte(`[]`)}
		if err := db.WriteOne(t.Context(), home, func(tx *store.Tx) error { return tx.AddSession(s) }); err == nil {
			t.Error("a session of nobody was added")
		}
		read(t, db, func(tx *store.Tx) error {
			got, err := tx.Credential("k", []byte("l"))
			if string(got.Data) != "1" {
				t.Errorf("the credential holds %q, want that of the first", got.Data)
			}
			return err
		})
	})
}
