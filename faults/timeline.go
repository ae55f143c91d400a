package main

import (
	"fmt"
	"time"
)

// writes tells whether an operation changes the database when it succeeds.
func writes(o *op) bool { return o.Ask.Op != opUser }

// failed tells whether a request got no final answer.
func failed(o *op) bool { return o.Told.outcome() == unknown }

// window returns when the first request that failed was answered or given up,
// and when the last of them was sent, among those sent after from.
func window(ops []op, from time.Time) (first, last time.Time, n int) {
	for i := range ops {
		o := &ops[i]
		if !failed(o) || o.Sent.Before(from) {
			continue
		}
		n++
		if first.IsZero() || o.Answered.Before(first) {
			first = o.Answered
		}
		if o.Sent.After(last) {
			last = o.Sent
		}
	}
	return first, last, n
}

// backAt returns when the first write that was sent after from succeeded.
func backAt(ops []op, from time.Time) (time.Time, bool) {
	var at time.Time
	for i := range ops {
		o := &ops[i]
		if writes(o) && o.Sent.After(from) && o.Told.outcome() == okay && (at.IsZero() || o.Answered.Before(at)) {
			at = o.Answered
		}
	}
	return at, !at.IsZero()
}

// within returns the operations sent from one instant to another.
func within(ops []op, from, to time.Time) (some []op) {
	for _, o := range ops {
		if !o.Sent.Before(from) && o.Sent.Before(to) {
			some = append(some, o)
		}
	}
	return some
}

// before returns the operations that were answered before an instant.
func before(ops []op, at time.Time) (some []op) {
	for _, o := range ops {
		if o.Answered.Before(at) {
			some = append(some, o)
		}
	}
	return some
}

// unmannerly describes failures that tell the caller nothing useful: a status
// of 5xx other than a 503 with Retry-After. Those without an answer are not
// among them: they were cut.
func unmannerly(ops []op) (n int, example string) {
	for i := range ops {
		o := &ops[i]
		if s := o.Told.Status; s < 500 || s == 503 && o.Told.RetryAfter {
			continue
		}
		n++
		if example == "" {
			example = fmt.Sprintf("%s %d, Retry-After %v: %s", o.Ask.Op, o.Told.Status, o.Told.RetryAfter, o.Told.Err)
		}
	}
	return n, example
}

// expectManners notes failures whose answers were not what a client can use.
func (t *trial) expectManners(ops []op) {
	n, example := unmannerly(ops)
	t.expect(n == 0, "%d requests failed with something else than 503 and Retry-After, such as %s", n, example)
}

// expectNoFailure notes requests without a final answer.
func (t *trial) expectNoFailure(when string, ops []op) {
	n := 0
	example := ""
	for i := range ops {
		if failed(&ops[i]) {
			n++
			example = fmt.Sprintf("%s of %s: %d %s", ops[i].Ask.Op, ops[i].Ask.Email, ops[i].Told.Status, ops[i].Told.Err)
		}
	}
	t.expect(n == 0, "%s %d of %d requests failed, such as %s", when, n, len(ops), example)
}
