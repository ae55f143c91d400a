// Package tenants knows which tenant a request is for, and keeps those at work
// that are asked for. Begin with Directory.
//
// A tenant that nobody asks for costs nothing but its row: it is built when the
// first request for it comes, and given up when others need the place or when
// its row has changed. It must never answer for one tenant with another.
package tenants

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/internal/store"
)

// Key is what a tenant at work is found by.
type Key struct {
	ID store.TenantID
	// Variant tells several shapes of one tenant apart, such as those a proxy in
	// front asks for; empty is the tenant as its row says.
	Variant string
}

// Options are what a Directory is made of.
type Options[S any] struct {
	DB *store.DB
	// Make puts a tenant to work. It is called once for all who wait for it, and
	// may take its time.
	Make func(context.Context, store.Tenant, Key) (S, error)
	Most int                          // kept at work at one time; zero: 500
	Lost func(context.Context, error) // hears that the database could not be asked for changes; nil: nobody does
}

// Directory keeps tenants at work, the default one always. Its methods may be
// called from many goroutines.
type Directory[S any] struct {
	opt Options[S]

	mu     sync.Mutex
	living *lru[Key, *entry[S]]
	found  *lru[string, store.TenantID] // by "host " or "name " and what was asked; the zero id: nobody's
	since  time.Time                    // changes until then are known
	times  map[store.TenantID]time.Time // of the last changes seen, while they may be seen again
	alone  bool                         // there is the default tenant and no other
	epoch  int                          // counts Reset: what was begun before is not kept after
}

// entry is a tenant at work, or on its way there.
type entry[S any] struct {
	ready chan struct{} // closed when the others are set
	site  S
	err   error
	until time.Time // of a failure, or of an old site kept for want of a new one: when to try again

	stale atomic.Bool // its row has changed: the next who asks has it made anew
	prev  *S          // what it was before, for while the database is away
}

const (
	mostFound = 20_000
	mostName  = 63          // bytes
	mostHost  = 253         // likewise
	retry     = time.Second // after which a tenant that could not be put to work is tried again
	overlap   = 30 * time.Second
	watching  = time.Second
)

// New returns a Directory. Watch keeps it up to date.
func New[S any](o Options[S]) *Directory[S] {
	if o.Most <= 0 {
		o.Most = 500
	}
	d := &Directory[S]{opt: o, times: map[store.TenantID]time.Time{}}
	d.living, d.found = newLRU[Key, *entry[S]](o.Most), newLRU[string, store.TenantID](mostFound)
	return d
}

// ErrUnknown: there is no such tenant.
var ErrUnknown = errors.New("tenants: there is no such tenant")

// Get returns the tenant of a key at work, or ErrUnknown.
func (d *Directory[S]) Get(ctx context.Context, k Key) (S, error) {
	d.mu.Lock()
	e, ok := d.living.get(k)
	if !ok || e.over(d.opt.DB.Now()) {
		e = &entry[S]{ready: make(chan struct{}), prev: e.last()}
		d.living.put(k, e)
		go d.make(context.WithoutCancel(ctx), k, e, d.epoch)
	}
	d.mu.Unlock()
	select {
	case <-e.ready:
		return e.site, e.err
	case <-ctx.Done():
		var none S
		return none, ctx.Err()
	}
}

// over reports whether it is time to make the tenant anew.
func (e *entry[S]) over(now time.Time) bool {
	select {
	case <-e.ready:
		return (e.err != nil || e.stale.Load()) && !now.Before(e.until)
	default:
		return false // somebody is at it
	}
}

// last is the tenant as it was at work; nil: it was not.
func (e *entry[S]) last() *S {
	if e == nil || e.err != nil {
		return nil
	}
	return &e.site
}

// make puts a tenant to work for all who wait.
func (d *Directory[S]) make(ctx context.Context, k Key, e *entry[S], epoch int) {
	defer close(e.ready)
	var t store.Tenant
	e.err = d.opt.DB.Read(ctx, k.ID, func(tx *store.Tx) (err error) {
		t, err = tx.TenantByID(k.ID)
		return err
	})
	if errors.Is(e.err, store.ErrNotFound) {
		e.err = ErrUnknown
	}
	if e.err == nil {
		e.site, e.err = d.opt.Make(ctx, t, k)
	}
	if e.err != nil {
		e.until = d.opt.DB.Now().Add(retry)
	}
	if e.prev != nil && errors.Is(e.err, store.ErrUnavailable) {
		e.site, e.err = *e.prev, nil // better old than none
		e.stale.Store(true)
	}
	e.prev = nil
	d.mu.Lock()
	defer d.mu.Unlock()
	if epoch != d.epoch || d.times[k.ID].After(t.UpdatedAt) {
		e.stale.Store(true) // it changed while it was made: good for who waited, and for nobody later
	}
}

// ByHost returns the id of the tenant whose requests come to a host name, or
// ErrUnknown. While there is the default tenant alone it asks nobody.
func (d *Directory[S]) ByHost(ctx context.Context, host string) (store.TenantID, error) {
	d.mu.Lock()
	alone := d.alone
	d.mu.Unlock()
	if alone || !sound(host, mostHost) {
		return store.TenantID{}, ErrUnknown
	}
	return d.find(ctx, "host "+host, func(tx *store.Tx) (store.Tenant, error) { return tx.TenantByHost(host) })
}

// ByName returns the id of the tenant with that name, or ErrUnknown.
func (d *Directory[S]) ByName(ctx context.Context, name string) (store.TenantID, error) {
	if !sound(name, mostName) {
		return store.TenantID{}, ErrUnknown
	}
	return d.find(ctx, "name "+name, func(tx *store.Tx) (store.Tenant, error) { return tx.TenantByName(name) })
}

// sound reports whether a tenant or a host may be called so. What cannot be is
// not asked for: answers are kept, and a path can be long.
func sound(name string, most int) bool {
	if name == "" || len(name) > most || name[0] == '-' {
		return false
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

func (d *Directory[S]) find(ctx context.Context, asked string, ask func(*store.Tx) (store.Tenant, error)) (store.TenantID, error) {
	d.mu.Lock()
	id, known := d.found.get(asked)
	epoch, seen := d.epoch, d.since
	d.mu.Unlock()
	if !known {
		var t store.Tenant
		err := d.opt.DB.Read(ctx, store.TenantID{}, func(tx *store.Tx) (err error) {
			t, err = ask(tx)
			return err
		})
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return id, err
		}
		id = t.ID
		d.mu.Lock()
		if epoch == d.epoch && seen.Equal(d.since) {
			d.found.put(asked, id)
		}
		d.mu.Unlock()
	}
	if id.IsZero() {
		return id, ErrUnknown
	}
	return id, nil
}

// Forget gives up a tenant and all that was found out about names: what is asked
// next sees its row as it is now.
func (d *Directory[S]) Forget(id store.TenantID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.epoch++ // for those under way
	d.forget(id)
	d.found.clear()
	d.alone = false
}

func (d *Directory[S]) forget(id store.TenantID) {
	d.living.each(func(k Key, e *entry[S]) {
		if k.ID == id {
			e.stale.Store(true)
		}
	})
}

// Reset gives up every tenant: the settings all of them are made of have
// changed.
func (d *Directory[S]) Reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.epoch++
	d.living.each(func(_ Key, e *entry[S]) { e.stale.Store(true) })
	d.found.clear()
}

// Living calls each for every tenant at work.
func (d *Directory[S]) Living(each func(Key, S)) {
	d.mu.Lock()
	type ready struct {
		k Key
		s S
	}
	var all []ready
	d.living.each(func(k Key, e *entry[S]) {
		select {
		case <-e.ready:
			if e.err == nil {
				all = append(all, ready{k, e.site})
			}
		default:
		}
	})
	d.mu.Unlock()
	for _, r := range all {
		each(r.k, r.s)
	}
}

// Watch looks every second what other nodes have changed, until ctx ends.
func (d *Directory[S]) Watch(ctx context.Context) error {
	t := time.NewTicker(watching)
	defer t.Stop()
	for {
		err := d.Look(ctx)
		if err != nil && ctx.Err() == nil && d.opt.Lost != nil {
			d.opt.Lost(ctx, err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// Look gives up the tenants that have changed since the last look.
func (d *Directory[S]) Look(ctx context.Context) error {
	d.mu.Lock()
	since := d.since
	d.mu.Unlock()
	first := since.IsZero()
	var now time.Time
	var changed map[store.TenantID]time.Time
	others := false
	err := d.opt.DB.Read(ctx, store.TenantID{}, func(tx *store.Tx) (err error) {
		now = tx.Now
		from := since
		if first {
			from = now
			some, err := tx.Tenants(store.TenantID{}, 1)
			others = len(some) > 0
			if err != nil {
				return err
			}
		}
		// Another node's clock may be behind, and its commit late.
		changed, err = tx.TenantsChanged(from.Add(-overlap))
		return err
	})
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.since = now
	if first {
		d.alone = !others
	}
	news := false
	for id, at := range changed {
		if d.times[id].Equal(at) {
			continue
		}
		d.forget(id)
		news = true
		d.alone = d.alone && id.IsZero()
	}
	if news {
		d.found.clear()
	}
	d.times = changed
	return nil
}

// lru is a map that forgets what was asked for least recently.
type lru[K comparable, V any] struct {
	most  int
	stays K          // is never forgotten
	order *list.List // of *pair[K, V], the latest first
	at    map[K]*list.Element
}

type pair[K comparable, V any] struct {
	k K
	v V
}

func newLRU[K comparable, V any](most int) *lru[K, V] {
	return &lru[K, V]{most: most, order: list.New(), at: map[K]*list.Element{}}
}

func (l *lru[K, V]) get(k K) (v V, ok bool) {
	e, ok := l.at[k]
	if !ok {
		return v, false
	}
	l.order.MoveToFront(e)
	return e.Value.(*pair[K, V]).v, true
}

func (l *lru[K, V]) put(k K, v V) {
	if e, ok := l.at[k]; ok {
		e.Value.(*pair[K, V]).v = v
		l.order.MoveToFront(e)
		return
	}
	l.at[k] = l.order.PushFront(&pair[K, V]{k, v})
	for l.order.Len() > l.most {
		last := l.order.Back()
		if last.Value.(*pair[K, V]).k == l.stays {
			l.order.MoveToFront(last)
			continue
		}
		l.drop(last.Value.(*pair[K, V]).k)
	}
}

func (l *lru[K, V]) drop(k K) {
	if e, ok := l.at[k]; ok {
		l.order.Remove(e)
		delete(l.at, k)
	}
}

func (l *lru[K, V]) clear() {
	l.order.Init()
	clear(l.at)
}

func (l *lru[K, V]) each(f func(K, V)) {
	for e := l.order.Front(); e != nil; e = e.Next() {
		p := e.Value.(*pair[K, V])
		f(p.k, p.v)
	}
}
