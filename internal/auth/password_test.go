package auth_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/bcrypt"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/store"
)

func setPassword(t *testing.T, h *authtest.House, g *auth.Grant, ch auth.Changes) error {
	t.Helper()
	_, err := h.UpdateUser(t.Context(), authtest.Caller(), h.View(t, g.Access), ch, authtest.Flow())
	return err
}

// stored returns the hash of a user's password.
func stored(t *testing.T, h *authtest.House, id auth.UserID) string {
	t.Helper()
	var hash []byte
	err := h.DB.Read(t.Context(), store.TenantID{}, func(tx *store.Tx) (err error) {
		hash, err = tx.PasswordOf(id)
		return err
	})
	ok(t, "stored hash", err)
	return string(hash)
}

func TestSignIn_unknownAddressAndWrongPasswordAreOneAnswerAtOneCost(t *testing.T) {
	h := authtest.New(t)
	h.Join(t, ann, pw)
	_, err := h.Invite(t.Context(), authtest.Operator(), "guest@example.com", nil, authtest.Flow())
	ok(t, "a user without a password", err)
	banned := h.Join(t, bob, pw)
	_, err = h.SetUser(t.Context(), authtest.Operator(), banned.User.ID, auth.UserChanges{BanFor: ptr(time.Hour)})
	ok(t, "ban", err)
	_, err = signUp(t, h, "new@example.com", pw)
	ok(t, "an unconfirmed user", err)

	var texts []string
	for _, c := range []struct{ email, password string }{
		{ann, "wrong"},
		{"nobody@example.com", pw},
		{"guest@example.com", pw},
		{"guest@example.com", ""},
		{bob, "wrong"},
		{"new@example.com", "wrong"},
		{ann, strings.Repeat("a", 1025)},
		{"nobody@example.com", strings.Repeat("a", 1025)},
	} {
		before := h.Hashes()
		_, err := h.ByPassword(t, c.email, c.password)
		want(t, c.email, err, auth.InvalidCredentials)
		if got := h.Hashes() - before; got != 1 {
			t.Errorf("%s: %d hashes, want exactly 1", c.email, got)
		}
		texts = append(texts, err.Error())
	}
	for _, text := range texts {
		if text != texts[0] {
			t.Errorf("two answers that differ: %q and %q", texts[0], text)
		}
	}
}

func TestSignIn_tellsOfABanOnlyAfterTheRightPassword(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	_, err := h.SetUser(t.Context(), authtest.Operator(), g.User.ID, auth.UserChanges{BanFor: ptr(time.Hour)})
	ok(t, "ban", err)
	_, err = h.ByPassword(t, ann, "wrong")
	want(t, "wrong password", err, auth.InvalidCredentials)
	_, err = h.ByPassword(t, ann, pw)
	want(t, "right password", err, auth.UserBanned)
	h.Clock.Advance(time.Hour)
	h.Enter(t, ann, pw)
}

func TestPassword_changeEndsTheOtherSessionsAndVoidsOpenQuestions(t *testing.T) {
	h := authtest.New(t)
	a := h.Join(t, ann, pw)
	b, c := h.Enter(t, ann, pw), h.Enter(t, ann, pw)
	h.Clock.Advance(minute)
	ok(t, "recover", h.Recover(t.Context(), authtest.Caller(), ann, authtest.Flow()))
	recovery := h.Mail(t, ann)
	ok(t, "change", setPassword(t, h, b, newPassword(pw2)))

	over(t, "a", h, a)
	over(t, "c", h, c)
	lives(t, "the session that changed it", h, b)
	h.Trade(t, b.Refresh)
	_, err := h.ByLink(t, recovery.Token, authtest.Kinds()...)
	want(t, "a link mailed before", err, auth.LinkFailed)
	_, err = h.ByCode(t, ann, recovery.Code, auth.KindRecovery)
	want(t, "a code mailed before", err, auth.CodeFailed)
	_, err = h.ByPassword(t, ann, pw)
	want(t, "the old password", err, auth.InvalidCredentials)
	h.Enter(t, ann, pw2)
}

func TestPassword_changeVoidsAnAuthorizationCode(t *testing.T) {
	h := authtest.New(t)
	code := withPKCE(t, h, s256(verifier))
	ok(t, "change", setPassword(t, h, h.Enter(t, ann, pw), newPassword(pw2)))
	_, err := h.ByAuthCode(t, code, verifier)
	want(t, "the code", err, auth.FlowNotFound)
}

func TestPassword_changeMayNeedTheCurrentOne(t *testing.T) {
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.CurrentPW = true }))
	h.Join(t, ann, pw)
	g := h.Enter(t, ann, pw)
	ch := newPassword(pw2)
	want(t, "without", setPassword(t, h, g, ch), auth.CurrentNeeded)
	ch.Current = "wrong"
	want(t, "wrong", setPassword(t, h, g, ch), auth.CurrentWrong)
	ch.Current = pw
	ok(t, "right", setPassword(t, h, g, ch))
	h.Enter(t, ann, pw2)

	ok(t, "recover", h.Recover(t.Context(), authtest.Caller(), ann, authtest.Flow()))
	g = h.Follow(t, h.Mail(t, ann).Token)
	ok(t, "who comes from a mail has forgotten it", setPassword(t, h, g, newPassword("a third one")))
}

func TestPassword_theSameOneIsRefused(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	want(t, "same", setPassword(t, h, g, newPassword(pw)), auth.SamePassword)
	want(t, "weak", setPassword(t, h, g, newPassword("12345")), auth.WeakPassword)
	want(t, "long", setPassword(t, h, g, newPassword(strings.Repeat("a", 1025))), auth.PasswordTooLong)
}

func TestPassword_anOldSessionNeedsACode(t *testing.T) {
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.ReauthenticatePW = true }))
	h.Join(t, ann, pw)
	g := h.Enter(t, ann, pw)
	h.Clock.Advance(24 * time.Hour)
	g = h.Trade(t, g.Refresh)
	h.Clock.Advance(time.Second)
	ch := newPassword(pw2)
	want(t, "without a code", setPassword(t, h, g, ch), auth.ReauthNeeded)
	ch.Nonce = "123456"
	want(t, "a code nobody asked for", setPassword(t, h, g, ch), auth.ReauthFailed)

	ok(t, "ask", h.Reauthenticate(t.Context(), authtest.Caller(), h.View(t, g.Access), auth.Flow{}))
	want(t, "ask again at once", h.Reauthenticate(t.Context(), authtest.Caller(), h.View(t, g.Access), auth.Flow{}), auth.TooSoon)
	m := h.Mail(t, ann)
	if m.Token != "" {
		t.Errorf("the mail carries a link: %q", m.Links)
	}
	ch.Nonce = authtest.WrongCode(m.Code)
	for range 4 {
		want(t, "wrong code", setPassword(t, h, g, ch), auth.ReauthFailed)
	}
	ch.Nonce, ch.Data = m.Code, map[string]any{"n": 1}
	ok(t, "right code", setPassword(t, h, g, ch))
	ch.Password = ptr(pw)
	want(t, "the same code again", setPassword(t, h, g, ch), auth.ReauthFailed)
	h.Enter(t, ann, pw2)

	t.Run("after five wrong ones the right one is refused", func(t *testing.T) {
		h.Clock.Advance(hour) // until when wrong codes are remembered
		g = h.Trade(t, g.Refresh)
		ok(t, "ask", h.Reauthenticate(t.Context(), authtest.Caller(), h.View(t, g.Access), auth.Flow{}))
		m := h.Mail(t, ann)
		ch := auth.Changes{Password: ptr(pw), Nonce: authtest.WrongCode(m.Code), Data: map[string]any{"n": 2}}
		for range 5 {
			want(t, "wrong code", setPassword(t, h, g, ch), auth.ReauthFailed)
		}
		ch.Nonce = m.Code
		want(t, "the right code", setPassword(t, h, g, ch), auth.ReauthFailed)
		if got := string(read(t, h, g.User.ID).UserMetadata); got != `{"n":1}` {
			t.Errorf("metadata %s: half of a refused change was made", got)
		}
	})

	fresh := h.Enter(t, ann, pw2)
	ok(t, "a fresh session", setPassword(t, h, fresh, newPassword(pw)))
}

// Whoever found an old session must not try out its owner's password with it.
func TestThreat_O01_anOldSessionIsNoWayToTryPasswords(t *testing.T) {
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.ReauthenticatePW = true }))
	h.Join(t, ann, pw)
	g := h.Enter(t, ann, pw)
	h.Clock.Advance(24*time.Hour + time.Second)
	g = h.Trade(t, g.Refresh)
	try := func(password, nonce string, code auth.Code) (hashes int) {
		t.Helper()
		before := h.Hashes()
		want(t, "change", setPassword(t, h, g, auth.Changes{Password: &password, Nonce: nonce}), code)
		return h.Hashes() - before
	}
	for _, password := range []string{pw, pw2} {
		if n := try(password, "", auth.ReauthNeeded); n != 0 {
			t.Errorf("without a code %d passwords were hashed, want none", n)
		}
	}
	ok(t, "ask", h.Reauthenticate(t.Context(), authtest.Caller(), h.View(t, g.Access), auth.Flow{}))
	code := h.Mail(t, ann).Code
	wrong := authtest.WrongCode(code)
	if same, other := try(pw, wrong, auth.ReauthFailed), try(pw2, wrong, auth.ReauthFailed); same != other {
		t.Errorf("with a wrong code %d hashes for the right password, %d for another", same, other)
	}
	try(pw, code, auth.SamePassword)
	h.Enter(t, ann, pw)
}

// Nor with the current password, where the operator asks for that too.
func TestThreat_O01_aMadeUpCodeHidesWhetherTheCurrentPasswordIsRight(t *testing.T) {
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.ReauthenticatePW, p.CurrentPW = true, true }))
	h.Join(t, ann, pw)
	g := h.Enter(t, ann, pw)
	h.Clock.Advance(24*time.Hour + time.Second)
	g = h.Trade(t, g.Refresh)
	next := "a new password"
	for _, current := range []string{pw, pw2} {
		err := setPassword(t, h, g, auth.Changes{Password: &next, Current: current, Nonce: "000000"})
		want(t, "with a code nobody sent", err, auth.ReauthFailed)
	}
	ok(t, "ask", h.Reauthenticate(t.Context(), authtest.Caller(), h.View(t, g.Access), auth.Flow{}))
	err := setPassword(t, h, g, auth.Changes{Password: &next, Current: pw2, Nonce: h.Mail(t, ann).Code})
	want(t, "with the mailed code and another password", err, auth.CurrentWrong)
}

func TestPassword_changedWhileTheOldOneIsChecked(t *testing.T) {
	t.Run("the old one does not sign in", func(t *testing.T) {
		h := authtest.New(t)
		g := h.Join(t, ann, pw)
		v := h.View(t, g.Access)
		h.DuringHash(func() {
			_, err := h.UpdateUser(t.Context(), authtest.Caller(), v, newPassword(pw2), authtest.Flow())
			ok(t, "change meanwhile", err)
		})
		_, err := h.ByPassword(t, ann, pw)
		want(t, "sign in with the old one", err, auth.InvalidCredentials)
		h.Enter(t, ann, pw2)
	})
	t.Run("a hash due for renewal does not bring the old one back", func(t *testing.T) {
		h := authtest.New(t)
		id := imported(t, h)
		h.DuringHash(func() {
			_, err := h.SetUser(t.Context(), authtest.Operator(), id, auth.UserChanges{Password: ptr(pw2)})
			ok(t, "change meanwhile", err)
		})
		_, err := h.ByPassword(t, ann, pw)
		want(t, "sign in with the old one", err, auth.InvalidCredentials)
		h.Enter(t, ann, pw2)
	})
	t.Run("the later of two changes is refused", func(t *testing.T) {
		h := authtest.New(t)
		g := h.Join(t, ann, pw)
		other := h.View(t, h.Enter(t, ann, pw).Access)
		h.DuringHash(func() {
			_, err := h.UpdateUser(t.Context(), authtest.Caller(), other, newPassword(pw2), authtest.Flow())
			ok(t, "change meanwhile", err)
		})
		want(t, "change", setPassword(t, h, g, newPassword("a third one")), auth.SessionGone)
		h.Enter(t, ann, pw2)
	})
	t.Run("also of two by one session", func(t *testing.T) {
		h := authtest.New(t)
		v := h.View(t, h.Join(t, ann, pw).Access)
		h.DuringHash(func() {
			_, err := h.UpdateUser(t.Context(), authtest.Caller(), v, newPassword(pw2), authtest.Flow())
			ok(t, "change meanwhile", err)
		})
		_, err := h.UpdateUser(t.Context(), authtest.Caller(), v, newPassword("a third one"), authtest.Flow())
		want(t, "change", err, auth.CurrentWrong)
		h.Enter(t, ann, pw2)
	})
	t.Run("by an administrator", func(t *testing.T) {
		h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.CurrentPW = true }))
		g := h.Join(t, ann, pw)
		ch := newPassword("a third one")
		ch.Current = pw
		h.DuringHash(func() {
			_, err := h.SetUser(t.Context(), authtest.Operator(), g.User.ID, auth.UserChanges{Password: ptr(pw2)})
			ok(t, "change meanwhile", err)
		})
		want(t, "change", setPassword(t, h, g, ch), auth.SessionGone)
		h.Enter(t, ann, pw2)
	})
}

func TestPassword_aSessionThatEndsMeanwhileChangesNothing(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, h *authtest.House, v *auth.Viewer) error{
		"signed out": func(t *testing.T, h *authtest.House, v *auth.Viewer) error {
			return h.SignOut(t.Context(), authtest.Caller(), v, auth.Global)
		},
		"banned": func(t *testing.T, h *authtest.House, v *auth.Viewer) error {
			_, err := h.SetUser(t.Context(), authtest.Operator(), v.User.ID, auth.UserChanges{BanFor: ptr(time.Hour)})
			return err
		},
		"deleted": func(t *testing.T, h *authtest.House, v *auth.Viewer) error {
			return h.DropUser(t.Context(), authtest.Operator(), v.User.ID, true)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := authtest.New(t)
			g := h.Join(t, ann, pw)
			v := h.View(t, g.Access)
			h.DuringHash(func() { ok(t, "end the session", end(t, h, v)) })
			_, err := h.UpdateUser(t.Context(), authtest.Caller(), v, newPassword(pw2), authtest.Flow())
			want(t, "change", err, auth.SessionGone)
			_, err = h.ByPassword(t, ann, pw2)
			want(t, "the new password", err, auth.InvalidCredentials)
		})
	}
}

// imported adds ann with the bcrypt hash of pw.
func imported(t *testing.T, h *authtest.House) auth.UserID {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(pw), bcrypt.MinCost)
	ok(t, "bcrypt", err)
	u, err := h.AddUser(t.Context(), authtest.Operator(), auth.UserChanges{Email: ptr(ann), PasswordHash: ptr(string(hash)), EmailConfirmed: ptr(true)})
	ok(t, "import", err)
	return u.ID
}

func TestPassword_anImportedBcryptHashIsReplacedAtSignIn(t *testing.T) {
	h := authtest.New(t)
	id := imported(t, h)
	_, err := h.ByPassword(t, ann, "wrong")
	want(t, "wrong password", err, auth.InvalidCredentials)
	if got := stored(t, h, id); !strings.HasPrefix(got, "$2a$") {
		t.Errorf("a wrong password replaced the hash: %.12s…", got)
	}
	first := h.Enter(t, ann, pw)
	now := stored(t, h, id)
	if !strings.HasPrefix(now, "$argon2id$") {
		t.Errorf("after the sign-in the hash is %.12s…, want argon2id", now)
	}
	h.Enter(t, ann, pw)
	if stored(t, h, id) != now {
		t.Error("a hash of today was replaced too")
	}
	lives(t, "the session of the first sign-in: it was no change of password", h, first)
	_, err = h.ByPassword(t, ann, "wrong")
	want(t, "wrong password", err, auth.InvalidCredentials)
}

func TestPassword_tenSignInsThatRenewOneHashAllSucceed(t *testing.T) {
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.PasswordFree = 100 })) // each counts as a try until it is right
	imported(t, h)
	errs := together(10, func(int) error {
		_, err := h.ByPassword(t, ann, pw)
		return err
	})
	ok(t, "sign in", errors.Join(errs...))
	h.Enter(t, ann, pw)
}

func TestPassword_aBadHashIsNotImported(t *testing.T) {
	h := authtest.New(t)
	for _, hash := range []string{"plain", "$2x$10$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyzabcde", "$argon2id$v=19$m=4294967295,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA"} {
		_, err := h.AddUser(t.Context(), authtest.Operator(), auth.UserChanges{Email: ptr(ann), PasswordHash: ptr(hash)})
		want(t, hash, err, auth.InvalidInput)
	}
	if h.Count(t) != 0 {
		t.Error("a user was made all the same")
	}
}

func TestPassword_allItsBytesCount(t *testing.T) {
	long := strings.Repeat("a", 1023)
	h := authtest.New(t)
	h.Join(t, ann, long+"x")
	h.Enter(t, ann, long+"x")
	for _, wrong := range []string{long + "y", long, long + "xx", " " + long + "x", strings.ToUpper(long + "x")} {
		_, err := h.ByPassword(t, ann, wrong)
		want(t, "another password", err, auth.InvalidCredentials)
	}
}

func TestPassword_ofTodaysWeakKindIsToldAtSignIn(t *testing.T) {
	h := authtest.New(t)
	h.Join(t, ann, pw)
	strict := h.Again(t, authtest.With(func(p *auth.Policy) { p.MinPassword, p.RequiredCharacters = 20, []string{"0123456789"} }))
	g := strict.Enter(t, ann, pw)
	if diff := cmp.Diff([]string{"length", "characters"}, g.WeakPassword); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
	lives(t, "the session", strict, g)
}
