package gotrue_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/dialect/gotrue"

	"github.com/golang-jwt/jwt/v5"
)

// Where Netlify's server and Supabase's differ on one path there is one answer
// that does for both, or the request tells, or a setting does: each test here is
// a row of that list and holds what the clients of either family need.

// elsewhereConflicts are the rows no test here is named after, and why.
var elsewhereConflicts = map[int]string{
	30: "/authorize comes with the social providers", 31: "likewise", 32: "likewise", 33: "likewise",
	34: "SAML has a step of its own", 35: "an unproved address of a provider comes with the social providers",
	37: "webhooks and hooks have a step of their own",
	38: "names and defaults of variables are internal/config's, whose tests hold them",
}

func TestConflicts_everyRowHasATestOrAReason(t *testing.T) {
	files, err := filepath.Glob("conflicts*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var src []byte
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		src = append(src, b...)
	}
	const rows = 41
	for n := 1; n <= rows; n++ {
		tested := regexp.MustCompile(fmt.Sprintf(`(?m)^func TestConflict_C%02d_\w+\(t \*testing\.T\)`, n)).Match(src)
		if why := elsewhereConflicts[n]; tested == (why != "") {
			t.Errorf("C%d: has a test: %v; has none, because %q. Want one of the two", n, tested, why)
		}
	}
}

const (
	nf = "X-Nf-Client: gotrue-js"
	sb = "X-Client-Info: supabase-js/2"
)

// both sends one request as either family.
func (h *house) both(method, path, body string, headers ...string) (netlify, supabase answer) {
	return h.do(method, path, body, append(headers, nf)...), h.do(method, path, body, append(headers, sb)...)
}

func status(t *testing.T, name string, a answer, want int) {
	t.Helper()
	if a.Code != want {
		t.Errorf("%s = %d, want %d: %s", name, a.Code, want, a.Body)
	}
}

func says(t *testing.T, name string, a answer, key, want string) {
	t.Helper()
	if got := a.text(key); got != want {
		t.Errorf("%s: %s is %q, want %q: %s", name, key, got, want, a.Body)
	}
}

// has checks that an answer has something at each of these paths.
func has(t *testing.T, name string, a answer, paths ...string) {
	t.Helper()
	for _, path := range paths {
		var at any = a.JSON
		for part := range strings.SplitSeq(path, ".") {
			m, _ := at.(map[string]any)
			at = m[part]
		}
		if at == nil || at == "" {
			t.Errorf("%s: no %s in %s", name, path, a.Body)
		}
	}
}

// claims reads an access token, unverified.
func claims(t testing.TB, access string) map[string]any {
	t.Helper()
	parts := strings.Split(access, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no access token", access)
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]any{}
	err = json.Unmarshal(b, &m)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestConflict_C01_tokenIsAFormOrJSON(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.newUser("anna@example.com")
	a := h.form("/token", form("grant_type", "password", "username", "anna@example.com", "password", "correct horse"))
	status(t, "the form", a, http.StatusOK)
	status(t, "its refresh", h.form("/token", form("grant_type", "refresh_token", "refresh_token", a.text("refresh_token"))), http.StatusOK)
	a = h.do("POST", login, `{"email":"anna@example.com","password":"correct horse"}`)
	status(t, "the JSON", a, http.StatusOK)
	status(t, "its refresh", h.do("POST", refresh, `{"refresh_token":"`+a.text("refresh_token")+`"}`), http.StatusOK)
}

func TestConflict_C02_tokenErrorsHaveTheFormOfTheRequest(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	a := h.form("/token", form("grant_type", "password", "username", "a@example.com", "password", "wrong"))
	says(t, "the form", a, "error", "invalid_grant")
	says(t, "the form", a, "error_description", "No user found with that email, or password invalid.")
	if len(a.JSON) != 2 {
		t.Errorf("a form is answered %s: gotrue-js shows msg first", a.Body)
	}
	says(t, "the JSON", h.do("POST", login, `{"email":"a@example.com","password":"wrong"}`), "error_code", "invalid_credentials")
}

func TestConflict_C03_aTokenAnswerDoesForBoth(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.newUser("anna@example.com")
	for name, a := range map[string]answer{
		"the form": h.form("/token", form("grant_type", "password", "username", "anna@example.com", "password", "correct horse")),
		"the JSON": h.do("POST", login, `{"email":"anna@example.com","password":"correct horse"}`),
	} {
		has(t, name, a, "access_token", "token_type", "expires_in", "refresh_token", "expires_at", "user.id", "user.email")
	}
}

func TestConflict_C04_anAutoconfirmedSignUpIsAUserAndASession(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(s *setup) { s.policy.Autoconfirm = true })
	netlify, supabase := h.do("POST", "/signup", `{"email":"a@example.com","password":"correct horse"}`, nf), h.do("POST", "/signup", `{"email":"b@example.com","password":"correct horse"}`, sb)
	for name, a := range map[string]answer{"Netlify": netlify, "Supabase": supabase} {
		has(t, name, a, "id", "email", "confirmed_at", "access_token", "refresh_token", "expires_in", "user.id", "user.confirmed_at")
	}
}

func TestConflict_C05_aKnownAddressIsHiddenUnlessASettingSays(t *testing.T) {
	t.Parallel()
	const body = `{"email":"anna@example.com","password":"another horse"}`
	for reveal, want := range map[auth.Reveal][2]int{auth.RevealNothing: {200, 200}, auth.RevealHint: {200, 200}, auth.RevealAll: {400, 422}} {
		for i, header := range []string{nf, sb} {
			h := newHouse(t, func(s *setup) { s.policy.Reveal = reveal })
			h.newUser("anna@example.com")
			a := h.do("POST", "/signup", body, header)
			status(t, fmt.Sprintf("reveal %d to %s", reveal, header), a, want[i])
			if a.Code != http.StatusOK {
				says(t, "revealed", a, "error_code", "user_already_exists")
			}
		}
	}
	h := newHouse(t, func(s *setup) { s.policy.Autoconfirm = true })
	h.newUser("anna@example.com")
	netlify, supabase := h.both("POST", "/signup", body)
	says(t, "Netlify, autoconfirmed", netlify, "msg", "A user with this email address has already been registered")
	says(t, "Supabase, autoconfirmed", supabase, "error_code", "user_already_exists")
}

// Chosen: Supabase's side. Data of a stranger who signs up once more are not
// those of the one who came first.
func TestConflict_C06_anUnconfirmedRepeatChangesNoData(t *testing.T) {
	t.Parallel()
	for _, header := range []string{nf, sb} {
		h := newHouse(t, nil)
		h.must(http.StatusOK, "POST", "/signup", `{"email":"a@example.com","password":"correct horse","data":{"name":"Anna"}}`, header)
		a := h.do("POST", "/signup", `{"email":"a@example.com","password":"correct horse"}`, header)
		status(t, "a repeat at once to "+header, a, http.StatusTooManyRequests)
		h.Clock.Advance(61 * time.Second)
		h.must(http.StatusOK, "POST", "/signup", `{"email":"a@example.com","password":"correct horse","data":{"name":"Mallory"}}`, header)
		a = h.do("POST", "/verify", `{"type":"signup","token_hash":"`+h.lastMail("a@example.com").Token+`"}`, sb)
		status(t, "the confirmation", a, http.StatusOK)
		if !strings.Contains(a.Body.String(), `"name":"Anna"`) || strings.Contains(a.Body.String(), "Mallory") {
			t.Errorf("the repeat of %s changed the data: %s", header, a.Body)
		}
	}
}

func TestConflict_C07_badSignUpsHaveEachFamilysStatus(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	for _, body := range []string{`{"email":"a@example.com"}`, `{"email":"nonsense","password":"correct horse"}`} {
		netlify, supabase := h.both("POST", "/signup", body)
		status(t, "Netlify: "+body, netlify, http.StatusUnprocessableEntity)
		status(t, "Supabase: "+body, supabase, http.StatusBadRequest)
		has(t, "Netlify: "+body, netlify, "msg")
		says(t, "Supabase: "+body, supabase, "error_code", "validation_failed")
	}
	_, supabase := h.both("POST", "/signup", `{"email":"a@example.com","password":"short"}`)
	says(t, "a weak password", supabase, "error_code", "weak_password")
}

func TestConflict_C08_closedSignUpHasEachFamilysStatus(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(s *setup) { s.policy.SignupDisabled = true })
	netlify, supabase := h.both("POST", "/signup", `{"email":"a@example.com","password":"correct horse"}`)
	status(t, "Netlify", netlify, http.StatusForbidden)
	status(t, "Supabase", supabase, http.StatusUnprocessableEntity)
	says(t, "Netlify", netlify, "msg", supabase.text("msg"))
}

func TestConflict_C09_thePasswordRuleIsASetting(t *testing.T) {
	t.Parallel()
	for least, want := range map[int]int{0: http.StatusOK, 6: http.StatusUnprocessableEntity} {
		h := newHouse(t, func(s *setup) { s.policy.MinPassword = least })
		for i, header := range []string{nf, sb} {
			a := h.do("POST", "/signup", fmt.Sprintf(`{"email":"a%d@example.com","password":"pw"}`, i), header)
			status(t, fmt.Sprintf("two letters where %d are needed, to %s", least, header), a, want)
		}
	}
	h := newHouse(t, nil)
	long := strings.Repeat("ä", 100) // 200 bytes, of which Supabase's server could read 72
	h.must(http.StatusOK, "POST", "/signup", `{"email":"a@example.com","password":"`+long+`"}`)
}

func TestConflict_C10_verifyTakesLinkTokensAndCodes(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	for name, body := range map[string]string{
		"Netlify's token":      `{"type":"recovery","token":"$token"}`,
		"Supabase's hash":      `{"type":"recovery","token_hash":"$token"}`,
		"Supabase's short one": `{"type":"recovery","email":"anna@example.com","token":"$code"}`,
	} {
		h := newHouse(t, nil)
		h.newUser("anna@example.com")
		h.must(http.StatusOK, "POST", "/recover", `{"email":"anna@example.com"}`)
		m := h.lastMail("anna@example.com")
		status(t, name, h.do("POST", "/verify", strings.NewReplacer("$token", m.Token, "$code", m.Code).Replace(body)), http.StatusOK)
	}
	netlify, supabase := h.both("POST", "/verify", `{"type":"recovery","token":"guess"}`)
	status(t, "Netlify, unknown", netlify, http.StatusNotFound)
	status(t, "Supabase, unknown", supabase, http.StatusForbidden)
	says(t, "Netlify, unknown", netlify, "msg", "User not found")
	says(t, "Supabase, unknown", supabase, "error_code", "otp_expired")
}

func TestConflict_C11_anInvitationIsAcceptedInBothWays(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		body    string
		want    int
		byInPut bool
	}{
		"Netlify's, with a password": {`{"type":"signup","token":"$token","password":"correct horse"}`, http.StatusOK, true},
		"Netlify's, without":         {`{"type":"signup","token":"$token"}`, http.StatusUnprocessableEntity, false},
		"Supabase's":                 {`{"type":"invite","token_hash":"$token"}`, http.StatusOK, false},
	} {
		h := newHouse(t, nil)
		h.must(http.StatusOK, "POST", "/invite", `{"email":"a@example.com"}`, bearer(h.Policy().OperatorToken))
		a := h.do("POST", "/verify", strings.ReplaceAll(tc.body, "$token", h.lastMail("a@example.com").Token))
		status(t, name, a, tc.want)
		signedIn := h.do("POST", login, `{"email":"a@example.com","password":"correct horse"}`).Code == http.StatusOK
		if signedIn != tc.byInPut {
			t.Errorf("%s: the password opens the account: %v, want %v", name, signedIn, tc.byInPut)
		}
	}
}

func TestConflict_C12_aMailedLinkIsOpenedWithGET(t *testing.T) {
	t.Parallel()
	for _, direct := range []bool{false, true} {
		h := newHouse(t, func(s *setup) { s.edge.DirectLinks = direct })
		a := h.do("GET", strings.TrimPrefix(h.magicLink("anna@example.com").Link, external), "")
		if direct {
			status(t, "a direct link", a, http.StatusSeeOther)
			if to := a.Header().Get("Location"); !strings.HasPrefix(to, site+"#access_token=") {
				t.Errorf("it leads to %s", to)
			}
			continue
		}
		status(t, "a link", a, http.StatusOK)
	}
}

func TestConflict_C13_mailLinksAreOfTheFamilyThatAskedOrThatIsSet(t *testing.T) {
	t.Parallel()
	for style, want := range map[gotrue.Manners][2]string{
		gotrue.Auto:     {site + "/#recovery_token=", external + "/verify?"},
		gotrue.Netlify:  {site + "/#recovery_token=", site + "/#recovery_token="},
		gotrue.Supabase: {external + "/verify?", external + "/verify?"},
	} {
		for i, header := range []string{nf, sb} {
			h := newHouse(t, func(s *setup) { s.edge.LinkStyle = style })
			h.newUser("anna@example.com")
			h.must(http.StatusOK, "POST", "/recover", `{"email":"anna@example.com"}`, header)
			if link := h.lastMail("anna@example.com").Link; !strings.HasPrefix(link, want[i]) {
				t.Errorf("style %s asked for by %s mails %s, want %s…", style, header, link, want[i])
			}
		}
	}
}

// Token is the long secret in a mail that Netlify's client asked for, and the
// code in one of Supabase's; the words themselves are internal/notify's.
func TestConflict_C14_templateVariablesFollowTheLinkStyle(t *testing.T) {
	t.Parallel()
	for header, ofNetlify := range map[string]bool{nf: true, sb: false} {
		h := newHouse(t, nil)
		h.newUser("anna@example.com")
		h.must(http.StatusOK, "POST", "/recover", `{"email":"anna@example.com"}`, header)
		m := h.lastMail("anna@example.com")
		if got := strings.HasPrefix(m.Link, site); got != ofNetlify || len(m.Token) < 22 || len(m.Code) != 6 {
			t.Errorf("%s is mailed %+v", header, m)
		}
		says(t, "the code", h.do("POST", "/verify", `{"type":"recovery","email":"anna@example.com","token":"`+m.Code+`"}`), "token_type", "bearer")
	}
}

func TestConflict_C15_aChangeOfAddressIsAcceptedInBothWays(t *testing.T) {
	t.Parallel()
	for name, secure := range map[string]bool{"one mail": false, "two mails": true} {
		h := newHouse(t, func(s *setup) { s.policy.SecureEmailChange = secure })
		h.newUser("anna@example.com")
		access, _ := h.signIn("anna@example.com")
		h.must(http.StatusOK, "PUT", "/user", `{"email":"new@example.com"}`, bearer(access), nf)
		m := h.lastMail("new@example.com")
		if !strings.HasPrefix(m.Link, site+"/#email_change_token=") {
			t.Errorf("%s: Netlify's client is mailed %s", name, m.Link)
		}
		a := h.do("PUT", "/user", `{"email_change_token":"`+m.Token+`"}`, bearer(access), nf)
		status(t, name, a, http.StatusOK)
		want := "new@example.com"
		if secure {
			want = "anna@example.com" // which must agree, too
		}
		says(t, name, a, "email", want)
		if secure {
			a = h.do("POST", "/verify", `{"type":"email_change","token_hash":"`+h.lastMail("anna@example.com").Token+`"}`, sb)
			status(t, "the other mail", a, http.StatusOK)
			says(t, "the other mail", h.do("GET", "/user", "", bearer(access)), "email", "new@example.com")
		}
	}
}

func TestConflict_C16_settingsHoldTheNamesOfBoth(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(s *setup) { s.policy.Autoconfirm, s.policy.SignupDisabled = true, true })
	a := h.must(http.StatusOK, "GET", "/settings", "")
	for _, key := range []string{"autoconfirm", "mailer_autoconfirm", "disable_signup"} {
		if a.JSON[key] != true {
			t.Errorf("%s is %v, want true", key, a.JSON[key])
		}
	}
	has(t, "settings", a, "external.email", "external_labels")
	external, _ := a.JSON["external"].(map[string]any)
	for _, name := range strings.Fields("bitbucket github gitlab google facebook email saml apple azure phone anonymous_users") {
		if _, ok := external[name].(bool); !ok {
			t.Errorf("external.%s is %v, want true or false", name, external[name])
		}
	}
}

func TestConflict_C17_accessTokensHoldWhatBothRead(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	id := h.newUser("anna@example.com").String()
	h.must(http.StatusOK, "PUT", "/admin/users/"+id, `{"app_metadata":{"roles":["editor"]}}`, bearer(h.Policy().OperatorToken))
	access, _ := h.signIn("anna@example.com")
	c := claims(t, access)
	if c["aud"] != "authenticated" || c["sub"] != id || c["email"] != "anna@example.com" {
		t.Errorf("aud, sub, email are %v, %v, %v: Netlify's consumers need a text as audience", c["aud"], c["sub"], c["email"])
	}
	for _, name := range strings.Fields("exp iat iss role aal amr session_id app_metadata user_metadata") {
		if c[name] == nil {
			t.Errorf("the claim %s is missing: %v", name, c)
		}
	}
	app, _ := c["app_metadata"].(map[string]any)
	if roles, _ := app["roles"].([]any); len(roles) != 1 || roles[0] != "editor" {
		t.Errorf("app_metadata.roles is %v, want [editor]", app["roles"])
	}
}

func TestConflict_C18_administratorsComeInThreeWays(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	id := h.newUser("anna@example.com").String()
	before, _ := h.signIn("anna@example.com")
	for name, token := range map[string]string{"the operator token": h.Policy().OperatorToken, "a service role": h.serviceToken()} {
		status(t, name, h.do("GET", "/admin/users", "", bearer(token)), http.StatusOK)
	}
	status(t, "a user", h.do("GET", "/admin/users", "", bearer(before)), http.StatusForbidden)
	h.must(http.StatusOK, "PUT", "/admin/users/"+id, `{"role":"admin"}`, bearer(h.Policy().OperatorToken))
	status(t, "a user whose role is admin", h.do("GET", "/admin/users", "", bearer(before)), http.StatusOK)
	h = newHouse(t, func(s *setup) { s.policy.OperatorToken = "" })
	status(t, "no operator token where none is set", h.do("GET", "/admin/users", "", "Authorization: Bearer "), http.StatusUnauthorized)
}

// Off unless an operator turns it on: then every request names its instance, and
// instances are made at /instances. Without it the header means nothing.
func TestConflict_C40_instancesAreNetlifysAlone(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	for _, header := range []string{nf, sb} {
		a := h.do("GET", "/settings", "", header, "X-Nf-Sign: rubbish")
		status(t, "a server of one tenant, asked with x-nf-sign", a, http.StatusOK)
	}
	front := h.instances()
	a := front.do("POST", "/instances", `{"uuid":"one"}`, bearer(h.Policy().OperatorToken))
	status(t, "an instance is made", a, http.StatusCreated)
	_, err := gotrue.ReadSign([]string{sign(t, jwt.SigningMethodHS256, []byte(h.Policy().OperatorToken), jwt.MapClaims{"id": a.text("id")})}, h.Policy().OperatorToken, h.Clock.Now())
	if err != nil {
		t.Errorf("the instance that was made cannot be asked for: %v", err)
	}
}
