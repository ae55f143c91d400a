package secret_test

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/bcrypt"

	"gatehouse/internal/secret"
)

// small keeps tests quick.
var small = secret.Params{MemoryKiB: 64, Time: 1, Threads: 1}

func newHasher(t testing.TB, p secret.Params) *secret.Hasher {
	t.Helper()
	h, err := secret.NewHasher(p, secret.NewPool(0, 0, time.Now))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func hash(t *testing.T, h *secret.Hasher, password string) string {
	t.Helper()
	phc, err := h.Hash(t.Context(), "me", password)
	if err != nil {
		t.Fatal(err)
	}
	return phc
}

// foreign are hashes that other programs made.
var foreign = []struct{ name, phc, password string }{
	{"argon2 reference", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "password"},
	{"jBCrypt", "$2a$10$XajjQvNhvvRt5GSeFk1xFeyqRrsxkhBkUiQeg0dt.wU1qD4aFDcga", "allmine"},
	{"crypt_blowfish", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"},
	{"OpenBSD", "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"},
	{"PHP", "$2y$07$BCryptRequires22Chrcte/VlQH0piJtjXl.0t1XkA8pw9dMXTpOq", "rasmuslerdorf"},
	{"libxcrypt", "$2y$06$abcdefghijklmnopqrstuu3Uj8B0SlQMjwfCgjO5wwJnQsIwmET.O", "pä55 wörd"},
}

func TestHasher_verifiesWhatOthersMadeAndWantsItNew(t *testing.T) {
	h := newHasher(t, small)
	for _, f := range foreign {
		if err := h.Supported(f.phc); err != nil {
			t.Errorf("%s: Supported: %v", f.name, err)
		}
		if ok, rehash, err := h.Verify(t.Context(), "me", f.phc, f.password); !ok || !rehash || err != nil {
			t.Errorf("%s: Verify = %v, %v, %v; want true, true", f.name, ok, rehash, err)
		}
		if ok, rehash, err := h.Verify(t.Context(), "me", f.phc, f.password+"x"); ok || rehash || err != nil {
			t.Errorf("%s, wrong password: Verify = %v, %v, %v; want false, false", f.name, ok, rehash, err)
		}
	}
}

func TestHasher_wantsNewOnlyWhatIsNotTodays(t *testing.T) {
	h := newHasher(t, small)
	phc := hash(t, h, "open sesame")
	if !regexp.MustCompile(`^\$argon2id\$v=19\$m=64,t=1,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$`).MatchString(phc) {
		t.Errorf("Hash = %q", phc)
	}
	if phc == hash(t, h, "open sesame") {
		t.Error("one password has one hash: the salt is not random")
	}
	for name, c := range map[string]struct {
		today secret.Params
		want  bool
	}{
		"same":         {small, false},
		"more memory":  {secret.Params{MemoryKiB: 128, Time: 1, Threads: 1}, true},
		"less memory":  {secret.Params{MemoryKiB: 32, Time: 1, Threads: 1}, true},
		"more passes":  {secret.Params{MemoryKiB: 64, Time: 2, Threads: 1}, true},
		"more threads": {secret.Params{MemoryKiB: 64, Time: 1, Threads: 2}, true},
	} {
		if ok, rehash, err := newHasher(t, c.today).Verify(t.Context(), "me", phc, "open sesame"); !ok || rehash != c.want || err != nil {
			t.Errorf("%s: Verify = %v, %v, %v; want true, %v", name, ok, rehash, err, c.want)
		}
	}
}

func TestHasher_readsPasswordsToTheLastByte(t *testing.T) {
	h := newHasher(t, small)
	for _, n := range []int{0, 1, 72, 73, 1024} {
		password := strings.Repeat("p", n)
		phc := hash(t, h, password)
		if ok, _, err := h.Verify(t.Context(), "me", phc, password); !ok || err != nil {
			t.Errorf("%d bytes: Verify = %v, %v", n, ok, err)
		}
		if ok, _, _ := h.Verify(t.Context(), "me", phc, password+"x"); ok {
			t.Errorf("%d bytes: one more is let in", n)
		}
	}
}

func TestHasher_bcryptIsNotMatchedByItsFirst72Bytes(t *testing.T) {
	h, password := newHasher(t, small), strings.Repeat("p", 72)
	made, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	if ok, _, err := h.Verify(t.Context(), "me", string(made), password); !ok || err != nil {
		t.Errorf("72 bytes: Verify = %v, %v; want true", ok, err)
	}
	if ok, _, err := h.Verify(t.Context(), "me", string(made), password+"x"); ok || err != nil {
		t.Errorf("73 bytes: Verify = %v, %v; want false", ok, err)
	}
}

// unsupported are stored hashes that must not be verified.
var unsupported = map[string]string{
	"plain text":            "correct horse battery staple",
	"argon2i":               "$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	"old version":           "$argon2id$v=16$m=64,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	"no version":            "$argon2id$m=64,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	"other order":           "$argon2id$v=19$t=1,m=64,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	"keyid":                 "$argon2id$v=19$m=64,t=1,p=1,keyid=AA$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	"leading zero":          "$argon2id$v=19$m=064,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	"signs":                 "$argon2id$v=19$m=+64,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	"padding":               "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ=$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc=",
	"spare bits":            "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHR$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	"line break":            "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc\n",
	"trailing field":        "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc$",
	"no hash":               "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ",
	"memory bomb":           "$argon2id$v=19$m=4294967295,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	"memory just over":      "$argon2id$v=19$m=65537,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	"memory past 32 bits":   "$argon2id$v=19$m=4294967360,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	"memory under 8 a lane": "$argon2id$v=19$m=15,t=1,p=2$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	"time bomb":             "$argon2id$v=19$m=64,t=11,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	"no passes":             "$argon2id$v=19$m=64,t=0,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	"no threads":            "$argon2id$v=19$m=64,t=1,p=0$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	"many threads":          "$argon2id$v=19$m=64,t=1,p=5$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	"threads past 8 bits":   "$argon2id$v=19$m=64,t=1,p=257$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	"short salt":            "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbA$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	"long salt":             "$argon2id$v=19$m=64,t=1,p=1$" + strings.Repeat("A", 87) + "$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	"short hash":            "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$" + strings.Repeat("A", 20),
	"long hash":             "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$" + strings.Repeat("A", 87),
	"endless":               "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$" + strings.Repeat("A", 1<<20),
	"bcrypt cost 31":        "$2a$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
	"bcrypt cost 15":        "$2a$15$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
	"bcrypt cost 3":         "$2a$03$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
	"bcrypt cost +5":        "$2a$+5$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
	"bcrypt 2x":             "$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
	"bcrypt 2":              "$2$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW0",
	"bcrypt too short":      "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOe",
	"bcrypt too long":       "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeWW",
	"bcrypt alphabet":       "$2a$05$CCCCCCCCCCCC+CCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
	"MD5":                   "5f4dcc3b5aa765d61d8327deb882cf99",
	"only a prefix":         "$argon2id$",
	"only two characters":   "$2",
	"a space":               " ",
}

// Whoever asks for an account that does not exist, or whose hash cannot be
// read, must wait exactly as long as anyone else: one hash at today's cost.
func TestHasher_unknownUsersCostOneHash(t *testing.T) {
	h := newHasher(t, small)
	phc := hash(t, h, "password")
	var work []secret.Work
	h.Count(func(w secret.Work) { work = append(work, w) })
	want := []secret.Work{{Params: small, Salt: 16, Tag: 32}}

	if ok, _, err := h.Verify(t.Context(), "me", phc, "password"); !ok || err != nil {
		t.Fatalf("known user: Verify = %v, %v", ok, err)
	}
	if diff := cmp.Diff(want, work); diff != "" {
		t.Fatalf("known user: work (-want +got):\n%s", diff)
	}
	work = nil
	if ok, rehash, err := h.Verify(t.Context(), "me", "", ""); ok || rehash || err != nil {
		t.Errorf("unknown user: Verify = %v, %v, %v; want false, false, nil", ok, rehash, err)
	}
	if diff := cmp.Diff(want, work); diff != "" {
		t.Errorf("unknown user: work (-want +got):\n%s", diff)
	}
	for name, phc := range unsupported {
		work = nil
		ok, rehash, err := h.Verify(t.Context(), "me", phc, "password")
		if ok || rehash || !errors.Is(err, secret.ErrUnknownHash) {
			t.Errorf("%s: Verify = %v, %v, %v; want ErrUnknownHash", name, ok, rehash, err)
		}
		if diff := cmp.Diff(want, work); diff != "" {
			t.Errorf("%s: work (-want +got):\n%s", name, diff)
		}
	}
}

func TestHasher_refusesHashesBeforeAnyWork(t *testing.T) {
	h := newHasher(t, small)
	h.Count(func(secret.Work) { t.Error("Supported computed a hash") })
	for name, phc := range unsupported {
		if err := h.Supported(phc); !errors.Is(err, secret.ErrUnknownHash) {
			t.Errorf("%s: Supported = %v, want ErrUnknownHash", name, err)
		}
	}
	if err := h.Supported(""); !errors.Is(err, secret.ErrUnknownHash) {
		t.Errorf("empty: Supported = %v, want ErrUnknownHash", err)
	}
}

func TestHasher_readsItsOwnHashesAbove64MiB(t *testing.T) {
	big := secret.Params{MemoryKiB: 65 * 1024, Time: 1, Threads: 1}
	phc := hash(t, newHasher(t, big), "password")
	if ok, rehash, err := newHasher(t, big).Verify(t.Context(), "me", phc, "password"); !ok || rehash || err != nil {
		t.Errorf("Verify = %v, %v, %v; want true, false", ok, rehash, err)
	}
	if err := newHasher(t, small).Supported(phc); !errors.Is(err, secret.ErrUnknownHash) {
		t.Errorf("where less is configured: Supported = %v, want ErrUnknownHash", err)
	}
}

func TestHasher_refusesParametersOutOfRange(t *testing.T) {
	for _, p := range []secret.Params{
		{MemoryKiB: 64, Time: 0, Threads: 1},
		{MemoryKiB: 64, Time: 11, Threads: 1},
		{MemoryKiB: 64, Time: 1, Threads: 0},
		{MemoryKiB: 64, Time: 1, Threads: 5},
		{MemoryKiB: 15, Time: 1, Threads: 2},
	} {
		if _, err := secret.NewHasher(p, nil); err == nil {
			t.Errorf("NewHasher took %+v", p)
		}
	}
	h := newHasher(t, secret.Params{})
	if phc, want := hash(t, h, "password"), "$argon2id$v=19$m=19456,t=2,p=1$"; !strings.HasPrefix(phc, want) {
		t.Errorf("with no parameters Hash = %q, want %s…", phc, want)
	}
}

func TestHasher_handsOnThePoolsRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, open := held(t, time.Nanosecond)
		c.come(t.Context(), "me", "1", nil)
		c.come(t.Context(), "me", "2", nil)
		h, err := secret.NewHasher(small, c.pool)
		if err != nil {
			t.Fatal(err)
		}
		var busy *secret.BusyError
		if phc, err := h.Hash(t.Context(), "me", "password"); phc != "" || !errors.As(err, &busy) {
			t.Errorf("Hash = %q, %v, want *BusyError", phc, err)
		}
		if ok, _, err := h.Verify(t.Context(), "me", foreign[0].phc, foreign[0].password); ok || !errors.As(err, &busy) {
			t.Errorf("Verify = %v, %v, want *BusyError", ok, err)
		}
		open()
	})
}

var (
	argonForm  = regexp.MustCompile(`^\$argon2id\$v=19\$m=([0-9]{1,5}),t=([0-9]{1,2}),p=([1-4])\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{22,86}$`)
	bcryptForm = regexp.MustCompile(`^\$2[aby]\$(0[4-9]|1[0-4])\$[./A-Za-z0-9]{53}$`)
)

func FuzzSupported_staysWithinBounds(f *testing.F) {
	for _, c := range foreign {
		f.Add(c.phc)
	}
	for _, phc := range unsupported {
		if len(phc) < 1000 {
			f.Add(phc)
		}
	}
	h := newHasher(f, small)
	f.Fuzz(func(t *testing.T, phc string) {
		if err := h.Supported(phc); err != nil {
			if !errors.Is(err, secret.ErrUnknownHash) {
				t.Errorf("Supported(%q) = %v, want ErrUnknownHash", phc, err)
			}
			if len(phc) > 20 && strings.Contains(err.Error(), phc) {
				t.Errorf("the error quotes the hash: %v", err)
			}
			return
		}
		if bcryptForm.MatchString(phc) {
			return
		}
		m := argonForm.FindStringSubmatch(phc)
		if m == nil {
			t.Fatalf("Supported(%q): not of a supported form", phc)
		}
		for i, top := range []int{65536, 10, 4} {
			if n, err := strconv.Atoi(m[i+1]); err != nil || n < 1 || n > top || fmt.Sprint(n) != m[i+1] {
				t.Errorf("Supported(%q): parameter %d is out of bounds", phc, i+1)
			}
		}
	})
}
