package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/textproto"
	"regexp"
	"strings"
	"sync"
	"time"
)

// letter is a mail as it arrived.
type letter struct {
	id         string // Message-ID
	nth        int    // it is the address's nth
	code, link string // what signs in
	arrived    []time.Time
}

// mailbox is a small mail server that keeps what it is given. A mail with a
// Message-ID it has seen is the same mail.
type mailbox struct {
	l  net.Listener
	wg sync.WaitGroup

	mu      sync.Mutex // guards what follows
	closed  bool
	held    chan struct{} // while mail servers' answers are held back; closed when they go on
	waiting int           // conversations that are held back
	conns   map[net.Conn]bool
	byTo    map[string][]*letter
	notices int           // mails that only tell of something, such as a changed password
	grown   chan struct{} // closed, and made anew, by every mail
	strange []string      // what could not be read
}

// openMailbox listens on a free port of the loopback interface.
func openMailbox() (*mailbox, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("mailbox: %w", err)
	}
	m := &mailbox{l: l, conns: map[net.Conn]bool{}, byTo: map[string][]*letter{}, grown: make(chan struct{})}
	m.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			m.mu.Lock()
			closed := m.closed
			m.conns[c] = true
			m.mu.Unlock()
			if closed {
				c.Close()
			}
			m.wg.Go(func() { m.talk(c) })
		}
	})
	return m, nil
}

func (m *mailbox) port() int { return m.l.Addr().(*net.TCPAddr).Port }

// close cuts every conversation off.
func (m *mailbox) close() {
	m.l.Close()
	m.stall(false)
	m.mu.Lock()
	m.closed = true
	for c := range m.conns {
		c.Close()
	}
	m.mu.Unlock()
	m.wg.Wait()
}

// stall makes the server answer nobody who wants to send, or go on.
func (m *mailbox) stall(yes bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case yes && m.held == nil:
		m.held = make(chan struct{})
	case !yes && m.held != nil:
		close(m.held)
		m.held = nil
	}
}

// holdBack waits while the server is stalled.
func (m *mailbox) holdBack() {
	m.mu.Lock()
	held := m.held
	if held != nil {
		m.waiting++
	}
	m.mu.Unlock()
	if held == nil {
		return
	}
	<-held
	m.mu.Lock()
	m.waiting--
	m.mu.Unlock()
}

// awaitStalled waits until n conversations are held back.
func (m *mailbox) awaitStalled(ctx context.Context, n int, patience time.Duration) bool {
	for began := time.Now(); time.Since(began) < patience && ctx.Err() == nil; pause(ctx, 10*time.Millisecond) {
		m.mu.Lock()
		waiting := m.waiting
		m.mu.Unlock()
		if waiting >= n {
			return true
		}
	}
	return false
}

func (m *mailbox) talk(c net.Conn) {
	defer func() {
		c.Close()
		m.mu.Lock()
		delete(m.conns, c)
		m.mu.Unlock()
	}()
	say := func(text string) { io.WriteString(c, text+"\r\n") }
	r := textproto.NewReader(bufio.NewReader(c))
	say("220 mail.example.net")
	to := ""
	for {
		text, err := r.ReadLine()
		if err != nil {
			return
		}
		verb, arg, _ := strings.Cut(text, " ")
		switch strings.ToUpper(verb) {
		case "EHLO":
			say("250-mail.example.net")
			say("250 8BITMIME")
		case "MAIL":
			m.holdBack()
			say("250 yes")
		case "RCPT":
			_, rest, _ := strings.Cut(arg, "<")
			to, _, _ = strings.Cut(rest, ">")
			say("250 yes")
		case "DATA":
			say("354 go on")
			text, err := io.ReadAll(r.DotReader())
			if err != nil { // cut off: no mail
				return
			}
			m.take(to, bytes.NewReader(text))
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 yes")
		}
	}
}

// take keeps a mail.
func (m *mailbox) take(to string, r io.Reader) {
	l, err := readLetter(r)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		m.strange = append(m.strange, fmt.Sprintf("to %s: %v", to, err))
		return
	}
	if l.code == "" {
		// Nobody waits for it. A mail that was asked for and has lost its code is
		// missed by the audit, which counts those that have one.
		m.notices++
		return
	}
	close(m.grown)
	m.grown = make(chan struct{})
	for _, had := range m.byTo[to] {
		if had.id == l.id {
			if had.code != l.code || had.link != l.link {
				m.strange = append(m.strange, fmt.Sprintf("to %s: two mails with the Message-ID %s", to, l.id))
			}
			had.arrived = append(had.arrived, time.Now())
			return
		}
	}
	l.nth, l.arrived = len(m.byTo[to])+1, []time.Time{time.Now()}
	m.byTo[to] = append(m.byTo[to], l)
}

var (
	codeLine = regexp.MustCompile(`code: ([0-9]{6,10})`)
	linkPart = regexp.MustCompile(`token(?:_hash)?=([A-Za-z0-9_.-]+)`)
)

// readLetter takes the code and the link out of a mail's text.
func readLetter(r io.Reader) (*letter, error) {
	msg, err := mail.ReadMessage(r)
	if err != nil {
		return nil, err
	}
	_, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil {
		return nil, err
	}
	part, err := multipart.NewReader(msg.Body, params["boundary"]).NextRawPart()
	if err != nil {
		return nil, err
	}
	var body io.Reader = part
	if part.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
		body = quotedprintable.NewReader(part)
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	l := &letter{id: msg.Header.Get("Message-Id")}
	if found := codeLine.FindSubmatch(text); found != nil {
		l.code = string(found[1])
	}
	if found := linkPart.FindSubmatch(text); found != nil {
		l.link = string(found[1])
	}
	if l.id == "" || l.code != "" && l.link == "" {
		return nil, errors.New("a mail without Message-ID, or with a code and no link")
	}
	return l, nil
}

// count returns how many different mails an address was sent.
func (m *mailbox) count(to string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.byTo[to])
}

// to returns the mails of an address, in order.
func (m *mailbox) to(addr string) []letter {
	m.mu.Lock()
	defer m.mu.Unlock()
	letters := make([]letter, 0, len(m.byTo[addr]))
	for _, l := range m.byTo[addr] {
		letters = append(letters, *l)
	}
	return letters
}

// await waits for an address to have n mails and returns the newest.
func (m *mailbox) await(ctx context.Context, to string, n int, patience time.Duration) (letter, bool) {
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		m.mu.Lock()
		got, grown := m.byTo[to], m.grown
		if len(got) >= n {
			l := *got[len(got)-1]
			m.mu.Unlock()
			return l, true
		}
		m.mu.Unlock()
		select {
		case <-grown:
		case <-late.C:
			return letter{}, false
		case <-ctx.Done():
			return letter{}, false
		}
	}
}

// faults returns what arrived and could not be read.
func (m *mailbox) faults() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.strange...)
}
