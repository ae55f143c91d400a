package auth_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/bits"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/captcha"
)

// withWork has clients do a proof of work that is soon done.
func withWork(t *testing.T) (*captcha.Work, func(*auth.Options)) {
	t.Helper()
	w, err := captcha.NewWork(captcha.WorkOptions{
		Bits: captcha.MinBits,
		MAC: func(parts ...[]byte) [32]byte {
			return sha256.Sum256(bytes.Join(append(parts, []byte("key")), []byte("|")))
		},
	})
	ok(t, "work", err)
	return w, func(o *auth.Options) { o.Captcha = &auth.Captcha{Work: w.Check} }
}

// solve does the work.
func solve(c captcha.Challenge) string {
	seed := sha256.Sum256([]byte(c.Text))
	for nonce := uint64(0); ; nonce++ {
		sum := sha256.Sum256(binary.BigEndian.AppendUint64(seed[:], nonce))
		if bits.LeadingZeros64(binary.BigEndian.Uint64(sum[:])) >= c.Bits {
			return fmt.Sprintf("pow.%s.%016x", c.Text, nonce)
		}
	}
}

// unsolved is a token whose work was not done.
func unsolved(w *captcha.Work, c captcha.Challenge, now time.Time) string {
	for nonce := 0; ; nonce++ {
		token := fmt.Sprintf("pow.%s.%016x", c.Text, nonce)
		_, _, err := w.Check(token, now)
		if err != nil {
			return token
		}
	}
}

// solver is a caller who has solved something.
func solver(token string) auth.Caller {
	c := authtest.Caller()
	c.Captcha = token
	return c
}

// asked tells whether a way in or to a message is guarded by a captcha, as the
// contract has it.
func asked(e *entry) bool {
	return e.method == "password" || e.method == "web3" || slices.Contains([]string{"SignUp", "Recover", "MagicLink", "Resend"}, e.call)
}

// captchaGate refuses whoever has solved nothing.
func captchaGate() gate {
	return gate{name: "captcha", code: always(auth.CaptchaFailed, asked), policy: func(o *auth.Options) {
		o.Captcha = &auth.Captcha{Ask: func(context.Context, string, string) error { return errors.New("not solved") }}
	}}
}

func TestCaptcha_aSolvedOneOpensEachGuardedEntryOnce(t *testing.T) {
	guarded := 0
	for _, e := range entries() {
		if !asked(&e) {
			continue
		}
		guarded++
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			w, option := withWork(t)
			h, closed, _, enter := e.house(t, gate{policy: option})
			h.Clock.Advance(time.Second)
			c := w.Challenge(h.Clock.Now())
			token := solve(c)
			for _, bad := range []string{"", "pow", token + "0", unsolved(w, c, h.Clock.Now()), solve(w.Challenge(h.Clock.Now().Add(-hour)))} {
				_, err := enter(closed, solver(bad))
				want(t, "with "+bad, err, auth.CaptchaFailed)
			}
			_, err := enter(closed, solver(token))
			ok(t, "with the right one", err)
			h.Clock.Advance(2 * minute)
			_, err = enter(closed, solver(token))
			want(t, "with it again", err, auth.CaptchaFailed)
			if !e.makes || !e.opens || e.via == "" {
				_, err = enter(closed, solver(solve(w.Challenge(h.Clock.Now()))))
				ok(t, "with another", err)
			}
		})
	}
	if guarded < 12 {
		t.Errorf("%d entries are guarded", guarded)
	}
}

func TestCaptcha_isNotAskedOfWhoIsExcused(t *testing.T) {
	t.Parallel()
	h := authtest.New(t, func(o *auth.Options) { captchaGate().policy(o) })
	c := authtest.Caller()
	want(t, "recover", h.Recover(t.Context(), c, ann, authtest.Flow()), auth.CaptchaFailed)
	c.Excused = true
	ok(t, "recover, excused", h.Recover(t.Context(), c, ann, authtest.Flow()))
}

// A proof is spent by one of all that bring it, on whichever node.
func TestCaptcha_aProofIsTakenOnceByThreeNodes(t *testing.T) {
	w, option := withWork(t)
	h := authtest.New(t, option)
	nodes := h.Nodes(t, 3, option)
	for round := range 3 {
		token, users := solve(w.Challenge(h.Clock.Now())), h.Count(t)
		got := tally(across(nodes, 30, func(h *authtest.House, i int) error {
			_, err := h.SignUp(t.Context(), solver(token), auth.NewUser{Email: fmt.Sprintf("u%d-%d@example.com", round, i), Password: pw}, authtest.Flow())
			return err
		}))
		if diff := cmp.Diff(map[auth.Code]int{"": 1, auth.CaptchaFailed: 29}, got); diff != "" {
			t.Errorf("round %d (-want +got):\n%s", round, diff)
		}
		if n := h.Count(t) - users; n != 1 {
			t.Errorf("round %d: %d users", round, n)
		}
	}
}

func TestCaptcha_aProofStaysSpentToItsLastInstant(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]time.Duration{"soon": 9 * minute, "late": minute, "at the last instant": time.Millisecond} { // the end
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, option := withWork(t)
			h := authtest.New(t, option)
			c := w.Challenge(h.Clock.Now())
			token, begin := solve(c), h.Clock.Now()
			at := func(d time.Duration) error {
				h.Clock.Advance(begin.Add(d).Sub(h.Clock.Now()))
				return h.Recover(t.Context(), solver(token), ann, authtest.Flow())
			}
			left := c.Ends.Sub(begin)
			first := left - before
			ok(t, "first", at(first))
			for _, d := range []time.Duration{first, (first + left) / 2, left - time.Microsecond, left, left + minute, left + hour, 100 * hour} {
				want(t, fmt.Sprint("after ", d), at(d), auth.CaptchaFailed)
			}
		})
	}
}

// The work of a sign-in that is begun anew, because somebody changed the
// password meanwhile, is not asked for again.
func TestCaptcha_isAskedOnceOfASignIn(t *testing.T) {
	t.Parallel()
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	w, option := withWork(t)
	closed := h.Under(t, option)
	closed.DuringHash(func() {
		_, err := h.SetUser(t.Context(), authtest.Operator(), g.User.ID, auth.UserChanges{Password: ptr(pw)})
		ok(t, "the same password, hashed anew", err)
	})
	_, err := closed.SignIn(t.Context(), solver(solve(w.Challenge(h.Clock.Now()))), "password", auth.Input{Email: ann, Password: pw}, false)
	ok(t, "sign in", err)
}

// Whoever solves nothing learns nothing, and costs nothing: neither a look into
// the database, nor a hash, nor a question to a hook.
func TestCaptcha_aFailedOneTellsNothingOfWhoIsKnown(t *testing.T) {
	t.Parallel()
	h := authtest.New(t)
	h.Join(t, ann, pw)
	w, option := withWork(t)
	told := func(what string) { t.Errorf("it went on to %s", what) }
	closed := h.Under(t, option, func(o *auth.Options) {
		o.Policy.Reveal = auth.RevealAll
		o.Checks.Leaked = func(context.Context, string) (bool, error) { told("a check of passwords"); return false, nil }
		o.Hooks.BeforeUser = func(context.Context, auth.Caller, *auth.User) (auth.Changed, error) {
			told("a hook")
			return auth.Changed{}, nil
		}
		o.Hooks.PasswordTried = func(context.Context, auth.Caller, auth.UserID, bool) (auth.PasswordVerdict, error) {
			told("a hook")
			return auth.PasswordVerdict{}, nil
		}
	})
	spent := solve(w.Challenge(h.Clock.Now()))
	ok(t, "spend", closed.Resend(t.Context(), solver(spent), auth.KindConfirmation, bob, authtest.Flow()))
	// With a context that is over neither the database nor the hashing pool does
	// anything, and says so.
	over, cancel := context.WithCancel(t.Context())
	cancel()
	f := authtest.Flow()
	for name, ask := range map[string]func(ctx context.Context, c auth.Caller, email string) error{
		"sign up": func(ctx context.Context, c auth.Caller, email string) error {
			_, err := closed.SignUp(ctx, c, auth.NewUser{Email: email, Password: pw}, f)
			return err
		},
		"sign in": func(ctx context.Context, c auth.Caller, email string) error {
			_, err := closed.SignIn(ctx, c, "password", auth.Input{Email: email, Password: pw}, false)
			return err
		},
		"recover": func(ctx context.Context, c auth.Caller, email string) error { return closed.Recover(ctx, c, email, f) },
		"a link": func(ctx context.Context, c auth.Caller, email string) error {
			return closed.MagicLink(ctx, c, auth.CodeRequest{Email: email}, f)
		},
		"a link again": func(ctx context.Context, c auth.Caller, email string) error {
			return closed.Resend(ctx, c, auth.KindConfirmation, email, f)
		},
	} {
		before := closed.Hashes()
		for token, ctx := range map[string]context.Context{"": over, "rubbish": over, solve(w.Challenge(h.Clock.Now().Add(-hour))): over, spent: t.Context()} {
			known, unknown := ask(ctx, solver(token), ann), ask(ctx, solver(token), bob)
			want(t, name, known, auth.CaptchaFailed)
			if known.Error() != unknown.Error() {
				t.Errorf("%s: %q of somebody, %q of nobody", name, known, unknown)
			}
		}
		if n := closed.Hashes() - before; n != 0 {
			t.Errorf("%s: %d passwords were hashed", name, n)
		}
	}
	for range 20 { // of which none counts as a wrong password
		_, err := closed.SignIn(t.Context(), solver("rubbish"), "password", auth.Input{Email: ann, Password: "wrong"}, false)
		want(t, "sign in", err, auth.CaptchaFailed)
	}
	h.Enter(t, ann, pw)
}

// A way in that is shut is shut, whatever somebody has solved.
func TestCaptcha_isNotSpentOnAWayThatIsShut(t *testing.T) {
	t.Parallel()
	w, option := withWork(t)
	h := authtest.New(t, option)
	token := solve(w.Challenge(h.Clock.Now()))
	shut := h.Under(t, option, authtest.With(func(p *auth.Policy) { p.EmailDisabled, p.AnonymousDisabled = true, true }))
	want(t, "recover", shut.Recover(t.Context(), solver(token), ann, authtest.Flow()), auth.EmailDisabled)
	_, err := shut.SignUp(t.Context(), solver(token), auth.NewUser{}, authtest.Flow())
	want(t, "sign up", err, auth.AnonymousDisabled)
	ok(t, "recover", h.Recover(t.Context(), solver(token), ann, authtest.Flow()))
}

func TestCaptcha_onlyAClearYesIsOne(t *testing.T) {
	t.Parallel()
	away := errors.New("no answer")
	for name, c := range map[string]struct {
		fault    auth.CaptchaFault
		err      error
		in       bool // without FailOpen
		failOpen bool // with it
		code     auth.Code
	}{
		"solved":      {err: nil, in: true, failOpen: true},
		"refused":     {auth.CaptchaRefused, away, false, false, auth.CaptchaFailed},
		"unavailable": {auth.CaptchaUnavailable, away, false, true, auth.CaptchaFailed},
		"setup":       {auth.CaptchaSetup, away, false, false, auth.CaptchaFailed},
		"over":        {auth.CaptchaUndecided, context.Canceled, false, false, auth.Internal},
		"unheard of":  {auth.CaptchaFault(99), away, false, false, auth.CaptchaFailed},
	} {
		for _, open := range []bool{false, true} {
			heard := ""
			h := authtest.New(t, func(o *auth.Options) {
				o.Captcha = &auth.Captcha{
					Ask:      func(_ context.Context, token, ip string) error { heard = token + " of " + ip; return c.err },
					Judge:    func(error) (auth.CaptchaFault, string) { return c.fault, "for a reason" },
					FailOpen: open,
				}
			})
			err := h.Recover(t.Context(), solver("token"), ann, authtest.Flow())
			wanted := c.in
			if open {
				wanted = c.failOpen
			}
			switch {
			case wanted:
				ok(t, name, err)
			case auth.CodeOf(err) != c.code:
				t.Errorf("%s, open %v: got %v, want %s", name, open, err, c.code)
			case c.code == auth.Internal && !errors.Is(err, context.Canceled):
				t.Errorf("%s: got %v, want it to be told that the request was over", name, err)
			}
			if heard != "token of 203.0.113.7" {
				t.Errorf("%s: asked about %q", name, heard)
			}
			// What was never solved is not asked about, and no outage makes it good.
			heard = ""
			want(t, name+", nothing", h.Recover(t.Context(), authtest.Caller(), ann, authtest.Flow()), auth.CaptchaFailed)
			if heard != "" {
				t.Errorf("%s: asked about %q, which is nothing", name, heard)
			}
		}
	}
	h := authtest.New(t, func(o *auth.Options) { o.Captcha = &auth.Captcha{FailOpen: true} })
	want(t, "nobody judges", h.Recover(t.Context(), solver("token"), ann, authtest.Flow()), auth.CaptchaFailed)
}

// An operator is told of what only they can mend, and not by every request.
func TestCaptcha_aWrongSetupIsLoggedOnceAMinute(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault auth.CaptchaFault
		level string
	}{"setup": {auth.CaptchaSetup, "ERROR"}, "unavailable": {auth.CaptchaUnavailable, "WARN"}} {
		var log bytes.Buffer
		h := authtest.New(t, func(o *auth.Options) {
			o.Log = slog.New(slog.NewTextHandler(&log, nil))
			o.Captcha = &auth.Captcha{
				Ask:   func(context.Context, string, string) error { return errors.New("because of this") },
				Judge: func(error) (auth.CaptchaFault, string) { return c.fault, "" },
			}
		})
		told := func() int { return strings.Count(log.String(), "level="+c.level) }
		for i, d := range []time.Duration{0, 0, 59 * time.Second, 2 * time.Second, 10 * time.Second, hour} {
			h.Clock.Advance(d)
			for range 3 {
				want(t, name, h.Recover(t.Context(), solver("the token"), ann, authtest.Flow()), auth.CaptchaFailed)
			}
			if got, wanted := told(), []int{1, 1, 1, 2, 2, 3}[i]; got != wanted {
				t.Errorf("%s: told %d times, want %d", name, got, wanted)
			}
		}
		if s := log.String(); !strings.Contains(s, "because of this") || strings.Contains(s, "the token") {
			t.Errorf("%s: the log says %s", name, s)
		}
	}
}
