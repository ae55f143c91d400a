package main

import (
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// flock is the canaries of a test: texts that occur nowhere else, by what they
// are.
type flock struct {
	mu  sync.Mutex // guards all
	all map[string]string
}

// let adds one and returns it.
func (f *flock) let(what, canary string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(canary) < 8 {
		panic("a canary that may be there by chance: " + what)
	}
	f.all[canary] = what
	return canary
}

// spellings are how a text may have been written on its way.
func spellings(v string) []string {
	j, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return []string{
		v, url.QueryEscape(v), url.PathEscape(v), string(j[1 : len(j)-1]), hex.EncodeToString([]byte(v)),
		base64.RawStdEncoding.EncodeToString([]byte(v)), base64.RawURLEncoding.EncodeToString([]byte(v)),
	}
}

// seen returns which canaries are in a text, and where.
func (f *flock) seen(text string, but ...string) (found []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	lower := strings.ToLower(text)
next:
	for canary, what := range f.all {
		for _, b := range but {
			if strings.HasPrefix(what, b) {
				continue next
			}
		}
		for _, v := range spellings(canary) {
			at := strings.Index(lower, strings.ToLower(v))
			if at >= 0 {
				found = append(found, fmt.Sprintf("%s: …%q", what, text[max(0, at-120):min(len(text), at+len(v)+20)]))
				break
			}
		}
	}
	return found
}

// aviary is a server that everything is watched of.
type aviary struct {
	*server
	flock
	collected *tape    // what its collector of traces got, uncompressed
	refusals  []string // bodies of all answers that are none
}

func newAviary(t *testing.T, settings ...string) *aviary {
	t.Helper()
	a := &aviary{flock: flock{all: map[string]string{}}, collected: newTape()}
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		in := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(r.Body)
			if err != nil {
				t.Error(err)
				return
			}
			in = z
		}
		b, err := io.ReadAll(in)
		if err != nil {
			t.Error(err)
		}
		_, _ = a.collected.Write(b)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(collector.Close)
	a.server = start(t, append([]string{
		"GATEHOUSE_LOG_LEVEL=debug", "GATEHOUSE_METRICS_ENABLED=true", "GATEHOUSE_METRICS_PORT=0", "GATEHOUSE_PROFILER_ENABLED=true", "GATEHOUSE_PROFILER_PORT=0",
		"GATEHOUSE_TRACING_ENABLED=true", "OTEL_EXPORTER_OTLP_ENDPOINT=" + collector.URL, "OTEL_EXPORTER_OTLP_HEADERS=key=" + a.let("key of the collector", "canary-collector-key"),
		"GATEHOUSE_TRACING_SERVICE_NAME=canary-control-traces", "GATEHOUSE_API_REQUEST_ID_HEADER=X-Request-Id",
		"GATEHOUSE_OPERATOR_TOKEN=" + a.let("operator token", "canary-operator-token-5f1e"),
		"GATEHOUSE_MASTER_KEY=" + a.let("master key", "Y2FuYXJ5LW1hc3Rlci1rZXktMzItYnl0ZXMtbG9uZyE="),
		"GATEHOUSE_JWT_SECRET=" + a.let("secret of the tokens", "canary-jwt-secret-0123456789abcdefghij"),
		"GOTRUE_MAILER_OTP_LENGTH=10", "GOTRUE_SMS_OTP_LENGTH=10", "GOTRUE_SMTP_MAX_FREQUENCY=0s", "GOTRUE_SMS_MAX_FREQUENCY=0s",
		"GOTRUE_EXTERNAL_ANONYMOUS_USERS_ENABLED=true",
	}, settings...)...)
	return a
}

const canaryOperator = "canary-operator-token-5f1e"

// try makes a request whatever the answer, and keeps what is said to whom it
// refuses.
func (a *aviary) try(method, path string, body any, headers ...string) answer {
	a.t.Helper()
	got, err := a.ask(method, path, body, headers...)
	if err != nil {
		a.t.Fatal(err)
	}
	if got.status >= 400 {
		a.refusals = append(a.refusals, fmt.Sprintf("%d %s", got.status, got.body))
	}
	return got
}

// tokens lets the tokens of a grant go.
func (a *aviary) tokens(g answer) (access, refresh string) {
	a.t.Helper()
	access, refresh = g.text("access_token"), g.text("refresh_token")
	if access == "" || refresh == "" {
		a.t.Fatalf("no grant, after %d refusals: %d %s", len(a.refusals), g.status, g.body)
	}
	a.let("refresh token", refresh)
	a.let("access token", access)
	parts := strings.Split(access, ".")
	a.let("access token, its claims", parts[1])
	a.let("access token, its signature", parts[2])
	return access, refresh
}

var linkToken = regexp.MustCompile(`(?:token|token_hash|code)=([A-Za-z0-9_.-]{12,})`)

// post makes a request, waits for the message it causes, and lets the code and
// the tokens in that go.
func (a *aviary) post(to, path string, body object, headers ...string) (code string) {
	a.t.Helper()
	a.delivered()
	before := len(a.inbox(to))
	method := "POST"
	if path == "/user" {
		method = "PUT"
	}
	a.try(method, path, body, headers...)
	m := a.mail(to, before+1)
	for _, link := range m.Links {
		for _, found := range linkToken.FindAllStringSubmatch(link, -1) {
			a.let("token of a link", found[1])
		}
	}
	if m.Code != "" {
		a.let("code", m.Code)
	}
	return m.Code
}

// live does all that people and attackers do, with canaries.
func (a *aviary) live() {
	a.t.Helper()
	op := bearer(canaryOperator)
	pw := a.let("password", "canary Password-7c3d!")
	wrong := a.let("wrong password", "canary Wrong-91ab!")
	mail := a.let("address", "canary.ada@example.com")
	other := a.let("address of another", "canary.eve@example.org")
	phone := "+491701230987"
	a.let("number", phone[1:])

	// Sign-up, and the ways it fails.
	a.post(mail, "/signup", object{"email": mail, "password": pw, "data": object{"note": "canary-control-database"}})
	code := a.post(mail, "/signup", object{"email": mail, "password": pw})
	a.try("POST", "/signup", object{"email": a.let("no address", "canary.not an address"), "password": pw})
	a.try("POST", "/signup", object{"email": other, "password": "a"})
	a.try("POST", "/token?grant_type=password", object{"email": mail, "password": pw})
	a.try("POST", "/verify", object{"type": "signup", "email": mail, "token": a.let("wrong code", "0987654321")})
	a.tokens(a.try("POST", "/verify", object{"type": "signup", "email": mail, "token": code}))
	a.try("POST", "/verify", object{"type": "signup", "email": mail, "token": code})

	// Sign-in, refresh, and their ways to fail.
	a.try("POST", "/token?grant_type=password", object{"email": mail, "password": wrong})
	a.try("POST", "/token?grant_type=password", object{"email": other, "password": pw})
	a.try("POST", "/token", url.Values{"grant_type": {"password"}, "username": {mail}, "password": {wrong}})
	access, refresh := a.tokens(a.try("POST", "/token?grant_type=password", object{"email": mail, "password": pw}))
	_, next := a.tokens(a.try("POST", "/token?grant_type=refresh_token", object{"refresh_token": refresh}))
	a.try("POST", "/token?grant_type=refresh_token", object{"refresh_token": a.let("forged refresh token", "canary-forged-refresh-token")})
	a.try("POST", "/token?grant_type=refresh_token", url.Values{"refresh_token": {next}})
	a.try("GET", "/user", nil, bearer(access))
	a.try("GET", "/user", nil, bearer(access+"x"))
	a.try("GET", "/user", nil, bearer(a.let("forged access token", "canary.forged.access")))
	a.try("GET", "/user?access_token="+url.QueryEscape(access), nil, "Cookie: nf_jwt="+access, "apikey: "+a.let("key of a client", "canary-api-key"))

	// Everything that is mailed.
	code = a.post(mail, "/recover", object{"email": mail})
	a.try("POST", "/recover", object{"email": other})
	a.tokens(a.try("POST", "/verify", object{"type": "recovery", "email": mail, "token": code}))
	code = a.post(mail, "/otp", object{"email": mail})
	access, _ = a.tokens(a.try("POST", "/verify", object{"type": "magiclink", "email": mail, "token": code}))
	a.try("GET", "/verify?type=magiclink&token="+a.let("forged link", "canary-forged-link-token")+"&redirect_to=https://canary-site.example/"+a.let("target", "canary-target"), nil)
	a.try("GET", "/verify?type=recovery&token="+url.QueryEscape(code)+"&email="+url.QueryEscape(mail), nil)
	a.try("PUT", "/user", object{"password": a.let("new password", "canary New-Password-2b8f!")}, bearer(access))
	a.post("canary.new@example.net", "/user", object{"email": a.let("new address", "canary.new@example.net")}, bearer(access))
	a.try("POST", "/resend", object{"type": "email_change", "email": "canary.new@example.net"})
	a.try("GET", "/reauthenticate", nil, bearer(access))

	// By telephone.
	code = a.post(phone, "/otp", object{"phone": phone})
	a.try("POST", "/verify", object{"type": "sms", "phone": phone, "token": "0987654321"})
	a.tokens(a.try("POST", "/verify", object{"type": "sms", "phone": phone, "token": code}))
	a.try("POST", "/signup", object{"phone": a.let("no number", "+49170canary"), "password": pw})

	// Operators.
	a.post(other, "/invite", object{"email": other}, op)
	id := a.try("POST", "/admin/users", object{"email": a.let("address of an operator's", "canary.made@example.com"), "password": a.let("password by an operator", "canary Made-55aa!"), "email_confirm": true}, op).text("id")
	link := a.try("POST", "/admin/generate_link", object{"type": "magiclink", "email": "canary.made@example.com"}, op)
	for _, key := range []string{"email_otp", "hashed_token"} {
		a.let(key+" of an operator's link", link.text(key))
	}
	a.try("GET", "/admin/users?filter=canary.made", nil, op)
	a.try("PUT", "/admin/users/"+id, object{"password": "x"}, op)
	a.try("GET", "/admin/users/"+url.PathEscape(mail), nil, op)
	a.try("GET", "/admin/users", nil, bearer(a.let("forged operator token", "canary-forged-operator")))
	a.try("DELETE", "/admin/users/"+id, nil, op)

	// Bad bodies, paths and headers.
	for _, body := range []string{
		`{"email":"` + mail + `","password":"` + pw + `"`, `{"email":["` + mail + `"],"password":{"` + pw + `":1}}`, `{"` + pw + `":1,"` + pw + `":2}`,
		pw, `"` + pw + `"`, `{"email":"` + mail + `","password":"` + pw + "\xff\"}",
	} {
		for _, path := range []string{"/signup", "/token?grant_type=password", "/verify", "/recover", "/otp"} {
			a.try("POST", path, body)
		}
	}
	a.try("POST", "/token?grant_type="+url.QueryEscape(pw), object{})
	a.try("POST", "/verify", object{"type": pw, "token": pw})
	a.try("GET", "/"+url.PathEscape(mail), nil)
	a.try("GET", "/canary/"+url.PathEscape(pw), nil)
	a.try("GET", "/settings", nil, "Authorization: "+pw, "traceparent: 00-"+strings.Repeat("ab", 16)+"-"+strings.Repeat("cd", 8)+"-01", "tracestate: canary="+a.let("state of a trace", "canary-trace-state"), "baggage: x="+a.let("baggage", "canary-baggage"))
	a.try("GET", "/settings", nil, "X-Request-Id: canary-control-log")
	a.try("POST", "/logout", nil, bearer(access))
	a.try("GET", "/user", nil, bearer(access))
}

// said is everything a server has told anybody but those who may know, by where.
func (a *aviary) said() map[string]string {
	a.t.Helper()
	metrics, profiles := a.served("metrics"), a.served("profiles")
	said := map[string]string{
		"standard output": a.out.String(),
		"metrics":         a.do(200, "GET", metrics+"/metrics", nil).body,
	}
	for _, path := range []string{"", "goroutine?debug=2", "cmdline", "symbol", "threadcreate?debug=1", "mutex?debug=1"} {
		said["profile "+path] = a.do(200, "GET", profiles+"/debug/pprof/"+path, nil).body
	}
	a.delivered()
	err := a.stop() // the last spans, and all of the database's files
	if err != nil {
		a.t.Error(err)
	}
	said["log"], said["traces"] = a.log.String(), a.collected.String()
	for i, body := range a.refusals {
		said[fmt.Sprintf("refusal %d", i)] = body
	}
	return said
}

// stored is every byte the server left on disk.
func (a *aviary) stored() string {
	a.t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(a.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all.Write(b)
		return err
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return all.String()
}

// Whatever people and attackers send, and whatever they are handed, is told to
// nobody else: not in the log at its most talkative, not in metrics, traces,
// profiles or refusals; and what opens doors is not on disk.
func TestCanary_noSecretLeavesTheHouse(t *testing.T) {
	t.Parallel()
	a := newAviary(t, phoneSettings()...)
	a.live()
	a.live2xx()
	said := a.said()
	for where, text := range said {
		for _, found := range a.seen(text) {
			t.Errorf("%s tells the %s", where, found)
		}
	}
	// People's addresses and numbers are what a database is for.
	for _, found := range a.seen(a.stored(), "address", "number", "new address") {
		t.Errorf("on disk is the %s", found)
	}

	// The net catches what is there.
	a.all = map[string]string{}
	a.let("control of the log", "canary-control-log")
	a.let("control of the traces", "canary-control-traces")
	a.let("control of the database", "canary-control-database")
	a.let("control of the metrics", "gatehouse_events_total")
	for where, want := range map[string]string{"log": "control of the log", "traces": "control of the traces", "metrics": "control of the metrics"} {
		if found := a.seen(said[where]); len(found) != 1 || !strings.HasPrefix(found[0], want) {
			t.Errorf("in the %s the control is not found: %v", where, found)
		}
	}
	if found := a.seen(a.stored()); len(found) != 1 || !strings.HasPrefix(found[0], "control of the database") {
		t.Errorf("on disk the control is not found: %v", found)
	}
	for _, spelled := range spellings("canary-control-log é/&") {
		a.all = map[string]string{"canary-control-log é/&": "spelling"}
		if len(a.seen("x "+spelled+" y")) != 1 {
			t.Errorf("the spelling %q is not found", spelled)
		}
	}
}

// live2xx makes sure that the canaries lived: had all requests been refused,
// nothing would have been told either.
func (a *aviary) live2xx() {
	a.t.Helper()
	kinds := map[string]int{}
	for _, what := range a.all {
		kinds[what]++
	}
	for what, least := range map[string]int{"access token": 5, "refresh token": 6, "code": 5, "token of a link": 4, "hashed_token of an operator's link": 1} {
		if kinds[what] < least {
			a.t.Errorf("only %d of the kind %q", kinds[what], what)
		}
	}
	if len(a.refusals) < 40 {
		a.t.Errorf("only %d refusals", len(a.refusals))
	}
}

// A mail server that refuses what it is told, and one that is not there, are
// where passwords for them end up in a log.
func TestCanary_thePasswordForTheMailServerIsNotTold(t *testing.T) {
	t.Parallel()
	m := listenMail(t, false) // which knows no way to sign in
	a := newAviary(t, m.settings("GOTRUE_SMTP_USER=canary-mail-user", "GOTRUE_SMTP_PASS=canary-smtp-password-31c7")...)
	a.let("password for mail", "canary-smtp-password-31c7")
	mail := a.let("address", "canary.ada@example.com")
	a.try("POST", "/signup", object{"email": mail, "password": a.let("password", "canary Password-7c3d!")})
	_, err := a.log.await(`outbox: (.*)`, a.ended)
	if err != nil {
		t.Fatalf("%v\n%s", err, a.log)
	}
	err = a.stop()
	if err != nil {
		t.Error(err)
	}
	for where, text := range map[string]string{"log": a.log.String(), "standard output": a.out.String(), "traces": a.collected.String()} {
		for _, found := range a.seen(text) {
			t.Errorf("%s tells the %s", where, found)
		}
	}
	for _, found := range a.seen(a.stored(), "address") {
		t.Errorf("on disk is the %s", found)
	}
}
