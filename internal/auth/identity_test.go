package auth_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/store"
)

func unlink(t *testing.T, h *authtest.House, g *auth.Grant, id auth.IdentityID) error {
	t.Helper()
	return h.Unlink(t.Context(), authtest.Caller(), h.View(t, g.Access), id)
}

func TestUnlink_takesTheContactAndItsProofWithIt(t *testing.T) {
	for _, c := range []struct{ gone, left string }{{"email", "phone"}, {"phone", "email"}} {
		t.Run(c.gone, func(t *testing.T) {
			h := authtest.New(t, easy)
			g := both(t, h)
			ok(t, "a wish for an address", setEmailOf(t, h, g, annsNew))
			ok(t, "a wish for a number", setPhone(t, h, g, annsOther))
			mail, text := h.Mail(t, annsNew), h.SMS(t, annsOther).Code
			ok(t, "unlink", unlink(t, h, g, identityOf(t, h, g.User.ID, c.gone)))
			u := read(t, h, g.User.ID)
			if c.gone == "email" && (u.Email != "" || !u.EmailVerifiedAt.IsZero() || u.NewEmail != "" || u.Phone != annsPhone) {
				t.Errorf("address %q proved %v, wanted %q", u.Email, u.EmailVerifiedAt, u.NewEmail)
			}
			if c.gone == "phone" && (u.Phone != "" || !u.PhoneVerifiedAt.IsZero() || u.NewPhone != "" || u.Email != ann) {
				t.Errorf("number %q proved %v, wanted %q", u.Phone, u.PhoneVerifiedAt, u.NewPhone)
			}
			if first, all := providers(t, u); first != c.left || !cmp.Equal(all, []string{c.left}) || len(u.Identities) != 1 || u.Identities[0].Provider != c.left {
				t.Errorf("provider %q of %q, identities %+v", first, all, u.Identities)
			}
			_, err := h.ByLink(t, mail.Token, auth.KindChangeNew)
			want(t, "the wish by mail", err, auth.LinkFailed)
			_, err = h.BySMS(t, annsOther, text, auth.KindPhoneChange)
			want(t, "the wish by text message", err, auth.CodeFailed)
			if c.gone == "email" {
				_, err = h.ByPassword(t, ann, pw)
				want(t, "the address that is gone", err, auth.InvalidCredentials)
				_, err = byPhonePassword(t, h, annsPhone, pw)
			} else {
				_, err = byPhonePassword(t, h, annsPhone, pw)
				want(t, "the number that is gone", err, auth.InvalidCredentials)
				_, err = h.ByPassword(t, ann, pw)
			}
			ok(t, "what is left", err)
			lives(t, "the session", h, g)
			want(t, "the last one", unlink(t, h, g, identityOf(t, h, g.User.ID, c.left)), auth.LastIdentity)
		})
	}
}

func TestUnlink_refusesWhatIsNotTheirsOrNotAllowed(t *testing.T) {
	h := authtest.New(t)
	g := both(t, h)
	b := h.Join(t, bob, pw)
	want(t, "of another user", unlink(t, h, g, identityOf(t, h, b.User.ID, "email")), auth.IdentityNotFound)
	want(t, "of nobody", unlink(t, h, g, store.NewIdentityID()), auth.IdentityNotFound)
	want(t, "the only one", unlink(t, h, b, identityOf(t, h, b.User.ID, "email")), auth.LastIdentity)
	v := h.View(t, g.Access)
	ok(t, "sign out", h.SignOut(t.Context(), authtest.Caller(), v, auth.Local))
	want(t, "by an ended session", h.Unlink(t.Context(), authtest.Caller(), v, identityOf(t, h, g.User.ID, "email")), auth.SessionGone)

	closed := authtest.New(t, authtest.With(func(p *auth.Policy) { p.LinkingDisabled = true }))
	g = both(t, closed)
	want(t, "where it is closed", unlink(t, closed, g, identityOf(t, closed, g.User.ID, "email")), auth.LinkingDisabled)
	if u := read(t, closed, g.User.ID); u.Email != ann || len(u.Identities) != 2 {
		t.Errorf("user %+v", u)
	}
}

// An identity nobody has proved is no way in: it must not be the one that is
// left.
func TestUnlink_leavesAProvedWayIn(t *testing.T) {
	h := authtest.New(t)
	g := both(t, h)
	tamper(t, h, g.User.ID, func(u *auth.User) { u.PhoneVerifiedAt = u.DeletedAt })
	want(t, "the proved one", unlink(t, h, g, identityOf(t, h, g.User.ID, "email")), auth.LastIdentity)
	lives(t, "the session", h, g)
	ok(t, "the other one", unlink(t, h, g, identityOf(t, h, g.User.ID, "phone")))
}

func TestUnlink_ofBothAtOneInstantLeavesOne(t *testing.T) {
	h := authtest.New(t)
	g := both(t, h)
	ids := []auth.IdentityID{identityOf(t, h, g.User.ID, "email"), identityOf(t, h, g.User.ID, "phone")}
	v := h.View(t, g.Access)
	errs := across(h.Nodes(t, 2), 2, func(h *authtest.House, i int) error { return h.Unlink(t.Context(), authtest.Caller(), v, ids[i]) })
	if diff := cmp.Diff(map[auth.Code]int{"": 1, auth.LastIdentity: 1}, tally(errs)); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if u := read(t, h, g.User.ID); len(u.Identities) != 1 || u.Email == "" && u.Phone == "" {
		t.Errorf("user %+v", u)
	}
}
