package web

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/limit"
)

// Limits are the rates of an edge, by name, counted for each client address.
type Limits struct {
	Limiter *limit.Limiter
	Rates   map[string]limit.Rate
	Off     bool
}

// Take spends one of a name's events, before the request does any work.
//
// A caller on this machine who comes through no proxy is a developer, and not
// limited.
//
// Codes: TooMany.
func (l *Limits) Take(r *http.Request, name string) error {
	rate, known := l.Rates[name]
	if l.Off || !known || LineOf(r).direct {
		return nil
	}
	ok, wait := l.Limiter.Take(name, LineOf(r).IP, rate)
	if ok {
		return nil
	}
	return &auth.Error{Code: auth.TooMany, RetryAfter: max(wait, time.Second)}
}

// RetryAfter tells a client that was refused for now when to come back (RFC
// 9110 §10.2.3); of any other failure it tells nothing.
func RetryAfter(w http.ResponseWriter, err error) {
	var e *auth.Error
	if errors.As(err, &e) && e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(Seconds(e.RetryAfter)))
	}
}

// Seconds is a wait in whole seconds, rounded up, at least one.
func Seconds(d time.Duration) int { return max(1, int(math.Ceil(d.Seconds()))) }
