package main

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// mounted is every route that the source of the edges and pages mounts.
func mounted(t *testing.T) (routes [][2]string) {
	t.Helper()
	pattern := regexp.MustCompile(`"(GET|POST|PUT|PATCH|DELETE) (/[^" ]*)"`)
	seen := map[string]bool{}
	for _, folder := range []string{"dialect/gotrue", "pages"} {
		files, err := filepath.Glob(filepath.Join("..", "..", "internal", filepath.FromSlash(folder), "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no source of %s: %v", folder, err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range pattern.FindAllStringSubmatch(string(text), -1) {
				if !seen[m[0]] {
					seen[m[0]] = true
					routes = append(routes, [2]string{m[1], m[2]})
				}
			}
		}
	}
	return routes
}

// Whatever is asked and whatever the answer: nobody keeps it, frames it, runs it
// or learns an address with a secret in it.
func TestHeaders_everyRouteIsGuarded(t *testing.T) {
	t.Parallel()
	s := start(t, "API_EXTERNAL_URL=https://auth.example.com", "GATEHOUSE_RATE_LIMITS=off")
	routes := mounted(t)
	if len(routes) < 30 {
		t.Fatalf("only %d routes were found; do they look different now?", len(routes))
	}
	value := regexp.MustCompile(`\{[^}]*\}`)
	for _, r := range routes {
		path := value.ReplaceAllString(r[1], "00000000-0000-0000-0000-000000000001")
		if path == "/00000000-0000-0000-0000-000000000001" {
			path = "/" // {$}
		}
		for _, prefix := range []string{"", "/auth/v1", "/.netlify/identity", "/nobody"} {
			for _, who := range []string{"", operator} {
				var body any
				if r[0] != "GET" {
					body = object{}
				}
				var headers []string
				if who != "" {
					headers = []string{bearer(who)}
				}
				a, err := s.ask(r[0], prefix+path, body, headers...)
				if err != nil {
					t.Fatal(err)
				}
				guarded(t, r[0]+" "+prefix+r[1], a)
			}
		}
	}
}

// What a user is handed is guarded in the same way: tokens, users, pages,
// redirects with tokens in their fragment.
func TestHeaders_everyAnswerWithASecretIsGuarded(t *testing.T) {
	t.Parallel()
	s := start(t, "API_EXTERNAL_URL=https://auth.example.com", "GATEHOUSE_RATE_LIMITS=off", "GATEHOUSE_MAILER_LINK_MODE=direct")
	s.person("ann@example.com")
	in := s.signIn("ann@example.com", password)
	guarded(t, "a sign-in", in)
	guarded(t, "a refresh", s.refresh(200, in.text("refresh_token")))
	guarded(t, "a user", s.do(200, "GET", "/user", nil, bearer(in.text("access_token"))))
	guarded(t, "a sign-up", s.do(200, "POST", "/signup", object{"email": "bob@example.com", "password": password}))
	a := s.do(200, "POST", "/admin/generate_link", object{"type": "magiclink", "email": "ann@example.com"}, bearer(operator))
	guarded(t, "a link", a)
	link, err := url.Parse(a.text("action_link"))
	if err != nil {
		t.Fatal(err)
	}
	a, err = s.ask("GET", link.RequestURI(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(a.header.Get("Location"), "access_token=") {
		t.Fatalf("the link leads to %d %q, want tokens in a fragment", a.status, a.header.Get("Location"))
	}
	guarded(t, "a redirect with tokens", a)
}

// guarded checks the headers of an answer. Keys are for everybody, and for a
// while; a page's form needs its own address as a referrer.
func guarded(t *testing.T, what string, a answer) {
	t.Helper()
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
		"Cross-Origin-Resource-Policy": "same-origin", "Content-Security-Policy": "frame-ancestors 'none'",
		"Strict-Transport-Security": "max-age=31536000",
	} {
		got := a.header.Get(name)
		switch {
		case name == "Cache-Control" && strings.HasSuffix(what, "/jwks.json") && a.status == 200:
			want = "public"
		case name == "Referrer-Policy" && strings.HasPrefix(a.header.Get("Content-Type"), "text/html"):
			want = "same-origin"
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s (%d) has %s %q, want %q in it", what, a.status, name, got, want)
		}
	}
	csp := a.header.Get("Content-Security-Policy")
	if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "script-src") {
		t.Errorf("%s (%d) may run something: %s", what, a.status, csp)
	}
}
