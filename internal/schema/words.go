package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// trouble is what is wrong, as far as it concerns somebody.
type trouble struct {
	written []string
	fresh   bool

	keys    []string          // of keys, in words
	unknown []string          // of keys that are not named
	whole   map[string]string // of the data as a whole, in words, by what fails
}

// collect gathers the leaves of an error that are about what was written.
func (t *trouble) collect(e *jsonschema.ValidationError) {
	at := e.InstanceLocation
	if len(at) > 0 && !slices.Contains(t.written, at[0]) {
		return
	}
	switch e.ErrorKind.(type) {
	case *kind.AnyOf, *kind.OneOf:
		if len(at) > 0 { // what each choice asks for is no help to who meant another
			t.say(at, "fits none of the forms it may have")
			return
		}
	}
	if len(e.Causes) > 0 {
		for _, c := range e.Causes {
			t.collect(c)
		}
		return
	}
	switch k := e.ErrorKind.(type) {
	case *kind.FalseSchema:
		if len(at) > 0 {
			t.unknown = append(t.unknown, path(at)+": unknown key")
			return
		}
	case *kind.AdditionalProperties:
		for _, key := range k.Properties {
			if len(at) > 0 || slices.Contains(t.written, key) {
				t.say(append(slices.Clone(at), key), "unknown key")
			}
		}
		return
	case *kind.Required:
		for _, key := range k.Missing {
			switch {
			case len(at) > 0 || slices.Contains(t.written, key): // written: deleted by null
				t.say(append(slices.Clone(at), key), "missing")
			default:
				t.sayWhole("missing "+key, key+": missing")
			}
		}
		return
	case *kind.DependentRequired:
		if len(at) == 0 {
			t.sayWhole("with "+k.Prop, fmt.Sprintf("%s: missing, and %s needs it", strings.Join(k.Missing, ", "), k.Prop))
			return
		}
	}
	if words := sentence(e.ErrorKind); len(at) > 0 {
		t.say(at, words)
	} else {
		t.sayWhole(fmt.Sprintf("%T", e.ErrorKind), "the data: "+words)
	}
}

func (t *trouble) say(at []string, words string) { t.keys = append(t.keys, path(at)+": "+words) }

func (t *trouble) sayWhole(what, words string) {
	if t.whole == nil {
		t.whole = map[string]string{}
	}
	t.whole[what] = words
}

// path is how to get to a value: address.lines.0. It is cut short where it
// would drown what is said of it.
func path(at []string) string {
	const longest = 200
	p := strings.Join(at, ".")
	if len(p) > longest {
		p = strings.ToValidUTF8(p[:longest], "") + "…"
	}
	return p
}

// sentence says what is wrong with a value, without repeating the value.
func sentence(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Type:
		return "must be " + choice(k.Want)
	case *kind.Enum:
		return "is not among what it may be"
	case *kind.Const:
		return "is not what it must be"
	case *kind.Format:
		return "is not of the form " + k.Want
	case *kind.Pattern:
		return "does not have the form it must have"
	case *kind.MinLength:
		return count("must have", k.Want, "character", "or more")
	case *kind.MaxLength:
		return count("must have at most", k.Want, "character", "")
	case *kind.MinItems:
		return count("must have", k.Want, "entry", "or more")
	case *kind.MaxItems:
		return count("must have at most", k.Want, "entry", "")
	case *kind.MinProperties:
		return count("must have", k.Want, "key", "or more")
	case *kind.MaxProperties:
		return count("must have at most", k.Want, "key", "")
	case *kind.UniqueItems:
		return "has an entry twice"
	case *kind.Minimum:
		return "must be " + decimal(k.Want) + " or more"
	case *kind.Maximum:
		return "must be " + decimal(k.Want) + " or less"
	case *kind.ExclusiveMinimum:
		return "must be more than " + decimal(k.Want)
	case *kind.ExclusiveMaximum:
		return "must be less than " + decimal(k.Want)
	case *kind.MultipleOf:
		return "must be a multiple of " + decimal(k.Want)
	case *kind.Not, *kind.FalseSchema:
		return "is something it must not be"
	case *kind.AdditionalItems:
		return "has more entries than it may have"
	case *kind.PropertyNames:
		return "has a key that may not be in it"
	case *kind.DependentRequired:
		return fmt.Sprintf("lacks %s, which %s needs", strings.Join(k.Missing, ", "), k.Prop)
	case *kind.Contains, *kind.MinContains:
		return "lacks an entry it must have"
	case *kind.MaxContains:
		return "has too many entries of a form"
	}
	return "does not have the form it must have"
}

// choice lists types as people call them.
func choice(types []string) string {
	names := map[string]string{
		"string": "text", "integer": "a whole number", "number": "a number", "boolean": "true or false", "object": "an object", "array": "a list", "null": "null",
	}
	list := make([]string, len(types))
	for i, t := range types {
		list[i] = names[t]
	}
	return strings.Join(list, " or ")
}

// count puts a number and what is counted between two parts of a sentence.
func count(before string, n int, what, after string) string {
	switch {
	case n == 1:
	case what == "entry":
		what = "entries"
	default:
		what += "s"
	}
	return strings.TrimSpace(fmt.Sprintf("%s %d %s %s", before, n, what, after))
}

// decimal writes a bound as the schema has it, as nearly as 20 digits do.
func decimal(r *big.Rat) string {
	if r.IsInt() && len(r.Num().String()) <= 20 {
		return r.Num().String()
	}
	f, _ := r.Float64()
	b, err := json.Marshal(f)
	if err != nil {
		return "a number"
	}
	return string(b)
}

// plainer says what is wrong with a schema in fewer words than the compiler
// does, which names an address nobody has given.
func plainer(err error) error {
	var invalid *jsonschema.SchemaValidationError
	if !errors.As(err, &invalid) {
		return errors.New(strings.ReplaceAll(err.Error(), "mem://user-data.json", "the schema"))
	}
	var found *jsonschema.ValidationError
	if !errors.As(invalid.Err, &found) {
		return errors.New("it is not a JSON Schema")
	}
	for len(found.Causes) > 0 {
		found = found.Causes[0]
	}
	words := found.ErrorKind.LocalizedString(message.NewPrinter(language.English))
	return fmt.Errorf("at /%s: %s", strings.Join(found.InstanceLocation, "/"), words)
}
