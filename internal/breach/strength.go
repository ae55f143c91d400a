package breach

import "strings"

// Strength is what a level asks of a password.
type Strength struct {
	Name      string
	MinBytes  int // length in bytes of UTF-8
	MinGroups int // how many of the four groups of characters must occur
}

// levels are those of authman, the weakest first.
var levels = [...]Strength{
	{"none", 0, 0},
	{"whocares", 2, 1},
	{"easy", 6, 2},
	{"common", 8, 2},
	{"moderate", 12, 3},
	{"violence", 16, 4},
	{"nightmare", 24, 4},
}

// specials is the fourth group. Brackets, quotes and all that is not ASCII
// belong to no group.
const specials = "!@#&_=;:,/\\|`~ ?+-.^%$*"

// Level returns the level of that name. An unknown name must be refused at
// start: read as no level, a typing error would let every password through.
func Level(name string) (Strength, bool) {
	for _, s := range levels {
		if s.Name == name {
			return s, true
		}
	}
	return Strength{}, false
}

// Weak returns what password lacks: "length", "characters", both, or nothing.
func (s Strength) Weak(password string) (reasons []string) {
	if len(password) < s.MinBytes {
		reasons = append(reasons, "length")
	}
	if groups(password) < s.MinGroups {
		reasons = append(reasons, "characters")
	}
	return reasons
}

// groups returns how many of the groups occur in password: lower-case letters,
// upper-case letters, digits, specials.
func groups(password string) int {
	var lower, upper, digit, special int
	for i := range len(password) {
		switch c := password[i]; {
		case 'a' <= c && c <= 'z':
			lower = 1
		case 'A' <= c && c <= 'Z':
			upper = 1
		case '0' <= c && c <= '9':
			digit = 1
		case strings.IndexByte(specials, c) >= 0:
			special = 1
		}
	}
	return lower + upper + digit + special
}
