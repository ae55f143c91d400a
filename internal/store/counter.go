package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Count adds one to what happened to a subject under a name within a window of
// time, unless it has happened most times already: then nothing is counted,
// and wait says when the window ends. The window begins with the first.
//
// Of any number of callers at one instant, on however many nodes, most are
// let through. A window that ends far ahead of where it could is one that was
// begun before a clock was set back: it counts as over.
func (tx *Tx) Count(name string, subject []byte, window time.Duration, most int) (wait time.Duration, err error) {
	if most <= 0 {
		return window, nil
	}
	now, far := micros(tx.Now), micros(tx.Now.Add(2*window))
	// It is held from here on: no sweep takes it away before it is counted.
	err = tx.later(`INSERT INTO counters (tenant_id, name, subject, n, ends_at) VALUES (?, ?, ?, 0, 0)`+tx.db.orHold, tx.Tenant, name, subject)
	if err != nil {
		return 0, err
	}
	n, err := tx.exec(`UPDATE counters SET n = CASE WHEN ends_at <= ? OR ends_at > ? THEN 1 ELSE n + 1 END, ends_at = CASE WHEN ends_at <= ? OR ends_at > ? THEN ? ELSE ends_at END
		WHERE tenant_id = ? AND name = ? AND subject = ? AND (ends_at <= ? OR ends_at > ? OR n < ?)`,
		now, far, now, far, micros(tx.Now.Add(window)), tx.Tenant, name, subject, now, far, most)
	if err != nil || n == 1 {
		return 0, err
	}
	var ends int64
	err = tx.row(`SELECT ends_at FROM counters WHERE tenant_id = ? AND name = ? AND subject = ?`, []any{tx.Tenant, name, subject}, &ends)
	if err != nil {
		return 0, err
	}
	return max(time.Microsecond, instant(ends).Sub(tx.Now)), nil
}

// Uncount takes one back that Count has added, because it turned out not to
// belong to what is limited.
func (tx *Tx) Uncount(name string, subject []byte) error {
	return tx.later(`UPDATE counters SET n = n - 1 WHERE tenant_id = ? AND name = ? AND subject = ? AND n > 0`, tx.Tenant, name, subject)
}

// Take counts n events of a subject by the generic cell rate algorithm (ITU-T
// I.371): each is forgotten after one, and those that are not never take longer
// than span to be. If they do not all fit, none is counted, and wait says when
// they will.
//
// Each decision is one statement: of any number of callers at one instant, on
// however many nodes, no more are let through than fit. A counter that ends
// further ahead than it could was begun before a clock was set back: it counts
// as over.
func (db *DB) Take(ctx context.Context, tenant TenantID, name string, subject []byte, n int, one, span time.Duration) (wait time.Duration, err error) {
	cost := time.Duration(n) * one
	if cost <= 0 || cost > span {
		return max(span, time.Second), nil
	}
	c := counted{tenant, name, subject}
	return db.counted(ctx, c, func(tx *Tx) (bool, error) { return tx.take(c, cost, span) },
		func(tx *Tx) (bool, error) { return tx.begin(c, 0, time.Time{}, tx.Now.Add(cost)) },
		func(tx *Tx) (wait time.Duration, err error) {
			_, _, ends, err := tx.counter(c)
			return ends.Add(cost).Sub(tx.Now) - span, err
		})
}

// counted is one counter.
type counted struct {
	tenant  TenantID
	name    string
	subject []byte
}

// take moves the end of a counter on if there is room.
func (tx *Tx) take(c counted, cost, span time.Duration) (bool, error) {
	now, far := micros(tx.Now), micros(tx.Now.Add(2*span+time.Minute))
	n, err := tx.exec(`UPDATE counters SET n = CASE WHEN ends_at <= ? OR ends_at > ? THEN 1 ELSE n + 1 END, ends_at = CASE WHEN ends_at <= ? OR ends_at > ? THEN ? ELSE ends_at + ? END
		WHERE tenant_id = ? AND name = ? AND subject = ? AND (ends_at <= ? OR ends_at > ?)`,
		now, far, now, far, micros(tx.Now.Add(cost)), cost.Microseconds(), c.tenant, c.name, c.subject, micros(tx.Now.Add(span-cost)), far)
	return n == 1, err
}

// Failures says how those are slowed down who fail again and again.
type Failures struct {
	Free  int           // so many cost nothing
	First time.Duration // the wait after them; each further one doubles it
	Most  time.Duration // the longest wait
	Shut  int           // after so many in a row there is no further try
	Keep  time.Duration // until so long after the last one, when all is forgotten
}

// CountFailure counts a try of a subject as failed, before anybody knows whether
// it is: of fifty at one instant each counts. If one is not due yet it is not
// counted, must not be made, and wait says when the next may be. Who succeeds is
// cleared by ClearFailures.
//
// It costs one round trip for a subject that has not failed.
func (db *DB) CountFailure(ctx context.Context, tenant TenantID, name string, subject []byte, f Failures) (wait time.Duration, err error) {
	c := counted{tenant, name, subject}
	begin := func(tx *Tx) (bool, error) { return tx.begin(c, 1, f.due(tx.Now, 1), tx.Now.Add(f.Keep)) }
	done, err := db.oneDone(ctx, tenant, begin)
	if done || err != nil {
		return 0, err
	}
	return db.counted(ctx, c, func(tx *Tx) (bool, error) { return tx.failAgain(c, f) }, begin,
		func(tx *Tx) (time.Duration, error) {
			n, due, ends, err := tx.counter(c)
			if n >= f.Shut {
				due = ends
			}
			return min(due.Sub(tx.Now), max(f.Most, f.Keep)), err
		})
}

// due is when the next may be tried after the first, which has no wait before
// it to double.
func (f *Failures) due(now time.Time, n int) time.Time {
	if n < f.Free {
		return now
	}
	return now.Add(min(f.First, f.Most))
}

// failAgain counts one more if it is due. The wait before it is what due_at was
// ahead of the last try, and that was Keep before ends_at. MySQL sets one column
// after the other: the last is the one the others are made of.
func (tx *Tx) failAgain(c counted, f Failures) (bool, error) {
	now, far, keep, most := micros(tx.Now), micros(tx.Now.Add(2*f.Keep)), f.Keep.Microseconds(), f.Most.Microseconds()
	n, err := tx.exec(`UPDATE counters SET
		due_at = CASE WHEN ends_at <= ? OR ends_at > ? THEN ?
			WHEN n + 1 < ? THEN ?
			WHEN 2 * (due_at - ends_at + ?) >= ? THEN ?
			WHEN 2 * (due_at - ends_at + ?) <= ? THEN ?
			ELSE 2 * (due_at - ends_at + ?) + ? END,
		n = CASE WHEN ends_at <= ? OR ends_at > ? THEN 1 ELSE n + 1 END,
		ends_at = ?
		WHERE tenant_id = ? AND name = ? AND subject = ? AND (ends_at <= ? OR ends_at > ? OR (n < ? AND (due_at <= ? OR due_at > ?)))`,
		now, far, micros(f.due(tx.Now, 1)),
		f.Free, now,
		keep, most, now+most,
		keep, f.First.Microseconds(), micros(f.due(tx.Now, f.Free)),
		keep, now,
		now, far,
		now+keep,
		c.tenant, c.name, c.subject, now, far, f.Shut, now, now+most)
	return n == 1, err
}

// ClearFailures forgets what CountFailure has counted.
func (tx *Tx) ClearFailures(name string, subject []byte) error {
	return tx.later(`DELETE FROM counters WHERE tenant_id = ? AND name = ? AND subject = ?`, tx.Tenant, name, subject)
}

// begin adds a counter unless it is there.
func (tx *Tx) begin(c counted, n int, due, ends time.Time) (bool, error) {
	added, err := tx.exec(`INSERT INTO counters (tenant_id, name, subject, n, due_at, ends_at) VALUES (?, ?, ?, ?, ?, ?)`+tx.db.orPass,
		c.tenant, c.name, c.subject, n, micros(due), micros(ends))
	if errors.Is(err, ErrDuplicate) {
		return false, nil
	}
	return added == 1, err
}

func (tx *Tx) counter(c counted) (n int, due, ends time.Time, err error) {
	var dueAt, endsAt int64
	err = tx.row(`SELECT n, due_at, ends_at FROM counters WHERE tenant_id = ? AND name = ? AND subject = ?`, []any{c.tenant, c.name, c.subject}, &n, &dueAt, &endsAt)
	return n, instant(dueAt), instant(endsAt), err
}

// counted counts by one statement after the other, each by itself: one that
// adds to a counter, one that begins it, and one that tells how long to wait.
// What the last one finds may have changed meanwhile, then it begins again.
func (db *DB) counted(ctx context.Context, c counted, add, begin func(*Tx) (bool, error), left func(*Tx) (time.Duration, error)) (wait time.Duration, err error) {
	for range maxRaces {
		for _, try := range []func(*Tx) (bool, error){add, begin} {
			done, err := db.oneDone(ctx, c.tenant, try)
			if done || err != nil {
				return 0, err
			}
		}
		err = db.Read(ctx, c.tenant, func(tx *Tx) (err error) {
			wait, err = left(tx)
			return err
		})
		if wait > 0 || err != nil && !errors.Is(err, ErrNotFound) {
			return wait, err
		}
	}
	return 0, fmt.Errorf("%w: a counter that others are always quicker at", ErrUnavailable)
}

// oneDone makes one statement that tells whether it has done anything.
func (db *DB) oneDone(ctx context.Context, tenant TenantID, one func(*Tx) (bool, error)) (done bool, err error) {
	err = db.WriteOne(ctx, tenant, func(tx *Tx) (err error) {
		done, err = one(tx)
		return err
	})
	return done, err
}
