package main

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// Mission: S18, P11
func TestSignIn_tellsNothingAndKeepsNoPassword(t *testing.T) {
	t.Parallel()
	s := start(t, "GATEHOUSE_PASSWORD_HASH_MEMORY=", "GATEHOUSE_PASSWORD_HASH_TIME=") // the defaults
	made := s.do(200, "POST", "/admin/users", object{"email": "ada@example.com", "password": password, "email_confirm": true}, bearer(operator))
	wrong := s.refuseSignIn(400, "ada@example.com", "wrong password")
	unknown := s.refuseSignIn(400, "nobody@example.com", "wrong password")
	if wrong.body != unknown.body || wrong.text("error_code") != "invalid_credentials" {
		t.Errorf("a wrong password is answered %s, an unknown address %s", wrong.body, unknown.body)
	}
	kept := s.sql(`SELECT CAST(data AS TEXT) FROM credentials WHERE kind = 'password'`)
	if !strings.HasPrefix(kept, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("the stored form is %q, want a PHC string of argon2id", kept)
	}
	in := s.signIn("ada@example.com", password)
	shown := []answer{
		made, in, s.do(200, "GET", "/user", nil, bearer(in.text("access_token"))), s.do(200, "GET", "/admin/users", nil, bearer(operator)),
		s.do(200, "GET", "/admin/users/"+made.text("id"), nil, bearer(operator)),
	}
	for _, a := range shown {
		if strings.Contains(a.body, "argon2") || strings.Contains(a.body, password) || strings.Contains(a.body, kept[len(kept)-20:]) {
			t.Errorf("an answer shows it: %s", a.body)
		}
	}
	if strings.Contains(s.log.String(), password) || strings.Contains(s.log.String(), "argon2") {
		t.Error("the log shows it")
	}
}

// Mission: P12
func TestSignIn_replacesAnImportedHash(t *testing.T) {
	t.Parallel()
	s := start(t)
	// bcrypt, cost 4, of "password".
	old := "$2a$04$koQaXC9JHqxp8fSyvk.3iutckE6kBt/z.sa/4kj9Jofj0LV3ehNW."
	s.do(200, "POST", "/admin/users", object{"email": "ada@example.com", "password_hash": old, "email_confirm": true}, bearer(operator))
	stored := func() string { return s.sql(`SELECT CAST(data AS TEXT) FROM credentials WHERE kind = 'password'`) }
	s.refuseSignIn(400, "ada@example.com", "passwort")
	if got := stored(); got != old {
		t.Errorf("after a wrong password the stored form is %q", got)
	}
	s.signIn("ada@example.com", "password")
	if got := stored(); !strings.HasPrefix(got, "$argon2id$v=19$") {
		t.Errorf("after the sign-in the stored form is %q, want argon2id", got)
	}
	s.signIn("ada@example.com", "password")
	s.refuseSignIn(400, "ada@example.com", "passwort")
	a := s.do(400, "POST", "/admin/users", object{"email": "bob@example.com", "password_hash": "5f4dcc3b5aa765d61d8327deb882cf99"}, bearer(operator))
	if a.text("error_code") != "validation_failed" {
		t.Errorf("a hash nobody can check is answered %s", a.body)
	}
}

// Mission: T11, T13, T20
func TestSessions_liveAndEndTogetherOrAlone(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t *testing.T, d database) {
		s := start(t, d.settings("GOTRUE_SECURITY_REFRESH_TOKEN_REUSE_INTERVAL=0", "GATEHOUSE_PASSWORD_TRIES_FREE=50")...) // each counts as a try until it is right
		s.person("ada@example.com")

		// Many at once, all good.
		sessions := make([]answer, 8)
		var wg sync.WaitGroup
		for i := range sessions {
			wg.Go(func() {
				a, err := s.ask("POST", "/token?grant_type=password", object{"email": "ada@example.com", "password": password})
				if err != nil || a.status != 200 {
					t.Errorf("%v: %d %s", err, a.status, a.body)
				}
				sessions[i] = a
			})
		}
		wg.Wait()
		if t.Failed() {
			return
		}
		seen := map[string]bool{}
		for i, a := range sessions {
			s.do(200, "GET", "/user", nil, bearer(a.text("access_token")))
			sessions[i] = s.refresh(200, a.text("refresh_token"))
			seen[sessions[i].text("refresh_token")] = true
		}
		if len(seen) != len(sessions) {
			t.Errorf("%d different refresh tokens, want %d", len(seen), len(sessions))
		}

		// A token used long ago ends its session, and no other.
		first := sessions[0].text("refresh_token")
		second := s.refresh(200, first).text("refresh_token")
		third := s.refresh(200, second).text("refresh_token")
		replay := s.refresh(400, first)
		if replay.text("error_code") != "refresh_token_already_used" {
			t.Errorf("a replayed token is answered %s", replay.body)
		}
		s.refresh(400, third)
		s.refresh(200, sessions[1].text("refresh_token"))

		// One alone, all others, all.
		s.do(204, "POST", "/logout?scope=local", nil, bearer(sessions[1].text("access_token")))
		s.refresh(400, sessions[1].text("refresh_token"))
		s.do(204, "POST", "/logout?scope=others", nil, bearer(sessions[2].text("access_token")))
		s.refresh(400, sessions[3].text("refresh_token"))
		kept := s.refresh(200, sessions[2].text("refresh_token"))
		late := s.signIn("ada@example.com", password)
		s.do(204, "POST", "/logout", nil, bearer(kept.text("access_token")))
		for _, a := range append(sessions, kept, late) {
			s.refresh(400, a.text("refresh_token"))
			s.do(403, "GET", "/user", nil, bearer(a.text("access_token")))
		}
	})
}

// Mission: S19
func TestLimits_countTheClientTheHeaderNames(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_RATE_LIMIT_HEADER=X-Real-Client", "GOTRUE_RATE_LIMIT_TOKEN_REFRESH=1", "GOTRUE_RATE_LIMIT_OTP=1")
	s.person("ada@example.com")
	tries := 0
	try := func(client string) answer {
		t.Helper()
		tries++ // each on another account, or its own wait would come first
		a, err := s.ask("POST", "/token?grant_type=password", object{"email": fmt.Sprintf("ada%d@example.com", tries), "password": "wrong"}, "X-Real-Client: "+client)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	n, last := 0, answer{}
	for ; n < 100 && last.status != 429; n++ {
		last = try("203.0.113.7")
	}
	if last.status != 429 || n < 10 || last.header.Get("Retry-After") == "" {
		t.Fatalf("attempt %d is answered %d, Retry-After %q", n, last.status, last.header.Get("Retry-After"))
	}
	if a := try("203.0.113.7"); a.status != 429 || a.text("error_code") != "over_request_rate_limit" {
		t.Errorf("the next is answered %d %s", a.status, a.body)
	}
	if a := try("203.0.113.8"); a.status != 400 {
		t.Errorf("another client is answered %d, want 400", a.status)
	}
	if a := try("203.0.113.7, 10.0.0.1"); a.status != 429 {
		t.Errorf("the first of the chain is answered %d, want 429", a.status)
	}
	// Also with the right password, and whatever follows the prefix.
	s.do(429, "POST", "/auth/v1/token?grant_type=password", object{"email": "ada@example.com", "password": password}, "X-Real-Client: 203.0.113.7")
}
