package saml_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/beevik/etree"

	"gatehouse/internal/saml"
	"gatehouse/internal/samltest"
)

// threats says, for every flaw, which number of the list of known flaws it
// stands for and what it is refused as.
var threats = map[samltest.Flaw]struct {
	number string
	want   saml.Kind
}{
	samltest.XSW1:            {"P01", saml.Malformed},
	samltest.XSW2:            {"P01", saml.Malformed},
	samltest.XSW3:            {"P01", saml.Malformed},
	samltest.XSW4:            {"P01", saml.Malformed},
	samltest.XSW5:            {"P01", saml.Malformed},
	samltest.XSW6:            {"P01", saml.Malformed},
	samltest.XSW7:            {"P01", saml.Malformed},
	samltest.XSW8:            {"P01", saml.Malformed},
	samltest.XSW9:            {"P01", saml.Malformed},
	samltest.TwoAssertions:   {"P01", saml.Malformed},
	samltest.TwoSignatures:   {"P01", saml.Signature},
	samltest.TwoReferences:   {"P01", saml.Signature},
	samltest.EmptyReference:  {"P01", saml.Signature},
	samltest.InclusiveC14N:   {"P01", saml.Signature},
	samltest.NoC14N:          {"P01", saml.Signature},
	samltest.Changed:         {"P01", saml.Signature},
	samltest.CommentInDigest: {"P01", saml.Signature},
	samltest.DuplicateID:     {"P01", saml.Malformed},
	samltest.DuplicateAttr:   {"P01", saml.Malformed},
	samltest.PrefixedID:      {"P01", saml.Malformed},
	samltest.RoundTrip:       {"P01", saml.Malformed},
	samltest.TwoDocuments:    {"P01", saml.Malformed},
	samltest.NotUTF8:         {"P01", saml.Malformed},
	samltest.Instruction:     {"P01", saml.Malformed},

	samltest.TwoNameIDs:   {"P02", saml.Malformed},
	samltest.PaddedNameID: {"P02", saml.Malformed},

	samltest.WrongIssuer:       {"P03", saml.WrongIssuer},
	samltest.TwoIssuers:        {"P03", saml.Malformed},
	samltest.NoIssuer:          {"P03", saml.Malformed},
	samltest.WrongAudience:     {"P03", saml.Audience},
	samltest.NoAudience:        {"P03", saml.Audience},
	samltest.SecondAudience:    {"P03", saml.Audience},
	samltest.WrongRecipient:    {"P03", saml.Recipient},
	samltest.NoRecipient:       {"P03", saml.Recipient},
	samltest.WrongDestination:  {"P03", saml.Destination},
	samltest.Expired:           {"P03", saml.Expired},
	samltest.ConfirmedTooLate:  {"P03", saml.Expired},
	samltest.ConfirmedForever:  {"P03", saml.Malformed},
	samltest.NotYet:            {"P03", saml.NotYet},
	samltest.IssuedLongAgo:     {"P03", saml.Expired},
	samltest.IssuedInFuture:    {"P03", saml.NotYet},
	samltest.SessionOver:       {"P03", saml.Expired},
	samltest.WrongInResponseTo: {"P03", saml.InResponseTo},
	samltest.NoInResponseTo:    {"P03", saml.InResponseTo},
	samltest.NoNameID:          {"P03", saml.NoNameID},
	samltest.Transient:         {"P03", saml.NoNameID},
	samltest.NoConditions:      {"P03", saml.Malformed},
	samltest.UnknownCondition:  {"P03", saml.Malformed},
	samltest.NoConfirmation:    {"P03", saml.Malformed},
	samltest.HolderOfKey:       {"P03", saml.Malformed},
	samltest.NoAuthn:           {"P03", saml.Malformed},
	samltest.Refused:           {"P03", saml.Status},
	samltest.OldVersion:        {"P03", saml.Malformed},
	samltest.NotAResponse:      {"P03", saml.Malformed},

	samltest.Long: {"P05", saml.Malformed},

	samltest.DocType:        {"P06", saml.Malformed},
	samltest.Entity:         {"P06", saml.Malformed},
	samltest.Laughs:         {"P06", saml.Malformed},
	samltest.Deep:           {"P06", saml.Malformed},
	samltest.Wide:           {"P06", saml.Malformed},
	samltest.ManyElements:   {"P06", saml.Malformed},
	samltest.ManyComments:   {"P06", saml.Malformed},
	samltest.ManyNamespaces: {"P06", saml.Malformed},

	samltest.Unsigned:          {"P09", saml.Signature},
	samltest.OtherKey:          {"P09", saml.Signature},
	samltest.OtherKeyInName:    {"P09", saml.Signature},
	samltest.EncryptedUnsigned: {"P09", saml.Encrypted},

	samltest.SHA1Signature: {"P11", saml.Signature},
	samltest.SHA1Digest:    {"P11", saml.Signature},
	samltest.HMACSignature: {"P11", saml.Signature},
}

// These change the assertion's own signature, which has to be there.
var ofAssertion = []samltest.Flaw{
	samltest.TwoSignatures, samltest.CommentInDigest, samltest.XSW5, samltest.XSW6, samltest.XSW8,
}

// refuses has every flaw of one number refused, however the answer is signed.
func refuses(t *testing.T, number string) {
	t.Helper()
	p := newPair(t, encrypted)
	n := 0
	for flaw, threat := range threats {
		if threat.number != number {
			continue
		}
		n++
		for _, sign := range []samltest.Sign{samltest.SignAssertion, samltest.SignResponse, samltest.SignBoth} {
			if sign == samltest.SignResponse && slices.Contains(ofAssertion, flaw) {
				continue
			}
			if sign == samltest.SignBoth && flaw == samltest.CommentInDigest {
				continue // the response's canonical form, which is what is read, has no comment
			}
			t.Run(string(flaw), func(t *testing.T) {
				a, err := p.read(samltest.Answer{Flaw: flaw, Sign: sign})
				if a != nil {
					t.Errorf("signed %d: signed in as %s", sign, a.NameID)
				}
				refused(t, err, threat.want)
			})
		}
	}
	if n == 0 {
		t.Fatalf("no flaw for %s", number)
	}
}

func TestFlaws_everyOneHasItsRefusal(t *testing.T) {
	t.Parallel()
	for _, flaw := range samltest.Flaws() {
		if _, ok := threats[flaw]; !ok {
			t.Errorf("%q is expected to be refused by no test", flaw)
		}
	}
}

func TestThreat_P01_wrappedSignatures(t *testing.T) {
	t.Parallel()
	refuses(t, "P01")
}

// Even where the layout of a document lets something pass, what is read comes
// out of the bytes that were verified: it cannot be changed afterwards.
func TestThreat_P01_unsignedSurroundings(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	a, err := p.read(samltest.Answer{After: func(r *etree.Element) {
		// All of this is outside of the signed assertion.
		r.CreateAttr("ID", "_changed")
		r.CreateElement("saml:NameID").SetText(samltest.Victim)
		r.CreateElement("saml:Subject").CreateElement("saml:NameID").SetText(samltest.Victim)
		r.CreateElement("saml:AttributeStatement")
	}})
	if err == nil && a.NameID != "jo@example.com" {
		t.Errorf("signed in as %q", a.NameID)
	}
	for name, edit := range map[string]func(*etree.Element){
		"the response's issuer":  func(r *etree.Element) { r.SelectElement("Issuer").SetText("https://other.example") },
		"the response's request": func(r *etree.Element) { r.CreateAttr("InResponseTo", "_other") },
		"the response's address": func(r *etree.Element) { r.CreateAttr("Destination", "") },
		"a signed response's ID": func(r *etree.Element) { r.CreateAttr("ID", "_changed") },
	} {
		sign := samltest.SignAssertion
		if strings.HasPrefix(name, "a signed") {
			sign = samltest.SignBoth
		}
		if _, err := p.read(samltest.Answer{Sign: sign, After: edit}); err == nil {
			t.Errorf("%s is not looked at", name)
		}
	}
}

func TestThreat_P02_commentsInTheName(t *testing.T) {
	t.Parallel()
	refuses(t, "P02")

	p := newPair(t, encrypted)
	full := samltest.Victim + ".attacker.example"
	p.SetUser(samltest.User{NameID: full, Attributes: []samltest.Attribute{{Name: "email", Values: []string{full}}}})
	split := func(s string) string {
		return strings.ReplaceAll(s, full, samltest.Victim+"<!---->.attacker.example")
	}
	for _, sign := range []samltest.Sign{samltest.SignAssertion, samltest.SignResponse, samltest.SignBoth} {
		// The comment is put in after signing: canonical form has none, so the
		// signature still holds.
		a, err := p.read(samltest.Answer{Sign: sign, Text: split})
		if err != nil {
			t.Fatal(err)
		}
		if a.NameID != full || saml.Email(a, saml.Mapping{}) != full || a.UserID() != full {
			t.Errorf("signed in as %q with %q", a.NameID, saml.Email(a, saml.Mapping{}))
		}
	}
}

func TestThreat_P03_missingChecks(t *testing.T) {
	t.Parallel()
	refuses(t, "P03")
}

// The response says it answers our request; the assertion, which is signed,
// says it does not.
func TestThreat_P03_inResponseToOfTheAssertion(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	const path = "./Assertion/Subject/SubjectConfirmation/SubjectConfirmationData"
	for name, edit := range map[string]func(*etree.Element){
		"another": func(d *etree.Element) { d.CreateAttr("InResponseTo", "_other") },
		"none":    func(d *etree.Element) { d.RemoveAttr("InResponseTo") },
	} {
		_, err := p.read(samltest.Answer{Edit: func(r *etree.Element) { edit(r.FindElement(path)) }})
		t.Run(name, func(t *testing.T) { refused(t, err, saml.InResponseTo) })
	}
	unasked := p.idp
	unasked.AllowIdPInitiated = true
	_, err := p.sp.Read(unasked, p.Respond(samltest.Answer{Edit: func(r *etree.Element) { r.FindElement(path).CreateAttr("InResponseTo", "_r") }}), "")
	refused(t, err, saml.InResponseTo)
}

// An honest provider may confirm in several ways; ours is enough, and no other
// one is.
func TestThreat_P03_severalConfirmations(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	double := func(recipient string) func(*etree.Element) {
		return func(r *etree.Element) {
			c := r.FindElement("./Assertion/Subject/SubjectConfirmation")
			other := c.Copy()
			other.SelectElement("SubjectConfirmationData").CreateAttr("Recipient", recipient)
			c.Parent().InsertChildAt(c.Index(), other)
		}
	}
	if _, err := p.read(samltest.Answer{Edit: double("https://other.example/acs")}); err != nil {
		t.Error(err)
	}
	_, err := p.read(samltest.Answer{Flaw: samltest.WrongRecipient, Edit: double("https://third.example/acs")})
	refused(t, err, saml.Recipient)
}

// Whether an assertion was used before is for the caller to remember. For that
// the same one has the same ID each time, others have others, and the end is
// past the last moment at which it would be accepted.
func TestThreat_P04_replaysCanBeTold(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	response := p.Respond(samltest.Answer{InResponseTo: "_r"})
	first, err := p.sp.Read(p.idp, response, "_r")
	if err != nil {
		t.Fatal(err)
	}
	again, err := p.sp.Read(p.idp, response, "_r")
	if err != nil {
		t.Fatal(err)
	}
	other, err := p.read(samltest.Answer{})
	if err != nil {
		t.Fatal(err)
	}
	if first.ID == "" || first.ID != again.ID || first.ID == other.ID {
		t.Errorf("IDs %q, %q and %q", first.ID, again.ID, other.ID)
	}
	late, err := saml.New(saml.Options{EntityID: entityID, ACS: acs, AllowHTTP: true, Now: at(first.NotOnOrAfter)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = late.Read(p.idp, response, "_r")
	refused(t, err, saml.Expired)
}

func TestThreat_P05_bombs(t *testing.T) {
	t.Parallel()
	refuses(t, "P05")
	p := newPair(t)
	for name, response := range map[string]string{
		"compressed": samltest.Compress(p.Respond(samltest.Answer{InResponseTo: "_r"})),
		"a bomb":     samltest.Bomb(4 << 20),
		"empty":      "",
		"no base64":  "<Response/>",
	} {
		_, err := p.sp.Read(p.idp, response, "_r")
		t.Run(name, func(t *testing.T) { refused(t, err, saml.Malformed) })
		_, err = saml.Issuer(response)
		t.Run(name, func(t *testing.T) { refused(t, err, saml.Malformed) })
	}
}

func TestThreat_P06_documentTypesAndDepth(t *testing.T) {
	t.Parallel()
	refuses(t, "P06")

	p := newPair(t, encrypted)
	sp, err := p.Trust(must(p.sp.Metadata()))
	if err != nil {
		t.Fatal(err)
	}
	// What is inside of the encryption is under the same limits.
	for _, plain := range []string{
		`<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>`,
		strings.Repeat("<a>", 5000) + strings.Repeat("</a>", 5000),
		"", "no XML", "\xff",
	} {
		_, err := p.read(samltest.Answer{Sign: samltest.SignResponse, Edit: func(r *etree.Element) {
			r.RemoveChild(r.SelectElement("Assertion"))
			r.AddChild(samltest.EncryptText(plain, sp.Encryption, samltest.AES256GCM))
		}})
		refused(t, err, saml.Encrypted)
	}
	for name, change := range map[string]func([]byte) []byte{
		"a document type": func(b []byte) []byte {
			return append([]byte(`<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>`), b...)
		},
		"an instruction": func(b []byte) []byte { return append([]byte(`<?xml-stylesheet href="x"?>`), b...) },
		"length":         func(b []byte) []byte { return append(b, strings.Repeat(" ", 1<<20)...) },
		"depth": func(b []byte) []byte {
			return []byte(strings.Repeat("<a>", 5000) + string(b) + strings.Repeat("</a>", 5000))
		},
	} {
		_, err := saml.ReadMetadata(change(p.Metadata()), saml.AllowHTTP)
		t.Run(name, func(t *testing.T) { refused(t, err, saml.Metadata) })
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
