package main

import (
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// How much strangers are told of who has an account.
func TestReveal_isAsMuchAsTheOperatorWants(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		settings   []string
		status     int  // of a sign-up with a known address
		identities bool // in its answer
		unknown    int  // of a code that may make no user, for an unknown address
	}{
		"by itself":                     {nil, 200, true, 200},
		"nothing, to Netlify's clients": {[]string{"GATEHOUSE_REVEAL_ACCOUNTS=nothing", "GATEHOUSE_DIALECT=netlify"}, 200, true, 200},
		"hint":                          {[]string{"GATEHOUSE_REVEAL_ACCOUNTS=hint"}, 200, false, 422},
		"all":                           {[]string{"GATEHOUSE_REVEAL_ACCOUNTS=all"}, 422, false, 422},
		"to Netlify's clients":          {[]string{"GATEHOUSE_DIALECT=netlify"}, 400, false, 422},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, append(tc.settings, "GOTRUE_SMTP_MAX_FREQUENCY=0s")...)
			s.person("ada@example.com")
			a := s.do(tc.status, "POST", "/signup", object{"email": "ada@example.com", "password": "another horse battery"})
			list, _ := a.at("identities").([]any)
			if (len(list) > 0) != tc.identities {
				t.Errorf("the answer to a known address has %d identities: %s", len(list), a.body)
			}
			s.do(tc.unknown, "POST", "/otp", object{"email": "nobody@example.com", "create_user": false})
			s.do(200, "POST", "/recover", object{"email": "nobody@example.com"})
			s.delivered()
			if n := len(s.inbox("nobody@example.com")); n != 0 {
				t.Errorf("nobody has %d mails", n)
			}
		})
	}
}

// schemaFile writes a schema into a folder of its own, which is a server's.
func schemaFile(t *testing.T, text string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	err := os.WriteFile(filepath.Join(dir, "data.json"), []byte(text), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestUserData_isHeldAgainstTheOperatorsSchema(t *testing.T) {
	t.Parallel()
	const schema = `{"type":"object","properties":{"name":{"type":"string","maxLength":5},"age":{"type":"integer"}},"required":["name"]}`
	s := startIn(t, schemaFile(t, schema), "GATEHOUSE_USER_DATA_SCHEMA=data.json", "GOTRUE_MAILER_AUTOCONFIRM=true")
	up := func(status int, data object) answer {
		t.Helper()
		return s.do(status, "POST", "/signup", object{"email": "ada@example.com", "password": password, "data": data})
	}
	for want, data := range map[string]object{
		"shoe":                      {"name": "Ada", "shoe": 40},
		"age":                       {"name": "Ada", "age": "forty"},
		"name":                      {"age": 40},
		"name: must have at most 5": {"name": "Augusta"},
	} {
		if a := up(400, data); !strings.Contains(a.text("msg"), want) || a.text("error_code") != "validation_failed" {
			t.Errorf("%v is answered %s, want %q in it", data, a.body, want)
		}
	}
	in := up(200, object{"name": "Ada", "age": 36}).text("access_token")
	change := func(status int, data object) answer {
		t.Helper()
		return s.do(status, "PUT", "/user", object{"data": data}, bearer(in))
	}
	change(400, object{"shoe": 40})
	change(400, object{"age": "forty"})
	change(400, object{"name": nil})
	if a := change(200, object{"age": 37}); a.at("user_metadata", "age") != 37.0 || a.at("user_metadata", "name") != "Ada" {
		t.Errorf("the data are %s", a.body)
	}
}

func TestUserData_ofASchemaThatIsNoneIsToldAtTheStart(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                            "the schema of user data cannot be read: open ",
		`{"type":"rabbit"}`:           "data.json is not a schema of user data: ",
		`{"type":`:                    "data.json is not a schema of user data: ",
		`{"$ref":"https://a.ex/b.c"}`: "data.json is not a schema of user data: ",
	} {
		dir := t.TempDir()
		if text != "" {
			dir = schemaFile(t, text)
		}
		for _, verb := range [][]string{nil, {"check"}, {"user", "list"}} {
			out, e := newTape(), newTape()
			err := run(t.Context(), verb, env{environ: testSettings([]string{"GATEHOUSE_USER_DATA_SCHEMA=data.json"}), dir: dir, in: strings.NewReader(""), out: out, err: e})
			said := out.String()
			if err != nil {
				said += err.Error()
			}
			if err == nil || !strings.Contains(said, "GATEHOUSE_USER_DATA_SCHEMA: "+want) || !strings.Contains(said, "name a file with a JSON Schema") {
				t.Errorf("%q, %v: it says %s", text, verb, said)
			}
		}
	}
}

func TestUsers_goByCursorWhereItIsWanted(t *testing.T) {
	t.Parallel()
	for on, want := range map[string]bool{"true": true, "false": false} {
		s := start(t, "GOTRUE_EXPERIMENTAL_CURSOR_PAGINATION_ENABLED="+on)
		for _, name := range []string{"ada", "bob", "eve"} {
			s.person(name + "@example.com")
		}
		if a := s.do(200, "GET", "/admin/users", nil, bearer(operator)); (a.at("pagination") != nil) != want {
			t.Errorf("%s: by cursor is not %t: %s", on, want, a.body)
		}
		if a := s.do(200, "GET", "/admin/users?page=1", nil, bearer(operator)); a.header.Get("X-Total-Count") != "3" || a.at("pagination") != nil {
			t.Errorf("%s: a page by number counts %q users", on, a.header.Get("X-Total-Count"))
		}
		var seen []string
		for next := "/admin/users?limit=2"; next != ""; {
			a := s.do(200, "GET", next, nil, bearer(operator))
			users, _ := a.at("users").([]any)
			for _, u := range users {
				seen = append(seen, u.(object)["email"].(string))
			}
			next = ""
			if c := a.text("pagination", "next_cursor"); c != "" {
				next = "/admin/users?limit=2&cursor=" + url.QueryEscape(c)
			}
		}
		slices.Sort(seen)
		if strings.Join(seen, " ") != "ada@example.com bob@example.com eve@example.com" {
			t.Errorf("%s: the pages have %v", on, seen)
		}
	}
}

func TestPasswords_areHeldAgainstWhatTheOperatorWants(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		settings []string
		file     string            // common-passwords.txt in DATA
		refused  map[string]string // by reason
		taken    []string
	}{
		"nothing": {
			nil,
			"",
			map[string]string{"password1": "pwned", "PASSWORD1": "pwned", "Dragon1987!": "pwned", "short": "length"},
			[]string{"turnip-and-thistle"},
		},
		"strength": {
			[]string{"GATEHOUSE_PASSWORD_STRENGTH=violence"},
			"",
			map[string]string{"turnip-and-thistle": "characters", "Turnip-1": "length"},
			[]string{"Turnip-and-1-thistle"},
		},
		"unchecked": {[]string{"GATEHOUSE_PASSWORD_COMMON_CHECK=false"}, "turnip-and-thistle\n", nil, []string{"password1", "turnip-and-thistle"}},
		"in data":   {nil, "turnip-and-thistle\r\n\nother\n", map[string]string{"Turnip-And-Thistle": "pwned", "password1": "pwned"}, []string{"thistle-and-turnip"}},
		"named": {
			[]string{"GATEHOUSE_PASSWORD_COMMON_LIST=gatehouse-data/common-passwords.txt"},
			"turnip-and-thistle",
			map[string]string{"turnip-and-thistle": "pwned", "turnip-and-thistle24": "pwned"},
			[]string{"thistle-and-turnip"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if tc.file != "" {
				err := os.Mkdir(filepath.Join(dir, "gatehouse-data"), 0o700)
				if err == nil {
					err = os.WriteFile(filepath.Join(dir, "gatehouse-data", "common-passwords.txt"), []byte(tc.file), 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			s := startIn(t, dir, append(tc.settings, "GOTRUE_SMTP_MAX_FREQUENCY=0s")...)
			for pw, reason := range tc.refused {
				a := s.do(422, "POST", "/signup", object{"email": "ada@example.com", "password": pw})
				reasons, _ := a.at("weak_password", "reasons").([]any)
				if a.text("error_code") != "weak_password" || !slices.Contains(reasons, any(reason)) {
					t.Errorf("%s is answered %s, want the reason %s", pw, a.body, reason)
				}
			}
			for i, pw := range tc.taken {
				s.do(200, "POST", "/signup", object{"email": string(rune('a'+i)) + "@example.com", "password": pw})
			}
		})
	}
}

func TestPasswords_ofAListThatIsNoneIsToldAtTheStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	err := os.WriteFile(filepath.Join(dir, "list.bin"), []byte("fine\n\xff\xfe\n"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"list.bin":     "list.bin is not a list of passwords: line 2 is not UTF-8",
		"not-here.txt": "the common passwords cannot be read: open ",
	} {
		out := newTape()
		err := run(t.Context(), []string{"check"}, env{environ: testSettings([]string{"GATEHOUSE_PASSWORD_COMMON_LIST=" + file}), dir: dir, in: strings.NewReader(""), out: out, err: out})
		if err == nil || !strings.Contains(out.String(), "GATEHOUSE_PASSWORD_COMMON_LIST: "+want) {
			t.Errorf("%s: %v, %s", file, err, out)
		}
	}
}

func sha1Of(password string) string {
	sum := sha1.Sum([]byte(password))
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}

// The service of stolen passwords is asked by five digits of a hash; when it
// does not answer, the operator says what that means.
func TestPasswords_areHeldAgainstTheService(t *testing.T) {
	t.Parallel()
	for closed, status := range map[string]int{"true": 503, "false": 200} {
		var down atomic.Bool
		var asked atomic.Value
		service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked.Store(r.URL.Path + " " + r.UserAgent())
			if down.Load() {
				http.Error(w, "down", http.StatusServiceUnavailable)
				return
			}
			_, _ = w.Write([]byte("0018A45C4D1DEF81644B54AB7F969B88D65:3\r\n" + sha1Of("turnip-and-thistle")[5:] + ":9\r\n"))
		}))
		defer service.Close()
		s := start(t, "GOTRUE_PASSWORD_HIBP_ENABLED=true", "GATEHOUSE_PASSWORD_HIBP_URL="+service.URL, "GOTRUE_PASSWORD_HIBP_USER_AGENT=our-house",
			"GOTRUE_PASSWORD_HIBP_FAIL_CLOSED="+closed, "GATEHOUSE_OUTGOING_ALLOW_PRIVATE=true", "GOTRUE_MAILER_AUTOCONFIRM=true")
		up := func(status int, email, pw string) answer {
			t.Helper()
			return s.do(status, "POST", "/signup", object{"email": email, "password": pw})
		}
		a := up(422, "ada@example.com", "turnip-and-thistle")
		if a.text("error_code") != "weak_password" || !strings.Contains(a.body, "pwned") {
			t.Errorf("a stolen password is answered %s", a.body)
		}
		if got, want := asked.Load(), "/range/"+sha1Of("turnip-and-thistle")[:5]+" our-house"; got != want {
			t.Errorf("it was asked %q, want %q", got, want)
		}
		up(200, "ada@example.com", "thistle-and-turnip")
		down.Store(true)
		up(status, "bob@example.com", "marrow-and-mallow")
		s.signIn("ada@example.com", "thistle-and-turnip") // needs no service
	}
}

func TestSessions_oneAloneWhereTheOperatorWantsIt(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_SESSIONS_SINGLE_PER_USER=true")
	s.person("ada@example.com")
	s.person("bob@example.com")
	first, session := s.enter("ada@example.com")
	bob := s.signIn("bob@example.com", password)
	second := s.signIn("ada@example.com", password)
	s.do(403, "GET", "/user", nil, bearer(first.text("access_token")))
	if a := s.refresh(400, first.text("refresh_token")); a.text("error_code") != "session_expired" {
		t.Errorf("the first session is answered %s", a.body)
	}
	s.do(200, "GET", "/user", nil, bearer(second.text("access_token")))
	s.do(200, "GET", "/user", nil, bearer(bob.text("access_token")))
	s.said("session explain "+session, `may have one session only \(SESSIONS_SINGLE_PER_USER\)`)
}

// There is no second factor to enrol yet; whoever has one in the database is
// held to it.
func TestSessions_withoutTheSecondFactorEnd(t *testing.T) {
	t.Parallel()
	for allow, status := range map[string]int{"1h": 403, "3h": 200, "0": 200} {
		s := start(t, "GOTRUE_SESSIONS_ALLOW_LOW_AAL="+allow)
		s.person("ada@example.com")
		in, session := s.enter("ada@example.com")
		s.db.change(t, `UPDATE sessions SET created_at = created_at - 7200000000`)
		s.do(200, "GET", "/user", nil, bearer(in.text("access_token")))
		s.db.change(t, `UPDATE users SET verified_factors = 1`)
		s.do(status, "GET", "/user", nil, bearer(in.text("access_token")))
		if status != 200 {
			out, err := commandWith(t, s.dir, []string{"GOTRUE_SESSIONS_ALLOW_LOW_AAL=" + allow}, "session", "explain", session)
			if err != nil || !strings.Contains(out, "the second factor was not given within 1h0m0s\n") {
				t.Errorf("it is explained as %s, %v", out, err)
			}
		}
	}
}

func TestAnonymous_usersAreMadeWhereTheOperatorWantsThem(t *testing.T) {
	t.Parallel()
	s := start(t)
	if a := s.do(422, "POST", "/signup", object{}); a.text("error_code") != "anonymous_provider_disabled" {
		t.Errorf("without the setting it is answered %s", a.body)
	}
	if a := s.do(200, "GET", "/settings", nil); a.at("external", "anonymous_users") != false {
		t.Errorf("the settings say %s", a.body)
	}

	s = start(t, "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED=true", "GOTRUE_RATE_LIMIT_ANONYMOUS_USERS=2", "GOTRUE_RATE_LIMIT_HEADER=X-Real-Client")
	if a := s.do(200, "GET", "/settings", nil); a.at("external", "anonymous_users") != true {
		t.Errorf("the settings say %s", a.body)
	}
	const here, there = "X-Real-Client: 203.0.113.7", "X-Real-Client: 203.0.113.8"
	for range 2 {
		a := s.do(200, "POST", "/signup", object{"data": object{"theme": "dark"}}, here)
		if a.at("user", "is_anonymous") != true {
			t.Errorf("the user is %s", a.body)
		}
		s.do(200, "GET", "/user", nil, bearer(a.text("access_token")))
	}
	if a := s.do(429, "POST", "/signup", object{}, here); a.text("error_code") != "over_request_rate_limit" {
		t.Errorf("the third is answered %s", a.body)
	}
	s.do(200, "POST", "/signup", object{}, there)
	s.do(200, "POST", "/signup", object{"email": "ada@example.com", "password": password}, here)
}

// A user with an address and a number may drop one, where they may at all.
func TestIdentities_areTheUsersWhereTheOperatorWantsIt(t *testing.T) {
	t.Parallel()
	for on, status := range map[string]int{"true": 200, "false": 404} {
		s := start(t, "GOTRUE_SECURITY_MANUAL_LINKING_ENABLED="+on, "GOTRUE_EXTERNAL_PHONE_ENABLED=true")
		s.do(200, "POST", "/admin/users", object{
			"email": "ada@example.com", "password": password, "email_confirm": true, "phone": "+491701234567", "phone_confirm": true,
		}, bearer(operator))
		in := s.signIn("ada@example.com", password)
		var u struct {
			Identities []struct {
				ID       string `json:"identity_id"`
				Provider string
			}
		}
		err := json.Unmarshal([]byte(s.do(200, "GET", "/user", nil, bearer(in.text("access_token"))).body), &u)
		if err != nil || len(u.Identities) != 2 {
			t.Fatalf("%v: %v", u, err)
		}
		for _, i := range u.Identities {
			if i.Provider != "phone" {
				continue
			}
			a := s.do(status, "DELETE", "/user/identities/"+i.ID, nil, bearer(in.text("access_token")))
			if status == 404 && a.text("error_code") != "manual_linking_disabled" {
				t.Errorf("it is answered %s", a.body)
			}
		}
		if status == 200 {
			if m := s.mail("ada@example.com", 1); m.Kind != "identity_unlinked_notification" {
				t.Errorf("the mail is %s", m.Kind)
			}
		}
	}
}
