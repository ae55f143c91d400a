package notify

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/text/language"
)

// English is the language of last resort.
const English = "en"

// Languages returns the tags of the languages that are built in, sorted.
func Languages() []string { return slices.Sorted(maps.Keys(dictionaries())) }

// Choose returns the built-in language, one of Languages, that a reader of the
// preferred ones (BCP 47 tags, best first) is best served with: the first of
// them that is there, or else the first whose readers are known to read one
// that is there. Where there is none it is the fallback, found likewise, or
// English. Preferred tags may come from anywhere; see Mail.Languages.
func Choose(preferred []string, fallback string) string {
	if tag, ok := match(preferred); ok {
		return tag
	}
	if tag, ok := match([]string{fallback}); ok {
		return tag
	}
	return English
}

// match finds a built-in language for readers of tags.
func match(tags []string) (string, bool) {
	have, matcher := matching()
	like := ""
	for _, tag := range preferred(tags) {
		_, i, confidence := matcher.Match(tag)
		if confidence < language.High {
			continue
		}
		named, _ := tag.Base()
		if base, _ := language.Make(have[i]).Base(); base == named {
			return have[i], true
		}
		// Many who prefer Breton read French, but a language they have named
		// themselves is better.
		if like == "" {
			like = have[i]
		}
	}
	return like, like != ""
}

// matching returns Languages and what finds the nearest among them, by index.
var matching = sync.OnceValues(func() ([]string, language.Matcher) {
	have := Languages()
	tags := make([]language.Tag, len(have))
	for i, tag := range have {
		tags[i] = language.MustParse(tag)
	}
	return have, language.NewMatcher(tags)
})

// Bounds of what is read of Mail.Languages, which may come from a request.
const (
	maxLanguages = 8
	maxTag       = 35 // bytes; RFC 5646 §4.4.1
)

// preferred returns what of tags is well-formed and names a language, in
// canonical form, each once.
func preferred(tags []string) []language.Tag {
	var list []language.Tag
	for _, s := range tags[:min(len(tags), maxLanguages)] {
		if len(s) > maxTag {
			continue
		}
		tag, err := language.Parse(strings.TrimSpace(s))
		base, _, _ := tag.Raw()
		if err != nil || base == (language.Base{}) || !plainTag(tag.String()) || slices.Contains(list, tag) {
			continue
		}
		list = append(list, tag)
	}
	return list
}

// plainTag reports whether s may stand in a path or URL: letters, digits and
// hyphens only. Package language promises as much; this is what keeps "../"
// out even if it should not hold.
func plainTag(s string) bool {
	return s != "" && len(s) <= maxTag && !strings.ContainsFunc(s, func(r rune) bool {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		return !letter && (r < '0' || r > '9') && r != '-'
	})
}

// maxTried is how many of a reader's languages are looked for among the
// operator's templates.
const maxTried = 3

// wanted returns the languages to look for in the operator's templates, best
// first: those of tags and, after a regional one, the language itself
// (RFC 4647 §3.4), at most maxTried; then fallback.
func wanted(tags []string, fallback string) []string {
	var list []string
	add := func(s string) {
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	for _, tag := range preferred(tags) {
		// Without extensions, which tell of calendars and sorting.
		base, script, region := tag.Raw()
		whole, err := language.Compose(base, script, region, tag.Variants())
		if err != nil {
			continue
		}
		add(whole.String())
		add(base.String())
	}
	list = list[:min(len(list), maxTried)]
	for _, tag := range preferred([]string{fallback}) {
		add(tag.String())
	}
	return list
}
