package captcha

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	_ "embed"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"time"
)

// The bounds of WorkOptions.Bits.
const (
	MinBits     = 8
	MaxBits     = 28
	defaultBits = 18
)

const (
	defaultLife = 10 * time.Minute

	idSize     = 16
	headSize   = 1 + 8 + idSize // bits, end, id
	sealSize   = sha256.Size
	textSize   = (headSize + sealSize) / 3 * 4 // in base64url: 57 bytes leave no rest
	nonceSize  = 16                            // hex digits
	workPrefix = "pow."
	tokenSize  = len(workPrefix) + textSize + 1 + nonceSize
)

//go:embed pow.js
var script string

// Script is pow.js, an ES2020 module that solves challenges in the browser:
//
//	import { solve } from "…/pow.js"
//	const captchaToken = await solve("https://auth.example.com")
//
// It asks {base}/captcha for a challenge, which is a Challenge as JSON.
func Script() string { return script }

// WorkOptions say what work is asked for.
type WorkOptions struct {
	// MAC is a keyed hash whose key is for this purpose alone, and which tells
	// its parts apart, as that of package secret.
	MAC func(parts ...[]byte) [32]byte
	// Tenant is whose people do the work. A challenge of one is worthless for
	// another.
	Tenant string
	// Bits is how many leading bits of the hash are zero: each more doubles the
	// work. Zero: 18, a quarter of a second in a browser.
	Bits int
	// Life is how long a challenge is good. Zero: 10 minutes.
	Life time.Duration
}

// Work is a proof of work: a browser tries 2^Bits numbers on average where the
// server tries one. It tells nobody from anybody; it gives a price to each
// attempt, for programs as for people.
//
// The server remembers nothing of the challenges it hands out, so that asking
// for them fills no memory; what it must know comes back with the token, under
// a MAC. It is safe for concurrent use.
type Work struct{ opt WorkOptions }

// NewWork checks o.
func NewWork(o WorkOptions) (*Work, error) {
	if o.Bits == 0 {
		o.Bits = defaultBits
	}
	if o.Life == 0 {
		o.Life = defaultLife
	}
	switch {
	case o.MAC == nil:
		return nil, errors.New("captcha pow: the MAC is missing")
	case o.Bits < MinBits || o.Bits > MaxBits:
		return nil, fmt.Errorf("captcha pow: %d bits are out of bounds: %d to %d", o.Bits, MinBits, MaxBits)
	case o.Life < time.Second:
		return nil, fmt.Errorf("captcha pow: a life of %v is too short", o.Life)
	}
	return &Work{o}, nil
}

// Challenge is what a client is to solve: a nonce of 64 bits, so that
//
//	SHA-256( SHA-256(Text) ‖ nonce )
//
// begins with Bits zero bits, the nonce being big-endian. The token is
// "pow." + Text + "." + the nonce as 16 hex digits in lower case.
type Challenge struct {
	Text string    `json:"challenge"` // opaque
	Bits int       `json:"bits"`
	Ends time.Time `json:"expires_at"` // UTC, whole seconds
}

// Challenge makes a new one.
func (w *Work) Challenge(now time.Time) Challenge {
	ends := now.Add(w.opt.Life).Unix()
	head := make([]byte, headSize, headSize+sealSize)
	head[0] = byte(w.opt.Bits)
	binary.BigEndian.PutUint64(head[1:], uint64(ends))
	_, _ = rand.Read(head[headSize-idSize:]) // it never fails
	seal := w.seal(head)
	return Challenge{
		Text: base64.RawURLEncoding.EncodeToString(append(head, seal[:]...)),
		Bits: w.opt.Bits,
		Ends: time.Unix(ends, 0).UTC(),
	}
}

// Check judges a token. It returns the id of its challenge, 16 bytes, and when
// that ends.
//
// That is half of it: the same challenge, with this nonce or another, would be
// good until then. The caller must have the id spent once in its database, by
// one conditional statement, and may forget it after ends.
//
// The work is the same few hashes whatever the token holds. The difficulty is
// that of the challenge: one from before the operator raised it is good until
// it ends. Any error is an *Error with ErrRefused.
func (w *Work) Check(token string, now time.Time) (id []byte, ends time.Time, err error) {
	raw, text, nonce, ok := readToken(token)
	if !ok {
		return nil, time.Time{}, refuse(CodeMalformed)
	}
	head := raw[:headSize]
	want := w.seal(head)
	ends = time.Unix(int64(binary.BigEndian.Uint64(head[1:])), 0).UTC()
	done := workOf(text, nonce)
	switch {
	case subtle.ConstantTimeCompare(want[:], raw[headSize:]) != 1:
		return nil, time.Time{}, refuse(CodeForged)
	case !now.Before(ends):
		return nil, time.Time{}, refuse(CodeExpired)
	case done < int(head[0]):
		return nil, time.Time{}, refuse(CodeTooLittle)
	}
	return head[headSize-idSize : headSize : headSize], ends, nil
}

// seal is the MAC of a challenge of this tenant.
func (w *Work) seal(head []byte) [32]byte {
	return w.opt.MAC([]byte("captcha work 1"), []byte(w.opt.Tenant), head)
}

// readToken takes a token apart. Each has one spelling only.
func readToken(token string) (raw []byte, text string, nonce uint64, ok bool) {
	if len(token) != tokenSize || token[:len(workPrefix)] != workPrefix || token[len(workPrefix)+textSize] != '.' {
		return nil, "", 0, false
	}
	text = token[len(workPrefix) : len(workPrefix)+textSize]
	// The decoder skips line breaks, which makes it too short.
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) != headSize+sealSize {
		return nil, "", 0, false
	}
	digits := token[tokenSize-nonceSize:]
	for i := range len(digits) {
		if c := digits[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return nil, "", 0, false
		}
	}
	nonce, err = strconv.ParseUint(digits, 16, 64)
	return raw, text, nonce, err == nil
}

// workOf is how many leading bits of the hash are zero.
func workOf(text string, nonce uint64) int {
	var block [sha256.Size + 8]byte
	seed := sha256.Sum256([]byte(text))
	copy(block[:], seed[:])
	binary.BigEndian.PutUint64(block[sha256.Size:], nonce)
	sum := sha256.Sum256(block[:])
	return bits.LeadingZeros64(binary.BigEndian.Uint64(sum[:])) // enough: MaxBits is less than 64
}

func refuse(code string) *Error {
	return &Error{Provider: "pow", Reason: ErrRefused, Codes: []string{code}}
}
