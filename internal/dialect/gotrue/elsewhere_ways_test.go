package gotrue_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"gatehouse/internal/authtest"
	"gatehouse/internal/web"
)

// sharedOrigin is a house below the origin of its site, as Netlify's is.
func sharedOrigin(s *setup) {
	withAccounts(s)
	r, err := web.NewRedirects(external, nil)
	if err != nil {
		panic(err)
	}
	s.edge.Redirects, s.edge.SiteURL = r, external
}

// A page of this server leads nobody to a ticket without the question: its form
// goes on to where a link says, and that may be this server itself.
func TestLinkIdentity_noPageOfOursBringsATicketUnasked(t *testing.T) {
	t.Parallel()
	h := newHouse(t, sharedOrigin)
	h.newUser("mallory@example.com")
	access, _ := h.signIn("mallory@example.com")
	ticket := h.ticketFor(access, "")
	b := newBrowser(h)
	// A mail of mallory's to the victim: a link of this server, whose page has one button.
	a := b.press("/verify", url.Values{"token": {"pkce_none"}, "type": {"magiclink"}, "redirect_to": {ticket}})
	to := location(t, a)
	if !strings.HasPrefix(to.String(), external+"/authorize?") {
		t.Logf("the button leads to %s", to)
		return
	}
	a = b.get(to.String(), "Sec-Fetch-Site: same-origin")
	if a.Code == http.StatusFound {
		t.Fatalf("two redirects after a button that names no account the browser is on its way to %s, to give the visitor's account to mallory", location(t, a).Host)
	}
}

// A browser keeps the fragment of an address through redirects that have none:
// what ends at this server goes on from there with the tokens.
func TestRedirects_theServerItselfIsNoPlaceToLand(t *testing.T) {
	t.Parallel()
	h := newHouse(t, sharedOrigin)
	b := newBrowser(h)
	state := b.setOut("provider=acme&redirect_to=" + url.QueryEscape(external+"/authorize?provider=github"))
	to := location(t, b.comeBack(state, authtest.Person("acme", "1", "anna@example.com")))
	if strings.HasPrefix(to.String(), external+"/authorize") && strings.Contains(to.Fragment, "access_token") {
		next := location(t, b.get(strings.Split(to.String(), "#")[0]))
		t.Errorf("the tokens are in the fragment of %s%s, which redirects to %s: its fragment is that of the address before", to.Host, to.Path, next.Host)
	}
}

// What a page of ours says to its reader is not for whoever made the link to write.
func TestLinkIdentity_thePageSaysNothingItsSenderWrote(t *testing.T) {
	t.Parallel()
	h := newHouse(t, withAccounts)
	h.newUser("mallory@example.com")
	access, _ := h.signIn("mallory@example.com")
	said := "Acme. Your account is locked: call +1 555 0100"
	a := h.do("GET", "/user/identities/authorize?skip_http_redirect=true&provider="+url.QueryEscape("custom:"+said), "", bearer(access))
	if a.Code != http.StatusOK {
		return
	}
	page := newBrowser(h).get(a.text("url"))
	if strings.Contains(page.Body.String(), "555 0100") {
		t.Errorf("the page reads\n%s", page.Body)
	}
}

// Who looks whether there is something, or looks ahead of their user, ends no
// journey.
func TestCallback_isSpentByNobodyWhoOnlyLooks(t *testing.T) {
	t.Parallel()
	h := newHouse(t, withAccounts)
	b := newBrowser(h)
	state := b.setOut("provider=acme")
	path := "/callback?" + url.Values{"state": {state}, "code": {h.Elsewhere.Code(authtest.Person("acme", "1", "anna@example.com"))}}.Encode()
	b.send("HEAD", path, "")
	if v := fragmentOf(t, b.get(path)); v.Get("access_token") == "" {
		t.Errorf("after a HEAD the journey ends with %v", v)
	}
}

// A journey begins at the host where it ends: its cookie is of that host alone.
func TestLinkIdentity_beginsAtTheHostOfTheCallback(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(s *setup) {
		withAccounts(s)
		s.edge.LinkHosts = []string{"other.example"}
	})
	h.newUser("anna@example.com")
	access, _ := h.signIn("anna@example.com")
	a := h.must(http.StatusOK, "GET", "/user/identities/authorize?provider=acme&skip_http_redirect=true", "", bearer(access), "X-Forwarded-Host: other.example")
	if !strings.HasPrefix(a.text("url"), external+"/") {
		t.Errorf("the browser sets out at %.40s, and comes back to %s", a.text("url"), external)
	}
}
