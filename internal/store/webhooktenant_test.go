package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"gatehouse/internal/store"
)

// hooked is what a tenant has of webhooks: an endpoint, and an event that
// could not be delivered.
type hooked struct {
	endpoint store.Webhook
	event    store.EventID
}

func hookUp(t *testing.T, db *store.DB, tenant store.TenantID, user store.UserID) (h hooked) {
	t.Helper()
	h.endpoint = store.Webhook{ID: store.NewWebhookID(), URL: "https://example.com/" + user.String(), Secret: []byte("s")}
	err := db.Write(t.Context(), tenant, func(tx *store.Tx) error {
		events, err := tx.EventsOf(user, 1)
		if err != nil {
			return err
		}
		h.event = events[0].ID
		return errors.Join(second(tx.AddWebhook(h.endpoint, 10)), tx.FanOut([]store.TrailEvent{{Seq: 1, ID: h.event, Name: "hello", UserID: user}}))
	})
	if err == nil {
		err = db.Write(t.Context(), tenant, func(tx *store.Tx) error {
			list, err := tx.TakeWebhooks(1, time.Minute, 1, nil)
			if err != nil {
				return err
			}
			return second(tx.EndWebhook(list[0].WebhookDelivery, store.WebhookDead, store.WebhookTry{}))
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func hookSnapshot(tx *store.Tx, h hooked) []any {
	endpoints, err := tx.Webhooks()
	deliveries, err2 := tx.WebhookDeliveries(h.endpoint.ID, "", store.WebhookPlace{}, 10)
	all := []any{endpoints, fmt.Sprint(len(deliveries), errors.Join(err, err2))}
	for _, d := range deliveries {
		all = append(all, fmt.Sprint(d.Tenant, d.Endpoint, d.Event, d.State, d.Tries, d.UserID))
	}
	return all
}

// hookCalls are those of TestTx_noTenantReachesAnother.
func hookCalls() map[string]func(*store.Tx, belongings) (bool, error) {
	did := func(err error) (bool, error) { return false, err }
	return map[string]func(*store.Tx, belongings) (bool, error){
		"AddWebhook": func(tx *store.Tx, b belongings) (bool, error) {
			added, err := tx.AddWebhook(store.Webhook{ID: store.NewWebhookID(), Secret: []byte("eve")}, 2) // each has one
			return !added, err
		},
		"Webhook": func(tx *store.Tx, b belongings) (bool, error) {
			w, err := tx.Webhook(b.hook.endpoint.ID)
			return w.ID == b.hook.endpoint.ID, err
		},
		"Webhooks": func(tx *store.Tx, b belongings) (saw bool, err error) {
			list, err := tx.Webhooks()
			for _, w := range list {
				saw = saw || w.ID == b.hook.endpoint.ID
			}
			return saw, err
		},
		"SetWebhook": func(tx *store.Tx, b belongings) (bool, error) {
			w := b.hook.endpoint
			w.URL = "https://eve.example"
			return tx.SetWebhook(w)
		},
		"DisableWebhook": func(tx *store.Tx, b belongings) (bool, error) {
			return tx.DisableWebhook(b.hook.endpoint.ID, b.hook.endpoint.URL)
		},
		"DropWebhook": func(tx *store.Tx, b belongings) (bool, error) { return tx.DropWebhook(b.hook.endpoint.ID) },
		"FanOut": func(tx *store.Tx, b belongings) (bool, error) {
			return did(tx.FanOut([]store.TrailEvent{{Seq: 2, ID: store.EventID(store.NewDeliveryID()), Name: "eve", UserID: b.user.ID}}))
		},
		"WebhookDeliveries": func(tx *store.Tx, b belongings) (bool, error) {
			list, err := tx.WebhookDeliveries(b.hook.endpoint.ID, "", store.WebhookPlace{}, 10)
			return len(list) > 0, err
		},
		"WebhookEvent": func(tx *store.Tx, b belongings) (bool, error) {
			e, err := tx.WebhookEvent(b.hook.event)
			if errors.Is(err, store.ErrNotFound) {
				return false, nil
			}
			return e.UserID == b.user.ID, err
		},
		"ReplayWebhook": func(tx *store.Tx, b belongings) (bool, error) {
			return tx.ReplayWebhook(b.hook.endpoint.ID, b.hook.event)
		},
		"ReplayDead": func(tx *store.Tx, b belongings) (bool, error) {
			n, err := tx.ReplayDead(b.hook.endpoint.ID, 10)
			return n > 0, err
		},
	}
}
