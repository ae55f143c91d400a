package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const undo = "https://api.example.org/undo?token=undo_abc&from=mail"

const link = "https://api.example.org/verify?token=pkce_abc&type=signup&redirect_to=https://app.example.org/in"

func mailOf(kind Kind) Mail {
	return Mail{ID: "m-1", Kind: kind, To: "ann@example.com", Vars: Vars{
		SiteURL: "https://app.example.org", ConfirmationURL: link, Email: "ann@example.com", NewEmail: "ann@new.example",
		Token: "123456", TokenHash: "pkce_abc", RedirectTo: "https://app.example.org/in", Data: map[string]any{"name": "Ann"},
		OldEmail: "ann@old.example", Phone: "+4930111", OldPhone: "+4930222", Provider: "GitHub", FactorType: "totp",
		Device: "Firefox on Linux", Place: "192.0.2.7", At: time.Date(2026, 11, 2, 7, 5, 9, 0, time.UTC), UndoURL: undo,
	}}
}

func render(t *testing.T, o Options, m Mail) Rendered {
	t.Helper()
	r, err := NewTemplates(o).Render(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wants(t *testing.T, what, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%s: %q is missing in\n%s", what, w, text)
		}
	}
}

func lacks(t *testing.T, what, text string, not ...string) {
	t.Helper()
	for _, n := range not {
		if strings.Contains(text, n) {
			t.Errorf("%s: %q must not be in\n%s", what, n, text)
		}
	}
}

// Mission: M02
func TestRender_theWayBackAfterAnUndoingSaysWhyItCame(t *testing.T) {
	tm := NewTemplates(Options{})
	for lang, want := range map[string]string{"en": "was not yours", "de": "nicht von Ihnen", "fr": "pas de vous"} {
		for undone, shown := range map[bool]bool{true: true, false: false} {
			r, err := tm.Render(t.Context(), Mail{Kind: Recovery, To: "ann@example.com", Languages: []string{lang}, Vars: Vars{Undone: undone}})
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(r.Text, want) != shown || strings.Contains(r.HTML, want) != shown {
				t.Errorf("%s, after an undoing %v: the mail says\n%s", lang, undone, r.Text)
			}
		}
	}
}

func TestRender_everyKindHasABuiltInMail(t *testing.T) {
	want := map[Kind]struct{ subject, button string }{
		Invite:            {"You have been invited", "Accept the invitation"},
		Confirmation:      {"Confirm Your Signup", "Confirm email address"},
		Recovery:          {"Reset Your Password", "Choose a new password"},
		MagicLink:         {"Your Magic Link", "Sign in"},
		EmailChange:       {"Confirm Email Change", "Confirm the change"},
		Reauthentication:  {"Confirm Reauthentication", "Confirm"},
		AlreadyRegistered: {"You already have an account", ""},
		AddressWanted:     {"Your email address stays with your account", ""},
		PasswordChanged:   {"Your password has been changed", "This was not me"},
		EmailChanged:      {"Your email address has been changed", "This was not me"},
		PhoneChanged:      {"Your phone number has been changed", "This was not me"},
		IdentityLinked:    {"A new identity has been linked", "This was not me"},
		IdentityUnlinked:  {"An identity has been unlinked", "This was not me"},
		FactorEnrolled:    {"A new MFA factor has been enrolled", "This was not me"},
		FactorUnenrolled:  {"An MFA factor has been unenrolled", "This was not me"},
		NewDevice:         {"New sign-in to your account", "This was not me"},
	}
	if len(Kinds()) != len(want) {
		t.Errorf("%d kinds, want %d", len(Kinds()), len(want))
	}
	for _, kind := range Kinds() {
		r := render(t, Options{}, mailOf(kind))
		what := string(kind)
		if r.Subject != want[kind].subject {
			t.Errorf("%s: subject %q, want %q", kind, r.Subject, want[kind].subject)
		}
		lacks(t, what, r.HTML+r.Text, "{{", "}}", "<no value>", "ZgotmplZ")
		lacks(t, what, r.Text, "&amp;", "</")
		wants(t, what, r.HTML, `<!DOCTYPE html>
<html lang="en">`, "app.example.org")
		wants(t, what, r.Text, "app.example.org")
		to, anchors := link, 2
		switch {
		case kind.bare():
			continue
		case kind.notice():
			to, anchors = undo, 1
			wants(t, what, r.HTML, "If this was you, there is nothing to do.")
			wants(t, what, r.Text, "If this was you, there is nothing to do.")
		default:
			wants(t, what, r.HTML, ">123456</td>", "If you did not ask for this, ignore this mail.", `<a href="https://app.example.org"`)
			wants(t, what, r.Text, "123456", "If you did not ask for this, ignore this mail.", "https://app.example.org")
		}
		wants(t, what, r.HTML, want[kind].button+"</a>", `href="`+strings.ReplaceAll(to, "&", "&amp;")+`"`)
		wants(t, what, r.Text, want[kind].button+":\n"+to+"\n")
		if n := strings.Count(r.HTML, "<a "); n != anchors {
			t.Errorf("%s: %d links, want %d: the button and, but in notices, the site", kind, n, anchors)
		}
	}
}

func TestRender_leavesOutWhatIsNotThere(t *testing.T) {
	m := mailOf(Reauthentication)
	m.Vars.ConfirmationURL = ""
	r := render(t, Options{}, m)
	lacks(t, "code only", r.HTML+r.Text, "button", link)
	wants(t, "code only", r.HTML+r.Text, "Enter this code:", "123456")

	m = mailOf(Recovery)
	m.Vars.Token = ""
	r = render(t, Options{}, m)
	lacks(t, "link only", r.HTML+r.Text, "enter this code")

	r = render(t, Options{}, Mail{Kind: Invite, To: "a@b.c"})
	wants(t, "nothing", r.Text, "You have been invited to create an account. ")
}

// Whoever typed the address is not its owner: the mail must open nothing.
func TestRender_mailsCausedByAStrangerLeadNowhereButToTheSite(t *testing.T) {
	const own = `<a href="{{.ConfirmationURL}}">in</a>{{.ConfirmationURL}}{{.NetlifyURL}}{{.SupabaseURL}}{{.Token}}{{.Code}}{{.TokenHash}}{{.RedirectTo}}{{.Data.name}}{{.UndoURL}}{{.ButtonURL}}` +
		`{{.Device}}{{.Place}}{{.Provider}}{{.FactorType}}{{.Phone}}{{.OldPhone}}{{.OldEmail}}|{{.SiteURL}}`
	for _, kind := range []Kind{AlreadyRegistered, AddressWanted} {
		for _, netlify := range []bool{false, true} {
			m := mailOf(kind)
			m.Vars.NetlifyURL, m.Vars.SupabaseURL, m.Netlify = link, link, netlify
			for _, o := range []Options{{}, {Bodies: map[Kind]string{kind: "own"}, ReadFile: fixed(own)}} {
				r := render(t, o, m)
				what := string(kind)
				lacks(t, what, r.HTML+r.Text, "verify", "pkce_abc", "123456", "/in", "Ann", "undo", "Firefox", "192.0.2.7", "GitHub", "totp", "+49", "old.example")
				wants(t, what, r.HTML, "https://app.example.org")
				wants(t, what, r.Text, "https://app.example.org")
				if o.Bodies == nil {
					wants(t, what, r.HTML+r.Text, "ann@example.com", "Your account has not been changed.")
				}
				for _, l := range links(r.HTML) {
					if l != "https://app.example.org" {
						t.Errorf("%s: link to %s", kind, l)
					}
				}
			}
		}
	}
	// Whose account wanted the address is nobody's business.
	m := mailOf(AddressWanted)
	m.To, m.Vars.Email = "bob@example.com", "eve@example.net"
	if got := ownBody(t, "{{.Email}}{{.NewEmail}}{{.SendingTo}}", m); got != "bob@example.com" {
		t.Errorf("address_wanted shows %q, want the reader's address alone", got)
	}
}

// Mission: M02
func TestRender_subjectAndTemplateOfEveryKindCanBeReplaced(t *testing.T) {
	o := Options{Subjects: map[Kind]string{}, Bodies: map[Kind]string{}}
	for _, kind := range Kinds() {
		o.Subjects[kind] = "Own " + string(kind) + " for {{ .SendingTo }}"
		o.Bodies[kind] = "https://cdn.example.org/" + string(kind) + ".html"
	}
	o.Fetch = func(_ context.Context, url string) ([]byte, error) {
		return []byte("<b>" + strings.TrimPrefix(url, "https://cdn.example.org/") + "</b> {{ .SiteURL }}"), nil
	}
	tm := NewTemplates(o)
	for _, kind := range Kinds() {
		r, err := tm.Render(t.Context(), mailOf(kind))
		if err != nil {
			t.Fatal(err)
		}
		want := Rendered{
			Subject: "Own " + string(kind) + " for ann@example.com",
			HTML:    "<b>" + string(kind) + ".html</b> https://app.example.org",
			Text:    string(kind) + ".html https://app.example.org",
		}
		if diff := cmp.Diff(want, r); diff != "" {
			t.Errorf("%s (-want +got):\n%s", kind, diff)
		}
	}
}

// ownBody renders a template of the operator's over m.
func ownBody(t *testing.T, body string, m Mail) string {
	t.Helper()
	return render(t, Options{
		SiteURL:  "https://default.example.org",
		Bodies:   map[Kind]string{m.Kind: "own.html"},
		ReadFile: func(string) ([]byte, error) { return []byte(body), nil },
	}, m).HTML
}

// Mission: M03
func TestRender_everyVariableIsThere(t *testing.T) {
	m := mailOf(EmailChange)
	m.Vars.NetlifyURL, m.Vars.SupabaseURL = "https://n.example/#email_change_token=t", "https://s.example/verify"
	all := "{{.SiteURL}} {{.SiteHost}} {{.ConfirmationURL}} {{.NetlifyURL}} {{.SupabaseURL}} {{.Email}} {{.NewEmail}} {{.SendingTo}} {{.Token}} {{.Code}} {{.TokenHash}} {{.RedirectTo}} {{.Data.name}} {{.Data.none}}{{.Unknown}}|{{.OldEmail}} {{.Phone}} {{.OldPhone}} {{.Provider}} {{.FactorType}} {{.Device}} {{.Place}} {{.At}} {{.At.Format \"15:04\"}} {{.UndoURL}} {{.Lang}}"
	got := ownBody(t, all, m)
	want := "https://app.example.org app.example.org " + strings.ReplaceAll(link, "&", "&amp;") + " https://n.example/#email_change_token=t https://s.example/verify " +
		"ann@example.com ann@new.example ann@example.com 123456 123456 pkce_abc https://app.example.org/in Ann |" +
		"ann@old.example &#43;4930111 &#43;4930222 GitHub totp Firefox on Linux 192.0.2.7 2 November 2026 at 07:05 UTC 07:05  en"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	m.Vars.SiteURL = ""
	if got, want := ownBody(t, "{{.SiteURL}}", m), "https://default.example.org"; got != want {
		t.Errorf("SiteURL: got %q, want %q", got, want)
	}
}

// Mission: M03
func TestRender_tokenIsTheLinkTokenForNetlify(t *testing.T) {
	m := mailOf(Confirmation)
	m.Vars.ConfirmationURL, m.Vars.NetlifyURL, m.Vars.SupabaseURL = "", "https://n.example/", "https://s.example/"
	const body = "{{ .Token }} {{ .Code }} {{ .ConfirmationURL }}"
	if got, want := ownBody(t, body, m), "123456 123456 https://s.example/"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	m.Netlify = true
	if got, want := ownBody(t, body, m), "pkce_abc 123456 https://n.example/"; got != want {
		t.Errorf("Netlify: got %q, want %q", got, want)
	}
}

// Mission: M03
func TestRender_userDataIsEscapedAndNeverEvaluated(t *testing.T) {
	const bad = `<img src=x onerror=alert(1)>"'{{.TokenHash}}${7*7}`
	m := mailOf(EmailChange)
	m.Vars.Email, m.Vars.NewEmail, m.To = bad, bad, bad
	m.Vars.Data = map[string]any{"name": bad, "url": "javascript:alert(1)", "list": []any{bad}}
	m.Vars.TokenHash = "link-token"
	m.Vars.RedirectTo = "javascript:alert(1)"

	r := render(t, Options{}, m)
	lacks(t, "built in", r.HTML, "<img", "link-token")
	lacks(t, "built in", r.Text, "link-token")

	got := ownBody(t, `<p title="{{.Data.name}}">{{.Data.name}}{{.Data.list}}{{.NewEmail}}</p><a href="{{.Data.url}}">x</a><a href="{{.RedirectTo}}">y</a><script>var n = {{.Data.name}}</script>`, m)
	lacks(t, "own", got, "<img", "link-token", "javascript:", `title="<`)
	wants(t, "own", got, "&lt;img src=x", "{{.TokenHash}}")

	r = render(t, Options{Subjects: map[Kind]string{EmailChange: "Hi {{.Data.name}}"}}, m)
	if got, want := r.Subject, "Hi "+bad; got != want {
		t.Errorf("subject: got %q, want %q", got, want)
	}
}

func TestRender_subjectIsOneLine(t *testing.T) {
	m := mailOf(Confirmation)
	m.Vars.Data = map[string]any{"name": "Ann\r\nBcc: eve@example.net\r\n\r\n<b>\x00\u2028x" + strings.Repeat("y", 500)}
	r := render(t, Options{Subjects: map[Kind]string{Confirmation: "\nHi {{.Data.name}}{{.Data.none}}\n"}}, m)
	if strings.ContainsAny(r.Subject, "\r\n\x00\u2028") || !strings.HasPrefix(r.Subject, "Hi Ann Bcc: eve@example.net <b> xyyy") || len([]rune(r.Subject)) != 200 {
		t.Errorf("got %q", r.Subject)
	}
}

// Mission: M04
func TestRender_brokenTemplateFallsBackToTheBuiltIn(t *testing.T) {
	want := render(t, Options{}, mailOf(Confirmation))
	for name, o := range map[string]Options{
		"fetch fails": {Bodies: map[Kind]string{Confirmation: "https://user:hunter2@gone.example/t?key=hunter2"}, Fetch: func(context.Context, string) ([]byte, error) {
			return nil, errors.New("no answer")
		}},
		"no fetcher":         {Bodies: map[Kind]string{Confirmation: "https://gone.example/t"}},
		"no such file":       {Bodies: map[Kind]string{Confirmation: "no/such/file.html"}},
		"directory":          {Bodies: map[Kind]string{Confirmation: t.TempDir()}},
		"does not parse":     {Bodies: map[Kind]string{Confirmation: "f"}, ReadFile: fixed("{{ .Email ")},
		"does not execute":   {Bodies: map[Kind]string{Confirmation: "f"}, ReadFile: fixed("half {{ .Email.Domain }}")},
		"unsafe place":       {Bodies: map[Kind]string{Confirmation: "f"}, ReadFile: fixed(`<a href='{{if .Email}}"{{end}}>`)},
		"too large":          {MaxSize: 10, Bodies: map[Kind]string{Confirmation: "f"}, ReadFile: fixed("<b>hello hello</b>")},
		"writes for ever":    {Bodies: map[Kind]string{Confirmation: "f"}, ReadFile: fixed(`{{define "x"}}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{{template "x" .}}{{end}}{{template "x" .}}`)},
		"empty":              {Bodies: map[Kind]string{Confirmation: "f"}, ReadFile: fixed(" \n")},
		"subject, parse":     {Subjects: map[Kind]string{Confirmation: "{{ .Email"}},
		"subject, execution": {Subjects: map[Kind]string{Confirmation: "half {{ .Email.Domain }}"}},
		"subject, empty":     {Subjects: map[Kind]string{Confirmation: "{{ .Data.none }}"}},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			o.Log = slog.New(slog.NewTextHandler(&log, nil))
			got := render(t, o, mailOf(Confirmation))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("not the built-in mail (-want +got):\n%s", diff)
			}
			if strings.Contains(name, "empty") {
				return
			}
			wants(t, "log", log.String(), "using the built-in one", "kind=confirmation")
			lacks(t, "log", log.String(), "hunter2", "123456", "pkce_abc")
		})
	}
}

func fixed(body string) func(string) ([]byte, error) {
	return func(string) ([]byte, error) { return []byte(body), nil }
}

func TestRender_findsTemplatesInFilesAndOnTheSite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "own.html")
	if err := os.WriteFile(file, []byte("from file"), 0o600); err != nil {
		t.Fatal(err)
	}
	var asked []string
	for from, want := range map[string]string{file: "from file", "/mail/own.html": "from site"} {
		got := render(t, Options{
			SiteURL: "https://app.example.org/sub/", Bodies: map[Kind]string{Invite: from},
			Fetch: func(_ context.Context, url string) ([]byte, error) {
				asked = append(asked, url)
				return []byte("from site"), nil
			},
		}, mailOf(Invite))
		if got.HTML != want {
			t.Errorf("%s: got %q, want %q", from, got.HTML, want)
		}
	}
	if diff := cmp.Diff([]string{"https://app.example.org/sub/mail/own.html"}, asked); diff != "" {
		t.Errorf("fetched (-want +got):\n%s", diff)
	}
}

// clock is a clock that is turned by hand.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time           { return time.Unix(1_700_000_000, c.at.Load()) }
func (c *clock) forward(by time.Duration) { c.at.Add(int64(by)) }

func TestRender_fetchesAgainOnlyWhenTooOldAndKeepsTheStaleCopy(t *testing.T) {
	var c clock
	var fetches int
	body, fail := "one", error(nil)
	tm := NewTemplates(Options{
		Bodies: map[Kind]string{Invite: "https://cdn.example.org/i"}, Now: c.now, MaxAge: time.Minute,
		Fetch: func(context.Context, string) ([]byte, error) { fetches++; return []byte(body), fail },
	})
	step := func(what string, by time.Duration, wantHTML string, wantFetches int) {
		t.Helper()
		c.forward(by)
		r, err := tm.Render(t.Context(), mailOf(Invite))
		if err != nil {
			t.Fatal(err)
		}
		if r.HTML != wantHTML || fetches != wantFetches {
			t.Errorf("%s: got %.20q after %d fetches, want %q after %d", what, r.HTML, fetches, wantHTML, wantFetches)
		}
	}
	step("first", 0, "one", 1)
	body = "two"
	step("still good", 59*time.Second, "one", 1)
	step("too old", time.Second, "two", 2)
	fail = errors.New("down")
	step("site down", time.Minute, "two", 3)
	step("not asked again at once", 9*time.Second, "two", 3)
	step("asked again", time.Second, "two", 4)
	fail, body = nil, "{{ broken"
	step("new copy broken", 10*time.Second, "two", 5)
	body = `<a href='{{if .Email}}"{{end}}>`
	step("new copy unsafe", 10*time.Second, "two", 6)
	body = "three"
	step("mended", 10*time.Second, "three", 7)
}

func TestRender_failedFirstFetchIsNotRepeatedAtOnce(t *testing.T) {
	var c clock
	var fetches int
	tm := NewTemplates(Options{
		Bodies: map[Kind]string{Invite: "https://cdn.example.org/i"}, Now: c.now,
		Fetch: func(context.Context, string) ([]byte, error) { fetches++; return nil, fs.ErrNotExist },
	})
	for _, want := range []int{1, 1, 2} {
		if _, err := tm.Render(t.Context(), mailOf(Invite)); err != nil {
			t.Fatal(err)
		}
		if fetches != want {
			t.Errorf("%d fetches, want %d", fetches, want)
		}
		c.forward(9 * time.Second)
	}
}

func TestRender_doesNotWaitForeverForAHangingSite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tm := NewTemplates(Options{
			Bodies: map[Kind]string{Invite: "https://cdn.example.org/i"},
			Fetch:  func(ctx context.Context, _ string) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() },
		})
		begin := time.Now()
		r, err := tm.Render(t.Context(), mailOf(Invite))
		if err != nil || !strings.Contains(r.HTML, "Accept the invitation") {
			t.Errorf("got %v, want the built-in mail", err)
		}
		if d := time.Since(begin); d != fetchLimit {
			t.Errorf("waited %v, want %v", d, fetchLimit)
		}
	})
}

func TestRender_callerWhoGivesUpDoesNotSpoilTheTemplate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tm := NewTemplates(Options{
			Bodies: map[Kind]string{Invite: "https://cdn.example.org/i"},
			Fetch: func(ctx context.Context, _ string) ([]byte, error) {
				select {
				case <-ctx.Done():
					return nil, ctx.Err()
				case <-time.After(2 * time.Second):
					return []byte("own"), nil
				}
			},
		})
		var wg sync.WaitGroup
		for range 2 { // one fetches, the other waits for it
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if _, err := tm.Render(ctx, mailOf(Invite)); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v, want DeadlineExceeded", err)
				}
			})
		}
		wg.Wait()
		if r, err := tm.Render(t.Context(), mailOf(Invite)); err != nil || r.HTML != "own" {
			t.Errorf("got %.20q, %v, want the operator's template", r.HTML, err)
		}
	})
}

func TestRender_manyAtOnceFetchOnce(t *testing.T) {
	var fetches atomic.Int32
	tm := NewTemplates(Options{
		Bodies: map[Kind]string{Invite: "https://cdn.example.org/i"},
		Fetch:  func(context.Context, string) ([]byte, error) { fetches.Add(1); return []byte("{{.Email}}"), nil },
	})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if r, err := tm.Render(t.Context(), mailOf(Invite)); err != nil || r.HTML != "ann@example.com" {
				t.Errorf("got %.20q, %v", r.HTML, err)
			}
		})
	}
	wg.Wait()
	if n := fetches.Load(); n != 1 {
		t.Errorf("%d fetches, want 1", n)
	}
}

func TestRender_unknownKindIsPermanent(t *testing.T) {
	_, err := NewTemplates(Options{}).Render(t.Context(), Mail{Kind: "postcard"})
	if !Permanent(err) {
		t.Errorf("got %v, want a permanent error", err)
	}
}

func TestMail_survivesTheQueue(t *testing.T) {
	want := mailOf(EmailChange)
	want.Netlify, want.Languages = true, []string{"de-AT", "en"}
	raw, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Mail
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
