package main

import (
	"bufio"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// mailServer is a small real mail server.
type mailServer struct {
	l    net.Listener
	hang bool // say nothing any more after the banner
	wg   sync.WaitGroup

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]bool
	met    int // connections ever
	mails  []letter
}

// letter is a mail as it arrived.
type letter struct {
	from, to   string // of the envelope
	header     mail.Header
	text, html string
}

// listenMail starts a mail server that ends with the test.
func listenMail(t *testing.T, hang bool) *mailServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &mailServer{l: l, hang: hang, conns: map[net.Conn]bool{}}
	m.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			m.mu.Lock()
			if m.closed {
				c.Close()
			}
			m.conns[c] = true
			m.met++
			m.mu.Unlock()
			m.wg.Go(func() { m.talk(t, c) })
		}
	})
	t.Cleanup(m.close)
	return m
}

// close cuts every conversation off. It may be called twice.
func (m *mailServer) close() {
	m.l.Close()
	m.mu.Lock()
	m.closed = true
	for c := range m.conns {
		c.Close()
	}
	m.mu.Unlock()
	m.wg.Wait()
}

// settings are a Gatehouse's that sends by m.
func (m *mailServer) settings(more ...string) []string {
	port := m.l.Addr().(*net.TCPAddr).Port
	return append([]string{
		"GOTRUE_SMTP_HOST=127.0.0.1", "GOTRUE_SMTP_PORT=" + strconv.Itoa(port),
		"GOTRUE_SMTP_ADMIN_EMAIL=gate@example.net", "GOTRUE_SMTP_SENDER_NAME=The Gate",
	}, more...)
}

func (m *mailServer) talk(t *testing.T, c net.Conn) {
	defer func() {
		c.Close()
		m.mu.Lock()
		delete(m.conns, c)
		m.mu.Unlock()
	}()
	say := func(line string) { io.WriteString(c, line+"\r\n") }
	r := textproto.NewReader(bufio.NewReader(c))
	say("220 mail.example.net")
	var got letter
	for {
		line, err := r.ReadLine()
		if err != nil {
			return
		}
		if m.hang {
			continue
		}
		verb, arg, _ := strings.Cut(line, " ")
		switch strings.ToUpper(verb) {
		case "EHLO":
			say("250-mail.example.net")
			say("250 8BITMIME")
		case "MAIL":
			got = letter{from: address(arg)}
			say("250 yes")
		case "RCPT":
			got.to = address(arg)
			say("250 yes")
		case "DATA":
			say("354 go on")
			err := got.read(r.DotReader())
			if err != nil {
				t.Errorf("a mail that cannot be read: %v", err)
			}
			m.mu.Lock()
			m.mails = append(m.mails, got)
			m.mu.Unlock()
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 yes")
		}
	}
}

// address takes the a@b.c out of FROM:<a@b.c> BODY=8BITMIME.
func address(arg string) string {
	_, rest, _ := strings.Cut(arg, "<")
	addr, _, _ := strings.Cut(rest, ">")
	return addr
}

// read takes a mail apart.
func (l *letter) read(r io.Reader) error {
	msg, err := mail.ReadMessage(r)
	if err != nil {
		return err
	}
	l.header = msg.Header
	_, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil {
		return err
	}
	parts := multipart.NewReader(msg.Body, params["boundary"])
	for {
		p, err := parts.NextRawPart()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		var body io.Reader = p
		if p.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
			body = quotedprintable.NewReader(p)
		}
		text, err := io.ReadAll(body)
		if err != nil {
			return err
		}
		if strings.HasPrefix(p.Header.Get("Content-Type"), "text/html") {
			l.html = string(text)
		} else {
			l.text = string(text)
		}
	}
}

// to returns what arrived for an address, in order.
func (m *mailServer) to(addr string) (mails []letter) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.mails {
		if l.to == addr {
			mails = append(mails, l)
		}
	}
	return mails
}

// await waits for the n-th mail to an address.
func (m *mailServer) await(t *testing.T, addr string, n int) letter {
	t.Helper()
	until(t, "mail to "+addr, func() bool { return len(m.to(addr)) >= n })
	return m.to(addr)[n-1]
}

// counts returns how many connections came and how many mails were taken.
func (m *mailServer) counts() (met, taken int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.met, len(m.mails)
}
