package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"gatehouse/internal/cluster"
)

// pauses stop one of two nodes, as a virtual machine is stopped to be moved,
// for longer than it holds the mail it was sending: the other node sends it,
// and the one that wakes up neither believes it still may nor takes a code that
// expired while it slept.
func pauses() []scenario {
	return []scenario{{name: "pause/postgres", bound: 3 * time.Minute, idle: true, run: pauseNode}}
}

const (
	lease     = time.Minute // of a mail, by internal/outbox
	shortLife = 20 * time.Second
	letters   = 12 // more than both nodes send at once
	hasty     = "hasty"
	expiring  = 6
)

func pauseNode(ctx context.Context, t *trial) error {
	srv, err := cluster.Postgres(ctx, cluster.Options{Dir: filepath.Join(t.dir, "database"), Fast: true})
	if err != nil {
		return err
	}
	t.atEnd(srv.Stop)
	err = srv.CreateDatabase(ctx, "house")
	if err != nil {
		return err
	}
	w, err := t.openOn(ctx, database{engine: postgres, url: srv.URL("house"), name: "house", server: srv})
	if err != nil {
		return err
	}
	first, err := w.addNode(ctx, w.o.bin, w.env)
	if err != nil {
		return err
	}
	second, err := w.addNode(ctx, w.o.bin, w.env)
	if err != nil {
		return err
	}
	// Either node may make a code, whichever was asked for it: those of a short
	// life are a tenant's.
	_, err = addTenant(ctx, newHTTP(), first.url(), hasty, map[string]string{"MAILER_OTP_EXP": shortLife.String()})
	if err != nil {
		return err
	}
	p := &paused{
		world: w, one: newClient(w.j, first.url()), two: newClient(w.j, second.url()),
		hastyOne: newClient(w.j, first.url()+atTenant(hasty)), hastyTwo: newClient(w.j, second.url()+atTenant(hasty)),
	}
	// A paused node answers after its pause: these callers are patient.
	p.one.http = &http.Client{Transport: p.one.http.Transport, Timeout: 2 * lease}
	p.hastyOne.http = p.one.http
	for c, people := range map[*client][]string{p.one: p.people("letter", letters), p.hastyOne: p.people("expired", expiring)} {
		for _, a := range people {
			got := c.send(ctx, ask{Op: opSignUp, Email: a, Password: "correct horse battery"})
			if got.outcome() != okay {
				return fmt.Errorf("sign-up: %d %s", got.Status, got.Err)
			}
		}
	}
	return p.run(ctx, first)
}

// paused is the scenario at work.
type paused struct {
	*world
	one, two           *client // of the node that sleeps, and of the one that does not
	hastyOne, hastyTwo *client // likewise, in the tenant whose codes live shortly
}

func (p *paused) people(kind string, n int) (emails []string) {
	for i := range n {
		emails = append(emails, fmt.Sprintf("%s%d@example.com", kind, i))
	}
	return emails
}

func (p *paused) run(ctx context.Context, first *node) error {
	// 1. Mail is queued and both nodes hold some of it: the mail server answers
	// nobody.
	p.mails.stall(true)
	for _, a := range p.people("letter", letters) {
		got := p.one.send(ctx, ask{Op: opCode, Email: a})
		if got.outcome() != okay {
			return fmt.Errorf("a code: %d %s", got.Status, got.Err)
		}
	}
	if !p.mails.awaitStalled(ctx, 1, 5*time.Second) {
		return errors.New("no node tried to send the mail")
	}
	// 2. One of them sleeps; the mail server is well again.
	err := first.freeze()
	if err != nil {
		return err
	}
	asleep := time.Now()
	p.mails.stall(false)
	// 3. Codes of a short life are sent to the node that sleeps while they are
	// good; it will find them when they are not.
	late, err := p.redeemAsleep(ctx)
	if err != nil {
		return err
	}
	pause(ctx, time.Until(asleep.Add(lease+5*time.Second)))
	// 4. The node wakes up.
	err = first.thaw()
	if err != nil {
		return err
	}
	for range expiring {
		got := <-late
		p.expect(got.outcome() == refused, "a code that expired while the node was asleep was answered %d %s", got.Status, got.Err)
	}
	pause(ctx, 8*time.Second) // for a mail that it would still send
	p.lookBack(ctx, asleep)
	return nil
}

// redeemAsleep asks for codes at the node that is awake and sends them to the
// other.
func (p *paused) redeemAsleep(ctx context.Context) (<-chan told, error) {
	answers := make(chan told, expiring)
	began := time.Now()
	for i, a := range p.people("expired", expiring) {
		got := p.hastyTwo.send(ctx, ask{Op: opCode, Email: a})
		l, ok := p.mails.await(ctx, a, 1, shortLife/2)
		if got.outcome() != okay || !ok {
			return nil, fmt.Errorf("a code of a short life did not come: %d %s", got.Status, got.Err)
		}
		v := ask{Op: opVerify, Email: a, Code: l.code}
		if i%2 == 0 {
			v.Code, v.Link = "", l.link
		}
		go func() { answers <- p.hastyOne.send(ctx, v) }()
	}
	if time.Since(began) > shortLife {
		return nil, errors.New("the codes had expired before they were sent: the machine is too slow for this")
	}
	return answers, nil
}

// lookBack looks at what arrived and whether it is good, once.
func (p *paused) lookBack(ctx context.Context, asleep time.Time) {
	p.nobodyRestarted()
	arrived, again := 0, 0
	last := asleep
	for _, a := range p.people("letter", letters) {
		got := p.mails.to(a)
		if len(got) != 1 {
			p.res.Lost += max(0, 1-len(got))
			p.broke("%s was promised one mail and got %d", a, len(got))
			continue
		}
		arrived += len(got[0].arrived)
		again += len(got[0].arrived) - 1
		if at := got[0].arrived[0]; at.After(last) {
			last = at
		}
		v := ask{Op: opVerify, Email: a, Code: got[0].code}
		for _, c := range []*client{p.one, p.two} {
			t := c.send(ctx, v)
			switch {
			case c == p.one && t.outcome() != okay:
				p.broke("the code of %s is refused by the node that slept: %d %s", a, t.Status, t.Err)
			case c == p.two && t.outcome() != refused:
				p.res.Twice++
				p.broke("the code of %s was taken twice: %d", a, t.Status)
			}
			p.res.count(&t)
		}
	}
	for _, text := range p.mails.faults() {
		p.broke("mail: %s", text)
	}
	p.note("%d mails, the last after %v, %d of them twice with one Message-ID; %d codes expired while the node slept",
		arrived-again, last.Sub(asleep).Round(100*time.Millisecond), again, expiring)
	p.expect(last.Sub(asleep) > lease/2, "all mail came at once: the node that slept held none, and nothing was tried")
}
