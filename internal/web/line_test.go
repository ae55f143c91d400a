package web

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/auth"
)

// logged serves one request and returns the answer and the log.
func logged(s Server, f http.HandlerFunc, change func(*http.Request)) (*httptest.ResponseRecorder, string) {
	var b bytes.Buffer
	s.Log, s.Next = slog.New(slog.NewTextHandler(&b, nil)), f
	if s.Now == nil {
		s.Now = fixed
	}
	r := httptest.NewRequest("GET", "/user", nil)
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w, b.String()
}

func TestServer_writesOneLineARequest(t *testing.T) {
	w, log := logged(Server{}, func(w http.ResponseWriter, r *http.Request) {
		LineOf(r).User, LineOf(r).Route = "u-1", "GET /user"
		LineOf(r).failed(&auth.Error{Code: auth.TokenInvalid, Err: errors.New("why")})
		w.WriteHeader(403)
		_, _ = w.Write([]byte("no"))
	}, nil)
	for _, want := range []string{"level=INFO", "status=403", `route="GET /user"`, "user=u-1", "code=token_invalid", "err=why", "ip=192.0.2.1", "request_id=" + w.Header().Get("X-Request-Id")} {
		if !strings.Contains(log, want) {
			t.Errorf("the line lacks %s:\n%s", want, log)
		}
	}
	if strings.Count(log, "\n") != 1 {
		t.Errorf("the request has more than a line:\n%s", log)
	}
}

func TestServer_tellsHowLongItTookAsANumberOfMilliseconds(t *testing.T) {
	now := fixed()
	_, log := logged(Server{Now: func() time.Time { now = now.Add(1500 * time.Microsecond); return now }}, func(http.ResponseWriter, *http.Request) {}, nil)
	if !strings.Contains(log, " took_ms=1.5 ") {
		t.Errorf("a request of 1.5 ms is logged as\n%s", log)
	}
}

// The first part of a path nobody serves tells an operator of a proxy that adds
// or strips a prefix; the rest may hold an address or a secret.
func TestServer_namesOfAPathNobodyServesItsFirstPart(t *testing.T) {
	for path, want := range map[string]string{
		"/admin": "none /admin", "/admin/users/ann@example.com": "none /admin", "/auth/v1/token": "none /auth", "/": "none /", "//x": "none /",
		"/a-b_c.9": "none /a-b_c.9", "/ann@example.com": "none /…", "/a b": "none /…", "/a\nlevel=ERROR": "none /…", "/ä": "none /…",
		"/" + strings.Repeat("a", 32): "none /" + strings.Repeat("a", 32), "/" + strings.Repeat("a", 33): "none /…",
	} {
		_, log := logged(Server{}, http.NotFound, func(r *http.Request) { r.URL.Path = path })
		if !strings.Contains(log, `route="`+want+`" status=404`) {
			t.Errorf("%q is logged as\n%s", path, log)
		}
	}
}

func TestServer_aFaultOfOursIsAnErrorLine(t *testing.T) {
	_, log := logged(Server{}, func(w http.ResponseWriter, r *http.Request) {
		LineOf(r).failed(errors.New("the disk is full"))
		w.WriteHeader(500)
	}, nil)
	if !strings.Contains(log, "level=ERROR") || !strings.Contains(log, `err="the disk is full"`) || !strings.Contains(log, "code=internal") {
		t.Errorf("the line is %s", log)
	}
}

func TestServer_aPanicIsAnAnswerAndALine(t *testing.T) {
	w, log := logged(Server{}, func(http.ResponseWriter, *http.Request) { panic("oh") }, nil)
	if w.Code != 500 || strings.Contains(w.Body.String(), "oh") || strings.Contains(w.Body.String(), "goroutine") {
		t.Errorf("a panic is answered %d %q", w.Code, w.Body)
	}
	if !strings.Contains(log, "msg=panic") || !strings.Contains(log, "value=oh") || !strings.Contains(log, "msg=request") {
		t.Errorf("a panic is logged as\n%s", log)
	}
}

func TestServer_anAbortedAnswerStaysAborted(t *testing.T) {
	defer func() {
		if v := recover(); v != http.ErrAbortHandler {
			t.Errorf("recovered %v, want http.ErrAbortHandler passed on", v)
		}
	}()
	logged(Server{}, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, nil)
}

func TestServer_endsWhatTakesTooLong(t *testing.T) {
	var err error
	logged(Server{Timeout: time.Nanosecond}, func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		err = r.Context().Err()
	}, nil)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the request ends with %v, want its deadline", err)
	}
}

func TestRequestID_isTakenOverOnlyIfItFitsOnOneLine(t *testing.T) {
	for given, kept := range map[string]bool{
		"edge-7.42": true, strings.Repeat("a", 128): true, strings.Repeat("a", 129): false, "": false, "a b": false,
		"a\nlevel=ERROR": false, "a\r\nSet-Cookie: x=1": false, "\x1b[31m": false, "a\x00": false, "ä": false, "a\u2028b": false,
	} {
		w, log := logged(Server{RequestIDHeader: "X-Up"}, func(http.ResponseWriter, *http.Request) {}, func(r *http.Request) { r.Header["X-Up"] = []string{given} })
		got := w.Header().Get("X-Request-Id")
		if kept != (got == given) || got == "" || strings.Count(log, "\n") != 1 {
			t.Errorf("the id %q becomes %q, kept: %v; the log is %q", given, got, kept, log)
		}
	}
	w, _ := logged(Server{}, func(http.ResponseWriter, *http.Request) {}, func(r *http.Request) { r.Header.Set("X-Request-Id", "mine") })
	if w.Header().Get("X-Request-Id") == "mine" {
		t.Error("an id is taken over that nobody configured")
	}
}

func TestCaller_isWhoTheLineSays(t *testing.T) {
	var c auth.Caller
	logged(Server{Clients: Clients{Header: "X-Client"}, RequestIDHeader: "X-Up"}, func(_ http.ResponseWriter, r *http.Request) { c = Caller(r) }, func(r *http.Request) {
		r.Header.Set("X-Client", "203.0.113.5")
		r.Header.Set("X-Up", "r-1")
		r.Header.Set("User-Agent", "browser")
		r.Header.Set("Accept-Language", "fr;q=0.5, de-AT")
	})
	want := auth.Caller{IP: "203.0.113.5", Agent: "browser", RequestID: "r-1", AcceptLanguage: "fr;q=0.5, de-AT"}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("Caller (-want +got):\n%s", diff)
	}
}

func TestLineOf_outsideAServerGoesNowhere(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	LineOf(r).User = "x"
	if got := LineOf(r).User; got != "" {
		t.Errorf("the line holds %q", got)
	}
}
