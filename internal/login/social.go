package login

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"gatehouse/internal/auth"
	"gatehouse/internal/social"
)

// socials judges who comes back from the pages of whoever keeps their account.
type socials struct{ providers *social.Providers }

func (socials) Name() string { return "social" }

// Start tells where the sign-in page is.
func (m socials) Start(ctx context.Context, _ *auth.Kit, j *auth.Journey) (string, error) {
	url, err := m.providers.AuthURL(ctx, j.Provider, social.Request{
		State: j.State, Nonce: j.Nonce, Verifier: j.Verifier, Scopes: j.Scopes(), Extra: j.Extra(),
	})
	return url, told(err)
}

func (m socials) Finish(ctx context.Context, k *auth.Kit, in auth.Input) (auth.Verdict, error) {
	j := in.Journey
	if j == nil || j.Method != m.Name() {
		return nil, &auth.Error{Code: auth.StateFailed}
	}
	p, err := m.providers.Exchange(ctx, j.Provider, social.Answer{
		Code: in.Token, Verifier: j.Verifier, Nonce: j.Nonce, Issuer: in.Issuer, Form: in.Form,
	})
	if err != nil {
		return nil, told(err)
	}
	return k.Vouch(in, account(ctx, m.providers, j.Provider, p)), nil
}

// Recheck asks for the profile again.
func (m socials) Recheck(ctx context.Context, _ *auth.Kit, provider string, t auth.Tokens) (auth.Account, error) {
	p, err := m.providers.Refetch(ctx, provider, social.Tokens(t))
	if err != nil {
		return auth.Account{}, told(err)
	}
	return account(ctx, m.providers, provider, p), nil
}

// Renew trades a refresh token for tokens that are good again.
func (m socials) Renew(ctx context.Context, _ *auth.Kit, provider string, t auth.Tokens) (auth.Tokens, error) {
	next, err := m.providers.Refresh(ctx, provider, social.Tokens(t))
	return auth.Tokens(next), told(err)
}

// idTokens judges an ID token that an application got from the provider by
// itself.
type idTokens struct {
	providers *social.Providers
	issuers   []string
}

func (idTokens) Name() string { return "idtoken" }

func (m idTokens) Finish(ctx context.Context, k *auth.Kit, in auth.Input) (auth.Verdict, error) {
	if in.Provider == "" {
		problem := "Issuer is not allowed"
		if slices.Contains(m.issuers, in.Issuer) {
			problem = "No provider of this issuer is enabled"
			in.Provider = m.providers.OfIssuer(ctx, in.Issuer) // which picks one of those that are there, and makes none (CVE-2026-31813)
		}
		if in.Provider == "" {
			return nil, &auth.Error{Code: auth.IDTokenFailed, Params: map[string]any{"problem": problem}}
		}
	}
	p, err := m.providers.IDToken(ctx, in.Provider, social.Token{Raw: in.Token, AccessToken: in.AccessToken, Nonce: in.Nonce})
	switch social.KindOf(err) {
	case social.BadToken, social.Audience, social.Nonce:
		return nil, &auth.Error{Code: auth.IDTokenFailed, Err: err, Params: problem(err)}
	}
	if err != nil {
		return nil, told(err)
	}
	return k.Vouch(in, account(ctx, m.providers, in.Provider, p)), nil
}

// account is what a provider vouches for. Its issuer is never empty: accounts that
// an operator's server links have none, and must not be met.
func account(ctx context.Context, all *social.Providers, provider string, p *social.Profile) auth.Account {
	return auth.Account{
		Provider: provider, Issuer: cmp.Or(p.Issuer, provider), Subject: p.Subject, Email: p.Email, EmailVerified: p.EmailVerified, Phone: p.Phone,
		Data: p.Data, Tokens: auth.Tokens(p.Tokens), AMR: "oauth", EmailOptional: p.Email == "" && all.EmailOptional(ctx, provider),
	}
}

// codes are what a client is told of each kind of failure.
var codes = map[social.Kind]auth.Code{
	social.Unknown: auth.ProviderUnknown, social.Disabled: auth.ProviderDisabled, social.Refused: auth.ProviderRefused,
	social.Unavailable: auth.ProviderUnavailable, social.Code: auth.ProviderCode,
}

func told(err error) error {
	if err == nil {
		return nil
	}
	kind := social.KindOf(err)
	if kind == "" {
		return err
	}
	code := codes[kind]
	if code == "" {
		code = auth.ProviderFailed
	}
	return &auth.Error{Code: code, Err: err, Params: problem(err)}
}

func problem(err error) map[string]any {
	e, ok := errors.AsType[*social.Error](err)
	if !ok || e.Problem == "" {
		return nil
	}
	return map[string]any{"problem": e.Problem}
}
