package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// shelf is an operator's site: what is where, and what was asked for.
type shelf struct {
	pages map[string]string
	asked []string
}

func (s *shelf) fetch(_ context.Context, url string) ([]byte, error) {
	s.asked = append(s.asked, strings.TrimPrefix(url, "https://cdn.example.org/"))
	page, ok := s.pages[url]
	if !ok {
		return nil, errors.New("404")
	}
	return []byte(page), nil
}

func inLanguages(kind Kind, tags ...string) Mail {
	m := mailOf(kind)
	m.Languages = tags
	return m
}

func TestRender_operatorsTemplateInTheReadersLanguage(t *testing.T) {
	const at = "https://cdn.example.org/"
	pages := map[string]string{
		at + "nl/i.html":    "Hallo {{.Lang}}",
		at + "pt-BR/i.html": "Olá {{.Lang}}",
		at + "pt/i.html":    "Olá, {{.Lang}}",
		at + "fr/i.html":    "Salut {{.Lang}}",
		at + "da/i.html":    "{{ broken",
		at + "sv/i.html":    "{{.Email.Domain}}",
		at + "fi/i.html":    " ",
		at + "de/i.html":    "Hallo, {{.Lang}}",
	}
	for _, c := range []struct {
		name  string
		tags  []string
		lang  string
		want  string
		asked []string
	}{
		{"the reader's", []string{"nl"}, "fr", "Hallo nl", []string{"nl"}},
		{"of a region", []string{"pt-br"}, "fr", "Olá pt-BR", []string{"pt-BR"}},
		{"of the language for want of the region", []string{"pt-PT"}, "fr", "Olá, pt", []string{"pt-PT", "pt"}},
		{"the second", []string{"ja", "nl"}, "fr", "Hallo nl", []string{"ja", "nl"}},
		{"the third", []string{"ja", "ko", "nl"}, "fr", "Hallo nl", []string{"ja", "ko", "nl"}},
		{"not the fourth", []string{"ja", "ko", "vi", "nl"}, "fr", "Salut fr", []string{"ja", "ko", "vi", "fr"}},
		{"the operator's, where none is preferred", nil, "de", "Hallo, de", []string{"de"}},
		{"broken ones are passed over", []string{"da", "sv", "fi"}, "fr", "Salut fr", []string{"da", "sv", "fi", "fr"}},
		{"broken ones alone", []string{"sv"}, "fi", "", []string{"sv", "fi"}},
		{"a climber", []string{"../nl", "%2e%2e", "nl/../de"}, "fr", "Salut fr", []string{"fr"}},
		{"no language of the operator's", nil, "../nl", "", []string{"en"}},
		{"none", []string{"ja"}, "ko", "", []string{"ja", "ko"}},
	} {
		s := shelf{pages: pages}
		r := render(t, Options{
			Language: c.lang, Bodies: map[Kind]string{Invite: at + "{lang}/i.html"}, Fetch: s.fetch,
		}, inLanguages(Invite, c.tags...))
		if c.want == "" {
			wants(t, c.name, r.HTML, `<html lang="en">`, "Accept the invitation")
		} else if r.HTML != c.want {
			t.Errorf("%s: got %.40q, want %q", c.name, r.HTML, c.want)
		}
		for i := range c.asked {
			c.asked[i] += "/i.html"
		}
		if diff := cmp.Diff(c.asked, s.asked); diff != "" {
			t.Errorf("%s: asked for (-want +got):\n%s", c.name, diff)
		}
	}
}

// The built-in mail speaks the reader's language where the operator's do not.
func TestRender_fallsBackToTheBuiltInMailInTheReadersLanguage(t *testing.T) {
	var s shelf
	r := render(t, Options{Bodies: map[Kind]string{Invite: "https://cdn.example.org/{lang}"}, Fetch: s.fetch}, inLanguages(Invite, "fr-CA"))
	wants(t, "HTML", r.HTML, `<html lang="fr">`, "Accepter l’invitation")
	if want := "Vous avez reçu une invitation"; r.Subject != want {
		t.Errorf("subject: got %q, want %q", r.Subject, want)
	}
}

func TestRender_findsLanguagesInFilesAndOnTheSite(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "invite.nl.html"), []byte("uit bestand"), 0o600); err != nil {
		t.Fatal(err)
	}
	var asked []string
	fetch := func(_ context.Context, url string) ([]byte, error) {
		asked = append(asked, url)
		return []byte("from site"), nil
	}
	for from, want := range map[string]string{
		filepath.Join(dir, "invite.{lang}.html"): "uit bestand",
		"/mail/{lang}/{lang}.html":               "from site",
	} {
		r := render(t, Options{SiteURL: "https://app.example.org", Bodies: map[Kind]string{Invite: from}, Fetch: fetch}, inLanguages(Invite, "nl"))
		if r.HTML != want {
			t.Errorf("%s: got %.40q, want %q", from, r.HTML, want)
		}
	}
	if diff := cmp.Diff([]string{"https://app.example.org/mail/nl/nl.html"}, asked); diff != "" {
		t.Errorf("fetched (-want +got):\n%s", diff)
	}
}

func TestRender_withoutLangInItsPlaceATemplateIsForAll(t *testing.T) {
	s := shelf{pages: map[string]string{"https://cdn.example.org/i": "{{.Lang}}"}}
	tm := NewTemplates(Options{Bodies: map[Kind]string{Invite: "https://cdn.example.org/i"}, Fetch: s.fetch})
	for tag, want := range map[string]string{"de": "de", "nl": "en", "fr-CA": "fr"} {
		r, err := tm.Render(t.Context(), inLanguages(Invite, tag))
		if err != nil || r.HTML != want {
			t.Errorf("%s: got %.20q, %v, want %q", tag, r.HTML, err, want)
		}
	}
	if len(s.asked) != 1 {
		t.Errorf("asked for %v, want one fetch", s.asked)
	}
}

func TestRender_aTemplateMayDefineItsSubject(t *testing.T) {
	m := mailOf(Invite)
	m.Vars.Data["name"] = "Ann & <Bob>\r\nBcc: eve@example.net"
	for _, c := range []struct{ name, body, want string }{
		{"defined", `{{define "subject"}}Voor {{.Data.name}}{{end}}<p>Hallo</p>`, "Voor Ann & <Bob> Bcc: eve@example.net"},
		{"over lines, at the end", "<p>Hallo</p>{{define \"subject\"}}\n  Hallo\n{{end}}", "Hallo"},
		{"not defined", "<p>Hallo</p>", "Own"},
		{"empty", `{{define "subject"}} {{end}}<p>Hallo</p>`, "Own"},
		{"failing", `{{define "subject"}}{{.Email.Domain}}{{end}}<p>Hallo</p>`, "Own"},
		{"without a body", `{{define "subject"}}Alone{{end}} `, "Own"},
	} {
		r := render(t, Options{
			Subjects: map[Kind]string{Invite: "Own"}, Bodies: map[Kind]string{Invite: "f"}, ReadFile: fixed(c.body),
		}, m)
		if r.Subject != c.want {
			t.Errorf("%s: got %q, want %q", c.name, r.Subject, c.want)
		}
		if c.name != "without a body" && r.HTML != "<p>Hallo</p>" {
			t.Errorf("%s: body %.40q", c.name, r.HTML)
		}
	}
}

// Languages come from requests: they must fill neither the memory nor push out
// what is in use.
func TestRender_remembersABoundedNumberOfLanguages(t *testing.T) {
	s := shelf{pages: map[string]string{"https://cdn.example.org/nl": "Hallo"}}
	tm := NewTemplates(Options{Bodies: map[Kind]string{Invite: "https://cdn.example.org/{lang}"}, Fetch: s.fetch})
	say := func(tag string) {
		t.Helper()
		if _, err := tm.Render(t.Context(), inLanguages(Invite, tag)); err != nil {
			t.Fatal(err)
		}
	}
	say("nl")
	n := 0
	for a := 'a'; a <= 'z'; a++ {
		for b := 'a'; b <= 'z'; b++ {
			say(fmt.Sprintf("ja-%c%c", a, b)) // most regions there are, and many that are not
			say(fmt.Sprintf("q%c%c", a%('u'-'a')+'a', b))
			n += 2
		}
	}
	if got := len(tm.bodies.known); got != maxSources {
		t.Errorf("remembers %d sources after %d languages, want %d", got, n, maxSources)
	}
	s.asked = nil
	say("nl")
	if len(s.asked) != 0 {
		t.Errorf("the template in use was pushed out: asked for %v", s.asked)
	}
}

func TestSources_forgetTheOldestOfThoseThatFoundNothing(t *testing.T) {
	s := newSources()
	for n := range maxSources {
		s.at(fmt.Sprint(n))
	}
	s.keep("0")
	s.keep("gone")
	first, one, two := s.at("0"), s.at("1"), s.at("2")
	s.at("new") // in place of 3
	s.keep("new")
	if s.known["3"] != nil || len(s.known) != maxSources {
		t.Errorf("%d sources, the oldest among them: %t", len(s.known), s.known["3"] != nil)
	}
	for n := range maxSources {
		s.at(fmt.Sprint("more ", n))
	}
	if s.at("0") != first || s.known["new"] == nil {
		t.Error("what had a template was forgotten before what had none")
	}
	if s.at("1") == one || s.at("2") == two {
		t.Error("the oldest is still there")
	}
	for from := range s.known { // templates everywhere: then it is age alone
		s.keep(from)
	}
	s.at("0")
	for n := range maxSources {
		from := fmt.Sprint("good ", n)
		s.at(from)
		s.keep(from)
	}
	if len(s.known) != maxSources {
		t.Errorf("%d sources, want %d", len(s.known), maxSources)
	}
}

func TestRender_manyLanguagesAtOnce(t *testing.T) {
	tm := NewTemplates(Options{
		Bodies: map[Kind]string{Invite: "https://cdn.example.org/{lang}"},
		Fetch: func(_ context.Context, url string) ([]byte, error) {
			if strings.HasSuffix(url, "/nl") {
				return []byte("Hallo"), nil
			}
			return nil, errors.New("404")
		},
	})
	var wg sync.WaitGroup
	for n := range 40 {
		wg.Go(func() {
			tags := []string{"nl", "de", "fr", "ja"}
			r, err := tm.Render(t.Context(), inLanguages(Invite, tags[n%4], fmt.Sprintf("x%c-%c%c", 'a'+n%20, 'A'+n%26, 'B')))
			if err != nil || (n%4 == 0) != (r.HTML == "Hallo") {
				t.Errorf("%s: got %.20q, %v", tags[n%4], r.HTML, err)
			}
		})
	}
	wg.Wait()
}

func TestRender_waitsForAHangingSiteOnceWhateverTheLanguages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tm := NewTemplates(Options{
			Bodies: map[Kind]string{Invite: "https://cdn.example.org/{lang}"},
			Fetch:  func(ctx context.Context, _ string) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() },
		})
		begin := time.Now()
		r, err := tm.Render(t.Context(), inLanguages(Invite, "nl", "de", "fr"))
		if err != nil || !strings.Contains(r.HTML, "Einladung annehmen") {
			t.Errorf("got %v, want the built-in mail in German", err)
		}
		if d := time.Since(begin); d != fetchLimit {
			t.Errorf("waited %v, want %v", d, fetchLimit)
		}
	})
}

// Nobody has templates in every language: that is no fault to report. A fault
// in one that is there is.
func TestRender_reportsFaultsButNotMissingLanguages(t *testing.T) {
	for _, c := range []struct {
		name, pages string
		want        []string
	}{
		{"missing", "Hello", nil},
		{"missing everywhere", "", []string{"en", "using the built-in one"}},
		{"broken", "{{ broken", []string{"nl", "using that of the next language"}},
	} {
		var log bytes.Buffer
		s := shelf{pages: map[string]string{"https://cdn.example.org/en": "Hello"}}
		switch c.name {
		case "broken":
			s.pages["https://cdn.example.org/nl"] = c.pages
		case "missing everywhere":
			s.pages = nil
		}
		render(t, Options{
			Bodies: map[Kind]string{Invite: "https://cdn.example.org/{lang}"}, Fetch: s.fetch, Log: slog.New(slog.NewTextHandler(&log, nil)),
		}, inLanguages(Invite, "nl"))
		if len(c.want) == 0 && log.Len() != 0 || len(c.want) != 0 && strings.Count(log.String(), "\n") != 1 {
			t.Errorf("%s: logged\n%s", c.name, log.String())
		}
		if len(c.want) != 0 {
			wants(t, c.name, log.String(), "from=https://cdn.example.org/"+c.want[0], c.want[1])
		}
	}
}
