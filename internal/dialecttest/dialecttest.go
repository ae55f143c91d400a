// Package dialecttest plays transcripts: requests as they go over the wire and
// the answers that must come back, against the real handler of an edge. Begin
// with Each; mask.go is how an answer is compared with what was written down,
// describe.go how requests and answers are held against an OpenAPI document.
//
// A transcript is a txtar file. Its comment says in prose what it shows; after
// it come steps, in order, of these kinds:
//
//	-- house --       words for the test that builds the handler: policy and the like
//	-- request --     method and path, headers, an empty line, the body
//	-- response --    status, the headers that matter, an empty line, the body
//	-- mail --        to: an address, or a number with +; kind: (or none); channel:;
//	                  and what to keep of it: link: $link, token: $token, code: $code
//	-- clock --       how far to turn the clock: 61s
//
// In an expected answer, <uuid>, <time>, <jwt>, <refresh>, <token>, <code>,
// <number>, <text> and <any> stand for what differs from run to run;
// <jwt:access> also keeps it as $access, for requests and answers that follow.
// JSON is compared by structure: the order of keys does not matter, one key too
// many is a failure. A header that is not named is not compared; "Name: <none>"
// says it must be absent. "go test -update" writes the answers anew and keeps
// the masks.
//
// It must never be imported by anything but tests, and knows no dialect.
package dialecttest

import (
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// update is read by tests alone.
var update = flag.Bool("update", false, "write the answers of the transcripts anew")

// Subject is what a transcript is played against.
type Subject struct {
	Handler http.Handler
	// Mails returns what was sent to an address, or to a number with +, oldest
	// first.
	Mails func(to string) []Mail
	// Advance turns the clock.
	Advance func(time.Duration)
	// Vars are known to the transcript from its first step.
	Vars map[string]string
	// Description is what the requests that work are held against; nil: nothing.
	// Answers are held against it by a Handler of its Checked.
	Description *Description
}

// Mail is what a transcript may keep of a message.
type Mail struct {
	Kind    string
	Channel string // "mail", "sms" or "whatsapp"
	Link    string // as it is in the mail
	Token   string // the long secret of the link
	Code    string // the short one
}

// Each plays every transcript of a folder as a subtest, each against a Subject
// of its own, which build makes from the words of its house section.
func Each(t *testing.T, dir string, build func(t *testing.T, words []string) Subject) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts in %s (%v)", dir, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			p := &play{t: t, file: file, heard: map[string]int{}}
			p.run(build)
		})
	}
}

// play is one transcript under way.
type play struct {
	t       *testing.T
	file    string
	subject Subject
	vars    vars
	heard   map[string]int // mails of an address that an earlier step has read
	request string         // of the last request, for reports
	answer  *httptest.ResponseRecorder
}

func (p *play) run(build func(*testing.T, []string) Subject) {
	t := p.t
	a, err := txtar.ParseFile(p.file)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, f := range a.Files {
		if f.Name == "house" {
			words = append(words, strings.Fields(string(f.Data))...)
		}
	}
	p.subject = build(t, words)
	p.vars = vars{}
	for k, v := range p.subject.Vars {
		p.vars[k] = v
	}
	for i := range a.Files {
		f := &a.Files[i]
		before := string(f.Data)
		after, err := p.step(f.Name, before)
		if err != nil {
			t.Fatalf("step %d, %s: %v", i+1, f.Name, err)
		}
		if after == before {
			continue
		}
		if *update {
			f.Data = []byte(after)
			continue
		}
		t.Fatalf("step %d: the answer to\n\n%s\n\nis not as written (-want +got):\n%s", i+1, indent(p.request), cmp.Diff(strings.Split(before, "\n"), strings.Split(after, "\n")))
	}
	if *update {
		err = os.WriteFile(p.file, txtar.Format(a), 0o644)
		if err != nil {
			t.Fatal(err)
		}
	}
}

// step carries out one section and returns it as it should have been written.
func (p *play) step(name, text string) (string, error) {
	switch name {
	case "house":
		return text, nil
	case "request":
		return text, p.send(text)
	case "response":
		if p.answer == nil {
			return "", fmt.Errorf("there was no request")
		}
		got, err := p.compare(text)
		p.answer = nil
		return got, err
	case "mail":
		return text, p.mail(text)
	case "clock":
		d, err := time.ParseDuration(strings.TrimSpace(text))
		if err == nil {
			p.subject.Advance(d)
		}
		return text, err
	}
	return "", fmt.Errorf("no such kind of step")
}

// send makes the request of a section.
func (p *play) send(text string) error {
	text, err := p.vars.fill(text)
	if err != nil {
		return err
	}
	head, body, _ := strings.Cut(text, "\n\n")
	body = strings.TrimSuffix(body, "\n")
	lines := strings.Split(strings.TrimSpace(head), "\n")
	method, target, ok := strings.Cut(lines[0], " ")
	if !ok {
		return fmt.Errorf("a request begins with a method and a path, not with %q", lines[0])
	}
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for _, l := range lines[1:] {
		k, v, ok := strings.Cut(l, ":")
		if !ok {
			return fmt.Errorf("%q is no header", l)
		}
		if strings.EqualFold(k, "Host") {
			r.Host = strings.TrimSpace(v)
			continue
		}
		r.Header.Add(k, strings.TrimSpace(v))
	}
	p.request, p.answer = text, httptest.NewRecorder()
	p.subject.Handler.ServeHTTP(p.answer, r)
	if d := p.subject.Description; d != nil && p.answer.Code < 300 && !preflight(r) {
		err = d.Request(r, []byte(body))
		if err != nil {
			return fmt.Errorf("it works, but the description says otherwise: %w", err)
		}
	}
	return nil
}

// compare returns the response section as it would have to be written for the
// answer that came: what its masks match is left as it was.
func (p *play) compare(text string) (string, error) {
	head, body, _ := strings.Cut(text, "\n\n")
	lines := strings.Split(strings.TrimSpace(head), "\n")
	var b strings.Builder
	fmt.Fprintf(&b, "%d\n", p.answer.Code)
	for _, l := range lines[1:] {
		k, want, ok := strings.Cut(l, ":")
		if !ok {
			return "", fmt.Errorf("%q is no header", l)
		}
		got := "<none>"
		values := p.answer.Result().Header.Values(k)
		if len(values) > 0 {
			got = strings.Join(values, " | ")
		}
		fmt.Fprintf(&b, "%s: %s\n", k, p.vars.text(strings.TrimSpace(want), got))
	}
	got, err := p.vars.body(strings.TrimSpace(body), p.answer.Body.Bytes(), strings.Contains(p.answer.Header().Get("Content-Type"), "json"))
	if err != nil {
		return "", err
	}
	if got != "" {
		b.WriteString("\n" + got + "\n")
	}
	return b.String(), nil
}

var field = regexp.MustCompile(`^([a-z]+):\s*(.*)$`)

// mail reads the newest message to an address, which must have come since the
// last step that looked, and be the only one.
func (p *play) mail(text string) error {
	fields := map[string]string{}
	for _, l := range strings.Split(strings.TrimSpace(text), "\n") {
		m := field.FindStringSubmatch(l)
		if m == nil {
			return fmt.Errorf("%q is not of the form name: value", l)
		}
		fields[m[1]] = m[2]
	}
	to, err := p.vars.fill(fields["to"])
	if err != nil {
		return err
	}
	all := p.subject.Mails(to)
	fresh := all[p.heard[to]:]
	p.heard[to] = len(all)
	if fields["kind"] == "none" {
		if len(fresh) > 0 {
			return fmt.Errorf("%s got a mail (%s) that nobody should have sent", to, fresh[0].Kind)
		}
		return nil
	}
	if len(fresh) != 1 {
		return fmt.Errorf("%s got %d new mails, want 1", to, len(fresh))
	}
	m := fresh[0]
	if m.Kind != fields["kind"] {
		return fmt.Errorf("%s got a mail of the kind %q, want %q", to, m.Kind, fields["kind"])
	}
	for name, got := range map[string]string{"channel": m.Channel, "link": m.Link, "token": m.Token, "code": m.Code} {
		want, asked := fields[name]
		if !asked {
			continue
		}
		if v, ok := strings.CutPrefix(want, "$"); ok {
			p.vars[v] = got
		} else if kept := p.vars.text(want, got); kept != want {
			return fmt.Errorf("the %s of the message is %q, want %q", name, got, want)
		}
	}
	return nil
}

func indent(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n    ")
}
