package config

import (
	_ "embed"
	"strings"
)

//go:embed unbuilt.txt
var unbuiltList string

// Unbuilt lists, without prefix, the settings of the two GoTrue servers that
// Gatehouse knows by name and does not have yet. Load warns of each one set.
func Unbuilt() []string {
	var names []string
	for _, line := range unbuiltLines() {
		names = append(names, expand(line)...)
	}
	return names
}

func unbuiltLines() []string {
	var lines []string
	for line := range strings.Lines(unbuiltList) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	return lines
}

// expand writes out A_{B,C} as A_B, A_C.
func expand(pattern string) []string {
	before, rest, ok := strings.Cut(pattern, "{")
	if !ok {
		return []string{pattern}
	}
	choices, after, _ := strings.Cut(rest, "}")
	var names []string
	for c := range strings.SplitSeq(choices, ",") {
		for _, tail := range expand(after) {
			names = append(names, before+c+tail)
		}
	}
	return names
}
