package auth_test

import (
	"testing"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/notify"
)

const annsNew = "ann@new.example"

// change asks for a change of ann's address and returns the mails to the
// address she has and to the one she wants.
func change(t *testing.T, h *authtest.House, g *auth.Grant) (current, wanted authtest.Mail) {
	t.Helper()
	u, err := h.UpdateUser(t.Context(), authtest.Caller(), h.View(t, g.Access), newEmail(annsNew), authtest.Flow())
	ok(t, "ask for the change", err)
	if u.Email != ann || u.NewEmail != annsNew {
		t.Fatalf("after asking the address is %q, wanted %q; want %q and %q", u.Email, u.NewEmail, ann, annsNew)
	}
	return h.Mail(t, ann), h.Mail(t, annsNew)
}

func TestEmailChange_needsBothAddressesInEitherOrder(t *testing.T) {
	for _, c := range []struct {
		name     string
		newFirst bool
		byCode   bool
	}{
		{"old then new by link", false, false},
		{"new then old by link", true, false},
		{"old then new by code", false, true},
		{"new then old by code", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := authtest.New(t)
			g := h.Join(t, ann, pw)
			current, wanted := change(t, h, g)
			steps := []struct {
				kind auth.Kind
				mail authtest.Mail
			}{{auth.KindChangeCurrent, current}, {auth.KindChangeNew, wanted}}
			if c.newFirst {
				steps[0], steps[1] = steps[1], steps[0]
			}
			for n, s := range steps {
				var got *auth.Grant
				var err error
				if c.byCode { // typed with the address the mail went to
					got, err = h.ByCode(t, s.mail.To, s.mail.Code, s.kind)
				} else {
					got, err = h.ByLink(t, s.mail.Token, s.kind)
				}
				ok(t, string(s.kind), err)
				first := n == 0
				if got.MorePending != first || (got.Access != "") == first {
					t.Errorf("step %d: more pending %v, access %q", n+1, got.MorePending, got.Access)
				}
				if first && read(t, h, g.User.ID).Email != ann {
					t.Error("one address's word changed the address")
				}
			}
			u := read(t, h, g.User.ID)
			if u.Email != annsNew || u.NewEmail != "" || u.EmailVerifiedAt.IsZero() || len(u.Identities) != 1 || u.Identities[0].Email != annsNew {
				t.Errorf("after the change: %+v", u)
			}
			h.Enter(t, annsNew, pw)
			_, err := h.ByPassword(t, ann, pw)
			want(t, "the old address", err, auth.InvalidCredentials)
		})
	}
}

func TestEmailChange_oneAddressCannotSpeakForBoth(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	_, wanted := change(t, h, g)
	got := h.Follow(t, wanted.Token)
	if !got.MorePending {
		t.Fatal("the new address alone changed it")
	}
	_, err := h.ByLink(t, wanted.Token, authtest.Kinds()...)
	want(t, "the same link again", err, auth.LinkFailed)
	h.Clock.Advance(minute)
	ok(t, "resend", h.Resend(t.Context(), authtest.Caller(), auth.KindChangeNew, ann, authtest.Flow()))
	if again := h.Follow(t, h.Mail(t, annsNew).Token); !again.MorePending || read(t, h, g.User.ID).Email != ann {
		t.Error("two words of the new address changed it")
	}
}

func TestThreat_L11_autoconfirmDoesNotWeakenAChangeOfAddress(t *testing.T) {
	h := authtest.New(t, authtest.With(autoconfirm))
	g := h.Join(t, ann, pw)
	current, wanted := change(t, h, g)
	if got := h.Follow(t, wanted.Token); !got.MorePending || read(t, h, g.User.ID).Email != ann {
		t.Fatal("with autoconfirm the new address alone changed it")
	}
	h.Follow(t, current.Token)
	if got := read(t, h, g.User.ID).Email; got != annsNew {
		t.Errorf("address %q, want %q", got, annsNew)
	}
}

func TestEmailChange_needsOnlyTheNewAddressWhereThePolicySaysSo(t *testing.T) {
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.SecureEmailChange = false }))
	g := h.Join(t, ann, pw)
	mails := len(h.Mails(t, ann))
	_, err := h.UpdateUser(t.Context(), authtest.Caller(), h.View(t, g.Access), newEmail(annsNew), authtest.Flow())
	ok(t, "ask", err)
	if got := len(h.Mails(t, ann)); got != mails {
		t.Errorf("the old address got %d mails, want none", got-mails)
	}
	if got := h.Follow(t, h.Mail(t, annsNew).Token); got.MorePending || got.User.Email != annsNew {
		t.Errorf("more pending %v, address %q", got.MorePending, got.User.Email)
	}
}

func TestEmailChange_byASignedInClient(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	other := h.Join(t, bob, pw)
	current, wanted := change(t, h, g)
	_, err := h.AcceptEmailChange(t.Context(), authtest.Caller(), h.View(t, other.Access), current.Token)
	want(t, "somebody else's session", err, auth.ChangeTokenFailed)
	_, err = h.AcceptEmailChange(t.Context(), authtest.Caller(), h.View(t, g.Access), current.Token)
	want(t, "the token after it was in the wrong hands", err, auth.ChangeTokenFailed)

	h.Clock.Advance(minute)
	current, _ = change(t, h, g)
	_, err = h.AcceptEmailChange(t.Context(), authtest.Caller(), h.View(t, g.Access), wanted.Token)
	want(t, "the token of the first mail", err, auth.ChangeTokenFailed)
	wanted = h.Mail(t, annsNew)
	for _, m := range []authtest.Mail{wanted, current} {
		_, err = h.AcceptEmailChange(t.Context(), authtest.Caller(), h.View(t, g.Access), m.Token)
		ok(t, "accept", err)
	}
	if got := read(t, h, g.User.ID).Email; got != annsNew {
		t.Errorf("address %q, want %q", got, annsNew)
	}
}

func TestEmailChange_toAnAddressThatIsTaken(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	h.Join(t, bob, pw)
	u, err := h.UpdateUser(t.Context(), authtest.Caller(), h.View(t, g.Access), newEmail(bob), authtest.Flow())
	ok(t, "ask", err) // nobody is told who has an account
	if u.NewEmail != bob {
		t.Errorf("the wished address is %q, want %q as with any other", u.NewEmail, bob)
	}
	if m := h.Mail(t, bob); m.Token != "" || m.Code != "" || m.Kind != notify.AddressWanted {
		t.Errorf("the owner of the address is mailed %s with %v, which must open nothing", m.Kind, m.Links)
	}
	telling := h.Again(t, authtest.With(func(p *auth.Policy) { p.Reveal = auth.RevealHint }))
	h.Clock.Advance(minute)
	_, err = telling.UpdateUser(t.Context(), authtest.Caller(), h.View(t, g.Access), newEmail(bob), authtest.Flow())
	want(t, "ask where it is told", err, auth.EmailTaken)
	h.Clock.Advance(minute)

	current, wanted := change(t, h, g)
	h.Follow(t, current.Token)
	other := h.Join(t, annsNew, pw) // meanwhile
	_, err = h.ByLink(t, wanted.Token, authtest.Kinds()...)
	want(t, "finish", err, auth.EmailTaken)
	if a, b := read(t, h, g.User.ID), read(t, h, other.User.ID); a.Email != ann || b.Email != annsNew {
		t.Errorf("addresses %q and %q, want both unchanged", a.Email, b.Email)
	}
	h.Enter(t, ann, pw)
}

func TestEmailChange_toANewWishVoidsTheFirst(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	current, wanted := change(t, h, g)
	h.Follow(t, current.Token) // the old address agreed to the first wish
	_, err := h.UpdateUser(t.Context(), authtest.Caller(), h.View(t, g.Access), newEmail("other@new.example"), authtest.Flow())
	want(t, "another wish at once", err, auth.TooSoon) // or a session would be a way to mail strangers
	h.Clock.Advance(minute)
	_, err = h.UpdateUser(t.Context(), authtest.Caller(), h.View(t, g.Access), newEmail("other@new.example"), authtest.Flow())
	ok(t, "another wish", err)
	_, err = h.ByLink(t, wanted.Token, authtest.Kinds()...)
	want(t, "the link of the first wish", err, auth.LinkFailed)
	if got := h.Follow(t, h.Mail(t, "other@new.example").Token); !got.MorePending {
		t.Error("the old address's yes to one wish counted for another")
	}
}

func TestThreat_L10_linksForTheOldAddressDieWithTheChange(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	h.Clock.Advance(minute)
	ok(t, "recover", h.Recover(t.Context(), authtest.Caller(), ann, authtest.Flow()))
	recovery := h.Mail(t, ann)
	current, wanted := change(t, h, g)
	h.Follow(t, current.Token)
	h.Follow(t, wanted.Token)
	_, err := h.ByLink(t, recovery.Token, authtest.Kinds()...)
	want(t, "the recovery link mailed to the old address", err, auth.LinkFailed)
	for _, email := range []string{ann, annsNew} {
		_, err = h.ByCode(t, email, recovery.Code, auth.KindRecovery)
		want(t, "its code for "+email, err, auth.CodeFailed)
	}

	t.Run("so does an authorization code", func(t *testing.T) {
		h := authtest.New(t)
		code := withPKCE(t, h, s256(verifier))
		current, wanted := change(t, h, h.Enter(t, ann, pw))
		h.Follow(t, current.Token)
		h.Follow(t, wanted.Token)
		_, err := h.ByAuthCode(t, code, verifier)
		want(t, "the code", err, auth.FlowNotFound)
	})
	t.Run("also when nothing else voided them", func(t *testing.T) {
		h := authtest.New(t)
		g := h.Join(t, ann, pw)
		h.Clock.Advance(minute)
		ok(t, "recover", h.Recover(t.Context(), authtest.Caller(), ann, authtest.Flow()))
		m := h.Mail(t, ann)
		tamper(t, h, g.User.ID, func(u *auth.User) { u.Email = annsNew })
		_, err := h.ByLink(t, m.Token, authtest.Kinds()...)
		want(t, "the recovery link mailed to the old address", err, auth.LinkFailed)
	})
	t.Run("also when an administrator moves them", func(t *testing.T) {
		h := authtest.New(t)
		g := h.Join(t, ann, pw)
		h.Clock.Advance(minute)
		ok(t, "recover", h.Recover(t.Context(), authtest.Caller(), ann, authtest.Flow()))
		_, err := h.SetUser(t.Context(), authtest.Operator(), g.User.ID, auth.UserChanges{Email: ptr(annsNew)})
		ok(t, "move", err)
		_, err = h.ByLink(t, h.Mail(t, ann).Token, authtest.Kinds()...)
		want(t, "the recovery link mailed to the old address", err, auth.LinkFailed)

		h = authtest.New(t)
		code := withPKCE(t, h, s256(verifier))
		_, err = h.SetUser(t.Context(), authtest.Operator(), h.Enter(t, ann, pw).User.ID, auth.UserChanges{Email: ptr(annsNew)})
		ok(t, "move", err)
		_, err = h.ByAuthCode(t, code, verifier)
		want(t, "an authorization code from before", err, auth.FlowNotFound)
	})
}

func TestEmailChange_anAdministratorsWishVoidsTheUsers(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	_, wanted := change(t, h, g)
	_, err := h.MakeLink(t.Context(), authtest.Operator(), auth.LinkRequest{Kind: auth.KindChangeCurrent, Email: ann, NewEmail: "other@new.example"}, authtest.Flow())
	ok(t, "make link", err)
	_, err = h.ByLink(t, wanted.Token, authtest.Kinds()...)
	want(t, "the link for the address the user wished for", err, auth.LinkFailed)
	if u := read(t, h, g.User.ID); u.Email != ann || u.EmailChangeProved != 0 {
		t.Errorf("address %q, proved %d; want ann's and none", u.Email, u.EmailChangeProved)
	}
}

func TestThreat_L11_aYesToOneAddressIsNoneToAnother(t *testing.T) {
	const a, b = "a@new.example", "b@new.example"
	link := func(t *testing.T, h *authtest.House, k auth.Kind, to string) string {
		t.Helper()
		m, err := h.MakeLink(t.Context(), authtest.Operator(), auth.LinkRequest{Kind: k, Email: ann, NewEmail: to}, authtest.Flow())
		ok(t, "make link", err)
		return m.Link
	}
	for name, first := range map[string]func(t *testing.T, h *authtest.House, g *auth.Grant) string{
		"asked for by an administrator": func(t *testing.T, h *authtest.House, _ *auth.Grant) string {
			return link(t, h, auth.KindChangeCurrent, a)
		},
		"asked for by the user": func(t *testing.T, h *authtest.House, g *auth.Grant) string {
			current, _ := change(t, h, g)
			return current.Token
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := authtest.New(t)
			g := h.Join(t, ann, pw)
			yes := first(t, h, g)
			wanted := link(t, h, auth.KindChangeNew, b)
			_, err := h.ByLink(t, yes, authtest.Kinds()...)
			want(t, "the old address's yes to the first wish", err, auth.LinkFailed)
			if got := h.Follow(t, wanted); !got.MorePending || read(t, h, g.User.ID).Email != ann {
				t.Fatal("the new address alone changed it")
			}
			h.Follow(t, link(t, h, auth.KindChangeCurrent, b))
			if got := read(t, h, g.User.ID).Email; got != b {
				t.Errorf("after both have said yes to it the address is %q, want %q", got, b)
			}
		})
	}
}

func TestEmailChange_isNotAcceptedForWhoIsOut(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, h *authtest.House, v *auth.Viewer) error{
		"banned": func(t *testing.T, h *authtest.House, v *auth.Viewer) error {
			tamper(t, h, v.User.ID, func(u *auth.User) { u.BannedUntil = h.Clock.Now().Add(time.Hour) })
			return nil
		},
		"banned by an administrator": func(t *testing.T, h *authtest.House, v *auth.Viewer) error {
			_, err := h.SetUser(t.Context(), authtest.Operator(), v.User.ID, auth.UserChanges{BanFor: ptr(time.Hour)})
			return err
		},
		"signed out": func(t *testing.T, h *authtest.House, v *auth.Viewer) error {
			return h.SignOut(t.Context(), authtest.Caller(), v, auth.Local)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.SecureEmailChange = false }))
			g := h.Join(t, ann, pw)
			v := h.View(t, g.Access)
			_, err := h.UpdateUser(t.Context(), authtest.Caller(), v, newEmail(annsNew), authtest.Flow())
			ok(t, "ask", err)
			m := h.Mail(t, annsNew)
			ok(t, "meanwhile", end(t, h, v))
			_, err = h.AcceptEmailChange(t.Context(), authtest.Caller(), v, m.Token)
			if err == nil || auth.CodeOf(err) != auth.SessionGone && auth.CodeOf(err) != auth.UserBanned {
				t.Errorf("accept: %v, want a refusal", err)
			}
			if got := read(t, h, g.User.ID).Email; got != ann {
				t.Errorf("address %q, want %q", got, ann)
			}
		})
	}
}

func TestEmailChange_dataOfTheUserStays(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	v := h.View(t, g.Access)
	_, err := h.UpdateUser(t.Context(), authtest.Caller(), v, auth.Changes{Data: map[string]any{"a": 1, "b": "x"}}, authtest.Flow())
	ok(t, "set", err)
	u, err := h.UpdateUser(t.Context(), authtest.Caller(), v, auth.Changes{Data: map[string]any{"b": nil, "c": true}}, authtest.Flow())
	ok(t, "merge", err)
	if got := string(u.UserMetadata); got != `{"a":1,"c":true}` {
		t.Errorf("metadata %s", got)
	}
	_, err = h.UpdateUser(t.Context(), authtest.Caller(), v, auth.Changes{AppData: map[string]any{"role": "admin"}}, authtest.Flow())
	want(t, "the server's own data", err, auth.NotYours)
	bad := auth.Changes{Data: map[string]any{"z": 1}, Password: ptr("12345")}
	_, err = h.UpdateUser(t.Context(), authtest.Caller(), v, bad, authtest.Flow())
	want(t, "data beside a weak password", err, auth.WeakPassword)
	if got := string(read(t, h, g.User.ID).UserMetadata); got != `{"a":1,"c":true}` {
		t.Errorf("half of a refused change was made: %s", got)
	}
}

// TestThreat_S03_aWishedAddressDiesWithThePassword is the theft of a session by
// somebody who has the address changed, and waits.
func TestThreat_S03_aWishedAddressDiesWithThePassword(t *testing.T) {
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.SecureEmailChange = false }))
	stolen := h.Join(t, ann, pw)
	own := h.Enter(t, ann, pw)
	const thief = "thief@evil.example"
	_, err := h.UpdateUser(t.Context(), authtest.Caller(), h.View(t, stolen.Access), newEmail(thief), authtest.Flow())
	ok(t, "the thief asks", err)
	_, err = h.UpdateUser(t.Context(), authtest.Caller(), h.View(t, own.Access), newPassword(pw2), authtest.Flow())
	ok(t, "the owner changes the password", err)
	_, err = h.ByLink(t, h.Mail(t, thief).Token, authtest.Kinds()...)
	want(t, "the thief's link", err, auth.LinkFailed)

	h.Clock.Advance(2 * time.Minute)
	mails := len(h.Mails(t, thief))
	ok(t, "the thief has it sent again", h.Resend(t.Context(), authtest.Caller(), auth.KindChangeNew, ann, authtest.Flow()))
	if got := len(h.Mails(t, thief)); got != mails {
		t.Errorf("the thief got %d more mails, want none", got-mails)
	}
	if u := read(t, h, own.User.ID); u.Email != ann || u.NewEmail != "" {
		t.Errorf("address %q, wished %q; want ann's and none", u.Email, u.NewEmail)
	}
}
