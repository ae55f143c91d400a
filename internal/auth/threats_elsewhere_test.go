package auth_test

import (
	"slices"
	"strings"
	"testing"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/secret"
	"gatehouse/internal/storetest"
)

// byIDToken is an ID token of an account.
func byIDToken(h *authtest.House, a auth.Account) auth.Input {
	return auth.Input{Provider: a.Provider, Token: h.Elsewhere.Code(a)}
}

// linked has an account join who is signed in.
func linkAccount(t *testing.T, h *authtest.House, g *auth.Grant, a auth.Account) *auth.Grant {
	t.Helper()
	next, err := h.LinkIdentity(t.Context(), authtest.Caller(), h.View(t, g.Access), "idtoken", byIDToken(h, a))
	ok(t, "link "+a.Provider, err)
	return next
}

// providersOf are those a user is known by, in order.
func providersOf(u auth.User) (list []string) {
	for _, i := range u.Identities {
		list = append(list, i.Provider)
	}
	slices.Sort(list)
	return list
}

// R16: two browsers, two users, one account.
func TestThreat_R16_oneAccountJoinsOneOfManyWhoWantIt(t *testing.T) {
	h := authtest.New(t, authtest.With(linking))
	nodes := h.Nodes(t, 2, authtest.With(linking))
	var grants []*auth.Grant
	for _, email := range []string{ann, bob, "cat@example.com", "dan@example.com"} {
		grants = append(grants, h.Join(t, email, pw))
	}
	for round := range 5 {
		a := authtest.Person("google", "g-"+string(rune('1'+round)), "shared@example.com")
		codes := []string{h.Elsewhere.Code(a), h.Elsewhere.Code(a), h.Elsewhere.Code(a), h.Elsewhere.Code(a)}
		errs := together(len(grants), func(i int) error {
			n := nodes[i%2]
			v, err := n.Authenticate(t.Context(), authtest.Caller(), grants[i].Access)
			if err == nil {
				_, err = n.LinkIdentity(t.Context(), authtest.Caller(), v, "idtoken", auth.Input{Provider: "google", Token: codes[i]})
			}
			return err
		})
		if got := tally(errs); got[""] != 1 || got[auth.IdentityTaken] != len(grants)-1 {
			t.Fatalf("one account: %v", got)
		}
	}
	all := 0
	for _, g := range grants {
		all += len(read(t, h, g.User.ID).Identities) - 1
	}
	if all != 5 {
		t.Errorf("five accounts joined %d times", all)
	}
}

// R16 and R12: one account that is new, many times at once.
func TestThreat_R16_oneNewAccountIsOneUser(t *testing.T) {
	h := authtest.New(t)
	nodes := h.Nodes(t, 2)
	a := authtest.Person("google", "g-1", ann)
	codes := make([]string, 12)
	for i := range codes {
		codes[i] = h.Elsewhere.Code(a)
	}
	for i, err := range across(nodes, len(codes), func(n *authtest.House, i int) error {
		_, err := n.SignIn(t.Context(), authtest.Caller(), "idtoken", auth.Input{Provider: "google", Token: codes[i]}, false)
		return err
	}) {
		if err != nil && auth.CodeOf(err) != auth.Busy {
			t.Errorf("%d: %v", i, err)
		}
	}
	if h.Count(t) != 1 {
		t.Errorf("there are %d users", h.Count(t))
	}
}

// R16: the way out and the way in at one instant.
func TestThreat_R16_whoIsPutOutAtThatInstantIsOut(t *testing.T) {
	h := authtest.New(t, authtest.With(linking))
	for round := range 8 {
		email := string(rune('a'+round)) + "@example.com"
		g := h.Join(t, email, pw)
		a := authtest.Person("google", "g-"+email, email)
		code := h.Elsewhere.Code(a)
		var by *auth.Grant
		errs := together(2, func(i int) (err error) {
			if i == 0 {
				by, err = h.SignIn(t.Context(), authtest.Caller(), "idtoken", auth.Input{Provider: "google", Token: code}, false)
				return err
			}
			_, err = h.SetUser(t.Context(), authtest.Operator(), g.User.ID, auth.UserChanges{BanFor: ptr(hour)})
			return err
		})
		ok(t, "ban", errs[1])
		over := func(what string, g *auth.Grant) {
			_, err := h.Authenticate(t.Context(), authtest.Caller(), g.Access)
			if err == nil {
				t.Errorf("%s is alive", what)
			}
		}
		over("the session of before", g)
		if errs[0] == nil {
			over("the session by the account", by)
		} else {
			want(t, "join", errs[0], auth.UserBanned)
		}
	}
}

// R16, L05: the owner comes by a provider at the instant at which a stranger's
// sign-up is confirmed.
func TestThreat_R16_aTakeoverBesideAConfirmationLeavesOneOwner(t *testing.T) {
	h := authtest.New(t)
	for round := range 8 {
		email := string(rune('a'+round)) + "@example.com"
		_, err := h.SignUp(t.Context(), authtest.Caller(), auth.NewUser{Email: email, Password: pw}, authtest.Flow())
		ok(t, "sign up", err)
		token, code := h.Mail(t, email).Token, h.Elsewhere.Code(authtest.Person("google", "g-"+email, email))
		var grants [2]*auth.Grant
		errs := together(2, func(i int) (err error) {
			if i == 0 {
				grants[0], err = h.SignIn(t.Context(), authtest.Caller(), "idtoken", auth.Input{Provider: "google", Token: code}, false)
			} else {
				grants[1], err = h.ByLink(t, token, auth.KindConfirmation)
			}
			return err
		})
		ok(t, "by the provider", errs[0])
		if errs[1] != nil { // the owner was first: nothing is left of the sign-up
			want(t, "the link", errs[1], auth.LinkFailed)
			_, err = h.ByPassword(t, email, pw)
			want(t, "the password of whoever waited", err, auth.InvalidCredentials)
			continue
		}
		if grants[0].User.ID != grants[1].User.ID {
			t.Fatal("two users have one address")
		}
	}
}

// R16, L12: unlinking every way in at once leaves one.
func TestThreat_R16_unlinkingAllAtOnceLeavesOne(t *testing.T) {
	h := authtest.New(t, authtest.With(linking))
	for round := range 4 {
		n := string(rune('1' + round))
		g, err := h.ByAccount(t, authtest.Person("google", "g-"+n, n+ann))
		ok(t, "sign in", err)
		linkAccount(t, h, g, authtest.Person("github", "h-"+n, "")) // has no address
		linkAccount(t, h, g, authtest.Person("gitlab", "l-"+n, n+bob))
		u := read(t, h, g.User.ID)
		v := h.View(t, g.Access)
		errs := together(len(u.Identities), func(i int) error { return h.Unlink(t.Context(), authtest.Caller(), v, u.Identities[i].ID) })
		got := tally(errs)
		left := read(t, h, g.User.ID)
		if len(left.Identities) == 0 || got[""]+len(left.Identities) != 3 {
			t.Fatalf("%v, left %v", got, providersOf(left))
		}
		if left.Email != "" && left.EmailVerifiedAt.IsZero() {
			t.Errorf("user %+v", left)
		}
	}
}

// F01: what one tenant sealed no other opens.
func TestThreat_F01_aJourneyEndsAtTheTenantItBeganAt(t *testing.T) {
	var o auth.Options
	h := authtest.New(t, authtest.With(linking), func(opt *auth.Options) { o = *opt })
	g := h.Join(t, ann, pw)
	ticket, err := h.Ticket(t.Context(), authtest.Caller(), h.View(t, g.Access), auth.Wish{Method: "social", Provider: "github"})
	ok(t, "ticket", err)
	d := h.Leave(t, auth.Wish{Provider: "google"})
	o.Tenant = storetest.Other()
	o.Root, err = secret.NewRoot(secret.GenerateRoot())
	ok(t, "root key", err)
	there := auth.New(o)
	_, err = there.Return(t.Context(), authtest.Caller(), d.State, d.Sealed)
	want(t, "the journey", err, auth.StateFailed)
	_, err = there.Peek(d.State, d.Sealed)
	want(t, "the journey, looked at", err, auth.StateFailed)
	_, err = there.TicketOf(ticket)
	want(t, "the ticket", err, auth.StateFailed)
	_, err = there.SetOut(t.Context(), authtest.Caller(), auth.Wish{Ticket: ticket})
	want(t, "setting out by it", err, auth.StateFailed)
}

// L13, L14: a ticket says who, whose session, and where to; the session must be
// alive when the browser comes back, whatever happened meanwhile.
func TestThreat_L13_aTicketDiesWithItsSession(t *testing.T) {
	for name, end := range map[string]func(h *authtest.House, g *auth.Grant){
		"sign-out": func(h *authtest.House, g *auth.Grant) {
			ok(t, "sign out", h.SignOut(t.Context(), authtest.Caller(), h.View(t, g.Access), auth.Local))
		},
		"new password": func(h *authtest.House, g *auth.Grant) {
			other := h.Enter(t, ann, pw)
			_, err := h.UpdateUser(t.Context(), authtest.Caller(), h.View(t, other.Access), newPassword(pw2), authtest.Flow())
			ok(t, "new password", err)
		},
		"ban": func(h *authtest.House, g *auth.Grant) {
			_, err := h.SetUser(t.Context(), authtest.Operator(), g.User.ID, auth.UserChanges{BanFor: ptr(hour)})
			ok(t, "ban", err)
		},
		"deletion": func(h *authtest.House, g *auth.Grant) {
			ok(t, "delete", h.DropUser(t.Context(), authtest.Operator(), g.User.ID, false))
		},
		"soft deletion": func(h *authtest.House, g *auth.Grant) {
			ok(t, "delete", h.DropUser(t.Context(), authtest.Operator(), g.User.ID, true))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := authtest.New(t, authtest.With(linking))
			g := h.Join(t, ann, pw)
			ticket, err := h.Ticket(t.Context(), authtest.Caller(), h.View(t, g.Access), auth.Wish{Method: "social", Provider: "github"})
			ok(t, "ticket", err)
			before := h.Leave(t, auth.Wish{Ticket: ticket})
			end(h, g)
			a := authtest.Person("github", "h-1", "mallory@example.com")
			_, err = h.Arrive(t, before, a)
			if err == nil {
				t.Fatal("who had set out before was linked")
			}
			after, err := h.SetOut(t.Context(), authtest.Caller(), auth.Wish{Ticket: ticket})
			if err == nil {
				_, err = h.Arrive(t, after, a)
			}
			if err == nil {
				t.Fatal("who set out afterwards was linked")
			}
			if n := h.Count(t); n > 1 {
				t.Errorf("there are %d users", n)
			}
		})
	}
}

func TestThreat_L14_aTicketIsWholeOrNone(t *testing.T) {
	h := authtest.New(t, authtest.With(linking))
	g := h.Join(t, ann, pw)
	ticket, err := h.Ticket(t.Context(), authtest.Caller(), h.View(t, g.Access), auth.Wish{Method: "social", Provider: "github"})
	ok(t, "ticket", err)
	for what, bad := range map[string]string{
		"a letter changed": strings.Map(func(r rune) rune {
			if r == rune(ticket[50]) {
				return 'A' + (r-'A'+1)%26
			}
			return r
		}, ticket),
		"cut": ticket[:len(ticket)-4], "longer": ticket + "AAAA", "none": " ", "a journey": h.Leave(t, auth.Wish{Provider: "google"}).Sealed,
	} {
		_, err = h.TicketOf(bad)
		want(t, what, err, auth.StateFailed)
	}
	_, err = h.Return(t.Context(), authtest.Caller(), "", ticket)
	want(t, "a ticket for a journey", err, auth.StateFailed)
	h.Clock.Advance(5 * minute)
	_, err = h.TicketOf(ticket)
	want(t, "too late", err, auth.StateFailed)
}

// F01: a journey that is over is over under every policy.
func TestThreat_F01_aJourneyIsSpentAlsoWhereTheTimesChanged(t *testing.T) {
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.FlowTTL = 2 * hour }))
	d := h.Leave(t, auth.Wish{Provider: "google"})
	_, err := h.Return(t.Context(), authtest.Caller(), d.State, d.Sealed)
	ok(t, "the first time", err)
	after := h.Under(t, authtest.With(func(p *auth.Policy) { p.FlowTTL = 5 * minute }))
	_, err = after.Return(t.Context(), authtest.Caller(), d.State, d.Sealed)
	want(t, "again, after a reload", err, auth.StateFailed)
	other := h.Leave(t, auth.Wish{Provider: "google"})
	_, err = after.Return(t.Context(), authtest.Caller(), other.State, other.Sealed)
	ok(t, "another, after the reload", err)
	h.Clock.Advance(30 * minute)
	_, err = after.Return(t.Context(), authtest.Caller(), other.State, other.Sealed)
	want(t, "again, later", err, auth.StateFailed)
}
