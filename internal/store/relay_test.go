package store_test

import (
	"bytes"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
)

// relay stands between a store and its database server and passes bytes on.
// It counts round trips, and it can cut connections at the worst moments.
type relay struct {
	url   string // of the database by way of the relay
	trips atomic.Int64

	mute atomic.Bool  // answers are no longer passed on
	deaf atomic.Bool  // nor are questions
	lost atomic.Int64 // questions that were not
	// edit, if set, is given each answer as far as it has come and returns what
	// to pass on; false: and then the end.
	edit atomic.Pointer[func(answer []byte) ([]byte, bool)]
	// asked, if set, is called for each question before it is passed on.
	asked atomic.Pointer[func()]

	mu    sync.Mutex // guards conns
	conns map[net.Conn]bool
}

// relayed starts a relay before the server of a URL.
func relayed(t *testing.T, address string) *relay {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	to := u.Host
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u.Host = l.Addr().String()
	r := &relay{url: u.String(), conns: map[net.Conn]bool{}}
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
			r.mu.Lock()
			r.conns[client], r.conns[server] = true, true
			r.mu.Unlock()
			asked := new(atomic.Bool)
			all.Go(func() { r.pass(server, client, func(b []byte) ([]byte, bool) { return r.question(asked, b) }) })
			all.Go(func() { r.pass(client, server, func(b []byte) ([]byte, bool) { return r.answer(asked, b) }) })
		}
	})
	t.Cleanup(func() { // after the database was closed, which was opened later
		l.Close()
		r.cut()
		all.Wait()
	})
	return r
}

// pass copies what f makes of it until either side ends.
func (r *relay) pass(to, from net.Conn, f func([]byte) ([]byte, bool)) {
	defer r.end(to, from)
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			out, on := f(buf[:n])
			_, err2 := to.Write(out)
			if err2 != nil || !on {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (r *relay) question(asked *atomic.Bool, b []byte) ([]byte, bool) {
	if f := r.asked.Load(); f != nil {
		(*f)()
	}
	if r.deaf.Load() {
		r.lost.Add(1)
		return nil, true
	}
	asked.Store(true)
	return b, true
}

// answer counts a round trip for each burst of answers that follows a question:
// what is sent together is waited for once.
func (r *relay) answer(asked *atomic.Bool, b []byte) ([]byte, bool) {
	if asked.Swap(false) {
		r.trips.Add(1)
	}
	if r.mute.Load() {
		return nil, true
	}
	if edit := r.edit.Load(); edit != nil {
		return (*edit)(b)
	}
	return b, true
}

func (r *relay) end(conns ...net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conns {
		c.Close()
		delete(r.conns, c)
	}
}

// cut ends every connection there is, without a word; new ones pass.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		c.Close()
	}
}

// heal passes all on again.
func (r *relay) heal() {
	r.mute.Store(false)
	r.deaf.Store(false)
	r.edit.Store(nil)
}

// count returns how many round trips f takes.
func (r *relay) count(f func()) int64 {
	before := r.trips.Load()
	f()
	return r.trips.Load() - before
}

// endAfterCommit passes a PostgreSQL server's answers on up to the one that
// says that the transaction is committed, and then what a server says that is
// told to end, as in the protocol (PostgreSQL §55.7: CommandComplete,
// ErrorResponse).
func endAfterCommit(answer []byte) ([]byte, bool) {
	committed := []byte("C\x00\x00\x00\x0bCOMMIT\x00")
	at := bytes.Index(answer, committed)
	if at < 0 {
		return answer, true
	}
	fields := "SFATAL\x00VFATAL\x00C57P01\x00Mterminating connection due to administrator command\x00\x00"
	out := bytes.Clone(answer[:at+len(committed)])
	out = append(out, 'E', 0, 0, 0, byte(4+len(fields)))
	return append(out, fields...), false
}
