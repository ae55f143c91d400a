package web

import (
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"gatehouse/internal/auth"
)

type body struct {
	Email string         `json:"email"`
	Data  map[string]any `json:"data"`
}

func parse(b, contentType string) (body, error) {
	var v body
	r := httptest.NewRequest("POST", "/", strings.NewReader(b))
	r.Header.Set("Content-Type", contentType)
	return v, Body(httptest.NewRecorder(), r, &v)
}

func TestBody_whatIsRefused(t *testing.T) {
	for b, want := range map[string]auth.Code{
		`{"email":"a"}`:                          "",
		` {"email":null,"unknown":[1]} ` + "\n":  "",
		`null`:                                   "",
		``:                                       auth.MalformedBody,
		`[]`:                                     auth.MalformedBody,
		`"x"`:                                    auth.MalformedBody,
		`{"email":1}`:                            auth.MalformedBody,
		`{"email":"a"}x`:                         auth.MalformedBody,
		`{"email":"a"}{}`:                        auth.MalformedBody,
		"\ufeff{}":                               auth.MalformedBody,
		"{\"email\":\"\xff\"}":                   auth.MalformedBody,
		`{"email":"a","email":"b"}`:              auth.MalformedBody,
		`{"email":"a","Email":"b"}`:              auth.MalformedBody,
		"{\"key\":1,\"\u212aey\":2}":             auth.MalformedBody, // the Kelvin sign is a k to the decoder
		`{"data":{"a":{"b":1,"b":2}}}`:           auth.MalformedBody,
		`{"data":{"a":1,"A":2,"b":{"a":1}}}`:     "", // what is in an object of the user's is theirs
		`{"data":{"a":[{"x":1},{"x":2}],"x":3}}`: "",
		`{"data":` + strings.Repeat(`[`, 31) + strings.Repeat(`]`, 31) + `}`:                auth.MalformedBody, // data is no array
		`{"data":{"a":` + strings.Repeat(`[`, 30) + strings.Repeat(`]`, 30) + `}}`:          "",
		`{"data":{"a":` + strings.Repeat(`[`, 31) + strings.Repeat(`]`, 31) + `}}`:          auth.MalformedBody,
		`{"data":{"a":"` + strings.Repeat(`[`, 99) + `\"` + strings.Repeat(`{`, 99) + `"}}`: "",
		`{"email":"` + strings.Repeat("a", MaxBody-12) + `"}`:                               "",
		`{"email":"` + strings.Repeat("a", MaxBody-11) + `"}`:                               auth.BodyTooLarge,
		`{"email":` + strings.Repeat(" ", MaxBody):                                          auth.BodyTooLarge,
	} {
		_, err := parse(b, "application/json")
		if err != nil {
			if auth.CodeOf(err) != want {
				t.Errorf("Body(%.60q) = %v, want %q", b, err, want)
			}
		} else if want != "" {
			t.Errorf("Body(%.60q) is taken, want %s", b, want)
		}
	}
}

func TestBody_keepsLargeNumbers(t *testing.T) {
	v, err := parse(`{"data":{"n":9007199254740993}}`, "")
	if err != nil {
		t.Fatal(err)
	}
	n, ok := v.Data["n"].(interface{ String() string })
	if !ok || n.String() != "9007199254740993" {
		t.Errorf("n = %v", v.Data["n"])
	}
}

func TestBody_saysWhatIsWrongAndRepeatsNothing(t *testing.T) {
	for _, b := range []string{`{"email":["geheim"]}`, `"geheim"`, `geheim`, `{"email":"geheim"`, `{"geheim":1,"geheim":2}`, `{"email":geheim}`} {
		_, err := parse(b, "")
		var e *auth.Error
		if !errors.As(err, &e) {
			t.Fatalf("Body(%s) = %v", b, err)
		}
		problem, _ := e.Params["problem"].(string)
		if problem == "" || strings.Contains(problem, "geheim") {
			t.Errorf("Body(%s) says %q", b, problem)
		}
	}
}

func TestBody_thatBreaksOffIsTheClientsFault(t *testing.T) {
	var v body
	err := Body(httptest.NewRecorder(), httptest.NewRequest("POST", "/", io.MultiReader(strings.NewReader("{"), iotest.ErrReader(io.ErrUnexpectedEOF))), &v)
	var e *auth.Error
	if !errors.As(err, &e) || e.Code != auth.MalformedBody || e.Params["problem"] == nil {
		t.Errorf("Body of half a body = %#v, want MalformedBody with a problem", err)
	}
}

func TestOptionalBody_mayBeMissing(t *testing.T) {
	for b, want := range map[string]auth.Code{"": "", " \n": "", "{}": "", "x": auth.MalformedBody, "[]": auth.MalformedBody} {
		var v body
		err := OptionalBody(httptest.NewRecorder(), httptest.NewRequest("DELETE", "/", strings.NewReader(b)), &v)
		if err == nil && want != "" || err != nil && auth.CodeOf(err) != want {
			t.Errorf("OptionalBody(%q) = %v, want %q", b, err, want)
		}
	}
}

func TestForm_whatIsRefused(t *testing.T) {
	for b, want := range map[string]auth.Code{
		"a=1&b=2": "", "": "", "a=%zz": auth.MalformedBody, "a=1;b=2": auth.MalformedBody, "a=" + strings.Repeat("b", MaxBody): auth.BodyTooLarge,
	} {
		r := httptest.NewRequest("POST", "/", strings.NewReader(b))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		err := Form(httptest.NewRecorder(), r)
		if err == nil && want != "" || err != nil && auth.CodeOf(err) != want {
			t.Errorf("Form(%.20q) = %v, want %q", b, err, want)
		}
	}
}

func TestIsForm_readsTheTypeAsTheStandardDoes(t *testing.T) {
	for ct, want := range map[string]bool{
		"application/x-www-form-urlencoded": true, "Application/X-WWW-Form-Urlencoded; charset=UTF-8": true,
		"application/json": false, "": false, "x-www-form-urlencoded": false, "text/plain; application/x-www-form-urlencoded": false,
		"multipart/form-data; boundary=x": false,
	} {
		r := httptest.NewRequest("POST", "/", nil)
		r.Header.Set("Content-Type", ct)
		if got := IsForm(r); got != want {
			t.Errorf("IsForm of %q = %v, want %v", ct, got, want)
		}
	}
}

func TestBearer_isTheCredentialOfThatSchemeAlone(t *testing.T) {
	for header, want := range map[string]string{
		"Bearer abc": "abc", "bearer  abc ": "abc", "BEARER abc": "abc", "": "", "Bearer": "", "Bearer ": "", "Basic abc": "", "abc": "",
		"Bearerabc": "", " Bearer abc": "", "Bearer\tabc": "", "Bearer a b": "a b",
	} {
		r := httptest.NewRequest("GET", "/?access_token=query", nil)
		r.Header["Authorization"] = []string{header}
		if got := Bearer(r); got != want {
			t.Errorf("Bearer of %q = %q, want %q", header, got, want)
		}
	}
}

func TestJSON_thatCannotBeWrittenSendsNothing(t *testing.T) {
	w := httptest.NewRecorder()
	err := JSON(w, 200, map[string]any{"a": 1, "b": math.NaN()})
	if err == nil || w.Body.Len() > 0 || len(w.Header()) > 0 {
		t.Errorf("JSON of what is none = %v, sent %q %v", err, w.Body, w.Header())
	}
}

func TestHandle_sendsTheErrorToTheEdge(t *testing.T) {
	var got error
	want := errors.New("x")
	h := Handle(func(http.ResponseWriter, *http.Request) error { return want }, func(_ http.ResponseWriter, _ *http.Request, err error) { got = err })
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	if !errors.Is(got, want) {
		t.Errorf("the edge is told %v, want %v", got, want)
	}
}
