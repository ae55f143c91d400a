package store_test

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

// Most statements of a Write are put off and sent with the next that must
// answer, or with the commit. Nobody may notice.

func TestWrite_anErrorOfAPutOffStatementComesOutAndNothingStands(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		u := addUser(t, db, "ada@example.com")
		before := newUser("before@example.com")
		nobody := store.Session{ID: store.NewSessionID(), UserID: store.NewUserID(), AMR: []byte(`[]`)}
		for name, bad := range map[string]struct {
			fn        func(tx *store.Tx) error
			duplicate bool
		}{
			"a duplicate":               {func(tx *store.Tx) error { return tx.AddUser(newUser(u.Email)) }, true},
			"a session of nobody":       {func(tx *store.Tx) error { return tx.AddSession(nobody) }, false},
			"a user of no tenant there": {func(tx *store.Tx) error { o := *tx; o.Tenant = store.TenantID{9}; return o.AddUser(newUser("x")) }, false},
		} {
			for place, fn := range map[string]func(tx *store.Tx) error{
				"last":  func(tx *store.Tx) error { return errors.Join(tx.AddUser(before), bad.fn(tx)) },
				"first": func(tx *store.Tx) error { return errors.Join(bad.fn(tx), tx.AddUser(before)) },
				"before a read": func(tx *store.Tx) error {
					return errors.Join(tx.AddUser(before), bad.fn(tx), second(tx.CountRole("member")))
				},
				"after a read": func(tx *store.Tx) error {
					return errors.Join(tx.AddUser(before), second(tx.CountRole("member")), bad.fn(tx))
				},
				"before one whose": func(tx *store.Tx) error {
					return errors.Join(tx.AddUser(before), bad.fn(tx), third(tx.EndAllSessions(store.SessionID{}, 1000, "x")))
				},
			} {
				err := db.Write(t.Context(), home, fn)
				if err == nil || errors.Is(err, store.ErrDuplicate) != bad.duplicate || errors.Is(err, store.ErrUnavailable) {
					t.Errorf("%s, %s: Write returned %v", name, place, err)
				}
				if n := users(t, db); n != 1 {
					t.Fatalf("%s, %s: %d users stand, want the one from before", name, place, n)
				}
			}
		}
	})
}

// second is the error of a call that returns two things.
func second[T any](_ T, err error) error { return err }

func third[A, B any](_ A, _ B, err error) error { return err }

func TestWrite_readsSeeWhatWasPutOffBeforeThem(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		u := newUser("ada@example.com")
		write(t, db, func(tx *store.Tx) error {
			err := errors.Join(tx.AddUser(u), tx.AddPassword(u.ID, []byte("one")),
				tx.AddIdentity(store.Identity{ID: store.NewIdentityID(), UserID: u.ID, Provider: "email", Subject: "ada", Data: []byte(`{}`)}))
			if err != nil {
				return err
			}
			got, hash, err := tx.UserPassword(u.ID)
			if err != nil || got.ID != u.ID || string(hash) != "one" || len(got.Identities) != 1 {
				t.Errorf("read what was put off: %+v with %q, %v", got, hash, err)
			}
			for i := range 20 {
				got.Role = fmt.Sprint("role ", i)
				err = errors.Join(err, tx.SetUser(&got))
			}
			n, err2 := tx.CountRole("role 19")
			if n != 1 {
				t.Errorf("%d users have the role that was set last, want 1: order was not kept", n)
			}
			got.Role = "after the read"
			return errors.Join(err, err2, tx.SetUser(&got), tx.SetPassword(u.ID, []byte("two")), tx.SetPassword(u.ID, []byte("three")))
		})
		read(t, storetest.Again(t, db), func(tx *store.Tx) error {
			got, hash, err := tx.UserPassword(u.ID)
			if got.Role != "after the read" || string(hash) != "three" {
				t.Errorf("committed: role %q and hash %q, want what was written last", got.Role, hash)
			}
			return err
		})
	})
}

// A row count is that of its own statement, not of those sent along.
func TestWrite_rowCountsAreOfTheirStatement(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		u := addUser(t, db, "ada@example.com")
		a, b := addSession(t, db, u.ID), addSession(t, db, u.ID)
		write(t, db, func(tx *store.Tx) error {
			var errs []error
			for _, c := range []struct {
				s    store.SessionID
				want bool
			}{{a.ID, true}, {a.ID, false}, {store.NewSessionID(), false}, {b.ID, true}} {
				errs = append(errs, tx.SetIdentitySignIn(u.ID, "none"), tx.SetUser(&u), tx.SetUser(&u))
				got, err := tx.EndSession(c.s, "x")
				if got != c.want {
					t.Errorf("EndSession(%s) = %v, want %v", c.s, got, c.want)
				}
				errs = append(errs, err)
			}
			return errors.Join(errs...)
		})
		// Nothing is changed by it, and yet it was there: matched rows count.
		write(t, db, func(tx *store.Tx) error {
			for range 2 {
				ok, err := tx.SwapCredential(store.Credential{Kind: "k", Lookup: []byte("none"), Data: []byte("x")}, []byte("x"))
				if ok || err != nil {
					t.Errorf("swapped what is not there: %v, %v", ok, err)
				}
			}
			err := tx.SetPassword(u.ID, []byte("same"))
			for range 2 {
				ok, err2 := tx.SwapCredential(store.Credential{Kind: "password", Lookup: u.ID[:], Data: []byte("same")}, []byte("same"))
				if !ok {
					t.Error("a swap for the same counts as none: MySQL would count changed rows")
				}
				err = errors.Join(err, err2)
			}
			return err
		})
	})
}

// A panic in a Write, or a test that ends in one, leaves nothing behind: no
// connection lent for ever, and no transaction open, whose locks would stop
// others and whose half the next user of the connection would commit.
func TestWrite_aPanicLeavesNoTransactionOpen(t *testing.T) {
	open := map[string]string{
		"postgres": `SELECT pid || ' ' || state FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'`,
		"mysql": `SELECT CONCAT(p.id, ' ', p.command) FROM information_schema.innodb_trx t
			JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id WHERE p.db = DATABASE()`,
	}
	onServers(t, func(t *testing.T, engine, url string) {
		for name, leave := range map[string]func(){"a panic": func() { panic("oh") }, "Goexit": runtime.Goexit} {
			t.Run(name, func(t *testing.T) {
				db := node(t, store.Options{URL: url, MaxConns: 2})
				admin := plain(t, url)
				u := addUser(t, db, "ada of "+name)
				for i := range 6 { // more than there are connections
					var group sync.WaitGroup
					group.Go(func() {
						defer func() { _ = recover() }()
						_ = db.Write(t.Context(), home, func(tx *store.Tx) error {
							held, err := tx.User(u.ID) // its row is locked
							held.Role = "thief"
							err = errors.Join(err, tx.SetUser(&held), tx.AddUser(newUser(fmt.Sprint("half ", name, i))))
							if i%2 == 0 {
								err = errors.Join(err, second(tx.CountRole("member"))) // all of it is at the server
							}
							if err != nil {
								t.Error(err)
							}
							leave()
							return nil
						})
					})
					group.Wait()
					// The server notices the end of a connection in its own time.
					until(t, "the end of the transaction that was left", func() bool {
						return len(ask(t, admin, open[engine])) == 0
					})
					write(t, db, func(tx *store.Tx) error {
						held, err := tx.User(u.ID)
						if err == nil && held.Role != "member" {
							t.Errorf("half of a Write that was left stands: the role is %q", held.Role)
						}
						return errors.Join(err, tx.AddUser(newUser(fmt.Sprint("whole ", name, i))))
					})
				}
				n := ask(t, admin, `SELECT COUNT(*) FROM users WHERE role = 'thief'`)
				if n[0] != "0" {
					t.Errorf("%s users stand of what was left half done", n[0])
				}
			})
		}
	})
}
