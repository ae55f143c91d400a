package gotrue_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/auth"
	"gatehouse/internal/dialect/gotrue"
)

// instanceConfig is every part of an instance's configuration, contract §1.7.
const instanceConfig = `{
	"site_url":"https://shop.example","disable_signup":true,
	"jwt":{"secret":"s3cret-s3cret-s3cret-s3cret-s3cret","exp":3600,"aud":"shop","admin_group_name":"boss","default_group_name":"","refresh_token_lifetime":2592000000000000},
	"smtp":{"max_frequency":900000000000,"host":"mail.example","port":2525,"user":"u","pass":"hunter2","admin_email":"shop@shop.example"},
	"mailer":{"autoconfirm":true,"subjects":{"invite":"Come in"},"templates":{"invite":"/invite.html"},"url_paths":{"invite":"/in"},"recovery_max_age":3600000000000,"confirmation_max_age":86400000000000,"invite_max_age":604800000000000},
	"external":{"github":{"client_id":"c","secret":"x","redirect_uri":"https://shop.example/cb","url":"","enabled":true},"email":{"disabled":false},"saml":{"enabled":false,"metadata_url":"","api_base":"","name":"","signing_cert":"","signing_key":""},"redirect_url":"https://shop.example/cb"},
	"webhook":{"url":"https://hook.example","retries":3,"timeout_sec":5,"secret":"w","events":["login","signup"]},
	"cookies":{"key":"nf_jwt","duration":86400}
}`

func TestInstances_theConfigurationIsSettingsOfOurs(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := h.instances()
	a := b.must(t, http.StatusCreated, "POST", "/instances", `{"uuid":"one","config":`+instanceConfig+`}`)
	if a.text("uuid") != "one" || a.text("endpoint") != "https://auth.example" || a.text("state") != "active" || a.text("created_at") == "" {
		t.Errorf("the answer is %s", a.Body)
	}
	id, err := auth.ParseTenantID(a.text("id"))
	if err != nil {
		t.Fatal(err)
	}
	kept, err := h.options().Tenants.Tenant(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{
		"SITE_URL": "https://shop.example", "DISABLE_SIGNUP": "true",
		"JWT_SECRET": "s3cret-s3cret-s3cret-s3cret-s3cret", "JWT_EXP": "3600", "JWT_AUD": "shop", "JWT_ADMIN_GROUP_NAME": "boss", "JWT_REFRESH_TOKEN_LIFETIME": "720h0m0s",
		"SMTP_MAX_FREQUENCY": "15m0s", "SMTP_HOST": "mail.example", "SMTP_PORT": "2525", "SMTP_USER": "u", "SMTP_PASS": "hunter2", "SMTP_ADMIN_EMAIL": "shop@shop.example",
		"MAILER_AUTOCONFIRM": "true", "MAILER_SUBJECTS_INVITE": "Come in", "MAILER_TEMPLATES_INVITE": "/invite.html", "MAILER_URLPATHS_INVITE": "/in",
		"MAILER_RECOVERY_MAX_AGE": "1h0m0s", "MAILER_CONFIRMATION_MAX_AGE": "24h0m0s", "MAILER_INVITE_MAX_AGE": "168h0m0s",
		"EXTERNAL_GITHUB_CLIENT_ID": "c", "EXTERNAL_GITHUB_SECRET": "x", "EXTERNAL_GITHUB_REDIRECT_URI": "https://shop.example/cb", "EXTERNAL_GITHUB_ENABLED": "true",
		"EXTERNAL_EMAIL_DISABLED": "false", "EXTERNAL_SAML_ENABLED": "false", "EXTERNAL_REDIRECTURL": "https://shop.example/cb",
		"WEBHOOK_URL": "https://hook.example", "WEBHOOK_RETRIES": "3", "WEBHOOK_TIMEOUTSEC": "5", "WEBHOOK_SECRET": "w", "WEBHOOK_EVENTS": "login,signup",
		"COOKIE_KEY": "nf_jwt", "COOKIE_DURATION": "86400",
	}, kept.Settings); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	for _, shown := range []answer{a, b.must(t, http.StatusOK, "GET", "/instances/"+a.text("id"), "")} {
		if strings.Contains(shown.Body.String(), "hunter2") {
			t.Errorf("the password of the mail server is shown: %s", shown.Body)
		}
		for _, part := range []string{`"max_frequency":900000000000`, `"refresh_token_lifetime":2592000000000000`, `"port":2525`, `"events":["login","signup"]`} {
			if !strings.Contains(shown.Body.String(), part) {
				t.Errorf("there is no %s in %s", part, shown.Body)
			}
		}
	}
}

// Mission: U14
func TestInstances_fromBeginningToEnd(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := h.instances()
	b.must(t, http.StatusOK, "GET", "/", "")
	id := b.must(t, http.StatusCreated, "POST", "/instances", `{"uuid":"one","config":`+instanceConfig+`}`).text("id")
	path := "/instances/" + id
	other := b.must(t, http.StatusCreated, "POST", "/instances", `{"uuid":"two"}`).text("id")
	for body, status := range map[string]int{
		`{"uuid":"one"}`: 400, `{}`: 422, `{"uuid":""}`: 422, `{"uuid":"` + strings.Repeat("a", 65) + `"}`: 422,
		`{"uuid":"three","config":{"nonsense":1}}`: 422, `{"uuid":"three","config":{"jwt":{"nonsense":1}}}`: 422,
		`{"uuid":"three","config":{"jwt":"x"}}`: 422, `{"uuid":`: 400,
	} {
		a := b.do("POST", "/instances", body, bearer(h.Policy().OperatorToken), nf)
		if a.Code != status || a.text("msg") == "" {
			t.Errorf("%.60s: %d, want %d: %s", body, a.Code, status, a.Body)
		}
	}

	// A change goes as deep as what it names; whole numbers stay what they are.
	h.Clock.Advance(time.Minute)
	a := b.must(t, http.StatusOK, "PUT", path, `{"config":{"jwt":{"aud":"store"},"smtp":{"port":587},"mailer":{"subjects":{"recovery":"Again"}},"site_url":null}}`)
	tenant, err := h.options().Tenants.TenantByName(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"JWT_AUD": "store", "JWT_EXP": "3600", "JWT_REFRESH_TOKEN_LIFETIME": "720h0m0s", "SMTP_PORT": "587", "SMTP_PASS": "hunter2", "SMTP_MAX_FREQUENCY": "15m0s",
		"MAILER_SUBJECTS_INVITE": "Come in", "MAILER_SUBJECTS_RECOVERY": "Again", "SITE_URL": "",
	} {
		if got := tenant.Settings[name]; got != want {
			t.Errorf("after the change %s is %q, want %q", name, got, want)
		}
	}
	if !strings.Contains(a.Body.String(), `"max_frequency":900000000000`) || a.text("updated_at") == a.text("created_at") {
		t.Errorf("the change is answered %s", a.Body)
	}
	b.must(t, http.StatusOK, "PUT", "/instances/"+other, `{"config":{"jwt":{"exp":60}}}`) // of one that has none yet
	b.must(t, http.StatusOK, "PUT", "/instances/"+other, `{}`)
	b.must(t, http.StatusOK, "PUT", "/instances/"+other, `{"config":null}`)
	if tenant, err = h.options().Tenants.TenantByName(t.Context(), other); err != nil || tenant.Settings["JWT_EXP"] != "60" || len(tenant.Settings) != 1 {
		t.Errorf("the other instance has %v, %v", tenant, err)
	}
	a = b.do("PUT", path, `{"config":{"nonsense":true}}`, bearer(h.Policy().OperatorToken), nf)
	if a.Code != http.StatusUnprocessableEntity {
		t.Errorf("a field that is none: %d %s", a.Code, a.Body)
	}

	b.must(t, http.StatusNoContent, "DELETE", path, "")
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		a := b.do(method, path, `{}`, bearer(h.Policy().OperatorToken))
		if a.Code != http.StatusNotFound || a.text("msg") != "Unable to locate site configuration" {
			t.Errorf("%s of a deleted one: %d %s", method, a.Code, a.Body)
		}
	}
	b.must(t, http.StatusCreated, "POST", "/instances", `{"uuid":"one"}`) // which is free again
	b.must(t, http.StatusOK, "GET", "/instances/"+other, "")
}

// Mission: U14
func TestThreat_I12_whomAProxySignsForIsForgedByNobody(t *testing.T) {
	t.Parallel()
	const operator = "the-operators-own-token"
	now := time.Unix(1_900_000_000, 0)
	id := "0b0a0000-0000-4000-8000-00000000abcd"
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	claims := func(more jwt.MapClaims) jwt.MapClaims {
		c := jwt.MapClaims{"id": id, "site_url": "https://shop.example"}
		for k, v := range more {
			c[k] = v
		}
		return c
	}
	good := sign(t, jwt.SigningMethodHS256, []byte(operator), claims(nil))
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	for name, tc := range map[string]struct {
		headers []string
		want    auth.Code
	}{
		"none":                    {nil, auth.SignMissing},
		"empty":                   {[]string{""}, auth.SignMissing},
		"rubbish":                 {[]string{"rubbish"}, auth.SignInvalid},
		"the operator token":      {[]string{operator}, auth.SignInvalid},
		"two":                     {[]string{good, good}, auth.SignInvalid},
		"two, one empty":          {[]string{good, ""}, auth.SignInvalid},
		"two in one line":         {[]string{good + ", " + good}, auth.SignInvalid},
		"another key":             {[]string{sign(t, jwt.SigningMethodHS256, []byte("another"), claims(nil))}, auth.SignInvalid},
		"an empty key":            {[]string{sign(t, jwt.SigningMethodHS256, []byte(""), claims(nil))}, auth.SignInvalid},
		"HS512":                   {[]string{sign(t, jwt.SigningMethodHS512, []byte(operator), claims(nil))}, auth.SignInvalid},
		"RS256":                   {[]string{sign(t, jwt.SigningMethodRS256, rs, claims(nil))}, auth.SignInvalid},
		"none, the algorithm":     {[]string{sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, claims(nil))}, auth.SignInvalid},
		"no algorithm at all":     {[]string{part(`{"typ":"JWT"}`) + good[strings.Index(good, "."):]}, auth.SignInvalid},
		"a header called RS256":   {[]string{part(`{"alg":"RS256"}`) + good[strings.Index(good, "."):]}, auth.SignInvalid},
		"claims changed":          {[]string{strings.Join([]string{strings.Split(good, ".")[0], part(`{"id":"` + id + `"}`), strings.Split(good, ".")[2]}, ".")}, auth.SignInvalid},
		"expired":                 {[]string{sign(t, jwt.SigningMethodHS256, []byte(operator), claims(jwt.MapClaims{"exp": now.Unix() - 60}))}, auth.SignInvalid},
		"not yet":                 {[]string{sign(t, jwt.SigningMethodHS256, []byte(operator), claims(jwt.MapClaims{"nbf": now.Unix() + 600}))}, auth.SignInvalid},
		"no id":                   {[]string{sign(t, jwt.SigningMethodHS256, []byte(operator), jwt.MapClaims{"site_url": "https://shop.example"})}, auth.SignInvalid},
		"an id that is none":      {[]string{sign(t, jwt.SigningMethodHS256, []byte(operator), claims(jwt.MapClaims{"id": "shop"}))}, auth.SignInvalid},
		"the default tenant's id": {[]string{sign(t, jwt.SigningMethodHS256, []byte(operator), claims(jwt.MapClaims{"id": "00000000-0000-0000-0000-000000000000"}))}, auth.SignInvalid},
	} {
		s, err := gotrue.ReadSign(tc.headers, operator, now)
		if auth.CodeOf(err) != tc.want || !s.Tenant.IsZero() || s.SiteURL != "" {
			t.Errorf("%s: %+v, %v; want %s", name, s, err, tc.want)
		}
	}
	s, err := gotrue.ReadSign([]string{sign(t, jwt.SigningMethodHS256, []byte(operator), claims(jwt.MapClaims{
		"exp": now.Unix() + 60, "netlify_id": "n",
		"function_hooks": map[string]any{"login": []string{"https://a.example", "https://b.example"}, "signup": "https://c.example", "none": "", "odd": 7},
	}))}, operator, now)
	want := gotrue.Sign{SiteURL: "https://shop.example", Hooks: map[string][]string{"login": {"https://a.example", "https://b.example"}, "signup": {"https://c.example"}}}
	want.Tenant, _ = auth.ParseTenantID(id)
	if diff := cmp.Diff(want, s); diff != "" || err != nil {
		t.Errorf("a good one, %v (-want +got):\n%s", err, diff)
	}
	if _, err = gotrue.ReadSign([]string{sign(t, jwt.SigningMethodHS256, []byte(""), claims(nil))}, "", now); err == nil {
		t.Error("without an operator token anybody can sign")
	}
}
