package main

import (
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseProcess_readsTheParentAndBothKindsOfTime(t *testing.T) {
	got, err := parseProcess("4242 (a (b) c) S 17 4242 4242 0 -1 4194560 900 0 0 0 123 45 7 8 20 0 9 0 100 1 1")
	want := process{parent: 17, own: 1680 * time.Millisecond, reaped: 150 * time.Millisecond}
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for _, bad := range []string{"", "1 (x) S 1", "1 (x) S 1 1 1 0 -1 0 0 0 0 0 1 2 3", "1 (x) S 1 1 1 0 -1 0 0 0 0 0 1 2 3 many 5"} {
		if got, err := parseProcess(bad); err == nil {
			t.Errorf("%q: got %+v, want an error", bad, got)
		}
	}
}

func TestBelow_findsChildrenOfChildrenAndNobodyElse(t *testing.T) {
	all := map[int]process{1: {}, 5: {parent: 1}, 6: {parent: 5}, 7: {parent: 6}, 8: {parent: 1}, 9: {parent: 5}}
	got := below(all, 5)
	slices.Sort(got)
	if diff := cmp.Diff([]int{5, 6, 7, 9}, got); diff != "" {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
	if got := below(all, 99); got != nil {
		t.Errorf("got %v of a process that is not there, want nothing", got)
	}
}

func TestSameMembers_ignoresTheOrderAndNothingElse(t *testing.T) {
	for _, tc := range []struct {
		a, b []int
		want bool
	}{{[]int{1, 2}, []int{2, 1}, true}, {[]int{1, 2}, []int{1, 3}, false}, {[]int{1}, []int{1, 2}, false}, {nil, nil, true}} {
		if got := sameMembers(tc.a, tc.b); got != tc.want {
			t.Errorf("%v and %v: got %v, want %v", tc.a, tc.b, got, tc.want)
		}
	}
}

func TestTreeTime_remembersAChildThatHasEnded(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("only where there is a /proc")
	}
	before, err := treeTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	// A child that lives on costs little itself; the loop is in its own child,
	// which has ended when the line arrives.
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `sh -c 'i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done'; echo done; read x`)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	living, err := treeTime(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if living < 2*tick {
		t.Errorf("got %v while the parent lives, want the loop of its ended child in it", living)
	}
	_ = in.Close()
	_ = cmd.Wait() // read fails at the end of its input
	after, err := treeTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if grew := after - before; grew < living {
		t.Errorf("got %v more than before, want the %v of the child that has ended", grew, living)
	}
	if _, err := treeTime(cmd.Process.Pid); err == nil {
		t.Error("got a time of a process that is gone")
	}
}
