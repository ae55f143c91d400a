package outbox_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/internal/notify"
	"gatehouse/internal/outbox"
	"gatehouse/internal/storetest"
)

// running starts Run and returns how to end it and get its error.
func running(ctx context.Context, w *outbox.Worker) (end func() error) {
	ctx, cancel := context.WithCancel(ctx)
	result := make(chan error, 1)
	go func() { result <- w.Run(ctx) }()
	return func() error {
		cancel()
		return <-result
	}
}

func TestRun_sendsAtOnceWhenWokenAndSoonWhenNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigOn(t, storetest.Open(t, time.Now))
		s := &sender{}
		w := r.worker(s)
		end := running(t.Context(), w)
		synctest.Wait()

		start := time.Now()
		r.queue(mail("ada@example.com"), time.Hour)
		w.Wake()
		synctest.Wait()
		if got := len(s.attempts()); got != 1 || time.Since(start) != 0 {
			t.Errorf("%d mails sent %v after Wake, want 1 at once", got, time.Since(start))
		}
		r.queue(mail("ada@example.com"), time.Hour) // by a process that cannot wake us
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := len(s.attempts()); got != 2 {
			t.Errorf("%d mails sent, want the one nobody woke us for within 5 s", got)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

func TestRun_retriesWhenDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigOn(t, storetest.Open(t, time.Now))
		r.queue(mail("ada@example.com"), time.Hour)
		start := time.Now()
		var again atomic.Int64
		s := &sender{}
		s.do = func(context.Context, notify.Mail) error {
			if len(s.attempts()) == 1 {
				return errors.New("421 try again later")
			}
			again.Store(int64(time.Since(start)))
			return nil
		}
		end := running(t.Context(), r.worker(s))
		time.Sleep(time.Minute)
		if got := time.Duration(again.Load()); got < 3750*time.Millisecond || got > 5*time.Second+50*time.Millisecond {
			t.Errorf("tried again after %v, want 3.75 to 5 s", got)
		}
		r.count(0, 0)
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

func TestRun_idlesWithoutHaste(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var looks atomic.Int64 // every look at the database asks for the time once
		r := newRigOn(t, storetest.Open(t, func() time.Time { looks.Add(1); return time.Now() }))
		end := running(t.Context(), r.worker(&sender{}))
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := looks.Load(); got > 15 {
			t.Errorf("looked %d times in a minute with nothing to do, want every 5 s", got)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

func TestRun_aHungMailDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigOn(t, storetest.Open(t, time.Now))
		hung := r.queue(mail("hang@example.com"), time.Hour)
		for range 20 {
			r.queue(mail("ada@example.com"), time.Hour)
		}
		var cutAfter atomic.Int64
		s := &sender{}
		s.do = func(ctx context.Context, m notify.Mail) error {
			if m.To != "hang@example.com" || cutAfter.Load() != 0 {
				return nil
			}
			start := time.Now()
			<-ctx.Done()
			cutAfter.Store(int64(time.Since(start)))
			return ctx.Err()
		}
		start := time.Now()
		end := running(t.Context(), r.worker(s))
		synctest.Wait()
		if got := len(s.attempts()); got != 21 || time.Since(start) != 0 {
			t.Errorf("%d of 21 mails were begun after %v, want all at once", got, time.Since(start))
		}
		r.count(1, 0)
		time.Sleep(2 * time.Minute)
		if got := time.Duration(cutAfter.Load()); got <= 0 || got >= time.Minute {
			t.Errorf("the hung mail was cut off after %v, want less than its lease of a minute", got)
		}
		if got := s.attempts(); len(got) != 22 || got[21] != hung {
			t.Errorf("attempts %q, want the hung mail tried again at the end", got)
		}
		r.count(0, 0)
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

// One tenant's mail server hangs, and it has much to send: the others' mails go out
// all the same.
func TestRun_aTenantWhoseMailHangsDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigOn(t, storetest.Open(t, time.Now))
		for range 50 {
			r.queue(mail("hang@example.com"), time.Hour)
		}
		s := &sender{}
		s.do = func(ctx context.Context, m notify.Mail) error {
			if m.To == "hang@example.com" {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		w := r.worker(s)
		end := running(t.Context(), w)
		synctest.Wait()
		for range 20 {
			r.queueFor(storetest.Other(), mail("ada@example.com"), time.Hour)
		}
		start := time.Now()
		w.Wake()
		synctest.Wait()
		if got := len(s.attempts()); got != 6+20 || time.Since(start) != 0 {
			t.Errorf("%d mails were begun after %v, want six that hang and twenty", got, time.Since(start))
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

func TestRun_losesNothingWhenItEndsMidway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigOn(t, storetest.Open(t, time.Now))
		var want []string
		for range 20 {
			want = append(want, r.queue(mail("ada@example.com"), time.Hour))
		}
		s := &sender{do: func(ctx context.Context, _ notify.Mail) error {
			select {
			case <-time.After(3 * time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}}
		end := running(t.Context(), r.worker(s))
		time.Sleep(4 * time.Second)
		stopped := time.Now()
		if err := end(); err != nil {
			t.Error(err)
		}
		if d := time.Since(stopped); d != 2*time.Second {
			t.Errorf("Run ended after %v, want the 2 s that deliveries under way still took", d)
		}
		if got := len(s.attempts()); got != 12 {
			t.Errorf("%d mails were begun, want two rounds of six workers: two are for other tenants", got)
		}
		r.count(8, 0)
		r.deliver(r.worker(s), 8)
		got := s.attempts()
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%d sent, want each of 20 once: %q", len(got), got)
		}
	})
}

func TestRun_cutsOffWhatHangsAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigOn(t, storetest.Open(t, time.Now))
		r.queue(mail("ada@example.com"), time.Hour)
		end := running(t.Context(), r.worker(&sender{do: func(ctx context.Context, _ notify.Mail) error {
			<-ctx.Done()
			return ctx.Err()
		}}))
		synctest.Wait()
		stopped := time.Now()
		if err := end(); err != nil {
			t.Error(err)
		}
		if d := time.Since(stopped); d != 10*time.Second {
			t.Errorf("Run ended after %v, want 10 s", d)
		}
		r.deliver(r.worker(&sender{}), 1)
	})
}

func TestRun_leavesASenderBehindThatWillNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigOn(t, storetest.Open(t, time.Now))
		r.queue(mail("ada@example.com"), time.Hour)
		release := make(chan struct{})
		end := running(t.Context(), r.worker(&sender{do: func(context.Context, notify.Mail) error {
			<-release
			return errors.New("too late")
		}}))
		synctest.Wait()
		stopped := time.Now()
		if err := end(); !errors.Is(err, outbox.ErrAbandoned) {
			t.Errorf("got %v, want ErrAbandoned", err)
		}
		if d := time.Since(stopped); d != 11*time.Second {
			t.Errorf("Run ended after %v, want 11 s", d)
		}
		time.Sleep(time.Minute)
		r.deliver(r.worker(&sender{}), 1) // its lease has run out
		close(release)
		synctest.Wait()
		r.count(0, 0)
	})
}

func TestRun_backsOffFromADatabaseThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := storetest.Open(t, time.Now)
		r := newRigOn(t, db)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		w := r.worker(&sender{})
		end := running(t.Context(), w)
		for range 120 { // 1 + 2 + 4 + 8 + 16 + 30 + 30 s, whoever wakes it
			w.Wake()
			time.Sleep(time.Second)
		}
		if got := strings.Count(r.log.String(), "the database does not answer"); got < 6 || got > 9 {
			t.Errorf("the log has %d failures in two minutes, want about 8:\n%s", got, r.log)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}
