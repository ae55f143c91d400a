package auth_test

import (
	"slices"
	"testing"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
)

// entries are all paths in.
func entries() []entry {
	return slices.Concat(passwordEntries(), mailEntries(), textEntries(), sessionEntries(), signUpEntries(), askEntries(), elsewhereEntries())
}

// signsIn is a last step by one of the ways in.
func signsIn(t *testing.T, method string, in auth.Input) step {
	return func(h *authtest.House, c auth.Caller) (*auth.Grant, error) {
		return h.SignIn(t.Context(), c, method, in, method == "emaillink")
	}
}

func joined(t *testing.T, h *authtest.House) *auth.Grant {
	t.Helper()
	g := h.Join(t, ann, pw)
	h.Clock.Advance(minute)
	return g
}

func passwordEntries() []entry {
	return []entry{
		{
			name: "password", call: "SignIn", method: "password", via: "email", opens: true,
			ready: func(t *testing.T, h *authtest.House) (auth.UserID, step) {
				return joined(t, h).User.ID, signsIn(t, "password", auth.Input{Email: ann, Password: pw})
			},
		},
		{
			name: "password of a number", call: "SignIn", method: "password", via: "phone", opens: true,
			ready: func(t *testing.T, h *authtest.House) (auth.UserID, step) {
				return h.JoinByPhone(t, annsPhone, pw).User.ID, signsIn(t, "password", auth.Input{Phone: annsPhone, Password: pw})
			},
		},
		{
			name: "authorization code", call: "SignIn", method: "pkce", via: "email", opens: true,
			ready: func(t *testing.T, h *authtest.House) (auth.UserID, step) {
				g := joined(t, h)
				f := authtest.Flow()
				f.PKCE = s256(verifier)
				ok(t, "recover", h.Recover(t.Context(), authtest.Caller(), ann, f))
				code := h.Follow(t, h.Mail(t, ann).Token).AuthCode
				return g.User.ID, signsIn(t, "pkce", auth.Input{Token: code, Verifier: verifier})
			},
		},
	}
}

// byMail are entries by an open question of one kind: by link, by link with a
// challenge, there and on another device, and by code.
func byMail(k auth.Kind, to string, ask func(t *testing.T, h *authtest.House, f auth.Flow) auth.UserID) []entry {
	one := func(p *auth.Policy) { p.SecureEmailChange = false } // so that one answer is enough
	prepare := func(p auth.PKCE, in func(m authtest.Mail) auth.Input) func(t *testing.T, h *authtest.House) (auth.UserID, step) {
		return func(t *testing.T, h *authtest.House) (auth.UserID, step) {
			f := authtest.Flow()
			f.PKCE = p
			id := ask(t, h, f)
			m := h.Mail(t, to)
			method := "emaillink"
			if in(m).Code != "" {
				method = "emailcode"
			}
			return id, signsIn(t, method, in(m))
		}
	}
	kinds := []auth.Kind{k}
	link := func(m authtest.Mail) auth.Input { return auth.Input{Token: m.Token, Kinds: kinds} }
	base := entry{call: "SignIn", method: "emaillink", via: "email", to: to, opens: true, proves: true, policy: one}
	list := []entry{base, base}
	list[0].name, list[0].ready = string(k)+" link", prepare(auth.PKCE{}, link)
	list[1].name, list[1].method, list[1].code = string(k)+" code", "emailcode", true
	list[1].ready = prepare(auth.PKCE{}, func(m authtest.Mail) auth.Input { return auth.Input{Email: m.To, Code: m.Code, Kinds: kinds} })
	switch k {
	case auth.KindConfirmation, auth.KindRecovery:
		byCode := base
		byCode.name, byCode.ready = string(k)+" link to a code", prepare(s256(verifier), link)
		list = append(list, byCode)
	case auth.KindMagicLink:
		here := base
		here.name = "link on another device"
		here.ready = prepare(s256(verifier), func(m authtest.Mail) auth.Input { return auth.Input{Token: m.Token, Kinds: kinds, Here: true} })
		list = append(list, here)
	case auth.KindInvite:
		chosen := base
		chosen.name, chosen.chosen = "invitation with a password", true
		chosen.ready = prepare(auth.PKCE{}, func(m authtest.Mail) auth.Input { return auth.Input{Token: m.Token, Kinds: kinds, Password: pw2} })
		list = append(list, chosen)
	}
	return list
}

func mailEntries() []entry {
	ctx := authtest.Caller()
	list := []entry{{
		name: "the second word on a change of address", call: "SignIn", method: "emaillink", via: "email", opens: true,
		is: map[string]auth.Code{"unconfirmed address": ""}, // then the new one's is enough
		ready: func(t *testing.T, h *authtest.House) (auth.UserID, step) {
			g := joined(t, h)
			current, wanted := change(t, h, g)
			h.Follow(t, wanted.Token)
			return g.User.ID, signsIn(t, "emaillink", auth.Input{Token: current.Token, Kinds: []auth.Kind{auth.KindChangeCurrent}})
		},
	}}
	return slices.Concat(list,
		byMail(auth.KindConfirmation, ann, func(t *testing.T, h *authtest.House, f auth.Flow) auth.UserID {
			g, err := h.SignUp(t.Context(), ctx, auth.NewUser{Email: ann, Password: pw}, f)
			ok(t, "sign up", err)
			return g.User.ID
		}),
		byMail(auth.KindInvite, ann, func(t *testing.T, h *authtest.House, f auth.Flow) auth.UserID {
			u, err := h.Invite(t.Context(), authtest.Operator(), ann, nil, f)
			ok(t, "invite", err)
			return u.ID
		}),
		byMail(auth.KindRecovery, ann, func(t *testing.T, h *authtest.House, f auth.Flow) auth.UserID {
			id := joined(t, h).User.ID
			ok(t, "recover", h.Recover(t.Context(), ctx, ann, f))
			return id
		}),
		byMail(auth.KindMagicLink, ann, func(t *testing.T, h *authtest.House, f auth.Flow) auth.UserID {
			id := joined(t, h).User.ID
			ok(t, "magic link", h.MagicLink(t.Context(), ctx, auth.CodeRequest{Email: ann}, f))
			return id
		}),
		byMail(auth.KindChangeNew, annsNew, func(t *testing.T, h *authtest.House, f auth.Flow) auth.UserID {
			g := joined(t, h)
			_, err := h.UpdateUser(t.Context(), ctx, h.View(t, g.Access), newEmail(annsNew), f)
			ok(t, "change", err)
			return g.User.ID
		}),
	)
}

func textEntries() []entry {
	base := entry{call: "SignIn", method: "smscode", via: "phone", opens: true, proves: true, code: true}
	list := []entry{base, base, base}
	list[0].name, list[0].to = "code of a text message", annsPhone
	list[0].ready = func(t *testing.T, h *authtest.House) (auth.UserID, step) {
		id := h.JoinByPhone(t, annsPhone, pw).User.ID
		h.Clock.Advance(minute)
		ok(t, "ask", askSMS(t, h, annsPhone, false))
		return id, signsIn(t, "smscode", auth.Input{Phone: annsPhone, Code: h.SMS(t, annsPhone).Code, Kinds: []auth.Kind{auth.KindSMS}})
	}
	list[1].name, list[1].to = "code that confirms a number", annsPhone
	list[1].ready = func(t *testing.T, h *authtest.House) (auth.UserID, step) {
		g, err := signUpByPhone(t, h, annsPhone, pw)
		ok(t, "sign up", err)
		return g.User.ID, signsIn(t, "smscode", auth.Input{Phone: annsPhone, Code: h.SMS(t, annsPhone).Code, Kinds: []auth.Kind{auth.KindSMS}})
	}
	list[2].name, list[2].to = "code of a change of number", annsOther
	list[2].ready = func(t *testing.T, h *authtest.House) (auth.UserID, step) {
		g := h.JoinByPhone(t, annsPhone, pw)
		h.Clock.Advance(minute)
		ok(t, "ask", setPhone(t, h, g, annsOther))
		return g.User.ID, signsIn(t, "smscode", auth.Input{Phone: annsOther, Code: h.SMS(t, annsOther).Code, Kinds: []auth.Kind{auth.KindPhoneChange}})
	}
	return list
}

// bySession is an entry with what a session of ann's has.
func bySession(name, call string, ready func(t *testing.T, h *authtest.House, g *auth.Grant) step) entry {
	return entry{name: name, call: call, via: "session", ready: func(t *testing.T, h *authtest.House) (auth.UserID, step) {
		g := joined(t, h)
		return g.User.ID, ready(t, h, g)
	}}
}

// refreshes trades a refresh token, and looks by whom the access token is.
func refreshes(t *testing.T, token string) step {
	return func(h *authtest.House, c auth.Caller) (*auth.Grant, error) {
		_, err := h.Refresh(t.Context(), c, token)
		return nil, err
	}
}

func sessionEntries() []entry {
	elsewhere := func(e entry, code auth.Code) entry {
		e.is = map[string]auth.Code{"another tenant": code}
		return e
	}
	ofNumber := entry{name: "refresh of who has a number alone", call: "Refresh", via: "session", ready: func(t *testing.T, h *authtest.House) (auth.UserID, step) {
		g := h.JoinByPhone(t, annsPhone, pw)
		return g.User.ID, refreshes(t, g.Refresh)
	}}
	ofNumber.is = map[string]auth.Code{"another tenant": auth.RefreshMalformed, "unconfirmed address": "", "unconfirmed number": auth.PhoneNotConfirmed}
	weak := bySession("change of one's own password", "UpdateUser", func(t *testing.T, h *authtest.House, g *auth.Grant) step {
		v := h.View(t, g.Access)
		return func(h *authtest.House, c auth.Caller) (*auth.Grant, error) {
			_, err := h.UpdateUser(t.Context(), c, v, newPassword(pw2), authtest.Flow())
			return nil, err
		}
	})
	weak.chosen = true
	accept := bySession("accepting a change of address", "AcceptEmailChange", func(t *testing.T, h *authtest.House, g *auth.Grant) step {
		v := h.View(t, g.Access)
		_, wanted := change(t, h, g)
		return func(h *authtest.House, c auth.Caller) (*auth.Grant, error) {
			_, err := h.AcceptEmailChange(t.Context(), c, v, wanted.Token)
			return nil, err
		}
	})
	out := entry{name: "undoing a change", call: "Undo", via: "session", ready: func(t *testing.T, h *authtest.House) (auth.UserID, step) {
		g := joined(t, h)
		ok(t, "password", setPassword(t, h, g, newPassword(pw2)))
		token := undoToken(t, h.Mail(t, ann))
		return g.User.ID, func(h *authtest.House, c auth.Caller) (*auth.Grant, error) {
			_, err := h.Undo(t.Context(), c, token, authtest.Flow())
			return nil, err
		}
	}}
	// It opens nothing: a banned user may still throw a thief out.
	out.is = map[string]auth.Code{"banned": "", "deleted": auth.LinkFailed, "unconfirmed address": "", "second factor overdue": "", "another tenant": auth.LinkFailed}
	return []entry{
		elsewhere(bySession("refresh", "Refresh", func(t *testing.T, _ *authtest.House, g *auth.Grant) step { return refreshes(t, g.Refresh) }), auth.RefreshMalformed),
		elsewhere(bySession("refresh of a lost answer", "Refresh", func(t *testing.T, h *authtest.House, g *auth.Grant) step {
			h.Trade(t, g.Refresh)
			return refreshes(t, g.Refresh)
		}), auth.RefreshMalformed),
		ofNumber,
		elsewhere(bySession("access token", "Authenticate", func(t *testing.T, _ *authtest.House, g *auth.Grant) step {
			return func(h *authtest.House, c auth.Caller) (*auth.Grant, error) {
				_, err := h.Authenticate(t.Context(), c, g.Access)
				return nil, err
			}
		}), auth.TokenInvalid),
		elsewhere(bySession("administrator's access token", "Administrator", func(t *testing.T, h *authtest.House, g *auth.Grant) step {
			tamper(t, h, g.User.ID, func(u *auth.User) { u.Role = "admin" })
			return func(h *authtest.House, c auth.Caller) (*auth.Grant, error) {
				_, err := h.Administrator(t.Context(), c, g.Access)
				return nil, err
			}
		}), auth.TokenInvalid),
		elsewhere(bySession("change of one's own data", "UpdateUser", func(t *testing.T, h *authtest.House, g *auth.Grant) step {
			v := h.View(t, g.Access)
			return func(h *authtest.House, c auth.Caller) (*auth.Grant, error) {
				_, err := h.UpdateUser(t.Context(), c, v, auth.Changes{Data: map[string]any{"n": 1}}, authtest.Flow())
				return nil, err
			}
		}), auth.UserGone),
		elsewhere(weak, auth.UserGone),
		elsewhere(accept, auth.ChangeTokenFailed),
		elsewhere(bySession("unlinking an identity", "Unlink", func(t *testing.T, h *authtest.House, g *auth.Grant) step {
			move(t, h, g, annsPhone)
			id := identityOf(t, h, g.User.ID, "phone")
			tamper(t, h, g.User.ID, func(u *auth.User) { u.PhoneVerifiedAt = u.DeletedAt }) // so that the address alone counts
			v := h.View(t, g.Access)
			return func(h *authtest.House, c auth.Caller) (*auth.Grant, error) {
				return nil, h.Unlink(t.Context(), c, v, id)
			}
		}), auth.UserGone),
		out,
	}
}

func signUpEntries() []entry {
	auto := func(p *auth.Policy) { p.Autoconfirm, p.PhoneAutoconfirm = true, true }
	signsUp := func(t *testing.T, n auth.NewUser) step {
		return func(h *authtest.House, c auth.Caller) (*auth.Grant, error) {
			return h.SignUp(t.Context(), c, n, authtest.Flow())
		}
	}
	fresh := func(n auth.NewUser) func(t *testing.T, h *authtest.House) (auth.UserID, step) {
		return func(t *testing.T, _ *authtest.House) (auth.UserID, step) { return auth.UserID{}, signsUp(t, n) }
	}
	setup := entry{name: "first administrator", call: "Setup", chosen: true, ready: func(t *testing.T, h *authtest.House) (auth.UserID, step) {
		link, _, err := h.OfferSetup(t.Context())
		ok(t, "offer", err)
		return auth.UserID{}, func(h *authtest.House, c auth.Caller) (*auth.Grant, error) {
			_, err := h.Setup(t.Context(), c, link, ann, pw)
			return nil, err
		}
	}}
	setup.is = map[string]auth.Code{"another tenant": auth.SetupClosed}
	return []entry{
		{name: "sign-up by mail", call: "SignUp", via: "email", opens: true, makes: true, chosen: true, policy: auto, ready: fresh(auth.NewUser{Email: ann, Password: pw})},
		{name: "sign-up by phone", call: "SignUp", via: "phone", opens: true, makes: true, chosen: true, policy: auto, ready: fresh(auth.NewUser{Phone: annsPhone, Password: pw})},
		{name: "anonymous sign-up", call: "SignUp", opens: true, makes: true, ready: fresh(auth.NewUser{})},
		{name: "asking for a sign-up", call: "SignUp", via: "email", to: ann, asks: true, makes: true, chosen: true, ready: fresh(auth.NewUser{Email: ann, Password: pw})},
		{name: "asking for a sign-up by phone", call: "SignUp", via: "phone", to: annsPhone, asks: true, makes: true, chosen: true, ready: fresh(auth.NewUser{Phone: annsPhone, Password: pw})},
		setup,
	}
}

// asksFor is an entry that ends with a message to ann, who has an address and a
// number, both proved.
func asksFor(name, call, via, to string, ask func(t *testing.T, h *authtest.House, c auth.Caller, v *auth.Viewer) error) entry {
	e := entry{name: "asking for " + name, call: call, via: via, to: to, asks: true}
	e.ready = func(t *testing.T, h *authtest.House) (auth.UserID, step) {
		g := joined(t, h)
		if via == "phone" {
			move(t, h, g, annsPhone)
			h.Clock.Advance(minute)
		}
		v := h.View(t, g.Access)
		return g.User.ID, func(h *authtest.House, c auth.Caller) (*auth.Grant, error) { return nil, ask(t, h, c, v) }
	}
	if via == "session" {
		e.is = map[string]auth.Code{"another tenant": auth.UserGone}
	}
	return e
}

func askEntries() []entry {
	f := authtest.Flow()
	change := func(ch auth.Changes) func(t *testing.T, h *authtest.House, c auth.Caller, v *auth.Viewer) error {
		return func(t *testing.T, h *authtest.House, c auth.Caller, v *auth.Viewer) error {
			_, err := h.UpdateUser(t.Context(), c, v, ch, f)
			return err
		}
	}
	resend := func(k auth.Kind, to string) func(t *testing.T, h *authtest.House, c auth.Caller, v *auth.Viewer) error {
		return func(t *testing.T, h *authtest.House, c auth.Caller, _ *auth.Viewer) error {
			return h.Resend(t.Context(), c, k, to, f)
		}
	}
	code := func(r auth.CodeRequest) func(t *testing.T, h *authtest.House, c auth.Caller, v *auth.Viewer) error {
		return func(t *testing.T, h *authtest.House, c auth.Caller, _ *auth.Viewer) error {
			return h.MagicLink(t.Context(), c, r, f)
		}
	}
	byEmail, byPhone := asksFor("a change of address", "UpdateUser", "session", annsNew, change(newEmail(annsNew))), asksFor("a change of number", "UpdateUser", "session", annsOther, change(newPhone(annsOther)))
	byEmail.is["e-mail closed"], byPhone.is["phone closed"] = auth.EmailDisabled, auth.PhoneDisabled
	return []entry{
		asksFor("a recovery", "Recover", "email", ann, func(t *testing.T, h *authtest.House, c auth.Caller, _ *auth.Viewer) error {
			return h.Recover(t.Context(), c, ann, f)
		}),
		asksFor("a magic link", "MagicLink", "email", ann, code(auth.CodeRequest{Email: ann})),
		asksFor("a code", "MagicLink", "phone", annsPhone, code(auth.CodeRequest{Phone: annsPhone})),
		asksFor("a confirmation again", "Resend", "email", ann, resend(auth.KindConfirmation, ann)),
		asksFor("a change again", "Resend", "email", ann, resend(auth.KindChangeNew, ann)),
		asksFor("a code again", "Resend", "phone", annsPhone, resend(auth.KindSMS, annsPhone)),
		asksFor("a change of number again", "Resend", "phone", annsPhone, resend(auth.KindPhoneChange, annsPhone)),
		asksFor("a reauthentication", "Reauthenticate", "session", ann, func(t *testing.T, h *authtest.House, c auth.Caller, v *auth.Viewer) error {
			return h.Reauthenticate(t.Context(), c, v, f)
		}),
		byEmail, byPhone,
	}
}
