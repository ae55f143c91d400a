package main

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/audit"
	"gatehouse/internal/config"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
	"gatehouse/internal/vault"
)

// attic is a house that was lived in for years. Of everything there is a lot
// that nobody can use any more, and a little that somebody can.
type attic struct {
	house
	t     *testing.T
	d     database
	clock *storetest.Clock
	seen  func() // at every reading of the clock: when a transaction begins
	seals *audit.Sealer
}

const day = 24 * time.Hour

func newAttic(t *testing.T, d database, eventsKeep time.Duration) *attic {
	t.Helper()
	a := &attic{t: t, d: d, clock: storetest.NewClock(), seen: func() {}}
	db, err := store.Open(t.Context(), store.Options{
		URL: d.url, Synchronous: "NORMAL", StatementTimeout: time.Minute, LockTimeout: time.Minute, TransactionTimeout: time.Minute,
		Now: func() time.Time {
			a.seen()
			return a.clock.Now()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := db.Close()
		if err != nil {
			t.Error(err)
		}
	})
	cfg := &config.Config{}
	cfg.Database.EventsKeep = eventsKeep
	a.house = house{site: &site{cfg: cfg}, db: db, log: slog.New(slog.DiscardHandler)}
	a.plan.Store(&plan{base: &config.Base{Config: cfg}})
	master, err := secret.NewRoot(secret.GenerateRoot())
	if err != nil {
		t.Fatal(err)
	}
	a.vault = vault.New(db, master)
	_, other, err := a.vault.Make(storetest.Other())
	if err == nil {
		err = a.vault.Begin(t.Context())
	}
	if err == nil {
		err = db.Write(t.Context(), store.TenantID{}, func(tx *store.Tx) error {
			_, err := tx.SetRootKey(storetest.Other(), []byte{}, other)
			return err
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	a.seals = a.sealer(nil)
	return a
}

// fill adds n rows of each kind to a tenant, each with the age the functions
// say.
func (a *attic) fill(tenant store.TenantID, n int, age func(life time.Duration) time.Duration) {
	a.t.Helper()
	now := a.clock.Now()
	defer a.clock.Set(now)
	put := func(at time.Time, fn func(tx *store.Tx, i int) error) {
		a.t.Helper()
		a.clock.Set(at)
		err := a.db.Write(a.t.Context(), tenant, func(tx *store.Tx) error {
			var errs []error
			for i := range n {
				errs = append(errs, fn(tx, i))
			}
			return errors.Join(errs...)
		})
		if err != nil {
			a.t.Fatal(err)
		}
	}
	u := store.User{ID: store.NewUserID(), AppMetadata: []byte("{}"), UserMetadata: []byte("{}")}
	err := a.db.Write(a.t.Context(), tenant, func(tx *store.Tx) error { return tx.AddUser(u) })
	if err != nil {
		a.t.Fatal(err)
	}
	expired := now.Add(-age(keepChallenges))
	put(expired, func(tx *store.Tx, _ int) error {
		id := store.NewChallengeID()
		return tx.SetChallenge(store.Challenge{
			ID: id, Kind: "recovery", Subject: id[:], TokenHash: id[:], CodeHash: []byte{}, Data: []byte("{}"), ExpiresAt: expired,
		}, 0)
	})
	put(now.Add(-age(keepSessions)), func(tx *store.Tx, _ int) error {
		return tx.AddSession(store.Session{ID: store.NewSessionID(), UserID: u.ID, Generation: 1, AAL: 1, AMR: []byte("[]")})
	})
	err = a.db.Write(a.t.Context(), tenant, func(tx *store.Tx) error {
		a.clock.Set(now.Add(-age(keepSessions)))
		tx.Now = a.clock.Now()
		_, err := tx.EndSessions(u.ID, store.SessionID{}, "a test")
		return err
	})
	if err != nil {
		a.t.Fatal(err)
	}
	put(now.Add(-age(keepDead)), func(tx *store.Tx, _ int) error {
		return tx.AddDelivery(store.Delivery{ID: store.NewDeliveryID(), Kind: "none"})
	})
	a.d.change(a.t, fmt.Sprintf(`UPDATE outbox SET dead_at = %d WHERE dead_at = 0`, now.Add(-age(keepDead)).UnixMicro()))
	put(now.Add(-age(eventsKept)), func(tx *store.Tx, _ int) error {
		return tx.AddEvent(store.Event{Name: "a.test", Actor: "system", UserID: u.ID, Data: []byte("{}")})
	})
	a.clock.Set(now)
	err = a.seals.SealNow(a.t.Context())
	if err != nil {
		a.t.Fatal(err)
	}
}

const eventsKept = 90 * day

func old(life time.Duration) time.Duration   { return life + time.Second }
func young(life time.Duration) time.Duration { return life - time.Second }

// sweptTables are those of which there may be too much.
var sweptTables = [...]string{"challenges", "sessions", "outbox", "events"}

// counts are how many rows each of them has.
func (a *attic) counts() (list []int) {
	a.t.Helper()
	db := a.d.open(a.t)
	defer db.Close()
	for _, table := range sweptTables {
		var n int
		err := db.QueryRow(`SELECT COUNT(*) FROM ` + table).Scan(&n)
		if err != nil {
			a.t.Fatal(err)
		}
		list = append(list, n)
	}
	return list
}

func (a *attic) sweeps(h store.Holder, want ...int) {
	a.t.Helper()
	err := a.sweepAll(a.t.Context(), h)
	if err != nil {
		a.t.Fatal(err)
	}
	if got := a.counts(); !slices.Equal(got, want) {
		a.t.Fatalf("%s have %v rows, want %v", strings.Join(sweptTables[:], ", "), got, want)
	}
}

// Strangers can have rows made without signing in. The tables must not grow with
// their requests, and taking the rows away must hold up nobody.
//
// Mission: P10
func TestThreat_D11_whatNobodyCanUseAnyMoreGoesInSmallBites(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t *testing.T, d database) {
		a := newAttic(t, d, eventsKept)
		a.fill(store.TenantID{}, 2500, old)
		a.fill(storetest.Other(), 200, old)
		a.fill(store.TenantID{}, 3, young)
		a.fill(storetest.Other(), 2, young)
		last, bites := a.counts(), 0
		if !slices.Equal(last, []int{2705, 2705, 2705, 2705}) {
			t.Fatalf("there are %v rows", last)
		}
		a.seen = func() {
			now := a.counts()
			for i, table := range sweptTables {
				if gone := last[i] - now[i]; gone > 1000 {
					t.Errorf("%d rows of %s went in one transaction, want at most 1,000", gone, table)
				}
			}
			last = now
			bites++
		}
		node := store.NewHolder()
		a.sweeps(node, 5, 5, 5, 5)
		if bites < 3+3+1 {
			t.Errorf("it took %d transactions, want one for each thousand rows of each tenant's events, and of the rest", bites)
		}
		a.seen = func() {}
		a.sweeps(node, 5, 5, 5, 5)
		a.clock.Advance(2 * time.Second)
		a.sweeps(node, 0, 0, 0, 0)
	})
}

func TestSweep_isTheWorkOfOneNode(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t *testing.T, d database) {
		a := newAttic(t, d, eventsKept)
		first, second := store.NewHolder(), store.NewHolder()
		a.fill(store.TenantID{}, 10, old)
		a.sweeps(first, 0, 0, 0, 0)
		a.fill(store.TenantID{}, 10, old)
		a.sweeps(second, 10, 10, 10, 10) // the lease is the other's
		a.clock.Advance(sweepLease + time.Microsecond)
		a.sweeps(second, 0, 0, 0, 0) // which has died, or sleeps
		a.fill(store.TenantID{}, 10, old)
		a.sweeps(first, 10, 10, 10, 10) // and wakes
		a.sweeps(second, 0, 0, 0, 0)

		// All at once.
		a.clock.Advance(sweepLease + time.Microsecond)
		a.fill(store.TenantID{}, 1100, old)
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				err := a.sweepAll(t.Context(), store.NewHolder())
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if got := a.counts(); !slices.Equal(got, []int{0, 0, 0, 0}) {
			t.Errorf("three nodes together left %v rows", got)
		}
	})
}

func TestSweep_keepsEventsForEverWhereThatIsWanted(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t *testing.T, d database) {
		a := newAttic(t, d, 0)
		a.fill(store.TenantID{}, 10, old)
		a.clock.Advance(10 * 365 * day)
		a.sweeps(store.NewHolder(), 0, 0, 0, 10)
		if got := d.one(t, `SELECT until_at FROM leases WHERE name = 'sweep'`); got != strconv.FormatInt(a.clock.Now().Add(sweepLease).UnixMicro(), 10) {
			t.Errorf("the lease is until %s", got)
		}
	})
}

// Mission: P10
func TestSweep_aDayOldLinkIsRefusedAndGone(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t *testing.T, d database) {
		s := start(t, d.settings("GOTRUE_SMTP_MAX_FREQUENCY=0s", "GATEHOUSE_SIGNUPS_KEEP=24h")...)
		for _, email := range []string{"ada@example.com", "bob@example.com"} {
			s.person(email)
			s.do(200, "POST", "/recover", object{"email": email})
		}
		link := s.mail("ada@example.com", 1).Links[0]
		q := mustQuery(t, link)
		young := mustQuery(t, s.mail("bob@example.com", 1).Links[0])
		if n := d.change(t, fmt.Sprintf(`UPDATE challenges SET expires_at = %d WHERE kind = 'recovery' AND sent_to = 'ada@example.com'`,
			time.Now().Add(-day-time.Minute).UnixMicro())); n != 1 {
			t.Fatalf("%d links are a day old, want ada's", n)
		}
		refused := func() {
			t.Helper()
			s.do(403, "POST", "/verify", object{"type": "recovery", "token_hash": q.Get("token")})
		}
		refused()
		err := s.stop()
		if err != nil {
			t.Fatal(err)
		}
		d.change(t, `UPDATE leases SET until_at = 0`) // of the node that has ended
		s = start(t, d.settings("GATEHOUSE_SIGNUPS_KEEP=24h")...)
		until(t, "ada's link gone", func() bool { return s.sql(`SELECT COUNT(*) FROM challenges WHERE sent_to = 'ada@example.com'`) == "0" })
		refused()
		s.do(200, "POST", "/verify", object{"type": "recovery", "token_hash": young.Get("token")})
	})
}

// Of 2,200 deliveries those go that are over for long, in bites; what an
// endpoint that is off has not had for a day is given up.
func TestSweep_takesDeliveriesThatAreOver(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t *testing.T, d database) {
		a := newAttic(t, d, 0)
		now := a.clock.Now()
		hook := store.Webhook{ID: store.NewWebhookID(), URL: "https://hook.example", Secret: []byte("s")}
		write := func(fn func(tx *store.Tx) error) {
			t.Helper()
			err := a.db.Write(t.Context(), store.TenantID{}, fn)
			if err != nil {
				t.Fatal(err)
			}
		}
		write(func(tx *store.Tx) error { _, err := tx.AddWebhook(hook, 50); return err })
		var seq int64
		promise := func(ago time.Duration, n int, state store.WebhookState) {
			t.Helper()
			a.clock.Set(now.Add(-ago))
			write(func(tx *store.Tx) error {
				var list []store.TrailEvent
				for range n {
					seq++
					list = append(list, store.TrailEvent{Seq: seq, ID: store.EventID(store.NewDeliveryID()), Name: "user.updated", UserID: store.NewUserID()})
				}
				return tx.FanOut(list)
			})
			if state == store.WebhookDue {
				return
			}
			write(func(tx *store.Tx) error {
				list, err := tx.TakeWebhooks(n, time.Minute, n, nil)
				for _, p := range list {
					if err == nil {
						_, err = tx.EndWebhook(p.WebhookDelivery, state, store.WebhookTry{Asked: true})
					}
				}
				return err
			})
		}
		promise(30*day+time.Second, 3, store.WebhookDead)
		promise(30*day-time.Second, 5, store.WebhookDead)
		promise(7*day+time.Second, 1100, store.WebhookDelivered)
		promise(7*day-time.Second, 7, store.WebhookDelivered)
		promise(day+time.Second, 1100, store.WebhookDue)
		promise(day-time.Second, 9, store.WebhookDue)
		a.clock.Set(now)
		sweep := func(want map[store.WebhookState]int) {
			t.Helper()
			err := a.sweepAll(t.Context(), store.NewHolder())
			if err != nil {
				t.Fatal(err)
			}
			for state, n := range want {
				if got := d.one(t, `SELECT COUNT(*) FROM webhook_deliveries WHERE state = '`+string(state)+`'`); got != strconv.Itoa(n) {
					t.Errorf("%s deliveries are %s, want %d", state, got, n)
				}
			}
		}
		sweep(map[store.WebhookState]int{store.WebhookDead: 5, store.WebhookDelivered: 7, store.WebhookDue: 1109})
		a.clock.Advance(sweepLease)
		hook.Disabled = true
		write(func(tx *store.Tx) error { _, err := tx.SetWebhook(hook); return err })
		a.clock.Set(now.Add(time.Millisecond))
		a.d.change(t, `UPDATE leases SET until_at = 0 WHERE name = 'sweep'`)
		sweep(map[store.WebhookState]int{store.WebhookDead: 1105, store.WebhookDelivered: 7, store.WebhookDue: 9})
	})
}
