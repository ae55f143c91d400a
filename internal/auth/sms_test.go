package auth_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/notify"
)

func TestPhone_testNumbersHaveTheirCodeAndGetNoMessage(t *testing.T) {
	h := authtest.New(t)
	end := h.Clock.Now().Add(hour)
	h = h.Again(t, func(o *auth.Options) {
		o.Texts.TestCode = func(to string, now time.Time) (string, bool) { return "111222", to == annsPhone && now.Before(end) }
	})
	_, err := signUpByPhone(t, h, annsPhone, pw)
	ok(t, "sign up", err)
	_, err = h.BySMS(t, annsPhone, "111223", auth.KindSMS)
	want(t, "a wrong code", err, auth.CodeFailed)
	_, err = h.BySMS(t, annsPhone, "111222", auth.KindSMS)
	ok(t, "the test code", err)
	if got := len(h.Texts(t, annsPhone)); got != 0 {
		t.Errorf("%d messages to a test number", got)
	}
	h.Clock.Advance(hour)
	ok(t, "ask when the time for tests is over", askSMS(t, h, annsPhone, false))
	m := h.SMS(t, annsPhone)
	if m.Code != "111222" {
		_, err = h.BySMS(t, annsPhone, "111222", auth.KindSMS)
		want(t, "the test code now", err, auth.CodeFailed)
	}
	_, err = signUpByPhone(t, h, bobsPhone, pw)
	ok(t, "another number", err)
	if got := len(h.Texts(t, bobsPhone)); got != 1 {
		t.Errorf("%d messages to another number, want 1", got)
	}
}

func TestPhone_whatsAppTravelsToTheMessage(t *testing.T) {
	h := authtest.New(t)
	f := authtest.Flow()
	f.Channel = notify.ChannelWhatsApp
	_, err := h.SignUp(t.Context(), authtest.Caller(), auth.NewUser{Phone: annsPhone, Password: pw}, f)
	ok(t, "sign up", err)
	if got := h.SMS(t, annsPhone).Channel; got != notify.ChannelWhatsApp {
		t.Errorf("sign-up by %q", got)
	}
	h.Clock.Advance(minute)
	ok(t, "code", h.MagicLink(t.Context(), authtest.Caller(), auth.CodeRequest{Phone: bobsPhone, Create: true}, f))
	if got := h.SMS(t, bobsPhone).Channel; got != notify.ChannelWhatsApp {
		t.Errorf("code by %q", got)
	}
}

func TestPhone_noMessageGoesToCountriesAndNumbersThatCost(t *testing.T) {
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.SMSCountries = []string{"DE", "AT"} }))
	g := h.Join(t, ann, pw)
	for what, number := range map[string]string{"another country": "33612345678", "premium rate": "4990012345678", "a satellite": "881612345678"} {
		_, err := signUpByPhone(t, h, number, pw)
		want(t, what+": sign up", err, auth.SMSRefused)
		want(t, what+": code", askSMS(t, h, number, true), auth.SMSRefused)
		h.Clock.Advance(minute)
		want(t, what+": change", setPhone(t, h, g, number), auth.SMSRefused)
		if len(h.Texts(t, number)) != 0 || h.Count(t) != 1 {
			t.Errorf("%s: %d messages, %d users", what, len(h.Texts(t, number)), h.Count(t))
		}
	}
	h.JoinByPhone(t, annsPhone, pw)
	h.JoinByPhone(t, "436641234567", pw)
	any := authtest.New(t)
	any.JoinByPhone(t, "33612345678", pw)
	_, err := signUpByPhone(t, any, "4990012345678", pw)
	want(t, "premium rate, whatever the list", err, auth.SMSRefused)
}

// budgetEvents counts how often the tenant was told that no message goes out.
func budgetEvents(t *testing.T, h *authtest.House) (n int) {
	t.Helper()
	for _, e := range h.Events(t, auth.UserID{}) {
		if e.Name == string(auth.SMSBudgetSpent) {
			n++
		}
	}
	return n
}

func TestPhone_theBudgetOfADayHoldsAcrossNodesAndIsToldOnce(t *testing.T) {
	five := authtest.With(func(p *auth.Policy) { p.SMSBudget = 5 })
	h := authtest.New(t, five)
	nodes := h.Nodes(t, 3, five)
	errs := across(nodes, 20, func(h *authtest.House, i int) error {
		_, err := signUpByPhone(t, h, "49151123456"+string(rune('0'+i/10))+string(rune('0'+i%10)), pw)
		return err
	})
	if diff := cmp.Diff(map[auth.Code]int{"": 5, auth.SMSTooSoon: 15}, tally(errs)); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if h.Count(t) != 5 || budgetEvents(t, h) != 1 {
		t.Errorf("%d users and %d events, want 5 and 1", h.Count(t), budgetEvents(t, h))
	}
	h.Clock.Advance(24 * hour)
	h.JoinByPhone(t, annsPhone, pw)
	if got := budgetEvents(t, h); got != 1 {
		t.Errorf("%d events the next day, want still 1", got)
	}
}

// What is not sent costs nothing: strangers cannot spend the budget with
// numbers nobody has.
func TestPhone_whatIsNotSentIsGivenBackToTheBudget(t *testing.T) {
	for name, limit := range map[string]func(*auth.Policy){
		"of the day":   func(p *auth.Policy) { p.SMSBudget = 2 },
		"of the house": func(p *auth.Policy) { p.SMSRate = auth.Rate{Most: 2, Window: 24 * time.Hour} },
	} {
		t.Run(name, func(t *testing.T) {
			h := authtest.New(t, authtest.With(limit))
			g := h.JoinByPhone(t, annsPhone, pw)
			for range 5 {
				h.Clock.Advance(minute)
				ok(t, "a code for nobody", askSMS(t, h, bobsPhone, false))
				h.Deliver(t)
				ok(t, "a resend for nobody", h.Resend(t.Context(), authtest.Caller(), auth.KindSMS, "4915144444444", authtest.Flow()))
				h.Deliver(t)
				ok(t, "a change nobody wants", h.Resend(t.Context(), authtest.Caller(), auth.KindPhoneChange, annsPhone, authtest.Flow()))
				h.Deliver(t)
			}
			lives(t, "ann", h, g)
			ok(t, "the second message of the day", askSMS(t, h, annsOther, true))
			h.SMS(t, annsOther)
			want(t, "the third", askSMS(t, h, "4915133333333", true), auth.SMSTooSoon)
		})
	}
}

func TestUndelivered_takesNothingFromWhoCameMeanwhile(t *testing.T) {
	h := authtest.New(t)
	g := h.JoinByPhone(t, annsPhone, pw)
	body := []byte(`{"kind":"code","to":"` + annsPhone + `","user":"` + g.User.ID.String() + `","made":true}`)
	ok(t, "told late", h.Undelivered(t.Context(), body))
	lives(t, "the session", h, g)
	if err := h.Undelivered(t.Context(), []byte("{")); err == nil {
		t.Error("rubbish was taken for a message")
	}
}
