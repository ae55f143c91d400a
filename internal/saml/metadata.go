package saml

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/beevik/etree"
)

// Described is what an identity provider's metadata says.
type Described struct {
	EntityID string
	// SSO is where sign-in begins, by binding (Redirect, Post).
	SSO map[string]string
	// Certificates hold the keys it signs with; nothing else in them counts
	// but their dates.
	Certificates []*x509.Certificate
	// ValidUntil is when the description ends. Zero: never.
	ValidUntil time.Time
	// CacheDuration is how long it may be kept without looking again. Zero: it
	// does not say.
	CacheDuration time.Duration
	// NameIDFormats are those it offers.
	NameIDFormats []string
}

// Allow relaxes ReadMetadata.
type Allow int

// AllowHTTP accepts a sign-in address without TLS.
const AllowHTTP Allow = 1

// ReadMetadata reads the description of one identity provider. Nothing in it
// can switch a check off. Its own signature is not looked at, because there is
// no key to check it with: metadata is as trustworthy as the way it came.
func ReadMetadata(raw []byte, allow ...Allow) (*Described, error) {
	bad := func(problem string, err error) (*Described, error) { return nil, refuse(Metadata, problem, err) }
	if len(raw) > maxMetadata {
		return bad("the metadata is longer than 1 MiB", nil)
	}
	root, err := parse(raw)
	if err != nil {
		return bad("the metadata is not XML that may be read", err)
	}
	entity, role, problem := identityProvider(root)
	if problem != "" {
		return bad(problem, nil)
	}
	d := &Described{SSO: map[string]string{}}
	d.EntityID, _ = attr(entity, "entityID")
	if d.EntityID == "" || len(d.EntityID) > maxEntityID || strings.TrimSpace(d.EntityID) != d.EntityID {
		return bad("the metadata has no entity ID, or an impossible one", nil)
	}
	for el := role; el != nil; el = el.Parent() {
		if err := d.readValidity(el); err != nil {
			return bad("the metadata's validity cannot be read: "+err.Error(), nil)
		}
	}
	if err := d.readSSO(role, slices.Contains(allow, AllowHTTP)); err != nil {
		return bad("the metadata's sign-in addresses cannot be used: "+err.Error(), nil)
	}
	if err := d.readCertificates(role); err != nil {
		return bad("the metadata's signing certificates cannot be used: "+err.Error(), nil)
	}
	for _, f := range children(role, nsMetadata, "NameIDFormat") {
		if s, err := trimmed(f); err == nil && s != "" {
			d.NameIDFormats = append(d.NameIDFormats, s)
		}
	}
	return d, nil
}

// identityProvider finds the only identity provider under root.
func identityProvider(root *etree.Element) (entity, role *etree.Element, problem string) {
	entities := []*etree.Element{root}
	switch {
	case is(root, nsMetadata, "EntityDescriptor"):
	case is(root, nsMetadata, "EntitiesDescriptor"):
		if len(children(root, nsMetadata, "EntitiesDescriptor")) > 0 {
			return nil, nil, "the metadata describes groups of groups, not one identity provider"
		}
		entities = children(root, nsMetadata, "EntityDescriptor")
	default:
		return nil, nil, "this is not SAML metadata"
	}
	for _, e := range entities {
		for _, r := range children(e, nsMetadata, "IDPSSODescriptor") {
			if p, _ := attr(r, "protocolSupportEnumeration"); !slices.Contains(strings.Fields(p), nsProtocol) {
				continue
			}
			if role != nil {
				return nil, nil, "the metadata describes more than one identity provider"
			}
			entity, role = e, r
		}
	}
	if role == nil {
		return nil, nil, "the metadata describes no SAML 2.0 identity provider"
	}
	return entity, role, ""
}

// readValidity narrows the validity to what el says of itself.
func (d *Described) readValidity(el *etree.Element) error {
	until, ok, err := moment(el, "validUntil")
	if err != nil {
		return err
	}
	if ok && (d.ValidUntil.IsZero() || until.Before(d.ValidUntil)) {
		d.ValidUntil = until
	}
	if s, ok := attr(el, "cacheDuration"); ok {
		keep, err := duration(strings.TrimSpace(s))
		if err != nil {
			return err
		}
		if d.CacheDuration == 0 || keep < d.CacheDuration {
			d.CacheDuration = keep
		}
	}
	return nil
}

func (d *Described) readSSO(role *etree.Element, allowHTTP bool) error {
	for _, s := range children(role, nsMetadata, "SingleSignOnService") {
		binding, _ := attr(s, "Binding")
		location, _ := attr(s, "Location")
		if binding != Redirect && binding != Post {
			continue
		}
		u, err := url.Parse(location)
		switch {
		case err != nil:
			return errors.New("an address is none")
		case u.Scheme != "https" && (u.Scheme != "http" || !allowHTTP):
			return errors.New("an address does not begin with https://")
		case u.Host == "" || u.User != nil || u.Fragment != "" || u.Opaque != "":
			return errors.New("an address has no host, a password or a fragment")
		}
		if _, ok := d.SSO[binding]; !ok {
			d.SSO[binding] = location
		}
	}
	if len(d.SSO) == 0 {
		return errors.New("none for HTTP-Redirect or HTTP-POST")
	}
	return nil
}

func (d *Described) readCertificates(role *etree.Element) error {
	for _, k := range children(role, nsMetadata, "KeyDescriptor") {
		if use, ok := attr(k, "use"); ok && use != "signing" {
			continue
		}
		for _, info := range children(k, nsDsig, "KeyInfo") {
			for _, data := range children(info, nsDsig, "X509Data") {
				for _, c := range children(data, nsDsig, "X509Certificate") {
					cert, err := readCertificate(c)
					if err != nil {
						return err
					}
					if !slices.ContainsFunc(d.Certificates, cert.Equal) {
						d.Certificates = append(d.Certificates, cert)
					}
				}
			}
		}
	}
	switch n := len(d.Certificates); {
	case n == 0:
		return errors.New("there are none")
	case n > 16:
		return errors.New("there are more than 16")
	}
	return nil
}

func readCertificate(el *etree.Element) (*x509.Certificate, error) {
	s, err := text(el)
	if err != nil {
		return nil, err
	}
	der, err := unbase64(s)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	switch key := cert.PublicKey.(type) {
	case *rsa.PublicKey:
		if n := key.N.BitLen(); n < minRSABits || n > maxRSABits {
			return nil, fmt.Errorf("an RSA key of %d bits", n)
		}
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P224() {
			return nil, errors.New("an EC key of 224 bits")
		}
	default:
		return nil, fmt.Errorf("a key of the kind %T", key)
	}
	return cert, nil
}

var xsDuration = regexp.MustCompile(`^P(?:(\d{1,4})Y)?(?:(\d{1,5})M)?(?:(\d{1,6})D)?(?:T(?:(\d{1,7})H)?(?:(\d{1,8})M)?(?:(\d{1,9})(?:\.\d+)?S)?)?$`)

// duration reads an xs:duration; its years have 365 days and its months 30,
// and it ends at a year.
func duration(s string) (time.Duration, error) {
	m := xsDuration.FindStringSubmatch(s)
	if m == nil || s == "P" || strings.HasSuffix(s, "T") {
		return 0, errors.New("not a duration")
	}
	const day = 24 * time.Hour
	total := 0.0
	for i, unit := range []time.Duration{365 * day, 30 * day, day, time.Hour, time.Minute, time.Second} {
		if m[i+1] == "" {
			continue
		}
		n, err := strconv.Atoi(m[i+1])
		if err != nil {
			return 0, err
		}
		total += float64(n) * unit.Seconds()
	}
	return time.Duration(min(total, (365*day).Seconds())) * time.Second, nil
}

// described reads the metadata of idp and whether it still holds.
func (sp *ServiceProvider) described(idp IdP) (*Described, error) {
	var allow []Allow
	if sp.opt.AllowHTTP {
		allow = append(allow, AllowHTTP)
	}
	d, err := ReadMetadata(idp.Metadata, allow...)
	if err != nil {
		return nil, err
	}
	if d.EntityID != idp.EntityID {
		return nil, refuse(Metadata, "the metadata is that of another identity provider", nil)
	}
	if !d.ValidUntil.IsZero() && !sp.opt.Now().Before(d.ValidUntil) {
		return nil, refuse(Metadata, "the metadata is no longer valid", nil)
	}
	return d, nil
}

// Metadata describes this server to identity providers. The same options give
// the same bytes.
func (sp *ServiceProvider) Metadata() ([]byte, error) {
	doc := etree.NewDocument()
	doc.CreateProcInst("xml", `version="1.0" encoding="UTF-8"`)
	entity := doc.CreateElement("md:EntityDescriptor")
	entity.CreateAttr("xmlns:md", nsMetadata)
	entity.CreateAttr("xmlns:ds", nsDsig)
	entity.CreateAttr("entityID", sp.opt.EntityID)
	role := entity.CreateElement("md:SPSSODescriptor")
	role.CreateAttr("AuthnRequestsSigned", strconv.FormatBool(sp.key != nil))
	role.CreateAttr("WantAssertionsSigned", "true")
	role.CreateAttr("protocolSupportEnumeration", nsProtocol)
	for _, cert := range sp.certs {
		describeKey(role, "signing", cert)
	}
	if sp.opt.AllowEncrypted {
		k := describeKey(role, "encryption", sp.certs[0])
		for _, alg := range []string{aes256GCM, aes128GCM, aes256CBC, aes128CBC, oaepMGF1P} {
			k.CreateElement("md:EncryptionMethod").CreateAttr("Algorithm", alg)
		}
	}
	for _, format := range []string{FormatPersistent, FormatEmail} {
		role.CreateElement("md:NameIDFormat").SetText(format)
	}
	acs := role.CreateElement("md:AssertionConsumerService")
	acs.CreateAttr("Binding", Post)
	acs.CreateAttr("Location", sp.opt.ACS)
	acs.CreateAttr("index", "1")
	acs.CreateAttr("isDefault", "true")
	return doc.WriteToBytes()
}

func describeKey(role *etree.Element, use string, cert *x509.Certificate) *etree.Element {
	k := role.CreateElement("md:KeyDescriptor")
	k.CreateAttr("use", use)
	k.CreateElement("ds:KeyInfo").CreateElement("ds:X509Data").CreateElement("ds:X509Certificate").
		SetText(base64.StdEncoding.EncodeToString(cert.Raw))
	return k
}
