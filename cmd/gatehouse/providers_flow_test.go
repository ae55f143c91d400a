package main

import (
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/idptest"
)

// Mission: S07, S09
func TestProvider_itsPageIsAskedInOurNameAlone(t *testing.T) {
	t.Parallel()
	idp := idptest.New(t)
	all := startElsewhere(t, idp, providerSettings(idp)...)
	for _, name := range journeys(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := all.forTest(t).browser("")
			const odd = `a b&client_id=evil#f/?=é"`
			page := b.setOut(wish(name, "hint", odd, "scopes", "more_than_usual", "client_id", "evil", "redirect_uri", "https://evil.example",
				"state", "evil", "response_type", "token", "scope", "evil", "client_secret", "evil", "code_challenge_method", ""))
			u, err := url.Parse(page)
			if err != nil {
				t.Fatal(err)
			}
			q := u.Query()
			for key, want := range map[string]string{"client_id": ourClient, "redirect_uri": b.url + "/callback", "response_type": "code", "hint": odd} {
				if !slices.Equal(q[key], []string{want}) {
					t.Errorf("%s: got %q, want %q", key, q[key], want)
				}
			}
			if !strings.HasPrefix(page, idp.Base(name)+"/") {
				t.Errorf("the page is %s, want it below %s", page, idp.Base(name))
			}
			if !strings.Contains(q.Get("scope"), "more_than_usual") || strings.Contains(q.Get("scope"), "evil") || q.Has("client_secret") || q.Has("redirect_to") {
				t.Errorf("the page is asked for %v", q)
			}
			state := q.Get("state")
			if len(state) < 22 || state == "evil" || strings.Contains(page, "app.example.com") {
				t.Errorf("the state is %q, on %s", state, page)
			}
			if other := mustQuery(t, b.setOut(wish(name))); other.Get("state") == state || other.Get("nonce") != "" && other.Get("nonce") == q.Get("nonce") {
				t.Error("two attempts have one state or nonce")
			}
		})
	}
}

// Mission: C10
func TestProvider_thatIsOffOrUnknownLetsNobodyIn(t *testing.T) {
	t.Parallel()
	idp := idptest.New(t)
	e := startElsewhere(t, idp, append(providerSettings(idp, "gitlab"), "GOTRUE_EXTERNAL_GITHUB_CLIENT_ID="+ourClient, "GOTRUE_EXTERNAL_GITHUB_SECRET="+ourSecret)...)
	for query, want := range map[string]string{
		"provider=github":             "Unsupported provider: provider is not enabled",
		"provider=vercel_marketplace": "Unsupported provider: provider is not enabled",
		"provider=nobody":             "Unsupported provider: nobody",
		"provider=custom:nobody":      "Unsupported provider: custom:nobody",
		"provider=":                   "Unsupported provider",
		"":                            "Unsupported provider",
	} {
		a := e.do(400, "GET", "/authorize?redirect_to="+url.QueryEscape(ourAppPage)+"&"+query, nil)
		if a.text("error_code") != "validation_failed" || !strings.HasPrefix(a.text("msg"), want) {
			t.Errorf("%q is answered %s, want %s", query, a.body, want)
		}
	}
	off := e.do(400, "POST", "/token?grant_type=id_token", object{"provider": "google", "id_token": idp.IDToken("google", ourClient, "", "", idptest.Forgery{})})
	if off.text("error_code") != "provider_disabled" {
		t.Errorf("an ID token of a provider that is off is answered %s", off.body)
	}
	for name, want := range map[string]bool{"gitlab": true, "github": false, "google": false} {
		if got := e.do(200, "GET", "/settings", nil).at("external", name); got != want {
			t.Errorf("the settings say of %s %v", name, got)
		}
	}
	if n := len(idp.Requests()); n != 0 {
		t.Errorf("the provider was asked %d times", n)
	}

	// The one that is on is at an address of its own, and asked there.
	who := somebody(1, "ada@example.com")
	idp.Person(who)
	b := e.browser(who.Subject)
	b.signedIn(b.enter(wish("gitlab")))
	for path, want := range map[string]int{"/gitlab/oauth/authorize": 1, "/gitlab/oauth/token": 1, "/gitlab/api/v4/user": 1} {
		if got := idp.Count(path); got != want {
			t.Errorf("%s was asked %d times, want %d", path, got, want)
		}
	}
}

// Mission: C10
func TestProvider_thatIsIncompleteKeepsTheServerFromStarting(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"github", "apple", "keycloak"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			prefix := "GOTRUE_EXTERNAL_" + strings.ToUpper(name) + "_"
			s := launch(t, t.TempDir(), testSettings([]string{prefix + "ENABLED=true"}))
			t.Cleanup(func() { _ = s.stop() })
			if at, err := s.out.await(`is listening on (\S+)`, s.ended); err == nil {
				t.Fatalf("it listens on %s", at)
			}
			if said := s.err; said == nil || !strings.Contains(said.Error(), strings.TrimPrefix(prefix, "GOTRUE_")+"CLIENT_ID: it is missing") {
				t.Errorf("it ends with %v, and does not name %sCLIENT_ID", said, prefix)
			}
		})
	}
}

// A code that the provider does not know opens nothing, and the journey is over.
//
// Mission: S10
func TestProvider_aCodeThatIsNoneIsAnsweredAtThePage(t *testing.T) {
	t.Parallel()
	idp := idptest.New(t)
	e := startElsewhere(t, idp, providerSettings(idp)...)
	for n, name := range journeys(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			who := somebody(n+1, name+"@example.com")
			idp.Person(who)
			b := e.forTest(t).browser(who.Subject)
			back := b.decide(b.setOut(wish(name)), "allow")
			wrong := way{at: b.url + "/callback?" + url.Values{"state": {back.param("state")}, "code": {"none"}, "iss": {back.param("iss")}}.Encode()}
			if said := b.refused(b.comeBack(wrong), "bad_oauth_callback"); said.Get("error") != "invalid_request" {
				t.Errorf("it is answered %v", said)
			}
			b.stray(b.comeBack(back), "bad_oauth_state") // though the code is good
		})
	}
	t.Cleanup(func() {
		if n := e.population(); n != "0" {
			t.Errorf("there are %s users", n)
		}
	})
}

// challengeOf is what a client sends of its verifier (RFC 7636 §4.2).
func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Mission: S07
func TestProvider_withPKCEAnAppGetsACodeThatIsGoodOnce(t *testing.T) {
	t.Parallel()
	idp := idptest.New(t)
	e := startElsewhere(t, idp, providerSettings(idp, "google", "github", "apple")...)
	for n, name := range []string{"google", "github", "apple"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			who := somebody(n+1, name+"@example.com")
			idp.Person(who)
			b := e.forTest(t).browser(who.Subject)
			verifier := strings.Repeat("v", 43)
			l := b.enter(wish(name, "code_challenge", challengeOf(verifier), "code_challenge_method", "s256"))
			code := l.query.Get("code")
			if l.page != ourAppPage || code == "" || l.said.Has("access_token") || l.query.Has("error") {
				t.Fatalf("the journey ends at %v, want a code", l)
			}
			trade := func(status int, code, verifier string) answer {
				t.Helper()
				return b.do(status, "POST", "/token?grant_type=pkce", object{"auth_code": code, "code_verifier": verifier})
			}
			if a := trade(400, code, strings.Repeat("w", 43)); a.text("error_code") != "bad_code_verifier" {
				t.Errorf("another verifier is answered %s", a.body)
			}
			a := trade(200, code, verifier)
			if a.text("user", "email") != who.Email || a.text("provider_token") == "" || a.text("refresh_token") == "" || a.text("user", "app_metadata", "provider") != name {
				t.Errorf("the code gives %s", a.body)
			}
			if again := b.refresh(200, a.text("refresh_token")); again.text("provider_token") != "" {
				t.Error("the provider's token is handed out again")
			}
			if a := trade(404, code, verifier); a.text("error_code") != "flow_state_not_found" {
				t.Errorf("the code is taken twice: %s", a.body)
			}
		})
	}
}

// Where the operator keeps accounts apart, one address may have two users.
//
// Mission: S14
func TestProvider_anAccountWithAPasswordStaysApartWhereAsked(t *testing.T) {
	t.Parallel()
	idp := idptest.New(t)
	for word, want := range map[string]string{"never": "2", "verified": "1", "refuse": "1"} {
		t.Run(word, func(t *testing.T) {
			t.Parallel()
			e := startElsewhere(t, idp, append(providerSettings(idp, "google"), "GATEHOUSE_EXTERNAL_LINKING="+word)...)
			t.Cleanup(func() { _ = e.stop() })
			id := e.person("ada@example.com")
			in := e.signIn("ada@example.com", password)

			a, err := e.ask("POST", "/token?grant_type=id_token", object{
				"provider": "google", "id_token": idp.Token("google", object{"sub": "1", "aud": ourClient, "email": "ada@example.com", "email_verified": true}, idptest.Forgery{}),
			})
			if err != nil {
				t.Fatal(err)
			}
			switch word {
			case "never":
				if a.status != 200 || a.text("user", "id") == id || a.text("user", "email") != "" {
					t.Errorf("it is answered %d %s", a.status, a.body)
				}
				e.do(204, "POST", "/logout", nil, bearer(a.text("access_token")))
			case "verified":
				if a.status != 200 || a.text("user", "id") != id {
					t.Errorf("it is answered %d %s", a.status, a.body)
				}
			case "refuse":
				if a.status != 422 || a.text("error_code") != "user_already_exists" {
					t.Errorf("it is answered %d %s", a.status, a.body)
				}
			}
			e.do(200, "GET", "/user", nil, bearer(in.text("access_token")))
			e.signIn("ada@example.com", password)
			if got := e.population(); got != want {
				t.Errorf("there are %s users, want %s", got, want)
			}
		})
	}
}

// Mission: S07
func TestProvider_anInvitationIsAcceptedWithAnAccountOfItsAddress(t *testing.T) {
	t.Parallel()
	idp := idptest.New(t)
	e := startElsewhere(t, idp, append(providerSettings(idp, "github"), "GOTRUE_DISABLE_SIGNUP=true")...)
	id := e.do(200, "POST", "/invite", object{"email": "ada@example.com"}, bearer(operator)).text("id")
	invite := mustQuery(t, e.mail("ada@example.com", 1).Links[0]).Get("token")
	idp.Person(somebody(1, "mallory@example.com"))
	idp.Person(somebody(2, "ada@example.com"))
	mallory, ada := e.browser("1"), e.browser("2")
	mallory.refused(mallory.enter(wish("github", "invite_token", invite)), "validation_failed")
	if u := ada.signedIn(ada.enter(wish("github", "invite_token", invite))); u.text("id") != id || u.text("email_confirmed_at") == "" {
		t.Errorf("who was invited is %s", u.body)
	}
	e.do(404, "GET", "/authorize?"+wish("github", "invite_token", invite).Encode(), nil) // it is spent
	mallory.refused(mallory.enter(wish("github")), "signup_disabled")
}

// Netlify's widget reads the fragment as it is: it knows four keys, and no escapes.
func TestProvider_asNetlifysClientsKnowIt(t *testing.T) {
	t.Parallel()
	idp := idptest.New(t)
	e := startElsewhere(t, idp, append(providerSettings(idp, "gitlab"), "GATEHOUSE_DIALECT=netlify", "GOTRUE_SITE_URL=https://app.example.com")...)
	idp.Person(somebody(1, "ada@example.com"))
	b := e.browser("1")
	const page = "/.netlify/identity/authorize?provider=gitlab"
	out := b.step("GET", page, nil)
	if out.status != 302 {
		t.Fatalf("it is answered %d %s", out.status, out.body)
	}
	back := b.step("GET", b.decide(out.header.Get("Location"), "allow").at, nil)
	target, said := b.location(back)
	if keys := slices.Sorted(maps.Keys(said)); target != "https://app.example.com" && target != "https://app.example.com/" ||
		!slices.Equal(keys, []string{"access_token", "expires_in", "refresh_token", "token_type"}) || strings.Contains(back.header.Get("Location"), "%") {
		t.Errorf("it ends at %s with %v", target, keys)
	}
	b.do(200, "GET", "/user", nil, bearer(said.Get("access_token")))
	idp.Deny("", "")
	back = b.step("GET", b.decide(b.step("GET", page, nil).header.Get("Location"), "allow").at, nil)
	if target, said = b.location(back); strings.Contains(target, "?") || said.Get("error") != "access_denied" || said.Get("error_description") == "" {
		t.Errorf("who cancels ends at %s with %v", target, said)
	}
}

// What the provider gave is renewed for the operator's own server.
func TestProvider_itsTokensAreRenewedForTheOperator(t *testing.T) {
	t.Parallel()
	idp := idptest.New(t, func(o *idptest.Options) { o.AccessLife = time.Second })
	e := startElsewhere(t, idp, providerSettings(idp, "gitlab")...)
	idp.Person(somebody(1, "ada@example.com"))
	b := e.browser("1")
	l := b.enter(wish("gitlab"))
	path := "/admin/users/" + b.signedIn(l).text("id") + "/providers/gitlab/refresh"
	first := l.said.Get("provider_token")
	if first == "" || l.said.Get("provider_refresh_token") == "" {
		t.Errorf("the journey brings %v", l)
	}
	until(t, "a new token", func() bool {
		a := e.do(200, "POST", path, nil, bearer(operator))
		if strings.Contains(a.body, "refresh") {
			t.Errorf("what it is renewed with is shown: %s", a.body)
		}
		return a.text("access_token") != first
	})
	idp.Revoke("1")
	until(t, "the end of the last token", func() bool {
		a, err := e.ask("POST", path, nil, bearer(operator))
		return err != nil || a.status == 400 && a.text("error_code") == "bad_oauth_callback"
	})
	e.do(401, "POST", path, nil)
	e.do(403, "POST", path, nil, bearer(l.said.Get("access_token")))
}
