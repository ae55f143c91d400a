package gotrue

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"

	"gatehouse/internal/auth"
	"gatehouse/internal/web"
)

// Work is a proof of work that this server asks for itself. The zero value is
// none.
type Work struct {
	Challenge func() any // a new one, to be told as JSON
	Script    string     // solves it, in a browser
}

// securityFields are what clients of Supabase send beside every call that may
// need a captcha.
type securityFields struct {
	Security struct {
		Token string `json:"captcha_token"`
	} `json:"gotrue_meta_security"`
}

// solver is who makes a call that may need a captcha, with what they have
// solved. An administrator's server has nobody who could: its bearer does
// instead. Any other one says nothing here, for clients send one with each call.
func (a *api) solver(r *http.Request, token string) auth.Caller {
	c := web.Caller(r)
	c.Captcha = token
	bearer := web.Bearer(r)
	if bearer == "" || !a.Auth.AsksCaptcha() {
		return c
	}
	_, err := a.Auth.Administrator(r.Context(), c, bearer)
	c.Excused = err == nil
	return c
}

// noWork is what is said where there is none to do.
var noWork = &notBuilt{answer{status: http.StatusNotFound, code: "feature_disabled", msg: "This server asks for no proof of work"}}

// challenge handles "GET /captcha".
func (a *api) challenge(w http.ResponseWriter, _ *http.Request) error {
	if a.Work.Challenge == nil {
		return noWork
	}
	return web.JSON(w, http.StatusOK, a.Work.Challenge())
}

// workScript handles "GET /captcha/pow.js". Pages of other origins import it.
func (a *api) workScript(w http.ResponseWriter, r *http.Request) error {
	if a.Work.Challenge == nil {
		return noWork
	}
	sum := sha256.Sum256([]byte(a.Work.Script))
	etag := `"` + hex.EncodeToString(sum[:16]) + `"`
	h := w.Header()
	h.Set("Cache-Control", "public, max-age=600") // an upgrade of the server may change it
	h.Set("Vary", "Origin")                       // also of an answer that no page asked for
	h.Set("ETag", etag)
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write([]byte(a.Work.Script)) // a client that is gone cannot be told
	return nil
}
