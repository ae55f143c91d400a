package social_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/social"
)

func TestRefetch_asksWithTheStoredToken(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	k.set(func() {
		k.userinfo = map[string]any{"sub": "u1", "email": "new@example.com", "email_verified": true, "name": "Ada King"}
	})
	tokens := social.Tokens{Access: "access-0", Refresh: "refresh-0", ExpiresAt: k.now.Add(time.Minute)}
	p, err := k.providers().Refetch(t.Context(), acme, tokens)
	if err != nil {
		t.Fatal(err)
	}
	if p.Issuer != k.URL || p.Subject != "u1" || p.Email != "new@example.com" || !p.EmailVerified || p.Data["name"] != "Ada King" {
		t.Errorf("got %+v", p)
	}
	if d := cmp.Diff(tokens, p.Tokens); d != "" {
		t.Error(d)
	}
	if n := k.count("/token"); n != 0 {
		t.Errorf("tokens were renewed %d times", n)
	}
}

func TestRefetch_renewsATokenThatIsOver(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	k.set(func() {
		k.nonce = ""
		k.token = map[string]any{"access_token": "access-2", "refresh_token": nil, "scope": nil}
		k.claims = map[string]any{"name": "Ada King"}
	})
	p, err := k.providers().Refetch(t.Context(), acme, social.Tokens{Access: "access-0", Refresh: "refresh-0", ExpiresAt: k.now, Scopes: "openid"})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(social.Tokens{Access: "access-2", Refresh: "refresh-0", ExpiresAt: k.now.Add(time.Hour), Scopes: "openid"}, p.Tokens); d != "" {
		t.Error(d)
	}
	if form := k.forms[0]; form.Get("grant_type") != "refresh_token" || form.Get("refresh_token") != "refresh-0" || form.Get("basic") == "" {
		t.Errorf("asked with %v", form)
	}
	if p.Data["name"] != "Ada King" {
		t.Errorf("got %v", p.Data)
	}
}

// The ID token of a refresh is judged as the first one was.
func TestRefetch_refusesForgedIDTokens(t *testing.T) {
	t.Parallel()
	for key, v := range map[string]any{"iss": "https://other.example", "aud": "other", "exp": 1, "sub": nil} {
		k := newKeeper(t)
		k.set(func() { k.claims = map[string]any{key: v} })
		p, err := k.providers().Refetch(t.Context(), acme, social.Tokens{Refresh: "refresh-0"})
		if kind := social.KindOf(err); kind != social.BadToken && kind != social.Audience {
			t.Errorf("%s: got %+v, %v", key, p, err)
		}
	}
}

func TestRefetch_tellsNoFromSilence(t *testing.T) {
	t.Parallel()
	const user = `{"id":7,"email":"g@example.com"}`
	good := reply{http.StatusOK, user, nil}
	for name, tc := range map[string]struct {
		user, token reply
		tokens      social.Tokens
		want        social.Kind
	}{
		"revoked":                    {reply{401, `{}`, nil}, reply{400, `{"error":"invalid_grant"}`, nil}, social.Tokens{Access: "a", Refresh: "r"}, social.Refused},
		"revoked, nothing to renew":  {reply{401, `{}`, nil}, reply{}, social.Tokens{Access: "a"}, social.Refused},
		"forbidden":                  {reply{403, `{}`, nil}, reply{}, social.Tokens{Access: "a"}, social.Refused},
		"bad request":                {reply{400, `{"error":{"code":190}}`, nil}, reply{}, social.Tokens{Access: "a"}, social.Refused},
		"over and refused":           {good, reply{400, `{"error":"invalid_grant"}`, nil}, social.Tokens{Access: "a", Refresh: "r", ExpiresAt: time.Unix(1, 0)}, social.Refused},
		"over and unauthorized":      {good, reply{401, ``, nil}, social.Tokens{Access: "a", Refresh: "r", ExpiresAt: time.Unix(1, 0)}, social.Refused},
		"over, but not for them":     {good, reply{}, social.Tokens{Access: "a", ExpiresAt: time.Unix(1, 0)}, ""},
		"no token":                   {good, reply{}, social.Tokens{}, social.Refused},
		"down":                       {reply{503, ``, nil}, reply{}, social.Tokens{Access: "a", Refresh: "r"}, social.Unavailable},
		"renewing is down":           {reply{401, ``, nil}, reply{500, ``, nil}, social.Tokens{Access: "a", Refresh: "r"}, social.Unavailable},
		"asked too often":            {reply{429, ``, nil}, reply{}, social.Tokens{Access: "a"}, social.Unavailable},
		"asked too often, as GitHub": {reply{403, ``, map[string]string{"X-RateLimit-Remaining": "0"}}, reply{}, social.Tokens{Access: "a"}, social.Unavailable},
		"our secret is wrong":        {reply{401, ``, nil}, reply{401, `{"error":"invalid_client"}`, nil}, social.Tokens{Access: "a", Refresh: "r"}, social.Failed},
		"rubbish":                    {reply{200, `<html>`, nil}, reply{}, social.Tokens{Access: "a"}, social.Failed},
		"good":                       {good, reply{}, social.Tokens{Access: "a"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVendor(t, nil)
			v.says["/api/v4/user"], v.says["/oauth/token"] = tc.user, tc.token
			_, err := open(t, time.Now, v.settings("gitlab")).Refetch(t.Context(), "gitlab", tc.tokens)
			if tc.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantKind(t, err, tc.want)
		})
	}
	gone := newVendor(t, nil)
	gone.Close()
	_, err := open(t, time.Now, gone.settings("gitlab")).Refetch(t.Context(), "gitlab", social.Tokens{Access: "a"})
	wantKind(t, err, social.Unavailable)
}

func TestRefetch_triesNewTokensOnce(t *testing.T) {
	t.Parallel()
	v := newVendor(t, map[string]string{"/oauth/token": tokenAnswer})
	v.answer("/api/v4/user", 401, `{}`)
	_, err := open(t, time.Now, v.settings("gitlab")).Refetch(t.Context(), "gitlab", social.Tokens{Access: "a", Refresh: "r"})
	wantKind(t, err, social.Refused)
	if d := cmp.Diff([]string{"/api/v4/user", "/oauth/token", "/api/v4/user"}, v.order); d != "" {
		t.Error(d)
	}
	v.order = nil
	_, err = open(t, time.Now, v.settings("gitlab")).Refetch(t.Context(), "gitlab", social.Tokens{Access: "a", Refresh: "r", ExpiresAt: time.Unix(1, 0)})
	wantKind(t, err, social.Refused)
	if d := cmp.Diff([]string{"/oauth/token", "/api/v4/user"}, v.order); d != "" {
		t.Error(d)
	}
}

func TestRefetch_vendorsWithWaysOfTheirOwnToSayNo(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		path, body string
		want       social.Kind
	}{
		"slack": {"/api/users.identity", `{"ok":false,"error":"token_revoked"}`, social.Refused},
		"vk":    {"/method/users.get", `{"error":{"error_code":5,"error_msg":"User authorization failed"}}`, social.Refused},
	} {
		v := newVendor(t, map[string]string{tc.path: tc.body})
		_, err := open(t, time.Now, v.settings(name)).Refetch(t.Context(), name, social.Tokens{Access: "a"})
		wantKind(t, err, tc.want)
	}
	v := newVendor(t, map[string]string{"/method/users.get": `{"error":{"error_code":10}}`})
	_, err := open(t, time.Now, v.settings("vk")).Refetch(t.Context(), "vk", social.Tokens{Access: "a"})
	wantKind(t, err, social.Unavailable)
	v = newVendor(t, map[string]string{"/method/users.get": `{"response":[{"id":1,"first_name":"V"}]}`})
	p, err := open(t, time.Now, v.settings("vk")).Refetch(t.Context(), "vk", social.Tokens{Access: "a"})
	if err != nil || p.Email != "" || p.Subject != "1" {
		t.Errorf("got %+v, %v", p, err)
	}
}

func TestRefresh_getsNewTokens(t *testing.T) {
	t.Parallel()
	v := newVendor(t, map[string]string{"/v1/oauth/refresh": `{"access_token":"access-2","expires_in":60}`})
	now := time.Unix(1_800_000_000, 0)
	got, err := open(t, func() time.Time { return now }, v.settings("figma")).Refresh(t.Context(), "figma", social.Tokens{Access: "a", Refresh: "r", Scopes: "s"})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(social.Tokens{Access: "access-2", Refresh: "r", ExpiresAt: now.Add(time.Minute), Scopes: "s"}, got); d != "" {
		t.Error(d)
	}
	_, err = open(t, time.Now, v.settings("figma")).Refresh(t.Context(), "figma", social.Tokens{Access: "a"})
	wantKind(t, err, social.Refused)
}

// L17: what one person is told is not another's.
func TestExchange_manyAtOnceGetTheirOwnProfiles(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	k.set(func() { k.userinfo = nil })
	p := k.providers()
	raws := make([]string, 30)
	for i := range raws {
		raws[i] = k.made("", map[string]any{"sub": fmt.Sprint("u", i), "name": fmt.Sprint("name ", i)})
	}
	for i, raw := range raws {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			got, err := p.IDToken(t.Context(), acme, social.Token{Raw: raw})
			if err != nil || got.Subject != fmt.Sprint("u", i) || got.Data["name"] != fmt.Sprint("name ", i) {
				t.Errorf("%d: got %+v, %v", i, got, err)
			}
		})
	}
}
