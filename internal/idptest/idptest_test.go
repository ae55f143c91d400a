package idptest_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/idptest"
)

const (
	back     = "https://us.example/callback?keep=1"
	verifier = "a-verifier-of-at-least-forty-three-characters-0"
)

func challenge() string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// ann has all that a vendor could ask for.
func ann() idptest.Person {
	return idptest.Person{
		Subject: "4242", Email: "ann@example.com", Name: "Ann Lee", Username: "Annie", Avatar: "https://pics.example/ann.png", Phone: "+4915112345678",
	}
}

// flow is one client's way through one vendor.
type flow struct {
	t               *testing.T
	p               *idptest.Provider
	vendor          string
	base            string // instead of the vendor's Base
	authorize, take string // paths
	scope           string
	header          bool // the secret goes into the header
	secret          string
	params          url.Values
}

func newFlow(t *testing.T, p *idptest.Provider) *flow {
	t.Helper()
	p.Client("us", "the secret", back)
	return &flow{t: t, p: p, vendor: "oidc", authorize: "/authorize", take: "/token", scope: "openid email profile", secret: "the secret"}
}

// begin goes to the provider and comes back.
func (f *flow) begin(change url.Values) *idptest.Landing {
	f.t.Helper()
	l, err := idptest.Visit(f.t.Context(), f.address(change))
	if err != nil {
		f.t.Fatal(err)
	}
	return l
}

func (f *flow) at() string {
	if f.base != "" {
		return f.base
	}
	return f.p.Base(f.vendor)
}

func (f *flow) address(change url.Values) string {
	q := url.Values{
		"client_id": {"us"}, "redirect_uri": {back}, "response_type": {"code"}, "state": {"the state"}, "scope": {f.scope}, "nonce": {"the nonce"},
		"code_challenge": {challenge()}, "code_challenge_method": {"S256"},
	}
	maps.Copy(q, f.params)
	for k, v := range change {
		if q[k] = v; v == nil {
			delete(q, k)
		}
	}
	return f.at() + f.authorize + "?" + q.Encode()
}

// trade takes a code, or whatever change makes of it, to the token endpoint.
func (f *flow) trade(code string, change url.Values) (int, map[string]any) {
	f.t.Helper()
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {back}, "code_verifier": {verifier}}
	secret := f.secret
	if !f.header {
		form.Set("client_id", "us")
		form.Set("client_secret", secret)
	}
	for k, v := range change {
		if form[k] = v; v == nil {
			delete(form, k)
		}
	}
	req, err := http.NewRequestWithContext(f.t.Context(), http.MethodPost, f.at()+f.take, strings.NewReader(form.Encode()))
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if f.header {
		req.SetBasicAuth(url.QueryEscape("us"), url.QueryEscape(secret))
	}
	return ask(f.t, req)
}

// tokens is a whole sign-in.
func (f *flow) tokens(change url.Values) map[string]any {
	f.t.Helper()
	status, m := f.trade(f.begin(change).Values.Get("code"), nil)
	if status != 200 || text(m, "access_token") == "" {
		f.t.Fatalf("%s: the token endpoint says %d %v", f.vendor, status, m)
	}
	return m
}

// profile asks at a path with an access token.
func (f *flow) profile(path, token string, header ...string) (int, map[string]any) {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), http.MethodGet, f.at()+path, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return ask(f.t, req)
}

// ask returns the status and the object that came; a list is an object with
// one member, "list".
func ask(t *testing.T, req *http.Request) (int, map[string]any) {
	t.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return res.StatusCode, map[string]any{"text": string(raw)}
	}
	if m, ok := v.(map[string]any); ok {
		return res.StatusCode, m
	}
	return res.StatusCode, map[string]any{"list": v}
}

func text(m map[string]any, k string) string {
	s, _ := m[k].(string)
	return s
}

// claims reads a token without asking whether it is signed.
func claims(t *testing.T, token string) map[string]any {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token+"..", ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatalf("%q is no token: %v", token, err)
	}
	return m
}

func TestCode_isSpentOnceByItsClientAtItsPlaceWithItsVerifier(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]url.Values{
		"wrong verifier":       {"code_verifier": {strings.ToUpper(verifier)}},
		"no verifier":          {"code_verifier": nil},
		"another redirect_uri": {"redirect_uri": {"https://us.example/other"}},
		"no redirect_uri":      {"redirect_uri": nil},
		"a part of it":         {"redirect_uri": {"https://us.example/callback"}},
		"another client":       {"client_id": {"them"}, "client_secret": {"their secret"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := idptest.New(t)
			f := newFlow(t, p)
			p.Client("them", "their secret", back)
			code := f.begin(nil).Values.Get("code")
			if status, m := f.trade(code, change); status != 400 || m["error"] != "invalid_grant" {
				t.Errorf("%d %v, want invalid_grant", status, m)
			}
			if status, m := f.trade(code, nil); status != 400 || m["error"] != "invalid_grant" {
				t.Errorf("and then %d %v, want the code to be gone", status, m)
			}
		})
	}
	t.Run("twice", func(t *testing.T) {
		t.Parallel()
		p := idptest.New(t)
		f := newFlow(t, p)
		code := f.begin(nil).Values.Get("code")
		_, m := f.trade(code, nil)
		if status, again := f.trade(code, nil); status != 400 || again["error"] != "invalid_grant" {
			t.Errorf("%d %v, want invalid_grant", status, again)
		}
		if status, _ := f.profile("/userinfo", text(m, "access_token")); status != 401 {
			t.Errorf("what the first time gave is answered %d, want 401", status)
		}
	})
	t.Run("too late", func(t *testing.T) {
		t.Parallel()
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		p := idptest.New(t, func(o *idptest.Options) { o.Now = func() time.Time { return now } })
		f := newFlow(t, p)
		code := f.begin(nil).Values.Get("code")
		p.Set(func(o *idptest.Options) { o.Now = func() time.Time { return now.Add(time.Minute) } })
		if status, m := f.trade(code, nil); status != 400 || m["error"] != "invalid_grant" {
			t.Errorf("%d %v, want invalid_grant", status, m)
		}
	})
	t.Run("at another vendor", func(t *testing.T) {
		t.Parallel()
		f := newFlow(t, idptest.New(t))
		code := f.begin(nil).Values.Get("code")
		f.vendor = "oidc-second"
		if status, m := f.trade(code, nil); status != 400 || m["error"] != "invalid_grant" {
			t.Errorf("%d %v, want invalid_grant", status, m)
		}
	})
	t.Run("a verifier nobody announced", func(t *testing.T) {
		t.Parallel()
		f := newFlow(t, idptest.New(t))
		code := f.begin(url.Values{"code_challenge": nil, "code_challenge_method": nil}).Values.Get("code")
		if status, m := f.trade(code, nil); status != 400 || m["error"] != "invalid_grant" {
			t.Errorf("%d %v, want invalid_grant", status, m)
		}
	})
}

func TestClient_provesItselfInOneWay(t *testing.T) {
	t.Parallel()
	p := idptest.New(t)
	f := newFlow(t, p)
	for name, try := range map[string]struct {
		vendor string
		header bool
		secret string
		change url.Values
		want   string
	}{
		"wrong":        {"oidc", false, "wrong", nil, "invalid_client"},
		"none":         {"oidc", false, "", url.Values{"client_secret": nil}, "invalid_client"},
		"unknown":      {"oidc", false, "the secret", url.Values{"client_id": {"nobody"}}, "invalid_client"},
		"header":       {"oidc", true, "the secret", nil, ""},
		"wrong header": {"oidc", true, "wrong", nil, "invalid_client"},
		"both":         {"oidc", true, "the secret", url.Values{"client_secret": {"the secret"}}, "invalid_request"},
	} {
		f.vendor, f.header, f.secret = try.vendor, try.header, try.secret
		status, m := f.trade(f.begin(nil).Values.Get("code"), try.change)
		if text(m, "error") != try.want || (status == 200) != (try.want == "") {
			t.Errorf("%s: %d %v, want %q", name, status, m, try.want)
		}
	}
}

func TestAuthorize_neverSendsPeopleWhereNobodyRegistered(t *testing.T) {
	t.Parallel()
	p := idptest.New(t)
	f := newFlow(t, p)
	for name, change := range map[string]url.Values{
		"unknown client":  {"client_id": {"nobody"}},
		"other address":   {"redirect_uri": {"https://evil.example/callback"}},
		"longer address":  {"redirect_uri": {back + "&x=1"}},
		"shorter address": {"redirect_uri": {"https://us.example/callback"}},
		"no address":      {"redirect_uri": nil},
		"given twice":     {"state": {"a", "b"}},
	} {
		if l, err := idptest.Visit(t.Context(), f.address(change)); err == nil || !strings.HasPrefix(err.Error(), "400 ") {
			t.Errorf("%s: landed at %v (%v), want a page that says no", name, l, err)
		}
	}
	for name, try := range map[string]struct {
		change url.Values
		want   string
	}{
		"plain PKCE":     {url.Values{"code_challenge_method": {"plain"}}, "invalid_request"},
		"PKCE by habit":  {url.Values{"code_challenge_method": nil}, "invalid_request"},
		"short PKCE":     {url.Values{"code_challenge": {"short"}}, "invalid_request"},
		"implicit":       {url.Values{"response_type": {"token"}}, "unsupported_response_type"},
		"verifier shown": {url.Values{"code_verifier": {verifier}}, "invalid_request"},
	} {
		l := f.begin(try.change)
		if got := l.Values.Get("error"); got != try.want || l.Values.Has("code") || l.Values.Get("state") != "the state" {
			t.Errorf("%s: landed with %v, want %s and the state", name, l.Values, try.want)
		}
	}
}

func TestAuthorize_comesBackWithAllThatIsDue(t *testing.T) {
	t.Parallel()
	p := idptest.New(t)
	f := newFlow(t, p)
	l := f.begin(nil)
	if l.URL.String() != "https://us.example/callback" || l.Values.Get("keep") != "1" || l.Values.Get("state") != "the state" {
		t.Errorf("landed at %s with %v", l.URL, l.Values)
	}
	if got := l.Values.Get("iss"); got != p.Issuer("oidc") {
		t.Errorf("iss is %q, want the issuer", got)
	}
	p.Set(func(o *idptest.Options) { o.Iss = "https://evil.example" })
	if got := f.begin(nil).Values.Get("iss"); got != "https://evil.example" {
		t.Errorf("iss is %q, want what the test said", got)
	}
	p.Set(func(o *idptest.Options) { o.Iss = "" })
	p.Deny("server_error", "not today")
	p.Deny("", "")
	if v := f.begin(nil).Values; v.Get("error") != "server_error" || v.Get("error_description") != "not today" || v.Has("code") {
		t.Errorf("denied with %v", v)
	}
	if v := f.begin(nil).Values; v.Get("error") != "access_denied" {
		t.Errorf("denied with %v", v)
	}
	if v := f.begin(nil).Values; v.Has("error") || !v.Has("code") {
		t.Errorf("the third is answered %v, want a code", v)
	}
}

func TestPerson_isWhoTheBrowserSays(t *testing.T) {
	t.Parallel()
	p := idptest.New(t)
	f := newFlow(t, p)
	p.Person(ann())
	p.Person(idptest.Person{Subject: "2", Email: "bob@example.com"})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.address(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.AddCookie(&http.Cookie{Name: "idptest_person", Value: "4242"})
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	landed, err := res.Location()
	if err != nil {
		t.Fatal(err)
	}
	_, m := f.trade(landed.Query().Get("code"), nil)
	if got := claims(t, text(m, "id_token"))["sub"]; got != "4242" {
		t.Errorf("with the cookie: signed in as %v, want 4242", got)
	}
	for hint, want := range map[string]string{"": "2", "4242": "4242", "ann@example.com": "4242", "nobody": "2"} {
		m := f.tokens(url.Values{"login_hint": {hint}})
		if got := claims(t, text(m, "id_token"))["sub"]; got != want {
			t.Errorf("hint %q: signed in as %v, want %s", hint, got, want)
		}
	}
}

func TestTokens_endWhenTheyShould(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(o *idptest.Options) { o.Now, o.AccessLife = func() time.Time { return now }, time.Minute }
	p := idptest.New(t, at)
	f := newFlow(t, p)
	p.Person(ann())
	m := f.tokens(nil)
	if m["expires_in"] != 60.0 {
		t.Errorf("expires_in is %v, want 60", m["expires_in"])
	}
	renew := func(token string) (int, map[string]any) {
		return f.trade("", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "code": nil, "code_verifier": nil, "redirect_uri": nil})
	}
	later := ann()
	later.Email = "new@example.com"
	p.Person(later)
	if status, u := f.profile("/userinfo", text(m, "access_token")); status != 200 || u["email"] != "new@example.com" {
		t.Errorf("%d %v, want the new address", status, u)
	}
	p.Set(func(o *idptest.Options) { o.Now = func() time.Time { return now.Add(time.Minute) } })
	if status, _ := f.profile("/userinfo", text(m, "access_token")); status != 401 {
		t.Errorf("an expired token is answered %d", status)
	}
	status, next := renew(text(m, "refresh_token"))
	if status != 200 || text(next, "refresh_token") == text(m, "refresh_token") {
		t.Fatalf("renewed: %d %v, want another refresh token", status, next)
	}
	if _, has := claims(t, text(next, "id_token"))["nonce"]; has {
		t.Error("a renewed ID token repeats the nonce")
	}
	if status, _ := f.profile("/userinfo", text(next, "access_token")); status != 200 {
		t.Errorf("the new token is answered %d", status)
	}
	if status, again := renew(text(m, "refresh_token")); status != 400 || again["error"] != "invalid_grant" {
		t.Errorf("a spent refresh token: %d %v", status, again)
	}
	if status, _ := f.profile("/userinfo", text(next, "access_token")); status != 401 {
		t.Errorf("after a replay the family's token is answered %d", status)
	}
	m = f.tokens(nil)
	p.Revoke(later.Subject)
	if status, _ := f.profile("/userinfo", text(m, "access_token")); status != 401 {
		t.Errorf("a revoked token is answered %d", status)
	}
	if status, _ := renew(text(m, "refresh_token")); status != 400 {
		t.Errorf("a revoked refresh token is answered %d", status)
	}
	f.tokens(nil) // they may come again
}

func TestScopes_keepBackWhatWasNotAskedFor(t *testing.T) {
	t.Parallel()
	p := idptest.New(t)
	f := newFlow(t, p)
	p.Person(ann())
	f.scope = "openid"
	m := f.tokens(nil)
	_, u := f.profile("/userinfo", text(m, "access_token"))
	for _, from := range []map[string]any{claims(t, text(m, "id_token")), u} {
		if from["email"] != nil || from["name"] != nil || from["phone_number"] != nil || from["sub"] != "4242" {
			t.Errorf("got %v, want the subject and nothing else", from)
		}
	}
	f.scope = "email"
	if m := f.tokens(nil); m["id_token"] != nil {
		t.Error("there is an ID token, though openid was not asked for")
	}
}
