package outbox_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/notify"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

// What waits may still be of use when the mail server is back: nobody counts
// the tries of that time, and nobody waits long once it is over.
func TestDeliverNow_backsOffToFiveMinutesAndNoFurther(t *testing.T) {
	r := newRig(t)
	r.queue(mail("ada@example.com"), 100*time.Hour)
	s := failing(errors.New("421 try again later"))
	w := r.worker(s)
	wait := 5 * time.Second
	for try := 1; try <= 400; try++ {
		r.deliver(w, 0)
		if got := len(s.attempts()); got != try {
			t.Fatalf("%d attempts, want %d: the wait before it was to be at most %v", got, try, wait/2)
		}
		r.count(1, 0)
		r.clock.Advance(wait*3/4 - time.Microsecond)
		r.deliver(w, 0)
		if got := len(s.attempts()); got != try {
			t.Fatalf("attempt %d came before three quarters of %v", got, wait)
		}
		r.clock.Advance(wait/4 + time.Microsecond)
		wait = min(2*wait, 5*time.Minute)
	}
}

func TestDeliverNow_sendsWhatIsStillGoodAfterAnOutage(t *testing.T) {
	r := newRig(t)
	r.queue(mail("ada@example.com"), time.Hour)
	down := r.worker(failing(errors.New("connection refused")))
	for range 45 * 12 {
		r.deliver(down, 0)
		r.clock.Advance(5 * time.Second)
	}
	r.clock.Advance(5 * time.Minute)
	r.deliver(r.worker(&sender{}), 1)
}

func TestDeliverNow_jitterSpreadsTheNextAttempts(t *testing.T) {
	r := newRig(t)
	for range 40 {
		r.queue(mail("ada@example.com"), time.Hour)
	}
	s := failing(errors.New("421 try again later"))
	w := r.worker(s)
	r.deliver(w, 0)
	r.clock.Advance(5 * time.Second * 7 / 8) // the middle of the span
	r.deliver(w, 0)
	if n := len(s.attempts()) - 40; n == 0 || n == 40 {
		t.Errorf("%d of 40 failed mails were due half way through the jitter, want some", n)
	}
}

func TestDeliverNow_givesUpByAge(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		name string
		ends time.Duration // zero: never
		most time.Duration
	}{
		{"what has no end, after a day", 0, day},
		{"what is good for longer, after a week", 100 * day, 7 * day},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			d := store.Delivery{ID: store.NewDeliveryID(), Kind: "pigeon", Body: []byte("coo")} // never to be delivered
			if c.ends != 0 {
				d.ExpiresAt = r.clock.Now().Add(c.ends)
			}
			r.add(d)
			w := r.worker(&sender{})
			r.deliver(w, 0)
			for range 100 {
				r.clock.Advance(c.most / 100)
				r.deliver(w, 0)
			}
			r.count(1, 0) // a day to the microsecond is not older than a day
			r.clock.Advance(5 * time.Minute)
			r.deliver(w, 0)
			r.count(0, 1)
			_, log, _ := strings.Cut(r.log.String(), "outbox: given up")
			if !strings.Contains(log, "tries: this version cannot deliver that kind") {
				t.Errorf("the log does not say why:\n%s", log)
			}
		})
	}
}

func TestDeliverNow_neverSendsWhatExpired(t *testing.T) {
	r := newRig(t)
	r.queue(mail("ada@example.com"), 10*time.Minute)
	r.clock.Advance(10 * time.Minute)
	s := &sender{}
	r.deliver(r.worker(s), 0)
	if got := s.attempts(); len(got) != 0 {
		t.Errorf("sent %q after it expired", got)
	}
	r.count(0, 0)
	if !strings.Contains(r.log.String(), "expired") {
		t.Errorf("the log does not say why nothing was sent:\n%s", r.log)
	}
}

// A refusal for good keeps the row for an operator, but neither the body, nor
// what the server quoted of it, in the row or in the log.
func TestDeliverNow_buriesARefusalWithoutAddressOrSecret(t *testing.T) {
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
	id := r.queue(mail("Ada.Lovelace@example.com"), time.Hour)
	r.deliver(r.worker(failing(&notify.PermanentError{Err: fmt.Errorf(
		"RCPT TO refused: 550 5.7.1 <ada.lovelace@example.com> (user \"ada.lovelace\") your text %q has the bad link https://auth.example/verify?token=%s or %s",
		"code "+code+".", link, link)})), 0)
	r.count(0, 1)

	pool, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var why string
	var size int
	err = pool.QueryRow(`SELECT last_error, length(body) FROM outbox WHERE dead_at > 0`).Scan(&why, &size)
	if err != nil {
		t.Fatal(err)
	}
	if size != 0 {
		t.Errorf("the buried row keeps %d bytes of its body", size)
	}
	if !strings.Contains(why, "RCPT TO refused: 550 5.7.1") {
		t.Errorf("the buried row says %q, want the server's refusal in it", why)
	}
	log := r.log.String()
	if !strings.Contains(log, id) || !strings.Contains(log, "550") {
		t.Errorf("the log names neither the delivery %s nor the reason:\n%s", id, log)
	}
	for _, s := range []string{"lovelace", code, link[:20], "verify"} {
		if strings.Contains(strings.ToLower(why), strings.ToLower(s)) || strings.Contains(strings.ToLower(log), strings.ToLower(s)) {
			t.Errorf("%q is in the row or the log:\n%s\n%s", s, why, log)
		}
	}
}

func TestDeliverNow_logsNeitherAddressNorSecretOfWhatItSends(t *testing.T) {
	r := newRig(t)
	id := r.queue(mail("ada@example.com"), time.Hour)
	r.deliver(r.worker(&sender{}), 1)
	log := r.log.String()
	if !strings.Contains(log, id) || !strings.Contains(log, "kind=mail") {
		t.Errorf("the log does not name the delivery:\n%s", log)
	}
	for _, s := range []string{"ada@", code, link} {
		if strings.Contains(log, s) {
			t.Errorf("%q is in the log:\n%s", s, log)
		}
	}
}

func TestDeliverNow_waitsForTheRightRootKey(t *testing.T) {
	r := newRig(t)
	right := r.root
	r.queue(mail("ada@example.com"), time.Hour)
	wrong, err := secret.NewRoot(secret.GenerateRoot())
	if err != nil {
		t.Fatal(err)
	}
	r.root = wrong
	s := &sender{}
	r.deliver(r.worker(s), 0)
	r.count(1, 0)
	r.root = right
	r.clock.Advance(time.Minute)
	r.deliver(r.worker(s), 1)
}

func TestDeliverNow_sortsOutWhatIsNoMail(t *testing.T) {
	for _, c := range []struct {
		name          string
		kind          string
		body          func(r *rig, id store.DeliveryID) []byte
		waiting, dead int
	}{
		{"a damaged body is buried", store.DeliverMail, func(*rig, store.DeliveryID) []byte { return []byte("rubbish") }, 0, 1},
		{"a body that is another row's is buried", store.DeliverMail, func(r *rig, _ store.DeliveryID) []byte {
			other := store.NewDeliveryID()
			return r.root.Seal(store.DeliverySeal, other[:], []byte(`{"kind":"magic_link","to":"eve@example.com"}`))
		}, 0, 1},
		{"a body that is no JSON is buried", store.DeliverMail, func(r *rig, id store.DeliveryID) []byte {
			return r.root.Seal(store.DeliverySeal, id[:], []byte("rubbish"))
		}, 0, 1},
		{"a mail of a kind without template is buried", store.DeliverMail, func(r *rig, id store.DeliveryID) []byte {
			return r.root.Seal(store.DeliverySeal, id[:], []byte(`{"kind":"nonesuch","to":"ada@example.com"}`))
		}, 0, 1},
		{"a kind of delivery from a newer version waits", "pigeon", func(*rig, store.DeliveryID) []byte { return []byte("coo") }, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			id := store.NewDeliveryID()
			r.add(store.Delivery{ID: id, Kind: c.kind, Body: c.body(r, id), ExpiresAt: r.clock.Now().Add(time.Hour)})
			s := &sender{}
			r.deliver(r.worker(s), 0)
			if got := s.attempts(); len(got) != 0 {
				t.Errorf("sent %q", got)
			}
			r.count(c.waiting, c.dead)
		})
	}
}

func TestDeliverNow_survivesASenderThatPanics(t *testing.T) {
	r := newRig(t)
	r.queue(mail("ada@example.com"), time.Hour)
	r.deliver(r.worker(&sender{do: func(_ context.Context, m notify.Mail) error { panic("cannot mail " + m.To) }}), 0)
	r.count(1, 0)
	if log := r.log.String(); !strings.Contains(log, "panic") || strings.Contains(log, "ada@") {
		t.Errorf("want the panic in the log, and no address:\n%s", log)
	}
}

// crash takes the only delivery as a process does that dies of it, n times,
// and waits for after beyond each lease.
func (r *rig) crash(n int, after time.Duration) {
	r.t.Helper()
	for range n {
		err := r.db.Write(context.Background(), store.TenantID{}, func(tx *store.Tx) error {
			d, err := tx.TakeDeliveries(1, time.Minute)
			if err == nil && len(d) != 1 {
				err = fmt.Errorf("took %d, want 1", len(d))
			}
			return err
		})
		if err != nil {
			r.t.Fatal(err)
		}
		r.clock.Advance(time.Minute + after)
	}
}

// A mail that takes the process down with it must not do so for ever.
func TestDeliverNow_buriesWhatNeverFinishes(t *testing.T) {
	for _, c := range []struct {
		name    string
		crashes int
		after   time.Duration
		buried  bool
	}{
		{"fifty may have ended, going by their age", 50, 0, false},
		{"of eighty, fifty did not", 80, 0, true},
		{"many may have ended, given time", 500, 4 * time.Minute, false},
		{"but not for days beyond a week", 50, 4 * time.Hour, true},
		{"fewer than fifty are tried even then", 49, 4 * time.Hour, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.queue(mail("ada@example.com"), 1000*time.Hour)
			r.crash(c.crashes, c.after)
			if !c.buried {
				r.deliver(r.worker(&sender{}), 1)
				r.count(0, 0)
				return
			}
			s := &sender{}
			r.deliver(r.worker(s), 0)
			if len(s.attempts()) != 0 {
				t.Error("sent what took the process down so often")
			}
			r.count(0, 1)
		})
	}
}
