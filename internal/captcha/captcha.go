// Package captcha makes programs pay for what people do a few times a day: it
// judges the token a client solved beside its sign-up or sign-in.
//
// Begin at [Checker], which hCaptcha and Turnstile are, and at [Work], a proof
// of work for those who want no third party; pow.js is its other half, which
// runs in the browser. Where a token is judged by a provider, siteverify.go
// holds what is said to it.
//
// It must never write a token or the secret at the provider to a log or into
// an error, take a token for good because nobody could be asked, or remember
// anything for a challenge that was only asked for.
package captcha

import (
	"context"
	"errors"
	"strings"
)

// Checker judges the tokens of one provider.
type Checker interface {
	// Check returns nil when the token was solved. ip is the address of the
	// client, or empty. Any error is an *Error; see the reasons there.
	Check(ctx context.Context, token, ip string) error
}

// The reasons of an *Error; ask for them with errors.Is.
var (
	// ErrRefused: the token is missing, wrong, expired or used. The client is
	// at fault, and another attempt may be right.
	ErrRefused = errors.New("the captcha was not solved")
	// ErrUnavailable: the provider did not answer in time, or not as a provider
	// does. Nobody knows whether the token is good: whoever lets people in all
	// the same should know that a flood of requests can bring this about. It
	// is never the reason when the caller's context ended first, because a
	// client that sends slowly could bring that about at will.
	ErrUnavailable = errors.New("the captcha provider gave no verdict")
	// ErrSetup: the provider does not take our secret, or our request. Only the
	// operator can mend that, and nobody gets in until then.
	ErrSetup = errors.New("the captcha provider refuses this server")
)

// Error is a token that was not found good. Its text is for the operator: it
// tells nothing of the token, the secret or the client.
type Error struct {
	Provider string   // hcaptcha, turnstile or pow
	Reason   error    // ErrRefused, ErrUnavailable, ErrSetup, or what ended the caller's context
	Codes    []string // the error codes of the provider, of those we know; or a word of our own, see below
	detail   error
}

// Codes of our own.
const (
	CodeMalformed  = "malformed"       // no token of this kind, so nobody was asked
	CodeHost       = "wrong-host"      // solved on another site
	CodeUnreadable = "unreadable"      // the answer is not one of siteverify
	CodeForged     = "forged"          // pow: a challenge of another server, tenant or difficulty
	CodeExpired    = "expired"         // pow: the challenge is too old
	CodeTooLittle  = "too-little-work" // pow: the nonce does not solve it
)

// Error reads "captcha turnstile: the captcha was not solved (timeout-or-duplicate)".
func (e *Error) Error() string {
	text := "captcha " + e.Provider + ": " + e.Reason.Error()
	if len(e.Codes) > 0 {
		text += " (" + strings.Join(e.Codes, ", ") + ")"
	}
	if e.detail != nil {
		text += ": " + e.detail.Error()
	}
	return text
}

// Unwrap returns the reason and what package fetch said, if anything.
func (e *Error) Unwrap() []error {
	if e.detail == nil {
		return []error{e.Reason}
	}
	return []error{e.Reason, e.detail}
}
