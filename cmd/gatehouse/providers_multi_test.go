package main

import (
	"encoding/base64"
	"strings"
	"testing"

	"gatehouse/internal/idptest"
)

// Where a proxy signs for tenants it is not there when somebody comes back from a
// provider: the state says whose the journey is, and nothing else to anybody.
//
// Mission: T28
func TestProviders_ofAnInstanceBringTheirPeopleBackToIt(t *testing.T) {
	t.Parallel()
	idp := idptest.New(t)
	e := startElsewhere(t, idp, append(providerSettings(idp, "google"), "GATEHOUSE_MULTIINSTANCEMODE=true")...)
	one := e.do(201, "POST", "/instances", object{"uuid": "one", "config": object{"site_url": "https://one.example"}}, bearer(operator)).text("id")
	two := e.do(201, "POST", "/instances", object{"uuid": "two", "config": object{"site_url": "https://two.example"}}, bearer(operator)).text("id")
	who := somebody(1, "ann@example.com")
	idp.Person(who)
	b := e.browser(who.Subject)
	sign := xnf(t, one, map[string]any{"function_hooks": object{"signup": []string{}}, "site_url": "https://one.example"})
	left := b.step("GET", "/authorize?provider=google", nil, sign)
	if left.status != 302 {
		t.Fatalf("GET /authorize: %d %s", left.status, left.body)
	}
	out := left.header.Get("Location")
	state := mustQuery(t, out).Get("state")
	if len(state) < 100 {
		t.Fatalf("the state %q says nothing", state)
	}
	plain, _ := base64.RawURLEncoding.DecodeString(state[43:])
	for _, word := range []string{"inner.example", "one.example", one, "function_hooks"} {
		if strings.Contains(string(plain), word) || strings.Contains(state, word) {
			t.Errorf("the state tells of %s", word)
		}
	}
	e.do(400, "GET", "/settings", nil, "X-Nf-Sign: "+state[43:])
	l := b.comeBack(b.decide(out, "allow"))
	access := l.said.Get("access_token")
	if !strings.HasPrefix(l.page, "https://one.example") || access == "" {
		t.Fatalf("the journey ends at %v", l)
	}
	e.do(200, "GET", "/user", nil, bearer(access), xnf(t, one, nil))
	e.do(403, "GET", "/user", nil, bearer(access), xnf(t, two, nil))
	e.do(400, "GET", "/callback?state="+state[:43], nil)
	e.do(400, "GET", "/callback?state="+state[:len(state)-3]+"AAA", nil)
}
