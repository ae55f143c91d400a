package auth_test

import (
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
)

func refresh(t *testing.T, h *authtest.House, token string) (*auth.Grant, error) {
	return h.Refresh(t.Context(), authtest.Caller(), token)
}

func TestRefresh_tradesForASuccessorInTheSameSession(t *testing.T) {
	h := authtest.New(t)
	a := h.Join(t, ann, pw)
	h.Clock.Advance(30 * minute)
	b := h.Trade(t, a.Refresh)
	if b.Refresh == a.Refresh || b.Session.ID != a.Session.ID || b.Access == a.Access {
		t.Errorf("got refresh %q in session %s, want another than %q in %s", b.Refresh, b.Session.ID, a.Refresh, a.Session.ID)
	}
	if want := h.Clock.Now().Add(time.Hour); !b.Expires.Equal(want) {
		t.Errorf("expires %v, want %v", b.Expires, want)
	}
	lives(t, "the new access token", h, b)
}

func TestThreat_R04_twentyRefreshesOfOneTokenGetTheSameSuccessor(t *testing.T) {
	h := authtest.New(t)
	a := h.Join(t, ann, pw)
	var mu sync.Mutex
	got := map[string]int{}
	errs := together(20, func(int) error {
		g, err := refresh(t, h, a.Refresh)
		if err == nil {
			mu.Lock()
			got[g.Refresh]++
			mu.Unlock()
		}
		return err
	})
	ok(t, "refresh", errors.Join(errs...))
	if len(got) != 1 {
		t.Fatalf("%d different successors, want 1", len(got))
	}
	if s := h.Session(t, a.Session.ID); s.Generation != 2 || !s.EndedAt.IsZero() {
		t.Errorf("session at generation %d, ended %v; want 2 and alive", s.Generation, s.EndedAt)
	}
	for token := range got {
		lives(t, "after the successor's own refresh", h, h.Trade(t, token))
	}
}

func TestRefresh_repeatsALostAnswerWhileTheChildIsUnused(t *testing.T) {
	h := authtest.New(t)
	a := h.Join(t, ann, pw)
	b := h.Trade(t, a.Refresh) // the answer never arrives
	h.Clock.Advance(45 * minute)
	again := h.Trade(t, a.Refresh)
	if again.Refresh != b.Refresh {
		t.Errorf("the second answer differs from the first: %q, want %q", again.Refresh, b.Refresh)
	}
	lives(t, "the access token of the second answer", h, again)
	c := h.Trade(t, b.Refresh) // now it is used
	h.Clock.Advance(11 * time.Second)
	_, err := refresh(t, h, a.Refresh)
	want(t, "the parent of a used child", err, auth.RefreshReused)
	over(t, "after that", h, c)
}

func TestRefresh_aSlowTabGetsTheSuccessorWithinTheGrace(t *testing.T) {
	for _, c := range []struct {
		after time.Duration
		code  auth.Code
	}{{9 * time.Second, ""}, {10 * time.Second, ""}, {11 * time.Second, auth.RefreshReused}} {
		t.Run(c.after.String(), func(t *testing.T) {
			h := authtest.New(t)
			a := h.Join(t, ann, pw)
			b := h.Trade(t, a.Refresh)
			third := h.Trade(t, b.Refresh)
			h.Clock.Advance(c.after)
			g, err := refresh(t, h, a.Refresh)
			if c.code != "" {
				want(t, "sibling", err, c.code)
				over(t, "the session", h, third)
				return
			}
			ok(t, "sibling", err)
			if g.Refresh != b.Refresh {
				t.Errorf("got %q, want the successor it always had, %q", g.Refresh, b.Refresh)
			}
			lives(t, "the session", h, third)
		})
	}
}

func TestRefresh_twoGenerationsBackIsNoSiblingEvenWithinTheGrace(t *testing.T) {
	h := authtest.New(t)
	a := h.Join(t, ann, pw)
	g := a
	for range 3 {
		g = h.Trade(t, g.Refresh)
	}
	_, err := refresh(t, h, a.Refresh)
	want(t, "great-grandparent", err, auth.RefreshReused)
	over(t, "the session", h, g)
}

func TestThreat_R07_reuseEndsTheSessionAlthoughTheCallerIsRefused(t *testing.T) {
	h := authtest.New(t)
	a := h.Join(t, ann, pw)
	other := h.Enter(t, ann, pw)
	b := h.Trade(t, a.Refresh)
	c := h.Trade(t, b.Refresh)
	h.Clock.Advance(minute)
	_, err := refresh(t, h, a.Refresh)
	want(t, "replay", err, auth.RefreshReused)
	over(t, "the newest token", h, c)
	_, err = h.Authenticate(t.Context(), authtest.Caller(), a.Access)
	want(t, "the oldest access token", err, auth.SessionGone)
	lives(t, "another session of the user", h, other)

	s := h.Session(t, a.Session.ID)
	if s.EndedAt.IsZero() || s.EndReason == "" {
		t.Errorf("the session is not marked as ended: %+v", s)
	}
	e := h.Events(t, a.User.ID)[0]
	var data map[string]any
	ok(t, "event data", json.Unmarshal(e.Data, &data))
	if e.Name != string(auth.ReuseDetected) || e.SessionID != a.Session.ID || e.Actor == "" {
		t.Errorf("newest event is %s of session %s by %q; want the reuse", e.Name, e.SessionID, e.Actor)
	}
	if diff := cmp.Diff(map[string]any{"generation": 1.0, "newest": 3.0}, data); diff != "" {
		t.Errorf("event data (-want +got):\n%s", diff)
	}
}

func TestThreat_R05_rotationsWithinOneInstantAreToldApart(t *testing.T) {
	h := authtest.New(t)
	tokens := []string{h.Join(t, ann, pw).Refresh}
	for range 5 { // the clock stands still
		tokens = append(tokens, h.Trade(t, tokens[len(tokens)-1]).Refresh)
	}
	seen := map[string]bool{}
	for _, token := range tokens {
		seen[token] = true
	}
	if len(seen) != 6 {
		t.Fatalf("%d different tokens, want 6", len(seen))
	}
	if g := h.Trade(t, tokens[4]); g.Refresh != tokens[5] {
		t.Error("the parent's successor changed")
	}
	_, err := refresh(t, h, tokens[1])
	want(t, "an old one of the same instant", err, auth.RefreshReused)
}

func TestThreat_R06_aRestartForgetsNoGeneration(t *testing.T) {
	h := authtest.New(t)
	a := h.Join(t, ann, pw)
	b := h.Trade(t, a.Refresh)

	h = h.Again(t)
	lives(t, "the access token after a restart", h, b)
	if g := h.Trade(t, a.Refresh); g.Refresh != b.Refresh {
		t.Error("after a restart the successor is another")
	}
	c := h.Trade(t, b.Refresh)
	h.Clock.Advance(minute)

	h = h.Again(t)
	_, err := refresh(t, h, a.Refresh)
	want(t, "replay after a restart", err, auth.RefreshReused)
	over(t, "the session", h.Again(t), c)
}

func TestThreat_R09_noRefreshSurvivesASignOutBesideIt(t *testing.T) {
	for round := range 10 {
		h := authtest.New(t)
		a := h.Join(t, ann, pw)
		v := h.View(t, a.Access)
		var mu sync.Mutex
		got := []*auth.Grant{a}
		errs := together(8, func(i int) error {
			if i == round%8 {
				return h.SignOut(t.Context(), authtest.Caller(), v, auth.Local)
			}
			g, err := refresh(t, h, a.Refresh)
			if err == nil {
				mu.Lock()
				got = append(got, g)
				mu.Unlock()
				return nil
			}
			if auth.CodeOf(err) == auth.RefreshNotFound {
				return nil
			}
			return err
		})
		ok(t, "race", errors.Join(errs...))
		for _, g := range got {
			over(t, "after the sign-out", h, g)
		}
	}
}

func TestRefresh_oldGenerationAfterSignOutIsNotFound(t *testing.T) {
	h := authtest.New(t)
	a := h.Join(t, ann, pw)
	b := h.Trade(t, a.Refresh)
	c := h.Trade(t, b.Refresh)
	ok(t, "sign out", h.SignOut(t.Context(), authtest.Caller(), h.View(t, c.Access), auth.Local))
	for _, g := range []*auth.Grant{a, b, c} {
		_, err := refresh(t, h, g.Refresh)
		want(t, "refresh", err, auth.RefreshNotFound)
	}
	if got := names(h, t, a.User.ID); got[len(got)-1] != auth.SignedOut {
		t.Errorf("newest event %s, want no second verdict on an ended session", got[len(got)-1])
	}
}

func TestRefresh_ofAStateFromBeforeARestoredBackupEndsNothing(t *testing.T) {
	h := authtest.New(t)
	a := h.Join(t, ann, pw)
	b := h.Trade(t, a.Refresh)
	c := h.Trade(t, b.Refresh)
	other := authtest.New(t, func(o *auth.Options) { o.Root = h.Root }) // knows nothing of the session
	_, err := refresh(t, other, c.Refresh)
	want(t, "unknown session", err, auth.RefreshNotFound)
}

func TestThreat_S09_aSessionEndsAtItsTimebox(t *testing.T) {
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.SessionTimebox = 90 * minute }))
	a := h.Join(t, ann, pw)
	h.Clock.Advance(60 * minute)
	b := h.Trade(t, a.Refresh)
	if got := b.Expires.Sub(h.Clock.Now()); got != 30*minute || b.TTL != 30*minute {
		t.Errorf("the access token lives %v (said to be %v), want 30 min: no longer than its session", got, b.TTL)
	}
	h.Clock.Advance(30*minute - time.Second)
	lives(t, "a second before the end", h, b)
	c := h.Trade(t, b.Refresh)
	h.Clock.Advance(time.Second)
	_, err := refresh(t, h, c.Refresh)
	want(t, "refresh at the end", err, auth.SessionExpired)
	_, err = h.Authenticate(t.Context(), authtest.Caller(), c.Access)
	if code := auth.CodeOf(err); code != auth.SessionExpired && code != auth.TokenInvalid {
		t.Errorf("access at the end: %v, want a refusal", err)
	}
}

func TestThreat_S09_anIdleSessionEndsAlsoAtItsRefresh(t *testing.T) {
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.SessionInactivity, p.AccessTTL = 2*time.Hour, 24*time.Hour }))
	a := h.Join(t, ann, pw)
	h.Clock.Advance(2 * time.Hour)
	b := h.Trade(t, a.Refresh) // just in time
	h.Clock.Advance(2 * time.Hour)
	c := h.Trade(t, b.Refresh) // so is this: the use before counts
	h.Clock.Advance(2*time.Hour + time.Second)
	_, err := h.Authenticate(t.Context(), authtest.Caller(), c.Access)
	want(t, "access token of an idle session", err, auth.SessionExpired)
	_, err = refresh(t, h, c.Refresh)
	want(t, "refresh token of an idle session", err, auth.SessionExpired)
	_, err = refresh(t, h, c.Refresh)
	want(t, "the refused refresh counts as no use", err, auth.SessionExpired)
	_, err = refresh(t, h, b.Refresh)
	want(t, "its parent", err, auth.SessionExpired)

	first := h.Enter(t, ann, pw)
	h.Clock.Advance(2*time.Hour + time.Second)
	_, err = refresh(t, h, first.Refresh)
	want(t, "the first refresh of a session that was never used", err, auth.SessionExpired)
}
