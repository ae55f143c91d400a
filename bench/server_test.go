package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func self(t *testing.T) string {
	t.Helper()
	bin, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

func TestRun_startsTheBinaryMeasuresEverythingAndLeavesNothingBehind(t *testing.T) {
	folder := t.TempDir()
	var out bytes.Buffer
	err := run(t.Context(), []string{"-bin", self(t), "-dir", folder, "-callers", "2", "-users", "3", "-duration", "50ms", "-storm", "20", "-json"}, &out, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("%v in %s", err, out.String())
	}
	var flows []string
	for _, f := range r.Flows {
		flows = append(flows, f.Flow)
		if f.Errors != 0 || f.Ops == 0 {
			t.Errorf("%s: got %d ops and %d errors (%s)", f.Flow, f.Ops, f.Errors, f.Sample)
		}
	}
	if diff := cmp.Diff([]string{"user", "refresh", "signin", "signup"}, flows); diff != "" {
		t.Errorf("flows (-want +got):\n%s", diff)
	}
	if r.Storm == nil || r.Storm.OK != 20 {
		t.Errorf("storm: got %+v, want 20 × 200", r.Storm)
	}
	if r.Cold == nil || len(r.Cold.Starts) != coldStarts || r.Cold.Median <= 0 || r.Cold.IdleRSS <= 0 || r.Cold.Binary <= 0 {
		t.Errorf("cold: got %+v", r.Cold)
	}
	if r.Argon <= 0 || len(r.Verdicts) < 8 {
		t.Errorf("got %v argon2id/s and %d verdicts, want all of them", r.Argon, len(r.Verdicts))
	}
	left, err := os.ReadDir(folder)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestStart_showsTheLogOfAServerThatDies(t *testing.T) {
	t.Setenv("BENCH_FAKE_FAULT", "dies")
	began := time.Now()
	_, err := start(t.Context(), self(t), t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "full of bees") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("got %v, want its last words and its exit status", err)
	}
	if took := time.Since(began); took > startTimeout/2 {
		t.Errorf("took %v: it waited for a process that was gone", took)
	}
}

func TestStart_stopEndsTheProcess(t *testing.T) {
	s, err := start(t.Context(), self(t), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cpuTime(s.pid); err != nil {
		t.Errorf("while it runs: %v", err)
	}
	for range 2 {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	}
	if !s.hasGone() {
		t.Error("it is still there")
	}
	if _, err := os.Stat("/proc/self/stat"); err == nil {
		if _, err := cpuTime(s.pid); err == nil {
			t.Error("its process is still there")
		}
	}
}

func TestAddressLine_waitsForTheWholePort(t *testing.T) {
	for text, want := range map[string]string{
		"listening on http://127.0.0.1:8080\n":         "http://127.0.0.1:8080",
		`{"msg":"up","url":"http://127.0.0.1:41234/"}`: "http://127.0.0.1:41234",
		"listening on http://127.0.0.1:80":             "",
		"listening on http://127.0.0.1:":               "",
	} {
		got := ""
		if m := addressLine.FindStringSubmatch(text); m != nil {
			got = m[1]
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestPassedOn_namesOnlyWhatTheRunDoesNotSetItself(t *testing.T) {
	got := passedOn([]string{"HOME=/x", "GATEHOUSE_SQLITE_CACHE=1=2", "GATEHOUSE_PORT=9", "GATEHOUSE_DATABASE_URL=postgres://u:secret@h", "GATEHOUSE_DATA=/d"})
	if diff := cmp.Diff([]string{"GATEHOUSE_DATABASE_URL", "GATEHOUSE_SQLITE_CACHE"}, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

func TestParse_reportsEveryFaultAtOnce(t *testing.T) {
	_, err := parse([]string{"-flows", "user,sleep", "-callers", "5", "-users", "4", "-pid", "7", "-duration", "0s"}, io.Discard)
	if err == nil {
		t.Fatal("got no error")
	}
	for _, want := range []string{`"sleep"`, "-users", "-pid", "-duration"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want it to speak of %s", err, want)
		}
	}
}

func TestRun_drivesARunningServerAndLeavesColdOut(t *testing.T) {
	s, err := start(t.Context(), self(t), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.stop() }()
	var out bytes.Buffer
	err = run(t.Context(), []string{"-url", s.url, "-flows", "user,cold", "-callers", "2", "-users", "2", "-duration", "50ms"}, &out, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"op/s", "user", "cold was left out", "GET /user"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got no %q in:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "server CPU of") {
		t.Errorf("a CPU verdict without a -pid:\n%s", out.String())
	}
	if s.hasGone() {
		t.Error("it ended a server it had not started")
	}
}
