package cluster

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"syscall"
)

// dieWithParent has the kernel send sig when this process ends, however it
// ends.
func dieWithParent(a *syscall.SysProcAttr, sig syscall.Signal) { a.Pdeathsig = sig }

// family lists a process and all that descend from it, itself first. Neither
// session nor process group would do: every PostgreSQL backend makes its own.
func family(pid int) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return []int{pid}
	}
	children := map[int][]int{}
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		_, parent := stat(child)
		children[parent] = append(children[parent], child)
	}
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

func anyAlive(pids []int) bool {
	return slices.ContainsFunc(pids, func(pid int) bool {
		state, _ := stat(pid)
		return state != 0 && state != 'Z' && state != 'X'
	})
}

// stat reads the state letter and the parent of a process, proc(5); zeros when
// it is gone.
func stat(pid int) (state byte, parent int) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0
	}
	// The name before it, in brackets, may hold anything, brackets too.
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 2 || len(f[0]) != 1 {
		return 0, 0
	}
	parent, err = strconv.Atoi(string(f[1]))
	if err != nil {
		return 0, 0
	}
	return f[0][0], parent
}
