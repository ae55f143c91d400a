package main

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"time"
)

// worth is what a process does for its time of a processor: on a machine that
// others use, too, it tells better than the clock what it was hindered by.
type worth struct {
	run  *process
	last usage
}

// since is how many of done were done for a second of a processor since it was
// last asked.
func (w *worth) since(done int) (float64, error) {
	before := w.last
	var err error
	w.last, err = w.run.usage()
	return float64(done) / max(w.last.cpu-before.cpu, clockTick).Seconds(), err
}

func cores() int { return runtime.GOMAXPROCS(0) }

func oneOf(all []int, status int) bool { return slices.Contains(all, status) }

const (
	overloadTimes   = 3
	overloadGoodput = 0.9                   // of the peak
	overloadShed    = 50 * time.Millisecond // within which one is turned away
	overloadBack    = 2 * time.Second       // to be as before
	overloadSettles = 3 * time.Second       // until the queues are as long as they get
)

// overload finds out how many sign-ups a second the server does, then asks for
// three times as many, whether or not they are answered: it does as many as
// before and turns the rest away at once.
func overload(ctx context.Context, t *trial) error {
	// With hashes that cost something: of requests that cost nothing the driver
	// would need as much of the machine as the server.
	n, b, err := t.lone(ctx, postgres, "GATEHOUSE_PASSWORD_HASH_MEMORY=4096", "GATEHOUSE_PASSWORD_HASH_TIME=2")
	if err != nil {
		return err
	}
	many := newHTTP()
	many.Transport = &http.Transport{MaxIdleConns: 10_000, MaxIdleConnsPerHost: 10_000}
	kind := "peak"
	signUp := func(i int) (int, error) {
		r, err := ask{Op: opSignUp, Email: fmt.Sprintf("%s%d@example.com", kind, i), Password: bystanderPassword}.request(context.WithoutCancel(ctx), b.base)
		if err != nil {
			return 0, err
		}
		return exchange(many, r)
	}
	closedLoop(ctx, 32*cores(), time.Second, func(i int) (int, error) { return signUp(-i - 1) }) // warm
	solo := t.scaled(6 * time.Second)
	w := &worth{run: n.run}
	_, err = w.since(0)
	if err != nil {
		return err
	}
	began := time.Now()
	alone := closedLoop(ctx, 32*cores(), solo, signUp)
	peak := float64(len(alone.with(200))) / time.Since(began).Seconds()
	worthAlone, err := w.since(len(alone.with(200)))
	if err != nil {
		return err
	}
	if bad, example := alone.others(200); bad > 0 || peak < 20 {
		return fmt.Errorf("%w: %.0f sign-ups a second, %d failed, such as %s", errIdle, peak, bad, example)
	}

	kind = "flood"
	began = time.Now()
	lasts := overloadSettles + t.scaled(20*time.Second)
	flood := openLoop(ctx, lasts, time.Duration(float64(time.Second)/(overloadTimes*peak)), signUp)
	ended := began.Add(lasts)
	worthThen, err := w.since(len(flood.with(200)))
	if err != nil {
		return err
	}
	done := flood.answeredIn(began.Add(overloadSettles), ended)
	goodput := float64(len(done.with(200))) / (lasts - overloadSettles).Seconds()
	shed := flood.with(503, 429)
	bad, example := flood.others(200, 429, 503)
	slowest := ended
	for _, a := range flood {
		if a.status == 200 && a.answered.After(slowest) {
			slowest = a.answered
		}
	}

	// The machine may have other work by now, and not only then: the flood is
	// held against what is done after it, too.
	kind = "after"
	began = time.Now()
	after := closedLoop(ctx, 32*cores(), solo/2, signUp)
	again := float64(len(after.with(200))) / time.Since(began).Seconds()
	t.res.OK += len(alone.with(200)) + len(flood.with(200)) + len(after.with(200))
	t.res.Refused += len(shed)
	t.res.Unknown += bad
	offered := float64(len(flood)) / lasts.Seconds()
	least := min(peak, again)
	t.note("%.0f a second alone, %.0f after the flood; in it of %.0f offered %.0f done (%.0f %%, p99 %v)", peak, again, offered, goodput,
		100*goodput/least, flood.with(200).p99().Round(time.Millisecond))
	t.note("for a second of the server's processor %.0f were done alone, %.0f in the flood", worthAlone, worthThen)
	t.note("turned away %d, in %s (p99); the queue was empty %v after the flood", len(shed), ms(shed.p99()), slowest.Sub(ended).Round(10*time.Millisecond))
	t.expect(bad == 0, "%d requests got something else than 200, or 429 or 503 with Retry-After, such as %s", bad, example)
	t.expect(offered >= 0.9*overloadTimes*peak, "only %.0f a second were offered, wanted %.0f: the driver cannot keep up, and nothing was tried", offered, overloadTimes*peak)
	t.expect(len(shed) > 0, "nobody was turned away: there was no overload, and nothing was tried")
	t.expect(goodput >= overloadGoodput*least, "%.0f a second were done, wanted %.0f %% of %.0f", goodput, 100*overloadGoodput, least)
	t.expect(again >= peak/2, "%.0f a second were done before the flood and %.0f after it", peak, again)
	t.expect(shed.p99() <= overloadShed, "one was turned away only after %s (p99), wanted %v", ms(shed.p99()), overloadShed)
	t.expect(slowest.Sub(ended) <= overloadBack, "%v after the flood it was still at work on it, wanted %v", slowest.Sub(ended), overloadBack)
	failedAfter, example := after.others(200)
	t.expect(failedAfter == 0, "after the flood %d of %d failed, such as %s", failedAfter, len(after), example)
	return n.alive()
}
