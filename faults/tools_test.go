package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/smtp"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const mailText = "Message-ID: <%ID%@example.net>\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n" +
	"--b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" +
	"Sign in:\r\nhttp://auth.example.com/verify?token=3Dlong-secret_1&type=3Dmagiclink\r\n\r\nOr enter this code: %CODE%\r\n" +
	"--b\r\nContent-Type: text/html\r\n\r\n<p>\r\n--b--\r\n"

func post(t *testing.T, m *mailbox, to, id, code string) {
	t.Helper()
	text := strings.NewReplacer("%ID%", id, "%CODE%", code).Replace(mailText)
	err := smtp.SendMail(m.l.Addr().String(), nil, "gate@example.net", []string{to}, []byte(text))
	if err != nil {
		t.Error(err)
	}
}

func TestMailbox_knowsTheSameMailAgain(t *testing.T) {
	m, err := openMailbox()
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	post(t, m, ada, "one", "111111")
	post(t, m, ada, "one", "111111")
	post(t, m, ada, "two", "222222")
	l, ok := m.await(t.Context(), ada, 2, time.Minute)
	if !ok || l.id != "<two@example.net>" || l.nth != 2 || l.code != "222222" || l.link != "long-secret_1" {
		t.Errorf("got %+v, %v", l, ok)
	}
	got := m.to(ada)
	if len(got) != 2 || len(got[0].arrived) != 2 || m.count(ada) != 2 {
		t.Errorf("got %+v, want the first mail twice and the second once", got)
	}
	if _, ok := m.await(t.Context(), ada, 3, time.Millisecond); ok {
		t.Error("a third mail came that nobody sent")
	}
	if len(m.faults()) != 0 {
		t.Errorf("got the faults %v", m.faults())
	}
	post(t, m, ada, "two", "333333")
	if len(m.faults()) != 1 {
		t.Errorf("one Message-ID for two different mails: got %v", m.faults())
	}
}

// Who waits for a code is not handed the news that a password was changed.
func TestMailbox_keepsNoticesApart(t *testing.T) {
	m, err := openMailbox()
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	take := func(id, code, link string) {
		m.take(ada, strings.NewReader(strings.NewReplacer("%ID%", id, "code: %CODE%", code, "token=3Dlong-secret_1", link).Replace(mailText)))
	}
	take("one", "Your password was changed.", "")
	if m.count(ada) != 0 || m.notices != 1 || len(m.faults()) != 0 {
		t.Errorf("of a notice: %d mails, %d notices, the faults %v", m.count(ada), m.notices, m.faults())
	}
	post(t, m, ada, "two", "222222")
	l, ok := m.await(t.Context(), ada, 1, time.Minute)
	if !ok || l.nth != 1 || l.code != "222222" {
		t.Errorf("got %+v, %v; want the mail with the code as the first", l, ok)
	}
	take("three", "code: 333333", "")
	if len(m.faults()) != 1 {
		t.Errorf("of a code without a link: the faults %v", m.faults())
	}
}

// A node that is killed while it sends has sent nothing.
func TestMailbox_takesNoHalfMail(t *testing.T) {
	m, err := openMailbox()
	if err != nil {
		t.Fatal(err)
	}
	c, err := smtp.Dial(m.l.Addr().String())
	if err == nil {
		err = c.Mail("gate@example.net")
	}
	if err == nil {
		err = c.Rcpt(ada)
	}
	if err != nil {
		t.Fatal(err)
	}
	w, err := c.Data()
	if err == nil {
		_, err = io.WriteString(w, mailText[:len(mailText)/2])
	}
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	m.close() // which waits for the conversation to end
	if m.count(ada) != 0 || len(m.faults()) != 0 {
		t.Errorf("got %d mails and the faults %v", m.count(ada), m.faults())
	}
}

func TestMailbox_stalledTakesNothing(t *testing.T) {
	m, err := openMailbox()
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	m.stall(true)
	var sent sync.WaitGroup
	sent.Go(func() { post(t, m, ada, "one", "111111") })
	if !m.awaitStalled(t.Context(), 1, time.Minute) {
		t.Fatal("nobody was held back")
	}
	if m.count(ada) != 0 {
		t.Error("a mail was taken")
	}
	m.stall(false)
	sent.Wait()
	if m.count(ada) != 1 {
		t.Error("the mail is gone")
	}
}

// echo answers every byte.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c) // ends with the connection
			}()
		}
	}()
	return l.Addr().String()
}

func TestCutter_cutsInTheMiddleAndThenNoMore(t *testing.T) {
	c, err := newCutter(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	conn, err := net.Dial("tcp", c.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	back := make([]byte, 3)
	_, err = conn.Write([]byte("abc"))
	if err == nil {
		_, err = io.ReadFull(conn, back)
	}
	if err != nil || string(back) != "abc" {
		t.Fatalf("before the cutting: got %q, %v", back, err)
	}
	c.mean.Store(1000)
	var carried int
	for err == nil && carried < 1<<20 {
		_, err = conn.Write(bytes.Repeat([]byte("x"), 100))
		if err == nil {
			_, err = io.ReadFull(conn, make([]byte, 100))
		}
		carried += 200
	}
	if err == nil || c.cuts.Load() != 1 {
		t.Errorf("after %d bytes: %v, %d cuts; want one", carried, err, c.cuts.Load())
	}
	c.honest()
	again, err := net.Dial("tcp", c.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	var wrote sync.WaitGroup
	wrote.Go(func() { _, _ = again.Write(make([]byte, 1<<20)) }) // the read tells
	_, err = io.ReadFull(again, make([]byte, 1<<20))
	wrote.Wait()
	if err != nil {
		t.Errorf("after the cutting: %v", err)
	}
}

func TestTimeline(t *testing.T) {
	ops := written(signUp, look(fine), signIn("first", told{Status: 503, RetryAfter: true}), signIn("first", cut), look(fine), signIn("first", opens("s2", "q1")))
	first, last, n := window(ops, time.Time{})
	if n != 2 || !first.Equal(ops[2].Answered) || !last.Equal(ops[3].Sent) {
		t.Errorf("the failures: got %d from %v to %v", n, first, last)
	}
	at, ok := backAt(ops, ops[2].Sent)
	if !ok || !at.Equal(ops[5].Answered) {
		t.Errorf("back with the first write, not with a read: got %v, %v", at, ok)
	}
	if _, ok := backAt(ops, ops[5].Sent); ok {
		t.Error("nothing was sent after the last request")
	}
	if n, _ := unmannerly(ops); n != 0 {
		t.Errorf("a 503 with Retry-After and a cut: got %d without manners", n)
	}
	for _, bad := range []told{{Status: 500}, {Status: 503}, {Status: 502, RetryAfter: true}} {
		if n, example := unmannerly(written(look(bad))); n != 1 || example == "" {
			t.Errorf("%+v: got %d, %q", bad, n, example)
		}
	}
	tr := &trial{res: &result{}}
	tr.expectNoFailure("here", within(ops, ops[4].Sent, ops[5].Sent.Add(1)))
	if len(tr.res.Broken) != 0 {
		t.Errorf("got %v", tr.res.Broken)
	}
	tr.expectNoFailure("here", ops)
	if len(tr.res.Broken) != 1 || !strings.Contains(tr.res.Broken[0], "2 of 6") {
		t.Errorf("got %v, want the two failures", tr.res.Broken)
	}
}

func TestResult_aControlRunMustFindALoss(t *testing.T) {
	for _, c := range []struct {
		what string
		r    result
		want bool
	}{
		{"all is well", result{}, true},
		{"a rule of the scenario", result{Broken: []string{"too late"}}, false},
		{"a loss", result{Lost: 1, Findings: []finding{{Rule: ruleLost}}}, false},
		{"a ghost", result{Findings: []finding{{Rule: ruleGhost}}}, false},
		{"a control run without a loss", result{control: true}, false},
		{"a control run with one", result{control: true, Lost: 1, Findings: []finding{{Rule: ruleLost}}}, true},
		{"a control run that broke something else", result{control: true, Lost: 1, Broken: []string{"too late"}}, false},
	} {
		var out bytes.Buffer
		c.r.write(&out)
		if got := c.r.held(); got != c.want || strings.Contains(out.String(), "BROKEN") == c.want {
			t.Errorf("%s: held %v, want %v, said %s", c.what, got, c.want, out.String())
		}
	}
}

func TestReport_asJSON(t *testing.T) {
	r := &result{Name: "x"}
	r.add(judge(written(signUp, signIn("first", no))))
	var out bytes.Buffer
	err := (&report{Scenarios: []*result{r}}).writeJSON(&out)
	if err != nil {
		t.Fatal(err)
	}
	var got report
	err = json.Unmarshal(out.Bytes(), &got)
	if err != nil {
		t.Fatal(err)
	}
	if s := got.Scenarios[0]; s.OK != 1 || s.Refused != 1 || s.Lost != 1 || len(s.Findings) != 1 || s.Statuses[400] != 1 {
		t.Errorf("got %+v", s)
	}
}

func TestDifference(t *testing.T) {
	for _, c := range []struct{ want, got, say string }{
		{"a\nb\n", "a\n", "missing: b"},
		{"a\n", "a\nb\n", "too many: b"},
		{"a\n", "a\na\n", "too many: a"},
		{"a\nb\n", "b\na\n", "the order alone"},
	} {
		if got := difference(c.want, c.got); got != c.say {
			t.Errorf("%q, %q: got %q, want %q", c.want, c.got, got, c.say)
		}
	}
}

func TestRun_refusesWhatItCannotDo(t *testing.T) {
	for want, args := range map[string][]string{
		"-run":              {"-run", "("},
		"matches no":        {"-run", "^nothing$"},
		"not a flag":        {"extra"},
		"more than nothing": {"-minutes", "0"},
		"build it first":    {"-bin", t.TempDir() + "/none"},
	} {
		err := run(t.Context(), args, io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q in it", args, err, want)
		}
	}
	var out bytes.Buffer
	err := run(t.Context(), []string{"-list", "-run", "only-node"}, &out, io.Discard)
	if err != nil || strings.Count(out.String(), "\n") != 3 {
		t.Errorf("-list: %v\n%s", err, out.String())
	}
}

// A scenario that fails, or runs out of time, is a broken rule and no silence.
func TestTry_aScenarioThatEndsEarlyIsBroken(t *testing.T) {
	ended := 0
	for name, f := range map[string]func(context.Context, *trial) error{
		"fails": func(context.Context, *trial) error { return os.ErrNotExist },
		"hangs": func(ctx context.Context, _ *trial) error { <-ctx.Done(); return ctx.Err() },
		"leaks": func(_ context.Context, t *trial) error {
			t.atEnd(func() error { ended++; return os.ErrExist })
			return nil
		},
	} {
		st := &stage{o: options{minutes: usual}, dir: t.TempDir()}
		r := st.try(t.Context(), scenario{name: name, bound: 10 * time.Millisecond, run: f})
		if r.held() || r.Folder == "" {
			t.Errorf("%s: got %+v, want a broken rule and its folder", name, r)
		}
	}
	if ended != 1 {
		t.Errorf("what was to be done at the end was done %d times", ended)
	}
	st := &stage{o: options{minutes: usual}, dir: t.TempDir()}
	r := st.try(t.Context(), scenario{name: "well", bound: time.Minute, run: func(context.Context, *trial) error { return nil }})
	if diff := cmp.Diff([]string(nil), r.Broken); diff != "" || !r.held() || r.Folder != "" {
		t.Errorf("got %+v", r)
	}
}

func TestScenarios_fitInTheirTime(t *testing.T) {
	names := map[string]bool{}
	for _, s := range scenarios() {
		if names[s.name] || s.bound <= 0 || s.run == nil {
			t.Errorf("%s: twice, without a bound, or without anything to run", s.name)
		}
		names[s.name] = true
	}
}
