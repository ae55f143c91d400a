package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// cutter stands between a node and its database and resets connections at a
// random byte: in the middle of a statement, of an answer, of a commit.
type cutter struct {
	l    net.Listener
	to   string
	mean atomic.Int64 // bytes a connection may carry, on average; 0: no end
	cuts atomic.Int64
	all  sync.WaitGroup

	mu    sync.Mutex // guards conns
	conns map[net.Conn]bool
}

// newCutter listens on a free port and passes on to that address.
func newCutter(to string) (*cutter, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("cutter: %w", err)
	}
	c := &cutter{l: l, to: to, conns: map[net.Conn]bool{}}
	c.all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			c.all.Go(func() { c.carry(in) })
		}
	})
	return c, nil
}

func (c *cutter) addr() string { return c.l.Addr().String() }

// close ends all connections, too.
func (c *cutter) close() error {
	err := c.l.Close()
	c.mu.Lock()
	for conn := range c.conns {
		conn.Close()
	}
	c.mu.Unlock()
	c.all.Wait()
	return err
}

// honest stops the cutting; connections that are open live on.
func (c *cutter) honest() { c.mean.Store(0) }

func (c *cutter) keep(conn net.Conn, yes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if yes {
		c.conns[conn] = true
	} else {
		delete(c.conns, conn)
	}
}

// carry passes bytes on both ways until one side ends or the time to cut has
// come.
func (c *cutter) carry(in net.Conn) {
	defer in.Close()
	out, err := net.DialTimeout("tcp", c.to, 2*time.Second)
	if err != nil {
		return
	}
	defer out.Close()
	for _, conn := range []net.Conn{in, out} {
		c.keep(conn, true)
		defer c.keep(conn, false)
	}
	p := &purse{mean: &c.mean}
	var once sync.Once
	cut := func() {
		once.Do(func() {
			c.cuts.Add(1)
			reset(in)
			reset(out)
		})
	}
	pass := func(to, from net.Conn) {
		_, err := io.Copy(metered{to, p}, from)
		if errors.Is(err, errSpentBytes) {
			cut()
			return
		}
		// One side has ended: so does the other.
		in.Close()
		out.Close()
	}
	var both sync.WaitGroup
	both.Go(func() { pass(out, in) })
	both.Go(func() { pass(in, out) })
	both.Wait()
}

// reset closes a connection with an RST and not in order.
func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // without it the end is only milder
	}
	c.Close()
}

var errSpentBytes = errors.New("cut here")

// purse is how many bytes a connection may still carry, both ways together.
type purse struct {
	mean *atomic.Int64

	mu    sync.Mutex // guards what follows
	drawn bool       // left was drawn by lot: at the first byte after the cutting began
	left  int64
}

// take spends up to n bytes and returns how many there were.
func (p *purse) take(n int) int {
	mean := p.mean.Load()
	if mean == 0 {
		return n
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.drawn {
		p.drawn, p.left = true, int64(rand.ExpFloat64()*float64(mean))
	}
	n = int(min(int64(n), p.left))
	p.left -= int64(n)
	return n
}

// metered writes until the purse is empty, to the byte.
type metered struct {
	to io.Writer
	p  *purse
}

func (m metered) Write(b []byte) (int, error) {
	may := m.p.take(len(b))
	n, err := m.to.Write(b[:may])
	if err == nil && may < len(b) {
		err = errSpentBytes
	}
	return n, err
}
