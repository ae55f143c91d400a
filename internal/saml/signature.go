package saml

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
	"github.com/russellhaering/goxmldsig/etreeutils"
)

// What a signature may be made with. SHA-1 is not among them.
var (
	signatureMethods = []string{
		dsig.RSASHA256SignatureMethod, dsig.RSASHA384SignatureMethod, dsig.RSASHA512SignatureMethod,
		dsig.ECDSASHA256SignatureMethod, dsig.ECDSASHA384SignatureMethod, dsig.ECDSASHA512SignatureMethod,
	}
	digestMethods = []string{
		"http://www.w3.org/2001/04/xmlenc#sha256",
		"http://www.w3.org/2001/04/xmldsig-more#sha384",
		"http://www.w3.org/2001/04/xmlenc#sha512",
	}
	canonicalMethods = []string{nsExcC14N, nsExcC14N + "WithComments"}
)

var errUnsigned = errors.New("there is no signature")

// verify checks the signature that el carries of itself and returns the
// element that was signed: read again from the canonical bytes whose digest
// was compared, so that nothing else of the document can be mistaken for it.
func verify(el *etree.Element, certs []*x509.Certificate, now time.Time) (*etree.Element, error) {
	if len(children(el, nsDsig, "Signature")) == 0 {
		return nil, errUnsigned
	}
	el, err := detach(el)
	if err != nil {
		return nil, err
	}
	value, err := shape(el)
	if err != nil {
		return nil, err
	}
	err = errors.New("no certificate")
	for _, cert := range certs {
		var signed *etree.Element
		if signed, err = verifyWith(el, value, cert, now); err == nil {
			return signed, nil
		}
	}
	return nil, err
}

// verifyWith is verify with one certificate. Which certificate the signature
// names does not matter: it is taken out, so that only the given one can be
// the right one.
func verifyWith(el *etree.Element, value []byte, cert *x509.Certificate, now time.Time) (*etree.Element, error) {
	el = el.Copy()
	sig, err := one(el, nsDsig, "Signature")
	if err != nil {
		return nil, err
	}
	for _, info := range children(sig, nsDsig, "KeyInfo") {
		sig.RemoveChild(info)
	}
	set, err := one(sig, nsDsig, "SignatureValue")
	if err != nil {
		return nil, err
	}
	if value, err = forGo(value, cert); err != nil {
		return nil, err
	}
	set.SetText(base64.StdEncoding.EncodeToString(value))

	ctx := dsig.NewDefaultValidationContext(&dsig.MemoryX509CertificateStore{Roots: []*x509.Certificate{cert}})
	ctx.IdAttribute = "ID"
	ctx.Clock = dsig.NewFakeClockAt(now)
	signed, err := ctx.Validate(el)
	if err != nil {
		return nil, err
	}
	was, _ := attr(el, "ID")
	if got, _ := attr(signed, "ID"); !is(signed, el.NamespaceURI(), el.Tag) || got != was {
		return nil, errors.New("the signature is of another element")
	}
	return signed, nil
}

// forGo turns an ECDSA signature as XML writes it, two numbers side by side,
// into ASN.1, which is what Go's certificates check.
func forGo(value []byte, cert *x509.Certificate) ([]byte, error) {
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return value, nil
	}
	size := (key.Params().BitSize + 7) / 8
	if len(value) != 2*size {
		return value, nil
	}
	r, s := new(big.Int).SetBytes(value[:size]), new(big.Int).SetBytes(value[size:])
	return asn1.Marshal(struct{ R, S *big.Int }{r, s})
}

// detach copies el out of its document, with the namespaces it stood in.
func detach(el *etree.Element) (*etree.Element, error) {
	ctx, err := etreeutils.NSBuildParentContext(el)
	if err != nil {
		return nil, err
	}
	return etreeutils.NSDetatch(ctx, el)
}

// shape accepts the one form of signature that SAML has use for: enveloped,
// over the whole of el and nothing else, in exclusive canonical form. Every
// element of it is there once, in its place, so that there is no second one
// for anybody to find. It returns the signature's value.
func shape(el *etree.Element) (value []byte, err error) {
	id, ok := attr(el, "ID")
	if !ok || !ncName.MatchString(id) {
		return nil, errors.New("what is signed has no ID")
	}
	sig, err := one(el, nsDsig, "Signature")
	if err != nil {
		return nil, err
	}
	parts, err := sequence(sig, "SignedInfo", "SignatureValue", "KeyInfo?")
	if err != nil {
		return nil, err
	}
	signedInfo, signatureValue := parts[0], parts[1]
	if parts, err = sequence(signedInfo, "CanonicalizationMethod", "SignatureMethod", "Reference"); err != nil {
		return nil, err
	}
	canonical, method, reference := parts[0], parts[1], parts[2]
	if err := algorithm(canonical, canonicalMethods); err != nil {
		return nil, err
	}
	if err := algorithm(method, signatureMethods); err != nil {
		return nil, err
	}
	if _, err := sequence(method); err != nil {
		return nil, err
	}
	if uri, ok := attr(reference, "URI"); !ok || uri != "#"+id {
		return nil, errors.New("the signature refers to something else")
	}
	if parts, err = sequence(reference, "Transforms", "DigestMethod", "DigestValue"); err != nil {
		return nil, err
	}
	if err := algorithm(parts[1], digestMethods); err != nil {
		return nil, err
	}
	if _, err := sequence(parts[1]); err != nil {
		return nil, err
	}
	if err := only(parts[2]); err != nil {
		return nil, err
	}
	if parts, err = sequence(parts[0], "Transform", "Transform"); err != nil {
		return nil, err
	}
	if err := algorithm(parts[0], []string{string(dsig.EnvelopedSignatureAltorithmId)}); err != nil {
		return nil, err
	}
	if err := algorithm(parts[1], canonicalMethods); err != nil {
		return nil, err
	}
	if err := only(signatureValue); err != nil {
		return nil, err
	}
	s, err := text(signatureValue)
	if err != nil {
		return nil, err
	}
	return unbase64(s)
}

// sequence returns the children of el, if they are of these names of the
// signature namespace, in this order, with nothing but space between them. A
// last name with ? may be missing.
func sequence(el *etree.Element, names ...string) ([]*etree.Element, error) {
	var got []*etree.Element
	for _, c := range el.Child {
		switch t := c.(type) {
		case *etree.Element:
			got = append(got, t)
		case *etree.CharData:
			if strings.TrimSpace(t.Data) != "" {
				return nil, fmt.Errorf("text in %s", el.Tag)
			}
		default:
			return nil, fmt.Errorf("a comment in %s", el.Tag)
		}
	}
	if n := len(names); n > 0 && strings.HasSuffix(names[n-1], "?") && len(got) == n-1 {
		names = names[:n-1]
	}
	if len(got) != len(names) {
		return nil, fmt.Errorf("%d elements in %s", len(got), el.Tag)
	}
	for i, name := range names {
		if !is(got[i], nsDsig, strings.TrimSuffix(name, "?")) {
			return nil, fmt.Errorf("%s in %s", got[i].Tag, el.Tag)
		}
	}
	return got, nil
}

// only reports whether el holds text and nothing else, not even a comment.
func only(el *etree.Element) error {
	for _, c := range el.Child {
		if _, ok := c.(*etree.CharData); !ok {
			return fmt.Errorf("%s holds more than text", el.Tag)
		}
	}
	return nil
}

func algorithm(el *etree.Element, allowed []string) error {
	got, _ := attr(el, "Algorithm")
	if !slices.Contains(allowed, got) {
		return fmt.Errorf("the %s %.100q is not accepted", el.Tag, got)
	}
	return nil
}
