package main

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"gatehouse/internal/storetest"
)

// The command line on the databases that several nodes may share.
//
// Mission: C03, C04
func TestScripts_onServers(t *testing.T) {
	t.Parallel()
	for _, e := range storetest.Engines() {
		if e == "sqlite" { // which has scripts of its own
			continue
		}
		t.Run(e, func(t *testing.T) {
			t.Parallel()
			p := params("testdata/engines")
			own := p.Setup
			p.Setup = func(env *testscript.Env) error {
				env.Setenv("SCHEME", e)
				env.Setenv("DATABASE_URL", storetest.URL(t, e))
				env.Setenv("GATEHOUSE_MASTER_KEY", masterKey)
				return own(env)
			}
			testscript.Run(t, p)
		})
	}
}

// do runs a verb on d and returns what it prints.
func (d database) do(t *testing.T, settings []string, args ...string) (string, error) {
	t.Helper()
	out := newTape()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := run(ctx, args, env{environ: testSettings(d.settings(settings...)), dir: t.TempDir(), in: strings.NewReader(""), out: out, err: newTape()})
	return out.String(), err
}

var applied = regexp.MustCompile(`(?m)^applied +(\S+)$`)

// Three nodes are started by one deployment: each migrates, or tries to.
//
// Mission: C04
func TestMigrate_ofThreeNodesAtOnceIsDoneOnce(t *testing.T) {
	t.Parallel()
	onEmpty(t, func(t *testing.T, d database) {
		said := make([]string, 3)
		var all sync.WaitGroup
		for i := range said {
			all.Go(func() {
				var err error
				said[i], err = d.do(t, nil, "migrate")
				if err != nil {
					t.Errorf("node %d: %v", i, err)
				}
			})
		}
		all.Wait()
		done := map[string]int{}
		for _, m := range applied.FindAllStringSubmatch(strings.Join(said, "\n"), -1) {
			done[m[1]]++
		}
		status, err := d.do(t, nil, "migrate", "status")
		if err != nil || strings.Contains(status, "missing") {
			t.Fatalf("afterwards: %s, %v", status, err)
		}
		for _, m := range applied.FindAllStringSubmatch(status, -1) {
			if done[m[1]] != 1 {
				t.Errorf("%s was applied %d times: %q", m[1], done[m[1]], said)
			}
		}
		if len(done) < 2 {
			t.Errorf("%d migrations were applied: %q", len(done), said)
		}
	})
}

// So do servers that may migrate by themselves. All of them serve.
//
// Mission: C04
func TestServe_threeNodesAtOnceOnAnEmptyDatabaseMigrateAndServe(t *testing.T) {
	t.Parallel()
	onEmpty(t, func(t *testing.T, d database) {
		nodes := make([]*server, 3)
		var all sync.WaitGroup
		for i := range nodes {
			dir := t.TempDir()
			all.Go(func() {
				nodes[i] = launch(t, dir, testSettings(d.settings("GATEHOUSE_AUTO_MIGRATE=true", "GOTRUE_MAILER_AUTOCONFIRM=true")))
			})
		}
		all.Wait()
		for _, s := range nodes {
			s.listening()
		}
		jwks := nodes[0].do(200, "GET", "/.well-known/jwks.json", nil).body
		for i, s := range nodes {
			if got := s.do(200, "GET", "/.well-known/jwks.json", nil).body; got != jwks {
				t.Errorf("node %d has the keys %s, the first %s", i, got, jwks)
			}
			a := s.do(200, "POST", "/signup", object{"email": fmt.Sprintf("u%d@example.com", i), "password": password})
			nodes[(i+1)%3].do(200, "GET", "/user", nil, bearer(a.text("access_token")))
		}
		if got := d.one(t, `SELECT COUNT(*) FROM signing_keys`); got != "1" {
			t.Errorf("%s signing keys were made, want 1", got)
		}
	})
}

// Several houses share a database and never mix.
//
// Mission: C03
func TestNamespace_keepsHousesInOneDatabaseApart(t *testing.T) {
	t.Parallel()
	onEmpty(t, func(t *testing.T, d database) {
		spaces := map[string]string{"": "", "shop": "shop_", "forum_": "forum_"}
		if d.engine == "postgres" {
			spaces["auth."] = "auth."
			delete(spaces, "")
		}
		if d.engine == "sqlite" {
			delete(spaces, "")
		}
		const email = "ada@example.com"
		servers := map[string]*server{}
		for space := range spaces {
			named := "DB_NAMESPACE=" + space
			out, err := d.do(t, []string{named}, "migrate")
			if err != nil || !strings.Contains(out, "applied") {
				t.Fatalf("%q: migrate: %s, %v", space, out, err)
			}
			s := start(t, d.settings(named, "GOTRUE_MAILER_AUTOCONFIRM=true")...)
			servers[space] = s
			// Each has users, keys and settings of its own: also the same address.
			s.do(200, "POST", "/signup", object{"email": email, "password": password + space})
		}
		for space, s := range servers {
			s.signIn(email, password+space)
			if got := s.do(200, "GET", "/admin/users", nil, bearer(operator)).header.Get("X-Total-Count"); got != "1" {
				t.Errorf("%q has %s users, want 1", space, got)
			}
			if got := d.one(t, `SELECT COUNT(*) FROM `+spaces[space]+`users`); got != "1" {
				t.Errorf("%susers has %s rows, want 1", spaces[space], got)
			}
			for other, o := range servers {
				if other != space {
					s.refuseSignIn(400, email, password+other)
					a := o.signIn(email, password+other)
					s.do(403, "GET", "/user", nil, bearer(a.text("access_token")))
					s.refresh(400, a.text("refresh_token"))
				}
			}
			status, err := d.do(t, []string{"DB_NAMESPACE=" + space}, "migrate", "status")
			if err != nil || strings.Contains(status, "missing") {
				t.Errorf("%q: %s, %v", space, status, err)
			}
			list, err := d.do(t, []string{"DB_NAMESPACE=" + space}, "user", "list")
			if err != nil || !strings.Contains(list, "1 of 1") {
				t.Errorf("%q: %s, %v", space, list, err)
			}
		}
	})
}
