package web

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestCORS_reflectsOnlyTrustedOrigins(t *testing.T) {
	c := &CORS{
		Next:    http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }),
		Trusted: []string{"https://site.example"}, Headers: []string{"X-Own"},
	}
	for _, tc := range []struct {
		origin, method, asks string
		status               int
		allow, credentials   string
	}{
		{"", "GET", "", 418, "", ""},
		{"", "OPTIONS", "GET", 418, "", ""},
		{"https://site.example", "GET", "", 418, "https://site.example", "true"},
		{"https://site.example", "OPTIONS", "POST", 204, "https://site.example", "true"},
		{"https://site.example", "OPTIONS", "", 418, "https://site.example", "true"}, // not a preflight
		{"https://evil.example", "GET", "", 418, "*", ""},
		{"https://evil.example", "OPTIONS", "POST", 204, "*", ""},
		{"https://site.example.evil.example", "GET", "", 418, "*", ""},
		{"http://site.example", "GET", "", 418, "*", ""},
		{"null", "GET", "", 418, "*", ""},
	} {
		r := httptest.NewRequest(tc.method, "/user", nil)
		if tc.origin != "" {
			r.Header.Set("Origin", tc.origin)
		}
		if tc.asks != "" {
			r.Header.Set("Access-Control-Request-Method", tc.asks)
		}
		w := httptest.NewRecorder()
		c.ServeHTTP(w, r)
		h := w.Header()
		if w.Code != tc.status || h.Get("Access-Control-Allow-Origin") != tc.allow || h.Get("Access-Control-Allow-Credentials") != tc.credentials {
			t.Errorf("%s from %q asking for %q = %d, %q, credentials %q; want %d, %q, %q", tc.method, tc.origin, tc.asks,
				w.Code, h.Get("Access-Control-Allow-Origin"), h.Get("Access-Control-Allow-Credentials"), tc.status, tc.allow, tc.credentials)
		}
		if (tc.origin != "") != (h.Get("Vary") == "Origin") {
			t.Errorf("%s from %q has Vary %q", tc.method, tc.origin, h.Get("Vary"))
		}
		if tc.status == 204 && (!strings.Contains(h.Get("Access-Control-Allow-Headers"), "apikey") || !strings.Contains(h.Get("Access-Control-Allow-Headers"), "X-Own")) {
			t.Errorf("the preflight allows the headers %q", h.Get("Access-Control-Allow-Headers"))
		}
	}
}

func TestOrigin_isWhatABrowserWrites(t *testing.T) {
	for raw, want := range map[string]string{
		"https://Site.Example/app?x#y": "https://site.example", "HTTP://localhost:3000": "http://localhost:3000",
		"": "", "/path": "", "com.example.app:callback": "", "://": "",
	} {
		if got := Origin(raw); got != want {
			t.Errorf("Origin(%q) = %q, want %q", raw, got, want)
		}
	}
}
