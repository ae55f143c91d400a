package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// process is a program this one has started. It dies with it.
type process struct {
	name  string
	cmd   *exec.Cmd
	log   string // the file of what it says
	gone  chan struct{}
	ended error // how; not before gone
}

// program says what to start.
type program struct {
	name string // for logs and errors
	argv []string
	dir  string   // its working folder, and that of its log
	env  []string // all of it
	as   *syscall.Credential
}

// launch starts a program. Its log is appended to.
func launch(p program) (*process, error) {
	log := filepath.Join(p.dir, p.name+".log")
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = p.dir, p.env, out, out
	// A Ctrl-C at the terminal is for the driver, which ends them in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: p.as}
	dieWithParent(cmd.SysProcAttr)
	r := &process{name: p.name, cmd: cmd, log: log, gone: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The parent's-death signal is sent when the thread that forked ends, so
		// that thread is kept for the life of the child.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			r.ended = cmd.Wait()
			close(r.gone)
		}
	}()
	err = <-started
	if err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", p.name, err)
	}
	return r, nil
}

// finish runs a program to its end and returns the end of what it said when it
// failed.
func finish(ctx context.Context, p program) error {
	r, err := launch(p)
	if err != nil {
		return err
	}
	select {
	case <-r.gone:
	case <-ctx.Done():
		r.kill()
		return fmt.Errorf("%s was killed, because the time was up: %s", p.name, r.tail())
	}
	if r.ended != nil {
		return fmt.Errorf("%s: %w: %s", p.name, r.ended, r.tail())
	}
	return nil
}

func (r *process) alive() bool {
	select {
	case <-r.gone:
		return false
	default:
		return true
	}
}

// kill ends the process without a word and returns when it has.
func (r *process) kill() {
	_ = r.cmd.Process.Kill() // it may have ended already
	<-r.gone
}

// stop asks the process to end and kills it when it does not within patience.
func (r *process) stop(patience time.Duration) error {
	if !r.alive() {
		return fmt.Errorf("%s had ended by itself (%w): %s", r.name, r.ended, r.tail())
	}
	_ = r.cmd.Process.Signal(syscall.SIGTERM) // it may end at this very moment
	select {
	case <-r.gone:
	case <-time.After(patience):
		r.kill()
		return fmt.Errorf("%s did not end within %v of SIGTERM: %s", r.name, patience, r.tail())
	}
	if r.ended != nil {
		return fmt.Errorf("%s: %w: %s", r.name, r.ended, r.tail())
	}
	return nil
}

// signal sends any other signal, such as SIGSTOP.
func (r *process) signal(s syscall.Signal) error {
	err := r.cmd.Process.Signal(s)
	if errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("%s had ended by itself (%w): %s", r.name, r.ended, r.tail())
	}
	return err
}

// tail is the end of the log.
func (r *process) tail() string {
	text, err := os.ReadFile(r.log)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text[max(0, len(text)-1500):]))
}

// Ports are taken from below those that outgoing connections use, and from
// below those of the databases here, so that a killed node finds its own free.
const firstPort, lastPort = 12_000, 19_000

func freePort() (int, error) {
	for range 100 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("no free port between %d and %d on 127.0.0.1", firstPort, lastPort)
}
