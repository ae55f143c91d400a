package auth_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

// enter signs in by password from an address, with what the browser keeps.
func enter(t *testing.T, h *authtest.House, ip, device, email, password string) (*auth.Grant, error) {
	t.Helper()
	c := authtest.Caller()
	c.IP, c.Device = ip, device
	return h.SignIn(t.Context(), c, "password", auth.Input{Email: email, Password: password}, false)
}

// waits is a try that has to wait that long.
func waits(t *testing.T, what string, err error, want time.Duration) {
	t.Helper()
	var e *auth.Error
	if !errors.As(err, &e) || e.Code != auth.TooMany || e.RetryAfter != want {
		t.Errorf("%s: %#v, want TooMany and a wait of %v", what, err, want)
	}
}

// hammer guesses n times, each from an address of its own and as soon as it may.
func hammer(t *testing.T, h *authtest.House, email string, n int) {
	t.Helper()
	for i := range n {
		ip := fmt.Sprintf("198.51.%d.%d", 100+i/250, 1+i%250)
		_, err := enter(t, h, ip, "", email, fmt.Sprint("guess ", i))
		var e *auth.Error
		if errors.As(err, &e) && e.Code == auth.TooMany {
			h.Clock.Advance(e.RetryAfter)
			_, err = enter(t, h, ip, "", email, fmt.Sprint("guess ", i))
		}
		want(t, "a guess", err, auth.InvalidCredentials)
	}
}

// Mission: S18
func TestTries_ofStrangersWaitAndTheOwnerDoesNot(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw) // from the address of authtest.Caller
	home := authtest.Caller().IP
	hammer(t, h, ann, 12)
	_, err := enter(t, h, "192.0.2.1", "", ann, pw)
	waits(t, "the right password, of a stranger", err, 128*time.Second)
	_, err = enter(t, h, home, "", ann, pw)
	ok(t, "the owner at home", err)
	// Their success is no success of the strangers.
	_, err = enter(t, h, "192.0.2.1", "", ann, pw)
	waits(t, "a stranger after the owner", err, 128*time.Second)
	lives(t, "her session", h, g)

	h.Clock.Advance(128 * time.Second)
	_, err = enter(t, h, "192.0.2.1", "", ann, pw)
	ok(t, "the owner on a journey, who has waited", err)
	for range 5 { // that success has cleared the strangers' tries
		_, err = enter(t, h, "192.0.2.99", "", ann, "wrong")
		want(t, "a guess", err, auth.InvalidCredentials)
	}
}

// At home, too, nobody guesses without end.
func TestTries_atAKnownNetworkWaitForThemselves(t *testing.T) {
	h := authtest.New(t)
	h.Join(t, ann, pw)
	home := authtest.Caller().IP
	for range 5 {
		_, err := enter(t, h, home, "", ann, "wrong")
		want(t, "a guess", err, auth.InvalidCredentials)
	}
	_, err := enter(t, h, home, "", ann, pw)
	waits(t, "the sixth", err, time.Second)
	_, err = enter(t, h, "192.0.2.1", "", ann, pw)
	ok(t, "elsewhere", err)
}

// After a hundred there is no way in by password from elsewhere for a day; a
// mail is one.
func TestTries_endAtAHundredInARow(t *testing.T) {
	h := authtest.New(t)
	h.Join(t, ann, pw)
	hammer(t, h, ann, 100)
	h.Clock.Advance(time.Hour)
	_, err := enter(t, h, "192.0.2.1", "", ann, pw)
	waits(t, "the right password an hour later", err, 23*time.Hour)
	_, err = enter(t, h, authtest.Caller().IP, "", ann, pw)
	ok(t, "the owner at home", err)

	away := authtest.Caller()
	away.IP = "192.0.2.1"
	ok(t, "ask", h.Recover(t.Context(), away, ann, authtest.Flow()))
	h.Deliver(t)
	_, err = h.SignIn(t.Context(), away, "emaillink", auth.Input{Token: h.Mail(t, ann).Token, Kinds: authtest.Kinds()}, false)
	ok(t, "by mail", err)
	_, err = enter(t, h, away.IP, "", ann, pw)
	ok(t, "by password, where the mail was opened", err)

	h.Clock.Advance(23 * time.Hour)
	_, err = enter(t, h, "192.0.2.77", "", ann, pw)
	ok(t, "a day later, from anywhere", err)
}

// Whether an address is somebody's cannot be told by the answers.
func TestTries_ofNobodyAreAnsweredAlike(t *testing.T) {
	h := authtest.New(t)
	h.Join(t, ann, pw)
	h.JoinByPhone(t, "491512345678", pw)
	answers := func(in auth.Input) (list []string) {
		began := h.Clock.Now()
		for i := range 30 {
			c := authtest.Caller()
			c.IP = fmt.Sprint("198.51.100.", i)
			in.Password = fmt.Sprint("guess ", i)
			_, err := h.SignIn(t.Context(), c, "password", in, false)
			var e *auth.Error
			if !errors.As(err, &e) {
				t.Fatal(err)
			}
			list = append(list, fmt.Sprint(e.Code, e.RetryAfter))
			h.Clock.Advance(3 * time.Second)
		}
		h.Clock.Set(began)
		return list
	}
	someone := strings.Join(answers(auth.Input{Email: ann}), " ")
	for what, in := range map[string]auth.Input{"nobody": {Email: "nobody@example.com"}, "a number": {Phone: "491512345678"}, "nobody's number": {Phone: "491500000000"}} {
		if got := strings.Join(answers(in), " "); got != someone {
			t.Errorf("%s: %s\nwant %s", what, got, someone)
		}
	}
	if !strings.Contains(someone, "too_many") || !strings.Contains(someone, "invalid_credentials") {
		t.Errorf("all answers are alike: %s", someone)
	}
}

// What is no address is nobody's: the slip of one is not another's.
func TestTries_withoutAnAddressCountByTheNetwork(t *testing.T) {
	h := authtest.New(t)
	for range 5 {
		_, err := enter(t, h, "192.0.2.1", "", "", "wrong")
		want(t, "a guess", err, auth.InvalidCredentials)
	}
	_, err := enter(t, h, "192.0.2.1", "", "", "wrong")
	waits(t, "the sixth", err, time.Second)
	_, err = enter(t, h, "192.0.2.2", "", "", "wrong")
	want(t, "another's", err, auth.InvalidCredentials)
}

// Counted before compared: of fifty guesses at one instant, on three nodes, five
// are compared.
func TestTries_atOneInstantAllCount(t *testing.T) {
	h := authtest.New(t)
	h.Join(t, ann, pw)
	errs := across(h.Nodes(t, 3), 50, func(h *authtest.House, i int) error {
		c := authtest.Caller()
		c.IP = fmt.Sprint("198.51.100.", i)
		_, err := h.SignIn(t.Context(), c, "password", auth.Input{Email: ann, Password: fmt.Sprint("guess ", i)}, false)
		return err
	})
	if got := tally(errs); got[auth.InvalidCredentials] != 5 || got[auth.TooMany] != 45 {
		t.Errorf("answers %v, want 5 that were compared and 45 that were not", got)
	}
}

func TestTries_aBrowserThatWasSignedInCountsForItself(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	h.Join(t, bob, pw)
	in, err := enter(t, h, authtest.Caller().IP, "", ann, pw)
	ok(t, "sign in", err)
	if in.Device == "" || g.Device != "" {
		t.Fatalf("a sign-in by password gives the device %q, a sign-up %q", in.Device, g.Device)
	}
	again, err := enter(t, h, authtest.Caller().IP, in.Device, ann, pw)
	ok(t, "again", err)
	if again.Device != "" {
		t.Error("a browser that is known is given another device")
	}
	of, err := enter(t, h, authtest.Caller().IP, in.Device, bob, pw)
	ok(t, "somebody else", err)
	if of.Device == "" {
		t.Error("somebody else at the same browser is not remembered")
	}

	hammer(t, h, ann, 10)
	_, err = enter(t, h, "192.0.2.1", in.Device, ann, pw)
	ok(t, "her browser, far from home", err)
	for what, device := range map[string]string{
		"none": "", "another user's": of.Device, "rubbish": "rubbish", "cut": in.Device[:len(in.Device)-1],
		"changed": flip(in.Device, 5), "with another random part": flip(in.Device, 30), "with another MAC": flip(in.Device, len(in.Device)-3),
		"of another house": foreignDevice(t),
	} {
		_, err = enter(t, h, "192.0.2.2", device, ann, pw)
		if auth.CodeOf(err) != auth.TooMany {
			t.Errorf("with a device that is %s: %v, want TooMany", what, err)
		}
	}
	// Stolen, it is a few more guesses and no more.
	for range 5 {
		_, err = enter(t, h, "192.0.2.3", in.Device, ann, "wrong")
		want(t, "a guess", err, auth.InvalidCredentials)
	}
	_, err = enter(t, h, "192.0.2.4", in.Device, ann, pw)
	waits(t, "the sixth with a stolen device", err, time.Second)
	_, err = enter(t, h, authtest.Caller().IP, "", ann, pw)
	ok(t, "the owner at home", err)

	h.Clock.Advance(401 * 24 * time.Hour)
	in, err = enter(t, h, authtest.Caller().IP, in.Device, ann, pw)
	ok(t, "a year and more later", err)
	if in.Device == "" {
		t.Error("an old device is not followed by a new one")
	}
}

func flip(s string, at int) string {
	c := byte('A')
	if s[at] == c {
		c = 'B'
	}
	return s[:at] + string(c) + s[at+1:]
}

func foreignDevice(t *testing.T) string {
	h := authtest.New(t)
	h.Join(t, ann, pw)
	return h.Enter(t, ann, pw).Device
}

// A stolen session from elsewhere waits as any stranger does.
func TestTries_ofTheCurrentPasswordWait(t *testing.T) {
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.CurrentPW = true }))
	h.Join(t, ann, pw)
	g := h.Enter(t, ann, pw)
	try := func(current string) error {
		ch := newPassword(pw2)
		ch.Current = current
		_, err := h.UpdateUser(t.Context(), authtest.Caller(), h.View(t, g.Access), ch, authtest.Flow())
		return err
	}
	for range 5 {
		want(t, "a guess", try("wrong"), auth.CurrentWrong)
	}
	waits(t, "the right one", try(pw), time.Second)
	h.Clock.Advance(time.Second)
	ok(t, "the right one a second later", try(pw))
	_, err := enter(t, h, authtest.Caller().IP, "", ann, pw2)
	ok(t, "the new one, at once", err)
}

// What was never compared is no try: a crowd that keeps the machine busy makes
// nobody wait afterwards.
func TestTries_thatWereNotComparedDoNotCount(t *testing.T) {
	pool := secret.NewPool(1, 1, time.Now) // one at a time, and two that wait
	hasher, err := secret.NewHasher(secret.Params{MemoryKiB: 8, Time: 1, Threads: 1}, pool)
	ok(t, "hasher", err)
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.PasswordFree = 12 }), func(o *auth.Options) { o.Hasher = hasher })
	h.Join(t, ann, pw)
	holds, release := make(chan struct{}), make(chan struct{})
	go func() {
		_ = pool.Do(t.Context(), "somebody", func() { close(holds); <-release })
	}()
	<-holds
	errs := make(chan error)
	for i := range 10 {
		go func() {
			_, err := enter(t, h, fmt.Sprint("198.51.100.", i), "", ann, "wrong")
			errs <- err
		}()
	}
	for range 8 {
		want(t, "without a place", <-errs, auth.Busy)
	}
	close(release)
	for range 2 {
		want(t, "with one", <-errs, auth.InvalidCredentials)
	}
	for range 10 { // two of ten were tries
		_, err := enter(t, h, "192.0.2.1", "", ann, "wrong")
		want(t, "a guess", err, auth.InvalidCredentials)
	}
	_, err = enter(t, h, "192.0.2.1", "", ann, pw)
	waits(t, "the thirteenth try", err, time.Second)
}

func TestTries_withoutALimitAreFree(t *testing.T) {
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.PasswordFree = 0 }))
	h.Join(t, ann, pw)
	for range 20 {
		_, err := enter(t, h, "192.0.2.1", "", ann, "wrong")
		want(t, "a guess", err, auth.InvalidCredentials)
	}
	g, err := enter(t, h, "192.0.2.1", "", ann, pw)
	ok(t, "the right one", err)
	if g.Device != "" {
		t.Error("a device that nobody needs")
	}
}

// One password on many accounts stays below each one's limit, and is seen.
func TestTries_sprayedOverManyAccountsAreAnAlarmOnceAnHour(t *testing.T) {
	h := authtest.New(t)
	alarms := func() (n int) {
		for _, e := range h.Events(t, auth.UserID{}) {
			if auth.EventName(e.Name) == auth.PasswordSprayed {
				n++
			}
		}
		return n
	}
	spray := func(accounts int, password string) {
		for i := range accounts {
			_, err := enter(t, h, fmt.Sprint("198.51.100.", i), "", fmt.Sprint("user", i, "@example.com"), password)
			if c := auth.CodeOf(err); c != auth.InvalidCredentials && c != auth.TooMany {
				t.Fatal(err)
			}
		}
	}
	for range 3 { // the same accounts again are no more accounts
		spray(10, "Summer2026!")
	}
	for i := range 20 { // nor are many passwords of one
		_, _ = enter(t, h, "198.51.100.1", "", ann, fmt.Sprint("Summer", i))
		h.Clock.Advance(time.Second)
	}
	if n := alarms(); n != 0 {
		t.Errorf("%d alarms for ten accounts, want none", n)
	}
	h.Clock.Advance(10 * time.Minute)
	spray(11, "Autumn2026!")
	spray(25, "Winter2026!")
	if n := alarms(); n != 1 {
		t.Errorf("%d alarms, want one", n)
	}
	h.Clock.Advance(time.Hour)
	spray(15, "Spring2027!")
	if n := alarms(); n != 2 {
		t.Errorf("%d alarms an hour later, want two", n)
	}
}

// The sessions of another tenant make no network known.
func TestTries_knowNoNetworkOfAnotherTenant(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	ok(t, "somebody of another tenant", h.DB.Write(t.Context(), store.TenantID{15: 9}, func(tx *store.Tx) error {
		u := g.User
		u.Email, u.Phone = ann, ""
		s := g.Session
		s.ID, s.IP = store.NewSessionID(), "192.0.2.50"
		return errors.Join(tx.AddTenant(store.Tenant{ID: tx.Tenant, Name: "elsewhere"}), tx.AddUser(u), tx.AddSession(s))
	}))
	hammer(t, h, ann, 8)
	_, err := enter(t, h, "192.0.2.50", "", ann, pw)
	if auth.CodeOf(err) != auth.TooMany {
		t.Errorf("where she is known to another tenant: %v, want TooMany", err)
	}
}
