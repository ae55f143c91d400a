package gotrue_test

import (
	"io"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"gatehouse/internal/dialect/gotrue"
)

// Mission: T28
func TestStateTail_isReadWhereABrowserComesBackAndNowhereElse(t *testing.T) {
	t.Parallel()
	const tail = "who-it-is-for"
	own := strings.Repeat("s", 43) // of the journey
	q := url.Values{"state": {own + tail}}.Encode()
	relay := url.Values{"RelayState": {own + tail}, "SAMLResponse": {"x"}}.Encode()
	for what, c := range map[string]struct{ method, target, body, want string }{
		"a provider's answer":     {"GET", "/callback?" + q, "", tail},
		"below a prefix":          {"GET", "/auth/v1/callback?" + q, "", tail},
		"Apple's":                 {"POST", "/callback", q, tail},
		"a company's":             {"POST", "/sso/saml/acs", relay, tail},
		"a company's, as Netlify": {"POST", "/saml/acs", relay, tail},
		"the browser's, then":     {"GET", "/saml/finish?" + q, "", tail},
		"elsewhere":               {"GET", "/user?" + q, "", ""},
		"a post elsewhere":        {"POST", "/token", q, ""},
		"without a state":         {"GET", "/callback", "", ""},
		"a state alone":           {"GET", "/callback?state=" + own, "", ""},
		"too long":                {"GET", "/callback?state=" + own + strings.Repeat("x", 5000), "", ""},
		"many fields":             {"POST", "/callback", strings.Repeat("a=b&", 100) + q, ""},
	} {
		r := httptest.NewRequestWithContext(t.Context(), c.method, c.target, strings.NewReader(c.body))
		if got := gotrue.StateTail(r); got != c.want {
			t.Errorf("%s: %q, want %q", what, got, c.want)
		}
		if left, _ := io.ReadAll(r.Body); string(left) != c.body {
			t.Errorf("%s: the handler is left %q of the body %q", what, left, c.body)
		}
	}
}
