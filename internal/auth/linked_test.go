package auth_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/store"
)

func addLinked(t *testing.T, h *authtest.House, id auth.UserID, provider string, a auth.LinkedAccount) *auth.LinkedAccount {
	t.Helper()
	got, err := h.AddLinked(t.Context(), authtest.Operator(), id, provider, a)
	ok(t, "link "+provider, err)
	return got
}

func expired(t *testing.T, h *authtest.House, id auth.UserID, provider string) bool {
	t.Helper()
	got, err := h.AccessTokenExpired(t.Context(), authtest.Operator(), id, provider)
	ok(t, "expired", err)
	return got
}

// Mission: K01, K02, S12
func TestAddLinked_isFoundByUserAndByClientID(t *testing.T) {
	h := authtest.New(t)
	ctx, op := t.Context(), authtest.Operator()
	g, b := h.Join(t, ann, pw), h.Join(t, bob, pw)
	h.Clock.Advance(time.Second)
	until := h.Clock.Now().Add(hour)
	made := addLinked(t, h, g.User.ID, "FACEBOOK", auth.LinkedAccount{ClientID: "fb-1", AccessToken: "t1", ExpiresAt: until})
	fb := auth.LinkedAccount{Provider: "facebook", ClientID: "fb-1", AccessToken: "t1", ExpiresAt: until}
	got, err := h.Linked(ctx, op, g.User.ID, "Facebook")
	ok(t, "get", err)
	if diff := cmp.Diff(&fb, made) + cmp.Diff(&fb, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	h.Clock.Advance(time.Second)
	addLinked(t, h, g.User.ID, "openudid", auth.LinkedAccount{ClientID: "device"})
	all, err := h.LinkedAll(ctx, op, g.User.ID)
	ok(t, "all", err)
	if diff := cmp.Diff([]auth.LinkedAccount{fb, {Provider: "openudid", ClientID: "device", Expired: true}}, all); diff != "" {
		t.Errorf("all (-want +got):\n%s", diff)
	}
	u, a, err := h.UserByLinked(ctx, op, "facebook", "fb-1")
	ok(t, "by client id", err)
	if u.ID != g.User.ID || !cmp.Equal(*a, fb) {
		t.Errorf("by client id: %s, %+v", u.ID, a)
	}
	if meta := string(u.AppMetadata); !strings.Contains(meta, `"providers":["email","facebook","openudid"]`) {
		t.Errorf("the user's providers are %s", meta)
	}

	_, err = h.AddLinked(ctx, op, g.User.ID, "facebook", auth.LinkedAccount{ClientID: "fb-2"})
	want(t, "a second of one provider", err, auth.AlreadyLinked)
	_, err = h.AddLinked(ctx, op, b.User.ID, "facebook", auth.LinkedAccount{ClientID: "fb-1"})
	want(t, "another user's account", err, auth.IdentityTaken)
	_, err = h.Linked(ctx, op, b.User.ID, "facebook")
	want(t, "what is not linked", err, auth.NotLinked)
	for name, id := range map[string][2]string{"unknown": {"facebook", "fb-9"}, "another provider's": {"openudid", "fb-1"}, "in another case": {"facebook", "FB-1"}} {
		_, _, err = h.UserByLinked(ctx, op, id[0], id[1])
		want(t, name, err, auth.UserNotFound)
	}
	_, _, err = h.There().UserByLinked(ctx, op, "facebook", "fb-1")
	want(t, "another tenant's", err, auth.UserNotFound)
	_, err = h.AddLinked(ctx, op, store.NewUserID(), "facebook", auth.LinkedAccount{ClientID: "fb-3"})
	want(t, "nobody's", err, auth.UserNotFound)
	if n := len(slices.DeleteFunc(names(h, t, b.User.ID), func(n auth.EventName) bool { return n != auth.IdentityLinked })); n != 0 {
		t.Error("a refused link left an event")
	}
}

func TestAddLinked_refusesWhatIsNoAccount(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	for name, c := range map[string]struct {
		provider string
		a        auth.LinkedAccount
	}{
		"our own address":       {"email", auth.LinkedAccount{ClientID: "x"}},
		"our own number":        {"PHONE", auth.LinkedAccount{ClientID: "x"}},
		"a custom provider":     {"custom:acme", auth.LinkedAccount{ClientID: "x"}},
		"a company":             {"sso:1", auth.LinkedAccount{ClientID: "x"}},
		"no provider":           {"", auth.LinkedAccount{ClientID: "x"}},
		"what folds to another": {"faceboo\u212a", auth.LinkedAccount{ClientID: "x"}}, // the Kelvin sign
		"no client id":          {"google", auth.LinkedAccount{}},
		"a client id with NUL":  {"google", auth.LinkedAccount{ClientID: "a\x00b"}},
		"a client id not UTF-8": {"google", auth.LinkedAccount{ClientID: "a\xff"}},
		"a long client id":      {"google", auth.LinkedAccount{ClientID: strings.Repeat("x", 256)}},
		"a long token":          {"google", auth.LinkedAccount{ClientID: "x", AccessToken: strings.Repeat("x", 16<<10+1)}},
	} {
		_, err := h.AddLinked(t.Context(), authtest.Operator(), g.User.ID, c.provider, c.a)
		want(t, name, err, auth.InvalidInput)
	}
	all, err := h.LinkedAll(t.Context(), authtest.Operator(), g.User.ID)
	ok(t, "all", err)
	if len(all) != 0 {
		t.Errorf("the refused left %+v", all)
	}
}

// Junk identities come by whoever may say of themselves who they are (L26).
func TestThreat_L26_nobodyLinksByTheirOwnWord(t *testing.T) {
	h := authtest.New(t)
	ctx, c, op := t.Context(), authtest.Caller(), authtest.Operator()
	g := h.Join(t, ann, pw)
	addLinked(t, h, g.User.ID, "google", auth.LinkedAccount{ClientID: "g-1"})
	_, err := h.AddLinked(ctx, c, g.User.ID, "facebook", auth.LinkedAccount{ClientID: "victim"})
	want(t, "add", err, auth.NotAdmin)
	_, err = h.SetLinked(ctx, c, g.User.ID, "google", auth.LinkedChanges{ClientID: ptr("victim")})
	want(t, "set", err, auth.NotAdmin)
	_, err = h.SetTokenExpiry(ctx, c, g.User.ID, "google", h.Clock.Now(), nil)
	want(t, "expiry", err, auth.NotAdmin)
	want(t, "drop", h.DropLinked(ctx, c, g.User.ID, "google"), auth.NotAdmin)
	_, err = h.DropAllLinked(ctx, c, g.User.ID)
	want(t, "drop all", err, auth.NotAdmin)
	all, err := h.LinkedAll(ctx, op, g.User.ID)
	ok(t, "all", err)
	if len(all) != 1 || all[0].ClientID != "g-1" {
		t.Errorf("linked are %+v", all)
	}
}

// Mission: K03
func TestSetLinked_changesWhatIsNamedAndNoMore(t *testing.T) {
	h := authtest.New(t)
	ctx, op := t.Context(), authtest.Operator()
	g, b := h.Join(t, ann, pw), h.Join(t, bob, pw)
	until := h.Clock.Now().Add(hour)
	addLinked(t, h, g.User.ID, "google", auth.LinkedAccount{ClientID: "g-1", AccessToken: "t1", ExpiresAt: until})
	addLinked(t, h, b.User.ID, "google", auth.LinkedAccount{ClientID: "g-2"})
	now := auth.LinkedAccount{Provider: "google", ClientID: "g-1", AccessToken: "t1", ExpiresAt: until}
	for _, step := range []struct {
		ch     auth.LinkedChanges
		then   func()
		events []auth.EventName
	}{
		{auth.LinkedChanges{AccessToken: ptr("t2")}, func() { now.AccessToken = "t2" }, []auth.EventName{auth.TokensUpdated}},
		{auth.LinkedChanges{ExpiresAt: ptr(until.Add(hour))}, func() { now.ExpiresAt = until.Add(hour) }, []auth.EventName{auth.TokensUpdated}},
		{auth.LinkedChanges{ClientID: ptr("g-3")}, func() { now.ClientID = "g-3" }, []auth.EventName{auth.IdentityUnlinked, auth.IdentityLinked}},
		{auth.LinkedChanges{}, func() {}, []auth.EventName{auth.TokensUpdated}},
	} {
		before := len(names(h, t, g.User.ID))
		got, err := h.SetLinked(ctx, op, g.User.ID, "GOOGLE", step.ch)
		ok(t, "set", err)
		step.then()
		read, err := h.Linked(ctx, op, g.User.ID, "google")
		ok(t, "read", err)
		if diff := cmp.Diff(&now, got) + cmp.Diff(&now, read); diff != "" {
			t.Errorf("after %+v (-want +got):\n%s", step.ch, diff)
		}
		if diff := cmp.Diff(step.events, names(h, t, g.User.ID)[before:]); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	}
	_, _, err := h.UserByLinked(ctx, op, "google", "g-1")
	want(t, "the client id of before", err, auth.UserNotFound)
	_, err = h.SetLinked(ctx, op, g.User.ID, "google", auth.LinkedChanges{ClientID: ptr("g-2")})
	want(t, "another user's", err, auth.IdentityTaken)
	_, err = h.SetLinked(ctx, op, g.User.ID, "facebook", auth.LinkedChanges{AccessToken: ptr("x")})
	want(t, "what is not linked", err, auth.NotLinked)
}

// Mission: K04
func TestDropLinked_endsThatWayInAndNoOther(t *testing.T) {
	h := authtest.New(t)
	ctx, op := t.Context(), authtest.Operator()
	g := h.Join(t, ann, pw)
	for _, p := range []string{"google", "facebook", "openudid"} {
		addLinked(t, h, g.User.ID, p, auth.LinkedAccount{ClientID: p, AccessToken: "t of " + p})
		h.Clock.Advance(time.Second)
	}
	id := identityOf(t, h, g.User.ID, "google")
	ok(t, "drop", h.DropLinked(ctx, op, g.User.ID, "Google"))
	_, _, err := h.UserByLinked(ctx, op, "google", "google")
	want(t, "by what was dropped", err, auth.UserNotFound)
	want(t, "drop again", h.DropLinked(ctx, op, g.User.ID, "google"), auth.NotLinked)
	ok(t, "look", h.DB.Read(ctx, h.Tenant(), func(tx *store.Tx) error {
		_, err := tx.Credential("provider", id[:])
		if err == nil {
			t.Error("the token is kept")
		}
		return nil
	}))
	_, _, err = h.UserByLinked(ctx, op, "facebook", "facebook")
	ok(t, "by another", err)
	n, err := h.DropAllLinked(ctx, op, g.User.ID)
	ok(t, "drop all", err)
	all, err := h.LinkedAll(ctx, op, g.User.ID)
	ok(t, "all", err)
	if n != 2 || len(all) != 0 {
		t.Errorf("%d were dropped and %d are left, want 2 and none", n, len(all))
	}
	if n, err := h.DropAllLinked(ctx, op, g.User.ID); n != 0 || err != nil {
		t.Errorf("where there are none: %d, %v", n, err)
	}
	if u := read(t, h, g.User.ID); !strings.Contains(string(u.AppMetadata), `"providers":["email"]`) {
		t.Errorf("the user's providers are %s", u.AppMetadata)
	}
	h.Enter(t, ann, pw)
}

// Mission: K05, K06, K07
func TestAccessTokenExpired_byTheServersClock(t *testing.T) {
	h := authtest.New(t)
	ctx, op := t.Context(), authtest.Operator()
	g := h.Join(t, ann, pw)
	id := g.User.ID
	if !expired(t, h, id, "google") {
		t.Error("the token of an account that is not linked counts as good")
	}
	now := h.Clock.Now()
	addLinked(t, h, id, "google", auth.LinkedAccount{ClientID: "g-1", AccessToken: "t1", ExpiresAt: now.Add(-time.Second)})
	if !expired(t, h, id, "google") {
		t.Error("a token of the past counts as good")
	}
	set := func(at time.Time, token *string, over bool) {
		t.Helper()
		a, err := h.SetTokenExpiry(ctx, op, id, "google", at, token)
		ok(t, "set", err)
		_, found, err := h.UserByLinked(ctx, op, "google", "g-1")
		ok(t, "by client id", err)
		if got := expired(t, h, id, "google"); got != over || a.Expired != over || found.Expired != over {
			t.Errorf("at %v it is expired: %v, as told by the change %v and at sign-in %v; want %v", at.Sub(now), got, a.Expired, found.Expired, over)
		}
	}
	set(now.Add(time.Second), nil, false)
	set(now, nil, true)
	set(now.Add(hour), ptr("t2"), false)
	got, err := h.Linked(ctx, op, id, "google")
	ok(t, "get", err)
	if got.AccessToken != "t2" {
		t.Errorf("the token is %q, want the new one", got.AccessToken)
	}
	h.Clock.Advance(hour - time.Microsecond)
	if expired(t, h, id, "google") {
		t.Error("a token is over before its time")
	}
	h.Clock.Advance(time.Microsecond)
	if !expired(t, h, id, "google") {
		t.Error("a token is good after its time")
	}
	addLinked(t, h, id, "github", auth.LinkedAccount{ClientID: "gh", AccessToken: "for ever"})
	if expired(t, h, id, "github") {
		t.Error("a token whose end nobody has said is over")
	}
	_, err = h.SetTokenExpiry(ctx, op, id, "facebook", now, nil)
	want(t, "what is not linked", err, auth.NotLinked)
	_, err = h.AccessTokenExpired(ctx, op, store.NewUserID(), "google")
	want(t, "nobody's", err, auth.UserNotFound)
}

func TestLinked_tokensAreSealed(t *testing.T) {
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.DropTokens = true })) // which is about other sign-ins
	g := h.Join(t, ann, pw)
	addLinked(t, h, g.User.ID, "google", auth.LinkedAccount{ClientID: "g-1", AccessToken: "hunter2"})
	id := identityOf(t, h, g.User.ID, "google")
	ok(t, "look", h.DB.Read(t.Context(), h.Tenant(), func(tx *store.Tx) error {
		c, err := tx.Credential("provider", id[:])
		if bytes.Contains(c.Data, []byte("hunter2")) || len(c.Data) == 0 {
			t.Error("the token lies in the open, or nowhere")
		}
		return err
	}))
	got, err := h.Linked(t.Context(), authtest.Operator(), g.User.ID, "google")
	ok(t, "get", err)
	if got.AccessToken != "hunter2" {
		t.Errorf("the token is %q", got.AccessToken)
	}
}

// Of many who want an account at one instant one gets it.
func TestAddLinked_anAccountIsOneUsers(t *testing.T) {
	h := authtest.New(t)
	g, b := h.Join(t, ann, pw), h.Join(t, bob, pw)
	got := tally(together(6, func(i int) error {
		id := g.User.ID
		if i%2 == 1 {
			id = b.User.ID
		}
		_, err := h.AddLinked(t.Context(), authtest.Operator(), id, "google", auth.LinkedAccount{ClientID: "wanted"})
		return err
	}))
	if got[""] != 1 || got[auth.IdentityTaken]+got[auth.AlreadyLinked] != 5 {
		t.Errorf("of six: %v; want one that got it", got)
	}
}
