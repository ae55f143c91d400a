package dialecttest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// masks are what may stand in an expected answer, and what they match.
var masks = map[string]string{
	"uuid":    `[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`,
	"time":    `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z`,
	"jwt":     `[\w-]+\.[\w-]+\.[\w-]+`,
	"refresh": `[\w.~-]{20,}`, // what needs no escape in a URL: some clients do not escape
	"token":   `[\w-]{22,}`,
	"code":    `\d{6,10}`,
	"number":  `-?\d+(?:\.\d+)?`,
	"text":    `.+`,
	"any":     `(?s:.*)`,
}

var (
	mask     = regexp.MustCompile(`<([a-z]+)(?::([a-z]\w*))?>`)
	variable = regexp.MustCompile(`\$([a-z]\w*)`)
)

// vars is what a transcript has kept.
type vars map[string]string

// fill puts values in place of $names.
func (v vars) fill(s string) (string, error) {
	var err error
	s = variable.ReplaceAllStringFunc(s, func(name string) string {
		value, ok := v[name[1:]]
		if !ok {
			err = fmt.Errorf("nothing has been kept as %s", name)
		}
		return value
	})
	return s, err
}

// text returns want if got is what it describes, and keeps what it names;
// otherwise got.
func (v vars) text(want, got string) string {
	filled, err := v.fill(want)
	if err != nil {
		return got
	}
	var expr strings.Builder
	var names []string
	at := 0
	for _, m := range mask.FindAllStringSubmatchIndex(filled, -1) {
		kind := filled[m[2]:m[3]]
		pattern, known := masks[kind]
		if !known {
			continue
		}
		name := ""
		if m[4] >= 0 {
			name = filled[m[4]:m[5]]
		}
		names = append(names, name)
		expr.WriteString(regexp.QuoteMeta(filled[at:m[0]]) + "(" + pattern + ")")
		at = m[1]
	}
	expr.WriteString(regexp.QuoteMeta(filled[at:]))
	found := regexp.MustCompile(`\A` + expr.String() + `\z`).FindStringSubmatch(got)
	if found == nil {
		return got
	}
	for i, name := range names {
		if name != "" {
			v[name] = found[i+1]
		}
	}
	return want
}

// body returns the body as it would have to be written. JSON comes out
// indented, its keys in order.
func (v vars) body(want string, got []byte, isJSON bool) (string, error) {
	if !isJSON || want == "<any>" {
		return v.text(want, strings.TrimSpace(string(got))), nil
	}
	have, err := decode(got)
	if err != nil {
		return "", fmt.Errorf("the body of the answer: %w: %s", err, got)
	}
	var wanted any = missing{}
	if want != "" {
		wanted, err = decode([]byte(want))
		if err != nil {
			return "", fmt.Errorf("the body as written: %w", err)
		}
	}
	merged := v.merge(wanted, have)
	same := plain(wanted) == plain(merged)
	if same {
		return want, nil // in whatever order and layout it was written
	}
	return plain(merged), nil
}

// missing is where nothing was written.
type missing struct{}

// merge returns got with the masks of want wherever they match.
func (v vars) merge(want, got any) any {
	if s, ok := want.(string); ok && strings.HasPrefix(s, "<any") && v.text(s, plain(got)) == s {
		return s
	}
	switch got := got.(type) {
	case map[string]any:
		old, _ := want.(map[string]any)
		out := map[string]any{}
		for _, k := range sorted(got) {
			w, ok := old[k]
			if !ok {
				w = missing{}
			}
			out[k] = v.merge(w, got[k])
		}
		return out
	case []any:
		old, _ := want.([]any)
		out := make([]any, 0, len(got))
		for i := range got {
			var w any = missing{}
			if i < len(old) {
				w = old[i]
			}
			out = append(out, v.merge(w, got[i]))
		}
		return out
	case string:
		switch w := want.(type) {
		case string:
			if strings.HasPrefix(w, "<number") {
				return got // a text that looks like one
			}
			return v.text(w, got)
		case missing:
			return guess(got)
		}
	case json.Number:
		w, ok := want.(string)
		if ok && strings.HasPrefix(w, "<number") {
			return v.text(w, got.String())
		}
	}
	return got
}

// guess masks a value that nobody has written down yet.
func guess(got string) any {
	for _, kind := range []string{"uuid", "time", "jwt"} {
		if regexp.MustCompile(`\A` + masks[kind] + `\z`).MatchString(got) {
			return "<" + kind + ">"
		}
	}
	return got
}

func sorted(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys) // so that what is kept does not hang on chance
	return keys
}

func plain(v any) string {
	if v == (missing{}) {
		return ""
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // masks have angle brackets
	e.SetIndent("", "  ")
	err := e.Encode(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return strings.TrimSpace(b.String())
}

// decode reads one JSON value. A key that comes twice is an error: clients
// differ about which one counts.
func decode(b []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	v, err := value(d)
	if err != nil {
		return nil, err
	}
	_, err = d.Token()
	if !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the value")
	}
	return v, nil
}

func value(d *json.Decoder) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		m := map[string]any{}
		for d.More() {
			k, err := d.Token()
			if err != nil {
				return nil, err
			}
			key := fmt.Sprint(k)
			_, twice := m[key]
			if twice {
				return nil, fmt.Errorf("the key %q comes twice", key)
			}
			m[key], err = value(d)
			if err != nil {
				return nil, err
			}
		}
		_, err = d.Token()
		return m, err
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := value(d)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err = d.Token()
		return list, err
	}
	return t, nil
}
