// Package schema holds user data against the operator's JSON Schema. Begin
// with New; the words for what is wrong are in words.go.
//
// It must never fetch a schema, from wherever: what a $ref names has to be in
// the file itself.
package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// Schema is a compiled JSON Schema of objects. It is safe for concurrent use.
type Schema struct{ compiled *jsonschema.Schema }

// New compiles a JSON Schema (draft 2020-12 unless it says otherwise). Keys it
// does not name are refused, unless its outermost object says something else
// about additionalProperties.
func New(text []byte) (*Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("it is not JSON: %w", err)
	}
	outer, ok := doc.(map[string]any)
	if !ok {
		return nil, errors.New("it is not a JSON object")
	}
	if !soundNumbers(doc) {
		return nil, errors.New("it has a number that is too long to count with")
	}
	closed(outer)
	c := jsonschema.NewCompiler()
	c.UseLoader(nowhere{})
	c.AssertFormat()
	const name = "mem://user-data.json"
	err = c.AddResource(name, outer)
	if err != nil {
		return nil, err
	}
	compiled, err := c.Compile(name)
	if err != nil {
		return nil, plainer(err)
	}
	s := &Schema{compiled}
	found, err := s.faults(nil)
	if err != nil {
		return nil, err
	}
	if endless(found) {
		return nil, errors.New("it refers to itself without end")
	}
	return s, nil
}

// endless reports whether a schema led back to itself before it asked anything.
func endless(e *jsonschema.ValidationError) bool {
	if e == nil {
		return false
	}
	if _, cycle := e.ErrorKind.(*kind.RefCycle); cycle {
		return true
	}
	return slices.ContainsFunc(e.Causes, endless)
}

// closed refuses the keys that a schema does not name, unless it speaks of
// others itself. Where it is put together of parts, those name keys, too.
func closed(outer map[string]any) {
	for _, says := range []string{"additionalProperties", "unevaluatedProperties"} {
		if _, ok := outer[says]; ok {
			return
		}
	}
	rest := "additionalProperties"
	for _, part := range []string{"$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "dependentSchemas"} {
		if _, ok := outer[part]; ok && laterDraft(outer) {
			rest = "unevaluatedProperties"
		}
	}
	outer[rest] = false
}

// laterDraft reports whether a schema knows unevaluatedProperties: drafts
// 2019-09 and 2020-12, which is the default.
func laterDraft(outer map[string]any) bool {
	draft, named := outer["$schema"].(string)
	return !named || strings.Contains(draft, "2019-09") || strings.Contains(draft, "2020-12")
}

// nowhere loads no other schema.
type nowhere struct{}

func (nowhere) Load(url string) (any, error) {
	return nil, fmt.Errorf("%s is not in the schema itself", url)
}

// Check returns what is wrong with the data for the keys that were written, in
// words for the client. What is wrong elsewhere was there before the schema
// was: it stands in nobody's way. Only of a fresh user's data something may be
// missing.
func (s *Schema) Check(data map[string]any, written []string, fresh bool) error {
	if len(written) == 0 && !fresh {
		return nil
	}
	for _, key := range written {
		if !soundNumbers(data[key]) {
			return fmt.Errorf("%s: has a number that is too long to count with", key)
		}
	}
	found, err := s.faults(data)
	if err != nil || found == nil {
		return err
	}
	t := trouble{written: written, fresh: fresh}
	t.collect(found)
	problems := t.keys
	if len(t.whole) > 0 && !fresh {
		// What concerns no key in particular may have been wrong before: it is
		// where all that was not written now has the same fault.
		rest := maps.Clone(data)
		maps.DeleteFunc(rest, func(key string, _ any) bool { return slices.Contains(written, key) })
		before, err := s.faults(rest)
		if err != nil {
			return err
		}
		if before != nil {
			old := trouble{fresh: true}
			old.collect(before)
			for kind := range old.whole {
				delete(t.whole, kind)
			}
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(t.whole)) {
		problems = append(problems, t.whole[kind])
	}
	if len(problems) == 0 {
		problems = t.unknown // others follow from them: a part that fails has named no keys
	}
	if len(problems) == 0 {
		return nil
	}
	slices.Sort(problems)
	const most = 5
	problems = slices.Compact(problems)
	return errors.New(strings.Join(problems[:min(len(problems), most)], "; "))
}

// faults are what is wrong with data altogether; nil: nothing.
func (s *Schema) faults(data map[string]any) (*jsonschema.ValidationError, error) {
	sound := maps.Clone(data)
	for key, v := range sound {
		if !soundNumbers(v) {
			sound[key] = nil // from before; what is wrong there does not matter
		}
	}
	text, err := json.Marshal(sound) // numbers as the validator reads them
	if err != nil {
		return nil, errors.New("the data cannot be written as JSON")
	}
	if sound == nil {
		text = []byte("{}")
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, errors.New("the data cannot be read as JSON")
	}
	err = s.compiled.Validate(v)
	var found *jsonschema.ValidationError
	if errors.As(err, &found) {
		return found, nil
	}
	return nil, err
}

// soundNumbers reports whether all numbers in v can be counted with. A few
// bytes such as 1e999999 stand for a number of a megabyte, and longer ones the
// validator cannot read at all.
func soundNumbers(v any) bool {
	switch v := v.(type) {
	case json.Number:
		digits, exponent, _ := strings.Cut(strings.ToLower(string(v)), "e")
		return len(digits) <= 400 && len(strings.TrimLeft(exponent, "+-0")) <= 3
	case map[string]any:
		for _, e := range v {
			if !soundNumbers(e) {
				return false
			}
		}
	case []any:
		for _, e := range v {
			if !soundNumbers(e) {
				return false
			}
		}
	}
	return true
}
