package samltest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
)

// The algorithms a signature can be made with.
const (
	RSASHA1     = nsDsig + "rsa-sha1"
	RSASHA256   = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
	RSASHA512   = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512"
	ECDSASHA256 = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"
	HMACSHA256  = "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256"

	SHA1   = nsDsig + "sha1"
	SHA256 = nsXenc + "sha256"
	SHA512 = nsXenc + "sha512"

	enveloped = nsDsig + "enveloped-signature"
	exclusive = "http://www.w3.org/2001/10/xml-exc-c14n#"
	inclusive = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
)

var hashes = map[string]crypto.Hash{
	RSASHA1: crypto.SHA1, RSASHA256: crypto.SHA256, RSASHA512: crypto.SHA512, ECDSASHA256: crypto.SHA256,
	SHA1: crypto.SHA1, SHA256: crypto.SHA256, SHA512: crypto.SHA512,
}

// signer says how to sign; zero fields are what honest providers do.
type signer struct {
	key       crypto.Signer
	cert      *x509.Certificate // named in KeyInfo; nil: none
	method    string            // "": RSA-SHA256
	digest    string            // "": SHA-256
	c14n      string            // "": exclusive
	uri       string            // "": that of the element; "-": an empty one
	transform []string          // nil: enveloped and c14n
	twice     bool              // the reference is there twice
}

// sign signs el, which must declare the namespaces it uses, and puts the
// signature where the schema has it: after the Issuer, or first.
func sign(el *etree.Element, s signer) {
	s.method, s.digest, s.c14n = or(s.method, RSASHA256), or(s.digest, SHA256), or(s.c14n, exclusive)
	if s.uri = or(s.uri, "#"+el.SelectAttrValue("ID", "")); s.uri == "-" {
		s.uri = ""
	}
	if s.transform == nil {
		s.transform = []string{enveloped, s.c14n}
	}
	h := hashes[s.digest].New()
	h.Write(canonical(el, s.c14n))
	var transforms strings.Builder
	for _, t := range s.transform {
		fmt.Fprintf(&transforms, `<ds:Transform Algorithm="%s"/>`, t)
	}
	reference := fmt.Sprintf(`<ds:Reference URI="%s"><ds:Transforms>%s</ds:Transforms><ds:DigestMethod Algorithm="%s"/><ds:DigestValue>%s</ds:DigestValue></ds:Reference>`,
		s.uri, transforms.String(), s.digest, base64.StdEncoding.EncodeToString(h.Sum(nil)))
	if s.twice {
		reference += reference
	}
	sig := element(fmt.Sprintf(`<ds:Signature xmlns:ds="%s"><ds:SignedInfo><ds:CanonicalizationMethod Algorithm="%s"/><ds:SignatureMethod Algorithm="%s"/>%s</ds:SignedInfo></ds:Signature>`,
		nsDsig, s.c14n, s.method, reference))
	info := sig.ChildElements()[0].Copy()
	info.CreateAttr("xmlns:ds", nsDsig)
	value := s.sign(canonical(info, s.c14n))
	sig.CreateElement("ds:SignatureValue").SetText(base64.StdEncoding.EncodeToString(value))
	if s.cert != nil {
		sig.CreateElement("ds:KeyInfo").CreateElement("ds:X509Data").CreateElement("ds:X509Certificate").
			SetText(base64.StdEncoding.EncodeToString(s.cert.Raw))
	}
	at := 0
	if issuer := el.SelectElement("Issuer"); issuer != nil {
		at = issuer.Index() + 1
	}
	el.InsertChildAt(at, sig)
}

func (s signer) sign(data []byte) []byte {
	if s.method == HMACSHA256 {
		m := hmac.New(sha256.New, s.cert.Raw) // with what everybody knows, as in confused JWT libraries
		m.Write(data)
		return m.Sum(nil)
	}
	hash := hashes[s.method]
	h := hash.New()
	h.Write(data)
	switch key := s.key.(type) {
	case *ecdsa.PrivateKey:
		r, sv, err := ecdsa.Sign(rand.Reader, key, h.Sum(nil))
		if err != nil {
			panic(err)
		}
		size := (key.Params().BitSize + 7) / 8
		return slices.Concat(r.FillBytes(make([]byte, size)), sv.FillBytes(make([]byte, size)))
	case *rsa.PrivateKey:
		value, err := rsa.SignPKCS1v15(rand.Reader, key, hash, h.Sum(nil))
		if err != nil {
			panic(err)
		}
		return value
	}
	panic("samltest: a key of another kind")
}

// canonical leaves el as it is.
func canonical(el *etree.Element, method string) []byte {
	c := dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("")
	if method == inclusive {
		c = dsig.MakeC14N10RecCanonicalizer()
	}
	out, err := c.Canonicalize(el.Copy())
	if err != nil {
		panic(err)
	}
	return out
}

// element reads one element of ours.
func element(s string) *etree.Element {
	doc := etree.NewDocument()
	if err := doc.ReadFromString(s); err != nil {
		panic(err)
	}
	return doc.Root().Copy()
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
