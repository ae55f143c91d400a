package cluster

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	_ "github.com/go-sql-driver/mysql" // named "mysql"
)

// mariadb is a MariaDB 10.6 or newer.
type mariadb struct{ server, installer string } // paths

func mariadbBinaries() (mariadb, error) {
	m := mariadb{server: find("mariadbd"), installer: find("mariadb-install-db")}
	if m.server == "" || m.installer == "" {
		return mariadb{}, errors.New("cluster: MariaDB is not installed (Debian: apt-get install mariadb-server)")
	}
	return m, nil
}

// find looks a binary up in PATH and where Debian keeps servers; empty when it
// is in neither.
func find(name string) string {
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	path = filepath.Join("/usr/sbin", name)
	_, err = os.Stat(path)
	if err == nil {
		return path
	}
	return ""
}

func (e mariadb) install(ctx context.Context, s *Server) error {
	argv := []string{
		e.installer, "--no-defaults", "--datadir=" + s.data(), "--auth-root-authentication-method=normal",
		"--skip-test-db", "--skip-name-resolve",
	}
	if s.o.Fast {
		argv = append(argv, "--debug-no-sync")
	}
	return s.finish(ctx, argv...)
}

func (mariadb) settings(s *Server) map[string]string {
	m := map[string]string{
		"datadir":            s.data(),
		"tmpdir":             s.data(), // a server clears its temporary files away at the start, and those of others in a shared folder
		"port":               strconv.Itoa(s.port),
		"skip-networking":    "0",
		"bind-address":       "127.0.0.1",
		"skip-name-resolve":  "1",
		"socket":             "socket", // in datadir; as a whole path it would have to be shorter than 108 bytes
		"pid-file":           filepath.Join(s.o.Dir, "pid"),
		"init-file":          filepath.Join(s.o.Dir, "account.sql"),
		"max-connections":    "400",
		"performance-schema": "OFF",
	}
	if s.o.Fast {
		maps.Copy(m, map[string]string{
			"debug-no-sync":                  "1",
			"innodb-flush-log-at-trx-commit": "0",
			"innodb-doublewrite":             "0",
			"innodb-buffer-pool-size":        "64M",
			"innodb-stats-persistent":        "0",
		})
	} else {
		m["innodb-flush-log-at-trx-commit"] = "1"
	}
	maps.Copy(m, s.o.Settings)
	return m
}

func (e mariadb) command(s *Server) ([]string, error) {
	// Run at every start before the first connection is let in, so it says only
	// what may be said twice.
	err := os.WriteFile(filepath.Join(s.o.Dir, "account.sql"), []byte(
		"CREATE USER IF NOT EXISTS "+account+"@'127.0.0.1';\n"+
			"GRANT ALL ON *.* TO "+account+"@'127.0.0.1' WITH GRANT OPTION;\n"), 0o644)
	if err != nil {
		return nil, err
	}
	argv := []string{e.server, "--no-defaults"} // or /etc/mysql of the machine would have a say
	m := e.settings(s)
	for _, name := range slices.Sorted(maps.Keys(m)) {
		argv = append(argv, "--"+name+"="+m[name])
	}
	return argv, nil
}

func (mariadb) stop() (orderly, orphaned syscall.Signal) { return syscall.SIGTERM, syscall.SIGKILL }

func (mariadb) url(s *Server, database string) string {
	u := url.URL{Scheme: "mysql", User: url.User(account), Host: s.Addr(), Path: "/" + database}
	return u.String()
}

func (mariadb) run(ctx context.Context, s *Server, database, query string) (string, error) {
	db, err := sql.Open("mysql", account+"@tcp("+s.Addr()+")/"+database+"?multiStatements=true")
	if err != nil {
		return "", err
	}
	defer db.Close()
	rows, err := db.QueryContext(ctx, strings.TrimRight(query, "; \n"))
	if err != nil {
		return "", err
	}
	defer rows.Close()
	value, err := "", sql.ErrNoRows
	// Each statement's answer has to be asked for: else the error of a later one
	// is never read.
	for more := true; more; more = rows.NextResultSet() {
		if rows.Next() {
			value, err = first(rows)
		}
	}
	if rows.Err() != nil {
		return "", rows.Err()
	}
	return value, err
}

// first is the first column of the row as text.
func first(rows *sql.Rows) (string, error) {
	columns, err := rows.Columns()
	if err != nil {
		return "", err
	}
	values := make([]any, len(columns))
	for i := range values {
		values[i] = new(sql.RawBytes)
	}
	err = rows.Scan(values...)
	if err != nil {
		return "", err
	}
	return string(*values[0].(*sql.RawBytes)), nil
}
