package secret

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// ErrUnknownHash says that a stored password hash is malformed, of a kind that
// is not verified here, or asks for more work than is granted. It is for the
// log and for whoever imports: a client is told no more than "wrong password".
var ErrUnknownHash = errors.New("unsupported password hash")

// Hasher makes and verifies password hashes, all of them in its pool. Never
// call it inside a transaction: it takes its time on purpose. Safe for
// concurrent use.
type Hasher struct {
	params Params
	pool   *Pool
	derive func(password, salt []byte, time, memory uint32, threads uint8, size uint32) []byte // argon2.IDKey; tests count its calls
}

// NewHasher returns a hasher that makes argon2id hashes with these parameters
// (none set: DefaultParams). The error names a parameter out of range.
func NewHasher(p Params, pool *Pool) (*Hasher, error) {
	if p == (Params{}) {
		p = DefaultParams()
	}
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("password hashing: %w", err)
	}
	return &Hasher{params: p, pool: pool, derive: argon2.IDKey}, nil
}

// Hash returns the argon2id hash of the whole password as a PHC string. key
// names the client for fairness (see Pool.Do). Its errors are those of
// Pool.Do: *BusyError or the context's.
func (h *Hasher) Hash(ctx context.Context, key, password string) (phc string, err error) {
	a := argonHash{Params: h.params, salt: random(saltSize)}
	if err := h.pool.Do(ctx, key, func() { a.tag = h.tag(a, password, tagSize) }); err != nil {
		return "", err
	}
	return a.String(), nil
}

// Verify reports whether password made the stored hash phc, and if so, whether
// it should be hashed anew because phc is not what Hash makes today.
//
// An empty phc is an account that does not exist or has no password: it costs
// what a real one costs and the answer is no, so that neither the answer nor
// its time tells who is registered. A hash that cannot be verified costs the
// same and gives ErrUnknownHash, wrapped. (Imported hashes take their own
// time until their first login.) Other errors are those of Pool.Do.
func (h *Hasher) Verify(ctx context.Context, key, phc, password string) (ok, rehash bool, err error) {
	stored, fault := verifier{matches: h.nobody}, error(nil)
	if phc != "" {
		if v, err := h.parse(phc); err != nil {
			fault = err
		} else {
			stored = v
		}
	}
	if err := h.pool.Do(ctx, key, func() { ok = stored.matches(password) }); err != nil {
		return false, false, err
	}
	return ok, ok && stored.old, fault
}

// Supported says whether Verify will ever be able to match this hash; for
// import. The error is ErrUnknownHash with the reason, and never quotes phc.
func (h *Hasher) Supported(phc string) error {
	_, err := h.parse(phc)
	return err
}

// verifier is a stored hash whose bounds were checked.
type verifier struct {
	matches func(password string) bool // does all the work of the hash, whatever the answer
	old     bool                       // not what Hash makes today
}

// parse reads a stored hash of any supported kind, and does none of its work.
func (h *Hasher) parse(phc string) (verifier, error) {
	switch {
	case strings.HasPrefix(phc, "$argon2id$"):
		a, err := parseArgon(phc, max(argonMaxMemory, h.params.MemoryKiB))
		if err != nil {
			return verifier{}, err
		}
		matches := func(password string) bool { return Same(h.tag(a, password, len(a.tag)), a.tag) }
		return verifier{matches, a.Params != h.params || len(a.salt) != saltSize || len(a.tag) != tagSize}, nil
	case strings.HasPrefix(phc, "$2"):
		b, err := parseBcrypt(phc)
		return verifier{b.matches, true}, err
	case strings.HasPrefix(phc, "$fbscrypt$"):
		f, err := parseFBScrypt(phc)
		return verifier{f.matches, true}, err
	}
	return verifier{}, unknown("neither argon2id ($argon2id$…), bcrypt ($2a$…, $2b$…, $2y$…) nor Firebase scrypt ($fbscrypt$…)")
}

// nobody does the work of a hash made today, and matches no password.
func (h *Hasher) nobody(password string) bool {
	a := argonHash{Params: h.params, salt: make([]byte, saltSize), tag: make([]byte, tagSize)}
	Same(h.tag(a, password, tagSize), a.tag)
	return false
}

// tag computes what the tag of a would be if password had made it.
func (h *Hasher) tag(a argonHash, password string, size int) []byte {
	return h.derive([]byte(password), a.salt, a.Time, a.MemoryKiB, a.Threads, uint32(size))
}
