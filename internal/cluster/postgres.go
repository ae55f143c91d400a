package cluster

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// postgres is a PostgreSQL 13 or newer.
type postgres struct{ bin string } // the folder of its binaries

// postgresBinaries finds the folder that has all of one version's binaries:
// what PATH offers first, else Debian's newest.
func postgresBinaries() (string, error) {
	var dirs []string
	first, err := exec.LookPath("postgres")
	if err == nil {
		real, err := filepath.EvalSymlinks(first)
		if err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	debian, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is well-formed
	slices.SortFunc(debian, func(a, b string) int { return version(b) - version(a) })
	for _, dir := range append(dirs, debian...) {
		if hasAll(dir, "postgres", "initdb", "pg_basebackup") {
			return dir, nil
		}
	}
	return "", errors.New("cluster: PostgreSQL is not installed (Debian: apt-get install postgresql)")
}

// version is 15 for /usr/lib/postgresql/15/bin.
func version(dir string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(dir))) // no number: oldest
	return n
}

func hasAll(dir string, names ...string) bool {
	return !slices.ContainsFunc(names, func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return err != nil
	})
}

func (e postgres) install(ctx context.Context, s *Server) error {
	argv := []string{
		filepath.Join(e.bin, "initdb"), "--pgdata=" + s.data(), "--username=" + account, "--auth=trust",
		"--encoding=UTF8", "--locale=C",
	}
	if s.o.Fast {
		argv = append(argv, "--no-sync")
	}
	return s.finish(ctx, argv...)
}

// settings are those of this package under those of the caller.
func (postgres) settings(s *Server) map[string]string {
	m := map[string]string{
		"listen_addresses": "127.0.0.1",
		"port":             strconv.Itoa(s.port),
		// No socket in the file system: its path would have to be shorter than
		// 108 bytes, which a test's folder need not be.
		"unix_socket_directories":    "",
		"max_connections":            "400",
		"dynamic_shared_memory_type": "mmap", // in the data folder: nothing is left of a killed server
		"timezone":                   "UTC",
		"log_timezone":               "UTC",
	}
	if s.o.Fast {
		maps.Copy(m, map[string]string{
			"fsync":                 "off",
			"synchronous_commit":    "off",
			"full_page_writes":      "off",
			"autovacuum":            "off",
			"shared_buffers":        "32MB",
			"max_wal_size":          "1GB",
			"checkpoint_timeout":    "1h",
			"jit":                   "off",
			"bgwriter_lru_maxpages": "0",
		})
	}
	maps.Copy(m, s.o.Settings)
	return m
}

func (e postgres) command(s *Server) ([]string, error) {
	// In the file, not on the command line, which ALTER SYSTEM could not change.
	var conf strings.Builder
	m := e.settings(s)
	for _, name := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&conf, "%s = '%s'\n", name, strings.ReplaceAll(m[name], "'", "''"))
	}
	err := os.WriteFile(filepath.Join(s.data(), "postgresql.conf"), []byte(conf.String()), 0o644)
	if err != nil {
		return nil, err
	}
	// Of a killed server. PostgreSQL would believe it when the id has been given
	// to another process since.
	err = os.Remove(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return []string{filepath.Join(e.bin, "postgres"), "-D", s.data()}, nil
}

// sweep removes the few bytes of System V shared memory by which PostgreSQL
// knows that it runs. A killed server leaves them behind until the machine
// restarts, and a machine has but 4,096 such pieces for everybody.
func (postgres) sweep(s *Server) {
	b, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil {
		return
	}
	lines := strings.Split(string(b), "\n")
	if len(lines) < 7 {
		return
	}
	f := strings.Fields(lines[6]) // its key and its id
	if len(f) == 2 {
		// Where this fails there is a piece less; the next start minds none of it.
		_ = exec.CommandContext(context.Background(), "ipcrm", "--shmem-id", f[1]).Run()
	}
}

// SIGINT is the fast shutdown, SIGQUIT the immediate one, which leaves no
// backend and no shared memory behind.
func (postgres) stop() (orderly, orphaned syscall.Signal) { return syscall.SIGINT, syscall.SIGQUIT }

func (postgres) url(s *Server, database string) string {
	if database == "" {
		database = "postgres"
	}
	u := url.URL{Scheme: "postgres", User: url.User(account), Host: s.Addr(), Path: "/" + database, RawQuery: "sslmode=disable"}
	return u.String()
}

func (e postgres) run(ctx context.Context, s *Server, database, query string) (string, error) {
	c, err := pgx.Connect(ctx, e.url(s, database))
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }() // it has said all
	results, err := c.PgConn().Exec(ctx, query).ReadAll()
	if err != nil {
		return "", err
	}
	last := len(results) - 1
	if last < 0 || len(results[last].Rows) == 0 || len(results[last].Rows[0]) == 0 {
		return "", sql.ErrNoRows
	}
	return string(results[last].Rows[0][0]), nil
}

// Standby makes a streaming standby of s in o.Dir and returns when it has
// caught up and answers reads. With sync, s from then on acknowledges no commit
// that the standby has not on its disk: it waits when the standby is gone.
func (s *Server) Standby(ctx context.Context, o Options, sync bool) (*Server, error) {
	e, ok := s.engine.(postgres)
	if !ok {
		return nil, errors.New("cluster: a standby is made of a PostgreSQL server alone")
	}
	b, err := prepare(e, o)
	if err != nil {
		return nil, err
	}
	host, port, _ := strings.Cut(s.Addr(), ":")
	name := fmt.Sprintf("standby%x", rand.Uint64()) // nothing that would have to be quoted
	argv := []string{
		filepath.Join(e.bin, "pg_basebackup"), "--pgdata=" + b.data(), "--checkpoint=fast", "--wal-method=stream",
		"--write-recovery-conf", fmt.Sprintf("--dbname=host=%s port=%s user=%s application_name=%s", host, port, account, name),
	}
	if o.Fast {
		argv = append(argv, "--no-sync")
	}
	err = b.finish(ctx, argv...)
	if err != nil {
		return nil, err
	}
	err = b.forget("synchronous_standby_names") // of another standby of s: promoted, this one would wait for it
	if err != nil {
		return nil, err
	}
	err = b.startSomewhere(ctx)
	if err != nil {
		return nil, err
	}
	if sync {
		err = s.Exec(ctx, "", "ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 ("+name+")'")
		if err == nil {
			err = s.Exec(ctx, "", "ALTER SYSTEM SET synchronous_commit = on")
		}
		if err == nil {
			err = s.Exec(ctx, "", "SELECT pg_reload_conf()")
		}
	}
	if err == nil {
		err = s.follows(ctx, name, sync)
	}
	if err != nil {
		return nil, errors.Join(err, b.Stop())
	}
	return b, nil
}

// forget takes a setting made by ALTER SYSTEM away from a server that does not
// run.
func (s *Server) forget(setting string) error {
	f, err := os.OpenFile(filepath.Join(s.data(), "postgresql.auto.conf"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintf(f, "%s = ''\n", setting) // the last line for a setting holds
	return err
}

// follows waits until the named standby streams, and is the synchronous one.
func (s *Server) follows(ctx context.Context, name string, sync bool) error {
	ctx, cancel := patient(ctx)
	defer cancel()
	want := "streaming,"
	if sync {
		want = "streaming,sync"
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	got := "not asked yet"
	for {
		now, err := s.Query(ctx, "", "SELECT coalesce(max(state || ',' || sync_state), 'not connected') FROM pg_stat_replication WHERE application_name = '"+name+"'")
		if err == nil {
			got = now
		}
		if strings.HasPrefix(got, want) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("cluster: to its primary the standby is %q, want %q (%w)", got, want, ctx.Err())
		case <-tick.C:
		}
	}
}

// Promote makes a standby a primary, and returns when it takes writes. What
// its former primary writes from then on is lost to it: kill that first.
func (s *Server) Promote(ctx context.Context) error {
	done, err := s.Query(ctx, "", "SELECT pg_promote(true, 60)")
	if err == nil && done != "t" {
		err = errors.New("cluster: the standby was not promoted within a minute")
	}
	return err
}
