package store_test

import (
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

// ourTables are the tables of a house, without prefix.
func ourTables() []string {
	return []string{
		"tenants", "server_values", "users", "identities", "credentials", "sessions", "challenges", "events", "outbox",
		"signing_keys", "leases", "user_counts", "counters", "audit_queue", "audit_trail", "audit_heads", "audit_checkpoints", "webhook_endpoints", "webhook_deliveries", "connections", "connection_domains",
	}
}

// tablesOf lists every table of a database, on PostgreSQL of every schema, with
// the schema's name unless that is public.
func tablesOf(t *testing.T, engine string, pool *sql.DB) []string {
	t.Helper()
	list := ask(t, pool, map[string]string{
		"sqlite": `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'`,
		"postgres": `SELECT CASE schemaname WHEN 'public' THEN '' ELSE schemaname || '.' END || tablename FROM pg_tables
			WHERE schemaname NOT IN ('pg_catalog', 'information_schema')`,
		"mysql": `SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()`,
	}[engine])
	slices.Sort(list)
	return list
}

// contents is every row of every table.
func contents(t *testing.T, engine string, pool *sql.DB) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, table := range tablesOf(t, engine, pool) {
		rows, err := pool.QueryContext(t.Context(), `SELECT * FROM `+table)
		if err != nil {
			t.Fatal(err)
		}
		columns, err := rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		list := []string{strings.Join(columns, " ")}
		for rows.Next() {
			row, dest := make([]any, len(columns)), make([]any, len(columns))
			for i := range row {
				dest[i] = &row[i]
			}
			if err := rows.Scan(dest...); err != nil {
				t.Fatal(err)
			}
			list = append(list, fmt.Sprintf("%q", row))
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Fatal(err)
		}
		slices.Sort(list[1:])
		all[table] = list
	}
	return all
}

// useAll changes something in every table that statements write.
func useAll(t *testing.T, db *store.DB) {
	t.Helper()
	b := furnish(t, db, home)
	_, err := db.KeepValue(t.Context(), "name", []byte("kept by "+b.user.ID.String()))
	if err != nil {
		t.Fatal(err)
	}
	gone := addUser(t, db, "gone@example.com")
	write(t, db, func(tx *store.Tx) error {
		_, err := tx.Lease(store.LeaseSweep, store.NewHolder(), time.Minute)
		u, _, err2 := tx.UserPassword(b.user.ID)
		u.Role = "changed"
		return errors.Join(err, err2, tx.SetUser(&u), tx.DropUser(gone.ID), tx.SetPassword(u.ID, []byte("new")),
			tx.AddDelivery(store.Delivery{ID: store.NewDeliveryID(), Kind: store.DeliverMail, Body: []byte("b")}),
			second(tx.Rotate(b.session.ID, 1, "192.0.2.1", "agent")), tx.CapSessions(u.ID, 1, store.SessionID{}, "cap"),
			tx.RetireSigningKeys("none", tx.Now), tx.SetIdentitySignIn(u.ID, "email"),
			second(tx.Count("hello", u.ID[:], time.Hour, 1)), second(tx.NameSession(b.session.ID, u.ID, "mine")))
	})
	write(t, db, func(tx *store.Tx) error {
		_, err := tx.TakeDeliveries(10, time.Minute)
		return errors.Join(err, second(tx.TryCode(b.question.Kind, b.question.Subject, 5)), second(tx.EndSessions(b.user.ID, store.SessionID{}, "x")),
			second(tx.SweepEvents(100, tx.Now.Add(-time.Hour))), second(tx.Sweep(100, tx.Now, tx.Now, tx.Now)), third(tx.EndAllSessions(store.SessionID{}, 1000, "x")))
	})
	read(t, db, func(tx *store.Tx) error {
		u, err := tx.User(b.user.ID)
		page, total, err2 := tx.UserPage(store.UserFilter{Limit: 10, Offset: 0})
		_, filtered, err3 := tx.UserPage(store.UserFilter{Limit: 10, Contains: "example", Offset: 1})
		if u.Role != "changed" || len(page) != 1 || total != 1 || filtered != 1 {
			t.Errorf("the house has %d users, says %d and finds %d; want one each, with the role %q", len(page), total, filtered, u.Role)
		}
		return errors.Join(err, err2, err3)
	})
}

// Mission: C03
func TestNamespace_housesInOneDatabaseNeverMix(t *testing.T) {
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			url := storetest.URL(t, engine)
			pool := plain(t, url)
			prefixes := map[string]string{"": "", "shop": "shop_", "shop_2": "shop_2_"}
			if engine == "postgres" {
				prefixes["auth."] = "auth."
			}
			spaces := slices.Sorted(maps.Keys(prefixes)) // none first: SQLite takes no file that is somebody's already
			houses := map[string]*store.DB{}
			before := contents(t, engine, pool)
			for _, space := range spaces {
				houses[space] = node(t, store.Options{URL: url, Namespace: space, MaxConns: 2})
				houses[space].Lay("9000_above.sql") // to be undone
				if _, err := houses[space].Migrate(t.Context()); err != nil {
					t.Fatalf("namespace %q: %v", space, err)
				}
				after := contents(t, engine, pool)
				for table, rows := range before {
					if diff := cmp.Diff(rows, after[table]); diff != "" {
						t.Errorf("to migrate namespace %q changed %s (-before +after):\n%s", space, table, diff)
					}
				}
				for _, table := range append(ourTables(), "schema_migrations") {
					if after[prefixes[space]+table] == nil {
						t.Errorf("namespace %q has no table %s%s", space, prefixes[space], table)
					}
				}
				before = after
			}
			for _, space := range spaces {
				useAll(t, houses[space]) // by the same names and addresses in each
				after := contents(t, engine, pool)
				mine := map[string]bool{}
				for _, table := range ourTables() {
					mine[prefixes[space]+table] = true
					if table != "tenants" && cmp.Equal(before[prefixes[space]+table], after[prefixes[space]+table]) {
						t.Errorf("namespace %q: nothing was changed in %s: this test proves nothing about it", space, table)
					}
				}
				for table := range after {
					if diff := cmp.Diff(before[table], after[table]); !mine[table] && diff != "" {
						t.Errorf("what namespace %q did changed %s (-before +after):\n%s", space, table, diff)
					}
				}
				before = after
			}
			// A step down is of one house too.
			if _, err := houses["shop"].StepDown(t.Context()); err != nil {
				t.Fatal(err)
			}
			after := contents(t, engine, pool)
			for table := range before {
				if diff := cmp.Diff(before[table], after[table]); !strings.HasPrefix(table, "shop_") && diff != "" {
					t.Errorf("a step down of namespace shop changed %s (-before +after):\n%s", table, diff)
				}
			}
		})
	}
}

// Mission: C03
func TestNamespace_namesASchemaOnPostgres(t *testing.T) {
	if !slices.Contains(storetest.Engines(), "postgres") {
		t.Skip("PostgreSQL is not tested")
	}
	url := storetest.URL(t, "postgres")
	pool := plain(t, url)
	house := func(space string) *store.DB {
		t.Helper()
		db := node(t, store.Options{URL: url, Namespace: space, MaxConns: 2})
		if _, err := db.Migrate(t.Context()); err != nil {
			t.Fatalf("namespace %q: %v", space, err)
		}
		return db
	}
	in := func(place string) bool {
		t.Helper()
		return slices.Contains(tablesOf(t, "postgres", pool), place+"users")
	}
	find := func(space string, id store.UserID) {
		t.Helper()
		read(t, house(space), func(tx *store.Tx) error {
			_, err := tx.User(id)
			if err != nil {
				t.Errorf("namespace %q is another house: %v", space, err)
			}
			return nil
		})
	}

	made := house("auth.") // makes the schema
	ada := addUser(t, made, "ada@example.com")
	if !in("auth.") || in("") || in("auth_") {
		t.Errorf("auth. has its tables in %v", tablesOf(t, "postgres", pool))
	}
	find("auth.", ada.ID)
	find("AUTH.", ada.ID)
	find("auth", ada.ID) // which is a schema by now

	do(t, pool, `CREATE SCHEMA crew`)
	bob := addUser(t, house("crew"), "bob@example.com")
	if !in("crew.") || in("crew_") {
		t.Errorf("crew, which is a schema, has its tables in %v", tablesOf(t, "postgres", pool))
	}
	find("Crew", bob.ID)

	cy := addUser(t, house("shop"), "cy@example.com")
	do(t, pool, `CREATE SCHEMA shop`)
	find("shop", cy.ID) // migrated as a prefix, it stays one
	if !in("shop_") || in("shop.") {
		t.Errorf("shop has its tables in %v", tablesOf(t, "postgres", pool))
	}
	dan := addUser(t, house("shop."), "dan@example.com")
	find("shop.", dan.ID)
	find("shop", cy.ID)
	if n := users(t, house("shop.")); n != 1 {
		t.Errorf("shop. has %d users, want its own one", n)
	}
}

// Mission: C03
func TestNamespace_caseDoesNotMatter(t *testing.T) {
	for _, engine := range storetest.Engines() {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			url := storetest.URL(t, engine)
			var ada store.User
			for i, space := range []string{"Shop", "shop", "SHOP", "shop_"} {
				db := node(t, store.Options{URL: url, Namespace: space, MaxConns: 2})
				applied, err := db.Migrate(t.Context())
				if err != nil || len(applied) > 0 != (i == 0) {
					t.Errorf("%q applied %v, %v; want one house for all", space, applied, err)
				}
				if i == 0 {
					ada = addUser(t, db, "ada@example.com")
				}
				read(t, db, func(tx *store.Tx) error { _, err := tx.User(ada.ID); return err })
			}
		})
	}
}

// The name goes into statements: nothing but letters, digits and underscores
// may.
//
// Mission: C03
func TestNamespace_refusesWhatIsNoName(t *testing.T) {
	bad := []string{
		"1shop", "_shop", "shop-2", "shop 2", " shop", "shop\n", "shop;", "sh\"op", "sh'op", "sh`op", "sh\\op", "shöp", "shop\x00", ".", "..", "a.b", "a..", ".a",
		"users; DROP TABLE users; --", strings.Repeat("a", 31), "$1", "?", "%",
	}
	for _, engine := range storetest.Engines() {
		url := storetest.URL(t, engine)
		spaces := bad
		if engine != "postgres" {
			spaces = append(slices.Clone(bad), "auth.") // schemas are PostgreSQL's alone
		}
		for _, space := range spaces {
			db, err := store.Open(t.Context(), store.Options{URL: url, Namespace: space, Now: time.Now})
			if err == nil {
				_ = db.Close()
				t.Errorf("%s: the namespace %q was taken", engine, space)
			} else if !strings.Contains(err.Error(), "namespace") {
				t.Errorf("%s, namespace %q: %v does not say what is wrong", engine, space, err)
			}
		}
		db := node(t, store.Options{URL: url, Namespace: strings.Repeat("a", 30), MaxConns: 2})
		if _, err := db.Migrate(t.Context()); err != nil {
			t.Errorf("%s, a namespace of 30 letters: %v", engine, err)
		}
		useAll(t, db)
	}
}
