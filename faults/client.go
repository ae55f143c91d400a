package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// answerTimeout is how long a caller waits: more than the ten seconds a server
// may spend on a request, so that giving up first is the server's part.
const answerTimeout = 12 * time.Second

// client speaks the wire and keeps the journal.
type client struct {
	http *http.Client
	j    *journal
	base func() string // the address to ask next
}

// newClient returns a client that asks the addresses in turn.
func newClient(j *journal, addresses ...string) *client {
	turn := make(chan int, 1)
	turn <- 0
	return &client{
		http: newHTTP(),
		j:    j,
		base: func() string {
			n := <-turn
			turn <- n + 1
			return addresses[n%len(addresses)]
		},
	}
}

func newHTTP() *http.Client {
	return &http.Client{
		Transport: &http.Transport{MaxIdleConns: 1000, MaxIdleConnsPerHost: 1000, DisableCompression: true},
		Timeout:   answerTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
}

// do makes a request, with both its lines in the journal. An error is the
// journal's own.
func (c *client) do(ctx context.Context, a ask) (told, error) {
	id, err := c.j.ask(a)
	if err != nil {
		return told{}, err
	}
	t := c.send(ctx, a)
	return t, c.j.told(id, t)
}

// send makes a request that nobody writes down.
func (c *client) send(ctx context.Context, a ask) told {
	// A caller does not take a request back because the scenario moves on.
	r, err := a.request(context.WithoutCancel(ctx), c.base())
	if err != nil {
		return told{Unsent: true, Err: err.Error()}
	}
	res, err := c.http.Do(r)
	if err != nil {
		var dial *net.OpError
		return told{Unsent: errors.As(err, &dial) && dial.Op == "dial", Err: err.Error()}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	t := told{Status: res.StatusCode, RetryAfter: res.Header.Get("Retry-After") != ""}
	if err != nil {
		return told{Err: "the answer was cut off: " + err.Error()}
	}
	if t.Status >= 300 {
		t.Err = cutText(string(body), 300)
		return t
	}
	err = t.read(body)
	if err != nil {
		return told{Err: err.Error()} // a promise that nobody can read
	}
	return t
}

// request is how an operation is asked for.
func (a ask) request(ctx context.Context, base string) (*http.Request, error) {
	method := http.MethodPost
	var path string
	var body any
	switch a.Op {
	case opSignUp:
		path, body = "/signup", map[string]any{"email": a.Email, "password": a.Password}
	case opSignIn:
		path, body = "/token?grant_type=password", map[string]any{"email": a.Email, "password": a.Password}
	case opRefresh:
		path, body = "/token?grant_type=refresh_token", map[string]any{"refresh_token": a.Token}
	case opUser:
		method, path = http.MethodGet, "/user"
	case opCode:
		path, body = "/otp", map[string]any{"email": a.Email, "create_user": false}
	case opVerify:
		path, body = "/verify", map[string]any{"type": "magiclink", "token_hash": a.Link}
		if a.Code != "" {
			body = map[string]any{"type": "email", "email": a.Email, "token": a.Code}
		}
	case opMark:
		method, path, body = http.MethodPut, "/user", map[string]any{"data": map[string]any{a.Mark: true}}
	case opPassword:
		method, path, body = http.MethodPut, "/user", map[string]any{"password": a.Password}
	case opSignOut:
		path = "/logout?scope=" + url.QueryEscape(a.Scope)
	default:
		return nil, fmt.Errorf("no request is called %q", a.Op)
	}
	var in io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		in = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, base+path, in)
	if err != nil {
		return nil, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if a.Access != "" {
		r.Header.Set("Authorization", "Bearer "+a.Access)
	}
	return r, nil
}

// read takes out of an answer what the judge looks at.
func (t *told) read(body []byte) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	type person struct {
		ID       string         `json:"id"`
		Metadata map[string]any `json:"user_metadata"`
	}
	var in struct {
		Access  string  `json:"access_token"`
		Refresh string  `json:"refresh_token"`
		User    *person `json:"user"`
		person
	}
	err := json.Unmarshal(body, &in)
	if err != nil {
		return fmt.Errorf("the answer is not JSON: %w", err)
	}
	who := in.person
	if in.User != nil {
		who = *in.User
	}
	t.User, t.Access, t.Refresh = who.ID, in.Access, in.Refresh
	t.Marks = slices.Sorted(maps.Keys(who.Metadata))
	if in.Access == "" {
		return nil
	}
	t.Session, err = sessionOf(in.Access)
	return err
}

// sessionOf reads the session out of an access token without a look at its
// signature, which is the server's to judge.
func sessionOf(access string) (string, error) {
	parts := strings.Split(access, ".")
	if len(parts) != 3 {
		return "", errors.New("the access token is no JWT")
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", fmt.Errorf("the access token's claims: %w", err)
	}
	var claims struct {
		Session string `json:"session_id"`
	}
	err = json.Unmarshal(text, &claims)
	if err != nil {
		return "", fmt.Errorf("the access token's claims: %w", err)
	}
	return claims.Session, nil
}

// cutText returns the beginning of s.
func cutText(s string, most int) string {
	s = strings.TrimSpace(s)
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + " …"
	}
	return s
}
