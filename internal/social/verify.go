package social

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// expectation is what an ID token is held to besides its signature.
type expectation struct {
	audiences []string // any of them
	presenter bool     // azp, if there, has to be one of them too
	access    string   // the access token beside it, or empty
	nonce     func(c claims) error
}

const (
	leeway     = 30 * time.Second
	maxIDToken = 32 << 10
)

// verify judges an ID token (OpenID Connect Core §3.1.3.7) and returns what it
// says. The issuer is looked at before anything is fetched: a request that
// brings a token of somebody else's must not have us ask them (CVE-2026-31813
// supabase/auth took the issuer from it).
func (r *remote) verify(ctx context.Context, raw string, e expectation) (claims, error) {
	if raw == "" || len(raw) > maxIDToken {
		return nil, badToken("an ID token of %d bytes", len(raw))
	}
	// 1. What it claims to be.
	jws, err := jose.ParseSignedCompact(raw, usableAlgs)
	if err != nil {
		return nil, badToken("it is no ID token, or signed as it must not be")
	}
	if typ, ok := jws.Signatures[0].Header.ExtraHeaders["typ"]; ok {
		// at+jwt and logout+jwt are signed with the same keys (RFC 9068 §2.1).
		if s, _ := typ.(string); !strings.EqualFold(s, "JWT") {
			return nil, badToken("it is another kind of token")
		}
	}
	said, err := readClaims(jws.UnsafePayloadWithoutVerification())
	if err != nil {
		return nil, badToken("its payload is unreadable")
	}
	if r.expected(said) != "" {
		if err := r.issued(said); err != nil {
			return nil, err
		}
	} else if originOf(said.text("iss")) != originOf(r.iss) {
		return nil, badToken("it is of another issuer")
	}
	if r.jwksAt == "" {
		if err := r.discover(ctx); err != nil {
			return nil, err
		}
	}
	if r.jwksAt == "" {
		return nil, failed("%s has no keys", r.s.Name)
	}
	// 2. Who signed it.
	c, err := r.signed(ctx, jws)
	if err != nil {
		return nil, err
	}
	// 3. Whether that issuer, for us, now, and for this attempt.
	if err := r.issued(c); err != nil {
		return nil, err
	}
	if err := audience(c, e); err != nil {
		return nil, err
	}
	if err := r.timely(c); err != nil {
		return nil, err
	}
	if c.text("sub") == "" {
		return nil, badToken("it has no subject")
	}
	if e.nonce != nil {
		if err := e.nonce(c); err != nil {
			return nil, err
		}
	}
	// 4. Whether the access token beside it is its own (§3.1.3.6): else it could be
	// another person's, or another app's (GHSA-r657-33vp-gp22 Parse).
	if at, has := c["at_hash"]; has && e.access != "" {
		if s, _ := at.(string); s != hashOf(jws.Signatures[0].Header.Algorithm, e.access) {
			return nil, badToken("the access token beside it is another's")
		}
	}
	return c, nil
}

// expected is the issuer a token must name; empty: discovery has to tell.
func (r *remote) expected(c claims) string {
	if r.issuerOf != nil {
		return r.issuerOf(r, c)
	}
	return r.iss
}

// issued tells whether the issuer is the one that is configured.
func (r *remote) issued(c claims) error {
	if want := r.expected(c); want == "" || c.text("iss") != want {
		return badToken("it is of another issuer")
	}
	return nil
}

// signed checks the signature, with newer keys if those at hand do not do.
func (r *remote) signed(ctx context.Context, jws *jose.JSONWebSignature) (claims, error) {
	h := jws.Signatures[0].Header
	if !slices.Contains(r.algs, jose.SignatureAlgorithm(h.Algorithm)) {
		return nil, badToken("it is signed as its issuer does not sign")
	}
	for _, rotated := range []bool{false, true} {
		keys, err := r.p.keys.set(ctx, r.jwksAt, rotated)
		if err != nil {
			return nil, err
		}
		for _, k := range keys {
			if h.KeyID != "" && k.KeyID != "" && k.KeyID != h.KeyID || k.Algorithm != "" && k.Algorithm != h.Algorithm {
				continue
			}
			payload, err := jws.Verify(k.Key)
			if err != nil {
				continue
			}
			c, err := readClaims(payload)
			if err != nil {
				return nil, badToken("its payload is unreadable")
			}
			return c, nil
		}
	}
	return nil, badToken("no key of its issuer signed it")
}

// audience tells whether a token is for us.
func audience(c claims, e expectation) error {
	aud := c.texts("aud")
	ours := func(id string) bool { return id != "" && slices.Contains(e.audiences, id) }
	azp, hasAZP := c["azp"]
	id, _ := azp.(string)
	switch {
	case !slices.ContainsFunc(aud, ours):
	case len(aud) > 1 && !ours(id): // §3.1.3.7 steps 4 and 5: it is for several, so it must say who asked
	case hasAZP && e.presenter && !ours(id):
	default:
		return nil
	}
	said := fmt.Sprint(aud)
	if len(said) > 200 || !clean(said) {
		said = "[…]"
	}
	return &Error{Kind: Audience, Problem: "Unacceptable audience in id_token: " + said, Err: fmt.Errorf("an ID token for somebody else")}
}

// timely tells whether it is valid now.
func (r *remote) timely(c claims) error {
	now := r.p.now()
	exp, ok := c.instant("exp")
	if !ok || !now.Before(exp.Add(leeway)) {
		return badToken("it is over, or never will be")
	}
	iat, ok := c.instant("iat")
	if !ok || iat.After(now.Add(leeway)) {
		return badToken("it is of the future, or of no time at all")
	}
	if _, has := c["nbf"]; has {
		if nbf, ok := c.instant("nbf"); !ok || nbf.After(now.Add(leeway)) {
			return badToken("it is not valid yet")
		}
	}
	return nil
}

// sentNonce is the rule of our own sign-ins: it comes back as it was sent.
func (r *remote) sentNonce(nonce string) func(claims) error {
	return func(c claims) error {
		got, has := c["nonce"]
		s, _ := got.(string)
		switch {
		case !has && (r.ownNonce || r.s.SkipNonceCheck):
			return nil
		case nonce != "" && subtle.ConstantTimeCompare([]byte(s), []byte(nonce)) == 1:
			return nil
		}
		return &Error{Kind: Nonce, Problem: problemNonces, Err: fmt.Errorf("the nonce of an ID token is not ours")}
	}
}

// appNonce is the rule of ID tokens that apps bring: the app made up a nonce and
// told the provider its SHA-256, and only who made it up can show it.
func (r *remote) appNonce(nonce string) func(claims) error {
	if r.s.SkipNonceCheck {
		return nil
	}
	return func(c claims) error {
		got := c.text("nonce")
		if _, has := c["nonce"]; has != (nonce != "") {
			return &Error{Kind: Nonce, Problem: problemNonceOnce}
		}
		sum := sha256.Sum256([]byte(nonce))
		if nonce != "" && subtle.ConstantTimeCompare([]byte(got), []byte(hex.EncodeToString(sum[:]))) != 1 {
			return &Error{Kind: Nonce, Problem: problemNonces}
		}
		return nil
	}
}

// hashOf returns the left half of the hash that belongs to alg.
func hashOf(alg, token string) string {
	var h hash.Hash
	switch {
	case strings.HasSuffix(alg, "256"):
		h = sha256.New()
	case strings.HasSuffix(alg, "384"):
		h = sha512.New384()
	default: // …512 and Ed25519
		h = sha512.New()
	}
	h.Write([]byte(token))
	sum := h.Sum(nil)
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}
