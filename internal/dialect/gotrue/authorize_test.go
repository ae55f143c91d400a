package gotrue_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/dialect/gotrue"
)

func TestAuthorize_sendsTheBrowserOffWithACookieOfItsOwn(t *testing.T) {
	t.Parallel()
	var p spy
	h := newHouse(t, p.watched)
	a := h.must(http.StatusFound, "GET", "/authorize?provider=acme&scopes=a+b&redirect_to=https://preview.example.com/x&prompt=consent&hd=acme.example"+
		"&client_id=evil&redirect_uri=https://evil.example&state=mine&nonce=n&Response_Type=token&access_type=offline", "")
	if u := location(t, a); u.Host != "acme.example" || u.Query().Get("state") == "mine" {
		t.Errorf("it leads to %s, want the provider, with a state of this server's", u)
	}
	cookies := a.Result().Cookies()
	if len(cookies) != 1 {
		t.Fatalf("%d cookies, want 1: %v", len(cookies), a.Header())
	}
	c := cookies[0]
	if !strings.HasPrefix(c.Name, "gh_flow_") || len(c.Name) != len("gh_flow_")+16 || !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.MaxAge != 600 || c.Domain != "" {
		t.Errorf("the cookie is %q; want gh_flow_…, HttpOnly, Secure, Lax, of ten minutes and of the host alone", c.Raw)
	}
	if strings.Contains(c.Raw, stateOf(t, a)) {
		t.Error("the cookie has the state in it")
	}
	want := map[string][]string{"prompt": {"consent"}, "hd": {"acme.example"}, "access_type": {"offline"}}
	if diff := cmp.Diff(want, p.last.Extra()); diff != "" {
		t.Errorf("what is passed on (-want +got):\n%s", diff)
	}
	if p.last.Scopes() != "a b" || p.last.RedirectTo != "https://preview.example.com/x" || p.last.Netlify {
		t.Errorf("the journey is %+v", &p.last)
	}
}

func TestAuthorize_theCookieIsOfThisTenantAndItsScheme(t *testing.T) {
	t.Parallel()
	for external, want := range map[string]string{
		"https://auth.example/t/acme":             "Path=/t/acme/; Max-Age=600; HttpOnly; Secure; SameSite=Lax",
		"https://site.example/.netlify/identity/": "Path=/.netlify/identity/; Max-Age=600; HttpOnly; Secure; SameSite=Lax",
		"http://localhost:9999":                   "Path=/; Max-Age=600; HttpOnly; SameSite=Lax",
		"http://auth.example":                     "Path=/; Max-Age=600; HttpOnly; Secure; SameSite=Lax",
	} {
		h := newHouse(t, func(s *setup) { s.edge.ExternalURL = external })
		a := h.must(http.StatusFound, "GET", "/authorize?provider=acme", "")
		_, got, _ := strings.Cut(a.Header().Get("Set-Cookie"), "; ")
		if got != want {
			t.Errorf("below %s the cookie is %q, want %q", external, got, want)
		}
	}
}

// A header of cookies that grows with each sign-in somebody gives up would lock
// them out in the end.
func TestAuthorize_forgetsWhatABrowserGaveUp(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := newBrowser(h)
	for range 12 {
		b.setOut("provider=acme")
	}
	if got := len(b.flows()); got != 8 {
		t.Errorf("the browser keeps %d journeys, want 8", got)
	}
	var cookies []string
	for i := range 11 {
		cookies = append(cookies, fmt.Sprintf("gh_flow_%016x=x", i))
	}
	a := h.must(http.StatusFound, "GET", "/authorize?provider=acme", "", "Cookie: other=1; "+strings.Join(cookies, "; "))
	if got, want := forgotten(a), []string{"gh_flow_0000000000000000", "gh_flow_0000000000000001", "gh_flow_0000000000000002", "gh_flow_0000000000000003"}; !slices.Equal(got, want) {
		t.Errorf("the journeys %q are forgotten, want the four oldest of eleven", got)
	}
	long := strings.Repeat("x", 3900)
	a = h.must(http.StatusFound, "GET", "/authorize?provider=acme", "", "Cookie: gh_flow_1="+long+"; gh_flow_2=x; gh_flow_3="+long+"; gh_flow_4=x")
	if got := forgotten(a); !slices.Equal(got, []string{"gh_flow_1"}) {
		t.Errorf("the journeys %q are forgotten, want the first of two long ones", got)
	}
}

// forgotten are the cookies that an answer takes away.
func forgotten(a answer) (names []string) {
	for _, c := range a.Result().Cookies() {
		if c.MaxAge < 0 {
			names = append(names, c.Name)
		}
	}
	slices.Sort(names)
	return names
}

func TestAuthorize_refusesWhatNoBrowserWouldKeep(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	long := "https://site.example/?" + strings.Repeat("a&", 1000)
	a := h.must(http.StatusBadRequest, "GET", "/authorize?provider=acme&redirect_to="+url.QueryEscape(long), "")
	if len(a.Result().Cookies()) > 0 {
		t.Error("a cookie was set all the same")
	}
	h.must(http.StatusFound, "GET", "/authorize?provider=acme&redirect_to="+url.QueryEscape("https://site.example/"+strings.Repeat("a", 1900)), "")
}

// Where the browser comes back to in the end, by what it set out with.
func TestConflict_C30_theWayBackIsWhatWasAskedForOrWhereOneCameFrom(t *testing.T) {
	t.Parallel()
	withTarget := func(s *setup) { s.edge.Manners, s.edge.ExternalRedirect = gotrue.Netlify, "https://landing.example/in" }
	for name, tc := range map[string]struct {
		house   func(*setup)
		query   string
		referer string
		want    string
	}{
		"asked for":                   {nil, "&redirect_to=https://preview.example.com/a?b=1", "", "https://preview.example.com/a?b=1"},
		"not allowed":                 {nil, "&redirect_to=https://evil.example/", "", site},
		"not allowed, from an app":    {nil, "&redirect_to=https://evil.example/", "https://preview.example.com/from", "https://preview.example.com/from"},
		"like an allowed one":         {nil, "&redirect_to=https://site.example.evil.example/", "", site},
		"a script":                    {nil, "&redirect_to=javascript:alert(1)", "", site},
		"from an app":                 {nil, "", site + "/from", site + "/from"},
		"from anywhere":               {nil, "", "https://evil.example/", site},
		"Netlify's, from an app":      {func(s *setup) { s.edge.Manners = gotrue.Netlify }, "", site + "/from", site + "/from"},
		"Netlify's, with one target":  {withTarget, "", site + "/from", "https://landing.example/in"},
		"the same, and a page of its": {withTarget, "&redirect_to=https://preview.example.com/a", "", "https://landing.example/in"},
		"the target of whoever asks":  {func(s *setup) { s.edge.ExternalRedirect = "https://landing.example/in" }, "&redirect_to=" + site + "/page", site + "/from", "https://landing.example/in"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBrowser(newHouse(t, tc.house))
			var from []string
			if tc.referer != "" {
				from = append(from, "Referer: "+tc.referer)
			}
			a := b.comeBack(b.setOut("provider=acme"+tc.query, from...), authtest.Person("acme", "1", "new@example.com"))
			got, _, _ := strings.Cut(a.Header().Get("Location"), "#")
			if a.Code != http.StatusFound || got != tc.want || !fragmentOf(t, a).Has("access_token") {
				t.Errorf("it ends with %d at %s, want 302 at %s with tokens", a.Code, a.Header().Get("Location"), tc.want)
			}
		})
	}
}

// A provider that is down is told to the page that somebody will look at.
func TestAuthorize_anOutageIsToldAtAPageOfTheApplications(t *testing.T) {
	t.Parallel()
	p := spy{err: &auth.Error{Code: auth.ProviderUnavailable, Params: map[string]any{"problem": "lookup acme.example: no such host"}}}
	h := newHouse(t, p.watched)
	for query, want := range map[string]string{
		"&redirect_to=https://preview.example.com/a": "preview.example.com/a",
		"&redirect_to=https://evil.example/a":        "site.example",
		"":                                           "site.example",
	} {
		a := h.do("GET", "/authorize?provider=acme"+query, "")
		if strings.Contains(a.Body.String()+a.Header().Get("Location"), "no%20such") || strings.Contains(a.Body.String(), "no such") {
			t.Errorf("the answer has the words of the network: %v %s", a.Header(), a.Body)
		}
		u := location(t, a)
		if q := u.Query(); a.Code != http.StatusFound || u.Host+u.Path != want || q.Get("error") != "temporarily_unavailable" || q.Get("error_code") != "unexpected_failure" || q.Get("error_description") == "" {
			t.Errorf("%q: it leads to %s", query, u)
		}
	}
}
