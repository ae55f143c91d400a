package dialecttest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// Description is what an API is said to be, an OpenAPI document, to hold
// requests and answers against.
type Description struct {
	doc      *openapi3.T
	mux      *http.ServeMux // so that of two paths the one wins that wins at the server
	routes   map[string]*routers.Route
	prefixes []*regexp.Regexp // of the servers' paths
	options  *openapi3filter.Options
}

// offPaths names the list of patterns that answer with an error because what
// they are for is not built.
const offPaths = "x-not-built"

// variables are those of a server's path, once it is quoted.
var variables = regexp.MustCompile(`\\\{[^}]*\\\}`)

// Describe reads an OpenAPI document.
func Describe(yaml []byte) (*Description, error) {
	doc, err := openapi3.NewLoader().LoadFromData(yaml)
	if err != nil {
		return nil, fmt.Errorf("the description: %w", err)
	}
	formats := openapi3.WithStringFormatValidators(map[string]openapi3.StringFormatValidator{
		"uuid": openapi3.NewRegexpFormatValidator(`^` + masks["uuid"] + `$`), "date-time": openapi3.NewRegexpFormatValidator(`^` + masks["time"] + `$`),
	})
	err = doc.Validate(context.Background())
	if err != nil {
		return nil, fmt.Errorf("the description: %w", err)
	}
	d := &Description{
		doc: doc, mux: http.NewServeMux(), routes: map[string]*routers.Route{},
		options: &openapi3filter.Options{
			IncludeResponseStatus: true, SkipSettingDefaults: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
			SchemaValidationOptions: []openapi3.SchemaValidationOption{formats},
		},
	}
	for _, s := range doc.Servers {
		if prefix := strings.TrimSuffix(s.URL, "/"); prefix != "" {
			d.prefixes = append(d.prefixes, regexp.MustCompile("^"+variables.ReplaceAllString(regexp.QuoteMeta(prefix), "[^/]+")+"/"))
		}
	}
	for p, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			pattern := method + " " + p
			if p == "/" {
				pattern += "{$}" // or it would be every path's
			}
			d.add(pattern, &routers.Route{Spec: doc, Path: p, PathItem: item, Method: method, Operation: op})
		}
	}
	for _, p := range d.NotBuilt() {
		d.add(p, &routers.Route{Spec: doc, Path: p, PathItem: &openapi3.PathItem{}, Operation: d.switchedOff()})
	}
	return d, nil
}

func (d *Description) add(pattern string, r *routers.Route) {
	d.routes[pattern] = r
	d.mux.Handle(pattern, http.NotFoundHandler())
}

// switchedOff is what may be answered where nothing is built.
func (d *Description) switchedOff() *openapi3.Operation {
	op := openapi3.NewOperation()
	op.Responses = openapi3.NewResponsesWithCapacity(3)
	for status, name := range map[string]string{"400": "BadRequest", "404": "NotFound", "422": "Unprocessable"} {
		op.Responses.Set(status, d.doc.Components.Responses[name])
	}
	return op
}

// Patterns returns the calls that are described, as http.ServeMux has them.
func (d *Description) Patterns() []string {
	var list []string
	for p, r := range d.routes {
		if r.Method != "" {
			list = append(list, p)
		}
	}
	return list
}

// NotBuilt returns the patterns of what is said to be not built.
func (d *Description) NotBuilt() []string {
	var list []string
	all, _ := d.doc.Extensions[offPaths].([]any)
	for _, p := range all {
		list = append(list, fmt.Sprint(p))
	}
	return list
}

// Enum returns the values that a schema of the description allows.
func (d *Description) Enum(schema string) []string {
	s := d.doc.Components.Schemas[schema]
	if s == nil {
		return nil
	}
	var list []string
	for _, v := range s.Value.Enum {
		list = append(list, fmt.Sprint(v))
	}
	return list
}

// Checked returns a handler that passes everything on to next and holds each
// answer against the description. elsewhere are beginnings of paths that are
// none of the API's.
func (d *Description) Checked(t testing.TB, next http.Handler, elsewhere ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := httptest.NewRecorder()
		next.ServeHTTP(a, r)
		res := a.Result()
		for k, v := range res.Header {
			w.Header()[k] = v
		}
		w.WriteHeader(res.StatusCode)
		_, _ = w.Write(a.Body.Bytes())
		for _, p := range elsewhere {
			if strings.HasPrefix(r.URL.Path, p) {
				return
			}
		}
		err := d.Answer(r, res.StatusCode, res.Header, a.Body.Bytes())
		if err != nil {
			t.Errorf("%s %s: the answer is not as api/openapi.yaml describes it: %v\n%d %v\n%s", r.Method, r.URL.Path, err, res.StatusCode, res.Header, a.Body)
		}
	})
}

// Answer holds an answer against the description.
func (d *Description) Answer(r *http.Request, status int, header http.Header, body []byte) error {
	if preflight(r) || path.Clean(r.URL.Path) != r.URL.Path {
		return nil // answered before any route
	}
	in, err := d.input(r)
	if err != nil {
		if status == http.StatusMethodNotAllowed || status == http.StatusNotFound && !strings.Contains(header.Get("Content-Type"), "json") {
			return nil // the router's own words
		}
		return err
	}
	err = openapi3filter.ValidateResponse(r.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: status, Header: header, Body: io.NopCloser(bytes.NewReader(body)), Options: d.options,
	})
	if err != nil {
		return err
	}
	described := in.Route.Operation.Responses.Status(status)
	if described == nil {
		return fmt.Errorf("the status %d is not described", status) // kin-openapi passes some redirects over
	}
	if len(described.Value.Content) == 0 && len(body) > 0 {
		return errors.New("there is a body, and none is described")
	}
	return nil
}

// Request holds a request that was answered well against the description. Of
// one that is not described at all Answer tells.
func (d *Description) Request(r *http.Request, body []byte) error {
	in, err := d.input(r)
	if err != nil {
		return nil
	}
	r = r.Clone(r.Context())
	in.Request = r
	form := strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded")
	if !form && len(body) > 0 {
		r.Header.Set("Content-Type", "application/json") // the server does not look at it
		body = withoutNulls(body)
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return openapi3filter.ValidateRequest(r.Context(), in)
}

// input finds the call that a request makes.
func (d *Description) input(r *http.Request) (*openapi3filter.RequestValidationInput, error) {
	plain := r.Clone(r.Context())
	for _, p := range d.prefixes {
		if found := p.FindString(r.URL.Path); found != "" {
			plain.URL.Path, plain.URL.RawPath = r.URL.Path[len(found)-1:], ""
			break
		}
	}
	_, pattern := d.mux.Handler(plain)
	route := d.routes[pattern]
	if route == nil {
		return nil, fmt.Errorf("%s %s is not described", r.Method, plain.URL.Path)
	}
	values := map[string]string{}
	segments := strings.Split(plain.URL.Path, "/")
	for i, s := range strings.Split(route.Path, "/") {
		if name, ok := strings.CutPrefix(s, "{"); ok && i < len(segments) {
			values[strings.TrimSuffix(name, "}")] = segments[i]
		}
	}
	return &openapi3filter.RequestValidationInput{Request: r, PathParams: values, Route: route, Options: d.options}, nil
}

func preflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""
}

// withoutNulls leaves out the fields of an object that are null, which is the
// same to the server.
func withoutNulls(body []byte) []byte {
	m := map[string]json.RawMessage{}
	err := json.Unmarshal(body, &m)
	if err != nil {
		return body
	}
	for k, v := range m {
		if string(v) == "null" {
			delete(m, k)
		}
	}
	b, err := json.Marshal(m)
	if err != nil {
		return body
	}
	return b
}
