package auth_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/store"
)

func listed(t *testing.T, h *authtest.House, id auth.UserID, ended bool) (ids []auth.SessionID) {
	t.Helper()
	list, err := h.Sessions(t.Context(), authtest.Caller(), id, ended)
	ok(t, "list", err)
	for _, s := range list {
		if s.UserID != id {
			t.Errorf("session %s is another's", s.ID)
		}
		ids = append(ids, s.ID)
	}
	return ids
}

func TestSessions_areListedNewestFirstAndTheirOwnersOnly(t *testing.T) {
	h := authtest.New(t)
	a := h.Join(t, ann, pw)
	h.Clock.Advance(minute)
	b := h.Enter(t, ann, pw)
	h.Join(t, bob, pw)
	if got, wanted := listed(t, h, a.User.ID, false), []auth.SessionID{b.Session.ID, a.Session.ID}; !slices.Equal(got, wanted) {
		t.Errorf("sessions %v, want %v", got, wanted)
	}
	ok(t, "end", h.EndSession(t.Context(), authtest.Caller(), a.User.ID, a.Session.ID))
	over(t, "the ended one", h, a)
	lives(t, "the other", h, b)
	if got := listed(t, h, a.User.ID, false); !slices.Equal(got, []auth.SessionID{b.Session.ID}) {
		t.Errorf("living %v", got)
	}
	if got := listed(t, h, a.User.ID, true); len(got) != 2 {
		t.Errorf("of all %v", got)
	}
	if got := h.Session(t, a.Session.ID).EndReason; got != "ended from another session" {
		t.Errorf("reason %q", got)
	}
	want(t, "end it again", h.EndSession(t.Context(), authtest.Caller(), a.User.ID, a.Session.ID), auth.SessionNotFound)
	if got := h.Session(t, a.Session.ID).EndReason; got != "ended from another session" {
		t.Errorf("a second end made the reason %q", got)
	}
	ok(t, "by an administrator", h.EndSession(t.Context(), authtest.Operator(), a.User.ID, b.Session.ID))
	if got := h.Session(t, b.Session.ID).EndReason; got != "ended by an administrator" {
		t.Errorf("reason %q", got)
	}
	_, err := h.Sessions(t.Context(), authtest.Caller(), store.NewUserID(), false)
	want(t, "of nobody", err, auth.UserNotFound)
}

func TestSessions_ofAnotherUserCannotBeTouched(t *testing.T) {
	h := authtest.New(t)
	a, b := h.Join(t, ann, pw), h.Join(t, bob, pw)
	want(t, "end", h.EndSession(t.Context(), authtest.Caller(), a.User.ID, b.Session.ID), auth.SessionNotFound)
	_, err := h.NameSession(t.Context(), authtest.Caller(), a.User.ID, b.Session.ID, "mine")
	want(t, "name", err, auth.SessionNotFound)
	lives(t, "bob's", h, b)
	if got := h.Session(t, b.Session.ID).Name; got != "" {
		t.Errorf("bob's session is called %q", got)
	}
	want(t, "of nobody", h.EndSession(t.Context(), authtest.Caller(), a.User.ID, store.NewSessionID()), auth.SessionNotFound)
	_, err = h.SessionByID(t.Context(), authtest.Caller(), store.NewSessionID())
	want(t, "by id", err, auth.SessionNotFound)
}

func TestSessions_canBeNamedOnOneLine(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	for _, c := range []struct {
		name, stored string
		code         auth.Code
	}{
		{"  my laptop ", "my laptop", ""},
		{"my laptop", "my laptop", ""}, // the same again
		{strings.Repeat("ä", 100), strings.Repeat("ä", 100), ""},
		{strings.Repeat("a", 101), "", auth.InvalidInput},
		{"two\nlines", "", auth.InvalidInput},
		{"nul\x00", "", auth.InvalidInput},
		{"", "", ""},
	} {
		s, err := h.NameSession(t.Context(), authtest.Caller(), g.User.ID, g.Session.ID, c.name)
		if codeOf(err) != c.code {
			t.Fatalf("%q: %v, want %q", c.name, err, c.code)
		}
		if err == nil && (s.Name != c.stored || h.Session(t, g.Session.ID).Name != c.stored) {
			t.Errorf("%q is stored as %q", c.name, s.Name)
		}
	}
	ok(t, "sign out", h.SignOut(t.Context(), authtest.Caller(), h.View(t, g.Access), auth.Local))
	_, err := h.NameSession(t.Context(), authtest.Caller(), g.User.ID, g.Session.ID, "late")
	want(t, "an ended one", err, auth.SessionNotFound)
}

func TestSessions_aSignInEndsAllOthersWhereOneIsWanted(t *testing.T) {
	one := authtest.With(func(p *auth.Policy) { p.SingleSession, p.PasswordFree = true, 50 }) // each counts as a try until it is right
	h := authtest.New(t, one)
	a := h.Join(t, ann, pw)
	other := h.Join(t, bob, pw)
	b := h.Enter(t, ann, pw)
	_, err := refresh(t, h, a.Refresh)
	want(t, "the older one's refresh", err, auth.SessionExpired)
	if got := auth.Told(err).Params["reason"]; got != "signed in elsewhere" {
		t.Errorf("reason %v", got)
	}
	_, err = h.Authenticate(t.Context(), authtest.Caller(), a.Access)
	want(t, "the older one's access", err, auth.SessionGone)
	lives(t, "the newer", h, b)
	lives(t, "bob's", h, other)

	errs := across(h.Nodes(t, 3, one), 12, func(h *authtest.House, _ int) error { _, err := h.ByPassword(t, ann, pw); return err })
	for _, err := range errs {
		ok(t, "sign in at one instant", err)
	}
	if got := listed(t, h, a.User.ID, false); len(got) != 1 {
		t.Errorf("%d sessions live after many sign-ins at one instant, want 1", len(got))
	}
}

func TestSessions_withoutADueSecondFactorEndAtTheirLimit(t *testing.T) {
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.LowAAL = 15 * minute }))
	g := h.Join(t, ann, pw)
	plain := h.Join(t, bob, pw)
	tamper(t, h, g.User.ID, func(u *auth.User) { u.VerifiedFactors = 1 })
	h.Clock.Advance(15 * minute)
	lives(t, "at the limit", h, g)
	h.Clock.Advance(time.Microsecond)
	_, err := h.Authenticate(t.Context(), authtest.Caller(), g.Access)
	want(t, "past it", err, auth.SessionExpired)
	_, err = refresh(t, h, g.Refresh)
	want(t, "its refresh", err, auth.SessionExpired)
	lives(t, "of who has no second factor", h, plain)
	lives(t, "a new one", h, h.Enter(t, ann, pw))
}
