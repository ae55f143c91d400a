package auth_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/notify"
)

func autoconfirm(p *auth.Policy) { p.Autoconfirm = true }

func signUp(t *testing.T, h *authtest.House, email, password string) (*auth.Grant, error) {
	return h.SignUp(t.Context(), authtest.Caller(), auth.NewUser{Email: email, Password: password}, authtest.Flow())
}

func TestSignUp_givesNoSessionBeforeTheAddressIsProved(t *testing.T) {
	h := authtest.New(t)
	g, err := signUp(t, h, "Ann@Example.COM", pw)
	ok(t, "sign up", err)
	if g.Access != "" || g.Refresh != "" || g.User.Email != ann || !g.User.EmailVerifiedAt.IsZero() {
		t.Errorf("got access %q, refresh %q, user %q verified %v; want no tokens and ann unverified", g.Access, g.Refresh, g.User.Email, g.User.EmailVerifiedAt)
	}
	_, err = h.ByPassword(t, ann, pw)
	want(t, "sign in before confirming", err, auth.EmailNotConfirmed)

	m := h.Mail(t, ann)
	if m.Kind != notify.Confirmation {
		t.Errorf("mail of kind %s, want confirmation", m.Kind)
	}
	g, err = h.ByCode(t, ann, m.Code, auth.KindConfirmation)
	ok(t, "confirm by code", err)
	if g.User.EmailVerifiedAt.IsZero() || len(g.User.Identities) != 1 {
		t.Errorf("confirmed user has %d identities, verified at %v", len(g.User.Identities), g.User.EmailVerifiedAt)
	}
	h.Enter(t, ann, pw)
	got, wanted := names(h, t, g.User.ID), []auth.EventName{auth.SignedUp, auth.Confirmed, auth.SignedIn, auth.SignedIn}
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestSignUp_withAutoconfirmSignsInAtOnceAndMailsNothing(t *testing.T) {
	h := authtest.New(t, authtest.With(autoconfirm))
	g, err := signUp(t, h, ann, pw)
	ok(t, "sign up", err)
	if v := h.View(t, g.Access); v.User.ID != g.User.ID || v.User.EmailVerifiedAt.IsZero() {
		t.Errorf("the token is %s's, verified at %v; want %s, verified", v.User.ID, v.User.EmailVerifiedAt, g.User.ID)
	}
	if mails := h.Mails(t, ann); len(mails) != 0 {
		t.Errorf("%d mails, want none", len(mails))
	}
	_, err = signUp(t, h, ann, pw2)
	want(t, "a second sign-up", err, auth.AlreadyRegistered)
	_, err = h.ByPassword(t, ann, pw2)
	want(t, "the second's password", err, auth.InvalidCredentials)
}

func TestThreat_L05_twoWhoSignUpWithOneAddressShareNoPassword(t *testing.T) {
	h := authtest.New(t)
	first, err := h.SignUp(t.Context(), authtest.Caller(), auth.NewUser{Email: ann, Password: pw, Data: map[string]any{"n": 1}}, authtest.Flow())
	ok(t, "first", err)
	old := h.Mail(t, ann)
	_, err = signUp(t, h, ann, pw2)
	want(t, "again at once", err, auth.TooSoon)

	h.Clock.Advance(minute - time.Second)
	_, err = signUp(t, h, ann, pw2)
	want(t, "again after 59 s", err, auth.TooSoon)
	if got := len(h.Mails(t, ann)); got != 1 {
		t.Errorf("%d mails within the minute, want 1", got)
	}

	h.Clock.Advance(time.Second)
	second, err := h.SignUp(t.Context(), authtest.Caller(), auth.NewUser{Email: ann, Password: pw2, Data: map[string]any{"n": 2}}, authtest.Flow())
	ok(t, "again after a minute", err)
	if second.User.ID != first.User.ID || h.Count(t) != 1 {
		t.Errorf("second sign-up is user %s of %d, want %s alone", second.User.ID, h.Count(t), first.User.ID)
	}
	fresh := h.Mail(t, ann)
	if fresh.Token == old.Token || len(h.Mails(t, ann)) != 2 {
		t.Error("the second mail is missing or carries the first one's secret")
	}
	_, err = h.ByLink(t, old.Token, auth.KindConfirmation)
	want(t, "the first mail's link", err, auth.LinkFailed)
	g := h.Follow(t, fresh.Token)
	if got := string(read(t, h, g.User.ID).UserMetadata); got != `{"n":1}` {
		t.Errorf("metadata %s, want the first one's", got)
	}
	for _, p := range []string{pw, pw2} { // whose is the owner's cannot be known
		_, err = h.ByPassword(t, ann, p)
		want(t, "a password of two that differ", err, auth.InvalidCredentials)
	}
	chosen := "chosen by whoever reads the mail"
	_, err = h.UpdateUser(t.Context(), authtest.Caller(), h.View(t, g.Access), auth.Changes{Password: &chosen}, authtest.Flow())
	ok(t, "choose a password", err)
	h.Enter(t, ann, chosen)
}

// Within the minute no second mail goes out, but the first may be on its way:
// the owner who clicks it must not open the account for the stranger.
func TestThreat_L05_aConflictWithinTheMinuteCountsToo(t *testing.T) {
	h := authtest.New(t)
	_, err := signUp(t, h, ann, pw) // a stranger
	ok(t, "first", err)
	_, err = signUp(t, h, ann, pw2) // the owner
	want(t, "second", err, auth.TooSoon)
	h.Follow(t, h.Mail(t, ann).Token)
	_, err = h.ByPassword(t, ann, pw)
	want(t, "the stranger's password", err, auth.InvalidCredentials)
}

// The owner may come by the other door within that minute.
func TestThreat_L05_aLinkAskedForWithinTheMinuteCountsToo(t *testing.T) {
	h := authtest.New(t)
	_, err := signUp(t, h, ann, pw) // a stranger
	ok(t, "sign up", err)
	first := h.Mail(t, ann)
	ok(t, "ask for a link", h.MagicLink(t.Context(), authtest.Caller(), auth.CodeRequest{Email: ann, Create: true}, authtest.Flow()))
	second := h.Mail(t, ann)
	_, err = h.ByLink(t, first.Token, authtest.Kinds()...)
	want(t, "the stranger's mail", err, auth.LinkFailed)
	h.Follow(t, second.Token)
	_, err = h.ByPassword(t, ann, pw)
	want(t, "the stranger's password", err, auth.InvalidCredentials)
}

func TestSignUp_againWithTheSamePasswordKeepsIt(t *testing.T) {
	h := authtest.New(t)
	for range 2 {
		_, err := h.SignUp(t.Context(), authtest.Caller(), auth.NewUser{Email: ann, Password: pw}, authtest.Flow())
		ok(t, "sign up", err)
		h.Clock.Advance(minute)
	}
	h.Follow(t, h.Mail(t, ann).Token)
	h.Enter(t, ann, pw)
}

func TestSignUp_hidesThatAnAddressIsTakenAndTellsItsOwner(t *testing.T) {
	h := authtest.New(t)
	owner := h.Join(t, ann, pw).User
	h.Clock.Advance(minute)
	g, err := h.SignUp(t.Context(), authtest.Caller(), auth.NewUser{Email: ann, Password: pw2, Data: map[string]any{"n": 2}}, authtest.Flow())
	ok(t, "sign up again", err)
	if g.User.ID == owner.ID || g.Access != "" || !g.User.EmailVerifiedAt.IsZero() || !g.User.LastSignInAt.IsZero() {
		t.Errorf("the answer gives the owner away: %+v", g.User)
	}
	if string(g.User.UserMetadata) != `{"n":2}` {
		t.Errorf("the ghost's metadata is %s, want what was sent", g.User.UserMetadata)
	}
	_, err = h.User(t.Context(), authtest.Operator(), g.User.ID)
	want(t, "the ghost in the database", err, auth.UserNotFound)
	if h.Count(t) != 1 {
		t.Errorf("%d users, want 1", h.Count(t))
	}
	m := h.Mail(t, ann)
	if m.Kind != notify.AlreadyRegistered || m.Token != "" || m.Code != "" {
		t.Errorf("the owner got %s with token %q and code %q; want already_registered without secrets", m.Kind, m.Token, m.Code)
	}
	h.Enter(t, ann, pw)
	_, err = h.ByPassword(t, ann, pw2)
	want(t, "the stranger's password", err, auth.InvalidCredentials)

	mails := len(h.Mails(t, ann))
	_, err = signUp(t, h, ann, pw2)
	want(t, "once more at once: as an address nobody proved is answered", err, auth.TooSoon)
	if got := len(h.Mails(t, ann)); got != mails {
		t.Errorf("the owner got %d mails, want %d: one a minute", got, mails)
	}
}

// Who measures the time of an answer measures hashes.
func TestThreat_E01_signingUpCostsTheSameWhetherAnAddressIsTakenOrNot(t *testing.T) {
	h := authtest.New(t)
	h.Join(t, ann, pw)
	h.Clock.Advance(minute)
	cost := func(email, password string) int {
		t.Helper()
		before := h.Hashes()
		_, err := signUp(t, h, email, password)
		ok(t, email, err)
		return h.Hashes() - before
	}
	unknown, other := cost("nobody@example.com", pw), cost(ann, pw2)
	h.Clock.Advance(minute)
	if same := cost(ann, pw); unknown != 1 || other != unknown || same != unknown {
		t.Errorf("%d hashes for an unknown address, %d and %d for a confirmed one; want 1 each", unknown, other, same)
	}
	h.Enter(t, ann, pw)
}

// at calls fn at the n-th reading of the clock by the hashing pool, which reads
// it before and after each hash.
func at(h *authtest.House, n int, fn func()) {
	if n > 1 {
		next := fn
		fn = func() { at(h, n-1, next) }
	}
	h.DuringHash(fn)
}

func TestSignUp_keepsThePasswordOfWhoConfirmsMeanwhile(t *testing.T) {
	h := authtest.New(t)
	_, err := signUp(t, h, ann, pw)
	ok(t, "first", err)
	m := h.Mail(t, ann)
	h.Clock.Advance(minute)
	confirmed := false
	at(h, 1, func() { // the old password is about to be compared with the new one
		h.Follow(t, m.Token)
		confirmed = true
	})
	_, err = signUp(t, h, ann, pw2)
	ok(t, "second", err)
	if !confirmed {
		t.Fatal("nothing happened meanwhile")
	}
	h.Enter(t, ann, pw)
}

func TestSignUp_tellsWhereTellingIsAskedFor(t *testing.T) {
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.Reveal = auth.RevealAll }))
	h.Join(t, ann, pw)
	_, err := h.SignUp(t.Context(), authtest.Caller(), auth.NewUser{Email: ann, Password: pw}, authtest.Flow())
	want(t, "sign up again", err, auth.AlreadyRegistered)
}

func TestSignUp_refusesWhatThePolicyRefuses(t *testing.T) {
	long := make([]byte, 1025)
	for i := range long {
		long[i] = 'a'
	}
	for _, c := range []struct {
		name            string
		policy          func(*auth.Policy)
		email, password string
		code            auth.Code
	}{
		{"sign-up is closed", func(p *auth.Policy) { p.SignupDisabled = true }, ann, pw, auth.SignupDisabled},
		{"e-mail is no way in", func(p *auth.Policy) { p.EmailDisabled = true }, ann, pw, auth.EmailDisabled},
		{"no address", nil, "ann", pw, auth.EmailInvalid},
		{"no password", nil, ann, "", auth.PasswordMissing},
		{"five characters", nil, ann, "12345", auth.WeakPassword},
		{"five characters of two bytes", nil, ann, "äöüßé", auth.WeakPassword},
		{"a set of characters is missing", func(p *auth.Policy) { p.RequiredCharacters = []string{"0123456789"} }, ann, pw, auth.WeakPassword},
		{"1,025 bytes", nil, ann, string(long), auth.PasswordTooLong},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := authtest.New(t, func(o *auth.Options) {
				if c.policy != nil {
					c.policy(&o.Policy)
				}
			})
			_, err := signUp(t, h, c.email, c.password)
			want(t, "sign up", err, c.code)
			if h.Count(t) != 0 || h.Hashes() != 0 {
				t.Errorf("%d users and %d hashes, want none", h.Count(t), h.Hashes())
			}
		})
	}
}

func TestThreat_R12_fiftySignUpsOfOneAddressMakeOneUser(t *testing.T) {
	h := authtest.New(t)
	errs := together(50, func(int) error {
		_, err := signUp(t, h, ann, pw)
		return err
	})
	if diff := cmp.Diff(map[auth.Code]int{"": 1, auth.TooSoon: 49}, tally(errs)); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if h.Count(t) != 1 || len(h.Mails(t, ann)) != 1 {
		t.Errorf("%d users and %d mails, want one of each", h.Count(t), len(h.Mails(t, ann)))
	}
	h.Follow(t, h.Mail(t, ann).Token)
	h.Enter(t, ann, pw)
}

func TestThreat_R12_fiftyConfirmedSignUpsOfOneAddressMakeOneUserAndOneSession(t *testing.T) {
	h := authtest.New(t, authtest.With(autoconfirm))
	errs := together(50, func(int) error {
		_, err := signUp(t, h, ann, pw)
		return err
	})
	if diff := cmp.Diff(map[auth.Code]int{"": 1, auth.AlreadyRegistered: 49}, tally(errs)); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if h.Count(t) != 1 {
		t.Errorf("%d users, want 1", h.Count(t))
	}
}
