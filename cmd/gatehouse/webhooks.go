package main

import (
	"context"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/store"
	"gatehouse/internal/webhook"
)

// courier sends events to the endpoints that want them.
func (h *house) courier() *webhook.Courier {
	return webhook.NewCourier(webhook.CourierOptions{
		DB: h.db, Client: h.out, Log: h.log,
		Open: func(tenant store.TenantID, endpoint store.WebhookID, sealed []byte) (webhook.Secret, error) {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			root, err := h.vault.Root(ctx, tenant)
			if err != nil {
				return nil, err
			}
			return auth.OpenWebhookSecret(root, endpoint, sealed)
		},
	})
}

// endpoint judges what an administrator names as one. The field says which part
// of it is wrong.
func endpoint(development bool) func(url string, events []string) (field string, err error) {
	known := make([]string, 0, len(auth.Events))
	for _, e := range auth.Events {
		known = append(known, string(e))
	}
	return func(url string, events []string) (string, error) {
		err := webhook.CheckURL(url, development)
		if err != nil {
			return "url", err
		}
		return "events", webhook.CheckEvents(events, known)
	}
}
