package config

import (
	"fmt"
	"net/mail"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"golang.org/x/text/language"
)

// text checks one value, or one element of a list, by the name of its check
// tag. Without a tag it is any single line.
func text(check, v string) error {
	// A line break in what ends up in a mail or HTTP header starts a header of
	// the writer's own (header injection); in a log it forges a line.
	if strings.ContainsFunc(v, unicode.IsControl) {
		return refuse("it contains a line break or another control character", "write it on one line")
	}
	switch check {
	case "":
		return nil
	case "header":
		return headerName(v)
	case "cookie":
		return cookieName(v)
	case "origin":
		return origin(v)
	case "web":
		_, err := web(v)
		return err
	case "target":
		return target(v)
	case "pattern":
		return pattern(v)
	case "host":
		return hostPort(v)
	case "smtphost":
		return smtpHost(v)
	case "address":
		return address(v)
	case "path":
		return linkPath(v)
	case "language":
		return languageTag(v)
	case "country":
		return country(v)
	case "network":
		_, err := network(v)
		return err
	}
	panic(fmt.Sprintf("config: there is no text check %q", check))
}

// isToken reports whether v is a token (RFC 9110 §5.6.2).
func isToken(v string) bool {
	return v != "" && !strings.ContainsFunc(v, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

func headerName(v string) error {
	if !isToken(v) {
		return refuse(quoted(v)+" is not the name of a header", "write e.g. X-Request-Id")
	}
	return nil
}

// cookieName: a cookie name is a token (RFC 6265 §4.1.1).
func cookieName(v string) error {
	if !isToken(v) {
		return refuse(quoted(v)+" is not the name of a cookie", "write letters, digits, - and _ only")
	}
	return nil
}

// safely shows a URL in a fault, unless it may carry a password.
func safely(v string) string {
	if strings.Contains(v, "@") {
		return "the URL"
	}
	return quoted(v)
}

// web reads an absolute http or https URL.
func web(v string) (*url.URL, error) {
	u, err := url.Parse(v)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return nil, refuse(safely(v)+" is not an absolute http or https URL", "write e.g. https://auth.example.com")
	case u.User != nil:
		return nil, refuse("the URL holds a user name or password", "leave out what stands before the @")
	}
	return u, nil
}

// external checks the public address of this server: links and the issuer are
// made by appending to it, which a query or fragment would swallow.
func external(v string) error {
	if u, err := web(v); err != nil {
		return err
	} else if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(v, "#") {
		return refuse(quoted(v)+" has a query or fragment", "leave out what stands after ? or #")
	}
	return nil
}

// origin: "*" and "null" are refused, because with credentials allowed they
// let any page act as the signed-in user (WHATWG Fetch, CORS protocol).
func origin(v string) error {
	u, err := web(v)
	if err != nil || u.Path != "" || u.RawQuery != "" || u.ForceQuery || strings.ContainsAny(v, "#*") {
		return refuse(safely(v)+" is not an origin", "write e.g. https://app.example.com, without a path and without *")
	}
	return nil
}

// Schemes that make a browser run or open what follows them: a redirect there
// is a script in our name, or a read of local files.
func runs(scheme string) bool {
	switch strings.ToLower(scheme) {
	case "javascript", "data", "vbscript", "file", "blob":
		return true
	}
	return false
}

// target checks a place users are sent to; apps have schemes of their own.
func target(v string) error {
	u, err := url.Parse(v)
	switch {
	case err != nil, !u.IsAbs(), !strings.Contains(v, "://"),
		(u.Scheme == "http" || u.Scheme == "https") && u.Hostname() == "":
		return refuse(safely(v)+" is not an absolute URL", "write e.g. https://www.example.com")
	case runs(u.Scheme):
		return refuse("users cannot be sent to a "+u.Scheme+": URL", "write e.g. https://www.example.com")
	case u.User != nil:
		return refuse("the URL holds a user name or password", "leave out what stands before the @")
	}
	return nil
}

// pattern checks one entry of the list of redirect patterns: a written-out
// scheme, then anything with *, **, ?, [..] and {..} in it.
func pattern(v string) error {
	scheme, rest, ok := strings.Cut(v, "://")
	switch {
	case !ok, !isScheme(scheme), rest == "" && (scheme == "http" || scheme == "https"):
		return refuse(safely(v)+" is not an absolute pattern", "write the scheme out, e.g. https://*.example.com/**")
	case runs(scheme):
		return refuse("users cannot be sent to a "+scheme+": URL", "take it out of the list")
	case strings.ContainsAny(rest, " \""):
		return refuse(safely(v)+" contains a space or quote", "separate patterns by commas")
	case !balanced(rest, '[', ']') || !balanced(rest, '{', '}'):
		return refuse(safely(v)+" has a bracket without its partner", "close it; a comma inside {} would end the pattern, so write one pattern for each choice")
	}
	return nil
}

// anyHost reports whether a pattern leaves the whole host open.
func anyHost(v string) bool {
	scheme, rest, _ := strings.Cut(v, "://")
	host, _, _ := strings.Cut(rest, "/")
	return (scheme == "http" || scheme == "https") && strings.Trim(host, "*?.:") == ""
}

// isScheme: RFC 3986 §3.1.
func isScheme(v string) bool {
	ok, _ := regexp.MatchString(`^[A-Za-z][A-Za-z0-9+.-]*$`, v)
	return ok
}

func balanced(v string, open, shut byte) bool {
	depth := 0
	for i := range len(v) {
		switch v[i] {
		case open:
			depth++
		case shut:
			depth--
		}
		if depth < 0 {
			return false
		}
	}
	return depth == 0
}

// isHost reports whether v is an IP address or a host name (RFC 1123 §2.1,
// with the underscore that container networks use).
func isHost(v string) bool {
	if _, err := netip.ParseAddr(v); err == nil {
		return true
	}
	ok, _ := regexp.MatchString(`^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?$`, v)
	return ok && len(v) <= 254
}

func hostPort(v string) error {
	u, err := url.Parse("//" + v)
	if err != nil || u.Host != v || !isHost(u.Hostname()) {
		return refuse(safely(v)+" is not a host", "write e.g. auth.example.com, without scheme and path")
	}
	return nil
}

func smtpHost(v string) error {
	if !isHost(v) {
		return refuse(safely(v)+" is not a host", "write e.g. smtp.example.com, and the port to SMTP_PORT")
	}
	return nil
}

// address: only the bare address, so that the name has one place (SenderName).
func address(v string) error {
	if a, err := mail.ParseAddress(v); err != nil || a.Name != "" || a.Address != v {
		return refuse(quoted(v)+" is not an e-mail address", "write e.g. auth@example.com")
	}
	return nil
}

func linkPath(v string) error {
	if _, err := url.Parse(v); err != nil {
		return refuse(safely(v)+" is not the path of a link", "write e.g. /verify")
	}
	return nil
}

// languageTag: BCP 47, with a language in it.
func languageTag(v string) error {
	tag, err := language.Parse(v)
	if base, _, _ := tag.Raw(); err != nil || base == (language.Base{}) {
		return refuse(quoted(v)+" is not a language", "write its tag, e.g. en, de or pt-BR")
	}
	return nil
}

// country: ISO 3166-1, two letters, in either case.
func country(v string) error {
	r, err := language.ParseRegion(v)
	switch {
	case err != nil, len(v) != 2, !r.IsCountry():
		return refuse(quoted(v)+" is not a country", "write its two letters of ISO 3166-1, e.g. DE")
	case !strings.EqualFold(r.Canonicalize().String(), v): // UK is taken for GB elsewhere, but numbers are found by the letters
		return refuse(quoted(v)+" is not a country", "write "+r.Canonicalize().String())
	}
	return nil
}
