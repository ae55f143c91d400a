package auth_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
)

// question is an open question of one kind, with all a mail carries of it.
type question struct {
	email       string // of the user it was put to
	token, code string
	signsIn     bool
}

// asks puts a question of each kind to somebody. All but the first two are put
// to ann, confirmed, who signed in long ago.
var asks = map[auth.Kind]func(t *testing.T, h *authtest.House) question{
	auth.KindConfirmation: func(t *testing.T, h *authtest.House) question {
		_, err := signUp(t, h, "new@example.com", pw)
		ok(t, "sign up", err)
		return mailed(t, h, "new@example.com", "new@example.com")
	},
	auth.KindInvite: func(t *testing.T, h *authtest.House) question {
		_, err := h.Invite(t.Context(), authtest.Operator(), "guest@example.com", nil, authtest.Flow())
		ok(t, "invite", err)
		return mailed(t, h, "guest@example.com", "guest@example.com")
	},
	auth.KindRecovery: func(t *testing.T, h *authtest.House) question {
		h.Clock.Advance(minute) // it shares its pace with magic links
		ok(t, "recover", h.Recover(t.Context(), authtest.Caller(), ann, authtest.Flow()))
		return mailed(t, h, ann, ann)
	},
	auth.KindMagicLink: func(t *testing.T, h *authtest.House) question {
		h.Clock.Advance(minute)
		ok(t, "magic link", h.MagicLink(t.Context(), authtest.Caller(), auth.CodeRequest{Email: ann}, authtest.Flow()))
		return mailed(t, h, ann, ann)
	},
	auth.KindChangeCurrent: func(t *testing.T, h *authtest.House) question {
		askChange(t, h, "ann-new@example.com")
		return mailed(t, h, ann, ann)
	},
	auth.KindChangeNew: func(t *testing.T, h *authtest.House) question {
		askChange(t, h, "ann-newer@example.com")
		return mailed(t, h, ann, "ann-newer@example.com")
	},
	auth.KindReauth: func(t *testing.T, h *authtest.House) question {
		ok(t, "reauthenticate", h.Reauthenticate(t.Context(), authtest.Caller(), annsView(t, h), auth.Flow{}))
		q := mailed(t, h, ann, ann)
		q.signsIn = false
		return q
	},
	auth.KindPKCE: func(t *testing.T, h *authtest.House) question {
		f := authtest.Flow()
		f.PKCE = auth.PKCE{Challenge: "the verifier itself", Method: "plain"}
		h.Clock.Advance(minute)
		ok(t, "magic link", h.MagicLink(t.Context(), authtest.Caller(), auth.CodeRequest{Email: ann}, f))
		g, err := h.ByLink(t, h.Mail(t, ann).Token, auth.KindMagicLink)
		ok(t, "magic link with a challenge", err)
		return question{email: ann, token: g.AuthCode}
	},
	auth.KindSetup: func(t *testing.T, h *authtest.House) question {
		link, open, err := h.OfferSetup(t.Context())
		if err != nil || !open {
			t.Fatalf("setup: open %v, %v", open, err)
		}
		return question{token: link}
	},
}

func mailed(t *testing.T, h *authtest.House, email, to string) question {
	t.Helper()
	m := h.Mail(t, to)
	return question{email: email, token: m.Token, code: m.Code, signsIn: true}
}

func askChange(t *testing.T, h *authtest.House, email string) {
	t.Helper()
	_, err := h.UpdateUser(t.Context(), authtest.Caller(), annsView(t, h), newEmail(email), authtest.Flow())
	ok(t, "change of address", err)
}

// annsView is ann's, by a session of a day ago.
func annsView(t *testing.T, h *authtest.House) *auth.Viewer {
	t.Helper()
	g, err := h.ByPassword(t, ann, pw)
	if h.Count(t) == 0 {
		h.Join(t, ann, pw)
		g, err = h.ByPassword(t, ann, pw)
	} else if err != nil { // it was changed meanwhile
		g, err = h.ByPassword(t, ann, pw2)
	}
	ok(t, "sign in", err)
	v := h.View(t, g.Access)
	v.Session.CreatedAt = v.Session.CreatedAt.Add(-25 * time.Hour)
	return v
}

// attempt is one door a secret may be tried at.
type attempt struct {
	door  string
	enter func(t *testing.T, h *authtest.House, q question) error
}

// doors are all that take a one-time secret of a kind.
func doors(k auth.Kind) []attempt {
	link := attempt{"link", func(t *testing.T, h *authtest.House, q question) error {
		_, err := h.ByLink(t, q.token, k)
		return err
	}}
	code := attempt{"code", func(t *testing.T, h *authtest.House, q question) error {
		_, err := h.ByCode(t, q.email, q.code, k)
		return err
	}}
	switch k {
	case auth.KindReauth:
		return []attempt{link, code, {"nonce", func(t *testing.T, h *authtest.House, q question) error {
			ch := newPassword(pw2)
			ch.Nonce = q.code
			_, err := h.UpdateUser(t.Context(), authtest.Caller(), annsView(t, h), ch, authtest.Flow())
			return err
		}}}
	case auth.KindPKCE:
		return []attempt{link, code, {"authorization code", func(t *testing.T, h *authtest.House, q question) error {
			_, err := h.ByAuthCode(t, q.token, "the verifier itself")
			return err
		}}}
	case auth.KindSetup:
		return []attempt{link, code, {"setup", func(t *testing.T, h *authtest.House, q question) error {
			_, err := h.Setup(t.Context(), authtest.Caller(), q.token, "root@example.com", pw)
			return err
		}}}
	case auth.KindChangeNew, auth.KindChangeCurrent:
		return []attempt{link, code, {"change token", func(t *testing.T, h *authtest.House, q question) error {
			_, err := h.AcceptEmailChange(t.Context(), authtest.Caller(), annsView(t, h), q.token)
			return err
		}}}
	}
	return []attempt{link, code}
}

// TestThreat_R14 tries the secrets of every kind at the doors of every other,
// while questions of those kinds are open, and then at their own.
func TestThreat_R14_aSecretOfOneKindOpensAndSpoilsNoOther(t *testing.T) {
	for a, ask := range asks {
		t.Run(string(a), func(t *testing.T) {
			t.Parallel()
			h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.ReauthenticatePW = true }))
			annsView(t, h)
			for b, other := range asks {
				if b != a && b != auth.KindChangeCurrent && b != auth.KindChangeNew {
					other(t, h)
				}
			}
			q := ask(t, h)
			for b := range asks {
				change := func(k auth.Kind) bool { return k == auth.KindChangeCurrent || k == auth.KindChangeNew }
				for _, d := range doors(b) {
					own := a == b && (q.signsIn || d.door == "nonce" || d.door == "authorization code" || d.door == "setup")
					if own || change(a) && change(b) { // one question in two halves: see the tests of changing an address
						continue
					}
					if q.code == "" && d.door == "code" || q.token == "" && d.door != "code" && d.door != "nonce" {
						continue
					}
					if err := d.enter(t, h, q); err == nil || auth.CodeOf(err) == auth.Internal {
						t.Errorf("at the %s door of %s: got %v, want a refusal", d.door, b, err)
					}
				}
			}
			// Its own door still opens: none of the attempts consumed it.
			own := doors(a)
			d := own[len(own)-1]
			ok(t, "at its own door", d.enter(t, h, q))
			if err := d.enter(t, h, q); err == nil {
				t.Error("it opened its own door twice")
			}
		})
	}
}

func TestCode_ofOneUserOpensNothingOfAnother(t *testing.T) {
	h := authtest.New(t)
	h.Join(t, ann, pw)
	h.Join(t, bob, pw)
	ok(t, "recover ann", h.Recover(t.Context(), authtest.Caller(), ann, authtest.Flow()))
	ok(t, "recover bob", h.Recover(t.Context(), authtest.Caller(), bob, authtest.Flow()))
	a := h.Mail(t, ann)
	_, err := h.ByCode(t, bob, a.Code, auth.KindRecovery)
	if a.Code != h.Mail(t, bob).Code {
		want(t, "ann's code for bob", err, auth.CodeFailed)
	}
	g, err := h.ByCode(t, ann, a.Code, auth.KindRecovery)
	ok(t, "ann's code for ann", err)
	if g.User.Email != ann {
		t.Errorf("signed in as %s, want ann", g.User.Email)
	}
}

func TestLink_andCodeOfOneMailAreOneAnswer(t *testing.T) {
	h := authtest.New(t)
	h.Join(t, ann, pw)
	ok(t, "recover", h.Recover(t.Context(), authtest.Caller(), ann, authtest.Flow()))
	m := h.Mail(t, ann)
	_, err := h.ByCode(t, ann, m.Code, auth.KindRecovery)
	ok(t, "code", err)
	_, err = h.ByLink(t, m.Token, auth.KindRecovery)
	want(t, "the link after the code", err, auth.LinkFailed)
	_, err = h.ByCode(t, ann, m.Code, auth.KindRecovery)
	want(t, "the code again", err, auth.CodeFailed)
}

func TestLink_lookingSpendsNothing(t *testing.T) {
	h := authtest.New(t)
	_, err := signUp(t, h, ann, pw)
	ok(t, "sign up", err)
	m := h.Mail(t, ann)
	for range 3 {
		q, err := h.Link(t.Context(), authtest.Caller(), authtest.Kinds(), m.Token)
		ok(t, "look", err)
		if q.Kind != auth.KindConfirmation || q.SentTo != ann {
			t.Errorf("the link is of kind %s to %s, want a confirmation to ann", q.Kind, q.SentTo)
		}
	}
	h.Follow(t, m.Token)
	_, err = h.Link(t.Context(), authtest.Caller(), authtest.Kinds(), m.Token)
	want(t, "look at a used link", err, auth.LinkFailed)
}

func TestThreat_R02_aHundredRedemptionsOfOneSecretSucceedOnce(t *testing.T) {
	for _, c := range []struct {
		name string
		kind auth.Kind
		no   auth.Code
		use  func(t *testing.T, h *authtest.House, q question, k auth.Kind) (*auth.Grant, error)
	}{
		{"confirmation code", auth.KindConfirmation, auth.CodeFailed, byCode},
		{"confirmation link", auth.KindConfirmation, auth.LinkFailed, byLink},
		{"recovery code", auth.KindRecovery, auth.CodeFailed, byCode},
		{"recovery link", auth.KindRecovery, auth.LinkFailed, byLink},
		{"magic link", auth.KindMagicLink, auth.LinkFailed, byLink},
		{"invitation", auth.KindInvite, auth.LinkFailed, byLink},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := authtest.New(t)
			annsView(t, h)
			q := asks[c.kind](t, h)
			errs := together(100, func(int) error {
				_, err := c.use(t, h, q, c.kind)
				return err
			})
			if diff := cmp.Diff(onceOf(100, c.no), tally(errs)); diff != "" {
				t.Errorf("answers (-want +got):\n%s", diff)
			}
		})
	}
}

func byCode(t *testing.T, h *authtest.House, q question, k auth.Kind) (*auth.Grant, error) {
	return h.ByCode(t, q.email, q.code, k)
}

func byLink(t *testing.T, h *authtest.House, q question, k auth.Kind) (*auth.Grant, error) {
	return h.ByLink(t, q.token, k)
}

func TestCode_diesWithFiveWrongTriesAndAResendBringsNone(t *testing.T) {
	h := authtest.New(t)
	_, err := signUp(t, h, ann, pw)
	ok(t, "sign up", err)
	m := h.Mail(t, ann)
	for range 5 {
		_, err := h.ByCode(t, ann, authtest.WrongCode(m.Code), auth.KindConfirmation)
		want(t, "wrong code", err, auth.CodeFailed)
	}
	_, err = h.ByCode(t, ann, m.Code, auth.KindConfirmation)
	want(t, "the right code after five wrong", err, auth.CodeFailed)

	again := func() string {
		ok(t, "resend", h.Resend(t.Context(), authtest.Caller(), auth.KindConfirmation, ann, authtest.Flow()))
		return h.Mail(t, ann).Code
	}
	want(t, "resend at once", h.Resend(t.Context(), authtest.Caller(), auth.KindConfirmation, ann, authtest.Flow()), auth.TooSoon)
	h.Clock.Advance(minute)
	_, err = h.ByCode(t, ann, again(), auth.KindConfirmation)
	want(t, "the right code of the resent mail", err, auth.CodeFailed)
	h.Clock.Advance(58*minute + 59*time.Second)
	_, err = h.ByCode(t, ann, again(), auth.KindConfirmation)
	want(t, "the same a second before the hour", err, auth.CodeFailed)
	h.Clock.Advance(minute)
	_, err = h.ByCode(t, ann, again(), auth.KindConfirmation)
	ok(t, "the same an hour later", err)
}

func TestCode_fourWrongTriesAndTheRightOne(t *testing.T) {
	h := authtest.New(t)
	_, err := signUp(t, h, ann, pw)
	ok(t, "sign up", err)
	m := h.Mail(t, ann)
	for range 4 {
		_, err := h.ByCode(t, ann, authtest.WrongCode(m.Code), auth.KindConfirmation)
		want(t, "wrong code", err, auth.CodeFailed)
	}
	_, err = h.ByCode(t, ann, m.Code, auth.KindConfirmation)
	ok(t, "the fifth try, right", err)

	// A right answer gives the tries back: the next code has five again.
	ok(t, "recover", h.Recover(t.Context(), authtest.Caller(), ann, authtest.Flow()))
	m = h.Mail(t, ann)
	_, err = h.ByCode(t, ann, m.Code, auth.KindRecovery)
	ok(t, "recovery", err)
}

func TestThreat_R10_guessesMadeAtOneInstantAllCount(t *testing.T) {
	for _, wrong := range []int{4, 5, 50} {
		h := authtest.New(t)
		_, err := signUp(t, h, ann, pw)
		ok(t, "sign up", err)
		m := h.Mail(t, ann)
		errs := together(wrong, func(int) error {
			_, err := h.ByCode(t, ann, authtest.WrongCode(m.Code), auth.KindConfirmation)
			return err
		})
		if diff := cmp.Diff(guesses(wrong), tally(errs)); diff != "" {
			t.Errorf("answers (-want +got):\n%s", diff)
		}
		_, err = h.ByCode(t, ann, m.Code, auth.KindConfirmation)
		if wrong < 5 {
			ok(t, "the fifth try, right", err)
		} else {
			want(t, "the right code after too many guesses", err, afterGuesses(wrong))
		}
	}
}

func TestCode_livesTenMinutesAndLinkAnHour(t *testing.T) {
	for _, c := range []struct {
		name  string
		after time.Duration
		use   func(t *testing.T, h *authtest.House, q question, k auth.Kind) (*auth.Grant, error)
		code  auth.Code
	}{
		{"code at 9:59", 10*minute - time.Second, byCode, ""},
		{"code at 10:01", 10*minute + time.Second, byCode, auth.CodeFailed},
		{"link at 10:01", 10*minute + time.Second, byLink, ""},
		{"link at 59:59", time.Hour - time.Second, byLink, ""},
		{"link at 1:00:01", time.Hour + time.Second, byLink, auth.LinkFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, k := range []auth.Kind{auth.KindConfirmation, auth.KindRecovery, auth.KindMagicLink} {
				h := authtest.New(t)
				annsView(t, h)
				q := asks[k](t, h)
				h.Clock.Advance(c.after)
				_, err := c.use(t, h, q, k)
				if c.code == "" {
					ok(t, string(k), err)
				} else {
					want(t, string(k), err, c.code)
				}
			}
		})
	}
}

func TestLink_ofAnInvitationLivesAWeek(t *testing.T) {
	for _, c := range []struct {
		after time.Duration
		code  auth.Code
	}{{-time.Second, ""}, {time.Second, auth.LinkFailed}} {
		h := authtest.New(t)
		q := asks[auth.KindInvite](t, h)
		h.Clock.Advance(7*24*time.Hour + c.after)
		_, err := h.ByLink(t, q.token, auth.KindInvite)
		if c.code == "" {
			ok(t, "a second before", err)
		} else {
			want(t, "a second after", err, c.code)
		}
	}
}
