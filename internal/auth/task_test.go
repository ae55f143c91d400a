package auth_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/store"
)

// nothing is what a worker adds to a task that was not taken from the outbox.
func nothing(*store.Tx) error { return nil }

// tasks are the requests that only leave what is to be done.
var tasks = map[string]struct {
	ask func(t *testing.T, h *authtest.House) error
	to  string
}{
	"recover": {func(t *testing.T, h *authtest.House) error {
		return h.Recover(t.Context(), authtest.Caller(), ann, authtest.Flow())
	}, ann},
	"magic link": {func(t *testing.T, h *authtest.House) error {
		return h.MagicLink(t.Context(), authtest.Caller(), auth.CodeRequest{Email: ann}, authtest.Flow())
	}, ann},
	"magic link of a new user": {func(t *testing.T, h *authtest.House) error {
		return h.MagicLink(t.Context(), authtest.Caller(), auth.CodeRequest{Email: bob, Create: true, Data: map[string]any{"n": 1}}, authtest.Flow())
	}, bob},
	"code": {func(t *testing.T, h *authtest.House) error { return askSMS(t, h, annsPhone, false) }, "+" + annsPhone},
	"resend": {func(t *testing.T, h *authtest.House) error {
		return h.Resend(t.Context(), authtest.Caller(), auth.KindConfirmation, "late@example.com", authtest.Flow())
	}, "late@example.com"},
	"resend of a change": {func(t *testing.T, h *authtest.House) error {
		return h.Resend(t.Context(), authtest.Caller(), auth.KindChangeNew, ann, authtest.Flow())
	}, annsNew},
}

// peopled is a house where each of the tasks has something to do.
func peopled(t *testing.T) *authtest.House {
	t.Helper()
	h := authtest.New(t)
	g := both(t, h)
	ok(t, "a wish", setEmailOf(t, h, g, annsNew))
	_, err := signUp(t, h, "late@example.com", pw)
	ok(t, "sign up", err)
	h.Deliver(t)
	h.Clock.Advance(minute)
	return h
}

func TestTask_isDoneOnceByAnyNodeAndAfterARestart(t *testing.T) {
	for name, task := range tasks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := peopled(t)
			before, users := len(h.Mails(t, task.to)), h.Count(t)
			ok(t, "ask", task.ask(t, h))
			if h.Count(t) != users {
				t.Error("something was done before the answer was out")
			}
			plain, sealed := opened(t, h)
			if len(plain[store.DeliverTask]) != 1 || len(sealed) != 1 {
				t.Fatalf("%d tasks among %d deliveries, want 1", len(plain[store.DeliverTask]), len(sealed))
			}
			for _, secret := range []string{ann, bob, annsPhone, "late@example.com", "203.0.113.7", "token"} {
				if bytes.Contains(sealed[0], []byte(secret)) {
					t.Errorf("the row tells %q", secret)
				}
			}
			nodes := []*authtest.House{h.Again(t), h.Again(t)} // neither of them the one that left it
			together(2, func(i int) error { nodes[i].Deliver(t); return nil })
			m := nodes[0].Mails(t, task.to)
			if len(m)-before != 1 {
				t.Fatalf("%d messages, want 1", len(m)-before)
			}
			if plain, _ := opened(t, h); len(plain) != 0 {
				t.Errorf("%v are left", plain)
			}
			if m[0].Code == "" {
				t.Error("no code came")
			}
			if task.to != "+"+annsPhone && m[0].Token == "" {
				t.Errorf("links %q without the secret", m[0].Links)
			}
		})
	}
}

// The message carries secrets that did not exist while the task waited: who
// reads the row, sealed or not, cannot sign in.
func TestTask_holdsNoSecretThatOpensAnything(t *testing.T) {
	h := peopled(t)
	ok(t, "recover", h.Recover(t.Context(), authtest.Caller(), ann, authtest.Flow()))
	plain, _ := opened(t, h)
	body := plain[store.DeliverTask][0]
	m := h.Mail(t, ann)
	for _, secret := range []string{m.Token, m.Code, pw} {
		if secret == "" || bytes.Contains(body, []byte(secret)) {
			t.Errorf("the task has the secret %q", secret)
		}
	}
	// Done twice, because a lease ran out: a second mail, and one way in.
	ok(t, "once more", h.Work(t.Context(), body, nothing))
	next := h.Mail(t, ann)
	_, err := h.ByLink(t, m.Token, auth.KindRecovery)
	want(t, "the first mail", err, auth.LinkFailed)
	h.Follow(t, next.Token)
	for _, bad := range []string{"", "{", "[]", `{"op":"drop_everything","to":{"email":"` + ann + `"}}`} {
		if err := h.Work(t.Context(), []byte(bad), nothing); err == nil {
			t.Errorf("%q was done", bad)
		}
	}
}

func TestTask_isDroppedOnceNobodyWaitsForIt(t *testing.T) {
	h := peopled(t)
	before := len(h.Mails(t, ann))
	ok(t, "recover", h.Recover(t.Context(), authtest.Caller(), ann, authtest.Flow()))
	h.Clock.Advance(hour)
	if got := len(h.Mails(t, ann)) - before; got != 0 {
		t.Errorf("%d mails an hour later, want none", got)
	}
}

// Two make the user at once: both get their mail, and there is one user.
func TestTask_twoThatMakeOneUserMakeOne(t *testing.T) {
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.MailEvery = 0 }))
	nodes := h.Nodes(t, 3, authtest.With(func(p *auth.Policy) { p.MailEvery = 0 }))
	errs := across(nodes, 6, func(h *authtest.House, _ int) error {
		return h.MagicLink(t.Context(), authtest.Caller(), auth.CodeRequest{Email: bob, Create: true}, authtest.Flow())
	})
	if diff := cmp.Diff(map[auth.Code]int{"": 6}, tally(errs)); diff != "" {
		t.Fatal(diff)
	}
	together(3, func(i int) error { nodes[i].Deliver(t); return nil })
	h.Clock.Advance(minute) // what lost a race is tried again
	h.Deliver(t)
	if got := len(h.Mails(t, bob)); got != 6 || h.Count(t) != 1 {
		t.Errorf("%d mails, %d users; want 6 and 1", got, h.Count(t))
	}
	opened := 0
	for _, m := range h.Mails(t, bob) {
		if _, err := h.ByLink(t, m.Token, authtest.Kinds()...); err == nil {
			opened++
		}
	}
	if opened != 1 {
		t.Errorf("%d of the links work, want the last", opened)
	}
}

func TestTask_carriesWhereItWasAskedFrom(t *testing.T) {
	h := peopled(t)
	ok(t, "recover", h.Recover(t.Context(), authtest.Caller(), ann, authtest.Flow()))
	h.Deliver(t)
	e := h.Events(t, h.Enter(t, ann, pw).User.ID)
	i := slices.IndexFunc(e, func(e auth.Event) bool { return e.Name == string(auth.RecoveryAsked) })
	if i < 0 || e[i].IP != authtest.Caller().IP || e[i].RequestID != authtest.Caller().RequestID {
		t.Errorf("events %+v", e)
	}
	q, err := h.Link(t.Context(), authtest.Caller(), authtest.Kinds(), h.Mail(t, ann).Token)
	ok(t, "look at the link", err)
	if q.Device != "authtest" || q.IP != authtest.Caller().IP {
		t.Errorf("asked for on %q from %q", q.Device, q.IP)
	}
}
