package auth_test

import (
	"encoding/base64"
	"encoding/json"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
)

var (
	anyID   = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`)
	anyTime = regexp.MustCompile(`2030-[0-9T:.+Z-]+`)
	anyData = regexp.MustCompile(`"[A-Za-z0-9+/]+=*"`) // bytes, as JSON has them
)

// masked is what an edge could tell of a user, without ids and times that are
// never the same.
func masked(t *testing.T, u auth.User) string {
	t.Helper()
	b, err := json.MarshalIndent(u, "", " ")
	ok(t, "user", err)
	b = anyData.ReplaceAllFunc(b, func(found []byte) []byte {
		plain, err := base64.StdEncoding.DecodeString(string(found[1 : len(found)-1]))
		if err != nil || !json.Valid(plain) {
			return found
		}
		return plain
	})
	return anyTime.ReplaceAllString(anyID.ReplaceAllString(string(b), "ID"), "TIME")
}

// answered is what a sign-up says of the user.
func answered(t *testing.T, g *auth.Grant, err error) (auth.User, error) {
	t.Helper()
	if err != nil {
		return auth.User{}, err
	}
	if g.Access != "" {
		t.Error("it signed in")
	}
	return g.User, nil
}

// residents are all kinds of people an address may belong to; each is made and
// left alone for a minute.
var residents = []struct {
	name string
	move func(t *testing.T, h *authtest.House)
}{
	{"nobody", func(*testing.T, *authtest.House) {}},
	{"somebody unconfirmed", func(t *testing.T, h *authtest.House) {
		_, err := signUp(t, h, ann, pw2)
		ok(t, "sign up", err)
		_, err = signUpByPhone(t, h, annsPhone, pw2)
		ok(t, "sign up", err)
	}},
	{"somebody confirmed", func(t *testing.T, h *authtest.House) { both(t, h) }},
	{"somebody with much to tell", func(t *testing.T, h *authtest.House) {
		g := both(t, h)
		_, err := h.SetUser(t.Context(), authtest.Operator(), g.User.ID, auth.UserChanges{
			Role: ptr("admin"), AppData: map[string]any{"plan": "gold"}, UserData: map[string]any{"name": "Ann"},
		})
		ok(t, "set", err)
		_, err = h.UpdateUser(t.Context(), authtest.Caller(), h.View(t, g.Access), newEmail(annsNew), authtest.Flow())
		ok(t, "wish", err)
	}},
	{"somebody banned", func(t *testing.T, h *authtest.House) {
		g := both(t, h)
		_, err := h.SetUser(t.Context(), authtest.Operator(), g.User.ID, auth.UserChanges{BanFor: ptr(hour)})
		ok(t, "ban", err)
	}},
	{"somebody without a password", func(t *testing.T, h *authtest.House) {
		_, err := h.AddUser(t.Context(), authtest.Operator(), auth.UserChanges{
			Email: ptr(ann), EmailConfirmed: ptr(true), Phone: ptr(annsPhone), PhoneConfirmed: ptr(true),
		})
		ok(t, "add", err)
	}},
	{"somebody deleted", func(t *testing.T, h *authtest.House) {
		ok(t, "delete", h.DropUser(t.Context(), authtest.Operator(), both(t, h).User.ID, true))
	}},
}

func TestThreat_E02_noAnswerTellsWhoseAddressItIs(t *testing.T) {
	asks := map[string]func(t *testing.T, h *authtest.House) (auth.User, error){
		"sign-up by mail": func(t *testing.T, h *authtest.House) (auth.User, error) {
			g, err := h.SignUp(t.Context(), authtest.Caller(), auth.NewUser{Email: ann, Password: pw, Data: map[string]any{"n": 1}}, authtest.Flow())
			return answered(t, g, err)
		},
		"sign-up by phone": func(t *testing.T, h *authtest.House) (auth.User, error) {
			g, err := h.SignUp(t.Context(), authtest.Caller(), auth.NewUser{Phone: annsPhone, Password: pw, Data: map[string]any{"n": 1}}, authtest.Flow())
			return answered(t, g, err)
		},
		"recover": func(t *testing.T, h *authtest.House) (auth.User, error) {
			return auth.User{}, h.Recover(t.Context(), authtest.Caller(), ann, authtest.Flow())
		},
		"magic link": func(t *testing.T, h *authtest.House) (auth.User, error) {
			return auth.User{}, h.MagicLink(t.Context(), authtest.Caller(), auth.CodeRequest{Email: ann}, authtest.Flow())
		},
		"magic link that makes users": func(t *testing.T, h *authtest.House) (auth.User, error) {
			return auth.User{}, h.MagicLink(t.Context(), authtest.Caller(), auth.CodeRequest{Email: ann, Create: true}, authtest.Flow())
		},
		"code": func(t *testing.T, h *authtest.House) (auth.User, error) {
			return auth.User{}, askSMS(t, h, annsPhone, false)
		},
		"code that makes users": func(t *testing.T, h *authtest.House) (auth.User, error) {
			return auth.User{}, askSMS(t, h, annsPhone, true)
		},
		"a wrong password": func(t *testing.T, h *authtest.House) (auth.User, error) {
			_, err := h.ByPassword(t, ann, "not it")
			return auth.User{}, err
		},
		"a wrong password by phone": func(t *testing.T, h *authtest.House) (auth.User, error) {
			_, err := byPhonePassword(t, h, annsPhone, "not it")
			return auth.User{}, err
		},
		"a wrong code": func(t *testing.T, h *authtest.House) (auth.User, error) {
			_, err := h.BySMS(t, annsPhone, "none", auth.KindSMS)
			return auth.User{}, err
		},
	}
	for _, k := range []auth.Kind{auth.KindConfirmation, auth.KindChangeNew, auth.KindSMS, auth.KindPhoneChange} {
		to := ann
		if k == auth.KindSMS || k == auth.KindPhoneChange {
			to = annsPhone
		}
		asks["resend "+string(k)] = func(t *testing.T, h *authtest.House) (auth.User, error) {
			return auth.User{}, h.Resend(t.Context(), authtest.Caller(), k, to, authtest.Flow())
		}
	}
	for name, ask := range asks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			type answer struct {
				Code   auth.Code
				User   string
				Hashes int
				Again  auth.Code // at once
			}
			var first answer
			for n, r := range residents {
				h := authtest.New(t)
				r.move(t, h)
				h.Deliver(t)
				h.Clock.Advance(2 * minute)
				before := h.Hashes()
				u, err := ask(t, h)
				got := answer{codeOf(err), masked(t, u), h.Hashes() - before, ""}
				_, err = ask(t, h)
				got.Again = codeOf(err)
				if n == 0 {
					first = got
				} else if diff := cmp.Diff(first, got); diff != "" {
					t.Errorf("nobody and %s (-nobody +them):\n%s", r.name, diff)
				}
			}
		})
	}
}

func TestReveal_aHintIsTheMissingIdentity(t *testing.T) {
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.Reveal = auth.RevealHint }))
	owner := both(t, h)
	for _, n := range []auth.NewUser{{Email: ann, Password: pw2}, {Phone: annsPhone, Password: pw2}} {
		h.Clock.Advance(minute)
		g, err := h.SignUp(t.Context(), authtest.Caller(), n, authtest.Flow())
		ok(t, "sign up", err)
		if len(g.User.Identities) != 0 || g.User.Role != "" || g.User.ID == owner.User.ID || g.Access != "" {
			t.Errorf("answer %+v", g.User)
		}
	}
	h.Clock.Advance(minute)
	g, err := signUp(t, h, bob, pw)
	ok(t, "an unknown address", err)
	if len(g.User.Identities) != 1 {
		t.Errorf("answer %+v", g.User)
	}
	want(t, "a link for nobody", h.MagicLink(t.Context(), authtest.Caller(), auth.CodeRequest{Email: "nobody@example.com"}, authtest.Flow()), auth.NoSuchUserForCode)
	want(t, "a code for nobody", askSMS(t, h, bobsPhone, false), auth.NoSuchUserForCode)
}

func TestReveal_allIsAnError(t *testing.T) {
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.Reveal = auth.RevealAll }))
	both(t, h)
	_, err := signUp(t, h, ann, pw2)
	want(t, "an address", err, auth.AlreadyRegistered)
	_, err = signUpByPhone(t, h, annsPhone, pw2)
	want(t, "a number", err, auth.AlreadyRegistered)
	closed := h.Again(t, authtest.With(func(p *auth.Policy) { p.Reveal, p.SignupDisabled = auth.RevealAll, true }))
	want(t, "a link where sign-up is closed", closed.MagicLink(t.Context(), authtest.Caller(), auth.CodeRequest{Email: bob, Create: true}, authtest.Flow()), auth.SignupDisabled)
	h.Clock.Advance(minute)
	ok(t, "a link for somebody", closed.MagicLink(t.Context(), authtest.Caller(), auth.CodeRequest{Email: ann, Create: true}, authtest.Flow()))
}
