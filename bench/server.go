package main

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	startTimeout = 30 * time.Second // from exec to the first healthy answer
	stopTimeout  = 15 * time.Second // from SIGTERM to SIGKILL
	coldStarts   = 5
	idleAfter    = 2 * time.Second
)

// The byte after the port is part of the pattern: without it a line that is
// only half written would give half a port.
var addressLine = regexp.MustCompile(`(http://127\.0\.0\.1:[0-9]+)[^0-9]`)

// A server is a Gatehouse process this driver has started.
type server struct {
	url     string
	pid     int
	started time.Duration // from exec to the first 200 of GET /health

	cancel context.CancelFunc
	gone   chan struct{} // closed when the process has ended
	state  *os.ProcessState
	folder string // holds stdout.log and stderr.log
}

// settings are what the measured server is told, whatever the caller's
// environment says.
func settings(data string) []string {
	return []string{
		"GATEHOUSE_DATA=" + data,
		"GATEHOUSE_PORT=0",
		"GATEHOUSE_MAILER_AUTOCONFIRM=true",
		"GATEHOUSE_RATE_LIMITS=off",
		"GATEHOUSE_LOG_LEVEL=info",
		"GATEHOUSE_DRAIN=0s", // nobody else is there to be sent to
	}
}

// environ is what the server sees. Of two that are the same the last counts.
func environ(data string, more []string) []string {
	return slices.Concat(os.Environ(), settings(data), more)
}

// migrate runs `bin migrate` with what start would tell the server.
func migrate(ctx context.Context, bin, folder string, more ...string) error {
	bin, err := filepath.Abs(bin) // the process runs elsewhere
	if err != nil {
		return err
	}
	data := filepath.Join(folder, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, bin, "migrate")
	cmd.Dir, cmd.Env = folder, environ(data, more)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s migrate: %w\n%s", bin, err, out)
	}
	return nil
}

// build compiles the binary as it is shipped and returns its path.
func build(ctx context.Context, folder string, stderr io.Writer) (string, error) {
	bin := filepath.Join(folder, "gatehouse")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bin, "gatehouse/cmd/gatehouse")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("cannot build gatehouse/cmd/gatehouse (run this inside the module, or name a binary with -bin): %w", err)
	}
	return bin, nil
}

// start runs `bin serve` on the data in folder, which is made if need be, and
// returns when it is healthy. The process gets SIGTERM when ctx ends.
// more are settings of the server, NAME=value, over those that all have.
func start(ctx context.Context, bin, folder string, more ...string) (*server, error) {
	bin, err := filepath.Abs(bin) // the process runs elsewhere
	if err != nil {
		return nil, err
	}
	data := filepath.Join(folder, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, err
	}
	// Files and not pipes: what the server writes must not cost this driver
	// anything while it measures.
	stdout, err := os.Create(filepath.Join(folder, "stdout.log"))
	if err != nil {
		return nil, err
	}
	defer stdout.Close()
	stderr, err := os.Create(filepath.Join(folder, "stderr.log"))
	if err != nil {
		return nil, err
	}
	defer stderr.Close()

	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, bin, "serve")
	cmd.Dir = folder // so that a .env beside the caller does not slip in
	cmd.Env = environ(data, more)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopTimeout

	began := time.Now()
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, fmt.Errorf("cannot start %s: %w", bin, err)
	}
	s := &server{pid: cmd.Process.Pid, cancel: cancel, gone: make(chan struct{}), folder: folder}
	go func() {
		defer close(s.gone)
		_ = cmd.Wait() // it always ends by a signal; state tells by which
		s.state = cmd.ProcessState
	}()
	if err := s.awaitHealth(ctx, began); err != nil {
		cancel()
		<-s.gone
		return nil, fmt.Errorf("%s serve: %w%s", bin, err, s.logTail())
	}
	return s, nil
}

// awaitHealth looks every millisecond, first for the address on stdout, then
// for a 200 of GET /health.
func (s *server) awaitHealth(ctx context.Context, began time.Time) error {
	every := time.NewTicker(time.Millisecond)
	defer every.Stop()
	var c *conn
	var request []byte
	for ; ; <-every.C {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case s.hasGone():
			return fmt.Errorf("it ended before it was healthy (%v)", s.state)
		case time.Since(began) > startTimeout && s.url == "":
			return fmt.Errorf("it wrote no http://127.0.0.1:PORT on stdout within %v", startTimeout)
		case time.Since(began) > startTimeout:
			return fmt.Errorf("GET %s/health gave no 200 within %v", s.url, startTimeout)
		}
		if c == nil {
			text, err := os.ReadFile(filepath.Join(s.folder, "stdout.log"))
			if err != nil {
				return err
			}
			found := addressLine.FindSubmatch(text)
			if found == nil {
				continue
			}
			s.url = string(found[1])
			to, err := newTarget(s.url, false)
			if err != nil {
				return err
			}
			c = &conn{to: &to, deadline: began.Add(startTimeout)}
			defer c.close()
			request = to.appendGet(nil, "/health", nil)
		}
		if a, err := c.do(request); err == nil && a.status == 200 {
			s.started = time.Since(began)
			return nil
		}
	}
}

func (s *server) hasGone() bool {
	select {
	case <-s.gone:
		return true
	default:
		return false
	}
}

// explain adds to the error of a flow what the server has to say of it, and
// makes one of its end. The server may be nil.
func (s *server) explain(err error, flow string) error {
	if s == nil {
		return err
	}
	if err == nil && s.hasGone() {
		err = fmt.Errorf("the server ended during %s (%v)", flow, s.state)
	}
	if err != nil {
		return fmt.Errorf("%w%s", err, s.logTail())
	}
	return nil
}

// stop ends the process with SIGTERM and reports one that did not leave in
// peace. It may be called twice.
func (s *server) stop() error {
	s.cancel()
	<-s.gone
	if ws, ok := s.state.Sys().(syscall.WaitStatus); ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL {
		return fmt.Errorf("the server did not end within %v of SIGTERM%s", stopTimeout, s.logTail())
	}
	return nil
}

// logTail returns the last lines of both logs, for an error text.
func (s *server) logTail() string {
	var b strings.Builder
	for _, name := range []string{"stdout.log", "stderr.log"} {
		text, err := os.ReadFile(filepath.Join(s.folder, name))
		if err != nil || len(text) == 0 {
			continue
		}
		lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
		fmt.Fprintf(&b, "\n--- end of its %s:\n%s", name, strings.Join(lines[max(0, len(lines)-10):], "\n"))
	}
	return b.String()
}

// coldResult is what starting costs.
type coldResult struct {
	Starts   []time.Duration `json:"starts_ns"` // in the order they were made
	Median   time.Duration   `json:"median_ns"`
	IdleRSS  int64           `json:"idle_rss_bytes"` // 2 s after the last start
	Binary   int64           `json:"binary_bytes"`
	Stripped bool            `json:"stripped"`
}

// cold starts the binary five times on data that an earlier start has migrated.
func cold(ctx context.Context, bin, folder string) (*coldResult, error) {
	first, err := start(ctx, bin, folder)
	if err != nil {
		return nil, err
	}
	if err := first.stop(); err != nil {
		return nil, err
	}
	r := &coldResult{}
	for i := range coldStarts {
		s, err := start(ctx, bin, folder)
		if err != nil {
			return nil, err
		}
		r.Starts = append(r.Starts, s.started)
		if i == coldStarts-1 {
			r.IdleRSS, err = s.idle(ctx)
		}
		if err := errors.Join(err, s.stop()); err != nil {
			return nil, err
		}
	}
	r.Median = slices.Sorted(slices.Values(r.Starts))[coldStarts/2]
	return r, r.weigh(bin)
}

// idle returns the resident memory a while after the start, in bytes.
func (s *server) idle(ctx context.Context) (int64, error) {
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-s.gone:
		return 0, fmt.Errorf("the idle server ended by itself%s", s.logTail())
	case <-time.After(idleAfter - s.started):
	}
	m, err := memoryOf(s.pid)
	return m.rss, err
}

// weigh fills in the size of the binary and whether it has lost its symbols.
func (r *coldResult) weigh(bin string) error {
	info, err := os.Stat(bin)
	if err != nil {
		return err
	}
	r.Binary = info.Size()
	if f, err := elf.Open(bin); err == nil {
		r.Stripped = f.Section(".symtab") == nil
		_ = f.Close() // only read
	}
	return nil
}

// passedOn returns the names, never the values, of the GATEHOUSE_ settings of
// the caller that reach the server: they belong beside the figures.
func passedOn(environ []string) []string {
	var names []string
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		ours := slices.ContainsFunc(settings(""), func(s string) bool { return strings.HasPrefix(s, name+"=") })
		if strings.HasPrefix(name, "GATEHOUSE_") && !ours {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
