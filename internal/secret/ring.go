// Package secret makes and checks secrets: random tokens and codes, keyed
// hashes, values sealed for the database, password hashes, and the pool that
// admits password hashing.
//
// Begin at [Root] (one key, from which every other key is derived) and
// [Hasher] (all that is done with a password); [Pool] is what keeps a flood of
// logins from taking the machine.
//
// It must never write a secret to a log or into an error, cut a password
// short, or let a stored hash decide how much work it costs.
package secret

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"sync"
)

// rootSize is the length of a root key in bytes.
const rootSize = 32

// Root is the root key and what is derived from it. Each purpose has a key of
// its own (HKDF-SHA-256, RFC 5869), so what was made for one purpose is
// worthless for any other. Safe for concurrent use.
//
// Purposes are constants in the code: their keys are kept for good, and a
// purpose that a client could choose would fill the memory.
type Root struct {
	key   []byte
	id    [4]byte
	macs  sync.Map // purpose string → []byte
	seals sync.Map // purpose string → cipher.AEAD
}

// GenerateRoot returns a new random root key of 32 bytes.
func GenerateRoot() []byte { return random(rootSize) }

// NewRoot returns the root with this key, which must be 32 random bytes, not a
// passphrase.
func NewRoot(key []byte) (*Root, error) {
	if len(key) != rootSize {
		return nil, fmt.Errorf("root key has %d bytes: it must have exactly %d random ones", len(key), rootSize)
	}
	r := &Root{key: append([]byte(nil), key...)}
	copy(r.id[:], r.derive("key id", ""))
	return r, nil
}

// MAC returns HMAC-SHA-256 (RFC 2104) of the parts under the key of this
// purpose. Each part is preceded by its length, so that ("ab", "c") and ("a",
// "bc") differ: else one user's code could be made to stand for another's.
func (r *Root) MAC(purpose string, parts ...[]byte) [32]byte {
	key, ok := r.macs.Load(purpose)
	if !ok {
		// Two first callers derive the same key: either may keep it.
		key, _ = r.macs.LoadOrStore(purpose, r.derive("mac", purpose))
	}
	mac := hmac.New(sha256.New, key.([]byte))
	var size [8]byte
	for _, part := range parts {
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		mac.Write(size[:])
		mac.Write(part)
	}
	var sum [32]byte
	mac.Sum(sum[:0])
	return sum
}

// ID names the key without telling it: 8 hexadecimal digits.
func (r *Root) ID() string { return hex.EncodeToString(r.id[:]) }

// Format writes the key id in place of the root, whatever the verb: a root
// that strays into a log line gives nothing away.
func (r *Root) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "root key %x", r.id) }

var _ fmt.Formatter = (*Root)(nil)

// derive returns the 32-byte key for one purpose of one use; a MAC and a seal
// of the same purpose share no key.
func (r *Root) derive(use, purpose string) []byte {
	key, err := hkdf.Key(sha256.New, r.key, nil, "gatehouse "+use+": "+purpose, 32)
	if err != nil {
		panic("secret: derive key: " + err.Error()) // only for lengths HKDF cannot give
	}
	return key
}
