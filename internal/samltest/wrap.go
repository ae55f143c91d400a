package samltest

import "github.com/beevik/etree"

// The eight ways of wrapping, numbered as the literature does. In each a
// signature over honest content stays valid for whoever looks it up by ID,
// while the content in the place where a reader looks names the Victim. One
// and two wrap a signed response, the others a signed assertion.
const (
	XSW1 Flaw = "wrapped 1: the honest response inside the signature of the forged one"
	XSW2 Flaw = "wrapped 2: the honest response before the signature in the forged one"
	XSW3 Flaw = "wrapped 3: the forged assertion before the honest one"
	XSW4 Flaw = "wrapped 4: the honest assertion inside the forged one"
	XSW5 Flaw = "wrapped 5: the signature in the forged assertion, the honest one after it"
	XSW6 Flaw = "wrapped 6: the honest assertion inside the signature of the forged one"
	XSW7 Flaw = "wrapped 7: the forged assertion in the extensions"
	XSW8 Flaw = "wrapped 8: the honest assertion in an object of the forged one's signature"
	XSW9 Flaw = "wrapped 9: the forged assertion under a signed response's status detail"
)

var wrapped = map[Flaw]effect{
	XSW1: {answer: func(a *Answer) { a.Sign = SignResponse }, after: func(r *etree.Element) {
		sig := r.SelectElement("Signature")
		honest := bare(r)
		forge(r)
		sig.AddChild(honest)
	}},
	XSW2: {answer: func(a *Answer) { a.Sign = SignResponse }, after: func(r *etree.Element) {
		honest := bare(r)
		forge(r)
		r.InsertChildAt(r.SelectElement("Signature").Index(), honest)
	}},
	XSW3: {after: func(r *etree.Element) {
		honest := r.SelectElement("Assertion")
		forged := bare(honest)
		forge(forged)
		r.InsertChildAt(honest.Index(), forged)
	}},
	XSW4: {after: func(r *etree.Element) {
		honest := r.SelectElement("Assertion")
		forged := bare(honest)
		forge(forged)
		r.RemoveChild(honest)
		forged.AddChild(honest)
		r.AddChild(forged)
	}},
	XSW5: {after: func(r *etree.Element) {
		forged := r.SelectElement("Assertion")
		honest := bare(forged)
		forge(forged)
		r.AddChild(honest)
	}},
	XSW6: {after: func(r *etree.Element) {
		forged := r.SelectElement("Assertion")
		honest := bare(forged)
		forge(forged)
		forged.SelectElement("Signature").AddChild(honest)
	}},
	XSW7: {after: func(r *etree.Element) {
		honest := r.SelectElement("Assertion")
		forged := bare(honest)
		forge(forged)
		ext := etree.NewElement("samlp:Extensions")
		ext.AddChild(forged)
		r.InsertChildAt(honest.Index(), ext)
	}},
	XSW8: {after: func(r *etree.Element) {
		forged := r.SelectElement("Assertion")
		honest := bare(forged)
		forge(forged)
		forged.SelectElement("Signature").CreateElement("ds:Object").AddChild(honest)
	}},
	XSW9: {answer: func(a *Answer) { a.Sign = SignBoth }, after: func(r *etree.Element) {
		forged := bare(r.SelectElement("Assertion"))
		forge(forged)
		r.SelectElement("Status").CreateElement("samlp:StatusDetail").AddChild(forged)
	}},
}

// bare is a copy of a signed element without its signature.
func bare(el *etree.Element) *etree.Element {
	c := el.Copy()
	if sig := c.SelectElement("Signature"); sig != nil {
		c.RemoveChild(sig)
	}
	return c
}

// forge gives el a new ID and has it name the victim. Of a response, the
// assertion gets a new ID too.
func forge(el *etree.Element) {
	el.CreateAttr("ID", newID())
	if a := el.SelectElement("Assertion"); a != nil {
		a.CreateAttr("ID", newID())
	}
	for _, name := range el.FindElements(".//NameID") {
		name.SetText(Victim)
	}
}
