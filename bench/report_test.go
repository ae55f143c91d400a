package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func atTargets() *report {
	return &report{
		Flows: []*flowResult{
			{Flow: "user", PerSecond: 8000, ServerCPU: 100 * time.Microsecond},
			{Flow: "refresh", PerSecond: 4000},
			{Flow: "signin", PerSecond: 90},
		},
		Argon: 100,
		Storm: &stormResult{Sent: 1000, OK: 600, Refused: 400, RSSSeen: 249_999_999, RSSPeak: 249_999_999, PeakIsOwn: true},
		Cold:  &coldResult{Median: 100 * time.Millisecond, IdleRSS: 30e6, Binary: 35e6},
	}
}

func verdicts(r *report) map[string]bool {
	r.judge()
	m := map[string]bool{}
	for _, v := range r.Verdicts {
		m[v.What] = v.OK
	}
	return m
}

func TestJudge_theTargetItselfIsEnoughAndAHairLessIsNot(t *testing.T) {
	good := verdicts(atTargets())
	if len(good) != 9 {
		t.Errorf("got %d verdicts, want 9: %v", len(good), good)
	}
	for what, ok := range good {
		if !ok {
			t.Errorf("%s: got SHORT at the target itself", what)
		}
	}
	r := atTargets()
	r.Flows[0].PerSecond--
	r.Flows[0].ServerCPU++
	r.Flows[1].PerSecond--
	r.Flows[2].PerSecond--
	r.Storm.RSSPeak++ // the kernel saw what the looks in between missed
	r.Storm.Refused, r.Storm.RefusedBare = 399, 1
	r.Cold.Median++
	r.Cold.IdleRSS++
	r.Cold.Binary++
	for what, ok := range verdicts(r) {
		if ok {
			t.Errorf("%s: got ok below the target", what)
		}
	}
}

func TestJudge_saysNothingOfWhatWasNotMeasured(t *testing.T) {
	r := &report{Flows: []*flowResult{{Flow: "user", PerSecond: 1}, {Flow: "signup", PerSecond: 1}}}
	if diff := cmp.Diff(map[string]bool{"GET /user": false}, verdicts(r)); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
}

func TestStormPeak_aMarkFromBeforeTheStormDoesNotCount(t *testing.T) {
	s := stormResult{RSSSeen: 10, RSSPeak: 20}
	if got := s.peak(); got != 10 {
		t.Errorf("got %d, want what was seen, 10", got)
	}
}

func TestWriteText_alignsTheTableAndEndsWithTheVerdicts(t *testing.T) {
	r := &report{
		Machine: "a machine", Server: "a server", Data: "ext4", Callers: 16, Users: 200,
		Flows: []*flowResult{{
			Flow: "user", Ops: 41000, Errors: 2, Sample: "500 bees", PerSecond: 8200, P50: 1900 * time.Microsecond,
			P99: 4 * time.Millisecond, Max: 9 * time.Millisecond, ServerCPU: 120 * time.Microsecond,
		}},
	}
	r.judge()
	var got bytes.Buffer
	if err := r.writeText(&got); err != nil {
		t.Fatal(err)
	}
	want := `machine  a machine
server   a server
data on  ext4
load     16 callers, 200 users

  flow  op/s      p50      p99      max  server CPU/op  driver CPU/op    ops  errors
  user  8200  1.90 ms  4.00 ms  9.00 ms       120.0 µs              -  41000       2

user: the first of 2 errors: 500 bees

ok     GET /user                  8200/s    (at least 8000/s)
SHORT  server CPU of a GET /user  120.0 µs  (at most 100.0 µs)
`
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
}
