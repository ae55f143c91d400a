package token

import (
	"crypto"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// ErrInvalid reports a token nobody should believe; the chain says why, for
// the log.
var ErrInvalid = errors.New("token: invalid")

// leeway is how far apart clocks may be (RFC 7519 §4.1.4).
const leeway = 10 * time.Second

// maxLength bounds what is parsed at all.
const maxLength = 64 << 10

// Key is one key of the ring.
type Key struct {
	ID      string // kid
	Alg     string // the only algorithm this key is used with
	SignsAt time.Time
	Foreign bool // brought along by configuration

	method  jwt.SigningMethod
	private any // nil: verifies only
	public  any // for HMAC the secret
}

// Keys is the key ring. Its methods may be called at any time from anywhere;
// Replace swaps the whole ring.
type Keys struct {
	ring atomic.Pointer[ring]
}

// ring never changes once made.
type ring struct {
	keys     []Key  // in order of SignsAt
	fallback *Key   // for tokens without a known kid: the configured secret
	jwks     []byte // public halves, ready to send
	etag     string
	seen     *verified
}

// NewKeys returns a ring of the given keys.
func NewKeys(keys ...Key) (*Keys, error) {
	k := &Keys{}
	return k, k.Replace(keys...)
}

// Replace puts another set of keys in place. What was verified with the old
// one is verified again.
func (k *Keys) Replace(keys ...Key) error {
	r := &ring{keys: slices.Clone(keys), seen: newVerified()}
	slices.SortStableFunc(r.keys, func(a, b Key) int { return a.SignsAt.Compare(b.SignsAt) })
	for i := range r.keys {
		if secret, ok := r.keys[i].public.([]byte); ok && len(secret) == 0 { // else anybody could sign
			return errors.New("token: a shared secret is empty: set one, or take the key out")
		}
		if r.keys[i].Alg == jwt.SigningMethodHS256.Alg() && r.keys[i].Foreign && r.fallback == nil {
			r.fallback = &r.keys[i]
		}
	}
	var err error
	r.jwks, r.etag, err = publish(r.keys)
	if err != nil {
		return err
	}
	k.ring.Store(r)
	return nil
}

// signer returns the newest key whose time to sign has come.
func (r *ring) signer(now time.Time) *Key {
	var best *Key
	for i := range r.keys {
		k := &r.keys[i]
		if k.private != nil && (best == nil || !k.SignsAt.After(now)) { // the first at any rate: a clock set back must not stop sign-ins
			best = k
		}
	}
	return best
}

// List returns the ring, in the order the keys sign, and the kid that signs
// now.
func (k *Keys) List(now time.Time) (keys []Key, signing string) {
	r := k.ring.Load()
	s := r.signer(now)
	if s != nil {
		signing = s.ID
	}
	return slices.Clone(r.keys), signing
}

// Sign returns c as a compact JWS (RFC 7515 §7.1).
func (k *Keys) Sign(c Claims, now time.Time) (string, error) { return k.sign(&c, now) }

// SignMap is Sign for claims that need not be those of Claims.
func (k *Keys) SignMap(c map[string]any, now time.Time) (string, error) {
	return k.sign(jwt.MapClaims(c), now)
}

func (k *Keys) sign(c jwt.Claims, now time.Time) (string, error) {
	s := k.ring.Load().signer(now)
	if s == nil {
		return "", errors.New("token: no key that signs")
	}
	t := jwt.NewWithClaims(s.method, c)
	if s.ID != "" {
		t.Header["kid"] = s.ID
	}
	return t.SignedString(s.private)
}

// Verify reads a token signed by a key of the ring. Errors wrap ErrInvalid. A
// missing exp is an error too, but for tokens of a key the operator brought
// along: service keys of GoTrue have none.
func (k *Keys) Verify(raw string, now time.Time) (*Claims, error) {
	r := k.ring.Load()
	sum := sha256.Sum256([]byte(raw)) // of the whole token, signature included: a verdict serves no other
	c, ok := r.seen.get(sum)
	if !ok {
		var err error
		c, err = r.verify(raw, now)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		c.AppMetadata, c.UserMetadata, c.AMR = nil, nil, nil // the database says it better, and these are what the memory of verdicts would weigh
		r.seen.put(sum, c)
	}
	exp := c.Expires()
	if exp.IsZero() && !c.Foreign {
		return nil, fmt.Errorf("%w: no exp", ErrInvalid)
	}
	if !exp.IsZero() && !now.Before(exp) {
		return nil, fmt.Errorf("%w: expired", ErrInvalid)
	}
	own := *c // what one caller does to its claims, the next must not see
	return &own, nil
}

func (r *ring) verify(raw string, now time.Time) (*Claims, error) {
	if len(raw) > maxLength {
		return nil, errors.New("too long")
	}
	if strings.Count(raw, ".") != 2 {
		return nil, errors.New("not three parts")
	}
	if strings.ContainsAny(raw, "\r\n") { // Go's base64 skips them: one token would have any number of spellings
		return nil, errors.New("line break")
	}
	var c Claims
	var used *Key
	p := jwt.NewParser(jwt.WithStrictDecoding(), jwt.WithLeeway(leeway), jwt.WithTimeFunc(func() time.Time { return now }))
	_, err := p.ParseWithClaims(raw, &c, func(t *jwt.Token) (any, error) {
		for _, name := range []string{"crit", "b64"} {
			if _, ok := t.Header[name]; ok { // RFC 7515 §4.1.11, RFC 7797 §6: what is not understood is refused
				return nil, errors.New(name)
			}
		}
		typ, ok := t.Header["typ"]
		if ok && !strings.EqualFold(fmt.Sprint(typ), "JWT") { // RFC 8725 §3.11: another kind of token
			return nil, fmt.Errorf("typ %q", typ)
		}
		kid, _ := t.Header["kid"].(string)
		used = r.find(kid)
		if used == nil {
			return nil, fmt.Errorf("no key %q", kid)
		}
		if t.Method.Alg() != used.Alg {
			return nil, fmt.Errorf("alg %q with a key for %s", t.Method.Alg(), used.Alg)
		}
		return used.public, nil
	})
	if err != nil {
		return nil, err
	}
	for _, part := range strings.Split(raw, ".")[:2] {
		err = unambiguous(part)
		if err != nil {
			return nil, err
		}
	}
	c.Foreign = used.Foreign
	return &c, nil
}

func (r *ring) find(kid string) *Key {
	if kid != "" {
		for i := range r.keys {
			if r.keys[i].ID == kid {
				return &r.keys[i]
			}
		}
	}
	return r.fallback
}

// Knows reports whether the ring holds the key a token names. A ring shared by
// several nodes is read again when a token names a key it does not know.
func (k *Keys) Knows(raw string) bool {
	if len(raw) > maxLength {
		return true
	}
	t, _, err := jwt.NewParser().ParseUnverified(raw, &Claims{})
	if err != nil {
		return true // rubbish is no reason to look for keys
	}
	kid, _ := t.Header["kid"].(string)
	return k.ring.Load().find(kid) != nil
}

// JWKS returns the public keys (RFC 7517 §5) and an entity tag. Symmetric keys
// are never in it.
func (k *Keys) JWKS() (body []byte, etag string) {
	r := k.ring.Load()
	return r.jwks, r.etag
}

func publish(keys []Key) (body []byte, etag string, err error) {
	set := struct {
		Keys []json.RawMessage `json:"keys"`
	}{Keys: []json.RawMessage{}}
	for _, k := range keys {
		pub, ok := k.public.(crypto.PublicKey)
		if _, secret := k.public.([]byte); !ok || secret {
			continue
		}
		j, err := publicJWK(k.ID, k.Alg, pub)
		if err != nil {
			return nil, "", err
		}
		set.Keys = append(set.Keys, j)
	}
	body, err = json.Marshal(set)
	return body, fmt.Sprintf(`"%x"`, sha256.Sum256(body))[:18] + `"`, err
}

// Signs reports whether the key can sign.
func (k Key) Signs() bool { return k.private != nil }
