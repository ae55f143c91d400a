package main

import (
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
