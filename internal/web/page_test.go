package web

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http/httptest"
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
