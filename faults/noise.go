package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"
)

// noises have one tenant ask for ten times as much as another, who hardly
// notices.
func noises() (all []scenario) {
	for _, engine := range []string{sqlite, postgres} {
		all = append(all, scenario{name: "noise/" + engine, bound: 40 * time.Second, run: func(ctx context.Context, t *trial) error {
			return noisyTenant(ctx, t, engine)
		}})
	}
	return all
}

const (
	quietEvery  = 25 * time.Millisecond // between two requests of the quiet tenant
	noiseTimes  = 10                    // as many of the noisy one
	noiseRounds = 5                     // of the quiet tenant alone, and then beside the other
	noiseEnough = 30 * time.Second      // after which no further round begins
	noiseRises  = 1.5                   // times its p99 alone, that the quiet tenant's may be
)

// noisyTenant measures the quiet tenant in turns, without the other and with
// it: whatever else the machine does falls on both sides alike. What counts is
// the second best round of each: what the neighbour does to it is there in
// every round, and what others on the machine do is not.
func noisyTenant(ctx context.Context, t *trial, engine string) error {
	// A sign-in is the one thing here that fills a processor. With the usual hash
	// it would take most of the time to make the people.
	n, b, err := t.lone(ctx, engine, "GATEHOUSE_PASSWORD_HASH_MEMORY=4096", "GATEHOUSE_PASSWORD_HASH_TIME=2")
	if err != nil {
		return err
	}
	quiet, err := newTenant(ctx, b.client.http, n.url(), "quiet", 20)
	if err != nil {
		return err
	}
	noisy, err := newTenant(ctx, b.client.http, n.url(), "noisy", 100)
	if err != nil {
		return err
	}
	lasts := t.scaled(2500 * time.Millisecond)
	quiet.live(ctx, time.Second, quietEvery) // warm
	var alone, beside []time.Duration
	var loud, offered int
	for range noiseRounds {
		if time.Since(t.began) > noiseEnough && len(alone) > noiseRounds/2 {
			break // a slow machine
		}
		before := quiet.live(ctx, lasts, quietEvery)
		noise := make(chan timings, 1)
		go func() { noise <- noisy.live(ctx, lasts, quietEvery/noiseTimes) }()
		during := quiet.live(ctx, lasts, quietEvery)
		made := <-noise
		if ctx.Err() != nil {
			return ctx.Err()
		}
		t.good(slices.Concat(before, during), "in the quiet tenant")
		t.good(made, "in the noisy tenant")
		loud += len(made)
		offered += len(during)
		alone, beside = append(alone, quick(before).p99()), append(beside, quick(during).p99())
	}
	slices.Sort(alone)
	slices.Sort(beside)
	was, is, last := alone[1], beside[1], len(alone)-1
	t.note("GET /user and refresh p99 %s alone (%s to %s), %s beside a tenant with %.1f times the load (%s to %s)", ms(was), ms(alone[0]), ms(alone[last]),
		ms(is), float64(loud)/float64(offered), ms(beside[0]), ms(beside[last]))
	t.expect(float64(loud) >= 0.9*noiseTimes*float64(offered), "the noisy tenant made %d requests beside %d: nothing was tried", loud, offered)
	t.expect(is <= max(time.Duration(noiseRises*float64(was)), hardlyLonger), "the quiet tenant's p99 rose from %s to %s", ms(was), ms(is))
	return n.alive()
}

// tenant is one house of its own in a server, and the people in it.
type tenant struct {
	speaks *client
	people chan *owned // whose session nobody refreshes just now; they take turns
	access []string    // a token of each
}

// newTenant makes a tenant with so many people in it.
func newTenant(ctx context.Context, c *http.Client, base, name string, people int) (*tenant, error) {
	base, err := addTenant(ctx, c, base, name, nil)
	if err != nil {
		return nil, err
	}
	own := &tenant{speaks: newClient(nil, base), people: make(chan *owned, people), access: make([]string, people)}
	failed := make([]error, cores())
	each(cores(), func(k int) { // no more, or some would be told to come back
		for i := k; i < people && failed[k] == nil; i += cores() {
			a := &owned{email: fmt.Sprintf("%s%d@example.com", name, i)}
			got := own.speaks.send(ctx, ask{Op: opSignUp, Email: a.email, Password: bystanderPassword})
			a.keep(got)
			if len(a.sessions) == 0 {
				failed[k] = fmt.Errorf("sign-up in %s: %d %s", name, got.Status, got.Err)
			}
			own.access[i] = got.Access
			own.people <- a
		}
	})
	return own, errors.Join(failed...)
}

// addTenant makes a tenant with settings of its own and returns its address.
func addTenant(ctx context.Context, c *http.Client, base, name string, settings map[string]string) (string, error) {
	text, err := json.Marshal(map[string]any{"name": name, "settings": settings})
	if err != nil {
		return "", err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/admin/tenants", bytes.NewReader(text))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+operator)
	res, err := c.Do(r)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	said, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil || res.StatusCode >= 300 {
		return "", errors.Join(err, fmt.Errorf("a tenant: %d %s", res.StatusCode, cutText(string(said), 300)))
	}
	return base + atTenant(name), nil
}

// atTenant is where a tenant is found under the address of every node.
func atTenant(name string) string { return "/t/" + name }

// noiseKind is what the i-th request of a tenant is for: seven in ten for the
// user, the rest refreshes, but for four sign-ins in a hundred.
func noiseKind(i int) string {
	switch {
	case i%25 == 24:
		return opSignIn
	case i%10 >= 7:
		return opRefresh
	}
	return opUser
}

// live has the people of a tenant ask every so often for that long, whether or
// not earlier questions have been answered.
func (n *tenant) live(ctx context.Context, d, every time.Duration) timings {
	return openLoop(ctx, d, every, func(i int) (int, error) {
		kind := noiseKind(i)
		if kind == opUser {
			return n.once(ctx, ask{Op: kind, Access: n.access[i%len(n.access)]}, nil)
		}
		select {
		case a := <-n.people:
			defer func() { n.people <- a }()
			return n.once(ctx, ask{Op: kind, Email: a.email, Password: bystanderPassword, Token: a.sessions[0].refresh}, a)
		default:
			return 0, errors.New("everybody still waits for an answer")
		}
	})
}

// once makes one request and keeps the session it opened or went on with.
func (n *tenant) once(ctx context.Context, q ask, a *owned) (int, error) {
	got := n.speaks.send(ctx, q)
	if got.Status != http.StatusOK {
		return got.Status, errors.New(got.Err)
	}
	if a != nil {
		if got.Session == "" {
			return got.Status, errors.New("a grant without a session")
		}
		a.sessions = nil
		a.keep(got)
	}
	return got.Status, nil
}

// quick are the answers to what costs no hash.
func quick(all timings) (some timings) {
	for _, t := range all {
		if noiseKind(t.nth) != opSignIn {
			some = append(some, t)
		}
	}
	return some
}
