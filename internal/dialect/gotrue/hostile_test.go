package gotrue_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// route is a call with a body, and a body that would do.
type route struct {
	method, path string
	who          string // "", user or admin
	body         string // right, in JSON
	fields       string // name:type of every field it reads
	unset        bool   // an empty object is right, too
	bodiless     bool   // no body is right, too
}

const (
	asPKCE  = " code_challenge:string code_challenge_method:string"
	asHuman = " gotrue_meta_security:object"
	asAdmin = "id:string aud:string role:string email:string phone:string password:string password_hash:string email_confirm:bool confirm:bool phone_confirm:bool" +
		" user_metadata:object data:object app_metadata:object ban_duration:string"
)

// routes are the calls that read a body as JSON. $id is a user, $session the
// session that asks.
var routes = []route{
	{"POST", "/signup", "", `{"email":"new@example.com","password":"correct horse"}`, "email:string phone:string password:string data:object channel:string" + asPKCE + asHuman, false, false},
	{"POST", "/signup", "", `{"phone":"4915112345678","password":"correct horse"}`, "email:string password:string data:object channel:string" + asPKCE + asHuman, false, false},
	{"POST", "/token?grant_type=password", "", `{"email":"anna@example.com","password":"correct horse"}`, "email:string phone:string password:string" + asHuman, false, false},
	{"POST", "/token?grant_type=password", "", `{"phone":"4915112345678","password":"correct horse"}`, "email:string phone:string password:string" + asHuman, false, false},
	{"POST", "/token?grant_type=refresh_token", "", `{"refresh_token":"x"}`, "refresh_token:string", false, false},
	{"POST", "/token?grant_type=pkce", "", `{"auth_code":"x","code_verifier":"y"}`, "auth_code:string code_verifier:string", false, false},
	{"POST", "/verify", "", `{"type":"email","email":"anna@example.com","token":"123456"}`, "type:string token:string token_hash:string email:string phone:string password:string", false, false},
	{"POST", "/verify", "", `{"type":"sms","phone":"4915112345678","token":"123456"}`, "type:string token:string token_hash:string email:string phone:string password:string", false, false},
	{"POST", "/recover", "", `{"email":"anna@example.com"}`, "email:string" + asPKCE + asHuman, false, false},
	{"POST", "/resend", "", `{"type":"signup","email":"anna@example.com"}`, "type:string email:string phone:string" + asPKCE + asHuman, false, false},
	{"POST", "/otp", "", `{"email":"new@example.com"}`, "email:string phone:string create_user:bool data:object channel:string" + asPKCE + asHuman, false, false},
	{"POST", "/otp", "", `{"phone":"4915112345678"}`, "email:string phone:string create_user:bool data:object channel:string" + asPKCE + asHuman, false, false},
	{"POST", "/resend", "", `{"type":"sms","phone":"4915112345678"}`, "type:string email:string phone:string" + asPKCE + asHuman, false, false},
	{"POST", "/magiclink", "", `{"email":"new@example.com"}`, "email:string data:object" + asPKCE + asHuman, false, false},
	{"PUT", "/user", "user", `{"data":{"a":1}}`, "email:string phone:string password:string nonce:string current_password:string data:object app_metadata:object email_change_token:string channel:string" + asPKCE, true, false},
	{"PATCH", "/sessions/$session", "user", `{"name":"At home"}`, "name:string", false, false},
	{"POST", "/invite", "admin", `{"email":"new@example.com"}`, "email:string data:object", false, false},
	{"POST", "/admin/users", "admin", `{"email":"new@example.com"}`, asAdmin, false, false},
	{"PUT", "/admin/users/$id", "admin", `{"role":"editor"}`, asAdmin, true, false},
	{"DELETE", "/admin/users/$id", "admin", `{"should_soft_delete":true}`, "should_soft_delete:bool", true, true},
	{"POST", "/admin/generate_link", "admin", `{"type":"invite","email":"new@example.com"}`, "type:string email:string new_email:string password:string data:object redirect_to:string", false, false},
}

// everythingOpen lets the bodies of routes in by every way, but for anonymous
// users, whose sign-up is an empty object.
func everythingOpen(s *setup) { s.limits, s.policy.PhoneDisabled = false, false }

// hostile are bodies no route may take, whatever their type says.
var hostile = map[string]string{
	"a word":                 `hello`,
	"an array":               `[]`,
	"an array of objects":    `[{"email":"new@example.com","password":"correct horse"}]`,
	"a text":                 `"x"`,
	"a number":               `5`,
	"a truth":                `true`,
	"half an object":         `{"email":`,
	"an object not closed":   `{"email":"new@example.com"`,
	"a bare key":             `{email:"new@example.com"}`,
	"single quotes":          `{'email':'new@example.com'}`,
	"a comment":              `{"email":"new@example.com"/**/}`,
	"a comma too many":       `{"email":"new@example.com",}`,
	"two objects":            `{"email":"new@example.com","password":"correct horse"}{"email":"second@example.com"}`,
	"words after the object": `{"email":"new@example.com","password":"correct horse"} and more`,
	"a byte order mark":      "\ufeff" + `{"email":"new@example.com","password":"correct horse"}`,
	"UTF-16":                 "\xff\xfe{\x00}\x00",
	"broken UTF-8":           "{\"email\":\"new@example.com\",\"password\":\"correct \xff\xfe horse\"}",
	"an overlong slash":      "{\"email\":\"new@example.com\",\"data\":{\"a\":\"\xc0\xaf\"}}",
	"a NUL":                  "{\"email\":\"new@example.com\",\"password\":\"a\x00bcdefgh\"}",
	"a NUL after all":        "{\"email\":\"new@example.com\"}\x00",
	"a control character":    "{\"email\":\"new@example.com\",\"password\":\"a\nbcdefgh\"}",
	"a key twice":            `{"email":"anna@example.com","email":"new@example.com","password":"correct horse","type":"invite"}`,
	"a key in two cases":     `{"email":"anna@example.com","EMAIL":"new@example.com","password":"correct horse","type":"invite"}`,
	"a key under a long s":   `{"email":"new@example.com","password":"correct horse","pa` + "\u017f\u017f" + `word":"other horse","type":"invite"}`,
	"a key twice, deep down": `{"email":"new@example.com","password":"correct horse","data":{"a":[{"b":1,"b":2}]},"type":"invite"}`,
	"33 levels":              `{"data":` + strings.Repeat(`[`, 32) + strings.Repeat(`]`, 32) + `}`,
	"100,000 levels":         strings.Repeat(`{"data":`, 100_000),
	"a bad escape":           `{"email":"\q"}`,
	"hexadecimal":            `{"email":0x41}`,
	"not a number":           `{"email":NaN}`,
	"a form":                 `email=new%40example.com&password=correct+horse&type=invite`,
	"a form of many parts":   "--x\r\nContent-Disposition: form-data; name=\"email\"\r\n\r\nnew@example.com\r\n--x--",
	"XML":                    `<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>`,
}

// wrong are values of the types that a field of a type is not.
var wrong = map[string][]string{
	"string": {`5`, `true`, `[]`, `["a"]`, `{}`, `{"$ne":""}`, `1e999`, `-0`},
	"bool":   {`"true"`, `1`, `[]`, `{}`},
	"object": {`"{}"`, `5`, `true`, `[]`, `[["a",1]]`},
}

// headersFor returns what a call of a route needs, and its path.
func (h *house) call(r route, id string) (path string, headers []string) {
	switch r.who {
	case "user":
		access, _ := h.signIn("anna@example.com")
		return r.at(h, id, access), []string{bearer(access)}
	case "admin":
		headers = append(headers, bearer(h.Policy().OperatorToken))
	}
	return r.at(h, id, ""), headers
}

// at is the path of a route, for a user and their access token.
func (r route) at(h *house, id, access string) string {
	path := strings.ReplaceAll(r.path, "$id", id)
	if strings.Contains(path, "$session") {
		session, _ := claims(h.t, access)["session_id"].(string)
		path = strings.ReplaceAll(path, "$session", session)
	}
	return path
}

// refused checks the answer to a request that must not have worked.
func refused(t testing.TB, name string, a answer, status int) {
	t.Helper()
	if status != 0 && a.Code != status || a.Code < 400 || a.Code >= 500 {
		t.Errorf("%s: status %d, want %d (0: any 4xx): %s", name, a.Code, status, a.Body)
		return
	}
	code, msg := a.text("error_code"), a.text("msg")
	if a.JSON == nil || code == "" || msg == "" || a.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%s: the answer is no JSON with a code and a text: %s", name, a.Body)
	}
}

// Bad input is a 4xx with a reason, never a 5xx, and leaves no trace.
func TestBody_hostileOnesAreRefusedAndMakeNobody(t *testing.T) {
	t.Parallel()
	h := newHouse(t, everythingOpen)
	id := h.newUser("anna@example.com").String()
	before := h.Count(t)
	for _, r := range routes {
		path, headers := h.call(r, id)
		send := func(body string, more ...string) answer {
			return h.do(r.method, path, body, append(slices.Clone(headers), more...)...)
		}
		for name, body := range hostile {
			refused(t, r.method+" "+r.path+": "+name, send(body, "Content-Type: application/json"), http.StatusBadRequest)
		}
		refused(t, r.path+": a form called JSON", send("email=new%40example.com", "Content-Type: application/json"), http.StatusBadRequest)
		refused(t, r.path+": words", send("new@example.com", "Content-Type: text/plain"), http.StatusBadRequest)
		refused(t, r.path+": words of no type", send("new@example.com"), http.StatusBadRequest)
		refused(t, r.path+": 1 MiB and a byte", send(`{"data":{"a":"`+strings.Repeat("a", 1<<20)+`"}}`), http.StatusRequestEntityTooLarge)
		if !r.bodiless {
			refused(t, r.path+": nothing", send(""), http.StatusBadRequest)
			refused(t, r.path+": blanks", send(" \r\n\t "), http.StatusBadRequest)
		}
		if !r.unset {
			refused(t, r.path+": an empty object", send("{}"), 0)
			refused(t, r.path+": null", send("null"), 0)
		}
		if got := h.Count(t); got != before {
			t.Fatalf("%s %s: there are %d users now, want %d", r.method, r.path, got, before)
		}
	}
}

// No more than a few large bodies are in memory at one time.
func TestBody_aLargeOneThatFindsNoPlaceIsToldToComeAgain(t *testing.T) {
	t.Parallel()
	places := make(chan struct{}, 1)
	h := newHouse(t, func(s *setup) { s.server.Large = places })
	places <- struct{}{} // somebody else's
	over, cancel := context.WithCancel(t.Context())
	cancel() // the time of the request
	signUp := func(email string, filler int) *http.Request {
		body := `{"email":"` + email + `","password":"correct horse","x":"` + strings.Repeat("x", filler) + `"}`
		return newRequest("POST", "/signup", strings.NewReader(body), "Content-Type: application/json")
	}
	a := h.send(signUp("anna@example.com", 64<<10).WithContext(over))
	refused(t, "a large body", a, http.StatusTooManyRequests)
	if a.Header().Get("Retry-After") == "" {
		t.Error("it is not told when to come again")
	}
	if a := h.send(signUp("bob@example.com", 60<<10)); a.Code != http.StatusOK {
		t.Errorf("a small body meanwhile: %d %s", a.Code, a.Body)
	}
	<-places
	if a := h.send(signUp("anna@example.com", 64<<10)); a.Code != http.StatusOK || len(places) != 0 {
		t.Errorf("the large one, later: %d with %d places taken: %s", a.Code, len(places), a.Body)
	}
}

func TestBody_aFieldOfAnotherTypeIsRefusedAndMakesNobody(t *testing.T) {
	t.Parallel()
	h := newHouse(t, everythingOpen)
	id := h.newUser("anna@example.com").String()
	before := h.Count(t)
	for _, r := range routes {
		path, headers := h.call(r, id)
		for _, f := range strings.Fields(r.fields) {
			field, kind, _ := strings.Cut(f, ":")
			for _, value := range wrong[kind] {
				body := with(t, r.body, field, value)
				refused(t, fmt.Sprintf("%s %s with %s", r.method, r.path, body), h.do(r.method, path, body, headers...), http.StatusBadRequest)
			}
		}
		if got := h.Count(t); got != before {
			t.Fatalf("%s %s: there are %d users now, want %d", r.method, r.path, got, before)
		}
	}
}

// with sets a field of a JSON object.
func with(t *testing.T, body, field, value string) string {
	t.Helper()
	m := map[string]json.RawMessage{}
	err := json.Unmarshal([]byte(body), &m)
	if err != nil {
		t.Fatal(err)
	}
	m[field] = json.RawMessage(value)
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, ",%q:%s", k, m[k])
	}
	return "{" + b.String()[1:] + "}"
}

// Clients send null for what they leave out, on every field of every call.
func TestBody_nullIsTheSameAsLeftOut(t *testing.T) {
	t.Parallel()
	for _, r := range routes {
		t.Run(r.method+" "+r.path, func(t *testing.T) {
			t.Parallel()
			plain, nulls := outcome(t, r, r.body), r.body
			m := map[string]any{}
			err := json.Unmarshal([]byte(r.body), &m)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range strings.Fields(r.fields) {
				field, _, _ := strings.Cut(f, ":")
				if _, there := m[field]; !there {
					nulls = with(t, nulls, field, "null")
				}
			}
			if got := outcome(t, r, nulls); got != plain {
				t.Errorf("%s\nanswers %s\nwant    %s", nulls, got, plain)
			}
		})
	}
}

// outcome sends a body to a fresh house and returns status and error.
func outcome(t *testing.T, r route, body string) string {
	t.Helper()
	h := newHouse(t, everythingOpen)
	path, headers := h.call(r, h.newUser("anna@example.com").String())
	a := h.do(r.method, path, body, headers...)
	return fmt.Sprintf("%d %s", a.Code, a.text("msg"))
}

func TestBody_whatIsOddButRightIsKept(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(s *setup) { s.policy.Autoconfirm = true })
	data := `{"big":123456789012345678901234567890,"huge":1e400,"nul":"\u0000","emoji":"😀","deep":` +
		strings.Repeat(`[`, 29) + strings.Repeat(`]`, 29) + `,"<script>":"{{.Token}} ' OR 1=1 --","":""}`
	a := h.must(http.StatusOK, "POST", "/signup", `{"email":"o'hara+%_@example.com","password":"\u0000 pässwörd 😀","data":`+data+`}`)
	var got struct {
		UserMetadata json.RawMessage `json:"user_metadata"`
	}
	err := json.Unmarshal(h.must(http.StatusOK, "GET", "/user", "", bearer(a.text("access_token"))).Body.Bytes(), &got)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"123456789012345678901234567890", "1e400", `"nul":"\u0000"`, "😀", "OR 1=1"} {
		if !bytes.Contains(got.UserMetadata, []byte(want)) {
			t.Errorf("user_metadata = %s, want it to hold %s", got.UserMetadata, want)
		}
	}
	h.must(http.StatusOK, "POST", "/token?grant_type=password", `{"email":"O'HARA+%_@example.com","password":"\u0000 pässwörd 😀"}`)
	refused(t, "the password cut at NUL", h.do("POST", "/token?grant_type=password", `{"email":"o'hara+%_@example.com","password":"\u0000"}`), http.StatusBadRequest)
}

// FuzzRequest: no body of no type makes any route fail on our side, and what
// is refused makes nobody.
func FuzzRequest(f *testing.F) {
	seed := 0
	for _, r := range routes {
		f.Add(uint8(seed), r.body, "application/json", "")
		seed++
	}
	for _, body := range hostile {
		if len(body) < 1000 {
			f.Add(uint8(seed), body, "application/json", "")
			f.Add(uint8(seed), body, "application/x-www-form-urlencoded", "netlify")
			seed++
		}
	}
	f.Add(uint8(1), "grant_type=password&username=%ff&password=%00", "application/x-www-form-urlencoded; charset=latin1", "netlify")
	f.Add(uint8(4), "token=%00&type=magiclink&redirect_to=javascript:alert(1)", "application/x-www-form-urlencoded", "")
	f.Add(uint8(1), "%zz", "application/x-www-form-urlencoded;;", "2024-01-01")
	f.Fuzz(func(t *testing.T, n uint8, body, contentType, version string) {
		h := newHouse(t, everythingOpen)
		id := h.newUser("anna@example.com").String()
		r := routes[int(n)%len(routes)]
		path, headers := h.call(r, id)
		req := newRequest(r.method, path, strings.NewReader(body), headers...)
		req.Header.Set("Content-Type", contentType)
		switch version {
		case "netlify":
			req.Header.Set("X-Nf-Client", "fuzz")
		default:
			req.Header.Set("X-Supabase-Api-Version", version)
		}
		before := h.Count(t)
		a := h.send(req)
		if a.Code >= 500 || a.Code < 200 {
			t.Fatalf("%s %s with %q = %d %s", r.method, r.path, body, a.Code, a.Body)
		}
		if !utf8.Valid(a.Body.Bytes()) || a.Code != http.StatusSeeOther && !json.Valid(a.Body.Bytes()) {
			t.Fatalf("%s %s with %q answers %q, want JSON", r.method, r.path, body, a.Body)
		}
		if got := h.Count(t); a.Code >= 300 && got != before {
			t.Fatalf("%s %s with %q was refused (%d), and there are %d users now, want %d", r.method, r.path, body, a.Code, got, before)
		}
	})
}
