package gotrue

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// stateHead is how long the part of a state is that is a journey's own; what
// follows says whose it is.
const stateHead = 43

// WriteSign is what ReadSign reads, good for a while: it ends the state of a
// journey of s, as those who come back from elsewhere bring no header of the
// proxy's. It is empty where it could not be signed.
func WriteSign(s Sign, operatorToken string, now time.Time, life time.Duration) string {
	claims := jwt.MapClaims{"id": s.Tenant.String(), "exp": now.Add(life).Unix()}
	if s.SiteURL != "" {
		claims["site_url"] = s.SiteURL
	}
	if len(s.Hooks) > 0 {
		claims["function_hooks"] = s.Hooks
	}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(operatorToken))
	if err != nil || operatorToken == "" {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString([]byte(signed))
}

// SignOf returns what proxies in front say of a request: their header, or what the
// state says of a browser that comes back from elsewhere.
func SignOf(r *http.Request) []string {
	headers := r.Header.Values("X-Nf-Sign")
	if len(headers) > 0 {
		return headers
	}
	back := func(path string) bool { return strings.HasSuffix(r.URL.Path, path) }
	switch posted := r.Method == http.MethodPost && (back("/callback") || back("/saml/acs")); {
	case posted:
		body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxPosted))
		r.Body = io.NopCloser(bytes.NewReader(body))
		if err != nil {
			return nil
		}
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil
		}
		return signIn(form.Get("state") + form.Get("RelayState")) // one of the two
	case back("/callback"), back("/saml/finish"):
		return signIn(r.URL.Query().Get("state"))
	}
	return nil
}

// maxPosted bounds what is read before it is known for whom.
const maxPosted = 1 << 20

func signIn(state string) []string {
	if len(state) <= stateHead || len(state) > maxState {
		return nil
	}
	signed, err := base64.RawURLEncoding.DecodeString(state[stateHead:])
	if err != nil {
		return nil
	}
	return []string{string(signed)}
}
