package store

import (
	"encoding/binary"
	"time"

	"github.com/google/uuid"
)

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

// AddEvent inserts e, and has it wait for its place in the audit trail.
func (tx *Tx) AddEvent(e Event) error {
	tx.note(e.Name)
	id := eventID(tx.db.nextEvent(tx.Now))
	err := tx.later(`INSERT INTO events (tenant_id, id, name, actor, user_id, session_id, ip, request_id, data, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		tx.Tenant, id, e.Name, e.Actor, e.UserID, e.SessionID, e.IP, e.RequestID, string(e.Data), micros(tx.Now))
	if err != nil {
		return err
	}
	return tx.later(`INSERT INTO audit_queue (tenant_id, event_id) VALUES (?, ?)`, tx.Tenant, id)
}

// ticks are how many events fit in a microsecond, one after the other. More
// would end the count of them within this century.
const ticks = 1 << 10

// nextEvent returns the tick of an event at an instant: that of the instant, or
// the one after the last, for several happen in one transaction.
func (db *DB) nextEvent(at time.Time) int64 {
	for {
		last := db.event.Load()
		next := max(at.UnixMicro()*ticks, last+1)
		if db.event.CompareAndSwap(last, next) {
			return next
		}
	}
}

// eventID is a version 7 UUID (RFC 9562 §5.7) of a tick, in milliseconds and,
// as method 3 of §6.2 has it, fractions of one: sorted by id, events stand as
// they happened, and those from before an instant are found without an index
// more.
func eventID(tick int64) EventID {
	id := EventID(uuid.New())
	us, place := tick/ticks, tick%ticks
	binary.BigEndian.PutUint64(id[:8], uint64(us/1000)<<16|7<<12|uint64(us%1000)*4096/1000)
	id[8] = 0x80 | byte(place>>4) // the variant, then the place
	id[9] = byte(place<<4) | id[9]&15
	return id
}

// EventsOf returns the newest events that happened to a user.
func (tx *Tx) EventsOf(user UserID, limit int) (list []Event, err error) {
	return tx.events(tx.by("events_user")+` WHERE tenant_id = ? AND user_id = ? ORDER BY id DESC LIMIT ?`, []any{tx.Tenant, user, limit})
}
