// Package internal_test holds the house's rule of who may import whom.
package internal_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// may says who may import whom inside the house. A package that is not named
// may import nothing of ours. "types" in a comment: only to name them.
var may = map[string][]string{
	"cmd/gatehouse": {
		"api", "internal/audit", "internal/auth", "internal/breach", "internal/captcha", "internal/config", "internal/dialect/gotrue", "internal/fetch",
		"internal/limit", "internal/login", "internal/notify", "internal/outbox", "internal/pages", "internal/saml", "internal/schema", "internal/secret", "internal/social", "internal/store",
		"internal/telemetry", "internal/tenants", "internal/token", "internal/vault", "internal/web", "internal/webhook",
	},
	"internal/dialect/gotrue": {"internal/auth", "internal/web"},
	"internal/pages":          {"internal/auth", "internal/web", "internal/notify"}, // notify: types
	"internal/web":            {"internal/auth", "internal/limit"},
	"internal/login":          {"internal/auth", "internal/social", "internal/saml", "internal/web3"},
	"internal/auth":           {"internal/store", "internal/token", "internal/secret", "internal/notify", "internal/phone"}, // notify: types
	"internal/token":          {"internal/store"},
	"internal/outbox":         {"internal/store", "internal/notify", "internal/secret"},
	"internal/store":          {},
	"internal/audit":          {"internal/store", "internal/secret"},
	"internal/tenants":        {"internal/store"},
	"internal/vault":          {"internal/store", "internal/secret"},
	"internal/secret":         {},
	"internal/notify":         {"internal/fetch", "internal/phone"},
	"internal/breach":         {"internal/fetch"},
	"internal/social":         {"internal/fetch"},
	"internal/captcha":        {"internal/fetch"},
	"internal/webhook":        {"internal/fetch", "internal/store"},
	"internal/phone":          {},
	"internal/schema":         {},
	"internal/limit":          {},
	"internal/config":         {},
	"internal/fetch":          {},
	"internal/saml":           {}, // its caller fetches metadata
	"internal/telemetry":      {},
	"internal/web3":           {},
	"api":                     {},
	"bench":                   {"internal/cluster"},
	"faults":                  {"internal/cluster"},

	// Test helpers.
	"internal/cluster":     {},
	"internal/storetest":   {"internal/store", "internal/cluster"},
	"internal/authtest":    {"internal/auth", "internal/login", "internal/notify", "internal/outbox", "internal/secret", "internal/store", "internal/storetest", "internal/token"},
	"internal/dialecttest": {"internal/auth", "internal/authtest", "internal/notify", "internal/web"},
	"internal/samltest":    {},
	"internal/idptest":     {},
	"compat/idp":           {"internal/idptest", "internal/samltest"},
	"docs/mission":         {},
}

// never says which packages of the standard library a package must not touch,
// so that the core cannot learn a protocol.
var never = map[string][]string{
	"internal/auth":    {"net/http", "database/sql", "html/template", "os"},
	"internal/login":   {"net/http", "database/sql", "os"},
	"internal/store":   {"net/http"},
	"internal/token":   {"net/http", "database/sql"},
	"internal/secret":  {"net/http", "database/sql"},
	"internal/limit":   {"net/http", "database/sql"},
	"internal/vault":   {"net/http", "database/sql"},
	"internal/audit":   {"net/http", "database/sql"},
	"internal/tenants": {"net/http", "database/sql"},
	"internal/webhook": {"database/sql"},
	"internal/social":  {"database/sql"},
	"internal/saml":    {"net/http", "database/sql"},
	"internal/web3":    {"net/http", "database/sql"},
}

func TestHouse_whoMayImportWhom(t *testing.T) {
	const mod = "gatehouse/"
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, mod+"...").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		from := strings.TrimPrefix(f[0], mod)
		seen[from] = true
		allowed, known := may[from]
		for _, to := range f[1:] {
			inner, ours := strings.CutPrefix(to, mod)
			if ours && (!known || !slices.Contains(allowed, inner)) {
				t.Errorf("%s must not import %s", from, inner)
			}
			if slices.Contains(never[from], to) {
				t.Errorf("%s must not import %s", from, to)
			}
		}
	}
	if !seen["internal/auth"] || !seen["cmd/gatehouse"] {
		t.Error("the list of packages is not that of the house")
	}
}
