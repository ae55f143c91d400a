package social

import (
	"errors"
	"fmt"
	"strings"

	"gatehouse/internal/fetch"
)

// Kind is what went wrong, as far as a caller may act on it.
type Kind string

// The kinds of an *Error.
const (
	Unknown     Kind = "unknown"     // nobody of that name; Problem is the name
	Disabled    Kind = "disabled"    // likewise, but known
	Refused     Kind = "refused"     // the provider says no: the stored tokens are worth nothing any more
	Unavailable Kind = "unavailable" // the provider does not answer; later it may
	Failed      Kind = "failed"      // its answer, or what we were told of it, cannot be used
	BadToken    Kind = "bad_token"   // an ID token, or an answer, that is not what it says
	Audience    Kind = "audience"    // an ID token for somebody else
	Nonce       Kind = "nonce"       // an ID token of another attempt
	Code        Kind = "code"        // the code is wrong, spent or too old
)

// Error is why somebody's account is not to be had.
type Error struct {
	Kind    Kind
	Problem string // may be told to whoever asked
	Err     error  // for the log alone
}

// Error is for the log.
func (e *Error) Error() string {
	text := "social: " + string(e.Kind)
	if e.Problem != "" {
		text += " (" + e.Problem + ")"
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of err, or "".
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return ""
}

func failed(format string, a ...any) *Error {
	return &Error{Kind: Failed, Problem: problemFailed, Err: fmt.Errorf(format, a...)}
}

func badToken(format string, a ...any) *Error {
	return &Error{Kind: BadToken, Problem: problemToken, Err: fmt.Errorf(format, a...)}
}

// What may be told. The provider's own words are not repeated: whoever runs it
// could put a link into our error page with them.
const (
	problemFailed      = "The provider's answer cannot be used"
	problemUnavailable = "The provider does not answer"
	problemToken       = "Bad ID token"
	problemRefused     = "The provider refused"
	problemCode        = "Unable to exchange external code"
	problemNonces      = "Nonces mismatch"
	problemNonceOnce   = "Passed nonce and nonce in id_token should either both exist or not."
	problemIssuer      = "The answer is another provider's"
)

// problemOf makes an *Error of what package fetch returned. A provider that is
// down or overloaded is unavailable, one that may not be spoken to, or says
// more than fits, cannot be used.
func problemOf(err error) *Error {
	if se, ok := errors.AsType[*fetch.StatusError](err); ok {
		switch {
		case se.Code >= 500, se.Code == 429, se.Code == 408:
			return &Error{Kind: Unavailable, Problem: problemUnavailable, Err: err}
		case se.Code == 400, se.Code == 401, se.Code == 403:
			return &Error{Kind: Refused, Problem: problemRefused, Err: err}
		}
		return &Error{Kind: Failed, Problem: problemFailed, Err: err}
	}
	detailed := err
	if fe, ok := errors.AsType[*fetch.Error](err); ok && fe.Detail() != "" {
		detailed = fmt.Errorf("%w (%s)", err, fe.Detail())
	}
	if errors.Is(err, fetch.ErrRefused) || errors.Is(err, fetch.ErrTooLarge) {
		return &Error{Kind: Failed, Problem: problemFailed, Err: detailed}
	}
	return &Error{Kind: Unavailable, Problem: problemUnavailable, Err: detailed}
}

// word is what of an error code of another server may be logged: codes are
// short words, and what is not one could be anything.
func word(s string) string {
	if s == "" || len(s) > 64 || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return noWord
	}
	return s
}

const noWord = "no error code"
