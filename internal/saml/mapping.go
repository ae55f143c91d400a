package saml

import "strings"

// Mapping says which attributes of an assertion become which claims of a user.
type Mapping struct {
	Keys map[string]Claim `json:"keys,omitempty"`
}

// Claim is where one claim comes from: the first attribute of Name and Names
// that has a value, or Default.
type Claim struct {
	Name    string   `json:"name,omitempty"`
	Names   []string `json:"names,omitempty"`
	Default any      `json:"default,omitempty"`
	Array   bool     `json:"array,omitempty"` // all values, not only the first
}

// Apply returns the claims of a: strings, lists of strings, and defaults as
// they were given. It is never nil.
func (m Mapping) Apply(a *Assertion) map[string]any {
	out := make(map[string]any, len(m.Keys))
	for key, claim := range m.Keys {
		if v := claim.of(a); v != nil {
			out[key] = v
		}
	}
	return out
}

func (c Claim) of(a *Assertion) any {
	for _, name := range append([]string{c.Name}, c.Names...) {
		var values []string
		for _, v := range a.Attributes[name] {
			if v != "" {
				values = append(values, v)
			}
		}
		switch {
		case len(values) == 0:
		case c.Array:
			return values
		default:
			return values[0]
		}
	}
	return c.Default
}

// emailAttributes are the names identity providers use for an address: the
// object identifier of "mail", Microsoft's claims, and what people type.
var emailAttributes = []string{
	"urn:oid:0.9.2342.19200300.100.1.3",
	"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress",
	"http://schemas.xmlsoap.org/claims/EmailAddress",
	"mail", "Mail", "email", "Email", "emailAddress",
}

// Email returns the address a gives for its user, or "": as m maps "email",
// or else by a well-known attribute, or else the NameID if it says it is an
// address. It is as the identity provider wrote it, and so neither in
// canonical form nor known to be one.
func Email(a *Assertion, m Mapping) string {
	if claim, ok := m.Keys["email"]; ok {
		switch v := claim.of(a).(type) {
		case string:
			return strings.TrimSpace(v)
		case []string:
			return strings.TrimSpace(v[0])
		}
	}
	for _, name := range emailAttributes {
		for _, v := range a.Attributes[name] {
			if v = strings.TrimSpace(v); v != "" {
				return v
			}
		}
	}
	if a.NameIDFormat == FormatEmail {
		return strings.TrimSpace(a.NameID)
	}
	return ""
}

// subjectID is the attribute meant to name a person for good.
const subjectID = "urn:oasis:names:tc:SAML:attribute:subject-id"

// UserID returns what names the user at the issuer for good: the subject-id
// attribute, or else the NameID unless that is transient; of an address in
// lower case, because providers write those as people typed them. "" is never
// returned for an assertion of Read.
func (a *Assertion) UserID() string {
	if v := a.Attributes[subjectID]; len(v) > 0 && v[0] != "" {
		return v[0]
	}
	switch a.NameIDFormat {
	case FormatTransient:
		return ""
	case FormatEmail:
		return strings.ToLower(strings.TrimSpace(a.NameID))
	}
	return a.NameID
}
