package idptest

import (
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Tenant is the directory of Entra that its Base names.
const Tenant = "72f988bf-86f1-41af-91ab-2d7cd011db47"

// openidVendors speak OpenID Connect. Their documents are what their discovery
// says.
func openidVendors() []vendor {
	email, profile := []string{"email"}, []string{"profile"}
	return []vendor{
		{
			name: "oidc", title: "Any OpenID provider", openid: scoped, refresh: "*", iss: true, emailScopes: email, nameScopes: profile,
			authorize: []string{"/authorize"}, tokens: []string{"/token"}, jwks: []string{"/jwks"}, discovery: []string{discoveryPath},
			profiles: map[string]shape{"/userinfo": standard}, userinfo: "/userinfo",
		},
		{
			name: "oauth2", title: "Any OAuth provider", refresh: "*",
			authorize: []string{"/authorize"}, tokens: []string{"/token"}, profiles: map[string]shape{"/userinfo": standard},
		},
		google(),
		apple(),
		azure(),
		{
			name: "linkedin_oidc", title: "LinkedIn", issuer: "/oauth", openid: scoped, auth: inBody, emailScopes: email, nameScopes: profile,
			authorize: []string{"/oauth/v2/authorization"}, tokens: []string{"/oauth/v2/accessToken"}, jwks: []string{"/oauth/openid/jwks"},
			discovery: []string{"/oauth" + discoveryPath, discoveryPath}, profiles: map[string]shape{"/v2/userinfo": standard}, userinfo: "/v2/userinfo",
			cancelled: map[string]string{"error": "user_cancelled_login"},
			claims: func(_ *ask, m map[string]any) {
				delete(m, "preferred_username")
				delete(m, "nonce") // which LinkedIn keeps to itself
				if m["name"] != nil {
					m["locale"] = map[string]any{"country": "US", "language": "en"}
				}
			},
		},
		slackOIDC(),
		{
			name: "keycloak", title: "Keycloak", at: "/realms/test", inner: regexp.MustCompile(`^/realms/([^/]+)`), openid: scoped, refresh: "*",
			emailScopes: email, nameScopes: profile,
			authorize: []string{"/protocol/openid-connect/auth"}, tokens: []string{"/protocol/openid-connect/token"},
			jwks: []string{"/protocol/openid-connect/certs"}, discovery: []string{discoveryPath},
			profiles: map[string]shape{"/protocol/openid-connect/userinfo": standard}, userinfo: "/protocol/openid-connect/userinfo",
		},
		{
			name: "vercel_marketplace", title: "Vercel Marketplace", openid: always,
			jwks: []string{"/.well-known/jwks"}, discovery: []string{discoveryPath}, // apps bring ID tokens; there is no page to go to
			claims: func(a *ask, m map[string]any) {
				for _, k := range []string{"email", "email_verified", "name", "given_name", "family_name", "preferred_username", "picture"} {
					delete(m, k)
				}
				m["account_id"], m["installation_id"], m["user_id"], m["user_role"] = "acc-1", "icfg_1", a.who.Subject, "ADMIN"
				put(m, "user_email", a.email())
				put(m, "user_name", a.who.Name)
				put(m, "user_avatar_url", a.who.Avatar)
			},
		},
	}
}

// google gives a refresh token to who asks for offline access, and never a
// second one for it.
func google() vendor {
	return vendor{
		name: "google", title: "Google", openid: scoped, refresh: "access_type=offline", keeps: true,
		emailScopes: []string{"email", "https://www.googleapis.com/auth/userinfo.email"},
		nameScopes:  []string{"profile", "https://www.googleapis.com/auth/userinfo.profile"},
		authorize:   []string{"/o/oauth2/v2/auth", "/o/oauth2/auth"}, tokens: []string{"/token", "/oauth2/v4/token", "/o/oauth2/token"},
		jwks: []string{"/oauth2/v3/certs"}, discovery: []string{discoveryPath},
		profiles: map[string]shape{
			"/v1/userinfo": standard, "/oauth2/v3/userinfo": standard,
			"/oauth2/v2/userinfo": googleOld, "/oauth2/v1/userinfo": googleOld, "/userinfo/v2/me": googleOld,
		}, userinfo: "/v1/userinfo",
		claims: func(a *ask, m map[string]any) {
			delete(m, "preferred_username")
			if _, domain, _ := strings.Cut(a.email(), "@"); domain != "" && domain != "gmail.com" {
				m["hd"] = domain
			}
		},
	}
}

func googleOld(a *ask) any {
	m := standard(a).(map[string]any)
	m["id"] = m["sub"]
	delete(m, "sub")
	if v, ok := m["email_verified"]; ok {
		m["verified_email"] = v
		delete(m, "email_verified")
	}
	return m
}

// apple tells a name once, in a form, beside the code; its secret is a JWT.
func apple() vendor {
	return vendor{
		name: "apple", title: "Apple", openid: always, auth: inBody, refresh: "*", keeps: true, emailScopes: []string{"email"},
		authorize: []string{"/auth/authorize"}, tokens: []string{"/auth/token"}, jwks: []string{"/auth/keys"}, discovery: []string{discoveryPath},
		cancelled: map[string]string{"error": "user_cancelled_authorize"},
		objects: func(q url.Values) (string, string) {
			if q.Get("scope") != "" && q.Get("response_mode") != "form_post" {
				return "invalid_request", "response_mode must be form_post when name or email scope is requested"
			}
			for _, s := range split(q.Get("scope")) {
				if !slices.Contains([]string{"name", "email", "openid"}, s) {
					return "invalid_scope", "no scope " + s
				}
			}
			return "", ""
		},
		lands: func(a *ask, out url.Values) {
			key := a.g.client.ID + "\x00" + a.who.Subject
			a.p.mu.Lock()
			met := a.p.met[key]
			a.p.met[key] = true
			a.p.mu.Unlock()
			if met || a.g.scope == "" {
				return
			}
			user := map[string]any{}
			if a.g.asked("name") {
				user["name"] = map[string]any{"firstName": a.first(), "lastName": a.last()}
			}
			put(user, "email", a.email())
			raw, err := json.Marshal(user)
			if err != nil {
				panic(err)
			}
			out.Set("user", string(raw))
		},
		claims: func(a *ask, m map[string]any) {
			for _, k := range []string{"azp", "name", "given_name", "family_name", "preferred_username", "picture"} {
				delete(m, k)
			}
			m["nonce_supported"] = true
			if strings.HasSuffix(a.email(), "@privaterelay.appleid.com") {
				m["is_private_email"] = true
			}
		},
	}
}

// azure has many tenants behind one host. It says of an address whether its
// domain's owner was verified, if the app asked to be told.
func azure() vendor {
	return vendor{
		name: "azure", title: "Microsoft Entra", at: "/" + Tenant, issuer: "/v2.0", openid: scoped, refresh: "offline_access",
		inner:       regexp.MustCompile(`^/([0-9a-f]{8}-[0-9a-f-]{27}|common|organizations|consumers)`),
		emailScopes: []string{"email"}, nameScopes: []string{"profile"},
		authorize: []string{"/oauth2/v2.0/authorize"}, tokens: []string{"/oauth2/v2.0/token"}, jwks: []string{"/discovery/v2.0/keys"},
		discovery: []string{"/v2.0" + discoveryPath},
		profiles: map[string]shape{
			"/oidc/userinfo": standard, "/openid/userinfo": standard,
			"/v1.0/me": func(a *ask) any {
				return map[string]any{
					"id": a.who.Subject, "displayName": or(a.who.Name), "givenName": or(a.first()), "surname": or(a.last()),
					"mail": or(a.who.Email), "userPrincipalName": or(a.who.Email), "mobilePhone": or(a.who.Phone),
				}
			},
		},
		userinfo: "/oidc/userinfo", cancelled: map[string]string{"error_subcode": "cancel"},
		claims: func(a *ask, m map[string]any) {
			if m["email"] != nil {
				m["xms_edov"] = m["email_verified"]
			}
			delete(m, "email_verified")
			if m["iss"] != nil { // an ID token
				delete(m, "azp")
				m["ver"], m["tid"], m["oid"] = "2.0", a.tenantOf(), a.who.Subject
				if a.g.asked("profile") {
					put(m, "preferred_username", a.who.Email)
				}
			}
		},
	}
}

// tenantOf is the directory that people of a request are in: those who come to
// a shared door are of Tenant.
func (c *call) tenantOf() string {
	if c.tenant == "" || !strings.Contains(c.tenant, "-") {
		return Tenant
	}
	return c.tenant
}

func slackOIDC() vendor {
	return vendor{
		name: "slack_oidc", title: "Slack", openid: scoped, lasting: "*", emailScopes: []string{"email"}, nameScopes: []string{"profile"},
		authorize: []string{"/openid/connect/authorize"}, tokens: []string{"/api/openid.connect.token"}, jwks: []string{"/openid/connect/keys"},
		discovery: []string{discoveryPath},
		profiles: map[string]shape{"/api/openid.connect.userInfo": func(a *ask) any {
			m := standard(a).(map[string]any)
			m["ok"] = true
			return m
		}}, userinfo: "/api/openid.connect.userInfo",
		claims: func(a *ask, m map[string]any) {
			delete(m, "preferred_username")
			m["https://slack.com/user_id"], m["https://slack.com/team_id"] = a.who.Subject, "T0R7GR"
			if a.g.asked("profile") {
				m["https://slack.com/team_name"], m["https://slack.com/team_domain"] = "kraneflannel", "kraneflannel"
			}
			if m["email"] != nil {
				m["date_email_verified"] = 1622128723
			}
		},
		answers: func(_ *ask, m map[string]any) { m["ok"] = true },
		refused: slackRefused,
	}
}

// slackRefused says no with a status of 200.
func slackRefused(_ *call, no *refusal) (int, any) {
	code := map[string]string{"invalid_grant": "invalid_code", "invalid_client": "bad_client_secret", "invalid_token": "invalid_auth"}[no.code]
	if code == "" {
		code = no.code
	}
	return 200, map[string]any{"ok": false, "error": code}
}
