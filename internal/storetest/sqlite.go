package storetest

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// sqliteFile returns the path of an empty, migrated database file.
func sqliteFile(t testing.TB) string {
	t.Helper()
	empty, err := sqliteTemplate()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "gatehouse.db")
	err = os.WriteFile(path, empty, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// sqliteTemplate returns the bytes of such a file. Migrating takes far longer
// than copying, so it happens once in a process.
var sqliteTemplate = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "storetest")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "template.db")
	err = migrate("sqlite:"+path, "sqlite", "file:"+path)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path) // closed, it has no log beside it
})
