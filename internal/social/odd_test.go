package social_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/social"
)

func (k *keeper) apple(t *testing.T) (social.Settings, *social.Providers) {
	t.Helper()
	k.moveKeys, k.moveToken = "/auth/keys", "/auth/token"
	der, err := x509.MarshalPKCS8PrivateKey(otherKey(t))
	if err != nil {
		t.Fatal(err)
	}
	s := k.settings()
	s.Name, s.Kind, s.URL, s.Secret = "apple", "", k.URL, ""
	s.Apple = social.AppleKey{TeamID: "TEAM", KeyID: "KEY", PrivateKey: string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))}
	return s, open(t, k.clock, s)
}

func TestApple_secretIsSignedWithItsKey(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	s, p := k.apple(t)
	if _, err := p.Exchange(t.Context(), "apple", answer()); err != nil {
		t.Fatal(err)
	}
	tok, err := jwt.ParseSigned(k.forms[0].Get("client_secret"), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(s.Apple.PrivateKey))
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	var got jwt.Claims
	if err := tok.Claims(key.(*ecdsa.PrivateKey).Public(), &got); err != nil {
		t.Fatal(err)
	}
	want := jwt.Claims{
		Issuer: "TEAM", Subject: "client", Audience: jwt.Audience{k.URL}, IssuedAt: jwt.NewNumericDate(k.now), Expiry: jwt.NewNumericDate(k.now.Add(5 * time.Minute)),
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if kid := tok.Headers[0].KeyID; kid != "KEY" {
		t.Errorf("kid = %q", kid)
	}
	for _, pk := range []string{"", "rubbish", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}))} {
		s.Apple.PrivateKey = pk
		_, err := open(t, k.clock, s).Exchange(t.Context(), "apple", answer())
		wantKind(t, err, social.Failed)
	}
}

// L33: the form field beside the code is signed by nobody.
func TestApple_takesTheNameAndNothingElseFromTheForm(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	_, p := k.apple(t)
	k.set(func() {
		k.claims = map[string]any{"name": nil, "email": nil, "email_verified": "true", "is_private_email": "true"}
	})
	a := answer()
	a.Form = `{"name":{"firstName":"Ada","lastName":"Lovelace"},"email":"victim@example.com","email_verified":true,"sub":"victim"}`
	got, err := p.Exchange(t.Context(), "apple", a)
	if err != nil {
		t.Fatal(err)
	}
	if got.Subject != "u1" || got.Email != "" || got.EmailVerified || got.Data["email"] != nil || got.Data["full_name"] != "Ada Lovelace" {
		t.Errorf("got %+v", got)
	}
	for _, form := range []string{"rubbish", "[]", `{"name":7}`, `{"name":{"firstName":{"a":"b"}}}`} {
		a.Form = form
		if _, err := p.Exchange(t.Context(), "apple", a); err != nil {
			t.Errorf("%s: %v", form, err)
		}
	}
}

func TestApple_writesBooleansInQuotes(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	_, p := k.apple(t)
	for _, tc := range []struct {
		v    any
		want bool
	}{{true, true}, {"true", true}, {"false", false}, {"True", false}, {false, false}, {nil, false}, {1, false}} {
		got, err := p.IDToken(t.Context(), "apple", social.Token{Raw: k.made("", map[string]any{"email_verified": tc.v})})
		if err != nil || got.EmailVerified != tc.want {
			t.Errorf("%#v: got %+v, %v", tc.v, got, err)
		}
	}
}

func TestApple_isAskedAgainWithNewTokens(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	_, p := k.apple(t)
	k.set(func() { k.nonce = "" })
	got, err := p.Refetch(t.Context(), "apple", social.Tokens{Access: "a", Refresh: "r", ExpiresAt: k.now.Add(time.Hour)})
	if err != nil || got.Subject != "u1" || got.Tokens.Access != "access-1" {
		t.Errorf("got %+v, %v", got, err)
	}
	_, err = p.Refetch(t.Context(), "apple", social.Tokens{Access: "a"})
	wantKind(t, err, social.Refused)
}

const (
	tenantA   = "11111111-2222-3333-4444-555555555555"
	tenantB   = "66666666-7777-8888-9999-000000000000"
	consumers = "9188040d-6c67-4c5b-b112-36a304b66dad"
)

// L02, L03: whose tokens are taken, and when an address counts.
func TestAzure_takesTheTokensOfItsTenantAlone(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		url, says, iss, tid string
		want                social.Kind
	}{
		{tenantA, tenantA, tenantA, tenantA, ""},
		{tenantA, tenantA, tenantB, tenantB, social.BadToken},
		{tenantA, tenantA, tenantA + "/x", tenantA, social.BadToken},
		{tenantA, tenantB, tenantA, tenantA, social.Failed},
		{tenantA, "{tenantid}", tenantA, tenantA, social.Failed},
		{"common", "{tenantid}", tenantB, tenantB, ""},
		{"common", "{tenantid}", consumers, consumers, ""},
		{"common", "{tenantid}", tenantB, tenantA, social.BadToken},
		{"common", "{tenantid}", "{tenantid}", "{tenantid}", social.BadToken},
		{"common", "{tenantid}", "evil", "evil", social.BadToken},
		{"common", "{tenantid}", tenantA, "", social.BadToken},
		{"common", tenantA, tenantA, tenantA, social.Failed},
		{"organizations", "{tenantid}", tenantB, tenantB, ""},
		{"organizations", "{tenantid}", consumers, consumers, social.BadToken},
		{"consumers", consumers, consumers, consumers, ""},
		{"consumers", consumers, tenantA, tenantA, social.BadToken},
		{"example.com", tenantA, tenantA, tenantA, ""},
		{"example.com", tenantA, tenantB, tenantB, social.BadToken},
		{"example.com", "{tenantid}", tenantB, tenantB, social.Failed},
	} {
		k := newKeeper(t)
		k.discovery = map[string]any{"issuer": k.URL + "/" + tc.says + "/v2.0"}
		k.moveDiscovery = "/" + tc.url + "/v2.0" + discoveryPath
		s := k.settings()
		s.Name, s.Kind, s.URL, s.Issuer = "azure", "", k.URL+"/"+tc.url, ""
		claims := map[string]any{"iss": k.URL + "/" + tc.iss + "/v2.0", "tid": tc.tid}
		p, err := open(t, k.clock, s).IDToken(t.Context(), "azure", social.Token{Raw: k.made("", claims)})
		if tc.want != "" {
			if social.KindOf(err) != tc.want {
				t.Errorf("%+v: got %+v, %v", tc, p, err)
			}
			// Only of a domain does nobody know the tenant before asking.
			if n := k.count(k.moveDiscovery); tc.want == social.BadToken && n != 0 && tc.url != "example.com" {
				t.Errorf("%+v: asked %d times about a token of somebody else's", tc, n)
			}
			continue
		}
		if err != nil || p.Issuer != claims["iss"] || p.EmailVerified {
			t.Errorf("%+v: got %+v, %v", tc, p, err)
		}
	}
}

func TestAzure_doesNotAskAboutTokensFromElsewhere(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	s := k.settings()
	s.Name, s.Kind, s.URL, s.Issuer = "azure", "", k.URL+"/example.com", ""
	_, err := open(t, k.clock, s).IDToken(t.Context(), "azure", social.Token{Raw: k.made("", map[string]any{"iss": "https://evil.example/" + tenantA + "/v2.0", "tid": tenantA})})
	wantKind(t, err, social.BadToken)
	if len(k.hits) != 0 {
		t.Errorf("asked %v", k.hits)
	}
}

func TestAzure_anAddressIsProvedByItsDomainsOwner(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	k.discovery = map[string]any{"issuer": k.URL + "/" + tenantA + "/v2.0"}
	k.moveDiscovery = "/" + tenantA + "/v2.0" + discoveryPath
	s := k.settings()
	s.Name, s.Kind, s.URL, s.Issuer = "azure", "", k.URL+"/"+tenantA, ""
	for _, tc := range []struct {
		edov any
		want bool
	}{{true, true}, {false, false}, {nil, false}, {"true", false}, {"false", false}, {"1", false}, {1, false}} {
		claims := map[string]any{"iss": k.URL + "/" + tenantA + "/v2.0", "tid": tenantA, "email_verified": true, "xms_edov": tc.edov}
		p, err := open(t, k.clock, s).IDToken(t.Context(), "azure", social.Token{Raw: k.made("", claims)})
		if err != nil || p.EmailVerified != tc.want {
			t.Errorf("xms_edov %#v: got %+v, %v", tc.edov, p, err)
		}
	}
}

func TestCustom_mapsClaims(t *testing.T) {
	t.Parallel()
	v := newVendor(t, map[string]string{
		"/token": tokenAnswer,
		"/me":    `{"id":42,"mail":"a@example.com","checked":true,"who":{"full":"Ada"},"groups":["x"],"secret":"s","sub":"other"}`,
	})
	s := v.settings(acme)
	s.Kind, s.AuthURL, s.TokenURL, s.UserinfoURL = "oauth2", v.URL+"/authorize", v.URL+"/token", v.URL+"/me"
	s.AttributeMapping = map[string]any{"sub": "id", "email": "mail", "email_verified": "checked", "name": "who.full", "locale": "nothing", "website": true}
	s.ClaimsAllowlist = []string{"groups", "who.full", "none"}
	p, err := open(t, time.Now, s).Exchange(t.Context(), acme, answer())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"iss": v.URL, "sub": "42", "provider_id": "42", "email": "a@example.com", "email_verified": true, "phone_verified": false, "name": "Ada", "full_name": "Ada",
		"custom_claims": map[string]any{"groups": []any{"x"}, "who.full": "Ada"},
	}
	if d := cmp.Diff(want, p.Data); d != "" {
		t.Error(d)
	}

	s.AttributeMapping["email_verified"] = false
	if p, err := open(t, time.Now, s).Exchange(t.Context(), acme, answer()); err != nil || p.EmailVerified {
		t.Errorf("a value in place of a name: got %+v, %v", p, err)
	}
}

// The key of an identity is what is signed, whatever a mapping says.
func TestCustom_mappingDoesNotMoveTheSignedSubject(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	p, err := k.providers(func(s *social.Settings) {
		s.AttributeMapping = map[string]any{"sub": "email", "iss": "email", "nickname": "name"}
	}).Exchange(t.Context(), acme, answer())
	if err != nil || p.Subject != "u1" || p.Issuer != k.URL || p.Data["nickname"] != "Ada Lovelace" {
		t.Errorf("got %+v, %v", p, err)
	}
}

func TestCustom_saysWhoWeAreInTheBodyIfTheHeaderIsNotKnown(t *testing.T) {
	t.Parallel()
	v := newVendor(t, map[string]string{"/me": `{"sub":"1"}`})
	v.answer("/token", 401, `{"error":"invalid_client"}`)
	s := v.settings(acme)
	s.Kind, s.AuthURL, s.TokenURL, s.UserinfoURL = "oauth2", v.URL+"/authorize", v.URL+"/token", v.URL+"/me"
	_, err := open(t, time.Now, s).Exchange(t.Context(), acme, answer())
	wantKind(t, err, social.Failed)
	if form := v.forms["/token"]; len(v.order) != 2 || form.Get("client_secret") != "hunter2" || form.Get("basic") != "" {
		t.Errorf("asked %v, last with %v", v.order, form)
	}
}

func TestCustom_discoveryMayBeElsewhere(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	k.moveDiscovery = "/tenant/discovery"
	k.discovery = map[string]any{"issuer": "https://issuer.example/", "token_endpoint_auth_methods_supported": []string{"client_secret_post"}}
	k.claims = map[string]any{"iss": "https://issuer.example/"}
	p := k.providers(func(s *social.Settings) {
		s.Issuer, s.DiscoveryURL = "https://issuer.example/", k.URL+"/tenant/discovery"
	})
	got, err := p.Exchange(t.Context(), acme, answer())
	if err != nil || got.Issuer != "https://issuer.example/" {
		t.Errorf("got %+v, %v", got, err)
	}
	if k.forms[0].Get("client_secret") != "se cret" {
		t.Errorf("we said who we are as %v", k.forms[0])
	}
}

func TestCustom_handsOnWhyThereAreNoSettings(t *testing.T) {
	t.Parallel()
	broken := errors.New("the database is down")
	p := open(t, time.Now, social.Settings{}, func(o *social.Options) {
		o.Custom = func(context.Context, string) (social.Settings, error) { return social.Settings{}, broken }
	})
	if _, err := p.AuthURL(t.Context(), acme, social.Request{}); !errors.Is(err, broken) || social.KindOf(err) != "" {
		t.Errorf("got %v", err)
	}
	for _, kind := range []string{"", "saml"} {
		p := open(t, time.Now, social.Settings{Name: acme, Enabled: true, Kind: kind, ClientIDs: []string{"c"}})
		_, err := p.AuthURL(t.Context(), acme, social.Request{})
		wantKind(t, err, social.Unknown)
	}
}
