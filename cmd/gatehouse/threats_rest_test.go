package main

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// disk is every byte below a folder.
func disk(t *testing.T, dir string) []byte {
	t.Helper()
	var all []byte
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all = append(all, b...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// whsec is how a webhook's secret is written.
var whsec = regexp.MustCompile(`whsec_[A-Za-z0-9+/=]+`)

// What administrators and operators are shown of what there is holds nothing
// that lets anybody in, or that signs: not hashed, not sealed, not plain. A
// webhook's secret is told when it is made, and never again.
func TestThreat_I06_administratorsAreShownNoSecrets(t *testing.T) {
	t.Parallel()
	secrets := map[string]string{
		"JWT_SECRET": "a-secret-of-another-tenant-40-letters-ok", "SMTP_PASS": "canary-smtp-password", "SMS_TWILIO_AUTH_TOKEN": "canary-twilio-token",
		"SECURITY_CAPTCHA_SECRET": "canary-captcha-secret", "WEBHOOK_SECRET": "canary-webhook-secret", "SMS_TEST_OTP": "491701234567:424242",
	}
	s := start(t, "GOTRUE_SMTP_MAX_FREQUENCY=0s", "GATEHOUSE_MASTER_KEY="+masterKey)
	s.do(201, "POST", "/admin/tenants", object{"name": "shop", "settings": secrets}, bearer(operator))
	id := s.person("ada@example.com")
	s.signIn("ada@example.com", password)
	s.do(200, "PUT", "/admin/users/"+id, object{"app_metadata": object{"plan": "canary-control"}}, bearer(operator))
	s.do(200, "POST", "/recover", object{"email": "ada@example.com"})
	secret := s.mail("ada@example.com", 1)
	link := mustQuery(t, secret.Links[0])
	made := s.do(201, "POST", "/admin/webhooks", object{"url": "https://hooks.example.com/x", "events": []string{"user.*"}}, bearer(operator))
	hook, first := made.text("id"), whsec.FindString(made.body)
	rotated := whsec.FindString(s.do(200, "POST", "/admin/webhooks/"+hook+"/rotate", nil, bearer(operator)).body)
	if first == "" || rotated == "" || first == rotated {
		t.Fatalf("the secrets are %q and %q", first, rotated)
	}
	hash := s.sql(`SELECT data FROM credentials`)
	never := map[string]string{
		"the hash": hash, "part of the hash": hash[strings.LastIndex(hash, "$"):], "the way of hashing": "argon2", "the password": password, "the token of a link": link.Get("token"),
		"the first secret": first, "the second secret": rotated, "the code": secret.Code, "any secret of a webhook": "whsec_", "the operator token": operator,
	}
	for name, v := range secrets {
		never["the tenant's "+name] = v
	}
	shown := ""
	for _, call := range []struct {
		method, path string
		body         any
	}{
		{"GET", "/admin/users", nil},
		{"GET", "/admin/users?limit=1", nil},
		{"GET", "/admin/users/" + id, nil},
		{"PUT", "/admin/users/" + id, object{"role": "authenticated"}},
		{"GET", "/admin/users/" + id + "/sessions", nil},
		{"GET", "/admin/audit", nil},
		{"GET", "/admin/audit?per_page=1000", nil},
		{"GET", "/admin/webhooks", nil},
		{"GET", "/admin/webhooks/" + hook, nil},
		{"PUT", "/admin/webhooks/" + hook, object{"description": "x"}},
		{"GET", "/admin/webhooks/" + hook + "/deliveries", nil},
		{"GET", "/admin/tenants", nil},
		{"GET", "/admin/tenants/shop", nil},
		{"PUT", "/admin/tenants/shop", object{"settings": object{"DISABLE_SIGNUP": "true", "SMTP_PASS": "***"}}},
		{"GET", "/t/shop/settings", nil},
		{"GET", "/t/shop/admin/audit", nil},
		{"GET", "/settings", nil},
		{"GET", "/.well-known/jwks.json", nil},
		{"GET", "/t/shop/.well-known/jwks.json", nil},
	} {
		a := s.do(200, call.method, call.path, call.body, bearer(operator))
		shown += a.body
		for what, v := range never {
			for _, spelled := range spellings(v) {
				if strings.Contains(strings.ToLower(a.body), strings.ToLower(spelled)) {
					t.Errorf("%s %s shows %s: %.400s", call.method, call.path, what, a.body)
					break
				}
			}
		}
	}
	if !strings.Contains(shown, "canary-control") || !strings.Contains(shown, `"SMTP_PASS":"***"`) {
		t.Errorf("nothing was shown at all: %s", shown)
	}
	out, err := s.db.do(t, nil, "tenant", "show", "--json", "shop")
	for name, v := range secrets {
		if err != nil || strings.Contains(out, v) {
			t.Errorf("the command line shows the tenant's %s: %v\n%s", name, err, out)
		}
	}
}

// Everything that looks inside is turned on, and nobody reaches it where users
// are served.
func TestThreat_I08_nothingInsideIsShownOutside(t *testing.T) {
	t.Parallel()
	s := start(t, "GATEHOUSE_METRICS_ENABLED=true", "GATEHOUSE_METRICS_PORT=0", "GATEHOUSE_PROFILER_ENABLED=true", "GATEHOUSE_PROFILER_PORT=0")
	for _, path := range []string{"/metrics", "/debug/pprof/", "/debug/pprof/heap", "/debug/vars", "/debug/requests", "/admin", "/admin/", "/status", "/env", "/.env", "/gatehouse.yaml", "/config"} {
		for _, prefix := range []string{"", "/auth/v1", "/.netlify/identity", "/health", "/dev"} {
			a, err := s.ask("GET", prefix+path, nil, bearer(operator))
			if err != nil || a.status != 404 {
				t.Errorf("GET %s%s: %d %.200s, %v", prefix, path, a.status, a.body, err)
			}
		}
	}
	// The inbox for development is for who sits here, and not for who came through a proxy.
	s.do(200, "GET", "/dev/inbox", nil)
	for _, trace := range []string{"X-Forwarded-For: 203.0.113.9", "Via: 1.1 proxy", "Forwarded: for=203.0.113.9", "Host: auth.example.com", "Host: evil.example", "Sec-Fetch-Site: cross-site"} {
		a, err := s.ask("GET", "/dev/inbox.json", nil, trace)
		if err != nil || a.status == 200 && !strings.HasPrefix(trace, "Sec-") || a.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("the inbox with %s: %d %v, %v", trace, a.status, a.header, err)
		}
	}
	// Whoever asks how the server does learns whether, and not how it is made.
	for _, path := range []string{"/health", "/health/ready", "/health/live"} {
		a := s.do(200, "GET", path, nil)
		for _, inner := range []string{"sqlite", "/tmp", s.dir, "127.0.0.1", "go1", "gatehouse-data"} {
			if strings.Contains(a.body, inner) {
				t.Errorf("%s tells %s: %s", path, inner, a.body)
			}
		}
	}
}

// Whoever has a copy of the disk, but not of the master key, has none of what
// opens doors, nor a hash of it that can be found by trying.
//
// Mission: P03
func TestThreat_G05_noStoredHashIsFoundByTrying(t *testing.T) {
	t.Parallel()
	s := start(t, "GATEHOUSE_MASTER_KEY="+masterKey, "GOTRUE_SMTP_MAX_FREQUENCY=0s", "GOTRUE_EXTERNAL_PHONE_ENABLED=true")
	const mail, phone = "ada@example.com", "+491701230987"
	s.do(200, "POST", "/signup", object{"email": mail, "password": password})
	m := s.mail(mail, 1)
	s.do(200, "POST", "/otp", object{"phone": phone})
	text := s.mail(phone, 1)
	s.person("bob@example.com")
	in := s.signIn("bob@example.com", password)
	s.delivered()
	err := s.stop()
	if err != nil {
		t.Fatal(err)
	}
	all := disk(t, s.dir)
	if !bytes.Contains(all, []byte(mail)) {
		t.Fatal("the users are not there")
	}
	lower := bytes.ToLower(all)
	for what, secret := range map[string]string{
		"code": m.Code, "token of a link": mustQuery(t, m.Links[0]).Get("token"), "code of a text message": text.Code, "refresh token": in.text("refresh_token"), "access token": in.text("access_token"), "password": password,
	} {
		if secret == "" {
			t.Fatalf("there is no %s", what)
		}
		if len(secret) > 6 && bytes.Contains(all, []byte(secret)) {
			t.Errorf("the %s is on disk", what)
		}
		for _, with := range []string{"", mail, phone, phone[1:], "bob@example.com", "signup", "sms"} {
			for name, make := range map[string]func() hash.Hash{"MD5": md5.New, "SHA-1": sha1.New, "SHA-224": sha256.New224, "SHA-256": sha256.New, "SHA-384": sha512.New384, "SHA-512": sha512.New} {
				for _, order := range []string{with + secret, secret + with, with + ":" + secret, secret + ":" + with} {
					h := make()
					h.Write([]byte(order))
					sum := h.Sum(nil)
					if bytes.Contains(all, sum[:16]) || bytes.Contains(lower, []byte(hex.EncodeToString(sum[:16]))) || bytes.Contains(all, []byte(base64.RawStdEncoding.EncodeToString(sum[:15]))) || bytes.Contains(all, []byte(base64.RawURLEncoding.EncodeToString(sum[:15]))) {
						t.Errorf("on disk is the %s of the %s with %q", name, what, with)
					}
				}
			}
		}
	}
}

// Secrets that must be read again are sealed, each to its row: neither a copy of
// the disk nor whoever can write to it makes them serve another.
func TestThreat_G02_sealedSecretsAreOnDiskNowhereElse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	settings := []string{"GATEHOUSE_MASTER_KEY=" + masterKey}
	s := startIn(t, dir, settings...)
	never := map[string]string{"the master key": masterKey, "the operator token": operator}
	var keys []string
	for _, name := range []string{"shop", "store"} {
		own := object{"JWT_SECRET": "canary-secret-of-" + name + "-0123456789abcdef", "SMTP_PASS": "canary-password-of-" + name, "SMTP_HOST": "smtp." + name + ".example", "SMTP_ADMIN_EMAIL": "a@" + name + ".example"}
		s.do(201, "POST", "/admin/tenants", object{"name": name, "settings": own}, bearer(operator))
		for setting, v := range own {
			never[setting+" of "+name] = v.(string)
		}
		made := s.do(201, "POST", "/admin/webhooks", object{"url": "https://" + name + ".example.com/canary-control", "disabled": true}, bearer(operator))
		secret := strings.TrimPrefix(whsec.FindString(made.body), "whsec_")
		raw, err := base64.StdEncoding.DecodeString(secret)
		if err != nil || len(raw) < 24 {
			t.Fatalf("the secret is %q", secret)
		}
		never["a webhook's secret of "+name], never["a webhook's secret of "+name+", raw"] = secret, string(raw)
		keys = append(keys, made.text("id"))
	}
	s.person("ada@example.com")
	s.signIn("ada@example.com", password)
	err := s.stop()
	if err != nil {
		t.Fatal(err)
	}
	all := disk(t, dir)
	for what, v := range never {
		for _, spelled := range spellings(v) {
			if bytes.Contains(all, []byte(spelled)) {
				t.Errorf("on disk is %s", what)
				break
			}
		}
	}
	for _, sign := range []string{"PRIVATE KEY", `"d":"`} {
		if bytes.Contains(all, []byte(sign)) {
			t.Errorf("a private key is on disk: there is %s", sign)
		}
	}
	if !bytes.Contains(all, []byte("canary-control")) || len(keys) != 2 {
		t.Fatal("what is no secret is not there either")
	}

	// What is sealed for one row opens in no other.
	n := s.db.change(t, `UPDATE tenants SET settings = (SELECT settings FROM tenants WHERE name = 'store') WHERE name = 'shop'`)
	if n != 1 {
		t.Fatalf("%d rows were changed", n)
	}
	s = startIn(t, dir, settings...)
	s.do(500, "GET", "/t/shop/settings", nil)
	s.do(200, "GET", "/t/store/settings", nil)
	err = s.stop()
	if err != nil {
		t.Fatal(err)
	}
	s.db.change(t, `UPDATE tenants SET root_key = (SELECT root_key FROM tenants WHERE name = 'store') WHERE name = 'shop'`)
	s = startIn(t, dir, settings...)
	s.do(500, "GET", "/t/shop/settings", nil)
	s.do(200, "GET", "/t/store/settings", nil)
	s.do(200, "GET", "/settings", nil)
}

// What the operator has turned off is off at every door and in every manner, and
// not just unmentioned.
func TestThreat_V05_whatIsOffIsOffAtEveryDoor(t *testing.T) {
	t.Parallel()
	mail, phone := object{"email": "new@example.com", "password": password}, object{"phone": "+491701230987", "password": password}
	form := url.Values{"grant_type": {"password"}, "username": {"ada@example.com"}, "password": {password}}
	for setting, calls := range map[string][]struct {
		path string
		body any
	}{
		"GOTRUE_DISABLE_SIGNUP=true":                    {{"/signup", mail}, {"/signup", phone}, {"/otp", object{"email": "new@example.com"}}, {"/otp", object{"phone": "+491701230987"}}, {"/magiclink", object{"email": "new@example.com"}}, {"/signup", object{}}},
		"GOTRUE_EXTERNAL_EMAIL_ENABLED=false":           {{"/signup", mail}, {"/otp", object{"email": "new@example.com"}}, {"/magiclink", object{"email": "ada@example.com"}}, {"/token?grant_type=password", object{"email": "ada@example.com", "password": password}}, {"/token", form}, {"/recover", object{"email": "ada@example.com"}}, {"/resend", object{"type": "signup", "email": "ada@example.com"}}},
		"GOTRUE_EXTERNAL_PHONE_ENABLED=false":           {{"/signup", phone}, {"/otp", object{"phone": "+491701230987"}}, {"/token?grant_type=password", phone}, {"/resend", object{"type": "sms", "phone": "+491701230987"}}},
		"GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED=false": {{"/signup", object{}}, {"/signup", object{"data": object{"a": 1}}}},
	} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			s := start(t, "GOTRUE_EXTERNAL_PHONE_ENABLED=true", "GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED=true", "GOTRUE_MAILER_AUTOCONFIRM=true", "GOTRUE_SMS_AUTOCONFIRM=true", setting)
			s.person("ada@example.com")
			for _, prefix := range []string{"", "/auth/v1", "/.netlify/identity"} {
				for _, c := range calls {
					a, err := s.ask("POST", prefix+c.path, c.body)
					s.delivered()
					if err != nil || strings.Contains(a.body, "access_token") || len(s.inbox("ada@example.com"))+len(s.inbox("new@example.com"))+len(s.inbox("+491701230987")) > 0 {
						t.Errorf("POST %s%s: %d %.300s, %v", prefix, c.path, a.status, a.body, err)
					}
				}
			}
			if got := s.sql(`SELECT count(*) FROM users`); got != "1" {
				t.Errorf("there are %s users", got)
			}
		})
	}
}

// A server that nobody has set up has nobody in it, and nobody's word opens it:
// no published secret, no usual name, no token of another's making.
func TestThreat_V03_aFreshServerHasNoDefaultsToComeInBy(t *testing.T) {
	t.Parallel()
	s := boot(t, t.TempDir(), []string{"GATEHOUSE_PORT=0", "GATEHOUSE_PASSWORD_HASH_MEMORY=64", "GATEHOUSE_PASSWORD_HASH_TIME=1"})
	for _, key := range []string{" ", "secret", "changeme", "super-secret-jwt-token-with-at-least-32-characters-long", "your-256-bit-secret", "testsecret", "operator-token", operator} {
		service, admin := jwt.MapClaims{"role": "service_role"}, jwt.MapClaims{"role": "admin"}
		for _, header := range []string{bearer(key), "apikey: " + key, bearer(sign(t, key, service)), bearer(sign(t, key, admin))} {
			for _, path := range []string{"/admin/users", "/admin/tenants", "/admin/audit", "/user"} {
				a, err := s.ask("GET", path, nil, header)
				if err != nil || a.status != 401 && a.status != 403 {
					t.Errorf("GET %s with %.60s: %d %s, %v", path, header, a.status, a.body, err)
				}
			}
		}
	}
	for _, name := range []string{"admin@example.com", "admin@localhost", "admin", "gatehouse"} {
		for _, pw := range []string{"", "admin", "password", "changeme", name} {
			a, err := s.ask("POST", "/token?grant_type=password", object{"email": name, "password": pw})
			if err != nil || a.status < 400 || a.status >= 500 {
				t.Errorf("%s with %q: %d %s, %v", name, pw, a.status, a.body, err)
			}
		}
	}
	// The first administrator is whoever reads what the server printed.
	for _, token := range []string{"", "0", "setup", strings.Repeat("A", 43)} {
		a, err := s.ask("POST", "/setup", url.Values{"token": {token}, "email": {"eve@example.com"}, "password": {password}}, "Origin: "+s.url, "Sec-Fetch-Site: same-origin")
		if err != nil || a.status < 400 || a.status >= 500 {
			t.Errorf("a link %q: %d, %v", token, a.status, err)
		}
	}
	if got := s.sql(`SELECT count(*) FROM users`); got != "0" {
		t.Errorf("there are %s users", got)
	}
	err := onlyOurs(filepath.Join(s.dir, "gatehouse-data"))
	if err != nil {
		t.Error(err)
	}
}

// Whoever may change where mail is sent through does not get the password by
// naming a server of their own.
func TestThreat_K03_aSecretDoesNotFollowItsAddress(t *testing.T) {
	t.Parallel()
	s := start(t, "GATEHOUSE_MULTIINSTANCEMODE=true")
	mail := object{"SMTP_HOST": "smtp.example.com", "SMTP_ADMIN_EMAIL": "a@example.com", "SMTP_USER": "u", "SMTP_PASS": "canary-password"}
	s.do(201, "POST", "/admin/tenants", object{"name": "shop", "settings": mail}, bearer(operator))
	one := s.do(201, "POST", "/instances", object{"uuid": "one", "config": object{"smtp": object{"host": "smtp.example.com", "admin_email": "a@example.com", "pass": "canary-password"}}}, bearer(operator)).text("id")
	for _, path := range []string{"/admin/tenants/shop", "/admin/tenants/" + one} {
		for _, change := range []object{{"SMTP_HOST": "smtp.evil.example"}, {"SMTP_HOST": "smtp.evil.example", "SMTP_PASS": "***"}, {"SMTP_HOST": nil}} {
			a := s.do(400, "PUT", path, object{"settings": change}, bearer(operator))
			if !strings.Contains(a.body, "SMTP_PASS") || strings.Contains(a.body, "canary-password") {
				t.Errorf("%s %v: %s", path, change, a.body)
			}
		}
	}
	s.do(422, "PUT", "/instances/"+one, object{"config": object{"smtp": object{"host": "smtp.evil.example"}}}, bearer(operator))
	// Given again it moves, and what is not sent anywhere changes as it likes.
	s.do(200, "PUT", "/admin/tenants/shop", object{"settings": object{"SMTP_ADMIN_EMAIL": "b@example.com", "SITE_URL": "https://shop.example"}}, bearer(operator))
	s.do(200, "PUT", "/admin/tenants/shop", object{"settings": object{"SMTP_HOST": "smtp.example.net", "SMTP_PASS": "canary-password"}}, bearer(operator))
	s.do(200, "PUT", "/admin/tenants/shop", object{"settings": object{"SMTP_HOST": "smtp.example.org", "SMTP_PASS": nil}}, bearer(operator))
	s.do(200, "PUT", "/instances/"+one, object{"config": object{"smtp": object{"host": "smtp.example.net", "pass": "canary-password"}}}, bearer(operator))
	s.do(200, "PUT", "/instances/"+one, object{"config": object{"smtp": object{"port": 2525}}}, bearer(operator))
}
