package pages_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/limit"
	"gatehouse/internal/pages"
	"gatehouse/internal/web"
)

const external = "https://auth.example"

// door is the pages over a real house.
type door struct {
	*authtest.House
	http.Handler
	log bytes.Buffer
}

func open(t *testing.T, change func(*pages.Options), options ...func(*auth.Options)) *door {
	t.Helper()
	d := &door{House: authtest.New(t, options...)}
	o := pages.Options{
		Auth: d.Service, SiteURL: "https://site.example", ExternalURL: external, Version: "1.2.3", Inbox: d.Inbox,
		Limits: &web.Limits{
			Limiter: limit.New(d.Clock.Now), Rates: map[string]limit.Rate{"verify": {Events: 30, Per: 5 * time.Minute, Burst: 30}},
		},
	}
	if change != nil {
		change(&o)
	}
	mux := http.NewServeMux()
	pages.Mount(mux, o)
	d.Handler = &web.Server{Next: mux, Log: slog.New(slog.NewTextHandler(&d.log, nil)), Now: d.Clock.Now}
	return d
}

func (d *door) do(method, target string, form url.Values, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(form.Encode()))
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, l := range headers {
		k, v, _ := strings.Cut(l, ": ")
		switch k {
		case "Host":
			r.Host = v
		case "Proto":
			r.Proto, r.ProtoMajor, r.ProtoMinor = v, 1, 0
		case "Peer":
			r.RemoteAddr = v
		default:
			r.Header.Set(k, v)
		}
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w
}

// offer makes the link that is printed at the first start.
func (d *door) offer(t *testing.T) string {
	t.Helper()
	link, ok, err := d.OfferSetup(t.Context())
	if err != nil || !ok {
		t.Fatalf("OfferSetup = %v, %v", ok, err)
	}
	return link
}

func answers(token, email, password string) url.Values {
	return url.Values{"token": {token}, "email": {email}, "password": {password}}
}

func TestSetup_makesTheFirstAdministratorOnce(t *testing.T) {
	d := open(t, nil)
	token := d.offer(t)
	for range 3 { // looking at it spends nothing
		w := d.do("GET", "/setup?token="+token, nil)
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `value="`+token+`"`) || !strings.Contains(w.Body.String(), `action="setup"`) {
			t.Fatalf("the page = %d %s", w.Code, w.Body)
		}
	}
	w := d.do("POST", "/setup", answers(token, "Anna@example.com", "correct horse"))
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "anna@example.com") || strings.Contains(w.Body.String(), "correct horse") {
		t.Fatalf("the form = %d %s", w.Code, w.Body)
	}
	g := d.Enter(t, "anna@example.com", "correct horse")
	if _, err := d.Administrator(t.Context(), authtest.Caller(), g.Access); err != nil {
		t.Errorf("the first administrator is none: %v", err)
	}
	for name, w := range map[string]*httptest.ResponseRecorder{
		"the page again": d.do("GET", "/setup?token="+token, nil),
		"the form again": d.do("POST", "/setup", answers(token, "eve@example.com", "correct horse")),
	} {
		if w.Code != http.StatusForbidden {
			t.Errorf("%s = %d %s, want 403", name, w.Code, w.Body)
		}
	}
	if got := d.Count(t); got != 1 {
		t.Errorf("there are %d users, want 1", got)
	}
}

func TestSetup_whatAPersonCanMendKeepsTheLinkAlive(t *testing.T) {
	d := open(t, nil)
	token := d.offer(t)
	for _, tc := range []struct{ email, password, says string }{
		{"anna@example.com", "short", "at least 6"},
		{"anna@example.com", "", "choose a password"},
		{"anna@example.com", strings.Repeat("x", 1025), "longer than"},
		{"not an address", "correct horse", "not an e-mail address"},
		{"", "correct horse", "not an e-mail address"},
		{`"><script>alert(1)</script>@example.com`, "correct horse", "not an e-mail address"},
	} {
		w := d.do("POST", "/setup", answers(token, tc.email, tc.password))
		body := w.Body.String()
		if w.Code != http.StatusUnprocessableEntity || !strings.Contains(body, tc.says) || !strings.Contains(body, `value="`+token+`"`) {
			t.Errorf("%q with %.10q = %d, want 422 and %q:\n%s", tc.email, tc.password, w.Code, tc.says, body)
		}
		if tc.password != "" && strings.Contains(body, tc.password) || strings.Contains(body, "<script>") {
			t.Errorf("the page repeats what it must not:\n%s", body)
		}
	}
	if w := d.do("POST", "/setup", answers(token, "anna@example.com", "correct horse")); w.Code != http.StatusOK {
		t.Errorf("the right form = %d %s", w.Code, w.Body)
	}
}

func TestSetup_refusesStrangers(t *testing.T) {
	d := open(t, nil)
	token := d.offer(t)
	for name, w := range map[string]*httptest.ResponseRecorder{
		"no link":        d.do("GET", "/setup", nil),
		"a wrong link":   d.do("GET", "/setup?token=guess&problem=call+555-0100", nil),
		"no token":       d.do("POST", "/setup", answers("", "eve@example.com", "correct horse")),
		"a wrong token":  d.do("POST", "/setup", answers("guess", "eve@example.com", "correct horse")),
		"a token in url": d.do("POST", "/setup?token="+token, url.Values{"email": {"eve@example.com"}, "password": {"correct horse"}}),
	} {
		if w.Code != http.StatusForbidden || strings.Contains(w.Body.String(), "555") {
			t.Errorf("%s = %d %s, want 403", name, w.Code, w.Body)
		}
	}
	for _, headers := range [][]string{
		{"Sec-Fetch-Site: cross-site"}, {"Sec-Fetch-Site: same-site"}, {"Origin: https://evil.example"}, {"Origin: null"},
	} {
		if w := d.do("POST", "/setup", answers(token, "eve@example.com", "correct horse"), headers...); w.Code != http.StatusBadRequest {
			t.Errorf("a form with %q = %d, want 400", headers, w.Code)
		}
	}
	if d.Count(t) != 0 {
		t.Error("a stranger has become the administrator")
	}
	if d.Hashes() != 0 {
		t.Errorf("strangers made the server hash %d passwords", d.Hashes())
	}
	if w := d.do("POST", "/setup", answers(token, "anna@example.com", "correct horse"), "Sec-Fetch-Site: same-origin", "Origin: "+external); w.Code != http.StatusOK {
		t.Errorf("the operator's own form = %d %s", w.Code, w.Body)
	}
}

func TestSetup_aLinkDiesAfterHalfAnHour(t *testing.T) {
	d := open(t, nil)
	token := d.offer(t)
	d.Clock.Advance(31 * time.Minute)
	if w := d.do("POST", "/setup", answers(token, "anna@example.com", "correct horse")); w.Code != http.StatusForbidden {
		t.Errorf("an old link = %d, want 403", w.Code)
	}
}

func TestSetup_guessesAreLimited(t *testing.T) {
	d := open(t, nil)
	d.offer(t)
	var w *httptest.ResponseRecorder
	for range 31 {
		w = d.do("POST", "/setup", answers("guess", "eve@example.com", "correct horse"))
	}
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Errorf("guess 31 = %d, want 429", w.Code)
	}
}

func TestSetup_badFormsAreRefused(t *testing.T) {
	d := open(t, nil)
	d.offer(t)
	for _, body := range []string{"token=%zz", strings.Repeat("a", web.MaxBody+1)} {
		r := httptest.NewRequest("POST", "/setup", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		d.ServeHTTP(w, r)
		if w.Code < 400 || w.Code >= 500 {
			t.Errorf("a form of %.20q = %d", body, w.Code)
		}
	}
}

func TestLog_holdsNothingOfTheSetup(t *testing.T) {
	d := open(t, nil)
	token := d.offer(t)
	d.do("GET", "/setup?token="+token, nil)
	d.do("POST", "/setup", answers(token, "anna@example.com", "kanarie"))
	log := d.log.String()
	if strings.Contains(log, token) || strings.Contains(log, "anna") || strings.Contains(log, "kanarie") || strings.Count(log, "\n") != 2 {
		t.Errorf("the log is\n%s", log)
	}
}

func TestPages_areGuarded(t *testing.T) {
	d := open(t, nil)
	token := d.offer(t)
	for name, w := range map[string]*httptest.ResponseRecorder{
		"welcome": d.do("GET", "/", nil), "setup": d.do("GET", "/setup?token="+token, nil), "problem": d.do("GET", "/setup", nil),
		"inbox": d.do("GET", "/dev/inbox", nil, "Peer: 127.0.0.1:9", "Host: localhost:8081"),
		"done":  d.do("POST", "/setup", answers(token, "anna@example.com", "correct horse")),
	} {
		h := w.Header()
		if csp := h.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s has the policy %q", name, csp)
		}
		if h.Get("X-Frame-Options") != "DENY" || h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s has the headers %v", name, h)
		}
		if p := h.Get("Referrer-Policy"); p != "no-referrer" && p != "same-origin" {
			t.Errorf("%s has the referrer policy %q", name, p)
		}
		if strings.Contains(w.Body.String(), "<script") {
			t.Errorf("%s has a script", name)
		}
	}
}

func TestWelcome_tellsWhereItIs(t *testing.T) {
	w := open(t, nil).do("GET", "/", nil)
	for _, want := range []string{external, "https://site.example", "1.2.3", `"dev/inbox"`} {
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
			t.Errorf("the welcome (%d) does not name %s:\n%s", w.Code, want, w.Body)
		}
	}
	alone := open(t, func(o *pages.Options) { o.SiteURL, o.Inbox = o.ExternalURL, nil })
	w = alone.do("GET", "/", nil)
	if !strings.Contains(w.Body.String(), "SITE_URL") || strings.Contains(w.Body.String(), "inbox") {
		t.Errorf("without a site and an inbox the welcome is\n%s", w.Body)
	}
	if w := alone.do("GET", "/dev/inbox", nil, "Peer: 127.0.0.1:9", "Host: localhost"); w.Code != http.StatusNotFound {
		t.Errorf("GET /dev/inbox where there is none = %d, want 404", w.Code)
	}
}

func TestInbox_isForAPersonAtThisMachineAlone(t *testing.T) {
	d := open(t, nil)
	_, err := d.SignUp(t.Context(), authtest.Caller(), auth.NewUser{Email: "anna@example.com", Password: "correct horse", Data: map[string]any{"x": "<script>"}}, authtest.Flow())
	if err != nil {
		t.Fatal(err)
	}
	secret := d.Mail(t, "anna@example.com").Token
	for _, path := range []string{"/dev/inbox", "/dev/inbox.json"} {
		for _, headers := range [][]string{
			{"Peer: 127.0.0.1:9", "Host: localhost:8081"}, {"Peer: 127.0.0.1:9", "Host: 127.0.0.1"}, {"Peer: [::1]:9", "Host: [::1]:8081"}, {"Peer: 127.0.0.1:9", "Host: localhost"},
		} {
			if w := d.do("GET", path, nil, headers...); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), secret) {
				t.Errorf("%s with %q = %d, want the mails", path, headers, w.Code)
			}
		}
		for _, headers := range [][]string{
			{"Peer: 192.0.2.1:9", "Host: localhost:8081"},
			{"Peer: 127.0.0.1:9", "Host: evil.example"},
			{"Peer: 127.0.0.1:9", "Host: localhost.evil.example"},
			{"Peer: 127.0.0.1:9", "Host: 127.0.0.1.evil.example:8081"},
			{"Peer: 127.0.0.1:9", "Host: "},
			{"Peer: 127.0.0.1:9", "Host: localhost:8081", "X-Forwarded-For: 203.0.113.9"},
			{"Peer: 127.0.0.1:9", "Host: localhost:8081", "Forwarded: for=203.0.113.9"},
			{"Peer: 127.0.0.1:9", "Host: localhost:8081", "X-Real-Ip: 203.0.113.9"},
			{"Peer: 127.0.0.1:9", "Host: localhost:8081", "X-Forwarded-Host: auth.example"},
			{"Peer: 127.0.0.1:9", "Host: localhost:8081", "Via: 1.1 proxy"},
			{"Peer: 127.0.0.1:9", "Host: localhost:8081", "X-Forwarded-Proto: https"},
			{"Peer: 127.0.0.1:9", "Host: localhost:8081", "Origin: https://evil.example"},
			{"Peer: 127.0.0.1:9", "Host: localhost:8081", "Origin: null"},
			{"Peer: 127.0.0.1:9", "Host: localhost:8081", "Proto: HTTP/1.0"}, // nginx, as it comes
			{"Peer: @", "Host: localhost:8081"},
		} {
			w := d.do("GET", path, nil, headers...)
			if w.Code != http.StatusNotFound || strings.Contains(w.Body.String(), secret) {
				t.Errorf("%s with %q = %d, want 404 and no mail", path, headers, w.Code)
			}
		}
	}
}

func TestInboxJSON_picksAnAddress(t *testing.T) {
	d := open(t, nil)
	for _, email := range []string{"anna@example.com", "bob@example.com"} {
		_, err := d.SignUp(t.Context(), authtest.Caller(), auth.NewUser{Email: email, Password: "correct horse"}, authtest.Flow())
		if err != nil {
			t.Fatal(err)
		}
		d.Mail(t, email)
	}
	for query, want := range map[string]int{"": 2, "?to=anna@example.com": 1, "?to=nobody@example.com": 0} {
		var list []struct{ To, Code string }
		w := d.do("GET", "/dev/inbox.json"+query, nil, "Peer: 127.0.0.1:9", "Host: localhost:8081")
		err := json.Unmarshal(w.Body.Bytes(), &list)
		if err != nil || len(list) != want {
			t.Errorf("inbox.json%s = %d mails (%v), want %d: %s", query, len(list), err, want, w.Body)
		}
	}
}

func TestInbox_showsMailsAndRunsNothingOfThem(t *testing.T) {
	d := open(t, nil)
	d.Join(t, "a&b@example.com", "correct horse")
	w := d.do("GET", "/dev/inbox", nil, "Peer: 127.0.0.1:9", "Host: localhost:8081")
	body := w.Body.String()
	if !strings.Contains(body, "a&amp;b@example.com") || strings.Contains(body, "a&b@") {
		t.Errorf("the inbox shows\n%s", body)
	}
}

// A mail is somebody's template and somebody's data: shown as its reader sees
// it, it must run nothing here.
func TestInbox_showsAMailAsItsReaderSeesItInASandbox(t *testing.T) {
	d := open(t, nil)
	_, err := d.SignUp(t.Context(), authtest.Caller(), auth.NewUser{Email: "anna@example.com", Password: "correct horse"}, authtest.Flow())
	if err != nil {
		t.Fatal(err)
	}
	m := d.Mail(t, "anna@example.com")
	here := []string{"Peer: 127.0.0.1:9", "Host: localhost:8081"}
	if list := d.do("GET", "/dev/inbox", nil, here...); !strings.Contains(list.Body.String(), `href="inbox/`+m.ID+`"`) {
		t.Errorf("the inbox does not lead to the mail:\n%s", list.Body)
	}
	w := d.do("GET", "/dev/inbox/"+m.ID, nil, here...)
	if w.Code != http.StatusOK || w.Body.String() != m.HTML || !strings.Contains(m.HTML, m.Token) || w.Header().Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("the mail = %d %s, want\n%s", w.Code, w.Body, m.HTML)
	}
	policy := map[string]string{}
	for part := range strings.SplitSeq(w.Header().Get("Content-Security-Policy"), ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), " ")
		policy[name] = value
	}
	sandbox, sandboxed := policy["sandbox"]
	if !sandboxed || strings.Contains(sandbox, "scripts") || strings.Contains(sandbox, "same-origin") || strings.Contains(sandbox, "forms") {
		t.Errorf("the sandbox is %q", sandbox)
	}
	for name, want := range map[string]string{"default-src": "'none'", "base-uri": "'none'", "frame-ancestors": "'none'", "script-src": ""} {
		if policy[name] != want {
			t.Errorf("the policy has %s %q, want %q", name, policy[name], want)
		}
	}
	if h := w.Header(); h.Get("Cache-Control") != "no-store" || h.Get("Referrer-Policy") != "no-referrer" || h.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("the mail has the headers %v", h)
	}

	for _, path := range []string{"/dev/inbox/x", "/dev/inbox/", "/dev/inbox/" + m.ID + "/x", "/dev/inbox/" + strings.ToUpper(m.ID) + "x"} {
		if w := d.do("GET", path, nil, here...); w.Code != http.StatusNotFound {
			t.Errorf("%s = %d, want 404", path, w.Code)
		}
	}
	for _, headers := range [][]string{
		{"Peer: 192.0.2.1:9", "Host: localhost:8081"},
		{"Peer: 127.0.0.1:9", "Host: evil.example"},
		append(here, "Origin: https://evil.example"),
		append(here, "X-Forwarded-For: 203.0.113.9"), append(here, "Proto: HTTP/1.0"),
	} {
		w := d.do("GET", "/dev/inbox/"+m.ID, nil, headers...)
		if w.Code != http.StatusNotFound || strings.Contains(w.Body.String(), m.Token) {
			t.Errorf("the mail with %q = %d, want 404 and no mail", headers, w.Code)
		}
	}
}
