package main

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// member is one caller under load and the journal of what it was answered.
// Only what was acknowledged is written down; a request that was cut may have
// been carried out or not, but never half.
type member struct {
	n         int
	emails    []string // signed up: they must be able to sign in
	refresh   string   // the newest token that was handed out: it must be worth a session
	cut       string   // an address whose sign-up was under way when the power went
	used      []string // links that were spent: they must stay spent
	refreshed int
}

// live asks until the server is gone.
func (m *member) live(s *server, round int) error {
	for i := 0; ; i++ {
		email := fmt.Sprintf("m%d-r%d-%d@example.com", m.n, round, i)
		a, err := s.ask("POST", "/signup", object{"email": email, "password": password})
		if err != nil {
			m.cut = email
			return nil
		}
		if a.status != 200 {
			return fmt.Errorf("sign-up: %d %s", a.status, a.body)
		}
		m.emails = append(m.emails, email)
		if m.refresh == "" {
			m.refresh = a.text("refresh_token")
		}
		for range 3 {
			a, err = s.ask("POST", "/token?grant_type=refresh_token", object{"refresh_token": m.refresh})
			if err != nil {
				return nil // lost: the old token gets the same answer again
			}
			if a.status != 200 {
				return fmt.Errorf("refresh: %d %s", a.status, a.body)
			}
			m.refresh = a.text("refresh_token")
			m.refreshed++
		}
		a, err = s.ask("POST", "/admin/generate_link", object{"type": "magiclink", "email": email}, bearer(operator))
		if err != nil {
			return nil
		}
		if a.status != 200 {
			return fmt.Errorf("link: %d %s", a.status, a.body)
		}
		link := a.text("hashed_token")
		a, err = s.ask("POST", "/verify", object{"type": "magiclink", "token_hash": link})
		if err != nil {
			return nil
		}
		if a.status != 200 {
			return fmt.Errorf("verify: %d %s", a.status, a.body)
		}
		m.used = append(m.used, link)
	}
}

// check holds the server against the journal.
func (m *member) check(s *server) error {
	a, err := s.ask("POST", "/token?grant_type=refresh_token", object{"refresh_token": m.refresh})
	if err != nil || m.refresh != "" && a.status != 200 {
		return fmt.Errorf("the newest refresh token is worth nothing: %d %s, %v", a.status, a.body, err)
	}
	if m.refresh != "" {
		m.refresh = a.text("refresh_token")
	}
	for _, email := range m.emails {
		a, err = s.ask("POST", "/token?grant_type=password", object{"email": email, "password": password})
		if err != nil || a.status != 200 {
			return fmt.Errorf("%s was answered and cannot sign in: %d %s, %v", email, a.status, a.body, err)
		}
	}
	for _, link := range m.used {
		a, err = s.ask("POST", "/verify", object{"type": "magiclink", "token_hash": link})
		if err != nil || a.status != 403 {
			return fmt.Errorf("a spent link was answered %d %s, %v", a.status, a.body, err)
		}
	}
	if m.cut != "" { // all of it or nothing: now it can be signed up, or signed in
		a, err = s.ask("POST", "/signup", object{"email": m.cut, "password": password})
		if err == nil && a.status == 422 {
			a, err = s.ask("POST", "/token?grant_type=password", object{"email": m.cut, "password": password})
		}
		if err != nil || a.status != 200 {
			return fmt.Errorf("a sign-up that was cut is neither there nor gone: %d %s, %v", a.status, a.body, err)
		}
	}
	m.emails, m.used, m.cut = nil, nil, ""
	return nil
}

// The process is killed while eight callers sign up, refresh and spend links,
// again and again: nothing that was acknowledged is lost, nothing that was
// spent can be spent again, and nobody is signed out.
func TestServe_killedUnderLoadLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t *testing.T, d database) {
		dir := t.TempDir()
		members := make([]*member, 8)
		for i := range members {
			members[i] = &member{n: i}
		}
		each := func(what string, f func(*member) error) {
			t.Helper()
			var wg sync.WaitGroup
			for _, m := range members {
				wg.Go(func() {
					err := f(m)
					if err != nil {
						t.Errorf("%s, caller %d: %v", what, m.n, err)
					}
				})
			}
			wg.Wait()
		}
		emails, spent := 0, 0
		for round := range 4 {
			s := spawn(t, dir, d.settings("GOTRUE_MAILER_AUTOCONFIRM=true", "GOTRUE_SMTP_MAX_FREQUENCY=0s")...)
			each("after a crash", func(m *member) error { return m.check(s) })
			if round == 3 || t.Failed() {
				break
			}
			time.AfterFunc(time.Duration(300+170*round)*time.Millisecond, s.kill)
			each("under load", func(m *member) error { return m.live(s, round) })
			<-s.ended
			for _, m := range members {
				emails, spent = emails+len(m.emails), spent+len(m.used)
			}
		}
		refreshed := 0
		for _, m := range members {
			refreshed += m.refreshed
		}
		if emails < 5 || spent < 5 || refreshed < 15 { // or the test proves nothing
			t.Errorf("only %d sign-ups, %d refreshes and %d links were acknowledged", emails, refreshed, spent)
		}
		t.Logf("%d sign-ups, %d refreshes, %d links acknowledged, none lost", emails, refreshed, spent)
	})
}
