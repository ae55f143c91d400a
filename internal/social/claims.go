package social

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// claims are what an ID token or a profile says. Numbers are json.Number.
type claims map[string]any

// readClaims reads one JSON object.
func readClaims(body []byte) (claims, error) {
	var c claims
	if err := readJSON(body, &c); err != nil || c == nil {
		return nil, errors.New("not a JSON object")
	}
	return c, nil
}

func readJSON(body []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(to); err != nil {
		return errors.New("not the JSON that was expected")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON")
	}
	return nil
}

// text returns a claim that is a string.
func (c claims) text(key string) string {
	s, _ := c[key].(string)
	return s
}

// id returns a claim that is a string or a whole number: vendors disagree.
func (c claims) id(key string) string {
	switch v := c[key].(type) {
	case string:
		return v
	case json.Number:
		if n, err := strconv.ParseInt(v.String(), 10, 64); err == nil && n > 0 {
			return v.String()
		}
	}
	return ""
}

// yes tells whether a claim is the boolean true. "true", 1 and "false" are not
// (CVE-2026-55076 Coder).
func (c claims) yes(key string) bool {
	b, ok := c[key].(bool)
	return ok && b
}

// inner returns a claim that is an object, or none.
func (c claims) inner(keys ...string) claims {
	for _, key := range keys {
		m, _ := c[key].(map[string]any)
		c = m
	}
	return c
}

// instant returns a NumericDate (RFC 7519 §2).
func (c claims) instant(key string) (time.Time, bool) {
	n, ok := c[key].(json.Number)
	if !ok {
		return time.Time{}, false
	}
	f, err := n.Float64()
	if err != nil || math.IsNaN(f) || f < 0 || f > 1<<40 {
		return time.Time{}, false
	}
	return time.Unix(int64(f), 0), true
}

// texts returns a claim that is a string or a list of strings.
func (c claims) texts(key string) []string {
	switch v := c[key].(type) {
	case string:
		return []string{v}
	case []any:
		var list []string
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil
			}
			list = append(list, s)
		}
		return list
	}
	return nil
}

// person is what a vendor told of somebody, in our words.
type person struct {
	issuer, subject            string
	email                      string
	proved                     bool
	phone                      string // proved
	name, given, family        string
	nickname, username, avatar string
	locale, website, slug      string
	custom                     map[string]any
}

// standard reads the claims of OpenID Connect Core §5.1.
func standard(c claims) person {
	p := person{
		subject: c.text("sub"), email: c.text("email"), proved: c.yes("email_verified"),
		name: c.text("name"), given: c.text("given_name"), family: c.text("family_name"), nickname: c.text("nickname"),
		username: c.text("preferred_username"), avatar: c.text("picture"), locale: c.text("locale"), website: c.text("website"),
	}
	if c.yes("phone_number_verified") {
		p.phone = c.text("phone_number")
	}
	return p
}

// with fills in from userinfo what an ID token left out. An address and the word
// for it stay together: one that the ID token names is not proved by what
// userinfo says of another.
func (p person) with(u person) person {
	switch p.email {
	case "":
		p.email, p.proved = u.email, u.proved
	case u.email:
		p.proved = p.proved || u.proved
	}
	for to, from := range map[*string]string{
		&p.phone: u.phone, &p.name: u.name, &p.given: u.given, &p.family: u.family, &p.nickname: u.nickname,
		&p.username: u.username, &p.avatar: u.avatar, &p.locale: u.locale, &p.website: u.website,
	} {
		*to = orElse(*to, from)
	}
	if len(p.custom) == 0 {
		p.custom = u.custom
	}
	return p
}

const (
	maxSubject = 255 // OpenID Connect Core §2
	maxEmail   = 320
	maxText    = 2 << 10
	maxData    = 16 << 10
)

// profile makes the Profile of p.
func (p person) profile(t Tokens) (*Profile, error) {
	if p.subject == "" || len(p.subject) > maxSubject || !clean(p.subject) {
		return nil, failed("the profile has no subject that could be used")
	}
	if p.issuer == "" {
		return nil, failed("the profile has no issuer")
	}
	if p.email = strings.TrimSpace(p.email); !address(p.email) {
		p.email, p.proved = "", false
	}
	if !clean(p.phone) || len(p.phone) > 64 {
		p.phone = ""
	}
	p.name = orElse(p.name, strings.TrimSpace(p.given+" "+p.family))
	d := map[string]any{
		"iss": p.issuer, "sub": p.subject, "provider_id": p.subject,
		"email_verified": p.proved, "phone_verified": p.phone != "",
	}
	for key, text := range map[string]string{
		"email": p.email, "phone": p.phone, "name": p.name, "full_name": p.name, "given_name": p.given, "family_name": p.family,
		"nickname": p.nickname, "preferred_username": p.username, "user_name": p.username,
		"picture": p.avatar, "avatar_url": p.avatar, "locale": p.locale, "website": p.website, "slug": p.slug,
	} {
		if text != "" && len(text) <= maxText && clean(text) {
			d[key] = text
		}
	}
	custom := map[string]any{}
	for key, v := range p.custom {
		if v, ok := bounded(v, 0); ok && clean(key) && len(key) <= maxText {
			custom[key] = v
		}
	}
	if len(custom) > 0 {
		d["custom_claims"] = custom
		if b, err := json.Marshal(d); err != nil || len(b) > maxData {
			delete(d, "custom_claims")
		}
	}
	return &Profile{Issuer: p.issuer, Subject: p.subject, Email: p.email, EmailVerified: p.proved, Phone: p.phone, Data: d, Tokens: t}, nil
}

// clean refuses what databases do not take in JSON.
func clean(s string) bool { return !strings.ContainsRune(s, 0) }

// address tells whether s looks enough like an address to be handed on. What
// has two at signs means one to us and another to somebody else (CVE-2026-40574
// oauth2-proxy).
func address(s string) bool {
	return len(s) <= maxEmail && strings.Count(s, "@") == 1 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

// bounded makes of a value of a claim one that may be kept, or none.
func bounded(v any, depth int) (any, bool) {
	if depth > 8 {
		return nil, false
	}
	switch v := v.(type) {
	case string:
		return v, len(v) <= maxText && clean(v)
	case []any:
		list := make([]any, 0, len(v))
		for _, e := range v {
			if e, ok := bounded(e, depth+1); ok {
				list = append(list, e)
			}
		}
		return list, true
	case claims:
		return bounded(map[string]any(v), depth)
	case map[string]any:
		m := make(map[string]any, len(v))
		for key, e := range v {
			if e, ok := bounded(e, depth+1); ok && len(key) <= maxText && clean(key) {
				m[key] = e
			}
		}
		return m, true
	case nil, bool, json.Number, float64:
		return v, true
	}
	return nil, false
}

// pick returns those of the keys that c has.
func (c claims) pick(keys ...string) map[string]any {
	m := map[string]any{}
	for _, key := range keys {
		if v := c[key]; v != nil && v != "" {
			m[key] = v
		}
	}
	return m
}
