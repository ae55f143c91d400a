package store

import (
	"errors"
	"slices"
	"strings"
)

// EventFilter picks a page of a tenant's events.
type EventFilter struct {
	Names  []string // any of these; nil: whatever it is
	Actors []string // likewise
	Before EventID  // the page begins behind it, whatever came meanwhile
	Offset int      // else the page begins behind so many events
	Limit  int
	Count  int // count up to so many that match; 0: do not count
}

// EventPage returns a page of the tenant's events, newest first, and how many
// match in all, if it is not more than the filter has counted. Each event that
// is passed over costs a step in the index of ids; no other is used, because
// each would cost every operation that has an event.
func (tx *Tx) EventPage(f EventFilter) (page []Event, total int, err error) {
	if f.Names != nil && len(f.Names) == 0 || f.Actors != nil && len(f.Actors) == 0 {
		return nil, 0, nil
	}
	where, args := ` WHERE tenant_id = ?`, []any{tx.Tenant}
	if f.Names != nil {
		list, more := among(f.Names)
		where, args = where+` AND name`+list, append(args, more...)
	}
	if f.Actors != nil {
		list, more := among(f.Actors)
		where, args = where+` AND actor`+list, append(args, more...)
	}
	if f.Count > 0 {
		err = tx.row(`SELECT COUNT(*) FROM (SELECT 1 AS one FROM events`+where+` LIMIT ?) counted`, append(slices.Clone(args), f.Count), &total)
		if err != nil {
			return nil, 0, err
		}
	}
	if f.Before.IsZero() && f.Offset > 0 {
		// As in UserPage: the page is what is behind the last one before it.
		err = tx.row(`SELECT id FROM events`+where+` ORDER BY id DESC LIMIT 1 OFFSET ?`, append(slices.Clone(args), f.Offset-1), &f.Before)
		if errors.Is(err, ErrNotFound) {
			return nil, total, nil
		}
		if err != nil {
			return nil, 0, err
		}
	}
	if !f.Before.IsZero() {
		where, args = where+` AND id < ?`, append(args, f.Before)
	}
	page, err = tx.events(where+` ORDER BY id DESC LIMIT ?`, append(args, f.Limit))
	return page, total, err
}

func (tx *Tx) events(where string, args []any) (list []Event, err error) {
	err = tx.rows(`SELECT id, name, actor, user_id, session_id, ip, request_id, data, created_at FROM events`+where, args,
		func(scan func(...any) error) error {
			var e Event
			var at int64
			err := scan(&e.ID, &e.Name, &e.Actor, &e.UserID, &e.SessionID, &e.IP, &e.RequestID, &e.Data, &at)
			e.CreatedAt = instant(at)
			list = append(list, e)
			return err
		})
	return list, err
}

// UsersOf returns those of these users that there are, without their
// identities.
func (tx *Tx) UsersOf(ids []UserID) (list []User, err error) {
	if len(ids) == 0 {
		return nil, nil
	}
	in, args := among(ids)
	err = tx.rows(`SELECT `+userColumns+` FROM users u WHERE u.tenant_id = ? AND u.id`+in, append([]any{tx.Tenant}, args...), func(scan func(...any) error) error {
		var s userScan
		err := scan(s.dest()...)
		list = append(list, s.user())
		return err
	})
	return list, err
}

// among is the condition of being one of these, of which there is at least
// one. The last is repeated up to one of a few lengths: each text of a statement
// is kept, prepared, for good.
func among[v any](values []v) (condition string, args []any) {
	n := len(values)
	for _, size := range []int{1, 4, 16, 64, 256, 1024, 4096} {
		if n <= size {
			n = size
			break
		}
	}
	for i := range n {
		args = append(args, values[min(i, len(values)-1)])
	}
	return ` IN (?` + strings.Repeat(`, ?`, n-1) + `)`, args
}
