package dialecttest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBody_differsWhereTheAnswerDoes(t *testing.T) {
	for name, tc := range map[string]struct {
		want, got string
		same      bool
	}{
		"the order of keys":         {`{"a":1,"b":2}`, `{"b":2,"a":1}`, true},
		"a key too many":            {`{"a":1}`, `{"a":1,"b":2}`, false},
		"a key too few":             {`{"a":1,"b":2}`, `{"a":1}`, false},
		"another value":             {`{"a":1}`, `{"a":2}`, false},
		"a number for a text":       {`{"a":"1"}`, `{"a":1}`, false},
		"a large number, by digits": {`{"a":9007199254740993}`, `{"a":9007199254740992}`, false},
		"null for nothing":          {`{}`, `{"a":null}`, false},
		"a masked id":               {`{"a":"<uuid>"}`, `{"a":"0b0a0000-0000-4000-8000-00000000abcd"}`, true},
		"a masked id that is none":  {`{"a":"<uuid>"}`, `{"a":"0b0a"}`, false},
		"a masked object":           {`{"a":"<any>"}`, `{"a":{"b":[1]}}`, true},
		"a masked number":           {`{"a":"<number>"}`, `{"a":12}`, true},
		"a text for a number":       {`{"a":"<number>"}`, `{"a":"12"}`, false},
		"a mask inside a text":      {`{"a":"in <number> seconds"}`, `{"a":"in 60 seconds"}`, true},
		"an element too many":       {`[1]`, `[1,2]`, false},
		"a kept value":              {`{"a":"$known"}`, `{"a":"yes"}`, true},
		"not the kept value":        {`{"a":"$known"}`, `{"a":"no"}`, false},
		"nothing written down":      {``, `{}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			v := vars{"known": "yes"}
			got, err := v.body(tc.want, []byte(tc.got), true)
			if err != nil {
				t.Fatal(err)
			}
			if (got == tc.want) != tc.same {
				t.Errorf("body(%s, %s) = %s, taken for the same: %v, want %v", tc.want, tc.got, got, got == tc.want, tc.same)
			}
		})
	}
}

func TestBody_refusesAKeyThatComesTwice(t *testing.T) {
	_, err := vars{}.body(`{"a":1}`, []byte(`{"a":1,"a":1}`), true)
	if err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("body with a key twice: %v, want an error that says so", err)
	}
}

func TestText_keepsWhatAMaskNames(t *testing.T) {
	v := vars{"host": "app.example"}
	got := v.text("https://$host/#token=<jwt:access>&n=<number>", "https://app.example/#token=a.b.c&n=7")
	if want := "https://$host/#token=<jwt:access>&n=<number>"; got != want {
		t.Fatalf("text = %q, want %q", got, want)
	}
	if diff := cmp.Diff(vars{"host": "app.example", "access": "a.b.c"}, v); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
}
