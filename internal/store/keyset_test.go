package store_test

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

// tied adds users of whom many stand at one place by every sort, some without
// an address, and addresses that a collation would sort otherwise than byte by
// byte.
func tied(t *testing.T, db *store.DB, clock *storetest.Clock) []store.User {
	t.Helper()
	addresses := []string{"", "", "", "", "", "", "b@x", "B@x", "a@x", "_@x", "é@x", "e@x", "z@x", "\U0001F600@x", "~@x", "a @x", "aa@x"}
	list := make([]store.User, len(addresses))
	for i, a := range addresses {
		u := newUser(a)
		u.CreatedAt = clock.Now().Add(time.Duration(i%3) * time.Microsecond)
		u.UpdatedAt = clock.Now().Add(time.Duration(i%4) * time.Hour)
		if i%5 > 1 { // else never
			u.LastSignInAt = clock.Now().Add(time.Duration(i%5) * time.Minute)
		}
		list[i] = u
	}
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	write(t, db, func(tx *store.Tx) error {
		for _, u := range list {
			err := tx.AddUser(u)
			if err != nil {
				return err
			}
		}
		return nil
	})
	return list
}

// inOrder returns the ids of users as a list sorted by f must have them: by
// bytes, none behind some, then by id.
func inOrder(f store.UserFilter, list []store.User) (ids []store.UserID) {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b store.User) int {
		var by int
		switch f.Sort {
		case "email":
			by = strings.Compare(a.Email, b.Email)
		case "updated_at":
			by = a.UpdatedAt.Compare(b.UpdatedAt)
		case "last_sign_in_at":
			by = a.LastSignInAt.Compare(b.LastSignInAt)
		default:
			by = a.CreatedAt.Compare(b.CreatedAt)
		}
		by = cmp.Or(by, bytes.Compare(a.ID[:], b.ID[:]))
		if !f.Asc {
			by = -by
		}
		return by
	})
	for _, u := range list {
		ids = append(ids, u.ID)
	}
	return ids
}

// walk reads a list page by page, and calls between after each.
func walk(t *testing.T, db *store.DB, f store.UserFilter, byOffset bool, between func(page []store.User)) (ids []store.UserID) {
	t.Helper()
	for range 1000 {
		var page []store.User
		read(t, db, func(tx *store.Tx) (err error) {
			page, _, err = tx.UserPage(f)
			return err
		})
		for _, u := range page {
			ids = append(ids, u.ID)
		}
		between(page)
		if len(page) > f.Limit {
			t.Fatalf("a page of %d, asked for %d", len(page), f.Limit)
		}
		if len(page) < f.Limit {
			return ids
		}
		if byOffset {
			f.Offset += f.Limit
			continue
		}
		// As an edge does: the place goes out as text and comes back.
		m, err := f.ParseUserMark(f.Mark(&page[len(page)-1]).String())
		if err != nil {
			t.Fatalf("the place of %+v: %v", page[len(page)-1], err)
		}
		f.After = &m
	}
	t.Fatal("a list without end")
	return nil
}

// lists are all ways to sort.
func lists() (all []store.UserFilter) {
	for _, sort := range store.UserSorts {
		all = append(all, store.UserFilter{Sort: sort, Asc: true}, store.UserFilter{Sort: sort})
	}
	return append(all, store.UserFilter{})
}

// The order is worked out here, so that it is the same on every engine.
func TestUserPage_walksHaveOneOrderWithoutGapsAndRepeats(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		list := tied(t, db, clock)
		for _, f := range lists() {
			want := inOrder(f, list)
			for _, f.Limit = range []int{1, 4, len(list), len(list) + 1} {
				for _, byOffset := range []bool{false, true} {
					if f.Limit == 1 && (byOffset || f.Asc) {
						continue // proves nothing that four do not
					}
					got := walk(t, db, f, byOffset, func([]store.User) {})
					if !slices.Equal(got, want) {
						t.Errorf("by %q, ascending %v, %d a page, by offset %v:\ngot  %v\nwant %v", f.Sort, f.Asc, f.Limit, byOffset, got, want)
					}
				}
			}
		}
	})
}

func TestUserPage_filteredWalksToo(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		list := tied(t, db, clock)
		some := slices.DeleteFunc(slices.Clone(list), func(u store.User) bool { return !strings.HasSuffix(u.Email, "@x") })
		for _, f := range lists() {
			f.Limit, f.Contains, f.Aud = 4, "@X", "web"
			want := inOrder(f, some)
			for _, byOffset := range []bool{false, true} {
				got := walk(t, db, f, byOffset, func([]store.User) {})
				if !slices.Equal(got, want) {
					t.Errorf("by %q, ascending %v, by offset %v:\ngot  %v\nwant %v", f.Sort, f.Asc, byOffset, got, want)
				}
			}
		}
	})
}

// Whoever is there all the time is shown once, whoever else comes and goes:
// the user at the mark, one before it, one behind it.
func TestUserPage_aWalkByMarkSkipsNobodyWhileOthersComeAndGo(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		list := tied(t, db, clock)
		for _, f := range lists() {
			f.Limit = 3
			stays := map[store.UserID]bool{}
			for _, u := range list {
				stays[u.ID] = true
			}
			var extra []store.User
			add := func(tx *store.Tx, like store.User, i int) error {
				u := newUser(fmt.Sprint(like.Email, "+", len(extra)+i))
				u.CreatedAt, u.UpdatedAt, u.LastSignInAt = like.CreatedAt, like.UpdatedAt, like.LastSignInAt
				extra = append(extra, u)
				return tx.AddUser(u)
			}
			var gone []store.User
			got := walk(t, db, f, false, func(page []store.User) {
				if len(page) == 0 {
					return
				}
				write(t, db, func(tx *store.Tx) error {
					// One of those who do not stay: at the mark itself if it is one.
					last := page[len(page)-1]
					if len(gone) < 4 && stays[last.ID] {
						delete(stays, last.ID)
						gone = append(gone, last)
						err := tx.DropUser(last.ID)
						if err != nil {
							return err
						}
					}
					if len(extra) > 20 {
						return nil // the walk must end
					}
					for i, like := range []store.User{page[0], last, list[rand.N(len(list))]} {
						err := add(tx, like, i)
						if err != nil {
							return err
						}
					}
					return nil
				})
			})
			times := map[store.UserID]int{}
			for _, id := range got {
				times[id]++
			}
			for id, n := range times {
				if n != 1 {
					t.Errorf("by %q, ascending %v: %s was shown %d times", f.Sort, f.Asc, id, n)
				}
			}
			for id := range stays {
				if times[id] != 1 {
					t.Errorf("by %q, ascending %v: %s, who was there all the time, was shown %d times", f.Sort, f.Asc, id, times[id])
				}
			}
			want := inOrder(f, append(slices.Clone(list), extra...))
			if !slices.IsSortedFunc(got, func(a, b store.UserID) int { return slices.Index(want, a) - slices.Index(want, b) }) {
				t.Errorf("by %q, ascending %v: the walk is out of order: %v", f.Sort, f.Asc, got)
			}
			write(t, db, func(tx *store.Tx) error { // as it was, for the next
				for _, u := range extra {
					err := tx.DropUser(u.ID)
					if err != nil {
						return err
					}
				}
				for _, u := range gone {
					err := tx.AddUser(u)
					if err != nil {
						return err
					}
				}
				return nil
			})
		}
	})
}

// marks are what a caller may send instead of the place he was given.
func marks() []string {
	raw := base64.RawURLEncoding.EncodeToString
	id := store.UserID{1, 2, 3}
	all := []string{
		"", "x", "=", "====", "AAAA", "%00", "../..", "ü", raw(id[:15]), raw(id[:]) + "=", " " + raw(id[:]), raw(id[:]) + "\n",
		base64.StdEncoding.EncodeToString([]byte("\xfb\xff\xfe and sixteen bytes more")),
	}
	for _, v := range []string{
		"", "0", "1", "-1", "+1", "007", "9223372036854775807", "-9223372036854775808", "9223372036854775808", "1e3", "0x1", "1_0", " 1",
		"1 OR 1=1", "'", `\`, `\'`, "a\x00b", "\xff\xfe", "\xbf\x27", "?", "$1", "; DROP TABLE users; --", "ada@example.com", "\U0001F600", strings.Repeat("9", 400),
	} {
		all = append(all, raw(append(id[:], v...)))
	}
	return all
}

func TestParseUserMark_refusesRubbish(t *testing.T) {
	id := store.UserID{1, 2, 3}
	for _, f := range lists() {
		for _, s := range marks() {
			m, err := f.ParseUserMark(s)
			b, decoded := base64.RawURLEncoding.DecodeString(s)
			good := decoded == nil && len(b) >= len(id)
			if good && f.Sort != "email" {
				// A number of microseconds, and one that an instant can be.
				var us int64
				_, scanned := fmt.Sscanf(string(b[len(id):]), "%d", &us)
				good = scanned == nil && !strings.ContainsAny(string(b[len(id):]), " _xe;O")
			}
			if good != (err == nil) {
				t.Errorf("by %q: the mark %q (%q) was read as %+v, %v; want it accepted: %v", f.Sort, s, b, m, err, good)
			}
			if err == nil && (m.String() != strings.TrimSpace(s) || m.ID != id) { // the decoder passes over the ends of lines
				t.Errorf("by %q: %q was read as %+v, which is written %q", f.Sort, s, m, m.String())
			}
		}
	}
}

// A mark that was made up is a place like any other: the list begins behind it,
// and no engine chokes on what is in it.
func TestUserPage_takesEveryMarkThatCanBeRead(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		list := tied(t, db, clock)
		for i, f := range lists() {
			if i%2 > 0 {
				continue // half of the ways will do
			}
			f.Limit = 2
			for _, s := range marks() {
				m, err := f.ParseUserMark(s)
				if err != nil {
					continue
				}
				f.After = &m
				read(t, db, func(tx *store.Tx) error {
					_, total, err := tx.UserPage(f)
					if total != len(list) {
						t.Errorf("by %q behind %+v: the total is %d, want %d", f.Sort, m, total, len(list))
					}
					return err
				})
			}
		}
	})
}

func FuzzParseUserMark(f *testing.F) {
	for _, s := range marks() {
		f.Add(s, "")
		f.Add(s, "email")
	}
	db, err := store.Open(f.Context(), store.Options{URL: "sqlite:" + filepath.Join(f.TempDir(), "f.db"), Synchronous: "NORMAL", Now: storetest.NewClock().Now})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { db.Close() })
	if _, err := db.Migrate(f.Context()); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s, sort string) {
		filter := store.UserFilter{Sort: sort, Limit: 1}
		m, err := filter.ParseUserMark(s)
		if err != nil {
			return
		}
		again, err := filter.ParseUserMark(m.String())
		if err != nil || again != m {
			t.Errorf("%q is %+v, which is written %q and read as %+v, %v", s, m, m.String(), again, err)
		}
		if sort != "" && !slices.Contains(store.UserSorts, sort) {
			return
		}
		filter.After = &m
		read(t, db, func(tx *store.Tx) error { _, _, err := tx.UserPage(filter); return err })
	})
}
