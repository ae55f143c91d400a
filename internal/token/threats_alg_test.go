package token_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"hash"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"gatehouse/internal/token"
)

// The names of these tests are the rows of docs/threats.md. Every attack has a
// control beside it: the honest twin of the forged token is accepted.

func TestThreat_J01_unsignedTokensAreRefused(t *testing.T) {
	h := newHouse(t, token.Secret("", []byte(shared), false))
	accepted(t, h.Keys, h.sign(payload))
	algs := []string{`"none"`, `"None"`, `"NONE"`, `"nOnE"`, `"none "`, `" none"`, `"none\u0000"`, `"ｎｏｎｅ"`, `""`, `null`, `0`, `["none"]`, `["ES256","none"]`, `{}`, `"es256"`, `"ES256 "`}
	for _, alg := range algs {
		for _, kid := range []string{"", `,"kid":"` + h.key.ID + `"`, `,"kid":""`, `,"kid":"nobody"`} {
			head := `{"alg":` + alg + kid + `}`
			for how, sign := range map[string]signer{
				"unsigned": unsigned, "signed by the house": es256(h.priv), "signed with the secret": hs256(shared), "signed with nothing": hs256(""),
			} {
				refused(t, h.Keys, how+" "+head, forge(head, payload, sign))
			}
		}
	}
	refused(t, h.Keys, "no alg", forge(`{"kid":"`+h.key.ID+`"}`, payload, es256(h.priv)))
	refused(t, h.Keys, "signature cut off", forge(h.header(), payload, unsigned))
	refused(t, h.Keys, "signature and its dot cut off", strings.TrimSuffix(forge(h.header(), payload, unsigned), "."))
}

func TestThreat_J02_publicKeyIsNoSharedSecret(t *testing.T) {
	rsaKeys := parse(t, jwk(t, testRSA(), "rsa", signs))
	h := newHouse(t)
	withSecret := newHouse(t, token.Secret("", []byte(shared), false))
	rings := []struct {
		ring *token.Keys
		kid  string
		pub  crypto.PublicKey
	}{
		{h.Keys, h.key.ID, h.priv.Public()},
		{withSecret.Keys, withSecret.key.ID, withSecret.priv.Public()},
		{newRing(t, rsaKeys...), "rsa", testRSA().Public()},
	}
	hashes := map[string]func() hash.Hash{"HS256": sha256.New, "HS384": sha512.New384, "HS512": sha512.New}
	for _, r := range rings {
		for _, secret := range publicForms(t, r.ring, r.pub) {
			for alg, h := range hashes {
				for _, kid := range []string{r.kid, "", "nobody"} {
					head := fmt.Sprintf(`{"alg":%q,"kid":%q}`, alg, kid)
					refused(t, r.ring, fmt.Sprintf("%s with secret %.40q", head, secret), forge(head, payload, hmacOf(h, secret)))
				}
			}
		}
	}
}

// publicForms writes what everybody may know of a key in all the ways a
// server could have it in memory.
func publicForms(t *testing.T, ring *token.Keys, pub crypto.PublicKey) [][]byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	body, _ := ring.JWKS()
	j := []byte(jwk(t, pub, "", ""))
	forms := [][]byte{der, text, []byte(strings.TrimSpace(string(text))), body, j, {}}
	var members map[string]string
	if err := json.Unmarshal(j, &members); err != nil {
		t.Fatal(err)
	}
	for _, v := range members {
		raw, _ := base64.RawURLEncoding.DecodeString(v)
		forms = append(forms, []byte(v), raw)
	}
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		point, err := k.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		forms = append(forms, point, point[1:])
	case *rsa.PublicKey:
		pkcs1 := x509.MarshalPKCS1PublicKey(k)
		forms = append(forms, pkcs1, pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: pkcs1}))
	}
	return forms
}

func TestThreat_J02_keyDecidesTheAlgorithm(t *testing.T) {
	key := testRSA()
	keys := newRing(t, append(parse(t, jwk(t, key, "rsa", signs)), token.Secret("oct", []byte(shared), false))...)
	signRSA := func(h crypto.Hash, pss bool) signer {
		return func(text string) []byte {
			d := h.New()
			d.Write([]byte(text))
			var sig []byte
			var err error
			if pss {
				sig, err = rsa.SignPSS(rand.Reader, key, h, d.Sum(nil), &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
			} else {
				sig, err = rsa.SignPKCS1v15(nil, key, h, d.Sum(nil))
			}
			if err != nil {
				t.Fatal(err)
			}
			return sig
		}
	}
	accepted(t, keys, forge(`{"alg":"RS256","kid":"rsa"}`, payload, signRSA(crypto.SHA256, false)))
	accepted(t, keys, forge(`{"alg":"HS256","kid":"oct"}`, payload, hs256(shared)))
	// Each of these is a good signature, by the right key, of another algorithm.
	for head, sign := range map[string]signer{
		`{"alg":"PS256","kid":"rsa"}`: signRSA(crypto.SHA256, true),
		`{"alg":"RS384","kid":"rsa"}`: signRSA(crypto.SHA384, false),
		`{"alg":"RS512","kid":"rsa"}`: signRSA(crypto.SHA512, false),
		`{"alg":"HS384","kid":"oct"}`: hmacOf(sha512.New384, []byte(shared)),
		`{"alg":"HS512","kid":"oct"}`: hmacOf(sha512.New, []byte(shared)),
		`{"alg":"HS512"}`:             hmacOf(sha512.New, []byte(shared)),
		`{"alg":"HS256","kid":"rsa"}`: hs256(shared),
		`{"alg":"RS256","kid":"oct"}`: signRSA(crypto.SHA256, false),
		`{"alg":"RS256"}`:             signRSA(crypto.SHA256, false),
	} {
		refused(t, keys, head, forge(head, payload, sign))
	}
}

func TestThreat_J03_keyInsideTheTokenIsIgnored(t *testing.T) {
	fetched := make(chan string, 100)
	evil := newEC(t)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fetched <- r.URL.Path
		fmt.Fprintf(w, `{"keys":[%s]}`, jwk(t, evil.Public(), "evil", ""))
	}))
	defer srv.Close()
	cert, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{SerialNumber: big.NewInt(1)}, evil.Public(), evil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []*house{newHouse(t), newHouse(t, token.Secret("", []byte(shared), false))} {
		for _, kid := range []string{h.key.ID, "evil", ""} {
			for _, more := range []string{
				`"jwk":` + jwk(t, evil.Public(), "evil", ""),
				`"jwk":` + jwk(t, evil.Public(), h.key.ID, ""),
				`"jwk":{"kty":"oct","k":""}`,
				`"jku":"` + srv.URL + `/jwks"`,
				`"x5u":"` + srv.URL + `/cert"`,
				`"x5c":["` + base64.StdEncoding.EncodeToString(cert) + `"]`,
			} {
				for alg, sign := range map[string]signer{"ES256": es256(evil), "HS256": hs256("")} {
					head := fmt.Sprintf(`{"alg":%q,"kid":%q,%s}`, alg, kid, more)
					raw := forge(head, payload, sign)
					refused(t, h.Keys, head, raw)
					h.Knows(raw)
				}
			}
		}
	}
	if len(fetched) > 0 {
		t.Errorf("an address from a token was fetched: %s", <-fetched)
	}
}

func TestThreat_J04_kidIsOnlyCompared(t *testing.T) {
	kids := []string{
		`"../../../../../../dev/null"`, `"/dev/null"`, `"/proc/sys/kernel/randomize_va_space"`, `"file:///dev/null"`, `"C:\\nul"`,
		`"' OR '1'='1"`, `"x' UNION SELECT 'secret' --"`, `"%"`, `"_"`, `"*"`, `"|id"`, `"$(id)"`, `"{{.}}"`, `"\u0000"`, `"\r\nX: y"`,
		`"` + strings.Repeat("k", 30_000) + `"`, `7`, `null`, `true`, `[]`, `["a"]`, `{}`, `{"$ne":""}`,
	}
	for _, h := range []*house{newHouse(t), newHouse(t, token.Secret("", []byte(shared), false))} {
		for _, kid := range kids {
			for alg, sign := range map[string]signer{"HS256": hs256(""), "ES256": es256(newEC(t))} {
				raw := forge(`{"alg":"`+alg+`","kid":`+kid+`}`, payload, sign)
				refused(t, h.Keys, "kid "+kid[:min(40, len(kid))], raw)
				h.Knows(raw)
			}
			for _, secret := range []string{"secret", "2", "\x00", "null"} {
				refused(t, h.Keys, "kid "+kid[:min(40, len(kid))], forge(`{"alg":"HS256","kid":`+kid+`}`, payload, hs256(secret)))
			}
		}
		// A kid that resembles one of the ring is none of it.
		id := h.key.ID
		for _, kid := range []string{id + " ", " " + id, id + "\\u0000", strings.ToUpper(id), id[:len(id)-1], id + "=", "./" + id} {
			refused(t, h.Keys, kid, forge(`{"alg":"ES256","kid":"`+kid+`"}`, payload, es256(h.priv)))
		}
	}
}

func TestThreat_J15_emptyOrOddSignaturesAreRefused(t *testing.T) {
	h := newHouse(t)
	n := elliptic.P256().Params().N
	good := h.sign(payload)
	accepted(t, h.Keys, good)
	pair := func(r, s *big.Int) signer {
		return func(string) []byte {
			sig := make([]byte, 64)
			r.FillBytes(sig[:32])
			s.FillBytes(sig[32:])
			return sig
		}
	}
	zero, one := big.NewInt(0), big.NewInt(1)
	last := new(big.Int).Sub(n, one)
	for _, r := range []*big.Int{zero, one, n, last} {
		for _, s := range []*big.Int{zero, one, n, last} {
			refused(t, h.Keys, fmt.Sprintf("(%x, %x)", r, s), forge(h.header(), payload, pair(r, s)))
		}
	}
	refused(t, h.Keys, "ASN.1", forge(h.header(), payload, func(text string) []byte {
		sum := sha256.Sum256([]byte(text))
		sig, err := ecdsa.SignASN1(rand.Reader, h.priv, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}))
	for _, size := range []int{0, 1, 32, 63, 65, 96, 128} {
		refused(t, h.Keys, fmt.Sprintf("%d bytes", size), forge(h.header(), payload, func(text string) []byte {
			return append(es256(h.priv)(text), make([]byte, 64)...)[:size]
		}))
	}
	for size := range 65 {
		ed := newRing(t, parse(t, jwk(t, testEd(), "ed", signs))...)
		refused(t, ed, "zeros for Ed25519", forge(`{"alg":"EdDSA","kid":"ed"}`, payload, func(string) []byte { return make([]byte, size) }))
	}
}

// CVE-2016-9122: of several signatures, one was checked and another one meant.
func TestThreat_J15_severalSignaturesAreRefused(t *testing.T) {
	h := newHouse(t)
	p := strings.Split(h.sign(payload), ".")
	flat := fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, p[0], p[1], p[2])
	many := fmt.Sprintf(`{"payload":%q,"signatures":[{"protected":%q,"signature":%q},{"protected":%q,"signature":""}]}`, p[1], p[0], p[2], b64([]byte(`{"alg":"none"}`)))
	for _, raw := range []string{flat, many, "." + flat + ".", many + "..", strings.Join(p, ".") + "." + p[2], strings.Join(p, ".") + "~" + p[2]} {
		refused(t, h.Keys, raw, raw)
	}
}

func TestThreat_J15_pointsOffTheCurveAreNoKeys(t *testing.T) {
	signer := jwk(t, newEC(t), "s", signs)
	point, err := newEC(t).PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	x, y := point[1:33], point[33:]
	flipped := append([]byte{y[0] ^ 1}, y[1:]...)
	zero := make([]byte, 32)
	ec := func(x, y []byte) string {
		return fmt.Sprintf(`{"kty":"EC","crv":"P-256","kid":"k","x":%q,"y":%q}`, b64(x), b64(y))
	}
	ed := func(x []byte) string { return fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","kid":"k","x":%q}`, b64(x)) }
	parse(t, signer, ec(x, y)) // the control
	identity := append([]byte{1}, zero[1:]...)
	for what, k := range map[string]string{
		"off the curve": ec(x, flipped), "swapped": ec(y, x), "zero": ec(zero, zero), "short": ec(x[1:], y), "long": ec(append([]byte{0}, x...), y),
		"no y":     `{"kty":"EC","crv":"P-256","x":"` + b64(x) + `"}`,
		"identity": ed(identity), "low order": ed(zero), "short Ed25519": ed(zero[1:]), "X25519": `{"kty":"OKP","crv":"X25519","x":"` + b64(x) + `"}`,
		"P-384": jwk(t, mustEC(t, elliptic.P384()).Public(), "k", ""), "P-521": jwk(t, mustEC(t, elliptic.P521()).Public(), "k", ""),
		"secp256k1": strings.Replace(ec(x, y), "P-256", "secp256k1", 1),
	} {
		if keys, err := token.ParseJWKs([]byte("["+k+","+signer+"]"), nil); err == nil {
			t.Errorf("%s: taken as a key: %+v", what, keys)
		}
	}
}

func mustEC(t *testing.T, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestThreat_J16_guessableKeysAreRefused(t *testing.T) {
	signer := jwk(t, newEC(t), "s", signs)
	n := func(bits uint) string {
		v := new(big.Int).Lsh(big.NewInt(1), bits-1)
		return fmt.Sprintf(`{"kty":"RSA","kid":"k","e":"AQAB","n":%q}`, b64(v.Add(v, big.NewInt(1)).Bytes()))
	}
	oct := func(size int) string {
		return fmt.Sprintf(`{"kty":"oct","kid":"k","k":%q}`, b64(make([]byte, size)))
	}
	for _, good := range []string{n(2048), n(3072), n(4096), oct(16), oct(32)} {
		parse(t, good, signer)
	}
	for what, bad := range map[string]string{
		"RSA 512": n(512), "RSA 1024": n(1024), "RSA 2047": n(2047), "RSA 4097": n(4097), "RSA 16384": n(16384),
		"RSA e=1": strings.Replace(n(2048), "AQAB", "AQ", 1), "RSA e=0": strings.Replace(n(2048), "AQAB", "AA", 1),
		"no secret": oct(0), "one byte": oct(1), "120 bits": oct(15), "no k": `{"kty":"oct","kid":"k"}`,
	} {
		if keys, err := token.ParseJWKs([]byte("["+bad+","+signer+"]"), nil); err == nil {
			t.Errorf("%s: taken as a key: %+v", what, keys)
		}
	}
	for _, secret := range [][]byte{nil, {}} {
		if _, err := token.NewKeys(token.Secret("", secret, true)); err == nil {
			t.Error("anybody can sign with an empty secret")
		}
	}
}
