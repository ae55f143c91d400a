package main

import (
	"testing"
	"time"
)

func TestParseStat_readsPastANameWithSpacesAndBrackets(t *testing.T) {
	got, err := parseStat("4242 (gate) house 1 (x) S 1 4242 4242 0 -1 4194560 900 0 0 0 123 45 7 8 20 0 9 0 100 1 1")
	if want := 1680 * time.Millisecond; err != nil || got != want {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	for _, bad := range []string{"", "1 (x) S 1", "no bracket 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15", "1 (x) S 1 1 1 0 -1 0 0 0 0 0 many 1 0 0"} {
		if got, err := parseStat(bad); err == nil {
			t.Errorf("%q: got %v, want an error", bad, got)
		}
	}
}

func TestParseStatus_readsKibibytes(t *testing.T) {
	got, err := parseStatus("Name:\tx\nVmPeak:\t  900 kB\nVmHWM:\t   200 kB\nVmRSS:\t     100 kB\nThreads:\t9\n")
	if want := (memory{rss: 100 << 10, peak: 200 << 10}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for _, bad := range []string{"", "VmRSS:\t1 kB\n", "VmRSS:\tx kB\nVmHWM:\t1 kB\n"} {
		if got, err := parseStatus(bad); err == nil {
			t.Errorf("%q: got %+v, want an error", bad, got)
		}
	}
}

func TestParseMounts_theInnermostAndLatestMountWins(t *testing.T) {
	const mounts = `21 1 8:1 / / rw - ext4 /dev/sda1 rw
22 21 0:5 / /tmp rw,nosuid shared:3 - tmpfs tmpfs rw
23 21 8:2 / /tmpfiles rw - btrfs /dev/sda2 rw
24 21 8:3 / /srv rw - ext3 /dev/sda3 rw
25 24 8:4 / /srv rw - xfs /dev/sda4 rw
`
	for folder, want := range map[string]string{"/tmp/bench-1": "tmpfs", "/tmp": "tmpfs", "/tmpfiles/x": "btrfs", "/srv/a/b": "xfs", "/home": "ext4"} {
		if got := parseMounts(mounts, folder); got != want {
			t.Errorf("%s: got %q, want %q", folder, got, want)
		}
	}
}
