package notify

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	texttemplate "text/template"
	syntax "text/template/parse"
	"time"

	"github.com/google/go-cmp/cmp"
)

// wordsOf returns the phrases of a language, by their names.
func wordsOf(t *testing.T, lang string) map[string]*texttemplate.Template {
	t.Helper()
	all, err := texttemplate.New("").Parse(contents("templates/languages/" + lang + ".txt"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*texttemplate.Template{}
	for _, p := range all.Templates() {
		if p.Name() != "" {
			found[p.Name()] = p
		}
	}
	return found
}

// placeholders returns what n shows and asks for: variables, and the names of
// other phrases with what they are given.
func placeholders(n syntax.Node) []string {
	set := map[string]bool{}
	var walk func(syntax.Node)
	list := func(l *syntax.ListNode) {
		if l == nil {
			return
		}
		for _, n := range l.Nodes {
			walk(n)
		}
	}
	walk = func(n syntax.Node) {
		switch n := n.(type) {
		case *syntax.ListNode:
			list(n)
		case *syntax.ActionNode:
			set["show "+n.Pipe.String()] = true
		case *syntax.TemplateNode:
			given := ""
			if n.Pipe != nil {
				given = n.Pipe.String()
			}
			set[n.Name+" "+given] = true
		case *syntax.IfNode:
			set["if "+n.Pipe.String()] = true
			list(n.List)
			list(n.ElseList)
		case *syntax.WithNode, *syntax.RangeNode:
			set["a node the test does not know"] = true
		}
	}
	walk(n)
	return slices.Sorted(maps.Keys(set))
}

func TestDictionaries_everyLanguageSaysAllThatEnglishSays(t *testing.T) {
	english := wordsOf(t, English)
	for _, lang := range Languages() {
		words := wordsOf(t, lang)
		if diff := cmp.Diff(slices.Sorted(maps.Keys(english)), slices.Sorted(maps.Keys(words))); diff != "" {
			t.Errorf("%s has not the phrases of English (-English +%s):\n%s", lang, lang, diff)
		}
		for name, phrase := range words {
			if english[name] == nil || name == "date" { // of which a language may have a special first day
				continue
			}
			if diff := cmp.Diff(placeholders(english[name].Root), placeholders(phrase.Root)); diff != "" {
				t.Errorf("%s, %s, has not the placeholders of English (-English +%s):\n%s", lang, name, lang, diff)
			}
		}
		for _, part := range []string{".Day", ".Month", ".Year", ".Hour", ".Minute"} {
			if !slices.Contains(placeholders(words["date"].Root), "show "+part) {
				t.Errorf("%s: the date lacks %s", lang, part)
			}
		}
	}
}

// The texts are laid out as HTML and as plain text: what means something in
// one of them would be seen in the other.
func TestDictionaries_areWordsOnly(t *testing.T) {
	prefixes := []string{"ask", "notice"}
	for _, kind := range Kinds() {
		prefixes = append(prefixes, string(kind))
	}
	for _, lang := range Languages() {
		for name, phrase := range wordsOf(t, lang) {
			text := ""
			for _, n := range phrase.Root.Nodes {
				if n.Type() == syntax.NodeText {
					text += n.String()
				}
			}
			if text == "" && len(phrase.Root.Nodes) == 0 {
				t.Errorf("%s: %s is empty", lang, name)
			}
			if strings.ContainsAny(text, "<>&\n\t") {
				t.Errorf("%s: %s has a tag, an entity or a line break: %q", lang, name, text)
			}
			if strings.HasSuffix(name, ".calm") && !strings.HasPrefix(text, " ") {
				t.Errorf("%s: %s follows another sentence; begin it with a space", lang, name)
			}
			if lang == "fr" && strings.Contains(strings.ReplaceAll(text, "\u00a0:", ""), ":") {
				t.Errorf("%s: %s has a colon without a no-break space before it", lang, name)
			}
			if prefix, _, dotted := strings.Cut(name, "."); dotted && !slices.Contains(prefixes, prefix) {
				t.Errorf("%s: there is no mail that says %s", lang, name)
			}
		}
		if months := dictionaries()[lang].months; len(months) != 12 {
			t.Errorf("%s has %d months", lang, len(months))
		}
	}
}

func TestRender_everyKindSpeaksEveryLanguage(t *testing.T) {
	tm := NewTemplates(Options{})
	seen := map[string]string{}
	for _, lang := range Languages() {
		for _, kind := range Kinds() {
			m := mailOf(kind)
			m.Languages = []string{lang}
			r, err := tm.Render(t.Context(), m)
			if err != nil {
				t.Fatalf("%s, %s: %v", lang, kind, err)
			}
			what := lang + ", " + string(kind)
			wants(t, what, r.HTML, `<html lang="`+lang+`">`)
			lacks(t, what, r.HTML+r.Text, "{{", "<no value>", "ZgotmplZ")
			lacks(t, what, r.Subject+r.Text, "  ", " .", " ,", " \n\n")
			if r.Subject == "" {
				t.Errorf("%s has no subject", what)
			}
			if !kind.bare() {
				at := momentOf(m.Vars.At, lang).(moment).words
				wants(t, what, r.HTML, "Firefox on Linux", at)
				wants(t, what, r.Text, "Firefox on Linux", at)
			}
			// No sentence is left in another language.
			for line := range strings.Lines(r.Text) {
				line = strings.TrimSpace(line)
				if other, ok := seen[line]; ok && other != lang && strings.Count(line, " ") > 2 {
					t.Errorf("%s says %q, and so does %s", what, line, other)
				}
				seen[line] = lang
			}
		}
	}
}

// The mails as a person reads them. What is in testdata was read and found
// good; a change of words changes it by hand.
func TestRender_readsAsInTestdata(t *testing.T) {
	for _, c := range []struct {
		kind Kind
		lang string
	}{
		{MagicLink, "en"},
		{EmailChange, "de"},
		{AddressWanted, "de"},
		{NewDevice, "de"},
		{EmailChanged, "en"},
		{PhoneChanged, "fr"},
		{FactorEnrolled, "fr"},
	} {
		m := mailOf(c.kind)
		m.Languages = []string{c.lang}
		r := render(t, Options{}, m)
		file := filepath.Join("testdata", string(c.kind)+"."+c.lang+".txt")
		want, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(string(want), r.Subject+"\n\n"+r.Text+"\n"); diff != "" {
			t.Errorf("%s (-want +got):\n%s", file, diff)
		}
	}
}

func TestMomentOf_saysUTCInWords(t *testing.T) {
	at := time.Date(2026, 3, 1, 0, 30, 59, 0, time.FixedZone("", 2*3600)) // 28 February in UTC
	first := time.Date(2026, 8, 1, 12, 5, 0, 0, time.UTC)
	for lang, want := range map[string][2]string{
		"en": {"28 February 2026 at 22:30 UTC", "1 August 2026 at 12:05 UTC"},
		"de": {"28. Februar 2026 um 22:30 Uhr (UTC)", "1. August 2026 um 12:05 Uhr (UTC)"},
		"fr": {"28 février 2026 à 22\u00a0h\u00a030 (UTC)", "1er août 2026 à 12\u00a0h\u00a005 (UTC)"},
	} {
		got := [2]string{momentOf(at, lang).(moment).String(), momentOf(first, lang).(moment).String()}
		if got != want {
			t.Errorf("%s: got %q, want %q", lang, got, want)
		}
	}
	if got := momentOf(time.Time{}, "en"); got != "" {
		t.Errorf("no time: got %v", got)
	}
}
