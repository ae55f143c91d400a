package auth_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
)

// deed is something that changes what is stored. It returns whom it happened
// to (the zero id: nobody's).
type deed struct {
	name  string
	actor string // empty: the user themselves
	event auth.EventName
	do    func(t *testing.T, h *authtest.House) auth.UserID
}

// deeds run one after the other in one house, where ann and bob live.
func deeds() []deed {
	c, op := authtest.Caller(), authtest.Operator()
	var a, b, stale *auth.Grant
	var hook *auth.Webhook
	companies := newRegistry()
	id := func(g *auth.Grant) auth.UserID { return g.User.ID }
	return []deed{
		{"sign up", "", auth.SignedUp, func(t *testing.T, h *authtest.House) auth.UserID {
			g, err := signUp(t, h, ann, pw)
			ok(t, "sign up", err)
			return id(g)
		}},
		{"sign up again", "", auth.CodeAsked, func(t *testing.T, h *authtest.House) auth.UserID {
			g, err := signUp(t, h, ann, pw)
			ok(t, "sign up", err)
			return id(g)
		}},
		{"resend", "", auth.CodeAsked, func(t *testing.T, h *authtest.House) auth.UserID {
			ok(t, "resend", h.Resend(t.Context(), c, auth.KindConfirmation, ann, authtest.Flow()))
			u, err := h.UserByEmail(t.Context(), op, ann)
			ok(t, "ann", err)
			return u.ID
		}},
		{"confirm", "", auth.Confirmed, func(t *testing.T, h *authtest.House) auth.UserID {
			a = h.Follow(t, h.Mail(t, ann).Token)
			return id(a)
		}},
		{"sign in", "", auth.SignedIn, func(t *testing.T, h *authtest.House) auth.UserID {
			b = h.Enter(t, ann, pw)
			return id(b)
		}},
		{"sign up with a confirmed address", "", auth.CodeAsked, func(t *testing.T, h *authtest.House) auth.UserID {
			_, err := signUp(t, h, ann, pw)
			ok(t, "sign up", err)
			return id(a)
		}},
		{"magic link", "", auth.CodeAsked, func(t *testing.T, h *authtest.House) auth.UserID {
			ok(t, "magic link", h.MagicLink(t.Context(), c, auth.CodeRequest{Email: ann, Create: true}, authtest.Flow()))
			return id(a)
		}},
		{"recover", "", auth.RecoveryAsked, func(t *testing.T, h *authtest.House) auth.UserID {
			ok(t, "recover", h.Recover(t.Context(), c, ann, authtest.Flow()))
			return id(a)
		}},
		{"reauthenticate", "", auth.CodeAsked, func(t *testing.T, h *authtest.House) auth.UserID {
			ok(t, "reauthenticate", h.Reauthenticate(t.Context(), c, h.View(t, a.Access), auth.Flow{}))
			return id(a)
		}},
		{"change data", "", auth.UserUpdated, func(t *testing.T, h *authtest.House) auth.UserID {
			_, err := h.UpdateUser(t.Context(), c, h.View(t, a.Access), auth.Changes{Data: map[string]any{"n": 1}}, authtest.Flow())
			ok(t, "update", err)
			return id(a)
		}},
		{"change password", "", auth.PasswordChanged, func(t *testing.T, h *authtest.House) auth.UserID {
			ok(t, "password", setPassword(t, h, a, newPassword(pw2)))
			return id(a)
		}},
		{"ask for another address", "", auth.EmailChangeAsked, func(t *testing.T, h *authtest.House) auth.UserID {
			change(t, h, a)
			return id(a)
		}},
		{"change address", "", auth.EmailChanged, func(t *testing.T, h *authtest.House) auth.UserID {
			current, wanted := h.Mail(t, ann), h.Mail(t, annsNew)
			_, err := h.AcceptEmailChange(t.Context(), c, h.View(t, a.Access), current.Token)
			ok(t, "old address", err)
			_, err = h.AcceptEmailChange(t.Context(), c, h.View(t, a.Access), wanted.Token)
			ok(t, "new address", err)
			return id(a)
		}},
		{"ask for another number", "", auth.PhoneChangeAsked, func(t *testing.T, h *authtest.House) auth.UserID {
			_, err := h.UpdateUser(t.Context(), c, h.View(t, a.Access), auth.Changes{Phone: ptr("+" + annsPhone)}, authtest.Flow())
			ok(t, "phone", err)
			return id(a)
		}},
		{"change number", "", auth.PhoneChanged, func(t *testing.T, h *authtest.House) auth.UserID {
			_, err := h.BySMS(t, annsPhone, h.SMS(t, annsPhone).Code, auth.KindPhoneChange)
			ok(t, "code", err)
			return id(a)
		}},
		{"unlink the number", "", auth.IdentityUnlinked, func(t *testing.T, h *authtest.House) auth.UserID {
			ok(t, "unlink", h.Unlink(t.Context(), c, h.View(t, a.Access), identityOf(t, h, id(a), "phone")))
			return id(a)
		}},
		{"say it was not me", "", auth.ChangeUndone, func(t *testing.T, h *authtest.House) auth.UserID {
			_, err := h.Undo(t.Context(), c, undoToken(t, h.Mail(t, annsNew)), authtest.Flow())
			ok(t, "undo", err)
			a = h.Follow(t, h.Mail(t, annsNew).Token)
			ok(t, "password", setPassword(t, h, a, newPassword(pw2)))
			return id(a)
		}},
		{"spend the budget for text messages", "anonymous", auth.SMSBudgetSpent, func(t *testing.T, h *authtest.House) auth.UserID {
			poor := h.Again(t, authtest.With(func(p *auth.Policy) { p.SMSBudget = 1 }))
			for i, code := range []auth.Code{"", auth.SMSTooSoon, auth.SMSTooSoon} {
				err := poor.MagicLink(t.Context(), c, auth.CodeRequest{Phone: fmt.Sprint("49151200000", i)}, authtest.Flow())
				if got := codeOf(err); got != code {
					t.Fatalf("code %d: %q, want %q", i, got, code)
				}
			}
			return auth.UserID{}
		}},
		{"replay a refresh token", "", auth.ReuseDetected, func(t *testing.T, h *authtest.House) auth.UserID {
			stale = h.Enter(t, annsNew, pw2)
			h.Trade(t, h.Trade(t, stale.Refresh).Refresh)
			h.Clock.Advance(minute)
			_, err := refresh(t, h, stale.Refresh)
			want(t, "replay", err, auth.RefreshReused)
			return id(a)
		}},
		{"name a session", "", auth.SessionNamed, func(t *testing.T, h *authtest.House) auth.UserID {
			_, err := h.NameSession(t.Context(), c, id(a), a.Session.ID, "kitchen")
			ok(t, "name", err)
			return id(a)
		}},
		{"sign out", "", auth.SignedOut, func(t *testing.T, h *authtest.House) auth.UserID {
			ok(t, "sign out", h.SignOut(t.Context(), c, h.View(t, a.Access), auth.Local))
			return id(a)
		}},
		{"try one password on many accounts", "anonymous", auth.PasswordSprayed, func(t *testing.T, h *authtest.House) auth.UserID {
			for i := range 11 {
				_, err := h.ByPassword(t, fmt.Sprint("nobody", i, "@example.com"), "Summer2026!")
				want(t, "a guess", err, auth.InvalidCredentials)
			}
			return auth.UserID{}
		}},
		{"invite", "operator", auth.Invited, func(t *testing.T, h *authtest.House) auth.UserID {
			u, err := h.Invite(t.Context(), op, bob, nil, authtest.Flow())
			ok(t, "invite", err)
			return u.ID
		}},
		{"accept with a password", "", auth.PasswordChanged, func(t *testing.T, h *authtest.House) auth.UserID {
			g, err := h.SignIn(t.Context(), c, "emaillink", auth.Input{Token: h.Mail(t, bob).Token, Password: pw, Kinds: authtest.Kinds()}, false)
			ok(t, "accept", err)
			return id(g)
		}},
		{"make a link", "operator", auth.LinkMade, func(t *testing.T, h *authtest.House) auth.UserID {
			m, err := h.MakeLink(t.Context(), op, auth.LinkRequest{Kind: auth.KindRecovery, Email: bob}, authtest.Flow())
			ok(t, "make link", err)
			return m.User.ID
		}},
		{"add a user", "operator", auth.SignedUp, func(t *testing.T, h *authtest.House) auth.UserID {
			u, err := h.AddUser(t.Context(), op, auth.UserChanges{Email: ptr("carl@example.com")})
			ok(t, "add", err)
			return u.ID
		}},
		{"set a user", "operator", auth.UserUpdated, func(t *testing.T, h *authtest.House) auth.UserID {
			_, err := h.SetUser(t.Context(), op, id(a), auth.UserChanges{Role: ptr("editor")})
			ok(t, "set", err)
			return id(a)
		}},
		{"link an account elsewhere", "operator", auth.IdentityLinked, func(t *testing.T, h *authtest.House) auth.UserID {
			addLinked(t, h, id(a), "facebook", auth.LinkedAccount{ClientID: "fb-1"})
			return id(a)
		}},
		{"set when its token expires", "operator", auth.TokensUpdated, func(t *testing.T, h *authtest.House) auth.UserID {
			_, err := h.SetTokenExpiry(t.Context(), op, id(a), "facebook", h.Clock.Now(), nil)
			ok(t, "set", err)
			return id(a)
		}},
		{"unlink it", "operator", auth.IdentityUnlinked, func(t *testing.T, h *authtest.House) auth.UserID {
			ok(t, "unlink", h.DropLinked(t.Context(), op, id(a), "facebook"))
			return id(a)
		}},
		{"ban", "operator", auth.UserBannedEvent, func(t *testing.T, h *authtest.House) auth.UserID {
			_, err := h.SetUser(t.Context(), op, id(a), auth.UserChanges{BanFor: ptr(time.Hour)})
			ok(t, "ban", err)
			return id(a)
		}},
		{"delete", "operator", auth.UserDeletedEvent, func(t *testing.T, h *authtest.House) auth.UserID {
			ok(t, "delete", h.DropUser(t.Context(), op, id(a), false))
			return id(a)
		}},
		{"set up", "", auth.FirstAdmin, func(t *testing.T, h *authtest.House) auth.UserID {
			link, _, err := h.OfferSetup(t.Context())
			ok(t, "offer", err)
			u, err := h.Setup(t.Context(), c, link, "root@example.com", pw)
			ok(t, "setup", err)
			return u.ID
		}},
		{"add an endpoint", "operator", auth.WebhookAdded, func(t *testing.T, h *authtest.House) auth.UserID {
			var err error
			hook, _, err = h.AddWebhook(t.Context(), op, auth.WebhookChanges{URL: ptr(hookURL)})
			ok(t, "add", err)
			promise(t, h, id(a))
			return auth.UserID{}
		}},
		{"set an endpoint", "operator", auth.WebhookUpdated, func(t *testing.T, h *authtest.House) auth.UserID {
			_, err := h.SetWebhook(t.Context(), op, hook.ID, auth.WebhookChanges{Description: ptr("ours")})
			ok(t, "set", err)
			return auth.UserID{}
		}},
		{"rotate an endpoint's secret", "operator", auth.WebhookUpdated, func(t *testing.T, h *authtest.House) auth.UserID {
			_, _, err := h.RotateWebhook(t.Context(), op, hook.ID)
			ok(t, "rotate", err)
			return auth.UserID{}
		}},
		{"replay what was delivered", "operator", auth.WebhookReplayed, func(t *testing.T, h *authtest.House) auth.UserID {
			send(t, h, "delivered")
			list, err := h.Deliveries(t.Context(), hook.ID, "delivered", auth.WebhookPlace{}, 1)
			ok(t, "deliveries", err)
			ok(t, "replay", h.Replay(t.Context(), op, hook.ID, list[0].Event))
			return auth.UserID{}
		}},
		{"replay the dead", "operator", auth.WebhookReplayed, func(t *testing.T, h *authtest.House) auth.UserID {
			send(t, h, "dead")
			_, err := h.ReplayDead(t.Context(), op, hook.ID)
			ok(t, "replay", err)
			return auth.UserID{}
		}},
		{"delete an endpoint", "operator", auth.WebhookDeleted, func(t *testing.T, h *authtest.House) auth.UserID {
			ok(t, "drop", h.DropWebhook(t.Context(), op, hook.ID))
			return auth.UserID{}
		}},
		{"add a provider", "operator", auth.CustomAdded, func(t *testing.T, h *authtest.House) auth.UserID {
			addCustom(t, h, oidcProvider("acme"))
			return auth.UserID{}
		}},
		{"set a provider", "operator", auth.CustomUpdated, func(t *testing.T, h *authtest.House) auth.UserID {
			_, err := h.SetCustomProvider(t.Context(), op, "custom:acme", auth.CustomChanges{Disabled: ptr(true)})
			ok(t, "set", err)
			return auth.UserID{}
		}},
		{"delete a provider", "operator", auth.CustomDeleted, func(t *testing.T, h *authtest.House) auth.UserID {
			ok(t, "drop", h.DropCustomProvider(t.Context(), op, "custom:acme"))
			return auth.UserID{}
		}},
		{"connect a company", "operator", auth.SSOAdded, func(t *testing.T, h *authtest.House) auth.UserID {
			addSSO(t, h.Under(t, companies.option), auth.SSOChanges{MetadataURL: ptr(acmeURL), ResourceID: ptr("acme")})
			return auth.UserID{}
		}},
		{"set a connection", "operator", auth.SSOUpdated, func(t *testing.T, h *authtest.House) auth.UserID {
			_, err := h.SetSSO(t.Context(), op, "resource_acme", auth.SSOChanges{Disabled: ptr(true)})
			ok(t, "set", err)
			return auth.UserID{}
		}},
		{"delete a connection", "operator", auth.SSODeleted, func(t *testing.T, h *authtest.House) auth.UserID {
			_, err := h.DropSSO(t.Context(), op, "resource_acme")
			ok(t, "drop", err)
			return auth.UserID{}
		}},
		{"be refused at a re-check", "system", auth.IdentityRefused, func(t *testing.T, h *authtest.House) auth.UserID {
			asks := h.Under(t, withNotices, authtest.With(func(p *auth.Policy) { p.Recheck = minute }))
			g, err := asks.ByAccount(t, authtest.Person("google", "g-9", "nina@example.com"))
			ok(t, "sign in", err)
			h.Clock.Advance(2 * minute)
			h.Elsewhere.Refuses(&auth.Error{Code: auth.ProviderRefused})
			_, err = asks.Refresh(t.Context(), c, g.Refresh)
			want(t, "refresh", err, auth.SessionExpired)
			return id(g)
		}},
		{"rotate keys", "operator", auth.SigningKeyRotated, func(t *testing.T, h *authtest.House) auth.UserID {
			ok(t, "rotate", h.RotateKeys(t.Context(), op, false))
			return auth.UserID{}
		}},
		{"make a tenant", "operator", auth.TenantAdded, func(t *testing.T, h *authtest.House) auth.UserID {
			_, err := tenantsOf(h, nil).Add(t.Context(), op, auth.Tenant{Name: "shop"})
			ok(t, "add", err)
			return auth.UserID{}
		}},
		{"change a tenant", "operator", auth.TenantUpdated, func(t *testing.T, h *authtest.House) auth.UserID {
			shop, err := tenantsOf(h, nil).TenantByName(t.Context(), "shop")
			ok(t, "shop", err)
			_, err = tenantsOf(h, nil).Set(t.Context(), op, shop.ID, func(*auth.Tenant) error { return nil })
			ok(t, "set", err)
			return auth.UserID{}
		}},
		{"delete a tenant", "operator", auth.TenantDeleted, func(t *testing.T, h *authtest.House) auth.UserID {
			shop, err := tenantsOf(h, nil).TenantByName(t.Context(), "shop")
			ok(t, "shop", err)
			ok(t, "drop", tenantsOf(h, nil).Drop(t.Context(), op, shop.ID))
			return auth.UserID{}
		}},
	}
}

func TestEvents_everyDeedLeavesOneWithAnActor(t *testing.T) {
	h := authtest.New(t, withNotices)
	seen := map[auth.EventName]bool{}
	known := map[string]bool{} // events of deeds before
	for _, d := range deeds() {
		h.Clock.Advance(2 * minute)
		id := d.do(t, h)
		h.Deliver(t) // some deeds go on after their answer
		found := false
		for _, e := range h.Events(t, id) {
			if known[e.ID.String()] {
				continue
			}
			known[e.ID.String()] = true
			name := auth.EventName(e.Name)
			seen[name] = true
			if !slices.Contains(auth.Events, name) {
				t.Errorf("%s: event %q is not in the list of events", d.name, name)
			}
			if e.Actor == "" || e.IP == "" || e.RequestID == "" || !json.Valid(e.Data) {
				t.Errorf("%s: event %s lacks an actor, an address, a request or data: %+v", d.name, name, e)
			}
			actor := d.actor
			if actor == "" {
				actor = id.String()
			}
			if name == d.event {
				found = true
				if e.Actor != actor {
					t.Errorf("%s: %s was done by %q, want %q", d.name, name, e.Actor, actor)
				}
			}
		}
		if !found {
			t.Errorf("%s left no %s", d.name, d.event)
		}
	}
	for _, name := range auth.Events {
		if !seen[name] {
			t.Errorf("no deed here leaves a %s", name)
		}
	}
}

func TestEvents_aRefusedChangeLeavesNone(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	before := len(h.Events(t, g.User.ID))
	_, err := h.ByPassword(t, ann, "wrong")
	want(t, "sign in", err, auth.InvalidCredentials)
	want(t, "password", setPassword(t, h, g, newPassword("12345")), auth.WeakPassword)
	h.Trade(t, g.Refresh)
	if got := len(h.Events(t, g.User.ID)); got != before {
		t.Errorf("%d new events, want none: the database grows with users, not with requests", got-before)
	}
}

// Names that are deleted are not kept as metadata, and are no reason to fill
// the trail with them.
func TestEvents_ofAChangeOfThousandsOfNamesStaySmall(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	many := map[string]any{}
	for i := range 5000 {
		many[fmt.Sprintf("%04d%s", i, strings.Repeat("x", 200))] = nil
	}
	for what, change := range map[string]func() error{
		"the user's own": func() error {
			_, err := h.UpdateUser(t.Context(), authtest.Caller(), h.View(t, g.Access), auth.Changes{Data: many}, authtest.Flow())
			return err
		},
		"an administrator's of the user's data": func() error {
			_, err := h.SetUser(t.Context(), authtest.Operator(), g.User.ID, auth.UserChanges{UserData: many})
			return err
		},
		"an administrator's of the server's data": func() error {
			_, err := h.SetUser(t.Context(), authtest.Operator(), g.User.ID, auth.UserChanges{AppData: many})
			return err
		},
	} {
		h.Clock.Advance(minute)
		ok(t, what, change())
		e := h.Events(t, g.User.ID)[0]
		if e.Name != string(auth.UserUpdated) || len(e.Data) > 2<<10 || !strings.Contains(string(e.Data), `"and 4980 more"`) || !strings.Contains(string(e.Data), `"0000x`) {
			t.Errorf("%s: event %s of %d bytes: %.100s", what, e.Name, len(e.Data), e.Data)
		}
	}
}
