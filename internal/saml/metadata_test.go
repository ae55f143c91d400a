package saml_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/beevik/etree"
	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/saml"
	"gatehouse/internal/samltest"
)

func TestReadMetadata_readsWhatIsThere(t *testing.T) {
	t.Parallel()
	p := samltest.New(t)
	resp, err := http.Get(p.EntityID)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	d, err := saml.ReadMetadata(raw, saml.AllowHTTP)
	if err != nil {
		t.Fatal(err)
	}
	want := &saml.Described{
		EntityID: p.EntityID, SSO: map[string]string{saml.Redirect: p.SSO, saml.Post: p.SSO},
		Certificates: d.Certificates, NameIDFormats: []string{saml.FormatEmail},
	}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Error(diff)
	}
	if len(d.Certificates) != 1 || !d.Certificates[0].Equal(p.Cert) {
		t.Errorf("got %d certificates", len(d.Certificates))
	}
	_, err = saml.ReadMetadata(raw)
	refused(t, err, saml.Metadata) // plain http

	bom := append([]byte("\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<!-- hello -->\n"), raw...)
	if _, err := saml.ReadMetadata(bom, saml.AllowHTTP); err != nil {
		t.Errorf("with a byte order mark: %v", err)
	}
}

func TestReadMetadata_validity(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	with := func(until, cache, roleUntil string) []byte {
		return p.MetadataWith(func(r *etree.Element) {
			for _, a := range [][2]string{{"validUntil", until}, {"cacheDuration", cache}} {
				if a[1] != "" {
					r.CreateAttr(a[0], a[1])
				}
			}
			if roleUntil != "" {
				r.SelectElement("IDPSSODescriptor").CreateAttr("validUntil", roleUntil)
			}
		})
	}
	for _, c := range []struct {
		until, cache, role string
		wantUntil          time.Time
		wantCache          time.Duration
	}{
		{"", "", "", time.Time{}, 0},
		{"2026-05-04T13:00:00Z", "PT1H", "", noon.Add(time.Hour), time.Hour},
		{"2026-05-04T13:00:00.5+01:00", "P1DT2H3M4.5S", "", noon.Add(500 * time.Millisecond), 26*time.Hour + 3*time.Minute + 4*time.Second},
		{"2026-05-05T12:00:00Z", "P2Y", "2026-05-04T12:30:00", noon.Add(30 * time.Minute), 365 * 24 * time.Hour},
	} {
		d, err := saml.ReadMetadata(with(c.until, c.cache, c.role), saml.AllowHTTP)
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		if !d.ValidUntil.Equal(c.wantUntil) || d.CacheDuration != c.wantCache {
			t.Errorf("%+v: until %s, keep for %s", c, d.ValidUntil, d.CacheDuration)
		}
	}
	for _, c := range [][2]string{{"tomorrow", ""}, {"2026-05-04", ""}, {"", "1h"}, {"", "P"}, {"", "PT"}, {"", "-PT1H"}, {"", "P1H"}} {
		_, err := saml.ReadMetadata(with(c[0], c[1], ""), saml.AllowHTTP)
		refused(t, err, saml.Metadata)
	}
	for until, fine := range map[string]bool{"2026-05-04T12:00:00Z": false, "2026-05-04T12:00:01Z": true} {
		p.idp.Metadata = with(until, "", "")
		_, err := p.read(samltest.Answer{})
		_, err2 := p.sp.SignIn(p.idp, "_r", "")
		if fine && (err != nil || err2 != nil) {
			t.Errorf("valid until %s: %v, %v", until, err, err2)
		}
		if !fine {
			refused(t, err, saml.Metadata)
			refused(t, err2, saml.Metadata)
		}
	}
}

func TestReadMetadata_groups(t *testing.T) {
	t.Parallel()
	p, q := newPair(t), newPair(t)
	group := func(inner ...[]byte) []byte {
		return []byte(`<md:EntitiesDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" validUntil="2030-01-01T00:00:00Z">` +
			string(bytes.Join(inner, nil)) + `</md:EntitiesDescriptor>`)
	}
	us := bytes.TrimPrefix(must(p.sp.Metadata()), []byte(`<?xml version="1.0" encoding="UTF-8"?>`))
	d, err := saml.ReadMetadata(group(us, p.Metadata()), saml.AllowHTTP)
	if err != nil || d.EntityID != p.EntityID || d.ValidUntil.Year() != 2030 {
		t.Errorf("one among others: %+v, %v", d, err)
	}
	for name, raw := range map[string][]byte{
		"two":    group(p.Metadata(), q.Metadata()),
		"none":   group(us),
		"nested": group(group(p.Metadata())),
		"ours":   us,
		"other":  []byte(`<a/>`),
		"two roles": p.MetadataWith(func(r *etree.Element) {
			role := r.SelectElement("IDPSSODescriptor")
			r.AddChild(role.Copy())
		}),
		"SAML 1.1": p.MetadataWith(func(r *etree.Element) {
			r.SelectElement("IDPSSODescriptor").CreateAttr("protocolSupportEnumeration", "urn:oasis:names:tc:SAML:1.1:protocol")
		}),
		"no entity ID":     p.MetadataWith(func(r *etree.Element) { r.CreateAttr("entityID", "") }),
		"a wide entity ID": p.MetadataWith(func(r *etree.Element) { r.CreateAttr("entityID", " x ") }),
		"no address": p.MetadataWith(func(r *etree.Element) {
			for _, s := range r.FindElements("./IDPSSODescriptor/SingleSignOnService") {
				s.CreateAttr("Binding", "urn:oasis:names:tc:SAML:2.0:bindings:SOAP")
			}
		}),
	} {
		_, err := saml.ReadMetadata(raw, saml.AllowHTTP)
		t.Run(name, func(t *testing.T) { refused(t, err, saml.Metadata) })
	}
}

func TestReadMetadata_ofAnotherIdP(t *testing.T) {
	t.Parallel()
	p, q := newPair(t), newPair(t)
	p.idp.Metadata = q.Metadata()
	_, err := p.read(samltest.Answer{})
	refused(t, err, saml.Metadata)
	_, err = p.sp.SignIn(p.idp, "_r", "")
	refused(t, err, saml.Metadata)
}

func TestReadMetadata_weakKeys(t *testing.T) {
	t.Parallel()
	p := samltest.New(t)
	short := must(rsa.GenerateKey(rand.Reader, 1024))
	p224 := must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string][]byte{
		"RSA 1024": must(samltest.Certificate("x", &short.PublicKey, short)).Raw,
		"P-224":    must(samltest.Certificate("x", &p224.PublicKey, p224)).Raw,
		"Ed25519":  must(samltest.Certificate("x", ed.Public(), ed)).Raw,
	} {
		_, err := saml.ReadMetadata(p.MetadataWith(func(r *etree.Element) {
			// A weak key beside a strong one is a way in all the same.
			k := r.FindElement("./IDPSSODescriptor/KeyDescriptor")
			c := k.Copy()
			c.FindElement(".//X509Certificate").SetText(base64.StdEncoding.EncodeToString(raw))
			k.Parent().AddChild(c)
		}), saml.AllowHTTP)
		t.Run(name, func(t *testing.T) { refused(t, err, saml.Metadata) })
	}
}

func TestMetadata_saysWhatWeCan(t *testing.T) {
	t.Parallel()
	read := func(o saml.Options) (*etree.Element, map[string]int) {
		o.EntityID, o.ACS, o.Now = entityID, acs, at(noon)
		raw := must(must(saml.New(o)).Metadata())
		again := must(must(saml.New(o)).Metadata())
		if !bytes.Equal(raw, again) {
			t.Error("the metadata differs from time to time")
		}
		doc := etree.NewDocument()
		if err := doc.ReadFromBytes(raw); err != nil {
			t.Fatal(err)
		}
		uses := map[string]int{}
		for _, k := range doc.FindElements("//KeyDescriptor") {
			uses[k.SelectAttrValue("use", "")]++
		}
		return doc.Root(), uses
	}
	role := func(root *etree.Element, name string) string {
		return root.SelectElement("SPSSODescriptor").SelectAttrValue(name, "")
	}
	root, uses := read(saml.Options{})
	if role(root, "AuthnRequestsSigned") != "false" || role(root, "WantAssertionsSigned") != "true" || len(uses) != 0 {
		t.Errorf("without a key: %v", uses)
	}
	acsEl := root.FindElement("./SPSSODescriptor/AssertionConsumerService")
	if root.SelectAttrValue("entityID", "") != entityID || acsEl.SelectAttrValue("Location", "") != acs || acsEl.SelectAttrValue("Binding", "") != saml.Post {
		t.Error("the addresses are not ours")
	}
	root, uses = read(saml.Options{Key: ourKey(), NextKey: newKey(t), AllowEncrypted: true})
	if d := cmp.Diff(map[string]int{"signing": 2, "encryption": 1}, uses); d != "" || role(root, "AuthnRequestsSigned") != "true" {
		t.Errorf("with keys: %s", d)
	}
}

func TestMetadata_givenCertificate(t *testing.T) {
	t.Parallel()
	key := must(rsa.GenerateKey(rand.Reader, 2048))
	cert := must(samltest.Certificate("ours", &key.PublicKey, key))
	sp, err := saml.New(saml.Options{
		EntityID: entityID, ACS: acs, Now: at(noon),
		Key:  pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}),
		Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(must(sp.Metadata()), []byte(base64.StdEncoding.EncodeToString(cert.Raw))) {
		t.Error("the metadata has another certificate")
	}
}
