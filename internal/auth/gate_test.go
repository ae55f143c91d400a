package auth_test

import (
	"slices"
	"testing"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
)

// sessions counts how many a user ever opened.
func sessions(t *testing.T, h *authtest.House, id auth.UserID) (n int) {
	for _, name := range names(h, t, id) {
		if name == auth.SignedIn {
			n++
		}
	}
	return n
}

func TestThreat_S01_aBanEndsEverySessionAtOnce(t *testing.T) {
	h := authtest.New(t)
	a, b := h.Join(t, ann, pw), h.Enter(t, ann, pw)
	other := h.Join(t, bob, pw)
	lives(t, "before", h, a)
	_, err := h.SetUser(t.Context(), authtest.Operator(), a.User.ID, auth.UserChanges{BanFor: ptr(time.Hour)})
	ok(t, "ban", err)
	over(t, "a", h, a)
	over(t, "b", h, b)
	lives(t, "somebody else's", h, other)

	_, err = h.SetUser(t.Context(), authtest.Operator(), a.User.ID, auth.UserChanges{BanFor: ptr(time.Duration(0))})
	ok(t, "lift the ban", err)
	over(t, "a session from before the ban", h, a)
	lives(t, "a new one", h, h.Enter(t, ann, pw))
}

func TestThreat_S01_deletingAUserEndsEverything(t *testing.T) {
	for _, soft := range []bool{true, false} {
		t.Run(map[bool]string{true: "soft", false: "hard"}[soft], func(t *testing.T) {
			h := authtest.New(t)
			g := h.Join(t, ann, pw)
			h.Clock.Advance(minute)
			ok(t, "recover", h.Recover(t.Context(), authtest.Caller(), ann, authtest.Flow()))
			recovery := h.Mail(t, ann)
			ok(t, "delete", h.DropUser(t.Context(), authtest.Operator(), g.User.ID, soft))

			_, err := h.Authenticate(t.Context(), authtest.Caller(), g.Access)
			if code := auth.CodeOf(err); code != auth.UserGone && code != auth.SessionGone {
				t.Errorf("access token: %v", err)
			}
			_, err = h.Refresh(t.Context(), authtest.Caller(), g.Refresh)
			want(t, "refresh token", err, auth.RefreshNotFound)
			_, err = h.ByPassword(t, ann, pw)
			want(t, "password", err, auth.InvalidCredentials)
			_, err = h.ByLink(t, recovery.Token, authtest.Kinds()...)
			want(t, "link", err, auth.LinkFailed)
			_, err = h.ByCode(t, ann, recovery.Code, auth.KindRecovery)
			want(t, "code", err, auth.CodeFailed)

			next := h.Join(t, ann, pw2) // whoever proves the address
			if next.User.ID == g.User.ID {
				t.Error("the new user has the old one's id")
			}
			_, err = h.Authenticate(t.Context(), authtest.Caller(), g.Access)
			if err == nil {
				t.Error("the old token works for the new user")
			}
			got := names(h, t, g.User.ID)
			if !slices.Contains(got, auth.UserDeletedEvent) || !slices.Contains(got, auth.SignedUp) {
				t.Errorf("events of the deleted user: %v; want all of them, to the end", got)
			}
			_, err = h.User(t.Context(), authtest.Operator(), g.User.ID)
			if soft {
				ok(t, "the hollow row", err)
				u := read(t, h, g.User.ID)
				if len(u.Identities) != 0 || u.Phone != "" || string(u.UserMetadata) != "{}" || u.DeletedAt.IsZero() {
					t.Errorf("the row still names a person: %+v", u)
				}
				_, err = h.AddUser(t.Context(), authtest.Operator(), auth.UserChanges{ID: &g.User.ID, Email: ptr("x@example.com")})
				want(t, "the id given out again", err, auth.IDTaken)
			} else {
				want(t, "the row", err, auth.UserNotFound)
			}
		})
	}
}

func TestThreat_S07_aSignOutEndsWhatItsScopeSays(t *testing.T) {
	for _, c := range []struct {
		scope        auth.Scope
		own, sibling bool // live on
	}{
		{auth.Local, false, true},
		{auth.Others, true, false},
		{auth.Global, false, false},
	} {
		t.Run(string(c.scope), func(t *testing.T) {
			h := authtest.New(t)
			own, sibling := h.Join(t, ann, pw), h.Enter(t, ann, pw)
			stranger := h.Join(t, bob, pw)
			ok(t, "sign out", h.SignOut(t.Context(), authtest.Caller(), h.View(t, own.Access), c.scope))
			for _, s := range []struct {
				name  string
				g     *auth.Grant
				lives bool
			}{{"own", own, c.own}, {"sibling", sibling, c.sibling}, {"stranger's", stranger, true}} {
				if s.lives {
					lives(t, s.name, h, s.g)
					h.Trade(t, s.g.Refresh)
				} else {
					over(t, s.name, h, s.g)
				}
			}
			ended := 0
			for _, e := range h.Events(t, own.User.ID) {
				if e.Name == string(auth.SignedOut) {
					ended++
				}
			}
			if wanted := map[auth.Scope]int{auth.Local: 1, auth.Others: 1, auth.Global: 2}[c.scope]; ended != wanted {
				t.Errorf("%d sessions were told to have ended, want %d", ended, wanted)
			}
		})
	}
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	want(t, "another scope", h.SignOut(t.Context(), authtest.Caller(), h.View(t, g.Access), "everything"), auth.InvalidInput)
	lives(t, "the session", h, g)
}

func TestTenant_seesNothingOfAnother(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	there := h.There()
	_, err := there.Authenticate(t.Context(), authtest.Caller(), g.Access)
	if err == nil {
		t.Error("an access token of another tenant works")
	}
	_, err = there.Refresh(t.Context(), authtest.Caller(), g.Refresh)
	want(t, "a refresh token of another tenant", err, auth.RefreshMalformed)
	_, err = there.ByPassword(t, ann, pw)
	want(t, "a password of another tenant", err, auth.InvalidCredentials)
	_, err = there.SignUp(t.Context(), authtest.Caller(), auth.NewUser{Email: ann, Password: pw2}, authtest.Flow())
	ok(t, "the same address there", err)
	lives(t, "ann here", h, h.Enter(t, ann, pw))
}
