package saml_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"

	"gatehouse/internal/saml"
	"gatehouse/internal/samltest"
)

// Every part of an encrypted assertion and of a signature, cut short, emptied,
// doubled or replaced.
func TestThreat_P07_malformedCryptography(t *testing.T) {
	t.Parallel()
	p := newPair(t, encrypted)
	b64 := base64.StdEncoding.EncodeToString
	texts := []string{"", " ", "A", "AAAA", "!", b64(make([]byte, 5)), b64(make([]byte, 16)), b64(make([]byte, 17)), b64(make([]byte, 256)), b64(make([]byte, 300))}
	for _, path := range []string{
		"//EncryptedData/CipherData/CipherValue", "//EncryptedKey/CipherData/CipherValue",
		"//SignatureValue", "//DigestValue", "//X509Certificate",
	} {
		for _, text := range texts {
			for _, alg := range []string{samltest.AES128CBC, samltest.AES256GCM} {
				a, err := p.read(samltest.Answer{Sign: samltest.SignResponse, Encrypt: alg, After: func(r *etree.Element) { r.FindElement(path).SetText(text) }})
				if path == "//X509Certificate" { // which is named does not matter
					if err != nil {
						t.Errorf("%s %q: %v", path, text, err)
					}
					continue
				}
				if a != nil || err == nil {
					t.Errorf("%s %q: accepted", path, text)
				}
			}
		}
	}
	for _, alg := range []string{"", samltest.AES128CBC} {
		doc := etree.NewDocument()
		raw, err := base64.StdEncoding.DecodeString(p.Respond(samltest.Answer{InResponseTo: "_r", Encrypt: alg}))
		if err != nil {
			t.Fatal(err)
		}
		if err := doc.ReadFromBytes(raw); err != nil {
			t.Fatal(err)
		}
		for i := range doc.FindElements("//*") {
			for _, change := range []func(*etree.Element){
				func(el *etree.Element) { el.Parent().RemoveChild(el) },
				func(el *etree.Element) { el.Child, el.Attr = nil, nil },
				func(el *etree.Element) { el.Space = "y" },
			} {
				c := doc.Copy()
				if el := c.FindElements("//*")[i]; el != c.Root() {
					change(el)
				}
				s, err := c.WriteToString()
				if err != nil {
					t.Fatal(err)
				}
				_, _ = p.sp.Read(p.idp, b64([]byte(s)), "_r") // must come back
			}
		}
	}
}

// A certificate in metadata that cannot be read, in every way, is an error and
// not a crash.
func TestThreat_P07_malformedCertificates(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	for _, n := range []int{0, 1, 2, 10, 100, len(p.Cert.Raw) - 1} {
		_, err := saml.ReadMetadata(p.MetadataWith(func(r *etree.Element) {
			r.FindElement(".//X509Certificate").SetText(base64.StdEncoding.EncodeToString(p.Cert.Raw[:n]))
		}), saml.AllowHTTP)
		refused(t, err, saml.Metadata)
	}
}

// There is no logout by SAML: nothing is offered, and such a message is no
// response.
func TestThreat_P08_noLogout(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	if meta := string(must(p.sp.Metadata())); strings.Contains(meta, "Logout") {
		t.Errorf("the metadata offers logout:\n%s", meta)
	}
	_, err := p.read(samltest.Answer{Edit: func(r *etree.Element) { r.Tag = "LogoutRequest" }})
	refused(t, err, saml.Malformed)
}

func TestThreat_P09_failsClosed(t *testing.T) {
	t.Parallel()
	refuses(t, "P09")

	// Metadata that says signatures are not wanted, or names no key for them.
	p := newPair(t)
	p.idp.Metadata = p.MetadataWith(func(r *etree.Element) {
		role := r.SelectElement("IDPSSODescriptor")
		role.CreateAttr("WantAuthnRequestsSigned", "false")
		role.CreateAttr("WantAssertionsSigned", "false")
	})
	_, err := p.read(samltest.Answer{Flaw: samltest.Unsigned})
	refused(t, err, saml.Signature)
	for name, edit := range map[string]func(*etree.Element){
		"no key":              func(k *etree.Element) { k.Parent().RemoveChild(k) },
		"a key to encrypt to": func(k *etree.Element) { k.CreateAttr("use", "encryption") },
		"a key of no use":     func(k *etree.Element) { k.CreateAttr("use", "") },
		"an empty key":        func(k *etree.Element) { k.Child = nil },
	} {
		p.idp.Metadata = p.MetadataWith(func(r *etree.Element) { edit(r.FindElement("./IDPSSODescriptor/KeyDescriptor")) })
		_, err := saml.ReadMetadata(p.idp.Metadata, saml.AllowHTTP)
		t.Run(name, func(t *testing.T) { refused(t, err, saml.Metadata) })
		_, err = p.read(samltest.Answer{})
		t.Run(name, func(t *testing.T) { refused(t, err, saml.Metadata) })
	}
}

func TestThreat_P09_encryption(t *testing.T) {
	t.Parallel()
	p := newPair(t, encrypted)
	plain := newPair(t)
	response := p.Respond(samltest.Answer{InResponseTo: "_r", Encrypt: samltest.AES256GCM})
	_, err := plain.sp.Read(p.idp, response, "_r")
	refused(t, err, saml.Encrypted)

	// Whatever is wrong inside, it looks the same from outside.
	problems := map[string]bool{}
	for _, a := range []samltest.Answer{
		{Flaw: samltest.EncryptedUnsigned},
		{Flaw: samltest.OtherKey, Encrypt: samltest.AES128CBC},
		{Flaw: samltest.SHA1Signature, Encrypt: samltest.AES128CBC},
		{Encrypt: samltest.AES128CBC, KeyCipher: samltest.RSA15},
		{Encrypt: samltest.AES128CBC, After: func(r *etree.Element) { r.FindElement("//EncryptedData/CipherData/CipherValue").SetText("AAAA") }},
		{Encrypt: samltest.AES128CBC, After: func(r *etree.Element) { r.FindElement("//EncryptedKey/CipherData/CipherValue").SetText("AAAA") }},
		{Encrypt: samltest.AES128CBC, After: func(r *etree.Element) {
			r.FindElement("//EncryptedData/CipherData/CipherValue").SetText(base64.StdEncoding.EncodeToString(make([]byte, 4096)))
		}},
		{Encrypt: samltest.AES128CBC, After: func(r *etree.Element) {
			r.FindElement("//EncryptedData/EncryptionMethod").CreateAttr("Algorithm", "http://www.w3.org/2001/04/xmlenc#tripledes-cbc")
		}},
	} {
		_, err := p.read(a)
		refused(t, err, saml.Encrypted)
		var e *saml.Error
		if errors.As(err, &e) {
			problems[e.Problem] = true
		}
	}
	if len(problems) != 1 {
		t.Errorf("told apart by their problem: %v", problems)
	}
	_, err = p.read(samltest.Answer{Edit: func(r *etree.Element) { r.FindElement("./Assertion/Subject/NameID").Tag = "EncryptedID" }})
	refused(t, err, saml.Encrypted)
}

// What comes from outside is not in what may be shown; the address that
// requests and answers go to is only that of the options and the metadata.
func TestThreat_P10_nothingIsReflected(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	const script = `<script>alert(1)</script>`
	for _, a := range []samltest.Answer{
		{Edit: func(r *etree.Element) { r.CreateAttr("Destination", script) }},
		{Edit: func(r *etree.Element) { r.SelectElement("Issuer").SetText(script) }},
		{Flaw: samltest.Refused, Edit: func(r *etree.Element) {
			r.SelectElement("Status").CreateElement("samlp:StatusMessage").SetText(script)
			r.FindElement("./Status/StatusCode").CreateAttr("Value", script)
		}},
		{Edit: func(r *etree.Element) {
			r.FindElement("./Assertion/Subject/SubjectConfirmation/SubjectConfirmationData").CreateAttr("Recipient", script)
		}},
		{After: func(r *etree.Element) { r.FindElement("//SignatureMethod").CreateAttr("Algorithm", script) }},
	} {
		_, err := p.read(a)
		var e *saml.Error
		if !errors.As(err, &e) || strings.Contains(e.Problem, "script") {
			t.Errorf("got %v", err)
		}
	}
	for _, location := range []string{"javascript:alert(1)", "http://idp.example.com/sso", "https://user:pw@idp.example.com/", "https://idp.example.com/#x", "/sso", "https:///sso", "%"} {
		_, err := saml.ReadMetadata(p.MetadataWith(func(r *etree.Element) {
			for _, s := range r.FindElements("./IDPSSODescriptor/SingleSignOnService") {
				s.CreateAttr("Location", location)
			}
		}))
		refused(t, err, saml.Metadata)
	}
	to, err := p.sp.SignIn(p.idp, "_r", `"><script>&RelayState=x`)
	if err != nil || strings.ContainsAny(to, `"<>`) || strings.Count(to, "RelayState=") != 1 {
		t.Errorf("got %s, %v", to, err)
	}
}

func TestThreat_P11_weakAlgorithms(t *testing.T) {
	t.Parallel()
	refuses(t, "P11")
	p := newPair(t)
	_, err := p.read(samltest.Answer{Method: samltest.RSASHA256, Digest: samltest.SHA512})
	if err != nil {
		t.Error(err) // mixed, and both strong
	}
}

// A certificate that is over is not used, though the provider still names it.
func TestThreat_P11_certificatesEnd(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	year2050 := time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC)
	p.SetClock(at(year2050))
	sp, err := saml.New(saml.Options{EntityID: entityID, ACS: acs, AllowHTTP: true, Now: at(year2050)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = sp.Read(p.idp, p.Respond(samltest.Answer{InResponseTo: "_r"}), "_r")
	refused(t, err, saml.Signature)
}
