package social

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// ours are the parameters of a sign-in page that nobody else may set: those of
// the protocol, and those that were meant for us.
var ours = []string{
	"client_id", "client_secret", "client_assertion", "client_assertion_type", "redirect_uri", "response_type", "response_mode", "scope", "state", "nonce",
	"code", "code_challenge", "code_challenge_method", "code_verifier", "request", "request_uri", "registration", "iss",
	"provider", "scopes", "redirect_to", "invite_token", "skip_http_redirect", "flow_type", "workos_provider", "access_token", "refresh_token", "apikey",
}

const (
	maxExtras = 32
	maxExtra  = 1 << 10
)

// AuthURL returns where the browser has to go. State, nonce and verifier are the
// caller's to make up and to keep.
func (p *Providers) AuthURL(ctx context.Context, name string, req Request) (string, error) {
	r, err := p.remote(ctx, name)
	if err != nil {
		return "", err
	}
	if err := r.signsIn(ctx); err != nil {
		return "", err
	}
	u, err := url.Parse(r.signInAt)
	if err != nil {
		return "", failed("the sign-in page of %s is at no address", name)
	}
	q := u.Query()
	for _, key := range slices.Sorted(maps.Keys(req.Extra)) {
		r.pass(q, key, req.Extra[key])
	}
	for key, v := range r.s.AuthParams {
		if !slices.Contains(ours, strings.ToLower(key)) || strings.EqualFold(key, "response_mode") {
			q.Set(key, v)
		}
	}
	for key, v := range r.params {
		q.Set(key, v)
	}
	if r.s.Lasting {
		for key, v := range r.lastingParams {
			q.Set(key, v)
		}
	}
	q.Set("client_id", r.s.ClientIDs[0])
	q.Set("redirect_uri", r.s.RedirectURI)
	q.Set("response_type", "code")
	if scopes := r.scopesFor(req.Scopes); scopes != "" {
		q.Set("scope", scopes)
	}
	q.Set("state", req.State)
	if r.oidc && req.Nonce != "" {
		q.Set("nonce", req.Nonce)
	}
	if r.pkceKnown && req.Verifier != "" {
		sum := sha256.Sum256([]byte(req.Verifier))
		q.Set("code_challenge", base64.RawURLEncoding.EncodeToString(sum[:]))
		q.Set("code_challenge_method", "S256")
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// pass hands on a parameter of the caller's.
func (r *remote) pass(q url.Values, key string, values []string) {
	lower := strings.ToLower(key)
	to := key
	switch {
	case lower == "nonce": // of a client that will read the ID token itself; ours goes over it
	case lower == "workos_provider" && r.name == "workos":
		to = "provider"
	case slices.Contains(ours, lower), key == "", len(key) > maxExtra, len(q) >= maxExtras:
		return
	}
	for _, v := range values {
		if len(v) <= maxExtra {
			q.Set(to, v)
		}
	}
}

// scopesFor joins what is always asked for with what is wished for besides.
func (r *remote) scopesFor(wished string) string {
	var list []string
	add := func(scopes ...string) {
		for _, s := range scopes {
			// RFC 6749 §3.3
			odd := strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' || c == '"' || c == '\\' })
			if s != "" && len(s) <= maxExtra && !odd && !slices.Contains(list, s) && len(list) < 64 {
				list = append(list, s)
			}
		}
	}
	add(r.scopes...)
	if r.s.Lasting {
		add(r.lasting...)
	}
	add(r.s.Scopes...)
	add(strings.FieldsFunc(wished, func(c rune) bool { return c == ' ' || c == ',' })...)
	if r.commas {
		return strings.Join(list, ",")
	}
	return strings.Join(list, " ")
}
