package social_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/social"
)

// vendorURLs is where each vendor's sign-in page is, and what it is asked for.
var vendorURLs = map[string]struct {
	at, scope string
	pkce      bool
	more      map[string]string
}{
	"apple":     {"https://appleid.apple.com/auth/authorize", "email name", false, map[string]string{"response_mode": "form_post", "nonce": "n 1"}},
	"bitbucket": {"https://bitbucket.org/site/oauth2/authorize", "account email", false, nil},
	"discord":   {"https://discord.com/api/oauth2/authorize", "email identify", true, nil},
	"facebook":  {"https://www.facebook.com/dialog/oauth", "email", false, nil},
	"figma":     {"https://www.figma.com/oauth", "current_user:read", true, nil},
	"fly":       {"https://api.fly.io/oauth/authorize", "read", false, nil},
	"github":    {"https://github.com/login/oauth/authorize", "user:email", true, nil},
	"gitlab":    {"https://gitlab.com/oauth/authorize", "read_user", true, nil},
	"kakao":     {"https://kauth.kakao.com/oauth/authorize", "account_email profile_image profile_nickname", false, nil},
	"linkedin":  {"https://www.linkedin.com/oauth/v2/authorization", "r_emailaddress r_liteprofile", false, nil},
	"notion":    {"https://api.notion.com/v1/oauth/authorize", "", false, map[string]string{"owner": "user"}},
	"slack":     {"https://slack.com/oauth/authorize", "identity.basic,identity.email,identity.avatar", false, nil},
	"snapchat": {
		"https://accounts.snapchat.com/accounts/oauth2/auth",
		"https://auth.snapchat.com/oauth2/api/user.external_id https://auth.snapchat.com/oauth2/api/user.display_name https://auth.snapchat.com/oauth2/api/user.bitmoji.avatar", true, nil,
	},
	"spotify": {"https://accounts.spotify.com/authorize", "user-read-email", true, nil},
	"twitch":  {"https://id.twitch.tv/oauth2/authorize", "user:read:email", false, nil},
	"twitter": {"https://x.com/i/oauth2/authorize", "users.email tweet.read users.read offline.access", true, nil},
	"vk":      {"https://oauth.vk.com/authorize", "email,offline", false, map[string]string{"display": "page", "v": "5.199"}},
	"workos":  {"https://api.workos.com/sso/authorize", "", true, nil},
	"x":       {"https://x.com/i/oauth2/authorize", "users.email tweet.read users.read offline.access", true, nil},
	"zoom":    {"https://zoom.us/oauth/authorize", "user:read", true, nil},
}

// Those who are not in vendorURLs say themselves where their page is.
var discovering = map[string]bool{"azure": true, "google": true, "keycloak": true, "linkedin_oidc": true, "slack_oidc": true}

func TestAuthURL_leadsToEveryVendor(t *testing.T) {
	t.Parallel()
	sum := sha256.Sum256([]byte("verifier"))
	for _, name := range social.Known() {
		want, ok := vendorURLs[name]
		if !ok {
			if !discovering[name] && name != "vercel_marketplace" {
				t.Errorf("%s: there is no test of its page", name)
			}
			continue
		}
		s := social.Settings{Name: name, Enabled: true, ClientIDs: []string{"client", "second"}, Secret: "x", RedirectURI: "https://app.example/cb?a=b"}
		p := open(t, time.Now, s, func(o *social.Options) { o.Fetch = strictClient(t) })
		raw, err := p.AuthURL(t.Context(), name, social.Request{State: "st&a te=", Nonce: "n 1", Verifier: "verifier"})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		at, query, _ := strings.Cut(raw, "?")
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		wantQ := url.Values{"client_id": {"client"}, "redirect_uri": {"https://app.example/cb?a=b"}, "response_type": {"code"}, "state": {"st&a te="}}
		if want.scope != "" {
			wantQ.Set("scope", want.scope)
		}
		for key, v := range want.more {
			wantQ.Set(key, v)
		}
		if want.pkce {
			wantQ.Set("code_challenge", base64.RawURLEncoding.EncodeToString(sum[:]))
			wantQ.Set("code_challenge_method", "S256")
		}
		if at != want.at {
			t.Errorf("%s: got %s, want %s", name, at, want.at)
		}
		if d := cmp.Diff(wantQ, q); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestAuthURL_passesOnWhatIsNotOfTheProtocol(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	p := k.providers(func(s *social.Settings) {
		s.AuthParams = map[string]string{"audience": "api", "state": "fixed", "client_id": "evil", "Request": "x", "code_challenge": "x"}
		s.Scopes = []string{"email", "groups"}
	})
	extra := map[string][]string{
		"login_hint": {"ada@example.com"}, "prompt": {"none"}, "audience": {"other"}, "access_type": {"offline"},
		"long": {strings.Repeat("x", 2000)}, "": {"x"},
	}
	for _, key := range []string{
		"client_id", "client_secret", "redirect_uri", "response_type", "response_mode", "scope", "scopes", "state", "nonce", "code_challenge", "code_challenge_method",
		"Code_Challenge", "CLIENT_ID", "request", "request_uri", "redirect_to", "provider", "invite_token", "workos_provider", "skip_http_redirect", "registration",
	} {
		extra[key] = []string{"evil"}
	}
	raw, err := p.AuthURL(t.Context(), acme, social.Request{State: "s1", Nonce: "n1", Scopes: "email, calendar  groups od\"d", Extra: extra})
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	want := url.Values{
		"client_id": {"client"}, "redirect_uri": {"https://app.example/callback"}, "response_type": {"code"}, "state": {"s1"}, "nonce": {"n1"},
		"scope": {"openid email groups calendar"}, "login_hint": {"ada@example.com"}, "prompt": {"none"}, "audience": {"api"}, "access_type": {"offline"},
	}
	if d := cmp.Diff(want, u.Query()); d != "" {
		t.Error(d)
	}
}

func TestAuthURL_passesANonceToThoseWhoHaveNoneOfOurs(t *testing.T) {
	t.Parallel()
	v := newVendor(t, nil)
	raw, err := open(t, time.Now, v.settings("github")).AuthURL(t.Context(), "github", social.Request{State: "s", Nonce: "ours", Extra: url.Values{"nonce": {"theirs"}}})
	if err != nil || !strings.Contains(raw, "nonce=theirs") || strings.Contains(raw, "ours") {
		t.Errorf("got %s, %v", raw, err)
	}
	raw, err = open(t, time.Now, v.settings("workos")).AuthURL(t.Context(), "workos", social.Request{Extra: url.Values{"workos_provider": {"GoogleOAuth"}, "provider": {"workos"}}})
	if err != nil || !strings.Contains(raw, "provider=GoogleOAuth") || strings.Contains(raw, "workos_provider") {
		t.Errorf("got %s, %v", raw, err)
	}
}

func TestAuthURL_doesNotLeadToWhoIsNotThere(t *testing.T) {
	t.Parallel()
	v := newVendor(t, nil)
	off := v.settings("github")
	off.Enabled = false
	_, err := open(t, time.Now, off).AuthURL(t.Context(), "github", social.Request{})
	wantKind(t, err, social.Disabled)
	_, err = open(t, time.Now, off).AuthURL(t.Context(), "google", social.Request{})
	wantKind(t, err, social.Disabled)
	_, err = open(t, time.Now, off).AuthURL(t.Context(), "friendster", social.Request{})
	wantKind(t, err, social.Unknown)
	_, err = open(t, time.Now, off).AuthURL(t.Context(), "oidc", social.Request{})
	wantKind(t, err, social.Unknown)
	_, err = open(t, time.Now, v.settings("vercel_marketplace")).AuthURL(t.Context(), "vercel_marketplace", social.Request{})
	wantKind(t, err, social.Disabled)
	nameless := v.settings("keycloak")
	nameless.URL = ""
	_, err = open(t, time.Now, nameless).AuthURL(t.Context(), "keycloak", social.Request{})
	wantKind(t, err, social.Failed)
	clientless := v.settings("github")
	clientless.ClientIDs = nil
	_, err = open(t, time.Now, clientless).AuthURL(t.Context(), "github", social.Request{})
	wantKind(t, err, social.Failed)
}

func TestNames_areThoseThatAreEnabled(t *testing.T) {
	t.Parallel()
	p := social.New(social.Options{Fetch: strictClient(t), Now: time.Now, Settings: []social.Settings{
		{Name: "google", Enabled: true}, {Name: "apple"}, {Name: "github", Enabled: true}, {Name: "nobody", Enabled: true},
	}})
	if d := cmp.Diff([]string{"github", "google"}, p.Names()); d != "" {
		t.Error(d)
	}
	title, err := open(t, time.Now, social.Settings{Name: "azure", Enabled: true, ClientIDs: []string{"c"}}).Title(t.Context(), "azure")
	if err != nil || title != "Microsoft" {
		t.Errorf("got %q, %v", title, err)
	}
}

func TestAuthURL_asksForARefreshTokenWhereProfilesWillBeAskedForAgain(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	for _, lasting := range []bool{false, true} {
		p := open(t, k.clock, social.Settings{
			Name: "google", Enabled: true, ClientIDs: []string{"client"}, URL: k.URL, RedirectURI: "https://app.example/callback", Lasting: lasting,
		})
		raw, err := p.AuthURL(t.Context(), "google", social.Request{State: "s", Nonce: "n", Verifier: "v"})
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got := u.Query().Get("access_type") == "offline"; got != lasting {
			t.Errorf("lasting %v: %s", lasting, raw)
		}
	}
}
