package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

// The rows of event webhooks, so that callers need not import the store.
type (
	Webhook      = store.Webhook
	WebhookID    = store.WebhookID
	Delivery     = store.WebhookDelivery
	WebhookState = store.WebhookState
	WebhookPlace = store.WebhookPlace
)

// WebhookChanges is what an administrator sets on an endpoint; nil leaves a
// thing as it is.
type WebhookChanges struct {
	URL         *string
	Events      *[]string // names, and patterns such as user.*; none: all
	Description *string
	Disabled    *bool
}

const (
	maxWebhooks     = 50 // of a tenant
	webhookSecret   = 32 // bytes
	oldSecretLives  = day
	webhookSeal     = "webhook secret"
	maxDescription  = 500  // bytes
	replayAtOnce    = 1000 // dead deliveries in one transaction
	deliveriesAPage = 100
)

// AddWebhook makes an endpoint, to which the events it wants are sent from now
// on. The secret that signs them is handed out this once.
//
// Codes: InvalidInput, TooManyWebhooks. Events: WebhookAdded.
func (s *Service) AddWebhook(ctx context.Context, c Caller, ch WebhookChanges) (*Webhook, []byte, error) {
	if ch.URL == nil {
		return nil, nil, Invalid("url", "An endpoint needs a URL")
	}
	w := Webhook{ID: store.NewWebhookID()}
	err := s.setWebhook(&w, ch)
	if err != nil {
		return nil, nil, err
	}
	plain := newWebhookSecret()
	w.Secret = s.root.Seal(webhookSeal, w.ID[:], plain)
	err = s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
		w.CreatedAt, w.UpdatedAt = tx.Now, tx.Now
		added, err := tx.AddWebhook(w, maxWebhooks)
		if err == nil && !added {
			err = fail(TooManyWebhooks)
		}
		if err == nil {
			err = s.emit(tx, c, WebhookAdded, UserID{}, SessionID{}, map[string]any{"webhook": w.ID.String(), "events": w.Events})
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return &w, plain, nil
}

func newWebhookSecret() []byte {
	b := make([]byte, webhookSecret)
	_, _ = rand.Read(b) // it never fails
	return b
}

// setWebhook puts an administrator's values into w.
func (s *Service) setWebhook(w *Webhook, ch WebhookChanges) error {
	if ch.URL != nil {
		w.URL = strings.TrimSpace(*ch.URL)
	}
	if ch.Events != nil {
		w.Events = *ch.Events
	}
	if ch.Description != nil {
		w.Description = *ch.Description
	}
	if ch.Disabled != nil {
		w.Disabled = *ch.Disabled
	}
	if len(w.Description) > maxDescription {
		return Invalid("description", fmt.Sprintf("A description has at most %d bytes", maxDescription))
	}
	if s.endpoint == nil {
		return nil
	}
	field, err := s.endpoint(w.URL, w.Events)
	if err != nil {
		return Invalid(field, err.Error())
	}
	return nil
}

// SetWebhook changes an endpoint. What waits for it goes on by its new settings.
//
// Codes: InvalidInput, WebhookNotFound. Events: WebhookUpdated.
func (s *Service) SetWebhook(ctx context.Context, c Caller, id WebhookID, ch WebhookChanges) (*Webhook, error) {
	var w Webhook
	err := s.db.Write(ctx, s.tenant, func(tx *store.Tx) (err error) {
		w, err = tx.Webhook(id)
		if err == nil {
			err = s.setWebhook(&w, ch)
		}
		if err == nil {
			w.UpdatedAt = tx.Now
			_, err = tx.SetWebhook(w)
		}
		if err == nil {
			err = s.emit(tx, c, WebhookUpdated, UserID{}, SessionID{}, map[string]any{"webhook": id.String(), "events": w.Events, "disabled": w.Disabled})
		}
		return err
	})
	return &w, noWebhook(err)
}

// RotateWebhook gives an endpoint a new secret, which is handed out this once.
// The one of before signs along for a day.
//
// Codes: WebhookNotFound. Events: WebhookUpdated.
func (s *Service) RotateWebhook(ctx context.Context, c Caller, id WebhookID) (*Webhook, []byte, error) {
	plain := newWebhookSecret()
	sealed := s.root.Seal(webhookSeal, id[:], plain)
	var w Webhook
	err := s.db.Write(ctx, s.tenant, func(tx *store.Tx) (err error) {
		w, err = tx.Webhook(id)
		if err != nil {
			return err
		}
		w.OldSecret, w.OldSecretUntil, w.Secret, w.UpdatedAt = w.Secret, tx.Now.Add(oldSecretLives), sealed, tx.Now
		_, err = tx.SetWebhook(w)
		if err == nil {
			err = s.emit(tx, c, WebhookUpdated, UserID{}, SessionID{}, map[string]any{"webhook": id.String(), "secret": "rotated"})
		}
		return err
	})
	return &w, plain, noWebhook(err)
}

// DropWebhook removes an endpoint with all that waits for it.
//
// Codes: WebhookNotFound. Events: WebhookDeleted.
func (s *Service) DropWebhook(ctx context.Context, c Caller, id WebhookID) error {
	return s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
		dropped, err := tx.DropWebhook(id)
		if err == nil && !dropped {
			err = fail(WebhookNotFound)
		}
		if err == nil {
			err = s.emit(tx, c, WebhookDeleted, UserID{}, SessionID{}, map[string]any{"webhook": id.String()})
		}
		return err
	})
}

// Webhooks returns the endpoints, oldest first; their secrets are sealed.
func (s *Service) Webhooks(ctx context.Context) (list []Webhook, err error) {
	err = s.db.Read(ctx, s.tenant, func(tx *store.Tx) (err error) {
		list, err = tx.Webhooks()
		return err
	})
	return list, err
}

// Webhook returns an endpoint.
//
// Codes: WebhookNotFound.
func (s *Service) Webhook(ctx context.Context, id WebhookID) (*Webhook, error) {
	var w Webhook
	err := s.db.Read(ctx, s.tenant, func(tx *store.Tx) (err error) {
		w, err = tx.Webhook(id)
		return err
	})
	return &w, noWebhook(err)
}

// Deliveries returns a page of what was, or is to be, sent to an endpoint, newest
// first: of one state, or with none of all. after is the last one of the page
// before.
//
// Codes: WebhookNotFound.
func (s *Service) Deliveries(ctx context.Context, id WebhookID, state WebhookState, after WebhookPlace, limit int) (list []Delivery, err error) {
	if limit <= 0 || limit > deliveriesAPage {
		limit = deliveriesAPage
	}
	err = s.db.Read(ctx, s.tenant, func(tx *store.Tx) error {
		_, err := tx.Webhook(id)
		if err == nil {
			list, err = tx.WebhookDeliveries(id, state, after, limit)
		}
		return err
	})
	return list, noWebhook(err)
}

// Replay has a delivery that has ended, well or not, made once more under the
// same id.
//
// Codes: WebhookNotFound, DeliveryNotFound. Events: WebhookReplayed.
func (s *Service) Replay(ctx context.Context, c Caller, id WebhookID, event EventID) error {
	return s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
		found, err := tx.ReplayWebhook(id, event)
		if err == nil && !found {
			err = fail(DeliveryNotFound)
		}
		if err == nil {
			err = s.emit(tx, c, WebhookReplayed, UserID{}, SessionID{}, map[string]any{"webhook": id.String(), "event": event.String()})
		}
		return err
	})
}

// ReplayDead has every delivery to an endpoint that was given up made once more,
// and returns how many.
//
// Codes: WebhookNotFound. Events: WebhookReplayed.
func (s *Service) ReplayDead(ctx context.Context, c Caller, id WebhookID) (n int, err error) {
	_, err = s.Webhook(ctx, id)
	if err != nil {
		return 0, err
	}
	for {
		some := 0
		err = s.db.Write(ctx, s.tenant, func(tx *store.Tx) (err error) {
			some, err = tx.ReplayDead(id, replayAtOnce)
			if err == nil && some > 0 {
				err = s.emit(tx, c, WebhookReplayed, UserID{}, SessionID{}, map[string]any{"webhook": id.String(), "dead": some})
			}
			return err
		})
		n += some
		if err != nil || some < replayAtOnce {
			return n, err
		}
	}
}

// OpenWebhookSecret opens a secret of an endpoint, under its tenant's root key.
func OpenWebhookSecret(root *secret.Root, id WebhookID, sealed []byte) ([]byte, error) {
	return root.Open(webhookSeal, id[:], sealed)
}

// ParseWebhookID reads the 36-character form of an endpoint's id.
func ParseWebhookID(s string) (WebhookID, error) { return store.ParseWebhookID(s) }

// PlaceAfter is where the page behind a delivery begins.
func PlaceAfter(d Delivery) WebhookPlace { return WebhookPlace{At: d.DueAt, ID: d.Event} }

// ReadPlace reads what a client was given of a place: its instant in
// microseconds, and the event's id.
func ReadPlace(us int64, id EventID) WebhookPlace {
	return WebhookPlace{At: time.UnixMicro(us).UTC(), ID: id}
}

func noWebhook(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return fail(WebhookNotFound)
	}
	return err
}
