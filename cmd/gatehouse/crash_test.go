package main

import (
	"fmt"
	"sync"
	"testing"
)

// Nothing that was acknowledged is lost: what was answered before the power
// went is there afterwards, and what was promised is done.
func TestServe_aCrashLosesNothingThatWasAnswered(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t *testing.T, d database) {
		dir := t.TempDir()
		nobody := listenMail(t, false)
		down := nobody.settings()
		nobody.close() // its port refuses
		s := spawn(t, dir, d.settings(down...)...)
		s.person("ada@example.com")
		in := s.signIn("ada@example.com", password)
		in = s.refresh(200, in.text("refresh_token"))
		jwks := s.do(200, "GET", "/.well-known/jwks.json", nil).body
		s.do(200, "POST", "/signup", object{"email": "bob@example.com", "password": password})
		s.kill()

		// The lease of the process that died runs out. The test turns the row's
		// clock and waits for none.
		if n := d.change(t, `UPDATE outbox SET due_at = 1`); n != 1 {
			t.Fatalf("%d mails waited", n)
		}

		m := listenMail(t, false)
		s = spawn(t, dir, d.settings(m.settings()...)...)
		// Keys, sessions, users.
		if got := s.do(200, "GET", "/.well-known/jwks.json", nil).body; got != jwks {
			t.Errorf("the keys are %s, were %s", got, jwks)
		}
		s.do(200, "GET", "/user", nil, bearer(in.text("access_token")))
		in = s.refresh(200, in.text("refresh_token"))
		s.signIn("ada@example.com", password)
		// And the mail, once, with a link that works.
		letter := m.await(t, "bob@example.com", 1)
		s.delivered()
		if got := len(m.to("bob@example.com")); got != 1 {
			t.Errorf("the mail came %d times", got)
		}
		_, said := s.follow(s.linkOf(letter))
		s.do(200, "GET", "/user", nil, bearer(said.Get("access_token")))

		// A planned restart is no different.
		err := s.stop()
		if err != nil {
			t.Fatalf("it ended with %v\n%s", err, s.log)
		}
		s = spawn(t, dir, d.settings(m.settings()...)...)
		s.do(200, "GET", "/user", nil, bearer(in.text("access_token")))
		s.refresh(200, in.text("refresh_token"))
	})
}

// linkOf takes the link out of a letter and turns it to where the server
// listens now.
func (s *server) linkOf(l letter) string {
	s.t.Helper()
	q := mustQuery(s.t, linkIn(s.t, l.html))
	return s.url + "/verify?" + q.Encode()
}

// A mail server that takes connections and then says nothing is the worst:
// nobody refuses. No request may wait for it.
func TestServe_aHangingMailServerSlowsNobody(t *testing.T) {
	t.Parallel()
	m := listenMail(t, true)
	s := start(t, m.settings("GATEHOUSE_SMTP_TIMEOUT=1h")...)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			a, err := s.ask("POST", "/signup", object{"email": fmt.Sprintf("u%d@example.com", i), "password": password})
			if err != nil || a.status != 200 {
				t.Errorf("sign-up %d: %v, %d %s", i, err, a.status, a.body)
			}
		})
	}
	wg.Wait()
	until(t, "a mail server that is being talked to", func() bool { met, _ := m.counts(); return met > 0 })
	s.do(200, "GET", "/health", nil)
	s.person("ada@example.com")
	s.signIn("ada@example.com", password)
	if _, taken := m.counts(); taken != 0 {
		t.Errorf("%d mails were taken by a server that hangs", taken)
	}
	if got := s.sql(`SELECT count(*) FROM outbox WHERE dead_at = 0`); got != "100" {
		t.Errorf("%s mails wait, want 100", got)
	}
	m.close() // so that the end need not wait for it either
}
