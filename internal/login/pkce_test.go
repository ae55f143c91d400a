package login

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"gatehouse/internal/auth"
)

// RFC 7636, appendix B.
const (
	rfcVerifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	rfcChallenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

func TestPKCE_judgesTheVerifier(t *testing.T) {
	s256 := auth.PKCE{Challenge: rfcChallenge, Method: "s256"}
	plain := auth.PKCE{Challenge: rfcVerifier, Method: "plain"}
	for _, c := range []struct {
		what     string
		p        auth.PKCE
		verifier string
		want     bool
	}{
		{"the RFC's example", s256, rfcVerifier, true},
		{"plain", plain, rfcVerifier, true},
		// Whoever saw the request knows the challenge (RFC 7636 §1).
		{"the challenge as verifier", s256, rfcChallenge, false},
		{"its hash, plain", plain, rfcChallenge, false},
		{"no verifier", s256, "", false},
		{"no verifier, plain", plain, "", false},
		{"cut", s256, rfcVerifier[:42], false},
		{"stretched", s256, rfcVerifier + "A", false},
		{"a line break", s256, rfcVerifier + "\n", false},
		{"a line break, plain", plain, rfcVerifier + "\n", false},
		{"another case", s256, strings.ToLower(rfcVerifier), false},
		{"another case, plain", plain, strings.ToLower(rfcVerifier), false},
		{"padded challenge", auth.PKCE{Challenge: rfcChallenge + "=", Method: "s256"}, rfcVerifier, false},
		// A verifier without a challenge is refused (RFC 9700 §2.1.1: the
		// attacker took the challenge out of the request).
		{"no challenge, no verifier", auth.PKCE{}, "", false},
		{"no challenge", auth.PKCE{}, rfcVerifier, false},
		{"no challenge, plain", auth.PKCE{Method: "plain"}, "", false},
		{"no challenge, s256", auth.PKCE{Method: "s256"}, "", false},
	} {
		if got := matches(c.p, c.verifier); got != c.want {
			t.Errorf("%s: got %v, want %v", c.what, got, c.want)
		}
	}
}

func TestPKCE_onlyTheVerifierFits(t *testing.T) {
	verifier := rapid.StringMatching(`[A-Za-z0-9._~-]{43,128}`) // RFC 7636 §4.1
	rapid.Check(t, func(t *rapid.T) {
		a, b := verifier.Draw(t, "a"), verifier.Draw(t, "b")
		sum := sha256.Sum256([]byte(a))
		for _, p := range []auth.PKCE{
			{Challenge: base64.RawURLEncoding.EncodeToString(sum[:]), Method: "s256"}, {Challenge: a, Method: "plain"},
		} {
			if !matches(p, a) {
				t.Fatalf("%+v refuses its own verifier", p)
			}
			if a != b && matches(p, b) {
				t.Fatalf("%+v takes %s", p, b)
			}
		}
	})
}
