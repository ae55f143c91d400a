package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

// occupy keeps the writer busy until release is called, so that whatever is
// written meanwhile shares a group.
func occupy(t *testing.T, db *store.DB) (release func()) {
	t.Helper()
	running, free, ended := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		ended <- db.Write(context.Background(), home, func(*store.Tx) error {
			close(running)
			<-free
			return nil
		})
	}()
	<-running
	return func() {
		close(free)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func TestWrite_everyCallerSeesItsOwnResult(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		const n = 200
		var users [n]store.User
		var group sync.WaitGroup
		for i := range n {
			users[i] = newUser(fmt.Sprintf("u%d@example.com", i))
			group.Go(func() {
				own := fmt.Errorf("refused %d", i)
				seen := 0
				err := db.Write(t.Context(), home, func(tx *store.Tx) error {
					err := tx.AddUser(users[i])
					if err != nil {
						return err
					}
					u, err := tx.User(users[i].ID)
					if err != nil {
						return err
					}
					if u.Email == users[i].Email {
						seen = i
					}
					if i%3 == 0 {
						return own
					}
					return nil
				})
				if i%3 == 0 && err != own || i%3 != 0 && err != nil || seen != i {
					t.Errorf("writer %d saw %d and got %v", i, seen, err)
				}
			})
		}
		group.Wait()
		for i, u := range users {
			err := db.Read(t.Context(), home, func(tx *store.Tx) error { _, err := tx.User(u.ID); return err })
			if i%3 == 0 && !errors.Is(err, store.ErrNotFound) || i%3 != 0 && err != nil {
				t.Errorf("user %d afterwards: %v", i, err)
			}
		}
	})
}

// What follows is about SQLite's writer: it needs to know that callers wait,
// which only a bubble can tell.

func TestWrite_failuresInAGroupTakeNothingOfTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := storetest.Open(t, time.Now)
		refused := errors.New("refused")
		release := occupy(t, db)
		var users [30]store.User
		var errs [30]error
		var panics [30]any
		var group sync.WaitGroup
		for i := range users {
			users[i] = newUser(fmt.Sprintf("u%d@example.com", i))
			group.Go(func() {
				defer func() { panics[i] = recover() }()
				errs[i] = db.Write(t.Context(), home, func(tx *store.Tx) error {
					err := tx.AddUser(users[i])
					switch {
					case err != nil:
						return err
					case i%5 == 1:
						return refused
					case i%5 == 2:
						return tx.AddUser(users[i]) // a duplicate
					case i%5 == 3:
						panic(fmt.Sprint("job ", i))
					}
					return nil
				})
			})
		}
		synctest.Wait()
		release()
		group.Wait()
		for i, u := range users {
			stands := db.Read(t.Context(), home, func(tx *store.Tx) error { _, err := tx.User(u.ID); return err }) == nil
			var good bool
			switch i % 5 {
			case 1:
				good = errs[i] == refused && panics[i] == nil && !stands
			case 2:
				good = errors.Is(errs[i], store.ErrDuplicate) && panics[i] == nil && !stands
			case 3:
				s, _ := panics[i].(string)
				good = strings.HasPrefix(s, fmt.Sprintf("job %d\n", i)) && strings.Contains(s, "writer_test.go") && !stands
			default:
				good = errs[i] == nil && panics[i] == nil && stands
			}
			if !good {
				t.Errorf("job %d: error %v, panic %v, stands %v", i, errs[i], panics[i], stands)
			}
		}
	})
}

// «Done» means on disk: a job that shares its commit with others is told so
// only after theirs have run.
func TestWrite_nobodyIsToldBeforeTheGroupCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := storetest.Open(t, time.Now)
		release := occupy(t, db)
		u := newUser("ada@example.com")
		told := make(chan error, 1)
		go func() { told <- db.Write(t.Context(), home, func(tx *store.Tx) error { return tx.AddUser(u) }) }()
		synctest.Wait()
		slow := make(chan struct{})
		last := make(chan error, 1)
		go func() { last <- db.Write(t.Context(), home, func(*store.Tx) error { <-slow; return nil }) }()
		synctest.Wait()
		go release()
		synctest.Wait() // the first job has run, the second is under way
		select {
		case err := <-told:
			t.Errorf("told %v before the commit", err)
		default:
		}
		err := db.Read(t.Context(), home, func(tx *store.Tx) error { _, err := tx.User(u.ID); return err })
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a reader before the commit: got %v, want ErrNotFound", err)
		}
		close(slow)
		if err := errors.Join(<-told, <-last); err != nil {
			t.Error(err)
		}
		err = db.Read(t.Context(), home, func(tx *store.Tx) error { _, err := tx.User(u.ID); return err })
		if err != nil {
			t.Errorf("a reader after the commit: %v", err)
		}
	})
}

func TestWrite_aCallerThatLeavesTheQueueTakesItsJobAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := storetest.Open(t, time.Now)
		release := occupy(t, db)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		ran := false
		err := db.Write(ctx, home, func(*store.Tx) error { ran = true; return nil })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", err)
		}
		release()
		write(t, db, func(*store.Tx) error { return nil }) // the queue is empty again
		if ran {
			t.Error("the job ran after its caller had been told it did not")
		}
	})
}

// fn writes to variables of its caller, who must therefore stay.
func TestWrite_aCallerStaysWhileItsJobRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := storetest.Open(t, time.Now)
		ctx, cancel := context.WithCancel(t.Context())
		u := newUser("ada@example.com")
		err := db.Write(ctx, home, func(tx *store.Tx) error {
			cancel()
			time.Sleep(time.Second) // the caller would have gone by now
			return tx.AddUser(u)
		})
		if err != nil {
			t.Errorf("got %v, want the result of the job", err)
		}
		read(t, db, func(tx *store.Tx) error { _, err := tx.User(u.ID); return err })
	})
}

func TestClose_letsQueuedWritesAndReadsFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := storetest.Open(t, time.Now)
		release := occupy(t, db)
		results := make(chan error, 11)
		for i := range 10 {
			go func() {
				results <- db.Write(t.Context(), home, func(tx *store.Tx) error { return tx.AddUser(newUser(fmt.Sprint(i))) })
			}()
		}
		reading := make(chan struct{})
		go func() {
			results <- db.Read(t.Context(), home, func(tx *store.Tx) error {
				<-reading
				_, err := tx.CountRole("member")
				return err
			})
		}()
		synctest.Wait()
		closed := make(chan error, 1)
		go func() { closed <- db.Close() }()
		synctest.Wait()
		release()
		for range 10 {
			if err := <-results; err != nil {
				t.Errorf("a write that was queued when Close came: %v", err)
			}
		}
		synctest.Wait()
		select {
		case err := <-closed:
			t.Errorf("Close returned %v with a read under way", err)
		default:
		}
		close(reading)
		if err := errors.Join(<-results, <-closed); err != nil {
			t.Error(err)
		}
		if err := db.Write(t.Context(), home, func(*store.Tx) error { return nil }); err == nil {
			t.Error("a write after Close was accepted")
		}
		if err := db.Read(t.Context(), home, func(*store.Tx) error { return nil }); err == nil {
			t.Error("a read after Close was accepted")
		}
		if err := db.Close(); err != nil {
			t.Errorf("closing twice: %v", err)
		}
	})
}

func TestRead_cannotWrite(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		u := newUser("ada@example.com")
		err := db.Read(t.Context(), home, func(tx *store.Tx) error { return tx.AddUser(u) })
		if err == nil {
			t.Error("a write inside Read was carried out")
		}
		err = db.Read(t.Context(), home, func(tx *store.Tx) error { _, err := tx.User(u.ID); return err })
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the user afterwards: got %v, want ErrNotFound", err)
		}
	})
}

func TestRead_givesUpWaitingWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := storetest.Open(t, time.Now)
		free := make(chan struct{})
		var group sync.WaitGroup
		for range 100 { // more than there are readers
			group.Go(func() {
				_ = db.Read(t.Context(), home, func(*store.Tx) error { <-free; return nil })
			})
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := db.Read(ctx, home, func(*store.Tx) error { return nil })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", err)
		}
		close(free)
		group.Wait()
		if err := ping(t, db); err != nil {
			t.Error(err)
		}
	})
}

func TestRead_aPanicGivesItsConnectionBack(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		for range 100 { // more than there are readers
			func() {
				defer func() { _ = recover() }()
				_ = db.Read(t.Context(), home, func(*store.Tx) error { panic("oh") })
			}()
		}
		if err := ping(t, db); err != nil {
			t.Error(err)
		}
	})
}

func TestTx_allRowsOfAWriteCarryOneInstant(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		clock.Set(clock.Now().Add(999 * time.Nanosecond))
		write(t, db, func(tx *store.Tx) error {
			before := tx.Now
			clock.Advance(time.Second)
			if !tx.Now.Equal(before) || tx.Now.Nanosecond()%1000 != 0 || tx.Now.Location() != time.UTC {
				t.Errorf("Now is %v, was %v; want one instant in microseconds, UTC", tx.Now, before)
			}
			return nil
		})
	})
}

// ping reads something.
func ping(t *testing.T, db *store.DB) error {
	return db.Read(t.Context(), home, func(tx *store.Tx) error {
		_, err := tx.HasValue("anything")
		return err
	})
}
