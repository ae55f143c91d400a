package store

import (
	"fmt"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
)

func TestReadOnly_knowsThoseWhoTakeNoWrites(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{&pgconn.PgError{Code: "25006"}, true},
		{&pgconn.PgError{Code: "57P01"}, false},
		{&mysql.MySQLError{Number: 1290}, true},
		{&mysql.MySQLError{Number: 1836}, true},
		{&mysql.MySQLError{Number: 1213}, false},
		{ErrUnavailable, false},
	} {
		if got := readOnly(fmt.Errorf("%w: %w", ErrUnavailable, c.err)); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}
