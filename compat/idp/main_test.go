package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// do sends a request and returns the status and the whole answer.
func do(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if method == http.MethodPost && !strings.HasPrefix(body, "{") {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(raw) + res.Header.Get("Location")
}

func TestRun_asksPeopleAndTakesOrders(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, nil, in) }()
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var told struct {
		URL     string
		Vendors map[string]struct{ Base, Issuer string }
	}
	if err := json.Unmarshal(line, &told); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	if got, want := told.Vendors["github"].Base, told.URL+"/github"; got != want {
		t.Errorf("GitHub is at %q, want %q", got, want)
	}
	order := `{"client": {"id": "us", "secret": "s", "redirects": ["http://localhost/back"]}, "person": {"subject": "7", "name": "Ann <Lee>"}, "apple": "us"}`
	if status, body := do(t, http.MethodPost, told.URL+"/_control", order); status != 200 || !strings.Contains(body, "BEGIN PRIVATE KEY") {
		t.Fatalf("the order was answered %d %s", status, body)
	}
	page := told.Vendors["github"].Base + "/login/oauth/authorize?client_id=us&response_type=code&redirect_uri=http://localhost/back&state=abc"
	status, body := do(t, http.MethodGet, page, "")
	for _, want := range []string{`id="allow"`, `id="deny"`, "Sign in to GitHub as", "Ann &lt;Lee&gt;"} {
		if status != 200 || !strings.Contains(body, want) {
			t.Errorf("the page is %d %s, want %s in it", status, body, want)
		}
	}
	for decision, want := range map[string]string{
		"allow": "http://localhost/back?code=code-",
		"deny":  "http://localhost/back?error=access_denied&",
	} {
		if status, body := do(t, http.MethodPost, page, "decision="+decision); status != 302 || !strings.HasPrefix(body, want) || !strings.Contains(body, "state=abc") {
			t.Errorf("%s: %d %s, want %s…", decision, status, body, want)
		}
	}
	_, body = do(t, http.MethodGet, told.URL+"/_requests", "")
	var seen []struct{ Method, What string }
	if err := json.Unmarshal([]byte(body), &seen); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]struct{ Method, What string }{{"GET", "authorize"}, {"POST", "authorize"}, {"POST", "authorize"}}, seen); d != "" {
		t.Error(d)
	}
	for _, bad := range []string{`{"persom": {}}`, `{"token": {"vendor": "nobody"}}`, `{"apple": "nobody"}`} {
		if status, body := do(t, http.MethodPost, told.URL+"/_control", bad); status != 400 {
			t.Errorf("%s: %d %s, want 400", bad, status, body)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

const application = `<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="https://us.example/metadata">
<SPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">
<AssertionConsumerService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST" Location="https://us.example/acs" index="0"/>
</SPSSODescriptor></EntityDescriptor>`

func TestRun_hasACompanyThatTakesOrders(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, []string{"-saml"}, in) }()
	var told struct {
		SAML struct {
			URL      string
			EntityID string `json:"entity_id"`
		}
	}
	if err := json.NewDecoder(out).Decode(&told); err != nil {
		t.Fatal(err)
	}
	at := told.SAML.URL
	if status, body := do(t, http.MethodGet, told.SAML.EntityID, ""); status != 200 || !strings.Contains(body, `Location="`+at+`/sso"`) {
		t.Errorf("the metadata are %d %s", status, body)
	}
	if status, _ := do(t, http.MethodGet, at+"/initiate", ""); status != 404 {
		t.Errorf("it signs in to nobody in particular: %d, want 404", status)
	}
	order, err := json.Marshal(map[string]any{"trust": application, "user": map[string]any{"name_id": "ann@acme.example"}, "flaw": ""})
	if err != nil {
		t.Fatal(err)
	}
	if status, body := do(t, http.MethodPost, at+"/_control", string(order)); status != 204 {
		t.Fatalf("the order was answered %d %s", status, body)
	}
	status, body := do(t, http.MethodGet, at+"/initiate", "")
	if status != 200 || !strings.Contains(body, `action="https://us.example/acs"`) || !strings.Contains(body, "SAMLResponse") {
		t.Errorf("the way in is %d %s", status, body)
	}
	for _, bad := range []string{`{"trusted": "x"}`, `{"trust": "no XML"}`} {
		if status, body := do(t, http.MethodPost, at+"/_control", bad); status != 400 {
			t.Errorf("%s: %d %s, want 400", bad, status, body)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestRun_saysWhatIsWrongWithItsArguments(t *testing.T) {
	for _, args := range [][]string{{"-addr", "nowhere:http:http"}, {"-no-such-flag"}} {
		if err := run(t.Context(), args, io.Discard); err == nil {
			t.Errorf("%q ran", args)
		}
	}
}
