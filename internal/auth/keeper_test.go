package auth_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
)

// keeper is a service that makes codes up itself and judges what people type:
// a code is good once, as with Twilio Verify.
type keeper struct {
	mu    sync.Mutex // guards what follows
	codes map[string]string
	asked int
	down  error
}

func (k *keeper) check(_ context.Context, to, code string) (bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked++
	if k.down != nil {
		return false, k.down
	}
	if code == "" || k.codes[to] != code {
		return false, nil
	}
	delete(k.codes, to)
	return true, nil
}

func (k *keeper) set(to, code string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.codes[to] = code
}

func kept() (*keeper, func(*auth.Options)) {
	k := &keeper{codes: map[string]string{}}
	return k, func(o *auth.Options) { o.Texts.Keeper = k.check }
}

func TestKeeper_judgesTheCodesItMakes(t *testing.T) {
	k, option := kept()
	h := authtest.New(t, option)
	_, err := signUpByPhone(t, h, annsPhone, pw)
	ok(t, "sign up", err)
	if m := h.SMS(t, annsPhone); m.Code != "" {
		t.Errorf("a code of ours, %q, went to the service that makes its own", m.Code)
	}
	k.set(annsPhone, "445566")
	_, err = h.BySMS(t, annsPhone, "445567", auth.KindSMS)
	want(t, "a wrong code", err, auth.CodeFailed)
	k.down = errors.New("no answer")
	_, err = h.BySMS(t, annsPhone, "445566", auth.KindSMS)
	want(t, "while the service is down", err, auth.Unavailable)
	k.down = nil
	g, err := h.BySMS(t, annsPhone, "445566", auth.KindSMS)
	ok(t, "the right one", err)
	lives(t, "the session", h, g)
	_, err = h.BySMS(t, annsPhone, "445566", auth.KindSMS)
	want(t, "again", err, auth.CodeFailed)
}

// A service may bill every question: of what is out of tries it is not asked.
// Of a number for which nothing waits it is, so that the time does not tell.
func TestKeeper_isNotAskedOnceTheTriesAreGone(t *testing.T) {
	k, option := kept()
	h := authtest.New(t, option)
	_, err := signUpByPhone(t, h, annsPhone, pw)
	ok(t, "sign up", err)
	k.set(annsPhone, "445566")
	for range 5 {
		_, err = h.BySMS(t, annsPhone, "000000", auth.KindSMS)
		want(t, "a wrong code", err, auth.CodeFailed)
	}
	for range 3 {
		_, err = h.BySMS(t, annsPhone, "445566", auth.KindSMS)
		want(t, "the right one, too late", err, auth.CodeFailed)
	}
	_, err = h.BySMS(t, bobsPhone, "445566", auth.KindSMS)
	want(t, "of nobody", err, auth.CodeFailed)
	if k.asked != 5+1 {
		t.Errorf("the service was asked %d times, want 5 for ann's number and once for nobody's", k.asked)
	}
}

func TestKeeper_oneRightCodeAtOneInstantIsOneSession(t *testing.T) {
	k, option := kept()
	h := authtest.New(t, option)
	g, err := signUpByPhone(t, h, annsPhone, pw)
	ok(t, "sign up", err)
	k.set(annsPhone, "445566")
	errs := across(h.Nodes(t, 3, option), 50, func(h *authtest.House, _ int) error {
		_, err := h.BySMS(t, annsPhone, "445566", auth.KindSMS)
		return err
	})
	got := tally(errs)
	if got[""] != 1 || got[""]+got[auth.CodeFailed]+got[auth.TooMany] != 50 {
		t.Errorf("answers %v, want one success and refusals", got)
	}
	if n := sessions(t, h, g.User.ID); n != 1 {
		t.Errorf("%d sessions, want 1", n)
	}
}

func TestKeeper_judgesReauthenticationAndAChangeOfNumber(t *testing.T) {
	k, option := kept()
	h := authtest.New(t, option, authtest.With(func(p *auth.Policy) { p.ReauthenticatePW, p.PhoneAutoconfirm = true, true }))
	g := h.JoinByPhone(t, annsPhone, pw)
	h.Clock.Advance(25 * hour)
	g = h.Trade(t, g.Refresh)
	ok(t, "ask", h.Reauthenticate(t.Context(), authtest.Caller(), h.View(t, g.Access), authtest.Flow()))
	k.set(annsPhone, "445566")
	ch := newPassword(pw2)
	for range 4 {
		ch.Nonce = "000000"
		want(t, "a wrong code", setPassword(t, h, g, ch), auth.ReauthFailed)
	}
	ch.Nonce = "445566"
	ok(t, "the right one", setPassword(t, h, g, ch))

	plain := h.Again(t, option)
	g2, err := byPhonePassword(t, plain, annsPhone, pw2)
	ok(t, "sign in", err)
	ok(t, "ask for a number", setPhone(t, plain, g2, annsOther))
	plain.Deliver(t)
	k.set(annsOther, "778899")
	_, err = plain.BySMS(t, annsOther, "778898", auth.KindPhoneChange)
	want(t, "a wrong code", err, auth.CodeFailed)
	_, err = plain.BySMS(t, annsOther, "778899", auth.KindPhoneChange)
	ok(t, "the right one", err)
}
