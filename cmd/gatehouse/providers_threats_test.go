package main

import (
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"gatehouse/internal/idptest"
)

// scene is a server with a victim and an attacker, who both have accounts at the
// providers; the victim has signed in by one of them.
type scene struct {
	*elsewhere
	victim, attacker *browser
	who              [2]idptest.Person
	id               string // the victim's user
}

// stage sets a scene: the victim's account is at the provider.
func stage(t *testing.T, provider string, settings ...string) *scene {
	t.Helper()
	idp := idptest.New(t)
	e := startElsewhere(t, idp, append(providerSettings(idp), settings...)...)
	who := [2]idptest.Person{somebody(1, "victim@example.com"), somebody(2, "mallory@example.com")}
	idp.Person(who[0])
	idp.Person(who[1])
	s := &scene{elsewhere: e, victim: e.browser("1"), attacker: e.browser("2"), who: who}
	s.id = s.victim.signedIn(s.victim.enter(wish(provider))).text("id")
	return s
}

// token is an ID token of a person, as an app would bring it.
func (s *scene) token(vendor string, who idptest.Person, f idptest.Forgery) string {
	claims := object{"aud": ourClient, "sub": who.Subject, "email": who.Email, "email_verified": true, "name": who.Name}
	if who.EmailVerified != nil {
		claims["email_verified"] = who.EmailVerified
	}
	return s.idp.Token(vendor, claims, f)
}

// bring signs in with an ID token.
func (s *scene) bring(provider, token string, more ...string) answer {
	s.t.Helper()
	in := object{"provider": provider, "id_token": token}
	for i := 0; i+1 < len(more); i += 2 {
		in[more[i]] = more[i+1]
	}
	a, err := s.ask("POST", "/token?grant_type=id_token", in)
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// kept fails the test if the victim's user is not as it was, or has another way in
// than the victim's own.
func (s *scene) kept(identities int) {
	s.t.Helper()
	u := s.do(200, "GET", "/admin/users/"+s.id, nil, bearer(operator))
	list, _ := u.at("identities").([]any)
	if u.text("email") != "victim@example.com" || len(list) != identities {
		s.t.Errorf("the victim's user is %s", u.body)
	}
}

// outside fails the test if what came back is a session of the victim's user.
func (s *scene) outside(l landing) {
	s.t.Helper()
	for _, token := range []string{l.said.Get("access_token"), l.query.Get("access_token")} {
		if token == "" {
			continue
		}
		if u := s.do(200, "GET", "/user", nil, bearer(token)); u.text("id") == s.id {
			s.t.Errorf("it leads into the victim's account: %s", u.body)
		}
	}
}

func TestThreat_F01_aJourneyEndsInTheBrowserThatSetOut(t *testing.T) {
	t.Parallel()
	s := stage(t, "google")
	for _, name := range []string{"google", "github", "facebook", "apple"} {
		// 1. The attacker's answer, opened by the victim: they would work in the
		// attacker's account and not know it.
		own := s.attacker.decide(s.attacker.setOut(wish(name)), "allow")
		s.victim.stray(s.victim.comeBack(own), "bad_oauth_state")
		// 2. The victim's answer, opened by the attacker.
		theirs := s.victim.decide(s.victim.setOut(wish(name)), "allow")
		s.attacker.stray(s.attacker.comeBack(theirs), "bad_oauth_state")
		// 3. No state, and states nobody made.
		for _, state := range []string{"", "x", strings.Repeat("A", 43), strings.Repeat("A", 5000)} {
			q := url.Values{"code": {own.param("code")}}
			if state != "" {
				q.Set("state", state)
			}
			s.victim.stray(s.victim.comeBack(way{at: s.url + "/callback?" + q.Encode()}), "bad_oauth_state")
			s.victim.stray(s.victim.comeBack(way{at: s.url + "/callback", form: q}), "bad_oauth_state")
		}
	}
	s.kept(1)
	if got := s.population(); got != "1" {
		t.Errorf("there are %s users, want the victim alone", got)
	}
}

func TestThreat_F01_twoTabsAtOnceEndEachWhereItBegan(t *testing.T) {
	t.Parallel()
	s := stage(t, "google")
	b := s.attacker
	one, two := b.setOut(wish("google", "redirect_to", ourAppPage+"/one")), b.setOut(wish("github", "redirect_to", ourAppPage+"/two"))
	first, second := b.decide(one, "allow"), b.decide(two, "allow")
	for _, tab := range []struct {
		way
		page string
	}{{second, "/two"}, {first, "/one"}} {
		if l := b.comeBack(tab.way); l.page != ourAppPage+tab.page || l.said.Get("access_token") == "" {
			t.Errorf("%s ends at %s with %v", tab.page, l.page, l.said)
		}
		b.stray(b.comeBack(tab.way), "bad_oauth_state") // and not again
	}
	s.kept(1)
}

func TestThreat_F01_aCodeOfAnotherSessionIsNoneOfThisOne(t *testing.T) {
	t.Parallel()
	s := stage(t, "google")
	tried := 0
	for _, name := range journeys(t) {
		page := s.attacker.setOut(wish(name))
		q := mustQuery(t, page)
		if q.Get("code_challenge") == "" && (q.Get("nonce") == "" || name == "linkedin_oidc") {
			continue // it has nothing to tell two sessions apart by
		}
		tried++
		// The attacker has got hold of a code that was made for the victim.
		stolen := s.victim.decide(s.victim.setOut(wish(name)), "allow").param("code")
		own := s.attacker.decide(page, "allow")
		v := url.Values{"state": {own.param("state")}, "code": {stolen}}
		if own.param("iss") != "" {
			v.Set("iss", own.param("iss"))
		}
		l := s.attacker.comeBack(way{at: s.url + "/callback?" + v.Encode()})
		code := "unexpected_failure" // the nonce is another session's
		if q.Get("code_challenge") != "" {
			code = "bad_oauth_callback" // the verifier is, and the provider says no
		}
		s.attacker.refused(l, code)
		s.outside(l)
	}
	if tried < 12 {
		t.Errorf("%d providers were tried, want all that have PKCE or a nonce", tried)
	}
	s.kept(1)
}

func TestThreat_F02_anIDTokenWithoutItsNonceIsNotTaken(t *testing.T) {
	t.Parallel()
	s := stage(t, "google")
	f := idptest.Forgery{Claims: object{"nonce": hexHash("made up by the app")}}
	token := s.token("google", s.who[0], f)
	for what, a := range map[string]answer{
		"without one":   s.bring("google", token),
		"another":       s.bring("google", token, "nonce", "another"),
		"the hash":      s.bring("google", token, "nonce", hexHash("made up by the app")),
		"a token's own": s.bring("google", s.token("google", s.who[0], idptest.Forgery{}), "nonce", "x"),
	} {
		if a.status != 400 || a.text("access_token") != "" || !strings.Contains(strings.ToLower(a.text("error_description")), "nonce") {
			t.Errorf("%s: answered %d %s", what, a.status, a.body)
		}
	}
	if a := s.bring("google", token, "nonce", "made up by the app"); a.status != 200 || a.text("user", "id") != s.id {
		t.Errorf("the right one is answered %d %s", a.status, a.body)
	}
	// Of our own journeys it comes back as it went.
	page := s.attacker.setOut(wish("google"))
	s.idp.Forge(idptest.Forgery{Claims: object{"nonce": "another"}})
	l := s.attacker.comeBack(s.attacker.decide(page, "allow"))
	s.attacker.refused(l, "unexpected_failure")
	s.kept(1)
}

func TestThreat_L01_noRequestChoosesTheIssuer(t *testing.T) {
	t.Parallel()
	s := stage(t, "google")
	evil := idptest.New(t)
	forged := evil.Token("oidc", object{"aud": ourClient, "sub": "1", "email": "victim@example.com", "email_verified": true}, idptest.Forgery{})
	asGoogle := evil.Token("oidc", object{"iss": s.idp.Issuer("google"), "aud": ourClient, "sub": "1", "email": "victim@example.com", "email_verified": true},
		idptest.Forgery{Header: object{"jku": evil.Issuer("oidc") + "/jwks"}})
	fetched := func() int { return s.idp.Count("jwks") + s.idp.Count("discovery") }
	before := fetched()
	for _, token := range []string{forged, asGoogle} {
		for _, provider := range []string{"google", "apple", "azure", "facebook", "kakao", "keycloak", "snapchat", "vercel_marketplace", "custom:evil", "", "oidc", evil.Issuer("oidc")} {
			a := s.bring(provider, token, "issuer", evil.Issuer("oidc"), "client_id", ourClient)
			if a.status != 400 || a.text("access_token") != "" {
				t.Errorf("%q: answered %d %s", provider, a.status, a.body)
			}
		}
		if n := fetched(); token == forged && n != before {
			t.Errorf("for an issuer that is nobody's %d documents were fetched", n-before)
		}
	}
	if got := evil.Requests(); len(got) != 0 {
		t.Errorf("the issuer of the request was asked: %v", got)
	}
	s.kept(1)
}

func TestThreat_L02_entraTokensOfAnotherTenantAreRefused(t *testing.T) {
	t.Parallel()
	s := stage(t, "azure")
	const other = "11111111-2222-3333-4444-555555555555"
	for what, claims := range map[string]object{
		"another tenant":                    {"iss": s.idp.URL() + "/azure/" + other + "/v2.0", "tid": other},
		"another tenant, and ours as tid":   {"iss": s.idp.URL() + "/azure/" + other + "/v2.0", "tid": idptest.Tenant},
		"the shared door":                   {"iss": s.idp.URL() + "/azure/{tenantid}/v2.0"},
		"no issuer":                         {"iss": nil},
		"our issuer with something after":   {"iss": s.idp.Issuer("azure") + "/"},
		"our issuer in capitals, and a tid": {"iss": strings.ToUpper(s.idp.Issuer("azure")), "tid": idptest.Tenant},
	} {
		claims["xms_edov"] = true
		a := s.bring("azure", s.token("azure", s.who[0], idptest.Forgery{Claims: claims}))
		if a.status != 400 || a.text("access_token") != "" {
			t.Errorf("%s: answered %d %s", what, a.status, a.body)
		}
	}
	s.kept(1)
}

func TestThreat_L16_anAnswerIsTakenToWhoeverGaveItAlone(t *testing.T) {
	t.Parallel()
	s := stage(t, "google")
	s.custom(t, "oidc", "custom:evil", "oidc-evil", nil)
	s.custom(t, "oidc", "custom:good", "oidc-good", nil)
	for _, pair := range [][2]string{{"custom:evil", "google"}, {"google", "custom:evil"}, {"github", "google"}, {"custom:evil", "custom:good"}, {"facebook", "github"}} {
		// The attacker set out to one, and brings the victim's answer of the other.
		from := s.attacker.decide(s.attacker.setOut(wish(pair[0])), "allow")
		stolen := s.victim.decide(s.victim.setOut(wish(pair[1])), "allow")
		for _, iss := range []string{from.param("iss"), stolen.param("iss"), "https://evil.example", ""} {
			v := url.Values{"state": {from.param("state")}, "code": {stolen.param("code")}}
			if iss != "" {
				v.Set("iss", iss)
			}
			l := s.attacker.comeBack(way{at: s.url + "/callback?" + v.Encode()})
			s.attacker.empty(l)
			if !l.query.Has("error") {
				t.Errorf("%s with the answer of %s ends at %s with %v", pair[0], pair[1], l.page, l.query)
			}
			from = s.attacker.decide(s.attacker.setOut(wish(pair[0])), "allow")
		}
	}
	// An honest code under another issuer's name, and under none where one was
	// promised, is not even taken to the token endpoint (RFC 9207 §2.4).
	for _, iss := range []string{"https://evil.example", s.idp.Issuer("oidc-evil"), s.idp.Issuer("oidc-good") + "/", ""} {
		own := s.attacker.decide(s.attacker.setOut(wish("custom:good")), "allow")
		before := s.idp.Count("/oidc-good/token")
		s.attacker.refused(s.attacker.comeBack(own.changed("iss", iss)), "unexpected_failure")
		if after := s.idp.Count("/oidc-good/token"); after != before {
			t.Errorf("with the issuer %q its code was spent", iss)
		}
	}
	s.attacker.signedIn(s.attacker.enter(wish("custom:good")))
	s.kept(1)
}

func TestThreat_L17_manyAtOnceGetTheirOwnProfilesEach(t *testing.T) {
	t.Parallel()
	s := stage(t, "google")
	names := []string{"google", "github", "discord", "gitlab", "facebook", "keycloak"}
	var all sync.WaitGroup
	var mu sync.Mutex // guards got
	got := map[string]string{}
	for n := range 24 {
		who := somebody(100+n, fmt.Sprintf("guest%d@example.com", n))
		s.idp.Person(who)
		b := s.browser(who.Subject)
		page := b.setOut(wish(names[n%len(names)]))
		back := b.decide(page, "allow")
		all.Go(func() {
			a, err := b.http.Get(back.at)
			if err != nil {
				return
			}
			a.Body.Close()
			_, fragment, _ := strings.Cut(a.Header.Get("Location"), "#")
			said, err := url.ParseQuery(fragment)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				got[who.Email] = said.Get("access_token")
			}
		})
	}
	all.Wait()
	for n := range 24 {
		email := fmt.Sprintf("guest%d@example.com", n)
		if got[email] == "" {
			t.Errorf("%s got no session", email)
			continue
		}
		if u := s.do(200, "GET", "/user", nil, bearer(got[email])); u.text("email") != email {
			t.Errorf("%s is %s", email, u.text("email"))
		}
	}
	s.kept(1)
}

func TestThreat_L18_whatCameBackOnceComesBackNoMore(t *testing.T) {
	t.Parallel()
	s := stage(t, "google")
	for _, name := range []string{"google", "github", "apple"} {
		page := s.victim.setOut(wish(name))
		jar := s.victim.http.Jar
		// What the browser keeps may be copied before it is forgotten there.
		at, err := url.Parse(s.url + "/callback")
		if err != nil {
			t.Fatal(err)
		}
		copied := jar.Cookies(at)
		back := s.victim.decide(page, "allow")
		s.victim.comeBack(back)
		spent := s.idp.Count("token")
		jar.SetCookies(at, copied)
		s.victim.stray(s.victim.comeBack(back), "bad_oauth_state")
		if n := s.idp.Count("token"); n != spent {
			t.Errorf("%s: the code of a journey that is over was spent again", name)
		}
	}
}

func TestThreat_L20_aProviderTurnedOffMeanwhileSignsNobodyIn(t *testing.T) {
	t.Parallel()
	s := stage(t, "google")
	s.custom(t, "oidc", "custom:acme", "oidc-acme", nil)
	in := s.victim.enter(wish("custom:acme"))
	s.victim.signedIn(in)
	under := s.victim.decide(s.victim.setOut(wish("custom:acme")), "allow")
	s.do(200, "PUT", "/admin/custom-providers/custom:acme", object{"enabled": false}, bearer(operator))
	s.victim.refused(s.victim.comeBack(under), "validation_failed")
	s.do(400, "GET", "/authorize?provider=custom:acme", nil)
	a := s.bring("custom:acme", s.token("oidc-acme", s.who[0], idptest.Forgery{}))
	if a.status != 400 || a.text("error_code") != "provider_disabled" {
		t.Errorf("an ID token of it is answered %d %s", a.status, a.body)
	}
	s.do(200, "PUT", "/admin/custom-providers/custom:acme", object{"enabled": true}, bearer(operator))
	s.victim.signedIn(s.victim.enter(wish("custom:acme")))
}

func TestThreat_L21_noProviderMakesAUserWhereSignUpIsClosed(t *testing.T) {
	t.Parallel()
	idp := idptest.New(t)
	e := startElsewhere(t, idp, append(providerSettings(idp, "google", "github", "spotify"), "GOTRUE_DISABLE_SIGNUP=true")...)
	idp.Person(somebody(1, "ada@example.com"))
	b := e.browser("1")
	for _, name := range []string{"google", "github", "spotify"} {
		b.refused(b.enter(wish(name)), "signup_disabled")
	}
	a := e.do(422, "POST", "/token?grant_type=id_token", object{
		"provider": "google", "id_token": idp.Token("google", object{"aud": ourClient, "sub": "1", "email": "ada@example.com", "email_verified": true}, idptest.Forgery{}),
	})
	if a.text("error_code") != "signup_disabled" || e.population() != "0" {
		t.Errorf("an ID token is answered %s, and there are %s users", a.body, e.population())
	}
	id := e.person("ada@example.com") // who is here already, and proved
	if u := b.signedIn(b.enter(wish("google"))); u.text("id") != id {
		t.Errorf("who is here already becomes %s", u.body)
	}
}

func TestThreat_F05_aPictureIsNotFetched(t *testing.T) {
	t.Parallel()
	s := stage(t, "google")
	who := s.who[0]
	who.Avatar = s.idp.URL() + "/picture.png"
	s.idp.Person(who)
	for _, name := range []string{"google", "github", "gitlab", "facebook", "slack_oidc"} {
		s.victim.enter(wish(name))
	}
	if u := s.do(200, "GET", "/admin/users/"+s.id, nil, bearer(operator)); u.text("user_metadata", "avatar_url") != who.Avatar {
		t.Errorf("the picture is not in %s", u.body)
	}
	if n := s.idp.Count("/picture.png"); n != 0 {
		t.Errorf("it was fetched %d times", n)
	}
}
