package internal_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A row of docs/threats.md without its test is a promise; a test that no row
// names is a promise nobody can look up.
func TestThreats_everyRowHasItsTestsAndEveryTestItsRow(t *testing.T) {
	const root = ".."
	text, err := os.ReadFile(filepath.Join(root, "docs", "threats.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, name := range regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w*`).FindAllString(string(text), -1) {
		named[name] = true
	}
	declared := tests(t, root)
	if len(named) == 0 || len(declared) == 0 {
		t.Fatalf("docs/threats.md names %d tests and the repository has %d", len(named), len(declared))
	}
	for name := range named {
		if declared[name] == "" {
			t.Errorf("docs/threats.md names %s, and there is no such test", name)
		}
	}
	row := regexp.MustCompile(`^TestThreat_([A-Z]\d\d)_`)
	for name, file := range declared {
		m := row.FindStringSubmatch(name)
		switch {
		case strings.HasPrefix(name, "TestThreat_") && m == nil:
			t.Errorf("%s: %s names no row, as TestThreat_R01_... does", file, name)
		case m != nil && !named[name]:
			t.Errorf("%s: name %s in row %s of docs/threats.md", file, name, m[1])
		}
	}
}

// tests returns every test and fuzz target below root and the file it is in.
func tests(t *testing.T, root string) map[string]string {
	t.Helper()
	declared := map[string]string{}
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Z]\w*)\(`)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		switch {
		case d.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "node_modules" || name == "testdata"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		for _, m := range function.FindAllStringSubmatch(string(text), -1) {
			declared[m[1]] = path
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return declared
}
