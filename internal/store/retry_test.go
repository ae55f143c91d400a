package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

// flaky makes a database refuse a share (0 to 1) of the transactions that add a
// user, as it does when they cannot be put in an order: PostgreSQL at the
// commit, MariaDB at the statement.
func flaky(t *testing.T, engine, url string, share float64) {
	t.Helper()
	admin := plain(t, url)
	if engine == "mysql" {
		do(t, admin, `DROP TRIGGER IF EXISTS flaky`, fmt.Sprintf(`CREATE TRIGGER flaky AFTER INSERT ON users FOR EACH ROW
			BEGIN IF RAND() < %g THEN SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'made up'; END IF; END`, share))
		return
	}
	do(t, admin, `DROP TRIGGER IF EXISTS flaky ON users`,
		fmt.Sprintf(`CREATE OR REPLACE FUNCTION flaky() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN IF random() < %g THEN RAISE EXCEPTION 'made up' USING ERRCODE = '40001'; END IF; RETURN NULL; END $$`, share),
		`CREATE CONSTRAINT TRIGGER flaky AFTER INSERT ON users DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION flaky()`)
}

func TestWrite_everyOneSucceedsOnceWhenAFifthIsRefused(t *testing.T) {
	const writers, each = 5, 40
	onServers(t, func(t *testing.T, engine, url string) {
		flaky(t, engine, url, 0.2)
		db := node(t, store.Options{URL: url, MaxConns: writers})
		tries := make([]int, writers)
		var group sync.WaitGroup
		for w := range writers {
			group.Go(func() {
				for i := range each {
					u := newUser("") // nothing in it is unique but its id, which fn makes anew
					err := db.Write(t.Context(), home, func(tx *store.Tx) error {
						tries[w]++
						u.ID = store.NewUserID()
						err := tx.AddUser(u)
						if i%2 == 0 {
							err = errors.Join(err, second(tx.CountRole("member")))
						}
						return errors.Join(err, tx.AddEvent(store.Event{Name: "hello", UserID: u.ID, Data: []byte(`{}`)}))
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		all := 0
		for _, n := range tries {
			all += n
		}
		if all < writers*each+10 {
			t.Errorf("%d tries for %d operations: the database refused next to none, so this proves nothing", all, writers*each)
		}
		said, there := total(t, db, home)
		events := ask(t, plain(t, url), `SELECT COUNT(*) FROM events`)[0]
		if there != writers*each || said != there || events != fmt.Sprint(there) {
			t.Errorf("%d users stand, the total says %d, with %s events; want %d each", there, said, events, writers*each)
		}
	})
}

func TestWrite_isUnavailableWhenEveryTryIsRefused(t *testing.T) {
	onServers(t, func(t *testing.T, engine, url string) {
		flaky(t, engine, url, 1)
		// The limits that a server has.
		db := node(t, store.Options{URL: url, StatementTimeout: 3 * time.Second, LockTimeout: time.Second, TransactionTimeout: 5 * time.Second})
		tries, began := 0, time.Now()
		err := db.Write(t.Context(), home, func(tx *store.Tx) error { tries++; return tx.AddUser(newUser("ada@example.com")) })
		if took := time.Since(began); !unavailable(err) || took > 6*time.Second || tries < 3 {
			t.Errorf("%d tries, %v after %v; want several, unavailable, within 6 s", tries, err, took)
		}
		if said, there := total(t, db, home); said != 0 || there != 0 {
			t.Errorf("%d users stand, the total says %d; want none", there, said)
		}
		ctx, cancel := context.WithCancel(t.Context())
		err = db.Write(ctx, home, func(tx *store.Tx) error { cancel(); return tx.AddUser(newUser("bob@example.com")) })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("a caller who has gone meanwhile: %v, want the context's error", err)
		}
	})
}

// Two who lock two users in opposite order stand in each other's way; the
// database ends one of them, who then goes second.
func TestWrite_bothOfADeadlockSucceed(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, _, url string) {
		db := node(t, store.Options{URL: url})
		ada, bob := addUser(t, db, "ada@example.com"), addUser(t, db, "bob@example.com")
		var both, group sync.WaitGroup
		both.Add(2)
		var tries [2]int
		for i, order := range [][]store.UserID{{ada.ID, bob.ID}, {bob.ID, ada.ID}} {
			group.Go(func() {
				err := db.Write(t.Context(), home, func(tx *store.Tx) error {
					tries[i]++
					for n, id := range order {
						u, err := tx.User(id)
						if err != nil {
							return err
						}
						u.AppMetadata = countUp(u.AppMetadata)
						err = tx.SetUser(&u)
						if err != nil {
							return err
						}
						if n == 0 && tries[i] == 1 { // now each has one
							both.Done()
							both.Wait()
						}
					}
					return nil
				})
				if err != nil {
					t.Errorf("writer %d: %v", i, err)
				}
			})
		}
		group.Wait()
		if tries[0]+tries[1] < 3 {
			t.Errorf("%v tries: there was no deadlock, so this proves nothing", tries)
		}
		read(t, db, func(tx *store.Tx) error {
			var errs []error
			for _, id := range []store.UserID{ada.ID, bob.ID} {
				u, err := tx.User(id)
				if n := counted(u.AppMetadata); n != 2 {
					t.Errorf("%s was changed %d times, want twice", u.Email, n)
				}
				errs = append(errs, err)
			}
			return errors.Join(errs...)
		})
	})
}

// Somebody holds a row for longer than anybody waits.
func TestDB_waitsForALockNoLongerThanItsLimits(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, _, url string) {
		db := node(t, store.Options{URL: url, StatementTimeout: 20 * time.Second, LockTimeout: time.Second, TransactionTimeout: 1500 * time.Millisecond})
		u := addUser(t, db, "ada@example.com")
		s := addSession(t, db, u.ID)
		holder, err := plain(t, url).BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer holder.Rollback()
		for _, table := range []string{"users", "sessions"} {
			_, err = holder.ExecContext(t.Context(), `SELECT id FROM `+table+` FOR UPDATE`)
			if err != nil {
				t.Fatal(err)
			}
		}
		var group sync.WaitGroup
		for name, run := range map[string]func() error{
			"a Write that reads the user": func() error {
				return db.Write(t.Context(), home, func(tx *store.Tx) error { return second(tx.User(u.ID)) })
			},
			"a Write that changes it at the commit": func() error {
				return db.Write(t.Context(), home, func(tx *store.Tx) error { u := u; return tx.SetUser(&u) })
			},
			"a refresh": func() error {
				return db.WriteOne(t.Context(), home, func(tx *store.Tx) error { return second(tx.Rotate(s.ID, 1, "", "")) })
			},
		} {
			group.Go(func() {
				began := time.Now()
				err := run()
				if took := time.Since(began); !unavailable(err) || took > 6*time.Second {
					t.Errorf("%s: %v after %v; want unavailable, after about 2 s", name, err, took)
				}
			})
		}
		group.Wait()
		// Who only reads does not wait, and afterwards all is well.
		read(t, db, func(tx *store.Tx) error { _, _, err := tx.SessionUser(s.ID); return err })
		if err := holder.Rollback(); err != nil {
			t.Fatal(err)
		}
		write(t, db, func(tx *store.Tx) error {
			got, err := tx.User(u.ID)
			return errors.Join(err, tx.SetUser(&got))
		})
		read(t, db, func(tx *store.Tx) error {
			got, err := tx.Session(s.ID)
			if got.Generation != 1 {
				t.Errorf("a refresh that was refused stands: generation %d", got.Generation)
			}
			return err
		})
	})
}

// A statement that takes too long is ended by the server itself: it does not go
// on, and hold its locks, after its caller was told.
func TestDB_endsAStatementThatTakesTooLong(t *testing.T) {
	t.Parallel()
	running := map[string]string{
		"postgres": `SELECT query FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid()`,
		"mysql":    `SELECT info FROM information_schema.processlist WHERE db = DATABASE() AND command = 'Query' AND id <> CONNECTION_ID()`,
	}
	onServers(t, func(t *testing.T, engine, url string) {
		admin := plain(t, url)
		if engine == "mysql" {
			do(t, admin, `CREATE TRIGGER slow BEFORE INSERT ON events FOR EACH ROW DO SLEEP(60)`)
		} else {
			do(t, admin, `CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$`,
				`CREATE TRIGGER slow BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION slow()`)
		}
		db := node(t, store.Options{URL: url, MaxConns: 2, StatementTimeout: 300 * time.Millisecond, TransactionTimeout: time.Minute})
		event := func(tx *store.Tx) error { return tx.AddEvent(store.Event{Name: "slow", Data: []byte(`{}`)}) }
		for name, run := range map[string]func() error{
			"Write": func() error {
				return db.Write(t.Context(), home, func(tx *store.Tx) error { return errors.Join(tx.AddUser(newUser("")), event(tx)) })
			},
			"WriteOne": func() error { return db.WriteOne(t.Context(), home, event) },
		} {
			began := time.Now()
			err := run()
			if took := time.Since(began); !unavailable(err) || took > 20*time.Second {
				t.Errorf("%s: %v after %v; want unavailable, after about 0.3 s", name, err, took)
			}
			until(t, "the server to end it", func() bool { return len(ask(t, admin, running[engine])) == 0 })
		}
		if n := users(t, db); n != 0 {
			t.Errorf("%d users stand of a Write that was refused", n)
		}
	})
}

// SQLite has one lock for all who write, in whatever process.
func TestWrite_waitsForAnotherProcessOnTheSameFile(t *testing.T) {
	t.Parallel()
	url := storetest.MigratedURL(t, "sqlite")
	other := plain(t, url)
	lock := func() (release func()) {
		t.Helper()
		c, err := other.Conn(t.Context())
		if err == nil {
			_, err = c.ExecContext(t.Context(), `BEGIN IMMEDIATE`)
		}
		if err != nil {
			t.Fatal(err)
		}
		return func() {
			_, err := c.ExecContext(context.Background(), `COMMIT`)
			if err := errors.Join(err, c.Close()); err != nil {
				t.Error(err)
			}
		}
	}

	patient := node(t, store.Options{URL: url})
	release := lock()
	began := time.Now()
	timer := time.AfterFunc(300*time.Millisecond, release)
	write(t, patient, func(tx *store.Tx) error { return tx.AddUser(newUser("ada@example.com")) })
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("a write under another's lock took %v", took)
	}
	timer.Stop()

	hasty := node(t, store.Options{URL: url, StatementTimeout: 100 * time.Millisecond, LockTimeout: 100 * time.Millisecond, TransactionTimeout: 200 * time.Millisecond})
	release = lock()
	began = time.Now()
	var group sync.WaitGroup
	for i := range 5 {
		group.Go(func() {
			err := hasty.Write(t.Context(), home, func(tx *store.Tx) error { return tx.AddUser(newUser(fmt.Sprint("late ", i))) })
			if !unavailable(err) {
				t.Errorf("a write under a lock that stays: %v, want unavailable", err)
			}
		})
	}
	group.Wait()
	if took := time.Since(began); took > 6*time.Second {
		t.Errorf("it was refused after %v, want less than a second", took)
	}
	read(t, hasty, func(tx *store.Tx) error { _, err := tx.UserByEmail("ada@example.com"); return err }) // reads go on
	release()
	if n := users(t, hasty); n != 1 {
		t.Errorf("%d users stand, want one", n)
	}
	write(t, hasty, func(tx *store.Tx) error { return tx.AddUser(newUser("bob@example.com")) })
}
