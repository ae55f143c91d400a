package webhook_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"gatehouse/internal/fetch"
	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
	"gatehouse/internal/webhook"
)

// town is a database of events and couriers for them.
type town struct {
	t     *testing.T
	db    *store.DB
	clock *storetest.Clock
	seq   int64
	log   *book
}

func newTown(t *testing.T) *town {
	db, clock := storetest.New(t)
	return &town{t: t, db: db, clock: clock, log: &book{}}
}

// eachTown is newTown on every engine.
func eachTown(t *testing.T, f func(*town)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		f(&town{t: t, db: db, clock: clock, log: &book{}})
	})
}

var home store.TenantID

func (w *town) write(fn func(*store.Tx) error) {
	w.t.Helper()
	err := w.db.Write(context.Background(), home, fn)
	if err != nil {
		w.t.Fatal(err)
	}
}

// house is an endpoint and what it was sent.
type house struct {
	store.Webhook
	answer http.HandlerFunc // may be nil: 204

	mu   sync.Mutex
	open map[string]int // requests under way by id
	most int            // of them at one time, of all ids
	got  []visit
}

// visit is a request.
type visit struct {
	id     string
	header http.Header
	body   []byte
}

// build adds an endpoint that answers so.
func (w *town) build(answer http.HandlerFunc, events ...string) *house {
	w.t.Helper()
	h := &house{answer: answer, open: map[string]int{}}
	s := httptest.NewServer(h)
	w.t.Cleanup(s.Close)
	h.Webhook = store.Webhook{ID: store.NewWebhookID(), URL: s.URL + "/events?k=v", Events: events, Secret: webhook.NewSecret()}
	w.write(func(tx *store.Tx) error { _, err := tx.AddWebhook(h.Webhook, 50); return err })
	return h
}

func (h *house) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	id := r.Header.Get("webhook-id")
	h.mu.Lock()
	h.got = append(h.got, visit{id, r.Header, body})
	h.open[id]++
	under := 0
	for _, n := range h.open {
		under += n
		h.most = max(h.most, under)
	}
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.open[id]--
	}()
	if h.answer == nil {
		rw.WriteHeader(http.StatusNoContent)
		return
	}
	h.answer(rw, r)
}

func (h *house) visits() []visit {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.got)
}

func (h *house) ids() (ids []string) {
	for _, v := range h.visits() {
		ids = append(ids, v.id)
	}
	return ids
}

// happen makes events of a user happen and returns their ids as endpoints see
// them.
func (w *town) happen(u store.UserID, names ...string) (ids []string) {
	w.t.Helper()
	for _, name := range names {
		var e store.Event
		w.write(func(tx *store.Tx) error {
			err := tx.AddEvent(store.Event{Name: name, Actor: "system", UserID: u, Data: []byte(`{"by":"email","n":12345678901234567}`)})
			if err != nil {
				return err
			}
			list, err := tx.EventsOf(u, 1)
			if err == nil {
				e = list[0]
			}
			return err
		})
		w.seq++
		w.write(func(tx *store.Tx) error {
			return tx.FanOut([]store.TrailEvent{{Seq: w.seq, ID: e.ID, Name: name, UserID: u}})
		})
		ids = append(ids, webhook.EventHeader(e.ID))
	}
	return ids
}

func (w *town) courier(change ...func(*webhook.CourierOptions)) *webhook.Courier {
	w.t.Helper()
	client := fetch.New(fetch.Options{AllowPrivate: true})
	w.t.Cleanup(client.Close)
	o := webhook.CourierOptions{
		DB: w.db, Client: client, Log: slog.New(slog.NewTextHandler(w.log, nil)),
		Open: func(tenant store.TenantID, id store.WebhookID, sealed []byte) (webhook.Secret, error) {
			if tenant != home || id.IsZero() {
				return nil, errors.New("not sealed for that")
			}
			return sealed, nil
		},
	}
	for _, c := range change {
		c(&o)
	}
	return webhook.NewCourier(o)
}

func (w *town) deliver(c *webhook.Courier, want int) {
	w.t.Helper()
	n, err := c.DeliverNow(context.Background())
	if n != want || err != nil {
		w.t.Fatalf("delivered %d, %v; want %d\n%s", n, err, want, w.log)
	}
}

func (w *town) deliveries(h *house, state store.WebhookState) (list []store.WebhookDelivery) {
	w.t.Helper()
	err := w.db.Read(context.Background(), home, func(tx *store.Tx) (err error) {
		list, err = tx.WebhookDeliveries(h.ID, state, store.WebhookPlace{}, 10_000)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

func (w *town) endpoint(h *house) (now store.Webhook) {
	w.t.Helper()
	err := w.db.Read(context.Background(), home, func(tx *store.Tx) (err error) {
		now, err = tx.Webhook(h.ID)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return now
}

// book is a log that may be written from many goroutines.
type book struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *book) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *book) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}
