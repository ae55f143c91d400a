package web

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse/internal/auth"
)

// Line is the one log line of a request. Handlers add to it; it is written
// when the answer is out. It never holds a secret, a body or an address of
// mail.
type Line struct {
	RequestID string
	Route     string // the pattern, not the path: paths hold ids
	IP        string
	Tenant    string        // id; empty: the default one
	User      string        // id
	Code      string        // what was refused
	Limit     string        // the rate limit that refused it
	Trace     string        // id of the trace the request is part of, where there is one
	Err       error         // for the log alone
	trusted   bool          // from a page of an origin that may send cookies
	direct    bool          // from this machine and through no proxy
	large     chan struct{} // places for large bodies, the Server's
}

// largeBody waits for a place for a large body.
func (l *Line) largeBody(ctx context.Context) (done func(), err error) {
	if l.large == nil {
		return func() {}, nil
	}
	select {
	case l.large <- struct{}{}:
		return func() { <-l.large }, nil
	case <-ctx.Done():
		return nil, &auth.Error{Code: auth.Busy, RetryAfter: time.Second, Err: ctx.Err()}
	}
}

type lineKey struct{}

// LineOf returns the line of r's request; outside a Server, one that goes
// nowhere.
func LineOf(r *http.Request) *Line {
	l, ok := r.Context().Value(lineKey{}).(*Line)
	if !ok {
		return &Line{}
	}
	return l
}

func (l *Line) route(r *http.Request) {
	if l.Route == "" {
		l.Route = r.Pattern
	}
}

// Refused notes why a request was answered as it was, for those who answer
// outside Handle.
func (l *Line) Refused(err error) { l.failed(err) }

func (l *Line) failed(err error) {
	l.Code = string(auth.CodeOf(err))
	var e *auth.Error
	if !errors.As(err, &e) {
		l.Err = err
	} else if e.Err != nil {
		l.Err = e.Err
	}
}

// Caller says who is asking.
func Caller(r *http.Request) auth.Caller {
	l := LineOf(r)
	return auth.Caller{IP: l.IP, Agent: r.UserAgent(), RequestID: l.RequestID, AcceptLanguage: acceptLanguage(r), Device: deviceOf(r)}
}

// acceptLanguage is the header, unless it is longer than anybody reads (D07).
func acceptLanguage(r *http.Request) string {
	const longest = 512
	h := r.Header.Get("Accept-Language")
	if len(h) > longest {
		return ""
	}
	return h
}

// Server is what every request passes before and after its edge.
type Server struct {
	Next            http.Handler
	Log             *slog.Logger
	Now             func() time.Time
	RequestIDHeader string        // taken over when present
	Clients         Clients       // tells who they are
	Timeout         time.Duration // of one request; 0: no end
	Large           chan struct{} // its capacity is how many bodies over 64 KiB are in memory at one time; nil: any number

	// Observe is told of every answer, Refused of every limit that refused one,
	// and Trace of every request: it returns the context to serve it with, the id
	// of its trace, and what is told of the answer. The route is the pattern,
	// "none" when none matched. Nil: nobody is told.
	Observe func(route, method string, status int, took time.Duration)
	Refused func(limit string)
	Trace   func(*http.Request) (ctx context.Context, id string, end func(route, method string, status int))
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := s.Now()
	l := &Line{RequestID: requestID(r, s.RequestIDHeader), IP: s.Clients.Of(r)}
	l.direct = s.Clients.direct(r)
	l.large = s.Large
	r, traced := s.trace(r, l)
	ctx := context.WithValue(r.Context(), lineKey{}, l)
	if s.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.Timeout)
		defer cancel()
	}
	out := &statusWriter{ResponseWriter: w}
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Request-Id", l.RequestID)
	defer func() {
		v := recover()
		gone, _ := v.(error)
		aborted := errors.Is(gone, http.ErrAbortHandler)
		if v != nil && !aborted {
			s.Log.Error("panic", "request_id", l.RequestID, "route", l.Route, "value", v, "stack", stack())
			if out.status == 0 {
				http.Error(out, "internal error", http.StatusInternalServerError)
			}
		}
		s.tell(r, l, out.status, s.Now().Sub(start), traced)
		if aborted {
			panic(v)
		}
	}()
	s.Next.ServeHTTP(out, r.WithContext(ctx))
}

// trace begins the trace of a request, where there is one.
func (s *Server) trace(r *http.Request, l *Line) (*http.Request, func(route, method string, status int)) {
	if s.Trace == nil {
		return r, nil
	}
	ctx, id, end := s.Trace(r)
	l.Trace = id
	return r.WithContext(ctx), end
}

// tell tells all who want to know how a request was answered.
func (s *Server) tell(r *http.Request, l *Line, status int, took time.Duration, traced func(route, method string, status int)) {
	route := l.Route
	if route == "" {
		route = "none"
	}
	if s.Observe != nil {
		s.Observe(route, r.Method, status, took)
	}
	if s.Refused != nil && l.Limit != "" {
		s.Refused(l.Limit)
	}
	if traced != nil {
		traced(route, r.Method, status)
	}
	s.write(r, l, status, took)
}

func (s *Server) write(r *http.Request, l *Line, status int, took time.Duration) {
	if l.Route == "" { // nobody's: the first part of the path tells a proxy that strips or adds a prefix
		l.Route = "none /" + cutPath(r.URL.Path)
	}
	level := slog.LevelInfo
	if status >= 500 {
		level = slog.LevelError
	}
	if !s.Log.Enabled(r.Context(), level) {
		return
	}
	attrs := make([]slog.Attr, 0, 12)
	attrs = append(attrs,
		slog.String("request_id", l.RequestID), slog.String("method", r.Method), slog.String("route", l.Route),
		slog.Int("status", status), slog.Float64("took_ms", float64(took.Microseconds())/1000), slog.String("ip", l.IP))
	if l.Tenant != "" {
		attrs = append(attrs, slog.String("tenant", l.Tenant))
	}
	if l.User != "" {
		attrs = append(attrs, slog.String("user", l.User))
	}
	if l.Code != "" {
		attrs = append(attrs, slog.String("code", l.Code))
	}
	if l.Limit != "" {
		attrs = append(attrs, slog.String("limit", l.Limit))
	}
	if l.Trace != "" {
		attrs = append(attrs, slog.String("trace_id", l.Trace))
	}
	if l.Err != nil {
		attrs = append(attrs, slog.String("err", l.Err.Error()))
	}
	s.Log.LogAttrs(r.Context(), level, "request", attrs...)
}

// requestID takes over the id an upstream gave, if it is one a log can hold on
// one line; otherwise it makes one.
func requestID(r *http.Request, header string) string {
	if header != "" {
		id := r.Header.Get(header)
		if id != "" && len(id) <= 128 && strings.IndexFunc(id, func(c rune) bool { return c <= ' ' || c > '~' }) < 0 {
			return id
		}
	}
	return uuid.NewString()
}

// statusWriter remembers the status.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// cutPath is the first part of a path, as far as it is plain and short.
func cutPath(path string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	plain := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_.", c)
	}
	if len(first) > 32 || strings.IndexFunc(first, func(c rune) bool { return !plain(c) }) >= 0 {
		return "…"
	}
	return first
}
