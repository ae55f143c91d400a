package auth_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
)

func TestAnonymous_isAUserWithASessionAndNoWayBack(t *testing.T) {
	h := authtest.New(t)
	g, err := h.SignUp(t.Context(), authtest.Caller(), auth.NewUser{Data: map[string]any{"cart": 3}}, authtest.Flow())
	ok(t, "sign up", err)
	v := h.View(t, g.Access)
	if !v.Claims.IsAnonymous || v.Claims.Email != "" || v.Claims.Phone != "" || v.Claims.Role != "authenticated" || string(v.User.UserMetadata) != `{"cart":3}` {
		t.Errorf("claims %+v, user %+v", v.Claims, v.User)
	}
	if diff := cmp.Diff([]string{"anonymous"}, amr(t, g.Session)); diff != "" {
		t.Errorf("amr (-want +got):\n%s", diff)
	}
	if len(v.User.Identities) != 0 || string(v.User.AppMetadata) != `{}` {
		t.Errorf("identities %v, app metadata %s; want none", v.User.Identities, v.User.AppMetadata)
	}
	next := h.Trade(t, g.Refresh)
	if !h.View(t, next.Access).Claims.IsAnonymous {
		t.Error("the claim went away with a refresh")
	}
	want(t, "a password", setPassword(t, h, g, newPassword(pw)), auth.PasswordUseless)
	want(t, "a code", h.Reauthenticate(t.Context(), authtest.Caller(), v, authtest.Flow()), auth.InvalidInput)
	_, err = h.ByPassword(t, "", "")
	want(t, "nobody's password", err, auth.InvalidCredentials)
	if other := h.Visit(t); other.User.ID == g.User.ID {
		t.Error("two visitors are one user")
	}
}

func TestAnonymous_isClosedWhereThePolicySaysSo(t *testing.T) {
	for code, policy := range map[auth.Code]func(*auth.Policy){
		auth.AnonymousDisabled: func(p *auth.Policy) { p.AnonymousDisabled = true },
		auth.SignupDisabled:    func(p *auth.Policy) { p.SignupDisabled = true },
	} {
		h := authtest.New(t, authtest.With(policy))
		_, err := h.SignUp(t.Context(), authtest.Caller(), auth.NewUser{}, authtest.Flow())
		want(t, "sign up", err, code)
		if h.Count(t) != 0 {
			t.Error("a user was made all the same")
		}
	}
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.AnonymousDisabled = true }))
	_, err := h.SignUp(t.Context(), authtest.Caller(), auth.NewUser{Password: pw}, authtest.Flow())
	want(t, "a password and nothing else", err, auth.InvalidInput)
}

// providers reads what clients are told of how a user is known.
func providers(t *testing.T, u auth.User) (first string, all []string) {
	t.Helper()
	var m struct {
		Provider  string
		Providers []string
	}
	ok(t, "app metadata", json.Unmarshal(u.AppMetadata, &m))
	return m.Provider, m.Providers
}

func TestAnonymous_becomesPermanentWithAContactOfTheirOwn(t *testing.T) {
	for name, c := range map[string]struct {
		auto     bool
		provider string
		become   func(t *testing.T, h *authtest.House, g *auth.Grant)
	}{
		"by a mail": {false, "email", func(t *testing.T, h *authtest.House, g *auth.Grant) {
			ok(t, "ask", setEmailOf(t, h, g, ann))
			if u := read(t, h, g.User.ID); !u.IsAnonymous || u.Email != "" {
				t.Errorf("before the proof: %+v", u)
			}
			if in := h.Follow(t, h.Mail(t, ann).Token); in.User.ID != g.User.ID {
				t.Errorf("signed in as %s", in.User.ID)
			}
		}},
		"by an address at once": {true, "email", func(t *testing.T, h *authtest.House, g *auth.Grant) {
			ok(t, "set", setEmailOf(t, h, g, ann))
			if got := len(h.Mails(t, ann)); got != 0 {
				t.Errorf("%d mails, want none", got)
			}
		}},
		"by a text message": {false, "phone", func(t *testing.T, h *authtest.House, g *auth.Grant) { move(t, h, g, annsPhone) }},
		"by a number at once": {true, "phone", func(t *testing.T, h *authtest.House, g *auth.Grant) {
			ok(t, "set", setPhone(t, h, g, annsPhone))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.Autoconfirm, p.PhoneAutoconfirm = c.auto, c.auto }))
			g, err := h.SignUp(t.Context(), authtest.Caller(), auth.NewUser{Data: map[string]any{"cart": 3}}, authtest.Flow())
			ok(t, "sign up", err)
			c.become(t, h, g)
			u := read(t, h, g.User.ID)
			if u.IsAnonymous || string(u.UserMetadata) != `{"cart":3}` || len(u.Identities) != 1 || u.Identities[0].Provider != c.provider {
				t.Errorf("user %+v", u)
			}
			if first, all := providers(t, u); first != c.provider || !cmp.Equal(all, []string{c.provider}) {
				t.Errorf("provider %q of %q", first, all)
			}
			lives(t, "the session", h, g)
			next := h.Trade(t, g.Refresh)
			if h.View(t, next.Access).Claims.IsAnonymous {
				t.Error("a new token still says anonymous")
			}
			ok(t, "a password", setPassword(t, h, g, newPassword(pw)))
			if c.provider == "email" {
				h.Enter(t, ann, pw)
			} else {
				_, err = byPhonePassword(t, h, annsPhone, pw)
				ok(t, "sign in", err)
			}
		})
	}
}

func TestAnonymous_doesNotGetAContactThatSomebodyHas(t *testing.T) {
	auto := authtest.With(func(p *auth.Policy) { p.Autoconfirm, p.PhoneAutoconfirm = true, true })
	h := authtest.New(t, auto)
	owner := h.Join(t, ann, pw)
	h.JoinByPhone(t, annsPhone, pw)
	g := h.Visit(t)
	want(t, "an address", setEmailOf(t, h, g, ann), auth.EmailTaken)
	want(t, "a number", setPhone(t, h, g, annsPhone), auth.PhoneTaken)
	h.Clock.Advance(minute)
	plain := h.Again(t)
	ok(t, "where it is asked for", setEmailOf(t, plain, g, ann))
	for _, m := range plain.Mails(t, ann) {
		if m.Token != "" || m.Code != "" {
			t.Errorf("the owner got a secret in %s", m.Kind)
		}
	}
	if u := read(t, h, g.User.ID); !u.IsAnonymous || u.Email != "" || u.Phone != "" {
		t.Errorf("user %+v", u)
	}
	h.View(t, owner.Access)
}
