package web

import (
	"net"
	"net/http"
	"sync"
)

// Conns bounds the connections of a server. When one too many comes, the one
// that has waited longest for a request is closed: it is the likeliest to be
// nobody's, and better than leaving a new client to hang.
type Conns struct {
	// Crowded, if set, is told when thousands of connections are open and when
	// they no longer are: each costs memory while nothing happens on it.
	Crowded func(bool)

	most int

	mu      sync.Mutex // guards the rest
	all     map[net.Conn]*seat
	waiting seat // the ends of a ring: next has waited longest
	closed  int64
	crowded bool
}

// A crowd begins with so many connections and has gone when there are half as
// many.
const aCrowd = 2000

// seat is a connection's, in the ring while it waits for a request.
type seat struct {
	conn       net.Conn
	prev, next *seat
}

// answerBuffer is how much of an answer the kernel holds for a client that
// does not read it, in bytes. Left to itself it grows to megabytes.
const answerBuffer = 64 << 10

// NewConns bounds connections to most, or to fewer where the process may not
// have that many files open.
func NewConns(most int) *Conns {
	c := &Conns{most: mostConns(most, openFiles()), all: map[net.Conn]*seat{}}
	c.waiting.prev, c.waiting.next = &c.waiting, &c.waiting
	return c
}

// mostConns leaves a part of the files the process may have open to databases,
// logs and outgoing connections. files may be 0: not known.
func mostConns(most int, files uint64) int {
	if files == 0 || files > 1<<30 {
		return most
	}
	n := int(files)
	return max(1, min(most, n-min(n/4, 1024)))
}

// Most is how many connections there may be.
func (c *Conns) Most() int { return c.most }

// Load is how many connections are open, and how many were ever closed for
// want of room.
func (c *Conns) Load() (open int, closed int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.all), c.closed
}

// changed is http.Server.ConnState. A connection is only active once the whole
// header of a request is in: one that drips a header waits like one that sends
// nothing.
func (c *Conns) changed(conn net.Conn, s http.ConnState) {
	if s == http.StateNew {
		if t, ok := conn.(interface{ SetWriteBuffer(n int) error }); ok {
			_ = t.SetWriteBuffer(answerBuffer) // a connection that is gone already
		}
	}
	if last := c.move(conn, s); last != nil {
		_ = last.Close()
	}
}

// move notes what became of a connection, and returns one to close, or nil.
func (c *Conns) move(conn net.Conn, s http.ConnState) net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.count()
	p := c.all[conn]
	if p == nil {
		if s != http.StateNew {
			return nil
		}
		p = &seat{conn: conn}
		c.all[conn] = p
	}
	p.leave()
	switch s {
	case http.StateNew, http.StateIdle:
		p.join(&c.waiting)
	case http.StateClosed, http.StateHijacked:
		delete(c.all, conn)
	}
	if s != http.StateNew || len(c.all) <= c.most {
		return nil
	}
	last := c.waiting.next // conn itself, if all others are at work
	last.leave()
	c.closed++
	return last.conn
}

// count tells whom it concerns that a crowd has come or gone; c.mu is held.
func (c *Conns) count() {
	crowded := len(c.all) >= aCrowd || c.crowded && len(c.all) > aCrowd/2
	if crowded != c.crowded && c.Crowded != nil {
		c.Crowded(crowded)
	}
	c.crowded = crowded
}

func (p *seat) leave() {
	if p.next != nil {
		p.prev.next, p.next.prev = p.next, p.prev
		p.prev, p.next = nil, nil
	}
}

func (p *seat) join(ends *seat) {
	p.prev, p.next = ends.prev, ends
	p.prev.next, ends.prev = p, p
}
