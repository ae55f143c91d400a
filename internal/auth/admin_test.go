package auth_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/secret"
	"gatehouse/internal/token"
)

func TestAdministrator_isTheOperatorTokenOrARoleOrAUserOfTheRole(t *testing.T) {
	key := token.Secret("", []byte("a shared secret of the operator's own, long enough"), true)
	h := authtest.New(t, func(o *auth.Options) { o.Keys = []token.Key{key} })
	member := h.Join(t, ann, pw)
	boss := h.Join(t, bob, pw)
	_, err := h.SetUser(t.Context(), authtest.Operator(), boss.User.ID, auth.UserChanges{Role: ptr("admin")})
	ok(t, "promote", err)
	service, err := h.ServiceToken("service_role", time.Hour)
	ok(t, "service token", err)
	anon, err := h.ServiceToken("anon", time.Hour)
	ok(t, "anon token", err)
	ring, err := token.NewKeys(key)
	ok(t, "key ring", err)
	// A token from before a move to Gatehouse: of a user, without a session.
	moved, err := ring.Sign(token.Claims{Subject: member.User.ID.String(), Role: "service_role", Audience: "authenticated"}, h.Clock.Now())
	ok(t, "sign", err)

	for _, c := range []struct {
		name, bearer, actor string
		code                auth.Code
	}{
		{"the operator token", h.Policy().OperatorToken, "operator", ""},
		{"a role that names no user", service, "role:service_role", ""},
		{"a user of the role", boss.Access, boss.User.ID.String(), ""},
		{"any user", member.Access, "", auth.NotAdmin},
		{"another role that names no user", anon, "", auth.NotAdmin},
		{"a user whose token claims the role", moved, "", auth.NotAdmin},
		{"nothing", "", "", auth.TokenMissing},
		{"rubbish", "rubbish", "", auth.TokenInvalid},
		{"a refresh token", boss.Refresh, "", auth.TokenInvalid},
		{"the beginning of the operator token", h.Policy().OperatorToken[:5], "", auth.TokenInvalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := h.Administrator(t.Context(), authtest.Caller(), c.bearer)
			if c.code != "" {
				want(t, "administrator", err, c.code)
				return
			}
			ok(t, "administrator", err)
			if got.Actor != c.actor || got.IP != authtest.Caller().IP {
				t.Errorf("caller %+v, want the actor %q and the rest as it was", got, c.actor)
			}
		})
	}

	t.Run("no operator token where none is set", func(t *testing.T) {
		h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.OperatorToken = "" }))
		_, err := h.Administrator(t.Context(), authtest.Caller(), "")
		want(t, "an empty bearer", err, auth.TokenMissing)
	})
}

func TestAdministrator_aDemotedUserLosesTheRightsAtOnce(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	set := func(ch auth.UserChanges) {
		t.Helper()
		_, err := h.SetUser(t.Context(), authtest.Operator(), g.User.ID, ch)
		ok(t, "set", err)
	}
	set(auth.UserChanges{Role: ptr("admin")})
	g = h.Trade(t, g.Refresh) // a token that says admin
	_, err := h.Administrator(t.Context(), authtest.Caller(), g.Access)
	ok(t, "promoted", err)
	set(auth.UserChanges{Role: ptr("authenticated")})
	_, err = h.Administrator(t.Context(), authtest.Caller(), g.Access)
	want(t, "demoted", err, auth.NotAdmin)
	set(auth.UserChanges{Role: ptr("admin")})
	ok(t, "sign out", h.SignOut(t.Context(), authtest.Caller(), h.View(t, g.Access), auth.Local))
	_, err = h.Administrator(t.Context(), authtest.Caller(), g.Access)
	want(t, "signed out", err, auth.SessionGone)
}

func TestAdministrator_whoIsDemotedWhileHashingChangesNothing(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	_, err := h.SetUser(t.Context(), authtest.Operator(), g.User.ID, auth.UserChanges{Role: ptr("admin")})
	ok(t, "promote", err)
	v := h.View(t, h.Trade(t, g.Refresh).Access)
	ch := auth.Changes{AppData: map[string]any{"plan": "gold"}}
	_, err = h.UpdateUser(t.Context(), authtest.Caller(), v, ch, authtest.Flow())
	ok(t, "an administrator's own", err)
	kept := string(read(t, h, g.User.ID).AppMetadata)
	h.DuringHash(func() {
		_, err := h.SetUser(t.Context(), authtest.Operator(), g.User.ID, auth.UserChanges{Role: ptr("authenticated")})
		ok(t, "demote", err)
	})
	ch = auth.Changes{AppData: map[string]any{"plan": "platinum"}, Password: ptr(pw2)}
	_, err = h.UpdateUser(t.Context(), authtest.Caller(), v, ch, authtest.Flow())
	want(t, "change", err, auth.NotYours)
	if got := string(read(t, h, g.User.ID).AppMetadata); got != kept || !strings.Contains(got, "gold") {
		t.Errorf("app metadata %s, want %s", got, kept)
	}
	h.Enter(t, ann, pw)
}

func TestThreat_S11_whatUsersWriteAboutThemselvesGivesNoRights(t *testing.T) {
	h := authtest.New(t)
	data := map[string]any{"role": "admin", "roles": []string{"admin"}, "app_metadata": map[string]any{"roles": []string{"admin"}}, "sub": "x", "aud": "y", "email_verified": true}
	_, err := h.SignUp(t.Context(), authtest.Caller(), auth.NewUser{Email: ann, Password: pw, Data: data}, authtest.Flow())
	ok(t, "sign up", err)
	_, err = h.ByPassword(t, ann, pw)
	want(t, "before confirming", err, auth.EmailNotConfirmed)
	g := h.Follow(t, h.Mail(t, ann).Token)
	_, err = h.UpdateUser(t.Context(), authtest.Caller(), h.View(t, g.Access), auth.Changes{Data: data}, authtest.Flow())
	ok(t, "set", err)
	g = h.Trade(t, g.Refresh)
	_, err = h.Administrator(t.Context(), authtest.Caller(), g.Access)
	want(t, "administrator", err, auth.NotAdmin)
	v := h.View(t, g.Access)
	if v.User.Role != "authenticated" || v.User.Aud != "authenticated" || v.Claims.Role != "authenticated" || v.Claims.Subject != g.User.ID.String() {
		t.Errorf("role %q, aud %q, claims %+v", v.User.Role, v.User.Aud, v.Claims)
	}
	if got := string(v.User.AppMetadata); got != `{"provider":"email","providers":["email"]}` {
		t.Errorf("app metadata %s", got)
	}
}

func TestAddUser_setsWhatItIsGiven(t *testing.T) {
	h := authtest.New(t)
	id, err := auth.ParseUserID("0f0e0d0c-0b0a-4908-8706-050403020100")
	ok(t, "id", err)
	u, err := h.AddUser(t.Context(), authtest.Operator(), auth.UserChanges{
		ID: &id, Email: ptr(" Ann@example.com"), Password: ptr(pw), EmailConfirmed: ptr(true), Role: ptr("editor"), Aud: ptr("shop"),
		AppData: map[string]any{"plan": "x"}, UserData: map[string]any{"name": "Ann"},
	})
	ok(t, "add", err)
	if u.ID != id || u.Email != ann || u.Role != "editor" || u.Aud != "shop" || u.EmailVerifiedAt.IsZero() {
		t.Errorf("added %+v", u)
	}
	if got := string(u.AppMetadata); got != `{"plan":"x","provider":"email","providers":["email"]}` {
		t.Errorf("app metadata %s", got)
	}
	lives(t, "a session", h, h.Enter(t, ann, pw))
	if got := len(h.Mails(t, ann)); got != 0 {
		t.Errorf("%d mails, want none", got)
	}
	for _, c := range []struct {
		name string
		ch   auth.UserChanges
		code auth.Code
	}{
		{"a taken address", auth.UserChanges{Email: ptr("ANN@example.com")}, auth.EmailTaken},
		{"a taken id", auth.UserChanges{ID: &id, Email: ptr(bob)}, auth.IDTaken},
		{"no address", auth.UserChanges{}, auth.InvalidInput},
		{"a bad address", auth.UserChanges{Email: ptr("ann")}, auth.EmailInvalid},
		{"a weak password", auth.UserChanges{Email: ptr(bob), Password: ptr("12345")}, auth.WeakPassword},
		{"a password and a hash", auth.UserChanges{Email: ptr(bob), Password: ptr(pw), PasswordHash: ptr("x")}, auth.InvalidInput},
		{"too much data", auth.UserChanges{Email: ptr(bob), UserData: map[string]any{"x": strings.Repeat("a", 33<<10)}}, auth.InvalidInput},
	} {
		_, err := h.AddUser(t.Context(), authtest.Operator(), c.ch)
		want(t, c.name, err, c.code)
	}
	if h.Count(t) != 1 {
		t.Errorf("%d users, want 1", h.Count(t))
	}
}

func TestSetUser_aNewPasswordEndsEverySession(t *testing.T) {
	h := authtest.New(t)
	a, b := h.Join(t, ann, pw), h.Enter(t, ann, pw)
	_, err := h.SetUser(t.Context(), authtest.Operator(), a.User.ID, auth.UserChanges{Password: ptr(pw2)})
	ok(t, "set", err)
	over(t, "a", h, a)
	over(t, "b", h, b)
	h.Enter(t, ann, pw2)
}

func TestSetUser_movesAnAddressAtOnce(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	h.Join(t, bob, pw)
	_, err := h.SetUser(t.Context(), authtest.Operator(), g.User.ID, auth.UserChanges{Email: ptr(bob)})
	want(t, "to a taken one", err, auth.EmailTaken)
	_, err = h.SetUser(t.Context(), authtest.Operator(), g.User.ID, auth.UserChanges{Email: ptr(annsNew)})
	ok(t, "move", err)
	u := read(t, h, g.User.ID)
	if u.Email != annsNew || len(u.Identities) != 1 || u.Identities[0].Email != annsNew {
		t.Errorf("after the move: %+v", u)
	}
	h.Enter(t, annsNew, pw)
	_, err = h.SetUser(t.Context(), authtest.Operator(), auth.UserID{15: 9}, auth.UserChanges{Role: ptr("x")})
	want(t, "nobody", err, auth.UserNotFound)
	want(t, "delete nobody", h.DropUser(t.Context(), authtest.Operator(), auth.UserID{15: 9}, false), auth.UserNotFound)
}

func TestSetup_makesOneAdministratorOnce(t *testing.T) {
	h := authtest.New(t)
	old, _, err := h.OfferSetup(t.Context())
	ok(t, "offer", err)
	link, open, err := h.OfferSetup(t.Context())
	ok(t, "offer again", err)
	if !open {
		t.Fatal("a house without an administrator offers no setup")
	}
	setup := func(link, email, password string) error {
		_, err := h.Setup(t.Context(), authtest.Caller(), link, email, password)
		return err
	}
	want(t, "the link of the first offer", setup(old, ann, pw), auth.SetupClosed)
	want(t, "a guess", setup("guess", ann, pw), auth.SetupClosed)
	hashed := h.Hashes()
	want(t, "a guess and a password to hash", setup("guess", ann, pw), auth.SetupClosed)
	if h.Hashes() != hashed {
		t.Error("a stranger made the house hash")
	}
	want(t, "no address", setup(link, "ann", pw), auth.EmailInvalid)
	want(t, "no password", setup(link, ann, ""), auth.PasswordMissing)
	want(t, "a weak password", setup(link, ann, "12345"), auth.WeakPassword)
	h.Join(t, bob, pw)
	want(t, "a taken address", setup(link, bob, pw), auth.EmailTaken)
	u, err := h.Setup(t.Context(), authtest.Caller(), link, ann, pw)
	ok(t, "none of these burnt the link", err)
	if u.Role != "admin" || u.EmailVerifiedAt.IsZero() {
		t.Errorf("the first administrator has the role %q, confirmed at %v", u.Role, u.EmailVerifiedAt)
	}
	_, err = h.Administrator(t.Context(), authtest.Caller(), h.Enter(t, ann, pw).Access)
	ok(t, "administrator", err)
	want(t, "the link again", setup(link, "eve@example.com", pw), auth.SetupClosed)
	tamper(t, h, u.ID, func(u *auth.User) { u.Role = "authenticated" })
	want(t, "the link again, with nobody in charge", setup(link, "eve@example.com", pw), auth.SetupClosed)
	tamper(t, h, u.ID, func(u *auth.User) { u.Role = "admin" })
	_, open, err = h.OfferSetup(t.Context())
	if err != nil || open {
		t.Errorf("an offer with an administrator there: %v, %v", open, err)
	}
	if diff := cmp.Diff([]auth.EventName{auth.SignedUp, auth.FirstAdmin, auth.SignedIn}, names(h, t, u.ID)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestSetup_linkLivesHalfAnHour(t *testing.T) {
	for _, c := range []struct {
		after time.Duration
		code  auth.Code
	}{{30*minute - time.Second, ""}, {30 * minute, auth.SetupClosed}} {
		h := authtest.New(t)
		link, _, err := h.OfferSetup(t.Context())
		ok(t, "offer", err)
		h.Clock.Advance(c.after)
		_, err = h.Setup(t.Context(), authtest.Caller(), link, ann, pw)
		if c.code == "" {
			ok(t, c.after.String(), err)
		} else {
			want(t, c.after.String(), err, c.code)
		}
	}
}

func TestSetup_twentyAtOneInstantMakeOneAdministrator(t *testing.T) {
	h := authtest.New(t)
	link, _, err := h.OfferSetup(t.Context())
	ok(t, "offer", err)
	errs := together(20, func(i int) error {
		_, err := h.Setup(t.Context(), authtest.Caller(), link, string(rune('a'+i))+"@example.com", pw)
		return err
	})
	if diff := cmp.Diff(map[auth.Code]int{"": 1, auth.SetupClosed: 19}, tally(errs)); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	if h.Count(t) != 1 {
		t.Errorf("%d users, want 1", h.Count(t))
	}
}

func TestSetup_linkDiesWhenAnAdministratorIsMadeAnotherWay(t *testing.T) {
	h := authtest.New(t)
	link, _, err := h.OfferSetup(t.Context())
	ok(t, "offer", err)
	_, err = h.AddUser(t.Context(), authtest.Operator(), auth.UserChanges{Email: ptr(bob), Role: ptr("admin")})
	ok(t, "add an administrator", err)
	_, err = h.Setup(t.Context(), authtest.Caller(), link, ann, pw)
	want(t, "setup", err, auth.SetupClosed)
}

func TestKeys_theNextIsPublishedBeforeItSigns(t *testing.T) {
	h := authtest.New(t)
	_, first := h.Keys()
	old := h.Join(t, ann, pw)
	ok(t, "rotate", h.RotateKeys(t.Context(), authtest.Operator(), false))
	keys, signing := h.Keys()
	if len(keys) != 2 || signing != first {
		t.Fatalf("%d keys, %s signs; want 2 and the first, %s", len(keys), signing, first)
	}
	next := keys[1].ID
	jwks, tag := h.JWKS()
	if !strings.Contains(string(jwks), next) || !strings.Contains(string(jwks), first) || tag == "" {
		t.Errorf("the published set lacks a key: %s", jwks)
	}
	if strings.Contains(string(jwks), `"d"`) {
		t.Error("a private half is published")
	}
	h.Clock.Advance(24*time.Hour - minute)
	before := h.Trade(t, old.Refresh)
	h.Clock.Advance(minute)
	if _, signing = h.Keys(); signing != next {
		t.Errorf("after the overlap %s signs, want %s", signing, next)
	}
	lives(t, "a token of the old key", h, before)
	lives(t, "a token of the new key", h, h.Trade(t, before.Refresh))

	h.Clock.Advance(2*time.Hour + time.Second)
	ok(t, "load", h.LoadKeys(t.Context()))
	keys, _ = h.Keys()
	jwks, _ = h.JWKS()
	if len(keys) != 1 || strings.Contains(string(jwks), first) {
		t.Errorf("%d keys; the old one is still published when no token of it can live", len(keys))
	}
}

func TestKeys_aRestartAndASecondNodeShareThem(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	node := h.Again(t)
	_, a := h.Keys()
	if _, b := node.Keys(); a != b || a == "" {
		t.Errorf("keys %q and %q, want the same", a, b)
	}
	lives(t, "a token of the first node", node, g)

	h.Clock.Advance(minute)
	ok(t, "rotate", h.RotateKeys(t.Context(), authtest.Operator(), true))
	if _, signing := h.Keys(); signing == a {
		t.Error("the new key does not sign at once, as was asked")
	}
	lives(t, "a token of a key the second node has not seen", node, h.Trade(t, g.Refresh))
	_, err := node.Authenticate(t.Context(), authtest.Caller(), "eyJhbGciOiJFUzI1NiIsImtpZCI6Im5vYm9keSdzIn0.e30.AAAA")
	want(t, "a token of nobody's key", err, auth.TokenInvalid)
}

func TestKeys_theWrongMasterKeyIsNamed(t *testing.T) {
	h := authtest.New(t)
	root, err := secret.NewRoot(secret.GenerateRoot())
	ok(t, "another root", err)
	s := auth.New(auth.Options{DB: h.DB, Root: root, Policy: authtest.Policy()})
	err = s.LoadKeys(t.Context())
	if err == nil || !strings.Contains(err.Error(), "master key") {
		t.Errorf("got %v, want an error that names the master key", err)
	}
}

func TestKeys_ofTheConfigurationAreNotRotatedHere(t *testing.T) {
	h := authtest.New(t, func(o *auth.Options) {
		o.Keys = []token.Key{token.Secret("", []byte("a shared secret of the operator's own, long enough"), true)}
	})
	err := h.RotateKeys(t.Context(), authtest.Operator(), false)
	if err == nil || !strings.Contains(err.Error(), "JWT_SECRET") {
		t.Errorf("got %v, want an error that says where to change the key", err)
	}
	jwks, _ := h.JWKS()
	if string(jwks) != `{"keys":[]}` {
		t.Errorf("a shared secret is published: %s", jwks)
	}
	lives(t, "a session", h, h.Join(t, ann, pw))
}
