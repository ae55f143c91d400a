package config_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"gatehouse/internal/config"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

func TestLoad_tellsEveryFaultAtOnce(t *testing.T) {
	_, r := config.Load(source(t,
		[]string{
			"GOTRUE_JWT_EXP=abc", "PORT=70000", "GATEHOUSE_LOG_LEVEL=loud", "GOTRUE_MAILER_OTP_LENGTH=4",
			"GATEHOUSE_DIALECT=klingon", "API_EXTERNAL_URL=auth.example.com", "GATEHOUSE_SMTP_HOST=smtp.example.com",
			"GATEHOUSE_SESSIONS_TIMEBOX=3600",
		},
		map[string]string{".env": "\nno equals\nGOTRUE_DISABLE_SIGNUP=ja\n", "gatehouse.yaml": "smtp:\n  timeout: 0s\n"}))
	want := strings.TrimSpace(`
.env:2: there is no = in this line; write KEY=VALUE, or # before a comment
PORT: 70000 is out of bounds; write 0 to 65535
GATEHOUSE_DIALECT: "klingon" is not a word known here; write auto, netlify, supabase
GOTRUE_DISABLE_SIGNUP: "ja" is neither true nor false (.env:3); write true or false
GOTRUE_JWT_EXP: "abc" is not a number of seconds; write e.g. 3600
GATEHOUSE_SESSIONS_TIMEBOX: "3600" is not a duration; write e.g. 90s, 10m or 24h
GOTRUE_MAILER_OTP_LENGTH: 4 is out of bounds; write 6 to 10
smtp.timeout: 0s is too small (gatehouse.yaml:2); write 1ms or more
GATEHOUSE_LOG_LEVEL: "loud" is not a log level; write debug, info, warn or error
API_EXTERNAL_URL: "auth.example.com" is not an absolute http or https URL; write e.g. https://auth.example.com
GATEHOUSE_SMTP_ADMIN_EMAIL: it is missing, and SMTP_HOST is set; set it to the address mail comes from
`)
	err := r.Err()
	if err == nil {
		t.Fatal("got no fault")
	}
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(err.Error(), "\n")); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
}

func TestReport_errIsNilWithoutFaults(t *testing.T) {
	r := &config.Report{Warnings: []config.Note{{Name: "X", Problem: "is odd"}}}
	if err := r.Err(); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	if err := (*config.Report)(nil).Err(); err != nil {
		t.Errorf("got %v, want nil", err)
	}
}

const mailServer = "GATEHOUSE_SMTP_HOST=smtp.example.com GATEHOUSE_SMTP_ADMIN_EMAIL=auth@example.com "

func TestLoad_refuses(t *testing.T) {
	for environ, want := range map[string]string{
		"GATEHOUSE_API_HOST=0.0.0.0": "GATEHOUSE_API_HOST: listening on 0.0.0.0 needs a mail server; " +
			"set SMTP_HOST, or GATEHOUSE_MAIL=none to send no mail, or listen on 127.0.0.1",
		"GOTRUE_API_HOST=::":                   "GOTRUE_API_HOST: listening on :: needs a mail server",
		"GATEHOUSE_API_HOST=auth.lan":          "GATEHOUSE_API_HOST: listening on auth.lan needs",
		"GATEHOUSE_API_HOST=1.2.3.4:80":        "GATEHOUSE_API_HOST: \"1.2.3.4:80\" is not an address to listen on",
		mailServer + "GATEHOUSE_MAIL=none":     "GATEHOUSE_MAIL: no mail shall be sent, but SMTP_HOST is set",
		"GATEHOUSE_MAIL=nothing":               "GATEHOUSE_MAIL: \"nothing\" is not a word known here; write none, or leave it empty",
		"GATEHOUSE_SMTP_HOST=smtp.example.com": "GATEHOUSE_SMTP_ADMIN_EMAIL: it is missing",
		"GATEHOUSE_SMTP_HOST=smtps://h:465 GATEHOUSE_SMTP_ADMIN_EMAIL=a@example.com": "GATEHOUSE_SMTP_HOST: \"smtps://h:465\" is not a host",
		"GATEHOUSE_SMTP_ADMIN_EMAIL=Me<a@example.com>":                               "GATEHOUSE_SMTP_ADMIN_EMAIL: \"Me<a@example.com>\" is not an e-mail address",

		"API_EXTERNAL_URL=https://a.example/?x":   "API_EXTERNAL_URL: \"https://a.example/?x\" has a query or fragment",
		"API_EXTERNAL_URL=https://a.example/#":    "API_EXTERNAL_URL: \"https://a.example/#\" has a query or fragment",
		"API_EXTERNAL_URL=ftp://a.example":        "API_EXTERNAL_URL: \"ftp://a.example\" is not an absolute http or https URL",
		"API_EXTERNAL_URL=https://u:hunter2@a.ex": "API_EXTERNAL_URL: the URL holds a user name or password",
		"GATEHOUSE_SITE_URL=/home":                "GATEHOUSE_SITE_URL: \"/home\" is not an absolute URL",
		"GATEHOUSE_SITE_URL=javascript://a/%0ax":  "GATEHOUSE_SITE_URL: users cannot be sent to a javascript: URL",
		"GOTRUE_URI_ALLOW_LIST=**":                "GOTRUE_URI_ALLOW_LIST: \"**\" is not an absolute pattern",
		"GOTRUE_URI_ALLOW_LIST=/welcome":          "GOTRUE_URI_ALLOW_LIST: \"/welcome\" is not an absolute pattern",
		"GOTRUE_URI_ALLOW_LIST=https://{a,b}.ex":  "GOTRUE_URI_ALLOW_LIST: \"https://{a\" has a bracket without its partner",
		"GOTRUE_URI_ALLOW_LIST=data://x":          "GOTRUE_URI_ALLOW_LIST: users cannot be sent to a data: URL",
		"GATEHOUSE_CORS_ALLOWED_ORIGINS=*":        "GATEHOUSE_CORS_ALLOWED_ORIGINS: \"*\" is not an origin",
		"GATEHOUSE_CORS_ALLOWED_ORIGINS=null":     "GATEHOUSE_CORS_ALLOWED_ORIGINS: \"null\" is not an origin",
		"GOTRUE_MAILER_EXTERNAL_HOSTS=http://a":   "GOTRUE_MAILER_EXTERNAL_HOSTS: \"http://a\" is not a host",

		"GATEHOUSE_SQLITE_SYNCHRONOUS=OFF": "GATEHOUSE_SQLITE_SYNCHRONOUS: \"OFF\" is not a word known here",

		"GATEHOUSE_OPERATOR_TOKEN=hunter2":                                "GATEHOUSE_OPERATOR_TOKEN: it has less than 16 characters",
		"GATEHOUSE_MASTER_KEY=hunter2":                                    "GATEHOUSE_MASTER_KEY: it is not 32 bytes in base64, base64url or hex",
		"GATEHOUSE_JWT_KEYS={}":                                           "GATEHOUSE_JWT_KEYS: it is not a JSON array",
		"GATEHOUSE_JWT_KEYS=null":                                         "GATEHOUSE_JWT_KEYS: it is not a JSON array",
		"GOTRUE_JWT_VALID_METHODS=none":                                   "GOTRUE_JWT_VALID_METHODS: \"none\" is not an algorithm that signs",
		"GATEHOUSE_JWT_ROTATE_EVERY=48h":                                  "GATEHOUSE_JWT_ROTATE_EVERY: 48h0m0s is not more than twice JWT_ROTATION_OVERLAP, 24h0m0s; write a longer time",
		"GATEHOUSE_JWT_ROTATION_OVERLAP=1080h":                            "GATEHOUSE_JWT_ROTATE_EVERY: 2160h0m0s is not more than twice JWT_ROTATION_OVERLAP",
		"GATEHOUSE_JWT_ROTATION_OVERLAP=2000000h":                         "GATEHOUSE_JWT_ROTATE_EVERY: 2160h0m0s is not more than twice JWT_ROTATION_OVERLAP",
		"GATEHOUSE_JWT_ROTATE_EVERY=1ns GATEHOUSE_JWT_ROTATION_OVERLAP=x": "GATEHOUSE_JWT_ROTATION_OVERLAP: \"x\" is not a duration",
		"GATEHOUSE_SESSIONS_PER_USER=0":                                   "GATEHOUSE_SESSIONS_PER_USER: 0 is out of bounds; write 1 to 10000",
		"GATEHOUSE_SESSIONS_PER_USER=10001":                               "GATEHOUSE_SESSIONS_PER_USER: 10001 is out of bounds; write 1 to 10000",
		"GOTRUE_JWT_EXP=0":                                                "GOTRUE_JWT_EXP: 0s is too small; write 1 or more",
		"GOTRUE_JWT_EXP=-5":                                               "GOTRUE_JWT_EXP: \"-5\" is negative",
		"GOTRUE_JWT_EXP=1500ms":                                           "GOTRUE_JWT_EXP: \"1500ms\" is not a whole number of seconds",
		"GOTRUE_JWT_EXP=9223372037":                                       "GOTRUE_JWT_EXP: \"9223372037\" seconds is more than can be counted",
		"GOTRUE_SESSIONS_TIMEBOX=-1h":                                     "GOTRUE_SESSIONS_TIMEBOX: -1h0m0s is too small; write 0 or more",
		"GOTRUE_PASSWORD_MIN_LENGTH=5":                                    "GOTRUE_PASSWORD_MIN_LENGTH: 5 is out of bounds; write 6 to 128",
		"GOTRUE_PASSWORD_MIN_LENGTH=129":                                  "GOTRUE_PASSWORD_MIN_LENGTH: 129 is out of bounds",
		"GOTRUE_RATE_LIMIT_OTP=NaN":                                       "GOTRUE_RATE_LIMIT_OTP: \"NaN\" is not a number",
		"GOTRUE_RATE_LIMIT_HEADER=X-A:":                                   "GOTRUE_RATE_LIMIT_HEADER: \"X-A:\" is not the name of a header",
		"GATEHOUSE_TRUSTED_PROXIES=10.0.0.0/8,proxy.example":              "GATEHOUSE_TRUSTED_PROXIES: \"proxy.example\" is not an address; names are not looked up",
		"GATEHOUSE_TRUSTED_PROXIES=10.0.0.0/33":                           "GATEHOUSE_TRUSTED_PROXIES: \"10.0.0.0/33\" is not a network",
		"GATEHOUSE_TRUSTED_PROXIES=::/0":                                  "GATEHOUSE_TRUSTED_PROXIES: \"::/0\" is everybody",
		"GATEHOUSE_TRUSTED_PROXIES=::ffff:0:0/96":                         "GATEHOUSE_TRUSTED_PROXIES: \"::ffff:0:0/96\" is everybody",
		"GATEHOUSE_PASSWORD_TRIES_FREE=0":                                 "GATEHOUSE_PASSWORD_TRIES_FREE: 0 is out of bounds; write 1 to 50",
		"GATEHOUSE_PASSWORD_DELAY_MAX=25h":                                "GATEHOUSE_PASSWORD_DELAY_MAX: 25h0m0s is out of bounds; write 1s to 24h",
		"GOTRUE_COOKIE_KEY=a;b":                                           "GOTRUE_COOKIE_KEY: \"a;b\" is not the name of a cookie",
		"GOTRUE_SMTP_SENDER_NAME=A\r\nBcc:":                               "GOTRUE_SMTP_SENDER_NAME: it contains a line break or another control character",
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

func TestLoad_accepts(t *testing.T) {
	key := []byte(strings.Repeat("\xfb\xff\x00k", 8))
	for _, environ := range []string{
		"GATEHOUSE_API_HOST=0.0.0.0 GATEHOUSE_MAIL=none GATEHOUSE_MAILER_AUTOCONFIRM=true API_EXTERNAL_URL=https://a.example",
		"GATEHOUSE_MAIL=none GATEHOUSE_EXTERNAL_EMAIL_ENABLED=false",
		"GATEHOUSE_SMTP_HOST=127.0.0.1 GATEHOUSE_SMTP_ADMIN_EMAIL=a@example.com GATEHOUSE_SMTP_TLS=none",
		"GATEHOUSE_RATE_LIMIT_HEADER=X-Real-Ip API_EXTERNAL_URL=https://a.example GATEHOUSE_SITE_URL=https://b.example " + mailServer,
		"GATEHOUSE_TRUSTED_PROXIES=127.0.0.1,10.0.0.0/8 API_EXTERNAL_URL=https://a.example GATEHOUSE_SITE_URL=https://b.example " + mailServer,
		"GATEHOUSE_SECURITY_SB_FORWARDED_FOR_ENABLED=true API_EXTERNAL_URL=https://a.example GATEHOUSE_SITE_URL=https://b.example " + mailServer,
		"GATEHOUSE_SITE_URL=http://app.localhost:3000", "GATEHOUSE_SITE_URL=http://LOCALHOST.:3000", "GATEHOUSE_SITE_URL=http://[::1]:3000",
		"GATEHOUSE_API_HOST=0.0.0.0 API_EXTERNAL_URL=https://a.example " + mailServer,
		"GATEHOUSE_API_HOST=localhost", "GATEHOUSE_API_HOST=::1", "GATEHOUSE_API_HOST=[::1]", "GATEHOUSE_API_HOST=127.0.0.2",
		"PORT=0", "GATEHOUSE_JWT_ROTATE_EVERY=0", "GATEHOUSE_JWT_ROTATE_EVERY=48h1s", "GATEHOUSE_JWT_ROTATE_EVERY=1h GATEHOUSE_JWT_ROTATION_OVERLAP=0", "GATEHOUSE_SESSIONS_PER_USER=1", "GOTRUE_PASSWORD_MIN_LENGTH=128",
		"GATEHOUSE_MASTER_KEY=" + hex.EncodeToString(key), "GATEHOUSE_MASTER_KEY=" + base64.StdEncoding.EncodeToString(key),
		"GATEHOUSE_MASTER_KEY=" + base64.RawURLEncoding.EncodeToString(key),
		"GATEHOUSE_JWT_KEYS=[] GATEHOUSE_JWT_SECRET=" + strings.Repeat("x", 32),
		"GATEHOUSE_CORS_ALLOWED_ORIGINS=http://localhost:3000,https://a.example",
		"GOTRUE_MAILER_EXTERNAL_HOSTS=a.example,b.example:8443,[::1]:80",
		"GOTRUE_URI_ALLOW_LIST=http://localhost:*/**,com.example.app://,https://a.example/[a-z]?",
		"GATEHOUSE_SITE_URL=myapp://home", "GATEHOUSE_SITE_URL=http://127.0.0.1/#/in",
		"API_EXTERNAL_URL=http://localhost:9/auth/v1",
	} {
		c, r := load(t, strings.Split(strings.TrimSpace(environ), " ")...)
		if len(r.Warnings) != 0 {
			t.Errorf("%q: got warnings %v, want none", environ, r.Warnings)
		}
		if got := c.Server.SealingKey(); got != nil && string(got) != string(key) {
			t.Errorf("%q: got key %x, want %x", environ, got, key)
		}
	}
}

func TestLoad_warns(t *testing.T) {
	for environ, want := range map[string]string{
		"GATEHOUSE_RATE_LIMITS=off": "GATEHOUSE_RATE_LIMITS: no limits",
		"GOTRUE_JWT_SECRET=hunter2": "GOTRUE_JWT_SECRET: it has only 7 bytes",
		"GOTRUE_JWT_SECRET=":        "GOTRUE_JWT_SECRET: it is set but empty",
		"GOTRUE_JWT_SECRET=super-secret-jwt-token-with-at-least-32-characters-long": "GOTRUE_JWT_SECRET: it is a well-known example",
		"GOTRUE_SECURITY_REFRESH_TOKEN_ROTATION_ENABLED=false":                      "GOTRUE_SECURITY_REFRESH_TOKEN_ROTATION_ENABLED: refresh tokens are always used once",
		"GOTRUE_URI_ALLOW_LIST=https://**":                                          "GOTRUE_URI_ALLOW_LIST: \"https://**\" lets users, and their tokens, be sent to any host",
		"GOTRUE_JWT_SECRET=hunter2-hunter2-hunter2":                                 "GOTRUE_JWT_SECRET: it has only 23 bytes",
		"GOTRUE_JWT_SECRET=hunter2 GATEHOUSE_SITE_URL=http://localhost:3000":        "GOTRUE_JWT_SECRET: it has only 7 bytes",
		"GOTRUE_JWT_SECRET=hunter2 GATEHOUSE_SITE_URL=myapp://home":                 "GOTRUE_JWT_SECRET: it has only 7 bytes",

		"GATEHOUSE_API_HOST=0.0.0.0 GATEHOUSE_MAIL=none GOTRUE_MAILER_AUTOCONFIRM=1":          "GATEHOUSE_API_EXTERNAL_URL: it is not set",
		"API_EXTERNAL_URL=https://auth.example.com GATEHOUSE_RATE_LIMIT_HEADER=X-Real-Ip":     "API_EXTERNAL_URL: the server is reached from elsewhere",
		"GATEHOUSE_SITE_URL=https://app.example.com GATEHOUSE_RATE_LIMIT_HEADER=X-Real-Ip":    "GATEHOUSE_API_EXTERNAL_URL: it is not set, and SITE_URL names another machine: links in mails and the issuer (iss)",
		mailServer + "API_EXTERNAL_URL=https://auth.example.com":                              "GATEHOUSE_RATE_LIMIT_HEADER: it is not set, and API_EXTERNAL_URL names another machine: clients of a proxy",
		"API_EXTERNAL_URL=http://localhost:9 GATEHOUSE_SITE_URL=https://app.example.com":      "GATEHOUSE_RATE_LIMIT_HEADER: it is not set, and SITE_URL names another machine",
		mailServer + "API_EXTERNAL_URL=https://auth.example.com GATEHOUSE_RATE_LIMIT_HEADER=": "GATEHOUSE_RATE_LIMIT_HEADER: it is not set",

		"GATEHOUSE_MAIL=none":                                              "GATEHOUSE_MAIL: no mail is sent, so nobody can confirm an e-mail address",
		mailServer + "GATEHOUSE_SMTP_TLS=none":                             "GATEHOUSE_SMTP_TLS: mail, with the links and codes that let people in, travels unencrypted",
		mailServer + "GATEHOUSE_SMTP_TLS=none GATEHOUSE_SMTP_PASS=hunter2": "GATEHOUSE_SMTP_TLS: mail, with the links and codes that let people in, and the password",
	} {
		_, r := load(t, strings.Split(environ, " ")...)
		if len(r.Warnings) != 1 || !strings.HasPrefix(r.Warnings[0].String(), want) {
			t.Errorf("%q: got %v, want %s", environ, r.Warnings, want)
		}
		if strings.Contains(fmt.Sprint(r.Warnings), "hunter2") {
			t.Errorf("%q: the secret is told: %v", environ, r.Warnings)
		}
	}
}

// Whoever can guess the secret, or read it in a guide, can be anyone.
func TestLoad_refusesAGuessableSecretInPublic(t *testing.T) {
	const (
		example = "your-super-secret-jwt-token-with-at-least-32-characters-long"
		known   = "it is a well-known example"
	)
	bytes := func(n int) string { return strings.Repeat("k", n) }
	for _, public := range []string{
		"GATEHOUSE_API_HOST=0.0.0.0 API_EXTERNAL_URL=http://localhost:9 " + mailServer,
		"API_EXTERNAL_URL=https://auth.example.com",
		"API_EXTERNAL_URL=http://localhost.example.com",
		"GATEHOUSE_SITE_URL=https://app.example.com",
		"GATEHOUSE_SITE_URL=http://10.0.0.7:3000",
	} {
		for _, tc := range []struct {
			secret, fault, warning string
		}{
			{example, known, ""},
			{strings.ToUpper(example), known, ""},
			{"secret", known, ""},
			{bytes(15), "it has only 15 bytes", ""},
			{bytes(16), "", "it has only 16 bytes"},
			{bytes(31), "", "it has only 31 bytes"},
			{bytes(32), "", ""},
		} {
			_, r := config.Load(source(t, append(strings.Fields(public), "GOTRUE_JWT_SECRET="+tc.secret), nil))
			for _, side := range []struct {
				name  string
				notes []config.Note
				want  string
			}{{"fault", r.Faults, tc.fault}, {"warning", r.Warnings, tc.warning}} {
				got := about("GOTRUE_JWT_SECRET", side.notes)
				if (got == "") != (side.want == "") || !strings.HasPrefix(got, side.want) {
					t.Errorf("%s with a secret of %d bytes: got %s %q, want %q", public, len(tc.secret), side.name, got, side.want)
				}
			}
		}
	}
}

// about is the problem of the note with a name, or empty.
func about(name string, notes []config.Note) string {
	for _, n := range notes {
		if n.Name == name {
			return n.Problem
		}
	}
	return ""
}

func TestLoad_dataMustBeAFolder(t *testing.T) {
	src := source(t, nil, map[string]string{"taken": ""})
	taken := filepath.Join(src.Dir, "taken")
	for data, want := range map[string]string{
		"taken":                             `"taken" is not a folder`,
		taken:                               strconv.Quote(taken) + " is not a folder",
		".":                                 "",
		src.Dir:                             "",
		"not-there-yet":                     "",
		filepath.Join(src.Dir, "not", "it"): "",
	} {
		src.Environ = []string{"GATEHOUSE_DATA=" + data}
		_, r := config.Load(src)
		if got := about("GATEHOUSE_DATA", r.Faults); got != want {
			t.Errorf("%s: got fault %q, want %q", data, got, want)
		}
	}
}

func TestConfig_devInboxOnlyOnLoopbackWithoutMailServer(t *testing.T) {
	for environ, want := range map[string]bool{
		"GATEHOUSE_API_HOST=127.0.0.1":                      true,
		"GATEHOUSE_API_HOST=::1":                            true,
		"GATEHOUSE_API_HOST=LOCALHOST":                      true,
		"GATEHOUSE_MAIL=none":                               false,
		mailServer:                                          false,
		"GATEHOUSE_API_HOST=0.0.0.0 GATEHOUSE_MAIL=none":    false,
		"GATEHOUSE_API_HOST=192.168.1.2 " + mailServer:      false,
		"GATEHOUSE_API_HOST=localhost.evil " + mailServer:   false,
		"GATEHOUSE_API_HOST=::ffff:127.0.0.1":               true,
		"GATEHOUSE_API_HOST=127.0.0.1.nip.io " + mailServer: false,
	} {
		c, _ := load(t, strings.Fields(environ)...)
		if got := c.DevInbox(); got != want {
			t.Errorf("%q: got %v, want %v", environ, got, want)
		}
	}
}

func TestConfig_listeningFillsInOnlyWhatIsEmpty(t *testing.T) {
	c, _ := load(t)
	c.Listening("127.0.0.1:4711")
	got := []string{c.Server.ExternalURL, c.Site.URL, c.JWT.Issuer, c.Server.Addr(), c.SQLiteFile()}
	want := []string{"http://127.0.0.1:4711", "http://127.0.0.1:4711", "http://127.0.0.1:4711", "127.0.0.1:8081", "gatehouse-data/gatehouse.db"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("with nothing set (-want +got):\n%s", diff)
	}
	c, _ = load(t, "API_EXTERNAL_URL=http://localhost:9", "GOTRUE_SITE_URL=https://site.example", "GOTRUE_JWT_ISSUER=me", "DATABASE_URL=sqlite:///var/g.db")
	c.Listening("127.0.0.1:4711")
	got = []string{c.Server.ExternalURL, c.Site.URL, c.JWT.Issuer, c.SQLiteFile()}
	want = []string{"http://localhost:9", "https://site.example", "me", "/var/g.db"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("with all set (-want +got):\n%s", diff)
	}
}

func TestSecret_isNeverPrinted(t *testing.T) {
	const hunter = "hunter2-hunter2-hunter2"
	c, r := load(t, "GATEHOUSE_OPERATOR_TOKEN="+hunter, "GOTRUE_JWT_SECRET="+hunter, "GOTRUE_SMTP_PASS="+hunter, "DATABASE_URL=sqlite:"+hunter)
	if got := c.Server.OperatorToken.Reveal(); got != hunter {
		t.Fatalf("Reveal: got %q, want %q", got, hunter)
	}
	var out strings.Builder
	for _, v := range []any{c, *c, c.Server, c.JWT.Secret, &c.JWT.Secret, []config.Secret{c.SMTP.Password}, map[string]any{"a": c.SMTP}, r} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		for _, enc := range []func(any) ([]byte, error){json.Marshal, yaml.Marshal} {
			b, err := enc(v)
			if err != nil {
				t.Fatal(err)
			}
			out.Write(b)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("text", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("json", "v", v)
	}
	fmt.Fprint(&out, c.JWT.Secret.String(), c.JWT.Secret.GoString(), c.JWT.Secret.LogValue())
	if !strings.Contains(out.String(), "***") {
		t.Error("got no mask at all, want ***")
	}
	for _, form := range []string{hunter, hex.EncodeToString([]byte(hunter)), strings.ToUpper(hex.EncodeToString([]byte(hunter)))} {
		if at := strings.Index(out.String(), form); at >= 0 {
			t.Errorf("the secret is printed: %.120s", out.String()[max(0, at-60):])
		}
	}
}
