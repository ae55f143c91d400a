package auth_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
)

// endings returns the data of the events that tell of ended sessions.
func endings(t *testing.T, h *authtest.House, id auth.UserID) (list []map[string]any) {
	t.Helper()
	for _, e := range h.Events(t, id) {
		if e.Name != string(auth.SignedOut) {
			continue
		}
		var data map[string]any
		ok(t, "data", json.Unmarshal(e.Data, &data))
		data["actor"] = e.Actor
		list = append(list, data)
	}
	return list
}

func TestSignOutUser_endsAllSessionsOfOneUser(t *testing.T) {
	h := authtest.New(t)
	a, b := h.Join(t, ann, pw), h.Enter(t, ann, pw)
	other := h.Join(t, bob, pw)
	n, err := h.SignOutUser(t.Context(), authtest.Operator(), a.User.ID)
	ok(t, "sign out", err)
	if n != 2 {
		t.Errorf("%d sessions ended, want 2", n)
	}
	over(t, "one", h, a)
	over(t, "the other", h, b)
	lives(t, "somebody else's", h, other)
	list := endings(t, h, a.User.ID)
	if len(list) != 2 || list[0]["actor"] != "operator" || list[0]["reason"] != "administrator" {
		t.Errorf("events %v, want two by the operator", list)
	}
	n, err = h.SignOutUser(t.Context(), authtest.Operator(), a.User.ID)
	if n != 0 || err != nil || len(endings(t, h, a.User.ID)) != 2 {
		t.Errorf("once more: %d, %v; want nothing", n, err)
	}
	lives(t, "a new session", h, h.Enter(t, ann, pw))
}

func TestSignOutAll_endsEverySessionOfTheTenantAndTellsOnce(t *testing.T) {
	h := authtest.New(t, authtest.With(autoconfirm))
	people := []*auth.Grant{h.Join(t, ann, pw), h.Enter(t, ann, pw), h.Join(t, bob, pw)}
	there := h.There()
	elsewhere, err := there.SignUp(t.Context(), authtest.Caller(), auth.NewUser{Email: ann, Password: pw}, authtest.Flow())
	ok(t, "another tenant", err)

	n, err := h.SignOutAll(t.Context(), authtest.Operator())
	ok(t, "sign out", err)
	if n != 3 {
		t.Errorf("%d sessions ended, want 3", n)
	}
	for _, g := range people {
		over(t, g.User.Email, h, g)
	}
	_, err = there.Authenticate(t.Context(), authtest.Caller(), elsewhere.Access)
	ok(t, "another tenant's session", err)
	list := endings(t, h, auth.UserID{})
	if len(list) != 1 || list[0]["actor"] != "operator" || list[0]["sessions"] != 3. {
		t.Errorf("events %v, want one of three sessions by the operator", list)
	}
	if own := endings(t, h, people[0].User.ID); len(own) != 0 {
		t.Errorf("ann has %d events of it, want none", len(own))
	}
	lives(t, "a new session", h, h.Enter(t, ann, pw))
}

// A user with thousands of sessions must not hold up every writer.
func TestSignOut_ofManySessionsIsOneEvent(t *testing.T) {
	for _, c := range []struct{ sessions, events int }{{50, 50}, {100, 100}, {150, 1}} {
		t.Run(fmt.Sprint(c.sessions), func(t *testing.T) {
			h := authtest.New(t)
			g := h.Join(t, ann, pw)
			for range c.sessions - 1 {
				g = h.Enter(t, ann, pw)
			}
			ok(t, "sign out", h.SignOut(t.Context(), authtest.Caller(), h.View(t, g.Access), auth.Global))
			over(t, "the last", h, g)
			list := endings(t, h, g.User.ID)
			if len(list) != c.events {
				t.Fatalf("%d events, want %d", len(list), c.events)
			}
			_, counted := list[0]["sessions"]
			if c.events == 1 && list[0]["sessions"] != float64(c.sessions) || counted != (c.events == 1) || list[0]["reason"] != "global" {
				t.Errorf("the event says %v", list[0])
			}
		})
	}
}
