package breach

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// List is a list of an operator's own, packed like the one inside the binary:
// a hundred thousand passwords take 300 kB of memory. The nil List is empty.
type List struct{ packed table }

// maxListed bounds a list: what is longer is no list of the commonest.
const maxListed = 5_000_000

// Read packs a list of passwords, one on a line. Empty lines do not count, and
// neither does the mark that some editors begin a file with.
func Read(r io.Reader) (*List, error) {
	var passwords []string
	lines := bufio.NewScanner(r)
	n := 0
	for lines.Scan() {
		n++
		p := lines.Text()
		if n == 1 {
			p = strings.TrimPrefix(p, "\ufeff")
		}
		if p == "" {
			continue
		}
		if !utf8.ValidString(p) {
			return nil, fmt.Errorf("line %d is not UTF-8", n)
		}
		passwords = append(passwords, p)
		if len(passwords) > maxListed {
			return nil, errors.New("more than five million passwords")
		}
	}
	err := lines.Err()
	if errors.Is(err, bufio.ErrTooLong) {
		return nil, fmt.Errorf("line %d is longer than any password", n+1)
	}
	if err != nil {
		return nil, err
	}
	if len(passwords) == 0 {
		return nil, nil
	}
	b, err := Pack(passwords)
	if err != nil {
		return nil, err
	}
	return &List{table(b)}, nil
}

// Has reports whether password is in the list, in upper or lower case.
func (l *List) Has(password string) bool { return l != nil && l.packed.has(value(password)) }
