package notify

import (
	"errors"
	"fmt"
	netmail "net/mail"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// mailbox is an address that may be put into an SMTP command and a header.
type mailbox struct {
	addr   string // local@domain, the domain in ASCII
	domain string // in ASCII
	utf8   bool   // the local part is not ASCII: needs SMTPUTF8 (RFC 6531)
}

// parseMailbox accepts one bare address of the ordinary form. It is narrower
// than RFC 5322 on purpose: a line break ends the SMTP command and begins the
// attacker's (CVE-2025-7962), and quoted local parts, comments, address
// literals and lists are read differently by different servers.
func parseMailbox(s string) (mailbox, error) {
	refuse := func(why string) (mailbox, error) {
		return mailbox{}, fmt.Errorf("%.100q is not an address mail can be sent to: %s", s, why)
	}
	if len(s) > 254 { // RFC 5321 §4.5.3.1.3
		return refuse("longer than 254 bytes")
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || unicode.IsSpace(r) || !unicode.IsPrint(r)
	}) {
		return refuse("it contains spaces or control characters")
	}
	if strings.ContainsAny(s, `"\()<>[],;:`) || strings.Count(s, "@") != 1 {
		return refuse("it is not of the form name@domain")
	}
	if a, err := netmail.ParseAddress(s); err != nil || a.Name != "" || a.Address != s {
		return refuse("it is not of the form name@domain")
	}
	local, domain, _ := strings.Cut(s, "@")
	if len(local) > 64 { // RFC 5321 §4.5.3.1.1
		return refuse("the part before the @ is longer than 64 bytes")
	}
	if !ascii(domain) {
		// RFC 5891: every server knows the ASCII form.
		a, err := idna.Lookup.ToASCII(domain)
		if err != nil {
			return refuse("the domain is not valid")
		}
		domain = a
	}
	return mailbox{addr: local + "@" + domain, domain: domain, utf8: !ascii(local)}, nil
}

// parseSender reads a From setting, "a@b.c" or "Name <a@b.c>".
func parseSender(from, name string) (mailbox, string, error) {
	if from == "" {
		return mailbox{}, "", errors.New("smtp: the From address is missing; set it to the address mails shall come from")
	}
	if strings.Contains(from, "<") {
		a, err := netmail.ParseAddress(from)
		if err != nil {
			return mailbox{}, "", fmt.Errorf("smtp: the From address %q cannot be read; write it as name@domain", from)
		}
		from = a.Address
		if name == "" {
			name = a.Name
		}
	}
	box, err := parseMailbox(from)
	if err != nil {
		return mailbox{}, "", fmt.Errorf("smtp: From: %w", err)
	}
	return box, oneLine(name), nil
}

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
}
