package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// command runs a verb in a folder, with the settings of servers under test, and
// returns what it prints.
func command(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	return commandWith(t, dir, nil, args...)
}

// commandWith is command with settings of its own.
func commandWith(t *testing.T, dir string, settings []string, args ...string) (string, error) {
	t.Helper()
	out := newTape()
	err := run(t.Context(), args, env{environ: testSettings(settings), dir: dir, in: strings.NewReader(""), out: out, err: newTape()})
	return out.String(), err
}

// A ban or a rotation typed in the wrong folder must not succeed on a house of
// its own.
func TestVerbs_makeNoHouseWhereThereIsNone(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"user list", "user show ada@example.com", "user ban ada@example.com", "user delete ada@example.com", "user promote ada@example.com",
		"user sign-out ada@example.com", "user sign-out --all", "session list ada@example.com",
		"session explain 00000000-0000-4000-8000-000000000000", "session end 00000000-0000-4000-8000-000000000000", "keys list", "keys rotate", "keys rotate --now", "keys issue",
		"audit verify", "audit verify --all", "audit export", "webhook list", "webhook add https://hook.example",
	} {
		dir := t.TempDir()
		out, err := command(t, dir, strings.Fields(line)...)
		want := "there is no database at " + filepath.Join(dir, "gatehouse-data", "gatehouse.db") + "; GATEHOUSE_DATA names its folder"
		if err == nil || err.Error() != want || out != "" {
			t.Errorf("%s: %v and %q, want %q", line, err, out, want)
		}
		made, err := os.ReadDir(dir)
		if err != nil || len(made) > 0 {
			t.Errorf("%s left %v behind (%v)", line, made, err)
		}
	}
	for _, line := range []string{"check", "version"} {
		dir := t.TempDir()
		if _, err := command(t, dir, line); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		if made, err := os.ReadDir(dir); err != nil || len(made) > 0 {
			t.Errorf("%s left %v behind (%v)", line, made, err)
		}
	}
	dir := t.TempDir() // the first user may be added before the first start
	if out, err := command(t, dir, "user", "add", "ada@example.com"); err != nil || !strings.HasPrefix(out, "Added ada@example.com") {
		t.Errorf("user add: %q, %v", out, err)
	}
}

func TestUserSignOut_endsSessionsOfARunningServer(t *testing.T) {
	t.Parallel()
	s := start(t)
	in := func(email string) answer {
		t.Helper()
		return s.signIn(email, password)
	}
	out := func(a answer) {
		t.Helper()
		s.do(403, "GET", "/user", nil, bearer(a.text("access_token")))
		s.refresh(400, a.text("refresh_token"))
	}
	s.person("ada@example.com")
	s.person("bob@example.com")
	ada, again, bob := in("ada@example.com"), in("ada@example.com"), in("bob@example.com")
	said, err := command(t, s.dir, "user", "sign-out", "ada@example.com")
	if err != nil || said != "Ended 2 sessions of ada@example.com.\n" {
		t.Fatalf("user sign-out: %q, %v", said, err)
	}
	out(ada)
	out(again)
	s.do(200, "GET", "/user", nil, bearer(bob.text("access_token")))

	ada = in("ada@example.com")
	said, err = command(t, s.dir, "user", "sign-out", "--all")
	if err != nil || said != "Ended 2 sessions.\n" {
		t.Fatalf("user sign-out --all: %q, %v", said, err)
	}
	out(ada)
	out(bob)
	in("bob@example.com")
	if got := s.sql(`SELECT count(*) FROM events WHERE name = 'session.ended' AND actor = 'cli'`); got != "3" {
		t.Errorf("%s events tell of it, want one for each of ada's and one for all", got)
	}
}

func TestKeysRotate_nowReachesARunningServerInSeconds(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.person("ada@example.com")
	in := s.signIn("ada@example.com", password)
	text, err := command(t, s.dir, "keys", "issue")
	if err != nil {
		t.Fatal(err)
	}
	leaked := strings.TrimSpace(text)
	s.do(200, "GET", "/admin/users", nil, bearer(leaked))
	_, err = command(t, s.dir, "keys", "rotate", "--now")
	if err != nil {
		t.Fatal(err)
	}
	rotated := time.Now()
	until(t, "the leaked token refused", func() bool {
		a, err := s.ask("GET", "/admin/users", nil, bearer(leaked))
		if err != nil || a.status != 200 && a.status/100 != 4 {
			t.Fatalf("%d, %v: %s", a.status, err, a.body)
		}
		return a.status != 200
	})
	if took := time.Since(rotated); took > 15*time.Second { // 5 s; the rest is for a busy machine
		t.Errorf("it took the server %v to hear of it", took)
	}
	s.do(403, "GET", "/user", nil, bearer(in.text("access_token")))
	in = s.refresh(200, in.text("refresh_token"))
	s.do(200, "GET", "/user", nil, bearer(in.text("access_token")))
}

func TestMail_thatGoesNowhereIsNotedWithoutItsAddress(t *testing.T) {
	t.Parallel()
	s := start(t, "GATEHOUSE_MAIL=none")
	s.do(200, "POST", "/signup", object{"email": "ada@example.com", "password": password})
	line, err := s.log.await(`(.*a mail was thrown away, because GATEHOUSE_MAIL=none.*)`, s.ended)
	if err != nil {
		t.Fatalf("%v\n%s", err, s.log)
	}
	if !strings.Contains(line, `"mail":"confirmation"`) || strings.Contains(s.log.String(), "ada@") {
		t.Errorf("it is noted as %s", line)
	}
}

// The mend that is named is the one that helps: another port is no help where
// the host is not this machine's.
func TestServe_anAddressThatIsNotOursNamesItsSetting(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	environ := append(testSettings(nil), "GATEHOUSE_API_HOST=192.0.2.1", "GATEHOUSE_MAIL=none")
	err := run(ctx, nil, env{environ: environ, dir: t.TempDir(), in: strings.NewReader(""), out: newTape(), err: newTape()})
	if err == nil || !strings.Contains(err.Error(), "192.0.2.1") || !strings.Contains(err.Error(), "GATEHOUSE_API_HOST and GATEHOUSE_PORT say where to listen") || strings.Contains(err.Error(), "another server") {
		t.Errorf("got %v, want an error that names GATEHOUSE_API_HOST", err)
	}
}
