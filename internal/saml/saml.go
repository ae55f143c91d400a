// Package saml is a SAML 2.0 service provider for sign-in in the browser: it
// sends people to their company's identity provider and judges what comes
// back.
//
// Begin reading at ServiceProvider.Read; what may be believed is in
// signature.go and judge.go, what may be parsed at all in xml.go.
//
// It must never read an identity from bytes whose signature it has not
// checked, parse a document type or an entity, or fetch anything. It remembers
// nothing: that an assertion is used once is for the caller to see to, who is
// given its ID and how long to keep it.
package saml

import (
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"net/url"
	"time"
)

// The ways a message travels, as metadata names them.
const (
	Redirect = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
	Post     = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
)

// The formats of a NameID that mean something here.
const (
	FormatEmail      = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
	FormatTransient  = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
	FormatPersistent = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
)

// Skew is how far the clocks of two servers may be apart.
const Skew = 60 * time.Second

// maxAge is the longest way from an identity provider's hand to ours. It also
// bounds how long the ID of a used assertion has to be remembered.
const maxAge = 10 * time.Minute

// Options are what a ServiceProvider is made of.
type Options struct {
	// EntityID names this server; by custom it is the address of its metadata.
	EntityID string
	// ACS is the address that responses are posted to.
	ACS string
	// Key is an RSA private key: PEM, or base64 of PKCS#1 or PKCS#8. Without
	// it requests are not signed and nothing encrypted can be read.
	Key []byte
	// NextKey is told to identity providers beside Key, and decrypts too. To
	// change keys: announce the new one here, make it Key when everybody has
	// read the metadata again, and leave the old one here for as long.
	NextKey []byte
	// Cert is the certificate of Key, PEM. Without it one is made of Key, the
	// same on every node.
	Cert []byte
	// AllowEncrypted accepts encrypted assertions.
	AllowEncrypted bool
	// AllowHTTP accepts identity providers whose sign-in address is plain
	// http: for development.
	AllowHTTP bool
	// Now is the clock.
	Now func() time.Time
}

// ServiceProvider is this server towards identity providers. It is safe for
// concurrent use.
type ServiceProvider struct {
	opt   Options
	key   *rsa.PrivateKey
	next  *rsa.PrivateKey
	certs []*x509.Certificate // of key, then of next
}

// IdP is one identity provider as an administrator has set it up.
type IdP struct {
	EntityID string
	// Metadata is its description of itself, as ReadMetadata accepts it.
	Metadata []byte
	// NameIDFormat is asked for if it is not empty.
	NameIDFormat string
	// AllowIdPInitiated accepts responses that nobody asked for. They can be
	// planted in another person's browser, so it is a choice for each provider.
	AllowIdPInitiated bool
}

// Assertion is what an identity provider has said about somebody, checked.
type Assertion struct {
	ID           string // unique to its Issuer; to be remembered until NotOnOrAfter
	Issuer       string // the IdP's EntityID
	NameID       string
	NameIDFormat string
	SessionIndex string
	// NotOnOrAfter is the moment from which this server refuses the assertion
	// anyway, leeway included: until then the caller must know its ID again.
	NotOnOrAfter time.Time
	// SessionEnds is when the identity provider wants the session over. Zero:
	// it did not say.
	SessionEnds time.Time
	// Attributes are by Name, and by FriendlyName where no attribute has that
	// for its Name.
	Attributes map[string][]string
}

// New makes a ServiceProvider.
func New(o Options) (*ServiceProvider, error) {
	if o.Now == nil {
		return nil, errors.New("saml: no clock")
	}
	if o.EntityID == "" || len(o.EntityID) > maxEntityID {
		return nil, errors.New("saml: the entity ID must have 1 to 1024 bytes")
	}
	if u, err := url.Parse(o.ACS); err != nil || !u.IsAbs() || u.Host == "" {
		return nil, errors.New("saml: the address for responses must be absolute")
	}
	sp := &ServiceProvider{opt: o}
	if len(o.Key) == 0 {
		if len(o.NextKey) > 0 || len(o.Cert) > 0 || o.AllowEncrypted {
			return nil, errors.New("saml: a next key, a certificate and encrypted assertions need a key")
		}
		return sp, nil
	}
	var err error
	if sp.key, err = readKey(o.Key); err != nil {
		return nil, err
	}
	cert, err := certificate(sp.key, o.Cert, o.EntityID)
	if err != nil {
		return nil, err
	}
	sp.certs = append(sp.certs, cert)
	if len(o.NextKey) == 0 {
		return sp, nil
	}
	if sp.next, err = readKey(o.NextKey); err != nil {
		return nil, err
	}
	if cert, err = certificate(sp.next, nil, o.EntityID); err != nil {
		return nil, err
	}
	sp.certs = append(sp.certs, cert)
	return sp, nil
}
