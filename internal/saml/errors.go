package saml

import "fmt"

// Kind says why something was refused.
type Kind string

// The kinds of an *Error.
const (
	Malformed    Kind = "malformed"      // not SAML, or more than may be parsed
	Metadata     Kind = "metadata"       // the description of the IdP cannot be used
	Signature    Kind = "signature"      // unsigned, or signed by nobody we know, or weakly
	WrongIssuer  Kind = "issuer"         // from another IdP
	Audience     Kind = "audience"       // meant for another service
	Recipient    Kind = "recipient"      // to be delivered at another address
	Destination  Kind = "destination"    // sent to another address
	Expired      Kind = "expired"        // too late
	NotYet       Kind = "not_yet"        // too early
	InResponseTo Kind = "in_response_to" // no answer to the request, or to none
	Status       Kind = "status"         // the IdP said no
	NoNameID     Kind = "no_name_id"     // nobody is named, or by a name that changes
	Encrypted    Kind = "encrypted"      // encryption not allowed, or not readable
)

// Error is a refusal.
type Error struct {
	Kind    Kind
	Problem string // may be told to whoever asks
	Err     error  // for the log; nil if Problem says it all
}

func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("saml: %s: %v", e.Problem, e.Err)
	}
	return "saml: " + e.Problem
}

func (e *Error) Unwrap() error { return e.Err }

func refuse(k Kind, problem string, err error) *Error {
	return &Error{Kind: k, Problem: problem, Err: err}
}

func malformed(err error) *Error {
	return refuse(Malformed, "the SAML message cannot be read", err)
}
