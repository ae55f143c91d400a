package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
)

// readToken reads a token with a key, as an application does.
func readToken(t *testing.T, text string, key any, opts ...jwt.ParserOption) jwt.MapClaims {
	t.Helper()
	claims := jwt.MapClaims{}
	_, err := jwt.ParseWithClaims(text, claims, func(*jwt.Token) (any, error) { return key, nil }, opts...)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return claims
}

func sign(t *testing.T, key string, claims jwt.MapClaims) string {
	t.Helper()
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The names of a GoTrue that is being replaced.
//
// Mission: C02
func TestServe_readsGoTruesNamesUnchanged(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	dir := t.TempDir()
	s := boot(t, dir, []string{
		"GOTRUE_API_HOST=127.0.0.1", "PORT=" + port, "DATABASE_URL=sqlite:" + filepath.Join(dir, "deep", "own.db"), "GOTRUE_DB_DRIVER=sqlite",
		"API_EXTERNAL_URL=http://" + addr, "GOTRUE_SITE_URL=https://app.example.com", "GOTRUE_JWT_SECRET=a-secret-of-the-operator-with-40-letters",
		"GOTRUE_JWT_EXP=60", "GOTRUE_JWT_AUD=app", "GOTRUE_JWT_DEFAULT_GROUP_NAME=people", "GOTRUE_MAILER_AUTOCONFIRM=true",
		"GOTRUE_PASSWORD_MIN_LENGTH=10", "GOTRUE_LOG_LEVEL=debug", "GOTRUE_EXTERNAL_EMAIL_ENABLED=true", "GOTRUE_RATE_LIMIT_HEADER=X-Real-Ip",
	})
	if s.url != "http://"+addr {
		t.Errorf("it listens on %s, want %s", s.url, addr)
	}
	if strings.Contains(s.log.String(), "warning") {
		t.Errorf("it warns: %s", s.log)
	}
	_, err = os.Stat(filepath.Join(dir, "deep", "own.db"))
	if err != nil {
		t.Error(err)
	}
	s.do(422, "POST", "/signup", object{"email": "ada@example.com", "password": "nine char"})
	a := s.do(200, "POST", "/signup", object{"email": "ada@example.com", "password": "ten chars."})
	claims := readToken(t, a.text("access_token"), []byte("a-secret-of-the-operator-with-40-letters"))
	if a.at("expires_in") != 60.0 || claims["aud"] != "app" || claims["role"] != "people" || claims["iss"] != "http://"+addr {
		t.Errorf("the session is %s, its claims %v", a.body, claims)
	}
}

// Mission: T19, C11
func TestTokens_areSignedWithTheConfiguredSecret(t *testing.T) {
	t.Parallel()
	const secret = "a-secret-of-the-operator-with-40-letters"
	s := start(t, "GOTRUE_JWT_SECRET="+secret, "GOTRUE_JWT_EXP=1200", "GOTRUE_JWT_AUD=my-app")
	id := s.person("ada@example.com")
	a := s.signIn("ada@example.com", password)
	claims := readToken(t, a.text("access_token"), []byte(secret), jwt.WithValidMethods([]string{"HS256"}), jwt.WithAudience("my-app"), jwt.WithExpirationRequired())
	if claims["sub"] != id || claims["email"] != "ada@example.com" || claims["role"] != "authenticated" {
		t.Errorf("the claims are %v", claims)
	}
	exp, iat := claims["exp"].(float64), claims["iat"].(float64)
	if exp-iat != 1200 || a.at("expires_in") != 1200.0 || a.at("expires_at") != exp {
		t.Errorf("it lives from %f to %f, and the answer says %s", iat, exp, a.body)
	}

	// Service tokens made elsewhere with the secret, without an end.
	s.do(200, "GET", "/admin/users", nil, bearer(sign(t, secret, jwt.MapClaims{"role": "service_role", "iss": "supabase"})))
	s.do(403, "GET", "/admin/users", nil, bearer(sign(t, secret, jwt.MapClaims{"role": "anon"})))
	s.do(403, "GET", "/admin/users", nil, bearer(sign(t, "another-secret-of-somebody-else-40-chars", jwt.MapClaims{"role": "service_role"})))
	s.do(403, "GET", "/admin/users", nil, bearer(sign(t, secret, jwt.MapClaims{"role": "service_role", "exp": time.Now().Add(-time.Hour).Unix()})))
	none, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"role": "service_role"}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	s.do(403, "GET", "/admin/users", nil, bearer(none))
	// A secret is not to be published.
	if got := s.do(200, "GET", "/.well-known/jwks.json", nil).body; strings.Contains(got, "oct") || strings.Contains(got, `"k"`) {
		t.Errorf("the key set is %s", got)
	}
}

// Mission: C08
func TestTokens_anotherSecretEndsAccessTokensAndNothingElse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startIn(t, dir, "GOTRUE_JWT_SECRET=the-first-secret-of-the-operator-40-chars")
	s.person("ada@example.com")
	in := s.signIn("ada@example.com", password)
	s.do(200, "POST", "/recover", object{"email": "ada@example.com"})
	link := mustQuery(t, s.mail("ada@example.com", 1).Links[0])
	err := s.stop()
	if err != nil {
		t.Fatal(err)
	}
	s = startIn(t, dir, "GOTRUE_JWT_SECRET=another-secret-of-the-operator-40-letters")
	s.do(403, "GET", "/user", nil, bearer(in.text("access_token")))
	in = s.refresh(200, in.text("refresh_token"))
	s.do(200, "GET", "/user", nil, bearer(in.text("access_token")))
	s.do(200, "POST", "/verify", object{"type": "recovery", "token_hash": link.Get("token")})
}

func TestTokens_areSignedWithTheConfiguredKeys(t *testing.T) {
	t.Parallel()
	jwk := func(kid string, private bool, ops ...string) (map[string]any, *ecdsa.PrivateKey) {
		t.Helper()
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		var key any = k
		if !private {
			key = k.Public()
		}
		text, err := json.Marshal(jose.JSONWebKey{Key: key, KeyID: kid, Algorithm: "ES256", Use: "sig"})
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		err = json.Unmarshal(text, &m)
		if err != nil {
			t.Fatal(err)
		}
		m["key_ops"] = ops
		return m, k
	}
	current, priv := jwk("current", true, "sign", "verify")
	former, old := jwk("former", false, "verify")
	keys, err := json.Marshal([]any{former, current})
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, "GOTRUE_JWT_KEYS="+string(keys))
	s.person("ada@example.com")
	text := s.signIn("ada@example.com", password).text("access_token")
	readToken(t, text, priv.Public(), jwt.WithValidMethods([]string{"ES256"}))
	parsed, _, err := jwt.NewParser().ParseUnverified(text, jwt.MapClaims{})
	if err != nil || parsed.Header["kid"] != "current" {
		t.Errorf("the header is %v, %v", parsed.Header, err)
	}

	// Both verify, and both are published without their private halves.
	service := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{"role": "service_role", "exp": time.Now().Add(time.Hour).Unix()})
	service.Header["kid"] = "former"
	by, err := service.SignedString(old)
	if err != nil {
		t.Fatal(err)
	}
	s.do(200, "GET", "/admin/users", nil, bearer(by))
	var set struct{ Keys []map[string]any }
	err = json.Unmarshal([]byte(s.do(200, "GET", "/.well-known/jwks.json", nil).body), &set)
	if err != nil || len(set.Keys) != 2 {
		t.Fatalf("the key set has %d keys, %v", len(set.Keys), err)
	}
	for _, k := range set.Keys {
		if k["d"] != nil || k["kid"] != "current" && k["kid"] != "former" {
			t.Errorf("published: %v", k)
		}
	}
}

// Mission: U10, T23, U15, C11
func TestRoles_haveTheConfiguredNames(t *testing.T) {
	t.Parallel()
	const secret = "a-secret-of-the-operator-with-40-letters"
	s := start(t, "GOTRUE_JWT_SECRET="+secret, "GOTRUE_JWT_ADMIN_GROUP_NAME=boss", "GOTRUE_JWT_DEFAULT_GROUP_NAME=people")
	id := s.person("ada@example.com")
	role := func(access string) any { t.Helper(); return readToken(t, access, []byte(secret))["role"] }
	before := s.signIn("ada@example.com", password)
	if got := before.text("user", "role"); got != "people" || role(before.text("access_token")) != "people" {
		t.Errorf("a new user has the role %q", got)
	}

	// A guest, a user, an administrator.
	s.do(401, "GET", "/admin/users", nil)
	s.do(403, "GET", "/admin/users", nil, bearer(before.text("access_token")))
	s.do(200, "PUT", "/admin/users/"+id, object{"role": "boss"}, bearer(operator))
	after := s.signIn("ada@example.com", password)
	s.do(200, "GET", "/admin/users", nil, bearer(after.text("access_token")))
	if role(before.text("access_token")) != "people" || role(after.text("access_token")) != "boss" {
		t.Error("the role in a token is not that of its sign-in")
	}

	// Nobody is an administrator by their own word, or by another's name for it.
	s.person("eve@example.com")
	eve := s.signIn("eve@example.com", password).text("access_token")
	s.do(200, "PUT", "/user", object{"data": object{"role": "boss", "roles": []string{"boss", "admin"}}}, bearer(eve))
	s.do(403, "GET", "/admin/users", nil, bearer(eve))
	s.do(403, "PUT", "/user", object{"app_metadata": object{"roles": []string{"boss"}}}, bearer(eve))
	s.do(200, "PUT", "/admin/users/"+s.person("bob@example.com"), object{"role": "admin"}, bearer(operator))
	s.do(403, "GET", "/admin/users", nil, bearer(s.signIn("bob@example.com", password).text("access_token")))

	// Taking it back counts at once, whatever the token says.
	s.do(200, "PUT", "/admin/users/"+id, object{"role": "people"}, bearer(operator))
	s.do(403, "GET", "/admin/users", nil, bearer(after.text("access_token")))
}

// Mission: C05
func TestLog_hasTheLevelAndTheFileAskedFor(t *testing.T) {
	t.Parallel()
	for level, written := range map[string]bool{"debug": true, "info": true, "warn": false, "fatal": false} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			file := filepath.Join(dir, "logs", "gatehouse.log")
			err := os.MkdirAll(filepath.Dir(file), 0o755)
			if err == nil {
				err = os.WriteFile(file, []byte("kept\n"), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			s := startIn(t, dir, "GOTRUE_LOG_LEVEL="+level, "GOTRUE_LOG_FILE="+file)
			s.do(200, "GET", "/settings", nil)
			err = s.stop()
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Contains(string(text), `"route":"GET /settings"`); got != written {
				t.Errorf("the request is written: %t, want %t:\n%s", got, written, text)
			}
			if !strings.HasPrefix(string(text), "kept\n") {
				t.Errorf("what was there is gone:\n%s", text)
			}
			if s.log.String() != "" {
				t.Errorf("standard error has %s", s.log)
			}
		})
	}
}

// Mission: C06
func TestLog_inheritsTheRequestID(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_API_REQUEST_ID_HEADER=X-Nf-Request-Id")
	a := s.do(200, "GET", "/settings", nil, "X-Nf-Request-Id: from-the-proxy-1")
	if got := a.header.Get("X-Request-Id"); got != "from-the-proxy-1" {
		t.Errorf("the answer names %q", got)
	}
	id, err := s.log.await(`"request_id":"(from-the-proxy-1)"`, s.ended)
	if err != nil || id == "" {
		t.Error(err)
	}
	// Without one, or with one that would break the line, it makes its own.
	for _, header := range []string{"X-Other: y", "X-Nf-Request-Id: two words", "X-Nf-Request-Id: " + strings.Repeat("x", 200)} {
		own := s.do(200, "GET", "/settings", nil, header).header.Get("X-Request-Id")
		if len(own) != 36 {
			t.Errorf("with %q the id is %q", header, own)
		}
	}
	// It is kept with what happened, too.
	s.do(200, "POST", "/signup", object{"email": "ada@example.com", "password": password}, "X-Nf-Request-Id: from-the-proxy-2")
	if got := s.sql(`SELECT count(*) FROM events WHERE request_id = 'from-the-proxy-2'`); got == "0" {
		t.Error("no event has the request's id")
	}
}

// Mission: U18
func TestSettings_sayWhatIsOpen(t *testing.T) {
	t.Parallel()
	for _, open := range []bool{true, false} {
		s := start(t, "GOTRUE_EXTERNAL_EMAIL_ENABLED="+strconv.FormatBool(open), "GOTRUE_DISABLE_SIGNUP="+strconv.FormatBool(!open), "GOTRUE_MAILER_AUTOCONFIRM="+strconv.FormatBool(open))
		for _, prefix := range []string{"", "/auth/v1", "/.netlify/identity"} {
			a := s.do(200, "GET", prefix+"/settings", nil)
			if a.at("external", "email") != open || a.at("external", "google") != false || a.at("disable_signup") != !open || a.at("autoconfirm") != open {
				t.Errorf("%s: the settings are %s", prefix, a.body)
			}
		}
	}
}
