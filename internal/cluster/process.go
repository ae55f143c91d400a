package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// errEnded is why a server that was started never answered: it ended.
var errEnded = errors.New("the server ended at once")

// process is one life of a server.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

func (p *process) running() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// launch starts the program. Linux sends the parent's-death signal when the
// thread that forked ends, not when the process does; so the fork happens on a
// thread that is kept, doing nothing else, until the server has ended.
func launch(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
			close(p.done)
		}
	}()
	err := <-started
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Start starts the server again, on the folder and port it had, and returns
// when it answers; ctx bounds that, or a minute when it has no deadline.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc.running() {
		return fmt.Errorf("cluster: the server in %s is running already", s.o.Dir)
	}
	argv, err := s.engine.command(s)
	if err != nil {
		return err
	}
	logged, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer logged.Close()
	cmd := s.program(context.WithoutCancel(ctx), argv)
	cmd.Stdout, cmd.Stderr = logged, logged
	_, orphaned := s.engine.stop()
	cmd.SysProcAttr.Setpgid = true // a Ctrl-C at the terminal is for the tests alone: they stop it in order
	dieWithParent(cmd.SysProcAttr, orphaned)
	s.proc, err = launch(cmd)
	if err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	err = s.answer(ctx, s.proc)
	if err != nil {
		return errors.Join(err, s.kill())
	}
	return nil
}

// answer waits until the server takes statements.
func (s *Server) answer(ctx context.Context, p *process) error {
	ctx, cancel := patient(ctx)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		// Not s.Query: it would wait for the lock that Start holds.
		_, err := s.engine.run(ctx, &Server{engine: s.engine, o: s.o, port: s.port}, "", "SELECT 1")
		if err == nil && p.running() { // ended: somebody else answers on the port
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("cluster: %w; the end of %s:\n%s", errEnded, s.logFile(), tail(s.logFile()))
		case <-ctx.Done():
			return fmt.Errorf("cluster: the server in %s does not answer (%w); the end of its log:\n%s", s.o.Dir, err, tail(s.logFile()))
		case <-tick.C:
		}
	}
}

// Stop ends the server in order and at once: open connections are cut, what
// was committed is on disk. Nothing happens to one that does not run.
func (s *Server) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.proc.running() {
		return nil
	}
	orderly, _ := s.engine.stop()
	err := s.proc.cmd.Process.Signal(orderly)
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-s.proc.done:
		return nil
	case <-time.After(patience):
		return errors.Join(fmt.Errorf("cluster: the server in %s did not stop within %v and was killed", s.o.Dir, patience), s.kill())
	}
}

// Kill ends every process of the server with SIGKILL, as a crash of the
// machine would but for what the system has in its caches. It returns when all
// are gone. Nothing happens to a server that does not run.
func (s *Server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kill()
}

func (s *Server) kill() error {
	if !s.proc.running() {
		return nil
	}
	first := s.proc.cmd.Process
	// Stopped, it can neither start another backend while the list is read, nor
	// tell the others to end in order when the first of them dies.
	err := first.Signal(syscall.SIGSTOP)
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	all := family(first.Pid)
	for _, pid := range all {
		_ = syscall.Kill(pid, syscall.SIGKILL) // ended meanwhile: as wanted
	}
	<-s.proc.done
	for range 500 {
		if !anyAlive(all) {
			if e, ok := s.engine.(postgres); ok {
				e.sweep(s)
			}
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("cluster: killed processes of the server in %s are still there after five seconds", s.o.Dir)
}

// PID is the id of the server's first process, the postmaster or mariadbd; 0
// when it does not run.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.proc.running() {
		return 0
	}
	return s.proc.cmd.Process.Pid
}

// Processes lists the ids of all processes of the server, PID first; none when
// it does not run.
func (s *Server) Processes() []int {
	pid := s.PID()
	if pid == 0 {
		return nil
	}
	return family(pid)
}

// program is a command of the engine that runs as the server's account, in its
// folder, and in plain English.
func (s *Server) program(ctx context.Context, argv []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = s.o.Dir // the account may not be allowed into ours
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC", "HOME=" + s.o.Dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.who}
	return cmd
}

// finish runs such a command to its end.
func (s *Server) finish(ctx context.Context, argv ...string) error {
	out, err := s.program(ctx, argv).CombinedOutput()
	if err != nil {
		return fmt.Errorf("cluster: %s: %w\n%s", filepath.Base(argv[0]), err, bytes.TrimSpace(out))
	}
	return nil
}

// unprivileged is the account that a server of ours runs as: PostgreSQL and
// MariaDB refuse to run as root. Nil when we are not root.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "mysql", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("cluster: a database server does not run as root, and there is no account postgres, mysql or nobody")
}

// openWay lets other accounts pass through the folders above dir, which a
// temporary folder usually forbids. They still cannot list them.
func openWay(dir string) error {
	for up := filepath.Dir(dir); up != filepath.Dir(up); up = filepath.Dir(up) {
		fi, err := os.Stat(up)
		if err != nil {
			return err
		}
		if fi.Mode()&0o001 != 0 {
			continue
		}
		err = os.Chmod(up, fi.Mode()|0o011)
		if err != nil {
			return fmt.Errorf("cluster: the server's account cannot reach %s: %w", dir, err)
		}
	}
	return nil
}

// patient bounds a wait that the caller did not bound.
func patient(ctx context.Context) (context.Context, context.CancelFunc) {
	_, bounded := ctx.Deadline()
	if bounded {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, patience)
}

// tail is the last two kilobytes of a log.
func tail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-2048):])
}
