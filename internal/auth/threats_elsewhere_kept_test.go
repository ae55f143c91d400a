package auth_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/notify"
	"gatehouse/internal/store"
)

// keptTokens is how many of these identities have tokens kept.
func keptTokens(t *testing.T, h *authtest.House, ids ...auth.IdentityID) (n int) {
	t.Helper()
	ok(t, "count tokens", h.DB.Read(t.Context(), store.TenantID{}, func(tx *store.Tx) error {
		for _, id := range ids {
			_, err := tx.Credential("provider", id[:])
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			n++
		}
		return nil
	}))
	return n
}

func tallyOf(list []auth.EventName, name auth.EventName) (n int) {
	for _, e := range list {
		if e == name {
			n++
		}
	}
	return n
}

// K05, L21: a hook that says no leaves no user, no identity, no tokens and no
// session; nor does one that spoils the claims leave a session.
func TestThreat_K05_aHookThatRefusesAnAccountElsewhereLeavesNothing(t *testing.T) {
	for name, by := range map[string]func(h *authtest.House, a auth.Account) error{
		"by redirect": func(h *authtest.House, a auth.Account) error { _, err := h.ByAccount(t, a); return err },
		"by ID token": func(h *authtest.House, a auth.Account) error {
			_, err := h.SignIn(t.Context(), authtest.Caller(), "idtoken", byIDToken(h, a), false)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := &operatorsHooks{refuse: true}
			h := authtest.New(t, o.all)
			a := authtest.Person("google", "g-1", ann)
			want(t, "somebody new", by(h, a), auth.HookRefused)
			if h.Count(t) != 0 {
				t.Fatalf("there are %d users", h.Count(t))
			}
			// Entering alone refuses who is to join somebody.
			o.set(func() { o.refuse = false })
			g := h.Join(t, ann, pw)
			o.set(func() { o.refuse = true })
			want(t, "who would join", by(h, a), auth.HookRefused)
			u := read(t, h, g.User.ID)
			if len(u.Identities) != 1 || sessions(t, h, u.ID) != 1 || strings.Contains(string(u.UserMetadata), "full_name") {
				t.Errorf("user %s with %v, %d sessions", u.UserMetadata, providersOf(u), sessions(t, h, u.ID))
			}
			o.set(func() {
				o.refuse, o.claims = false, func(map[string]any) map[string]any { return map[string]any{"sub": "somebody else"} }
			})
			if by(h, a) == nil {
				t.Error("claims of somebody else were signed")
			}
			lives(t, "the session of before", h, g)
			if all := names(h, t, u.ID); tallyOf(all, auth.SignedIn)-tallyOf(all, auth.SignedOut) != 1 {
				t.Errorf("a session is left: %v", all)
			}
		})
	}
}

// G03: tokens of providers are of those whose accounts they are, and go with
// them, whatever it is that ends them.
func TestThreat_G03_providerTokensGoWithTheAccount(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, h *authtest.House, g *auth.Grant){
		"unlinking": func(t *testing.T, h *authtest.House, g *auth.Grant) {
			ok(t, "unlink", h.Unlink(t.Context(), authtest.Caller(), h.View(t, g.Access), identityOf(t, h, g.User.ID, "google")))
		},
		"undoing": func(t *testing.T, h *authtest.House, g *auth.Grant) {
			_, err := undo(t, h, noticeOf(t, h, ann, notify.IdentityLinked).Token)
			ok(t, "undo", err)
		},
		"deletion": func(t *testing.T, h *authtest.House, g *auth.Grant) {
			ok(t, "delete", h.DropUser(t.Context(), authtest.Operator(), g.User.ID, false))
		},
		"soft deletion": func(t *testing.T, h *authtest.House, g *auth.Grant) {
			ok(t, "delete", h.DropUser(t.Context(), authtest.Operator(), g.User.ID, true))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := authtest.New(t, authtest.With(linking), withNotices)
			g := h.Join(t, ann, pw)
			h.Clock.Advance(minute)
			linkAccount(t, h, g, authtest.Person("google", "g-1", ann))
			id := identityOf(t, h, g.User.ID, "google")
			if keptTokens(t, h, id) != 1 {
				t.Fatal("no tokens are kept")
			}
			end(t, h, g)
			if keptTokens(t, h, id) != 0 {
				t.Error("the tokens are left")
			}
			_, err := h.ProviderTokens(t.Context(), authtest.Operator(), g.User.ID, "google")
			if err == nil {
				t.Error("tokens are handed out")
			}
		})
	}
	t.Run("the owner's arrival", func(t *testing.T) {
		h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.UnverifiedSignIn = true }))
		mallory, err := h.ByAccount(t, notVouched(authtest.Person("github", "mallory", ann)))
		ok(t, "who waits", err)
		id := identityOf(t, h, mallory.User.ID, "github")
		g, err := h.ByAccount(t, authtest.Person("google", "g-ann", ann))
		ok(t, "the owner", err)
		if keptTokens(t, h, id) != 0 || keptTokens(t, h, identityOf(t, h, g.User.ID, "google")) != 1 {
			t.Error("the tokens are not the owner's own")
		}
		over(t, "the session of whoever waited", h, mallory)
	})
}

// G03: what a code waits beside is for its bearer, and one user's tokens are not
// another's.
func TestThreat_G03_tokensAreHandedToWhoSignsInAlone(t *testing.T) {
	h := authtest.New(t)
	one, err := h.ByAccount(t, authtest.Person("google", "g-1", ann))
	ok(t, "the one", err)
	two, err := h.ByAccount(t, authtest.Person("google", "g-2", bob))
	ok(t, "the other", err)
	for _, g := range []*auth.Grant{one, two} {
		tokens, err := h.ProviderTokens(t.Context(), authtest.Operator(), g.User.ID, "google")
		ok(t, "tokens", err)
		if tokens.Access != g.ProviderToken || tokens.Access == "" {
			t.Errorf("%q, want %q", tokens.Access, g.ProviderToken)
		}
	}
	next := h.Trade(t, one.Refresh)
	if next.ProviderToken != "" || next.ProviderRefresh != "" {
		t.Error("a refresh hands out the tokens again")
	}
	dropping := h.Under(t, authtest.With(func(p *auth.Policy) { p.DropTokens = true }))
	cat, err := dropping.ByAccount(t, authtest.Person("google", "g-3", "cat@example.com"))
	ok(t, "where none are kept", err)
	if keptTokens(t, h, cat.Session.IdentityID) != 0 || cat.ProviderToken == "" {
		t.Errorf("they are kept, or not handed out: %q", cat.ProviderToken)
	}
}

// renewer is a provider that takes its time to renew tokens.
type renewer struct{ during func() }

func (renewer) Name() string { return "social" }

func (renewer) Finish(context.Context, *auth.Kit, auth.Input) (auth.Verdict, error) {
	return nil, auth.ErrDenied
}

func (renewer) Recheck(context.Context, *auth.Kit, string, auth.Tokens) (auth.Account, error) {
	return auth.Account{}, auth.ErrDenied
}

func (r renewer) Renew(context.Context, *auth.Kit, string, auth.Tokens) (auth.Tokens, error) {
	r.during()
	return auth.Tokens{Access: "renewed", Refresh: "renewed"}, nil
}

// G03: what goes while a provider renews its tokens does not come back with them.
func TestThreat_G03_tokensThatAreRenewedDoNotOutliveTheAccount(t *testing.T) {
	for name, end := range map[string]func(h *authtest.House, g *auth.Grant) error{
		"unlinking": func(h *authtest.House, g *auth.Grant) error {
			return h.Unlink(t.Context(), authtest.Caller(), h.View(t, g.Access), identityOf(t, h, g.User.ID, "google"))
		},
		"soft deletion": func(h *authtest.House, g *auth.Grant) error {
			return h.DropUser(t.Context(), authtest.Operator(), g.User.ID, true)
		},
		"deletion": func(h *authtest.House, g *auth.Grant) error {
			return h.DropUser(t.Context(), authtest.Operator(), g.User.ID, false)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := authtest.New(t, authtest.With(linking))
			g := h.Join(t, ann, pw)
			a := authtest.Person("google", "g-1", ann)
			a.Tokens.ExpiresAt = h.Clock.Now().Add(minute)
			linkAccount(t, h, g, a)
			id := identityOf(t, h, g.User.ID, "google")
			h.Clock.Advance(2 * minute)
			slow := h.Under(t, func(o *auth.Options) {
				o.Methods = slices.DeleteFunc(slices.Clone(o.Methods), func(m auth.Method) bool { return m.Name() == "social" })
				o.Methods = append(o.Methods, renewer{func() { ok(t, name, end(h, g)) }})
			})
			_, err := slow.ProviderTokens(t.Context(), authtest.Operator(), g.User.ID, "google")
			if err == nil {
				t.Error("they were handed out")
			}
			if keptTokens(t, h, id) != 0 {
				t.Error("they are kept")
			}
		})
	}
}

// L06: who waits with an account elsewhere must not be let in by the mail that
// the owner asks for; whichever mail it is.
func TestThreat_L06_whicheverMailTheOwnerAnswersNobodyWaitsInside(t *testing.T) {
	c, f := authtest.Caller(), authtest.Flow()
	mallory := func() auth.Account { return notVouched(authtest.Person("github", "mallory", ann)) }
	for name, owner := range map[string]func(t *testing.T, h *authtest.House){
		"a sign-up": func(t *testing.T, h *authtest.House) {
			_, err := h.SignUp(t.Context(), c, auth.NewUser{Email: ann, Password: pw}, f)
			ok(t, "sign up", err)
		},
		"a sign-up, and the stranger once more": func(t *testing.T, h *authtest.House) {
			_, err := h.SignUp(t.Context(), c, auth.NewUser{Email: ann, Password: pw}, f)
			ok(t, "sign up", err)
			h.Clock.Advance(2 * minute)
			_, err = h.ByAccount(t, mallory())
			want(t, "the stranger again", err, auth.ProviderUnproved)
		},
		"a magic link": func(t *testing.T, h *authtest.House) {
			ok(t, "magic link", h.MagicLink(t.Context(), c, auth.CodeRequest{Email: ann}, f))
		},
		"a recovery, and the stranger once more": func(t *testing.T, h *authtest.House) {
			ok(t, "recover", h.Recover(t.Context(), c, ann, f))
			h.Deliver(t)
			h.Clock.Advance(2 * minute)
			_, err := h.ByAccount(t, mallory())
			want(t, "the stranger again", err, auth.ProviderUnproved)
		},
		"an invitation": func(t *testing.T, h *authtest.House) {
			_, err := h.Invite(t.Context(), authtest.Operator(), ann, nil, f)
			ok(t, "invite", err)
		},
		"another account elsewhere": func(t *testing.T, h *authtest.House) {
			_, err := h.ByAccount(t, notVouched(authtest.Person("facebook", "ann", ann)))
			want(t, "the owner", err, auth.ProviderUnproved)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := authtest.New(t)
			_, err := h.ByAccount(t, mallory())
			want(t, "who waits", err, auth.ProviderUnproved)
			h.Deliver(t)
			h.Clock.Advance(2 * minute)
			owner(t, h)
			h.Deliver(t)
			g := h.Follow(t, h.Mail(t, ann).Token)
			h.Clock.Advance(2 * minute)
			in, err := h.ByAccount(t, mallory())
			if err == nil && in.User.ID == g.User.ID {
				t.Errorf("who waited is in the owner's account, which is known by %v", providersOf(read(t, h, g.User.ID)))
			}
		})
	}
}

// L09, L12: an address that was changed here is not changed back by the account
// elsewhere, and who gets the old one has nothing of its user.
func TestThreat_L09_anAddressChangedHereStays(t *testing.T) {
	h := authtest.New(t, easy)
	a := authtest.Person("google", "g-1", ann)
	g, err := h.ByAccount(t, a)
	ok(t, "sign in", err)
	readdress(t, h, g, bob)
	again, err := h.ByAccount(t, a)
	ok(t, "again", err)
	if again.User.ID != g.User.ID || again.User.Email != bob {
		t.Errorf("user %s, %q", again.User.ID, again.User.Email)
	}
	next := h.Join(t, ann, pw2)
	if next.User.ID == g.User.ID {
		t.Fatal("the new owner of the old address is in")
	}
	again, err = h.ByAccount(t, a)
	ok(t, "once more", err)
	if again.User.ID != g.User.ID || again.User.Email != bob || len(read(t, h, next.User.ID).Identities) != 1 {
		t.Errorf("user %s, %q", again.User.ID, again.User.Email)
	}
	_, err = h.ByAccount(t, authtest.Person("google", "g-1", ann))
	ok(t, "and again", err)
	if u := read(t, h, next.User.ID); u.Email != ann || len(u.Identities) != 1 {
		t.Errorf("the new owner is %+v", u)
	}
}

// L12: a thief links an account and takes away what was there; the owner undoes
// it all by whichever notice.
func TestThreat_L12_undoingALinkLeavesNoWayInBehind(t *testing.T) {
	for _, kind := range []notify.Kind{notify.IdentityLinked, notify.IdentityUnlinked} {
		t.Run(string(kind), func(t *testing.T) {
			h := authtest.New(t, authtest.With(linking), withNotices)
			g := h.Join(t, ann, pw)
			h.Clock.Advance(minute)
			thief := authtest.Person("google", "mallory", "mallory@example.com")
			by := linkAccount(t, h, g, thief)
			linkedNotice := noticeOf(t, h, ann, notify.IdentityLinked)
			if kind == notify.IdentityUnlinked {
				h.Clock.Advance(minute)
				ok(t, "unlink", h.Unlink(t.Context(), authtest.Caller(), h.View(t, by.Access), identityOf(t, h, g.User.ID, "email")))
				linkedNotice = noticeOf(t, h, ann, notify.IdentityUnlinked)
			}
			h.Clock.Advance(minute)
			_, err := undo(t, h, linkedNotice.Token)
			ok(t, "undo", err)
			over(t, "the thief's session", h, by)
			u := read(t, h, g.User.ID)
			if u.Email != ann || u.EmailVerifiedAt.IsZero() || !slices.Equal(providersOf(u), []string{"email"}) {
				t.Errorf("user %q with %v", u.Email, providersOf(u))
			}
			in, err := h.ByAccount(t, thief)
			if err == nil && in.User.ID == g.User.ID {
				t.Error("the thief's account is still a way in")
			}
		})
	}
}

// L12: what a thief unlinks takes no notice of what they linked away, where only
// links are told of.
func TestThreat_L12_anUnlinkVoidsNoNoticeOfALink(t *testing.T) {
	h := authtest.New(t, authtest.With(linking), withNotices, authtest.With(func(p *auth.Policy) { p.Notices[notify.IdentityUnlinked] = false }))
	g := h.Join(t, ann, pw)
	h.Clock.Advance(minute)
	linkAccount(t, h, g, authtest.Person("google", "mallory", "mallory@example.com"))
	notice := noticeOf(t, h, ann, notify.IdentityLinked)
	by := linkAccount(t, h, g, authtest.Person("github", "mallory", "mallory@example.com"))
	ok(t, "unlink", h.Unlink(t.Context(), authtest.Caller(), h.View(t, by.Access), identityOf(t, h, g.User.ID, "github")))
	_, err := undo(t, h, notice.Token)
	ok(t, "undo", err)
	if u := read(t, h, g.User.ID); !slices.Equal(providersOf(u), []string{"email"}) {
		t.Errorf("known by %v", providersOf(u))
	}
}

// L32: who came by an account elsewhere is nobody's local user, and who is here by
// nothing but a number or a name is not met by an address.
func TestThreat_L32_anAccountJoinsOnlyWhoProvedItsAddress(t *testing.T) {
	h := authtest.New(t, allOpen, authtest.With(linking))
	visitor := h.Visit(t)
	phoned := h.JoinByPhone(t, annsPhone, pw)
	_, err := h.UpdateUser(t.Context(), authtest.Caller(), h.View(t, phoned.Access), newEmail(ann), authtest.Flow())
	ok(t, "a wish for her address", err)
	a := authtest.Person("google", "g-1", ann)
	a.Phone = annsPhone
	g, err := h.ByAccount(t, a)
	ok(t, "by the account", err)
	if g.User.ID == visitor.User.ID || g.User.ID == phoned.User.ID {
		t.Fatal("it joined who has not proved the address")
	}
	if u := read(t, h, g.User.ID); u.Phone != "" || !u.PhoneVerifiedAt.IsZero() {
		t.Errorf("a number nobody proved: %+v", u)
	}
	if u := read(t, h, phoned.User.ID); u.Email != "" || len(u.Identities) != 1 {
		t.Errorf("user %+v", u)
	}
}

// L26: what comes with a password is no account elsewhere.
func TestThreat_L26_noOtherWayInBringsAnIdentity(t *testing.T) {
	h := authtest.New(t, authtest.With(linking))
	g := h.Join(t, ann, pw)
	a := authtest.Person("google", "g-1", bob)
	in := byIDToken(h, a)
	in.Email, in.Password, in.Journey = ann, pw, &auth.Journey{Method: "idtoken", Link: g.User.ID, Session: g.Session.ID}
	in.Token = ""
	_, err := h.SignIn(t.Context(), authtest.Caller(), "password", in, false)
	ok(t, "by password", err)
	_, err = h.UpdateUser(t.Context(), authtest.Caller(), h.View(t, g.Access), auth.Changes{Data: map[string]any{
		"identities": []any{map[string]any{"provider": "google", "sub": "g-1"}}, "sub": "g-1", "iss": a.Issuer,
	}}, authtest.Flow())
	ok(t, "their own word", err)
	if u := read(t, h, g.User.ID); len(u.Identities) != 1 {
		t.Errorf("identities %+v", u.Identities)
	}
	if by, err := h.ByAccount(t, a); err != nil || by.User.ID == g.User.ID {
		t.Errorf("by the account: %v", err)
	}
}

// S14: the session ends with what opened it.
func TestThreat_S14_aSessionEndsWithTheAccountThatOpenedIt(t *testing.T) {
	h := authtest.New(t, authtest.With(linking), authtest.With(func(p *auth.Policy) { p.Recheck = hour }))
	g := h.Join(t, ann, pw)
	by := linkAccount(t, h, g, authtest.Person("google", "g-1", ann))
	ok(t, "unlink", h.Unlink(t.Context(), authtest.Caller(), h.View(t, g.Access), identityOf(t, h, g.User.ID, "google")))
	over(t, "the session by the account", h, by)
	lives(t, "the session by the password", h, g)
	// The provider's token is of somebody else now.
	a := authtest.Person("github", "h-1", bob)
	by, err := h.ByAccount(t, a)
	ok(t, "sign in", err)
	b := authtest.Person("github", "h-2", bob)
	b.Tokens = a.Tokens
	h.Elsewhere.Says(b)
	h.Clock.Advance(hour + minute)
	_, err = h.Refresh(t.Context(), authtest.Caller(), by.Refresh)
	want(t, "another account's word", err, auth.SessionExpired)
	_, err = h.Refresh(t.Context(), authtest.Caller(), by.Refresh)
	want(t, "its session", err, auth.RefreshNotFound)
	lives(t, "the session by password, for which nobody vouched,", h, h.Trade(t, g.Refresh))
}

// S14: so it does where the operator's own server takes the account away, or has
// it be another's.
func TestThreat_S14_aSessionEndsWithTheLinkedAccountThatOpenedIt(t *testing.T) {
	for name, end := range map[string]func(h *authtest.House, id auth.UserID) error{
		"removed": func(h *authtest.House, id auth.UserID) error {
			return h.DropLinked(t.Context(), authtest.Operator(), id, "google")
		},
		"all removed": func(h *authtest.House, id auth.UserID) error {
			_, err := h.DropAllLinked(t.Context(), authtest.Operator(), id)
			return err
		},
		"another account": func(h *authtest.House, id auth.UserID) error {
			_, err := h.SetLinked(t.Context(), authtest.Operator(), id, "google", auth.LinkedChanges{ClientID: ptr("c-2")})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := authtest.New(t)
			g := h.Join(t, ann, pw)
			_, err := h.AddLinked(t.Context(), authtest.Operator(), g.User.ID, "google", auth.LinkedAccount{ClientID: "c-1"})
			ok(t, "link", err)
			by, err := h.SignIn(t.Context(), authtest.Operator(), "linked", auth.Input{Provider: "google", Token: "c-1"}, false)
			ok(t, "sign in", err)
			ok(t, name, end(h, g.User.ID))
			over(t, "the session by the account", h, by)
			lives(t, "the session by the password", h, g)
		})
	}
}

// S14: who has nobody to ask is not asked about.
func TestThreat_S14_whoIsVouchedForByNobodyElseGoesOn(t *testing.T) {
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.Recheck = hour }))
	w := authtest.NewWallet(t)
	byWallet, err := h.SignIn(t.Context(), authtest.Caller(), "web3", w.SignsIn(authtest.Policy().SiteURL, h.Clock.Now()), false)
	ok(t, "by a wallet", err)
	g := h.Join(t, ann, pw)
	_, err = h.AddLinked(t.Context(), authtest.Operator(), g.User.ID, "google", auth.LinkedAccount{ClientID: "c-1", AccessToken: "x", ExpiresAt: h.Clock.Now().Add(hour)})
	ok(t, "link", err)
	byServer, err := h.SignIn(t.Context(), authtest.Operator(), "linked", auth.Input{Provider: "google", Token: "c-1"}, false)
	ok(t, "by the operator's server", err)
	h.Clock.Advance(hour + minute)
	for name, g := range map[string]*auth.Grant{"a wallet": byWallet, "the operator's server": byServer} {
		_, err = h.Refresh(t.Context(), authtest.Caller(), g.Refresh)
		if err != nil {
			t.Errorf("by %s: %v", name, err)
		}
	}
}

// D11: what is good once is remembered while it is good, and no longer.
func TestThreat_D11_whatIsSpentIsForgottenWithItsTime(t *testing.T) {
	h := authtest.New(t)
	w := authtest.NewWallet(t)
	for range 5 {
		_, err := h.ByAccount(t, authtest.Person("google", "g-1", ann))
		ok(t, "sign in", err)
		_, err = h.SignIn(t.Context(), authtest.Caller(), "web3", w.SignsIn(authtest.Policy().SiteURL, h.Clock.Now()), false)
		ok(t, "by a wallet", err)
	}
	sweep := func() (n int) {
		ok(t, "sweep", h.DB.Write(t.Context(), store.TenantID{}, func(tx *store.Tx) (err error) {
			past := tx.Now.Add(-100 * hour)
			n, err = tx.Sweep(1000, past, past, past)
			return err
		}))
		return n
	}
	if n := sweep(); n != 0 {
		t.Errorf("%d were forgotten while they were good", n)
	}
	h.Clock.Advance(12 * minute)
	if n := sweep(); n < 10 {
		t.Errorf("%d were forgotten, want the ten that were spent", n)
	}
}

// Who sets out leaves no rows behind: the browser keeps the journey.
func TestThreat_D11_settingOutLeavesNothing(t *testing.T) {
	h := authtest.New(t)
	count := func() (n int) {
		ok(t, "sweep", h.DB.Write(context.WithoutCancel(t.Context()), store.TenantID{}, func(tx *store.Tx) (err error) {
			far := tx.Now.Add(1000 * hour)
			n, err = tx.Sweep(1000, far, far, far)
			return err
		}))
		return n
	}
	count()
	for range 50 {
		h.Leave(t, auth.Wish{Provider: "google"})
	}
	h.Clock.Advance(100 * hour)
	if n := count(); n != 0 {
		t.Errorf("fifty journeys left %d rows", n)
	}
}
