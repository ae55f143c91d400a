package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
)

func (v verdict) String() string { return [...]string{"final", "raced", "cut off", "lost"}[v] }

// refusedConn is the error of a server that is not there, as the system says it.
func refusedConn() error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

func TestVerdict_ofPostgres(t *testing.T) {
	state := func(code string) error { return fmt.Errorf("in a batch: %w", &pgconn.PgError{Code: code}) }
	for _, c := range []struct {
		what string
		err  error
		want verdict
	}{
		{"serialization failure", state("40001"), raced},
		{"deadlock", state("40P01"), raced},
		{"a lock that did not come in time", state("55P03"), raced},
		{"going down", state("57P01"), cutOff},
		{"crashed", state("57P02"), cutOff},
		{"not up yet", state("57P03"), cutOff},
		{"a standby", state("25006"), cutOff},
		{"connection failure", state("08006"), cutOff},
		{"took too long", state("57014"), lost},
		{"too many connections", state("53300"), lost},
		{"disk full", state("53100"), lost},
		{"out of memory", state("53200"), lost},
		{"an I/O error", state("58030"), lost},
		{"duplicate", state("23505"), final},
		{"no such user", state("23503"), final},
		{"syntax", state("42601"), final},
		{"in a failed transaction", state("25P02"), final},
		{"wrong password", state("28P01"), final},
		{"EOF", fmt.Errorf("x: %w", io.EOF), cutOff},
		{"half a message", io.ErrUnexpectedEOF, cutOff},
		{"closed", net.ErrClosed, cutOff},
		{"refused", refusedConn(), cutOff},
		{"reset", &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}, cutOff},
		{"in time no answer", &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, lost},
		{"deadline", fmt.Errorf("x: %w", context.DeadlineExceeded), lost},
	} {
		if got := postgresDialect.judge(c.err); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
	for code, want := range map[string]bool{"23505": true, "23503": false, "40001": false, "": false} {
		if got := postgresDialect.duplicate(state(code)); got != want {
			t.Errorf("%q is a duplicate: %v, want %v", code, got, want)
		}
	}
}

func TestVerdict_ofMySQL(t *testing.T) {
	number := func(n uint16) error { return fmt.Errorf("x: %w", &mysql.MySQLError{Number: n}) }
	for _, c := range []struct {
		what string
		err  error
		want verdict
	}{
		{"deadlock", number(1213), raced},
		{"a lock that did not come in time", number(1205), raced},
		{"a row that changed", number(1020), raced},
		{"going down", number(1053), cutOff},
		{"not in the cluster", number(1047), cutOff},
		{"killed", number(1927), cutOff},
		{"read-only", number(1290), cutOff},
		{"read-only transaction", number(1836), cutOff},
		{"took too long", number(3024), lost},
		{"took too long on MariaDB", number(1969), lost},
		{"interrupted", number(1317), lost},
		{"disk full", number(1021), lost},
		{"table full", number(1114), lost},
		{"too many connections", number(1040), lost},
		{"too many of one user", number(1203), lost},
		{"out of memory", number(1037), lost},
		{"duplicate", number(1062), final},
		{"no such user", number(1452), final},
		{"too long", number(1406), final},
		{"syntax", number(1064), final},
		{"wrong password", number(1045), final},
		{"a bad connection", fmt.Errorf("x: %w", driver.ErrBadConn), cutOff},
		{"an invalid connection", mysql.ErrInvalidConn, cutOff},
		{"EOF", io.EOF, cutOff},
		{"refused", refusedConn(), cutOff},
		{"in time no answer", &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, lost},
		{"deadline", context.DeadlineExceeded, lost},
	} {
		if got := mysqlDialect.judge(c.err); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
	for n, want := range map[uint16]bool{1062: true, 1452: false, 1213: false} {
		if got := mysqlDialect.duplicate(number(n)); got != want {
			t.Errorf("%d is a duplicate: %v, want %v", n, got, want)
		}
	}
}

// What is the same on every engine, before it is asked.
func TestVerdict_ofOurOwn(t *testing.T) {
	for _, d := range []*dialect{sqliteDialect, postgresDialect, mysqlDialect} {
		for _, c := range []struct {
			what string
			err  error
			want verdict
		}{
			{"no error", nil, final},
			{"not found", fmt.Errorf("x: %w", ErrNotFound), final},
			{"duplicate", fmt.Errorf("x: %w: %w", ErrDuplicate, &mysql.MySQLError{Number: 1213}), final},
			{"closed", errClosed, final},
			{"the caller has gone", fmt.Errorf("x: %w", context.Canceled), final},
			{"the caller's own", errors.New("refused"), final},
			{"a commit without answer, or the operation would be done twice", fmt.Errorf("%w: %w", errUnknown, io.EOF), lost},
			{"no connection free, or the queue would grow", fmt.Errorf("%w: %w", errWaited, context.DeadlineExceeded), lost},
		} {
			if got := d.judge(c.err); got != c.want {
				t.Errorf("%s: %s: %v, want %v", d.name, c.what, got, c.want)
			}
		}
	}
}

// again repeats what may succeed, and tells the rest apart for whoever calls.
func TestAgain_endsInWhatTheVerdictSays(t *testing.T) {
	synctest.Test(t, endsInWhatTheVerdictSays) // so that its waits cost nothing
}

func endsInWhatTheVerdictSays(t *testing.T) {
	race, cut := &pgconn.PgError{Code: "40001"}, &pgconn.PgError{Code: "57P01"}
	own := errors.New("refused")
	for _, c := range []struct {
		what        string
		errs        []error // of the tries; the last for all that follow
		tries       int
		unavailable bool
		want        error
	}{
		{"done at once", []error{nil}, 1, false, nil},
		{"done after nine races", []error{race, race, race, race, race, race, race, race, race, nil}, 10, false, nil},
		{"races without end", []error{race}, 10, true, race},
		{"done on the third connection", []error{cut, cut, nil}, 3, false, nil},
		{"cut off again and again", []error{cut}, 3, true, cut},
		{"one of each", []error{race, cut, race, nil}, 4, false, nil},
		{"the caller's own", []error{own}, 1, false, own},
		{"a duplicate after a race", []error{race, ErrDuplicate}, 2, false, ErrDuplicate},
		{"unknown", []error{fmt.Errorf("%w: %w", errUnknown, io.EOF)}, 1, true, io.EOF},
	} {
		db := &DB{dialect: postgresDialect, limits: timeouts{transaction: 5 * time.Second}}
		tries, began := 0, time.Now()
		err := db.again(t.Context(), func() error {
			tries++
			return c.errs[min(tries, len(c.errs))-1]
		})
		if waited := time.Since(began); waited > 2*time.Second || c.tries > 1 && waited < time.Millisecond {
			t.Errorf("%s: waited %v between %d tries", c.what, waited, tries)
		}
		if tries != c.tries || errors.Is(err, ErrUnavailable) != c.unavailable || !errors.Is(err, c.want) {
			t.Errorf("%s: %d tries and %v; want %d and %v, unavailable: %v", c.what, tries, err, c.tries, c.want, c.unavailable)
		}
	}
}

func TestAgain_endsWithItsCaller(t *testing.T) {
	db := &DB{dialect: postgresDialect, limits: timeouts{transaction: 5 * time.Second}}
	ctx, cancel := context.WithCancel(t.Context())
	tries := 0
	err := db.again(ctx, func() error {
		tries++
		cancel()
		return &pgconn.PgError{Code: "40001"}
	})
	if tries != 1 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d tries and %v; want one, and the context's error", tries, err)
	}
}

// However long a try takes, none begins after the time of all is up.
func TestAgain_startsNothingAfterItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := &DB{dialect: postgresDialect, limits: timeouts{transaction: 5 * time.Second}}
		tries, began := 0, time.Now()
		err := db.again(t.Context(), func() error {
			tries++
			time.Sleep(time.Second) // a lock that does not come
			return &pgconn.PgError{Code: "55P03"}
		})
		if took := time.Since(began); !errors.Is(err, ErrUnavailable) || took > 6*time.Second || tries < 3 {
			t.Errorf("%d tries, %v in %v; want several, unavailable, and 6 s at most", tries, err, took)
		}
	})
}
