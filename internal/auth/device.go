package auth

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/mileusna/useragent"
	"golang.org/x/text/language"
)

// DeviceName returns browser and system of a User-Agent header in words, such
// as "Firefox on Linux"; of a program that is no browser, its name. It says
// what the client claims and proves nothing.
func DeviceName(agent string) string {
	if agent == "" {
		return ""
	}
	ua := useragent.Parse(cut(agent, 512))
	name, system := ua.Name, clean(ua.OS)
	if !slices.Contains(browsers, name) {
		name = word(name)
	}
	switch {
	case name == "":
		return word(agent)
	case system == "":
		return name
	}
	return name + " on " + system
}

// browsers are those whose names have more than one word.
var browsers = []string{
	useragent.OperaMini, useragent.OperaTouch, useragent.HeadlessChrome, useragent.InternetExplorer, useragent.MobileSafari,
	useragent.SamsungBrowser, useragent.FacebookApp, useragent.InstagramApp, useragent.TiktokApp, useragent.GoogleAdsBot,
	"Android browser", "Huawei Browser", "Miui Browser",
}

// word returns the one word a name begins with. Whoever asks for a mail to
// somebody else names their own device there: it must not become a sentence, an
// address or a number to call.
func word(name string) string {
	const longest = 24
	name = strings.TrimLeft(cut(name, 512), " ")
	end := strings.IndexFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' && r != '_'
	})
	if end >= 0 {
		name = name[:end]
	}
	return strings.Trim(cut(name, longest), "-_")
}

// IsBrowser tells whether a User-Agent header is one of a browser, which keeps
// what it began to itself: unlike a program, whose part of a sign-in a browser
// finishes.
func IsBrowser(agent string) bool {
	ua := useragent.Parse(cut(agent, 512))
	return strings.HasPrefix(agent, "Mozilla/") && (ua.Desktop || ua.Mobile || ua.Tablet) && !ua.Bot
}

// clean keeps what a client wrote about itself short and on one line.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return -1
		}
		return r
	}, s)
	return strings.ToValidUTF8(cut(strings.TrimSpace(s), 60), "")
}

// languages are those a user wants to be written to in, best first: what their
// metadata say, then what their browser does.
func languages(u *User, c Caller) []string {
	const most = 8
	var own struct {
		Locale, Language, Lang any
	}
	_ = json.Unmarshal(u.UserMetadata, &own) // no languages are better than no mail
	var list []string
	for _, v := range []any{own.Locale, own.Language, own.Lang} {
		tag, ok := v.(string)
		if ok && tag != "" && len(tag) <= 35 {
			list = append(list, strings.ReplaceAll(tag, "_", "-"))
		}
	}
	list = append(list, accepted(c.AcceptLanguage)...)
	return list[:min(len(list), most)]
}

// accepted are the languages of an Accept-Language header, best first (RFC 9110
// §12.5.4), as many as anybody reads.
func accepted(header string) []string {
	const most, longest = 4, 512
	if header == "" || len(header) > longest {
		return nil
	}
	tags, _, err := language.ParseAcceptLanguage(header)
	if err != nil {
		return nil
	}
	var list []string
	for _, t := range tags[:min(len(tags), most)] {
		if t != language.Und {
			list = append(list, t.String())
		}
	}
	return list
}
