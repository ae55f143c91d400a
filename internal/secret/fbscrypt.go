package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"strconv"
	"strings"

	"golang.org/x/crypto/scrypt"
)

// fbScrypt is a hash of Firebase Authentication: scrypt (RFC 7914) makes a key
// that encrypts the project's own signing key, and what comes out is kept. It
// is written as Supabase's import has it,
//
//	$fbscrypt$v=1,n=14,r=8,p=1,ss=SEPARATOR,sk=SIGNINGKEY$SALT$HASH
//
// where n is the base 2 logarithm of scrypt's N and the rest is base64.
type fbScrypt struct {
	n, r, p    int
	salt, sk   []byte // the salt with its separator
	ciphertext []byte
}

// Bounds of what an imported hash may ask for: Firebase itself uses n=14, r=8,
// p=1, which takes 16 MiB.
const (
	fbMaxN      = 16
	fbMaxR      = 64
	fbMaxP      = 4
	fbMaxMemory = 64 << 20 // bytes
)

func parseFBScrypt(s string) (fbScrypt, error) {
	f := strings.Split(s, "$")
	bad := unknown("not a Firebase scrypt hash: $fbscrypt$v=1,n=14,r=8,p=1,ss=…,sk=…$salt$hash")
	if len(f) != 5 {
		return fbScrypt{}, bad
	}
	var h fbScrypt
	var separator []byte
	version := ""
	for field := range strings.SplitSeq(f[2], ",") {
		name, value, _ := strings.Cut(field, "=")
		var err error
		switch name {
		case "v":
			version = value
		case "n":
			h.n, err = strconv.Atoi(value)
		case "r":
			h.r, err = strconv.Atoi(value)
		case "p":
			h.p, err = strconv.Atoi(value)
		case "ss":
			separator, err = base64.StdEncoding.DecodeString(value)
		case "sk":
			h.sk, err = base64.StdEncoding.DecodeString(value)
		default:
			return fbScrypt{}, bad
		}
		if err != nil {
			return fbScrypt{}, bad
		}
	}
	salt, err := base64.StdEncoding.DecodeString(f[3])
	if err == nil {
		h.ciphertext, err = base64.StdEncoding.DecodeString(f[4])
	}
	h.salt = append(salt, separator...)
	switch {
	case err != nil, version != "1", len(h.sk) == 0, len(h.ciphertext) != len(h.sk), len(salt) == 0:
		return fbScrypt{}, bad
	case h.n < 1 || h.n > fbMaxN, h.r < 1 || h.r > fbMaxR, h.p < 1 || h.p > fbMaxP, 128*h.r<<h.n > fbMaxMemory:
		return fbScrypt{}, unknown("Firebase scrypt that asks for more work than is granted: n to %d, r to %d, p to %d, and 64 MiB in all", fbMaxN, fbMaxR, fbMaxP)
	}
	return h, nil
}

func (h fbScrypt) matches(password string) bool {
	key, err := scrypt.Key([]byte(password), h.salt, 1<<h.n, h.r, h.p, 32)
	if err != nil {
		return false // the parameters were checked
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return false // the key has the right size
	}
	out := make([]byte, len(h.sk))
	cipher.NewCTR(block, make([]byte, aes.BlockSize)).XORKeyStream(out, h.sk)
	return Same(out, h.ciphertext)
}
