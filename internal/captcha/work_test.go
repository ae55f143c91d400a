package captcha_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/captcha"
)

var begin = time.Date(2026, 10, 1, 12, 0, 0, 123456789, time.UTC)

// macOf is a keyed hash that tells its parts apart.
func macOf(key string) func(...[]byte) [32]byte {
	return func(parts ...[]byte) (sum [32]byte) {
		h := hmac.New(sha256.New, []byte(key))
		for _, p := range parts {
			h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
			h.Write(p)
		}
		h.Sum(sum[:0])
		return sum
	}
}

func newWork(t testing.TB, o captcha.WorkOptions) *captcha.Work {
	t.Helper()
	if o.MAC == nil {
		o.MAC = macOf("key")
	}
	if o.Tenant == "" {
		o.Tenant = "tenant a"
	}
	w, err := captcha.NewWork(o)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// zeros is the work in a nonce, by the letter of the comment at Challenge.
func zeros(text string, nonce uint64) int {
	seed := sha256.Sum256([]byte(text))
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(seed[:], nonce))
	n := 0
	for _, b := range sum {
		n += bits.LeadingZeros8(b)
		if b != 0 {
			break
		}
	}
	return n
}

func tokenOf(text string, nonce uint64) string { return fmt.Sprintf("pow.%s.%016x", text, nonce) }

// solve returns the token of the first nonce whose work fits.
func solve(text string, fits func(zeros int) bool) string {
	for nonce := uint64(0); ; nonce++ {
		if fits(zeros(text, nonce)) {
			return tokenOf(text, nonce)
		}
	}
}

func atLeast(n int) func(int) bool { return func(z int) bool { return z >= n } }
func exactly(n int) func(int) bool { return func(z int) bool { return z == n } }

// refused fails the test unless the error is a refusal with this code.
func refused(t *testing.T, w *captcha.Work, token string, now time.Time, code string) {
	t.Helper()
	id, ends, err := w.Check(token, now)
	e := (*captcha.Error)(nil)
	if !errors.Is(err, captcha.ErrRefused) || !errors.As(err, &e) || len(e.Codes) != 1 || e.Codes[0] != code {
		t.Errorf("%.120q: got %v, want %s", token, err, code)
	}
	if id != nil || !ends.IsZero() {
		t.Errorf("%.120q: got %x, %v with a refusal", token, id, ends)
	}
}

func TestWork_takesWhatWasSolved(t *testing.T) {
	t.Parallel()
	for _, n := range []int{8, 9, 13} {
		w := newWork(t, captcha.WorkOptions{Bits: n})
		c := w.Challenge(begin)
		if want := begin.Truncate(time.Second).Add(10 * time.Minute); c.Bits != n || c.Ends != want {
			t.Errorf("got %d bits until %v, want %d until %v", c.Bits, c.Ends, n, want)
		}
		id, ends, err := w.Check(solve(c.Text, atLeast(n)), begin)
		if err != nil || len(id) != 16 || ends != c.Ends {
			t.Fatalf("got %x, %v, %v, want 16 bytes, %v", id, ends, err, c.Ends)
		}
		// Every solution of one challenge has the id that is spent once.
		found := 0
		second := solve(c.Text, func(z int) bool {
			if z >= n {
				found++
			}
			return found == 2
		})
		other, _, err := w.Check(second, begin)
		if err != nil || !bytes.Equal(id, other) {
			t.Errorf("got %x, %v, want %x", other, err, id)
		}
	}
}

func TestWork_everyChallengeIsAnother(t *testing.T) {
	t.Parallel()
	w := newWork(t, captcha.WorkOptions{Bits: 8})
	seen := map[string]bool{}
	for range 50 {
		c := w.Challenge(begin)
		id, _, err := w.Check(solve(c.Text, atLeast(8)), begin)
		if err != nil {
			t.Fatal(err)
		}
		if seen[string(id)] || seen[c.Text] {
			t.Fatal("a challenge came twice")
		}
		seen[string(id)], seen[c.Text] = true, true
	}
}

func TestWork_heldToTheLastBit(t *testing.T) {
	t.Parallel()
	for _, n := range []int{8, 10, 12} {
		w := newWork(t, captcha.WorkOptions{Bits: n})
		c := w.Challenge(begin)
		if _, _, err := w.Check(solve(c.Text, exactly(n)), begin); err != nil {
			t.Errorf("%d bits of %d: %v", n, n, err)
		}
		if _, _, err := w.Check(solve(c.Text, exactly(n+1)), begin); err != nil {
			t.Errorf("%d bits of %d: %v", n+1, n, err)
		}
		refused(t, w, solve(c.Text, exactly(n-1)), begin, captcha.CodeTooLittle)
		refused(t, w, solve(c.Text, exactly(0)), begin, captcha.CodeTooLittle)
	}
}

func TestWork_endsWhenItSays(t *testing.T) {
	t.Parallel()
	w := newWork(t, captcha.WorkOptions{Bits: 8, Life: time.Minute})
	c := w.Challenge(begin)
	solved := solve(c.Text, atLeast(8))
	if _, _, err := w.Check(solved, c.Ends.Add(-time.Nanosecond)); err != nil {
		t.Errorf("just before: %v", err)
	}
	for _, late := range []time.Time{c.Ends, c.Ends.Add(time.Nanosecond), c.Ends.Add(time.Hour), c.Ends.AddDate(100, 0, 0)} {
		refused(t, w, solved, late, captcha.CodeExpired)
	}
}

func TestWork_refusesChallengesOfOthers(t *testing.T) {
	t.Parallel()
	w := newWork(t, captcha.WorkOptions{Bits: 8})
	for name, other := range map[string]*captcha.Work{
		"another key":    newWork(t, captcha.WorkOptions{Bits: 8, MAC: macOf("other")}),
		"another tenant": newWork(t, captcha.WorkOptions{Bits: 8, Tenant: "tenant b"}),
	} {
		solved := solve(other.Challenge(begin).Text, atLeast(8))
		if _, _, err := other.Check(solved, begin); err != nil {
			t.Fatalf("%s: it is not even good there: %v", name, err)
		}
		refused(t, w, solved, begin, captcha.CodeForged)
	}
	// One of the same server from before the operator asked for more stays good.
	before := newWork(t, captcha.WorkOptions{Bits: 9}).Challenge(begin)
	if _, _, err := w.Check(solve(before.Text, atLeast(9)), begin); err != nil {
		t.Errorf("another difficulty: %v", err)
	}
	refused(t, w, solve(before.Text, exactly(8)), begin, captcha.CodeTooLittle)
}

func TestWork_refusesAlteredChallenges(t *testing.T) {
	t.Parallel()
	w := newWork(t, captcha.WorkOptions{Bits: 28}) // so that no change is solved by chance
	raw, err := base64.RawURLEncoding.DecodeString(w.Challenge(begin).Text)
	if err != nil {
		t.Fatal(err)
	}
	alter := func(change func(b []byte)) string {
		b := bytes.Clone(raw)
		change(b)
		return base64.RawURLEncoding.EncodeToString(b)
	}
	// Any bit at all.
	for i := range 8 * len(raw) {
		refused(t, w, tokenOf(alter(func(b []byte) { b[i/8] ^= 1 << (i % 8) }), 0), begin, captcha.CodeForged)
	}
	// Made easy, and solved.
	for _, n := range []byte{0, 1, 8} {
		easy := alter(func(b []byte) { b[0] = n })
		refused(t, w, solve(easy, atLeast(int(n))), begin, captcha.CodeForged)
	}
	// Made to last.
	refused(t, w, tokenOf(alter(func(b []byte) { copy(b[1:9], "\x7f\xff\xff\xff\xff\xff\xff\xff") }), 0), begin, captcha.CodeForged)
	refused(t, w, tokenOf(alter(func(b []byte) { clear(b[len(b)-32:]) }), 0), begin, captcha.CodeForged)
	// As it is, it wants work.
	refused(t, w, tokenOf(alter(func([]byte) {}), 0), begin, captcha.CodeTooLittle)
}

func TestWork_refusesMalformedTokens(t *testing.T) {
	t.Parallel()
	w := newWork(t, captcha.WorkOptions{Bits: 8})
	c := w.Challenge(begin)
	good := solve(c.Text, atLeast(8))
	if _, _, err := w.Check(good, begin); err != nil {
		t.Fatal(err)
	}
	nonce := good[len(good)-16:]
	for _, bad := range []string{
		"", "pow.", "pow..", "pow." + c.Text, c.Text + "." + nonce, good[:len(good)-1], good + "0", " " + good, good + "\n", "POW" + good[3:],
		"pow." + c.Text[1:] + "." + nonce, "pow." + c.Text + "A." + nonce, "pow." + c.Text + "." + nonce[1:], "pow." + c.Text + ".0" + nonce,
		"pow." + c.Text + ":" + nonce,
		"pow." + c.Text + "." + strings.Repeat("g", 16), "pow." + c.Text + ".0x" + nonce[2:], "pow." + c.Text + ".+" + nonce[1:],
		"pow." + c.Text + "." + nonce[:7] + "_" + nonce[8:], "pow." + c.Text + "." + strings.Repeat("A", 16), "pow." + c.Text + ".-000000000000001",
		"pow.\n" + c.Text[1:] + "." + nonce, "pow." + c.Text[:72] + "\r\n\r\n." + nonce, "pow." + c.Text[:75] + "=." + nonce, "pow.+" + c.Text[1:] + "." + nonce, "pow./" + c.Text[1:] + "." + nonce,
		strings.Repeat("A", len(good)), strings.Repeat("\x00", len(good)), "pow." + strings.Repeat("ü", 38) + "." + nonce,
		strings.Repeat("pow.", 1<<20),
	} {
		refused(t, w, bad, begin, captcha.CodeMalformed)
	}
}

func TestWork_errorTellsNothingOfTheToken(t *testing.T) {
	t.Parallel()
	w := newWork(t, captcha.WorkOptions{})
	c := w.Challenge(begin)
	_, _, err := w.Check(tokenOf(c.Text, 0xdeadbeefdeadbeef), begin.Add(time.Hour))
	if got, want := err.Error(), "captcha pow: the captcha was not solved (expired)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNewWork_refusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	mac := macOf("key")
	for _, o := range []captcha.WorkOptions{
		{}, {MAC: mac, Bits: 7}, {MAC: mac, Bits: 29}, {MAC: mac, Bits: -1}, {MAC: mac, Life: -time.Second}, {MAC: mac, Life: time.Millisecond},
	} {
		if _, err := captcha.NewWork(o); err == nil {
			t.Errorf("%d bits for %v: got no error", o.Bits, o.Life)
		}
	}
	for n, want := range map[int]int{0: 18, captcha.MinBits: 8, captcha.MaxBits: 28} {
		if got := newWork(t, captcha.WorkOptions{Bits: n}).Challenge(begin).Bits; got != want {
			t.Errorf("%d bits: got %d, want %d", n, got, want)
		}
	}
}

func FuzzWorkCheck(f *testing.F) {
	mine, other := newWork(f, captcha.WorkOptions{Bits: 8}), newWork(f, captcha.WorkOptions{Bits: 8, Tenant: "tenant b"})
	c := mine.Challenge(begin)
	good := solve(c.Text, atLeast(8))
	for _, s := range []string{good, tokenOf(c.Text, 1), solve(other.Challenge(begin).Text, atLeast(8)), "pow.", "", good[1:], strings.ToUpper(good)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, token string) {
		id, ends, err := mine.Check(token, begin)
		if err != nil {
			if !errors.Is(err, captcha.ErrRefused) || id != nil || !ends.IsZero() {
				t.Errorf("got %x, %v, %v, want a refusal alone", id, ends, err)
			}
			return
		}
		// Fuzzing runs in several processes, each with challenges of its own:
		// so judge anew, by the letter, what was taken.
		part := strings.Split(token, ".")
		if len(part) != 3 || part[0] != "pow" || len(part[2]) != 16 {
			t.Fatalf("%q is taken", token)
		}
		raw, err := base64.RawURLEncoding.DecodeString(part[1])
		nonce, err2 := strconv.ParseUint(part[2], 16, 64)
		if err != nil || err2 != nil || tokenOf(part[1], nonce) != token || len(raw) != 57 {
			t.Fatalf("%q is taken", token)
		}
		seal := macOf("key")([]byte("captcha work 1"), []byte("tenant a"), raw[:25])
		if !bytes.Equal(seal[:], raw[25:]) || zeros(part[1], nonce) < 8 || !bytes.Equal(id, raw[9:25]) || !ends.After(begin) {
			t.Errorf("%q is taken", token)
		}
	})
}
