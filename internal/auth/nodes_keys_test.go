package auth_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/secret"
	"gatehouse/internal/storetest"
	"gatehouse/internal/token"
)

func TestKeys_nodesThatStartAtOnceMakeOneFirstKey(t *testing.T) {
	for range 5 {
		first, _ := storetest.New(t)
		root, err := secret.NewRoot(secret.GenerateRoot())
		ok(t, "root", err)
		nodes := make([]*auth.Service, 3)
		for i := range nodes {
			nodes[i] = auth.New(auth.Options{DB: storetest.Again(t, first), Root: root, Policy: authtest.Policy()})
		}
		errs := together(len(nodes), func(i int) error { return nodes[i].LoadKeys(t.Context()) })
		ok(t, "load", errors.Join(errs...))
		jwks, tag := nodes[0].JWKS()
		for i, n := range nodes {
			keys, signing := n.Keys()
			if len(keys) != 1 || signing == "" || signing != keys[0].ID {
				t.Errorf("node %d has %d keys and %q signs, want one that signs", i, len(keys), signing)
			}
			if got, gotTag := n.JWKS(); string(got) != string(jwks) || gotTag != tag {
				t.Errorf("node %d publishes %s, another %s", i, got, jwks)
			}
		}
	}
}

const (
	keyEvery   = 90 * 24 * time.Hour
	keyOverlap = 24 * time.Hour
)

func renewing(p *auth.Policy) { p.KeyEvery, p.KeyOverlap = keyEvery, keyOverlap }

// renew has every node do, three times at one instant, what it does every hour,
// and then load what there is.
func renew(t *testing.T, nodes []*authtest.House) {
	t.Helper()
	errs := across(nodes, 3*len(nodes), func(h *authtest.House, _ int) error { return h.RenewKeys(t.Context()) })
	ok(t, "renew", errors.Join(errs...))
	for _, n := range nodes {
		ok(t, "load", n.LoadKeys(t.Context()))
	}
}

// published tells whether every node publishes a key.
func published(nodes []*authtest.House, kid string) bool {
	for _, n := range nodes {
		if jwks, _ := n.JWKS(); !strings.Contains(string(jwks), kid) {
			return false
		}
	}
	return true
}

func TestRenewKeys_makesOneKeyInTimeHoweverManyNodesAsk(t *testing.T) {
	h := authtest.New(t, authtest.With(renewing))
	nodes := h.Nodes(t, 3, authtest.With(renewing))
	_, first := h.Keys()
	count := func(what string, want int) string {
		t.Helper()
		newest := ""
		for i, n := range nodes {
			keys, _ := n.Keys()
			if len(keys) != want {
				t.Errorf("%s: node %d has %d keys, want %d", what, i, len(keys), want)
			}
			newest = keys[len(keys)-1].ID
		}
		return newest
	}
	signs := func(what, kid string) {
		t.Helper()
		for i, n := range nodes {
			if _, signing := n.Keys(); signing != kid {
				t.Errorf("%s: on node %d %s signs, want %s", what, i, signing, kid)
			}
		}
	}
	keys, _ := h.Keys()
	start := keys[0].SignsAt // from when on it counts; it signs at once
	old := h.Join(t, ann, pw)
	renew(t, nodes)
	count("at the start", 1)
	h.Clock.Set(start.Add(keyEvery - keyOverlap - time.Microsecond))
	renew(t, nodes)
	count("an instant before time", 1)

	h.Clock.Advance(time.Microsecond)
	renew(t, nodes)
	next := count("in time", 2)
	if next == first || !published(nodes, next) || !published(nodes, first) {
		t.Errorf("keys %s and %s, want both published everywhere", first, next)
	}
	signs("when the next is published", first)
	for range 6 {
		h.Clock.Advance(keyOverlap/6 - time.Second)
		renew(t, nodes)
		count("while it waits", 2)
	}
	signs("before it was published for long enough", first)
	old = h.Trade(t, old.Refresh)
	h.Clock.Set(start.Add(keyEvery - time.Microsecond))
	signs("an instant before", first)
	h.Clock.Advance(time.Microsecond) // nobody has to ask for it
	signs("at its time", next)
	young := nodes[1].Trade(t, old.Refresh)
	for _, n := range nodes {
		ok(t, "load", n.LoadKeys(t.Context()))
		lives(t, "a token of the old key", n, old)
		lives(t, "a token of the new key", n, young)
	}
	h.Clock.Advance(authtest.Policy().AccessTTL + time.Hour)
	renew(t, nodes)
	count("when no token of the old key can live", 1)

	var told []auth.Event
	for _, e := range h.Events(t, auth.UserID{}) {
		if e.Name == string(auth.SigningKeyRotated) {
			told = append(told, e)
		}
	}
	if len(told) != 1 || told[0].Actor != "system" || !strings.Contains(string(told[0].Data), next) {
		t.Errorf("%d events tell of it: %+v; want one, of %s by the system", len(told), told, next)
	}
}

// Whoever was away for years makes one key, not one for each time.
func TestRenewKeys_afterALongPauseMakesOneKey(t *testing.T) {
	h := authtest.New(t, authtest.With(renewing))
	nodes := h.Nodes(t, 3, authtest.With(renewing))
	_, first := h.Keys()
	h.Clock.Advance(10 * keyEvery)
	for range 3 {
		renew(t, nodes)
		h.Clock.Advance(2 * time.Minute) // any lease is over
	}
	keys, signing := nodes[2].Keys()
	if len(keys) != 2 || signing != first || !keys[1].SignsAt.Equal(h.Clock.Now().Add(keyOverlap-6*time.Minute)) {
		t.Errorf("%d keys, %s signs; want two, the next from a day after it was made", len(keys), signing)
	}
}

// Of most tenants nobody reads the ring again but who renews it.
func TestRenewKeys_letsGoOfAKeyWhoseTimeIsOver(t *testing.T) {
	for name, every := range map[string]time.Duration{"renewed": 10 * keyEvery, "never renewed": 0} {
		t.Run(name, func(t *testing.T) {
			h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.KeyEvery, p.KeyOverlap = every, keyOverlap }))
			_, first := h.Keys()
			ok(t, "rotate", h.RotateKeys(t.Context(), authtest.Operator(), false))
			h.Clock.Advance(keyOverlap + authtest.Policy().AccessTTL + time.Hour)
			if keys, _ := h.Keys(); len(keys) != 2 {
				t.Fatalf("%d keys, want two: nobody has read the ring anew", len(keys))
			}
			ok(t, "renew", h.RenewKeys(t.Context()))
			if keys, signing := h.Keys(); len(keys) != 1 || signing == first || published([]*authtest.House{h}, first) {
				t.Errorf("%d keys, and %q signs; want the new one alone", len(keys), signing)
			}
		})
	}
}

func TestRenewKeys_makesNoneWhereNoneIsWanted(t *testing.T) {
	for name, c := range map[string]func(*auth.Options){
		"KeyEvery is 0": func(o *auth.Options) { o.Policy.KeyEvery, o.Policy.KeyOverlap = 0, keyOverlap },
		"the key is the operator's": func(o *auth.Options) {
			renewing(&o.Policy)
			o.Keys = []token.Key{token.Secret("", []byte("a shared secret of the operator's own, long enough"), true)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := authtest.New(t, c)
			nodes := h.Nodes(t, 3, c)
			_, first := h.Keys()
			h.Clock.Advance(10 * keyEvery)
			renew(t, nodes)
			keys, signing := nodes[1].Keys()
			if len(keys) != 1 || signing != first {
				t.Errorf("%d keys and %q signs, want %q alone", len(keys), signing, first)
			}
			if got := h.Events(t, auth.UserID{}); len(got) != 0 {
				t.Errorf("events %+v, want none", got)
			}
		})
	}
}

func TestKeys_aNodeAcceptsWhatAnotherSignedWithAKeyItNeverSaw(t *testing.T) {
	h := authtest.New(t)
	nodes := h.Nodes(t, 3)
	g := h.Join(t, ann, pw)
	h.Clock.Advance(minute)
	ok(t, "rotate", nodes[0].RotateKeys(t.Context(), authtest.Operator(), true))
	g = nodes[0].Trade(t, g.Refresh)
	_, made := nodes[0].Keys()
	for i, n := range nodes[1:] {
		if published([]*authtest.House{n}, made) {
			t.Fatalf("node %d knows the key before it was asked", i+1)
		}
		lives(t, "a token of the new key", n, g)
		if !published([]*authtest.House{n}, made) {
			t.Errorf("node %d does not publish the key it verifies with", i+1)
		}
	}
}

// A running server loads its keys every few seconds. A key that is used at once,
// because the one before has leaked, must not be strange to the other nodes for
// that long: whoever refreshes would be refused on two requests of three.
func TestKeys_aNodeThatHasJustLoadedLooksAgainForAStrangeKey(t *testing.T) {
	h := authtest.New(t)
	nodes := h.Nodes(t, 2)
	g := h.Join(t, ann, pw)
	for range 3 {
		h.Clock.Advance(5 * time.Second)
		ok(t, "load", nodes[1].LoadKeys(t.Context()))
	}
	h.Clock.Advance(time.Second)
	ok(t, "rotate", nodes[0].RotateKeys(t.Context(), authtest.Operator(), true))
	lives(t, "a token of a second-old key", nodes[1], nodes[0].Trade(t, g.Refresh))
}
