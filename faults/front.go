package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// noticed is how long the proxy needs to see that a node has gone or come: two
// looks, 200 ms apart, and a moment for each.
const noticed = time.Second

// haproxy starts a proxy before the nodes, as operators are told to set it up,
// and returns its address. A connection that nobody takes is tried at another
// node; a request that a node has taken is never sent twice.
func (w *world) haproxy(ctx context.Context) (string, error) {
	bin, err := lookProgram("haproxy")
	if err != nil {
		return "", err
	}
	port, err := freePort()
	if err != nil {
		return "", err
	}
	var conf strings.Builder
	fmt.Fprintf(&conf, `global
	maxconn 4000
defaults
	mode http
	timeout connect 1s
	timeout client 60s
	timeout server 20s
	timeout http-keep-alive 60s
	retries 3
	option redispatch 1
frontend all
	bind 127.0.0.1:%d
	default_backend nodes
backend nodes
	balance roundrobin
	option httpchk GET /health
	default-server check inter 200ms fall 2 rise 1
`, port)
	for _, n := range w.nodes {
		fmt.Fprintf(&conf, "\tserver %s %s\n", n.name, n.addr())
	}
	err = w.proxyProcess("haproxy", conf.String(), func(file string) []string { return []string{bin, "-db", "-f", file} })
	if err != nil {
		return "", err
	}
	base := "http://127.0.0.1:" + strconv.Itoa(port)
	probe := newHTTP()
	for began := time.Now(); !healthy(ctx, probe, base); pause(ctx, 20*time.Millisecond) {
		if time.Since(began) > startTimeout || ctx.Err() != nil {
			return "", fmt.Errorf("haproxy does not answer: %w", ctx.Err())
		}
	}
	return base, nil
}

// pgbouncer starts a pooler in transaction mode before the world's PostgreSQL
// and returns the URL of the database through it.
func (t *trial) pgbouncer(ctx context.Context, db database) (string, error) {
	bin, err := lookProgram("pgbouncer")
	if err != nil {
		return "", err
	}
	port, err := freePort()
	if err != nil {
		return "", err
	}
	host, dbPort, err := net.SplitHostPort(db.server.Addr())
	if err != nil {
		return "", err
	}
	conf := fmt.Sprintf(`[databases]
%s = host=%s port=%s dbname=%s user=gatehouse
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 10
max_client_conn = 500
`, db.name, host, dbPort, db.name, port)
	argv := []string{bin}
	if os.Geteuid() == 0 { // which it refuses to be
		u, err := user.Lookup("nobody")
		if err != nil {
			return "", err
		}
		argv = append(argv, "-u", u.Username)
	}
	err = t.proxyProcess("pgbouncer", conf, func(file string) []string { return append(argv, file) })
	if err != nil {
		return "", err
	}
	for began := time.Now(); ; pause(ctx, 20*time.Millisecond) {
		c, err := net.DialTimeout("tcp", "127.0.0.1:"+strconv.Itoa(port), time.Second)
		if err == nil {
			c.Close()
			return fmt.Sprintf("postgres://gatehouse@127.0.0.1:%d/%s?sslmode=disable", port, db.name), nil
		}
		if time.Since(began) > startTimeout || ctx.Err() != nil {
			return "", fmt.Errorf("pgbouncer does not answer: %w", err)
		}
	}
}

// proxyProcess writes a configuration and starts a program on it that ends with
// the trial.
func (t *trial) proxyProcess(name, conf string, argv func(file string) []string) error {
	file := filepath.Join(t.dir, name+".conf")
	err := os.WriteFile(file, []byte(conf), 0o644)
	if err != nil {
		return err
	}
	p, err := launch(program{name: name, argv: argv(file), dir: t.dir, env: []string{"PATH=" + os.Getenv("PATH")}})
	if err != nil {
		return err
	}
	t.atEnd(func() error {
		if !p.alive() {
			return fmt.Errorf("%s ended by itself (%w): %s", name, p.ended, p.tail())
		}
		p.kill()
		return nil
	})
	return nil
}

// status asks for a path and returns the status, 0 when there is no answer.
func status(ctx context.Context, c *http.Client, url string) int {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0
	}
	res, err := c.Do(r)
	if err != nil {
		return 0
	}
	res.Body.Close()
	return res.StatusCode
}
