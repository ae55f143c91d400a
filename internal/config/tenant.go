package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// scope says who may set something.
type scope string

const (
	anybody  scope = "tenant" // a tenant, else it has the server's
	ownOnly  scope = "own"    // a tenant, who has nothing of the server's
	operator scope = "house"  // nobody but the operator, for all
)

// Tenants says how tenants are served.
type Tenants struct {
	Live     int    `env:"TENANTS_LIVE" envDefault:"500" min:"10" max:"100000" help:"How many tenants are kept ready to answer. Another one is made ready by its first request, in about a millisecond, and takes the place of the one asked for least recently."`
	Multi    bool   `env:"MULTIINSTANCEMODE" envDefault:"false" help:"Serve as Netlify's multi-instance server: each request names its tenant in the header x-nf-sign, signed with OPERATOR_TOKEN, and tenants are made at /instances. So does gatehouse multi."`
	Endpoint string `env:"API_ENDPOINT" check:"web" help:"Public address that POST /instances answers with. Empty: API_EXTERNAL_URL."`
}

// Base is what a server was started with: its own settings, and those tenants
// begin with.
type Base struct {
	*Config
	given map[string]entry
	dir   string
}

// For makes the settings of a tenant: its values, by name without a prefix,
// over those the server was started with, except what everybody has of their
// own (addresses, keys, secrets). What only the operator may set, and names
// that are none, are faults.
func (b *Base) For(values map[string]string) (*Config, *Report) {
	r := &Report{}
	scopes := scopes()
	given := map[string]entry{}
	for name, e := range b.given {
		if scopes[name] != ownOnly && !elsewhere(name, values) {
			given[name] = e
		}
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		who, known := scopes[name]
		switch {
		case !known:
			mend := "see docs/config.md for all names"
			if near := nearest(name, slices.Collect(maps.Keys(scopes))); near != "" {
				mend = "did you mean " + near + "?"
			}
			r.fault(name, "there is no such setting", mend)
		case who == operator:
			r.fault(name, "it is the same for all tenants; only the operator of the server sets it", "take it out")
		case strings.HasPrefix(strings.TrimSpace(values[name]), "pg-functions:"):
			r.fault(name, "functions of the database are the operator's: they see every tenant's rows", "name an https:// address")
		default:
			given[name] = entry{key: ours + name, shown: name, value: strings.TrimSpace(values[name])}
		}
	}
	c := read(given, b.dir, r).Config
	return c, r
}

// Lend returns a tenant's values with the server's own for each provider that they
// do not mention: where a proxy signs for tenants, they share the operator's
// clients, as those of Netlify's server do.
func (b *Base) Lend(values map[string]string) map[string]string {
	all := maps.Clone(values)
	if all == nil {
		all = map[string]string{}
	}
	groups := [][]string{{"EXTERNAL_REDIRECTURL"}}
	for _, p := range b.Providers.All() {
		groups = append(groups, p.settings())
	}
	var saml []string
	for name := range scopes() {
		if strings.HasPrefix(name, "EXTERNAL_SAML_") {
			saml = append(saml, name)
		}
	}
	for _, names := range append(groups, saml) {
		mentioned := slices.ContainsFunc(names, func(name string) bool { _, has := values[name]; return has })
		for _, name := range names {
			if e, given := b.given[name]; given && !mentioned {
				all[name] = e.value
			}
		}
	}
	return all
}

// addresses are the settings that say where secrets are sent, and what the names
// of those begin with.
var addresses = map[string]string{
	"SMTP_HOST": "SMTP_", "SMS_BASE_URL": "SMS_", "SMS_WEBHOOK_URL": "SMS_WEBHOOK_", "CAPTCHA_URL": "SECURITY_CAPTCHA_",
}

// elsewhere reports whether a tenant's own values send a secret to another
// address than the server's: the server's secret must not go there.
func elsewhere(name string, values map[string]string) bool {
	for address, prefix := range addresses {
		if strings.TrimSpace(values[address]) != "" && strings.HasPrefix(name, prefix) && (IsSecret(name) || name == "SMTP_USER") {
			return true
		}
	}
	return false
}

// SentTo lists the settings that say where a secret is sent; most secrets are
// sent nowhere.
func SentTo(name string) (list []string) {
	for address, prefix := range addresses {
		if strings.HasPrefix(name, prefix) && IsSecret(name) && name != address && name != testCodes {
			list = append(list, address)
		}
	}
	// Apple's key is not sent, but what is made of it is as good for a while.
	of := strings.TrimSuffix(strings.TrimSuffix(name, "_SECRET"), "_PRIVATE_KEY")
	if _, provider := scopes()[of+"_CLIENT_ID"]; provider && name != of {
		list = append(list, of+"_API_URL", of+"_URL")
	}
	slices.Sort(list)
	return list
}

// scopes says of every name who may set it. What is not built is said to
// whoever sets it.
var scopes = sync.OnceValue(func() map[string]scope {
	all := map[string]scope{}
	for _, s := range settings() {
		all[s.name] = s.scope
	}
	for _, s := range unbuilt() {
		all[s.name] = anybody
	}
	return all
})

// TenantSettings lists the names a tenant may set.
func TenantSettings() []string {
	var names []string
	for _, s := range settings() {
		if s.scope != operator {
			names = append(names, s.name)
		}
	}
	return names
}

// testCodes is the list of numbers with a code of their own, which is sent to
// nobody.
const testCodes = "SMS_TEST_OTP"

// IsSecret reports whether the value of a setting, by its name without a prefix,
// must not be shown: those of the type, and the test codes, which let in whoever
// knows them.
func IsSecret(name string) bool {
	for _, s := range settings() {
		if s.name == name {
			return s.typ == reflect.TypeFor[Secret]() || name == testCodes
		}
	}
	return true // what is not known is not shown either
}

// Keeping returns the settings with what a server at work cannot take over as
// before has it. The two need not go together: a server that listens on every
// address must not take itself for a private one because its file says so by
// now. Its warnings are those of b, and not told again.
func (b *Base) Keeping(before *Base) (*Base, *Report) {
	given := maps.Clone(b.given)
	for _, s := range settings() {
		if !s.restart {
			continue
		}
		delete(given, s.name)
		if e, ok := before.given[s.name]; ok {
			given[s.name] = e
		}
	}
	r := &Report{}
	c := read(given, b.dir, r).Config
	r.Warnings = nil
	return &Base{Config: c, given: given, dir: b.dir}, r
}

// NeedsRestart lists the settings that differ and that a server at work cannot
// take over.
func NeedsRestart(before, after *Base) (names []string) {
	a, b := reflect.ValueOf(before.Config).Elem(), reflect.ValueOf(after.Config).Elem()
	for _, s := range settings() {
		if s.restart && !reflect.DeepEqual(a.FieldByIndex(s.index).Interface(), b.FieldByIndex(s.index).Interface()) {
			names = append(names, s.name)
		}
	}
	return names
}
