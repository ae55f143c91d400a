package auth_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/schema"
	"gatehouse/internal/store"
)

// anyAddress is a house where an address that nobody proved opens the account.
var anyAddress = authtest.With(func(p *auth.Policy) { p.UnverifiedSignIn = true })

// Anybody may sign up with any address. That must take no password from who has
// proved another contact of theirs.
func TestSignUp_takesNoPasswordFromAProvedUser(t *testing.T) {
	for name, again := range map[string]auth.NewUser{
		"by the address": {Email: ann, Password: pw2},
		"by the number":  {Phone: annsPhone, Password: pw2},
	} {
		t.Run(name, func(t *testing.T) {
			h := authtest.New(t)
			byMail := again.Phone != "" // what was proved is the other
			_, err := h.AddUser(t.Context(), authtest.Operator(), auth.UserChanges{
				Email: ptr(ann), EmailConfirmed: &byMail, Phone: ptr(annsPhone), PhoneConfirmed: ptr(!byMail), Password: ptr(pw),
			})
			ok(t, "add", err)
			_, err = h.SignUp(t.Context(), authtest.Caller(), again, authtest.Flow())
			ok(t, "a stranger", err)
			if byMail {
				h.Enter(t, ann, pw)
				return
			}
			_, err = byPhonePassword(t, h, annsPhone, pw)
			ok(t, "the owner", err)
		})
	}
}

// Of a password that two people disagreed about nothing is left. The session of
// one of them must not bring it back before the mailbox has spoken.
func TestUpdateUser_aStrangersSessionChoosesNoPasswordOnceItWasDisputed(t *testing.T) {
	h := authtest.New(t, anyAddress)
	_, err := signUp(t, h, ann, pw)
	ok(t, "a stranger", err)
	stranger := h.Enter(t, ann, pw)
	_, err = h.UpdateUser(t.Context(), authtest.Caller(), h.View(t, stranger.Access), newPassword("another of mine"), authtest.Flow())
	ok(t, "a new password while nobody disputes it", err)
	h.Clock.Advance(minute)
	_, err = signUp(t, h, ann, pw2)
	ok(t, "the owner", err)
	_, err = h.UpdateUser(t.Context(), authtest.Caller(), h.View(t, stranger.Access), newPassword(pw), authtest.Flow())
	want(t, "the stranger's password", err, auth.EmailNotConfirmed)
	owner := h.Follow(t, h.Mail(t, ann).Token)
	over(t, "the stranger's session", h, stranger)
	_, err = h.UpdateUser(t.Context(), authtest.Caller(), h.View(t, owner.Access), newPassword(pw2), authtest.Flow())
	ok(t, "the owner's password", err)
	h.Enter(t, ann, pw2)
}

// An administrator's sign-up for somebody replaces a stranger's, and the
// stranger who is in already goes with it.
func TestMakeLink_ofASignUpEndsAStrangersSession(t *testing.T) {
	h := authtest.New(t, anyAddress, easy)
	_, err := signUp(t, h, ann, pw)
	ok(t, "a stranger", err)
	stranger := h.Enter(t, ann, pw)
	ok(t, "a wish", setEmailOf(t, h, stranger, bob))
	wish := h.Mail(t, bob)
	made, err := h.MakeLink(t.Context(), authtest.Operator(), auth.LinkRequest{Kind: auth.KindConfirmation, Email: ann, Password: pw2}, authtest.Flow())
	ok(t, "the administrator", err)
	over(t, "the stranger's session", h, stranger)
	h.Follow(t, made.Link)
	h.Clock.Advance(minute)
	ok(t, "the stranger's wish again", h.Resend(t.Context(), authtest.Caller(), auth.KindChangeNew, ann, authtest.Flow()))
	for _, m := range append(h.Mails(t, bob), wish) {
		_, err = h.ByLink(t, m.Token, auth.KindChangeNew)
		want(t, "the stranger's wish", err, auth.LinkFailed)
	}
	h.Enter(t, ann, pw2)
}

// Of a person with accounts in two tenants, the ids that are made up for a
// stranger must not tell so.
func TestSignUp_aMadeUpIDIsAnotherInEachTenant(t *testing.T) {
	h := authtest.New(t)
	seen := map[auth.UserID]bool{}
	for _, h := range []*authtest.House{h, h.There()} {
		c := authtest.Caller()
		_, err := h.AddUser(t.Context(), authtest.Operator(), auth.UserChanges{Email: ptr(ann), EmailConfirmed: ptr(true)})
		ok(t, "add", err)
		g, err := h.SignUp(t.Context(), c, auth.NewUser{Email: ann, Password: pw}, authtest.Flow())
		ok(t, "a stranger", err)
		for _, id := range []auth.UserID{g.User.ID, auth.UserID(g.User.Identities[0].ID)} {
			if seen[id] {
				t.Errorf("the id %s was made up before", id)
			}
			seen[id] = true
		}
	}
}

// A message that never left must not take away what a later one has asked.
func TestUndelivered_takesNothingThatWasAskedAgain(t *testing.T) {
	late := errors.New("the service is away")
	t.Run("sign-up", func(t *testing.T) {
		h := authtest.New(t)
		h.RefuseTexts(late)
		_, err := signUpByPhone(t, h, annsPhone, pw)
		ok(t, "sign up", err)
		h.Deliver(t)
		h.Clock.Advance(9*minute + minute/2)
		first := putOff(t, h)
		h.RefuseTexts(nil)
		_, err = signUpByPhone(t, h, annsPhone, pw)
		ok(t, "again", err)
		code := newestCode(t, h, annsPhone)
		ok(t, "the first is given up", h.Undelivered(t.Context(), first))
		_, err = h.BySMS(t, annsPhone, code, auth.KindSMS)
		ok(t, "the code of the second", err)
	})
	t.Run("change", func(t *testing.T) {
		h := authtest.New(t)
		g := h.Join(t, ann, pw)
		h.RefuseTexts(late)
		ok(t, "a number", setPhone(t, h, g, annsPhone))
		first := putOff(t, h)
		h.Clock.Advance(9*minute + minute/2)
		h.RefuseTexts(nil)
		ok(t, "again", setPhone(t, h, g, annsPhone))
		code := newestCode(t, h, annsPhone)
		ok(t, "the first is given up", h.Undelivered(t.Context(), first))
		_, err := h.BySMS(t, annsPhone, code, auth.KindPhoneChange)
		ok(t, "the code of the second", err)
	})
}

// putOff returns the body of the one text message that waits.
func putOff(t *testing.T, h *authtest.House) []byte {
	t.Helper()
	plain, _ := opened(t, h)
	list := plain[store.DeliverSMS]
	if len(list) != 1 {
		t.Fatalf("%d messages wait, want 1", len(list))
	}
	return list[0]
}

// newestCode is the code of the newest text message to a number.
func newestCode(t *testing.T, h *authtest.House, number string) string {
	t.Helper()
	return h.SMS(t, number).Code
}

// Whoever comes in by a code and makes nobody has no data to give.
func TestMagicLink_asksNoDataOfWhoMakesNobody(t *testing.T) {
	needs, err := schema.New([]byte(`{"type":"object","properties":{"name":{"type":"string"}},"required":["name"]}`))
	ok(t, "schema", err)
	h := authtest.New(t, func(o *auth.Options) { o.Schema = needs })
	_, err = h.SignUp(t.Context(), authtest.Caller(), auth.NewUser{Email: ann, Password: pw, Data: map[string]any{"name": "Ann"}}, authtest.Flow())
	ok(t, "sign up", err)
	h.Follow(t, h.Mail(t, ann).Token)
	h.Clock.Advance(minute)
	ok(t, "a link", h.MagicLink(t.Context(), authtest.Caller(), auth.CodeRequest{Email: ann}, authtest.Flow()))
	h.Follow(t, h.Mail(t, ann).Token)
	want(t, "a link that makes a user", h.MagicLink(t.Context(), authtest.Caller(), auth.CodeRequest{Email: bob, Create: true}, authtest.Flow()), auth.InvalidInput)
}

// A wish for a number somebody has costs nothing, and must not spend the budget.
func TestPhone_aWishForATakenNumberIsGivenBackToTheBudget(t *testing.T) {
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.SMSBudget = 2 }))
	h.JoinByPhone(t, annsPhone, pw)
	g := h.Join(t, bob, pw)
	for range 3 {
		h.Clock.Advance(minute)
		ok(t, "a wish for it", setPhone(t, h, g, annsPhone))
	}
	h.Clock.Advance(minute)
	ok(t, "the second message of the day", setPhone(t, h, g, bobsPhone))
	h.SMS(t, bobsPhone)
	h.Clock.Advance(minute)
	want(t, "the third", setPhone(t, h, g, annsOther), auth.SMSTooSoon)
}

// A test number belongs to nobody's telephone, and no message goes there.
func TestPhone_theOwnerOfATestNumberIsToldNothing(t *testing.T) {
	h := authtest.New(t, func(o *auth.Options) {
		o.Texts.TestCode = func(to string, _ time.Time) (string, bool) { return "111222", to == annsPhone }
	})
	_, err := signUpByPhone(t, h, annsPhone, pw)
	ok(t, "sign up", err)
	_, err = h.BySMS(t, annsPhone, "111222", auth.KindSMS)
	ok(t, "the test code", err)
	h.Clock.Advance(minute)
	_, err = signUpByPhone(t, h, annsPhone, pw2)
	ok(t, "a stranger", err)
	if got := len(h.Texts(t, annsPhone)); got != 0 {
		t.Errorf("%d messages to a test number", got)
	}
}

// What a client calls itself stands in mails to others and on the page of their
// links: it must carry no message of the client's.
func TestDeviceName_carriesNoMessage(t *testing.T) {
	for _, agent := range []string{
		"Your account is locked - call +1 555 0100 now",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) Your account is locked call 5550100/1.0",
		"Mozilla/5.0 (Windows NT 10.0) Call-5550100-now/1.0",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) www.evil.example/1.0",
		"www.evil.example/login", "evil\u202eexample", "Anruf+15550100/1",
	} {
		got := auth.DeviceName(agent)
		if strings.ContainsAny(got, "0123456789.+\u202e") || strings.Count(got, " ") > 2 || strings.Contains(got, "locked") {
			t.Errorf("%q is %q", agent, got)
		}
	}
	for agent, wanted := range map[string]string{
		"okhttp/4.12.0": "okhttp", "python-requests/2.32.3": "python-requests", "Dart/3.4 (dart:io)": "Dart", "gotrue_dart/2.1": "gotrue_dart",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) Novel/1.0": "Novel on Windows",
	} {
		if got := auth.DeviceName(agent); got != wanted {
			t.Errorf("%q is %q, want %q", agent, got, wanted)
		}
	}
}

// One code for a number that two people want would be good for either.
func TestKeeper_judgesNoCodeThatTwoWait(t *testing.T) {
	k, option := kept()
	h := authtest.New(t, option)
	owner, stranger := h.Join(t, ann, pw), h.Join(t, bob, pw)
	ok(t, "the owner's wish", setPhone(t, h, owner, annsPhone))
	h.Clock.Advance(minute)
	ok(t, "a stranger's wish", setPhone(t, h, stranger, annsPhone))
	k.set(annsPhone, "424242")
	_, err := h.BySMS(t, annsPhone, "424242", auth.KindPhoneChange)
	want(t, "the code", err, auth.CodeFailed)
	if u := read(t, h, stranger.User.ID); u.Phone != "" {
		t.Errorf("the stranger has the number %s", u.Phone)
	}
	h.Clock.Advance(11 * minute)
	ok(t, "the owner's wish", setPhone(t, h, owner, annsPhone))
	k.set(annsPhone, "434343")
	_, err = h.BySMS(t, annsPhone, "434343", auth.KindPhoneChange)
	ok(t, "once the stranger's has ended", err)
}

// Where an address counts as proved at sign-up, a thief can sign up with the one
// they have just taken from an account. That must not stand in the owner's way.
func TestUndo_anAddressThatNobodyHadToProveStandsNotInItsWay(t *testing.T) {
	for name, squat := range map[string]func(t *testing.T, h *authtest.House){
		"signed up": func(t *testing.T, h *authtest.House) {
			_, err := signUp(t, h, ann, pw2)
			ok(t, "the thief", err)
		},
		"anonymous before": func(t *testing.T, h *authtest.House) {
			ok(t, "the thief", setEmailOf(t, h, h.Visit(t), ann))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := authtest.New(t, withNotices, easy, authtest.With(autoconfirm))
			g := h.Join(t, ann, pw)
			h.Clock.Advance(hour / 2)
			ok(t, "the thief's address", setEmailOf(t, h, g, "thief@evil.example"))
			h.Follow(t, h.Mail(t, "thief@evil.example").Token)
			undo := undoToken(t, h.Mail(t, ann))
			h.Clock.Advance(minute)
			squat(t, h)
			_, err := h.Undo(t.Context(), authtest.Caller(), undo, authtest.Flow())
			ok(t, "undo", err)
			if u := read(t, h, g.User.ID); u.Email != ann {
				t.Errorf("the account has the address %s", u.Email)
			}
		})
	}
	t.Run("but one with a proved number does", func(t *testing.T) {
		h := authtest.New(t, withNotices, easy, authtest.With(autoconfirm))
		g := h.Join(t, ann, pw)
		ok(t, "a new address", setEmailOf(t, h, g, bob))
		h.Follow(t, h.Mail(t, bob).Token)
		undo := undoToken(t, h.Mail(t, ann))
		h.Clock.Advance(minute)
		_, err := signUp(t, h, ann, pw2)
		ok(t, "sign up", err)
		h.Clock.Advance(minute)
		ok(t, "a link", h.Recover(t.Context(), authtest.Caller(), ann, authtest.Flow()))
		next := h.Follow(t, h.Mail(t, ann).Token)
		move(t, h, next, annsPhone)
		_, err = h.Undo(t.Context(), authtest.Caller(), undo, authtest.Flow())
		want(t, "undo, where the other has proved a number", err, auth.EmailTaken)
		lives(t, "the other", h, next)
	})
}

// Where a number counts as proved, whoever had it for a while has proved
// nothing, and must not take it from who came later.
func TestUndo_aNumberThatNobodyHadToProveIsNotTakenBack(t *testing.T) {
	h := authtest.New(t, withNotices, authtest.With(func(p *auth.Policy) { p.PhoneAutoconfirm = true }))
	thief := h.Join(t, bob, pw)
	ok(t, "a number of somebody else's", setPhone(t, h, thief, annsPhone))
	h.Clock.Advance(minute)
	ok(t, "another", setPhone(t, h, thief, bobsPhone))
	undo := undoToken(t, h.Mail(t, bob))
	h.Clock.Advance(minute)
	owner := h.JoinByPhone(t, annsPhone, pw)
	_, err := h.Undo(t.Context(), authtest.Caller(), undo, authtest.Flow())
	want(t, "undo", err, auth.PhoneTaken)
	lives(t, "the owner", h, owner)
}

// Strangers may want the owner's new number as well: the code of the owner must
// be good all the same.
func TestPhone_strangersWishesDoNotCrowdTheOwnerOut(t *testing.T) {
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.SMSPerHour = 5 }))
	owner := h.Join(t, ann, pw)
	ok(t, "the owner's wish", setPhone(t, h, owner, annsPhone))
	code := newestCode(t, h, annsPhone)
	for i := range 4 {
		stranger := h.Join(t, string(rune('a'+i))+"@stranger.example", pw)
		h.Clock.Advance(minute)
		ok(t, "a stranger's wish", setPhone(t, h, stranger, annsPhone))
	}
	h.Clock.Advance(minute)
	want(t, "one more", setPhone(t, h, h.Join(t, bob, pw), annsPhone), auth.SMSTooSoon)
	g, err := h.BySMS(t, annsPhone, code, auth.KindPhoneChange)
	ok(t, "the owner's code", err)
	if g.User.ID != owner.User.ID {
		t.Error("it is somebody else's")
	}
}

// A name is shown in lists: it must not rearrange them.
func TestNameSession_takesNoControlCharacters(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	for _, name := range []string{"a\u202eb", "a\u2028b", "a\u0085b", "a\u200fb", "a\u2066b", "a\nb"} {
		_, err := h.NameSession(t.Context(), authtest.Caller(), g.User.ID, g.Session.ID, name)
		want(t, name, err, auth.InvalidInput)
	}
	for _, name := range []string{"Ann's 📱", "Büro", "👩\u200d💻"} {
		_, err := h.NameSession(t.Context(), authtest.Caller(), g.User.ID, g.Session.ID, name)
		ok(t, name, err)
	}
}
