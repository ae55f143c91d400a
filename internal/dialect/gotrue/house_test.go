package gotrue_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/api"
	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/dialect/gotrue"
	"gatehouse/internal/dialecttest"
	"gatehouse/internal/limit"
	"gatehouse/internal/notify"
	"gatehouse/internal/pages"
	"gatehouse/internal/storetest"
	"gatehouse/internal/token"
	"gatehouse/internal/web"
)

// Where the house of a test stands, and what it serves.
const (
	site     = "https://site.example"
	external = "https://auth.example"
)

// house is the edge over a real core, mounted as the server mounts it.
type house struct {
	*authtest.House
	t      testing.TB
	front  http.Handler
	log    *journal
	outage *authtest.Outage // of a frail house
}

// setup is what a test may want otherwise.
type setup struct {
	hooks    auth.Hooks
	policy   auth.Policy
	endpoint func(url string, events []string) (string, error)
	edge     gotrue.Options
	server   web.Server
	limits   bool
	frail    bool
	human    *auth.Captcha
	methods  func([]auth.Method) []auth.Method                                           // the ways in, in the place of all
	readIdP  func(ctx context.Context, xml []byte, url string) (auth.IdPMetadata, error) // of companies
}

// shared is a key of the operator's own, for tokens made elsewhere.
var shared = []byte("the-shared-secret-of-the-tests-0123456789")

// newHouse builds a house; change may be nil.
func newHouse(t testing.TB, change func(*setup)) *house {
	t.Helper()
	redirects, err := web.NewRedirects(site, []string{"https://preview.example.com/**", "com.example.app://callback/**"})
	if err != nil {
		t.Fatal(err)
	}
	s := setup{
		policy: closed(authtest.Policy()),
		edge: gotrue.Options{
			Redirects: redirects, ExternalURL: external, SiteURL: site, Manners: gotrue.Auto, LinkStyle: gotrue.Auto,
			CookieName: "nf_jwt", CookieLife: 24 * time.Hour, Version: "test",
			Title: func(_ context.Context, provider string) string {
				if strings.HasPrefix(provider, "custom:") {
					return "" // nobody has added any
				}
				return strings.ToUpper(provider[:1]) + provider[1:]
			},
		},
		limits: true,
	}
	if change != nil {
		change(&s)
	}
	h := &house{t: t, log: &journal{}}
	log := slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	options := func(o *auth.Options) {
		o.Endpoint = s.endpoint
		o.Policy, o.Hooks, o.Log, o.Keys = s.policy, s.hooks, log, []token.Key{token.Secret("", shared, false)}
		o.UndoURL = func(token string) string { return external + "/undo?token=" + token }
		o.Captcha = s.human
		o.ReadIdP = s.readIdP
		if s.methods != nil {
			o.Methods = s.methods(o.Methods)
		}
	}
	if s.frail {
		h.House, h.outage = authtest.Frail(t, options)
	} else {
		h.House = authtest.New(t, options)
	}
	s.edge.Auth = h.Service
	per5 := func(n float64) limit.Rate { return limit.Rate{Events: n, Per: 5 * time.Minute, Burst: 30} }
	s.edge.Limits = &web.Limits{
		Limiter: limit.New(h.Clock.Now), Off: !s.limits, Rates: map[string]limit.Rate{
			"otp": per5(30), "token": per5(150), "verify": per5(30), "anonymous": {Events: 30, Per: time.Hour, Burst: 30},
			"session": {Events: 10, Per: time.Minute, Burst: 10}, "captcha": {Events: 60, Per: 5 * time.Minute, Burst: 60},
			"web3": per5(30), "sso": per5(30), "assertion": per5(30),
		},
	}
	h.front = description(t).Checked(t, mount(t, s, log, h.Clock), "/setup", "/undo", "/dev/") // the pages have no description
	return h
}

// mount puts the edge where the server does.
func mount(t testing.TB, s setup, log *slog.Logger, clock *storetest.Clock) http.Handler {
	t.Helper()
	api, err := gotrue.New(s.edge)
	if err != nil {
		t.Fatal(err)
	}
	flow, err := gotrue.Flow(s.edge)
	if err != nil {
		t.Fatal(err)
	}
	if s.edge.Manners == gotrue.Auto {
		s.edge.Manners = gotrue.Netlify
	}
	netlify, err := gotrue.New(s.edge)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", api)
	mux.Handle("/auth/v1/", http.StripPrefix("/auth/v1", api))
	mux.Handle("/.netlify/identity/", http.StripPrefix("/.netlify/identity", netlify))
	pages.Mount(mux, pages.Options{Auth: s.edge.Auth, Limits: s.edge.Limits, Flow: flow, SiteURL: site, ExternalURL: external})
	s.server.Next = &web.CORS{Next: mux, Trusted: []string{site}}
	s.server.Log, s.server.Now = log, clock.Now
	return &s.server
}

var described = sync.OnceValues(func() (*dialecttest.Description, error) { return dialecttest.Describe(api.OpenAPI) })

// description is what every answer of a house is held against.
func description(t testing.TB) *dialecttest.Description {
	t.Helper()
	d, err := described()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// journal is a log that may be written and read at once.
type journal struct {
	mu  sync.Mutex // guards b
	buf bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

// answer is what came back.
type answer struct {
	*httptest.ResponseRecorder
	JSON map[string]any // nil if it is none
}

// text returns a field of the answer, or "".
func (a answer) text(key string) string {
	s, _ := a.JSON[key].(string)
	return s
}

// do sends a request of a client that is not on this machine. headers are
// "Name: value".
func (h *house) do(method, target, body string, headers ...string) answer {
	return h.send(newRequest(method, target, strings.NewReader(body), headers...))
}

func newRequest(method, target string, body io.Reader, headers ...string) *http.Request {
	r := httptest.NewRequest(method, target, body)
	for _, l := range headers {
		k, v, _ := strings.Cut(l, ": ")
		if k == "Host" {
			r.Host = v
			continue
		}
		r.Header.Add(k, v)
	}
	return r
}

func (h *house) send(r *http.Request) answer {
	a := answer{ResponseRecorder: httptest.NewRecorder()}
	h.front.ServeHTTP(a.ResponseRecorder, r)
	_ = json.Unmarshal(a.Body.Bytes(), &a.JSON)
	wait, err := strconv.Atoi(a.Header().Get("Retry-After"))
	if a.Code == http.StatusTooManyRequests && (err != nil || wait < 1) {
		h.t.Errorf("%s %s = 429 with Retry-After %q, want seconds: %s", r.Method, r.URL.Path, a.Header().Get("Retry-After"), a.Body)
	}
	return a
}

// must is do for what has to work: any other status ends the test.
func (h *house) must(status int, method, target, body string, headers ...string) answer {
	h.t.Helper()
	a := h.do(method, target, body, headers...)
	if a.Code != status {
		h.t.Fatalf("%s %s = %d, want %d: %s", method, target, a.Code, status, a.Body)
	}
	return a
}

// form sends a form.
func (h *house) form(target string, v url.Values, headers ...string) answer {
	return h.do("POST", target, v.Encode(), append(headers, "Content-Type: application/x-www-form-urlencoded")...)
}

// mailsTo returns what was sent to an address, or to a number with +, oldest
// first.
func (h *house) mailsTo(to string) []dialecttest.Mail {
	h.t.Helper()
	var list []dialecttest.Mail
	for _, m := range h.Mails(h.t, to) {
		list = append(list, h.read(m.Received))
	}
	slices.Reverse(list)
	return list
}

// read finds the one link of a mail that carries a secret.
func (h *house) read(m notify.Received) dialecttest.Mail {
	out := dialecttest.Mail{Kind: string(m.Kind), Channel: m.Channel, Code: m.Code}
	for _, link := range m.Links {
		u, err := url.Parse(link)
		if err != nil {
			h.t.Fatalf("a mail holds the link %q: %v", link, err)
		}
		_, secret, _ := strings.Cut(u.Fragment, "_token=")
		if t := u.Query().Get("token"); t != "" {
			secret = t
		}
		if secret != "" {
			out.Link, out.Token = link, secret
		}
	}
	return out
}

// lastMail returns the newest mail to an address.
func (h *house) lastMail(to string) dialecttest.Mail {
	h.t.Helper()
	list := h.mailsTo(to)
	if len(list) == 0 {
		h.t.Fatalf("no mail to %s", to)
	}
	return list[len(list)-1]
}

// newUser makes a confirmed user with the password "correct horse".
func (h *house) newUser(email string) auth.UserID {
	h.t.Helper()
	yes, pw := true, "correct horse"
	u, err := h.AddUser(h.t.Context(), authtest.Operator(), auth.UserChanges{Email: &email, EmailConfirmed: &yes, Password: &pw})
	if err != nil {
		h.t.Fatal(err)
	}
	return u.ID
}

// signIn returns the tokens of a user of newUser.
func (h *house) signIn(email string) (access, refresh string) {
	h.t.Helper()
	a := h.must(http.StatusOK, "POST", "/token?grant_type=password", `{"email":"`+email+`","password":"correct horse"}`)
	return a.text("access_token"), a.text("refresh_token")
}

// serviceToken is a token of the operator's servers.
func (h *house) serviceToken() string {
	h.t.Helper()
	s, err := h.ServiceToken("service_role", time.Hour)
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

func bearer(token string) string { return "Authorization: Bearer " + token }

// closed is a policy with those ways in shut that are shut unless an operator
// opens them.
func closed(p auth.Policy) auth.Policy {
	p.PhoneDisabled, p.AnonymousDisabled, p.LinkingDisabled = true, true, true
	return p
}
