package token_test

import (
	"fmt"
	"testing"

	"gatehouse/internal/token"
)

func benchClaims() token.Claims {
	return token.Claims{
		Issuer: "https://auth.example.com", Subject: subject, Audience: "authenticated", Role: "authenticated", Email: "somebody@example.com",
		ExpiresAt: numeric(issuedAt + 3600), IssuedAt: numeric(issuedAt), AAL: "aal1", SessionID: subject,
		AppMetadata: []byte(`{"provider":"email","providers":["email"]}`), UserMetadata: []byte(`{"name":"Some Body"}`),
		AMR: fmt.Appendf(nil, `[{"method":"password","timestamp":%d}]`, issuedAt),
	}
}

func BenchmarkSign(b *testing.B) {
	for alg, ring := range benchRings(b) {
		b.Run(alg, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ring.Sign(benchClaims(), at(issuedAt)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	for alg, ring := range benchRings(b) {
		raw, err := ring.Sign(benchClaims(), at(issuedAt))
		if err != nil {
			b.Fatal(err)
		}
		keys, _ := ring.List(at(issuedAt))
		b.Run(alg+"/cached", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ring.Verify(raw, at(issuedAt)); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(alg+"/uncached", func(b *testing.B) { // with Replace, which costs little beside a signature
			b.ReportAllocs()
			for b.Loop() {
				if err := ring.Replace(keys...); err != nil {
					b.Fatal(err)
				}
				if _, err := ring.Verify(raw, at(issuedAt)); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(alg+"/forged", func(b *testing.B) {
			b.ReportAllocs()
			forged := raw[:len(raw)-4] + "AAAA"
			for b.Loop() {
				if _, err := ring.Verify(forged, at(issuedAt)); err == nil {
					b.Fatal("believed")
				}
			}
		})
	}
}

func benchRings(b *testing.B) map[string]*token.Keys {
	return map[string]*token.Keys{
		"ES256": newHouse(b).Keys,
		"HS256": newRing(b, token.Secret("", []byte(shared), true)),
		"EdDSA": newRing(b, parse(b, jwk(b, testEd(), "ed", signs))...),
	}
}

func BenchmarkParseRefresh(b *testing.B) {
	good := sampleRefresh().String(tenantA, macA)
	for what, raw := range map[string]string{"good": good, "forged": sampleRefresh().String(tenantA, macB), "rubbish": "not a token"} {
		b.Run(what, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := token.ParseRefresh(raw, tenantA, macA); ok != (what == "good") {
					b.Fatal(ok)
				}
			}
		})
	}
}
