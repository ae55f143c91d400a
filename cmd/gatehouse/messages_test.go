package main

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// Mission: M02
func TestMail_hasTheOperatorsHeaders(t *testing.T) {
	t.Parallel()
	m := listenMail(t, false)
	s := start(t, m.settings(`GOTRUE_SMTP_HEADERS={"X-Kind":["auth $messageType"],"Reply-To":["help@example.net"]}`)...)
	for kind, l := range fourMails(t, s, m) {
		if got, to := l.header.Get("X-Kind"), l.header.Get("Reply-To"); got != "auth "+kind || to != "help@example.net" {
			t.Errorf("%s: the headers are %q and %q", kind, got, to)
		}
	}
	for _, headers := range []string{`{"Bcc":["eve@example.net"]}`, `{"X-A":["a\r\nBcc: eve@example.net"]}`} {
		out, err := commandWith(t, t.TempDir(), []string{"GOTRUE_SMTP_HEADERS=" + headers}, "check")
		if err == nil || !strings.Contains(out, "fault: GOTRUE_SMTP_HEADERS: smtp: ") || strings.Contains(out, "eve") {
			t.Errorf("%s: %v, %s", headers, err, out)
		}
	}
}

// The log has a line for every mail, and nothing in it that is the reader's.
func TestMail_leavesALineInTheLog(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.do(200, "POST", "/signup", object{"email": "ada@example.com", "password": password})
	m := s.mail("ada@example.com", 1)
	line, err := s.log.await(`(.*"outbox: sent".*)`, s.ended)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(line, m.ID) || !strings.Contains(line, `"mail":"confirmation"`) || !strings.Contains(line, `"level":"INFO"`) {
		t.Errorf("the line is %s", line)
	}
	if log := s.log.String(); strings.Contains(log, "ada@") || strings.Contains(log, m.Code) {
		t.Errorf("the log has what is the reader's: %s", log)
	}
}

func TestMail_linksLiveAsLongAsTheOperatorWants(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		settings                       []string
		confirmation, recovery, invite int // minutes
	}{
		{nil, 60, 60, 7 * 24 * 60},
		{[]string{"GOTRUE_MAILER_CONFIRMATION_MAX_AGE=3h", "GOTRUE_MAILER_RECOVERY_MAX_AGE=30m", "GOTRUE_MAILER_INVITE_MAX_AGE=2h"}, 180, 30, 120},
		{[]string{"GOTRUE_MAILER_OTP_EXP=1200", "GOTRUE_MAILER_CONFIRMATION_MAX_AGE=3h"}, 180, 20, 7 * 24 * 60},
	} {
		s := start(t, tc.settings...)
		s.person("ada@example.com")
		s.do(200, "POST", "/signup", object{"email": "bob@example.com", "password": password})
		s.do(200, "POST", "/recover", object{"email": "ada@example.com"})
		s.do(200, "POST", "/invite", object{"email": "eve@example.com"}, bearer(operator))
		for to, want := range map[string]int{"bob@example.com": tc.confirmation, "ada@example.com": tc.recovery, "eve@example.com": tc.invite} {
			link := s.mail(to, 1).Links[0]
			minutes := func(n int) { // moved nearer to its end
				t.Helper()
				s.db.change(t, fmt.Sprintf(`UPDATE challenges SET expires_at = expires_at - %d, code_expires_at = code_expires_at - %d WHERE sent_to = '%s'`, n*60_000_000, n*60_000_000, to))
			}
			minutes(want - 1)
			if left := s.sql(fmt.Sprintf(`SELECT count(*) FROM challenges WHERE sent_to = '%s' AND expires_at > %s`, to, s.now())); left != "1" {
				t.Errorf("%v: the link to %s ends before %d minutes", tc.settings, to, want)
			}
			minutes(1)
			q := mustQuery(t, link)
			a := s.do(403, "POST", "/verify", object{"type": q.Get("type"), "token_hash": q.Get("token")})
			if a.text("error_code") != "otp_expired" {
				t.Errorf("%v: after %d minutes the link to %s is answered %s", tc.settings, want, to, a.body)
			}
		}
	}
}

func TestSignIn_withoutConfirmationWhereTheOperatorWantsIt(t *testing.T) {
	t.Parallel()
	for allow, status := range map[string]int{"true": 200, "false": 400} {
		s := start(t, "GOTRUE_MAILER_ALLOW_UNVERIFIED_EMAIL_SIGN_INS="+allow)
		s.do(200, "POST", "/signup", object{"email": "ada@example.com", "password": password})
		a := s.do(status, "POST", "/token?grant_type=password", object{"email": "ada@example.com", "password": password})
		if status == 400 && a.text("error_code") != "email_not_confirmed" {
			t.Errorf("it is answered %s", a.body)
		}
	}
}

func TestMail_isInTheReadersLanguage(t *testing.T) {
	t.Parallel()
	s := start(t, "GATEHOUSE_MAILER_LANGUAGE=de", "GOTRUE_EXTERNAL_PHONE_ENABLED=true")
	for i, tc := range []struct {
		data    object
		accept  string
		subject string
	}{
		{nil, "", "Bestätigen Sie Ihre Registrierung"},
		{nil, "Accept-Language: fi", "Bestätigen Sie Ihre Registrierung"},
		{nil, "Accept-Language: en-GB,en;q=0.8", "Confirm Your Signup"},
		{object{"locale": "en_US"}, "Accept-Language: de", "Confirm Your Signup"},
	} {
		email := fmt.Sprintf("ada%d@example.com", i)
		var headers []string
		if tc.accept != "" {
			headers = append(headers, tc.accept)
		}
		s.do(200, "POST", "/signup", object{"email": email, "password": password, "data": tc.data}, headers...)
		if got := s.mail(email, 1).Subject; got != tc.subject {
			t.Errorf("%v, %s: the subject is %q, want %q", tc.data, tc.accept, got, tc.subject)
		}
	}
	s.do(200, "POST", "/otp", object{"phone": "+491701234567"})
	if got := s.mail("+491701234567", 1).Text; !strings.HasPrefix(got, "Ihr Code lautet ") {
		t.Errorf("the text message is %q", got)
	}
}

func TestPKCE_codesLiveAsLongAsTheOperatorWants(t *testing.T) {
	t.Parallel()
	for setting, want := range map[string]int{"": 5, "GOTRUE_EXTERNAL_FLOW_STATE_EXPIRY_DURATION=12m": 12} {
		s := start(t, setting)
		s.person("ada@example.com")
		s.do(200, "POST", "/recover", object{
			"email": "ada@example.com", "code_challenge": "the-challenge-of-a-client-that-asked-for-a-link", "code_challenge_method": "plain",
		})
		q := mustQuery(t, s.mail("ada@example.com", 1).Links[0])
		s.do(303, "POST", "/verify", url.Values{"token": {q.Get("token")}, "type": {q.Get("type")}})
		if got := s.sql(`SELECT (expires_at - created_at) / 60000000 FROM challenges WHERE kind = 'pkce'`); got != strconv.Itoa(want) {
			t.Errorf("%q: the code lives for %s minutes, want %d", setting, got, want)
		}
	}
}

const chromeOnATelephone = "User-Agent: Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Mobile Safari/537.36"

// A link that was asked for with PKCE, opened on another device.
func TestMail_linksAreBoundAsTheOperatorWants(t *testing.T) {
	t.Parallel()
	for binding, elsewhere := range map[string]bool{"open": true, "strict": false} {
		s := start(t, "GATEHOUSE_MAILER_PKCE_BINDING="+binding, "GOTRUE_SITE_URL=https://app.example.com")
		s.person("ada@example.com")
		verifier := strings.Repeat("v", 43)
		sum := sha256.Sum256([]byte(verifier))
		s.do(200, "POST", "/otp", object{
			"email": "ada@example.com", "code_challenge": base64.RawURLEncoding.EncodeToString(sum[:]), "code_challenge_method": "s256",
		}, firefox)
		link := s.mail("ada@example.com", 1).Links[0]
		page := s.do(200, "GET", link, nil, "Accept: text/html", chromeOnATelephone)
		if got := strings.Contains(page.body, `name="here"`); got != elsewhere {
			t.Errorf("%s: that the page offers to sign in here is %t", binding, got)
		}
		fields := form(page.body)
		fields.Set("here", "1")
		a := s.do(303, "POST", link, fields, "Origin: "+s.url, "Sec-Fetch-Site: same-origin", chromeOnATelephone)
		target := a.header.Get("Location")
		if got := strings.Contains(target, "access_token="); got != elsewhere {
			t.Errorf("%s: pressed here it leads to %s", binding, target)
		}
	}
}

func TestMail_oneAddressGetsSoManyInADay(t *testing.T) {
	t.Parallel()
	s := start(t, "GATEHOUSE_MAILER_MAX_PER_RECIPIENT=2", "GOTRUE_SMTP_MAX_FREQUENCY=0s")
	s.person("ada@example.com")
	s.do(200, "POST", "/recover", object{"email": "ada@example.com"})
	s.do(200, "POST", "/otp", object{"email": "ada@example.com"})
	a := s.do(429, "POST", "/recover", object{"email": "ada@example.com"})
	if a.text("error_code") != "over_email_send_rate_limit" || a.header.Get("Retry-After") == "" {
		t.Errorf("the third is answered %s", a.body)
	}
	s.do(200, "POST", "/recover", object{"email": "bob@example.com"})
	s.delivered()
	if n := len(s.inbox("ada@example.com")); n != 2 {
		t.Errorf("she has %d mails, want 2", n)
	}
}

func TestMail_allOfThemAreSoManyAsTheOperatorWants(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_RATE_LIMIT_EMAIL_SENT=2/1h")
	for _, name := range []string{"ada", "bob"} {
		s.do(200, "POST", "/recover", object{"email": name + "@example.com"})
	}
	if a := s.do(429, "POST", "/recover", object{"email": "eve@example.com"}); a.text("error_code") != "over_email_send_rate_limit" {
		t.Errorf("the third is answered %s", a.body)
	}
}

func TestMail_goesOnlyToAuthorizedAddresses(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_EXTERNAL_EMAIL_AUTHORIZED_ADDRESSES=Ada@example.com,bob@example.com")
	s.do(200, "POST", "/signup", object{"email": "ada@example.com", "password": password})
	s.mail("ada@example.com", 1)
	for _, path := range []string{"/signup", "/recover", "/otp", "/magiclink"} {
		a := s.do(400, "POST", path, object{"email": "eve@example.com", "password": password})
		if a.text("error_code") != "email_address_not_authorized" {
			t.Errorf("%s is answered %s", path, a.body)
		}
	}
	s.delivered()
	if n := len(s.inbox("eve@example.com")); n != 0 {
		t.Errorf("eve has %d mails", n)
	}
}

// changes makes each change that its owner is told of.
func changes(s *server) {
	s.t.Helper()
	s.do(200, "POST", "/admin/users", object{
		"email": "ada@example.com", "password": password, "email_confirm": true, "phone": "+491701234567", "phone_confirm": true,
	}, bearer(operator))
	in := s.do(200, "POST", "/token?grant_type=password", object{"email": "ada@example.com", "password": password}, firefox)
	access := bearer(in.text("access_token"))
	s.do(200, "PUT", "/user", object{"phone": "+491701234568"}, access)
	s.do(200, "POST", "/verify", object{"type": "phone_change", "phone": "+491701234568", "token": "123456"})
	s.do(200, "PUT", "/user", object{"password": "another horse battery"}, access)
	s.do(200, "POST", "/token?grant_type=password", object{"email": "ada@example.com", "password": "another horse battery"}, "User-Agent: curl/8.5.0")
	s.do(200, "PUT", "/user", object{"email": "ada@new.example.com"}, access)
	s.follow(s.mail("ada@new.example.com", 1).Links[0])
	s.delivered()
}

func TestNotices_tellOfChanges(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "own.html")
	err := os.WriteFile(file, []byte(`<p>own words, {{.Email}}</p>`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	common := []string{
		"GOTRUE_EXTERNAL_PHONE_ENABLED=true", "GOTRUE_SMS_TEST_OTP=491701234568:123456", "GOTRUE_MAILER_SECURE_EMAIL_CHANGE_ENABLED=false", "GOTRUE_SMTP_MAX_FREQUENCY=0s",
	}
	kinds := []string{"PASSWORD_CHANGED", "EMAIL_CHANGED", "PHONE_CHANGED", "NEW_DEVICE"}
	told := func(s *server) map[string]string {
		changes(s)
		got := map[string]string{}
		for _, m := range s.inbox("ada@example.com") {
			got[strings.ToUpper(strings.TrimSuffix(string(m.Kind), "_notification"))] = m.Subject + m.HTML
			if len(m.Links) == 0 && !strings.Contains(m.HTML, "own words") {
				t.Errorf("%s: there is no way to undo it: %s", m.Kind, m.HTML)
			}
		}
		return got
	}

	t.Run("by themselves", func(t *testing.T) {
		t.Parallel()
		got := told(start(t, common...))
		for _, k := range kinds {
			if (got[k] != "") != (k != "NEW_DEVICE") {
				t.Errorf("%s: the mail is %.80q", k, got[k])
			}
		}
	})
	t.Run("all off", func(t *testing.T) {
		t.Parallel()
		settings := common
		for _, k := range append(kinds, "IDENTITY_LINKED", "IDENTITY_UNLINKED") {
			settings = append(settings, "GOTRUE_MAILER_NOTIFICATIONS_"+k+"_ENABLED=false")
		}
		if got := told(start(t, settings...)); len(got) != 0 {
			t.Errorf("the mails are %v", got)
		}
	})
	t.Run("in the operator's words", func(t *testing.T) {
		t.Parallel()
		settings := common
		for _, k := range kinds {
			settings = append(settings, "GOTRUE_MAILER_NOTIFICATIONS_"+k+"_ENABLED=true",
				"GOTRUE_MAILER_SUBJECTS_"+k+"_NOTIFICATION=Told of "+k, "GOTRUE_MAILER_TEMPLATES_"+k+"_NOTIFICATION="+file)
		}
		got := told(start(t, settings...))
		for _, k := range kinds {
			if !strings.HasPrefix(got[k], "Told of "+k+"<p>own words, ada@") {
				t.Errorf("%s: the mail is %.80q", k, got[k])
			}
		}
	})
}

// A template that cannot be had is asked for again after a while, and no
// sooner.
func TestMail_asksAgainForATemplateWhenTheOperatorWants(t *testing.T) {
	t.Parallel()
	for again, want := range map[string]string{"1ms": "<p>own</p>", "1h": ""} {
		var there atomic.Bool
		site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !there.Load() {
				http.NotFound(w, r)
				return
			}
			_, _ = w.Write([]byte("<p>own</p>"))
		}))
		defer site.Close()
		s := start(t, "GOTRUE_MAILER_TEMPLATES_INVITE="+site.URL+"/own.html", "GOTRUE_MAILER_TEMPLATE_RETRY_INTERVAL="+again, "GATEHOUSE_OUTGOING_ALLOW_PRIVATE=true")
		s.do(200, "POST", "/invite", object{"email": "ada@example.com"}, bearer(operator))
		if got := s.mail("ada@example.com", 1).HTML; strings.Contains(got, "own") {
			t.Errorf("%s: the first mail is %s", again, got)
		}
		there.Store(true)
		s.do(200, "POST", "/invite", object{"email": "bob@example.com"}, bearer(operator))
		if got := s.mail("bob@example.com", 1).HTML; (got == want) != (want != "") {
			t.Errorf("%s: the second mail is %.100q, want %q", again, got, want)
		}
	}
}
