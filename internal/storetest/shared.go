package storetest

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// folder is where the test processes of one working copy, which `go test ./...`
// runs side by side, meet to share a server. In it are
//
//	lock     held by whoever looks for the server, starts it, or clears it away
//	alive    held by the keeper as long as it lives; its process id
//	addr     where the server listens, once it does
//	users/   a file for every test process, held as long as that lives
//	server*  the server's own folder
//	log      what the keeper had to say
//
// "Held" is flock(2): the kernel lets go when a process ends, however it ends,
// so nothing here has to be believed of a process that is gone.
type folder struct {
	dir    string
	engine string
	grace  time.Duration // how long the keeper waits for the next user
}

// place is the folder of this working copy and account for an engine. The next
// package may take its time to compile, hence the grace.
func place(engine string) folder {
	h := fnv.New64a()
	io.WriteString(h, "1 "+projectRoot()) // the number: raised when an older keeper would not do
	name := fmt.Sprintf("gatehouse-test-%d-%x-%s", os.Geteuid(), h.Sum64(), engine)
	return folder{dir: filepath.Join(os.TempDir(), name), engine: engine, grace: 30 * time.Second}
}

// projectRoot is the folder of go.mod: tests run in that of their package.
func projectRoot() string {
	wd, err := os.Getwd()
	if err != nil {
		return ""
	}
	for dir := wd; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		_, err := os.Stat(filepath.Join(dir, "go.mod"))
		if err == nil {
			return dir
		}
	}
	return wd
}

func (f folder) path(name string) string { return filepath.Join(f.dir, name) }

// attach makes sure that the folder's server runs, and that it stays while the
// returned files are open. user is a name no other process has.
func attach(f folder, user string) (addr string, held []*os.File, err error) {
	mine, err := f.enter()
	if err != nil {
		return "", nil, err
	}
	defer mine.Close()
	err = os.MkdirAll(f.path("users"), 0o700)
	if err != nil {
		return "", nil, err
	}
	using, err := hold(f.path("users/"+user), true)
	if err != nil {
		return "", nil, err
	}
	addr, err = f.serving()
	if err != nil {
		using.Close()
		return "", nil, err
	}
	return addr, []*os.File{using}, nil
}

// enter makes the folder and takes its lock. The folder may be cleared away
// between the two; then it is made again.
func (f folder) enter() (*os.File, error) {
	for {
		err := os.Mkdir(f.dir, 0o711) // the server's account passes through
		if err != nil && !errors.Is(err, os.ErrExist) {
			return nil, err
		}
		// The name can be guessed and the folder for temporary files is everybody's:
		// another account could have put a folder or link of its own there, to have
		// what we delete or connect to be of its choice.
		fi, err := os.Lstat(f.dir)
		if err == nil && (!fi.IsDir() || owner(fi) != os.Geteuid() || fi.Mode().Perm()&0o022 != 0) {
			return nil, fmt.Errorf("storetest: %s is not a folder that belongs to this account alone; remove it", f.dir)
		}
		lock, err := hold(f.path("lock"), true)
		if err == nil || !errors.Is(err, os.ErrNotExist) {
			return lock, err
		}
	}
}

func owner(fi os.FileInfo) int {
	s, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return -1
	}
	return int(s.Uid)
}

// serving returns the address of the server, which it starts, or starts anew,
// where there is none that answers. The caller has the lock.
func (f folder) serving() (string, error) {
	alive, err := hold(f.path("alive"), false)
	if errors.Is(err, errHeld) {
		// Its keeper lives. The address may be missing if the process that started
		// it was killed meanwhile.
		for range 600 {
			b, err := os.ReadFile(f.path("addr"))
			if err == nil && f.answers(string(b)) {
				return string(b), nil
			}
			if err == nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		err = f.end()
		if err != nil {
			return "", err
		}
	} else if err != nil {
		return "", err
	} else {
		alive.Close()
	}
	return f.start()
}

// answers says whether the engine takes statements at an address.
func (f folder) answers(addr string) bool {
	s := server{engine: f.engine, kind: kinds(f.engine), addr: addr}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return s.do(ctx, "", "SELECT 1") == nil
}

// end kills the keeper, and with it the server. The caller has the lock, and
// the keeper holds alive, so the process id is nobody else's.
func (f folder) end() error {
	b, err := os.ReadFile(f.path("alive"))
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err == nil {
		err = syscall.Kill(pid, syscall.SIGKILL)
	}
	if err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("storetest: the keeper of %s: %w", f.dir, err)
	}
	alive, err := hold(f.path("alive"), true)
	if err != nil {
		return err
	}
	return alive.Close()
}

// start starts a keeper, which is this program once more, and waits for its
// server.
func (f folder) start() (string, error) {
	err := os.Remove(f.path("addr"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer r.Close()
	defer w.Close()
	log, err := os.OpenFile(f.path("log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return "", err
	}
	defer log.Close()
	cmd := exec.Command(self, f.dir, f.engine, f.grace.String())
	cmd.Env = append(os.Environ(), keeperVar+"=1")
	cmd.Dir = f.dir
	// Nothing of ours is left open in it: `go test` waits for whoever has its
	// standard output. A session of its own, so that Ctrl-C ends the tests and
	// leaves it to notice.
	cmd.Stdout, cmd.Stderr = w, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	if err != nil {
		return "", err
	}
	w.Close()
	said, err := io.ReadAll(r) // until it has closed its end
	if err != nil {
		return "", err
	}
	if text := strings.TrimSpace(string(said)); text != readyWord {
		_ = cmd.Wait()
		return "", fmt.Errorf("storetest: no %s for the tests: %s (more may be in %s)", f.engine, text, f.path("log"))
	}
	err = cmd.Process.Release()
	if err != nil {
		return "", err
	}
	b, err := os.ReadFile(f.path("addr"))
	return string(b), err
}

// errHeld reports that somebody else holds a file.
var errHeld = errors.New("storetest: held by another process")

// hold opens a file, made if missing, and locks it until it is closed or the
// process ends. It waits for its turn, or returns errHeld.
func hold(path string, wait bool) (*os.File, error) {
	how := syscall.LOCK_EX
	if !wait {
		how |= syscall.LOCK_NB
	}
	for {
		file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		err = syscall.Flock(int(file.Fd()), how)
		if err == nil && still(file, path) {
			return file, nil
		}
		file.Close()
		switch {
		case errors.Is(err, syscall.EWOULDBLOCK):
			return nil, errHeld
		case err != nil && !errors.Is(err, syscall.EINTR):
			return nil, fmt.Errorf("storetest: lock %s: %w", path, err)
		}
		// Else it was removed while we waited: what we locked is not what others see.
	}
}

// still says whether a path is still that of an open file.
func still(file *os.File, path string) bool {
	a, err := file.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b)
}
