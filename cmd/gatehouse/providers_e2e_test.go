package main

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"gatehouse/internal/idptest"
)

// What a provider's word on an address is.
type word int

const (
	says   word = iota // it tells whether it is proved
	sure               // it tells only those that are
	silent             // it tells an address, and vouches for none
	mute               // it tells none
)

// quirk is what one provider does its own way, as far as a client of ours sees it.
// The zero value tells everything.
type quirk struct {
	word     word
	always   bool   // it cannot be told that an address is unproved
	name     string // "": full name; "username"; "once": the first time, and not again
	picture  string // "": the person's; "none"; else what its address begins with
	subject  string // before the number
	refuses  string // what it says of who presses «Cancel»; "": access_denied
	noHandle bool   // it tells no user name
}

var quirks = map[string]quirk{
	"apple":         {name: "once", picture: "none", refuses: "user_cancelled_authorize", noHandle: true},
	"azure":         {},
	"bitbucket":     {},
	"discord":       {picture: "https://cdn.discordapp.com/avatars/"},
	"facebook":      {word: sure, always: true, noHandle: true},
	"figma":         {word: silent},
	"fly":           {word: silent, picture: "none", noHandle: true},
	"github":        {},
	"gitlab":        {},
	"google":        {noHandle: true},
	"kakao":         {},
	"keycloak":      {},
	"linkedin":      {word: silent, refuses: "user_cancelled_login", noHandle: true},
	"linkedin_oidc": {refuses: "user_cancelled_login", noHandle: true},
	"notion":        {word: silent},
	"slack":         {word: silent, noHandle: true},
	"slack_oidc":    {noHandle: true},
	"snapchat":      {word: mute, noHandle: true},
	"spotify":       {word: silent, noHandle: true},
	"twitch":        {word: sure, always: true, name: "username"},
	"twitter":       {word: sure},
	"vk":            {word: silent},
	"workos":        {word: silent, subject: "prof_", noHandle: true},
	"x":             {word: sure},
	"zoom":          {noHandle: true},
}

// journeys are the providers with a page to go to.
func journeys(t *testing.T) []string {
	t.Helper()
	var list []string
	for _, p := range vendors() {
		_, known := quirks[p.Name]
		switch {
		case p.Name == "vercel_marketplace": // apps bring ID tokens of it, and browsers nothing
		case !known:
			t.Errorf("nobody has said what %s does its own way", p.Name)
		default:
			list = append(list, p.Name)
		}
	}
	return list
}

// guest is somebody who comes by a provider.
type guest struct {
	*browser
	provider string
	quirk
	who idptest.Person
}

// told is the user data that the provider's account makes, and what must not be
// in them ("").
func (g *guest) told() map[string]string {
	m := map[string]string{
		"sub": g.subject + g.who.Subject, "provider_id": g.subject + g.who.Subject,
		"name": g.who.Name, "full_name": g.who.Name, "avatar_url": g.who.Avatar, "picture": g.who.Avatar,
	}
	if g.name == "username" {
		m["name"], m["full_name"] = g.who.Username, g.who.Username
	}
	switch {
	case g.picture == "":
	case g.picture == "none", g.who.Avatar == "":
		m["avatar_url"], m["picture"] = "", ""
	default:
		delete(m, "picture")
		m["avatar_url"] = g.picture
	}
	return m
}

// check holds a user against what is known of them elsewhere.
func (g *guest) check(u answer, email string) {
	g.t.Helper()
	if u.text("email") != email || u.text("last_sign_in_at") == "" {
		g.t.Errorf("the user is %s, want the address %q", u.body, email)
	}
	for key, want := range g.told() {
		got := u.text("user_metadata", key)
		if got != want && (want == "" || g.picture == "" || key != "avatar_url" || !strings.HasPrefix(got, want)) {
			g.t.Errorf("user_metadata.%s: got %q, want %q", key, got, want)
		}
	}
	if handle := u.text("user_metadata", "user_name"); (handle == "") != (g.noHandle || g.who.Username == "") {
		g.t.Errorf("user_metadata.user_name is %q", handle)
	}
	if got := u.text("app_metadata", "provider"); got != g.provider {
		g.t.Errorf("app_metadata.provider: got %q, want %q", got, g.provider)
	}
	if list, _ := u.at("app_metadata", "providers").([]any); !slices.Contains(list, any(g.provider)) {
		g.t.Errorf("app_metadata.providers is %v", list)
	}
	found := 0
	list, _ := u.at("identities").([]any)
	for _, e := range list {
		i, _ := e.(object)
		data, _ := i["identity_data"].(object)
		if i["provider"] == g.provider && i["id"] == g.subject+g.who.Subject && i["user_id"] == u.text("id") && data["sub"] == i["id"] {
			found++
		}
	}
	if found != 1 || len(list) != 1 {
		g.t.Errorf("the identities are %v, want one of %s", list, g.provider)
	}
}

// confirm presses the button of the mail that asks whether an address nobody
// vouches for is theirs.
func (g *guest) confirm(l landing) {
	g.t.Helper()
	said := g.refused(l, "provider_email_needs_verification")
	if said.Get("error") != "access_denied" {
		g.t.Errorf("an unproved address is answered %v", said)
	}
	m := g.mail(g.who.Email, 1)
	page := g.do(200, "GET", m.Links[0], nil, "Accept: text/html")
	target, in := g.location(g.do(303, "POST", m.Links[0], form(page.body), "Origin: "+g.url, "Sec-Fetch-Site: same-origin"))
	if target != ourAppPage || in.Get("access_token") == "" {
		g.t.Fatalf("the mail leads to %s with %v", target, in)
	}
}

// Every provider, with all that its accounts may do, against one server.
//
// Mission: S07, S08, S11, S13, S15, R24
func TestProvider_everyOneSignsInAndKnowsItsPeopleAgain(t *testing.T) {
	t.Parallel()
	idp := idptest.New(t, func(o *idptest.Options) { o.Browser = true })
	settings := providerSettings(idp)
	strict := startElsewhere(t, idp, settings...)
	lax := slices.Clone(settings)
	for _, p := range vendors() {
		lax = append(lax, "GOTRUE_"+p.Setting("EMAIL_OPTIONAL")+"=true")
	}
	easy := startElsewhere(t, idp, lax...)
	idp.Client(ourClient, ourSecret, strict.url+"/callback", easy.url+"/callback")
	for n, name := range journeys(t) {
		// guest is a person of their own for each row.
		guest := func(t *testing.T, e *elsewhere, row int) *guest {
			who := somebody(1000*(n+1)+row, fmt.Sprintf("ada.%s.%d@example.com", name, row))
			idp.Person(who)
			return &guest{e.forTest(t).browser(who.Subject), name, quirks[name], who}
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Run("new, then returning, then changed", func(t *testing.T) {
				t.Parallel()
				e := strict
				if quirks[name].word == mute {
					e = easy
				}
				guest(t, e, 1).returns()
			})
			t.Run("refused", func(t *testing.T) {
				t.Parallel()
				guest(t, strict, 2).isRefused()
			})
			t.Run("without an address", func(t *testing.T) {
				t.Parallel()
				guest(t, strict, 3).hasNoAddress("email_address_not_provided")
				guest(t, easy, 4).hasNoAddress("")
				nobody := guest(t, easy, 6)
				nobody.who = idptest.Person{Subject: nobody.who.Subject}
				nobody.hasNoAddress("")
			})
			t.Run("with an address that is not proved", func(t *testing.T) {
				t.Parallel()
				guest(t, strict, 5).isUnproved()
			})
		})
	}
}

// returns comes for the first time, again, and with another name and address.
func (g *guest) returns() {
	g.t.Helper()
	email := g.who.Email
	if g.word == mute {
		email = ""
	}
	l := g.enter(wish(g.provider))
	if g.word == silent {
		g.confirm(l)
		l = g.enter(wish(g.provider))
	}
	first := g.signedIn(l)
	g.check(first, email)
	if l.said.Get("provider_token") == "" || l.said.Get("token_type") != "bearer" || l.said.Get("expires_in") != "3600" {
		g.t.Errorf("the fragment says %v", l.said)
	}
	if (email == "") != (first.text("email_confirmed_at") == "") {
		g.t.Errorf("the address is confirmed at %q", first.text("email_confirmed_at"))
	}
	if email != "" { // there is no password beside the account
		g.refuseSignIn(400, email, password)
	}

	l = g.enter(wish(g.provider))
	again := g.signedIn(l)
	if again.text("id") != first.text("id") {
		g.t.Fatalf("who comes again is %s, and was %s", again.text("id"), first.text("id"))
	}
	if again.text("last_sign_in_at") <= first.text("last_sign_in_at") {
		g.t.Errorf("the last sign-in stays %q", again.text("last_sign_in_at"))
	}
	if g.name != "once" {
		g.check(again, email)
	}

	was := g.who
	g.who.Name, g.who.Username, g.who.Email = "Augusta King", "Countess"+g.who.Subject, "new."+g.who.Email
	g.idp.Person(g.who)
	changed := g.signedIn(g.enter(wish(g.provider)))
	if changed.text("id") != first.text("id") {
		g.t.Fatalf("with another address it is %s, and was %s", changed.text("id"), first.text("id"))
	}
	switch g.word {
	case says, sure:
		email = g.who.Email // the one by which alone they are known
	}
	if g.name == "once" {
		g.who.Name = was.Name // which is told no more
	}
	g.check(changed, email)
}

// isRefused presses «Cancel».
func (g *guest) isRefused() {
	g.t.Helper()
	back := g.decide(g.setOut(wish(g.provider)), "deny")
	l := g.comeBack(back)
	said := g.refused(l, "bad_oauth_callback")
	want := g.refuses
	if want == "" {
		want = "access_denied"
	}
	if said.Get("error") != want || l.query.Get("error") != want || said.Get("error_description") == "" {
		g.t.Errorf("who cancels comes back with %v, want %s", said, want)
	}
	// Its state is no good a second time, for a code somebody else got.
	g.stray(g.comeBack(way{at: g.url + "/callback?" + url.Values{"state": {back.param("state")}, "code": {"any"}}.Encode()}), "bad_oauth_state")
}

// hasNoAddress has none at the provider; code is the answer, empty if it does not
// matter.
func (g *guest) hasNoAddress(code string) {
	g.t.Helper()
	g.who.Email = ""
	g.idp.Person(g.who)
	l := g.enter(wish(g.provider))
	if code != "" {
		if said := g.refused(l, code); said.Get("error") != "invalid_request" {
			g.t.Errorf("without an address it is answered %v", said)
		}
		return
	}
	first := g.signedIn(l)
	g.check(first, "")
	if again := g.signedIn(g.enter(wish(g.provider))); again.text("id") != first.text("id") {
		g.t.Errorf("who comes again is %s, and was %s", again.text("id"), first.text("id"))
	}
}

// isUnproved has an address that nobody has seen them read.
func (g *guest) isUnproved() {
	g.t.Helper()
	g.who.EmailVerified = false
	g.idp.Person(g.who)
	l := g.enter(wish(g.provider))
	switch {
	case g.always:
		g.signedIn(l)
		return
	case g.word == sure, g.word == mute:
		g.refused(l, "email_address_not_provided")
		return
	}
	g.confirm(l)
	u := g.signedIn(g.enter(wish(g.provider)))
	g.check(u, g.who.Email)
}
