package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"time"

	"gatehouse/internal/fetch"
	"gatehouse/internal/store"
)

const (
	// GivenUpAfter is how long an event is tried.
	GivenUpAfter = 24 * time.Hour

	maxTries     = 50 // so many are begun only if processes die of them
	firstPause   = 5 * time.Second
	longestPause = 6 * time.Hour
	tryLimit     = 15 * time.Second
	maxReply     = 64 << 10 // bytes; nobody reads them
	handsEach    = 2        // of one node, for one endpoint

	// An endpoint that failed so often in a row, whatever it was sent, rests. A
	// rest is shorter than the pauses of a delivery: one that is back must be
	// noticed while most of what waits for it is still good.
	failuresToRest = 5
	longestRest    = 5 * time.Minute
)

// EventBody is an event as endpoints get it: type, timestamp and data, as
// Standard Webhooks has it, the id of the header, and the tenant unless it is
// the default one.
func EventBody(tenant store.TenantID, e store.Event) ([]byte, error) {
	data := map[string]any{}
	if len(e.Data) > 0 {
		var more map[string]json.RawMessage // numbers stay as they are written
		err := json.Unmarshal(e.Data, &more)
		if err != nil {
			return nil, errors.New("the event's data is not a JSON object")
		}
		for k, v := range more {
			data[k] = v
		}
	}
	data["actor"] = e.Actor
	delete(data, "user_id") // these two are the event's own, or not there
	delete(data, "session_id")
	if !e.UserID.IsZero() {
		data["user_id"] = e.UserID
	}
	if !e.SessionID.IsZero() {
		data["session_id"] = e.SessionID
	}
	body := map[string]any{"type": e.Name, "id": EventHeader(e.ID), "timestamp": e.CreatedAt.UTC().Format(time.RFC3339Nano), "data": data}
	if !tenant.IsZero() {
		body["tenant"] = tenant
	}
	return json.Marshal(body)
}

// EventHeader is the Webhook-Id of an event: the same for each endpoint and
// each time it is sent, so that a receiver can tell what it has had.
func EventHeader(id store.EventID) string { return "evt_" + id.String() }

var (
	errLate  = errors.New("the lease ran out before sending") // somebody else may be sending it by now
	errSwept = errors.New("the event is no longer kept")
)

// deliver sends one delivery and writes down what became of it. It reports
// whether it was delivered.
func (c *Courier) deliver(ctx context.Context, p store.WebhookParcel, until time.Time) bool {
	log := c.opt.Log.With("tenant", p.Tenant, "endpoint", p.Endpoint, "event", p.Event, "try", p.Tries)
	if p.Tries > maxTries {
		// An event that takes the process down must not do so for ever.
		c.end(log, p, store.WebhookDead, store.WebhookTry{Error: fmt.Sprintf("given up: begun %d times, and too often never finished", p.Tries-1)})
		return false
	}
	status, asked := 0, false
	err := c.guarded(ctx, p, func(ctx context.Context) (err error) {
		status, asked, err = c.send(ctx, p, until)
		return err
	})
	try := store.WebhookTry{Asked: asked, Status: status, Rest: rest}
	if err != nil {
		try.Error = reasonOf(err)
	}
	gone := status == http.StatusGone
	switch {
	case err == nil:
		log.Info("webhook: delivered", "status", status)
		return c.end(log, p, store.WebhookDelivered, try)
	case errors.Is(err, errLate):
		log.Warn("webhook: the lease ran out before sending; left to the next courier")
	case errors.Is(err, errSwept):
		log.Error("webhook: given up", "err", err)
		try.Error = err.Error()
		c.end(log, p, store.WebhookDead, try)
	case gone:
		log.Warn("webhook: the endpoint is gone, by its own word, and is disabled")
		c.endAnd(log, p, store.WebhookDead, try, func(tx *store.Tx) error {
			_, err := tx.DisableWebhook(p.Endpoint, p.To.URL)
			return err
		})
	case !asked && ctx.Err() != nil, errors.Is(err, context.Canceled) && ctx.Err() != nil:
		// Cut off by our own end: not the endpoint's fault.
		c.putBack(log, p, 0, store.WebhookTry{Status: p.Status, Error: "cut off: the server was stopped while sending"})
	case c.opt.DB.Now().Sub(p.CreatedAt) >= GivenUpAfter:
		log.Error("webhook: given up", "err", try.Error)
		try.Error = fmt.Sprintf("given up after %d tries: %s", p.Tries, try.Error)
		c.end(log, p, store.WebhookDead, try)
	default:
		pause := backOff(p.Tries)
		detail := ""
		if fe, ok := errors.AsType[*fetch.Error](err); ok {
			detail = fe.Detail()
		}
		log.Warn("webhook: not delivered; it will be tried again", "in", pause.Round(time.Second).String(), "err", try.Error, "detail", detail)
		c.putBack(log, p, pause, try)
	}
	return false
}

// send makes the request. asked is whether the endpoint had a say in how it
// went.
func (c *Courier) send(ctx context.Context, p store.WebhookParcel, until time.Time) (status int, asked bool, err error) {
	var e store.Event
	err = c.opt.DB.Read(ctx, p.Tenant, func(tx *store.Tx) (err error) {
		e, err = tx.WebhookEvent(p.Event)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		err = errSwept
	}
	if err != nil {
		return 0, false, err
	}
	body, err := c.opt.Payload(p.Tenant, e)
	if err != nil {
		return 0, false, &innerError{"the body could not be made", err}
	}
	secrets, err := c.secrets(p)
	if err != nil {
		return 0, false, err
	}
	req, err := http.NewRequest(http.MethodPost, p.To.URL, bytes.NewReader(body)) //nolint:noctx // Do brings it
	if err != nil {
		return 0, true, &innerError{"the URL cannot be read", nil} // its error repeats the URL
	}
	now := c.opt.DB.Now()
	if !now.Before(until) {
		return 0, false, errLate // paused meanwhile: it is another courier's, who will send it too
	}
	maps.Copy(req.Header, Sign(EventHeader(p.Event), now, body, secrets...))
	req.Header.Set("Content-Type", "application/json")
	res, err := c.client.Do(ctx, req)
	if res != nil {
		status = res.Status
	}
	return status, true, err
}

// secrets are those of an endpoint that are in force.
func (c *Courier) secrets(p store.WebhookParcel) ([]Secret, error) {
	s, err := c.opt.Open(p.Tenant, p.Endpoint, p.To.Secret)
	if err == nil && len(s) == 0 {
		err = errors.New("it is empty") // unsigned is never sent
	}
	if err != nil {
		return nil, &innerError{"the secret does not open", err}
	}
	list := []Secret{s}
	if len(p.To.OldSecret) > 0 && c.opt.DB.Now().Before(p.To.OldSecretUntil) {
		old, err := c.opt.Open(p.Tenant, p.Endpoint, p.To.OldSecret)
		if err != nil {
			return nil, &innerError{"the old secret does not open", err}
		}
		list = append(list, old)
	}
	return list, nil
}

// innerError is a failure of ours, of which an operator reads the cause in the
// log, and an endpoint's owner that there was one.
type innerError struct {
	what  string
	cause error
}

func (e *innerError) Error() string { return e.what }
func (e *innerError) Unwrap() error { return e.cause }

// reasonOf is what the owner of an endpoint may read of a failure. What fetch
// says of one names the host that was asked for, and no inner address.
func reasonOf(err error) string {
	if fe, ok := errors.AsType[*fetch.Error](err); ok {
		return fe.Reason.Error()
	}
	if se, ok := errors.AsType[*fetch.StatusError](err); ok {
		return fmt.Sprintf("status %d %s", se.Code, http.StatusText(se.Code))
	}
	if ie, ok := errors.AsType[*innerError](err); ok {
		return ie.what
	}
	return "the server failed; see its log"
}

// backOff is how long to wait after a try: 5 s, doubled each time, at most 6 h,
// less up to a quarter, so that an endpoint that comes back does not meet all
// at once.
func backOff(tries int) time.Duration {
	pause := min(firstPause<<min(max(tries, 1)-1, 20), longestPause)
	return pause - rand.N(pause/4)
}

// rest is how long an endpoint is left in peace after so many failures.
func rest(failures int) time.Duration {
	if failures < failuresToRest {
		return 0
	}
	return min(firstPause<<min(failures-failuresToRest, 20), longestRest)
}

// guarded runs f within three quarters of the lease.
func (c *Courier) guarded(ctx context.Context, p store.WebhookParcel, f func(context.Context) error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, c.opt.Lease*3/4)
	defer cancel()
	defer func() {
		v := recover()
		if v != nil {
			// One broken event must not end the server. The value may quote it, so
			// only the place is logged.
			c.opt.Log.Error("webhook: panic while sending", "event", p.Event, "type", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
			err = &innerError{"the server panicked; see its log", nil}
		}
	}()
	return f(ctx)
}

// end writes down the end of a delivery, and reports whether it was still ours.
func (c *Courier) end(log *slog.Logger, p store.WebhookParcel, state store.WebhookState, try store.WebhookTry) bool {
	return c.endAnd(log, p, state, try, func(*store.Tx) error { return nil })
}

// endAnd is end, and more in the same transaction.
func (c *Courier) endAnd(log *slog.Logger, p store.WebhookParcel, state store.WebhookState, try store.WebhookTry, more func(*store.Tx) error) bool {
	return c.write(log, p, func(tx *store.Tx) (bool, error) {
		held, err := tx.EndWebhook(p.WebhookDelivery, state, try)
		if err == nil && held {
			err = more(tx)
		}
		return held, err
	})
}

// putBack makes a delivery due again after a pause.
func (c *Courier) putBack(log *slog.Logger, p store.WebhookParcel, pause time.Duration, try store.WebhookTry) {
	c.write(log, p, func(tx *store.Tx) (bool, error) {
		return tx.PutBackWebhook(p.WebhookDelivery, tx.Now.Add(pause), try)
	})
}

// write is not ended by the end of Run: what was sent must be written down. If
// it fails, the delivery is sent again when its lease has run out.
func (c *Courier) write(log *slog.Logger, p store.WebhookParcel, fn func(*store.Tx) (bool, error)) bool {
	ctx, cancel := context.WithTimeout(context.Background(), bookLimit)
	defer cancel()
	held := false
	err := c.opt.DB.Write(ctx, p.Tenant, func(tx *store.Tx) (err error) {
		held, err = fn(tx)
		return err
	})
	switch {
	case err != nil:
		log.Error("webhook: what became of the delivery could not be written; it will be tried again", "err", err)
	case !held:
		log.Warn("webhook: the lease ran out while sending, or the endpoint was removed; another courier may send it again")
	}
	return err == nil && held
}
