// Package samltest is a SAML 2.0 identity provider under a test's control: it
// answers as an honest one does, and as every dishonest one.
//
// Begin reading at IdP.Respond. What can be wrong with an answer is in flaw.go
// and wrap.go; server.go is the identity provider as a browser meets it.
//
// It must never share code with the service provider it tests: what both got
// wrong would look right.
package samltest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/beevik/etree"
)

const (
	nsProtocol  = "urn:oasis:names:tc:SAML:2.0:protocol"
	nsAssertion = "urn:oasis:names:tc:SAML:2.0:assertion"
	nsMetadata  = "urn:oasis:names:tc:SAML:2.0:metadata"
	nsDsig      = "http://www.w3.org/2000/09/xmldsig#"
	nsXenc      = "http://www.w3.org/2001/04/xmlenc#"

	bindingRedirect = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
	bindingPost     = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"

	formatEmail = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
)

// IdP is an identity provider. It is safe for concurrent use.
type IdP struct {
	EntityID string // the address of its metadata
	SSO      string // the address where sign-in begins
	Cert     *x509.Certificate

	key    *rsa.PrivateKey
	server *httptest.Server

	mu       sync.Mutex
	now      func() time.Time
	user     User
	sps      []SP
	tamper   func(*Answer)
	requests []Request
}

// User is who signs in there.
type User struct {
	NameID     string
	Format     string // of the NameID; "": emailAddress
	Attributes []Attribute
	Session    string // SessionIndex; "": one is made up
}

// Attribute is one attribute of a User.
type Attribute struct {
	Name, FriendlyName string
	Values             []string
}

// SP is a service provider that the IdP knows.
type SP struct {
	EntityID, ACS string
	Signing       []*x509.Certificate // its requests must be signed by one of these, if there are any
	Encryption    *x509.Certificate
}

// New starts an identity provider that ends with t. Its user is
// jo@example.com until SetUser says otherwise.
func New(t testing.TB) *IdP {
	t.Helper()
	p, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// Start is New for programs that are no tests.
func Start() (*IdP, error) {
	key, cert, err := takeKey()
	if err != nil {
		return nil, err
	}
	p := &IdP{
		key: key, Cert: cert,
		now:  time.Now, //nolint:forbidigo // the injection point: SetClock
		user: User{NameID: "jo@example.com"},
	}
	p.server = httptest.NewServer(p.handler())
	p.EntityID = p.server.URL + "/metadata"
	p.SSO = p.server.URL + "/sso"
	return p, nil
}

// Close stops the server.
func (p *IdP) Close() {
	p.server.Close()
	keys.Lock()
	defer keys.Unlock()
	keys.free = append(keys.free, pair{p.key, p.Cert})
}

// keys are those of identity providers that have closed. Making one takes
// longer than most tests; no two providers have the same at the same time.
var keys struct {
	sync.Mutex
	free []pair
}

type pair struct {
	key  *rsa.PrivateKey
	cert *x509.Certificate
}

func takeKey() (*rsa.PrivateKey, *x509.Certificate, error) {
	keys.Lock()
	defer keys.Unlock()
	if n := len(keys.free); n > 0 {
		k := keys.free[n-1]
		keys.free = keys.free[:n-1]
		return k.key, k.cert, nil
	}
	return newKey("identity provider")
}

// URL is where the server listens.
func (p *IdP) URL() string { return p.server.URL }

// SetClock makes now the time in every answer from here on.
func (p *IdP) SetClock(now func() time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = now
}

// SetUser makes u the one who is signed in at the identity provider.
func (p *IdP) SetUser(u User) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.user = u
}

// Tamper has f change every answer that a browser carries; nil ends it.
func (p *IdP) Tamper(f func(*Answer)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tamper = f
}

// Requests returns the requests that came by browser and were accepted.
func (p *IdP) Requests() []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Request(nil), p.requests...)
}

// Trust makes a service provider known by its metadata, and returns it. Known
// again under the same entity ID, it replaces the former.
func (p *IdP) Trust(metadata []byte) (SP, error) {
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(metadata); err != nil {
		return SP{}, err
	}
	root := doc.Root()
	if root == nil || root.Tag != "EntityDescriptor" || root.NamespaceURI() != nsMetadata {
		return SP{}, errors.New("samltest: not the metadata of one entity")
	}
	sp := SP{EntityID: root.SelectAttrValue("entityID", "")}
	role := root.SelectElement("SPSSODescriptor")
	if role == nil {
		return SP{}, errors.New("samltest: not the metadata of a service provider")
	}
	for _, acs := range role.SelectElements("AssertionConsumerService") {
		if sp.ACS == "" && acs.SelectAttrValue("Binding", "") == bindingPost {
			sp.ACS = acs.SelectAttrValue("Location", "")
		}
	}
	for _, k := range role.SelectElements("KeyDescriptor") {
		el := k.FindElement("./KeyInfo/X509Data/X509Certificate")
		if el == nil {
			continue
		}
		der, err := base64.StdEncoding.DecodeString(el.Text())
		if err != nil {
			return SP{}, err
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return SP{}, err
		}
		switch use := k.SelectAttrValue("use", ""); use {
		case "signing", "":
			sp.Signing = append(sp.Signing, cert)
		}
		if use := k.SelectAttrValue("use", ""); use != "signing" {
			sp.Encryption = cert
		}
	}
	if sp.EntityID == "" || sp.ACS == "" {
		return SP{}, errors.New("samltest: metadata without an entity ID or an address for responses")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, known := range p.sps {
		if known.EntityID == sp.EntityID {
			p.sps[i] = sp
			return sp, nil
		}
	}
	p.sps = append(p.sps, sp)
	return sp, nil
}

// find returns the service provider of that name, or the first for "".
func (p *IdP) find(entityID string) (SP, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, sp := range p.sps {
		if entityID == "" || sp.EntityID == entityID {
			return sp, nil
		}
	}
	return SP{}, fmt.Errorf("samltest: the service provider %q is not known", entityID)
}

// Metadata describes the identity provider, signed by its key.
func (p *IdP) Metadata() []byte { return p.MetadataWith(nil) }

// MetadataWith is Metadata with changes made before it is signed.
func (p *IdP) MetadataWith(edit func(*etree.Element)) []byte {
	doc := etree.NewDocument()
	root := doc.CreateElement("md:EntityDescriptor")
	root.CreateAttr("xmlns:md", nsMetadata)
	root.CreateAttr("xmlns:ds", nsDsig)
	root.CreateAttr("ID", newID())
	root.CreateAttr("entityID", p.EntityID)
	role := root.CreateElement("md:IDPSSODescriptor")
	role.CreateAttr("WantAuthnRequestsSigned", "true")
	role.CreateAttr("protocolSupportEnumeration", nsProtocol)
	k := role.CreateElement("md:KeyDescriptor")
	k.CreateAttr("use", "signing")
	k.CreateElement("ds:KeyInfo").CreateElement("ds:X509Data").CreateElement("ds:X509Certificate").
		SetText(base64.StdEncoding.EncodeToString(p.Cert.Raw))
	role.CreateElement("md:NameIDFormat").SetText(formatEmail)
	for _, binding := range []string{bindingRedirect, bindingPost} {
		s := role.CreateElement("md:SingleSignOnService")
		s.CreateAttr("Binding", binding)
		s.CreateAttr("Location", p.SSO)
	}
	if edit != nil {
		edit(root)
	}
	sign(root, signer{key: p.key, cert: p.Cert})
	out, err := doc.WriteToBytes()
	if err != nil {
		panic(err) // a buffer does not fail
	}
	return out
}

// newKey makes an RSA key with its certificate.
func newKey(name string) (*rsa.PrivateKey, *x509.Certificate, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, nil, err
	}
	cert, err := Certificate(name, &key.PublicKey, key)
	return key, cert, err
}

// Certificate makes a certificate of a public key, signed by signer.
func Certificate(name string, public, signer any) (*x509.Certificate, error) {
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(2049, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, public, signer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func newID() string { return "_" + rand.Text() }
