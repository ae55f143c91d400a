package idptest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"time"
)

// Request is what arrived, as it arrived.
type Request struct {
	Method string      `json:"method"`
	Path   string      `json:"path"`
	Vendor string      `json:"vendor"`
	What   string      `json:"what"` // authorize, token, userinfo, jwks, discovery, or empty: there is nothing
	Query  url.Values  `json:"query"`
	Form   url.Values  `json:"form"` // of the body, form or JSON
	Header http.Header `json:"header"`
}

// Requests are those that arrived so far, in order. Those that steer the
// provider are not among them.
func (p *Provider) Requests() []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Request(nil), p.requests...)
}

// Count is how many requests arrived for a path, whole and with its vendor
// ("/google/token"), or for a What ("jwks").
func (p *Provider) Count(what string) int {
	n := 0
	for _, r := range p.Requests() {
		if r.Path == what || r.What == what {
			n++
		}
	}
	return n
}

// Forget drops the record of requests.
func (p *Provider) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests = nil
}

// Await returns when Count(what) is n or more.
func (p *Provider) Await(ctx context.Context, what string, n int) error {
	for {
		p.mu.Lock()
		arrived := p.arrived
		p.mu.Unlock()
		if p.Count(what) >= n {
			return nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Failure is how an endpoint fails. The zero value does not.
type Failure struct {
	Times int // 0: until Heal

	// First it waits.
	Delay time.Duration
	Until <-chan struct{} // the test closes it
	Hang  bool            // until the client leaves

	// Then it answers amiss, with the first of these that is set, or else as
	// ever.
	Status  int    // with Body
	Garbage bool   // 200 and no JSON
	Drip    bool   // a space now and then, for ever
	Huge    bool   // the right answer, behind 10 MiB of spaces
	Cut     bool   // the connection ends in the middle of the answer
	Body    string // 200 unless Status says otherwise; JSON
}

// Fail makes requests fail: those for a path, whole and with its vendor, or
// for a What ("token", "userinfo", "jwks", "discovery", "authorize").
func (p *Provider) Fail(what string, f Failure) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failures[what] = &f
}

// Heal ends failures; without a name, all.
func (p *Provider) Heal(whats ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(whats) == 0 {
		clear(p.failures)
	}
	for _, w := range whats {
		delete(p.failures, w)
	}
}

func (p *Provider) failure(r Request) Failure {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range []string{r.Path, r.What} {
		f := p.failures[name]
		if f == nil {
			continue
		}
		now := *f
		if f.Times--; f.Times == 0 {
			delete(p.failures, name)
		}
		return now
	}
	return Failure{}
}

// call is one request on its way to an endpoint of a vendor.
type call struct {
	*http.Request
	p      *Provider
	v      vendor
	base   string // of the vendor, with the tenant or realm that was named
	tenant string
	path   string // below base
	body   url.Values
	both   url.Values // of the query and the body; the body's come first
}

// ServeHTTP answers everything.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/_") {
		p.steer(w, r)
		return
	}
	body, err := bodyOf(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	v, known := p.vendorOf(name)
	c := &call{Request: r, p: p, v: v, base: p.url + "/" + name, path: strings.TrimPrefix(r.URL.Path, "/"+name), body: body, both: url.Values{}}
	if v.inner != nil {
		if m := v.inner.FindStringSubmatch(c.path); m != nil {
			c.path, c.tenant = strings.TrimPrefix(c.path, m[0]), m[1]
			c.base += m[0]
		}
	}
	for _, from := range []url.Values{body, r.URL.Query()} {
		for k, list := range from {
			c.both[k] = append(c.both[k], list...)
		}
	}
	seen := Request{Method: r.Method, Path: r.URL.Path, Vendor: name, Query: r.URL.Query(), Form: body, Header: r.Header.Clone()}
	answer := http.NotFound
	if known {
		var do func(*call, http.ResponseWriter)
		seen.What, do = v.endpoint(c.path)
		if do != nil {
			answer = func(w http.ResponseWriter, _ *http.Request) { do(c, w) }
		}
	}
	p.record(seen)
	p.fail(w, r, p.failure(seen), answer)
}

func (p *Provider) record(r Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests = append(p.requests, r)
	close(p.arrived)
	p.arrived = make(chan struct{})
}

// fail waits and answers as f says.
func (p *Provider) fail(w http.ResponseWriter, r *http.Request, f Failure, answer http.HandlerFunc) {
	if f.Delay > 0 {
		late := time.NewTimer(f.Delay)
		defer late.Stop()
		p.wait(r, late.C, nil)
	}
	if f.Until != nil {
		p.wait(r, nil, f.Until)
	}
	if f.Hang {
		p.wait(r, nil, nil)
		panic(http.ErrAbortHandler)
	}
	switch {
	case f.Status != 0 || f.Body != "":
		w.Header().Set("Content-Type", "application/json")
		if f.Status != 0 {
			w.WriteHeader(f.Status)
		}
		io.WriteString(w, f.Body)
	case f.Garbage:
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, "<!doctype html><title>We will be back soon</title>")
	case f.Drip:
		p.drip(w, r)
	case f.Huge, f.Cut:
		p.amiss(w, r, f, answer)
	default:
		answer(w, r)
	}
}

// amiss gives the right answer the wrong way.
func (p *Provider) amiss(w http.ResponseWriter, r *http.Request, f Failure, answer http.HandlerFunc) {
	rec := httptest.NewRecorder()
	answer(rec, r)
	for k, list := range rec.Header() {
		w.Header()[k] = list
	}
	w.WriteHeader(rec.Code)
	whole := rec.Body.Bytes()
	if f.Cut {
		_, _ = w.Write(whole[:len(whole)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	spaces := bytes.Repeat([]byte(" "), 1<<20)
	for range 10 {
		if _, err := w.Write(spaces); err != nil {
			return // the client has had enough
		}
	}
	_, _ = w.Write(whole)
}

func (p *Provider) drip(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if !p.wait(r, tick.C, nil) {
			return
		}
		if _, err := io.WriteString(w, " "); err != nil {
			return
		}
		if http.NewResponseController(w).Flush() != nil {
			return
		}
	}
}

// wait ends with one of the two, which may be nil, and returns true; or it
// returns false, because the client left or the server stops.
func (p *Provider) wait(r *http.Request, tick <-chan time.Time, done <-chan struct{}) bool {
	select {
	case <-tick:
		return true
	case <-done:
		return true
	case <-r.Context().Done():
		return false
	case <-p.closing:
		return false
	}
}

// bodyOf reads a form, or an object of strings in JSON, which some vendors
// document.
func bodyOf(r *http.Request) (url.Values, error) {
	raw, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch kind {
	case "application/x-www-form-urlencoded":
		return url.ParseQuery(string(raw))
	case "application/json":
		values := url.Values{}
		var members map[string]any
		if err := json.Unmarshal(raw, &members); err != nil {
			return nil, err
		}
		for k, v := range members {
			if s, ok := v.(string); ok {
				values.Set(k, s)
			}
		}
		return values, nil
	}
	return url.Values{}, nil
}

// writeJSON answers.
func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // what a test laid over an answer cannot be written
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
