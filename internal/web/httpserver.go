package web

import (
	"log"
	"net/http"
	"strings"
	"time"
)

// What one connection may ask of the server. A client that has good reason to
// be slower than this does not exist; one that is slow on purpose holds a
// connection no longer than this.
const (
	headerTime = 5 * time.Second
	bodyTime   = 10 * time.Second // header and body together
	writeTime  = 15 * time.Second // from the end of the header to that of the answer
	maxStreams = 100              // at once on one connection, where HTTP/2 is spoken
	maxOther   = 16 << 10         // bytes of a header without its Authorization
	maxParams  = 100              // of a query
	maxCookies = 300              // more than any browser keeps for a site
)

// HTTPLimits are what the operator decides of a server's limits.
type HTTPLimits struct {
	Header  int           // bytes of a header, which holds an access token, and so its user's metadata; 0: 64 KiB
	Idle    time.Duration // between two requests of a connection
	Longest time.Duration // of one request, as Server.Timeout; 0: no end
	HSTS    func() bool   // whether clients reach the server by https alone; nil: they do not
	Conns   *Conns        // nil: as many connections as come
	Log     *log.Logger   // nil: nowhere
}

// NewHTTPServer returns a server that is polite to everybody and patient with
// nobody. Every answer of h begins with the headers that keep browsers from
// misusing it; h may change them.
func NewHTTPServer(h http.Handler, l HTTPLimits) *http.Server {
	write := max(writeTime, l.Longest+5*time.Second)
	if l.Longest == 0 {
		write = time.Hour
	}
	header := l.Header
	if header == 0 {
		header = 64 << 10
	}
	s := &http.Server{
		Handler:           &front{next: h, hsts: l.HSTS},
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       bodyTime,
		WriteTimeout:      write,
		IdleTimeout:       l.Idle,
		MaxHeaderBytes:    max(1, header-4096), // net/http reads 4 KiB more than it is told
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams, MaxReadFrameSize: 16 << 10,
			MaxReceiveBufferPerConnection: 1 << 20, MaxReceiveBufferPerStream: 64 << 10,
		},
		ErrorLog: l.Log,
	}
	if l.Conns != nil {
		s.ConnState = l.Conns.changed
	}
	return s
}

// front is what every request meets first.
type front struct {
	next http.Handler
	hsts func() bool
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	guard(h)
	if f.hsts != nil && f.hsts() {
		h.Set("Strict-Transport-Security", "max-age=31536000") // not of subdomains, which are others'
	}
	if problem, status := excess(r); problem != "" {
		http.Error(w, problem, status)
		return
	}
	f.next.ServeHTTP(w, r)
}

// guard sets the headers that an answer has unless its handler knows better:
// nothing here is to be kept by anybody (RFC 9111 §5.2.2.5), framed, run, sent
// along as a referrer or embedded by other origins. Those that may read
// answers are told so by CORS, which this does not concern.
func guard(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
}

// excess says what a request has too much of, before any of it is parsed: each
// parameter and cookie costs many times its bytes.
func excess(r *http.Request) (problem string, status int) {
	if strings.Count(r.URL.RawQuery, "&") >= maxParams {
		return "too many parameters", http.StatusRequestURITooLong
	}
	size := len(r.RequestURI)
	for name, values := range r.Header {
		if name == "Authorization" {
			continue
		}
		for _, v := range values {
			size += len(name) + len(v)
		}
	}
	if size > maxOther {
		return "the header is too large", http.StatusRequestHeaderFieldsTooLarge
	}
	cookies := 0
	for _, line := range r.Header["Cookie"] {
		cookies += 1 + strings.Count(line, ";")
	}
	if cookies > maxCookies {
		return "too many cookies", http.StatusRequestHeaderFieldsTooLarge
	}
	return "", 0
}
