// Package api holds the description of the HTTP API for machines and for
// people who write clients. Begin with openapi.yaml; tests hold every answer
// of the server against it.
package api

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"net/http"
)

// OpenAPI is the description, an OpenAPI 3.0 document in YAML.
//
//go:embed openapi.yaml
var OpenAPI []byte

// Handler answers "GET /openapi.yaml".
func Handler() http.Handler {
	sum := sha256.Sum256(OpenAPI)
	etag := `"` + hex.EncodeToString(sum[:16]) + `"`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "public, max-age=600") // an upgrade of the server may change it
		h.Set("ETag", etag)
		if r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		h.Set("Content-Type", "application/yaml")
		_, _ = w.Write(OpenAPI) // a client that is gone cannot be told
	})
}
