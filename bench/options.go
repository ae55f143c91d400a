package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A mode is one of the things a run can be for.
type mode int

const (
	oneServer   mode = iota // one server, also one that is there already
	engines                 // -db: the same flows on several engines
	roundTrips              // -trips
	scale                   // -scale: the same flows at several sizes of a database
	loading                 // -load
	manyTenants             // -tenants
)

// flowsOf are the flows of each mode: those it takes, and those it takes when
// none are named.
func flowsOf(m mode) (known, usual string) {
	switch m {
	case engines:
		return "user,refresh,signin,signup,page,walk", "user,refresh,signin,signup"
	case roundTrips:
		return "user,refresh,signin", "user,refresh,signin"
	case scale:
		return "signin,refresh,user,page,walk", "signin,refresh,user,page,walk"
	case loading, manyTenants:
		return "", ""
	}
	return "user,refresh,signin,signup,storm,cold", "user,refresh,signin,signup,storm,cold"
}

// options are the flags.
type options struct {
	url, bin, dir         string
	pid                   int
	flows                 []string
	callers, users, storm int
	duration              time.Duration
	json, form            bool

	mode     mode
	engines  []string
	sizes    []int // of people, the smallest first
	rounds   int
	sample   int
	load     int
	tenants  int
	database string
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	var flows, db, sizes string
	var trips bool
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.url, "url", "", "drive the server at this `address` instead of starting one")
	f.IntVar(&o.pid, "pid", 0, "with -url: the server's process, for CPU and memory")
	f.StringVar(&o.bin, "bin", "", "start this `binary` instead of building one")
	f.StringVar(&o.dir, "dir", "", "make the temporary data in this `folder`; its disk decides what a durable commit costs")
	f.StringVar(&flows, "flows", "", "what to measure, in this order (default: all that fits); cold always comes last")
	f.IntVar(&o.callers, "callers", 16, "callers in a closed loop")
	f.DurationVar(&o.duration, "duration", 5*time.Second, "how long each of user, refresh, signin and signup is measured")
	f.IntVar(&o.users, "users", 200, "people signed up beforehand")
	f.IntVar(&o.storm, "storm", 1000, "sign-ins at one instant in the storm")
	f.BoolVar(&o.form, "form", false, "POST /token as a form, for Netlify GoTrue")
	f.BoolVar(&o.json, "json", false, "print JSON instead of a table")
	f.StringVar(&db, "db", "", "measure on these `engines` side by side: "+engineNames)
	f.BoolVar(&trips, "trips", false, "count the round trips to the database of each hot call")
	f.StringVar(&sizes, "scale", "", "compare databases of so many `people`, such as 10000,1000000")
	f.IntVar(&o.rounds, "rounds", 3, "with -db and -scale: share -duration out among so many turns of each side")
	f.IntVar(&o.sample, "sample", 2000, "with -scale: people, from all over, who sign in and are measured")
	f.IntVar(&o.load, "load", 0, "only load so many `people` into -database")
	f.IntVar(&o.tenants, "tenants", 0, "make so many `tenants` in one server and ask each of them")
	f.StringVar(&o.database, "database", "", "with -load: the `address` of an empty, migrated database")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	bad := o.read(flows, db, sizes, trips)
	return o, errors.Join(bad, o.check(f.Args()))
}

// read takes the lists apart and finds the mode.
func (o *options) read(flows, db, sizes string, trips bool) error {
	var faults []error
	usual := engineNames
	asked := map[mode]bool{loading: o.load != 0, scale: sizes != "", roundTrips: trips, manyTenants: o.tenants != 0}
	for _, m := range []mode{loading, scale, roundTrips, manyTenants} {
		if !asked[m] {
			continue
		}
		if o.mode != oneServer {
			faults = append(faults, errors.New("-trips, -scale, -load and -tenants exclude each other"))
		}
		o.mode = m
	}
	switch {
	case o.mode == oneServer && db != "":
		o.mode = engines
	case o.mode == roundTrips:
		usual = "postgres,mysql" // nothing travels to SQLite
	}
	o.engines = strings.Split(cmp.Or(db, usual), ",")
	_, all := flowsOf(o.mode)
	o.flows = strings.Split(cmp.Or(flows, all), ",")
	for s := range strings.SplitSeq(sizes, ",") {
		if sizes == "" {
			break
		}
		n, err := strconv.Atoi(s)
		if err != nil || n < walkPages {
			faults = append(faults, fmt.Errorf("-scale: %q is not a number of people, at least %d", s, walkPages))
		}
		o.sizes = append(o.sizes, n)
	}
	slices.Sort(o.sizes)
	return errors.Join(faults...)
}

// check reports every fault of the flags at once.
func (o *options) check(rest []string) error {
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	known, _ := flowsOf(o.mode)
	for _, name := range o.flows {
		fault(!slices.Contains(strings.Split(known, ","), name), "-flows has no %q here, only %s", name, known)
	}
	for _, name := range o.engines {
		fault(!slices.Contains(strings.Split(engineNames, ","), name), "-db has no %q, only %s", name, engineNames)
	}
	fault(len(rest) > 0, "%q is not a flag", rest)
	fault(o.url != "" && o.bin != "", "-url and -bin exclude each other: drive a running server or start one")
	fault(o.url != "" && o.mode != oneServer, "-url drives a server whose database is not known: -db, -trips, -scale, -load and -tenants start their own")
	fault(o.url == "" && o.pid != 0, "-pid needs -url: of a server started here it is known")
	fault(o.callers < 1, "-callers must be at least 1")
	fault(o.users < o.callers, "-users must be at least -callers, for each caller refreshes chains of its own")
	fault(o.duration <= 0, "-duration must be more than nothing")
	fault(o.storm < 1, "-storm must be at least 1")
	fault(o.rounds < 1, "-rounds must be at least 1")
	fault(o.sample < o.callers, "-sample must be at least -callers, for each caller refreshes chains of its own")
	fault(o.mode == scale && len(o.sizes) < 2, "-scale needs two sizes or more, such as 10000,1000000")
	fault(o.tenants < 0, "-tenants must be more than nothing")
	fault(o.load < 0, "-load must be more than nothing")
	fault((o.mode == loading) != (o.database != ""), "-load and -database go together")
	fault(o.mode == roundTrips && slices.Contains(o.engines, "sqlite"), "-trips: there is no way to SQLite that could be counted")
	return errors.Join(faults...)
}
