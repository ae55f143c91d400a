package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of the times in /proc/PID/stat: 1/100 s on every Linux that
// matters (USER_HZ, proc_pid_stat(5)), whatever the kernel's own clock.
const tick = 10 * time.Millisecond

// cpuTime returns the user and system time all threads of a process have used.
func cpuTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("no CPU time of process %d: %w", pid, err)
	}
	return parseStat(string(text))
}

// parseStat reads utime and stime, fields 14 and 15 of proc_pid_stat(5).
func parseStat(text string) (time.Duration, error) {
	// The name in field 2 may hold spaces and brackets, so count from its end.
	end := strings.LastIndexByte(text, ')')
	fields := strings.Fields(text[end+1:])
	if end < 0 || len(fields) < 13 {
		return 0, errors.New("/proc/PID/stat is too short")
	}
	var sum time.Duration
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/PID/stat: %w", err)
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}

// memory is the resident memory of a process in bytes, now and at its peak.
type memory struct{ rss, peak int64 }

// memoryOf reads VmRSS and VmHWM.
func memoryOf(pid int) (memory, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return memory{}, fmt.Errorf("no memory of process %d: %w", pid, err)
	}
	return parseStatus(string(text))
}

func parseStatus(text string) (memory, error) {
	var m memory
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		var to *int64
		switch name {
		case "VmRSS":
			to = &m.rss
		case "VmHWM":
			to = &m.peak
		default:
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return memory{}, fmt.Errorf("/proc/PID/status: %s: %w", name, err)
		}
		*to = kib << 10
	}
	if m.rss == 0 || m.peak == 0 {
		return memory{}, errors.New("/proc/PID/status has no VmRSS or no VmHWM")
	}
	return m, nil
}

// forgetPeak makes VmHWM count from now (proc_pid_clear_refs(5), value 5).
func forgetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}

// watchMemory looks at VmRSS every 20 ms until ctx ends and returns the most it
// saw, in bytes; 0 when it never could look.
func watchMemory(ctx context.Context, pid int) int64 {
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	var most int64
	for {
		if m, err := memoryOf(pid); err == nil {
			most = max(most, m.rss)
		}
		select {
		case <-ctx.Done():
			return most
		case <-t.C:
		}
	}
}

// machine names what the figures were taken on.
func machine() string {
	model := runtime.GOARCH
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%s, %d cores, %s %s", model, runtime.NumCPU(), runtime.GOOS, runtime.Version())
}

// filesystem returns the type of the file system a folder lies on, or "" when
// that is not known. It matters: on tmpfs a durable commit costs nothing.
func filesystem(folder string) string {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	if real, err := filepath.EvalSymlinks(folder); err == nil {
		folder = real
	}
	return parseMounts(string(text), folder)
}

// parseMounts finds the innermost mount over folder (proc_pid_mountinfo(5)). A
// later line hides an earlier one on the same place.
func parseMounts(text, folder string) string {
	var best, kind string
	for line := range strings.Lines(text) {
		place, rest, ok := strings.Cut(line, " - ")
		fields, kinds := strings.Fields(place), strings.Fields(rest)
		if !ok || len(fields) < 5 || len(kinds) < 1 {
			continue
		}
		point := fields[4]
		within := point == "/" || folder == point || strings.HasPrefix(folder, point+"/")
		if within && len(point) >= len(best) {
			best, kind = point, kinds[0]
		}
	}
	return kind
}
