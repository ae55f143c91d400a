package token_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"

	"gatehouse/internal/token"
)

// Tokens are forged here with nothing but the standard library, so that no
// fault of the JOSE library in use can hide on both sides.

const (
	issuedAt = 1_800_000_000
	subject  = "0b0fd3cf-6f4c-4a6d-8a2c-0d5f4a2e1c11"
	shared   = "a shared secret of more than 32 bytes"
)

func at(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }

// payload is what an honest token says.
var payload = fmt.Sprintf(`{"sub":%q,"role":"authenticated","exp":%d}`, subject, issuedAt+3600)

type signer func(text string) []byte

func es256(k *ecdsa.PrivateKey) signer {
	return func(text string) []byte {
		sum := sha256.Sum256([]byte(text))
		r, s, err := ecdsa.Sign(rand.Reader, k, sum[:])
		if err != nil {
			panic(err)
		}
		sig := make([]byte, 64)
		r.FillBytes(sig[:32])
		s.FillBytes(sig[32:])
		return sig
	}
}

func hmacOf(h func() hash.Hash, secret []byte) signer {
	return func(text string) []byte {
		m := hmac.New(h, secret)
		m.Write([]byte(text))
		return m.Sum(nil)
	}
}

func hs256(secret string) signer { return hmacOf(sha256.New, []byte(secret)) }

func unsigned(string) []byte { return nil }

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func forge(header, payload string, sign signer) string {
	text := b64([]byte(header)) + "." + b64([]byte(payload))
	return text + "." + b64(sign(text))
}

// house is a ring with one key of its own, and that key.
type house struct {
	*token.Keys
	key  token.Key
	priv *ecdsa.PrivateKey
}

func (h *house) header() string       { return fmt.Sprintf(`{"alg":"ES256","kid":%q}`, h.key.ID) }
func (h *house) sign(p string) string { return forge(h.header(), p, es256(h.priv)) }

func newHouse(t testing.TB, more ...token.Key) *house {
	t.Helper()
	k, der, err := token.NewES256(at(issuedAt - 60))
	if err != nil {
		t.Fatal(err)
	}
	priv, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		t.Fatal(err)
	}
	return &house{Keys: newRing(t, append(more, k)...), key: k, priv: priv.(*ecdsa.PrivateKey)}
}

func newRing(t testing.TB, keys ...token.Key) *token.Keys {
	t.Helper()
	ring, err := token.NewKeys(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func newEC(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// testRSA is made once: it takes long.
var testRSA = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// testEd is always the same.
func testEd() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32)) }

// jwk writes a key as JWK with more members, a JSON fragment.
func jwk(t testing.TB, key any, kid, more string) string {
	t.Helper()
	b, err := json.Marshal(jose.JSONWebKey{Key: key, KeyID: kid})
	if err != nil {
		t.Fatal(err)
	}
	if more == "" {
		return string(b)
	}
	return strings.TrimSuffix(string(b), "}") + "," + more + "}"
}

const signs = `"key_ops":["sign"]`

func parse(t testing.TB, jwks ...string) []token.Key {
	t.Helper()
	keys, err := token.ParseJWKs([]byte("["+strings.Join(jwks, ",")+"]"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func accepted(t *testing.T, k *token.Keys, raw string) *token.Claims {
	t.Helper()
	c, err := k.Verify(raw, at(issuedAt))
	if err != nil {
		t.Fatalf("an honest token was refused: %v", err)
	}
	return c
}

// refused tries twice, for the first answer must not be remembered wrongly.
func refused(t *testing.T, k *token.Keys, what, raw string) {
	t.Helper()
	for range 2 {
		c, err := k.Verify(raw, at(issuedAt))
		if c != nil || !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s: got %+v, %v; want token.ErrInvalid", what, c, err)
		}
	}
}

func TestKeys_everyKindOfKeySignsAndVerifies(t *testing.T) {
	ec := newEC(t)
	kinds := []struct {
		alg          string
		private, pub any
	}{
		{"ES256", ec, ec.Public()},
		{"EdDSA", testEd(), testEd().Public()},
		{"RS256", testRSA(), testRSA().Public()},
		{"HS256", []byte(shared), []byte(shared)},
	}
	for _, k := range kinds {
		t.Run(k.alg, func(t *testing.T) {
			keys := parse(t, jwk(t, k.private, "a kid", signs+`,"alg":"`+k.alg+`"`))
			if got := keys[0]; got.Alg != k.alg || got.ID != "a kid" || !got.Foreign || !got.Signs() {
				t.Fatalf("key: %+v", got)
			}
			ring := newRing(t, keys...)
			raw, err := ring.Sign(token.Claims{Subject: subject, Role: "r", Audience: "a"}, at(issuedAt))
			if err != nil {
				t.Fatal(err)
			}
			c := accepted(t, ring, raw)
			if c.Subject != subject || c.Role != "r" || c.Audience != "a" || !c.Foreign {
				t.Errorf("claims: %+v", c)
			}
			// Another library reads it too.
			jws, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(k.alg)})
			if err != nil {
				t.Fatal(err)
			}
			body, err := jws.Verify(k.pub)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(body, []byte(`"aud":"a"`)) {
				t.Errorf("aud is not a plain string: %s", body)
			}
			// A key without "sign" verifies the same token.
			reader := parse(t, jwk(t, k.pub, "a kid", ""), jwk(t, newEC(t), "other", signs))
			accepted(t, newRing(t, reader...), raw)
			cut := len(raw) - 8
			refused(t, ring, "another signature", raw[:cut]+strings.Map(swap, raw[cut:cut+1])+raw[cut+1:])
		})
	}
}

// swap turns any base64url digit into another.
func swap(r rune) rune {
	if r == 'A' {
		return 'B'
	}
	return 'A'
}

func TestKeys_newestKeyWhoseTimeHasComeSigns(t *testing.T) {
	old, _, _ := token.NewES256(at(issuedAt - 10))
	young, _, _ := token.NewES256(at(issuedAt + 10))
	ring := newRing(t, young, old)
	for _, c := range []struct {
		now  int64
		want string
	}{{issuedAt - 11, old.ID}, {issuedAt - 10, old.ID}, {issuedAt + 9, old.ID}, {issuedAt + 10, young.ID}} {
		keys, got := ring.List(at(c.now))
		if got != c.want || len(keys) != 2 || keys[0].ID != old.ID {
			t.Errorf("at %d: %q signs, want %q", c.now, got, c.want)
		}
		raw, err := ring.Sign(token.Claims{}, at(c.now))
		if err != nil { // also before the first one's time: a clock that was set back stops nobody
			t.Fatalf("Sign at %d: %v", c.now, err)
		}
		if !strings.Contains(header(t, raw), c.want) {
			t.Errorf("signed at %d with %s, want %s", c.now, header(t, raw), c.want)
		}
	}
}

func header(t *testing.T, raw string) string {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[0])
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestReadKey_readsBackWhatNewES256Made(t *testing.T) {
	k, der, err := token.NewES256(at(issuedAt))
	if err != nil {
		t.Fatal(err)
	}
	again, err := token.ReadKey(k.ID, k.Alg, der, k.SignsAt)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := newRing(t, again).Sign(token.Claims{Subject: subject, ExpiresAt: numeric(issuedAt + 60)}, at(issuedAt))
	if err != nil {
		t.Fatal(err)
	}
	if c := accepted(t, newRing(t, k), raw); c.Foreign {
		t.Error("a key of the house makes foreign tokens")
	}
	for _, alg := range []string{"none", "HS256", "RS256", "ES384", "EdDSA", "es256", ""} {
		if _, err := token.ReadKey(k.ID, alg, der, k.SignsAt); err == nil {
			t.Errorf("a P-256 key was read as a key for %q", alg)
		}
	}
	if _, err := token.ReadKey(k.ID, k.Alg, der[:20], k.SignsAt); err == nil {
		t.Error("half a key was read")
	}
}

func TestParseJWKs_wantsExactlyOneSigner(t *testing.T) {
	a, b := newEC(t), newEC(t)
	for what, text := range map[string]string{
		"no keys":                "[]",
		"no signer":              "[" + jwk(t, a, "a", "") + "]",
		"only verify":            "[" + jwk(t, a, "a", `"key_ops":["verify"]`) + "]",
		"two signers":            "[" + jwk(t, a, "a", signs) + "," + jwk(t, b, "b", signs) + "]",
		"sign with a public key": "[" + jwk(t, a.Public(), "a", signs) + "]",
		"key_ops no list":        "[" + jwk(t, a, "a", `"key_ops":"sign"`) + "]",
		"an object":              jwk(t, a, "a", signs),
		"a key set":              `{"keys":[` + jwk(t, a, "a", signs) + "]}",
		"not JSON":               "[",
		"nothing":                "",
		"two arrays":             "[" + jwk(t, a, "a", signs) + "][]",
		"null":                   "[null]",
		"alg of another key":     "[" + jwk(t, a, "a", signs+`,"alg":"HS256"`) + "]",
		"alg none":               "[" + jwk(t, a, "a", signs+`,"alg":"none"`) + "]",
	} {
		keys, err := token.ParseJWKs([]byte(text), nil)
		if err == nil {
			t.Errorf("%s: accepted: %+v", what, keys)
		}
	}
	parse(t, jwk(t, a, "a", signs), jwk(t, b, "b", ""), jwk(t, b.Public(), "c", `"key_ops":["verify"]`))
}

func TestParseJWKs_keepsToTheAlgorithmsAllowed(t *testing.T) {
	text := []byte("[" + jwk(t, newEC(t), "a", signs) + "]")
	if _, err := token.ParseJWKs(text, []string{"RS256", "ES256"}); err != nil {
		t.Error(err)
	}
	if _, err := token.ParseJWKs(text, []string{"RS256", "HS256"}); err == nil {
		t.Error("ES256 was not allowed, but taken")
	}
}

// RFC 7638 §3.1 gives this key and its name.
func TestParseJWKs_namesAKeyByItsThumbprint(t *testing.T) {
	const n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
	keys := parse(t, `{"kty":"RSA","e":"AQAB","n":"`+n+`"}`, jwk(t, newEC(t), "", signs))
	if got, want := keys[0].ID, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"; got != want {
		t.Errorf("thumbprint %s, want %s", got, want)
	}
	// Of a key of the house: against another library, and by hand.
	h := newHouse(t)
	oracle, err := (&jose.JSONWebKey{Key: h.priv.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	point, err := h.priv.PublicKey.Bytes() // 4 | x | y
	if err != nil {
		t.Fatal(err)
	}
	byHand := sha256.Sum256(fmt.Appendf(nil, `{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}`, b64(point[1:33]), b64(point[33:])))
	if h.key.ID != b64(oracle) || h.key.ID != b64(byHand[:]) {
		t.Errorf("kid %s, want %s and %s", h.key.ID, b64(oracle), b64(byHand[:]))
	}
}

// GoTrue on Netlify names its keys so; the secret came along without a name.
func TestKeys_tokensOfBeforeTheMoveAreReadWithTheSharedSecret(t *testing.T) {
	ring := newRing(t, token.Secret("", []byte(shared), true))
	for _, h := range []string{
		`{"alg":"HS256","typ":"JWT"}`,
		`{"alg":"HS256"}`,
		`{"alg":"HS256","kid":"nf-ident"}`,
		`{"alg":"HS256","typ":"jwt","kid":"gone long ago"}`,
		`{"alg":"HS256","kid":7}`,
	} {
		if c := accepted(t, ring, forge(h, payload, hs256(shared))); !c.Foreign || c.Subject != subject {
			t.Errorf("%s: %+v", h, c)
		}
		refused(t, ring, h+" with another secret", forge(h, payload, hs256(shared+"!")))
	}
	raw, err := ring.Sign(token.Claims{Subject: subject}, at(issuedAt))
	if err != nil {
		t.Fatal(err)
	}
	if got := header(t, raw); strings.Contains(got, "kid") {
		t.Errorf("a secret without a name signs with one: %s", got)
	}
	accepted(t, ring, raw)
	if !ring.Knows(raw) {
		t.Error("the ring does not know its own token")
	}
}

func numeric(seconds int64) *jwt.NumericDate { return jwt.NewNumericDate(at(seconds)) }
