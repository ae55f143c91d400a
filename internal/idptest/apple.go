package idptest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"time"
)

// AppleKey is what Apple gives a developer, of whom it then wants a client
// secret signed with it.
type AppleKey struct {
	TeamID, KeyID string
	PrivateKey    string // PEM, PKCS#8, as in the file that Apple hands out

	private *ecdsa.PrivateKey
}

// AppleAudience is whom Apple documents as the audience of client secrets.
const AppleAudience = "https://appleid.apple.com"

// Apple makes a key for a client. Apple takes no secret from it but one signed
// with this key; other vendors still take the plain one.
func (p *Provider) Apple(clientID string) AppleKey {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		panic(err)
	}
	k := AppleKey{TeamID: "TEAM" + rand.Text()[:6], KeyID: "KEY" + rand.Text()[:7], private: private}
	k.PrivateKey = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.clients[clientID] == nil {
		panic("idptest: no client " + clientID)
	}
	p.clients[clientID].apple = &k
	return k
}

// Secret is a client secret that is good from now for a while, at most half a
// year.
func (k AppleKey) Secret(clientID string, now time.Time, life time.Duration) string {
	text := segment(map[string]any{"alg": "ES256", "kid": k.KeyID}) + "." + segment(map[string]any{
		"iss": k.TeamID, "sub": clientID, "aud": AppleAudience, "iat": now.Unix(), "exp": now.Add(life).Unix(),
	})
	return text + "." + base64.RawURLEncoding.EncodeToString(sealES256(k.private, []byte(text)))
}

// appleSecret judges a client secret by
// https://developer.apple.com/documentation/accountorganizationaldatasharing/creating-a-client-secret.
func (c *call) appleSecret(client *Client, secret string) *refusal {
	no := func(why string) *refusal { return refuse(http.StatusBadRequest, "invalid_client", why) }
	c.p.mu.Lock()
	k := client.apple
	c.p.mu.Unlock()
	if k == nil {
		return no("the client has no key")
	}
	parts := strings.Split(secret, ".")
	if len(parts) != 3 {
		return no("the secret is no JWT")
	}
	var header struct{ Alg, Kid string }
	var claims struct {
		Iss, Sub string
		Aud      any
		Iat, Exp int64
	}
	for i, into := range []any{&header, &claims} {
		raw, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || json.Unmarshal(raw, into) != nil {
			return no("the secret is no JWT")
		}
	}
	sig, err := base64.RawURLEncoding.DecodeString(parts[2])
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	now := c.p.now().Unix()
	switch {
	case header.Alg != "ES256" || header.Kid != k.KeyID:
		return no("alg or kid is wrong")
	case err != nil || len(sig) != 64 || !ecdsa.Verify(&k.private.PublicKey, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])):
		return no("the signature is wrong")
	case claims.Iss != k.TeamID || claims.Sub != client.ID:
		return no("iss or sub is wrong")
	case !slices.Contains([]any{AppleAudience, c.issuer()}, claims.Aud):
		return no("aud is wrong")
	case claims.Iat > now+60 || claims.Exp <= now || claims.Exp-claims.Iat > 15777000:
		return no("the secret is not good now, or for too long")
	}
	return nil
}
