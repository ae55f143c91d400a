package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// result is what one scenario has shown.
type result struct {
	Name     string         `json:"name"`
	Took     time.Duration  `json:"took_ns"`
	OK       int            `json:"ok"`
	Refused  int            `json:"refused"`
	Unknown  int            `json:"unknown"`
	Lost     int            `json:"lost"`
	Twice    int            `json:"twice"`
	Statuses map[int]int    `json:"statuses,omitempty"` // 0: no answer
	Notes    []string       `json:"notes,omitempty"`
	Broken   []string       `json:"broken,omitempty"`
	Findings []finding      `json:"findings,omitempty"`
	Folder   string         `json:"folder,omitempty"` // kept when something was broken
	control  bool           // it has to find losses
	extra    map[string]int // findings of the other rules
}

// add takes a judged journal in.
func (r *result) add(h *history) {
	r.OK += h.ok
	r.Refused += h.refused
	r.Unknown += h.unknown
	r.Lost += h.broken(ruleLost)
	r.Twice += h.broken(ruleTwice)
	if r.Statuses == nil {
		r.Statuses, r.extra = map[int]int{}, map[string]int{}
	}
	for s, n := range h.statuses {
		r.Statuses[s] += n
	}
	for _, rule := range []string{ruleGhost, ruleWrong} {
		r.extra[rule] += h.broken(rule)
	}
	r.Findings = append(r.Findings, h.findings...)
}

// count takes one answer in that is in no journal.
func (r *result) count(t *told) {
	switch t.outcome() {
	case okay:
		r.OK++
	case refused:
		r.Refused++
	default:
		r.Unknown++
	}
}

// held tells whether every rule was kept. Losses are what a control run is for.
func (r *result) held() bool {
	if r.control {
		return len(r.Broken) == 0 && r.Lost > 0
	}
	return len(r.Broken) == 0 && len(r.Findings) == 0
}

// verdict is one word, or the first rule that was broken.
func (r *result) verdict() string {
	switch {
	case r.held() && r.control:
		return "held (the loss was seen, as it must be)"
	case r.held():
		return "held"
	case r.control && r.Lost == 0 && len(r.Broken) == 0:
		return "BROKEN: acknowledged writes were thrown away on purpose and the journal shows no loss: do not believe the other scenarios"
	}
	return "BROKEN"
}

// write prints the line of a scenario, and below it what was broken.
func (r *result) write(out io.Writer) {
	fmt.Fprintf(out, "%-24s %6.1fs  ok %6d  refused %5d  unknown %5d  lost %d  twice %d  %s", r.Name, r.Took.Seconds(), r.OK, r.Refused, r.Unknown, r.Lost, r.Twice, r.verdict())
	if len(r.Notes) > 0 {
		fmt.Fprintf(out, "  (%s)", strings.Join(r.Notes, "; "))
	}
	fmt.Fprintln(out)
	if r.held() {
		return
	}
	for _, b := range r.Broken {
		fmt.Fprintf(out, "    %s\n", b)
	}
	const most = 10
	for i, f := range r.Findings {
		if i == most {
			fmt.Fprintf(out, "    … and %d more; -json has all\n", len(r.Findings)-most)
			break
		}
		fmt.Fprintf(out, "    %s: %s\n", f.Rule, f.Text)
	}
	if r.Folder != "" {
		fmt.Fprintf(out, "    journal and logs: %s\n", r.Folder)
	}
}

// report is the whole run.
type report struct {
	Began     time.Time     `json:"began"`
	Took      time.Duration `json:"took_ns"`
	Held      bool          `json:"held"`
	Scenarios []*result     `json:"scenarios"`
}

func (r *report) writeJSON(out io.Writer) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
