package secret

import (
	"strings"

	"golang.org/x/crypto/bcrypt"
)

const (
	bcryptLength  = 60 // $2b$10$, then 22 characters of salt and 31 of hash
	bcryptHeader  = 7
	bcryptMinCost = bcrypt.MinCost
	bcryptMaxCost = 14 // about a second; the format's 31 would be two days
	bcryptMaxKey  = 72 // bytes of a password that bcrypt reads
)

// bcryptHash is an imported bcrypt hash. None are made here.
type bcryptHash []byte

// parseBcrypt reads $2a$, $2b$ and $2y$, which name one algorithm. $2x$ is a
// faulty one, whose collisions would let other passwords in.
func parseBcrypt(text string) (bcryptHash, error) {
	if len(text) != bcryptLength {
		return nil, unknown("bcrypt hash of %d characters, must be %d", len(text), bcryptLength)
	}
	switch text[:4] {
	case "$2a$", "$2b$", "$2y$":
	default:
		return nil, unknown("bcrypt hash must begin with $2a$, $2b$ or $2y$")
	}
	if strings.Trim(text[4:6], "0123456789") != "" || text[6] != '$' {
		return nil, unknown("bcrypt cost is not two digits")
	}
	if cost := int(text[4]-'0')*10 + int(text[5]-'0'); cost < bcryptMinCost || cost > bcryptMaxCost {
		return nil, unknown("bcrypt cost of %d, must be %d to %d", cost, bcryptMinCost, bcryptMaxCost)
	}
	const alphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	if strings.Trim(text[bcryptHeader:], alphabet) != "" {
		return nil, unknown("bcrypt salt and hash are not in its base64")
	}
	return bcryptHash(text), nil
}

// matches compares whole passwords: bcrypt reads only the first 72 bytes, so
// a longer one would be let in on its beginning alone. Longer ones are hashed
// all the same, so that the answer takes no less time.
func (b bcryptHash) matches(password string) bool {
	err := bcrypt.CompareHashAndPassword(b, []byte(password))
	return err == nil && len(password) <= bcryptMaxKey
}
