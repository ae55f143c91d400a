// Package authtest gives tests a whole house: a real auth.Service over a real
// database of its own, every way in, a clock to turn, and the mails it sends.
// Begin with New; Again makes more nodes of it, and Frail one whose database
// can be taken away. mail.go reads what was mailed, people.go has the few steps
// most tests begin with.
//
// It must never be imported by anything but tests, and it fakes nothing: codes
// and links are read where users read them. Only password hashing is made
// cheap.
package authtest

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/login"
	"gatehouse/internal/notify"
	"gatehouse/internal/outbox"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

// House is a Service and all it stands on. Its methods that take a test end
// the test when they fail.
type House struct {
	*auth.Service
	DB        *store.DB
	Clock     *storetest.Clock
	Root      *secret.Root
	Inbox     *notify.Inbox
	Elsewhere *Elsewhere

	other  *auth.Service
	outbox *outbox.Worker
	texter *texter
	hashes *hashes
}

// Policy returns what an operator gets who decides nothing.
func Policy() auth.Policy {
	return auth.Policy{
		SecureEmailChange: true,
		Audience:          "authenticated", DefaultRole: "authenticated",
		AdminRole: "admin", AdminRoles: []string{"service_role", "supabase_admin"}, OperatorToken: "the-operators-own-token",
		Issuer: "https://auth.example", SiteURL: "https://site.example",
		AccessTTL: time.Hour, ReuseGrace: 10 * time.Second, KeyOverlap: 24 * time.Hour,
		CodeDigits: 6, CodeTTL: 10 * time.Minute, LinkTTL: time.Hour, InviteTTL: 7 * 24 * time.Hour, FlowTTL: 5 * time.Minute, MailEvery: time.Minute,
		MinPassword: 6, PasswordFree: 5, PasswordDelayMax: 15 * time.Minute, SMSDigits: 6, SMSCodeTTL: 10 * time.Minute, SMSEvery: time.Minute,
	}
}

// New returns an empty house with Policy, but for what the options change. It
// is torn down at the end of the test.
func New(t testing.TB, options ...func(*auth.Options)) *House {
	t.Helper()
	db, clock := storetest.New(t)
	return over(t, db, clock, options)
}

// over returns a house over an empty database.
func over(t testing.TB, db *store.DB, clock *storetest.Clock, options []func(*auth.Options)) *House {
	t.Helper()
	root, err := secret.NewRoot(secret.GenerateRoot())
	if err != nil {
		t.Fatal(err)
	}
	h := &House{DB: db, Clock: clock, Root: root, Inbox: notify.NewInbox(clock.Now), Elsewhere: newElsewhere()}
	h.texter = &texter{Inbox: h.Inbox}
	h.open(t, options)
	return h
}

// Again returns another Service by the same clock and root key, with
// connections of its own to the same database: the house after a restart, or a
// second node. Options are as for New. What any of them mails, all of them
// find.
func (h *House) Again(t testing.TB, options ...func(*auth.Options)) *House {
	t.Helper()
	next := *h
	next.DB = storetest.Again(t, h.DB)
	next.open(t, options)
	return &next
}

// Under returns the same house under other options, which are as for New: what
// an operator changed. It shares the connections, and costs less than Again.
func (h *House) Under(t testing.TB, options ...func(*auth.Options)) *House {
	t.Helper()
	next := *h
	next.open(t, options)
	return &next
}

// Nodes returns n nodes of one house, h the first of them. Options are those of
// the others.
func (h *House) Nodes(t testing.TB, n int, options ...func(*auth.Options)) []*House {
	t.Helper()
	all := []*House{h}
	for len(all) < n {
		all = append(all, h.Again(t, options...))
	}
	return all
}

func (h *House) open(t testing.TB, options []func(*auth.Options)) {
	t.Helper()
	post := outbox.Post{
		Root: h.Root, Sender: h.Inbox, Templates: notify.NewTemplates(notify.Options{SiteURL: Policy().SiteURL, Now: h.Clock.Now}),
		Texter: h.texter, Words: notify.NewSMSWords("", "en", nil),
	}
	h.outbox = outbox.New(outbox.Options{
		DB: h.DB, Workers: 1, // one, so that mails arrive in the order they were queued
		Post: func(_ context.Context, t store.TenantID) (*outbox.Post, error) {
			p, of := post, h.Of(t)
			p.Work, p.Unsent = of.Work, of.Undelivered
			return &p, nil
		},
	})
	h.hashes = &hashes{clock: h.Clock}
	// More slots than processors and a long queue: races are wanted here, and
	// refusals are the pool's own tests'.
	hasher, err := secret.NewHasher(secret.Params{MemoryKiB: 8, Time: 1, Threads: 1}, secret.NewPool(8, time.Hour, h.hashes.now))
	if err != nil {
		t.Fatal(err)
	}
	o := auth.Options{DB: h.DB, Root: h.Root, Hasher: hasher, Policy: Policy(), Methods: append(login.All(login.Options{Web3: login.Web3{Solana: 10 * time.Minute, Allowed: ofSite}}), bySocial{h.Elsewhere}, byIDToken{h.Elsewhere})}
	for _, option := range options {
		option(&o)
	}
	h.Service = auth.New(o)
	o.Tenant = storetest.Other()
	h.other = auth.New(o)
	err = errors.Join(h.LoadKeys(t.Context()), h.other.LoadKeys(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
}

// ofSite is where wallets may sign in to.
func ofSite(uri string) bool {
	return uri == Policy().SiteURL || strings.HasPrefix(uri, Policy().SiteURL+"/")
}

// Of returns the Service of a tenant: the house's own, or the one of
// storetest.Other, which differs in nothing but whom it speaks for.
func (h *House) Of(tenant store.TenantID) *auth.Service {
	if tenant == storetest.Other() {
		return h.other
	}
	return h.Service
}

// There is the same house as the other tenant has it.
func (h *House) There() *House {
	next := *h
	next.Service, next.other = h.other, h.Service
	return &next
}

// With is an option of New that changes the policy.
func With(change func(*auth.Policy)) func(*auth.Options) {
	return func(o *auth.Options) { change(&o.Policy) }
}

// Hashes returns how many passwords have been hashed, to keep or to compare.
func (h *House) Hashes() int { return int(h.hashes.readings.Load() / 2) }

// DuringHash has fn called once, when the next password is about to be hashed:
// after a way in has read the stored hash and before its verdict is asked.
func (h *House) DuringHash(fn func()) { h.hashes.meanwhile.Store(&fn) }

// hashes is the clock of a hashing pool, which reads it before and after each
// piece of work.
type hashes struct {
	clock     *storetest.Clock
	readings  atomic.Int64
	meanwhile atomic.Pointer[func()]
}

func (c *hashes) now() time.Time {
	c.readings.Add(1)
	fn := c.meanwhile.Swap(nil)
	if fn != nil {
		(*fn)()
	}
	return c.clock.Now()
}
