package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// node is one Gatehouse, running or not. Its port is its own for good.
type node struct {
	name string
	bin  string
	dir  string
	port int
	env  []string
	run  *process // nil before the first start
	log  string
}

// operator is the operator token of every node.
const operator = "operator-token-of-these-nodes"

// gatehouseEnv are the settings that all nodes of a world share: nothing of the
// caller's environment slips in.
func gatehouseEnv(databaseURL, masterKey string, mailPort int, more ...string) []string {
	env := []string{
		"PATH=" + os.Getenv("PATH"),
		"GATEHOUSE_DATABASE_URL=" + databaseURL,
		"GATEHOUSE_MASTER_KEY=" + masterKey,
		"GATEHOUSE_API_EXTERNAL_URL=http://auth.example.com",
		"GATEHOUSE_SITE_URL=http://www.example.com",
		"GATEHOUSE_MAILER_AUTOCONFIRM=true",
		"GATEHOUSE_RATE_LIMITS=off",
		"GATEHOUSE_SESSIONS_PER_USER=10000", // one more would end the oldest, which the judge does not know
		"GATEHOUSE_PASSWORD_HASH_MEMORY=8",  // the hashes are not what is tried here
		"GATEHOUSE_PASSWORD_HASH_TIME=1",
		"GATEHOUSE_OPERATOR_TOKEN=" + operator,
		"GATEHOUSE_SMTP_HOST=127.0.0.1",
		"GATEHOUSE_SMTP_PORT=" + strconv.Itoa(mailPort),
		"GATEHOUSE_SMTP_ADMIN_EMAIL=gate@example.net",
		"GATEHOUSE_SMTP_MAX_FREQUENCY=0s",
		"GATEHOUSE_LOG_FORMAT=json",
	}
	return append(env, more...)
}

func newNode(dir, name, bin string, env []string) (*node, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	n := &node{name: name, bin: bin, dir: filepath.Join(dir, name), port: port, env: env}
	return n, os.MkdirAll(n.dir, 0o700)
}

func (n *node) addr() string { return "127.0.0.1:" + strconv.Itoa(n.port) }
func (n *node) url() string  { return "http://" + n.addr() }

// start starts the node and returns how long it took to be healthy.
func (n *node) start(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	var err error
	n.run, err = launch(program{
		name: n.name, argv: []string{n.bin, "serve"}, dir: n.dir,
		env: append([]string{"GATEHOUSE_PORT=" + strconv.Itoa(n.port), "GATEHOUSE_DATA=" + n.dir}, n.env...),
	})
	if err != nil {
		return 0, err
	}
	n.log = n.run.log
	err = n.awaitHealthy(ctx, began)
	return time.Since(began), err
}

// startTimeout is how long a node may take to be healthy before it is given up.
const startTimeout = 30 * time.Second

func (n *node) awaitHealthy(ctx context.Context, began time.Time) error {
	probe := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		if healthy(ctx, probe, n.url()) {
			return nil
		}
		switch {
		case !n.run.alive():
			return fmt.Errorf("%s ended before it was healthy (%w): %s", n.name, n.run.ended, n.run.tail())
		case time.Since(began) > startTimeout:
			return fmt.Errorf("%s is not healthy after %v: %s", n.name, startTimeout, n.run.tail())
		case ctx.Err() != nil:
			return ctx.Err()
		}
		pause(ctx, 5*time.Millisecond)
	}
}

// healthy asks a node whether it is ready to serve.
func healthy(ctx context.Context, c *http.Client, base string) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/health", nil)
	if err != nil {
		return false
	}
	res, err := c.Do(r)
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// kill ends the node as a power cut does.
func (n *node) kill() {
	if n.run != nil {
		n.run.kill()
	}
}

// stop ends the node in order. A node that does not leave in peace, within the
// time the server itself promises, is an error.
func (n *node) stop() error {
	if n.run == nil {
		return nil
	}
	return n.run.stop(30 * time.Second)
}

// freeze stops the process where it is; thaw lets it go on.
func (n *node) freeze() error { return n.run.signal(syscall.SIGSTOP) }
func (n *node) thaw() error   { return n.run.signal(syscall.SIGCONT) }

// alive returns an error when the node has ended since its last start.
func (n *node) alive() error {
	switch {
	case n.run == nil:
		return errors.New(n.name + " was never started")
	case !n.run.alive():
		return fmt.Errorf("%s ended by itself (%w): %s", n.name, n.run.ended, n.run.tail())
	}
	return nil
}

// migrate runs `gatehouse migrate` once.
func migrate(ctx context.Context, dir, name, bin string, env []string) error {
	return finish(ctx, program{name: name, argv: []string{bin, "migrate"}, dir: dir, env: append([]string{"GATEHOUSE_DATA=" + dir}, env...)})
}
