package store_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

// A server that is told to stop ends connections in the midst of whatever they
// do, and tells some of them so only after it has committed. Nothing that was
// asked once may be done twice.
func TestWrite_nothingIsDoneTwiceWhileTheServerEndsConnections(t *testing.T) {
	const writers, atLeast, ends = 6, 300, 60
	onServers(t, func(t *testing.T, engine, url string) {
		if engine != "postgres" {
			t.Skip("its protocol answers COMMIT last")
		}
		admin := plain(t, url)
		db := node(t, store.Options{URL: url, MaxConns: writers})
		var mu sync.Mutex // guards results
		results := map[string]error{}
		var next, ended atomic.Int64
		var group sync.WaitGroup
		for range writers {
			group.Go(func() {
				for {
					i := next.Add(1)
					if i > atLeast && ended.Load() >= ends || i > 100*atLeast {
						return
					}
					u := newUser("")
					u.Aud = fmt.Sprint("write ", i)
					// A second run of what stands is refused as a duplicate where the id is
					// fixed, and adds a second row where it is made anew.
					err := db.Write(t.Context(), home, func(tx *store.Tx) error {
						if i%2 == 0 {
							u.ID = store.NewUserID()
						}
						return tx.AddUser(u)
					})
					mu.Lock()
					results[u.Aud] = err
					mu.Unlock()
				}
			})
		}
		done := make(chan struct{})
		go func() { group.Wait(); close(done) }()
		for over := false; !over; {
			// Those who commit: a transaction of one batch is at its COMMIT for much
			// of its time.
			n := ask(t, admin, `SELECT count(pg_terminate_backend(pid))::text FROM pg_stat_activity
				WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'active' AND upper(query) = 'COMMIT'`)
			if n[0] != "0" {
				ended.Add(1)
			}
			select {
			case <-done:
				over = true
			case <-time.After(time.Millisecond):
			}
		}
		if ended.Load() == 0 {
			t.Error("no connection was ended at its commit: this proves nothing")
		}
		rows := map[string]int{}
		for _, aud := range ask(t, plain(t, url), `SELECT aud FROM users`) {
			rows[aud]++
		}
		for aud, err := range results {
			switch n := rows[aud]; {
			case err == nil && n != 1:
				t.Errorf("%s succeeded and stands %d times, want once", aud, n)
			case n > 1:
				t.Errorf("%s (%v) stands %d times", aud, err, n)
			case err != nil && !unavailable(err):
				t.Errorf("%s: %v; want unavailable, for nothing in it is another's", aud, err)
			}
		}
	})
}

// What three requests of one user do at an instant on two nodes locks the
// user's row and those of sessions in one order, whoever comes first.
func TestWrite_requestsOfOneUserNeverStandInEachOthersWay(t *testing.T) {
	onServers(t, func(t *testing.T, _, url string) {
		nodes := []*store.DB{node(t, store.Options{URL: url}), node(t, store.Options{URL: url})}
		u := addUser(t, nodes[0], "ada@example.com")
		write(t, nodes[0], func(tx *store.Tx) error { return tx.AddPassword(u.ID, []byte("hash")) })
		s := addSession(t, nodes[0], u.ID)
		var newest atomic.Pointer[store.SessionID] // whose access token is used
		newest.Store(&s.ID)
		until := time.Now().Add(time.Second)
		var group sync.WaitGroup
		var runs, tries atomic.Int64
		var signedIn store.SessionID // by the one who signs in
		for i, request := range []func(tx *store.Tx) error{
			func(tx *store.Tx) error { // a change of the user by an access token
				_, u, err := tx.SessionUser(*newest.Load())
				u.AppMetadata = countUp(u.AppMetadata)
				return errors.Join(err, tx.SetUser(&u))
			},
			func(tx *store.Tx) error { // a sign-in
				u, _, err := tx.UserPassword(u.ID)
				if err != nil {
					return err
				}
				s := s
				s.ID = store.NewSessionID()
				signedIn = s.ID
				return errors.Join(tx.AddSession(s), tx.CapSessions(u.ID, 1, s.ID, "too many"), tx.SetUser(&u))
			},
			func(tx *store.Tx) error { return second(tx.EndSessions(u.ID, store.SessionID{}, "signed out")) },
		} {
			group.Go(func() {
				for time.Now().Before(until) {
					runs.Add(1)
					err := nodes[i%2].Write(t.Context(), home, func(tx *store.Tx) error {
						tries.Add(1)
						return request(tx)
					})
					if err == nil && i == 1 {
						id := signedIn
						newest.Store(&id)
					}
					if err != nil {
						t.Errorf("request %d: %v", i, err)
						return
					}
				}
			})
		}
		group.Wait()
		// A deadlock shows only in that its victim runs again, or not at all when
		// it has done so too often.
		if more := tries.Load() - runs.Load(); more > 5+runs.Load()/50 {
			t.Errorf("%d of %d requests had to be run again, want next to none", more, runs.Load())
		}
	})
}

// Who asks whether an address is taken does not hold its owner, who may be
// busy with theirs.
func TestEmailTaken_holdsNobody(t *testing.T) {
	onServers(t, func(t *testing.T, _, url string) {
		db := node(t, store.Options{URL: url})
		ada, bob := addUser(t, db, "ada@example.com"), addUser(t, db, "bob@example.com")
		other := node(t, store.Options{URL: url, LockTimeout: time.Second, TransactionTimeout: 5 * time.Second})
		write(t, db, func(tx *store.Tx) error {
			_, err := tx.User(ada.ID)
			if err != nil {
				return err
			}
			taken, err := tx.EmailTaken(bob.Email)
			if err != nil || !taken {
				t.Errorf("bob's address is taken: %v, %v; want true", taken, err)
			}
			tries := 0
			err = other.Write(t.Context(), home, func(tx *store.Tx) error {
				tries++
				b, err := tx.UserByEmail(bob.Email)
				return errors.Join(err, tx.SetUser(&b))
			})
			if err != nil || tries != 1 {
				t.Errorf("bob's own request meanwhile: %d tries, %v; want one, at once", tries, err)
			}
			taken, err = tx.EmailTaken("eve@example.com")
			if err != nil || taken {
				t.Errorf("nobody's address is taken: %v, %v; want false", taken, err)
			}
			return nil
		})
	})
}

// A node whose clock is behind makes ids that sort before those there are. Who
// has just signed in by it must not be out again at once.
func TestCapSessions_neverEndsTheOneThatWasJustAdded(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		for living, kept := range map[int][]bool{1: {false, false, true}, 2: {false, true, true}, 3: {true, true, true}} {
			u := addUser(t, db, fmt.Sprint("at most ", living))
			var before [3]store.Session
			for i := range before {
				before[i] = addSession(t, db, u.ID)
			}
			late := store.Session{ID: store.SessionID{15: byte(living)}, UserID: u.ID, Generation: 1, AMR: []byte(`[]`)}
			write(t, db, func(tx *store.Tx) error {
				return errors.Join(tx.AddSession(late), tx.CapSessions(u.ID, living, late.ID, "too many"))
			})
			read(t, db, func(tx *store.Tx) error {
				s, err := tx.Session(late.ID)
				if !s.EndedAt.IsZero() {
					t.Errorf("at most %d: the new session ended for %q", living, s.EndReason)
				}
				for i, b := range before {
					s, err2 := tx.Session(b.ID)
					err = errors.Join(err, err2)
					if s.EndedAt.IsZero() != kept[i] {
						t.Errorf("at most %d: session %d lives: %v, want %v", living, i, s.EndedAt.IsZero(), kept[i])
					}
				}
				return err
			})
		}
	})
}

func TestEndAllSessions_endsAllInBites(t *testing.T) {
	const all, bite = 2500, 1000
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		u := addUser(t, db, "ada@example.com")
		hers := newUser("ada@example.com")
		ids := make([]store.SessionID, all)
		for i := range ids {
			ids[i] = store.SessionID{0: 1, 14: byte(i >> 8), 15: byte(i)}
		}
		add := func(tx *store.Tx, id store.SessionID, u store.UserID) error {
			return tx.AddSession(store.Session{ID: id, UserID: u, Generation: 1, AMR: []byte(`[]`)})
		}
		for from := 0; from < all; from += 500 {
			write(t, db, func(tx *store.Tx) error {
				for _, id := range ids[from : from+500] {
					if err := add(tx, id, u.ID); err != nil {
						return err
					}
				}
				return nil
			})
		}
		write(t, db, func(tx *store.Tx) error { // three that had ended before, in the first and the last bite
			return errors.Join(second(tx.EndSession(ids[0], "before")), second(tx.EndSession(ids[999], "before")), second(tx.EndSession(ids[all-1], "before")))
		})
		spared := store.SessionID{0: 1, 13: 1} // amid the others
		err := db.Write(t.Context(), storetest.Other(), func(tx *store.Tx) error {
			return errors.Join(tx.AddUser(hers), add(tx, spared, hers.ID))
		})
		if err != nil {
			t.Fatal(err)
		}
		clock.Advance(time.Minute)

		var after store.SessionID
		for i, want := range []struct {
			last store.SessionID
			n    int
		}{{ids[999], 998}, {ids[1999], 1000}, {store.SessionID{}, 499}} {
			var last store.SessionID
			var n int
			write(t, db, func(tx *store.Tx) (err error) {
				last, n, err = tx.EndAllSessions(after, bite, "all out")
				return err
			})
			if last != want.last || n != want.n {
				t.Errorf("bite %d: up to %s, %d ended; want %s, %d", i, last, n, want.last, want.n)
			}
			after = want.last
		}
		read(t, db, func(tx *store.Tx) error {
			for i, id := range []store.SessionID{ids[0], ids[1], ids[998], ids[1000], ids[1999], ids[2000], ids[all-2], ids[all-1]} {
				reason := "all out"
				if i == 0 || id == ids[all-1] {
					reason = "before"
				}
				s, err := tx.Session(id)
				if err != nil || s.EndReason != reason {
					t.Errorf("session %s ended for %q, %v; want %q", id, s.EndReason, err, reason)
				}
			}
			_, n, err := tx.EndAllSessions(store.SessionID{}, all+1, "again")
			if err == nil {
				t.Errorf("a Read ended %d sessions", n)
			}
			return nil
		})
		write(t, db, func(tx *store.Tx) error {
			last, n, err := tx.EndAllSessions(store.SessionID{}, all+1, "again")
			if n != 0 || !last.IsZero() {
				t.Errorf("once more: %d ended, up to %s; want none", n, last)
			}
			return err
		})
		err = db.Read(t.Context(), storetest.Other(), func(tx *store.Tx) error {
			s, err := tx.Session(spared)
			if !s.EndedAt.IsZero() {
				t.Error("another tenant's session ended")
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}
