package idptest

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// peopleVendors are where people meet, listen, watch and play.
func peopleVendors() []vendor {
	return []vendor{
		facebook(),
		x("x", "X"),
		x("twitter", "Twitter"),
		{
			// https://docs.discord.com/developers/topics/oauth2, …/resources/user
			name: "discord", title: "Discord", refresh: "*", emailScopes: []string{"email"},
			authorize: []string{"/oauth2/authorize", "/api/oauth2/authorize"}, tokens: []string{"/api/oauth2/token", "/oauth2/token", "/api/v10/oauth2/token"},
			profiles: map[string]shape{"/api/users/@me": discordUser, "/users/@me": discordUser, "/api/v10/users/@me": discordUser},
			refused:  statusRefused(func(no *refusal) any { return map[string]any{"message": "401: Unauthorized", "code": 0} }),
		},
		vk(),
		kakao(),
		{
			// https://developers.snap.com/snap-kit/login-kit
			name: "snapchat", title: "Snapchat", issuer: "/accounts/oauth2/token", openid: scoped, refresh: "*",
			authorize: []string{"/accounts/oauth2/auth"}, tokens: []string{"/accounts/oauth2/token"},
			jwks: []string{"/.well-known/jwks.json"}, discovery: []string{"/accounts/oauth2/token" + discoveryPath, discoveryPath},
			profiles:    map[string]shape{"/v1/me": snapchatMe},
			emailScopes: []string{"no scope gives an address"},
		},
		{
			// https://developer.spotify.com/documentation/web-api/reference/get-current-users-profile
			name: "spotify", title: "Spotify", refresh: "*", auth: inHeader, emailScopes: []string{"user-read-email"},
			authorize: []string{"/authorize"}, tokens: []string{"/api/token"},
			profiles: map[string]shape{"/v1/me": func(a *ask) any {
				m := map[string]any{
					"id": a.who.Subject, "display_name": or(a.who.Name), "images": []any{}, "type": "user", "uri": "spotify:user:" + a.who.Subject,
					"href": a.base + "/v1/users/" + a.who.Subject, "external_urls": map[string]any{"spotify": "https://open.spotify.com/user/" + a.who.Subject},
				}
				put(m, "email", a.email()) // of which Spotify knows nothing but that it was typed
				if a.who.Avatar != "" {
					m["images"] = []any{map[string]any{"url": a.who.Avatar, "height": 300, "width": 300}}
				}
				return m
			}},
			refused: statusRefused(func(no *refusal) any {
				return map[string]any{"error": map[string]any{"status": no.status, "message": "The access token expired"}}
			}),
		},
		twitch(),
	}
}

// statusRefused answers a refused access token in the vendor's own form, and
// all else as RFC 6749 has it.
func statusRefused(form func(*refusal) any) func(*call, *refusal) (int, any) {
	return func(_ *call, no *refusal) (int, any) {
		if no.code == "invalid_token" {
			return no.status, form(no)
		}
		return no.status, map[string]any{"error": no.code, "error_description": no.text}
	}
}

// facebook: https://developers.facebook.com/docs/facebook-login/guides/advanced/manual-flow.
// It tells the fields that are named, may have a version before every path,
// and takes parameters in the query.
func facebook() vendor {
	return vendor{
		name: "facebook", title: "Facebook", inner: regexp.MustCompile(`^/(v\d+\.\d+)`), get: true, openid: scoped, emailScopes: []string{"email"},
		authorize: []string{"/dialog/oauth"}, tokens: []string{"/oauth/access_token"},
		jwks: []string{"/.well-known/oauth/openid/jwks/", "/.well-known/oauth/openid/jwks"}, discovery: []string{discoveryPath, discoveryPath + "/"},
		cancelled: map[string]string{"error_reason": "user_denied", "error_code": "200", "error_description": "Permissions error"},
		profiles:  map[string]shape{"/me": facebookMe},
		answers: func(_ *ask, m map[string]any) {
			m["token_type"] = "bearer"
			delete(m, "scope")
		},
		claims: func(_ *ask, m map[string]any) {
			delete(m, "email_verified")
			delete(m, "preferred_username")
		},
		refused: func(_ *call, no *refusal) (int, any) {
			code := 100
			if no.code == "invalid_token" {
				code = 190
			}
			return http.StatusBadRequest, map[string]any{"error": map[string]any{"message": no.text, "type": "OAuthException", "code": code, "fbtrace_id": "EJplcsCHuLu"}}
		},
	}
}

func facebookMe(a *ask) any {
	fields := a.both.Get("fields")
	if fields == "" {
		fields = "id,name"
	}
	m := map[string]any{"id": a.who.Subject}
	// A field may have subfields and modifiers: picture.type(large){url}.
	for _, f := range regexp.MustCompile(`[a-z_]+(\.[a-z_]+\([^)]*\))*(\{[^}]*\})?`).FindAllString(fields, -1) {
		switch name := regexp.MustCompile(`^[a-z_]+`).FindString(f); name {
		case "name":
			put(m, name, a.who.Name)
		case "first_name":
			put(m, name, a.first())
		case "last_name":
			put(m, name, a.last())
		case "email":
			put(m, name, a.email())
		case "picture":
			m[name] = map[string]any{"data": map[string]any{"height": 200, "width": 200, "is_silhouette": a.who.Avatar == "", "url": a.who.Avatar}}
		}
	}
	return m
}

// x: https://docs.x.com/fundamentals/authentication/oauth-2-0/authorization-code,
// https://docs.x.com/x-api/users/get-my-user. It wants PKCE of everybody.
func x(name, title string) vendor {
	me := func(a *ask) any {
		if !a.g.asked("users.read") || !a.g.asked("tweet.read") {
			return refuse(http.StatusForbidden, "client-forbidden", "The scopes users.read and tweet.read are needed")
		}
		data := map[string]any{"id": a.who.Subject, "name": a.who.Name, "username": a.who.Username}
		for _, f := range strings.Split(a.both.Get("user.fields"), ",") {
			switch f {
			case "profile_image_url":
				put(data, f, a.who.Avatar)
			case "confirmed_email":
				if a.proved() {
					put(data, f, a.email())
				}
			case "verified":
				data[f] = false // of the person, not of the address
			}
		}
		lay(data, a.who.Profile)
		return map[string]any{"data": data}
	}
	return vendor{
		name: name, title: title, pkce: true, refresh: "offline.access", auth: inHeader, emailScopes: []string{"users.email"},
		authorize: []string{"/i/oauth2/authorize"}, tokens: []string{"/2/oauth2/token"}, profiles: map[string]shape{"/2/users/me": me},
		answers: func(_ *ask, m map[string]any) { m["token_type"] = "bearer" },
		refused: statusRefused(func(no *refusal) any {
			return map[string]any{"title": "Unauthorized", "type": "about:blank", "status": no.status, "detail": "Unauthorized"}
		}),
	}
}

func discordUser(a *ask) any {
	m := map[string]any{
		"id": a.who.Subject, "username": a.who.Username, "discriminator": "0", "global_name": or(a.who.Name), "avatar": nil, "locale": "en-US", "mfa_enabled": false,
	}
	if a.who.Avatar != "" {
		m["avatar"] = "8342729096ea3675442027381ff50dfe" // its hash; the address is made of it
	}
	if a.g.asked("email") {
		m["email"], m["verified"] = or(a.email()), a.verified()
		if a.email() == "" {
			m["verified"] = false
		}
	}
	return m
}

// vk is VK ID (https://id.vk.com/about/business/go/docs, OAuth 2.1) and the
// old oauth.vk.com with api.vk.com, which gives the address with the token.
func vk() vendor {
	return vendor{
		name: "vk", title: "VK", get: true, public: true, anyCase: true, lasting: "offline", refresh: "*", emailScopes: []string{"email"},
		authorize: []string{"/authorize"}, tokens: []string{"/oauth2/auth", "/access_token"},
		profiles: map[string]shape{"/oauth2/user_info": vkUser, "/method/users.get": vkOld},
		lands: func(a *ask, out url.Values) {
			if a.g.challenge != "" {
				out.Set("device_id", "device-"+a.who.Subject)
				out.Set("type", "code_v2")
			}
		},
		redeems: func(g *grant, from url.Values) *refusal {
			if g.challenge != "" && from.Get("device_id") != "device-"+g.subject {
				return refuse(http.StatusBadRequest, "invalid_request", "device_id is missing or invalid")
			}
			return nil
		},
		answers: func(a *ask, m map[string]any) {
			m["user_id"] = a.number()
			if a.path == "/access_token" {
				put(m, "email", a.email())
				delete(m, "refresh_token")
				if a.v.lasts(a.g) {
					m["expires_in"] = 0
				}
				return
			}
			m["state"] = a.body.Get("state")
		},
		refused: func(c *call, no *refusal) (int, any) {
			if c.path == "/method/users.get" {
				return http.StatusOK, map[string]any{"error": map[string]any{"error_code": 5, "error_msg": "User authorization failed: " + no.text}}
			}
			return no.status, map[string]any{"error": no.code, "error_description": no.text}
		},
	}
}

func vkUser(a *ask) any {
	if a.both.Get("client_id") != a.g.client.ID {
		return refuse(http.StatusBadRequest, "invalid_request", "client_id is missing or invalid")
	}
	user := map[string]any{
		"user_id": a.who.Subject, "first_name": a.first(), "last_name": a.last(), "avatar": a.who.Avatar, "sex": 0, "verified": false, "birthday": "",
	}
	put(user, "email", a.email())
	if a.g.asked("phone") {
		put(user, "phone", a.who.Phone)
	}
	lay(user, a.who.Profile)
	return map[string]any{"user": user}
}

func vkOld(a *ask) any {
	if a.both.Get("v") == "" {
		return map[string]any{"error": map[string]any{"error_code": 8, "error_msg": "Invalid request: v (version) is required"}}
	}
	user := map[string]any{"id": a.number(), "first_name": a.first(), "last_name": a.last(), "can_access_closed": true, "is_closed": false}
	for _, f := range strings.Split(a.both.Get("fields"), ",") {
		switch f {
		case "photo_200", "photo_max", "photo_100":
			user[f] = a.who.Avatar
		case "screen_name":
			user[f] = a.who.Username
		}
	}
	lay(user, a.who.Profile)
	return map[string]any{"response": []any{user}}
}

// kakao: https://developers.kakao.com/docs/latest/en/kakaologin/rest-api
func kakao() vendor {
	me := func(a *ask) any {
		account := map[string]any{
			"profile_needs_agreement": false, "has_email": a.who.Email != "", "email_needs_agreement": a.email() == "" && a.who.Email != "",
			"profile": map[string]any{"nickname": a.who.Name, "thumbnail_image_url": a.who.Avatar, "profile_image_url": a.who.Avatar, "is_default_image": false},
		}
		if a.email() != "" {
			account["email"], account["is_email_valid"], account["is_email_verified"] = a.email(), true, a.verified()
		}
		return map[string]any{
			"id": a.number(), "connected_at": "2022-04-11T01:45:28Z", "kakao_account": account,
			"properties": map[string]any{"nickname": a.who.Name, "profile_image": a.who.Avatar, "thumbnail_image": a.who.Avatar},
		}
	}
	return vendor{
		name: "kakao", title: "Kakao", openid: scoped, refresh: "*", auth: inBody, emailScopes: []string{"account_email"},
		authorize: []string{"/oauth/authorize"}, tokens: []string{"/oauth/token"}, jwks: []string{"/.well-known/jwks.json"}, discovery: []string{discoveryPath},
		profiles: map[string]shape{"/v2/user/me": me, "/v1/oidc/userinfo": standard}, userinfo: "/v1/oidc/userinfo",
		answers: func(_ *ask, m map[string]any) { m["token_type"], m["refresh_token_expires_in"] = "bearer", 5184000 },
		claims: func(_ *ask, m map[string]any) {
			m["nickname"] = m["name"]
			for _, k := range []string{"name", "given_name", "family_name", "preferred_username", "email_verified"} {
				delete(m, k)
			}
		},
		refused: func(_ *call, no *refusal) (int, any) {
			if no.code == "invalid_token" {
				return no.status, map[string]any{"msg": "this access token does not exist", "code": -401}
			}
			return no.status, map[string]any{"error": no.code, "error_description": no.text, "error_code": "KOE320"}
		},
	}
}

// snapchatMe tells what a query in the manner of GraphQL names.
func snapchatMe(a *ask) any {
	query := a.both.Get("query")
	me := map[string]any{}
	if strings.Contains(query, "externalId") {
		me["externalId"] = a.who.Subject
	}
	if strings.Contains(query, "displayName") && a.g.asked("https://auth.snapchat.com/oauth2/api/user.display_name", "user.display_name") {
		me["displayName"] = a.who.Name
	}
	if strings.Contains(query, "bitmoji") && a.g.asked("https://auth.snapchat.com/oauth2/api/user.bitmoji.avatar", "user.bitmoji.avatar") {
		me["bitmoji"] = map[string]any{"avatar": a.who.Avatar, "id": "AXjdsf"}
	}
	return map[string]any{"data": map[string]any{"me": me}, "errors": []any{}}
}

// twitch: https://dev.twitch.tv/docs/api/reference#get-users
func twitch() vendor {
	return vendor{
		name: "twitch", title: "Twitch", issuer: "/oauth2", openid: scoped, refresh: "*", auth: inBody, emailScopes: []string{"user:read:email"},
		authorize: []string{"/oauth2/authorize"}, tokens: []string{"/oauth2/token"}, userinfo: "/oauth2/userinfo", jwks: []string{"/oauth2/keys"}, discovery: []string{"/oauth2" + discoveryPath},
		profiles: map[string]shape{"/oauth2/userinfo": standard, "/helix/users": func(a *ask) any {
			if a.Header.Get("Client-Id") != a.g.client.ID {
				return refuse(http.StatusUnauthorized, "Unauthorized", "Client ID and OAuth token do not match")
			}
			user := map[string]any{
				"id": a.who.Subject, "login": strings.ToLower(a.who.Username), "display_name": a.who.Username, "type": "", "broadcaster_type": "",
				"description": "", "profile_image_url": a.who.Avatar, "offline_image_url": "", "view_count": 0, "created_at": "2016-12-14T20:32:28Z",
			}
			put(user, "email", a.email()) // verified, or Twitch would not tell it
			lay(user, a.who.Profile)
			return map[string]any{"data": []any{user}}
		}},
		answers: func(a *ask, m map[string]any) {
			m["scope"] = split(a.g.scope)
			m["token_type"] = "bearer"
		},
		refused: func(_ *call, no *refusal) (int, any) {
			return no.status, map[string]any{"error": http.StatusText(no.status), "status": no.status, "message": no.text}
		},
	}
}
