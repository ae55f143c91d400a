package auth_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/notify"
)

const annsOther = "4915155555555"

func signUpByPhone(t *testing.T, h *authtest.House, number, password string) (*auth.Grant, error) {
	return h.SignUp(t.Context(), authtest.Caller(), auth.NewUser{Phone: number, Password: password}, authtest.Flow())
}

func byPhonePassword(t *testing.T, h *authtest.House, number, password string) (*auth.Grant, error) {
	return h.SignIn(t.Context(), authtest.Caller(), "password", auth.Input{Phone: number, Password: password}, false)
}

func askSMS(t *testing.T, h *authtest.House, number string, create bool) error {
	return h.MagicLink(t.Context(), authtest.Caller(), auth.CodeRequest{Phone: number, Create: create}, authtest.Flow())
}

// newPhone is a change of number, and no more.
func newPhone(number string) auth.Changes { return auth.Changes{Phone: &number} }

func setPhone(t *testing.T, h *authtest.House, g *auth.Grant, number string) error {
	_, err := h.UpdateUser(t.Context(), authtest.Caller(), h.View(t, g.Access), newPhone(number), authtest.Flow())
	return err
}

// move proves another number for who holds g.
func move(t *testing.T, h *authtest.House, g *auth.Grant, number string) {
	t.Helper()
	ok(t, "ask for the number", setPhone(t, h, g, number))
	_, err := h.BySMS(t, number, h.SMS(t, number).Code, auth.KindPhoneChange)
	ok(t, "prove the number", err)
}

func TestPhone_signUpIsConfirmedByTheCode(t *testing.T) {
	h := authtest.New(t)
	g, err := signUpByPhone(t, h, "+49 151 12345678", pw)
	ok(t, "sign up", err)
	if g.Access != "" || g.User.Phone != annsPhone || !g.User.PhoneVerifiedAt.IsZero() {
		t.Fatalf("before the code: %+v", g)
	}
	_, err = byPhonePassword(t, h, annsPhone, pw)
	want(t, "password before the code", err, auth.PhoneNotConfirmed)
	_, err = byPhonePassword(t, h, annsPhone, pw2)
	want(t, "a wrong password before the code", err, auth.InvalidCredentials)

	m := h.SMS(t, annsPhone)
	if m.Channel != notify.ChannelSMS || len(m.Code) != 6 {
		t.Errorf("message by %q with code %q", m.Channel, m.Code)
	}
	_, err = h.BySMS(t, annsPhone, authtest.WrongCode(m.Code), auth.KindSMS)
	want(t, "a wrong code", err, auth.CodeFailed)
	in, err := h.BySMS(t, annsPhone, m.Code, auth.KindSMS)
	ok(t, "the code", err)
	if in.User.ID != g.User.ID || in.User.PhoneVerifiedAt.IsZero() || len(in.User.Identities) != 1 || in.User.Identities[0].Provider != "phone" {
		t.Errorf("signed in as %+v", in.User)
	}
	if diff := cmp.Diff([]string{"otp"}, amr(t, in.Session)); diff != "" {
		t.Errorf("amr (-want +got):\n%s", diff)
	}
	if c := h.View(t, in.Access).Claims; c.Phone != annsPhone || c.Email != "" || c.IsAnonymous {
		t.Errorf("claims %+v", c)
	}
	_, err = h.BySMS(t, annsPhone, m.Code, auth.KindSMS)
	want(t, "the code again", err, auth.CodeFailed)
	_, err = byPhonePassword(t, h, annsPhone, pw)
	ok(t, "password after the code", err)
	if got, wanted := names(h, t, g.User.ID), []auth.EventName{auth.SignedUp, auth.Confirmed, auth.SignedIn, auth.SignedIn}; !slices.Equal(got, wanted) {
		t.Errorf("events %v, want %v", got, wanted)
	}
}

func TestPhone_signUpAgainAsksAgainAndKeepsNoPasswordOfTwo(t *testing.T) {
	h := authtest.New(t)
	first, err := signUpByPhone(t, h, annsPhone, pw)
	ok(t, "first", err)
	old := h.SMS(t, annsPhone).Code
	_, err = signUpByPhone(t, h, annsPhone, pw2)
	want(t, "at once", err, auth.SMSTooSoon)
	h.Clock.Advance(minute)
	second, err := signUpByPhone(t, h, annsPhone, pw2)
	ok(t, "after a minute", err)
	if second.User.ID != first.User.ID || h.Count(t) != 1 || len(h.Texts(t, annsPhone)) != 2 {
		t.Errorf("user %s of %d, %d messages", second.User.ID, h.Count(t), len(h.Texts(t, annsPhone)))
	}
	next := h.SMS(t, annsPhone).Code
	if next != old {
		_, err = h.BySMS(t, annsPhone, old, auth.KindSMS)
		want(t, "the first code", err, auth.CodeFailed)
	}
	_, err = h.BySMS(t, annsPhone, next, auth.KindSMS)
	ok(t, "the second code", err)
	for _, p := range []string{pw, pw2} {
		_, err = byPhonePassword(t, h, annsPhone, p)
		want(t, "a password of two that differ", err, auth.InvalidCredentials)
	}
}

func TestPhone_signUpWithAProvedNumberTellsItsOwnerAndNobodyElse(t *testing.T) {
	h := authtest.New(t)
	owner := h.JoinByPhone(t, annsPhone, pw)
	h.Clock.Advance(minute)
	g, err := signUpByPhone(t, h, annsPhone, pw2)
	ok(t, "sign up again", err)
	if g.User.ID == owner.User.ID || g.Access != "" || !g.User.PhoneVerifiedAt.IsZero() || h.Count(t) != 1 {
		t.Errorf("the answer gives the owner away: %+v", g.User)
	}
	m := h.SMS(t, annsPhone)
	if m.Kind != notify.Kind(notify.SMSAlreadyRegistered) || m.Code != "" {
		t.Errorf("the owner got %s with code %q", m.Kind, m.Code)
	}
	_, err = byPhonePassword(t, h, annsPhone, pw2)
	want(t, "the stranger's password", err, auth.InvalidCredentials)
	_, err = byPhonePassword(t, h, annsPhone, pw)
	ok(t, "the owner's", err)
}

func TestPhone_autoconfirmSignsInAtOnceAndSendsNothing(t *testing.T) {
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.PhoneAutoconfirm = true }))
	g := h.JoinByPhone(t, annsPhone, pw)
	lives(t, "the session", h, g)
	if len(h.Texts(t, annsPhone)) != 0 || g.User.PhoneVerifiedAt.IsZero() {
		t.Errorf("%d messages; user %+v", len(h.Texts(t, annsPhone)), g.User)
	}
	_, err := signUpByPhone(t, h, annsPhone, pw)
	want(t, "again", err, auth.AlreadyRegistered)
	ok(t, "a change of number", setPhone(t, h, g, annsOther))
	if u := read(t, h, g.User.ID); u.Phone != annsOther || u.NewPhone != "" {
		t.Errorf("number %q, wanted %q; want the change at once", u.Phone, u.NewPhone)
	}
	h.Clock.Advance(minute)
	b := h.JoinByPhone(t, bobsPhone, pw)
	want(t, "a number somebody has", setPhone(t, h, b, annsOther), auth.PhoneTaken)
}

func TestPhone_codeSignsInAndMakesUsersOnlyWhereAsked(t *testing.T) {
	h := authtest.New(t)
	ok(t, "without create", askSMS(t, h, annsPhone, false))
	if got := len(h.Texts(t, annsPhone)); got != 0 || h.Count(t) != 0 {
		t.Errorf("%d messages and %d users for an unknown number", got, h.Count(t))
	}
	h.Clock.Advance(minute)
	ok(t, "with create", askSMS(t, h, annsPhone, true))
	g, err := h.BySMS(t, annsPhone, h.SMS(t, annsPhone).Code, auth.KindSMS)
	ok(t, "the code", err)
	h.Clock.Advance(minute)
	ok(t, "of a known number", askSMS(t, h, annsPhone, false))
	m := h.SMS(t, annsPhone)
	again, err := h.BySMS(t, annsPhone, m.Code, auth.KindSMS)
	ok(t, "its code", err)
	if again.User.ID != g.User.ID || h.Count(t) != 1 {
		t.Errorf("user %s of %d, want %s alone", again.User.ID, h.Count(t), g.User.ID)
	}
	h.Clock.Advance(minute)
	ok(t, "for its expiry", askSMS(t, h, annsPhone, false))
	m = h.SMS(t, annsPhone)
	h.Clock.Advance(10 * minute)
	_, err = h.BySMS(t, annsPhone, m.Code, auth.KindSMS)
	want(t, "a code of ten minutes ago", err, auth.CodeFailed)
}

func TestPhone_closedDoors(t *testing.T) {
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.PhoneDisabled = true }))
	g := h.Join(t, ann, pw)
	_, err := signUpByPhone(t, h, annsPhone, pw)
	want(t, "sign up", err, auth.PhoneDisabled)
	want(t, "ask for a code", askSMS(t, h, annsPhone, true), auth.PhoneDisabled)
	_, err = h.BySMS(t, annsPhone, "123456", auth.KindSMS)
	want(t, "a code", err, auth.PhoneDisabled)
	_, err = byPhonePassword(t, h, annsPhone, pw)
	want(t, "a password", err, auth.PhoneDisabled)
	want(t, "a change of number", setPhone(t, h, g, annsPhone), auth.PhoneDisabled)
	for _, k := range []auth.Kind{auth.KindSMS, auth.KindPhoneChange} {
		want(t, "resend "+string(k), h.Resend(t.Context(), authtest.Caller(), k, annsPhone, authtest.Flow()), auth.PhoneDisabled)
	}
}

func TestPhone_resendSendsANewCode(t *testing.T) {
	h := authtest.New(t)
	_, err := signUpByPhone(t, h, annsPhone, pw)
	ok(t, "sign up", err)
	h.Deliver(t)
	resend := func(k auth.Kind, number string) error {
		return h.Resend(t.Context(), authtest.Caller(), k, number, authtest.Flow())
	}
	want(t, "at once", resend(auth.KindSMS, annsPhone), auth.SMSTooSoon)
	h.Clock.Advance(minute)
	ok(t, "after a minute", resend(auth.KindSMS, annsPhone))
	if got := len(h.Texts(t, annsPhone)); got != 2 {
		t.Fatalf("%d messages, want 2", got)
	}
	g, err := h.BySMS(t, annsPhone, h.SMS(t, annsPhone).Code, auth.KindSMS)
	ok(t, "the new code", err)
	h.Clock.Advance(minute)
	ok(t, "of a proved number", resend(auth.KindSMS, annsPhone))
	ok(t, "of nobody", resend(auth.KindSMS, bobsPhone))
	if a, b := len(h.Texts(t, annsPhone)), len(h.Texts(t, bobsPhone)); a != 2 || b != 0 {
		t.Errorf("%d and %d messages, want 2 and none", a, b)
	}

	ok(t, "change", setPhone(t, h, g, annsOther))
	h.Deliver(t)
	h.Clock.Advance(minute)
	ok(t, "resend the change", resend(auth.KindPhoneChange, annsPhone))
	if got := len(h.Texts(t, annsOther)); got != 2 {
		t.Fatalf("%d messages to the new number, want 2", got)
	}
	_, err = h.BySMS(t, annsOther, h.SMS(t, annsOther).Code, auth.KindPhoneChange)
	ok(t, "its code", err)
}

func TestPhone_changeIsProvedOnceByTheNewNumber(t *testing.T) {
	h := authtest.New(t)
	g := h.JoinByPhone(t, annsPhone, pw)
	h.Clock.Advance(minute)
	ok(t, "ask", setPhone(t, h, g, annsOther))
	if u := read(t, h, g.User.ID); u.Phone != annsPhone || u.NewPhone != annsOther {
		t.Errorf("number %q, wanted %q", u.Phone, u.NewPhone)
	}
	m := h.SMS(t, annsOther)
	_, err := h.BySMS(t, annsPhone, m.Code, auth.KindPhoneChange)
	want(t, "with the old number", err, auth.CodeFailed)
	_, err = h.BySMS(t, annsOther, m.Code, auth.KindSMS)
	want(t, "as a sign-in", err, auth.CodeFailed)
	in, err := h.BySMS(t, annsOther, m.Code, auth.KindPhoneChange)
	ok(t, "with the new number", err)
	if in.User.ID != g.User.ID || in.User.Phone != annsOther || in.User.NewPhone != "" {
		t.Errorf("user %+v", in.User)
	}
	_, err = h.BySMS(t, annsOther, m.Code, auth.KindPhoneChange)
	want(t, "again", err, auth.CodeFailed)
	_, err = byPhonePassword(t, h, annsPhone, pw)
	want(t, "the old number", err, auth.InvalidCredentials)
	_, err = byPhonePassword(t, h, annsOther, pw)
	ok(t, "the new number", err)
	if got := names(h, t, g.User.ID); !slices.Contains(got, auth.PhoneChangeAsked) || !slices.Contains(got, auth.PhoneChanged) {
		t.Errorf("events %v", got)
	}
}

func TestPhone_changeToATakenNumberLooksLikeAnyOtherAndCallsNobody(t *testing.T) {
	h := authtest.New(t)
	h.JoinByPhone(t, bobsPhone, pw)
	g := h.JoinByPhone(t, annsPhone, pw)
	h.Clock.Advance(minute)
	ok(t, "ask for bob's", setPhone(t, h, g, bobsPhone))
	if u := read(t, h, g.User.ID); u.NewPhone != bobsPhone || u.Phone != annsPhone {
		t.Errorf("number %q, wanted %q", u.Phone, u.NewPhone)
	}
	h.Clock.Advance(minute)
	ok(t, "resend it", h.Resend(t.Context(), authtest.Caller(), auth.KindPhoneChange, annsPhone, authtest.Flow()))
	if got := len(h.Texts(t, bobsPhone)); got != 1 {
		t.Errorf("bob got %d messages, want that of his sign-up alone", got)
	}
	h = authtest.New(t, authtest.With(func(p *auth.Policy) { p.Reveal = auth.RevealHint }))
	h.JoinByPhone(t, bobsPhone, pw)
	g = h.JoinByPhone(t, annsPhone, pw)
	h.Clock.Advance(minute)
	want(t, "where it is told", setPhone(t, h, g, bobsPhone), auth.PhoneTaken)
}

func TestPhone_aNumberTakenMeanwhileIsNotProved(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	ok(t, "ask", setPhone(t, h, g, annsOther))
	code := h.SMS(t, annsOther).Code
	h.Clock.Advance(minute)
	h.JoinByPhone(t, annsOther, pw2)
	_, err := h.BySMS(t, annsOther, code, auth.KindPhoneChange)
	want(t, "the code", err, auth.PhoneTaken)
	if u := read(t, h, g.User.ID); u.Phone != "" {
		t.Errorf("the number is %q", u.Phone)
	}
}

func TestPhone_aNewPasswordVoidsAPendingChange(t *testing.T) {
	h := authtest.New(t)
	g := h.JoinByPhone(t, annsPhone, pw)
	h.Clock.Advance(minute)
	ok(t, "ask", setPhone(t, h, g, annsOther))
	m := h.SMS(t, annsOther)
	ok(t, "new password", setPassword(t, h, g, newPassword(pw2)))
	_, err := h.BySMS(t, annsOther, m.Code, auth.KindPhoneChange)
	want(t, "the code", err, auth.CodeFailed)
	h.Clock.Advance(minute)
	ok(t, "resend", h.Resend(t.Context(), authtest.Caller(), auth.KindPhoneChange, annsPhone, authtest.Flow()))
	if got := len(h.Texts(t, annsOther)); got != 1 {
		t.Errorf("%d messages to the number, want 1", got)
	}
}

func TestPhone_reauthenticationBySMS(t *testing.T) {
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.ReauthenticatePW = true }))
	g := h.JoinByPhone(t, annsPhone, pw)
	h.Clock.Advance(25 * hour)
	g = h.Trade(t, g.Refresh)
	want(t, "without a code", setPassword(t, h, g, newPassword(pw2)), auth.ReauthNeeded)
	ok(t, "ask", h.Reauthenticate(t.Context(), authtest.Caller(), h.View(t, g.Access), authtest.Flow()))
	code := h.SMS(t, annsPhone).Code
	ch := newPassword(pw2)
	ch.Nonce = authtest.WrongCode(code)
	want(t, "a wrong code", setPassword(t, h, g, ch), auth.ReauthFailed)
	_, err := h.BySMS(t, annsPhone, code, auth.KindReauth, auth.KindSMS)
	want(t, "as a sign-in", err, auth.CodeFailed)
	ch.Nonce = code
	ok(t, "the code", setPassword(t, h, g, ch))
	ch.Password = ptr("yet another")
	want(t, "the code again", setPassword(t, h, g, ch), auth.ReauthFailed)
}

func TestPhone_formsOfOneNumberAreOneNumber(t *testing.T) {
	h := authtest.New(t)
	h.JoinByPhone(t, annsPhone, pw)
	for _, s := range []string{"+4915112345678", "4915112345678", "+49 151 12345678", " 49 15112345678"} {
		got, err := auth.CleanPhone(s)
		ok(t, s, err)
		if got != annsPhone {
			t.Errorf("%q is %q, want %s", s, got, annsPhone)
		}
		g, err := signUpByPhone(t, h, s, pw2)
		if err == nil && (h.Count(t) != 1 || g.Access != "") {
			t.Errorf("%q became a second user", s)
		}
	}
	for _, s := range []string{"+", "0151 1234567", "++4915112345678", "+49151123456789012", "+49-151-12345678", "+49 (151) 12345678", "49151abc45678", "+٤٩١٥١١٢٣٤٥٦٧٨", "4915112345678\n5", "+49+15112345678", "tel:+4915112345678"} {
		_, err := auth.CleanPhone(s)
		want(t, s, err, auth.PhoneInvalid)
		_, err = signUpByPhone(t, h, s, pw)
		want(t, "sign up with "+s, err, auth.PhoneInvalid)
	}
	_, err := h.SignUp(t.Context(), authtest.Caller(), auth.NewUser{Email: ann, Phone: annsPhone, Password: pw}, authtest.Flow())
	want(t, "an address and a number", err, auth.InvalidInput)
}

func TestPhone_aMessageThatCannotBeSentLeavesNothingHalfMade(t *testing.T) {
	refused := &notify.PermanentError{Err: errors.New("no such number")}
	for name, ask := range map[string]func(t *testing.T, h *authtest.House) error{
		"sign-up":     func(t *testing.T, h *authtest.House) error { _, err := signUpByPhone(t, h, annsPhone, pw); return err },
		"code":        func(t *testing.T, h *authtest.House) error { return askSMS(t, h, annsPhone, true) },
		"and expired": func(t *testing.T, h *authtest.House) error { _, err := signUpByPhone(t, h, annsPhone, pw); return err },
	} {
		t.Run(name, func(t *testing.T) {
			h := authtest.New(t)
			h.RefuseTexts(refused)
			if name == "and expired" {
				h.RefuseTexts(errors.New("not now"))
			}
			ok(t, "ask", ask(t, h))
			h.Deliver(t)
			if name == "and expired" {
				if h.Count(t) != 1 {
					t.Fatal("the user is gone though the message may still be sent")
				}
				h.Clock.Advance(10 * minute)
				h.Deliver(t)
			}
			if h.Count(t) != 0 {
				t.Fatalf("%d users are left", h.Count(t))
			}
			h.RefuseTexts(nil)
			h.Clock.Advance(minute)
			g := h.JoinByPhone(t, annsPhone, pw2)
			_, err := byPhonePassword(t, h, annsPhone, pw)
			want(t, "the first one's password", err, auth.InvalidCredentials)
			lives(t, "the second sign-up", h, g)
		})
	}
}

func TestPhone_aMessageThatCannotBeSentTakesNothingFromWhoWasThere(t *testing.T) {
	h := authtest.New(t)
	g := h.JoinByPhone(t, annsPhone, pw)
	h.Clock.Advance(minute)
	h.RefuseTexts(&notify.PermanentError{Err: errors.New("no such number")})
	ok(t, "a code", askSMS(t, h, annsPhone, true))
	ok(t, "a change", setPhone(t, h, g, annsOther))
	h.Deliver(t)
	u := read(t, h, g.User.ID)
	if u.Phone != annsPhone || u.PhoneVerifiedAt.IsZero() || u.NewPhone != "" {
		t.Errorf("number %q, proved %v, wanted %q", u.Phone, u.PhoneVerifiedAt, u.NewPhone)
	}
	lives(t, "the session", h, g)
}
