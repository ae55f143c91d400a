package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrNoFunctions reports a database whose functions cannot be called.
var ErrNoFunctions = errors.New("store: only PostgreSQL has functions to call")

// functionLimit is how long a function may take.
const functionLimit = 2 * time.Second

// Function calls a function of the operator's with JSON and returns its JSON; of
// one that returns nothing that is {}. It has a connection of its own and holds
// no row of ours. It keeps to the deadline of ctx and to two seconds, and then
// its error wraps context.DeadlineExceeded. What the function says of a failure
// may repeat its input, so that no error does.
func (db *DB) Function(ctx context.Context, schema, name string, in []byte) ([]byte, error) {
	pg, ok := db.engine.(*postgresDB)
	if !ok {
		return nil, ErrNoFunctions
	}
	out, err := pg.function(ctx, schema, name, in)
	pg.noticed(err)
	switch state := sqlState(err); {
	case err == nil:
		return out, nil
	case state == "57014", errors.Is(err, context.DeadlineExceeded), ctx.Err() != nil:
		return nil, fmt.Errorf("store: the function took too long: %w", context.DeadlineExceeded)
	case state != "":
		return nil, fmt.Errorf("store: the function failed (SQLSTATE %s)", state)
	}
	return nil, errors.New("store: the function could not be called")
}

func (db *postgresDB) function(ctx context.Context, schema, name string, in []byte) (out []byte, err error) {
	limit := functionLimit
	if until, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(until)) //nolint:forbidigo // how long a caller waits is not the rows' time
	}
	if limit <= 0 {
		return nil, context.DeadlineExceeded
	}
	wait, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c, err := db.acquire(wait)
	if err != nil {
		return nil, err
	}
	defer c.Release()
	// The server ends it by itself; to hang up would cost the connection.
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), limit+time.Second/2)
	defer cancel()
	var b pgx.Batch
	b.Queue(`BEGIN`)
	b.Queue(`SET LOCAL statement_timeout = ` + strconv.FormatInt(max(1, limit.Milliseconds()), 10))
	b.Queue(`SELECT CAST(`+pgx.Identifier{schema, name}.Sanitize()+`(CAST($1 AS jsonb)) AS text)`, string(in))
	var text *string
	rs := c.Conn().SendBatch(ctx, &b)
	_, err = rs.Exec()
	if err == nil {
		_, err = rs.Exec()
	}
	if err == nil {
		err = rs.QueryRow().Scan(&text)
	}
	err = errors.Join(err, rs.Close())
	end := `COMMIT`
	if err != nil {
		end = `ROLLBACK`
	}
	_, ended := c.Exec(ctx, end)
	switch {
	case err != nil || ended != nil:
		return nil, errors.Join(err, ended)
	case text == nil:
		return []byte(`null`), nil
	case *text == "":
		return []byte(`{}`), nil
	}
	return []byte(*text), nil
}
