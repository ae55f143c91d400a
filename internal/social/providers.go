package social

// providers are the vendors. To add one is a literal here; only what reads a
// profile of its own shape is a function, in profiles.go or a file of its own.
// With each is the document it follows.
//
// Whether an address is proved is the vendor's to say. Where its document does
// not, the address counts as unproved: a company may put any into the accounts
// it runs there (nOAuth, CVE-2023-3128 Grafana).
var providers = []provider{
	{ // developer.apple.com/documentation/signinwithapplerestapi; see apple.go
		name: "apple", title: "Apple", url: "https://appleid.apple.com",
		issuer: "{url}", signInURL: "{url}/auth/authorize", tokenURL: "{url}/auth/token", jwksURL: "{url}/auth/keys",
		scopes: []string{"email", "name"}, params: map[string]string{"response_mode": "form_post"},
		oidc: true, apps: true, refreshes: true, claims: appleClaims,
	},
	{ // learn.microsoft.com/entra/identity-platform/v2-protocols-oidc; see azure.go
		name: "azure", title: "Microsoft", url: "https://login.microsoftonline.com/common",
		issuer: "{url}/v2.0", discoveryURL: "{url}/v2.0/.well-known/openid-configuration",
		scopes: []string{"openid", "email", "profile"},
		pkce:   true, oidc: true, apps: true, refreshes: true, lasting: []string{"offline_access"}, claims: azureClaims, issuerOf: azureIssuer, discovered: azureDiscovered,
	},
	{ // developer.atlassian.com/cloud/bitbucket/oauth-2
		name: "bitbucket", title: "Bitbucket", url: "https://bitbucket.org", api: "https://api.bitbucket.org",
		signInURL: "{url}/site/oauth2/authorize", tokenURL: "{url}/site/oauth2/access_token",
		scopes: []string{"account", "email"}, clientAuth: inHeader, profile: bitbucketProfile,
	},
	{ // docs.discord.com/developers/topics/oauth2
		name: "discord", title: "Discord", url: "https://discord.com",
		signInURL: "{url}/api/oauth2/authorize", tokenURL: "{url}/api/oauth2/token", userinfoURL: "{api}/api/users/@me",
		scopes: []string{"email", "identify"}, pkce: true, profile: discordProfile,
	},
	{ // developers.facebook.com/docs/facebook-login; ID tokens: …/facebook-login/limited-login/token
		name: "facebook", title: "Facebook", url: "https://www.facebook.com", api: "https://graph.facebook.com",
		issuer: "{url}", signInURL: "{url}/dialog/oauth", tokenURL: "{api}/oauth/access_token", jwksURL: "{url}/.well-known/oauth/openid/jwks/",
		scopes: []string{"email"}, apps: true, profile: facebookProfile,
	},
	{ // developers.figma.com/docs/rest-api/authentication
		name: "figma", title: "Figma", url: "https://www.figma.com", api: "https://api.figma.com",
		signInURL: "{url}/oauth", tokenURL: "{api}/v1/oauth/token", refreshURL: "{api}/v1/oauth/refresh", userinfoURL: "{api}/v1/me",
		scopes: []string{"current_user:read"}, pkce: true, clientAuth: inHeader, profile: figmaProfile,
	},
	{ // fly.io/docs/reference/extensions_api
		name: "fly", title: "Fly.io", url: "https://api.fly.io",
		signInURL: "{url}/oauth/authorize", tokenURL: "{url}/oauth/token", userinfoURL: "{api}/oauth/token/info",
		scopes: []string{"read"}, profile: flyProfile,
	},
	{ // docs.github.com/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps
		name: "github", title: "GitHub", url: "https://github.com", api: "https://api.github.com", apiPath: "/api/v3",
		signInURL: "{url}/login/oauth/authorize", tokenURL: "{url}/login/oauth/access_token",
		scopes: []string{"user:email"}, pkce: true, profile: githubProfile,
	},
	{ // docs.gitlab.com/api/oauth2
		name: "gitlab", title: "GitLab", url: "https://gitlab.com",
		signInURL: "{url}/oauth/authorize", tokenURL: "{url}/oauth/token", userinfoURL: "{api}/api/v4/user",
		scopes: []string{"read_user"}, pkce: true, profile: gitlabProfile,
	},
	{ // developers.google.com/identity/openid-connect
		name: "google", title: "Google", url: "https://accounts.google.com", issuer: "{url}",
		scopes: []string{"openid", "email", "profile"}, pkce: true, oidc: true, apps: true, anyPresenter: true, claims: googleClaims,
		lastingParams: map[string]string{"access_type": "offline", "prompt": "consent"},
	},
	{ // developers.kakao.com/docs/en/kakaologin/rest-api
		name: "kakao", title: "Kakao", url: "https://kauth.kakao.com", api: "https://kapi.kakao.com",
		issuer: "{url}", signInURL: "{url}/oauth/authorize", tokenURL: "{url}/oauth/token", jwksURL: "{url}/.well-known/jwks.json",
		userinfoURL: "{api}/v2/user/me", scopes: []string{"account_email", "profile_image", "profile_nickname"},
		apps: true, profile: kakaoProfile, claims: kakaoClaims,
	},
	{ // www.keycloak.org/securing-apps/oidc-layers; URL is that of the realm
		name: "keycloak", title: "Keycloak", issuer: "{url}",
		scopes: []string{"openid", "profile", "email"}, pkce: true, oidc: true, apps: true, asks: true,
	},
	{ // learn.microsoft.com/linkedin/shared/integrations/people/profile-api: before OpenID Connect
		name: "linkedin", title: "LinkedIn", url: "https://www.linkedin.com", api: "https://api.linkedin.com",
		signInURL: "{url}/oauth/v2/authorization", tokenURL: "{url}/oauth/v2/accessToken",
		scopes: []string{"r_emailaddress", "r_liteprofile"}, profile: linkedinProfile,
	},
	{ // learn.microsoft.com/linkedin/consumer/integrations/self-serve/sign-in-with-linkedin-v2
		name: "linkedin_oidc", title: "LinkedIn", url: "https://www.linkedin.com",
		issuer: "{url}/oauth", scopes: []string{"openid", "email", "profile"}, oidc: true, ownNonce: true, asks: true,
	},
	{ // developers.notion.com/docs/authorization
		name: "notion", title: "Notion", url: "https://api.notion.com",
		signInURL: "{url}/v1/oauth/authorize", tokenURL: "{url}/v1/oauth/token", userinfoURL: "{api}/v1/users/me",
		params: map[string]string{"owner": "user"}, clientAuth: inHeader, profile: notionProfile,
	},
	{ // api.slack.com/legacy/oauth: Sign in with Slack before OpenID Connect
		name: "slack", title: "Slack", url: "https://slack.com",
		signInURL: "{url}/oauth/authorize", tokenURL: "{url}/api/oauth.access", userinfoURL: "{api}/api/users.identity",
		scopes: []string{"identity.basic", "identity.email", "identity.avatar"}, commas: true, profile: slackProfile,
	},
	{ // docs.slack.dev/authentication/sign-in-with-slack
		name: "slack_oidc", title: "Slack", url: "https://slack.com",
		issuer: "{url}", scopes: []string{"openid", "email", "profile"}, oidc: true, asks: true, claims: slackClaims,
	},
	{ // developers.snap.com/snap-kit/login-kit
		name: "snapchat", title: "Snapchat", url: "https://accounts.snapchat.com", api: "https://kit.snapchat.com",
		issuer: "{url}/accounts/oauth2/token", signInURL: "{url}/accounts/oauth2/auth", tokenURL: "{url}/accounts/oauth2/token",
		userinfoURL: "{api}/v1/me",
		scopes: []string{
			"https://auth.snapchat.com/oauth2/api/user.external_id", "https://auth.snapchat.com/oauth2/api/user.display_name",
			"https://auth.snapchat.com/oauth2/api/user.bitmoji.avatar",
		},
		pkce: true, apps: true, profile: snapchatProfile,
	},
	{ // developer.spotify.com/documentation/web-api/tutorials/code-flow
		name: "spotify", title: "Spotify", url: "https://accounts.spotify.com", api: "https://api.spotify.com",
		signInURL: "{url}/authorize", tokenURL: "{url}/api/token", userinfoURL: "{api}/v1/me",
		scopes: []string{"user-read-email"}, pkce: true, clientAuth: inHeader, profile: spotifyProfile,
	},
	{ // dev.twitch.tv/docs/authentication
		name: "twitch", title: "Twitch", url: "https://id.twitch.tv", api: "https://api.twitch.tv",
		signInURL: "{url}/oauth2/authorize", tokenURL: "{url}/oauth2/token", userinfoURL: "{api}/helix/users",
		scopes: []string{"user:read:email"}, profile: twitchProfile,
	},
	{ // as x: its OAuth 1.0a is not spoken
		name: "twitter", title: "Twitter", url: "https://x.com", api: "https://api.x.com",
		signInURL: "{url}/i/oauth2/authorize", tokenURL: "{api}/2/oauth2/token", userinfoURL: "{api}/2/users/me",
		scopes: []string{"users.email", "tweet.read", "users.read", "offline.access"}, pkce: true, clientAuth: inHeader, profile: xProfile,
	},
	{ // vercel.com/docs/integrations/create-integration/marketplace-api: ID tokens alone
		name: "vercel_marketplace", title: "Vercel", url: "https://marketplace.vercel.com",
		issuer: "{url}", apps: true, noCode: true, claims: vercelClaims,
	},
	{ // dev.vk.com/api/access-token/authcode-flow-user
		name: "vk", title: "VK", url: "https://oauth.vk.com", api: "https://api.vk.com",
		signInURL: "{url}/authorize", tokenURL: "{url}/access_token", userinfoURL: "{api}/method/users.get",
		scopes: []string{"email", "offline"}, commas: true, params: map[string]string{"display": "page", "v": vkVersion}, profile: vkProfile,
	},
	{ // workos.com/docs/reference/sso
		name: "workos", title: "WorkOS", url: "https://api.workos.com",
		signInURL: "{url}/sso/authorize", tokenURL: "{url}/sso/token", userinfoURL: "{api}/sso/profile",
		pkce: true, profile: workosProfile,
	},
	{ // docs.x.com/fundamentals/authentication/oauth-2-0
		name: "x", title: "X", url: "https://x.com", api: "https://api.x.com",
		signInURL: "{url}/i/oauth2/authorize", tokenURL: "{api}/2/oauth2/token", userinfoURL: "{api}/2/users/me",
		scopes: []string{"users.email", "tweet.read", "users.read", "offline.access"}, pkce: true, clientAuth: inHeader, profile: xProfile,
	},
	{ // developers.zoom.us/docs/integrations/oauth
		name: "zoom", title: "Zoom", url: "https://zoom.us", api: "https://api.zoom.us",
		signInURL: "{url}/oauth/authorize", tokenURL: "{url}/oauth/token", userinfoURL: "{api}/v2/users/me",
		scopes: []string{"user:read"}, pkce: true, clientAuth: inHeader, profile: zoomProfile,
	},
}

// Those that are added at run time.
var (
	customOIDC   = provider{name: "oidc", oidc: true, apps: true, asks: true, scopes: []string{"openid"}}
	customOAuth2 = provider{name: "oauth2", clientAuth: inEither, profile: oauth2Profile}
)

func customOf(kind string) *provider {
	switch kind {
	case "oidc":
		return &customOIDC
	case "oauth2":
		return &customOAuth2
	}
	return nil
}

// find returns the literal of that name, or nil.
func find(name string) *provider {
	for i := range providers {
		if providers[i].name == name {
			return &providers[i]
		}
	}
	return nil
}
