package social_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"gatehouse/internal/fetch"
	"gatehouse/internal/social"
)

const discoveryPath = "/.well-known/openid-configuration"

func (k *keeper) signIn(t *testing.T, p *social.Providers) error {
	t.Helper()
	_, err := p.IDToken(t.Context(), acme, social.Token{Raw: k.made("", nil)})
	return err
}

func TestKeys_areAskedForOnceAnHour(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	p := k.providers()
	for range 5 {
		if err := k.signIn(t, p); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := k.count(discoveryPath), k.count("/jwks"); a != 1 || b != 1 {
		t.Errorf("asked %d and %d times, want once each", a, b)
	}
	k.pass(time.Hour)
	if err := k.signIn(t, p); err != nil {
		t.Fatal(err)
	}
	if a, b := k.count(discoveryPath), k.count("/jwks"); a != 2 || b != 2 {
		t.Errorf("after an hour: asked %d and %d times, want twice each", a, b)
	}
}

func TestKeys_aNewKeyIsFoundAtOnce(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	p := k.providers()
	if err := k.signIn(t, p); err != nil {
		t.Fatal(err)
	}
	k.pass(time.Minute)
	k.rotate("k2")
	if err := k.signIn(t, p); err != nil {
		t.Errorf("the new key: %v", err)
	}
	k.pass(time.Minute)
	k.rotate("k2") // another key under a known name
	if err := k.signIn(t, p); err != nil {
		t.Errorf("a new key of the same name: %v", err)
	}
	if n := k.count("/jwks"); n != 3 {
		t.Errorf("asked %d times, want 3", n)
	}
}

func TestKeys_madeUpKeysDoNotHaveUsAskEachTime(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	p := k.providers()
	if err := k.signIn(t, p); err != nil {
		t.Fatal(err)
	}
	forge := func(i int) {
		raw := k.sign(jose.ES256, jose.JSONWebKey{Key: otherKey(t), KeyID: fmt.Sprint("made-up-", i)}, map[string]any{"iss": k.URL, "sub": "u1"})
		_, err := p.IDToken(t.Context(), acme, social.Token{Raw: raw})
		wantKind(t, err, social.BadToken)
	}
	for i := range 20 {
		forge(i)
		k.pass(time.Second)
	}
	if n := k.count("/jwks"); n != 2 {
		t.Errorf("asked %d times in 20 seconds, want 2: one of the sign-in, one after ten seconds", n)
	}
}

func TestKeys_oldOnesGoOnWhileTheProviderIsDown(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	p := k.providers()
	if err := k.signIn(t, p); err != nil {
		t.Fatal(err)
	}
	k.set(func() { k.down = true })
	k.pass(2 * time.Hour)
	for range 10 {
		if err := k.signIn(t, p); err != nil {
			t.Fatalf("during the outage: %v", err)
		}
	}
	if a, b := k.count(discoveryPath), k.count("/jwks"); a != 2 || b != 2 {
		t.Errorf("asked %d and %d times, want one vain try each", a, b)
	}
	k.pass(6 * time.Second)
	k.set(func() { k.down = false })
	k.rotate("k2")
	if err := k.signIn(t, p); err != nil {
		t.Errorf("after the outage: %v", err)
	}

	k.set(func() { k.down = true })
	k.pass(25 * time.Hour)
	wantKind(t, k.signIn(t, p), social.Unavailable)
}

func TestKeys_aFailureIsRemembered(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	p := k.providers()
	k.set(func() { k.down = true })
	for range 10 {
		wantKind(t, k.signIn(t, p), social.Unavailable)
	}
	if n := k.count(discoveryPath); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
	k.set(func() { k.down = false })
	k.pass(6 * time.Second)
	if err := k.signIn(t, p); err != nil {
		t.Error(err)
	}
}

// F08: many who come at once are one request, also from several tenants.
func TestKeys_ofManyWhoAskOneGoes(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	c := fetch.New(fetch.Options{AllowPrivate: true})
	t.Cleanup(c.Close)
	keys := social.NewKeys(social.KeysOptions{Fetch: c, Now: k.clock})
	hold := make(chan struct{})
	k.set(func() { k.hold = hold })
	var wg sync.WaitGroup
	raw := k.made("", nil)
	for range 40 {
		p := open(t, k.clock, k.settings(), func(o *social.Options) { o.Keys = keys })
		wg.Go(func() {
			if _, err := p.IDToken(t.Context(), acme, social.Token{Raw: raw}); err != nil {
				t.Error(err)
			}
		})
	}
	close(hold)
	wg.Wait()
	if a, b := k.count(discoveryPath), k.count("/jwks"); a != 1 || b != 1 {
		t.Errorf("asked %d and %d times, want once each", a, b)
	}
}

func TestKeys_onlySoManyAreRemembered(t *testing.T) {
	t.Parallel()
	c := fetch.New(fetch.Options{AllowPrivate: true})
	t.Cleanup(c.Close)
	first := newKeeper(t)
	keys := social.NewKeys(social.KeysOptions{Fetch: c, Now: first.clock, Max: 4})
	sign := func(k *keeper) {
		first.pass(time.Second)
		p := open(t, k.clock, k.settings(), func(o *social.Options) { o.Keys = keys })
		if err := k.signIn(t, p); err != nil {
			t.Fatal(err)
		}
	}
	second := newKeeper(t)
	sign(first)
	sign(second)
	sign(first)        // used again
	sign(newKeeper(t)) // takes the place of second
	sign(first)
	sign(second)
	if a, b := first.count("/jwks"), second.count("/jwks"); a != 1 || b != 2 {
		t.Errorf("asked %d and %d times, want 1 and 2", a, b)
	}
}

func TestKeys_weakAndSecretKeysAreNone(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]string{
		"none":      `{"keys":[]}`,
		"a secret":  `{"keys":[{"kty":"oct","k":"c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMzQ"}]}`,
		"512 bits":  `{"keys":[{"kty":"RSA","e":"AQAB","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_B"}]}`,
		"no JSON":   `<html>`,
		"no set":    `[]`,
		"odd kinds": `{"keys":[{"kty":"XYZ"},7,null]}`,
	} {
		v := newVendor(t, map[string]string{"/.well-known/jwks.json": set})
		k := newKeeper(t)
		s := v.settings("kakao")
		_, err := open(t, k.clock, s).IDToken(t.Context(), "kakao", social.Token{Raw: k.made("", map[string]any{"iss": v.URL, "aud": "client"})})
		if kind := social.KindOf(err); kind != social.Failed {
			t.Errorf("%s: got %v, want %q", name, err, social.Failed)
		}
	}
}

func TestKeys_whoHangsUpTakesThemFromNobody(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	p := k.providers()
	hold := make(chan struct{})
	k.set(func() { k.hold = hold })
	raw := k.made("", nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := p.IDToken(ctx, acme, social.Token{Raw: raw})
		done <- err
	}()
	cancel()
	wantKind(t, <-done, social.Unavailable)
	close(hold)
	if _, err := p.IDToken(t.Context(), acme, social.Token{Raw: raw}); err != nil {
		t.Error(err)
	}
}
