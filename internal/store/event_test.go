package store_test

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

// names are those of a user's events, newest first.
func names(t *testing.T, db *store.DB, u store.UserID) (list []string) {
	t.Helper()
	read(t, db, func(tx *store.Tx) error {
		events, err := tx.EventsOf(u, 1000)
		for _, e := range events {
			list = append(list, e.Name)
		}
		return err
	})
	return list
}

func addEvent(t *testing.T, db *store.DB, u store.UserID, name string) {
	t.Helper()
	write(t, db, func(tx *store.Tx) error { return tx.AddEvent(store.Event{Name: name, UserID: u, Data: []byte(`{}`)}) })
}

func TestEventsOf_standAsTheyHappened(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		u := addUser(t, db, "ada@example.com")
		var want []string
		for i := range 30 { // some in one Write, some at one instant, some a microsecond later
			write(t, db, func(tx *store.Tx) error {
				var errs []error
				for j := range 3 {
					name := fmt.Sprint(i, " ", j)
					want = append(want, name)
					errs = append(errs, tx.AddEvent(store.Event{Name: name, UserID: u.ID, Data: []byte(`{}`)}))
				}
				return errors.Join(errs...)
			})
			if i%3 == 2 {
				clock.Advance(time.Microsecond)
			}
		}
		slices.Reverse(want)
		if got := names(t, db, u.ID); !slices.Equal(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	})
}

// beforeTheTrail takes all events from their way into the audit trail, as those
// are of a program that knew of none.
func beforeTheTrail(t *testing.T, pool *sql.DB) { do(t, pool, `DELETE FROM audit_queue`) }

func TestSweepEvents_takesWhatIsFromBeforeAndNoMore(t *testing.T) {
	onAll(t, func(t *testing.T, _, url string) {
		clock, pool := storetest.NewClock(), plain(t, url)
		db := node(t, store.Options{URL: url, MaxConns: 2, Now: clock.Now})
		u := addUser(t, db, "ada@example.com")
		for i := range 5 {
			addEvent(t, db, u.ID, fmt.Sprint("old ", i))
		}
		clock.Advance(time.Microsecond)
		edge := clock.Now()
		addEvent(t, db, u.ID, "at the edge")
		clock.Advance(time.Hour)
		addEvent(t, db, u.ID, "new")
		sweep := func(tenant store.TenantID, before time.Time, want int, left ...string) {
			t.Helper()
			got := 0
			err := db.Write(t.Context(), tenant, func(tx *store.Tx) (err error) {
				got, err = tx.SweepEvents(2, before)
				return err
			})
			if err != nil || got != want {
				t.Errorf("the sweep before %v took %d, %v; want %d", before, got, err, want)
			}
			if now := names(t, db, u.ID); !slices.Equal(now, left) {
				t.Errorf("after the sweep before %v %v stand, want %v", before, now, left)
			}
		}
		all := []string{"new", "at the edge", "old 4", "old 3", "old 2", "old 1", "old 0"}
		sweep(home, clock.Now().Add(time.Hour), 0, all...) // all on their way into the trail
		beforeTheTrail(t, pool)
		sweep(home, clock.Now().AddDate(-5, 0, 0), 0, all...)
		sweep(storetest.Other(), clock.Now(), 0, all...)
		sweep(home, edge, 2, all[:5]...)
		sweep(home, edge, 2, all[:3]...)
		sweep(home, edge, 1, all[:2]...)
		sweep(home, edge, 0, all[:2]...)
		sweep(home, edge.Add(time.Microsecond), 1, "new")
		addEvent(t, db, u.ID, "in the trail")
		write(t, db, func(tx *store.Tx) error {
			queued, err := tx.QueuedEvents(1)
			return errors.Join(err, tx.AppendTrail([]store.TrailRow{{Seq: 1, ID: queued[0].ID, Digest: []byte("d"), Hash: []byte("h")}}))
		})
		sweep(home, clock.Now().AddDate(100, 0, 0), 1, "in the trail")
	})
}

// Who keeps the trail for a century keeps it, and does not lose it all.
func TestSweepEvents_takesNothingFromBefore1970(t *testing.T) {
	onAll(t, func(t *testing.T, _, url string) {
		clock, pool := storetest.NewClock(), plain(t, url)
		db := node(t, store.Options{URL: url, MaxConns: 2, Now: clock.Now})
		u := addUser(t, db, "ada@example.com")
		addEvent(t, db, u.ID, "hello")
		beforeTheTrail(t, pool)
		for _, before := range []time.Time{time.UnixMicro(0), clock.Now().AddDate(-100, 0, 0), clock.Now().AddDate(-290, 0, 0), {}} {
			err := db.Write(t.Context(), home, func(tx *store.Tx) error { return second(tx.SweepEvents(10, before)) })
			if got := names(t, db, u.ID); len(got) != 1 || err != nil {
				t.Fatalf("after the sweep before %v there are %d events, %v; want the one from 2030", before.UTC(), len(got), err)
			}
		}
	})
}

func TestEventPage_picksNewestFirst(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		for i := range 20 {
			write(t, db, func(tx *store.Tx) error {
				return tx.AddEvent(store.Event{Name: fmt.Sprint("name ", i%2), Actor: fmt.Sprint("actor ", i%3), RequestID: fmt.Sprint(i), Data: []byte(`{}`)})
			})
		}
		page := func(f store.EventFilter) (ids []string, total int, last store.EventID) {
			t.Helper()
			read(t, db, func(tx *store.Tx) error {
				list, n, err := tx.EventPage(f)
				ids, total = nil, n
				for _, e := range list {
					ids, last = append(ids, e.RequestID), e.ID
				}
				return err
			})
			return ids, total, last
		}
		_, _, fifth := page(store.EventFilter{Limit: 5})
		for _, c := range []struct {
			f     store.EventFilter
			total int
			want  string
		}{
			{store.EventFilter{Limit: 3, Count: 100}, 20, "[19 18 17]"},
			{store.EventFilter{Limit: 3, Count: 7}, 7, "[19 18 17]"},
			{store.EventFilter{Limit: 3}, 0, "[19 18 17]"},
			{store.EventFilter{Limit: 3, Offset: 18, Count: 100}, 20, "[1 0]"},
			{store.EventFilter{Limit: 3, Offset: 20, Count: 100}, 20, "[]"},
			{store.EventFilter{Limit: 3, Before: fifth, Count: 100}, 20, "[14 13 12]"},
			{store.EventFilter{Limit: 3, Names: []string{"name 1"}, Count: 100}, 10, "[19 17 15]"},
			{store.EventFilter{Limit: 3, Actors: []string{"actor 0", "actor 2", "nobody"}, Count: 100}, 13, "[18 17 15]"},
			{store.EventFilter{Limit: 9, Names: []string{"name 0"}, Actors: []string{"actor 1"}, Count: 100}, 3, "[16 10 4]"},
			{store.EventFilter{Limit: 9, Names: []string{}, Count: 100}, 0, "[]"},
			{store.EventFilter{Limit: 9, Actors: []string{}, Count: 100}, 0, "[]"},
		} {
			if ids, total, _ := page(c.f); fmt.Sprint(ids) != c.want || total != c.total {
				t.Errorf("%+v: %v of %d, want %s of %d", c.f, ids, total, c.want, c.total)
			}
		}
	})
}
