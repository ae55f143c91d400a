package store

import (
	"errors"
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
// instant that are neither in the audit trail nor on their way into it, and
// returns how many: they are from before there was one. Those in it go from its
// start, and leave a record (DropTrail).
func (tx *Tx) SweepEvents(limit int, before time.Time) (int, error) {
	if before.UnixMicro() <= 0 { // ids begin in 1970
		return 0, nil
	}
	return tx.bite(`SELECT e.id FROM events e WHERE e.tenant_id = ? AND e.id < ?
		AND NOT EXISTS (SELECT 1 FROM audit_queue q WHERE q.tenant_id = e.tenant_id AND q.event_id = e.id)
		AND NOT EXISTS (SELECT 1 FROM audit_trail t WHERE t.tenant_id = e.tenant_id AND t.event_id = e.id)
		ORDER BY e.id LIMIT ?`, []any{tx.Tenant, LeastEvent(before), limit},
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

// SweepUnconfirmed deletes, for every tenant, up to limit users who signed up by
// themselves, were asked to confirm it, and let that pass until an instant:
// without an address, a number or a session ever. told is the event each of them
// leaves; it is filled in with whom it happened to. It returns how many it looked
// at: a full limit means that there may be more.
//
// They are found by the question they never answered, which must be kept until
// then. Who was invited, or made by an administrator, stays.
func (tx *Tx) SweepUnconfirmed(limit int, before time.Time, signedUp string, told Event) (int, error) {
	type key struct {
		tenant TenantID
		kind   string
		user   UserID
	}
	var found []key
	err := tx.rows(`SELECT c.tenant_id, c.kind, c.user_id FROM challenges c JOIN users u ON u.tenant_id = c.tenant_id AND u.id = c.user_id
		WHERE c.expires_at < ? AND c.kind IN ('confirmation', 'sms') AND u.created_at < ? AND u.email_verified_at = 0 AND u.phone_verified_at = 0
		AND u.last_sign_in_at = 0 AND u.invited_at = 0 AND u.deleted_at = 0
		AND NOT EXISTS (SELECT 1 FROM challenges o WHERE o.tenant_id = c.tenant_id AND o.user_id = c.user_id AND o.expires_at >= ?) LIMIT ?`,
		[]any{micros(before), micros(before), micros(before), limit}, func(scan func(...any) error) error {
			var k key
			err := scan(&k.tenant, &k.kind, &k.user)
			found = append(found, k)
			return err
		})
	if err != nil {
		return 0, err
	}
	for _, k := range found {
		own := *tx
		own.Tenant = k.tenant
		err := own.dropUnconfirmed(k.kind, k.user, before, signedUp, told)
		if err != nil {
			return 0, err
		}
	}
	return len(found), nil
}

// dropUnconfirmed deletes a user who still has not confirmed, or else the
// question that led to them.
func (tx *Tx) dropUnconfirmed(kind string, id UserID, before time.Time, signedUp string, told Event) error {
	u, err := tx.User(id)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	own, open := 0, 0
	err = tx.row(`SELECT COUNT(*) FROM events`+tx.by("events_user")+` WHERE tenant_id = ? AND user_id = ? AND name = ? AND actor = ?`,
		[]any{tx.Tenant, id, signedUp, id.String()}, &own)
	if err == nil {
		err = tx.row(`SELECT COUNT(*) FROM challenges`+tx.by("challenges_user")+` WHERE tenant_id = ? AND user_id = ? AND expires_at >= ?`,
			[]any{tx.Tenant, id, micros(before)}, &open)
	}
	if err != nil || open > 0 {
		return err
	}
	if own == 0 || !u.EmailVerifiedAt.IsZero() || !u.PhoneVerifiedAt.IsZero() || !u.LastSignInAt.IsZero() {
		return tx.later(`DELETE FROM challenges WHERE tenant_id = ? AND kind = ? AND user_id = ? AND expires_at < ?`, tx.Tenant, kind, id, micros(before))
	}
	told.UserID = id
	err = tx.AddEvent(told)
	if err == nil {
		err = tx.DropUser(id)
	}
	return err
}
