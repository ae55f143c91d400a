package config

import (
	"errors"
	"strings"
)

// Report is what is wrong with the settings, all of it at once. It never
// holds the value of a secret.
type Report struct {
	// Faults must be mended before the server may start.
	Faults []Note
	// Warnings are worth a log line each.
	Warnings []Note

	at func(x string) (name, place string) // of the checker; nil in a report nobody loaded
}

// Add adds a fault of the setting x, without prefix, that only the part which
// will use it can find. It is named as the operator wrote it.
func (r *Report) Add(x, problem, mend string) {
	name, place := r.named(x)
	r.fault(name, problem+place, mend)
}

// Warn is Add for a warning.
func (r *Report) Warn(x, problem, mend string) {
	name, place := r.named(x)
	r.warn(name, problem+place, mend)
}

func (r *Report) named(x string) (name, place string) {
	if r.at == nil {
		return ours + x, ""
	}
	return r.at(x)
}

// Note is one thing to say about one setting.
type Note struct {
	// Name is what the operator really wrote: GOTRUE_JWT_EXP when that was
	// set, mailer.otp_exp from gatehouse.yaml, .env:3 for a line without a
	// readable name. A setting that is missing has its GATEHOUSE_ name.
	Name string
	// Problem says what is wrong, in lower case, with the file and line of
	// settings that come from a file.
	Problem string
	// Mend says what to do; it may be empty.
	Mend string
}

// String is the note on one line: "NAME: problem; mend".
func (n Note) String() string {
	s := n.Name + ": " + n.Problem
	if n.Mend != "" {
		s += "; " + n.Mend
	}
	return s
}

// Err is nil without faults, else an error whose text has one line for each.
func (r *Report) Err() error {
	if r == nil || len(r.Faults) == 0 {
		return nil
	}
	lines := make([]string, len(r.Faults))
	for i, n := range r.Faults {
		lines[i] = n.String()
	}
	return errors.New(strings.Join(lines, "\n"))
}

func (r *Report) fault(name, problem, mend string) {
	r.Faults = append(r.Faults, Note{name, problem, mend})
}

func (r *Report) warn(name, problem, mend string) {
	r.Warnings = append(r.Warnings, Note{name, problem, mend})
}

// nearest is the known name with the least edit distance to name, or "" when
// none is near enough to be what was meant.
func nearest(name string, known []string) string {
	best, least := "", 2+len(name)/4
	for _, k := range known {
		if d := distance(name, k); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance is how many letters must be put in, left out or changed, or
// neighbours swapped, to make b of a (optimal string alignment).
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, before
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(change, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
