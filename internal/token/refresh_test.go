package token_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"gatehouse/internal/secret"
	"gatehouse/internal/store"
	"gatehouse/internal/token"
)

var (
	tenantA = store.TenantID{}
	tenantB = store.TenantID{15: 1}
)

func macOf(key byte) token.MAC {
	root, err := secret.NewRoot(bytes.Repeat([]byte{key}, 32))
	if err != nil {
		panic(err)
	}
	return func(parts ...[]byte) [32]byte { return root.MAC("refresh", parts...) }
}

var macA, macB = macOf(1), macOf(2)

func sampleRefresh() token.Refresh {
	return token.Refresh{Session: store.SessionID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, Generation: 300}
}

func drawRefresh(t *rapid.T) token.Refresh {
	var r token.Refresh
	copy(r.Session[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "session"))
	r.Generation = rapid.Int64Range(1, 1<<62).Draw(t, "generation")
	return r
}

func TestRefresh_readsBackWhatItWrote(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRefresh(t)
		var tenant store.TenantID
		copy(tenant[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "tenant"))
		raw := r.String(tenant, macA)
		got, ok := token.ParseRefresh(raw, tenant, macA)
		if !ok || got != r {
			t.Fatalf("%+v was written as %s and read as %+v, %v", r, raw, got, ok)
		}
		if strings.Trim(raw, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			t.Fatalf("a client would have to escape %s", raw)
		}
		// The successor is always the same, and another token.
		next := token.Refresh{Session: r.Session, Generation: r.Generation + 1}
		if a, b := next.String(tenant, macA), next.String(tenant, macA); a != b || a == raw {
			t.Fatalf("successors %s and %s of %s", a, b, raw)
		}
	})
}

// Computed apart from this code. If it changes, everybody is signed out by the
// update.
func TestRefresh_formatNeverChanges(t *testing.T) {
	const raw = "AQECAwQFBgcICQoLDA0ODxCsAgQIDhLYD8UhKkAa4UCDyBA"
	if got := sampleRefresh().String(tenantA, macA); got != raw {
		t.Errorf("got %s, want %s", got, raw)
	}
}

func notRefresh(t *testing.T, what, raw string) {
	t.Helper()
	if r, ok := token.ParseRefresh(raw, tenantA, macA); ok || r.Session != (store.SessionID{}) && r.Generation != 0 {
		t.Errorf("%s: %q was read as %+v", what, raw, r)
	}
}

func TestThreat_S04_everyByteOfARefreshTokenCounts(t *testing.T) {
	for _, generation := range []int64{1, 127, 128, 300, 1 << 40, 1 << 62} {
		r := sampleRefresh()
		r.Generation = generation
		raw := r.String(tenantA, macA)
		if _, ok := token.ParseRefresh(raw, tenantA, macA); !ok {
			t.Fatalf("generation %d is refused", generation)
		}
		for i := range len(raw) {
			for b := range 256 {
				if byte(b) != raw[i] {
					notRefresh(t, "changed", raw[:i]+string([]byte{byte(b)})+raw[i+1:])
				}
			}
			notRefresh(t, "cut", raw[:i])
			notRefresh(t, "cut at the front", raw[i+1:])
			notRefresh(t, "a byte left out", raw[:i]+raw[i+1:])
		}
		for i := range len(raw) + 1 {
			for _, more := range []string{"\n", "\r", "\r\n", "\n\n\n\n", " ", "\t", "\x00", "=", "A", "AA", "AAA", "AAAA", "-", "\u200b"} {
				notRefresh(t, "stretched", raw[:i]+more+raw[i:])
			}
		}
		notRefresh(t, "twice", raw+raw)
		b, err := base64.RawURLEncoding.DecodeString(raw)
		if err != nil {
			t.Fatal(err)
		}
		for i := range len(b) * 8 {
			other := bytes.Clone(b)
			other[i/8] ^= 1 << (i % 8)
			notRefresh(t, fmt.Sprintf("bit %d", i), b64(other))
		}
		for _, enc := range []*base64.Encoding{base64.URLEncoding, base64.StdEncoding, base64.RawStdEncoding} {
			if other := enc.EncodeToString(b); other != raw {
				notRefresh(t, "another base64", other)
			}
		}
	}
}

func TestThreat_S04_restOfTheLastLetterIsZero(t *testing.T) {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for _, generation := range []int64{1, 300, 1 << 20} { // lengths of every remainder by three
		r := sampleRefresh()
		r.Generation = generation
		raw := r.String(tenantA, macA)
		want, _ := base64.RawURLEncoding.DecodeString(raw)
		others := 0
		for _, l := range letters {
			other := raw[:len(raw)-1] + string(l)
			if b, _ := base64.RawURLEncoding.DecodeString(other); other != raw && bytes.Equal(b, want) {
				others++
				notRefresh(t, "other trailing bits", other)
			}
		}
		if len(want)%3 != 0 && others == 0 {
			t.Errorf("%d bytes have no second spelling: this test proves nothing", len(want))
		}
	}
}

func TestThreat_J11_refreshTokenOfAnotherTenantOrServer(t *testing.T) {
	raw := sampleRefresh().String(tenantA, macA)
	for what, ok := range map[string]bool{
		"another tenant": second(token.ParseRefresh(raw, tenantB, macA)),
		"another key":    second(token.ParseRefresh(raw, tenantA, macB)),
	} {
		if ok {
			t.Errorf("taken by %s", what)
		}
	}
	if !second(token.ParseRefresh(raw, tenantA, macA)) {
		t.Error("refused by its own")
	}
}

func second(_ token.Refresh, ok bool) bool { return ok }

// sealed writes a body with a good MAC: what a fault elsewhere could sign.
func sealed(body []byte) string {
	sum := macA(tenantA[:], body)
	return b64(append(bytes.Clone(body), sum[:16]...))
}

func TestThreat_S04_generationsThatCannotBeAreRefused(t *testing.T) {
	session := sampleRefresh().Session
	head := append([]byte{1}, session[:]...)
	with := func(tail ...byte) string { return sealed(append(bytes.Clone(head), tail...)) }
	uvarint := func(g uint64) []byte { return binary.AppendUvarint(nil, g) }
	if got, ok := token.ParseRefresh(with(uvarint(300)...), tenantA, macA); !ok || got != sampleRefresh() {
		t.Fatalf("the control: %+v, %v", got, ok)
	}
	for what, raw := range map[string]string{
		"generation 0":   with(0),
		"2^62 + 1":       with(uvarint(1<<62 + 1)...),
		"2^63":           with(uvarint(1 << 63)...),
		"2^64 - 1":       with(uvarint(math.MaxUint64)...),
		"overflow":       with(bytes.Repeat([]byte{0xff}, 10)...),
		"11 bytes":       with(append(bytes.Repeat([]byte{0x80}, 10), 1)...),
		"unfinished":     with(0x80),
		"more behind it": with(1, 0),
		"none":           with(),
		"version 0":      sealed(append(append([]byte{0}, session[:]...), 1)),
		"version 2":      sealed(append(append([]byte{2}, session[:]...), 1)),
		"short session":  sealed(append(bytes.Clone(head[:16]), 1)),
		"nothing":        sealed(nil),
	} {
		notRefresh(t, what, raw)
	}
	for _, g := range []int64{0, -1, math.MinInt64, 1<<62 + 1, math.MaxInt64} {
		notRefresh(t, fmt.Sprint(g), token.Refresh{Session: session, Generation: g}.String(tenantA, macA))
	}
	// A MAC in part is none.
	for n := range 16 {
		body := append(bytes.Clone(head), 1)
		sum := macA(tenantA[:], body)
		notRefresh(t, fmt.Sprintf("%d bytes of the MAC", n), b64(append(body, sum[:n]...)))
	}
}

func TestThreat_S04_longRefreshTokensAreNotDecoded(t *testing.T) {
	long := strings.Repeat("A", 1<<20)
	if n := testing.AllocsPerRun(10, func() { token.ParseRefresh(long, tenantA, macA) }); n > 1 { // the tenant, for the MAC
		t.Errorf("%v allocations for a megabyte of rubbish", n)
	}
}
