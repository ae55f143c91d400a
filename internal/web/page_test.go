package web

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestPage_escapesAndAllowsNothingButItsOwnStyle(t *testing.T) {
	w := httptest.NewRecorder()
	err := NewPage(`<p>{{.}}</p><a href="{{.}}" title="{{.}}">x</a>`).Write(w, 203, `</title><script>alert(1)</script>`, `javascript:alert("<script>")`)
	if err != nil {
		t.Fatal(err)
	}
	body := w.Body.String()
	if w.Code != 203 || strings.Contains(body, "<script>") || strings.Contains(body, `href="javascript`) {
		t.Errorf("the page (%d) lets what it was given through:\n%s", w.Code, body)
	}
	_, style, _ := strings.Cut(body, "<style>")
	style, _, found := strings.Cut(style, "</style>")
	sum := sha256.Sum256([]byte(style))
	want := "style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	if csp := w.Header().Get("Content-Security-Policy"); !found || !strings.Contains(csp, want) {
		t.Errorf("the policy %q does not allow the page's own style (%s)", csp, want)
	}
	for _, part := range []string{"default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"} {
		if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, part) || strings.Contains(csp, "unsafe") || strings.Contains(csp, "script-src") {
			t.Errorf("the policy %q lacks %s, or allows scripts", csp, part)
		}
	}
}

func TestPage_thatFailsSendsNothing(t *testing.T) {
	w := httptest.NewRecorder()
	err := NewPage(`<p>half of {{.Missing.Field}}</p>`).Write(w, 200, "x", struct{}{})
	if err == nil || w.Body.Len() > 0 || len(w.Header()) > 0 {
		t.Errorf("Write of a page that fails = %v, sent %q %v; want an error and nothing", err, w.Body, w.Header())
	}
}

// A colour that is written where it is used is the same by day and by night,
// and one of the two cannot be read.
func TestPage_hasEveryColourInBothSchemes(t *testing.T) {
	css, err := pageFiles.ReadFile("page.css")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`--[a-z]+: #`)
	var schemes [][]string
	for line := range strings.Lines(string(css)) {
		if strings.Contains(line, ":root {") {
			schemes = append(schemes, names.FindAllString(line, -1))
		} else if found := regexp.MustCompile(`#[0-9a-f]{3,8}\b`).FindString(line); found != "" {
			t.Errorf("%s has the colour %s", strings.TrimSpace(line), found)
		}
	}
	if len(schemes) != 2 || len(schemes[0]) == 0 || !slices.Equal(schemes[0], schemes[1]) {
		t.Errorf("the schemes are %q, want two with the same names", schemes)
	}
}
