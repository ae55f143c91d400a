package social

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// appleSecret makes the client secret of a key: a token that we sign ourselves
// ("Creating a client secret" in Apple's Account & Organizational Data Sharing).
// It is made for one request, so it ends soon.
func appleSecret(s Settings, audience string, now time.Time) (string, error) {
	block, _ := pem.Decode([]byte(s.Apple.PrivateKey))
	if block == nil {
		return "", failed("apple has neither a secret nor a key")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok || key.Curve != elliptic.P256() {
		return "", failed("the key for apple is not the P-256 key that Apple gave")
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: s.Apple.KeyID}}, nil)
	if err != nil {
		return "", failed("the key for apple: %w", err)
	}
	payload, err := json.Marshal(map[string]any{
		"iss": s.Apple.TeamID, "sub": s.ClientIDs[0], "aud": audience, "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	})
	if err != nil {
		return "", failed("the secret for apple: %w", err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		return "", failed("the secret for apple: %w", err)
	}
	return jws.CompactSerialize()
}

// appleClaims reads Apple's ID token, the only one in which "true" in quotes is
// true: Apple documents email_verified as a string or a boolean.
//
// The name is told once, in a form field that nobody signed. So it is taken for a
// name and nothing else: the address beside it could be anybody's (Sign in with
// Apple 2020).
func appleClaims(v *visit, c claims, p *person) {
	p.proved = c.yes("email_verified") || c.text("email_verified") == "true"
	p.custom = c.pick("is_private_email", "auth_time", "real_user_status")
	if v.form == "" || len(v.form) > maxText {
		return
	}
	form, err := readClaims([]byte(v.form))
	if err != nil {
		return
	}
	name := form.inner("name")
	p.given, p.family = name.text("firstName"), name.text("lastName")
}
