package main

import (
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var href = regexp.MustCompile(`href="([^"]+)"`)

// linkIn returns the first link of a mail.
func linkIn(t *testing.T, page string) string {
	t.Helper()
	m := href.FindStringSubmatch(page)
	if m == nil {
		t.Fatalf("there is no link in %s", page)
	}
	return html.UnescapeString(m[1])
}

// fourMails has each kind of mail sent, and returns them by kind.
func fourMails(t *testing.T, s *server, m *mailServer) map[string]letter {
	t.Helper()
	s.do(200, "POST", "/invite", object{"email": "invited@example.com"}, bearer(operator))
	s.do(200, "POST", "/signup", object{"email": "new@example.com", "password": password})
	s.person("ada@example.com")
	s.do(200, "POST", "/recover", object{"email": "ada@example.com"})
	access := s.signIn("ada@example.com", password).text("access_token")
	s.do(200, "PUT", "/user", object{"email": "ada@new.example.com"}, bearer(access))
	return map[string]letter{
		"invite":       m.await(t, "invited@example.com", 1),
		"confirmation": m.await(t, "new@example.com", 1),
		"recovery":     m.await(t, "ada@example.com", 1),
		"email_change": m.await(t, "ada@new.example.com", 1),
	}
}

// Mission: M01, M02
func TestMail_leavesByTheOperatorsServer(t *testing.T) {
	t.Parallel()
	m := listenMail(t, false)
	s := start(t, m.settings("GOTRUE_SITE_URL=https://app.example.com", "GOTRUE_MAILER_SECURE_EMAIL_CHANGE_ENABLED=false")...)
	if strings.Contains(s.out.String(), "inbox") {
		t.Errorf("the banner speaks of an inbox: %s", s.out)
	}
	s.do(404, "GET", "/dev/inbox", nil)
	for kind, l := range fourMails(t, s, m) {
		want := map[string]string{
			"invite": "You have been invited", "confirmation": "Confirm Your Signup",
			"recovery": "Reset Your Password", "email_change": "Confirm Email Change",
		}[kind]
		if got := l.header.Get("Subject"); got != want {
			t.Errorf("%s: the subject is %q, want %q", kind, got, want)
		}
		if got := l.header.Get("From"); got != `"The Gate" <gate@example.net>` || l.from != "gate@example.net" {
			t.Errorf("%s: it comes from %s, in the envelope %s", kind, got, l.from)
		}
		if got := linkIn(t, l.html); !strings.HasPrefix(got, s.url+"/verify?") {
			t.Errorf("%s: the link is %s", kind, got)
		}
		if !strings.Contains(l.text, s.url+"/verify?") {
			t.Errorf("%s: the plain text has no link: %s", kind, l.text)
		}
	}
	s.follow(linkIn(t, m.to("new@example.com")[0].html))
	s.signIn("new@example.com", password)
}

// Mission: M02, M03
func TestMail_hasTheOperatorsWords(t *testing.T) {
	t.Parallel()
	const template = `<p>own {{.Email}} new={{.NewEmail}} at={{.SiteURL}} data={{.Data.name}} <a href="{{.ConfirmationURL}}">go</a></p>`
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/mails/own.html" {
			http.NotFound(w, r)
			return
		}
		w.Write([]byte(template))
	}))
	defer site.Close()
	file := filepath.Join(t.TempDir(), "own.html")
	err := os.WriteFile(file, []byte(template), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	m := listenMail(t, false)
	s := start(t, m.settings(
		"GOTRUE_SITE_URL="+site.URL, "GATEHOUSE_OUTGOING_ALLOW_PRIVATE=true", "GOTRUE_MAILER_SECURE_EMAIL_CHANGE_ENABLED=false",
		"GOTRUE_MAILER_SUBJECTS_INVITE=Come in, {{.Email}}", "GOTRUE_MAILER_TEMPLATES_INVITE="+file, "GOTRUE_MAILER_URLPATHS_INVITE=/own/invite",
		"GOTRUE_MAILER_SUBJECTS_CONFIRMATION=Is it you, {{.Email}}", "GOTRUE_MAILER_TEMPLATES_CONFIRMATION="+site.URL+"/mails/own.html", "GOTRUE_MAILER_URLPATHS_CONFIRMATION=/auth/v1/verify",
		"GOTRUE_MAILER_SUBJECTS_RECOVERY=Lost, {{.Email}}", "GOTRUE_MAILER_TEMPLATES_RECOVERY=/mails/own.html", "GOTRUE_MAILER_URLPATHS_RECOVERY=/own/recovery",
		"GOTRUE_MAILER_SUBJECTS_EMAIL_CHANGE=Moving, {{.Email}}", "GOTRUE_MAILER_TEMPLATES_EMAIL_CHANGE="+file, "GOTRUE_MAILER_URLPATHS_EMAIL_CHANGE=/own/change",
	)...)
	mails := fourMails(t, s, m)
	for kind, want := range map[string]struct{ subject, path, own string }{
		"invite":       {"Come in, invited@example.com", "/own/invite", "own invited@example.com new= at=" + site.URL},
		"confirmation": {"Is it you, new@example.com", "/auth/v1/verify", "own new@example.com new= at=" + site.URL},
		"recovery":     {"Lost, ada@example.com", "/own/recovery", "own ada@example.com new= at=" + site.URL},
		"email_change": {"Moving, ada@example.com", "/own/change", "own ada@example.com new=ada@new.example.com at=" + site.URL},
	} {
		l := mails[kind]
		if got := l.header.Get("Subject"); got != want.subject {
			t.Errorf("%s: the subject is %q, want %q", kind, got, want.subject)
		}
		if !strings.Contains(l.html, want.own) {
			t.Errorf("%s: the text is %q, want it to have %q", kind, l.html, want.own)
		}
		if got := linkIn(t, l.html); !strings.HasPrefix(got, s.url+want.path+"?") {
			t.Errorf("%s: the link is %s, want the path %s", kind, got, want.path)
		}
	}
	s.follow(linkIn(t, mails["confirmation"].html))
	s.signIn("new@example.com", password)

	// What people call themselves is text, never markup. And Netlify's clients
	// find their own kind of link, on the site.
	s.do(200, "POST", "/.netlify/identity/signup", object{"email": "eve@example.com", "password": password, "data": object{"name": `<a href="https://evil.example">x</a>`}})
	l := m.await(t, "eve@example.com", 1)
	if strings.Contains(l.html, "<a href=\"https://evil") || !strings.Contains(l.html, "data=&lt;a href=") {
		t.Errorf("the mail has markup of its sender's: %s", l.html)
	}
	if got := linkIn(t, l.html); !strings.HasPrefix(got, site.URL+"/auth/v1/verify#confirmation_token=") {
		t.Errorf("Netlify's link is %s", got)
	}
}

// Mission: M04
func TestMail_leavesWithBuiltInWordsWhenATemplateFails(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 10)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		http.Error(w, "no", http.StatusInternalServerError)
	}))
	defer site.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for name, c := range map[string]struct{ template, private string }{
		"nobody answers": {gone.URL, "true"},
		"an error":       {site.URL + "/error", "true"},
		// Whoever can name a URL must not reach the inner network by it.
		"a private address": {site.URL + "/private", "false"},
		"no file":           {"./nothing.html", "true"},
	} {
		t.Run(name, func(t *testing.T) {
			m := listenMail(t, false)
			s := start(t, m.settings("GOTRUE_MAILER_TEMPLATES_CONFIRMATION="+c.template, "GATEHOUSE_OUTGOING_ALLOW_PRIVATE="+c.private)...)
			s.do(200, "POST", "/signup", object{"email": "ada@example.com", "password": password})
			l := m.await(t, "ada@example.com", 1)
			if !strings.Contains(l.html, "Confirm your email address") {
				t.Errorf("the mail is %s", l.html)
			}
			s.follow(linkIn(t, l.html))
			s.signIn("ada@example.com", password)
			if !strings.Contains(s.log.String(), "mail template could not be loaded; using the built-in one") {
				t.Errorf("the log is silent: %s", s.log)
			}
		})
	}
	close(asked)
	for path := range asked {
		if path != "/error" {
			t.Errorf("%s was fetched", path)
		}
	}
}

// Mission: C02
func TestLinks_beginWithTheAddressesThatWereConfigured(t *testing.T) {
	t.Parallel()
	s := start(t, "API_EXTERNAL_URL=https://id.example.com/auth/v1", "GOTRUE_SITE_URL=https://app.example.com")
	s.do(200, "POST", "/auth/v1/signup", object{"email": "ada@example.com", "password": password})
	link := s.mail("ada@example.com", 1).Links[0]
	if !strings.HasPrefix(link, "https://id.example.com/auth/v1/verify?") {
		t.Errorf("Supabase's link is %s", link)
	}
	if got := mustQuery(t, link).Get("redirect_to"); got != "https://app.example.com" {
		t.Errorf("it leads on to %s", got)
	}
	// Nor does a forged Host change it.
	s.do(200, "POST", "/recover", object{"email": "ada@example.com"}, "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https")
	link = s.mail("ada@example.com", 2).Links[0]
	if !strings.HasPrefix(link, "https://id.example.com/auth/v1/verify?") {
		t.Errorf("a forged host makes the link %s", link)
	}
	s.do(200, "POST", "/.netlify/identity/signup", object{"email": "bob@example.com", "password": password})
	link = s.mail("bob@example.com", 1).Links[0]
	if !strings.HasPrefix(link, "https://app.example.com/#confirmation_token=") {
		t.Errorf("Netlify's link is %s", link)
	}
	// Behind a proxy that keeps the path, the link works as mailed.
	u, err := url.Parse(s.mail("ada@example.com", 1).Links[0])
	if err != nil {
		t.Fatal(err)
	}
	target, said := s.follow(s.url + u.RequestURI())
	if target != "https://app.example.com" || said.Get("access_token") == "" {
		t.Errorf("the link leads to %s with %v", target, said)
	}
}
