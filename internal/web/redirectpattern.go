package web

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// redirectPattern is one entry of the list, read by the same rules as a target.
type redirectPattern struct {
	scheme string
	host   string // in the form of redirectURL, when it has no wildcards
	labels []glob // otherwise: each is matched against one label of the target
	deep   bool   // "**" stood before the labels
	number bool   // the labels are an IPv4 address, and match nothing else
	port   string // "*" is any
	rest   glob
}

// parsePattern reads an entry. Its error continues a sentence that began with
// the pattern, and says the mend.
func parsePattern(text string) (p redirectPattern, err error) {
	if len(text) > maxRedirect {
		return p, fmt.Errorf("is longer than %d bytes: shorten it", maxRedirect)
	}
	if err := plainText(text); err != nil {
		return p, fmt.Errorf("%w: take it out", err)
	}
	var after string
	if p.scheme, after, err = cutScheme(text); err != nil {
		return p, fmt.Errorf("%w: write the scheme out, e.g. https://*.example.com/**", err)
	}
	switch {
	case strings.Contains(text, "#"):
		return p, errors.New("has a fragment, which is never compared: leave out what begins at the #")
	case strings.ContainsAny(text, "{}"):
		return p, errors.New("has a choice in braces: write one pattern for each")
	}
	if p.scheme != "http" && p.scheme != "https" {
		if !strings.HasPrefix(after, "/") {
			return p, errors.New("has no slash after its scheme: write e.g. com.example.app://callback")
		}
		p.rest, err = parseGlob(after)
		return p, err
	}
	authority, ok := strings.CutPrefix(after, "//")
	if !ok {
		return p, errors.New("has no // after its scheme: write e.g. https://www.example.com/**")
	}
	authority, rest, _ := strings.Cut(authority, "/")
	if strings.Contains(authority, "@") {
		return p, errors.New("holds a user name: leave out what stands before the @")
	}
	if err := p.readAuthority(authority); err != nil {
		return p, err
	}
	p.rest, err = parseGlob("/" + rest)
	return p, err
}

func (p *redirectPattern) readAuthority(authority string) error {
	host, port, err := cutPort(authority)
	switch {
	case err != nil || port != "" && port != "*" && !isPort(port):
		return errors.New("has no valid port: write a number, or * for any")
	case port == "":
		port = ownPort(p.scheme)
	}
	p.port = port
	if !strings.ContainsAny(host, "*?") {
		if p.host, _, err = readHost(host); err != nil {
			return fmt.Errorf("%w: write e.g. www.example.com, and a / after it", err)
		}
		return nil
	}
	labels := strings.Split(lowerASCII(host), ".")
	if labels[0] == "**" {
		p.deep, labels = true, labels[1:]
	}
	for _, label := range labels {
		ok := isLabel(label, func(c rune) bool { return isHostByte(c) || c == '*' || c == '?' })
		if !ok || strings.Contains(label, "**") {
			return errors.New("has no valid host: * and ? stand for part of one label, ** only for all labels on the left, and a / ends the host")
		}
		g, err := parseGlob(label)
		if err != nil {
			return err
		}
		p.labels = append(p.labels, g)
	}
	return p.checkOpenHost(labels)
}

// checkOpenHost refuses wildcards for names that anybody can register: with
// https://*.com the tokens go to whoever asks for them.
func (p *redirectPattern) checkOpenHost(labels []string) error {
	first := len(labels) // the first of the labels on the right that are all literal
	for first > 0 && !strings.ContainsAny(labels[first-1], "*?") {
		first--
	}
	literal := labels[first:]
	if !p.deep && len(labels) == 4 && isNumber(labels[0]) &&
		!strings.ContainsFunc(strings.Join(labels, ""), func(c rune) bool { return !strings.ContainsRune("0123456789*?", c) }) {
		p.number = true
		return nil
	}
	switch {
	case p.deep && len(literal) < max(2, len(labels)):
		return errors.New("has too little after the ** of its host: follow it by at least two labels without wildcards")
	case len(literal) == 0 || isNumber(literal[len(literal)-1]):
		return errors.New("leaves the end of its host open, so anybody can have such a name: write the end out")
	}
	name := strings.Join(literal, ".")
	suffix, icann := publicsuffix.PublicSuffix(name)
	private := !icann && strings.Contains(suffix, ".") // not one of the list's, if there is no dot: *.internal is fine
	whole := p.deep || labels[first-1] == "*"
	if suffix == name && (icann || private && whole) {
		return fmt.Errorf("lets in every name under %s, which anybody can have: write the part that is yours out", name)
	}
	return nil
}

func (p redirectPattern) matches(u redirectURL) bool {
	if p.scheme != u.scheme {
		return false
	}
	return (!u.web() || p.matchesHost(u) && (p.port == "*" || p.port == u.port)) && p.rest.matches(u.rest)
}

func (p redirectPattern) matchesHost(u redirectURL) bool {
	if p.labels == nil {
		return p.host == u.host
	}
	// 192.168.1.* must not mean 192.168.1.example, nor *.10.example an address.
	if p.number != u.addr.IsValid() {
		return false
	}
	labels := strings.Split(u.host, ".")
	extra := len(labels) - len(p.labels)
	if extra < 0 || p.deep != (extra > 0) {
		return false
	}
	for i, g := range p.labels {
		if !g.matches(labels[extra+i]) {
			return false
		}
	}
	return true
}

// glob is a pattern of path and query, in tokens.
type glob []globToken

type globToken struct {
	kind  byte   // 0: the rune; or one of ? * [ and D for **
	char  rune   // kind 0
	not   bool   // kind [
	class []rune // kind [: pairs of first and last
}

// parseGlob reads a pattern; its error continues a sentence.
func parseGlob(text string) (glob, error) {
	var g glob
	runes := []rune(text)
	for i := 0; i < len(runes); i++ {
		switch c := runes[i]; c {
		case '*':
			kind := byte('*')
			for ; i+1 < len(runes) && runes[i+1] == '*'; i++ {
				kind = 'D'
			}
			g = append(g, globToken{kind: kind})
		case '?':
			g = append(g, globToken{kind: '?'})
		case '[':
			n := slices.Index(runes[i:], ']')
			class := globToken{kind: '['}
			if n > 0 {
				class.read(runes[i+1 : i+n])
			}
			if class.class == nil {
				return nil, errors.New("has a [ that no class follows: write e.g. [a-z] or [!0-9]")
			}
			g = append(g, class)
			i += n
		default:
			g = append(g, globToken{char: c})
		}
	}
	return g, nil
}

// read takes what stands between the brackets.
func (t *globToken) read(inner []rune) {
	if len(inner) > 0 && inner[0] == '!' {
		t.not, inner = true, inner[1:]
	}
	for i := 0; i < len(inner); i++ {
		first, last := inner[i], inner[i]
		if i+2 < len(inner) && inner[i+1] == '-' {
			last = inner[i+2]
			i += 2
		}
		t.class = append(t.class, first, last)
	}
}

func (t globToken) takes(c rune) bool {
	switch t.kind {
	case 0:
		return t.char == c
	case 'D', '?':
		return true
	case '*':
		return c != '?' // the query is a part of its own
	}
	in := false
	for i := 0; i < len(t.class); i += 2 {
		in = in || t.class[i] <= c && c <= t.class[i+1]
	}
	return in != t.not && c != '?'
}

// matches walks the text once, holding all places of the pattern that it may
// have reached: no text makes it slow, as it would one that goes back.
func (g glob) matches(text string) bool {
	at, next := make([]bool, len(g)+1), make([]bool, len(g)+1)
	reach := func(set []bool, i int) { // a star may also stand for nothing
		for set[i] = true; i < len(g) && (g[i].kind == '*' || g[i].kind == 'D'); i++ {
			set[i+1] = true
		}
	}
	reach(at, 0)
	query := strings.IndexByte(text+"?", '?')
	for i, c := range text {
		// An encoded slash, backslash or dot is one to the app that decodes it.
		edge := c == '/' || c == '.' || i < query && c == '%' &&
			slices.Contains([]string{"2f", "5c", "2e"}, strings.ToLower(text[i+1:min(i+3, len(text))]))
		clear(next)
		for j, t := range g {
			if !at[j] || !t.takes(c) || edge && t.kind != 0 && t.kind != 'D' {
				continue
			}
			if t.kind == '*' || t.kind == 'D' {
				reach(next, j)
			} else {
				reach(next, j+1)
			}
		}
		at, next = next, at
	}
	return at[len(g)]
}
