package config

import (
	"net/url"
	"slices"
	"strings"
)

// Webhook is one server of the operator's own, called as Netlify's server calls
// it.
type Webhook struct {
	URL     string   `env:"WEBHOOK_URL" scope:"own" help:"Where WEBHOOK_EVENTS are posted as JSON: an http or https URL, or a path on SITE_URL."`
	Events  []string `env:"WEBHOOK_EVENTS" scope:"own" help:"Some of validate (before a user is made), signup (when an address is proved for the first time), login (by password), usermodified and userdeleted (by an administrator), separated by commas. The first three are waited for: without a clear yes nobody is made or let in. Empty: none, and then WEBHOOK_URL does nothing."`
	Secret  Secret   `env:"WEBHOOK_SECRET" scope:"own" help:"What the calls are signed with, in the header x-webhook-signature. Empty: they are not signed, and anybody could make them."`
	Retries int      `env:"WEBHOOK_RETRIES" scope:"own" envDefault:"3" min:"0" max:"10" help:"How often a call is tried at most. 0: three times."`
	Timeout int      `env:"WEBHOOK_TIMEOUTSEC" alias:"WEBHOOK_TIMEOUT_SEC" scope:"own" envDefault:"5" min:"0" max:"60" help:"Longest time of one try, in seconds. 0: five."`
}

// WebhookEvents are the events a webhook may be told of.
func WebhookEvents() []string {
	return []string{"validate", "signup", "login", "usermodified", "userdeleted"}
}

// Hooks are services of the operator's own, called as Supabase's server calls
// them.
type Hooks struct {
	SendEmail            bool `env:"HOOK_SEND_EMAIL_ENABLED" scope:"own" envDefault:"false" help:"A hook sends mail, in place of SMTP_HOST."`
	SendSMS              bool `env:"HOOK_SEND_SMS_ENABLED" scope:"own" envDefault:"false" help:"A hook sends text messages, in place of SMS_PROVIDER."`
	CustomAccessToken    bool `env:"HOOK_CUSTOM_ACCESS_TOKEN_ENABLED" scope:"own" envDefault:"false" help:"A hook says what each access token holds. It cannot change whose token it is, or of which session."`
	MFAVerification      bool `env:"HOOK_MFA_VERIFICATION_ATTEMPT_ENABLED" scope:"own" envDefault:"false" help:"A hook judges tries at a second factor. It is looked at now, and called once there are second factors."`
	PasswordVerification bool `env:"HOOK_PASSWORD_VERIFICATION_ATTEMPT_ENABLED" scope:"own" envDefault:"false" help:"A hook judges each password that was compared."`
	BeforeUserCreated    bool `env:"HOOK_BEFORE_USER_CREATED_ENABLED" scope:"own" envDefault:"false" help:"A hook may refuse a user before they are made, unless an administrator makes them."`
	AfterUserCreated     bool `env:"HOOK_AFTER_USER_CREATED_ENABLED" scope:"own" envDefault:"false" help:"A hook is told of each user who was made, afterwards, and again until it has heard."`

	Mail   Callee `envPrefix:"HOOK_SEND_EMAIL_" help:"The hook that sends mail: %s"`
	SMS    Callee `envPrefix:"HOOK_SEND_SMS_" help:"The hook that sends text messages: %s"`
	Token  Callee `envPrefix:"HOOK_CUSTOM_ACCESS_TOKEN_" help:"The hook that makes claims: %s"`
	MFA    Callee `envPrefix:"HOOK_MFA_VERIFICATION_ATTEMPT_" help:"The hook that judges second factors: %s"`
	Tries  Callee `envPrefix:"HOOK_PASSWORD_VERIFICATION_ATTEMPT_" help:"The hook that judges passwords: %s"`
	Before Callee `envPrefix:"HOOK_BEFORE_USER_CREATED_" help:"The hook that may refuse users: %s"`
	After  Callee `envPrefix:"HOOK_AFTER_USER_CREATED_" help:"The hook that is told of users: %s"`
}

// Callee is where a hook is.
type Callee struct {
	URI     string `env:"URI" scope:"own" help:"where it is: https://…, on this machine also http://…, or pg-functions://postgres/SCHEMA/FUNCTION for a function of the database, which is PostgreSQL then."`
	Secrets Secret `env:"SECRETS" scope:"own" help:"what its calls are signed with, as v1,whsec_… with | between several. A function of the database needs none."`
}

// NamedHook is a hook that is turned on, by its name in settings.
type NamedHook struct {
	Name string // SEND_EMAIL
	Callee
}

// On lists the hooks that are turned on.
func (h Hooks) On() (list []NamedHook) {
	for _, n := range []struct {
		on bool
		NamedHook
	}{
		{h.SendEmail, NamedHook{"SEND_EMAIL", h.Mail}},
		{h.SendSMS, NamedHook{"SEND_SMS", h.SMS}},
		{h.CustomAccessToken, NamedHook{"CUSTOM_ACCESS_TOKEN", h.Token}},
		{h.MFAVerification, NamedHook{"MFA_VERIFICATION_ATTEMPT", h.MFA}},
		{h.PasswordVerification, NamedHook{"PASSWORD_VERIFICATION_ATTEMPT", h.Tries}},
		{h.BeforeUserCreated, NamedHook{"BEFORE_USER_CREATED", h.Before}},
		{h.AfterUserCreated, NamedHook{"AFTER_USER_CREATED", h.After}},
	} {
		if n.on {
			list = append(list, n.NamedHook)
		}
	}
	return list
}

// hooks looks at whom the server asks before it goes on: a hook that cannot be
// asked would refuse everybody.
func (k *checker) hooks() {
	for _, h := range k.Hooks.On() {
		k.hook(h)
	}
	w := k.Webhook
	for _, e := range w.Events {
		if !slices.Contains(WebhookEvents(), e) {
			k.fault("WEBHOOK_EVENTS", quoted(e)+" is not an event", "write some of "+strings.Join(WebhookEvents(), ", "))
		}
	}
	switch {
	case w.URL == "" && len(w.Events) > 0 && !k.bad["WEBHOOK_URL"]:
		k.fault("WEBHOOK_URL", "it is missing, and WEBHOOK_EVENTS names events", "set it, or take WEBHOOK_EVENTS out")
	case w.URL == "":
	case len(w.Events) == 0:
		k.warn("WEBHOOK_URL", "WEBHOOK_EVENTS names no events, so it does nothing", "set WEBHOOK_EVENTS to some of "+strings.Join(WebhookEvents(), ", "))
	case w.Secret == "":
		k.warn("WEBHOOK_URL", "its calls are not signed, and anybody could make them", "set WEBHOOK_SECRET")
	}
	k.webhook(w.URL)
}

// webhook looks at an address that may be a path on the site.
func (k *checker) webhook(address string) {
	const x, mend = "WEBHOOK_URL", "write e.g. https://hooks.example.com/gatehouse, or /hook"
	u, err := url.Parse(address)
	switch {
	case address == "":
	case err != nil, u.Opaque != "", !u.IsAbs() && (u.Host != "" || !strings.HasPrefix(address, "/")):
		k.fault(x, safely(address)+" is neither an http or https URL nor a path", mend)
	case !u.IsAbs():
		if k.Site.URL != "" {
			k.outgoing(x, k.Site.URL)
		}
	default:
		_, err = web(address)
		k.refused(x, err)
		k.outgoing(x, address)
	}
}

func (k *checker) hook(h NamedHook) {
	uri, secrets := "HOOK_"+h.Name+"_URI", "HOOK_"+h.Name+"_SECRETS"
	u, err := url.Parse(h.URI)
	private := "the URI is on this machine, and the server calls public addresses only"
	switch {
	case h.URI == "":
		k.fault(uri, "it is missing, and the hook is turned on", "set it, or take HOOK_"+h.Name+"_ENABLED out")
	case err != nil:
		k.fault(uri, "it is not a URI", "write e.g. https://hooks.example.com/"+strings.ToLower(h.Name))
	case u.Scheme == "pg-functions":
		if engine := k.Database.Engine(); engine != "postgres" {
			k.fault(uri, "only PostgreSQL has functions to call, and the database is "+engine, "use an https:// hook")
		}
	case u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "":
		k.fault(uri, safely(h.URI)+" is neither an https:// nor a pg-functions:// URI", "write e.g. https://hooks.example.com/"+strings.ToLower(h.Name))
	case u.User != nil:
		k.fault(uri, "it holds a user name or password", "leave out what stands before the @; calls are signed with "+secrets)
	case u.Scheme == "http" && !loopback(u.Hostname()):
		k.fault(uri, "http:// is for this machine alone", "use https://")
	case u.Scheme == "http" && !k.Server.OutgoingAllowPrivate && !k.bad["OUTGOING_ALLOW_PRIVATE"]:
		k.fault(uri, private, "use a public https address, or set OUTGOING_ALLOW_PRIVATE=true")
	case strings.TrimSpace(h.Secrets.Reveal()) == "":
		k.fault(secrets, "it is missing, and anybody could call the hook in the server's name", "make one with: echo \"v1,whsec_$(openssl rand -base64 32)\"")
	default:
		k.outgoing(uri, h.URI)
	}
}
