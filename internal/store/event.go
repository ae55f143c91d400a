package store

import "time"

// Event is one thing that happened; the audit trail is their list.
type Event struct {
	ID        EventID
	Name      string
	Actor     string // a user's id, or "operator", "cli", "system", "anonymous"
	UserID    UserID // whom it happened to
	SessionID SessionID
	IP        string
	RequestID string
	Data      []byte // a JSON object
	CreatedAt time.Time
}

// AddEvent inserts e.
func (tx *Tx) AddEvent(e Event) error {
	_, err := tx.exec(`INSERT INTO events (tenant_id, id, name, actor, user_id, session_id, ip, request_id, data, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		tx.Tenant, newOrdered[eventKind](), e.Name, e.Actor, e.UserID, e.SessionID, e.IP, e.RequestID, e.Data, micros(tx.Now))
	return err
}

// EventsOf returns the newest events that happened to a user.
func (tx *Tx) EventsOf(user UserID, limit int) (list []Event, err error) {
	err = tx.rows(`SELECT id, name, actor, user_id, session_id, ip, request_id, data, created_at FROM events
		WHERE tenant_id = ? AND user_id = ? ORDER BY id DESC LIMIT ?`, []any{tx.Tenant, user, limit},
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
