package storetest

import (
	"context"
	"database/sql"
	"regexp"
	"testing"
)

// borrower is a test that ends when end is called.
type borrower struct {
	testing.TB
	failed bool
	last   []func()
}

func (b *borrower) Cleanup(f func()) { b.last = append(b.last, f) }
func (b *borrower) Failed() bool     { return b.failed }

func (b *borrower) end() {
	for i := len(b.last) - 1; i >= 0; i-- {
		b.last[i]()
	}
}

var named = regexp.MustCompile(`g[0-9a-f]{8}_[0-9]+`)

func TestUse_givesADatabaseAgainOnlyWhenItIsAsGoodAsNew(t *testing.T) {
	for _, engine := range Engines() {
		if engine == "sqlite" { // a file each
			continue
		}
		s := newServer(engine) // by itself, so that no other test has what comes back
		after := func(failed bool, statements string) (before, next string) {
			t.Helper()
			b := &borrower{TB: t, failed: failed}
			before = s.use(b)
			name := named.FindString(before)
			if statements != "" {
				err := s.do(context.Background(), name, statements)
				if err != nil {
					t.Fatal(err)
				}
			}
			b.end()
			b = &borrower{TB: t}
			next = s.use(b)
			found, err := s.look(t.Context(), named.FindString(next))
			if err != nil {
				t.Fatal(err)
			}
			if found.schema != s.fresh.schema || len(found.rows) != len(s.fresh.rows) {
				t.Errorf("%s: after %q the next test got %d rows %q, want %d", engine, statements, len(found.rows), found.rows, len(s.fresh.rows))
			}
			b.end()
			return before, next
		}
		for _, harmless := range []string{
			"",
			"DELETE FROM user_counts; DELETE FROM schema_migrations; DELETE FROM tenants",
			"UPDATE tenants SET name = concat(name, '''; DROP TABLE tenants'); INSERT INTO server_values (name, value) VALUES ('é\"', 'x')",
		} {
			if before, next := after(false, harmless); before != next {
				t.Errorf("%s: after %q: got %s, want %s again: making one takes ten times as long", engine, harmless, next, before)
			}
		}
		for _, harm := range []string{
			"CREATE TABLE more (a INT)",
			"DROP TABLE outbox",
			"ALTER TABLE users ADD COLUMN more INT",
			"CREATE INDEX more ON sessions (id)",
			"ALTER TABLE sessions DROP CONSTRAINT " + foreignKey(t, s),
		} {
			if before, next := after(false, harm); before == next {
				t.Errorf("%s: after %q the next test got the same database", engine, harm)
			}
		}
		if before, next := after(true, ""); before == next {
			t.Errorf("%s: after a test that failed the next got the same database", engine)
		}
	}
}

// foreignKey is the name of one that sessions have.
func foreignKey(t *testing.T, s *server) string {
	t.Helper()
	err := s.ready()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	err = s.on(t.Context(), s.template(), func(c *sql.Conn) (err error) {
		names, err = texts(t.Context(), c, `SELECT constraint_name FROM information_schema.table_constraints
			WHERE constraint_type = 'FOREIGN KEY' AND table_name = 'sessions' AND table_schema IN ('public', '`+s.template()+`')`)
		return err
	})
	if err != nil || len(names) == 0 {
		t.Fatalf("sessions have the foreign keys %q, want one (%v)", names, err)
	}
	return names[0]
}
