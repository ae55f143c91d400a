package auth_test

import (
	"testing"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
)

// elsewhereEntries are the paths in by an account elsewhere.
func elsewhereEntries() []entry {
	a := func() auth.Account { return authtest.Person("google", "g-1", ann) }
	shut := func(p *auth.Policy) { p.SignupDisabled = true } // or another tenant would make a user
	open := func(t *testing.T, h *authtest.House) *auth.Grant {
		g, err := h.Under(t, withNotices).ByAccount(t, a())
		ok(t, "the first time", err)
		h.Clock.Advance(minute)
		return g
	}
	back := func(t *testing.T, d func(h *authtest.House) *auth.Departure) step {
		return func(h *authtest.House, c auth.Caller) (*auth.Grant, error) { return h.Arrive(t, d(h), a()) }
	}
	plain := func(t *testing.T) step {
		return back(t, func(h *authtest.House) *auth.Departure { return h.Leave(t, auth.Wish{Provider: "google"}) })
	}
	none := map[string]auth.Code{"another tenant": auth.SignupDisabled}
	link := bySession("linking an account", "LinkIdentity", func(t *testing.T, h *authtest.House, g *auth.Grant) step {
		v := h.View(t, g.Access)
		return func(h *authtest.House, c auth.Caller) (*auth.Grant, error) {
			return h.LinkIdentity(t.Context(), c, v, "idtoken", auth.Input{Provider: "google", Token: h.Elsewhere.Code(a())})
		}
	})
	link.opens = true
	link.policy = linking
	ticket := bySession("linking an account by a redirect", "Ticket", func(t *testing.T, h *authtest.House, g *auth.Grant) step {
		ticket, err := h.Ticket(t.Context(), authtest.Caller(), h.View(t, g.Access), auth.Wish{Method: "social", Provider: "google"})
		ok(t, "ticket", err)
		return back(t, func(h *authtest.House) *auth.Departure { return h.Leave(t, auth.Wish{Ticket: ticket}) })
	})
	ticket.opens = true
	ticket.policy = linking
	return []entry{
		{
			name: "an account elsewhere, new", call: "SignIn", method: "social", makes: true, opens: true, is: map[string]auth.Code{"sign-up closed": auth.SignupDisabled},
			ready: func(t *testing.T, h *authtest.House) (auth.UserID, step) { return auth.UserID{}, plain(t) },
		},
		{
			name: "an account elsewhere", call: "SignIn", method: "social", via: "account", opens: true, policy: shut, is: none,
			ready: func(t *testing.T, h *authtest.House) (auth.UserID, step) { return open(t, h).User.ID, plain(t) },
		},
		{
			name: "an account elsewhere that joins", call: "SignIn", method: "social", via: "account", opens: true, policy: shut, is: none,
			ready: func(t *testing.T, h *authtest.House) (auth.UserID, step) {
				return h.Under(t, withNotices).Join(t, ann, pw).User.ID, plain(t)
			},
		},
		{
			name: "an account elsewhere to a code", call: "SignIn", method: "social", via: "account", opens: true, policy: shut, is: none,
			ready: func(t *testing.T, h *authtest.House) (auth.UserID, step) {
				return open(t, h).User.ID, back(t, func(h *authtest.House) *auth.Departure {
					return h.Leave(t, auth.Wish{Provider: "google", PKCE: s256(verifier)})
				})
			},
		},
		{
			name: "the code of an account elsewhere", call: "SignIn", method: "pkce", via: "account", opens: true,
			is: map[string]auth.Code{"unconfirmed address": auth.EmailNotConfirmed},
			ready: func(t *testing.T, h *authtest.House) (auth.UserID, step) {
				g, err := h.Arrive(t, h.Leave(t, auth.Wish{Provider: "google", PKCE: s256(verifier)}), a())
				ok(t, "come back", err)
				return g.User.ID, signsIn(t, "pkce", auth.Input{Token: g.AuthCode, Verifier: verifier})
			},
		},
		{
			name: "an ID token", call: "SignIn", method: "idtoken", via: "account", opens: true, policy: shut, is: none,
			ready: func(t *testing.T, h *authtest.House) (auth.UserID, step) {
				return open(t, h).User.ID, func(h *authtest.House, c auth.Caller) (*auth.Grant, error) {
					return h.SignIn(t.Context(), c, "idtoken", auth.Input{Provider: "google", Token: h.Elsewhere.Code(a())}, false)
				}
			},
		},
		{
			name: "an invitation and an account elsewhere", call: "SignIn", method: "social", via: "account", opens: true, policy: shut,
			is: map[string]auth.Code{"another tenant": auth.InviteNotFound},
			ready: func(t *testing.T, h *authtest.House) (auth.UserID, step) {
				u, err := h.Invite(t.Context(), authtest.Operator(), ann, nil, authtest.Flow())
				ok(t, "invite", err)
				token := h.Mail(t, ann).Token
				return u.ID, func(h *authtest.House, c auth.Caller) (*auth.Grant, error) {
					d, err := h.SetOut(t.Context(), c, auth.Wish{Method: "social", Provider: "google", Invite: token})
					if err != nil {
						return nil, err
					}
					return h.Arrive(t, d, a())
				}
			},
		},
		{
			name: "a wallet", call: "SignIn", method: "web3", via: "account", opens: true, policy: shut, is: none,
			ready: func(t *testing.T, h *authtest.House) (auth.UserID, step) {
				w := authtest.NewWallet(t)
				site := authtest.Policy().SiteURL
				g, err := h.Under(t, withNotices).SignIn(t.Context(), authtest.Caller(), "web3", w.SignsIn(site, h.Clock.Now()), false)
				ok(t, "the first time", err)
				h.Clock.Advance(minute)
				return g.User.ID, func(h *authtest.House, c auth.Caller) (*auth.Grant, error) {
					return h.SignIn(t.Context(), c, "web3", w.SignsIn(site, h.Clock.Now()), false)
				}
			},
		},
		{
			name: "a linked account, by the operator's server", call: "SignIn", method: "linked", via: "account", opens: true,
			is: map[string]auth.Code{"another tenant": auth.InvalidCredentials, "unconfirmed address": auth.EmailNotConfirmed},
			ready: func(t *testing.T, h *authtest.House) (auth.UserID, step) {
				g := joined(t, h)
				_, err := h.AddLinked(t.Context(), authtest.Operator(), g.User.ID, "GOOGLE", auth.LinkedAccount{ClientID: "c-1"})
				ok(t, "link", err)
				return g.User.ID, func(h *authtest.House, _ auth.Caller) (*auth.Grant, error) {
					return h.SignIn(t.Context(), authtest.Operator(), "linked", auth.Input{Provider: "GOOGLE", Token: "c-1"}, false)
				}
			},
		},
		link, ticket,
	}
}
