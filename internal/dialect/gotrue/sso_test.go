package gotrue_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
)

// theirHouse is a house with the company's connection.
func theirHouse(t *testing.T, c *company) *house {
	t.Helper()
	h := newHouse(t, c.connected)
	h.must(http.StatusCreated, "POST", "/admin/sso/providers", `{"metadata_xml":"acme","domains":["acme.example"],"resource_id":"acme"}`, bearer(h.Policy().OperatorToken))
	return h
}

// posts has the company's page post a response.
func (b *browser) posts(path, response, relay string) answer {
	b.h.t.Helper() // no cookies: another site posts it
	return b.h.form(path, form("SAMLResponse", response, "RelayState", relay), "Origin: https://idp.example", "Sec-Fetch-Site: cross-site")
}

// follow opens where an answer leads, from the path it was given for.
func (b *browser) follow(path string, a answer) answer {
	b.h.t.Helper()
	base, _ := url.Parse(external + path)
	return b.get(base.ResolveReference(location(b.h.t, a)).String())
}

func TestSSO_signsInAndComesBack(t *testing.T) {
	t.Parallel()
	var c company
	h := theirHouse(t, &c)
	for name, tc := range map[string]struct{ body, email string }{
		"by domain": {`{"domain":"acme.example","redirect_to":"https://preview.example.com/a","skip_http_redirect":true}`, "one@acme.example"},
		"by id":     {`{"provider_id":"resource_acme","redirect_to":"https://preview.example.com/a","skip_http_redirect":true}`, "two@acme.example"},
	} {
		b := newBrowser(h)
		a := h.must(http.StatusOK, "POST", "/sso", tc.body)
		if !strings.HasPrefix(a.text("url"), external+"/sso/start?") || len(a.Result().Cookies()) > 0 {
			t.Fatalf("%s: %s", name, a.Body)
		}
		a = b.get(a.text("url"))
		if a.Code != http.StatusFound || location(t, a).Host != "idp.example" || len(b.flows()) != 1 {
			t.Fatalf("%s: /sso/start = %d %v", name, a.Code, a.Header())
		}
		state := stateOf(t, a)
		a = b.posts("/sso/saml/acs", c.asserts(tc.email, tc.email), state)
		if a.Code != http.StatusSeeOther {
			t.Fatalf("%s: the post = %d %s", name, a.Code, a.Body)
		}
		if u := location(t, newBrowser(h).follow("/sso/saml/acs", a)); u.Query().Get("error_code") != "saml_relay_state_not_found" || u.Host != "site.example" {
			t.Errorf("%s: another browser is led to %s", name, u)
		}
		a = b.follow("/sso/saml/acs", a)
		u := h.userOf(fragmentOf(t, a).Get("access_token"))
		if u.text("email") != tc.email || !strings.HasPrefix(a.Header().Get("Location"), "https://preview.example.com/a#") || len(b.flows()) > 0 {
			t.Errorf("%s: it leads to %s, and the user is %s", name, a.Header().Get("Location"), u.Body)
		}
	}
}

func TestSSO_aBrowserMaySetOutAtOnce(t *testing.T) {
	t.Parallel()
	var c company
	b := newBrowser(theirHouse(t, &c))
	a := b.send("POST", "/sso", `{"domain":"acme.example",`+asS256+`}`)
	if a.Code != http.StatusSeeOther || len(b.flows()) != 1 {
		t.Fatalf("%d %s", a.Code, a.Body)
	}
	a = b.follow("/sso/saml/acs", b.posts("/sso/saml/acs", c.asserts("1", "one@acme.example"), stateOf(t, a)))
	if location(t, a).Query().Get("code") == "" {
		t.Errorf("with PKCE it leads to %s", a.Header().Get("Location"))
	}
}

func TestSSO_refusesWhatItCannotStart(t *testing.T) {
	t.Parallel()
	h := theirHouse(t, &company{})
	for body, want := range map[string]int{
		`{}`: 400, `{"domain":"acme.example","provider_id":"resource_acme"}`: 400, `{"domain":"other.example"}`: 404, `{"provider_id":"nonsense"}`: 404,
		`{"provider_id":"saml"}`: 404, `{"domain":"acme.example","code_challenge":"x"}`: 400,
	} {
		h.must(want, "POST", "/sso", body)
		var q []string
		for pair := range strings.SplitSeq(strings.Trim(body, "{}"), ",") {
			q = append(q, strings.NewReplacer(`":"`, "=", `"`, "").Replace(pair))
		}
		h.must(want, "GET", "/sso/start?"+strings.Join(q, "&"), "")
	}
	h.must(http.StatusBadRequest, "GET", "/sso/saml/acs?SAMLart=x", "")
	asked := newHouse(t, func(s *setup) { new(company).connected(s); withCaptcha(s) })
	asked.must(http.StatusNotFound, "POST", "/sso", `{"domain":"other.example","gotrue_meta_security":{"captcha_token":"solved"}}`)
}

// What the company's page posts is judged before any browser is believed.
func TestSSO_tellsTheSiteWhatIsWrongWithAResponse(t *testing.T) {
	t.Parallel()
	var c company
	h := theirHouse(t, &c)
	b := newBrowser(h)
	for name, tc := range map[string]struct{ form url.Values }{
		"a forged one": {form("SAMLResponse", "forged")},
		"an artifact":  {form("SAMLart", "x")},
		"nothing":      {url.Values{}},
	} {
		u := location(t, h.form("/sso/saml/acs", tc.form))
		if q := u.Query(); u.Host != "site.example" || q.Get("error") != "invalid_request" || q.Get("error_code") != "validation_failed" || q.Get("error_description") == "" {
			t.Errorf("%s leads to %s", name, u)
		}
	}
	chatty := "long-" + strings.Repeat("x", 8<<10)
	if q := location(t, b.posts("/sso/saml/acs", c.asserts(chatty, "long@acme.example"), "")).Query(); q.Get("error_code") != "validation_failed" {
		t.Errorf("a response that no address can hold leads to %v", q)
	}
	if u := location(t, b.get("/sso/saml/finish?ticket=guess")); u.Query().Get("error_code") != "bad_oauth_state" {
		t.Errorf("a guessed ticket leads to %s", u)
	}
	a := b.posts("/saml/acs", c.asserts("1", "one@acme.example"), "")
	first, second := b.follow("/saml/acs", a), b.follow("/saml/acs", a)
	if !fragmentOf(t, first).Has("access_token") || fragmentOf(t, second).Has("access_token") {
		t.Errorf("a ticket leads to %s and, once more, to %s", first.Header().Get("Location"), second.Header().Get("Location"))
	}
}

// A company that begins says where to go, within what is allowed.
func TestSSO_theCompanyMayBegin(t *testing.T) {
	t.Parallel()
	var c company
	h := theirHouse(t, &c)
	for relay, want := range map[string]string{
		"https://preview.example.com/a": "https://preview.example.com/a#", "https://evil.example/": site + "#", "": site + "#", "dashboard": site + "#",
	} {
		b := newBrowser(h)
		a := b.follow("/sso/saml/acs", b.posts("/sso/saml/acs", c.asserts("1", "one@acme.example"), relay))
		if got := a.Header().Get("Location"); !strings.HasPrefix(got, want+"access_token=") {
			t.Errorf("RelayState %q leads to %s, want %s…", relay, got, want)
		}
		if got := location(t, b.posts("/sso/saml/acs", "forged", relay)).String(); !strings.HasPrefix(got, strings.TrimSuffix(want, "#")+"?error=") {
			t.Errorf("with a forged response it leads to %s", got)
		}
	}
	b := newBrowser(h)
	given := location(t, b.posts("/sso/saml/acs", c.asserts("1", "one@acme.example"), "")).Query()
	given.Set("redirect_to", "https://evil.example/")
	if got := b.get("/sso/saml/finish?" + given.Encode()).Header().Get("Location"); !strings.HasPrefix(got, site+"#access_token=") {
		t.Errorf("with another target in the address it leads to %s", got)
	}
}

// Netlify's clients know one company, by /authorize, and other paths.
func TestConflict_C34_companiesAreFoundByBothFamiliesPaths(t *testing.T) {
	t.Parallel()
	var c company
	h := newHouse(t, func(s *setup) { c.connected(s); s.edge.Manners = "netlify" })
	b := newBrowser(h)
	state := b.setOut("provider=saml", "Referer: "+site+"/in")
	a := b.follow("/saml/acs", b.posts("/saml/acs", c.asserts("1", "one@acme.example"), state))
	if v := fragmentOf(t, a); len(v) != 4 || !v.Has("access_token") || !strings.HasPrefix(a.Header().Get("Location"), site+"/in#") {
		t.Errorf("it leads to %s", a.Header().Get("Location"))
	}
	s := h.must(http.StatusOK, "GET", "/settings", "")
	if ext, labels := s.JSON["external"].(map[string]any), s.JSON["external_labels"].(map[string]any); ext["saml"] != true || labels["saml"] != "Acme" || s.JSON["saml_enabled"] != true {
		t.Errorf("the settings are %s", s.Body)
	}
}

func TestMetadata_isToBeHadByBothPaths(t *testing.T) {
	t.Parallel()
	h := newHouse(t, connected)
	for _, path := range []string{"/sso/saml/metadata", "/saml/metadata"} {
		a := h.must(http.StatusOK, "GET", path+"?download=true", "")
		if a.Body.String() != "<EntityDescriptor/>" || a.Header().Get("Cache-Control") != "public, max-age=600" || a.Header().Get("Content-Disposition") == "" || !strings.HasPrefix(a.Header().Get("Content-Type"), "application/xml") {
			t.Errorf("%s: %v %s", path, a.Header(), a.Body)
		}
		newHouse(t, bare).must(http.StatusNotFound, "GET", path, "")
	}
}

func TestSettings_nameWhoseAccountsSignIn(t *testing.T) {
	t.Parallel()
	h := newHouse(t, withAccounts)
	ext, _ := h.must(http.StatusOK, "GET", "/settings", "").JSON["external"].(map[string]any)
	for name, want := range map[string]bool{"acme": true, "github": true, "google": false, "saml": false} {
		if ext[name] != want {
			t.Errorf("%s is %v, want %v", name, ext[name], want)
		}
	}
}

// An account of a company's own is not to be linked by its people.
func TestSSO_itsPeopleLinkNothing(t *testing.T) {
	t.Parallel()
	var c company
	h := newHouse(t, func(s *setup) { withAccounts(s); c.connected(s) })
	b := newBrowser(h)
	a := b.follow("/sso/saml/acs", b.posts("/sso/saml/acs", c.asserts("1", "one@acme.example"), ""))
	access := fragmentOf(t, a).Get("access_token")
	got := h.must(http.StatusUnprocessableEntity, "GET", "/user/identities/authorize?provider=acme", "", bearer(access))
	if got.text("error_code") != "user_sso_managed" {
		t.Errorf("the answer is %s", got.Body)
	}
	code := h.Elsewhere.Code(authtest.Person("acme", "1", "x@example.com"))
	got = h.do("POST", byToken, `{"provider":"acme","id_token":"`+code+`","link_identity":true}`, bearer(access))
	if auth.Code(got.text("error_code")) != "user_sso_managed" {
		t.Errorf("by an ID token the answer is %s", got.Body)
	}
}

func TestAudit_tellsWhoCameByTheirCompany(t *testing.T) {
	t.Parallel()
	var c company
	h := newHouse(t, c.connected)
	b := newBrowser(h)
	b.follow("/sso/saml/acs", b.posts("/sso/saml/acs", c.asserts("1", "one@acme.example"), ""))
	h.newUser("anna@example.com")
	h.signIn("anna@example.com")
	h.Deliver(t)
	list, _ := h.audit("?query=action:login")
	if len(list) != 2 || list[0].Payload["actor_via_sso"] != false || list[1].Payload["actor_via_sso"] != true {
		t.Errorf("the sign-ins are %+v, want anna's and before it one by a company", list)
	}
}
