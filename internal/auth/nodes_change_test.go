package auth_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/store"
)

func TestThreat_R12_signUpsOfOneAddressOnThreeNodesMakeOneUser(t *testing.T) {
	for name, c := range map[string]struct {
		policy func(*auth.Policy)
		again  auth.Code
		mails  int
	}{
		"with confirmation": {func(*auth.Policy) {}, auth.TooSoon, 1},
		"without":           {autoconfirm, auth.AlreadyRegistered, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := authtest.New(t, authtest.With(c.policy))
			nodes := h.Nodes(t, 3, authtest.With(c.policy))
			errs := across(nodes, 30, func(h *authtest.House, i int) error {
				_, err := signUp(t, h, []string{ann, "Ann@Example.com"}[i%2], pw)
				return err
			})
			if diff := cmp.Diff(map[auth.Code]int{"": 1, c.again: 29}, tally(errs)); diff != "" {
				t.Errorf("answers (-want +got):\n%s%v", diff, errors.Join(errs...))
			}
			if h.Count(t) != 1 || len(h.Mails(t, ann)) != c.mails {
				t.Errorf("%d users and %d mails, want 1 and %d", h.Count(t), len(h.Mails(t, ann)), c.mails)
			}
			if c.mails > 0 {
				nodes[1].Follow(t, h.Mail(t, ann).Token)
			}
			nodes[2].Enter(t, ann, pw)
		})
	}
}

// A user can be made by many doors. Whoever comes second through any of them is
// told so, or served, and never hears of a fault of ours.
func TestThreat_R12_everyDoorAtOnceOnThreeNodesMakesOneUser(t *testing.T) {
	for round := range 4 {
		h := authtest.New(t)
		nodes := h.Nodes(t, 3)
		email := fmt.Sprintf("u%d@example.com", round)
		errs := across(nodes, 24, func(h *authtest.House, i int) (err error) {
			switch (i / 3) % 5 {
			case 0:
				_, err = signUp(t, h, email, pw)
			case 1:
				_, err = h.Invite(t.Context(), authtest.Operator(), email, nil, authtest.Flow())
			case 2:
				err = h.MagicLink(t.Context(), authtest.Caller(), auth.CodeRequest{Email: email, Create: true}, authtest.Flow())
			case 3:
				_, err = h.AddUser(t.Context(), authtest.Operator(), auth.UserChanges{Email: &email})
			case 4:
				_, err = h.MakeLink(t.Context(), authtest.Operator(), auth.LinkRequest{Kind: auth.KindMagicLink, Email: email}, authtest.Flow())
			}
			return err
		})
		codes := tally(errs)
		if codes[""] == 0 || codes[""]+codes[auth.TooSoon]+codes[auth.EmailTaken] != 24 {
			t.Errorf("answers %v, want success, %s and %s alone: %v", codes, auth.TooSoon, auth.EmailTaken, errors.Join(errs...))
		}
		if got := h.Count(t); got != 1 {
			t.Errorf("%d users, want 1", got)
		}
	}
}

// object reads metadata.
func object(t *testing.T, stored []byte) map[string]any {
	t.Helper()
	all := map[string]any{}
	ok(t, "metadata", json.Unmarshal(stored, &all))
	return all
}

func TestUser_ofWhatManyNodesChangeAtOnceNothingIsLost(t *testing.T) {
	h := authtest.New(t, authtest.With(autoconfirm))
	g := h.Join(t, ann, pw)
	v := h.View(t, g.Access)
	wantUser, wantApp := map[string]any{}, object(t, read(t, h, g.User.ID).AppMetadata)
	errs := across(h.Nodes(t, 3, authtest.With(autoconfirm)), 36, func(h *authtest.House, i int) (err error) {
		one := map[string]any{fmt.Sprint("k", i): "v"}
		switch (i / 3) % 4 { // each of them on each node
		case 0, 1:
			_, err = h.UpdateUser(t.Context(), authtest.Caller(), v, auth.Changes{Data: one}, authtest.Flow())
		case 2:
			_, err = h.SetUser(t.Context(), authtest.Operator(), g.User.ID, auth.UserChanges{UserData: one})
		case 3:
			_, err = h.SetUser(t.Context(), authtest.Operator(), g.User.ID, auth.UserChanges{AppData: one})
		}
		return err
	})
	ok(t, "changes", errors.Join(errs...))
	for i := range 36 {
		if (i/3)%4 == 3 {
			wantApp[fmt.Sprint("k", i)] = "v"
		} else {
			wantUser[fmt.Sprint("k", i)] = "v"
		}
	}
	u := read(t, h, g.User.ID)
	if diff := cmp.Diff(wantUser, object(t, u.UserMetadata)); diff != "" {
		t.Errorf("user metadata (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(wantApp, object(t, u.AppMetadata)); diff != "" {
		t.Errorf("app metadata (-want +got):\n%s", diff)
	}
}

func TestUser_whatAnOperatorDoesMeanwhileElsewhereStands(t *testing.T) {
	h := authtest.New(t, authtest.With(autoconfirm))
	nodes := h.Nodes(t, 3, authtest.With(autoconfirm))
	for round := range 5 {
		old, next := fmt.Sprintf("old%d@example.com", round), fmt.Sprintf("new%d@example.com", round)
		g := h.Join(t, old, pw)
		id, v := g.User.ID, h.View(t, g.Access)
		set := func(n int, ch auth.UserChanges) error {
			_, err := nodes[n].SetUser(t.Context(), authtest.Operator(), id, ch)
			return err
		}
		errs := together(6, func(i int) error {
			switch i {
			case 0:
				return set(1, auth.UserChanges{Password: ptr(pw2)})
			case 1:
				return set(2, auth.UserChanges{Email: &next})
			case 2:
				return set(1, auth.UserChanges{BanFor: ptr(time.Hour)})
			case 3:
				return set(2, auth.UserChanges{Role: ptr("editor")})
			case 4: // the user, who may come too late
				_, err := nodes[0].UpdateUser(t.Context(), authtest.Caller(), v, auth.Changes{Data: map[string]any{"k": "v"}}, authtest.Flow())
				return err
			default: // or at the right moment
				_, err := refresh(t, nodes[0], g.Refresh)
				return err
			}
		})
		ok(t, "the operator", errors.Join(errs[:4]...))
		for i, code := range []auth.Code{auth.SessionGone, auth.RefreshNotFound} {
			if err := errs[4+i]; err != nil && auth.CodeOf(err) != code {
				t.Errorf("the user: got %v, want success or %s", err, code)
			}
		}
		u := read(t, h, id)
		_, changed := object(t, u.UserMetadata)["k"]
		if u.Email != next || u.Role != "editor" || !u.BannedUntil.Equal(h.Clock.Now().Add(time.Hour)) || changed != (errs[4] == nil) {
			t.Errorf("round %d: %s is %s, banned until %v, metadata changed: %t (%v)", round, u.Email, u.Role, u.BannedUntil, changed, errs[4])
		}
		over(t, "the user's session", nodes[0], g)
		_, err := nodes[0].ByPassword(t, next, pw2)
		want(t, "the new address and password", err, auth.UserBanned)
		for _, pair := range [][2]string{{next, pw}, {old, pw}, {old, pw2}} {
			_, err = nodes[0].ByPassword(t, pair[0], pair[1])
			want(t, "an old address or password", err, auth.InvalidCredentials)
		}
	}
}

func TestUser_aBanOnOneNodeHoldsOnAllAtOnce(t *testing.T) {
	h := authtest.New(t, authtest.With(autoconfirm))
	nodes := h.Nodes(t, 3, authtest.With(autoconfirm))
	g := h.Join(t, ann, pw)
	for _, n := range nodes { // all have seen, and remember, a good signature
		lives(t, "before", n, g)
		g = n.Trade(t, g.Refresh)
	}
	ban := func(d time.Duration) {
		_, err := nodes[1].SetUser(t.Context(), authtest.Operator(), g.User.ID, auth.UserChanges{BanFor: &d})
		ok(t, "ban", err)
	}
	ban(time.Hour)
	for _, n := range nodes {
		over(t, "the session", n, g)
		_, err := n.ByPassword(t, ann, pw)
		want(t, "sign-in", err, auth.UserBanned)
	}
	ban(0)
	for _, n := range nodes {
		over(t, "a session from before the ban", n, g)
		lives(t, "a new one", n, n.Enter(t, ann, pw))
	}
}

func TestSessions_oneMoreThanTheCapEndsTheOldest(t *testing.T) {
	for _, most := range []int{100, 0} {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			t.Parallel()
			capped := authtest.With(func(p *auth.Policy) { p.Autoconfirm, p.SessionsPerUser = true, most })
			h := authtest.New(t, capped)
			node := h.Again(t, capped)
			first := h.Join(t, ann, pw)
			second := h.Enter(t, ann, pw)
			other := h.Join(t, bob, pw)
			for range most - 2 {
				h.Enter(t, ann, pw)
			}
			lives(t, "the first of as many as may be", node, first)
			last := node.Enter(t, ann, pw)
			lives(t, "the one that came last", h, last)
			lives(t, "the second", h, h.Trade(t, second.Refresh))
			lives(t, "somebody else's", node, other)
			if most == 0 {
				lives(t, "the first, where there is no cap", node, node.Trade(t, first.Refresh))
				return
			}
			over(t, "the first, on this node", h, first)
			over(t, "the first, on the other", node, first)
			if got := h.Session(t, first.Session.ID).EndReason; got != "too many sessions" {
				t.Errorf("it ended because of %q", got)
			}
		})
	}
}

func TestSetup_offeredByManyNodesAtOnceOneLinkWorks(t *testing.T) {
	for range 5 {
		h := authtest.New(t)
		nodes := h.Nodes(t, 3)
		links := make([]string, 6)
		errs := across(nodes, len(links), func(h *authtest.House, i int) (err error) {
			var offered bool
			links[i], offered, err = h.OfferSetup(t.Context())
			if err == nil && !offered {
				err = errors.New("no link is offered, and nobody is administrator")
			}
			return err
		})
		ok(t, "offer", errors.Join(errs...))
		errs = across(nodes, len(links), func(h *authtest.House, i int) error {
			_, err := h.Setup(t.Context(), authtest.Caller(), links[i], fmt.Sprintf("root%d@example.com", i), pw)
			return err
		})
		if diff := cmp.Diff(map[auth.Code]int{"": 1, auth.SetupClosed: 5}, tally(errs)); diff != "" {
			t.Errorf("answers (-want +got):\n%s%v", diff, errors.Join(errs...))
		}
		for _, n := range nodes {
			_, offered, err := n.OfferSetup(t.Context())
			if err != nil || offered {
				t.Errorf("a second administrator is offered: %t, %v", offered, err)
			}
		}
		err := h.DB.Read(t.Context(), store.TenantID{}, func(tx *store.Tx) error {
			n, err := tx.CountRole("admin")
			if err == nil && n != 1 {
				err = fmt.Errorf("%d administrators, want 1", n)
			}
			return err
		})
		ok(t, "administrators", err)
	}
}
