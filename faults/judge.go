package main

import (
	"fmt"
	"slices"
	"time"
)

// The rules that can be broken.
const (
	ruleLost  = "lost"  // something acknowledged is not there
	ruleTwice = "twice" // something that happens once happened again
	ruleGhost = "ghost" // something is there that was refused, ended or never asked for
	ruleWrong = "wrong" // a refusal without a reason
)

// finding is one broken rule.
type finding struct {
	Rule string `json:"rule"`
	Text string `json:"text"`
	Op   int64  `json:"op,omitempty"` // of the journal
}

// certainty is what a journal allows to be said about an effect.
type certainty int

// The certainties.
const (
	never certainty = iota // it was refused, or undone
	maybe                  // no answer came
	surely
)

// account is what the journal says about one address.
type account struct {
	email     string
	exists    certainty
	users     []string             // ids it was seen with
	passwords []candidate          // any of them may be the one; alone, it is
	retired   []string             // must not let anybody in
	marks     map[string]certainty // keys of the metadata
	chains    map[string]*chain    // by session id
	mails     map[string]*item     // by Message-ID

	codeAsks     int  // requests for a code that were sent
	codesSettled bool // all of them were acknowledged, and nothing voided the last
	min, max     int  // sessions it must and may have been given
}

// candidate is a password that may be an account's.
type candidate struct {
	password string
	asked    time.Time // when, if nobody acknowledged it; zero: it was acknowledged
}

// chain is one session and the newest refresh token that was handed out.
type chain struct {
	session, refresh, access string
	ended                    certainty
	successor                map[string]string // of each token that was presented
}

// item is one mail: its code and its link together open one session.
type item struct {
	code, link string
	tries, ok  int
}

// history is a journal, judged.
type history struct {
	findings []finding
	accounts map[string]*account

	ok, refused, unknown int
	statuses             map[int]int // 0: no answer
}

// judge holds a journal against the rules. The operations on one account must
// not overlap, but for those that add marks; those without an answer may take
// effect whenever they like.
func judge(ops []op) *history {
	h := &history{accounts: map[string]*account{}, statuses: map[int]int{}}
	ops = slices.Clone(ops)
	slices.SortStableFunc(ops, func(a, b op) int { return a.Sent.Compare(b.Sent) })
	for i := range ops {
		o := &ops[i]
		h.count(o)
		if !o.Told.Unsent {
			h.take(h.account(o.Ask.Email), o)
		}
	}
	return h
}

func (h *history) count(o *op) {
	h.statuses[o.Told.Status]++
	switch o.Told.outcome() {
	case okay:
		h.ok++
	case refused:
		h.refused++
	default:
		h.unknown++
	}
}

func (h *history) account(email string) *account {
	a := h.accounts[email]
	if a == nil {
		a = &account{email: email, marks: map[string]certainty{}, chains: map[string]*chain{}, mails: map[string]*item{}}
		h.accounts[email] = a
	}
	return a
}

func (h *history) find(rule string, o *op, format string, args ...any) {
	h.findings = append(h.findings, finding{rule, o.Ask.Op + " of " + o.Ask.Email + ": " + fmt.Sprintf(format, args...), o.ID})
}

// broken returns how many findings are of a rule.
func (h *history) broken(rule string) (n int) {
	for _, f := range h.findings {
		if f.Rule == rule {
			n++
		}
	}
	return n
}

func (h *history) take(a *account, o *op) {
	switch o.Ask.Op {
	case opSignUp:
		h.signUp(a, o)
	case opSignIn:
		h.signIn(a, o)
	case opRefresh:
		h.refresh(a, o)
	case opUser:
		h.user(a, o)
	case opCode:
		h.code(a, o)
	case opVerify:
		h.verify(a, o)
	case opMark:
		h.mark(a, o)
	case opPassword:
		h.password(a, o)
	case opSignOut:
		h.signOut(a, o)
	default:
		h.find(ruleWrong, o, "the judge does not know this operation")
	}
}

func (h *history) signUp(a *account, o *op) {
	pw := o.Ask.Password
	switch o.Told.outcome() {
	case okay:
		if a.exists == surely {
			h.find(ruleTwice, o, "the address was signed up a second time")
		}
		a.exists, a.passwords = surely, []candidate{{password: pw}}
		h.sawUser(a, o)
		h.opened(a, o)
	case refused:
		switch {
		case a.exists == never:
			h.find(ruleWrong, o, "%d for an address nobody has: %s", o.Told.Status, o.Told.Err)
		case !a.may(pw):
			a.retire(pw)
		}
	default:
		if a.exists == never {
			a.exists = maybe
		}
		if a.exists == maybe {
			a.perhaps(pw, o.Sent)
		} else if !a.may(pw) {
			a.retire(pw)
		}
		a.max++
	}
}

func (h *history) signIn(a *account, o *op) {
	pw := o.Ask.Password
	switch o.Told.outcome() {
	case okay:
		if !a.may(pw) {
			h.find(ruleGhost, o, "a password that was refused, replaced or never set lets in")
		}
		a.exists = surely
		h.sawUser(a, o)
		h.opened(a, o)
	case refused:
		if a.exists == surely && len(a.passwords) == 1 && a.may(pw) {
			h.find(ruleLost, o, "the acknowledged password is refused: %d %s", o.Told.Status, o.Told.Err)
		}
	default:
		a.max++
	}
}

func (h *history) refresh(a *account, o *op) {
	c := a.chain(o.Ask.Session)
	switch o.Told.outcome() {
	case okay:
		if c.ended == surely {
			h.find(ruleGhost, o, "a session that was ended goes on")
		}
		if o.Told.Session != o.Ask.Session {
			h.find(ruleGhost, o, "the answer belongs to session %s, not to %s", o.Told.Session, o.Ask.Session)
		}
		if was := c.successor[o.Ask.Token]; was != "" && was != o.Told.Refresh {
			h.find(ruleTwice, o, "a refresh token has two successors")
		}
		c.successor[o.Ask.Token] = o.Told.Refresh
		c.refresh, c.access = o.Told.Refresh, o.Told.Access
		h.sawUser(a, o)
	case refused:
		if c.ended == never {
			h.find(ruleLost, o, "the newest acknowledged refresh token is refused: %d %s", o.Told.Status, o.Told.Err)
		}
	}
}

func (h *history) user(a *account, o *op) {
	c := a.chain(o.Ask.Session)
	switch o.Told.outcome() {
	case okay:
		if c.ended == surely {
			h.find(ruleGhost, o, "a session that was ended is served")
		}
		h.sawUser(a, o)
		for _, f := range a.compareMarks(o.Told.Marks) {
			h.find(f.Rule, o, "%s", f.Text)
		}
	case refused:
		if c.ended == never {
			h.find(ruleLost, o, "a living session is refused: %d %s", o.Told.Status, o.Told.Err)
		}
	}
}

// compareMarks holds the metadata of an account against what was acknowledged.
func (a *account) compareMarks(got []string) (findings []finding) {
	for key, c := range a.marks {
		if c == surely && !slices.Contains(got, key) {
			findings = append(findings, finding{Rule: ruleLost, Text: "the acknowledged metadata " + key + " is gone"})
		}
		if c == never && slices.Contains(got, key) {
			findings = append(findings, finding{Rule: ruleGhost, Text: "the refused metadata " + key + " is there"})
		}
	}
	for _, key := range got {
		if _, known := a.marks[key]; !known {
			findings = append(findings, finding{Rule: ruleGhost, Text: "nobody asked for the metadata " + key})
		}
	}
	return findings
}

func (h *history) code(a *account, o *op) {
	a.codeAsks++
	a.codesSettled = o.Told.outcome() == okay && (a.codesSettled || a.codeAsks == 1)
	if o.Told.outcome() == refused {
		h.find(ruleWrong, o, "%d for a request for a code: %s", o.Told.Status, o.Told.Err)
	}
}

func (h *history) verify(a *account, o *op) {
	it := a.mails[o.Ask.Mail]
	if it == nil {
		it = &item{}
		a.mails[o.Ask.Mail] = it
		a.max++ // one session for the mail, however often it is tried
	}
	if o.Ask.Code != "" {
		it.code = o.Ask.Code
	} else {
		it.link = o.Ask.Link
	}
	it.tries++
	switch o.Told.outcome() {
	case okay:
		it.ok++
		if it.ok > 1 {
			h.find(ruleTwice, o, "the code and link of mail %s gave a second session", o.Ask.Mail)
		}
		a.max-- // opened counts it
		h.sawUser(a, o)
		h.opened(a, o)
	case refused:
		// Only the newest mail is good, and only when no other request for one
		// may still be under way.
		if it.tries == 1 && a.codesSettled && o.Ask.Nth == a.codeAsks {
			h.find(ruleLost, o, "the fresh code or link of mail %s is refused: %d %s", o.Ask.Mail, o.Told.Status, o.Told.Err)
		}
	}
}

func (h *history) mark(a *account, o *op) {
	switch o.Told.outcome() {
	case okay:
		a.marks[o.Ask.Mark] = surely
	case refused:
		a.marks[o.Ask.Mark] = never
		h.refusedChange(a, o)
	default:
		a.marks[o.Ask.Mark] = maybe
	}
}

// refusedChange judges a change that a session was refused.
func (h *history) refusedChange(a *account, o *op) {
	if a.chain(o.Ask.Session).ended != never {
		return
	}
	if o.Told.Status == 401 || o.Told.Status == 403 {
		h.find(ruleLost, o, "a living session is refused: %d %s", o.Told.Status, o.Told.Err)
		return
	}
	h.find(ruleWrong, o, "%d %s", o.Told.Status, o.Told.Err)
}

// lingers is how long a request that was given up may still be carried out:
// more than the server spends on one, and more than a database holds it up.
const lingers = time.Minute

func (h *history) password(a *account, o *op) {
	pw := o.Ask.Password
	switch o.Told.outcome() {
	case okay:
		a.settle(pw, o.Sent)
		for id, c := range a.chains {
			if id != o.Ask.Session {
				c.ended = surely
			}
		}
		a.codesSettled = false // a new password voids what was mailed
	case refused:
		a.retire(pw)
		if len(a.passwords) == 1 {
			h.refusedChange(a, o)
		}
	default:
		a.perhaps(pw, o.Sent)
		a.codesSettled = false
		a.mayHaveEnded(o.Ask.Session)
	}
}

func (h *history) signOut(a *account, o *op) {
	switch o.Told.outcome() {
	case okay:
		for id, c := range a.chains {
			if o.Ask.Scope == "global" || id == o.Ask.Session {
				c.ended = surely
			}
		}
	case refused:
		h.refusedChange(a, o)
	default:
		if o.Ask.Scope == "global" {
			a.mayHaveEnded("")
		} else if c := a.chain(o.Ask.Session); c.ended == never {
			c.ended = maybe
		}
	}
}
