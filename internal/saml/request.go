package saml

import (
	"bytes"
	"compress/flate"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"

	"github.com/beevik/etree"
)

// rsaSHA256 is how this server signs.
const rsaSHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"

// SignIn returns the address that sends a browser to idp with a request to
// sign somebody in. requestID names the request: it is an NCName (letters,
// digits, ".", "-" and "_", not a digit first), unguessable, and what Read is
// to be given with the answer. relay comes back beside the answer.
func (sp *ServiceProvider) SignIn(idp IdP, requestID, relay string) (string, error) {
	if !ncName.MatchString(requestID) {
		return "", fmt.Errorf("saml: %d bytes that are no name of a request", len(requestID))
	}
	d, err := sp.described(idp)
	if err != nil {
		return "", err
	}
	to, ok := d.SSO[Redirect]
	if !ok {
		return "", refuse(Metadata, "the identity provider has no address for the HTTP-Redirect binding", nil)
	}
	request, err := deflate(sp.request(requestID, to, idp.NameIDFormat))
	if err != nil {
		return "", err
	}
	// The signature is over this very spelling and order.
	query := "SAMLRequest=" + url.QueryEscape(request)
	if relay != "" {
		query += "&RelayState=" + url.QueryEscape(relay)
	}
	if sp.key != nil {
		query += "&SigAlg=" + url.QueryEscape(rsaSHA256)
		sum := sha256.Sum256([]byte(query))
		sig, err := rsa.SignPKCS1v15(rand.Reader, sp.key, crypto.SHA256, sum[:])
		if err != nil {
			return "", fmt.Errorf("saml: sign a request: %w", err)
		}
		query += "&Signature=" + url.QueryEscape(base64.StdEncoding.EncodeToString(sig))
	}
	join := "?"
	if strings.Contains(to, "?") {
		join = "&"
	}
	return to + join + query, nil
}

// request makes an AuthnRequest.
func (sp *ServiceProvider) request(id, to, nameIDFormat string) *etree.Document {
	doc := etree.NewDocument()
	r := doc.CreateElement("samlp:AuthnRequest")
	r.CreateAttr("xmlns:samlp", nsProtocol)
	r.CreateAttr("xmlns:saml", nsAssertion)
	r.CreateAttr("ID", id)
	r.CreateAttr("Version", "2.0")
	r.CreateAttr("IssueInstant", sp.opt.Now().UTC().Format("2006-01-02T15:04:05Z"))
	r.CreateAttr("Destination", to)
	r.CreateAttr("AssertionConsumerServiceURL", sp.opt.ACS)
	r.CreateAttr("ProtocolBinding", Post)
	r.CreateElement("saml:Issuer").SetText(sp.opt.EntityID)
	policy := r.CreateElement("samlp:NameIDPolicy")
	if nameIDFormat != "" {
		policy.CreateAttr("Format", nameIDFormat)
	}
	policy.CreateAttr("AllowCreate", "true")
	return doc
}

func deflate(doc *etree.Document) (string, error) {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		return "", err
	}
	if _, err := doc.WriteTo(w); err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(b.Bytes()), nil
}
