package store

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestTranslate_putsPrefixesBeforeTablesAndNumbersIntoPlaceholders(t *testing.T) {
	for _, c := range []struct{ what, query, prefixed, schema, numbered string }{
		{
			"a select with a join",
			`SELECT s.id, u.id FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.tenant_id = ? AND s.id = ?`,
			`SELECT s.id, u.id FROM shop_sessions s JOIN shop_users u ON u.id = s.user_id WHERE s.tenant_id = ? AND s.id = ?`,
			`SELECT s.id, u.id FROM auth.sessions s JOIN auth.users u ON u.id = s.user_id WHERE s.tenant_id = $1 AND s.id = $2`,
			`SELECT s.id, u.id FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.tenant_id = $1 AND s.id = $2`,
		},
		{
			"an insert, an update, a delete",
			"INSERT INTO events (id) VALUES (?); UPDATE outbox SET tries = ?; DELETE FROM identities WHERE id = ?",
			"INSERT INTO shop_events (id) VALUES (?); UPDATE shop_outbox SET tries = ?; DELETE FROM shop_identities WHERE id = ?",
			"INSERT INTO auth.events (id) VALUES ($1); UPDATE auth.outbox SET tries = $2; DELETE FROM auth.identities WHERE id = $3",
			"INSERT INTO events (id) VALUES ($1); UPDATE outbox SET tries = $2; DELETE FROM identities WHERE id = $3",
		},
		{
			"columns, aliases and values of a table's name",
			`SELECT users, x.sessions, 'leases' FROM users AS users WHERE sessions = 'FROM' AND tenants.events > ?`,
			`SELECT users, x.sessions, 'leases' FROM shop_users AS users WHERE sessions = 'FROM' AND tenants.events > ?`,
			`SELECT users, x.sessions, 'leases' FROM auth.users AS users WHERE sessions = 'FROM' AND tenants.events > $1`,
			`SELECT users, x.sessions, 'leases' FROM users AS users WHERE sessions = 'FROM' AND tenants.events > $1`,
		},
		{
			"a subquery and other tables",
			`SELECT 1 FROM (SELECT slot FROM user_counts) kept JOIN other ON 1 = ? JOIN users_old o`,
			`SELECT 1 FROM (SELECT slot FROM shop_user_counts) kept JOIN other ON 1 = ? JOIN users_old o`,
			`SELECT 1 FROM (SELECT slot FROM auth.user_counts) kept JOIN other ON 1 = $1 JOIN users_old o`,
			`SELECT 1 FROM (SELECT slot FROM user_counts) kept JOIN other ON 1 = $1 JOIN users_old o`,
		},
		{
			"words that look alike",
			`SELECT n FROM users FOR UPDATE SKIP LOCKED ON CONFLICT (a) DO UPDATE SET n = ? ON DUPLICATE KEY UPDATE n = n + ? ON DELETE CASCADE`,
			`SELECT n FROM shop_users FOR UPDATE SKIP LOCKED ON CONFLICT (a) DO UPDATE SET n = ? ON DUPLICATE KEY UPDATE n = n + ? ON DELETE CASCADE`,
			`SELECT n FROM auth.users FOR UPDATE SKIP LOCKED ON CONFLICT (a) DO UPDATE SET n = $1 ON DUPLICATE KEY UPDATE n = n + $2 ON DELETE CASCADE`,
			`SELECT n FROM users FOR UPDATE SKIP LOCKED ON CONFLICT (a) DO UPDATE SET n = $1 ON DUPLICATE KEY UPDATE n = n + $2 ON DELETE CASCADE`,
		},
		{
			"over lines", "SELECT 1\n\tFROM\n\t\tusers\n\tJOIN\tsessions", "SELECT 1\n\tFROM\n\t\tshop_users\n\tJOIN\tshop_sessions",
			"SELECT 1\n\tFROM\n\t\tauth.users\n\tJOIN\tauth.sessions", "SELECT 1\n\tFROM\n\t\tusers\n\tJOIN\tsessions",
		},
		{"nothing of ours", "COMMIT", "COMMIT", "COMMIT", "COMMIT"},
		{"nothing", "", "", "", ""},
		{"letters beyond ASCII", "-- née ? FROM users é", "-- née ? FROM shop_users é", "-- née $1 FROM auth.users é", "-- née $1 FROM users é"},
		{
			"tables and their indexes",
			"CREATE TABLE IF NOT EXISTS users (\n\tid BYTEA REFERENCES tenants (id)\n);\nCREATE UNIQUE INDEX        users_email ON users (email);\nCREATE INDEX x ON sessions (id);\nDROP TABLE IF EXISTS users;\nDROP INDEX users_email;\nALTER TABLE events ADD x INT;",
			"CREATE TABLE IF NOT EXISTS shop_users (\n\tid BYTEA REFERENCES shop_tenants (id)\n);\nCREATE UNIQUE INDEX        shop_users_email ON shop_users (email);\nCREATE INDEX shop_x ON shop_sessions (id);\nDROP TABLE IF EXISTS shop_users;\nDROP INDEX shop_users_email;\nALTER TABLE shop_events ADD x INT;",
			"CREATE TABLE IF NOT EXISTS auth.users (\n\tid BYTEA REFERENCES auth.tenants (id)\n);\nCREATE UNIQUE INDEX        users_email ON auth.users (email);\nCREATE INDEX x ON auth.sessions (id);\nDROP TABLE IF EXISTS auth.users;\nDROP INDEX users_email;\nALTER TABLE auth.events ADD x INT;",
			"CREATE TABLE IF NOT EXISTS users (\n\tid BYTEA REFERENCES tenants (id)\n);\nCREATE UNIQUE INDEX        users_email ON users (email);\nCREATE INDEX x ON sessions (id);\nDROP TABLE IF EXISTS users;\nDROP INDEX users_email;\nALTER TABLE events ADD x INT;",
		},
		{
			"an index that may be there",
			"CREATE INDEX IF NOT EXISTS users_email ON users (email); DROP INDEX IF EXISTS users_email; SELECT table_name = /* TABLE */ 'users'",
			"CREATE INDEX IF NOT EXISTS shop_users_email ON shop_users (email); DROP INDEX IF EXISTS shop_users_email; SELECT table_name = /* TABLE */ 'shop_users'",
			"CREATE INDEX IF NOT EXISTS users_email ON auth.users (email); DROP INDEX IF EXISTS users_email; SELECT table_name = /* TABLE */ 'auth.users'",
			"CREATE INDEX IF NOT EXISTS users_email ON users (email); DROP INDEX IF EXISTS users_email; SELECT table_name = /* TABLE */ 'users'",
		},
	} {
		for _, as := range []struct {
			prefix string
			number bool
			want   string
		}{{"shop_", false, c.prefixed}, {"auth.", true, c.schema}, {"", true, c.numbered}, {"", false, c.query}} {
			n := names{prefix: as.prefix, number: as.number, cache: &sync.Map{}}
			for _, time := range []string{"first", "second"} { // the second is remembered
				if got := n.say(c.query); got != as.want {
					t.Errorf("%s, prefix %q, the %s time:\ngot  %s\nwant %s", c.what, as.prefix, time, got, as.want)
				}
			}
		}
	}
}

func TestTranslate_numbersPastNine(t *testing.T) {
	n := names{number: true, cache: &sync.Map{}}
	got := n.say(strings.Repeat("?,", 12))
	if want := "$1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A table of the migrations that statements do not know would not get the
// prefix, and two houses would share it.
func TestTranslate_knowsEveryTableOfTheMigrations(t *testing.T) {
	created := regexp.MustCompile(`CREATE TABLE (?:IF NOT EXISTS )?(\w+)`)
	found := map[string][]string{}
	err := fs.WalkDir(migrations, "migrations", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(migrations, path)
		for _, m := range created.FindAllStringSubmatch(string(text), -1) {
			engine := strings.Split(path, "/")[1]
			found[engine] = append(found[engine], m[1])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := make([]string, 0, len(tables))
	for name := range tables {
		want = append(want, name)
	}
	slices.Sort(want)
	for _, engine := range []string{"sqlite", "postgres", "mysql"} {
		slices.Sort(found[engine])
		if !slices.Equal(found[engine], want) {
			t.Errorf("%s makes the tables %v, statements know %v", engine, found[engine], want)
		}
	}
}

// With a prefix, no name of a table or an index is left as it was written.
func TestTranslate_leavesNoNameOfAMigrationWithoutPrefix(t *testing.T) {
	bare := regexp.MustCompile(`\b(?:(?:TABLE|EXISTS|INTO|FROM|REFERENCES|INDEX|ON)\s+|table_name = (?:/\* TABLE \*/ )?')(\w+)`)
	column := regexp.MustCompile(`COLUMN IF (?:NOT )?EXISTS \w+`)
	allowed := []string{"IF", "NOT", "DELETE", "EXISTS", "information_schema"}
	for _, d := range []*dialect{sqliteDialect, postgresDialect, mysqlDialect} {
		db := &DB{dialect: d, names: names{prefix: "shop_", cache: &sync.Map{}}}
		err := fs.WalkDir(db.history(), ".", func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			text, err := fs.ReadFile(db.history(), path)
			text = column.ReplaceAll(text, nil)
			for _, m := range bare.FindAllStringSubmatch(string(text), -1) {
				if !strings.HasPrefix(m[1], "shop_") && !slices.Contains(allowed, m[1]) {
					t.Errorf("%s %s: %q", d.name, path, m[0])
				}
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}
