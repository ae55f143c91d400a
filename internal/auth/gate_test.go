package auth_test

import (
	"slices"
	"testing"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/login"
	"gatehouse/internal/storetest"
)

// entry is one path to a session. ready brings it to where only the last step
// is missing: its answer is right, and only the gate can refuse it.
type entry struct {
	name   string
	method string // of login.All, if it is one
	proves bool   // it proves the address, so an unconfirmed user comes in by it
	policy func(*auth.Policy)
	ready  func(t *testing.T, h *authtest.House) (auth.UserID, func() (*auth.Grant, error))
}

// member is an entry of ann, who signed up and confirmed.
func member(name, method string, ready func(t *testing.T, h *authtest.House, g *auth.Grant) func() (*auth.Grant, error)) entry {
	return entry{name: name, method: method, ready: func(t *testing.T, h *authtest.House) (auth.UserID, func() (*auth.Grant, error)) {
		g := h.Join(t, ann, pw)
		h.Clock.Advance(minute)
		return g.User.ID, ready(t, h, g)
	}}
}

// byMail is an entry by an open question of one kind, by link, by link with a
// challenge, and by code.
func byMail(k auth.Kind, ask func(t *testing.T, h *authtest.House, f auth.Flow) (id auth.UserID, to string)) []entry {
	prepare := func(p auth.PKCE, use func(h *authtest.House, t *testing.T, m authtest.Mail) (*auth.Grant, error)) func(t *testing.T, h *authtest.House) (auth.UserID, func() (*auth.Grant, error)) {
		return func(t *testing.T, h *authtest.House) (auth.UserID, func() (*auth.Grant, error)) {
			f := authtest.Flow()
			f.PKCE = p
			id, to := ask(t, h, f)
			m := h.Mail(t, to)
			return id, func() (*auth.Grant, error) { return use(h, t, m) }
		}
	}
	follow := func(h *authtest.House, t *testing.T, m authtest.Mail) (*auth.Grant, error) {
		return h.ByLink(t, m.Token, k)
	}
	one := func(p *auth.Policy) { p.SecureEmailChange = false } // so that one answer is enough
	return []entry{
		{string(k) + " link", "emaillink", true, one, prepare(auth.PKCE{}, follow)},
		{string(k) + " link to a code", "emaillink", true, one, prepare(s256(verifier), follow)},
		{string(k) + " code", "emailcode", true, one, prepare(auth.PKCE{}, func(h *authtest.House, t *testing.T, m authtest.Mail) (*auth.Grant, error) {
			return h.ByCode(t, m.To, m.Code, k)
		})},
	}
}

func entries() []entry {
	ctx := authtest.Caller()
	list := []entry{
		member("password", "password", func(t *testing.T, h *authtest.House, _ *auth.Grant) func() (*auth.Grant, error) {
			return func() (*auth.Grant, error) { return h.ByPassword(t, ann, pw) }
		}),
		member("pkce", "pkce", func(t *testing.T, h *authtest.House, _ *auth.Grant) func() (*auth.Grant, error) {
			f := authtest.Flow()
			f.PKCE = s256(verifier)
			ok(t, "recover", h.Recover(t.Context(), ctx, ann, f))
			code := h.Follow(t, h.Mail(t, ann).Token).AuthCode
			return func() (*auth.Grant, error) { return h.ByAuthCode(t, code, verifier) }
		}),
		member("refresh", "", func(t *testing.T, h *authtest.House, g *auth.Grant) func() (*auth.Grant, error) {
			return func() (*auth.Grant, error) { return h.Refresh(t.Context(), ctx, g.Refresh) }
		}),
		member("refresh of a lost answer", "", func(t *testing.T, h *authtest.House, g *auth.Grant) func() (*auth.Grant, error) {
			h.Trade(t, g.Refresh)
			return func() (*auth.Grant, error) { return h.Refresh(t.Context(), ctx, g.Refresh) }
		}),
		member("access token", "", func(t *testing.T, h *authtest.House, g *auth.Grant) func() (*auth.Grant, error) {
			return func() (*auth.Grant, error) {
				v, err := h.Authenticate(t.Context(), ctx, g.Access)
				if err != nil {
					return nil, err
				}
				return &auth.Grant{User: v.User, Access: g.Access}, nil
			}
		}),
		member("administrator's access token", "", func(t *testing.T, h *authtest.House, g *auth.Grant) func() (*auth.Grant, error) {
			tamper(t, h, g.User.ID, func(u *auth.User) { u.Role = "admin" })
			return func() (*auth.Grant, error) {
				_, err := h.Administrator(t.Context(), ctx, g.Access)
				return &auth.Grant{Access: g.Access}, err
			}
		}),
		member("change of one's own user", "", func(t *testing.T, h *authtest.House, g *auth.Grant) func() (*auth.Grant, error) {
			v := h.View(t, g.Access)
			return func() (*auth.Grant, error) {
				_, err := h.UpdateUser(t.Context(), ctx, v, auth.Changes{Data: map[string]any{"n": 1}}, authtest.Flow())
				return &auth.Grant{Access: g.Access}, err
			}
		}),
	}
	second := member("the second word on a change of address", "emaillink", func(t *testing.T, h *authtest.House, g *auth.Grant) func() (*auth.Grant, error) {
		current, wanted := change(t, h, g)
		h.Follow(t, wanted.Token)
		return func() (*auth.Grant, error) { return h.ByLink(t, current.Token, auth.KindChangeCurrent) }
	})
	second.proves = true
	list = append(list, second)
	list = append(list, byMail(auth.KindConfirmation, func(t *testing.T, h *authtest.House, f auth.Flow) (auth.UserID, string) {
		g, err := h.SignUp(t.Context(), ctx, auth.NewUser{Email: ann, Password: pw}, f)
		ok(t, "sign up", err)
		return g.User.ID, ann
	})...)
	list = append(list, byMail(auth.KindInvite, func(t *testing.T, h *authtest.House, f auth.Flow) (auth.UserID, string) {
		u, err := h.Invite(t.Context(), authtest.Operator(), ann, nil, f)
		ok(t, "invite", err)
		return u.ID, ann
	})...)
	list = append(list, byMail(auth.KindRecovery, func(t *testing.T, h *authtest.House, f auth.Flow) (auth.UserID, string) {
		id := h.Join(t, ann, pw).User.ID
		ok(t, "recover", h.Recover(t.Context(), ctx, ann, f))
		return id, ann
	})...)
	list = append(list, byMail(auth.KindMagicLink, func(t *testing.T, h *authtest.House, f auth.Flow) (auth.UserID, string) {
		id := h.Join(t, ann, pw).User.ID
		ok(t, "magic link", h.MagicLink(t.Context(), ctx, ann, false, nil, f))
		return id, ann
	})...)
	list = append(list, byMail(auth.KindChangeNew, func(t *testing.T, h *authtest.House, f auth.Flow) (auth.UserID, string) {
		g := h.Join(t, ann, pw)
		_, err := h.UpdateUser(t.Context(), ctx, h.View(t, g.Access), newEmail(annsNew), f)
		ok(t, "change", err)
		return g.User.ID, annsNew
	})...)
	return list
}

// gates are the reasons not to come in, set behind the back of the rules that
// would also end the sessions: here the gate itself must hold.
var gates = []struct {
	name string
	code auth.Code
	shut func(now time.Time) func(*auth.User)
}{
	{"open", "", func(time.Time) func(*auth.User) { return func(*auth.User) {} }},
	{"banned", auth.UserBanned, func(now time.Time) func(*auth.User) { return func(u *auth.User) { u.BannedUntil = now.Add(time.Hour) } }},
	{"deleted", auth.UserGone, func(now time.Time) func(*auth.User) { return func(u *auth.User) { u.DeletedAt = now } }},
	{"unconfirmed", auth.EmailNotConfirmed, func(time.Time) func(*auth.User) {
		return func(u *auth.User) { u.EmailVerifiedAt = time.Time{} }
	}},
}

func TestGate_everyEntryPathPassesEveryGate(t *testing.T) {
	var methods []string
	for _, e := range entries() {
		methods = append(methods, e.method)
		for _, g := range gates {
			t.Run(e.name+"/"+g.name, func(t *testing.T) {
				t.Parallel()
				var options []func(*auth.Options)
				if e.policy != nil {
					options = append(options, authtest.With(e.policy))
				}
				h := authtest.New(t, options...)
				id, enter := e.ready(t, h)
				tamper(t, h, id, g.shut(h.Clock.Now()))
				opened := sessions(t, h, id)
				got, err := enter()
				if g.code == "" || g.code == auth.EmailNotConfirmed && e.proves {
					ok(t, "enter", err)
					if got.Access == "" && got.AuthCode == "" {
						t.Error("came in with neither token nor code")
					}
					return
				}
				want(t, "enter", err, g.code)
				if now := sessions(t, h, id); now != opened {
					t.Errorf("%d sessions were opened all the same", now-opened)
				}
			})
		}
	}
	for _, m := range login.All() {
		if !slices.Contains(methods, m.Name()) {
			t.Errorf("the way in %q is not among the entry paths", m.Name())
		}
	}
}

// sessions counts how many a user ever opened.
func sessions(t *testing.T, h *authtest.House, id auth.UserID) (n int) {
	for _, name := range names(h, t, id) {
		if name == auth.SignedIn {
			n++
		}
	}
	return n
}

func TestGate_signUpIsNoWayAround(t *testing.T) {
	for _, g := range gates {
		t.Run(g.name, func(t *testing.T) {
			h := authtest.New(t, authtest.With(autoconfirm))
			id := h.Join(t, ann, pw).User.ID
			tamper(t, h, id, g.shut(h.Clock.Now()))
			opened := sessions(t, h, id)
			got, err := signUp(t, h, ann, pw)
			if err == nil && got.Access != "" {
				t.Error("a second sign-up gave a session")
			}
			if err != nil {
				want(t, "sign up", err, auth.AlreadyRegistered)
			}
			if h.Count(t) != 1 || sessions(t, h, id) != opened {
				t.Errorf("%d users, %d new sessions", h.Count(t), sessions(t, h, id)-opened)
			}
		})
	}
}

func TestThreat_S01_aBanEndsEverySessionAtOnce(t *testing.T) {
	h := authtest.New(t)
	a, b := h.Join(t, ann, pw), h.Enter(t, ann, pw)
	other := h.Join(t, bob, pw)
	lives(t, "before", h, a)
	_, err := h.SetUser(t.Context(), authtest.Operator(), a.User.ID, auth.UserChanges{BanFor: ptr(time.Hour)})
	ok(t, "ban", err)
	over(t, "a", h, a)
	over(t, "b", h, b)
	lives(t, "somebody else's", h, other)

	_, err = h.SetUser(t.Context(), authtest.Operator(), a.User.ID, auth.UserChanges{BanFor: ptr(time.Duration(0))})
	ok(t, "lift the ban", err)
	over(t, "a session from before the ban", h, a)
	lives(t, "a new one", h, h.Enter(t, ann, pw))
}

func TestThreat_S01_deletingAUserEndsEverything(t *testing.T) {
	for _, soft := range []bool{true, false} {
		t.Run(map[bool]string{true: "soft", false: "hard"}[soft], func(t *testing.T) {
			h := authtest.New(t)
			g := h.Join(t, ann, pw)
			h.Clock.Advance(minute)
			ok(t, "recover", h.Recover(t.Context(), authtest.Caller(), ann, authtest.Flow()))
			recovery := h.Mail(t, ann)
			ok(t, "delete", h.DropUser(t.Context(), authtest.Operator(), g.User.ID, soft))

			_, err := h.Authenticate(t.Context(), authtest.Caller(), g.Access)
			if code := auth.CodeOf(err); code != auth.UserGone && code != auth.SessionGone {
				t.Errorf("access token: %v", err)
			}
			_, err = h.Refresh(t.Context(), authtest.Caller(), g.Refresh)
			want(t, "refresh token", err, auth.RefreshNotFound)
			_, err = h.ByPassword(t, ann, pw)
			want(t, "password", err, auth.InvalidCredentials)
			_, err = h.ByLink(t, recovery.Token, authtest.Kinds()...)
			want(t, "link", err, auth.LinkFailed)
			_, err = h.ByCode(t, ann, recovery.Code, auth.KindRecovery)
			want(t, "code", err, auth.CodeFailed)

			next := h.Join(t, ann, pw2) // whoever proves the address
			if next.User.ID == g.User.ID {
				t.Error("the new user has the old one's id")
			}
			_, err = h.Authenticate(t.Context(), authtest.Caller(), g.Access)
			if err == nil {
				t.Error("the old token works for the new user")
			}
			got := names(h, t, g.User.ID)
			if !slices.Contains(got, auth.UserDeletedEvent) || !slices.Contains(got, auth.SignedUp) {
				t.Errorf("events of the deleted user: %v; want all of them, to the end", got)
			}
			_, err = h.User(t.Context(), authtest.Operator(), g.User.ID)
			if soft {
				ok(t, "the hollow row", err)
				u := read(t, h, g.User.ID)
				if len(u.Identities) != 0 || u.Phone != "" || string(u.UserMetadata) != "{}" || u.DeletedAt.IsZero() {
					t.Errorf("the row still names a person: %+v", u)
				}
				_, err = h.AddUser(t.Context(), authtest.Operator(), auth.UserChanges{ID: &g.User.ID, Email: ptr("x@example.com")})
				want(t, "the id given out again", err, auth.IDTaken)
			} else {
				want(t, "the row", err, auth.UserNotFound)
			}
		})
	}
}

func TestThreat_S07_aSignOutEndsWhatItsScopeSays(t *testing.T) {
	for _, c := range []struct {
		scope        auth.Scope
		own, sibling bool // live on
	}{
		{auth.Local, false, true},
		{auth.Others, true, false},
		{auth.Global, false, false},
	} {
		t.Run(string(c.scope), func(t *testing.T) {
			h := authtest.New(t)
			own, sibling := h.Join(t, ann, pw), h.Enter(t, ann, pw)
			stranger := h.Join(t, bob, pw)
			ok(t, "sign out", h.SignOut(t.Context(), authtest.Caller(), h.View(t, own.Access), c.scope))
			for _, s := range []struct {
				name  string
				g     *auth.Grant
				lives bool
			}{{"own", own, c.own}, {"sibling", sibling, c.sibling}, {"stranger's", stranger, true}} {
				if s.lives {
					lives(t, s.name, h, s.g)
					h.Trade(t, s.g.Refresh)
				} else {
					over(t, s.name, h, s.g)
				}
			}
			ended := 0
			for _, e := range h.Events(t, own.User.ID) {
				if e.Name == string(auth.SignedOut) {
					ended++
				}
			}
			if wanted := map[auth.Scope]int{auth.Local: 1, auth.Others: 1, auth.Global: 2}[c.scope]; ended != wanted {
				t.Errorf("%d sessions were told to have ended, want %d", ended, wanted)
			}
		})
	}
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	want(t, "another scope", h.SignOut(t.Context(), authtest.Caller(), h.View(t, g.Access), "everything"), auth.InvalidInput)
	lives(t, "the session", h, g)
}

func TestTenant_seesNothingOfAnother(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	there := authtest.Caller()
	there.Tenant = storetest.Other()
	_, err := h.Authenticate(t.Context(), there, g.Access)
	if err == nil {
		t.Error("an access token of another tenant works")
	}
	_, err = h.Refresh(t.Context(), there, g.Refresh)
	want(t, "a refresh token of another tenant", err, auth.RefreshMalformed)
	_, err = h.SignIn(t.Context(), there, "password", auth.Input{Email: ann, Password: pw}, false)
	want(t, "a password of another tenant", err, auth.InvalidCredentials)
	_, err = h.SignUp(t.Context(), there, auth.NewUser{Email: ann, Password: pw2}, authtest.Flow())
	ok(t, "the same address there", err)
	lives(t, "ann here", h, h.Enter(t, ann, pw))
}
