package samltest

import (
	"bytes"
	"compress/flate"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/beevik/etree"
)

// Sign says what an identity provider signs.
type Sign int

// What is signed. The zero value is what most do.
const (
	SignAssertion Sign = iota
	SignResponse
	SignBoth
)

// Answer is one response to make. The zero value is an honest one to the first
// service provider that is known, in answer to no request.
type Answer struct {
	SP           string // entity ID; "": the first that is known
	InResponseTo string // the ID of a request; "": initiated by the IdP
	User         *User  // nil: that of SetUser
	Sign         Sign
	Flaw         Flaw
	Method       string            // signature method; "": RSA-SHA256
	Digest       string            // "": SHA-256
	Encrypt      string            // cipher of the assertion; "": plain
	KeyCipher    string            // of the content key; "": OAEP as of XML Encryption 1.0
	Key          crypto.Signer     // "": that of the IdP
	Cert         *x509.Certificate // what KeyInfo names; nil: that of the IdP
	NoKeyInfo    bool

	// Edit changes the response before it is signed.
	Edit func(response *etree.Element)
	// After changes it when it is.
	After func(response *etree.Element)
	// Text changes what is sent, before base64.
	Text func(xml string) string
}

// Respond makes a response, as the form field SAMLResponse has it. It panics
// on an answer that cannot be made, such as to an unknown service provider.
func (p *IdP) Respond(a Answer) string {
	sp, err := p.find(a.SP)
	if err != nil {
		panic(err)
	}
	p.mu.Lock()
	user, now := p.user, p.now()
	p.mu.Unlock()
	if a.User != nil {
		user = *a.User
	}
	flaw, ok := flaws[a.Flaw]
	if !ok && a.Flaw != "" {
		panic(fmt.Sprintf("samltest: the flaw %q is not known", a.Flaw))
	}
	s := signer{key: p.key, cert: p.Cert, method: a.Method, digest: a.Digest}
	if a.Key != nil {
		s.key, s.cert = a.Key, a.Cert
	}
	if a.NoKeyInfo {
		s.cert = nil
	}
	if flaw.answer != nil {
		flaw.answer(&a)
	}
	if flaw.user != nil {
		flaw.user(&user)
	}
	if flaw.signer != nil {
		flaw.signer(&s)
	}
	response := p.response(sp, user, a.InResponseTo, now)
	for _, edit := range []func(*etree.Element){flaw.edit, a.Edit} {
		if edit != nil {
			edit(response)
		}
	}
	p.finish(response, a, sp, s, flaw.unsigned)
	for _, edit := range []func(*etree.Element){flaw.after, a.After} {
		if edit != nil {
			edit(response)
		}
	}
	doc := etree.NewDocument()
	doc.SetRoot(response)
	out, err := doc.WriteToString()
	if err != nil {
		panic(err)
	}
	for _, edit := range []func(string) string{flaw.text, a.Text} {
		if edit != nil {
			out = edit(out)
		}
	}
	return base64.StdEncoding.EncodeToString([]byte(out))
}

// finish signs and encrypts.
func (p *IdP) finish(response *etree.Element, a Answer, sp SP, s signer, unsigned bool) {
	el := response.SelectElement("Assertion")
	if el != nil && !unsigned && a.Sign != SignResponse {
		sign(el, s)
	}
	if el != nil && a.Encrypt != "" {
		at := el.Index()
		response.RemoveChildAt(at)
		response.InsertChildAt(at, encrypt(el, sp.Encryption, a.Encrypt, a.KeyCipher))
	}
	if !unsigned && a.Sign != SignAssertion {
		sign(response, s)
	}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// response builds a response without signatures.
func (p *IdP) response(sp SP, u User, inResponseTo string, now time.Time) *etree.Element {
	r := etree.NewElement("samlp:Response")
	r.CreateAttr("xmlns:samlp", nsProtocol)
	r.CreateAttr("ID", newID())
	r.CreateAttr("Version", "2.0")
	r.CreateAttr("IssueInstant", stamp(now))
	r.CreateAttr("Destination", sp.ACS)
	if inResponseTo != "" {
		r.CreateAttr("InResponseTo", inResponseTo)
	}
	issuer := r.CreateElement("saml:Issuer")
	issuer.CreateAttr("xmlns:saml", nsAssertion)
	issuer.SetText(p.EntityID)
	r.CreateElement("samlp:Status").CreateElement("samlp:StatusCode").
		CreateAttr("Value", "urn:oasis:names:tc:SAML:2.0:status:Success")
	r.AddChild(p.assertion(sp, u, inResponseTo, now))
	return r
}

func (p *IdP) assertion(sp SP, u User, inResponseTo string, now time.Time) *etree.Element {
	a := etree.NewElement("saml:Assertion")
	a.CreateAttr("xmlns:saml", nsAssertion)
	a.CreateAttr("ID", newID())
	a.CreateAttr("Version", "2.0")
	a.CreateAttr("IssueInstant", stamp(now))
	a.CreateElement("saml:Issuer").SetText(p.EntityID)

	subject := a.CreateElement("saml:Subject")
	name := subject.CreateElement("saml:NameID")
	name.CreateAttr("Format", or(u.Format, formatEmail))
	name.SetText(u.NameID)
	c := subject.CreateElement("saml:SubjectConfirmation")
	c.CreateAttr("Method", "urn:oasis:names:tc:SAML:2.0:cm:bearer")
	data := c.CreateElement("saml:SubjectConfirmationData")
	data.CreateAttr("Recipient", sp.ACS)
	data.CreateAttr("NotOnOrAfter", stamp(now.Add(5*time.Minute)))
	if inResponseTo != "" {
		data.CreateAttr("InResponseTo", inResponseTo)
	}

	conditions := a.CreateElement("saml:Conditions")
	conditions.CreateAttr("NotBefore", stamp(now.Add(-time.Minute)))
	conditions.CreateAttr("NotOnOrAfter", stamp(now.Add(5*time.Minute)))
	conditions.CreateElement("saml:AudienceRestriction").CreateElement("saml:Audience").SetText(sp.EntityID)

	authn := a.CreateElement("saml:AuthnStatement")
	authn.CreateAttr("AuthnInstant", stamp(now))
	authn.CreateAttr("SessionIndex", or(u.Session, newID()))
	authn.CreateElement("saml:AuthnContext").CreateElement("saml:AuthnContextClassRef").
		SetText("urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport")

	if len(u.Attributes) > 0 {
		statement := a.CreateElement("saml:AttributeStatement")
		for _, at := range u.Attributes {
			el := statement.CreateElement("saml:Attribute")
			el.CreateAttr("Name", at.Name)
			if at.FriendlyName != "" {
				el.CreateAttr("FriendlyName", at.FriendlyName)
			}
			for _, v := range at.Values {
				el.CreateElement("saml:AttributeValue").SetText(v)
			}
		}
	}
	return a
}

// Compress turns a response into what the HTTP-Redirect binding would make of
// it, which the POST binding does not know.
func Compress(response string) string {
	raw, err := base64.StdEncoding.DecodeString(response)
	if err != nil {
		panic(err)
	}
	return base64.StdEncoding.EncodeToString(deflate(raw))
}

// Bomb is a compressed response of a thousandth of size, which it unfolds to.
func Bomb(size int) string {
	return base64.StdEncoding.EncodeToString(deflate([]byte("<a>" + strings.Repeat(" ", size) + "</a>")))
}

func deflate(raw []byte) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		panic(err)
	}
	_, _ = w.Write(raw) // a buffer does not fail
	_ = w.Close()
	return b.Bytes()
}
