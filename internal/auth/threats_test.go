package auth_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/token"
)

// What went wrong elsewhere and must not go wrong here, as far as no test of a
// rule carries its name already: see docs/threats.md.

func TestThreat_R08_anEndedSessionIsPickedUpByNothing(t *testing.T) {
	h := authtest.New(t)
	a := h.Join(t, ann, pw)
	b := h.Trade(t, a.Refresh)
	if b.Refresh == a.Refresh {
		t.Fatal("a refresh gave back the token it was given")
	}
	ok(t, "sign out", h.SignOut(t.Context(), authtest.Caller(), h.View(t, b.Access), auth.Local))
	next := h.Enter(t, ann, pw) // the same user, the same device
	if next.Session.ID == b.Session.ID {
		t.Error("a sign-in revived the ended session")
	}
	over(t, "the newest token of the ended session", h, b)
	_, err := refresh(t, h, a.Refresh)
	want(t, "its parent", err, auth.RefreshNotFound)
	lives(t, "the new session", h, next)
}

func TestThreat_R15_noCacheKeepsAnEndedSessionAlive(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	node := h.Again(t)
	for range 3 { // both have seen, and remember, a good signature
		lives(t, "here", h, g)
		lives(t, "on the other node", node, g)
	}
	ok(t, "sign out", h.SignOut(t.Context(), authtest.Caller(), h.View(t, g.Access), auth.Local))
	over(t, "here", h, g)
	over(t, "on the other node", node, g)
}

func TestThreat_S01_aSignedOutTokenIsRefusedEverywhereAtOnce(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	_, err := h.SetUser(t.Context(), authtest.Operator(), g.User.ID, auth.UserChanges{Role: ptr("admin")})
	ok(t, "promote", err)
	v := h.View(t, g.Access)
	ok(t, "sign out", h.SignOut(t.Context(), authtest.Caller(), v, auth.Local))
	over(t, "the session", h, g)
	_, err = h.Administrator(t.Context(), authtest.Caller(), g.Access)
	want(t, "as an administrator", err, auth.SessionGone)
	_, err = h.UpdateUser(t.Context(), authtest.Caller(), v, auth.Changes{Data: map[string]any{"n": 1}}, authtest.Flow())
	want(t, "a change under way", err, auth.SessionGone)
}

func TestThreat_S02_aNewPasswordEndsTheThiefsSession(t *testing.T) {
	for name, renew := range map[string]func(t *testing.T, h *authtest.House, id auth.UserID){
		"by the owner": func(t *testing.T, h *authtest.House, _ auth.UserID) {
			ok(t, "change", setPassword(t, h, h.Enter(t, ann, pw), newPassword(pw2)))
		},
		"after a recovery": func(t *testing.T, h *authtest.House, _ auth.UserID) {
			ok(t, "recover", h.Recover(t.Context(), authtest.Caller(), ann, authtest.Flow()))
			ok(t, "change", setPassword(t, h, h.Follow(t, h.Mail(t, ann).Token), newPassword(pw2)))
		},
		"by an administrator": func(t *testing.T, h *authtest.House, id auth.UserID) {
			_, err := h.SetUser(t.Context(), authtest.Operator(), id, auth.UserChanges{Password: ptr(pw2)})
			ok(t, "set", err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := authtest.New(t)
			stolen := h.Join(t, ann, pw)
			traded := h.Trade(t, stolen.Refresh)
			h.Clock.Advance(minute)
			renew(t, h, stolen.User.ID)
			over(t, "the thief's session", h, traded)
			h.Enter(t, ann, pw2)
		})
	}
}

func TestThreat_S03_noMailedSecretOutlivesAnAdministratorsNewPassword(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	h.Clock.Advance(minute)
	ok(t, "recover", h.Recover(t.Context(), authtest.Caller(), ann, authtest.Flow()))
	m := h.Mail(t, ann)
	_, err := h.SetUser(t.Context(), authtest.Operator(), g.User.ID, auth.UserChanges{Password: ptr(pw2)})
	ok(t, "set", err)
	_, err = h.ByLink(t, m.Token, authtest.Kinds()...)
	want(t, "the link", err, auth.LinkFailed)
	_, err = h.ByCode(t, ann, m.Code, auth.KindRecovery)
	want(t, "the code", err, auth.CodeFailed)
}

func TestThreat_S04_aRefreshTokenCountsToItsLastCharacter(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	var bad []string
	for n := range g.Refresh {
		bad = append(bad, g.Refresh[:n])
		c := byte('A')
		if g.Refresh[n] == c {
			c = 'B'
		}
		bad = append(bad, g.Refresh[:n]+string(c)+g.Refresh[n+1:])
	}
	bad = append(bad, g.Refresh+"A", g.Refresh+"=", g.Refresh+"\n", " "+g.Refresh, g.Refresh+g.Refresh)
	for _, token := range bad {
		_, err := refresh(t, h, token)
		want(t, "token "+token, err, auth.RefreshMalformed)
	}
	lives(t, "the session after all that", h, h.Trade(t, g.Refresh))
}

func TestThreat_S05_everySignInHasASessionNobodyCouldName(t *testing.T) {
	h := authtest.New(t)
	seen := map[auth.SessionID]bool{h.Join(t, ann, pw).Session.ID: true}
	for range 5 {
		id := h.Enter(t, ann, pw).Session.ID
		if seen[id] || id.IsZero() {
			t.Errorf("session %s was there before", id)
		}
		seen[id] = true
	}
}

func TestThreat_S06_aTokenNamesOneUserAndTheirOwnSession(t *testing.T) {
	key := token.Secret("", []byte("a shared secret of the operator's own, long enough"), true)
	h := authtest.New(t, func(o *auth.Options) { o.Keys = []token.Key{key} })
	a, b := h.Join(t, ann, pw), h.Join(t, bob, pw)
	ring, err := token.NewKeys(key)
	ok(t, "key ring", err)
	claims := *h.View(t, a.Access).Claims
	claims.SessionID = b.Session.ID.String()
	mixed, err := ring.Sign(claims, h.Clock.Now())
	ok(t, "sign", err)
	_, err = h.Authenticate(t.Context(), authtest.Caller(), mixed)
	want(t, "ann's token for bob's session", err, auth.TokenInvalid)
	ok(t, "bob's link in ann's browser", h.Recover(t.Context(), authtest.Caller(), bob, authtest.Flow()))
	if g := h.Follow(t, h.Mail(t, bob).Token); g.User.ID != b.User.ID || g.Session.UserID != b.User.ID {
		t.Errorf("bob's link opened a session of %s", g.User.ID)
	}
}

// Another application of the operator's may sign with the same shared secret.
func TestThreat_J05_aTokenForAnotherAudienceIsRefused(t *testing.T) {
	key := token.Secret("", []byte("a shared secret of the operator's own, long enough"), true)
	h := authtest.New(t, func(o *auth.Options) { o.Keys = []token.Key{key} })
	g := h.Join(t, ann, pw)
	ring, err := token.NewKeys(key)
	ok(t, "key ring", err)
	for _, session := range []string{g.Session.ID.String(), ""} { // "": of a server without sessions, before a move
		for aud, code := range map[token.Audience]auth.Code{"authenticated": "", "": "", "billing": auth.TokenInvalid, "Authenticated": auth.TokenInvalid} {
			raw, err := ring.Sign(token.Claims{Subject: g.User.ID.String(), SessionID: session, Audience: aud}, h.Clock.Now())
			ok(t, "sign", err)
			_, err = h.Authenticate(t.Context(), authtest.Caller(), raw)
			if code == "" {
				ok(t, "audience "+string(aud), err)
			} else {
				want(t, "audience "+string(aud), err, code)
			}
		}
	}
	// The house's own keys sign for the user's audience alone, also when it moves.
	own := authtest.New(t)
	b := own.Join(t, bob, pw)
	_, err = own.SetUser(t.Context(), authtest.Operator(), b.User.ID, auth.UserChanges{Aud: ptr("elsewhere")})
	ok(t, "move bob to another audience", err)
	_, err = own.Authenticate(t.Context(), authtest.Caller(), b.Access)
	want(t, "a token of the audience bob left", err, auth.TokenInvalid)
	own.View(t, own.Trade(t, b.Refresh).Access)
}

func TestThreat_S08_noTokenPassesForAnother(t *testing.T) {
	h := authtest.New(t)
	code := withPKCE(t, h, s256(verifier))
	link := h.Mail(t, ann).Token
	g := h.Enter(t, ann, pw)
	service, err := h.ServiceToken("service_role", time.Hour)
	ok(t, "service token", err)
	for name, raw := range map[string]string{"a refresh token": g.Refresh, "an authorization code": code, "a link": link, "a service token": service} {
		_, err := h.Authenticate(t.Context(), authtest.Caller(), raw)
		want(t, name+" as an access token", err, auth.TokenInvalid)
	}
	for name, raw := range map[string]string{"an access token": g.Access, "an authorization code": code, "a link": link} {
		_, err := refresh(t, h, raw)
		want(t, name+" as a refresh token", err, auth.RefreshMalformed)
	}
	for name, raw := range map[string]string{"an access token": g.Access, "a refresh token": g.Refresh, "a link": link} {
		_, err := h.ByAuthCode(t, raw, verifier)
		want(t, name+" as an authorization code", err, auth.FlowNotFound)
	}
	_, err = h.ByAuthCode(t, code, verifier)
	ok(t, "the code, in its own place", err)
}

func TestThreat_S10_metadataCannotBecomeAClaim(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	reserved := map[string]any{}
	for _, name := range []string{"sub", "aud", "exp", "iat", "iss", "role", "aal", "amr", "session_id", "email", "is_anonymous"} {
		reserved[name] = "mine"
	}
	_, err := h.SetUser(t.Context(), authtest.Operator(), g.User.ID, auth.UserChanges{UserData: reserved, AppData: reserved})
	ok(t, "set", err)
	g = h.Trade(t, g.Refresh)
	c := h.View(t, g.Access).Claims
	if c.Subject != g.User.ID.String() || c.Role != "authenticated" || c.AAL != "aal1" || c.SessionID != g.Session.ID.String() || c.Email != ann || c.Audience != "authenticated" {
		t.Errorf("claims %+v", c)
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(g.Access, ".")[1])
	ok(t, "payload", err)
	var inside struct {
		AppMetadata map[string]any `json:"app_metadata"`
	}
	ok(t, "claims", json.Unmarshal(payload, &inside))
	if inside.AppMetadata["role"] != "mine" {
		t.Errorf("app_metadata %v, want it as it was set", inside.AppMetadata)
	}
}

// Which of the two is the thief, nobody can know: both are out.
func TestThreat_S13_theTheftThatIsNoticedPutsBothOut(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw) // both hold its refresh token
	ahead := h.Trade(t, h.Trade(t, g.Refresh).Refresh)
	h.Clock.Advance(minute)
	_, err := refresh(t, h, g.Refresh) // the other one comes
	want(t, "the stale token", err, auth.RefreshReused)
	over(t, "whoever was ahead", h, ahead)
	_, err = refresh(t, h, g.Refresh)
	want(t, "whoever was behind", err, auth.RefreshNotFound)
}

func TestThreat_S15_anAccessTokenDiesAtItsSecond(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	end := g.Expires.Truncate(time.Second) // as the token can say it
	h.Clock.Set(end.Add(-time.Microsecond))
	lives(t, "a moment before", h, g)
	h.Clock.Set(end)
	_, err := h.Authenticate(t.Context(), authtest.Caller(), g.Access)
	want(t, "at its end", err, auth.TokenInvalid)
	h.Trade(t, g.Refresh) // the session lives on
}
