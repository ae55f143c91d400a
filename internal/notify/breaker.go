package notify

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	breakerLimit = 5                // failures in a row that open a breaker
	breakerRest  = 30 * time.Second // how long it stays open before a probe
)

// ErrBreakerOpen says that a service failed so often that it is left alone for
// a while. It is a temporary error.
var ErrBreakerOpen = errors.New("the service failed too often and is left alone for a while")

// NewBreaker returns a Texter that passes everything on to t until t fails for
// the time being five times in a row: then it answers ErrBreakerOpen at once,
// so that a service that hangs does not hold up workers and requests, lets one
// call through after 30 s, and closes when that one succeeds. A *PermanentError
// is an answer, not a failure. Where t is a CodeKeeper the result is one too,
// and both ways count together.
func NewBreaker(t Texter, now func() time.Time) Texter {
	b := &breaker{texter: t, now: now}
	if k, ok := t.(CodeKeeper); ok {
		return &keeperBreaker{breaker: b, keeper: k}
	}
	return b
}

type breaker struct {
	texter Texter
	now    func() time.Time

	mu       sync.Mutex // guards what follows
	failures int        // in a row; past the limit while open
	opensAt  time.Time  // when a probe may go; zero: the breaker is closed
	probing  bool       // a probe is under way
}

// Text implements Texter.
func (b *breaker) Text(ctx context.Context, m SMS, body string) error {
	return b.try(ctx, func() error { return b.texter.Text(ctx, m, body) })
}

// keeperBreaker is a breaker before a CodeKeeper.
type keeperBreaker struct {
	*breaker
	keeper CodeKeeper
}

// CheckCode implements CodeKeeper.
func (b *keeperBreaker) CheckCode(ctx context.Context, to, code string) (bool, error) {
	right := false
	err := b.try(ctx, func() (err error) {
		right, err = b.keeper.CheckCode(ctx, to, code)
		return err
	})
	return right && err == nil, err
}

// try makes one call, if it may be made.
func (b *breaker) try(ctx context.Context, call func() error) error {
	probe, err := b.enter()
	if err != nil {
		return err
	}
	verdict := givenUp // also of a call that panics
	defer func() { b.leave(probe, verdict) }()
	err = call()
	switch {
	case err == nil || Permanent(err):
		verdict = worked
	case errors.Is(ctx.Err(), context.Canceled):
		// The caller left; the service may be well. A deadline of the caller's
		// is another matter: that is how a service that hangs shows.
	default:
		verdict = failed
	}
	return err
}

type outcome int

const (
	givenUp outcome = iota
	worked
	failed
)

// enter asks leave for a call, and whether it is the probe.
func (b *breaker) enter() (probe bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.opensAt.IsZero() {
		return false, nil
	}
	if b.probing || b.now().Before(b.opensAt) {
		return false, ErrBreakerOpen
	}
	b.probing = true
	return true, nil
}

// leave counts what became of a call.
func (b *breaker) leave(probe bool, verdict outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if probe {
		b.probing = false
	} else if !b.opensAt.IsZero() {
		return // begun before the breaker opened: old news
	}
	switch verdict {
	case worked:
		b.failures, b.opensAt = 0, time.Time{}
	case failed:
		if b.failures++; b.failures >= breakerLimit {
			b.opensAt = b.now().Add(breakerRest)
		}
	case givenUp:
	}
}
