package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/fetch"
)

// newHook returns a hook at r that does not pause between tries.
func newHook(t *testing.T, r *receiver, change ...func(*HookOptions)) *Hook {
	t.Helper()
	o := HookOptions{
		Name: "send-sms", URI: r.URL + "/hunter2?key=hunter2", Secrets: []Secret{keyA},
		Client: privateClient(t), Now: func() time.Time { return noon },
	}
	for _, c := range change {
		c(&o)
	}
	h, err := NewHook(o)
	if err != nil {
		t.Fatal(err)
	}
	h.pause = func(ctx context.Context) error { return ctx.Err() }
	return h
}

type decision struct {
	Decision string         `json:"decision"`
	Claims   map[string]any `json:"claims"`
}

func TestHook_sendsJSONAndReadsTheAnswer(t *testing.T) {
	t.Parallel()
	r := receive(t, says(200, `{"decision":"continue","claims":{"a":[1]},"unknown":1,"error":null}`))
	h := newHook(t, r)
	var out decision
	if err := h.Call(t.Context(), map[string]any{"user_id": "u<1>", "valid": true}, &out); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(decision{"continue", map[string]any{"a": []any{1.0}}}, out); diff != "" {
		t.Error(diff)
	}
	calls := r.got()
	if len(calls) != 1 {
		t.Fatalf("%d calls, want 1", len(calls))
	}
	c := calls[0]
	var in map[string]any
	if err := json.Unmarshal([]byte(c.body), &in); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"user_id": "u<1>", "valid": true}, in); diff != "" {
		t.Error(diff)
	}
	if c.method != "POST" || c.path != "/hunter2?key=hunter2" || c.header.Get("Content-Type") != "application/json" {
		t.Errorf("got %s %s, %s", c.method, c.path, c.header.Get("Content-Type"))
	}
	if _, sent := c.header["Idempotency-Key"]; sent {
		t.Error("a header was sent that only net/http should see")
	}
	if err := Verify(c.header, []byte(c.body), noon, keyA); err != nil {
		t.Error(err)
	}
	id := c.header.Get("Webhook-Id")
	if want := hmacOf(keyA, id+".1772366400."+c.body); c.header.Get("Webhook-Signature") != want {
		t.Errorf("got the signature %s, want %s", c.header.Get("Webhook-Signature"), want)
	}
	if err := h.Call(t.Context(), nil, nil); err != nil {
		t.Fatal(err)
	}
	if again := r.got()[1].header.Get("Webhook-Id"); id == "" || again == id {
		t.Errorf("two calls have the ids %q and %q", id, again)
	}
}

func TestHook_signsWithEverySecret(t *testing.T) {
	t.Parallel()
	for separator, want := range map[string]string{"": ", ", " ": " "} {
		r := receive(t, says(200, `{}`))
		h := newHook(t, r, func(o *HookOptions) { o.Secrets, o.Separator = []Secret{keyA, keyB}, separator })
		if err := h.Call(t.Context(), 1, nil); err != nil {
			t.Fatal(err)
		}
		c := r.got()[0]
		text := c.header.Get("Webhook-Id") + ".1772366400.1"
		if got, want := c.header.Get("Webhook-Signature"), hmacOf(keyA, text)+want+hmacOf(keyB, text); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestHook_takesOnlyASuccessForOne(t *testing.T) {
	t.Parallel()
	typed := func(contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = []string{contentType}
			io.WriteString(w, body)
		}
	}
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		want   error // nil: success
	}{
		{"200", says(200, `{"decision":"continue"}`), nil},
		{"202", says(202, `{"decision":"continue"}`), nil},
		{"204", says(204, ``), nil},
		{"a charset", typed("Application/JSON; charset=utf-8", `{}`), nil},
		{"as long as may be", says(200, `{"decision":"`+strings.Repeat("x", maxAnswer-15)+`"}`), nil},

		{"empty 200", says(200, ``), ErrFailed},
		{"empty 202", says(202, ``), ErrFailed},
		{"201", says(201, `{}`), ErrFailed},
		{"206", says(206, `{}`), ErrFailed},
		{"400", says(400, `{}`), ErrFailed},
		{"500", says(500, `oops`), ErrFailed},
		{"500 with an error that is null", says(500, `{"error":null}`), ErrFailed},
		{"429 without Retry-After", says(429, `{}`), ErrFailed},
		{"503 without Retry-After", says(503, `{}`), ErrFailed},
		{"500 with Retry-After", later(500), ErrFailed},
		{"no JSON", says(200, `hello`), ErrFailed},
		{"half of it", says(200, `{"decision":"continue"`), ErrFailed},
		{"too much of it", says(200, `{"decision":"continue"}{}`), ErrFailed},
		{"null", says(200, `null`), ErrFailed},
		{"a list", says(200, `[]`), ErrFailed},
		{"another form", says(200, `{"decision":true}`), ErrFailed},
		{"an error that is a text", says(200, `{"decision":"continue","error":"no"}`), ErrFailed},
		{"an error that is empty", says(200, `{"decision":"continue","error":""}`), ErrFailed},
		{"an error that is false", says(200, `{"decision":"continue","error":false}`), ErrFailed},
		{"HTML", typed("text/html", `{}`), ErrContentType},
		{"text", typed("text/plain", `{}`), ErrContentType},
		{"no type", typed("", `{}`), ErrContentType},
		{"another JSON", typed("application/problem+json", `{}`), ErrContentType},
		{"a type that begins the same", typed("application/json-seq", `{}`), ErrContentType},
		{"a byte too long", says(200, `{"decision":"`+strings.Repeat("x", maxAnswer-14)+`"}`), ErrTooLarge},
		{"no end", pours, ErrTooLarge},
		{"a redirect to where clouds keep keys", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/latest/meta-data/", http.StatusTemporaryRedirect)
		}, ErrFailed},
		{"a broken connection", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, ErrFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := receive(t, c.answer)
			var out decision
			err := newHook(t, r).Call(t.Context(), map[string]int{}, &out)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if n := len(r.got()); n != 1 {
				t.Errorf("%d calls, want 1", n)
			}
			if c.want != nil {
				checkFailure(t, err, "hook send-sms", r)
			}
		})
	}
}

// checkFailure asserts that err tells a client nothing about where r is.
func checkFailure(t *testing.T, err error, callee string, r *receiver) {
	t.Helper()
	var f *Failure
	if !errors.As(err, &f) {
		t.Fatalf("got %T, want a *Failure", err)
	}
	if got, want := err.Error(), callee+": "+f.Reason.Error(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, inner := range []string{"127.0.0.1", "169.254", "hunter2", r.URL} {
		if strings.Contains(err.Error(), inner) {
			t.Errorf("the message tells %s: %v", inner, err)
		}
	}
	if strings.Contains(f.Detail(), "hunter2") {
		t.Errorf("the detail repeats the URL: %s", f.Detail())
	}
}

func TestHook_doesNotFollowRedirects(t *testing.T) {
	t.Parallel()
	inner := receive(t, says(200, `{}`))
	for _, status := range []int{301, 302, 303, 307, 308} {
		r := receive(t, func(w http.ResponseWriter, req *http.Request) { http.Redirect(w, req, inner.URL, status) })
		if err := newHook(t, r).Call(t.Context(), 1, nil); !errors.Is(err, ErrFailed) {
			t.Errorf("%d: got %v, want ErrFailed", status, err)
		}
	}
	if n := len(inner.got()); n != 0 {
		t.Errorf("%d redirects were followed", n)
	}
}

func TestHook_204LeavesOutAsItIs(t *testing.T) {
	t.Parallel()
	out := decision{Decision: "reject"}
	if err := newHook(t, receive(t, says(204, ""))).Call(t.Context(), 1, &out); err != nil || out.Decision != "reject" {
		t.Errorf("got %v, %v", out, err)
	}
}

func TestHook_handsOutItsRefusal(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 300)
	for _, c := range []struct {
		name   string
		status int
		body   string
		want   Refusal
	}{
		{"200", 200, `{"error":{"http_code":403,"message":"not from here"}}`, Refusal{403, "not from here"}},
		{"202", 202, `{"error":{"http_code":403,"message":"no"}}`, Refusal{403, "no"}},
		{"beside what looks like consent", 200, `{"decision":"continue","error":{"http_code":422,"message":"no"}}`, Refusal{422, "no"}},
		{"400", 400, `{"error":{"http_code":409,"message":"no"}}`, Refusal{409, "no"}},
		{"500", 500, `{"error":{"http_code":599,"message":"no"}}`, Refusal{599, "no"}},
		{"429 without Retry-After", 429, `{"error":{"http_code":429,"message":"slowly"}}`, Refusal{429, "slowly"}},
		{"no code", 200, `{"error":{"message":"no"}}`, Refusal{500, "no"}},
		{"no message", 200, `{"error":{"http_code":403}}`, Refusal{403, ""}},
		{"neither", 200, `{"error":{}}`, Refusal{500, ""}},
		{"a success for a code", 200, `{"error":{"http_code":200,"message":"no"}}`, Refusal{500, "no"}},
		{"a redirect for a code", 200, `{"error":{"http_code":302,"message":"no"}}`, Refusal{500, "no"}},
		{"no status at all", 200, `{"error":{"http_code":600,"message":"no"}}`, Refusal{500, "no"}},
		{"a code that is no number", 200, `{"error":{"http_code":"abc","message":7}}`, Refusal{500, ""}},
		{"control characters", 400, `{"error":{"http_code":403,"message":"a\r\nSet-Cookie: b\u0000\u001b[31m\u202ec\u2028"}}`, Refusal{403, "aSet-Cookie: b[31mc"}},
		{"a long message", 400, `{"error":{"http_code":403,"message":"` + long + `"}}`, Refusal{403, long[:500]}},
		{"a long message cut inside a letter", 400, `{"error":{"http_code":403,"message":"x` + long + `"}}`, Refusal{403, "x" + long[:498]}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := receive(t, says(c.status, c.body))
			out := decision{}
			err := newHook(t, r).Call(t.Context(), 1, &out)
			var got *Refusal
			if !errors.As(err, &got) {
				t.Fatalf("got %v, want a *Refusal", err)
			}
			if diff := cmp.Diff(&c.want, got); diff != "" {
				t.Error(diff)
			}
			if out.Decision != "" {
				t.Errorf("the answer was read in spite of the refusal: %v", out)
			}
			if n := len(r.got()); n != 1 {
				t.Errorf("%d calls, want 1", n)
			}
		})
	}
}

func TestHook_failsWhenNobodyIsThere(t *testing.T) {
	t.Parallel()
	r := receive(t, says(200, `{}`))
	h := newHook(t, r)
	r.Close()
	err := h.Call(t.Context(), 1, nil)
	if !errors.Is(err, ErrFailed) {
		t.Fatalf("got %v, want ErrFailed", err)
	}
	checkFailure(t, err, "hook send-sms", r)
	var f *Failure
	if errors.As(err, &f); f.Detail() == "" {
		t.Error("the operator's detail is missing")
	}
}

// The setting may name a host whose address turns out to be an inner one.
func TestHook_refusesInnerAddresses(t *testing.T) {
	t.Parallel()
	for client, uris := range map[*fetch.Client][]string{
		fetch.New(fetch.Options{}): {"https://localhost:9/hunter2", "https://127.0.0.1:9/", "https://10.0.0.1/", "https://169.254.169.254/"},
		privateClient(t):           {"https://169.254.169.254/hunter2", "https://[fe80::1]/"},
	} {
		for _, uri := range uris {
			h, err := NewHook(HookOptions{Name: "h", URI: uri, Secrets: []Secret{keyA}, Client: client})
			if err != nil {
				t.Fatal(err)
			}
			err = h.Call(t.Context(), 1, nil)
			var f *Failure
			if !errors.As(err, &f) || !errors.Is(err, ErrFailed) || !strings.HasPrefix(f.Detail(), fetch.ErrRefused.Error()) {
				t.Errorf("%s: got %v, want it refused", uri, err)
			} else if err.Error() != "hook h: the call failed" {
				t.Errorf("%s: the message tells too much: %v", uri, err)
			}
		}
	}
}

func TestHook_failsIfTheInputIsNoJSON(t *testing.T) {
	t.Parallel()
	r := receive(t, says(200, `{}`))
	if err := newHook(t, r).Call(t.Context(), func() {}, nil); !errors.Is(err, ErrFailed) || len(r.got()) != 0 {
		t.Errorf("got %v after %d calls, want ErrFailed after none", err, len(r.got()))
	}
}

func TestNewHook_refusesBadSettings(t *testing.T) {
	t.Parallel()
	private := privateClient(t)
	public := fetch.New(fetch.Options{})
	one := []Secret{keyA}
	for _, c := range []struct {
		uri     string
		secrets []Secret
		client  *fetch.Client
		want    string // empty: it is good
	}{
		{"https://example.org/hook", one, public, ""},
		{"http://localhost:8000/", one, private, ""},
		{"http://LOCALHOST/", one, private, ""},
		{"http://127.1.2.3/", one, private, ""},
		{"http://[::1]:8000/", one, private, ""},
		{"http://example.org/hunter2", one, private, "http:// is for loopback hosts alone"},
		{"http://localhost.example.org/", one, private, "http:// is for loopback hosts alone"},
		{"http://10.0.0.1/", one, private, "http:// is for loopback hosts alone"},
		{"http://0.0.0.0/", one, private, "http:// is for loopback hosts alone"},
		{"http://127.0.0.1@example.org/", one, private, "http:// is for loopback hosts alone"},
		{"http://localhost/", one, public, "not allowed"},
		{"https://example.org/hunter2", nil, public, "set a secret"},
		{"https://example.org/hunter2", []Secret{{}}, public, "set a secret"},
		{"https://example.org/", one, nil, "no client"},
		{"", one, private, "not an absolute URL"},
		{"hunter2", one, private, "not an absolute URL"},
		{"https:hunter2", one, private, "not an absolute URL"},
		{"https:///hunter2", one, private, "not an absolute URL"},
		{"https://exa mple/hunter2", one, private, "not an absolute URL"},
		{"ftp://localhost/hunter2", one, private, "must begin with https://"},
		{"file://localhost/etc/passwd", one, private, "must begin with https://"},
		{"pg-functions://postgres/public/f", nil, nil, "only PostgreSQL has functions"},
	} {
		_, err := NewHook(HookOptions{Name: "h", URI: c.uri, Secrets: c.secrets, Client: c.client})
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.uri, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got %v, want %q", c.uri, err, c.want)
		case err != nil && strings.Contains(err.Error(), "hunter2"):
			t.Errorf("the message repeats the URI: %v", err)
		}
	}
	if _, err := NewHook(HookOptions{URI: "https://example.org/", Secrets: one, Client: public}); err == nil {
		t.Error("a hook without a name was taken")
	}
}

func TestHook_metadataTellsAboutTheCall(t *testing.T) {
	t.Parallel()
	h := newHook(t, receive(t, says(200, `{}`)), func(o *HookOptions) {
		o.Now = func() time.Time { return noon.In(time.FixedZone("x", 3600)) }
	})
	m := h.Metadata("192.0.2.1")
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(m.UUID) {
		t.Errorf("%q is no random UUID", m.UUID)
	}
	if other := h.Metadata(""); other.UUID == m.UUID {
		t.Error("two calls have one UUID")
	}
	m.UUID = "u"
	got, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"uuid":"u","time":"2026-03-01T12:00:00Z","name":"send-sms","ip_address":"192.0.2.1"}`; string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
