package social_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"

	"gatehouse/internal/fetch"
	"gatehouse/internal/social"
)

// vendor answers each path with a fixed document.
type vendor struct {
	*httptest.Server
	mu    sync.Mutex // guards what follows
	says  map[string]reply
	asked map[string]*http.Request
	forms map[string]url.Values
	order []string
}

type reply struct {
	status int
	body   string
	header map[string]string
}

func newVendor(t *testing.T, says map[string]string) *vendor {
	t.Helper()
	v := &vendor{says: map[string]reply{}, asked: map[string]*http.Request{}, forms: map[string]url.Values{}}
	for path, body := range says {
		v.answer(path, http.StatusOK, body)
	}
	v.Server = httptest.NewServer(v)
	t.Cleanup(v.Close)
	return v
}

func (v *vendor) answer(path string, status int, body string, header ...string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	r := reply{status, body, map[string]string{}}
	for i := 0; i+1 < len(header); i += 2 {
		r.header[header[i]] = header[i+1]
	}
	v.says[path] = r
}

func (v *vendor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	form := readForm(r)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked[r.URL.Path], v.forms[r.URL.Path] = r, form
	v.order = append(v.order, r.URL.Path)
	a, ok := v.says[r.URL.Path]
	if !ok {
		a = reply{status: http.StatusNotFound, body: `{}`}
	}
	for key, value := range a.header {
		w.Header().Set(key, value)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.status)
	_, _ = w.Write([]byte(a.body))
}

func (v *vendor) settings(name string) social.Settings {
	return social.Settings{
		Name: name, Enabled: true, ClientIDs: []string{"client"}, Secret: "hunter2", RedirectURI: "https://app.example/callback", URL: v.URL,
	}
}

func strictClient(t *testing.T) *fetch.Client {
	c := fetch.New(fetch.Options{})
	t.Cleanup(c.Close)
	return c
}
