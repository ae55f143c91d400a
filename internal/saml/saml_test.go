package saml_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/beevik/etree"
	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/saml"
	"gatehouse/internal/samltest"
)

const (
	entityID = "https://auth.example.com/sso/saml/metadata"
	acs      = "https://auth.example.com/sso/saml/acs"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func at(t time.Time) func() time.Time { return func() time.Time { return t } }

func newKey(t testing.TB) []byte {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return []byte(base64.StdEncoding.EncodeToString(x509.MarshalPKCS1PrivateKey(key)))
}

var ourKey = sync.OnceValue(func() []byte {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return []byte(base64.StdEncoding.EncodeToString(x509.MarshalPKCS1PrivateKey(key)))
})

// pair is a service provider and an identity provider that know each other, at
// noon.
type pair struct {
	*samltest.IdP
	sp  *saml.ServiceProvider
	idp saml.IdP
}

func newPair(t testing.TB, options ...func(*saml.Options)) *pair {
	t.Helper()
	o := saml.Options{EntityID: entityID, ACS: acs, Key: ourKey(), AllowHTTP: true, Now: at(noon)}
	for _, f := range options {
		f(&o)
	}
	sp, err := saml.New(o)
	if err != nil {
		t.Fatal(err)
	}
	p := &pair{IdP: samltest.New(t), sp: sp}
	p.SetClock(at(noon))
	meta, err := sp.Metadata()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Trust(meta); err != nil {
		t.Fatal(err)
	}
	p.idp = saml.IdP{EntityID: p.EntityID, Metadata: p.Metadata()}
	return p
}

func encrypted(o *saml.Options) { o.AllowEncrypted = true }

// read has the service provider judge an answer to the request "_r".
func (p *pair) read(a samltest.Answer) (*saml.Assertion, error) {
	if a.InResponseTo == "" {
		a.InResponseTo = "_r"
	}
	return p.sp.Read(p.idp, p.Respond(a), "_r")
}

// refused checks that err is a refusal of that kind, and that what may be told
// has nothing of the answer in it.
func refused(t *testing.T, err error, want saml.Kind) {
	t.Helper()
	var e *saml.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a refusal: %s", err, want)
	}
	if e.Kind != want {
		t.Errorf("got %s (%v), want %s", e.Kind, err, want)
	}
	if e.Problem == "" || strings.Contains(e.Problem, "jo@") || strings.Contains(e.Problem, "other.example") {
		t.Errorf("the problem tells %q", e.Problem)
	}
}

func TestRead_honestAnswers(t *testing.T) {
	t.Parallel()
	p := newPair(t, encrypted)
	p.SetUser(samltest.User{
		NameID: "jo@example.com", Session: "s1",
		Attributes: []samltest.Attribute{
			{Name: "urn:oid:2.5.4.42", FriendlyName: "givenName", Values: []string{"Jo & <Co>"}},
			{Name: "groups", Values: []string{"a", "b"}},
		},
	})
	want := &saml.Assertion{
		Issuer: p.EntityID, NameID: "jo@example.com", NameIDFormat: saml.FormatEmail, SessionIndex: "s1",
		NotOnOrAfter: noon.Add(6 * time.Minute),
		Attributes: map[string][]string{
			"urn:oid:2.5.4.42": {"Jo & <Co>"}, "givenName": {"Jo & <Co>"}, "groups": {"a", "b"},
		},
	}
	for _, sign := range []samltest.Sign{samltest.SignAssertion, samltest.SignResponse, samltest.SignBoth} {
		for _, a := range []samltest.Answer{
			{},
			{NoKeyInfo: true},
			{Method: samltest.RSASHA512, Digest: samltest.SHA512},
			{Encrypt: samltest.AES128CBC},
			{Encrypt: samltest.AES256CBC},
			{Encrypt: samltest.AES128GCM},
			{Encrypt: samltest.AES256GCM, KeyCipher: samltest.OAEPSHA256},
		} {
			a.Sign = sign
			got, err := p.read(a)
			if err != nil {
				t.Errorf("%+v: %v", a, err)
				continue
			}
			want.ID = got.ID
			if d := cmp.Diff(want, got); d != "" || got.ID == "" {
				t.Errorf("%+v: got - want +\n%s", a, d)
			}
		}
	}
}

// Values that are not text: eduPerson's targeted ID is a NameID, of others
// nothing is made.
func TestRead_attributesOfOtherShapes(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.SetUser(samltest.User{NameID: "jo", Format: saml.FormatPersistent, Attributes: []samltest.Attribute{
		{Name: "a", FriendlyName: "b", Values: []string{"1"}},
		{Name: "b", FriendlyName: "c", Values: []string{"2"}},
		{Name: "", FriendlyName: "d", Values: []string{"3"}},
		{Name: "id", Values: []string{"x"}},
		{Name: "structure", Values: []string{"x"}},
	}})
	a, err := p.read(samltest.Answer{Edit: func(r *etree.Element) {
		values := r.FindElements(".//AttributeValue")
		values[3].Child = nil
		values[3].CreateElement("saml:NameID").SetText("opaque")
		values[4].CreateElement("saml:b").SetText("y")
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{"a": {"1"}, "b": {"2"}, "c": {"2"}, "id": {"opaque"}, "structure": {""}}
	if d := cmp.Diff(want, a.Attributes); d != "" {
		t.Errorf("want - got +\n%s", d)
	}
}

func TestRead_ecdsa(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := samltest.Certificate("ec", &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		answer := samltest.Answer{Key: key, Cert: cert, Method: samltest.ECDSASHA256}
		_, err = p.read(answer)
		refused(t, err, saml.Signature)

		// Both keys are known while one takes over from the other.
		p.idp.Metadata = p.MetadataWith(func(r *etree.Element) {
			k := r.FindElement("./IDPSSODescriptor/KeyDescriptor")
			c := k.Copy()
			c.FindElement(".//X509Certificate").SetText(base64.StdEncoding.EncodeToString(cert.Raw))
			k.Parent().InsertChildAt(k.Index()+1, c)
		})
		for _, a := range []samltest.Answer{answer, {}} {
			if _, err := p.read(a); err != nil {
				t.Errorf("%s: %v", curve.Params().Name, err)
			}
		}
		answer.Flaw = samltest.Changed
		_, err = p.read(answer)
		refused(t, err, saml.Signature)
	}
}

func TestRead_windowsHaveAMinuteOfLeeway(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	response := p.Respond(samltest.Answer{InResponseTo: "_r"})
	for _, c := range []struct {
		now  time.Duration
		want saml.Kind // "": accepted
	}{
		{-61 * time.Second, saml.NotYet},
		{-60 * time.Second, ""},
		{6*time.Minute - time.Second, ""},
		{6 * time.Minute, saml.Expired},
		{24 * time.Hour, saml.Expired},
	} {
		now := noon.Add(c.now)
		sp, err := saml.New(saml.Options{EntityID: entityID, ACS: acs, AllowHTTP: true, Now: at(now)})
		if err != nil {
			t.Fatal(err)
		}
		a, err := sp.Read(p.idp, response, "_r")
		if c.want != "" {
			refused(t, err, c.want)
			continue
		}
		if err != nil {
			t.Errorf("at %s: %v", c.now, err)
		} else if !a.NotOnOrAfter.After(now) {
			t.Errorf("at %s the assertion is accepted, and may be forgotten since %s", c.now, a.NotOnOrAfter)
		}
	}
}

func TestRead_remembersNoLongerThanItMust(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	a, err := p.read(samltest.Answer{Edit: func(r *etree.Element) {
		for _, path := range []string{"./Assertion/Conditions", "./Assertion/Subject/SubjectConfirmation/SubjectConfirmationData"} {
			r.FindElement(path).CreateAttr("NotOnOrAfter", "2040-01-01T00:00:00Z")
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if want := noon.Add(11 * time.Minute); !a.NotOnOrAfter.Equal(want) {
		t.Errorf("to be remembered until %s, want %s", a.NotOnOrAfter, want)
	}
}

func TestRead_idpInitiatedOnlyWhereAllowed(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	unasked, asked := p.Respond(samltest.Answer{}), p.Respond(samltest.Answer{InResponseTo: "_r"})
	_, err := p.sp.Read(p.idp, unasked, "")
	refused(t, err, saml.InResponseTo)
	p.idp.AllowIdPInitiated = true
	if _, err := p.sp.Read(p.idp, unasked, ""); err != nil {
		t.Error(err)
	}
	_, err = p.sp.Read(p.idp, asked, "") // an answer that was stolen on its way
	refused(t, err, saml.InResponseTo)
	_, err = p.sp.Read(p.idp, unasked, "_r")
	refused(t, err, saml.InResponseTo)
}

func TestRead_anotherIdPsAnswer(t *testing.T) {
	t.Parallel()
	p, q := newPair(t), newPair(t)
	_, err := p.sp.Read(p.idp, q.Respond(samltest.Answer{InResponseTo: "_r"}), "_r")
	refused(t, err, saml.WrongIssuer)
	q.EntityID = p.EntityID // it says it is the other one
	_, err = p.sp.Read(p.idp, q.Respond(samltest.Answer{InResponseTo: "_r"}), "_r")
	refused(t, err, saml.Signature)
}

func TestRead_bothKeysDecrypt(t *testing.T) {
	t.Parallel()
	old, next := ourKey(), newKey(t)
	before := newPair(t, encrypted, func(o *saml.Options) { o.Key, o.NextKey = old, next })
	after := newPair(t, encrypted, func(o *saml.Options) { o.Key, o.NextKey = next, old })
	alone := newPair(t, encrypted, func(o *saml.Options) { o.Key = next })
	response := before.Respond(samltest.Answer{InResponseTo: "_r", Encrypt: samltest.AES256GCM})
	for _, p := range []*pair{before, after} {
		if _, err := p.sp.Read(before.idp, response, "_r"); err != nil {
			t.Error(err)
		}
	}
	_, err := alone.sp.Read(before.idp, response, "_r")
	refused(t, err, saml.Encrypted)
}

func TestIssuer_findsWhoseKeysToUse(t *testing.T) {
	t.Parallel()
	p := newPair(t, encrypted)
	for _, a := range []samltest.Answer{
		{},
		{Flaw: samltest.Unsigned},
		{Encrypt: samltest.AES256GCM},
		{After: func(r *etree.Element) { r.RemoveChild(r.SelectElement("Issuer")) }},
	} {
		if got, err := saml.Issuer(p.Respond(a)); err != nil || got != p.EntityID {
			t.Errorf("%+v: got %q, %v", a, got, err)
		}
	}
	for _, flaw := range []samltest.Flaw{samltest.DocType, samltest.Deep, samltest.Long, samltest.NotAResponse, samltest.XSW3} {
		_, err := saml.Issuer(p.Respond(samltest.Answer{Flaw: flaw}))
		refused(t, err, saml.Malformed)
	}
	_, err := saml.Issuer(p.Respond(samltest.Answer{Encrypt: samltest.AES256GCM, After: func(r *etree.Element) { r.RemoveChild(r.SelectElement("Issuer")) }}))
	refused(t, err, saml.Malformed)
}

// By HTTP, from our address to theirs and back.
func TestSignIn_roundTrip(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.idp.NameIDFormat = saml.FormatPersistent
	for _, relay := range []string{"", "a b&SigAlg=x/ü"} {
		to, err := p.sp.SignIn(p.idp, "_abc", relay)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(to, p.SSO+"?SAMLRequest=") {
			t.Fatalf("sent to %s", to)
		}
		action, form := visit(t, to)
		if action != acs || form.Get("RelayState") != relay {
			t.Errorf("posts %q to %s", form.Get("RelayState"), action)
		}
		if _, err := p.sp.Read(p.idp, form.Get("SAMLResponse"), "_abc"); err != nil {
			t.Error(err)
		}
		if _, err := p.sp.Read(p.idp, form.Get("SAMLResponse"), "_abd"); err == nil {
			t.Error("an answer to another request is accepted")
		}
	}
	want := samltest.Request{ID: "_abc", Issuer: entityID, ACS: acs, NameIDFormat: saml.FormatPersistent, Signed: true}
	if got := p.Requests(); len(got) != 2 || got[0] != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestSignIn_unsignedWithoutAKey(t *testing.T) {
	t.Parallel()
	p := newPair(t, func(o *saml.Options) { o.Key = nil })
	to, err := p.sp.SignIn(p.idp, "_abc", "")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(to, "Sig") {
		t.Errorf("signed without a key: %s", to)
	}
	visit(t, to)
	if got := p.Requests(); len(got) != 1 || got[0].Signed {
		t.Errorf("got %+v", got)
	}
}

func TestSignIn_keepsTheAddressesOwnQuery(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.idp.Metadata = p.MetadataWith(func(r *etree.Element) {
		for _, s := range r.FindElements("./IDPSSODescriptor/SingleSignOnService") {
			s.CreateAttr("Location", "https://idp.example.com/sso?tenant=1")
		}
	})
	to, err := p.sp.SignIn(p.idp, "_abc", "")
	if err != nil || !strings.HasPrefix(to, "https://idp.example.com/sso?tenant=1&SAMLRequest=") {
		t.Errorf("got %s, %v", to, err)
	}
}

func TestSignIn_refusesBadIDs(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	for _, id := range []string{"", "1a", `_"><x`, "a b", strings.Repeat("a", 300)} {
		if to, err := p.sp.SignIn(p.idp, id, ""); err == nil {
			t.Errorf("%q: %s", id, to)
		}
	}
}

func TestSignIn_needsTheRedirectBinding(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.idp.Metadata = p.MetadataWith(func(r *etree.Element) {
		s := r.FindElement("./IDPSSODescriptor/SingleSignOnService")
		s.Parent().RemoveChild(s)
	})
	_, err := p.sp.SignIn(p.idp, "_abc", "")
	refused(t, err, saml.Metadata)
}

// visit does as a browser would, up to posting the form.
func visit(t *testing.T, to string) (action string, form interface{ Get(string) string }) {
	t.Helper()
	resp, err := http.Get(to)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", resp.Status, body)
	}
	action, fields, err := samltest.Form(string(body))
	if err != nil {
		t.Fatal(err)
	}
	return action, fields
}

func TestNew_refusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecDER, err := x509.MarshalPKCS8PrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	foreign := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: samltest.New(t).Cert.Raw})
	for name, change := range map[string]func(*saml.Options){
		"no clock":           func(o *saml.Options) { o.Now = nil },
		"no entity ID":       func(o *saml.Options) { o.EntityID = "" },
		"a relative address": func(o *saml.Options) { o.ACS = "/acs" },
		"no key":             func(o *saml.Options) { o.Key = []byte("c2VjcmV0LXNlY3JldA==") },
		"not base64":         func(o *saml.Options) { o.Key = []byte("secret-secret!") },
		"a weak key": func(o *saml.Options) {
			o.Key = []byte(base64.StdEncoding.EncodeToString(x509.MarshalPKCS1PrivateKey(weak)))
		},
		"an EC key":                   func(o *saml.Options) { o.Key = []byte(base64.StdEncoding.EncodeToString(ecDER)) },
		"a bad next key":              func(o *saml.Options) { o.NextKey = []byte("secret-secret!") },
		"a next key alone":            func(o *saml.Options) { o.Key, o.NextKey = nil, o.Key },
		"encryption without a key":    func(o *saml.Options) { o.Key, o.AllowEncrypted = nil, true },
		"another key's certificate":   func(o *saml.Options) { o.Cert = foreign },
		"a certificate that is none":  func(o *saml.Options) { o.Cert = []byte("x") },
		"a certificate without a key": func(o *saml.Options) { o.Key, o.Cert = nil, foreign },
	} {
		o := saml.Options{EntityID: entityID, ACS: acs, Key: ourKey(), Now: at(noon)}
		change(&o)
		if _, err := saml.New(o); err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error tells the key: %v", name, err)
		}
	}
}

func TestNew_keyForms(t *testing.T) {
	t.Parallel()
	der, err := base64.StdEncoding.DecodeString(string(ourKey()))
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.ParsePKCS1PrivateKey(der)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	var want []byte
	for name, form := range map[string][]byte{
		"base64 PKCS#1": ourKey(),
		"base64 PKCS#8": []byte(base64.StdEncoding.EncodeToString(pkcs8) + "\n"),
		"PEM PKCS#1":    pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: der}),
		"PEM PKCS#8":    pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
	} {
		sp, err := saml.New(saml.Options{EntityID: entityID, ACS: acs, Key: form, Now: at(noon)})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := sp.Metadata()
		if err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = got
		}
		if d := cmp.Diff(string(want), string(got)); d != "" {
			t.Errorf("%s: another certificate of the same key\n%s", name, d)
		}
	}
}
