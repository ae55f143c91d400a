package store_test

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

// shape is what a database is made of: columns and whether they may be NULL,
// what is unique and what refers to what, in words that are the same on every
// engine. The history and its lock are another program's work.
func shape(t *testing.T, engine string, pool *sql.DB) []string {
	t.Helper()
	queries := map[string][]string{
		"sqlite": {
			`SELECT m.name || ' has ' || c.name || CASE c."notnull" WHEN 1 THEN '' ELSE ' or NULL' END FROM sqlite_master m, pragma_table_info(m.name) c
				WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite!_%' ESCAPE '!'`,
			`SELECT m.name || ' is unique by ' || (SELECT group_concat(name) FROM (SELECT name FROM pragma_index_info(i.name) ORDER BY seqno))
				FROM sqlite_master m, pragma_index_list(m.name) i WHERE m.type = 'table' AND i."unique" = 1`,
			`SELECT m.name || ' refers by ' || group_concat(f."from") || ' to ' || f."table" || ' ' || f.on_delete
				FROM sqlite_master m, pragma_foreign_key_list(m.name) f WHERE m.type = 'table' GROUP BY m.name, f.id`,
		},
		"postgres": {
			`SELECT table_name || ' has ' || column_name || CASE is_nullable WHEN 'NO' THEN '' ELSE ' or NULL' END FROM information_schema.columns WHERE table_schema = 'public'`,
			`SELECT x.indrelid::regclass || ' is unique by ' || (SELECT string_agg(a.attname, ',' ORDER BY k.n) FROM unnest(x.indkey) WITH ORDINALITY k (attnum, n)
				JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.attnum)
				FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid WHERE x.indisunique AND x.indisvalid AND c.relnamespace = 'public'::regnamespace`,
			`SELECT conrelid::regclass || ' refers by ' || (SELECT string_agg(a.attname, ',' ORDER BY k.n) FROM unnest(conkey) WITH ORDINALITY k (attnum, n)
				JOIN pg_attribute a ON a.attrelid = conrelid AND a.attnum = k.attnum) || ' to ' || confrelid::regclass || CASE confdeltype WHEN 'c' THEN ' CASCADE' ELSE ' NO ACTION' END
				FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace`,
		},
		"mysql": {
			`SELECT CONCAT(table_name, ' has ', column_name, IF(is_nullable = 'NO', '', ' or NULL')) FROM information_schema.columns WHERE table_schema = DATABASE()`,
			`SELECT CONCAT(table_name, ' is unique by ', GROUP_CONCAT(column_name ORDER BY seq_in_index)) FROM information_schema.statistics
				WHERE table_schema = DATABASE() AND non_unique = 0 GROUP BY table_name, index_name`,
			`SELECT CONCAT(k.table_name, ' refers by ', GROUP_CONCAT(k.column_name ORDER BY k.ordinal_position), ' to ', r.referenced_table_name, ' ',
				IF(r.delete_rule = 'RESTRICT', 'NO ACTION', r.delete_rule))
				FROM information_schema.referential_constraints r
				JOIN information_schema.key_column_usage k ON k.constraint_schema = r.constraint_schema AND k.constraint_name = r.constraint_name AND k.table_name = r.table_name
				WHERE r.constraint_schema = DATABASE() GROUP BY k.table_name, k.constraint_name, r.referenced_table_name, r.delete_rule`,
		},
	}
	var all []string
	for _, q := range queries[engine] {
		for _, line := range ask(t, pool, q) {
			if !strings.HasPrefix(line, "schema_") {
				all = append(all, line)
			}
		}
	}
	slices.Sort(all)
	return all
}

// history is what the database says was migrated, once for each time it was.
func history(t *testing.T, pool *sql.DB) []string {
	t.Helper()
	return ask(t, pool, `SELECT version_id FROM schema_migrations WHERE version_id > 0 ORDER BY version_id`)
}

func TestMigrations_haveTheSameNumbersAndNamesOnEveryEngine(t *testing.T) {
	names := map[string][]string{}
	for _, engine := range []string{"sqlite", "postgres", "mysql"} {
		files, err := filepath.Glob("migrations/" + engine + "/*.sql")
		if err != nil {
			t.Fatal(err)
		}
		for i, f := range files {
			name := filepath.Base(f)
			names[engine] = append(names[engine], name)
			if !strings.HasPrefix(name, fmt.Sprintf("%04d_", i+1)) {
				t.Errorf("%s is number %d of its folder", f, i+1)
			}
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, mark := range []string{"-- +goose Up\n", "-- +goose Down\n"} {
				if strings.Count(string(text), mark) != 1 {
					t.Errorf("%s does not have the line %q once", f, mark)
				}
			}
		}
	}
	dirs, err := os.ReadDir("migrations")
	if err != nil || len(dirs) != len(names) || len(names["sqlite"]) == 0 {
		t.Errorf("the folders of migrations are %v, %v", dirs, err)
	}
	for _, engine := range []string{"postgres", "mysql"} {
		if diff := cmp.Diff(names["sqlite"], names[engine]); diff != "" {
			t.Errorf("%s differs from sqlite (-sqlite +%s):\n%s", engine, engine, diff)
		}
	}
	// What one may undo, all may.
	for _, name := range names["sqlite"] {
		safe := map[bool]int{}
		for engine := range names {
			text, err := os.ReadFile("migrations/" + engine + "/" + name)
			if err != nil {
				t.Fatal(err)
			}
			safe[strings.HasPrefix(string(text), "-- Safe to undo")]++
		}
		if len(safe) != 1 {
			t.Errorf("%s is safe to undo on some engines and not on others", name)
		}
	}
}

// One SQL text for all needs one schema for all.
func TestMigrations_makeTheSameSchemaOnEveryEngine(t *testing.T) {
	want := shape(t, "sqlite", plain(t, storetest.MigratedURL(t, "sqlite")))
	for _, must := range []string{
		"users is unique by tenant_id,email", "users has email or NULL", "challenges is unique by tenant_id,token_hash",
		"sessions refers by tenant_id,user_id to users CASCADE", "leases has holder",
	} {
		if !slices.Contains(want, must) {
			t.Errorf("the schema lacks %q: what is compared is not it", must)
		}
	}
	onServers(t, func(t *testing.T, engine, url string) {
		if diff := cmp.Diff(want, shape(t, engine, plain(t, url))); diff != "" {
			t.Errorf("(-sqlite +%s):\n%s", engine, diff)
		}
	})
}

// Text that is a key, an address or a hash is compared byte by byte, so no
// column of MySQL may have a collation that does otherwise.
func TestMigrations_leaveNoLooseCollation(t *testing.T) {
	onServers(t, func(t *testing.T, engine, url string) {
		loose := ask(t, plain(t, url), map[string]string{
			"mysql": `SELECT CONCAT(table_name, '.', column_name, ' ', collation_name) FROM information_schema.columns
				WHERE table_schema = DATABASE() AND collation_name IS NOT NULL AND table_name NOT LIKE 'schema%' AND collation_name NOT LIKE 'utf8mb4%bin'`,
			"postgres": `SELECT c.relname || '.' || a.attname || ' ' || l.collname FROM pg_index x
				JOIN pg_class c ON c.oid = x.indrelid JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = ANY (x.indkey)
				JOIN pg_collation l ON l.oid = a.attcollation WHERE c.relnamespace = 'public'::regnamespace AND l.collname <> 'C'`,
		}[engine])
		if len(loose) > 0 {
			t.Errorf("columns that are not compared by bytes: %v", loose)
		}
	})
}

// Mission: C04
func TestStepDown_undoesWhatLosesNothingAndNoMore(t *testing.T) {
	onAll(t, func(t *testing.T, engine, url string) {
		db := node(t, store.Options{URL: url, MaxConns: 2})
		pool := plain(t, url)
		db.Lay(fmt.Sprintf("%04d_above.sql", len(history(t, pool))+1)) // as all of ours that are on top may hold something
		if _, err := db.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		full, before := shape(t, engine, pool), history(t, pool)
		ada := addUser(t, db, "ada@example.com")
		for i := range 5 {
			addUser(t, db, fmt.Sprint("u", i))
		}
		const stays = 9 // and those before: they hold what exists nowhere else
		last := int64(len(before))
		for range 2 { // down and up, twice
			for version := last; version > stays; version-- {
				undone, err := db.StepDown(t.Context())
				if err != nil || undone.Version != version || undone.Applied {
					t.Fatalf("a step down: %+v, %v; want number %d undone", undone, err, version)
				}
				all, err := db.Migrations(t.Context())
				for _, m := range all {
					if m.Applied != (m.Version < version) {
						t.Errorf("after a step down from %d: %+v; want those before it", version, m)
					}
				}
				if err != nil || len(all) != len(before) {
					t.Errorf("after a step down from %d: %d steps, %v; want %d", version, len(all), err, len(before))
				}
			}
			_, err := db.StepDown(t.Context())
			if err == nil || !strings.Contains(err.Error(), "0009_connections.sql cannot be undone") || !strings.Contains(err.Error(), "backup") {
				t.Errorf("a step down that would lose something: %v; want it refused, with what to do instead", err)
			}
			applied, err := db.Migrate(t.Context())
			if err != nil || int64(len(applied)) != last-stays || applied[0].Version != stays+1 {
				t.Errorf("up again: %+v, %v; want numbers %d to %d", applied, err, stays+1, last)
			}
		}
		if diff := cmp.Diff(full, shape(t, engine, pool)); diff != "" {
			t.Errorf("down and up again differs (-before +after):\n%s", diff)
		}
		if diff := cmp.Diff(before, history(t, pool)); diff != "" {
			t.Errorf("the history differs (-before +after):\n%s", diff)
		}
		read(t, db, func(tx *store.Tx) error { _, err := tx.User(ada.ID); return err })
		if said, there := total(t, db, home); said != 6 || there != 6 {
			t.Errorf("%d users, and the total says %d; want 6", there, said)
		}
		if !lease(t, db, store.LeaseSweep, store.NewHolder()) {
			t.Error("after down and up there is no lease to take")
		}
	})
}

// A node of this version serves beside a newer one's schema, unless that one
// says that it must not.
//
// Mission: C04
func TestMigrate_besideANewerSchema(t *testing.T) {
	onServers(t, func(t *testing.T, engine, url string) {
		db := node(t, store.Options{URL: url, MaxConns: 2})
		pool := plain(t, url)
		insert := `INSERT INTO schema_migrations (version_id, is_applied) VALUES (9000, true)`
		do(t, pool, insert, `ALTER TABLE sessions ADD COLUMN coming BIGINT NOT NULL DEFAULT 0`)
		later := node(t, store.Options{URL: url, MaxConns: 2})
		for _, node := range []*store.DB{db, later} {
			all, err := node.Migrations(t.Context())
			if err != nil || len(all) == 0 || !all[0].Applied {
				t.Errorf("status beside a newer schema: %+v, %v", all, err)
			}
			applied, err := node.Migrate(t.Context())
			if err != nil || len(applied) != 0 {
				t.Errorf("Migrate beside a newer schema: %+v, %v; want nothing to do", applied, err)
			}
		}
		useAll(t, later)
		_, err := db.StepDown(t.Context())
		if err == nil || !strings.Contains(err.Error(), "9000") {
			t.Errorf("a step down of what this version does not know: %v, want it refused", err)
		}
		for what, floor := range map[string]string{
			"one that must not be served beside": `UPDATE server_values SET value = '9000' WHERE name = 'oldest schema beside'`,
			"one that does not say":              `DELETE FROM server_values WHERE name = 'oldest schema beside'`,
		} {
			do(t, pool, floor)
			before := contents(t, engine, pool)
			_, err := db.Migrate(t.Context())
			_, err2 := db.Migrations(t.Context())
			for name, err := range map[string]error{"Migrate": err, "Migrations": err2} {
				if err == nil || !strings.Contains(err.Error(), "a newer Gatehouse") || !strings.Contains(err.Error(), "9000") {
					t.Errorf("%s beside %s: %v; want it refused, with what to do", name, what, err)
				}
			}
			delete(before, "schema_lock")
			after := contents(t, engine, pool)
			delete(after, "schema_lock")
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("%s was touched (-before +after):\n%s", what, diff)
			}
		}
	})
}

// What a program writes that knows none of the columns that came after the
// first migration, is whole on today's schema: it serves beside this one while
// nodes are replaced.
//
// Mission: C04
func TestMigrations_leaveOlderProgramsWhole(t *testing.T) {
	onAll(t, func(t *testing.T, engine, url string) {
		db := node(t, store.Options{URL: url, MaxConns: 2})
		pool := plain(t, url)
		ada := addUser(t, db, "ada@example.com")
		u, s := store.NewUserID(), store.NewSessionID()
		id := func(b [16]byte) string {
			if engine == "postgres" {
				return fmt.Sprintf(`'\x%x'`, b)
			}
			return fmt.Sprintf("x'%x'", b)
		}
		nobody := id([16]byte{})
		do(t, pool,
			`INSERT INTO users (tenant_id, id, aud, role, email, email_verified_at, phone, phone_verified_at, new_email, email_change_proved, email_change_sent_at,
				confirmation_sent_at, recovery_sent_at, reauthentication_sent_at, invited_at, last_sign_in_at, banned_until, deleted_at, is_anonymous,
				app_metadata, user_metadata, created_at, updated_at)
				VALUES (`+nobody+`, `+id(u)+`, 'web', 'member', 'bob@example.com', 1, NULL, 0, '', 0, 0, 0, 0, 0, 0, 0, 0, 0, FALSE, '{}', '{}', 1, 1)`,
			`INSERT INTO sessions (tenant_id, id, user_id, generation, rotated_at, parent_rotated_at, aal, amr, user_agent, ip,
				not_after, created_at, refreshed_at, ended_at, end_reason) VALUES (`+nobody+`, `+id(s)+`, `+id(u)+`, 1, 0, 0, 1, '[]', '', '', 0, 1, 1, 0, '')`)
		write(t, db, func(tx *store.Tx) error {
			got, err := tx.User(ada.ID)
			got.NewPhone, got.PhoneChangeSentAt, got.VerifiedFactors = "491512345678", tx.Now, 2
			return errors.Join(err, tx.SetUser(&got))
		})
		do(t, pool, `UPDATE users SET role = 'chief', new_email = '' WHERE email = 'ada@example.com'`) // by its own columns
		read(t, db, func(tx *store.Tx) error {
			bob, err := tx.UserByEmail("bob@example.com")
			if bob.ID != u || bob.NewPhone != "" || !bob.PhoneChangeSentAt.IsZero() || bob.VerifiedFactors != 0 {
				t.Errorf("a user of an older program's: %+v", bob)
			}
			got, err2 := tx.Session(s)
			if got.UserID != u || got.Name != "" || got.Device != "" {
				t.Errorf("a session of an older program's: %+v", got)
			}
			changed, err3 := tx.User(ada.ID)
			if changed.Role != "chief" || changed.NewPhone != "491512345678" || changed.PhoneChangeSentAt.IsZero() || changed.VerifiedFactors != 2 {
				t.Errorf("what an older program changed has lost what it does not know: %+v", changed)
			}
			return errors.Join(err, err2, err3)
		})
		write(t, db, func(tx *store.Tx) error { return tx.DropUser(u) })
	})
}
