package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

const number = "+491701234567"

// phoneSettings open the door for numbers; without a provider the inbox keeps
// the messages.
func phoneSettings(more ...string) []string {
	return append([]string{"GOTRUE_EXTERNAL_PHONE_ENABLED=true"}, more...)
}

// gateway is a service that sends text messages, as far as a test can be one.
type gateway struct {
	*httptest.Server
	asked chan gatewayCall
}

type gatewayCall struct {
	path, authorization string
	header              http.Header
	form                url.Values
	body                []byte
}

// listenSMS starts one that answers every call with answer.
func listenSMS(t *testing.T, answer func(gatewayCall) string) *gateway {
	t.Helper()
	g := &gateway{asked: make(chan gatewayCall, 100)}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		form, _ := url.ParseQuery(string(body)) // of the webhook it is JSON
		c := gatewayCall{path: r.URL.Path, authorization: r.Header.Get("Authorization"), header: r.Header, form: form, body: body}
		g.asked <- c
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer(c))
	}))
	t.Cleanup(g.Close)
	return g
}

// next waits for the next call.
func (g *gateway) next(t *testing.T) gatewayCall {
	t.Helper()
	select {
	case c := <-g.asked:
		return c
	case <-time.After(patience):
		t.Fatal("the service was never called")
		return gatewayCall{}
	}
}

var digits = regexp.MustCompile(`\b\d{6,10}\b`)

func TestSMS_leaveByEachProvider(t *testing.T) {
	t.Parallel()
	const secret = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
	basic := func(user, pass string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+pass))
	}
	for name, tc := range map[string]struct {
		settings []string
		answer   string
		text     string                        // the field that carries it
		want     func(*testing.T, gatewayCall) // of the rest
	}{
		"twilio": {
			[]string{"GOTRUE_SMS_TWILIO_ACCOUNT_SID=AC1", "GOTRUE_SMS_TWILIO_AUTH_TOKEN=key", "GOTRUE_SMS_TWILIO_MESSAGE_SERVICE_SID=+15005550006"},
			`{"sid":"SM1","status":"queued"}`, "Body",
			func(t *testing.T, c gatewayCall) {
				same(t, c.path, "/2010-04-01/Accounts/AC1/Messages.json", c.authorization, basic("AC1", "key"), c.form.Get("To"), number, c.form.Get("From"), "+15005550006")
			},
		},
		"messagebird": {
			[]string{"GOTRUE_SMS_MESSAGEBIRD_ACCESS_KEY=key", "GOTRUE_SMS_MESSAGEBIRD_ORIGINATOR=Gate"},
			`{"recipients":{"totalSentCount":1}}`, "body",
			func(t *testing.T, c gatewayCall) {
				same(t, c.path, "/messages", c.authorization, "AccessKey key", c.form.Get("recipients"), number[1:], c.form.Get("originator"), "Gate")
			},
		},
		"textlocal": {
			[]string{"GOTRUE_SMS_TEXTLOCAL_API_KEY=key", "GOTRUE_SMS_TEXTLOCAL_SENDER=GATE"},
			`{"status":"success"}`, "message",
			func(t *testing.T, c gatewayCall) {
				same(t, c.path, "/send/", c.form.Get("apikey"), "key", c.form.Get("numbers"), number[1:], c.form.Get("sender"), "GATE")
			},
		},
		"vonage": {
			[]string{"GOTRUE_SMS_VONAGE_API_KEY=key", "GOTRUE_SMS_VONAGE_API_SECRET=secret", "GOTRUE_SMS_VONAGE_FROM=Gate"},
			`{"messages":[{"status":"0"}]}`, "text",
			func(t *testing.T, c gatewayCall) {
				same(t, c.path, "/sms/json", c.form.Get("api_key"), "key", c.form.Get("api_secret"), "secret", c.form.Get("to"), number[1:], c.form.Get("from"), "Gate")
			},
		},
		"webhook": {
			[]string{"GATEHOUSE_SMS_WEBHOOK_SECRETS=v1,whsec_" + secret},
			`{}`, "",
			func(t *testing.T, c gatewayCall) {
				key, err := base64.StdEncoding.DecodeString(secret)
				if err != nil {
					t.Fatal(err)
				}
				mac := hmac.New(sha256.New, key)
				fmt.Fprintf(mac, "%s.%s.%s", c.header.Get("Webhook-Id"), c.header.Get("Webhook-Timestamp"), c.body)
				same(t, c.path, "/send", c.header.Get("Webhook-Signature"), "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
				if !strings.Contains(string(c.body), `"to":"`+number+`"`) {
					t.Errorf("the call is %s", c.body)
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := listenSMS(t, func(gatewayCall) string { return tc.answer })
			s := start(t, phoneSettings(append(tc.settings, "GOTRUE_SMS_PROVIDER="+name, "GATEHOUSE_SMS_BASE_URL="+g.URL, "GATEHOUSE_SMS_WEBHOOK_URL="+g.URL+"/send",
				"GATEHOUSE_OUTGOING_ALLOW_PRIVATE=true", "GOTRUE_SMS_TEMPLATE=Use {{.Code}} now", "GOTRUE_SMS_OTP_LENGTH=8")...)...)
			if a := s.do(200, "GET", "/settings", nil); a.text("sms_provider") != name || a.at("external", "phone") != true || a.at("phone_autoconfirm") != false {
				t.Errorf("the settings say %s", a.body)
			}
			s.do(200, "POST", "/otp", object{"phone": number})
			c := g.next(t)
			text := c.form.Get(tc.text)
			if tc.text == "" {
				var call struct{ Data struct{ Body string } }
				err := json.Unmarshal(c.body, &call)
				if err != nil {
					t.Fatal(err)
				}
				text = call.Data.Body
			}
			code := digits.FindString(text)
			if len(code) != 8 || text != "Use "+code+" now" {
				t.Errorf("the text is %q", text)
			}
			tc.want(t, c)
			in := s.do(200, "POST", "/verify", object{"type": "sms", "phone": number, "token": code})
			if in.text("user", "phone") != number[1:] || in.text("access_token") == "" {
				t.Errorf("who answers is %s", in.body)
			}
			if log := s.log.String(); strings.Contains(log, number[1:]) || strings.Contains(log, code) {
				t.Errorf("the log has what is the reader's: %s", log)
			}
		})
	}
}

// same compares pairs of got and want.
func same(t *testing.T, pairs ...string) {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i] != pairs[i+1] {
			t.Errorf("got %q, want %q", pairs[i], pairs[i+1])
		}
	}
}

// Twilio Verify makes the codes and judges them.
func TestSMS_leaveByTwilioVerify(t *testing.T) {
	t.Parallel()
	g := listenSMS(t, func(c gatewayCall) string {
		switch {
		case strings.HasSuffix(c.path, "/Verifications"):
			return `{"status":"pending"}`
		case c.form.Get("Code") == "424242":
			return `{"status":"approved"}`
		}
		return `{"status":"pending"}`
	})
	s := start(t, phoneSettings("GOTRUE_SMS_PROVIDER=twilio_verify", "GOTRUE_SMS_TWILIO_VERIFY_ACCOUNT_SID=AC1", "GOTRUE_SMS_TWILIO_VERIFY_AUTH_TOKEN=key",
		"GOTRUE_SMS_TWILIO_VERIFY_MESSAGE_SERVICE_SID=VA1", "GATEHOUSE_SMS_BASE_URL="+g.URL, "GATEHOUSE_OUTGOING_ALLOW_PRIVATE=true")...)
	s.do(200, "POST", "/otp", object{"phone": number})
	c := g.next(t)
	same(t, c.path, "/v2/Services/VA1/Verifications", c.form.Get("To"), number, c.form.Get("Channel"), "sms")
	s.delivered()
	if a := s.do(403, "POST", "/verify", object{"type": "sms", "phone": number, "token": "111111"}); a.text("error_code") != "otp_expired" {
		t.Errorf("a wrong code is answered %s", a.body)
	}
	in := s.do(200, "POST", "/verify", object{"type": "sms", "phone": number, "token": "424242"})
	s.do(200, "GET", "/user", nil, bearer(in.text("access_token")))
}

func TestPhone_isAWayInWhereTheOperatorWantsIt(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, path := range []string{"/signup", "/otp"} {
		if a := s.do(400, "POST", path, object{"phone": number, "password": password}); a.text("error_code") != "phone_provider_disabled" {
			t.Errorf("%s is answered %s", path, a.body)
		}
	}
	s = start(t, phoneSettings("GOTRUE_SMS_AUTOCONFIRM=true")...)
	in := s.do(200, "POST", "/signup", object{"phone": number, "password": password})
	if in.text("access_token") == "" {
		t.Errorf("with autoconfirm it is answered %s", in.body)
	}
	s.do(200, "POST", "/token?grant_type=password", object{"phone": number, "password": password})
	s.delivered()
	if n := len(s.inbox(number)); n != 0 {
		t.Errorf("there are %d messages", n)
	}
}

func TestSMS_codesLiveAsLongAsTheOperatorWants(t *testing.T) {
	t.Parallel()
	s := start(t, phoneSettings("GOTRUE_SMS_OTP_EXP=120", "GOTRUE_SMS_OTP_LENGTH=7")...)
	s.do(200, "POST", "/otp", object{"phone": number})
	code := s.mail(number, 1).Code
	if len(code) != 7 {
		t.Errorf("the code is %s", code)
	}
	life := s.sql(`SELECT (code_expires_at - created_at) / 1000000 FROM challenges WHERE sent_to = ?`, number[1:])
	if life != "120" {
		t.Errorf("it lives %s s, want 120", life)
	}
	s.db.change(t, `UPDATE challenges SET expires_at = expires_at - 120000000, code_expires_at = code_expires_at - 120000000`)
	s.do(403, "POST", "/verify", object{"type": "sms", "phone": number, "token": code})
}

func TestSMS_testNumbersHaveTheirCodesWhileTheyAreGood(t *testing.T) {
	t.Parallel()
	for until, status := range map[string]int{"": 200, "2999-01-31T00:00:00Z": 200, "2020-01-31T00:00:00Z": 403} {
		s := start(t, phoneSettings("GOTRUE_SMS_TEST_OTP=491701234567:123456,491701234568:654321", "GOTRUE_SMS_TEST_OTP_VALID_UNTIL="+until)...)
		s.do(200, "POST", "/otp", object{"phone": number})
		s.delivered()
		if got := len(s.inbox(number)) == 0; got != (status == 200) {
			t.Errorf("until %q: that nothing is sent is %t", until, got)
		}
		s.do(status, "POST", "/verify", object{"type": "sms", "phone": number, "token": "123456"})
	}
	out, err := commandWith(t, t.TempDir(), []string{"GOTRUE_SMS_TEST_OTP=491701234567:hunter2"}, "check")
	if err == nil || !strings.Contains(out, "fault: GOTRUE_SMS_TEST_OTP: sms: test code 1: a code has 4 to 10 digits; write number:code") || strings.Contains(out, "hunter2") {
		t.Errorf("a code that is none: %v, %s", err, out)
	}
}

func TestSMS_goToTheCountriesOfTheOperator(t *testing.T) {
	t.Parallel()
	s := start(t, phoneSettings("GATEHOUSE_SMS_COUNTRIES=at, ch")...)
	for phone, status := range map[string]int{number: 422, "+436641234567": 200, "+41791234567": 200} {
		a := s.do(status, "POST", "/otp", object{"phone": phone})
		if status == 422 && a.text("error_code") != "sms_send_failed" {
			t.Errorf("%s is answered %s", phone, a.body)
		}
	}
}

func TestSMS_oneNumberGetsSoMany(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		settings []string
		most     int
	}{
		"between two":   {[]string{"GOTRUE_SMS_MAX_FREQUENCY=1h"}, 1},
		"in an hour":    {[]string{"GOTRUE_SMS_MAX_FREQUENCY=0s", "GATEHOUSE_SMS_MAX_PER_HOUR=2"}, 2},
		"in a day":      {[]string{"GOTRUE_SMS_MAX_FREQUENCY=0s", "GATEHOUSE_SMS_MAX_PER_HOUR=0", "GATEHOUSE_SMS_MAX_PER_DAY=3"}, 3},
		"for everybody": {[]string{"GOTRUE_SMS_MAX_FREQUENCY=0s", "GOTRUE_RATE_LIMIT_SMS_SENT=2/1h"}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, phoneSettings(tc.settings...)...)
			for range tc.most {
				s.do(200, "POST", "/otp", object{"phone": number})
			}
			a := s.do(429, "POST", "/otp", object{"phone": number})
			if a.text("error_code") != "over_sms_send_rate_limit" || a.header.Get("Retry-After") == "" {
				t.Errorf("one more is answered %s", a.body)
			}
			other := map[bool]int{true: 429, false: 200}[name == "for everybody"]
			s.do(other, "POST", "/otp", object{"phone": "+491701234568"})
		})
	}
}

// Somebody earns money with every message: when the day's budget is spent no
// more are sent, the operator is told once, and mail goes on.
func TestSMS_endWithTheDaysBudget(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t *testing.T, d database) {
		s := start(t, d.settings(phoneSettings("GATEHOUSE_SMS_DAILY_BUDGET=30", "GATEHOUSE_RATE_LIMITS=off")...)...)
		for i := range 30 {
			s.do(200, "POST", "/otp", object{"phone": fmt.Sprintf("+4917012345%02d", i)})
		}
		for i := range 3 {
			a := s.do(429, "POST", "/otp", object{"phone": fmt.Sprintf("+4917012346%02d", i)})
			if a.text("error_code") != "over_sms_send_rate_limit" {
				t.Errorf("one more is answered %s", a.body)
			}
		}
		s.do(429, "POST", "/signup", object{"phone": "+491701234699", "password": password})
		s.delivered()
		if got := s.sql(`SELECT count(*) FROM events WHERE name = 'sms.budget_spent'`); got != "1" {
			t.Errorf("%s events tell of it, want 1", got)
		}
		if n := len(s.inbox("")); n != 30 {
			t.Errorf("%d messages were sent, want 30", n)
		}
		s.do(200, "POST", "/signup", object{"email": "ada@example.com", "password": password})
		s.follow(s.mail("ada@example.com", 1).Links[0])
		s.signIn("ada@example.com", password)
	})
}
