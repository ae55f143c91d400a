package social

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// provider is all that is known of a vendor before anybody configures it. It is
// never written to. In addresses {url} and {api} are the vendor's own or those
// of Settings.
type provider struct {
	name, title string
	url, api    string // where the vendor is; without url, Settings must say
	apiPath     string // of the API, where somebody runs the vendor's software at an address of their own

	// issuer is what ID tokens say, and part of the account's key. Whoever has no
	// signInURL has a discovery document, at discoveryURL or the usual place.
	issuer, discoveryURL            string
	signInURL, tokenURL, refreshURL string // refreshURL empty: tokenURL
	userinfoURL, jwksURL            string
	scopes                          []string
	commas                          bool // between scopes
	pkce                            bool // documented; discovery may say so as well
	clientAuth                      clientAuth
	params                          map[string]string                                   // of the sign-in page
	oidc                            bool                                                // the code brings an ID token
	ownNonce                        bool                                                // the nonce does not come back
	asks                            bool                                                // the ID token does not say all, userinfo does
	apps                            bool                                                // ID tokens that apps bring are taken
	anyPresenter                    bool                                                // those may have been given to another of our clients (azp)
	noCode                          bool                                                // there is nothing but those
	refreshes                       bool                                                // the profile comes with new tokens only
	lasting                         []string                                            // scopes that bring a refresh token
	lastingParams                   map[string]string                                   // likewise, parameters of the sign-in page
	profile                         func(ctx context.Context, v *visit) (person, error) // nil: it is in the ID token
	claims                          func(v *visit, c claims, p *person)                 // nil: as OpenID Connect Core §5.1 has it
	issuerOf                        func(r *remote, c claims) string                    // nil: issuer
	discovered                      func(r *remote, m metadata) bool                    // nil: the issuer is the one
}

// clientAuth is how we say who we are (RFC 6749 §2.3.1).
type clientAuth int

const (
	inBody clientAuth = iota
	inHeader
	inEither // header first: servers have to know that, though not all do
)

// remote is a provider as one request meets it: its literal under the tenant's
// settings. It is made anew each time and shared with nobody.
type remote struct {
	*provider
	p *Providers
	s Settings

	base, apiBase                            string
	iss                                      string
	signInAt, tokenAt, refreshAt, userinfoAt string
	jwksAt                                   string
	pkceKnown, sendsIssuer                   bool
	clientAuth                               clientAuth
	algs                                     []jose.SignatureAlgorithm
}

// defaultAlgs are those of an issuer that does not say (OpenID Connect Core §3.1.3.7).
var defaultAlgs = []jose.SignatureAlgorithm{jose.RS256}

// usableAlgs are all that are ever accepted. "none" and those with a shared
// secret are not: a public key is no secret.
var usableAlgs = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// remote resolves a provider. It asks nobody.
func (p *Providers) remote(ctx context.Context, name string) (*remote, error) {
	s, lit, err := p.settings(ctx, name)
	if err != nil {
		return nil, err
	}
	r := &remote{provider: lit, p: p, s: s, clientAuth: lit.clientAuth, algs: defaultAlgs, pkceKnown: lit.pkce}
	switch s.Kind {
	case "oidc":
		r.iss, r.pkceKnown = s.Issuer, s.PKCE
		if r.iss == "" {
			return nil, failed("%s has no issuer", name)
		}
		return r, nil
	case "oauth2":
		r.signInAt, r.tokenAt, r.refreshAt, r.userinfoAt = s.AuthURL, s.TokenURL, s.TokenURL, s.UserinfoURL
		if r.iss, r.pkceKnown = s.Issuer, s.PKCE; r.iss == "" {
			r.iss = originOf(s.UserinfoURL) // who vouches for the profile
		}
		return r, r.checkSignIn()
	}
	if lit.jwksURL != "" {
		r.algs = usableAlgs // no document tells, but each key serves one kind of signature
	}
	r.base, r.apiBase = lit.url, lit.api
	if r.apiBase == "" {
		r.apiBase = lit.url
	}
	if own := strings.TrimRight(s.URL, "/"); own != "" && own != lit.url {
		r.base, r.apiBase = own, own+lit.apiPath
	}
	if own := strings.TrimRight(s.APIURL, "/"); own != "" && own != lit.api {
		if r.apiBase = own; !strings.HasSuffix(own, lit.apiPath) {
			r.apiBase += lit.apiPath
		}
	}
	if r.base == "" {
		return nil, failed("%s has no URL", name)
	}
	fill := strings.NewReplacer("{url}", r.base, "{api}", r.apiBase)
	r.iss = fill.Replace(lit.issuer)
	r.signInAt, r.tokenAt, r.refreshAt = fill.Replace(lit.signInURL), fill.Replace(lit.tokenURL), fill.Replace(lit.refreshURL)
	r.userinfoAt, r.jwksAt = fill.Replace(lit.userinfoURL), fill.Replace(lit.jwksURL)
	if r.iss == "" {
		r.iss = r.base
	}
	if r.refreshAt == "" {
		r.refreshAt = r.tokenAt
	}
	return r, r.checkSignIn()
}

// checkSignIn makes sure a browser is sent to a web page, and over TLS.
func (r *remote) checkSignIn() error {
	if r.signInAt == "" {
		return nil
	}
	u, err := url.Parse(r.signInAt)
	if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !r.p.others.AllowsPrivate()) {
		return failed("the sign-in page of %s is at no address to send people to", r.s.Name)
	}
	return nil
}

// discover fills in what the issuer says of itself, where the literal does not.
func (r *remote) discover(ctx context.Context) error {
	at := r.s.DiscoveryURL
	if at == "" && r.discoveryURL != "" {
		at = strings.NewReplacer("{url}", r.base, "{api}", r.apiBase).Replace(r.discoveryURL)
	}
	if at == "" {
		at = strings.TrimSuffix(r.iss, "/") + "/.well-known/openid-configuration"
	}
	m, err := r.p.keys.discovery(ctx, at)
	if err != nil {
		return err
	}
	// Whoever may write the document may name any keys in it, so it must be that
	// of the issuer we know (OpenID Connect Discovery §4.3).
	if r.discovered != nil {
		if !r.discovered(r, m) {
			return failed("the discovery document of %s is another issuer's", r.s.Name)
		}
	} else if m.Issuer != r.iss {
		return failed("the discovery document of %s is another issuer's", r.s.Name)
	}
	r.signInAt, r.tokenAt, r.refreshAt = orElse(r.signInAt, m.Auth), orElse(r.tokenAt, m.Token), orElse(r.refreshAt, m.Token)
	r.userinfoAt, r.jwksAt = orElse(r.userinfoAt, m.Userinfo), orElse(r.jwksAt, m.JWKS)
	r.sendsIssuer = m.SendsIssuer
	r.pkceKnown = r.pkceKnown || slices.Contains(m.Challenges, "S256")
	if r.s.Kind == "oidc" {
		r.clientAuth = inHeader // the default of §3
		if len(m.AuthMethods) > 0 && !slices.Contains(m.AuthMethods, "client_secret_basic") {
			r.clientAuth = inBody
		}
	}
	if len(m.Algs) > 0 {
		r.algs = nil
		for _, a := range usableAlgs {
			if slices.Contains(m.Algs, string(a)) {
				r.algs = append(r.algs, a)
			}
		}
		if len(r.algs) == 0 {
			return failed("%s signs with nothing that could be trusted", r.s.Name)
		}
	}
	return r.checkSignIn()
}

// signsIn makes the sign-in endpoints known.
func (r *remote) signsIn(ctx context.Context) error {
	if r.noCode {
		return &Error{Kind: Disabled, Problem: r.s.Name}
	}
	if r.signInAt == "" || r.tokenAt == "" {
		if err := r.discover(ctx); err != nil {
			return err
		}
	}
	if r.signInAt == "" || r.tokenAt == "" {
		return failed("%s does not say where its endpoints are", r.s.Name)
	}
	return nil
}

func orElse(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func originOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// hostOf is what of an address may be logged.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "an unreadable address"
	}
	return u.Host
}
