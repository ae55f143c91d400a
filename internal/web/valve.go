package web

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"gatehouse/internal/auth"
)

// Valve lets in as many requests as the server can have under way and turns
// the rest away at once, before their bodies are read: a server that takes in
// more than it can do ends up doing nothing in time.
//
// Requests that may wait for a password hash have places of their own, so that
// a flood of sign-ins leaves room for everything else. Who asks for the
// server's health, or whether a browser may ask, is always let in. A request
// takes no place while its body is being sent, else those who send a byte a
// second would shut everybody out.
type Valve struct {
	Next http.Handler
	Most int // requests under way; those that may wait for a hash have twice as many places. 0: 256 for each processor core
	Log  *slog.Logger
	Now  func() time.Time

	quick, slow places
	turned      atomic.Int64 // away, in all
	said        atomic.Int64 // how many of them the log knows of
	saidAt      atomic.Int64 // in microseconds
}

// slower is how many times more places there are for requests that wait for a
// hash. The queue there is no longer than a few seconds of hashing; there is
// room for all of it.
const slower = 2

// When requests take this long, not counting the time their bodies were under
// way, the server has more to do than it can do in time: a database gives up
// those that have waited for five seconds, and all it did for them was for
// nothing. Then only a part of the places is given away until it has caught up:
// so few that the last of a flood are done two seconds after it on a slow
// machine, too, and so many that those who merely wait for a slow hook get on.
// The part is fixed: one reckoned from how many are done in a second shrinks when
// they wait for somebody else, for then fewer are done, and so it shrinks again.
const (
	tooLate   = time.Second
	whileLate = 8 // the part is one in so many
)

// discarding is how long a request that is turned away has to bring the rest
// of its body, after which its connection is closed.
const discarding = 20 * time.Millisecond

// places counts requests.
type places struct {
	taken atomic.Int64
	late  atomic.Int64 // moving average of how long they took, in microseconds
}

func (p *places) take(most int64) bool {
	n := p.taken.Add(1)
	if n == 1 {
		p.late.Store(0) // whatever was late is over
	}
	if n <= most && (n <= max(1, most/whileLate) || p.late.Load() < tooLate.Microseconds()) {
		return true
	}
	p.taken.Add(-1)
	return false
}

// leave gives a place back after that long. Two at one moment may count as one,
// which a moving average does not mind.
func (p *places) leave(took time.Duration) {
	late := p.late.Load()
	p.late.Store(late + (took.Microseconds()-late)/16)
	p.taken.Add(-1)
}

func (v *Valve) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if always(r) {
		v.Next.ServeHTTP(w, r)
		return
	}
	p, most := &v.quick, int64(v.Most)
	if most == 0 {
		most = int64(256 * runtime.GOMAXPROCS(0))
	}
	if hashes(r) {
		p, most = &v.slow, slower*most
	}
	if !p.take(most) {
		v.turnAway(w, r)
		return
	}
	began := v.Now()
	body := &outside{ReadCloser: r.Body, p: p, most: 2 * most, now: v.Now}
	defer func() { p.leave(v.Now().Sub(began) - body.took) }()
	if r.Body != nil && r.Body != http.NoBody {
		one := *r // net/http looks at the body of its own
		one.Body = body
		r = &one
	}
	v.Next.ServeHTTP(w, r)
}

// Load is how many requests are under way, and how many were ever turned away.
func (v *Valve) Load() (underWay, turnedAway int64) {
	return v.quick.taken.Load() + v.slow.taken.Load(), v.turned.Load()
}

// always tells of requests that cost next to nothing and that others wait for.
func always(r *http.Request) bool {
	return r.Method == http.MethodOptions ||
		r.Method == http.MethodGet && slices.Contains(healthPaths, r.URL.Path)
}

// healthPaths are where the server's own health is. Below other paths anybody
// could name what has to be looked up.
var healthPaths = []string{"/health", "/auth/v1/health", "/.netlify/identity/health", "/health/live", "/health/ready"}

// hashes tells whether a request may wait for a password hash: every one that
// changes something but is not, to the letter, the commonest that cannot. A form
// may say in its body that it is another one.
func hashes(r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return false
	}
	return r.URL.RawQuery != "grant_type=refresh_token" || !strings.HasSuffix(r.URL.Path, "/token") || IsForm(r)
}

// turnAway answers without a look at the body.
func (v *Valve) turnAway(w http.ResponseWriter, r *http.Request) {
	now := v.Now()
	n := v.turned.Add(1)
	if r.Body != nil && r.Body != http.NoBody {
		// Before it answers, net/http reads what the client still sends.
		_ = http.NewResponseController(w).SetReadDeadline(now.Add(discarding)) // not with every kind of connection
	}
	h := w.Header()
	guard(h)
	h.Set("Retry-After", strconv.FormatInt(1+n%3, 10)) // not all at one moment
	// So that a page can read why.
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", exposed)
	http.Error(w, "too many requests at once", http.StatusServiceUnavailable)
	v.say(now, n)
}

// say writes a line at most once a second: a line for each of a flood would be
// a flood of its own.
func (v *Valve) say(now time.Time, n int64) {
	at := now.UnixMicro()
	last := v.saidAt.Load()
	if at-last < time.Second.Microseconds() && last != 0 || !v.saidAt.CompareAndSwap(last, at) {
		return
	}
	v.Log.Warn("requests were turned away, because too many came at once", "requests", n-v.said.Swap(n))
}

// outside is a body whose request has no place while it is read.
type outside struct {
	io.ReadCloser
	p    *places
	most int64 // requests that may come back in
	now  func() time.Time
	took time.Duration // to read it
}

// errCrowded ends a request whose body is in when too many are under way.
var errCrowded = &auth.Error{Code: auth.Busy, RetryAfter: time.Second, Err: errors.New("too many requests at once")}

func (o *outside) Read(b []byte) (int, error) {
	o.p.taken.Add(-1)
	began := o.now()
	n, err := o.ReadCloser.Read(b)
	o.took += o.now().Sub(began)
	// Whoever sent many requests but for their last bytes, and then all of those,
	// is not let in with all of them.
	if o.p.taken.Add(1) > o.most {
		return n, errCrowded
	}
	return n, err
}
