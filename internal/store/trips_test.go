package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"gatehouse/internal/store"
)

// A database is a network away, so that the time of an operation is the number
// of its round trips. Whoever changes one of these figures changes what
// everybody waits for.
func TestTrips_ofTheHotOperations(t *testing.T) {
	onServers(t, func(t *testing.T, _, url string) {
		r := relayed(t, url)
		db := node(t, store.Options{URL: r.url, MaxConns: 1})
		ada := addUser(t, db, "ada@example.com")
		s := addSession(t, db, ada.ID)
		write(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.AddPassword(ada.ID, []byte("hash")),
				tx.AddIdentity(store.Identity{ID: store.NewIdentityID(), UserID: ada.ID, Provider: "email", Subject: "ada", Data: []byte(`{}`)}))
		})
		generation := int64(0)
		event := store.Event{Name: "hello", UserID: ada.ID, Data: []byte(`{}`)}
		n := 0
		person := func() store.User { n++; return newUser(fmt.Sprint("new", n, "@example.com")) }
		for _, op := range []struct {
			what string
			want int64
			run  func() error
		}{
			{"a Read of nothing", 0, func() error { return db.Read(t.Context(), home, func(*store.Tx) error { return nil }) }},
			{"a Write of nothing", 0, func() error { return db.Write(t.Context(), home, func(*store.Tx) error { return nil }) }},
			{"a Write that refuses before it asks", 0, func() error {
				err := db.Write(t.Context(), home, func(tx *store.Tx) error { return errors.Join(tx.AddEvent(event), errUndo) })
				if errors.Is(err, errUndo) {
					return nil
				}
				return err
			}},
			{"a call with an access token: SessionUser", 1, func() error {
				return db.Read(t.Context(), home, func(tx *store.Tx) error { _, _, err := tx.SessionUser(s.ID); return err })
			}},
			{"a refresh: WriteOne of Rotate", 1, func() error {
				generation++
				return db.WriteOne(t.Context(), home, func(tx *store.Tx) error {
					won, err := tx.Rotate(s.ID, generation, "192.0.2.1", "agent")
					if err == nil && !won {
						err = errors.New("not rotated")
					}
					return err
				})
			}},
			{"a sign-in's look-up: KnownByEmail", 1, func() error {
				return db.Read(t.Context(), home, func(tx *store.Tx) error { _, err := tx.KnownByEmail(ada.Email); return err })
			}},
			// A sign-in is four with these two and its Write: what is counted before the
			// password is compared must be there before, for all nodes.
			{"a sign-in's look-up, with whether they were here before: KnownByEmailFrom", 1, func() error {
				return db.Read(t.Context(), home, func(tx *store.Tx) error { _, err := tx.KnownByEmailFrom(ada.Email, "192.0.2.1"); return err })
			}},
			{"a sign-in's try, of one who has not failed: CountFailure", 1, func() error {
				n++
				return second(db.CountFailure(t.Context(), home, "passwords", fmt.Append(nil, "subject ", n), slow))
			}},
			{"a request of a client who has asked before: Take", 1, func() error {
				return second(db.Take(t.Context(), home, "requests", []byte("ada"), 1, time.Second, time.Hour))
			}},
			{"requests of many clients, counted afterwards: all together, then the commit", 2, func() error {
				var list []store.Charge
				for i := range 40 {
					list = append(list, store.Charge{Tenant: home, Name: "requests", Subject: fmt.Append(nil, i), N: 2, Cost: time.Second, Full: db.Now(), Far: time.Hour})
				}
				return second(db.Charge(t.Context(), list))
			}},
			{"a sign-in's Write: hold and read, then all that it writes and the commit", 2, func() error {
				return db.Write(t.Context(), home, func(tx *store.Tx) error {
					u, _, err := tx.UserPassword(ada.ID)
					if err != nil {
						return err
					}
					u.LastSignInAt = tx.Now
					next := store.Session{ID: store.NewSessionID(), UserID: u.ID, Generation: 1, AMR: []byte(`[]`), CreatedAt: tx.Now, RefreshedAt: tx.Now}
					return errors.Join(tx.AddSession(next), tx.CapSessions(u.ID, 10, store.SessionID{}, "too many"), tx.SetUser(&u), tx.SetIdentitySignIn(u.ID, "email"), tx.AddEvent(event), tx.ClearFailures("passwords", u.ID[:]))
				})
			}},
			{"a sign-up that needs no mail: one for all", 1, func() error {
				u := person()
				return db.Write(t.Context(), home, func(tx *store.Tx) error {
					return errors.Join(tx.AddUser(u), tx.AddPassword(u.ID, []byte("hash")), tx.AddEvent(event),
						tx.AddIdentity(store.Identity{ID: store.NewIdentityID(), UserID: u.ID, Provider: "email", Subject: u.ID.String(), Data: []byte(`{}`)}))
				})
			}},
			{"a sign-up with its mail: one up to the question's row count, one for the rest", 2, func() error {
				u := person()
				return db.Write(t.Context(), home, func(tx *store.Tx) error {
					return errors.Join(tx.AddUser(u),
						tx.AddIdentity(store.Identity{ID: store.NewIdentityID(), UserID: u.ID, Provider: "email", Subject: u.ID.String(), Data: []byte(`{}`)}),
						tx.AddPassword(u.ID, []byte("hash")), tx.AddEvent(event),
						tx.SetChallenge(newChallenge(db, u.ID, "confirmation", u.ID.String()), time.Hour),
						tx.AddDelivery(store.Delivery{ID: store.NewDeliveryID(), Kind: store.DeliverMail, Body: []byte("sealed"), ExpiresAt: tx.Now.Add(time.Hour)}))
				})
			}},
			{"a worker's look that finds nothing to do: NextDelivery", 1, func() error {
				return db.Read(t.Context(), home, func(tx *store.Tx) error { _, err := tx.NextDelivery(); return err })
			}},
			{"a counted request: its counter, then the commit", 2, func() error {
				return db.Write(t.Context(), home, func(tx *store.Tx) error { return second(tx.Count("sms", ada.ID[:], time.Hour, 1000)) })
			}},
			{"a message that is counted twice and queued", 3, func() error {
				return db.Write(t.Context(), home, func(tx *store.Tx) error {
					return errors.Join(second(tx.Count("mail recovery", ada.ID[:], time.Hour, 1000)), second(tx.Count("mails", ada.ID[:], time.Hour, 1000)),
						tx.AddDelivery(store.Delivery{ID: store.NewDeliveryID(), Kind: store.DeliverTask, Body: []byte("sealed"), ExpiresAt: tx.Now.Add(time.Hour)}))
				})
			}},
			{"a list of sessions: SessionsOf", 1, func() error {
				return db.Read(t.Context(), home, func(tx *store.Tx) error { return second(tx.SessionsOf(ada.ID, true, 100)) })
			}},
			{"a lease: asked for, then the commit", 2, func() error {
				return db.Write(t.Context(), home, func(tx *store.Tx) error {
					_, err := tx.Lease(store.LeaseSweep, store.Holder{1}, time.Minute)
					return err
				})
			}},
			{"a page of users: how many, and which", 2, func() error {
				return db.Read(t.Context(), home, func(tx *store.Tx) error { _, _, err := tx.UserPage(store.UserFilter{Limit: 10}); return err })
			}},
		} {
			// The first time prepares what is kept prepared.
			for range 2 {
				if err := op.run(); err != nil {
					t.Fatalf("%s: %v", op.what, err)
				}
			}
			var err error
			got := r.count(func() { err = op.run() })
			if got != op.want || err != nil {
				t.Errorf("%s takes %d round trips, %v; want %d", op.what, got, err, op.want)
			}
		}
	})
}
