package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

func TestCapSessions_keepsTheNewestLiving(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		for _, c := range []struct{ living, ended, limit, want int }{
			{7, 3, 1, 1},
			{7, 3, 3, 3},
			{7, 0, 6, 6},
			{7, 3, 7, 7},
			{7, 3, 8, 7},  // the ended ones fill no place
			{2, 9, 2, 2},  // nor do they, where they are newer
			{0, 3, 1, 0},  // none to end
			{1, 0, 50, 1}, // far from it
		} {
			name := fmt.Sprintf("%d living and %d ended, at most %d", c.living, c.ended, c.limit)
			u, bob := addUser(t, db, "u "+name), addUser(t, db, "bob "+name)
			ids := make([]store.SessionID, c.living+c.ended)
			for i := range ids {
				ids[i] = store.NewSessionID()
			}
			slices.SortFunc(ids, func(a, b store.SessionID) int { return bytes.Compare(a[:], b[:]) })
			living := map[store.SessionID]bool{}
			for i, at := range rand.Perm(len(ids)) { // neither in the order of rows nor all at the end
				living[ids[at]] = i < c.living
			}
			his := []store.Session{addSession(t, db, bob.ID), addSession(t, db, bob.ID)}
			write(t, db, func(tx *store.Tx) error {
				for id, alive := range living {
					err := tx.AddSession(store.Session{ID: id, UserID: u.ID, Generation: 1, AMR: []byte(`[]`)})
					if err == nil && !alive {
						_, err = tx.EndSession(id, "before")
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
			clock.Advance(time.Minute)
			write(t, db, func(tx *store.Tx) error { return tx.CapSessions(u.ID, c.limit, store.SessionID{}, "too many") })

			read(t, db, func(tx *store.Tx) error {
				left := c.want
				for _, id := range slices.Backward(ids) {
					want := "before"
					if living[id] {
						want = "too many"
						if left > 0 {
							want, left = "", left-1
						}
					}
					s, err := tx.Session(id)
					if err != nil || s.EndReason != want || s.EndedAt.IsZero() != (want == "") || want == "too many" && !s.EndedAt.Equal(clock.Now()) {
						t.Errorf("%s: session %s ended at %v for %q, %v; want %q", name, id, s.EndedAt, s.EndReason, err, want)
					}
				}
				for _, s := range his {
					s, err := tx.Session(s.ID)
					if err != nil || s.EndReason != "" {
						t.Errorf("%s: another user's session ended for %q, %v", name, s.EndReason, err)
					}
				}
				return nil
			})
		}
	})
}

// Many who sign in as one user at an instant, on two nodes, leave as many
// sessions as may be, and the newest of those that were added is among them.
func TestCapSessions_holdsForManyAtOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		nodes := []*store.DB{db, storetest.Again(t, db)}
		u := addUser(t, db, "ada@example.com")
		var added [24]store.SessionID
		won := raceOn(t, nodes, len(added), func(i int, tx *store.Tx) (bool, error) {
			_, _, err := tx.UserPassword(u.ID) // as a sign-in does
			if err != nil {
				return false, err
			}
			added[i] = store.NewSessionID()
			return true, errors.Join(
				tx.AddSession(store.Session{ID: added[i], UserID: u.ID, Generation: 1, AMR: []byte(`[]`)}),
				tx.CapSessions(u.ID, 3, store.SessionID{}, "too many"))
		})
		living := 0
		read(t, db, func(tx *store.Tx) error {
			for _, id := range added {
				s, err := tx.Session(id)
				if err != nil {
					return err
				}
				if s.EndReason == "" {
					living++
				}
			}
			return nil
		})
		if won != len(added) || living != 3 {
			t.Errorf("%d of %d signed in, %d sessions live; want all and 3", won, len(added), living)
		}
	})
}
