package gotrue_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/dialect/gotrue"
	"gatehouse/internal/web"
)

func TestCallback_signsIn(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := newBrowser(h)
	carl := authtest.Person("acme", "c-1", "carl@example.com")
	carl.Tokens = auth.Tokens{Access: "their access & more", Refresh: "their/refresh"}
	a := b.comeBack(b.setOut("provider=acme&redirect_to="+site+"/in#old"), carl)
	raw := a.Header().Get("Location")
	if a.Code != http.StatusFound || !regexp.MustCompile(`^https://site\.example/in#access_token=[\w.-]+&expires_at=\d+&expires_in=3600&provider_refresh_token=[^&]+&provider_token=[^&]+&refresh_token=[\w.-]+&sb=&token_type=bearer$`).MatchString(raw) {
		t.Fatalf("%d leads to %s", a.Code, raw)
	}
	v := fragmentOf(t, a)
	if v.Get("provider_token") != "their access & more" || v.Get("provider_refresh_token") != "their/refresh" {
		t.Errorf("the provider's tokens are %q and %q", v.Get("provider_token"), v.Get("provider_refresh_token"))
	}
	u := h.userOf(v.Get("access_token"))
	of, _ := u.JSON["identities"].([]any)
	if u.text("email") != "carl@example.com" || u.text("email_confirmed_at") == "" || len(of) != 1 {
		t.Fatalf("the user is %s", u.Body)
	}
	if got := of[0].(map[string]any); got["provider"] != "acme" || got["id"] != "c-1" || got["email"] != "carl@example.com" || got["identity_data"].(map[string]any)["full_name"] != "Somebody" {
		t.Errorf("the identity is %v", got)
	}
	if len(b.flows()) > 0 {
		t.Errorf("the browser still has %q", b.flows())
	}
	again := fragmentOf(t, b.comeBack(b.setOut("provider=acme"), carl))
	if got := h.userOf(again.Get("access_token")).text("id"); got != u.text("id") {
		t.Errorf("the second time it is %s, want %s", got, u.text("id"))
	}
}

func TestCallback_givesAClientWithPKCEACode(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := newBrowser(h)
	const challenge = "&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=s256"
	a := b.comeBack(b.setOut("provider=acme&redirect_to=https://preview.example.com/a?b=1"+challenge), authtest.Person("acme", "c-1", "carl@example.com"))
	u := location(t, a)
	if a.Code != http.StatusFound || u.Fragment != "" || u.Query().Get("b") != "1" || u.Query().Get("code") == "" {
		t.Fatalf("%d leads to %s, want a code and nothing else", a.Code, u)
	}
	body := `{"auth_code":"` + u.Query().Get("code") + `","code_verifier":"` + verifier + `"}`
	s := h.must(http.StatusOK, "POST", "/token?grant_type=pkce", body)
	if s.text("provider_token") != "at-c-1" || s.text("provider_refresh_token") != "rt-c-1" {
		t.Errorf("the session is %s, want the provider's tokens in it", s.Body)
	}
	h.must(http.StatusNotFound, "POST", "/token?grant_type=pkce", body)
	next := h.must(http.StatusOK, "POST", refresh, `{"refresh_token":"`+s.text("refresh_token")+`"}`)
	if next.JSON["provider_token"] != nil {
		t.Errorf("a refresh hands out the provider's token once more: %s", next.Body)
	}
}

// Netlify's widget takes the pairs of the fragment as they are.
func TestConflict_C31_aSuccessHasWhatEachFamilyReads(t *testing.T) {
	t.Parallel()
	b := newBrowser(newHouse(t, nil))
	const mount = "/.netlify/identity"
	a := b.get(mount+"/authorize?provider=acme", "Referer: "+site+"/login")
	a = b.get(mount + "/callback?code=" + b.h.Elsewhere.Code(authtest.Person("acme", "1", "new@example.com")) + "&state=" + stateOf(t, a))
	if got := a.Header().Get("Location"); a.Code != http.StatusFound || !regexp.MustCompile(`^https://site\.example/login#access_token=[\w.-]+&expires_in=3600&refresh_token=[\w.-]+&token_type=bearer$`).MatchString(got) {
		t.Errorf("%d leads to %s", a.Code, got)
	}
}

// Nobody comes back who did not set out, in that browser, just now and once.
func TestCallback_isOfTheBrowserThatSetOut(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	for name, arrive := range map[string]func(b *browser, state, code string) answer{
		"without a state": func(b *browser, _, code string) answer { return b.get("/callback?code=" + code) },
		"with another state": func(b *browser, state, code string) answer {
			return b.get("/callback?code=" + code + "&state=x" + state)
		},
		"without the cookie": func(_ *browser, state, code string) answer {
			return h.do("GET", "/callback?code="+code+"&state="+state, "")
		},
		"with a state to lie": func(b *browser, state, code string) answer {
			return b.get("/callback?code=" + code + "&state=" + strings.Repeat(state, 100))
		},
		"from another browser": func(_ *browser, state, code string) answer {
			other := newBrowser(h)
			other.setOut("provider=acme")
			return other.get("/callback?code=" + code + "&state=" + state)
		},
		"with the cookie of another journey": func(b *browser, state, code string) answer {
			mine := b.flows()[0]
			b.setOut("provider=acme")
			at, _ := url.Parse(external)
			for _, c := range b.jar.Cookies(at) {
				if c.Name != mine {
					return h.do("GET", "/callback?code="+code+"&state="+state, "", "Cookie: "+mine+"="+c.Value)
				}
			}
			return answer{}
		},
		"too late": func(b *browser, state, code string) answer {
			h.Clock.Advance(11 * time.Minute)
			return b.get("/callback?code=" + code + "&state=" + state)
		},
		"by the way of companies": func(b *browser, state, code string) answer {
			return b.get("/sso/saml/finish?ticket=" + code + "&state=" + state)
		},
		"with an error": func(_ *browser, state, _ string) answer {
			return h.do("GET", "/callback?error=access_denied&state="+state, "")
		},
	} {
		b := newBrowser(h)
		email := strings.ReplaceAll(name, " ", "-") + "@example.com"
		state := b.setOut("provider=acme&redirect_to=https://preview.example.com/a")
		a := arrive(b, state, h.Elsewhere.Code(authtest.Person("acme", email, email)))
		u := location(t, a)
		code := "bad_oauth_state"
		if name == "by the way of companies" {
			code = "saml_relay_state_not_found"
		}
		want := url.Values{"error": {"invalid_request"}, "error_code": {code}, "error_description": u.Query()["error_description"]}
		if diff := cmp.Diff(want, u.Query()); a.Code != http.StatusSeeOther || u.Scheme+"://"+u.Host+u.Path != site || u.Fragment != "" || diff != "" || u.Query().Get("error_description") == "" {
			t.Errorf("%s: %d leads to %s, want 303 to the site with %s in the query alone", name, a.Code, u, code)
		}
		_, err := h.UserByEmail(t.Context(), authtest.Operator(), email)
		if auth.CodeOf(err) != auth.UserNotFound {
			t.Errorf("%s: somebody came in (%v)", name, err)
		}
	}
}

func TestCallback_comesOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := newBrowser(h)
	state := b.setOut("provider=acme")
	at, _ := url.Parse(external)
	kept := b.jar.Cookies(at)[0]
	b.comeBack(state, authtest.Person("acme", "1", "new@example.com"))
	code := h.Elsewhere.Code(authtest.Person("acme", "2", "other@example.com"))
	a := h.do("GET", "/callback?code="+code+"&state="+state, "", "Cookie: "+kept.Name+"="+kept.Value)
	if u := location(t, a); u.Query().Get("error_code") != "bad_oauth_state" {
		t.Errorf("a second time it leads to %s", u)
	}
}

func TestCallback_twoTabsDoNotMix(t *testing.T) {
	t.Parallel()
	b := newBrowser(newHouse(t, nil))
	first := b.setOut("provider=acme&redirect_to=" + site + "/1")
	second := b.setOut("provider=github&redirect_to=" + site + "/2")
	for _, tab := range []struct{ state, provider, to string }{{second, "github", site + "/2#"}, {first, "acme", site + "/1#"}} {
		a := b.comeBack(tab.state, authtest.Person(tab.provider, "1", "new@example.com"))
		if got := a.Header().Get("Location"); !strings.HasPrefix(got, tab.to+"access_token=") {
			t.Errorf("the tab of %s ends at %s", tab.provider, got)
		}
	}
}

// What goes wrong on the way, as either family reads it.
func TestConflict_C32_aFailureIsToldAsEachFamilyReadsIt(t *testing.T) {
	t.Parallel()
	person := authtest.Person("acme", "1", "new@example.com")
	for name, tc := range map[string]struct {
		house    func(*setup)
		ready    func(h *house) (query string) // what to set out with
		back     string                        // what the provider sends; empty: a code
		as       auth.Account
		word     string // error
		code     string
		says     string
		netlify  string // error, for Netlify's clients
		nothing  bool   // or they are told nothing
		anything bool   // says is not compared
	}{
		"a refusal":          {back: "error=access_denied&error_description=No%0Athanks", word: "access_denied", code: "bad_oauth_callback", says: "Nothanks", netlify: "access_denied"},
		"one without a word": {back: "error=%3Cscript%3E", word: "access_denied", code: "bad_oauth_callback", anything: true, netlify: "access_denied"},
		"nothing":            {back: "x=1", word: "invalid_request", code: "bad_oauth_callback", anything: true, netlify: "invalid_request"},
		"a wrong code":       {back: "code=guess", word: "invalid_request", code: "bad_oauth_callback", says: "Unable to exchange external code", netlify: "invalid_request"},
		"no address":         {as: authtest.Person("acme", "1", ""), word: "invalid_request", code: "email_address_not_provided", anything: true, netlify: "invalid_request"},
		"another provider":   {as: authtest.Person("github", "1", "new@example.com"), word: "server_error", code: "unexpected_failure", anything: true, netlify: "server_error"},
		"no sign-ups": {
			house: func(s *setup) { s.policy.SignupDisabled = true }, as: person, word: "access_denied", code: "signup_disabled",
			says: "Signups not allowed for this instance", netlify: "access_denied",
		},
		"an unproved address": {as: unproved(person), word: "access_denied", code: "provider_email_needs_verification", anything: true, nothing: true},
		"a banned user": {
			ready: func(h *house) string {
				id := h.newUser("new@example.com").String()
				banned(h, id, "", "")
				return ""
			}, as: person, word: "access_denied", code: "user_banned", says: "User is banned", netlify: "unauthorized_client",
		},
		"another's invitation": {
			ready: func(h *house) string {
				h.must(http.StatusOK, "POST", "/invite", `{"email":"a@example.com"}`, bearer(h.Policy().OperatorToken))
				return "&invite_token=" + h.lastMail("a@example.com").Token
			}, as: person, word: "invalid_request", code: "validation_failed", says: "Invited email does not match emails from external provider", netlify: "invalid_request",
		},
		"a hook's refusal": {
			house: hookSays(&auth.Error{Code: auth.HookRefused, Params: map[string]any{"status": 403, "problem": "not from here"}}),
			as:    person, word: "access_denied", code: "unknown", says: "not from here", netlify: "access_denied",
		},
	} {
		for _, family := range []gotrue.Manners{gotrue.Supabase, gotrue.Netlify} {
			t.Run(name+"/"+string(family), func(t *testing.T) {
				t.Parallel()
				h := newHouse(t, func(s *setup) {
					if tc.house != nil {
						tc.house(s)
					}
					s.edge.Manners = family
				})
				query := "provider=acme"
				if tc.ready != nil {
					query += tc.ready(h)
				}
				b := newBrowser(h)
				state := b.setOut(query, "Referer: "+site+"/login?a=1")
				back := tc.back
				if back == "" {
					back = "code=" + h.Elsewhere.Code(tc.as)
				}
				a := b.get("/callback?" + back + "&state=" + state)
				if a.Code != http.StatusFound || len(b.flows()) > 0 {
					t.Errorf("%d, and the browser keeps %q; want 302 and nothing", a.Code, b.flows())
				}
				u, frag := location(t, a), fragmentOf(t, a)
				if family == gotrue.Netlify {
					want := url.Values{"error": {tc.netlify}, "error_description": frag["error_description"]}
					if tc.nothing {
						want = url.Values{}
					}
					if diff := cmp.Diff(want, frag); u.RawQuery != "a=1" || diff != "" {
						t.Errorf("it leads to %s (-want +got):\n%s", u, diff)
					}
					return
				}
				want := url.Values{"a": {"1"}, "error": {tc.word}, "error_code": {tc.code}, "error_description": {tc.says}}
				if tc.anything {
					want["error_description"] = u.Query()["error_description"]
				}
				if diff := cmp.Diff(want, u.Query()); diff != "" || want.Get("error_description") == "" {
					t.Errorf("the query (-want +got):\n%s", diff)
				}
				want.Del("a")
				want.Set("sb", "")
				if diff := cmp.Diff(want, frag); diff != "" {
					t.Errorf("the fragment (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// The mail that asks for one more click leads where the sign-in would have.
func TestCallback_anUnprovedAddressIsAskedAbout(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := newBrowser(h)
	b.comeBack(b.setOut("provider=acme&redirect_to=https://preview.example.com/a"), unproved(authtest.Person("acme", "1", "new@example.com")))
	link, err := url.Parse(h.lastMail("new@example.com").Link)
	if err != nil || link.Query().Get("redirect_to") != "https://preview.example.com/a" {
		t.Fatalf("the mail's link is %s (%v)", link, err)
	}
	a := b.press("/verify", link.Query())
	if got := h.userOf(fragmentOf(t, a).Get("access_token")).text("email"); got != "new@example.com" {
		t.Errorf("the click signs in %q", got)
	}
	if got := fragmentOf(t, b.comeBack(b.setOut("provider=acme"), unproved(authtest.Person("acme", "1", "new@example.com")))); !got.Has("access_token") {
		t.Errorf("and afterwards the account does not: %v", got)
	}
}

// Apple's pages post, and browsers bring no cookies to what another site posts.
func TestCallback_ofAFormIsAskedForOnceMore(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := newBrowser(h)
	state := b.setOut("provider=acme")
	v := url.Values{
		"state": {state}, "code": {h.Elsewhere.Code(authtest.Person("acme", "1", "new@example.com"))}, "user": {`{"name":{"firstName":"N"}}`},
		"id_token": {"not asked for"}, "iss": {strings.Repeat("x", 2000)},
	}
	a := h.form("/callback", v, "Origin: https://appleid.apple.com", "Sec-Fetch-Site: cross-site")
	u := location(t, a)
	want := url.Values{"state": v["state"], "code": v["code"], "user": v["user"]}
	if diff := cmp.Diff(want, u.Query()); a.Code != http.StatusSeeOther || u.Host != "" || u.Path != "" || diff != "" {
		t.Fatalf("%d leads to %s, want 303 to the same path (-want +got):\n%s", a.Code, u, diff)
	}
	if got := fragmentOf(t, b.get("/callback"+u.String())); !got.Has("access_token") {
		t.Errorf("the GET ends with %v", got)
	}
	v.Set("user", strings.Repeat("<", 2000))
	v.Set("error_description", strings.Repeat("<", 1000))
	if u := location(t, h.form("/callback", v)); len(u.RawQuery) > 6<<10 || u.Query().Get("code") == "" {
		t.Errorf("of too much %d bytes are left: %s", len(u.RawQuery), u)
	}
	if u := location(t, h.do("GET", "/callback"+a.Header().Get("Location"), "")); u.Query().Get("error_code") != "bad_oauth_state" {
		t.Errorf("another browser is sent to %s", u)
	}
}

// What was allowed when somebody set out may not be any more.
func TestCallback_looksAgainWhereToGo(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := newBrowser(h)
	state := b.setOut("provider=acme&redirect_to=https://preview.example.com/a")
	narrow, err := web.NewRedirects(site, nil)
	if err != nil {
		t.Fatal(err)
	}
	h.front, err = gotrue.New(gotrue.Options{Auth: h.Service, Redirects: narrow, ExternalURL: external, SiteURL: site, Limits: &web.Limits{Off: true}})
	if err != nil {
		t.Fatal(err)
	}
	a := b.comeBack(state, authtest.Person("acme", "1", "new@example.com"))
	if got := a.Header().Get("Location"); !strings.HasPrefix(got, site+"#access_token=") {
		t.Errorf("it leads to %s, want the site", got)
	}
}

func TestConflict_C33_whoNeverSetOutIsSentToTheSite(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	for _, mount := range []string{"", "/auth/v1", "/.netlify/identity"} {
		u := location(t, h.must(http.StatusSeeOther, "GET", mount+"/callback?code=x", ""))
		if u.Host != "site.example" || u.Query().Get("error_code") != "bad_oauth_state" {
			t.Errorf("below %q it leads to %s", mount, u)
		}
	}
}

func TestConflict_C35_anAddressNobodyHasProved(t *testing.T) {
	t.Parallel()
	b := newBrowser(newHouse(t, nil))
	for mount, want := range map[string]string{"/auth/v1": "provider_email_needs_verification", "/.netlify/identity": ""} {
		a := b.get(mount+"/authorize?provider=acme", "Referer: "+site+"/")
		email := strings.Trim(strings.ReplaceAll(mount, "/", "x"), ".") + "@example.com"
		a = b.get(mount + "/callback?code=" + b.h.Elsewhere.Code(unproved(authtest.Person("acme", email, email))) + "&state=" + stateOf(t, a))
		u := location(t, a)
		if got := u.Query().Get("error_code"); a.Code != http.StatusFound || got != want || want == "" && u.String() != site+"/" {
			t.Errorf("below %s it leads to %s, want %q", mount, u, want)
		}
		if kind := b.h.lastMail(email).Kind; kind != "confirmation" {
			t.Errorf("below %s the mail is a %s", mount, kind)
		}
	}
}
