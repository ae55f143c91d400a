// Package web is the HTTP all edges share: handlers that may fail, bodies,
// JSON, the caller, redirect targets, cross-origin answers, and one wide log
// line a request. Begin with Handle and Server.
//
// It knows no wire format of any client and decides nothing about users.
package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"gatehouse/internal/auth"
)

// MaxBody is the most a request body may hold, in bytes.
const MaxBody = 1 << 20

const (
	maxDepth  = 32       // of nested JSON
	maxKeys   = 1000     // of all objects of a body together
	maxValues = 10_000   // of a body
	maxFields = 100      // of a form
	smallish  = 64 << 10 // bytes; of larger bodies only a few are held at one time
)

// Func is a handler that may fail.
type Func func(w http.ResponseWriter, r *http.Request) error

// Handle adapts f, sending its error to fail, which writes it in the words of
// its edge.
func Handle(f Func, fail func(http.ResponseWriter, *http.Request, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		LineOf(r).route(r)
		err := f(w, r)
		if err != nil {
			LineOf(r).failed(err)
			fail(w, r, err)
		}
	})
}

// Body decodes a JSON body into v. null for a field is the same as leaving it
// out; unknown fields are passed over; nothing may follow the value.
//
// Codes: MalformedBody, BodyTooLarge.
func Body(w http.ResponseWriter, r *http.Request, v any) error {
	return readJSON(w, r, v, false)
}

// OptionalBody is Body for calls that some clients make without one.
func OptionalBody(w http.ResponseWriter, r *http.Request, v any) error {
	return readJSON(w, r, v, true)
}

func readJSON(w http.ResponseWriter, r *http.Request, v any, optional bool) error {
	b, done, err := read(w, r)
	defer done()
	if err != nil || optional && len(bytes.TrimSpace(b)) == 0 {
		return err
	}
	return decode(b, v)
}

// read reads a body. One that is larger than any client's needs one of a few
// places, until done: a thousand of 1 MiB at once would fill the memory.
func read(w http.ResponseWriter, r *http.Request) (b []byte, done func(), err error) {
	done = func() {}
	if r.ContentLength > MaxBody {
		return nil, done, &auth.Error{Code: auth.BodyTooLarge}
	}
	all := http.MaxBytesReader(w, r.Body, MaxBody)
	b, err = io.ReadAll(io.LimitReader(all, smallish))
	if err == nil && len(b) == smallish {
		done, err = LineOf(r).largeBody(r.Context())
		if err != nil {
			return nil, func() {}, err
		}
		// Grown step by step it would leave several times its size behind.
		whole := bytes.NewBuffer(make([]byte, 0, max(r.ContentLength, smallish)+bytes.MinRead))
		whole.Write(b)
		_, err = whole.ReadFrom(all)
		b = whole.Bytes()
	}
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, done, &auth.Error{Code: auth.BodyTooLarge, Err: err}
	}
	var ours *auth.Error
	if errors.As(err, &ours) { // a Valve's
		return nil, done, ours
	}
	if err != nil {
		return nil, done, &auth.Error{Code: auth.MalformedBody, Err: err, Params: map[string]any{"problem": "the body cannot be read"}}
	}
	return b, done, nil
}

func decode(b []byte, v any) error {
	if !utf8.Valid(b) { // the decoder would make one character of all broken ones, and one password of many
		return malformed(errors.New("it is not UTF-8"))
	}
	err := shape(b)
	if err != nil {
		return malformed(err)
	}
	if repeats(b) {
		return malformed(errors.New("a key comes twice"))
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber() // large integers in metadata must survive
	err = d.Decode(v)
	if err != nil {
		return malformed(err)
	}
	_, err = d.Token()
	if !errors.Is(err, io.EOF) {
		return malformed(errors.New("data after the value"))
	}
	return nil
}

// malformed tells the client where its JSON is wrong, in words of our own: a
// decoder's may repeat values.
func malformed(err error) error {
	problem := err.Error()
	var kind *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, io.EOF):
		problem = "the body is empty"
	case errors.Is(err, io.ErrUnexpectedEOF):
		problem = "the body ends too early"
	case errors.As(err, &kind) && kind.Field == "":
		problem = "the body must be an object, not " + kind.Value
	case errors.As(err, &kind):
		problem = fmt.Sprintf("%s must be of another type than %s", fieldName(kind.Field), kind.Value)
	case errors.As(err, &syntax):
		problem = fmt.Sprintf("invalid JSON at byte %d", syntax.Offset)
	}
	return &auth.Error{Code: auth.MalformedBody, Params: map[string]any{"problem": problem}}
}

// fieldName is a field as the client calls it: the decoder also names the structs
// of ours that it is in, which no key is written like.
func fieldName(path string) string {
	parts := slices.DeleteFunc(strings.Split(path, "."), func(part string) bool { return part != strings.ToLower(part) })
	return strings.Join(parts, ".")
}

// shape refuses JSON that would cost more to hold than its bytes say, before
// any of it is held. It looks at punctuation outside strings only; whether the
// text is JSON at all is for the decoder.
func shape(b []byte) error {
	depth, keys, values, quoted := 0, 0, 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		case c == ':':
			keys++
		case c == ',':
			values++
		}
		switch {
		case depth > maxDepth:
			return fmt.Errorf("nested deeper than %d", maxDepth)
		case keys > maxKeys:
			return fmt.Errorf("more than %d keys", maxKeys)
		case values > maxValues:
			return fmt.Errorf("more than %d values", maxValues)
		}
	}
	return nil
}

// repeats reports whether a key comes twice in one object (RFC 8259 §4): a filter
// in front that reads the first one would let pass what we read in the second.
// The keys of the outermost object are compared as the decoder matches them to
// fields, whatever their case. Of what is no JSON it tells nothing.
func repeats(b []byte) bool {
	type object struct {
		keys map[string]bool // nil: an array
		key  bool            // a key comes next
	}
	var open []object
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	for {
		t, err := d.Token()
		if err != nil {
			return false
		}
		n := len(open) - 1
		switch {
		case t == json.Delim('}') || t == json.Delim(']'):
			open = open[:n]
			continue
		case n >= 0 && open[n].key:
			key, _ := t.(string)
			if n == 0 {
				key = strings.ToLower(strings.ToUpper(key)) // so that the long s and the Kelvin sign fold, too
			}
			if open[n].keys[key] {
				return true
			}
			open[n].keys[key], open[n].key = true, false
			continue
		case n >= 0 && open[n].keys != nil:
			open[n].key = true // after this value
		}
		switch t {
		case json.Delim('{'):
			open = append(open, object{keys: map[string]bool{}, key: true})
		case json.Delim('['):
			open = append(open, object{})
		}
	}
}

// IsForm reports whether the body is form-encoded.
func IsForm(r *http.Request) bool {
	t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && t == "application/x-www-form-urlencoded"
}

// Form parses a form-encoded body.
//
// Codes: MalformedBody, BodyTooLarge.
func Form(w http.ResponseWriter, r *http.Request) error {
	b, done, err := read(w, r)
	defer done()
	if err != nil {
		return err
	}
	if bytes.Count(b, []byte("&")) >= maxFields {
		return malformed(fmt.Errorf("more than %d fields", maxFields))
	}
	r.Body = io.NopCloser(bytes.NewReader(b))
	err = r.ParseForm()
	if err != nil {
		return &auth.Error{Code: auth.MalformedBody, Params: map[string]any{"problem": "the form cannot be read"}}
	}
	return nil
}

// JSON writes v. It is encoded before the status is sent, so that a failure
// leaves no half answer.
func JSON(w http.ResponseWriter, status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("web: answer: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store") // RFC 6749 §5.1
	}
	h.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // a client that is gone cannot be told
	return nil
}

// Bearer returns the credential of an Authorization header of that scheme
// (RFC 6750 §2.1), or "". It is never read from a query.
func Bearer(r *http.Request) string {
	scheme, cred, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(cred)
}
