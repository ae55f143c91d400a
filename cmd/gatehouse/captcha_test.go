package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/captcha"
	"gatehouse/internal/config"
	"gatehouse/internal/fetch"
	"gatehouse/internal/secret"
	"gatehouse/internal/storetest"
)

func newRoot(t *testing.T) *secret.Root {
	t.Helper()
	root, err := secret.NewRoot(secret.GenerateRoot())
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func TestHumanOf_asksNothingUnlessItIsWanted(t *testing.T) {
	t.Parallel()
	h, err := humanOf(config.Captcha{Provider: "pow", WorkBits: 8}, auth.TenantID{}, newRoot(t), fetch.New(fetch.Options{}))
	if err != nil || h.core != nil || h.offered(time.Now).Challenge != nil {
		t.Errorf("got %+v, %v; want nothing", h, err)
	}
}

// What was solved for one tenant, or under a root key, is good for no other.
func TestHumanOf_bindsWorkToTheTenant(t *testing.T) {
	t.Parallel()
	root, out := newRoot(t), fetch.New(fetch.Options{})
	cfg := config.Captcha{Enabled: true, Provider: "pow", WorkBits: 8}
	of := func(tenant auth.TenantID, root *secret.Root) human {
		h, err := humanOf(cfg, tenant, root, out)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	own := of(auth.TenantID{}, root)
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	c := own.work.Challenge(now)
	if offered, ok := own.offered(func() time.Time { return now }).Challenge().(captcha.Challenge); !ok || offered.Bits != 8 || offered.Text == c.Text {
		t.Errorf("offered is %+v, want a new one", offered)
	}
	var token string
	for n := 0; ; n++ {
		token = fmt.Sprintf("pow.%s.%016x", c.Text, n)
		if _, _, err := own.core.Work(token, now); err == nil {
			break
		}
	}
	for name, other := range map[string]human{"another tenant": of(storetest.Other(), root), "another root key": of(auth.TenantID{}, newRoot(t))} {
		_, _, err := other.core.Work(token, now)
		if fault, why := other.core.Judge(err); err == nil || fault != auth.CaptchaRefused || why != captcha.CodeForged {
			t.Errorf("%s: %v, %v %q; want it to be refused as forged", name, err, fault, why)
		}
	}
	if _, _, err := of(auth.TenantID{}, root).core.Work(token, now); err != nil {
		t.Errorf("the same tenant on another node: %v", err)
	}
}

func TestHumanOf_asksTheProvider(t *testing.T) {
	t.Parallel()
	answer := make(chan func(w http.ResponseWriter), 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("secret") != "the secret" || r.FormValue("response") != "token" || r.FormValue("remoteip") != "203.0.113.7" {
			t.Errorf("asked with %v", r.Form)
		}
		(<-answer)(w)
	}))
	defer s.Close()
	says := func(status int, body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}
	}
	out := fetch.New(fetch.Options{AllowPrivate: true})
	for _, provider := range []string{"hcaptcha", "turnstile"} {
		cfg := config.Captcha{Enabled: true, Provider: provider, Secret: "the secret", URL: s.URL, Timeout: 10 * time.Second, Hosts: []string{"shop.example"}}
		h, err := humanOf(cfg, auth.TenantID{}, newRoot(t), out)
		if err != nil || h.core.Work != nil || h.offered(time.Now).Challenge != nil {
			t.Fatalf("%s: %+v, %v", provider, h, err)
		}
		for _, c := range []struct {
			says  func(http.ResponseWriter)
			good  bool
			fault auth.CaptchaFault
			why   string
		}{
			{says: says(200, `{"success":true,"hostname":"shop.example"}`), good: true},
			{says(200, `{"success":true,"hostname":"elsewhere.example"}`), false, auth.CaptchaRefused, "wrong-host"},
			{says(200, `{"success":false,"error-codes":["invalid-input-response"]}`), false, auth.CaptchaRefused, "invalid-input-response"},
			{says(200, `{"success":false,"error-codes":["invalid-input-secret"]}`), false, auth.CaptchaSetup, ""},
			{says(503, ``), false, auth.CaptchaUnavailable, ""},
			{says(200, `hello`), false, auth.CaptchaUnavailable, ""},
		} {
			answer <- c.says
			err := h.core.Ask(t.Context(), "token", "203.0.113.7")
			if c.good {
				if err != nil {
					t.Errorf("%s: %v", provider, err)
				}
				continue
			}
			if fault, why := h.core.Judge(err); err == nil || fault != c.fault || why != c.why {
				t.Errorf("%s: %v is %v %q, want %v %q", provider, err, fault, why, c.fault, c.why)
			}
		}
		over, cancel := context.WithCancel(t.Context())
		cancel()
		err = h.core.Ask(over, "token", "203.0.113.7")
		if fault, _ := h.core.Judge(err); fault != auth.CaptchaUndecided {
			t.Errorf("%s: a request that is over: %v is %v", provider, err, fault)
		}
	}
}

func TestHumanOf_refusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]config.Captcha{
		"no secret":     {Enabled: true, Provider: "hcaptcha"},
		"no difficulty": {Enabled: true, Provider: "pow", WorkBits: 99},
	} {
		if _, err := humanOf(cfg, auth.TenantID{}, newRoot(t), fetch.New(fetch.Options{})); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}
