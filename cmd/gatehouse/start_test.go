package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// serveOnce runs a server that is expected to refuse, and returns why.
func serveOnce(t *testing.T, dir string, environ ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out := newTape()
	err := run(ctx, nil, env{environ: environ, dir: dir, in: strings.NewReader(""), out: out, err: newTape()})
	if err == nil {
		t.Fatal("the server ran, and was to refuse")
	}
	if out.String() != "" {
		t.Errorf("a server that refuses printed %q", out)
	}
	return err.Error()
}

func TestServe_withoutSettingsPrintsAllANewcomerNeeds(t *testing.T) {
	dir := t.TempDir()
	s := boot(t, dir, []string{"PORT=0"})
	if !strings.HasPrefix(s.url, "http://127.0.0.1:") {
		t.Errorf("it listens on %s, want a loopback address", s.url)
	}
	banner := s.out.String()
	for _, want := range []string{"curl ", s.url + "/signup", s.url + "/dev/inbox", s.url + "/setup?token=", "works once, for 30 minutes"} {
		if !strings.Contains(banner, want) {
			t.Errorf("the banner has no %q:\n%s", want, banner)
		}
	}
	err := onlyOurs(filepath.Join(dir, "gatehouse-data"))
	if err != nil {
		t.Error(err)
	}

	// The printed line is run as a newcomer would.
	line, err := s.out.await(`(curl .*)`, s.ended)
	if err != nil {
		t.Fatal(err)
	}
	_, err = exec.LookPath("curl")
	if err != nil {
		t.Fatal("this test runs the printed curl line: install curl")
	}
	said, err := exec.Command("sh", "-c", line).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, said)
	}
	a := answer{body: string(said)}
	if a.text("email") != "you@example.com" || a.text("confirmation_sent_at") == "" {
		t.Errorf("the curl line was answered %s", said)
	}
	if m := s.mail("you@example.com", 1); len(m.Links) == 0 || m.Code == "" {
		t.Errorf("its mail is %+v, want a link and a code", m)
	}
	page := s.do(200, "GET", "/dev/inbox", nil)
	if !strings.Contains(page.body, "you@example.com") {
		t.Errorf("the inbox page does not show the mail: %s", page.body)
	}
	err = s.stop()
	if err != nil {
		t.Fatalf("it ended with %v", err)
	}
	// Whoever copies the file has everything.
	left, err := filepath.Glob(filepath.Join(dir, "gatehouse-data", "gatehouse.db*"))
	if err != nil || len(left) != 1 {
		t.Errorf("after the end there are %v, want one file", left)
	}
}

func TestServe_leavesNothingBehind(t *testing.T) {
	before := goleak.IgnoreCurrent()
	s := start(t)
	s.do(200, "POST", "/signup", object{"email": "ada@example.com", "password": password})
	s.mail("ada@example.com", 1)
	err := s.stop()
	if err != nil {
		t.Fatal(err)
	}
	goleak.VerifyNone(t, before)
}

func TestServe_theInboxIsShownToNobodyElse(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, header := range []string{"X-Forwarded-For: 203.0.113.9", "Forwarded: for=203.0.113.9", "Via: 1.1 proxy"} {
		s.do(404, "GET", "/dev/inbox", nil, header)
		s.do(404, "GET", "/dev/inbox.json", nil, header)
	}
	// A page elsewhere whose name leads here: DNS rebinding.
	r, err := http.NewRequest(http.MethodGet, s.url+"/dev/inbox.json", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "evil.example"
	res, err := s.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusNotFound {
		t.Errorf("the inbox under another name: got %d, want 404", res.StatusCode)
	}
}

func TestSetup_makesTheFirstAdministratorOnce(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t *testing.T, d database) {
		dir := t.TempDir()
		s := startIn(t, dir, d.settings()...)
		link, err := s.out.await(`(http\S+/setup\?token=\S+)`, s.ended)
		if err != nil {
			t.Fatal(err)
		}
		fields := form(s.do(200, "GET", link, nil).body)
		fields.Set("email", "root@example.com")

		// A slip spends nothing.
		fields.Set("password", "abc")
		if a := s.do(422, "POST", "/setup", fields); !strings.Contains(a.body, "at least 6 characters") {
			t.Errorf("a weak password is answered %s", a.body)
		}
		fields.Set("password", password)
		s.do(400, "POST", "/setup", fields, "Sec-Fetch-Site: cross-site")
		s.do(200, "POST", "/setup", fields)

		// They may do what an administrator may, and the link is dead.
		access := s.signIn("root@example.com", password).text("access_token")
		users := s.do(200, "GET", "/admin/users", nil, bearer(access))
		if list, _ := users.at("users").([]any); len(list) != 1 {
			t.Errorf("the list of users is %s", users.body)
		}
		s.do(403, "GET", link, nil)
		fields.Set("email", "second@example.com")
		s.do(403, "POST", "/setup", fields)
		s.refuseSignIn(400, "second@example.com", password)

		// The next start offers no link.
		err = s.stop()
		if err != nil {
			t.Fatal(err)
		}
		s = startIn(t, dir, d.settings()...)
		if strings.Contains(s.out.String(), "setup") {
			t.Errorf("a second administrator is offered: %s", s.out)
		}
	})
}

func TestServe_refusesToListenEverywhereWithoutMail(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	got := serveOnce(t, dir, "GATEHOUSE_API_HOST=0.0.0.0", "PORT=0")
	want := "GATEHOUSE_API_HOST: listening on 0.0.0.0 needs a mail server; set SMTP_HOST, or GATEHOUSE_MAIL=none to send no mail, or listen on 127.0.0.1"
	if !strings.Contains(got, want) {
		t.Errorf("got %q, want it to say %q", got, want)
	}
	_, err := os.Stat(filepath.Join(dir, "gatehouse-data"))
	if err == nil {
		t.Error("a server that refuses made a data folder")
	}

	// By the operator's word it listens, and has no inbox to show.
	s := start(t, "GATEHOUSE_API_HOST=0.0.0.0", "GATEHOUSE_MAIL=none")
	if strings.Contains(s.out.String(), "inbox") {
		t.Errorf("the banner speaks of an inbox: %s", s.out)
	}
	_, port, err := net.SplitHostPort(strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	s.url = "http://127.0.0.1:" + port
	s.do(200, "GET", "/health", nil)
	s.do(404, "GET", "/dev/inbox", nil)
	s.do(404, "GET", "/dev/inbox.json", nil)
	s.do(200, "POST", "/signup", object{"email": "ada@example.com", "password": password})
	s.delivered() // to nobody; nothing piles up
}

func TestServe_aPortInUseSaysWhatToDo(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	got := serveOnce(t, t.TempDir(), "PORT="+port)
	for _, want := range []string{"127.0.0.1:" + port, "address already in use", "is another server running? GATEHOUSE_PORT sets the port, 0 any free one"} {
		if !strings.Contains(got, want) {
			t.Errorf("got %q, want it to say %q", got, want)
		}
	}
}

func TestServe_warnsWithoutRateLimits(t *testing.T) {
	t.Parallel()
	s := start(t, "GATEHOUSE_RATE_LIMITS=off", "GATEHOUSE_SMTP_HOTS=mail.example.com")
	for _, want := range []string{
		"warning: GATEHOUSE_RATE_LIMITS: no limits: passwords and codes can be guessed without end; set it to on, except in tests\n",
		"warning: GATEHOUSE_SMTP_HOTS: there is no such setting, ignored; did you mean GATEHOUSE_SMTP_HOST?\n",
	} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("the log has no %q: %s", want, s.log)
		}
	}
}

func TestServe_SIGTERMLetsASignInFinish(t *testing.T) {
	t.Parallel()
	s := spawn(t, t.TempDir())
	s.person("ada@example.com")

	// The server says «continue» when the request is under way and waits for its
	// body. Only then it is told to end, and only then it gets the password.
	body, more := io.Pipe()
	under := make(chan struct{})
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{Got100Continue: func() { close(under) }})
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/token?grant_type=password", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Expect", "100-continue")
	s.http.Transport.(*http.Transport).ExpectContinueTimeout = patience
	go func() {
		<-under
		s.end()
		_, err := s.log.await(`stopping`, s.ended)
		if err != nil {
			more.CloseWithError(err)
			return
		}
		io.WriteString(more, `{"email":"ada@example.com","password":"`+password+`"}`)
		more.Close()
	}()
	res, err := s.http.Do(r)
	if err != nil {
		t.Fatalf("%v\n%s", err, s.log)
	}
	text, err := io.ReadAll(res.Body)
	res.Body.Close()
	a := answer{body: string(text)}
	if err != nil || res.StatusCode != http.StatusOK || a.text("refresh_token") == "" {
		t.Errorf("the sign-in under way got %d, %v: %s", res.StatusCode, err, text)
	}
	<-s.ended
	if s.err != nil {
		t.Errorf("the process ended with %v, want exit code 0", s.err)
	}
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err == nil {
		c.Close()
		t.Error("somebody still listens")
	}
}

// A client that sends a byte now and then would hold a connection for ever
// (slow loris).
func TestServe_cutsOffHeadersThatDrip(t *testing.T) {
	t.Parallel()
	s := start(t)
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = io.WriteString(c, "GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	if err != nil {
		t.Fatal(err)
	}
	cut := make(chan struct{})
	dripping := make(chan struct{})
	go func() {
		defer close(dripping)
		drop := time.NewTicker(100 * time.Millisecond)
		defer drop.Stop()
		for {
			select {
			case <-drop.C:
				_, err := io.WriteString(c, "z")
				if err != nil {
					return
				}
			case <-cut:
				return
			}
		}
	}()
	const soon = 12 * time.Second // the limit for headers is 5 s, that for all of a request 15 s
	c.SetReadDeadline(time.Now().Add(soon))
	answered, err := io.ReadAll(c)
	close(cut)
	<-dripping
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		t.Fatalf("still connected after %s", soon)
	}
	if strings.Contains(string(answered), "GoTrue") {
		t.Errorf("it was answered %q", answered)
	}
}

func TestServe_refusesWhatIsTooLarge(t *testing.T) {
	t.Parallel()
	s := start(t)
	long := `{"email":"ada@example.com","password":"` + strings.Repeat("x", 1<<20) + `"}`
	s.do(413, "POST", "/signup", long)
	s.do(413, "POST", "/setup", url.Values{"token": {strings.Repeat("x", 1<<20)}})
	s.do(431, "GET", "/health", nil, "X-Long: "+strings.Repeat("x", 80<<10))
	a := s.do(400, "POST", "/signup", `{"data":`+strings.Repeat("[", 10000)+strings.Repeat("]", 10000)+`}`)
	if a.text("error_code") != "bad_json" {
		t.Errorf("deep JSON is answered %s", a.body)
	}
	if got := s.do(200, "GET", "/admin/users", nil, bearer(operator)).header.Get("X-Total-Count"); got != "0" {
		t.Errorf("%s users were made of it", got)
	}
}

func TestServe_everythingItKeepsIsPrivate(t *testing.T) {
	t.Parallel()
	s := start(t, "GATEHOUSE_LOG_FILE=gatehouse-data/gatehouse.log")
	s.do(200, "POST", "/signup", object{"email": "ada@example.com", "password": password})
	s.delivered()
	err := onlyOurs(filepath.Join(s.dir, "gatehouse-data"))
	if err != nil {
		t.Error(err)
	}
}
