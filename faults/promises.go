package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// settleWithin is how long an answer to a promise may take: what was just
// broken may need a moment.
const settleWithin = 10 * time.Second

// keepsPromises asks the server for everything it has acknowledged: people can
// sign in, their sessions go on or have ended, spent codes stay spent, and what
// was refused is not there.
func (w *world) keepsPromises(ctx context.Context, h *history) {
	var mu sync.Mutex
	add := func(f []finding) {
		mu.Lock()
		defer mu.Unlock()
		h.findings = append(h.findings, f...)
	}
	work := make(chan *account)
	var all sync.WaitGroup
	for range 32 { // SQLite makes one durable commit of those who wait together
		all.Go(func() {
			for a := range work {
				add((&collector{c: w.client, a: a}).collect(ctx))
			}
		})
	}
	for _, a := range h.accounts {
		work <- a
	}
	close(work)
	all.Wait()
}

// collector asks for what one account was promised.
type collector struct {
	c        *client
	a        *account
	findings []finding
}

func (k *collector) find(rule, format string, args ...any) {
	k.findings = append(k.findings, finding{Rule: rule, Text: k.a.email + ", afterwards: " + fmt.Sprintf(format, args...)})
}

func (k *collector) collect(ctx context.Context) []finding {
	// Spent items first: a sign-in changes nothing about them, but neither must
	// hide behind the other.
	k.items(ctx)
	k.chains(ctx)
	k.passwords(ctx)
	return k.findings
}

// ask asks until there is an answer that says something.
func (k *collector) ask(ctx context.Context, a ask) told {
	a.Email = k.a.email
	for began := time.Now(); ; {
		t := k.c.send(ctx, a)
		if t.outcome() != unknown || a.guessed(&t) || time.Since(began) > settleWithin || ctx.Err() != nil {
			return t
		}
		pause(ctx, 50*time.Millisecond)
	}
}

// guessed tells that a code was refused because too many wrong ones came for
// its address in an hour, as the spent ones do here. It lets nobody in, and no
// wait of this program's would change it; links are not counted.
func (a ask) guessed(t *told) bool {
	return a.Op == opVerify && a.Code != "" && t.Status == http.StatusTooManyRequests && t.RetryAfter
}

// items tries the spent codes and links once more.
func (k *collector) items(ctx context.Context) {
	for mail, it := range k.a.mails {
		if it.ok == 0 {
			continue
		}
		for _, v := range []ask{{Op: opVerify, Code: it.code}, {Op: opVerify, Link: it.link}} {
			if v.Code == "" && v.Link == "" {
				continue
			}
			switch t := k.ask(ctx, v); {
			case t.outcome() == okay:
				k.find(ruleTwice, "the spent code or link of mail %s opened another session", mail)
			case t.outcome() == unknown && !v.guessed(&t):
				k.find(ruleLost, "the spent code or link of mail %s got no answer: %d %s", mail, t.Status, t.Err)
			}
		}
	}
}

// chains refreshes every session, and looks at the metadata through it.
func (k *collector) chains(ctx context.Context) {
	looked := false
	for _, c := range k.a.chains {
		if c.refresh == "" {
			continue // only ever asked for, never handed out
		}
		t := k.ask(ctx, ask{Op: opRefresh, Session: c.session, Token: c.refresh})
		switch {
		case t.outcome() == okay && c.ended == surely:
			k.find(ruleGhost, "session %s was ended and goes on", c.session)
		case t.outcome() == okay && t.Session != c.session:
			k.find(ruleGhost, "session %s was given a token of %s", c.session, t.Session)
		case t.outcome() == okay:
			if !looked {
				k.marks(ctx, t)
				looked = true
			}
		case t.outcome() == unknown:
			k.find(ruleLost, "session %s got no answer: %d %s", c.session, t.Status, t.Err)
		case c.ended == never:
			k.find(ruleLost, "the newest acknowledged refresh token of session %s is refused: %d %s", c.session, t.Status, t.Err)
		}
		if c.ended == surely {
			u := k.ask(ctx, ask{Op: opUser, Access: c.access})
			if u.outcome() != refused {
				k.find(ruleGhost, "session %s was ended and its access token is answered %d", c.session, u.Status)
			}
		}
	}
}

// marks looks at the metadata with the session of an answer.
func (k *collector) marks(ctx context.Context, session told) {
	t := k.ask(ctx, ask{Op: opUser, Access: session.Access})
	if t.outcome() != okay {
		k.find(ruleLost, "a living session's access token is answered %d %s", t.Status, t.Err)
		return
	}
	for _, f := range k.a.compareMarks(t.Marks) {
		k.find(f.Rule, "%s", f.Text)
	}
}

// passwords signs in with what is good and with what is not.
func (k *collector) passwords(ctx context.Context) {
	var in *told
	for _, c := range k.a.passwords {
		t := k.ask(ctx, ask{Op: opSignIn, Password: c.password})
		switch {
		case t.outcome() == okay && in != nil:
			k.find(ruleGhost, "two passwords let in")
		case t.outcome() == okay:
			in = &t
		case t.outcome() == unknown:
			k.find(ruleLost, "a sign-in got no answer: %d %s", t.Status, t.Err)
			return
		}
	}
	if in == nil && k.a.exists == surely {
		k.find(ruleLost, "none of the %d passwords it may have lets in", len(k.a.passwords))
	}
	if in != nil {
		k.marks(ctx, *in)
	}
	for _, pw := range k.a.retired {
		t := k.ask(ctx, ask{Op: opSignIn, Password: pw})
		if t.outcome() == okay {
			k.find(ruleGhost, "a password that was refused or replaced lets in")
		}
	}
}
