package store_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

func TestUserPage_filtersSortsAndPages(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		for _, u := range []store.User{
			{Email: "ada@example.com", Aud: "web", UserMetadata: []byte(`{"full_name":"Ada Lovelace"}`)},
			{Email: "bob_1@example.org", Aud: "web", UserMetadata: []byte(`{"full_name":"Bob 100%"}`)},
			{Email: "cy@example.com", Aud: "app", UserMetadata: []byte(`{"full_name":"Cy!"}`)},
			{Phone: "49151", Aud: "web", UserMetadata: []byte(`{}`)},
		} {
			clock.Advance(time.Minute)
			u.ID, u.AppMetadata, u.CreatedAt, u.UpdatedAt = store.NewUserID(), []byte(`{}`), clock.Now(), clock.Now()
			if u.Email == "ada@example.com" {
				u.LastSignInAt = clock.Now().Add(time.Hour)
			}
			write(t, db, func(tx *store.Tx) error { return tx.AddUser(u) })
		}
		for _, c := range []struct {
			name  string
			f     store.UserFilter
			want  []string // addresses, "" the one without
			total int
		}{
			{"newest first", store.UserFilter{Limit: 10}, []string{"", "cy@example.com", "bob_1@example.org", "ada@example.com"}, 4},
			{"oldest first", store.UserFilter{Limit: 10, Asc: true}, []string{"ada@example.com", "bob_1@example.org", "cy@example.com", ""}, 4},
			{"first page", store.UserFilter{Limit: 2, Asc: true}, []string{"ada@example.com", "bob_1@example.org"}, 4},
			{"last page", store.UserFilter{Limit: 3, Offset: 3, Asc: true}, []string{""}, 4},
			{"behind the last", store.UserFilter{Limit: 3, Offset: 9}, nil, 4},
			{"by address", store.UserFilter{Limit: 10, Sort: "email"}, []string{"cy@example.com", "bob_1@example.org", "ada@example.com", ""}, 4},
			{"by sign-in", store.UserFilter{Limit: 1, Sort: "last_sign_in_at"}, []string{"ada@example.com"}, 4},
			{"by change", store.UserFilter{Limit: 1, Sort: "updated_at"}, []string{""}, 4},
			{"one audience", store.UserFilter{Limit: 10, Aud: "app"}, []string{"cy@example.com"}, 1},
			{"a part of the address", store.UserFilter{Limit: 10, Contains: "example.com", Asc: true}, []string{"ada@example.com", "cy@example.com"}, 2},
			{"a part of the name", store.UserFilter{Limit: 10, Contains: "Lovelace"}, []string{"ada@example.com"}, 1},
			{"both filters", store.UserFilter{Limit: 10, Contains: "example.com", Aud: "web"}, []string{"ada@example.com"}, 1},
			{"an underscore is no joker", store.UserFilter{Limit: 10, Contains: "b_1"}, []string{"bob_1@example.org"}, 1},
			{"nor is one where there is none", store.UserFilter{Limit: 10, Contains: "a_a@"}, nil, 0},
			{"a percent sign is no joker", store.UserFilter{Limit: 10, Contains: "0%"}, []string{"bob_1@example.org"}, 1},
			{"nor is one alone", store.UserFilter{Limit: 10, Contains: "a%e"}, nil, 0},
			{"an escape is itself", store.UserFilter{Limit: 10, Contains: "y!"}, []string{"cy@example.com"}, 1},
			{"a quote is itself", store.UserFilter{Limit: 10, Contains: `' OR '1'='1`}, nil, 0},
		} {
			read(t, db, func(tx *store.Tx) error {
				page, total, err := tx.UserPage(c.f)
				var got []string
				for _, u := range page {
					got = append(got, u.Email)
				}
				if !slices.Equal(got, c.want) || total != c.total {
					t.Errorf("%s: got %q of %d, want %q of %d", c.name, got, total, c.want, c.total)
				}
				return err
			})
		}
	})
}

// The name of a column goes into the statement: nothing but the list may.
func TestUserPage_refusesAnUnknownSort(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		for _, sort := range []string{"aud", "Email", "email; DROP TABLE users", "created_at DESC, (SELECT private FROM signing_keys)"} {
			err := db.Read(t.Context(), home, func(tx *store.Tx) error {
				_, _, err := tx.UserPage(store.UserFilter{Sort: sort, Limit: 1})
				return err
			})
			if err == nil {
				t.Errorf("users were sorted by %q", sort)
			}
		}
		for _, sort := range store.UserSorts {
			read(t, db, func(tx *store.Tx) error {
				_, _, err := tx.UserPage(store.UserFilter{Sort: sort, Limit: 1})
				return err
			})
		}
	})
}

func TestCountRole_countsTheLiving(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		addUser(t, db, "ada@example.com")
		gone := addUser(t, db, "bob@example.com")
		gone.DeletedAt = db.Now()
		write(t, db, func(tx *store.Tx) error { return tx.SetUser(&gone) })
		read(t, db, func(tx *store.Tx) error {
			n, err := tx.CountRole("member")
			none, err2 := tx.CountRole("Member")
			if n != 1 || none != 0 {
				t.Errorf("%d members and %d Members, want 1 and 0", n, none)
			}
			return errors.Join(err, err2)
		})
	})
}

func TestSetUser_makesNoUser(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		u := newUser("ada@example.com")
		write(t, db, func(tx *store.Tx) error { return tx.SetUser(&u) })
		err := db.Read(t.Context(), home, func(tx *store.Tx) error { _, err := tx.User(u.ID); return err })
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
	})
}

func TestSession_survives(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		u := addUser(t, db, "ada@example.com")
		at := clock.Now()
		want := store.Session{
			ID: store.NewSessionID(), UserID: u.ID, Generation: 1, AAL: 2, AMR: []byte(`[{"method":"password","timestamp":1}]`),
			UserAgent: "agent ü", IP: "2001:db8::1", NotAfter: at.Add(time.Hour), CreatedAt: at.Add(time.Microsecond), RefreshedAt: at.Add(time.Second),
			Name: "my ü", Device: "Firefox on Linux",
		}
		write(t, db, func(tx *store.Tx) error { return tx.AddSession(want) })
		check := func() {
			t.Helper()
			read(t, db, func(tx *store.Tx) error {
				got, err := tx.Session(want.ID)
				with, who, err2 := tx.SessionUser(want.ID)
				if diff := cmp.Diff(want, got) + cmp.Diff(want, with) + cmp.Diff(u, who); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				return errors.Join(err, err2)
			})
		}
		check()
		clock.Advance(time.Minute)
		want.EndedAt, want.EndReason = clock.Now(), "out"
		write(t, db, func(tx *store.Tx) error { _, err := tx.EndSession(want.ID, "out"); return err })
		check()
	})
}
