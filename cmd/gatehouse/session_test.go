package main

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

const firefox = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"

// enter signs in with Firefox, and returns the answer and the session's id.
func (s *server) enter(email string) (answer, string) {
	s.t.Helper()
	a := s.do(200, "POST", "/token?grant_type=password", object{"email": email, "password": password}, firefox)
	var all struct{ Sessions []struct{ ID string } }
	err := json.Unmarshal([]byte(s.do(200, "GET", "/sessions", nil, bearer(a.text("access_token"))).body), &all)
	if err != nil || len(all.Sessions) == 0 {
		s.t.Fatalf("%v: %v", all, err)
	}
	return a, all.Sessions[0].ID
}

// said runs a verb and holds what it prints against patterns.
func (s *server) said(line string, patterns ...string) string {
	s.t.Helper()
	out, err := command(s.t, s.dir, strings.Fields(line)...)
	if err != nil {
		s.t.Fatalf("%s: %v", line, err)
	}
	for _, p := range patterns {
		if !regexp.MustCompile("(?m)" + p).MatchString(out) {
			s.t.Errorf("%s has no %q: %s", line, p, out)
		}
	}
	return out
}

func TestSession_isListedExplainedAndEnded(t *testing.T) {
	t.Parallel()
	s := start(t)
	id := s.person("ada@example.com")
	in, session := s.enter("ada@example.com")
	s.do(200, "PATCH", "/sessions/"+session, object{"name": "kitchen"}, bearer(in.text("access_token")))

	s.said("session list ada@example.com", `^`+session+` +Firefox on Linux +kitchen +127\.0\.0\.1 +20\S+Z +20\S+Z +living$`)
	s.said("session list "+id+" --json", `"id": "`+session+`"`, `"state": "living"`, `"device": "Firefox on Linux"`)
	s.said("session explain "+session,
		`^session +`+session+`$`, `^user +ada@example\.com \(`+id+`\)$`, `^device +Firefox on Linux$`, `^name +kitchen$`, `^ip +127\.0\.0\.1$`,
		`^opened +20\S+Z$`, `^last used +20\S+Z$`, `^ends +never, by itself$`, `^state +living$`,
		`^20\S+Z +session\.opened by `+id+` 127\.0\.0\.1 .*password`)

	if got := s.said("session end " + session); got != "Ended session "+session+" of ada@example.com.\n" {
		t.Errorf("it says %q", got)
	}
	s.do(403, "GET", "/user", nil, bearer(in.text("access_token")))
	s.refresh(400, in.text("refresh_token"))
	s.said("session explain "+session, `^state +ended 20\S+Z: ended by an administrator$`, `session\.ended by cli`)
	_, err := command(t, s.dir, "session", "end", session)
	if err == nil || !strings.HasPrefix(err.Error(), "the session has ended 20") {
		t.Errorf("ending it again is answered %v", err)
	}
	if got := s.said("session list ada@example.com"); strings.Contains(got, session) {
		t.Errorf("it is listed still: %s", got)
	}
	s.said("session list ada@example.com --ended", session+`.* ended 20\S+Z: ended by an administrator$`)
}

// Each end says why, in the words of whoever is asked by a user.
func TestSessionExplain_saysWhyItEnded(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_SECURITY_REFRESH_TOKEN_REUSE_INTERVAL=0")
	for name, tc := range map[string]struct {
		end          func(in answer)
		state, event string
	}{
		"out":    {func(in answer) { s.do(204, "POST", "/logout?scope=local", nil, bearer(in.text("access_token"))) }, `the user signed out$`, `session\.ended`},
		"global": {func(in answer) { s.do(204, "POST", "/logout", nil, bearer(in.text("access_token"))) }, `the user signed out everywhere$`, `session\.ended`},
		"stolen": {func(in answer) {
			third := s.refresh(200, s.refresh(200, in.text("refresh_token")).text("refresh_token"))
			s.refresh(200, third.text("refresh_token"))
			s.refresh(400, in.text("refresh_token"))
		}, `a used refresh token came back too late: it was stolen, or a client keeps an old one$`, `session\.reuse .*"generation":1`},
		"everybody": {func(answer) { s.said("user sign-out everybody@example.com") }, `signed out by an administrator$`, `session\.ended by cli`},
	} {
		s.person(name + "@example.com")
		in, session := s.enter(name + "@example.com")
		tc.end(in)
		s.said("session explain "+session, `^state +ended 20\S+Z: `+tc.state, tc.event)
		out := s.said("session explain " + session + " --json")
		if !json.Valid([]byte(out)) || strings.Contains(out, `"state": "living"`) {
			t.Errorf("%s: as JSON it is %s", name, out)
		}
	}

	// Nothing in the row says so: a ban, and time.
	id := s.person("bob@example.com")
	_, session := s.enter("bob@example.com")
	s.db.change(t, `UPDATE sessions SET not_after = 1000000 WHERE user_id = (SELECT id FROM users WHERE email = 'bob@example.com')`)
	s.said("session explain "+session, `^ends +1970-01-01T00:00:01Z$`, `^state +ended 1970-01-01T00:00:01Z: its time was up`)
	if got := s.said("session list " + id); strings.Contains(got, session) {
		t.Errorf("a session that has run out is listed: %s", got)
	}
	s.person("eve@example.com")
	_, session = s.enter("eve@example.com")
	s.db.change(t, `UPDATE users SET banned_until = `+micros(time.Now().Add(time.Hour))+` WHERE email = 'eve@example.com'`)
	s.said("session explain "+session, `^state +cannot be used: the user is banned until 20`)
}

// micros is an instant as the database keeps it.
func micros(t time.Time) string { return strconv.FormatInt(t.UnixMicro(), 10) }
