package store

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A table that is not in the list would keep rows of a tenant that is gone.
func TestBelongings_areAllTablesThatHaveATenant(t *testing.T) {
	listed := map[string]string{}
	for _, b := range belongings {
		listed[b.table] = b.key
	}
	files, err := filepath.Glob("migrations/sqlite/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	table := regexp.MustCompile(`(?s)CREATE TABLE (\w+) \((.*?)\n\)`)
	whole := regexp.MustCompile(`PRIMARY KEY \(([^)]*)\)`)
	single := regexp.MustCompile(`(?m)^\t(\w+) .*PRIMARY KEY`)
	found := 0
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range table.FindAllStringSubmatch(string(b), -1) {
			name, columns := m[1], m[2]
			if !strings.Contains(columns, "\ttenant_id ") || name == "tenant_hosts" { // which go when the tenant is deleted
				continue
			}
			found++
			key, ok := listed[name]
			if !ok {
				t.Errorf("the rows of %s stay when their tenant is deleted", name)
				continue
			}
			want := single.FindStringSubmatch(columns)
			if m := whole.FindStringSubmatch(columns); m != nil {
				want = m
			}
			if want == nil {
				t.Errorf("%s has no key", name)
				continue
			}
			// A tenant's one row may be found by any column of it.
			if of := strings.TrimPrefix(want[1], "tenant_id, "); of != key && of != "tenant_id" {
				t.Errorf("the rows of %s are found by %q, want %q", name, key, of)
			}
		}
	}
	if found != len(belongings) {
		t.Errorf("%d tables have a tenant, %d are in the list", found, len(belongings))
	}
}
