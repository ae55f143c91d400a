package saml_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/xml"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	other "github.com/crewjam/saml"
	dsig "github.com/russellhaering/goxmldsig"

	"gatehouse/internal/saml"
	"gatehouse/internal/samltest"
)

// sessions is who is signed in at the other implementation's provider.
type sessions struct{}

func (sessions) GetSession(http.ResponseWriter, *http.Request, *other.IdpAuthnRequest) *other.Session {
	return &other.Session{
		ID: "s", Index: "i", NameID: "jo@example.com", NameIDFormat: saml.FormatEmail,
		CreateTime: other.TimeNow(), ExpireTime: other.TimeNow().Add(1e12),
		UserName: "jo", UserEmail: "jo@example.com", UserCommonName: "Jo", Groups: []string{"a", "b"},
	}
}

type known struct{ *other.EntityDescriptor }

func (k known) GetServiceProvider(*http.Request, string) (*other.EntityDescriptor, error) {
	return k.EntityDescriptor, nil
}

// An identity provider that others have written reads our metadata and our
// requests, and we read its metadata and its answers, also encrypted.
func TestInterop_anIdPOfOthers(t *testing.T) {
	t.Parallel()
	key := must(rsa.GenerateKey(rand.Reader, 2048))
	cert := must(samltest.Certificate("idp", &key.PublicKey, key))
	for _, c := range []struct {
		name     string
		encrypt  bool
		initiate bool
		method   string
		want     saml.Kind // "": accepted
	}{
		{"plain", false, false, dsig.RSASHA256SignatureMethod, ""},
		{"encrypted", true, false, dsig.RSASHA256SignatureMethod, ""},
		{"initiated there", false, true, dsig.RSASHA512SignatureMethod, ""},
		{"SHA-1", false, false, dsig.RSASHA1SignatureMethod, saml.Signature},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			sp, err := saml.New(saml.Options{EntityID: entityID, ACS: acs, Key: ourKey(), AllowEncrypted: c.encrypt, Now: other.TimeNow})
			if err != nil {
				t.Fatal(err)
			}
			var us other.EntityDescriptor
			if err := xml.Unmarshal(must(sp.Metadata()), &us); err != nil {
				t.Fatal(err)
			}
			p := &other.IdentityProvider{
				Key: key, Certificate: cert, SignatureMethod: c.method,
				MetadataURL:             *must(url.Parse("https://idp.example.com/metadata")),
				SSOURL:                  *must(url.Parse("https://idp.example.com/sso")),
				ServiceProviderProvider: known{&us}, SessionProvider: sessions{},
			}
			idp := saml.IdP{EntityID: "https://idp.example.com/metadata", Metadata: must(xml.Marshal(p.Metadata())), AllowIdPInitiated: c.initiate}
			w, id := httptest.NewRecorder(), "_r"
			if c.initiate {
				id = ""
				p.ServeIDPInitiated(w, httptest.NewRequest(http.MethodGet, "/", nil), entityID, "relay")
			} else {
				to := must(sp.SignIn(idp, id, "relay"))
				p.ServeSSO(w, httptest.NewRequest(http.MethodGet, to, nil))
			}
			body := strings.ReplaceAll(w.Body.String(), " />", ">")
			body = strings.ReplaceAll(body, `<form method="post" action="`+acs+`" id="SAMLResponseForm">`, `<form method="post" action="`+acs+`">`)
			action, form, err := samltest.Form(body)
			if err != nil {
				t.Fatal(err)
			}
			if action != acs || form.Get("RelayState") != "relay" {
				t.Errorf("posts %q to %s", form.Get("RelayState"), action)
			}
			if got, err := saml.Issuer(form.Get("SAMLResponse")); err != nil || got != idp.EntityID {
				t.Errorf("issuer %q, %v", got, err)
			}
			if raw := string(must(base64.StdEncoding.DecodeString(form.Get("SAMLResponse")))); strings.Contains(raw, "EncryptedAssertion") != c.encrypt {
				t.Errorf("encrypted or not: %s", raw)
			}
			a, err := sp.Read(idp, form.Get("SAMLResponse"), id)
			if c.want != "" {
				refused(t, err, c.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if a.NameID != "jo@example.com" || saml.Email(a, saml.Mapping{}) != "jo@example.com" || a.SessionIndex != "i" {
				t.Errorf("got %+v", a)
			}
		})
	}
}
