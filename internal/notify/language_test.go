package notify

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLanguages_namesWhatIsBuiltIn(t *testing.T) {
	if diff := cmp.Diff([]string{"de", "en", "fr"}, Languages()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestChoose_takesWhatTheReaderReadsBest(t *testing.T) {
	for _, c := range []struct {
		name      string
		preferred []string
		fallback  string
		want      string
	}{
		{"nothing", nil, "", "en"},
		{"nothing, the operator's", nil, "fr", "fr"},
		{"nothing, the operator's regional one", nil, "de-AT", "de"},
		{"nothing, an operator's that is not there", nil, "nl", "en"},
		{"nothing, rubbish of the operator's", nil, "$$", "en"},
		{"the first", []string{"de", "fr"}, "en", "de"},
		{"the first that is there", []string{"nl", "pt-BR", "fr", "de"}, "en", "fr"},
		{"a region", []string{"fr-CA"}, "en", "fr"},
		{"a region and English", []string{"de-CH", "en-US"}, "en", "de"},
		{"an underscore and another case", []string{"DE_at"}, "en", "de"},
		{"an extension", []string{"de-u-co-phonebk"}, "en", "de"},
		{"English before all", []string{"en-GB", "de"}, "fr", "en"},
		{"readers of another", []string{"gsw"}, "en", "de"},
		{"a language named before one like it", []string{"br", "de"}, "en", "de"},
		{"a script its readers may not know", []string{"de-Hebr"}, "en", "en"},
		{"a language few of its readers read", []string{"ur-Arab"}, "de", "de"},
		{"none of them", []string{"ja", "nl", "pt"}, "de", "de"},
		{"rubbish", []string{"", "*", "../de", "d\x00e", "de\r\nfr", "x-de", "und", "und-DE", "und-FR", "1", "🇩🇪"}, "en", "en"},
		{"rubbish first", []string{"*", "%s", "fr"}, "en", "fr"},
		{"the eighth", append(slices.Repeat([]string{"ja"}, 7), "de"), "en", "de"},
		{"the ninth", append(slices.Repeat([]string{"ja"}, 8), "de"), "en", "en"},
		{"35 bytes", []string{"de-u-co-phonebk-nu-latn-kn-false-ka"}, "en", "de"},
		{"36 bytes", []string{"de-u-co-phonebk-nu-latn-kn-false-kas"}, "en", "en"},
		{"far too long", []string{"de-" + strings.Repeat("a-", 1<<20)}, "en", "en"},
	} {
		if got := Choose(c.preferred, c.fallback); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

func TestWanted_isAShortListOfPlainTags(t *testing.T) {
	for _, c := range []struct {
		name     string
		tags     []string
		fallback string
		want     []string
	}{
		{"nothing", nil, "en", []string{"en"}},
		{"no fallback", nil, "", nil},
		{"a region, then the language", []string{"pt-br"}, "en", []string{"pt-BR", "pt", "en"}},
		{"each once", []string{"pt-BR", "pt", "PT", "en"}, "en", []string{"pt-BR", "pt", "en"}},
		{"three", []string{"nl", "da", "sv", "fi"}, "en", []string{"nl", "da", "sv", "en"}},
		{"three with regions", []string{"nl-BE", "da-DK"}, "en", []string{"nl-BE", "nl", "da-DK", "en"}},
		{"the fallback is one of them", []string{"en", "nl"}, "en", []string{"en", "nl"}},
		{"a script", []string{"zh_hant_tw"}, "en", []string{"zh-Hant-TW", "zh", "en"}},
		{"a variant, no extension", []string{"ca-valencia-u-co-trad-x-me"}, "en", []string{"ca-valencia", "ca", "en"}},
		{"an old tag", []string{"iw"}, "en", []string{"he", "en"}},
		{"rubbish", []string{"../../etc/passwd", "de/../fr", "de\\fr", "de%2ffr", ".", "..", "x-a", "und", "und-DE", "*"}, "en", []string{"en"}},
	} {
		if diff := cmp.Diff(c.want, wanted(c.tags, c.fallback)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// What stands for "{lang}" becomes part of a path.
func FuzzWanted_holdsOnlyLettersDigitsAndHyphens(f *testing.F) {
	for _, s := range []string{"de", "pt-BR", "../de", "zh-Hant-x-..", "de-u-co-phonebk", "i-klingon", "en-GB-oed", "a\x00b"} {
		f.Add(s, "fr")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		got := wanted([]string{a, b, a + "-" + b}, "en")
		if len(got) == 0 || len(got) > maxTried+1 {
			t.Errorf("%d languages to try", len(got))
		}
		for _, s := range got {
			if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "" || s == "" || len(s) > 35 {
				t.Errorf("%s and %s give %s", strconv.Quote(a), strconv.Quote(b), strconv.Quote(s))
			}
		}
		if !slices.Contains(Languages(), Choose([]string{a, b}, b)) {
			t.Error("chose what is not there")
		}
	})
}
