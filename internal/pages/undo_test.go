package pages_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/notify"
	"gatehouse/internal/pages"
)

// warned is a house that tells its people of every change, with anna in it,
// whose password a thief has just changed; undo is the secret of the notice.
func warned(t *testing.T) (d *door, thief *auth.Grant, undo string) {
	t.Helper()
	d = open(t, func(o *pages.Options) { o.Flow = func(*http.Request) auth.Flow { return authtest.Flow() } }, func(o *auth.Options) {
		o.Policy.Notices = map[notify.Kind]bool{}
		for _, k := range notify.Kinds() {
			o.Policy.Notices[k] = true
		}
		o.UndoURL = func(token string) string { return external + "/undo?token=" + token }
	})
	thief = d.Join(t, "anna@example.com", "correct horse")
	pw := "the thief's horse"
	_, err := d.UpdateUser(t.Context(), authtest.Caller(), d.View(t, thief.Access), auth.Changes{Password: &pw}, authtest.Flow())
	if err != nil {
		t.Fatal(err)
	}
	m := d.Mail(t, "anna@example.com")
	if m.Kind != notify.PasswordChanged || m.Token == "" {
		t.Fatalf("anna is mailed %+v, want a notice with a link", m)
	}
	return d, thief, m.Token
}

// signedIn tells whether a session is alive.
func (d *door) signedIn(t *testing.T, g *auth.Grant) bool {
	_, err := d.Authenticate(t.Context(), authtest.Caller(), g.Access)
	return err == nil
}

func TestUndo_thePageSpendsNothingAndItsButtonWorksOnce(t *testing.T) {
	d, thief, token := warned(t)
	for range 3 { // mail scanners open links, too
		w := d.do("GET", "/undo?token="+token, nil)
		body := w.Body.String()
		if w.Code != http.StatusOK || !strings.Contains(body, "The password of your account was changed.") || !strings.Contains(body, `value="`+token+`"`) {
			t.Fatalf("the page = %d %s", w.Code, body)
		}
	}
	d.do("HEAD", "/undo?token="+token, nil)
	if !d.signedIn(t, thief) {
		t.Fatal("looking at the page has ended the session")
	}
	w := d.do("POST", "/undo", url.Values{"token": {token}})
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "Your account is safe again") || strings.Contains(w.Body.String(), "<form") {
		t.Fatalf("the button = %d %s", w.Code, w.Body)
	}
	if d.signedIn(t, thief) {
		t.Error("the thief is still signed in")
	}
	for _, pw := range []string{"the thief's horse", "correct horse"} {
		if _, err := d.ByPassword(t, "anna@example.com", pw); auth.CodeOf(err) != auth.InvalidCredentials {
			t.Errorf("the password %q: %v, want it void", pw, err)
		}
	}
	m := d.Mail(t, "anna@example.com")
	if m.Kind != notify.Recovery {
		t.Fatalf("anna is mailed %s, want a way to choose a new password", m.Kind)
	}
	anna := d.Follow(t, m.Token)
	for name, w := range map[string]*httptest.ResponseRecorder{
		"the button again": d.do("POST", "/undo", url.Values{"token": {token}}), "the page again": d.do("GET", "/undo?token="+token, nil),
	} {
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "This link does not work any more") {
			t.Errorf("%s = %d %s, want to be told that the link is used up", name, w.Code, w.Body)
		}
	}
	if !d.signedIn(t, anna) {
		t.Error("the link, used once more, has ended anna's own session")
	}
}

func TestUndo_refusesFormsOfOtherSites(t *testing.T) {
	d, thief, token := warned(t)
	for _, headers := range [][]string{
		{"Sec-Fetch-Site: cross-site"}, {"Sec-Fetch-Site: same-site"}, {"Origin: https://evil.example"}, {"Origin: null"},
	} {
		w := d.do("POST", "/undo", url.Values{"token": {token}}, headers...)
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "another site") {
			t.Errorf("a form with %q = %d %s, want 400", headers, w.Code, w.Body)
		}
	}
	if !d.signedIn(t, thief) {
		t.Error("a form of another site has been believed")
	}
	if w := d.do("POST", "/undo?token="+token, url.Values{}); w.Code != http.StatusBadRequest {
		t.Errorf("a secret in the address of a form = %d, want 400", w.Code)
	}
	if w := d.do("POST", "/undo", url.Values{"token": {token}}, "Sec-Fetch-Site: same-origin", "Origin: "+external); w.Code != http.StatusOK {
		t.Errorf("the page's own form = %d %s", w.Code, w.Body)
	}
}

func TestUndo_aLinkDiesAfterThreeDays(t *testing.T) {
	d, _, token := warned(t)
	d.Clock.Advance(72*time.Hour - time.Second)
	if w := d.do("GET", "/undo?token="+token, nil); w.Code != http.StatusOK {
		t.Errorf("on the third day the page = %d %s", w.Code, w.Body)
	}
	d.Clock.Advance(2 * time.Second)
	for name, w := range map[string]*httptest.ResponseRecorder{
		"the page": d.do("GET", "/undo?token="+token, nil), "the button": d.do("POST", "/undo", url.Values{"token": {token}}),
	} {
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "older than 72 hours") {
			t.Errorf("after it %s = %d %s, want to be told that it is too old", name, w.Code, w.Body)
		}
	}
}

func TestUndo_badRequestsAreRefusedInWords(t *testing.T) {
	d, thief, _ := warned(t)
	for name, w := range map[string]*httptest.ResponseRecorder{
		"no link":      d.do("GET", "/undo", nil),
		"a wrong link": d.do("GET", "/undo?token=guess", nil),
		"no token":     d.do("POST", "/undo", url.Values{}),
		"a wrong one":  d.do("POST", "/undo", url.Values{"token": {"guess"}}),
	} {
		body := w.Body.String()
		if w.Code != http.StatusBadRequest || !strings.Contains(body, "This link does not work any more") || strings.Contains(body, "link_failed") {
			t.Errorf("%s = %d %s", name, w.Code, body)
		}
	}
	large := d.do("POST", "/undo", url.Values{"token": {strings.Repeat("a", 2<<20)}})
	if large.Code != http.StatusRequestEntityTooLarge || !strings.Contains(large.Body.String(), "more than a form") {
		t.Errorf("a form of 2 MiB = %d", large.Code)
	}
	if !d.signedIn(t, thief) {
		t.Error("one of them has ended a session")
	}
}

func TestUndo_guessesAreLimited(t *testing.T) {
	d, _, _ := warned(t)
	var w *httptest.ResponseRecorder
	for range 31 {
		w = d.do("POST", "/undo", url.Values{"token": {"guess"}})
	}
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "Too many requests") {
		t.Errorf("guess 31 = %d %s, want 429 in words", w.Code, w.Body)
	}
}

func TestUndo_pagesAreGuardedAndTheLogHoldsNoSecret(t *testing.T) {
	d, _, token := warned(t)
	d.log.Reset()
	for name, w := range map[string]*httptest.ResponseRecorder{
		"page": d.do("GET", "/undo?token="+token, nil), "problem": d.do("GET", "/undo?token=x", nil), "done": d.do("POST", "/undo", url.Values{"token": {token}}),
	} {
		h := w.Header()
		csp := h.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") || h.Get("X-Frame-Options") != "DENY" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s has the headers %v", name, h)
		}
		if p := h.Get("Referrer-Policy"); p != "no-referrer" && p != "same-origin" {
			t.Errorf("%s has the referrer policy %q: its address holds a secret", name, p)
		}
	}
	if log := d.log.String(); strings.Contains(log, token) || strings.Contains(log, "anna") {
		t.Errorf("the log is\n%s", log)
	}
}

func TestInbox_showsTextMessages(t *testing.T) {
	d := open(t, nil)
	err := d.MagicLink(t.Context(), authtest.Caller(), auth.CodeRequest{Phone: "+49 151 12345678", Create: true}, auth.Flow{Channel: "whatsapp"})
	if err != nil {
		t.Fatal(err)
	}
	m := d.SMS(t, "4915112345678")
	here := []string{"Peer: 127.0.0.1:9", "Host: localhost:8081"}
	body := d.do("GET", "/dev/inbox", nil, here...).Body.String()
	for _, want := range []string{"Text message", "4915112345678", ">" + m.Code + "<", m.Text} {
		if !strings.Contains(body, want) {
			t.Errorf("the inbox does not show %q:\n%s", want, body)
		}
	}
	if strings.Contains(body, `href="inbox/`+m.ID) {
		t.Error("it leads to a page of a message that has none")
	}
	list := d.do("GET", "/dev/inbox.json?to=%2B4915112345678", nil, here...).Body.String()
	for _, want := range []string{`"channel":"whatsapp"`, `"kind":"code"`, `"to":"+4915112345678"`, `"code":"` + m.Code + `"`, `"links":[]`} {
		if !strings.Contains(list, want) {
			t.Errorf("inbox.json lacks %s: %s", want, list)
		}
	}
	for _, w := range []*httptest.ResponseRecorder{
		d.do("GET", "/dev/inbox.json?to=4915112345678", nil, here...), // not a + in a query, but the number without it
		d.do("GET", "/dev/inbox.json?to=+4915112345678", nil, here...),
	} {
		if !strings.Contains(w.Body.String(), m.Code) {
			t.Errorf("the number without its + finds %s", w.Body)
		}
	}
}
