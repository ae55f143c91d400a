package web

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// maxRedirect is the length of the longest URL users are sent to, in bytes.
const maxRedirect = 2048

// neverSchemes run or open what follows them in the name of the page that
// redirects, whatever the list of patterns says. In an intent: URL it is the
// fragment, which is not matched, that chooses the app.
var neverSchemes = []string{
	"javascript", "data", "vbscript", "file", "blob", "filesystem", "about", "view-source", "intent", "android-app",
}

// Redirects knows where users may be sent, with their tokens: to the site and
// to what the list of patterns allows. It is never a comparison of text, of a
// prefix or of a regular expression, which is how "https://site.example" came
// to allow "https://site.example.evil.com" in so many servers: target and
// pattern go through the same strict reading into scheme, host, port and path,
// and these are compared one by one. What can be read in two ways is refused.
//
// Safe for concurrent use.
type Redirects struct {
	site     string
	home     redirectURL
	patterns []redirectPattern
	own      redirectURL // the API's own address; without a host: nobody has said
}

// NewRedirects makes the list from the site's own URL and patterns of further
// targets; its error names every entry that cannot be used.
//
// A pattern is scheme://host:port/path, all of it spelt out but for:
//
//   - in the path, "*" is any run of characters, "?" one character and "[a-z]"
//     or "[!a-z]" one of, or not of, a class, but never a dot, a slash or, for
//     "*" and classes, the "?" that begins a query; "**" is anything at all, so
//     "/**" is every path with every query;
//   - in the host, "*" and "?" the same inside one label, "**" as the first
//     label any number of labels. What stays literal on the right must be a
//     name of somebody's: neither "*.com" nor "*.github.io" will do. IPv4
//     addresses may end in wildcards (192.168.1.*) and then match addresses only;
//   - as the port, "*" is any; none at all is the scheme's own;
//   - for other schemes than http and https, which belong to apps, everything
//     after the scheme is matched as a path is (com.example.app://callback/**).
//
// These are the globs of the GoTrue setting URI_ALLOW_LIST, except that no
// wildcard crosses from one part of the URL into the next.
func NewRedirects(site string, patterns []string) (*Redirects, error) {
	home, err := parseRedirect(site)
	if err != nil {
		return nil, fmt.Errorf("the site URL %q %w: write e.g. https://www.example.com", site, err)
	}
	r := &Redirects{site: site, home: home}
	var faults []error
	for _, text := range patterns {
		p, err := parsePattern(text)
		if err != nil {
			faults = append(faults, fmt.Errorf("the redirect pattern %q %w", text, err))
			continue
		}
		r.patterns = append(r.patterns, p)
	}
	return r, errors.Join(faults...)
}

// Beside says where the API itself is: none of its routes is a place to land. Some
// of them redirect further, and a browser takes the fragment along, with the
// tokens in it; others do something for whoever lands there.
func (r *Redirects) Beside(api string) *Redirects {
	own, err := parseRedirect(api)
	if err == nil {
		r.own = own
	}
	return r
}

// ownRoute is a route of the API below its own address, or below one of the
// prefixes it is served under.
var ownRoute = regexp.MustCompile(`^(/t/[^/]+)?(/auth/v1|/\.netlify/identity)?/(authorize|callback|verify|undo|setup|sso|saml|user|token|logout)(/|$)`)

// ofAPI tells whether a target is a route of the API.
func (r *Redirects) ofAPI(u redirectURL) bool {
	if r.own.host == "" || u.scheme != r.own.scheme || u.host != r.own.host || u.port != r.own.port {
		return false
	}
	below := func(v redirectURL) string {
		p, _, _ := strings.Cut(v.rest, "?")
		return path.Clean("/" + decoded(p))
	}
	at := below(u)
	rest, inside := strings.CutPrefix(at, strings.TrimSuffix(below(r.own), "/"))
	return inside && ownRoute.MatchString(rest)
}

// Choose returns the first of the candidates that is allowed, as it was given,
// and otherwise the site URL. An empty candidate is passed over.
func (r *Redirects) Choose(candidates ...string) string {
	for _, c := range candidates {
		if r.Allowed(c) {
			return c
		}
	}
	return r.site
}

// Allowed reports whether users may be sent to raw: an absolute URL with the
// scheme, host and port of the site, or one that a pattern matches. A fragment
// is not compared, because it does not say who receives the page.
func (r *Redirects) Allowed(raw string) bool {
	u, err := parseRedirect(raw)
	if err != nil {
		return false
	}
	if r.ofAPI(u) {
		return false
	}
	return r.ofSite(u) || slices.ContainsFunc(r.patterns, func(p redirectPattern) bool { return p.matches(u) })
}

// ofSite is the rule for targets without a pattern. Loopback targets are for a
// site that is itself on loopback. GoTrue lets them through everywhere; but
// what listens on a port of the user's machine can be any program of any of its
// users, and a link sent by a stranger would hand it the tokens. Native apps
// that need them are one pattern: http://127.0.0.1:*/**.
func (r *Redirects) ofSite(u redirectURL) bool {
	switch {
	case u.scheme != r.home.scheme:
		return false
	case r.home.loopback() && u.loopback():
		return true
	}
	return u.rooted == r.home.rooted && u.host == r.home.host && u.port == r.home.port
}

// redirectURL is a target, read.
type redirectURL struct {
	scheme string     // lower case
	rooted bool       // an authority is there: "//" follows the scheme
	host   string     // http(s): lower case, an IPv6 address in its one short form with brackets; others: as written
	port   string     // http(s): never empty; others: as written
	addr   netip.Addr // valid when the host is an address
	rest   string     // http(s): path and query, from a "/"; others: all that follows "scheme:"
}

func (u redirectURL) web() bool { return u.scheme == "http" || u.scheme == "https" }

func (u redirectURL) loopback() bool {
	return u.web() && (u.host == "localhost" || u.addr.IsLoopback())
}

// parseRedirect reads an absolute URL (RFC 3986 §3) and refuses every spelling
// that browsers, net/url and the apps behind them could read differently. Its
// error continues a sentence that began with the URL.
func parseRedirect(raw string) (u redirectURL, err error) {
	if len(raw) > maxRedirect {
		return u, fmt.Errorf("is longer than %d bytes", maxRedirect)
	}
	if err := plainText(raw); err != nil {
		return u, err
	}
	raw, _, _ = strings.Cut(raw, "#")
	var after string
	if u.scheme, after, err = cutScheme(raw); err != nil {
		return u, err
	}
	var authority string
	rest, rooted := strings.CutPrefix(after, "//")
	if u.rooted = rooted; rooted {
		end := strings.IndexAny(rest+"/", "/?")
		authority, rest = rest[:end], rest[end:]
	}
	switch {
	case !u.rooted && (u.web() || !strings.HasPrefix(after, "/")):
		// "https:evil.example" and "https:/evil.example" reach a host in browsers.
		return u, errors.New("has no // after its scheme")
	case strings.Contains(authority, "@"):
		return u, errors.New("holds a user name") // site.example@evil.example
	case climbs(rest):
		return u, errors.New("has . or .. in its path")
	}
	if !u.web() {
		u.rest = after
		return u, u.appAuthority(authority)
	}
	if u.rest = rest; !strings.HasPrefix(rest, "/") {
		u.rest = "/" + rest
	}
	return u, u.webAuthority(authority)
}

// plainText refuses bytes that some readers drop, change or take for the end:
// tabs and newlines vanish in browsers, a backslash is their slash.
func plainText(raw string) error {
	if !utf8.ValidString(raw) {
		return errors.New("is not valid UTF-8")
	}
	for i, c := range raw {
		switch {
		case c <= ' ' || c == 0x7f || unicode.IsSpace(c) || !unicode.IsGraphic(c):
			return errors.New("holds a space, a control or an invisible character")
		case strings.ContainsRune("\\\"<>`", c):
			return fmt.Errorf("holds %q", c)
		case c == '%':
			n, err := strconv.ParseUint(raw[i+1:min(i+3, len(raw))], 16, 8)
			if err != nil || i+3 > len(raw) {
				return errors.New("holds a % that is not followed by two hexadecimal digits")
			}
			if n < ' ' || n == 0x7f {
				return errors.New("holds an encoded control character")
			}
		}
	}
	return nil
}

// cutScheme splits at the first colon (RFC 3986 §3.1).
func cutScheme(raw string) (scheme, after string, err error) {
	scheme, after, ok := strings.Cut(raw, ":")
	scheme = strings.ToLower(scheme)
	for i, c := range []byte(scheme) {
		letter := 'a' <= c && c <= 'z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789+.-", rune(c))) {
			ok = false
		}
	}
	switch {
	case !ok || scheme == "":
		return "", "", errors.New("does not begin with a scheme, such as https://")
	case slices.Contains(neverSchemes, scheme):
		return "", "", fmt.Errorf("is a %s: URL, where users are never sent", scheme)
	}
	return scheme, after, nil
}

// climbs reports whether a path has a dot segment, in any spelling that some
// reader decodes: browsers and servers resolve it after we have compared, so
// /app/../evil would pass for /app/**. A path that decodes to broken UTF-8
// counts as one, because old decoders made dots of %c0%ae.
func climbs(rest string) bool {
	path, _, _ := strings.Cut(rest, "?")
	if !strings.ContainsAny(path, ".%") {
		return false
	}
	for range 3 { // %25252e: more layers than any chain of servers takes off
		path = decoded(path)
	}
	for segment := range strings.SplitSeq(strings.ReplaceAll(path, `\`, "/"), "/") {
		segment, _, _ = strings.Cut(segment, ";") // "..;" climbs in servlet containers
		if segment == "." || segment == ".." {
			return true
		}
	}
	return !utf8.ValidString(path)
}

// decoded takes one layer of percent escapes off and, unlike net/url, leaves
// alone what is none: it asks what the laxest reader would see.
func decoded(path string) string {
	b := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		if path[i] == '%' && i+3 <= len(path) {
			if n, err := strconv.ParseUint(path[i+1:i+3], 16, 8); err == nil {
				b, i = append(b, byte(n)), i+2
				continue
			}
		}
		b = append(b, path[i])
	}
	return string(b)
}

// appAuthority reads the host and port of an app's URL: who gets it is decided
// by the scheme alone, so they need only be harmless.
func (u *redirectURL) appAuthority(authority string) error {
	var colon bool
	u.host, u.port, colon = strings.Cut(authority, ":")
	if colon && !isPort(u.port) {
		return errors.New("has no valid port")
	}
	if strings.ContainsFunc(u.host, func(c rune) bool { return !isHostByte(c) && (c < 'A' || c > 'Z') && c != '.' }) {
		return errors.New("has a host with more than letters, digits, hyphens, underscores and dots in it")
	}
	return nil
}

// webAuthority reads host and port of an http or https URL.
func (u *redirectURL) webAuthority(authority string) error {
	host, port, err := cutPort(authority)
	if err != nil {
		return err
	}
	if u.port = port; port == "" {
		u.port = ownPort(u.scheme)
	} else if !isPort(port) {
		return errors.New("has no valid port")
	}
	u.host, u.addr, err = readHost(host)
	return err
}

// cutPort splits host and port; an absent port is "".
func cutPort(authority string) (host, port string, err error) {
	end := strings.LastIndexByte(authority, ']') + 1
	host, port = authority[:end], authority[end:]
	if end == 0 {
		host, _, _ = strings.Cut(authority, ":")
		port = authority[len(host):]
	}
	if port != "" {
		if port[0] != ':' || len(port) == 1 {
			return "", "", errors.New("has no valid port")
		}
		port = port[1:]
	}
	return host, port, nil
}

func ownPort(scheme string) string {
	if scheme == "https" {
		return "443"
	}
	return "80"
}

// isPort: 1 to 65535 without leading zeros, so that equal ports are equal text.
func isPort(v string) bool {
	n, err := strconv.ParseUint(v, 10, 16)
	return err == nil && n > 0 && strconv.FormatUint(n, 10) == v
}

// readHost brings a host to the one form in which hosts are compared. Names
// are plain ASCII: full-width letters, ideographic dots and the like become
// other names on the way to the resolver (UTS #46), percent escapes other
// characters.
func readHost(v string) (string, netip.Addr, error) {
	if inner, ok := strings.CutPrefix(v, "["); ok {
		addr, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		if err != nil || !addr.Is6() || addr.Zone() != "" || !strings.HasSuffix(inner, "]") {
			return "", addr, errors.New("has no valid IPv6 address in its brackets")
		}
		return "[" + addr.String() + "]", addr, nil
	}
	host := lowerASCII(v)
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if !isLabel(label, isHostByte) {
			return "", netip.Addr{}, errors.New("has no valid host (a name outside ASCII is written as xn--…)")
		}
	}
	if len(host) > 253 {
		return "", netip.Addr{}, errors.New("has too long a host")
	}
	if isNumber(labels[len(labels)-1]) {
		// Browsers read 0x7f.1, 127.1 and 2130706433 as 127.0.0.1.
		addr, err := netip.ParseAddr(host)
		if err != nil {
			return "", addr, errors.New("has an IPv4 address that is not four plain numbers")
		}
		return host, addr, nil
	}
	if strings.Contains(host, "xn--") {
		if ascii, err := idna.Lookup.ToASCII(host); err != nil || ascii != host {
			return "", netip.Addr{}, errors.New("has a host that is not a valid international name")
		}
	}
	return host, netip.Addr{}, nil
}

// lowerASCII leaves other letters alone: strings.ToLower makes a plain k of the
// Kelvin sign, and so one host of another.
func lowerASCII(v string) string {
	return strings.Map(func(c rune) rune {
		if 'A' <= c && c <= 'Z' {
			return c + 'a' - 'A'
		}
		return c
	}, v)
}

func isHostByte(c rune) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

func isLabel(v string, is func(rune) bool) bool {
	return v != "" && len(v) <= 63 && v[0] != '-' && v[len(v)-1] != '-' &&
		!strings.ContainsFunc(v, func(c rune) bool { return !is(c) })
}

// isNumber is the question "ends in a number" of the WHATWG URL standard: such
// a host is an IPv4 address or nothing.
func isNumber(label string) bool {
	return strings.HasPrefix(label, "0x") || strings.Trim(label, "0123456789") == ""
}
