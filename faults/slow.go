package main

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// slowKind is a way to be slow.
type slowKind struct {
	name   string
	many   int           // connections at one time
	opens  string        // what it sends at once
	drips  string        // what it sends every second
	deaf   bool          // it reads nothing
	limit  time.Duration // after which it is to be cut off
	cut    atomic.Int64  // by the server
	longer atomic.Int64  // the longest life, in nanoseconds
}

// A server without limits would keep each of these for as long as it likes to
// stay: the scenario fails unless every one of them was cut off in time.
func slowKinds() []*slowKind {
	const get = "GET /settings HTTP/1.1\r\nHost: auth.example.com\r\n"
	return []*slowKind{
		{name: "headers", many: 1000, opens: get + "X-Slow: ", drips: "x", limit: 5 * time.Second},
		{
			name: "bodies", many: 300, drips: " ", limit: 10 * time.Second,
			opens: "POST /token?grant_type=password HTTP/1.1\r\nHost: auth.example.com\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{",
		},
		// More than the buffers on both sides hold.
		{name: "readers", many: 100, opens: strings.Repeat(get+"\r\n", 400), drips: get + "\r\n", deaf: true, limit: 15 * time.Second},
	}
}

const (
	cutLate      = 2 * time.Second       // more than its time, that a connection may live on a busy machine
	hardlyLonger = 25 * time.Millisecond // that nobody notices, whatever it is a multiple of
)

func slowClients(ctx context.Context, t *trial) error {
	n, b, err := t.lone(ctx, sqlite)
	if err != nil {
		return err
	}
	before := b.watch(ctx, t.scaled(5*time.Second))
	slowly, cancel := context.WithTimeout(ctx, max(t.scaled(20*time.Second), 18*time.Second))
	defer cancel()
	kinds := slowKinds()
	var all sync.WaitGroup
	for _, k := range kinds {
		for range k.many {
			all.Go(func() {
				for slowly.Err() == nil {
					k.live(slowly, n.addr())
				}
			})
		}
	}
	pause(ctx, time.Second) // until all are there
	during := b.watch(slowly, time.Minute)
	all.Wait()
	for _, k := range kinds {
		longest := time.Duration(k.longer.Load())
		t.note("%d slow %s cut off after at most %v", k.cut.Load(), k.name, longest.Round(10*time.Millisecond))
		t.expect(k.cut.Load() >= int64(k.many), "of %d slow %s at one time only %d were cut off", k.many, k.name, k.cut.Load())
		t.expect(longest <= k.limit+cutLate, "slow %s lived for %v, wanted %v", k.name, longest, k.limit)
	}
	t.good(before, "before")
	t.good(during, "beside slow clients")
	t.note("GET /user p99 %s before, %s beside them", ms(before.p99()), ms(during.p99()))
	t.expect(during.p99() <= max(2*before.p99(), hardlyLonger), "p99 rose from %s to %s", ms(before.p99()), ms(during.p99()))
	return n.alive()
}

// good counts answers to a bystander, all of which must be 200.
func (t *trial) good(all timings, when string) {
	bad, example := all.others(200)
	t.res.OK += len(all) - bad
	t.res.Unknown += bad
	t.expect(bad == 0, "%s %d of %d requests of a good client failed, such as %s", when, bad, len(all), example)
	t.expect(len(all) >= 100, "%s: %v: %d requests", when, errIdle, len(all))
}

// live is one connection, until the server or the scenario ends it.
func (k *slowKind) live(ctx context.Context, addr string) {
	d := net.Dialer{Timeout: 5 * time.Second}
	if k.deaf {
		d.Control = smallWindow
	}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		pause(ctx, 100*time.Millisecond)
		return
	}
	defer c.Close()
	began := time.Now()
	_, err = io.WriteString(c, k.opens)
	for err == nil && ctx.Err() == nil {
		if k.deaf {
			pause(ctx, 500*time.Millisecond)
		} else {
			_ = c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
			_, err = c.Read(make([]byte, 512))
			if errors.Is(err, os.ErrDeadlineExceeded) {
				err = nil
			}
		}
		if err == nil {
			_ = c.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
			_, err = io.WriteString(c, k.drips)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				err = nil
			}
		}
	}
	life := int64(time.Since(began))
	for {
		longest := k.longer.Load()
		if life <= longest || k.longer.CompareAndSwap(longest, life) {
			break
		}
	}
	if err != nil && ctx.Err() == nil {
		k.cut.Add(1)
	}
}
