package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// What a caller can ask for. The names are those of the journal.
const (
	opSignUp   = "sign-up"
	opSignIn   = "sign-in"
	opRefresh  = "refresh"
	opUser     = "user"     // GET /user
	opCode     = "code"     // have a code and a link mailed
	opVerify   = "verify"   // spend them
	opMark     = "mark"     // add one key to the user's metadata
	opPassword = "password" // change it
	opSignOut  = "sign-out"
)

// ask is a request as it is written down before it is sent. Which fields
// matter depends on Op. Everything in it belongs to a throw-away database.
type ask struct {
	Op       string `json:"op"`
	Email    string `json:"email"` // whose account
	Password string `json:"password,omitempty"`
	Session  string `json:"session,omitempty"` // the session that asks, or is asked for
	Token    string `json:"token,omitempty"`   // the refresh token that is presented
	Access   string `json:"access,omitempty"`  // the access token that is presented
	Mail     string `json:"mail,omitempty"`    // the Message-ID a code or link came with: the one-time item
	Nth      int    `json:"nth,omitempty"`     // that mail is the account's Nth
	Code     string `json:"code,omitempty"`
	Link     string `json:"link,omitempty"`
	Mark     string `json:"mark,omitempty"`
	Scope    string `json:"scope,omitempty"` // of a sign-out: local or global
}

// told is what came back.
type told struct {
	Status     int      `json:"status"`           // 0: no answer
	Unsent     bool     `json:"unsent,omitempty"` // nobody was there to take the request
	Err        string   `json:"err,omitempty"`
	RetryAfter bool     `json:"retry_after,omitempty"`
	User       string   `json:"user,omitempty"`
	Session    string   `json:"session,omitempty"`
	Refresh    string   `json:"refresh,omitempty"`
	Access     string   `json:"access,omitempty"`
	Marks      []string `json:"marks,omitempty"` // of the metadata in the answer
}

// op is one request and its answer.
type op struct {
	ID             int64
	Ask            ask
	Told           told // zero when the driver ended before the answer
	Sent, Answered time.Time
}

// outcome is what may be concluded from an answer.
type outcome int

// The outcomes. A request that was not sent is unknown to the statistics and
// nothing at all to the judge.
const (
	unknown outcome = iota // it may have been carried out or not, but at most once
	okay                   // it was carried out
	refused                // it was not, and never will be
)

// outcome sorts the answer: 2xx is a promise, a final 4xx is a promise too, all
// else says nothing about what happened.
func (t *told) outcome() outcome {
	switch s := t.Status; {
	case s >= 200 && s < 300:
		return okay
	case s == 408, s == 425, s == 429:
		return unknown
	case s >= 400 && s < 500:
		return refused
	}
	return unknown
}

// line is one line of the journal: a request or an answer.
type line struct {
	ID   int64     `json:"id"`
	At   time.Time `json:"at"`
	Ask  *ask      `json:"ask,omitempty"`
	Told *told     `json:"told,omitempty"`
}

// journal is the record of acknowledged writes: a request is in it before it is
// sent, an answer before anybody acts on it. It is safe for concurrent use.
//
// Lines of callers that wait at the same moment go out in one write. They are
// not synced: what fails here are processes, and a page cache outlives those.
type journal struct {
	w   io.Writer
	now func() time.Time

	mu      sync.Mutex // guards what follows
	turn    *sync.Cond
	last    int64 // id
	pending []byte
	added   int64 // lines ever
	written int64 // lines written
	busy    bool  // somebody is writing
	err     error
	ops     map[int64]*op
}

func newJournal(w io.Writer, now func() time.Time) *journal {
	j := &journal{w: w, now: now, ops: map[int64]*op{}}
	j.turn = sync.NewCond(&j.mu)
	return j
}

// ask writes a request down and returns its id. It must not be sent when err
// is not nil.
func (j *journal) ask(a ask) (id int64, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last++
	id, now := j.last, j.now()
	j.ops[id] = &op{ID: id, Ask: a, Sent: now}
	return id, j.write(line{ID: id, At: now, Ask: &a})
}

// told writes an answer down.
func (j *journal) told(id int64, t told) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := j.now()
	j.ops[id].Told, j.ops[id].Answered = t, now
	return j.write(line{ID: id, At: now, Told: &t})
}

// write returns when l is in the file. mu is held, but not all the time.
func (j *journal) write(l line) error {
	b, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.pending = append(append(j.pending, b...), '\n')
	j.added++
	for mine := j.added; j.written < mine && j.err == nil; {
		if j.busy {
			j.turn.Wait()
			continue
		}
		batch, upTo := j.pending, j.added
		j.pending, j.busy = nil, true
		j.mu.Unlock()
		_, err := j.w.Write(batch)
		j.mu.Lock()
		j.busy, j.written = false, upTo
		if err != nil {
			j.err = fmt.Errorf("journal: %w", err)
		}
		j.turn.Broadcast()
	}
	return j.err
}

// all returns a copy of every operation so far, in the order they were sent.
func (j *journal) all() []op {
	j.mu.Lock()
	defer j.mu.Unlock()
	ops := make([]op, 0, len(j.ops))
	for id := int64(1); id <= j.last; id++ {
		ops = append(ops, *j.ops[id])
	}
	return ops
}

// readJournal reads what a journal wrote. A last line that was cut off is left
// out: its request was not sent, or its answer not acted on.
func readJournal(r io.Reader) ([]op, error) {
	var ops []op
	at := map[int64]int{}
	in := bufio.NewReader(r)
	for n := 1; ; n++ {
		text, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return ops, nil
		}
		if err != nil {
			return nil, fmt.Errorf("journal: %w", err)
		}
		var l line
		err = json.Unmarshal(bytes.TrimSpace(text), &l)
		if err != nil {
			return nil, fmt.Errorf("journal, line %d: %w", n, err)
		}
		i, known := at[l.ID]
		switch {
		case l.Ask != nil && !known:
			at[l.ID] = len(ops)
			ops = append(ops, op{ID: l.ID, Ask: *l.Ask, Sent: l.At})
		case l.Told != nil && known:
			ops[i].Told, ops[i].Answered = *l.Told, l.At
		default:
			return nil, fmt.Errorf("journal, line %d: neither a new request nor the answer to one", n)
		}
	}
}
