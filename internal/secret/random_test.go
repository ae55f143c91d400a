package secret_test

import (
	"encoding/base64"
	"regexp"
	"testing"

	"gatehouse/internal/secret"
)

func TestToken_is32BytesAndNeverTheSame(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		token := secret.Token()
		if b, err := base64.RawURLEncoding.DecodeString(token); err != nil || len(b) != 32 {
			t.Fatalf("Token() = %q: %d bytes, %v", token, len(b), err)
		}
		if seen[token] {
			t.Fatalf("Token() gave %q twice", token)
		}
		seen[token] = true
	}
}

func TestCode_hasEveryDigitEquallyOften(t *testing.T) {
	const codes = 20000
	var count [6][10]int
	for range codes {
		code := secret.Code(6)
		if !regexp.MustCompile(`^[0-9]{6}$`).MatchString(code) {
			t.Fatalf("Code(6) = %q", code)
		}
		for i, digit := range []byte(code) {
			count[i][digit-'0']++
		}
	}
	for i, digits := range count { // chi-squared, 9 degrees: 50 is one chance in ten million
		var chi float64
		for _, n := range digits {
			d := float64(n) - codes/10
			chi += d * d / (codes / 10)
		}
		if chi > 50 {
			t.Errorf("digit %d of the code is uneven: %v (χ² = %.0f)", i, digits, chi)
		}
	}
}

func TestCode_hasTheDigitsAskedFor(t *testing.T) {
	for digits := 6; digits <= 10; digits++ {
		if got := len(secret.Code(digits)); got != digits {
			t.Errorf("Code(%d) has %d digits", digits, got)
		}
	}
	for _, digits := range []int{-1, 0, 5, 11} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Code(%d) did not panic", digits)
				}
			}()
			secret.Code(digits)
		}()
	}
}

func TestSame_wantsEveryByte(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{{"", "", true}, {"abc", "abc", true}, {"abc", "abd", false}, {"abc", "ab", false}, {"", "a", false}} {
		if got := secret.Same([]byte(c.a), []byte(c.b)); got != c.want {
			t.Errorf("Same(%q, %q) = %v, want %v", c.a, c.b, got, c.want)
		}
	}
}
