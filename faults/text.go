package main

import "strings"

// difference names the first line that one of two texts has and the other has
// not.
func difference(want, got string) string {
	has := func(text string) map[string]int {
		lines := map[string]int{}
		for line := range strings.Lines(text) {
			lines[strings.TrimSpace(line)]++
		}
		return lines
	}
	w, g := has(want), has(got)
	for line, n := range w {
		if g[line] < n {
			return "missing: " + line
		}
	}
	for line, n := range g {
		if w[line] < n {
			return "too many: " + line
		}
	}
	return "the order alone"
}
