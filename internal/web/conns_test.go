package web

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// visitor is one connection to a server that answers 404, or stays at work.
type visitor struct {
	net.Conn
	in *bufio.Reader
}

func visit(p *pipes) *visitor {
	c := p.dial()
	return &visitor{c, bufio.NewReader(c)}
}

// ask makes a request and returns the status, 0 when the connection is closed.
func (v *visitor) ask() int {
	_, err := io.WriteString(v, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if err != nil {
		return 0
	}
	res, err := http.ReadResponse(v.in, nil)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, res.Body)
	res.Body.Close()
	return res.StatusCode
}

// open tells whether nobody has closed the connection.
func (v *visitor) open() bool {
	_ = v.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := v.in.Peek(1)
	_ = v.SetReadDeadline(time.Time{})
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func TestConns_theOneThatWaitedLongestMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conns := NewConns(3)
		p := serving(t, http.NotFoundHandler(), HTTPLimits{Idle: time.Hour, Conns: conns})
		first, second, third := visit(p), visit(p), visit(p)
		for i, v := range []*visitor{second, third, first} { // who asked last waits least
			if got := v.ask(); got != 404 {
				t.Fatalf("visitor %d is answered %d", i, got)
			}
			time.Sleep(time.Second)
		}
		fourth := visit(p)
		if got := fourth.ask(); got != 404 {
			t.Errorf("a new client is answered %d when there is no room", got)
		}
		synctest.Wait()
		if second.open() || !first.open() || !third.open() {
			t.Errorf("open: first %v, second %v, third %v; want the second closed, which had waited longest", first.open(), second.open(), third.open())
		}
		if open, closed := conns.Load(); open != 3 || closed != 1 {
			t.Errorf("%d are open and %d were closed, want 3 and 1", open, closed)
		}
		first.Close()
		third.Close()
		synctest.Wait()
		if open, closed := conns.Load(); open != 1 || closed != 1 {
			t.Errorf("after two have left, %d are open and %d were closed for want of room; want 1 and 1", open, closed)
		}
	})
}

// Who drips a header waits, too: a flood of them does not keep others out.
func TestConns_aFloodOfSilenceKeepsNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := serving(t, http.NotFoundHandler(), HTTPLimits{Idle: time.Hour, Conns: NewConns(10)})
		for range 50 {
			v := visit(p)
			_, _ = io.WriteString(v, "GET / HTTP/1.1\r\nX-Slow: ")
		}
		if got := visit(p).ask(); got != 404 {
			t.Errorf("a client among those that say nothing is answered %d", got)
		}
	})
}

func TestConns_nobodyAtWorkIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		letGo := make(chan struct{})
		p := serving(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			<-letGo
			w.WriteHeader(http.StatusTeapot)
		}), HTTPLimits{Idle: time.Hour, Conns: NewConns(2)})
		answers := make(chan int, 2)
		for range 2 {
			v := visit(p)
			go func() { answers <- v.ask() }()
		}
		synctest.Wait()
		if got := visit(p).ask(); got != 0 {
			t.Errorf("one more than can be served is answered %d, want it closed at once", got)
		}
		close(letGo)
		for range 2 {
			if got := <-answers; got != http.StatusTeapot {
				t.Errorf("a request that was being answered ends with %d", got)
			}
		}
	})
}

func TestMostConns_leavesFilesForTheRest(t *testing.T) {
	for _, c := range []struct {
		most  int
		files uint64
		want  int
	}{
		{20_000, 0, 20_000},
		{20_000, 1 << 62, 20_000},
		{20_000, 1 << 20, 20_000},
		{20_000, 20_000, 18_976},
		{20_000, 1024, 768},
		{20_000, 256, 192},
		{100, 1024, 100},
		{20_000, 1, 1},
	} {
		if got := mostConns(c.most, c.files); got != c.want {
			t.Errorf("%d connections with %d files: %d, want %d", c.most, c.files, got, c.want)
		}
	}
}

func TestConns_tellsOfACrowdOnce(t *testing.T) {
	c := NewConns(10 * aCrowd)
	var told []bool
	c.Crowded = func(crowded bool) { told = append(told, crowded) }
	all := make([]*net.TCPConn, aCrowd+1)
	for i := range all {
		all[i] = new(net.TCPConn)
		c.move(all[i], http.StateNew)
		c.move(all[i], http.StateActive)
	}
	for _, conn := range all {
		c.move(conn, http.StateClosed)
	}
	if !slices.Equal(told, []bool{true, false}) {
		t.Errorf("of a crowd that comes and goes it tells %v, want true and false", told)
	}
}
