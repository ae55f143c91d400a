package auth_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/notify"
)

func TestRecover_letsInWhoReadsTheMail(t *testing.T) {
	h := authtest.New(t)
	id := h.Join(t, ann, pw).User.ID
	ok(t, "recover", h.Recover(t.Context(), authtest.Caller(), " ANN@example.com ", authtest.Flow()))
	m := h.Mail(t, ann)
	if m.Kind != notify.Recovery {
		t.Errorf("mail of kind %s, want recovery", m.Kind)
	}
	g := h.Follow(t, m.Token)
	if g.User.ID != id {
		t.Errorf("signed in as %s, want %s", g.User.ID, id)
	}
	_, err := h.UpdateUser(t.Context(), authtest.Caller(), h.View(t, g.Access), newPassword(pw2), authtest.Flow())
	ok(t, "new password", err)
	h.Enter(t, ann, pw2)
}

func TestRecover_answersAStrangerTheSameAndMailsNothing(t *testing.T) {
	h := authtest.New(t)
	ok(t, "recover", h.Recover(t.Context(), authtest.Caller(), "nobody@example.com", authtest.Flow()))
	if got := len(h.Mails(t, "nobody@example.com")); got != 0 {
		t.Errorf("%d mails, want none", got)
	}
}

func TestThreat_S17_askingForAResetEndsNothing(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	ok(t, "recover", h.Recover(t.Context(), authtest.Caller(), ann, authtest.Flow()))
	lives(t, "the session", h, g)
	h.Trade(t, g.Refresh)
	h.Enter(t, ann, pw)
	h.Follow(t, h.Mail(t, ann).Token)
	lives(t, "the session once the link was used", h, g)
}

func TestThreat_R13_twentyRequestsAtOneInstantSendOneMail(t *testing.T) {
	h := authtest.New(t)
	h.Join(t, ann, pw)
	h.Clock.Advance(minute)
	before := len(h.Mails(t, ann))
	errs := together(20, func(int) error {
		return h.Recover(t.Context(), authtest.Caller(), ann, authtest.Flow())
	})
	if diff := cmp.Diff(map[auth.Code]int{"": 1, auth.TooSoon: 19}, tally(errs)); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if got := len(h.Mails(t, ann)) - before; got != 1 {
		t.Errorf("%d mails, want 1", got)
	}
}

// A stranger signed up with ann's address and a password of their own. She
// arrives by another door, and the stranger's password must not be hers.
func TestRecover_aClockThatWasSetBackLocksNobodyOut(t *testing.T) {
	h := authtest.New(t)
	h.Join(t, ann, pw)
	h.Clock.Advance(minute)
	ok(t, "recover", h.Recover(t.Context(), authtest.Caller(), ann, authtest.Flow()))
	before := len(h.Mails(t, ann))
	h.Clock.Advance(-time.Hour)
	ok(t, "an hour earlier", h.Recover(t.Context(), authtest.Caller(), ann, authtest.Flow()))
	want(t, "at once again", h.Recover(t.Context(), authtest.Caller(), ann, authtest.Flow()), auth.TooSoon)
	if got := len(h.Mails(t, ann)) - before; got != 1 {
		t.Errorf("%d mails, want 1", got)
	}
}

func TestResend_isClosedWhereMailIs(t *testing.T) {
	h := authtest.New(t)
	_, err := signUp(t, h, ann, pw)
	ok(t, "sign up", err)
	before := len(h.Mails(t, ann))
	h.Clock.Advance(minute)
	closed := h.Again(t, authtest.With(func(p *auth.Policy) { p.EmailDisabled = true }))
	want(t, "resend", closed.Resend(t.Context(), authtest.Caller(), auth.KindConfirmation, ann, authtest.Flow()), auth.EmailDisabled)
	want(t, "to a stranger", closed.Resend(t.Context(), authtest.Caller(), auth.KindConfirmation, bob, authtest.Flow()), auth.EmailDisabled)
	if got := len(h.Mails(t, ann)); got != before {
		t.Errorf("%d mails went out", got-before)
	}
}

func TestThreat_L05_aStrangersPasswordDoesNotOutliveTheOwnersArrival(t *testing.T) {
	for name, arrive := range map[string]func(t *testing.T, h *authtest.House) *auth.Grant{
		"by recovery": func(t *testing.T, h *authtest.House) *auth.Grant {
			ok(t, "recover", h.Recover(t.Context(), authtest.Caller(), ann, authtest.Flow()))
			return h.Follow(t, h.Mail(t, ann).Token)
		},
		"by recovery code": func(t *testing.T, h *authtest.House) *auth.Grant {
			ok(t, "recover", h.Recover(t.Context(), authtest.Caller(), ann, authtest.Flow()))
			g, err := h.ByCode(t, ann, h.Mail(t, ann).Code, auth.KindRecovery)
			ok(t, "code", err)
			return g
		},
		"by magic link": func(t *testing.T, h *authtest.House) *auth.Grant {
			ok(t, "magic link", h.MagicLink(t.Context(), authtest.Caller(), auth.CodeRequest{Email: ann, Create: true}, authtest.Flow()))
			return h.Follow(t, h.Mail(t, ann).Token)
		},
		"by magic link, sent again by the stranger": func(t *testing.T, h *authtest.House) *auth.Grant {
			ok(t, "magic link", h.MagicLink(t.Context(), authtest.Caller(), auth.CodeRequest{Email: ann, Create: true}, authtest.Flow()))
			h.Clock.Advance(minute)
			_, err := signUp(t, h, ann, pw)
			ok(t, "the stranger again", err)
			return h.Follow(t, h.Mail(t, ann).Token)
		},
		"by invitation": func(t *testing.T, h *authtest.House) *auth.Grant {
			_, err := h.Invite(t.Context(), authtest.Operator(), ann, nil, authtest.Flow())
			ok(t, "invite", err)
			return h.Follow(t, h.Mail(t, ann).Token)
		},
		"by an administrator's magic link": func(t *testing.T, h *authtest.House) *auth.Grant {
			m, err := h.MakeLink(t.Context(), authtest.Operator(), auth.LinkRequest{Kind: auth.KindMagicLink, Email: ann}, authtest.Flow())
			ok(t, "make link", err)
			return h.Follow(t, m.Link)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := authtest.New(t)
			_, err := signUp(t, h, ann, pw)
			ok(t, "the stranger signs up", err)
			h.Clock.Advance(minute)
			g := arrive(t, h)
			if g.User.EmailVerifiedAt.IsZero() {
				t.Error("the owner's address is not confirmed")
			}
			_, err = h.ByPassword(t, ann, pw)
			want(t, "the stranger's password", err, auth.InvalidCredentials)
			_, err = h.UpdateUser(t.Context(), authtest.Caller(), h.View(t, g.Access), newPassword(pw2), authtest.Flow())
			ok(t, "the owner chooses a password", err)
			h.Enter(t, ann, pw2)
		})
	}
}

func TestMagicLink_makesAUserWhereThatIsWanted(t *testing.T) {
	h := authtest.New(t)
	ok(t, "without create", h.MagicLink(t.Context(), authtest.Caller(), auth.CodeRequest{Email: ann}, authtest.Flow()))
	if n := len(h.Mails(t, ann)); n != 0 || h.Count(t) != 0 {
		t.Errorf("%d mails, %d users: nobody asked for one to be made", n, h.Count(t))
	}
	telling := h.Again(t, authtest.With(func(p *auth.Policy) { p.Reveal = auth.RevealHint }))
	want(t, "without create, where it is told", telling.MagicLink(t.Context(), authtest.Caller(), auth.CodeRequest{Email: ann}, authtest.Flow()), auth.NoSuchUserForCode)
	h.Clock.Advance(minute)
	ok(t, "with create", h.MagicLink(t.Context(), authtest.Caller(), auth.CodeRequest{Email: ann, Create: true, Data: map[string]any{"n": 1}}, authtest.Flow()))
	g, err := h.ByCode(t, ann, h.Mail(t, ann).Code, auth.KindConfirmation)
	ok(t, "first code", err)
	if got := string(g.User.UserMetadata); got != `{"n":1}` {
		t.Errorf("metadata %s", got)
	}
	h.Clock.Advance(minute)
	ok(t, "again", h.MagicLink(t.Context(), authtest.Caller(), auth.CodeRequest{Email: ann, Create: true, Data: map[string]any{"n": 2}}, authtest.Flow()))
	g, err = h.ByCode(t, ann, h.Mail(t, ann).Code, auth.KindConfirmation, auth.KindMagicLink)
	ok(t, "second code", err)
	if got := string(g.User.UserMetadata); got != `{"n":1}` || h.Count(t) != 1 {
		t.Errorf("metadata %s of one of %d users; a later request changes nothing", got, h.Count(t))
	}
	if diff := cmp.Diff([]string{"otp"}, amr(t, g.Session)); diff != "" {
		t.Errorf("amr (-want +got):\n%s", diff)
	}
}

func TestMagicLink_closedDoors(t *testing.T) {
	for code, policy := range map[auth.Code]func(*auth.Policy){
		auth.SignupDisabled:    func(p *auth.Policy) { p.SignupDisabled = true },
		auth.EmailDisabled:     func(p *auth.Policy) { p.EmailDisabled = true },
		auth.MagicLinkDisabled: func(p *auth.Policy) { p.MagicLinkDisabled = true },
	} {
		h := authtest.New(t, authtest.With(policy), authtest.With(func(p *auth.Policy) { p.Reveal = auth.RevealHint }))
		want(t, "magic link", h.MagicLink(t.Context(), authtest.Caller(), auth.CodeRequest{Email: ann, Create: true}, authtest.Flow()), code)
		if h.Count(t) != 0 {
			t.Errorf("%s: a user was made", code)
		}
	}
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.SignupDisabled = true }))
	ok(t, "magic link, where nobody is told who has an account", h.MagicLink(t.Context(), authtest.Caller(), auth.CodeRequest{Email: ann, Create: true}, authtest.Flow()))
	if n := len(h.Mails(t, ann)); n != 0 || h.Count(t) != 0 {
		t.Errorf("%d mails, %d users, although nobody may sign up", n, h.Count(t))
	}
}

func TestInvite_isAcceptedWithAPassword(t *testing.T) {
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.SignupDisabled = true })) // invitations still work
	u, err := h.Invite(t.Context(), authtest.Operator(), ann, map[string]any{"team": "x"}, authtest.Flow())
	ok(t, "invite", err)
	m := h.Mail(t, ann)
	if m.Kind != notify.Invite || u.InvitedAt.IsZero() {
		t.Errorf("mail of kind %s, invited at %v", m.Kind, u.InvitedAt)
	}
	accept := func(password string) (*auth.Grant, error) {
		return h.SignIn(t.Context(), authtest.Caller(), "emaillink", auth.Input{Token: m.Token, Password: password, Kinds: []auth.Kind{auth.KindInvite}}, false)
	}
	_, err = accept("12345")
	want(t, "with a weak password", err, auth.WeakPassword)
	g, err := accept(pw)
	ok(t, "the refused one burnt nothing", err)
	if g.User.ID != u.ID || g.User.EmailVerifiedAt.IsZero() || string(g.User.UserMetadata) != `{"team":"x"}` {
		t.Errorf("accepted as %+v", g.User)
	}
	h.Enter(t, ann, pw)
	_, err = h.Invite(t.Context(), authtest.Operator(), ann, nil, authtest.Flow())
	want(t, "inviting a confirmed user", err, auth.EmailTaken)
}

func TestInvite_aLeftOverInvitationSetsAPasswordLikeAnyOther(t *testing.T) {
	h := authtest.New(t)
	_, err := h.Invite(t.Context(), authtest.Operator(), ann, nil, authtest.Flow())
	ok(t, "invite", err)
	invitation := h.Mail(t, ann)
	h.Clock.Advance(minute)
	ok(t, "another door", h.MagicLink(t.Context(), authtest.Caller(), auth.CodeRequest{Email: ann}, authtest.Flow()))
	g := h.Follow(t, h.Mail(t, ann).Token)
	_, err = h.SignIn(t.Context(), authtest.Caller(), "emaillink", auth.Input{Token: invitation.Token, Password: pw, Kinds: []auth.Kind{auth.KindInvite}}, false)
	ok(t, "the invitation, later", err)
	over(t, "the session from before the password", h, g)
}

func TestThreat_L05_anInvitationKeepsNothingOfAStrangersSignUp(t *testing.T) {
	h := authtest.New(t)
	_, err := h.SignUp(t.Context(), authtest.Caller(), auth.NewUser{Email: ann, Password: pw, Data: map[string]any{"evil": true, "team": "theirs"}}, authtest.Flow())
	ok(t, "a stranger signs up", err)
	h.Clock.Advance(minute)
	u, err := h.Invite(t.Context(), authtest.Operator(), ann, map[string]any{"team": "x"}, authtest.Flow())
	ok(t, "invite", err)
	is := func(what, data string) {
		t.Helper()
		now := read(t, h, u.ID)
		if got := string(now.UserMetadata); got != data {
			t.Errorf("%s: metadata %s, want %s", what, got, data)
		}
		if len(now.Identities) != 1 || strings.Contains(string(now.Identities[0].Data), "evil") || !strings.Contains(string(now.Identities[0].Data), `"team":"x"`) {
			t.Errorf("%s: identities %+v", what, now.Identities)
		}
	}
	is("invited", `{"team":"x"}`)
	h.Clock.Advance(minute)
	_, err = h.SignUp(t.Context(), authtest.Caller(), auth.NewUser{Email: ann, Password: pw, Data: map[string]any{"evil": true}}, authtest.Flow())
	ok(t, "the stranger comes again", err)
	h.Clock.Advance(minute)
	_, err = h.Invite(t.Context(), authtest.Operator(), ann, nil, authtest.Flow())
	ok(t, "invite again", err)
	is("invited again", `{"team":"x"}`)
	h.Clock.Advance(minute)
	_, err = h.Invite(t.Context(), authtest.Operator(), ann, map[string]any{"desk": 7}, authtest.Flow())
	ok(t, "and with more", err)
	is("invited with more", `{"desk":7,"team":"x"}`)

	g := h.Follow(t, h.Mail(t, ann).Token)
	if g.User.ID != u.ID || !g.User.EmailVerifiedAt.Equal(h.Clock.Now()) {
		t.Errorf("the invitation let %+v in", g.User)
	}
	is("accepted", `{"desk":7,"team":"x"}`)
	_, err = h.ByPassword(t, ann, pw)
	want(t, "the stranger's password", err, auth.InvalidCredentials)

	u, err = h.Invite(t.Context(), authtest.Operator(), bob, nil, authtest.Flow())
	ok(t, "invite", err)
	if got := string(u.UserMetadata); got != "{}" {
		t.Errorf("without data the metadata is %s", got)
	}
}

func TestThreat_L05_anAdministratorsLinkKeepsNothingOfAStrangersSignUp(t *testing.T) {
	h := authtest.New(t)
	_, err := h.SignUp(t.Context(), authtest.Caller(), auth.NewUser{Email: ann, Password: pw, Data: map[string]any{"evil": true}}, authtest.Flow())
	ok(t, "a stranger signs up", err)
	m, err := h.MakeLink(t.Context(), authtest.Operator(), auth.LinkRequest{
		Kind: auth.KindConfirmation, Email: ann, Password: pw2, Data: map[string]any{"team": "x"},
	}, authtest.Flow())
	ok(t, "make a link", err)
	if got := string(read(t, h, m.User.ID).UserMetadata); got != `{"team":"x"}` {
		t.Errorf("metadata %s, want the administrator's", got)
	}
	h.Follow(t, m.Link)
	_, err = h.ByPassword(t, ann, pw)
	want(t, "the stranger's password", err, auth.InvalidCredentials)
	h.Enter(t, ann, pw2)
}

func TestMakeLink_mailsNothingAndWorks(t *testing.T) {
	h := authtest.New(t)
	h.Join(t, bob, pw)
	mails := len(h.Mails(t, bob))
	for _, r := range []auth.LinkRequest{
		{Kind: auth.KindConfirmation, Email: ann, Password: pw},
		{Kind: auth.KindInvite, Email: "guest@example.com"},
		{Kind: auth.KindMagicLink, Email: "new@example.com"}, // becomes a sign-up
		{Kind: auth.KindMagicLink, Email: bob},
		{Kind: auth.KindRecovery, Email: bob},
	} {
		m, err := h.MakeLink(t.Context(), authtest.Operator(), r, authtest.Flow())
		ok(t, string(r.Kind), err)
		if len(m.Code) != 6 {
			t.Errorf("%s: code %q, want six digits", r.Kind, m.Code)
		}
		if g := h.Follow(t, m.Link); g.User.Email != r.Email {
			t.Errorf("%s: signed in as %s, want %s", r.Kind, g.User.Email, r.Email)
		}
		if e := h.Events(t, m.User.ID); e[len(e)-1].Actor == "" {
			t.Errorf("%s: nobody made it", r.Kind)
		}
	}
	h.Enter(t, ann, pw)
	if got := len(h.Mails(t, bob)) + len(h.Mails(t, ann)); got != mails {
		t.Errorf("%d mails went out, want none", got-mails)
	}
	for _, c := range []struct {
		r    auth.LinkRequest
		code auth.Code
	}{
		{auth.LinkRequest{Kind: auth.KindRecovery, Email: "nobody@example.com"}, auth.UserNotFound},
		{auth.LinkRequest{Kind: auth.KindConfirmation, Email: bob, Password: pw}, auth.EmailTaken},
		{auth.LinkRequest{Kind: auth.KindConfirmation, Email: "x@example.com"}, auth.PasswordMissing},
		{auth.LinkRequest{Kind: auth.KindConfirmation, Email: "x@example.com", Password: "12345"}, auth.WeakPassword},
		{auth.LinkRequest{Kind: auth.KindInvite, Email: bob}, auth.EmailTaken},
		{auth.LinkRequest{Kind: auth.KindRecovery, Email: "x"}, auth.EmailInvalid},
	} {
		_, err := h.MakeLink(t.Context(), authtest.Operator(), c.r, authtest.Flow())
		want(t, string(c.r.Kind)+" for "+c.r.Email, err, c.code)
	}
}
