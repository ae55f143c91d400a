package notify

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	netmail "net/mail"
	"net/netip"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	mail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"
)

// The values of SMTPOptions.TLS.
const (
	TLSAuto     = "auto"     // implicit on port 465, else STARTTLS: required, but to this very machine taken if offered
	TLSRequired = "required" // implicit on port 465, else STARTTLS, always
	TLSImplicit = "implicit" // TLS from the first byte, on any port (RFC 8314 §3.3)
	TLSNone     = "none"     // never; then no password either, except to this very machine
)

// SMTPOptions say which server takes the mails.
type SMTPOptions struct {
	Host     string
	Port     int    // zero: 465 with TLSImplicit, else 587
	User     string // empty: no authentication
	Pass     string
	From     string        // "a@b.c" or "Name <a@b.c>"
	FromName string        // shown beside From
	TLS      string        // TLSAuto and so on; empty: TLSAuto
	Timeout  time.Duration // for one mail as a whole; zero: 20 s
	Hello    string        // our name in EHLO; empty: the domain of From
	// Headers are those of every mail besides its own, each with its values in
	// order. "$messageType" in a value becomes the mail's kind.
	Headers map[string][]string
	// RootCAs are the certificate authorities to trust. Nil: the system's.
	RootCAs *x509.CertPool
	// Control judges each address before it is dialled, as that of net.Dialer
	// does. Nil: any will do, which is for a host that the operator names.
	Control func(ctx context.Context, network, address string, c syscall.RawConn) error
	// Now is the clock for the Date header. Nil: time.Now.
	Now func() time.Time
}

// SMTP is a Sender that hands mails to a mail server, one connection each. It
// is safe for concurrent use.
type SMTP struct {
	opt      SMTPOptions
	from     mailbox
	fromName string
	implicit bool // TLS from the first byte
	starttls bool // STARTTLS must succeed
	local    bool // Host names this very machine
}

// NewSMTP checks o. It connects to nobody: a mail server that is down must not
// keep us from starting.
func NewSMTP(o SMTPOptions) (*SMTP, error) {
	if o.Host == "" || strings.ContainsFunc(o.Host, func(r rune) bool { return r <= ' ' || r == '/' || r == '@' }) {
		return nil, fmt.Errorf("smtp: %q is not a host name; set the host of your mail server, without a port", o.Host)
	}
	if o.TLS == "" {
		o.TLS = TLSAuto
	}
	if o.Port == 0 {
		o.Port = 587
		if o.TLS == TLSImplicit {
			o.Port = 465
		}
	}
	if o.Port < 1 || o.Port > 65535 {
		return nil, fmt.Errorf("smtp: port %d does not exist; 587 and 465 are usual", o.Port)
	}
	if o.Timeout <= 0 {
		o.Timeout = 20 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now //nolint:forbidigo // where the clock enters
	}
	s := &SMTP{local: isLocal(o.Host)}
	var err error
	if s.from, s.fromName, err = parseSender(o.From, o.FromName); err != nil {
		return nil, err
	}
	if o.Hello == "" {
		o.Hello = s.from.domain
	}
	if !ascii(o.Hello) || strings.ContainsFunc(o.Hello, func(r rune) bool { return r <= ' ' }) {
		return nil, fmt.Errorf("smtp: %q cannot be our name in EHLO; use a plain domain", o.Hello)
	}
	if err = CheckHeaders(o.Headers); err != nil {
		return nil, err
	}
	switch o.TLS {
	case TLSAuto:
		s.implicit = o.Port == 465
		s.starttls = !s.implicit && !s.local
	case TLSRequired:
		s.implicit = o.Port == 465
		s.starttls = !s.implicit
	case TLSImplicit:
		s.implicit = true
	case TLSNone:
		if o.User != "" && !s.local {
			return nil, fmt.Errorf("smtp: user and password would cross the network to %s in the clear; "+
				"set TLS to auto, or leave the user empty", o.Host)
		}
	default:
		return nil, fmt.Errorf("smtp: TLS %q is unknown; use auto, required, implicit or none", o.TLS)
	}
	s.opt = o
	return s, nil
}

// Send delivers one mail. It is finished when the server has taken the mail;
// whatever happens afterwards is no error, because it would be sent twice.
// Refusals of this very mail (5xx) are a *PermanentError; refusals of us
// (login, policy of the connection) are not, since an operator can mend them.
func (s *SMTP) Send(ctx context.Context, m Mail, r Rendered) error {
	to, err := parseMailbox(m.To)
	if err != nil {
		return &PermanentError{fmt.Errorf("smtp: %w", err)}
	}
	msg, err := s.compose(m, to, r)
	if err != nil {
		return &PermanentError{fmt.Errorf("smtp: %w", err)}
	}
	// One limit for everything. Deadlines per command would let a server that
	// answers a byte now and then hold a worker for ever.
	ctx, cancel := context.WithTimeout(ctx, s.opt.Timeout)
	defer cancel()
	addr := net.JoinHostPort(s.opt.Host, strconv.Itoa(s.opt.Port))
	if err := s.deliver(ctx, addr, to, msg); err != nil {
		if ctx.Err() != nil && !Permanent(err) {
			return fmt.Errorf("smtp %s: gave up waiting: %w", addr, ctx.Err())
		}
		return fmt.Errorf("smtp %s: %w", addr, err)
	}
	return nil
}

func (s *SMTP) deliver(ctx context.Context, addr string, to mailbox, msg *mail.Msg) error {
	raw, err := (&net.Dialer{ControlContext: s.opt.Control}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer raw.Close()
	defer context.AfterFunc(ctx, func() { raw.Close() })()

	client, err := s.open(&shortConn{Conn: raw, left: 1 << 20}, isLocalConn(raw))
	if err != nil {
		return err
	}
	cut := false
	defer func() {
		// A farewell out of courtesy: its answer changes nothing any more.
		if !cut {
			raw.SetDeadline(time.Now().Add(time.Second)) //nolint:forbidigo // of network I/O
			client.Quit()
		}
	}()
	utf8 := to.utf8 || s.from.utf8
	if ok, _ := client.Extension("SMTPUTF8"); utf8 && !ok {
		return &PermanentError{errors.New("the address has letters that this mail server cannot take (no SMTPUTF8)")}
	}
	// Asked for without need, it would make servers further on refuse the mail.
	client.SkipSMTPUTF8(!utf8)

	if err := client.Mail("<" + s.from.addr + ">"); err != nil {
		return verdict("MAIL FROM", err)
	}
	if err := client.Rcpt("<" + to.addr + ">"); err != nil {
		return verdict("RCPT TO", err)
	}
	w, err := client.Data()
	if err != nil {
		return verdict("DATA", err)
	}
	if _, err := msg.WriteTo(w); err != nil {
		// Closing w would end the mail as if it were whole; the connection is
		// cut instead.
		cut = true
		return fmt.Errorf("writing the mail: %w", err)
	}
	if err := w.Close(); err != nil {
		return verdict("end of mail", err)
	}
	return nil
}

// open greets the server, turns TLS on and logs in. local says that raw ends
// on this very machine.
func (s *SMTP) open(raw net.Conn, local bool) (*smtp.Client, error) {
	local = local && s.local
	conf := &tls.Config{ServerName: s.opt.Host, MinVersion: tls.VersionTLS12, RootCAs: s.opt.RootCAs}
	if s.implicit {
		raw = tls.Client(raw, conf)
	}
	client, err := smtp.NewClient(raw, s.opt.Host)
	if err != nil {
		return nil, fmt.Errorf("greeting: %w", err)
	}
	if err := client.Hello(s.opt.Hello); err != nil {
		return nil, fmt.Errorf("EHLO: %w", err)
	}
	encrypted := s.implicit
	if !s.implicit && s.opt.TLS != TLSNone {
		offered, _ := client.Extension("STARTTLS")
		switch {
		case !offered && (s.starttls || !local):
			// Somebody on the way may have cut the offer out.
			return nil, errors.New("the server does not offer STARTTLS, and mails must not travel in the clear")
		case offered:
			// On this very machine nobody sits in between, and local servers
			// usually have a certificate that nobody signed.
			conf.InsecureSkipVerify = local && !s.starttls
			if err := client.StartTLS(conf); err != nil {
				return nil, fmt.Errorf("STARTTLS: %w", err)
			}
			encrypted = true
		}
	}
	if s.opt.User == "" {
		return client, nil
	}
	// Even a challenge-response login in the clear can be guessed from offline.
	if !encrypted && !local {
		return nil, errors.New("the password must not travel in the clear; turn TLS on")
	}
	_, offered := client.Extension("AUTH")
	auth, err := s.auth(strings.Fields(strings.ToUpper(offered)))
	if err != nil {
		return nil, err
	}
	if err := client.Auth(auth); err != nil {
		return nil, fmt.Errorf("login as %s: %w", s.opt.User, err)
	}
	return client, nil
}

// auth chooses among the offered ways to log in, the best first.
func (s *SMTP) auth(offered []string) (smtp.Auth, error) {
	o := s.opt
	for _, way := range []struct {
		name string
		auth smtp.Auth
	}{
		{"SCRAM-SHA-256", smtp.ScramSHA256Auth(o.User, o.Pass)},
		{"SCRAM-SHA-1", smtp.ScramSHA1Auth(o.User, o.Pass)},
		{"PLAIN", smtp.PlainAuth("", o.User, o.Pass, o.Host, true)}, // true: the connection was judged in open
		{"LOGIN", smtp.LoginAuth(o.User, o.Pass, o.Host, true)},
		{"CRAM-MD5", smtp.CRAMMD5Auth(o.User, o.Pass)},
	} {
		for _, name := range offered {
			if name == way.name {
				return way.auth, nil
			}
		}
	}
	return nil, fmt.Errorf("the server offers no way to log in that is known here (it offers %q); "+
		"leave the user empty if it needs none", strings.Join(offered, " "))
}

// compose writes the mail: multipart/alternative, text first (RFC 2046 §5.1.4).
func (s *SMTP) compose(m Mail, to mailbox, r Rendered) (*mail.Msg, error) {
	msg := mail.NewMsg(mail.WithNoDefaultUserAgent())
	msg.FromMailAddress(&netmail.Address{Name: s.fromName, Address: s.from.addr})
	msg.ToMailAddress(&netmail.Address{Address: to.addr})
	if len(msg.GetFrom()) != 1 || len(msg.GetTo()) != 1 {
		return nil, errors.New("the addresses cannot be written")
	}
	msg.Subject(oneLine(r.Subject))
	msg.SetDateWithValue(s.opt.Now())
	msg.SetMessageIDWithValue(messageID(m.ID) + "@" + s.from.domain)
	// RFC 3834 §5: no out-of-office answers to a machine.
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	for name, values := range s.opt.Headers {
		own := make([]string, len(values)) // the library writes into what it is given
		for i, v := range values {
			own[i] = strings.ReplaceAll(v, "$messageType", string(m.Kind))
		}
		msg.SetGenHeader(mail.Header(name), own...)
	}
	msg.SetBodyString(mail.TypeTextPlain, r.Text)
	if r.HTML != "" {
		msg.AddAlternativeString(mail.TypeTextHTML, r.HTML)
	}
	return msg, nil
}

// CheckHeaders refuses headers that no mail may have besides its own: those
// that say where it comes from, who gets it and how it is to be read, and
// whatever would end its line and begin another (header injection).
func CheckHeaders(headers map[string][]string) error {
	seen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		key := strings.ToLower(name)
		switch {
		case name == "" || len(name) > 76 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ':' }):
			return fmt.Errorf("smtp: %q is not the name of a header; write letters, digits and hyphens, as X-Campaign", name) // RFC 5322 §2.2
		case seen[key]:
			return fmt.Errorf("smtp: the header %s is there twice; write all its values in one list", name)
		case reserved(key):
			return fmt.Errorf("smtp: the header %s is the mail's own; take it out", name)
		}
		seen[key] = true
		for _, v := range headers[name] {
			if len(v) > 900 || !utf8.ValidString(v) || strings.ContainsFunc(v, unicode.IsControl) {
				return fmt.Errorf("smtp: a value of the header %s is not one line of at most 900 bytes", name)
			}
		}
	}
	return nil
}

// reserved reports whether a header, in lower case, is written here or on the
// way (RFC 5322 §3.6, RFC 2045 §9, RFC 6376 §3.5).
func reserved(key string) bool {
	switch key {
	case "from", "sender", "to", "cc", "bcc", "subject", "date", "message-id", "mime-version", "auto-submitted",
		"return-path", "received", "dkim-signature", "authentication-results":
		return true
	}
	return strings.HasPrefix(key, "content-") || strings.HasPrefix(key, "resent-") || strings.HasPrefix(key, "arc-")
}

// messageID is the left half of the Message-ID. It depends on id alone, so
// that a mail delivered twice is recognised by the receiver. It is a hash
// because ids of the queue are nobody's business and may hold any character.
func messageID(id string) string {
	sum := sha256.Sum256([]byte("gatehouse mail " + id))
	return hex.EncodeToString(sum[:16])
}

// verdict sorts a server's answer about this mail.
func verdict(step string, err error) error {
	var reply *textproto.Error
	if !errors.As(err, &reply) {
		return fmt.Errorf("%s: %w", step, err)
	}
	err = fmt.Errorf("%s refused: %w", step, err)
	switch reply.Code {
	case 530, 534, 535, 538: // log in first, or differently (RFC 4954 §6): about us, not about the mail
		return err
	}
	if reply.Code >= 500 {
		return &PermanentError{err}
	}
	return err
}

// isLocal reports whether host names this very machine by itself, without
// asking a resolver.
func isLocal(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// isLocalConn reports whether c ends on this very machine: a resolver may have
// its own idea of "localhost".
func isLocalConn(c net.Conn) bool {
	a, ok := c.RemoteAddr().(*net.TCPAddr)
	return ok && a.IP.IsLoopback()
}

// shortConn is a connection that hands out only so many bytes: a server that
// never ends its answer must not fill the memory.
type shortConn struct {
	net.Conn
	left int
}

func (b *shortConn) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errors.New("the server says too much")
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
