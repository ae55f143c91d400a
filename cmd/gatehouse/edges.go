package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	openapi "gatehouse/api"
	"gatehouse/internal/auth"
	"gatehouse/internal/config"
	"gatehouse/internal/dialect/gotrue"
	"gatehouse/internal/limit"
	"gatehouse/internal/pages"
	"gatehouse/internal/store"
	"gatehouse/internal/tenants"
	"gatehouse/internal/web"
)

// edges is everything that speaks HTTP: a request is given to the tenant it is
// for.
func (h *house) edges() *web.Server {
	cfg := h.plan.Load().base.Config
	mux := http.NewServeMux()
	mux.Handle("GET /openapi.yaml", openapi.Handler())
	if cfg.Tenants.Multi {
		instances := gotrue.Instances(gotrue.InstancesOptions{
			Tenants: h.tenants, Operator: h.operator, Endpoint: cmp.Or(cfg.Tenants.Endpoint, cfg.Server.ExternalURL), Secret: config.IsSecret, SentTo: config.SentTo, Version: version,
		})
		mux.Handle("/instances", instances)
		mux.Handle("/instances/", instances)
		mux.Handle("GET /{$}", instances)
	}
	admin := gotrue.TenantsAPI(gotrue.InstancesOptions{Tenants: h.tenants, Operator: h.operator, Secret: config.IsSecret, SentTo: config.SentTo, Version: version})
	for _, prefix := range []string{"", "/auth/v1", "/.netlify/identity"} {
		mux.Handle(prefix+"/admin/tenants", http.StripPrefix(prefix, admin))
		mux.Handle(prefix+"/admin/tenants/", http.StripPrefix(prefix, admin))
	}
	mux.HandleFunc("/", h.route)
	return &web.Server{
		Next: mux, Log: h.log, Now: time.Now, RequestIDHeader: cfg.Server.RequestIDHeader, Clients: clients(cfg.RateLimit),
		Timeout: cfg.Server.MaxRequestDuration, Large: h.large,
	}
}

// clients says whose word counts on who a client is.
func clients(r config.RateLimit) web.Clients {
	return web.Clients{Header: r.Header, Supabase: r.SBForwardedFor, Proxies: r.TrustedProxies()}
}

// operator reads the bearer of whoever runs the server.
func (h *house) operator(r *http.Request) (auth.Caller, error) {
	home, err := h.dir.Get(r.Context(), tenants.Key{})
	if err != nil {
		return auth.Caller{}, err
	}
	return home.auth.Operator(web.Caller(r), web.Bearer(r))
}

// route gives a request to the tenant it is for: named by the path, by a proxy
// that signs for it, or by the host it came to; else it is the default one's.
func (h *house) route(w http.ResponseWriter, r *http.Request) {
	key, next, err := h.whose(r)
	if err == nil {
		var s *site
		s, err = h.dir.Get(r.Context(), key)
		if err == nil {
			var handler http.Handler
			handler, err = h.serving(s)
			if err == nil {
				web.LineOf(r).Tenant = named(key)
				if next.URL.Path == "" { // pages name their neighbours from where they are
					http.Redirect(w, r, r.URL.Path+"/", http.StatusPermanentRedirect)
					return
				}
				handler.ServeHTTP(w, next)
				return
			}
		}
	}
	gotrue.Refuse(w, r, notThere(err))
}

// named is a tenant as the log names it.
func named(k tenants.Key) string {
	if k.ID.IsZero() {
		return ""
	}
	return k.ID.String()
}

// notThere says of a tenant that is not known what clients are told.
func notThere(err error) error {
	if errors.Is(err, tenants.ErrUnknown) {
		return errors.Join(&auth.Error{Code: auth.TenantNotFound}, store.ErrNotFound)
	}
	return err
}

// whose tells which tenant a request is for, and what of it is the tenant's to
// read.
func (h *house) whose(r *http.Request) (key tenants.Key, next *http.Request, err error) {
	cfg := h.plan.Load().base.Config
	if cfg.Tenants.Multi {
		return h.signedFor(r, cfg)
	}
	if rest, ok := strings.CutPrefix(r.URL.Path, tenantPrefix); ok {
		name, path, _ := strings.Cut(rest, "/")
		raw, plain := strings.CutPrefix(r.URL.EscapedPath(), tenantPrefix+name)
		if !plain || raw != "" && raw[0] != '/' { // an escaped slash ends no name
			return key, r, tenants.ErrUnknown
		}
		key.ID, err = h.dir.ByName(r.Context(), name)
		if err == nil {
			err = h.mayServeAt(r, key.ID)
		}
		if path != "" || strings.HasSuffix(rest, "/") {
			path = "/" + path
		}
		return key, below(r, tenantPrefix+name, path), err
	}
	key.ID, err = h.dir.ByHost(r.Context(), hostOf(r))
	if errors.Is(err, tenants.ErrUnknown) {
		err = nil
	}
	return key, r, err
}

// mayServeAt refuses a tenant at another one's host: what browsers keep for a
// host, and what people know it for, is that one's alone.
func (h *house) mayServeAt(r *http.Request, id store.TenantID) error {
	owner, err := h.dir.ByHost(r.Context(), hostOf(r))
	switch {
	case errors.Is(err, tenants.ErrUnknown):
		return nil
	case err == nil && owner != id:
		return tenants.ErrUnknown
	}
	return err
}

// variation is what a proxy that signs for a tenant may ask for.
type variation struct {
	SiteURL string              `json:"site_url,omitempty"`
	Hooks   map[string][]string `json:"hooks,omitempty"` // event to addresses
}

// signedFor reads who a proxy in front says that a request is for.
func (h *house) signedFor(r *http.Request, cfg *config.Config) (key tenants.Key, next *http.Request, err error) {
	if r.Method == http.MethodGet && (r.URL.Path == "/health" || r.URL.Path == "/auth/v1/health" || r.URL.Path == "/.netlify/identity/health") {
		return key, r, nil
	}
	key, back := h.comesBack(r)
	if back {
		return key, r, nil
	}
	sign, err := gotrue.ReadSign(r.Header.Values("X-Nf-Sign"), cfg.Server.OperatorToken.Reveal(), h.db.Now())
	if err != nil {
		return key, r, err
	}
	key.ID = sign.Tenant
	v, err := json.Marshal(variation{SiteURL: sign.SiteURL, Hooks: sign.Hooks})
	key.Variant = string(v)
	return key, r, err
}

// below is a request as the handler of a prefix sees it.
func below(r *http.Request, prefix, path string) *http.Request {
	next := new(http.Request)
	*next = *r
	next.URL = new(url.URL)
	*next.URL = *r.URL
	next.URL.Path = path
	next.URL.RawPath = ""
	if r.URL.RawPath != "" {
		next.URL.RawPath = strings.TrimPrefix(r.URL.RawPath, prefix)
	}
	return next
}

// hostOf is the host a request came to, in the form tenants write it. It picks
// the tenant and nothing else: no link is made of it.
func hostOf(r *http.Request) string {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	const longest = 253
	if len(host) > longest {
		return ""
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// serving is the handler of a tenant at work.
func (h *house) serving(s *site) (http.Handler, error) {
	s.once.Do(func() { s.handler, s.err = h.speak(s) })
	return s.handler, s.err
}

// speak mounts the edges of one tenant.
func (h *house) speak(s *site) (http.Handler, error) {
	cfg := s.cfg
	redirects, err := web.NewRedirects(cfg.Site.URL, cfg.Site.Redirects)
	if err != nil {
		return nil, err
	}
	limits := h.limits(s)
	o := gotrue.Options{
		Auth: s.auth, Redirects: redirects, Limits: limits, ExternalURL: cfg.Server.ExternalURL, SiteURL: cfg.Site.URL,
		LinkHosts: cfg.Mailer.ExternalHosts, Manners: gotrue.Manners(cfg.Server.Dialect), LinkStyle: gotrue.Manners(cfg.Mailer.LinkStyle),
		LinkPaths: map[auth.Kind]string{
			auth.KindInvite: cfg.Mailer.URLPaths.Invite, auth.KindConfirmation: cfg.Mailer.URLPaths.Confirmation,
			auth.KindRecovery: cfg.Mailer.URLPaths.Recovery, auth.KindMagicLink: cfg.Mailer.URLPaths.Recovery,
			auth.KindChangeCurrent: cfg.Mailer.URLPaths.EmailChange, auth.KindChangeNew: cfg.Mailer.URLPaths.EmailChange,
		},
		DirectLinks: cfg.Mailer.LinkMode == "direct", CookieName: cfg.Cookie.Key, CookieLife: cfg.Cookie.Life.Duration(), Version: version,
		Providers: s.providers.Names(), SAML: cfg.SAML.Enabled, SAMLName: samlName(cfg.SAML.Netlify), SAMLNext: cfg.SAML.Enabled && cfg.SAML.NextKey.Reveal() != "", Title: s.title, Metadata: s.described, ExternalRedirect: cfg.Providers.Redirect,
		SMSProvider: cfg.SMS.Provider, CursorPages: cfg.Site.CursorPages, Work: s.human.offered(h.db.Now),
	}
	api, err := gotrue.New(o)
	if err != nil {
		return nil, err
	}
	flow, err := gotrue.Flow(o)
	if err != nil {
		return nil, err
	}
	netlify := api
	if o.Manners == gotrue.Auto {
		o.Manners = gotrue.Netlify // only its clients look for this path
		netlify, err = gotrue.New(o)
		if err != nil {
			return nil, err
		}
	}
	mux := http.NewServeMux()
	mux.Handle("/", api)
	mux.Handle("/auth/v1/", http.StripPrefix("/auth/v1", api))
	mux.Handle("/.netlify/identity/", http.StripPrefix("/.netlify/identity", netlify))
	po := pages.Options{Auth: s.auth, Flow: flow, Limits: limits, SiteURL: cfg.Site.URL, ExternalURL: cfg.Server.ExternalURL, Version: version}
	if s.inbox != nil {
		po.Inbox = s.inbox
	}
	pages.Mount(mux, po)
	trusted := append([]string{web.Origin(cfg.Site.URL)}, cfg.Server.CORSOrigins...)
	return &web.CORS{Next: mux, Trusted: trusted, Headers: cfg.Server.CORSHeaders}, nil
}

// limits are the rates of a tenant. What counts is the house's, and outlives
// settings.
func (h *house) limits(s *site) *web.Limits {
	r := s.cfg.RateLimit
	per5 := func(n float64) limit.Rate { return limit.Rate{Events: n, Per: 5 * time.Minute, Burst: 30} }
	token := per5(r.TokenRefresh) // what every user of a house passes all day
	token.Late = true
	return &web.Limits{
		Limiter: h.limiter, Shared: h.shared, Tenant: s.tenant.ID, Off: r.Limits == "off",
		Rates: map[string]limit.Rate{
			"otp": per5(r.OTP), "token": token, "verify": per5(r.Verify),
			"anonymous": {Events: r.Anonymous, Per: time.Hour, Burst: int(r.Anonymous)},
			"session":   {Events: 10, Per: time.Minute, Burst: 10}, // refreshes of one
			"sso":       per5(r.SSO), "web3": per5(r.Web3),
			"assertion": {Events: s.cfg.SAML.RateLimit, Per: 5 * time.Minute, Burst: 30},
			"captcha":   {Events: 60, Per: 5 * time.Minute, Burst: 60},
		},
	}
}
