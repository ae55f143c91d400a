package auth_test

import (
	"strings"
	"testing"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
)

// A password of a megabyte is refused before anything is hashed, at every door
// that takes a new one; at sign-in, where a refusal must cost what any other
// does, the hash is not of it.
func TestThreat_D01_aLongPasswordIsNotHashed(t *testing.T) {
	t.Parallel()
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	link, _, err := h.OfferSetup(t.Context())
	ok(t, "the first administrator's link", err)
	for _, long := range []string{strings.Repeat("a", 1025), strings.Repeat("a", 1<<20)} {
		before := h.Hashes()
		_, err = signUp(t, h, "new@example.com", long)
		want(t, "a sign-up", err, auth.PasswordTooLong)
		_, err = signUp(t, h, ann, long)
		want(t, "a sign-up with a taken address", err, auth.PasswordTooLong)
		want(t, "a change", setPassword(t, h, g, newPassword(long)), auth.PasswordTooLong)
		_, err = h.AddUser(t.Context(), authtest.Operator(), auth.UserChanges{Email: ptr("new@example.com"), Password: &long})
		want(t, "an administrator's user", err, auth.PasswordTooLong)
		_, err = h.SetUser(t.Context(), authtest.Operator(), g.User.ID, auth.UserChanges{Password: &long})
		want(t, "an administrator's change", err, auth.PasswordTooLong)
		_, err = h.Setup(t.Context(), authtest.Caller(), link, "root@example.com", long)
		want(t, "the first administrator", err, auth.PasswordTooLong)
		if n := h.Hashes() - before; n != 0 {
			t.Errorf("%d bytes: %d hashes", len(long), n)
		}
	}
	_, err = h.ByPassword(t, ann, strings.Repeat("a", 1<<20))
	want(t, "a sign-in", err, auth.InvalidCredentials)
	h.Enter(t, ann, pw)
}
