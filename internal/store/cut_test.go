package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/store"
)

// A connection that is lost before the commit was sent has done nothing: the
// Write runs again on another and its caller sees nothing of it.
func TestWrite_runsAgainOnAnotherConnectionBeforeTheCommit(t *testing.T) {
	onServers(t, func(t *testing.T, _, url string) {
		for what, spoil := range map[string]func(tx *store.Tx, u store.User, cut func()) error{
			"before its first statement that answers": func(tx *store.Tx, u store.User, cut func()) error {
				cut()
				return errors.Join(tx.AddUser(u), second(tx.CountRole("member")))
			},
			"between two": func(tx *store.Tx, u store.User, cut func()) error {
				err := errors.Join(tx.AddUser(u), second(tx.CountRole("member")))
				cut()
				return errors.Join(err, second(tx.CountRole("member")))
			},
			"before one whose rows are counted": func(tx *store.Tx, u store.User, cut func()) error {
				err := errors.Join(tx.AddUser(u), second(tx.CountRole("member")))
				cut()
				return errors.Join(err, third(tx.EndAllSessions(store.SessionID{}, 1000, "x")))
			},
		} {
			r := relayed(t, url)
			db := node(t, store.Options{URL: r.url, MaxConns: 1})
			u := newUser(what)
			before, tries := users(t, db), 0
			err := db.Write(t.Context(), home, func(tx *store.Tx) error {
				tries++
				return spoil(tx, u, func() {
					if tries == 1 {
						r.cut()
					}
				})
			})
			if err != nil || tries != 2 {
				t.Errorf("cut %s: %d tries, %v; want 2 and none", what, tries, err)
			}
			if n := users(t, db) - before; n != 1 {
				t.Errorf("cut %s: %d users were added, want 1", what, n)
			}
		}
	})
}

// Reads are repeated: a connection that died in the pool is nobody's business.
func TestRead_runsAgainOnAnotherConnection(t *testing.T) {
	onServers(t, func(t *testing.T, _, url string) {
		r := relayed(t, url)
		db := node(t, store.Options{URL: r.url, MaxConns: 1})
		u := addUser(t, db, "ada@example.com")
		for range 5 {
			r.cut()
			read(t, db, func(tx *store.Tx) error { _, err := tx.User(u.ID); return err })
			tries := 0
			read(t, db, func(tx *store.Tx) error {
				tries++
				_, err := tx.User(u.ID)
				if tries == 1 {
					r.cut()
				}
				_, err2 := tx.CountRole("member")
				return errors.Join(err, err2)
			})
			// On MySQL a statement that stands alone is repeated by the pool.
			if tries != 2 && (tries != 1 || db.Engine() != "mysql") {
				t.Errorf("a read that was cut in the middle ran %d times, want 2", tries)
			}
		}
	})
}

// When the answer to a commit is lost nobody knows whether it happened. To run
// it again might do it twice, to say that it failed might be a lie.
func TestWrite_aCommitWithoutAnswerIsUnknown(t *testing.T) {
	type op struct {
		what string
		run  func(db *store.DB, u store.User, s store.SessionID, ready func()) error
	}
	ops := []op{
		{"a Write that has asked", func(db *store.DB, u store.User, _ store.SessionID, ready func()) error {
			return db.Write(t.Context(), home, func(tx *store.Tx) error {
				_, err := tx.CountRole("member")
				ready()
				return errors.Join(err, tx.AddUser(u))
			})
		}},
		{"a Write in one", func(db *store.DB, u store.User, _ store.SessionID, ready func()) error {
			return db.Write(t.Context(), home, func(tx *store.Tx) error {
				ready()
				return tx.AddUser(u)
			})
		}},
		{"a WriteOne", func(db *store.DB, _ store.User, s store.SessionID, ready func()) error {
			return db.WriteOne(t.Context(), home, func(tx *store.Tx) error {
				ready()
				return second(tx.Rotate(s, 1, "", ""))
			})
		}},
	}
	onServers(t, func(t *testing.T, _, url string) {
		r := relayed(t, url)
		db := node(t, store.Options{URL: r.url, MaxConns: 1})
		beside := node(t, store.Options{URL: url, MaxConns: 1})
		for i, op := range ops {
			for _, arrives := range []bool{true, false} {
				u := newUser(op.what + map[bool]string{true: " that arrives"}[arrives])
				ada := addUser(t, beside, "owner of "+u.Email)
				s := addSession(t, beside, ada.ID)
				stands := func() (yes bool) {
					read(t, beside, func(tx *store.Tx) error {
						s, err := tx.Session(s.ID)
						_, err2 := tx.User(u.ID)
						yes = s.Generation == 2 || err2 == nil
						return err
					})
					return yes
				}
				// On a connection that is whole, and has all prepared that it will ask.
				err := op.run(db, newUser("warm "+u.Email), addSession(t, beside, ada.ID).ID, func() {})
				if err != nil {
					t.Fatal(err)
				}
				tries, lost := 0, r.lost.Load()
				result := make(chan error, 1)
				sent := make(chan struct{}, 10)
				go func() {
					result <- op.run(db, u, s.ID, func() {
						tries++
						if arrives {
							r.mute.Store(true)
						} else {
							r.deaf.Store(true)
						}
						sent <- struct{}{}
					})
				}()
				<-sent
				if arrives {
					until(t, "the commit to arrive", stands)
				} else { // one that was never sent is sent again, and no doubt is left
					until(t, "the commit to be lost on its way", func() bool { return r.lost.Load() > lost })
				}
				r.cut()
				r.heal()
				err = <-result
				if !unavailable(err) || tries != 1 || !strings.Contains(err.Error(), "may have happened") {
					t.Errorf("%s, arrived %v: %d tries, %v; want one, unavailable and said to be unknown", ops[i].what, arrives, tries, err)
				}
				if got := stands(); got != arrives {
					t.Errorf("%s, arrived %v: it stands: %v", op.what, arrives, got)
				}
				if err := ping(t, db); err != nil {
					t.Errorf("%s: afterwards: %v", op.what, err)
				}
			}
		}
	})
}

// A server that is told to end may say so after it has committed. What is known
// to be committed must not run again.
func TestWrite_runsOnceWhenTheServerEndsAfterTheCommit(t *testing.T) {
	onServers(t, func(t *testing.T, engine, url string) {
		if engine != "postgres" {
			t.Skip("its protocol answers COMMIT last")
		}
		r := relayed(t, url)
		db := node(t, store.Options{URL: r.url, MaxConns: 1})
		write(t, db, func(tx *store.Tx) error { return tx.AddUser(newUser("before")) })
		tries := 0
		err := db.Write(t.Context(), home, func(tx *store.Tx) error {
			tries++
			if tries == 1 {
				edit := endAfterCommit
				r.edit.Store(&edit)
			} else {
				r.heal()
			}
			return tx.AddUser(newUser("")) // nothing in it is unique, so that two would stand
		})
		r.heal()
		if n := users(t, db); n != 2 || tries != 1 || err != nil && !unavailable(err) {
			t.Errorf("%d tries, %v, and %d users stand; want one try and 2 users", tries, err, n)
		}
	})
}

// otherConnections are the queries, by engine, for the ids of the connections
// to a database that are not the one that asks, and how to end one.
func otherConnections() (list, kill map[string]string) {
	list = map[string]string{
		"postgres": `SELECT pid::text FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`,
		"mysql":    `SELECT CAST(id AS CHAR) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()`,
	}
	kill = map[string]string{
		"postgres": `SELECT pg_terminate_backend(%s)`,
		"mysql":    `KILL %s`,
	}
	return list, kill
}

// The database's administrator ends all connections: whoever comes next finds
// new ones, and none of the pool's is handed out for good that is dead.
func TestDB_goesOnAfterAllItsConnectionsWereKilled(t *testing.T) {
	others, kill := otherConnections()
	onServers(t, func(t *testing.T, engine, url string) {
		admin := plain(t, url)
		first := node(t, store.Options{URL: url, MaxConns: 1})
		u := addUser(t, first, "ada@example.com")
		s := addSession(t, first, u.ID)
		for round := range 3 {
			db := node(t, store.Options{URL: url, MaxConns: 6})
			var group sync.WaitGroup
			var there sync.WaitGroup
			there.Add(6)
			for range 6 { // so that there are six
				group.Go(func() {
					var once sync.Once
					err := db.Write(t.Context(), home, func(tx *store.Tx) error { // a Read keeps no connection between two statements
						err := second(tx.CountRole("member"))
						once.Do(there.Done)
						there.Wait()
						return err
					})
					if err != nil {
						t.Error(err)
					}
				})
			}
			group.Wait()
			killed := ask(t, admin, others[engine])
			if len(killed) < 6 {
				t.Fatalf("there were %d connections to kill, want 6", len(killed))
			}
			for _, id := range killed {
				do(t, admin, fmt.Sprintf(kill[engine], id))
			}
			until(t, "the end of the connections", func() bool {
				left := ask(t, admin, others[engine])
				return !slices.ContainsFunc(killed, func(id string) bool { return slices.Contains(left, id) })
			})
			// Reads, changes and sign-ups, on all connections there were.
			for i := range 8 {
				group.Go(func() {
					var err error
					switch i % 4 {
					case 0:
						err = db.Read(t.Context(), home, func(tx *store.Tx) error { _, _, err := tx.SessionUser(s.ID); return err })
					case 1:
						err = db.Write(t.Context(), home, func(tx *store.Tx) error {
							u, err := tx.User(u.ID)
							return errors.Join(err, tx.SetUser(&u))
						})
					case 2: // all in one
						err = db.Write(t.Context(), home, func(tx *store.Tx) error { return tx.AddUser(newUser("")) })
					case 3:
						err = db.Write(t.Context(), home, func(tx *store.Tx) error {
							_, err := tx.CountRole("member")
							return errors.Join(err, tx.AddUser(newUser("")))
						})
					}
					if err != nil {
						t.Errorf("round %d, operation %d: %v", round, i, err)
					}
				})
			}
			group.Wait()
		}
		if got, want := users(t, first), 1+3*4; got != want {
			t.Errorf("%d users stand, want %d", got, want)
		}
	})
}

// A server that ends a connection says so before it carries out another
// statement on it: so nothing was done, and the next connection does it. A
// refresh is one statement, and a restart of the database must not cost a
// refusal for each connection that was idle.
func TestWriteOne_runsAgainWhereItsIdleConnectionWasEnded(t *testing.T) {
	others, kill := otherConnections()
	onServers(t, func(t *testing.T, engine, url string) {
		admin := plain(t, url)
		setUp := node(t, store.Options{URL: url, MaxConns: 1})
		s := addSession(t, setUp, addUser(t, setUp, "ada@example.com").ID)
		if err := setUp.Close(); err != nil {
			t.Fatal(err)
		}
		db := node(t, store.Options{URL: url, MaxConns: 1})
		if err := ping(t, db); err != nil {
			t.Fatal(err)
		}
		for _, id := range ask(t, admin, others[engine]) {
			_, _ = admin.ExecContext(t.Context(), fmt.Sprintf(kill[engine], id)) // it may be one of setUp's, and gone
		}
		until(t, "the end of the connection", func() bool { return len(ask(t, admin, others[engine])) == 0 })
		won := false
		err := db.WriteOne(t.Context(), home, func(tx *store.Tx) (err error) {
			won, err = tx.Rotate(s.ID, 1, "", "")
			return err
		})
		if err != nil || !won {
			t.Errorf("a refresh on it: %v, %v; want true and no error", won, err)
		}
	})
}

// Few connections are shared fairly: everybody gets through.
func TestDB_aPoolOfTwoServesAHundredCallers(t *testing.T) {
	onServers(t, func(t *testing.T, _, url string) {
		db := node(t, store.Options{URL: url, MaxConns: 2})
		u := addUser(t, db, "ada@example.com")
		var group sync.WaitGroup
		for range 100 {
			group.Go(func() {
				for range 3 {
					err := errors.Join(
						db.Read(t.Context(), home, func(tx *store.Tx) error { _, err := tx.User(u.ID); return err }),
						db.Write(t.Context(), home, func(tx *store.Tx) error {
							return tx.AddEvent(store.Event{Name: "hello", UserID: u.ID, Data: []byte(`{}`)})
						}))
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		read(t, db, func(tx *store.Tx) error {
			events, err := tx.EventsOf(u.ID, 1000)
			if len(events) != 300 {
				t.Errorf("%d events stand, want 300", len(events))
			}
			return err
		})
	})
}

// Who waits for a connection waits no longer than for a statement.
func TestDB_refusesWhoFindsNoConnectionInTime(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, _, url string) {
		db := node(t, store.Options{URL: url, MaxConns: 1, StatementTimeout: 300 * time.Millisecond})
		taken, free := make(chan struct{}), make(chan struct{})
		result := make(chan error)
		go func() {
			result <- db.Write(t.Context(), home, func(*store.Tx) error { close(taken); <-free; return nil })
		}()
		<-taken
		began := time.Now()
		for name, err := range map[string]error{
			"Read":     db.Read(t.Context(), home, func(tx *store.Tx) error { _, err := tx.CountUsers(); return err }),
			"Write":    db.Write(t.Context(), home, func(*store.Tx) error { return nil }),
			"WriteOne": db.WriteOne(t.Context(), home, func(tx *store.Tx) error { _, err := tx.CountUsers(); return err }),
		} {
			alone := db.Engine() == "mysql" && name != "Write" // its pool does not tell why it waited
			if !unavailable(err) || !alone && !strings.Contains(err.Error(), "busy") {
				t.Errorf("%s with all connections taken: %v; want unavailable, all are busy", name, err)
			}
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("three refusals took %v, want about 0.3 s each", took)
		}
		close(free)
		if err := <-result; err != nil {
			t.Error(err)
		}
		if err := ping(t, db); err != nil {
			t.Error(err)
		}
	})
}
