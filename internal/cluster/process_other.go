//go:build unix && !linux

package cluster

import (
	"slices"
	"syscall"
)

// Other systems have neither a parent's-death signal nor /proc: a crashed test
// leaves its server behind, and only the first process is killed at once; the
// others end when they see it gone.

func dieWithParent(*syscall.SysProcAttr, syscall.Signal) {}

func family(pid int) []int { return []int{pid} }

func anyAlive(pids []int) bool {
	return slices.ContainsFunc(pids, func(pid int) bool { return syscall.Kill(pid, 0) == nil })
}
