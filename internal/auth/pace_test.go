package auth_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
)

// lure is a way to guess the codes of one user. ask puts the question of round
// n and says how it is answered.
type lure struct {
	name string
	ask  func(t *testing.T, h *authtest.House, n int) answers
}

type answers struct {
	right string
	guess func(h *authtest.House, code string) error
	link  func(h *authtest.House) error // nil: it has none
}

func mailAnswers(t *testing.T, h *authtest.House, to string, k auth.Kind) answers {
	m := h.Mail(t, to)
	return answers{
		m.Code,
		func(h *authtest.House, code string) error { _, err := h.ByCode(t, to, code, k); return err },
		func(h *authtest.House) error { _, err := h.ByLink(t, m.Token, k); return err },
	}
}

func smsAnswers(t *testing.T, h *authtest.House, to string, k auth.Kind) answers {
	return answers{h.SMS(t, to).Code, func(h *authtest.House, code string) error { _, err := h.BySMS(t, to, code, k); return err }, nil}
}

// fresh is a session of ann's, who may have just confirmed.
func fresh(t *testing.T, h *authtest.House) *auth.Viewer {
	g, err := h.ByPassword(t, ann, pw)
	ok(t, "sign in", err)
	return h.View(t, g.Access)
}

func lures() []lure {
	ctx := authtest.Caller()
	return []lure{
		{"mails of two kinds in turn", func(t *testing.T, h *authtest.House, n int) answers {
			if n%2 == 0 {
				ok(t, "recover", h.Recover(t.Context(), ctx, ann, authtest.Flow()))
				return mailAnswers(t, h, ann, auth.KindRecovery)
			}
			ok(t, "magic link", h.MagicLink(t.Context(), ctx, auth.CodeRequest{Email: ann}, authtest.Flow()))
			return mailAnswers(t, h, ann, auth.KindMagicLink)
		}},
		{"text messages", func(t *testing.T, h *authtest.House, _ int) answers {
			ok(t, "ask", askSMS(t, h, annsPhone, true))
			return smsAnswers(t, h, annsPhone, auth.KindSMS)
		}},
		{"ever new numbers", func(t *testing.T, h *authtest.House, n int) answers {
			to := fmt.Sprintf("49151000000%02d", n)
			_, err := h.UpdateUser(t.Context(), ctx, fresh(t, h), newPhone(to), authtest.Flow())
			ok(t, "ask for "+to, err)
			return smsAnswers(t, h, to, auth.KindPhoneChange)
		}},
		{"ever new addresses", func(t *testing.T, h *authtest.House, n int) answers {
			to := fmt.Sprintf("ann%d@new.example", n)
			_, err := h.UpdateUser(t.Context(), ctx, fresh(t, h), newEmail(to), authtest.Flow())
			ok(t, "ask for "+to, err)
			return mailAnswers(t, h, to, auth.KindChangeNew)
		}},
		{"reauthentication", func(t *testing.T, h *authtest.House, _ int) answers {
			v := fresh(t, h)
			ok(t, "ask", h.Reauthenticate(t.Context(), ctx, v, authtest.Flow()))
			v.Session.CreatedAt = v.Session.CreatedAt.Add(-25 * hour)
			return answers{h.Mail(t, ann).Code, func(h *authtest.House, code string) error {
				ch := newPassword(pw2)
				ch.Nonce = code
				_, err := h.UpdateUser(t.Context(), ctx, v, ch, authtest.Flow())
				return err
			}, nil}
		}},
	}
}

// both is ann with a proved address and a proved number.
func both(t *testing.T, h *authtest.House) *auth.Grant {
	t.Helper()
	g := h.Join(t, ann, pw)
	move(t, h, g, annsPhone)
	h.Clock.Advance(minute)
	return g
}

func TestThreat_O02_thirtyWrongCodesADayAreAllWhereverTheyAreSpent(t *testing.T) {
	all := lures()
	all = append(all, lure{"all of these in turn", func(t *testing.T, h *authtest.House, n int) answers {
		return all[n%5].ask(t, h, n)
	}})
	strict := authtest.With(func(p *auth.Policy) { p.ReauthenticatePW, p.SecureEmailChange = true, false })
	for _, l := range all {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			h := authtest.New(t, strict)
			g := both(t, h)
			nodes := h.Nodes(t, 3, strict)
			for n := range 6 { // five for each code, and none for another within the hour
				a := l.ask(t, h, n)
				for i := range 5 {
					err := a.guess(nodes[i%3], authtest.WrongCode(a.right))
					if code := codeOf(err); code != auth.CodeFailed && code != auth.ReauthFailed {
						t.Fatalf("guess %d: %v", 5*n+i+1, err)
					}
				}
				h.Clock.Advance(hour + minute)
			}
			opened := sessions(t, h, g.User.ID)
			a := l.ask(t, h, 6)
			opened = max(opened, sessions(t, h, g.User.ID))
			for _, node := range nodes {
				switch code := codeOf(a.guess(node, a.right)); code {
				case auth.CodeFailed, auth.ReauthFailed, auth.TooMany:
				default:
					t.Fatalf("the right code after thirty wrong ones: %q", code)
				}
			}
			if now := sessions(t, h, g.User.ID); now != opened {
				t.Errorf("%d sessions were opened", now-opened)
			}
			if a.link != nil {
				ok(t, "the link", a.link(nodes[1]))
			}
			if l.name == "ever new addresses" {
				return // it is another's now
			}
			h.Clock.Advance(24 * hour)
			a = l.ask(t, h, 7)
			ok(t, "the right code the next day", a.guess(h, a.right))
		})
	}
}

func TestThreat_O01_aHundredGuessesAtOneInstantCountExactly(t *testing.T) {
	h := authtest.New(t)
	both(t, h)
	nodes := h.Nodes(t, 3)
	ok(t, "recover", h.Recover(t.Context(), authtest.Caller(), ann, authtest.Flow()))
	ok(t, "text", askSMS(t, h, annsPhone, true))
	mail, text := h.Mail(t, ann).Code, h.SMS(t, annsPhone).Code
	for what, guess := range map[string]func(h *authtest.House) error{
		"mail": func(h *authtest.House) error {
			_, err := h.ByCode(t, ann, authtest.WrongCode(mail), auth.KindRecovery)
			return err
		},
		"text": func(h *authtest.House) error {
			_, err := h.BySMS(t, annsPhone, authtest.WrongCode(text), auth.KindSMS)
			return err
		},
		// E05: whose address it is must not show in when it is too often.
		"address of nobody": func(h *authtest.House) error {
			_, err := h.ByCode(t, "nobody@example.com", "000000", auth.KindRecovery)
			return err
		},
		"number of nobody": func(h *authtest.House) error {
			_, err := h.BySMS(t, "4915100000000", "000000", auth.KindSMS)
			return err
		},
	} {
		errs := across(nodes, 100, func(h *authtest.House, _ int) error { return guess(h) })
		if diff := cmp.Diff(guesses(100), tally(errs)); diff != "" {
			t.Errorf("%s: answers (-want +got):\n%s", what, diff)
		}
		err := guess(h)
		want(t, what+": one more", err, auth.TooMany)
		if wait := auth.Told(err).RetryAfter; wait <= 0 || wait > hour {
			t.Errorf("%s: come back after %v, want within the hour", what, wait)
		}
	}
	_, err := h.BySMS(t, annsPhone, text, auth.KindSMS)
	want(t, "the right code of the message", err, auth.TooMany)
}

// A right code is no guess: who signs in often is not locked out.
func TestCode_rightOnesAreNotCounted(t *testing.T) {
	h := authtest.New(t)
	h.JoinByPhone(t, annsPhone, pw)
	for n := range 15 {
		h.Clock.Advance(minute)
		ok(t, "ask", askSMS(t, h, annsPhone, false))
		_, err := h.BySMS(t, annsPhone, h.SMS(t, annsPhone).Code, auth.KindSMS)
		ok(t, fmt.Sprint("right code ", n+1), err)
	}
}

func TestPace_holdsByAddressAndByEverybody(t *testing.T) {
	for name, c := range map[string]struct {
		policy func(*auth.Policy)
		every  time.Duration
		number func(n int) string
		ok     int
	}{
		"to one address in a day":   {func(p *auth.Policy) { p.MailsPerDay = 3 }, minute, func(int) string { return ann }, 3},
		"of everybody":              {func(p *auth.Policy) { p.MailRate = auth.Rate{Most: 4, Window: hour} }, 0, func(n int) string { return fmt.Sprintf("u%d@example.com", n) }, 4},
		"to one number in an hour":  {func(p *auth.Policy) { p.SMSPerHour = 3 }, minute, func(int) string { return annsPhone }, 3},
		"to one number in a day":    {func(p *auth.Policy) { p.SMSPerDay = 5 }, hour, func(int) string { return annsPhone }, 5},
		"of all messages":           {func(p *auth.Policy) { p.SMSRate = auth.Rate{Most: 4, Window: hour} }, 0, func(n int) string { return fmt.Sprintf("491510000000%d", n) }, 4},
		"of all messages in a day":  {func(p *auth.Policy) { p.SMSBudget = 4 }, 0, func(n int) string { return fmt.Sprintf("491510000000%d", n) }, 4},
		"where no limit is wanted":  {func(p *auth.Policy) { p.SMSEvery, p.SMSBudget = 0, 0 }, 0, func(int) string { return annsPhone }, 8},
		"to other spellings of one": {func(p *auth.Policy) { p.MailsPerDay = 3 }, minute, func(n int) string { return []string{ann, "ANN@Example.com", " ann@EXAMPLE.COM "}[n%3] }, 3},
	} {
		t.Run(name, func(t *testing.T) {
			h := authtest.New(t, authtest.With(c.policy))
			passed := 0
			for n := range 8 {
				r := auth.CodeRequest{Create: true}
				if to := c.number(n); to[0] >= '0' && to[0] <= '9' {
					r.Phone = to
				} else {
					r.Email = to
				}
				err := h.MagicLink(t.Context(), authtest.Caller(), r, authtest.Flow())
				if err == nil {
					passed++
				} else if code := auth.CodeOf(err); code != auth.TooSoon && code != auth.SMSTooSoon {
					t.Fatal(err)
				}
				h.Deliver(t)
				h.Clock.Advance(c.every)
			}
			if passed != c.ok {
				t.Errorf("%d of 8 passed, want %d", passed, c.ok)
			}
		})
	}
}

func TestPace_mailGoesToAFewAddressesOnlyWhereThatIsWanted(t *testing.T) {
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.MailOnlyTo = []string{"ANN@example.com"} }))
	h.Join(t, ann, pw)
	_, err := signUp(t, h, bob, pw)
	want(t, "sign up", err, auth.EmailNotAuthorized)
	want(t, "recover", h.Recover(t.Context(), authtest.Caller(), bob, authtest.Flow()), auth.EmailNotAuthorized)
	want(t, "magic link", h.MagicLink(t.Context(), authtest.Caller(), auth.CodeRequest{Email: bob, Create: true}, authtest.Flow()), auth.EmailNotAuthorized)
	if h.Count(t) != 1 || len(h.Mails(t, bob)) != 0 {
		t.Errorf("%d users, %d mails to bob", h.Count(t), len(h.Mails(t, bob)))
	}
}

// Nobody's session, and no number of them, is a way to flood a stranger.
func TestThreat_O11_aStrangerIsNotFloodedByWishesForTheirAddress(t *testing.T) {
	const accounts = 4
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.Autoconfirm, p.PhoneAutoconfirm = true, true }))
	nodes := h.Nodes(t, 2) // whose changes need a proof
	var held []*auth.Grant
	for n := range accounts {
		g := h.JoinByPhone(t, fmt.Sprintf("491510000000%d", n), pw)
		held = append(held, g)
	}
	house := nodes[1]
	for n, g := range held {
		err := setPhone(t, house, g, annsPhone)
		if n == 0 {
			ok(t, "the first wish", err)
		} else {
			want(t, "another's", err, auth.SMSTooSoon)
		}
		want(t, "and once more", setPhone(t, house, g, annsOther), auth.SMSTooSoon)
	}
	if got := len(house.Texts(t, annsPhone)); got != 1 {
		t.Fatalf("%d messages in a minute, want 1", got)
	}
	// Once everybody's wish is there, a resend must not be another door.
	for n := 1; n < accounts; n++ {
		house.Clock.Advance(minute)
		ok(t, "a wish", setPhone(t, house, held[n], annsPhone))
		house.Deliver(t)
	}
	before := len(house.Texts(t, annsPhone))
	house.Clock.Advance(minute)
	for n := range accounts {
		ok(t, "resend", house.Resend(t.Context(), authtest.Caller(), auth.KindPhoneChange, fmt.Sprintf("491510000000%d", n), authtest.Flow()))
	}
	if got := len(house.Texts(t, annsPhone)) - before; got != 1 {
		t.Errorf("%d messages by %d resends in a minute, want 1", got, accounts)
	}
}

// All of a change happens or none: also when a limit is what refuses it.
func TestUpdateUser_aWishThatComesTooSoonChangesNoPassword(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	other := h.Enter(t, ann, pw)
	ok(t, "a wish", setEmailOf(t, h, g, "first@new.example"))
	ch := newPassword(pw2)
	ch.Email = ptr("second@new.example")
	want(t, "another with a password", setPassword(t, h, g, ch), auth.TooSoon)
	lives(t, "the other session", h, other)
	h.Enter(t, ann, pw)
	if u := read(t, h, g.User.ID); u.NewEmail != "first@new.example" {
		t.Errorf("wanted %q", u.NewEmail)
	}
}

func setEmailOf(t *testing.T, h *authtest.House, g *auth.Grant, email string) error {
	_, err := h.UpdateUser(t.Context(), authtest.Caller(), h.View(t, g.Access), newEmail(email), authtest.Flow())
	return err
}

// Whoever earns by messages has them sent to numbers of one block.
func TestPhone_neighboursShareALimit(t *testing.T) {
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.SMSPerPrefix = 3 }))
	ask := func(number string) error {
		return h.MagicLink(t.Context(), authtest.Caller(), auth.CodeRequest{Phone: number, Create: true}, authtest.Flow())
	}
	for n := range 3 {
		ok(t, "a neighbour", ask(fmt.Sprintf("22177912345%d", n)))
	}
	want(t, "one more", ask("221779999999"), auth.SMSTooSoon)
	ok(t, "a number elsewhere", ask(annsPhone))
	h.Clock.Advance(hour)
	ok(t, "an hour later", ask("221779999999"))
}
