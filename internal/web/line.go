package web

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/text/language"

	"gatehouse/internal/auth"
)

// Line is the one log line of a request. Handlers add to it; it is written
// when the answer is out. It never holds a secret, a body or an address of
// mail.
type Line struct {
	RequestID string
	Route     string // the pattern, not the path: paths hold ids
	IP        string
	User      string        // id
	Code      string        // what was refused
	Err       error         // for the log alone
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
	return auth.Caller{IP: l.IP, Agent: r.UserAgent(), RequestID: l.RequestID, Languages: languages(r)}
}

// languages are those a client asks to be answered in, best first (RFC 9110
// §12.5.4), as many as anybody reads.
func languages(r *http.Request) []string {
	const most, longest = 4, 512
	header := r.Header.Get("Accept-Language")
	if header == "" || len(header) > longest {
		return nil
	}
	tags, _, err := language.ParseAcceptLanguage(header)
	if err != nil {
		return nil
	}
	var list []string
	for _, t := range tags[:min(len(tags), most)] {
		if t != language.Und {
			list = append(list, t.String())
		}
	}
	return list
}

// Server is what every request passes before and after its edge.
type Server struct {
	Next            http.Handler
	Log             *slog.Logger
	Now             func() time.Time
	RequestIDHeader string        // taken over when present
	AddressHeader   string        // holds the client's address, behind a proxy that sets it
	Timeout         time.Duration // of one request; 0: no end
	Large           chan struct{} // its capacity is how many bodies over 64 KiB are in memory at one time; nil: any number
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := s.Now()
	l := &Line{RequestID: requestID(r, s.RequestIDHeader), IP: ClientAddress(r, s.AddressHeader)}
	l.direct = s.AddressHeader == "" && Direct(r)
	l.large = s.Large
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
		s.write(r, l, out.status, s.Now().Sub(start))
		if aborted {
			panic(v)
		}
	}()
	s.Next.ServeHTTP(out, r.WithContext(ctx))
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
	attrs := make([]slog.Attr, 0, 9)
	attrs = append(attrs,
		slog.String("request_id", l.RequestID), slog.String("method", r.Method), slog.String("route", l.Route),
		slog.Int("status", status), slog.Float64("took_ms", float64(took.Microseconds())/1000), slog.String("ip", l.IP))
	if l.User != "" {
		attrs = append(attrs, slog.String("user", l.User))
	}
	if l.Code != "" {
		attrs = append(attrs, slog.String("code", l.Code))
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
