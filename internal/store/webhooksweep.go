package store

import (
	"errors"
	"time"
)

// SweepWebhooks does for every tenant, up to limit rows of each kind at a time,
// what nobody waits for, and returns how many of the kind that had most of
// them: a full limit means that there are more.
//
// Delivered and dead deliveries go that ended before the instants for them. Of
// an endpoint that is disabled, or rests because it fails, what has been on its
// way since before undelivered is given up, without a try; what was delivered
// late, or not at all, ends by the courier's hand. An endpoint that was dropped
// goes with its deliveries.
//
// Last, a queue that stands still though it should not is set going again.
// Nothing brings that about (see FanOut); this is the belt.
func (tx *Tx) SweepWebhooks(limit int, delivered, dead, undelivered time.Time) (most int, err error) {
	for _, ended := range []struct {
		state  WebhookState
		before time.Time
	}{{WebhookDelivered, delivered}, {WebhookDead, dead}} {
		before := micros(ended.before)
		n, err := tx.bite(`SELECT tenant_id, endpoint_id, event_id, state FROM webhook_deliveries WHERE state = ? AND due_at < ? LIMIT ?`, []any{string(ended.state), before, limit},
			`DELETE FROM webhook_deliveries WHERE tenant_id = ? AND endpoint_id = ? AND event_id = ? AND state = ? AND due_at < ?`, before)
		if err != nil {
			return 0, err
		}
		most = max(most, n)
	}
	for _, sweep := range []func(int) (int, error){
		tx.sweepDropped,
		func(limit int) (int, error) { return tx.giveUpWebhooks(limit, undelivered) },
		tx.mendWebhooks,
	} {
		n, err := sweep(limit)
		if err != nil {
			return 0, err
		}
		most = max(most, n)
	}
	return most, nil
}

// endpoints lists the queues that a query finds.
func (tx *Tx) endpoints(query string, args ...any) (list []webhookQueue, err error) {
	err = tx.rows(query, args, func(scan func(...any) error) error {
		var q webhookQueue
		err := scan(&q.tenant, &q.id)
		list = append(list, q)
		return err
	})
	return list, err
}

// sweepDropped takes deliveries of endpoints that were dropped, and the
// endpoints that have none left.
func (tx *Tx) sweepDropped(limit int) (n int, err error) {
	gone, err := tx.endpoints(`SELECT tenant_id, id FROM webhook_endpoints`+tx.by("webhook_endpoints_next")+` WHERE next_at < 0 AND dropped = TRUE LIMIT ?`, limit)
	if err != nil {
		return 0, err
	}
	for _, q := range gone {
		if n >= limit {
			break
		}
		found, err := tx.bite(`SELECT tenant_id, event_id FROM webhook_deliveries WHERE tenant_id = ? AND endpoint_id = ? LIMIT ?`, []any{q.tenant, q.id, limit - n},
			`DELETE FROM webhook_deliveries WHERE tenant_id = ? AND event_id = ? AND endpoint_id = ?`, q.id)
		if err == nil && found < limit-n {
			err = tx.later(`DELETE FROM webhook_endpoints WHERE tenant_id = ? AND id = ? AND dropped = TRUE`, q.tenant, q.id)
		}
		if err != nil {
			return 0, err
		}
		n += found
	}
	return n, nil
}

// giveUpWebhooks ends what has been on its way for too long to endpoints that
// are disabled or rest. It leaves alone what is being sent.
func (tx *Tx) giveUpWebhooks(limit int, before time.Time) (n int, err error) {
	ill, err := tx.endpoints(`SELECT w.tenant_id, w.id FROM webhook_endpoints w WHERE w.dropped = FALSE AND (w.rest_until > 0 OR w.next_at < 0) AND (
		EXISTS (SELECT 1 FROM webhook_deliveries d`+tx.by("webhook_deliveries_queue")+` WHERE d.tenant_id = w.tenant_id AND d.endpoint_id = w.id AND d.state = 'waiting' AND d.due_at <= ? AND d.created_at <= ?)
		OR EXISTS (SELECT 1 FROM webhook_deliveries d`+tx.by("webhook_deliveries_queue")+` WHERE d.tenant_id = w.tenant_id AND d.endpoint_id = w.id AND d.state = 'due' AND d.due_at <= ? AND d.created_at <= ?)) LIMIT ?`,
		micros(before), micros(before), micros(tx.Now), micros(before), limit)
	if err != nil {
		return 0, err
	}
	for _, q := range ill {
		q, err := tx.holdQueue(q.tenant, q.id)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		var heads []UserID
		for _, state := range []WebhookState{WebhookDue, WebhookWaiting} {
			if err != nil || n >= limit {
				break
			}
			due := before
			if state == WebhookDue {
				due = tx.Now // later: it is leased, perhaps
			}
			var events []EventID
			var users []UserID
			events, users, err = tx.queued(q, state, due, before, limit-n)
			heads = append(heads, users...)
			n += len(events)
			for _, e := range events {
				if err == nil {
					err = tx.later(`UPDATE webhook_deliveries SET state = 'dead', due_at = ?, ended_at = ?, last_error = 'given up: the endpoint is disabled or does not answer' WHERE tenant_id = ? AND endpoint_id = ? AND event_id = ?`,
						micros(tx.Now), micros(tx.Now), q.tenant, q.id, e)
				}
			}
		}
		if err == nil {
			err = tx.advance(q, heads...)
		}
		if err != nil || n >= limit {
			return n, err
		}
	}
	return n, nil
}

// mendWebhooks sets queues going, of the oldest so many deliveries, that stand
// still.
func (tx *Tx) mendWebhooks(limit int) (n int, err error) {
	type line struct {
		webhookQueue
		users []UserID
	}
	var still []line
	err = tx.rows(`SELECT DISTINCT o.tenant_id, o.endpoint_id, o.user_id FROM (SELECT tenant_id, endpoint_id, user_id FROM webhook_deliveries WHERE state = 'waiting' ORDER BY due_at LIMIT ?) o
		WHERE NOT EXISTS (SELECT 1 FROM webhook_deliveries d`+tx.by("webhook_deliveries_user")+` WHERE d.tenant_id = o.tenant_id AND d.endpoint_id = o.endpoint_id AND d.user_id = o.user_id AND d.state = 'due')`,
		[]any{limit}, func(scan func(...any) error) error {
			l := line{users: make([]UserID, 1)}
			err := scan(&l.tenant, &l.id, &l.users[0])
			still = append(still, l)
			return err
		})
	if err != nil {
		return 0, err
	}
	idle, err := tx.endpoints(`SELECT DISTINCT w.tenant_id, w.id FROM (SELECT tenant_id, endpoint_id FROM webhook_deliveries WHERE state = 'due' ORDER BY due_at LIMIT ?) o
		JOIN webhook_endpoints w ON w.tenant_id = o.tenant_id AND w.id = o.endpoint_id WHERE w.next_at = 0`, limit)
	for _, q := range idle {
		still = append(still, line{webhookQueue: q})
	}
	for _, l := range still {
		if err != nil {
			break
		}
		var q webhookQueue
		q, err = tx.holdQueue(l.tenant, l.id)
		if errors.Is(err, ErrNotFound) { // dropped
			err = nil
			continue
		}
		if err == nil {
			n++
			err = tx.advance(q, l.users...) // which looks again, now that nobody else can
		}
	}
	return n, err
}
