//go:build unix && !linux

package main

import (
	"errors"
	"syscall"
)

// Other systems have no parent's-death signal and mount differently: a crashed
// run leaves its servers behind, and the small disk is left out.

func dieWithParent(*syscall.SysProcAttr) {}

func mountMemory(string, int) error {
	return errors.New("a small disk can be mounted on Linux only; pass -allow-unprivileged to leave this out")
}

func unmount(string) error { return nil }

func raiseFiles(uint64) error { return nil }

func smallWindow(string, string, syscall.RawConn) error { return nil }
