package samltest

import (
	"crypto/rsa"
	"crypto/x509"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/beevik/etree"
)

// Flaw is something wrong with an answer.
type Flaw string

// Victim is whom a forged part of an answer names.
const Victim = "victim@example.com"

// What can be wrong. Those of wrap.go move signed parts about.
const (
	Unsigned          Flaw = "unsigned"
	OtherKey          Flaw = "signed by another key, whose certificate comes along"
	OtherKeyInName    Flaw = "signed by another key in the name of the right one"
	SHA1Signature     Flaw = "signed with RSA and SHA-1"
	SHA1Digest        Flaw = "with a digest of SHA-1"
	HMACSignature     Flaw = "signed with HMAC, the certificate for a secret"
	InclusiveC14N     Flaw = "in inclusive canonical form"
	NoC14N            Flaw = "in no canonical form"
	EmptyReference    Flaw = "with a reference to the whole document"
	TwoReferences     Flaw = "with two references"
	Changed           Flaw = "changed after signing"
	CommentInDigest   Flaw = "with a comment in the digest"
	TwoSignatures     Flaw = "with a second signature"
	WrongIssuer       Flaw = "from another issuer"
	TwoIssuers        Flaw = "with two issuers"
	NoIssuer          Flaw = "without an issuer"
	WrongAudience     Flaw = "for another audience"
	NoAudience        Flaw = "for no audience"
	SecondAudience    Flaw = "restricted to our audience and to another"
	WrongRecipient    Flaw = "for another recipient"
	NoRecipient       Flaw = "for no recipient"
	WrongDestination  Flaw = "sent to another destination"
	Expired           Flaw = "with conditions that are over"
	ConfirmedTooLate  Flaw = "with a confirmation that is over"
	ConfirmedForever  Flaw = "with a confirmation that has no end"
	NotYet            Flaw = "with conditions that have not begun"
	IssuedLongAgo     Flaw = "issued an hour ago"
	IssuedInFuture    Flaw = "issued in an hour"
	SessionOver       Flaw = "of a session that is over"
	WrongInResponseTo Flaw = "in response to another request"
	NoInResponseTo    Flaw = "in response to nothing"
	TwoAssertions     Flaw = "with two signed assertions"
	TwoNameIDs        Flaw = "with two name identifiers"
	NoNameID          Flaw = "with nobody's name"
	Transient         Flaw = "with a name that changes"
	PaddedNameID      Flaw = "with space around the name"
	NoConditions      Flaw = "without conditions"
	UnknownCondition  Flaw = "under a condition nobody knows"
	NoConfirmation    Flaw = "without a confirmation"
	HolderOfKey       Flaw = "to be confirmed by a key"
	NoAuthn           Flaw = "of nobody who has signed in"
	Refused           Flaw = "refused by the identity provider"
	OldVersion        Flaw = "of SAML 1.1"
	NotAResponse      Flaw = "not a response"
	EncryptedUnsigned Flaw = "encrypted but not signed"
	DocType           Flaw = "with a document type"
	Entity            Flaw = "with an entity that names a file"
	Laughs            Flaw = "with entities that multiply"
	Instruction       Flaw = "with a processing instruction"
	Deep              Flaw = "nested too deep"
	Wide              Flaw = "with too many attributes"
	ManyElements      Flaw = "with too many elements"
	ManyComments      Flaw = "with too many comments"
	ManyNamespaces    Flaw = "with too many namespaces"
	Long              Flaw = "too long"
	DuplicateID       Flaw = "with one ID for two elements"
	DuplicateAttr     Flaw = "with an attribute twice"
	PrefixedID        Flaw = "with a second ID under a prefix"
	RoundTrip         Flaw = "with names that parsers read differently"
	TwoDocuments      Flaw = "with a second document"
	NotUTF8           Flaw = "not in UTF-8"
)

// effect is how a flaw comes about.
type effect struct {
	answer   func(*Answer)
	user     func(*User)
	signer   func(*signer)
	edit     func(*etree.Element) // before signing
	unsigned bool
	after    func(*etree.Element) // after it
	text     func(string) string
}

// Flaws returns all of them, in order.
func Flaws() []Flaw { return slices.Sorted(maps.Keys(flaws)) }

// stranger is a key nobody trusts.
var stranger = sync.OnceValues(func() (*rsa.PrivateKey, *x509.Certificate) {
	key, cert, err := newKey("stranger")
	if err != nil {
		panic(err)
	}
	return key, cert
})

func set(path, name, value string) func(*etree.Element) {
	return func(r *etree.Element) { r.FindElement(path).CreateAttr(name, value) }
}

func unset(path, name string) func(*etree.Element) {
	return func(r *etree.Element) { r.FindElement(path).RemoveAttr(name) }
}

func write(path, text string) func(*etree.Element) {
	return func(r *etree.Element) { r.FindElement(path).SetText(text) }
}

func remove(path string) func(*etree.Element) {
	return func(r *etree.Element) {
		el := r.FindElement(path)
		el.Parent().RemoveChild(el)
	}
}

func add(path, xml string) func(*etree.Element) {
	return func(r *etree.Element) { r.FindElement(path).AddChild(element(xml)) }
}

// double puts a copy of an element beside it.
func double(path, text string) func(*etree.Element) {
	return func(r *etree.Element) {
		el := r.FindElement(path)
		c := el.Copy()
		c.SetText(text)
		el.Parent().InsertChildAt(el.Index()+1, c)
	}
}

func all(f ...func(*etree.Element)) func(*etree.Element) {
	return func(r *etree.Element) {
		for _, f := range f {
			f(r)
		}
	}
}

func replace(old, with string) func(string) string {
	return func(s string) string {
		if !strings.Contains(s, old) {
			panic("samltest: no " + old + " to replace")
		}
		return strings.Replace(s, old, with, 1)
	}
}

const (
	confirmation = "./Assertion/Subject/SubjectConfirmation"
	data         = confirmation + "/SubjectConfirmationData"
	conditions   = "./Assertion/Conditions"
	nameID       = "./Assertion/Subject/NameID"
	longAgo      = "2021-01-01T00:00:00Z"
	farAway      = "2048-01-01T00:00:00Z"
)

var flaws = merge(map[Flaw]effect{
	Unsigned:       {unsigned: true},
	OtherKey:       {signer: func(s *signer) { s.key, s.cert = stranger() }},
	OtherKeyInName: {signer: func(s *signer) { s.key, _ = stranger() }},
	SHA1Signature:  {signer: func(s *signer) { s.method = RSASHA1 }},
	SHA1Digest:     {signer: func(s *signer) { s.digest = SHA1 }},
	HMACSignature:  {signer: func(s *signer) { s.method = HMACSHA256 }},
	InclusiveC14N:  {signer: func(s *signer) { s.c14n = inclusive }},
	NoC14N:         {signer: func(s *signer) { s.transform = []string{enveloped} }},
	EmptyReference: {signer: func(s *signer) { s.uri = "-" }},
	TwoReferences:  {signer: func(s *signer) { s.twice = true }},

	Changed: {after: write(nameID, Victim)},
	CommentInDigest: {after: func(r *etree.Element) {
		r.FindElement("./Assertion/Signature/SignedInfo/Reference/DigestValue").AddChild(etree.NewComment("x"))
	}},
	TwoSignatures: {after: func(r *etree.Element) {
		sig := r.FindElement("./Assertion/Signature")
		sig.Parent().AddChild(sig.Copy())
	}},

	WrongIssuer: {edit: write("./Assertion/Issuer", "https://other.example/metadata")},
	TwoIssuers:  {edit: double("./Assertion/Issuer", "https://other.example/metadata")},
	NoIssuer:    {edit: remove("./Assertion/Issuer")},

	WrongAudience: {edit: write(conditions+"/AudienceRestriction/Audience", "https://other.example/metadata")},
	NoAudience:    {edit: remove(conditions + "/AudienceRestriction")},
	SecondAudience: {edit: add(conditions, `<saml:AudienceRestriction xmlns:saml="`+nsAssertion+
		`"><saml:Audience>https://other.example/metadata</saml:Audience></saml:AudienceRestriction>`)},
	WrongRecipient:   {edit: set(data, "Recipient", "https://other.example/acs")},
	NoRecipient:      {edit: unset(data, "Recipient")},
	WrongDestination: {edit: set(".", "Destination", "https://other.example/acs")},

	Expired:          {edit: set(conditions, "NotOnOrAfter", longAgo)},
	ConfirmedTooLate: {edit: set(data, "NotOnOrAfter", longAgo)},
	ConfirmedForever: {edit: unset(data, "NotOnOrAfter")},
	NotYet:           {edit: set(conditions, "NotBefore", farAway)},
	IssuedLongAgo:    {edit: set("./Assertion", "IssueInstant", longAgo)},
	IssuedInFuture:   {edit: set("./Assertion", "IssueInstant", farAway)},
	SessionOver:      {edit: set("./Assertion/AuthnStatement", "SessionNotOnOrAfter", longAgo)},

	WrongInResponseTo: {edit: all(set(".", "InResponseTo", "_other"), set(data, "InResponseTo", "_other"))},
	NoInResponseTo:    {edit: all(unset(".", "InResponseTo"), unset(data, "InResponseTo"))},

	TwoAssertions: {after: func(r *etree.Element) {
		c := r.SelectElement("Assertion").Copy()
		c.CreateAttr("ID", "_second")
		r.AddChild(c)
	}},
	TwoNameIDs:       {edit: double(nameID, Victim)},
	NoNameID:         {edit: remove(nameID)},
	Transient:        {user: func(u *User) { u.Format = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient" }},
	PaddedNameID:     {user: func(u *User) { u.NameID += " " }},
	NoConditions:     {edit: remove(conditions)},
	UnknownCondition: {edit: add(conditions, `<x:Condition xmlns:x="urn:x" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="x:OnTuesdays"/>`)},
	NoConfirmation:   {edit: remove(confirmation)},
	HolderOfKey:      {edit: set(confirmation, "Method", "urn:oasis:names:tc:SAML:2.0:cm:holder-of-key")},
	NoAuthn:          {edit: remove("./Assertion/AuthnStatement")},
	Refused: {edit: all(remove("./Assertion"), remove("./Status/StatusCode"), add("./Status", `<samlp:StatusCode xmlns:samlp="`+nsProtocol+
		`" Value="urn:oasis:names:tc:SAML:2.0:status:Responder"><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:AuthnFailed"/></samlp:StatusCode>`))},
	OldVersion:   {edit: set(".", "Version", "1.1")},
	NotAResponse: {edit: func(r *etree.Element) { r.Tag = "LogoutResponse" }},

	EncryptedUnsigned: {unsigned: true, answer: func(a *Answer) { a.Encrypt = AES256GCM }},

	DocType: {text: func(s string) string { return `<!DOCTYPE x>` + s }},
	Entity: {
		user: func(u *User) { u.NameID = "PLACE" },
		text: func(s string) string {
			return `<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>` + replace("PLACE", "&e;")(s)
		},
	},
	Laughs: {text: func(s string) string {
		return `<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>` + s
	}},
	Instruction: {text: replace("</samlp:Status>", "</samlp:Status><?php x?>")},
	Deep: {text: replace("</samlp:Status>", "</samlp:Status><samlp:Extensions>"+
		strings.Repeat("<a>", 5000)+strings.Repeat("</a>", 5000)+"</samlp:Extensions>")},
	Wide:           {text: replace("</samlp:Status>", "</samlp:Status><a "+numbered(100, `b%="c" `)+"/>")},
	ManyElements:   {text: replace("</samlp:Status>", "</samlp:Status>"+strings.Repeat("<a/>", 20_000))},
	ManyComments:   {text: replace("</samlp:Status>", "</samlp:Status>"+strings.Repeat("<!---->", 20_000))},
	ManyNamespaces: {text: replace("</samlp:Status>", "</samlp:Status>"+strings.Repeat("<a "+numbered(50, `xmlns:n%="urn:n" `)+"/>", 10))},
	Long:           {text: replace("</samlp:Status>", "</samlp:Status>"+strings.Repeat(" ", 600<<10))},
	DuplicateID:    {after: func(r *etree.Element) { r.CreateAttr("ID", r.SelectElement("Assertion").SelectAttrValue("ID", "")) }},
	DuplicateAttr:  {text: replace(` Version="2.0"`, ` Version="2.0" Version="2.0"`)},
	PrefixedID:     {text: replace(`<saml:Assertion `, `<saml:Assertion xmlns:x="urn:x" x:ID="_evil" `)},
	RoundTrip:      {text: replace("</samlp:Status>", "</samlp:Status><x::y/>")},
	TwoDocuments:   {text: func(s string) string { return s + "<a/>" }},
	NotUTF8:        {text: func(s string) string { return s[:len(s)-1] + "\xff>" }},
}, wrapped)

func merge(a, b map[Flaw]effect) map[Flaw]effect {
	maps.Copy(a, b)
	return a
}

// numbered repeats s with numbers for %.
func numbered(n int, s string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.ReplaceAll(s, "%", string(rune('a'+i/26))+string(rune('a'+i%26))))
	}
	return b.String()
}
