package store_test

import (
	"context"
	"database/sql/driver"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

// Mission: C04
func TestMigrate_byFourNodesAtOnceOnAServer(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, engine, migrated string) {
		url := storetest.URL(t, engine)
		nodes := make([]*store.DB, 4)
		for i := range nodes {
			nodes[i] = node(t, store.Options{URL: url, MaxConns: 2})
		}
		var mu sync.Mutex
		var applied []string
		var group sync.WaitGroup
		for i, n := range nodes {
			group.Go(func() {
				list, err := n.Migrate(t.Context())
				if err != nil {
					t.Errorf("node %d: %v", i, err)
				}
				mu.Lock()
				defer mu.Unlock()
				for _, m := range list {
					applied = append(applied, fmt.Sprint(m.Version))
				}
			})
		}
		group.Wait()
		slices.Sort(applied)
		pool, clean := plain(t, url), plain(t, migrated)
		if diff := cmp.Diff(history(t, clean), applied); diff != "" {
			t.Errorf("what the four applied (-each once +got):\n%s", diff)
		}
		if diff := cmp.Diff(history(t, clean), history(t, pool)); diff != "" {
			t.Errorf("the history (-each once +got):\n%s", diff)
		}
		if diff := cmp.Diff(shape(t, engine, clean), shape(t, engine, pool)); diff != "" {
			t.Errorf("the schema (-clean +got):\n%s", diff)
		}
		useAll(t, nodes[3])
	})
}

// migratorVar makes this test program a migrator of the database that it names.
const migratorVar = "GATEHOUSE_TEST_MIGRATE"

func migrator(url string) int {
	ctx := context.Background()
	db, err := store.Open(ctx, store.Options{URL: url, MaxConns: 1, Now: time.Now})
	if err == nil {
		_, err = db.Migrate(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// A migrator that is killed, at whatever statement, is continued by the next.
// On MySQL, which takes no change of tables back, as on PostgreSQL.
//
// Mission: C04
func TestMigrate_continuesAMigratorThatWasKilled(t *testing.T) {
	t.Parallel()
	const rounds = 5
	var all sync.WaitGroup
	defer all.Wait()
	for _, engine := range storetest.Engines() {
		if engine == "sqlite" {
			continue // one file, one transaction for each step
		}
		// How many questions a whole one asks.
		clean := storetest.URL(t, engine)
		r := relayed(t, clean)
		whole := int(r.count(func() {
			if _, err := node(t, store.Options{URL: r.url, MaxConns: 1}).Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
		}))
		cleanPool := plain(t, clean)
		for i := range rounds {
			at := whole*i/rounds + 1 + rand.N(whole/rounds)
			url := storetest.URL(t, engine)
			pool := plain(t, url)
			left := killedAt(t, url, at)
			db := node(t, store.Options{URL: url, MaxConns: 2})
			all.Go(func() { // most of what follows is waiting for the dead one's lease to run out
				began := time.Now()
				_, err := db.Migrate(t.Context())
				took := time.Since(began)
				if err != nil || took > time.Minute {
					t.Errorf("%s, killed at question %d of %d (%s): the next one ended after %v with %v", engine, at, whole, left, took, err)
					return
				}
				if diff := cmp.Diff(shape(t, engine, cleanPool), shape(t, engine, pool)); diff != "" {
					t.Errorf("%s, killed at question %d of %d (%s): the schema (-clean +got):\n%s", engine, at, whole, left, diff)
				}
				if diff := cmp.Diff(history(t, cleanPool), history(t, pool)); diff != "" {
					t.Errorf("%s, killed at question %d of %d (%s): the history (-clean +got):\n%s", engine, at, whole, left, diff)
				}
				useAll(t, db)
			})
		}
	}
}

// killedAt runs a migrator and kills it at a question that it asks the server,
// just before it arrives. It returns what was there then.
func killedAt(t *testing.T, url string, question int) (left string) {
	t.Helper()
	r := relayed(t, url)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), migratorVar+"="+r.url)
	var said strings.Builder
	cmd.Stderr = &said
	var asked atomic.Int64
	kill := func() {
		if asked.Add(1) >= int64(question) {
			r.deaf.Store(true) // what comes after the end does not arrive
			_ = cmd.Process.Kill()
		}
	}
	ready := make(chan struct{})
	wait := func() { <-ready; kill() }
	r.asked.Store(&wait)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	close(ready)
	err = cmd.Wait()
	if asked.Load() < int64(question) {
		t.Fatalf("the migrator ended with %v before question %d: %s", err, question, said.String())
	}
	r.cut()
	engine := "mysql"
	if strings.HasPrefix(url, "postgres") {
		engine = "postgres"
	}
	return fmt.Sprintf("%d tables", len(tablesOf(t, engine, plain(t, url))))
}

// The history is a table too, made and filled in two statements, between which
// MySQL may be left alone.
//
// Mission: C04
func TestMigrate_continuesWhereOnlyAnEmptyHistoryIsLeft(t *testing.T) {
	onServers(t, func(t *testing.T, engine, migrated string) {
		if engine != "mysql" {
			t.Skip("it makes and fills a table in one transaction")
		}
		url := storetest.URL(t, engine)
		do(t, plain(t, url), `CREATE TABLE schema_migrations LIKE `+ask(t, plain(t, migrated), `SELECT DATABASE()`)[0]+`.schema_migrations`)
		db := node(t, store.Options{URL: url, MaxConns: 2})
		_, err := db.Migrate(t.Context())
		if err != nil {
			t.Fatalf("Migrate: %v; want it done", err)
		}
		useAll(t, db)
	})
}

// MySQL may be left between any two statements of a migration: so each must be
// able to run again, and change nothing when it does.
func TestMigrations_ofMySQLRunTwice(t *testing.T) {
	if !slices.Contains(storetest.Engines(), "mysql") {
		t.Skip("MySQL is not tested")
	}
	var up, down []string
	for _, name := range mysqlMigrations(t) {
		halves := statements(t, name)
		up, down = append(up, steps(halves[0])...), append(steps(halves[1]), down...)
	}
	if len(up) < 17 || len(down) < 15 {
		t.Fatalf("found %d statements up and %d down: the files were not read as they are", len(up), len(down))
	}
	url := storetest.URL(t, "mysql")
	pool := plain(t, url)
	for _, s := range up {
		do(t, pool, s, s)
	}
	clean := plain(t, storetest.MigratedURL(t, "mysql"))
	if diff := cmp.Diff(shape(t, "mysql", clean), shape(t, "mysql", pool)); diff != "" {
		t.Errorf("each statement run twice (-clean +got):\n%s", diff)
	}

	for _, s := range down {
		do(t, pool, s, s)
	}
	if left := shape(t, "mysql", pool); len(left) > 0 {
		t.Errorf("left over after the way down: %v", left)
	}
}

// A migrator that was paused for longer than its lease goes on where another
// has finished and others serve by now: what it does once more must not harm
// what they have written.
func TestMigrations_ofMySQLHarmNothingWhenRunLate(t *testing.T) {
	onServers(t, func(t *testing.T, engine, url string) {
		if engine != "mysql" {
			t.Skip("it migrates in one transaction")
		}
		db := node(t, store.Options{URL: url, MaxConns: 2})
		pool := plain(t, url)
		useAll(t, db)
		for i := range 20 {
			addUser(t, db, fmt.Sprint("u", i))
		}
		before := contents(t, engine, pool)
		for _, name := range mysqlMigrations(t) {
			do(t, pool, steps(statements(t, name)[0])...)
		}
		after := contents(t, engine, pool)
		for _, table := range ourTables() {
			if diff := cmp.Diff(before[table], after[table]); table != "user_counts" && diff != "" {
				t.Errorf("%s (-before +after):\n%s", table, diff)
			}
		}
		if said, there := total(t, db, home); said != there || there != 21 {
			t.Errorf("%d users, and the total says %d; want 21", there, said)
		}
	})
}

// What MySQL prepares is gone with the connection: whoever continues after one
// that was killed begins the file anew, whichever statement was the last.
//
// Mission: C04
func TestMigrations_ofMySQLBeginAnewAfterAnyStatement(t *testing.T) {
	if !slices.Contains(storetest.Engines(), "mysql") {
		t.Skip("MySQL is not tested")
	}
	pool := plain(t, storetest.MigratedURL(t, "mysql"))
	run := func(list []string) { // on a connection that nobody uses afterwards
		t.Helper()
		c, err := pool.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range list {
			_, err := c.ExecContext(t.Context(), s)
			if err != nil {
				t.Fatalf("%s: %v", s, err)
			}
		}
		_ = c.Raw(func(any) error { return driver.ErrBadConn })
		_ = c.Close()
	}
	names := mysqlMigrations(t)
	full := shape(t, "mysql", pool)
	for _, name := range slices.Backward(names[1:]) { // the first is of tables alone, which the test above knows
		halves := statements(t, name)
		up, down := halves[0], halves[1]
		run(down)
		without := shape(t, "mysql", pool)
		for n := range len(up) {
			run(up[:n])
			run(up)
			if diff := cmp.Diff(full, shape(t, "mysql", pool)); diff != "" {
				t.Errorf("%s, killed after statement %d on its way up (-clean +got):\n%s", name, n, diff)
			}
			run(down)
		}
		for n := range len(down) {
			run(up)
			run(down[:n])
			run(down)
			if diff := cmp.Diff(without, shape(t, "mysql", pool)); diff != "" {
				t.Errorf("%s, killed after statement %d on its way down (-clean +got):\n%s", name, n, diff)
			}
		}
		full = without
	}
}

// mysqlMigrations are the names of the files, in order.
func mysqlMigrations(t *testing.T) (names []string) {
	t.Helper()
	files, err := os.ReadDir("migrations/mysql")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d migrations, %v", len(files), err)
	}
	for _, f := range files {
		names = append(names, f.Name())
	}
	return names
}

// steps puts together the statements that only work together, from the one that
// decides what is to be prepared to the one that forgets it.
func steps(list []string) (all []string) {
	open := false
	for _, s := range list {
		if open {
			all[len(all)-1] += "; " + s
		} else {
			all = append(all, s)
		}
		open = strings.HasPrefix(s, "SET @") || open && !strings.HasPrefix(s, "DEALLOCATE")
	}
	return all
}

// statements reads the two halves of a migration of MySQL.
func statements(t *testing.T, name string) (halves [2][]string) {
	t.Helper()
	text, err := os.ReadFile("migrations/mysql/" + name)
	if err != nil {
		t.Fatal(err)
	}
	up, down, _ := strings.Cut(string(text), "-- +goose Down")
	for i, half := range []string{up, down} {
		var b strings.Builder
		for line := range strings.Lines(half) {
			code, _, _ := strings.Cut(line, "--") // no text of ours has these in it
			b.WriteString(code)
		}
		for s := range strings.SplitSeq(b.String(), ";") {
			if s = strings.TrimSpace(s); s != "" {
				halves[i] = append(halves[i], s)
			}
		}
	}
	return halves
}
