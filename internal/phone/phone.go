// Package phone knows telephone numbers: how they are written, which country
// they lead to, and which of them no message should be sent to.
//
// Begin reading at Clean; the tables are in table.go.
//
// It must never guess that a number exists, and never ask anybody: it judges
// by the digits alone. A number may have been carried to another network, and
// plans change, so what it says is good for limits and lists, not for proof.
package phone

import "strings"

// Clean returns s as it is stored: the digits of an E.164 number, without the
// leading + and without spaces. ok is false if what is left is not
// [1-9]\d{1,14}. Other separators are not taken, as in GoTrue: two spellings
// of one number must not become two users.
func Clean(s string) (digits string, ok bool) {
	s = strings.TrimPrefix(strings.ReplaceAll(s, " ", ""), "+")
	if len(s) < 2 || len(s) > 15 || s[0] == '0' || !numeric(s) {
		return "", false
	}
	return s, true
}

// Country returns the country that digits, as of Clean, lead to: two letters
// of ISO 3166-1, XK for Kosovo, or "" where there is none (satellites,
// worldwide services, codes nobody has). Territories that share a plan without
// ranges of their own count as the country whose plan it is.
func Country(digits string) string {
	for n := min(len(digits), longest); n > 0; n-- {
		if c, ok := countryOf[digits[:n]]; ok {
			return c
		}
	}
	return ""
}

// Premium reports whether digits, as of Clean, belong to a range where a
// message earns somebody money or reaches no person: premium and shared-cost
// services, personal numbers, pagers, satellites, worldwide networks. Whoever
// pumps messages for a share of their price prefers these.
func Premium(digits string) bool {
	best, premium := -1, false
	for _, r := range premiums {
		if len(r.prefix) > best && matches(digits, r.prefix) {
			best, premium = len(r.prefix), r.why != ""
		}
	}
	return premium
}

// Prefix returns the key under which messages to neighbouring numbers are
// counted: the calling code and the next three digits, or four where the code
// has but one or two. Pumping runs through ranges that an operator rents out
// in blocks, so the numbers differ and their beginnings do not; the key is an
// operator's block or an area, a few thousand to a million numbers. Digits too
// few for that are returned as they are.
func Prefix(digits string) string {
	code := codeLength(digits)
	more := 4
	if code == 3 {
		more = 3
	}
	return digits[:min(len(digits), code+more)]
}

// codeLength is how many digits the calling code of digits has (ITU-T E.164:
// no code is the beginning of another).
func codeLength(digits string) int {
	switch {
	case digits == "":
		return 0
	case digits[0] == '1' || digits[0] == '7':
		return 1
	case len(digits) >= 2 && strings.Contains(twoDigitCodes, " "+digits[:2]+" "):
		return 2
	}
	return 3
}

// matches reports whether digits begin with prefix, in which a dot is any
// digit.
func matches(digits, prefix string) bool {
	if len(digits) < len(prefix) {
		return false
	}
	for i := range len(prefix) {
		if prefix[i] != '.' && prefix[i] != digits[i] {
			return false
		}
	}
	return true
}

func numeric(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
