package main

import (
	"testing"

	openapi "gatehouse/api"
)

func TestServe_handsItsDescriptionOut(t *testing.T) {
	s := start(t)
	a := s.do(200, "GET", "/openapi.yaml", nil)
	if a.body != string(openapi.OpenAPI) || a.header.Get("Content-Type") != "application/yaml" {
		t.Errorf("/openapi.yaml is %d bytes of %q, want api/openapi.yaml", len(a.body), a.header.Get("Content-Type"))
	}
	s.do(304, "GET", "/openapi.yaml", nil, "If-None-Match: "+a.header.Get("ETag"))
}
