// Command faults breaks things under load and holds the server to what it has
// acknowledged: nodes are killed, databases restart, connections are cut, disks
// fill up, and afterwards every promise in a journal of requests and answers
// must have been kept, once.
//
// Begin with scenarios in main.go, which lists what is broken how; load.go has
// what the callers do meanwhile, journal.go what they write down, judge.go the
// rules, promises.go and audit.go how the rules are held against the server and
// its tables. It speaks to the server by its command line and its wire alone,
// but for audit.go, which counts rows.
//
// It must never call a run good that has not shown it can fail: one scenario
// throws acknowledged writes away, and fails the run when that goes unnoticed.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"time"

	"gatehouse/internal/cluster"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C is not caught
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	bin, dir, json string
	next           string // the version after bin; empty: built with one more migration
	only           *regexp.Regexp
	minutes        float64
	users          int
	unprivileged   bool
	keep, list     bool
}

// usual is how many minutes the scenarios are cut for.
const usual = 15

// scale is how much shorter or longer than usual loads are.
func (o *options) scale() float64 { return o.minutes / usual }

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	only := ""
	f := flag.NewFlagSet("faults", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.bin, "bin", "dist/gatehouse", "the `binary` to try")
	f.StringVar(&o.next, "next", "", "the `binary` to upgrade to; usually bin with one more migration. With an older one as -bin it tries a real upgrade")
	f.StringVar(&only, "run", "", "only the scenarios whose name matches this `regexp`")
	f.Float64Var(&o.minutes, "minutes", usual, "the longest the whole may take; loads are cut to fit")
	f.IntVar(&o.users, "users", 100, "virtual users")
	f.StringVar(&o.dir, "dir", "", "make the temporary data in this `folder`")
	f.StringVar(&o.json, "json", "", "write a report to this `file`; - is standard output")
	f.BoolVar(&o.keep, "keep", false, "keep the data of scenarios that held, too")
	f.BoolVar(&o.list, "list", false, "list the scenarios and end")
	f.BoolVar(&o.unprivileged, "allow-unprivileged", false, "leave out what needs root, instead of failing")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	var err error
	if o.only, err = regexp.Compile(only); err != nil {
		return o, fmt.Errorf("-run: %w", err)
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("%q is not a flag", f.Args())
	case o.minutes <= 0 || o.users < 1:
		return o, errors.New("-minutes and -users must be more than nothing")
	}
	return o, nil
}

// scenario is one way to break things.
type scenario struct {
	name  string
	bound time.Duration // the longest it may take
	run   func(ctx context.Context, t *trial) error
	needs string // a program besides the databases
	root  bool   // it needs to be root
	idle  bool   // it mostly waits, and on a server of its own: the others run beside it
}

// scenarios lists everything that is tried, in this order.
func scenarios() []scenario {
	return slices.Concat(onlyNode(), failovers(), threeNodes(), restarts(), cuts(), conflicts(), diskFull(), migrators(), upgrades(), rolling(), tabs(), pooled(), noises(), hostile(), pauses())
}

// run is the whole program. Its error means that a rule was broken, or that
// nothing could be tried.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	var chosen []scenario
	for _, s := range scenarios() {
		if o.only.MatchString(s.name) {
			chosen = append(chosen, s)
		}
	}
	if o.list {
		for _, s := range chosen {
			fmt.Fprintf(stdout, "%-24s at most %v\n", s.name, s.bound)
		}
		return nil
	}
	if len(chosen) == 0 {
		return errors.New("-run matches no scenario; -list lists them")
	}
	for _, bin := range []*string{&o.bin, &o.next} {
		if *bin == "" {
			continue
		}
		*bin, err = filepath.Abs(*bin)
		if err != nil {
			return err
		}
		if _, err := os.Stat(*bin); err != nil {
			return fmt.Errorf("%w; build it first, or name a binary with -bin or -next", err)
		}
	}
	if err := cluster.Installed(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.dir, "faults-")
	if err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	return o.try(ctx, chosen, dir, stdout)
}

// rank puts the idle scenarios first.
func rank(sc scenario) int {
	if sc.idle {
		return 0
	}
	return 1
}

// try runs the chosen scenarios one after the other, beside those that mostly
// wait.
func (o *options) try(ctx context.Context, chosen []scenario, dir string, stdout io.Writer) (err error) {
	rep := &report{Began: time.Now()}
	whole, cancel := context.WithDeadline(ctx, rep.Began.Add(time.Duration(o.minutes*float64(time.Minute))))
	defer cancel()
	st := &stage{o: *o, dir: dir, servers: map[string]*cluster.Server{}}
	done := make(chan *result)
	waiting := 0
	chosen = slices.Clone(chosen)
	slices.SortStableFunc(chosen, func(a, b scenario) int { return cmp.Compare(rank(a), rank(b)) })
	for len(chosen) > 0 && chosen[0].idle {
		sc := chosen[0]
		chosen = chosen[1:]
		waiting++
		go func() { done <- st.try(whole, sc) }()
	}
	broken := 0
	judge := func(r *result) {
		rep.Scenarios = append(rep.Scenarios, r)
		r.write(stdout)
		if !r.held() {
			broken++
		}
	}
	for _, sc := range chosen {
		if ctx.Err() == nil {
			judge(st.try(whole, sc))
		}
	}
	for range waiting {
		judge(<-done)
	}
	err = st.close()
	rep.Took, rep.Held = time.Since(rep.Began), broken == 0 && ctx.Err() == nil && err == nil
	fmt.Fprintf(stdout, "%d scenarios in %v, %d broken\n", len(rep.Scenarios), rep.Took.Round(time.Second), broken)
	if rep.Held && !o.keep {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	err = errors.Join(err, ctx.Err(), o.writeReport(rep, stdout))
	if broken > 0 {
		err = errors.Join(fmt.Errorf("%d of %d scenarios broke a rule", broken, len(rep.Scenarios)), err)
	}
	return err
}

func (o *options) writeReport(rep *report, stdout io.Writer) error {
	switch o.json {
	case "":
		return nil
	case "-":
		return rep.writeJSON(stdout)
	}
	f, err := os.Create(o.json)
	if err != nil {
		return err
	}
	return errors.Join(rep.writeJSON(f), f.Close())
}

// try runs one scenario within its bound.
func (s *stage) try(ctx context.Context, sc scenario) *result {
	r := &result{Name: sc.name}
	t := &trial{stage: s, dir: filepath.Join(s.dir, fileName(sc.name)), res: r, began: time.Now()}
	r.Folder = t.dir
	ctx, cancel := context.WithTimeout(ctx, sc.bound)
	defer cancel()
	err := t.prepare(sc)
	if ctx.Err() != nil {
		err = fmt.Errorf("not tried, because the %v minutes of the whole were over", s.o.minutes)
	} else if err == nil {
		err = sc.run(ctx, t)
	}
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w (stopped after %v)", err, time.Since(t.began).Round(time.Second))
	}
	if err = errors.Join(err, t.end()); err != nil && !errors.Is(err, errLeftOut) {
		t.broke("%v", err)
	}
	r.Took = time.Since(t.began)
	if r.held() && !s.o.keep {
		r.Folder = ""
		if err := os.RemoveAll(t.dir); err != nil {
			t.broke("%v", err)
		}
	}
	return r
}

// errLeftOut ends a scenario that was left out as the caller wished.
var errLeftOut = errors.New("left out")
