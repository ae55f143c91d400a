package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

// open opens a database at path, not migrated.
func open(t *testing.T, path string) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), store.Options{URL: "sqlite:" + path, Synchronous: "NORMAL", Now: storetest.NewClock().Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func TestMigrate_onceAndNoMore(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "gatehouse.db"))
	before, err := db.Migrations(t.Context())
	if err != nil || len(before) == 0 {
		t.Fatalf("migrations: %v, %v", before, err)
	}
	for _, m := range before {
		if m.Applied {
			t.Errorf("an empty database claims to have %d %s", m.Version, m.Name)
		}
	}
	want := append([]store.Migration(nil), before...)
	for i := range want {
		want[i].Applied = true
	}
	applied, err := db.Migrate(t.Context())
	if diff := cmp.Diff(want, applied); diff != "" || err != nil {
		t.Errorf("the first Migrate: %v (-want +got):\n%s", err, diff)
	}
	u := addUser(t, db, "ada@example.com")
	again, err := db.Migrate(t.Context())
	if len(again) != 0 || err != nil {
		t.Errorf("the second Migrate applied %v, %v; want nothing", again, err)
	}
	after, err := db.Migrations(t.Context())
	if diff := cmp.Diff(want, after); diff != "" || err != nil {
		t.Errorf("status afterwards: %v (-want +got):\n%s", err, diff)
	}
	read(t, db, func(tx *store.Tx) error { _, err := tx.User(u.ID); return err })
}

// Several processes may start at one moment.
func TestMigrate_byFourAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gatehouse.db")
	var group sync.WaitGroup
	for range 4 {
		db := open(t, path)
		group.Go(func() {
			if _, err := db.Migrate(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	db := open(t, path)
	all, err := db.Migrations(t.Context())
	for _, m := range all {
		if !m.Applied {
			t.Errorf("%d %s was not applied", m.Version, m.Name)
		}
	}
	if err != nil {
		t.Error(err)
	}
	addUser(t, db, "ada@example.com")
}

func TestMigrate_leavesAnotherProgramsFileAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "theirs.db")
	pool, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if _, err := pool.Exec(`CREATE TABLE notes (text TEXT)`); err != nil {
		t.Fatal(err)
	}
	before := schema(t, path)
	if _, err := open(t, path).Migrate(t.Context()); err == nil {
		t.Error("another program's database was migrated")
	}
	if diff := cmp.Diff(before, schema(t, path)); diff != "" {
		t.Errorf("it was changed (-before +now):\n%s", diff)
	}
}

// An older version that went on would write rows the newer one's schema does
// not mean.
func TestMigrate_refusesADatabaseOfANewerVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gatehouse.db")
	db := open(t, path)
	known, err := db.Migrate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pool, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	newest := known[len(known)-1].Version
	_, err = pool.Exec(`INSERT INTO schema_migrations (version_id, is_applied, tstamp) VALUES (?, 1, CURRENT_TIMESTAMP)`, newest+1)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Migrations(t.Context())
	if err != nil {
		t.Errorf("a newer schema beside which this version may serve: %v", err)
	}
	_, err = pool.Exec(`UPDATE server_values SET value = ? WHERE name = 'oldest schema beside'`, []byte(fmt.Sprint(newest+1)))
	if err != nil {
		t.Fatal(err)
	}
	before := schema(t, path)
	says := fmt.Sprintf("at migration %d and this version knows %d: it was written by a newer Gatehouse", newest+1, newest)
	if _, err := db.Migrate(t.Context()); err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("Migrate: %v, want %q", err, says)
	}
	if _, err := db.Migrations(t.Context()); err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("Migrations: %v, want %q", err, says)
	}
	if diff := cmp.Diff(before, schema(t, path)); diff != "" {
		t.Errorf("the schema was changed (-before +now):\n%s", diff)
	}
}

// What a migration made, its other half takes away without a rest, and what it
// takes away can be made again.
func TestMigrations_goDownAndUpAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gatehouse.db")
	db := open(t, path)
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	u := addUser(t, db, "ada@example.com")
	addSession(t, db, u.ID)
	full := schema(t, path)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	pool, err := sql.Open("sqlite", "file:"+path+"?_foreign_keys=1")
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	pool.SetMaxOpenConns(1)
	p, err := goose.NewProvider(goose.DialectSQLite3, pool, os.DirFS("migrations/sqlite"),
		goose.WithDisableGlobalRegistry(true), goose.WithTableName("schema_migrations"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.DownTo(t.Context(), 0); err != nil {
		t.Fatalf("down: %v", err)
	}
	if got := schema(t, path); got != "" {
		t.Errorf("left over after the way down:\n%s", got)
	}
	if _, err := p.Up(t.Context()); err != nil {
		t.Fatalf("up again: %v", err)
	}
	if diff := cmp.Diff(full, schema(t, path)); diff != "" {
		t.Errorf("up again differs (-before +now):\n%s", diff)
	}
}

// schema is every table and index of ours at path, as SQL.
func schema(t *testing.T, path string) string {
	t.Helper()
	pool, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var text sql.NullString
	err = pool.QueryRow(`SELECT group_concat(sql, char(10)) FROM (SELECT sql FROM sqlite_schema
		WHERE tbl_name <> 'schema_migrations' AND name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY type, name)`).Scan(&text)
	if err != nil {
		t.Fatal(err)
	}
	return text.String
}

// The file holds every password hash: it is its owner's alone, whatever the
// umask, and so are its log and its index.
func TestOpen_filesAreTheOwnersAlone(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no such permissions")
	}
	dir := filepath.Join(t.TempDir(), "new", "data")
	path := filepath.Join(dir, "gate house?#%.db")
	db := open(t, path)
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	addUser(t, db, "ada@example.com")
	if got := mode(t, dir); got != 0o700 {
		t.Errorf("folder has mode %o, want 700", got)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if got := mode(t, path+suffix); got != 0o600 {
			t.Errorf("%s has mode %o, want 600", path+suffix, got)
		}
	}
}

// Who copies the file of a server that has stopped has everything.
func TestClose_leavesOneWholeFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "gatehouse.db")
	db := open(t, path)
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	u := addUser(t, db, "ada@example.com")
	if err := ping(t, db); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"-wal", "-shm"} {
		if _, err := os.Stat(path + suffix); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there (%v)", path+suffix, err)
		}
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, "copy.db")
	if err := os.WriteFile(copied, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	read(t, open(t, copied), func(tx *store.Tx) error { _, err := tx.User(u.ID); return err })
}

func TestOpen_refusesWhatItCannotKeep(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("this is no database, and long enough to be seen as none"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{"", "sqlite:", "sqlite::memory:", "postgres://ada:secret@db.example/auth", "gatehouse.db", "sqlite:" + file + "/below", "sqlite:" + file} {
		db, err := store.Open(context.Background(), store.Options{URL: url, Now: storetest.NewClock().Now})
		if err == nil {
			db.Close()
			t.Errorf("%q was opened", url)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error for %q holds the password: %v", url, err)
		}
	}
}

// modernc.org/libc carries the memory layout its SQLite was translated for:
// any other version, even a newer one, may crash. An update of another
// dependency can lift it without a word.
func TestModules_libcIsTheOneSQLiteWasBuiltWith(t *testing.T) {
	list := func(format, module string) string {
		t.Helper()
		out, err := exec.Command("go", "list", "-m", "-f", format, module).Output()
		if err != nil {
			t.Fatalf("go list -m %s: %v", module, err)
		}
		return strings.TrimSpace(string(out))
	}
	ours := list("{{.Version}}", "modernc.org/libc")
	mod, err := os.ReadFile(list("{{.GoMod}}", "modernc.org/sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	theirs := ""
	for line := range strings.Lines(string(mod)) {
		f := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(f) >= 2 && f[0] == "modernc.org/libc" {
			theirs = f[1]
		}
	}
	if ours == "" || ours != theirs {
		t.Errorf("modernc.org/libc is %s, but modernc.org/sqlite asks for %s: go get modernc.org/libc@%s", ours, theirs, theirs)
	}
}
