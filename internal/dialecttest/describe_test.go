package dialecttest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const small = `
openapi: 3.0.3
info: {title: A test, version: "1"}
servers: [{url: /}, {url: /v1}, {url: "/of/{whom}", variables: {whom: {default: anna}}}]
x-not-built: ["/later/", "POST /soon"]
paths:
  /things/{id}:
    parameters:
      - {name: id, in: path, required: true, schema: {type: string, format: uuid}}
    get:
      parameters:
        - {name: size, in: query, schema: {type: integer}}
      responses:
        "200":
          description: A thing.
          headers:
            X-Count: {required: true, schema: {type: integer}}
          content:
            application/json:
              schema:
                type: object
                additionalProperties: false
                required: [id, at]
                properties:
                  id: {type: string, format: uuid}
                  at: {type: string, format: date-time}
                  note: {type: string}
                  list: {type: array, nullable: true, items: {type: integer}}
        "204": {description: None.}
    put:
      requestBody:
        required: true
        content:
          application/json:
            schema: {type: object, required: [note], properties: {note: {type: string}, more: {type: string}}}
      responses:
        "204": {description: Done.}
  /things/best:
    get:
      responses:
        "204": {description: Done.}
components:
  responses:
    BadRequest: {description: Bad.}
    NotFound:
      description: None.
      content:
        application/json:
          schema: {type: object, additionalProperties: false, required: [msg], properties: {msg: {type: string}}}
    Unprocessable: {description: Not now.}
`

const (
	aThing = "/things/0b0a0000-0000-4000-8000-00000000abcd"
	good   = `{"id":"0b0a0000-0000-4000-8000-00000000abcd","at":"2030-01-02T03:04:05.5Z"}`
)

func TestAnswer_tellsWhatIsNotAsDescribed(t *testing.T) {
	d, err := Describe([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		method, path string
		status       int
		header       string // of X-Count and Content-Type
		body         string
		wrong        string // part of the reason; empty: nothing is wrong
	}{
		"as described":         {"GET", aThing, 200, "1 application/json", good, ""},
		"with what may be":     {"GET", aThing, 200, "1 application/json", strings.Replace(good, "}", `,"note":"","list":[1]}`, 1), ""},
		"null where it may be": {"GET", aThing, 200, "1 application/json", strings.Replace(good, "}", `,"list":null}`, 1), ""},
		"below a prefix":       {"GET", "/v1" + aThing, 200, "1 application/json", good, ""},
		"below somebody's":     {"GET", "/of/bert" + aThing, 200, "1 application/json", good, ""},
		"the same, and wrong":  {"GET", "/of/bert" + aThing, 200, "1 application/json", "{}", `"id"`},
		"below two":            {"GET", "/of/bert/and" + aThing, 200, "1 application/json", good, "not described"},
		"a missing field":      {"GET", aThing, 200, "1 application/json", `{"at":"2030-01-02T03:04:05Z"}`, `"id"`},
		"the same, prefixed":   {"GET", "/v1" + aThing, 200, "1 application/json", `{"at":"2030-01-02T03:04:05Z"}`, `"id"`},
		"a field too many":     {"GET", aThing, 200, "1 application/json", strings.Replace(good, "}", `,"more":1}`, 1), "more"},
		"another type":         {"GET", aThing, 200, "1 application/json", strings.Replace(good, "}", `,"note":1}`, 1), "note"},
		"in a list":            {"GET", aThing, 200, "1 application/json", strings.Replace(good, "}", `,"list":["1"]}`, 1), "list"},
		"null for nothing":     {"GET", aThing, 200, "1 application/json", strings.Replace(good, "}", `,"note":null}`, 1), "note"},
		"an id that is none":   {"GET", aThing, 200, "1 application/json", `{"id":"7","at":"2030-01-02T03:04:05Z"}`, "id"},
		"a time elsewhere":     {"GET", aThing, 200, "1 application/json", strings.Replace(good, "Z", "+01:00", 1), "at"},
		"no JSON":              {"GET", aThing, 200, "1 application/json", "hello", "decode"},
		"another kind of body": {"GET", aThing, 200, "1 text/plain", "hello", "Content-Type"},
		"no header":            {"GET", aThing, 200, " application/json", good, "X-Count"},
		"a wrong header":       {"GET", aThing, 200, "one application/json", good, "X-Count"},
		"an unknown status":    {"GET", aThing, 418, "1 application/json", good, "status"},
		"a redirect":           {"GET", aThing, 301, " ", "", "301"},
		"not modified":         {"GET", aThing, 304, " ", "", "304"},
		"nothing":              {"GET", aThing, 204, " ", "", ""},
		"something":            {"GET", aThing, 204, " ", "x", "body"},
		"the nearer path":      {"GET", "/things/best", 204, " ", "", ""},
		"the nearer's status":  {"GET", "/things/best", 200, "1 application/json", good, "status"},
		"nobody's path":        {"GET", "/others", 200, " application/json", "{}", "not described"},
		"nobody's, refused":    {"GET", "/others", 404, " text/plain; charset=utf-8", "404 page not found", ""},
		"a refusal in JSON":    {"GET", "/others", 404, " application/json", "{}", "not described"},
		"another method":       {"POST", aThing, 200, " application/json", "{}", "not described"},
		"that is refused":      {"POST", aThing, 405, " text/plain; charset=utf-8", "Method Not Allowed", ""},
		"not built":            {"GET", "/later/or/never", 404, " application/json", `{"msg":"off"}`, ""},
		"not built, and works": {"POST", "/soon", 200, " application/json", `{}`, "status"},
		"not built, in words":  {"POST", "/soon", 404, " application/json", `{}`, "msg"},
		"a path to be cleaned": {"GET", "//others", 301, " text/html", "moved", ""},
	} {
		t.Run(name, func(t *testing.T) {
			count, kind, _ := strings.Cut(tc.header, " ")
			h := http.Header{}
			if count != "" {
				h.Set("X-Count", count)
			}
			if kind != "" {
				h.Set("Content-Type", kind)
			}
			err := d.Answer(httptest.NewRequest(tc.method, tc.path, nil), tc.status, h, []byte(tc.body))
			if (err != nil) != (tc.wrong != "") || err != nil && !strings.Contains(err.Error(), tc.wrong) {
				t.Errorf("Answer = %v, want it to say %q", err, tc.wrong)
			}
		})
	}
}

func TestRequest_tellsWhatIsNotAsDescribed(t *testing.T) {
	d, err := Describe([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		method, path, body string
		ok                 bool
	}{
		"as described":        {"GET", aThing + "?size=1", "", true},
		"a wrong parameter":   {"GET", aThing + "?size=many", "", false},
		"a wrong path":        {"GET", "/things/7", "", false},
		"a body":              {"PUT", "/v1" + aThing, `{"note":"x"}`, true},
		"a field of no name":  {"PUT", aThing, `{"note":"x","own":1}`, true},
		"null for left out":   {"PUT", aThing, `{"note":"x","more":null}`, true},
		"null for what must":  {"PUT", aThing, `{"note":null}`, false},
		"another type":        {"PUT", aThing, `{"note":5}`, false},
		"no body":             {"PUT", aThing, ``, false},
		"what nobody answers": {"GET", "/others", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			err := d.Request(httptest.NewRequest(tc.method, tc.path, strings.NewReader(tc.body)), []byte(tc.body))
			if (err == nil) != tc.ok {
				t.Errorf("Request = %v, want it right: %v", err, tc.ok)
			}
		})
	}
}

func TestDescribe_refusesADocumentThatIsNone(t *testing.T) {
	for name, change := range map[string]func(string) string{
		"no YAML":         func(s string) string { return s + "\n:" },
		"an unknown word": func(s string) string { return strings.Replace(s, "nullable", "nullible", 1) },
		"nothing to refer to": func(s string) string {
			return strings.Replace(s, "{type: integer}", `{$ref: "#/components/schemas/Gone"}`, 1)
		},
		"a parameter missing": func(s string) string { return strings.Replace(s, "/things/{id}", "/things/{name}", 1) },
	} {
		_, err := Describe([]byte(change(small)))
		if err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestChecked_failsTheTestAndPassesTheAnswerOn(t *testing.T) {
	d, err := Describe([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Own", "yes")
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write([]byte("tea"))
	})
	for path, fails := range map[string]bool{aThing: true, "/pages/": false} {
		var failed failure
		a := httptest.NewRecorder()
		d.Checked(&failed, h, "/pages/").ServeHTTP(a, httptest.NewRequest("GET", path, nil))
		if failed.failed != fails {
			t.Errorf("%s: the test failed: %v, want %v", path, failed.failed, fails)
		}
		if a.Code != http.StatusTeapot || a.Body.String() != "tea" || a.Header().Get("X-Own") != "yes" {
			t.Errorf("%s: passed on as %d %s %v", path, a.Code, a.Body, a.Header())
		}
	}
}

// failure is a test that has failed, or not.
type failure struct {
	testing.TB
	failed bool
}

func (f *failure) Errorf(string, ...any) { f.failed = true }
