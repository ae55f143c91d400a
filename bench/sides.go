package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// A side is one server at one database that is measured beside others.
type side struct {
	db     *database
	people int      // who were loaded; 0 when that is not what is compared
	sample []string // addresses of some of them
	folder string   // of the server
	more   []string // settings of the server
	server *server
	d      *driver
}

// newSide makes a migrated database for a server that has not started yet.
func (o *options) newSide(ctx context.Context, e *engine, name, folder string, more ...string) (*side, error) {
	s := &side{folder: filepath.Join(folder, e.name+"-"+name)}
	var err error
	if s.db, err = e.create(ctx, name, s.folder); err != nil {
		return nil, err
	}
	operator := rand.Text()
	s.more = append(more, "GATEHOUSE_DATABASE_URL="+s.db.url, "GATEHOUSE_OPERATOR_TOKEN="+operator)
	s.d = newDriver(nil, 0, o.callers)
	s.d.db, s.d.operator = s.db, []byte(operator)
	return s, migrate(ctx, o.bin, s.folder, s.more...)
}

// start starts the server.
func (s *side) start(ctx context.Context, bin string) error {
	var err error
	if s.server, err = start(ctx, bin, s.folder, s.more...); err != nil {
		return err
	}
	to, err := newTarget(s.server.url, false)
	if err != nil {
		return err
	}
	s.d.to, s.d.pid = &to, s.server.pid
	return nil
}

func (s *side) stop() error {
	if s.server == nil {
		return nil
	}
	return s.server.stop()
}

func (s *side) String() string {
	if s.people == 0 {
		return s.db.engine.name
	}
	return fmt.Sprintf("%s with %d people", s.db.engine.name, s.people)
}

// stopAll ends servers first, then what they need.
func stopAll(sides []*side, below []*engine) error {
	var faults []error
	for _, s := range sides {
		faults = append(faults, s.stop())
	}
	for _, e := range below {
		faults = append(faults, e.stop())
	}
	return errors.Join(faults...)
}

// compareEngines measures each flow on each engine in turns.
func (o *options) compareEngines(ctx context.Context, folder string, r *report, stderr io.Writer) (err error) {
	var sides []*side
	var servers []*engine
	defer func() { err = errors.Join(err, stopAll(sides, servers)) }()
	for _, name := range o.engines {
		fmt.Fprintf(stderr, "%s: starting it and signing up %d people\n", name, o.users)
		e, err := startEngine(ctx, name, filepath.Join(folder, name))
		if err != nil {
			return err
		}
		servers = append(servers, e)
		r.Engines = append(r.Engines, e.String())
		s, err := o.newSide(ctx, e, "bench", folder)
		if err != nil {
			return err
		}
		sides = append(sides, s)
		if err := s.start(ctx, o.bin); err != nil {
			return err
		}
		if err := s.server.explain(s.d.populate(ctx, o.users), "the sign-ups"); err != nil {
			return err
		}
		s.d.pages = max(1, int64(o.users/pageSize))
		// A planner without statistics guesses; within a minute it would have them.
		if err := s.db.settle(ctx); err != nil {
			return err
		}
	}
	return o.allFlows(ctx, sides, r, stderr)
}

// compareSizes measures each flow at each size in turns, one engine after the
// other.
func (o *options) compareSizes(ctx context.Context, folder string, r *report, stderr io.Writer) error {
	for _, name := range o.engines {
		if err := o.compareSizesOf(ctx, name, filepath.Join(folder, "scale-"+name), r, stderr); err != nil {
			return err
		}
	}
	return nil
}

func (o *options) compareSizesOf(ctx context.Context, name, folder string, r *report, stderr io.Writer) (err error) {
	fmt.Fprintf(stderr, "%s: starting it\n", name)
	e, err := startEngine(ctx, name, filepath.Join(folder, name))
	if err != nil {
		return err
	}
	var sides []*side
	defer func() {
		err = errors.Join(err, stopAll(sides, []*engine{e}), os.RemoveAll(folder)) // room for the next
	}()
	r.Engines = append(r.Engines, e.String())
	for _, people := range o.sizes {
		s, err := o.loadedSide(ctx, e, people, folder, r, stderr)
		if err != nil {
			return err
		}
		sides = append(sides, s)
	}
	// Only now, so that nothing of a later load falls into what a server does.
	for _, s := range sides {
		if err := s.db.settle(ctx); err != nil {
			return err
		}
		if err := s.start(ctx, o.bin); err != nil {
			return err
		}
		fmt.Fprintf(stderr, "%s: signing in %d of them\n", s, len(s.sample))
		s.d.pages = int64(o.sizes[0] / pageSize) // the same pages on every side
		if err := s.server.explain(s.d.signInAll(ctx, s.sample), "the sign-ins"); err != nil {
			return err
		}
	}
	return o.allFlows(ctx, sides, r, stderr)
}

// loadedSide is a side whose database has so many people in it.
func (o *options) loadedSide(ctx context.Context, e *engine, people int, folder string, r *report, stderr io.Writer) (*side, error) {
	s, err := o.newSide(ctx, e, "people"+strconv.Itoa(people), folder, cheapHash().env()...)
	if err != nil {
		return nil, err
	}
	s.people = people
	fmt.Fprintf(stderr, "%s: loading\n", s)
	c := newCrowd(people, loadPassword, cheapHash().hash(loadPassword), time.Now())
	l, err := fill(ctx, s.db.url, c)
	if err != nil {
		return nil, err
	}
	s.d.password, s.sample = c.password, c.sample(o.sample)
	r.Loads = append(r.Loads, l)
	return s, nil
}

// allFlows measures every flow on all sides. Side by side: whatever else the
// machine does meanwhile, it does to all of them.
func (o *options) allFlows(ctx context.Context, sides []*side, r *report, stderr io.Writer) error {
	for _, flow := range o.flows {
		tallies := make([]tally, len(sides))
		for i, s := range sides {
			tallies[i].flow = flow
			// A first turn that does not count: pages that are in memory, in the log
			// since the last checkpoint, and statements that are prepared.
			if err := s.server.explain(s.d.once(ctx, &tally{flow: flow}, steps()[flow]), flow); err != nil {
				return err
			}
		}
		for round := range o.rounds {
			for i, s := range inTurns(sides, round) {
				fmt.Fprintf(stderr, "%s: %s, %d of %d\n", s, flow, round+1, o.rounds)
				err := s.d.window(ctx, &tallies[i], steps()[flow], o.duration/time.Duration(o.rounds))
				if err := s.server.explain(err, flow); err != nil {
					return err
				}
			}
		}
		for i, s := range sides {
			if err := r.addSide(s, &tallies[i]); err != nil {
				return s.server.explain(err, flow)
			}
		}
		if flow == coldFlow {
			if err := r.coldPages(ctx, sides); err != nil {
				return err
			}
		}
	}
	return nil
}

// inTurns yields sides with their numbers, every other round from the end: what
// comes second must not always be the same.
func inTurns(sides []*side, round int) func(func(int, *side) bool) {
	if round%2 == 0 {
		return slices.All(sides)
	}
	return slices.Backward(sides)
}

// addSide adds what was found on one side.
func (r *report) addSide(s *side, t *tally) error {
	f, err := t.result()
	if err != nil {
		return err
	}
	f.Engine, f.People = s.db.engine.name, s.people
	r.Flows = append(r.Flows, f)
	return nil
}

const (
	coldFlow        = "refresh"             // is measured by coldPages too,
	afterCheckpoint = " after a checkpoint" // whose figures are marked so
)

// coldPages measures each session once just after a checkpoint, where PostgreSQL
// logs the whole of every page at its first change: the dearest the log gets.
func (r *report) coldPages(ctx context.Context, sides []*side) error {
	for _, s := range sides {
		has, err := s.db.checkpoint(ctx)
		if err != nil {
			return err
		}
		if !has {
			continue
		}
		t := tally{flow: coldFlow + afterCheckpoint}
		if err := s.server.explain(s.d.once(ctx, &t, steps()[coldFlow]), t.flow); err != nil {
			return err
		}
		if err := r.addSide(s, &t); err != nil {
			return err
		}
	}
	return nil
}
