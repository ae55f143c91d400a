package authtest_test

import (
	"testing"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
)

func TestNew_isAHouseOnePersonCanLiveIn(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, "ann@example.com", "a good password")
	m := h.Mail(t, "ann@example.com")
	if len(m.Code) != 6 || len(m.Token) < 40 || len(m.Links) == 0 {
		t.Errorf("mail has code %q, token %q, links %q; want all three", m.Code, m.Token, m.Links)
	}
	g = h.Trade(t, g.Refresh)
	if got := h.View(t, g.Access).User.Email; got != "ann@example.com" {
		t.Errorf("the token is %q's, want ann's", got)
	}
	other := h.Again(t, authtest.With(func(p *auth.Policy) { p.Autoconfirm = true }))
	other.Enter(t, "ann@example.com", "a good password")
	if got := other.Count(t); got != 1 {
		t.Errorf("%d users, want 1", got)
	}
}

func TestHouse_countsHashes(t *testing.T) {
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.Autoconfirm = true }))
	seen := 0
	h.DuringHash(func() { seen++ })
	h.Join(t, "ann@example.com", "a good password")
	h.Enter(t, "ann@example.com", "a good password")
	if got := h.Hashes(); got != 2 || seen != 1 {
		t.Errorf("%d hashes, hook called %d times; want 2 and 1", got, seen)
	}
}
