package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"gatehouse/internal/storetest"
	"gatehouse/internal/webhook"
)

// hookSecret signs the hooks of the tests, and webhookSecret the webhooks.
const (
	hookSecret    = "v1,whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
	webhookSecret = "the secret of the webhooks of the tests"
)

// responder is an operator's own service, as far as a test can be one. It checks
// the signature of all it gets.
type responder struct {
	*httptest.Server
	t *testing.T

	mu     sync.Mutex
	calls  []hookCall
	answer func(w http.ResponseWriter, c hookCall) // nil: {}
}

// hookCall is one request to a responder.
type hookCall struct {
	path string
	in   map[string]any
}

func (c hookCall) at(keys ...string) any {
	var v any = c.in
	for _, k := range keys {
		m, _ := v.(map[string]any)
		v = m[k]
	}
	return v
}

func (c hookCall) text(keys ...string) string { s, _ := c.at(keys...).(string); return s }

// respond starts one that answers each call with answer.
func respond(t *testing.T, answer func(w http.ResponseWriter, c hookCall)) *responder {
	t.Helper()
	r := &responder{t: t, answer: answer}
	r.Server = httptest.NewServer(http.HandlerFunc(r.serve))
	t.Cleanup(r.Close)
	return r
}

func (r *responder) serve(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // the server hung up
	}
	if req.Header.Get("X-Netlify-Event") != "" {
		r.checkNetlify(req, body)
	} else {
		secrets, err := webhook.ParseSecrets(hookSecret)
		if err != nil {
			r.t.Error(err)
		}
		err = webhook.Verify(req.Header, body, time.Now(), secrets...)
		if err != nil {
			r.t.Errorf("the call of %s is not signed: %v", req.URL.Path, err)
		}
	}
	c := hookCall{path: req.URL.Path}
	err = json.Unmarshal(body, &c.in)
	if err != nil {
		r.t.Errorf("%s: %v: %s", req.URL.Path, err, body)
	}
	r.mu.Lock()
	r.calls = append(r.calls, c)
	r.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if r.answer == nil {
		_, _ = io.WriteString(w, `{}`)
		return
	}
	r.answer(w, c)
}

// checkNetlify verifies a webhook as Netlify's functions do.
func (r *responder) checkNetlify(req *http.Request, body []byte) {
	key := []byte(webhookSecret)
	if strings.HasPrefix(req.URL.Path, "/lent") {
		key = []byte(lentSecret)
	}
	claims := jwt.MapClaims{}
	_, err := jwt.ParseWithClaims(req.Header.Get("X-Webhook-Signature"), claims, func(*jwt.Token) (any, error) { return key, nil }, jwt.WithValidMethods([]string{"HS256"}))
	digest := sha256.Sum256(body)
	if err != nil || claims["iss"] != "gotrue" || claims["sha256"] != hex.EncodeToString(digest[:]) {
		r.t.Errorf("the webhook %s is not signed: %v, %v", req.Header.Get("X-Netlify-Event"), err, claims)
	}
}

// of returns the calls of a path so far.
func (r *responder) of(path string) (list []hookCall) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.calls {
		if c.path == path {
			list = append(list, c)
		}
	}
	return list
}

// next waits for the n-th call of a path.
func (r *responder) next(path string, n int) hookCall {
	r.t.Helper()
	until(r.t, fmt.Sprint("call ", n, " of ", path), func() bool { return len(r.of(path)) >= n })
	return r.of(path)[n-1]
}

// hooked are the settings of hooks at a responder, each at a path of its own name.
func hooked(r *responder, names ...string) []string {
	list := []string{"GATEHOUSE_OUTGOING_ALLOW_PRIVATE=true"}
	for _, n := range names {
		list = append(list, "GOTRUE_HOOK_"+n+"_ENABLED=true", "GOTRUE_HOOK_"+n+"_URI="+r.URL+"/"+n, "GOTRUE_HOOK_"+n+"_SECRETS="+hookSecret)
	}
	return list
}

// webhooked are the settings of a webhook at a responder.
func webhooked(r *responder, events string) []string {
	return []string{
		"GATEHOUSE_OUTGOING_ALLOW_PRIVATE=true", "GOTRUE_WEBHOOK_URL=" + r.URL + "/netlify", "GOTRUE_WEBHOOK_EVENTS=" + events, "GOTRUE_WEBHOOK_SECRET=" + webhookSecret,
	}
}

func say(w http.ResponseWriter, status int, body string) {
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

const autoconfirmed = "GOTRUE_MAILER_AUTOCONFIRM=true"

func TestHooks_areAskedBeforeAUserIsMade(t *testing.T) {
	t.Parallel()
	r := respond(t, func(w http.ResponseWriter, c hookCall) {
		if strings.HasPrefix(c.text("user", "email"), "bad") {
			say(w, 403, `{"error":{"http_code":418,"message":"not from here"}}`)
			return
		}
		w.WriteHeader(204)
	})
	s := start(t, append(hooked(r, "BEFORE_USER_CREATED", "AFTER_USER_CREATED"), autoconfirmed)...)
	a := s.do(200, "POST", "/signup", object{"email": "ada@example.com", "password": password, "data": object{"name": "Ada"}})
	c := r.next("/BEFORE_USER_CREATED", 1)
	alike(t, c.text("user", "email"), "ada@example.com", c.text("user", "user_metadata", "name"), "Ada", c.text("user", "id"), a.text("user", "id"),
		c.text("metadata", "name"), "before-user-created", c.text("metadata", "ip_address"), "127.0.0.1", len(c.text("metadata", "uuid")), 36)
	after := r.next("/AFTER_USER_CREATED", 1)
	alike(t, after.text("user", "id"), a.text("user", "id"), after.text("metadata", "name"), "after-user-created")

	for _, family := range []struct {
		header string
		keys   []string
	}{{"X-Client-Info: supabase-js/2", []string{"error_code", "msg"}}, {"X-Supabase-Api-Version: 2024-01-01", []string{"code", "message"}}, {"X-Nf-Client: gotrue-js", []string{"error_code", "msg"}}} {
		a = s.do(418, "POST", "/signup", object{"email": "bad@example.com", "password": password}, family.header)
		alike(t, a.text(family.keys[0]), "unknown", a.text(family.keys[1]), "not from here")
	}
	alike(t, s.sql(`SELECT count(*) FROM users`), "1")
	s.delivered()
	alike(t, len(r.of("/AFTER_USER_CREATED")), 1)
}

func TestHooks_sayWhatATokenHolds(t *testing.T) {
	t.Parallel()
	r := respond(t, func(w http.ResponseWriter, c hookCall) {
		claims, _ := c.at("claims").(map[string]any)
		claims["plan"], claims["role"] = "gold", "member"
		if c.text("claims", "email") == "thief@example.com" {
			claims["sub"] = "00000000-0000-4000-8000-000000000001"
		}
		b, err := json.Marshal(object{"claims": claims})
		if err != nil {
			t.Error(err)
		}
		say(w, 200, string(b))
	})
	s := start(t, append(hooked(r, "CUSTOM_ACCESS_TOKEN"), autoconfirmed)...)
	a := s.do(200, "POST", "/signup", object{"email": "ada@example.com", "password": password})
	alike(t, claim(t, a, "plan"), "gold", claim(t, a, "role"), "member", r.of("/CUSTOM_ACCESS_TOKEN")[0].text("authentication_method"), "password")
	s.do(200, "GET", "/user", nil, bearer(a.text("access_token")))
	a = s.refresh(200, a.text("refresh_token"))
	alike(t, claim(t, a, "plan"), "gold", r.of("/CUSTOM_ACCESS_TOKEN")[1].text("authentication_method"), "token_refresh")

	a = s.do(500, "POST", "/signup", object{"email": "thief@example.com", "password": password})
	if !strings.Contains(a.text("msg"), "do not conform") || len(s.sql(`SELECT count(*) FROM sessions WHERE ended_at = 0`)) != 1 {
		t.Errorf("another's sub: %s", a.body)
	}
	alike(t, s.sql(`SELECT count(*) FROM sessions WHERE ended_at = 0`), "1")
}

func TestHooks_judgePasswords(t *testing.T) {
	t.Parallel()
	r := respond(t, func(w http.ResponseWriter, c hookCall) {
		if c.at("valid") == true {
			say(w, 200, `{"decision":"reject","message":"not today","should_logout_user":true}`)
			return
		}
		say(w, 200, `{"decision":"continue"}`)
	})
	s := start(t, hooked(r, "PASSWORD_VERIFICATION_ATTEMPT")...)
	id := s.person("ada@example.com")
	alike(t, s.refuseSignIn(400, "ada@example.com", "wrong").text("error_code"), "invalid_credentials")
	a := s.refuseSignIn(400, "ada@example.com", password)
	alike(t, a.text("error_code"), "invalid_credentials", a.text("msg"), "not today")
	calls := r.of("/PASSWORD_VERIFICATION_ATTEMPT")
	alike(t, len(calls), 2, calls[0].text("user_id"), id, calls[0].at("valid"), false, calls[1].at("valid"), true)
}

func TestHooks_sendMail(t *testing.T) {
	t.Parallel()
	r := respond(t, nil)
	s := start(t, append(hooked(r, "SEND_EMAIL"), "GOTRUE_SITE_URL=https://site.example", "GATEHOUSE_SMTP_MAX_FREQUENCY=0")...)
	const path = "/SEND_EMAIL"
	s.do(200, "POST", "/signup", object{"email": "ada@example.com", "password": password})
	c := r.next(path, 1)
	alike(t, c.text("user", "email"), "ada@example.com", c.text("email_data", "email_action_type"), "signup", c.text("email_data", "redirect_to"), "https://site.example",
		c.text("email_data", "site_url"), s.url, c.text("email_data", "token_new"), "", c.text("metadata", "name"), "send-email")
	a := s.do(200, "POST", "/verify", object{"type": "signup", "token_hash": c.text("email_data", "token_hash")})
	access := a.text("access_token")

	s.do(200, "POST", "/otp", object{"email": "ada@example.com"})
	c = r.next(path, 2)
	alike(t, c.text("email_data", "email_action_type"), "magiclink")
	s.do(200, "POST", "/verify", object{"type": "email", "email": "ada@example.com", "token": c.text("email_data", "token")})

	// A change of address is one call, and looks crossed.
	s.do(200, "PUT", "/user", object{"email": "new@example.com"}, bearer(access))
	c = r.next(path, 3)
	alike(t, c.text("email_data", "email_action_type"), "email_change", c.text("user", "new_email"), "new@example.com")
	first := s.do(200, "POST", "/verify", object{"type": "email_change", "email": "ada@example.com", "token": c.text("email_data", "token")})
	alike(t, first.text("access_token"), "")
	second := s.do(200, "POST", "/verify", object{"type": "email_change", "token_hash": c.text("email_data", "token_hash")})
	alike(t, second.text("user", "email"), "new@example.com")

	// Its notice, and the way back.
	c = r.next(path, 4)
	alike(t, c.text("email_data", "email_action_type"), "email_changed_notification", c.text("email_data", "old_email"), "ada@example.com", c.text("email_data", "token"), "")
	if !strings.HasPrefix(c.text("email_data", "undo_url"), s.url+"/undo?token=") {
		t.Errorf("the notice has no link that undoes it: %v", c.in)
	}
	alike(t, len(r.of(path)), 4)
}

func TestHooks_sendMailForAnAddressThatIsAnothers(t *testing.T) {
	t.Parallel()
	r := respond(t, nil)
	s := start(t, hooked(r, "SEND_EMAIL")...)
	s.person("ada@example.com")
	s.person("owner@example.com")
	access := s.signIn("ada@example.com", password).text("access_token")
	s.do(200, "PUT", "/user", object{"email": "owner@example.com"}, bearer(access))
	wanted, current := r.next("/SEND_EMAIL", 1), r.next("/SEND_EMAIL", 2)
	if wanted.text("email_data", "email_action_type") != "address_wanted" {
		wanted, current = current, wanted
	}
	alike(t, wanted.text("email_data", "email_action_type"), "address_wanted", wanted.text("user", "email"), "owner@example.com", wanted.text("email_data", "token"), "", wanted.text("email_data", "token_hash"), "",
		current.text("user", "email"), "ada@example.com", current.text("email_data", "token_new"), "", current.text("email_data", "token_hash"), "")
	if current.text("email_data", "token_hash_new") == "" {
		t.Errorf("the address ada has is not asked: %v", current.in)
	}
}

func TestHooks_sendTextMessages(t *testing.T) {
	t.Parallel()
	r := respond(t, nil)
	s := start(t, phoneSettings(hooked(r, "SEND_SMS")...)...)
	s.do(200, "POST", "/signup", object{"phone": number, "password": password})
	c := r.next("/SEND_SMS", 1)
	alike(t, c.text("user", "phone"), number[1:], c.text("sms", "phone"), number[1:], c.text("sms", "sms_type"), "confirmation", c.text("metadata", "name"), "send-sms")
	s.do(200, "POST", "/verify", object{"type": "sms", "phone": number, "token": c.text("sms", "otp")})
}

func TestHooks_tellOfAUserUntilTheyAreHeard(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	failed := false
	r := respond(t, func(w http.ResponseWriter, _ hookCall) {
		mu.Lock()
		defer mu.Unlock()
		if !failed {
			failed = true
			say(w, 500, `out of order`)
			return
		}
		say(w, 200, `{}`)
	})
	s := start(t, append(hooked(r, "AFTER_USER_CREATED"), autoconfirmed)...)
	s.do(200, "POST", "/signup", object{"email": "ada@example.com", "password": password})
	r.next("/AFTER_USER_CREATED", 2)
	s.delivered()
	if strings.Contains(s.log.String(), "ada@example.com") {
		t.Errorf("the log has her address:\n%s", s.log)
	}
}

// Mission: E06, E07
func TestWebhook_ofEachEventIsSignedAndMayChangeTheUser(t *testing.T) {
	t.Parallel()
	r := respond(t, func(w http.ResponseWriter, c hookCall) {
		switch c.text("event") {
		case "validate":
			say(w, 200, `{"user_metadata":{"by":"validate"}}`)
		case "signup":
			say(w, 200, `{"app_metadata":{"roles":["editor"]}}`)
		case "login":
			say(w, 200, `{"user_metadata":{"by":"login"}}`)
		default:
			w.WriteHeader(204)
		}
	})
	s := start(t, webhooked(r, "validate,signup,login,usermodified,userdeleted")...)
	const path = "/netlify"
	s.do(200, "POST", "/signup", object{"email": "ada@example.com", "password": password, "data": object{"by": "ada"}})
	c := r.next(path, 1)
	alike(t, c.text("event"), "validate", c.text("instance_id"), "00000000-0000-0000-0000-000000000000", c.text("user", "email"), "ada@example.com", c.text("user", "user_metadata", "by"), "ada")
	_, said := s.follow(s.mail("ada@example.com", 1).Links[0])
	if said.Get("access_token") == "" {
		t.Fatalf("the link let nobody in: %v", said)
	}
	alike(t, r.next(path, 2).text("event"), "signup", len(r.of(path)), 2)
	a := s.signIn("ada@example.com", password)
	alike(t, r.next(path, 3).text("event"), "login", a.text("user", "user_metadata", "by"), "login", fmt.Sprint(a.at("user", "app_metadata", "roles")), "[editor]")
	id := a.text("user", "id")
	s.do(200, "PUT", "/admin/users/"+id, object{"role": "member"}, bearer(operator))
	c = r.next(path, 4)
	alike(t, c.text("event"), "usermodified", c.text("user", "role"), "member")
	s.do(200, "DELETE", "/admin/users/"+id, nil, bearer(operator))
	c = r.next(path, 5)
	alike(t, c.text("event"), "userdeleted", c.text("user", "id"), id)
}

// Mission: E06
func TestWebhook_isCalledForListedEventsAlone(t *testing.T) {
	t.Parallel()
	r := respond(t, nil)
	s := start(t, append(webhooked(r, "login"), autoconfirmed)...)
	s.do(200, "POST", "/signup", object{"email": "ada@example.com", "password": password})
	s.signIn("ada@example.com", password)
	calls := r.of("/netlify")
	alike(t, len(calls), 1, calls[0].text("event"), "login")
}

// Mission: E07
func TestWebhook_thatRefusesIsTriedAgainAndThenNothingIsDone(t *testing.T) {
	t.Parallel()
	r := respond(t, func(w http.ResponseWriter, _ hookCall) { say(w, 401, `no`) })
	s := start(t, append(webhooked(r, "validate,login,signup"), autoconfirmed)...)
	a := s.do(422, "POST", "/signup", object{"email": "ada@example.com", "password": password})
	alike(t, a.text("msg"), "Failed to handle validate webhook", len(r.of("/netlify")), 3, s.sql(`SELECT count(*) FROM users`), "0")
	s.person("bob@example.com")
	a = s.refuseSignIn(422, "bob@example.com", password)
	alike(t, a.text("msg"), "Failed to handle login webhook", s.sql(`SELECT count(*) FROM sessions`), "0")
}

// A code is not spent on a sign-in that is refused.
func TestWebhook_thatRefusesSpendsNoLink(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	status := 401
	r := respond(t, func(w http.ResponseWriter, _ hookCall) {
		mu.Lock()
		defer mu.Unlock()
		w.WriteHeader(status)
	})
	s := start(t, append(webhooked(r, "signup"), "GOTRUE_WEBHOOK_RETRIES=1")...)
	s.do(200, "POST", "/signup", object{"email": "ada@example.com", "password": password})
	code := s.mail("ada@example.com", 1).Code
	confirm := object{"type": "signup", "email": "ada@example.com", "token": code}
	s.do(422, "POST", "/verify", confirm)
	mu.Lock()
	status = 204
	mu.Unlock()
	s.do(200, "POST", "/verify", confirm)
	s.do(403, "POST", "/verify", confirm)
}

// hostile are services that do all a service should not.
func hostile() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"fails": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"hangs": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"drips": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for r.Context().Err() == nil {
				<-tick.C
				_, _ = io.WriteString(w, " ")
				_ = http.NewResponseController(w).Flush()
			}
		},
		"redirects": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/latest/meta-data", http.StatusTemporaryRedirect)
		},
		"floods": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			junk := []byte(strings.Repeat(" ", 1<<20))
			for range 1 << 10 {
				if _, err := w.Write(junk); err != nil || r.Context().Err() != nil {
					return
				}
			}
		},
		"says yes in HTML": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<p>yes</p>")
		},
	}
}

func TestHooks_thatMisbehaveLetNobodyInAndKeepNobodyWaiting(t *testing.T) {
	t.Parallel()
	want := map[string][2]int{ // of a hook, of a webhook
		"fails": {500, 422}, "hangs": {422, 504}, "drips": {422, 504}, "redirects": {500, 422}, "floods": {422, 500}, "says yes in HTML": {400, 500},
	}
	for name, h := range hostile() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				_, _ = io.Copy(io.Discard, req.Body) // only then does it hear that the other side hung up
				h(w, req)
			}))
			t.Cleanup(r.Close)
			at := &responder{Server: r}
			for i, settings := range [][]string{hooked(at, "BEFORE_USER_CREATED"), append(webhooked(at, "validate"), "GOTRUE_WEBHOOK_TIMEOUTSEC=1", "GOTRUE_WEBHOOK_RETRIES=2")} {
				s := start(t, append(settings, autoconfirmed)...)
				s.person("bob@example.com")
				const many = 20
				var group sync.WaitGroup
				begun := time.Now()
				for n := range many {
					group.Go(func() {
						a, err := s.ask("POST", "/signup", object{"email": fmt.Sprint("ada", n, "@example.com"), "password": password})
						if err != nil || a.status != want[name][i] {
							t.Errorf("%d %s, %v; want %d", a.status, a.body, err, want[name][i])
						}
					})
				}
				s.signIn("bob@example.com", password) // whom nobody is asked about
				group.Wait()
				if took := time.Since(begun); took > 4*patience/5 {
					t.Errorf("it took %v", took)
				}
				alike(t, s.sql(`SELECT count(*) FROM users`), "1")
				if strings.Contains(s.log.String(), "169.254") {
					t.Errorf("the redirect was followed:\n%s", s.log)
				}
			}
		})
	}
}

// K06: a hook that itself asks the server must not wait for what waits for it.
func TestHooks_mayAskTheServerThatAsksThem(t *testing.T) {
	t.Parallel()
	var s *server
	r := respond(t, func(w http.ResponseWriter, c hookCall) {
		if c.text("user", "email") != "inner@example.com" {
			a, err := s.ask("POST", "/signup", object{"email": "inner@example.com", "password": password})
			if err != nil || a.status != 200 {
				t.Errorf("inside: %d %s, %v", a.status, a.body, err)
			}
		}
		say(w, 200, `{}`)
	})
	s = start(t, append(hooked(r, "BEFORE_USER_CREATED"), autoconfirmed, "GATEHOUSE_DB_MAX_POOL_SIZE=1")...)
	s.do(200, "POST", "/signup", object{"email": "outer@example.com", "password": password})
	alike(t, s.sql(`SELECT count(*) FROM users`), "2")
}

func TestHooks_mayBeFunctionsOfTheDatabase(t *testing.T) {
	t.Parallel()
	if !slices.Contains(storetest.Engines(), "postgres") {
		t.Skip("PostgreSQL is not among the engines that are tested")
	}
	db := database{"postgres", storetest.MigratedURL(t, "postgres")}
	db.change(t, `CREATE FUNCTION public.hook_before(event jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN
		IF event->'user'->>'email' LIKE 'slow%' THEN PERFORM pg_sleep(60); END IF;
		IF event->'user'->>'email' LIKE 'bad%' THEN RETURN '{"error":{"http_code":403,"message":"not from here"}}'; END IF;
		IF event->'user'->>'email' LIKE 'odd%' THEN RAISE EXCEPTION 'odd: %', event; END IF;
		RETURN '{}'; END $$`)
	s := start(t, db.settings("GATEHOUSE_DB_MAX_POOL_SIZE=1", autoconfirmed,
		"GOTRUE_HOOK_BEFORE_USER_CREATED_ENABLED=true", "GOTRUE_HOOK_BEFORE_USER_CREATED_URI=pg-functions://postgres/public/hook_before")...)
	for email, status := range map[string]int{"ada@example.com": 200, "bad@example.com": 403, "odd@example.com": 500, "slow@example.com": 422} {
		s.do(status, "POST", "/signup", object{"email": email, "password": password})
	}
	alike(t, s.sql(`SELECT count(*) FROM users`), "1")
	if strings.Contains(s.log.String(), "odd@example.com") {
		t.Errorf("the log has an address:\n%s", s.log)
	}
}

// lentSecret is JWT_SECRET of the instance whose webhooks a proxy names.
const lentSecret = "the-shared-secret-of-an-instance-0123456789"

func TestWebhook_isNamedByAProxyInFront(t *testing.T) {
	t.Parallel()
	r := respond(t, func(w http.ResponseWriter, c hookCall) {
		if c.path == "/lent-no" {
			say(w, 401, `no`)
			return
		}
		w.WriteHeader(204)
	})
	s := start(t, "GATEHOUSE_MULTIINSTANCEMODE=true", "GATEHOUSE_OUTGOING_ALLOW_PRIVATE=true")
	id := s.do(201, "POST", "/instances", object{"uuid": "a", "config": object{"jwt": object{"secret": lentSecret}, "mailer": object{"autoconfirm": true}}}, bearer(operator)).text("id")
	sign := func(hooks object) string {
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"id": id, "site_url": r.URL, "function_hooks": hooks}).SignedString([]byte(operator))
		if err != nil {
			t.Fatal(err)
		}
		return "X-Nf-Sign: " + token
	}
	two := sign(object{"signup": []string{"/lent-1", r.URL + "/lent-2"}, "userdeleted": r.URL + "/lent-gone"})
	a := s.do(200, "POST", "/signup", object{"email": "ada@example.com", "password": password}, two)
	alike(t, len(r.of("/lent-1")), 1, len(r.of("/lent-2")), 1, r.of("/lent-1")[0].text("instance_id"), id)
	s.do(200, "DELETE", "/admin/users/"+a.text("user", "id"), nil, two, bearer(adminOf(t, lentSecret)))
	alike(t, r.next("/lent-gone", 1).text("event"), "userdeleted")
	s.do(422, "POST", "/signup", object{"email": "bob@example.com", "password": password}, sign(object{"validate": r.URL + "/lent-no"}))
}

// adminOf is a token of an administrator's role.
func adminOf(t *testing.T, secret string) string {
	t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"role": "service_role", "exp": time.Now().Add(time.Hour).Unix()}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// claim is one of an answer's access token.
func claim(t *testing.T, a answer, name string) any {
	t.Helper()
	parts := strings.Split(a.text("access_token"), ".")
	if len(parts) != 3 {
		t.Fatalf("no access token: %s", a.body)
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims map[string]any
	if err == nil {
		err = json.Unmarshal(b, &claims)
	}
	if err != nil {
		t.Fatal(err)
	}
	return claims[name]
}

// alike compares values in pairs.
func alike(t *testing.T, pairs ...any) {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i] != pairs[i+1] {
			t.Errorf("got %v, want %v", pairs[i], pairs[i+1])
		}
	}
}
