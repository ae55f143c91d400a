package web3

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"math/big"
	"slices"
	"strings"

	"filippo.io/edwards25519"
)

// checkSolana looks at who signed: the address is the key.
func (s *Statement) checkSolana(message, signature string) error {
	key, ok := base58(s.Address)
	if !ok || len(key) != ed25519.PublicKeySize || !sound(key) {
		return refuse(ErrMessage, "its account is not a Solana address")
	}
	// auth-js writes base64url without padding; others may write base64.
	plain := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimSuffix(signature, "=="))
	sig, err := base64.RawStdEncoding.Strict().DecodeString(plain)
	// It skips line breaks, so the text is measured, too.
	if err != nil || len(sig) != ed25519.SignatureSize || len(plain) != base64.RawStdEncoding.EncodedLen(len(sig)) || !ed25519.Verify(key, []byte(message), sig) {
		return refuse(ErrSignature, "the signature is not of the account that the message names")
	}
	return nil
}

// sound reports whether a key is a point that a private key can have. For the
// few others (those of small order) everybody can make signatures that are
// good for any message, and would share the account.
func sound(key []byte) bool {
	p, err := new(edwards25519.Point).SetBytes(key)
	if err != nil || !bytes.Equal(p.Bytes(), key) {
		return false
	}
	return new(edwards25519.Point).MultByCofactor(p).Equal(edwards25519.NewIdentityPoint()) == 0
}

const base58Digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

// base58 reads at most 64 digits. A leading 1 is a byte of zero, so that any
// bytes are written in one way only.
func base58(v string) ([]byte, bool) {
	if v == "" || len(v) > 64 {
		return nil, false
	}
	n, base := new(big.Int), big.NewInt(int64(len(base58Digits)))
	for i := range len(v) {
		d := strings.IndexByte(base58Digits, v[i])
		if d < 0 {
			return nil, false
		}
		n.Add(n.Mul(n, base), big.NewInt(int64(d)))
	}
	zeros := len(v) - len(strings.TrimLeft(v, "1"))
	return slices.Concat(make([]byte, zeros), n.Bytes()), true
}
