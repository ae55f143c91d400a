package auth

import (
	"errors"
	"net/mail"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestCleanEmail_oneFormForOneMailbox(t *testing.T) {
	for in, want := range map[string]string{
		"a@b.com":               "a@b.com",
		"Some.Body@EXAMPLE.Com": "some.body@example.com",
		"  a@b.com\t":           "a@b.com",
		"\u00a0a@b.com\r\n":     "a@b.com",
		"a+tag@b.com":           "a+tag@b.com",
		"a.b@c.com":             "a.b@c.com", // dots count: not every host is Gmail
		"o'neil@b.com":          "o'neil@b.com",
		"root@localhost":        "root@localhost",
		"a@sub.b.co.uk":         "a@sub.b.co.uk",
		"a@münchen.de":          "a@xn--mnchen-3ya.de",
		"a@MÜNCHEN.de":          "a@xn--mnchen-3ya.de",
		"a@xn--mnchen-3ya.de":   "a@xn--mnchen-3ya.de",
		"a@XN--MNCHEN-3YA.DE":   "a@xn--mnchen-3ya.de",
		"a@straße.de":           "a@xn--strae-oqa.de", // and not strasse.de
		"a@例え.テスト":              "a@xn--r8jz45g.xn--zckzah",
		"a@b.рф":                "a@b.xn--p1ai",
	} {
		got, err := CleanEmail(in)
		if err != nil || got != want {
			t.Errorf("%q: got %q, %v; want %q", in, got, err, want)
		}
		if again, err := CleanEmail(got); err != nil || again != got {
			t.Errorf("%q, cleaned twice: %q, %v", in, again, err)
		}
	}
}

func refusedEmail(t *testing.T, what string, in ...string) {
	t.Helper()
	for _, s := range in {
		got, err := CleanEmail(s)
		var e *Error
		if got != "" || !errors.As(err, &e) || e.Code != EmailInvalid || e.Field != "email" {
			t.Errorf("%s: %.80q: got %q, %v; want %s", what, s, got, err, EmailInvalid)
		}
	}
}

func TestThreat_L27_lookAlikesDoNotMeet(t *testing.T) {
	refusedEmail(t, "a mailbox outside ASCII",
		"mıke@b.com", "MİKE@b.com", "mike\u0307@b.com", "ａ@b.com", "м@b.com", "\u212aelly@b.com", "ſam@b.com", "stra\u00dfe@b.com",
		"a\u200bb@b.com", "a\u00ad@b.com", "a\u202e@b.com", "\ufeffa@b.com", "\xffa@b.com", "a\x7f@b.com")
	refusedEmail(t, "a domain that changes under IDNA",
		"a@ｅxample.com", "a@EXAMPLE．com", "a@example。com", "a@\u212aelvin.com", "a@ﬁ.com", "a@①.com", "a@ⅷ.com", "a@a\u00adb.com", "a@a\u200bb.com",
		"a@\u2100.com", "a@ſ.com", "a@a\u2024com", "a@𝐞xample.com", "a@example.com。", "a@gİthub.com", "a@mu\u0308nchen.de", "a@\u212b.com")
	refusedEmail(t, "a domain IDNA refuses",
		"a@a\u200db.com", "a@xn--example-.com", "a@xn--.com", "a@xn--a.com", "a@xn--a-ecp.ru", "a@-b.com", "a@b-.com", "a@ab--cd.com",
		"a@a_b.com", "a@\xff.com", "a@b\xc0\xae.com", "a@\ufffd.com", "a@א1a.com", "a@\u0301b.com")
	// Homographs stay apart, each in a form that shows what it is.
	seen := map[string]string{}
	for _, s := range []string{"a@apple.com", "a@аpple.com", "a@github.com", "a@gıthub.com", "a@fass.de", "a@faß.de", "a@omega.com", "a@ωmega.com"} {
		got, err := CleanEmail(s)
		if err != nil {
			t.Errorf("%q: %v", s, err)
		}
		if other, dup := seen[got]; dup {
			t.Errorf("%q and %q are both %q", s, other, got)
		}
		seen[got] = s
	}
}

func TestThreat_L28_oneAddressAtATime(t *testing.T) {
	refusedEmail(t, "several",
		"a@b.com,c@d.com", "a@b.com, c@d.com", "a@b.com;c@d.com", "a@b.com c@d.com", "a@b.com\tc@d.com", "a@b.com\nc@d.com", "a@b.com\x00c@d.com",
		"a@b.com&email=c@d.com", `["a@b.com","c@d.com"]`, `{"$ne":""}`, "group:a@b.com;", "a@b.com%00", "a@b.com%0a")
	refusedEmail(t, "more than an address",
		"Bob <a@b.com>", "<a@b.com>", `"Bob" <a@b.com>`, "mailto:a@b.com", "a@b.com (Bob)", "a(Bob)@b.com", "(Bob)a@b.com", "a@(Bob)b.com", "a@b.com(Bob)",
		`"a"@b.com`, `"a b"@b.com`, `"a@x.com"@b.com`, `"a\"b"@b.com`, `""@b.com`, `a\@b.com`, "a b@c.com", "a @b.com", "a@ b.com")
	refusedEmail(t, "less than an address",
		"", " ", "@", "a@", "@b.com", "a", "a.b.com", "a@com", "a@.", "a@.com", "a@b..com", "a@b.com.", ".a@b.com", "a.@b.com", "a..b@c.com",
		"a@[127.0.0.1]", "a@[IPv6:::1]", "a@b.com:25", "a@b.com/x", "a@b.com?x", "a@b.com#x", "a@b.com>", "a,b@c.com", "a:b@c.com", "a;b@c.com", "a[b]@c.com")
}

func TestThreat_L29_severalAtsAreRefused(t *testing.T) {
	refusedEmail(t, "several @", "a@b.com@c.com", "a@@b.com", "@a@b.com", "a@b.com@", "@@", "a@b@c", `"a@b"@c.com`, strings.Repeat("a@", 60)+"b.com")
	refusedEmail(t, "an @ in other clothes", "a＠b.com", "a@b＠c.com", "a﹫b.com", "a@b﹫c.com", "a%40b.com", "a&#64;b.com")
}

func TestThreat_L30_noAddressBreaksALine(t *testing.T) {
	for _, cut := range []string{"\r\n", "\n", "\r", "\x00", "\u2028", "\u0085", "\v", "\f", "\x1b", "\t"} {
		for _, s := range []string{"a" + cut + "@b.com", "a@" + cut + "b.com", "a@b" + cut + ".com", "a@b.com" + cut + "RCPT TO:<c@d.com>", "a@b.com>" + cut + "DATA", "a" + cut + "b@c.com"} {
			refusedEmail(t, "a broken line", s)
		}
	}
}

func TestThreat_D04_longAddressesAreRefusedUnread(t *testing.T) {
	exactly := func(n int) string { // the local part at its own limit, the rest in the domain's labels
		local, tail := strings.Repeat("a", 64)+"@", strings.Repeat("b.", 10)+"com"
		for n-len(local)-len(tail) > 63 {
			local += strings.Repeat("c", 60) + "."
		}
		return local + strings.Repeat("d", n-len(local)-len(tail)-1) + "." + tail
	}
	refusedEmail(t, "65 bytes before the @", strings.Repeat("a", 65)+"@b.com")
	if _, err := CleanEmail(exactly(254)); err != nil { // RFC 5321 §4.5.3.1.3
		t.Errorf("254 bytes: %v", err)
	}
	refusedEmail(t, "255 bytes", exactly(255))
	// Long only in the form it would be kept in.
	refusedEmail(t, "long A-labels", "a@"+strings.Repeat("äöü.", 34)+"de")
	start := time.Now()
	for _, s := range []string{
		strings.Repeat("(", 1<<20) + "a@b.com", strings.Repeat("a@", 1<<20), strings.Repeat(`"`, 1<<20) + "@b.com", "a@" + strings.Repeat("ü.", 1<<20), strings.Repeat("<", 1<<20),
		"a@xn--" + strings.Repeat("9", 1<<20), strings.Repeat("a.", 1<<20) + "@b.com", strings.Repeat("=?utf-8?q?=61?= ", 1<<16) + "<a@b.com>", strings.Repeat("@", 1<<20), strings.Repeat("(", 120) + "@" + strings.Repeat("(", 120),
	} {
		refusedEmail(t, "a megabyte", s)
	}
	if d := time.Since(start); d > 2*time.Second { // quadratic would be minutes
		t.Errorf("took %v", d)
	}
}

// checkClean says what must hold of every form that is kept.
func checkClean(t interface{ Fatalf(string, ...any) }, in string) {
	got, err := CleanEmail(in)
	if err != nil {
		if got != "" {
			t.Fatalf("%q: refused, and %q all the same", in, got)
		}
		return
	}
	if again, err := CleanEmail(got); err != nil || again != got {
		t.Fatalf("%q is kept as %q, and that as %q, %v", in, got, again, err)
	}
	if upper, err := CleanEmail(strings.ToUpper(got)); err != nil || upper != got {
		t.Fatalf("%q, written large, is %q, %v", got, upper, err)
	}
	if strings.Count(got, "@") != 1 || len(got) > maxEmail || strings.ToLower(got) != got {
		t.Fatalf("%q is kept as %q", in, got)
	}
	for _, r := range got {
		if r <= ' ' || r >= 0x7f {
			t.Fatalf("%q is kept as %q", in, got)
		}
	}
	a, err := mail.ParseAddress("Some Body <" + got + ">")
	if err != nil || a.Address != got {
		t.Fatalf("%q is kept as %q, which a mail reader takes for %v, %v", in, got, a, err)
	}
}

func TestCleanEmail_isItsOwnCanonicalForm(t *testing.T) {
	label := rapid.OneOf(
		rapid.StringMatching(`[a-zA-Z0-9-]{1,12}`), rapid.StringMatching(`xn--[a-z0-9-]{1,10}`), rapid.StringMatching(`[äÖüßçéıİКириллицаΣσςあア漢字א-]{1,6}`), rapid.StringN(1, 4, 12),
	)
	local := rapid.OneOf(rapid.StringMatching("[a-zA-Z0-9!#$%&'*+/=?^_`{|}~.-]{1,20}"), rapid.StringN(1, 6, 20))
	rapid.Check(t, func(t *rapid.T) {
		s := local.Draw(t, "local") + "@" + strings.Join(rapid.SliceOfN(label, 1, 4).Draw(t, "labels"), ".")
		checkClean(t, s)
	})
}

func FuzzCleanEmail(f *testing.F) {
	for _, s := range []string{
		"a@b.com", "A@B.COM", "a@münchen.de", "a@MÜNCHEN.de", "a@xn--mnchen-3ya.de", "a@ｅxample.com", "a@\xff.com", "mıke@b.com", "a@b@c.com", `"a b"@c.com`,
		"a@b.com\r\nRCPT TO:<c@d.com>", "Bob <a@b.com>", "a(c)@b.com", "a@b.com.", "a@xn--example-.com", "=?utf-8?q?=61?=@b.com", "a@localhost", "a@א1.com", " a@b.com ", "",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { checkClean(t, s) })
}
