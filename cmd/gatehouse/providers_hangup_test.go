package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"gatehouse/internal/idptest"
	"gatehouse/internal/samltest"
)

// leave sends a request and hangs up when something has happened; it returns the
// answer if that was quicker.
func (e *elsewhere) leave(method, path, body string, happened func(context.Context) error) (a answer, left bool) {
	e.t.Helper()
	ctx, hangUp := context.WithTimeout(e.t.Context(), patience)
	defer hangUp()
	r, err := http.NewRequestWithContext(ctx, method, e.url+path, strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	done, asked := make(chan answer, 1), make(chan struct{})
	go func() {
		var a answer
		res, err := e.http.Do(r)
		if err == nil {
			text, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			a = answer{res.StatusCode, res.Header, string(text)}
		}
		done <- a
	}()
	go func() {
		if happened(ctx) == nil {
			close(asked)
		}
	}()
	select {
	case a = <-done:
		return a, false
	case <-asked:
		hangUp()
		<-done
		return a, true
	}
}

// Whose account elsewhere is closed must not stay by hanging up while the provider
// is asked about it.
func TestRecheck_whoHangsUpIsAskedAboutAllTheSame(t *testing.T) {
	t.Parallel()
	idp := idptest.New(t)
	e := startElsewhere(t, idp, append(providerSettings(idp, "github"), "GATEHOUSE_EXTERNAL_RECHECK=1s")...)
	idp.Person(somebody(1, "ada@example.com"))
	b := e.browser("1")
	l := b.enter(wish("github"))
	b.signedIn(l)
	access, refresh := l.said.Get("access_token"), l.said.Get("refresh_token")
	const api = "/github/api/v3/user"
	idp.Revoke("1")
	idp.Forget()
	no := make(chan struct{})
	idp.Fail(api, idptest.Failure{Until: no, Times: 1})
	until(t, "the provider is asked again", func() bool {
		body, _ := json.Marshal(object{"refresh_token": refresh})
		a, left := e.leave("POST", "/token?grant_type=refresh_token", string(body), func(ctx context.Context) error { return idp.Await(ctx, api, 1) })
		if !left && a.status == 200 {
			refresh = a.text("refresh_token")
		}
		return left
	})
	close(no)
	until(t, "the session is over, as its provider has refused it", func() bool {
		a, err := e.ask("GET", "/user", nil, bearer(access))
		return err == nil && a.status == 403
	})
}

// Somebody who hangs up must not keep the metadata of a site's one identity
// provider from everybody.
func TestSAML_whoHangsUpTakesTheMetadataFromNobody(t *testing.T) {
	t.Parallel()
	idp := samltest.New(t)
	asked, answer := make(chan struct{}, 10), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		select {
		case <-answer:
			_, _ = w.Write(idp.Metadata())
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(slow.Close)
	e := &elsewhere{start(t, "GATEHOUSE_OUTGOING_ALLOW_PRIVATE=true", "GOTRUE_EXTERNAL_SAML_ENABLED=true", "GOTRUE_EXTERNAL_SAML_METADATA_URL="+slow.URL), nil}
	_, left := e.leave("GET", "/authorize?provider=saml", "", func(ctx context.Context) error {
		select {
		case <-asked:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	close(answer) // from here on it answers at once
	if !left {
		t.Fatal("nobody was asked")
	}
	e.do(302, "GET", "/authorize?provider=saml", nil)
}

// However many wait for one provider that hangs, they keep no other's people out.
func TestThreat_F08_theQueueForOneProviderIsNoOthers(t *testing.T) {
	t.Parallel()
	idp := idptest.New(t)
	e := startElsewhere(t, idp, providerSettings(idp, "google", "github")...)
	idp.Person(somebody(1, "ada@example.com"))
	b := e.browser("1")
	back := b.decide(b.setOut(wish("google")), "allow")
	const token = "/github/login/oauth/access_token"
	idp.Fail(token, idptest.Failure{Hang: true})
	var under []<-chan answer
	for range 70 {
		other := e.browser("1")
		under = append(under, other.meanwhile("/callback?code=x&state="+way{at: other.setOut(wish("github"))}.param("state")))
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := idp.Await(ctx, token, 30)
	if err != nil {
		t.Fatal(err)
	}
	b.signedIn(b.comeBack(back))
	for _, done := range under {
		<-done
	}
}
