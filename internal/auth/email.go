package auth

import (
	"net/mail"
	"strings"

	"golang.org/x/net/idna"
)

// CleanEmail returns the one form an address is kept, compared and looked up
// in: ASCII lower case, the domain as strict A-labels. A mailbox outside ASCII
// is refused: two that look or fold alike must not meet (GitHub's dotless ı).
//
// Codes: EmailInvalid.
func CleanEmail(s string) (string, error) {
	bad := &Error{Code: EmailInvalid, Field: "email"}
	s = strings.TrimSpace(s)
	at := strings.IndexByte(s, '@')
	if len(s) > maxEmail || at < 1 || at != strings.LastIndexByte(s, '@') { // before any parser sees it
		return "", bad
	}
	local, written := s[:at], s[at+1:]
	if len(local) > 64 { // RFC 5321 §4.5.3.1.1: no mail server takes it
		return "", bad
	}
	for i := range len(local) {
		if local[i] <= ' ' || local[i] >= 0x7f {
			return "", bad
		}
	}
	domain, err := idna.Lookup.ToASCII(written)
	if err != nil {
		return "", bad
	}
	read, err := idna.Lookup.ToUnicode(domain)
	if err != nil || !differInCase(written, domain) && !differInCase(written, read) { // full-width, ligatures: they only look like what IDNA makes of them
		return "", bad
	}
	if !strings.ContainsRune(domain, '.') && domain != "localhost" {
		return "", bad
	}
	s = strings.ToLower(local) + "@" + domain
	a, err := mail.ParseAddress(s)
	if err != nil || a.Address != s || a.Name != "" || len(s) > maxEmail { // RFC 5322 §3.4.1, without name and comment
		return "", bad
	}
	return s, nil
}

// differInCase reports whether a and b differ in nothing but case. The Kelvin
// sign and the long s fold to k and s too, but are longer.
func differInCase(a, b string) bool { return len(a) == len(b) && strings.EqualFold(a, b) }
