package secret_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"gatehouse/internal/secret"
)

// testKey is 00 01 02 … 1f.
func testKey() []byte {
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(i)
	}
	return key
}

func newRoot(t *testing.T, key []byte) *secret.Root {
	t.Helper()
	r, err := secret.NewRoot(key)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRoot_wantsExactly32Bytes(t *testing.T) {
	for _, n := range []int{0, 16, 31, 33, 64} {
		if _, err := secret.NewRoot(make([]byte, n)); err == nil {
			t.Errorf("NewRoot took a key of %d bytes", n)
		}
	}
	newRoot(t, secret.GenerateRoot())
}

// The values were computed apart from this code, from RFC 5869 and RFC 2104.
// If they change, everything ever stored is lost.
func TestRoot_derivationNeverChanges(t *testing.T) {
	r := newRoot(t, testKey())
	mac := r.MAC("refresh", []byte("ab"), []byte("c"))
	if got, want := hex.EncodeToString(mac[:]), "ae611d801560a820085178e6939f61e79a962cc5c1f09915c242718239f9ee99"; got != want {
		t.Errorf("MAC = %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(r), "root key 4cbda3ae"; got != want {
		t.Errorf("id: %s, want %s", got, want)
	}
	sealed, _ := hex.DecodeString("014cbda3ae9005363713bf5b6d53b9ac816335fae6e7882c15e20c5a6ffe5fa9491ffab6196eecd377607e407ac48fb784d1107c7a1b06d72e6a0742")
	if plain, err := r.Open("totp", []byte("user 1"), sealed); err != nil || string(plain) != "sealed by the first version" {
		t.Errorf("Open = %q, %v", plain, err)
	}
}

func TestRoot_MACsDifferByPurposePartsAndKey(t *testing.T) {
	a, b := newRoot(t, testKey()), newRoot(t, secret.GenerateRoot())
	seen := map[[32]byte]string{}
	for name, mac := range map[string][32]byte{
		"ab c":          a.MAC("p", []byte("ab"), []byte("c")),
		"a bc":          a.MAC("p", []byte("a"), []byte("bc")),
		"abc":           a.MAC("p", []byte("abc")),
		"abc and empty": a.MAC("p", []byte("abc"), nil),
		"nothing":       a.MAC("p"),
		"empty":         a.MAC("p", nil),
		"other purpose": a.MAC("q", []byte("ab"), []byte("c")),
		"other key":     b.MAC("p", []byte("ab"), []byte("c")),
	} {
		if other, ok := seen[mac]; ok {
			t.Errorf("%q and %q have one MAC", name, other)
		}
		seen[mac] = name
	}
}

func TestRoot_isTheSameForManyAtOnce(t *testing.T) {
	r := newRoot(t, testKey())
	want := newRoot(t, testKey()).MAC("p", []byte("x"))
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if got := r.MAC("p", []byte("x")); got != want {
				t.Errorf("MAC = %x, want %x", got, want)
			}
			if plain, err := r.Open("p", nil, r.Seal("p", nil, []byte("x"))); err != nil || string(plain) != "x" {
				t.Errorf("Open = %q, %v", plain, err)
			}
		})
	}
	wg.Wait()
}

func TestRoot_keepsACopyOfTheKey(t *testing.T) {
	key := testKey()
	r := newRoot(t, key)
	clear(key)
	if r.MAC("p") != newRoot(t, testKey()).MAC("p") {
		t.Error("wiping the caller's key changed the root")
	}
}

func TestRoot_neverPrintsItsKey(t *testing.T) {
	r := newRoot(t, testKey())
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		if got, want := fmt.Sprintf(verb, r), "root key 4cbda3ae"; got != want {
			t.Errorf("%s prints %q, want %q", verb, got, want)
		}
	}
}

func TestSeal_opensOnlyWhereItWasSealed(t *testing.T) {
	r, aad, plain := newRoot(t, testKey()), []byte("user 1"), []byte("JBSWY3DPEHPK3PXP")
	sealed := r.Seal("totp", aad, plain)
	if got, want := len(sealed), len(plain)+33; got != want {
		t.Errorf("sealed length is %d, want %d", got, want)
	}
	if got, err := r.Open("totp", aad, sealed); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("Open = %q, %v", got, err)
	}
	if bytes.Equal(sealed, r.Seal("totp", aad, plain)) {
		t.Error("two seals of one value are equal: the nonce is not random")
	}
	if _, err := r.Open("totp", []byte("user 2"), sealed); !errors.Is(err, secret.ErrNotSealed) {
		t.Errorf("in another row: %v", err)
	}
	if _, err := r.Open("sms", aad, sealed); !errors.Is(err, secret.ErrNotSealed) {
		t.Errorf("for another purpose: %v", err)
	}
}

func TestSeal_noticesEveryAlteredByte(t *testing.T) {
	r := newRoot(t, testKey())
	sealed := r.Seal("totp", nil, []byte("secret"))
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if got, err := r.Open("totp", nil, bad); err == nil {
			t.Errorf("with byte %d altered it opens as %q", i, got)
		}
		if got, err := r.Open("totp", nil, sealed[:i]); err == nil {
			t.Errorf("cut to %d bytes it opens as %q", i, got)
		}
	}
}

func TestSeal_namesTheKeyItNeeds(t *testing.T) {
	sealed := newRoot(t, testKey()).Seal("totp", nil, []byte("secret"))
	_, err := newRoot(t, secret.GenerateRoot()).Open("totp", nil, sealed)
	if !errors.Is(err, secret.ErrWrongKey) || !strings.Contains(err.Error(), "4cbda3ae") {
		t.Errorf("err = %v, want ErrWrongKey naming 4cbda3ae", err)
	}
}
