package config_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/config"

	"github.com/google/go-cmp/cmp"
)

// source is a source with an environment and a folder of files.
func source(t *testing.T, environ []string, files map[string]string) config.Source {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return config.Source{Environ: environ, Dir: dir}
}

// load loads settings that must have no fault.
func load(t *testing.T, environ ...string) (*config.Config, *config.Report) {
	t.Helper()
	c, r := config.Load(source(t, environ, nil))
	if err := r.Err(); err != nil {
		t.Fatalf("with %q: %v", environ, err)
	}
	return c, r
}

func TestLoad_nothingSetIsADevelopmentServer(t *testing.T) {
	c, r := load(t)
	if len(r.Warnings) != 0 {
		t.Errorf("got warnings %v, want none", r.Warnings)
	}
	want := &config.Config{
		Server: config.Server{Host: "127.0.0.1", Port: 8081, Data: "gatehouse-data", MaxRequestDuration: 10 * time.Second, Drain: 2 * time.Second, Dialect: "auto"},
		HTTP:   config.HTTP{MaxConnections: 20000, MaxHeader: 65536, Idle: 2 * time.Minute}, Tenants: config.Tenants{Live: 500},
		Database: config.Database{
			Synchronous: "FULL", ConnLifetime: 30 * time.Minute, ConnIdle: 5 * time.Minute, HealthCheck: time.Minute,
			StatementTimeout: 3 * time.Second, LockTimeout: time.Second, TransactionTimeout: 5 * time.Second, EventsKeep: 90 * 24 * time.Hour, SignupsKeep: 72 * time.Hour,
		},
		Password: config.Password{MinLength: 6, Common: true, HIBPURL: "https://api.pwnedpasswords.com", HIBPAgent: "Gatehouse", HashMemory: 19456, HashTime: 2, HashWait: 5 * time.Second},
		JWT:      config.JWT{Life: seconds(time.Hour), Audience: "authenticated", DefaultGroup: "authenticated", AdminGroup: "admin", AdminRoles: []string{"service_role", "supabase_admin"}, RotationOverlap: 24 * time.Hour, RotateEvery: 90 * 24 * time.Hour},
		Session:  config.Session{ReuseGrace: seconds(10 * time.Second), Rotation: true, PerUser: 100},
		Mailer: config.Mailer{
			SecureEmailChange: true, InviteAge: 7 * 24 * time.Hour, Language: "en", PKCEBinding: "open", PerDay: 20, OTPLength: 6, LinkMode: "page", LinkStyle: "auto",
			TemplateMaxAge: 10 * time.Minute, TemplateMaxSize: 1000000, TemplateRetry: 10 * time.Second,
			Notices: config.Notices{PasswordChanged: true, EmailChanged: true, PhoneChanged: true, IdentityLinked: true, IdentityUnlinked: true},
		},
		SMS:      config.SMS{OTPExp: seconds(10 * time.Minute), OTPLength: 6, MaxFrequency: time.Minute, PerHour: 5, PerDay: 20, Budget: 1000},
		SMTP:     config.SMTP{Port: 587, MaxFrequency: time.Minute, TLS: "auto", Timeout: 15 * time.Second},
		External: config.External{Email: true, MagicLink: true, FlowLife: 5 * time.Minute},
		Providers: config.Providers{
			Linking: "verified", KeepTokens: true, Issuers: []string{"https://appleid.apple.com", "https://accounts.google.com"}, CacheLife: time.Hour, Custom: true,
		},
		SAML:      config.SAML{RateLimit: 15, RelayLife: 10 * time.Minute},
		Web3:      config.Web3{Ethereum: config.Chain{MaxAge: 10 * time.Minute}, Solana: config.Chain{MaxAge: 10 * time.Minute}},
		RateLimit: config.RateLimit{Limits: "on", OTP: 30, TokenRefresh: 150, Verify: 30, Anonymous: 30, SSO: 30, Web3: 30, PasswordFree: 5, PasswordDelay: 15 * time.Minute},
		Webhook:   config.Webhook{Retries: 3, Timeout: 5},
		Captcha:   config.Captcha{Provider: "hcaptcha", Timeout: 10 * time.Second, WorkBits: 18},
		Cookie:    config.Cookie{Key: "nf_jwt", Life: seconds(24 * time.Hour)},
		Log:       config.Log{Format: "auto"},
		Telemetry: config.Telemetry{
			MetricsExporter: "prometheus", MetricsHost: "127.0.0.1", MetricsPort: 9100, TracingExporter: "opentelemetry", TracingHost: "localhost", TracingPort: 4318,
			TracingProtocol: "http/protobuf", TracingService: "gatehouse", TracingRatio: 1, ProfilerHost: "localhost", ProfilerPort: 9998,
		},
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	if !c.Loopback() || !c.DevInbox() {
		t.Errorf("got Loopback %v, DevInbox %v, want both", c.Loopback(), c.DevInbox())
	}
}

func seconds(d time.Duration) config.Seconds { return config.Seconds(d) }

// Mission: C01
func TestLoad_environmentWinsOverFiles(t *testing.T) {
	const (
		env  = "GATEHOUSE_JWT_AUD=environment"
		dot  = "GATEHOUSE_JWT_AUD=dotenv\n"
		yaml = "jwt: {aud: yaml}\n"
	)
	for _, tc := range []struct {
		name, want string
		environ    []string
		files      map[string]string
	}{
		{"nothing", "authenticated", nil, nil},
		{"yaml alone", "yaml", nil, map[string]string{"gatehouse.yaml": yaml}},
		{".env over yaml", "dotenv", nil, map[string]string{".env": dot, "gatehouse.yaml": yaml}},
		{"environment over .env", "environment", []string{env}, map[string]string{".env": dot}},
		{"environment over all", "environment", []string{env}, map[string]string{".env": dot, "gatehouse.yaml": yaml}},
		{"environment over .env whatever the prefix", "theirs", []string{"GOTRUE_JWT_AUD=theirs"}, map[string]string{".env": dot}},
		{".env over yaml whatever the prefix", "theirs", nil, map[string]string{".env": "GOTRUE_JWT_AUD=theirs", "gatehouse.yaml": yaml}},
		{"our prefix within the environment", "environment", []string{"GOTRUE_JWT_AUD=theirs", env}, nil},
		{"our prefix within .env", "dotenv", nil, map[string]string{".env": dot + "GOTRUE_JWT_AUD=theirs\n"}},
		{"our prefix within yaml", "yaml", nil, map[string]string{"gatehouse.yaml": "GOTRUE_JWT_AUD: theirs\n" + yaml}},
		{"an empty value takes back what a file says", "authenticated", []string{"GATEHOUSE_JWT_AUD="}, map[string]string{".env": dot}},
		{"the last of two in the environment", "second", []string{"GATEHOUSE_JWT_AUD=first", "GATEHOUSE_JWT_AUD=second"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, r := config.Load(source(t, tc.environ, tc.files))
			if err := r.Err(); err != nil {
				t.Fatal(err)
			}
			if got := c.JWT.Audience; got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestLoad_namesWithoutPrefixComeLastInTheirSource(t *testing.T) {
	port := func(c *config.Config) any { return c.Server.Port }
	url := func(c *config.Config) any { return c.Database.URL.Reveal() }
	for _, tc := range []struct {
		environ []string
		dotenv  string
		field   func(*config.Config) any
		want    any
	}{
		{[]string{"PORT=1"}, "", port, 1},
		{[]string{"PORT=1", "GOTRUE_API_PORT=2"}, "", port, 2},
		{[]string{"PORT=1", "GOTRUE_API_PORT=2", "GOTRUE_PORT=3"}, "", port, 3},
		{[]string{"PORT=1", "GOTRUE_PORT=3", "GATEHOUSE_API_PORT=4"}, "", port, 4},
		{[]string{"PORT=1"}, "GATEHOUSE_PORT=5", port, 1},
		{nil, "PORT=6", port, 6},
		{[]string{"DATABASE_URL=sqlite:a"}, "", url, "sqlite:a"},
		{[]string{"DATABASE_URL=sqlite:a", "GOTRUE_DB_DATABASE_URL=sqlite:b"}, "", url, "sqlite:b"},
		{[]string{"GOTRUE_DATABASE_URL=sqlite:c"}, "", url, "sqlite:c"},
		{[]string{"API_EXTERNAL_URL=https://a.example/"}, "", func(c *config.Config) any { return c.Server.ExternalURL }, "https://a.example"},
		{[]string{"REQUEST_ID_HEADER=X-A"}, "", func(c *config.Config) any { return c.Server.RequestIDHeader }, "X-A"},
		{[]string{"REQUEST_ID_HEADER=X-A", "GOTRUE_API_REQUEST_ID_HEADER=X-B"}, "", func(c *config.Config) any { return c.Server.RequestIDHeader }, "X-B"},
		{[]string{"SITE_URL=https://not.ours"}, "", func(c *config.Config) any { return c.Site.URL }, ""},
	} {
		c, r := config.Load(source(t, tc.environ, map[string]string{".env": tc.dotenv}))
		if err := r.Err(); err != nil {
			t.Errorf("%q: %v", tc.environ, err)
		}
		if got := tc.field(c); got != tc.want {
			t.Errorf("%q with .env %q: got %v, want %v", tc.environ, tc.dotenv, got, tc.want)
		}
	}
}

func TestLoad_emailDisabledIsTheOppositeOfEnabled(t *testing.T) {
	for _, tc := range []struct {
		environ string
		want    bool
	}{
		{"GOTRUE_EXTERNAL_EMAIL_DISABLED=true", false},
		{"GOTRUE_EXTERNAL_EMAIL_DISABLED=false", true},
		{"GOTRUE_EXTERNAL_EMAIL_DISABLED=", true},
		{"GOTRUE_EXTERNAL_EMAIL_ENABLED=false", false},
		{"GATEHOUSE_EXTERNAL_EMAIL_DISABLED=1", false},
	} {
		if c, _ := load(t, tc.environ); c.External.Email != tc.want {
			t.Errorf("%s: got %v, want %v", tc.environ, c.External.Email, tc.want)
		}
	}
	_, r := config.Load(source(t, []string{"GOTRUE_EXTERNAL_EMAIL_DISABLED=maybe"}, nil))
	want := []config.Note{{Name: "GOTRUE_EXTERNAL_EMAIL_DISABLED", Problem: `"maybe" is neither true nor false`, Mend: "write true or false"}}
	if diff := cmp.Diff(want, r.Faults); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
}

func TestLoad_refusesANameAndItsOppositeThatContradict(t *testing.T) {
	for environ, want := range map[string]string{
		"GOTRUE_EXTERNAL_EMAIL_ENABLED=true GOTRUE_EXTERNAL_EMAIL_DISABLED=true":     "GOTRUE_EXTERNAL_EMAIL_DISABLED: it contradicts GOTRUE_EXTERNAL_EMAIL_ENABLED; take one of them out",
		"GOTRUE_EXTERNAL_EMAIL_ENABLED=0 GOTRUE_EXTERNAL_EMAIL_DISABLED=false":       "GOTRUE_EXTERNAL_EMAIL_DISABLED: it contradicts GOTRUE_EXTERNAL_EMAIL_ENABLED; take one of them out",
		"GOTRUE_EXTERNAL_EMAIL_ENABLED=1 GATEHOUSE_EXTERNAL_EMAIL_DISABLED=true":     "GOTRUE_EXTERNAL_EMAIL_ENABLED: it contradicts GATEHOUSE_EXTERNAL_EMAIL_DISABLED; take one of them out",
		"GATEHOUSE_EXTERNAL_EMAIL_ENABLED= GOTRUE_EXTERNAL_EMAIL_DISABLED=true":      "GOTRUE_EXTERNAL_EMAIL_DISABLED: it contradicts GATEHOUSE_EXTERNAL_EMAIL_ENABLED; take one of them out",
		"GOTRUE_EXTERNAL_EMAIL_ENABLED=true GOTRUE_EXTERNAL_EMAIL_DISABLED=0":        "",
		"GOTRUE_EXTERNAL_EMAIL_ENABLED=false GOTRUE_EXTERNAL_EMAIL_DISABLED=TRUE":    "",
		"GOTRUE_EXTERNAL_EMAIL_ENABLED=false GOTRUE_EXTERNAL_EMAIL_DISABLED=":        "",
		"GATEHOUSE_EXTERNAL_EMAIL_ENABLED=false GATEHOUSE_EXTERNAL_EMAIL_DISABLED=t": "",
	} {
		_, r := config.Load(source(t, strings.Split(environ, " "), nil))
		got := ""
		if err := r.Err(); err != nil {
			got = err.Error()
		}
		if got != want || len(r.Warnings) != 0 {
			t.Errorf("%s: got %q and warnings %v, want %q alone", environ, got, r.Warnings, want)
		}
	}
	// The environment takes back what a file says, whatever the name.
	c, r := config.Load(source(t, []string{"GOTRUE_EXTERNAL_EMAIL_DISABLED=true"}, map[string]string{".env": "GOTRUE_EXTERNAL_EMAIL_ENABLED=true"}))
	if r.Err() != nil || len(r.Warnings) != 0 || c.External.Email {
		t.Errorf("over a file: got %v, %v and %v, want neither fault nor warning, and false", r.Err(), r.Warnings, c.External.Email)
	}
}

func TestLoad_warnsOfNamesThatDifferInOneSource(t *testing.T) {
	for _, tc := range []struct {
		environ []string
		files   map[string]string
		want    []string
	}{
		{[]string{"GATEHOUSE_JWT_SECRET=" + hunter32, "GOTRUE_JWT_SECRET=x" + hunter32}, nil, []string{"GOTRUE_JWT_SECRET: it differs from GATEHOUSE_JWT_SECRET, which wins; take one of them out"}},
		{[]string{"GATEHOUSE_JWT_AUD=", "GOTRUE_JWT_AUD=b"}, nil, []string{"GOTRUE_JWT_AUD: it differs from GATEHOUSE_JWT_AUD, which wins; take one of them out"}},
		{[]string{"GATEHOUSE_DISABLE_SIGNUP=false", "GOTRUE_DISABLE_SIGNUP=true"}, nil, []string{"GOTRUE_DISABLE_SIGNUP: it differs from GATEHOUSE_DISABLE_SIGNUP, which wins; take one of them out"}},
		{nil, map[string]string{".env": "GOTRUE_JWT_AUD=b\nGATEHOUSE_JWT_AUD=a\n"}, []string{"GOTRUE_JWT_AUD: it differs from GATEHOUSE_JWT_AUD, which wins (.env:1); take one of them out"}},
		{nil, map[string]string{"gatehouse.yaml": "gotrue_jwt_aud: b\njwt: {aud: a}\n"}, []string{"gotrue_jwt_aud: it differs from jwt.aud, which wins (gatehouse.yaml:1); take one of them out"}},
		{[]string{"GATEHOUSE_JWT_AUD=a", "GOTRUE_JWT_AUD=a"}, nil, nil},
		{[]string{"GATEHOUSE_JWT_AUD=a", "GOTRUE_JWT_AUD="}, nil, nil},
		{[]string{"GATEHOUSE_JWT_AUD=", "GOTRUE_JWT_AUD=authenticated"}, nil, nil},
		{[]string{"GATEHOUSE_DISABLE_SIGNUP=1", "GOTRUE_DISABLE_SIGNUP=true"}, nil, nil},
		{[]string{"GATEHOUSE_AUTO_MIGRATE=1", "GOTRUE_AUTO_MIGRATE=true"}, nil, nil},
		{[]string{"GATEHOUSE_AUTO_MIGRATE=", "GOTRUE_AUTO_MIGRATE=true"}, nil, []string{"GOTRUE_AUTO_MIGRATE: it differs from GATEHOUSE_AUTO_MIGRATE, which wins; take one of them out"}},
		{[]string{"GATEHOUSE_JWT_AUD=a"}, map[string]string{".env": "GOTRUE_JWT_AUD=b"}, nil},
		{[]string{"GATEHOUSE_PORT=1", "PORT=2"}, nil, nil},
	} {
		_, r := config.Load(source(t, tc.environ, tc.files))
		if err := r.Err(); err != nil {
			t.Errorf("%q %q: %v", tc.environ, tc.files, err)
		}
		var got []string
		for _, n := range r.Warnings {
			got = append(got, n.String())
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%q %q (-want +got):\n%s", tc.environ, tc.files, diff)
		}
	}
}

const hunter32 = "hunter2-hunter2-hunter2-hunter2-"

func TestLoad_readsEveryKindOfValue(t *testing.T) {
	c, _ := load(t,
		"GOTRUE_JWT_EXP=7200", "GOTRUE_COOKIE_DURATION=1h", "GOTRUE_SMTP_MAX_FREQUENCY=90s",
		"GOTRUE_URI_ALLOW_LIST= https://a.example/** ,,myapp://callback", "GATEHOUSE_LOG_LEVEL=WARNING",
		`GOTRUE_PASSWORD_REQUIRED_CHARACTERS=abc:AB\:C::\\`, "GATEHOUSE_SQLITE_SYNCHRONOUS=normal",
		"GOTRUE_MAILER_SUBJECTS_MAGIC_LINK=Come in", "GOTRUE_MAILER_URLPATHS_RECOVERY=/back", "GOTRUE_RATE_LIMIT_OTP=12.5",
		"GOTRUE_MAILER_OTP_EXP=300",
	)
	got := []any{
		c.JWT.Life.Duration(), c.Cookie.Life.Int(), c.SMTP.MaxFrequency, c.Site.Redirects, c.Log.Level.String(),
		[]string(c.Password.Required), c.Database.Synchronous, c.Mailer.Subjects.MagicLink, c.Mailer.URLPaths.Recovery,
		c.RateLimit.OTP, c.Mailer.CodeLife(), c.Mailer.LinkLife(),
	}
	want := []any{
		2 * time.Hour, int64(3600), 90 * time.Second,
		[]string{"https://a.example/**", "myapp://callback"},
		"warn",
		[]string{"abc", "AB:C", `\\`},
		"NORMAL", "Come in", "/back",
		12.5, 5 * time.Minute, 5 * time.Minute,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}

func TestLoad_yamlIsATreeOfNames(t *testing.T) {
	c, r := config.Load(source(t, nil, map[string]string{"gatehouse.yaml": `
# a comment
port: 9000
mailer:
  autoconfirm: true
  subjects: {invite: "Welcome, stranger"}
  otp:
    length: 8
uri_allow_list:
  - https://a.example/**
  - https://b.example/**
GATEHOUSE_JWT_EXP: 60
gotrue_cookie_key: biscuit
RATE_LIMITS: on
password: {required_characters: ["ab:c", "12"]}
site: {url: ~}
smtp:
`}))
	if err := r.Err(); err != nil || len(r.Warnings) != 0 {
		t.Fatalf("got faults %v, warnings %v, want none", err, r.Warnings)
	}
	got := []any{
		c.Server.Port, c.Mailer.Autoconfirm, c.Mailer.Subjects.Invite, c.Mailer.OTPLength, c.Site.Redirects,
		c.JWT.Life.Int(), c.Cookie.Key, c.RateLimit.Limits, []string(c.Password.Required),
	}
	want := []any{
		9000, true, "Welcome, stranger", 8,
		[]string{"https://a.example/**", "https://b.example/**"},
		int64(60), "biscuit", "on",
		[]string{"ab:c", "12"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}

func TestLoad_yamlFaultsTellThePlaceButNotTheText(t *testing.T) {
	for content, want := range map[string]string{
		"- a\n- b\n":                                "gatehouse.yaml:1: the file is not a tree of settings; write lines like port: 8081",
		"port: 1\n---\nport: 2\n":                   "gatehouse.yaml:2: a second document begins here; keep all settings in one document",
		"smtp: {pass: *hunter2}\n":                  "gatehouse.yaml: it is not YAML",
		"smtp:\n\tpass: hunter2\n":                  "gatehouse.yaml:2: it is not YAML",
		"x: &hunter2 1\nsmtp:\n  pass: *hunter2\n":  "smtp.pass: anchors and aliases are not read (gatehouse.yaml:3)",
		"uri_allow_list: [[hunter2]]\n":             "uri_allow_list: the list holds more than plain values (gatehouse.yaml:1)",
		"hunter 2: 1\n":                             "gatehouse.yaml:1: this key is not a name",
		"jwt:\n  exp: soon\n":                       `jwt.exp: "soon" is not a number of seconds (gatehouse.yaml:2); write e.g. 3600`,
		"smtp: {host: smtp.example.com, port: 0}\n": `smtp.port: 0 is out of bounds (gatehouse.yaml:1); write 1 to 65535`,
	} {
		_, r := config.Load(source(t, nil, map[string]string{"gatehouse.yaml": content}))
		err := r.Err()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", content, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter") {
			t.Errorf("%q: the text of the file is told: %v", content, err)
		}
	}
}

func TestLoad_unreadableFileIsAFault(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, ".env"), 0o700); err != nil {
		t.Fatal(err)
	}
	big := []byte(strings.Repeat("# much too much\n", 1<<16+1))
	if err := os.WriteFile(filepath.Join(dir, "gatehouse.yaml"), big, 0o600); err != nil {
		t.Fatal(err)
	}
	_, r := config.Load(config.Source{Dir: dir})
	if got, want := names(r.Faults), []string{".env", "gatehouse.yaml"}; !slices.Equal(got, want) {
		t.Errorf("got faults %v, want of %v", r.Faults, want)
	}
}

func TestLoad_unknownNamesAreWarnedOf(t *testing.T) {
	_, r := config.Load(source(t,
		[]string{
			"GATEHOUSE_JWT_EXPP=1", "GATEHOUSE_SMPT_HOST=x", "GOTRUE_STIE_URL=x", "GATEHOUSE_ZZZZZZZZZZZZZZZZ=1",
			"GOTRUE_OAUTH_SERVER_DEFAULT_SCOPE=x", "GATEHOUSE_WEBAUTHN_RP_ID=x", "HOME=/", "OTHER_JWT_EXPP=1", "SITE_URL=x",
		},
		map[string]string{
			".env":           "\nGATEHOUSE_MAILER_AUTOCONFRIM=true\nGATEHOUSE_JWT_EXPP=2\nNODE_ENV=test\nMETRICS_ENABLED=true\nDATABASE_URL=\n",
			"gatehouse.yaml": "mailer:\n  otp_lengh: 7\n",
		}))
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	const no, later = "there is no such setting, ignored", "not supported yet, ignored"
	want := []config.Note{
		{"GATEHOUSE_JWT_EXPP", no, "did you mean GATEHOUSE_JWT_EXP?"},
		{"GATEHOUSE_MAILER_AUTOCONFRIM", no + " (.env:2)", "did you mean GATEHOUSE_MAILER_AUTOCONFIRM?"},
		{"GATEHOUSE_SMPT_HOST", no, "did you mean GATEHOUSE_SMTP_HOST?"},
		{"GATEHOUSE_WEBAUTHN_RP_ID", later, ""},
		{"GATEHOUSE_ZZZZZZZZZZZZZZZZ", no, "see docs/config.md for all names"},
		{"GOTRUE_OAUTH_SERVER_DEFAULT_SCOPE", later, ""},
		{"GOTRUE_STIE_URL", no, "did you mean GOTRUE_SITE_URL?"},
		{"METRICS_ENABLED", "it has no prefix, ignored (.env:5)", "did you mean GATEHOUSE_METRICS_ENABLED?"},
		{"mailer.otp_lengh", no + " (gatehouse.yaml:2)", "did you mean mailer_otp_length?"},
	}
	if diff := cmp.Diff(want, r.Warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

func TestLoad_warnsOfANameSetTwiceInAFile(t *testing.T) {
	c, r := config.Load(source(t, nil, map[string]string{".env": "GATEHOUSE_JWT_AUD=a\nGATEHOUSE_JWT_AUD=b\n"}))
	want := []config.Note{{"GATEHOUSE_JWT_AUD", "it is set twice (.env:1 and .env:2), the last counts", "take one out"}}
	if diff := cmp.Diff(want, r.Warnings); diff != "" || c.JWT.Audience != "b" {
		t.Errorf("got %q; warnings (-want +got):\n%s", c.JWT.Audience, diff)
	}
}

// The library tells a field by its Go name, and many sections use one twice.
func TestLoad_aFaultIsThatOfItsSettingAlone(t *testing.T) {
	_, r := config.Load(source(t, []string{
		"GOTRUE_EXTERNAL_SLACK_OIDC_ENABLED=perhaps", "GOTRUE_EXTERNAL_X_SKIP_NONCE_CHECK=maybe", "GATEHOUSE_EXTERNAL_ZOOM_ENABLED=true",
		"GATEHOUSE_EXTERNAL_ZOOM_CLIENT_ID=a", "GATEHOUSE_EXTERNAL_ZOOM_SECRET=b", "GOTRUE_EXTERNAL_WEB3_SOLANA_MAXIMUM_VALIDITY_DURATION=long", "GOTRUE_SAML_ENABLED=2",
	}, nil))
	want := []config.Note{
		{"GOTRUE_EXTERNAL_SLACK_OIDC_ENABLED", `"perhaps" is neither true nor false`, "write true or false"},
		{"GOTRUE_EXTERNAL_X_SKIP_NONCE_CHECK", `"maybe" is neither true nor false`, "write true or false"},
		{"GOTRUE_SAML_ENABLED", `"2" is neither true nor false`, "write true or false"},
		{"GOTRUE_EXTERNAL_WEB3_SOLANA_MAXIMUM_VALIDITY_DURATION", `"long" is not a duration`, "write e.g. 90s, 10m or 24h"},
	}
	if diff := cmp.Diff(want, r.Faults); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
}

func names(notes []config.Note) []string {
	var all []string
	for _, n := range notes {
		all = append(all, n.Name)
	}
	return all
}
