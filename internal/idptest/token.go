package idptest

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// access is an access token.
type access struct {
	g       *grant
	expires time.Time // zero: it lasts
}

// refresh is a refresh token.
type refresh struct {
	g     *grant
	spent bool
}

// refusal is an OAuth error on its way to the vendor's form of it.
type refusal struct {
	status     int
	code, text string
}

func refuse(status int, code, text string) *refusal { return &refusal{status, code, text} }

// token is the token endpoint.
func token(c *call, w http.ResponseWriter) {
	answer, no := c.token()
	switch {
	case no != nil:
		if no.status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Basic realm="`+c.v.name+`"`)
		}
		status, body := c.v.refusal(c, no)
		c.tell(w, status, body)
	default:
		c.tell(w, http.StatusOK, answer)
	}
}

// tell answers in JSON, or in the form that GitHub gives who does not ask for
// JSON.
func (c *call) tell(w http.ResponseWriter, status int, body any) {
	members, object := body.(map[string]any)
	if !c.v.form || !object || strings.Contains(c.Header.Get("Accept"), "json") {
		writeJSON(w, status, body)
		return
	}
	form := url.Values{}
	for k, v := range members {
		form.Set(k, fmt.Sprint(v))
	}
	w.Header().Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(form.Encode()))
}

func (c *call) token() (map[string]any, *refusal) {
	from := c.body
	switch {
	case c.Method == http.MethodGet && c.v.get:
		from = c.both
	case c.Method != http.MethodPost:
		return nil, refuse(http.StatusMethodNotAllowed, "invalid_request", "the method must be POST")
	case c.URL.Query().Has("code") || c.URL.Query().Has("client_secret"):
		return nil, refuse(http.StatusBadRequest, "invalid_request", "parameters belong into the body")
	}
	client, no := c.client(from)
	if no != nil {
		return nil, no
	}
	kind := from.Get("grant_type")
	switch {
	case kind == "" && from.Has("refresh_token"): // Figma has a path for it
		kind = "refresh_token"
	case kind == "" && c.v.get: // and others document none
		kind = "authorization_code"
	}
	switch kind {
	case "authorization_code":
		return c.redeem(client, from)
	case "refresh_token":
		return c.renew(client, from)
	}
	return nil, refuse(http.StatusBadRequest, "unsupported_grant_type", "grant_type is neither authorization_code nor refresh_token")
}

// client is who asks, by the one way the vendor documents (RFC 6749 §2.3).
func (c *call) client(from url.Values) (*Client, *refusal) {
	no := refuse(http.StatusUnauthorized, "invalid_client", "the client is not known, or its secret is wrong")
	id, secret, basic := c.BasicAuth()
	if basic {
		if from.Has("client_secret") {
			return nil, refuse(http.StatusBadRequest, "invalid_request", "the secret is given in two ways")
		}
		var err1, err2 error
		id, err1 = url.QueryUnescape(id)
		secret, err2 = url.QueryUnescape(secret)
		if err1 != nil || err2 != nil || from.Has("client_id") && from.Get("client_id") != id {
			return nil, no
		}
	} else {
		id, secret = from.Get("client_id"), from.Get("client_secret")
	}
	c.p.mu.Lock()
	client := c.p.clients[id]
	c.p.mu.Unlock()
	if client == nil {
		return nil, no
	}
	if c.v.name == "apple" {
		return client, c.appleSecret(client, secret)
	}
	optional := c.v.public && c.path != "/access_token" // VK had no PKCE then
	switch {
	case secret != client.Secret && (secret != "" || !optional):
		return nil, no
	case secret != "" && (basic && c.v.auth == inBody || !basic && c.v.auth == inHeader):
		return nil, refuse(http.StatusUnauthorized, "invalid_client", "the secret is not where the vendor wants it")
	}
	return client, nil
}

// redeem spends a code. Whatever is wrong with the request, the code is gone;
// one that comes twice takes with it what the first time gave (RFC 6749 §4.1.2).
func (c *call) redeem(client *Client, from url.Values) (map[string]any, *refusal) {
	no := refuse(http.StatusBadRequest, "invalid_grant", "the code is not known, spent, too old or somebody else's")
	c.p.mu.Lock()
	g := c.p.codes[from.Get("code")]
	if g == nil {
		c.p.mu.Unlock()
		return nil, no
	}
	g.over = g.over || g.spent
	g.spent = true
	late := !c.p.options.Now().Before(g.expires)
	over := g.over
	c.p.mu.Unlock()
	sum := sha256.Sum256([]byte(from.Get("code_verifier")))
	switch {
	case late, over, g.client.ID != client.ID, c.of(g).issuer() != c.issuer():
		return nil, no
	case from.Get("redirect_uri") != g.redirect && (from.Has("redirect_uri") || !c.v.noRedirect):
		return nil, refuse(http.StatusBadRequest, "invalid_grant", "the redirect_uri is not the one of the authorization request")
	case g.challenge == "" && from.Has("code_verifier"):
		return nil, refuse(http.StatusBadRequest, "invalid_grant", "there was no code_challenge") // RFC 9700 §4.8.2
	case g.challenge != "" && base64.RawURLEncoding.EncodeToString(sum[:]) != g.challenge:
		return nil, refuse(http.StatusBadRequest, "invalid_grant", "the code_verifier is not that of the code_challenge")
	}
	if c.v.redeems != nil {
		if no := c.v.redeems(g, from); no != nil {
			return nil, no
		}
	}
	return c.issue(g, c.v.refreshes(g), true), nil
}

// renew spends a refresh token. One that comes twice ends all (RFC 9700 §4.14.2).
func (c *call) renew(client *Client, from url.Values) (map[string]any, *refusal) {
	no := refuse(http.StatusBadRequest, "invalid_grant", "the refresh token is not known, spent, revoked or somebody else's")
	c.p.mu.Lock()
	r := c.p.refresh[from.Get("refresh_token")]
	ok := r != nil && r.g.client.ID == client.ID && c.of(r.g).issuer() == c.issuer()
	if ok && r.spent {
		r.g.over = true
	}
	ok = ok && !r.g.over
	if ok {
		r.spent = !c.v.keeps
	}
	c.p.mu.Unlock()
	if !ok {
		return nil, no
	}
	return c.issue(r.g, !c.v.keeps, false), nil
}

// of is the call where the person was, for the issuer they met there: a vendor,
// a tenant, a realm.
func (c *call) of(g *grant) *call {
	there := *c
	there.base, there.tenant = g.base, g.tenant
	return &there
}

// issue makes tokens of a grant.
func (c *call) issue(g *grant, withRefresh, first bool) map[string]any {
	p := c.p
	token := random("access")
	m := map[string]any{"access_token": token, "token_type": "Bearer"}
	if g.scope != "" {
		m["scope"] = g.scope
	}
	p.mu.Lock()
	at := &access{g: g}
	if !c.v.lasts(g) {
		life := p.options.AccessLife
		at.expires = p.options.Now().Add(life)
		m["expires_in"] = int64(life / time.Second)
	}
	p.access[token] = at
	if withRefresh {
		next := random("refresh")
		p.refresh[next] = &refresh{g: g}
		m["refresh_token"] = next
	}
	who := p.people[g.subject]
	p.mu.Unlock()
	a := &ask{call: c.of(g), g: g, who: who, token: token}
	if c.v.openid == always || c.v.openid == scoped && slices.Contains(split(g.scope), "openid") {
		if !first {
			a.renewed = true
		}
		p.mu.Lock()
		f := p.forgery
		p.mu.Unlock()
		m["id_token"] = a.idToken(token, "", f)
	}
	if c.v.answers != nil {
		c.v.answers(a, m)
	}
	return m
}

// idToken is what the provider says of the person, to the client alone.
func (a *ask) idToken(accessToken, code string, f Forgery) string {
	p := a.p
	now := p.now()
	m := map[string]any{
		"iss": a.issuer(), "sub": a.who.Subject, "aud": a.g.client.ID, "azp": a.g.client.ID,
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "auth_time": now.Unix(),
	}
	if a.g.nonce != "" && !a.renewed {
		m["nonce"] = a.g.nonce
	}
	alg := f.Alg
	if alg == "" {
		alg = p.key("").alg
	}
	if accessToken != "" {
		m["at_hash"] = halfHash(alg, accessToken)
	}
	if code != "" {
		m["c_hash"] = halfHash(alg, code)
	}
	lay(m, a.claims())
	if a.v.claims != nil {
		a.v.claims(a, m)
	}
	lay(m, a.who.Claims)
	return p.sign(m, f)
}
