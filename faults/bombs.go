package main

import (
	"context"
	"net/http"
	"strings"
	"time"
)

const (
	bombCPU    = 0.20       // of the machine's cores
	bombMemory = 20_000_000 // bytes more than without
	bombEvery  = 10 * time.Millisecond
)

// bomb is a request that is dear to read.
type bomb struct {
	name, method, path, body string
	header                   [2]string
	statuses                 []int // of a refusal
}

func allBombs() []bomb {
	const signUp, form = "/signup", "application/x-www-form-urlencoded"
	list := func(n int, value string) string {
		return `{"email":"a@example.com","data":[` + strings.Repeat(value+",", n-1) + value + "]}"
	}
	many := strings.Repeat
	return []bomb{
		{name: "a body of 1 MiB", path: signUp, body: `{"email":"` + many("a", 1<<20-12) + `"}`, statuses: []int{400, 422}},
		{name: "a body of 3 MiB", path: signUp, body: `{"email":"` + many("a", 3<<20) + `"}`, statuses: []int{413}},
		{name: "JSON a million deep", path: signUp, body: many("[", 1<<20), statuses: []int{400}},
		{name: "JSON of 100,000 objects", path: signUp, body: list(100_000, `{"":1}`), statuses: []int{400}},
		{name: "JSON of 500,000 numbers", path: signUp, body: list(500_000, "1"), statuses: []int{400}},
		{name: "a password of 900 kB", path: signUp, body: `{"email":"a@example.com","password":"` + many("a", 900_000) + `"}`, statuses: []int{400, 422}},
		{name: "a form of 300,000 fields", path: "/token", body: many("a=&", 300_000), header: [2]string{"Content-Type", form}, statuses: []int{400}},
		{name: "a token of 60,000 dots", method: http.MethodGet, path: "/user", header: [2]string{"Authorization", "Bearer " + many(".", 60_000)}, statuses: []int{401, 403}},
		{name: "3,000 cookies", method: http.MethodGet, path: "/user", header: [2]string{"Cookie", many("a=b; ", 3000)}, statuses: []int{431}},
		{name: "1,000 parameters", method: http.MethodGet, path: "/verify?" + many("a=b&", 1000), statuses: []int{414}},
		{name: "an address of 60 kB", path: signUp, body: `{"email":"` + many("a.", 30_000) + `@example.com","password":"x"}`, statuses: []int{400, 422}},
		{name: "a link of many languages", method: http.MethodGet, path: "/verify?token=x&type=signup", header: [2]string{"Accept-Language", many("de-AT-1996,", 1000)}, statuses: []int{200, 303, 400, 403, 422, 431}},
	}
}

func (b *bomb) request(ctx context.Context, base string) (*http.Request, error) {
	method := b.method
	if method == "" {
		method = http.MethodPost
	}
	r, err := http.NewRequestWithContext(context.WithoutCancel(ctx), method, base+b.path, strings.NewReader(b.body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	if b.header[0] != "" {
		r.Header.Set(b.header[0], b.header[1])
	}
	return r, nil
}

// bombs throws them at the server, a hundred a second. Each must be refused in
// the way that is its own, so that none goes off unread.
func bombs(ctx context.Context, t *trial) error {
	n, b, err := t.lone(ctx, sqlite)
	if err != nil {
		return err
	}
	all := allBombs()
	throw := func(i int) (int, error) {
		r, err := all[i%len(all)].request(ctx, n.url())
		if err != nil {
			return 0, err
		}
		return exchange(b.client.http, r)
	}
	for i := range all {
		status, err := throw(i)
		if !oneOf(all[i].statuses, status) {
			t.broke("%s is answered %d (%v), want %v", all[i].name, status, err, all[i].statuses)
		}
	}
	// In use, so that what is counted below is not what any use needs.
	t.good(closedLoop(ctx, 2*cores(), t.scaled(3*time.Second), b.askUser), "before")
	before, err := n.run.usage()
	if err != nil {
		return err
	}
	stop := n.run.peak(ctx)
	began := time.Now()
	thrown := openLoop(ctx, t.scaled(10*time.Second), bombEvery, throw)
	took := time.Since(began)
	most := stop()
	after, err := n.run.usage()
	if err != nil {
		return err
	}
	cpu := (after.cpu - before.cpu).Seconds() / took.Seconds()
	t.res.Refused += len(thrown)
	bad, example := thrown.others(200, 303, 400, 401, 403, 413, 414, 422, 431)
	t.expect(bad == 0, "%d of %d bombs got no answer of theirs, such as %s", bad, len(thrown), example)
	t.note("%.0f a second: %.0f %% of a core, %s more in memory, answered in %s (p99)", float64(len(thrown))/took.Seconds(), 100*cpu,
		megabytes(most-before.resident), ms(thrown.p99()))
	t.expect(cpu <= bombCPU*float64(cores()), "they took %.0f %% of a core, wanted at most %.0f %% of %d", 100*cpu, 100*bombCPU, cores())
	t.expect(most-before.resident <= bombMemory, "they took %s more memory, wanted at most %s", megabytes(most-before.resident), megabytes(bombMemory))
	t.expect(len(thrown) >= 100, "%v: %d bombs", errIdle, len(thrown))
	return n.alive()
}
