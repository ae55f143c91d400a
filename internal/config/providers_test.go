package config_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"gatehouse/internal/config"

	"github.com/google/go-cmp/cmp"
)

const (
	google = "GOTRUE_EXTERNAL_GOOGLE_ENABLED=true "
	client = "GOTRUE_EXTERNAL_GOOGLE_CLIENT_ID=a,b GOTRUE_EXTERNAL_GOOGLE_SECRET=hunter2 "
	apple  = "GATEHOUSE_EXTERNAL_APPLE_ENABLED=true GATEHOUSE_EXTERNAL_APPLE_CLIENT_ID=a "
	team   = "GATEHOUSE_EXTERNAL_APPLE_TEAM_ID=t GATEHOUSE_EXTERNAL_APPLE_KEY_ID=k "
	realm  = "GOTRUE_EXTERNAL_KEYCLOAK_ENABLED=true GOTRUE_EXTERNAL_KEYCLOAK_CLIENT_ID=a GOTRUE_EXTERNAL_KEYCLOAK_SECRET=hunter2 "
)

// oneLine is a PEM block on one line.
func oneLine(kind string, der []byte) string {
	text := string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	return strings.ReplaceAll(text, "\n", `\n`)
}

var appleKey = sync.OnceValue(func() string {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	der, _ := x509.MarshalPKCS8PrivateKey(key)
	return oneLine("PRIVATE KEY", der)
})

// Mission: C10
func TestLoad_refusesProvidersThatLetNobodyBack(t *testing.T) {
	for environ, want := range map[string]string{
		google + "GOTRUE_EXTERNAL_GOOGLE_SECRET=hunter2": "GATEHOUSE_EXTERNAL_GOOGLE_CLIENT_ID: it is missing, and EXTERNAL_GOOGLE_ENABLED is set; " +
			"set it to the id of your client there, or take EXTERNAL_GOOGLE_ENABLED out",
		google + "GOTRUE_EXTERNAL_GOOGLE_CLIENT_ID=,":                              "",
		google + "GOTRUE_EXTERNAL_GOOGLE_CLIENT_ID=a":                              "GATEHOUSE_EXTERNAL_GOOGLE_SECRET: it is missing, and EXTERNAL_GOOGLE_ENABLED is set",
		google + client + "GOTRUE_EXTERNAL_GOOGLE_URL=google.example":              "GOTRUE_EXTERNAL_GOOGLE_URL: \"google.example\" is not an absolute http or https URL",
		google + client + "GOTRUE_EXTERNAL_GOOGLE_URL=http://google.example":       "GOTRUE_EXTERNAL_GOOGLE_URL: the server calls others by https only",
		google + client + "GOTRUE_EXTERNAL_GOOGLE_API_URL=https://127.0.0.1:9":     "GOTRUE_EXTERNAL_GOOGLE_API_URL: the address is not public",
		google + client + "GOTRUE_EXTERNAL_GOOGLE_REDIRECT_URI=/callback":          "GOTRUE_EXTERNAL_GOOGLE_REDIRECT_URI: \"/callback\" is not an absolute http or https URL",
		google + client + "GOTRUE_EXTERNAL_GOOGLE_URL=https://u:hunter2@a.example": "GOTRUE_EXTERNAL_GOOGLE_URL: the URL holds a user name or password",
		realm:        "GATEHOUSE_EXTERNAL_KEYCLOAK_URL: it is missing, and EXTERNAL_KEYCLOAK_ENABLED is set; set it to the address of your realm",
		apple:        "GATEHOUSE_EXTERNAL_APPLE_SECRET: it is missing, and EXTERNAL_APPLE_ENABLED is set; set it, or, to have it made, EXTERNAL_APPLE_TEAM_ID, EXTERNAL_APPLE_KEY_ID and EXTERNAL_APPLE_PRIVATE_KEY",
		apple + team: "GATEHOUSE_EXTERNAL_APPLE_PRIVATE_KEY: it is missing, and the client secret is made of it; set EXTERNAL_APPLE_PRIVATE_KEY",
		apple + "GATEHOUSE_EXTERNAL_APPLE_PRIVATE_KEY=hunter2":               "GATEHOUSE_EXTERNAL_APPLE_TEAM_ID: it is missing, and the client secret is made of it; set EXTERNAL_APPLE_TEAM_ID and EXTERNAL_APPLE_KEY_ID",
		apple + team + "GATEHOUSE_EXTERNAL_APPLE_PRIVATE_KEY=hunter2":        "GATEHOUSE_EXTERNAL_APPLE_PRIVATE_KEY: it is not a key of Apple's in PEM",
		"GATEHOUSE_EXTERNAL_LINKING=always":                                  "GATEHOUSE_EXTERNAL_LINKING: \"always\" is not a word known here; write verified, never, refuse",
		"GATEHOUSE_EXTERNAL_RECHECK=-1h":                                     "GATEHOUSE_EXTERNAL_RECHECK: -1h0m0s is too small; write 0 or more",
		"GATEHOUSE_EXTERNAL_RECHECK=1h GATEHOUSE_EXTERNAL_KEEP_TOKENS=false": "GATEHOUSE_EXTERNAL_RECHECK: providers are asked again with the tokens that EXTERNAL_KEEP_TOKENS=false does not keep",
		"GOTRUE_EXTERNAL_REDIRECTURL=javascript://a":                         "GOTRUE_EXTERNAL_REDIRECTURL: users cannot be sent to a javascript: URL",
		"GOTRUE_EXTERNAL_ALLOWED_ID_TOKEN_ISSUERS=https://a.example,b":       "GOTRUE_EXTERNAL_ALLOWED_ID_TOKEN_ISSUERS: \"b\" is not an absolute http or https URL",
		"GOTRUE_CUSTOM_OAUTH_EXTERNAL_URL=https://a.example/?b":              "GOTRUE_CUSTOM_OAUTH_EXTERNAL_URL: \"https://a.example/?b\" has a query or fragment",
		"GOTRUE_CUSTOM_OAUTH_MAX_PROVIDERS=-1":                               "GOTRUE_CUSTOM_OAUTH_MAX_PROVIDERS: -1 is too small",
		"GOTRUE_EXTERNAL_OIDC_PROVIDER_CACHE_TTL=0":                          "GOTRUE_EXTERNAL_OIDC_PROVIDER_CACHE_TTL: 0s is out of bounds; write 1s to 24h",
		"GOTRUE_EXTERNAL_WEB3_SOLANA_MAXIMUM_VALIDITY_DURATION=0":            "GOTRUE_EXTERNAL_WEB3_SOLANA_MAXIMUM_VALIDITY_DURATION: 0s is out of bounds; write 1s to 24h",
		"GOTRUE_RATE_LIMIT_SSO=0":                                            "GOTRUE_RATE_LIMIT_SSO: 0 is too small", "GOTRUE_RATE_LIMIT_WEB3=0": "GOTRUE_RATE_LIMIT_WEB3: 0 is too small",
	} {
		_, r := config.Load(source(t, strings.Fields(environ), nil))
		if want == "" { // an empty list is none: the id is missing, and the secret
			if got := names(r.Faults); !slices.Equal(got, []string{"GOTRUE_EXTERNAL_GOOGLE_CLIENT_ID", "GATEHOUSE_EXTERNAL_GOOGLE_SECRET"}) {
				t.Errorf("%q: got %v", environ, got)
			}
			continue
		}
		if len(r.Faults) != 1 || !strings.HasPrefix(r.Faults[0].String(), want) {
			t.Errorf("%q: got %v, want %s", environ, r.Faults, want)
		}
		if err := r.Err(); err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: the secret is told: %v", environ, err)
		}
	}
}

func TestLoad_refusesAppleKeysAppleWouldNot(t *testing.T) {
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(other)
	if err != nil {
		t.Fatal(err)
	}
	key, _ := rsaKeys()
	for _, pem := range []string{oneLine("PRIVATE KEY", der), oneLine("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)), "-----BEGIN PRIVATE KEY-----"} {
		_, r := config.Load(source(t, append(strings.Fields(apple+team), "GATEHOUSE_EXTERNAL_APPLE_PRIVATE_KEY="+pem), nil))
		if got := about("GATEHOUSE_EXTERNAL_APPLE_PRIVATE_KEY", r.Faults); got != "it is not a key of Apple's in PEM" {
			t.Errorf("%.40s…: got %q", pem, got)
		}
	}
}

func TestLoad_acceptsProviders(t *testing.T) {
	for _, environ := range []string{
		google + client,
		google + client + "GOTRUE_EXTERNAL_GOOGLE_URL=http://127.0.0.1:9 GATEHOUSE_OUTGOING_ALLOW_PRIVATE=true",
		realm + "GOTRUE_EXTERNAL_KEYCLOAK_URL=https://keycloak.example.com/realms/staff",
		"GOTRUE_EXTERNAL_AZURE_ENABLED=1 GOTRUE_EXTERNAL_AZURE_CLIENT_ID=a GOTRUE_EXTERNAL_AZURE_SECRET=b",
		apple + "GATEHOUSE_EXTERNAL_APPLE_SECRET=eyJ",
		apple + team + "GATEHOUSE_EXTERNAL_APPLE_SECRET=eyJ", // the secret counts
		"GATEHOUSE_EXTERNAL_RECHECK=1h", "GATEHOUSE_EXTERNAL_KEEP_TOKENS=false", "GOTRUE_EXTERNAL_REDIRECTURL=myapp://home",
		// Off, nothing of it is looked at.
		client, "GATEHOUSE_EXTERNAL_APPLE_PRIVATE_KEY=hunter2", "GOTRUE_EXTERNAL_KEYCLOAK_ENABLED=false", "GOTRUE_EXTERNAL_ZOOM_SKIP_NONCE_CHECK=true",
		"GOTRUE_EXTERNAL_GITHUB_URL=http://127.0.0.1:9",
	} {
		if _, r := load(t, strings.Fields(environ)...); len(r.Warnings) != 0 {
			t.Errorf("%q: got warnings %v, want none", environ, r.Warnings)
		}
	}
}

func TestLoad_warnsOfProvidersThatAreNotAsTheySeem(t *testing.T) {
	for environ, want := range map[string]string{
		google + client + "API_EXTERNAL_URL=http://127.0.0.1:8081 GOTRUE_EXTERNAL_GOOGLE_REDIRECT_URI=https://www.example/callback": "GOTRUE_EXTERNAL_GOOGLE_REDIRECT_URI: people come back to another host",
		google + client + "GOTRUE_EXTERNAL_GOOGLE_SKIP_NONCE_CHECK=true":                                                            "GOTRUE_EXTERNAL_GOOGLE_SKIP_NONCE_CHECK: whoever gets hold of an ID token can sign in with it",
		apple + "GOTRUE_EXTERNAL_IOS_BUNDLE_ID=com.example.app":                                                                     "GATEHOUSE_EXTERNAL_APPLE_SECRET: it is missing: only ID tokens of apps let people in",
	} {
		_, r := load(t, strings.Fields(environ)...)
		if len(r.Warnings) != 1 || !strings.HasPrefix(r.Warnings[0].String(), want) {
			t.Errorf("%q: got %v, want %s", environ, r.Warnings, want)
		}
	}
}

func TestProviders_readWhatIsOfOne(t *testing.T) {
	c, _ := load(t, append(strings.Fields(google+client+"GOTRUE_EXTERNAL_GOOGLE_REDIRECT_URI=https://a.example/callback GATEHOUSE_EXTERNAL_GOOGLE_URL=https://b.example "+
		"GOTRUE_EXTERNAL_GOOGLE_API_URL=https://c.example GOTRUE_EXTERNAL_GOOGLE_EMAIL_OPTIONAL=true "+apple+team), "GATEHOUSE_EXTERNAL_APPLE_PRIVATE_KEY="+appleKey())...)
	on := map[string]config.Provider{}
	for _, p := range c.Providers.All() {
		if p.Enabled {
			on[p.Name] = p.Provider
		}
	}
	want := map[string]config.Provider{
		"google": {
			Enabled: true, ClientIDs: []string{"a", "b"}, Secret: "hunter2", RedirectURI: "https://a.example/callback",
			URL: "https://b.example", APIURL: "https://c.example", EmailOptional: true,
		},
		"apple": {Enabled: true, ClientIDs: []string{"a"}},
	}
	if diff := cmp.Diff(want, on); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	block, rest := pem.Decode([]byte(c.Providers.ApplePEM()))
	if block == nil || len(rest) != 0 {
		t.Fatal("Apple's key is not PEM with line breaks")
	}
	if _, err := x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
		t.Error(err)
	}
}

// A provider that is left out of the list can be turned on and does nothing.
func TestProviders_allAreListedByTheNameOfTheirSettings(t *testing.T) {
	fields := 0
	for f := range reflect.TypeFor[config.Providers]().Fields() {
		if f.Type == reflect.TypeFor[config.Provider]() {
			fields++
		}
	}
	all := (&config.Providers{}).All()
	if len(all) != fields || fields != 26 {
		t.Errorf("%d are listed, want %d of 26", len(all), fields)
	}
	if !slices.IsSortedFunc(all, func(a, b config.NamedProvider) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("they are not in order")
	}
	settings := config.TenantSettings()
	for _, p := range all {
		c, _ := load(t, "GOTRUE_"+p.Setting("ENABLED")+"=true", "GOTRUE_"+p.Setting("CLIENT_ID")+"=me", "GOTRUE_"+p.Setting("SECRET")+"=s", "GOTRUE_"+p.Setting("URL")+"=https://a.example")
		for _, q := range c.Providers.All() {
			if q.Enabled != (q.Name == p.Name) {
				t.Errorf("with %s turned on: %s is %v", p.Name, q.Name, q.Enabled)
			}
		}
		if !slices.Contains(settings, p.Setting("SECRET")) || !config.IsSecret(p.Setting("SECRET")) {
			t.Errorf("%s: its secret is none, or no tenant's", p.Name)
		}
	}
}

// With a shared client an ID token made for one tenant's user is good in the next.
func TestFor_aTenantHasNoClientOfTheServers(t *testing.T) {
	b := base(t, strings.Fields(google+client+"GATEHOUSE_EXTERNAL_LINKING=never")...)
	c := tenant(t, b, nil)
	if diff := cmp.Diff(config.Provider{}, c.Providers.Google); diff != "" || c.Providers.Linking != "never" {
		t.Errorf("linking %s; (-want +got):\n%s", c.Providers.Linking, diff)
	}
	c = tenant(t, b, map[string]string{"EXTERNAL_GOOGLE_ENABLED": "true", "EXTERNAL_GOOGLE_CLIENT_ID": "c", "EXTERNAL_GOOGLE_SECRET": "d"})
	if p := c.Providers.Google; !p.Enabled || p.ClientIDs[0] != "c" || p.Secret.Reveal() != "d" {
		t.Errorf("the tenant has %+v", p)
	}
	_, r := b.For(map[string]string{"EXTERNAL_OIDC_PROVIDER_CACHE_TTL": "1h"})
	if err := r.Err(); err == nil || !strings.Contains(err.Error(), "the same for all tenants") {
		t.Errorf("got %v", err)
	}
}
