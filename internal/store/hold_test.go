package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

// SetUser writes the whole row. Two who change different fields of one user at
// an instant, on two nodes, must not write back what the other has changed:
// whatever statement a Write read the user by.
func TestWrite_losesNoChangeOfAUserThatItRead(t *testing.T) {
	const rounds = 25 // by each of 8
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		nodes := []*store.DB{db, storetest.Again(t, db)}
		u := addUser(t, db, "ada@example.com")
		u.Phone = "491512345678"
		s := addSession(t, db, u.ID)
		write(t, db, func(tx *store.Tx) error {
			return errors.Join(
				tx.SetUser(&u),
				tx.AddPassword(u.ID, []byte("hash")),
				tx.AddIdentity(store.Identity{ID: store.NewIdentityID(), UserID: u.ID, Provider: "email", Subject: "ada", Data: []byte(`{}`)}),
				tx.AddIdentity(store.Identity{ID: store.NewIdentityID(), UserID: u.ID, Provider: "apple", Subject: "ada", Data: []byte(`{}`)}))
		})
		tick := func(at *time.Time) { *at = time.UnixMicro(at.UnixMicro()*sign(!at.IsZero()) + 1).UTC() }
		ways := []struct {
			name   string
			read   func(tx *store.Tx) (store.User, error)
			change func(u *store.User)
			got    func(u store.User) int64
		}{
			{
				"User", func(tx *store.Tx) (store.User, error) { return tx.User(u.ID) },
				func(u *store.User) { u.AppMetadata = countUp(u.AppMetadata) },
				func(u store.User) int64 { return counted(u.AppMetadata) },
			},
			{
				"UserByEmail", func(tx *store.Tx) (store.User, error) { return tx.UserByEmail(u.Email) },
				func(u *store.User) { u.UserMetadata = countUp(u.UserMetadata) },
				func(u store.User) int64 { return counted(u.UserMetadata) },
			},
			{
				"SessionUser", func(tx *store.Tx) (store.User, error) { _, u, err := tx.SessionUser(s.ID); return u, err },
				func(u *store.User) { tick(&u.RecoverySentAt) },
				func(u store.User) int64 { return u.RecoverySentAt.UnixMicro() },
			},
			{
				"UserPassword", func(tx *store.Tx) (store.User, error) { u, _, err := tx.UserPassword(u.ID); return u, err },
				func(u *store.User) { tick(&u.BannedUntil) },
				func(u store.User) int64 { return u.BannedUntil.UnixMicro() },
			},
			{
				"UserByPhone", func(tx *store.Tx) (store.User, error) { return tx.UserByPhone(u.Phone) },
				func(u *store.User) { u.VerifiedFactors++ },
				func(u store.User) int64 { return int64(u.VerifiedFactors) },
			},
		}
		var group sync.WaitGroup
		for _, way := range ways {
			for _, node := range nodes {
				group.Go(func() {
					for range rounds {
						err := node.Write(t.Context(), home, func(tx *store.Tx) error {
							u, err := way.read(tx)
							if err != nil {
								return err
							}
							way.change(&u)
							return tx.SetUser(&u)
						})
						if err != nil {
							t.Errorf("%s: %v", way.name, err)
							return
						}
					}
				})
			}
		}
		group.Wait()
		read(t, db, func(tx *store.Tx) error {
			after, err := tx.User(u.ID)
			for _, way := range ways {
				if got, want := way.got(after), int64(rounds*len(nodes)); got != want {
					t.Errorf("read by %s: %d of %d changes stand", way.name, got, want)
				}
			}
			return err
		})
	})
}

// sign is 1 or 0.
func sign(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}

// countUp adds one to the number n in a JSON object, and counted reads it.
func countUp(object []byte) []byte { return fmt.Appendf(nil, `{"n":%d}`, counted(object)+1) }

func counted(object []byte) int64 {
	var o struct{ N int64 }
	_ = json.Unmarshal(object, &o) // an empty one counts nothing
	return o.N
}

// Who only reads waits for nobody, whatever is being written.
func TestRead_waitsForNoWriter(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		u := addUser(t, db, "ada@example.com")
		s := addSession(t, db, u.ID)
		other := storetest.Again(t, db)
		write(t, db, func(tx *store.Tx) error {
			held, err := tx.User(u.ID)
			if err != nil {
				return err
			}
			held.Role = "chief"
			err = tx.SetUser(&held)
			if err != nil {
				return err
			}
			_, err = tx.User(u.ID) // now it is at the server
			if err != nil {
				return err
			}
			for _, node := range []*store.DB{db, other} {
				err := node.Read(t.Context(), home, func(tx *store.Tx) error {
					_, seen, err := tx.SessionUser(s.ID)
					if seen.Role != "member" {
						t.Errorf("a reader saw the role %q, which is not committed", seen.Role)
					}
					_, _, err2 := tx.UserPassword(u.ID)
					_, err3 := tx.KnownByEmail(u.Email)
					_, _, err4 := tx.DeviceKnown(u.ID, "")
					_, err5 := tx.SessionsOf(u.ID, true, 10)
					return errors.Join(err, err2, err3, err4, err5)
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
}
