package auth_test

import (
	"strings"
	"testing"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
)

// A key that leaked signs for whoever found it: administrators, too.
func TestThreat_J13_whatALeakedKeySignedIsRefusedOnceItIsReplaced(t *testing.T) {
	h := authtest.New(t)
	node := h.Again(t)
	g := h.Join(t, ann, pw)
	service, err := h.ServiceToken("service_role", time.Hour)
	ok(t, "service token", err)
	_, first := h.Keys()
	h.Clock.Advance(minute)
	ok(t, "rotate", h.RotateKeys(t.Context(), authtest.Operator(), false))
	for _, n := range []*authtest.House{h, node} {
		ok(t, "load", n.LoadKeys(t.Context()))
		lives(t, "an access token before", n, g)
		_, err = n.Administrator(t.Context(), authtest.Caller(), service)
		ok(t, "a service token before", err)
	}
	pending, _ := h.Keys()

	h.Clock.Advance(minute)
	ok(t, "rotate at once", h.RotateKeys(t.Context(), authtest.Operator(), true))
	ok(t, "the other node loads", node.LoadKeys(t.Context()))
	for what, n := range map[string]*authtest.House{"this node": h, "the other node": node, "a third": h.Again(t)} {
		_, err = n.Authenticate(t.Context(), authtest.Caller(), g.Access)
		want(t, what+": the old access token", err, auth.TokenInvalid)
		_, err = n.Administrator(t.Context(), authtest.Caller(), service)
		want(t, what+": the old service token", err, auth.TokenInvalid)
		keys, signing := n.Keys()
		if len(keys) != 1 || signing == first || signing != keys[0].ID {
			t.Errorf("%s: %d keys, %q signs; want one new one", what, len(keys), signing)
		}
		jwks, _ := n.JWKS()
		for _, k := range pending {
			if strings.Contains(string(jwks), k.ID) {
				t.Errorf("%s publishes a key from before", what)
			}
		}
	}
	g = h.Trade(t, g.Refresh) // sessions live on
	lives(t, "the session's next access token", node, g)
	service, err = h.ServiceToken("service_role", time.Hour)
	ok(t, "service token", err)
	_, err = h.Administrator(t.Context(), authtest.Caller(), service)
	ok(t, "a new service token", err)

	h.Clock.Advance(minute)
	ok(t, "rotate as usual", h.RotateKeys(t.Context(), authtest.Operator(), false))
	jwks, _ := h.JWKS()
	if strings.Contains(string(jwks), first) {
		t.Error("the next rotation brings the leaked key back")
	}
}

func TestKeys_newOnesArePickedUpByEveryLoad(t *testing.T) {
	h := authtest.New(t)
	node := h.Again(t)
	for range 3 {
		ok(t, "rotate", h.RotateKeys(t.Context(), authtest.Operator(), false))
		ok(t, "load", node.LoadKeys(t.Context()))
		a, signsA := h.Keys()
		b, signsB := node.Keys()
		if len(a) != len(b) || signsA != signsB {
			t.Errorf("%d keys here, %d there; %s and %s sign", len(a), len(b), signsA, signsB)
		}
		h.Clock.Advance(20 * time.Hour)
	}
}
