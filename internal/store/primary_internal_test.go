package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
)

func TestPrimary_isTheNewestOfItsCluster(t *testing.T) {
	var p primary
	for i, c := range []struct {
		cluster  string
		timeline int64
		taken    bool
	}{
		{"a", 3, true},
		{"a", 3, true},  // another connection to it
		{"a", 4, true},  // a standby was promoted
		{"a", 3, false}, // and the one before came back
		{"a", 4, true},
		{"b", 1, true}, // a backup was put back into a new cluster
		{"b", 2, true},
		{"b", 1, false},
		{"a", 1, true}, // and the old one's folder after all
	} {
		err := p.take(c.cluster, c.timeline)
		if (err == nil) != c.taken {
			t.Errorf("step %d, timeline %d of %s: %v; want taken: %v", i, c.timeline, c.cluster, err, c.taken)
		}
	}
}

// unsent is an error of a connection that sent nothing.
type unsent struct{}

func (unsent) Error() string     { return "nothing was sent" }
func (unsent) SafeToRetry() bool { return true }

func TestUnknown_isWhateverMayHaveComeAfterTheCommit(t *testing.T) {
	state := func(code string) error { return fmt.Errorf("in a batch: %w", &pgconn.PgError{Code: code}) }
	number := func(n uint16) error { return fmt.Errorf("x: %w", &mysql.MySQLError{Number: n}) }
	type row struct {
		what string
		err  error
		want bool
	}
	for engine, c := range map[string]struct {
		mark func(error) error
		rows []row
	}{
		"postgres": {unknown, []row{
			{"none", nil, false},
			{"EOF", fmt.Errorf("x: %w", io.EOF), true},
			{"half a message", io.ErrUnexpectedEOF, true},
			{"a server that goes", state("57P01"), true},
			{"a server that crashed", state("57P02"), true},
			{"a connection failure, by a pooler", state("08006"), true},
			{"a protocol violation, by a pooler", state("08P01"), true},
			{"a serialization failure", state("40001"), false},
			{"a deadlock", state("40P01"), false},
			{"a duplicate", fmt.Errorf("%w: %w", ErrDuplicate, state("23505")), false},
			{"a standby", state("25006"), false},
			{"syntax", state("42601"), false},
			{"nothing was sent", unsent{}, false},
			{"deadline", fmt.Errorf("x: %w", context.DeadlineExceeded), false},
		}},
		"mysql": {unknownMySQL, []row{
			{"none", nil, false},
			{"EOF", io.EOF, true},
			{"an invalid connection", mysql.ErrInvalidConn, true},
			{"a server that goes", number(1053), true},
			{"killed", number(1927), true},
			{"nothing was sent", driver.ErrBadConn, false},
			{"read-only", number(1290), false},
			{"read-only transaction", number(1836), false},
			{"deadlock", number(1213), false},
			{"a duplicate", fmt.Errorf("%w: %w", ErrDuplicate, number(1062)), false},
			{"deadline", fmt.Errorf("x: %w", context.DeadlineExceeded), false},
		}},
	} {
		for _, r := range c.rows {
			got := c.mark(r.err)
			if errors.Is(got, errUnknown) != r.want || !errors.Is(got, r.err) || !r.want && got != r.err { //nolint:errorlint // the very same
				t.Errorf("%s: %s: %v; want unknown: %v", engine, r.what, got, r.want)
			}
		}
	}
}

// sqliteAt opens a migrated SQLite database of the test's own.
func sqliteAt(t *testing.T) *DB {
	t.Helper()
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	db, err := Open(t.Context(), Options{
		URL: "sqlite:" + filepath.Join(t.TempDir(), "gatehouse.db"), Synchronous: "NORMAL",
		StatementTimeout: time.Minute, LockTimeout: time.Minute, TransactionTimeout: time.Minute, Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	_, err = db.Migrate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// A newer program has said which programs may serve beside it. An older one
// that starts after it must not say otherwise.
func TestMigrate_theFloorNeverSinks(t *testing.T) {
	db := sqliteAt(t)
	pool, err := db.engine.migrations()
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	for said, want := range map[int64]int64{oldestBeside: oldestBeside, oldestBeside + 6: oldestBeside + 6, 10: 10} { // 10 sorts before 9 as a text
		_, err := pool.ExecContext(t.Context(), `UPDATE server_values SET value = ? WHERE name = ?`, strconv.AppendInt(nil, said, 10), floorName)
		if err == nil {
			_, err = db.Migrate(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := db.floor(t.Context(), pool)
		if err != nil || got != want {
			t.Errorf("the floor was %d and is %d, %v; want %d", said, got, err, want)
		}
	}
}

// A full disk ends the transaction that many share, and every savepoint in it.
// Each of them has to hear that it is the disk, and none that nobody knows
// what happened to a savepoint.
func TestWrite_allOfAGroupHearThatTheDiskIsFull(t *testing.T) {
	const writers = 16
	db := sqliteAt(t)
	w := db.engine.(*sqliteDB).writer
	limit := func(pages string) {
		t.Helper()
		err := w.do(t.Context(), func(c conn) error {
			return c.rows(`PRAGMA max_page_count = `+pages, nil, func(func(...any) error) error { return nil })
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	limit("1") // which is: those there are
	var group sync.WaitGroup
	var errs [writers]error
	var ids [writers]UserID
	began, queued := make(chan struct{}), make(chan struct{})
	for i := range writers {
		ids[i] = NewUserID()
		if i == 1 {
			<-began // the first is at work, and all others wait to join it
		}
		group.Go(func() {
			errs[i] = db.Write(t.Context(), TenantID{}, func(tx *Tx) error {
				if i == 0 {
					close(began)
					<-queued
					return nil // of it nothing needs a page
				}
				return tx.AddUser(User{ID: ids[i], Aud: "web", AppMetadata: make([]byte, 20_000), UserMetadata: []byte(`{}`)})
			})
		})
	}
	for len(w.queue) < writers-1 {
		runtime.Gosched()
	}
	close(queued)
	group.Wait()
	refused := 0
	for i, err := range errs {
		if err != nil {
			refused++
		}
		if err != nil && !errors.Is(err, ErrUnavailable) {
			t.Errorf("writer %d: %v; want unavailable", i, err)
		}
	}
	if refused < writers-1 {
		t.Errorf("%d of %d were refused: the disk was not full", refused, writers-1)
	}
	limit("1000000")
	for i, id := range ids {
		err := db.Read(t.Context(), TenantID{}, func(tx *Tx) error { _, err := tx.User(id); return err })
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("of writer %d, who was refused, stands a user: %v", i, err)
		}
	}
	err := db.Write(t.Context(), TenantID{}, func(tx *Tx) error {
		return tx.AddUser(User{ID: ids[0], Aud: "web", AppMetadata: make([]byte, 20_000), UserMetadata: []byte(`{}`)})
	})
	if err != nil {
		t.Errorf("when there is room again: %v", err)
	}
}
