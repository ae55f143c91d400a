package notify

import (
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	netmail "net/mail"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var sent = time.Date(2025, 3, 4, 5, 6, 7, 0, time.UTC)

func sender(t *testing.T, port int, change func(*SMTPOptions)) *SMTP {
	t.Helper()
	o := SMTPOptions{
		Host: "127.0.0.1", Port: port, From: "gate@example.org", FromName: "The Gate, Ltd.",
		Timeout: 10 * time.Second, Now: func() time.Time { return sent },
	}
	if change != nil {
		change(&o)
	}
	s, err := NewSMTP(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func example() (Mail, Rendered) {
	return Mail{ID: "m-1", Kind: Confirmation, To: "ann@example.com"},
		Rendered{Subject: "Bestätige dich", HTML: "<p>Grüße &amp; <a href=\"https://s/?a=1&amp;b=2\">x</a></p>\n.dot\n", Text: "Grüße\n.dot\n"}
}

// parsed is a mail as a reader sees it.
type parsed struct {
	header netmail.Header
	parts  []string // "type: body"
}

func parse(t *testing.T, raw string) parsed {
	t.Helper()
	m, err := netmail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	p := parsed{header: m.Header}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("content type %q, %v, want multipart/alternative", kind, err)
	}
	for mr := multipart.NewReader(m.Body, params["boundary"]); ; {
		part, err := mr.NextRawPart()
		if err == io.EOF {
			return p
		}
		if err != nil {
			t.Fatal(err)
		}
		if e := part.Header.Get("Content-Transfer-Encoding"); e != "quoted-printable" {
			t.Fatalf("encoding %q", e)
		}
		b, err := io.ReadAll(quotedprintable.NewReader(part))
		if err != nil {
			t.Fatal(err)
		}
		kind, _, _ := mime.ParseMediaType(part.Header.Get("Content-Type"))
		p.parts = append(p.parts, kind+": "+strings.ReplaceAll(string(b), "\r\n", "\n"))
	}
}

// Mission: M01
func TestSMTP_mailArrivesWithRightFrom(t *testing.T) {
	srv := &smtpServer{}
	s := sender(t, srv.listen(t), nil)
	m, r := example()
	for range 2 {
		if err := s.Send(t.Context(), m, r); err != nil {
			t.Fatal(err)
		}
	}
	mails, lines := srv.received()
	if len(mails) != 2 {
		t.Fatalf("%d mails arrived, want 2", len(mails))
	}
	p := parse(t, mails[0])
	from, err := p.header.AddressList("From")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]*netmail.Address{{Name: "The Gate, Ltd.", Address: "gate@example.org"}}, from); diff != "" {
		t.Errorf("From (-want +got):\n%s", diff)
	}
	subject, _ := new(mime.WordDecoder).DecodeHeader(p.header.Get("Subject"))
	date, _ := p.header.Date()
	got := []string{p.header.Get("To"), subject, p.header.Get("Auto-Submitted"), date.UTC().String(), p.header.Get("User-Agent"), p.header.Get("X-Mailer")}
	want := []string{"<ann@example.com>", "Bestätige dich", "auto-generated", sent.String(), "", ""}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"text/plain: " + r.Text, "text/html: " + r.HTML}, p.parts); diff != "" {
		t.Errorf("parts (-want +got):\n%s", diff)
	}
	for _, want := range []string{"EHLO example.org", "MAIL FROM:<gate@example.org> BODY=8BITMIME", "RCPT TO:<ann@example.com>"} {
		if !slices.Contains(lines, want) {
			t.Errorf("%q was not said, but %q", want, lines)
		}
	}
}

func TestSMTP_repeatedDeliveryHasTheSameMessageID(t *testing.T) {
	srv := &smtpServer{}
	s := sender(t, srv.listen(t), nil)
	m, r := example()
	other := m
	other.ID = "m-2>\r\nBcc: eve@example.net"
	for _, m := range []Mail{m, m, other} {
		if err := s.Send(t.Context(), m, r); err != nil {
			t.Fatal(err)
		}
	}
	mails, _ := srv.received()
	var ids []string
	for _, raw := range mails {
		h := parse(t, raw).header
		if h.Get("Bcc") != "" {
			t.Error("the ID wrote a header of its own")
		}
		ids = append(ids, h.Get("Message-Id"))
	}
	if ids[0] == "" || ids[0] != ids[1] || ids[0] == ids[2] || !strings.HasSuffix(ids[0], "@example.org>") {
		t.Errorf("got %q, want the first two alike and the third not", ids)
	}
}

func TestSMTP_sortsRefusals(t *testing.T) {
	for _, c := range []struct {
		at, reply string
		permanent bool
	}{
		{"RCPT", "550 5.1.1 no such user", true},
		{"MAIL", "553 5.1.8 bad sender", true},
		{"DATA", "554 5.7.1 no", true},
		{".", "552 5.3.4 too big", true},
		{"RCPT", "421 4.3.2 later", false},
		{"RCPT", "450 4.2.0 greylisted", false},
		{".", "451 4.3.0 later", false},
		{"MAIL", "530 5.7.0 log in first", false},
		{"EHLO", "554 5.7.1 go away", false}, // HELO is tried next and refused as well
	} {
		t.Run(c.at+" "+c.reply, func(t *testing.T) {
			srv := &smtpServer{replies: map[string]string{c.at: c.reply}}
			if c.at == "EHLO" {
				srv.replies["HELO"] = c.reply
			}
			s := sender(t, srv.listen(t), nil)
			m, r := example()
			err := s.Send(t.Context(), m, r)
			if err == nil {
				t.Fatal("got nil, want an error")
			}
			if got := Permanent(err); got != c.permanent {
				t.Errorf("permanent: got %v, want %v (%v)", got, c.permanent, err)
			}
			if words := c.reply[4:]; !strings.Contains(err.Error(), words) {
				t.Errorf("got %v, want the server's words %q in it", err, words)
			}
		})
	}
}

func TestSMTP_hangingServerEndsAtTimeout(t *testing.T) {
	for name, srv := range map[string]*smtpServer{
		"after banner":   {hang: "banner"},
		"at end of mail": {hang: "."},
		"dripping":       {drip: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := sender(t, srv.listen(t), func(o *SMTPOptions) { o.Timeout = 150 * time.Millisecond })
			m, r := example()
			begin := time.Now()
			err := s.Send(t.Context(), m, r)
			if !errors.Is(err, context.DeadlineExceeded) || Permanent(err) {
				t.Errorf("got %v, want DeadlineExceeded, not permanent", err)
			}
			if d := time.Since(begin); d > 5*time.Second {
				t.Errorf("took %v, want about 150 ms", d)
			}
		})
	}
}

// The mail is taken: an error now would send it twice.
func TestSMTP_troubleAfterTheMailIsTakenIsNoError(t *testing.T) {
	srv := &smtpServer{replies: map[string]string{"QUIT": "421 gone"}}
	s := sender(t, srv.listen(t), nil)
	m, r := example()
	if err := s.Send(t.Context(), m, r); err != nil {
		t.Errorf("got %v, want nil", err)
	}
}

func TestSMTP_callerMayGiveUp(t *testing.T) {
	srv := &smtpServer{hang: "EHLO"}
	s := sender(t, srv.listen(t), nil)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	m, r := example()
	if err := s.Send(ctx, m, r); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want DeadlineExceeded", err)
	}
}

func TestSMTP_serverDownIsNotPermanent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	m, r := example()
	if err := sender(t, port, nil).Send(t.Context(), m, r); err == nil || Permanent(err) {
		t.Errorf("got %v, want an error worth a retry", err)
	}
}

func TestSMTP_logsIn(t *testing.T) {
	cert, roots := certificate(t)
	for _, c := range []struct {
		name string
		srv  *smtpServer
		tls  string
	}{
		{"PLAIN in the clear on this machine", &smtpServer{auth: "PLAIN LOGIN"}, TLSAuto},
		{"LOGIN only", &smtpServer{auth: "LOGIN"}, TLSNone},
		{"STARTTLS with a certificate nobody signed, on this machine", &smtpServer{auth: "PLAIN", offerTLS: true, cert: cert}, TLSAuto},
		{"STARTTLS required", &smtpServer{auth: "PLAIN", offerTLS: true, cert: cert}, TLSRequired},
		{"TLS from the first byte", &smtpServer{auth: "XOAUTH2 PLAIN", implicit: true, cert: cert}, TLSImplicit},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.srv.user, c.srv.pass = "ann", "pa ss\"wörd"
			port := c.srv.listen(t)
			for pass, ok := range map[string]bool{c.srv.pass: true, "wrong-secret": false} {
				s := sender(t, port, func(o *SMTPOptions) {
					o.User, o.Pass, o.TLS = "ann", pass, c.tls
					if c.tls != TLSAuto {
						o.RootCAs = roots
					}
				})
				m, r := example()
				err := s.Send(t.Context(), m, r)
				if (err == nil) != ok {
					t.Errorf("password right: %v, got %v", ok, err)
				}
				if err != nil && (Permanent(err) || strings.Contains(err.Error(), pass)) {
					t.Errorf("got %v, want an error worth a retry, without the password", err)
				}
			}
			if mails, lines := c.srv.received(); len(mails) != 1 {
				t.Errorf("%d mails arrived, want 1: %q", len(mails), lines)
			} else if c.srv.offerTLS && !slices.Contains(lines, "STARTTLS") {
				t.Error("STARTTLS was offered but not taken")
			}
		})
	}
}

func TestSMTP_refusesUntrustedOrMissingTLS(t *testing.T) {
	cert, _ := certificate(t)
	for name, c := range map[string]struct {
		srv *smtpServer
		tls string
	}{
		"STARTTLS not offered":  {&smtpServer{auth: "PLAIN"}, TLSRequired},
		"certificate, STARTTLS": {&smtpServer{auth: "PLAIN", offerTLS: true, cert: cert}, TLSRequired},
		"certificate, implicit": {&smtpServer{auth: "PLAIN", implicit: true, cert: cert}, TLSImplicit},
	} {
		t.Run(name, func(t *testing.T) {
			s := sender(t, c.srv.listen(t), func(o *SMTPOptions) { o.User, o.Pass, o.TLS = "ann", "secret", c.tls })
			m, r := example()
			if err := s.Send(t.Context(), m, r); err == nil || Permanent(err) {
				t.Errorf("got %v, want an error worth a retry", err)
			}
			mails, lines := c.srv.received()
			said := strings.Join(lines, "\n")
			if len(mails) > 0 || strings.Contains(said, "AUTH") || strings.Contains(said, "MAIL") {
				t.Errorf("something was sent nevertheless: %q", said)
			}
		})
	}
}

// The tests run against this very machine, so the judgement of a distant one
// is asked for at the point where it is made.
func TestSMTP_sendsNoPasswordInTheClearToOthers(t *testing.T) {
	for _, mode := range []string{TLSAuto, TLSNone} {
		srv := &smtpServer{auth: "PLAIN LOGIN CRAM-MD5"}
		s := sender(t, srv.listen(t), func(o *SMTPOptions) { o.User, o.Pass, o.TLS = "ann", "secret", mode })
		c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.opt.Port)))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := s.open(c, false); err == nil {
			t.Errorf("%s: got nil, want a refusal", mode)
		}
		if _, lines := srv.received(); strings.Contains(strings.Join(lines, "\n"), "AUTH") {
			t.Errorf("%s: a login was sent: %q", mode, lines)
		}
	}
}

func TestNewSMTP_refusesWhatCannotWork(t *testing.T) {
	good := SMTPOptions{Host: "mail.example.org", From: "gate@example.org"}
	if s, err := NewSMTP(good); err != nil || s.opt.Port != 587 || !s.starttls {
		t.Fatalf("got %+v, %v, want port 587 with STARTTLS required", s, err)
	}
	for name, change := range map[string]func(*SMTPOptions){
		"no host":               func(o *SMTPOptions) { o.Host = "" },
		"host with line break":  func(o *SMTPOptions) { o.Host = "a\r\nb" },
		"URL as host":           func(o *SMTPOptions) { o.Host = "smtp://a" },
		"no From":               func(o *SMTPOptions) { o.From = "" },
		"odd From":              func(o *SMTPOptions) { o.From = "gate" },
		"From with line break":  func(o *SMTPOptions) { o.From = "gate@example.org\r\nBcc: a@b.c" },
		"two in From":           func(o *SMTPOptions) { o.From = "a@b.c, d@e.f" },
		"port":                  func(o *SMTPOptions) { o.Port = 70000 },
		"TLS":                   func(o *SMTPOptions) { o.TLS = "yes" },
		"EHLO with line break":  func(o *SMTPOptions) { o.Hello = "a\r\nRSET" },
		"password in the clear": func(o *SMTPOptions) { o.TLS, o.User, o.Pass = TLSNone, "ann", "secret" },
	} {
		o := good
		change(&o)
		if _, err := NewSMTP(o); err == nil {
			t.Errorf("%s: got nil, want an error", name)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the message tells the password", name)
		}
	}
	o := good
	o.From, o.Port = "Gate <gate@example.org>", 465
	s, err := NewSMTP(o)
	if err != nil || s.fromName != "Gate" || s.from.addr != "gate@example.org" || !s.implicit {
		t.Errorf("got %+v, %v, want the name from From and implicit TLS on 465", s, err)
	}
}

func TestSMTP_refusesAddressesThatSpeakSMTP(t *testing.T) {
	srv := &smtpServer{utf8: true}
	s := sender(t, srv.listen(t), nil)
	_, r := example()
	for _, to := range []string{
		"", "ann", "@example.com", "ann@", "a@b@c", "ann@example.com\r\nRCPT TO:<eve@example.net>", "ann\n@example.com",
		"ann@example.com>", "<ann@example.com>", "Ann <ann@example.com>", "ann@example.com, eve@example.net", "ann@example.com;eve@e",
		`"ann eve"@example.com`, `"a"@example.com`, "ann(x)@example.com", "ann@[127.0.0.1]", "ann @example.com", "ann@exam ple.com",
		"ann@example.com\x00", "ann\u2028@example.com", "ann\xff@example.com", "ann@ex\u202eample.com",
		strings.Repeat("a", 65) + "@example.com", "a@" + strings.Repeat("b.", 130) + "c",
	} {
		if err := s.Send(t.Context(), Mail{ID: "1", To: to}, r); !Permanent(err) {
			t.Errorf("%q: got %v, want a permanent error", to, err)
		}
	}
	if _, lines := srv.received(); len(lines) > 0 {
		t.Errorf("the server was spoken to: %q", lines)
	}
}

func TestSMTP_subjectCannotWriteHeaders(t *testing.T) {
	srv := &smtpServer{}
	s := sender(t, srv.listen(t), nil)
	m, r := example()
	r.Subject = "Hello\r\nBcc: eve@example.net\r\n\r\nbody"
	if err := s.Send(t.Context(), m, r); err != nil {
		t.Fatal(err)
	}
	mails, _ := srv.received()
	h := parse(t, mails[0]).header
	if got, want := h.Get("Subject"), "Hello Bcc: eve@example.net body"; got != want || h.Get("Bcc") != "" {
		t.Errorf("got %q, Bcc %q, want %q and none", got, h.Get("Bcc"), want)
	}
}

func TestSMTP_foreignLetters(t *testing.T) {
	plain := &smtpServer{}
	s := sender(t, plain.listen(t), nil)
	_, r := example()
	if err := s.Send(t.Context(), Mail{ID: "1", To: "ann@bücher.example"}, r); err != nil {
		t.Errorf("a domain needs no SMTPUTF8: %v", err)
	}
	if err := s.Send(t.Context(), Mail{ID: "2", To: "jörg@example.com"}, r); !Permanent(err) {
		t.Errorf("got %v, want a permanent error without SMTPUTF8", err)
	}
	mails, lines := plain.received()
	if len(mails) != 1 || !slices.Contains(lines, "RCPT TO:<ann@xn--bcher-kva.example>") {
		t.Errorf("%d mails, %q", len(mails), lines)
	}

	able := &smtpServer{utf8: true}
	s = sender(t, able.listen(t), nil)
	for _, to := range []string{"jörg@example.com", "ann@example.com"} {
		if err := s.Send(t.Context(), Mail{ID: to, To: to}, r); err != nil {
			t.Error(err)
		}
	}
	_, lines = able.received()
	var asked []bool
	for _, l := range lines {
		if strings.HasPrefix(l, "MAIL") {
			asked = append(asked, strings.Contains(l, "SMTPUTF8"))
		}
	}
	if diff := cmp.Diff([]bool{true, false}, asked); diff != "" {
		t.Errorf("SMTPUTF8 asked for (-want +got):\n%s", diff)
	}
}

func TestSMTP_writesTheOperatorsHeaders(t *testing.T) {
	srv := &smtpServer{}
	headers := map[string][]string{"X-Campaign": {"auth-$messageType", "Grüße"}, "Reply-To": {"help@example.org"}}
	s := sender(t, srv.listen(t), func(o *SMTPOptions) { o.Headers = headers })
	m, r := example()
	for _, m.Kind = range []Kind{Confirmation, Recovery} {
		if err := s.Send(t.Context(), m, r); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	mails, _ := srv.received()
	for _, raw := range mails {
		h := parse(t, raw).header
		campaign, err := new(mime.WordDecoder).DecodeHeader(h.Get("X-Campaign"))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, campaign, h.Get("Reply-To"), h.Get("To"))
	}
	want := []string{
		"auth-confirmation, Grüße", "help@example.org", "<ann@example.com>",
		"auth-recovery, Grüße", "help@example.org", "<ann@example.com>",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

func TestCheckHeaders_refusesWhatIsTheMailsOwn(t *testing.T) {
	for _, name := range []string{
		"From", "to", "BCC", "Subject", "Message-ID", "Content-Type", "content-anything", "Resent-To", "Auto-Submitted", "DKIM-Signature",
		"", "X Y", "X:Y", "X\r\nBcc", "Größe", strings.Repeat("x", 77),
	} {
		o := SMTPOptions{Host: "mail.example.org", From: "gate@example.org", Headers: map[string][]string{name: {"x"}}}
		if _, err := NewSMTP(o); err == nil {
			t.Errorf("%q: got nil, want an error", name)
		}
	}
	for _, value := range []string{"a\r\nBcc: eve@example.net", "a\nb", "a\x00", "a\xff", strings.Repeat("x", 901)} {
		if err := CheckHeaders(map[string][]string{"X-Own": {"fine", value}}); err == nil || strings.Contains(err.Error(), "eve") {
			t.Errorf("%q: got %v, want an error that does not repeat it", value, err)
		}
	}
	if err := CheckHeaders(map[string][]string{"X-Own": nil, "x-own": nil}); err == nil {
		t.Error("a header twice: got nil, want an error")
	}
	for _, name := range []string{"X-Own", "Reply-To", "List-Unsubscribe", "Precedence"} {
		if err := CheckHeaders(map[string][]string{name: {"", "two", strings.Repeat("x", 900)}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
