package store_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

// A database may hold tables of another program under our names, such as those
// of the server that this one replaces. To make ours beside or into them would
// break that one.
//
// Mission: C03, C04
func TestMigrate_refusesTheTablesOfAnotherProgram(t *testing.T) {
	theirUsers := `CREATE TABLE users (id VARCHAR(36) NOT NULL PRIMARY KEY, instance_id VARCHAR(255), email VARCHAR(255), encrypted_password VARCHAR(255))`
	theirHistory := `CREATE TABLE schema_migrations (version VARCHAR(14) NOT NULL)`
	rows := []string{`INSERT INTO users (id, email) VALUES ('1', 'ada@example.com')`, `INSERT INTO schema_migrations (version) VALUES ('00')`}
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			cases := []struct {
				what, space string
				make        []string
				names       string // what the error names of theirs
			}{
				{"users and a history of another form", "", append([]string{theirUsers, theirHistory}, rows...), ""},
				{"users alone", "", []string{theirUsers, rows[0]}, "users"},
				{"a history alone", "", []string{theirHistory, rows[1]}, "schema_migrations"},
				{"sessions alone", "", []string{`CREATE TABLE sessions (id INT)`}, "sessions"},
				{"users with our prefix", "shop", []string{strings.Replace(theirUsers, "users", "shop_users", 1)}, "shop_users"},
				{"a history with our prefix", "shop", []string{strings.Replace(theirHistory, "schema", "shop_schema", 1)}, "shop_schema_migrations"},
			}
			if engine == "postgres" {
				inSchema := func(space string) []string {
					return []string{
						`CREATE SCHEMA auth`, strings.Replace(theirUsers, "users", "auth.users", 1), strings.Replace(theirHistory, "schema", "auth.schema", 1),
					}
				}
				for _, space := range []string{"auth", "auth."} {
					cases = append(cases, struct {
						what, space string
						make        []string
						names       string
					}{"the schema " + space, space, inSchema(space), ""})
				}
			}
			for _, c := range cases {
				url := storetest.URL(t, engine)
				pool := plain(t, url)
				do(t, pool, c.make...)
				before := contents(t, engine, pool)
				db := node(t, store.Options{URL: url, Namespace: c.space, MaxConns: 2})
				_, err := db.Migrate(t.Context())
				_, err2 := db.Migrations(t.Context())
				_, err3 := db.StepDown(t.Context())
				for name, err := range map[string]error{"Migrate": err, "Migrations": err2, "StepDown": err3} {
					if err == nil {
						t.Errorf("%s, %s: taken for ours", c.what, name)
						continue
					}
					for _, mend := range []string{"another program", "DATABASE_URL", "DB_NAMESPACE", c.names} {
						if !strings.Contains(err.Error(), mend) {
							t.Errorf("%s, %s: %v; want %q in it", c.what, name, err, mend)
						}
					}
				}
				if diff := cmp.Diff(before, contents(t, engine, pool)); diff != "" {
					t.Errorf("%s: they were touched (-before +after):\n%s", c.what, diff)
				}
			}
		})
	}
}

// With a prefix of its own the new server stands beside the old.
//
// Mission: C03
func TestMigrate_goesBesideAnotherProgramWithAPrefix(t *testing.T) {
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			url := storetest.URL(t, engine)
			pool := plain(t, url)
			do(t, pool, `CREATE TABLE users (id VARCHAR(36) NOT NULL PRIMARY KEY, email VARCHAR(255))`, `INSERT INTO users (id, email) VALUES ('1', 'ada@example.com')`,
				`CREATE TABLE schema_migrations (version VARCHAR(14) NOT NULL)`, `INSERT INTO schema_migrations (version) VALUES ('00')`,
				`CREATE TABLE gate (id INT)`, `CREATE TABLE gateusers (id INT)`, `CREATE INDEX users_email ON users (email)`)
			before := contents(t, engine, pool)
			db := node(t, store.Options{URL: url, Namespace: "gate", MaxConns: 2})
			if _, err := db.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			useAll(t, db)
			after := contents(t, engine, pool)
			for table, rows := range before {
				if !slices.Equal(rows, after[table]) {
					t.Errorf("%s was touched: %q became %q", table, rows, after[table])
				}
			}
		})
	}
}
