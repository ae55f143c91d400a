package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// prepare makes the folder of a trial and looks whether it can be run at all.
func (t *trial) prepare(sc scenario) error {
	err := os.MkdirAll(t.dir, 0o755)
	if err != nil {
		return err
	}
	if sc.root && os.Geteuid() != 0 {
		if t.o.unprivileged {
			t.note("left out: it needs root")
			return errLeftOut
		}
		return errors.New("it mounts a small disk, which needs root: run it as root, or pass -allow-unprivileged to leave it out")
	}
	if sc.needs == "" {
		return nil
	}
	_, err = lookProgram(sc.needs)
	return err
}

// lookProgram finds a program in PATH or where Debian keeps servers.
func lookProgram(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	path = filepath.Join("/usr/sbin", name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%s is not installed (Debian: apt-get install %s)", name, name)
	}
	return path, nil
}
