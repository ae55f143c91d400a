package social_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"gatehouse/internal/fetch"
	"gatehouse/internal/social"
)

// keeper is a small OpenID provider: what it says is what the test wants said.
type keeper struct {
	*httptest.Server
	t *testing.T

	mu                                 sync.Mutex // guards what follows
	now                                time.Time
	keys                               []jose.JSONWebKey // private; the first signs
	discovery                          map[string]any    // laid over the document
	claims                             map[string]any    // laid over those of the ID token; nil takes one away
	token                              map[string]any    // laid over the token answer
	userinfo                           map[string]any    // nil: 404
	nonce                              string
	raw                                func(claims map[string]any) string // makes the ID token; nil: signed by the first key
	down                               bool                               // answers 503
	moveKeys, moveToken, moveDiscovery string                             // second places
	hold                               chan struct{}                      // answers when it is closed
	hits                               map[string]int
	forms                              []url.Values
}

func newKeeper(t *testing.T) *keeper {
	t.Helper()
	k := &keeper{
		t: t, now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), nonce: "nonce-1", hits: map[string]int{},
		userinfo: map[string]any{"sub": "u1"},
	}
	k.rotate("k1")
	k.Server = httptest.NewServer(k)
	t.Cleanup(k.Close)
	return k
}

func (k *keeper) set(f func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f()
}

func (k *keeper) clock() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.now
}

func (k *keeper) pass(d time.Duration) { k.set(func() { k.now = k.now.Add(d) }) }

func (k *keeper) count(path string) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.hits[path]
}

// rotate puts a new key in the place of all others.
func (k *keeper) rotate(kid string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		k.t.Fatal(err)
	}
	k.set(func() { k.keys = []jose.JSONWebKey{{Key: key, KeyID: kid, Use: "sig"}} })
}

func (k *keeper) public() crypto.PublicKey { return k.keys[0].Key.(*ecdsa.PrivateKey).Public() }

func (k *keeper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	form := readForm(r)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.hits[r.URL.Path]++
	if hold := k.hold; hold != nil {
		k.mu.Unlock()
		<-hold
		k.mu.Lock()
	}
	if k.down {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	var answer any
	path := r.URL.Path
	switch path {
	case k.moveKeys:
		path = "/jwks"
	case k.moveToken:
		path = "/token"
	case k.moveDiscovery:
		path = discoveryPath
	}
	switch path {
	case discoveryPath:
		answer = over(map[string]any{
			"issuer": k.URL, "authorization_endpoint": k.URL + "/authorize", "token_endpoint": k.URL + "/token",
			"userinfo_endpoint": k.URL + "/userinfo", "jwks_uri": k.URL + "/jwks",
			"id_token_signing_alg_values_supported": []string{"ES256", "RS256", "HS256", "none"},
		}, k.discovery)
	case "/jwks":
		set := jose.JSONWebKeySet{}
		for _, key := range k.keys {
			set.Keys = append(set.Keys, key.Public())
		}
		answer = set
	case "/token":
		k.forms = append(k.forms, form)
		answer = over(map[string]any{
			"access_token": "access-1", "refresh_token": "refresh-1", "token_type": "Bearer", "expires_in": 3600, "id_token": k.idToken(k.nonce),
		}, k.token)
	case "/userinfo":
		if k.userinfo == nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		answer = k.userinfo
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

// readForm reads body and basic authentication, so that a test finds both in one.
func readForm(r *http.Request) url.Values {
	body, _ := io.ReadAll(r.Body)
	form, _ := url.ParseQuery(string(body))
	if id, secret, ok := r.BasicAuth(); ok {
		form.Set("basic", id+":"+secret)
	}
	return form
}

func over(m, changes map[string]any) map[string]any {
	maps.Copy(m, changes)
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	return m
}

// idToken signs what an honest provider would, but for what the test changed.
func (k *keeper) idToken(nonce string) string {
	c := map[string]any{
		"iss": k.URL, "sub": "u1", "aud": "client", "iat": k.now.Unix(), "exp": k.now.Add(time.Hour).Unix(),
		"email": "ada@example.com", "email_verified": true, "name": "Ada Lovelace",
	}
	if nonce != "" {
		c["nonce"] = nonce
	}
	c = over(c, k.claims)
	if k.raw != nil {
		return k.raw(c)
	}
	return k.sign(jose.ES256, k.keys[0], c)
}

func (k *keeper) sign(alg jose.SignatureAlgorithm, key any, c map[string]any) string {
	return k.signAs(alg, key, "JWT", c)
}

func (k *keeper) signAs(alg jose.SignatureAlgorithm, key any, typ string, c map[string]any) string {
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
	if err != nil {
		k.t.Error(err)
		return ""
	}
	b, err := json.Marshal(c)
	if err != nil {
		k.t.Error(err)
	}
	jws, err := s.Sign(b)
	if err != nil {
		k.t.Error(err)
		return ""
	}
	raw, err := jws.CompactSerialize()
	if err != nil {
		k.t.Error(err)
	}
	return raw
}

const acme = "custom:acme"

// settings are those of a provider that was added at run time.
func (k *keeper) settings() social.Settings {
	return social.Settings{
		Name: acme, Kind: "oidc", Enabled: true, ClientIDs: []string{"client", "client-ios"}, Secret: "se cret", RedirectURI: "https://app.example/callback",
		Issuer: k.URL, Scopes: []string{"email"}, PKCE: true,
	}
}

// providers are those of a tenant with one provider.
func (k *keeper) providers(change ...func(*social.Settings)) *social.Providers {
	s := k.settings()
	for _, f := range change {
		f(&s)
	}
	return open(k.t, k.clock, s)
}

func open(t *testing.T, now func() time.Time, s social.Settings, change ...func(*social.Options)) *social.Providers {
	t.Helper()
	c := fetch.New(fetch.Options{AllowPrivate: true})
	t.Cleanup(c.Close)
	o := social.Options{Fetch: c, Now: now, Settings: []social.Settings{s}}
	o.Custom = func(_ context.Context, name string) (social.Settings, error) {
		if name == s.Name && strings.HasPrefix(name, "custom:") {
			return s, nil
		}
		return social.Settings{}, nil
	}
	for _, f := range change {
		f(&o)
	}
	return social.New(o)
}

func answer() social.Answer {
	return social.Answer{Code: "code-1", Verifier: "verifier-1", Nonce: "nonce-1"}
}

// wantKind is for refusals.
func wantKind(t *testing.T, err error, want social.Kind) {
	t.Helper()
	if got := social.KindOf(err); got != want {
		t.Errorf("got %q (%v), want %q", got, err, want)
	}
}
