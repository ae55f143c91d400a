package gotrue_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"net/http"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/captcha"
	"gatehouse/internal/dialect/gotrue"
)

// withCaptcha is a house whose provider takes one token.
func withCaptcha(s *setup) {
	s.human = &auth.Captcha{
		Ask: func(_ context.Context, token, _ string) error {
			if token != "solved" {
				return errors.New("not solved")
			}
			return nil
		},
		Judge: func(error) (auth.CaptchaFault, string) { return auth.CaptchaRefused, "invalid-input-response" },
	}
}

// withWork is one that asks for a proof of work, which is soon done.
func withWork(s *setup) {
	w, err := captcha.NewWork(captcha.WorkOptions{
		Bits: captcha.MinBits,
		MAC:  func(parts ...[]byte) [32]byte { return sha256.Sum256(fmt.Append(nil, parts)) },
	})
	if err != nil {
		panic(err) // of these options alone
	}
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC) // of the clock of every house, as it begins
	s.human = &auth.Captcha{Work: w.Check}
	s.edge.Work = gotrue.Work{Challenge: func() any { return w.Challenge(now) }, Script: captcha.Script()}
}

// solved does the work a house asks for.
func (h *house) solved() string {
	h.t.Helper()
	var c captcha.Challenge
	err := json.Unmarshal(h.must(http.StatusOK, "GET", "/captcha", "").Body.Bytes(), &c)
	if err != nil || c.Text == "" {
		h.t.Fatalf("no challenge: %v", err)
	}
	seed := sha256.Sum256([]byte(c.Text))
	for nonce := uint64(0); ; nonce++ {
		sum := sha256.Sum256(binary.BigEndian.AppendUint64(seed[:], nonce))
		if bits.LeadingZeros64(binary.BigEndian.Uint64(sum[:])) >= c.Bits {
			return fmt.Sprintf("pow.%s.%016x", c.Text, nonce)
		}
	}
}

func TestCaptcha_workOpensEachRouteOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(s *setup) { withWork(s); s.limits = false })
	h.newUser("anna@example.com")
	for i, c := range []struct{ path, body string }{
		{"/signup", `"email":"a%d@example.com","password":"correct horse"`},
		{"/token?grant_type=password", `"email":"anna@example.com","password":"correct horse"`},
		{"/recover", `"email":"b%d@example.com"`},
		{"/otp", `"email":"c%d@example.com"`},
		{"/magiclink", `"email":"d%d@example.com"`},
		{"/resend", `"type":"signup","email":"e%d@example.com"`},
	} {
		token := h.solved()
		ask := func(n int, token string) answer {
			return h.do("POST", c.path, strings.ReplaceAll("{"+c.body+`,"gotrue_meta_security":{"captcha_token":"`+token+`"}}`, "%d", fmt.Sprintf("%d-%d", i, n)))
		}
		if a := ask(0, "pow"); a.Code != http.StatusBadRequest || a.text("error_code") != "captcha_failed" {
			t.Errorf("%s with rubbish = %d %s", c.path, a.Code, a.Body)
		}
		if a := ask(1, token); a.Code != http.StatusOK {
			t.Errorf("%s with work done = %d %s", c.path, a.Code, a.Body)
		}
		if a := ask(2, token); a.Code != http.StatusBadRequest || a.text("error_code") != "captcha_failed" || !strings.Contains(a.text("msg"), "used already") {
			t.Errorf("%s with the same again = %d %s", c.path, a.Code, a.Body)
		}
	}
	v := form("grant_type", "password", "username", "anna@example.com", "password", "correct horse")
	if a := h.form("/token", v); a.Code != http.StatusBadRequest || a.text("error") != "invalid_grant" {
		t.Errorf("a form without = %d %s", a.Code, a.Body)
	}
	v.Set("captcha_token", h.solved())
	if a := h.form("/token", v); a.Code != http.StatusOK {
		t.Errorf("a form with work done = %d %s", a.Code, a.Body)
	}
}

// An administrator's bearer stands for a captcha, and no other one does, nor
// does it make the call the administrator's.
func TestCaptcha_isNotAskedOfAnAdministratorsBearer(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(s *setup) { withCaptcha(s); s.limits = false })
	for i, id := range []auth.UserID{h.newUser("anna@example.com"), h.newUser("root@example.com")} {
		if i == 1 {
			h.must(http.StatusOK, "PUT", "/admin/users/"+id.String(), `{"role":"admin"}`, bearer(h.Policy().OperatorToken))
		}
	}
	access := func(email string) string {
		return h.must(http.StatusOK, "POST", login, `{"email":"`+email+`","password":"correct horse","gotrue_meta_security":{"captcha_token":"solved"}}`).text("access_token")
	}
	anon, err := h.ServiceToken("anon", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	admin := access("root@example.com")
	for i, c := range []struct {
		name, bearer string
		excused      bool
	}{
		{"the operator's token", h.Policy().OperatorToken, true},
		{"a server's token", h.serviceToken(), true},
		{"an administrator's", admin, true},
		{"a user's", access("anna@example.com"), false},
		{"a site's", anon, false},
		{"rubbish", "rubbish", false},
		{"half of an administrator's", admin[:len(admin)-10], false},
	} {
		email := fmt.Sprintf("new%d@example.com", i)
		a := h.do("POST", "/signup", `{"email":"`+email+`","password":"correct horse"}`, bearer(c.bearer))
		if excused := a.Code == http.StatusOK; excused != c.excused || !excused && a.text("error_code") != "captcha_failed" {
			t.Errorf("%s: %d %s, want it to be excused: %v", c.name, a.Code, a.Body, c.excused)
		}
		if !c.excused {
			continue
		}
		u, err := h.UserByEmail(t.Context(), auth.Caller{}, email)
		if err != nil {
			t.Fatal(err)
		}
		if e := h.Events(t, u.ID); len(e) != 1 || e[0].Actor != u.ID.String() {
			t.Errorf("%s: the sign-up is told as %+v, want it to be the user's own", c.name, e)
		}
	}
}

func TestCaptcha_challengesAreLimited(t *testing.T) {
	t.Parallel()
	h := newHouse(t, withWork)
	for i := range 60 {
		if a := h.do("GET", "/captcha", ""); a.Code != http.StatusOK {
			t.Fatalf("request %d = %d %s", i+1, a.Code, a.Body)
		}
	}
	refused(t, "request 61", h.do("GET", "/captcha", ""), http.StatusTooManyRequests)
	h.must(http.StatusOK, "GET", "/captcha/pow.js", "") // which costs nothing
}

func TestCaptcha_theScriptIsKeptByBrowsersOfEverySite(t *testing.T) {
	t.Parallel()
	h := newHouse(t, withWork)
	a := h.must(http.StatusOK, "GET", "/auth/v1/captcha/pow.js", "", "Origin: https://elsewhere.example")
	if a.Body.String() != captcha.Script() || a.Header().Get("Content-Type") != "text/javascript; charset=utf-8" {
		t.Errorf("it is %s:\n%s", a.Header().Get("Content-Type"), a.Body)
	}
	if got := a.Header(); got.Get("Access-Control-Allow-Origin") != "*" || got.Get("Vary") != "Origin" {
		t.Errorf("a page of another site may not import it: %v", got)
	}
	again := h.must(http.StatusNotModified, "GET", "/captcha/pow.js", "", "If-None-Match: "+a.Header().Get("ETag"))
	if again.Body.Len() != 0 || again.Header().Get("ETag") != a.Header().Get("ETag") || again.Header().Get("Cache-Control") == "" {
		t.Errorf("what is kept is answered with %v and %q", again.Header(), again.Body)
	}
	h.must(http.StatusOK, "GET", "/captcha/pow.js", "", `If-None-Match: "older"`)
}
