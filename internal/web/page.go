package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"runtime/debug"
)

//go:embed page.html page.css
var pageFiles embed.FS

// Page is one small hosted page in the house's frame: no scripts, no frames,
// nothing from elsewhere.
type Page struct {
	t     *template.Template
	style string // the Content-Security-Policy source of its one style sheet
}

// NewPage parses the body of a page; it fails at start or never.
func NewPage(body string) Page {
	t := template.Must(template.ParseFS(pageFiles, "page.html"))
	css, err := pageFiles.ReadFile("page.css")
	if err != nil {
		panic(err) // it is part of the binary
	}
	t = template.Must(t.New("css").Parse(string(css)))
	sum := sha256.Sum256(css)
	return Page{
		t:     template.Must(t.New("body").Parse(body)),
		style: "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'",
	}
}

// Write renders the page before a byte is sent.
func (p Page) Write(w http.ResponseWriter, status int, title string, data any) error {
	var b bytes.Buffer
	err := p.t.ExecuteTemplate(&b, "page.html", map[string]any{"Title": title, "Data": data})
	if err != nil {
		return fmt.Errorf("web: page %q: %w", title, err)
	}
	p.headers(w.Header())
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
	return nil
}

// headers are those of every hosted page. form-action is left open, because
// browsers hold the redirect that answers a form against it, and that may lead
// to an application's own scheme; where it leads is checked before it is sent.
func (p Page) headers(h http.Header) {
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src "+p.style+"; img-src data:; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Frame-Options", "DENY")
	// The address of the page holds a secret, so no other site gets it; this one
	// does, because without a referrer a form's Origin is null.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Robots-Tag", "noindex")
}

func stack() string { return string(debug.Stack()) }
