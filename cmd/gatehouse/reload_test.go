package main

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// put replaces a file at once, as editors and tools do.
func put(t *testing.T, dir, name, text string) {
	t.Helper()
	tmp := filepath.Join(dir, name+".new")
	err := os.WriteFile(tmp, []byte(text), 0o600)
	if err == nil {
		err = os.Rename(tmp, filepath.Join(dir, name))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// hup asks a process to read its settings again.
func (s *server) hup() {
	s.t.Helper()
	err := syscall.Kill(s.pid, syscall.SIGHUP)
	if err != nil {
		s.t.Fatal(err)
	}
}

const (
	readAgain = "the configuration was read again"
	staysAsIs = "stays" // in both lines of a reload that fails
)

// reload does hup and waits for a line of the log to come once more.
func (s *server) reload(line string) {
	s.t.Helper()
	before := strings.Count(s.log.String(), line)
	s.hup()
	until(s.t, line, func() bool { return strings.Count(s.log.String(), line) > before })
}

// Mission: C05
func TestReload_newRequestsAreServedByTheFilesAsTheyAre(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, dir, ".env", "GOTRUE_DISABLE_SIGNUP=true\nGATEHOUSE_LOG_LEVEL=warn\n")
	put(t, dir, "gatehouse.yaml", "password_min_length: 20\n")
	s := spawn(t, dir, "GOTRUE_MAILER_AUTOCONFIRM=true")
	s.person("ada@example.com")
	in := s.signIn("ada@example.com", password)
	shop := s.do(201, "POST", "/admin/tenants", object{"name": "shop", "settings": object{"JWT_EXP": "60"}}, bearer(operator)).text("id")
	s.do(422, "POST", "/t/shop/signup", object{"email": "bob@example.com", "password": password})
	if shop == "" || strings.Contains(s.log.String(), "GET /settings") {
		t.Fatalf("the tenant is %q; the log has\n%s", shop, s.log)
	}

	put(t, dir, ".env", "GOTRUE_DISABLE_SIGNUP=false\nGATEHOUSE_LOG_LEVEL=info\nGATEHOUSE_API_EXTERNAL_URL=https://auth.example.com\n")
	put(t, dir, "gatehouse.yaml", "password_min_length: 8\n")
	s.reload(readAgain)
	a := s.do(200, "GET", "/settings", nil)
	if a.at("disable_signup") != false || a.header.Get("Strict-Transport-Security") == "" {
		t.Errorf("after the reload: %s with the header %v", a.body, a.header)
	}
	_, err := s.log.await(`"route":"(GET /settings)"`, s.ended)
	if err != nil {
		t.Errorf("the level of the log: %v", err)
	}
	s.do(200, "POST", "/signup", object{"email": "bob@example.com", "password": password})
	// A tenant has the new defaults, and what it said itself.
	if got := s.do(200, "POST", "/t/shop/signup", object{"email": "bob@example.com", "password": password}); got.at("expires_in") != 60.0 {
		t.Errorf("the tenant's session is %s", got.body)
	}
	// Who was signed in stays so.
	s.do(200, "GET", "/user", nil, bearer(in.text("access_token")))
	s.refresh(200, in.text("refresh_token"))

	// What is taken out is as if it had never been there.
	put(t, dir, ".env", "")
	put(t, dir, "gatehouse.yaml", "")
	s.reload(readAgain)
	link := s.do(200, "POST", "/admin/generate_link", object{"type": "magiclink", "email": "ada@example.com"}, bearer(operator)).text("action_link")
	if !strings.HasPrefix(link, s.url+"/") {
		t.Errorf("links begin with %s, want %s, where it listens", link, s.url)
	}
	err = s.stop()
	if err != nil {
		t.Errorf("it ended with %v\n%s", err, s.log)
	}
}

func TestReload_aBrokenFileChangesNothingAndIsTold(t *testing.T) {
	t.Parallel()
	const good = "GOTRUE_DISABLE_SIGNUP=true\n"
	dir := t.TempDir()
	put(t, dir, ".env", good)
	s := spawn(t, dir)
	put(t, dir, "schema.json", `{"type":`)
	for what, files := range map[string]map[string]string{
		"a value that is none":         {".env": "GOTRUE_DISABLE_SIGNUP=perhaps\n"},
		"a line that is none":          {".env": "GOTRUE_DISABLE_SIGNUP=false\nhello\n"},
		"a tree that is none":          {".env": "GOTRUE_DISABLE_SIGNUP=false\n", "gatehouse.yaml": "a: [\n"},
		"keys that are none":           {".env": "GOTRUE_DISABLE_SIGNUP=false\nGOTRUE_JWT_KEYS=[{}]\n"},
		"a schema that is none":        {".env": "GOTRUE_DISABLE_SIGNUP=false\nGATEHOUSE_USER_DATA_SCHEMA=schema.json\n"},
		"a pattern that means nothing": {".env": "GOTRUE_DISABLE_SIGNUP=false\nGOTRUE_URI_ALLOW_LIST=https://**\n"},
		"a list that is not there":     {".env": "GOTRUE_DISABLE_SIGNUP=false\nGATEHOUSE_PASSWORD_COMMON_LIST=nowhere.txt\n"},
		"captchas nobody judges":       {".env": "GOTRUE_DISABLE_SIGNUP=false\nGOTRUE_SECURITY_CAPTCHA_ENABLED=true\nGOTRUE_SECURITY_CAPTCHA_PROVIDER=turnstile\n"},
	} {
		for _, name := range slices.Sorted(maps.Keys(files)) {
			put(t, dir, name, files[name])
		}
		s.reload(staysAsIs)
		if a := s.do(200, "GET", "/settings", nil); a.at("disable_signup") != true {
			t.Errorf("%s: the settings are %s", what, a.body)
		}
		s.do(422, "POST", "/signup", object{"email": "bob@example.com", "password": password})
		put(t, dir, "gatehouse.yaml", "")
	}
	if strings.Contains(s.log.String(), readAgain) {
		t.Errorf("one was taken:\n%s", s.log)
	}
	put(t, dir, ".env", "GOTRUE_DISABLE_SIGNUP=false\n")
	s.reload(readAgain)
	s.do(200, "POST", "/signup", object{"email": "bob@example.com", "password": password})
}

// What rotates logs moves the file away and says so, whatever the settings are
// like just then.
func TestReload_goesOnInANewLogFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "gatehouse.log")
	put(t, dir, ".env", "GATEHOUSE_LOG_FILE="+file+"\n")
	s := spawn(t, dir)
	lines := func(name string) string {
		b, err := os.ReadFile(name)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return string(b)
	}
	for i, settings := range []string{"GATEHOUSE_LOG_FILE=" + file + "\n", "GATEHOUSE_LOG_FILE=" + file + "\nGATEHOUSE_LOG_LEVEL=loud\n"} {
		old := fmt.Sprintf("%s.%d", file, i)
		err := os.Rename(file, old)
		if err != nil {
			t.Fatal(err)
		}
		put(t, dir, ".env", settings)
		s.hup()
		want := readAgain
		if i == 1 {
			want = staysAsIs
		}
		until(t, want+" in the new file", func() bool { return strings.Contains(lines(file), want) })
		s.do(200, "GET", "/settings", nil)
		until(t, "the request in the new file", func() bool { return strings.Contains(lines(file), "GET /settings") })
		if text := lines(old); strings.Contains(text, want) {
			t.Errorf("the old file has\n%s", text)
		}
		st, err := os.Stat(file)
		if err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("the new file: %v, %v", st.Mode(), err)
		}
	}
}

// What cannot be taken over is named, and not in force by halves either.
func TestReload_namesWhatNeedsARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := spawn(t, dir)
	put(t, dir, ".env", "GATEHOUSE_MULTIINSTANCEMODE=true\nGATEHOUSE_LOG_FORMAT=text\nGATEHOUSE_TENANTS_LIVE=99\nGOTRUE_DISABLE_SIGNUP=true\n")
	for range 2 { // and again, until somebody does restart it
		s.reload(readAgain)
		if a := s.do(200, "GET", "/settings", nil); a.at("disable_signup") != true { // which needs a signature when there are many instances
			t.Errorf("the settings are %s", a.body)
		}
		s.do(404, "GET", "/instances/00000000-0000-0000-0000-000000000001", nil, bearer(operator))
	}
	for _, name := range []string{"MULTIINSTANCEMODE", "LOG_FORMAT", "TENANTS_LIVE"} {
		line := fmt.Sprintf(`"msg":"this setting is in force after a restart only","setting":%q`, name)
		if n := strings.Count(s.log.String(), line); n != 2 {
			t.Errorf("%s is named %d times, want once at each reload:\n%s", name, n, s.log)
		}
	}
	if strings.Contains(s.log.String(), `"setting":"DISABLE_SIGNUP"`) {
		t.Error("what is in force is said to need a restart")
	}
}

// A server that everybody reaches shows nobody the mails it did not send, because
// its file says that it listens on this machine alone.
func TestReload_doesNotTakeAPublicServerForAPrivateOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, dir, ".env", "GATEHOUSE_API_HOST=0.0.0.0\nGATEHOUSE_MAIL=none\nGATEHOUSE_API_EXTERNAL_URL=http://127.0.0.1\nGATEHOUSE_DRAIN=0s\n")
	s := spawn(t, dir)
	s.url = strings.Replace(s.url, "[::]", "127.0.0.1", 1)
	s.do(404, "GET", "/dev/inbox", nil)
	put(t, dir, ".env", "GATEHOUSE_API_HOST=127.0.0.1\nGATEHOUSE_API_EXTERNAL_URL=http://127.0.0.1\n")
	s.reload(staysAsIs)
	s.do(404, "GET", "/dev/inbox", nil)
	s.do(404, "GET", "/dev/inbox.json", nil)
}

// Two settings that always change together are never seen apart, no request
// fails, and what a client has spent stays spent, however often the settings
// are read while everybody asks.
func TestThreat_V06_aReloadOpensNoWindow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	both := func(open bool) string {
		return fmt.Sprintf("GOTRUE_DISABLE_SIGNUP=%t\nGOTRUE_MAILER_AUTOCONFIRM=%t\n", !open, open)
	}
	put(t, dir, ".env", both(false))
	s := spawn(t, dir, "GATEHOUSE_LOG_LEVEL=info")
	s.person("ada@example.com")
	s.do(201, "POST", "/admin/tenants", object{"name": "shop"}, bearer(operator))
	in := s.signIn("ada@example.com", password)
	began := time.Now()

	over := make(chan struct{})
	var all sync.WaitGroup
	var seen [2]atomic.Int64 // answers by the closed and by the open settings
	var tried, through atomic.Int64
	for i := range 6 {
		all.Go(func() {
			path := []string{"/settings", "/t/shop/settings"}[i%2]
			for !done(over) {
				a, err := s.ask("GET", path, nil)
				closed, _ := a.at("disable_signup").(bool)
				confirms, _ := a.at("autoconfirm").(bool)
				switch {
				case err != nil || a.status != 200:
					t.Errorf("%s during a reload: %d %s, %v", path, a.status, a.body, err)
					return
				case closed == confirms:
					t.Errorf("%s is by the old and the new settings: %s", path, a.body)
					return
				case closed:
					seen[0].Add(1)
				default:
					seen[1].Add(1)
				}
			}
		})
	}
	all.Go(func() { // somebody who is signed in
		for !done(over) {
			a, err := s.ask("GET", "/user", nil, bearer(in.text("access_token")))
			if err != nil || a.status != 200 {
				t.Errorf("GET /user during a reload: %d %s, %v", a.status, a.body, err)
				return
			}
		}
	})
	all.Go(func() { // somebody who guesses, through a proxy: 30, and one each ten seconds
		for !done(over) {
			a, err := s.ask("POST", "/verify", object{"type": "recovery", "token_hash": "guess"}, "X-Forwarded-For: 203.0.113.9")
			tried.Add(1)
			if err == nil && a.status != 429 {
				through.Add(1)
			}
		}
	})
	const reloads = 40
	for i := range reloads {
		put(t, dir, ".env", both(i%2 == 0))
		s.reload(readAgain)
		more := tried.Load() + 10
		until(t, "more guesses, and answers by what is in force", func() bool { return tried.Load() >= more || t.Failed() })
	}
	close(over)
	all.Wait()
	most := int64(30 + time.Since(began).Seconds()/10 + 2)
	if n := through.Load(); n > most || n < 30 || tried.Load() < 10*reloads {
		t.Errorf("of %d guesses %d were let through, want 30 to %d", tried.Load(), n, most)
	}
	if seen[0].Load() == 0 || seen[1].Load() == 0 {
		t.Errorf("%d answers were closed and %d open: want both", seen[0].Load(), seen[1].Load())
	}
}

func done(over chan struct{}) bool {
	select {
	case <-over:
		return true
	default:
		return false
	}
}

// Who asks for a reload while the server stops neither keeps it nor kills it.
func TestReload_whileStoppingIsNoHindrance(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := spawn(t, dir, "GATEHOUSE_API_HOST=0.0.0.0", "GATEHOUSE_MAIL=none", "GATEHOUSE_DRAIN=300ms")
	s.hup()
	s.end()
	_, err := s.log.await(`"msg":"(stopping)"`, s.ended)
	if err != nil {
		t.Fatal(err)
	}
	for !done(s.ended) {
		_ = syscall.Kill(s.pid, syscall.SIGHUP) // it may have ended by now
	}
	if s.err != nil {
		t.Errorf("it ended with %v\n%s", s.err, s.log)
	}
}

// The places for large bodies are those of before: else each reload would let as
// many again into memory.
func TestReload_placesForLargeBodiesStayTaken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := env{environ: testSettings(nil), dir: dir, out: newTape(), err: newTape()}
	base, err := load(e)
	if err != nil {
		t.Fatal(err)
	}
	base.Listening("127.0.0.1:1")
	db, err := openDB(t.Context(), e, base.Config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	h, err := build(t.Context(), e, base, db, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.out.Close)
	h.level, h.address = new(slog.LevelVar), "http://127.0.0.1:1"
	before, reloaded := h.edges(), false
	put(t, dir, ".env", "GATEHOUSE_LOG_LEVEL=error\nGOTRUE_DISABLE_SIGNUP=true\n")
	h.reload(func() { reloaded = true })
	after := h.edges()
	if !reloaded || h.level.Level() != slog.LevelError || !h.plan.Load().base.Site.DisableSignup {
		t.Fatal("it was not read again")
	}
	if before.Large == nil || before.Large != after.Large {
		t.Error("there are new places")
	}
}
