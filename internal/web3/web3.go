// Package web3 judges messages that wallets sign: Sign-In with Ethereum
// (EIP-4361) and Sign-In with Solana. Begin at Judge; message.go reads the
// text, ethereum.go and solana.go look at the signatures.
//
// It must never take a message that names another site, nor tell apart whether
// one was shown before: a caller who lets people in by it remembers each until
// it is too old.
package web3

import (
	"errors"
	"net/url"
	"strings"
	"time"
)

// The chains that are known.
const (
	Ethereum = "ethereum"
	Solana   = "solana"
)

// The most that is looked at. A message of a wallet is some hundred bytes.
const (
	maxMessage   = 20 << 10
	maxSignature = 256
)

// skew is how far a wallet's clock may be ahead of ours.
const skew = time.Minute

// The reasons of an *Error; ask for them with errors.Is.
var (
	ErrChain     = errors.New("web3: chain not known")
	ErrMessage   = errors.New("web3: not a message of this kind")
	ErrSite      = errors.New("web3: for another site")
	ErrTime      = errors.New("web3: not good now")
	ErrSignature = errors.New("web3: not signed by its account")
)

// Error is why a message was not taken.
type Error struct {
	Reason  error  // one of those above
	Problem string // may be told to whoever sent it
}

func (e *Error) Error() string { return "web3: " + e.Problem }

// Unwrap is the reason.
func (e *Error) Unwrap() error { return e.Reason }

func refuse(reason error, problem string) error { return &Error{reason, problem} }

// Options say what is taken.
type Options struct {
	// Allowed reports whether a message may name an address, as it was written.
	// Whoever is shown a message for another site could sign in here with it.
	// Nil: none may.
	Allowed func(uri string) bool
	// MaxAge is how old a message may be. Zero: 10 minutes.
	MaxAge time.Duration
	// Now is the clock.
	Now func() time.Time
}

// Statement is what the owner of an account signed.
type Statement struct {
	Chain   string // Ethereum or Solana
	Address string // with its checksum (EIP-55), or in base58: always the same for an account
	Domain  string // in lower case
	URI     string

	Nonce, ChainID, Statement      string // empty: none
	IssuedAt, ExpiresAt, NotBefore time.Time
}

// Judge returns what was signed when it is well-formed, for this site, of now,
// and signed by the account it names. Any error is an *Error.
//
// It gives the same verdict each time. One message can be signed, and one
// signature be written, in several ways: so whoever takes each but once tells
// them apart by the message, and remembers it for Options.MaxAge after IssuedAt.
func Judge(chain, message, signature string, o Options) (*Statement, error) {
	if chain != Ethereum && chain != Solana {
		return nil, refuse(ErrChain, "the chain is neither ethereum nor solana")
	}
	if len(message) > maxMessage {
		return nil, refuse(ErrMessage, "the message is too long")
	}
	if len(signature) > maxSignature {
		return nil, refuse(ErrSignature, "the signature is too long")
	}
	s, err := read(chain, message)
	if err != nil {
		return nil, err
	}
	if o.Allowed == nil || !o.Allowed(s.URI) {
		return nil, refuse(ErrSite, "the message is for another site")
	}
	err = s.timely(o)
	if err != nil {
		return nil, err
	}
	if chain == Ethereum {
		err = s.checkEthereum(message, signature)
	} else {
		err = s.checkSolana(message, signature)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// timely looks at when the message is good.
func (s *Statement) timely(o Options) error {
	now, most := o.Now(), o.MaxAge
	if most <= 0 {
		most = 10 * time.Minute
	}
	switch {
	case s.IssuedAt.After(now.Add(skew)):
		return refuse(ErrTime, "the message was issued in the future")
	case now.Sub(s.IssuedAt) > most:
		return refuse(ErrTime, "the message was issued too long ago")
	case !s.ExpiresAt.IsZero() && !now.Before(s.ExpiresAt):
		return refuse(ErrTime, "the message has expired")
	case s.NotBefore.After(now.Add(skew)):
		return refuse(ErrTime, "the message is not valid yet")
	}
	return nil
}

// located looks at where the message is for. Wallets compare the domain with
// the page that asks, and show it: so it has to be that of the URI.
func (s *Statement) located(scheme string) error {
	u, err := url.Parse(s.URI)
	switch {
	// Escaped letters of a host could be others that only look like them.
	case err != nil, !visible(s.URI), strings.Contains(s.URI, `\`), u.Scheme == "", !visible(u.Host), u.User != nil:
		return refuse(ErrMessage, "its URI is not one of a site")
	case !strings.EqualFold(u.Host, s.Domain):
		return refuse(ErrSite, "its domain is not that of its URI")
	case scheme != "" && !strings.EqualFold(scheme, u.Scheme):
		return refuse(ErrSite, "its scheme is not that of its URI")
	}
	s.Domain = strings.ToLower(s.Domain)
	return nil
}
