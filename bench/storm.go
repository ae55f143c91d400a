package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	stormTimeout = 120 * time.Second // for the slowest answer
	stormDialing = 64                // connections being made at once
)

// stormResult is what became of many sign-ins sent at one instant.
type stormResult struct {
	Sent        int           `json:"sent"`
	OK          int           `json:"ok"`
	Refused     int           `json:"refused"`      // 429 with a Retry-After one can follow
	RefusedBare int           `json:"refused_bare"` // 429 without
	Other       int           `json:"other"`        // any other answer
	Broken      int           `json:"broken"`       // no answer at all
	Sample      string        `json:"error_sample,omitempty"`
	P50         time.Duration `json:"p50_ns"`
	Slowest     time.Duration `json:"slowest_ns"`
	RSSBefore   int64         `json:"rss_before_bytes"` // 0, as the next two, when the process is not known
	RSSSeen     int64         `json:"rss_seen_bytes"`   // the most of one look every 20 ms
	RSSPeak     int64         `json:"rss_peak_bytes"`   // the kernel's own high-water mark
	PeakIsOwn   bool          `json:"rss_peak_is_of_the_storm"`
}

// peak returns the resident memory the storm is judged by.
func (r *stormResult) peak() int64 {
	if r.PeakIsOwn {
		return max(r.RSSSeen, r.RSSPeak)
	}
	return r.RSSSeen // the mark may be of an earlier flow
}

// storm sends many sign-ins over as many connections at one instant.
func (d *driver) storm(ctx context.Context, many int) (*stormResult, error) {
	callers := make([]*caller, many)
	for i := range callers {
		callers[i] = &caller{d: d, conn: conn{to: d.to}}
	}
	defer closeAll(callers)
	if err := dialAll(ctx, callers); err != nil {
		return nil, err
	}

	r := &stormResult{Sent: many}
	stopWatching := d.watch(ctx, r)
	release := make(chan struct{})
	var all sync.WaitGroup
	var mu sync.Mutex // guards r and latency
	var latency histogram
	for i, c := range callers {
		body := d.passwordBody(nil, d.sessions[i%len(d.sessions)].email)
		c.request = d.appendToken(nil, "password", body)
		all.Go(func() {
			<-release
			began := time.Now()
			a, err := c.conn.do(c.request)
			took := time.Since(began)
			mu.Lock()
			defer mu.Unlock()
			r.count(a, err)
			latency.record(took)
		})
	}
	for _, c := range callers {
		c.conn.expire(time.Now().Add(stormTimeout))
	}
	close(release)
	all.Wait()
	stopWatching()
	r.P50, r.Slowest = latency.quantile(0.5), latency.max
	if r.Broken == many {
		return nil, fmt.Errorf("storm: not one of %d sign-ins was answered: %s", many, r.Sample)
	}
	return r, ctx.Err()
}

// count sorts one answer into its kind. A caller who is turned away must be
// told when to come back, or it comes back at once and the storm never ends.
func (r *stormResult) count(a answer, err error) {
	switch {
	case err != nil:
		r.Broken++
		err = fmt.Errorf("no answer: %w", err)
	case a.status == 200:
		if token, ok := field(a.body, "access_token"); ok && len(token) > 0 {
			r.OK++
			return
		}
		r.Other++
	case a.status == http.StatusTooManyRequests && canFollow(a.retryAfter):
		r.Refused++
		return
	case a.status == http.StatusTooManyRequests:
		r.RefusedBare++
	default:
		r.Other++
	}
	if err == nil {
		err = refused(a)
	}
	if r.Sample == "" {
		r.Sample = err.Error()
	}
}

// canFollow reports whether a Retry-After is whole seconds or a date
// (RFC 9110 §10.2.3).
func canFollow(retryAfter string) bool {
	if seconds, err := strconv.Atoi(retryAfter); err == nil {
		return seconds >= 0
	}
	_, err := http.ParseTime(retryAfter)
	return err == nil
}

// dialAll connects every caller beforehand, so that the requests themselves and
// not the handshakes meet the server at one instant.
func dialAll(ctx context.Context, callers []*caller) error {
	var next atomic.Int64
	var all sync.WaitGroup
	failed := make([]error, min(stormDialing, len(callers)))
	for n := range failed {
		all.Go(func() {
			for ctx.Err() == nil && failed[n] == nil {
				i := int(next.Add(1)) - 1
				if i >= len(callers) {
					return
				}
				callers[i].conn.deadline = time.Now().Add(dialTimeout)
				failed[n] = callers[i].conn.dial()
			}
		})
	}
	all.Wait()
	for _, err := range failed {
		if err != nil {
			return fmt.Errorf("storm: cannot open %d connections (is `ulimit -n` high enough?): %w", len(callers), err)
		}
	}
	return ctx.Err()
}

// watch begins to look at the server's memory; the function it returns ends
// that and stores what was seen.
func (d *driver) watch(ctx context.Context, r *stormResult) func() {
	if d.pid == 0 {
		return func() {}
	}
	if m, err := memoryOf(d.pid); err == nil {
		r.RSSBefore = m.rss
	}
	r.PeakIsOwn = forgetPeak(d.pid) == nil
	ctx, cancel := context.WithCancel(ctx)
	seen := make(chan int64, 1)
	go func() { seen <- watchMemory(ctx, d.pid) }()
	return func() {
		cancel()
		r.RSSSeen = <-seen
		if m, err := memoryOf(d.pid); err == nil {
			r.RSSPeak = m.peak
		}
	}
}
