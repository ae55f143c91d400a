package saml

import (
	"crypto/x509"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"

	"gatehouse/internal/samltest"
)

var day = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newPair(t *testing.T) (*samltest.IdP, *ServiceProvider) {
	t.Helper()
	p := samltest.New(t)
	sp, err := New(Options{EntityID: "https://auth.example.com", ACS: "https://auth.example.com/acs", Now: func() time.Time { return day }})
	if err != nil {
		t.Fatal(err)
	}
	meta, err := sp.Metadata()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Trust(meta); err != nil {
		t.Fatal(err)
	}
	return p, sp
}

// The element that is judged is not the one that came: what canonical form
// leaves out, comments and the signature itself, is not in it.
func TestAssertion_isReadFromCanonicalBytes(t *testing.T) {
	t.Parallel()
	p, sp := newPair(t)
	for _, sign := range []samltest.Sign{samltest.SignAssertion, samltest.SignResponse, samltest.SignBoth} {
		root, err := decode(p.Respond(samltest.Answer{Sign: sign, After: func(r *etree.Element) {
			r.FindElement("./Assertion/Subject/NameID").AddChild(etree.NewComment("x"))
		}}))
		if err != nil {
			t.Fatal(err)
		}
		d := &Described{Certificates: []*x509.Certificate{p.Cert}}
		if sign != samltest.SignAssertion {
			if root, err = verify(root, d.Certificates, day); err != nil {
				t.Fatal(err)
			}
		}
		el, err := sp.assertion(root, d, sign != samltest.SignAssertion)
		if err != nil {
			t.Fatal(err)
		}
		if el.SelectElement("Signature") != nil || len(el.FindElement("./Subject/NameID").Child) != 1 {
			t.Errorf("signed %d: it is the element that came", sign)
		}
	}
}

// Even without the rule of one assertion in one place: whatever element of a
// wrapped answer is verified, what comes back names whom the signature names.
func TestVerify_returnsWhatWasSigned(t *testing.T) {
	t.Parallel()
	p, _ := newPair(t)
	verified := 0
	for _, flaw := range samltest.Flaws() {
		if !strings.HasPrefix(string(flaw), "wrapped") {
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(p.Respond(samltest.Answer{Flaw: flaw}))
		if err != nil {
			t.Fatal(err)
		}
		root, err := parse(raw)
		if err != nil {
			t.Fatalf("%s: %v", flaw, err)
		}
		for _, el := range append([]*etree.Element{root}, root.FindElements("//*")...) {
			signed, err := verify(el, []*x509.Certificate{p.Cert}, day)
			if err != nil {
				continue
			}
			verified++
			for _, name := range append(signed.FindElements(".//NameID"), signed.FindElements("./NameID")...) {
				if got, err := text(name); err != nil || got != "jo@example.com" {
					t.Errorf("%s: %s names %q, %v", flaw, el.Tag, got, err)
				}
			}
		}
	}
	if verified < 4 {
		t.Errorf("only %d signatures held: the answers are not what they should be", verified)
	}
}

func TestText_joinsAroundComments(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"<a/>":                         "",
		"<a>x</a>":                     "x",
		"<a>x<!-- y -->z</a>":          "xz",
		"<a><!----><!-- -->x</a>":      "x",
		"<a>x<![CDATA[<y>]]>z</a>":     "x<y>z",
		"<a>&amp;&#x41;<!-- b --></a>": "&A",
	} {
		doc := etree.NewDocument()
		if err := doc.ReadFromString(in); err != nil {
			t.Fatal(err)
		}
		if got, err := text(doc.Root()); err != nil || got != want {
			t.Errorf("%s: got %q, %v", in, got, err)
		}
	}
	doc := etree.NewDocument()
	if err := doc.ReadFromString("<a>x<b>y</b></a>"); err != nil {
		t.Fatal(err)
	}
	if got, err := text(doc.Root()); err == nil {
		t.Errorf("text with an element in it: %q", got)
	}
}
