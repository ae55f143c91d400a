package secret

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
)

// Why a sealed value does not open. Compare with errors.Is.
var (
	// ErrWrongKey: it was sealed under another root key.
	ErrWrongKey = errors.New("sealed under another root key")
	// ErrNotSealed: it is damaged, not a sealed value at all, or was sealed
	// for another purpose or with other additional data.
	ErrNotSealed = errors.New("sealed value is damaged or belongs elsewhere")
)

const (
	sealVersion = 1
	sealHeader  = 1 + 4 // version, key id
)

// Seal encrypts plain for this purpose with AES-256-GCM. aad is not stored but
// must be the same to open: give the row's tenant and id, so that a sealed
// value copied into another row does not open there.
//
// The result is 33 bytes longer than plain: version (1), root key id (4),
// random nonce (12), ciphertext, tag (16). Random nonces allow 2³² seals for
// each purpose of a root key (NIST SP 800-38D §8.3).
func (r *Root) Seal(purpose string, aad, plain []byte) []byte {
	aead := r.aead(purpose)
	out := make([]byte, 0, sealHeader+len(plain)+aead.Overhead())
	out = append(append(out, sealVersion), r.id[:]...)
	return aead.Seal(out, nil, plain, r.bind(aad))
}

// Open returns what Seal was given, for the same purpose and aad. Its errors
// are ErrWrongKey and ErrNotSealed, wrapped.
func (r *Root) Open(purpose string, aad, sealed []byte) ([]byte, error) {
	if len(sealed) < sealHeader {
		return nil, fmt.Errorf("%w: only %d bytes", ErrNotSealed, len(sealed))
	}
	if sealed[0] != sealVersion {
		return nil, fmt.Errorf("%w: version %d, but this program reads version %d", ErrNotSealed, sealed[0], sealVersion)
	}
	if id := sealed[1:sealHeader]; !bytes.Equal(id, r.id[:]) { // ids are not secret
		return nil, fmt.Errorf("%w: it needs key %x, the configured one is %x", ErrWrongKey, id, r.id)
	}
	plain, err := r.aead(purpose).Open(nil, nil, sealed[sealHeader:], r.bind(aad))
	if err != nil {
		return nil, ErrNotSealed
	}
	return plain, nil
}

// SealRoot seals another root key under this one, for envelope encryption: a new
// master key is put in place by sealing the root keys anew, and nothing else.
// aad is as for Seal.
func (r *Root) SealRoot(aad []byte, inner *Root) []byte {
	return r.Seal(rootPurpose, aad, inner.key)
}

// OpenRoot returns the root key that SealRoot was given. Its errors are those of
// Open.
func (r *Root) OpenRoot(aad, sealed []byte) (*Root, error) {
	key, err := r.Open(rootPurpose, aad, sealed)
	if err != nil {
		return nil, err
	}
	return NewRoot(key)
}

// rootPurpose is what root keys are sealed for.
const rootPurpose = "root key"

// SealedBy reports whether this root key sealed a value, by the id in it. It
// does not say that the value opens.
func (r *Root) SealedBy(sealed []byte) bool {
	return len(sealed) >= sealHeader && sealed[0] == sealVersion && bytes.Equal(sealed[1:sealHeader], r.id[:])
}

// bind puts the header in front of aad, so that it cannot be altered either.
func (r *Root) bind(aad []byte) []byte {
	out := make([]byte, 0, sealHeader+len(aad))
	out = append(append(out, sealVersion), r.id[:]...)
	return append(out, aad...)
}

// aead returns the cipher of this purpose; it makes and reads its own nonces.
func (r *Root) aead(purpose string) cipher.AEAD {
	if aead, ok := r.seals.Load(purpose); ok {
		return aead.(cipher.AEAD)
	}
	block, err := aes.NewCipher(r.derive("seal", purpose))
	if err != nil {
		panic("secret: " + err.Error()) // only for a key of the wrong length
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic("secret: " + err.Error()) // only for a cipher that is not AES
	}
	kept, _ := r.seals.LoadOrStore(purpose, aead)
	return kept.(cipher.AEAD)
}
