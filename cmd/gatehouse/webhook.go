package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"gatehouse/internal/auth"
)

type webhookCmd struct {
	Add        webhookAddCmd        `cmd:"" help:"Have events sent to an endpoint. Prints the secret that signs them, this once."`
	List       webhookListCmd       `cmd:"" help:"List the endpoints."`
	Show       webhookShowCmd       `cmd:"" help:"Show an endpoint, but for its secret."`
	Set        webhookSetCmd        `cmd:"" help:"Change an endpoint."`
	Rotate     webhookRotateCmd     `cmd:"" help:"Give an endpoint a new secret, and print it, this once. The old one signs along for 24 hours."`
	Delete     webhookDeleteCmd     `cmd:"" help:"Delete an endpoint with all that waits for it."`
	Deliveries webhookDeliveriesCmd `cmd:"" help:"List what was sent to an endpoint, and what is to be, newest first."`
	Replay     webhookReplayCmd     `cmd:"" help:"Send an event again, or all that were given up."`
}

// webhookOut is an endpoint as the command line shows it.
type webhookOut struct {
	ID          string    `json:"id"`
	URL         string    `json:"url"`
	Events      []string  `json:"events"`
	Description string    `json:"description,omitempty"`
	Disabled    bool      `json:"disabled"`
	Secret      string    `json:"secret,omitempty"`
	OldUntil    time.Time `json:"old_secret_until,omitzero"`
	Failures    int       `json:"failures"`
	RestsUntil  time.Time `json:"rests_until,omitzero"`
	CreatedAt   time.Time `json:"created_at"`
	UpdatedAt   time.Time `json:"updated_at"`
	State       string    `json:"state"` // in words
}

func (h *house) webhookOut(w *auth.Webhook, secret []byte) webhookOut {
	out := webhookOut{
		ID: w.ID.String(), URL: w.URL, Events: append([]string{}, w.Events...), Description: w.Description, Disabled: w.Disabled,
		Failures: w.Failures, CreatedAt: w.CreatedAt, UpdatedAt: w.UpdatedAt, State: "on",
	}
	now := h.db.Now()
	if now.Before(w.OldSecretUntil) {
		out.OldUntil = w.OldSecretUntil
	}
	if now.Before(w.RestUntil) {
		out.RestsUntil = w.RestUntil
	}
	switch {
	case w.Disabled:
		out.State = "disabled"
	case !w.RestUntil.IsZero():
		out.State = fmt.Sprintf("failing: %d times in a row", w.Failures)
	}
	if secret != nil {
		out.Secret = "whsec_" + base64.StdEncoding.EncodeToString(secret)
	}
	return out
}

// showWebhook prints an endpoint, and its secret when there is one to tell.
func (h *house) showWebhook(e env, w *auth.Webhook, secret []byte, asJSON bool) error {
	out := h.webhookOut(w, secret)
	if asJSON {
		return printJSON(e.out, out)
	}
	t := tabwriter.NewWriter(e.out, 0, 8, 2, ' ', 0)
	fmt.Fprintf(t, "id\t%s\nurl\t%s\nevents\t%s\nstate\t%s\n", out.ID, out.URL, wanted(out.Events), out.State)
	if out.Description != "" {
		fmt.Fprintf(t, "description\t%s\n", out.Description)
	}
	if !out.OldUntil.IsZero() {
		fmt.Fprintf(t, "old secret\tsigns until %s\n", when(out.OldUntil))
	}
	if out.Secret != "" {
		fmt.Fprintf(t, "secret\t%s\n", out.Secret)
	}
	return t.Flush()
}

// wanted is a list of events; none stands for all.
func wanted(events []string) string { return or(strings.Join(events, ","), "all") }

type webhookAddCmd struct {
	URL         string   `arg:"" help:"Where they are sent: an https address."`
	Event       []string `help:"An event it wants, by name, or by a pattern as user.*; without any it gets all. May be repeated." placeholder:"NAME"`
	Description string   `help:"What it is for."`
	JSON        bool     `help:"As JSON." name:"json"`
}

// Run makes an endpoint.
func (c webhookAddCmd) Run(ctx context.Context, e env) error {
	return withHouse(ctx, e, func(h *house) error {
		w, secret, err := h.auth.AddWebhook(ctx, cliCaller, auth.WebhookChanges{URL: &c.URL, Events: &c.Event, Description: &c.Description})
		if err != nil {
			return webhookFault(err)
		}
		return h.showWebhook(e, w, secret, c.JSON)
	})
}

type webhookListCmd struct {
	JSON bool `help:"As JSON." name:"json"`
}

// Run lists the endpoints.
func (c webhookListCmd) Run(ctx context.Context, e env) error {
	return withHouse(ctx, e, func(h *house) error {
		list, err := h.auth.Webhooks(ctx)
		if err != nil {
			return err
		}
		rows := make([]webhookOut, 0, len(list))
		for i := range list {
			rows = append(rows, h.webhookOut(&list[i], nil))
		}
		if c.JSON {
			return printJSON(e.out, map[string]any{"webhooks": rows})
		}
		t := tabwriter.NewWriter(e.out, 0, 8, 2, ' ', 0)
		fmt.Fprintln(t, "ID\tURL\tEVENTS\tSTATE\tDESCRIPTION")
		for _, w := range rows {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", w.ID, w.URL, wanted(w.Events), w.State, or(w.Description, "-"))
		}
		return t.Flush()
	})
}

type webhookShowCmd struct {
	ID   string `arg:"" help:"Id of the endpoint."`
	JSON bool   `help:"As JSON." name:"json"`
}

// Run shows an endpoint.
func (c webhookShowCmd) Run(ctx context.Context, e env) error {
	return withWebhook(ctx, e, c.ID, func(h *house, id auth.WebhookID) error {
		w, err := h.auth.Webhook(ctx, id)
		if err != nil {
			return err
		}
		return h.showWebhook(e, w, nil, c.JSON)
	})
}

type webhookSetCmd struct {
	ID          string   `arg:"" help:"Id of the endpoint."`
	URL         string   `help:"Another address." name:"url"`
	Event       []string `help:"An event it wants, in place of those it got. May be repeated." placeholder:"NAME"`
	AllEvents   bool     `help:"It wants all." xor:"events"`
	Description *string  `help:"What it is for."`
	Enable      bool     `help:"Send again." xor:"state"`
	Disable     bool     `help:"Send nothing. What waits goes on when it is enabled again, for a day." xor:"state"`
	JSON        bool     `help:"As JSON." name:"json"`
}

// Run changes an endpoint.
func (c webhookSetCmd) Run(ctx context.Context, e env) error {
	if c.AllEvents && len(c.Event) > 0 {
		return errors.New("--event and --all-events are two things; give one of them")
	}
	ch := auth.WebhookChanges{Description: c.Description}
	if c.URL != "" {
		ch.URL = &c.URL
	}
	if c.AllEvents || len(c.Event) > 0 {
		ch.Events = &c.Event
	}
	if c.Enable || c.Disable {
		ch.Disabled = &c.Disable
	}
	return withWebhook(ctx, e, c.ID, func(h *house, id auth.WebhookID) error {
		w, err := h.auth.SetWebhook(ctx, cliCaller, id, ch)
		if err != nil {
			return err
		}
		return h.showWebhook(e, w, nil, c.JSON)
	})
}

type webhookRotateCmd struct {
	ID   string `arg:"" help:"Id of the endpoint."`
	JSON bool   `help:"As JSON." name:"json"`
}

// Run gives an endpoint a new secret.
func (c webhookRotateCmd) Run(ctx context.Context, e env) error {
	return withWebhook(ctx, e, c.ID, func(h *house, id auth.WebhookID) error {
		w, secret, err := h.auth.RotateWebhook(ctx, cliCaller, id)
		if err != nil {
			return err
		}
		return h.showWebhook(e, w, secret, c.JSON)
	})
}

type webhookDeleteCmd struct {
	ID string `arg:"" help:"Id of the endpoint."`
}

// Run deletes an endpoint.
func (c webhookDeleteCmd) Run(ctx context.Context, e env) error {
	return withWebhook(ctx, e, c.ID, func(h *house, id auth.WebhookID) error {
		err := h.auth.DropWebhook(ctx, cliCaller, id)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(e.out, "Deleted the endpoint %s.\n", id)
		return err
	})
}

type webhookDeliveriesCmd struct {
	ID    string `arg:"" help:"Id of the endpoint."`
	State string `help:"Only those in it: waiting, due, delivered or dead." enum:",waiting,due,delivered,dead" default:""`
	Limit int    `help:"At most so many." default:"100"`
	JSON  bool   `help:"As JSON." name:"json"`
}

// deliveryOut is a delivery in JSON for scripts.
type deliveryOut struct {
	ID        string    `json:"id"` // the webhook-id it is sent with
	UserID    string    `json:"user_id,omitempty"`
	State     string    `json:"state"`
	Tries     int       `json:"tries"`
	Status    int       `json:"status,omitempty"`
	Error     string    `json:"error,omitempty"`
	DueAt     time.Time `json:"due_at,omitzero"`
	CreatedAt time.Time `json:"created_at"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
}

const sentAs = "evt_" // before an event's id

// Run lists deliveries.
func (c webhookDeliveriesCmd) Run(ctx context.Context, e env) error {
	return withWebhook(ctx, e, c.ID, func(h *house, id auth.WebhookID) error {
		rows := []deliveryOut{}
		for after := (auth.WebhookPlace{}); len(rows) < c.Limit; {
			list, err := h.auth.Deliveries(ctx, id, auth.WebhookState(c.State), after, min(c.Limit-len(rows), 100))
			if err != nil {
				return err
			}
			if len(list) == 0 {
				break
			}
			for _, d := range list {
				row := deliveryOut{
					ID: sentAs + d.Event.String(), State: string(d.State), Tries: d.Tries, Status: d.Status, Error: d.Error, CreatedAt: d.CreatedAt, EndedAt: d.EndedAt,
				}
				if d.EndedAt.IsZero() {
					row.DueAt = d.DueAt
				}
				if !d.UserID.IsZero() {
					row.UserID = d.UserID.String()
				}
				rows = append(rows, row)
			}
			after = auth.PlaceAfter(list[len(list)-1])
		}
		if c.JSON {
			return printJSON(e.out, map[string]any{"deliveries": rows})
		}
		t := tabwriter.NewWriter(e.out, 0, 8, 2, ' ', 0)
		fmt.Fprintln(t, "ID\tSTATE\tTRIES\tSINCE\tENDED\tERROR")
		for _, d := range rows {
			fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s\n", d.ID, d.State, d.Tries, when(d.CreatedAt), when(d.EndedAt), or(d.Error, "-"))
		}
		return t.Flush()
	})
}

type webhookReplayCmd struct {
	ID    string `arg:"" help:"Id of the endpoint."`
	Event string `arg:"" optional:"" help:"Id of the delivery: its webhook-id."`
	Dead  bool   `help:"All that were given up."`
}

// Run has a delivery made again under its id, or all dead ones.
func (c webhookReplayCmd) Run(ctx context.Context, e env) error {
	if (c.Event == "") != c.Dead {
		return errors.New("say which: the id of a delivery, or --dead for all that were given up")
	}
	return withWebhook(ctx, e, c.ID, func(h *house, id auth.WebhookID) error {
		if c.Dead {
			n, err := h.auth.ReplayDead(ctx, cliCaller, id)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(e.out, "%d will be sent again.\n", n)
			return err
		}
		event, err := auth.ParseEventID(strings.TrimPrefix(c.Event, sentAs))
		if err == nil {
			err = h.auth.Replay(ctx, cliCaller, id, event)
		} else {
			err = &auth.Error{Code: auth.DeliveryNotFound}
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(e.out, "%s%s will be sent again.\n", sentAs, event)
		return err
	})
}

// withWebhook opens the house and reads the id of an endpoint.
func withWebhook(ctx context.Context, e env, id string, f func(*house, auth.WebhookID) error) error {
	return withHouse(ctx, e, func(h *house) error {
		endpoint, err := auth.ParseWebhookID(id)
		if err == nil {
			err = f(h, endpoint)
		} else {
			err = &auth.Error{Code: auth.WebhookNotFound}
		}
		return webhookFault(err)
	})
}

// webhookFault says in words what is wrong with a call about endpoints.
func webhookFault(err error) error {
	var e *auth.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code {
	case auth.WebhookNotFound:
		return errors.New("there is no such endpoint; gatehouse webhook list shows them")
	case auth.DeliveryNotFound:
		return errors.New("there is no such delivery that has ended; gatehouse webhook deliveries shows them")
	case auth.TooManyWebhooks:
		return errors.New("there are 50 endpoints, and more are not possible")
	case auth.InvalidInput:
		return fmt.Errorf("%v", e.Params["problem"])
	}
	return err
}
