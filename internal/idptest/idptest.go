// Package idptest is an identity provider in the hands of a test: one real HTTP
// server that speaks OAuth 2.0 and OpenID Connect, as any issuer and in the
// shapes each vendor documents. New starts it for a Go test, Serve for a main.
//
// A vendor hangs below a base of its own (http://host/github), under the paths
// it documents: Base is what a server under test is given as the vendor's URL
// and API URL. vendors.go lists them, and says what each does its own way; any
// name that begins with "oidc" or "oauth2" is one more provider of that kind.
//
// Towards its clients it is strict: a code is spent once, by the client, at the
// redirect URI and with the verifier it was made for; a scope that was not
// asked for gives no address. Towards the test it does as it is told, however
// wrong: Forge, Fail and Person reach whatever an honest provider would keep.
// All vendors sign with the same keys, so that nothing but the issuer's name
// tells their tokens apart.
package idptest

import (
	"crypto/rand"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Options say how a Provider behaves towards everybody.
type Options struct {
	Browser    bool             // show a page with two buttons; else sign-ins are allowed at once
	Now        func() time.Time // nil: the wall clock
	CodeLife   time.Duration    // 0: a minute
	AccessLife time.Duration    // 0: an hour
	// Iss is sent as the iss parameter of the authorization response (RFC 9207)
	// instead of the issuer that the vendor would name.
	Iss string
}

// Provider is the server. Its methods may be called at any time, from anywhere.
type Provider struct {
	url     string
	vendors map[string]vendor
	closing chan struct{}
	stop    func()

	mu       sync.Mutex // guards what follows
	options  Options
	clients  map[string]*Client
	people   map[string]Person // by subject
	current  string            // the subject of who is signed in
	denials  []denial
	failures map[string]*Failure
	forgery  Forgery
	keys     []key // newest first
	codes    map[string]*grant
	access   map[string]*access
	refresh  map[string]*refresh
	met      map[string]bool // clients and people that Apple has introduced
	requests []Request
	arrived  chan struct{} // closed at the next request
}

// Client is somebody who may send people here. All vendors know it.
type Client struct {
	ID, Secret string
	Redirects  []string // compared byte by byte
	apple      *AppleKey
}

// Person has an account with every vendor.
type Person struct {
	Subject string `json:"subject"` // empty: 1001. Give digits: some vendors number their users
	Email   string `json:"email"`
	// EmailVerified is sent as it is, so that a string can be, where the vendor
	// has such a field; nil: true.
	EmailVerified any    `json:"email_verified"`
	Name          string `json:"name"`
	Username      string `json:"username"`
	Avatar        string `json:"avatar"`
	Phone         string `json:"phone"`
	// Claims are laid over those of ID tokens and of OpenID Connect's userinfo,
	// Profile over every answer about the person that is an object, member by
	// member; a nil takes one away.
	Claims  map[string]any `json:"claims"`
	Profile map[string]any `json:"profile"`
	// Emails is the answer of endpoints that list addresses (GitHub, Bitbucket),
	// if it is not nil.
	Emails []map[string]any `json:"emails"`
}

// New starts a Provider and stops it at the end of the test. It knows one
// person, "1001", who has no address.
func New(t testing.TB, options ...func(*Options)) *Provider {
	t.Helper()
	p := provider(options)
	srv := httptest.NewServer(p)
	p.url = srv.URL
	p.stop = func() {
		srv.CloseClientConnections()
		srv.Close()
	}
	t.Cleanup(p.Close)
	return p
}

// Serve starts a Provider at addr. Its URL names the address it got.
func Serve(addr string, options ...func(*Options)) (*Provider, error) {
	p := provider(options)
	l, err := net.Listen("tcp", addr) //nolint:noctx // listening on an address of this machine waits for nothing
	if err != nil {
		return nil, err
	}
	p.url = "http://" + l.Addr().String()
	srv := &http.Server{Handler: p, ReadHeaderTimeout: time.Minute}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = srv.Serve(l) // ends with stop, which says why
	}()
	p.stop = func() {
		_ = srv.Close() // nothing is left to lose
		<-ended
	}
	return p, nil
}

func provider(options []func(*Options)) *Provider {
	//nolint:forbidigo // the clock enters here, where the test gives none
	o := Options{Now: time.Now, CodeLife: time.Minute, AccessLife: time.Hour}
	for _, set := range options {
		set(&o)
	}
	return &Provider{
		vendors: vendors(), closing: make(chan struct{}), options: o,
		clients: map[string]*Client{}, people: map[string]Person{defaultSubject: {Subject: defaultSubject}}, current: defaultSubject,
		failures: map[string]*Failure{}, codes: map[string]*grant{}, access: map[string]*access{}, refresh: map[string]*refresh{},
		met: map[string]bool{}, arrived: make(chan struct{}),
	}
}

const defaultSubject = "1001"

// Close stops the server. Requests that hang end.
func (p *Provider) Close() {
	close(p.closing)
	p.stop()
}

// URL is the address of the server, without a slash at its end.
func (p *Provider) URL() string { return p.url }

// Vendors are the names of all vendors, in order.
func (p *Provider) Vendors() []string { return slices.Sorted(maps.Keys(p.vendors)) }

// Base is what stands for the vendor's sign-in host and for its API host. For
// Entra it has a tenant in it, for Keycloak a realm.
func (p *Provider) Base(vendor string) string { return p.url + "/" + vendor + p.vendor(vendor).at }

// Issuer is the iss of the vendor's tokens.
func (p *Provider) Issuer(vendor string) string { return p.Base(vendor) + p.vendor(vendor).issuer }

// vendor panics for a name that nobody has: a test that misspells one must not
// go on.
func (p *Provider) vendor(name string) vendor {
	v, ok := p.vendorOf(name)
	if !ok {
		panic("idptest: no vendor " + name)
	}
	return v
}

func (p *Provider) vendorOf(name string) (vendor, bool) {
	v, ok := p.vendors[name]
	for _, kind := range []string{"oidc", "oauth2"} {
		if !ok && strings.HasPrefix(name, kind) {
			v, ok = p.vendors[kind], true
		}
	}
	v.name = name
	return v, ok
}

// Set changes the options from here on.
func (p *Provider) Set(change func(*Options)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.options)
}

// Client registers somebody, or replaces what was registered under the id. An
// empty secret makes a public client.
func (p *Provider) Client(id, secret string, redirects ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := &Client{ID: id, Secret: secret, Redirects: redirects}
	if old := p.clients[id]; old != nil {
		c.apple = old.apple
	}
	p.clients[id] = c
}

// Person signs someone in at the provider: whoever comes from now on is them.
// A subject that was known before has changed their profile, and what was
// issued for them tells the new one. A browser with a cookie named
// idptest_person, or a request with a login_hint, is the person of that
// subject or address instead.
func (p *Provider) Person(who Person) {
	if who.Subject == "" {
		who.Subject = defaultSubject
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.people[who.Subject] = who
	p.current = who.Subject
}

// who picks the person that an authorization request is about.
func (p *Provider) who(r *http.Request, hint string) Person {
	p.mu.Lock()
	defer p.mu.Unlock()
	hints := []string{hint}
	if c, err := r.Cookie("idptest_person"); err == nil {
		hints = append(hints, c.Value)
	}
	for _, h := range hints {
		if someone, ok := p.people[h]; ok {
			return someone
		}
		for _, someone := range p.people {
			if h != "" && someone.Email == h {
				return someone
			}
		}
	}
	return p.people[p.current]
}

type denial struct{ code, description string }

// Deny refuses the next sign-in. With an empty code it says what the vendor
// says of somebody who presses «Cancel». Several refuse several, in order.
func (p *Provider) Deny(code, description string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.denials = append(p.denials, denial{code, description})
}

// Revoke takes back everything issued for a person so far: their access and
// refresh tokens are refused. They may sign in anew.
func (p *Provider) Revoke(subject string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, g := range p.grants() {
		if g.subject == subject {
			g.over = true
		}
	}
}

// grants are all that have not been forgotten. The caller holds mu.
func (p *Provider) grants() []*grant {
	var all []*grant
	for _, g := range p.codes {
		all = append(all, g)
	}
	return all
}

func (p *Provider) now() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.options.Now()
}

// random is a word nobody guesses, with a prefix that tells a reader of a log
// what it is.
func random(prefix string) string { return prefix + "-" + rand.Text() }

// named is the kind of an error page's title: which vendor, and what it is
// asked for.
func named(v vendor, what string) string { return fmt.Sprintf("%s: %s", v.title, what) }
