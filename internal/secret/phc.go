package secret

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// phcMaxLength is in characters: the longest salt and tag fit.
const phcMaxLength = 256

// argonHash is an argon2id hash as it is stored.
type argonHash struct {
	Params
	salt, tag []byte
}

// b64 is the B64 of the PHC string format: standard alphabet, no padding.
var b64 = base64.RawStdEncoding

// String writes the hash in the PHC string format:
// $argon2id$v=19$m=19456,t=2,p=1$salt$tag.
func (a argonHash) String() string {
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s",
		a.MemoryKiB, a.Time, a.Threads, b64.EncodeToString(a.salt), b64.EncodeToString(a.tag))
}

// parseArgon reads what String writes and nothing else: no other version, no
// other order, no keyid, no data. Its errors name numbers, never the text,
// for what was imported as a hash may be a password.
func parseArgon(phc string, maxMemory uint32) (argonHash, error) {
	var a argonHash
	var rest string
	if len(phc) > phcMaxLength {
		return a, unknown("%d characters, more than %d", len(phc), phcMaxLength)
	}
	_, err := fmt.Sscanf(phc, "$argon2id$v=19$m=%d,t=%d,p=%d$%s", &a.MemoryKiB, &a.Time, &a.Threads, &rest)
	if err != nil {
		return a, unknown("not of the form $argon2id$v=19$m=,t=,p=$salt$hash")
	}
	salt, tag, _ := strings.Cut(rest, "$")
	a.salt, err = b64.DecodeString(salt)
	if err == nil {
		a.tag, err = b64.DecodeString(tag)
	}
	// One spelling only: this refuses signs, leading zeros, trailing text,
	// spare bits and the line breaks that Go's base64 skips.
	if err != nil || a.String() != phc {
		return a, unknown("argon2id hash is not in its canonical form")
	}
	switch {
	case a.MemoryKiB > maxMemory:
		err = unknown("argon2id memory of %d KiB, more than %d", a.MemoryKiB, maxMemory)
	case len(a.salt) < saltMin || len(a.salt) > saltMax:
		err = unknown("argon2id salt of %d bytes, must be %d to %d", len(a.salt), saltMin, saltMax)
	case len(a.tag) < tagMin || len(a.tag) > tagMax:
		err = unknown("argon2id hash of %d bytes, must be %d to %d", len(a.tag), tagMin, tagMax)
	default:
		if fault := a.Params.check(); fault != nil {
			err = unknown("%w", fault)
		}
	}
	return a, err
}

// unknown is ErrUnknownHash with a reason.
func unknown(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrUnknownHash}, args...)...)
}
