package auth_test

import (
	"sync"
	"testing"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/storetest"
)

// asking is one thing that anybody can ask for. reads says that nothing is
// written for it.
type asking struct {
	reads bool
	do    func(h *authtest.House) error
}

// everything prepares one asking of each kind, while the database is well.
func everything(t *testing.T, h *authtest.House) map[string]asking {
	t.Helper()
	g := h.Join(t, ann, pw)
	v := h.View(t, g.Access)
	unproved, err := signUp(t, h, "new@example.com", pw)
	ok(t, "sign up", err)
	m := h.Mail(t, "new@example.com")
	code := withPKCEOf(t, h, "pkce@example.com")
	c, op, id := authtest.Caller(), authtest.Operator(), g.User.ID
	email, other := "other@example.com", "another@example.com"
	return map[string]asking{
		"sign up":            {do: func(h *authtest.House) error { _, err := signUp(t, h, other, pw); return err }},
		"sign up again":      {do: func(h *authtest.House) error { _, err := signUp(t, h, unproved.User.Email, pw2); return err }},
		"sign in":            {do: func(h *authtest.House) error { _, err := h.ByPassword(t, ann, pw); return err }},
		"a wrong password":   {do: func(h *authtest.House) error { _, err := h.ByPassword(t, ann, "wrong"); return err }},
		"a code":             {do: func(h *authtest.House) error { _, err := h.ByCode(t, m.To, m.Code, auth.KindConfirmation); return err }},
		"a link":             {do: func(h *authtest.House) error { _, err := h.ByLink(t, m.Token, auth.KindConfirmation); return err }},
		"authorization code": {do: func(h *authtest.House) error { _, err := h.ByAuthCode(t, code, verifier); return err }},
		"look at a link":     {reads: true, do: func(h *authtest.House) error { _, err := h.Link(t.Context(), c, authtest.Kinds(), m.Token); return err }},
		"refresh":            {do: func(h *authtest.House) error { _, err := refresh(t, h, g.Refresh); return err }},
		"authenticate":       {reads: true, do: func(h *authtest.House) error { _, err := h.Authenticate(t.Context(), c, g.Access); return err }},
		"recover":            {do: func(h *authtest.House) error { return h.Recover(t.Context(), c, ann, authtest.Flow()) }},
		"magic link": {do: func(h *authtest.House) error {
			return h.MagicLink(t.Context(), c, auth.CodeRequest{Email: email, Create: true}, authtest.Flow())
		}},
		"resend": {do: func(h *authtest.House) error {
			return h.Resend(t.Context(), c, auth.KindConfirmation, m.To, authtest.Flow())
		}},
		"reauthenticate": {do: func(h *authtest.House) error { return h.Reauthenticate(t.Context(), c, v, auth.Flow{}) }},
		"change data": {do: func(h *authtest.House) error {
			_, err := h.UpdateUser(t.Context(), c, v, auth.Changes{Data: map[string]any{"a": 1}}, authtest.Flow())
			return err
		}},
		"change password": {do: func(h *authtest.House) error {
			_, err := h.UpdateUser(t.Context(), c, v, newPassword(pw2), authtest.Flow())
			return err
		}},
		"change of address": {do: func(h *authtest.House) error {
			_, err := h.UpdateUser(t.Context(), c, v, newEmail(other), authtest.Flow())
			return err
		}},
		"accept a change": {do: func(h *authtest.House) error {
			_, err := h.AcceptEmailChange(t.Context(), c, v, "no such token")
			return err
		}},
		"sign out":         {do: func(h *authtest.House) error { return h.SignOut(t.Context(), c, v, auth.Global) }},
		"offer setup":      {do: func(h *authtest.House) error { _, _, err := h.OfferSetup(t.Context()); return err }},
		"as administrator": {reads: true, do: func(h *authtest.House) error { _, err := h.Administrator(t.Context(), c, g.Access); return err }},
		"invite": {do: func(h *authtest.House) error {
			_, err := h.Invite(t.Context(), op, email, nil, authtest.Flow())
			return err
		}},
		"make a link": {do: func(h *authtest.House) error {
			_, err := h.MakeLink(t.Context(), op, auth.LinkRequest{Kind: auth.KindRecovery, Email: ann}, authtest.Flow())
			return err
		}},
		"list users": {reads: true, do: func(h *authtest.House) error {
			_, _, err := h.Users(t.Context(), op, auth.UserFilter{Limit: 10})
			return err
		}},
		"a user":     {reads: true, do: func(h *authtest.House) error { _, err := h.User(t.Context(), op, id); return err }},
		"by address": {reads: true, do: func(h *authtest.House) error { _, err := h.UserByEmail(t.Context(), op, ann); return err }},
		"events":     {reads: true, do: func(h *authtest.House) error { _, err := h.EventsOf(t.Context(), op, id, 10); return err }},
		"add a user": {do: func(h *authtest.House) error {
			_, err := h.AddUser(t.Context(), op, auth.UserChanges{Email: &email})
			return err
		}},
		"ban": {do: func(h *authtest.House) error {
			_, err := h.SetUser(t.Context(), op, id, auth.UserChanges{BanFor: ptr(time.Hour)})
			return err
		}},
		"delete":       {do: func(h *authtest.House) error { return h.DropUser(t.Context(), op, id, false) }},
		"sign one out": {do: func(h *authtest.House) error { _, err := h.SignOutUser(t.Context(), op, id); return err }},
		"sign all out": {do: func(h *authtest.House) error { _, err := h.SignOutAll(t.Context(), op); return err }},
		"add a webhook": {do: func(h *authtest.House) error {
			_, _, err := h.AddWebhook(t.Context(), op, auth.WebhookChanges{URL: ptr(hookURL)})
			return err
		}},
		"webhooks":      {reads: true, do: func(h *authtest.House) error { _, err := h.Webhooks(t.Context()); return err }},
		"rotate keys":   {do: func(h *authtest.House) error { return h.RotateKeys(t.Context(), op, true) }},
		"the first key": {reads: true, do: func(h *authtest.House) error { return h.LoadKeys(t.Context()) }},
	}
}

// withPKCEOf is withPKCE for another address than ann's.
func withPKCEOf(t *testing.T, h *authtest.House, email string) string {
	t.Helper()
	f := authtest.Flow()
	f.PKCE = s256(verifier)
	_, err := h.SignUp(t.Context(), authtest.Caller(), auth.NewUser{Email: email, Password: pw}, f)
	ok(t, "sign up", err)
	return h.Follow(t, h.Mail(t, email).Token).AuthCode
}

// Whatever is asked of a house whose database is gone is answered «not now», and
// nothing that the callers hold is taken from them.
func TestUnavailable_isWhatEverybodyIsToldAndNobodyIsSignedOut(t *testing.T) {
	for name, begin := range map[string]func(*authtest.Outage, testing.TB){"cut": (*authtest.Outage).Cut, "stalled": (*authtest.Outage).Stall} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "stalled" && storetest.Engine() == "sqlite" {
				return // a file is held or it is not
			}
			h, o := authtest.Frail(t)
			asks := everything(t, h)
			bobs := h.Join(t, bob, pw)
			ok(t, "recover", h.Recover(t.Context(), authtest.Caller(), bob, authtest.Flow()))
			m := h.Mail(t, bob)
			code := withPKCEOf(t, h, "dora@example.com")
			users := h.Count(t)
			writesOnly := h.DB.Engine() == "sqlite" // which is a file, and can be read

			begin(o, t)
			var all sync.WaitGroup
			for what, a := range asks {
				all.Go(func() {
					err := a.do(h)
					told := auth.CodeOf(err)
					switch {
					case a.reads && writesOnly:
						if err != nil && (told == auth.Unavailable || told == auth.Internal) {
							t.Errorf("%s: got %v; reading goes on", what, err)
						}
					case err == nil || told != auth.Unavailable:
						t.Errorf("%s: got %v (%s), want %s", what, err, told, auth.Unavailable)
					case auth.Told(err).RetryAfter < time.Second:
						t.Errorf("%s: told to come back after %v", what, auth.Told(err).RetryAfter)
					}
				})
			}
			for what, fn := range map[string]func() error{ // of what the next lines need
				"bob's refresh": func() error { _, err := refresh(t, h, bobs.Refresh); return err },
				"bob's code":    func() error { _, err := h.ByCode(t, bob, m.Code, auth.KindRecovery); return err },
				"bob's link":    func() error { _, err := h.ByLink(t, m.Token, auth.KindRecovery); return err },
				"dora's code":   func() error { _, err := h.ByAuthCode(t, code, verifier); return err },
			} {
				all.Go(func() { want(t, what, fn(), auth.Unavailable) })
			}
			all.Wait()

			o.Mend(t)
			lives(t, "bob's session", h, bobs)
			next := h.Trade(t, bobs.Refresh)
			if again := h.Trade(t, bobs.Refresh); again.Refresh != next.Refresh {
				t.Error("a refresh that failed moved the session")
			}
			_, err := h.ByCode(t, bob, m.Code, auth.KindRecovery)
			ok(t, "bob's code", err)
			_, err = h.ByAuthCode(t, code, verifier)
			ok(t, "dora's code", err)
			h.Enter(t, ann, pw)
			// Of a commit that was on its way nobody can know; all else is not done.
			if got := h.Count(t); got < users || got > users && name != "stalled" {
				t.Errorf("%d users, want %d: what was answered «not now» is not done", got, users)
			}
		})
	}
}

// Whoever holds the printed link must not be told that somebody else was first.
func TestUnavailable_closesNoSetup(t *testing.T) {
	h, o := authtest.Frail(t)
	link, _, err := h.OfferSetup(t.Context())
	ok(t, "offer setup", err)
	o.Cut(t)
	_, err = h.Setup(t.Context(), authtest.Caller(), link, ann, pw)
	want(t, "setup", err, auth.Unavailable)
	o.Mend(t)
	_, err = h.Setup(t.Context(), authtest.Caller(), link, ann, pw)
	ok(t, "setup, later", err)
}

// A token of a key that was made elsewhere a moment ago is not forged because
// the key cannot be looked up.
func TestUnavailable_callsNoTokenForged(t *testing.T) {
	h, o := authtest.Frail(t)
	g := h.Join(t, ann, pw)
	node := auth.New(auth.Options{DB: h.DB, Root: h.Root, Policy: authtest.Policy()})
	ok(t, "load", node.LoadKeys(t.Context()))
	h.Clock.Advance(minute)
	ok(t, "rotate", h.RotateKeys(t.Context(), authtest.Operator(), true))
	g = h.Trade(t, g.Refresh)
	o.Cut(t)
	_, err := node.Authenticate(t.Context(), authtest.Caller(), g.Access)
	o.Mend(t)
	if h.DB.Engine() == "sqlite" { // which can be read
		ok(t, "a token of a key that was not seen yet", err)
		return
	}
	want(t, "a token of a key that was not seen yet", err, auth.Unavailable)
	h.Clock.Advance(minute)
	_, err = node.Authenticate(t.Context(), authtest.Caller(), g.Access)
	ok(t, "the same, later", err)
}
