package notify

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPlain_saysWhatThePageSays(t *testing.T) {
	for _, c := range []struct{ name, page, want string }{
		{"nothing", "", ""},
		{"words only", "  Hallo \n\t Welt ", "Hallo Welt"},
		{"entities", "Gr&uuml;&szlig;e &amp; K&#252;sse&nbsp;&nbsp;&lt;3", "Grüße & Küsse <3"},
		{"escaped once", "&amp;lt;b&amp;gt;", "&lt;b&gt;"},
		{"inline tags", "<b>Ha</b>llo <i>Welt</i> !", "Hallo Welt !"},
		{"space at an edge", "<b>Hallo </b>Welt<i> und</i>&nbsp;<u>Mond</u>", "Hallo Welt und Mond"},
		{"styles, scripts, title, comments", `<!DOCTYPE html><head><title>T</title><style>p { color: red }</style></head><!-- no --><!--[if mso]><p>mso</p><![endif]--><script>if (1 < 2) "<p>x</p>"</script><p>Hallo</p>`, "Hallo"},
		{"a style without end", "Hallo<style>p { color: red }", "Hallo"},
		{"paragraphs", "<p>eins</p>\n\n<p>zwei</p><p></p><p> </p><br><br><br><p>drei</p>", "eins\n\nzwei\n\ndrei"},
		{"lines", "<div>eins<br>zwei</div><div><div>drei</div></div>", "eins\nzwei\ndrei"},
		{"a list", "<ul><li>eins</li><li></li><li>zwei</li><li><p>drei</p></li></ul>Ende", "- eins\n- zwei\n\n- drei\n\nEnde"},
		{"cells", "<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc"},
		{"a picture", `<img alt="Logo" src="https://x.example/l.png"><img src="y">`, "Logo"},
		{"a link", `<p>Bitte <a class="b" href="https://x.example/?a=1&amp;b=2">hier <b>klicken</b></a>.</p>`, "Bitte hier klicken (https://x.example/?a=1&b=2)."},
		{"a link around blocks", `<a href="https://x.example/"><table><tr><td>Los</td></tr></table></a><p>Ende</p>`, "Los (https://x.example/)\n\nEnde"},
		{"a link that shows itself", `<a href="https://x.example/?a=1&amp;b=2"> https://x.example/?a=1&amp;b=2 </a>`, "https://x.example/?a=1&b=2"},
		{"a link without words", `Da: <a href="https://x.example/"><img src="x"></a>`, "Da: https://x.example/"},
		{"an address", `<a href="mailto:a@b.example">a@b.example</a> <a href="mailto:a@b.example">Hilfe</a>`, "a@b.example Hilfe (mailto:a@b.example)"},
		{"a link to nowhere", `<a>a</a> <a href="">b</a> <a href="#x">c</a> <a href=" JavaScript:x()">d</a>`, "a b c d"},
		{"links without end", `<a href="https://x.example/1">eins <a href="https://x.example/2">zwei`, "eins (https://x.example/1) zwei (https://x.example/2)"},
		{"a link in pieces", "<a href=\" https://x.example/\n\ta b\">eins</a>", "eins (https://x.example/a%20b)"},
		{"broken off", "Hallo <p", "Hallo"},
	} {
		if diff := cmp.Diff(c.want, plain(c.page)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// The built-in pages have hand-written texts to compare with.
func TestPlain_ofABuiltInPageHasAllTheReaderNeeds(t *testing.T) {
	for _, kind := range Kinds() {
		r := render(t, Options{}, mailOf(kind))
		got := plain(r.HTML)
		lacks(t, string(kind), got, "{", "<", "&amp;", "color", "\n\n\n")
		switch {
		case kind.notice():
			wants(t, string(kind), got, "If this was you, there is nothing to do.", "("+undo+")", "\nDevice Firefox on Linux\n", "app.example.org")
		case kind.bare():
			wants(t, string(kind), got, "Your account has not been changed.", "https://app.example.org")
		default:
			wants(t, string(kind), got, "If you did not ask for this, ignore this mail.", "("+link+")", "\n123456\n", "https://app.example.org")
		}
	}
}

func TestRender_textSaysWhatTheOperatorsHTMLSays(t *testing.T) {
	m := mailOf(Recovery)
	m.Vars.Data["name"] = "<b>Ann</b>\n\nhttp://evil.example"
	o := Options{
		Subjects: map[Kind]string{Recovery: "Neues Passwort"},
		Bodies:   map[Kind]string{Recovery: "own.html"},
	}
	for _, c := range []struct{ name, body, want string }{
		{
			"words", `<p>Hallo {{.Data.name}},</p><p><a href="{{.ConfirmationURL}}">Neues Passwort</a> oder {{.Code}}</p>`,
			"Hallo <b>Ann</b> http://evil.example,\n\nNeues Passwort (" + link + ") oder 123456",
		},
		{"pictures only", `<img src="https://cdn.example.org/hallo.png">`, "Neues Passwort"},
	} {
		o.ReadFile = fixed(c.body)
		if diff := cmp.Diff(c.want, render(t, o, m).Text); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// What the fetcher knows about a mend must reach whoever reads the log.
func TestRender_logsTheFetchersWordsWhenATemplateIsRefused(t *testing.T) {
	const why = "fetch http://10.0.0.7: the address is not allowed; set SOMETHING=true"
	var log bytes.Buffer
	render(t, Options{
		SiteURL: "http://10.0.0.7", Bodies: map[Kind]string{Invite: "/mails/invite.html"},
		Fetch: func(context.Context, string) ([]byte, error) { return nil, errors.New(why) },
		Log:   slog.New(slog.NewTextHandler(&log, nil)),
	}, mailOf(Invite))
	if !strings.Contains(log.String(), why) || strings.Count(log.String(), "\n") != 1 {
		t.Errorf("want one line with %q, got\n%s", why, log.String())
	}
}
