package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/cluster"
)

// testEngines are all engines, or those that GATEHOUSE_TEST_ENGINES names.
func testEngines(t *testing.T) []string {
	t.Helper()
	few := os.Getenv("GATEHOUSE_TEST_ENGINES")
	if few == "sqlite" {
		return []string{"sqlite"}
	}
	if err := cluster.Installed(); err != nil {
		t.Fatal(err)
	}
	if few == "" {
		few = engineNames
	}
	return strings.Split(few, ",")
}

// A builder builds the server once, in a folder that TestMain removes.
type builder struct {
	folder string
	once   sync.Once
	bin    string
	err    error
}

// theBuild is a variable of the package because testing.M hands tests nothing.
var theBuild builder

func built(t *testing.T) string {
	t.Helper()
	b := &theBuild
	b.once.Do(func() { b.bin, b.err = build(context.Background(), b.folder, os.Stderr) })
	if b.err != nil {
		t.Fatal(b.err)
	}
	return b.bin
}

// measured runs the whole program and returns its report.
func measured(t *testing.T, args ...string) *report {
	t.Helper()
	folder, bin := t.TempDir(), built(t)
	var out, progress bytes.Buffer
	if err := run(t.Context(), append(args, "-bin", bin, "-dir", folder, "-json"), &out, &progress); err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	var r report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("%v in %s", err, out.String())
	}
	left, err := os.ReadDir(folder)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	return &r
}

func TestRun_measuresEnginesSideBySide(t *testing.T) {
	names := testEngines(t)
	r := measured(t, "-db", strings.Join(names, ","), "-flows", "user,refresh,signup", "-callers", "2", "-users", "4", "-duration", "400ms", "-rounds", "2")
	for _, name := range names {
		for _, flow := range []string{"user", "refresh", "signup"} {
			f := r.find(name, 0, flow)
			if f == nil || f.Ops == 0 || f.Errors != 0 {
				t.Errorf("%s: %s: got %+v, want answers and no errors", name, flow, f)
				continue
			}
			if name == "sqlite" && (f.DatabaseCPU != 0 || f.Log != 0) {
				t.Errorf("sqlite: %s: got CPU or a log of a server it does not have: %+v", flow, f)
			}
			if name != "sqlite" && flow == "signup" && f.Log < 500 {
				t.Errorf("%s: got %.0f bytes of log for a new user, want more than the user's rows have", name, f.Log)
			}
		}
	}
	if slices.Contains(names, "postgres") {
		warm, f := r.find("postgres", 0, "refresh"), r.find("postgres", 0, "refresh"+afterCheckpoint)
		if f == nil || f.Ops != 4 || f.Log < warm.Log+100 {
			t.Errorf("after a checkpoint: got %+v, want 4 operations with more in their log than %+v", f, warm)
		}
	}
}

func TestRun_countsRoundTrips(t *testing.T) {
	names := slices.DeleteFunc(testEngines(t), func(name string) bool { return name == "sqlite" })
	if len(names) == 0 {
		t.Skip("only where there is a way to the database")
	}
	r := measured(t, "-trips", "-db", strings.Join(names, ","), "-callers", "2", "-users", "2")
	if got, want := len(r.Trips), 3*len(names); got != want {
		t.Fatalf("got %d results, want %d", got, want)
	}
	for _, f := range r.Trips {
		if f.Median < 1 || f.Most < f.Median || f.Mean < 1 {
			t.Errorf("got %+v, want at least one round trip of each call", *f)
		}
		if f.Median > wantTrips(f.Flow) {
			t.Errorf("%s: %s: got %d round trips, want at most %d", f.Engine, f.Flow, f.Median, wantTrips(f.Flow))
		}
	}
}

// The load knows the tables by itself: this fails when a column was added that
// it does not fill, and when those who were loaded are not users.
func TestRun_loadsPeopleWhoCanSignIn(t *testing.T) {
	names := testEngines(t)
	r := measured(t, "-scale", "200,250", "-db", strings.Join(names, ","), "-callers", "2", "-sample", "8", "-duration", "200ms", "-rounds", "1")
	if got, want := len(r.Loads), 2*len(names); got != want {
		t.Errorf("got %d loads, want %d", got, want)
	}
	for _, name := range names {
		for _, people := range []int{200, 250} {
			for _, flow := range []string{"signin", "refresh", "user", "page", "walk"} {
				if f := r.find(name, people, flow); f == nil || f.Ops == 0 || f.Errors != 0 {
					t.Errorf("%s with %d people: %s: got %+v, want answers and no errors", name, people, flow, f)
				}
			}
		}
	}
}

func TestFill_makesARowForEveryoneAndRefusesToDoItTwice(t *testing.T) {
	bin := built(t)
	for _, name := range testEngines(t) {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			e, err := startEngine(t.Context(), name, folder+"/server")
			if err != nil {
				t.Fatal(err)
			}
			o := options{bin: bin, callers: 1}
			s, err := o.newSide(t.Context(), e, "loaded", folder)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := stopAll([]*side{s}, []*engine{e}); err != nil {
					t.Error(err)
				}
			})
			c := newCrowd(1234, loadPassword, usualHash().hash(loadPassword), time.Now())
			l, err := fill(t.Context(), s.db.url, c)
			if err != nil || l.Engine != name || l.People != 1234 || l.Sessions != 3702 {
				t.Fatalf("got %+v, %v", l, err)
			}
			if _, err := fill(t.Context(), s.db.url, c); err == nil || !strings.Contains(err.Error(), "1234 users") {
				t.Errorf("a second load: got %v, want a refusal", err)
			}
			if err := s.db.settle(t.Context()); err != nil {
				t.Error(err)
			}
			if err := s.start(t.Context(), bin); err != nil {
				t.Fatal(err)
			}
			s.d.password = loadPassword
			if err := s.d.signInAll(t.Context(), c.sample(3)); err != nil {
				t.Error(err)
			}
			if total, first := listed(t, s); total != "1234" || !strings.Contains(first, c.email(1233)) {
				t.Errorf("got %s users, the newest page %s, want 1234 with %s", total, first, c.email(1233))
			}
		})
	}
}

// listed returns how many users the server counts, and its first page.
func listed(t *testing.T, s *side) (total, page string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.server.url+"/admin/users?per_page=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", fmt.Sprintf("Bearer %s", s.d.operator))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.Header.Get("X-Total-Count"), string(body)
}
