package social_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/social"
)

const tokenAnswer = `{"access_token":"access-1","token_type":"bearer","expires_in":3600,"refresh_token":"refresh-1","scope":"a,b"}`

// vendorProfiles are answers as the vendors document them.
var vendorProfiles = []struct {
	name, token string // path of the token endpoint
	says        map[string]string
	basic       bool // how we say who we are
	subject     string
	email       string
	proved      bool
	data        map[string]any // some of it
}{
	{
		name: "github", token: "/login/oauth/access_token", subject: "583231", email: "octo@example.com", proved: true,
		says: map[string]string{
			"/api/v3/user":        `{"login":"octocat","id":583231,"name":"The Octocat","avatar_url":"https://a.example/u/583231","email":"shown@example.com"}`,
			"/api/v3/user/emails": `[{"email":"x@users.noreply.github.com","primary":false,"verified":true},{"email":"octo@example.com","primary":true,"verified":true}]`,
		},
		data: map[string]any{"user_name": "octocat", "preferred_username": "octocat", "full_name": "The Octocat", "avatar_url": "https://a.example/u/583231"},
	},
	{
		name: "github", token: "/login/oauth/access_token", subject: "1", email: "o@example.com",
		says: map[string]string{
			"/api/v3/user": `{"login":"o","id":1}`, "/api/v3/user/emails": `[{"email":"o@example.com","primary":true,"verified":false},{"email":"p@example.com","primary":false,"verified":true}]`,
		},
		data: map[string]any{"name": "o"},
	},
	{ // an app that may not see addresses
		name: "github", token: "/login/oauth/access_token", subject: "1",
		says: map[string]string{"/api/v3/user": `{"login":"o","id":1,"email":"shown@example.com"}`},
	},
	{
		name: "gitlab", token: "/oauth/token", subject: "7", email: "g@example.com", proved: true,
		says: map[string]string{"/api/v4/user": `{"id":7,"username":"g","name":"G Lab","avatar_url":"https://a.example/7","email":"g@example.com","confirmed_at":"2012-05-23T09:05:22Z"}`},
		data: map[string]any{"user_name": "g", "name": "G Lab"},
	},
	{
		name: "gitlab", token: "/oauth/token", subject: "7", email: "g@example.com",
		says: map[string]string{"/api/v4/user": `{"id":7,"email":"g@example.com","confirmed_at":null}`},
	},
	{
		name: "bitbucket", token: "/site/oauth2/access_token", basic: true, subject: "{c788b2da}", email: "b@example.com", proved: true,
		says: map[string]string{
			"/2.0/user":        `{"uuid":"{c788b2da}","display_name":"Bit","username":"bit","links":{"avatar":{"href":"https://a.example/b"}}}`,
			"/2.0/user/emails": `{"values":[{"email":"c@example.com","is_primary":false,"is_confirmed":true},{"email":"b@example.com","is_primary":true,"is_confirmed":true}]}`,
		},
		data: map[string]any{"avatar_url": "https://a.example/b", "full_name": "Bit"},
	},
	{
		name: "bitbucket", token: "/site/oauth2/access_token", basic: true, subject: "{1}", email: "b@example.com",
		says: map[string]string{"/2.0/user": `{"uuid":"{1}"}`, "/2.0/user/emails": `{"values":[{"email":"b@example.com","is_primary":true,"is_confirmed":"true"}]}`},
	},
	{
		name: "discord", token: "/api/oauth2/token", subject: "80351110224678912", email: "n@example.com", proved: true,
		says: map[string]string{"/api/users/@me": `{"id":"80351110224678912","username":"nelly","global_name":"Nelly","avatar":"8342729096","email":"n@example.com","verified":true}`},
		data: map[string]any{"user_name": "nelly", "name": "Nelly", "avatar_url": "https://cdn.discordapp.com/avatars/80351110224678912/8342729096.png"},
	},
	{
		name: "discord", token: "/api/oauth2/token", subject: "8", email: "n@example.com",
		says: map[string]string{"/api/users/@me": `{"id":"8","username":"nelly","email":"n@example.com","verified":"true"}`},
	},
	{
		name: "facebook", token: "/oauth/access_token", subject: "1020", email: "f@example.com", proved: true,
		says: map[string]string{"/me": `{"id":"1020","email":"f@example.com","first_name":"Fa","last_name":"Ce","name":"Fa Ce","picture":{"data":{"url":"https://a.example/f.jpg"}}}`},
		data: map[string]any{"slug": "Fa Ce", "full_name": "Fa Ce", "picture": "https://a.example/f.jpg"},
	},
	{name: "facebook", token: "/oauth/access_token", subject: "1020", says: map[string]string{"/me": `{"id":"1020","name":"By telephone"}`}},
	{
		name: "x", token: "/2/oauth2/token", basic: true, subject: "2244994945", email: "x@example.com", proved: true,
		says: map[string]string{"/2/users/me": `{"data":{"id":"2244994945","name":"X Dev","username":"xdev","profile_image_url":"https://a.example/x.png","confirmed_email":"x@example.com"}}`},
		data: map[string]any{"user_name": "xdev", "name": "X Dev"},
	},
	{name: "twitter", token: "/2/oauth2/token", basic: true, subject: "2", says: map[string]string{"/2/users/me": `{"data":{"id":"2","name":"X","username":"x","verified":true}}`}},
	{
		name: "figma", token: "/v1/oauth/token", basic: true, subject: "9", email: "f@example.com",
		says: map[string]string{"/v1/me": `{"id":"9","email":"f@example.com","handle":"Fig","img_url":"https://a.example/g"}`}, data: map[string]any{"name": "Fig"},
	},
	{
		name: "fly", token: "/oauth/token", subject: "u9", email: "f@example.com",
		says: map[string]string{"/oauth/token/info": `{"resource_owner_id":"r","user_id":"u9","user_name":"Fly","email":"f@example.com","organizations":[{"id":"o","role":"admin"}]}`},
		data: map[string]any{"name": "Fly"},
	},
	{
		name: "kakao", token: "/oauth/token", subject: "123456789", email: "k@example.com", proved: true,
		says: map[string]string{"/v2/user/me": `{"id":123456789,"kakao_account":{"email":"k@example.com","is_email_valid":true,"is_email_verified":true,"profile":{"nickname":"Ka","profile_image_url":"http://a.example/k.jpg"}}}`},
		data: map[string]any{"name": "Ka", "picture": "http://a.example/k.jpg"},
	},
	{
		name: "kakao", token: "/oauth/token", subject: "1", email: "k@example.com",
		says: map[string]string{"/v2/user/me": `{"id":1,"kakao_account":{"email":"k@example.com","is_email_valid":false,"is_email_verified":true}}`},
	},
	{
		name: "linkedin", token: "/oauth/v2/accessToken", subject: "REDACTED", email: "l@example.com",
		says: map[string]string{
			"/v2/me":           `{"id":"REDACTED","firstName":{"localized":{"en_US":"Lin"},"preferredLocale":{"country":"US","language":"en"}},"lastName":{"localized":{"en_US":"Ked"},"preferredLocale":{"country":"US","language":"en"}},"profilePicture":{"displayImage~":{"elements":[{"identifiers":[{"identifier":"https://a.example/s"}]},{"identifiers":[{"identifier":"https://a.example/l"}]}]}}}`,
			"/v2/emailAddress": `{"elements":[{"handle":"urn:li:emailAddress:1","handle~":{"emailAddress":"l@example.com"}}]}`,
		},
		data: map[string]any{"full_name": "Lin Ked", "avatar_url": "https://a.example/l"},
	},
	{
		name: "notion", token: "/v1/oauth/token", basic: true, subject: "n1", email: "n@example.com",
		says: map[string]string{"/v1/users/me": `{"object":"user","type":"bot","bot":{"owner":{"type":"user","user":{"id":"n1","name":"No","avatar_url":"https://a.example/n","person":{"email":"n@example.com"}}}}}`},
		data: map[string]any{"name": "No"},
	},
	{
		name: "slack", token: "/api/oauth.access", subject: "U0G9QF9C6", email: "s@example.com",
		says: map[string]string{"/api/users.identity": `{"ok":true,"user":{"name":"Sla Ck","id":"U0G9QF9C6","email":"s@example.com","image_512":"https://a.example/s"},"team":{"id":"T0G9PQBBK"}}`},
		data: map[string]any{"name": "Sla Ck"},
	},
	{
		name: "snapchat", token: "/accounts/oauth2/token", subject: "CAESIPiRBp0e5gLDq7VVurQ3rVdmdbqxpOJWynjyBL/xlo0w",
		says: map[string]string{"/v1/me": `{"data":{"me":{"externalId":"CAESIPiRBp0e5gLDq7VVurQ3rVdmdbqxpOJWynjyBL/xlo0w","displayName":"Sn Ap","bitmoji":{"avatar":"https://a.example/b"}}}}`},
		data: map[string]any{"name": "Sn Ap"},
	},
	{
		name: "spotify", token: "/api/token", basic: true, subject: "spot", email: "s@example.com",
		says: map[string]string{"/v1/me": `{"id":"spot","display_name":"Spot","email":"s@example.com","images":[{"url":"https://a.example/sp"}]}`}, data: map[string]any{"picture": "https://a.example/sp"},
	},
	{
		name: "twitch", token: "/oauth2/token", subject: "141981764", email: "t@example.com", proved: true,
		says: map[string]string{"/helix/users": `{"data":[{"id":"141981764","login":"twitchdev","display_name":"TwitchDev","profile_image_url":"https://a.example/t","email":"t@example.com"}]}`},
		data: map[string]any{"user_name": "twitchdev", "name": "TwitchDev"},
	},
	{
		name: "vk", token: "/access_token", subject: "66748", email: "v@example.com",
		says: map[string]string{
			"/access_token":     `{"access_token":"access-1","expires_in":0,"user_id":66748,"email":"v@example.com"}`,
			"/method/users.get": `{"response":[{"id":66748,"first_name":"Vi","last_name":"Ka","screen_name":"vika","photo_200":"https://a.example/v"}]}`,
		},
		data: map[string]any{"full_name": "Vi Ka", "user_name": "vika"},
	},
	{
		name: "workos", token: "/sso/token", subject: "prof_1", email: "w@example.com",
		says: map[string]string{"/sso/token": `{"access_token":"access-1","profile":{"id":"prof_1","email":"w@example.com","first_name":"Wo","last_name":"Rk","connection_id":"conn_1","organization_id":"org_1","raw_attributes":{}}}`},
		data: map[string]any{"full_name": "Wo Rk"},
	},
	{
		name: "zoom", token: "/oauth/token", basic: true, subject: "KDcuGIm1QgePTO8WbOqwIQ", email: "z@example.com", proved: true,
		says: map[string]string{"/v2/users/me": `{"id":"KDcuGIm1QgePTO8WbOqwIQ","first_name":"Zo","last_name":"Om","email":"z@example.com","verified":1,"pic_url":"https://a.example/z"}`},
		data: map[string]any{"full_name": "Zo Om"},
	},
	{
		name: "zoom", token: "/oauth/token", basic: true, subject: "K", email: "z@example.com",
		says: map[string]string{"/v2/users/me": `{"id":"K","email":"z@example.com","verified":0}`},
	},
}

func TestExchange_readsEveryVendorsProfile(t *testing.T) {
	t.Parallel()
	tried := map[string]bool{}
	for _, tc := range vendorProfiles {
		tried[tc.name] = true
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			v := newVendor(t, tc.says)
			if tc.says[tc.token] == "" {
				v.answer(tc.token, 200, tokenAnswer)
			}
			p, err := open(t, time.Now, v.settings(tc.name)).Exchange(t.Context(), tc.name, answer())
			if err != nil {
				t.Fatal(err)
			}
			if p.Subject != tc.subject || p.Email != tc.email || p.EmailVerified != tc.proved || p.Tokens.Access != "access-1" {
				t.Errorf("got %+v", p)
			}
			if !strings.HasPrefix(p.Issuer, v.URL) || p.Data["iss"] != p.Issuer || p.Data["sub"] != tc.subject || p.Data["provider_id"] != tc.subject || p.Data["email_verified"] != tc.proved {
				t.Errorf("got issuer %q and %v", p.Issuer, p.Data)
			}
			for key, want := range tc.data {
				if p.Data[key] != want {
					t.Errorf("%s = %v, want %v", key, p.Data[key], want)
				}
			}
			form := v.forms[tc.token]
			if tc.basic != (form.Get("basic") == "client:hunter2") || tc.basic == (form.Get("client_secret") == "hunter2") {
				t.Errorf("we said who we are as %v", form)
			}
		})
	}
	for _, name := range social.Known() {
		if !tried[name] && !discovering[name] && name != "apple" && name != "vercel_marketplace" {
			t.Errorf("%s: there is no test of its profile", name)
		}
	}
}

func TestExchange_refusesProfilesOfNobody(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, token, at, body string }{
		{"github", "/login/oauth/access_token", "/api/v3/user", `{"login":"x"}`},
		{"github", "/login/oauth/access_token", "/api/v3/user", `{"id":0}`},
		{"github", "/login/oauth/access_token", "/api/v3/user", `{"id":1.5}`},
		{"github", "/login/oauth/access_token", "/api/v3/user", `[]`},
		{"facebook", "/oauth/access_token", "/me", `{}`},
		{"x", "/2/oauth2/token", "/2/users/me", `{"data":null}`},
		{"twitch", "/oauth2/token", "/helix/users", `{"data":[]}`},
		{"twitch", "/oauth2/token", "/helix/users", `{"data":[{"id":"1"},{"id":"2"}]}`},
		{"slack", "/api/oauth.access", "/api/users.identity", `{"ok":true,"user":{"id":"U1"}}`},
		{"vk", "/access_token", "/method/users.get", `{"response":[]}`},
		{"discord", "/api/oauth2/token", "/api/users/@me", `{"id":["a"]}`},
	} {
		v := newVendor(t, map[string]string{tc.token: tokenAnswer, tc.at: tc.body})
		_, err := open(t, time.Now, v.settings(tc.name)).Exchange(t.Context(), tc.name, answer())
		if social.KindOf(err) != social.Failed {
			t.Errorf("%s %s: got %v, want %q", tc.name, tc.body, err, social.Failed)
		}
	}
	v := newVendor(t, map[string]string{
		"/access_token": `{"access_token":"a","user_id":1,"email":"v@example.com"}`, "/method/users.get": `{"response":[{"id":2}]}`,
	})
	_, err := open(t, time.Now, v.settings("vk")).Exchange(t.Context(), "vk", answer())
	wantKind(t, err, social.BadToken)
}

// A user's id is of one workspace: the same one of another is somebody else.
func TestExchange_slackUsersAreThoseOfTheirWorkspace(t *testing.T) {
	t.Parallel()
	var issuers []string
	for _, team := range []string{"T1", "T2"} {
		v := newVendor(t, map[string]string{"/api/oauth.access": `{"ok":true,"access_token":"a"}`, "/api/users.identity": `{"ok":true,"user":{"id":"U1"},"team":{"id":"` + team + `"}}`})
		p, err := open(t, time.Now, v.settings("slack")).Exchange(t.Context(), "slack", answer())
		if err != nil {
			t.Fatal(err)
		}
		issuers = append(issuers, strings.TrimPrefix(p.Issuer, v.URL))
	}
	if issuers[0] == issuers[1] {
		t.Errorf("both are of %s", issuers[0])
	}
	v := newVendor(t, map[string]string{"/api/oauth.access": `{"ok":false,"error":"invalid_code"}`})
	_, err := open(t, time.Now, v.settings("slack")).Exchange(t.Context(), "slack", answer())
	wantKind(t, err, social.Code)
}

// L34: the proof shows Facebook that its token is used by the app it was made for.
func TestExchange_facebookIsShownTheProofOfTheSecret(t *testing.T) {
	t.Parallel()
	v := newVendor(t, map[string]string{"/oauth/access_token": tokenAnswer, "/me": `{"id":"1"}`})
	if _, err := open(t, time.Now, v.settings("facebook")).Exchange(t.Context(), "facebook", answer()); err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, []byte("hunter2"))
	mac.Write([]byte("access-1"))
	if got, want := v.asked["/me"].URL.Query().Get("appsecret_proof"), hex.EncodeToString(mac.Sum(nil)); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := v.asked["/me"].Header.Get("Authorization"); got != "Bearer access-1" {
		t.Errorf("got %q", got)
	}
}

// F05: a picture is an address, and nobody goes there.
func TestExchange_doesNotFetchPictures(t *testing.T) {
	t.Parallel()
	v := newVendor(t, map[string]string{"/oauth/token": tokenAnswer})
	v.answer("/api/v4/user", 200, `{"id":7,"avatar_url":"`+v.URL+`/picture","name":"G"}`)
	if _, err := open(t, time.Now, v.settings("gitlab")).Exchange(t.Context(), "gitlab", answer()); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(v.order, " "); got != "/oauth/token /api/v4/user" {
		t.Errorf("asked %s", got)
	}
}

func TestExchange_asksTheAPIWhereItIs(t *testing.T) {
	t.Parallel()
	page := newVendor(t, map[string]string{"/login/oauth/access_token": tokenAnswer})
	api := newVendor(t, map[string]string{"/api/v3/user": `{"id":1}`, "/api/v3/user/emails": `[]`})
	for _, at := range []string{api.URL, api.URL + "/", api.URL + "/api/v3"} {
		s := page.settings("github")
		s.APIURL = at
		p, err := open(t, time.Now, s).Exchange(t.Context(), "github", answer())
		if err != nil || p.Issuer != page.URL {
			t.Errorf("%s: got %+v, %v", at, p, err)
		}
	}
}
