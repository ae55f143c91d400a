package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/fetch"
)

const instance = "00000000-0000-0000-0000-000000000000"

func newNetlify(t *testing.T, r *receiver, change ...func(*NetlifyOptions)) *Netlify {
	t.Helper()
	o := NetlifyOptions{
		URL: r.URL + "/hunter2?key=hunter2", Secret: Secret("plain text"), Client: privateClient(t),
		Now: func() time.Time { return noon }, Instance: instance,
	}
	for _, c := range change {
		c(&o)
	}
	n, err := NewNetlify(o)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestNetlify_sendsTheEventSigned(t *testing.T) {
	t.Parallel()
	r := receive(t, says(200, ``))
	if _, err := newNetlify(t, r).Call(t.Context(), "signup", json.RawMessage(`{"id": "u1", "email":"<a@example.org>"}`)); err != nil {
		t.Fatal(err)
	}
	calls := r.got()
	if len(calls) != 1 {
		t.Fatalf("%d calls, want 1", len(calls))
	}
	c := calls[0]
	var body map[string]any
	if err := json.Unmarshal([]byte(c.body), &body); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"event": "signup", "instance_id": instance, "user": map[string]any{"id": "u1", "email": "<a@example.org>"}}
	if diff := cmp.Diff(want, body); diff != "" {
		t.Error(diff)
	}
	if c.method != "POST" || c.path != "/hunter2?key=hunter2" || c.header.Get("Content-Type") != "application/json" ||
		c.header.Get("X-Netlify-Event") != "identity_signup" {
		t.Errorf("got %s %s with %v", c.method, c.path, c.header)
	}

	// The JWS is taken apart by hand: RFC 7515 §5.2.
	parts := strings.Split(c.header.Get("X-Webhook-Signature"), ".")
	if len(parts) != 3 {
		t.Fatalf("got the signature %q", c.header.Get("X-Webhook-Signature"))
	}
	mac := hmac.New(sha256.New, []byte("plain text"))
	mac.Write([]byte(parts[0] + "." + parts[1]))
	if got, want := parts[2], base64.RawURLEncoding.EncodeToString(mac.Sum(nil)); got != want {
		t.Errorf("got the signature %s, want %s", got, want)
	}
	digest := sha256.Sum256([]byte(c.body))
	for i, want := range []map[string]any{
		{"alg": "HS256", "typ": "JWT"},
		{"iat": float64(noon.Unix()), "sub": instance, "iss": "gotrue", "sha256": hex.EncodeToString(digest[:])},
	} {
		var got map[string]any
		raw, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || json.Unmarshal(raw, &got) != nil {
			t.Fatalf("part %d is %q", i, parts[i])
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestNetlify_doesNotSignWithoutASecret(t *testing.T) {
	t.Parallel()
	r := receive(t, says(204, ``))
	n := newNetlify(t, r, func(o *NetlifyOptions) { o.Secret = nil })
	if _, err := n.Call(t.Context(), "login", nil); err != nil {
		t.Fatal(err)
	}
	c := r.got()[0]
	if _, there := c.header["X-Webhook-Signature"]; there || !strings.Contains(c.body, `"user":null`) {
		t.Errorf("got %s with %v", c.body, c.header)
	}
}

func TestNetlify_handsOutWhatIsToChange(t *testing.T) {
	t.Parallel()
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	for _, c := range []struct {
		name, event string
		answer      http.HandlerFunc
		want        NetlifyAnswer
	}{
		{"both", "signup", says(200, `{"app_metadata":{"roles":["a"]},"user_metadata":{"n":1},"x":1}`), NetlifyAnswer{raw(`{"roles":["a"]}`), raw(`{"n":1}`)}},
		{"one", "login", says(200, `{"app_metadata":{}}`), NetlifyAnswer{AppMetadata: raw(`{}`)}},
		{"the other", "login", says(200, `{"user_metadata":{}, "app_metadata": null}`), NetlifyAnswer{UserMetadata: raw(`{}`)}},
		{"neither", "validate", says(200, ` {} `), NetlifyAnswer{}},
		{"empty", "validate", says(200, ``), NetlifyAnswer{}},
		{"blank", "validate", says(200, " \r\n"), NetlifyAnswer{}},
		{"204", "signup", says(204, ``), NetlifyAnswer{}},
		{"202", "signup", says(202, `{"app_metadata":{"roles":["a"]}}`), NetlifyAnswer{}},
		{"of someone gone", "userdeleted", says(200, `{"app_metadata":{"roles":["a"]}}`), NetlifyAnswer{}},
		{"text of someone gone", "userdeleted", says(200, `bye`), NetlifyAnswer{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := receive(t, c.answer)
			got, err := newNetlify(t, r).Call(t.Context(), c.event, raw(`{}`))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if n := len(r.got()); n != 1 {
				t.Errorf("%d calls, want 1", n)
			}
		})
	}
}

func TestNetlify_failsClosed(t *testing.T) {
	t.Parallel()
	good := says(200, `{"app_metadata":{"roles":["a"]}}`)
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		want   error // nil: success
		calls  int
	}{
		{"500 for ever", says(500, `{"app_metadata":{}}`), ErrRejected, 3},
		{"422 for ever", says(422, ``), ErrRejected, 3},
		{"201 is no success", says(201, `{}`), ErrRejected, 3},
		{"a refusal, then consent", inTurn(says(500, ``), says(429, ``), good), nil, 3},
		{"hangs for ever", hangs, ErrTimeout, 3},
		{"drips for ever", drips, ErrTimeout, 3},
		{"hangs, then consents", inTurn(hangs, good), nil, 2},
		{"hangs, then refuses", inTurn(hangs, says(500, ``)), ErrRejected, 3},
		{"refuses, then hangs", inTurn(says(500, ``), hangs), ErrTimeout, 3},
		{"refuses, then breaks", inTurn(says(500, ``), func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), ErrUnreachable, 2},
		{"breaks", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, ErrUnreachable, 1},
		{"no JSON", says(200, `hello`), ErrBadAnswer, 1},
		{"half of it", says(200, `{"app_metadata":{}`), ErrBadAnswer, 1},
		{"null", says(200, `null`), ErrBadAnswer, 1},
		{"a list", says(200, `[]`), ErrBadAnswer, 1},
		{"metadata that is a list", says(200, `{"app_metadata":{},"user_metadata":[]}`), ErrBadAnswer, 1},
		{"metadata that is a text", says(200, `{"app_metadata":"{}"}`), ErrBadAnswer, 1},
		{"no end", pours, ErrBadAnswer, 1},
		{"a redirect to where clouds keep keys", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/latest/meta-data/", http.StatusTemporaryRedirect)
		}, ErrRejected, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := receive(t, c.answer)
			n := newNetlify(t, r, func(o *NetlifyOptions) { o.Timeout = 200 * time.Millisecond })
			got, err := n.Call(t.Context(), "signup", json.RawMessage(`{}`))
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if (got.AppMetadata != nil) != (err == nil) {
				t.Errorf("got %s with %v", got.AppMetadata, err)
			}
			calls := r.got()
			if len(calls) != c.calls {
				t.Errorf("%d calls, want %d", len(calls), c.calls)
			}
			for _, again := range calls {
				if again.body != calls[0].body || again.header.Get("X-Webhook-Signature") != calls[0].header.Get("X-Webhook-Signature") {
					t.Error("an attempt differs from the first")
				}
			}
			if err != nil {
				checkFailure(t, err, "webhook signup", r)
			}
		})
	}
}

func TestNetlify_triesAsOftenAsIsSet(t *testing.T) {
	t.Parallel()
	r := receive(t, says(500, ``))
	n := newNetlify(t, r, func(o *NetlifyOptions) { o.Retries = 1 })
	if _, err := n.Call(t.Context(), "login", nil); !errors.Is(err, ErrRejected) || len(r.got()) != 1 {
		t.Errorf("got %v after %d calls, want 1", err, len(r.got()))
	}
	if n := newNetlify(t, r); n.opt.Retries != 3 || n.opt.Timeout != 5*time.Second {
		t.Errorf("without settings %d attempts of %v", n.opt.Retries, n.opt.Timeout)
	}
}

func TestNetlify_isNotReachedAtInnerAddresses(t *testing.T) {
	t.Parallel()
	strict := fetch.New(fetch.Options{})
	for _, u := range []string{"https://127.0.0.1:9/hunter2", "https://localhost:9/hunter2", "https://169.254.169.254/", "http://example.org/"} {
		n, err := NewNetlify(NetlifyOptions{URL: u, Client: strict})
		if err != nil {
			t.Fatal(err)
		}
		_, err = n.Call(t.Context(), "login", nil)
		if !errors.Is(err, ErrUnreachable) || err.Error() != "webhook login: the server could not be reached" {
			t.Errorf("%s: got %v, want ErrUnreachable", u, err)
		}
	}
	r := receive(t, says(200, ``))
	n := newNetlify(t, r)
	r.Close()
	_, err := n.Call(t.Context(), "signup", nil)
	if !errors.Is(err, ErrUnreachable) {
		t.Fatalf("got %v, want ErrUnreachable", err)
	}
	checkFailure(t, err, "webhook signup", r)
}

func TestNetlify_callerMayGiveUp(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]struct {
		answer func(cancel func()) http.HandlerFunc
		want   error
	}{
		"while it hangs": {func(cancel func()) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) { cancel(); hangs(w, r) }
		}, context.Canceled},
		"before it is tried again": {func(func()) http.HandlerFunc { return hangs }, ErrTimeout},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		if end.want == ErrTimeout {
			ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
		}
		r := receive(t, end.answer(cancel))
		_, err := newNetlify(t, r).Call(ctx, "signup", nil)
		if !errors.Is(err, end.want) || len(r.got()) != 1 {
			t.Errorf("%s: got %v after %d calls, want %v after 1", name, err, len(r.got()), end.want)
		}
		cancel()
	}
}

func TestNetlify_failsAtOnceWhenTooManyWait(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}), make(chan struct{})
	r := receive(t, func(w http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-release
		w.WriteHeader(http.StatusNoContent)
	})
	n := newNetlify(t, r, func(o *NetlifyOptions) { o.Waiting = 1 })
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := n.Call(t.Context(), "login", nil); err != nil {
			t.Error(err)
		}
	})
	<-arrived
	if _, err := n.Call(t.Context(), "login", nil); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}
	close(release)
	wg.Wait()
}

func TestNetlify_refusesAUserThatIsNoJSON(t *testing.T) {
	t.Parallel()
	r := receive(t, says(200, ``))
	if _, err := newNetlify(t, r).Call(t.Context(), "login", json.RawMessage(`{`)); !errors.Is(err, ErrFailed) || len(r.got()) != 0 {
		t.Errorf("got %v after %d calls, want ErrFailed after none", err, len(r.got()))
	}
}

func TestNewNetlify_refusesBadSettings(t *testing.T) {
	t.Parallel()
	client := privateClient(t)
	for _, u := range []string{"", "/hunter2", "//example.org/hunter2", "ftp://example.org/hunter2", "https:hunter2", "https://a b/hunter2", "https:///hunter2"} {
		if _, err := NewNetlify(NetlifyOptions{URL: u, Client: client}); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: got %v, want an error that does not repeat it", u, err)
		}
	}
	if _, err := NewNetlify(NetlifyOptions{URL: "https://example.org/"}); err == nil {
		t.Error("no client was taken")
	}
}

func TestResolve_leadsToTheSite(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ site, ref, want string }{
		{"https://example.org", "/.netlify/functions/identity", "https://example.org/.netlify/functions/identity"},
		{"https://example.org:8443/app/", "/hook?a=1", "https://example.org:8443/hook?a=1"},
		{"https://example.org/app/", "hook", "https://example.org/app/hook"},
		{"https://example.org", "https://hooks.example.com/a", "https://hooks.example.com/a"},
		{"https://example.org", `/\other.example`, "https://example.org/%5Cother.example"},

		{"https://example.org", "", ""},
		{"https://example.org", "//other.example/hook", ""},
		{"https://example.org", "https:hook", ""},
		{"https://example.org", "/%zz", ""},
		{"", "/hook", ""},
		{"/app", "/hook", ""},
		{"//example.org", "/hook", ""},
	} {
		got, err := Resolve(c.site, c.ref)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("Resolve(%q, %q) = %q, %v, want %q", c.site, c.ref, got, err, c.want)
		}
	}
}
