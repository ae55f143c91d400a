package auth_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/store"
)

// operatorsHooks are hooks of a test, which count how often they are asked.
type operatorsHooks struct {
	mu       sync.Mutex
	before   []auth.User
	entering []string // email, and whether it is the first time
	tried    []auth.UserID

	refuse bool // all of them
	change auth.Changed
	claims func(map[string]any) map[string]any
	judge  auth.PasswordVerdict
}

var errRefused = &auth.Error{Code: auth.HookRefused, Params: map[string]any{"status": 403}}

func (o *operatorsHooks) said() (auth.Changed, error) {
	if o.refuse {
		return auth.Changed{}, errRefused
	}
	return o.change, nil
}

func (o *operatorsHooks) set(fn func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	fn()
}

// allOpen lets everybody in who may be made in some way.
func allOpen(o *auth.Options) { o.Policy.PhoneDisabled, o.Policy.AnonymousDisabled = false, false }

// all is an option with all hooks.
func (o *operatorsHooks) all(opt *auth.Options) {
	o.beforeAlone(opt)
	opt.Hooks.Entering = func(_ context.Context, _ auth.Caller, u *auth.User, first bool) (auth.Changed, error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.entering = append(o.entering, map[bool]string{true: "first ", false: "again "}[first]+u.Email)
		return o.said()
	}
	opt.Hooks.Claims = func(_ context.Context, _ auth.Caller, _ auth.UserID, c map[string]any, _ string) (map[string]any, error) {
		if o.claims == nil {
			return c, nil
		}
		return o.claims(c), nil
	}
	opt.Hooks.PasswordTried = func(_ context.Context, _ auth.Caller, id auth.UserID, _ bool) (auth.PasswordVerdict, error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.tried = append(o.tried, id)
		return o.judge, nil
	}
}

func (o *operatorsHooks) beforeAlone(opt *auth.Options) {
	opt.Hooks.BeforeUser = func(_ context.Context, _ auth.Caller, u *auth.User) (auth.Changed, error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.before = append(o.before, *u)
		return o.said()
	}
}

// readJSON reads an object.
func readJSON(t *testing.T, b []byte) (m map[string]any) {
	t.Helper()
	ok(t, "JSON", json.Unmarshal(b, &m))
	return m
}

// makers are all ways somebody is made by themselves or by an invitation.
func makers(t *testing.T) map[string]func(h *authtest.House) error {
	c, f := authtest.Caller(), authtest.Flow()
	return map[string]func(h *authtest.House) error{
		"sign-up": func(h *authtest.House) error {
			_, err := h.SignUp(t.Context(), c, auth.NewUser{Email: ann, Password: pw}, f)
			return err
		},
		"sign-up by phone": func(h *authtest.House) error {
			_, err := h.SignUp(t.Context(), c, auth.NewUser{Phone: annsPhone, Password: pw}, f)
			return err
		},
		"anonymous": func(h *authtest.House) error {
			_, err := h.SignUp(t.Context(), c, auth.NewUser{}, f)
			return err
		},
		"magic link": func(h *authtest.House) error {
			return h.MagicLink(t.Context(), c, auth.CodeRequest{Email: ann, Create: true}, f)
		},
		"code": func(h *authtest.House) error {
			return h.MagicLink(t.Context(), c, auth.CodeRequest{Phone: annsPhone, Create: true}, f)
		},
		"invitation": func(h *authtest.House) error {
			_, err := h.Invite(t.Context(), authtest.Operator(), ann, nil, f)
			return err
		},
		"link to sign up": func(h *authtest.House) error {
			_, err := h.MakeLink(t.Context(), authtest.Operator(), auth.LinkRequest{Kind: auth.KindConfirmation, Email: ann, Password: pw}, f)
			return err
		},
		"magic link of an administrator": func(h *authtest.House) error {
			_, err := h.MakeLink(t.Context(), authtest.Operator(), auth.LinkRequest{Kind: auth.KindMagicLink, Email: ann}, f)
			return err
		},
		"invitation as a link": func(h *authtest.House) error {
			_, err := h.MakeLink(t.Context(), authtest.Operator(), auth.LinkRequest{Kind: auth.KindInvite, Email: ann}, f)
			return err
		},
	}
}

func TestHooks_areAskedOnceOfEveryoneWhoIsMade(t *testing.T) {
	for name, enter := range makers(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := &operatorsHooks{change: auth.Changed{UserMetadata: []byte(`{"by":"hook"}`), AppMetadata: []byte(`{"plan":"gold"}`)}}
			h := authtest.New(t, allOpen, o.beforeAlone)
			ok(t, name, enter(h))
			h.Deliver(t)
			list, total, err := h.Users(t.Context(), authtest.Operator(), auth.UserFilter{Limit: 10})
			ok(t, "users", err)
			if len(o.before) != 1 || total != 1 {
				t.Fatalf("the hook was asked %d times, and there are %d users; want once and one", len(o.before), total)
			}
			u, asked := list[0], o.before[0]
			if asked.ID != u.ID || asked.Email != u.Email || asked.Phone != u.Phone || asked.IsAnonymous != u.IsAnonymous {
				t.Errorf("asked about %+v, made %+v", asked, u)
			}
			if by := readJSON(t, u.UserMetadata)["by"]; by != "hook" {
				t.Errorf("user_metadata is %s, want the hook's", u.UserMetadata)
			}
			if plan := readJSON(t, u.AppMetadata)["plan"]; plan != "gold" {
				t.Errorf("app_metadata is %s, want the hook's", u.AppMetadata)
			}
		})
	}
}

func TestHooks_thatRefuseAUserLeaveNothing(t *testing.T) {
	for name, enter := range makers(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := &operatorsHooks{refuse: true}
			h := authtest.New(t, allOpen, o.beforeAlone)
			err := enter(h)
			if asks := name == "magic link" || name == "code"; asks {
				ok(t, name, err) // whose answer is out before anybody is asked
			} else {
				want(t, name, err, auth.HookRefused)
			}
			h.Deliver(t)
			if h.Count(t) != 0 || len(h.Inbox.Messages()) != 0 || len(o.before) != 1 {
				t.Errorf("%d users, %d messages, asked %d times; want none, none, once", h.Count(t), len(h.Inbox.Messages()), len(o.before))
			}
		})
	}
}

func TestHooks_areNotAskedAboutWhomNobodyMakes(t *testing.T) {
	o := &operatorsHooks{}
	h := authtest.New(t, allOpen, o.beforeAlone)
	_, err := h.MakeLink(t.Context(), authtest.Operator(), auth.LinkRequest{Kind: auth.KindRecovery, Email: ann}, authtest.Flow())
	want(t, "a recovery of nobody's", err, auth.UserNotFound)
	closed := h.Under(t, o.beforeAlone, authtest.With(func(p *auth.Policy) { p.SignupDisabled = true }))
	ok(t, "magic link", closed.MagicLink(t.Context(), authtest.Caller(), auth.CodeRequest{Email: ann, Create: true}, authtest.Flow()))
	closed.Deliver(t)
	if len(o.before) != 0 {
		t.Errorf("asked about %v", o.before)
	}
}

// The time a hook takes must not tell who has an account.
func TestHooks_areAskedAboutAKnownAddressToo(t *testing.T) {
	o := &operatorsHooks{}
	h := authtest.New(t, allOpen, o.beforeAlone)
	h.Join(t, ann, pw)
	h.Clock.Advance(hour)
	_, err := signUp(t, h, ann, pw2)
	ok(t, "again", err)
	if len(o.before) != 2 || o.before[1].ID == o.before[0].ID || !o.before[1].EmailVerifiedAt.IsZero() {
		t.Errorf("asked about %+v, want of the second as of somebody new", o.before)
	}
	o.set(func() { o.refuse = true })
	h.Clock.Advance(hour)
	_, err = signUp(t, h, ann, pw2)
	want(t, "a known address", err, auth.HookRefused)
	_, err = signUp(t, h, bob, pw2)
	want(t, "an unknown one", err, auth.HookRefused)
}

func TestHooks_thatRefuseASignInSpendNothing(t *testing.T) {
	o := &operatorsHooks{}
	h := authtest.New(t, o.all)
	_, err := signUp(t, h, ann, pw)
	ok(t, "sign up", err)
	m := h.Mail(t, ann)
	o.set(func() { o.refuse = true })
	_, err = h.ByLink(t, m.Token, authtest.Kinds()...)
	want(t, "the link", err, auth.HookRefused)
	_, err = h.ByCode(t, ann, m.Code, auth.KindConfirmation)
	want(t, "the code", err, auth.HookRefused)
	o.set(func() {
		o.refuse, o.entering = false, nil
		o.change = auth.Changed{AppMetadata: []byte(`{"plan":"gold"}`)}
	})
	for range 3 {
		_, err = h.ByCode(t, ann, authtest.WrongCode(m.Code), auth.KindConfirmation)
		want(t, "a wrong code", err, auth.CodeFailed)
	}
	if len(o.entering) != 0 {
		t.Errorf("asked about %v who had a wrong code", o.entering)
	}
	// The fourth try of five: each wrong one was counted once.
	g, err := h.ByCode(t, ann, m.Code, auth.KindConfirmation)
	ok(t, "the code again", err)
	if readJSON(t, g.User.AppMetadata)["plan"] != "gold" || len(o.entering) != 1 || o.entering[0] != "first "+ann {
		t.Errorf("asked %v, user %s", o.entering, g.User.AppMetadata)
	}
	_, err = h.ByLink(t, m.Token, authtest.Kinds()...)
	want(t, "the link of a spent question", err, auth.LinkFailed)
}

// What a hook answers is of the user it was shown. An answer on the way must not
// give back what was taken from them meanwhile.
func TestHooks_anAnswerUndoesNothingThatWasChangedMeanwhile(t *testing.T) {
	var meanwhile func()
	asked := 0
	h := authtest.New(t, func(opt *auth.Options) {
		opt.Hooks.Entering = func(_ context.Context, _ auth.Caller, u *auth.User, first bool) (auth.Changed, error) {
			if first {
				return auth.Changed{AppMetadata: []byte(`{"roles":["admin"]}`)}, nil
			}
			asked++
			shown := readJSON(t, u.AppMetadata)
			shown["seen"] = true
			answer, err := json.Marshal(shown)
			meanwhile()
			return auth.Changed{AppMetadata: answer}, err
		}
	})
	h.Join(t, ann, pw)
	u, err := h.UserByEmail(t.Context(), authtest.Operator(), ann)
	ok(t, "ann", err)
	meanwhile = func() {
		if asked == 1 {
			_, err := h.SetUser(t.Context(), authtest.Operator(), u.ID, auth.UserChanges{AppData: map[string]any{"roles": []any{}}})
			ok(t, "take the role away", err)
		}
	}
	g := h.Enter(t, ann, pw)
	data := readJSON(t, g.User.AppMetadata)
	if roles, _ := data["roles"].([]any); len(roles) != 0 || data["seen"] != true || asked != 2 {
		t.Errorf("asked %d times, and the user has %s; want twice, the hook's word and no role", asked, g.User.AppMetadata)
	}
}

func TestHooks_areAskedAtEachPassword(t *testing.T) {
	o := &operatorsHooks{}
	h := authtest.New(t, o.all)
	h.Join(t, ann, pw)
	o.set(func() { o.entering = nil })
	h.Enter(t, ann, pw)
	if len(o.entering) != 1 || o.entering[0] != "again "+ann {
		t.Errorf("asked %v", o.entering)
	}
	o.set(func() { o.refuse = true })
	_, err := h.ByPassword(t, ann, pw)
	want(t, "refused", err, auth.HookRefused)
	o.set(func() { o.entering = nil })
	_, err = h.ByPassword(t, ann, "wrong")
	want(t, "wrong", err, auth.InvalidCredentials)
	if len(o.entering) != 0 {
		t.Errorf("asked %v about a wrong password", o.entering)
	}
}

func TestHooks_letOneOfTwoClicksIn(t *testing.T) {
	o := &operatorsHooks{}
	h := authtest.New(t, o.all)
	_, err := signUp(t, h, ann, pw)
	ok(t, "sign up", err)
	token := h.Mail(t, ann).Token
	in := 0
	for _, err := range together(8, func(int) error { _, err := h.ByLink(t, token, authtest.Kinds()...); return err }) {
		if err == nil {
			in++
		} else if auth.CodeOf(err) != auth.LinkFailed {
			t.Error(err)
		}
	}
	if in != 1 {
		t.Errorf("%d clicks came in, want 1", in)
	}
}

func TestHooks_makeClaimsThatAreLookedAt(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(map[string]any)
		bad    bool
	}{
		"more":            {func(c map[string]any) { c["plan"] = "gold" }, false},
		"another role":    {func(c map[string]any) { c["role"] = "member" }, false},
		"another sub":     {func(c map[string]any) { c["sub"] = "00000000-0000-4000-8000-000000000001" }, true},
		"another session": {func(c map[string]any) { c["session_id"] = "00000000-0000-4000-8000-000000000001" }, true},
		"no session":      {func(c map[string]any) { delete(c, "session_id") }, true},
		"no aud":          {func(c map[string]any) { delete(c, "aud") }, true},
		"exp as a text":   {func(c map[string]any) { c["exp"] = "tomorrow" }, true},
		"no is_anonymous": {func(c map[string]any) { delete(c, "is_anonymous") }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := &operatorsHooks{}
			h := authtest.New(t, o.all)
			g := h.Join(t, ann, pw)
			o.claims = func(c map[string]any) map[string]any { tc.change(c); return c }
			before := len(listed(t, h, g.User.ID, false))
			next, err := h.ByPassword(t, ann, pw)
			if !tc.bad {
				ok(t, "sign in", err)
				h.View(t, next.Access)
				return
			}
			want(t, "sign in", err, auth.HookFailed)
			if len(listed(t, h, g.User.ID, false)) != before {
				t.Error("a session is left that nobody has a token of")
			}
			_, err = h.Refresh(t.Context(), authtest.Caller(), g.Refresh)
			want(t, "refresh", err, auth.HookFailed)
			o.claims = nil
			h.Trade(t, g.Refresh) // the session is there, and the token good
		})
	}
}

func TestHooks_judgePasswordsOfNobodyToo(t *testing.T) {
	o := &operatorsHooks{}
	h := authtest.New(t, o.all)
	g := h.Join(t, ann, pw)
	for range 2 {
		_, err := h.ByPassword(t, bob, pw)
		want(t, "nobody", err, auth.InvalidCredentials)
	}
	if len(o.tried) != 2 || o.tried[0] != o.tried[1] || o.tried[0].IsZero() || o.tried[0] == g.User.ID {
		t.Errorf("told of %v, want one made-up id twice", o.tried)
	}
	there := h.There()
	_, err := there.ByPassword(t, bob, pw)
	want(t, "nobody there", err, auth.InvalidCredentials)
	if o.tried[2] == o.tried[0] {
		t.Error("the made-up id is the same in each tenant")
	}
	o.judge = auth.PasswordVerdict{Reject: true, Message: "not today"}
	_, err = h.ByPassword(t, ann, pw)
	want(t, "rejected", err, auth.InvalidCredentials)
	var e *auth.Error
	if !errors.As(err, &e) || e.Params["problem"] != "not today" {
		t.Errorf("got %v, want the hook's words", err)
	}
	h.View(t, g.Access)
	o.judge.LogOut = true
	_, err = h.ByPassword(t, ann, pw)
	want(t, "rejected", err, auth.InvalidCredentials)
	_, err = h.Authenticate(t.Context(), authtest.Caller(), g.Access)
	want(t, "the session", err, auth.SessionGone)
}

// K06: a hook that asks the house itself must not wait for its own caller.
func TestThreat_K06_aHookMaySignUpOverTheSameDatabase(t *testing.T) {
	var h *authtest.House
	h = authtest.New(t, func(o *auth.Options) {
		o.Policy.Autoconfirm = true
		inner := func(email string) error {
			if email == bob {
				return nil
			}
			_, err := h.Under(t, authtest.With(autoconfirm)).SignUp(t.Context(), authtest.Caller(), auth.NewUser{Email: bob, Password: pw}, authtest.Flow())
			if auth.CodeOf(err) == auth.AlreadyRegistered {
				err = nil
			}
			return err
		}
		o.Hooks.BeforeUser = func(_ context.Context, _ auth.Caller, u *auth.User) (auth.Changed, error) {
			return auth.Changed{}, inner(u.Email)
		}
		o.Hooks.Entering = func(_ context.Context, _ auth.Caller, u *auth.User, _ bool) (auth.Changed, error) {
			return auth.Changed{}, inner(u.Email)
		}
		o.Hooks.Claims = func(_ context.Context, _ auth.Caller, _ auth.UserID, c map[string]any, _ string) (map[string]any, error) {
			return c, inner(c["email"].(string))
		}
		o.Hooks.PasswordTried = func(context.Context, auth.Caller, auth.UserID, bool) (auth.PasswordVerdict, error) {
			return auth.PasswordVerdict{}, inner(ann)
		}
	})
	h.Join(t, ann, pw)
	g := h.Enter(t, ann, pw)
	h.Trade(t, g.Refresh)
	if h.Count(t) != 2 {
		t.Errorf("%d users, want 2", h.Count(t))
	}
}

func TestHooks_areToldEachByADeliveryOfItsOwn(t *testing.T) {
	h := authtest.New(t, func(o *auth.Options) {
		o.Hooks.Told = map[auth.HookEvent][]string{auth.HookUserCreated: {"a", "b"}, auth.HookUserDeleted: {"c"}}
	})
	waiting := func() (n int) {
		ok(t, "count", h.DB.Read(t.Context(), store.TenantID{}, func(tx *store.Tx) (err error) {
			n, _, err = tx.CountDeliveries()
			return err
		}))
		return n
	}
	u, err := h.AddUser(t.Context(), authtest.Operator(), auth.UserChanges{Email: ptr(ann)})
	ok(t, "add", err)
	if got := waiting(); got != 2 {
		t.Errorf("%d deliveries wait, want 2", got)
	}
	_, err = h.SetUser(t.Context(), authtest.Operator(), u.ID, auth.UserChanges{Role: ptr("member")})
	ok(t, "set", err)
	ok(t, "drop", h.DropUser(t.Context(), authtest.Operator(), u.ID, false))
	if got := waiting(); got != 3 {
		t.Errorf("%d deliveries wait, want 3", got)
	}
}

func TestHooks_thatSendMailGetBothQuestionsOfAChangeAtOnce(t *testing.T) {
	h := authtest.New(t, func(o *auth.Options) { o.MailByHook = true })
	g := h.Join(t, ann, pw)
	h.Clock.Advance(minute)
	_, err := h.UpdateUser(t.Context(), authtest.Caller(), h.View(t, g.Access), newEmail(annsNew), authtest.Flow())
	ok(t, "change", err)
	if n := len(h.Mails(t, annsNew)); n != 0 {
		t.Errorf("%d mails to the new address, want one mail to the old one alone", n)
	}
	if m := h.Mail(t, ann); m.Kind != "email_change" || m.Code == "" {
		t.Errorf("got %+v", m)
	}
}
