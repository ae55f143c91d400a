// Package fetch is the one way out: every HTTP request this server makes by
// itself (mail templates, webhooks, hooks, identity providers) goes through
// its Client.
//
// It knows which addresses may be spoken to, for how long, and how much may be
// answered. Begin reading at Client.Do; the judgement of addresses is in
// address.go.
//
// It must never follow a redirect, obey a proxy from the environment, hand out
// a cut-off body, or tell a caller which inner address a name led to.
package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// The reasons of an *Error; ask for them with errors.Is.
var (
	// ErrRefused: the scheme or the address is none this server speaks to.
	ErrRefused = errors.New("the address is not allowed")
	// ErrTooLarge: the answer is longer than Options.MaxBytes.
	ErrTooLarge = errors.New("the answer is too large")
	// ErrTimeout: no whole answer came in time, or no slot became free.
	ErrTimeout = errors.New("no whole answer in time")
	// ErrUnreachable: the name, the connection, TLS or HTTP failed.
	ErrUnreachable = errors.New("the server could not be reached")
)

// Options say how far a Client may go. The zero value is strict: https only,
// public addresses only, 5 s, 1 MiB.
type Options struct {
	// AllowPrivate admits plain http and addresses that are not public
	// (loopback, private networks): for development and for hooks inside one's
	// own network. Link-local addresses, where clouds keep credentials, stay
	// refused even so.
	AllowPrivate bool
	// Timeout bounds one request as a whole: waiting for a slot, connecting,
	// and the last byte of the body. Zero: 5 s.
	Timeout time.Duration
	// ConnectTimeout bounds one connection attempt. Zero: 3 s.
	ConnectTimeout time.Duration
	// MaxBytes is the longest body that is accepted, after decompression.
	// Zero: 1 MiB.
	MaxBytes int64
	// MaxConcurrent is how many requests may be under way at once; more wait.
	// Zero: 16.
	MaxConcurrent int
	// RootCAs are the certificate authorities to trust. Nil: the system's.
	RootCAs *x509.CertPool
}

// Limits are the bounds of one use of a Client; zero values keep the Client's.
type Limits struct {
	Timeout  time.Duration // as in Options
	MaxBytes int64         // as in Options
	// MaxConcurrent gives the use slots of its own, so that it neither waits
	// for others nor keeps them waiting. Zero: the slots are shared.
	MaxConcurrent int
}

// Client makes guarded requests. It is safe for concurrent use.
type Client struct {
	opt   Options
	http  *http.Client
	slots chan struct{}
}

// Response is a whole answer.
type Response struct {
	Status int         // HTTP status code
	Header http.Header // as received
	Body   []byte      // decompressed, at most Options.MaxBytes
}

// Error is a request that brought no answer. Its text names the scheme and
// host that were asked for and the reason, nothing more: what the network said
// would let an outsider map the inside through us.
type Error struct {
	Target string // scheme://host[:port] as the caller gave it; no path, query or password
	Reason error  // ErrRefused, ErrTooLarge, ErrTimeout, ErrUnreachable or context.Canceled
	detail error
}

// Error reads "fetch https://example.org: the address is not allowed".
func (e *Error) Error() string { return fmt.Sprintf("fetch %s: %v", e.Target, e.Reason) }

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Reason }

// Detail is what the network said, for the operator's log only: it may hold
// inner addresses and must never reach a client.
func (e *Error) Detail() string {
	if e.detail == nil {
		return ""
	}
	return e.detail.Error()
}

// StatusError is an answer whose status is not 2xx. A redirect is one too.
type StatusError struct {
	Target string // scheme://host[:port] as the caller gave it
	Code   int    // HTTP status code
}

// Error reads "fetch https://example.org: status 404 Not Found".
func (e *StatusError) Error() string {
	if t := http.StatusText(e.Code); t != "" {
		return fmt.Sprintf("fetch %s: status %d %s", e.Target, e.Code, t)
	}
	return fmt.Sprintf("fetch %s: status %d", e.Target, e.Code)
}

// New returns a Client that keeps to o.
func New(o Options) *Client {
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Second
	}
	if o.ConnectTimeout <= 0 {
		o.ConnectTimeout = 3 * time.Second
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = 1 << 20
	}
	if o.MaxConcurrent <= 0 {
		o.MaxConcurrent = 16
	}
	dialer := &net.Dialer{
		Timeout:        o.ConnectTimeout,
		ControlContext: guard(o.AllowPrivate),
	}
	return &Client{
		opt:   o,
		slots: make(chan struct{}, o.MaxConcurrent),
		http: &http.Client{
			Transport: &http.Transport{
				// A proxy would dial in our stead, past the guard.
				Proxy:                  nil,
				DialContext:            dialer.DialContext,
				TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs},
				TLSHandshakeTimeout:    o.ConnectTimeout,
				ForceAttemptHTTP2:      true,
				MaxResponseHeaderBytes: 64 << 10,
				MaxIdleConns:           2 * o.MaxConcurrent,
				MaxIdleConnsPerHost:    4,
				IdleConnTimeout:        time.Minute,
			},
			// A redirect would choose our next target, and would carry the
			// Authorization header along (Go CVE-2024-45336).
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Within returns a Client for the same addresses over the same connections
// with other limits.
func (c *Client) Within(l Limits) *Client {
	w := *c
	if l.Timeout > 0 {
		w.opt.Timeout = l.Timeout
	}
	if l.MaxBytes > 0 {
		w.opt.MaxBytes = l.MaxBytes
	}
	if l.MaxConcurrent > 0 {
		w.opt.MaxConcurrent = l.MaxConcurrent
		w.slots = make(chan struct{}, l.MaxConcurrent)
	}
	return &w
}

// AllowsPrivate reports Options.AllowPrivate, so that a use that needs it can
// say so at start instead of failing at every request.
func (c *Client) AllowsPrivate() bool { return c.opt.AllowPrivate }

// Get fetches rawURL and returns the body and header of a 2xx answer. Errors
// are as of Do.
func (c *Client) Get(ctx context.Context, rawURL string) (body []byte, header http.Header, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, nil)
	if err != nil {
		// The parser's own text repeats the whole URL, secrets in it included.
		return nil, nil, &Error{Target: "unreadable URL", Reason: ErrRefused, detail: bare(err)}
	}
	res, err := c.Do(ctx, req)
	if err != nil {
		return nil, nil, err
	}
	return res.Body, res.Header, nil
}

// Do sends req and reads the whole answer. ctx takes the place of the
// request's own context.
//
// It returns an *Error if there is no whole answer, and a *StatusError if the
// status is not 2xx; only with the latter is the Response there as well,
// because hooks and providers explain their refusals in it.
func (c *Client) Do(ctx context.Context, req *http.Request) (*Response, error) {
	target := targetOf(req.URL)
	if s := req.URL.Scheme; s != "https" && (s != "http" || !c.opt.AllowPrivate) {
		return nil, &Error{Target: target, Reason: ErrRefused, detail: errors.New("scheme " + s)}
	}
	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, c.opt.Timeout)
	defer cancel()

	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return nil, &Error{Target: target, Reason: reason(parent, ctx, ctx.Err()), detail: ctx.Err()}
	}

	req = req.Clone(ctx)
	if req.Header == nil {
		req.Header = http.Header{}
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "Gatehouse")
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, &Error{Target: target, Reason: reason(parent, ctx, err), detail: bare(err)}
	}
	defer res.Body.Close()
	// One byte more than allowed is asked for, so that a body that is too long
	// shows itself instead of looking whole: half a template or half a JSON
	// document must not be acted upon.
	body, err := io.ReadAll(io.LimitReader(res.Body, c.opt.MaxBytes+1))
	if err != nil {
		return nil, &Error{Target: target, Reason: reason(parent, ctx, err), detail: err}
	}
	if int64(len(body)) > c.opt.MaxBytes {
		return nil, &Error{Target: target, Reason: ErrTooLarge}
	}
	r := &Response{Status: res.StatusCode, Header: res.Header, Body: body}
	if r.Status < 200 || r.Status > 299 {
		return r, &StatusError{Target: target, Code: r.Status}
	}
	return r, nil
}

// Close ends the connections that are kept for later, those of Clients made by
// Within too. The Client stays usable.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// reason sorts err into one of the few things a caller may learn. parent is
// the caller's context, ctx the one that also carries the time limit.
func reason(parent, ctx context.Context, err error) error {
	var ne net.Error
	switch {
	case errors.Is(err, ErrRefused):
		return ErrRefused
	case errors.Is(parent.Err(), context.Canceled):
		return context.Canceled
	case ctx.Err() != nil, errors.As(err, &ne) && ne.Timeout():
		return ErrTimeout
	}
	return ErrUnreachable
}

// bare takes the URL out of err: net/http writes path and query in front of
// every failure, and those of hooks and providers hold keys.
func bare(err error) error {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		return ue.Err
	}
	return err
}

// targetOf is the part of u that may appear in messages.
func targetOf(u *url.URL) string { return (&url.URL{Scheme: u.Scheme, Host: u.Host}).String() }
