package storetest

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// user is another test process that uses the server of a folder.
type user struct {
	cmd  *exec.Cmd
	stay io.WriteCloser
	said []string // the server's address, the name of the process
}

// begin runs this test once more, as a process that attaches to the folder and
// stays until it is left or killed.
func begin(t *testing.T, f folder, test string) *user {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+test+"$")
	cmd.Env = append(os.Environ(), "STORETEST_FOLDER="+f.dir)
	cmd.Stderr = os.Stderr
	stay, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	err = cmd.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the other process said %q: %v", line, err)
	}
	return &user{cmd, stay, strings.Fields(line)}
}

// beUser is what such a process does.
func beUser(t *testing.T, dir string) {
	f := testFolder(dir)
	name := "u" + strconv.Itoa(os.Getpid())
	addr, _, err := attach(f, name)
	if err == nil {
		s := server{engine: f.engine, kind: kinds(f.engine), addr: addr}
		err = s.do(t.Context(), "", "CREATE DATABASE "+name+"_1")
	}
	if err != nil {
		t.Fatal(err)
	}
	os.Stdout.WriteString(addr + " " + name + "\n")
	io.Copy(io.Discard, os.Stdin)
}

func testFolder(dir string) folder {
	return folder{dir: dir, engine: "postgres", grace: 1500 * time.Millisecond}
}

func (f folder) keeper(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile(f.path("alive"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(b))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// within waits for something that another process will do.
func within(t *testing.T, d time.Duration, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatalf("after %v still not: %s", d, what)
}

func gone(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || strings.Contains(string(b), ") Z ")
}

func TestAttach_processesShareOneServerUntilTheLastIsGone(t *testing.T) {
	if dir := os.Getenv("STORETEST_FOLDER"); dir != "" {
		beUser(t, dir)
		return
	}
	t.Parallel()
	f := testFolder(filepath.Join(t.TempDir(), "shared"))
	both := make(chan *user, 2)
	for range 2 {
		go func() { both <- begin(t, f, t.Name()) }()
	}
	a, b := <-both, <-both
	if a.said[0] != b.said[0] || a.said[1] == b.said[1] {
		t.Errorf("two processes got the servers %q and %q, want one", a.said, b.said)
	}
	keeper := f.keeper(t)
	s := server{engine: f.engine, kind: kinds(f.engine), addr: a.said[0]}
	has := func(name string) bool {
		t.Helper()
		names, err := s.databases(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(strings.Join(names, " ")+" ", name+"_1 ")
	}
	if !has(a.said[1]) || !has(b.said[1]) {
		t.Error("the databases of the two are not there")
	}

	a.cmd.Process.Kill() // nothing it could do before it ends
	within(t, 10*time.Second, "the databases of the killed process are dropped", func() bool { return !has(a.said[1]) })
	time.Sleep(f.grace + time.Second) // the keeper's time to do wrong
	if !has(b.said[1]) || gone(keeper) {
		t.Fatal("the other lost its database or its server")
	}

	b.stay.Close()
	err := b.cmd.Wait() // and not longer: the keeper must not have its standard output
	if err != nil {
		t.Error(err)
	}
	if gone(keeper) {
		t.Error("the server did not wait for the next package")
	}
	within(t, 20*time.Second, "the keeper is gone", func() bool { return gone(keeper) })
	if f.answers(a.said[0]) {
		t.Error("the server outlived its keeper")
	}
	left, err := filepath.Glob(f.dir + "*")
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q (%v)", left, err)
	}
}

func TestAttach_replacesAServerThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	f := testFolder(filepath.Join(t.TempDir(), "shared"))
	use := func() (addr string) {
		t.Helper()
		addr, held, err := attach(f, "me")
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range held {
			h.Close()
		}
		if !f.answers(addr) {
			t.Fatalf("%s does not answer", addr)
		}
		return addr
	}
	first := use()
	if next := use(); next != first {
		t.Errorf("a second use: %s, want %s", next, first)
	}
	// As after a crash of the machine: the files are there, nobody lives.
	dead := f.keeper(t)
	err := syscall.Kill(dead, syscall.SIGKILL)
	if err != nil {
		t.Fatal(err)
	}
	within(t, 10*time.Second, "the server dies with its keeper", func() bool { return !f.answers(first) })
	use()
	if f.keeper(t) == dead {
		t.Error("the dead keeper keeps on")
	}
	// A keeper that lives, of a server that does not answer.
	stuck := f.keeper(t)
	err = syscall.Kill(stuck, syscall.SIGSTOP)
	if err != nil {
		t.Fatal(err)
	}
	err = os.WriteFile(f.path("addr"), []byte("127.0.0.1:1"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	use()
	if !gone(stuck) {
		t.Error("the stuck keeper was left")
	}
	// Somebody clears away temporary files.
	robbed := f.keeper(t)
	err = os.Rename(f.dir, f.dir+" away")
	if err != nil {
		t.Fatal(err)
	}
	use()
	within(t, 10*time.Second, "the keeper of the removed folder ends", func() bool { return gone(robbed) })
	last := f.keeper(t)
	within(t, 20*time.Second, "the last keeper ends", func() bool { return gone(last) })
}

func TestAttach_saysWhatIsMissingOrWrong(t *testing.T) {
	f := testFolder(filepath.Join(t.TempDir(), "shared"))
	err := os.Symlink(t.TempDir(), f.dir) // as another account might, before us
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = attach(f, "me")
	if err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("a link in place of the folder: got %v", err)
	}
	f = folder{dir: filepath.Join(t.TempDir(), "shared"), engine: "mysql", grace: time.Second}
	t.Setenv("PATH", "") // the installer is nowhere else
	_, _, err = attach(f, "me")
	if want := "apt-get install mariadb-server"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("without MariaDB: got %v, want %q", err, want)
	}
}
