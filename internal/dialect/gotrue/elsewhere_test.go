package gotrue_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
)

// How providers are spoken to is the affair of other packages. Here the house's
// own Elsewhere keeps the accounts, and a company says what a test says.

// withAccounts is a house that people enter with accounts elsewhere, which they
// may link.
func withAccounts(s *setup) {
	s.edge.Providers = []string{"acme", "github"}
	s.policy.LinkingDisabled = false
}

// bare is a house with none of all that.
func bare(s *setup) {
	s.policy.CustomDisabled, s.policy.SAMLDisabled = true, true
	s.methods = func(all []auth.Method) []auth.Method {
		return slices.DeleteFunc(all, func(m auth.Method) bool {
			return slices.Contains([]string{"social", "idtoken", "web3", "saml"}, m.Name())
		})
	}
}

// people are accounts that transcripts come back with, by the name of their code.
func people() map[string]auth.Account {
	return map[string]auth.Account{
		"atacme":   authtest.Person("acme", "a-1", "anna@example.com"),
		"anew":     authtest.Person("acme", "c-1", "carl@example.com"),
		"atgithub": authtest.Person("github", "17", "anna@elsewhere.example"),
	}
}

// unproved is an account whose provider does not vouch for its address.
func unproved(a auth.Account) auth.Account {
	a.EmailVerified = false
	return a
}

// spy is a provider that keeps in mind who set out, and may not let them.
type spy struct {
	auth.Method
	starter auth.Starter
	err     error

	mu   sync.Mutex
	last auth.Journey
}

func (p *spy) Start(ctx context.Context, k *auth.Kit, j *auth.Journey) (string, error) {
	p.mu.Lock()
	p.last = *j
	p.mu.Unlock()
	if p.err != nil {
		return "", p.err
	}
	return p.starter.Start(ctx, k, j)
}

// watched puts a spy in the place of all providers.
func (p *spy) watched(s *setup) {
	withAccounts(s)
	s.methods = func(all []auth.Method) []auth.Method {
		for i, m := range all {
			if m.Name() == "social" {
				p.Method, p.starter = m, m.(auth.Starter)
				all[i] = p
			}
		}
		return all
	}
}

// company is an identity provider of SAML: what it posts are names of accounts.
type company struct {
	err error // of setting out

	mu       sync.Mutex
	accounts map[string]auth.Account
}

func (*company) Name() string { return "saml" }

func (c *company) Start(ctx context.Context, k *auth.Kit, j *auth.Journey) (string, error) {
	if c.err != nil {
		return "", c.err
	}
	if j.Provider != "saml" { // Netlify's one, which needs no connection
		_, err := k.SSO(ctx, j.Provider)
		if err != nil {
			return "", err
		}
	}
	return "https://idp.example/sso?RelayState=" + url.QueryEscape(j.State), nil
}

func (c *company) Receive(_ context.Context, _ *auth.Kit, in auth.Input) (auth.Account, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.accounts[in.Token]
	if !ok {
		return a, &auth.Error{Code: auth.AssertionFailed, Params: map[string]any{"problem": "The signature is not right"}}
	}
	return a, nil
}

func (c *company) Finish(ctx context.Context, k *auth.Kit, in auth.Input) (auth.Verdict, error) {
	a, err := k.Received(ctx, "saml", in)
	if err != nil {
		return nil, err
	}
	return k.Vouch(in, a), nil
}

// asserts is what the company posts of an account.
func (c *company) asserts(subject, email string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.accounts == nil {
		c.accounts = map[string]auth.Account{}
	}
	a := authtest.Person("sso:0b0a0000-0000-4000-8000-00000000abcd", subject, email)
	a.SSO, a.AMR, a.Tokens = true, "sso/saml", auth.Tokens{}
	name := "response-" + subject
	c.accounts[name] = a
	return name
}

// connected is a house that has the company's people sign in. Its metadata are
// the name of whose they are.
func (c *company) connected(s *setup) {
	s.edge.SAML, s.edge.SAMLName = true, "Acme"
	s.edge.Metadata = func() ([]byte, error) { return []byte("<EntityDescriptor/>"), nil }
	s.readIdP = func(_ context.Context, xml []byte, url string) (auth.IdPMetadata, error) {
		if strings.Contains(url, "nowhere") {
			return auth.IdPMetadata{}, errors.New("dial tcp: lookup nowhere.example: no such host")
		}
		return auth.IdPMetadata{EntityID: string(xml) + url, XML: append([]byte("<md/>"), xml...)}, nil
	}
	before := s.methods
	s.methods = func(all []auth.Method) []auth.Method {
		if before != nil {
			all = before(all)
		}
		return append(all, c)
	}
}

// browser keeps cookies as browsers do.
type browser struct {
	h   *house
	jar *cookiejar.Jar
}

func newBrowser(h *house) *browser {
	h.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return &browser{h, jar}
}

// get opens a path of this server, or an address that begins with it.
func (b *browser) get(target string, headers ...string) answer {
	b.h.t.Helper()
	return b.send("GET", strings.TrimPrefix(target, external), "", headers...)
}

// press sends a form of one of this server's pages.
func (b *browser) press(target string, v url.Values, headers ...string) answer {
	b.h.t.Helper()
	return b.send("POST", target, v.Encode(), append(headers, "Content-Type: application/x-www-form-urlencoded", "Sec-Fetch-Site: same-origin")...)
}

func (b *browser) send(method, target, body string, headers ...string) answer {
	b.h.t.Helper()
	at, err := url.Parse(external + target)
	if err != nil {
		b.h.t.Fatal(err)
	}
	r := newRequest(method, target, strings.NewReader(body), headers...)
	for _, c := range b.jar.Cookies(at) {
		r.AddCookie(c)
	}
	a := b.h.send(r)
	b.jar.SetCookies(at, a.Result().Cookies())
	return a
}

// flows are the journeys the browser is on.
func (b *browser) flows() (names []string) {
	at, _ := url.Parse(external)
	for _, c := range b.jar.Cookies(at) {
		if strings.HasPrefix(c.Name, "gh_flow_") {
			names = append(names, c.Name)
		}
	}
	return names
}

// setOut goes to a provider, and returns the state it was sent there with.
func (b *browser) setOut(query string, headers ...string) (state string) {
	b.h.t.Helper()
	a := b.get("/authorize?"+query, headers...)
	if a.Code != http.StatusFound {
		b.h.t.Fatalf("GET /authorize?%s = %d, want 302: %s", query, a.Code, a.Body)
	}
	return stateOf(b.h.t, a)
}

func stateOf(t testing.TB, a answer) string {
	t.Helper()
	u := location(t, a)
	state := u.Query().Get("state") + u.Query().Get("RelayState")
	if state == "" {
		t.Fatalf("%s has no state", u)
	}
	return state
}

// location is where an answer leads.
func location(t testing.TB, a answer) *url.URL {
	t.Helper()
	u, err := url.Parse(a.Header().Get("Location"))
	if err != nil || a.Header().Get("Location") == "" {
		t.Fatalf("%d leads to %q (%v): %s", a.Code, a.Header().Get("Location"), err, a.Body)
	}
	if a.Header().Get("Cache-Control") != "no-store" || a.Header().Get("Referrer-Policy") != "no-referrer" || a.Body.Len() > 0 {
		t.Errorf("the redirect has the headers %v and the body %q; want it kept by nobody, told to nobody, and empty", a.Header(), a.Body)
	}
	return u
}

// fragmentOf is what a redirect carries in its fragment.
func fragmentOf(t testing.TB, a answer) url.Values {
	t.Helper()
	u := location(t, a)
	v, err := url.ParseQuery(u.EscapedFragment())
	if err != nil {
		t.Fatalf("the fragment of %s: %v", u, err)
	}
	return v
}

// comeBack ends a journey with an account.
func (b *browser) comeBack(state string, as auth.Account) answer {
	b.h.t.Helper()
	return b.get("/callback?" + url.Values{"state": {state}, "code": {b.h.Elsewhere.Code(as)}}.Encode())
}

// userOf is who an access token is of.
func (h *house) userOf(access string) answer {
	h.t.Helper()
	return h.must(http.StatusOK, "GET", "/user", "", bearer(access))
}
