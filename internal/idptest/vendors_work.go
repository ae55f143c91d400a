package idptest

import (
	"net/http"
	"net/url"
	"strings"
)

// workVendors are where people work together.
func workVendors() []vendor {
	return []vendor{
		{
			// https://learn.microsoft.com/linkedin/shared/integrations/people/profile-api
			name: "linkedin", title: "LinkedIn", auth: inBody, emailScopes: []string{"r_emailaddress"},
			authorize: []string{"/oauth/v2/authorization"}, tokens: []string{"/oauth/v2/accessToken"}, cancelled: map[string]string{"error": "user_cancelled_login"},
			profiles: map[string]shape{"/v2/me": linkedinMe, "/v2/emailAddress": func(a *ask) any {
				if a.email() == "" {
					return map[string]any{"elements": []any{}}
				}
				return map[string]any{"elements": []any{map[string]any{"handle": "urn:li:emailAddress:3775708763", "handle~": map[string]any{"emailAddress": a.email()}}}}
			}},
		},
		slack(),
		notion(),
		{
			// https://developers.zoom.us/docs/integrations/oauth, …/api/users
			name: "zoom", title: "Zoom", refresh: "*", auth: inHeader,
			authorize: []string{"/oauth/authorize"}, tokens: []string{"/oauth/token"},
			profiles: map[string]shape{"/v2/users/me": func(a *ask) any {
				m := map[string]any{
					"id": a.who.Subject, "first_name": a.first(), "last_name": a.last(), "display_name": a.who.Name, "email": a.who.Email, "type": 1,
					"role_name": "Owner", "verified": 0, "pic_url": a.who.Avatar, "account_id": "acc", "status": "active", "created_at": "2018-10-31T04:32:37Z",
				}
				if a.proved() {
					m["verified"] = 1
				}
				return m
			}},
			answers: func(_ *ask, m map[string]any) { m["token_type"], m["api_url"] = "bearer", "https://api.zoom.us" },
			refused: func(_ *call, no *refusal) (int, any) {
				if no.code == "invalid_token" {
					return no.status, map[string]any{"code": 124, "message": "Invalid access token."}
				}
				return no.status, map[string]any{"error": no.code, "reason": no.text}
			},
		},
		workos(),
	}
}

func linkedinMe(a *ask) any {
	localized := func(s string) any {
		return map[string]any{"localized": map[string]any{"en_US": s}, "preferredLocale": map[string]any{"country": "US", "language": "en"}}
	}
	m := map[string]any{
		"id": a.who.Subject, "localizedFirstName": a.first(), "localizedLastName": a.last(), "firstName": localized(a.first()), "lastName": localized(a.last()),
	}
	if a.who.Avatar != "" {
		m["profilePicture"] = map[string]any{
			"displayImage": "urn:li:digitalmediaAsset:1",
			"displayImage~": map[string]any{"elements": []any{map[string]any{
				"identifiers": []any{map[string]any{"identifier": a.who.Avatar, "identifierType": "EXTERNAL_URL"}},
			}}},
		}
	}
	return m
}

// slack: https://docs.slack.dev/legacy/legacy-authentication/sign-in-with-slack-legacy
// and its second version, which gives a person's token inside authed_user.
func slack() vendor {
	return vendor{
		name: "slack", title: "Slack", lasting: "*", get: true, emailScopes: []string{"identity.email", "users:read.email"},
		authorize: []string{"/oauth/authorize", "/oauth/v2/authorize"}, tokens: []string{"/api/oauth.access", "/api/oauth.v2.access"},
		profiles: map[string]shape{"/api/users.identity": func(a *ask) any {
			if !a.g.asked("identity.basic") {
				return refuse(http.StatusForbidden, "missing_scope", "identity.basic is needed")
			}
			user := map[string]any{"id": a.who.Subject, "name": a.who.Name}
			put(user, "email", a.email())
			if a.g.asked("identity.avatar") {
				for _, k := range []string{"image_24", "image_48", "image_192", "image_512"} {
					user[k] = a.who.Avatar
				}
			}
			lay(user, a.who.Profile)
			return map[string]any{"ok": true, "user": user, "team": map[string]any{"id": "T0G9PQBBK", "name": "Captain Fabian's Naval Supply"}}
		}},
		answers: func(a *ask, m map[string]any) {
			token, scope := m["access_token"], strings.Join(split(a.g.scope), ",")
			clear(m)
			m["ok"] = true
			if a.path == "/api/oauth.v2.access" {
				m["app_id"], m["team"] = "A0KRD7HC3", map[string]any{"id": "T0G9PQBBK"}
				m["authed_user"] = map[string]any{"id": a.who.Subject, "scope": scope, "access_token": token, "token_type": "user"}
				return
			}
			m["access_token"], m["scope"], m["user_id"], m["team_id"] = token, scope, a.who.Subject, "T0G9PQBBK"
		},
		refused: slackRefused,
	}
}

// notion: https://developers.notion.com/docs/authorization. The person comes
// with the token, and with the bot that the token is of.
func notion() vendor {
	owner := func(a *ask) map[string]any {
		person := map[string]any{}
		put(person, "email", a.who.Email)
		return map[string]any{"type": "user", "user": map[string]any{
			"object": "user", "id": a.who.Subject, "name": or(a.who.Name), "avatar_url": or(a.who.Avatar), "type": "person", "person": person,
		}}
	}
	me := func(a *ask) any {
		if a.Header.Get("Notion-Version") == "" {
			return refuse(http.StatusBadRequest, "missing_version", "Notion-Version header should be defined")
		}
		return map[string]any{
			"object": "user", "id": "16d84278-ab0e-484c-9bdd-b35da3bd8905", "name": "pied piper", "avatar_url": nil, "type": "bot",
			"bot": map[string]any{"owner": owner(a), "workspace_name": "Gilfoyle's Workspace"},
		}
	}
	return vendor{
		name: "notion", title: "Notion", lasting: "*", auth: inHeader,
		authorize: []string{"/v1/oauth/authorize"}, tokens: []string{"/v1/oauth/token"}, profiles: map[string]shape{"/v1/users/me": me},
		objects: func(q url.Values) (string, string) {
			if q.Get("owner") != "user" {
				return "invalid_request", "owner must be user"
			}
			return "", ""
		},
		answers: func(a *ask, m map[string]any) {
			m["token_type"], m["bot_id"], m["owner"] = "bearer", "b3414d65-1224-5ab7-ffff-cc9d773080ae", owner(a)
			m["workspace_id"], m["workspace_name"], m["workspace_icon"], m["duplicated_template_id"] = "j565j4d7x3-2882-61bs-564a-jj9d9ui-c36hxfr7x", "Gilfoyle's Workspace", nil, nil
			delete(m, "scope")
		},
		refused: func(_ *call, no *refusal) (int, any) {
			if no.code == "invalid_token" || no.code == "missing_version" {
				code := map[string]string{"invalid_token": "unauthorized"}[no.code]
				if code == "" {
					code = no.code
				}
				return no.status, map[string]any{"object": "error", "status": no.status, "code": code, "message": no.text}
			}
			return no.status, map[string]any{"error": no.code, "error_description": no.text}
		},
	}
}

// workos: https://workos.com/docs/reference/sso. It must be told which of its
// connections to go to, and gives the profile with the token.
func workos() vendor {
	profile := func(a *ask) map[string]any {
		m := map[string]any{
			"object": "profile", "id": "prof_" + a.who.Subject, "connection_id": "conn_01E4ZCR3C56J083X43JQXF3JK5", "connection_type": "OktaSAML",
			"organization_id": "org_01EHWNCE74X7JSDV0X3SZ3KJNY", "idp_id": a.who.Subject, "email": a.who.Email,
			"first_name": or(a.first()), "last_name": or(a.last()), "custom_attributes": map[string]any{},
			"raw_attributes": map[string]any{"id": a.who.Subject, "email": a.who.Email, "picture": a.who.Avatar},
		}
		lay(m, a.who.Profile)
		return m
	}
	return vendor{
		name: "workos", title: "WorkOS", auth: inBody, noRedirect: true,
		authorize: []string{"/sso/authorize"}, tokens: []string{"/sso/token"},
		profiles: map[string]shape{"/sso/profile": func(a *ask) any { return profile(a) }},
		objects: func(q url.Values) (string, string) {
			for _, k := range []string{"connection", "organization", "provider", "domain"} {
				if q.Get(k) != "" {
					return "", ""
				}
			}
			return "invalid_request", "one of connection, organization and provider is needed"
		},
		answers: func(a *ask, m map[string]any) {
			m["profile"] = profile(a)
			delete(m, "scope")
		},
		refused: statusRefused(func(*refusal) any { return map[string]any{"message": "Unauthorized"} }),
	}
}
