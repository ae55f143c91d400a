package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// dieWithParent has the kernel end the child when this process ends.
func dieWithParent(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGKILL }

// mountMemory mounts a file system of that many bytes, in memory, on dir.
func mountMemory(dir string, size int) error {
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", size))
	if err != nil {
		return fmt.Errorf("cannot mount a small disk on %s: %w; run as root, or pass -allow-unprivileged to leave this out", dir, err)
	}
	return nil
}

// unmount undoes mountMemory, even while a file is open.
func unmount(dir string) error {
	return os.NewSyscallError("umount2", syscall.Unmount(dir, syscall.MNT_DETACH))
}

// raiseFiles lets this process have that many files open.
func raiseFiles(n uint64) error {
	var l syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l)
	if err != nil || l.Cur >= n {
		return err
	}
	l.Cur, l.Max = n, max(l.Max, n)
	err = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l)
	if err != nil {
		return fmt.Errorf("this process may not have %d files open (ulimit -n): %w", n, err)
	}
	return nil
}

// smallWindow keeps what the other side may send unread small.
func smallWindow(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) { failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
	return errors.Join(err, failed)
}
