package auth_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/notify"
	"gatehouse/internal/store"
)

const rfcVerifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"

// linking is for a house in which people link by themselves.
func linking(p *auth.Policy) { p.LinkingDisabled = false }

func notVouched(a auth.Account) auth.Account {
	a.EmailVerified = false
	a.Data["email_verified"] = false
	return a
}

// Mission: R24, S10
func TestAccount_ofSomebodyNewMakesTheUserOnce(t *testing.T) {
	h := authtest.New(t)
	a := authtest.Person("google", "g-1", ann)
	g, err := h.ByAccount(t, a)
	ok(t, "the first time", err)
	u := read(t, h, g.User.ID)
	if u.Email != ann || u.EmailVerifiedAt.IsZero() || len(u.Identities) != 1 {
		t.Fatalf("user %+v", u)
	}
	i := u.Identities[0]
	if i.Provider != "google" || i.Issuer != a.Issuer || i.Subject != "g-1" || i.Email != ann {
		t.Errorf("identity %+v", i)
	}
	if first, all := providers(t, u); first != "google" || !cmp.Equal(all, []string{"google"}) {
		t.Errorf("provider %q of %q", first, all)
	}
	if g.ProviderToken != "at-g-1" || g.ProviderRefresh != "rt-g-1" {
		t.Errorf("tokens %q, %q", g.ProviderToken, g.ProviderRefresh)
	}
	again, err := h.ByAccount(t, a)
	ok(t, "the second time", err)
	if again.User.ID != g.User.ID {
		t.Error("a second user was made")
	}
}

// Mission: S11
func TestAccount_withoutAddressOrNamesIsAUserWhereThatIsAllowed(t *testing.T) {
	h := authtest.New(t)
	a := authtest.Person("vk", "v-1", "")
	_, err := h.ByAccount(t, a)
	want(t, "without an address", err, auth.ProviderNoEmail)
	a.EmailOptional, a.Data = true, nil
	g, err := h.ByAccount(t, a)
	ok(t, "where it may be missing", err)
	u := read(t, h, g.User.ID)
	if u.Email != "" || string(u.UserMetadata) != "{}" || u.IsAnonymous {
		t.Errorf("user %+v", u)
	}
	again, err := h.ByAccount(t, a)
	ok(t, "again", err)
	if again.User.ID != g.User.ID {
		t.Error("a second user was made")
	}
}

// Mission: S10
func TestAccount_withACodeThatIsNoneSignsNobodyIn(t *testing.T) {
	h := authtest.New(t)
	d := h.Leave(t, auth.Wish{Provider: "google"})
	j, err := h.Return(t.Context(), authtest.Caller(), d.State, d.Sealed)
	ok(t, "return", err)
	_, err = h.SignIn(t.Context(), authtest.Caller(), "social", auth.Input{Journey: j, Token: "nobody's"}, true)
	want(t, "sign in", err, auth.ProviderCode)
}

// Both sides have proved the address: the account joins, and its owner is told.
func TestAccount_joinsWhoHasProvedTheSameAddress(t *testing.T) {
	h := authtest.New(t, withNotices)
	first := h.Join(t, ann, pw)
	g, err := h.ByAccount(t, authtest.Person("google", "g-1", ann))
	ok(t, "by the account", err)
	if g.User.ID != first.User.ID {
		t.Fatal("another user was made")
	}
	u := read(t, h, g.User.ID)
	if _, all := providers(t, u); !cmp.Equal(all, []string{"email", "google"}) {
		t.Errorf("providers %q", all)
	}
	lives(t, "the session from before", h, first)
	_, err = h.ByPassword(t, ann, pw)
	ok(t, "by the password", err)
	noticeOf(t, h, ann, notify.IdentityLinked)
}

// L05, L06: whoever made an account with somebody's address, and waits, has
// nothing left in it when its owner comes.
func TestThreat_L05_theOwnerFindsNothingOfWhoeverWaited(t *testing.T) {
	for name, wait := range map[string]func(h *authtest.House){
		"with a password": func(h *authtest.House) {
			_, err := h.SignUp(t.Context(), authtest.Caller(), auth.NewUser{Email: ann, Password: pw, Data: map[string]any{"full_name": "Mallory"}}, authtest.Flow())
			ok(t, "sign up", err)
		},
		"with an account elsewhere": func(h *authtest.House) {
			_, err := h.ByAccount(t, notVouched(authtest.Person("github", "mallory", ann)))
			want(t, "an address nobody vouches for", err, auth.ProviderUnproved)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := authtest.New(t)
			wait(h)
			g, err := h.ByAccount(t, authtest.Person("google", "g-ann", ann))
			ok(t, "the owner", err)
			u := read(t, h, g.User.ID)
			if len(u.Identities) != 1 || u.Identities[0].Provider != "google" || strings.Contains(string(u.UserMetadata), "Mallory") {
				t.Errorf("user %s with %+v", u.UserMetadata, u.Identities)
			}
			_, err = h.ByPassword(t, ann, pw)
			want(t, "the password of whoever waited", err, auth.InvalidCredentials)
			_, err = h.ByAccount(t, notVouched(authtest.Person("github", "mallory", ann)))
			want(t, "their account elsewhere", err, auth.ProviderUnproved)
		})
	}
}

// L06: nor when the owner comes by mail.
func TestThreat_L06_theOwnerByMailFindsNoAccountElsewhere(t *testing.T) {
	h := authtest.New(t)
	_, err := h.ByAccount(t, notVouched(authtest.Person("github", "mallory", ann)))
	want(t, "an address nobody vouches for", err, auth.ProviderUnproved)
	h.Clock.Advance(2 * minute)
	ok(t, "ask for a link", h.MagicLink(t.Context(), authtest.Caller(), auth.CodeRequest{Email: ann}, authtest.Flow()))
	h.Deliver(t)
	g := h.Follow(t, h.Mail(t, ann).Token)
	u := read(t, h, g.User.ID)
	if len(u.Identities) != 1 || u.Identities[0].Provider != "email" {
		t.Errorf("identities %+v", u.Identities)
	}
	_, err = h.ByAccount(t, notVouched(authtest.Person("github", "mallory", ann)))
	want(t, "the account elsewhere", err, auth.ProviderUnproved)
}

// Who answers the mail that their own sign-in has caused keeps the account.
func TestAccount_whoseAddressIsProvedByMailKeepsIt(t *testing.T) {
	h := authtest.New(t)
	a := notVouched(authtest.Person("github", "ann", ann))
	_, err := h.ByAccount(t, a)
	want(t, "before", err, auth.ProviderUnproved)
	g := h.Follow(t, h.Mail(t, ann).Token)
	again, err := h.ByAccount(t, a)
	ok(t, "afterwards", err)
	if again.User.ID != g.User.ID {
		t.Error("another user")
	}
}

// An address that nobody vouches for joins nobody, and the answer does not tell
// whether somebody has it.
func TestAccount_whoseAddressNobodyVouchesForJoinsNobody(t *testing.T) {
	h := authtest.New(t)
	first := h.Join(t, ann, pw)
	h.Clock.Advance(2 * minute)
	_, known := h.ByAccount(t, notVouched(authtest.Person("github", "mallory", ann)))
	_, unknown := h.ByAccount(t, notVouched(authtest.Person("github", "mallory2", bob)))
	want(t, "a known address", known, auth.ProviderUnproved)
	want(t, "an unknown one", unknown, auth.ProviderUnproved)
	if known.Error() != unknown.Error() {
		t.Errorf("%v and %v", known, unknown)
	}
	if u := read(t, h, first.User.ID); len(u.Identities) != 1 {
		t.Errorf("identities %+v", u.Identities)
	}
	_, err := h.ByPassword(t, ann, pw)
	ok(t, "the password of its owner", err)
}

// Mission: S14
func TestAccount_isAUserOfItsOwnWhereItNeverLinks(t *testing.T) {
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.Linking = auth.LinkNever }))
	first := h.Join(t, ann, pw)
	g, err := h.ByAccount(t, authtest.Person("google", "g-1", ann))
	ok(t, "by the account", err)
	if g.User.ID == first.User.ID {
		t.Fatal("it joined")
	}
	lives(t, "the one session", h, first)
	lives(t, "the other", h, g)
	again, err := h.ByAccount(t, authtest.Person("google", "g-1", ann))
	ok(t, "again", err)
	if again.User.ID != g.User.ID {
		t.Error("a third user")
	}
	refusing := h.Under(t, authtest.With(func(p *auth.Policy) { p.Linking = auth.LinkRefuse }))
	_, err = refusing.ByAccount(t, authtest.Person("github", "h-1", ann))
	want(t, "where it refuses", err, auth.AccountExists)
}

// Mission: S13
func TestAccount_hasNoPassword(t *testing.T) {
	h := authtest.New(t)
	_, err := h.ByAccount(t, authtest.Person("google", "g-1", ann))
	ok(t, "by the account", err)
	for _, word := range []string{"", pw, "google"} {
		_, err = h.ByPassword(t, ann, word)
		want(t, "a password", err, auth.InvalidCredentials)
	}
}

// L15: the key is provider, issuer and subject, all three.
func TestThreat_L15_anotherIssuerWithTheSameSubjectIsSomebodyElse(t *testing.T) {
	h := authtest.New(t)
	g, err := h.ByAccount(t, authtest.Person("google", "1", ann))
	ok(t, "the first", err)
	for _, a := range []auth.Account{
		authtest.Person("github", "1", bob), // another provider
		{Provider: "google", Issuer: "https://evil.example", Subject: "1", Email: "eve@example.com", EmailVerified: true, AMR: "oauth"},
	} {
		other, err := h.ByAccount(t, a)
		ok(t, a.Issuer, err)
		if other.User.ID == g.User.ID {
			t.Errorf("%s came in as another", a.Issuer)
		}
	}
}

// L12, and a change of address at the provider: what is somebody else's here is
// not taken, and what is free is followed only by who has no other way.
func TestAccount_whoseAddressChangesTakesNobodysAddress(t *testing.T) {
	h := authtest.New(t, withNotices)
	g, err := h.ByAccount(t, authtest.Person("google", "g-1", ann))
	ok(t, "first", err)
	victim := h.Join(t, bob, pw)
	changed, err := h.ByAccount(t, authtest.Person("google", "g-1", bob))
	ok(t, "with somebody's address", err)
	if changed.User.ID != g.User.ID || changed.User.Email != ann {
		t.Errorf("signed in as %s, %q", changed.User.ID, changed.User.Email)
	}
	if u := read(t, h, victim.User.ID); u.Email != bob || len(u.Identities) != 1 {
		t.Errorf("victim %+v", u)
	}
	fresh := "ann@elsewhere.example"
	_, err = h.ByAccount(t, authtest.Person("google", "g-1", fresh))
	ok(t, "with a free one", err)
	if u := read(t, h, g.User.ID); u.Email != ann && u.Email != fresh {
		t.Errorf("address %q", u.Email)
	}
}

func TestAccount_profileFollowsTheProviderButForWhatItsOwnerChanged(t *testing.T) {
	h := authtest.New(t)
	a := authtest.Person("google", "g-1", ann)
	a.Data["avatar_url"] = "https://a.example/1.png"
	g, err := h.ByAccount(t, a)
	ok(t, "first", err)
	_, err = h.UpdateUser(t.Context(), authtest.Caller(), h.View(t, g.Access), auth.Changes{Data: map[string]any{"full_name": "Ann herself"}}, authtest.Flow())
	ok(t, "her own word", err)
	a.Data = map[string]any{"sub": "g-1", "email": ann, "full_name": "Ann Elsewhere", "avatar_url": "https://a.example/2.png"}
	g, err = h.ByAccount(t, a)
	ok(t, "again", err)
	if m := string(g.User.UserMetadata); !strings.Contains(m, "Ann herself") || !strings.Contains(m, "2.png") {
		t.Errorf("metadata %s", m)
	}
}

// L19, L20, L21: the gates.
func TestThreat_L19_anAccountElsewherePassesTheSameGates(t *testing.T) {
	h := authtest.New(t)
	a := authtest.Person("google", "g-1", ann)
	g, err := h.ByAccount(t, a)
	ok(t, "first", err)
	u := read(t, h, g.User.ID)
	tamper(t, h, u.ID, func(u *auth.User) { u.BannedUntil = h.Clock.Now().Add(hour) })
	_, err = h.ByAccount(t, a)
	want(t, "banned", err, auth.UserBanned)
	other := authtest.Person("github", "h-1", ann)
	_, err = h.ByAccount(t, other)
	want(t, "banned, by another account", err, auth.UserBanned)
	if u = read(t, h, g.User.ID); len(u.Identities) != 1 {
		t.Error("a banned user was linked")
	}
	closed := h.Under(t, authtest.With(func(p *auth.Policy) { p.SignupDisabled = true }))
	_, err = closed.ByAccount(t, authtest.Person("google", "g-2", bob))
	want(t, "sign-up closed", err, auth.SignupDisabled)
}

func TestLink_addsAnAccountToWhoIsSignedIn(t *testing.T) {
	h := authtest.New(t, authtest.With(linking), withNotices)
	g := h.Join(t, ann, pw)
	h.Clock.Advance(minute)
	v := h.View(t, g.Access)
	ticket, err := h.Ticket(t.Context(), authtest.Caller(), v, auth.Wish{Method: "social", Provider: "github"})
	ok(t, "ticket", err)
	d := h.Leave(t, auth.Wish{Ticket: ticket})
	linked, err := h.Arrive(t, d, notVouched(authtest.Person("github", "h-1", "other@example.com")))
	ok(t, "come back", err)
	if linked.User.ID != g.User.ID {
		t.Fatal("signed in as somebody else")
	}
	if u := read(t, h, g.User.ID); len(u.Identities) != 2 || u.Email != ann {
		t.Errorf("user %+v", u)
	}
	this := noticeOf(t, h, ann, notify.IdentityLinked)
	// Somebody else's account joins nobody, and neither does one's own again.
	d = h.Leave(t, auth.Wish{Ticket: ticket})
	_, err = h.Arrive(t, d, authtest.Person("github", "h-1", "other@example.com"))
	want(t, "again", err, auth.IdentityTaken)
	_, err = undo(t, h, this.Token)
	ok(t, "this was not me", err)
	if u := read(t, h, g.User.ID); len(u.Identities) != 1 || u.Identities[0].Provider != "email" {
		t.Errorf("identities after the undo %+v", u.Identities)
	}
	over(t, "the session by the account", h, linked)
}

func TestLink_withoutARedirect(t *testing.T) {
	h := authtest.New(t, authtest.With(linking))
	g := h.Join(t, ann, pw)
	in := auth.Input{Provider: "google", Token: h.Elsewhere.Code(authtest.Person("google", "g-1", bob))}
	linked, err := h.LinkIdentity(t.Context(), authtest.Caller(), h.View(t, g.Access), "idtoken", in)
	ok(t, "link", err)
	if linked.User.ID != g.User.ID || len(linked.User.Identities) != 2 {
		t.Errorf("user %+v", linked.User)
	}
	closed := h.Under(t, authtest.With(func(p *auth.Policy) { p.LinkingDisabled = true }))
	_, err = closed.LinkIdentity(t.Context(), authtest.Caller(), closed.View(t, g.Access), "idtoken",
		auth.Input{Provider: "google", Token: h.Elsewhere.Code(authtest.Person("google", "g-2", bob))})
	want(t, "where it is closed", err, auth.LinkingDisabled)
}

func TestLink_makesSomebodyOfNobodyInParticular(t *testing.T) {
	h := authtest.New(t, authtest.With(linking), authtest.With(func(p *auth.Policy) { p.AnonymousDisabled = false }))
	g, err := h.SignUp(t.Context(), authtest.Caller(), auth.NewUser{}, authtest.Flow())
	ok(t, "nobody in particular", err)
	linked, err := h.LinkIdentity(t.Context(), authtest.Caller(), h.View(t, g.Access), "idtoken",
		auth.Input{Provider: "google", Token: h.Elsewhere.Code(authtest.Person("google", "g-1", ann))})
	ok(t, "link", err)
	if u := linked.User; u.ID != g.User.ID || u.IsAnonymous || u.Email != ann || u.EmailVerifiedAt.IsZero() {
		t.Errorf("user %+v", u)
	}
}

// L25: the account has to be of the address that was invited.
func TestThreat_L25_anInvitationIsAcceptedWithAnAccountOfItsAddress(t *testing.T) {
	h := authtest.New(t)
	_, err := h.Invite(t.Context(), authtest.Operator(), ann, nil, authtest.Flow())
	ok(t, "invite", err)
	token := h.Mail(t, ann).Token
	for _, a := range []auth.Account{authtest.Person("google", "g-eve", "eve@example.com"), notVouched(authtest.Person("google", "g-2", ann)), {Provider: "google", Subject: "x", EmailOptional: true}} {
		_, err = h.Arrive(t, h.Leave(t, auth.Wish{Provider: a.Provider, Invite: token}), a)
		want(t, "another account", err, auth.InviteMismatch)
	}
	closed := h.Under(t, authtest.With(func(p *auth.Policy) { p.SignupDisabled = true }))
	g, err := closed.Arrive(t, closed.Leave(t, auth.Wish{Provider: "google", Invite: token}), authtest.Person("google", "g-ann", ann))
	ok(t, "the one who was invited", err)
	if u := read(t, h, g.User.ID); u.Email != ann || u.EmailVerifiedAt.IsZero() || len(u.Identities) == 0 {
		t.Errorf("user %+v", u)
	}
	_, err = h.SetOut(t.Context(), authtest.Caller(), auth.Wish{Method: "social", Provider: "google", Invite: token})
	want(t, "the invitation again", err, auth.InviteNotFound)
}

// L16, L18, F01: who comes back is who set out, once, and to whom.
func TestThreat_L18_aJourneyEndsOnceAndInItsOwnBrowser(t *testing.T) {
	h := authtest.New(t)
	d, other := h.Leave(t, auth.Wish{Provider: "google"}), h.Leave(t, auth.Wish{Provider: "google"})
	c := authtest.Caller()
	for what, pair := range map[string][2]string{
		"nothing kept": {d.State, ""}, "another journey's": {d.State, other.Sealed}, "another state": {other.State, d.Sealed},
		"no state": {"", d.Sealed}, "rubbish": {d.State, "rubbish"}, "cut": {d.State, d.Sealed[:len(d.Sealed)-4]},
	} {
		_, err := h.Return(t.Context(), c, pair[0], pair[1])
		want(t, what, err, auth.StateFailed)
	}
	d = h.Leave(t, auth.Wish{Provider: "google"})
	results := make(chan error, 10)
	for range 10 {
		go func() {
			_, err := h.Return(t.Context(), c, d.State, d.Sealed)
			results <- err
		}()
	}
	once := 0
	for range 10 {
		if <-results == nil {
			once++
		}
	}
	if once != 1 {
		t.Errorf("one journey ended %d times", once)
	}
	// Mixed up: the account of another provider than the one it set out to.
	_, err := h.Arrive(t, h.Leave(t, auth.Wish{Provider: "google"}), authtest.Person("github", "1", ann))
	want(t, "another provider", err, auth.ProviderFailed)
	d = h.Leave(t, auth.Wish{Provider: "google"})
	h.Clock.Advance(time.Hour)
	_, err = h.Return(t.Context(), c, d.State, d.Sealed)
	want(t, "too late", err, auth.StateFailed)
}

func TestAccount_byPKCEHandsItsTokensOutOnce(t *testing.T) {
	h := authtest.New(t)
	d := h.Leave(t, auth.Wish{Provider: "google", PKCE: s256(rfcVerifier)})
	g, err := h.Arrive(t, d, authtest.Person("google", "g-1", ann))
	ok(t, "come back", err)
	if g.AuthCode == "" || g.Access != "" || g.ProviderToken != "" {
		t.Fatalf("grant %+v", g)
	}
	in := auth.Input{Token: g.AuthCode, Verifier: rfcVerifier}
	_, err = h.SignIn(t.Context(), authtest.Caller(), "pkce", auth.Input{Token: g.AuthCode, Verifier: rfcVerifier + "x"}, false)
	want(t, "another verifier", err, auth.VerifierFailed)
	got, err := h.SignIn(t.Context(), authtest.Caller(), "pkce", in, false)
	ok(t, "trade", err)
	if got.ProviderToken != "at-g-1" || got.ProviderRefresh != "rt-g-1" || got.Session.IdentityID.IsZero() {
		t.Errorf("tokens %q, %q, identity %s", got.ProviderToken, got.ProviderRefresh, got.Session.IdentityID)
	}
	_, err = h.SignIn(t.Context(), authtest.Caller(), "pkce", in, false)
	want(t, "the code again", err, auth.FlowNotFound)
	if r, err := h.Refresh(t.Context(), authtest.Caller(), got.Refresh); err != nil || r.ProviderToken != "" {
		t.Errorf("refresh: %v, token %q", err, r.ProviderToken)
	}
}

func TestAccount_tokensAreSealedAtRest(t *testing.T) {
	h := authtest.New(t)
	g, err := h.ByAccount(t, authtest.Person("google", "g-1", ann))
	ok(t, "sign in", err)
	var c store.Credential
	id := g.Session.IdentityID
	ok(t, "read", h.DB.Read(t.Context(), store.TenantID{}, func(tx *store.Tx) (err error) {
		c, err = tx.Credential("provider", id[:])
		return err
	}))
	if len(c.Data) == 0 || strings.Contains(string(c.Data), "at-g-1") {
		t.Errorf("credential %q", c.Data)
	}
	tokens, err := h.ProviderTokens(t.Context(), authtest.Operator(), g.User.ID, "google")
	if err != nil || tokens.Access != "at-g-1" {
		t.Errorf("tokens %+v, %v", tokens, err)
	}
}

// Mission: T04, T07
func TestRecheck_asksTheProviderAgainAndObeysIt(t *testing.T) {
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.Recheck = hour }))
	a := authtest.Person("google", "g-1", ann)
	g, err := h.ByAccount(t, a)
	ok(t, "sign in", err)
	refresh := func() (err error) {
		next, err := h.Refresh(t.Context(), authtest.Caller(), g.Refresh)
		if err == nil {
			g = next
		}
		return err
	}
	ok(t, "at once", refresh())
	if h.Elsewhere.Asked() != 0 {
		t.Error("asked too early")
	}
	// It says yes, and something new.
	a.Data["full_name"] = "Ann Newname"
	h.Elsewhere.Says(a)
	h.Clock.Advance(hour + minute)
	ok(t, "after its time", refresh())
	if h.Elsewhere.Asked() != 1 || !strings.Contains(string(g.User.UserMetadata), "Ann Newname") {
		t.Errorf("asked %d times, metadata %s", h.Elsewhere.Asked(), g.User.UserMetadata)
	}
	ok(t, "soon after", refresh())
	if h.Elsewhere.Asked() != 1 {
		t.Error("asked again at once")
	}
	// Nobody answers: the session goes on, and is asked about again soon.
	h.Elsewhere.Refuses(&auth.Error{Code: auth.ProviderUnavailable})
	h.Clock.Advance(hour + minute)
	ok(t, "while nobody answers", refresh())
	ok(t, "at once again", refresh())
	if h.Elsewhere.Asked() != 2 {
		t.Errorf("asked %d times", h.Elsewhere.Asked())
	}
	// It says no.
	h.Elsewhere.Refuses(&auth.Error{Code: auth.ProviderRefused})
	h.Clock.Advance(2 * minute)
	want(t, "after its no", refresh(), auth.SessionExpired)
	over(t, "the session", h, g)
}
