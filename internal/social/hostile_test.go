package social_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/social"
)

func TestExchange_givesTheProfileOfAnHonestProvider(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	got, err := k.providers().Exchange(t.Context(), acme, answer())
	if err != nil {
		t.Fatal(err)
	}
	want := &social.Profile{
		Issuer: k.URL, Subject: "u1", Email: "ada@example.com", EmailVerified: true,
		Data: map[string]any{
			"iss": k.URL, "sub": "u1", "provider_id": "u1", "email": "ada@example.com", "email_verified": true, "phone_verified": false,
			"name": "Ada Lovelace", "full_name": "Ada Lovelace",
		},
		Tokens: social.Tokens{Access: "access-1", Refresh: "refresh-1", ExpiresAt: k.now.Add(time.Hour)},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	form := k.forms[0]
	for key, want := range map[string]string{
		"grant_type": "authorization_code", "code": "code-1", "redirect_uri": "https://app.example/callback", "code_verifier": "verifier-1",
		"basic": "client:se+cret", "client_secret": "",
	} {
		if form.Get(key) != want {
			t.Errorf("%s = %q, want %q", key, form.Get(key), want)
		}
	}
}

// F03: what the OpenID Foundation tries relying parties with.
func TestExchange_refusesEveryForgedAnswer(t *testing.T) {
	t.Parallel()
	claim := func(key string, v any) func(*keeper) {
		return func(k *keeper) { k.claims = map[string]any{key: v} }
	}
	raw := func(f func(k *keeper, c map[string]any) string) func(*keeper) {
		return func(k *keeper) { k.raw = func(c map[string]any) string { return f(k, c) } }
	}
	none := func(_ *keeper, c map[string]any) string {
		b, _ := json.Marshal(c)
		return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString(b) + "."
	}
	for name, tc := range map[string]struct {
		forge func(*keeper)
		want  social.Kind
	}{
		"wrong issuer":           {claim("iss", "https://other.example"), social.BadToken},
		"issuer with a slash":    {func(k *keeper) { k.claims = map[string]any{"iss": k.URL + "/"} }, social.BadToken},
		"no issuer":              {claim("iss", nil), social.BadToken},
		"wrong audience":         {claim("aud", "somebody-else"), social.Audience},
		"audience of another id": {claim("aud", "client-ios"), social.Audience},
		"no audience":            {claim("aud", nil), social.Audience},
		"several without azp":    {claim("aud", []string{"client", "other"}), social.Audience},
		"azp of another":         {claim("azp", "other"), social.Audience},
		"azp is no string":       {claim("azp", 7), social.Audience},
		"expired":                {claim("exp", time.Date(2026, 11, 22, 11, 59, 0, 0, time.UTC).Unix()), social.BadToken},
		"no expiry":              {claim("exp", nil), social.BadToken},
		"expiry is a string":     {claim("exp", "9999999999"), social.BadToken},
		"issued in the future":   {claim("iat", time.Date(2026, 11, 22, 12, 5, 0, 0, time.UTC).Unix()), social.BadToken},
		"no iat":                 {claim("iat", nil), social.BadToken},
		"not valid yet":          {claim("nbf", time.Date(2026, 11, 22, 12, 5, 0, 0, time.UTC).Unix()), social.BadToken},
		"no subject":             {claim("sub", nil), social.BadToken},
		"subject is a number":    {claim("sub", 1), social.BadToken},
		"wrong nonce":            {claim("nonce", "nonce-2"), social.Nonce},
		"no nonce":               {claim("nonce", nil), social.Nonce},
		"wrong at_hash":          {claim("at_hash", "LDktKdoQak3Pk0cnXxCltA"), social.BadToken},
		"at_hash is no string":   {claim("at_hash", 1), social.BadToken},
		"alg none":               {raw(none), social.BadToken},
		"userinfo of another":    {func(k *keeper) { k.userinfo = map[string]any{"sub": "u2", "email": "x@example.com"} }, social.BadToken},
		"userinfo of nobody":     {func(k *keeper) { k.userinfo = map[string]any{"email": "x@example.com"} }, social.BadToken},
		"no ID token":            {func(k *keeper) { k.token = map[string]any{"id_token": nil} }, social.Failed},
		"discovery of another":   {func(k *keeper) { k.discovery = map[string]any{"issuer": "https://other.example"} }, social.Failed},
		"signs with secrets only": {func(k *keeper) {
			k.discovery = map[string]any{"id_token_signing_alg_values_supported": []string{"HS256"}}
		}, social.Failed},
		"alg that it does not use": {func(k *keeper) {
			k.discovery = map[string]any{"id_token_signing_alg_values_supported": []string{"RS256"}}
		}, social.BadToken},
		"unknown kid": {raw(func(k *keeper, c map[string]any) string {
			key := k.keys[0]
			key.KeyID = "k9"
			return k.sign(jose.ES256, key, c)
		}), social.BadToken},
		"another key under the same kid": {raw(func(k *keeper, c map[string]any) string {
			return k.sign(jose.ES256, jose.JSONWebKey{Key: otherKey(k.t), KeyID: "k1"}, c)
		}), social.BadToken},
		"HS256 with the public key": {raw(func(k *keeper, c map[string]any) string {
			der, _ := x509.MarshalPKIXPublicKey(k.public())
			return k.sign(jose.HS256, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), c)
		}), social.BadToken},
		"its own key in the header": {raw(func(k *keeper, c map[string]any) string {
			s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: otherKey(k.t)}, &jose.SignerOptions{EmbedJWK: true})
			if err != nil {
				k.t.Fatal(err)
			}
			b, _ := json.Marshal(c)
			jws, _ := s.Sign(b)
			out, _ := jws.CompactSerialize()
			return out
		}), social.BadToken},
		"an access token": {raw(func(k *keeper, c map[string]any) string { return k.signAs(jose.ES256, k.keys[0], "at+jwt", c) }), social.BadToken},
		"a logout token":  {raw(func(k *keeper, c map[string]any) string { return k.signAs(jose.ES256, k.keys[0], "logout+jwt", c) }), social.BadToken},
		"changed payload": {raw(func(k *keeper, c map[string]any) string {
			parts := strings.Split(k.sign(jose.ES256, k.keys[0], c), ".")
			c["sub"] = "victim"
			b, _ := json.Marshal(c)
			return parts[0] + "." + base64.RawURLEncoding.EncodeToString(b) + "." + parts[2]
		}), social.BadToken},
		"huge": {claim("pad", strings.Repeat("x", 40<<10)), social.BadToken},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKeeper(t)
			k.set(func() { tc.forge(k) })
			_, err := k.providers().Exchange(t.Context(), acme, answer())
			wantKind(t, err, tc.want)
		})
	}
}

func otherKey(t *testing.T) *ecdsa.PrivateKey {
	k := &keeper{t: t}
	k.rotate("k1")
	return k.keys[0].Key.(*ecdsa.PrivateKey)
}

func TestExchange_takesWhatIsOddButRight(t *testing.T) {
	t.Parallel()
	sum := sha256.Sum256([]byte("access-1"))
	for name, change := range map[string]func(*keeper){
		"audiences in a list": func(k *keeper) { k.claims = map[string]any{"aud": []string{"client"}} },
		"several, azp ours":   func(k *keeper) { k.claims = map[string]any{"aud": []string{"x", "client"}, "azp": "client"} },
		"at_hash":             func(k *keeper) { k.claims = map[string]any{"at_hash": base64.RawURLEncoding.EncodeToString(sum[:16])} },
		"a clock that is ahead": func(k *keeper) {
			k.claims = map[string]any{"iat": k.now.Add(20 * time.Second).Unix(), "nbf": k.now.Add(20 * time.Second).Unix()}
		},
		"no kid": func(k *keeper) { k.keys[0].KeyID = "" },
		"RS256": func(k *keeper) {
			key, err := rsa.GenerateKey(rand.Reader, 2048)
			if err != nil {
				k.t.Fatal(err)
			}
			k.keys = []jose.JSONWebKey{{Key: key, KeyID: "r1", Algorithm: "RS256"}}
			k.raw = func(c map[string]any) string { return k.sign(jose.RS256, k.keys[0], c) }
		},
		"no userinfo":      func(k *keeper) { k.userinfo = nil },
		"expires_in quote": func(k *keeper) { k.token = map[string]any{"expires_in": "3600"} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKeeper(t)
			k.set(func() { change(k) })
			p, err := k.providers().Exchange(t.Context(), acme, answer())
			if err != nil || p.Subject != "u1" || p.Email != "ada@example.com" {
				t.Errorf("got %+v, %v", p, err)
			}
		})
	}
}

// L04: an address counts only with the boolean true beside it.
func TestExchange_emailIsProvedByTheBooleanTrueAlone(t *testing.T) {
	t.Parallel()
	for _, v := range []any{"true", "false", "1", 1, "yes", nil, false, []any{true}, map[string]any{"v": true}} {
		k := newKeeper(t)
		k.set(func() { k.claims = map[string]any{"email_verified": v} })
		p, err := k.providers().Exchange(t.Context(), acme, answer())
		if err != nil || p.EmailVerified || p.Data["email_verified"] != false || p.Email != "ada@example.com" {
			t.Errorf("email_verified %#v: got %+v, %v", v, p, err)
		}
	}
}

func TestExchange_userinfoProvesNoOtherAddress(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		token, userinfo map[string]any
		email           string
		proved          bool
	}{
		"another address":     {map[string]any{"email_verified": false}, map[string]any{"sub": "u1", "email": "eve@example.com", "email_verified": true}, "ada@example.com", false},
		"the word alone":      {map[string]any{"email_verified": nil}, map[string]any{"sub": "u1", "email_verified": true}, "ada@example.com", false},
		"the same address":    {map[string]any{"email_verified": "true"}, map[string]any{"sub": "u1", "email": "ada@example.com", "email_verified": true}, "ada@example.com", true},
		"userinfo alone":      {map[string]any{"email": nil, "email_verified": true}, map[string]any{"sub": "u1", "email": "eve@example.com"}, "eve@example.com", false},
		"userinfo proves its": {map[string]any{"email": nil}, map[string]any{"sub": "u1", "email": "eve@example.com", "email_verified": true}, "eve@example.com", true},
		"none":                {map[string]any{"email": nil}, map[string]any{"sub": "u1"}, "", false},
		"two at signs":        {map[string]any{"email": "a@b@example.com"}, map[string]any{"sub": "u1"}, "", false},
		"a line break":        {map[string]any{"email": "a\r\nb@example.com"}, map[string]any{"sub": "u1"}, "", false},
	} {
		k := newKeeper(t)
		k.set(func() { k.claims, k.userinfo = tc.token, tc.userinfo })
		p, err := k.providers().Exchange(t.Context(), acme, answer())
		if err != nil || p.Email != tc.email || p.EmailVerified != tc.proved {
			t.Errorf("%s: got %+v, %v", name, p, err)
		}
	}
}

// L16: the iss parameter of RFC 9207.
func TestExchange_refusesTheAnswerOfAnotherIssuer(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	p := k.providers()
	a := answer()
	a.Issuer = "https://other.example"
	_, err := p.Exchange(t.Context(), acme, a)
	wantKind(t, err, social.BadToken)
	if n := k.count("/token"); n != 0 {
		t.Errorf("the code was taken to the token endpoint %d times", n)
	}
	a.Issuer = k.URL
	if _, err := p.Exchange(t.Context(), acme, a); err != nil {
		t.Error(err)
	}

	k.set(func() { k.discovery = map[string]any{"authorization_response_iss_parameter_supported": true} })
	_, err = k.providers().Exchange(t.Context(), acme, answer())
	wantKind(t, err, social.BadToken)
}

func TestExchange_saysWhyThereAreNoTokens(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		status int
		body   string
		want   social.Kind
	}{
		"a spent code":        {400, `{"error":"invalid_grant","error_description":"code-1 is spent"}`, social.Code},
		"with a status of OK": {200, `{"error":"bad_verification_code"}`, social.Code},
		"a code that is none": {400, `{"error":"` + strings.Repeat("code-1", 20) + `"}`, social.Code},
		"a wrong secret":      {401, `{"error":"invalid_client"}`, social.Failed},
		"down":                {502, `<html>`, social.Unavailable},
		"too many":            {429, `{}`, social.Unavailable},
		"says it is down":     {400, `{"error":"temporarily_unavailable"}`, social.Unavailable},
		"a page":              {200, `<html>`, social.Failed},
		"nothing":             {200, `{}`, social.Failed},
		"a list":              {200, `[]`, social.Failed},
		"two documents":       {200, `{"access_token":"a"}{}`, social.Failed},
		"huge":                {200, `{"access_token":"` + strings.Repeat("x", 1<<20) + `"}`, social.Failed},
		"a redirect":          {302, ``, social.Failed},
		"another kind":        {200, `{"access_token":"a","token_type":"DPoP"}`, social.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVendor(t, nil)
			v.answer("/login/oauth/access_token", tc.status, tc.body)
			_, err := open(t, time.Now, v.settings("github")).Exchange(t.Context(), "github", answer())
			wantKind(t, err, tc.want)
			if err != nil && (strings.Contains(err.Error(), "code-1") || strings.Contains(err.Error(), "hunter2")) {
				t.Errorf("the error tells too much: %v", err)
			}
		})
	}
}

func TestExchange_boundsWhatItKeeps(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	long := strings.Repeat("x", 3<<10)
	many := map[string]any{}
	for _, c := range "abcdefghijklmnop" {
		many[string(c)] = strings.Repeat("y", 1500)
	}
	k.set(func() {
		k.claims = map[string]any{"name": long, "picture": "http://" + long, "nickname": "a\x00b", "dept": "R\x00D", "level": 3, "many": nil}
		k.userinfo = map[string]any{"sub": "u1", "many": many}
	})
	allow := func(s *social.Settings) { s.ClaimsAllowlist = []string{"dept", "level"} }
	p, err := k.providers(allow).Exchange(t.Context(), acme, answer())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"iss": k.URL, "sub": "u1", "provider_id": "u1", "email": "ada@example.com", "email_verified": true, "phone_verified": false,
		"custom_claims": map[string]any{"level": json.Number("3")},
	}
	if d := cmp.Diff(want, p.Data); d != "" {
		t.Error(d)
	}
	k.set(func() { k.claims = nil })
	p, err = k.providers(func(s *social.Settings) { s.ClaimsAllowlist = []string{"many"} }).Exchange(t.Context(), acme, answer())
	if b, _ := json.Marshal(p.Data); err != nil || len(b) > 16<<10 {
		t.Errorf("%d bytes are kept, %v", len(b), err)
	}
	k.set(func() { k.claims = map[string]any{"sub": strings.Repeat("s", 256)}; k.userinfo = nil })
	_, err = k.providers().Exchange(t.Context(), acme, answer())
	wantKind(t, err, social.Failed)
}

// F04: a tenant's provider may not name an address inside.
func TestAuthURL_doesNotReachInside(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	strict := func(o *social.Options) { o.Fetch = strictClient(t) }
	_, err := open(t, k.clock, k.settings(), strict).AuthURL(t.Context(), acme, social.Request{State: "s"})
	wantKind(t, err, social.Failed)
	if n := k.count("/.well-known/openid-configuration"); n != 0 {
		t.Errorf("it was asked %d times", n)
	}
	for _, at := range []string{"http://idp.example/authorize", "javascript:alert(1)", "/authorize", "https://", ""} {
		s := social.Settings{
			Name: acme, Kind: "oauth2", Enabled: true, ClientIDs: []string{"c"}, AuthURL: at, TokenURL: "https://idp.example/token", UserinfoURL: "https://idp.example/me",
		}
		if u, err := open(t, k.clock, s, strict).AuthURL(t.Context(), acme, social.Request{}); err == nil {
			t.Errorf("%q: the browser is sent to %s", at, u)
		}
	}
}

func TestExchange_doesNotReachInside(t *testing.T) {
	t.Parallel()
	inside := []string{"https://127.0.0.1:9/x", "https://localhost:9/x", "https://10.0.0.1/x", "https://169.254.169.254/x", "https://[::ffff:127.0.0.1]:9/x", "http://idp.example/x", "file:///etc/passwd"}
	for _, at := range inside {
		s := social.Settings{
			Name: acme, Kind: "oauth2", Enabled: true, ClientIDs: []string{"c"}, Secret: "s", AuthURL: "https://idp.example/a", TokenURL: at, UserinfoURL: at,
		}
		p := open(t, time.Now, s, func(o *social.Options) { o.Fetch = strictClient(t) })
		_, err := p.Exchange(t.Context(), acme, answer())
		wantKind(t, err, social.Failed)
		_, err = p.Refetch(t.Context(), acme, social.Tokens{Access: "a"})
		wantKind(t, err, social.Failed)
	}
}

func hexSum(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
