package authtest_test

import (
	"errors"
	"testing"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/notify"
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

func TestRefuseTexts_holdsOnEveryNodeUntilItIsTakenBack(t *testing.T) {
	h := authtest.New(t)
	other := h.Again(t)
	h.RefuseTexts(&notify.PermanentError{Err: errors.New("no such number")})
	_, err := other.SignUp(t.Context(), authtest.Caller(), auth.NewUser{Phone: "4915112345678", Password: "a good password"}, authtest.Flow())
	if err != nil {
		t.Fatal(err)
	}
	if got := len(other.Texts(t, "4915112345678")); got != 0 {
		t.Errorf("%d messages, want none", got)
	}
	h.RefuseTexts(nil)
	h.Clock.Advance(time.Minute)
	if g := other.JoinByPhone(t, "4915112345678", "a good password"); g.User.Phone != "4915112345678" {
		t.Errorf("signed in as %q", g.User.Phone)
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

func TestNodes_shareAHouseAndNoConnection(t *testing.T) {
	h := authtest.New(t)
	nodes := h.Nodes(t, 3)
	if len(nodes) != 3 || nodes[0] != h || nodes[1].DB == h.DB || nodes[2].DB == nodes[1].DB || nodes[1].Service == h.Service {
		t.Fatal("want this house and two more nodes, each with a database connection and a Service of its own")
	}
	g := nodes[0].Join(t, "ann@example.com", "a good password")
	g = nodes[1].Trade(t, g.Refresh)
	if got := nodes[2].View(t, g.Access).User.Email; got != "ann@example.com" {
		t.Errorf("the third node takes the token for %q's, want ann's", got)
	}
	nodes[1].Clock.Advance(time.Hour)
	if !h.DB.Now().Equal(nodes[2].DB.Now()) {
		t.Error("the clocks of two nodes differ")
	}
	if a, b := len(nodes[2].Mails(t, "ann@example.com")), len(h.Mails(t, "ann@example.com")); a != 1 || b != 1 {
		t.Errorf("one node finds %d mails and another %d, want the same one", a, b)
	}
}

func TestFrail_losesItsDatabaseAndGetsItBack(t *testing.T) {
	h, o := authtest.Frail(t)
	h.Join(t, "ann@example.com", "a good password")
	for _, begin := range []func(testing.TB){o.Cut, o.Stall} {
		begin(t)
		_, err := h.ByPassword(t, "ann@example.com", "a good password")
		if err == nil {
			t.Error("somebody signed in without a database")
		}
		o.Mend(t)
		h.Enter(t, "ann@example.com", "a good password")
	}
}
