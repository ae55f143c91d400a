package authtest

import (
	"context"
	"sync"
	"testing"

	"gatehouse/internal/auth"
	"gatehouse/internal/secret"
)

// Elsewhere keeps people's accounts, as a provider does. Here it is the test that
// says what is in them; how providers are asked is package social's affair.
type Elsewhere struct {
	mu       sync.Mutex
	accounts map[string]auth.Account // by code, which is good once
	now      map[string]auth.Account // by access token, which is good until it is not
	down     error                   // what asking again ends in
	asked    int
}

func newElsewhere() *Elsewhere {
	return &Elsewhere{accounts: map[string]auth.Account{}, now: map[string]auth.Account{}}
}

// Person is a proved account, with a token to ask about it again.
func Person(provider, subject, email string) auth.Account {
	return auth.Account{
		Provider: provider, Issuer: "https://" + provider + ".example", Subject: subject, Email: email, EmailVerified: email != "", AMR: "oauth",
		Data:   map[string]any{"sub": subject, "email": email, "email_verified": email != "", "full_name": "Somebody"},
		Tokens: auth.Tokens{Access: "at-" + subject, Refresh: "rt-" + subject},
	}
}

// Code is what the owner of an account comes back with from the provider's pages.
func (e *Elsewhere) Code(a auth.Account) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	code := secret.Token()
	e.accounts[code] = a
	e.now[a.Tokens.Access] = a
	return code
}

// Says changes what the provider answers when it is asked again with the tokens
// of an account.
func (e *Elsewhere) Says(a auth.Account) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.now[a.Tokens.Access] = a
}

// Refuses has it answer with an error when it is asked again, or about an ID token,
// until it is nil again.
func (e *Elsewhere) Refuses(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.down = err
}

func (e *Elsewhere) refuses() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.down
}

// Asked is how often it was asked again.
func (e *Elsewhere) Asked() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.asked
}

func (e *Elsewhere) trade(code string) (auth.Account, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	a, ok := e.accounts[code]
	delete(e.accounts, code)
	if !ok {
		return a, &auth.Error{Code: auth.ProviderCode}
	}
	return a, nil
}

// bySocial and byIDToken are the two ways accounts come here.
type (
	bySocial  struct{ *Elsewhere }
	byIDToken struct{ *Elsewhere }
)

func (bySocial) Name() string  { return "social" }
func (byIDToken) Name() string { return "idtoken" }

func (bySocial) Start(_ context.Context, _ *auth.Kit, j *auth.Journey) (string, error) {
	return "https://" + j.Provider + ".example/authorize?state=" + j.State, nil
}

func (e bySocial) Finish(_ context.Context, k *auth.Kit, in auth.Input) (auth.Verdict, error) {
	a, err := e.trade(in.Token)
	if err == nil && in.Journey.Provider != a.Provider {
		err = &auth.Error{Code: auth.ProviderFailed}
	}
	if err != nil {
		return nil, err
	}
	return k.Vouch(in, a), nil
}

func (e byIDToken) Finish(_ context.Context, k *auth.Kit, in auth.Input) (auth.Verdict, error) {
	if down := e.refuses(); down != nil {
		return nil, down
	}
	a, err := e.trade(in.Token)
	if err != nil {
		return nil, &auth.Error{Code: auth.IDTokenFailed}
	}
	return k.Vouch(in, a), nil
}

func (e bySocial) Recheck(_ context.Context, _ *auth.Kit, _ string, t auth.Tokens) (auth.Account, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked++
	return e.now[t.Access], e.down
}

func (e bySocial) Renew(_ context.Context, _ *auth.Kit, _ string, t auth.Tokens) (auth.Tokens, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return auth.Tokens{Access: t.Access + "+", Refresh: ""}, e.down
}

// Leave has somebody set out for an account elsewhere, and returns what their
// browser keeps.
func (h *House) Leave(t testing.TB, w auth.Wish) *auth.Departure {
	t.Helper()
	w.Method = "social"
	d, err := h.SetOut(t.Context(), Caller(), w)
	if err != nil {
		t.Fatalf("set out: %v", err)
	}
	return d
}

// Arrive has them come back with an account.
func (h *House) Arrive(t testing.TB, d *auth.Departure, a auth.Account) (*auth.Grant, error) {
	t.Helper()
	j, err := h.Return(t.Context(), Caller(), d.State, d.Sealed)
	if err != nil {
		return nil, err
	}
	return h.SignIn(t.Context(), Caller(), "social", auth.Input{Journey: j, Token: h.Elsewhere.Code(a), Flow: Flow()}, true)
}

// ByAccount signs somebody in with an account elsewhere.
func (h *House) ByAccount(t testing.TB, a auth.Account) (*auth.Grant, error) {
	t.Helper()
	return h.Arrive(t, h.Leave(t, auth.Wish{Provider: a.Provider}), a)
}
