package auth

import (
	"encoding/json"
	"strings"

	"github.com/mileusna/useragent"
)

// DeviceName returns browser and system of a User-Agent header in words, such
// as "Firefox on Linux"; of a program that is no browser, its name. It says
// what the client claims and proves nothing.
func DeviceName(agent string) string {
	if agent == "" {
		return ""
	}
	ua := useragent.Parse(cut(agent, 512))
	name, system := clean(ua.Name), clean(ua.OS)
	switch {
	case name == "":
		return clean(agent)
	case system == "":
		return name
	}
	return name + " on " + system
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
	list = append(list, c.Languages...)
	return list[:min(len(list), most)]
}
