package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// TestMain lets the test binary stand in for the server: `bench.test serve` is
// what the driver starts in the tests of starting.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "serve" {
		if err := serveFake(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
		return
	}
	folder, err := os.MkdirTemp("", "bench-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	theBuild.folder = folder
	code := m.Run()
	if err := os.RemoveAll(folder); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func serveFake() error {
	if os.Getenv("BENCH_FAKE_FAULT") == "dies" {
		return errors.New("the disk is full of bees")
	}
	if got, want := os.Getenv("GATEHOUSE_PORT"), "0"; got != want {
		return fmt.Errorf("GATEHOUSE_PORT is %q, want %q", got, want)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("listening on http://%s\n", l.Addr())
	return http.Serve(l, newFake())
}

// fake is as much of GoTrue as the driver can notice: sign-up, the two grants,
// the user, and refresh tokens that work once.
type fake struct {
	mux http.ServeMux

	netlify bool                                              // forms at /token, and no session from /signup
	veto    func(w http.ResponseWriter, r *http.Request) bool // answers first, if it wants to

	mu        sync.Mutex // guards all below
	passwords map[string]string
	access    map[string]string // token → address
	refresh   map[string]string // token → address; deleted when used
	issued    int
	refused   int // refresh tokens that were unknown or used
	calls     map[string]int
}

func newFake() *fake {
	f := &fake{passwords: map[string]string{}, access: map[string]string{}, refresh: map[string]string{}, calls: map[string]int{}}
	f.mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, map[string]string{"name": "fake"}) })
	f.mux.HandleFunc("POST /signup", f.signUp)
	f.mux.HandleFunc("POST /token", f.token)
	f.mux.HandleFunc("GET /user", f.user)
	f.mux.HandleFunc("GET /admin/users", f.list)
	return f
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.veto != nil && f.veto(w, r) {
		return
	}
	f.mux.ServeHTTP(w, r)
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that has gone is its own loss
}

func (f *fake) signUp(w http.ResponseWriter, r *http.Request) {
	var in struct{ Email, Password string }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.Email == "" || in.Password == "" {
		reply(w, 400, map[string]any{"code": 400, "msg": "bad json"})
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls["signup"]++
	if _, taken := f.passwords[in.Email]; taken {
		reply(w, 422, map[string]any{"code": 422, "error_code": "user_already_exists"})
		return
	}
	f.passwords[in.Email] = in.Password
	if f.netlify {
		reply(w, 200, f.person(in.Email))
		return
	}
	reply(w, 200, f.session(in.Email))
}

func (f *fake) token(w http.ResponseWriter, r *http.Request) {
	in := map[string]string{}
	grant := r.URL.Query().Get("grant_type")
	name := "email"
	if f.netlify {
		name = "username"
		grant = r.PostFormValue("grant_type")
		for k := range r.PostForm {
			in[k] = r.PostForm.Get(k)
		}
	} else if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		reply(w, 400, map[string]any{"code": 400, "error_code": "bad_json"})
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[grant]++
	switch grant {
	case "password":
		if want, ok := f.passwords[in[name]]; !ok || want != in["password"] {
			reply(w, 400, map[string]any{"code": 400, "error_code": "invalid_credentials"})
			return
		}
		reply(w, 200, f.session(in[name]))
	case "refresh_token":
		email, ok := f.refresh[in["refresh_token"]]
		if !ok {
			f.refused++
			reply(w, 400, map[string]any{"code": 400, "error_code": "refresh_token_already_used"})
			return
		}
		delete(f.refresh, in["refresh_token"])
		reply(w, 200, f.session(email))
	default:
		reply(w, 400, map[string]any{"code": 400, "msg": "unsupported_grant_type"})
	}
}

func (f *fake) user(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls["user"]++
	email, ok := f.access[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	if !ok {
		reply(w, 401, map[string]any{"code": 401, "error_code": "no_authorization"})
		return
	}
	reply(w, 200, f.person(email))
}

const fakePages = 5 // of the list of users, all full

// list answers with a full page, and a Link to the next by which the walk is
// told from somebody who counts.
func (f *fake) list(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer operator" {
		reply(w, 401, map[string]any{"code": 401})
		return
	}
	q := r.URL.Query()
	n := 1
	if q.Has("page") {
		n, _ = strconv.Atoi(q.Get("page"))
		f.calls["page"]++
	} else if q.Has("after") {
		n, _ = strconv.Atoi(q.Get("after"))
		n++
		f.calls["walk"]++
	} else {
		f.calls["first"]++
	}
	last := fmt.Sprintf(`<%s?page=%d>; rel="last"`, r.URL.Path, fakePages)
	if n < fakePages {
		last = fmt.Sprintf(`<%s?after=%d&per_page=50>; rel="next", `, r.URL.Path, n) + last
	}
	w.Header().Set("Link", last)
	users := make([]map[string]string, pageSize)
	for i := range users {
		users[i] = map[string]string{"created_at": "2026-01-02T03:04:05Z"}
	}
	if n < 1 || n > fakePages {
		users = nil
	}
	reply(w, 200, map[string]any{"users": users})
}

// person is long enough to be sent in chunks by net/http.
func (f *fake) person(email string) map[string]any {
	return map[string]any{"id": "u-" + email, "email": email, "user_metadata": map[string]string{
		"access_token": "not this one", "about": strings.Repeat("x", 3000),
	}}
}

// session answers with tokens that need escaping; its caller holds mu.
func (f *fake) session(email string) map[string]any {
	f.issued++
	access, refresh := fmt.Sprintf("a-%d", f.issued), fmt.Sprintf(`r"\%d`, f.issued)
	f.access[access], f.refresh[refresh] = email, email
	return map[string]any{"a_user": f.person(email), "access_token": access, "refresh_token": refresh, "token_type": "bearer", "expires_in": 3600}
}
