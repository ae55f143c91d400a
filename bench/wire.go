package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	maxAnswer   = 4 << 20 // bytes of one body; a larger one is a mistake, not a measurement
	dialTimeout = 10 * time.Second
)

// A target is where requests go and how they are shaped.
type target struct {
	addr string // host:port
	host string // Host header
	base string // path prefix without a trailing slash
	tls  bool
	form bool // POST /token as a form, as Netlify GoTrue wants it, instead of JSON
}

// newTarget reads a base URL such as http://127.0.0.1:9999 or
// https://example.com/auth/v1.
func newTarget(raw string, form bool) (target, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return target{}, fmt.Errorf("the address %q is not a URL: %w", raw, err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return target{}, fmt.Errorf("the address %q needs a scheme and a host, like http://127.0.0.1:9999", raw)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return target{
		addr: net.JoinHostPort(u.Hostname(), port),
		host: u.Host,
		base: strings.TrimRight(u.EscapedPath(), "/"),
		tls:  u.Scheme == "https",
		form: form,
	}, nil
}

// appendGet appends a whole GET request; bearer may be empty.
func (t *target) appendGet(buf []byte, path string, bearer []byte) []byte {
	buf = t.appendHead(buf, "GET ", path)
	if len(bearer) > 0 {
		buf = append(buf, "Authorization: Bearer "...)
		buf = append(buf, bearer...)
		buf = append(buf, "\r\n"...)
	}
	return append(buf, "\r\n"...)
}

// appendPost appends a whole POST request.
func (t *target) appendPost(buf []byte, path, contentType string, body []byte) []byte {
	buf = t.appendHead(buf, "POST ", path)
	buf = append(buf, "Content-Type: "...)
	buf = append(buf, contentType...)
	buf = append(buf, "\r\nContent-Length: "...)
	buf = strconv.AppendInt(buf, int64(len(body)), 10)
	buf = append(buf, "\r\n\r\n"...)
	return append(buf, body...)
}

func (t *target) appendHead(buf []byte, method, path string) []byte {
	buf = append(buf, method...)
	buf = append(buf, t.base...)
	buf = append(buf, path...)
	buf = append(buf, " HTTP/1.1\r\nHost: "...)
	buf = append(buf, t.host...)
	return append(buf, "\r\nUser-Agent: gatehouse-bench\r\nAccept: application/json\r\n"...)
}

// An answer is what a flow looks at. body is overwritten by the next answer on
// the same connection.
type answer struct {
	status     int
	retryAfter string
	link       string
	body       []byte
}

// A conn is one persistent HTTP/1.1 connection that asks one thing at a time.
// It exists because the driver shares the machine with the server: the
// client of net/http costs several times as much per request. After an error it
// dials again at the next request, and never repeats one by itself, since a
// repeated refresh is a different thing from a refresh.
type conn struct {
	to       *target
	deadline time.Time // of everything until it is set anew

	c    net.Conn
	r    *bufio.Reader
	body []byte
}

// dial connects if there is no connection.
func (c *conn) dial() error {
	if c.c != nil {
		return nil
	}
	d := net.Dialer{Timeout: dialTimeout, Deadline: c.deadline}
	var nc net.Conn
	var err error
	if c.to.tls {
		nc, err = tls.DialWithDialer(&d, "tcp", c.to.addr, nil)
	} else {
		nc, err = d.Dial("tcp", c.to.addr)
	}
	if err != nil {
		return err
	}
	c.c = nc
	if c.r == nil {
		c.r = bufio.NewReaderSize(nil, 8<<10)
	}
	c.r.Reset(nc)
	return nc.SetDeadline(c.deadline)
}

// expire sets when the requests from now on are given up.
func (c *conn) expire(at time.Time) {
	c.deadline = at
	if c.c != nil {
		_ = c.c.SetDeadline(at) // a broken connection shows itself at the next request
	}
}

func (c *conn) close() {
	if c.c != nil {
		_ = c.c.Close() // nothing is pending that could be lost
		c.c = nil
	}
}

// do sends one request and reads its answer to the end.
func (c *conn) do(request []byte) (answer, error) {
	if err := c.dial(); err != nil {
		return answer{}, err
	}
	if _, err := c.c.Write(request); err != nil {
		c.close()
		return answer{}, err
	}
	a, keep, err := c.read()
	if err != nil || !keep {
		c.close()
	}
	return a, err
}

// read reads one answer (RFC 9112) and whether the connection may be used on.
func (c *conn) read() (a answer, keep bool, err error) {
	for { // interim answers (1xx) come before the one that counts
		var f framing
		if a, f, err = c.head(); err != nil {
			return answer{}, false, err
		}
		if a.status >= 200 {
			keep, err = c.readBody(&f, a.status)
			a.body = c.body
			return a, keep && !f.close, err
		}
	}
}

// framing is what the headers say about where the body ends.
type framing struct {
	length  int64 // -1 when not given
	chunked bool
	close   bool
}

func (c *conn) head() (answer, framing, error) {
	f := framing{length: -1}
	line, err := c.line()
	if err != nil {
		return answer{}, f, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return answer{}, f, fmt.Errorf("not an HTTP/1 answer: %q", line)
	}
	f.close = line[7] == '0'
	var a answer
	if a.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return answer{}, f, fmt.Errorf("no status in %q", line)
	}
	for {
		if line, err = c.line(); err != nil {
			return answer{}, f, err
		}
		if len(line) == 0 {
			return a, f, nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch len(name) { // by length first: most headers are dismissed by one comparison
		case len("Content-Length"):
			if bytes.EqualFold(name, []byte("Content-Length")) {
				if f.length, err = strconv.ParseInt(string(value), 10, 64); err != nil || f.length < 0 || f.length > maxAnswer {
					return answer{}, f, fmt.Errorf("the Content-Length %q is not one this driver reads", value)
				}
			}
		case len("Transfer-Encoding"):
			if bytes.EqualFold(name, []byte("Transfer-Encoding")) {
				f.chunked = bytes.EqualFold(value, []byte("chunked"))
			}
		case len("Link"):
			if bytes.EqualFold(name, []byte("Link")) {
				a.link = string(value)
			}
		case len("Connection"):
			if bytes.EqualFold(name, []byte("Connection")) {
				f.close = bytes.EqualFold(value, []byte("close"))
			}
		}
		if len(name) == len("Retry-After") && bytes.EqualFold(name, []byte("Retry-After")) {
			a.retryAfter = string(value)
		}
	}
}

// readBody fills c.body and reports whether the connection is at the start of a
// next answer.
func (c *conn) readBody(f *framing, status int) (keep bool, err error) {
	c.body = c.body[:0]
	switch {
	case status == 204 || status == 304:
		return true, nil
	case f.chunked:
		return true, c.readChunks()
	case f.length >= 0:
		return true, c.readN(int(f.length))
	default: // RFC 9112 §6.3: the body ends with the connection
		c.body, err = io.ReadAll(io.LimitReader(c.r, maxAnswer))
		return false, err
	}
}

func (c *conn) readChunks() error {
	for {
		line, err := c.line()
		if err != nil {
			return err
		}
		size, _, _ := bytes.Cut(line, []byte(";"))
		n, err := strconv.ParseUint(string(bytes.TrimSpace(size)), 16, 31)
		if err != nil || len(c.body)+int(n) > maxAnswer {
			return fmt.Errorf("the chunk size %q is not one this driver reads", size)
		}
		if n == 0 {
			break
		}
		if err := c.readN(int(n)); err != nil {
			return err
		}
		if line, err = c.line(); err != nil || len(line) != 0 {
			return errors.Join(errors.New("a chunk does not end where it said"), err)
		}
	}
	for { // trailers
		line, err := c.line()
		if err != nil || len(line) == 0 {
			return err
		}
	}
}

// readN appends the next n bytes to c.body.
func (c *conn) readN(n int) error {
	at := len(c.body)
	if cap(c.body)-at < n {
		c.body = append(make([]byte, 0, 2*(at+n)), c.body...)
	}
	c.body = c.body[:at+n]
	_, err := io.ReadFull(c.r, c.body[at:])
	return err
}

// line returns the next line without its end, valid until the next read.
func (c *conn) line() ([]byte, error) {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return bytes.TrimSuffix(line[:len(line)-1], []byte("\r")), nil
}

// field returns the string under a key of the outermost object of a JSON
// document, without building the rest of it: the hot flows need two short
// strings from two kilobytes. The result may point into doc. It trusts doc to
// be JSON; on anything else it finds nothing or something, but does not fail.
func field(doc []byte, key string) ([]byte, bool) {
	depth := 0
	for i := 0; i < len(doc); i++ {
		switch doc[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case '"':
			end := stringEnd(doc, i)
			if end < 0 {
				return nil, false
			}
			name := doc[i+1 : end]
			i = end
			if depth != 1 || string(name) != key {
				continue
			}
			at := skipSpace(doc, end+1)
			if at >= len(doc) || doc[at] != ':' {
				continue // a value that happens to read like the key
			}
			return stringAt(doc, skipSpace(doc, at+1))
		}
	}
	return nil, false
}

// stringAt returns the JSON string that begins at i.
func stringAt(doc []byte, i int) ([]byte, bool) {
	if i >= len(doc) || doc[i] != '"' {
		return nil, false
	}
	end := stringEnd(doc, i)
	if end < 0 {
		return nil, false
	}
	if bytes.IndexByte(doc[i:end], '\\') < 0 {
		return doc[i+1 : end], true
	}
	var s string
	if err := json.Unmarshal(doc[i:end+1], &s); err != nil {
		return nil, false
	}
	return []byte(s), true
}

// stringEnd returns the index of the quote that closes the one at i, or -1.
func stringEnd(doc []byte, i int) int {
	for i++; i < len(doc); i++ {
		switch doc[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

func skipSpace(doc []byte, i int) int {
	for i < len(doc) && (doc[i] == ' ' || doc[i] == '\t' || doc[i] == '\n' || doc[i] == '\r') {
		i++
	}
	return i
}

// appendString appends s as a JSON string.
func appendString(buf, s []byte) []byte {
	for _, b := range s {
		if b < 0x20 || b > 0x7e || b == '"' || b == '\\' {
			quoted, _ := json.Marshal(string(s)) // a string cannot fail to marshal
			return append(buf, quoted...)
		}
	}
	buf = append(buf, '"')
	buf = append(buf, s...)
	return append(buf, '"')
}
