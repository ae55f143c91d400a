package main

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
)

// answerer is a database that answers every line with as many lines as the
// first byte says, and a line that begins with 0 not at all.
func answerer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r := bufio.NewReader(c)
				for {
					line, err := r.ReadString('\n')
					if err != nil {
						return
					}
					if _, err := io.WriteString(c, strings.Repeat("answer\n", int(line[0]-'0'))); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	r, err := startRelay(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// ask sends text and reads as many lines.
func ask(t *testing.T, c net.Conn, r *bufio.Reader, text string, lines int) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	for range lines {
		if line, err := r.ReadString('\n'); err != nil || line != "answer\n" {
			t.Fatalf("got %q, %v", line, err)
		}
	}
}

func TestRelay_countsWhatIsWaitedFor(t *testing.T) {
	r := newRelay(t, answerer(t))
	c, err := net.Dial("tcp", r.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	in := bufio.NewReader(c)
	for _, tc := range []struct {
		name, text string
		answers    int
		want       int64
	}{
		{"one question", "1\n", 1, 1},
		{"three questions in one go", "1\n1\n1\n", 3, 1},
		{"a long answer", "9\n", 9, 1},
		{"a word that needs no answer", "0\n", 0, 0},
		{"one more question", "1\n", 1, 1},
	} {
		before := r.trips.Load()
		ask(t, c, in, tc.text, tc.answers)
		if got := r.trips.Load() - before; got != tc.want {
			t.Errorf("%s: got %d round trips, want %d", tc.name, got, tc.want)
		}
	}
}

func TestRelay_countsEachConnectionByItself(t *testing.T) {
	r := newRelay(t, answerer(t))
	for range 3 {
		c, err := net.Dial("tcp", r.addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ask(t, c, bufio.NewReader(c), "1\n", 1)
	}
	if got := r.trips.Load(); got != 3 {
		t.Errorf("got %d round trips of three connections, want 3", got)
	}
}

func TestRelay_hangsUpWhenTheDatabaseIsNotThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	r := newRelay(t, l.Addr().String())
	c, err := net.Dial("tcp", r.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("got a byte from nobody")
	}
}

func TestRelay_closeEndsConnectionsThatAreOpen(t *testing.T) {
	r := newRelay(t, answerer(t))
	c, err := net.Dial("tcp", r.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ask(t, c, bufio.NewReader(c), "1\n", 1)
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("got a byte after the relay has ended")
	}
}
