package store

import "time"

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
