package main

import (
	"bufio"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// script answers every request on one connection after another with fixed bytes:
// one string is one connection, "|" separates its answers.
func script(t *testing.T, connections ...string) *conn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for _, answers := range connections {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r := bufio.NewReader(c)
			for text := range strings.SplitSeq(answers, "|") {
				if _, err := http.ReadRequest(r); err != nil {
					break
				}
				_, _ = c.Write([]byte(text)) // what is lost shows in the answer
			}
			_ = c.Close()
		}
	}()
	to, err := newTarget("http://"+l.Addr().String(), false)
	if err != nil {
		t.Fatal(err)
	}
	return &conn{to: &to, deadline: time.Now().Add(10 * time.Second)}
}

func TestConn_readsEveryFramingAndStaysInStep(t *testing.T) {
	c := script(t,
		"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc|"+
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nabcd\r\n2\r\nef\r\n0\r\nTrailer: t\r\n\r\n|"+
			"HTTP/1.1 204 No Content\r\n\r\n|"+
			"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 429 Too Many\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n|"+
			"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nz",
		"HTTP/1.1 200 OK\r\n\r\nto the end",
		"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
	)
	defer c.close()
	type seen struct {
		Status           int
		RetryAfter, Body string
	}
	var got []seen
	for range 7 {
		a, err := c.do(c.to.appendGet(nil, "/", nil))
		if err != nil {
			t.Fatalf("answer %d: %v", len(got), err)
		}
		got = append(got, seen{a.status, a.retryAfter, string(a.body)})
	}
	want := []seen{{200, "", "abc"}, {200, "", "abcdef"}, {204, "", ""}, {429, "7", ""}, {200, "", "z"}, {200, "", "to the end"}, {200, "", "ok"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}

func TestConn_aBrokenAnswerIsAnErrorAndTheNextRequestDialsAgain(t *testing.T) {
	for _, broken := range []string{
		"",
		"SSH-2.0-nothing here\r\n",
		"HTTP/1.1 2xx OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n0\r\n\r\n",
	} {
		c := script(t, broken, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		if a, err := c.do(c.to.appendGet(nil, "/", nil)); err == nil {
			t.Errorf("%q: got %d %q, want an error", broken, a.status, a.body)
		}
		if a, err := c.do(c.to.appendGet(nil, "/", nil)); err != nil || string(a.body) != "ok" {
			t.Errorf("after %q: got %q, %v, want ok", broken, a.body, err)
		}
		c.close()
	}
}

func TestTarget_keepsHostAndPathPrefix(t *testing.T) {
	var got []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := make([]byte, 2)
		_, _ = r.Body.Read(body) // its absence shows in got
		got = []string{r.Method, r.Host, r.URL.String(), r.Header.Get("Authorization"), r.Header.Get("Content-Type"), strings.Trim(string(body), "\x00")}
	}))
	defer s.Close()
	to, err := newTarget(s.URL+"/auth/v1/", false)
	if err != nil {
		t.Fatal(err)
	}
	c := &conn{to: &to, deadline: time.Now().Add(10 * time.Second)}
	defer c.close()
	for _, tc := range []struct {
		request []byte
		want    []string
	}{
		{to.appendGet(nil, "/user", []byte("abc")), []string{"GET", to.host, "/auth/v1/user", "Bearer abc", "", ""}},
		{to.appendPost(nil, "/token?grant_type=x", "application/json", []byte("{}")), []string{"POST", to.host, "/auth/v1/token?grant_type=x", "", "application/json", "{}"}},
	} {
		if _, err := c.do(tc.request); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("what arrived (-want +got):\n%s", diff)
		}
	}
}

func TestNewTarget_refusesWhatIsNoAddress(t *testing.T) {
	for _, raw := range []string{"", "localhost:9999", "ftp://x", "http://", "http://[::1", "127.0.0.1"} {
		if to, err := newTarget(raw, false); err == nil {
			t.Errorf("%q: got %+v, want an error", raw, to)
		}
	}
	to, err := newTarget("https://[::1]/x", false)
	if err != nil || to.addr != "[::1]:443" || to.base != "/x" || !to.tls {
		t.Errorf("got %+v, %v", to, err)
	}
}

func TestField_looksOnlyAtTheOutermostObject(t *testing.T) {
	for _, tc := range []struct {
		doc, want string
		ok        bool
	}{
		{`{"key":"v"}`, "v", true},
		{"{ \"a\" : [ \"key\" ] ,\n \"key\" : \"v\" }", "v", true},
		{`{"user":{"key":"inner"},"key":"outer"}`, "outer", true},
		{`{"a":"key","key":"v"}`, "v", true},
		{`{"a":"\",\"key\":\"no","key":"q\"\u0041\\"}`, `q"A\`, true},
		{`{"user":{"key":"inner"}}`, "", false},
		{`{"key":7}`, "", false},
		{`{"key":null}`, "", false},
		{`{"key":"cut`, "", false},
		{`{"key"`, "", false},
		{`{"key":`, "", false},
		{``, "", false},
	} {
		got, ok := field([]byte(tc.doc), "key")
		if string(got) != tc.want || ok != tc.ok {
			t.Errorf("%s: got %q %v, want %q %v", tc.doc, got, ok, tc.want, tc.ok)
		}
	}
}

func TestAppendString_isReadBackTheSame(t *testing.T) {
	for _, s := range []string{"", "plain-token_09.", `r"\1`, "ünïcode", "line\nbreak"} {
		doc := append(appendString([]byte(`{"key":`), []byte(s)), '}')
		if got, ok := field(doc, "key"); !ok || string(got) != s {
			t.Errorf("%s: got %q %v, want %q", doc, got, ok, s)
		}
	}
}
