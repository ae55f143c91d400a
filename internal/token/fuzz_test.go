package token_test

import (
	"crypto"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"gatehouse/internal/store"
	"gatehouse/internal/token"
)

// fuzzRing holds keys that are the same in every run, so that the corpus keeps
// its meaning; their signatures are deterministic, so that a token has one
// form that is accepted.
func fuzzRing(t testing.TB) (*token.Keys, []string) {
	t.Helper()
	ed := parse(t, jwk(t, testEd(), "ed", signs))
	ring := newRing(t, append(ed, token.Secret("nf-ident", []byte(shared), false), newHouse(t).key)...)
	edSign := func(text string) []byte {
		sig, err := testEd().Sign(nil, []byte(text), crypto.Hash(0))
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}
	return ring, []string{
		forge(`{"alg":"EdDSA","kid":"ed","typ":"JWT"}`, payload, edSign),
		forge(`{"alg":"HS256","kid":"nf-ident"}`, payload, hs256(shared)),
		forge(`{"alg":"HS256"}`, `{"role":"service_role"}`, hs256(shared)),
	}
}

// FuzzVerify: no input makes it panic, and none is believed but the tokens
// that were signed.
func FuzzVerify(f *testing.F) {
	ring, good := fuzzRing(f)
	for _, raw := range good {
		if _, err := ring.Verify(raw, at(issuedAt)); err != nil {
			f.Fatal(err)
		}
		p := strings.Split(raw, ".")
		for _, seed := range []string{
			raw, raw + "\n", raw + "=", raw + ".", raw[:len(raw)-1], raw[1:], p[0] + "." + p[1] + ".", p[0] + ".." + p[2], "Bearer " + raw,
			b64([]byte(`{"alg":"none"}`)) + "." + p[1] + ".", b64([]byte(`{"alg":"ES256","kid":"ed"}`)) + "." + p[1] + "." + b64(make([]byte, 64)),
			p[0] + "." + b64([]byte("null")) + "." + p[2], p[0] + "." + b64([]byte(`{"exp":1e400,"aud":[[]]}`)) + "." + p[2],
			b64([]byte(`{"alg":"HS256","crit":["b64"],"b64":false}`)) + "." + p[1] + "." + p[2], strings.Repeat(".", 1000), "", "\x00", "a.b.c.d.e",
		} {
			f.Add(seed)
		}
	}
	f.Fuzz(func(t *testing.T, raw string) {
		ring.Knows(raw)
		c, err := ring.Verify(raw, at(issuedAt))
		if err != nil {
			if c != nil || !errors.Is(err, token.ErrInvalid) {
				t.Fatalf("refused as %+v, %v", c, err)
			}
			return
		}
		for _, g := range good {
			if raw == g {
				return
			}
		}
		t.Fatalf("believed: %q says %+v", raw, c)
	})
}

// FuzzParseRefresh: no input makes it panic, and what is read was written here
// in just this form.
func FuzzParseRefresh(f *testing.F) {
	good := sampleRefresh().String(tenantA, macA)
	for _, seed := range []string{
		good, good + "\n", good + "=", good[:len(good)-1], good[1:], good + good, "", "A", strings.Repeat("A", 46), strings.Repeat("A", 64), strings.Repeat("\n", 64),
		sampleRefresh().String(tenantB, macA), sampleRefresh().String(tenantA, macB), token.Refresh{Session: store.SessionID{}, Generation: -1}.String(tenantA, macA),
	} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, raw string, sign bool) {
		if sign { // let the reader past the MAC
			b, err := base64.RawURLEncoding.DecodeString(raw)
			if err != nil {
				return
			}
			raw = sealed(b)
		}
		r, ok := token.ParseRefresh(raw, tenantA, macA)
		if !ok {
			return
		}
		if r.Generation < 1 || r.Generation > 1<<62 {
			t.Fatalf("generation %d", r.Generation)
		}
		if !sign && raw != good {
			t.Fatalf("believed: %q says %+v", raw, r)
		}
	})
}
