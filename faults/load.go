package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// load is the mix M: 10 % sign-ups, 25 % sign-ins with a password, 40 %
// refreshes, 10 % mailed codes and links with their answers, 10 % GET /user and
// 5 % changes of metadata and password and sign-outs, with a pause of up to
// 200 ms after each.
type load struct {
	client  *client
	mails   *mailbox
	users   int
	think   time.Duration // at most; zero: 200 ms
	prefix  string        // of the addresses, so that loads on one database do not meet
	members []*member
}

// mailPatience is how long a caller waits for a mail before going on to
// something else. One that comes later is no fault: it was leased by a node
// that was killed, perhaps.
const mailPatience = 3 * time.Second

// member is one virtual user. What it knows, it was answered; all its requests
// on one account follow each other, but for pairs of changes.
type member struct {
	l        *load
	rnd      *rand.Rand
	accounts []*owned
	made     int // sign-ups begun
}

// owned is an account as its owner knows it.
type owned struct {
	email     string
	passwords []string // the likeliest first
	sessions  []*held
	changes   int // passwords and marks ever wanted
}

// held is a session as its owner knows it.
type held struct{ id, refresh, access string }

const (
	keepAccounts = 20 // that a member goes on using; the judge remembers all
	keepSessions = 8
)

// run lets everybody loose until ctx ends, and returns when the last answer is
// in. It may be called again: the members go on where they were.
func (l *load) run(ctx context.Context) error {
	if l.think == 0 {
		l.think = 200 * time.Millisecond
	}
	for n := len(l.members); n < l.users; n++ {
		l.members = append(l.members, &member{l: l, rnd: rand.New(rand.NewPCG(uint64(n), 1))})
	}
	var failed atomic.Pointer[error]
	var all sync.WaitGroup
	for n, m := range l.members {
		all.Go(func() {
			for ctx.Err() == nil {
				err := m.act(ctx, n)
				if err != nil {
					failed.Store(&err)
					return
				}
				pause(ctx, time.Duration(m.rnd.Int64N(int64(l.think)+1)))
			}
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// runFor is run for that long.
func (l *load) runFor(ctx context.Context, d time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return l.run(ctx)
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// act does one thing of the mix.
func (m *member) act(ctx context.Context, n int) error {
	if len(m.accounts) == 0 {
		return m.signUp(ctx, n)
	}
	a := m.accounts[m.rnd.IntN(len(m.accounts))]
	var s *held
	if len(a.sessions) > 0 {
		s = a.sessions[m.rnd.IntN(len(a.sessions))]
	}
	switch p := m.rnd.IntN(100); {
	case p < 10:
		return m.signUp(ctx, n)
	case p < 35 || s == nil && p < 85:
		return m.signIn(ctx, a)
	case p < 75:
		return m.refresh(ctx, a, s)
	case p < 85:
		return m.code(ctx, a)
	case s == nil:
		return m.signIn(ctx, a)
	case p < 95:
		_, err := m.l.client.do(ctx, ask{Op: opUser, Email: a.email, Session: s.id, Access: s.access})
		return err
	case p < 97:
		return m.mark(ctx, a, s)
	case p < 98:
		return m.password(ctx, a, s)
	}
	return m.signOut(ctx, a, s)
}

// signUp makes an account, or now and then tries to make one again.
func (m *member) signUp(ctx context.Context, n int) error {
	if len(m.accounts) > 0 && m.rnd.IntN(10) == 0 {
		a := m.accounts[m.rnd.IntN(len(m.accounts))]
		_, err := m.l.client.do(ctx, ask{Op: opSignUp, Email: a.email, Password: "somebody else's password"})
		return err
	}
	m.made++
	a := &owned{email: fmt.Sprintf("%s%d-%d@example.com", m.l.prefix, n, m.made)}
	a.passwords = []string{a.password()}
	t, err := m.l.client.do(ctx, ask{Op: opSignUp, Email: a.email, Password: a.passwords[0]})
	if err != nil || t.Unsent {
		return err
	}
	a.keep(t)
	if t.outcome() != okay && m.rnd.IntN(2) == 0 {
		// What a person does after an error: the same again.
		t, err = m.l.client.do(ctx, ask{Op: opSignUp, Email: a.email, Password: a.passwords[0]})
		a.keep(t)
	}
	m.accounts = append(m.accounts, a)
	if len(m.accounts) > keepAccounts {
		m.accounts = m.accounts[1:]
	}
	return err
}

// password returns the account's next one.
func (a *owned) password() string {
	a.changes++
	return fmt.Sprintf("correct horse %d of %s", a.changes, a.email)
}

// keep takes the session out of an answer.
func (a *owned) keep(t told) {
	if t.outcome() != okay || t.Session == "" {
		return
	}
	a.sessions = append(a.sessions, &held{t.Session, t.Refresh, t.Access})
	if len(a.sessions) > keepSessions {
		a.sessions = a.sessions[1:]
	}
}

// signIn tries the passwords the account may have.
func (m *member) signIn(ctx context.Context, a *owned) error {
	for i, pw := range a.passwords {
		t, err := m.l.client.do(ctx, ask{Op: opSignIn, Email: a.email, Password: pw})
		if err != nil || t.outcome() == unknown {
			return err
		}
		if t.outcome() == okay {
			a.passwords[0], a.passwords[i] = a.passwords[i], a.passwords[0]
			a.keep(t)
			return nil
		}
	}
	return nil
}

// refresh trades a token. Without an answer the old one is all there is, and
// must be good for the next time.
func (m *member) refresh(ctx context.Context, a *owned, s *held) error {
	t, err := m.l.client.do(ctx, ask{Op: opRefresh, Email: a.email, Session: s.id, Token: s.refresh})
	switch t.outcome() {
	case okay:
		s.refresh, s.access = t.Refresh, t.Access
	case refused:
		a.drop(s)
	}
	return err
}

// drop forgets a session.
func (a *owned) drop(s *held) {
	a.sessions = slices.DeleteFunc(a.sessions, func(o *held) bool { return o == s })
}

// code asks for a mail and spends its code or its link, sometimes twice.
func (m *member) code(ctx context.Context, a *owned) error {
	before := m.l.mails.count(a.email)
	t, err := m.l.client.do(ctx, ask{Op: opCode, Email: a.email})
	if err != nil || t.outcome() != okay {
		return err
	}
	l, ok := m.l.mails.await(ctx, a.email, before+1, mailPatience)
	if !ok {
		return nil
	}
	v := ask{Op: opVerify, Email: a.email, Mail: l.id, Nth: l.nth}
	for range 1 + m.rnd.IntN(2) {
		v.Code, v.Link = l.code, ""
		if m.rnd.IntN(2) == 0 {
			v.Code, v.Link = "", l.link
		}
		t, err = m.l.client.do(ctx, v)
		if err != nil {
			return err
		}
		a.keep(t)
	}
	return nil
}

// mark adds to the metadata; often another session does so at the same moment,
// or the user signs in once more, and neither may undo the other.
func (m *member) mark(ctx context.Context, a *owned, s *held) error {
	add := func(s *held, mark string) error {
		_, err := m.l.client.do(ctx, ask{Op: opMark, Email: a.email, Session: s.id, Access: s.access, Mark: mark})
		return err
	}
	a.changes += 2
	first, second := fmt.Sprintf("m%d", a.changes-1), fmt.Sprintf("m%d", a.changes)
	other := a.sessions[m.rnd.IntN(len(a.sessions))]
	beside := func() error { return nil }
	switch m.rnd.IntN(3) {
	case 0:
		beside = func() error { return add(other, second) }
	case 1:
		beside = func() error { return m.signIn(ctx, a) }
	}
	done := make(chan error, 1)
	go func() { done <- beside() }()
	return errors.Join(add(s, first), <-done)
}

func (m *member) password(ctx context.Context, a *owned, s *held) error {
	pw := a.password()
	t, err := m.l.client.do(ctx, ask{Op: opPassword, Email: a.email, Session: s.id, Access: s.access, Password: pw})
	switch t.outcome() {
	case okay:
		a.passwords, a.sessions = []string{pw}, []*held{s}
	case refused:
	default:
		if !t.Unsent {
			a.passwords = append(a.passwords, pw)
		}
	}
	return err
}

func (m *member) signOut(ctx context.Context, a *owned, s *held) error {
	scope := "local"
	if m.rnd.IntN(4) == 0 {
		scope = "global"
	}
	t, err := m.l.client.do(ctx, ask{Op: opSignOut, Email: a.email, Session: s.id, Access: s.access, Scope: scope})
	switch {
	case t.outcome() != okay:
	case scope == "global":
		a.sessions = nil
	default:
		a.drop(s)
	}
	return err
}
