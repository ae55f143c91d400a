package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	idleMany   = 10_000
	idleFor    = 15 * time.Second // HTTP_IDLE_TIMEOUT here; its default is two minutes, and nobody waits for that
	idleMemory = 250_000_000      // bytes resident
	idleNew    = 100 * time.Millisecond
)

// idleConnections opens as many connections as the server takes, has each make
// a request and fall silent. New clients are served all the same, at the cost of
// those that have been silent longest, and all of them are closed in time.
func idleConnections(ctx context.Context, t *trial) error {
	err := raiseFiles(2 * idleMany)
	if err != nil {
		return err
	}
	n, b, err := t.lone(ctx, sqlite, "GATEHOUSE_HTTP_MAX_CONNECTIONS="+strconv.Itoa(idleMany), "GATEHOUSE_HTTP_IDLE_TIMEOUT="+idleFor.String())
	if err != nil {
		return err
	}
	empty, err := n.run.usage()
	if err != nil {
		return err
	}
	stop := n.run.peak(ctx)
	began := time.Now()
	all, err := openIdle(ctx, n.addr())
	opened := time.Now()
	defer func() {
		for _, c := range all {
			c.Close()
		}
	}()
	if err != nil {
		return fmt.Errorf("%w (is `ulimit -n` high enough?)", err)
	}
	full, err := n.run.usage()
	if err != nil {
		return err
	}
	// The good client's connections are among the oldest, and may be closed under
	// its hands: it has new ones.
	b.client.http.CloseIdleConnections()
	during := b.watchNew(ctx, t.scaled(3*time.Second))
	last, left := untilClosed(all, idleFor+5*time.Second)
	most := stop()
	t.note("%d connections in %v: %s, %.1f kB each; at most %s", len(all), opened.Sub(began).Round(10*time.Millisecond), megabytes(full.resident),
		float64(full.resident-empty.resident)/float64(len(all))/1000, megabytes(most))
	t.note("new clients p99 %s", ms(during.p99()))
	t.note("the last idle one closed after %v", last.Sub(opened).Round(10*time.Millisecond))
	t.good(during, "among idle connections")
	t.expect(most <= idleMemory, "%s were resident, wanted at most %s", megabytes(most), megabytes(idleMemory))
	t.expect(during.p99() <= idleNew, "new clients waited %s (p99), wanted %v", ms(during.p99()), idleNew)
	t.expect(left == 0, "%d connections were still open %v after their last request, wanted %v", left, idleFor+5*time.Second, idleFor)
	return n.alive()
}

// openIdle opens the connections, each with one request behind it.
func openIdle(ctx context.Context, addr string) ([]net.Conn, error) {
	all := make([]net.Conn, idleMany)
	var next atomic.Int64
	var mu sync.Mutex // guards failed
	var failed error
	each(32, func(int) {
		for ctx.Err() == nil {
			i := int(next.Add(1)) - 1
			if i >= len(all) {
				return
			}
			c, err := openOne(addr)
			if err != nil {
				mu.Lock()
				failed = err
				mu.Unlock()
				return
			}
			all[i] = c
		}
	})
	open := all[:0]
	for _, c := range all {
		if c != nil {
			open = append(open, c)
		}
	}
	return open, errors.Join(failed, ctx.Err())
}

func openOne(addr string) (net.Conn, error) {
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(answerTimeout))
	_, err = io.WriteString(c, "GET /settings HTTP/1.1\r\nHost: auth.example.com\r\n\r\n")
	if err == nil {
		var res *http.Response
		res, err = http.ReadResponse(bufio.NewReader(c), nil)
		if err == nil {
			_, err = io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// watchNew is watch by clients that have no connection yet.
func (b *bystander) watchNew(ctx context.Context, d time.Duration) timings {
	fresh := &http.Client{Timeout: answerTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	return openLoop(ctx, d, bystanderEvery, func(int) (int, error) { return b.askOver(fresh) })
}

// untilClosed waits until the server has closed all of them, and returns when
// it closed the last, or how many it left open for too long.
func untilClosed(all []net.Conn, most time.Duration) (last time.Time, left int) {
	late := time.Now().Add(most)
	b := make([]byte, 1)
	for _, c := range all {
		_ = c.SetReadDeadline(late)
		_, err := c.Read(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			left++
		}
	}
	return time.Now(), left
}
