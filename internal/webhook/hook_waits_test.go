package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/internal/fetch"
)

func TestHook_isCalledAgainIfItAsksForThat(t *testing.T) {
	t.Parallel()
	refused := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "1")
		says(429, `{"error":{"http_code":429,"message":"slowly"}}`)(w, r)
	}
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		calls  int
		want   string // of the error
	}{
		{"once", inTurn(later(429), says(200, `{}`)), 2, ""},
		{"twice", inTurn(later(503), later(429), says(204, ``)), 3, ""},
		{"for ever", later(429), 3, "hook send-sms: no answer after retries"},
		{"then fails", inTurn(later(503), says(500, ``)), 2, "hook send-sms: the call failed"},
		{"a refusal is not the end of it", inTurn(refused, says(200, `{}`)), 2, ""},
		{"and refuses", refused, 3, "the hook refused (429): slowly"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := receive(t, c.answer)
			h := newHook(t, r, func(o *HookOptions) {
				var n atomic.Int64
				o.Now = func() time.Time { return noon.Add(time.Duration(n.Add(1)) * time.Second) }
			})
			var pauses int
			h.pause = func(context.Context) error { pauses++; return nil }
			got := ""
			if err := h.Call(t.Context(), 1, nil); err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			calls := r.got()
			if len(calls) != c.calls || pauses != c.calls-1 {
				t.Fatalf("%d calls, %d pauses, want %d calls", len(calls), pauses, c.calls)
			}
			for i, call := range calls {
				if id := call.header.Get("Webhook-Id"); id != calls[0].header.Get("Webhook-Id") {
					t.Errorf("try %d has another id", i+1)
				}
				if got, want := call.header.Get("Webhook-Timestamp"), fmt.Sprint(noon.Unix()+int64(i)+1); got != want {
					t.Errorf("try %d is signed at %s, want %s", i+1, got, want)
				}
				if err := Verify(call.header, []byte(call.body), noon, keyA); err != nil {
					t.Errorf("try %d: %v", i+1, err)
				}
			}
		})
	}
}

func TestHook_waitsTwoSecondsBetweenTries(t *testing.T) {
	t.Parallel()
	h, err := NewHook(HookOptions{Name: "h", URI: "https://example.org/", Secrets: []Secret{keyA}, Client: privateClient(t)})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		if err := h.pause(t.Context()); err != nil || time.Since(begin) != 2*time.Second {
			t.Errorf("got %v after %v, want 2 s", err, time.Since(begin))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin = time.Now()
		if err := h.pause(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second {
			t.Errorf("got %v after %v, want the deadline after 1 s", err, time.Since(begin))
		}
	})
	if h.limit != 5*time.Second || h.functionLimit != 2*time.Second {
		t.Errorf("the limits are %v and %v", h.limit, h.functionLimit)
	}
}

func TestHook_endsWhenItsTimeIsUp(t *testing.T) {
	t.Parallel()
	forever := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		pause  func(context.Context) error
		want   error
	}{
		{"hangs", hangs, forever, ErrTimeout},
		{"drips", drips, forever, ErrTimeout},
		{"ends between tries", later(503), forever, ErrTimeoutAfterRetry},
		{"hangs at the second try", inTurn(later(503), hangs), func(context.Context) error { return nil }, ErrTimeoutAfterRetry},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := receive(t, c.answer)
			h := newHook(t, r)
			h.limit, h.pause = 200*time.Millisecond, c.pause
			err := h.Call(t.Context(), 1, nil)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			checkFailure(t, err, "hook send-sms", r)
		})
	}
}

func TestHook_callerMayGiveUp(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	r := receive(t, func(w http.ResponseWriter, r *http.Request) {
		cancel()
		hangs(w, r)
	})
	err := newHook(t, r).Call(ctx, 1, nil)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want context.Canceled", err)
	}
	checkFailure(t, err, "hook send-sms", r)
}

func TestHook_failsAtOnceWhenTooManyWait(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}), make(chan struct{})
	r := receive(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-release
		says(200, `{}`)(w, r)
	})
	h := newHook(t, r, func(o *HookOptions) { o.Waiting = 3 })
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := h.Call(t.Context(), 1, nil); err != nil {
				t.Error(err)
			}
		})
	}
	for range 3 {
		<-arrived
	}
	for range 5 {
		if err := h.Call(t.Context(), 1, nil); !errors.Is(err, ErrBusy) {
			t.Errorf("got %v, want ErrBusy", err)
		}
	}
	close(release)
	wg.Wait()
	if n := len(r.got()); n != 3 {
		t.Errorf("%d calls reached the hook, want 3", n)
	}
	go func() { <-arrived }()
	if err := h.Call(t.Context(), 1, nil); err != nil {
		t.Errorf("after they ended: %v", err)
	}
}

// A hook that hangs must not keep requests to elsewhere waiting.
func TestHook_takesNoSlotsOfOtherRequests(t *testing.T) {
	t.Parallel()
	arrived, ended := make(chan struct{}, 2), make(chan error, 2)
	r := receive(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		hangs(w, r)
	})
	other := receive(t, says(200, `{}`))
	client := fetch.New(fetch.Options{AllowPrivate: true, MaxConcurrent: 1})
	t.Cleanup(client.Close)
	h := newHook(t, r, func(o *HookOptions) { o.Client = client })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 2 {
		go func() { ended <- h.Call(ctx, 1, nil) }()
	}
	for range 2 {
		select {
		case <-arrived:
		case err := <-ended:
			t.Fatalf("a call did not reach the hook: %v", err)
		}
	}
	if _, _, err := client.Get(t.Context(), other.URL); err != nil {
		t.Error(err)
	}
	cancel()
	for range 2 {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
	}
}

// Servers close connections that rest; the call that meets such a one must not
// fail a person's sign-in.
func TestHook_survivesAKeptConnectionThatIsClosed(t *testing.T) {
	t.Parallel()
	closed := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	r := receive(t, inTurn(says(200, `{}`), closed, says(200, `{}`)))
	h := newHook(t, r)
	for i := range 2 {
		if err := h.Call(t.Context(), 1, nil); err != nil {
			t.Fatalf("call %d: %v", i+1, err)
		}
	}
	calls := r.got()
	if len(calls) != 3 || calls[1].header.Get("Webhook-Id") != calls[2].header.Get("Webhook-Id") {
		t.Errorf("%d calls, want 3, the last two with one id", len(calls))
	}
}
