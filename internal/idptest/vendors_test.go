package idptest_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"gatehouse/internal/idptest"

	"github.com/google/go-cmp/cmp"
)

type object = map[string]any

// vendorCase is a vendor as it documents itself: where to go, with what, and
// what it then says about ann.
type vendorCase struct {
	vendor, authorize, take, scope string
	header                         bool
	params                         url.Values
	with                           url.Values // of the token request
	path                           string
	say                            []string // headers
	want                           object   // a part of the answer
	refuses                        object   // a part of the answer to a token nobody issued
	refresh                        bool
}

var pic = "https://pics.example/ann.png"

var vendorCases = []vendorCase{
	{
		vendor: "google", authorize: "/o/oauth2/v2/auth", take: "/token", scope: "openid email profile", params: url.Values{"access_type": {"offline"}}, refresh: true,
		path: "/v1/userinfo", refuses: object{"error": "invalid_token"},
		want: object{"sub": "4242", "email": "ann@example.com", "email_verified": true, "name": "Ann Lee", "given_name": "Ann", "family_name": "Lee", "picture": pic, "hd": "example.com"},
	},
	{
		vendor: "google", authorize: "/o/oauth2/v2/auth", take: "/oauth2/v4/token", scope: "email",
		path: "/oauth2/v2/userinfo", want: object{"id": "4242", "email": "ann@example.com", "verified_email": true},
	},
	{
		vendor: "facebook", authorize: "/v21.0/dialog/oauth", take: "/v21.0/oauth/access_token", scope: "email",
		path: "/me?fields=id,email,first_name,last_name,picture.type(large){url}", refuses: object{"error": object{"type": "OAuthException", "code": 190.0}},
		want: object{"id": "4242", "email": "ann@example.com", "first_name": "Ann", "last_name": "Lee", "name": nil, "picture": object{"data": object{"url": pic}}},
	},
	{
		vendor: "x", authorize: "/i/oauth2/authorize", take: "/2/oauth2/token", scope: "users.email tweet.read users.read offline.access", header: true, refresh: true,
		path: "/2/users/me?user.fields=confirmed_email,profile_image_url", refuses: object{"title": "Unauthorized"},
		want: object{"data": object{"id": "4242", "name": "Ann Lee", "username": "Annie", "profile_image_url": pic, "confirmed_email": "ann@example.com"}},
	},
	{
		vendor: "twitter", authorize: "/i/oauth2/authorize", take: "/2/oauth2/token", scope: "tweet.read users.read", header: true,
		path: "/2/users/me", want: object{"data": object{"id": "4242", "name": "Ann Lee", "username": "Annie", "profile_image_url": nil, "confirmed_email": nil}},
	},
	{
		vendor: "github", authorize: "/login/oauth/authorize", take: "/login/oauth/access_token", scope: "user:email",
		path: "/api/v3/user", want: object{"id": 4242.0, "login": "Annie", "name": "Ann Lee", "avatar_url": pic, "email": nil}, refuses: object{"message": "Bad credentials"},
	},
	{
		vendor: "github", authorize: "/login/oauth/authorize", take: "/login/oauth/access_token", scope: "user:email",
		path: "/user/emails", want: object{"list": []any{object{"primary": false, "verified": true}, object{"email": "ann@example.com", "primary": true, "verified": true}}},
	},
	{
		vendor: "gitlab", authorize: "/oauth/authorize", take: "/oauth/token", scope: "read_user", refresh: true,
		path: "/api/v4/user", want: object{"id": 4242.0, "username": "Annie", "name": "Ann Lee", "email": "ann@example.com", "confirmed_at": "2012-05-23T09:05:22Z", "avatar_url": pic},
	},
	{
		vendor: "bitbucket", authorize: "/site/oauth2/authorize", take: "/site/oauth2/access_token", scope: "account email", header: true, refresh: true,
		path: "/2.0/user", want: object{"uuid": "4242", "display_name": "Ann Lee", "nickname": "Annie", "links": object{"avatar": object{"href": pic}}}, refuses: object{"type": "error"},
	},
	{
		vendor: "bitbucket", authorize: "/site/oauth2/authorize", take: "/site/oauth2/access_token", scope: "account email", header: true, refresh: true,
		path: "/2.0/user/emails", want: object{"values": []any{object{"email": "ann@example.com", "is_primary": true, "is_confirmed": true}}},
	},
	{
		vendor: "discord", authorize: "/api/oauth2/authorize", take: "/api/oauth2/token", scope: "identify email", refresh: true,
		path: "/api/users/@me", want: object{"id": "4242", "username": "Annie", "global_name": "Ann Lee", "discriminator": "0", "email": "ann@example.com", "verified": true},
	},
	{
		vendor: "vk", authorize: "/authorize", take: "/oauth2/auth", scope: "email phone", with: url.Values{"device_id": {"device-4242"}, "client_secret": nil}, refresh: true,
		path: "/oauth2/user_info?client_id=us", refuses: object{"error": "invalid_token"},
		want: object{"user": object{"user_id": "4242", "first_name": "Ann", "last_name": "Lee", "email": "ann@example.com", "phone": "+4915112345678", "avatar": pic}},
	},
	{
		vendor: "vk", authorize: "/authorize", take: "/access_token", scope: "email,offline",
		params: url.Values{"code_challenge": nil, "code_challenge_method": nil}, with: url.Values{"code_verifier": nil},
		path: "/method/users.get?v=5.199&fields=photo_200", want: object{"response": []any{object{"id": 4242.0, "first_name": "Ann", "last_name": "Lee", "photo_200": pic}}},
		refuses: object{"error": object{"error_code": 5.0}},
	},
	{
		vendor: "azure", authorize: "/oauth2/v2.0/authorize", take: "/oauth2/v2.0/token", scope: "openid email profile offline_access", refresh: true,
		path: "/oidc/userinfo", want: object{"sub": "4242", "email": "ann@example.com", "name": "Ann Lee", "email_verified": nil},
	},
	{
		vendor: "linkedin", authorize: "/oauth/v2/authorization", take: "/oauth/v2/accessToken", scope: "r_liteprofile r_emailaddress",
		path: "/v2/me?projection=(id)", want: object{"id": "4242", "localizedFirstName": "Ann", "firstName": object{"localized": object{"en_US": "Ann"}}},
	},
	{
		vendor: "linkedin", authorize: "/oauth/v2/authorization", take: "/oauth/v2/accessToken", scope: "r_liteprofile r_emailaddress",
		path: "/v2/emailAddress?q=members", want: object{"elements": []any{object{"handle~": object{"emailAddress": "ann@example.com"}}}},
	},
	{
		vendor: "linkedin_oidc", authorize: "/oauth/v2/authorization", take: "/oauth/v2/accessToken", scope: "openid profile email",
		path: "/v2/userinfo", want: object{"sub": "4242", "email": "ann@example.com", "email_verified": true, "locale": object{"language": "en"}, "preferred_username": nil},
	},
	{
		vendor: "slack", authorize: "/oauth/authorize", take: "/api/oauth.access", scope: "identity.basic,identity.email,identity.avatar",
		path: "/api/users.identity", refuses: object{"ok": false, "error": "invalid_auth"},
		want: object{"ok": true, "user": object{"id": "4242", "name": "Ann Lee", "email": "ann@example.com", "image_512": pic}, "team": object{"id": "T0G9PQBBK"}},
	},
	{
		vendor: "slack_oidc", authorize: "/openid/connect/authorize", take: "/api/openid.connect.token", scope: "openid profile email",
		path: "/api/openid.connect.userInfo", refuses: object{"ok": false},
		want: object{"ok": true, "sub": "4242", "https://slack.com/user_id": "4242", "email": "ann@example.com", "email_verified": true, "picture": pic},
	},
	{
		vendor: "spotify", authorize: "/authorize", take: "/api/token", scope: "user-read-email", header: true, refresh: true,
		path: "/v1/me", want: object{"id": "4242", "display_name": "Ann Lee", "email": "ann@example.com", "images": []any{object{"url": pic}}}, refuses: object{"error": object{"status": 401.0}},
	},
	{
		vendor: "twitch", authorize: "/oauth2/authorize", take: "/oauth2/token", scope: "user:read:email", refresh: true, say: []string{"Client-Id", "us"},
		path: "/helix/users", want: object{"data": []any{object{"id": "4242", "login": "annie", "display_name": "Annie", "email": "ann@example.com", "profile_image_url": pic}}},
		refuses: object{"status": 401.0},
	},
	{
		vendor: "notion", authorize: "/v1/oauth/authorize", take: "/v1/oauth/token", header: true, params: url.Values{"owner": {"user"}}, say: []string{"Notion-Version", "2022-06-28"},
		path: "/v1/users/me", refuses: object{"object": "error", "code": "unauthorized"},
		want: object{"type": "bot", "bot": object{"owner": object{"type": "user", "user": object{"id": "4242", "name": "Ann Lee", "avatar_url": pic, "person": object{"email": "ann@example.com"}}}}},
	},
	{
		vendor: "figma", authorize: "/oauth", take: "/v1/oauth/token", scope: "current_user:read", header: true, refresh: true,
		path: "/v1/me", want: object{"id": "4242", "email": "ann@example.com", "handle": "Ann Lee", "img_url": pic}, refuses: object{"status": 401.0},
	},
	{
		vendor: "zoom", authorize: "/oauth/authorize", take: "/oauth/token", scope: "user:read", header: true, refresh: true,
		path: "/v2/users/me", want: object{"id": "4242", "first_name": "Ann", "last_name": "Lee", "email": "ann@example.com", "verified": 1.0, "pic_url": pic}, refuses: object{"code": 124.0},
	},
	{
		vendor: "kakao", authorize: "/oauth/authorize", take: "/oauth/token", scope: "account_email profile_nickname", refresh: true,
		path: "/v2/user/me", refuses: object{"code": -401.0},
		want: object{"id": 4242.0, "kakao_account": object{"email": "ann@example.com", "is_email_valid": true, "is_email_verified": true, "profile": object{"nickname": "Ann Lee", "profile_image_url": pic}}},
	},
	{
		vendor: "keycloak", authorize: "/protocol/openid-connect/auth", take: "/protocol/openid-connect/token", scope: "openid profile email", refresh: true,
		path: "/protocol/openid-connect/userinfo", want: object{"sub": "4242", "preferred_username": "Annie", "email": "ann@example.com", "email_verified": true},
	},
	{
		vendor: "workos", authorize: "/sso/authorize", take: "/sso/token", params: url.Values{"connection": {"conn_1"}},
		path: "/sso/profile", refuses: object{"message": "Unauthorized"},
		want: object{"object": "profile", "id": "prof_4242", "idp_id": "4242", "email": "ann@example.com", "first_name": "Ann", "raw_attributes": object{"picture": pic}},
	},
	{
		vendor: "snapchat", authorize: "/accounts/oauth2/auth", take: "/accounts/oauth2/token", refresh: true,
		scope: "https://auth.snapchat.com/oauth2/api/user.display_name https://auth.snapchat.com/oauth2/api/user.bitmoji.avatar",
		path:  "/v1/me?query=" + url.QueryEscape("{me{externalId displayName bitmoji{avatar}}}"),
		want:  object{"data": object{"me": object{"externalId": "4242", "displayName": "Ann Lee", "bitmoji": object{"avatar": pic}}}},
	},
	{
		vendor: "fly", authorize: "/oauth/authorize", take: "/oauth/token", scope: "read", refresh: true,
		path: "/oauth/token/info", want: object{"user_id": "4242", "user_name": "Ann Lee", "email": "ann@example.com", "application": object{"uid": "us"}},
	},
	{
		vendor: "oidc-second", authorize: "/authorize", take: "/token", scope: "openid email profile phone", refresh: true,
		path: "/userinfo", want: object{"sub": "4242", "email": "ann@example.com", "email_verified": true, "phone_number": "+4915112345678"},
	},
	{
		vendor: "oauth2", authorize: "/authorize", take: "/token", refresh: true,
		path: "/userinfo", want: object{"sub": "4242", "email": "ann@example.com", "name": "Ann Lee"},
	},
}

// holds fails the test where got lacks something of want; a nil in want is
// something that must not be there.
func holds(t *testing.T, at string, got, want any) {
	t.Helper()
	switch want := want.(type) {
	case object:
		m, ok := got.(object)
		if !ok {
			t.Errorf("%s is %v, want an object", at, got)
			return
		}
		for k, v := range want {
			holds(t, at+"."+k, m[k], v)
		}
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			t.Errorf("%s is %v, want %d things", at, got, len(want))
			return
		}
		for i, v := range want {
			holds(t, at+"[]", list[i], v)
		}
	default:
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", at, d)
		}
	}
}

func (c vendorCase) flow(t *testing.T, p *idptest.Provider) *flow {
	f := newFlow(t, p)
	f.vendor, f.authorize, f.take, f.scope, f.header, f.params = c.vendor, c.authorize, c.take, c.scope, c.header, c.params
	return f
}

// person signs in and returns the answer of the token endpoint.
func (c vendorCase) person(t *testing.T, f *flow) object {
	t.Helper()
	status, m := f.trade(f.begin(nil).Values.Get("code"), c.with)
	if status != http.StatusOK || text(m, "access_token") == "" {
		t.Fatalf("the token endpoint says %d %v", status, m)
	}
	return m
}

func TestVendors_tellWhatTheyDocument(t *testing.T) {
	t.Parallel()
	p := idptest.New(t)
	p.Person(ann())
	for _, c := range vendorCases {
		t.Run(c.vendor+c.path, func(t *testing.T) {
			f := c.flow(t, p)
			m := c.person(t, f)
			if got := text(m, "refresh_token") != ""; got != c.refresh {
				t.Errorf("a refresh token: %t, want %t", got, c.refresh)
			}
			if got, want := text(m, "id_token") != "", slices.Contains(strings.Fields(c.scope), "openid"); got != want {
				t.Errorf("an ID token: %t, want %t", got, want)
			}
			status, got := f.profile(c.path, text(m, "access_token"), c.say...)
			if status != http.StatusOK {
				t.Errorf("the profile is answered %d", status)
			}
			holds(t, "profile", got, c.want)

			_, got = f.profile(c.path, "access-invented", c.say...)
			holds(t, "refusal", got, c.refuses)
			p.Revoke("4242")
			_, got = f.profile(c.path, text(m, "access_token"), c.say...)
			holds(t, "refusal after revoking", got, c.refuses)
		})
	}
}

func TestVendors_areAllTried(t *testing.T) {
	t.Parallel()
	p := idptest.New(t)
	tried := []string{"apple", "vercel_marketplace", "oidc"} // elsewhere
	for _, c := range vendorCases {
		tried = append(tried, c.vendor)
	}
	for _, v := range p.Vendors() {
		if !slices.Contains(tried, v) {
			t.Errorf("%s is in no test", v)
		}
	}
}

func TestVendors_areAllStrict(t *testing.T) {
	t.Parallel()
	p := idptest.New(t)
	p.Person(ann())
	for _, c := range vendorCases {
		t.Run(c.vendor+c.take, func(t *testing.T) {
			f := c.flow(t, p)
			refused := func(what string, change url.Values) {
				t.Helper()
				form := url.Values{}
				for _, from := range []url.Values{c.with, change} {
					for k, v := range from {
						form[k] = v
					}
				}
				if _, m := f.trade(f.begin(nil).Values.Get("code"), form); text(m, "access_token") != "" || m["authed_user"] != nil {
					t.Errorf("%s: got %v, want no token", what, m)
				}
			}
			refused("another address", url.Values{"redirect_uri": {"https://us.example/other"}})
			refused("another verifier", url.Values{"code_verifier": {"wrong"}})
			refused("no code", url.Values{"code": nil})
			if _, public := c.with["client_secret"]; !public {
				f.secret = "wrong"
				refused("another secret", nil)
				f.secret = "the secret"
			}
			code := f.begin(nil).Values.Get("code")
			if _, m := f.trade(code, c.with); text(m, "access_token") == "" {
				t.Fatalf("the first time: %v", m)
			}
			if _, m := f.trade(code, c.with); text(m, "access_token") != "" {
				t.Errorf("the second time: %v, want no token", m)
			}
			p.Deny("", "")
			if v := f.begin(nil).Values; v.Get("error") == "" || v.Has("code") || v.Get("state") != "the state" {
				t.Errorf("denied with %v", v)
			}
		})
	}
}

func TestVendors_whoNeedTheirOwnParameters(t *testing.T) {
	t.Parallel()
	p := idptest.New(t)
	p.Person(ann())
	no := url.Values{"code_challenge": nil, "code_challenge_method": nil, "owner": nil, "connection": nil}
	for _, c := range vendorCases {
		switch c.vendor {
		case "x", "twitter", "notion", "workos":
			if got := c.flow(t, p).begin(no).Values.Get("error"); got != "invalid_request" {
				t.Errorf("%s does without: %q", c.vendor, got)
			}
		case "twitch":
			f := c.flow(t, p)
			if status, _ := f.profile(c.path, text(c.person(t, f), "access_token")); status != 401 {
				t.Errorf("Twitch does without Client-Id: %d", status)
			}
		}
		if c.vendor == "x" || c.vendor == "zoom" {
			f := c.flow(t, p)
			f.header = false
			if _, m := f.trade(f.begin(nil).Values.Get("code"), nil); m["error"] != "invalid_client" {
				t.Errorf("%s takes a secret in the body: %v", c.vendor, m)
			}
		}
	}
}

func TestPerson_reachesEveryShape(t *testing.T) {
	t.Parallel()
	p := idptest.New(t)
	who := ann()
	who.EmailVerified = "false"
	who.Profile = object{"display_name": nil, "kakao_account": object{"is_email_valid": false}, "verified": 0}
	who.Emails = []map[string]any{{"email": "other@example.com", "primary": false, "verified": true}}
	p.Person(who)
	want := map[string]object{
		"github/user/emails":        {"list": []any{object{"email": "other@example.com", "primary": false}}},
		"discord/api/users/@me":     {"verified": 0.0},
		"zoom/v2/users/me":          {"verified": 0.0},
		"spotify/v1/me":             {"display_name": nil},
		"kakao/v2/user/me":          {"kakao_account": object{"is_email_valid": false, "is_email_verified": "false", "email": "ann@example.com"}},
		"gitlab/api/v4/user":        {"confirmed_at": nil},
		"google/v1/userinfo":        {"email_verified": "false"},
		"bitbucket/2.0/user":        {"display_name": nil},
		"linkedin_oidc/v2/userinfo": {"email_verified": "false"},
	}
	for _, c := range vendorCases {
		if w := want[c.vendor+c.path]; w != nil {
			f := c.flow(t, p)
			_, got := f.profile(c.path, text(c.person(t, f), "access_token"), c.say...)
			holds(t, c.vendor, got, w)
			delete(want, c.vendor+c.path)
		}
	}
	if len(want) > 0 {
		t.Errorf("never asked: %v", want)
	}
}

func TestGitHub_answersInAFormUnlessAskedForJSON(t *testing.T) {
	t.Parallel()
	p := idptest.New(t)
	f := newFlow(t, p)
	f.vendor, f.authorize, f.take, f.scope = "github", "/login/oauth/authorize", "/login/oauth/access_token", "user:email"
	form := url.Values{"client_id": {"us"}, "client_secret": {"the secret"}, "code": {f.begin(nil).Values.Get("code")}, "code_verifier": {verifier}, "grant_type": {"authorization_code"}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.Base("github")+f.take, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	_, m := ask(t, req)
	got, err := url.ParseQuery(text(m, "text"))
	if err != nil || got.Get("access_token") == "" || got.Get("scope") != "user:email" {
		t.Errorf("got %v, want a form", m)
	}
	if status, m := f.trade("invented", nil); status != 200 || m["error"] != "bad_verification_code" {
		t.Errorf("a wrong code: %d %v, want 200 and bad_verification_code", status, m)
	}
}

func TestAzure_hasTenantsBehindOneDoor(t *testing.T) {
	t.Parallel()
	p := idptest.New(t)
	f := newFlow(t, p)
	p.Person(ann())
	for at, want := range map[string]string{
		idptest.Tenant: idptest.Tenant, "common": idptest.Tenant, "organizations": idptest.Tenant,
		"11111111-2222-3333-4444-555555555555": "11111111-2222-3333-4444-555555555555",
	} {
		f.vendor, f.authorize, f.take = "azure", "/oauth2/v2.0/authorize", "/oauth2/v2.0/token"
		f.base = p.URL() + "/azure/" + at
		m := f.tokens(nil)
		got := claims(t, text(m, "id_token"))
		if got["tid"] != want || got["iss"] != p.URL()+"/azure/"+want+"/v2.0" {
			t.Errorf("%s: tid %v of %v, want %s", at, got["tid"], got["iss"], want)
		}
		_, body, _ := get(t.Context(), f.base+"/v2.0/.well-known/openid-configuration")
		issuer := p.URL() + "/azure/" + at + "/v2.0"
		if !strings.Contains(at, "-") {
			issuer = p.URL() + "/azure/{tenantid}/v2.0"
		}
		if !strings.Contains(body, `"issuer":"`+issuer+`"`) {
			t.Errorf("%s: %s, want %s", at, body, issuer)
		}
	}
}

func TestIssuers_ofOneVendorDoNotTakeEachOthersTokens(t *testing.T) {
	t.Parallel()
	p := idptest.New(t)
	f := newFlow(t, p)
	f.vendor, f.authorize, f.take = "keycloak", "/protocol/openid-connect/auth", "/protocol/openid-connect/token"
	m := f.tokens(nil)
	code := f.begin(nil).Values.Get("code")
	f.base = p.URL() + "/keycloak/realms/other"
	if status, m := f.trade(code, nil); status != 400 {
		t.Errorf("a code of another realm: %d %v", status, m)
	}
	if status, _ := f.profile("/protocol/openid-connect/userinfo", text(m, "access_token")); status != 401 {
		t.Errorf("a token of another realm: %d", status)
	}
	if got := claims(t, text(f.tokens(nil), "id_token"))["iss"]; got != f.base {
		t.Errorf("the other realm's iss is %v, want %s", got, f.base)
	}
}

func TestDiscovery_namesAnEndpointThatTellsWhoItIs(t *testing.T) {
	t.Parallel()
	p := idptest.New(t)
	p.Person(ann())
	for _, c := range vendorCases {
		if !slices.Contains(strings.Fields(c.scope), "openid") {
			continue
		}
		f := c.flow(t, p)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.Issuer(c.vendor)+"/.well-known/openid-configuration", nil)
		if err != nil {
			t.Fatal(err)
		}
		_, doc := ask(t, req)
		for k, want := range map[string]string{"authorization_endpoint": c.authorize, "token_endpoint": c.take, "userinfo_endpoint": c.path} {
			if got := text(doc, k); got != p.Base(c.vendor)+want {
				t.Errorf("%s: %s is %q, want %s", c.vendor, k, got, want)
			}
		}
		if _, u := f.profile(c.path, text(c.person(t, f), "access_token")); u["sub"] != "4242" {
			t.Errorf("%s: userinfo says %v", c.vendor, u)
		}
	}
}
