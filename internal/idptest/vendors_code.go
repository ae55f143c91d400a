package idptest

import (
	"net/http"
	"strings"
)

// codeVendors keep code.
func codeVendors() []vendor {
	return []vendor{
		github(),
		{
			// https://docs.gitlab.com/api/oauth2, https://docs.gitlab.com/api/users
			name: "gitlab", title: "GitLab", openid: scoped, refresh: "*", emailScopes: []string{"read_user", "email", "api"}, nameScopes: []string{"profile"},
			authorize: []string{"/oauth/authorize"}, tokens: []string{"/oauth/token"}, jwks: []string{"/oauth/discovery/keys"},
			discovery: []string{discoveryPath},
			profiles:  map[string]shape{"/api/v4/user": gitlabUser, "/oauth/userinfo": standard}, userinfo: "/oauth/userinfo",
			answers: func(a *ask, m map[string]any) { m["created_at"] = a.p.now().Unix() },
		},
		bitbucket(),
		{
			// https://www.figma.com/developers/api#oauth2
			name: "figma", title: "Figma", refresh: "*", keeps: true, auth: inHeader,
			authorize: []string{"/oauth"}, tokens: []string{"/v1/oauth/token", "/v1/oauth/refresh", "/api/oauth/token"},
			profiles: map[string]shape{"/v1/me": func(a *ask) any {
				return map[string]any{"id": a.who.Subject, "email": a.who.Email, "handle": a.who.Name, "img_url": a.who.Avatar}
			}},
			answers: func(a *ask, m map[string]any) {
				m["user_id"], m["user_id_string"] = a.number(), a.who.Subject
				m["token_type"] = "bearer"
				delete(m, "scope")
			},
			refused: func(_ *call, no *refusal) (int, any) {
				return no.status, map[string]any{"error": true, "status": no.status, "message": no.text}
			},
		},
		{
			// https://fly.io/docs/reference/oauth, /oauth/token/info of its API
			name: "fly", title: "Fly.io", refresh: "*", auth: inBody,
			authorize: []string{"/oauth/authorize"}, tokens: []string{"/oauth/token"},
			profiles: map[string]shape{"/oauth/token/info": func(a *ask) any {
				return map[string]any{
					"resource_owner_id": a.who.Subject, "scope": split(a.g.scope), "expires_in": 7200, "created_at": a.p.now().Unix(),
					"application": map[string]any{"uid": a.g.client.ID}, "user_id": a.who.Subject, "user_name": a.who.Name, "email": a.who.Email,
					"organizations": []any{map[string]any{"id": "org-1", "role": "admin"}},
				}
			}},
			answers: func(a *ask, m map[string]any) { m["created_at"] = a.p.now().Unix() },
		},
	}
}

// github: https://docs.github.com/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps,
// https://docs.github.com/rest/users. A self-hosted one has its API below
// /api/v3. It refuses a code with a status of 200.
func github() vendor {
	v := vendor{
		name: "github", title: "GitHub", lasting: "*", form: true, noRedirect: true,
		authorize: []string{"/login/oauth/authorize"}, tokens: []string{"/login/oauth/access_token"}, profiles: map[string]shape{},
		emailScopes: []string{"user", "user:email"},
		answers: func(_ *ask, m map[string]any) {
			m["token_type"] = "bearer"
			scope, _ := m["scope"].(string)
			m["scope"] = strings.ReplaceAll(scope, " ", ",")
		},
		refused: func(_ *call, no *refusal) (int, any) {
			code := map[string]string{"invalid_grant": "bad_verification_code", "invalid_client": "incorrect_client_credentials"}[no.code]
			if code != "" {
				return http.StatusOK, map[string]any{"error": code, "error_description": no.text, "error_uri": "https://docs.github.com"}
			}
			message := no.text
			if no.code == "invalid_token" {
				message = "Bad credentials"
			}
			return no.status, map[string]any{"message": message, "documentation_url": "https://docs.github.com/rest", "status": no.status}
		},
	}
	for _, api := range []string{"", "/api/v3"} {
		v.profiles[api+"/user"] = githubUser
		v.profiles[api+"/user/emails"] = githubEmails
	}
	return v
}

func githubUser(a *ask) any {
	if a.Header.Get("User-Agent") == "" {
		return refuse(http.StatusForbidden, "forbidden", "Request forbidden by administrative rules")
	}
	return map[string]any{
		"login": a.who.Username, "id": a.number(), "node_id": "MDQ6VXNlcjE=", "avatar_url": a.who.Avatar, "type": "User", "site_admin": false,
		"name": or(a.who.Name), "email": nil, // of those who show it to everybody
		"html_url": "https://github.com/" + a.who.Username, "created_at": "2008-01-14T04:33:35Z", "updated_at": "2008-01-14T04:33:35Z",
	}
}

func githubEmails(a *ask) any {
	switch {
	case !a.g.asked(a.v.emailScopes...):
		return refuse(http.StatusNotFound, "not_found", "Not Found")
	case a.who.Emails != nil:
		return a.who.Emails
	case a.who.Email == "":
		return []any{}
	}
	return []any{
		map[string]any{"email": "1001+private@users.noreply.github.com", "verified": true, "primary": false, "visibility": nil},
		map[string]any{"email": a.who.Email, "verified": a.verified(), "primary": true, "visibility": "private"},
	}
}

func gitlabUser(a *ask) any {
	if !a.g.asked("read_user", "api") {
		return refuse(http.StatusForbidden, "insufficient_scope", "The request requires higher privileges than provided by the access token.")
	}
	m := map[string]any{
		"id": a.number(), "username": a.who.Username, "name": a.who.Name, "state": "active", "avatar_url": or(a.who.Avatar),
		"web_url": "https://gitlab.example.com/" + a.who.Username, "email": a.who.Email, "confirmed_at": nil, "created_at": "2012-05-23T08:00:58Z",
	}
	if a.proved() && a.who.Email != "" {
		m["confirmed_at"] = "2012-05-23T09:05:22Z"
	}
	return m
}

// bitbucket: https://developer.atlassian.com/cloud/bitbucket/rest/api-group-users
func bitbucket() vendor {
	return vendor{
		name: "bitbucket", title: "Bitbucket", refresh: "*", keeps: true, emailScopes: []string{"email"}, noRedirect: true,
		authorize: []string{"/site/oauth2/authorize"}, tokens: []string{"/site/oauth2/access_token"},
		profiles: map[string]shape{
			"/2.0/user": func(a *ask) any {
				return map[string]any{
					"type": "user", "uuid": a.who.Subject, "account_id": "557058:" + a.who.Subject, "display_name": a.who.Name,
					"username": a.who.Username, "nickname": a.who.Username, "account_status": "active",
					"links": map[string]any{"avatar": map[string]any{"href": a.who.Avatar}},
				}
			},
			"/2.0/user/emails": func(a *ask) any {
				values := []map[string]any{}
				switch {
				case !a.g.asked("email"):
					return refuse(http.StatusForbidden, "forbidden", "Your credentials lack one or more required privilege scopes.")
				case a.who.Emails != nil:
					values = a.who.Emails
				case a.who.Email != "":
					values = append(values, map[string]any{"type": "email", "email": a.who.Email, "is_primary": true, "is_confirmed": a.verified()})
				}
				return map[string]any{"pagelen": 10, "page": 1, "size": len(values), "values": values}
			},
		},
		answers: func(_ *ask, m map[string]any) {
			m["scopes"] = m["scope"]
			delete(m, "scope")
			m["token_type"] = "bearer"
		},
		refused: func(_ *call, no *refusal) (int, any) {
			if no.code == "invalid_token" || no.code == "forbidden" {
				return no.status, map[string]any{"type": "error", "error": map[string]any{"message": no.text}}
			}
			return no.status, map[string]any{"error": no.code, "error_description": no.text}
		},
	}
}
