package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// The figures Gatehouse aims at, on two cores with the driver beside the
// server, SQLite, synchronous=FULL, 16 callers. MB is 10⁶ bytes.
const (
	wantUserRate    = 8000.0 // GET /user a second
	wantUserCPU     = 100 * time.Microsecond
	wantRefreshRate = 4000.0 // durable rotations a second
	wantSignInShare = 0.9    // of the raw argon2id rate
	wantStormRSS    = 250e6  // bytes, with 1,000 sign-ins at once
	wantColdStart   = 100 * time.Millisecond
	wantIdleRSS     = 30e6 // bytes
	wantBinary      = 35e6 // bytes, stripped
)

// A report is everything one run has found.
type report struct {
	Machine  string        `json:"machine"`
	Server   string        `json:"server"`
	Data     string        `json:"data_filesystem,omitempty"`
	Settings []string      `json:"settings_passed_on,omitempty"` // names only
	Callers  int           `json:"callers,omitempty"`
	Users    int           `json:"users,omitempty"` // who take part in what is measured
	Flows    []*flowResult `json:"flows"`
	Engines  []string      `json:"engines,omitempty"` // and their versions
	Loads    []*loadResult `json:"loads,omitempty"`
	Trips    []*tripResult `json:"round_trips,omitempty"`
	Argon    float64       `json:"raw_argon2id_per_second,omitempty"`
	Storm    *stormResult  `json:"storm,omitempty"`
	Cold     *coldResult   `json:"cold,omitempty"`

	Tenants *tenantsResult `json:"tenants,omitempty"`

	Notes    []string  `json:"notes,omitempty"`
	Verdicts []verdict `json:"verdicts"`
}

// A verdict compares one figure with its target.
type verdict struct {
	OK     bool   `json:"ok"`
	What   string `json:"what"`
	Got    string `json:"got"`
	Target string `json:"target"`
}

// add adds a verdict.
func (r *report) add(ok bool, what, got, target string) {
	r.Verdicts = append(r.Verdicts, verdict{ok, what, got, target})
}

// judge fills in the verdicts of everything that was measured.
func (r *report) judge() {
	r.judgeEngines()
	r.judgeSizes()
	r.judgeTrips()
	add := r.add
	rate := func(v float64) string { return fmt.Sprintf("%.0f/s", v) }
	for _, f := range r.Flows {
		if f.Engine != "" {
			continue
		}
		switch f.Flow {
		case "user":
			add(f.PerSecond >= wantUserRate, "GET /user", rate(f.PerSecond), "at least "+rate(wantUserRate))
			if f.ServerCPU > 0 {
				add(f.ServerCPU <= wantUserCPU, "server CPU of a GET /user", micros(f.ServerCPU), "at most "+micros(wantUserCPU))
			}
		case "refresh":
			add(f.PerSecond >= wantRefreshRate, "refresh", rate(f.PerSecond), "at least "+rate(wantRefreshRate))
		case "signin":
			if r.Argon > 0 {
				share := f.PerSecond / r.Argon
				add(share >= wantSignInShare, "sign-ins by raw argon2id", fmt.Sprintf("%.2f", share), fmt.Sprintf("at least %.2f", wantSignInShare))
			}
		}
	}
	if s := r.Storm; s != nil {
		if s.peak() > 0 {
			add(s.peak() < wantStormRSS, fmt.Sprintf("RSS under %d sign-ins", s.Sent), megabytes(s.peak()), "under "+megabytes(wantStormRSS))
		}
		good := s.OK + s.Refused
		add(good == s.Sent, "200, or 429 with Retry-After", fmt.Sprintf("%d of %d", good, s.Sent), "each")
	}
	if c := r.Cold; c != nil {
		add(c.Median <= wantColdStart, "cold start, median", millis(c.Median), "at most "+millis(wantColdStart))
		add(c.IdleRSS <= wantIdleRSS, "idle RSS", megabytes(c.IdleRSS), "at most "+megabytes(wantIdleRSS))
		add(c.Binary <= wantBinary, "binary", megabytes(c.Binary), "at most "+megabytes(wantBinary))
	}
}

func (r *report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// writeText prints the table and the verdicts.
func (r *report) writeText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "machine  %s\n", r.Machine)
	if r.Server != "" {
		fmt.Fprintf(&b, "server   %s\n", r.Server)
	}
	if r.Data != "" {
		fmt.Fprintf(&b, "data on  %s\n", r.Data)
	}
	if len(r.Settings) > 0 {
		fmt.Fprintf(&b, "set too  %s\n", strings.Join(r.Settings, " "))
	}
	for _, e := range r.Engines {
		fmt.Fprintf(&b, "engine   %s\n", e)
	}
	if r.Callers > 0 {
		fmt.Fprintf(&b, "load     %d callers, %d users\n", r.Callers, r.Users)
	}
	b.WriteByte('\n')
	r.loadTable(&b)
	r.tripTable(&b)
	if len(r.Flows) > 0 && r.Flows[0].Engine != "" {
		r.sideTable(&b)
	} else {
		r.flowTable(&b)
	}
	r.storyOfStorm(&b)
	r.storyOfCold(&b)
	r.storyOfTenants(&b)
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	if len(r.Verdicts) > 0 && !strings.HasSuffix(b.String(), "\n\n") {
		b.WriteByte('\n')
	}
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, v := range r.Verdicts {
		word := "SHORT"
		if v.OK {
			word = "ok"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t(%s)\n", word, v.What, v.Got, v.Target)
	}
	_ = t.Flush() // a strings.Builder takes everything
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *report) flowTable(b *strings.Builder) {
	if len(r.Flows) == 0 {
		return
	}
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "flow\top/s\tp50\tp99\tmax\tserver CPU/op\tdriver CPU/op\tops\terrors\t")
	for _, f := range r.Flows {
		fmt.Fprintf(t, "%s\t%.0f\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t\n", f.Flow, f.PerSecond,
			millis(f.P50), millis(f.P99), millis(f.Max), micros(f.ServerCPU), micros(f.DriverCPU), f.Ops, f.Errors)
	}
	_ = t.Flush() // a strings.Builder takes everything
	for _, f := range r.Flows {
		if f.Errors > 0 {
			fmt.Fprintf(b, "\n%s: the first of %d errors: %s\n", f.Flow, f.Errors, f.Sample)
		}
		if f.Flow == "signin" && r.Argon > 0 {
			fmt.Fprintf(b, "\nraw argon2id in the driver: %.1f/s; sign-ins are %.2f of it\n", r.Argon, f.PerSecond/r.Argon)
		}
	}
}

func (r *report) storyOfStorm(b *strings.Builder) {
	s := r.Storm
	if s == nil {
		return
	}
	fmt.Fprintf(b, "\nstorm: %d sign-ins at once: %d × 200, %d × 429 with Retry-After, %d × 429 without, %d other, %d unanswered; p50 %s, slowest %s\n",
		s.Sent, s.OK, s.Refused, s.RefusedBare, s.Other, s.Broken, millis(s.P50), millis(s.Slowest))
	if s.Sample != "" {
		fmt.Fprintf(b, "       the first that was wrong: %s\n", s.Sample)
	}
	if s.peak() > 0 {
		of := "since the process began"
		if s.PeakIsOwn {
			of = "of the storm"
		}
		fmt.Fprintf(b, "       RSS %s before, %s seen, high-water mark %s %s\n",
			megabytes(s.RSSBefore), megabytes(s.RSSSeen), megabytes(s.RSSPeak), of)
	}
}

func (r *report) storyOfCold(b *strings.Builder) {
	c := r.Cold
	if c == nil {
		return
	}
	var each []string
	for _, d := range c.Starts {
		each = append(each, millis(d))
	}
	stripped := "stripped"
	if !c.Stripped {
		stripped = "NOT stripped"
	}
	fmt.Fprintf(b, "\ncold: median %s of %s; idle RSS %s; binary %s, %s\n",
		millis(c.Median), strings.Join(each, ", "), megabytes(c.IdleRSS), megabytes(c.Binary), stripped)
}

func micros(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f µs", float64(d)/float64(time.Microsecond))
}

func millis(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
