package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"net/url"
	"strings"
	"time"
)

// Providers are those whose accounts let people in, and what an account there
// is worth here.
type Providers struct {
	Linking    string        `env:"EXTERNAL_LINKING" envDefault:"verified" oneof:"verified|never|refuse" help:"What becomes of an account elsewhere whose address a user has already. verified: it joins that user when both sides have proved the address. never: it is always a user of its own. refuse: who has that address cannot sign in by another way than before."`
	Recheck    time.Duration `env:"EXTERNAL_RECHECK" envDefault:"0" min:"0" help:"How old a provider's word on a session may be. Then it is asked for the profile again, and a session it does not stand by ends; so does one whose sign-in brought no token to ask with, as ID tokens of apps do. A provider that does not answer ends none. 0: never asked."`
	KeepTokens bool          `env:"EXTERNAL_KEEP_TOKENS" envDefault:"true" help:"Keep the tokens providers hand out, sealed. Otherwise the answer to a sign-in is the only place they are seen, and nothing can be asked of the provider later."`
	Redirect   string        `env:"EXTERNAL_REDIRECTURL" scope:"own" check:"target" help:"Where users land after signing in with an account elsewhere, whatever was asked for. Empty: what was asked for, else SITE_URL."`
	Issuers    []string      `env:"EXTERNAL_ALLOWED_ID_TOKEN_ISSUERS" scope:"own" envDefault:"https://appleid.apple.com,https://accounts.google.com" check:"web" help:"Issuers whose ID tokens are taken where the request names the issuer and no provider. The provider has to be turned on, too."`
	CacheLife  time.Duration `env:"EXTERNAL_OIDC_PROVIDER_CACHE_TTL" scope:"house" reload:"no" envDefault:"1h" min:"1s" max:"24h" help:"How long the discovery documents and keys of providers are kept. While a provider does not answer, they are used beyond that, for a day at most."`

	Custom    bool   `env:"CUSTOM_OAUTH_ENABLED" envDefault:"true" help:"Providers that administrators add while the server runs (custom:…) let people in."`
	CustomURL string `env:"CUSTOM_OAUTH_EXTERNAL_URL" scope:"own" help:"Public address their answers come back to, /callback below it. Empty: API_EXTERNAL_URL."`
	CustomMax int    `env:"CUSTOM_OAUTH_MAX_PROVIDERS" envDefault:"0" min:"0" help:"How many of them there may be; 0 means a thousand."`

	AppleTeam   string `env:"EXTERNAL_APPLE_TEAM_ID" scope:"own" help:"Apple: the team. With the next two the client secret is made anew whenever it is needed; one in EXTERNAL_APPLE_SECRET ends after six months."`
	AppleKeyID  string `env:"EXTERNAL_APPLE_KEY_ID" scope:"own" help:"Apple: the id of the key."`
	AppleKey    Secret `env:"EXTERNAL_APPLE_PRIVATE_KEY" scope:"own" help:"Apple: the key, as in the .p8 file. Its line breaks may be written \\n."`
	IOSBundleID string `env:"EXTERNAL_IOS_BUNDLE_ID" scope:"own" help:"Apple: the app whose ID tokens are taken, besides those of the client ids."`

	Apple             Provider `envPrefix:"EXTERNAL_APPLE_" help:"Apple: %s"`
	Azure             Provider `envPrefix:"EXTERNAL_AZURE_" help:"Microsoft Entra: %s"`
	Bitbucket         Provider `envPrefix:"EXTERNAL_BITBUCKET_" help:"Bitbucket: %s"`
	Discord           Provider `envPrefix:"EXTERNAL_DISCORD_" help:"Discord: %s"`
	Facebook          Provider `envPrefix:"EXTERNAL_FACEBOOK_" help:"Facebook: %s"`
	Figma             Provider `envPrefix:"EXTERNAL_FIGMA_" help:"Figma: %s"`
	Fly               Provider `envPrefix:"EXTERNAL_FLY_" help:"Fly.io: %s"`
	GitHub            Provider `envPrefix:"EXTERNAL_GITHUB_" help:"GitHub: %s"`
	GitLab            Provider `envPrefix:"EXTERNAL_GITLAB_" help:"GitLab: %s"`
	Google            Provider `envPrefix:"EXTERNAL_GOOGLE_" help:"Google: %s"`
	Kakao             Provider `envPrefix:"EXTERNAL_KAKAO_" help:"Kakao: %s"`
	Keycloak          Provider `envPrefix:"EXTERNAL_KEYCLOAK_" help:"Keycloak: %s"`
	LinkedIn          Provider `envPrefix:"EXTERNAL_LINKEDIN_" help:"LinkedIn, as it was: %s"`
	LinkedInOIDC      Provider `envPrefix:"EXTERNAL_LINKEDIN_OIDC_" help:"LinkedIn: %s"`
	Notion            Provider `envPrefix:"EXTERNAL_NOTION_" help:"Notion: %s"`
	Slack             Provider `envPrefix:"EXTERNAL_SLACK_" help:"Slack, as it was: %s"`
	SlackOIDC         Provider `envPrefix:"EXTERNAL_SLACK_OIDC_" help:"Slack: %s"`
	Snapchat          Provider `envPrefix:"EXTERNAL_SNAPCHAT_" help:"Snapchat: %s"`
	Spotify           Provider `envPrefix:"EXTERNAL_SPOTIFY_" help:"Spotify: %s"`
	Twitch            Provider `envPrefix:"EXTERNAL_TWITCH_" help:"Twitch: %s"`
	Twitter           Provider `envPrefix:"EXTERNAL_TWITTER_" help:"Twitter, the old name of X: %s"`
	VercelMarketplace Provider `envPrefix:"EXTERNAL_VERCEL_MARKETPLACE_" help:"Vercel Marketplace: %s"`
	VK                Provider `envPrefix:"EXTERNAL_VK_" help:"VK: %s"`
	WorkOS            Provider `envPrefix:"EXTERNAL_WORKOS_" help:"WorkOS: %s"`
	X                 Provider `envPrefix:"EXTERNAL_X_" help:"X: %s"`
	Zoom              Provider `envPrefix:"EXTERNAL_ZOOM_" help:"Zoom: %s"`
}

// Provider is somebody whose accounts let people in. A tenant has nothing of
// the server's: whoever shares a client with another takes the ID tokens that
// were made for the other's users. Where a proxy signs for tenants they share it
// all the same, see Base.Lend.
type Provider struct {
	Enabled        bool     `env:"ENABLED" scope:"own" envDefault:"false" help:"an account there lets people in."`
	ClientIDs      []string `env:"CLIENT_ID" scope:"own" help:"the client id. Of several, the first signs in, and ID tokens for any are taken."`
	Secret         Secret   `env:"SECRET" scope:"own" help:"the client's secret."`
	RedirectURI    string   `env:"REDIRECT_URI" scope:"own" check:"web" help:"where its answers come back to, as it was told there. Empty: /callback below API_EXTERNAL_URL."`
	URL            string   `env:"URL" scope:"own" check:"web" help:"its address, where that is not the usual one: a server of one's own; of Entra https://login.microsoftonline.com/ and the tenant, of Keycloak the realm, which it needs."`
	APIURL         string   `env:"API_URL" scope:"own" check:"web" help:"address of its API, where that is not found from the other."`
	EmailOptional  bool     `env:"EMAIL_OPTIONAL" scope:"own" envDefault:"false" help:"people may sign in of whom it tells no e-mail address."`
	SkipNonceCheck bool     `env:"SKIP_NONCE_CHECK" scope:"own" envDefault:"false" help:"take ID tokens whatever their nonce, for apps that cannot ask for one. Whoever gets hold of such a token can sign in with it."`
}

// NamedProvider is a provider by its name in requests, such as linkedin_oidc.
type NamedProvider struct {
	Name string
	Provider
}

// All lists every provider, also those that are not turned on, by name.
func (p *Providers) All() []NamedProvider {
	return []NamedProvider{
		{"apple", p.Apple},
		{"azure", p.Azure},
		{"bitbucket", p.Bitbucket},
		{"discord", p.Discord},
		{"facebook", p.Facebook},
		{"figma", p.Figma},
		{"fly", p.Fly},
		{"github", p.GitHub},
		{"gitlab", p.GitLab},
		{"google", p.Google},
		{"kakao", p.Kakao},
		{"keycloak", p.Keycloak},
		{"linkedin", p.LinkedIn},
		{"linkedin_oidc", p.LinkedInOIDC},
		{"notion", p.Notion},
		{"slack", p.Slack},
		{"slack_oidc", p.SlackOIDC},
		{"snapchat", p.Snapchat},
		{"spotify", p.Spotify},
		{"twitch", p.Twitch},
		{"twitter", p.Twitter},
		{"vercel_marketplace", p.VercelMarketplace},
		{"vk", p.VK},
		{"workos", p.WorkOS},
		{"x", p.X},
		{"zoom", p.Zoom},
	}
}

// Setting is the name of one of its settings: that of CLIENT_ID may be
// EXTERNAL_LINKEDIN_OIDC_CLIENT_ID.
func (p NamedProvider) Setting(x string) string {
	return "EXTERNAL_" + strings.ToUpper(p.Name) + "_" + x
}

// settings are the names of all of its settings.
func (p NamedProvider) settings() (names []string) {
	for _, x := range []string{"ENABLED", "CLIENT_ID", "SECRET", "REDIRECT_URI", "URL", "API_URL", "EMAIL_OPTIONAL", "SKIP_NONCE_CHECK"} {
		names = append(names, p.Setting(x))
	}
	if p.Name == "apple" {
		names = append(names, "EXTERNAL_APPLE_TEAM_ID", "EXTERNAL_APPLE_KEY_ID", "EXTERNAL_APPLE_PRIVATE_KEY", "EXTERNAL_IOS_BUNDLE_ID")
	}
	return names
}

// ApplePEM is EXTERNAL_APPLE_PRIVATE_KEY with line breaks, empty when it is not
// set.
func (p *Providers) ApplePEM() string { return lines(p.AppleKey.Reveal()) }

// providers looks at those that are turned on: one that lacks something would
// send people there and let none of them back.
func (k *checker) providers() {
	for _, p := range k.Providers.All() {
		if p.Enabled {
			k.provider(p)
		}
	}
	k.base("CUSTOM_OAUTH_EXTERNAL_URL", &k.Providers.CustomURL)
	k.sameHost("CUSTOM_OAUTH_EXTERNAL_URL", k.Providers.CustomURL)
	if k.Providers.Recheck > 0 && !k.Providers.KeepTokens && !k.bad["EXTERNAL_KEEP_TOKENS"] {
		k.fault("EXTERNAL_RECHECK", "providers are asked again with the tokens that EXTERNAL_KEEP_TOKENS=false does not keep", "take one of them out")
	}
}

func (k *checker) provider(p NamedProvider) {
	id, secret, address := p.Setting("CLIENT_ID"), p.Setting("SECRET"), p.Setting("URL")
	on := p.Setting("ENABLED")
	if len(p.ClientIDs) == 0 {
		k.fault(id, "it is missing, and "+on+" is set", "set it to the id of your client there, or take "+on+" out")
	}
	switch {
	case p.Name == "apple":
		k.apple(secret, on)
	case strings.TrimSpace(p.Secret.Reveal()) == "":
		k.fault(secret, "it is missing, and "+on+" is set", "set it to the secret of your client there, or take "+on+" out")
	}
	if p.Name == "keycloak" && p.URL == "" { // it has no usual address
		k.fault(address, "it is missing, and "+on+" is set", "set it to the address of your realm, e.g. https://keycloak.example.com/realms/staff")
	}
	k.outgoing(address, p.URL)
	k.outgoing(p.Setting("API_URL"), p.APIURL)
	k.sameHost(p.Setting("REDIRECT_URI"), p.RedirectURI)
	if p.SkipNonceCheck {
		k.warn(p.Setting("SKIP_NONCE_CHECK"), "whoever gets hold of an ID token can sign in with it", "take it out, unless your app cannot ask for a nonce")
	}
}

// sameHost warns of an address people come back to at another host than they set
// out from: the cookie they set out with is of that one.
func (k *checker) sameHost(x, address string) {
	back, err := url.Parse(address)
	here, bad := url.Parse(k.Server.ExternalURL)
	if err != nil || bad != nil || address == "" || k.Server.ExternalURL == "" || strings.EqualFold(back.Host, here.Host) {
		return
	}
	k.warn(x, "people come back to another host than that of API_EXTERNAL_URL, without the cookie they set out with, and are refused", "name an address at "+here.Host)
}

// apple looks at the client secret, which is either there or made of three
// things. Apps need neither: they come with ID tokens.
func (k *checker) apple(secret, on string) {
	const x = "EXTERNAL_APPLE_PRIVATE_KEY"
	p := &k.Providers
	var missing []string
	parts := []credential{{"EXTERNAL_APPLE_TEAM_ID", p.AppleTeam}, {"EXTERNAL_APPLE_KEY_ID", p.AppleKeyID}, {x, p.AppleKey.Reveal()}}
	for _, c := range parts {
		if strings.TrimSpace(c.value) == "" {
			missing = append(missing, c.x)
		}
	}
	switch all := len(parts); {
	case strings.TrimSpace(p.Apple.Secret.Reveal()) != "":
	case len(missing) == all && p.IOSBundleID != "":
		k.warn(secret, "it is missing: only ID tokens of apps let people in", "set EXTERNAL_APPLE_TEAM_ID, EXTERNAL_APPLE_KEY_ID and "+x+", if browsers shall")
	case len(missing) == all:
		k.fault(secret, "it is missing, and "+on+" is set", "set it, or, to have it made, EXTERNAL_APPLE_TEAM_ID, EXTERNAL_APPLE_KEY_ID and "+x)
	case len(missing) > 0:
		k.fault(missing[0], "it is missing, and the client secret is made of it", "set "+strings.Join(missing, " and "))
	default:
		key, err := privateKey(p.ApplePEM())
		// Apple takes ES256 alone.
		if ec, ok := key.(*ecdsa.PrivateKey); err != nil || !ok || ec.Curve != elliptic.P256() {
			k.fault(x, "it is not a key of Apple's in PEM", "set it to what stands in the .p8 file, with \\n for its line breaks")
		}
	}
}
