package store

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

type webhookKind struct{}

// WebhookID names an endpoint.
type WebhookID = ID[webhookKind]

// NewWebhookID returns a time-ordered id.
func NewWebhookID() WebhookID { return newOrdered[webhookKind]() }

// ParseWebhookID reads the text form of an endpoint's id.
func ParseWebhookID(s string) (WebhookID, error) { return ParseID[webhookKind](s) }

// Webhook is an endpoint: where a tenant wants its events sent.
type Webhook struct {
	ID             WebhookID
	URL            string
	Events         []string // names, and patterns such as user.*; none: all events
	Secret         []byte   // sealed
	OldSecret      []byte   // sealed; none: empty
	OldSecretUntil time.Time
	Disabled       bool // nothing is sent; what waits goes on when it is enabled again
	Description    string
	CreatedAt      time.Time
	UpdatedAt      time.Time

	// What AddWebhook and SetWebhook do not read.
	Failures  int       // tries that failed, in a row
	RestUntil time.Time // not zero: it failed too often, and is tried with one delivery at a time, from then on
}

const webhookColumns = `id, url, events, secret, old_secret, old_secret_until, disabled, description, created_at, updated_at, failures, rest_until`

// webhookScan receives webhookColumns.
type webhookScan struct {
	Webhook
	events                        string
	until, created, updated, rest int64
}

func (w *webhookScan) dest() []any {
	return []any{
		&w.ID, &w.URL, &w.events, &w.Secret, &w.OldSecret, &w.until, &w.Disabled, &w.Description, &w.created, &w.updated, &w.Failures, &w.rest,
	}
}

func (w *webhookScan) webhook() (Webhook, error) {
	v := w.Webhook
	v.OldSecretUntil, v.CreatedAt, v.UpdatedAt, v.RestUntil = instant(w.until), instant(w.created), instant(w.updated), instant(w.rest)
	err := json.Unmarshal([]byte(w.events), &v.Events)
	if err != nil {
		return v, fmt.Errorf("store: events of endpoint %s: %w", v.ID, err)
	}
	return v, nil
}

func eventList(events []string) (string, error) {
	if len(events) == 0 {
		return "[]", nil
	}
	b, err := json.Marshal(events)
	return string(b), err
}

// held ends a query whose rows are held until the commit: as the claim of
// work, but waiting for them instead of passing over.
func (tx *Tx) held() string { return strings.TrimSuffix(tx.db.claim, " SKIP LOCKED") }

// AddWebhook inserts w unless the tenant has most of them already, and reports
// whether it did. Those who add at one instant do so one after the other.
func (tx *Tx) AddWebhook(w Webhook, most int) (bool, error) {
	err := tx.HoldTenant()
	if err != nil {
		return false, err
	}
	var n int
	err = tx.row(`SELECT COUNT(*) FROM webhook_endpoints WHERE tenant_id = ? AND dropped = FALSE`, []any{tx.Tenant}, &n)
	if err != nil || n >= most {
		return false, err
	}
	events, err := eventList(w.Events)
	if err != nil {
		return false, err
	}
	return true, tx.later(`INSERT INTO webhook_endpoints (tenant_id, id, url, events, secret, old_secret, old_secret_until, disabled, description, created_at, updated_at,
		dropped, failures, rest_until, next_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, FALSE, 0, 0, ?)`,
		tx.Tenant, w.ID, w.URL, events, w.Secret, w.OldSecret, micros(w.OldSecretUntil), w.Disabled, w.Description, micros(tx.Now), micros(tx.Now), awake(w.Disabled))
}

// asleep is the next_at of an endpoint that nothing is sent to.
const asleep = -1

func awake(disabled bool) int64 {
	if disabled {
		return asleep
	}
	return 0
}

// Webhook returns an endpoint. In a Write it is held until the commit.
func (tx *Tx) Webhook(id WebhookID) (Webhook, error) {
	hold := ""
	if tx.may == writes {
		hold = tx.held()
	}
	var w webhookScan
	err := tx.row(`SELECT `+webhookColumns+` FROM webhook_endpoints WHERE tenant_id = ? AND id = ? AND dropped = FALSE`+hold, []any{tx.Tenant, id}, w.dest()...)
	if err != nil {
		return Webhook{}, err
	}
	return w.webhook()
}

// Webhooks returns the tenant's endpoints, oldest first.
func (tx *Tx) Webhooks() (list []Webhook, err error) {
	err = tx.rows(`SELECT `+webhookColumns+` FROM webhook_endpoints WHERE tenant_id = ? AND dropped = FALSE ORDER BY id`, []any{tx.Tenant},
		func(scan func(...any) error) error {
			var s webhookScan
			err := scan(s.dest()...)
			if err != nil {
				return err
			}
			w, err := s.webhook()
			list = append(list, w)
			return err
		})
	return list, err
}

// SetWebhook writes an endpoint, and reports whether there is one. Whoever
// changes it may have mended it: it is rested no longer.
func (tx *Tx) SetWebhook(w Webhook) (bool, error) {
	events, err := eventList(w.Events)
	if err != nil {
		return false, err
	}
	n, err := tx.exec(`UPDATE webhook_endpoints SET url = ?, events = ?, secret = ?, old_secret = ?, old_secret_until = ?, disabled = ?, description = ?, updated_at = ?,
		failures = 0, rest_until = 0, next_at = ? WHERE tenant_id = ? AND id = ? AND dropped = FALSE`,
		w.URL, events, w.Secret, w.OldSecret, micros(w.OldSecretUntil), w.Disabled, w.Description, micros(tx.Now), awake(w.Disabled), tx.Tenant, w.ID)
	if err != nil || n == 0 {
		return false, err
	}
	return true, tx.turn(webhookQueue{tenant: tx.Tenant, id: w.ID})
}

// DisableWebhook disables an endpoint that has asked for it, unless its URL is
// another one by now, and reports whether it did.
func (tx *Tx) DisableWebhook(id WebhookID, url string) (bool, error) {
	n, err := tx.exec(`UPDATE webhook_endpoints SET disabled = TRUE, next_at = ?, updated_at = ? WHERE tenant_id = ? AND id = ? AND url = ? AND disabled = FALSE AND dropped = FALSE`,
		asleep, micros(tx.Now), tx.Tenant, id, url)
	return n == 1, err
}

// DropWebhook removes an endpoint with its secrets, and reports whether there
// was one. Its deliveries go with SweepWebhooks, and its row with the last.
func (tx *Tx) DropWebhook(id WebhookID) (bool, error) {
	n, err := tx.exec(`UPDATE webhook_endpoints SET dropped = TRUE, disabled = TRUE, next_at = ?, url = '', secret = ?, old_secret = ?, description = '' WHERE tenant_id = ? AND id = ? AND dropped = FALSE`,
		asleep, []byte{}, []byte{}, tx.Tenant, id)
	return n == 1, err
}

// dropWebhooks is DropWebhook for all endpoints of a tenant, which is deleted:
// nobody waits for the sweep before nothing more is sent to them.
func (tx *Tx) dropWebhooks(tenant TenantID) error {
	return tx.later(`UPDATE webhook_endpoints SET dropped = TRUE, disabled = TRUE, next_at = ?, url = '', secret = ?, old_secret = ?, description = '' WHERE tenant_id = ? AND dropped = FALSE`,
		asleep, []byte{}, []byte{}, tenant)
}

// TrailEvent is an event as FanOut needs it.
type TrailEvent struct {
	Seq    int64 // its place in the tenant's trail
	ID     EventID
	Name   string
	UserID UserID // zero: nobody's; these are in order among each other
}

// FanOut promises events, in the order of the trail, to the tenant's endpoints
// that want them. It costs one statement where there are none. What is promised once
// more is ErrDuplicate.
//
// An endpoint's row is held from the first statement to the commit, as it is by
// whoever takes or ends a delivery. So nobody ends the delivery that another
// one waits for between the look at the queue and the new row: on PostgreSQL
// and MySQL the second of two waits for the first to commit, and as each
// statement at READ COMMITTED sees what was committed before it began, it then
// sees all of what the first has done. SQLite has one writer.
func (tx *Tx) FanOut(list []TrailEvent) error {
	if len(list) == 0 {
		return nil
	}
	type target struct {
		webhookQueue
		events []string
	}
	var to []target
	// By id, so that two who fan out hold them in one order.
	err := tx.rows(`SELECT id, events, failures, rest_until, next_at FROM webhook_endpoints WHERE tenant_id = ? AND next_at >= 0 ORDER BY id`+tx.held(), []any{tx.Tenant},
		func(scan func(...any) error) error {
			t := target{webhookQueue: webhookQueue{tenant: tx.Tenant}}
			var events string
			err := scan(&t.id, &events, &t.failures, &t.rest, &t.next)
			if err == nil {
				err = json.Unmarshal([]byte(events), &t.events)
			}
			to = append(to, t)
			return err
		})
	if err != nil {
		return err
	}
	for _, t := range to {
		wanted := false
		for _, e := range list {
			if !wants(t.events, e.Name) {
				continue
			}
			wanted = true
			err := tx.promise(t.id, e)
			if err != nil {
				return err
			}
		}
		if wanted {
			err := tx.turn(t.webhookQueue)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// promise adds an event to the queue of an endpoint that is held: it waits if
// one of its user is there that is due or waits (see advance).
func (tx *Tx) promise(id WebhookID, e TrailEvent) error {
	return tx.later(`INSERT INTO webhook_deliveries (tenant_id, endpoint_id, event_id, seq, user_id, state, due_at, tries, status, last_error, created_at, ended_at)
		SELECT w.tenant_id, w.id, ?, ?, ?, CASE WHEN (SELECT h.state FROM webhook_deliveries h`+tx.by("webhook_deliveries_user")+`
			WHERE h.tenant_id = ? AND h.endpoint_id = ? AND h.user_id = ? AND h.state >= 'due' ORDER BY h.state, h.seq LIMIT 1) IS NULL THEN 'due' ELSE 'waiting' END, ?, 0, 0, '', ?, 0
		FROM webhook_endpoints w WHERE w.tenant_id = ? AND w.id = ?`,
		e.ID, e.Seq, e.UserID, tx.Tenant, id, e.UserID, micros(tx.Now), micros(tx.Now), tx.Tenant, id)
}

// wants reports whether a list of names and patterns has a name.
func wants(events []string, name string) bool {
	for _, e := range events {
		prefix, pattern := strings.CutSuffix(e, "*")
		if e == name || pattern && strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return len(events) == 0
}
