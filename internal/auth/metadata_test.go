package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestMergeMetadata_replacesTopLevelAndNullDeletes(t *testing.T) {
	for _, c := range []struct {
		old, patch, want string
	}{
		{``, `{}`, `{}`},
		{``, `{"a":1}`, `{"a":1}`},
		{`{}`, `{"a":null}`, `{}`},
		{`{"a":1}`, `{}`, `{"a":1}`},
		{`{"a":1}`, `{"b":2}`, `{"a":1,"b":2}`},
		{`{"a":1,"b":2}`, `{"a":null}`, `{"b":2}`},
		{`{"a":1,"b":2}`, `{"a":null,"b":null,"c":null}`, `{}`},
		{`{"a":{"x":1,"y":2}}`, `{"a":{"z":3}}`, `{"a":{"z":3}}`}, // not merged within
		{`{"a":{"x":1}}`, `{"a":{"x":null}}`, `{"a":{"x":null}}`},
		{`{"a":1}`, `{"A":2}`, `{"A":2,"a":1}`},
		{`{"a":1}`, `{"a":"<b>"}`, `{"a":"\u003cb\u003e"}`},
		{`{"":1}`, `{"":null}`, `{}`},
		{`null`, `{"a":1}`, `{"a":1}`},
	} {
		got, err := mergeMetadata([]byte(c.old), decode(t, c.patch))
		if err != nil || string(got) != c.want {
			t.Errorf("%s laid over %s: got %s, %v; want %s", c.patch, c.old, got, err, c.want)
		}
	}
	for _, patch := range []map[string]any{nil, {}} {
		if got, err := mergeMetadata(nil, patch); err != nil || string(got) != "{}" {
			t.Errorf("nothing on nothing: %s, %v", got, err)
		}
	}
}

// decode reads a patch as an edge does.
func decode(t interface{ Fatal(...any) }, s string) map[string]any {
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMergeMetadata_bigNumbersSurvive(t *testing.T) {
	const old = `{"big":9007199254740993,"cent":0.10,"far":1e400,"id":123456789012345678901234567890,"in":[{"n":9007199254740993}],"neg":-9223372036854775809}`
	got, err := mergeMetadata([]byte(old), decode(t, `{"new":18446744073709551617}`))
	want := strings.TrimSuffix(old, "}") + `,"new":18446744073709551617}`
	if err != nil || string(got) != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
}

func TestThreat_D10_metadataIsBounded(t *testing.T) {
	sized := func(n int) map[string]any { return map[string]any{"a": strings.Repeat("x", n-len(`{"a":""}`))} }
	full, err := mergeMetadata(nil, sized(maxMetadata))
	if err != nil || len(full) != maxMetadata {
		t.Fatalf("%d bytes: %v", len(full), err)
	}
	tooLong := func(what string, old []byte, patch map[string]any) {
		t.Helper()
		got, err := mergeMetadata(old, patch)
		var e *Error
		if got != nil || !errors.As(err, &e) || e.Code != InvalidInput || e.Field != "data" {
			t.Errorf("%s: got %d bytes, %v; want %s", what, len(got), err, InvalidInput)
		}
	}
	tooLong("one byte more", nil, sized(maxMetadata+1))
	tooLong("little by little", full, map[string]any{"b": 1})
	tooLong("longer once escaped", nil, map[string]any{"a": strings.Repeat("<", maxMetadata/4)})
	many := map[string]any{}
	for i := range 10_000 {
		many[fmt.Sprint(i)] = i
	}
	tooLong("many members", nil, many)
	// Whoever is at the limit can get below it again.
	if got, err := mergeMetadata(full, map[string]any{"a": nil, "b": 1}); err != nil || string(got) != `{"b":1}` {
		t.Errorf("%s, %v", got, err)
	}
}

func TestMergeMetadata_refusesWhatJSONCannotSay(t *testing.T) {
	for _, v := range []any{math.NaN(), math.Inf(1), func() {}, make(chan int), json.Number("1;2"), json.RawMessage("{")} {
		got, err := mergeMetadata(nil, map[string]any{"a": v})
		var e *Error
		if got != nil || !errors.As(err, &e) || e.Code != InvalidInput {
			t.Errorf("%T: got %s, %v; want %s", v, got, err, InvalidInput)
		}
	}
	for _, old := range []string{"[]", "1", "{", `"a"`} { // a spoilt row is no fault of the client
		got, err := mergeMetadata([]byte(old), map[string]any{"a": 1})
		var e *Error
		if got != nil || err == nil || errors.As(err, &e) {
			t.Errorf("stored %s: got %s, %v", old, got, err)
		}
	}
}

func TestMergeMetadata_saysTheSameTwice(t *testing.T) {
	value := rapid.OneOf(rapid.Just[any](nil), rapid.Map(rapid.String(), func(s string) any { return s }), rapid.Map(rapid.Bool(), func(b bool) any { return b }))
	object := rapid.MapOfN(rapid.StringMatching(`[a-d]`), value, 0, 5)
	rapid.Check(t, func(t *rapid.T) {
		first, patch := object.Draw(t, "old"), object.Draw(t, "patch")
		old, err := mergeMetadata(nil, first)
		if err != nil {
			t.Fatal(err)
		}
		once, err := mergeMetadata(old, patch)
		if err != nil {
			t.Fatal(err)
		}
		twice, err := mergeMetadata(once, patch)
		if err != nil || string(twice) != string(once) {
			t.Fatalf("once %s, twice %s, %v", once, twice, err)
		}
		want := map[string]any{}
		for _, m := range []map[string]any{first, patch} {
			for k, v := range m {
				want[k] = v
				if v == nil {
					delete(want, k)
				}
			}
		}
		if diff := cmp.Diff(want, decode(t, string(once))); diff != "" {
			t.Fatal(diff)
		}
	})
}
