package breach

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

func TestList_hasWhatStandsInTheFile(t *testing.T) {
	t.Parallel()
	l, err := Read(strings.NewReader("\ufeffTurnip\r\n\n  spaced  \r\nturnip\nпароль\n\nlast"))
	if err != nil {
		t.Fatal(err)
	}
	if got := l.packed.count(); got != 4 {
		t.Errorf("it has %d passwords, want 4", got)
	}
	for _, p := range []string{"turnip", "TURNIP", "  spaced  ", "Пароль", "last"} {
		if !l.Has(p) {
			t.Errorf("Has(%q) = false", p)
		}
	}
	for _, p := range []string{"", "spaced", "turnip\r", "\ufeffturnip", "password", "las"} {
		if l.Has(p) {
			t.Errorf("Has(%q) = true", p)
		}
	}
}

func TestList_ofNothingIsEmpty(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "\n\r\n\n", "\ufeff", "\ufeff\n"} {
		l, err := Read(strings.NewReader(text))
		if err != nil || l != nil || l.Has("") || l.Has("password") {
			t.Errorf("%q: got %v, %v", text, l, err)
		}
	}
}

func TestRead_refusesWhatIsNoList(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"fine\n\n\xff\xfe\n":                    "line 3 is not UTF-8",
		"fine\n" + strings.Repeat("x", 100_000): "line 2 is longer than any password",
		strings.Repeat("x\n", maxListed+1):      "more than five million passwords",
	} {
		l, err := Read(strings.NewReader(text))
		if err == nil || err.Error() != want || l != nil {
			t.Errorf("%.20q: got %v, want %s", text, err, want)
		}
	}
	broken := errors.New("the disk is gone")
	_, err := Read(iotest.ErrReader(broken))
	if !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
}

func TestList_hasAllItReadInEitherCase(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOf(rapid.StringMatching(`[ -~]{1,12}`)).Draw(t, "passwords")
		l, err := Read(strings.NewReader(strings.Join(all, "\n")))
		if err != nil {
			t.Fatal(err)
		}
		lower := make([]string, len(all))
		for i, p := range all {
			lower[i] = strings.ToLower(p)
			if !l.Has(strings.ToUpper(p)) {
				t.Fatalf("%q is not in %q", p, all)
			}
		}
		slices.Sort(lower)
		got := 0
		if l != nil {
			got = l.packed.count()
		}
		if want := len(slices.Compact(lower)); got != want {
			t.Fatalf("got %d passwords, want %d", got, want)
		}
	})
}
