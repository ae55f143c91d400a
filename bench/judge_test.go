package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func sidesAtTargets() *report {
	us := time.Microsecond
	return &report{
		Flows: []*flowResult{
			{Engine: "postgres", Flow: "user", ServerCPU: 100 * us, DatabaseCPU: 150 * us, PerSecond: 1},
			{Engine: "mysql", Flow: "user", ServerCPU: 175 * us, DatabaseCPU: 200 * us},
			{Engine: "postgres", Flow: "refresh", ServerCPU: 300 * us, DatabaseCPU: 300 * us, Log: 600},
			{Engine: "mysql", Flow: "refresh", ServerCPU: 400 * us, DatabaseCPU: 500 * us, Log: 9000},
			{Engine: "postgres", Flow: "refresh" + afterCheckpoint, ServerCPU: time.Second, Log: 9000},
		},
	}
}

func TestJudgeEngines_theTargetItselfIsEnoughAndAHairMoreIsNot(t *testing.T) {
	want := map[string]bool{
		"postgres: CPU of a refresh": true, "postgres: WAL of a refresh": true, "postgres: CPU of a GET /user": true,
		"mysql: CPU of user by that on postgres": true, "mysql: CPU of refresh by that on postgres": true,
	}
	if diff := cmp.Diff(want, verdicts(sidesAtTargets())); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
	r := sidesAtTargets()
	r.Flows[0].DatabaseCPU += 100
	r.Flows[1].ServerCPU += 1000
	r.Flows[2].ServerCPU += 100
	r.Flows[2].Log++
	r.Flows[3].DatabaseCPU += 1000
	for what, ok := range verdicts(r) {
		if ok {
			t.Errorf("%s: got ok beyond the target", what)
		}
	}
}

func TestJudgeEngines_needsPostgresToCompareWith(t *testing.T) {
	r := &report{Flows: []*flowResult{{Engine: "mysql", Flow: "user", ServerCPU: time.Second}, {Engine: "sqlite", Flow: "user", ServerCPU: 1}}}
	if got := verdicts(r); len(got) != 0 {
		t.Errorf("got %v, want nothing", got)
	}
}

func TestJudgeSizes_comparesWithTheSmallestOfTheSameEngine(t *testing.T) {
	r := &report{Flows: []*flowResult{
		{Engine: "sqlite", People: 1000, Flow: "page", ServerCPU: 130, P50: 10},
		{Engine: "sqlite", People: 10, Flow: "page", ServerCPU: 100, P50: 10},
		{Engine: "sqlite", People: 100, Flow: "page", ServerCPU: 131, P50: 30},
		{Engine: "mysql", People: 20, Flow: "page", ServerCPU: 1, P50: 1},
		{Engine: "mysql", People: 1000, Flow: "walk", ServerCPU: 500, P50: 1}, // nothing to compare with
		{Engine: "sqlite", People: 1000, Flow: "refresh" + afterCheckpoint, ServerCPU: 500, P50: 1},
		{Engine: "sqlite", People: 10, Flow: "refresh" + afterCheckpoint, ServerCPU: 5, P50: 1},
	}}
	r.judge()
	want := []verdict{
		{true, "sqlite: CPU of page with 1000 people by that with 10", "1.30 (p50 1.00)", "at most 1.30"},
		{false, "sqlite: CPU of page with 100 people by that with 10", "1.31 (p50 3.00)", "at most 1.30"},
	}
	if diff := cmp.Diff(want, r.Verdicts); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
}

func TestJudgeTrips_holdsEachCallToItsNumber(t *testing.T) {
	for flow, most := range map[string]int64{"user": 1, "refresh": 2, "signin": 3} {
		for _, n := range []int64{most, most + 1} {
			r := &report{Trips: []*tripResult{{Engine: "mysql", Flow: flow, Median: n}}}
			if got, want := verdicts(r)["mysql: round trips of "+flow], n == most; got != want {
				t.Errorf("%s with %d round trips: got %v, want %v", flow, n, got, want)
			}
		}
	}
}

func TestSummary_isOfTheMiddleTheMostAndTheMean(t *testing.T) {
	if diff := cmp.Diff(&tripResult{Median: 2, Most: 9, Mean: 3.2}, summary([]int64{2, 9, 1, 2, 2})); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
}

func TestWriteText_showsSidesLoadsAndTrips(t *testing.T) {
	us := time.Microsecond
	r := &report{
		Machine: "a machine", Server: "a server", Engines: []string{"postgres 15"}, Callers: 16, Users: 200,
		Loads: []*loadResult{{Engine: "postgres", People: 1000, Sessions: 3000, Took: 2 * time.Second}},
		Trips: []*tripResult{{Engine: "postgres", Flow: "user", Median: 1, Most: 2, Mean: 1.005}},
		Flows: []*flowResult{{
			Engine: "postgres", Flow: "user", People: 1000, Ops: 10, PerSecond: 8200, P50: 1900 * us, P99: 4000 * us, Max: 9000 * us,
			ServerCPU: 100 * us, DatabaseCPU: 50 * us, Log: 123.4, DriverCPU: 20 * us, Errors: 1, Sample: "500 bees",
		}},
	}
	r.judge()
	var got bytes.Buffer
	if err := r.writeText(&got); err != nil {
		t.Fatal(err)
	}
	// How wide a column is belongs to tabwriter.
	text := strings.Join(strings.Fields(got.String()), " ")
	for _, want := range []string{
		"engine postgres 15 load",
		"loaded postgres: 1000 people with 3000 sessions in 2s, 3000 rows/s flow",
		"flow engine round trips most mean user postgres 1 2 1.00 flow",
		"user postgres 1000 8200 1.90 ms 4.00 ms 9.00 ms 100.0 µs 50.0 µs 150.0 µs 123 B 20.0 µs 10 1",
		"user on postgres: the first of 1 errors: 500 bees",
		"ok postgres: round trips of user 1 (at most 1)",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("got no %q in:\n%s", want, got.String())
		}
	}
}
