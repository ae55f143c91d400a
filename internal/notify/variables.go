package notify

import (
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"
)

// variables are the names templates know, for a mail in the built-in language
// lang. It is a map, not a struct, so that a template written for another
// server, with a name we lack, shows a gap there instead of failing.
func (t *Templates) variables(m Mail, lang string) map[string]any {
	v := m.Vars
	if v.SiteURL == "" {
		v.SiteURL = t.opt.SiteURL
	}
	if v.SendingTo == "" {
		v.SendingTo = m.To
	}
	if v.ConfirmationURL == "" {
		v.ConfirmationURL = v.SupabaseURL
		if m.Netlify {
			v.ConfirmationURL = v.NetlifyURL
		}
	}
	v = v.permitted(m.Kind)
	if v.Data == nil {
		v.Data = map[string]any{}
	}
	token := v.Token
	if m.Netlify {
		token = v.TokenHash
	}
	site := v.SiteURL
	if u, err := url.Parse(site); err == nil && u.Host != "" {
		site = u.Host
	}
	button := v.ConfirmationURL
	if m.Kind.notice() {
		button = v.UndoURL
	}
	return map[string]any{
		"SiteURL":         v.SiteURL,
		"SiteHost":        site,
		"ConfirmationURL": v.ConfirmationURL,
		"NetlifyURL":      v.NetlifyURL,
		"SupabaseURL":     v.SupabaseURL,
		"Email":           v.Email,
		"NewEmail":        v.NewEmail,
		"OldEmail":        v.OldEmail,
		"Phone":           short(v.Phone),
		"OldPhone":        short(v.OldPhone),
		"SendingTo":       v.SendingTo,
		"Token":           token,
		"Code":            v.Token,
		"TokenHash":       v.TokenHash,
		"RedirectTo":      v.RedirectTo,
		"Provider":        short(v.Provider),
		"FactorType":      short(v.FactorType),
		"Device":          short(unlinked(v.Device)),
		"Place":           short(v.Place),
		"At":              momentOf(v.At, lang),
		"UndoURL":         v.UndoURL,
		"Undone":          v.Undone,
		"Data":            v.Data,
		"Lang":            lang,
		"Notice":          m.Kind.notice(), // for the layout
		"ButtonURL":       button,          // for the layout
	}
}

// permitted returns what of v a mail of kind k may show, in an operator's
// template too.
func (v Vars) permitted(k Kind) Vars {
	switch {
	case k == AddressWanted:
		// All else is of the account that wanted the address, and no business of
		// the reader's.
		return Vars{SiteURL: v.SiteURL, SendingTo: v.SendingTo, At: v.At}
	case k.bare():
		// Whoever typed the address asked for this mail, not its owner: it must
		// not open anything, nor repeat what that person wrote.
		return Vars{SiteURL: v.SiteURL, SendingTo: v.SendingTo, At: v.At, Email: v.Email, NewEmail: v.NewEmail}
	case k.notice():
		// A reader who is told of danger clicks what there is, and forged notices
		// live on that: there is one link, and it only takes back.
		v.ConfirmationURL, v.NetlifyURL, v.SupabaseURL, v.RedirectTo = "", "", "", ""
		v.Token, v.TokenHash = "", ""
	default:
		v.UndoURL = ""
	}
	return v
}

// moment is a time that templates show as words, or format themselves.
type moment struct {
	time.Time
	words string
}

// String returns the words.
func (m moment) String() string { return m.words }

// momentOf returns at in UTC as lang words it, or "" for no time, so that
// {{if .At}} tells.
func momentOf(at time.Time, lang string) any {
	if at.IsZero() {
		return ""
	}
	at = at.UTC()
	d := dictionaries()[lang]
	words, err := execute(d.date, map[string]any{
		"Day": at.Day(), "Month": d.months[at.Month()-1], "Year": at.Year(),
		"Hour": fmt.Sprintf("%02d", at.Hour()), "Minute": fmt.Sprintf("%02d", at.Minute()),
	})
	if err != nil { // a test proves that none does
		words = at.Format(time.RFC1123)
	}
	return moment{at, words}
}

// shortLimit is the most characters of a device, a provider and the like.
const shortLimit = 64

// short makes s fit to stand within a line of somebody else's mail: no line
// breaks, no characters that turn the writing direction, and not long enough
// to tell a story.
func short(s string) string {
	// A rune has at most 4 bytes; what is far beyond need not be looked at.
	s = strings.ToValidUTF8(s[:min(len(s), 16*shortLimit)], "\uFFFD")
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.Is(unicode.C, r) || unicode.Is(unicode.Z, r)
	}), " ")
	if r := []rune(s); len(r) > shortLimit {
		s = strings.TrimSpace(string(r[:shortLimit-1])) + "…"
	}
	return s
}

// unlinked takes out of s what mail readers make links of. A device is named
// by whoever asks, and a mail to somebody else must not carry their address:
// "Firefox 128.0" stays, "login.example" does not.
func unlinked(s string) string {
	r := []rune(s)
	for i, c := range r {
		digits := i > 0 && i+1 < len(r) && unicode.IsDigit(r[i-1]) && unicode.IsDigit(r[i+1])
		// Full stops of other scripts divide domain names too (RFC 3490 §3.1).
		if strings.ContainsRune(".:/@\\。．｡", c) && !digits {
			r[i] = ' '
		}
	}
	return string(r)
}

// oneLine makes s fit for a header: line breaks in a name must not begin a
// header of their own (header injection), and nothing needs more than 200
// characters.
func oneLine(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || r == '\u2028' || r == '\u2029'
	}), " ")
	s = strings.TrimSpace(strings.ToValidUTF8(s, "\uFFFD"))
	if r := []rune(s); len(r) > 200 {
		s = string(r[:199]) + "…"
	}
	return s
}
