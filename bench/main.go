// Command bench drives the hot calls of a GoTrue-shaped server and prints what
// they cost: operations a second, p50, p99, and server CPU per operation,
// beside the figures Gatehouse aims at.
//
// It knows the wire and the process table, nothing of Gatehouse's inside: what
// it measures is what a client sees. Begin reading at run; flows.go has what is
// asked, wire.go how, proc.go what the process table says about the server,
// report.go the targets. It must never import an internal package, and must
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
	"strings"
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

// options are the flags.
type options struct {
	url, bin, dir         string
	pid                   int
	flows                 []string
	callers, users, storm int
	duration              time.Duration
	json, form            bool
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	var flows string
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.url, "url", "", "drive the server at this `address` instead of starting one")
	f.IntVar(&o.pid, "pid", 0, "with -url: the server's process, for CPU and memory")
	f.StringVar(&o.bin, "bin", "", "start this `binary` instead of building one")
	f.StringVar(&o.dir, "dir", "", "make the temporary data in this `folder`; its disk decides what a durable commit costs")
	f.StringVar(&flows, "flows", "user,refresh,signin,signup,storm,cold", "what to measure, in this order; cold always comes last")
	f.IntVar(&o.callers, "callers", 16, "callers in a closed loop")
	f.DurationVar(&o.duration, "duration", 5*time.Second, "how long each of user, refresh, signin and signup is measured")
	f.IntVar(&o.users, "users", 200, "people signed up beforehand")
	f.IntVar(&o.storm, "storm", 1000, "sign-ins at one instant in the storm")
	f.BoolVar(&o.form, "form", false, "POST /token as a form, for Netlify GoTrue")
	f.BoolVar(&o.json, "json", false, "print JSON instead of a table")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.flows = strings.Split(flows, ",")
	return o, o.check(f.Args())
}

// check reports every fault of the flags at once.
func (o *options) check(rest []string) error {
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	known := []string{"user", "refresh", "signin", "signup", "storm", "cold"}
	for _, name := range o.flows {
		fault(!slices.Contains(known, name), "-flows has no %q, only %s", name, strings.Join(known, ", "))
	}
	fault(len(rest) > 0, "%q is not a flag", rest)
	fault(o.url != "" && o.bin != "", "-url and -bin exclude each other: drive a running server or start one")
	fault(o.url == "" && o.pid != 0, "-pid needs -url: of a server started here it is known")
	fault(o.callers < 1, "-callers must be at least 1")
	fault(o.users < o.callers, "-users must be at least -callers, for each caller refreshes chains of its own")
	fault(o.duration <= 0, "-duration must be more than nothing")
	fault(o.storm < 1, "-storm must be at least 1")
	return errors.Join(faults...)
}

// run is the whole program: get a server, measure, judge, print. Its error means
// that the run failed, never that a figure is low.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp(o.dir, "bench-")
	if err != nil {
		return fmt.Errorf("no folder for the data: %w", err)
	}
	if folder, err = filepath.Abs(folder); err != nil { // the server runs elsewhere
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()

	r := &report{Machine: machine(), Server: o.url, Callers: o.callers, Users: o.users}
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
	hot := slices.DeleteFunc(slices.Clone(o.flows), func(name string) bool { return name == "cold" })
	if len(hot) > 0 {
		if err := o.drive(ctx, hot, filepath.Join(folder, "hot"), r, stderr); err != nil {
			return err
		}
	}
	if len(hot) < len(o.flows) {
		if o.url != "" {
			r.Notes = append(r.Notes, "cold was left out: it needs a binary to start, not an address")
		} else {
			fmt.Fprintln(stderr, "cold: starting it", coldStarts, "times")
			if r.Cold, err = cold(ctx, o.bin, filepath.Join(folder, "cold")); err != nil {
				return fmt.Errorf("cold: %w", err)
			}
		}
	}
	r.judge()
	if o.json {
		return r.writeJSON(stdout)
	}
	return r.writeText(stdout)
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
		err := o.measure(ctx, d, name, r)
		if err == nil && s != nil && s.hasGone() {
			err = fmt.Errorf("the server ended during %s (%v)", name, s.state)
		}
		if err != nil && s != nil {
			return fmt.Errorf("%w%s", err, s.logTail())
		}
		if err != nil {
			return err
		}
	}
	return nil
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
	steps := map[string]step{"user": user, "refresh": refresh, "signin": signIn, "signup": signUp}
	f, err := d.measure(ctx, name, steps[name], o.duration)
	if err != nil {
		return err
	}
	r.Flows = append(r.Flows, f)
	return nil
}
