package saml_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/saml"
)

func TestMapping_apply(t *testing.T) {
	t.Parallel()
	a := &saml.Assertion{Attributes: map[string][]string{
		"mail": {"jo@example.com", "jo@example.org"}, "groups": {"a", "", "b"}, "empty": {""}, "nobody": nil,
	}}
	var m saml.Mapping
	err := json.Unmarshal([]byte(`{"keys":{
		"email":{"name":"mail"},
		"all":{"name":"mail","array":true},
		"groups":{"names":["teams","groups"],"array":true},
		"first":{"name":"empty","names":["nobody","mail"]},
		"role":{"name":"empty","default":"reader"},
		"level":{"default":3},
		"flags":{"default":{"a":true}},
		"none":{"name":"unknown"},
		"nothing":{}
	}}`), &m)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"email": "jo@example.com", "all": []string{"jo@example.com", "jo@example.org"}, "groups": []string{"a", "b"},
		"first": "jo@example.com", "role": "reader", "level": float64(3), "flags": map[string]any{"a": true},
	}
	if d := cmp.Diff(want, m.Apply(a)); d != "" {
		t.Errorf("want - got +\n%s", d)
	}
	if got := (saml.Mapping{}).Apply(a); got == nil || len(got) != 0 {
		t.Errorf("an empty mapping gives %v", got)
	}
}

func TestEmail_order(t *testing.T) {
	t.Parallel()
	mapped := saml.Mapping{Keys: map[string]saml.Claim{"email": {Name: "work", Array: true}}}
	for name, c := range map[string]struct {
		a    saml.Assertion
		m    saml.Mapping
		want string
	}{
		"none":                  {a: saml.Assertion{NameID: "jo"}},
		"a NameID of no format": {a: saml.Assertion{NameID: "jo@example.com"}},
		"a NameID":              {a: saml.Assertion{NameID: "jo@example.com", NameIDFormat: saml.FormatEmail}, want: "jo@example.com"},
		"mail":                  {a: saml.Assertion{NameID: "x@example.com", NameIDFormat: saml.FormatEmail, Attributes: map[string][]string{"mail": {"", " jo@example.com "}}}, want: "jo@example.com"},
		"by object identifier":  {a: saml.Assertion{Attributes: map[string][]string{"mail": {"x"}, "urn:oid:0.9.2342.19200300.100.1.3": {"jo@example.com"}}}, want: "jo@example.com"},
		"Microsoft's":           {a: saml.Assertion{Attributes: map[string][]string{"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress": {"jo@example.com"}}}, want: "jo@example.com"},
		"mapped":                {a: saml.Assertion{Attributes: map[string][]string{"mail": {"x"}, "work": {"jo@example.com"}}}, m: mapped, want: "jo@example.com"},
		"mapped to nothing":     {a: saml.Assertion{Attributes: map[string][]string{"mail": {"jo@example.com"}}}, m: mapped, want: "jo@example.com"},
	} {
		if got := saml.Email(&c.a, c.m); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestUserID_lasts(t *testing.T) {
	t.Parallel()
	subject := map[string][]string{"urn:oasis:names:tc:SAML:attribute:subject-id": {"jo1@example.com"}}
	for name, c := range map[string]struct {
		a    saml.Assertion
		want string
	}{
		"persistent":     {saml.Assertion{NameID: "Ab", NameIDFormat: saml.FormatPersistent}, "Ab"},
		"an address":     {saml.Assertion{NameID: "Jo@Example.com", NameIDFormat: saml.FormatEmail}, "jo@example.com"},
		"no format":      {saml.Assertion{NameID: "Jo@Example.com"}, "Jo@Example.com"},
		"transient":      {saml.Assertion{NameID: "x", NameIDFormat: saml.FormatTransient}, ""},
		"subject-id":     {saml.Assertion{NameID: "x", NameIDFormat: saml.FormatTransient, Attributes: subject}, "jo1@example.com"},
		"subject-id too": {saml.Assertion{NameID: "x", NameIDFormat: saml.FormatPersistent, Attributes: subject}, "jo1@example.com"},
	} {
		if got := c.a.UserID(); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
