package gotrue_test

import (
	"io"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/dialect/gotrue"
	"gatehouse/internal/storetest"
)

// Mission: T28
func TestStateSign_saysWhoseAJourneyIsWithoutTheProxysHeader(t *testing.T) {
	const operator = "the-operators-own-token"
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	own := strings.Repeat("s", 43) // of the journey
	sign := gotrue.Sign{Tenant: storetest.Other(), SiteURL: "https://preview.example", Hooks: map[string][]string{"login": {"https://hook.example"}}}
	state := own + gotrue.WriteSign(sign, operator, now, time.Minute)
	read := func(method, target, body string, header string) (gotrue.Sign, error) {
		r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
		if header != "" {
			r.Header.Set("X-Nf-Sign", header)
		}
		got, err := gotrue.ReadSign(gotrue.SignOf(r), operator, now)
		if left, _ := io.ReadAll(r.Body); string(left) != body {
			t.Errorf("%s %s: the handler is left %q of the body %q", method, target, left, body)
		}
		return got, err
	}
	q := url.Values{"state": {state}}.Encode()
	for _, c := range [][3]string{
		{"GET", "/callback?" + q, ""},
		{"POST", "/callback", q},
		{"POST", "/saml/acs", url.Values{"RelayState": {state}, "SAMLResponse": {"x"}}.Encode()},
		{"POST", "/sso/saml/acs", url.Values{"RelayState": {state}}.Encode()},
		{"GET", "/saml/finish?" + q, ""},
	} {
		got, err := read(c[0], c[1], c[2], "")
		if err != nil || got.Tenant != sign.Tenant || got.SiteURL != sign.SiteURL || len(got.Hooks["login"]) != 1 {
			t.Errorf("%s %.20s: %+v, %v", c[0], c[1], got, err)
		}
	}
	for what, c := range map[string][3]string{
		"elsewhere":       {"GET", "/user?" + q, ""},
		"without a state": {"GET", "/callback", ""},
		"a state alone":   {"GET", "/callback?state=" + own, ""},
	} {
		_, err := read(c[0], c[1], c[2], "")
		if auth.CodeOf(err) != auth.SignMissing {
			t.Errorf("%s: %v", what, err)
		}
	}
	forged := own + gotrue.WriteSign(sign, "another-operators-token", now, time.Minute)
	late := own + gotrue.WriteSign(sign, operator, now.Add(-time.Hour), time.Minute)
	for what, state := range map[string]string{"signed by another": forged, "too old": late, "rubbish": own + "rubbish"} {
		_, err := read("GET", "/callback?"+url.Values{"state": {state}}.Encode(), "", "")
		if code := auth.CodeOf(err); code != auth.SignInvalid && code != auth.SignMissing {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := read("GET", "/callback?"+q, "", "not.a.sign"); auth.CodeOf(err) != auth.SignInvalid {
		t.Errorf("a header that is wrong is made good by the state: %v", err)
	}
	if gotrue.WriteSign(sign, "", now, time.Minute) != "" {
		t.Error("something was signed with nothing")
	}
}
