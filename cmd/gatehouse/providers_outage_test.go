package main

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/idptest"
)

// meanwhile takes a way that may be long, and hands out where it ended.
func (b *browser) meanwhile(address string) <-chan answer {
	done := make(chan answer, 1)
	s := *b.server
	s.http = b.http
	go func() {
		a, err := s.ask("GET", address, nil)
		if err != nil {
			a.body = err.Error()
		}
		done <- a
	}()
	return done
}

func TestThreat_F08_aProviderThatHangsHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()
	idp := idptest.New(t)
	e := startElsewhere(t, idp, providerSettings(idp)...)
	for n := range 7 {
		idp.Person(somebody(n+1, fmt.Sprintf("ada%d@example.com", n+1)))
	}
	hang, drip := idptest.Failure{Hang: true}, idptest.Failure{Drip: true}
	idp.Fail("/google/token", hang)
	idp.Fail("/github/api/v3/user", hang)
	idp.Fail("/discord/api/users/@me", drip)
	idp.Fail("/azure/"+idptest.Tenant+"/discovery/v2.0/keys", hang)
	idp.Fail("/keycloak/realms/test/.well-known/openid-configuration", hang)
	under := map[string]<-chan answer{}
	for n, name := range []string{"google", "github", "discord", "azure"} {
		b := e.browser(fmt.Sprint(n + 1))
		under[name] = b.meanwhile(b.decide(b.setOut(wish(name)), "allow").at)
	}
	under["keycloak"] = e.browser("5").meanwhile("/authorize?" + wish("keycloak").Encode())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, what := range []string{"/google/token", "/github/api/v3/user", "/discord/api/users/@me"} {
		err := idp.Await(ctx, what, 1)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	other := e.browser("6")
	other.signedIn(other.enter(wish("gitlab")))
	other.signedIn(other.enter(wish("facebook")))
	e.person("bob@example.com")
	e.signIn("bob@example.com", password)
	for name, done := range under {
		l := other.land(<-done)
		said := other.refused(l, "unexpected_failure")
		if said.Get("error") != "temporarily_unavailable" || !strings.Contains(said.Get("error_description"), "does not answer") {
			t.Errorf("%s: who has waited is told %v", name, said)
		}
	}
	// Who has said no page is told at the site.
	a := e.do(302, "GET", "/authorize?provider=keycloak", nil)
	if at := a.header.Get("Location"); !strings.Contains(at, "error=temporarily_unavailable") {
		t.Errorf("it leads to %s", at)
	}
	idp.Heal()
	for _, name := range []string{"google", "github", "discord"} {
		b := e.browser("7")
		b.enter(wish(name))
		b.signedIn(b.enter(wish(name)))
	}
}

func TestThreat_F08_whateverAProviderAnswersIsToldAtThePage(t *testing.T) {
	t.Parallel()
	idp := idptest.New(t)
	e := startElsewhere(t, idp, providerSettings(idp, "google", "github", "keycloak")...)
	idp.Person(somebody(1, "ada@example.com"))
	b := e.browser("1")
	for what, c := range map[string]struct {
		idptest.Failure
		error string
	}{
		"503":     {idptest.Failure{Status: 503}, "temporarily_unavailable"},
		"500":     {idptest.Failure{Status: 500, Body: `{"error":"server_error"}`}, "temporarily_unavailable"},
		"429":     {idptest.Failure{Status: 429}, "temporarily_unavailable"},
		"cut off": {idptest.Failure{Cut: true}, "temporarily_unavailable"},
		"a page":  {idptest.Failure{Garbage: true}, "server_error"},
		"404":     {idptest.Failure{Status: 404}, "server_error"},
		"huge":    {idptest.Failure{Huge: true}, "server_error"},
		"null":    {idptest.Failure{Body: `null`}, "server_error"},
		"a list":  {idptest.Failure{Body: `[1]`}, "server_error"},
		"nothing": {idptest.Failure{Body: `{}`}, "server_error"},
	} {
		for _, at := range []string{"/google/token", "/github/login/oauth/access_token", "/github/api/v3/user", "/keycloak/realms/test/protocol/openid-connect/token"} {
			name, _, _ := strings.Cut(at[1:], "/")
			idp.Fail(at, c.Failure)
			said := b.refused(b.enter(wish(name)), "unexpected_failure")
			if said.Get("error") != c.error {
				t.Errorf("%s of %s: the page is told %v, want %s", what, at, said, c.error)
			}
			idp.Heal(at)
		}
	}
	if got := e.population(); got != "0" {
		t.Errorf("there are %s users", got)
	}
	b.signedIn(b.enter(wish("google")))
}

// While the keys of an issuer are not to be had, those that are known go on; and
// of all who come at once, before and after, one goes for them.
func TestThreat_F08_knownKeysGoOnAndNobodyStampedes(t *testing.T) {
	t.Parallel()
	idp := idptest.New(t)
	e := startElsewhere(t, idp, append(providerSettings(idp, "google"), "GATEHOUSE_EXTERNAL_OIDC_PROVIDER_CACHE_TTL=1s")...)
	token := e.appToken("google", somebody(1, "ada@example.com"), nil)
	e.person("ada@example.com")
	crowd := func(when, token string, want int) {
		t.Helper()
		const people = 30
		got := make(chan answer, people)
		var all sync.WaitGroup
		for range people {
			all.Go(func() {
				a, err := e.ask("POST", "/token?grant_type=id_token", object{"provider": "google", "id_token": token})
				if err != nil {
					a.body = err.Error()
				}
				got <- a
			})
		}
		all.Wait()
		for range people {
			if a := <-got; a.status != want {
				t.Errorf("%s: answered %d %s, want %d", when, a.status, a.body, want)
			}
		}
	}
	asked := func(when string, since, most int) int {
		t.Helper()
		n := idp.Count("jwks")
		if n-since > most {
			t.Errorf("%s the keys were fetched %d times, want %d at most", when, n-since, most)
		}
		return n
	}
	idp.Fail("jwks", idptest.Failure{Delay: 100 * time.Millisecond, Times: 1})
	crowd("at the beginning", token, 200)
	asked("at the beginning", 0, 1)

	idp.Fail("jwks", idptest.Failure{Status: 503})
	idp.Fail("discovery", idptest.Failure{Status: 503})
	before := idp.Count("jwks")
	until(t, "the keys are asked for in vain", func() bool {
		e.byToken(200, "google", token, nil)
		return idp.Count("jwks") > before
	})
	crowd("while they are down", token, 200)
	before = asked("while they are down", before, 2)

	idp.Heal()
	crowd("when they are back", token, 200)
	before = asked("when they are back", before, 2)
	crowd("with a key that nobody knows", idp.Token("google", object{"aud": ourClient, "sub": "1"}, idptest.Forgery{Stranger: true, Header: object{"kid": "unheard-of"}}), 400)
	asked("for keys that nobody knows", before, 2)
}

// regular is somebody with a session that stands on a provider's word.
type regular struct {
	who             idptest.Person
	id              string
	access, refresh string
}

// regulars sign in by every provider that tells an address.
func regulars(t *testing.T, e *elsewhere) map[string]*regular {
	t.Helper()
	people := map[string]*regular{}
	for n, name := range journeys(t) {
		if quirks[name].word == mute {
			continue
		}
		g := &regular{who: somebody(n+1, name+"@example.com")}
		e.idp.Person(g.who)
		b := e.browser(g.who.Subject)
		q := wish(name)
		if name == "azure" {
			q.Set("scopes", "offline_access") // or there is nothing to ask again with
		}
		l := b.enter(q)
		g.id = b.signedIn(l).text("id")
		g.access, g.refresh = l.said.Get("access_token"), l.said.Get("refresh_token")
		people[name] = g
	}
	return people
}

// refreshAll refreshes everybody's session again and again, until done says so of
// each.
func (e *elsewhere) refreshAll(what string, people map[string]*regular, done func(name string, g *regular, a answer) bool) {
	e.t.Helper()
	open := maps.Clone(people)
	until(e.t, what, func() bool {
		for name, g := range open {
			a, err := e.ask("POST", "/token?grant_type=refresh_token", object{"refresh_token": g.refresh})
			if err != nil {
				e.t.Fatal(err)
			}
			if a.status == 200 {
				g.access, g.refresh = a.text("access_token"), a.text("refresh_token")
			}
			if done(name, g, a) {
				delete(open, name)
			}
		}
		return len(open) == 0
	})
}

// What a provider says of its people is asked again when it is too old.
//
// Mission: T07
func TestProvider_isAskedAgainAboutASession(t *testing.T) {
	t.Parallel()
	idp := idptest.New(t)
	e := startElsewhere(t, idp, append(providerSettings(idp), "GATEHOUSE_EXTERNAL_RECHECK=1s", "GOTRUE_MAILER_AUTOCONFIRM=true")...)
	people := regulars(t, e)
	for _, g := range people {
		g.who.Name, g.who.Username = "Augusta King", "Augusta King"
		idp.Person(g.who)
	}
	e.refreshAll("everybody's new name", people, func(name string, g *regular, a answer) bool {
		if a.status != 200 {
			t.Errorf("%s does not stand by its session: %s", name, a.body)
			return true
		}
		if a.text("user", "email") != g.who.Email || a.text("user", "id") != g.id {
			t.Errorf("%s: the user is %s", name, a.body)
		}
		return name == "apple" || a.text("user", "user_metadata", "name") == "Augusta King" // Apple tells a name once
	})

	// Some are down, and all who are not take back what they said.
	down := map[string]*regular{}
	paths := map[string]string{"github": "/github/api/v3/user", "google": "/google/v1/userinfo", "discord": "/discord/api/users/@me"}
	for name, path := range paths {
		idp.Fail(path, idptest.Failure{Status: 503})
		down[name] = people[name]
		delete(people, name)
	}
	for _, g := range people {
		idp.Revoke(g.who.Subject)
	}
	e.refreshAll("everybody is out", people, func(name string, g *regular, a answer) bool {
		if a.status == 200 {
			return false
		}
		if a.text("refresh_token") != "" || a.text("error_code") != "session_expired" {
			t.Errorf("%s: it is answered %d %s", name, a.status, a.body)
		}
		e.do(403, "GET", "/user", nil, bearer(g.access)) // nor does the access token outlive it
		return true
	})
	idp.Forget()
	e.refreshAll("who is down was asked", down, func(name string, _ *regular, a answer) bool {
		if a.status != 200 {
			t.Errorf("%s is down, and its session is over: %s", name, a.body)
			return true
		}
		return idp.Count(paths[name]) > 0
	})
	for _, g := range down {
		e.refresh(200, g.refresh)
	}
}
