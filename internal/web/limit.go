package web

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/limit"
)

// Limits are the rates of an edge, by name, counted for each client address.
// What counts outlives the configuration: it is handed in, and the rates of the
// day with each request.
type Limits struct {
	Limiter *limit.Limiter
	Shared  *limit.Shared // counts for all nodes; nil: each counts by itself
	Tenant  auth.TenantID // whose limits these are
	Rates   map[string]limit.Rate
	Off     bool
}

// Take spends one of a name's events, before the request does any work. The
// first word of the name is that of its rate: "otp recover" and "otp resend" are
// two of one rate.
//
// An IPv6 client spends, besides one of its /64, one of the /56 and the /48
// around it, which have four times the rate: who rents a larger network has not
// a limit for each part of it.
//
// A caller on this machine who comes through no proxy is a developer, and not
// limited.
//
// Codes: TooMany.
func (l *Limits) Take(r *http.Request, name string) error {
	rate, known := l.rate(r, name)
	if !known {
		return nil
	}
	client := LineOf(r).IP
	err := l.spend(r, name, client, rate)
	if err != nil {
		return err
	}
	wide := limit.Rate{Events: 4 * rate.Events, Per: rate.Per, Burst: 4 * max(rate.Burst, 1), Late: rate.Late}
	for _, around := range wider(client) {
		// Most of them have one client: until more come to this node than one may
		// send, the other nodes are not asked.
		if l.Shared != nil {
			if ok, _ := l.Limiter.Take("around "+name, string(l.Tenant[:])+around, rate); ok {
				continue
			}
		}
		err = l.spend(r, name, around, wide)
		if err != nil {
			return err
		}
	}
	return nil
}

// TakeOf is Take for a subject that is no address, such as a session. This
// process counts it alone.
//
// Codes: TooMany.
func (l *Limits) TakeOf(r *http.Request, name, subject string) error {
	rate, known := l.rate(r, name)
	if !known {
		return nil
	}
	err := refusedFor(l.Limiter.Take(name, string(l.Tenant[:])+subject, rate))
	if err != nil {
		LineOf(r).Limit = name
	}
	return err
}

func (l *Limits) rate(r *http.Request, name string) (limit.Rate, bool) {
	first, _, _ := strings.Cut(name, " ")
	rate, known := l.Rates[first]
	return rate, known && !l.Off && !LineOf(r).direct
}

func (l *Limits) spend(r *http.Request, name, client string, rate limit.Rate) (err error) {
	if l.Shared == nil {
		err = refusedFor(l.Limiter.Take(name, string(l.Tenant[:])+client, rate))
	} else {
		err = refusedFor(l.Shared.Take(r.Context(), limit.Key{Tenant: l.Tenant, Name: name, Subject: client}, rate))
	}
	if err != nil {
		LineOf(r).Limit = name
	}
	return err
}

func refusedFor(ok bool, wait time.Duration) error {
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
