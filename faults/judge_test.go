package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const ada = "ada@example.com"

// entry is one request of a journal written by hand, and its answer.
type entry struct {
	ask  ask
	told told
}

// written makes a journal of them, a second apart.
func written(entries ...entry) []op {
	began := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	var ops []op
	for i, e := range entries {
		if e.ask.Email == "" {
			e.ask.Email = ada
		}
		sent := began.Add(time.Duration(i) * time.Second)
		ops = append(ops, op{ID: int64(i + 1), Ask: e.ask, Told: e.told, Sent: sent, Answered: sent.Add(time.Millisecond)})
	}
	return ops
}

// rules lists the rules that were broken.
func rules(h *history) []string {
	var all []string
	for _, f := range h.findings {
		all = append(all, f.Rule)
	}
	return all
}

// opens is an answer that opens a session, or goes on with one.
func opens(session, refresh string) told {
	return told{Status: 200, User: "user of ada", Session: session, Refresh: refresh, Access: "access of " + refresh}
}

var (
	cut     = told{Err: "EOF"}
	no      = told{Status: 400}
	fine    = told{Status: 200, User: "user of ada"}
	signUp  = entry{ask{Op: opSignUp, Password: "first"}, opens("s1", "r1")}
	codeAsk = entry{ask{Op: opCode}, told{Status: 200}}
)

func signIn(password string, t told) entry { return entry{ask{Op: opSignIn, Password: password}, t} }

func refresh(session, token string, t told) entry {
	return entry{ask{Op: opRefresh, Session: session, Token: token}, t}
}

func verify(mail string, nth int, t told) entry {
	return entry{ask{Op: opVerify, Mail: mail, Nth: nth, Code: "123456"}, t}
}

func look(t told) entry { return entry{ask{Op: opUser, Session: "s1", Access: "a"}, t} }

func mark(key string, t told) entry { return entry{ask{Op: opMark, Session: "s1", Mark: key}, t} }

func change(password string, t told) entry {
	return entry{ask{Op: opPassword, Session: "s1", Password: password}, t}
}

func signOut(scope string, t told) entry {
	return entry{ask{Op: opSignOut, Session: "s1", Scope: scope}, t}
}

func sees(keys ...string) told { return told{Status: 200, User: "user of ada", Marks: keys} }

// Every journal here breaks one rule, and the judge has to say which.
func TestJudge_reportsWhatIsBroken(t *testing.T) {
	for _, c := range []struct {
		what    string
		journal []entry
		want    []string
	}{
		{"an acknowledged password is refused", []entry{signUp, signIn("first", no)}, []string{ruleLost}},
		{"an acknowledged change of password is undone", []entry{signUp, change("second", fine), signIn("second", no)}, []string{ruleLost}},
		{"an old password lets in again", []entry{signUp, change("second", fine), signIn("first", opens("s2", "q1"))}, []string{ruleGhost}},
		{"a refused change of password was made", []entry{signUp, change("second", told{Status: 422}), signIn("second", opens("s2", "q1"))}, []string{ruleWrong, ruleGhost}},
		{"a refused sign-up set a password", []entry{
			signUp, {ask{Op: opSignUp, Password: "theirs"}, told{Status: 422}}, signIn("theirs", opens("s2", "q1")),
		}, []string{ruleGhost}},
		{"an address is signed up twice", []entry{signUp, {ask{Op: opSignUp, Password: "first"}, opens("s2", "q1")}}, []string{ruleTwice}},
		{"a free address is refused", []entry{{ask{Op: opSignUp, Password: "first"}, told{Status: 422}}}, []string{ruleWrong}},
		{"an address becomes another user's", []entry{signUp, signIn("first", told{Status: 200, User: "somebody", Session: "s2", Refresh: "q1"})}, []string{ruleTwice}},
		{"the newest refresh token is refused", []entry{signUp, refresh("s1", "r1", opens("s1", "r2")), refresh("s1", "r2", no)}, []string{ruleLost}},
		{"after a lost answer the token before it is refused", []entry{signUp, refresh("s1", "r1", cut), refresh("s1", "r1", no)}, []string{ruleLost}},
		{"one token has two successors", []entry{signUp, refresh("s1", "r1", opens("s1", "r2")), refresh("s1", "r1", opens("s1", "r2'"))}, []string{ruleTwice}},
		{"a refresh answers with another session", []entry{signUp, refresh("s1", "r1", opens("s9", "r2"))}, []string{ruleGhost}},
		{"a session is handed out twice", []entry{signUp, signIn("first", opens("s1", "q1"))}, []string{ruleTwice}},
		{"a signed-out session refreshes", []entry{signUp, signOut("local", told{Status: 204}), refresh("s1", "r1", opens("s1", "r2"))}, []string{ruleGhost}},
		{"a signed-out session is served", []entry{signUp, signOut("global", told{Status: 204}), look(fine)}, []string{ruleGhost}},
		{"a new password leaves another session alive", []entry{
			signUp, signIn("first", opens("s2", "q1")), change("second", fine), refresh("s2", "q1", opens("s2", "q2")),
		}, []string{ruleGhost}},
		{"a living session is not served", []entry{signUp, look(told{Status: 403})}, []string{ruleLost}},
		{"a living session may not sign out", []entry{signUp, signOut("local", told{Status: 403})}, []string{ruleLost}},
		{"acknowledged metadata is gone", []entry{signUp, mark("m1", fine), look(sees())}, []string{ruleLost}},
		{"refused metadata is there", []entry{signUp, mark("m1", told{Status: 422}), look(sees("m1"))}, []string{ruleWrong, ruleGhost}},
		{"metadata that nobody asked for is there", []entry{signUp, look(sees("m7"))}, []string{ruleGhost}},
		{"a code lets in twice", []entry{signUp, codeAsk, verify("mail 1", 1, opens("s2", "q1")), verify("mail 1", 1, opens("s3", "p1"))}, []string{ruleTwice}},
		{"the link of a spent code lets in", []entry{
			signUp, codeAsk, verify("mail 1", 1, opens("s2", "q1")), {ask{Op: opVerify, Mail: "mail 1", Nth: 1, Link: "link"}, opens("s3", "p1")},
		}, []string{ruleTwice}},
		{"a fresh code is refused", []entry{signUp, codeAsk, verify("mail 1", 1, told{Status: 403})}, []string{ruleLost}},
		{"a sign-in without a session", []entry{signUp, signIn("first", fine)}, []string{ruleWrong}},
		{"a request for a code is refused", []entry{signUp, {ask{Op: opCode}, told{Status: 422}}}, []string{ruleWrong}},
		{"an operation nobody knows", []entry{{ask{Op: "dance"}, fine}}, []string{ruleWrong}},
	} {
		t.Run(c.what, func(t *testing.T) {
			h := judge(written(c.journal...))
			if diff := cmp.Diff(c.want, rules(h)); diff != "" {
				t.Errorf("broken rules (-want +got):\n%s\n%v", diff, h.findings)
			}
		})
	}
}

// Nothing here is a fault: a judge that cries wolf is not listened to.
func TestJudge_letsPassWhatMayHappen(t *testing.T) {
	many := []entry{signUp}
	for i := range 5 {
		many = append(many, refresh("s1", fmt.Sprintf("r%d", i+1), opens("s1", fmt.Sprintf("r%d", i+2))))
	}
	for _, c := range []struct {
		what    string
		journal []entry
	}{
		{"a chain of refreshes", many},
		{"a cut sign-up that was carried out", []entry{{ask{Op: opSignUp, Password: "first"}, cut}, {ask{Op: opSignUp, Password: "first"}, told{Status: 422}}, signIn("first", opens("s1", "r1"))}},
		{"a cut sign-up that was not", []entry{{ask{Op: opSignUp, Password: "first"}, told{Status: 503}}, signIn("first", no), signUp}},
		{"a refresh after a lost answer", []entry{signUp, refresh("s1", "r1", cut), refresh("s1", "r1", opens("s1", "r2")), refresh("s1", "r2", opens("s1", "r3"))}},
		{"the same successor again", []entry{signUp, refresh("s1", "r1", opens("s1", "r2")), refresh("s1", "r1", opens("s1", "r2"))}},
		{"a cut change of password, made", []entry{signUp, change("second", cut), signIn("second", opens("s2", "q1"))}},
		{"a cut change of password, not made", []entry{signUp, change("second", cut), signIn("second", no), signIn("first", opens("s2", "q1"))}},
		{"a cut change of password, made after the next one", []entry{signUp, change("second", cut), change("third", fine), signIn("third", no), signIn("second", opens("s2", "q1"))}},
		{"a cut sign-out, either way", []entry{signUp, signOut("local", cut), refresh("s1", "r1", no)}},
		{"a cut sign-out, the other way", []entry{signUp, signOut("global", cut), refresh("s1", "r1", opens("s1", "r2"))}},
		{"a cut change of metadata, either way", []entry{signUp, mark("m1", cut), look(sees()), look(sees("m1"))}},
		{"a wrong password", []entry{signUp, signIn("guessed", no)}},
		{"a spent code", []entry{signUp, codeAsk, verify("mail 1", 1, opens("s2", "q1")), verify("mail 1", 1, told{Status: 403})}},
		{"a code whose answer was lost", []entry{signUp, codeAsk, verify("mail 1", 1, cut), verify("mail 1", 1, told{Status: 403})}},
		{"a code that a later request voided", []entry{signUp, codeAsk, codeAsk, verify("mail 1", 1, told{Status: 403})}},
		{"a code that a cut request may have voided", []entry{signUp, codeAsk, {ask{Op: opCode}, cut}, verify("mail 1", 2, told{Status: 403})}},
		{"a code that a new password voided", []entry{signUp, codeAsk, change("second", fine), verify("mail 1", 1, told{Status: 403})}},
		{"a server that was not there", []entry{{ask{Op: opSignUp, Password: "x"}, told{Unsent: true}}, signUp, signIn("first", told{Unsent: true})}},
		{"a server that was busy", []entry{signUp, signIn("first", told{Status: 429, RetryAfter: true}), refresh("s1", "r1", told{Status: 503, RetryAfter: true})}},
	} {
		t.Run(c.what, func(t *testing.T) {
			h := judge(written(c.journal...))
			if len(h.findings) > 0 {
				t.Errorf("got %v, want nothing", h.findings)
			}
		})
	}
}

func TestJudge_countsAnswers(t *testing.T) {
	h := judge(written(signUp, signIn("guessed", no), signIn("first", told{Status: 503, RetryAfter: true}), signIn("first", told{Status: 500}), signIn("first", cut)))
	got := []int{h.ok, h.refused, h.unknown}
	if diff := cmp.Diff([]int{1, 1, 3}, got); diff != "" {
		t.Errorf("ok, refused, unknown (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[int]int{0: 1, 200: 1, 400: 1, 500: 1, 503: 1}, h.statuses); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
}

func TestJudge_ordersByTheTimeOfSending(t *testing.T) {
	ops := written(signUp, change("second", fine), signIn("second", opens("s2", "q1")))
	slices.Reverse(ops)
	if h := judge(ops); len(h.findings) > 0 {
		t.Errorf("got %v, want nothing", h.findings)
	}
}

// What an address has in the tables, against what was asked for.
func TestCompareCounts(t *testing.T) {
	h := judge(written(
		signUp, signIn("first", opens("s2", "q1")), signIn("first", cut),
		codeAsk, verify("mail 1", 1, cut), verify("mail 1", 1, cut), // one session at most, however often it is tried
	))
	for _, c := range []struct {
		what string
		got  map[string]tally
		want []string
	}{
		{"the least", map[string]tally{ada: {1, 2}}, nil},
		{"the most", map[string]tally{ada: {1, 4}}, nil},
		{"a sign-up lost", map[string]tally{}, []string{ruleLost}},
		{"a session lost", map[string]tally{ada: {1, 1}}, []string{ruleLost}},
		{"a code spent twice, or a sign-in carried out twice", map[string]tally{ada: {1, 5}}, []string{ruleTwice}},
		{"an address twice", map[string]tally{ada: {2, 2}}, []string{ruleTwice}},
		{"somebody nobody knows", map[string]tally{ada: {1, 2}, "eve@example.com": {1, 0}}, []string{ruleGhost}},
	} {
		got := rules(&history{findings: compareCounts(h.accounts, c.got)})
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.what, diff)
		}
	}
	refusedOnly := judge(written(entry{ask{Op: opSignUp, Password: "x"}, told{Status: 503}}, entry{ask{Op: opSignIn, Email: "bob@example.com", Password: "x"}, no}))
	got := rules(&history{findings: compareCounts(refusedOnly.accounts, map[string]tally{"bob@example.com": {1, 0}})})
	if diff := cmp.Diff([]string{ruleGhost}, got); diff != "" {
		t.Errorf("a user nobody signed up (-want +got):\n%s", diff)
	}
}

func TestFinding_namesTheOperation(t *testing.T) {
	h := judge(written(signUp, signIn("first", told{Status: 400, Err: "Invalid login credentials"})))
	if len(h.findings) != 1 || h.findings[0].Op != 2 {
		t.Fatalf("got %v, want one finding about operation 2", h.findings)
	}
	for _, want := range []string{"sign-in", ada, "400", "Invalid login credentials"} {
		if !strings.Contains(h.findings[0].Text, want) {
			t.Errorf("%q does not say %q", h.findings[0].Text, want)
		}
	}
}
