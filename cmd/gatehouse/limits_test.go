package main

import (
	"fmt"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
)

// counter stands between a server and its database, passes every byte on, and
// counts round trips: answers that follow a question.
func counter(t *testing.T, d database) (through database, trips *atomic.Int64) {
	t.Helper()
	u, err := url.Parse(d.url)
	if err != nil {
		t.Fatal(err)
	}
	to := u.Host
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u.Host = l.Addr().String()
	trips = new(atomic.Int64)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				client.Close()
				continue
			}
			asked := new(atomic.Bool)
			all.Go(func() { passOn(server, client, func() { asked.Store(true) }) })
			all.Go(func() {
				passOn(client, server, func() {
					if asked.Swap(false) {
						trips.Add(1)
					}
				})
			})
		}
	})
	t.Cleanup(func() { // after the server has ended, and its connections with it
		l.Close()
		all.Wait()
	})
	return database{d.engine, u.String()}, trips
}

// passOn copies until either side ends, and tells of each piece before it goes
// on.
func passOn(to, from net.Conn, tell func()) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			tell()
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// A refresh behind a proxy, where limits apply, waits for the database twice, as
// one without: once to read and once to write. What the server does beside can
// only add to that, so the least of several counts is what one costs.
func TestLimits_aRefreshBehindAProxyTakesTwoRoundTrips(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t *testing.T, d database) {
		if d.engine == "sqlite" {
			t.Skip("it is no network away")
		}
		through, trips := counter(t, d)
		s := start(t, through.settings("GOTRUE_RATE_LIMIT_HEADER=X-Real-Client", "GOTRUE_MAILER_AUTOCONFIRM=true")...)
		s.do(200, "POST", "/signup", object{"email": "ada@example.com", "password": password}, "X-Real-Client: 192.0.2.1")
		for i, client := range []string{"203.0.113.%d", "2001:db8:%x::1"} {
			least := int64(99)
			var in answer
			for n := range 99 { // as often as it takes on a busy machine
				if n%9 == 0 { // a session refreshes ten times a minute
					in = s.do(200, "POST", "/token?grant_type=password", object{"email": "ada@example.com", "password": password}, fmt.Sprint("X-Real-Client: 192.0.2.", i+2))
				}
				before := trips.Load()
				in = s.do(200, "POST", "/token?grant_type=refresh_token", object{"refresh_token": in.text("refresh_token")}, "X-Real-Client: "+fmt.Sprintf(client, n+1))
				least = min(least, trips.Load()-before)
				if least <= 2 {
					break
				}
			}
			if least != 2 {
				t.Errorf("a refresh takes a client such as %q %d round trips, want 2", client, least)
			}
		}
		if n := d.one(t, "SELECT COUNT(*) FROM counters WHERE name = 'requests token'"); n != "0" {
			t.Errorf("%s rows of clients that have refreshed once, want none", n)
		}
	})
}
