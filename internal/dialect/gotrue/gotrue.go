// Package gotrue speaks the HTTP APIs of Netlify GoTrue and Supabase Auth at
// once, so that the clients of both work unchanged. Begin with New and its
// route table; wire.go is the JSON, errors.go what each failure looks like,
// manners.go how the two families are told apart.
//
// It translates; it decides nothing about users.
package gotrue

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/web"
)

// Options are what the edge is made of.
type Options struct {
	Auth        *auth.Service
	Redirects   *web.Redirects
	Limits      *web.Limits
	ExternalURL string   // of this server; links in mails begin with it
	SiteURL     string   // of the application
	LinkHosts   []string // hosts that links may be built for instead, when a proxy names them
	Manners     Manners  // of requests that do not tell; Auto: Supabase
	LinkStyle   Manners  // Auto: by who asked
	LinkPaths   map[auth.Kind]string
	DirectLinks bool // a GET of a mailed link spends it: scanners will, too
	CookieName  string
	CookieLife  time.Duration
	SMSProvider string // its name, for clients that ask
	CursorPages bool   // lists of users go by cursor unless a request names a page
	Work        Work   // what clients may solve instead of a captcha of others
	Version     string

	Providers        []string                                          // whose accounts people sign in with, but for those added at run time
	SAML             bool                                              // companies' own identity providers sign people in
	SAMLName         string                                            // what Netlify's widget calls the one of a site; empty: there is none
	SAMLNext         bool                                              // the key to come is told already
	Title            func(ctx context.Context, provider string) string // what people call a provider
	Metadata         func() ([]byte, error)                            // of this server as a SAML service provider; nil: it is none
	ExternalRedirect string                                            // where people come back to from an account elsewhere, whatever was asked for; empty: that, or the site
}

type api struct {
	Options
	external *url.URL
	csrf     *http.CrossOriginProtection
}

// New returns the whole API, to be served at "/" or below a prefix.
func New(o Options) (http.Handler, error) {
	u, err := url.Parse(o.ExternalURL)
	if err != nil {
		return nil, err
	}
	o.Redirects.Beside(o.ExternalURL)
	return &api{Options: o, external: u, csrf: http.NewCrossOriginProtection()}, nil
}

// call handles a request for one API.
type call func(*api, http.ResponseWriter, *http.Request) error

type apiKey struct{}

// ServeHTTP finds the route. The table is one for all APIs of the process, of
// which each tenant at work has its own: it is large, and they are many.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	mux().ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), apiKey{}, a)))
}

var mux = sync.OnceValue(func() *http.ServeMux {
	m := http.NewServeMux()
	for pattern, f := range routes() {
		m.Handle(pattern, f.handler())
	}
	for pattern, f := range switchedOff() {
		m.Handle(pattern, f.handler())
	}
	return m
})

func (f call) handler() http.Handler {
	of := func(r *http.Request) *api { return r.Context().Value(apiKey{}).(*api) }
	return web.Handle(
		func(w http.ResponseWriter, r *http.Request) error { return f(of(r), w, r) },
		func(w http.ResponseWriter, r *http.Request, err error) { of(r).fail(w, r, err) })
}

// routes is the route table. api/openapi.yaml describes each of them.
func routes() map[string]call {
	return map[string]call{
		"GET /health":                (*api).health,
		"GET /settings":              (*api).settings,
		"GET /.well-known/jwks.json": (*api).jwks,
		"GET /captcha":               limited("captcha", (*api).challenge),
		"GET /captcha/pow.js":        (*api).workScript,

		"POST /signup":    limited("otp signup", (*api).signup),
		"POST /token":     (*api).limitedToken,
		"GET /verify":     (*api).verifyPage,
		"POST /verify":    limited("verify", (*api).verify),
		"POST /recover":   limited("otp recover", (*api).recover),
		"POST /resend":    limited("otp resend", (*api).resend),
		"POST /otp":       limited("otp otp", (*api).otp),
		"POST /magiclink": limited("otp magiclink", (*api).otp),

		"GET /authorize":  limited("token authorize", (*api).authorize),
		"POST /authorize": (*api).confirmTicket,
		"GET /callback":   limited("token callback", meant((*api).callback)),
		"POST /callback":  (*api).relay,

		"POST /sso":              limited("sso", (*api).signOn),
		"GET /sso/start":         limited("sso start", (*api).startSignOn),
		"GET /sso/saml/metadata": (*api).metadata,
		"GET /sso/saml/acs":      (*api).artifact,
		"POST /sso/saml/acs":     limited("assertion", (*api).assertion),
		"GET /sso/saml/finish":   limited("assertion finish", meant((*api).finishSignOn)),
		"GET /saml/metadata":     (*api).metadata,
		"POST /saml/acs":         limited("assertion", (*api).assertion),
		"GET /saml/finish":       limited("assertion finish", meant((*api).finishSignOn)),

		"GET /user":           signedIn((*api).user),
		"PUT /user":           limited("otp user", signedIn((*api).updateUser)),
		"GET /reauthenticate": signedIn((*api).reauthenticate),
		"POST /logout":        signedIn((*api).logout),

		"GET /user/identities/authorize": signedIn((*api).linkIdentity),
		"DELETE /user/identities/{id}":   signedIn((*api).unlink),
		"GET /sessions":                  signedIn((*api).listSessions),
		"PATCH /sessions/{id}":           signedIn((*api).nameSession),
		"DELETE /sessions/{id}":          signedIn((*api).endSession),

		"POST /invite":              admin((*api).invite),
		"GET /admin/users":          admin((*api).listUsers),
		"POST /admin/users":         admin((*api).addUser),
		"GET /admin/users/{id}":     admin((*api).showUser),
		"PUT /admin/users/{id}":     admin((*api).setUser),
		"DELETE /admin/users/{id}":  admin((*api).dropUser),
		"POST /admin/generate_link": admin((*api).generateLink),
		"GET /admin/audit":          admin((*api).audit),

		"GET /admin/webhooks":                                 admin((*api).listWebhooks),
		"POST /admin/webhooks":                                admin((*api).addWebhook),
		"GET /admin/webhooks/{id}":                            admin((*api).showWebhook),
		"PUT /admin/webhooks/{id}":                            admin((*api).setWebhook),
		"DELETE /admin/webhooks/{id}":                         admin((*api).dropWebhook),
		"POST /admin/webhooks/{id}/rotate":                    admin((*api).rotateWebhook),
		"POST /admin/webhooks/{id}/replay":                    admin((*api).replayDead),
		"GET /admin/webhooks/{id}/deliveries":                 admin((*api).listDeliveries),
		"POST /admin/webhooks/{id}/deliveries/{event}/replay": admin((*api).replayDelivery),

		"GET /admin/sso/providers":         admin(withSAML((*api).listSSO)),
		"POST /admin/sso/providers":        admin(withSAML((*api).addSSO)),
		"GET /admin/sso/providers/{id}":    admin(withSAML((*api).showSSO)),
		"PUT /admin/sso/providers/{id}":    admin(withSAML((*api).setSSO)),
		"DELETE /admin/sso/providers/{id}": admin(withSAML((*api).dropSSO)),

		"GET /admin/custom-providers":         admin(withCustom((*api).listCustom)),
		"POST /admin/custom-providers":        admin(withCustom((*api).addCustom)),
		"GET /admin/custom-providers/{id}":    admin(withCustom((*api).showCustom)),
		"PUT /admin/custom-providers/{id}":    admin(withCustom((*api).setCustom)),
		"DELETE /admin/custom-providers/{id}": admin(withCustom((*api).dropCustom)),

		"GET /admin/users/{id}/providers":                     admin((*api).listLinked),
		"POST /admin/users/{id}/providers":                    admin((*api).addLinked),
		"GET /admin/users/{id}/providers/{provider}":          admin((*api).showLinked),
		"PUT /admin/users/{id}/providers/{provider}":          admin((*api).setLinked),
		"DELETE /admin/users/{id}/providers/{provider}":       admin((*api).dropLinked),
		"POST /admin/users/{id}/providers/{provider}/refresh": admin((*api).providerTokens),

		"GET /admin/users/{id}/sessions":              admin((*api).listUserSessions),
		"DELETE /admin/users/{id}/sessions":           admin((*api).endUserSessions),
		"DELETE /admin/users/{id}/sessions/{session}": admin((*api).endUserSession),
	}
}

// Flow returns how links in mails look that no request of this edge caused.
func Flow(o Options) (func(*http.Request) auth.Flow, error) {
	u, err := url.Parse(o.ExternalURL)
	if err != nil {
		return nil, err
	}
	a := &api{Options: o, external: u}
	return func(r *http.Request) auth.Flow {
		f, _ := a.flow(r, pkceFields{}) // fails of bad PKCE alone
		f.RedirectTo = a.Redirects.Choose("")
		return f
	}, nil
}

// limited spends a request of a named limit before anything else happens. Where
// one rate is that of several calls each counts by itself.
func limited(name string, f call) call {
	return func(a *api, w http.ResponseWriter, r *http.Request) error {
		err := a.Limits.Take(r, name)
		if err != nil {
			return err
		}
		return f(a, w, r)
	}
}

// meant does nothing for who only looks, or looks ahead of their user: what comes
// back from elsewhere is good once.
func meant(f call) call {
	return func(a *api, w http.ResponseWriter, r *http.Request) error {
		if r.Method == http.MethodHead || prefetch(r) {
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(http.StatusNoContent)
			return nil
		}
		return f(a, w, r)
	}
}

// signedIn reads the bearer of an access token.
func signedIn(f func(*api, http.ResponseWriter, *http.Request, *auth.Viewer) error) call {
	return func(a *api, w http.ResponseWriter, r *http.Request) error {
		v, err := a.Auth.Authenticate(r.Context(), web.Caller(r), web.Bearer(r))
		if err != nil {
			return err
		}
		web.LineOf(r).User = v.User.ID.String()
		return f(a, w, r, v)
	}
}

// adminCall is a call of somebody with the operator's rights.
type adminCall = func(*api, http.ResponseWriter, *http.Request, auth.Caller) error

// admin reads the bearer of the operator's rights.
func admin(f adminCall) call {
	return func(a *api, w http.ResponseWriter, r *http.Request) error {
		c, err := a.Auth.Administrator(r.Context(), web.Caller(r), web.Bearer(r))
		if err != nil {
			return err
		}
		web.LineOf(r).User = c.Actor
		return f(a, w, r, c)
	}
}
