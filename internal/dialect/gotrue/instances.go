package gotrue

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"gatehouse/internal/auth"
	"gatehouse/internal/web"
)

// InstancesOptions are what the edge for whoever makes tenants is made of.
type InstancesOptions struct {
	Tenants  *auth.Tenants
	Operator func(*http.Request) (auth.Caller, error)
	Endpoint string                // POST /instances answers with it
	Secret   func(string) bool     // whether the value of a setting must not be shown
	SentTo   func(string) []string // the settings that say where the value of one is sent; nil: nowhere
	Version  string
}

type instances struct {
	InstancesOptions
}

// Instances is Netlify's API of many instances: GET /, and /instances.
func Instances(o InstancesOptions) http.Handler {
	a := &instances{o}
	return a.mux(map[string]func(http.ResponseWriter, *http.Request, auth.Caller) error{
		"GET /{$}":               a.manifest,
		"POST /instances":        a.add,
		"GET /instances/{id}":    a.show,
		"PUT /instances/{id}":    a.set,
		"DELETE /instances/{id}": a.drop,
	}, Netlify)
}

func (a *instances) mux(routes map[string]func(http.ResponseWriter, *http.Request, auth.Caller) error, m Manners) http.Handler {
	mux := http.NewServeMux()
	speaker := &api{Options: Options{Manners: m}}
	for pattern, f := range routes {
		mux.Handle(pattern, web.Handle(func(w http.ResponseWriter, r *http.Request) error {
			c, err := a.Operator(r)
			if err != nil {
				return err
			}
			web.LineOf(r).User = c.Actor
			return f(w, r, c)
		}, speaker.fail))
	}
	return mux
}

// Refuse answers a request whose tenant cannot be told or cannot serve.
func Refuse(w http.ResponseWriter, r *http.Request, err error) {
	web.LineOf(r).Refused(err)
	(&api{}).fail(w, r, err)
}

// Sign is what a proxy in front says a request is for.
type Sign struct {
	Tenant  auth.TenantID
	SiteURL string
	Hooks   map[string][]string // event to addresses
}

// ReadSign reads the header x-nf-sign: a token the operator token has signed
// (HS256), with the claims id, site_url and function_hooks, whose values are
// lists of addresses or, from older ones, one address. There must be one: of two,
// a client may have sent the other.
//
// Codes: SignMissing, SignInvalid.
func ReadSign(headers []string, operatorToken string, now time.Time) (s Sign, err error) {
	if len(headers) == 0 || headers[0] == "" {
		return s, &auth.Error{Code: auth.SignMissing}
	}
	if operatorToken == "" { // or anybody signs
		return s, &auth.Error{Code: auth.SignInvalid, Err: errors.New("there is no operator token")}
	}
	if len(headers) > 1 {
		return s, &auth.Error{Code: auth.SignInvalid, Err: errors.New("the header comes twice")}
	}
	var claims struct {
		ID      string                     `json:"id"`
		SiteURL string                     `json:"site_url"`
		Hooks   map[string]json.RawMessage `json:"function_hooks"`
		jwt.RegisteredClaims
	}
	_, err = jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithTimeFunc(func() time.Time { return now })).
		ParseWithClaims(headers[0], &claims, func(*jwt.Token) (any, error) { return []byte(operatorToken), nil })
	if err == nil {
		s.Tenant, err = auth.ParseTenantID(claims.ID)
	}
	if err == nil && s.Tenant.IsZero() {
		err = errors.New("the default tenant is nobody's instance")
	}
	if err != nil {
		return Sign{}, &auth.Error{Code: auth.SignInvalid, Err: err}
	}
	s.SiteURL = claims.SiteURL
	for event, raw := range claims.Hooks {
		var many []string
		var one string
		if json.Unmarshal(raw, &many) != nil && json.Unmarshal(raw, &one) == nil && one != "" {
			many = []string{one}
		}
		if len(many) > 0 {
			if s.Hooks == nil {
				s.Hooks = map[string][]string{}
			}
			s.Hooks[event] = many
		}
	}
	return s, nil
}

// manifest handles "GET /".
func (a *instances) manifest(w http.ResponseWriter, _ *http.Request, _ auth.Caller) error {
	return web.JSON(w, http.StatusOK, manifest(a.Version))
}

// instance is an instance on the wire.
type instance struct {
	ID        string         `json:"id"`
	UUID      string         `json:"uuid"`
	Config    map[string]any `json:"config"`
	CreatedAt time.Time      `json:"created_at"`
	UpdatedAt time.Time      `json:"updated_at"`
}

// instanceJSON shows a tenant as an instance, without what lets people in.
func instanceJSON(t *auth.Tenant) (instance, error) {
	i := instance{ID: t.ID.String(), UUID: t.ExternalID, Config: map[string]any{}, CreatedAt: t.CreatedAt, UpdatedAt: t.UpdatedAt}
	err := readConfig(t.Instance, &i.Config)
	if err != nil {
		return i, err
	}
	if smtp, ok := i.Config["smtp"].(map[string]any); ok {
		delete(smtp, "pass")
	}
	return i, nil
}

// add handles "POST /instances".
func (a *instances) add(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	var in struct {
		UUID   string         `json:"uuid"`
		Config map[string]any `json:"config"`
	}
	err := web.Body(w, r, &in)
	if err != nil {
		return err
	}
	if in.UUID == "" {
		return auth.Invalid("uuid", "An instance needs a uuid")
	}
	t := auth.Tenant{ExternalID: in.UUID}
	err = configure(&t, in.Config)
	if err != nil {
		return err
	}
	made, err := a.Tenants.Add(r.Context(), c, t)
	if err != nil {
		return err
	}
	i, err := instanceJSON(made)
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusCreated, struct {
		instance
		Endpoint string `json:"endpoint"`
		State    string `json:"state"`
	}{i, a.Endpoint, "active"})
}

// show handles "GET /instances/{id}".
func (a *instances) show(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	id, err := pathTenant(r)
	if err != nil {
		return err
	}
	t, err := a.Tenants.Tenant(r.Context(), id)
	if err != nil {
		return err
	}
	i, err := instanceJSON(t)
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, i)
}

// set handles "PUT /instances/{id}": what it names takes the place of what is
// there, field by field.
func (a *instances) set(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	id, err := pathTenant(r)
	if err != nil {
		return err
	}
	var in struct {
		Config map[string]any `json:"config"`
	}
	err = web.Body(w, r, &in)
	if err != nil {
		return err
	}
	t, err := a.Tenants.Set(r.Context(), c, id, func(t *auth.Tenant) error {
		have := map[string]any{}
		err := readConfig(t.Instance, &have)
		if err != nil {
			return err
		}
		anew, err := instanceSettings(in.Config)
		if err != nil {
			return err
		}
		before := t.Settings
		err = configure(t, merged(have, in.Config))
		if err != nil {
			return err
		}
		return a.stays(before, t.Settings, func(name string) bool { return anew[name] != "" })
	})
	if err != nil {
		return err
	}
	i, err := instanceJSON(t)
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, i)
}

// stays refuses a change that would send a secret which nobody is shown to
// another address than it was given for: whoever may change the address could
// read it there.
func (a *instances) stays(before, after map[string]string, anew func(name string) bool) error {
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if before[name] == "" || anew(name) || a.SentTo == nil {
			continue
		}
		for _, address := range a.SentTo(name) {
			if before[address] != after[address] {
				return auth.Invalid(name, fmt.Sprintf("%s is sent to what %s says: whoever changes that gives it again", name, address))
			}
		}
	}
	return nil
}

// readConfig reads a configuration that was kept. Its numbers stay as they were
// written: durations are nanoseconds, too long for other numbers to tell well.
func readConfig(kept []byte, config *map[string]any) error {
	if len(kept) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(kept))
	d.UseNumber()
	return d.Decode(config)
}

// merged puts the fields of change over those of have, in whatever depth.
func merged(have, change map[string]any) map[string]any {
	for k, v := range change {
		inner, ok := v.(map[string]any)
		old, had := have[k].(map[string]any)
		if ok && had {
			v = merged(old, inner)
		}
		have[k] = v
	}
	return have
}

// drop handles "DELETE /instances/{id}".
func (a *instances) drop(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	id, err := pathTenant(r)
	if err != nil {
		return err
	}
	err = a.Tenants.Drop(r.Context(), c, id)
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func pathTenant(r *http.Request) (auth.TenantID, error) {
	id, err := auth.ParseTenantID(r.PathValue("id"))
	if err != nil {
		return id, auth.Invalid("id", "The id of a tenant is a UUID")
	}
	return id, nil
}

// configure takes over an instance's configuration: as it is, to be shown again,
// and as settings of ours.
func configure(t *auth.Tenant, config map[string]any) error {
	if config == nil {
		config = map[string]any{}
	}
	body, err := json.Marshal(config)
	if err != nil {
		return err
	}
	own, err := instanceSettings(config)
	if err != nil {
		return err
	}
	t.Instance, t.Settings = body, own
	return nil
}

// instanceNames says which of our settings a field of an instance's
// configuration is. Fields are joined by dots.
var instanceNames = map[string]string{
	"site_url": "SITE_URL", "disable_signup": "DISABLE_SIGNUP",
	"jwt.secret": "JWT_SECRET", "jwt.exp": "JWT_EXP", "jwt.aud": "JWT_AUD", "jwt.admin_group_name": "JWT_ADMIN_GROUP_NAME",
	"jwt.default_group_name": "JWT_DEFAULT_GROUP_NAME", "jwt.refresh_token_lifetime": "JWT_REFRESH_TOKEN_LIFETIME",
	"smtp.max_frequency": "SMTP_MAX_FREQUENCY", "smtp.host": "SMTP_HOST", "smtp.port": "SMTP_PORT", "smtp.user": "SMTP_USER",
	"smtp.pass": "SMTP_PASS", "smtp.admin_email": "SMTP_ADMIN_EMAIL",
	"mailer.autoconfirm": "MAILER_AUTOCONFIRM", "mailer.recovery_max_age": "MAILER_RECOVERY_MAX_AGE",
	"mailer.confirmation_max_age": "MAILER_CONFIRMATION_MAX_AGE", "mailer.invite_max_age": "MAILER_INVITE_MAX_AGE",
	"external.email.disabled": "EXTERNAL_EMAIL_DISABLED", "external.redirect_url": "EXTERNAL_REDIRECTURL",
	"external.saml.enabled": "EXTERNAL_SAML_ENABLED", "external.saml.metadata_url": "EXTERNAL_SAML_METADATA_URL",
	"external.saml.api_base": "EXTERNAL_SAML_API_BASE", "external.saml.name": "EXTERNAL_SAML_NAME",
	"external.saml.signing_cert": "EXTERNAL_SAML_SIGNING_CERT", "external.saml.signing_key": "EXTERNAL_SAML_SIGNING_KEY",
	"webhook.url": "WEBHOOK_URL", "webhook.retries": "WEBHOOK_RETRIES", "webhook.timeout_sec": "WEBHOOK_TIMEOUTSEC",
	"webhook.secret": "WEBHOOK_SECRET", "webhook.events": "WEBHOOK_EVENTS",
	"cookies.key": "COOKIE_KEY", "cookies.duration": "COOKIE_DURATION",
}

// nanoseconds are the fields that are a time as a number of nanoseconds.
var nanoseconds = []string{
	"jwt.refresh_token_lifetime", "smtp.max_frequency", "mailer.recovery_max_age", "mailer.confirmation_max_age", "mailer.invite_max_age",
}

// instanceSettings are an instance's configuration as settings of ours. A field
// that is none is refused: it would be lost without a word.
func instanceSettings(config map[string]any) (map[string]string, error) {
	own := map[string]string{}
	var walk func(path string, v any) error
	walk = func(path string, v any) error {
		name := instanceNames[path]
		for _, family := range []struct{ prefix, setting string }{
			{"mailer.subjects.", "MAILER_SUBJECTS_"}, {"mailer.templates.", "MAILER_TEMPLATES_"}, {"mailer.url_paths.", "MAILER_URLPATHS_"},
		} {
			if rest, ok := strings.CutPrefix(path, family.prefix); ok {
				name = family.setting + strings.ToUpper(rest)
			}
		}
		if rest, ok := strings.CutPrefix(path, "external."); ok && name == "" && strings.Count(rest, ".") == 1 {
			provider, field, _ := strings.Cut(rest, ".")
			name = "EXTERNAL_" + strings.ToUpper(provider) + "_" + strings.ToUpper(field)
		}
		switch v := v.(type) {
		case nil:
			return nil
		case map[string]any:
			for _, k := range slices.Sorted(maps.Keys(v)) {
				at := k
				if path != "" {
					at = path + "." + k
				}
				err := walk(at, v[k])
				if err != nil {
					return err
				}
			}
			return nil
		case []any:
			var list []string
			for _, e := range v {
				list = append(list, fmt.Sprint(e))
			}
			return keep(own, path, name, strings.Join(list, ","))
		default:
			text := fmt.Sprint(v)
			ns, err := strconv.ParseInt(text, 10, 64)
			if err == nil && slices.Contains(nanoseconds, path) {
				text = time.Duration(ns).String()
			}
			return keep(own, path, name, text)
		}
	}
	return own, walk("", config)
}

func keep(own map[string]string, path, name, value string) error {
	if name == "" {
		return auth.Invalid("config", fmt.Sprintf("There is no field %q in the configuration of an instance", path))
	}
	if value != "" {
		own[name] = value
	}
	return nil
}
