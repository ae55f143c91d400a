package gotrue_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"gatehouse/internal/storetest"
)

// call is a request that needs the database.
type call struct {
	name, method, path, body string
	headers                  []string
	reads                    bool // nothing is written for it
}

// calls are all there are, of people and questions that are there.
func (h *house) calls() []call {
	h.t.Helper()
	id := h.newUser("anna@example.com").String()
	access, refresh := h.signIn("anna@example.com")
	h.must(http.StatusOK, "POST", "/signup", `{"email":"bert@example.com","password":"correct horse"}`)
	m := h.lastMail("bert@example.com")
	var list []call
	for _, r := range routes {
		c := call{name: r.method + " " + r.path, method: r.method, path: r.at(h, id, access), body: r.body}
		c.body = strings.Replace(c.body, `"refresh_token":"x"`, `"refresh_token":"`+refresh+`"`, 1)
		switch r.who {
		case "user":
			c.headers = []string{bearer(access)}
		case "admin":
			c.headers = []string{bearer(h.Policy().OperatorToken)}
		}
		list = append(list, c)
	}
	asForm := []string{"Content-Type: application/x-www-form-urlencoded"}
	admin := []string{bearer(h.Policy().OperatorToken)}
	return append(list,
		call{"sign in by form", "POST", "/token", form("grant_type", "password", "username", "anna@example.com", "password", "correct horse").Encode(), asForm, false},
		call{"refresh by form", "POST", "/token", form("grant_type", "refresh_token", "refresh_token", refresh).Encode(), asForm, false},
		call{"a link's secret", "POST", "/verify", `{"type":"signup","token_hash":"` + m.Token + `"}`, nil, false},
		call{"Netlify's secret", "POST", "/verify", `{"type":"signup","token":"` + m.Token + `"}`, nil, false},
		call{"a link's page", "GET", "/verify?" + form("token", m.Token, "type", "signup").Encode(), "", nil, true},
		call{"the user", "GET", "/user", "", []string{bearer(access)}, true},
		call{"the sessions", "GET", "/sessions", "", []string{bearer(access)}, true},
		call{"end a session", "DELETE", "/sessions/" + claims(h.t, access)["session_id"].(string), "", []string{bearer(access)}, false},
		call{"a user's sessions", "GET", "/admin/users/" + id + "/sessions", "", admin, true},
		call{"the users by cursor", "GET", "/admin/users?limit=2", "", admin, true},
		call{"sign out", "POST", "/logout", "", []string{bearer(access)}, false},
		call{"the users", "GET", "/admin/users", "", admin, true},
		call{"one of them", "GET", "/admin/users/" + id, "", admin, true},
	)
}

// manners are the ways a client may tell whose it is.
var manners = map[string][]string{
	"Supabase":         {"X-Client-Info: supabase-js/2"},
	"Supabase, newer":  {"X-Supabase-Api-Version: 2024-01-01"},
	"Netlify":          {"X-Nf-Client: 1"},
	"nobody's":         nil,
	"with credentials": {"X-Nf-Client: 1", "X-Use-Cookie: 1"},
}

// unavailable checks that an answer says «not now» in words the client knows.
func unavailable(t *testing.T, name string, a answer) {
	t.Helper()
	if a.Code != http.StatusServiceUnavailable {
		t.Errorf("%s = %d, want 503: %s", name, a.Code, a.Body)
		return
	}
	wait, err := strconv.Atoi(a.Header().Get("Retry-After"))
	if err != nil || wait < 1 {
		t.Errorf("%s: Retry-After is %q, want seconds", name, a.Header().Get("Retry-After"))
	}
	if a.Header().Get("Set-Cookie") != "" {
		t.Errorf("%s takes the cookie away: %s", name, a.Header().Get("Set-Cookie"))
	}
	code, known := a.JSON["error_code"], []any{"unexpected_failure"}
	switch {
	case a.JSON["error"] != nil: // RFC 6749 §5.2
		code, known = a.JSON["error"], []any{"server_error"}
	case a.JSON["message"] != nil:
		code = a.JSON["code"]
	case a.JSON["code"] != 503.0:
		t.Errorf("%s: the body's code is %v, want 503", name, a.JSON["code"])
	}
	if !slices.Contains(known, code) || a.text("msg")+a.text("message")+a.text("error_description") == "" || a.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%s: the answer is no JSON with a code that clients know and a text: %s", name, a.Body)
	}
}

// A database that is away is never the client's fault and nobody's end: clients
// keep their tokens at a 503, and throw them away at most other answers.
func TestUnavailable_isToldInEverybodysWordsAndEndsNoSession(t *testing.T) {
	h := newHouse(t, func(s *setup) { everythingOpen(s); s.frail = true })
	calls := h.calls()
	access, refresh := h.signIn("anna@example.com")
	writesOnly := storetest.Engine() == "sqlite" // which is a file, and can be read
	h.outage.Cut(t)
	var all sync.WaitGroup
	for who, headers := range manners {
		for _, c := range calls {
			all.Go(func() {
				a := h.do(c.method, c.path, c.body, append(slices.Clone(c.headers), headers...)...)
				name := fmt.Sprintf("%s, asked in %s manners", c.name, who)
				if c.reads && writesOnly {
					if a.Code != http.StatusOK {
						t.Errorf("%s = %d; reading goes on: %s", name, a.Code, a.Body)
					}
					return
				}
				unavailable(t, name, a)
			})
		}
	}
	for _, path := range []string{"/health", "/settings", "/.well-known/jwks.json"} {
		h.must(http.StatusOK, "GET", path, "") // which needs no database
	}
	all.Wait()
	h.outage.Mend(t)
	h.must(http.StatusOK, "GET", "/user", "", bearer(access))
	h.must(http.StatusOK, "POST", "/token?grant_type=refresh_token", `{"refresh_token":"`+refresh+`"}`)
	if got := h.Count(t); got != 2 {
		t.Errorf("%d users, want 2: what was answered 503 is not done", got)
	}
	h.signIn("anna@example.com")
}

// Who presses the button of a mailed link's page, or follows a link that
// finishes at once, is not told that access is denied.
func TestUnavailable_refusesNoLink(t *testing.T) {
	h := newHouse(t, func(s *setup) { s.limits, s.frail, s.edge.DirectLinks = false, true, true })
	h.must(http.StatusOK, "POST", "/signup", `{"email":"bert@example.com","password":"correct horse"}`)
	q := form("token", h.lastMail("bert@example.com").Token, "type", "signup")
	h.outage.Cut(t)
	answers := map[string]answer{"the page's button": h.form("/verify", q), "a direct link": h.do("GET", "/verify?"+q.Encode(), "")}
	h.outage.Mend(t)
	for name, a := range answers {
		if strings.Contains(a.Header().Get("Location"), "access_denied") {
			t.Errorf("%s leads to %s, want no refusal of what can be had a moment later", name, a.Header().Get("Location"))
		}
		if a.Code == http.StatusServiceUnavailable && a.Header().Get("Retry-After") == "" {
			t.Errorf("%s does not tell when to come back", name)
		}
	}
	a := h.form("/verify", q)
	u, err := url.Parse(a.Header().Get("Location"))
	if err != nil || !strings.Contains(u.Fragment, "access_token=") {
		t.Errorf("later the link leads to %s (%v), want a session", u, err)
	}
}
