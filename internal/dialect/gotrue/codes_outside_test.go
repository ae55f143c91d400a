package gotrue_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
)

// startSays has nobody set out, for a reason of the provider's.
func startSays(code auth.Code) func(*setup) {
	return func(s *setup) {
		why := &auth.Error{Code: code}
		(&spy{err: why}).watched(s)
		(&company{err: why}).connected(s)
	}
}

var (
	toAcme    = send("GET", "/authorize?provider=acme", "")
	toCompany = send("POST", "/sso", `{"domain":"acme.example"}`)
)

// byID signs in with the ID token of an account; anna is there.
func byID(a auth.Account) func(*house) asks {
	return func(h *house) asks {
		h.newUser("anna@example.com")
		return send("POST", "/token?grant_type=id_token", fmt.Sprintf(`{"provider":%q,"id_token":%q}`, a.Provider, h.Elsewhere.Code(a)))(h)
	}
}

// keeperSays brings an ID token while the provider cannot be asked about it.
func keeperSays(code auth.Code) func(*house) asks {
	return func(h *house) asks {
		h.Elsewhere.Refuses(&auth.Error{Code: code})
		return send("POST", "/token?grant_type=id_token", `{"provider":"acme","id_token":"x"}`)(h)
	}
}

const (
	acme       = `{"provider_type":"oauth2","identifier":"custom:acme","name":"Acme","client_id":"c","client_secret":"s","authorization_url":"https://acme.example/a","token_url":"https://acme.example/t","userinfo_url":"https://acme.example/u"}`
	connection = `{"type":"saml","metadata_xml":"acme","domains":["acme.example"]}`
)

// after is byAdmin once another request has been made.
func after(firstMethod, firstPath, firstBody, method, path, body string) func(*house) asks {
	return func(h *house) asks {
		h.must(http.StatusCreated, firstMethod, firstPath, firstBody, bearer(h.Policy().OperatorToken))
		return byAdmin(method, path, body)(h)
	}
}

func connected(s *setup) { new(company).connected(s) }

// linkedTo asks of anna's accounts, of which one is with github.
func linkedTo(method, path, body string) func(*house) asks {
	return func(h *house) asks {
		id := h.newUser("anna@example.com").String()
		op := bearer(h.Policy().OperatorToken)
		h.must(http.StatusCreated, "POST", "/admin/users/"+id+"/providers", `{"provider":"github","client_id":"17"}`, op)
		return send(method, "/admin/users/"+id+"/providers"+path, body, op)(h)
	}
}

func anothers(h *house) asks {
	bob := authtest.Person("acme", "b-1", "bob@example.com")
	byID(bob)(h)()
	access, _ := h.signIn("anna@example.com")
	code := h.Elsewhere.Code(bob)
	return send("POST", "/token?grant_type=id_token", `{"provider":"acme","id_token":"`+code+`","link_identity":true}`, bearer(access))(h)
}

// codesOutside are those of accounts elsewhere.
var codesOutside = map[auth.Code]provoked{
	auth.ProviderUnknown:     {400, "validation_failed", 400, startSays(auth.ProviderUnknown), toAcme},
	auth.ProviderDisabled:    {400, "validation_failed", 400, bare, toAcme},
	auth.ProviderRefused:     {400, "bad_oauth_callback", 400, startSays(auth.ProviderRefused), toAcme},
	auth.ProviderCode:        {400, "bad_oauth_callback", 400, startSays(auth.ProviderCode), toAcme},
	auth.ProviderFailed:      {502, "unexpected_failure", 502, nil, keeperSays(auth.ProviderFailed)},
	auth.ProviderUnavailable: {503, "unexpected_failure", 503, nil, keeperSays(auth.ProviderUnavailable)},
	auth.ProviderNoEmail:     {400, "email_address_not_provided", 400, nil, byID(authtest.Person("acme", "1", ""))},
	auth.ProviderUnproved:    {422, "provider_email_needs_verification", 422, nil, byID(unproved(authtest.Person("acme", "1", "new@example.com")))},
	auth.StateFailed:         {400, "bad_oauth_state", 400, nil, send("GET", "/authorize?ticket=rubbish", "")},
	auth.IdentityTaken:       {422, "identity_already_exists", 422, withLinking, anothers},
	auth.AccountExists:       {422, "user_already_exists", 422, func(s *setup) { s.policy.Linking = auth.LinkRefuse }, byID(authtest.Person("acme", "1", "anna@example.com"))},
	auth.InviteNotFound:      {404, "invite_not_found", 404, nil, send("GET", "/authorize?provider=acme&invite_token=guess", "")},
	auth.CustomNotFound:      {404, "custom_provider_not_found", 404, nil, byAdmin("GET", "/admin/custom-providers/custom:nobody", "")},
	auth.CustomTaken:         {400, "conflict", 400, nil, after("POST", "/admin/custom-providers", acme, "POST", "/admin/custom-providers", acme)},
	auth.TooManyCustom: {
		400, "over_custom_provider_quota", 400, func(s *setup) { s.policy.CustomMost = 1 },
		after("POST", "/admin/custom-providers", acme, "POST", "/admin/custom-providers", `{"provider_type":"oidc","identifier":"custom:other","name":"Other","client_id":"c","client_secret":"s","issuer":"https://other.example"}`),
	},
	auth.SAMLDisabled:     {404, "saml_provider_disabled", 404, bare, toCompany},
	auth.RelayNotFound:    {404, "saml_relay_state_not_found", 404, startSays(auth.RelayNotFound), toCompany},
	auth.RelayExpired:     {422, "saml_relay_state_expired", 422, startSays(auth.RelayExpired), toCompany},
	auth.IdPNotFound:      {404, "saml_idp_not_found", 404, startSays(auth.IdPNotFound), toCompany},
	auth.AssertionNoUser:  {400, "saml_assertion_no_user_id", 400, startSays(auth.AssertionNoUser), toCompany},
	auth.AssertionNoEmail: {400, "saml_assertion_no_email", 400, startSays(auth.AssertionNoEmail), toCompany},
	auth.AssertionFailed:  {400, "validation_failed", 403, startSays(auth.AssertionFailed), toCompany},
	auth.IdPExists:        {422, "saml_idp_already_exists", 422, connected, after("POST", "/admin/sso/providers", connection, "POST", "/admin/sso/providers", `{"metadata_xml":"acme"}`)},
	auth.MetadataFailed:   {400, "saml_metadata_fetch_failed", 400, connected, byAdmin("POST", "/admin/sso/providers", `{"metadata_url":"https://nowhere.example/md"}`)},
	auth.EntityMismatch: {400, "saml_entity_id_mismatch", 400, connected, after("POST", "/admin/sso/providers", `{"metadata_xml":"acme","resource_id":"acme"}`,
		"PUT", "/admin/sso/providers/resource_acme", `{"metadata_xml":"other"}`)},
	auth.SSONotFound:   {404, "sso_provider_not_found", 404, connected, byAdmin("GET", "/admin/sso/providers/nonsense", "")},
	auth.SSODisabled:   {404, "sso_provider_disabled", 404, startSays(auth.SSODisabled), toCompany},
	auth.DomainTaken:   {400, "sso_domain_already_exists", 400, connected, after("POST", "/admin/sso/providers", connection, "POST", "/admin/sso/providers", `{"metadata_xml":"other","domains":["acme.example"]}`)},
	auth.SSOManaged:    {422, "user_sso_managed", 422, startSays(auth.SSOManaged), toCompany},
	auth.Web3Disabled:  {422, "web3_provider_disabled", 422, bare, send("POST", "/token?grant_type=web3", `{"chain":"ethereum","message":"m","signature":"0x00"}`)},
	auth.Web3Chain:     {400, "web3_unsupported_chain", 400, nil, send("POST", "/token?grant_type=web3", `{"chain":"bitcoin","message":"m","signature":"00"}`)},
	auth.AlreadyLinked: {422, "identity_already_exists", 422, nil, linkedTo("POST", "", `{"provider":"github","client_id":"18"}`)},
	auth.NotLinked:     {404, "identity_not_found", 404, nil, linkedTo("GET", "/gitlab", "")},
}

// The provider of an ID token has a word of its own for being switched off.
func TestIDToken_ofAProviderThatIsOff(t *testing.T) {
	t.Parallel()
	h := newHouse(t, bare)
	a := h.must(http.StatusBadRequest, "POST", "/token?grant_type=id_token", `{"provider":"acme","id_token":"x"}`)
	if a.text("error_code") != "provider_disabled" {
		t.Errorf("the answer is %s, want provider_disabled", a.Body)
	}
}

// passing are calls that change nothing by themselves: what comes of them is told
// of the call they lead to.
var passing = map[string]bool{
	"POST /callback": true, "POST /authorize": true, "POST /sso": true, "POST /sso/saml/acs": true, "POST /saml/acs": true,
}

// changingOutside are the calls about accounts elsewhere that change something.
func changingOutside(c *company) map[string]func(h *house) answer {
	op := bearer(authtest.Policy().OperatorToken)
	of := func(h *house) string {
		u, err := h.UserByEmail(h.t.Context(), authtest.Operator(), "bob@example.com")
		if err != nil {
			h.t.Fatal(err)
		}
		return "/admin/users/" + u.ID.String() + "/providers"
	}
	made := func(h *house, path, body, key string) string {
		var out map[string]any
		err := json.Unmarshal(h.must(http.StatusCreated, "POST", path, body, op).Body.Bytes(), &out)
		if err != nil {
			h.t.Fatal(err)
		}
		return path + "/" + url.PathEscape(fmt.Sprint(out[key]))
	}
	custom := func(h *house, name string) string {
		return made(h, "/admin/custom-providers", `{"provider_type":"oidc","identifier":"custom:`+name+`","name":"A","client_id":"c","client_secret":"s","issuer":"https://`+name+`.example"}`, "identifier")
	}
	sso := func(h *house, name string) string {
		return made(h, "/admin/sso/providers", `{"metadata_xml":"`+name+`"}`, "id")
	}
	fromCompany := func(path, email string) func(h *house) answer {
		return func(h *house) answer {
			b := newBrowser(h)
			return b.follow(path, b.posts(path, c.asserts(email, email), ""))
		}
	}
	return map[string]func(h *house) answer{
		"GET /sso/saml/finish": fromCompany("/sso/saml/acs", "ida@acme.example"),
		"GET /saml/finish":     fromCompany("/saml/acs", "jan@acme.example"),
		"GET /callback": func(h *house) answer {
			b := newBrowser(h)
			return b.comeBack(b.setOut("provider=acme"), authtest.Person("acme", "gert", "gert@example.com"))
		},
		"POST /admin/users/{id}/providers": func(h *house) answer {
			return h.do("POST", of(h), `{"provider":"github","client_id":"1"}`, op)
		},
		"PUT /admin/users/{id}/providers/{provider}": func(h *house) answer {
			return h.do("PUT", made(h, of(h), `{"provider":"gitlab","client_id":"1"}`, "provider"), `{"access_token":"t"}`, op)
		},
		"DELETE /admin/users/{id}/providers/{provider}": func(h *house) answer {
			return h.do("DELETE", made(h, of(h), `{"provider":"figma","client_id":"1"}`, "provider"), "", op)
		},
		"POST /admin/users/{id}/providers/{provider}/refresh": func(h *house) answer {
			p := authtest.Person("acme", "hans", "hans@example.com")
			p.Tokens.ExpiresAt = h.Clock.Now()
			g, err := h.ByAccount(h.t, p)
			if err != nil {
				h.t.Fatal(err)
			}
			return h.do("POST", "/admin/users/"+g.User.ID.String()+"/providers/acme/refresh", "", op)
		},
		"POST /admin/custom-providers":        func(h *house) answer { return h.do("POST", "/admin/custom-providers", acme, op) },
		"PUT /admin/custom-providers/{id}":    func(h *house) answer { return h.do("PUT", custom(h, "one"), `{"name":"B"}`, op) },
		"DELETE /admin/custom-providers/{id}": func(h *house) answer { return h.do("DELETE", custom(h, "two"), "", op) },
		"POST /admin/sso/providers":           func(h *house) answer { return h.do("POST", "/admin/sso/providers", connection, op) },
		"PUT /admin/sso/providers/{id}":       func(h *house) answer { return h.do("PUT", sso(h, "one"), `{"disabled":true}`, op) },
		"DELETE /admin/sso/providers/{id}":    func(h *house) answer { return h.do("DELETE", sso(h, "two"), "", op) },
	}
}
