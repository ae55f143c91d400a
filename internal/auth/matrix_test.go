package auth_test

import (
	"context"
	"reflect"
	"slices"
	"testing"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/login"
)

// noSession is how a sign-up with a contact that has a user is answered: like
// any other, and with nothing to come in by.
const noSession auth.Code = "(no session)"

// entry is one path in, or to a message that leads in. ready brings it to where
// only the last step is missing: its answer is right, and only a gate can
// refuse it.
type entry struct {
	name   string
	call   string // the method of Service at its end
	method string // of login.All, if it is one
	via    string // "email", "phone", "session", or "" where no user is known yet
	to     string // whose guesses count for it
	opens  bool   // a session or an authorization code
	proves bool   // the contact, so that an unconfirmed user comes in by it
	code   bool   // it takes a short code
	chosen bool   // it takes a password somebody wants
	makes  bool   // a user
	asks   bool   // for a message
	policy func(*auth.Policy)
	is     map[string]auth.Code // where a gate answers otherwise than to most; "": lets it pass
	ready  func(t *testing.T, h *authtest.House) (auth.UserID, step)
}

// step is the last one.
type step func(h *authtest.House, c auth.Caller) (*auth.Grant, error)

// gate is a reason not to come in. Those that are a fact about a user are set
// behind the back of the rules that would also end the sessions: here the gate
// itself must hold.
type gate struct {
	name   string
	code   func(e *entry) auth.Code // "": it lets e pass
	policy func(*auth.Options)
	user   func(u *auth.User, now time.Time)
}

func always(code auth.Code, to func(e *entry) bool) func(*entry) auth.Code {
	return func(e *entry) auth.Code {
		if to(e) {
			return code
		}
		return ""
	}
}

// ofUser is for what is known of a user: a second sign-up of theirs is no way
// around.
func ofUser(code auth.Code) func(*entry) auth.Code {
	return func(e *entry) auth.Code {
		switch {
		case e.makes && e.opens && e.via != "":
			return auth.AlreadyRegistered
		case e.via == "" || e.asks && e.via != "session":
			return "" // who asks is told nothing: see TestThreat_E02
		}
		return code
	}
}

func unproved(via string, code auth.Code) func(*entry) auth.Code {
	return func(e *entry) auth.Code {
		by := e.via
		if by == "session" {
			by = "email" // which opened it
		}
		switch {
		case by != via || e.proves || e.asks && e.via != "session":
			return ""
		case e.makes:
			return noSession
		}
		return code
	}
}

func gates() []gate {
	const long = 200
	weak := always(auth.WeakPassword, func(e *entry) bool { return e.chosen })
	return []gate{
		{name: "open", code: func(*entry) auth.Code { return "" }},
		{name: "banned", code: ofUser(auth.UserBanned), user: func(u *auth.User, now time.Time) { u.BannedUntil = now.Add(hour) }},
		{name: "deleted", code: ofUser(auth.UserGone), user: func(u *auth.User, now time.Time) { u.DeletedAt = now }},
		{name: "unconfirmed address", code: unproved("email", auth.EmailNotConfirmed), user: func(u *auth.User, _ time.Time) { u.EmailVerifiedAt = time.Time{} }},
		{name: "unconfirmed number", code: unproved("phone", auth.PhoneNotConfirmed), user: func(u *auth.User, _ time.Time) { u.PhoneVerifiedAt = time.Time{} }},
		{name: "e-mail closed", code: always(auth.EmailDisabled, func(e *entry) bool { return e.via == "email" }), policy: authtest.With(func(p *auth.Policy) { p.EmailDisabled = true })},
		{name: "phone closed", code: always(auth.PhoneDisabled, func(e *entry) bool { return e.via == "phone" }), policy: authtest.With(func(p *auth.Policy) { p.PhoneDisabled = true })},
		{name: "anonymous closed", code: always(auth.AnonymousDisabled, func(e *entry) bool { return e.name == "anonymous sign-up" }), policy: authtest.With(func(p *auth.Policy) { p.AnonymousDisabled = true })},
		// It closes asking. What is in a mailbox, or an administrator has made, stays good.
		{name: "magic links closed", code: always(auth.MagicLinkDisabled, func(e *entry) bool { return e.call == "MagicLink" && e.via == "email" }), policy: authtest.With(func(p *auth.Policy) { p.MagicLinkDisabled = true })},
		{name: "sign-up closed", code: always(auth.SignupDisabled, func(e *entry) bool { return e.makes && e.call == "SignUp" }), policy: authtest.With(func(p *auth.Policy) { p.SignupDisabled = true })},
		{name: "too many guesses", code: always(auth.TooMany, func(e *entry) bool { return e.code })},
		{name: "too soon", code: func(e *entry) auth.Code {
			if !e.asks {
				return ""
			}
			if e.to == annsPhone || e.to == annsOther {
				return auth.SMSTooSoon
			}
			return auth.TooSoon
		}},
		{name: "weak password", code: weak, policy: authtest.With(func(p *auth.Policy) { p.MinPassword = long })},
		{name: "leaked password", code: weak, policy: func(o *auth.Options) {
			o.Checks.Leaked = func(context.Context, string) (bool, error) { return true, nil }
		}},
		{name: "single session", code: func(*entry) auth.Code { return "" }, policy: authtest.With(func(p *auth.Policy) { p.SingleSession = true })},
		// Sessions that are opened now have until the limit.
		{
			name: "second factor overdue", code: always(auth.SessionExpired, func(e *entry) bool { return e.via == "session" }),
			policy: authtest.With(func(p *auth.Policy) { p.LowAAL = time.Microsecond }), user: func(u *auth.User, _ time.Time) { u.VerifiedFactors = 1 },
		},
		{name: "another tenant", code: func(e *entry) auth.Code {
			return map[string]auth.Code{
				"password": auth.InvalidCredentials, "emailcode": auth.CodeFailed, "smscode": auth.CodeFailed, "emaillink": auth.LinkFailed, "pkce": auth.FlowNotFound,
			}[e.method]
		}},
		// It is asked of who comes from nowhere: not of the first administrator, nor
		// of who undoes a change, whose pages need the secret of a link.
		captchaGate(),
	}
}

// refused tells how a gate answers an entry.
func (g *gate) refuses(e *entry) auth.Code {
	if code, ok := e.is[g.name]; ok {
		return code
	}
	return g.code(e)
}

func TestGate_everyEntryPathPassesEveryGate(t *testing.T) {
	covered := map[string]bool{}
	// Gates are rules and not statements: where another database is asked, the
	// ban stands for all of them.
	elsewhere := authtest.New(t).DB.Engine() != "sqlite"
	for _, e := range entries() {
		covered[e.method], covered[e.call] = true, true
		var rest []gate // that let it pass, and are all shut at once
		for _, g := range gates() {
			switch {
			case elsewhere && g.name != "banned":
			case g.name == "another tenant":
				t.Run(e.name+"/"+g.name, func(t *testing.T) { t.Parallel(); e.elsewhere(t, g.refuses(&e)) })
			case g.refuses(&e) != "" || g.name == "single session" && e.opens && !e.makes:
				t.Run(e.name+"/"+g.name, func(t *testing.T) { t.Parallel(); e.at(t, g) })
			default:
				rest = append(rest, g)
			}
		}
		if len(rest) > 0 {
			t.Run(e.name+"/all that let it pass", func(t *testing.T) { t.Parallel(); e.at(t, rest...) })
		}
	}
	for _, m := range login.All(login.Options{}) {
		if !covered[m.Name()] {
			t.Errorf("the way in %q is not among the entry paths", m.Name())
		}
	}
	// A new method that hands out a session, or acts for who has one, needs a row.
	takesAway := map[string]bool{"SignOut": true} // it ends sessions and opens none
	service := reflect.TypeFor[*auth.Service]()
	for m := range service.Methods() {
		for n := range m.Type.NumOut() + m.Type.NumIn() {
			var typ reflect.Type
			if n < m.Type.NumOut() {
				typ = m.Type.Out(n)
			} else {
				typ = m.Type.In(n - m.Type.NumOut())
			}
			if (typ == reflect.TypeFor[*auth.Grant]() || typ == reflect.TypeFor[*auth.Viewer]()) && !covered[m.Name] && !takesAway[m.Name] {
				t.Errorf("Service.%s is not among the entry paths", m.Name)
			}
		}
	}
}

// house is where the last step of e is taken, with the doors of some gates
// closed, and who takes it.
func (e *entry) house(t *testing.T, shut ...gate) (h, closed *authtest.House, id auth.UserID, enter step) {
	t.Helper()
	var options []func(*auth.Options)
	if e.policy != nil {
		options = append(options, authtest.With(e.policy))
	}
	h = authtest.New(t, append(options, withNotices)...)
	id, enter = e.ready(t, h)
	for _, g := range shut {
		if g.policy != nil {
			options = append(options, g.policy)
		}
	}
	return h, h.Under(t, append(options, withNotices)...), id, enter
}

// at takes the last step before gates that are shut: one that refuses e, or any
// number of those that do not.
func (e *entry) at(t *testing.T, shut ...gate) {
	h, closed, id, enter := e.house(t, shut...)
	code := shut[0].refuses(e)
	for _, g := range shut {
		switch {
		case g.user != nil && e.makes && e.via != "" && code != "":
			got, err := enter(h, authtest.Caller())
			ok(t, "the first sign-up", err)
			id = got.User.ID
			tamper(t, h, id, func(u *auth.User) { g.user(u, h.Clock.Now()) })
		case g.user != nil && !id.IsZero():
			tamper(t, h, id, func(u *auth.User) { g.user(u, h.Clock.Now()) })
		case g.name == "too many guesses" && e.to != "":
			for range 10 {
				in, method := auth.Input{Email: e.to, Code: "none"}, "emailcode"
				if e.to == annsPhone || e.to == annsOther {
					in, method = auth.Input{Phone: e.to, Code: "none"}, "smscode"
				}
				_, err := h.SignIn(t.Context(), authtest.Caller(), method, in, false)
				want(t, "guess", err, auth.CodeFailed)
			}
		case g.name == "too soon" && e.asks:
			_, err := enter(h, authtest.Caller())
			ok(t, "the first time", err)
			h.Deliver(t)
		}
	}
	h.Clock.Advance(time.Second)
	users, before := h.Count(t), 0
	if !id.IsZero() {
		before = sessions(t, h, id)
	}
	got, err := enter(closed, authtest.Caller())
	switch {
	case code == noSession:
		ok(t, "enter", err)
	case code != "":
		want(t, "enter", err, code)
	default:
		ok(t, "enter", err)
	}
	opened := err == nil && got != nil && (got.Access != "" || got.AuthCode != "")
	if wanted := e.opens && code == ""; opened != wanted {
		t.Errorf("came in: %v, want %v", opened, wanted)
	}
	if code != "" && !id.IsZero() && sessions(t, h, id) != before {
		t.Error("a session was opened all the same")
	}
	if code != "" && h.Count(t) != users {
		t.Errorf("%d users came or went", h.Count(t)-users)
	}
	if shut[0].name == "single session" && got.Access != "" {
		if living := listed(t, h, got.User.ID, false); !slices.Equal(living, []auth.SessionID{got.Session.ID}) {
			t.Errorf("%d sessions live, want the new one", len(living))
		}
	}
}

// elsewhere takes the last step as a caller of another tenant, who finds
// nothing of this one's.
func (e *entry) elsewhere(t *testing.T, code auth.Code) {
	h, closed, id, enter := e.house(t)
	h.Deliver(t)
	users, messages, before := h.Count(t), len(h.Inbox.Messages()), 0
	if !id.IsZero() {
		before = len(names(h, t, id))
	}
	got, err := enter(closed.There(), authtest.Caller())
	switch {
	case e.makes: // there
		ok(t, "sign up there", err)
	case e.asks && e.via != "session":
		ok(t, "ask there", err)
		closed.Deliver(t)
		if e.name != "asking for a sign-up" && len(h.Inbox.Messages()) != messages {
			t.Error("somebody of this tenant got a message")
		}
	case code != "":
		want(t, "enter there", err, code)
	case err == nil:
		t.Errorf("got %+v", got)
	}
	if h.Count(t) != users || !id.IsZero() && len(names(h, t, id)) != before {
		t.Error("something happened to the user all the same")
	}
}
