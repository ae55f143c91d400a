package secret

import (
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"
)

// fbExample is the example of Firebase's own description of its hash.
const fbExample = "$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,sk=jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==" +
	"$42xEC+ixf3L2lw==$lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ=="

func TestVerify_firebaseScrypt(t *testing.T) {
	h := &Hasher{params: Params{MemoryKiB: 8, Time: 1, Threads: 1}, pool: NewPool(1, time.Minute, time.Now), derive: argon2.IDKey}
	for password, want := range map[string]bool{"user1password": true, "user1passwor": false, "User1password": false, "": false} {
		ok, rehash, err := h.Verify(t.Context(), "", fbExample, password)
		if err != nil || ok != want || rehash != want {
			t.Errorf("%q: %v, hash anew %v, %v; want %v", password, ok, rehash, err, want)
		}
	}
}

func TestSupported_firebaseScryptWithinItsBounds(t *testing.T) {
	h := &Hasher{params: Params{MemoryKiB: 8, Time: 1, Threads: 1}}
	if err := h.Supported(fbExample); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string][2]string{
		"more memory":         {"n=14", "n=17"},
		"memory by both":      {"n=14,r=8", "n=16,r=16"},
		"no work":             {"n=14", "n=0"},
		"blocks without end":  {"r=8", "r=1000000"},
		"passes without end":  {"p=1", "p=64"},
		"another version":     {"v=1", "v=2"},
		"no number":           {"n=14", "n=x"},
		"an unknown field":    {"p=1", "p=1,q=2"},
		"no signing key":      {"sk=jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==", "sk="},
		"a salt of rubbish":   {"42xEC+ixf3L2lw==", "?"},
		"no salt":             {"$42xEC+ixf3L2lw==$", "$$"},
		"a shorter hash":      {"uid5lQ==", "uQ=="},
		"one field too many":  {"$42x", "$$42x"},
		"one field too few":   {"$42xEC+ixf3L2lw==", ""},
		"a separator of none": {"ss=Bw==", "ss=!"},
	} {
		s := strings.Replace(fbExample, change[0], change[1], 1)
		if s == fbExample {
			t.Fatalf("%s: nothing was changed", what)
		}
		if err := h.Supported(s); !errors.Is(err, ErrUnknownHash) {
			t.Errorf("%s: %v, want %v", what, err, ErrUnknownHash)
		}
	}
}
