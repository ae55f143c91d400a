//go:build unix

package web

import "syscall"

// openFiles is how many files the process may have open; the runtime has
// raised that to what is allowed. 0: not known.
func openFiles() uint64 {
	var l syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l)
	if err != nil {
		return 0
	}
	return uint64(l.Cur) //nolint:unconvert // signed on some systems
}
