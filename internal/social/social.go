// Package social knows those who keep other people's accounts, and asks them who
// somebody is: over OAuth 2.0 and OpenID Connect, through package fetch.
//
// Begin at Providers.AuthURL and Providers.Exchange, the way out and back.
// providers.go lists the vendors as data; a file of its own is only there for
// odd ones. verify.go judges ID tokens, keys.go remembers whose signature counts.
//
// It must never choose an issuer from what a request says, take an address as
// proved that its keeper does not vouch for, fetch a picture, or let a code, a
// token or a secret into an error.
package social

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"gatehouse/internal/fetch"
)

// Settings are those of one provider in one tenant.
type Settings struct {
	Name    string // as in the list of providers, or "custom:…"
	Enabled bool
	// ClientIDs are who we are to the provider. The first one signs in; ID tokens
	// that apps bring may be for any.
	ClientIDs   []string
	Secret      string
	RedirectURI string
	// URL stands in for the vendor's own address, where people run their own; for
	// Entra it names the tenant, for Keycloak the realm. APIURL is where profiles
	// are, if they are elsewhere; empty: URL.
	URL, APIURL    string
	EmailOptional  bool // for whoever decides about accounts; nothing here asks
	Lasting        bool // profiles will be asked for again: a refresh token is asked for where there is none without
	SkipNonceCheck bool // the provider's libraries leave the nonce out, or make it up
	Apple          AppleKey

	// What follows is of providers added at run time.
	Kind                 string // "oidc" or "oauth2"; empty: one of the list
	Title                string
	Issuer, DiscoveryURL string // of oidc; DiscoveryURL empty: the usual place
	AuthURL, TokenURL    string // of oauth2
	UserinfoURL          string // of oauth2
	Scopes               []string
	PKCE                 bool
	AttributeMapping     map[string]any    // our name of a claim → theirs, or a value that is no string, as it is
	ClaimsAllowlist      []string          // of custom_claims; empty: none
	AuthParams           map[string]string // sent along to the sign-in page
	AcceptableClientIDs  []string          // further audiences of ID tokens
}

// AppleKey is what Apple's client secrets are made of.
type AppleKey struct {
	TeamID, KeyID string
	PrivateKey    string // PEM, PKCS #8, P-256
}

// Request is somebody about to leave for the provider's page.
type Request struct {
	State, Nonce, Verifier string
	Scopes                 string              // besides the usual ones; separated by spaces or commas
	Extra                  map[string][]string // passed on, but for what belongs to the protocol
}

// Answer is what came back from there.
type Answer struct {
	Code            string
	Verifier, Nonce string // as in Request
	Issuer          string // the iss parameter (RFC 9207)
	Form            string // Apple's user field
}

// Token is an ID token that an app brings.
type Token struct {
	Raw         string
	AccessToken string // may be empty; kept only if the ID token vouches for it
	Nonce       string // as the app made it up; the ID token has its SHA-256
}

// Tokens are what the provider is asked with on somebody's behalf.
type Tokens struct {
	Access, Refresh string
	ExpiresAt       time.Time // of Access; zero: not told
	Scopes          string    // separated by spaces
}

// Profile is somebody's account with a provider. Issuer and Subject are its key;
// the address is not.
type Profile struct {
	Issuer, Subject string
	Email           string // as the provider writes it, or empty: some do not tell it each time
	EmailVerified   bool   // the provider says that its owner reads mail there
	Phone           string // only if the provider has seen that it is theirs
	Data            map[string]any
	Tokens          Tokens
}

// Options of New.
type Options struct {
	Fetch    *fetch.Client
	Now      func() time.Time
	Settings []Settings
	// Custom returns the settings of a provider added at run time; without a
	// Name: there is none. Its error is handed on as it is. Nil: there are none.
	Custom func(ctx context.Context, name string) (Settings, error)
	// Keys are shared by the whole process. Nil: its own.
	Keys *Keys
	Log  *slog.Logger // of failures that are got over; nil: none
}

// Providers are those of one tenant. It is safe for concurrent use: nothing in
// it changes after New, and every call works on settings of its own (CVE-2026-33544
// tinyauth: two sign-ins at once got each other's profile).
type Providers struct {
	clients map[string]*fetch.Client // of each known provider, with places of its own
	others  *fetch.Client            // of all that were added at run time
	now     func() time.Time
	known   map[string]Settings
	custom  func(ctx context.Context, name string) (Settings, error)
	keys    *Keys
}

// customPrefix begins the names of providers that were added at run time.
const customPrefix = "custom:"

// callTimeout is how long one request to a provider may take. A person waits.
const callTimeout = 3 * time.Second

// maxAnswer is how long an answer may be.
const maxAnswer = 256 << 10

// atOnce is how many requests to one provider may be under way for one tenant: one
// that hangs keeps out those who come by it, and nobody else.
const atOnce = 8

func within(c *fetch.Client, most int) *fetch.Client {
	return c.Within(fetch.Limits{Timeout: callTimeout, MaxBytes: maxAnswer, MaxConcurrent: most})
}

// client is how a provider is asked.
func (p *Providers) client(name string) *fetch.Client {
	if c := p.clients[name]; c != nil {
		return c
	}
	return p.others
}

// New returns the providers of o. It asks nobody yet.
func New(o Options) *Providers {
	p := &Providers{
		clients: map[string]*fetch.Client{}, others: within(o.Fetch, 2*atOnce),
		now: o.Now, known: map[string]Settings{}, custom: o.Custom, keys: o.Keys,
	}
	if p.keys == nil {
		p.keys = NewKeys(KeysOptions{Fetch: o.Fetch, Now: o.Now, Log: o.Log})
	}
	for _, s := range o.Settings {
		p.known[s.Name] = s
		if s.Enabled {
			p.clients[s.Name] = within(o.Fetch, atOnce)
		}
	}
	return p
}

// Names are the providers of the list that are enabled, in order.
func (p *Providers) Names() []string {
	var names []string
	for name, s := range p.known {
		if s.Enabled && find(name) != nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Known are all providers of the list, enabled or not, in order.
func Known() []string {
	var names []string
	for i := range providers {
		names = append(names, providers[i].name)
	}
	slices.Sort(names)
	return names
}

// Title is what people call the provider of that name.
func (p *Providers) Title(ctx context.Context, name string) (string, error) {
	s, lit, err := p.settings(ctx, name)
	switch {
	case err != nil:
		return "", err
	case s.Title != "":
		return s.Title, nil
	case lit.title != "":
		return lit.title, nil
	}
	return name, nil
}

// settings finds the settings of a provider and its literal.
func (p *Providers) settings(ctx context.Context, name string) (Settings, *provider, error) {
	var s Settings
	lit := find(name)
	switch {
	case strings.HasPrefix(name, customPrefix):
		if p.custom != nil {
			var err error
			if s, err = p.custom(ctx, name); err != nil {
				return Settings{}, nil, err
			}
		}
		if s.Name != name {
			return Settings{}, nil, &Error{Kind: Unknown, Problem: name}
		}
		lit = customOf(s.Kind)
	case lit != nil:
		s = p.known[name]
	}
	switch {
	case lit == nil:
		return Settings{}, nil, &Error{Kind: Unknown, Problem: name}
	case !s.Enabled:
		return Settings{}, nil, &Error{Kind: Disabled, Problem: name}
	case len(s.ClientIDs) == 0 || s.ClientIDs[0] == "":
		return Settings{}, nil, failed("%s has no client id", name)
	}
	return s, lit, nil
}
