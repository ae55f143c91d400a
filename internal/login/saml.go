package login

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"gatehouse/internal/auth"
	"gatehouse/internal/saml"
)

// SAML has companies' own identity providers judge who somebody is.
type SAML struct {
	Own *saml.ServiceProvider // as those know us whom administrators add; nil: there are none

	// The one identity provider of a site that was set up as for Netlify's server,
	// and as which it knows us; nil: there is none.
	Netlify    *saml.ServiceProvider
	NetlifyIdP func(context.Context) (saml.IdP, error)
}

// NetlifyIdP is the name of Netlify's one identity provider, and what its users
// are known by.
const NetlifyIdP = "saml"

// Name implements auth.Method.
func (*SAML) Name() string { return "saml" }

// requests is what the ids of requests are derived for: an answer to one repeats
// it, and brings the state it was derived from.
const requests = "saml request"

// Start implements auth.Starter.
func (m *SAML) Start(ctx context.Context, k *auth.Kit, j *auth.Journey) (string, error) {
	sp := m.Own
	var idp saml.IdP
	if j.Provider == NetlifyIdP {
		if m.Netlify == nil {
			return "", &auth.Error{Code: auth.ProviderDisabled, Params: map[string]any{"problem": j.Provider}}
		}
		var err error
		sp = m.Netlify
		idp, err = m.NetlifyIdP(ctx)
		if err != nil {
			return "", &auth.Error{Code: auth.ProviderUnavailable, Err: err}
		}
	} else {
		conn, err := k.SSO(ctx, j.Provider)
		if err == nil && m.Own == nil {
			err = &auth.Error{Code: auth.SAMLDisabled}
		}
		if err != nil {
			return "", err
		}
		j.Provider, idp = conn.ID.String(), idpOf(conn)
	}
	url, err := sp.SignIn(idp, k.Derived(requests, j.State), j.State)
	if err != nil {
		return "", &auth.Error{Code: auth.ProviderFailed, Err: err}
	}
	return url, nil
}

// Receive implements auth.Receiver: it judges an assertion, which is good once.
func (m *SAML) Receive(ctx context.Context, k *auth.Kit, in auth.Input) (a auth.Account, err error) {
	issuer, err := saml.Issuer(in.Token) // as it says: to know whose signature to look for
	if err != nil {
		return a, refused(err)
	}
	request := ""
	if in.State != "" {
		request = k.Derived(requests, in.State)
	}
	if m.Netlify != nil {
		idp, err := m.NetlifyIdP(ctx)
		if err == nil && idp.EntityID == issuer {
			as, err := m.read(ctx, k, m.Netlify, idp, in.Token, request)
			if err != nil {
				return a, err
			}
			return m.account(as, saml.Mapping{}, NetlifyIdP)
		}
	}
	conn, err := k.SSOByEntity(ctx, issuer)
	if err == nil && m.Own == nil {
		err = &auth.Error{Code: auth.SAMLDisabled}
	}
	if err != nil {
		return a, err
	}
	as, err := m.read(ctx, k, m.Own, idpOf(conn), in.Token, request)
	if err != nil {
		return a, err
	}
	var mapping saml.Mapping
	if len(conn.AttributeMapping) > 0 {
		err = json.Unmarshal(conn.AttributeMapping, &mapping)
		if err != nil {
			return a, err
		}
	}
	a, err = m.account(as, mapping, auth.SSOProvider(conn.ID))
	if err != nil {
		return a, err
	}
	speaks, err := k.SpeaksFor(ctx, conn, a.Email)
	if err == nil && !speaks {
		err = &auth.Error{Code: auth.AssertionFailed, Params: map[string]any{"problem": "The identity provider does not speak for the domain of that address"}}
	}
	a.SSO, a.Apart = true, len(conn.Domains) == 0 // one that may name anybody joins nobody (CVE-2025-23389 Rancher)
	return a, err
}

// read judges an assertion and spends it (CVE-2026-18967: it must not come twice).
func (m *SAML) read(ctx context.Context, k *auth.Kit, sp *saml.ServiceProvider, idp saml.IdP, response, request string) (*saml.Assertion, error) {
	as, err := sp.Read(idp, response, request)
	if err != nil {
		return nil, refused(err)
	}
	return as, k.Once(ctx, "assertion", as.Issuer+"\n"+as.ID, as.NotOnOrAfter, auth.AssertionFailed)
}

// account is what an assertion says of somebody.
func (m *SAML) account(as *saml.Assertion, mapping saml.Mapping, provider string) (auth.Account, error) {
	subject := as.UserID()
	email := saml.Email(as, mapping)
	switch {
	case subject == "":
		return auth.Account{}, &auth.Error{Code: auth.AssertionNoUser}
	case email == "":
		return auth.Account{}, &auth.Error{Code: auth.AssertionNoEmail}
	}
	data := mapping.Apply(as)
	data["sub"], data["iss"], data["email"], data["email_verified"] = subject, as.Issuer, email, true
	return auth.Account{
		Provider: provider, Issuer: as.Issuer, Subject: subject, Email: email, EmailVerified: true, Data: data, AMR: "sso/saml",
	}, nil
}

// Finish implements auth.Method.
func (m *SAML) Finish(ctx context.Context, k *auth.Kit, in auth.Input) (auth.Verdict, error) {
	a, err := k.Received(ctx, m.Name(), in)
	if err != nil {
		return nil, err
	}
	if in.Journey != nil && (in.Journey.Method != m.Name() || in.Journey.Provider != strings.TrimPrefix(a.Provider, auth.SSOPrefix)) {
		return nil, &auth.Error{Code: auth.StateFailed} // it set out to another company
	}
	err = m.open(ctx, k, a.Provider)
	if err != nil {
		return nil, err
	}
	return k.Vouch(in, a), nil
}

// open asks the gate once more: who was received may have been turned away since
// (CVE-2025-64717: a disabled provider signed people in).
func (m *SAML) open(ctx context.Context, k *auth.Kit, provider string) error {
	id, own := strings.CutPrefix(provider, auth.SSOPrefix)
	var err error
	switch {
	case own:
		_, err = k.SSO(ctx, id)
	case m.Netlify == nil:
		err = &auth.Error{Code: auth.SAMLDisabled}
	}
	return err
}

func idpOf(c *auth.SSOConnection) saml.IdP {
	return saml.IdP{EntityID: c.EntityID, Metadata: c.MetadataXML, NameIDFormat: c.NameIDFormat, AllowIdPInitiated: c.AllowIdPInitiated}
}

// refused is what a client is told of an assertion that is not right.
func refused(err error) error {
	e, ok := errors.AsType[*saml.Error](err)
	if !ok {
		return err
	}
	code := auth.AssertionFailed
	if e.Kind == saml.NoNameID {
		code = auth.AssertionNoUser
	}
	return &auth.Error{Code: code, Err: err, Params: map[string]any{"problem": e.Problem}}
}
