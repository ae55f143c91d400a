package main

import (
	"context"
	"fmt"
	"time"
)

const (
	stormMany   = 1000
	stormPeople = 100
	stormMemory = 250_000_000
	stormOthers = 250 * time.Millisecond
	stormLast   = 15 * time.Second
	stormShare  = 0.7 // of what the server hashes when nobody waits
)

// signInStorm has a thousand people sign in at one moment, at the usual cost of
// a hash: everybody is let in or told when to come back, and who does something
// else hardly notices.
func signInStorm(ctx context.Context, t *trial) error {
	n, b, err := t.lone(ctx, sqlite, "GATEHOUSE_PASSWORD_HASH_MEMORY=19456", "GATEHOUSE_PASSWORD_HASH_TIME=2")
	if err != nil {
		return err
	}
	do := func(op string) func(i int) (int, error) {
		return func(i int) (int, error) {
			r, err := ask{Op: op, Email: fmt.Sprintf("storm%d@example.com", i%stormPeople), Password: bystanderPassword}.request(context.WithoutCancel(ctx), b.base)
			if err != nil {
				return 0, err
			}
			return exchange(b.client.http, r)
		}
	}
	each(4, func(k int) {
		for i := k; i < stormPeople; i += 4 {
			_, _ = do(opSignUp)(i) // who is missing is refused below
		}
	})
	began := time.Now()
	solo := closedLoop(ctx, cores(), t.scaled(4*time.Second), do(opSignIn))
	alone := float64(len(solo.with(200))) / time.Since(began).Seconds()
	if bad, example := solo.others(200); bad > 0 || alone == 0 {
		return fmt.Errorf("%w: %d sign-ins failed, such as %s", errIdle, bad, example)
	}
	stop := n.run.peak(ctx)
	beside := make(chan timings, 1)
	calm, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { beside <- b.watch(calm, time.Minute) }()
	storm := make(timings, stormMany)
	began = time.Now()
	each(stormMany, func(i int) {
		s := timing{sent: time.Now()}
		s.status, s.err = do(opSignIn)(i)
		s.answered = time.Now()
		storm[i] = s
	})
	cancel()
	others, most := <-beside, stop()
	in, away := storm.with(200), storm.with(429, 503)
	var last time.Time
	for _, s := range in {
		if s.answered.After(last) {
			last = s.answered
		}
	}
	rate := float64(len(in)) / last.Sub(began).Seconds()
	bad, example := storm.others(200, 429, 503)
	t.res.OK += len(in)
	t.res.Refused += len(away)
	t.res.Unknown += bad
	t.note("%d let in at %.0f a second (%.0f alone), %d told to come back, the last answer after %v; %s; GET /user beside it p99 %s", len(in), rate, alone,
		len(away), storm.quantile(1).Round(10*time.Millisecond), megabytes(most), ms(others.p99()))
	t.good(others, "beside the storm")
	t.expect(bad == 0, "%d sign-ins got something else than 200, or 429 or 503 with Retry-After, such as %s", bad, example)
	t.expect(storm.quantile(1) <= stormLast, "one was answered only after %v, wanted %v", storm.quantile(1), stormLast)
	t.expect(rate >= stormShare*alone, "%.0f a second were let in, wanted %.0f %% of %.0f", rate, 100*stormShare, alone)
	t.expect(most <= stormMemory, "%s were resident, wanted at most %s", megabytes(most), megabytes(stormMemory))
	t.expect(others.p99() <= stormOthers, "GET /user took %s (p99) beside the storm, wanted %v", ms(others.p99()), stormOthers)
	return n.alive()
}
