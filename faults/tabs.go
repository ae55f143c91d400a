package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// tabs have many tabs of one browser refresh the same token at one moment, on
// three nodes: nobody is signed out and all are given the same successor. And
// one code and one link are redeemed a hundred times at once: one is let in.
func tabs() (all []scenario) {
	for _, engine := range []string{postgres, mysql} {
		all = append(all, scenario{name: "tabs/" + engine, bound: 60 * time.Second, run: func(ctx context.Context, t *trial) error {
			return manyTabs(ctx, t, engine)
		}})
	}
	return all
}

const (
	tabUsers, tabsEach = 50, 20
	redemptions        = 100
)

func manyTabs(ctx context.Context, t *trial, engine string) error {
	w, err := t.open(ctx, engine)
	if err != nil {
		return err
	}
	err = w.addNodes(ctx, 3)
	if err != nil {
		return err
	}
	w.callers(w.nodes[0].url(), w.nodes[1].url(), w.nodes[2].url())
	people := make([]*owned, tabUsers)
	var mu sync.Mutex // guards err
	each(tabUsers, func(i int) {
		a := &owned{email: fmt.Sprintf("tab%d@example.com", i)}
		told, askErr := w.client.do(ctx, ask{Op: opSignUp, Email: a.email, Password: a.password()})
		a.keep(told)
		people[i] = a
		if askErr == nil && len(a.sessions) == 0 {
			askErr = fmt.Errorf("sign-up: %d %s", told.Status, told.Err)
		}
		if askErr != nil {
			mu.Lock()
			err = askErr
			mu.Unlock()
		}
	})
	if err != nil {
		return err
	}
	for range t.rounds(5) {
		err = w.refreshAtOnce(ctx, people)
		if err != nil {
			return err
		}
	}
	for i := range t.rounds(5) {
		err = w.redeemAtOnce(ctx, people[i].email)
		if err != nil {
			return err
		}
	}
	h, err := w.settle(ctx)
	if err != nil {
		return err
	}
	return w.busyEnough(h, tabUsers*tabsEach)
}

// each calls f for 0 to n-1 at one moment.
func each(n int, f func(i int)) {
	gate := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			<-gate
			f(i)
		})
	}
	close(gate)
	all.Wait()
}

// refreshAtOnce is one moment. The judge looks at the successors; here nobody
// may be turned away.
func (w *world) refreshAtOnce(ctx context.Context, people []*owned) error {
	answers := make([]told, len(people)*tabsEach)
	errs := make([]error, len(answers))
	each(len(answers), func(i int) {
		a := people[i%len(people)]
		s := a.sessions[0]
		answers[i], errs[i] = w.client.do(ctx, ask{Op: opRefresh, Email: a.email, Session: s.id, Token: s.refresh})
	})
	turnedAway := 0
	example := told{}
	for i, t := range answers {
		if errs[i] != nil {
			return errs[i]
		}
		if t.outcome() != okay {
			turnedAway++
			example = t
			continue
		}
		s := people[i%len(people)].sessions[0]
		s.refresh, s.access = t.Refresh, t.Access
	}
	w.expect(turnedAway == 0, "%d of %d tabs were turned away, such as %d %s", turnedAway, len(answers), example.Status, example.Err)
	return nil
}

// redeemAtOnce has a code and a link mailed, one after the other, and redeems
// each a hundred times.
func (w *world) redeemAtOnce(ctx context.Context, email string) error {
	for _, byLink := range []bool{false, true} {
		before := w.mails.count(email)
		t, err := w.client.do(ctx, ask{Op: opCode, Email: email})
		if err != nil {
			return err
		}
		l, ok := w.mails.await(ctx, email, before+1, 3*mailPatience)
		if t.outcome() != okay || !ok {
			return fmt.Errorf("no mail came: %d %s", t.Status, t.Err)
		}
		v := ask{Op: opVerify, Email: email, Mail: l.id, Code: l.code} // Nth is not claimed: the others are meant to be refused
		if byLink {
			v.Code, v.Link = "", l.link
		}
		answers := make([]told, redemptions)
		errs := make([]error, redemptions)
		each(redemptions, func(i int) { answers[i], errs[i] = w.client.do(ctx, v) })
		let, noAnswer := 0, 0
		for i, t := range answers {
			if errs[i] != nil {
				return errs[i]
			}
			switch {
			case t.outcome() == okay:
				let++
			case t.outcome() == unknown && !v.guessed(&t):
				noAnswer++
			}
		}
		w.expect(let == 1, "a code or link that was redeemed %d times at once let %d in (by link: %v)", redemptions, let, byLink)
		w.expect(noAnswer == 0, "%d of %d redemptions got no verdict (by link: %v)", noAnswer, redemptions, byLink)
	}
	return nil
}
