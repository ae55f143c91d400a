package secret

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"math/big"
)

// Token returns 32 random bytes as 43 characters of unpadded base64url
// (RFC 4648 §5): safe in a URL, a cookie and a header as it stands.
func Token() string {
	return base64.RawURLEncoding.EncodeToString(random(32))
}

// Code returns that many random decimal digits, every code equally likely. It
// panics unless digits is 6 to 10: fewer are guessed, more are mistyped.
func Code(digits int) string {
	if digits < 6 || digits > 10 {
		panic(fmt.Sprintf("secret: a code of %d digits: must be 6 to 10", digits))
	}
	codes := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(digits)), nil)
	// rand.Int draws again where a remainder would favour the low codes.
	n, err := rand.Int(rand.Reader, codes)
	if err != nil {
		panic("secret: no randomness: " + err.Error())
	}
	return fmt.Sprintf("%0*d", digits, n)
}

// Same reports whether a and b are equal, in a time that does not tell where
// they differ: otherwise a secret can be guessed byte by byte. Only their
// lengths show.
func Same(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }

// random returns n random bytes. Since Go 1.24 crypto/rand ends the process
// rather than hand out bytes that are not random.
func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}
