package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
)

// TestMain lets the test binary be the command too: run under the name
// gatehouse it is a real process, which scripts and tests can kill.
func TestMain(m *testing.M) {
	testscript.Main(leakless{m}, map[string]func(){"gatehouse": main})
}

// leakless fails the package when a goroutine of a server outlives it.
type leakless struct{ m *testing.M }

func (l leakless) Run() int {
	code := l.m.Run()
	if code != 0 {
		return code
	}
	err := goleak.Find()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// The scripts are the command line as people use it.
//
// Mission: C01, C04, U10
func TestScripts(t *testing.T) {
	testscript.Run(t, params("testdata"))
}

// params are those of all scripts.
func params(dir string) testscript.Params {
	return testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("GATEHOUSE_PORT", "0")
			e.Setenv("GATEHOUSE_PASSWORD_HASH_MEMORY", "64")
			e.Setenv("GATEHOUSE_PASSWORD_HASH_TIME", "1")
			e.Setenv("GORACE", "atexit_sleep_ms=0") // else every command takes a second more under -race
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"capture": capture, "private": private},
	}
}

// capture NAME REGEXP sets a variable to the first group found in the last
// standard output.
func capture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: capture NAME REGEXP")
	}
	m := regexp.MustCompile("(?m)" + args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if len(m) != 2 {
		ts.Fatalf("no group of %q in the output", args[1])
	}
	ts.Setenv(args[0], m[1])
}

// private FOLDER holds everything in a folder against 0700 and 0600.
func private(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: private FOLDER")
	}
	err := onlyOurs(ts.MkAbs(args[0]))
	if err != nil {
		ts.Fatalf("%v", err)
	}
}

// onlyOurs reports the first file or folder that others may look into.
func onlyOurs(dir string) error {
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		} else {
			files++
		}
		if got := st.Mode().Perm(); got != want {
			return fmt.Errorf("%s has the mode %o, want %o", path, got, want)
		}
		return nil
	})
	if err == nil && files == 0 {
		err = fmt.Errorf("there is nothing in %s", dir)
	}
	return err
}
