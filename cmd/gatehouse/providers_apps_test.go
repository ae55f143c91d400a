package main

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/idptest"
)

func hexHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// custom adds a provider at run time; vendor stands in for it.
func (e *elsewhere) custom(t *testing.T, kind, name, vendor string, more object) answer {
	t.Helper()
	p := object{
		"provider_type": kind, "identifier": name, "name": "Acme", "client_id": ourClient, "client_secret": ourSecret, "scopes": []string{"openid", "email", "profile"},
	}
	base := e.idp.Base(vendor)
	if kind == "oidc" {
		p["issuer"] = e.idp.Issuer(vendor)
	} else {
		p["authorization_url"], p["token_url"], p["userinfo_url"] = base+"/authorize", base+"/token", base+"/userinfo"
	}
	for key, v := range more {
		p[key] = v
	}
	return e.do(201, "POST", "/admin/custom-providers", p, bearer(operator))
}

// appToken is what an app brings that has signed somebody in with the vendor by
// itself.
func (e *elsewhere) appToken(vendor string, who idptest.Person, more object) string {
	claims := object{"aud": ourClient, "sub": who.Subject, "email": who.Email, "email_verified": true, "name": who.Name}
	switch vendor {
	case "azure":
		claims["tid"], claims["xms_edov"] = idptest.Tenant, true
	case "vercel_marketplace":
		claims["user_email"], claims["user_name"] = who.Email, who.Name
	}
	maps.Copy(claims, more)
	return e.idp.Token(vendor, claims, idptest.Forgery{})
}

// byToken signs in with an ID token.
func (e *elsewhere) byToken(status int, provider, token string, more object, headers ...string) answer {
	e.t.Helper()
	in := object{"provider": provider, "id_token": token}
	maps.Copy(in, more)
	return e.do(status, "POST", "/token?grant_type=id_token", in, headers...)
}

// Mission: S07, S08, R24
func TestIDToken_everyProviderOfAppsSignsIn(t *testing.T) {
	t.Parallel()
	idp := idptest.New(t)
	// Some vouch for no address: here that is no matter.
	e := startElsewhere(t, idp, append(providerSettings(idp), "GOTRUE_MAILER_AUTOCONFIRM=true", "GOTRUE_EXTERNAL_IOS_BUNDLE_ID=com.example.app")...)
	e.custom(t, "oidc", "custom:acme", "oidc-acme", object{"acceptable_client_ids": []string{"another-of-ours"}})
	apps := map[string]string{"custom:acme": "oidc-acme"}
	for _, name := range []string{"apple", "google", "azure", "facebook", "keycloak", "kakao", "vercel_marketplace", "snapchat"} {
		apps[name] = name
	}
	const nonce = "made up by the app"
	for provider, vendor := range apps {
		t.Run(provider, func(t *testing.T) {
			t.Parallel()
			e := e.forTest(t)
			who := somebody(1, provider[len(provider)-4:]+"@example.com")
			hashed := e.appToken(vendor, who, object{"nonce": hexHash(nonce)})
			a := e.byToken(200, provider, hashed, object{"nonce": nonce})
			if a.text("refresh_token") == "" || a.text("user", "email") != who.Email || a.text("user", "app_metadata", "provider") != provider {
				t.Errorf("a first sign-in is answered %s", a.body)
			}
			if again := e.byToken(200, provider, e.appToken(vendor, who, nil), nil); again.text("user", "id") != a.text("user", "id") {
				t.Errorf("who comes again is %s", again.body)
			}
			for what, bad := range map[string]struct {
				token string
				more  object
				says  string
			}{
				"no nonce":           {hashed, nil, "Passed nonce and nonce in id_token should either both exist or not."},
				"another nonce":      {hashed, object{"nonce": "x"}, "Nonces mismatch"},
				"another's audience": {e.appToken(vendor, who, object{"aud": "somebody-else"}), nil, "Unacceptable audience in id_token: [somebody-else]"},
				"no audience":        {e.appToken(vendor, who, object{"aud": nil}), nil, "Unacceptable audience in id_token"},
				"another issuer":     {e.appToken(vendor, who, object{"iss": "https://evil.example"}), nil, "Bad ID token"},
				"a path more":        {e.appToken(vendor, who, object{"iss": idp.Issuer(vendor) + "/x"}), nil, "Bad ID token"},
				"over":               {e.appToken(vendor, who, object{"exp": time.Now().Add(-time.Hour).Unix()}), nil, "Bad ID token"},
				"for ever":           {e.appToken(vendor, who, object{"exp": nil}), nil, "Bad ID token"},
				"a stranger's key":   {idp.Token(vendor, object{"aud": ourClient, "sub": "1"}, idptest.Forgery{Stranger: true}), nil, "Bad ID token"},
				"no signature":       {idp.Token(vendor, object{"aud": ourClient, "sub": "1"}, idptest.Forgery{Alg: "none"}), nil, "Bad ID token"},
				"the public key":     {idp.Token(vendor, object{"aud": ourClient, "sub": "1"}, idptest.Forgery{Alg: "HS256"}), nil, "Bad ID token"},
				"rubbish":            {"rubbish", nil, "Bad ID token"},
			} {
				a := e.byToken(400, provider, bad.token, bad.more)
				if a.text("access_token") != "" || a.text("error") == "" || !strings.HasPrefix(a.text("error_description"), bad.says) {
					t.Errorf("%s: answered %s, want %s", what, a.body, bad.says)
				}
			}
		})
	}
	t.Run("of an app of ours", func(t *testing.T) {
		t.Parallel()
		e := e.forTest(t)
		e.byToken(200, "apple", e.appToken("apple", somebody(2, "ios@example.com"), object{"aud": "com.example.app"}), nil)
		e.byToken(400, "google", e.appToken("google", somebody(2, "ios@example.com"), object{"aud": "com.example.app"}), nil)
		e.byToken(200, "custom:acme", e.appToken("oidc-acme", somebody(2, "second@example.com"), object{"aud": "another-of-ours"}), nil)
	})
	t.Run("as Google's button gives it", func(t *testing.T) {
		t.Parallel()
		e := e.forTest(t)
		a := e.do(200, "POST", "/token?grant_type=id_token", object{"credential": e.appToken("google", somebody(3, "tap@example.com"), nil)})
		if a.text("user", "email") != "tap@example.com" {
			t.Errorf("it is answered %s", a.body)
		}
	})
	t.Run("of those without", func(t *testing.T) {
		t.Parallel()
		e := e.forTest(t)
		for _, name := range []string{"github", "discord", "spotify", "twitch"} {
			e.byToken(400, name, e.appToken("google", somebody(4, "four@example.com"), nil), nil)
		}
	})
}

func TestIDToken_linksWithoutARedirect(t *testing.T) {
	t.Parallel()
	idp := idptest.New(t)
	e := startElsewhere(t, idp, providerSettings(idp, "google", "apple")...)
	id := e.person("ada@example.com")
	in := bearer(e.signIn("ada@example.com", password).text("access_token"))
	link := object{"link_identity": true}
	// Another address, and one that is not even proved: who is signed in says so.
	token := e.appToken("google", somebody(1, "work@example.com"), object{"email_verified": false})
	e.byToken(401, "google", token, link)
	a := e.byToken(200, "google", token, link, in)
	if a.text("user", "id") != id || a.text("user", "email") != "ada@example.com" {
		t.Errorf("it is answered %s", a.body)
	}
	if list, _ := a.at("user", "app_metadata", "providers").([]any); !slices.Equal(list, []any{"email", "google"}) {
		t.Errorf("the providers are %v", list)
	}
	if got := e.byToken(200, "google", token, nil).text("user", "id"); got != id {
		t.Errorf("the account leads to %s, want %s", got, id)
	}
	m := e.mail("ada@example.com", 1)
	if !strings.Contains(m.Subject, "identity") || len(m.Links) == 0 {
		t.Errorf("the owner is told %q", m.Subject)
	}
	// It is theirs: nobody else's, and not twice.
	e.person("bob@example.com")
	bob := bearer(e.signIn("bob@example.com", password).text("access_token"))
	for who, as := range map[string]string{"somebody else": bob, "its owner": in} {
		if a := e.byToken(422, "google", token, link, as); a.text("error_code") != "identity_already_exists" {
			t.Errorf("%s is answered %s", who, a.body)
		}
	}
	// And goes again.
	var gone string
	list, _ := e.do(200, "GET", "/user", nil, in).at("identities").([]any)
	for _, i := range list {
		if i, _ := i.(object); i["provider"] == "google" {
			gone, _ = i["identity_id"].(string)
		}
	}
	e.do(200, "DELETE", "/user/identities/"+gone, nil, in)
	if a := e.byToken(422, "google", token, nil); a.text("error_code") != "provider_email_needs_verification" {
		t.Errorf("after unlinking it is answered %s", a.body)
	}
}

// Mission: S07
func TestIdentity_isLinkedByWayOfTheProvider(t *testing.T) {
	t.Parallel()
	idp := idptest.New(t)
	e := startElsewhere(t, idp, providerSettings(idp, "github", "apple")...)
	id := e.person("ada@example.com")
	in := bearer(e.signIn("ada@example.com", password).text("access_token"))
	for n, name := range []string{"github", "apple"} {
		who := somebody(n+1, "work@example.com")
		idp.Person(who)
		b := e.browser(who.Subject)
		path := "/user/identities/authorize?" + wish(name, "skip_http_redirect", "true").Encode()
		e.do(401, "GET", path, nil)
		ticket := e.do(200, "GET", path, nil, in).text("url")
		if !strings.HasPrefix(ticket, e.url+"/authorize?") {
			t.Fatalf("the address is %s", ticket)
		}
		// From a page of nobody's it is asked about first.
		asked := b.step("GET", ticket, nil, "Accept: text/html", "Referer: https://evil.example/")
		if asked.status != 200 || !strings.Contains(asked.body, "ada@example.com") || len(mustQuery(t, ticket)["ticket"]) != 1 {
			t.Errorf("from anywhere it is answered %d %s", asked.status, asked.body)
		}
		b.step("POST", e.url+"/authorize", form(asked.body), "Origin: https://evil.example", "Sec-Fetch-Site: cross-site")
		out := b.step("GET", ticket, nil, "Referer: https://app.example.com/account")
		if out.status != 302 {
			t.Fatalf("from the application it is answered %d %s", out.status, out.body)
		}
		u := b.signedIn(b.comeBack(b.decide(out.header.Get("Location"), "allow")))
		if u.text("id") != id || u.text("email") != "ada@example.com" {
			t.Errorf("linking %s leads to %s", name, u.body)
		}
		if l := b.enter(wish(name)); b.signedIn(l).text("id") != id {
			t.Errorf("the account of %s leads to somebody else", name)
		}
	}
	if list, _ := e.do(200, "GET", "/user", nil, in).at("identities").([]any); len(list) != 3 {
		t.Errorf("the identities are %v", list)
	}
}

// Providers that administrators add while the server runs.
//
// Mission: S07, S11
func TestCustomProvider_isUsedAtOnceAndOffAtOnce(t *testing.T) {
	t.Parallel()
	idp := idptest.New(t)
	e := startElsewhere(t, idp, providerSettings(idp, "google")...)
	who := somebody(1, "ada@example.com")
	who.Claims = object{"department": "engines", "login": "ada-l"}
	idp.Person(who)
	b := e.browser("1")
	for kind, name := range map[string]string{"oidc": "custom:acme", "oauth2": "custom:plain"} {
		e.do(400, "GET", "/authorize?provider="+name, nil)
		e.do(401, "POST", "/admin/custom-providers", object{"identifier": name})
		made := e.custom(t, kind, name, kind+"-run-time", object{
			"attribute_mapping": object{"preferred_username": "login"}, "custom_claims_allowlist": []string{"department"}, "authorization_params": object{"prompt": "consent"},
		})
		if strings.Contains(made.body, ourSecret) {
			t.Errorf("the secret is shown: %s", made.body)
		}
		again, err := e.ask("POST", "/admin/custom-providers", object{
			"provider_type": kind, "identifier": name, "name": "Acme", "client_id": "x", "client_secret": "x", "issuer": idp.Issuer("oidc"),
			"authorization_url": idp.Base("oauth2"), "token_url": idp.Base("oauth2"), "userinfo_url": idp.Base("oauth2"),
		}, bearer(operator))
		if err != nil || again.status != 400 {
			t.Errorf("a second %s is answered %d %s", name, again.status, again.body)
		}
		page := b.setOut(wish(name))
		if mustQuery(t, page).Get("prompt") != "consent" || !strings.HasPrefix(page, idp.Base(kind+"-run-time")) {
			t.Errorf("%s: the page is %s", name, page)
		}
		u := b.signedIn(b.comeBack(b.decide(page, "allow")))
		if u.text("email") != who.Email || u.text("user_metadata", "user_name") != "ada-l" || u.text("user_metadata", "custom_claims", "department") != "engines" {
			t.Errorf("%s: the user is %s", name, u.body)
		}
		on := e.do(200, "GET", "/admin/custom-providers/"+name, nil, bearer(operator))
		if on.at("enabled") != true || strings.Contains(on.body, ourSecret) {
			t.Errorf("%s is %s", name, on.body)
		}

		e.do(200, "PUT", "/admin/custom-providers/"+name, object{"enabled": false}, bearer(operator))
		if a := e.do(400, "GET", "/authorize?provider="+name, nil); a.text("msg") != "Unsupported provider: provider is not enabled" {
			t.Errorf("%s that is off is answered %s", name, a.body)
		}
		e.do(200, "PUT", "/admin/custom-providers/"+name, object{"enabled": true}, bearer(operator))
		if got := b.signedIn(b.enter(wish(name))).text("id"); got != u.text("id") {
			t.Errorf("%s: who comes again is %s", name, got)
		}
		e.do(204, "DELETE", "/admin/custom-providers/"+name, nil, bearer(operator))
		e.do(400, "GET", "/authorize?provider="+name, nil)
		e.do(404, "GET", "/admin/custom-providers/"+name, nil, bearer(operator))
	}
}

// Who does not say by which provider an ID token is says by which issuer, of those
// that the operator has named: the request picks one, and makes none.
func TestIDToken_withoutAProviderIsOfAnIssuerTheOperatorNamed(t *testing.T) {
	t.Parallel()
	idp := idptest.New(t)
	google := idp.Issuer("google")
	e := startElsewhere(t, idp, append(providerSettings(idp, "google", "apple"), "GOTRUE_EXTERNAL_ALLOWED_ID_TOKEN_ISSUERS="+google+",https://nobody.example")...)
	who := somebody(1, "ann@example.com")
	token := e.appToken("google", who, nil)
	in := func(issuer string) object { return object{"id_token": token, "issuer": issuer} }
	a := e.do(200, "POST", "/token?grant_type=id_token", in(google))
	if a.text("user", "app_metadata", "provider") != "google" {
		t.Errorf("it is answered %s", a.body)
	}
	for what, issuer := range map[string]string{
		"one that is not named": idp.Issuer("apple"), "one that is named, and nobody's": "https://nobody.example",
		"an attacker's": idp.Issuer("oidc-evil"), "with a slash": google + "/",
	} {
		idp.Forget()
		a := e.do(400, "POST", "/token?grant_type=id_token", in(issuer))
		if !strings.Contains(strings.ToLower(a.text("error_description")), "issuer") || len(idp.Requests()) != 0 {
			t.Errorf("%s: %s, and %d requests to providers", what, a.body, len(idp.Requests()))
		}
	}
	e.do(400, "POST", "/token?grant_type=id_token", object{"id_token": token})
}
