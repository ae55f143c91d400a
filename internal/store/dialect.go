package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/pressly/goose/v3"
)

// dialect is all that may differ between engines in what is said to them. A
// statement that needs more than this is rewritten until it does not.
type dialect struct {
	name  string
	goose goose.Dialect

	// holdFirst locks a user by a statement of its own before it is read, so
	// that the reading statement sees all that was committed before, and the
	// user is locked before anything else that is read with it. It has the
	// condition for %. Empty: there is one writer.
	holdFirst string
	// claim ends a query for work: rows that another worker is taking are
	// passed over.
	claim string
	// by names the index a statement is to take, for %, to an engine that would
	// choose another: SQLite knows nothing of how many rows a value has, and
	// MySQL locks what it walks over. byDropping is the same for DELETE.
	by, byDropping string
	// countUsers adds to a counter that need not exist yet.
	countUsers string
	// orHold ends the INSERT of a counter that may be there already: then it is
	// locked, until the commit, and stays as it is. To lock it by half, as INSERT
	// IGNORE of MySQL does, would have two who count at one instant wait for each
	// other.
	orHold string
	// orPass ends the INSERT of a counter that may be there already: then nothing
	// happens. Empty: it is a duplicate, of which the server says nothing in its
	// own log.
	orPass string
	// asText turns the JSON of a column into text that LIKE takes, with the
	// column's name for %.
	asText string

	// clock asks for the database's instant, in microseconds.
	clock string
	// verdict tells what an error of the engine means for the operation.
	verdict func(error) verdict
	// duplicate tells a broken unique rule.
	duplicate func(error) bool
}

// verdict is what an error means for whoever made the call.
type verdict int

const (
	final  verdict = iota // the caller's, or none: no use in trying again
	raced                 // nothing was done; try again, somebody was in the way
	cutOff                // nothing was done; the connection or the server went away
	lost                  // not now, and trying again at once is no help
)

// errUnknown marks a commit whose answer never came.
var errUnknown = errors.New("the connection was lost while committing; the change may have happened")

// judge tells what to do about an error of an operation.
func (d *dialect) judge(err error) verdict {
	switch {
	case err == nil, errors.Is(err, ErrNotFound), errors.Is(err, ErrDuplicate), errors.Is(err, errClosed), errors.Is(err, context.Canceled):
		return final
	case errors.Is(err, errUnknown), errors.Is(err, errWaited):
		return lost
	}
	return d.verdict(err)
}

// errWaited reports that no connection became free in time.
var errWaited = errors.New("all connections to the database are busy")

// timeouts bound what a database may take.
type timeouts struct {
	statement, lock, transaction time.Duration
}

// names are the tables of one namespace.
type names struct {
	prefix string    // of tables: "", "shop_" or "auth."
	number bool      // placeholders are $1, not ?
	cache  *sync.Map // statement as written → as sent
}

// tables are the tables of the schema, which statements call by these names.
var tables = map[string]bool{
	"tenants": true, "tenant_hosts": true, "server_values": true, "users": true, "identities": true, "credentials": true, "sessions": true,
	"challenges": true, "events": true, "outbox": true, "signing_keys": true, "leases": true, "user_counts": true, "counters": true,
	"audit_queue": true, "audit_trail": true, "audit_heads": true, "audit_checkpoints": true,
	"webhook_endpoints": true, "webhook_deliveries": true, "connections": true, "connection_domains": true,
}

// indexes are those that statements name.
var indexes = map[string]bool{
	"identities_user": true, "sessions_user": true, "credentials_user": true, "challenges_user": true,
	"challenges_sent": true, "events_user": true, "users_created": true,
	"webhook_endpoints_next": true, "webhook_deliveries_queue": true, "webhook_deliveries_user": true, "webhook_deliveries_age": true, "connection_domains_of": true,
}

// say returns a statement as this database wants it: tables by their full
// names, placeholders by its style. Texts are constants, so the cache is small.
func (n names) say(query string) string {
	if n.prefix == "" && !n.number {
		return query
	}
	if said, ok := n.cache.Load(query); ok {
		return said.(string)
	}
	said := n.translate(query)
	n.cache.Store(query, said)
	return said
}

// beforeTable are the words a table's name follows.
var beforeTable = map[string]bool{"FROM": true, "JOIN": true, "INTO": true, "UPDATE": true, "TABLE": true, "REFERENCES": true, "ON": true, "EXISTS": true}

// translate puts the prefix before every table and the numbers into the
// placeholders.
func (n names) translate(query string) string {
	var b strings.Builder
	last, count := "", 0
	for len(query) > 0 {
		word := strings.IndexFunc(query, func(r rune) bool {
			return r != '_' && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9')
		})
		switch {
		case word < 0:
			word = len(query)
		case word == 0:
			if query[0] == '?' && n.number {
				count++
				b.WriteString("$" + strconv.Itoa(count))
			} else {
				b.WriteByte(query[0])
			}
			query = query[1:]
			continue
		}
		w := query[:word]
		if last == "INDEX" && (w == "IF" || w == "NOT" || w == "EXISTS") { // its name is yet to come
			b.WriteString(w)
			query = query[word:]
			continue
		}
		if (beforeTable[last] && tables[w]) || (last == "INDEX" || last == "BY" && indexes[w]) && n.indexed() {
			b.WriteString(n.prefix)
		}
		b.WriteString(w)
		last, query = w, query[word:]
	}
	return b.String()
}

// indexed tells whether indexes carry the prefix: in a schema they live beside
// their table, and must be named without it.
func (n names) indexed() bool { return !strings.HasSuffix(n.prefix, ".") }

// table is the full name of a table.
func (n names) table(name string) string { return n.prefix + name }

// plain turns arguments into what all drivers bind alike: ids are bytes, no
// bytes are empty bytes, and text is text, which PostgreSQL insists on: UTF-8
// without NUL.
func plain(args []any) []any {
	for i, a := range args {
		switch v := a.(type) {
		case string:
			if !utf8.ValidString(v) || strings.IndexByte(v, 0) >= 0 {
				args[i] = strings.ReplaceAll(strings.ToValidUTF8(v, "\uFFFD"), "\x00", "\uFFFD")
			}
		case []byte:
			if v == nil {
				args[i] = []byte{}
			}
		case driver.Valuer:
			b, err := v.Value()
			if err == nil { // ids never fail
				args[i] = b
			}
		}
	}
	return args
}

// by says which index a statement is to take of the table before it.
func (tx *Tx) by(index string) string { return strings.Replace(tx.db.dialect.by, "%", index, 1) }

// byDropping is by for DELETE.
func (tx *Tx) byDropping(index string) string {
	return strings.Replace(tx.db.dialect.byDropping, "%", index, 1)
}

// hold locks the user that a Write is about to read, until it commits: two who
// change one user at an instant do so one after the other, and neither writes
// back what the other has changed.
func (tx *Tx) hold(where string, args ...any) error {
	if tx.may != writes || tx.db.holdFirst == "" {
		return nil
	}
	return tx.later(strings.Replace(tx.db.holdFirst, "%", where, 1), append([]any{tx.Tenant}, args...)...)
}
