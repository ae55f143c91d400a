package web3

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// labels are the lines of a message that have one, in the order of EIP-4361.
var labels = []string{"URI", "Version", "Chain ID", "Nonce", "Issued At", "Expiration Time", "Not Before", "Request ID"}

// timestamp is RFC 3339, of which time.Parse takes a little more.
var timestamp = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$`)

// read reads the text of a message:
//
//	DOMAIN wants you to sign in with your Ethereum account:
//	ADDRESS
//
//	STATEMENT
//
//	URI: …
//	Version: 1
//	…
//
// Nothing is skipped, and nothing may follow: what the wallet showed is what is
// read. The nonce may be missing, for auth-js sends none unless it is told to.
func read(chain, message string) (*Statement, error) {
	if !utf8.ValidString(message) || strings.ContainsFunc(message, func(r rune) bool { return r != '\n' && breaks(r) }) {
		return nil, refuse(ErrMessage, "the message contains control characters")
	}
	lines := strings.Split(message, "\n")
	name := map[string]string{Ethereum: "Ethereum", Solana: "Solana"}[chain]
	domain, ok := strings.CutSuffix(lines[0], " wants you to sign in with your "+name+" account:")
	if !ok || len(lines) < 4 || lines[2] != "" {
		return nil, refuse(ErrMessage, "the message does not begin as one that signs in")
	}
	s := &Statement{Chain: chain, Address: lines[1], Domain: domain}
	scheme := ""
	if before, after, ok := strings.Cut(domain, "://"); ok {
		scheme, s.Domain = before, after
		if scheme == "" {
			return nil, refuse(ErrMessage, "the message does not begin as one that signs in")
		}
	}
	rest, err := s.readStatement(lines[3:])
	if err != nil {
		return nil, err
	}
	err = s.readLines(rest)
	if err != nil {
		return nil, err
	}
	return s, s.located(scheme)
}

// readStatement takes the statement off the lines after the first empty one.
// Without one Ethereum has a second empty line there (EIP-4361), and Solana
// none.
func (s *Statement) readStatement(lines []string) (rest []string, err error) {
	switch {
	case s.Chain == Ethereum && lines[0] == "":
		return lines[1:], nil
	case len(lines) > 1 && lines[0] != "" && lines[1] == "":
		s.Statement = lines[0]
		return lines[2:], nil
	case s.Chain == Solana && lines[0] != "":
		return lines, nil
	}
	return nil, refuse(ErrMessage, "the statement is not a line of its own")
}

// readLines reads the lines with labels. Those of Ethereum have an order;
// wallets for Solana write them in several.
func (s *Statement) readLines(lines []string) error {
	seen := map[string]string{}
	last := -1
	for i, line := range lines {
		if line == "Resources:" || s.Chain == Solana && line == "Resources" { // as auth-js writes it
			if !resources(lines[i+1:]) {
				return refuse(ErrMessage, "its resources are not a list of URIs")
			}
			break
		}
		label, value, ok := strings.Cut(line, ": ")
		at := slices.Index(labels, label)
		_, twice := seen[label]
		if !ok || at < 0 || twice || s.Chain == Ethereum && at < last {
			return refuse(ErrMessage, "the message has a line that does not belong there")
		}
		seen[label], last = value, at
	}
	return s.fill(seen)
}

// resources reports whether lines are a list of URIs.
func resources(lines []string) bool {
	for _, line := range lines {
		v, ok := strings.CutPrefix(line, "- ")
		u, err := url.Parse(v)
		if !ok || err != nil || u.Scheme == "" || !visible(v) {
			return false
		}
	}
	return true
}

// fill takes over what the lines with labels say.
func (s *Statement) fill(seen map[string]string) error {
	s.URI, s.ChainID, s.Nonce = seen["URI"], seen["Chain ID"], seen["Nonce"]
	_, chained := seen["Chain ID"]
	_, nonced := seen["Nonce"]
	switch {
	case s.URI == "":
		return refuse(ErrMessage, "it has no URI")
	case seen["Version"] != "1":
		return refuse(ErrMessage, "its version is not 1")
	case s.Chain == Ethereum && !only(s.ChainID, 1, 78, digit):
		return refuse(ErrMessage, "its chain id is not a number")
	case s.Chain == Solana && chained && !only(s.ChainID, 1, 64, word):
		return refuse(ErrMessage, "its chain id is not a word")
	case nonced && !only(s.Nonce, 8, 256, alphanumeric):
		return refuse(ErrMessage, "its nonce is not at least 8 letters and digits")
	case seen["Request ID"] != "" && !visible(seen["Request ID"]):
		return refuse(ErrMessage, "its request id is not one word")
	}
	for label, t := range map[string]*time.Time{"Issued At": &s.IssuedAt, "Expiration Time": &s.ExpiresAt, "Not Before": &s.NotBefore} {
		v, given := seen[label]
		if !given && label != "Issued At" {
			continue
		}
		var err error
		*t, err = time.Parse(time.RFC3339, v)
		if err != nil || !timestamp.MatchString(v) || t.IsZero() {
			return refuse(ErrMessage, "one of its times is missing, or not as RFC 3339 has it")
		}
	}
	return nil
}

// breaks reports whether a character may look like the end of a line, or like
// nothing.
func breaks(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp) || r == '\ufeff'
}

// visible reports whether a text is of visible ASCII characters.
func visible(v string) bool {
	return only(v, 1, maxMessage, func(r rune) bool { return r > ' ' && r < 0x7f })
}

func only(v string, least, most int, of func(rune) bool) bool {
	return len(v) >= least && len(v) <= most && !strings.ContainsFunc(v, func(r rune) bool { return !of(r) })
}

func digit(r rune) bool { return r >= '0' && r <= '9' }

func alphanumeric(r rune) bool { return digit(r) || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }

// word: a Solana cluster is mainnet, or solana:mainnet.
func word(r rune) bool { return alphanumeric(r) || strings.ContainsRune(":_-", r) }
