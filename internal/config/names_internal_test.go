package config

import (
	_ "embed"
	"strings"
	"testing"
)

// gotrueNames is every variable that the two GoTrue servers read.
//
//go:embed testdata/gotrue.txt
var gotrueNames string

// What an operator brings along from either server is honoured, still to come,
// or not to come with a reason: nothing is ignored in silence.
func TestNames_ofGoTrueAreAllKnownAndOnce(t *testing.T) {
	found := map[string][]string{}
	for _, s := range settings() {
		for _, name := range s.names() {
			found[name] = append(found[name], "a setting")
		}
	}
	for _, s := range unbuilt() {
		where := "unbuilt"
		if s.never != "" {
			where = "not applicable"
		}
		found[s.name] = append(found[s.name], where)
	}
	n := 0
	for line := range strings.Lines(gotrueNames) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		for _, name := range expand(line) {
			n++
			if len(found[name]) != 1 {
				t.Errorf("%s is %v, want one of: a setting, unbuilt, not applicable", name, found[name])
			}
		}
	}
	if n < 400 {
		t.Errorf("the list has %d names, want some 450", n)
	}
}

// A reason is a clause: it stands after a colon, before nothing.
func TestUnbuilt_reasonsAreClauses(t *testing.T) {
	reasons := 0
	for _, line := range unbuiltLines() {
		if strings.Contains(line.pattern, "na:") {
			t.Errorf("%s: its reason cannot be read", line.pattern)
		}
		if line.never == "" {
			continue
		}
		reasons++
		if strings.HasSuffix(line.never, ".") || strings.TrimSpace(line.never) != line.never {
			t.Errorf("%s: %q", line.pattern, line.never)
		}
	}
	if reasons == 0 {
		t.Error("no setting has a reason")
	}
}
