package main

import (
	"context"
	"fmt"
	"time"
)

// flowResult is one line of the table.
type flowResult struct {
	Engine      string        `json:"engine,omitempty"` // sqlite, postgres or mysql
	People      int           `json:"people,omitempty"` // in the database, in a comparison of sizes
	Flow        string        `json:"flow"`
	Ops         int64         `json:"ops"`
	Errors      int64         `json:"errors"`
	Sample      string        `json:"error_sample,omitempty"`
	Elapsed     time.Duration `json:"elapsed_ns"`
	PerSecond   float64       `json:"ops_per_second"`
	P50         time.Duration `json:"p50_ns"`
	P99         time.Duration `json:"p99_ns"`
	Max         time.Duration `json:"max_ns"`
	ServerCPU   time.Duration `json:"server_cpu_per_op_ns"`               // 0 when the process is not known
	DatabaseCPU time.Duration `json:"database_cpu_per_op_ns,omitempty"`   // 0 when it lives in the server's process
	Log         float64       `json:"database_log_bytes_per_op,omitzero"` // write-ahead log; 0 when it is not known
	DriverCPU   time.Duration `json:"driver_cpu_per_op_ns"`
}

// totalCPU is what an operation costs the server and the database together.
func (r *flowResult) totalCPU() time.Duration { return r.ServerCPU + r.DatabaseCPU }

// A tally adds up the windows in which one flow was measured at one server.
type tally struct {
	flow                     string
	latency                  histogram // of the answers that were right
	errors                   int64
	sample                   string // the first thing that went wrong
	elapsed                  time.Duration
	server, database, driver time.Duration // CPU
	log                      int64         // bytes
}

// measure runs a step with all callers, a tenth of the time to warm up and then
// for the time given, and fails only if nothing at all succeeded.
func (d *driver) measure(ctx context.Context, flow string, s step, length time.Duration) (*flowResult, error) {
	t := tally{flow: flow}
	if err := d.window(ctx, &t, s, length); err != nil {
		return nil, err
	}
	return t.result()
}

// window adds one measurement to t.
func (d *driver) window(ctx context.Context, t *tally, s step, length time.Duration) error {
	callers, err := d.open()
	if err != nil {
		return fmt.Errorf("%s: %w", t.flow, err)
	}
	defer closeAll(callers)
	runAll(ctx, callers, s, length/10)
	for _, c := range callers {
		c.latency, c.errors, c.sample = histogram{}, 0, ""
	}
	return d.reading(ctx, t, callers, func() { runAll(ctx, callers, s, length) })
}

// once has every session take its turn exactly once, and adds that to t.
func (d *driver) once(ctx context.Context, t *tally, s step) error {
	callers, err := d.open()
	if err != nil {
		return fmt.Errorf("%s: %w", t.flow, err)
	}
	defer closeAll(callers)
	return d.reading(ctx, t, callers, func() { runOnce(ctx, callers, s) })
}

// reading reads all clocks before and after run, and adds up what the callers
// have seen in it.
func (d *driver) reading(ctx context.Context, t *tally, callers []*caller, run func()) error {
	// The log is asked for outside of the readings of the CPU: the question costs
	// the database more than an operation does.
	logBefore, err := d.db.logged(ctx)
	if err != nil {
		return err
	}
	databaseBefore, err := d.db.cpu()
	if err != nil {
		return err
	}
	serverBefore, driverBefore := d.serverCPU(), ownCPU()
	began := time.Now()
	run()
	t.elapsed += time.Since(began)
	t.server += d.serverCPU() - serverBefore
	t.driver += ownCPU() - driverBefore
	databaseAfter, err := d.db.cpu()
	if err != nil {
		return err
	}
	t.database += databaseAfter - databaseBefore
	logAfter, err := d.db.logged(ctx)
	if err != nil {
		return err
	}
	t.log += logAfter - logBefore
	t.add(callers)
	return ctx.Err()
}

// add counts what the callers have seen.
func (t *tally) add(callers []*caller) {
	for _, c := range callers {
		t.latency.merge(&c.latency)
		t.errors += c.errors
		if t.sample == "" {
			t.sample = c.sample
		}
	}
}

// result divides the sums by the right answers. It fails if there was none.
func (t *tally) result() (*flowResult, error) {
	n := t.latency.count
	if n == 0 {
		return nil, fmt.Errorf("%s: not one of %d requests succeeded; the first answer was: %s", t.flow, t.errors, t.sample)
	}
	// The whole cost over the right answers: refused requests are not free.
	each := func(sum time.Duration) time.Duration { return sum / time.Duration(n) }
	return &flowResult{
		Flow: t.flow, Ops: int64(n), Errors: t.errors, Sample: t.sample, Elapsed: t.elapsed, PerSecond: float64(n) / t.elapsed.Seconds(),
		P50: t.latency.quantile(0.50), P99: t.latency.quantile(0.99), Max: t.latency.max,
		ServerCPU: each(t.server), DatabaseCPU: each(t.database), DriverCPU: each(t.driver), Log: float64(t.log) / float64(n),
	}, nil
}
