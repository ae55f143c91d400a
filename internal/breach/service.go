package breach

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"gatehouse/internal/fetch"
)

// DefaultURL is the public range service of Have I Been Pwned.
const DefaultURL = "https://api.pwnedpasswords.com"

const (
	maxBody    = 1 << 20
	askTimeout = 2 * time.Second // what a sign-up may have to wait for an answer

	prefixDigits = 5
	suffixDigits = 2*sha1.Size - prefixDigits
	suffixSize   = (suffixDigits + 1) / 2 // packed, with a zero digit at the end
)

// The reasons of a Check without an answer, besides those of package fetch; ask
// for them with errors.Is.
var (
	// ErrResting: the service failed so often in a row that it is not asked
	// for a while.
	ErrResting = errors.New("the range service has failed too often and is not asked for now")
	// ErrAnswer: the answer is not that of a range service.
	ErrAnswer = errors.New("the answer is not a list of hash suffixes")
)

// Service asks a range service whether a password is in a known leak. The
// service learns the first 5 of the 40 hex digits of the SHA-1 of the password,
// which hundreds of leaked passwords share, and never which of them is meant,
// nor whether one is.
//
// Safe for concurrent use.
type Service struct {
	fetch     *fetch.Client
	baseURL   string
	userAgent string
	now       func() time.Time
	timeout   time.Duration
	breaker   breaker
	cache     cache
}

// New returns a Service that asks baseURL (empty: DefaultURL) through client,
// under the name userAgent (empty: that of package fetch), and takes the time
// from now. It makes no request yet.
func New(client *fetch.Client, baseURL, userAgent string, now func() time.Time) *Service {
	if baseURL == "" {
		baseURL = DefaultURL
	}
	return &Service{
		fetch:     client,
		baseURL:   strings.TrimRight(baseURL, "/"),
		userAgent: userAgent,
		now:       now,
		timeout:   askTimeout,
	}
}

// Check reports whether password is in a known leak. It takes two seconds at
// most. An error means that nobody knows: whether the password is then taken
// or refused is the caller's decision. No error tells anything of the password.
func (s *Service) Check(ctx context.Context, password string) (found bool, err error) {
	sum := sha1.Sum([]byte(password))
	digits := strings.ToUpper(hex.EncodeToString(sum[:]))
	prefix := digits[:prefixDigits]
	suffix := packSuffix([]byte(digits[prefixDigits:]))

	if rows, ok := s.cache.rows(prefix, s.now()); ok {
		return contains(rows, suffix), nil
	}
	if !s.breaker.enter(s.now(), s.timeout) {
		return false, fmt.Errorf("breach: %w", ErrResting)
	}
	rows, err := s.ask(ctx, prefix)
	switch {
	case err == nil:
		s.breaker.succeeded()
	case ctx.Err() != nil:
		// The caller left; that says nothing of the service.
		return false, fmt.Errorf("breach: %w", err)
	default:
		s.breaker.failed(s.now())
		return false, fmt.Errorf("breach: %w", err)
	}
	s.cache.put(prefix, rows, s.now())
	return contains(rows, suffix), nil
}

// ask returns the packed suffixes of all leaked passwords with that prefix.
func (s *Service) ask(ctx context.Context, prefix string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.baseURL+"/range/"+prefix, nil)
	if err != nil {
		// The parser's text may hold a password out of the configured URL.
		return nil, fetch.ErrRefused
	}
	// Without padding the length of the answer would tell a listener on the
	// wire which prefix it is for.
	req.Header.Set("Add-Padding", "true")
	if s.userAgent != "" {
		req.Header.Set("User-Agent", s.userAgent)
	}
	res, err := s.fetch.Do(ctx, req)
	if err != nil {
		return nil, err
	}
	// The client's own limit may be another's choice. An answer of another
	// kind than 200 holds no list.
	if res.Status != http.StatusOK || len(res.Body) > maxBody {
		return nil, ErrAnswer
	}
	return parse(res.Body)
}

// parse reads lines of 35 hex digits, a colon and a count, and returns the
// digits, packed. Rows whose count is zero are padding and left out. One wrong
// line spoils all: read as "not leaked", the page of a proxy in between would
// let every password through. No real answer is empty.
func parse(body []byte) ([]byte, error) {
	var packed []byte
	some := false
	for line := range bytes.Lines(body) {
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			continue
		}
		digits, count, ok := bytes.Cut(line, []byte(":"))
		if !ok || len(digits) != suffixDigits || len(count) == 0 || len(count) > 19 ||
			len(bytes.Trim(digits, "0123456789ABCDEFabcdef")) > 0 || len(bytes.Trim(count, "0123456789")) > 0 {
			return nil, ErrAnswer
		}
		some = true
		if len(bytes.Trim(count, "0")) == 0 {
			continue
		}
		suffix := packSuffix(digits)
		packed = append(packed, suffix[:]...)
	}
	if !some {
		return nil, ErrAnswer
	}
	return packed, nil
}

// packSuffix returns the 35 hex digits as bytes, with a zero digit at the end.
func packSuffix(digits []byte) (packed [suffixSize]byte) {
	for i, c := range digits {
		d := c - '0'
		if c > '9' {
			d = c&^0x20 - 'A' + 10
		}
		packed[i/2] |= d << (4 * (1 - i%2))
	}
	return packed
}

// contains reports whether suffix is one of rows, and looks at all of them, so
// that the time it takes does not tell which.
func contains(rows []byte, suffix [suffixSize]byte) bool {
	found := 0
	for ; len(rows) >= suffixSize; rows = rows[suffixSize:] {
		found |= subtle.ConstantTimeCompare(rows[:suffixSize], suffix[:])
	}
	return found == 1
}

const (
	breakAfter = 5                // failures in a row
	breakFor   = 30 * time.Second // after the last of them
)

// breaker keeps sign-ups from waiting, one after the other, for a service that
// is down. The zero value lets everybody through.
type breaker struct {
	mu       sync.Mutex // guards all below
	failures int        // in a row
	until    time.Time  // nobody is let through before, if failures ≥ breakAfter
}

// enter reports whether the service may be asked. After the rest one caller at
// a time tries it, for as long as its request may take, and all others go on
// failing at once.
func (b *breaker) enter(now time.Time, try time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures < breakAfter {
		return true
	}
	if now.Before(b.until) {
		return false
	}
	b.until = now.Add(try)
	return true
}

func (b *breaker) succeeded() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures = 0
}

func (b *breaker) failed(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures = min(b.failures+1, breakAfter)
	b.until = now.Add(breakFor)
}
