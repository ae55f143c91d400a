package token_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"gatehouse/internal/token"
)

// claims is an honest payload with more members.
func claims(more string) string { return strings.TrimSuffix(payload, "}") + "," + more + "}" }

func TestThreat_J05_audienceIsOneStringOrNone(t *testing.T) {
	h := newHouse(t)
	for member, want := range map[string]token.Audience{
		`"aud":"app"`: "app", `"aud":["app"]`: "app", `"aud":""`: "", `"aud":[]`: "", `"aud":null`: "", `"x":1`: "",
	} {
		if got := accepted(t, h.Keys, h.sign(claims(member))).Audience; got != want {
			t.Errorf("%s: read as %q, want %q", member, got, want)
		}
	}
	for _, aud := range []string{`["app","other"]`, `["app","app"]`, `["",""]`, `7`, `0`, `true`, `{}`, `{"app":true}`, `[1]`, `[["app"]]`, `[{}]`} {
		refused(t, h.Keys, "aud "+aud, h.sign(claims(`"aud":`+aud)))
	}
	// Written, it is a plain string, and none at all when there is none.
	for aud, want := range map[token.Audience]string{"app": `"aud":"app"`, "": ""} {
		b, err := json.Marshal(token.Claims{Audience: aud})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(b), `"aud"`); got != (want != "") || !strings.Contains(string(b), want) {
			t.Errorf("written: %s", b)
		}
	}
}

func TestThreat_J06_tokenOfTheHouseMustExpire(t *testing.T) {
	h := newHouse(t)
	brought := newRing(t, token.Secret("", []byte(shared), true))
	for _, p := range []string{`{"sub":"x"}`, `{"sub":"x","exp":null}`, `{"role":"service_role","nbf":1}`} {
		refused(t, h.Keys, p, h.sign(p))
		// Service keys from before the move have no end, and live on.
		if c := accepted(t, brought, forge(`{"alg":"HS256"}`, p, hs256(shared))); !c.Foreign || !c.Expires().IsZero() {
			t.Errorf("%s: %+v", p, c)
		}
	}
	// What only looks like "no end" is one.
	for _, exp := range []string{"0", "-1", "-62135596800", "-9223372036854775808", "1e-300", `""`, `"soon"`, "true", "[]", "{}", "1e400", "-1e400"} {
		p := `{"sub":"x","exp":` + exp + `}`
		refused(t, h.Keys, p, h.sign(p))
		refused(t, brought, p, forge(`{"alg":"HS256"}`, p, hs256(shared)))
	}
	// Past the end of the integers: refused or far away, but never "none".
	for _, exp := range []string{"9223372036854775807", "9223372036854775808", "1e19", "1e300", "-1e300"} {
		p := `{"sub":"x","exp":` + exp + `}`
		for range 2 {
			c, err := brought.Verify(forge(`{"alg":"HS256"}`, p, hs256(shared)), at(issuedAt))
			if err == nil && c.Expires().IsZero() {
				t.Errorf("%s: read as no end", p)
			}
		}
	}
}

func TestThreat_J06_tamperedAndExpiredIsFirstOfAllTampered(t *testing.T) {
	h := newHouse(t)
	old := fmt.Sprintf(`{"sub":%q,"exp":%d}`, subject, issuedAt-1)
	raw := h.sign(old)
	_, err := h.Verify(raw, at(issuedAt))
	if !errors.Is(err, token.ErrInvalid) || errors.Is(err, jwt.ErrTokenSignatureInvalid) {
		t.Errorf("expired: %v", err)
	}
	parts := strings.Split(raw, ".")
	for _, sig := range []string{"", "AAAA", b64(es256(newEC(t))(parts[0] + "." + parts[1]))} {
		_, err := h.Verify(parts[0]+"."+parts[1]+"."+sig, at(issuedAt))
		if !errors.Is(err, token.ErrInvalid) || !errors.Is(err, jwt.ErrTokenSignatureInvalid) || errors.Is(err, jwt.ErrTokenExpired) {
			t.Errorf("tampered and expired: %v", err)
		}
	}
}

// S15: the end is the end; only the beginning is given ten seconds.
func TestThreat_S15_clockEdges(t *testing.T) {
	for _, cached := range []bool{false, true} {
		for _, c := range []struct {
			claims string
			now    time.Time
			want   bool
		}{
			{fmt.Sprintf(`"exp":%d`, issuedAt), at(issuedAt - 1), true},
			{fmt.Sprintf(`"exp":%d`, issuedAt), at(issuedAt).Add(-time.Nanosecond), true},
			{fmt.Sprintf(`"exp":%d`, issuedAt), at(issuedAt), false},
			{fmt.Sprintf(`"exp":%d`, issuedAt), at(issuedAt + 9), false},
			{fmt.Sprintf(`"exp":%d`, issuedAt), at(issuedAt + 11), false},
			{fmt.Sprintf(`"exp":%d`, issuedAt), at(issuedAt + 1e9), false},
		} {
			h := newHouse(t)
			raw := h.sign("{" + c.claims + "}")
			if cached {
				if _, err := h.Verify(raw, at(issuedAt-60)); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := h.Verify(raw, c.now); (err == nil) != c.want {
				t.Errorf("{%s} at %s, cached %v: %v", c.claims, c.now, cached, err)
			}
		}
	}
	for _, c := range []struct {
		nbf  int64
		want bool
	}{{issuedAt - 1, true}, {issuedAt, true}, {issuedAt + 10, true}, {issuedAt + 11, false}, {issuedAt + 3600, false}} {
		h := newHouse(t)
		raw := h.sign(fmt.Sprintf(`{"exp":%d,"nbf":%d}`, issuedAt+7200, c.nbf))
		if _, err := h.Verify(raw, at(issuedAt)); (err == nil) != c.want {
			t.Errorf("nbf %+d: %v", c.nbf-issuedAt, err)
		}
		if _, err := h.Verify(raw, at(c.nbf)); err != nil {
			t.Errorf("refused once, refused for good: %v", err)
		}
	}
}

func TestThreat_J10_whatTwoReadersReadInTwoWaysIsRefused(t *testing.T) {
	h := newHouse(t)
	for _, p := range []string{
		payload, " " + payload + "\n", claims(`"custom":{"role":"a","Role":"b"}`), claims(`"Custom":1,"other":2`),
		claims(`"user_metadata":{"exp":1,"exp":2}`), claims(`"deep":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000)),
	} {
		accepted(t, h.Keys, h.sign(p))
	}
	for _, p := range []string{
		claims(`"exp":99999999999`), claims(`"exp":1`), claims(`"role":"service_role"`), claims(`"sub":"somebody else"`),
		claims(`"r\u006fle":"service_role"`), claims(`"custom":1,"custom":2`), claims(`"custom":1,"Custom":2`), claims(`"":1,"":2`),
		claims(`"Exp":99999999999`), claims(`"ROLE":"service_role"`), claims(`"ſub":"long s"`), claims(`"session_ID":""`), claims(`"AUD":"x"`),
		`{"Sub":"x","exp":99999999999}`, `{"ROLE":"service_role","exp":99999999999}`, `{"iſſ":"x","exp":99999999999}`, `{"sub":"x","EXP":99999999999}`,
		claims(`"deep":` + strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001)), claims(`"deep":` + strings.Repeat(`{"a":`, 8000) + "1" + strings.Repeat("}", 7999)),
		payload + "{}", payload + payload, payload + "x", payload + "\x00", payload + "]", "\ufeff" + payload, "\xff\xfe" + payload,
		claims("\"name\":\"\xff\""), claims("\"\xff\":1"), claims("\"name\":\"\xc0\xaf\""), claims("\"name\":\"\xed\xa0\x80\""),
		"null", "true", "0", `""`, "[]", "[" + payload + "]", "", "{", "{}x", `{"exp":99999999999,}`, `{'exp':99999999999}`, `{"exp":99999999999 /* */}`,
	} {
		refused(t, h.Keys, "payload "+p[:min(120, len(p))], h.sign(p))
	}
	kid := `"kid":"` + h.key.ID + `"`
	for _, head := range []string{
		`{"alg":"none","alg":"ES256",` + kid + `}`, `{"alg":"ES256","alg":"ES256",` + kid + `}`, `{"ALG":"none","alg":"ES256",` + kid + `}`,
		`{"alg":"ES256","kid":"x",` + kid + `}`, `{"alg":"ES256","Kid":"x",` + kid + `}`, h.header() + "{}", "\ufeff" + h.header(), h.header() + "\x00",
		`{"alg":"ES256",` + kid + ",\"x\":\"\xff\"}", "null", "[" + h.header() + "]", `"ES256"`, "",
	} {
		refused(t, h.Keys, "header "+head, forge(head, payload, es256(h.priv)))
	}
}

// The same rules for tokens of a key the operator brought: there somebody
// else chose the names of the members.
func TestThreat_J10_foreignTokensAreReadAsStrictly(t *testing.T) {
	ring := newRing(t, token.Secret("", []byte(shared), true))
	accepted(t, ring, forge(`{"alg":"HS256"}`, `{"role":"authenticated","custom":"service_role"}`, hs256(shared)))
	for _, p := range []string{`{"role":"authenticated","Role":"service_role"}`, `{"Role":"service_role"}`, `{"role":"a","role":"service_role"}`, "null"} {
		refused(t, ring, p, forge(`{"alg":"HS256"}`, p, hs256(shared)))
	}
}

// Every member of Claims, in another case, is refused: a claim added to the
// struct and not to the list would be read from "Claim" too.
func TestThreat_J10_everyClaimIsGuardedAgainstItsTwin(t *testing.T) {
	h := newHouse(t)
	typ := reflect.TypeFor[token.Claims]()
	for i := range typ.NumField() {
		name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		twin := strings.ToUpper(name)
		refused(t, h.Keys, twin, h.sign(fmt.Sprintf(`{"custom":1,%q:null}`, twin)))
		_, err := h.Verify(h.sign(fmt.Sprintf(`{"exp":%d,%q:null}`, issuedAt+60, twin)), at(issuedAt))
		if err == nil || !strings.Contains(err.Error(), "two ways") {
			t.Errorf("%s beside nothing: %v", twin, err)
		}
	}
}

func TestThreat_J10_oneTokenHasOneSpelling(t *testing.T) {
	for alg, ring := range map[string]*token.Keys{
		"HS256": newRing(t, token.Secret("", []byte(shared), true)), "EdDSA": newRing(t, parse(t, jwk(t, testEd(), "ed", signs))...),
	} {
		raw, err := ring.Sign(token.Claims{Subject: subject, ExpiresAt: numeric(issuedAt + 60)}, at(issuedAt))
		if err != nil {
			t.Fatal(err)
		}
		accepted(t, ring, raw)
		for i := range len(raw) { // every byte counts, the last bits of the signature too
			for _, b := range []byte{raw[i] ^ 1, raw[i] ^ 2, raw[i] ^ 0x20, raw[i] ^ 0x80} {
				refused(t, ring, fmt.Sprintf("%s, byte %d", alg, i), raw[:i]+string(b)+raw[i+1:])
			}
			for _, more := range []string{"\n", "\r", " ", "=", "A", "\x00", "\u200b"} {
				refused(t, ring, fmt.Sprintf("%s, %q at %d", alg, more, i), raw[:i]+more+raw[i:])
			}
			refused(t, ring, "cut", raw[:i])
		}
		for _, more := range []string{"\n", "\r\n", "\r\n\r\n", " ", "=", "==", "A", ".", "\x00", "%0a"} {
			refused(t, ring, fmt.Sprintf("%s and %q", alg, more), raw+more)
		}
		parts := strings.Split(raw, ".")
		for i, p := range parts {
			b, err := base64.RawURLEncoding.DecodeString(p)
			if err != nil {
				t.Fatal(err)
			}
			for _, enc := range []*base64.Encoding{base64.URLEncoding, base64.StdEncoding, base64.RawStdEncoding} {
				other := append([]string{}, parts...)
				other[i] = enc.EncodeToString(b)
				if other[i] != p {
					refused(t, ring, "another base64", strings.Join(other, "."))
				}
			}
		}
	}
}

func TestThreat_S08_otherKindsOfTokensAreRefused(t *testing.T) {
	h := newHouse(t)
	with := func(typ string) string {
		return forge(`{"alg":"ES256","kid":"`+h.key.ID+`","typ":`+typ+`}`, payload, es256(h.priv))
	}
	for _, typ := range []string{`"JWT"`, `"jwt"`, `"Jwt"`} {
		accepted(t, h.Keys, with(typ))
	}
	for _, typ := range []string{
		`"at+jwt"`, `"AT+JWT"`, `"application/at+jwt"`, `"logout+jwt"`, `"dpop+jwt"`, `"secevent+jwt"`, `"token-introspection+jwt"`, `"oauth-authz-req+jwt"`,
		`"id_token"`, `"JOSE"`, `"application/jwt"`, `"JWT "`, `""`, `null`, `1`, `true`, `["JWT"]`, `["at+jwt"]`, `{"JWT":1}`,
	} {
		refused(t, h.Keys, "typ "+typ, with(typ))
	}
	// The two kinds of Gatehouse itself.
	refresh := sampleRefresh().String(tenantA, macA)
	refused(t, h.Keys, "a refresh token", refresh)
	refused(t, h.Keys, "a refresh token in three parts", refresh+"."+refresh+"."+refresh)
	for _, raw := range append(strings.Split(h.sign(payload), "."), h.sign(payload)) {
		if r, ok := token.ParseRefresh(raw, tenantA, macA); ok {
			t.Errorf("an access token was read as %+v", r)
		}
	}
}

func TestThreat_D10_longestTokenIsBounded(t *testing.T) {
	h := newHouse(t)
	sized := func(n int) string { return h.sign(claims(`"pad":"` + strings.Repeat("x", n) + `"`)) }
	const limit = 64 << 10
	base := len(sized(0))
	for _, c := range []struct {
		size int
		want bool
	}{{limit - 10, true}, {limit + 10, false}, {limit * 20, false}} {
		raw := sized(int(math.Round(float64(c.size-base) * 3 / 4)))
		_, err := h.Verify(raw, at(issuedAt))
		if (err == nil) != c.want {
			t.Errorf("%d bytes: %v", len(raw), err)
		}
		// Too long to be a token at all: no reason to look for its key.
		if stranger := newHouse(t); stranger.Knows(raw) == c.want {
			t.Errorf("%d bytes of another key: known %v", len(raw), !c.want)
		}
	}
}
