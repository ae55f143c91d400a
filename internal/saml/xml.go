package saml

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/beevik/etree"
	xrv "github.com/mattermost/xml-roundtrip-validator"
)

// The namespaces of SAML.
const (
	nsProtocol  = "urn:oasis:names:tc:SAML:2.0:protocol"
	nsAssertion = "urn:oasis:names:tc:SAML:2.0:assertion"
	nsMetadata  = "urn:oasis:names:tc:SAML:2.0:metadata"
	nsDsig      = "http://www.w3.org/2000/09/xmldsig#"
	nsXenc      = "http://www.w3.org/2001/04/xmlenc#"
	nsXenc11    = "http://www.w3.org/2009/xmlenc11#"
	nsExcC14N   = "http://www.w3.org/2001/10/xml-exc-c14n#"
)

// What may be parsed. Honest messages stay far below each of these.
const (
	maxResponse   = 512 << 10 // bytes of base64
	maxMetadata   = 1 << 20
	maxEntityID   = 1024 // as in the specification
	maxDepth      = 32
	maxElements   = 10_000
	maxComments   = 256
	maxAttributes = 64  // of one element
	maxNamespaces = 256 // declarations in one document: canonicalisation copies them for every element
)

// parse reads a document, if it is one that every parser reads in the same
// way. What makes parsers differ (document types, processing instructions,
// attributes given twice, what does not survive a round trip) is refused, and
// so is what costs more than it can be worth.
func parse(raw []byte) (*etree.Element, error) {
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf")) // Microsoft's servers write a byte order mark
	if !utf8.Valid(raw) {
		return nil, errors.New("not UTF-8")
	}
	if err := survey(raw); err != nil {
		return nil, err
	}
	if err := xrv.Validate(bytes.NewReader(raw)); err != nil {
		return nil, err
	}
	doc := etree.NewDocument()
	doc.ReadSettings.MaxDepth = maxDepth
	if err := doc.ReadFromBytes(raw); err != nil {
		return nil, err
	}
	root := doc.Root()
	if root == nil {
		return nil, errors.New("no element")
	}
	return root, nil
}

// survey goes through the tokens of raw without building anything.
func survey(raw []byte) error {
	d := xml.NewDecoder(bytes.NewReader(raw))
	depth, elements, comments, namespaces, roots := 0, 0, 0, 0, 0
	ids := map[string]bool{}
	for start := true; ; start = false {
		token, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		switch t := token.(type) {
		case xml.Directive:
			return errors.New("a document type or another directive")
		case xml.ProcInst:
			if !start || t.Target != "xml" {
				return errors.New("a processing instruction")
			}
		case xml.Comment:
			comments++
		case xml.CharData:
			if depth == 0 && len(bytes.TrimSpace(t)) > 0 {
				return errors.New("text outside of the document's element")
			}
		case xml.EndElement:
			depth--
		case xml.StartElement:
			if depth == 0 {
				roots++
			}
			depth++
			elements++
			n, err := surveyAttributes(t.Attr, ids)
			if err != nil {
				return err
			}
			namespaces += n
		}
		switch {
		case depth > maxDepth:
			return fmt.Errorf("nested deeper than %d", maxDepth)
		case elements > maxElements:
			return fmt.Errorf("more than %d elements", maxElements)
		case comments > maxComments:
			return fmt.Errorf("more than %d comments", maxComments)
		case namespaces > maxNamespaces:
			return fmt.Errorf("more than %d namespace declarations", maxNamespaces)
		case depth < 0 || roots > 1:
			return errors.New("more than one document")
		}
	}
	if roots != 1 || depth != 0 {
		return errors.New("not one whole document")
	}
	return nil
}

// surveyAttributes counts the namespace declarations among attrs. It refuses
// what would make it a question which attribute is meant: two of one name,
// whatever their prefixes, or one ID for two elements.
func surveyAttributes(attrs []xml.Attr, ids map[string]bool) (namespaces int, err error) {
	if len(attrs) > maxAttributes {
		return 0, fmt.Errorf("more than %d attributes", maxAttributes)
	}
	seen := make(map[string]bool, len(attrs))
	for _, a := range attrs {
		key := a.Name.Local
		if a.Name.Space == "xmlns" {
			key = "xmlns:" + key
		}
		if seen[key] {
			return 0, fmt.Errorf("the attribute %q twice", key)
		}
		seen[key] = true
		switch {
		case a.Name.Space == "xmlns" || key == "xmlns":
			namespaces++
		case key == "ID":
			if ids[a.Value] {
				return 0, errors.New("one ID for two elements")
			}
			ids[a.Value] = true
		}
	}
	return namespaces, nil
}

// is reports whether el has this name.
func is(el *etree.Element, ns, tag string) bool {
	return el.Tag == tag && el.NamespaceURI() == ns
}

// children returns the children of el of this name.
func children(el *etree.Element, ns, tag string) []*etree.Element {
	var out []*etree.Element
	for _, c := range el.ChildElements() {
		if is(c, ns, tag) {
			out = append(out, c)
		}
	}
	return out
}

// atMostOne returns the child of this name, or nil if there is none.
func atMostOne(el *etree.Element, ns, tag string) (*etree.Element, error) {
	switch c := children(el, ns, tag); len(c) {
	case 0:
		return nil, nil
	case 1:
		return c[0], nil
	default:
		return nil, fmt.Errorf("%d elements %s in %s", len(c), tag, el.Tag)
	}
}

// one returns the only child of this name.
func one(el *etree.Element, ns, tag string) (*etree.Element, error) {
	c, err := atMostOne(el, ns, tag)
	if err == nil && c == nil {
		err = fmt.Errorf("no %s in %s", tag, el.Tag)
	}
	return c, err
}

// text returns all of the text of el, on both sides of any comment: the text
// of <a>x<!-- -->y</a> is xy. An element within is an error.
func text(el *etree.Element) (string, error) {
	var b strings.Builder
	for _, c := range el.Child {
		switch t := c.(type) {
		case *etree.CharData:
			b.WriteString(t.Data)
		case *etree.Comment:
		default:
			return "", fmt.Errorf("%s holds more than text", el.Tag)
		}
	}
	return b.String(), nil
}

// trimmed is text without space around it.
func trimmed(el *etree.Element) (string, error) {
	s, err := text(el)
	return strings.TrimSpace(s), err
}

// attr returns the attribute of that name that has no prefix; SAML's have
// none. (The library's own search takes any prefix.)
func attr(el *etree.Element, name string) (value string, ok bool) {
	for _, a := range el.Attr {
		if a.Space == "" && a.Key == name {
			return a.Value, true
		}
	}
	return "", false
}

// moment reads an attribute that holds a time. ok is false if there is none.
func moment(el *etree.Element, name string) (at time.Time, ok bool, err error) {
	v, ok := attr(el, name)
	if !ok {
		return time.Time{}, false, nil
	}
	v = strings.TrimSpace(v)
	at, err = time.Parse(time.RFC3339Nano, v)
	if err != nil {
		// SAML's times are UTC, and some say so by saying nothing.
		at, err = time.Parse("2006-01-02T15:04:05.999999999", v)
	}
	if err != nil {
		return time.Time{}, true, fmt.Errorf("%s of %s is no time", name, el.Tag)
	}
	return at.UTC(), true, nil
}

var ncName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,255}$`)

// squeeze takes the white space out of s.
func squeeze(s string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case ' ', '\t', '\r', '\n':
			return -1
		}
		return r
	}, s)
}
