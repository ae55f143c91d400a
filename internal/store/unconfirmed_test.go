package store_test

import (
	"testing"
	"time"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

func TestSweepUnconfirmed_takesThoseWhoNeverAnswered(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		const hour = time.Hour
		people := map[string]store.User{}
		// join makes a user who was asked to confirm; by is who made them.
		join := func(tenant store.TenantID, name, by string, change func(*store.User)) {
			t.Helper()
			u := newUser(name + "@example.com")
			u.EmailVerifiedAt = time.Time{}
			if change != nil {
				change(&u)
			}
			if by == "" {
				by = u.ID.String()
			}
			people[name] = u
			err := db.Write(t.Context(), tenant, func(tx *store.Tx) error {
				err := tx.AddUser(u)
				if err == nil {
					err = tx.SetChallenge(newChallengeIn(tx, u.ID, "confirmation", "token of "+name, hour), 0)
				}
				if err == nil {
					err = tx.AddEvent(store.Event{Name: "user.signed_up", Actor: by, UserID: u.ID, Data: []byte(`{}`)})
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		join(home, "gone", "", nil)
		join(storetest.Other(), "goneThere", "", nil)
		join(home, "proved", "", func(u *store.User) { u.EmailVerifiedAt = clock.Now() })
		join(home, "invited", "", func(u *store.User) { u.InvitedAt = clock.Now() })
		join(home, "was in", "", func(u *store.User) { u.LastSignInAt = clock.Now() })
		join(home, "made", "operator", nil)
		join(home, "asked again", "", nil)
		clock.Advance(70 * hour)
		write(t, db, func(tx *store.Tx) error {
			return tx.SetChallenge(newChallengeIn(tx, people["asked again"].ID, "confirmation", "another token", 24*hour), 0)
		})
		join(home, "young", "", nil)
		clock.Advance(10 * hour)

		looked := 0
		for n := 1; n > 0 && looked < 20; looked++ {
			write(t, db, func(tx *store.Tx) (err error) {
				n, err = tx.SweepUnconfirmed(2, tx.Now.Add(-72*hour), "user.signed_up", store.Event{Name: "user.deleted", Actor: "system", Data: []byte(`{}`)})
				return err
			})
		}
		if looked >= 20 {
			t.Error("the sweep finds the same rows for ever")
		}
		for name, u := range people {
			tenant, want := home, name != "gone"
			if name == "goneThere" {
				tenant, want = storetest.Other(), false
			}
			err := db.Read(t.Context(), tenant, func(tx *store.Tx) error {
				_, err := tx.User(u.ID)
				return err
			})
			if (err == nil) != want {
				t.Errorf("%s: %v; want them there: %v", name, err, want)
			}
			events := 0
			err = db.Read(t.Context(), tenant, func(tx *store.Tx) error {
				list, err := tx.EventsOf(u.ID, 10)
				events = len(list)
				return err
			})
			if told := events == 2; err != nil || told == want {
				t.Errorf("%s: %d events, %v", name, events, err)
			}
		}
	})
}

// newChallengeIn is a question that lives for so long.
func newChallengeIn(tx *store.Tx, user store.UserID, kind, token string, life time.Duration) store.Challenge {
	return store.Challenge{
		ID: store.NewChallengeID(), Kind: kind, Subject: user[:], UserID: user, TokenHash: []byte(token), CodeHash: []byte{}, SentTo: "x",
		Data: []byte("{}"), ExpiresAt: tx.Now.Add(life), CodeExpiresAt: tx.Now.Add(life),
	}
}
