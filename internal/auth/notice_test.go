package auth_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/notify"
	"gatehouse/internal/store"
)

// easy lets a change of address need the new address alone, so that a stolen
// session is enough for it.
func easy(o *auth.Options) { o.Policy.SecureEmailChange = false }

// noticesTo lists the kinds of the notices an address got, oldest first.
func noticesTo(t *testing.T, h *authtest.House, to string) (kinds []notify.Kind) {
	t.Helper()
	for _, m := range h.Mails(t, to) {
		if strings.HasSuffix(string(m.Kind), "_notification") {
			kinds = append(kinds, m.Kind)
		}
	}
	slices.Reverse(kinds)
	return kinds
}

// noticeOf is the newest notice of a kind to an address.
func noticeOf(t *testing.T, h *authtest.House, to string, k notify.Kind) authtest.Mail {
	t.Helper()
	for _, m := range h.Mails(t, to) {
		if m.Kind == k {
			return m
		}
	}
	t.Fatalf("no %s for %s", k, to)
	return authtest.Mail{}
}

func undo(t *testing.T, h *authtest.House, token string) (*auth.Undoing, error) {
	return h.Undo(t.Context(), authtest.Caller(), token, authtest.Flow())
}

// readdress moves who holds g to another address.
func readdress(t *testing.T, h *authtest.House, g *auth.Grant, email string) {
	t.Helper()
	ok(t, "ask for "+email, setEmailOf(t, h, g, email))
	h.Follow(t, h.Mail(t, email).Token)
}

// theft is what a user is told of, as a thief would do it with their session.
type theft struct {
	kind notify.Kind
	do   func(t *testing.T, h *authtest.House, g *auth.Grant)
}

var thefts = []theft{
	{notify.PasswordChanged, func(t *testing.T, h *authtest.House, g *auth.Grant) {
		ok(t, "new password", setPassword(t, h, g, newPassword(pw2)))
	}},
	{notify.EmailChanged, func(t *testing.T, h *authtest.House, g *auth.Grant) { readdress(t, h, g, annsNew) }},
	{notify.PhoneChanged, func(t *testing.T, h *authtest.House, g *auth.Grant) { move(t, h, g, annsOther) }},
	{notify.IdentityUnlinked, func(t *testing.T, h *authtest.House, g *auth.Grant) {
		ok(t, "unlink", h.Unlink(t.Context(), authtest.Caller(), h.View(t, g.Access), identityOf(t, h, g.User.ID, "email")))
	}},
	{notify.NewDevice, func(t *testing.T, h *authtest.House, _ *auth.Grant) { enterFrom(t, h, "Thief/1.0") }},
}

func enterFrom(t *testing.T, h *authtest.House, agent string) *auth.Grant {
	t.Helper()
	c := authtest.Caller()
	c.Agent = agent
	g, err := h.SignIn(t.Context(), c, "password", auth.Input{Email: ann, Password: pw}, false)
	ok(t, "sign in from "+agent, err)
	return g
}

func TestNotice_isSentToWhoHadTheAccountWhereItIsEnabled(t *testing.T) {
	for _, d := range thefts {
		t.Run(string(d.kind), func(t *testing.T) {
			only := func(o *auth.Options) { withNotices(o); o.Policy.Notices = map[notify.Kind]bool{d.kind: true} }
			h := authtest.New(t, easy, only)
			d.do(t, h, both(t, h))
			wanted := []notify.Kind{d.kind}
			if d.kind == notify.PhoneChanged {
				wanted = append(wanted, d.kind) // both gave her the first number
			}
			if diff := cmp.Diff(wanted, noticesTo(t, h, ann)); diff != "" {
				t.Errorf("notices (-want +got):\n%s", diff)
			}
			if n := len(noticesTo(t, h, annsNew)); n != 0 {
				t.Errorf("%d notices to the new address", n)
			}
			m := noticeOf(t, h, ann, d.kind)
			if m.Code != "" || len(undoToken(t, m)) < 40 {
				t.Errorf("code %q, links %q", m.Code, m.Links)
			}
			quiet := authtest.New(t, easy)
			d.do(t, quiet, both(t, quiet))
			if got := noticesTo(t, quiet, ann); got != nil {
				t.Errorf("where none are wanted: %v", got)
			}
		})
	}
}

func TestNotice_tellsNothingOfWhatAnAdministratorDoes(t *testing.T) {
	h := authtest.New(t, withNotices)
	g := h.Join(t, ann, pw)
	_, err := h.SetUser(t.Context(), authtest.Operator(), g.User.ID, auth.UserChanges{Password: ptr(pw2), Phone: ptr(annsPhone), PhoneConfirmed: ptr(true)})
	ok(t, "set", err)
	_, err = h.SetUser(t.Context(), authtest.Operator(), g.User.ID, auth.UserChanges{Email: ptr(annsNew)})
	ok(t, "move", err)
	if a, b := noticesTo(t, h, ann), noticesTo(t, h, annsNew); a != nil || b != nil {
		t.Errorf("notices %v and %v", a, b)
	}
}

func TestNotice_goesToNoAddressThatNobodyProved(t *testing.T) {
	h := authtest.New(t, withNotices, authtest.With(func(p *auth.Policy) { p.UnverifiedSignIn = true }))
	_, err := signUp(t, h, ann, pw)
	ok(t, "sign up", err)
	g := h.Enter(t, ann, pw)
	ok(t, "new password", setPassword(t, h, g, newPassword(pw2)))
	if got := noticesTo(t, h, ann); got != nil {
		t.Errorf("notices %v", got)
	}
}

func TestNotice_ofANewDeviceComesOnceForEachAndAtMostFiveAnHour(t *testing.T) {
	h := authtest.New(t, withNotices)
	h.Join(t, ann, pw)
	enterFrom(t, h, authtest.Caller().Agent)
	if got := noticesTo(t, h, ann); got != nil {
		t.Fatalf("notices of the first sign-ins: %v", got)
	}
	enterFrom(t, h, "Other/1.0")
	enterFrom(t, h, "Other/1.0")
	if got := len(noticesTo(t, h, ann)); got != 1 {
		t.Fatalf("%d notices of one new device", got)
	}
	for _, name := range []string{"B", "C", "D", "E", "F", "G", "H"} {
		enterFrom(t, h, "Program"+name+"/1.0")
	}
	if got := len(noticesTo(t, h, ann)); got != 5 {
		t.Errorf("%d notices within an hour, want 5", got)
	}
	h.Clock.Advance(hour)
	enterFrom(t, h, "LateProgram/1.0")
	if got := len(noticesTo(t, h, ann)); got != 6 {
		t.Errorf("%d notices an hour later, want 6", got)
	}
}

// secondFactor gives a user a credential of another kind.
func secondFactor(t *testing.T, h *authtest.House, id auth.UserID) {
	t.Helper()
	ok(t, "second factor", h.DB.Write(t.Context(), store.TenantID{}, func(tx *store.Tx) error {
		return tx.AddCredential(store.Credential{ID: store.NewCredentialID(), UserID: id, Kind: "totp", Lookup: id[:], Data: []byte("secret")})
	}))
}

func hasSecondFactor(t *testing.T, h *authtest.House, id auth.UserID) bool {
	t.Helper()
	err := h.DB.Read(t.Context(), store.TenantID{}, func(tx *store.Tx) error {
		_, err := tx.Credential("totp", id[:])
		return err
	})
	return err == nil
}

func TestUndo_givesTheAccountBack(t *testing.T) {
	for _, d := range thefts {
		t.Run(string(d.kind), func(t *testing.T) {
			t.Parallel()
			h := authtest.New(t, easy, withNotices)
			g := both(t, h)
			secondFactor(t, h, g.User.ID)
			d.do(t, h, g)
			token := undoToken(t, noticeOf(t, h, ann, d.kind))
			h.Clock.Advance(minute)
			next := h.Trade(t, g.Refresh)
			u, err := undo(t, h, token)
			ok(t, "undo", err)
			if u.Notice != d.kind {
				t.Errorf("undid %s", u.Notice)
			}
			over(t, "the session it was done with", h, next)
			now := read(t, h, g.User.ID)
			if now.Email != ann || now.EmailVerifiedAt.IsZero() || now.Phone != annsPhone || now.PhoneVerifiedAt.IsZero() || len(now.Identities) != 2 {
				t.Errorf("afterwards: %q proved %v, %q proved %v, %d identities", now.Email, now.EmailVerifiedAt, now.Phone, now.PhoneVerifiedAt, len(now.Identities))
			}
			for _, p := range []string{pw, pw2} {
				for _, to := range []string{ann, annsNew} {
					_, err = h.ByPassword(t, to, p)
					want(t, "password "+p+" for "+to, err, auth.InvalidCredentials)
				}
			}
			if !hasSecondFactor(t, h, g.User.ID) {
				t.Error("the second factor is gone")
			}
			_, err = undo(t, h, token)
			want(t, "again", err, auth.LinkFailed)
			m := noticeOf(t, h, ann, notify.Recovery)
			back := h.Follow(t, m.Token)
			ok(t, "a password of her own", setPassword(t, h, back, newPassword("a third password")))
			h.Enter(t, ann, "a third password")
			if got := names(h, t, g.User.ID); !slices.Contains(got, auth.ChangeUndone) {
				t.Errorf("events %v", got)
			}
		})
	}
}

func TestUndo_isGoodFor72HoursAndNoLonger(t *testing.T) {
	for _, c := range []struct {
		after time.Duration
		code  auth.Code
	}{{72*hour - time.Second, ""}, {72 * hour, auth.LinkFailed}} {
		h := authtest.New(t, easy, withNotices)
		g := both(t, h)
		readdress(t, h, g, annsNew)
		token := undoToken(t, noticeOf(t, h, ann, notify.EmailChanged))
		h.Clock.Advance(c.after)
		if _, err := undo(t, h, token); codeOf(err) != c.code {
			t.Errorf("after %v: %v, want %q", c.after, err, c.code)
		}
	}
}

func TestUndo_voidsEveryOpenQuestionAndWish(t *testing.T) {
	h := authtest.New(t, easy, withNotices)
	g := both(t, h)
	move(t, h, g, annsOther)
	token := undoToken(t, noticeOf(t, h, ann, notify.PhoneChanged))
	h.Clock.Advance(minute)
	ok(t, "the thief's wish", setEmailOf(t, h, g, annsNew))
	wish := h.Mail(t, annsNew)
	ok(t, "the thief's code", askSMS(t, h, annsOther, false))
	code := h.SMS(t, annsOther).Code
	_, err := undo(t, h, token)
	ok(t, "undo", err)
	_, err = h.ByLink(t, wish.Token, auth.KindChangeNew)
	want(t, "the wish", err, auth.LinkFailed)
	_, err = h.BySMS(t, annsOther, code, auth.KindSMS)
	want(t, "the code", err, auth.CodeFailed)
	h.Clock.Advance(minute)
	ok(t, "a resend of the wish", h.Resend(t.Context(), authtest.Caller(), auth.KindChangeNew, ann, authtest.Flow()))
	if got := len(h.Mails(t, annsNew)); got != 1 {
		t.Errorf("%d mails to the thief, want 1", got)
	}
}

// A thief does more than one thing, and what comes after the first is told to
// the thief: whichever notice its owner answers, the account is theirs again.
func TestUndo_ofAnyNoticePutsBackAllThatCameAfter(t *testing.T) {
	for _, answered := range []notify.Kind{notify.PasswordChanged, notify.PhoneChanged, notify.EmailChanged} {
		t.Run(string(answered), func(t *testing.T) {
			t.Parallel()
			h := authtest.New(t, easy, withNotices)
			g := both(t, h)
			h.Deliver(t)
			for _, k := range []notify.Kind{notify.PasswordChanged, notify.PhoneChanged, notify.EmailChanged} {
				if k == answered || answered == notify.PasswordChanged || answered == notify.PhoneChanged && k == notify.EmailChanged {
					h.Clock.Advance(2 * minute)
					thefts[slices.IndexFunc(thefts, func(d theft) bool { return d.kind == k })].do(t, h, g)
				}
			}
			if answered == notify.EmailChanged {
				h.Clock.Advance(2 * minute)
				move(t, h, g, annsOther) // its notice goes to the thief
			}
			_, err := undo(t, h, undoToken(t, noticeOf(t, h, ann, answered)))
			ok(t, "undo", err)
			if u := read(t, h, g.User.ID); u.Email != ann || u.Phone != annsPhone {
				t.Errorf("address %q, number %q; want ann's", u.Email, u.Phone)
			}
			h.Clock.Advance(2 * minute)
			before := len(h.Texts(t, annsOther))
			ok(t, "the thief asks for a code", askSMS(t, h, annsOther, false))
			ok(t, "and a way back", h.Recover(t.Context(), authtest.Caller(), annsNew, authtest.Flow()))
			if got := len(h.Texts(t, annsOther)) - before; got != 0 {
				t.Errorf("%d messages to the thief's number", got)
			}
			for _, m := range h.Mails(t, annsNew) {
				if m.Kind == notify.Recovery {
					t.Error("the thief was mailed a way back in")
				}
			}
		})
	}
}

// The thief gets notices, too, once the address is theirs: using one must not
// take the owner's away, nor may one be used once the owner has used theirs.
func TestUndo_aThiefsLinkVoidsNotTheOwners(t *testing.T) {
	for _, thiefFirst := range []bool{true, false} {
		h := authtest.New(t, easy, withNotices)
		g := both(t, h)
		readdress(t, h, g, annsNew)
		owners := undoToken(t, noticeOf(t, h, ann, notify.EmailChanged))
		h.Clock.Advance(minute)
		ok(t, "the thief's password", setPassword(t, h, g, newPassword(pw2)))
		thiefs := undoToken(t, noticeOf(t, h, annsNew, notify.PasswordChanged))
		if thiefFirst {
			h.Clock.Advance(minute)
			_, err := undo(t, h, thiefs)
			ok(t, "the thief's link", err)
		}
		h.Clock.Advance(minute)
		_, err := undo(t, h, owners)
		ok(t, "the owner's link", err)
		h.Clock.Advance(minute)
		_, err = undo(t, h, thiefs)
		want(t, "the thief's link afterwards", err, auth.LinkFailed)
		if u := read(t, h, g.User.ID); u.Email != ann {
			t.Errorf("the address is %q", u.Email)
		}
		h.Clock.Advance(minute)
		back := h.Follow(t, noticeOf(t, h, ann, notify.Recovery).Token)
		ok(t, "the owner's new password", setPassword(t, h, back, newPassword("a third password")))
		if later := undoToken(t, noticeOf(t, h, ann, notify.PasswordChanged)); later != "" {
			_, err = undo(t, h, later)
			ok(t, "a link from after it all", err)
		}
	}
}

func TestUndo_survivesTheThiefsNextPasswords(t *testing.T) {
	h := authtest.New(t, easy, withNotices)
	g := both(t, h)
	readdress(t, h, g, annsNew)
	token := undoToken(t, noticeOf(t, h, ann, notify.EmailChanged))
	for n, p := range []string{pw2, "again another"} {
		h.Clock.Advance(minute)
		ok(t, "password", setPassword(t, h, g, newPassword(p)))
		_ = n
	}
	h.Clock.Advance(minute)
	readdress(t, h, g, "third@new.example")
	_, err := undo(t, h, token)
	ok(t, "undo", err)
	over(t, "the thief's session", h, g)
	if u := read(t, h, g.User.ID); u.Email != ann {
		t.Errorf("the address is %q", u.Email)
	}
}

func TestUndo_whatSomebodyElseHasMeanwhileStaysTheirs(t *testing.T) {
	for _, c := range []struct {
		name string
		code auth.Code
		deed func(t *testing.T, h *authtest.House, g *auth.Grant)
		take func(t *testing.T, h *authtest.House)
		kind notify.Kind
	}{
		{
			"address", auth.EmailTaken, func(t *testing.T, h *authtest.House, g *auth.Grant) { readdress(t, h, g, annsNew) },
			func(t *testing.T, h *authtest.House) { h.Join(t, ann, pw2) }, notify.EmailChanged,
		},
		{
			"number", auth.PhoneTaken, func(t *testing.T, h *authtest.House, g *auth.Grant) { move(t, h, g, annsOther) },
			func(t *testing.T, h *authtest.House) { h.JoinByPhone(t, annsPhone, pw2) }, notify.PhoneChanged,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := authtest.New(t, easy, withNotices)
			g := both(t, h)
			c.deed(t, h, g)
			token := undoToken(t, noticeOf(t, h, ann, c.kind))
			h.Clock.Advance(minute)
			c.take(t, h)
			before := read(t, h, g.User.ID)
			events := len(names(h, t, g.User.ID))
			_, err := undo(t, h, token)
			want(t, "undo", err, c.code)
			after := read(t, h, g.User.ID)
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("half done (-before +after):\n%s", diff)
			}
			lives(t, "the session", h, g)
			if got := len(names(h, t, g.User.ID)); got != events || h.Count(t) != 2 {
				t.Errorf("%d new events, %d users", got-events, h.Count(t))
			}
		})
	}
}

// A sign-up nobody confirmed holds an address, too: for a thief it is the
// cheapest way to keep the owner from getting it back.
func TestUndo_aSquatterWhoProvedNothingDoesNotStandInItsWay(t *testing.T) {
	h := authtest.New(t, easy, withNotices)
	g := both(t, h)
	readdress(t, h, g, annsNew)
	move(t, h, g, annsOther)
	token := undoToken(t, noticeOf(t, h, ann, notify.EmailChanged))
	h.Clock.Advance(minute)
	squat, err := signUp(t, h, ann, pw2)
	ok(t, "squat the address", err)
	_, err = signUpByPhone(t, h, annsPhone, pw2)
	ok(t, "squat the number", err)
	_, err = undo(t, h, token)
	ok(t, "undo", err)
	if u := read(t, h, g.User.ID); u.Email != ann || u.Phone != annsPhone || h.Count(t) != 1 {
		t.Errorf("address %q, number %q, %d users", u.Email, u.Phone, h.Count(t))
	}
	if got := names(h, t, squat.User.ID); !slices.Contains(got, auth.UserDeletedEvent) {
		t.Errorf("events of the squatter: %v", got)
	}
}

func TestUndo_isNothingForWhoIsGone(t *testing.T) {
	for _, soft := range []bool{true, false} {
		h := authtest.New(t, easy, withNotices)
		g := both(t, h)
		readdress(t, h, g, annsNew)
		token := undoToken(t, noticeOf(t, h, ann, notify.EmailChanged))
		ok(t, "delete", h.DropUser(t.Context(), authtest.Operator(), g.User.ID, soft))
		_, err := undo(t, h, token)
		want(t, "undo", err, auth.LinkFailed)
		if n := len(noticesTo(t, h, ann)); n == 0 {
			t.Error("no notice was sent at all")
		}
	}
	h := authtest.New(t, withNotices)
	for _, token := range []string{"", "x", strings.Repeat("A", 43)} {
		_, err := undo(t, h, token)
		want(t, "token "+token, err, auth.LinkFailed)
	}
}

func TestUndo_bringsNoProofOfANumberThatHadNone(t *testing.T) {
	h := authtest.New(t, withNotices)
	g := h.Join(t, ann, pw)
	tamper(t, h, g.User.ID, func(u *auth.User) { u.Phone = bobsPhone }) // an administrator's word, unconfirmed
	move(t, h, g, annsPhone)
	_, err := undo(t, h, undoToken(t, noticeOf(t, h, ann, notify.PhoneChanged)))
	ok(t, "undo", err)
	if u := read(t, h, g.User.ID); u.Phone != bobsPhone || !u.PhoneVerifiedAt.IsZero() {
		t.Errorf("number %q, proved %v; want it back and not proved", u.Phone, u.PhoneVerifiedAt)
	}
}

func TestUndo_twoAtOneInstantUndoOnce(t *testing.T) {
	h := authtest.New(t, easy, withNotices)
	g := both(t, h)
	move(t, h, g, annsOther)
	first := undoToken(t, noticeOf(t, h, ann, notify.PhoneChanged))
	ok(t, "password", setPassword(t, h, g, newPassword(pw2)))
	second := undoToken(t, noticeOf(t, h, ann, notify.PasswordChanged))
	errs := across(h.Nodes(t, 3, easy, withNotices), 20, func(h *authtest.House, i int) error {
		_, err := undo(t, h, []string{first, second}[i%2])
		return err
	})
	if diff := cmp.Diff(map[auth.Code]int{"": 1, auth.LinkFailed: 19}, tally(errs)); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	undone := 0
	for _, n := range names(h, t, g.User.ID) {
		if n == auth.ChangeUndone {
			undone++
		}
	}
	if undone != 1 {
		t.Errorf("undone %d times", undone)
	}
}

// Who has just said «this was not me» is not told to ignore the mail.
func TestUndo_itsMailSaysWhyItCame(t *testing.T) {
	h := authtest.New(t, withNotices)
	g := h.Join(t, ann, pw)
	ok(t, "password", setPassword(t, h, g, newPassword(pw2)))
	_, err := h.Undo(t.Context(), authtest.Caller(), undoToken(t, h.Mail(t, ann)), authtest.Flow())
	ok(t, "undo", err)
	if m := h.Mail(t, ann); m.Kind != notify.Recovery || !strings.Contains(m.Text, "was not yours") || strings.Contains(m.Text, "stays as it is") {
		t.Errorf("the mail %s says\n%s", m.Kind, m.Text)
	}
}
