package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

// addWebhook commits an endpoint that wants the events, or all.
func addWebhook(t testing.TB, db *store.DB, events ...string) store.Webhook {
	t.Helper()
	w := store.Webhook{ID: store.NewWebhookID(), URL: "https://example.com/hook", Events: events, Secret: []byte("sealed"), CreatedAt: db.Now(), UpdatedAt: db.Now()}
	write(t, db, func(tx *store.Tx) error {
		added, err := tx.AddWebhook(w, 50)
		if !added {
			t.Error("the endpoint was not added")
		}
		return err
	})
	return w
}

// trail makes events of users up, with the next places in the trail.
type trail struct{ seq int64 }

func (r *trail) event(u store.UserID, name string) store.TrailEvent {
	r.seq++
	return store.TrailEvent{Seq: r.seq, ID: store.EventID(store.NewDeliveryID()), Name: name, UserID: u}
}

// fanOut commits events, all of a user and in order.
func (r *trail) fanOut(t testing.TB, db *store.DB, u store.UserID, n int) (ids []store.EventID) {
	t.Helper()
	var list []store.TrailEvent
	for range n {
		list = append(list, r.event(u, "user.updated"))
		ids = append(ids, list[len(list)-1].ID)
	}
	write(t, db, func(tx *store.Tx) error { return tx.FanOut(list) })
	return ids
}

func takeWebhooks(t testing.TB, db *store.DB, limit, want int) (list []store.WebhookParcel) {
	t.Helper()
	write(t, db, func(tx *store.Tx) (err error) {
		list, err = tx.TakeWebhooks(limit, time.Minute, limit, nil)
		return err
	})
	if len(list) != want {
		t.Fatalf("took %d deliveries, want %d", len(list), want)
	}
	return list
}

func endWebhook(t testing.TB, db *store.DB, p store.WebhookParcel, state store.WebhookState, try store.WebhookTry) {
	t.Helper()
	write(t, db, func(tx *store.Tx) error {
		held, err := tx.EndWebhook(p.WebhookDelivery, state, try)
		if !held {
			t.Error("the lease did not hold")
		}
		return err
	})
}

func putBack(t testing.TB, db *store.DB, p store.WebhookParcel, wait time.Duration, try store.WebhookTry) {
	t.Helper()
	write(t, db, func(tx *store.Tx) error {
		held, err := tx.PutBackWebhook(p.WebhookDelivery, tx.Now.Add(wait), try)
		if !held {
			t.Error("the lease did not hold")
		}
		return err
	})
}

// nextWebhook checks when there is something to do; zero: never.
func nextWebhook(t testing.TB, db *store.DB, want time.Time) {
	t.Helper()
	read(t, db, func(tx *store.Tx) error {
		at, err := tx.NextWebhook(nil)
		if !at.Equal(want) {
			t.Errorf("the next is due at %v, want %v", at, want)
		}
		return err
	})
}

// states counts the deliveries of an endpoint by state.
func states(t testing.TB, db *store.DB, id store.WebhookID) map[store.WebhookState]int {
	t.Helper()
	n := map[store.WebhookState]int{}
	read(t, db, func(tx *store.Tx) error {
		list, err := tx.WebhookDeliveries(id, "", store.WebhookPlace{}, 100_000)
		for _, d := range list {
			n[d.State]++
		}
		return err
	})
	return n
}

var (
	well   = store.WebhookTry{Asked: true, Status: 204}
	failed = store.WebhookTry{Asked: true, Status: 500, Error: "status 500"}
)

func TestWebhook_isKeptAsItWasAdded(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		w := addWebhook(t, db, "user.*", "session.opened")
		clock.Advance(time.Hour)
		read(t, db, func(tx *store.Tx) error {
			got, err := tx.Webhook(w.ID)
			if diff := cmp.Diff(w, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			return err
		})
		w.URL, w.Events, w.Secret, w.OldSecret, w.OldSecretUntil, w.Disabled, w.Description = "https://b.example/", nil, []byte("two"), []byte("one"), clock.Now().Add(time.Hour), true, "ours"
		w.UpdatedAt = clock.Now()
		write(t, db, func(tx *store.Tx) error {
			_, err := tx.Webhook(w.ID)
			found, err2 := tx.SetWebhook(w)
			if !found {
				t.Error("the endpoint was not found")
			}
			return errors.Join(err, err2)
		})
		other := addWebhook(t, db)
		read(t, db, func(tx *store.Tx) error {
			list, err := tx.Webhooks()
			if diff := cmp.Diff([]store.Webhook{w, other}, list, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			return err
		})
		write(t, db, func(tx *store.Tx) error {
			for want := range 2 {
				dropped, err := tx.DropWebhook(w.ID)
				if dropped != (want == 0) || err != nil {
					t.Errorf("dropping: %v, %v", dropped, err)
				}
			}
			found, err := tx.SetWebhook(w)
			_, gone := tx.Webhook(w.ID)
			if found || !errors.Is(gone, store.ErrNotFound) {
				t.Errorf("a dropped endpoint is there: %v, %v", found, gone)
			}
			list, err2 := tx.Webhooks()
			if len(list) != 1 {
				t.Errorf("%d endpoints are left, want 1", len(list))
			}
			return errors.Join(err, err2)
		})
	})
}

func TestAddWebhook_keepsToTheMostAtOneInstant(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				err := db.Write(t.Context(), home, func(tx *store.Tx) error {
					return second(tx.AddWebhook(store.Webhook{ID: store.NewWebhookID(), Secret: []byte("s")}, 3))
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		read(t, db, func(tx *store.Tx) error {
			list, err := tx.Webhooks()
			if len(list) != 3 {
				t.Errorf("%d endpoints, want 3", len(list))
			}
			return err
		})
	})
}

func TestFanOut_promisesWhatIsWanted(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		all, users, one := addWebhook(t, db), addWebhook(t, db, "user.*"), addWebhook(t, db, "session.opened", "key.rotated")
		disabled, dropped := addWebhook(t, db), addWebhook(t, db)
		disabled.Disabled = true
		write(t, db, func(tx *store.Tx) error {
			return errors.Join(second(tx.SetWebhook(disabled)), second(tx.DropWebhook(dropped.ID)))
		})
		var r trail
		u := store.NewUserID()
		list := []store.TrailEvent{r.event(u, "user.updated"), r.event(u, "session.opened"), r.event(u, "users.counted"), r.event(store.UserID{}, "key.rotated")}
		write(t, db, func(tx *store.Tx) error { return errors.Join(tx.FanOut(nil), tx.FanOut(list)) })
		err := db.Write(t.Context(), home, func(tx *store.Tx) error { return tx.FanOut(list[:1]) })
		if !errors.Is(err, store.ErrDuplicate) {
			t.Errorf("promised twice: %v, want ErrDuplicate", err)
		}
		for id, want := range map[store.WebhookID][]int64{all.ID: {1, 2, 3, 4}, users.ID: {1}, one.ID: {2, 4}, disabled.ID: nil, dropped.ID: nil} {
			read(t, db, func(tx *store.Tx) error {
				var got []int64
				list, err := tx.WebhookDeliveries(id, "", store.WebhookPlace{}, 10)
				for _, d := range list {
					got = append(got, d.Seq)
				}
				slices.Sort(got)
				if !slices.Equal(got, want) {
					t.Errorf("got events %v, want %v", got, want)
				}
				return err
			})
		}
		if got := states(t, db, all.ID); got[store.WebhookDue] != 2 || got[store.WebhookWaiting] != 2 {
			t.Errorf("%v; want the first of the user and of nobody due", got)
		}
	})
}

func TestTakeWebhooks_leasesTheFirstOfEachUser(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		var r trail
		nextWebhook(t, db, time.Time{})
		w := addWebhook(t, db)
		ada, bob := store.NewUserID(), store.NewUserID()
		hers := r.fanOut(t, db, ada, 3)
		nextWebhook(t, db, clock.Now())
		clock.Advance(time.Second)
		his := r.fanOut(t, db, bob, 1)
		got := takeWebhooks(t, db, 10, 2)
		if got[0].Event != hers[0] || got[1].Event != his[0] || got[0].Tries != 1 || got[0].To.URL != w.URL || got[0].UserID != ada || got[0].Seq != 1 {
			t.Errorf("took %+v", got)
		}
		takeWebhooks(t, db, 10, 0)
		nextWebhook(t, db, clock.Now().Add(time.Minute))
		endWebhook(t, db, got[0], store.WebhookDelivered, well)
		nextWebhook(t, db, clock.Now())
		next := takeWebhooks(t, db, 10, 1)[0]
		if next.Event != hers[1] {
			t.Errorf("after the first came %v, want the second", next.Seq)
		}
		putBack(t, db, next, 5*time.Second, failed)
		nextWebhook(t, db, clock.Now().Add(5*time.Second))
		clock.Advance(5*time.Second - time.Microsecond)
		takeWebhooks(t, db, 10, 0)
		clock.Advance(time.Microsecond)
		again := takeWebhooks(t, db, 10, 1)[0]
		if again.Event != hers[1] || again.Tries != 2 || again.Status != 500 || again.Error != "status 500" {
			t.Errorf("it came back as %+v", again)
		}
		endWebhook(t, db, again, store.WebhookDead, failed) // makes way, too
		last := takeWebhooks(t, db, 10, 1)[0]
		if last.Event != hers[2] {
			t.Errorf("after the second came %v, want the third", last.Seq)
		}
		clock.Advance(time.Minute) // both leases are over
		if got := takeWebhooks(t, db, 10, 2); got[0].Tries != 2 || got[1].Tries != 2 {
			t.Errorf("after the leases: %+v", got)
		}
		write(t, db, func(tx *store.Tx) error { // the late one decides nothing
			held, err := tx.EndWebhook(last.WebhookDelivery, store.WebhookDelivered, well)
			held2, err2 := tx.PutBackWebhook(last.WebhookDelivery, tx.Now, well)
			if held || held2 {
				t.Error("a courier whose lease was over ended a delivery")
			}
			return errors.Join(err, err2)
		})
		read(t, db, func(tx *store.Tx) error {
			waiting, dead, err := tx.CountWebhooks()
			if waiting != 2 || dead != 1 {
				t.Errorf("%d are counted as waiting and %d as dead, want 2 and 1", waiting, dead)
			}
			return err
		})
		if n := states(t, db, w.ID); n[store.WebhookDue] != 2 || n[store.WebhookDelivered] != 1 || n[store.WebhookDead] != 1 {
			t.Errorf("%v", n)
		}
	})
}

// Nobody's backlog keeps another waiting.
func TestTakeWebhooks_endpointsTakeTurns(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		var r trail
		full := addWebhook(t, db)
		for range 20 {
			r.fanOut(t, db, store.NewUserID(), 1)
		}
		clock.Advance(time.Second)
		late := addWebhook(t, db)
		r.fanOut(t, db, store.NewUserID(), 1)
		clock.Advance(time.Second)
		take := func(limit, each int, busy map[store.WebhookID]int) map[store.WebhookID]int {
			n := map[store.WebhookID]int{}
			write(t, db, func(tx *store.Tx) error {
				list, err := tx.TakeWebhooks(limit, time.Minute, each, busy)
				for _, p := range list {
					n[p.Endpoint]++
				}
				return err
			})
			return n
		}
		if got := take(2, 2, nil); got[full.ID] != 2 {
			t.Errorf("first: %v, want two of the one that waits longest", got)
		}
		if got := take(2, 2, nil); got[late.ID] != 1 || got[full.ID] != 1 {
			t.Errorf("second: %v, want the other one first", got)
		}
		if got := take(8, 2, map[store.WebhookID]int{full.ID: 1}); got[full.ID] != 1 {
			t.Errorf("with one hand at it: %v, want one more", got)
		}
		if got := take(8, 2, map[store.WebhookID]int{full.ID: 2}); got[full.ID] != 0 {
			t.Errorf("with two hands at it: %v, want none", got)
		}
		read(t, db, func(tx *store.Tx) error {
			at, err := tx.NextWebhook(map[store.WebhookID]bool{full.ID: true})
			if want := clock.Now().Add(time.Minute); !at.Equal(want) {
				t.Errorf("but for it the next is at %v, want the end of the other's lease, %v", at, want)
			}
			return err
		})
	})
}

func TestPutBackWebhook_anEndpointRestsAndIsTriedWithOne(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		var r trail
		w := addWebhook(t, db)
		for range 10 {
			r.fanOut(t, db, store.NewUserID(), 1)
		}
		ill := failed
		ill.Rest = func(failures int) time.Duration {
			if failures < 3 {
				return 0
			}
			return time.Duration(failures) * time.Minute
		}
		for range 3 {
			putBack(t, db, takeWebhooks(t, db, 1, 1)[0], time.Second, ill)
		}
		takeWebhooks(t, db, 10, 0)
		nextWebhook(t, db, clock.Now().Add(3*time.Minute))
		r.fanOut(t, db, store.NewUserID(), 1) // disturbs no rest
		nextWebhook(t, db, clock.Now().Add(3*time.Minute))
		clock.Advance(3 * time.Minute)
		probe := takeWebhooks(t, db, 10, 1)[0]
		takeWebhooks(t, db, 10, 0)
		putBack(t, db, probe, time.Second, ill)
		nextWebhook(t, db, clock.Now().Add(4*time.Minute))
		clock.Advance(4 * time.Minute)
		putBack(t, db, takeWebhooks(t, db, 10, 1)[0], 0, store.WebhookTry{Error: "the server was stopped"})
		probe = takeWebhooks(t, db, 10, 1)[0] // it was not asked: the next may at once
		if probe.To.Failures != 4 || probe.To.RestUntil.IsZero() {
			t.Errorf("the endpoint is %+v; want four failures", probe.To)
		}
		clock.Advance(time.Minute)
		probe = takeWebhooks(t, db, 10, 1)[0] // whoever had the probe has died
		endWebhook(t, db, probe, store.WebhookDelivered, well)
		takeWebhooks(t, db, 20, 10)
		read(t, db, func(tx *store.Tx) error {
			got, err := tx.Webhook(w.ID)
			if got.Failures != 0 || !got.RestUntil.IsZero() {
				t.Errorf("after a good try: %+v", got)
			}
			return err
		})
	})
}

func TestSetWebhook_disabledWaitsAndGoesOn(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		var r trail
		w := addWebhook(t, db)
		r.fanOut(t, db, store.NewUserID(), 2)
		write(t, db, func(tx *store.Tx) error {
			for url, want := range map[string]bool{"https://another.example": false, w.URL: true} {
				got, err := tx.DisableWebhook(w.ID, url)
				if got != want || err != nil {
					t.Errorf("disabling %s: %v, %v", url, got, err)
				}
			}
			return nil
		})
		takeWebhooks(t, db, 10, 0)
		nextWebhook(t, db, time.Time{})
		write(t, db, func(tx *store.Tx) error {
			got, err := tx.Webhook(w.ID)
			if !got.Disabled {
				t.Error("it is not disabled")
			}
			got.Disabled = false
			return errors.Join(err, second(tx.SetWebhook(got)))
		})
		nextWebhook(t, db, clock.Now())
		takeWebhooks(t, db, 10, 1)
	})
}

func TestWebhookDeliveries_pagesMissNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		var r trail
		w := addWebhook(t, db)
		var all []store.EventID
		for range 3 {
			all = append(all, r.fanOut(t, db, store.NewUserID(), 3)...)
			clock.Advance(time.Second)
		}
		for _, p := range takeWebhooks(t, db, 10, 3) { // at one instant
			endWebhook(t, db, p, store.WebhookDead, failed)
		}
		pages := func(state store.WebhookState, limit int) (ids []store.EventID) {
			var place store.WebhookPlace
			for {
				n := 0
				read(t, db, func(tx *store.Tx) error {
					list, err := tx.WebhookDeliveries(w.ID, state, place, limit)
					for _, d := range list {
						ids = append(ids, d.Event)
						place = store.WebhookPlace{At: d.DueAt, ID: d.Event}
						if state != "" && d.State != state || d.Endpoint != w.ID {
							t.Errorf("listed %+v", d)
						}
					}
					n = len(list)
					return err
				})
				if n < limit {
					return ids
				}
			}
		}
		slices.Reverse(all)
		for limit := 1; limit < 11; limit++ {
			if got := pages("", limit); !slices.Equal(got, all) {
				t.Errorf("by pages of %d: %v, want %v", limit, got, all)
			}
			for state, want := range map[store.WebhookState]int{store.WebhookDead: 3, store.WebhookWaiting: 3, store.WebhookDue: 3, store.WebhookDelivered: 0} {
				got := pages(state, limit)
				if len(got) != want || len(slices.Compact(slices.Sorted(idText(got)))) != want {
					t.Errorf("%s by pages of %d: %v, want %d", state, limit, got, want)
				}
			}
		}
	})
}

func idText(ids []store.EventID) func(func(string) bool) {
	return func(yield func(string) bool) {
		for _, id := range ids {
			if !yield(id.String()) {
				return
			}
		}
	}
}

func TestReplayWebhook_sendsTheSameAgain(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		var r trail
		w := addWebhook(t, db)
		ids := r.fanOut(t, db, store.NewUserID(), 3)
		replay := func(id store.EventID, want bool) {
			t.Helper()
			write(t, db, func(tx *store.Tx) error {
				got, err := tx.ReplayWebhook(w.ID, id)
				if got != want {
					t.Errorf("replayed: %v, want %v", got, want)
				}
				return err
			})
		}
		replay(ids[0], false) // it is on its way
		endWebhook(t, db, takeWebhooks(t, db, 1, 1)[0], store.WebhookDead, failed)
		clock.Advance(time.Hour)
		replay(ids[0], true)
		replay(ids[0], false)
		head := takeWebhooks(t, db, 5, 1)[0] // the second was due already: one at a time
		if head.Event != ids[1] {
			t.Fatalf("took %v", head.Seq)
		}
		endWebhook(t, db, head, store.WebhookDead, failed)
		again := takeWebhooks(t, db, 5, 1)[0] // then by the trail
		if again.Event != ids[0] || again.Tries != 1 || again.Error != "" || again.Status != 0 || !again.CreatedAt.Equal(clock.Now()) {
			t.Errorf("it came again as %+v", again)
		}
		endWebhook(t, db, again, store.WebhookDead, failed)
		write(t, db, func(tx *store.Tx) error {
			for _, want := range []int{1, 1, 0} {
				n, err := tx.ReplayDead(w.ID, 1)
				if n != want || err != nil {
					t.Errorf("replayed %d, %v; want %d", n, err, want)
				}
			}
			n, err := tx.ReplayDead(store.NewWebhookID(), 10)
			none, err2 := tx.ReplayWebhook(store.NewWebhookID(), ids[0])
			if n != 0 || none {
				t.Error("replayed of an endpoint that is none")
			}
			return errors.Join(err, err2)
		})
		for _, want := range []int{2, 0, 1} { // the third was due before
			p := takeWebhooks(t, db, 5, 1)[0]
			if p.Event != ids[want] {
				t.Errorf("took %d, want %d", p.Seq, want+1)
			}
			endWebhook(t, db, p, store.WebhookDelivered, well)
		}
		takeWebhooks(t, db, 5, 0)
		replay(ids[2], true) // delivered ones too
		takeWebhooks(t, db, 5, 1)
	})
}

// Whatever order couriers and those who fan out come in, every delivery is
// made, in order, and no two of one endpoint and user at one time.
func TestFanOut_nothingWaitsForEver(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		const writers, rounds = 3, 12
		hooks := []store.Webhook{addWebhook(t, db), addWebhook(t, db)}
		users := []store.UserID{store.NewUserID(), store.NewUserID()}
		var mu sync.Mutex
		got := map[string][]int64{}
		left := writers * rounds * len(hooks)
		var trail sync.Mutex // the sealer of a tenant is one
		var seq int64
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		var group sync.WaitGroup
		for i := range writers {
			group.Go(func() {
				for j := range rounds {
					trail.Lock()
					seq++
					e := store.TrailEvent{Seq: seq, ID: store.EventID(store.NewDeliveryID()), Name: "user.updated", UserID: users[(i+j)%len(users)]}
					err := db.Write(ctx, home, func(tx *store.Tx) error { return tx.FanOut([]store.TrailEvent{e}) })
					trail.Unlock()
					if err != nil {
						t.Error(err)
						cancel()
						return
					}
				}
			})
		}
		for range 3 {
			group.Go(func() {
				for ctx.Err() == nil {
					mu.Lock()
					over := left <= 0
					mu.Unlock()
					if over {
						return
					}
					var list []store.WebhookParcel
					err := db.Write(ctx, home, func(tx *store.Tx) (err error) {
						list, err = tx.TakeWebhooks(4, time.Hour, 2, nil)
						return err
					})
					for _, p := range list {
						fail := rand.N(3) == 0
						mu.Lock()
						key := fmt.Sprint(p.Endpoint, p.UserID)
						if !fail {
							got[key] = append(got[key], p.Seq)
							left--
						}
						mu.Unlock()
						err = errors.Join(err, db.Write(ctx, home, func(tx *store.Tx) (err error) {
							if fail {
								_, err = tx.PutBackWebhook(p.WebhookDelivery, tx.Now, failed)
							} else {
								_, err = tx.EndWebhook(p.WebhookDelivery, store.WebhookDelivered, well)
							}
							return err
						}))
					}
					if err != nil && ctx.Err() == nil {
						t.Error(err)
						cancel()
					}
				}
			})
		}
		group.Wait()
		if left != 0 {
			t.Errorf("%d deliveries were not made: %v", left, states(t, db, hooks[0].ID))
		}
		for key, seqs := range got {
			if !slices.IsSorted(seqs) {
				t.Errorf("%s: out of order: %v", key, seqs)
			}
		}
		write(t, db, func(tx *store.Tx) error {
			n, err := tx.SweepWebhooks(100, time.Time{}, time.Time{}, time.Time{})
			if n != 0 {
				t.Errorf("%d queues had to be mended", n)
			}
			return err
		})
	})
}

// One who fans out and one who ends the head meet, each once in the middle of
// what the other does: what is new never waits for what has ended.
func TestFanOut_andTheEndOfTheHeadAreOneAfterTheOther(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		w := addWebhook(t, db)
		var r trail
		for _, fansFirst := range []bool{true, false} {
			u := store.NewUserID()
			r.fanOut(t, db, u, 1)
			head := takeWebhooks(t, db, 1, 1)[0]
			list := []store.TrailEvent{r.event(u, "user.updated")}
			fan := func(tx *store.Tx) error { return tx.FanOut(list) }
			end := func(tx *store.Tx) error {
				held, err := tx.EndWebhook(head.WebhookDelivery, store.WebhookDelivered, well)
				if !held && err == nil {
					t.Error("the lease did not hold")
				}
				return err
			}
			first, then := fan, end
			if !fansFirst {
				first, then = end, fan
			}
			second := make(chan error, 1)
			var once sync.Once
			write(t, db, func(tx *store.Tx) error {
				err := first(tx)
				if err != nil {
					return err
				}
				_, err = tx.Webhooks() // what was put off is sent
				once.Do(func() { go func() { second <- db.Write(context.Background(), home, then) }() })
				select { // it is to wait for us; were it not to, it would have time for all it does
				case err2 := <-second:
					second <- err2
				case <-time.After(200 * time.Millisecond):
				}
				return err
			})
			if err := <-second; err != nil {
				t.Fatal(err)
			}
			next := takeWebhooks(t, db, 5, 1)[0]
			if next.Event != list[0].ID {
				t.Errorf("fans first %v: took %d", fansFirst, next.Seq)
			}
			endWebhook(t, db, next, store.WebhookDelivered, well)
		}
		if n := states(t, db, w.ID); n[store.WebhookDelivered] != 4 {
			t.Errorf("%v", n)
		}
	})
}
