package notify

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var errDown = errors.New("the service is down")

// shaky is a CodeKeeper that fails as it is told.
type shaky struct {
	mu    sync.Mutex
	err   error
	calls int
}

func (s *shaky) set(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *shaky) Text(context.Context, SMS, string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	return s.err
}

func (s *shaky) CheckCode(ctx context.Context, _, code string) (bool, error) {
	err := s.Text(ctx, SMS{}, "")
	return code == "424242", err
}

func text(t *testing.T, b Texter) error { return b.Text(t.Context(), codeSMS(""), smsSays) }

// Mission: NF03
func TestBreaker_opensRestsAndProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shaky{err: errDown}
		b := NewBreaker(s, time.Now)
		for n := range breakerLimit {
			if err := text(t, b); !errors.Is(err, errDown) {
				t.Fatalf("call %d: got %v", n, err)
			}
		}
		if breakerLimit > 10 {
			t.Error("it takes more than ten failures")
		}
		if err := text(t, b); !errors.Is(err, ErrBreakerOpen) || Permanent(err) {
			t.Fatalf("got %v, want a temporary ErrBreakerOpen", err)
		}
		time.Sleep(breakerRest - 1)
		if err := text(t, b); !errors.Is(err, ErrBreakerOpen) || s.calls != breakerLimit {
			t.Fatalf("got %v after %d calls, want ErrBreakerOpen", err, s.calls)
		}
		// The probe fails: another rest.
		time.Sleep(time.Nanosecond)
		if err := text(t, b); !errors.Is(err, errDown) {
			t.Fatalf("probe: got %v", err)
		}
		if err := text(t, b); !errors.Is(err, ErrBreakerOpen) {
			t.Fatalf("after the probe: got %v", err)
		}
		// The next one works: closed, and all failures forgotten.
		time.Sleep(breakerRest)
		s.set(nil)
		if err := text(t, b); err != nil {
			t.Fatalf("probe: got %v", err)
		}
		s.set(errDown)
		for n := range breakerLimit {
			if err := text(t, b); !errors.Is(err, errDown) {
				t.Fatalf("call %d after closing: got %v", n, err)
			}
		}
		if err := text(t, b); !errors.Is(err, ErrBreakerOpen) {
			t.Fatalf("got %v, want ErrBreakerOpen", err)
		}
	})
}

func TestBreaker_countsFailuresInARowOnly(t *testing.T) {
	for name, answer := range map[string]error{"success": nil, "refusal": &PermanentError{errDown}} {
		s := &shaky{}
		b := NewBreaker(s, time.Now)
		for range 10 {
			s.set(errDown)
			for range breakerLimit - 1 {
				text(t, b)
			}
			s.set(answer)
			if err := text(t, b); errors.Is(err, ErrBreakerOpen) {
				t.Fatalf("%s: opened though the service answers", name)
			}
		}
	}
}

// A stranger's wrong numbers must not close the line for everybody.
func TestBreaker_refusalsDoNotOpenIt(t *testing.T) {
	s := &shaky{err: &PermanentError{errDown}}
	b := NewBreaker(s, time.Now)
	for range 50 {
		if err := text(t, b); !Permanent(err) {
			t.Fatalf("got %v", err)
		}
	}
}

func TestBreaker_letsOneProbeThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		release := make(chan error)
		b := NewBreaker(funcTexter(func(context.Context, SMS, string) error {
			if calls.Add(1) <= breakerLimit {
				return errDown
			}
			return <-release
		}), time.Now)
		for range breakerLimit {
			text(t, b)
		}
		time.Sleep(breakerRest)
		probe := make(chan error)
		go func() { probe <- text(t, b) }()
		synctest.Wait()
		for range 20 {
			if err := text(t, b); !errors.Is(err, ErrBreakerOpen) {
				t.Fatalf("beside the probe: got %v", err)
			}
		}
		release <- nil
		if err := <-probe; err != nil || calls.Load() != breakerLimit+1 {
			t.Errorf("probe: got %v after %d calls", err, calls.Load())
		}
	})
}

func TestBreaker_aProbeThatWasGivenUpMakesRoomForTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := true
		b := NewBreaker(funcTexter(func(ctx context.Context, _ SMS, _ string) error {
			if down {
				return errDown
			}
			return ctx.Err()
		}), time.Now)
		for range breakerLimit {
			text(t, b)
		}
		time.Sleep(breakerRest)
		down = false
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.Text(ctx, codeSMS(""), smsSays); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
		if err := text(t, b); err != nil {
			t.Errorf("the next probe: got %v", err)
		}
	})
}

func TestBreaker_callersWhoLeaveAreNoFailure(t *testing.T) {
	b := NewBreaker(funcTexter(func(ctx context.Context, _ SMS, _ string) error { return ctx.Err() }), time.Now)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 3 * breakerLimit {
		if err := b.Text(ctx, codeSMS(""), smsSays); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
	}
	// A service that hangs until the caller's time is up is one.
	late, stop := context.WithDeadline(t.Context(), time.Time{})
	defer stop()
	for range breakerLimit {
		b.Text(late, codeSMS(""), smsSays)
	}
	if err := b.Text(late, codeSMS(""), smsSays); !errors.Is(err, ErrBreakerOpen) {
		t.Errorf("got %v, want ErrBreakerOpen", err)
	}
}

// What was begun while the breaker was closed ends when it is open: neither
// good nor bad news of that age counts.
func TestBreaker_ignoresOldNews(t *testing.T) {
	for name, news := range map[string]error{"success": nil, "failure": errDown} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan error)
				b := NewBreaker(funcTexter(func(_ context.Context, m SMS, _ string) error {
					if m.ID == "slow" {
						return <-release
					}
					return errDown
				}), time.Now)
				slow := make(chan error)
				go func() { slow <- b.Text(t.Context(), SMS{ID: "slow"}, "") }()
				synctest.Wait()
				for range breakerLimit {
					text(t, b)
				}
				time.Sleep(breakerRest - time.Second)
				release <- news
				<-slow
				if err := text(t, b); !errors.Is(err, ErrBreakerOpen) {
					t.Errorf("got %v, want ErrBreakerOpen", err)
				}
				time.Sleep(time.Second)
				if err := text(t, b); !errors.Is(err, errDown) {
					t.Errorf("got %v, want the probe's", err)
				}
			})
		})
	}
}

func TestBreaker_keepsCodeKeepersAndCountsBothWays(t *testing.T) {
	s := &shaky{}
	k, ok := NewBreaker(s, time.Now).(CodeKeeper)
	if !ok {
		t.Fatal("a CodeKeeper became a mere Texter")
	}
	for code, want := range map[string]bool{"424242": true, "424243": false} {
		if right, err := k.CheckCode(t.Context(), smsTo, code); right != want || err != nil {
			t.Errorf("%s: got %v, %v, want %v", code, right, err, want)
		}
	}
	s.set(errDown)
	for n := range breakerLimit {
		if n%2 == 0 {
			if right, err := k.CheckCode(t.Context(), smsTo, "424242"); right || !errors.Is(err, errDown) {
				t.Errorf("got %v, %v, want a failure", right, err)
			}
		} else {
			text(t, k)
		}
	}
	if right, err := k.CheckCode(t.Context(), smsTo, "424242"); right || !errors.Is(err, ErrBreakerOpen) {
		t.Errorf("got %v, %v, want ErrBreakerOpen", right, err)
	}
	if err := text(t, k); !errors.Is(err, ErrBreakerOpen) {
		t.Errorf("got %v, want ErrBreakerOpen", err)
	}
	if _, ok := NewBreaker(funcTexter(nil), time.Now).(CodeKeeper); ok {
		t.Error("a mere Texter became a CodeKeeper")
	}
}

func TestBreaker_manyAtOnce(t *testing.T) {
	s := &shaky{err: errDown}
	b := NewBreaker(s, time.Now)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range 20 {
				text(t, b)
			}
		})
	}
	wg.Wait()
	if err := text(t, b); !errors.Is(err, ErrBreakerOpen) {
		t.Errorf("got %v, want ErrBreakerOpen", err)
	}
}
