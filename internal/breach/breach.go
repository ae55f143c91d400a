// Package breach knows whether a password is known to everybody, and how much
// a password has to offer.
//
// Begin with Common, which asks the list inside the binary and needs no
// network, and Guessable, which knows what people make of what is listed.
// Service asks a range service of leaked passwords, and Level names the
// strength levels. The form of the list is in pack.go and table.go, where its
// contents come from is in README.md.
//
// It must never send, keep or log a password, nor more of its hash than the
// five digits that a range service is asked for. It refuses nothing by itself:
// what to do with an answer, or with none, is its caller's decision.
package breach

import (
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"strings"
)

// packed is the list that Pack made. As a string it stays in the read-only
// part of the binary: nothing is read, unpacked or allocated at start.
//
//go:embed common.bin
var packed string

// Common reports whether password is one of the commonest passwords, in upper
// or lower case: who tries "password1" tries "Password1" next. It takes a few
// microseconds. Of all other passwords fewer than one in a million is taken
// for a common one.
//
// The bytes are compared as they are: a caller that brings passwords to a
// normal form does so before.
func Common(password string) bool { return table(packed).has(value(password)) }

// value is what the list keeps of a password: the first valueBits bits of the
// SHA-256 of its lower-case form.
func value(password string) uint64 {
	sum := sha256.Sum256([]byte(strings.ToLower(password)))
	return binary.BigEndian.Uint64(sum[:8]) >> (64 - valueBits)
}
