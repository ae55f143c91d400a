package main

import (
	"slices"
	"time"
)

// sawUser checks that an address is always the same user.
func (h *history) sawUser(a *account, o *op) {
	if o.Told.User == "" || slices.Contains(a.users, o.Told.User) {
		return
	}
	a.users = append(a.users, o.Told.User)
	if len(a.users) > 1 {
		h.find(ruleTwice, o, "the address belongs to the users %v", a.users)
	}
}

// opened adds the session of an answer.
func (h *history) opened(a *account, o *op) {
	a.min++
	a.max++
	if o.Told.Session == "" || o.Told.Refresh == "" {
		h.find(ruleWrong, o, "the answer carries no session")
		return
	}
	if a.chains[o.Told.Session] != nil {
		h.find(ruleTwice, o, "session %s was handed out before", o.Told.Session)
	}
	c := a.chain(o.Told.Session)
	c.refresh, c.access = o.Told.Refresh, o.Told.Access
}

// chain returns the session with that id.
func (a *account) chain(session string) *chain {
	c := a.chains[session]
	if c == nil {
		c = &chain{session: session, successor: map[string]string{}}
		a.chains[session] = c
	}
	return c
}

// may tells whether pw may let in.
func (a *account) may(pw string) bool {
	return slices.ContainsFunc(a.passwords, func(c candidate) bool { return c.password == pw })
}

// perhaps adds a password that was asked for and not acknowledged.
func (a *account) perhaps(pw string, asked time.Time) {
	if !a.may(pw) {
		a.passwords = append(a.passwords, candidate{pw, asked})
	}
}

// settle makes an acknowledged password, asked for at that instant, the
// account's. One that was asked for shortly before, without an answer, may
// still come to pass after it.
func (a *account) settle(pw string, asked time.Time) {
	kept := []candidate{{password: pw}}
	for _, c := range a.passwords {
		switch {
		case c.password == pw:
		case !c.asked.IsZero() && asked.Sub(c.asked) < lingers:
			kept = append(kept, c)
		default:
			a.retire(c.password)
		}
	}
	a.passwords = kept
	a.retired = slices.DeleteFunc(a.retired, func(s string) bool { return s == pw })
}

// retire notes a password that must not let anybody in.
func (a *account) retire(pw string) {
	if !slices.Contains(a.retired, pw) {
		a.retired = append(a.retired, pw)
	}
}

// mayHaveEnded notes that all sessions but one (none: "") may be over.
func (a *account) mayHaveEnded(but string) {
	for id, c := range a.chains {
		if id != but && c.ended == never {
			c.ended = maybe
		}
	}
}
