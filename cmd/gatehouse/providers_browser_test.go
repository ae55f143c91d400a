package main

import (
	"fmt"
	"html"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"gatehouse/internal/config"
	"gatehouse/internal/idptest"
)

// Who servers under test are to every provider.
const (
	ourClient  = "gatehouse-under-test"
	ourSecret  = "what only we and the provider know"
	ourAppPage = "https://app.example.com/welcome"
)

// elsewhere is a server whose people have accounts elsewhere, and the place where
// they have them.
type elsewhere struct {
	*server
	idp *idptest.Provider
}

// vendors are the providers of the list.
func vendors() []config.NamedProvider { return (&config.Providers{}).All() }

// providerSettings turn providers on, all of the list if none is named, with idp
// in the place of each.
func providerSettings(idp *idptest.Provider, names ...string) []string {
	list := []string{
		"GATEHOUSE_OUTGOING_ALLOW_PRIVATE=true", "GATEHOUSE_RATE_LIMITS=off", "GOTRUE_SMTP_MAX_FREQUENCY=0s", "GATEHOUSE_MAILER_MAX_PER_RECIPIENT=0",
		"GOTRUE_URI_ALLOW_LIST=https://app.example.com/**", "GOTRUE_SECURITY_MANUAL_LINKING_ENABLED=true",
	}
	for _, p := range vendors() {
		on := len(names) == 0
		for _, name := range names {
			on = on || name == p.Name
		}
		if !on {
			continue
		}
		set := func(x, value string) { list = append(list, "GOTRUE_"+p.Setting(x)+"="+value) }
		set("ENABLED", "true")
		set("CLIENT_ID", ourClient)
		set("URL", idp.Base(p.Name))
		if p.Name != "apple" {
			set("SECRET", ourSecret)
			continue
		}
		idp.Client(ourClient, ourSecret) // the key is the client's
		k := idp.Apple(ourClient)
		list = append(list, "GOTRUE_EXTERNAL_APPLE_TEAM_ID="+k.TeamID, "GOTRUE_EXTERNAL_APPLE_KEY_ID="+k.KeyID,
			"GOTRUE_EXTERNAL_APPLE_PRIVATE_KEY="+strings.ReplaceAll(k.PrivateKey, "\n", `\n`))
	}
	return list
}

// startElsewhere starts a server with the settings, and registers it at idp.
func startElsewhere(t *testing.T, idp *idptest.Provider, settings ...string) *elsewhere {
	t.Helper()
	e := &elsewhere{start(t, settings...), idp}
	idp.Client(ourClient, ourSecret, e.url+"/callback")
	return e
}

// forTest is e with another test to fail.
func (e *elsewhere) forTest(t *testing.T) *elsewhere {
	s := *e.server
	s.t = t
	return &elsewhere{&s, e.idp}
}

// browser keeps cookies, and goes where it is sent one step at a time.
type browser struct {
	*elsewhere
	http *http.Client
}

// browser is one of somebody who is signed in at the provider under that subject;
// with none, as whoever signed in there last.
func (e *elsewhere) browser(subject string) *browser {
	e.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		e.t.Fatal(err)
	}
	at, err := url.Parse(e.idp.URL())
	if err != nil {
		e.t.Fatal(err)
	}
	if subject != "" {
		jar.SetCookies(at, []*http.Cookie{{Name: "idptest_person", Value: subject}})
	}
	c := *e.server.http
	c.Jar = jar
	return &browser{e, &c}
}

// step is one request, with the browser's cookies.
func (b *browser) step(method, address string, body url.Values, headers ...string) answer {
	b.t.Helper()
	s := *b.server
	s.http = b.http
	var in any
	if body != nil {
		in = body
	}
	a, err := s.ask(method, address, in, headers...)
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

// landing is where a journey ends, with what is said in query and fragment.
type landing struct {
	page        string
	query, said url.Values
}

// String leaves out what opens a door.
func (l landing) String() string {
	shown := func(v url.Values) url.Values {
		out := url.Values{}
		for key, list := range v {
			if out[key] = list; strings.HasSuffix(key, "_token") || key == "code" {
				out.Set(key, "…")
			}
		}
		return out
	}
	return fmt.Sprintf("%s, with %v and %v", l.page, shown(l.query), shown(l.said))
}

// land parts where a redirect leads to.
func (b *browser) land(a answer) landing {
	b.t.Helper()
	if a.status != http.StatusFound && a.status != http.StatusSeeOther {
		b.t.Fatalf("got %d, want a redirect: %s", a.status, a.body)
	}
	u, err := url.Parse(a.header.Get("Location"))
	if err != nil {
		b.t.Fatal(err)
	}
	l := landing{query: u.Query()}
	l.said, err = url.ParseQuery(u.EscapedFragment())
	if err != nil {
		b.t.Fatal(err)
	}
	u.RawQuery, u.Fragment, u.RawFragment = "", "", ""
	l.page = u.String()
	return l
}

// wish is how an application asks for a provider.
func wish(provider string, more ...string) url.Values {
	q := url.Values{"provider": {provider}, "redirect_to": {ourAppPage}}
	if provider == "workos" {
		q.Set("workos_provider", "authkit") // it has to be told which of its own to ask
	}
	for i := 0; i+1 < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	return q
}

// setOut leaves for the provider and returns the address of its page.
func (b *browser) setOut(q url.Values) string {
	b.t.Helper()
	a := b.step("GET", "/authorize?"+q.Encode(), nil)
	if a.status != http.StatusFound {
		b.t.Fatalf("GET /authorize?%s: got %d, want 302: %s", q.Encode(), a.status, a.body)
	}
	return a.header.Get("Location")
}

var (
	actionOf = regexp.MustCompile(`<form method="post" action="([^"]*)"`)
	inputOf  = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)
)

// way is how a provider sends a browser back.
type way struct {
	at   string
	form url.Values // of a page that posts itself
}

// decide presses a button of the provider's page, "allow" or "deny", and returns
// the way back, which it does not take.
func (b *browser) decide(page, decision string) way {
	b.t.Helper()
	a := b.step("GET", page, nil)
	if m := actionOf.FindStringSubmatch(a.body); m != nil && strings.Contains(a.body, `name="decision"`) {
		a = b.step("POST", b.idp.URL()+html.UnescapeString(m[1]), url.Values{"decision": {decision}})
	}
	if a.status == http.StatusFound {
		return way{at: a.header.Get("Location")}
	}
	m := actionOf.FindStringSubmatch(a.body)
	if a.status != http.StatusOK || m == nil {
		b.t.Fatalf("the provider answers %d: %s", a.status, a.body)
	}
	w := way{at: html.UnescapeString(m[1]), form: url.Values{}}
	for _, in := range inputOf.FindAllStringSubmatch(a.body, -1) {
		w.form.Set(html.UnescapeString(in[1]), html.UnescapeString(in[2]))
	}
	return w
}

// changed is w with parameters of the answer set anew, or left out if empty.
func (w way) changed(pairs ...string) way {
	u, err := url.Parse(w.at)
	if err != nil {
		panic(err)
	}
	v := u.Query()
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
		if pairs[i+1] == "" {
			v.Del(pairs[i])
		}
	}
	u.RawQuery = v.Encode()
	return way{at: u.String()}
}

// param is what the answer says under a name.
func (w way) param(name string) string {
	u, err := url.Parse(w.at)
	if err != nil {
		panic(err)
	}
	if w.form != nil {
		return w.form.Get(name)
	}
	return u.Query().Get(name)
}

// comeBack takes the way back. A page of another site that posts itself brings no
// cookies of ours, which are Lax.
func (b *browser) comeBack(w way) landing {
	b.t.Helper()
	if w.form == nil {
		return b.land(b.step("GET", w.at, nil))
	}
	a, err := b.ask("POST", w.at, w.form, "Sec-Fetch-Site: cross-site", "Origin: "+b.idp.URL())
	if err != nil {
		b.t.Fatal(err)
	}
	if a.status != http.StatusSeeOther {
		b.t.Fatalf("POST %s: got %d, want 303: %s", w.at, a.status, a.body)
	}
	base, err := url.Parse(w.at)
	if err != nil {
		b.t.Fatal(err)
	}
	next, err := base.Parse(a.header.Get("Location"))
	if err != nil {
		b.t.Fatal(err)
	}
	return b.land(b.step("GET", next.String(), nil))
}

// enter is the whole journey.
func (b *browser) enter(q url.Values) landing {
	b.t.Helper()
	return b.comeBack(b.decide(b.setOut(q), "allow"))
}

// signedIn fails the test unless a journey has opened a session, and returns
// whose.
func (b *browser) signedIn(l landing) answer {
	b.t.Helper()
	if l.page != ourAppPage || l.said.Get("access_token") == "" || l.said.Get("refresh_token") == "" || l.query.Has("error") {
		b.t.Fatalf("the journey ends at %v, want a session", l)
	}
	return b.do(200, "GET", "/user", nil, bearer(l.said.Get("access_token")))
}

// refused fails the test unless a journey has ended with an error of that code and
// with nothing that opens a door, and returns what was said.
func (b *browser) refused(l landing, code string) url.Values {
	b.t.Helper()
	if l.page != ourAppPage || l.said.Get("error_code") != code || l.query.Get("error_code") != code {
		b.t.Errorf("the journey ends at %v, want %s in both", l, code)
	}
	b.empty(l)
	return l.said
}

// empty fails the test if a journey brought anything that opens a door.
func (b *browser) empty(l landing) {
	b.t.Helper()
	for _, key := range []string{"access_token", "refresh_token", "provider_token", "code"} {
		if l.said.Has(key) || l.query.Has(key) {
			b.t.Errorf("the journey brings a %s: %v", key, l)
		}
	}
}

// stray fails the test unless a journey ended at the site, with an error in the
// query alone.
func (b *browser) stray(l landing, code string) {
	b.t.Helper()
	if l.page == ourAppPage || l.query.Get("error_code") != code || len(l.said) > 0 {
		b.t.Errorf("the journey ends at %v, want %s at the site", l, code)
	}
	b.empty(l)
}

// population is how many users there are.
func (e *elsewhere) population() string {
	e.t.Helper()
	return e.do(200, "GET", "/admin/users", nil, bearer(operator)).header.Get("X-Total-Count")
}

// somebody is a person of that number with a verified address at a provider.
func somebody(n int, email string) idptest.Person {
	return idptest.Person{
		Subject: fmt.Sprint(n), Email: email, Name: "Ada Lovelace", Username: "Ada" + fmt.Sprint(n),
		Avatar: fmt.Sprintf("https://pictures.example.com/%d.png", n),
	}
}
