package saml_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"gatehouse/internal/saml"
	"gatehouse/internal/samltest"
)

// FuzzRead changes answers in every way. Nothing recovers in this package, so
// whatever panics is found; and whoever is signed in is the one that was
// signed for.
func FuzzRead(f *testing.F) {
	p := newPair(f, encrypted)
	seed := func(a samltest.Answer) {
		a.InResponseTo = "_r"
		raw, err := base64.StdEncoding.DecodeString(p.Respond(a))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(raw))
	}
	for _, sign := range []samltest.Sign{samltest.SignAssertion, samltest.SignResponse, samltest.SignBoth} {
		for _, alg := range []string{"", samltest.AES128CBC, samltest.AES256GCM} {
			seed(samltest.Answer{Sign: sign, Encrypt: alg})
		}
	}
	for _, flaw := range samltest.Flaws() {
		if flaw != samltest.Long && flaw != samltest.ManyElements && flaw != samltest.Deep {
			seed(samltest.Answer{Flaw: flaw})
		}
	}
	f.Fuzz(func(t *testing.T, xml string) {
		response := base64.StdEncoding.EncodeToString([]byte(xml))
		_, _ = saml.Issuer(response)
		a, err := p.sp.Read(p.idp, response, "_r")
		if (a == nil) == (err == nil) {
			t.Fatalf("got %v and %v", a, err)
		}
		if a != nil && (!strings.HasPrefix(a.NameID, "jo@example.com") || a.Issuer != p.EntityID || a.ID == "") {
			t.Errorf("signed in as %+v", a)
		}
	})
}

func FuzzReadMetadata(f *testing.F) {
	p := newPair(f)
	f.Add(p.Metadata())
	f.Add(must(p.sp.Metadata()))
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, err := saml.ReadMetadata(raw)
		if (d == nil) == (err == nil) {
			t.Fatalf("got %v and %v", d, err)
		}
		if d == nil {
			return
		}
		for _, to := range d.SSO {
			if !strings.HasPrefix(strings.ToLower(to), "https://") {
				t.Errorf("sends to %q", to)
			}
		}
		if d.EntityID == "" || len(d.SSO) == 0 || len(d.Certificates) == 0 {
			t.Errorf("got %+v", d)
		}
	})
}
