package auth_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/store"
)

// Where an address that nobody proved opens the account, a stranger may already
// be in when its owner comes by another door.
func TestThreat_L05_aStrangersSessionEndsWithTheOwnersArrival(t *testing.T) {
	for name, arrive := range map[string]func(t *testing.T, h *authtest.House) *auth.Grant{
		"recovery": func(t *testing.T, h *authtest.House) *auth.Grant {
			ok(t, "recover", h.Recover(t.Context(), authtest.Caller(), ann, authtest.Flow()))
			return h.Follow(t, h.Mail(t, ann).Token)
		},
		"magic link": func(t *testing.T, h *authtest.House) *auth.Grant {
			ok(t, "magic link", h.MagicLink(t.Context(), authtest.Caller(), auth.CodeRequest{Email: ann}, authtest.Flow()))
			return h.Follow(t, h.Mail(t, ann).Token)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := authtest.New(t, easy, authtest.With(func(p *auth.Policy) { p.UnverifiedSignIn = true }))
			_, err := signUp(t, h, ann, pw)
			ok(t, "a stranger", err)
			stranger := h.Enter(t, ann, pw)
			want(t, "a number beside it", setPhone(t, h, stranger, bobsPhone), auth.EmailNotConfirmed)
			ok(t, "a wish", setEmailOf(t, h, stranger, bob))
			wish := h.Mail(t, bob)
			h.Clock.Advance(minute)
			owner := arrive(t, h)
			over(t, "the stranger's session", h, stranger)
			_, err = h.ByPassword(t, ann, pw)
			want(t, "the stranger's password", err, auth.InvalidCredentials)
			h.Clock.Advance(minute)
			ok(t, "the stranger's wish again", h.Resend(t.Context(), authtest.Caller(), auth.KindChangeNew, ann, authtest.Flow()))
			for _, m := range append(h.Mails(t, bob), wish) {
				_, err = h.ByLink(t, m.Token, auth.KindChangeNew)
				want(t, "the stranger's wish", err, auth.LinkFailed)
			}
			lives(t, "the owner", h, owner)
		})
	}
}

// Anybody may ask for a code to a number. That must take no password and no
// second factor from who has proved another contact of theirs.
func TestThreat_L05_askingForACodeTakesNothingFromAProvedUser(t *testing.T) {
	h := authtest.New(t)
	u, err := h.AddUser(t.Context(), authtest.Operator(), auth.UserChanges{Email: ptr(ann), EmailConfirmed: ptr(true), Phone: ptr(annsPhone), Password: ptr(pw)})
	ok(t, "add", err)
	secondFactor(t, h, u.ID)
	ok(t, "a stranger asks", askSMS(t, h, annsPhone, true))
	h.Deliver(t)
	h.Enter(t, ann, pw)
	if !hasSecondFactor(t, h, u.ID) {
		t.Error("the second factor is gone")
	}
}

func TestThreat_L07_aSignUpSetsNothingButUserData(t *testing.T) {
	h := authtest.New(t, authtest.With(autoconfirm))
	id := store.NewUserID()
	evil := map[string]any{
		"id": id.String(), "role": "admin", "aud": "other", "email": bob, "phone": bobsPhone, "email_verified": true, "phone_verified": true,
		"app_metadata": map[string]any{"provider": "google"}, "banned_until": "never", "sub": id.String(), "is_anonymous": false,
	}
	g, err := h.SignUp(t.Context(), authtest.Caller(), auth.NewUser{Email: ann, Password: pw, Data: evil}, authtest.Flow())
	ok(t, "sign up", err)
	u := read(t, h, g.User.ID)
	if u.ID == id || u.Role != "authenticated" || u.Aud != "authenticated" || u.Email != ann || u.Phone != "" || !u.PhoneVerifiedAt.IsZero() || string(u.AppMetadata) != `{"provider":"email","providers":["email"]}` {
		t.Errorf("user %+v", u)
	}
	var data map[string]any
	ok(t, "identity", json.Unmarshal(u.Identities[0].Data, &data))
	if data["sub"] != u.ID.String() || data["email"] != ann || data["phone_verified"] != false || u.Identities[0].Subject != u.ID.String() {
		t.Errorf("identity %v", data)
	}
	anon, err := h.SignUp(t.Context(), authtest.Caller(), auth.NewUser{Data: evil}, authtest.Flow())
	ok(t, "sign up anonymously", err)
	if u := read(t, h, anon.User.ID); u.Email != "" || u.Role != "authenticated" || !u.IsAnonymous || len(u.Identities) != 0 {
		t.Errorf("user %+v", u)
	}
}

func TestThreat_L08_nobodyProvesTheirOwnContactBySayingSo(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	claims := map[string]any{"email_verified": true, "phone_verified": true, "phone": annsPhone, "phone_confirmed_at": "2020-01-01T00:00:00Z"}
	_, err := h.UpdateUser(t.Context(), authtest.Caller(), h.View(t, g.Access), auth.Changes{Data: claims, Email: ptr(bob), Phone: ptr(annsPhone)}, authtest.Flow())
	ok(t, "change", err)
	_, err = h.UpdateUser(t.Context(), authtest.Caller(), h.View(t, g.Access), auth.Changes{AppData: claims}, authtest.Flow())
	want(t, "what only administrators set", err, auth.NotYours)
	u := read(t, h, g.User.ID)
	if u.Email != ann || u.Phone != "" || !u.PhoneVerifiedAt.IsZero() {
		t.Errorf("user %+v", u)
	}
	_, err = byPhonePassword(t, h, annsPhone, pw)
	want(t, "by the number", err, auth.InvalidCredentials)
}

func TestThreat_L09_anIdentityChangesOnlyWithTheProof(t *testing.T) {
	h := authtest.New(t, easy)
	g := both(t, h)
	before := read(t, h, g.User.ID).Identities
	ok(t, "a wish for an address", setEmailOf(t, h, g, annsNew))
	ok(t, "a wish for a number", setPhone(t, h, g, annsOther))
	h.Deliver(t)
	if diff := cmp.Diff(before, read(t, h, g.User.ID).Identities); diff != "" {
		t.Errorf("before the proof (-before +after):\n%s", diff)
	}
	h.Follow(t, h.Mail(t, annsNew).Token)
	i := slices.IndexFunc(read(t, h, g.User.ID).Identities, func(i auth.Identity) bool { return i.Email == annsNew })
	if i < 0 {
		t.Error("the proof did not change the identity")
	}
}

func TestThreat_L10_aWishDiesWithAChangeOfTheOtherContact(t *testing.T) {
	h := authtest.New(t, easy)
	g := both(t, h)
	ok(t, "a thief's number", setPhone(t, h, g, annsOther))
	ok(t, "the owner's address", setEmailOf(t, h, g, annsNew))
	code := h.SMS(t, annsOther).Code
	h.Follow(t, h.Mail(t, annsNew).Token)
	_, err := h.BySMS(t, annsOther, code, auth.KindPhoneChange)
	want(t, "the thief's code", err, auth.CodeFailed)
	h.Clock.Advance(minute)
	ok(t, "and once more", h.Resend(t.Context(), authtest.Caller(), auth.KindPhoneChange, annsPhone, authtest.Flow()))
	if got := len(h.Texts(t, annsOther)); got != 1 {
		t.Errorf("%d messages to the thief, want 1", got)
	}
}

func TestThreat_L19_noNewWayInAdmitsABannedUser(t *testing.T) {
	h := authtest.New(t)
	g := both(t, h)
	ok(t, "ask", askSMS(t, h, annsPhone, true))
	code := h.SMS(t, annsPhone).Code
	tamper(t, h, g.User.ID, func(u *auth.User) { u.BannedUntil = h.Clock.Now().Add(hour) })
	_, err := h.BySMS(t, annsPhone, code, auth.KindSMS)
	want(t, "a code", err, auth.UserBanned)
	_, err = byPhonePassword(t, h, annsPhone, pw)
	want(t, "a password of a number", err, auth.UserBanned)
	_, err = byPhonePassword(t, h, annsPhone, pw2)
	want(t, "a wrong one", err, auth.InvalidCredentials)
}

func TestThreat_L21_closedSignUpIsClosedAtEveryDoor(t *testing.T) {
	open := authtest.New(t)
	ok(t, "a task from before", open.MagicLink(t.Context(), authtest.Caller(), auth.CodeRequest{Email: ann, Create: true}, authtest.Flow()))
	h := open.Again(t, authtest.With(func(p *auth.Policy) { p.SignupDisabled = true }))
	for _, n := range []auth.NewUser{{Email: bob, Password: pw}, {Phone: bobsPhone, Password: pw}, {}} {
		_, err := h.SignUp(t.Context(), authtest.Caller(), n, authtest.Flow())
		want(t, "sign up", err, auth.SignupDisabled)
	}
	ok(t, "magic link", h.MagicLink(t.Context(), authtest.Caller(), auth.CodeRequest{Email: bob, Create: true}, authtest.Flow()))
	ok(t, "code", askSMS(t, h, bobsPhone, true))
	h.Deliver(t)
	if h.Count(t) != 0 || len(h.Inbox.Messages()) != 0 {
		t.Errorf("%d users and %d messages", h.Count(t), len(h.Inbox.Messages()))
	}
	_, err := h.Invite(t.Context(), authtest.Operator(), ann, nil, authtest.Flow())
	ok(t, "an administrator's invitation", err)
}

func TestThreat_L22_anIdentityIsItsOwnersForGood(t *testing.T) {
	h := authtest.New(t, easy)
	g, b := both(t, h), h.Join(t, bob, pw)
	id := identityOf(t, h, b.User.ID, "email")
	want(t, "unlink another's", unlink(t, h, g, id), auth.IdentityNotFound)
	_, err := h.UpdateUser(t.Context(), authtest.Caller(), h.View(t, g.Access), auth.Changes{Data: map[string]any{"sub": b.User.ID.String(), "user_id": b.User.ID.String()}}, authtest.Flow())
	ok(t, "data", err)
	readdress(t, h, g, annsNew) // brings the identity's copy in line
	for _, i := range read(t, h, g.User.ID).Identities {
		if i.UserID != g.User.ID || i.Subject != g.User.ID.String() {
			t.Errorf("identity %+v", i)
		}
	}
	if identityOf(t, h, b.User.ID, "email") != id {
		t.Error("bob's identity moved")
	}
}

func TestThreat_L23_aDeletedUserLeavesNothingToComeInBy(t *testing.T) {
	for _, soft := range []bool{true, false} {
		h := authtest.New(t, easy, withNotices)
		g := both(t, h)
		move(t, h, g, annsOther)
		token := undoToken(t, h.Mail(t, ann))
		secondFactor(t, h, g.User.ID)
		h.Clock.Advance(minute)
		ok(t, "ask", askSMS(t, h, annsOther, false))
		code := h.SMS(t, annsOther).Code
		ok(t, "a task that waits", h.Recover(t.Context(), authtest.Caller(), ann, authtest.Flow()))
		ok(t, "delete", h.DropUser(t.Context(), authtest.Operator(), g.User.ID, soft))
		before := len(h.Inbox.Messages())
		h.Deliver(t)
		if got := len(h.Inbox.Messages()); got != before {
			t.Error("a deleted user got a mail")
		}
		_, err := h.BySMS(t, annsOther, code, auth.KindSMS)
		want(t, "code", err, auth.CodeFailed)
		_, err = byPhonePassword(t, h, annsOther, pw)
		want(t, "password", err, auth.InvalidCredentials)
		_, err = undo(t, h, token)
		want(t, "undo", err, auth.LinkFailed)
		if hasSecondFactor(t, h, g.User.ID) {
			t.Error("the second factor is still there")
		}
	}
}

func TestThreat_L24_aRecycledContactInheritsNothing(t *testing.T) {
	for _, soft := range []bool{true, false} {
		h := authtest.New(t)
		g := h.JoinByPhone(t, annsPhone, pw)
		_, err := h.SetUser(t.Context(), authtest.Operator(), g.User.ID, auth.UserChanges{Role: ptr("admin"), AppData: map[string]any{"plan": "gold"}, UserData: map[string]any{"n": 1}})
		ok(t, "set", err)
		ok(t, "delete", h.DropUser(t.Context(), authtest.Operator(), g.User.ID, soft))
		h.Clock.Advance(minute)
		next := h.JoinByPhone(t, annsPhone, pw2)
		u := read(t, h, next.User.ID)
		if u.ID == g.User.ID || u.Role != "authenticated" || string(u.UserMetadata) != "{}" || string(u.AppMetadata) != `{"provider":"phone","providers":["phone"]}` {
			t.Errorf("the next owner of the number is %+v", u)
		}
		_, err = byPhonePassword(t, h, annsPhone, pw)
		want(t, "the last one's password", err, auth.InvalidCredentials)
		if got := listed(t, h, u.ID, true); len(got) != 1 {
			t.Errorf("%d sessions", len(got))
		}
	}
}

func TestThreat_L25_anInvitationIsForWhoReadsThatMailbox(t *testing.T) {
	h := authtest.New(t)
	u, err := h.Invite(t.Context(), authtest.Operator(), ann, nil, authtest.Flow())
	ok(t, "invite", err)
	m := h.Mail(t, ann)
	_, err = h.ByCode(t, bob, m.Code, auth.KindInvite)
	want(t, "the code with another address", err, auth.CodeFailed)
	forged := []byte(m.Token)
	forged[3] ^= 1
	_, err = h.ByLink(t, string(forged), auth.KindInvite)
	want(t, "a forged link", err, auth.LinkFailed)
	_, err = h.ByPassword(t, ann, pw)
	want(t, "before it is accepted", err, auth.InvalidCredentials)
	_, err = h.SetUser(t.Context(), authtest.Operator(), u.ID, auth.UserChanges{Email: ptr(bob)})
	ok(t, "an administrator moves the user", err)
	_, err = h.ByLink(t, m.Token, auth.KindInvite)
	want(t, "the invitation to the address they left", err, auth.LinkFailed)
}

func TestThreat_L28_anAddressAndANumberAtOnceAreRefused(t *testing.T) {
	h := authtest.New(t)
	both(t, h)
	_, err := h.SignUp(t.Context(), authtest.Caller(), auth.NewUser{Email: bob, Phone: annsPhone, Password: pw}, authtest.Flow())
	want(t, "sign up", err, auth.InvalidInput)
	err = h.MagicLink(t.Context(), authtest.Caller(), auth.CodeRequest{Email: bob, Phone: annsPhone, Create: true}, authtest.Flow())
	want(t, "code", err, auth.InvalidInput)
	ok(t, "ask", askSMS(t, h, annsPhone, false))
	code := h.SMS(t, annsPhone).Code
	for _, method := range []string{"smscode", "emailcode"} {
		_, err = h.SignIn(t.Context(), authtest.Caller(), method, auth.Input{Email: bob, Phone: annsPhone, Code: code, Kinds: []auth.Kind{auth.KindSMS}}, false)
		want(t, "answer by "+method, err, auth.CodeFailed)
	}
	for _, to := range []string{annsPhone + "," + bobsPhone, annsPhone + ";" + bobsPhone, annsPhone + "\n" + bobsPhone} {
		_, err = signUpByPhone(t, h, to, pw)
		want(t, to, err, auth.PhoneInvalid)
	}
}
