package cluster_test

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse/internal/cluster"
)

type opener func(context.Context, cluster.Options) (*cluster.Server, error)

func start(t *testing.T, open opener, o cluster.Options) *cluster.Server {
	t.Helper()
	if o.Dir == "" {
		o.Dir = filepath.Join(t.TempDir(), "a folder; it's odd", strings.Repeat("long", 30))
	}
	s, err := open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	return s
}

func stop(t *testing.T, s *cluster.Server) {
	t.Helper()
	err := s.Stop()
	if err != nil {
		t.Error(err)
	}
}

func do(t *testing.T, s *cluster.Server, database, statements string) {
	t.Helper()
	err := s.Exec(t.Context(), database, statements)
	if err != nil {
		t.Fatalf("%s: %v", statements, err)
	}
}

func ask(t *testing.T, s *cluster.Server, database, statement string) string {
	t.Helper()
	got, err := s.Query(t.Context(), database, statement)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return got
}

func TestServer_killedAndStartedAgainHasWhatWasCommitted(t *testing.T) {
	for name, open := range map[string]opener{"postgres": cluster.Postgres, "mysql": cluster.MariaDB} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, open, cluster.Options{}) // not Fast: durable
			addr := s.Addr()
			err := s.CreateDatabase(t.Context(), "house")
			if err != nil {
				t.Fatal(err)
			}
			do(t, s, "house", "CREATE TABLE t (a INT PRIMARY KEY); INSERT INTO t VALUES (41); INSERT INTO t VALUES (42);")
			err = s.Exec(t.Context(), "house", "INSERT INTO t VALUES (43); INSERT INTO t VALUES (41)")
			if err == nil {
				t.Error("the second statement was a duplicate: got no error")
			}
			family := s.Processes()
			if len(family) == 0 || family[0] != s.PID() || name == "postgres" && len(family) < 5 {
				t.Errorf("processes: got %d, first the server %d", family, s.PID())
			}
			err = s.Kill()
			if err != nil {
				t.Fatal(err)
			}
			for _, pid := range family {
				if alive(pid) {
					t.Errorf("process %d survived Kill", pid)
				}
			}
			if s.PID() != 0 || s.Processes() != nil {
				t.Errorf("killed, it has still the processes %d %d", s.PID(), s.Processes())
			}
			_, err = net.Dial("tcp", addr)
			if err == nil {
				t.Error("killed, it still takes connections")
			}
			for range 2 { // after a crash and after an orderly stop
				err = s.Start(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if s.Addr() != addr {
					t.Errorf("started again at %s, was at %s", s.Addr(), addr)
				}
				if got := ask(t, s, "house", "SELECT max(a) FROM t WHERE a < 43"); got != "42" {
					t.Errorf("got %q, want 42", got)
				}
				stop(t, s)
			}
		})
	}
}

func TestServer_synchronousStandbyPromotedHasTheRow(t *testing.T) {
	t.Parallel()
	primary := start(t, cluster.Postgres, cluster.Options{Fast: true})
	do(t, primary, "", "CREATE TABLE t (a INT)")
	standby := start(t, func(ctx context.Context, o cluster.Options) (*cluster.Server, error) {
		return primary.Standby(ctx, o, true)
	}, cluster.Options{Fast: true})
	do(t, primary, "", "INSERT INTO t VALUES (7)")
	err := primary.Kill()
	if err != nil {
		t.Fatal(err)
	}
	err = standby.Exec(t.Context(), "", "INSERT INTO t VALUES (8)")
	if err == nil {
		t.Error("a standby took a write before it was promoted")
	}
	err = standby.Promote(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := ask(t, standby, "", "SELECT a FROM t"); got != "7" {
		t.Errorf("the acknowledged row: got %q, want 7", got)
	}
	do(t, standby, "", "INSERT INTO t VALUES (8)")
}

func TestServer_settingsOfTheCallerWin(t *testing.T) {
	t.Parallel()
	s := start(t, cluster.Postgres, cluster.Options{Fast: true, Settings: map[string]string{"synchronous_commit": "local", "application_name": "it's"}})
	if got := ask(t, s, "", "SELECT current_setting('synchronous_commit') || current_setting('fsync') || current_setting('application_name')"); got != "localoffit's" {
		t.Errorf("got %q", got)
	}
	err := s.Start(t.Context())
	if err == nil {
		t.Error("started a server that runs: got no error")
	}
	if _, err := cluster.Postgres(t.Context(), cluster.Options{}); err == nil {
		t.Error("a server without a folder: got no error")
	}
	_, err = cluster.Postgres(t.Context(), cluster.Options{Dir: t.TempDir(), Fast: true, Settings: map[string]string{"no_such": "1"}})
	if err == nil || !strings.Contains(err.Error(), "no_such") {
		t.Errorf("a wrong setting: got %v, want what the server said", err)
	}
}

// The test runs itself as a process that starts a server and is killed.
func TestServer_diesWithTheProcessThatStartedIt(t *testing.T) {
	if dir := os.Getenv("CLUSTER_TEST_PARENT"); dir != "" {
		s := start(t, cluster.MariaDB, cluster.Options{Dir: dir, Fast: true})
		_, err := os.Stdout.WriteString("pid=" + strconv.Itoa(s.PID()) + "=\n")
		if err != nil {
			t.Fatal(err)
		}
		<-t.Context().Done() // never: it is killed
	}
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "CLUSTER_TEST_PARENT="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	err = cmd.Start()
	if err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 100)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Split(string(line[:n]), "=")
	if len(f) != 3 {
		t.Fatalf("the process said %q", line[:n])
	}
	pid, err := strconv.Atoi(f[1])
	if err != nil {
		t.Fatal(err)
	}
	if !alive(pid) {
		t.Fatal("the server does not run")
	}
	err = cmd.Process.Kill()
	if err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	for range 500 {
		if !alive(pid) {
			return
		}
		time.Sleep(10 * time.Millisecond) // processes have no other clock
	}
	t.Errorf("server %d outlived its parent by five seconds", pid)
}

func TestInstalled(t *testing.T) {
	err := cluster.Installed()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", "")
	debian, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		t.Fatal(err)
	}
	err = cluster.Installed()
	if maria := "apt-get install mariadb-server"; err == nil || !strings.Contains(err.Error(), maria) {
		t.Errorf("without PATH mariadb-install-db is not found: got %v, want %q in it", err, maria)
	}
	if len(debian) > 0 && err != nil && strings.Contains(err.Error(), "postgresql") {
		t.Errorf("PostgreSQL is there, in %s: got %v", slices.Max(debian), err)
	}
}

// alive says whether a process runs: a zombie does not.
func alive(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(b), ") Z ")
}
