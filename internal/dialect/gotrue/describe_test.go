package gotrue

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	openapi "gatehouse/api"
	"gatehouse/internal/dialecttest"
)

// api/openapi.yaml is written by hand; these hold it to the tables.

func describe(t *testing.T) *dialecttest.Description {
	t.Helper()
	d, err := dialecttest.Describe(openapi.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// mounted is every pattern with a method that the source of this package has,
// whichever table it is in.
func mounted(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	pattern := regexp.MustCompile(`^(GET|POST|PUT|PATCH|DELETE) /`)
	found := map[string]bool{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				s, err := strconv.Unquote(lit.Value)
				if err == nil && pattern.MatchString(s) {
					found[s] = true
				}
			}
			return true
		})
	}
	return slices.Sorted(maps.Keys(found))
}

func TestDescription_hasEveryRouteAndNoOther(t *testing.T) {
	d := describe(t)
	off := slices.Sorted(maps.Keys(switchedOff()))
	if diff := cmp.Diff(off, slices.Sorted(slices.Values(d.NotBuilt()))); diff != "" {
		t.Errorf("x-not-built of api/openapi.yaml (-routes +list):\n%s", diff)
	}
	on := slices.DeleteFunc(mounted(t), func(p string) bool { return slices.Contains(off, p) })
	if len(on) < len(routes()) {
		t.Errorf("%d routes were found, which are not all", len(on))
	}
	if diff := cmp.Diff(on, slices.Sorted(slices.Values(d.Patterns()))); diff != "" {
		t.Errorf("the paths of api/openapi.yaml (-routes +paths):\n%s", diff)
	}
}

func TestDescription_allowsEveryCode(t *testing.T) {
	allowed := describe(t).Enum("ErrorCode")
	for c, an := range answers {
		if !slices.Contains(allowed, an.code) {
			t.Errorf("%s is answered as %q, which ErrorCode of api/openapi.yaml does not list", c, an.code)
		}
	}
	for _, code := range allowed {
		if !slices.Contains(contract, code) {
			t.Errorf("ErrorCode of api/openapi.yaml lists %q, which no client knows", code)
		}
	}
}
