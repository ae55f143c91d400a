package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// treeTries bounds how often a tree is read anew because a process of it came
// or went meanwhile.
const treeTries = 20

// A process is what one line of /proc/PID/stat says (proc_pid_stat(5)).
type process struct {
	parent int
	own    time.Duration // user and system time of all its threads
	reaped time.Duration // of the children that ended and were waited for, and of theirs
}

// parseProcess reads fields 4 and 14 to 17.
func parseProcess(text string) (process, error) {
	// The name in field 2 may hold spaces and brackets, so count from its end.
	end := strings.LastIndexByte(text, ')')
	fields := strings.Fields(text[end+1:])
	if end < 0 || len(fields) < 15 {
		return process{}, errors.New("/proc/PID/stat is too short")
	}
	var n [5]int64
	for i, f := range append(fields[1:2:2], fields[11:15]...) {
		var err error
		if n[i], err = strconv.ParseInt(f, 10, 64); err != nil {
			return process{}, fmt.Errorf("/proc/PID/stat: %w", err)
		}
	}
	return process{
		parent: int(n[0]),
		own:    time.Duration(n[1]+n[2]) * tick,
		reaped: time.Duration(n[3]+n[4]) * tick,
	}, nil
}

// treeTime returns the user and system time of a process, of all who live below
// it, and of those below it who have ended. PostgreSQL has a process for each
// connection: what one has used must not be forgotten when it ends.
func treeTime(pid int) (time.Duration, error) {
	before, err := processes()
	if err != nil {
		return 0, err
	}
	for range treeTries {
		after, err := processes()
		if err != nil {
			return 0, err
		}
		// One that ends in the middle of a look is counted twice (by itself and by
		// its parent) or not at all, so only a look at a tree that stood still counts.
		members := below(after, pid)
		if sameMembers(members, below(before, pid)) {
			var sum time.Duration
			for _, m := range members {
				sum += after[m].own + after[m].reaped
			}
			if len(members) == 0 {
				return 0, fmt.Errorf("no CPU time of process %d: it is not there", pid)
			}
			return sum, nil
		}
		before = after
	}
	return 0, fmt.Errorf("no CPU time of process %d: its children come and go too fast", pid)
}

// processes reads the whole process table.
func processes() (map[int]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("no process table: %w", err)
	}
	all := make(map[int]process, len(entries))
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue // not a process
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // it ended since the folder was read
		}
		p, err := parseProcess(string(text))
		if err != nil {
			return nil, err
		}
		all[pid] = p
	}
	return all, nil
}

// below returns a process and all its living descendants, parents first; empty
// when it is not there.
func below(all map[int]process, pid int) []int {
	if _, ok := all[pid]; !ok {
		return nil
	}
	children := map[int][]int{}
	for id, p := range all {
		children[p.parent] = append(children[p.parent], id)
	}
	found := []int{pid}
	for i := 0; i < len(found); i++ {
		found = append(found, children[found[i]]...)
	}
	return found
}

func sameMembers(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	in := make(map[int]bool, len(a))
	for _, id := range a {
		in[id] = true
	}
	for _, id := range b {
		if !in[id] {
			return false
		}
	}
	return true
}
