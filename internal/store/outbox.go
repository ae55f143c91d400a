package store

import (
	"slices"
	"strings"
	"time"
)

// Delivery is something to send once the transaction that wrote it commits.
type Delivery struct {
	ID        DeliveryID
	Tenant    TenantID
	Kind      string // who delivers it: DeliverMail, DeliverSMS, DeliverTask
	Body      []byte // sealed
	Tries     int    // this one included, once taken
	ExpiresAt time.Time
	CreatedAt time.Time

	leasedUntil int64 // whose lease it is: a second worker's differs
}

// AddDelivery queues d, due at once.
func (tx *Tx) AddDelivery(d Delivery) error {
	return tx.later(`INSERT INTO outbox (id, tenant_id, kind, body, due_at, tries, expires_at, dead_at, last_error, created_at) VALUES (?, ?, ?, ?, ?, 0, ?, 0, '', ?)`,
		d.ID, tx.Tenant, d.Kind, d.Body, micros(tx.Now), micros(d.ExpiresAt), micros(tx.Now))
}

// TakeDeliveries leases up to limit due deliveries of every tenant but those that
// are full until tx.Now+lease. No other worker takes them before that; a worker
// that died is replaced after it.
func (tx *Tx) TakeDeliveries(limit int, lease time.Duration, full ...TenantID) ([]Delivery, error) {
	var mine []Delivery
	var dueAt []int64
	err := tx.rows(`SELECT id, tenant_id, kind, body, due_at, tries, expires_at, created_at FROM outbox WHERE dead_at = 0 AND due_at <= ?`+noneOf(full)+` ORDER BY due_at LIMIT ?`+tx.db.claim,
		slices.Concat([]any{micros(tx.Now)}, tenantArgs(full), []any{limit}), func(scan func(...any) error) error {
			var d Delivery
			var at, expires, created int64
			err := scan(&d.ID, &d.Tenant, &d.Kind, &d.Body, &at, &d.Tries, &expires, &created)
			d.ExpiresAt, d.CreatedAt = instant(expires), instant(created)
			mine, dueAt = append(mine, d), append(dueAt, at)
			return err
		})
	if err != nil {
		return nil, err
	}
	for i := range mine {
		d := &mine[i]
		d.Tries++
		d.leasedUntil = micros(tx.Now.Add(lease))
		err := tx.later(`UPDATE outbox SET due_at = ?, tries = tries + 1 WHERE id = ? AND due_at = ? AND dead_at = 0`, d.leasedUntil, d.ID, dueAt[i])
		if err != nil {
			return nil, err
		}
	}
	return mine, nil
}

// DropDelivery removes a delivery that was sent, and reports whether the lease
// still held: a worker that slept through it must not speak for the next one.
func (tx *Tx) DropDelivery(d Delivery) (bool, error) {
	n, err := tx.exec(`DELETE FROM outbox WHERE id = ? AND due_at = ?`, d.ID, d.leasedUntil)
	return n == 1, err
}

// PutBackDelivery makes a delivery due again at the given instant.
func (tx *Tx) PutBackDelivery(d Delivery, due time.Time, why string) error {
	_, err := tx.exec(`UPDATE outbox SET due_at = ?, last_error = ? WHERE id = ? AND due_at = ?`, micros(due), why, d.ID, d.leasedUntil)
	return err
}

// BuryDelivery keeps a delivery that will never be sent, without its body, and
// reports whether the lease still held.
func (tx *Tx) BuryDelivery(d Delivery, why string) (bool, error) {
	n, err := tx.exec(`UPDATE outbox SET dead_at = ?, last_error = ?, body = ? WHERE id = ? AND due_at = ?`, micros(tx.Now), why, []byte{}, d.ID, d.leasedUntil)
	return n == 1, err
}

// NextDelivery returns when the next delivery is due of every tenant but those
// that are full; the zero time: none is.
func (tx *Tx) NextDelivery(full ...TenantID) (time.Time, error) {
	var at int64
	err := tx.row(`SELECT COALESCE(MIN(due_at), 0) FROM outbox WHERE dead_at = 0`+noneOf(full), tenantArgs(full), &at)
	return instant(at), err
}

// noneOf leaves tenants out of a statement. They are few: no more than a worker
// has hands.
func noneOf(tenants []TenantID) string {
	if len(tenants) == 0 {
		return ""
	}
	return ` AND tenant_id NOT IN (?` + strings.Repeat(`, ?`, len(tenants)-1) + `)`
}

func tenantArgs(tenants []TenantID) (args []any) {
	for _, t := range tenants {
		args = append(args, t)
	}
	return args
}

// CountDeliveries returns how many wait and how many are dead.
func (tx *Tx) CountDeliveries() (waiting, dead int, err error) {
	err = tx.row(`SELECT COALESCE(SUM(CASE WHEN dead_at = 0 THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN dead_at <> 0 THEN 1 ELSE 0 END), 0) FROM outbox`, nil, &waiting, &dead)
	return waiting, dead, err
}

// The kinds of delivery.
const (
	DeliverMail = "mail" // the body is a message to mail
	DeliverSMS  = "sms"  // the body is a text message
	DeliverTask = "task" // the body is what a request left to be done after its answer
	DeliverHook = "hook" // the body is what an operator's own service is told
)

// DeliverySeal is the purpose bodies are sealed for; the delivery's id is
// bound to the seal, so that no body serves another row.
const DeliverySeal = "outbox"
