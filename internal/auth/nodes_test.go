package auth_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/store"
)

// Three nodes share a database and nothing else. Whatever is asked of all of
// them at one instant must end as if one had been asked.

// across calls fn n times at one instant, in turn on every node, and returns
// the errors by call.
func across(nodes []*authtest.House, n int, fn func(h *authtest.House, i int) error) []error {
	return together(n, func(i int) error { return fn(nodes[i%len(nodes)], i) })
}

// A browser has many tabs, and a load balancer many nodes.
func TestThreat_R04_twentyTabsOfFiftyUsersOnThreeNodesGetOneSuccessorEach(t *testing.T) {
	const users = 50
	h := authtest.New(t, authtest.With(autoconfirm))
	nodes := h.Nodes(t, 3, authtest.With(autoconfirm))
	held := make([]*auth.Grant, users) // by all tabs of a user
	errs := across(nodes, users, func(h *authtest.House, i int) (err error) {
		held[i], err = signUp(t, h, fmt.Sprintf("u%d@example.com", i), pw)
		return err
	})
	ok(t, "sign up", errors.Join(errs...))

	for round, tabs := range []int{20, 3} {
		var mu sync.Mutex // guards got
		got := make([]map[string]*auth.Grant, users)
		errs = across(nodes, users*tabs, func(h *authtest.House, i int) error {
			u := i % users
			g, err := refresh(t, h, held[u].Refresh)
			if err != nil {
				return fmt.Errorf("user %d, tab %d: %w", u, i/users, err)
			}
			if g.Access == "" || g.User.ID != held[u].User.ID || g.Session.ID != held[u].Session.ID {
				return fmt.Errorf("user %d, tab %d: a grant of user %s, session %s", u, i/users, g.User.ID, g.Session.ID)
			}
			mu.Lock()
			defer mu.Unlock()
			if got[u] == nil {
				got[u] = map[string]*auth.Grant{}
			}
			got[u][g.Refresh] = g
			return nil
		})
		ok(t, "refresh", errors.Join(errs...))
		for u := range users {
			if len(got[u]) != 1 {
				t.Fatalf("round %d: user %d has %d different successors, want 1", round, u, len(got[u]))
			}
			for token, g := range got[u] {
				if token == held[u].Refresh {
					t.Fatalf("round %d: user %d got the token back that was traded in", round, u)
				}
				held[u] = g
			}
			if s := h.Session(t, held[u].Session.ID); s.Generation != int64(round+2) || !s.EndedAt.IsZero() {
				t.Errorf("round %d: the session of user %d is at generation %d, ended %v; want %d and alive", round, u, s.Generation, s.EndedAt, round+2)
			}
		}
	}
	errs = across(nodes, users, func(h *authtest.House, i int) error {
		g, err := refresh(t, h, held[i].Refresh)
		if err == nil {
			_, err = h.Authenticate(t.Context(), authtest.Caller(), g.Access)
		}
		return err
	})
	ok(t, "afterwards", errors.Join(errs...))
	if diff := cmp.Diff([]auth.EventName{auth.SignedUp, auth.SignedIn}, names(h, t, held[0].User.ID)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestThreat_R02_aHundredRedemptionsOnThreeNodesSucceedOnce(t *testing.T) {
	for name, c := range map[string]struct {
		kind auth.Kind
		no   auth.Code
		use  func(t *testing.T, h *authtest.House, q question, i int) error
	}{
		"code": {auth.KindRecovery, auth.CodeFailed, func(t *testing.T, h *authtest.House, q question, _ int) error {
			_, err := h.ByCode(t, q.email, q.code, auth.KindRecovery)
			return err
		}},
		"link": {auth.KindConfirmation, auth.LinkFailed, func(t *testing.T, h *authtest.House, q question, _ int) error {
			_, err := h.ByLink(t, q.token, auth.KindConfirmation)
			return err
		}},
		"invitation with a password": {auth.KindInvite, auth.LinkFailed, func(t *testing.T, h *authtest.House, q question, i int) error {
			in := auth.Input{Token: q.token, Password: fmt.Sprint("password ", i), Kinds: []auth.Kind{auth.KindInvite}}
			_, err := h.SignIn(t.Context(), authtest.Caller(), "emaillink", in, false)
			return err
		}},
		"authorization code": {auth.KindPKCE, auth.FlowNotFound, func(t *testing.T, h *authtest.House, q question, _ int) error {
			_, err := h.ByAuthCode(t, q.token, "the verifier itself")
			return err
		}},
		"setup link": {auth.KindSetup, auth.SetupClosed, func(t *testing.T, h *authtest.House, q question, i int) error {
			_, err := h.Setup(t.Context(), authtest.Caller(), q.token, fmt.Sprintf("root%d@example.com", i), pw)
			return err
		}},
		"change of address": {auth.KindChangeNew, auth.ChangeTokenFailed, func(t *testing.T, h *authtest.House, q question, _ int) error {
			v := &auth.Viewer{User: auth.User{ID: whose(t, h, q)}}
			_, err := h.AcceptEmailChange(t.Context(), authtest.Caller(), v, q.token)
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plain := authtest.With(func(p *auth.Policy) { p.SecureEmailChange = false })
			h := authtest.New(t, plain)
			if c.kind != auth.KindSetup {
				annsView(t, h)
			}
			q := asks[c.kind](t, h)
			nodes := h.Nodes(t, 3, plain)
			before, opened := h.Count(t), sessions(t, h, whose(t, h, q))
			errs := across(nodes, 100, func(h *authtest.House, i int) error { return c.use(t, h, q, i) })
			if diff := cmp.Diff(onceOf(100, c.no), tally(errs)); diff != "" {
				t.Errorf("answers (-want +got):\n%s%v", diff, errors.Join(errs...))
			}
			made, open := 0, 1
			switch c.kind {
			case auth.KindSetup:
				made, open = 1, 0
			case auth.KindChangeNew:
				open = 0
			}
			if got := h.Count(t) - before; got != made {
				t.Errorf("it made %d users, want %d", got, made)
			}
			if got := sessions(t, h, whose(t, h, q)) - opened; got != open {
				t.Errorf("it opened %d sessions, want %d", got, open)
			}
		})
	}
}

// whose returns the id of the user a question was put to; of none the zero id.
func whose(t *testing.T, h *authtest.House, q question) (id auth.UserID) {
	t.Helper()
	for _, email := range []string{q.email, "ann-newer@example.com"} { // where she may have gone meanwhile
		u, err := h.UserByEmail(t.Context(), authtest.Operator(), email)
		if err == nil {
			return u.ID
		}
	}
	return id
}

func TestThreat_R10_guessesOnThreeNodesSpendExactlyTheFive(t *testing.T) {
	for _, wrong := range []int{4, 5, 50} {
		t.Run(fmt.Sprint(wrong), func(t *testing.T) {
			t.Parallel()
			h := authtest.New(t)
			g, err := signUp(t, h, ann, pw)
			ok(t, "sign up", err)
			m := h.Mail(t, ann)
			nodes := h.Nodes(t, 3)
			errs := across(nodes, wrong, func(h *authtest.House, _ int) error {
				_, err := h.ByCode(t, ann, authtest.WrongCode(m.Code), auth.KindConfirmation)
				return err
			})
			if diff := cmp.Diff(guesses(wrong), tally(errs)); diff != "" {
				t.Errorf("answers (-want +got):\n%s", diff)
			}
			if wrong < 5 {
				_, err = nodes[2].ByCode(t, ann, m.Code, auth.KindConfirmation)
				ok(t, "the fifth try, right, on another node", err)
				return
			}
			for _, n := range nodes {
				_, err = n.ByCode(t, ann, m.Code, auth.KindConfirmation)
				want(t, "the right code after too many guesses", err, afterGuesses(wrong))
			}
			// Spent are five, not fifty: who allows one more finds one more.
			err = h.DB.Write(t.Context(), store.TenantID{}, func(tx *store.Tx) error {
				_, err := tx.TryCode(string(auth.KindConfirmation), g.User.ID[:], 5)
				if !errors.Is(err, store.ErrNotFound) {
					return fmt.Errorf("a try of five is left (%w)", err)
				}
				_, err = tx.TryCode(string(auth.KindConfirmation), g.User.ID[:], 6)
				return err
			})
			ok(t, "the count of tries", err)
			_, err = nodes[1].ByLink(t, m.Token, auth.KindConfirmation)
			ok(t, "the link, which nobody can guess", err)
		})
	}
}

// The sessions of a user are capped also when many are opened at one instant.
func TestThreat_R13_theCapOnSessionsHoldsAcrossNodes(t *testing.T) {
	capped := authtest.With(func(p *auth.Policy) {
		p.Autoconfirm, p.SessionsPerUser, p.PasswordFree = true, 3, 100 // each counts as a try until it is right
	})
	h := authtest.New(t, capped)
	h.Join(t, ann, pw)
	nodes := h.Nodes(t, 3, capped)
	for range 3 {
		grants := make([]*auth.Grant, 24)
		errs := across(nodes, len(grants), func(h *authtest.House, i int) (err error) {
			grants[i], err = h.ByPassword(t, ann, pw)
			return err
		})
		ok(t, "sign in", errors.Join(errs...))
		living := 0
		for _, g := range grants {
			if h.Session(t, g.Session.ID).EndedAt.IsZero() {
				living++
			}
		}
		if living != 3 {
			t.Errorf("%d sessions live, want 3", living)
		}
	}
}
