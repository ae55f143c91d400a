package gotrue

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/web"
)

// webhook is an endpoint on the wire. Its secret is told when it is made, and
// never again.
type webhook struct {
	ID          string     `json:"id"`
	URL         string     `json:"url"`
	Events      []string   `json:"events"`
	Description string     `json:"description"`
	Disabled    bool       `json:"disabled"`
	Secret      string     `json:"secret,omitempty"`
	OldUntil    *time.Time `json:"old_secret_until,omitempty"`
	Failures    int        `json:"failures"` // in a row
	RestsUntil  *time.Time `json:"rests_until,omitempty"`
	CreatedAt   time.Time  `json:"created_at"`
	UpdatedAt   time.Time  `json:"updated_at"`
}

func webhookJSON(w *auth.Webhook, secret []byte) webhook {
	out := webhook{
		ID: w.ID.String(), URL: w.URL, Events: w.Events, Description: w.Description, Disabled: w.Disabled,
		OldUntil: timeOrNil(w.OldSecretUntil), Failures: w.Failures, RestsUntil: timeOrNil(w.RestUntil), CreatedAt: w.CreatedAt, UpdatedAt: w.UpdatedAt,
	}
	if out.Events == nil {
		out.Events = []string{}
	}
	if secret != nil {
		out.Secret = "whsec_" + base64.StdEncoding.EncodeToString(secret)
	}
	return out
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// webhookInput is the body of POST and PUT; what is left out stays.
type webhookInput struct {
	URL         *string   `json:"url"`
	Events      *[]string `json:"events"`
	Description *string   `json:"description"`
	Disabled    *bool     `json:"disabled"`
}

func (in webhookInput) changes() auth.WebhookChanges { return auth.WebhookChanges(in) }

// listWebhooks handles "GET /admin/webhooks".
func (a *api) listWebhooks(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	list, err := a.Auth.Webhooks(r.Context())
	if err != nil {
		return err
	}
	out := make([]webhook, 0, len(list))
	for i := range list {
		out = append(out, webhookJSON(&list[i], nil))
	}
	return web.JSON(w, http.StatusOK, map[string]any{"webhooks": out})
}

// addWebhook handles "POST /admin/webhooks".
func (a *api) addWebhook(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	var in webhookInput
	err := web.Body(w, r, &in)
	if err != nil {
		return err
	}
	made, secret, err := a.Auth.AddWebhook(r.Context(), c, in.changes())
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusCreated, webhookJSON(made, secret))
}

// showWebhook handles "GET /admin/webhooks/{id}".
func (a *api) showWebhook(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	id, err := pathWebhook(r)
	if err != nil {
		return err
	}
	hook, err := a.Auth.Webhook(r.Context(), id)
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, webhookJSON(hook, nil))
}

// setWebhook handles "PUT /admin/webhooks/{id}".
func (a *api) setWebhook(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	id, err := pathWebhook(r)
	if err != nil {
		return err
	}
	var in webhookInput
	err = web.Body(w, r, &in)
	if err != nil {
		return err
	}
	hook, err := a.Auth.SetWebhook(r.Context(), c, id, in.changes())
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, webhookJSON(hook, nil))
}

// rotateWebhook handles "POST /admin/webhooks/{id}/rotate".
func (a *api) rotateWebhook(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	id, err := pathWebhook(r)
	if err != nil {
		return err
	}
	hook, secret, err := a.Auth.RotateWebhook(r.Context(), c, id)
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, webhookJSON(hook, secret))
}

// dropWebhook handles "DELETE /admin/webhooks/{id}".
func (a *api) dropWebhook(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	id, err := pathWebhook(r)
	if err != nil {
		return err
	}
	err = a.Auth.DropWebhook(r.Context(), c, id)
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, struct{}{})
}

// delivery is one event on its way to an endpoint, on the wire.
type delivery struct {
	ID        string     `json:"id"` // the webhook-id it is sent with
	Event     string     `json:"event_id"`
	UserID    string     `json:"user_id,omitempty"`
	State     string     `json:"state"`
	Tries     int        `json:"tries"`
	Status    int        `json:"status,omitempty"` // of the last answer
	Error     string     `json:"error,omitempty"`
	DueAt     *time.Time `json:"due_at,omitempty"`
	CreatedAt time.Time  `json:"created_at"`
	EndedAt   *time.Time `json:"ended_at,omitempty"`
}

// deliveryStates are what a list may be asked for.
var deliveryStates = []string{"", "waiting", "due", "delivered", "dead"}

// listDeliveries handles "GET /admin/webhooks/{id}/deliveries".
func (a *api) listDeliveries(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	id, err := pathWebhook(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	if !slices.Contains(deliveryStates, q.Get("state")) {
		return auth.Invalid("state", "state must be one of "+strings.Join(deliveryStates[1:], ", "))
	}
	limit, err := number(q, "limit", defaultPage)
	if err != nil {
		return err
	}
	limit = min(limit, 100)
	after, err := readPlace(q.Get("cursor"))
	if err != nil {
		return err
	}
	list, err := a.Auth.Deliveries(r.Context(), id, auth.WebhookState(q.Get("state")), after, limit)
	if err != nil {
		return err
	}
	out := make([]delivery, 0, len(list))
	for _, d := range list {
		wire := delivery{
			ID: "evt_" + d.Event.String(), Event: d.Event.String(), State: string(d.State), Tries: d.Tries, Status: d.Status, Error: d.Error,
			CreatedAt: d.CreatedAt, EndedAt: timeOrNil(d.EndedAt),
		}
		if d.EndedAt.IsZero() {
			wire.DueAt = timeOrNil(d.DueAt)
		}
		if !d.UserID.IsZero() {
			wire.UserID = d.UserID.String()
		}
		out = append(out, wire)
	}
	body := map[string]any{"deliveries": out}
	if len(list) == limit {
		body["next_cursor"] = placeText(auth.PlaceAfter(list[limit-1]))
	}
	return web.JSON(w, http.StatusOK, body)
}

// placeText is a place as clients are given it.
func placeText(p auth.WebhookPlace) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(p.At.UnixMicro(), 10) + " " + p.ID.String()))
}

func readPlace(s string) (auth.WebhookPlace, error) {
	if s == "" {
		return auth.WebhookPlace{}, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	at, id, _ := strings.Cut(string(b), " ")
	us, bad := strconv.ParseInt(at, 10, 64)
	event, wrong := auth.ParseEventID(id)
	if err != nil || bad != nil || wrong != nil {
		return auth.WebhookPlace{}, auth.Invalid("cursor", "Bad Pagination Parameters: cursor is not from an answer of this list")
	}
	return auth.ReadPlace(us, event), nil
}

// replayDelivery handles "POST /admin/webhooks/{id}/deliveries/{event}/replay".
func (a *api) replayDelivery(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	id, err := pathWebhook(r)
	if err != nil {
		return err
	}
	event, err := auth.ParseEventID(strings.TrimPrefix(r.PathValue("event"), "evt_"))
	if err != nil {
		return &auth.Error{Code: auth.DeliveryNotFound}
	}
	err = a.Auth.Replay(r.Context(), c, id, event)
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, struct{}{})
}

// replayDead handles "POST /admin/webhooks/{id}/replay".
func (a *api) replayDead(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	id, err := pathWebhook(r)
	if err != nil {
		return err
	}
	n, err := a.Auth.ReplayDead(r.Context(), c, id)
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, map[string]int{"replayed": n})
}

func pathWebhook(r *http.Request) (auth.WebhookID, error) {
	id, err := auth.ParseWebhookID(r.PathValue("id"))
	if err != nil {
		return id, &auth.Error{Code: auth.WebhookNotFound}
	}
	return id, nil
}
