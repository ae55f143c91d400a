package gotrue_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Who has spent the requests of one call has those of the others left.
func TestLimits_ofEachCallForMailAreItsOwn(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	next := addresses()
	calls := []string{"signup", "recover", "resend", "otp", "magiclink", "user"}
	for _, call := range calls {
		for i := range 30 {
			if a := limitedCalls[call](h, next()); a.Code == http.StatusTooManyRequests {
				t.Fatalf("%s, request %d = 429: %s", call, i+1, a.Body)
			}
		}
		refused(t, call+", request 31", limitedCalls[call](h, next()), http.StatusTooManyRequests)
	}
}

// Mission: S19
func TestLimits_aForgedHeaderBuysNoFurtherRequest(t *testing.T) {
	t.Parallel()
	for what, forged := range map[string]func(i int) []string{
		"X-Forwarded-For":            func(i int) []string { return []string{fmt.Sprint("X-Forwarded-For: 198.51.100.", i)} },
		"X-Forwarded-For, with hops": func(i int) []string { return []string{fmt.Sprintf("X-Forwarded-For: 198.51.100.%d, 10.0.0.1", i)} },
		"X-Forwarded-For, twice": func(i int) []string {
			return []string{"X-Forwarded-For: 10.0.0.1", fmt.Sprint("X-Forwarded-For: 198.51.100.", i)}
		},
		"X-Real-Ip":                   func(i int) []string { return []string{fmt.Sprint("X-Real-Ip: 198.51.100.", i)} },
		"Forwarded":                   func(i int) []string { return []string{fmt.Sprint("Forwarded: for=198.51.100.", i)} },
		"Sb-Forwarded-For":            func(i int) []string { return []string{fmt.Sprint("Sb-Forwarded-For: 198.51.100.", i)} },
		"an underscore":               func(i int) []string { return []string{fmt.Sprint("X_Forwarded_For: 198.51.100.", i)} },
		"a network of its own in /48": func(i int) []string { return []string{fmt.Sprintf("X-Forwarded-For: 2001:db8:1:%x::1", i)} },
	} {
		h := newHouse(t, func(s *setup) {
			s.server.Clients.Proxies, s.server.Clients.Supabase = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, true
		})
		last := answer{}
		for i := range 31 {
			last = h.do("POST", "/token?grant_type=refresh_token", `{"refresh_token":"x"}`, forged(i)...)
		}
		refused(t, "request 31 with "+what, last, http.StatusTooManyRequests)
	}
}

func TestLimits_aSessionIsRefreshedTenTimesAMinute(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.newUser("anna@example.com")
	_, refresh := h.signIn("anna@example.com")
	_, other := h.signIn("anna@example.com")
	trade := func(token string) answer {
		return h.do("POST", "/token?grant_type=refresh_token", `{"refresh_token":"`+token+`"}`)
	}
	for i := range 10 {
		a := trade(refresh)
		if a.Code != http.StatusOK {
			t.Fatalf("refresh %d = %d: %s", i+1, a.Code, a.Body)
		}
		refresh = a.text("refresh_token")
	}
	a := trade(refresh)
	refused(t, "refresh 11", a, http.StatusTooManyRequests)
	if a := trade(other); a.Code != http.StatusOK {
		t.Errorf("another session = %d: %s", a.Code, a.Body)
	}
	wait, _ := strconv.Atoi(a.Header().Get("Retry-After"))
	h.Clock.Advance(time.Duration(wait) * time.Second)
	if a := trade(refresh); a.Code != http.StatusOK {
		t.Errorf("after %d s = %d: %s", wait, a.Code, a.Body)
	}
}

// A stranger who guesses is told to wait, with the same answer for an address
// that is nobody's; the owner, where they were before, is not.
func TestLimits_wrongPasswordsWaitAlikeForAnybody(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(s *setup) { s.server.Clients.Header = "X-Client" })
	h.newUser("anna@example.com")
	in := func(email, password, client string) answer {
		return h.do("POST", "/token?grant_type=password", `{"email":"`+email+`","password":"`+password+`"}`, "X-Client: "+client)
	}
	if a := in("anna@example.com", "correct horse", "198.51.100.200"); a.Code != http.StatusOK {
		t.Fatalf("at home = %d: %s", a.Code, a.Body)
	}
	for i := range 7 {
		client := fmt.Sprint("198.51.100.", i)
		known, nobody := in("anna@example.com", "wrong", client), in("nobody@example.com", "wrong", client)
		if known.Code != nobody.Code || known.Body.String() != nobody.Body.String() || known.Header().Get("Retry-After") != nobody.Header().Get("Retry-After") {
			t.Errorf("try %d: %d %s %v, for nobody %d %s %v", i+1, known.Code, known.Body, known.Header(), nobody.Code, nobody.Body, nobody.Header())
		}
		want := http.StatusBadRequest
		if i >= 5 {
			want = http.StatusTooManyRequests
		}
		refused(t, fmt.Sprint("try ", i+1), known, want)
	}
	refused(t, "the right one of a stranger", in("anna@example.com", "correct horse", "198.51.100.99"), http.StatusTooManyRequests)
	if a := in("anna@example.com", "correct horse", "198.51.100.200"); a.Code != http.StatusOK {
		t.Errorf("the owner at home = %d: %s", a.Code, a.Body)
	}
}

func TestDevice_isKeptByBrowsersOfTheSiteAlone(t *testing.T) {
	t.Parallel()
	const cookie = "gatehouse-device"
	h := newHouse(t, func(s *setup) { s.server.Clients.Header = "X-Client" })
	h.newUser("anna@example.com")
	in := func(client string, headers ...string) answer {
		return h.do("POST", "/token?grant_type=password", `{"email":"anna@example.com","password":"correct horse"}`, append(headers, "X-Client: "+client)...)
	}
	kept := ""
	for what, c := range map[string]struct {
		header string
		want   bool
	}{
		"a program":              {"Accept: */*", false},
		"a page of the site":     {"Origin: " + site, true},
		"a page of this server":  {"Sec-Fetch-Site: same-origin", true},
		"a page beside it":       {"Sec-Fetch-Site: same-site", true},
		"a page of another site": {"Sec-Fetch-Site: cross-site", false},
		"another origin":         {"Origin: https://evil.example", false},
		"no origin":              {"Origin: null", false},
	} {
		got := in("198.51.100.1", c.header).Header().Get("Set-Cookie")
		if (got != "") != c.want {
			t.Errorf("%s is given %q", what, got)
		}
		if got == "" {
			continue
		}
		value, attributes, _ := strings.Cut(got, "; ")
		if want := "Path=/; Max-Age=34560000; HttpOnly; Secure; SameSite=Lax"; !strings.HasPrefix(value, cookie+"=") || attributes != want {
			t.Errorf("%s is given %q, want %s=… and %s", what, got, cookie, want)
		}
		kept = value
	}
	if got := in("198.51.100.1", "Origin: "+site, "Cookie: "+kept).Header().Get("Set-Cookie"); got != "" {
		t.Errorf("a browser that has one is given %q", got)
	}
	a := h.do("POST", "/token?grant_type=password", `{"email":"anna@example.com","password":"wrong"}`, "Origin: "+site, "X-Client: 198.51.100.2")
	if got := a.Header().Get("Set-Cookie"); got != "" {
		t.Errorf("a wrong password is given %q", got)
	}

	for i := range 10 {
		h.do("POST", "/token?grant_type=password", `{"email":"anna@example.com","password":"wrong"}`, fmt.Sprint("X-Client: 203.0.113.", i))
	}
	refused(t, "without it, far from home", in("198.51.100.3"), http.StatusTooManyRequests)
	if a := in("198.51.100.3", "Cookie: other=1; "+kept); a.Code != http.StatusOK {
		t.Errorf("with it, far from home = %d: %s", a.Code, a.Body)
	}
	refused(t, "with another cookie", in("198.51.100.4", "Cookie: other="+strings.TrimPrefix(kept, cookie+"=")), http.StatusTooManyRequests)
}

func TestDevice_onThisMachineNeedsNoTLS(t *testing.T) {
	t.Parallel()
	for url, secure := range map[string]bool{
		"http://localhost:8081": false, "http://127.0.0.1:8081": false, "http://[::1]:8081": false,
		"https://localhost": true, "http://auth.example": true, "http://localhost.example": true,
	} {
		h := newHouse(t, func(s *setup) { s.edge.ExternalURL = url })
		h.newUser("anna@example.com")
		a := h.do("POST", "/token?grant_type=password", `{"email":"anna@example.com","password":"correct horse"}`, "Sec-Fetch-Site: same-origin")
		if got := a.Header().Get("Set-Cookie"); got == "" || strings.Contains(got, "; Secure") != secure {
			t.Errorf("%s: %q, want secure %v", url, got, secure)
		}
	}
}
