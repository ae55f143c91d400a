package gotrue_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

func form(v ...string) url.Values {
	out := url.Values{}
	for i := 0; i < len(v); i += 2 {
		out.Set(v[i], v[i+1])
	}
	return out
}

// Mission: S19
func TestLimits_countEachClientByTheProxysHeader(t *testing.T) {
	t.Parallel()
	for name, send := range limitedCalls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, func(s *setup) { s.server.Clients.Header = "X-Client" })
			h.newUser("anna@example.com")
			next := addresses() // what is counted by address is not what this is about
			from := func(headers ...string) answer { return send(h, next(), headers...) }
			for i := range 30 {
				if a := from("X-Client: 203.0.113.9"); a.Code == http.StatusTooManyRequests {
					t.Fatalf("request %d = 429: %s", i+1, a.Body)
				}
			}
			a := from("X-Client: 203.0.113.9")
			refused(t, "request 31", a, http.StatusTooManyRequests)
			wait, err := strconv.Atoi(a.Header().Get("Retry-After"))
			if err != nil || wait < 1 {
				t.Fatalf("Retry-After is %q, want seconds", a.Header().Get("Retry-After"))
			}
			for _, same := range []string{"203.0.113.9, 10.0.0.1", "203.0.113.9:1234", " 203.0.113.9 ", "::ffff:203.0.113.9"} {
				if a := from("X-Client: " + same); a.Code != http.StatusTooManyRequests {
					t.Errorf("the same client as %q = %d, want 429", same, a.Code)
				}
			}
			if a := from("X-Client: 203.0.113.10"); a.Code == http.StatusTooManyRequests {
				t.Errorf("another client = 429: %s", a.Body)
			}
			if a := from("X-Client: 203.0.113.10", "X-Forwarded-For: 203.0.113.9"); a.Code == http.StatusTooManyRequests {
				t.Errorf("a header nobody configured is believed: %s", a.Body)
			}
			h.Clock.Advance(time.Duration(wait) * time.Second)
			if a := from("X-Client: 203.0.113.9"); a.Code == http.StatusTooManyRequests {
				t.Errorf("429 after the %d s it told to wait", wait)
			}
		})
	}
}

// limitedCalls are those that are counted for each client, each for an address
// nobody has.
var limitedCalls = map[string]func(h *house, email string, headers ...string) answer{
	"token": func(h *house, email string, headers ...string) answer {
		return h.do("POST", "/token?grant_type=password", `{"email":"`+email+`","password":"wrong"}`, headers...)
	},
	"token form": func(h *house, email string, headers ...string) answer {
		return h.form("/token", form("grant_type", "password", "username", email, "password", "wrong"), headers...)
	},
	"refresh": func(h *house, _ string, headers ...string) answer {
		return h.do("POST", "/token?grant_type=refresh_token", `{"refresh_token":"x"}`, headers...)
	},
	"verify": func(h *house, email string, headers ...string) answer {
		return h.do("POST", "/verify", `{"type":"email","email":"`+email+`","token":"123456"}`, headers...)
	},
	"verify form": func(h *house, _ string, headers ...string) answer {
		return h.form("/verify", form("token", "", "type", "magiclink"), headers...)
	},
	"recover": func(h *house, email string, headers ...string) answer {
		return h.do("POST", "/recover", `{"email":"`+email+`"}`, headers...)
	},
	"signup": func(h *house, email string, headers ...string) answer {
		return h.do("POST", "/signup", `{"email":"`+email+`","password":"x"}`, headers...)
	},
	"otp": func(h *house, _ string, headers ...string) answer { return h.do("POST", "/otp", `{}`, headers...) },
	"magiclink": func(h *house, _ string, headers ...string) answer {
		return h.do("POST", "/magiclink", `{}`, headers...)
	},
	"resend": func(h *house, _ string, headers ...string) answer { return h.do("POST", "/resend", `{}`, headers...) },
	"user":   func(h *house, _ string, headers ...string) answer { return h.do("PUT", "/user", `{}`, headers...) },
}

// Anonymous users are made 30 an hour, whatever else the sender may do.
func TestLimits_anonymousUsersAreThirtyAnHour(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(s *setup) { s.policy.AnonymousDisabled = false })
	for i := range 30 {
		if i == 15 {
			h.Clock.Advance(6 * time.Minute) // the general limit of sign-ups is full again, this one is not
		}
		h.must(http.StatusOK, "POST", "/signup", `{"data":{}}`)
	}
	h.Clock.Advance(time.Minute)
	for h.do("POST", "/signup", `{}`).Code == http.StatusOK {
		if h.Count(t) > 34 {
			t.Fatal("more than 34 anonymous users were made in eight minutes")
		}
	}
	a := h.do("POST", "/signup", `{}`)
	refused(t, "one too many", a, http.StatusTooManyRequests)
	if got := a.text("error_code"); got != "over_request_rate_limit" {
		t.Errorf("error_code = %q", got)
	}
	h.must(http.StatusOK, "POST", "/signup", `{"email":"anna@example.com","password":"correct horse"}`) // not a limit of theirs
}

func TestLimits_leavingTheHeaderOutIsNoWayRound(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(s *setup) { s.server.Clients.Header = "X-Client" })
	last := 0
	for range 31 {
		last = h.do("POST", "/token?grant_type=password", `{"email":"anna@example.com","password":"wrong"}`).Code
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("request 31 without the header = %d, want 429", last)
	}
}

func TestLimits_aNetworkIsOneClient(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(s *setup) { s.server.Clients.Header = "X-Client" })
	last := 0
	for i := range 31 {
		last = h.do("POST", "/token?grant_type=password", `{}`, fmt.Sprintf("X-Client: 2001:db8::%x", i+1)).Code
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("request 31 from a /64 network = %d, want 429: its owner has 2^64 addresses", last)
	}
}

func TestLimits_holdOnLinksThatFinishAtOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(s *setup) { s.edge.DirectLinks = true })
	last := 0
	for range 31 {
		last = h.do("GET", "/verify?token=guess&type=magiclink", "").Code
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("guess 31 = %d, want 429", last)
	}
}

func cookieIsAskedForAndNeverReadBack(t *testing.T) {
	h := newHouse(t, nil)
	h.newUser("anna@example.com")
	login := form("grant_type", "password", "username", "anna@example.com", "password", "correct horse")
	for ask, want := range map[string]string{
		"":        "",
		"1":       "Path=/; Max-Age=86400; HttpOnly; Secure; SameSite=Lax",
		"session": "Path=/; HttpOnly; Secure; SameSite=Lax",
	} {
		var headers []string
		if ask != "" {
			headers = append(headers, "X-Use-Cookie: "+ask)
		}
		a := h.form("/token", login, headers...)
		value, attributes, _ := strings.Cut(a.Header().Get("Set-Cookie"), "; ")
		if attributes != want || ask != "" && value != "nf_jwt="+a.text("access_token") {
			t.Errorf("X-Use-Cookie %q sets %q, want the access token and %q", ask, a.Header().Get("Set-Cookie"), want)
		}
	}
	access, _ := h.signIn("anna@example.com")
	for _, path := range []string{"/user", "/reauthenticate", "/admin/users"} {
		refused(t, path+" with a cookie alone", h.do("GET", path, "", "Cookie: nf_jwt="+access), http.StatusUnauthorized)
	}
	refused(t, "a token in the query", h.do("GET", "/user?access_token="+access+"&token="+access, ""), http.StatusUnauthorized)
	a := h.must(http.StatusNoContent, "POST", "/logout", "", bearer(access))
	if got := a.Header().Get("Set-Cookie"); !strings.HasPrefix(got, "nf_jwt=; ") || !strings.Contains(got, "Max-Age=0") {
		t.Errorf("logout sets %q, want the cookie taken away", got)
	}
}

// A form of another site can send what it likes as words or as a form, but no
// header of ours: it must leave nothing behind in the browser that sent it.
func formsSignNoBrowserIn(t *testing.T) {
	h := newHouse(t, func(s *setup) { s.policy.Autoconfirm, s.limits = true, false })
	h.newUser("anna@example.com")
	for _, ct := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"} {
		for path, body := range map[string]string{
			"/token?grant_type=password": `{"email":"anna@example.com","password":"correct horse","x":"="}`,
			"/token":                     "grant_type=password&username=anna@example.com&password=correct+horse",
			"/signup":                    `{"email":"new` + ct[:4] + `@example.com","password":"correct horse"}`,
			"/verify":                    `{"type":"magiclink","token_hash":"x"}`,
		} {
			a := h.do("POST", path, body, "Content-Type: "+ct, "Origin: https://evil.example", "Sec-Fetch-Site: cross-site")
			if got := a.Header().Get("Set-Cookie"); got != "" {
				t.Errorf("%s as %s sets the cookie %q", path, ct, got)
			}
			if a.Header().Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s as %s may be read with credentials by %v", path, ct, a.Header())
			}
			if a.Code == http.StatusSeeOther {
				t.Errorf("%s as %s redirects the browser to %s", path, ct, a.Header().Get("Location"))
			}
		}
	}
}

// malformedBearers are Authorization headers that hold nothing good.
func malformedBearers(good string) []string {
	return []string{
		"Bearer", "Bearer ", "bearer  ", " ", "Basic YTpi", "Basic " + good, good, "Token " + good, "Bearer: " + good, "BearerBearer " + good,
		"Bearer " + good + " " + good, "Bearer " + good + ".", "Bearer ." + good, "Bearer " + good + "=", "Bearer \"" + good + "\"", "Bearer " + good[:len(good)-2],
		"Bearer .", "Bearer ..", "Bearer ...", "Bearer null", "Bearer undefined", "Bearer {}", "Bearer []", "Bearer eyJhbGciOiJub25lIn0..",
		"Bearer \x00", "Bearer \xff\xfe", "Bearer " + strings.Repeat("a", 60_000), "Bearer " + strings.Repeat(".", 60_000), "Bearer " + strings.Repeat("eyJ", 1000) + ".a.b",
		"Digest username=\"" + good + "\"", "\t", ",", "Bearer ,Bearer " + good,
	}
}

func malformedBearersAreRefused(t *testing.T) {
	h := newHouse(t, nil)
	id := h.newUser("anna@example.com").String()
	access, _ := h.signIn("anna@example.com")
	for _, v := range malformedBearers(access) {
		for _, path := range []string{"/user", "/admin/users", "/reauthenticate", "/sessions", "/admin/users/" + id + "/sessions"} {
			r := newRequest("GET", path, strings.NewReader(""))
			r.Header["Authorization"] = []string{v}
			a := h.send(r)
			if a.Code != http.StatusUnauthorized && a.Code != http.StatusForbidden {
				t.Errorf("%s with Authorization %.60q = %d %s, want 401 or 403", path, v, a.Code, a.Body)
			}
		}
	}
	h.must(http.StatusOK, "GET", "/user", "", "Authorization: bEaReR   "+access) // RFC 9110 §11.1
	// A key that is no token is what supabase-js sends to public calls.
	h.must(http.StatusOK, "POST", "/token?grant_type=password", `{"email":"anna@example.com","password":"correct horse"}`, "Authorization: Bearer sb_publishable_x", "apikey: sb_publishable_x")
}

// guarded are the calls that want a bearer, and whose.
var guarded = map[string]string{
	"GET /user": "user", "PUT /user": "user", "GET /reauthenticate": "user", "POST /logout": "user", "DELETE /user/identities/$id": "user",
	"GET /sessions": "user", "PATCH /sessions/$id": "user", "DELETE /sessions/$id": "user",
	"POST /invite": "admin", "GET /admin/users": "admin", "POST /admin/users": "admin", "GET /admin/users/$id": "admin", "PUT /admin/users/$id": "admin",
	"DELETE /admin/users/$id": "admin", "POST /admin/generate_link": "admin", "GET /admin/users/$id/sessions": "admin",
	"DELETE /admin/users/$id/sessions": "admin", "DELETE /admin/users/$id/sessions/$id": "admin",
}

// Whoever brings no bearer, or one that is not good, or one of no
// administrator, learns nothing and changes nothing, whatever the body says.
func TestRoutes_areClosedWithoutTheRightBearer(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(s *setup) { s.limits = false })
	id := h.newUser("anna@example.com").String()
	access, _ := h.signIn("anna@example.com")
	ended, _ := h.signIn("anna@example.com")
	h.must(http.StatusNoContent, "POST", "/logout?scope=local", "", bearer(ended))
	for call, who := range guarded {
		method, path, _ := strings.Cut(strings.ReplaceAll(call, "$id", id), " ")
		bad := map[string]int{"": http.StatusUnauthorized, "rubbish": http.StatusForbidden, ended: http.StatusForbidden}
		if who == "admin" {
			bad[access] = http.StatusForbidden
		}
		for token, want := range bad {
			for _, body := range []string{"", "{}", `{"email":"eve@example.com","password":"correct horse","type":"invite","name":"x"}`} {
				var headers []string
				if token != "" {
					headers = append(headers, bearer(token))
				}
				refused(t, fmt.Sprintf("%s with the bearer %.10q and %s", call, token, body), h.do(method, path, body, headers...), want)
			}
		}
	}
	status(t, "anna, after all that", h.do("GET", "/user", "", bearer(access)), http.StatusOK)
	if got := h.Count(t); got != 1 {
		t.Errorf("there are %d users, want 1", got)
	}
}

// flow goes through a whole life of a user and returns what must never be in
// the log.
func (h *house) flow() map[string]string {
	h.t.Helper()
	c := map[string]string{"password": "kanarien.vogel.1", "new password": "kanarien.vogel.2", "wrong password": "kanarien.vogel.3"}
	const email = "canary@example.com"
	h.must(http.StatusOK, "POST", "/signup", `{"email":"`+email+`","password":"kanarien.vogel.1","data":{"full_name":"Kanarie Vogel"}}`)
	m := h.lastMail(email)
	c["confirmation token"], c["confirmation code"], c["name"] = m.Token, m.Code, "Kanarie"
	h.must(http.StatusOK, "GET", strings.TrimPrefix(m.Link, external), "")
	a := h.form("/verify", form("token", m.Token, "type", "signup"))
	u, err := url.Parse(a.Header().Get("Location"))
	if err != nil {
		h.t.Fatal(err)
	}
	frag, _ := url.ParseQuery(u.EscapedFragment())
	c["access token"], c["refresh token"] = frag.Get("access_token"), frag.Get("refresh_token")
	h.form("/verify", form("token", m.Token, "type", "signup"))
	h.do("POST", "/token?grant_type=password", `{"email":"`+email+`","password":"kanarien.vogel.3"}`)
	h.do("POST", "/token?grant_type=password&email="+email+"&password=kanarien.vogel.1", `{"email":"`+email+`","password":"kanarien.vogel.1"`)
	h.do("GET", "/user?access_token="+c["access token"], "", bearer(c["access token"]+"x"))
	h.do("POST", "/signup", `{"email":"`+email+` x","password":"kanarien.vogel.3"}`)
	refresh := c["refresh token"]
	for i := range 3 {
		a := h.must(http.StatusOK, "POST", "/token?grant_type=refresh_token", `{"refresh_token":"`+refresh+`"}`)
		refresh = a.text("refresh_token")
		c[fmt.Sprint("refresh token ", i)], c[fmt.Sprint("access token ", i)] = refresh, a.text("access_token")
	}
	access := c["access token 2"]
	h.must(http.StatusOK, "PUT", "/user", `{"password":"kanarien.vogel.2","email":"canary.next@example.com"}`, bearer(access))
	c["change token"], c["change code"] = h.lastMail("canary.next@example.com").Token, h.lastMail("canary.next@example.com").Code
	h.do("POST", "/verify", `{"type":"email_change","email":"canary.next@example.com","token":"`+c["change code"]+`"}`)
	h.must(http.StatusOK, "POST", "/recover", `{"email":"`+email+`"}`)
	c["recovery token"], c["recovery code"] = h.lastMail(email).Token, h.lastMail(email).Code
	h.do("POST", "/verify", `{"type":"recovery","email":"`+email+`","token":"`+c["recovery code"]+`1"}`)
	h.must(http.StatusOK, "POST", "/admin/users", `{"email":"canary.third@example.com","password":"kanarien.vogel.2"}`, bearer(h.Policy().OperatorToken))
	c["operator token"] = h.Policy().OperatorToken
	h.do("GET", "/admin/users?filter=canary@example.com", "", bearer(c["operator token"]+"x"))
	h.Clock.Advance(time.Minute)
	refused(h.t, "an old refresh token", h.do("POST", "/token?grant_type=refresh_token", `{"refresh_token":"`+c["refresh token"]+`"}`), http.StatusBadRequest)
	for name, value := range c {
		if value == "" {
			h.t.Fatalf("the flow gave no %s", name)
		}
	}
	return c
}

func TestLog_holdsNothingOfAWholeFlow(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	secrets := h.flow()
	log := h.log.String()
	if strings.Count(log, "msg=request") < 15 || !strings.Contains(log, "code=refresh_reused") || !strings.Contains(log, `route="POST /token"`) {
		t.Fatalf("the log does not tell what happened:\n%s", log)
	}
	for name, secret := range secrets {
		found := strings.Contains(log, secret)
		if len(secret) == 6 { // a code: six digits may be part of an id
			found = regexp.MustCompile(`\b` + secret + `\b`).MatchString(log)
		}
		for _, part := range strings.Split(secret, ".") { // of a token
			found = found || len(part) > 20 && strings.Contains(log, part)
		}
		if found {
			t.Errorf("the log holds the %s", name)
		}
	}
	if strings.Contains(log, "example.com") || strings.Contains(log, "canary") {
		t.Errorf("the log holds an address of mail:\n%s", log)
	}
}

func logIsNotForged(t *testing.T) {
	h := newHouse(t, func(s *setup) { s.server.RequestIDHeader, s.server.Clients.Header = "X-Request-Id", "X-Client" })
	const forged = "x\nlevel=ERROR msg=forged\r\nSet-Cookie: forged=1"
	r := newRequest("POST", "/token?grant_type=forged", strings.NewReader(`{"email":"forged"}`))
	for _, header := range []string{"X-Request-Id", "X-Client", "User-Agent", "Origin", "Referer", "X-Client-Info", "X-Nf-Client", "X-Forwarded-For"} {
		r.Header[header] = []string{forged}
	}
	r.URL.Path = "/forged\nlevel=ERROR msg=forged"
	h.send(r)
	r.URL.Path = "/token"
	a := h.send(r)
	log := h.log.String()
	if got := strings.Count(log, "\n"); got != 2 || strings.Contains(log, "forged") {
		t.Errorf("two requests are logged as %d lines:\n%s", got, log)
	}
	if id := a.Header().Get("X-Request-Id"); len(id) != 36 || !strings.Contains(log, "request_id="+id) {
		t.Errorf("the request is called %q, and logged as\n%s", id, log)
	}
	r.Header["X-Request-Id"] = []string{"edge-7.42"}
	if got := h.send(r).Header().Get("X-Request-Id"); got != "edge-7.42" {
		t.Errorf("an id of the proxy's becomes %q", got)
	}
}
