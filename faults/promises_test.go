package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// access is an access token as far as this program reads it.
func access(session string) string {
	return "e30.eyJzZXNzaW9uX2lkIjoi" + map[string]string{"s1": "czEifQ", "s2": "czIifQ"}[session] + ".sig"
}

// script is a server that answers by rote: "METHOD path" plus what is asked
// for, to a body.
type script map[string]string

// tooMany in its place is a refusal of one request too many.
const tooMany = "too many"

func (s script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var in map[string]any
	_ = json.Unmarshal(body, &in) // some have none
	key := r.Method + " " + r.URL.Path
	for _, field := range []string{"password", "refresh_token", "token", "token_hash"} {
		if v, ok := in[field].(string); ok {
			key += " " + v
		}
	}
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		key += " " + bearer
	}
	answer, known := s[key]
	if answer == tooMany {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many", http.StatusTooManyRequests)
		return
	}
	if !known {
		http.Error(w, "not scripted: "+key, http.StatusBadRequest)
		return
	}
	io.WriteString(w, answer)
}

func grant(session, refresh string) string {
	return `{"access_token":"` + access(session) + `","refresh_token":"` + refresh + `","user":{"id":"u","user_metadata":{"m1":true}}}`
}

// honest is a server that keeps the promises of the journal below.
func honest() script {
	return script{
		"POST /token second":        grant("s1", "q1"),
		"POST /token r1":            grant("s1", "r2"),
		"GET /user " + access("s1"): `{"id":"u","user_metadata":{"m1":true}}`,
	}
}

// promised is a journal whose promises a server may break.
func promised() []op {
	in := func(session, refresh string) told {
		return told{Status: 200, User: "u", Session: session, Refresh: refresh, Access: access(session)}
	}
	return written(
		entry{ask{Op: opSignUp, Password: "first"}, in("s1", "r1")},
		entry{ask{Op: opPassword, Session: "s1", Password: "second"}, told{Status: 200, User: "u"}},
		entry{ask{Op: opMark, Session: "s1", Mark: "m1"}, told{Status: 200, User: "u"}},
		codeAsk,
		entry{ask{Op: opVerify, Mail: "mail 1", Nth: 1, Code: "123456"}, in("s2", "p1")},
		entry{ask{Op: opSignOut, Session: "s2", Scope: "local"}, told{Status: 204}},
	)
}

func TestKeepsPromises_findsTheOnesThatAreBroken(t *testing.T) {
	for _, c := range []struct {
		what  string
		spoil func(s script)
		want  []string
	}{
		{"none", func(script) {}, nil},
		{"the password is forgotten", func(s script) { delete(s, "POST /token second") }, []string{ruleLost}},
		{"the old password still lets in", func(s script) { s["POST /token first"] = grant("s2", "q9") }, []string{ruleGhost}},
		{"the session is gone", func(s script) { delete(s, "POST /token r1") }, []string{ruleLost}},
		{"the session became another", func(s script) { s["POST /token r1"] = grant("s2", "r2") }, []string{ruleGhost}},
		{"the metadata is forgotten", func(s script) {
			s["GET /user "+access("s1")] = `{"id":"u","user_metadata":{}}`
		}, []string{ruleLost, ruleLost}}, // seen through the session, and through the sign-in

		{"the code is good again", func(s script) { s["POST /verify 123456"] = grant("s2", "q9") }, []string{ruleTwice}},
		{"nobody may try another code for an hour", func(s script) { s["POST /verify 123456"] = tooMany }, nil},
		{"the ended session goes on", func(s script) { s["POST /token p1"] = grant("s2", "p2") }, []string{ruleGhost}},
	} {
		t.Run(c.what, func(t *testing.T) {
			s := honest()
			c.spoil(s)
			srv := httptest.NewServer(s)
			defer srv.Close()
			h := judge(promised())
			if len(h.findings) > 0 {
				t.Fatalf("the journal alone: %v", h.findings)
			}
			w := &world{client: newClient(newJournal(io.Discard, time.Now), srv.URL)}
			w.keepsPromises(t.Context(), h)
			got := rules(h)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("broken rules (-want +got):\n%s\n%v", diff, h.findings)
			}
		})
	}
}

func TestClient_asksAsClientsDo(t *testing.T) {
	for _, c := range []struct {
		a    ask
		want string
	}{
		{ask{Op: opSignUp, Email: ada, Password: "p"}, `POST /signup {"email":"ada@example.com","password":"p"}`},
		{ask{Op: opSignIn, Email: ada, Password: "p"}, `POST /token?grant_type=password {"email":"ada@example.com","password":"p"}`},
		{ask{Op: opRefresh, Email: ada, Token: "r1"}, `POST /token?grant_type=refresh_token {"refresh_token":"r1"}`},
		{ask{Op: opUser, Access: "a"}, `GET /user  Bearer a`},
		{ask{Op: opCode, Email: ada}, `POST /otp {"create_user":false,"email":"ada@example.com"}`},
		{ask{Op: opVerify, Email: ada, Code: "123456"}, `POST /verify {"email":"ada@example.com","token":"123456","type":"email"}`},
		{ask{Op: opVerify, Email: ada, Link: "l"}, `POST /verify {"token_hash":"l","type":"magiclink"}`},
		{ask{Op: opMark, Access: "a", Mark: "m1"}, `PUT /user {"data":{"m1":true}} Bearer a`},
		{ask{Op: opPassword, Access: "a", Password: "p"}, `PUT /user {"password":"p"} Bearer a`},
		{ask{Op: opSignOut, Access: "a", Scope: "global"}, `POST /logout?scope=global  Bearer a`},
	} {
		r, err := c.a.request(t.Context(), "http://gate")
		if err != nil {
			t.Fatal(err)
		}
		body := []byte(nil)
		if r.Body != nil {
			body, _ = io.ReadAll(r.Body)
		}
		got := strings.TrimSpace(r.Method + " " + r.URL.RequestURI() + " " + string(body) + " " + r.Header.Get("Authorization"))
		if got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
	if _, err := (ask{Op: "dance"}).request(t.Context(), "http://gate"); err == nil {
		t.Error("an operation nobody knows: got no error")
	}
}

func TestClient_tellsWhatCameBack(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, grant("s1", "r2")) })
	mux.HandleFunc("GET /user", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"id":"u","user_metadata":{"b":1,"a":2}}`)
	})
	mux.HandleFunc("POST /otp", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "busy", http.StatusServiceUnavailable)
	})
	mux.HandleFunc("POST /signup", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") })
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("POST /verify", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, grant("s1", "r2")[:50])
	})
	srv := httptest.NewServer(mux)
	c := newClient(newJournal(io.Discard, time.Now), srv.URL)
	for op, want := range map[string]told{
		opRefresh: {Status: 200, User: "u", Session: "s1", Refresh: "r2", Access: access("s1"), Marks: []string{"m1"}},
		opUser:    {Status: 200, User: "u", Marks: []string{"a", "b"}},
		opCode:    {Status: 503, RetryAfter: true, Err: "busy"},
		opSignOut: {Status: 204},
	} {
		if diff := cmp.Diff(want, c.send(t.Context(), ask{Op: op})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", op, diff)
		}
	}
	for _, op := range []string{opSignUp, opVerify} { // unreadable, cut off
		if got := c.send(t.Context(), ask{Op: op}); got.outcome() != unknown || got.Err == "" || got.Unsent {
			t.Errorf("%s: got %+v, want an unknown outcome", op, got)
		}
	}
	srv.Close()
	if got := c.send(t.Context(), ask{Op: opCode}); !got.Unsent {
		t.Errorf("nobody listens: got %+v, want a request that was not sent", got)
	}
}
