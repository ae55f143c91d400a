package outbox_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gatehouse/internal/notify"
	"gatehouse/internal/outbox"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(engines{m}) }

// engines runs every test on every engine.
type engines struct{ m *testing.M }

func (e engines) Run() int { return storetest.Main(e.m) }

// rig is a database with an outbox, and what is needed to fill and empty it.
type rig struct {
	t     testing.TB
	db    *store.DB
	clock *storetest.Clock // nil in a synctest bubble
	root  *secret.Root
	log   *lines
}

func newRig(t testing.TB) *rig {
	db, clock := storetest.New(t)
	r := newRigOn(t, db)
	r.clock = clock
	return r
}

func newRigOn(t testing.TB, db *store.DB) *rig {
	t.Helper()
	root, err := secret.NewRoot(secret.GenerateRoot())
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t: t, db: db, root: root, log: &lines{}}
}

const (
	code = "482915"
	link = "Yk3v0QmS8dF2hJ5nB7xC1zR4tW6pL9aG0eU8iO2sD5k"
)

// mail is a magic link for an address.
func mail(to string) notify.Mail {
	return notify.Mail{Kind: notify.MagicLink, To: to, Vars: notify.Vars{
		SiteURL: "https://site.example", Email: to, SendingTo: to, Token: code, TokenHash: link,
		ConfirmationURL: "https://auth.example/verify?token=" + link,
	}}
}

// queue commits a promise to send m, sealed as the core does it.
func (r *rig) queue(m notify.Mail, ttl time.Duration) string {
	r.t.Helper()
	return r.queueFor(store.TenantID{}, m, ttl)
}

// queueFor is queue in the name of a tenant.
func (r *rig) queueFor(tenant store.TenantID, m notify.Mail, ttl time.Duration) string {
	r.t.Helper()
	id := store.NewDeliveryID()
	m.ID = id.String()
	body, err := json.Marshal(m)
	if err != nil {
		r.t.Fatal(err)
	}
	r.addFor(tenant, store.Delivery{
		ID: id, Kind: store.DeliverMail, Body: r.root.Seal(store.DeliverySeal, id[:], body), ExpiresAt: r.db.Now().Add(ttl),
	})
	return m.ID
}

func (r *rig) add(d store.Delivery) {
	r.t.Helper()
	r.addFor(store.TenantID{}, d)
}

func (r *rig) addFor(tenant store.TenantID, d store.Delivery) {
	r.t.Helper()
	err := r.db.Write(context.Background(), tenant, func(tx *store.Tx) error { return tx.AddDelivery(d) })
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) worker(s notify.Sender) *outbox.Worker { return outbox.New(r.options(r.post(s))) }

// alone is a worker with one hand: while it delivers it takes nothing.
func (r *rig) alone(s notify.Sender) *outbox.Worker {
	o := r.options(r.post(s))
	o.Workers = 1
	return outbox.New(o)
}

// post is how every tenant's mail leaves.
func (r *rig) post(s notify.Sender) *outbox.Post {
	return &outbox.Post{Root: r.root, Templates: notify.NewTemplates(notify.Options{}), Sender: s}
}

func (r *rig) options(p *outbox.Post) outbox.Options {
	return outbox.Options{
		DB: r.db, Log: slog.New(slog.NewTextHandler(r.log, nil)),
		Post: func(context.Context, store.TenantID) (*outbox.Post, error) { return p, nil },
	}
}

// deliver runs DeliverNow and checks how many were sent.
func (r *rig) deliver(w *outbox.Worker, want int) {
	r.t.Helper()
	n, err := w.DeliverNow(context.Background())
	if n != want || err != nil {
		r.t.Fatalf("DeliverNow sent %d, error %v; want %d\n%s", n, err, want, r.log)
	}
}

func (r *rig) count(wantWaiting, wantDead int) {
	r.t.Helper()
	var waiting, dead int
	err := r.db.Read(context.Background(), store.TenantID{}, func(tx *store.Tx) (err error) {
		waiting, dead, err = tx.CountDeliveries()
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if waiting != wantWaiting || dead != wantDead {
		r.t.Fatalf("%d wait and %d are dead, want %d and %d\n%s", waiting, dead, wantWaiting, wantDead, r.log)
	}
}

// sender is a function that sends, and remembers what it was given.
type sender struct {
	do func(ctx context.Context, m notify.Mail) error // nil: always well

	mu  sync.Mutex
	ids []string // every attempt, in order
}

func (s *sender) Send(ctx context.Context, m notify.Mail, _ notify.Rendered) error {
	s.mu.Lock()
	s.ids = append(s.ids, m.ID)
	s.mu.Unlock()
	if s.do == nil {
		return nil
	}
	return s.do(ctx, m)
}

// attempts returns the ids of all attempts so far.
func (s *sender) attempts() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ids)
}

func failing(err error) *sender {
	return &sender{do: func(context.Context, notify.Mail) error { return err }}
}

// lines is a log that may be written from many goroutines.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestDeliverNow_sendsWhatACommitPromised(t *testing.T) {
	r := newRig(t)
	inbox := notify.NewInbox(r.clock.Now)
	id := r.queue(mail("ada@example.com"), time.Hour)
	r.deliver(r.worker(inbox), 1)
	m, ok := inbox.Find(id)
	if !ok {
		t.Fatalf("no mail with the delivery's id %s arrived: %+v", id, inbox.Messages())
	}
	if m.To != "ada@example.com" || m.Kind != notify.MagicLink || m.Code != code || !strings.Contains(m.Text, link) {
		t.Errorf("got mail %+v, want the one that was queued", m)
	}
	r.count(0, 0)
	r.deliver(r.worker(inbox), 0)
}

func TestDeliverNow_fourWorkersSendEachMailOnce(t *testing.T) {
	r := newRig(t)
	var want []string
	for range 30 {
		want = append(want, r.queue(mail("ada@example.com"), time.Hour))
	}
	s := &sender{}
	var sent [4]int
	var group sync.WaitGroup
	for i := range sent {
		w := r.worker(s)
		group.Go(func() {
			var err error
			sent[i], err = w.DeliverNow(t.Context())
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	got := s.attempts()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("sent %d mails, want each of the %d once: %q", len(got), len(want), got)
	}
	if sum := sent[0] + sent[1] + sent[2] + sent[3]; sum != 30 {
		t.Errorf("the workers say they sent %v, %d in all, want 30", sent, sum)
	}
	r.count(0, 0)
}

func TestDeliverNow_resendsWithTheSameIDAfterACrash(t *testing.T) {
	r := newRig(t)
	id := r.queue(mail("ada@example.com"), time.Hour)
	// A process that took it, sent it and died: the row stays leased.
	err := r.db.Write(t.Context(), store.TenantID{}, func(tx *store.Tx) error {
		_, err := tx.TakeDeliveries(10, time.Minute)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &sender{}
	r.clock.Advance(time.Minute - time.Microsecond)
	r.deliver(r.worker(s), 0)
	r.clock.Advance(time.Microsecond)
	r.deliver(r.worker(s), 1)
	if got := s.attempts(); !slices.Equal(got, []string{id}) {
		t.Errorf("sent %q, want %q, so that receivers recognise it", got, id)
	}
	r.count(0, 0)
}

func TestDeliverNow_lateWorkerDoesNotSpeakForTheNext(t *testing.T) {
	r := newRig(t)
	r.queue(mail("ada@example.com"), time.Hour)
	taken, release := make(chan struct{}), make(chan struct{})
	second := r.worker(&sender{do: func(context.Context, notify.Mail) error {
		close(taken)
		<-release
		return errors.New("the mail server went away")
	}})
	var group sync.WaitGroup
	first := r.alone(&sender{do: func(context.Context, notify.Mail) error {
		r.clock.Advance(time.Minute) // paused while sending: the lease is over
		group.Go(func() {
			if n, err := second.DeliverNow(t.Context()); n != 0 || err != nil {
				t.Errorf("the second worker sent %d, %v; want 0", n, err)
			}
		})
		<-taken
		return nil
	}})
	r.deliver(first, 1)
	r.count(1, 0) // the second worker's delivery, and still its business
	if !strings.Contains(r.log.String(), "the lease ran out while sending") {
		t.Errorf("the log does not say that the lease ran out:\n%s", r.log)
	}
	close(release)
	group.Wait()
	r.count(1, 0)
}

// slowTemplates turn the clock while they render.
type slowTemplates struct{ pause func() }

func (s slowTemplates) Render(context.Context, notify.Mail) (notify.Rendered, error) {
	s.pause()
	return notify.Rendered{Subject: "Hello", Text: "Hello"}, nil
}

func TestDeliverNow_doesNotSendWhenTheLeaseIsOver(t *testing.T) {
	r := newRig(t)
	r.queue(mail("ada@example.com"), time.Hour)
	s, paused := &sender{}, false
	w := outbox.New(r.options(&outbox.Post{
		Root: r.root, Sender: s,
		Templates: slowTemplates{func() {
			if !paused {
				paused = true
				r.clock.Advance(time.Minute)
			}
		}},
	}))
	r.deliver(w, 1)
	if got := len(s.attempts()); got != 1 {
		t.Errorf("%d mails left, want 1: the first lease was over before sending", got)
	}
	if !strings.Contains(r.log.String(), "the lease ran out before sending") {
		t.Errorf("the log does not say that the lease ran out:\n%s", r.log)
	}
}

func TestDeliverNow_endsWithItsContextAndPutsBack(t *testing.T) {
	r := newRig(t)
	id := r.queue(mail("ada@example.com"), time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	w := r.worker(&sender{do: func(ctx context.Context, _ notify.Mail) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	}})
	n, err := w.DeliverNow(ctx)
	if n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("got %d, %v; want 0 and the context's error", n, err)
	}
	s := &sender{}
	r.deliver(r.worker(s), 1) // at once: to be stopped is no failure
	if got := s.attempts(); !slices.Equal(got, []string{id}) {
		t.Errorf("sent %q, want %q", got, id)
	}
}
