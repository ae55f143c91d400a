package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// What Gatehouse aims at on databases of their own: on two cores with driver,
// server and database side by side, 16 callers, commits durable as the engine
// makes them unless told otherwise. CPU is that of server and database together.
const (
	wantPostgresRefreshCPU = 600 * time.Microsecond
	wantPostgresRefreshLog = 600.0 // bytes of WAL
	wantPostgresUserCPU    = 250 * time.Microsecond
	wantMySQLFactor        = 1.5 // of what PostgreSQL costs
	wantGrowth             = 1.3 // of what the smallest database costs
)

// wantTrips is how often a call may wait for the database.
func wantTrips(flow string) int64 {
	return map[string]int64{"user": 1, "refresh": 2, "signin": 3}[flow]
}

// find returns what was measured, or nil.
func (r *report) find(engine string, people int, flow string) *flowResult {
	for _, f := range r.Flows {
		if f.Engine == engine && f.People == people && f.Flow == flow {
			return f
		}
	}
	return nil
}

// judgeEngines compares engines with their targets and with each other.
func (r *report) judgeEngines() {
	if f := r.find("postgres", 0, "refresh"); f != nil {
		r.add(f.totalCPU() <= wantPostgresRefreshCPU, "postgres: CPU of a refresh", micros(f.totalCPU()), "at most "+micros(wantPostgresRefreshCPU))
		r.add(f.Log <= wantPostgresRefreshLog, "postgres: WAL of a refresh", octets(f.Log), "at most "+octets(wantPostgresRefreshLog))
	}
	if f := r.find("postgres", 0, "user"); f != nil {
		r.add(f.totalCPU() <= wantPostgresUserCPU, "postgres: CPU of a GET /user", micros(f.totalCPU()), "at most "+micros(wantPostgresUserCPU))
	}
	for _, f := range r.Flows {
		base := r.find("postgres", 0, f.Flow)
		if f.Engine != "mysql" || f.People != 0 || base == nil || base.totalCPU() == 0 {
			continue
		}
		factor := float64(f.totalCPU()) / float64(base.totalCPU())
		r.add(factor <= wantMySQLFactor, "mysql: CPU of "+f.Flow+" by that on postgres", fmt.Sprintf("%.2f", factor), fmt.Sprintf("at most %.2f", wantMySQLFactor))
	}
}

// judgeSizes compares the larger databases with the smallest of their engine.
func (r *report) judgeSizes() {
	smallest := map[string]int{}
	for _, f := range r.Flows {
		if f.People > 0 && (smallest[f.Engine] == 0 || f.People < smallest[f.Engine]) {
			smallest[f.Engine] = f.People
		}
	}
	for _, f := range r.Flows {
		if f.People <= smallest[f.Engine] || strings.HasSuffix(f.Flow, afterCheckpoint) {
			continue
		}
		base := r.find(f.Engine, smallest[f.Engine], f.Flow)
		if base == nil || base.totalCPU() == 0 {
			continue
		}
		growth := float64(f.totalCPU()) / float64(base.totalCPU())
		r.add(growth <= wantGrowth, fmt.Sprintf("%s: CPU of %s with %d people by that with %d", f.Engine, f.Flow, f.People, base.People),
			fmt.Sprintf("%.2f (p50 %.2f)", growth, float64(f.P50)/float64(base.P50)), fmt.Sprintf("at most %.2f", wantGrowth))
	}
}

func (r *report) judgeTrips() {
	for _, t := range r.Trips {
		want := wantTrips(t.Flow)
		r.add(t.Median <= want, t.Engine+": round trips of "+t.Flow, fmt.Sprint(t.Median), fmt.Sprintf("at most %d", want))
	}
}

// sideTable prints what was measured side by side.
func (r *report) sideTable(b *strings.Builder) {
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "flow\tengine\tpeople\top/s\tp50\tp99\tmax\tserver CPU/op\tdatabase CPU/op\ttotal CPU/op\tlog/op\tdriver CPU/op\tops\terrors\t")
	for _, f := range r.Flows {
		people := "-"
		if f.People > 0 {
			people = fmt.Sprint(f.People)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%.0f\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t\n", f.Flow, f.Engine, people, f.PerSecond,
			millis(f.P50), millis(f.P99), millis(f.Max), micros(f.ServerCPU), micros(f.DatabaseCPU), micros(f.totalCPU()), octets(f.Log),
			micros(f.DriverCPU), f.Ops, f.Errors)
	}
	_ = t.Flush() // a strings.Builder takes everything
	for _, f := range r.Flows {
		if f.Errors > 0 {
			fmt.Fprintf(b, "\n%s on %s: the first of %d errors: %s\n", f.Flow, f.Engine, f.Errors, f.Sample)
		}
	}
}

func (r *report) tripTable(b *strings.Builder) {
	if len(r.Trips) == 0 {
		return
	}
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "flow\tengine\tround trips\tmost\tmean\t")
	for _, f := range r.Trips {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%.2f\t\n", f.Flow, f.Engine, f.Median, f.Most, f.Mean)
	}
	_ = t.Flush() // a strings.Builder takes everything
	b.WriteByte('\n')
}

func (r *report) loadTable(b *strings.Builder) {
	for _, l := range r.Loads {
		rows := float64(3*l.People + l.Sessions)
		fmt.Fprintf(b, "loaded   %s: %d people with %d sessions in %s, %.0f rows/s\n",
			l.Engine, l.People, l.Sessions, l.Took.Round(100*time.Millisecond), rows/l.Took.Seconds())
	}
	if len(r.Loads) > 0 {
		b.WriteByte('\n')
	}
}

// octets prints bytes of an operation.
func octets(n float64) string {
	if n < 0.5 {
		return "-"
	}
	return fmt.Sprintf("%.0f B", n)
}
