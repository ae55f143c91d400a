package storetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatehouse/internal/cluster"
)

const (
	keeperVar = "GATEHOUSE_TEST_KEEPER" // in the environment of a keeper
	readyWord = "ready"                 // what it says when its server is
)

// A keeper is a process that owns a shared server: starts it, drops the
// databases of test processes that have ended, and clears everything away some
// time after the last one has. The server dies with it. It is a test program
// run once more, because that is there and knows how; and it has to turn off
// before main, because what would happen there is other people's tests. This is
// an init function in all but name, and the only one of the house.
var _ = keepIfAsked()

func keepIfAsked() bool {
	if os.Getenv(keeperVar) == "" || len(os.Args) != 4 {
		return false
	}
	err := keep(os.Args[1], os.Args[2], os.Args[3])
	if err != nil {
		fmt.Println(err) // to whoever started it and waits for readyWord; afterwards to nobody
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
	return true
}

func keep(dir, engine, grace string) error {
	wait, err := time.ParseDuration(grace)
	if err != nil {
		return err
	}
	f := folder{dir: dir, engine: engine, grace: wait}
	alive, err := hold(f.path("alive"), false)
	if err != nil {
		return err
	}
	defer alive.Close()
	err = os.WriteFile(f.path("alive"), []byte(strconv.Itoa(os.Getpid())), 0o600)
	if err != nil {
		return err
	}
	own, err := f.launch()
	if err != nil {
		return err
	}
	defer own.Kill() // its folder is gone or of no use
	fmt.Println(readyWord)
	os.Stdout.Close() // the sign that this is all; also, nobody must wait for us
	idle := time.Duration(0)
	round := f.grace / 30
	for idle < f.grace {
		time.Sleep(round)
		if own.PID() == 0 || !still(alive, f.path("alive")) { // crashed; or somebody has removed the folder
			return errors.New("the server or its folder is gone")
		}
		users, gone := f.count()
		idle += round
		if users > 0 {
			idle = 0
		}
		f.clear(own, gone)
		if idle >= f.grace && !f.leave(own) {
			idle = 0
		}
	}
	return nil
}

// launch starts the server and writes down where it listens.
func (f folder) launch() (*cluster.Server, error) {
	// Of an earlier server that nobody cleared away. One that was just killed may
	// still write, so the new one has a folder of another name.
	old, err := filepath.Glob(f.path("server*"))
	if err != nil {
		return nil, err
	}
	for _, dir := range old {
		_ = os.RemoveAll(dir) // what is left is left to the next
	}
	users, err := os.ReadDir(f.path("users"))
	if err != nil {
		return nil, err
	}
	for _, u := range users {
		f.forget(u.Name())
	}
	dir, err := os.MkdirTemp(f.dir, "server")
	if err != nil {
		return nil, err
	}
	open, settings := cluster.Postgres, map[string]string{"max_connections": "1000"}
	if f.engine == "mysql" {
		open, settings = cluster.MariaDB, map[string]string{"max-connections": "1000"}
	}
	own, err := open(context.Background(), cluster.Options{Dir: dir, Fast: true, Settings: settings})
	if err != nil {
		return nil, err
	}
	next := f.path("addr.next")
	err = os.WriteFile(next, []byte(own.Addr()), 0o600)
	if err == nil {
		err = os.Rename(next, f.path("addr"))
	}
	if err != nil {
		return nil, errors.Join(err, own.Kill())
	}
	return own, nil
}

// count returns how many test processes there are, and the names of those that
// have ended. While somebody has the lock, one is about to be there.
func (f folder) count() (users int, gone []string) {
	lock, err := hold(f.path("lock"), false)
	if err != nil {
		return 1, nil
	}
	defer lock.Close()
	return f.countLocked()
}

func (f folder) countLocked() (users int, gone []string) {
	entries, err := os.ReadDir(f.path("users"))
	if err != nil {
		return 0, nil
	}
	for _, e := range entries {
		if f.forget(e.Name()) {
			gone = append(gone, e.Name())
		} else {
			users++
		}
	}
	return users, gone
}

// forget removes the file of a test process that has ended.
func (f folder) forget(user string) bool {
	path := f.path("users/" + user)
	file, err := hold(path, false)
	if err != nil {
		return false
	}
	defer file.Close()
	return os.Remove(path) == nil
}

// clear drops what test processes that ended have left.
func (f folder) clear(own *cluster.Server, gone []string) {
	if len(gone) == 0 {
		return
	}
	k := kinds(f.engine)
	s := server{engine: f.engine, kind: k, addr: own.Addr()}
	ctx := context.Background()
	names, err := s.databases(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	for _, n := range names {
		user, _, ours := strings.Cut(n, "_")
		if !ours || !slices.Contains(gone, user) {
			continue
		}
		err := s.do(ctx, "", k.drop(n))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
}

// leave stops the server and removes the folder, unless somebody came.
func (f folder) leave(own *cluster.Server) bool {
	lock, err := hold(f.path("lock"), false)
	if err != nil {
		return false
	}
	defer lock.Close()
	users, _ := f.countLocked()
	if users > 0 {
		return false
	}
	err = own.Stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	// Out of the way at once, the lock with it: who waits for that finds out
	// (hold) and makes another folder.
	away := fmt.Sprintf("%s-gone-%d", f.dir, os.Getpid())
	err = os.Rename(f.dir, away)
	if err == nil {
		err = os.RemoveAll(away)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return true
}
