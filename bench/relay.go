package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
)

// A relay stands between a server and its database, passes every byte on, and
// counts round trips: an answer of the database after the server has asked
// something. What is sent together is waited for once and counts once; what is
// sent without waiting for an answer does not count.
type relay struct {
	listener net.Listener
	to       string // host:port of the database
	trips    atomic.Int64
	all      sync.WaitGroup

	mu    sync.Mutex // guards conns and ended
	conns map[net.Conn]bool
	ended bool
}

// startRelay listens on a free port of the loopback interface.
func startRelay(ctx context.Context, to string) (*relay, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("no relay to the database: %w", err)
	}
	r := &relay{listener: l, to: to, conns: map[net.Conn]bool{}}
	r.all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // close was called
			}
			r.all.Go(func() { r.pass(ctx, c) })
		}
	})
	return r, nil
}

// addr is where to connect instead of the database.
func (r *relay) addr() string { return r.listener.Addr().String() }

// pass connects one client and copies in both directions until either ends.
func (r *relay) pass(ctx context.Context, client net.Conn) {
	database, err := new(net.Dialer).DialContext(ctx, "tcp", r.to)
	if err != nil {
		_ = client.Close() // which tells the client all there is to tell
		return
	}
	if !r.keep(client, database) {
		return
	}
	var asked atomic.Bool
	var both sync.WaitGroup
	both.Go(func() { copyNoting(database, client, func() { asked.Store(true) }) })
	both.Go(func() {
		copyNoting(client, database, func() {
			if asked.Swap(false) {
				r.trips.Add(1)
			}
		})
	})
	both.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, client)
	delete(r.conns, database)
}

// keep remembers connections for close, or closes them when that was called.
func (r *relay) keep(conns ...net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conns {
		if r.ended {
			_ = c.Close() // nobody waits for it any more
			continue
		}
		r.conns[c] = true
	}
	return !r.ended
}

// copyNoting copies until either side ends, and closes both. It calls note for
// every piece before it goes on: the count must be up when the receiver acts.
func copyNoting(to, from net.Conn, note func()) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			note()
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// close ends the listener and every connection, and waits for them.
func (r *relay) close() error {
	err := r.listener.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil // closed before
	}
	r.mu.Lock()
	r.ended = true
	for c := range r.conns {
		_ = c.Close() // the copier sees it
	}
	r.mu.Unlock()
	r.all.Wait()
	return err
}
