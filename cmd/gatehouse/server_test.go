package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"html"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gatehouse/internal/notify"
)

// patience is how long a test waits for what must come. It is never waited
// for when all is well.
const patience = 30 * time.Second

// operator is the operator token of servers under test.
const operator = "operator-token-of-the-tests"

// tape keeps what a server says, and lets a test wait for it.
type tape struct {
	mu    sync.Mutex
	b     bytes.Buffer
	grown chan struct{} // closed, and made anew, by every write
}

func newTape() *tape { return &tape{grown: make(chan struct{})} }

func (p *tape) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.grown)
	p.grown = make(chan struct{})
	return p.b.Write(b)
}

func (p *tape) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.String()
}

// await returns the first group of pattern once it was said, or an error when
// the speaker ended before.
func (p *tape) await(pattern string, ended <-chan struct{}) (string, error) {
	re := regexp.MustCompile(pattern)
	late := time.After(patience)
	for last := false; ; {
		p.mu.Lock()
		m, grown := re.FindStringSubmatch(p.b.String()), p.grown
		p.mu.Unlock()
		switch {
		case m != nil:
			return m[len(m)-1], nil
		case last:
			return "", errors.New("it ended without saying " + pattern)
		}
		select {
		case <-grown:
		case <-ended:
			last = true
		case <-late:
			return "", errors.New("it never said " + pattern)
		}
	}
}

// server is a Gatehouse under test.
type server struct {
	t        *testing.T
	url      string // where it listens, by its own word
	dir      string // its working folder
	db       database
	out, log *tape
	http     *http.Client
	ended    chan struct{} // closed when it has ended
	err      error         // how; not before ended
	end      func()        // asks it to end, as SIGTERM does
	pid      int           // of a real process
}

// testSettings are those of every server under test, below those of the test:
// any free port, and passwords that are cheap to hash.
func testSettings(own []string) []string {
	return append([]string{
		"GATEHOUSE_PORT=0", "GATEHOUSE_PASSWORD_HASH_MEMORY=64", "GATEHOUSE_PASSWORD_HASH_TIME=1",
		"GATEHOUSE_OPERATOR_TOKEN=" + operator,
	}, own...)
}

// start runs a server in this process.
func start(t *testing.T, settings ...string) *server {
	t.Helper()
	return startIn(t, t.TempDir(), settings...)
}

// startIn is start in a working folder that is there already.
func startIn(t *testing.T, dir string, settings ...string) *server {
	t.Helper()
	return boot(t, dir, testSettings(settings))
}

// boot is startIn with exactly these settings.
func boot(t *testing.T, dir string, environ []string) *server {
	t.Helper()
	return launch(t, dir, environ).listening()
}

// launch is boot that does not wait; listening does.
func launch(t *testing.T, dir string, environ []string) *server {
	ctx, cancel := context.WithCancel(context.Background())
	s := newServer(t, dir, environ)
	s.end = cancel
	go func() {
		defer close(s.ended)
		s.err = run(ctx, nil, env{environ: environ, dir: dir, in: strings.NewReader(""), out: s.out, err: s.log})
	}()
	return s
}

// spawn runs a server as a process of its own.
func spawn(t *testing.T, dir string, settings ...string) *server {
	t.Helper()
	s := newServer(t, dir, settings)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := &exec.Cmd{Path: exe, Args: []string{"gatehouse"}, Dir: dir, Env: append(testSettings(settings), "GORACE=atexit_sleep_ms=0"), Stdout: s.out, Stderr: s.log}
	err = cmd.Start()
	if err != nil {
		t.Fatal(err)
	}
	s.pid = cmd.Process.Pid
	s.end = func() { _ = cmd.Process.Signal(syscall.SIGTERM) } // it may have ended already
	go func() {
		defer close(s.ended)
		s.err = cmd.Wait()
	}()
	return s.listening()
}

func newServer(t *testing.T, dir string, environ []string) *server {
	return &server{
		t: t, dir: dir, db: databaseOf(dir, environ), out: newTape(), log: newTape(), ended: make(chan struct{}),
		http: &http.Client{
			Transport:     &http.Transport{MaxIdleConnsPerHost: 100},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Timeout:       patience,
		},
	}
}

func (s *server) listening() *server {
	s.t.Helper()
	s.t.Cleanup(func() { _ = s.stop() })
	var err error
	s.url, err = s.out.await(`is listening on (\S+)`, s.ended)
	if err != nil {
		s.t.Fatalf("%v\n%s", err, s.log)
	}
	return s
}

// stop ends the server and returns what run did.
func (s *server) stop() error {
	s.http.CloseIdleConnections()
	s.end()
	select {
	case <-s.ended:
		return s.err
	case <-time.After(patience):
		return errors.New("it does not end")
	}
}

// kill ends a process without a word.
func (s *server) kill() {
	s.t.Helper()
	err := syscall.Kill(s.pid, syscall.SIGKILL)
	if err != nil {
		s.t.Fatal(err)
	}
	<-s.ended
	s.http.CloseIdleConnections()
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// at returns what a JSON answer holds below the keys, nil if nothing.
func (a answer) at(keys ...string) any {
	var v any
	if json.Unmarshal([]byte(a.body), &v) != nil {
		return nil
	}
	for _, k := range keys {
		m, _ := v.(map[string]any)
		v = m[k]
	}
	return v
}

// text is at for strings.
func (a answer) text(keys ...string) string {
	s, _ := a.at(keys...).(string)
	return s
}

// object is the body of a JSON request.
type object = map[string]any

// ask makes a request. body is an object, a form (url.Values), a text, or nil;
// headers are "Name: value".
func (s *server) ask(method, path string, body any, headers ...string) (answer, error) {
	var in io.Reader
	kind := "application/json"
	switch b := body.(type) {
	case nil:
	case url.Values:
		in, kind = strings.NewReader(b.Encode()), "application/x-www-form-urlencoded"
	case string:
		in = strings.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			return answer{}, err
		}
		in = bytes.NewReader(text)
	}
	if strings.HasPrefix(path, "/") {
		path = s.url + path
	}
	r, err := http.NewRequest(method, path, in)
	if err != nil {
		return answer{}, err
	}
	if in != nil {
		r.Header.Set("Content-Type", kind)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			r.Host = value
			continue
		}
		r.Header.Set(name, value)
	}
	res, err := s.http.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(text)}, err
}

// do is ask that ends the test unless the answer has the status.
func (s *server) do(status int, method, path string, body any, headers ...string) answer {
	s.t.Helper()
	a, err := s.ask(method, path, body, headers...)
	if err != nil {
		s.t.Fatal(err)
	}
	if a.status != status {
		s.t.Fatalf("%s %s: got %d, want %d: %s", method, path, a.status, status, a.body)
	}
	return a
}

func bearer(token string) string { return "Authorization: Bearer " + token }

// password is everybody's, unless a test says otherwise.
const password = "correct horse battery"

// person makes a confirmed user and returns their id.
func (s *server) person(email string) string {
	s.t.Helper()
	return s.do(200, "POST", "/admin/users", object{"email": email, "password": password, "email_confirm": true}, bearer(operator)).text("id")
}

// signIn opens a session.
func (s *server) signIn(email, password string) answer {
	s.t.Helper()
	return s.do(200, "POST", "/token?grant_type=password", object{"email": email, "password": password})
}

// refuseSignIn fails the test if a session opens; it returns the refusal.
func (s *server) refuseSignIn(status int, email, password string) answer {
	s.t.Helper()
	return s.do(status, "POST", "/token?grant_type=password", object{"email": email, "password": password})
}

// refresh trades a refresh token.
func (s *server) refresh(status int, token string) answer {
	s.t.Helper()
	return s.do(status, "POST", "/token?grant_type=refresh_token", object{"refresh_token": token})
}

// until waits for what other processes and jobs bring about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("it never happened: " + what)
		}
	}
}

// inbox returns the mails to an address, newest first.
func (s *server) inbox(to string) []notify.Received {
	s.t.Helper()
	var mails []notify.Received
	a := s.do(200, "GET", "/dev/inbox.json?to="+url.QueryEscape(to), nil)
	err := json.Unmarshal([]byte(a.body), &mails)
	if err != nil {
		s.t.Fatal(err)
	}
	return mails
}

// mail waits for the n-th mail to an address.
func (s *server) mail(to string, n int) notify.Received {
	s.t.Helper()
	var mails []notify.Received
	until(s.t, "mail to "+to, func() bool {
		mails = s.inbox(to)
		return len(mails) >= n
	})
	return mails[0]
}

// delivered waits until no mail waits any more.
func (s *server) delivered() {
	s.t.Helper()
	until(s.t, "an empty outbox", func() bool { return s.sql(`SELECT count(*) FROM outbox WHERE dead_at = 0`) == "0" })
}

var hidden = regexp.MustCompile(`<input type="hidden" name="(\w+)" value="([^"]*)">`)

// form returns the hidden fields of a page.
func form(page string) url.Values {
	v := url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(page, -1) {
		v.Set(m[1], html.UnescapeString(m[2]))
	}
	return v
}

// follow opens a mailed link in place of a browser, presses the button of its
// page, and returns where that leads and what the fragment says.
func (s *server) follow(link string) (target string, said url.Values) {
	s.t.Helper()
	page := s.do(200, "GET", link, nil, "Accept: text/html")
	fields := form(page.body)
	if fields.Get("token") == "" {
		s.t.Fatalf("the page of %s has no form: %s", link, page.body)
	}
	return s.location(s.do(303, "POST", link, fields, "Origin: "+s.url, "Sec-Fetch-Site: same-origin"))
}

// location parts the target of a redirect from its fragment.
func (s *server) location(a answer) (target string, said url.Values) {
	s.t.Helper()
	target, fragment, _ := strings.Cut(a.header.Get("Location"), "#")
	said, err := url.ParseQuery(fragment)
	if err != nil {
		s.t.Fatal(err)
	}
	return target, said
}

// now is the present as the database keeps it.
func (s *server) now() string { return micros(time.Now()) }
