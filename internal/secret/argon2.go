package secret

import "fmt"

// Sizes of the salts and tags made here, in bytes (RFC 9106 §3.1, §4).
const (
	saltSize = 16
	tagSize  = 32
)

// Bounds on a stored argon2id hash. Imported hashes are strangers: one that
// names 4 TiB of memory or a billion passes stops the server at its first
// login, and one with a tag of a byte is matched by guessing.
const (
	argonMaxMemory  = 64 * 1024
	argonMaxTime    = 10
	argonMaxThreads = 4
	saltMin         = 8
	saltMax         = 64
	tagMin          = 16
	tagMax          = 64
)

// Params is how much work an argon2id hash costs (RFC 9106 §3.1).
type Params struct {
	MemoryKiB uint32 // at least 8 per thread. Hashes made with more than 64 MiB verify only while this is as high
	Time      uint32 // passes over the memory, 1 to 10
	Threads   uint8  // lanes, 1 to 4
}

// DefaultParams returns 19 MiB, two passes, one thread, as the OWASP
// Password Storage Cheat Sheet recommends.
func DefaultParams() Params { return Params{MemoryKiB: 19456, Time: 2, Threads: 1} }

// check reports parameters that RFC 9106 §3.1 forbids or that take too long.
// How much memory is too much depends on whose they are.
func (p Params) check() error {
	switch {
	case p.Time < 1 || p.Time > argonMaxTime:
		return fmt.Errorf("argon2id time of %d, must be 1 to %d", p.Time, argonMaxTime)
	case p.Threads < 1 || p.Threads > argonMaxThreads:
		return fmt.Errorf("argon2id with %d threads, must be 1 to %d", p.Threads, argonMaxThreads)
	case p.MemoryKiB < 8*uint32(p.Threads):
		return fmt.Errorf("argon2id memory of %d KiB, must be 8 KiB or more for each thread", p.MemoryKiB)
	}
	return nil
}
