package idptest

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// vendor is what one does its own way.
type vendor struct {
	name, title string
	at          string         // what its Base has after its name
	issuer      string         // what its issuer has after its Base
	inner       *regexp.Regexp // a tenant, realm or version before every path

	// Paths below its base; what it has in several places is listed for each.
	authorize, tokens []string
	discovery, jwks   []string
	profiles          map[string]shape
	userinfo          string // the one of them that discovery names

	openid      openid
	auth        auth
	refresh     string // the scope that gets a refresh token; "*": none is needed, "": there are none
	keeps       bool   // a refresh token is used again and again
	lasting     string // the scope that makes access tokens last until they are revoked; "*": they always do
	public      bool   // a client needs no secret
	pkce        bool   // is required
	anyCase     bool   // code_challenge_method=s256 is fine
	get         bool   // parameters may come in the query
	form        bool   // answers a token in a form, unless JSON is asked for
	noRedirect  bool   // the token endpoint does without redirect_uri
	iss         bool   // names itself in the authorization response (RFC 9207)
	emailScopes []string
	nameScopes  []string
	cancelled   map[string]string // what the redirect says of a person who said no, beyond access_denied

	objects func(url.Values) (code, text string)           // to an authorization request
	lands   func(*ask, url.Values)                         // adds to the redirect
	redeems func(*grant, url.Values) *refusal              // objects to a code's use
	answers func(*ask, map[string]any)                     // changes the answer with tokens
	claims  func(*ask, map[string]any)                     // changes ID token and userinfo
	refused func(*call, *refusal) (status int, answer any) // nil: as RFC 6749 has it
}

// openid is when a vendor gives an ID token.
type openid int

const (
	never  openid = iota
	scoped        // when openid is among the scopes
	always
)

// auth is where a vendor wants the client's secret.
type auth int

const (
	anywhere auth = iota
	inHeader
	inBody
)

// vendors lists all.
func vendors() map[string]vendor {
	all := map[string]vendor{}
	for _, list := range [][]vendor{openidVendors(), codeVendors(), peopleVendors(), workVendors()} {
		for _, v := range list {
			all[v.name] = v
		}
	}
	return all
}

// endpoint is what there is at a path.
func (v vendor) endpoint(path string) (what string, do func(*call, http.ResponseWriter)) {
	switch {
	case slices.Contains(v.authorize, path):
		return "authorize", authorize
	case slices.Contains(v.tokens, path):
		return "token", token
	case slices.Contains(v.jwks, path):
		return "jwks", jwks
	case slices.Contains(v.discovery, path):
		return "discovery", discovery
	case v.profiles[path] != nil:
		return "userinfo", userinfo
	}
	return "", nil
}

func (v vendor) refusal(c *call, no *refusal) (int, any) {
	if v.refused != nil {
		return v.refused(c, no)
	}
	return no.status, map[string]any{"error": no.code, "error_description": no.text}
}

func (v vendor) lasts(g *grant) bool {
	return v.lasting == "*" || v.lasting != "" && g.asked(v.lasting)
}

func (v vendor) refreshes(g *grant) bool {
	name, want, param := strings.Cut(v.refresh, "=")
	switch {
	case v.refresh == "":
		return false
	case v.refresh == "*":
		return true
	case param:
		return g.query.Get(name) == want
	}
	return g.asked(v.refresh)
}

// issuer is the iss of tokens made for this request.
func (c *call) issuer() string {
	if c.v.name == "azure" {
		return c.p.url + "/azure/" + c.tenantOf() + "/v2.0"
	}
	if c.v.name == "facebook" {
		return c.p.url + "/facebook" // which has no version
	}
	if c.v.at != "" && c.tenant == "" {
		return c.base + c.v.at + c.v.issuer
	}
	return c.base + c.v.issuer
}

const discoveryPath = "/.well-known/openid-configuration"

// discovery is the provider's own description (OpenID Connect Discovery §3).
func discovery(c *call, w http.ResponseWriter) {
	v := c.v
	m := map[string]any{
		"issuer":                                c.issuer(),
		"jwks_uri":                              c.base + v.jwks[0],
		"response_types_supported":              []string{"code"},
		"response_modes_supported":              []string{"query", "form_post"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{"RS256", "ES256"},
		"scopes_supported":                      []string{"openid", "email", "profile"},
		"claims_supported":                      []string{"aud", "email", "email_verified", "exp", "iat", "iss", "name", "sub"},
	}
	if len(v.authorize) > 0 {
		m["authorization_endpoint"] = c.base + v.authorize[0]
		m["token_endpoint"] = c.base + v.tokens[0]
		m["grant_types_supported"] = []string{"authorization_code", "refresh_token"}
		m["code_challenge_methods_supported"] = []string{"S256"}
		m["token_endpoint_auth_methods_supported"] = map[auth][]string{
			anywhere: {"client_secret_basic", "client_secret_post"}, inHeader: {"client_secret_basic"}, inBody: {"client_secret_post"},
		}[v.auth]
	}
	if v.userinfo != "" {
		m["userinfo_endpoint"] = c.base + v.userinfo
	}
	if v.iss {
		m["authorization_response_iss_parameter_supported"] = true
	}
	if v.name == "azure" && c.tenant != "" && c.tenantOf() != c.tenant {
		m["issuer"] = c.p.url + "/azure/{tenantid}/v2.0" // one document for all tenants
	}
	writeJSON(w, http.StatusOK, m)
}
