package token_test

import (
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"gatehouse/internal/token"
)

func TestThreat_J07_millionDotsCostNothing(t *testing.T) {
	h := newHouse(t)
	dots := strings.Repeat(".", 1_000_000)
	for _, raw := range []string{dots, h.sign(payload) + dots, dots + h.sign(payload), strings.Repeat("a.", 500_000), strings.Repeat(".", 60_000)} {
		refused(t, h.Keys, "dots", raw)
		if !h.Knows(raw) {
			t.Error("rubbish makes the ring be read again")
		}
		if n := testing.AllocsPerRun(3, func() { _, _ = h.Verify(raw, at(issuedAt)); h.Knows(raw) }); n > 30 {
			t.Errorf("%d bytes of dots: %v allocations", len(raw), n)
		}
	}
}

func TestThreat_J08_encryptedOrPackedTokensAreRefused(t *testing.T) {
	h := newHouse(t)
	bomb := b64([]byte(`{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2c":2147483647,"p2s":"AAAA","zip":"DEF"}`))
	five := strings.Join([]string{bomb, "AAAA", "AAAA", "AAAA", "AAAA"}, ".")
	refused(t, h.Keys, "a JWE", five)
	if !h.Knows(five) {
		t.Error("a JWE makes the ring be read again")
	}
	for _, alg := range []string{"PBES2-HS256+A128KW", "PBES2-HS512+A256KW", "dir", "RSA1_5", "RSA-OAEP", "ECDH-ES", "A128KW", "A128GCMKW"} {
		head := fmt.Sprintf(`{"alg":%q,"kid":%q,"enc":"A128GCM","p2c":2147483647,"p2s":"AAAA","zip":"DEF"}`, alg, h.key.ID)
		refused(t, h.Keys, alg, forge(head, payload, es256(h.priv)))
	}
	refused(t, h.Keys, "JSON", `{"protected":"`+bomb+`","encrypted_key":"","iv":"","ciphertext":"","tag":""}`)
}

func TestThreat_J09_whatIsNotUnderstoodIsRefused(t *testing.T) {
	h := newHouse(t)
	for _, more := range []string{
		`"crit":["exp"]`, `"crit":["b64"],"b64":false`, `"crit":["b64"],"b64":true`, `"crit":[]`, `"crit":null`, `"crit":"exp"`, `"crit":["http://example.com/x"],"http://example.com/x":1`,
		`"b64":false`, `"b64":true`, `"b64":null`,
	} {
		refused(t, h.Keys, more, forge(strings.TrimSuffix(h.header(), "}")+","+more+"}", payload, es256(h.priv)))
	}
	// RFC 7797: the payload as it is.
	text := b64([]byte(strings.TrimSuffix(h.header(), "}")+`,"b64":false,"crit":["b64"]}`)) + "." + payload
	refused(t, h.Keys, "a plain payload", text+"."+b64(es256(h.priv)(text)))
	accepted(t, h.Keys, forge(strings.TrimSuffix(h.header(), "}")+`,"cty":"x","custom":1}`, payload, es256(h.priv)))
}

func TestThreat_J11_anotherHousesKeyIsNone(t *testing.T) {
	ours, theirs := newHouse(t), newHouse(t)
	accepted(t, theirs.Keys, theirs.sign(payload))
	refused(t, ours.Keys, "their token", theirs.sign(payload))
	refused(t, ours.Keys, "their signature under our kid", forge(ours.header(), payload, es256(theirs.priv)))
}

func TestThreat_J12_verdictServesNoOtherToken(t *testing.T) {
	h := newHouse(t)
	good, other := h.sign(payload), h.sign(claims(`"x":1`))
	accepted(t, h.Keys, good)
	accepted(t, h.Keys, other)
	p, o := strings.Split(good, "."), strings.Split(other, ".")
	for what, raw := range map[string]string{
		"no signature":            p[0] + "." + p[1] + ".",
		"signature of another":    p[0] + "." + p[1] + "." + o[2],
		"a signature of its own":  p[0] + "." + p[1] + "." + b64(es256(newEC(t))(p[0]+"."+p[1])),
		"payload of another":      p[0] + "." + o[1] + "." + p[2],
		"header of another":       b64([]byte(`{"alg":"ES256","kid":"`+h.key.ID+`","x":1}`)) + "." + p[1] + "." + p[2],
		"parts moved by one byte": p[0] + "." + p[1] + p[2][:1] + "." + p[2][1:],
	} {
		refused(t, h.Keys, what, raw)
		accepted(t, h.Keys, good) // and the refusal spoils nothing
	}
}

func TestThreat_J12_oneCallersClaimsAreNotTheNexts(t *testing.T) {
	h := newHouse(t)
	raw := h.sign(payload)
	c := accepted(t, h.Keys, raw)
	c.Role, c.Subject, c.Foreign, c.ExpiresAt = "service_role", "somebody else", true, nil
	if again := accepted(t, h.Keys, raw); again.Role != "authenticated" || again.Subject != subject || again.Foreign || again.ExpiresAt == nil {
		t.Errorf("the cache was written to: %+v", again)
	}
}

// Metadata may be 64 KiB of a token: eight thousand remembered verdicts would
// weigh half a gigabyte. Nobody reads it there: the database says it better.
func TestThreat_D10_rememberedVerdictsHoldNoMetadata(t *testing.T) {
	h := newHouse(t)
	text := claims(`"app_metadata":{"roles":["admin"]},"user_metadata":{"n":1},"amr":[{"method":"password","timestamp":1}],"email":"ann@example.com"`)
	raw := h.sign(text)
	for _, time := range []string{"first", "second"} {
		c := accepted(t, h.Keys, raw)
		if c.AppMetadata != nil || c.UserMetadata != nil || c.AMR != nil {
			t.Errorf("the %s time the claims hold %s, %s and %s; want none of them", time, c.AppMetadata, c.UserMetadata, c.AMR)
		}
		if c.Email != "ann@example.com" || c.Subject != subject || c.Role != "authenticated" {
			t.Errorf("the %s time the claims are %+v", time, c)
		}
	}

	const tokens, each = 200, 32 << 10
	ring := newRing(t, token.Secret("", []byte(shared), true))
	filler := strings.Repeat("x", each)
	before := heap()
	for i := range tokens {
		accepted(t, ring, forge(`{"alg":"HS256"}`, fmt.Sprintf(`{"sub":"%d","user_metadata":{"x":%q}}`, i, filler), hs256(shared)))
	}
	if grown := heap() - before; grown > tokens*each/4 {
		t.Errorf("%d tokens with %d bytes of metadata each are remembered in %d bytes", tokens, each, grown)
	}
	runtime.KeepAlive(ring)
}

// heap is how many bytes are in use.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what the first one had still to sweep
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestThreat_J12_floodOfTokensNeverMixesThem(t *testing.T) {
	ring := newRing(t, token.Secret("", []byte(shared), true))
	const flood = 10_000 // more than the cache holds
	raws := make([]string, flood)
	for i := range raws {
		raws[i] = forge(`{"alg":"HS256"}`, fmt.Sprintf(`{"sub":"%d"}`, i), hs256(shared))
	}
	for round := range 2 {
		for i, raw := range raws {
			if c := accepted(t, ring, raw); c.Subject != fmt.Sprint(i) {
				t.Fatalf("round %d: token %d was read as %s's", round, i, c.Subject)
			}
		}
	}
}

func TestThreat_J12_replacedKeysVerifyNothing(t *testing.T) {
	h := newHouse(t)
	raw := h.sign(payload)
	accepted(t, h.Keys, raw)
	accepted(t, h.Keys, raw) // out of the cache
	next, _, err := token.NewES256(at(issuedAt))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Replace(next); err != nil {
		t.Fatal(err)
	}
	refused(t, h.Keys, "signed with a key that is gone", raw)
	// Another key of the same name is another key.
	if err := h.Replace(parse(t, jwk(t, newEC(t), h.key.ID, signs))...); err != nil {
		t.Fatal(err)
	}
	refused(t, h.Keys, "signed with the key of that name before", raw)
	if err := h.Replace(); err != nil {
		t.Fatal(err)
	}
	refused(t, h.Keys, "an empty ring", raw)
	if _, err := h.Sign(token.Claims{}, at(issuedAt)); err == nil {
		t.Error("an empty ring signs")
	}
	if err := h.Replace(h.key); err != nil {
		t.Fatal(err)
	}
	accepted(t, h.Keys, raw)
}

// A ring that cannot be put in place leaves the one there was.
func TestThreat_J12_failedReplaceChangesNothing(t *testing.T) {
	h := newHouse(t)
	if err := h.Replace(token.Secret("", nil, true)); err == nil {
		t.Fatal("an empty secret was put in place")
	}
	accepted(t, h.Keys, h.sign(payload))
	refused(t, h.Keys, "signed with the empty secret", forge(`{"alg":"HS256"}`, payload, hs256("")))
}

func TestKeys_mayBeReplacedWhileTokensAreRead(t *testing.T) {
	h := newHouse(t)
	raw := h.sign(payload)
	next, _, err := token.NewES256(at(issuedAt - 5))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				c, err := h.Verify(raw, at(issuedAt))
				if err != nil || c.Subject != subject {
					t.Errorf("got %+v, %v", c, err)
				}
				mine, err := h.Sign(token.Claims{ExpiresAt: numeric(issuedAt + 60)}, at(issuedAt))
				if err != nil || !h.Knows(mine) {
					t.Error("signed with an unknown key", err)
				}
				h.JWKS()
			}
		})
		wg.Go(func() {
			for i := range 50 {
				keys := []token.Key{h.key, next}
				if i%2 == 0 {
					slices.Reverse(keys)
				}
				if err := h.Replace(keys...); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestThreat_J13_onlyAKeyThatIsMissingIsWorthALook(t *testing.T) {
	h := newHouse(t)
	later := newHouse(t)
	raw := later.sign(payload)
	refused(t, h.Keys, "a key of tomorrow", raw)
	if h.Knows(raw) {
		t.Error("the ring knows a key it does not have")
	}
	if !h.Knows(h.sign(payload)) {
		t.Error("the ring does not know its own key")
	}
	good := h.sign(payload)
	for _, rubbish := range []string{"", ".", "..", "a.b.c", raw[1:], raw + ".", strings.Replace(raw, ".", "", 1), good[:len(good)-4], strings.Repeat(raw, 300)} {
		if !h.Knows(rubbish) {
			t.Errorf("rubbish makes the ring be read again: %.60q", rubbish)
		}
	}
	before, tag := h.JWKS()
	if again, sameTag := h.JWKS(); tag != sameTag || string(again) != string(before) {
		t.Error("the key set changes by being read")
	}
	if err := h.Replace(h.key, later.key); err != nil {
		t.Fatal(err)
	}
	accepted(t, h.Keys, raw) // the refusal was not remembered
	if body, newTag := h.JWKS(); newTag == tag || string(body) == string(before) {
		t.Error("a new key, and the same entity tag")
	}
	if len(tag) < 18 || tag[0] != '"' || tag[len(tag)-1] != '"' || strings.Contains(tag[1:len(tag)-1], `"`) { // RFC 9110 §8.8.3
		t.Errorf("not an entity tag: %s", tag)
	}
}

func TestThreat_J14_keySetHoldsNothingSecret(t *testing.T) {
	ec, idle := newEC(t), newEC(t)
	keys := append(parse(t,
		jwk(t, ec, "ec", signs), jwk(t, idle, "idle", ""), jwk(t, testRSA(), "rsa", `"key_ops":["verify"]`), jwk(t, testEd(), "ed", ""),
		jwk(t, []byte(shared), "oct", ""), jwk(t, []byte(shared), "", ""),
	), token.Secret("env", []byte(shared), false), newHouse(t).key)
	body, _ := newRing(t, keys...).JWKS()
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal(body, &set); err != nil {
		t.Fatal(err)
	}
	if got, want := len(set.Keys), 5; got != want {
		t.Errorf("%d keys published, want %d: %s", got, want, body)
	}
	public := []string{"kty", "use", "key_ops", "alg", "kid", "crv", "x", "y", "n", "e"} // RFC 7518 §6
	for _, k := range set.Keys {
		for name := range k {
			if !slices.Contains(public, name) {
				t.Errorf("%v publishes %q", k["kid"], name)
			}
		}
		if k["kty"] == "oct" || k["use"] != "sig" || k["kid"] == "" || fmt.Sprint(k["key_ops"]) != "[verify]" {
			t.Errorf("published: %v", k)
		}
	}
	// Whatever a member is called: no secret number is there in any encoding.
	secrets := [][]byte{[]byte(shared), testEd().Seed(), testRSA().D.Bytes(), testRSA().Primes[0].Bytes(), testRSA().Primes[1].Bytes()}
	for _, k := range []*ecdsa.PrivateKey{ec, idle} {
		d, err := k.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, d)
	}
	for i, s := range secrets {
		for _, text := range []string{string(s), b64(s), base64.StdEncoding.EncodeToString(s), fmt.Sprintf("%x", s), b64(s)[:20]} {
			if strings.Contains(string(body), text) {
				t.Errorf("secret %d is in the key set", i)
			}
		}
	}
	// Another library finds only public keys, all whole.
	var read jose.JSONWebKeySet
	if err := json.Unmarshal(body, &read); err != nil {
		t.Fatal(err)
	}
	for _, k := range read.Keys {
		if !k.IsPublic() || !k.Valid() {
			t.Errorf("%s is not a whole public key", k.KeyID)
		}
	}
	if body, _ := newRing(t, token.Secret("env", []byte(shared), true)).JWKS(); string(body) != `{"keys":[]}` {
		t.Errorf("of a secret is published: %s", body)
	}
}

func TestThreat_J17_rubbishIsRefusedQuietly(t *testing.T) {
	h := newHouse(t, token.Secret("", []byte(shared), false))
	good := h.sign(payload)
	null, arr := b64([]byte("null")), b64([]byte("[]"))
	rubbish := []string{
		"", " ", ".", "..", "...", "a", "a.b", "a.b.c", "a.b.c.d", "Bearer", "Bearer " + good, "bearer " + good, good + " ", " " + good, "\t" + good, good + "\n",
		`"` + good + `"`, "<" + good + ">", "null", "undefined", "{}", "[object Object]", "\x00", "\x00.\x00.\x00", "\xff.\xff.\xff", "é.é.é", "💩.💩.💩",
		null + "." + null + ".", null + "." + null + "." + null, arr + "." + arr + "." + arr, "..AAAA", "AAAA..", ".AAAA.", good + "," + good, good + "\x00",
		b64([]byte("{}")) + "." + b64([]byte("{}")) + ".", b64([]byte(`{"alg":"HS256"}`)) + "." + null + ".", "eyJ.eyJ.eyJ", "%2e%2e.%00.%ff", strings.Repeat("=", 100), strings.Repeat("A", 70_000),
	}
	for _, raw := range rubbish {
		refused(t, h.Keys, fmt.Sprintf("%.60q", raw), raw)
		h.Knows(raw)
		_, err := h.Verify(raw, at(issuedAt))
		if err != nil && !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%.60q: %v", raw, err)
		}
	}
}
