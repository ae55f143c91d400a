package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"
)

const (
	answerTimeout = 60 * time.Second // past the end of a flow, an answer is given up
	sampleLength  = 300              // bytes of one refused body that are shown
	brokenPause   = 5 * time.Millisecond
)

// A driver holds what the flows share: where to ask, whose CPU to read, and the
// people it has signed up.
type driver struct {
	to       *target
	pid      int       // of the server; 0 when it is not known
	db       *database // nil when it is not known
	operator []byte    // the operator token; empty when it is not known
	pages    int64     // of the list of users that the flow page asks for
	callers  int
	run      string // makes the addresses of this run its own
	password string
	next     atomic.Int64 // number of the next new address
	sessions []*session
}

// A session is one signed-up person and the tokens of their last sign-in.
type session struct {
	email           string
	access, refresh []byte
	ended           bool // its refresh token was refused; a chain cannot go on
}

func newDriver(to *target, pid, callers int) *driver {
	// Random, so that neither a repeated run nor a list of common passwords
	// stands in the way.
	return &driver{to: to, pid: pid, callers: callers, run: rand.Text()[:10], password: "Bench-7." + rand.Text()}
}

// A caller is one of the people who ask in a closed loop: the next request
// leaves when the last is answered.
type caller struct {
	d        *driver
	conn     conn
	sessions []*session // its own: two callers never refresh the same chain
	turn     int
	link     string // where the walk through the list of users goes on
	walked   int64  // pages since the first
	request  []byte
	scratch  []byte

	latency histogram // of the answers that were right
	errors  int64
	sample  string // the first thing that went wrong
}

// A step makes one request of a flow and judges the answer.
type step func(*caller) error

// A refusal is an answer that the flow did not want.
type refusal struct {
	status int
	body   string
}

func (r *refusal) Error() string { return fmt.Sprintf("%d %s", r.status, r.body) }

func refused(a answer) *refusal {
	return &refusal{status: a.status, body: string(a.body[:min(len(a.body), sampleLength)])}
}

// open makes the callers, connects them and deals the sessions out.
func (d *driver) open() ([]*caller, error) {
	callers := make([]*caller, d.callers)
	for i := range callers {
		callers[i] = &caller{d: d, conn: conn{to: d.to, deadline: time.Now().Add(dialTimeout)}}
		if err := callers[i].conn.dial(); err != nil {
			closeAll(callers[:i])
			return nil, fmt.Errorf("cannot connect: %w", err)
		}
	}
	for i, s := range d.sessions {
		c := callers[i%len(callers)]
		c.sessions = append(c.sessions, s)
	}
	return callers, nil
}

func closeAll(callers []*caller) {
	for _, c := range callers {
		c.conn.close()
	}
}

// runAll loops every caller until the time is up, and returns when the last
// answer is in.
func runAll(ctx context.Context, callers []*caller, s step, length time.Duration) {
	end := time.Now().Add(length)
	var all sync.WaitGroup
	for _, c := range callers {
		all.Go(func() {
			c.conn.expire(end.Add(answerTimeout))
			for now := time.Now(); now.Before(end) && ctx.Err() == nil; {
				now = c.take(ctx, s, now)
			}
		})
	}
	all.Wait()
}

// runOnce has every caller make one step for each of its sessions.
func runOnce(ctx context.Context, callers []*caller, s step) {
	var all sync.WaitGroup
	for _, c := range callers {
		all.Go(func() {
			now := time.Now()
			for range c.sessions {
				if ctx.Err() != nil {
					return
				}
				c.conn.expire(now.Add(answerTimeout))
				now = c.take(ctx, s, now)
			}
		})
	}
	all.Wait()
}

// take makes one step, which begins now, and returns when it ended.
func (c *caller) take(ctx context.Context, s step, now time.Time) time.Time {
	err := s(c)
	after := time.Now()
	if err == nil {
		c.latency.record(after.Sub(now))
	} else {
		c.fail(ctx, err)
	}
	return after
}

// fail counts an error, and waits a moment after a broken connection: a server
// that is down would be asked in a busy loop otherwise.
func (c *caller) fail(ctx context.Context, err error) {
	c.errors++
	if c.sample == "" {
		c.sample = err.Error()
	}
	if _, ok := errors.AsType[*refusal](err); !ok {
		select {
		case <-ctx.Done():
		case <-time.After(brokenPause):
		}
	}
}

// person returns the next of the caller's own sessions.
func (c *caller) person() *session {
	s := c.sessions[c.turn%len(c.sessions)]
	c.turn++
	return s
}

// user is GET /user with a live access token.
func user(c *caller) error {
	c.request = c.d.to.appendGet(c.request[:0], "/user", c.person().access)
	a, err := c.conn.do(c.request)
	if err != nil {
		return err
	}
	if id, ok := field(a.body, "id"); a.status != 200 || !ok || len(id) == 0 {
		return refused(a)
	}
	return nil
}

// refresh trades the refresh token of one chain for its successor.
func refresh(c *caller) error {
	s := c.person()
	for range len(c.sessions) - 1 {
		if !s.ended {
			break
		}
		s = c.person()
	}
	c.scratch = c.d.refreshBody(c.scratch[:0], s.refresh)
	a, err := c.token("refresh_token")
	if err != nil {
		return err
	}
	if a.status != 200 || !s.keep(a) {
		// A full server may be asked again; a token that is refused stays refused.
		s.ended = a.status >= 400 && a.status < 500 && a.status != 429
		return refused(a)
	}
	return nil
}

// signIn trades a password for a new session.
func signIn(c *caller) error {
	s := c.person()
	c.scratch = c.d.passwordBody(c.scratch[:0], s.email)
	a, err := c.token("password")
	if err != nil {
		return err
	}
	if token, ok := field(a.body, "access_token"); a.status != 200 || !ok || len(token) == 0 {
		return refused(a)
	}
	return nil
}

// token posts c.scratch to the token endpoint.
func (c *caller) token(grant string) (answer, error) {
	c.request = c.d.appendToken(c.request[:0], grant, c.scratch)
	return c.conn.do(c.request)
}

// signUp makes a person nobody has heard of.
func signUp(c *caller) error {
	_, err := c.signUp(c.d.address())
	return err
}

// signUp registers an address and returns the answer to it.
func (c *caller) signUp(email string) (answer, error) {
	c.scratch = append(c.scratch[:0], `{"email":`...)
	c.scratch = appendString(c.scratch, []byte(email))
	c.scratch = append(c.scratch, `,"password":`...)
	c.scratch = appendString(c.scratch, []byte(c.d.password))
	c.scratch = append(c.scratch, '}')
	c.request = c.d.to.appendPost(c.request[:0], "/signup", "application/json", c.scratch)
	a, err := c.conn.do(c.request)
	if err != nil {
		return a, err
	}
	_, isSession := field(a.body, "access_token")
	_, isUser := field(a.body, "id") // Netlify GoTrue answers with the user alone
	if a.status < 200 || a.status > 299 || !isSession && !isUser {
		return a, refused(a)
	}
	return a, nil
}

// keep stores the tokens of a session answer and reports whether both were there.
func (s *session) keep(a answer) bool {
	access, okAccess := field(a.body, "access_token")
	next, okRefresh := field(a.body, "refresh_token")
	if !okAccess || !okRefresh || len(access) == 0 || len(next) == 0 {
		return false
	}
	s.access = append(s.access[:0], access...)
	s.refresh = append(s.refresh[:0], next...)
	return true
}

func (d *driver) address() string {
	return fmt.Sprintf("bench-%s-%d@example.com", d.run, d.next.Add(1))
}

// appendToken appends a request to POST /token.
func (d *driver) appendToken(buf []byte, grant string, body []byte) []byte {
	if d.to.form {
		return d.to.appendPost(buf, "/token", "application/x-www-form-urlencoded", body)
	}
	return d.to.appendPost(buf, "/token?grant_type="+grant, "application/json", body)
}

func (d *driver) passwordBody(buf []byte, email string) []byte {
	if d.to.form {
		f := url.Values{"grant_type": {"password"}, "username": {email}, "password": {d.password}}
		return append(buf, f.Encode()...)
	}
	buf = append(buf, `{"email":`...)
	buf = appendString(buf, []byte(email))
	buf = append(buf, `,"password":`...)
	buf = appendString(buf, []byte(d.password))
	return append(buf, '}')
}

func (d *driver) refreshBody(buf, token []byte) []byte {
	if d.to.form {
		f := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {string(token)}}
		return append(buf, f.Encode()...)
	}
	buf = append(buf, `{"refresh_token":`...)
	buf = appendString(buf, token)
	return append(buf, '}')
}

// populate signs up the people the other flows need, each with a session.
func (d *driver) populate(ctx context.Context, people int) error {
	return d.gather(ctx, people, func(c *caller, _ int) (*session, error) { return c.join() })
}

// signInAll gets a session for each of these people, who are there already.
func (d *driver) signInAll(ctx context.Context, emails []string) error {
	return d.gather(ctx, len(emails), func(c *caller, i int) (*session, error) {
		s := &session{email: emails[i]}
		return s, c.enter(s)
	})
}

// gather makes the sessions of the other flows, with all callers at once.
func (d *driver) gather(ctx context.Context, people int, meet func(c *caller, i int) (*session, error)) error {
	callers, err := d.open()
	if err != nil {
		return err
	}
	defer closeAll(callers)
	made := make([]*session, people)
	failed := make([]error, len(callers))
	var all sync.WaitGroup
	for n, c := range callers {
		all.Go(func() {
			for i := n; i < people && ctx.Err() == nil && failed[n] == nil; i += len(callers) {
				c.conn.expire(time.Now().Add(answerTimeout))
				made[i], failed[n] = meet(c, i)
			}
		})
	}
	all.Wait()
	if err := errors.Join(append(failed, ctx.Err())...); err != nil {
		return fmt.Errorf("cannot gather the people to measure with: %w", err)
	}
	d.sessions = made
	return nil
}

// join signs somebody up and in.
func (c *caller) join() (*session, error) {
	s := &session{email: c.d.address()}
	a, err := c.signUp(s.email)
	if err != nil {
		return nil, fmt.Errorf("POST /signup: %w", err)
	}
	if s.keep(a) {
		return s, nil
	}
	return s, c.enter(s)
}

// enter signs s in and keeps the tokens.
func (c *caller) enter(s *session) error {
	c.scratch = c.d.passwordBody(c.scratch[:0], s.email)
	a, err := c.token("password")
	if err != nil {
		return err
	}
	if a.status != 200 || !s.keep(a) {
		return fmt.Errorf("POST /token gave no session (does the server confirm addresses by itself?): %w", refused(a))
	}
	return nil
}

// serverCPU returns what the server has used so far, 0 when it cannot be read.
func (d *driver) serverCPU() time.Duration {
	if d.pid == 0 {
		return 0
	}
	used, err := cpuTime(d.pid)
	if err != nil {
		return 0 // a server that has gone is noticed by the one who started it
	}
	return used
}

func ownCPU() time.Duration {
	used, err := cpuTime(os.Getpid())
	if err != nil {
		return 0 // not Linux: the column stays empty
	}
	return used
}

// rawArgon returns how many argon2id hashes a second this machine makes with
// the server's parameters (19 MiB, t=2, p=1) and one goroutine per core.
func rawArgon(ctx context.Context, length time.Duration) float64 {
	began := time.Now()
	end := began.Add(length)
	var hashes atomic.Int64
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for time.Now().Before(end) && ctx.Err() == nil {
				argon2.IDKey([]byte("correct horse battery staple"), []byte("sixteen bytes ok"), 2, 19456, 1, 32)
				hashes.Add(1)
			}
		})
	}
	all.Wait()
	rate := float64(hashes.Load()) / time.Since(began).Seconds()
	debug.FreeOSMemory() // so that collecting these megabytes does not fall into the next flow
	return rate
}
