package store_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

func TestSessionsOf_newestFirstUpToALimit(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		u, other := addUser(t, db, "ada@example.com"), addUser(t, db, "bob@example.com")
		// Oldest first; the node that opened the second had a clock that was behind
		// when it made the id, and of one instant the greater id is the newer.
		ids := []store.SessionID{{0: 5}, {0: 1}, {0: 2}, {0: 3}, {0: 6}}
		write(t, db, func(tx *store.Tx) error {
			var errs []error
			for i, at := range []time.Duration{0, 1, 2, 2, 3} {
				errs = append(errs, tx.AddSession(store.Session{ID: ids[i], UserID: u.ID, Generation: 1, AMR: []byte(`[]`), CreatedAt: clock.Now().Add(at * time.Minute)}))
			}
			return errors.Join(errs...)
		})
		addSession(t, db, other.ID)
		write(t, db, func(tx *store.Tx) error {
			return errors.Join(second(tx.EndSession(ids[1], "out")), second(tx.EndSession(ids[4], "out")))
		})
		newest := func(at ...int) (list []store.SessionID) {
			for _, i := range at {
				list = append(list, ids[i])
			}
			return list
		}
		for _, c := range []struct {
			ended bool
			limit int
			want  []store.SessionID
		}{
			{false, 10, newest(3, 2, 0)},
			{false, 2, newest(3, 2)},
			{true, 10, newest(4, 3, 2, 1, 0)},
			{true, 1, newest(4)},
			{true, 0, nil},
		} {
			read(t, db, func(tx *store.Tx) error {
				list, err := tx.SessionsOf(u.ID, c.ended, c.limit)
				var got []store.SessionID
				for _, s := range list {
					got = append(got, s.ID)
					if s.UserID != u.ID || s.EndedAt.IsZero() != (s.EndReason == "") {
						t.Errorf("a session in the list: %+v", s)
					}
				}
				if !slices.Equal(got, c.want) {
					t.Errorf("ended too %v, up to %d: %v, want %v", c.ended, c.limit, got, c.want)
				}
				return err
			})
		}
		read(t, db, func(tx *store.Tx) error {
			list, err := tx.SessionsOf(store.NewUserID(), true, 10)
			if len(list) != 0 {
				t.Errorf("nobody has the sessions %v", list)
			}
			return err
		})
	})
}

func TestNameSession_namesOnesOwnLivingSessionAndNoOther(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		ada, bob := addUser(t, db, "ada@example.com"), addUser(t, db, "bob@example.com")
		mine, ended, his := addSession(t, db, ada.ID), addSession(t, db, ada.ID), addSession(t, db, bob.ID)
		write(t, db, func(tx *store.Tx) error { return second(tx.EndSession(ended.ID, "out")) })
		name := func(id store.SessionID, text string) (did bool) {
			t.Helper()
			write(t, db, func(tx *store.Tx) (err error) {
				did, err = tx.NameSession(id, ada.ID, text)
				return err
			})
			return did
		}
		for what, id := range map[string]store.SessionID{"one that has ended": ended.ID, "another user's": his.ID, "none": store.NewSessionID()} {
			if name(id, "stolen") {
				t.Errorf("%s was named", what)
			}
		}
		for range 2 { // the same name again is no failure
			if !name(mine.ID, "my laptop") {
				t.Error("a session of hers was not named")
			}
		}
		read(t, db, func(tx *store.Tx) error {
			var errs []error
			for id, want := range map[store.SessionID]string{mine.ID: "my laptop", ended.ID: "", his.ID: ""} {
				s, err := tx.Session(id)
				if s.Name != want {
					t.Errorf("session %s is called %q, want %q", id, s.Name, want)
				}
				errs = append(errs, err)
			}
			return errors.Join(errs...)
		})
		if !name(mine.ID, "") {
			t.Error("a name was not taken away")
		}
	})
}

func TestEndSession_endsTheLivingOnceAndNoOther(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		u := addUser(t, db, "ada@example.com")
		s, other := addSession(t, db, u.ID), addSession(t, db, u.ID)
		at := clock.Now()
		for i, want := range []bool{true, false} {
			write(t, db, func(tx *store.Tx) error {
				did, err := tx.EndSession(s.ID, fmt.Sprint("reason ", i))
				if did != want {
					t.Errorf("ended it for the time %d: %v, want %v", i+1, did, want)
				}
				return err
			})
			clock.Advance(time.Minute)
		}
		read(t, db, func(tx *store.Tx) error {
			got, err := tx.Session(s.ID)
			alive, err2 := tx.Session(other.ID)
			if got.EndReason != "reason 0" || !got.EndedAt.Equal(at) || !alive.EndedAt.IsZero() {
				t.Errorf("it ended at %v for %q, and the other at %v", got.EndedAt, got.EndReason, alive.EndedAt)
			}
			return errors.Join(err, err2)
		})
	})
}

func TestDeviceKnown_goesByTheUsersOwnSessions(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		ada, bob := addUser(t, db, "ada@example.com"), addUser(t, db, "bob@example.com")
		open := func(u store.UserID, device string) {
			t.Helper()
			write(t, db, func(tx *store.Tx) error {
				return tx.AddSession(store.Session{ID: store.NewSessionID(), UserID: u, Generation: 1, AMR: []byte(`[]`), CreatedAt: tx.Now, RefreshedAt: tx.Now, Device: device})
			})
		}
		check := func(when, device string, wantKnown, wantOthers bool) {
			t.Helper()
			read(t, db, func(tx *store.Tx) error {
				known, others, err := tx.DeviceKnown(ada.ID, device)
				if known != wantKnown || others != wantOthers {
					t.Errorf("%s: %q is known %v, and any %v; want %v and %v", when, device, known, others, wantKnown, wantOthers)
				}
				return err
			})
		}
		open(bob.ID, "Firefox on Linux")
		check("before her first session", "Firefox on Linux", false, false)
		open(ada.ID, "")
		check("with a session of an older program's", "Firefox on Linux", false, false)
		check("with a session of an older program's", "", true, false)
		open(ada.ID, "Safari on iOS")
		open(ada.ID, "Safari on iOS")
		check("with one device", "Safari on iOS", true, true)
		check("with one device", "safari on iOS", false, true)
		check("with one device", "Firefox on Linux", false, true)
		write(t, db, func(tx *store.Tx) error { return second(tx.EndSessions(ada.ID, store.SessionID{}, "out")) })
		check("after signing out", "Safari on iOS", true, true)
	})
}

func TestDropIdentity_dropsOneAndNoOther(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		u := addUser(t, db, "ada@example.com")
		var ids []store.IdentityID
		for _, p := range []string{"email", "apple", "phone"} {
			id := store.NewIdentityID()
			ids = append(ids, id)
			write(t, db, func(tx *store.Tx) error {
				return tx.AddIdentity(store.Identity{ID: id, UserID: u.ID, Provider: p, Subject: "ada", Data: []byte(`{}`), CreatedAt: tx.Now})
			})
		}
		write(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.DropIdentity(ids[1]), tx.DropIdentity(store.NewIdentityID()))
		})
		read(t, db, func(tx *store.Tx) error {
			got, err := tx.User(u.ID)
			var left []string
			for _, i := range got.Identities {
				left = append(left, i.Provider)
			}
			slices.Sort(left)
			if !slices.Equal(left, []string{"email", "phone"}) {
				t.Errorf("left are %q, want email and phone", left)
			}
			return err
		})
	})
}

func TestUserByPhone_findsItsOwnerByEveryDigit(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		nobody, ada := addUser(t, db, "nobody@example.com"), newUser("")
		ada.Phone, ada.PhoneVerifiedAt = "491512345678", clock.Now()
		write(t, db, func(tx *store.Tx) error { return errors.Join(tx.AddUser(ada), tx.AddPassword(ada.ID, []byte("hash"))) })
		read(t, db, func(tx *store.Tx) error {
			u, err := tx.UserByPhone(ada.Phone)
			who, err2 := tx.KnownByPhone(ada.Phone)
			taken, err3 := tx.PhoneTaken(ada.Phone)
			if u.ID != ada.ID || !taken {
				t.Errorf("by her number: %s, taken %v; want %s", u.ID, taken, ada.ID)
			}
			if who.ID != ada.ID || string(who.Hash) != "hash" || !who.PhoneVerifiedAt.Equal(clock.Now()) || !who.EmailVerifiedAt.IsZero() {
				t.Errorf("known by her number: %+v", who)
			}
			for _, number := range []string{"", "49151234567", "4915123456789", " 491512345678", "+491512345678"} {
				_, err := tx.UserByPhone(number)
				_, err2 := tx.KnownByPhone(number)
				taken, err3 := tx.PhoneTaken(number)
				if !errors.Is(err, store.ErrNotFound) || !errors.Is(err2, store.ErrNotFound) || err3 != nil || taken {
					t.Errorf("%q: %v, %v, taken %v, %v; want nobody", number, err, err2, taken, err3)
				}
			}
			_, err4 := tx.KnownByEmail("")
			if !errors.Is(err4, store.ErrNotFound) {
				t.Errorf("no address: %v; want nobody", err4)
			}
			plain, err5 := tx.KnownByEmail(nobody.Email)
			if plain.ID != nobody.ID || len(plain.Hash) != 0 || !plain.EmailVerifiedAt.IsZero() {
				t.Errorf("without a password: %+v", plain)
			}
			return errors.Join(err, err2, err3, err5)
		})
		err := db.Write(t.Context(), home, func(tx *store.Tx) error {
			second := newUser("eve@example.com")
			second.Phone = ada.Phone
			return tx.AddUser(second)
		})
		if !errors.Is(err, store.ErrDuplicate) {
			t.Errorf("a second user of her number: %v, want ErrDuplicate", err)
		}
	})
}

func TestUserPage_findsNumbersWithAndWithoutPlus(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		ada := newUser("")
		ada.Phone = "491512345678"
		write(t, db, func(tx *store.Tx) error { return tx.AddUser(ada) })
		addUser(t, db, "a+1512@example.com")
		for contains, want := range map[string]int{"+4915": 1, "4915": 1, "1512": 2, "+1512": 2, "a+15": 1, "4+9": 0, "+9915": 0} {
			read(t, db, func(tx *store.Tx) error {
				page, n, err := tx.UserPage(store.UserFilter{Contains: contains, Limit: 10})
				if n != want || len(page) != want {
					t.Errorf("%q is found in %d of %d users, want %d", contains, len(page), n, want)
				}
				return err
			})
		}
	})
}

func TestChallenge_returnsTheNewestUsedOrNot(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		u := addUser(t, db, "ada@example.com")
		q := addChallenge(t, db, newChallenge(db, u.ID, "recovery", "one"))
		check := func(want store.ChallengeID) {
			t.Helper()
			read(t, db, func(tx *store.Tx) error {
				got, err := tx.Challenge(q.Kind, q.Subject)
				if got.ID != want {
					t.Errorf("got %s, want %s", got.ID, want)
				}
				_, other := tx.Challenge("invite", q.Subject)
				if !errors.Is(other, store.ErrNotFound) {
					t.Errorf("of another kind: %v, want ErrNotFound", other)
				}
				return err
			})
		}
		check(q.ID)
		write(t, db, func(tx *store.Tx) error { return second(tx.UseChallenge(q.ID, q.Kind, q.Subject)) })
		check(q.ID)
		next := addChallenge(t, db, newChallenge(db, u.ID, "recovery", "two"))
		check(next.ID)
	})
}

// Ids of what does not exist look like any other's and are the same each time.
func TestUserIDOf_looksLikeAnyOther(t *testing.T) {
	seen := map[string]bool{}
	for i := range 256 {
		b := [32]byte{byte(i), 6: byte(i), 8: byte(i), 31: byte(i)}
		u, id := store.UserIDOf(b), store.IdentityIDOf(b)
		if u != store.UserIDOf(b) || u.String() != id.String() || seen[u.String()] {
			t.Errorf("%x makes %s and %s", b, u, id)
		}
		seen[u.String()] = true
		parsed, err := store.ParseUserID(u.String())
		other, err2 := store.ParseIdentityID(id.String())
		if parsed != u || other != id || err != nil || err2 != nil {
			t.Errorf("%s is read as %s and %s, %v, %v", u, parsed, other, err, err2)
		}
		if u[6]>>4 != 4 || u[8]>>6 != 2 {
			t.Errorf("%s is not of version 4", u)
		}
	}
}
