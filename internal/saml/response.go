package saml

import (
	"errors"
	"fmt"
	"strings"

	"github.com/beevik/etree"
)

// Read judges a response: the value of the form field SAMLResponse. requestID
// is that of the request it must answer, or "" for one that nobody asked for.
// The error is always an *Error.
//
// What it returns has been signed by idp as a whole, is meant for this server,
// this address, this request and this moment. Whether it has been used before
// is not asked here: see Assertion.ID.
func (sp *ServiceProvider) Read(idp IdP, response, requestID string) (*Assertion, error) {
	if requestID == "" && !idp.AllowIdPInitiated {
		return nil, refuse(InResponseTo, "this identity provider may not begin a sign-in", nil)
	}
	d, err := sp.described(idp)
	if err != nil {
		return nil, err
	}
	root, err := decode(response)
	if err != nil {
		return nil, err
	}
	if err := status(root); err != nil {
		return nil, err
	}
	signed := len(children(root, nsDsig, "Signature")) > 0
	if signed {
		if root, err = verify(root, d.Certificates, sp.opt.Now()); err != nil {
			return nil, unverified(err)
		}
	}
	if err := sp.judgeResponse(root, idp, requestID); err != nil {
		return nil, err
	}
	el, err := sp.assertion(root, d, signed)
	if err != nil {
		return nil, err
	}
	return sp.judge(el, idp, requestID)
}

// Issuer returns who response says it is from. Nothing is checked: it serves
// to find the identity provider whose keys to check it with.
func Issuer(response string) (string, error) {
	root, err := decode(response)
	if err != nil {
		return "", err
	}
	el, err := atMostOne(root, nsAssertion, "Issuer")
	if err == nil && el == nil {
		var a *etree.Element
		if a, err = one(root, nsAssertion, "Assertion"); err == nil {
			el, err = one(a, nsAssertion, "Issuer")
		}
	}
	if err != nil {
		return "", malformed(err)
	}
	s, err := trimmed(el)
	if err == nil && (s == "" || len(s) > maxEntityID) {
		err = fmt.Errorf("an issuer of %d bytes", len(s))
	}
	if err != nil {
		return "", malformed(err)
	}
	return s, nil
}

// decode reads the document in a form value. Compressed ones are none: the
// binding does not know them.
func decode(response string) (*etree.Element, error) {
	if len(response) > maxResponse {
		return nil, malformed(errors.New("longer than 512 KiB"))
	}
	raw, err := unbase64(response)
	if err != nil {
		return nil, malformed(err)
	}
	root, err := parse(raw)
	if err != nil {
		return nil, malformed(err)
	}
	if err := layout(root); err != nil {
		return nil, malformed(err)
	}
	return root, nil
}

// layout accepts a response with at most one assertion, where SAML has it, and
// with signatures nowhere but on these two. Wherever else an attacker may hide
// a second one, it is one too many. Names count whatever their namespace.
func layout(root *etree.Element) error {
	if !is(root, nsProtocol, "Response") {
		return errors.New("not a response")
	}
	if v, _ := attr(root, "Version"); v != "2.0" {
		return errors.New("not of version 2.0")
	}
	if id, _ := attr(root, "ID"); !ncName.MatchString(id) {
		return errors.New("a response without an ID")
	}
	n := count(root, map[string]int{})
	assertions := n["Assertion"] + n["EncryptedAssertion"]
	own := children(root, nsAssertion, "Assertion")
	places := len(children(root, nsDsig, "Signature"))
	for _, a := range own {
		places += len(children(a, nsDsig, "Signature"))
	}
	switch {
	case n["Response"] != 1:
		return errors.New("more than one response")
	case assertions > 1:
		return errors.New("more than one assertion")
	case assertions != len(own)+len(children(root, nsAssertion, "EncryptedAssertion")):
		return errors.New("an assertion out of place")
	case n["Signature"] != places:
		return errors.New("a signature out of place")
	}
	return nil
}

// count counts the elements under el, itself included, by local name.
func count(el *etree.Element, n map[string]int) map[string]int {
	n[el.Tag]++
	for _, c := range el.ChildElements() {
		count(c, n)
	}
	return n
}

const statusPrefix = "urn:oasis:names:tc:SAML:2.0:status:"

// status is an error unless the identity provider says yes. Its no needs no
// signature, and mostly has none.
func status(root *etree.Element) error {
	el, err := one(root, nsProtocol, "Status")
	if err != nil {
		return malformed(err)
	}
	code, err := one(el, nsProtocol, "StatusCode")
	if err != nil {
		return malformed(err)
	}
	top, _ := attr(code, "Value")
	if top == statusPrefix+"Success" {
		return nil
	}
	sub := ""
	if c, err := atMostOne(code, nsProtocol, "StatusCode"); err == nil && c != nil {
		sub, _ = attr(c, "Value")
	}
	message := ""
	if m, err := atMostOne(el, nsProtocol, "StatusMessage"); err == nil && m != nil {
		message, _ = trimmed(m)
	}
	// These words are of whoever posted the form: for the log, and not many.
	why := fmt.Errorf("status %.200q %.200q %.200q", top, sub, message)
	if sub == statusPrefix+"NoPassive" || sub == statusPrefix+"AuthnFailed" || sub == statusPrefix+"RequestDenied" {
		return refuse(Status, "the identity provider refused to sign the user in: "+strings.TrimPrefix(sub, statusPrefix), why)
	}
	return refuse(Status, "the identity provider did not sign the user in", why)
}

// judgeResponse checks what a response says of itself. If only its assertion
// is signed, anybody could have written this; the assertion says it again.
func (sp *ServiceProvider) judgeResponse(root *etree.Element, idp IdP, requestID string) error {
	issuer, err := atMostOne(root, nsAssertion, "Issuer")
	if err != nil {
		return malformed(err)
	}
	if issuer != nil {
		if err := isIssuer(issuer, idp.EntityID); err != nil {
			return err
		}
	}
	if to, ok := attr(root, "Destination"); ok && to != sp.opt.ACS {
		return refuse(Destination, "the response was sent to another address", fmt.Errorf("destination %.200q", to))
	}
	return answers(root, requestID)
}

// answers checks that el is in response to requestID, or to none if that is "".
func answers(el *etree.Element, requestID string) error {
	got, ok := attr(el, "InResponseTo")
	switch {
	case requestID == "" && ok:
		return refuse(InResponseTo, "the response answers a request, which is not known", nil)
	case requestID != "" && !ok:
		return refuse(InResponseTo, "the response does not say which request it answers", nil)
	case got != requestID:
		return refuse(InResponseTo, "the response answers another request", nil)
	}
	return nil
}

func isIssuer(el *etree.Element, want string) error {
	got, err := trimmed(el)
	if err != nil {
		return malformed(err)
	}
	if got != want {
		return refuse(WrongIssuer, "the response is from another identity provider", fmt.Errorf("issuer %.200q", got))
	}
	return nil
}

// assertion returns the assertion in root, as it was signed: by itself, or
// with the response around it, which signed says has been verified and is what
// root was read from.
func (sp *ServiceProvider) assertion(root *etree.Element, d *Described, signed bool) (*etree.Element, error) {
	hidden, err := atMostOne(root, nsAssertion, "EncryptedAssertion")
	if err != nil {
		return nil, malformed(err)
	}
	if hidden == nil {
		el, err := one(root, nsAssertion, "Assertion")
		if err != nil {
			return nil, malformed(err)
		}
		return sp.signedAssertion(el, d, signed)
	}
	if !sp.opt.AllowEncrypted {
		return nil, refuse(Encrypted, "encrypted assertions are not accepted", nil)
	}
	// Whatever goes wrong from here has one name, because who may tell a wrong
	// key from broken XML from a missing signature can read what is encrypted,
	// by asking often enough.
	unreadable := func(err error) (*etree.Element, error) {
		return nil, refuse(Encrypted, "the encrypted assertion cannot be read", err)
	}
	el, err := sp.decrypt(hidden)
	if err != nil {
		return unreadable(err)
	}
	if el, err = sp.signedAssertion(el, d, signed); err != nil {
		return unreadable(err)
	}
	return el, nil
}

func (sp *ServiceProvider) signedAssertion(el *etree.Element, d *Described, signed bool) (*etree.Element, error) {
	own, err := verify(el, d.Certificates, sp.opt.Now())
	if errors.Is(err, errUnsigned) && signed {
		return el, nil
	}
	if err != nil {
		return nil, unverified(err)
	}
	return own, nil
}

func unverified(err error) error {
	if errors.Is(err, errUnsigned) {
		return refuse(Signature, "the assertion is not signed", nil)
	}
	return refuse(Signature, "the signature is not one of the identity provider", err)
}
