package breach

import "strings"

// Guessable reports whether a password is made of a common one the way people
// do, and the programs that guess know: with digits or signs behind it, letters
// written as digits, twice in a row; or of nothing but neighbours, such as
// 23456789 or zyxwvut. A list is short, and most of what is on the long ones is
// made like this.
func Guessable(password string, common func(string) bool) bool {
	low := strings.ToLower(password)
	if common(low) || run(low) {
		return true
	}
	bare := strings.TrimRight(low, signs)
	base := strings.TrimRight(low, decimals+signs)
	if tail := strings.Trim(low[len(base):], signs); len(tail) > mostBehind && !run(tail) {
		base = low // that many are a choice of one's own
	}
	for _, b := range []string{bare, base, letters.Replace(low), letters.Replace(bare), letters.Replace(base)} {
		if len(b) >= leastBase && b != low && common(b) {
			return true
		}
	}
	half := len(low) / 2
	return len(low) >= 2*leastHalf && low[:half] == low[half:] && (common(low[:half]) || run(low[:half]))
}

const (
	decimals   = "0123456789"
	signs      = " !?.,*#$%&+-_=@"
	mostBehind = 4 // digits that say nothing: a year, 123
	leastBase  = 4 // what is left must be a word, not a rest
	leastHalf  = 4
)

// letters undoes the usual disguises.
var letters = strings.NewReplacer("0", "o", "1", "i", "3", "e", "4", "a", "5", "s", "7", "t", "@", "a", "$", "s", "!", "i")

// run reports whether each character is followed by the same, by the next or
// by the one before: always in one way.
func run(s string) bool {
	if len(s) < leastHalf {
		return false
	}
	step := int(s[1]) - int(s[0])
	if step < -1 || step > 1 {
		return false
	}
	for i := 1; i < len(s); i++ {
		next := int(s[i]) - int(s[i-1])
		if next != step && (s[i-1] != '9' || s[i] != '0' || step != 1) { // 1234567890
			return false
		}
	}
	return true
}
