package webhook

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

type function = func(context.Context, string, string, []byte) ([]byte, error)

func newFunction(t *testing.T, f function) *Hook {
	t.Helper()
	h, err := NewHook(HookOptions{Name: "send-sms", URI: "pg-functions://postgres/public/my_hook", Function: f})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// returns is a function with that answer.
func returns(answer []byte, err error) function {
	return func(context.Context, string, string, []byte) ([]byte, error) { return answer, err }
}

func TestFunction_getsJSONAndItsAnswerIsRead(t *testing.T) {
	t.Parallel()
	got := ""
	h := newFunction(t, func(_ context.Context, schema, function string, in []byte) ([]byte, error) {
		got = fmt.Sprintf("%s %s %s", schema, function, in)
		return []byte(`{"decision":"continue"}`), nil
	})
	var out decision
	if err := h.Call(t.Context(), map[string]int{"a": 1}, &out); err != nil || out.Decision != "continue" {
		t.Errorf("got %v, %v", out, err)
	}
	if want := `public my_hook {"a":1}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestFunction_onlyASuccessIsOne(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		f    function
		want error
	}{
		{"null of SQL", returns(nil, nil), ErrFailed},
		{"nothing", returns([]byte{}, nil), ErrFailed},
		{"null of JSON", returns([]byte(`null`), nil), ErrFailed},
		{"no object", returns([]byte(`7`), nil), ErrFailed},
		{"an exception", returns([]byte(`{}`), errors.New("hunter2 in public.my_hook")), ErrFailed},
		{"the database's time limit", returns(nil, fmt.Errorf("statement timeout: %w", context.DeadlineExceeded)), ErrTimeout},
		{"too long", returns([]byte(`{"decision":"`+strings.Repeat("x", maxAnswer)+`"}`), nil), ErrTooLarge},
	} {
		var out decision
		err := newFunction(t, c.f).Call(t.Context(), 1, &out)
		var f *Failure
		if !errors.As(err, &f) || !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		} else if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "public") {
			t.Errorf("%s: the message tells too much: %v", c.name, err)
		}
	}
	var no *Refusal
	err := newFunction(t, returns([]byte(`{"error":{"http_code":403,"message":"no"}}`), nil)).Call(t.Context(), 1, nil)
	if !errors.As(err, &no) || *no != (Refusal{403, "no"}) {
		t.Errorf("got %v, want the refusal", err)
	}
}

func TestFunction_hasTwoSeconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newFunction(t, func(ctx context.Context, _, _ string, _ []byte) ([]byte, error) {
			<-ctx.Done()
			return nil, errors.New("canceling statement due to user request")
		})
		begin := time.Now()
		if err := h.Call(t.Context(), 1, nil); !errors.Is(err, ErrTimeout) || time.Since(begin) != 2*time.Second {
			t.Errorf("got %v after %v, want ErrTimeout after 2 s", err, time.Since(begin))
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if err := h.Call(ctx, 1, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
	})
}

func TestNewHook_takesPlainNamesOfFunctionsOnly(t *testing.T) {
	t.Parallel()
	for uri, good := range map[string]bool{
		"pg-functions://postgres/public/f":                          true,
		"pg-functions://postgres/_Auth2/My_hook":                    true,
		"pg-functions://postgres/public/" + strings.Repeat("f", 63): true,
		"pg-functions://postgres/public/" + strings.Repeat("f", 64): false,
		"pg-functions://postgres/public/f;drop":                     false,
		`pg-functions://postgres/public/"f"`:                        false,
		"pg-functions://postgres/public/f%22":                       false,
		"pg-functions://postgres/public/%66":                        false,
		"pg-functions://postgres/public/f()":                        false,
		"pg-functions://postgres/public/f\n":                        false,
		"pg-functions://postgres/public/f-g":                        false,
		"pg-functions://postgres/public/7f":                         false,
		"pg-functions://postgres/public/é":                          false,
		"pg-functions://postgres/public/f?x=1":                      false,
		"pg-functions://postgres/public/f#x":                        false,
		"pg-functions://postgres/public/f/g":                        false,
		"pg-functions://postgres/public/":                           false,
		"pg-functions://postgres/public":                            false,
		"pg-functions://postgres//f":                                false,
		"pg-functions://other/public/f":                             false,
		"pg-functions://u@postgres/public/f":                        false,
		"pg-functions://postgres:5432/public/f":                     false,
		"pg-functions:postgres/public/f":                            false,
	} {
		_, err := NewHook(HookOptions{Name: "h", URI: uri, Function: returns(nil, nil)})
		if (err == nil) != good {
			t.Errorf("%q: got %v, want good: %v", uri, err, good)
		}
	}
}
