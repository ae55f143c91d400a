package samltest

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/beevik/etree"
)

const sp = `<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" entityID="https://sp.example"><md:SPSSODescriptor>` +
	`<md:AssertionConsumerService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST" Location="https://sp.example/acs"/></md:SPSSODescriptor></md:EntityDescriptor>`

func newIdP(t *testing.T) *IdP {
	t.Helper()
	p := New(t)
	if _, err := p.Trust([]byte(sp)); err != nil {
		t.Fatal(err)
	}
	return p
}

func get(t *testing.T, to string) (int, string) {
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
	return resp.StatusCode, string(body)
}

func query(p *IdP, change func(*etree.Element)) string {
	el := element(`<samlp:AuthnRequest xmlns:samlp="` + nsProtocol + `" xmlns:saml="` + nsAssertion + `" ID="_r" Version="2.0" ` +
		`AssertionConsumerServiceURL="https://sp.example/acs"><saml:Issuer>https://sp.example</saml:Issuer></samlp:AuthnRequest>`)
	el.CreateAttr("Destination", p.SSO)
	if change != nil {
		change(el)
	}
	doc := etree.NewDocument()
	doc.SetRoot(el)
	raw, err := doc.WriteToBytes()
	if err != nil {
		panic(err)
	}
	return "SAMLRequest=" + url.QueryEscape(base64.StdEncoding.EncodeToString(deflate(raw))) + "&RelayState=" + url.QueryEscape(`"<x>`)
}

func TestSSO_answersByForm(t *testing.T) {
	t.Parallel()
	p := newIdP(t)
	p.SetUser(User{NameID: "kim@example.com"})
	p.Tamper(func(a *Answer) { a.Flaw = WrongAudience })
	for _, path := range []string{p.SSO + "?" + query(p, nil), p.URL() + "/initiate?sp=https://sp.example&RelayState=%22%3Cx%3E"} {
		status, body := get(t, path)
		if status != http.StatusOK {
			t.Fatalf("%d %s", status, body)
		}
		action, form, err := Form(body)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := base64.StdEncoding.DecodeString(form.Get("SAMLResponse"))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"kim@example.com", "https://other.example/metadata"} {
			if !strings.Contains(string(raw), want) {
				t.Errorf("no %s in %s", want, raw)
			}
		}
		if action != "https://sp.example/acs" || form.Get("RelayState") != `"<x>` {
			t.Errorf("posts %q to %s", form.Get("RelayState"), action)
		}
		if strings.Contains(string(raw), `InResponseTo="_r"`) != strings.HasPrefix(path, p.SSO) {
			t.Errorf("%s: %s", path, raw)
		}
	}
	if got := p.Requests(); len(got) != 1 || got[0].ID != "_r" {
		t.Errorf("got %+v", got)
	}
}

func TestSSO_refusesWrongRequests(t *testing.T) {
	t.Parallel()
	p := newIdP(t)
	for name, q := range map[string]string{
		"none":        "",
		"garbage":     "SAMLRequest=AAAA",
		"a stranger":  query(p, func(r *etree.Element) { r.SelectElement("Issuer").SetText("https://other.example") }),
		"elsewhere":   query(p, func(r *etree.Element) { r.CreateAttr("AssertionConsumerServiceURL", "https://other.example/acs") }),
		"for another": query(p, func(r *etree.Element) { r.CreateAttr("Destination", "https://other.example/sso") }),
		"nameless":    query(p, func(r *etree.Element) { r.RemoveAttr("ID") }),
	} {
		if status, body := get(t, p.SSO+"?"+q); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	// A service provider that has named a key must use it.
	_, cert := stranger()
	p.sps[0].Signing = append(p.sps[0].Signing, cert)
	for _, end := range []string{"", "&SigAlg=" + url.QueryEscape(RSASHA256) + "&Signature=AAAA", "&SigAlg=" + url.QueryEscape(RSASHA1) + "&Signature=AAAA"} {
		if status, body := get(t, p.SSO+"?"+query(p, nil)+end); status != http.StatusBadRequest || !strings.Contains(body, "signe") && !strings.Contains(body, "signature") {
			t.Errorf("%q: %d %s", end, status, body)
		}
	}
}

// Every flaw makes a difference: none is an honest answer by mistake.
func TestRespond_everyFlawCanBeMade(t *testing.T) {
	t.Parallel()
	p := newIdP(t)
	p.sps[0].Encryption = p.Cert
	for _, flaw := range Flaws() {
		if got := p.Respond(Answer{Flaw: flaw, InResponseTo: "_r"}); got == "" {
			t.Errorf("%s: nothing", flaw)
		}
	}
}
