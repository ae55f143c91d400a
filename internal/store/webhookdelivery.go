package store

import (
	"errors"
	"time"
)

// WebhookState is where a delivery stands.
type WebhookState string

// The states of a delivery. Of an endpoint and a user one is due, the earliest;
// the others wait for it.
const (
	WebhookWaiting   WebhookState = "waiting"
	WebhookDue       WebhookState = "due" // or being sent
	WebhookDelivered WebhookState = "delivered"
	WebhookDead      WebhookState = "dead" // given up
)

// WebhookDelivery is an event on its way to an endpoint.
type WebhookDelivery struct {
	Tenant    TenantID
	Endpoint  WebhookID
	Event     EventID
	Seq       int64 // the event's place in the trail
	UserID    UserID
	State     WebhookState
	DueAt     time.Time // of one that waits: since when it does; of one that ended: when
	Tries     int       // this one included, once taken
	Status    int       // of the last answer; 0: none came
	Error     string    // of the last try
	CreatedAt time.Time // or asked for again
	EndedAt   time.Time // zero: not yet

	leasedUntil int64 // whose lease it is: a second courier's differs
}

const deliveryColumns = `tenant_id, endpoint_id, event_id, seq, user_id, state, due_at, tries, status, last_error, created_at, ended_at`

func scanWebhookDelivery(scan func(...any) error) (d WebhookDelivery, err error) {
	var due, created, ended int64
	err = scan(&d.Tenant, &d.Endpoint, &d.Event, &d.Seq, &d.UserID, &d.State, &due, &d.Tries, &d.Status, &d.Error, &created, &ended)
	d.DueAt, d.CreatedAt, d.EndedAt = instant(due), instant(created), instant(ended)
	return d, err
}

// WebhookParcel is a delivery that was taken and where it goes.
type WebhookParcel struct {
	WebhookDelivery
	To Webhook
}

// webhookQueue is the part of an endpoint that its queue needs. Whoever changes
// the queue holds the endpoint.
type webhookQueue struct {
	tenant     TenantID
	id         WebhookID
	failures   int
	rest, next int64 // instants
}

// holdQueue holds an endpoint until the commit.
func (tx *Tx) holdQueue(tenant TenantID, id WebhookID) (webhookQueue, error) {
	q := webhookQueue{tenant: tenant, id: id}
	err := tx.row(`SELECT failures, rest_until, next_at FROM webhook_endpoints WHERE tenant_id = ? AND id = ? AND dropped = FALSE`+tx.held(), []any{tenant, id}, &q.failures, &q.rest, &q.next)
	return q, err
}

// turn says when it is the endpoint's turn: when the first of its deliveries is
// due, but not before its rest is over. One whose turn has come keeps its place
// among the others, or whoever has always something new would never be served.
func (tx *Tx) turn(q webhookQueue) error {
	floor := q.rest
	if q.next <= micros(tx.Now) {
		floor = max(floor, q.next)
	}
	return tx.later(`UPDATE webhook_endpoints SET failures = ?, rest_until = ?, next_at = COALESCE((
			SELECT CASE WHEN d.due_at > ? THEN d.due_at ELSE ? END FROM webhook_deliveries d`+tx.by("webhook_deliveries_queue")+`
			WHERE d.tenant_id = ? AND d.endpoint_id = ? AND d.state = 'due' ORDER BY d.due_at LIMIT 1), 0)
		WHERE tenant_id = ? AND id = ? AND next_at >= 0`,
		q.failures, q.rest, floor, floor, q.tenant, q.id, q.tenant, q.id)
}

// advance makes the earliest waiting delivery of each user due, unless one is.
func (tx *Tx) advance(q webhookQueue, users ...UserID) error {
	for _, u := range users {
		var first EventID
		var state string
		// By the alphabet, due and waiting are the last of the states: where there
		// is one that is due, it is found.
		err := tx.row(`SELECT event_id, state FROM webhook_deliveries`+tx.by("webhook_deliveries_user")+`
			WHERE tenant_id = ? AND endpoint_id = ? AND user_id = ? AND state >= 'due' ORDER BY state, seq LIMIT 1`, []any{q.tenant, q.id, u}, &first, &state)
		if errors.Is(err, ErrNotFound) || err == nil && state != string(WebhookWaiting) {
			continue
		}
		if err == nil {
			err = tx.later(`UPDATE webhook_deliveries SET state = 'due', due_at = ? WHERE tenant_id = ? AND endpoint_id = ? AND event_id = ?`, micros(tx.Now), q.tenant, q.id, first)
		}
		if err != nil {
			return err
		}
	}
	return tx.turn(q)
}

// NextWebhook returns when the next endpoint, other than these, has something
// due; the zero time: none has. It reads one row for each of them, however many
// deliveries there are.
func (tx *Tx) NextWebhook(but map[WebhookID]bool) (at time.Time, err error) {
	err = tx.rows(`SELECT id, next_at FROM webhook_endpoints`+tx.by("webhook_endpoints_next")+` WHERE next_at > 0 ORDER BY next_at LIMIT ?`, []any{len(but) + 1},
		func(scan func(...any) error) error {
			var id WebhookID
			var next int64
			err := scan(&id, &next)
			if !but[id] && at.IsZero() {
				at = instant(next)
			}
			return err
		})
	return at, err
}

// TakeWebhooks leases up to limit due deliveries of every tenant until
// tx.Now+lease: of each endpoint up to each, less those that busy says the
// caller has of it already. Endpoints take turns. Of one that rests, one is
// taken when its rest is over, and no other before it is known how that went.
func (tx *Tx) TakeWebhooks(limit int, lease time.Duration, each int, busy map[WebhookID]int) ([]WebhookParcel, error) {
	type endpoint struct {
		webhookQueue
		to Webhook
	}
	var open []endpoint
	err := tx.rows(`SELECT tenant_id, next_at, `+webhookColumns+` FROM webhook_endpoints`+tx.by("webhook_endpoints_next")+`
		WHERE next_at > 0 AND next_at <= ? ORDER BY next_at LIMIT ?`+tx.db.claim, []any{micros(tx.Now), limit + len(busy)},
		func(scan func(...any) error) error {
			var e endpoint
			var s webhookScan
			err := scan(append([]any{&e.tenant, &e.next}, s.dest()...)...)
			if err != nil {
				return err
			}
			e.to, err = s.webhook()
			e.id, e.failures, e.rest = e.to.ID, e.to.Failures, s.rest
			open = append(open, e)
			return err
		})
	if err != nil {
		return nil, err
	}
	var mine []WebhookParcel
	until := tx.Now.Add(lease)
	for _, e := range open {
		n := min(each-busy[e.id], limit-len(mine))
		if e.rest > 0 {
			n = min(n, 1)
		}
		if n <= 0 {
			continue
		}
		list, err := tx.lease(e.webhookQueue, n, until)
		if err != nil {
			return nil, err
		}
		for _, d := range list {
			mine = append(mine, WebhookParcel{d, e.to})
		}
		if e.rest > 0 && len(list) > 0 {
			e.rest = micros(until)
		}
		e.next = micros(tx.Now) // behind those who were not served yet
		err = tx.turn(e.webhookQueue)
		if err != nil {
			return nil, err
		}
	}
	return mine, nil
}

// lease takes up to n due deliveries of an endpoint that is held.
func (tx *Tx) lease(q webhookQueue, n int, until time.Time) (list []WebhookDelivery, err error) {
	err = tx.rows(`SELECT `+deliveryColumns+` FROM webhook_deliveries`+tx.by("webhook_deliveries_queue")+`
		WHERE tenant_id = ? AND endpoint_id = ? AND state = 'due' AND due_at <= ? ORDER BY due_at LIMIT ?`, []any{q.tenant, q.id, micros(tx.Now), n},
		func(scan func(...any) error) error {
			d, err := scanWebhookDelivery(scan)
			list = append(list, d)
			return err
		})
	for i := range list {
		d := &list[i]
		d.Tries++
		d.DueAt, d.leasedUntil = until, micros(until)
		if err == nil {
			err = tx.later(`UPDATE webhook_deliveries SET due_at = ?, tries = tries + 1 WHERE tenant_id = ? AND endpoint_id = ? AND event_id = ?`, d.leasedUntil, d.Tenant, d.Endpoint, d.Event)
		}
	}
	return list, err
}

// WebhookTry is how a try went.
type WebhookTry struct {
	Asked  bool   // the endpoint was: how it went counts for its health
	Status int    // of its answer; 0: none came
	Error  string // empty: well
	// Rest is for how long an endpoint is left in peace that failed so often in
	// a row; zero: not at all.
	Rest func(failures int) time.Duration
}

// EndWebhook ends a delivery that was taken, as delivered or dead, and makes
// the next of its user due. It reports whether the lease still held: a courier
// that slept through it must not speak for the next one.
func (tx *Tx) EndWebhook(d WebhookDelivery, state WebhookState, t WebhookTry) (bool, error) {
	return tx.settle(d, state, tx.Now, t)
}

// PutBackWebhook makes a delivery that was taken due again at the given
// instant. It reports what EndWebhook does.
func (tx *Tx) PutBackWebhook(d WebhookDelivery, due time.Time, t WebhookTry) (bool, error) {
	return tx.settle(d, WebhookDue, due, t)
}

func (tx *Tx) settle(d WebhookDelivery, state WebhookState, due time.Time, t WebhookTry) (bool, error) {
	q, err := tx.holdQueue(d.Tenant, d.Endpoint)
	if errors.Is(err, ErrNotFound) {
		return false, nil // it was dropped, and this with it
	}
	if err != nil {
		return false, err
	}
	ended := int64(0)
	if state != WebhookDue {
		ended = micros(tx.Now)
	}
	n, err := tx.exec(`UPDATE webhook_deliveries SET state = ?, due_at = ?, status = ?, last_error = ?, ended_at = ?
		WHERE tenant_id = ? AND endpoint_id = ? AND event_id = ? AND state = 'due' AND due_at = ?`,
		string(state), micros(due), t.Status, t.Error, ended, d.Tenant, d.Endpoint, d.Event, d.leasedUntil)
	if err != nil || n == 0 {
		return false, err
	}
	q.judge(tx.Now, t)
	if state == WebhookDue {
		return true, tx.turn(q)
	}
	return true, tx.advance(q, d.UserID)
}

// judge takes a try into account.
func (q *webhookQueue) judge(now time.Time, t WebhookTry) {
	switch {
	case !t.Asked:
		q.rest = min(q.rest, micros(now)) // whoever was to try it has not
	case t.Error == "":
		q.failures, q.rest = 0, 0
	default:
		q.failures++
		if t.Rest == nil {
			return
		}
		if d := t.Rest(q.failures); d > 0 {
			q.rest = micros(now.Add(d))
		}
	}
}

// WebhookEvent returns the event that a delivery is about, or ErrNotFound when
// it was swept.
func (tx *Tx) WebhookEvent(id EventID) (e Event, err error) {
	var at int64
	err = tx.row(`SELECT id, name, actor, user_id, session_id, ip, request_id, data, created_at FROM events WHERE tenant_id = ? AND id = ?`, []any{tx.Tenant, id},
		&e.ID, &e.Name, &e.Actor, &e.UserID, &e.SessionID, &e.IP, &e.RequestID, &e.Data, &at)
	e.CreatedAt = instant(at)
	return e, err
}

// WebhookPlace is where a page of deliveries ends; the zero value: before the
// first.
type WebhookPlace struct {
	At time.Time // DueAt of the last
	ID EventID
}

// WebhookDeliveries returns up to limit deliveries of an endpoint after a
// place, newest first: by their events, or, with a state, by DueAt.
func (tx *Tx) WebhookDeliveries(id WebhookID, state WebhookState, after WebhookPlace, limit int) (list []WebhookDelivery, err error) {
	query, args := `SELECT `+deliveryColumns+` FROM webhook_deliveries WHERE tenant_id = ? AND endpoint_id = ?`, []any{tx.Tenant, id}
	first := after.ID.IsZero()
	switch {
	case state == "" && first:
		query += ` ORDER BY event_id DESC`
	case state == "":
		query, args = query+` AND event_id < ? ORDER BY event_id DESC`, append(args, after.ID)
	case first:
		query, args = query+` AND state = ? ORDER BY due_at DESC, event_id DESC`, append(args, string(state))
	default:
		at := micros(after.At)
		query += ` AND state = ? AND due_at <= ? AND (due_at < ? OR event_id < ?) ORDER BY due_at DESC, event_id DESC`
		args = append(args, string(state), at, at, after.ID)
	}
	err = tx.rows(query+` LIMIT ?`, append(args, limit), func(scan func(...any) error) error {
		d, err := scanWebhookDelivery(scan)
		list = append(list, d)
		return err
	})
	return list, err
}

// CountWebhooks returns how many deliveries of every tenant are on their way,
// and how many are dead. What was delivered, which is most, is not looked at.
func (tx *Tx) CountWebhooks() (waiting, dead int, err error) {
	// By the alphabet, due and waiting are the last of the states.
	err = tx.row(`SELECT (SELECT COUNT(*) FROM webhook_deliveries`+tx.by("webhook_deliveries_age")+` WHERE state >= 'due'),
		(SELECT COUNT(*) FROM webhook_deliveries`+tx.by("webhook_deliveries_age")+` WHERE state = 'dead')`, nil, &waiting, &dead)
	return waiting, dead, err
}

// ReplayWebhook has an ended delivery sent again, by the same id, and reports
// whether there is one.
func (tx *Tx) ReplayWebhook(id WebhookID, event EventID) (bool, error) {
	q, err := tx.holdQueue(tx.Tenant, id)
	var user UserID
	if err == nil {
		err = tx.row(`SELECT user_id FROM webhook_deliveries WHERE tenant_id = ? AND endpoint_id = ? AND event_id = ? AND state IN ('delivered', 'dead')`, []any{tx.Tenant, id, event}, &user)
	}
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err == nil {
		err = tx.revive(id, event)
	}
	if err != nil {
		return false, err
	}
	return true, tx.advance(q, user)
}

// ReplayDead has up to limit dead deliveries of an endpoint sent again, those
// that died first, and returns how many: a full limit means that there may be
// more.
func (tx *Tx) ReplayDead(id WebhookID, limit int) (int, error) {
	q, err := tx.holdQueue(tx.Tenant, id)
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	var events []EventID
	var users []UserID
	if err == nil {
		events, users, err = tx.queued(q, WebhookDead, tx.Now, tx.Now, limit)
	}
	for _, event := range events {
		if err == nil {
			err = tx.revive(id, event)
		}
	}
	if err != nil || len(events) == 0 {
		return 0, err
	}
	return len(events), tx.advance(q, users...)
}

// queued lists the oldest deliveries of an endpoint in a state whose due_at and
// created_at are not after the instants, and their users, each once.
func (tx *Tx) queued(q webhookQueue, state WebhookState, due, created time.Time, limit int) (events []EventID, users []UserID, err error) {
	seen := map[UserID]bool{}
	err = tx.rows(`SELECT event_id, user_id FROM webhook_deliveries`+tx.by("webhook_deliveries_queue")+`
		WHERE tenant_id = ? AND endpoint_id = ? AND state = ? AND due_at <= ? AND created_at <= ? ORDER BY due_at LIMIT ?`, []any{q.tenant, q.id, string(state), micros(due), micros(created), limit},
		func(scan func(...any) error) error {
			var e EventID
			var u UserID
			err := scan(&e, &u)
			events = append(events, e)
			if !seen[u] {
				seen[u], users = true, append(users, u)
			}
			return err
		})
	return events, users, err
}

func (tx *Tx) revive(id WebhookID, event EventID) error {
	return tx.later(`UPDATE webhook_deliveries SET state = 'waiting', due_at = ?, tries = 0, status = 0, last_error = '', created_at = ?, ended_at = 0
		WHERE tenant_id = ? AND endpoint_id = ? AND event_id = ?`, micros(tx.Now), micros(tx.Now), tx.Tenant, id, event)
}
