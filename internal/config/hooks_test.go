package config_test

import (
	"slices"
	"strings"
	"testing"

	"gatehouse/internal/config"

	"github.com/google/go-cmp/cmp"
)

const (
	before    = "GOTRUE_HOOK_BEFORE_USER_CREATED_ENABLED=true "
	beforeURI = "GOTRUE_HOOK_BEFORE_USER_CREATED_URI="
	beforeKey = "GOTRUE_HOOK_BEFORE_USER_CREATED_SECRETS=v1,whsec_hunter2 "
	inside    = "GATEHOUSE_OUTGOING_ALLOW_PRIVATE=true "
	onPG      = "GATEHOUSE_DATABASE_URL=postgres://gatehouse@db.example.com/auth "
	told      = "GOTRUE_WEBHOOK_EVENTS=signup,login "
	signed    = "GOTRUE_WEBHOOK_SECRET=hunter2 "
	anywhere  = "GATEHOUSE_API_HOST=0.0.0.0 GATEHOUSE_API_EXTERNAL_URL=https://auth.example.com "
	mailHook  = "GOTRUE_HOOK_SEND_EMAIL_ENABLED=true GOTRUE_HOOK_SEND_EMAIL_URI=https://hooks.example.com/mail GOTRUE_HOOK_SEND_EMAIL_SECRETS=whsec_hunter2 "
)

func TestLoad_refusesHooksNobodyAnswers(t *testing.T) {
	for environ, want := range map[string]string{
		before: "GATEHOUSE_HOOK_BEFORE_USER_CREATED_URI: it is missing, and the hook is turned on; set it, or take HOOK_BEFORE_USER_CREATED_ENABLED out",
		before + beforeURI + "https://hooks.example.com":                       "GATEHOUSE_HOOK_BEFORE_USER_CREATED_SECRETS: it is missing, and anybody could call the hook in the server's name",
		before + beforeKey + beforeURI + "http://hooks.example.com":            "GOTRUE_HOOK_BEFORE_USER_CREATED_URI: http:// is for this machine alone; use https://",
		before + beforeKey + inside + beforeURI + "http://10.0.0.7":            "GOTRUE_HOOK_BEFORE_USER_CREATED_URI: http:// is for this machine alone",
		before + beforeKey + beforeURI + "http://localhost:9":                  "GOTRUE_HOOK_BEFORE_USER_CREATED_URI: the URI is on this machine",
		before + beforeKey + beforeURI + "https://127.0.0.1:9":                 "GOTRUE_HOOK_BEFORE_USER_CREATED_URI: the address is not public",
		before + beforeKey + beforeURI + "https://hunter2:x@hooks.example.com": "GOTRUE_HOOK_BEFORE_USER_CREATED_URI: it holds a user name or password",
		before + beforeKey + beforeURI + "hooks.example.com":                   "is neither an https:// nor a pg-functions:// URI",
		before + beforeKey + beforeURI + "ftp://hooks.example.com":             "is neither an https:// nor a pg-functions:// URI",
		before + beforeURI + "pg-functions://postgres/public/hook":             "GOTRUE_HOOK_BEFORE_USER_CREATED_URI: only PostgreSQL has functions to call, and the database is sqlite",
		"GOTRUE_HOOK_SEND_SMS_ENABLED=perhaps":                                 "GOTRUE_HOOK_SEND_SMS_ENABLED: \"perhaps\" is neither true nor false",
		"GOTRUE_HOOK_MFA_VERIFICATION_ATTEMPT_ENABLED=true":                    "HOOK_MFA_VERIFICATION_ATTEMPT_URI: it is missing",
		told: "GATEHOUSE_WEBHOOK_URL: it is missing, and WEBHOOK_EVENTS names events",
		"GOTRUE_WEBHOOK_EVENTS=signup,logout GOTRUE_WEBHOOK_URL=https://a.example":       "GOTRUE_WEBHOOK_EVENTS: \"logout\" is not an event; write some of validate, signup, login, usermodified, userdeleted",
		told + signed + "GOTRUE_WEBHOOK_URL=http://hooks.example.com":                    "GOTRUE_WEBHOOK_URL: the server calls others by https only",
		told + signed + "GOTRUE_WEBHOOK_URL=https://10.0.0.7/hook":                       "GOTRUE_WEBHOOK_URL: the address is not public",
		told + signed + "GOTRUE_WEBHOOK_URL=//hooks.example.com/hook":                    "is neither an http or https URL nor a path",
		told + signed + "GOTRUE_WEBHOOK_URL=hook":                                        "is neither an http or https URL nor a path",
		told + signed + "GOTRUE_WEBHOOK_URL=https://a:hunter2@hooks.example":             "GOTRUE_WEBHOOK_URL: the URL holds a user name or password",
		told + signed + "GOTRUE_WEBHOOK_URL=/hook GOTRUE_SITE_URL=http://localhost:8888": "GOTRUE_WEBHOOK_URL: the server calls others by https only",
		"GOTRUE_WEBHOOK_RETRIES=11":                                                      "GOTRUE_WEBHOOK_RETRIES: 11 is out of bounds",
		mailHook + "GATEHOUSE_MAIL=none":                                                 "GATEHOUSE_MAIL: no mail shall be sent, but HOOK_SEND_EMAIL_ENABLED is set",
	} {
		_, r := config.Load(source(t, strings.Fields(environ), nil))
		if len(r.Faults) != 1 || !strings.Contains(r.Faults[0].String(), want) {
			t.Errorf("%q: got %v, want %s", environ, r.Faults, want)
		}
		if err := r.Err(); err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: the secret is told: %v", environ, err)
		}
	}
}

func TestLoad_acceptsHooks(t *testing.T) {
	for _, environ := range []string{
		before + beforeKey + beforeURI + "https://hooks.example.com/before?x=1",
		before + beforeKey + inside + beforeURI + "http://127.0.0.1:9",
		before + beforeKey + inside + beforeURI + "http://[::1]:9",
		before + onPG + beforeURI + "pg-functions://postgres/public/hook",
		beforeURI + "nonsense", // off, nothing of it is looked at
		told + signed + "GOTRUE_WEBHOOK_URL=https://hooks.example.com/hook",
		told + signed + "GOTRUE_WEBHOOK_URL=/hook GOTRUE_SITE_URL=https://www.example.com",
		told + signed + inside + "GOTRUE_WEBHOOK_URL=http://127.0.0.1:9/hook",
		// A hook stands in for the mail server and for the service of text messages.
		mailHook + anywhere,
		mailHook + "GOTRUE_EXTERNAL_PHONE_ENABLED=true GOTRUE_HOOK_SEND_SMS_ENABLED=true GOTRUE_HOOK_SEND_SMS_URI=https://hooks.example.com GOTRUE_HOOK_SEND_SMS_SECRETS=whsec_hunter2",
	} {
		_, r := load(t, strings.Fields(environ)...)
		if slices.ContainsFunc(r.Warnings, func(n config.Note) bool { return strings.Contains(n.Name, "HOOK") || strings.Contains(n.Name, "PHONE") }) {
			t.Errorf("%q: got warnings %v, want none", environ, r.Warnings)
		}
	}
}

func TestLoad_warnsOfWebhooksThatAreNotAsTheySeem(t *testing.T) {
	for environ, want := range map[string]string{
		"GOTRUE_WEBHOOK_URL=https://hooks.example.com":        "GOTRUE_WEBHOOK_URL: WEBHOOK_EVENTS names no events, so it does nothing",
		told + "GOTRUE_WEBHOOK_URL=https://hooks.example.com": "GOTRUE_WEBHOOK_URL: its calls are not signed",
	} {
		_, r := load(t, strings.Fields(environ)...)
		if len(r.Warnings) != 1 || !strings.HasPrefix(r.Warnings[0].String(), want) {
			t.Errorf("%q: got %v, want %s", environ, r.Warnings, want)
		}
	}
}

func TestLoad_readsHooks(t *testing.T) {
	c, r := config.Load(source(t, strings.Fields(told+signed+"GOTRUE_WEBHOOK_URL=https://hooks.example.com GOTRUE_WEBHOOK_TIMEOUT_SEC=2 GOTRUE_WEBHOOK_RETRIES=1 "+mailHook),
		map[string]string{"gatehouse.yaml": "hook: {before_user_created: {enabled: true, uri: https://hooks.example.com/b, secrets: whsec_hunter2}}\n"}))
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	want := config.Webhook{URL: "https://hooks.example.com", Events: []string{"signup", "login"}, Secret: "hunter2", Retries: 1, Timeout: 2}
	if diff := cmp.Diff(want, c.Webhook); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	wantOn := []config.NamedHook{
		{Name: "SEND_EMAIL", Callee: config.Callee{URI: "https://hooks.example.com/mail", Secrets: "whsec_hunter2"}},
		{Name: "BEFORE_USER_CREATED", Callee: config.Callee{URI: "https://hooks.example.com/b", Secrets: "whsec_hunter2"}},
	}
	if diff := cmp.Diff(wantOn, c.Hooks.On()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if c.DevInbox() {
		t.Error("mail is kept in the inbox, although a hook sends it")
	}
}

// A tenant's users must not be told to the server's own hooks, nor they to it.
func TestFor_leavesATenantNoHookOfTheServer(t *testing.T) {
	b, r := config.LoadBase(source(t, strings.Fields(before+beforeKey+beforeURI+"https://hooks.example.com "+told+signed+"GOTRUE_WEBHOOK_URL=https://hooks.example.com"), nil))
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	c, r := b.For(map[string]string{"SITE_URL": "https://tenant.example.com"})
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	if len(c.Hooks.On()) != 0 || c.Webhook.URL != "" || c.Webhook.Secret != "" || len(c.Webhook.Events) != 0 {
		t.Errorf("the tenant has %v and %+v of the server's", c.Hooks.On(), c.Webhook)
	}
}
