package captcha_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/captcha"
	"gatehouse/internal/fetch"

	"github.com/google/go-cmp/cmp"
)

const (
	secret = "0xSECRET-of-the-site"
	token  = "P1_eyJ0eXAi.TOKEN-of-the-client"
)

// provider is a siteverify of one's own, and the questions it was asked.
type provider struct {
	*httptest.Server
	asked chan url.Values
}

func newProvider(t *testing.T, answer http.HandlerFunc) *provider {
	t.Helper()
	p := &provider{asked: make(chan url.Values, 100)}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		form, err := url.ParseQuery(string(body))
		if err != nil || r.Method != http.MethodPost || r.URL.RawQuery != "" || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
			t.Errorf("got %s %s %s: %s, want a form", r.Method, r.URL, r.Header.Get("Content-Type"), body)
		}
		p.asked <- form
		answer(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func client(t *testing.T) *fetch.Client {
	c := fetch.New(fetch.Options{AllowPrivate: true, Timeout: time.Minute})
	t.Cleanup(c.Close)
	return c
}

// both are a Checker of each provider.
func both(t *testing.T, o captcha.Options) map[string]captcha.Checker {
	t.Helper()
	if o.Secret == "" {
		o.Secret = secret
	}
	h, err := captcha.NewHCaptcha(client(t), o)
	if err != nil {
		t.Fatal(err)
	}
	c, err := captcha.NewTurnstile(client(t), o)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]captcha.Checker{"hcaptcha": h, "turnstile": c}
}

// silent fails the test if err tells the secret or the token.
func silent(t *testing.T, err error) {
	t.Helper()
	for _, text := range []string{fmt.Sprint(err), fmt.Sprintf("%+v", err)} {
		if strings.Contains(text, "SECRET") || strings.Contains(text, "TOKEN") {
			t.Errorf("the error tells too much: %s", text)
		}
	}
}

func TestCheck_readsEveryAnswer(t *testing.T) {
	t.Parallel()
	no := func(codes string) string { return `{"success":false,"error-codes":[` + codes + `]}` }
	for _, tc := range []struct {
		name   string
		status int
		body   string
		want   error
		codes  []string
	}{
		{"yes", 200, `{"success":true,"challenge_ts":"2026-10-01T10:00:00Z","hostname":"a.example","credit":false}`, nil, nil},
		{"yes without errors", 200, `{"success":true,"error-codes":[],"hostname":"a.example","action":"login","cdata":""}`, nil, nil},
		{"yes and null", 200, `{"success":true,"error-codes":null,"hostname":null}`, nil, nil},
		{"late or twice", 200, no(`"timeout-or-duplicate"`), captcha.ErrRefused, []string{"timeout-or-duplicate"}},
		{"no token of theirs", 200, no(`"invalid-input-response"`), captcha.ErrRefused, []string{"invalid-input-response"}},
		{"late", 200, no(`"expired-input-response"`), captcha.ErrRefused, []string{"expired-input-response"}},
		{"twice", 200, no(`"already-seen-response","invalid-or-already-seen-response"`), captcha.ErrRefused, []string{"already-seen-response", "invalid-or-already-seen-response"}},
		{"another's site key", 200, no(`"sitekey-secret-mismatch"`), captcha.ErrRefused, []string{"sitekey-secret-mismatch"}},
		{"malformed", 200, no(`"bad-request"`), captcha.ErrRefused, []string{"bad-request"}},
		{"no, and no reason", 200, `{"success":false}`, captcha.ErrRefused, nil},
		{"a refusal with its status", 400, no(`"invalid-input-response"`), captcha.ErrRefused, []string{"invalid-input-response"}},
		{"a fault and a refusal", 200, no(`"internal-error","invalid-input-response"`), captcha.ErrRefused, []string{"internal-error", "invalid-input-response"}},
		{"yes with errors", 200, `{"success":true,"error-codes":["invalid-input-response"]}`, captcha.ErrRefused, []string{"invalid-input-response"}},
		{"codes that repeat", 200, no(`"TOKEN-of-the-client","0xSECRET"`), captcha.ErrRefused, []string{"unknown"}},
		{"wrong secret", 200, no(`"invalid-input-secret"`), captcha.ErrSetup, []string{"invalid-input-secret"}},
		{"no secret", 200, no(`"missing-input-secret","invalid-input-response"`), captcha.ErrSetup, []string{"missing-input-secret", "invalid-input-response"}},
		{"wrong secret and yes", 200, `{"success":true,"error-codes":["invalid-input-secret"]}`, captcha.ErrSetup, []string{"invalid-input-secret"}},
		{"wrong secret and its status", 403, no(`"invalid-input-secret"`), captcha.ErrSetup, []string{"invalid-input-secret"}},
		{"yes with the status of a refusal", 403, `{"success":true}`, captcha.ErrSetup, nil},
		{"a filter before it", 403, `<html>blocked TOKEN-of-the-client</html>`, captcha.ErrSetup, nil},
		{"nothing there", 404, `not found`, captcha.ErrSetup, nil},
		{"fault", 200, no(`"internal-error"`), captcha.ErrUnavailable, []string{"internal-error"}},
		{"500", 500, `{"success":true}`, captcha.ErrUnavailable, nil},
		{"503", 503, ``, captcha.ErrUnavailable, nil},
		{"too many", 429, no(`"invalid-input-response"`), captcha.ErrUnavailable, nil},
		{"too slow", 408, ``, captcha.ErrUnavailable, nil},
		{"201", 201, `{"success":true}`, captcha.ErrUnavailable, []string{"unreadable"}},
		{"nothing", 200, ``, captcha.ErrUnavailable, []string{"unreadable"}},
		{"a page", 200, `<html>welcome TOKEN</html>`, captcha.ErrUnavailable, []string{"unreadable"}},
		{"no verdict", 200, `{}`, captcha.ErrUnavailable, []string{"unreadable"}},
		{"null", 200, `{"success":null}`, captcha.ErrUnavailable, []string{"unreadable"}},
		{"a word", 200, `{"success":"true"}`, captcha.ErrUnavailable, []string{"unreadable"}},
		{"half", 200, `{"success":true`, captcha.ErrUnavailable, []string{"unreadable"}},
		{"two", 200, `{"success":true}{"success":true}`, captcha.ErrUnavailable, []string{"unreadable"}},
		{"codes that are no list", 200, `{"success":true,"error-codes":"none"}`, captcha.ErrUnavailable, []string{"unreadable"}},
		{"a list", 200, `[{"success":true}]`, captcha.ErrUnavailable, []string{"unreadable"}},
		{"large", 200, `{"success":true,"x":"` + strings.Repeat("x", 64<<10) + `"}`, captcha.ErrUnavailable, []string{"unreadable"}},
		{"giant", 200, `{"success":true,"x":"` + strings.Repeat("x", 2<<20) + `"}`, captcha.ErrUnavailable, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t, says(tc.status, tc.body))
			for name, c := range both(t, captcha.Options{URL: p.URL}) {
				err := c.Check(t.Context(), token, "")
				if !errors.Is(err, tc.want) {
					t.Fatalf("%s: got %v, want %v", name, err, tc.want)
				}
				silent(t, err)
				if e := (*captcha.Error)(nil); tc.want == nil {
					continue
				} else if !errors.As(err, &e) {
					t.Errorf("%s: got %T, want *Error", name, err)
				} else if diff := cmp.Diff(tc.codes, e.Codes); diff != "" || e.Provider != name {
					t.Errorf("%s: got an error of %s; codes (-want +got):\n%s", name, e.Provider, diff)
				}
			}
		})
	}
}

func TestCheck_tellsOneReasonOnly(t *testing.T) {
	t.Parallel()
	p := newProvider(t, says(200, `{"success":false,"error-codes":["invalid-input-secret"]}`))
	err := both(t, captcha.Options{URL: p.URL})["turnstile"].Check(t.Context(), token, "")
	if errors.Is(err, captcha.ErrRefused) || errors.Is(err, captcha.ErrUnavailable) {
		t.Errorf("%v is taken for another reason", err)
	}
	if got, want := err.Error(), "captcha turnstile: the captcha provider refuses this server (invalid-input-secret)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCheck_asksWithSecretTokenAndAddress(t *testing.T) {
	t.Parallel()
	for ip, want := range map[string]string{
		"": "", "8.8.8.8": "8.8.8.8", "::ffff:8.8.8.8": "8.8.8.8", "2001:4860::8888": "2001:4860::8888",
		"127.0.0.1": "", "10.1.2.3": "", "fd00::1": "", "fe80::1%eth0": "", "::": "", "8.8.8.8, 1.1.1.1": "", "x&secret=y": "",
	} {
		p := newProvider(t, says(200, `{"success":true}`))
		for name, c := range both(t, captcha.Options{URL: p.URL, Secret: "a&b=c d"}) {
			if err := c.Check(t.Context(), "t&secret=x+%", ip); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			form := url.Values{"secret": {"a&b=c d"}, "response": {"t&secret=x+%"}}
			if want != "" {
				form.Set("remoteip", want)
			}
			if diff := cmp.Diff(form, <-p.asked); diff != "" {
				t.Errorf("%s, %q: (-want +got):\n%s", name, ip, diff)
			}
		}
	}
}

func TestCheck_doesNotAskAboutWhatIsNoToken(t *testing.T) {
	t.Parallel()
	p := newProvider(t, says(200, `{"success":true}`))
	most := map[string]int{"hcaptcha": 16 << 10, "turnstile": 2048}
	for name, c := range both(t, captcha.Options{URL: p.URL}) {
		for _, bad := range []string{"", " ", "a b", "a\n", "\x00", "ü", "\xff", "\x7f", strings.Repeat("a", most[name]+1)} {
			err := c.Check(t.Context(), bad, "")
			if e := (*captcha.Error)(nil); !errors.Is(err, captcha.ErrRefused) || !errors.As(err, &e) || e.Codes[0] != captcha.CodeMalformed {
				t.Errorf("%s: %.20q: got %v, want ErrRefused", name, bad, err)
			}
		}
		if len(p.asked) != 0 {
			t.Fatalf("%s: the provider was asked: %v", name, <-p.asked)
		}
		if err := c.Check(t.Context(), strings.Repeat("a", most[name]), ""); err != nil {
			t.Errorf("%s: the longest token: %v", name, err)
		}
		<-p.asked
	}
}

func TestCheck_heldToTheSites(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]error{
		`{"success":true,"hostname":"a.example"}`:      nil,
		`{"success":true,"hostname":"A.Example"}`:      nil,
		`{"success":true,"hostname":"b.example"}`:      nil,
		`{"success":true,"hostname":"evil.example"}`:   captcha.ErrRefused,
		`{"success":true,"hostname":"x.a.example"}`:    captcha.ErrRefused,
		`{"success":true,"hostname":""}`:               captcha.ErrRefused,
		`{"success":true}`:                             captcha.ErrRefused,
		`{"success":false,"hostname":"a.example"}`:     captcha.ErrRefused,
		`{"success":true,"hostname":["a.example"]}`:    captcha.ErrUnavailable,
		`{"success":true,"hostname":"evil.a.example"}`: captcha.ErrRefused,
	} {
		p := newProvider(t, says(200, body))
		for name, c := range both(t, captcha.Options{URL: p.URL, Hosts: []string{"a.example", "b.example"}}) {
			if err := c.Check(t.Context(), token, ""); !errors.Is(err, want) {
				t.Errorf("%s: %s: got %v, want %v", name, body, err, want)
			}
		}
	}
}

func TestCheck_providerThatDoesNotAnswerIsUnavailable(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{}, 100)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		t.Error("the redirect was followed")
		io.WriteString(w, `{"success":true}`)
	}))
	defer elsewhere.Close()
	for name, answer := range map[string]http.HandlerFunc{
		"hang": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"drip": func(w http.ResponseWriter, r *http.Request) {
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			io.WriteString(w, `{"success":true`)
			for {
				select {
				case <-r.Context().Done():
					return
				case <-tick.C:
					io.WriteString(w, " ")
					w.(http.Flusher).Flush()
				}
			}
		},
		"cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, `{"success":true}`)
		},
		"hang up":  func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) },
		"redirect that keeps the form": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		},
		"endless": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write([]byte(strings.Repeat(" ", 4096))); err != nil {
					return
				}
			}
		},
	} {
		p := newProvider(t, func(w http.ResponseWriter, r *http.Request) { begun <- struct{}{}; answer(w, r) })
		for of, c := range both(t, captcha.Options{URL: p.URL, Timeout: 200 * time.Millisecond}) {
			// Its own time must be what ends it, not the caller's or the client's.
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			err := c.Check(ctx, token, "")
			cancel()
			if !errors.Is(err, captcha.ErrUnavailable) {
				t.Errorf("%s, %s: got %v, want ErrUnavailable", name, of, err)
			}
			silent(t, err)
		}
	}
	if len(begun) == 0 {
		t.Error("no provider was asked")
	}

	gone := newProvider(t, says(200, ""))
	gone.Close()
	for of, c := range both(t, captcha.Options{URL: gone.URL + "/SECRET"}) {
		err := c.Check(t.Context(), token, "")
		if !errors.Is(err, captcha.ErrUnavailable) || !errors.Is(err, fetch.ErrUnreachable) {
			t.Errorf("gone, %s: got %v, want ErrUnavailable", of, err)
		}
		silent(t, err)
	}
}

// A client that sends slowly could have its own time run out while the
// provider is asked: that must not pass for an outage.
func TestCheck_endOfTheCallerIsNoOutage(t *testing.T) {
	t.Parallel()
	p := newProvider(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	for name, c := range both(t, captcha.Options{URL: p.URL, Timeout: time.Minute}) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		err := c.Check(ctx, token, "")
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, captcha.ErrUnavailable) {
			t.Errorf("%s: time over: got %v, want DeadlineExceeded alone", name, err)
		}
		<-p.asked
		ctx, cancel = context.WithCancel(t.Context())
		go func() { <-p.asked; cancel() }()
		if err := c.Check(ctx, token, ""); !errors.Is(err, context.Canceled) || errors.Is(err, captcha.ErrUnavailable) {
			t.Errorf("%s: gone: got %v, want Canceled alone", name, err)
		}
	}
	// The dialler knows the caller's deadline and may be ahead of it: whatever
	// takes too long within a time that the caller cut short is the caller's.
	hasty := fetch.New(fetch.Options{AllowPrivate: true, Timeout: 50 * time.Millisecond})
	defer hasty.Close()
	c, err := captcha.NewHCaptcha(hasty, captcha.Options{Secret: secret, URL: p.URL, Timeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.Check(ctx, token, ""); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, captcha.ErrUnavailable) {
		t.Errorf("little time: got %v, want DeadlineExceeded alone", err)
	}
	if err := c.Check(t.Context(), token, ""); !errors.Is(err, captcha.ErrUnavailable) {
		t.Errorf("all the time: got %v, want ErrUnavailable", err)
	}
}

func TestCheck_refusesInnerAddresses(t *testing.T) {
	t.Parallel()
	p := newProvider(t, says(200, `{"success":true}`))
	guarded := fetch.New(fetch.Options{})
	defer guarded.Close()
	c, err := captcha.NewTurnstile(guarded, captcha.Options{Secret: secret, URL: p.URL})
	if err != nil {
		t.Fatal(err)
	}
	// Not an outage either: only the operator can mend it.
	if err := c.Check(t.Context(), token, ""); !errors.Is(err, captcha.ErrSetup) {
		t.Errorf("got %v, want ErrSetup", err)
	}
	if len(p.asked) != 0 {
		t.Error("the inner server was reached")
	}
}

func TestNew_refusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	for _, o := range []captcha.Options{
		{},
		{Secret: " "},
		{Secret: secret, URL: "api.example"},
		{Secret: secret, URL: "ftp://api.example"},
		{Secret: secret, URL: "https://"},
		{Secret: secret, URL: "https://SECRET:TOKEN@api.example"},
		{Secret: secret, URL: "https://TOKEN api.example"},
	} {
		_, err := captcha.NewHCaptcha(client(t), o)
		_, err2 := captcha.NewTurnstile(client(t), o)
		if err == nil || err2 == nil {
			t.Errorf("%+v: got no error", o)
		}
		silent(t, err)
		silent(t, err2)
	}
	for name, c := range both(t, captcha.Options{}) {
		if got, want := fmt.Sprintf("%v %+v %s", c, c, c), "captcha "+name; !strings.HasPrefix(got, want) || strings.Contains(got, "SECRET") {
			t.Errorf("got %q, want the name alone", got)
		}
	}
}
