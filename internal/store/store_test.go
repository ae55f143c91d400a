package store_test

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gatehouse/internal/store"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(migratorVar); url != "" {
		os.Exit(migrator(url))
	}
	goleak.VerifyTestMain(m)
}

var home store.TenantID // the default tenant

// write commits what fn does, or ends the test.
func write(t testing.TB, db *store.DB, fn func(tx *store.Tx) error) {
	t.Helper()
	err := db.Write(t.Context(), home, fn)
	if err != nil {
		t.Fatalf("write: %v", err)
	}
}

// read runs fn, or ends the test.
func read(t testing.TB, db *store.DB, fn func(tx *store.Tx) error) {
	t.Helper()
	err := db.Read(t.Context(), home, fn)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
}

// newUser is a user with what every row must have.
func newUser(email string) store.User {
	return store.User{
		ID: store.NewUserID(), Aud: "web", Role: "member", Email: email,
		AppMetadata: []byte(`{}`), UserMetadata: []byte(`{}`),
	}
}

// addUser commits a user with that address.
func addUser(t testing.TB, db *store.DB, email string) store.User {
	t.Helper()
	u := newUser(email)
	u.CreatedAt, u.UpdatedAt = db.Now(), db.Now()
	write(t, db, func(tx *store.Tx) error { return tx.AddUser(u) })
	return u
}

// addSession commits a session of a user.
func addSession(t testing.TB, db *store.DB, u store.UserID) store.Session {
	t.Helper()
	s := store.Session{
		ID: store.NewSessionID(), UserID: u, Generation: 1, AAL: 1, AMR: []byte(`[]`),
		CreatedAt: db.Now(), RefreshedAt: db.Now(),
	}
	write(t, db, func(tx *store.Tx) error { return tx.AddSession(s) })
	return s
}

// newChallenge is a question to a user that lives for an hour.
func newChallenge(db *store.DB, u store.UserID, kind, token string) store.Challenge {
	return store.Challenge{
		ID: store.NewChallengeID(), Kind: kind, Subject: u[:], UserID: u,
		TokenHash: []byte(token), CodeHash: []byte("code of " + token), SentTo: "ada@example.com", Data: []byte(`{}`),
		CodeExpiresAt: db.Now().Add(time.Hour), ExpiresAt: db.Now().Add(time.Hour),
	}
}

// addChallenge commits a question; tries count on for an hour.
func addChallenge(t testing.TB, db *store.DB, c store.Challenge) store.Challenge {
	t.Helper()
	write(t, db, func(tx *store.Tx) error { return tx.SetChallenge(c, time.Hour) })
	return c
}

// race runs fn n times at once, each in a Write of its own, and returns how
// often it said yes. ErrNotFound and ErrDuplicate count as no.
func race(t *testing.T, db *store.DB, n int, fn func(i int, tx *store.Tx) (bool, error)) int {
	t.Helper()
	return raceOn(t, []*store.DB{db}, n, fn)
}

// raceOn is race with the callers spread over several nodes.
func raceOn(t *testing.T, nodes []*store.DB, n int, fn func(i int, tx *store.Tx) (bool, error)) int {
	t.Helper()
	var yes atomic.Int64
	var group sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		group.Go(func() {
			<-start
			won := false
			err := nodes[i%len(nodes)].Write(t.Context(), home, func(tx *store.Tx) (err error) {
				won, err = fn(i, tx)
				return err
			})
			switch {
			case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrDuplicate):
			case err != nil:
				t.Error(err)
			case won:
				yes.Add(1)
			}
		})
	}
	close(start)
	group.Wait()
	return int(yes.Load())
}

// mode returns the permissions of a file, or ends the test.
func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}
