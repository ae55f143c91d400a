package social

import (
	"context"
	"net/url"
	"slices"
)

// visit is one look at somebody's account.
type visit struct {
	*remote
	reply
	form string // Apple's
}

// Exchange makes a profile of what came back from the provider's page: it spends
// the code and asks whose it is.
func (p *Providers) Exchange(ctx context.Context, name string, a Answer) (*Profile, error) {
	r, err := p.remote(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := r.signsIn(ctx); err != nil {
		return nil, err
	}
	if err := r.answered(a.Issuer); err != nil {
		return nil, err
	}
	if a.Code == "" || len(a.Code) > 4<<10 {
		return nil, &Error{Kind: Code, Problem: problemCode}
	}
	form := url.Values{"grant_type": {"authorization_code"}, "code": {a.Code}, "redirect_uri": {r.s.RedirectURI}}
	if r.pkceKnown && a.Verifier != "" {
		form.Set("code_verifier", a.Verifier)
	}
	rep, err := r.trade(ctx, r.tokenAt, form)
	if err != nil {
		return nil, err
	}
	v := &visit{remote: r, reply: *rep, form: a.Form}
	if r.profile != nil {
		return v.asked(ctx)
	}
	return v.told(ctx, r.sentNonce(a.Nonce))
}

// answered holds the iss parameter of an answer against the issuer (RFC 9207):
// one provider's code is not to be taken to another (mix-up, GHSA-x445-f3h2-j279
// Auth.js). Who has no issuer of that kind has nothing to compare.
func (r *remote) answered(said string) error {
	if !r.oidc && r.issuer == "" && r.s.Issuer == "" {
		return nil
	}
	if r.issuerOf != nil {
		return nil // it differs by tenant; the ID token is held against it
	}
	if said != "" && said != r.iss || said == "" && r.sendsIssuer {
		return &Error{Kind: BadToken, Problem: problemIssuer}
	}
	return nil
}

// asked makes the profile of a vendor who has to be asked for it.
func (v *visit) asked(ctx context.Context) (*Profile, error) {
	if v.Access == "" {
		return nil, failed("%s gave no access token", v.s.Name)
	}
	p, err := v.remote.profile(ctx, v)
	if err != nil {
		return nil, err
	}
	p.issuer = orElse(p.issuer, v.iss)
	return p.profile(v.Tokens)
}

// told makes the profile of what the ID token says, and userinfo.
func (v *visit) told(ctx context.Context, nonce func(claims) error) (*Profile, error) {
	if v.idToken == "" {
		return nil, failed("%s gave no ID token", v.s.Name)
	}
	c, err := v.verify(ctx, v.idToken, expectation{audiences: v.s.ClientIDs[:1], presenter: true, access: v.Access, nonce: nonce})
	if err != nil {
		return nil, err
	}
	p := v.person(c)
	if v.userinfoAt != "" && v.Access != "" && (v.asks || p.email == "") {
		u, err := v.object(ctx, v.userinfoAt, v.Access, nil)
		switch {
		case err == nil && u.text("sub") != c.text("sub"):
			// OpenID Connect Core §5.3.2: then it is of somebody else.
			return nil, badToken("userinfo is of another subject")
		case err == nil:
			p = p.with(v.person(u))
		case p.email == "", !p.proved && KindOf(err) == Unavailable:
			return nil, err
		}
	}
	return p.profile(v.Tokens)
}

// person reads the claims of an ID token or of userinfo.
func (v *visit) person(c claims) person {
	if v.s.Kind != "" {
		return v.custom(c)
	}
	p := standard(c)
	p.issuer = orElse(v.expected(c), v.iss)
	if v.remote.claims != nil {
		v.remote.claims(v, c, &p)
	}
	return p
}

// IDToken makes a profile of an ID token that an app got from the provider by
// itself. Access tokens are not taken in its place: they do not say for whom
// they were made.
func (p *Providers) IDToken(ctx context.Context, name string, t Token) (*Profile, error) {
	r, err := p.remote(ctx, name)
	if err != nil {
		return nil, err
	}
	if !r.apps {
		return nil, &Error{Kind: Unknown, Problem: name}
	}
	c, err := r.verify(ctx, t.Raw, expectation{
		audiences: append(slices.Clone(r.s.ClientIDs), r.s.AcceptableClientIDs...),
		presenter: !r.anyPresenter, access: t.AccessToken, nonce: r.appNonce(t.Nonce),
	})
	if err != nil {
		return nil, err
	}
	v := &visit{remote: r}
	if _, has := c["at_hash"]; has {
		v.Access = t.AccessToken
	}
	return v.person(c).profile(v.Tokens)
}

// Refetch asks for the profile again, on behalf of somebody who signed in long
// ago. Profile.Tokens are what to ask with from now on; Profile.Email is empty if
// the provider tells it at sign-in only. Whether Issuer and Subject are still the
// same is the caller's to look at.
func (p *Providers) Refetch(ctx context.Context, name string, t Tokens) (*Profile, error) {
	r, err := p.remote(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := r.signsIn(ctx); err != nil {
		return nil, err
	}
	v := &visit{remote: r, reply: reply{Tokens: t}}
	over := t.Access == "" || !t.ExpiresAt.IsZero() && !p.now().Before(t.ExpiresAt)
	fresh := false
	if r.refreshes || over && t.Refresh != "" {
		if err := v.refresh(ctx); err != nil {
			return nil, err
		}
		fresh = true
	}
	if v.Access == "" && v.idToken == "" {
		return nil, &Error{Kind: Refused, Problem: problemRefused}
	}
	profile, err := v.again(ctx)
	if !fresh && KindOf(err) == Refused && t.Refresh != "" {
		if err := v.refresh(ctx); err != nil {
			return nil, err
		}
		profile, err = v.again(ctx)
	}
	return profile, err
}

// again makes the profile with the tokens at hand.
func (v *visit) again(ctx context.Context) (*Profile, error) {
	switch {
	case v.remote.profile != nil:
		return v.asked(ctx)
	case v.idToken != "":
		return v.told(ctx, nil) // there was no page, hence no nonce (OpenID Connect Core §12.2)
	case v.refreshes:
		return nil, failed("%s gave no ID token with new tokens", v.s.Name)
	}
	if v.userinfoAt == "" {
		if err := v.discover(ctx); err != nil {
			return nil, err
		}
	}
	if v.userinfoAt == "" {
		return nil, failed("%s has no userinfo", v.s.Name)
	}
	u, err := v.object(ctx, v.userinfoAt, v.Access, nil)
	if err != nil {
		return nil, err
	}
	if ok, has := u["ok"].(bool); has && !ok && v.name == "slack_oidc" {
		return nil, slackSays(u)
	}
	return v.person(u).profile(v.Tokens)
}

// Refresh gets new tokens. What does not come anew is kept.
func (p *Providers) Refresh(ctx context.Context, name string, t Tokens) (Tokens, error) {
	r, err := p.remote(ctx, name)
	if err != nil {
		return Tokens{}, err
	}
	if err := r.signsIn(ctx); err != nil {
		return Tokens{}, err
	}
	v := &visit{remote: r, reply: reply{Tokens: t}}
	if err := v.refresh(ctx); err != nil {
		return Tokens{}, err
	}
	return v.Tokens, nil
}

func (v *visit) refresh(ctx context.Context) error {
	if v.Refresh == "" {
		return &Error{Kind: Refused, Problem: problemRefused}
	}
	rep, err := v.trade(ctx, v.refreshAt, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {v.Refresh}})
	if err != nil {
		return err
	}
	rep.Refresh, rep.Scopes = orElse(rep.Refresh, v.Refresh), orElse(rep.Scopes, v.Scopes)
	v.reply = *rep
	return nil
}
