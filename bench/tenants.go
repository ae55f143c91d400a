package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"
)

// tenantsToken is the operator token of the measured server.
const tenantsToken = "operator-token-of-the-benchmark"

// tenantsResult is what many tenants in one server cost.
type tenantsResult struct {
	Tenants int           `json:"tenants"`
	Made    time.Duration `json:"made_each_ns"` // by the API, one after the other
	Started time.Duration `json:"started_ns"`   // from exec to the first healthy answer, with all of them
	Idle    int64         `json:"idle_rss_bytes"`
	First   quantiles     `json:"first_request"` // to one that is not at work
	Next    quantiles     `json:"next_request"`  // to one that is
	After   int64         `json:"rss_after_all_bytes"`
	Peak    int64         `json:"rss_peak_bytes"`
	CPU     time.Duration `json:"server_cpu_each_first_ns"`
}

// quantiles are of durations.
type quantiles struct {
	P50 time.Duration `json:"p50_ns"`
	P99 time.Duration `json:"p99_ns"`
	Max time.Duration `json:"max_ns"`
}

func quantilesOf(h *histogram) quantiles {
	return quantiles{h.quantile(0.5), h.quantile(0.99), h.max}
}

// manyTenants makes tenants in a fresh server, starts it anew and asks each of
// them in turn: more than it keeps at work, so that each is put to work by its
// request.
func (o *options) manyTenants(ctx context.Context, folder string, r *report, stderr io.Writer) error {
	folder = filepath.Join(folder, "tenants")
	res := &tenantsResult{Tenants: o.tenants}
	fmt.Fprintf(stderr, "making %d tenants\n", o.tenants)
	err := o.withTenants(ctx, folder, func(_ *server, c *conn) error {
		began := time.Now()
		for i := range o.tenants {
			body := fmt.Sprintf(`{"name":"%s","settings":{"SITE_URL":"https://%[1]s.example","JWT_EXP":"600"}}`, tenantName(i))
			if err := c.expect(201, tenantRequest(c.to, "POST", "/admin/tenants", body)); err != nil {
				return err
			}
		}
		res.Made = time.Since(began) / time.Duration(o.tenants)
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(stderr, "asking each of them")
	err = o.withTenants(ctx, folder, func(s *server, c *conn) error {
		res.Started = s.started
		if err := sleep(ctx, idleAfter); err != nil {
			return err
		}
		m, err := memoryOf(s.pid)
		if err != nil {
			return err
		}
		res.Idle = m.rss
		before, err := cpuTime(s.pid)
		if err != nil {
			return err
		}
		res.First, err = askTenants(c, 0, o.tenants)
		if err != nil {
			return err
		}
		after, err := cpuTime(s.pid)
		if err != nil {
			return err
		}
		res.CPU = (after - before) / time.Duration(o.tenants)
		last := max(0, o.tenants-100)
		if res.Next, err = askTenants(c, last, o.tenants); err != nil {
			return err
		}
		m, err = memoryOf(s.pid)
		res.After, res.Peak = m.rss, m.peak
		return err
	})
	r.Tenants = res
	return err
}

// withTenants runs f on a server over the data of the folder.
func (o *options) withTenants(ctx context.Context, folder string, f func(*server, *conn) error) (err error) {
	s, err := start(ctx, o.bin, folder, "GATEHOUSE_OPERATOR_TOKEN="+tenantsToken)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	to, err := newTarget(s.url, false)
	if err != nil {
		return err
	}
	c := &conn{to: &to}
	defer c.close()
	return s.explain(f(s, c), "tenants")
}

func tenantName(i int) string { return fmt.Sprintf("tenant-%06d", i) }

// askTenants asks each tenant of a range once and says how long each took.
func askTenants(c *conn, from, to int) (quantiles, error) {
	var h histogram
	for i := from; i < to; i++ {
		began := time.Now()
		err := c.expect(200, tenantRequest(c.to, "GET", "/t/"+tenantName(i)+"/settings", ""))
		if err != nil {
			return quantiles{}, err
		}
		h.record(time.Since(began))
	}
	return quantilesOf(&h), nil
}

// expect sends a request that must be answered with the status.
func (c *conn) expect(status int, request []byte) error {
	c.expire(time.Now().Add(startTimeout))
	a, err := c.do(request)
	if err == nil && a.status != status {
		err = fmt.Errorf("%.60q is answered %d, want %d: %.300s", request, a.status, status, a.body)
	}
	return err
}

func tenantRequest(t *target, method, path, body string) []byte {
	return fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		method, path, t.addr, tenantsToken, len(body), body)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (r *report) storyOfTenants(b *strings.Builder) {
	t := r.Tenants
	if t == nil {
		return
	}
	fmt.Fprintf(b, "\ntenants: %d, made in %s each; start with all of them %s; idle RSS %s\n", t.Tenants, millis(t.Made), millis(t.Started), megabytes(t.Idle))
	fmt.Fprintf(b, "tenants: a first request p50 %s, p99 %s, max %s, server CPU %s; the next p50 %s, p99 %s\n",
		millis(t.First.P50), millis(t.First.P99), millis(t.First.Max), millis(t.CPU), millis(t.Next.P50), millis(t.Next.P99))
	fmt.Fprintf(b, "tenants: after a request to each RSS %s, at most %s\n", megabytes(t.After), megabytes(t.Peak))
}
