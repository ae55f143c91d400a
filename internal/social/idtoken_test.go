package social_test

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"gatehouse/internal/social"
)

// made returns an ID token as an app would bring it.
func (k *keeper) made(nonce string, claims map[string]any) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	old := k.claims
	k.claims = claims
	defer func() { k.claims = old }()
	return k.idToken(nonce)
}

func TestIDToken_takesAnyOfOurClients(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	p := k.providers(func(s *social.Settings) { s.AcceptableClientIDs = []string{"client-tv"} })
	for _, aud := range []any{"client", "client-ios", "client-tv", []string{"client-ios"}} {
		got, err := p.IDToken(t.Context(), acme, social.Token{Raw: k.made("", map[string]any{"aud": aud})})
		if err != nil || got.Subject != "u1" || got.Issuer != k.URL || !got.EmailVerified {
			t.Errorf("%v: got %+v, %v", aud, got, err)
		}
	}
	_, err := p.IDToken(t.Context(), acme, social.Token{Raw: k.made("", map[string]any{"aud": "somebody-else"})})
	wantKind(t, err, social.Audience)
	if want := "Unacceptable audience in id_token: [somebody-else]"; err.(*social.Error).Problem != want {
		t.Errorf("got %q, want %q", err.(*social.Error).Problem, want)
	}
	if n := k.count("/userinfo") + k.count("/token"); n != 0 {
		t.Errorf("%d calls were made besides", n)
	}
}

func TestIDToken_nonceIsTheHashOfWhatTheAppMadeUp(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	const mismatch, once = "Nonces mismatch", "Passed nonce and nonce in id_token should either both exist or not."
	for _, tc := range []struct{ inToken, given, want string }{
		{hexSum("n1"), "n1", ""},
		{"", "", ""},
		{hexSum("n1"), "n2", mismatch},
		{"n1", "n1", mismatch},
		{strings.ToUpper(hexSum("n1")), "n1", mismatch},
		{hexSum("n1"), "", once},
		{hexSum(""), "", once},
		{"", "n1", once},
	} {
		_, err := k.providers().IDToken(t.Context(), acme, social.Token{Raw: k.made(tc.inToken, nil), Nonce: tc.given})
		if tc.want == "" {
			if err != nil {
				t.Errorf("%+v: %v", tc, err)
			}
			continue
		}
		wantKind(t, err, social.Nonce)
		if e, ok := err.(*social.Error); !ok || e.Problem != tc.want {
			t.Errorf("%+v: got %v", tc, err)
		}
	}
	skip := func(s *social.Settings) { s.SkipNonceCheck = true }
	if _, err := k.providers(skip).IDToken(t.Context(), acme, social.Token{Raw: k.made("anything", nil)}); err != nil {
		t.Error(err)
	}
}

// L01: neither the request nor the token chooses whom we ask.
func TestIDToken_doesNotAskAnotherIssuer(t *testing.T) {
	t.Parallel()
	k, evil := newKeeper(t), newKeeper(t)
	p := k.providers()
	_, err := p.IDToken(t.Context(), acme, social.Token{Raw: evil.made("", nil)})
	wantKind(t, err, social.BadToken)
	// One that calls itself by our issuer's name, with keys of its own.
	_, err = p.IDToken(t.Context(), acme, social.Token{Raw: evil.made("", map[string]any{"iss": k.URL})})
	wantKind(t, err, social.BadToken)
	if len(evil.hits) != 0 {
		t.Errorf("it was asked: %v", evil.hits)
	}
}

func TestIDToken_sameSubjectOfAnotherIssuerIsAnotherPerson(t *testing.T) {
	t.Parallel()
	a, b := newKeeper(t), newKeeper(t)
	pa, err := a.providers().IDToken(t.Context(), acme, social.Token{Raw: a.made("", nil)})
	if err != nil {
		t.Fatal(err)
	}
	pb, err := b.providers().IDToken(t.Context(), acme, social.Token{Raw: b.made("", nil)})
	if err != nil {
		t.Fatal(err)
	}
	if pa.Subject != pb.Subject || pa.Issuer == pb.Issuer {
		t.Errorf("%s %s and %s %s", pa.Issuer, pa.Subject, pb.Issuer, pb.Subject)
	}
}

func TestIDToken_refusesRubbish(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	good := k.made("", nil)
	for name, raw := range map[string]string{
		"empty": "", "words": "not a token", "two parts": "a.b", "an access token": "access-1", "a JSON form": `{"payload":"","signatures":[]}`,
		"expired":     k.made("", map[string]any{"exp": k.now.Add(-time.Minute).Unix()}),
		"future":      k.made("", map[string]any{"iat": k.now.Add(time.Hour).Unix()}),
		"no subject":  k.made("", map[string]any{"sub": ""}),
		"cut":         good[:len(good)-3],
		"encrypted":   "a.b.c.d.e",
		"another alg": k.sign(jose.HS256, []byte(strings.Repeat("k", 32)), map[string]any{"iss": k.URL}),
	} {
		_, err := k.providers().IDToken(t.Context(), acme, social.Token{Raw: raw})
		if social.KindOf(err) != social.BadToken || err.(*social.Error).Problem != "Bad ID token" {
			t.Errorf("%s: got %v, want Bad ID token", name, err)
		}
		if raw != "" && err != nil && strings.Contains(err.Error(), raw) {
			t.Errorf("%s: the token is in the error", name)
		}
	}
}

// L34: an access token is kept only if the ID token vouches for it.
func TestIDToken_keepsOnlyAnAccessTokenThatIsItsOwn(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	sum := sha256.Sum256([]byte("access-1"))
	hash := map[string]any{"at_hash": base64.RawURLEncoding.EncodeToString(sum[:16])}
	p, err := k.providers().IDToken(t.Context(), acme, social.Token{Raw: k.made("", hash), AccessToken: "access-1"})
	if err != nil || p.Tokens.Access != "access-1" {
		t.Errorf("its own: got %+v, %v", p, err)
	}
	p, err = k.providers().IDToken(t.Context(), acme, social.Token{Raw: k.made("", nil), AccessToken: "access-1"})
	if err != nil || p.Tokens.Access != "" {
		t.Errorf("without at_hash: got %+v, %v", p, err)
	}
	_, err = k.providers().IDToken(t.Context(), acme, social.Token{Raw: k.made("", hash), AccessToken: "access-2"})
	wantKind(t, err, social.BadToken)
}

func TestIDToken_knowsWhoseAreTaken(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	for name, want := range map[string]social.Kind{"github": social.Unknown, "nobody": social.Unknown, "custom:nobody": social.Unknown, "": social.Unknown} {
		s := k.settings()
		s.Kind, s.Name, s.URL = "", "github", k.URL
		_, err := open(t, k.clock, s).IDToken(t.Context(), name, social.Token{Raw: k.made("", nil)})
		wantKind(t, err, want)
	}
	_, err := k.providers(func(s *social.Settings) { s.Enabled = false }).IDToken(t.Context(), acme, social.Token{Raw: k.made("", nil)})
	wantKind(t, err, social.Disabled)
}

// Android apps bring tokens that Google gave to them for the web client.
func TestIDToken_googleGivesTokensToOtherClientsOfOurs(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	s := k.settings()
	s.Name, s.Kind, s.URL = "google", "", k.URL
	p, err := open(t, k.clock, s).IDToken(t.Context(), "google", social.Token{Raw: k.made("", map[string]any{"azp": "android", "hd": "example.com"})})
	if err != nil || p.Data["custom_claims"].(map[string]any)["hd"] != "example.com" {
		t.Errorf("got %+v, %v", p, err)
	}
	_, err = k.providers().IDToken(t.Context(), acme, social.Token{Raw: k.made("", map[string]any{"azp": "android"})})
	wantKind(t, err, social.Audience)
}

func TestIDToken_readsVendorsOwnClaims(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		jwks   string
		claims map[string]any
		want   social.Profile
	}{
		"facebook": {
			"/.well-known/oauth/openid/jwks/",
			map[string]any{"email_verified": nil, "picture": "https://p.example/1.jpg"},
			social.Profile{Subject: "u1", Email: "ada@example.com"},
		},
		"kakao": {
			"/.well-known/jwks.json",
			map[string]any{"email_verified": nil, "nickname": "ada", "name": nil},
			social.Profile{Subject: "u1", Email: "ada@example.com"},
		},
		"vercel_marketplace": {"", map[string]any{
			"email": nil, "email_verified": nil, "name": nil, "user_email": "ada@example.com", "user_name": "Ada", "global_user_id": "g1", "installation_id": "icfg_1",
		}, social.Profile{Subject: "global_user_id:g1", Email: "ada@example.com"}},
		"keycloak": {"", nil, social.Profile{Subject: "u1", Email: "ada@example.com", EmailVerified: true}},
		"snapchat": {"", map[string]any{"email": nil}, social.Profile{Subject: "u1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKeeper(t)
			k.moveKeys = tc.jwks
			s := k.settings()
			s.Name, s.Kind, s.URL, s.Issuer = name, "", k.URL, ""
			claims := map[string]any{}
			for key, v := range tc.claims {
				claims[key] = v
			}
			issuer := k.URL
			if name == "snapchat" {
				issuer = k.URL + "/accounts/oauth2/token"
				k.discovery = map[string]any{"issuer": issuer}
				k.moveDiscovery = "/accounts/oauth2/token" + discoveryPath
				claims["iss"] = issuer
			}
			p, err := open(t, k.clock, s).IDToken(t.Context(), name, social.Token{Raw: k.made("", claims)})
			if err != nil {
				t.Fatal(err)
			}
			if p.Issuer != issuer || p.Subject != tc.want.Subject || p.Email != tc.want.Email || p.EmailVerified != tc.want.EmailVerified {
				t.Errorf("got %+v, want %+v", p, tc.want)
			}
		})
	}
}
