package gotrue_test

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/dialect/gotrue"
)

// changing are all calls that change something, each with what it takes to make
// it. (POST /token also refreshes a session: that alone is no event, or the trail
// would grow with requests.) They share a house in which anna@example.com and bob@example.com live.
func changing(c *company) map[string]func(h *house) answer {
	op := bearer(authtest.Policy().OperatorToken)
	anna := func(h *house) string { access, _ := h.signIn("anna@example.com"); return bearer(access) }
	id := func(h *house, email string) string {
		h.t.Helper()
		u, err := h.UserByEmail(h.t.Context(), authtest.Operator(), email)
		if err != nil {
			h.t.Fatal(err)
		}
		return u.ID.String()
	}
	session := func(h *house, email string) (user, session, bear string) {
		access, _ := h.signIn(email)
		sid, _ := claims(h.t, access)["session_id"].(string)
		return id(h, email), sid, bearer(access)
	}
	calls := map[string]func(h *house) answer{
		"POST /signup": func(h *house) answer {
			return h.do("POST", "/signup", `{"email":"carl@example.com","password":"correct horse"}`)
		},
		"POST /token": func(h *house) answer {
			return h.do("POST", login, `{"email":"anna@example.com","password":"correct horse"}`)
		},
		"POST /verify": func(h *house) answer {
			return h.do("POST", "/verify", `{"type":"magiclink","token_hash":"`+h.mint("anna@example.com")+`"}`)
		},
		"POST /recover": func(h *house) answer { return h.do("POST", "/recover", `{"email":"anna@example.com"}`) },
		"POST /resend": func(h *house) answer {
			h.must(http.StatusOK, "POST", "/signup", `{"email":"dora@example.com","password":"correct horse"}`)
			h.Clock.Advance(2 * time.Minute)
			return h.do("POST", "/resend", `{"type":"signup","email":"dora@example.com"}`)
		},
		"POST /otp":           func(h *house) answer { return h.do("POST", "/otp", `{"email":"anna@example.com"}`) },
		"POST /magiclink":     func(h *house) answer { return h.do("POST", "/magiclink", `{"email":"bob@example.com"}`) },
		"PUT /user":           func(h *house) answer { return h.do("PUT", "/user", `{"data":{"a":1}}`, anna(h)) },
		"GET /reauthenticate": func(h *house) answer { return h.do("GET", "/reauthenticate", "", anna(h)) },
		"POST /logout":        func(h *house) answer { return h.do("POST", "/logout", "", anna(h)) },
		"DELETE /user/identities/{id}": func(h *house) answer {
			to := anna(h)
			h.must(http.StatusOK, "PUT", "/user", `{"phone":"+4915112345678"}`, to)
			texts := h.mailsTo("+4915112345678")
			h.must(http.StatusOK, "POST", "/verify", `{"type":"phone_change","phone":"+4915112345678","token":"`+texts[len(texts)-1].Code+`"}`)
			for _, d := range h.must(http.StatusOK, "GET", "/user", "", to).JSON["identities"].([]any) {
				if m := d.(map[string]any); m["provider"] == "phone" {
					return h.do("DELETE", "/user/identities/"+fmt.Sprint(m["identity_id"]), "", to)
				}
			}
			h.t.Fatal("anna has no identity of her number")
			return answer{}
		},
		"PATCH /sessions/{id}": func(h *house) answer {
			_, session, bear := session(h, "anna@example.com")
			return h.do("PATCH", "/sessions/"+session, `{"name":"kitchen"}`, bear)
		},
		"DELETE /sessions/{id}": func(h *house) answer {
			_, session, _ := session(h, "anna@example.com")
			return h.do("DELETE", "/sessions/"+session, "", anna(h))
		},
		"POST /invite":      func(h *house) answer { return h.do("POST", "/invite", `{"email":"emil@example.com"}`, op) },
		"POST /admin/users": func(h *house) answer { return h.do("POST", "/admin/users", `{"email":"fred@example.com"}`, op) },
		"PUT /admin/users/{id}": func(h *house) answer {
			return h.do("PUT", "/admin/users/"+id(h, "bob@example.com"), `{"role":"editor"}`, op)
		},
		"DELETE /admin/users/{id}": func(h *house) answer {
			return h.do("DELETE", "/admin/users/"+h.newUser("gone@example.com").String(), "", op)
		},
		"POST /admin/generate_link": func(h *house) answer {
			return h.do("POST", "/admin/generate_link", `{"type":"recovery","email":"bob@example.com"}`, op)
		},
		"DELETE /admin/users/{id}/sessions": func(h *house) answer {
			user, _, _ := session(h, "bob@example.com")
			return h.do("DELETE", "/admin/users/"+user+"/sessions", "", op)
		},
		"DELETE /admin/users/{id}/sessions/{session}": func(h *house) answer {
			user, session, _ := session(h, "bob@example.com")
			return h.do("DELETE", "/admin/users/"+user+"/sessions/"+session, "", op)
		},
	}
	maps.Copy(calls, changingHooks())
	maps.Copy(calls, changingOutside(c))
	return calls
}

// Nothing happens without an actor. Each call that changes something is made,
// and the last thing in the trail is what it did, with who did it.
//
// Mission: E08
func TestAudit_everyCallThatChangesSomethingNamesWhoDidIt(t *testing.T) {
	t.Parallel()
	c := &company{}
	h := newHouse(t, func(s *setup) {
		s.limits = false
		withAccounts(s)
		c.connected(s)
		s.policy.PhoneDisabled, s.policy.LinkingDisabled = false, false
	})
	h.newUser("anna@example.com")
	h.newUser("bob@example.com")
	calls := changing(c)
	for _, pattern := range gotrue.Patterns() {
		method, _, _ := strings.Cut(pattern, " ")
		call := calls[pattern]
		if call == nil {
			if method != "GET" && !instances(pattern) && !passing[pattern] {
				t.Errorf("%s is not among the calls that change something", pattern)
			}
			continue
		}
		h.Clock.Advance(5 * time.Minute)
		before, _ := h.audit("?per_page=1000")
		a := call(h)
		h.Deliver(t)
		if a.Code/100 != 2 && a.Code/100 != 3 {
			t.Errorf("%s = %d: %s", pattern, a.Code, a.Body)
			continue
		}
		after, _ := h.audit("?per_page=1000")
		if len(after) <= len(before) {
			t.Errorf("%s left nothing in the trail", pattern)
			continue
		}
		for _, e := range after[:len(after)-len(before)] {
			nobody := e.Payload["actor_id"] == (auth.UserID{}).String() && e.Payload["actor_username"] == ""
			if nobody || e.Payload["actor_id"] == "" || e.Payload["action"] == "" || e.IP == "" && e.Payload["actor_username"] != "system" {
				t.Errorf("%s left %+v, of which nobody knows who did it", pattern, e)
			}
		}
		delete(calls, pattern)
	}
	for pattern := range calls {
		t.Errorf("%s is no call of this API", pattern)
	}
}

// instances tells the calls about whole tenants, which only a house of many has.
func instances(pattern string) bool { return strings.Contains(pattern, " /instances") }
