package outbox_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/notify"
	"gatehouse/internal/outbox"
	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

const number = "491512345678"

// crew is a worker's hands for everything but mail. It remembers what each was
// given.
type crew struct {
	text, work, unsent func(ctx context.Context) error // nil: always well

	db *store.DB // where tasks are marked as done

	mu    sync.Mutex
	calls []call
}

// call is one that a crew was given.
type call struct {
	What   string // text, work, unsent
	Tenant store.TenantID
	ID, To string // of a text message
	Words  string
	Body   string
}

func (c *crew) keep(l call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, l)
}

// count returns how often something was called.
func (c *crew) count(what string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.calls {
		if l.What == what {
			n++
		}
	}
	return n
}

func (c *crew) Text(ctx context.Context, m notify.SMS, words string) error {
	c.keep(call{What: "text", ID: m.ID, To: m.To, Words: words})
	return perhaps(ctx, c.text)
}

func (c *crew) Work(ctx context.Context, tenant store.TenantID, body []byte, done func(*store.Tx) error) error {
	c.keep(call{What: "work", Tenant: tenant, Body: string(body)})
	err := perhaps(ctx, c.work)
	if err != nil {
		return err
	}
	return c.db.Write(ctx, tenant, done)
}

func (c *crew) Unsent(ctx context.Context, tenant store.TenantID, body []byte) error {
	c.keep(call{What: "unsent", Tenant: tenant, Body: string(body)})
	return perhaps(ctx, c.unsent)
}

func perhaps(ctx context.Context, fn func(context.Context) error) error {
	if fn == nil {
		return nil
	}
	return fn(ctx)
}

func always(err error) func(context.Context) error {
	return func(context.Context) error { return err }
}

// bare are the words of a text message: its code.
type bare struct{}

func (bare) Render(m notify.SMS) string { return "code " + m.Code }

// handing is a worker with that crew, and with one hand.
func (r *rig) handing(c *crew) *outbox.Worker {
	c.db = r.db
	p := r.post(&sender{})
	p.Texter, p.Words = c, bare{}
	return outbox.New(r.by(c, p))
}

// by has a crew do each tenant's work, with one hand, and hear whose it was.
func (r *rig) by(c *crew, p *outbox.Post) outbox.Options {
	o := r.options(p)
	o.Workers = 1
	o.Post = func(_ context.Context, tenant store.TenantID) (*outbox.Post, error) {
		own := *p
		own.Work = func(ctx context.Context, body []byte, done func(*store.Tx) error) error {
			return c.Work(ctx, tenant, body, done)
		}
		own.Unsent = func(ctx context.Context, body []byte) error { return c.Unsent(ctx, tenant, body) }
		return &own, nil
	}
	return o
}

// leave commits a delivery of a kind, sealed as the core does it, for a tenant.
func (r *rig) leave(tenant store.TenantID, kind, body string, ttl time.Duration) string {
	r.t.Helper()
	id := store.NewDeliveryID()
	d := store.Delivery{ID: id, Kind: kind, Body: r.root.Seal(store.DeliverySeal, id[:], []byte(body))}
	if ttl != 0 {
		d.ExpiresAt = r.db.Now().Add(ttl)
	}
	err := r.db.Write(context.Background(), tenant, func(tx *store.Tx) error { return tx.AddDelivery(d) })
	if err != nil {
		r.t.Fatal(err)
	}
	return id.String()
}

// smsBody is a text message as the core leaves it: with what it was for.
func smsBody(t testing.TB) string {
	t.Helper()
	body, err := json.Marshal(struct {
		notify.SMS
		User string `json:"user"`
	}{notify.SMS{Kind: notify.SMSCode, To: number, Code: code}, "2b6f0cc9"})
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

const taskBody = `{"op":"recover","to":{"email":"ada@example.com","phone":"` + number + `"},"links":["https://auth.example/verify?token=` + link + `"]}`

// silent checks that nothing of a message is told.
func (r *rig) silent(what string) {
	r.t.Helper()
	for _, s := range []string{number, number[2:], code, link, "ada@", "verify?"} {
		if strings.Contains(what, s) {
			r.t.Errorf("%q is told:\n%s", s, what)
		}
	}
}

func TestDeliverNow_textsWhatACommitPromised(t *testing.T) {
	r := newRig(t)
	id := r.leave(storetest.Other(), store.DeliverSMS, smsBody(t), time.Hour)
	c := &crew{}
	r.deliver(r.handing(c), 1)
	r.deliver(r.handing(c), 0)
	if diff := cmp.Diff([]call{{What: "text", ID: id, To: number, Words: "code " + code}}, c.calls); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	r.count(0, 0)
	if log := r.log.String(); !strings.Contains(log, id) || !strings.Contains(log, "kind=sms") || !strings.Contains(log, "sms=code") {
		t.Errorf("the log does not name the delivery:\n%s", log)
	}
	r.silent(r.log.String())
}

// However a text message comes to its end unsent, what it was for is taken
// back, once, and as its tenant's.
func TestDeliverNow_takesBackWhatAnUnsentTextWasFor(t *testing.T) {
	for _, tc := range []struct {
		name  string
		ttl   time.Duration
		text  func(context.Context) error // nil: always well
		mute  bool                        // no service is set up
		run   func(r *rig, w *outbox.Worker)
		texts int
		dead  int
	}{
		{
			name: "refused for good", ttl: time.Hour, text: always(&notify.PermanentError{Err: errors.New("no such number " + number)}),
			run: func(r *rig, w *outbox.Worker) { r.deliver(w, 0) }, texts: 1, dead: 1,
		},
		{
			name: "expired", ttl: 10 * time.Minute,
			run: func(r *rig, w *outbox.Worker) { r.clock.Advance(10 * time.Minute); r.deliver(w, 0) },
		},
		{
			name: "expired without a service for it", ttl: 10 * time.Minute, mute: true,
			run: func(r *rig, w *outbox.Worker) {
				r.deliver(w, 0)
				r.count(1, 0)
				r.clock.Advance(10 * time.Minute)
				r.deliver(w, 0)
			},
		},
		{
			name: "given up after a day", text: always(errors.New("503 for +" + number)),
			run: func(r *rig, w *outbox.Worker) {
				r.deliver(w, 0)
				r.clock.Advance(24 * time.Hour)
				r.deliver(w, 0)
				r.count(1, 0) // a day to the microsecond
				r.clock.Advance(5 * time.Minute)
				r.deliver(w, 0)
			}, texts: 3, dead: 1,
		},
		{
			name: "never finished", ttl: 1000 * time.Hour,
			run: func(r *rig, w *outbox.Worker) { r.crash(80, 0); r.deliver(w, 0) }, dead: 1,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t)
			body := smsBody(t)
			r.leave(storetest.Other(), store.DeliverSMS, body, tc.ttl)
			c := &crew{text: tc.text}
			w := r.handing(c)
			if tc.mute {
				c.db = r.db
				w = outbox.New(r.by(c, &outbox.Post{Root: r.root}))
			}
			tc.run(r, w)
			r.count(0, tc.dead)
			r.clock.Advance(24 * time.Hour)
			r.deliver(w, 0)
			if got := c.count("text"); got != tc.texts {
				t.Errorf("texted %d times, want %d", got, tc.texts)
			}
			r.silent(r.log.String())
			if got := c.count("unsent"); got != 1 {
				t.Fatalf("taken back %d times, want once\n%s", got, r.log)
			}
			if last := c.calls[len(c.calls)-1]; last.Tenant != storetest.Other() || last.Body != body {
				t.Errorf("taken back: %+v; want the body, of the other tenant", last)
			}
		})
	}
}

// The end of the server cuts nothing off that must be taken back.
func TestDeliverNow_takesBackWhileTheServerEnds(t *testing.T) {
	r := newRig(t)
	r.leave(store.TenantID{}, store.DeliverSMS, smsBody(t), time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	c := &crew{text: func(context.Context) error {
		cancel()
		return &notify.PermanentError{Err: errors.New("no")}
	}, unsent: func(ctx context.Context) error { return ctx.Err() }}
	_, err := r.handing(c).DeliverNow(ctx)
	if !errors.Is(err, context.Canceled) || c.count("unsent") != 1 || strings.Contains(r.log.String(), "could not be taken back") {
		t.Errorf("%v; taken back %d times, want once\n%s", err, c.count("unsent"), r.log)
	}
	r.count(0, 1)
}

// A worker that was paused while texting does not take back what the next one
// has sent.
func TestDeliverNow_lateWorkerTakesNothingBack(t *testing.T) {
	r := newRig(t)
	r.leave(store.TenantID{}, store.DeliverSMS, smsBody(t), time.Hour)
	next := &crew{}
	late := &crew{text: func(context.Context) error {
		r.clock.Advance(time.Minute)
		n, err := r.handing(next).DeliverNow(t.Context())
		if n != 1 || err != nil {
			t.Errorf("the next worker sent %d, %v; want 1", n, err)
		}
		return &notify.PermanentError{Err: errors.New("no")}
	}}
	r.deliver(r.handing(late), 0)
	if n := late.count("unsent") + next.count("unsent"); n != 0 {
		t.Errorf("taken back %d times, although it was sent", n)
	}
	r.count(0, 0)
}

// What is taken back in vain is told, and neither number nor code with it.
func TestDeliverNow_survivesATakingBackThatFails(t *testing.T) {
	for name, unsent := range map[string]func(context.Context) error{
		"an error": always(fmt.Errorf("Duplicate entry '%s' for %s", number, "key")),
		"a panic":  func(context.Context) error { panic("no user for " + number) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.leave(store.TenantID{}, store.DeliverSMS, smsBody(t), time.Hour)
			r.clock.Advance(time.Hour)
			r.deliver(r.handing(&crew{unsent: unsent}), 0)
			if !strings.Contains(r.log.String(), "could not be taken back") {
				t.Errorf("the log does not tell:\n%s", r.log)
			}
			r.silent(r.log.String())
			r.count(0, 0)
		})
	}
}

func TestDeliverNow_textsAgainAfterAFailure(t *testing.T) {
	r := newRig(t)
	id := r.leave(store.TenantID{}, store.DeliverSMS, smsBody(t), time.Hour)
	c := &crew{text: always(errors.New("503"))}
	w := r.handing(c)
	wait := 5 * time.Second
	for try := 1; try <= 6; try++ {
		r.deliver(w, 0)
		if got := c.count("text"); got != try {
			t.Fatalf("%d attempts, want %d", got, try)
		}
		r.clock.Advance(wait*3/4 - time.Microsecond)
		r.deliver(w, 0)
		if got := c.count("text"); got != try {
			t.Fatalf("attempt %d came before three quarters of %v", got, wait)
		}
		r.clock.Advance(wait/4 + time.Microsecond)
		wait *= 2
	}
	c.text = func(context.Context) error {
		if c.count("text") == 7 {
			panic("cannot text " + number)
		}
		return nil
	}
	r.deliver(w, 0)
	r.clock.Advance(5 * time.Minute)
	r.deliver(w, 1)
	for _, l := range c.calls {
		if l.What != "text" || l.ID != id {
			t.Errorf("%+v; want the same message each time, and nothing taken back", l)
		}
	}
	r.silent(r.log.String())
	r.count(0, 0)
}

func TestDeliverNow_doesNotTextWhenTheLeaseIsOver(t *testing.T) {
	r := newRig(t)
	r.leave(store.TenantID{}, store.DeliverSMS, smsBody(t), time.Hour)
	c, paused := &crew{}, false
	w := outbox.New(r.options(&outbox.Post{
		Root: r.root, Texter: c,
		Words: pausing{func() {
			if !paused {
				paused = true
				r.clock.Advance(time.Minute)
			}
		}},
	}))
	r.deliver(w, 1)
	if n := c.count("text"); n != 1 {
		t.Errorf("texted %d times, want once: the first lease was over before", n)
	}
	if !strings.Contains(r.log.String(), "the lease ran out before sending") {
		t.Errorf("the log does not say that the lease ran out:\n%s", r.log)
	}
}

// pausing are words that take a while.
type pausing struct{ pause func() }

func (p pausing) Render(notify.SMS) string {
	p.pause()
	return "code"
}

func TestDeliverNow_doesWhatARequestLeft(t *testing.T) {
	r := newRig(t)
	r.leave(storetest.Other(), store.DeliverTask, taskBody, time.Hour)
	c := &crew{}
	c.work = func(context.Context) error { // as the core does: it leaves a mail
		r.queue(mail("ada@example.com"), time.Hour)
		return nil
	}
	r.deliver(r.handing(c), 2)
	r.deliver(r.handing(c), 0)
	if diff := cmp.Diff([]call{{What: "work", Tenant: storetest.Other(), Body: taskBody}}, c.calls); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	r.count(0, 0)
	if log := r.log.String(); !strings.Contains(log, "kind=task") {
		t.Errorf("the log does not name the delivery:\n%s", log)
	}
	r.silent(r.log.String())
}

// A task that fails or panics is tried again, soon at first, until it is done
// or nobody waits for it any more. Nothing of it is told.
func TestDeliverNow_losesNoTaskThatFails(t *testing.T) {
	for name, work := range map[string]func(context.Context) error{
		"an error":            always(fmt.Errorf("auth: Error 1062 (23000): Duplicate entry '\\x00-%s' for key 'users_phone' of ada@example.com, %s", number, link)),
		"an error of a limit": func(ctx context.Context) error { return context.DeadlineExceeded },
		"a panic":             func(context.Context) error { panic("no task for " + number) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.leave(store.TenantID{}, store.DeliverTask, taskBody, 1000*time.Hour)
			c := &crew{work: work}
			w := r.handing(c)
			waits := []time.Duration{1, 1, 1, 5, 10, 20, 40, 80, 160, 300, 300}
			for try, wait := range waits {
				r.deliver(w, 0)
				r.count(1, 0)
				if got := c.count("work"); got != try+1 {
					t.Fatalf("%d attempts, want %d\n%s", got, try+1, r.log)
				}
				if wait == 1 {
					r.clock.Advance(time.Second - time.Microsecond)
				} else {
					r.clock.Advance(wait*time.Second*3/4 - time.Microsecond)
				}
				r.deliver(w, 0)
				if got := c.count("work"); got != try+1 {
					t.Fatalf("attempt %d came too soon", got)
				}
				r.clock.Advance(wait*time.Second/4 + time.Microsecond)
			}
			r.silent(r.log.String())
			c.work = nil
			r.deliver(w, 1)
			r.count(0, 0)
			if c.count("unsent") != 0 {
				t.Error("a task was taken back")
			}
		})
	}
}

func TestDeliverNow_dropsATaskNobodyWaitsFor(t *testing.T) {
	r := newRig(t)
	r.leave(store.TenantID{}, store.DeliverTask, taskBody, time.Hour)
	c := &crew{work: always(errors.New("not now"))}
	w := r.handing(c)
	r.deliver(w, 0)
	r.clock.Advance(time.Hour)
	r.deliver(w, 0)
	r.count(0, 0)
	if c.count("work") != 1 || c.count("unsent") != 0 {
		t.Errorf("%+v; want one attempt, and nothing taken back", c.calls)
	}
}

// What this program cannot do, one that can may: it waits, and no body is lost.
func TestDeliverNow_leavesWhatAnotherVersionCanDeliver(t *testing.T) {
	r := newRig(t)
	for _, kind := range []string{store.DeliverSMS, store.DeliverTask, "pigeon"} {
		r.leave(store.TenantID{}, kind, smsBody(t), time.Hour)
	}
	r.deliver(r.worker(&sender{}), 0) // knows neither
	r.count(3, 0)
	r.clock.Advance(time.Minute)
	c := &crew{}
	r.deliver(r.handing(c), 2)
	if c.count("text") != 1 || c.count("work") != 1 {
		t.Errorf("%+v; want one of each", c.calls)
	}
	r.count(1, 0)
}

// Rubbish is no reason to try again, but for a task's, which Work judges.
func TestDeliverNow_buriesATextThatIsNone(t *testing.T) {
	r := newRig(t)
	r.leave(store.TenantID{}, store.DeliverSMS, "rubbish "+number, time.Hour)
	c := &crew{}
	r.deliver(r.handing(c), 0)
	r.count(0, 1)
	if c.count("text") != 0 {
		t.Error("texted rubbish")
	}
	r.silent(r.log.String())
}

// The row that is kept of a failure tells neither number nor code.
func TestDeliverNow_keepsNoNumberWithAFailure(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gatehouse.db")
	clock := storetest.NewClock()
	db, err := store.Open(t.Context(), store.Options{URL: "sqlite:" + path, Synchronous: "NORMAL", Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	_, err = db.Migrate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := newRigOn(t, db)
	said := fmt.Errorf("refused: 21211 the number +%s (%s) with your text \"code %s\" for ada@example.com and https://auth.example/verify?token=%s", number, number, code, link)
	r.leave(store.TenantID{}, store.DeliverSMS, smsBody(t), time.Hour)
	r.leave(store.TenantID{}, store.DeliverTask, taskBody, time.Hour)
	r.deliver(r.handing(&crew{text: always(&notify.PermanentError{Err: said}), work: always(errors.New("no: Duplicate entry '" + number + "' of ada@example.com"))}), 0)
	pool, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var texted, worked string
	var size int
	err = pool.QueryRow(`SELECT last_error, length(body) FROM outbox WHERE kind = 'sms' AND dead_at > 0`).Scan(&texted, &size)
	if err != nil || size != 0 || !strings.Contains(texted, "refused: 21211") {
		t.Errorf("the text message's row keeps %d bytes of its body and says %q, %v; want the reason alone", size, texted, err)
	}
	err = pool.QueryRow(`SELECT last_error, length(body) FROM outbox WHERE kind = 'task' AND dead_at = 0`).Scan(&worked, &size)
	if err != nil || size == 0 || !strings.Contains(worked, "no: Duplicate entry") {
		t.Errorf("the task's row keeps %d bytes of its body and says %q, %v; want its body and the reason", size, worked, err)
	}
	r.silent(texted)
	r.silent(worked)
	r.silent(r.log.String())
}
