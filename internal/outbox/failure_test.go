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

func TestDeliverNow_backsOffAndGivesUpAfterTwentyTries(t *testing.T) {
	r := newRig(t)
	r.queue(mail("ada@example.com"), 100*time.Hour)
	s := failing(errors.New("421 try again later"))
	w := r.worker(s)
	wait := 5 * time.Second
	for try := 1; ; try++ {
		r.deliver(w, 0)
		if got := len(s.attempts()); got != try {
			t.Fatalf("%d attempts, want %d: the wait before it was to be at most %v", got, try, wait/2)
		}
		if try == 20 {
			break
		}
		r.count(1, 0)
		r.clock.Advance(wait*3/4 - time.Microsecond)
		r.deliver(w, 0)
		if got := len(s.attempts()); got != try {
			t.Fatalf("attempt %d came before three quarters of %v", got, wait)
		}
		r.clock.Advance(wait/4 + time.Microsecond)
		wait = min(2*wait, time.Hour)
	}
	r.count(0, 1)
	r.clock.Advance(48 * time.Hour)
	r.deliver(w, 0)
	if got := len(s.attempts()); got != 20 {
		t.Errorf("a dead delivery was tried again: %d attempts", got)
	}
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

func TestDeliverNow_givesUpAfterADay(t *testing.T) {
	r := newRig(t)
	r.queue(mail("ada@example.com"), 100*time.Hour)
	w := r.worker(failing(errors.New("421 try again later")))
	r.deliver(w, 0)
	r.clock.Advance(24 * time.Hour)
	r.deliver(w, 0)
	r.count(1, 0) // a day to the microsecond is not older than a day
	r.clock.Advance(time.Minute)
	r.deliver(w, 0)
	r.count(0, 1)
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

// A mail that takes the process down with it must not do so for ever.
func TestDeliverNow_buriesWhatNeverFinishes(t *testing.T) {
	r := newRig(t)
	r.queue(mail("ada@example.com"), 100*time.Hour)
	for try := range 20 {
		err := r.db.Write(t.Context(), store.TenantID{}, func(tx *store.Tx) error {
			d, err := tx.TakeDeliveries(1, time.Minute)
			if err == nil && len(d) != 1 {
				err = fmt.Errorf("took %d at try %d, want 1", len(d), try)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		r.clock.Advance(time.Minute)
	}
	s := &sender{}
	r.deliver(r.worker(s), 0)
	if len(s.attempts()) != 0 {
		t.Error("sent what took the process down twenty times")
	}
	r.count(0, 1)
}
