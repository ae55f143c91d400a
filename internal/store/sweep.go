package store

import (
	"strings"
	"time"
)

// Sweep deletes, for every tenant, up to limit rows of each kind that nobody
// can use any more, and returns how many of the kind that had most of them: a
// full limit means that there are more. A small limit keeps others' waits
// short.
func (tx *Tx) Sweep(limit int, challengesBefore, sessionsBefore, deadBefore time.Time) (most int, err error) {
	for _, s := range []struct {
		keys, drop string // by the primary key, whole
		before     time.Time
	}{
		// What was looked up may be in use again by now, so that what is deleted
		// is asked again.
		{
			`SELECT tenant_id, kind, subject FROM challenges WHERE expires_at < ? LIMIT ?`,
			`DELETE FROM challenges WHERE tenant_id = ? AND kind = ? AND subject = ? AND expires_at < ?`, challengesBefore,
		},
		{
			`SELECT tenant_id, id FROM sessions WHERE ended_at > 0 AND ended_at < ? LIMIT ?`,
			`DELETE FROM sessions WHERE tenant_id = ? AND id = ? AND ended_at > 0 AND ended_at < ?`, sessionsBefore,
		},
		{
			`SELECT tenant_id, name, subject FROM counters WHERE ends_at < ? LIMIT ?`,
			`DELETE FROM counters WHERE tenant_id = ? AND name = ? AND subject = ? AND ends_at < ?`, tx.Now,
		},
		{
			`SELECT id FROM outbox WHERE dead_at > 0 AND dead_at < ? LIMIT ?`,
			`DELETE FROM outbox WHERE id = ? AND dead_at > 0 AND dead_at < ?`, deadBefore,
		},
	} {
		n, err := tx.bite(s.keys, []any{micros(s.before), limit}, s.drop, micros(s.before))
		if err != nil {
			return 0, err
		}
		most = max(most, n)
	}
	return most, nil
}

// SweepEvents deletes up to limit of the tenant's events from before an
// instant and returns how many.
func (tx *Tx) SweepEvents(limit int, before time.Time) (int, error) {
	if before.UnixMicro() <= 0 { // ids begin in 1970
		return 0, nil
	}
	first := eventID(before.UnixMicro() * ticks)
	clear(first[8:]) // the least id of that instant
	return tx.bite(`SELECT id FROM events WHERE tenant_id = ? AND id < ? ORDER BY id LIMIT ?`, []any{tx.Tenant, first, limit},
		`DELETE FROM events WHERE id = ? AND tenant_id = ?`, tx.Tenant)
}

// bite deletes the rows whose keys a query finds. drop takes the columns of a
// key and then last.
func (tx *Tx) bite(keys string, args []any, drop string, last any) (int, error) {
	var found [][]any
	width := strings.Count(drop, "?") - 1
	err := tx.rows(keys, args, func(scan func(...any) error) error {
		key, dest := make([]any, width), make([]any, width)
		for i := range key {
			dest[i] = &key[i]
		}
		found = append(found, key)
		return scan(dest...)
	})
	if err != nil {
		return 0, err
	}
	for _, k := range found {
		err := tx.later(drop, append(k, last)...)
		if err != nil {
			return 0, err
		}
	}
	return len(found), nil
}

// Tenants returns up to limit tenants whose id is greater than one, in order.
func (tx *Tx) Tenants(after TenantID, limit int) (list []TenantID, err error) {
	err = tx.rows(`SELECT id FROM tenants WHERE id > ? ORDER BY id LIMIT ?`, []any{after, limit}, func(scan func(...any) error) error {
		var id TenantID
		err := scan(&id)
		list = append(list, id)
		return err
	})
	return list, err
}
