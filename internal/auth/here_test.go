package auth_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
)

// askedWithPKCE has ann ask for a link with a challenge and returns its secret.
func askedWithPKCE(t *testing.T, h *authtest.House) string {
	t.Helper()
	h.Join(t, ann, pw)
	h.Clock.Advance(minute)
	f := authtest.Flow()
	f.PKCE = s256(verifier)
	ok(t, "magic link", h.MagicLink(t.Context(), authtest.Caller(), auth.CodeRequest{Email: ann}, f))
	return h.Mail(t, ann).Token
}

func openHere(t *testing.T, h *authtest.House, token string) (*auth.Grant, error) {
	in := auth.Input{Token: token, Kinds: authtest.Kinds(), Here: true}
	return h.SignIn(t.Context(), authtest.Caller(), "emaillink", in, true)
}

func TestHere_aLinkOpenedOnAnotherDeviceSignsInThere(t *testing.T) {
	h := authtest.New(t)
	token := askedWithPKCE(t, h)
	q, err := h.Link(t.Context(), authtest.Caller(), authtest.Kinds(), token)
	ok(t, "the page on the other device", err)
	if q.Device != "authtest" || q.PKCE.Challenge == "" {
		t.Errorf("the page is told %+v", q)
	}
	g, err := openHere(t, h, token)
	ok(t, "here", err)
	if g.AuthCode != "" || g.Access == "" {
		t.Errorf("got a code %q", g.AuthCode)
	}
	lives(t, "the session", h, g)
	_, err = openHere(t, h, token)
	want(t, "again", err, auth.LinkFailed)
	_, err = h.ByLink(t, token, authtest.Kinds()...)
	want(t, "for a code", err, auth.LinkFailed)
}

func TestHere_aStrictHouseHandsOutACodeOnly(t *testing.T) {
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.StrictPKCE = true }))
	g, err := openHere(t, h, askedWithPKCE(t, h))
	ok(t, "open", err)
	if g.Access != "" || g.Refresh != "" || g.AuthCode == "" {
		t.Fatalf("got access %q, code %q", g.Access, g.AuthCode)
	}
	_, err = h.ByAuthCode(t, g.AuthCode, "another verifier, of who found the link in a mailbox they share")
	want(t, "without the verifier", err, auth.VerifierFailed)
	_, err = h.ByAuthCode(t, g.AuthCode, verifier)
	ok(t, "with it", err)
	_, err = h.ByAuthCode(t, g.AuthCode, verifier)
	want(t, "once more", err, auth.FlowNotFound)
}

func TestHere_ofManyDevicesAtOneInstantOneGetsIn(t *testing.T) {
	h := authtest.New(t)
	token := askedWithPKCE(t, h)
	errs := across(h.Nodes(t, 2), 20, func(h *authtest.House, i int) error {
		if i%4 == 0 {
			_, err := h.ByLink(t, token, authtest.Kinds()...)
			return err
		}
		_, err := openHere(t, h, token)
		return err
	})
	if diff := cmp.Diff(map[auth.Code]int{"": 1, auth.LinkFailed: 19}, tally(errs)); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}
