package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
)

// NewES256 makes a P-256 key that signs from the given instant. der is its
// private half (PKCS #8), to be sealed and kept.
func NewES256(signsAt time.Time) (k Key, der []byte, err error) {
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return k, nil, err
	}
	der, err = x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		return k, nil, err
	}
	kid, err := thumbprint(priv.Public())
	if err != nil {
		return k, nil, err
	}
	k, err = ReadKey(kid, jwt.SigningMethodES256.Alg(), der, signsAt)
	return k, der, err
}

// ReadKey reads back a key NewES256 made.
func ReadKey(kid, alg string, der []byte, signsAt time.Time) (Key, error) {
	priv, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return Key{}, fmt.Errorf("token: key %s: %w", kid, err)
	}
	fits, pub, err := algorithm(priv)
	if err != nil || fits != alg { // a row that says "none" or "HS256" makes no key
		return Key{}, fmt.Errorf("token: key %s: no way to sign %s with it", kid, alg)
	}
	return Key{ID: kid, Alg: alg, SignsAt: signsAt, method: jwt.GetSigningMethod(alg), private: priv, public: pub}, nil
}

// Secret returns the HS256 key of a configured shared secret. signs is false
// where another configured key does.
func Secret(kid string, secret []byte, signs bool) Key {
	k := Key{ID: kid, Alg: jwt.SigningMethodHS256.Alg(), Foreign: true, method: jwt.SigningMethodHS256, public: secret}
	if signs {
		k.private = secret
	}
	return k
}

// ParseJWKs reads JWT_KEYS: a JSON array of JWKs (RFC 7517) of which exactly
// one has the key operation "sign" and a private half. valid lists the
// algorithms to accept; empty: whatever the keys say.
func ParseJWKs(text []byte, valid []string) ([]Key, error) {
	var raw []json.RawMessage
	err := json.Unmarshal(text, &raw)
	if err != nil {
		return nil, fmt.Errorf("token: JWT_KEYS is not a JSON array of keys: %w", err)
	}
	var keys []Key
	signers := 0
	for n, r := range raw {
		k, err := parseJWK(r)
		if err != nil {
			return nil, fmt.Errorf("token: JWT_KEYS, key %d: %w", n+1, err)
		}
		if len(valid) > 0 && !slices.Contains(valid, k.Alg) {
			return nil, fmt.Errorf("token: JWT_KEYS, key %d: %s is not in JWT_VALID_METHODS", n+1, k.Alg)
		}
		if k.private != nil {
			signers++
		}
		keys = append(keys, k)
	}
	if signers != 1 {
		return nil, fmt.Errorf("token: JWT_KEYS has %d keys with key_ops sign; it needs exactly one", signers)
	}
	return keys, nil
}

func parseJWK(raw json.RawMessage) (Key, error) {
	var j jose.JSONWebKey
	err := j.UnmarshalJSON(raw)
	if err != nil {
		return Key{}, err
	}
	var extra struct {
		Ops []string `json:"key_ops"`
	}
	err = json.Unmarshal(raw, &extra)
	if err != nil {
		return Key{}, err
	}
	alg, pub, err := algorithm(j.Key)
	if err != nil {
		return Key{}, err
	}
	if j.Algorithm != "" && j.Algorithm != alg {
		return Key{}, fmt.Errorf("alg %q does not fit a key for %s", j.Algorithm, alg)
	}
	k := Key{ID: j.KeyID, Alg: alg, Foreign: true, method: jwt.GetSigningMethod(alg), public: pub}
	if k.ID == "" && alg != jwt.SigningMethodHS256.Alg() {
		k.ID, err = thumbprint(pub)
		if err != nil {
			return Key{}, err
		}
	}
	if slices.Contains(extra.Ops, "sign") {
		if j.IsPublic() {
			return Key{}, errors.New("key_ops says sign, but the private half is missing")
		}
		k.private = j.Key
	}
	return k, nil
}

// algorithm says which algorithm a key is used with, and its public half.
func algorithm(key any) (alg string, public any, err error) {
	switch k := key.(type) {
	case []byte:
		if len(k) < 16 {
			return "", nil, errors.New("a secret under 128 bits can be guessed")
		}
		return "HS256", k, nil
	case *ecdsa.PrivateKey:
		return algorithm(&k.PublicKey)
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return "", nil, errors.New("only the curve P-256 is supported")
		}
		return "ES256", k, nil
	case *rsa.PrivateKey:
		return algorithm(&k.PublicKey)
	case *rsa.PublicKey:
		if k.N.BitLen() < 2048 || k.N.BitLen() > 4096 {
			return "", nil, errors.New("an RSA key has 2048 to 4096 bits")
		}
		return "RS256", k, nil
	case ed25519.PrivateKey:
		return "EdDSA", k.Public(), nil
	case ed25519.PublicKey:
		return "EdDSA", k, nil
	}
	return "", nil, fmt.Errorf("a key of type %T is not supported", key)
}

// thumbprint is the RFC 7638 name of a key.
func thumbprint(pub any) (string, error) {
	j := jose.JSONWebKey{Key: pub}
	sum, err := j.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("token: thumbprint: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}

func publicJWK(kid, alg string, pub crypto.PublicKey) (json.RawMessage, error) {
	b, err := json.Marshal(jose.JSONWebKey{Key: pub, KeyID: kid, Algorithm: alg, Use: "sig"})
	if err != nil {
		return nil, fmt.Errorf("token: JWKS: %w", err)
	}
	return append(b[:len(b)-1], []byte(`,"key_ops":["verify"]}`)...), nil
}
