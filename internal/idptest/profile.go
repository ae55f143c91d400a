package idptest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"hash/fnv"
	"maps"
	"net/http"
	"strconv"
	"strings"
)

// ask is a question about a person, by whoever holds a token for it.
type ask struct {
	*call
	g       *grant
	who     Person
	token   string
	renewed bool // an ID token that came of a refresh repeats no nonce
}

// shape is what a vendor answers about a person: a value for JSON, or a
// *refusal.
type shape func(*ask) any

// userinfo answers about the person of an access token.
func userinfo(c *call, w http.ResponseWriter) {
	a, no := c.bearer()
	if no == nil && c.Method != http.MethodGet && c.Method != http.MethodPost {
		no = refuse(http.StatusMethodNotAllowed, "invalid_request", "the method must be GET or POST")
	}
	var answer any
	if no == nil {
		answer = c.v.profiles[c.path](a)
		if refused, ok := answer.(*refusal); ok {
			no = refused
		}
	}
	if no != nil {
		if no.status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Bearer error="`+no.code+`"`)
		}
		status, body := c.v.refusal(c, no)
		writeJSON(w, status, body)
		return
	}
	if m, ok := answer.(map[string]any); ok {
		m = maps.Clone(m)
		lay(m, a.who.Profile)
		answer = m
	}
	writeJSON(w, http.StatusOK, answer)
}

// bearer finds the token where the vendor documents it.
func (c *call) bearer() (*ask, *refusal) {
	no := refuse(http.StatusUnauthorized, "invalid_token", "the access token is missing, not known, expired or revoked")
	kind, token, _ := strings.Cut(c.Header.Get("Authorization"), " ")
	switch {
	case token != "" && !strings.EqualFold(kind, "Bearer") && !strings.EqualFold(kind, "token"):
		return nil, no
	case token == "" && c.v.get: // Facebook, VK: in the query too
		token = c.both.Get("access_token")
	case token == "":
		token = c.body.Get("access_token") // RFC 6750 §2.2
	}
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	t := c.p.access[token]
	if t == nil || t.g.over || t.g.vendor != c.v.name || !t.expires.IsZero() && !c.p.options.Now().Before(t.expires) {
		return nil, no
	}
	if proof := c.both.Get("appsecret_proof"); proof != "" {
		mac := hmac.New(sha256.New, []byte(t.g.client.Secret))
		mac.Write([]byte(token))
		if proof != hex.EncodeToString(mac.Sum(nil)) {
			return nil, no
		}
	}
	there := c.of(t.g)
	if c.tenant != "" && c.issuer() != there.issuer() { // an API host knows of no tenant
		return nil, no
	}
	return &ask{call: there, g: t.g, who: c.p.people[t.g.subject], token: token}, nil
}

// email is the address, if the client asked to see it.
func (a *ask) email() string {
	if !a.g.asked(a.v.emailScopes...) {
		return ""
	}
	return a.who.Email
}

// verified is what the provider says of the address.
func (a *ask) verified() any {
	if a.who.EmailVerified == nil {
		return true
	}
	return a.who.EmailVerified
}

// proved is the same for vendors whose field has another type.
func (a *ask) proved() bool {
	yes, ok := a.verified().(bool)
	return ok && yes
}

// number is the subject as a number; one that is none becomes some number of
// its own.
func (a *ask) number() json.Number {
	if _, err := strconv.ParseUint(a.who.Subject, 10, 63); err == nil {
		return json.Number(a.who.Subject)
	}
	h := fnv.New32a()
	h.Write([]byte(a.who.Subject))
	return json.Number(strconv.FormatUint(uint64(h.Sum32()), 10))
}

func (a *ask) first() string {
	first, _, _ := strings.Cut(a.who.Name, " ")
	return first
}

func (a *ask) last() string {
	_, last, _ := strings.Cut(a.who.Name, " ")
	return last
}

// or is the value, or JSON's null for none.
func or(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// put sets what there is to set.
func put(m map[string]any, k, v string) {
	if v != "" {
		m[k] = v
	}
}

// claims are the standard ones about a person (OpenID Connect Core §5.1), as
// far as the scopes reach (§5.4).
func (a *ask) claims() map[string]any {
	m := map[string]any{}
	if a.email() != "" {
		m["email"], m["email_verified"] = a.email(), a.verified()
	}
	if a.g.asked(a.v.nameScopes...) {
		put(m, "name", a.who.Name)
		put(m, "given_name", a.first())
		put(m, "family_name", a.last())
		put(m, "preferred_username", a.who.Username)
		put(m, "picture", a.who.Avatar)
	}
	if a.who.Phone != "" && a.g.asked("phone") {
		m["phone_number"], m["phone_number_verified"] = a.who.Phone, true
	}
	return m
}

// standard is the userinfo endpoint of OpenID Connect Core §5.3.
func standard(a *ask) any {
	m := a.claims()
	m["sub"] = a.who.Subject
	if a.v.claims != nil {
		a.v.claims(a, m)
	}
	lay(m, a.who.Claims)
	return m
}
