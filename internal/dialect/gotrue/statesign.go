package gotrue

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// stateHead is how long the part of a state is that is a journey's own; what
// follows says whose it is, where many tenants share an address.
const stateHead = 43

// StateTail returns what the state says of a browser that comes back from
// elsewhere, beyond its journey: then no proxy signs for it. It is empty of every
// other request. A body that is read for it is there to be read again.
func StateTail(r *http.Request) string {
	back := func(path string) bool { return strings.HasSuffix(r.URL.Path, path) }
	state := ""
	switch posted := r.Method == http.MethodPost && (back("/callback") || back("/saml/acs")); {
	case posted:
		body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxPosted))
		r.Body = io.NopCloser(bytes.NewReader(body))
		if err != nil || bytes.Count(body, []byte("&")) > maxPostedFields {
			return ""
		}
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return ""
		}
		state = form.Get("state") + form.Get("RelayState") // one of the two
	case back("/callback"), back("/saml/finish"):
		state = r.URL.Query().Get("state")
	}
	if len(state) <= stateHead || len(state) > maxState {
		return ""
	}
	return state[stateHead:]
}

// What is read of a body before it is known for whom.
const (
	maxPosted       = 256 << 10 // bytes; an assertion is a tenth of it
	maxPostedFields = 16
)
