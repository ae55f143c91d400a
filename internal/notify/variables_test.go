package notify

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

var notices = []Kind{
	PasswordChanged, EmailChanged, PhoneChanged, IdentityLinked, IdentityUnlinked, FactorEnrolled, FactorUnenrolled, NewDevice,
}

// A reader in alarm follows what is there: it must only take back.
func TestRender_noticesHaveNoLinkButTheOneThatTakesBack(t *testing.T) {
	const own = `{{.ConfirmationURL}}{{.NetlifyURL}}{{.SupabaseURL}}{{.Token}}{{.Code}}{{.TokenHash}}{{.RedirectTo}}<a href="{{.UndoURL}}">undo</a>`
	for _, kind := range notices {
		for _, netlify := range []bool{false, true} {
			m := mailOf(kind)
			m.Vars.NetlifyURL, m.Vars.SupabaseURL, m.Netlify = link, link, netlify
			for _, o := range []Options{{}, {Bodies: map[Kind]string{kind: "own"}, ReadFile: fixed(own)}} {
				r := render(t, o, m)
				lacks(t, string(kind), r.HTML+r.Text, "verify", "pkce_abc", "123456", "/in")
				if l := links(r.HTML); len(l) != 1 || l[0] != undo {
					t.Errorf("%s links to %v, want %s alone", kind, l, undo)
				}
				if strings.Count(r.Text, "://") != 1 {
					t.Errorf("%s: other addresses than that in\n%s", kind, r.Text)
				}
			}
			m.Vars.UndoURL = ""
			r := render(t, Options{}, m)
			lacks(t, string(kind), r.HTML+r.Text, "<a ", "://", "This was not me", "72 hours")
			wants(t, string(kind), r.Text, "choose a new password at app.example.org")
		}
	}
}

func TestRender_noticesSayWhatHappenedWhenAndWhere(t *testing.T) {
	want := map[Kind][]string{
		PasswordChanged:  {"password stops working"},
		EmailChanged:     {"ann@old.example", "ann@example.com", "undoes the change"},
		PhoneChanged:     {"+4930222", "+4930111", "undoes the change"},
		IdentityLinked:   {"GitHub", "undoes the change"},
		IdentityUnlinked: {"GitHub", "undoes the change"},
		FactorEnrolled:   {"authenticator app", "undoes the change"},
		FactorUnenrolled: {"authenticator app", "undoes the change"},
		NewDevice:        {"signed in"},
	}
	for _, kind := range notices {
		r := render(t, Options{}, mailOf(kind))
		all := append(want[kind], "2 November 2026 at 07:05 UTC", "Firefox on Linux", "192.0.2.7", "signs out all sessions", "72 hours")
		wants(t, string(kind), r.Text, all...)
		wants(t, string(kind), strings.ReplaceAll(r.HTML, "&#43;", "+"), all...)
		if kind == NewDevice {
			lacks(t, string(kind), r.HTML+r.Text, "undoes")
		}

		m := mailOf(kind) // of which nothing is known
		m.Vars = Vars{}
		r = render(t, Options{}, m)
		lacks(t, "bare "+string(kind), r.HTML+r.Text, "Device", "When", "IP address", " at ", "<table role=\"presentation\" cellpadding=\"0\" cellspacing=\"0\" border=\"0\" style=\"margin", "<no value>", "<strong>")
	}
}

func TestRender_saysOnWhichDeviceAMailWasAskedFor(t *testing.T) {
	for _, kind := range []Kind{Confirmation, Recovery, MagicLink, EmailChange, Reauthentication} {
		m := mailOf(kind)
		r := render(t, Options{}, m)
		const line = "Asked for on Firefox on Linux, 2 November 2026 at 07:05 UTC."
		wants(t, string(kind), r.HTML, ">"+line+"</p>")
		wants(t, string(kind), r.Text, "\n"+line+"\n")
		lacks(t, string(kind), r.HTML+r.Text, "192.0.2.7", undo)

		m.Vars.At = time.Time{}
		wants(t, string(kind), render(t, Options{}, m).Text, "\nAsked for on Firefox on Linux.\n")
		m.Vars.Device = ""
		lacks(t, string(kind), render(t, Options{}, m).Text, "Asked for")
	}
}

func TestRender_whatStrangersNamedIsEscapedAndCut(t *testing.T) {
	const bad = `<a href="https://evil.example/">{{.TokenHash}}</a>` + "\r\n\r\n\u202Ex\x00"
	m := mailOf(IdentityLinked)
	m.Vars.Provider, m.Vars.Device, m.Vars.Place = bad+strings.Repeat("y", 1000), bad+strings.Repeat("ä", 1000), "10.0.0.1\nBcc: x"
	r := render(t, Options{}, m)
	lacks(t, "HTML", r.HTML, `<a href="https://evil`, "\u202e", "\x00", "pkce_abc", strings.Repeat("y", 64))
	lacks(t, "text", r.Text, "\u202e", "\x00", "\r", "\nBcc", "pkce_abc", strings.Repeat("y", 64))
	wants(t, "HTML", r.HTML, "&lt;a href=&#34;https://evil.example/&#34;&gt;")

	m = mailOf(MagicLink)
	m.Vars.Device = "Firefox, see https://evil.example/ now"
	r = render(t, Options{}, m)
	wants(t, "device", r.Text, "Asked for on Firefox, see https evil example now, 2 November")
	lacks(t, "device", r.HTML+r.Text, "evil.example")

	for in, want := range map[string]string{
		"":                                  "",
		"Firefox 128.0.1 on Mac OS X 10.15": "Firefox 128.0.1 on Mac OS X 10.15",
		"win now: http://evil.example/x":    "win now http evil example x",
		"me@evil.example":                   "me evil example",
		"evil。example \\\\evil":             "evil example evil",
		"http://127.0.0.1:80/":              "http 127.0.0.1:80",
		"a\n\tb\u2028c":                     "a b c",
	} {
		if got := short(unlinked(in)); got != want {
			t.Errorf("device %q: got %q, want %q", in, got, want)
		}
	}
	for _, n := range []int{63, 64, 65, 10_000} {
		got := short(strings.Repeat("ä", n))
		if runes := utf8.RuneCountInString(got); runes != min(n, 64) || strings.HasSuffix(got, "…") != (n > 64) {
			t.Errorf("%d characters became %d: %s", n, runes, got)
		}
	}
	if got := short(strings.Repeat("\xff", 3)); !utf8.ValidString(got) {
		t.Errorf("got %q", got)
	}
}
