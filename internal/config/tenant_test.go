package config_test

import (
	"slices"
	"strings"
	"testing"

	"gatehouse/internal/config"

	"github.com/google/go-cmp/cmp"
)

// base loads the settings of a server with tenants.
func base(t *testing.T, environ ...string) *config.Base {
	t.Helper()
	b, r := config.LoadBase(source(t, environ, nil))
	if err := r.Err(); err != nil {
		t.Fatalf("with %q: %v", environ, err)
	}
	return b
}

// tenant is what a tenant with these values gets.
func tenant(t *testing.T, b *config.Base, values map[string]string) *config.Config {
	t.Helper()
	c, r := b.For(values)
	if err := r.Err(); err != nil {
		t.Fatalf("with %q: %v", values, err)
	}
	return c
}

func TestFor_aTenantHasTheServersSettingsBeneathItsOwn(t *testing.T) {
	b := base(t, "GATEHOUSE_PASSWORD_MIN_LENGTH=9", "GOTRUE_DISABLE_SIGNUP=true", "GATEHOUSE_JWT_EXP=120", "GATEHOUSE_MAILER_SUBJECTS_INVITE=Come in")
	before := *b.Config
	c := tenant(t, b, map[string]string{"JWT_EXP": " 240 ", "SITE_URL": "https://shop.example", "MAILER_SUBJECTS_INVITE": "Come to the shop"})
	if c.Password.MinLength != 9 || !c.Site.DisableSignup || c.JWT.Life.Int() != 240 || c.Site.URL != "https://shop.example" || c.Mailer.Subjects.Invite != "Come to the shop" {
		t.Errorf("the tenant has %+v", c)
	}
	if diff := cmp.Diff(&before, b.Config); diff != "" {
		t.Errorf("a tenant changed the server's settings:\n%s", diff)
	}
	again := tenant(t, b, nil)
	if again.JWT.Life.Int() != 120 || again.Mailer.Subjects.Invite != "Come in" || again.Site.URL != "" {
		t.Errorf("the next tenant has %+v", again)
	}
}

// With a shared key a token of one tenant would be good in the next, and with a
// shared address its links would lead there.
func TestFor_whatOpensATenantIsNobodyElses(t *testing.T) {
	b := base(t, "GATEHOUSE_JWT_SECRET="+strings.Repeat("s", 40), "GATEHOUSE_JWT_KEY_ID=k", "GATEHOUSE_JWT_ISSUER=https://issuer.example",
		"GATEHOUSE_API_EXTERNAL_URL=https://auth.example", "GATEHOUSE_SITE_URL=https://site.example", "GATEHOUSE_URI_ALLOW_LIST=https://*.site.example/**",
		"GATEHOUSE_MAILER_EXTERNAL_HOSTS=auth.example", "GATEHOUSE_CORS_ALLOWED_ORIGINS=https://app.example", "GATEHOUSE_SMS_TEST_OTP=4915112345678:123456",
		"GATEHOUSE_SMTP_HOST=mail.example", "GATEHOUSE_SMTP_ADMIN_EMAIL=a@site.example", "GATEHOUSE_OPERATOR_TOKEN=operator-token-0123456789")
	c := tenant(t, b, nil)
	for name, v := range map[string]string{
		"JWT_SECRET": c.JWT.Secret.Reveal(), "JWT_KEYS": c.JWT.Keys.Reveal(), "JWT_KEY_ID": c.JWT.KeyID, "JWT_ISSUER": c.JWT.Issuer,
		"API_EXTERNAL_URL": c.Server.ExternalURL, "SITE_URL": c.Site.URL, "URI_ALLOW_LIST": strings.Join(c.Site.Redirects, " "),
		"MAILER_EXTERNAL_HOSTS": strings.Join(c.Mailer.ExternalHosts, " "), "CORS_ALLOWED_ORIGINS": strings.Join(c.Server.CORSOrigins, " "),
		"SMS_TEST_OTP": strings.Join(c.SMS.TestOTP, " "),
	} {
		if v != "" {
			t.Errorf("a tenant has the server's %s: %q", name, v)
		}
	}
	if c.SMTP.Host != "mail.example" || c.Server.OperatorToken != b.Server.OperatorToken {
		t.Error("a tenant lacks what all have in common")
	}
	c.FollowFrom("https://auth.example/t/shop")
	if c.Site.URL != "https://auth.example/t/shop" || c.JWT.Issuer != "https://auth.example/t/shop" {
		t.Errorf("its site is %q, its issuer %q", c.Site.URL, c.JWT.Issuer)
	}
}

// Who names the mail server must not be sent the password of another.
func TestFor_theServersSecretsGoWhereTheServerSendsThem(t *testing.T) {
	b := base(t, "GATEHOUSE_SMTP_HOST=mail.example", "GATEHOUSE_SMTP_USER=us", "GATEHOUSE_SMTP_PASS=ours", "GATEHOUSE_SMTP_ADMIN_EMAIL=a@site.example",
		"GATEHOUSE_SMS_PROVIDER=messagebird", "GATEHOUSE_SMS_MESSAGEBIRD_ACCESS_KEY=ours", "GATEHOUSE_SMS_MESSAGEBIRD_ORIGINATOR=us",
		"GATEHOUSE_SECURITY_CAPTCHA_SECRET=ours")
	c := tenant(t, b, map[string]string{"SMTP_ADMIN_EMAIL": "b@shop.example", "SMTP_PORT": "465"})
	if c.SMTP.User != "us" || c.SMTP.Password.Reveal() != "ours" || c.SMS.MessageBirdKey.Reveal() != "ours" || c.Captcha.Secret.Reveal() != "ours" {
		t.Error("without an address of its own a tenant lacks the server's secrets")
	}
	c, _ = b.For(map[string]string{"SMTP_HOST": "mail.shop.example", "SMS_BASE_URL": "https://sms.shop.example", "CAPTCHA_URL": "https://captcha.shop.example"})
	if got := c.SMTP.User + c.SMTP.Password.Reveal() + c.SMS.MessageBirdKey.Reveal() + c.Captcha.Secret.Reveal(); got != "" {
		t.Errorf("the server's secrets would go to the tenant's addresses: %q", got)
	}
	c, _ = b.For(map[string]string{"SMTP_HOST": "mail.shop.example", "SMTP_USER": "them", "SMTP_PASS": "theirs"})
	if c.SMTP.User != "them" || c.SMTP.Password.Reveal() != "theirs" {
		t.Errorf("it signs in as %q", c.SMTP.User)
	}
}

func TestFor_refusesWhatATenantMayNotSay(t *testing.T) {
	b := base(t)
	for _, tc := range []struct {
		name, value string
		want        []string // parts of the message
	}{
		{"DATABASE_URL", "sqlite:other", []string{"the same for all tenants"}},
		{"OPERATOR_TOKEN", "my-own-operator-token", []string{"the same for all tenants"}},
		{"MASTER_KEY", "x", []string{"the same for all tenants"}},
		{"PORT", "80", []string{"the same for all tenants"}},
		{"OUTGOING_ALLOW_PRIVATE", "true", []string{"the same for all tenants"}},
		{"USER_DATA_SCHEMA", "/etc/passwd", []string{"the same for all tenants"}},
		{"PASSWORD_COMMON_LIST", "/etc/passwd", []string{"the same for all tenants"}},
		{"HTTP_MAX_CONNECTIONS", "1", []string{"the same for all tenants"}},
		{"RATE_LIMIT_HEADER", "X-Mine", []string{"the same for all tenants"}},
		{"TRUSTED_PROXIES", "10.0.0.0/8", []string{"the same for all tenants"}},
		{"TENANTS_LIVE", "10", []string{"the same for all tenants"}},
		{"LOG_FILE", "/tmp/x", []string{"the same for all tenants"}},
		{"DISABLE_SIGNUPS", "true", []string{"no such setting", "did you mean DISABLE_SIGNUP?"}},
		{"GATEHOUSE_DISABLE_SIGNUP", "true", []string{"no such setting"}},
		{"", "x", []string{"no such setting"}},
		{"JWT_EXP", "soon", []string{"JWT_EXP"}},
		{"DISABLE_SIGNUP", "perhaps", []string{"DISABLE_SIGNUP", "neither true nor false"}},
		{"SITE_URL", "javascript:alert(1)", []string{"SITE_URL"}},
		{"JWT_KEYS", "nonsense", []string{"JWT_KEYS"}},
		{"DIALECT", "klingon", []string{"DIALECT"}},
	} {
		_, r := b.For(map[string]string{tc.name: tc.value})
		err := r.Err()
		if err == nil {
			t.Errorf("%s=%s was taken", tc.name, tc.value)
			continue
		}
		for _, part := range tc.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s=%s: %v, want %q in it", tc.name, tc.value, err, part)
			}
		}
		if len(r.Faults) != 1 {
			t.Errorf("%s=%s: %d faults, want one: %v", tc.name, tc.value, len(r.Faults), r.Faults)
		}
	}
}

func TestFor_aSecretStandsInNoMessage(t *testing.T) {
	b := base(t)
	const secret = "hunter2-hunter2"
	for _, name := range config.TenantSettings() {
		if !config.IsSecret(name) {
			continue
		}
		_, r := b.For(map[string]string{name: secret})
		for _, n := range append(r.Faults, r.Warnings...) {
			if strings.Contains(n.String(), secret) {
				t.Errorf("%s: the message tells the value: %s", name, n)
			}
		}
	}
	if !config.IsSecret("JWT_SECRET") || !config.IsSecret("SMTP_PASS") || config.IsSecret("SITE_URL") || !config.IsSecret("NO_SUCH_SETTING") {
		t.Error("what is secret is taken for what is not")
	}
}

func TestTenantSettings_areThoseForAccepts(t *testing.T) {
	b := base(t)
	list := config.TenantSettings()
	for _, name := range list {
		_, r := b.For(map[string]string{name: ""})
		if err := r.Err(); err != nil {
			t.Errorf("%s, empty: %v", name, err)
		}
	}
	for _, name := range []string{"OPERATOR_TOKEN", "MASTER_KEY", "DATABASE_URL", "DATA"} {
		if slices.Contains(list, name) {
			t.Errorf("%s is in the list", name)
		}
	}
}

// Ten thousand tenants are made ready in turn.
func BenchmarkFor(b *testing.B) {
	house, _ := config.LoadBase(config.Source{Dir: b.TempDir()})
	for b.Loop() {
		house.For(map[string]string{"SITE_URL": "https://shop.example", "JWT_EXP": "600"})
	}
}

func TestSentTo_isWhereASecretGoes(t *testing.T) {
	for name, want := range map[string][]string{
		"SMTP_PASS": {"SMTP_HOST"}, "SMTP_HOST": nil, "SMTP_PORT": nil, "SECURITY_CAPTCHA_SECRET": {"CAPTCHA_URL"}, "SMS_TWILIO_AUTH_TOKEN": {"SMS_BASE_URL"},
		"JWT_SECRET": nil, "WEBHOOK_SECRET": nil, "NOBODYS": nil, "SAML_PRIVATE_KEY": nil, "EXTERNAL_SLACK_CLIENT_ID": nil, "EXTERNAL_SLACK": nil,
		"EXTERNAL_SLACK_SECRET":      {"EXTERNAL_SLACK_API_URL", "EXTERNAL_SLACK_URL"},
		"EXTERNAL_SLACK_OIDC_SECRET": {"EXTERNAL_SLACK_OIDC_API_URL", "EXTERNAL_SLACK_OIDC_URL"},
		"EXTERNAL_APPLE_PRIVATE_KEY": {"EXTERNAL_APPLE_API_URL", "EXTERNAL_APPLE_URL"},
	} {
		if diff := cmp.Diff(want, config.SentTo(name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
