// Package gotrue speaks the HTTP APIs of Netlify GoTrue and Supabase Auth at
// once, so that the clients of both work unchanged. Begin with New and its
// route table; wire.go is the JSON, errors.go what each failure looks like,
// manners.go how the two families are told apart.
//
// It translates; it decides nothing about users.
package gotrue

import (
	"net/http"
	"net/url"
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
	Version     string
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
	a := &api{Options: o, external: u, csrf: http.NewCrossOriginProtection()}
	mux := http.NewServeMux()
	for pattern, f := range map[string]web.Func{
		"GET /health":                a.health,
		"GET /settings":              a.settings,
		"GET /.well-known/jwks.json": a.jwks,

		"POST /signup":    a.limited("otp", a.signup),
		"POST /token":     a.limited("token", a.token),
		"GET /verify":     a.verifyPage,
		"POST /verify":    a.limited("verify", a.verify),
		"POST /recover":   a.limited("otp", a.recover),
		"POST /resend":    a.limited("otp", a.resend),
		"POST /otp":       a.limited("otp", a.otp),
		"POST /magiclink": a.limited("otp", a.otp),

		"GET /user":           a.signedIn(a.user),
		"PUT /user":           a.limited("otp", a.signedIn(a.updateUser)),
		"GET /reauthenticate": a.signedIn(a.reauthenticate),
		"POST /logout":        a.signedIn(a.logout),

		"DELETE /user/identities/{id}": a.signedIn(a.unlink),
		"GET /sessions":                a.signedIn(a.listSessions),
		"PATCH /sessions/{id}":         a.signedIn(a.nameSession),
		"DELETE /sessions/{id}":        a.signedIn(a.endSession),

		"POST /invite":              a.admin(a.invite),
		"GET /admin/users":          a.admin(a.listUsers),
		"POST /admin/users":         a.admin(a.addUser),
		"GET /admin/users/{id}":     a.admin(a.showUser),
		"PUT /admin/users/{id}":     a.admin(a.setUser),
		"DELETE /admin/users/{id}":  a.admin(a.dropUser),
		"POST /admin/generate_link": a.admin(a.generateLink),

		"GET /admin/users/{id}/sessions":              a.admin(a.listUserSessions),
		"DELETE /admin/users/{id}/sessions":           a.admin(a.endUserSessions),
		"DELETE /admin/users/{id}/sessions/{session}": a.admin(a.endUserSession),
	} {
		mux.Handle(pattern, web.Handle(f, a.fail))
	}
	for pattern, f := range switchedOff() {
		mux.Handle(pattern, web.Handle(f, a.fail))
	}
	return mux, nil
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

// limited spends a request of a named limit before anything else happens.
func (a *api) limited(name string, f web.Func) web.Func {
	return func(w http.ResponseWriter, r *http.Request) error {
		err := a.Limits.Take(r, name)
		if err != nil {
			return err
		}
		return f(w, r)
	}
}

// signedIn reads the bearer of an access token.
func (a *api) signedIn(f func(http.ResponseWriter, *http.Request, *auth.Viewer) error) web.Func {
	return func(w http.ResponseWriter, r *http.Request) error {
		v, err := a.Auth.Authenticate(r.Context(), web.Caller(r), web.Bearer(r))
		if err != nil {
			return err
		}
		web.LineOf(r).User = v.User.ID.String()
		return f(w, r, v)
	}
}

// admin reads the bearer of the operator's rights.
func (a *api) admin(f func(http.ResponseWriter, *http.Request, auth.Caller) error) web.Func {
	return func(w http.ResponseWriter, r *http.Request) error {
		c, err := a.Auth.Administrator(r.Context(), web.Caller(r), web.Bearer(r))
		if err != nil {
			return err
		}
		web.LineOf(r).User = c.Actor
		return f(w, r, c)
	}
}
