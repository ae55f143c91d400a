package idptest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"hash"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// key signs ID tokens, and is published until it is dropped.
type key struct {
	id, alg string
	private crypto.Signer
}

// Forgery is what is wrong with an ID token. The zero value is an honest one.
type Forgery struct {
	Claims map[string]any // laid over the honest ones; a nil takes one away
	Header map[string]any // likewise: alg says what is not so, kid points elsewhere, jku, jwk …
	// Alg signs with another algorithm: RS256, RS384, RS512, PS256, ES256,
	// EdDSA (with a key of that kind, which is published), HS256, none.
	Alg string
	// Secret is the key of HS256; nil: the published public key, as PEM, which
	// is what a verifier holds that does not ask what kind of key it is.
	Secret []byte
	// Stranger signs with a key that nobody published, under the name of one
	// that was.
	Stranger bool
}

// Forge makes every ID token from now on as f says, those of the code flow
// too. Forge(Forgery{}) makes them honest again.
func (p *Provider) Forge(f Forgery) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forgery = f
}

// Rotate signs with a new key from now on. The old ones are still published,
// or dropped.
func (p *Provider) Rotate(keep bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !keep {
		p.keys = nil
	}
	p.keys = append([]key{newKey("RS256")}, p.keys...)
}

// Token is an ID token of the vendor with these claims laid over iss, iat and
// exp, and made as f says. It holds nothing else: no person, no audience.
func (p *Provider) Token(vendor string, claims map[string]any, f Forgery) string {
	now := p.now()
	m := map[string]any{"iss": p.Issuer(vendor), "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	lay(m, claims)
	return p.sign(m, f)
}

// IDToken is what an app brings that signed the person in by itself: an ID
// token of the vendor for a client, about who is signed in, with all scopes. An
// empty nonce or access token leaves their claims out.
func (p *Provider) IDToken(vendor, clientID, nonce, accessToken string, f Forgery) string {
	v := p.vendor(vendor)
	p.mu.Lock()
	who := p.people[p.current]
	p.mu.Unlock()
	scopes := append(append([]string{"openid", "phone"}, v.emailScopes...), v.nameScopes...)
	g := &grant{vendor: vendor, client: &Client{ID: clientID}, nonce: nonce, scope: strings.Join(scopes, " "), subject: who.Subject}
	a := &ask{call: &call{p: p, v: v, base: p.url + "/" + vendor}, g: g, who: who}
	return a.idToken(accessToken, "", f)
}

// PublicKey is the one that verifies what is signed now.
func (p *Provider) PublicKey() crypto.PublicKey { return p.key("").private.Public() }

// key is the newest published one of an algorithm, made if there is none; an
// empty name is that of the newest.
func (p *Provider) key(alg string) key {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range p.keys {
		if alg == "" || k.alg == alg {
			return k
		}
	}
	if alg == "" {
		alg = "RS256"
	}
	k := newKey(alg)
	p.keys = append(p.keys, k)
	return k
}

func newKey(alg string) key {
	k := key{id: random("key"), alg: alg}
	var err error
	switch alg {
	case "ES256":
		k.private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "EdDSA":
		_, k.private, err = ed25519.GenerateKey(rand.Reader)
	case "RS256", "RS384", "RS512", "PS256":
		k.private, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		panic("idptest: no algorithm " + alg)
	}
	if err != nil {
		panic(err)
	}
	return k
}

// sign makes a token by hand: a library would refuse what Forgery asks for.
func (p *Provider) sign(claims map[string]any, f Forgery) string {
	claims = maps.Clone(claims)
	lay(claims, f.Claims)
	var k key
	switch f.Alg {
	case "none", "HS256":
		k = p.key("")
		k.alg = f.Alg
	default:
		k = p.key(f.Alg)
	}
	if f.Stranger && f.Alg != "none" && f.Alg != "HS256" {
		k.private = newKey(k.alg).private
	}
	header := map[string]any{"alg": k.alg, "kid": k.id, "typ": "JWT"}
	lay(header, f.Header)
	signed := segment(header) + "." + segment(claims)
	return signed + "." + base64.RawURLEncoding.EncodeToString(k.seal([]byte(signed), f.Secret))
}

func segment(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // a claim that a test gave cannot be written
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

func (k key) seal(text, secret []byte) []byte {
	var sig []byte
	var err error
	switch k.alg {
	case "none":
		return nil
	case "HS256":
		if secret == nil {
			secret = publicPEM(k.private.Public())
		}
		mac := hmac.New(sha256.New, secret)
		mac.Write(text)
		return mac.Sum(nil)
	case "EdDSA":
		sig, err = k.private.Sign(rand.Reader, text, crypto.Hash(0))
	case "ES256":
		return sealES256(k.private.(*ecdsa.PrivateKey), text)
	case "PS256":
		sum := sha256.Sum256(text)
		sig, err = rsa.SignPSS(rand.Reader, k.private.(*rsa.PrivateKey), crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	default:
		h, id := hashOf(k.alg)
		h.Write(text)
		sig, err = k.private.Sign(rand.Reader, h.Sum(nil), id)
	}
	if err != nil {
		panic(err)
	}
	return sig
}

// sealES256 writes both halves at their full width (RFC 7518 §3.4).
func sealES256(private *ecdsa.PrivateKey, text []byte) []byte {
	sum := sha256.Sum256(text)
	r, s, err := ecdsa.Sign(rand.Reader, private, sum[:])
	if err != nil {
		panic(err)
	}
	sig := make([]byte, 64)
	r.FillBytes(sig[:32])
	s.FillBytes(sig[32:])
	return sig
}

func hashOf(alg string) (hash.Hash, crypto.Hash) {
	switch alg {
	case "RS384":
		return sha512.New384(), crypto.SHA384
	case "RS512", "EdDSA":
		return sha512.New(), crypto.SHA512
	}
	return sha256.New(), crypto.SHA256
}

// halfHash is at_hash and c_hash (OpenID Connect Core §3.1.3.6).
func halfHash(alg, text string) string {
	h, _ := hashOf(alg)
	h.Write([]byte(text))
	sum := h.Sum(nil)
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}

func publicPEM(public crypto.PublicKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// jwks publishes the keys.
func jwks(c *call, w http.ResponseWriter) {
	c.p.key("") // there is one by then
	c.p.mu.Lock()
	var set jose.JSONWebKeySet
	for _, k := range c.p.keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.private.Public(), KeyID: k.id, Algorithm: k.alg, Use: "sig"})
	}
	c.p.mu.Unlock()
	writeJSON(w, http.StatusOK, set)
}

// lay puts one object over another, member by member; a nil takes one away.
func lay(under, over map[string]any) {
	for k, v := range over {
		inner, object := v.(map[string]any)
		below, both := under[k].(map[string]any)
		switch {
		case v == nil:
			delete(under, k)
		case object && both:
			below = maps.Clone(below)
			lay(below, inner)
			under[k] = below
		default:
			under[k] = v
		}
	}
}
