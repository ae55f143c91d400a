package config_test

import (
	"strings"
	"testing"
	"time"

	"gatehouse/internal/config"

	"github.com/google/go-cmp/cmp"
)

const (
	phones  = "GATEHOUSE_EXTERNAL_PHONE_ENABLED=true "
	webhook = "GATEHOUSE_SMS_PROVIDER=webhook GATEHOUSE_SMS_WEBHOOK_URL=https://sms.example.com GATEHOUSE_SMS_WEBHOOK_SECRETS=hunter2 "
	public  = "GATEHOUSE_API_HOST=0.0.0.0 API_EXTERNAL_URL=https://a.example " + mailServer
)

func TestLoad_refusesTextMessagesNobodySends(t *testing.T) {
	for environ, want := range map[string]string{
		phones + "GOTRUE_SMS_PROVIDER=twilio": "GOTRUE_SMS_PROVIDER: twilio needs SMS_TWILIO_ACCOUNT_SID, SMS_TWILIO_AUTH_TOKEN, SMS_TWILIO_MESSAGE_SERVICE_SID; " +
			"set what is missing, or take the provider out",
		phones + "GOTRUE_SMS_PROVIDER=twilio GOTRUE_SMS_TWILIO_AUTH_TOKEN=hunter2": "GOTRUE_SMS_PROVIDER: twilio needs SMS_TWILIO_ACCOUNT_SID, SMS_TWILIO_MESSAGE_SERVICE_SID; ",
		phones + "GOTRUE_SMS_PROVIDER=twilio_verify": "GOTRUE_SMS_PROVIDER: twilio_verify needs SMS_TWILIO_VERIFY_ACCOUNT_SID, " +
			"SMS_TWILIO_VERIFY_AUTH_TOKEN, SMS_TWILIO_VERIFY_MESSAGE_SERVICE_SID;",
		phones + "GOTRUE_SMS_PROVIDER=messagebird":       "GOTRUE_SMS_PROVIDER: messagebird needs SMS_MESSAGEBIRD_ACCESS_KEY, SMS_MESSAGEBIRD_ORIGINATOR;",
		phones + "GOTRUE_SMS_PROVIDER=textlocal":         "GOTRUE_SMS_PROVIDER: textlocal needs SMS_TEXTLOCAL_API_KEY, SMS_TEXTLOCAL_SENDER;",
		phones + "GOTRUE_SMS_PROVIDER=vonage":            "GOTRUE_SMS_PROVIDER: vonage needs SMS_VONAGE_API_KEY, SMS_VONAGE_API_SECRET, SMS_VONAGE_FROM;",
		phones + "GATEHOUSE_SMS_PROVIDER=webhook":        "GATEHOUSE_SMS_PROVIDER: webhook needs SMS_WEBHOOK_URL, SMS_WEBHOOK_SECRETS;",
		phones + "GATEHOUSE_SMS_PROVIDER=pigeon":         "GATEHOUSE_SMS_PROVIDER: \"pigeon\" is not a word known here; write twilio, twilio_verify,",
		phones + public:                                  "GATEHOUSE_EXTERNAL_PHONE_ENABLED: telephone numbers are a way in, and nobody sends text messages; set SMS_PROVIDER, or take it out",
		phones + mailServer:                              "GATEHOUSE_EXTERNAL_PHONE_ENABLED: telephone numbers are a way in",
		phones + webhook + "GATEHOUSE_SMS_COUNTRIES=DEU": "GATEHOUSE_SMS_COUNTRIES: \"DEU\" is not a country; write its two letters of ISO 3166-1, e.g. DE",
		"GATEHOUSE_SMS_COUNTRIES=DE,EU":                  "GATEHOUSE_SMS_COUNTRIES: \"EU\" is not a country",
		"GATEHOUSE_SMS_COUNTRIES=UK":                     "GATEHOUSE_SMS_COUNTRIES: \"UK\" is not a country; write GB",
		"GATEHOUSE_SMS_COUNTRIES=49":                     "GATEHOUSE_SMS_COUNTRIES: \"49\" is not a country",
		"GATEHOUSE_SMS_BASE_URL=app://x":                 "GATEHOUSE_SMS_BASE_URL: \"app://x\" is not an absolute http or https URL",
		"GATEHOUSE_SMS_BASE_URL=http://sms.example.com": "GATEHOUSE_SMS_BASE_URL: the server calls others by https only; " +
			"use a public https address, or for development set OUTGOING_ALLOW_PRIVATE=true",
		"GATEHOUSE_SMS_WEBHOOK_URL=https://10.0.0.7":                                     "GATEHOUSE_SMS_WEBHOOK_URL: the address is not public",
		"GATEHOUSE_SMS_WEBHOOK_URL=https://localhost:9":                                  "GATEHOUSE_SMS_WEBHOOK_URL: the address is not public",
		"GATEHOUSE_SMS_WEBHOOK_URL=https://[::ffff:127.0.0.1]":                           "GATEHOUSE_SMS_WEBHOOK_URL: the address is not public",
		"GATEHOUSE_PASSWORD_HIBP_ENABLED=1 GATEHOUSE_PASSWORD_HIBP_URL=http://a.example": "GATEHOUSE_PASSWORD_HIBP_URL: the server calls others by https only",
		"GATEHOUSE_PASSWORD_HIBP_URL=myapp://x":                                          "GATEHOUSE_PASSWORD_HIBP_URL: \"myapp://x\" is not an absolute http or https URL",
		"GATEHOUSE_SMS_TEST_OTP_VALID_UNTIL=tomorrow":                                    "GATEHOUSE_SMS_TEST_OTP_VALID_UNTIL: \"tomorrow\" is not a moment; write e.g. 2030-01-31T00:00:00Z",
		"GATEHOUSE_SMS_OTP_EXP=5":                                                        "GATEHOUSE_SMS_OTP_EXP: 5s is out of bounds; write 10 to 86400",
		"GATEHOUSE_RATE_LIMIT_SMS_SENT=30/often":                                         "GATEHOUSE_RATE_LIMIT_SMS_SENT: \"30/often\" is not a rate; write e.g. 30, or 30/10m",
		"GATEHOUSE_RATE_LIMIT_EMAIL_SENT=-1":                                             "GATEHOUSE_RATE_LIMIT_EMAIL_SENT: \"-1\" is not a rate",
		"GATEHOUSE_MAILER_LANGUAGE=german":                                               "GATEHOUSE_MAILER_LANGUAGE: \"german\" is not a language; write its tag, e.g. en, de or pt-BR",
		"GATEHOUSE_MAILER_LANGUAGE=und":                                                  "GATEHOUSE_MAILER_LANGUAGE: \"und\" is not a language",
		"GOTRUE_SMTP_HEADERS=hunter2":                                                    "GOTRUE_SMTP_HEADERS: it is not a JSON object of lists of texts; write e.g. {\"X-Campaign\":[\"auth\"]}",
		"GOTRUE_SMTP_HEADERS={\"X-Key\":\"hunter2\"}":                                    "GOTRUE_SMTP_HEADERS: it is not a JSON object of lists of texts",
		"GATEHOUSE_USER_DATA_SCHEMA=a\nb":                                                "GATEHOUSE_USER_DATA_SCHEMA: it contains a line break",
		"GATEHOUSE_REVEAL_ACCOUNTS=some":                                                 "GATEHOUSE_REVEAL_ACCOUNTS: \"some\" is not a word known here; write nothing, hint, all, or leave it empty",
		"GOTRUE_EXTERNAL_EMAIL_AUTHORIZED_ADDRESSES=ada@example.com,bob":                 "GOTRUE_EXTERNAL_EMAIL_AUTHORIZED_ADDRESSES: \"bob\" is not an e-mail address",
		"GATEHOUSE_PASSWORD_STRENGTH=iron":                                               "GATEHOUSE_PASSWORD_STRENGTH: \"iron\" is not a word known here",
	} {
		_, r := config.Load(source(t, strings.Split(environ, " "), nil))
		if len(r.Faults) != 1 || !strings.HasPrefix(r.Faults[0].String(), want) {
			t.Errorf("%q: got %v, want %s", environ, r.Faults, want)
		}
		if err := r.Err(); err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: the secret is told: %v", environ, err)
		}
	}
}

func TestLoad_warnsOfWhatLetsOthersIn(t *testing.T) {
	for environ, want := range map[string]string{
		webhook:                                "GATEHOUSE_SMS_PROVIDER: telephone numbers are not a way in, so it sends nothing; set EXTERNAL_PHONE_ENABLED=true, or take it out",
		phones + "GOTRUE_SMS_AUTOCONFIRM=true": "GOTRUE_SMS_AUTOCONFIRM: anyone may sign up with anyone's telephone number",
		"GOTRUE_MAILER_ALLOW_UNVERIFIED_EMAIL_SIGN_INS=true":                            "GOTRUE_MAILER_ALLOW_UNVERIFIED_EMAIL_SIGN_INS: whoever signs up with somebody else's address is let in, too",
		public + phones + "GOTRUE_SMS_TEST_OTP=491701234567:123456":                     "GOTRUE_SMS_TEST_OTP: whoever knows its numbers and codes is let in, for ever; set SMS_TEST_OTP_VALID_UNTIL",
		"GOTRUE_PASSWORD_HIBP_FAIL_CLOSED=true":                                         "GOTRUE_PASSWORD_HIBP_FAIL_CLOSED: no service of stolen passwords is asked, so it does nothing",
		"GATEHOUSE_PASSWORD_COMMON_CHECK=false GATEHOUSE_PASSWORD_COMMON_LIST=list.txt": "GATEHOUSE_PASSWORD_COMMON_LIST: common passwords are not refused, so it does nothing",
	} {
		_, r := load(t, strings.Fields(environ)...)
		r.Warnings = withoutProxy(r.Warnings)
		if len(r.Warnings) != 1 || !strings.HasPrefix(r.Warnings[0].String(), want) {
			t.Errorf("%q: got %v, want %s", environ, r.Warnings, want)
		}
	}
}

// withoutProxy leaves out what is said of every public server.
func withoutProxy(notes []config.Note) (rest []config.Note) {
	for _, n := range notes {
		if n.Name != "GATEHOUSE_RATE_LIMIT_HEADER" {
			rest = append(rest, n)
		}
	}
	return rest
}

func TestLoad_acceptsTextMessages(t *testing.T) {
	for _, environ := range []string{
		phones, // the inbox keeps them
		phones + webhook,
		phones + public + "GOTRUE_SMS_TEST_OTP=491701234567:123456 GOTRUE_SMS_TEST_OTP_VALID_UNTIL=2030-01-31T00:00:00Z",
		phones + "GOTRUE_SMS_TEST_OTP=491701234567:123456",
		phones + "GOTRUE_SMS_PROVIDER=vonage GOTRUE_SMS_VONAGE_API_KEY=a GOTRUE_SMS_VONAGE_API_SECRET=b GOTRUE_SMS_VONAGE_FROM=c",
		phones + webhook + "GATEHOUSE_SMS_BASE_URL=http://127.0.0.1:9 GATEHOUSE_OUTGOING_ALLOW_PRIVATE=true",
		"GATEHOUSE_PASSWORD_HIBP_ENABLED=true GATEHOUSE_PASSWORD_HIBP_FAIL_CLOSED=true",
		"GATEHOUSE_PASSWORD_HIBP_URL=http://127.0.0.1:9", // nobody asks it
		"GATEHOUSE_MAILER_LANGUAGE=pt-BR", "GATEHOUSE_REVEAL_ACCOUNTS=hint",
	} {
		if _, r := load(t, strings.Fields(environ)...); len(withoutProxy(r.Warnings)) != 0 {
			t.Errorf("%q: got warnings %v, want none", environ, r.Warnings)
		}
	}
}

func TestLoad_readsWhatIsOfTextMessages(t *testing.T) {
	c, _ := load(t, "GATEHOUSE_SMS_COUNTRIES=de, At ,CH", "GOTRUE_RATE_LIMIT_EMAIL_SENT=30", "GOTRUE_RATE_LIMIT_SMS_SENT=5/2m",
		"GOTRUE_SMS_TEST_OTP_VALID_UNTIL=2030-01-31T01:00:00+01:00", `GOTRUE_SMTP_HEADERS={"X-A":["b","c"]}`)
	type all struct {
		Countries  []string
		Mail, SMS  config.Rate
		Until      time.Time
		Headers    config.MailHeaders
		Exp        time.Duration
		RetryAfter time.Duration
	}
	got := all{c.SMS.Countries, c.RateLimit.MailSent, c.RateLimit.SMSSent, c.SMS.TestOTPUntil.UTC(), c.SMTP.Headers, c.SMS.OTPExp.Duration(), c.Mailer.TemplateRetry}
	want := all{
		[]string{"DE", "AT", "CH"},
		config.Rate{Most: 30, Window: time.Hour},
		config.Rate{Most: 5, Window: 10 * time.Minute},
		time.Date(2030, 1, 31, 0, 0, 0, 0, time.UTC),
		config.MailHeaders{"X-A": {"b", "c"}},
		10 * time.Minute, 10 * time.Second,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
