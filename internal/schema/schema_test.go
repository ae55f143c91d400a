package schema_test

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"gatehouse/internal/schema"

	"pgregory.net/rapid"
)

// compile ends the test where the schema is none.
func compile(t *testing.T, text string) *schema.Schema {
	t.Helper()
	s, err := schema.New([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return s
}

// read reads user data as the core does: with numbers as they stand.
func read(t *testing.T, text string) map[string]any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var data map[string]any
	err := d.Decode(&data)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return data
}

// told is what Check says, or nothing.
func told(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestCheck_saysWhatIsWrongInWords(t *testing.T) {
	t.Parallel()
	s := compile(t, `{
		"type": "object",
		"required": ["name"],
		"dependentRequired": {"street": ["city"]},
		"properties": {
			"name": {"type": "string", "minLength": 2, "maxLength": 5, "pattern": "^[A-Z]"},
			"age": {"type": "integer", "minimum": 0, "maximum": 9007199254740993},
			"half": {"type": "number", "multipleOf": 0.5, "exclusiveMaximum": 10},
			"mail": {"type": "string", "format": "email"},
			"born": {"type": "string", "format": "date"},
			"site": {"type": "string", "format": "uri"},
			"theme": {"enum": ["light", "dark"]},
			"terms": {"const": true},
			"street": true, "city": true,
			"tags": {"type": "array", "maxItems": 1, "items": {"type": "string"}},
			"pair": {"prefixItems": [{"type": "integer"}, {"type": "string"}], "items": false},
			"unique": {"uniqueItems": true},
			"home": {"$ref": "#/$defs/address"},
			"either": {"anyOf": [{"type": "string"}, {"type": "object", "required": ["a"]}]},
			"one": {"oneOf": [{"minimum": 1}, {"maximum": 5}]},
			"not": {"not": {"type": "null"}},
			"many": {"type": ["string", "null"]}
		},
		"$defs": {"address": {"type": "object", "additionalProperties": false, "required": ["city"], "properties": {
			"city": {"type": "string"}, "lines": {"type": "array", "items": {"type": "string"}}}}}
	}`)
	for data, want := range map[string]string{
		`{"name":"Ada"}`: "",
		`{"name":"Ada","age":36,"half":2.5,"mail":"a@example.com","born":"1815-12-10","site":"https://a.ex","theme":"dark","terms":true,"many":null}`: "",
		`{"name":"Ada","street":"a","city":"b","pair":[1,"x"],"home":{"city":"x","lines":["y"]},"either":"x","one":0}`:                                "",
		`{}`:                                                 "name: missing",
		`{"name":"A"}`:                                       "name: must have 2 characters or more",
		`{"name":"Augusta"}`:                                 "name: must have at most 5 characters",
		`{"name":"ada"}`:                                     "name: does not have the form it must have",
		`{"name":1}`:                                         "name: must be text",
		`{"name":"Ada","shoe":1}`:                            "shoe: unknown key",
		`{"name":"Ada","age":"36"}`:                          "age: must be a whole number",
		`{"name":"Ada","age":1.5}`:                           "age: must be a whole number",
		`{"name":"Ada","age":-1}`:                            "age: must be 0 or more",
		`{"name":"Ada","age":9007199254740993}`:              "",
		`{"name":"Ada","age":9007199254740994}`:              "age: must be 9007199254740993 or less",
		`{"name":"Ada","half":0.3}`:                          "half: must be a multiple of 0.5",
		`{"name":"Ada","half":10}`:                           "half: must be less than 10",
		`{"name":"Ada","mail":"ada"}`:                        "mail: is not of the form email",
		`{"name":"Ada","born":"1815-13-10"}`:                 "born: is not of the form date",
		`{"name":"Ada","site":"a b"}`:                        "site: is not of the form uri",
		`{"name":"Ada","theme":"pink"}`:                      "theme: is not among what it may be",
		`{"name":"Ada","terms":false}`:                       "terms: is not what it must be",
		`{"name":"Ada","street":"a"}`:                        "city: missing, and street needs it",
		`{"name":"Ada","tags":["a","b"]}`:                    "tags: must have at most 1 entry",
		`{"name":"Ada","tags":[1]}`:                          "tags.0: must be text",
		`{"name":"Ada","unique":[1,1.0]}`:                    "unique: has an entry twice",
		`{"name":"Ada","home":{"lines":["a",2],"city":"x"}}`: "home.lines.1: must be text",
		`{"name":"Ada","home":{}}`:                           "home.city: missing",
		`{"name":"Ada","home":{"city":"x","zip":1}}`:         "home.zip: unknown key",
		`{"name":"Ada","either":1}`:                          "either: fits none of the forms it may have",
		`{"name":"Ada","one":3}`:                             "one: fits none of the forms it may have",
		`{"name":"Ada","not":null}`:                          "not: is something it must not be",
		`{"name":"Ada","many":1}`:                            "many: must be null or text",
		`{"name":1,"age":"x"}`:                               "age: must be a whole number; name: must be text",
	} {
		d := read(t, data)
		var written []string
		for key := range d {
			written = append(written, key)
		}
		if got := told(s.Check(d, written, true)); got != want {
			t.Errorf("%s: got %q, want %q", data, got, want)
		}
	}
}

// What a client wrote is not read back to it: it may be in somebody's log.
func TestCheck_doesNotRepeatValues(t *testing.T) {
	t.Parallel()
	s := compile(t, `{"properties":{"a":{"enum":["x"]},"b":{"format":"date"},"c":{"pattern":"^x"},"d":{"const":1},"e":{"maximum":1},"f":{"type":"null"}}}`)
	for _, key := range []string{"a", "b", "c", "d"} {
		if got := told(s.Check(map[string]any{key: "hunter2"}, []string{key}, false)); got == "" || strings.Contains(got, "hunter2") {
			t.Errorf("%s: got %q", key, got)
		}
	}
}

// Data from before the schema was stand in nobody's way.
func TestCheck_leavesAloneWhatWasWrongBefore(t *testing.T) {
	t.Parallel()
	s := compile(t, `{
		"required": ["name", "terms"], "maxProperties": 4, "dependentRequired": {"street": ["city"]},
		"properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "terms": {}, "street": {}, "city": {}, "kind": {}, "vat": {}, "note": {}},
		"if": {"properties": {"kind": {"const": "firm"}}, "required": ["kind"]}, "then": {"required": ["vat"]}
	}`)
	for _, tc := range []struct {
		data, written string
		fresh         bool
		want          string
	}{
		{`{"name":1,"shoe":2,"age":3}`, "age", false, ""},
		{`{"name":1,"shoe":2,"age":"x"}`, "age", false, "age: must be a whole number"},
		{`{"name":1,"age":3}`, "name", false, "name: must be text"},
		{`{"name":1,"shoe":2}`, "shoe", false, "shoe: unknown key"},
		{`{"age":3}`, "age", false, ""},
		{`{"age":3}`, "age", true, "name: missing; terms: missing"},
		{`{"age":3}`, "name", false, "name: missing"},
		{`{}`, "", true, "name: missing; terms: missing"},
		{`{}`, "", false, ""},
		{`{"street":"a","age":3}`, "age", false, ""},
		{`{"street":"a","age":3}`, "street", false, "city: missing, and street needs it"},
		{`{"name":"a","age":1,"terms":1,"street":1,"city":1}`, "age", false, "the data: must have at most 4 keys"},
		{`{"name":"a","age":1,"terms":1,"street":1,"city":1,"note":1}`, "age", false, ""},
		{`{"kind":"firm","age":1}`, "age", false, ""},
		{`{"kind":"firm","age":1}`, "kind", false, "vat: missing"},
		{`{"kind":"firm","vat":1}`, "kind", false, ""},
		{`{"name":"a","age":1,"note":1e999999999}`, "age", false, ""},
	} {
		var written []string
		if tc.written != "" {
			written = []string{tc.written}
		}
		if got := told(s.Check(read(t, tc.data), written, tc.fresh)); got != tc.want {
			t.Errorf("%s, %s written, fresh %t: got %q, want %q", tc.data, tc.written, tc.fresh, got, tc.want)
		}
	}
}

func TestCheck_saysAtMostFiveThings(t *testing.T) {
	t.Parallel()
	s := compile(t, `{"properties":{}}`)
	data, written := map[string]any{}, []string{}
	for _, key := range strings.Fields("g f e d c b a") {
		data[key] = 1
		written = append(written, key)
	}
	want := "a: unknown key; b: unknown key; c: unknown key; d: unknown key; e: unknown key"
	if got := told(s.Check(data, written, true)); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	long := strings.Repeat("ä", 10_000)
	if got := told(s.Check(map[string]any{long: 1}, []string{long}, false)); len(got) > 300 || !strings.HasSuffix(got, "…: unknown key") {
		t.Errorf("a long key is told as %.400q", got)
	}
}

// Keys that no part of a schema names are unknown, and others are not.
func TestNew_closesWhatIsOpen(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{}`:                      "a: unknown key; b: unknown key",
		`{"properties":{"a":{}}}`: "b: unknown key",
		`{"properties":{"a":{}},"additionalProperties":true}`:              "",
		`{"properties":{"a":{}},"unevaluatedProperties":true}`:             "",
		`{"properties":{"a":{}},"additionalProperties":{"type":"string"}}`: "b: must be text",
		`{"patternProperties":{"^a":{}}}`:                                  "b: unknown key",
		`{"allOf":[{"properties":{"a":{}}}],"properties":{"b":{}}}`:        "",
		`{"allOf":[{"properties":{"a":{}}}]}`:                              "b: unknown key",
		`{"$ref":"#/$defs/x","$defs":{"x":{"properties":{"a":{}}}}}`:       "b: unknown key",
		// Of what a failing part would have named nothing is said.
		`{"allOf":[{"properties":{"a":{"type":"string"},"b":{}}}]}`:                                                "a: must be text",
		`{"$schema":"http://json-schema.org/draft-07/schema#","properties":{"a":{}}}`:                              "b: unknown key",
		`{"$schema":"http://json-schema.org/draft-07/schema#","allOf":[{"required":["a"]}],"properties":{"a":{}}}`: "b: unknown key",
	} {
		s := compile(t, text)
		if got := told(s.Check(read(t, `{"a":1,"b":2}`), []string{"a", "b"}, false)); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

func TestNew_refusesWhatIsNoSchema(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		``:                                      "it is not JSON: EOF",
		`{`:                                     "it is not JSON: ",
		`{} {}`:                                 "it is not JSON: ",
		`[]`:                                    "it is not a JSON object",
		`true`:                                  "it is not a JSON object",
		`{"type":"rabbit"}`:                     "at /type: value must be one of",
		`{"properties":{"a":{"minimum":"1"}}}`:  "at /properties/a/minimum: got string, want number",
		`{"properties":{"a":{"pattern":"("}}}`:  "at /properties/a/pattern: '(' is not valid regex",
		`{"$ref":"#/$defs/x"}`:                  `json-pointer in "the schema#/$defs/x" not found`,
		`{"$ref":"#"}`:                          "it refers to itself without end",
		`{"allOf":[{"$ref":"#"}]}`:              "it refers to itself without end",
		`{"$ref":"https://example.com/s.json"}`: `failing loading "https://example.com/s.json": https://example.com/s.json is not in the schema itself`,
		`{"$ref":"http://127.0.0.1/s"}`:         `failing loading "http://127.0.0.1/s": http://127.0.0.1/s is not in the schema itself`,
		`{"properties":{"a":{"$ref":"file:///etc/hosts"}}}`: `failing loading "file:///etc/hosts": file:///etc/hosts is not in the schema itself`,
		`{"$schema":"https://example.com/mine"}`:            `failing loading "https://example.com/mine": `,
		`{"$id":"https://example.com/s","$ref":"other"}`:    `failing loading "https://example.com/other": `,
		`{"properties":{"a":{"maximum":1e999999}}}`:         "it has a number that is too long to count with",
	} {
		_, err := schema.New([]byte(text))
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

// A few bytes stand for a number of a megabyte.
func TestCheck_countsWithNoMonsters(t *testing.T) {
	t.Parallel()
	s := compile(t, `{"properties":{"n":{"type":"integer","maximum":5},"l":{"uniqueItems":true}}}`)
	const want = "has a number that is too long to count with"
	for _, data := range []string{
		`{"n":1e999999999}`, `{"n":1e99999}`, `{"n":-1E+1000}`, `{"n":1e-999999}`, `{"n":[{"a":1e2000000}]}`, `{"l":[1e2000000,1e2000000]}`, `{"n":` + strings.Repeat("9", 401) + `}`,
	} {
		d := read(t, data)
		for key := range d {
			if got := told(s.Check(d, []string{key}, true)); got != key+": "+want {
				t.Errorf("%.40s: got %q", data, got)
			}
		}
	}
	for data, want := range map[string]string{
		`{"n":0e0}`: "", `{"n":1.0}`: "", `{"n":1e-0}`: "", `{"n":5e000}`: "", `{"n":1e308}`: "n: must be 5 or less", `{"n":` + strings.Repeat("9", 400) + `}`: "n: must be 5 or less",
	} {
		if got := told(s.Check(read(t, data), []string{"n"}, true)); got != want {
			t.Errorf("%.40s: got %q, want %q", data, got, want)
		}
	}
}

func TestCheck_servesManyAtOnce(t *testing.T) {
	t.Parallel()
	s := compile(t, `{"properties":{"a":{"type":"string"}}}`)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if got := told(s.Check(map[string]any{"a": 1}, []string{"a"}, true)); got != "a: must be text" {
					t.Errorf("got %q", got)
				}
			}
		})
	}
	wg.Wait()
}

// value draws any JSON value of a few levels.
func value(depth int) *rapid.Generator[any] {
	leaves := []*rapid.Generator[any]{
		rapid.Just[any](nil), rapid.Bool().AsAny(), rapid.Int64().AsAny(), rapid.String().AsAny(),
		rapid.SampledFrom([]any{json.Number("1e400"), json.Number("9007199254740993"), json.Number("1e2000000"), "2020-01-01", ""}),
	}
	if depth > 0 {
		leaves = append(leaves,
			rapid.SliceOfN(value(depth-1), 0, 3).AsAny(),
			rapid.MapOfN(rapid.SampledFrom(words), value(depth-1), 0, 3).AsAny())
	}
	return rapid.OneOf(leaves...)
}

// words are keys that mean something in a schema, and a few that do not.
var words = []string{
	"a", "b", "", "type", "properties", "items", "required", "$ref", "$defs", "$id", "$anchor", "$dynamicRef", "$schema", "allOf", "anyOf", "oneOf", "not", "if", "then", "else",
	"enum", "const", "pattern", "format", "minimum", "multipleOf", "uniqueItems", "contains", "prefixItems", "additionalProperties", "unevaluatedProperties",
	"dependentSchemas", "dependentRequired", "propertyNames", "patternProperties", "contentEncoding",
}

// Whatever schema and data come, there is an answer, and the same one twice.
func TestCheck_survivesEverything(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text, err := json.Marshal(rapid.MapOfN(rapid.SampledFrom(words), value(3), 0, 4).Draw(t, "schema"))
		if err != nil {
			t.Fatal(err)
		}
		s, err := schema.New(text)
		if err != nil {
			s, err = schema.New([]byte(`{"properties":{"a":{"type":"integer","multipleOf":3},"b":{"items":{"format":"date"}}},"propertyNames":{"maxLength":3}}`))
			if err != nil {
				t.Fatal(err)
			}
		}
		data := rapid.MapOfN(rapid.SampledFrom(words), value(3), 0, 4).Draw(t, "data")
		written := rapid.SliceOf(rapid.SampledFrom(words)).Draw(t, "written")
		fresh := rapid.Bool().Draw(t, "fresh")
		first := told(s.Check(data, written, fresh))
		if again := told(s.Check(data, written, fresh)); again != first {
			t.Fatalf("got %q, then %q", first, again)
		}
		if !fresh && len(written) == 0 && first != "" {
			t.Fatalf("nothing was written, and it says %q", first)
		}
	})
}

func FuzzNew(f *testing.F) {
	f.Add([]byte(`{"properties":{"a":{"type":"integer"}}}`), []byte(`{"a":1}`))
	f.Add([]byte(`{"$ref":"#/$defs/x","$defs":{"x":{"$ref":"#"}}}`), []byte(`{"a":1e99999}`))
	f.Add([]byte(`{"anyOf":[{"not":{}},{"$dynamicRef":"#a"}]}`), []byte(`{"b":[{},[]]}`))
	f.Fuzz(func(_ *testing.T, text, data []byte) {
		s, err := schema.New(text)
		if err != nil {
			return
		}
		d := json.NewDecoder(strings.NewReader(string(data)))
		d.UseNumber()
		var m map[string]any
		if d.Decode(&m) != nil {
			return
		}
		var written []string
		for key := range m {
			written = append(written, key)
		}
		_ = s.Check(m, written, true)
		_ = s.Check(m, written[:len(written)/2], false)
	})
}
