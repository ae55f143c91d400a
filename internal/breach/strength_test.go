package breach

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLevels_areThoseOfAuthman(t *testing.T) {
	t.Parallel()
	want := []Strength{
		{"none", 0, 0},
		{"whocares", 2, 1},
		{"easy", 6, 2},
		{"common", 8, 2},
		{"moderate", 12, 3},
		{"violence", 16, 4},
		{"nightmare", 24, 4},
	}
	if diff := cmp.Diff(want, levels[:]); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	for _, s := range want {
		if got, ok := Level(s.Name); !ok || got != s {
			t.Errorf("Level(%q) = %v, %v", s.Name, got, ok)
		}
	}
}

func TestLevel_doesNotKnowOtherNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "Common", "strong", "common "} {
		if s, ok := Level(name); ok {
			t.Errorf("Level(%q) = %v", name, s)
		}
	}
}

// The passwords and verdicts are those observed at the original.
func TestWeak_passesWhatAuthmanPasses(t *testing.T) {
	t.Parallel()
	for password, best := range map[string]string{
		"":                         "none",
		"abc123":                   "easy",
		"abcd1234":                 "common",
		`abcd"1`:                   "easy",
		"abcdABCD1234":             "moderate",
		"abcdABCD1234!@#$":         "violence",
		"abcdABCD1234!@#$abcdABCD": "nightmare",
		"пароль12":                 "whocares", // 14 bytes, and only the digits are a group
	} {
		passes := true
		for _, s := range levels {
			if got := s.Weak(password) == nil; got != passes {
				t.Errorf("%s passes %q: %v, want %v", s.Name, password, got, passes)
			}
			if s.Name == best {
				passes = false
			}
		}
	}
}

func TestWeak_saysWhatIsMissing(t *testing.T) {
	t.Parallel()
	common, _ := Level("common")
	for password, want := range map[string][]string{
		"":          {"length", "characters"},
		"abcdefg":   {"length", "characters"},
		"abcdef1":   {"length"},
		"abcdefgh":  {"characters"},
		"abcdefg1":  nil,
		"пароль1":   {"characters"}, // 13 bytes
		"пароль1 x": nil,
	} {
		if diff := cmp.Diff(want, common.Weak(password)); diff != "" {
			t.Errorf("%q: -want +got\n%s", password, diff)
		}
	}
}

func TestWeak_knowsEveryGroup(t *testing.T) {
	t.Parallel()
	const of4 = "!@#&_=;:,/\\|`~ ?+-.^%$*"
	for c := range 256 {
		want := 0
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.Contains(of4, string([]byte{byte(c)})):
			want = 1
		}
		if got := groups(string([]byte{byte(c)})); got != want {
			t.Errorf("byte %#x is in %d groups, want %d", c, got, want)
		}
	}
	if got := groups("aA0*"); got != 4 {
		t.Errorf("one of each is in %d groups", got)
	}
}
