package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const short = 60 * time.Millisecond // of a measured window in the tests

// newRun returns a driver with four callers and people signed up at f.
func newRun(t *testing.T, f *fake) *driver {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	to, err := newTarget(s.URL, f.netlify)
	if err != nil {
		t.Fatal(err)
	}
	d := newDriver(&to, os.Getpid(), 4)
	if err := d.populate(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestFlows_askWhatTheyNameAndSucceed(t *testing.T) {
	for _, netlify := range []bool{false, true} {
		f := newFake()
		f.netlify = netlify
		d := newRun(t, f)
		for _, tc := range []struct {
			name, call string
			step       step
		}{
			{"user", "user", user},
			{"refresh", "refresh_token", refresh},
			{"signin", "password", signIn},
			{"signup", "signup", signUp},
			{"user", "user", user}, // the refreshed sessions still have live tokens
		} {
			f.mu.Lock()
			before := f.calls[tc.call]
			f.mu.Unlock()
			r, err := d.measure(t.Context(), tc.name, tc.step, short)
			if err != nil {
				t.Fatalf("netlify %v: %s: %v", netlify, tc.name, err)
			}
			f.mu.Lock()
			asked := f.calls[tc.call] - before
			f.mu.Unlock()
			if r.Errors != 0 || r.Sample != "" {
				t.Errorf("netlify %v: %s: got %d errors (%s), want none", netlify, tc.name, r.Errors, r.Sample)
			}
			// The warm-up asks as well but does not count.
			if r.Ops < 4 || int(r.Ops) > asked {
				t.Errorf("netlify %v: %s: got %d ops, want 4 to the %d calls that arrived", netlify, tc.name, r.Ops, asked)
			}
			if r.P50 <= 0 || r.P99 < r.P50 || r.Max < r.P99 || r.PerSecond <= 0 {
				t.Errorf("netlify %v: %s: the figures do not fit together: %+v", netlify, tc.name, *r)
			}
		}
	}
}

func TestRefresh_neverSendsATokenTwice(t *testing.T) {
	f := newFake()
	d := newRun(t, f)
	r, err := d.measure(t.Context(), "refresh", refresh, short)
	if err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refused != 0 || r.Errors != 0 {
		t.Errorf("got %d refused tokens and %d errors, want none", f.refused, r.Errors)
	}
	if got, want := len(f.refresh), len(d.sessions); got != want {
		t.Errorf("got %d live refresh tokens, want one for each of %d sessions", got, want)
	}
}

func TestRefresh_leavesABrokenChainAndGoesOnWithTheOthers(t *testing.T) {
	f := newFake()
	d := newRun(t, f)
	d.sessions[0].refresh = []byte("stolen and used")
	r, err := d.measure(t.Context(), "refresh", refresh, 3*short)
	if err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refused != 1 || r.Ops < 4 {
		t.Errorf("got %d refused tokens and %d ops, want exactly 1 and more than a few", f.refused, r.Ops)
	}
}

func TestMeasure_countsRefusalsWithASampleAndKeepsThemOutOfTheRate(t *testing.T) {
	f := newFake()
	d := newRun(t, f)
	var n, refusedSoFar atomic.Int64
	f.veto = func(w http.ResponseWriter, _ *http.Request) bool {
		if n.Add(1)%2 == 0 {
			return false
		}
		refusedSoFar.Add(1)
		reply(w, 500, map[string]string{"msg": "the bees are back"})
		return true
	}
	r, err := d.measure(t.Context(), "user", user, short)
	if err != nil {
		t.Fatal(err)
	}
	if r.Errors == 0 || r.Errors > refusedSoFar.Load() || r.Ops == 0 || r.Ops+r.Errors > n.Load() {
		t.Errorf("got %d ops and %d errors of %d requests with %d refusals", r.Ops, r.Errors, n.Load(), refusedSoFar.Load())
	}
	if want := "500 {\"msg\":\"the bees are back\"}"; !strings.HasPrefix(r.Sample, want) {
		t.Errorf("sample: got %q, want %q", r.Sample, want)
	}
}

func TestMeasure_failsWhenNothingSucceeds(t *testing.T) {
	f := newFake()
	d := newRun(t, f)
	f.veto = func(w http.ResponseWriter, _ *http.Request) bool {
		reply(w, 403, map[string]string{"error_code": "user_banned"})
		return true
	}
	_, err := d.measure(t.Context(), "user", user, short)
	if err == nil || !strings.Contains(err.Error(), "user_banned") {
		t.Errorf("got %v, want an error that shows the answer", err)
	}
}

func TestMeasure_aSuccessWithoutItsTokensIsAnError(t *testing.T) {
	f := newFake()
	d := newRun(t, f)
	f.veto = func(w http.ResponseWriter, _ *http.Request) bool {
		reply(w, 200, map[string]any{"user": map[string]string{"access_token": "a", "refresh_token": "b", "id": "c"}})
		return true
	}
	for name, s := range map[string]step{"user": user, "refresh": refresh, "signin": signIn, "signup": signUp} {
		if r, err := d.measure(t.Context(), name, s, short/6); err == nil {
			t.Errorf("%s: got %d ops, want an error", name, r.Ops)
		}
	}
}

func TestPopulate_saysWhatTheServerAnswered(t *testing.T) {
	f := newFake()
	f.veto = func(w http.ResponseWriter, _ *http.Request) bool {
		reply(w, 422, map[string]string{"error_code": "signup_disabled"})
		return true
	}
	s := httptest.NewServer(f)
	defer s.Close()
	to, err := newTarget(s.URL, false)
	if err != nil {
		t.Fatal(err)
	}
	err = newDriver(&to, 0, 2).populate(t.Context(), 4)
	if err == nil || !strings.Contains(err.Error(), "POST /signup: 422") || !strings.Contains(err.Error(), "signup_disabled") {
		t.Errorf("got %v, want the answer to POST /signup", err)
	}
}

func TestStorm_sortsEveryAnswerIntoItsKind(t *testing.T) {
	f := newFake()
	d := newRun(t, f)
	var n atomic.Int64
	f.veto = func(w http.ResponseWriter, _ *http.Request) bool {
		switch n.Add(1) % 5 {
		case 0:
			return false
		case 1:
			w.Header().Set("Retry-After", "2")
			reply(w, 429, map[string]int{"code": 429})
		case 2:
			reply(w, 429, map[string]int{"code": 429})
		case 3:
			reply(w, 503, map[string]int{"code": 503})
		case 4:
			panic(http.ErrAbortHandler) // closes the connection without an answer
		}
		return true
	}
	r, err := d.storm(t.Context(), 50)
	if err != nil {
		t.Fatal(err)
	}
	got := [6]int{r.Sent, r.OK, r.Refused, r.RefusedBare, r.Other, r.Broken}
	if want := [6]int{50, 10, 10, 10, 10, 10}; got != want {
		t.Errorf("sent, 200, 429, bare 429, other, broken: got %v, want %v", got, want)
	}
	if r.Sample == "" || r.Slowest < r.P50 || r.P50 <= 0 {
		t.Errorf("got sample %q, p50 %v, slowest %v", r.Sample, r.P50, r.Slowest)
	}
	if got := n.Load(); got != 50 {
		t.Errorf("got %d requests, want each exactly once, 50", got)
	}
	if r.RSSSeen == 0 || r.RSSPeak == 0 || r.RSSBefore == 0 || r.peak() < r.RSSSeen {
		t.Errorf("the memory of a known process is missing: %+v", *r)
	}
}

func TestCanFollow_wantsSecondsOrADate(t *testing.T) {
	for value, want := range map[string]bool{
		"1": true, "0": true, "120": true, "Wed, 21 Oct 2026 07:28:00 GMT": true,
		"": false, "-1": false, "soon": false, "1.5": false,
	} {
		if got := canFollow(value); got != want {
			t.Errorf("%q: got %v, want %v", value, got, want)
		}
	}
}

func TestRawArgon_countsFinishedHashes(t *testing.T) {
	if got := rawArgon(t.Context(), time.Millisecond); got <= 0 {
		t.Errorf("got %v hashes/s, want more than none", got)
	}
}
