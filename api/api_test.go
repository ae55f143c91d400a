package api_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"

	"gatehouse/api"
)

func TestHandler_givesTheDescriptionAndSparesWhoHasIt(t *testing.T) {
	h := api.Handler()
	ask := func(etag string) *http.Response {
		r := httptest.NewRequest("GET", "/openapi.yaml", nil)
		if etag != "" {
			r.Header.Set("If-None-Match", etag)
		}
		a := httptest.NewRecorder()
		h.ServeHTTP(a, r)
		res := a.Result()
		if res.Header.Get("Cache-Control") == "" || res.Header.Get("ETag") == "" {
			t.Errorf("nobody is told how long to keep it: %v", res.Header)
		}
		if res.StatusCode == http.StatusOK && (res.Header.Get("Content-Type") != "application/yaml" || !bytes.Equal(a.Body.Bytes(), api.OpenAPI)) {
			t.Errorf("the answer is %v of %d bytes, want the description", res.Header, a.Body.Len())
		}
		if res.StatusCode == http.StatusNotModified && a.Body.Len() > 0 {
			t.Error("it is sent to somebody who has it")
		}
		return res
	}
	first := ask("")
	if first.StatusCode != http.StatusOK {
		t.Fatalf("status %d", first.StatusCode)
	}
	if got := ask(first.Header.Get("ETag")).StatusCode; got != http.StatusNotModified {
		t.Errorf("with its own ETag: %d, want 304", got)
	}
	if got := ask(`"another"`).StatusCode; got != http.StatusOK {
		t.Errorf("with another ETag: %d, want 200", got)
	}
}
