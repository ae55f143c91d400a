package main

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/config"
	"gatehouse/internal/dialect/gotrue"
	"gatehouse/internal/login"
	"gatehouse/internal/saml"
	"gatehouse/internal/social"
	"gatehouse/internal/tenants"
	"gatehouse/internal/web"
)

// waysOf are what the ways in of a tenant stand on that lead elsewhere.
func (h *house) waysOf(s *site) (o login.Options, err error) {
	s.providers = h.providersOf(s.cfg, func() *auth.Service { return s.auth })
	o.Social, o.Issuers = s.providers, s.cfg.Providers.Issuers
	o.Web3, err = walletsOf(s.cfg)
	if err != nil {
		return o, err
	}
	o.SAML, s.described, err = h.samlOf(s.cfg)
	return o, err
}

// title is what people call a provider; empty: there is none of that name.
func (s *site) title(ctx context.Context, provider string) string {
	title, err := s.providers.Title(ctx, provider)
	if err != nil {
		return ""
	}
	return title
}

// providersOf are those whose accounts sign people in to a tenant.
func (h *house) providersOf(cfg *config.Config, core func() *auth.Service) *social.Providers {
	p := &cfg.Providers
	o := social.Options{
		Fetch: h.out, Now: h.db.Now, Keys: h.providerKeys, Log: h.log,
	}
	for _, n := range p.All() {
		s := social.Settings{
			Name: n.Name, Enabled: n.Enabled, ClientIDs: n.ClientIDs, Secret: n.Secret.Reveal(),
			RedirectURI: cmp.Or(n.RedirectURI, callback(cfg.Server.ExternalURL)), URL: n.URL, APIURL: n.APIURL,
			EmailOptional: n.EmailOptional, SkipNonceCheck: n.SkipNonceCheck, Lasting: p.Recheck > 0,
		}
		if n.Name == "apple" {
			s.Apple = social.AppleKey{TeamID: p.AppleTeam, KeyID: p.AppleKeyID, PrivateKey: p.ApplePEM()}
			if p.IOSBundleID != "" {
				s.AcceptableClientIDs = []string{p.IOSBundleID}
			}
		}
		o.Settings = append(o.Settings, s)
	}
	if p.Custom {
		o.Custom = func(ctx context.Context, name string) (social.Settings, error) {
			c, secret, err := core().CustomProviderToUse(ctx, name)
			if err != nil {
				return social.Settings{}, err
			}
			return customSettings(c, secret, callback(cmp.Or(p.CustomURL, cfg.Server.ExternalURL))), nil
		}
	}
	return social.New(o)
}

// customSettings are those of a provider that was added at run time.
func customSettings(c *auth.CustomProvider, secret, back string) social.Settings {
	return social.Settings{
		Name: c.Name, Enabled: !c.Disabled, ClientIDs: []string{c.ClientID}, Secret: secret, RedirectURI: back,
		EmailOptional: c.EmailOptional, SkipNonceCheck: c.SkipNonceCheck, Kind: c.Kind, Title: c.Title,
		Issuer: c.Issuer, DiscoveryURL: c.DiscoveryURL, AuthURL: c.AuthURL, TokenURL: c.TokenURL, UserinfoURL: c.UserinfoURL,
		Scopes: c.Scopes, PKCE: c.PKCE, AttributeMapping: c.AttributeMapping, ClaimsAllowlist: c.ClaimsAllowlist,
		AuthParams: c.AuthParams, AcceptableClientIDs: c.AcceptableClientIDs,
	}
}

// callback is where providers send people back to.
func callback(external string) string { return strings.TrimSuffix(external, "/") + "/callback" }

// walletsOf says which wallets sign in, and for which sites.
func walletsOf(cfg *config.Config) (login.Web3, error) {
	if !cfg.Web3.Ethereum.Enabled && !cfg.Web3.Solana.Enabled || cfg.Site.URL == "" { // of an offline verb
		return login.Web3{}, nil
	}
	redirects, err := web.NewRedirects(cfg.Site.URL, cfg.Site.Redirects)
	if err != nil {
		return login.Web3{}, err
	}
	age := func(on bool, most time.Duration) time.Duration {
		if !on {
			return 0
		}
		return most
	}
	w := cfg.Web3
	return login.Web3{
		Ethereum: age(w.Ethereum.Enabled, w.Ethereum.MaxAge), Solana: age(w.Solana.Enabled, w.Solana.MaxAge), Allowed: redirects.Allowed,
	}, nil
}

// samlOf is a tenant as a SAML service provider; nil: it is none.
func (h *house) samlOf(cfg *config.Config) (*login.SAML, func() ([]byte, error), error) {
	var m login.SAML
	var described func() ([]byte, error)
	c := cfg.SAML
	if c.Enabled {
		base := strings.TrimSuffix(cmp.Or(c.URL, cfg.Server.ExternalURL), "/")
		sp, err := saml.New(saml.Options{
			EntityID: base + "/sso/saml/metadata", ACS: base + "/sso/saml/acs", Key: []byte(c.PrivateKey.Reveal()), NextKey: []byte(c.NextKey.Reveal()),
			AllowEncrypted: c.Encrypted, AllowHTTP: h.out.AllowsPrivate(), Now: h.db.Now,
		})
		if err != nil {
			return nil, nil, fmt.Errorf("SAML: %w", err)
		}
		m.Own, described = sp, sp.Metadata
	}
	if n := c.Netlify; n.Enabled {
		base := strings.TrimSuffix(cmp.Or(n.APIBase, cfg.Server.ExternalURL), "/")
		sp, err := saml.New(saml.Options{
			EntityID: base + "/saml", ACS: base + "/saml/acs", Key: []byte(n.SigningKey.Reveal()), Cert: []byte(n.SigningCert),
			AllowHTTP: h.out.AllowsPrivate(), Now: h.db.Now,
		})
		if err != nil {
			return nil, nil, fmt.Errorf("SAML as for Netlify: %w", err)
		}
		m.Netlify, m.NetlifyIdP = sp, h.metadataOf(n.MetadataURL)
		if described == nil {
			described = sp.Metadata
		}
	}
	if m.Own == nil && m.Netlify == nil {
		return nil, nil, nil
	}
	return &m, described, nil
}

// metadataOf fetches the description of Netlify's one identity provider when it is
// first asked for, and a day later again. One that cannot be had anew stays.
func (h *house) metadataOf(url string) func(context.Context) (saml.IdP, error) {
	var mu sync.Mutex
	var idp saml.IdP
	var next time.Time
	return func(ctx context.Context) (saml.IdP, error) {
		mu.Lock()
		defer mu.Unlock()
		now := h.db.Now()
		if now.Before(next) && idp.EntityID != "" {
			return idp, nil
		}
		if now.Before(next) {
			return idp, errors.New("the metadata of EXTERNAL_SAML_METADATA_URL could not be had just now")
		}
		md, err := h.readIdP(context.WithoutCancel(ctx), nil, url) // one visitor who leaves closes no door
		switch {
		case err == nil && idp.EntityID != "" && md.EntityID != idp.EntityID:
			err = errors.New("the metadata of EXTERNAL_SAML_METADATA_URL are another provider's now")
			fallthrough
		case err != nil:
			next = now.Add(10 * time.Second)
			if idp.EntityID != "" {
				h.log.Warn("metadata could not be read anew", "err", err)
				return idp, nil
			}
			return idp, err
		}
		idp, next = saml.IdP{EntityID: md.EntityID, Metadata: md.XML}, now.Add(24*time.Hour)
		return idp, nil
	}
}

// readIdP reads what an identity provider says about itself, and fetches it first
// where an address is given.
func (h *house) readIdP(ctx context.Context, xml []byte, url string) (auth.IdPMetadata, error) {
	if url != "" {
		var err error
		xml, _, err = h.metadata.Get(ctx, url)
		if err != nil {
			return auth.IdPMetadata{}, err
		}
	}
	var allow []saml.Allow
	if h.out.AllowsPrivate() {
		allow = append(allow, saml.AllowHTTP)
	}
	d, err := saml.ReadMetadata(xml, allow...)
	if err != nil {
		problem := "The metadata could not be read"
		if e, ok := errors.AsType[*saml.Error](err); ok {
			problem = e.Problem
		}
		return auth.IdPMetadata{}, &auth.Error{Code: auth.MetadataFailed, Err: err, Params: map[string]any{"problem": problem}}
	}
	return auth.IdPMetadata{EntityID: d.EntityID, XML: xml, ValidUntil: d.ValidUntil}, nil
}

// outsideAddress judges where a provider or a company may be: inside only where
// the operator allows it.
func (h *house) outsideAddress(address string) error {
	if h.out.AllowsPrivate() || strings.HasPrefix(address, "https://") {
		return nil
	}
	return errors.New("The address must begin with https://") //nolint:staticcheck // a client reads it
}

// samlName is what the button of Netlify's one identity provider says; empty: there
// is none.
func samlName(n config.NetlifySAML) string {
	if !n.Enabled {
		return ""
	}
	return cmp.Or(n.Name, "SAML")
}

// stateTail says whose a journey is where tenants share an address and a proxy in
// front tells them apart: it is not there when somebody comes back from elsewhere.
func (h *house) stateTail(p *plan, t auth.Tenant, variant string) func(time.Duration) string {
	if !p.base.Tenants.Multi || t.ID.IsZero() {
		return nil
	}
	return func(life time.Duration) string {
		body, err := json.Marshal(signedState{Tenant: t.ID, Variant: variant, EndsAt: h.db.Now().Add(life)})
		if err != nil {
			return "" // nobody comes back, and is told so
		}
		return base64.RawURLEncoding.EncodeToString(h.root.Seal(stateSeal, nil, body))
	}
}

// signedState is whose a journey is. It is sealed: everybody on the way reads a
// state, and it must neither tell where the hooks of a site are, nor be good for
// what the header of the proxy is.
type signedState struct {
	Tenant  auth.TenantID `json:"tenant"`
	Variant string        `json:"variant"`
	EndsAt  time.Time     `json:"ends_at"`
}

const stateSeal = "state of a tenant"

// comesBack tells for whom a browser comes back from elsewhere.
func (h *house) comesBack(r *http.Request) (key tenants.Key, ok bool) {
	tail := gotrue.StateTail(r)
	if tail == "" || r.Header.Get("X-Nf-Sign") != "" {
		return key, false
	}
	sealed, err := base64.RawURLEncoding.DecodeString(tail)
	if err == nil {
		sealed, err = h.root.Open(stateSeal, nil, sealed)
	}
	var s signedState
	if err == nil {
		err = json.Unmarshal(sealed, &s)
	}
	if err != nil || !h.db.Now().Before(s.EndsAt) {
		return key, false
	}
	return tenants.Key{ID: s.Tenant, Variant: s.Variant}, true
}

// linking is the operator's word on accounts elsewhere.
func linking(word string) auth.Linking {
	return auth.Linking(max(0, slices.Index([]string{"verified", "never", "refuse"}, word)))
}
