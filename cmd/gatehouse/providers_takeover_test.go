package main

import (
	"fmt"
	"strings"
	"testing"

	"gatehouse/internal/idptest"
)

// nOAuth: whoever runs a tenant of Entra writes any address into its accounts.
func TestThreat_L03_anAddressNobodyVouchesForLeadsToNobody(t *testing.T) {
	t.Parallel()
	s := stage(t, "google")
	mallory := s.who[1]
	mallory.Email, mallory.EmailVerified = "victim@example.com", false
	s.idp.Person(mallory)
	mails := 0
	for _, name := range journeys(t) {
		q := quirks[name]
		if q.always || name == "google" { // they vouch for all
			continue
		}
		l := s.attacker.enter(wish(name))
		s.outside(l)
		if q.word == sure || q.word == mute {
			s.attacker.refused(l, "email_address_not_provided")
			continue
		}
		s.attacker.refused(l, "provider_email_needs_verification")
		mails++
		for _, link := range s.mail("victim@example.com", mails).Links { // the owner learns of it, and cannot let them in by mistake
			if strings.Contains(link, "token=") {
				t.Errorf("%s: the mail to the owner has the link %s", name, link)
			}
		}
	}
	s.kept(1)
	if got := s.population(); got != "1" {
		t.Errorf("there are %s users, want the victim alone", got)
	}
}

func TestThreat_L03_anAddressChangedAtTheProviderLeadsToNobodyElse(t *testing.T) {
	t.Parallel()
	s := stage(t, "google")
	mallory := s.attacker.signedIn(s.attacker.enter(wish("github"))).text("id")
	// The attacker's own account there gets the victim's address, proved as it may
	// seem.
	changed := s.who[1]
	changed.Email = "victim@example.com"
	s.idp.Person(changed)
	u := s.attacker.signedIn(s.attacker.enter(wish("github")))
	if u.text("id") != mallory || u.text("email") != "mallory@example.com" {
		t.Errorf("the attacker is %s now", u.body)
	}
	// Nor does one that the attacker has linked to a user with a password.
	s.person("linker@example.com")
	in := s.signIn("linker@example.com", password)
	claims := idptest.Person{Subject: "9", Email: "nine@example.com"}
	linked := s.byToken(200, "google", s.appToken("google", claims, nil), object{"link_identity": true}, bearer(in.text("access_token")))
	claims.Email = "victim@example.com"
	a := s.byToken(200, "google", s.appToken("google", claims, nil), nil)
	if a.text("user", "id") != linked.text("user", "id") || a.text("user", "email") != "linker@example.com" {
		t.Errorf("who has linked it is %s now", a.body)
	}
	// The victim's account gets another: they are who they were.
	moved := s.who[0]
	moved.Email = "moved@example.com"
	s.idp.Person(moved)
	if v := s.victim.signedIn(s.victim.enter(wish("google"))); v.text("id") != s.id {
		t.Errorf("the victim is %s now, and was %s", v.text("id"), s.id)
	}
	// Whoever has the old one at the provider now is somebody else.
	heir := idptest.Person{Subject: "3", Email: "victim@example.com", Name: "Heir"}
	s.idp.Person(heir)
	if h := s.browser("3"); h.signedIn(h.enter(wish("google"))).text("id") == s.id {
		t.Error("who has the victim's old address is in the victim's account")
	}
}

func TestThreat_L04_trueInQuotesIsNotTrue(t *testing.T) {
	t.Parallel()
	s := stage(t, "github")
	s.custom(t, "oidc", "custom:acme", "oidc-acme", nil)
	for _, said := range []any{"true", "false", "True", "1", 1, []any{true}, object{"is": true}, nil, false} {
		t.Run(fmt.Sprintf("%T %v", said, said), func(t *testing.T) {
			for _, name := range []string{"google", "custom:acme", "keycloak", "slack_oidc", "linkedin_oidc"} {
				mallory := s.who[1]
				mallory.Email, mallory.Claims = "victim@example.com", object{"email_verified": said}
				s.idp.Person(mallory)
				l := s.attacker.enter(wish(name))
				s.attacker.refused(l, "provider_email_needs_verification")
				s.outside(l)
			}
			a := s.bring("google", s.idp.Token("google", object{"aud": ourClient, "sub": "2", "email": "victim@example.com", "email_verified": said}, idptest.Forgery{}))
			if a.status != 422 || a.text("access_token") != "" {
				t.Errorf("an ID token of it is answered %d %s", a.status, a.body)
			}
		})
	}
	s.kept(1)
}

func TestThreat_L05_whoRegisteredTheVictimsAddressIsPutOut(t *testing.T) {
	t.Parallel()
	for _, open := range []string{"false", "true"} { // whether who has not confirmed may sign in
		t.Run("unverified sign-ins: "+open, func(t *testing.T) {
			t.Parallel()
			idp := idptest.New(t)
			e := startElsewhere(t, idp, append(providerSettings(idp, "google", "spotify"), "GOTRUE_MAILER_ALLOW_UNVERIFIED_EMAIL_SIGN_INS="+open)...)
			e.do(200, "POST", "/signup", object{"email": "victim@example.com", "password": password, "data": object{"name": "Mallory", "note": "mine"}})
			old := answer{}
			if open == "true" {
				old = e.signIn("victim@example.com", password)
			}
			idp.Person(somebody(1, "victim@example.com"))
			b := e.browser("1")
			u := b.signedIn(b.enter(wish("google")))
			if u.text("email_confirmed_at") == "" || u.text("user_metadata", "name") != "Ada Lovelace" || u.text("user_metadata", "note") != "" {
				t.Errorf("the owner finds %s", u.body)
			}
			list, _ := u.at("identities").([]any)
			if len(list) != 1 {
				t.Errorf("the owner finds the identities %v", list)
			}
			e.refuseSignIn(400, "victim@example.com", password)
			if open == "true" {
				e.refresh(400, old.text("refresh_token"))
				if a, err := e.ask("GET", "/user", nil, bearer(old.text("access_token"))); err != nil || a.status == 200 {
					t.Errorf("the stranger's session goes on: %s, %v", a.body, err)
				}
			}
		})
	}
}

func TestThreat_L06_anAccountElsewhereDoesNotWaitForTheVictim(t *testing.T) {
	t.Parallel()
	idp := idptest.New(t)
	e := startElsewhere(t, idp, append(providerSettings(idp, "google", "spotify"), "GOTRUE_MAILER_ALLOW_UNVERIFIED_EMAIL_SIGN_INS=true")...)
	idp.Person(somebody(1, "victim@example.com"))
	idp.Person(somebody(2, "victim@example.com")) // as Spotify lets everybody write
	mallory, victim := e.browser("2"), e.browser("1")
	waits := mallory.enter(wish("spotify"))
	mallory.signedIn(waits)
	owner := victim.signedIn(victim.enter(wish("google"))).text("id")
	again := mallory.enter(wish("spotify"))
	for _, l := range []landing{waits, again} {
		if token := l.said.Get("access_token"); token != "" {
			if a, err := e.ask("GET", "/user", nil, bearer(token)); err != nil || a.status == 200 && a.text("id") == owner {
				t.Errorf("the attacker is in the victim's account: %s, %v", a.body, err)
			}
		}
	}
	u := e.do(200, "GET", "/admin/users/"+owner, nil, bearer(operator))
	if list, _ := u.at("identities").([]any); len(list) != 1 {
		t.Errorf("the victim has the identities %v", list)
	}
}

func TestThreat_L15_theSameSubjectOfAnotherIssuerIsSomebodyElse(t *testing.T) {
	t.Parallel()
	s := stage(t, "google")
	s.custom(t, "oidc", "custom:one", "oidc-one", nil)
	s.custom(t, "oidc", "custom:two", "oidc-two", nil)
	twin := idptest.Person{Subject: "1", Email: "twin@example.com", Name: "Twin"}
	s.idp.Person(twin) // the subject is the victim's, at every provider
	seen := map[string]string{s.id: "google"}
	for n, name := range []string{"custom:one", "custom:two", "github", "keycloak", "discord"} {
		twin.Email = fmt.Sprintf("twin%d@example.com", n)
		s.idp.Person(twin)
		id := s.victim.signedIn(s.victim.enter(wish(name))).text("id")
		if other := seen[id]; other != "" {
			t.Errorf("1 of %s is 1 of %s", name, other)
		}
		seen[id] = name
	}
	// Nor does the operator's own change of the issuer make one of two.
	id := s.victim.signedIn(s.victim.enter(wish("custom:one"))).text("id")
	s.do(200, "PUT", "/admin/custom-providers/custom:one", object{"issuer": s.idp.Issuer("oidc-three"), "client_secret": ourSecret}, bearer(operator))
	twin.Email = "thirdtwin@example.com"
	s.idp.Person(twin)
	if got := s.victim.signedIn(s.victim.enter(wish("custom:one"))).text("id"); got == id || seen[got] != "" {
		t.Error("1 of another issuer is 1 of the one before")
	}
	// A token of the one is none of the other, though one key signs both.
	a := s.bring("custom:two", s.idp.Token("oidc-one", object{"aud": ourClient, "sub": "1", "email": "victim@example.com", "email_verified": true}, idptest.Forgery{}))
	if a.status != 400 || a.text("access_token") != "" {
		t.Errorf("it is answered %d %s", a.status, a.body)
	}
	s.kept(1)
}
