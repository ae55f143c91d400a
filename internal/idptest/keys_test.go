package idptest_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/idptest"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

var algs = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.ES256, jose.EdDSA}

// published fetches what the vendor's discovery document points to.
func published(t *testing.T, p *idptest.Provider, vendor string) jose.JSONWebKeySet {
	t.Helper()
	get := func(at string, into any) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if err := json.NewDecoder(res.Body).Decode(into); err != nil || res.StatusCode != 200 {
			t.Fatalf("%s: %s, %v", at, res.Status, err)
		}
	}
	var doc struct {
		Issuer string
		JWKS   string `json:"jwks_uri"`
	}
	get(p.Issuer(vendor)+"/.well-known/openid-configuration", &doc)
	if doc.Issuer != p.Issuer(vendor) {
		t.Errorf("%s: the document is of %q, want %q", vendor, doc.Issuer, p.Issuer(vendor))
	}
	var set jose.JSONWebKeySet
	get(doc.JWKS, &set)
	return set
}

// verifies says whether a key of the set signed the token, as a library sees it.
func verifies(t *testing.T, set jose.JSONWebKeySet, token string) bool {
	t.Helper()
	parsed, err := jwt.ParseSigned(token, algs)
	if err != nil {
		return false
	}
	for _, k := range set.Key(parsed.Headers[0].KeyID) {
		if parsed.Claims(k, &map[string]any{}) == nil {
			return true
		}
	}
	return false
}

func TestIDToken_isWhatOpenIDConnectSays(t *testing.T) {
	t.Parallel()
	p := idptest.New(t)
	f := newFlow(t, p)
	who := ann()
	who.EmailVerified = "false"
	who.Claims = map[string]any{"groups": []any{"a"}, "picture": nil}
	p.Person(who)
	m := f.tokens(nil)
	got := claims(t, text(m, "id_token"))
	for k, want := range map[string]any{
		"iss": p.Issuer("oidc"), "sub": "4242", "aud": "us", "nonce": "the nonce", "email": "ann@example.com", "email_verified": "false", "name": "Ann Lee", "picture": nil,
	} {
		if got[k] != want {
			t.Errorf("%s is %v, want %v", k, got[k], want)
		}
	}
	if text(got, "at_hash") == "" || got["groups"] == nil {
		t.Errorf("at_hash or groups are missing in %v", got)
	}
	if !verifies(t, published(t, p, "oidc"), text(m, "id_token")) {
		t.Error("no published key signed it")
	}
	if p.Count("jwks") != 1 || p.Count("discovery") != 1 || p.Count("/oidc/token") != 1 || p.Count("/token") != 0 {
		t.Errorf("the record is %v", p.Requests())
	}
	_, u := f.profile("/userinfo", text(m, "access_token"))
	if u["email_verified"] != "false" || u["groups"] == nil {
		t.Errorf("userinfo says %v", u)
	}
}

func TestDiscovery_isThatOfEveryIssuer(t *testing.T) {
	t.Parallel()
	p := idptest.New(t)
	for _, vendor := range []string{
		"oidc", "oidc-second", "google", "apple", "azure", "linkedin_oidc", "slack_oidc", "keycloak", "vercel_marketplace", "gitlab", "kakao", "snapchat", "twitch", "facebook",
	} {
		set := published(t, p, vendor)
		if token := p.IDToken(vendor, "us", "", "", idptest.Forgery{}); claims(t, token)["iss"] != p.Issuer(vendor) || !verifies(t, set, token) {
			t.Errorf("%s: its own ID token has %v", vendor, claims(t, token))
		}
	}
}

func TestForge_isWrongInOneWayAlone(t *testing.T) {
	t.Parallel()
	p := idptest.New(t)
	honest := map[string]any{"sub": "1", "aud": "us"}
	for _, alg := range algs {
		if token := p.Token("oidc", honest, idptest.Forgery{Alg: string(alg)}); !verifies(t, published(t, p, "oidc"), token) {
			t.Errorf("%s does not verify", alg)
		}
	}
	set := published(t, p, "oidc")
	for name, f := range map[string]idptest.Forgery{
		"stranger":  {Stranger: true},
		"none":      {Alg: "none"},
		"HS256":     {Alg: "HS256"},
		"other kid": {Header: map[string]any{"kid": "nobody"}},
		"other alg": {Header: map[string]any{"alg": "ES256"}},
	} {
		if token := p.Token("oidc", honest, f); verifies(t, set, token) || claims(t, token)["sub"] != "1" {
			t.Errorf("%s: verifies, or is not the token that was asked for: %v", name, claims(t, token))
		}
	}
	mac := p.Token("oidc", honest, idptest.Forgery{Alg: "HS256", Secret: []byte(strings.Repeat("k", 32))})
	parsed, err := jwt.ParseSigned(mac, []jose.SignatureAlgorithm{jose.HS256})
	if err != nil || parsed.Claims([]byte(strings.Repeat("k", 32)), &map[string]any{}) != nil {
		t.Errorf("HS256 does not verify with its secret: %v", err)
	}
	f := newFlow(t, p)
	p.Forge(idptest.Forgery{Claims: map[string]any{"nonce": "another", "aud": []string{"a", "b"}, "iat": nil}})
	got := claims(t, text(f.tokens(nil), "id_token"))
	if _, has := got["iat"]; got["nonce"] != "another" || has {
		t.Errorf("the code flow gives %v, want it forged", got)
	}
}

func TestRotate_dropsOrKeeps(t *testing.T) {
	t.Parallel()
	p := idptest.New(t)
	old := p.Token("oidc", nil, idptest.Forgery{})
	p.Rotate(true)
	if set := published(t, p, "oidc"); !verifies(t, set, old) || !verifies(t, set, p.Token("oidc", nil, idptest.Forgery{})) {
		t.Error("a key that was kept is not there, or the new one is not")
	}
	p.Rotate(false)
	if set := published(t, p, "oidc"); verifies(t, set, old) || len(set.Keys) != 1 {
		t.Errorf("%d keys, and the old one is still there", len(set.Keys))
	}
}

func TestApple_wantsASecretOfItsKeyAndAForm(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p := idptest.New(t, func(o *idptest.Options) { o.Now = func() time.Time { return now } })
	f := newFlow(t, p)
	p.Person(ann())
	f.vendor, f.authorize, f.take, f.scope = "apple", "/auth/authorize", "/auth/token", "name email"
	key := p.Apple("us")
	if got := f.begin(nil).Values.Get("error"); got != "invalid_request" {
		t.Errorf("without form_post: %q, want invalid_request", got)
	}
	otherName := key
	otherName.KeyID = "ANOTHER"
	form := map[string][]string{"response_mode": {"form_post"}}
	l := f.begin(form)
	var user struct {
		Name  struct{ FirstName, LastName string }
		Email string
	}
	if err := json.Unmarshal([]byte(l.Values.Get("user")), &user); err != nil || l.Method != http.MethodPost || l.URL.String() != back {
		t.Fatalf("landed with %s at %s, user %q: %v", l.Method, l.URL, l.Values.Get("user"), err)
	}
	if user.Name.FirstName != "Ann" || user.Name.LastName != "Lee" || user.Email != "ann@example.com" || l.Values.Get("state") != "the state" {
		t.Errorf("introduced as %+v with %v", user, l.Values)
	}
	if f.begin(form).Values.Has("user") {
		t.Error("Apple tells the name once, and told it again")
	}
	for name, try := range map[string]struct {
		secret string
		good   bool
	}{
		"plain":      {"the secret", false},
		"its key":    {key.Secret("us", now, time.Hour), true},
		"of another": {key.Secret("them", now, time.Hour), false},
		"other kid":  {otherName.Secret("us", now, time.Hour), false},
		"expired":    {key.Secret("us", now.Add(-2*time.Hour), time.Hour), false},
		"too long":   {key.Secret("us", now, 200*24*time.Hour), false},
		"tampered":   {key.Secret("us", now, time.Hour)[:40] + "A" + key.Secret("us", now, time.Hour)[41:], false},
	} {
		f.secret = try.secret
		status, m := f.trade(f.begin(form).Values.Get("code"), nil)
		if (status == 200) != try.good || !try.good && m["error"] != "invalid_client" {
			t.Errorf("%s: %d %v", name, status, m)
		}
	}
}
