package telemetry_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"gatehouse/internal/telemetry"
)

// volume is where a log goes: it can be full.
type volume struct {
	mu   sync.Mutex // guards all below
	b    bytes.Buffer
	room int // bytes; negative: no end
}

func (v *volume) Write(p []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.room >= 0 && len(p) > v.room {
		n := v.room
		v.b.Write(p[:n])
		v.room = 0
		return n, syscall.ENOSPC
	}
	if v.room >= 0 {
		v.room -= len(p)
	}
	return v.b.Write(p)
}

func (v *volume) String() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.b.String()
}

func (v *volume) grow(room int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.room = room
}

func closing(t *testing.T, l *telemetry.Log) {
	t.Helper()
	err := l.Close()
	if err != nil {
		t.Error(err)
	}
}

func TestLog_aLineIsThereWhenWriteReturns(t *testing.T) {
	t.Parallel()
	v := &volume{room: -1}
	l := telemetry.NewLog(v)
	defer closing(t, l)
	for i := range 100 {
		fmt.Fprintf(l, "line %d\n", i)
		if !strings.HasSuffix(v.String(), fmt.Sprintf("line %d\n", i)) {
			t.Fatalf("line %d is not there", i)
		}
	}
	if l.Dropped() != 0 {
		t.Errorf("%d lines are dropped", l.Dropped())
	}
}

func TestLog_aFullVolumeCostsLinesThatAreCounted(t *testing.T) {
	t.Parallel()
	v := &volume{room: 8}
	l := telemetry.NewLog(v)
	defer closing(t, l)
	log := slog.New(slog.NewTextHandler(l, nil))
	for range 10 {
		log.Info("hello")
	}
	if got := l.Dropped(); got != 10 {
		t.Errorf("%d lines are counted, want 10", got)
	}
	v.grow(-1)
	_, err := io.WriteString(l, "after\n")
	if err != nil {
		t.Fatal(err)
	}
	_, last, _ := strings.Cut(v.String(), "\n")
	if last != "after\n" {
		t.Errorf("the first line after is not one of its own: %q", v)
	}
	if got := l.Dropped(); got != 10 {
		t.Errorf("%d lines are counted at the end, want 10", got)
	}
}

// stuckPipe is one that nobody reads, until it is let go.
type stuckPipe struct {
	letGo chan struct{}
	volume
}

func (s *stuckPipe) Write(p []byte) (int, error) {
	<-s.letGo
	return s.volume.Write(p)
}

func TestLog_aPipeNobodyReadsStopsNobody(t *testing.T) {
	t.Parallel()
	s := &stuckPipe{letGo: make(chan struct{}), volume: volume{room: -1}}
	l := telemetry.NewLog(s)
	const all = 5000 // more than are kept
	for i := range all {
		n, err := fmt.Fprintf(l, "line %d\n", i)
		if err != nil || n == 0 {
			t.Fatalf("line %d: %d, %v", i, n, err)
		}
	}
	dropped := l.Dropped()
	if dropped == 0 || dropped == all {
		t.Errorf("%d of %d lines are dropped, want those that cannot be kept", dropped, all)
	}
	close(s.letGo)
	closing(t, l)
	if got := strings.Count(s.String(), "\n"); int64(got) != all-dropped {
		t.Errorf("%d lines are written, want all but the %d dropped", got, dropped)
	}
	if !strings.HasPrefix(s.String(), "line 0\nline 1\nline 2\n") {
		t.Error("the lines are not in their order")
	}
}

func TestLog_manyWriteAtOnce(t *testing.T) {
	t.Parallel()
	v := &volume{room: -1}
	l := telemetry.NewLog(v)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 200 {
				fmt.Fprintln(l, strings.Repeat(string(rune('a'+i)), 50))
			}
		})
	}
	all.Wait()
	closing(t, l)
	n := 0
	for line := range strings.Lines(v.String()) {
		n++
		if strings.Trim(line, line[:1]) != "\n" || len(line) != 51 {
			t.Fatalf("a line is mixed: %q", line)
		}
	}
	if n != 1600 {
		t.Errorf("%d lines, want 1600", n)
	}
}

func TestLog_reopensItsFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "logs", "gatehouse.log")
	l, err := telemetry.OpenLog(path)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(l, "before\n")
	err = os.Rename(path, path+".1")
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(l, "between\n")
	err = l.Reopen()
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(l, "after\n")
	closing(t, l)
	for name, want := range map[string]string{path + ".1": "before\nbetween\n", path: "after\n"} {
		b, err := os.ReadFile(name)
		if err != nil || string(b) != want {
			t.Errorf("%s holds %q, %v; want %q", filepath.Base(name), b, err, want)
		}
		st, err := os.Stat(name)
		if err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; want one for its owner alone", filepath.Base(name), st, err)
		}
	}
}

func TestLog_goesOnInTheOldFileWhenNoneCanBeMade(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "logs")
	l, err := telemetry.OpenLog(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	err = os.Rename(dir, dir+".gone")
	if err != nil {
		t.Fatal(err)
	}
	err = l.Reopen()
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Reopen gives %v, want that the folder is gone", err)
	}
	io.WriteString(l, "still here\n")
	closing(t, l)
	b, err := os.ReadFile(filepath.Join(dir+".gone", "log"))
	if err != nil || string(b) != "still here\n" {
		t.Errorf("the old file holds %q, %v", b, err)
	}
}

func TestLog_afterCloseCountsOnly(t *testing.T) {
	t.Parallel()
	v := &volume{room: -1}
	l := telemetry.NewLog(v)
	closing(t, l)
	closing(t, l)
	io.WriteString(l, "late\n")
	if v.String() != "" || l.Dropped() != 1 {
		t.Errorf("after Close %q is written and %d dropped", v, l.Dropped())
	}
}
