package web

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// CORS answers cross-origin questions (Fetch standard §3.2). Any origin may
// call with a bearer token, which a page must hold to send; only the origins
// of the site may send cookies along, because a browser sends those for any
// page that asks.
type CORS struct {
	Next    http.Handler
	Trusted []string // origins that may send credentials
	Headers []string // request headers to allow beside the standing ones
}

// standing are the request headers of every client we know, the union of
// both families.
var standing = []string{
	"Accept", "Authorization", "Content-Type", "X-Client-IP", "X-Client-Info", "X-JWT-AUD", "X-Use-Cookie",
	"X-Supabase-Api-Version", "X-Nf-Client", "X-Nf-Sign", "apikey", "redirect_to",
}

const exposed = "X-Total-Count, Link, X-Supabase-Api-Version, X-Sb-Error-Code, Retry-After, X-Request-Id"

func (c *CORS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	origin := r.Header.Get("Origin")
	if origin != "" {
		h := w.Header()
		h.Add("Vary", "Origin")
		if slices.Contains(c.Trusted, origin) {
			LineOf(r).trusted = true
			h.Set("Access-Control-Allow-Origin", origin)
			h.Set("Access-Control-Allow-Credentials", "true")
		} else {
			h.Set("Access-Control-Allow-Origin", "*")
		}
		h.Set("Access-Control-Expose-Headers", exposed)
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE")
			h.Set("Access-Control-Allow-Headers", strings.Join(slices.Concat(standing, c.Headers), ", "))
			h.Set("Access-Control-Max-Age", "3600")
			LineOf(r).Route = "preflight"
			w.WriteHeader(http.StatusNoContent)
			return
		}
	}
	c.Next.ServeHTTP(w, r)
}

// Origin returns the origin of an absolute URL as a browser writes it, or "".
func Origin(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return ""
	}
	return strings.ToLower(u.Scheme) + "://" + strings.ToLower(u.Host)
}
