package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/fetch"
	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
	"gatehouse/internal/webhook"
)

func TestCourier_sendsWhatHappenedSignedByBothSecrets(t *testing.T) {
	w := newTown(t)
	h := w.build(nil, "user.*")
	old := webhook.Secret(h.Secret)
	h.OldSecret, h.Secret, h.OldSecretUntil = h.Secret, webhook.NewSecret(), w.clock.Now().Add(time.Hour)
	w.write(func(tx *store.Tx) error { _, err := tx.SetWebhook(h.Webhook); return err })
	u := store.NewUserID()
	ids := w.happen(u, "user.updated", "session.opened")
	c := w.courier()
	w.deliver(c, 1)
	w.clock.Advance(time.Hour)
	ids = append(ids[:1], w.happen(u, "user.banned")...)
	w.deliver(c, 1)
	got := h.visits()
	if len(got) != 2 || !slices.Equal(h.ids(), ids) {
		t.Fatalf("sent %v, want %v", h.ids(), ids)
	}
	want := map[string]any{
		"type": "user.updated", "id": ids[0], "timestamp": "2030-01-02T03:04:05.678901Z",
		"data": map[string]any{"user_id": u.String(), "actor": "system", "by": "email", "n": json.Number("12345678901234567")},
	}
	var body map[string]any
	d := json.NewDecoder(strings.NewReader(string(got[0].body)))
	d.UseNumber()
	if err := d.Decode(&body); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, body); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if ct := got[0].header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("the content type is %q", ct)
	}
	for i, at := range []time.Time{w.clock.Now().Add(-time.Hour), w.clock.Now()} {
		for secret, good := range map[*webhook.Secret]bool{(*webhook.Secret)(&h.Secret): true, &old: i == 0} {
			err := webhook.Verify(got[i].header, got[i].body, at, *secret)
			if (err == nil) != good {
				t.Errorf("visit %d: %v; want a signature of that secret: %v", i, err, good)
			}
		}
	}
	if n := len(strings.Fields(got[0].header.Get("webhook-signature"))); n != 2 {
		t.Errorf("%d signatures, want two with a space between", n)
	}
}

// What one endpoint does harms neither its own deliveries nor others.
//
// Mission: NF04
func TestCourier_badReceiversHarmNoOther(t *testing.T) {
	var followed atomic.Int32
	inner := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Add(1) }))
	t.Cleanup(inner.Close)
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		reason string
		status int
	}{
		"500":  {status(http.StatusInternalServerError), "status 500", 500},
		"404":  {status(http.StatusNotFound), "status 404", 404},
		"hang": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "no whole answer in time", 0},
		"drip": {func(rw http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, err := rw.Write([]byte("."))
				if err != nil || http.NewResponseController(rw).Flush() != nil {
					return
				}
				select {
				case <-r.Context().Done():
				case <-time.After(10 * time.Millisecond):
				}
			}
		}, "no whole answer in time", 0},
		"redirect to metadata": {func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, "http://169.254.169.254/latest/meta-data/", http.StatusFound)
		}, "status 302", 302},
		"redirect inside": {func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, inner.URL, http.StatusTemporaryRedirect)
		}, "status 307", 307},
		"endless": {func(rw http.ResponseWriter, _ *http.Request) {
			chunk := make([]byte, 1<<20)
			for range 1024 {
				if _, err := rw.Write(chunk); err != nil {
					return
				}
			}
		}, "the answer is too large", 0},
		"cut": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "the server could not be reached", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTown(t)
			bad, good := w.build(tc.answer), w.build(nil)
			c := w.courier(func(o *webhook.CourierOptions) {
				if tc.reason == "no whole answer in time" {
					o.Lease = 2 * time.Second // of which it gets a part: the test waits for it
				}
			})
			u := store.NewUserID()
			ids := w.happen(u, "user.updated", "user.banned", "user.deleted")
			w.deliver(c, 3)
			if got := good.ids(); !slices.Equal(got, ids) {
				t.Errorf("the other endpoint got %v, want %v", got, ids)
			}
			for range 2 {
				w.clock.Advance(time.Minute)
				w.deliver(c, 0)
			}
			if got := bad.ids(); !slices.Equal(got, []string{ids[0], ids[0], ids[0]}) {
				t.Errorf("it was sent %v, want the first event three times", got)
			}
			due := w.deliveries(bad, store.WebhookDue)
			if len(due) != 1 || due[0].Tries != 3 || due[0].Status != tc.status || !strings.HasPrefix(due[0].Error, tc.reason) {
				t.Errorf("it is %+v; want it kept, and why: %s", due, tc.reason)
			}
			if n := len(w.deliveries(bad, store.WebhookWaiting)); n != 2 {
				t.Errorf("%d wait, want 2", n)
			}
			if followed.Load() != 0 {
				t.Error("a redirect was followed")
			}
		})
	}
}

func TestCourier_tellsNoInnerAddress(t *testing.T) {
	w := newTown(t)
	h := w.build(nil)
	w.happen(store.NewUserID(), "user.updated")
	strict := fetch.New(fetch.Options{})
	t.Cleanup(strict.Close)
	w.deliver(w.courier(func(o *webhook.CourierOptions) { o.Client = strict }), 0)
	due := w.deliveries(h, store.WebhookDue)
	if len(due) != 1 || due[0].Error != "the address is not allowed" || len(h.visits()) != 0 {
		t.Errorf("%+v after %d visits; want it refused, and no address told", due, len(h.visits()))
	}
}

// The server may die at any instant: what was committed is delivered by the
// next, and what may have been delivered comes by the same id.
func TestCourier_anotherTakesOverFromOneThatDied(t *testing.T) {
	eachTown(t, func(w *town) {
		t := w.t
		var second *store.DB
		var died atomic.Bool
		h := w.build(func(rw http.ResponseWriter, _ *http.Request) {
			if died.CompareAndSwap(false, true) {
				second.Close() // it has sent, and cannot write it down
			}
			rw.WriteHeader(http.StatusOK)
		})
		second = storetest.Again(t, w.db)
		ids := w.happen(store.NewUserID(), "user.updated", "user.banned")
		n, err := w.courier(func(o *webhook.CourierOptions) { o.DB = second }).DeliverNow(t.Context())
		if n != 0 || err == nil {
			t.Errorf("the first delivered %d, %v; want it dead", n, err)
		}
		next := w.courier()
		w.deliver(next, 0) // the lease holds
		w.clock.Advance(time.Minute)
		w.deliver(next, 2)
		if got := h.ids(); !slices.Equal(got, []string{ids[0], ids[0], ids[1]}) {
			t.Errorf("sent %v, want %v with the first twice", got, ids)
		}

		ids = w.happen(store.NewUserID(), "user.updated")
		w.write(func(tx *store.Tx) error { // taken, and nothing sent
			list, err := tx.TakeWebhooks(8, time.Minute, 8, nil)
			if len(list) != 1 {
				t.Errorf("took %d", len(list))
			}
			return err
		})
		w.deliver(next, 0)
		w.clock.Advance(time.Minute)
		w.deliver(next, 1)
		if got := h.ids()[3:]; !slices.Equal(got, ids) {
			t.Errorf("sent %v, want %v once", got, ids)
		}
	})
}

// order checks what an endpoint accepted.
type order struct {
	mu       sync.Mutex
	rng      *rand.Rand
	accepted map[string][]string // by user, the ids
	now      map[string]int      // by user, requests under way
	broken   string
}

func (o *order) ServeHTTP(rw http.ResponseWriter, r *http.Request, user, id string) {
	o.mu.Lock()
	o.now[user]++
	if o.now[user] > 1 {
		o.broken = "two at one time for " + user
	}
	good := o.rng.IntN(3) > 0
	o.mu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.now[user]--
	if good {
		o.accepted[user] = append(o.accepted[user], id)
		rw.WriteHeader(http.StatusOK)
		return
	}
	rw.WriteHeader([]int{500, 503, 429, 302, 400}[o.rng.IntN(5)])
}

// Two couriers, endpoints that fail at random: each accepts every event once,
// those of a user in order, and no two of a user come at one time.
func TestCourier_keepsTheOrderOfEachUser(t *testing.T) {
	eachTown(t, func(w *town) {
		t := w.t
		for seed := range uint64(3) {
			var houses []*house
			var orders []*order
			for i := range 2 {
				o := &order{rng: rand.New(rand.NewPCG(seed, uint64(i))), accepted: map[string][]string{}, now: map[string]int{}}
				h := w.build(nil)
				h.answer = func(rw http.ResponseWriter, r *http.Request) {
					id := r.Header.Get("webhook-id")
					var body struct {
						Data struct {
							User string `json:"user_id"`
						}
					}
					for _, v := range h.visits() {
						if v.id == id {
							_ = json.Unmarshal(v.body, &body)
						}
					}
					o.ServeHTTP(rw, r, body.Data.User, id)
				}
				houses, orders = append(houses, h), append(orders, o)
			}
			want := map[string][]string{}
			users := []store.UserID{store.NewUserID(), store.NewUserID(), store.NewUserID()}
			couriers := []*webhook.Courier{w.courier(), w.courier(func(o *webhook.CourierOptions) { o.DB = storetest.Again(t, w.db); o.Workers = 3 })}
			rng := rand.New(rand.NewPCG(seed, 99))
			for round := 0; ; round++ {
				var group sync.WaitGroup
				for _, c := range couriers {
					group.Go(func() {
						_, err := c.DeliverNow(context.Background())
						if err != nil {
							t.Error(err)
						}
					})
				}
				if round < 6 { // while they are at it
					for range 4 {
						u := users[rng.IntN(len(users))]
						want[u.String()] = append(want[u.String()], w.happen(u, "user.updated")...)
					}
				}
				group.Wait()
				left := 0
				for _, h := range houses {
					left += len(w.deliveries(h, store.WebhookDue)) + len(w.deliveries(h, store.WebhookWaiting))
				}
				if round >= 6 && left == 0 {
					break
				}
				if round == 400 {
					t.Fatalf("seed %d: %d deliveries are left\n%s", seed, left, w.log)
				}
				w.clock.Advance(10 * time.Minute)
			}
			for i, o := range orders {
				if o.broken != "" {
					t.Errorf("seed %d: %s", seed, o.broken)
				}
				if diff := cmp.Diff(want, o.accepted); diff != "" {
					t.Errorf("seed %d: endpoint %d (-want +got):\n%s", seed, i, diff)
				}
				w.write(func(tx *store.Tx) error { _, err := tx.DropWebhook(houses[i].ID); return err })
			}
		}
	})
}

func TestCourier_givesUpAfterADayAndReplaysByTheSameID(t *testing.T) {
	w := newTown(t)
	var good atomic.Bool
	h := w.build(func(rw http.ResponseWriter, _ *http.Request) {
		if !good.Load() {
			rw.WriteHeader(http.StatusBadGateway)
		}
	})
	u := store.NewUserID()
	id := w.happen(u, "user.updated")[0]
	c := w.courier()
	var last time.Duration
	begun := w.clock.Now()
	for range 3 * 24 * 60 {
		before := len(h.visits())
		w.deliver(c, 0)
		if len(h.visits()) > before {
			last = w.clock.Now().Sub(begun)
		}
		w.clock.Advance(time.Minute)
	}
	dead := w.deliveries(h, store.WebhookDead)
	if len(dead) != 1 || dead[0].Status != 502 || !strings.Contains(dead[0].Error, "given up after") || dead[0].EndedAt.IsZero() {
		t.Fatalf("after three days: %+v, want it dead", dead)
	}
	if n := len(h.visits()); n < 10 || n > 25 || last < webhook.GivenUpAfter || last > 31*time.Hour {
		t.Errorf("tried %d times until %v, want a try every 6 h at the end, until a day is over", n, last)
	}
	for _, v := range h.ids() {
		if v != id {
			t.Errorf("the id %s, want %s each time", v, id)
		}
	}
	good.Store(true)
	w.deliver(c, 0)
	replays := []func(tx *store.Tx) error{
		func(tx *store.Tx) error { _, err := tx.ReplayDead(h.ID, 10); return err },
		func(tx *store.Tx) error { _, err := tx.ReplayWebhook(h.ID, dead[0].Event); return err },
	}
	for _, replay := range replays {
		before := len(h.visits())
		w.write(replay)
		w.clock.Advance(5 * time.Minute) // the endpoint's rest
		w.deliver(c, 1)
		if got := h.ids()[before:]; !slices.Equal(got, []string{id}) {
			t.Errorf("replayed as %v, want %s", got, id)
		}
	}
}

func TestCourier_410DisablesTheEndpoint(t *testing.T) {
	w := newTown(t)
	h := w.build(status(http.StatusGone))
	w.happen(store.NewUserID(), "user.updated", "user.banned")
	c := w.courier()
	w.deliver(c, 0)
	w.clock.Advance(10 * time.Hour)
	w.deliver(c, 0)
	if n := len(h.visits()); n != 1 || !w.endpoint(h).Disabled {
		t.Errorf("%d visits, disabled: %v; want one, and no more", n, w.endpoint(h).Disabled)
	}
	if dead := w.deliveries(h, store.WebhookDead); len(dead) != 1 || dead[0].Status != 410 {
		t.Errorf("dead are %+v, want the first with its status", dead)
	}
	w.happen(store.NewUserID(), "user.updated")
	if n := len(w.deliveries(h, "")); n != 2 {
		t.Errorf("%d deliveries, want none of what happens later", n)
	}
}

// However many wait for an endpoint that is slow, it has two hands, and others
// are served meanwhile.
func TestRun_aSlowEndpointKeepsNobodyWaiting(t *testing.T) {
	w := newTown(t)
	release, began := make(chan struct{}), make(chan struct{}, 100)
	slow := w.build(func(http.ResponseWriter, *http.Request) { began <- struct{}{}; <-release })
	for range 30 {
		w.happen(store.NewUserID(), "user.updated")
	}
	w.clock.Advance(time.Second)
	served := make(chan struct{}, 100)
	w.build(func(http.ResponseWriter, *http.Request) { served <- struct{}{} })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	c := w.courier()
	go func() { ended <- c.Run(ctx) }()
	<-began
	<-began
	for range 10 {
		w.happen(store.NewUserID(), "user.updated")
		c.Wake()
		<-served
	}
	slow.mu.Lock()
	if slow.most != 2 {
		t.Errorf("%d hands were at the slow one, want 2", slow.most)
	}
	slow.mu.Unlock()
	close(release)
	for range 38 { // and it goes on at once
		<-began
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestCourier_anEndpointThatFailsRests(t *testing.T) {
	w := newTown(t)
	var good atomic.Bool
	h := w.build(func(rw http.ResponseWriter, _ *http.Request) {
		if !good.Load() {
			rw.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	for range 30 {
		w.happen(store.NewUserID(), "user.updated")
	}
	c := w.courier()
	w.deliver(c, 0)
	if n := len(h.visits()); n < 5 || n > 6 { // two hands may be there at the fifth failure
		t.Fatalf("%d visits before it rests, want 5", n)
	}
	for pause := 10 * time.Second; pause < 3*time.Minute; pause *= 2 {
		before := len(h.visits())
		w.clock.Advance(pause)
		w.deliver(c, 0)
		if n := len(h.visits()) - before; n != 1 {
			t.Errorf("%d visits after a rest of %v, want one", n, pause)
		}
	}
	good.Store(true)
	w.clock.Advance(5 * time.Minute)
	w.deliver(c, 30)
	if e := w.endpoint(h); e.Failures != 0 || !e.RestUntil.IsZero() {
		t.Errorf("after it came back: %+v", e)
	}
}

func TestCourier_buriesAnEventThatIsNoLongerKept(t *testing.T) {
	w := newTown(t)
	h := w.build(nil)
	u := store.NewUserID()
	w.seq++
	w.write(func(tx *store.Tx) error { // as if its row were swept
		return tx.FanOut([]store.TrailEvent{{Seq: w.seq, ID: store.EventID(store.NewDeliveryID()), Name: "user.updated", UserID: u}})
	})
	ids := w.happen(u, "user.banned")
	w.deliver(w.courier(), 1)
	if got := h.ids(); !slices.Equal(got, ids) {
		t.Errorf("sent %v, want the one that is kept, %v", got, ids)
	}
	if dead := w.deliveries(h, store.WebhookDead); len(dead) != 1 || dead[0].Error != "the event is no longer kept" || w.endpoint(h).Failures != 0 {
		t.Errorf("dead are %+v", dead)
	}
}

// What fails on our side is no failure of the endpoint's, and is told to
// nobody but the log.
func TestCourier_itsOwnFailuresHarmNoEndpoint(t *testing.T) {
	for name, change := range map[string]func(*webhook.CourierOptions){
		"the secret": func(o *webhook.CourierOptions) {
			o.Open = func(store.TenantID, store.WebhookID, []byte) (webhook.Secret, error) {
				return nil, fmt.Errorf("key 7 of hunter2: %w", store.ErrNotFound)
			}
		},
		"no secret": func(o *webhook.CourierOptions) {
			o.Open = func(store.TenantID, store.WebhookID, []byte) (webhook.Secret, error) { return nil, nil }
		},
		"the body": func(o *webhook.CourierOptions) {
			o.Payload = func(store.TenantID, store.Event) ([]byte, error) { return nil, errors.New("hunter2") }
		},
		"a panic": func(o *webhook.CourierOptions) {
			o.Payload = func(store.TenantID, store.Event) ([]byte, error) { panic("hunter2") }
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTown(t)
			h := w.build(nil)
			ids := w.happen(store.NewUserID(), "user.updated")
			broken := w.courier(change)
			for range 6 {
				w.deliver(broken, 0)
				w.clock.Advance(10 * time.Minute)
			}
			due := w.deliveries(h, store.WebhookDue)
			if len(due) != 1 || due[0].Error == "" || strings.Contains(due[0].Error, "hunter2") || strings.Contains(w.log.String(), "hunter2") {
				t.Errorf("it is %+v; want it kept, and nothing told\n%s", due, w.log)
			}
			if len(h.visits()) != 0 || w.endpoint(h).Failures != 0 {
				t.Errorf("%d visits, %+v", len(h.visits()), w.endpoint(h))
			}
			w.deliver(w.courier(), 1)
			if got := h.ids(); !slices.Equal(got, ids) {
				t.Errorf("sent %v, want %v", got, ids)
			}
		})
	}
}

// What an event's processes die of ends by itself.
func TestCourier_givesUpWhatIsNeverFinished(t *testing.T) {
	w := newTown(t)
	h := w.build(nil)
	w.happen(store.NewUserID(), "user.updated")
	for range 60 {
		w.write(func(tx *store.Tx) error {
			_, err := tx.TakeWebhooks(8, time.Second, 8, nil)
			return err
		})
		w.clock.Advance(time.Second)
	}
	w.deliver(w.courier(), 0)
	if dead := w.deliveries(h, store.WebhookDead); len(dead) != 1 || len(h.visits()) != 0 {
		t.Errorf("%+v after %d visits, want it dead", dead, len(h.visits()))
	}
}

func TestRun_finishesWhatIsUnderWay(t *testing.T) {
	w := newTown(t)
	release, began := make(chan struct{}), make(chan struct{})
	h := w.build(func(http.ResponseWriter, *http.Request) { close(began); <-release })
	w.happen(store.NewUserID(), "user.updated", "user.banned")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	c := w.courier()
	go func() { ended <- c.Run(ctx) }()
	<-began
	cancel()
	close(release)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n, m := len(w.deliveries(h, store.WebhookDelivered)), len(w.deliveries(h, store.WebhookDue)); n != 1 || m != 1 {
		t.Errorf("%d are delivered and %d due, want one of each", n, m)
	}
}

func TestEventBody_isStandardWebhooks(t *testing.T) {
	u, s := store.UserID{15: 1}, store.SessionID{15: 2}
	at := time.Date(2030, 1, 2, 3, 4, 5, 678_901_000, time.UTC)
	for name, tc := range map[string]struct {
		tenant store.TenantID
		event  store.Event
		want   string
	}{
		"whole": {
			storetest.Other(),
			store.Event{ID: store.EventID{15: 3}, Name: "session.opened", Actor: u.String(), UserID: u, SessionID: s, IP: "192.0.2.7", Data: []byte(`{"method":"password","user_id":"eve","n":1.50}`), CreatedAt: at},
			`{"data":{"actor":"00000000-0000-0000-0000-000000000001","method":"password","n":1.50,"session_id":"00000000-0000-0000-0000-000000000002","user_id":"00000000-0000-0000-0000-000000000001"},` +
				`"id":"evt_00000000-0000-0000-0000-000000000003","tenant":"00000000-0000-0000-0000-000000000002","timestamp":"2030-01-02T03:04:05.678901Z","type":"session.opened"}`,
		},
		"bare": {
			home,
			store.Event{Name: "key.rotated", Actor: "system", Data: []byte(`{"session_id":"eve"}`), CreatedAt: at.Truncate(time.Second)},
			`{"data":{"actor":"system"},"id":"evt_00000000-0000-0000-0000-000000000000","timestamp":"2030-01-02T03:04:05Z","type":"key.rotated"}`,
		},
	} {
		got, err := webhook.EventBody(tc.tenant, tc.event)
		if string(got) != tc.want || err != nil {
			t.Errorf("%s: got  %s, %v\nwant %s", name, got, err, tc.want)
		}
	}
	_, err := webhook.EventBody(home, store.Event{Data: []byte(`["hunter2"]`)})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("data that is no object: %v", err)
	}
}
