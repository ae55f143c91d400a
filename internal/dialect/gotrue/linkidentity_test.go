package gotrue_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
)

// ticketFor is where anna's browser has to go to link an account at acme.
func (h *house) ticketFor(access, query string) string {
	h.t.Helper()
	a := h.must(http.StatusOK, "GET", "/user/identities/authorize?provider=acme&skip_http_redirect=true"+query, "", bearer(access))
	if len(a.Result().Cookies()) > 0 || !strings.HasPrefix(a.text("url"), external+"/authorize?ticket=") {
		h.t.Fatalf("the answer is %s with the cookies %v", a.Body, a.Result().Cookies())
	}
	return a.text("url")
}

func TestLinkIdentity_byTheBrowserOfTheUser(t *testing.T) {
	t.Parallel()
	h := newHouse(t, withAccounts)
	id := h.newUser("anna@example.com").String()
	access, _ := h.signIn("anna@example.com")
	b := newBrowser(h)
	a := b.get(h.ticketFor(access, "&redirect_to=https://preview.example.com/a"), "Referer: "+site+"/")
	if a.Code != http.StatusFound {
		t.Fatalf("%d %s, want 302 to the provider", a.Code, a.Body)
	}
	a = b.comeBack(stateOf(t, a), authtest.Person("acme", "1", "elsewhere@example.com"))
	v := fragmentOf(t, a)
	u := h.userOf(v.Get("access_token"))
	if of, _ := u.JSON["identities"].([]any); u.text("id") != id || len(of) != 2 || !strings.HasPrefix(a.Header().Get("Location"), "https://preview.example.com/a#") {
		t.Errorf("it leads to %s, and the user is %s", a.Header().Get("Location"), u.Body)
	}
	for _, d := range u.JSON["identities"].([]any) {
		if m := d.(map[string]any); m["provider"] == "acme" {
			h.must(http.StatusOK, "DELETE", "/user/identities/"+m["identity_id"].(string), "", bearer(access))
		}
	}
	if of, _ := h.userOf(access).JSON["identities"].([]any); len(of) != 1 {
		t.Errorf("after it was unlinked anna has %v", of)
	}
}

// Whoever is not sent by the application is asked: a link that somebody mails
// would give his user the account of whoever opens it.
func TestLinkIdentity_asksWhoeverComesFromElsewhere(t *testing.T) {
	t.Parallel()
	h := newHouse(t, withAccounts)
	h.newUser("anna@example.com")
	access, _ := h.signIn("anna@example.com")
	for name, tc := range map[string]struct {
		headers []string
		asked   bool
	}{
		"the site":              {[]string{"Referer: " + site + "/account"}, false},
		"its origin":            {[]string{"Origin: " + site}, false},
		"another page of ours":  {[]string{"Referer: https://preview.example.com/"}, false},
		"a page of this server": {[]string{"Sec-Fetch-Site: same-origin"}, true}, // which anybody leads through
		"nobody":                {nil, true},
		"a mail":                {[]string{"Sec-Fetch-Site: none"}, true},
		"a stranger":            {[]string{"Referer: https://evil.example/", "Sec-Fetch-Site: cross-site"}, true},
		"one like ours":         {[]string{"Referer: https://site.example.evil.example/"}, true},
		"ahead of its user":     {[]string{"Referer: " + site + "/", "Sec-Purpose: prefetch"}, true},
	} {
		b := newBrowser(h)
		ticket := h.ticketFor(access, "")
		a := b.get(ticket, tc.headers...)
		if !tc.asked {
			if a.Code != http.StatusFound || len(b.flows()) != 1 {
				t.Errorf("from %s: %d %s", name, a.Code, a.Body)
			}
			continue
		}
		if page := a.Body.String(); a.Code != http.StatusOK || len(b.flows()) > 0 || !strings.Contains(page, "Acme") || !strings.Contains(page, "anna@example.com") {
			t.Errorf("from %s: %d %s; want to be asked, with the account and the provider named", name, a.Code, a.Body)
		}
		u, _ := url.Parse(ticket)
		form := u.Query().Encode()
		foreign := b.send("POST", "/authorize", form, "Content-Type: application/x-www-form-urlencoded", "Sec-Fetch-Site: cross-site", "Origin: https://evil.example")
		if foreign.Code != http.StatusBadRequest || len(b.flows()) > 0 {
			t.Errorf("a foreign page presses the button: %d %s", foreign.Code, foreign.Body)
		}
		a = b.press("/authorize", u.Query())
		if a.Code != http.StatusSeeOther || len(b.flows()) != 1 || location(t, a).Host != "acme.example" {
			t.Errorf("the button: %d %s", a.Code, a.Body)
		}
	}
	h.must(http.StatusBadRequest, "POST", "/authorize", "", "Content-Type: application/x-www-form-urlencoded")
}

func TestLinkIdentity_whatStandsInTheWay(t *testing.T) {
	t.Parallel()
	p := &spy{}
	h := newHouse(t, p.watched)
	h.newUser("anna@example.com")
	access, _ := h.signIn("anna@example.com")
	link := "/user/identities/authorize?provider="
	h.must(http.StatusUnauthorized, "GET", link+"acme", "")
	h.must(http.StatusBadRequest, "GET", link, "", bearer(access))
	h.must(http.StatusBadRequest, "GET", link+"nobody", "", bearer(access))
	h.must(http.StatusBadRequest, "GET", link+"acme&x="+strings.Repeat("a", 9000), "", bearer(access))
	a := h.must(http.StatusFound, "GET", link+"acme", "", bearer(access))
	if u := location(t, a); u.Host != "auth.example" || u.Path != "/authorize" {
		t.Errorf("a redirect leads to %s, want /authorize", u)
	}

	// The application hears what hinders the browser.
	ticket := h.ticketFor(access, "&redirect_to="+site+"/account")
	p.err = &auth.Error{Code: auth.ProviderDisabled}
	b := newBrowser(h)
	if u := location(t, b.get(ticket, "Referer: "+site+"/")); u.Path != "/account" || u.Query().Get("error_code") != "validation_failed" {
		t.Errorf("a provider that is off leads to %s", u)
	}
	p.err = nil

	// Another's account, and a session that ended meanwhile.
	bob := authtest.Person("acme", "b-1", "bob@example.com")
	b.comeBack(b.setOut("provider=acme"), bob)
	a = b.comeBack(stateOf(t, b.get(ticket, "Referer: "+site+"/")), bob)
	if got := location(t, a).Query().Get("error_code"); got != "identity_already_exists" {
		t.Errorf("another's account ends with %q", got)
	}
	state := stateOf(t, b.get(ticket, "Referer: "+site+"/"))
	h.must(http.StatusNoContent, "POST", "/logout", "", bearer(access))
	a = b.comeBack(state, authtest.Person("acme", "new", "new@example.com"))
	if got := location(t, a).Query().Get("error_code"); got != "session_not_found" {
		t.Errorf("a session that has ended ends with %q", got)
	}
	h.Clock.Advance(6 * time.Minute)
	h.must(http.StatusBadRequest, "GET", strings.TrimPrefix(ticket, external), "", "Referer: "+site+"/")
}
