package config

import (
	_ "embed"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

//go:embed unbuilt.txt
var unbuiltList string

// unbuilt lists the settings of the two GoTrue servers that Gatehouse knows by
// name and does not have. Load warns of each one that asks for something; those
// that would close a door are faults then. Only name, typ, door and never are
// set; the typ is bool for a switch, else nil.
var unbuilt = sync.OnceValue(func() []setting {
	var all []setting
	for _, line := range unbuiltLines() {
		for _, name := range expand(line.pattern) {
			s := setting{name: name, door: line.door, never: line.never}
			if line.onOff || strings.HasSuffix(name, "ENABLED") {
				s.typ = reflect.TypeFor[bool]()
			}
			all = append(all, s)
		}
	}
	return all
})

// unbuiltLine is one line of unbuilt.txt, whose head explains the words.
type unbuiltLine struct {
	pattern     string
	door, onOff bool
	never       string // why it will not be built; empty: it is still to come
}

func unbuiltLines() []unbuiltLine {
	var lines []unbuiltLine
	for line := range strings.Lines(unbuiltList) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			head, never, _ := strings.Cut(line, " na: ")
			words := strings.Fields(head)
			lines = append(lines, unbuiltLine{words[0], slices.Contains(words, "door"), slices.Contains(words, "switch"), never})
		}
	}
	return lines
}

// unbuilt tells of what was asked for and is not built. Most of it is no
// fault: a server that is set up for more than this one can do should still
// start. But whoever turned on encryption or a hook that may say no believes a
// door shut, and a warning among others would leave it open.
func (k *checker) unbuilt(later []setting) {
	for _, s := range later {
		e, set := k.given[s.name]
		const mend = "take the setting out only if you can do without it"
		switch {
		case !set, s.off(e.value):
		case s.door && s.never != "":
			k.fault(s.name, "Gatehouse does not do this: "+s.never, mend)
		case s.door:
			k.fault(s.name, "Gatehouse does not do this yet", mend)
		case s.never != "":
			k.warn(s.name, "not applicable: "+s.never, "")
		default:
			k.warn(s.name, "not supported yet, ignored", "")
		}
	}
}

// off reports whether the value of an unbuilt setting asks for nothing.
func (s setting) off(v string) bool {
	v = strings.TrimSpace(v)
	if v == "" || s.typ == nil {
		return v == ""
	}
	on, err := strconv.ParseBool(v)
	d, notTime := time.ParseDuration(v)
	return err == nil && !on || notTime == nil && d == 0
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
