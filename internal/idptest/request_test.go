package idptest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/idptest"
)

func get(ctx context.Context, at string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return 0, "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, string(body), err
}

func TestFail_failsAsItIsTold(t *testing.T) {
	t.Parallel()
	p := idptest.New(t)
	jwks := p.Base("google") + "/oauth2/v3/certs"
	_, right, err := get(t.Context(), jwks)
	if err != nil || !strings.Contains(right, `"kty":"RSA"`) {
		t.Fatalf("%s, %v", right, err)
	}
	p.Fail("jwks", idptest.Failure{Status: 503, Body: `{"no": 1}`, Times: 2})
	for _, want := range []int{503, 503, 200} {
		if status, _, _ := get(t.Context(), jwks); status != want {
			t.Errorf("%d, want %d", status, want)
		}
	}
	p.Fail("/google/oauth2/v3/certs", idptest.Failure{Garbage: true})
	if status, body, _ := get(t.Context(), jwks); status != 200 || !strings.Contains(body, "<") {
		t.Errorf("%d %s, want garbage", status, body)
	}
	if _, body, _ := get(t.Context(), p.Base("oidc")+"/jwks"); body != right {
		t.Error("another vendor's keys fail too")
	}
	p.Heal("/google/oauth2/v3/certs")
	p.Fail("jwks", idptest.Failure{Huge: true})
	if _, body, _ := get(t.Context(), jwks); len(body) != 10<<20+len(right) || !strings.HasSuffix(body, right) {
		t.Errorf("%d bytes, want 10 MiB before the keys", len(body))
	}
	p.Fail("jwks", idptest.Failure{Cut: true})
	if _, _, err := get(t.Context(), jwks); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v, want the connection to break", err)
	}
	p.Heal()
	if _, body, _ := get(t.Context(), jwks); body != right {
		t.Error("it still fails")
	}
}

func TestFail_holdsUntilTheTestLetsGo(t *testing.T) {
	t.Parallel()
	p := idptest.New(t)
	open := make(chan struct{})
	p.Fail("jwks", idptest.Failure{Until: open})
	done := make(chan error, 3)
	for range cap(done) {
		go func() {
			status, _, err := get(t.Context(), p.Base("oidc")+"/jwks")
			if err == nil && status != 200 {
				err = errors.New("not answered as ever")
			}
			done <- err
		}()
	}
	if err := p.Await(t.Context(), "jwks", cap(done)); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		t.Fatalf("one was let through (%v)", err)
	default:
	}
	close(open)
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestFail_hangsAndDripsUntilTheClientLeaves(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]idptest.Failure{"hang": {Hang: true}, "drip": {Drip: true}, "delay": {Delay: time.Hour}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := idptest.New(t)
			p.Fail("jwks", f)
			ctx, leave := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() {
				_, _, err := get(ctx, p.Base("oidc")+"/jwks")
				done <- err
			}()
			if err := p.Await(t.Context(), "jwks", 1); err != nil {
				t.Fatal(err)
			}
			leave()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("%v, want it to hang until the client left", err)
			}
		})
	}
}

func TestAwait_endsWithItsContext(t *testing.T) {
	t.Parallel()
	p := idptest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Await(ctx, "jwks", 1); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want the context's end", err)
	}
}

func TestVendors_areNotThereWhereNobodyIs(t *testing.T) {
	t.Parallel()
	p := idptest.New(t)
	for _, path := range []string{"/", "/nobody/authorize", "/github/authorize", "/oauth2/jwks", "/_nothing"} {
		if status, _, _ := get(t.Context(), p.URL()+path); status != 404 {
			t.Errorf("%s is answered %d, want 404", path, status)
		}
	}
}
