package gotrue

import (
	"net/http"
	"net/netip"

	"gatehouse/internal/auth"
	"gatehouse/internal/web"
)

// health handles "GET /health".
func (a *api) health(w http.ResponseWriter, _ *http.Request) error {
	return web.JSON(w, http.StatusOK, manifest(a.Version))
}

// manifest is what this server is.
func manifest(version string) map[string]string {
	return map[string]string{"version": version, "name": "GoTrue", "description": "Gatehouse, a user registration and authentication API"}
}

// externals are the ways in that clients of either family look for, whether they
// are open or not.
var externals = []string{
	"apple", "azure", "bitbucket", "discord", "facebook", "snapchat", "figma", "fly", "github", "gitlab",
	"google", "keycloak", "kakao", "linkedin", "linkedin_oidc", "notion", "spotify", "slack", "slack_oidc", "workos", "twitch",
	"twitter", "zoom", "saml",
}

// settings handles "GET /settings".
func (a *api) settings(w http.ResponseWriter, _ *http.Request) error {
	p := a.Auth.Policy()
	external := map[string]bool{"email": !p.EmailDisabled, "phone": !p.PhoneDisabled, "anonymous_users": !p.AnonymousDisabled}
	for _, name := range externals {
		external[name] = false
	}
	for _, name := range a.Providers {
		external[name] = true
	}
	labels := map[string]string{}
	if a.SAMLName != "" {
		external[samlProvider], labels[samlProvider] = true, a.SAMLName
	}
	return web.JSON(w, http.StatusOK, map[string]any{
		"external": external, "external_labels": labels,
		"disable_signup": p.SignupDisabled, "autoconfirm": p.Autoconfirm, "mailer_autoconfirm": p.Autoconfirm,
		"phone_autoconfirm": p.PhoneAutoconfirm, "sms_provider": a.SMSProvider, "saml_enabled": a.SAML, "saml_private_key_next_configured": a.SAMLNext, "passkeys_enabled": false,
	})
}

// jwks handles "GET /.well-known/jwks.json" (RFC 7517 §5).
func (a *api) jwks(w http.ResponseWriter, r *http.Request) error {
	body, etag := a.Auth.JWKS()
	h := w.Header()
	h.Set("Cache-Control", "public, max-age=600")
	h.Set("ETag", etag)
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body)
	return nil
}

// setCookie gives a browser its access token as a cookie, when it asks
// (X-Use-Cookie, of Netlify's clients). The server never reads it back: it is
// for the proxy in front of the application.
func (a *api) setCookie(w http.ResponseWriter, r *http.Request, g *auth.Grant) {
	use := r.Header.Get("X-Use-Cookie")
	if use == "" || g.Access == "" {
		return
	}
	c := a.cookie(g.Access)
	if use != "session" {
		c.MaxAge = int(a.CookieLife.Seconds())
	}
	http.SetCookie(w, c)
}

func (a *api) clearCookie(w http.ResponseWriter) {
	c := a.cookie("")
	c.MaxAge = -1
	http.SetCookie(w, c)
}

func (a *api) cookie(value string) *http.Cookie {
	return &http.Cookie{Name: a.CookieName, Value: value, Path: "/", HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode}
}

// onThisMachine tells whether the server is reached here alone, as for
// development, without TLS.
func (a *api) onThisMachine() bool {
	ip, err := netip.ParseAddr(a.external.Hostname())
	return a.external.Scheme == "http" && (a.external.Hostname() == "localhost" || err == nil && ip.IsLoopback())
}
