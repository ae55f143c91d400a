package main

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/storetest"
)

// pair starts two servers on one database, each with a working folder of its
// own.
func pair(t *testing.T, d database, settings ...string) (a, b *server) {
	t.Helper()
	return start(t, d.settings(settings...)...), start(t, d.settings(settings...)...)
}

// Mission: S01, T20, U05, U14
func TestNodes_whatOneDoesTheOtherKnowsAtOnce(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t *testing.T, d database) {
		a, b := pair(t, d, "GOTRUE_MAILER_AUTOCONFIRM=true", "GOTRUE_SMTP_MAX_FREQUENCY=0s")
		id := a.do(200, "POST", "/signup", object{"email": "ada@example.com", "password": password}).text("user", "id")
		in := b.signIn("ada@example.com", password)
		a.do(200, "GET", "/user", nil, bearer(in.text("access_token")))

		// Tabs behind a load balancer.
		got := map[string]bool{}
		var mu sync.Mutex // guards got
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				x, err := []*server{a, b}[i%2].ask("POST", "/token?grant_type=refresh_token", object{"refresh_token": in.text("refresh_token")})
				if err != nil || x.status != 200 {
					t.Errorf("tab %d: %d %s, %v", i, x.status, x.body, err)
				}
				mu.Lock()
				defer mu.Unlock()
				got[x.text("refresh_token")] = true
			})
		}
		all.Wait()
		if len(got) != 1 {
			t.Errorf("%d different successors, want 1", len(got))
		}
		for next := range got {
			in = a.refresh(200, next)
		}
		in = b.refresh(200, in.text("refresh_token"))

		// A user's own changes, and an operator's.
		a.do(200, "PUT", "/user", object{"data": object{"a": 1}}, bearer(in.text("access_token")))
		b.do(200, "PUT", "/user", object{"data": object{"b": 2}}, bearer(in.text("access_token")))
		if u := a.do(200, "GET", "/user", nil, bearer(in.text("access_token"))); u.at("user_metadata", "a") != 1.0 || u.at("user_metadata", "b") != 2.0 {
			t.Errorf("the user is %s", u.body)
		}
		b.do(200, "PUT", "/user", object{"password": "another password"}, bearer(in.text("access_token")))
		a.refuseSignIn(400, "ada@example.com", password)
		other := a.signIn("ada@example.com", "another password")
		b.do(204, "POST", "/logout?scope=local", nil, bearer(other.text("access_token")))
		a.do(403, "GET", "/user", nil, bearer(other.text("access_token")))
		a.refresh(400, other.text("refresh_token"))
		b.do(200, "PUT", "/admin/users/"+id, object{"ban_duration": "1h"}, bearer(operator))
		a.do(403, "GET", "/user", nil, bearer(in.text("access_token")))
		a.refresh(400, in.text("refresh_token"))
		if x := a.refuseSignIn(400, "ada@example.com", "another password"); x.text("error_code") != "user_banned" {
			t.Errorf("the banned user is told %s", x.body)
		}
		b.do(200, "DELETE", "/admin/users/"+id, nil, bearer(operator))
		a.do(404, "GET", "/admin/users/"+id, nil, bearer(operator))
		a.do(200, "POST", "/signup", object{"email": "ada@example.com", "password": password})
	})
}

// Which node mails does not matter; that one does, and only one.
//
// Mission: V03
func TestNodes_everyMailIsSentOnceByEither(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t *testing.T, d database) {
		m := listenMail(t, false)
		a, b := pair(t, d, m.settings()...)
		var all sync.WaitGroup
		const users = 24
		for i := range users {
			all.Go(func() {
				x, err := []*server{a, b}[i%2].ask("POST", "/signup", object{"email": fmt.Sprintf("u%d@example.com", i), "password": password})
				if err != nil || x.status != 200 {
					t.Errorf("sign-up %d: %d %s, %v", i, x.status, x.body, err)
				}
			})
		}
		all.Wait()
		a.delivered()
		for i := range users {
			if got := m.to(fmt.Sprintf("u%d@example.com", i)); len(got) != 1 {
				t.Errorf("user %d got %d mails, want 1", i, len(got))
			}
		}
		if t.Failed() {
			return
		}
		// Its link leads to the node that was asked; each of them takes it, and one
		// of them once.
		q := mustQuery(t, linkIn(t, m.to("u0@example.com")[0].html))
		said := map[int]int{}
		var mu sync.Mutex // guards said
		for i := range 20 {
			all.Go(func() {
				x, err := []*server{a, b}[i%2].ask("POST", "/verify", object{"type": "signup", "token_hash": q.Get("token")})
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				said[x.status]++
			})
		}
		all.Wait()
		if said[200] != 1 || said[403] != 19 {
			t.Errorf("the link was answered %v, want one 200 and 19 times 403", said)
		}
		b.signIn("u0@example.com", password)
	})
}

// A node that dies while it sends takes no mail with it. The lease it held runs
// out after a minute; the test turns the row's clock and waits for none.
func TestNodes_theMailOfOneThatDiedIsSentByTheOther(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t *testing.T, d database) {
		silent, sound := listenMail(t, true), listenMail(t, false)
		a := spawn(t, t.TempDir(), d.settings(silent.settings("GATEHOUSE_SMTP_TIMEOUT=1h")...)...)
		a.do(200, "POST", "/signup", object{"email": "ada@example.com", "password": password})
		until(t, "a mail under way", func() bool { met, _ := silent.counts(); return met > 0 })
		b := start(t, d.settings(sound.settings()...)...)
		a.kill()

		// What another node may have in its hands is left alone: its mail may have
		// gone out the moment before.
		due, err := strconv.ParseInt(b.sql(`SELECT due_at FROM outbox WHERE dead_at = 0 AND tries = 1`), 10, 64)
		if left := time.Until(time.UnixMicro(due)); err != nil || left < 20*time.Second {
			t.Errorf("the lease ends in %v (%v), want one of a minute", left, err)
		}
		b.do(200, "POST", "/signup", object{"email": "bob@example.com", "password": password})
		sound.await(t, "bob@example.com", 1)
		if got := len(sound.to("ada@example.com")); got != 0 {
			t.Errorf("%d mails were taken out of another node's hands", got)
		}
		until(t, "the outbox without what was sent", func() bool { return b.sql(`SELECT count(*) FROM outbox`) == "1" })
		if n := d.change(t, `UPDATE outbox SET due_at = 1`); n != 1 {
			t.Fatalf("%d mails wait, want ada's", n)
		}
		l := sound.await(t, "ada@example.com", 1)
		b.delivered()
		if got := len(sound.to("ada@example.com")); got != 1 {
			t.Errorf("the mail came %d times", got)
		}
		_, said := b.follow(b.linkOf(l))
		b.do(200, "GET", "/user", nil, bearer(said.Get("access_token")))
	})
}

// kids are the keys a server publishes.
func (s *server) kids() (list []string) {
	s.t.Helper()
	keys, _ := s.do(200, "GET", "/.well-known/jwks.json", nil).at("keys").([]any)
	for _, k := range keys {
		m, _ := k.(object)
		list = append(list, fmt.Sprint(m["kid"]))
	}
	return list
}

func TestNodes_aKeyThatIsRotatedIsPublishedByAll(t *testing.T) {
	t.Parallel()
	type nodes struct {
		d     database
		a, b  *server
		in    answer
		first string
	}
	all := map[string]*nodes{} // of every engine side by side: the time here is spent on waiting
	for _, e := range storetest.Engines() {
		n := &nodes{d: database{e, storetest.MigratedURL(t, e)}}
		n.a, n.b = pair(t, n.d)
		n.a.person("ada@example.com")
		n.in = n.a.signIn("ada@example.com", password)
		keys := n.a.kids()
		if got := n.b.kids(); len(keys) != 1 || len(got) != 1 || got[0] != keys[0] {
			t.Fatalf("%s: the keys are %v and %v, want the same one", e, keys, got)
		}
		n.first, all[e] = keys[0], n
	}
	rotate := func(how ...string) {
		t.Helper()
		for e, n := range all {
			out, err := n.d.do(t, nil, append([]string{"keys", "rotate"}, how...)...)
			if err != nil {
				t.Fatalf("%s: %s, %v", e, out, err)
			}
		}
	}
	rotate()
	for e, n := range all {
		until(t, e+": the next key published by both", func() bool { return len(n.a.kids()) == 2 && len(n.b.kids()) == 2 })
		for _, s := range []*server{n.a, n.b} { // which sign with the first
			n.in = s.refresh(200, n.in.text("refresh_token"))
			n.a.do(200, "GET", "/user", nil, bearer(n.in.text("access_token")))
			n.b.do(200, "GET", "/user", nil, bearer(n.in.text("access_token")))
		}
	}
	rotate("--now")
	for e, n := range all {
		until(t, e+": the newest key published alone by both", func() bool {
			x, y := n.a.kids(), n.b.kids()
			return len(x) == 1 && len(y) == 1 && x[0] == y[0] && x[0] != n.first
		})
		n.b.do(403, "GET", "/user", nil, bearer(n.in.text("access_token")))
		n.in = n.a.refresh(200, n.in.text("refresh_token"))
		n.b.do(200, "GET", "/user", nil, bearer(n.in.text("access_token")))
	}
}

// The verbs reach running servers, wherever they are run.
//
// Mission: U14
func TestNodes_aVerbReachesThemAll(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t *testing.T, d database) {
		a, b := pair(t, d)
		_, err := d.do(t, nil, "user", "add", "ada@example.com", "--password", password)
		if err != nil {
			t.Fatal(err)
		}
		in := a.signIn("ada@example.com", password)
		out, err := d.do(t, nil, "user", "ban", "ada@example.com")
		if err != nil || !strings.Contains(out, "all sessions have ended") {
			t.Fatalf("%s, %v", out, err)
		}
		for _, s := range []*server{a, b} {
			s.do(403, "GET", "/user", nil, bearer(in.text("access_token")))
			s.refresh(400, in.text("refresh_token"))
			s.refuseSignIn(400, "ada@example.com", password)
		}
		_, err = d.do(t, nil, "user", "ban", "--lift", "ada@example.com")
		if err != nil {
			t.Fatal(err)
		}
		b.signIn("ada@example.com", password)

		// Nor does it matter which node printed the link for the first
		// administrator: the later one works, once.
		link, err := b.out.await(`(http\S+/setup\?token=\S+)`, b.ended)
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(link)
		if err != nil {
			t.Fatal(err)
		}
		fields := form(a.do(200, "GET", u.RequestURI(), nil).body)
		fields.Set("email", "root@example.com")
		fields.Set("password", password)
		a.do(200, "POST", "/setup", fields)
		fields.Set("email", "second@example.com")
		b.do(403, "POST", "/setup", fields)
	})
}
