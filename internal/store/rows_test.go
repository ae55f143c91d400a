package store_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

// Addresses, keys and hashes are compared byte by byte: where a database
// thinks that Ada and ADA are one, one of them can be the other.
func TestTx_looksUpByteForByte(t *testing.T) {
	twins := []string{"ada@example.com", "Ada@example.com", "ada@EXAMPLE.com", "ada@example.com ", "ada@example.com\x01", "ad\u00e1@example.com", "ada\u0301@example.com", "ad\u0430@example.com"}
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		ids := map[string]store.UserID{}
		for _, e := range twins {
			u := addUser(t, db, e)
			ids[e] = u.ID
			write(t, db, func(tx *store.Tx) error {
				return errors.Join(
					tx.AddCredential(store.Credential{ID: store.NewCredentialID(), UserID: u.ID, Kind: "passkey", Lookup: []byte(e), Data: []byte("{}")}),
					tx.AddIdentity(store.Identity{ID: store.NewIdentityID(), UserID: u.ID, Provider: "email", Subject: e, Data: []byte("{}")}),
					tx.SetChallenge(newChallenge(db, u.ID, e, e), time.Hour),
				)
			})
		}
		for _, e := range twins {
			read(t, db, func(tx *store.Tx) error {
				u, err := tx.UserByEmail(e)
				if err != nil || u.ID != ids[e] || len(u.Identities) != 1 || u.Identities[0].Subject != e {
					t.Errorf("UserByEmail(%q) = %s with %v, %v; want %s", e, u.ID, u.Identities, err, ids[e])
				}
				c, err := tx.Credential("passkey", []byte(e))
				if err != nil || c.UserID != ids[e] {
					t.Errorf("Credential(%q) is of %s, %v; want %s", e, c.UserID, err, ids[e])
				}
				q, _, err := tx.TokenChallenge([]byte(e))
				if err != nil || q.UserID != ids[e] {
					t.Errorf("TokenChallenge(%q) is of %s, %v; want %s", e, q.UserID, err, ids[e])
				}
				return nil
			})
		}
		for _, e := range []string{"", "ADA@example.com", " ada@example.com", "ada@example.co_", "%", "ada@example.com' OR 1=1 --"} {
			read(t, db, func(tx *store.Tx) error {
				u, err := tx.UserByEmail(e)
				if !errors.Is(err, store.ErrNotFound) {
					t.Errorf("UserByEmail(%q) = %s, %v; want ErrNotFound", e, u.ID, err)
				}
				_, err = tx.KnownByEmail(e)
				if !errors.Is(err, store.ErrNotFound) {
					t.Errorf("KnownByEmail(%q): %v; want ErrNotFound", e, err)
				}
				return nil
			})
		}
	})
}

func TestTx_manyUsersHaveNoAddress(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		for range 3 {
			u := addUser(t, db, "")
			read(t, db, func(tx *store.Tx) error {
				got, err := tx.User(u.ID)
				if got.Email != "" || got.Phone != "" {
					t.Errorf("got address %q and number %q, want none", got.Email, got.Phone)
				}
				return err
			})
		}
	})
}

func TestTx_everyFieldOfAUserSurvives(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		at := clock.Now()
		tick := func() time.Time { at = at.Add(time.Hour + time.Microsecond); return at }
		u := store.User{
			ID: store.NewUserID(), Aud: "web", Role: "member", Email: "ada@example.com", EmailVerifiedAt: tick(),
			Phone: "4915112345678", PhoneVerifiedAt: tick(), NewEmail: "a@example.org", EmailChangeProved: store.NewAddress,
			EmailChangeSentAt: tick(), ConfirmationSentAt: tick(), RecoverySentAt: tick(), ReauthenticationSentAt: tick(),
			InvitedAt: tick(), LastSignInAt: tick(), BannedUntil: tick(), DeletedAt: tick(), IsAnonymous: true,
			NewPhone: "4915187654321", PhoneChangeSentAt: tick(), VerifiedFactors: 3,
			AppMetadata: []byte(`{"a":1}`), UserMetadata: []byte(`{"u":"ü\u0000"}`), CreatedAt: tick(), UpdatedAt: tick(),
		}
		write(t, db, func(tx *store.Tx) error { return tx.AddUser(u) })
		check := func() {
			t.Helper()
			read(t, db, func(tx *store.Tx) error {
				got, err := tx.User(u.ID)
				if diff := cmp.Diff(u, got); diff != "" {
					t.Errorf("the user came back otherwise (-want +got):\n%s", diff)
				}
				return err
			})
		}
		check()

		clock.Advance(time.Minute)
		u = store.User{
			ID: u.ID, Aud: "app", Role: "chief", Email: "b@example.com", EmailVerifiedAt: tick(), Phone: "1", PhoneVerifiedAt: tick(),
			NewEmail: "c@example.org", EmailChangeProved: store.OldAddress, EmailChangeSentAt: tick(), ConfirmationSentAt: tick(),
			RecoverySentAt: tick(), ReauthenticationSentAt: tick(), InvitedAt: tick(), LastSignInAt: tick(), BannedUntil: tick(),
			NewPhone: "2", PhoneChangeSentAt: tick(), VerifiedFactors: 1,
			DeletedAt: tick(), AppMetadata: []byte(`{"a":2}`), UserMetadata: []byte(`{}`), CreatedAt: u.CreatedAt,
		}
		write(t, db, func(tx *store.Tx) error { return tx.SetUser(&u) })
		if !u.UpdatedAt.Equal(clock.Now()) {
			t.Errorf("SetUser set UpdatedAt to %v, want %v", u.UpdatedAt, clock.Now())
		}
		check()
	})
}

func TestTx_instantsSurvive(t *testing.T) {
	east := time.FixedZone("east", 5*3600+1800)
	for _, c := range []struct {
		name     string
		in, want time.Time
	}{
		{"never stays never", time.Time{}, time.Time{}},
		{"microseconds", time.Date(2031, 12, 31, 23, 59, 59, 999_999_000, time.UTC), time.Date(2031, 12, 31, 23, 59, 59, 999_999_000, time.UTC)},
		{"nanoseconds are cut", time.Date(2031, 1, 1, 0, 0, 0, 1_999, time.UTC), time.Date(2031, 1, 1, 0, 0, 0, 1_000, time.UTC)},
		{"another zone", time.Date(2031, 1, 1, 5, 30, 0, 0, east), time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)},
		{"before 1970", time.Date(1901, 1, 1, 0, 0, 0, 1_000, time.UTC), time.Date(1901, 1, 1, 0, 0, 0, 1_000, time.UTC)},
		{"far away", time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)},
	} {
		t.Run(c.name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
				u := newUser("ada@example.com")
				u.BannedUntil = c.in
				write(t, db, func(tx *store.Tx) error { return tx.AddUser(u) })
				read(t, db, func(tx *store.Tx) error {
					got, err := tx.User(u.ID)
					if got := got.BannedUntil; !got.Equal(c.want) || got.Location() != time.UTC {
						t.Errorf("got %v, want %v", got, c.want)
					}
					return err
				})
			})
		})
	}
}

func TestTx_identitiesComeWithTheirUserOldestFirst(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		u := addUser(t, db, "ada@example.com")
		s := addSession(t, db, u.ID)
		var want []store.Identity
		for _, p := range []string{"zebra", "email", "apple"} {
			clock.Advance(time.Second)
			i := store.Identity{
				ID: store.NewIdentityID(), UserID: u.ID, Provider: p, Issuer: "https://" + p, Subject: "s " + p, Email: p + "@example.com",
				Data: []byte(`{"p":1}`), LastSignInAt: clock.Now().Add(time.Hour), CreatedAt: clock.Now(), UpdatedAt: clock.Now(),
			}
			want = append(want, i)
			write(t, db, func(tx *store.Tx) error { return tx.AddIdentity(i) })
		}
		read(t, db, func(tx *store.Tx) error {
			byID, err := tx.User(u.ID)
			_, bySession, err2 := tx.SessionUser(s.ID)
			if diff := cmp.Diff(want, byID.Identities); diff != "" {
				t.Errorf("User (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(byID, bySession); diff != "" {
				t.Errorf("SessionUser's user differs from User's (-want +got):\n%s", diff)
			}
			return errors.Join(err, err2)
		})

		clock.Advance(time.Second)
		want[1].Subject, want[1].Email, want[1].Data, want[1].UpdatedAt = "s2", "new@example.com", []byte(`{}`), clock.Now()
		want[2].LastSignInAt, want[2].UpdatedAt = clock.Now(), clock.Now()
		write(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.SetIdentity(want[1]), tx.SetIdentitySignIn(u.ID, "apple"))
		})
		read(t, db, func(tx *store.Tx) error {
			got, err := tx.User(u.ID)
			if diff := cmp.Diff(want, got.Identities); diff != "" {
				t.Errorf("after the change (-want +got):\n%s", diff)
			}
			return err
		})
	})
}

// A duplicate ends the transaction: on PostgreSQL nothing more would run, so
// nothing may on any engine, and nothing of it stands. When it shows depends on
// the engine, at the latest at the commit.
func TestWrite_duplicateSpendsTheTransaction(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		u := addUser(t, db, "ada@example.com")
		before := newUser("before@example.com")
		for name, later := range map[string]func(tx *store.Tx) error{
			"a write":        func(tx *store.Tx) error { return tx.AddUser(newUser("later@example.com")) },
			"a read of one":  func(tx *store.Tx) error { _, err := tx.CountRole("member"); return err },
			"a read of many": func(tx *store.Tx) error { _, err := tx.User(u.ID); return err },
			"nothing":        func(*store.Tx) error { return nil },
		} {
			err := db.Write(t.Context(), home, func(tx *store.Tx) error {
				err := tx.AddUser(before)
				if err != nil {
					return err
				}
				_ = tx.AddUser(newUser("ada@example.com"))
				_ = later(tx)
				return nil
			})
			if !errors.Is(err, store.ErrDuplicate) {
				t.Errorf("%s after the second user of one address: %v, want ErrDuplicate", name, err)
			}
		}
		read(t, db, func(tx *store.Tx) error {
			_, n, err := tx.UserPage(store.UserFilter{Limit: 10})
			if n != 1 {
				t.Errorf("%d users, want 1: nothing of a spent transaction stands", n)
			}
			return err
		})
	})
}

func TestTx_uniqueKeysAreUnique(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		u := addUser(t, db, "ada@example.com")
		other := addUser(t, db, "bob@example.com")
		id := store.Identity{ID: store.NewIdentityID(), UserID: u.ID, Provider: "p", Issuer: "i", Subject: "s", Data: []byte("{}")}
		cred := store.Credential{ID: store.NewCredentialID(), UserID: u.ID, Kind: "k", Lookup: []byte("l"), Data: []byte("{}")}
		key := store.SigningKey{ID: "kid", Alg: "ES256", Private: []byte("x")}
		addChallenge(t, db, newChallenge(db, u.ID, "recovery", "token"))
		write(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.AddIdentity(id), tx.AddCredential(cred), tx.AddSigningKey(key))
		})
		phone := newUser("")
		phone.Phone = "1"
		write(t, db, func(tx *store.Tx) error { return tx.AddUser(phone) })
		for name, fn := range map[string]func(tx *store.Tx) error{
			"a user's id": func(tx *store.Tx) error {
				return tx.AddUser(store.User{ID: u.ID, AppMetadata: []byte("{}"), UserMetadata: []byte("{}")})
			},
			"an address":     func(tx *store.Tx) error { return tx.AddUser(newUser(u.Email)) },
			"a change to it": func(tx *store.Tx) error { o := other; o.Email = u.Email; return tx.SetUser(&o) },
			"a phone number": func(tx *store.Tx) error { p := phone; p.ID = store.NewUserID(); return tx.AddUser(p) },
			"an identity": func(tx *store.Tx) error {
				i := id
				i.ID, i.UserID = store.NewIdentityID(), other.ID
				return tx.AddIdentity(i)
			},
			"an identity's id": func(tx *store.Tx) error { i := id; i.Subject = "s2"; return tx.AddIdentity(i) },
			"a credential":     func(tx *store.Tx) error { c := cred; c.UserID = other.ID; return tx.AddCredential(c) },
			"a token": func(tx *store.Tx) error {
				return tx.SetChallenge(newChallenge(db, other.ID, "recovery", "token"), time.Hour)
			},
			"a signing key": func(tx *store.Tx) error { return tx.AddSigningKey(key) },
		} {
			err := db.Write(t.Context(), home, fn)
			if !errors.Is(err, store.ErrDuplicate) {
				t.Errorf("%s twice: got %v, want ErrDuplicate", name, err)
			}
		}
	})
}

func TestTx_dropUserTakesAllButEvents(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		u, other := addUser(t, db, "ada@example.com"), addUser(t, db, "bob@example.com")
		s, s2 := addSession(t, db, u.ID), addSession(t, db, other.ID)
		addChallenge(t, db, newChallenge(db, u.ID, "recovery", "hers"))
		addChallenge(t, db, newChallenge(db, other.ID, "recovery", "his"))
		write(t, db, func(tx *store.Tx) error {
			return errors.Join(tx.SetPassword(u.ID, []byte("hash")), tx.SetPassword(other.ID, []byte("hash")),
				tx.AddIdentity(store.Identity{ID: store.NewIdentityID(), UserID: u.ID, Provider: "email", Subject: u.ID.String(), Data: []byte("{}")}),
				tx.AddEvent(store.Event{Name: "one", UserID: u.ID, Data: []byte("{}")}), tx.AddEvent(store.Event{Name: "two", UserID: u.ID, Data: []byte("{}")}))
		})
		write(t, db, func(tx *store.Tx) error { return tx.DropUser(u.ID) })
		read(t, db, func(tx *store.Tx) error {
			_, err := tx.User(u.ID)
			_, err2 := tx.Session(s.ID)
			_, _, err3 := tx.SessionUser(s.ID)
			_, err4 := tx.PasswordOf(u.ID)
			_, _, err5 := tx.TokenChallenge([]byte("hers"))
			for i, err := range []error{err, err2, err3, err4, err5} {
				if !errors.Is(err, store.ErrNotFound) {
					t.Errorf("row %d of the dropped user: got %v, want ErrNotFound", i, err)
				}
			}
			events, err := tx.EventsOf(u.ID, 10)
			if err != nil || len(events) != 2 || events[0].Name != "two" || events[1].Name != "one" {
				t.Errorf("events of the dropped user: %v, %v; want two, newest first", events, err)
			}
			_, err = tx.Session(s2.ID)
			_, err2 = tx.PasswordOf(other.ID)
			_, _, err3 = tx.TokenChallenge([]byte("his"))
			return errors.Join(err, err2, err3)
		})
		err := db.Write(t.Context(), home, func(tx *store.Tx) error { return tx.DropUser(u.ID) })
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("dropping her twice: got %v, want ErrNotFound", err)
		}
		write(t, db, func(tx *store.Tx) error { return tx.AddUser(newUser(u.Email)) }) // the address is free again
	})
}

func TestTx_passwordsAreSetReadAndNeverEmpty(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		u := addUser(t, db, "ada@example.com")
		hash := func() []byte {
			t.Helper()
			var h []byte
			read(t, db, func(tx *store.Tx) error {
				who, err := tx.KnownByEmail(u.Email)
				h = who.Hash
				if who.ID != u.ID {
					t.Errorf("KnownByEmail found %s, want %s", who.ID, u.ID)
				}
				return err
			})
			return h
		}
		if got := hash(); len(got) != 0 {
			t.Errorf("hash of a user without password: %q", got)
		}
		for _, want := range []string{"first", "second"} {
			write(t, db, func(tx *store.Tx) error { return tx.SetPassword(u.ID, []byte(want)) })
			if got := hash(); !bytes.Equal(got, []byte(want)) {
				t.Errorf("hash %q, want %q", got, want)
			}
		}
		err := db.Write(t.Context(), home, func(tx *store.Tx) error { return tx.SetPassword(u.ID, nil) })
		if err == nil {
			t.Error("an empty hash was stored: any empty proof would match it")
		}
	})
}

func TestHasValue_tellsWhetherOneIsKept(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		has := func(name string) (has bool) {
			t.Helper()
			read(t, db, func(tx *store.Tx) (err error) {
				has, err = tx.HasValue(name)
				return err
			})
			return has
		}
		if has("name") {
			t.Error("a value is there that nobody kept")
		}
		_, err := db.KeepValue(t.Context(), "name", []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]bool{"name": true, "Name": false, "other": false, "": false} {
			if got := has(name); got != want {
				t.Errorf("HasValue(%q) = %v, want %v", name, got, want)
			}
		}
	})
}

func TestDropPassword_dropsOnlyTheOneThatWasSeen(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		ada, bob := addUser(t, db, "ada@example.com"), addUser(t, db, "bob@example.com")
		for _, id := range []store.UserID{ada.ID, bob.ID} {
			write(t, db, func(tx *store.Tx) error { return tx.SetPassword(id, []byte("hash")) })
		}
		drop := func(hash string, want bool) {
			t.Helper()
			write(t, db, func(tx *store.Tx) error {
				got, err := tx.DropPassword(ada.ID, hash)
				if got != want {
					t.Errorf("DropPassword(%q) = %v, want %v", hash, got, want)
				}
				return err
			})
		}
		drop("another hash", false)
		drop("", false)
		drop("hash", true)
		drop("hash", false)
		read(t, db, func(tx *store.Tx) error {
			_, err := tx.PasswordOf(ada.ID)
			if !errors.Is(err, store.ErrNotFound) {
				t.Errorf("ada's password: %v, want none", err)
			}
			_, err = tx.PasswordOf(bob.ID)
			return err
		})
	})
}

func TestTx_signingKeysRetireAndGo(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		at := clock.Now()
		write(t, db, func(tx *store.Tx) error {
			return errors.Join(
				tx.AddSigningKey(store.SigningKey{ID: "new", Alg: "ES256", Private: []byte("n"), SignsAt: at.Add(time.Hour)}),
				tx.AddSigningKey(store.SigningKey{ID: "old", Alg: "ES256", Private: []byte("o"), SignsAt: at.Add(-time.Hour)}),
				tx.AddSigningKey(store.SigningKey{ID: "soon", Alg: "ES256", Private: []byte("s"), SignsAt: at, RetiresAt: at.Add(time.Minute)}),
				tx.RetireSigningKeys("new", at.Add(2*time.Hour)))
		})
		keys := func() (list []store.SigningKey) {
			read(t, db, func(tx *store.Tx) (err error) { list, err = tx.SigningKeys(); return err })
			return list
		}
		want := []store.SigningKey{
			{ID: "old", Alg: "ES256", Private: []byte("o"), CreatedAt: at, SignsAt: at.Add(-time.Hour), RetiresAt: at.Add(2 * time.Hour)},
			{ID: "soon", Alg: "ES256", Private: []byte("s"), CreatedAt: at, SignsAt: at, RetiresAt: at.Add(time.Minute)},
			{ID: "new", Alg: "ES256", Private: []byte("n"), CreatedAt: at, SignsAt: at.Add(time.Hour)},
		}
		if diff := cmp.Diff(want, keys()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		write(t, db, func(tx *store.Tx) error { return tx.DropSigningKeys(at.Add(time.Hour)) })
		if diff := cmp.Diff([]store.SigningKey{want[0], want[2]}, keys()); diff != "" {
			t.Errorf("after dropping those that retired (-want +got):\n%s", diff)
		}
	})
}
