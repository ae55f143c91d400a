package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	tripsWarmUp = 50
	tripsOps    = 200
)

// tripResult is how often one operation waits for the database.
type tripResult struct {
	Engine string  `json:"engine"`
	Flow   string  `json:"flow"`
	Median int64   `json:"median"` // of one operation
	Most   int64   `json:"most"`
	Mean   float64 `json:"mean"` // with what the server does beside, such as leases
}

// countTrips counts the round trips of the hot calls on each engine.
func (o *options) countTrips(ctx context.Context, folder string, r *report, stderr io.Writer) error {
	for _, name := range o.engines {
		fmt.Fprintf(stderr, "%s: starting it\n", name)
		e, err := startEngine(ctx, name, filepath.Join(folder, name))
		if err != nil {
			return err
		}
		r.Engines = append(r.Engines, e.String())
		if err := errors.Join(o.countTripsOf(ctx, e, folder, r, stderr), e.stop()); err != nil {
			return err
		}
	}
	return nil
}

func (o *options) countTripsOf(ctx context.Context, e *engine, folder string, r *report, stderr io.Writer) (err error) {
	s, err := o.newSide(ctx, e, "trips", folder, cheapHash().env()...)
	if err != nil {
		return err
	}
	way, err := startRelay(ctx, e.server.Addr())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop(), way.close()) }()
	s.more = append(s.more, "GATEHOUSE_DATABASE_URL="+strings.Replace(s.db.url, e.server.Addr(), way.addr(), 1))
	if err := s.start(ctx, o.bin); err != nil {
		return err
	}
	s.d.callers = r.Callers
	if err := s.server.explain(s.d.populate(ctx, o.users), "the sign-ups"); err != nil {
		return err
	}
	for _, flow := range o.flows {
		fmt.Fprintf(stderr, "%s: %s\n", e.name, flow)
		t, err := s.d.trips(ctx, flow, way)
		if err := s.server.explain(err, flow); err != nil {
			return err
		}
		t.Engine, t.Flow = e.name, flow
		r.Trips = append(r.Trips, t)
	}
	return nil
}

// trips makes one operation after the other and counts the round trips of each.
func (d *driver) trips(ctx context.Context, flow string, way *relay) (*tripResult, error) {
	callers, err := d.open()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flow, err)
	}
	defer closeAll(callers)
	c := callers[0]
	var each []int64
	for i := range tripsWarmUp + tripsOps {
		c.conn.expire(time.Now().Add(answerTimeout))
		before := way.trips.Load()
		if err := steps()[flow](c); err != nil {
			return nil, fmt.Errorf("%s: %w", flow, err)
		}
		if i >= tripsWarmUp {
			each = append(each, way.trips.Load()-before)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return summary(each), nil
}

// summary needs at least one count.
func summary(each []int64) *tripResult {
	slices.Sort(each)
	var sum int64
	for _, n := range each {
		sum += n
	}
	return &tripResult{Median: each[len(each)/2], Most: each[len(each)-1], Mean: float64(sum) / float64(len(each))}
}
