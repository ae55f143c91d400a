package auth_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/store"
)

// askRecovery mails ann a code.
func askRecovery(t *testing.T, h *authtest.House) authtest.Mail {
	t.Helper()
	ok(t, "recover", h.Recover(t.Context(), authtest.Caller(), ann, authtest.Flow()))
	return h.Mail(t, ann)
}

// spend spends all the guesses of an hour at ann's address.
func spend(t *testing.T, h *authtest.House, right string) {
	t.Helper()
	for range 10 {
		_, err := h.ByCode(t, ann, authtest.WrongCode(right), auth.KindRecovery)
		want(t, "guess", err, auth.CodeFailed)
	}
}

// Nothing a client says about itself, nor a missing address of theirs, gives
// new guesses: they count by whose code it is.
func TestThreat_O03_whatAClientSaysGivesNoNewGuesses(t *testing.T) {
	h := authtest.New(t)
	h.Join(t, ann, pw)
	m := askRecovery(t, h)
	kinds := authtest.Kinds()
	for n := range 12 {
		c := auth.Caller{Agent: fmt.Sprint("agent ", n), RequestID: fmt.Sprint(n)}
		if n%3 > 0 {
			c.IP = fmt.Sprintf("198.51.100.%d", n)
		}
		in := auth.Input{Email: ann, Code: authtest.WrongCode(m.Code), Kinds: kinds[n%len(kinds):], Verifier: fmt.Sprint(n), Token: "", Password: fmt.Sprint(n)}
		_, err := h.SignIn(t.Context(), c, "emailcode", in, n%2 == 0)
		wanted := auth.CodeFailed
		if n >= 10 {
			wanted = auth.TooMany
		}
		want(t, fmt.Sprint("guess ", n+1), err, wanted)
	}
}

func TestThreat_O07_otherSpellingsOfAContactShareItsLimits(t *testing.T) {
	h := authtest.New(t)
	ok(t, "ask", h.Recover(t.Context(), authtest.Caller(), ann, authtest.Flow()))
	for _, s := range []string{"ANN@example.com", " ann@EXAMPLE.com ", "Ann@Example.Com"} {
		want(t, s, h.Recover(t.Context(), authtest.Caller(), s, authtest.Flow()), auth.TooSoon)
	}
	ok(t, "ask by text message", askSMS(t, h, annsPhone, true))
	for _, s := range []string{"+" + annsPhone, "+49 151 12345678", " 4915112345678 "} {
		want(t, s, askSMS(t, h, s, true), auth.SMSTooSoon)
	}
}

func TestThreat_O08_aCodeIsItsDigitsAndEveryVariantIsATry(t *testing.T) {
	h := authtest.New(t)
	h.JoinByPhone(t, annsPhone, pw)
	h.Clock.Advance(minute)
	ok(t, "ask", askSMS(t, h, annsPhone, false))
	code := h.SMS(t, annsPhone).Code
	for _, s := range []string{" " + code, code + "\n", "0" + code, code + code} {
		_, err := h.BySMS(t, annsPhone, s, auth.KindSMS)
		want(t, s, err, auth.CodeFailed)
	}
	_, err := h.BySMS(t, annsPhone, code, auth.KindSMS)
	ok(t, "the fifth try", err)
	_, err = h.BySMS(t, annsPhone, code, auth.KindSMS)
	want(t, "again", err, auth.CodeFailed)
	_, err = h.BySMS(t, annsPhone, code+" ", auth.KindSMS)
	want(t, "a variant of the used one", err, auth.CodeFailed)
}

func TestThreat_O09_spentGuessesAreSpentAtEveryDoor(t *testing.T) {
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.ReauthenticatePW = true }))
	g := h.Join(t, ann, pw)
	spend(t, h, askRecovery(t, h).Code)
	h.Clock.Advance(minute)
	ok(t, "magic link", h.MagicLink(t.Context(), authtest.Caller(), auth.CodeRequest{Email: ann}, authtest.Flow()))
	_, err := h.ByCode(t, ann, h.Mail(t, ann).Code, auth.KindMagicLink)
	want(t, "another kind", err, auth.TooMany)
	v := h.View(t, g.Access)
	ok(t, "reauthenticate", h.Reauthenticate(t.Context(), authtest.Caller(), v, authtest.Flow()))
	v.Session.CreatedAt = v.Session.CreatedAt.Add(-25 * hour)
	ch := newPassword(pw2)
	ch.Nonce = h.Mail(t, ann).Code
	_, err = h.UpdateUser(t.Context(), authtest.Caller(), v, ch, authtest.Flow())
	want(t, "reauthentication", err, auth.TooMany)
}

// Whoever spends ann's guesses keeps her from typing codes for an hour, and
// from nothing else.
func TestThreat_O10_aStrangersGuessesLockNobodyOut(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	m := askRecovery(t, h)
	spend(t, h, m.Code)
	lives(t, "her session", h, g)
	h.Trade(t, g.Refresh)
	h.Enter(t, ann, pw)
	h.Follow(t, m.Token)
	h.Clock.Advance(hour)
	m = askRecovery(t, h)
	_, err := h.ByCode(t, ann, m.Code, auth.KindRecovery)
	ok(t, "a code an hour later", err)
}

func TestThreat_O12_othersGuessesAndTheSweepForgetNone(t *testing.T) {
	h := authtest.New(t)
	h.Join(t, ann, pw)
	m := askRecovery(t, h)
	spend(t, h, m.Code)
	for n := range 50 {
		_, err := h.ByCode(t, fmt.Sprintf("u%d@example.com", n), "000000", auth.KindRecovery)
		want(t, "another's", err, auth.CodeFailed)
	}
	ok(t, "sweep", h.DB.Write(t.Context(), store.TenantID{}, func(tx *store.Tx) error {
		_, err := tx.Sweep(1000, tx.Now, tx.Now, tx.Now)
		return err
	}))
	_, err := h.Again(t).ByCode(t, ann, m.Code, auth.KindRecovery)
	want(t, "the right code, after a restart", err, auth.TooMany)
}

// A stolen session is no way to find the password it was opened with.
func TestThreat_O13_theCurrentPasswordIsNotGuessed(t *testing.T) {
	careful := authtest.With(func(p *auth.Policy) { p.CurrentPW, p.PasswordFree = true, 0 }) // whose waits are another limit
	h := authtest.New(t, careful)
	g := h.Join(t, ann, pw)
	stolen := h.Enter(t, ann, pw)
	try := func(h *authtest.House, current string) error {
		ch := newPassword(pw2)
		ch.Current = current
		_, err := h.UpdateUser(t.Context(), authtest.Caller(), h.View(t, stolen.Access), ch, authtest.Flow())
		return err
	}
	errs := across(h.Nodes(t, 3, careful), 15, func(h *authtest.House, i int) error { return try(h, fmt.Sprint("guess ", i)) })
	if diff := cmp.Diff(map[auth.Code]int{auth.CurrentWrong: 10, auth.TooMany: 5}, tally(errs)); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	want(t, "the right one", try(h, pw), auth.TooMany)
	lives(t, "the owner", h, g)
	h.Clock.Advance(hour)
	stolen = h.Trade(t, stolen.Refresh)
	ok(t, "the right one an hour later", try(h, pw))
}

func TestThreat_O14_secretsAreLongAndNeverTheSame(t *testing.T) {
	h := authtest.New(t)
	h.Join(t, ann, pw)
	seen := map[string]bool{}
	first := map[byte]bool{}
	for range 40 {
		h.Clock.Advance(minute)
		m := askRecovery(t, h)
		if seen[m.Token] || len(m.Token) != 43 || len(m.Code) != 6 { // 256 bits
			t.Errorf("link %q, code %q", m.Token, m.Code)
		}
		seen[m.Token] = true
		first[m.Code[0]] = true
	}
	if len(first) < 4 {
		t.Errorf("40 codes begin with %d different digits", len(first))
	}
}

func TestThreat_O15_aCodeOfATextMessageFitsItsPurposeAndUserOnly(t *testing.T) {
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.ReauthenticatePW = true }))
	g := both(t, h)
	h.JoinByPhone(t, bobsPhone, pw)
	h.Clock.Advance(minute)
	ok(t, "ann asks", askSMS(t, h, annsPhone, false))
	ok(t, "bob asks", askSMS(t, h, bobsPhone, false))
	ok(t, "ann wants a number", setPhone(t, h, g, annsOther))
	signIn, change := h.SMS(t, annsPhone).Code, h.SMS(t, annsOther).Code
	if bobs := h.SMS(t, bobsPhone).Code; bobs != signIn {
		_, err := h.BySMS(t, bobsPhone, signIn, auth.KindSMS)
		want(t, "ann's code for bob", err, auth.CodeFailed)
	}
	_, err := h.BySMS(t, annsPhone, signIn, auth.KindPhoneChange, auth.KindReauth)
	want(t, "a sign-in for a change", err, auth.CodeFailed)
	_, err = h.BySMS(t, annsOther, change, auth.KindSMS)
	want(t, "a change for a sign-in", err, auth.CodeFailed)
	_, err = h.ByCode(t, ann, signIn, authtest.Kinds()...)
	want(t, "by mail", err, auth.CodeFailed)
	v := h.View(t, g.Access)
	v.Session.CreatedAt = v.Session.CreatedAt.Add(-25 * hour)
	ch := newPassword(pw2)
	ch.Nonce = signIn
	_, err = h.UpdateUser(t.Context(), authtest.Caller(), v, ch, authtest.Flow())
	want(t, "as a proof of presence", err, auth.ReauthFailed)
	_, err = h.BySMS(t, annsOther, change, auth.KindPhoneChange)
	ok(t, "in its own place", err)
}

func TestThreat_O16_aResendVoidsTheCodeBefore(t *testing.T) {
	h := authtest.New(t)
	both(t, h)
	old := askRecovery(t, h)
	ok(t, "text", askSMS(t, h, annsPhone, false))
	oldText := h.SMS(t, annsPhone).Code
	h.Clock.Advance(minute)
	next := askRecovery(t, h)
	ok(t, "text", askSMS(t, h, annsPhone, false))
	nextText := h.SMS(t, annsPhone).Code
	if old.Code != next.Code {
		_, err := h.ByCode(t, ann, old.Code, auth.KindRecovery)
		want(t, "the code before", err, auth.CodeFailed)
	}
	_, err := h.ByLink(t, old.Token, auth.KindRecovery)
	want(t, "the link before", err, auth.LinkFailed)
	if oldText != nextText {
		_, err = h.BySMS(t, annsPhone, oldText, auth.KindSMS)
		want(t, "the text message before", err, auth.CodeFailed)
	}
	_, err = h.BySMS(t, annsPhone, nextText, auth.KindSMS)
	ok(t, "the newest", err)
}

func TestThreat_E01_aPasswordOfANumberCostsTheSameWhoeverHasIt(t *testing.T) {
	for _, r := range residents {
		h := authtest.New(t)
		r.move(t, h)
		for _, in := range []auth.Input{{Phone: annsPhone, Password: "not it"}, {Email: ann, Password: "not it"}} {
			before := h.Hashes()
			_, err := h.SignIn(t.Context(), authtest.Caller(), "password", in, false)
			want(t, r.name, err, auth.InvalidCredentials)
			if got := h.Hashes() - before; got != 1 {
				t.Errorf("%s: %d hashes for %+v, want 1", r.name, got, in)
			}
		}
	}
}

// What is slow, or depends on who it is, is left for after the answer: always
// one row of the same kind.
func TestThreat_E03_aRequestLeavesOneTaskWhoeverItIsFor(t *testing.T) {
	for name, task := range tasks {
		if name == "magic link of a new user" {
			continue
		}
		for _, h := range []*authtest.House{peopled(t), authtest.New(t)} {
			ok(t, name, task.ask(t, h))
			plain, sealed := opened(t, h)
			if len(plain[store.DeliverTask]) != 1 || len(sealed) != 1 {
				t.Errorf("%s leaves %d tasks and %d other things", name, len(plain[store.DeliverTask]), len(sealed)-len(plain[store.DeliverTask]))
			}
		}
	}
}

func TestThreat_E05_limitsHoldForContactsNobodyHasToo(t *testing.T) {
	for name, task := range tasks {
		for _, h := range []*authtest.House{peopled(t), authtest.New(t)} {
			ok(t, name, task.ask(t, h))
			err := task.ask(t, h)
			if code := auth.CodeOf(err); err == nil || code != auth.TooSoon && code != auth.SMSTooSoon {
				t.Errorf("%s at once again: %v", name, err)
			}
		}
	}
}

// Who is signed in is told as little as anybody: neither the answer, nor what
// it says back, nor what it costs depends on whether another has the contact.
func TestThreat_E07_aWishForATakenContactIsAnsweredLikeAnyOther(t *testing.T) {
	h := authtest.New(t)
	both(t, h)
	b := h.Join(t, bob, pw)
	type answer struct {
		User   string
		Code   auth.Code
		Hashes int
	}
	ask := func(ch auth.Changes) answer {
		h.Clock.Advance(2 * minute)
		before := h.Hashes()
		u, err := h.UpdateUser(t.Context(), authtest.Caller(), h.View(t, b.Access), ch, authtest.Flow())
		a := answer{Code: codeOf(err), Hashes: h.Hashes() - before}
		if err == nil {
			u.NewEmail, u.NewPhone = "", ""
			a.User = masked(t, *u)
		}
		return a
	}
	if diff := cmp.Diff(ask(newEmail("free@example.com")), ask(newEmail(ann))); diff != "" {
		t.Errorf("address (-free +taken):\n%s", diff)
	}
	if diff := cmp.Diff(ask(newPhone(annsOther)), ask(newPhone(annsPhone))); diff != "" {
		t.Errorf("number (-free +taken):\n%s", diff)
	}
	for _, m := range h.Mails(t, ann) {
		if m.Kind == "address_wanted" && (m.Token != "" || m.Code != "") {
			t.Error("the owner was handed a secret of another's account")
		}
	}
}

func TestThreat_E08_usersAreSortedByWhatIsShownOnly(t *testing.T) {
	h := authtest.New(t)
	h.Join(t, ann, pw)
	for _, column := range []string{"password", "encrypted_password", "new_email", "recovery_token", "id; DROP TABLE users", "email_verified_at DESC, id", "\x00"} {
		_, _, err := h.Users(t.Context(), authtest.Operator(), auth.UserFilter{Sort: column, Limit: 10})
		want(t, column, err, auth.InvalidInput)
	}
	for _, column := range auth.UserSorts {
		_, n, err := h.Users(t.Context(), authtest.Operator(), auth.UserFilter{Sort: column, Limit: 10})
		if err != nil || n != 1 {
			t.Errorf("by %s: %d users, %v", column, n, err)
		}
	}
	for _, hidden := range []string{"argon2", "$", "%", "_@"} {
		_, n, err := h.Users(t.Context(), authtest.Operator(), auth.UserFilter{Contains: hidden, Limit: 10})
		if err != nil || n != 0 {
			t.Errorf("%q finds %d users, %v", hidden, n, err)
		}
	}
}
