// Command bench drives the hot calls of a GoTrue-shaped server and prints what
// they cost: operations a second, p50, p99, and CPU per operation of the server
// and its database, beside the figures Gatehouse aims at.
//
// It knows the wire and the process table, nothing of Gatehouse's inside: what
// it measures is what a client sees. The one exception is the load, which knows
// the tables (tables.go), and a test that runs it against the real ones.
//
// Begin reading at run; flows.go has what is asked, tally.go how a figure is
// taken, wire.go how it is asked, proc.go and tree.go what the process table
// says, sides.go what is measured side by side, report.go and judge.go the
// targets. Of the internal packages it may import cluster alone, and it must
// never fail because a figure is low: figures depend on the machine, and tests
// must not.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C is not caught
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run is the whole program: get a server, measure, judge, print. Its error means
// that the run failed, never that a figure is low.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	r := &report{Machine: machine(), Server: o.url, Callers: o.callers, Users: o.users}
	switch o.mode {
	case loading:
		r.Callers, r.Users = 0, 0
		err = o.loadOnly(ctx, r)
	case manyTenants:
		r.Callers, r.Users = 1, 0
		err = o.inFolder(ctx, r, stderr)
	case roundTrips:
		r.Callers = 1 // or the trips of one would be taken for another's
		err = o.inFolder(ctx, r, stderr)
	case scale:
		r.Users = o.sample
		err = o.inFolder(ctx, r, stderr)
	default:
		err = o.inFolder(ctx, r, stderr)
	}
	if err != nil {
		return err
	}
	r.judge()
	if o.json {
		return r.writeJSON(stdout)
	}
	return r.writeText(stdout)
}

// loadOnly fills somebody's own database.
func (o *options) loadOnly(ctx context.Context, r *report) error {
	c := newCrowd(o.load, loadPassword, usualHash().hash(loadPassword), time.Now())
	l, err := fill(ctx, o.database, c)
	if err != nil {
		return err
	}
	r.Loads = append(r.Loads, l)
	r.Notes = append(r.Notes, fmt.Sprintf("they are %s to %s, each with the password %s", c.email(0), c.email(o.load-1), c.password))
	return nil
}

// inFolder does all that needs a folder for the data, which is gone afterwards.
func (o *options) inFolder(ctx context.Context, r *report, stderr io.Writer) (err error) {
	folder, err := os.MkdirTemp(o.dir, "bench-")
	if err != nil {
		return fmt.Errorf("no folder for the data: %w", err)
	}
	if folder, err = filepath.Abs(folder); err != nil { // the server runs elsewhere
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	if o.url == "" {
		if r.Data = filesystem(folder); r.Data == "tmpfs" || r.Data == "ramfs" {
			r.Notes = append(r.Notes, "the data lies in memory, so durable commits cost nothing: name a folder on a disk with -dir")
		}
		r.Settings = passedOn(os.Environ())
		if r.Server = o.bin; o.bin == "" {
			r.Server = "gatehouse, built for this run"
			fmt.Fprintln(stderr, "building gatehouse")
			if o.bin, err = build(ctx, folder, stderr); err != nil {
				return err
			}
		}
	}
	if o.mode != oneServer { // these say themselves which database
		r.Settings = slices.DeleteFunc(r.Settings, func(name string) bool {
			return name == "GATEHOUSE_DATABASE_URL" || name == "GATEHOUSE_OPERATOR_TOKEN"
		})
	}
	switch o.mode {
	case engines:
		return o.compareEngines(ctx, folder, r, stderr)
	case roundTrips:
		return o.countTrips(ctx, folder, r, stderr)
	case scale:
		return o.compareSizes(ctx, folder, r, stderr)
	case manyTenants:
		return o.manyTenants(ctx, folder, r, stderr)
	}
	return o.measureOne(ctx, folder, r, stderr)
}

// measureOne is a run about one server.
func (o *options) measureOne(ctx context.Context, folder string, r *report, stderr io.Writer) error {
	hot := slices.DeleteFunc(slices.Clone(o.flows), func(name string) bool { return name == "cold" })
	if len(hot) > 0 {
		if err := o.drive(ctx, hot, filepath.Join(folder, "hot"), r, stderr); err != nil {
			return err
		}
	}
	if len(hot) == len(o.flows) {
		return nil
	}
	if o.url != "" {
		r.Notes = append(r.Notes, "cold was left out: it needs a binary to start, not an address")
		return nil
	}
	fmt.Fprintln(stderr, "cold: starting it", coldStarts, "times")
	var err error
	if r.Cold, err = cold(ctx, o.bin, filepath.Join(folder, "cold")); err != nil {
		return fmt.Errorf("cold: %w", err)
	}
	return nil
}

// drive runs the flows that need a server, which it starts if none was named.
func (o *options) drive(ctx context.Context, flows []string, folder string, r *report, stderr io.Writer) (err error) {
	address, pid := o.url, o.pid
	var s *server
	if address == "" {
		if s, err = start(ctx, o.bin, folder); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.stop()) }()
		address, pid = s.url, s.pid
	}
	to, err := newTarget(address, o.form)
	if err != nil {
		return err
	}
	if pid != 0 {
		if _, err := cpuTime(pid); err != nil {
			return err
		}
	}
	d := newDriver(&to, pid, o.callers)
	fmt.Fprintf(stderr, "signing up %d people\n", o.users)
	if err := d.populate(ctx, o.users); err != nil {
		return err
	}
	for _, name := range flows {
		fmt.Fprintf(stderr, "%s\n", name)
		if err := s.explain(o.measure(ctx, d, name, r), name); err != nil {
			return err
		}
	}
	return nil
}

// steps are what one caller does again and again in each flow.
func steps() map[string]step {
	return map[string]step{"user": user, "refresh": refresh, "signin": signIn, "signup": signUp, "page": page, "walk": walk}
}

// measure runs one flow and adds what it found to the report.
func (o *options) measure(ctx context.Context, d *driver, name string, r *report) (err error) {
	switch name {
	case "storm":
		r.Storm, err = d.storm(ctx, o.storm)
		return err
	case "signin":
		// Before and after, for a machine that is not alone changes its speed.
		before := rawArgon(ctx, o.duration/2)
		defer func() { r.Argon = (before + rawArgon(ctx, o.duration/2)) / 2 }()
	}
	f, err := d.measure(ctx, name, steps()[name], o.duration)
	if err != nil {
		return err
	}
	r.Flows = append(r.Flows, f)
	return nil
}
