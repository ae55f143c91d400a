package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Who may make a call.
const (
	anybody  = "anybody"
	users    = "users"                // with an access token of theirs
	admins   = "administrators"       // of the tenant, and the operator
	operates = "the operator"         // and nobody else
	links    = "the reader of a link" // which none of those has who try
	nobodys  = "nobody, it is off"    // whoever asks is refused
)

// access is every route and who may use it. Whoever adds a route says it here.
var access = map[string]string{
	"GET /health": anybody, "GET /health/live": anybody, "GET /health/ready": anybody, "GET /openapi.yaml": anybody,
	"GET /settings": anybody, "GET /.well-known/jwks.json": anybody, "GET /captcha": anybody, "GET /captcha/pow.js": anybody,
	"POST /signup": anybody, "POST /token": anybody, "GET /verify": anybody, "POST /verify": anybody,
	"POST /recover": anybody, "POST /resend": anybody, "POST /otp": anybody, "POST /magiclink": anybody,
	"GET /{$}": anybody, "GET /": anybody, "GET /setup": links, "POST /setup": links, "GET /undo": links, "POST /undo": links,
	"GET /dev/inbox": anybody, "GET /dev/inbox/{id}": anybody, "GET /dev/inbox.json": anybody, // of whoever sits at this machine, see I08

	"GET /user": users, "PUT /user": users, "GET /reauthenticate": users, "POST /logout": users, "DELETE /user/identities/{id}": users,
	"GET /sessions": users, "PATCH /sessions/{id}": users, "DELETE /sessions/{id}": users,

	"POST /invite": admins, "GET /admin/users": admins, "POST /admin/users": admins, "GET /admin/users/{id}": admins,
	"PUT /admin/users/{id}": admins, "DELETE /admin/users/{id}": admins, "POST /admin/generate_link": admins, "GET /admin/audit": admins,
	"GET /admin/users/{id}/sessions": admins, "DELETE /admin/users/{id}/sessions": admins, "DELETE /admin/users/{id}/sessions/{session}": admins,
	"GET /admin/webhooks": admins, "POST /admin/webhooks": admins, "GET /admin/webhooks/{id}": admins, "PUT /admin/webhooks/{id}": admins,
	"DELETE /admin/webhooks/{id}": admins, "POST /admin/webhooks/{id}/rotate": admins, "POST /admin/webhooks/{id}/replay": admins,
	"GET /admin/webhooks/{id}/deliveries": admins, "POST /admin/webhooks/{id}/deliveries/{event}/replay": admins,

	"GET /admin/tenants": operates, "POST /admin/tenants": operates, "GET /admin/tenants/{id}": operates, "PUT /admin/tenants/{id}": operates,
	"DELETE /admin/tenants/{id}": operates,
	"POST /instances":            operates, "GET /instances/{id}": operates, "PUT /instances/{id}": operates, "DELETE /instances/{id}": operates,

	// The ways out and back: what is asked of those who come by them is a sealed
	// cookie or an assertion, see classes L, F and P.
	"GET /authorize": anybody, "POST /authorize": links, "GET /callback": anybody, "POST /callback": anybody, "POST /sso": anybody, "GET /sso/start": anybody,
	"GET /sso/saml/acs": anybody, "POST /sso/saml/acs": anybody, "GET /sso/saml/finish": anybody, "POST /saml/acs": anybody, "GET /saml/finish": anybody,

	"GET /admin/custom-providers": admins, "POST /admin/custom-providers": admins, "GET /admin/custom-providers/{id}": admins,
	"PUT /admin/custom-providers/{id}": admins, "DELETE /admin/custom-providers/{id}": admins,
	"GET /admin/sso/providers": admins, "POST /admin/sso/providers": admins, "GET /admin/sso/providers/{id}": admins,
	"PUT /admin/sso/providers/{id}": admins, "DELETE /admin/sso/providers/{id}": admins,
	"GET /admin/users/{id}/providers": admins, "POST /admin/users/{id}/providers": admins, "GET /admin/users/{id}/providers/{provider}": admins,
	"PUT /admin/users/{id}/providers/{provider}": admins, "DELETE /admin/users/{id}/providers/{provider}": admins,
	"POST /admin/users/{id}/providers/{provider}/refresh": admins,

	"GET /sso/saml/metadata": nobodys, "GET /saml/metadata": nobodys, // without SAML
	"GET /user/identities/authorize": nobodys, "POST /factors": nobodys, "POST /factors/{id}/challenge": nobodys,
	"POST /factors/{id}/verify": nobodys, "DELETE /factors/{id}": nobodys, "GET /.well-known/openid-configuration": nobodys,
	"GET /.well-known/oauth-authorization-server": nobodys,
}

// declared is every route there is, each of which access must name.
func declared(t *testing.T) (list []string) {
	t.Helper()
	all := map[string]bool{"GET /health/live": true, "GET /health/ready": true} // which are no patterns
	for _, r := range mounted(t) {
		all[r[0]+" "+r[1]] = true
	}
	text, err := os.ReadFile("edges.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`"((?:GET|POST|PUT|PATCH|DELETE) /[^" ]*)"`).FindAllStringSubmatch(string(text), -1) {
		all[m[1]] = true
	}
	for r := range all {
		if access[r] == "" {
			t.Errorf("%s: nobody has said who may use it", r)
		}
	}
	for r := range access {
		if !all[r] {
			t.Errorf("%s is no route", r)
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// person is somebody who stands before a door: what they bring, and the rules by
// which they are let in.
type person struct {
	headers []string
	may     []string
}

// crowd is everybody who tries the doors of a tenant, by what they are.
type crowd struct {
	*server
	prefix string
	all    map[string]person
}

const accessSecret, otherSecret = "a-secret-of-the-operator-with-40-letters", "a-secret-of-another-tenant-40-letters-ok"

func issued(t *testing.T, key string, claims jwt.MapClaims) []string {
	t.Helper()
	return []string{bearer(sign(t, key, claims))}
}

// gather makes people of every kind in the server's default tenant and in a
// second one, and returns those who stand before the one's doors and the other's.
func gather(t *testing.T) (here, there *crowd) {
	t.Helper()
	s := start(t, "GOTRUE_JWT_SECRET="+accessSecret, "GATEHOUSE_RATE_LIMITS=off", "GOTRUE_SMTP_MAX_FREQUENCY=0s")
	s.do(201, "POST", "/admin/tenants", object{"name": "shop", "settings": object{"JWT_SECRET": otherSecret}}, bearer(operator))
	own := map[string]map[string]person{}
	for prefix, key := range map[string]string{"": accessSecret, "/t/shop": otherSecret} {
		add := func(email, role string) string {
			in := object{"email": email, "password": password, "email_confirm": true, "user_metadata": object{"role": "admin", "roles": []string{"service_role"}}}
			if role != "" {
				in["role"] = role
			}
			return s.do(200, "POST", prefix+"/admin/users", in, bearer(operator)).text("id")
		}
		grant := func(email string) string {
			return s.do(200, "POST", prefix+"/token?grant_type=password", object{"email": email, "password": password}).text("access_token")
		}
		add("ada@example.com", "")
		add("root@example.com", "admin")
		add("gone@example.com", "admin")
		ended := grant("gone@example.com")
		s.do(204, "POST", prefix+"/logout", nil, bearer(ended))
		user := grant("ada@example.com")
		forged := jwt.MapClaims(payload(t, user))
		forged["role"] = "service_role"
		hour := time.Now().Add(time.Hour).Unix()
		own[prefix] = map[string]person{
			"a user":           {[]string{bearer(user)}, []string{users}},
			"an administrator": {[]string{bearer(grant("root@example.com"))}, []string{users, admins}},
			"a service":        {issued(t, key, jwt.MapClaims{"role": "service_role", "exp": hour}), []string{admins}},
			"the operator":     {[]string{bearer(operator)}, []string{admins, operates}},
			// Whoever has the secret may speak for a user, but the role is the user's.
			"a user, by a token that claims a role": {issued(t, key, jwt.MapClaims{"sub": payload(t, user)["sub"], "aud": "authenticated", "role": "service_role", "exp": hour}), []string{users}},

			"the public key":                {append(issued(t, key, jwt.MapClaims{"role": "anon"}), "apikey: "+sign(t, key, jwt.MapClaims{"role": "anon"})), nil},
			"a token without a role":        {issued(t, key, jwt.MapClaims{"exp": hour}), nil},
			"an administrator who is gone":  {[]string{bearer(ended)}, nil},
			"a role signed elsewhere":       {issued(t, "some-other-secret-of-40-letters-0123456789", forged), nil},
			"a role that is a list":         {issued(t, key, jwt.MapClaims{"role": []string{"service_role"}, "exp": hour}), nil},
			"a role in another case":        {issued(t, key, jwt.MapClaims{"role": "Service_Role", "exp": hour}), nil},
			"a role in the metadata":        {issued(t, key, jwt.MapClaims{"role": "authenticated", "app_metadata": object{"roles": []string{"admin"}}, "exp": hour}), nil},
			"a service that is over":        {issued(t, key, jwt.MapClaims{"role": "service_role", "exp": time.Now().Add(-time.Minute).Unix()}), nil},
			"nobody":                        {nil, nil},
			"an empty bearer":               {[]string{"Authorization: Bearer "}, nil},
			"a key that is no bearer":       {[]string{"apikey: " + operator}, nil},
			"a cookie":                      {[]string{"Cookie: nf_jwt=" + operator + "; sb-access-token=" + operator}, nil},
			"the bearer of another header":  {[]string{"X-Authorization: Bearer " + operator, "Proxy-Authorization: Bearer " + operator}, nil},
			"the operator but for a letter": {[]string{bearer(operator[:len(operator)-1])}, nil},
		}
	}
	stand := func(prefix, other string) *crowd {
		c := &crowd{server: s, prefix: prefix, all: maps.Clone(own[prefix])}
		for name, p := range own[other] {
			if len(p.may) > 0 && !slices.Contains(p.may, operates) {
				c.all[name+", of the other tenant"] = person{p.headers, nil}
			}
		}
		return c
	}
	return stand("", "/t/shop"), stand("/t/shop", "")
}

// try makes a call as everybody, first as all who must be refused; the ids it
// names are nobody's.
func (c *crowd) try(t *testing.T, prefix, route, rule string) {
	t.Helper()
	method, path, _ := strings.Cut(route, " ")
	path = prefix + regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(strings.TrimSuffix(path, "{$}"), "00000000-0000-4000-8000-00000000abcd")
	var body any
	if method != "GET" {
		body = object{}
	}
	for _, welcome := range []bool{false, true} {
		for name, p := range c.all {
			if welcome != (rule == anybody || slices.Contains(p.may, rule)) {
				continue
			}
			a, err := c.ask(method, path, body, p.headers...)
			if err != nil {
				t.Fatal(err)
			}
			kept := a.status == http.StatusUnauthorized || a.status == http.StatusForbidden
			if rule == nobodys || rule == links {
				kept = a.status >= 400 && a.status < 500
			}
			if kept == welcome || a.status >= 500 || !welcome && strings.Contains(a.body, "example.com") {
				t.Errorf("%s %s, which is for %s, by %s: %d %.300s", method, path, rule, name, a.status, a.body)
			}
			if route == "POST /logout" && welcome { // it has ended all of theirs
				email := "ada@example.com"
				if name == "an administrator" {
					email = "root@example.com"
				}
				in := c.do(200, "POST", c.prefix+"/token?grant_type=password", object{"email": email, "password": password})
				c.renew(name, in.text("access_token"))
			}
		}
	}
}

// renew gives somebody whose session was ended another one.
func (c *crowd) renew(name, access string) {
	if name == "a user, by a token that claims a role" {
		name = "a user" // whose sessions it ended
	}
	c.all[name] = person{[]string{bearer(access)}, c.all[name].may}
}

// Every route has a rule, and everybody is tried at every route.
//
// Mission: U10, U14
func TestThreat_I10_everyRouteIsForThoseWhoMayUseItAndNobodyElse(t *testing.T) {
	t.Parallel()
	list := declared(t)
	if len(list) < 60 {
		t.Fatalf("only %d routes were found; do they look different now?", len(list))
	}
	here, there := gather(t)
	for _, route := range list {
		who := access[route]
		switch {
		case strings.Contains(route, " /instances"):
			continue // there are none here, see below
		case who == operates:
			here.try(t, "", route, who)
			here.try(t, "/auth/v1", route, who)
			continue
		}
		here.try(t, []string{"", "/auth/v1", "/.netlify/identity"}[len(route)%3], route, who)
		if !strings.HasPrefix(route, "GET /health/") && route != "GET /openapi.yaml" {
			there.try(t, "/t/shop", route, who)
		}
	}
	// Nobody was changed by anybody whom it is not for.
	n := here.do(200, "GET", "/admin/users", nil, bearer(operator))
	if list, _ := n.at("users").([]any); len(list) != 3 {
		t.Errorf("there are %d users now: %s", len(list), n.body)
	}
	here.do(404, "POST", "/instances", object{"uuid": "mine"}, bearer(operator))
	here.do(404, "GET", "/t/shop/admin/tenants", nil, bearer(operator)) // a tenant has none of its own
}

// The administrator of a tenant, by whatever right, has none over tenants.
func TestThreat_I04_noRoleOfATenantIsTheOperators(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_JWT_SECRET="+accessSecret, "GATEHOUSE_MULTIINSTANCEMODE=true")
	made := s.do(201, "POST", "/instances", object{"uuid": "one", "config": object{"jwt": object{"secret": otherSecret}}}, bearer(operator)).text("id")
	service := jwt.MapClaims{"role": "service_role", "exp": time.Now().Add(time.Hour).Unix()}
	for _, route := range slices.Sorted(maps.Keys(access)) {
		if access[route] != operates {
			continue
		}
		method, path, _ := strings.Cut(strings.ReplaceAll(route, "{id}", made), " ")
		for who, headers := range map[string][]string{
			"a service of the server's own tenant": issued(t, accessSecret, service),
			"a service of the instance":            issued(t, otherSecret, service),
			"a proxy's signature":                  {xnf(t, made, nil)},
			"the signature as a bearer":            {strings.Replace(xnf(t, made, nil), "X-Nf-Sign: ", "Authorization: Bearer ", 1)},
			"the public key":                       issued(t, otherSecret, jwt.MapClaims{"role": "anon"}),
			"nobody":                               nil,
		} {
			a, err := s.ask(method, path, object{"name": "mine", "uuid": "mine"}, headers...)
			if err != nil {
				t.Fatal(err)
			}
			if a.status != http.StatusUnauthorized && a.status != http.StatusForbidden {
				t.Errorf("%s %s by %s: %d %s", method, path, who, a.status, a.body)
			}
		}
	}
	s.do(200, "GET", "/instances/"+made, nil, bearer(operator))
	// And through the proxy an instance's own keys open that instance alone.
	two := s.do(201, "POST", "/instances", object{"uuid": "two"}, bearer(operator)).text("id")
	key := issued(t, otherSecret, service)[0]
	s.do(200, "GET", "/admin/users", nil, xnf(t, made, nil), key)
	s.do(403, "GET", "/admin/users", nil, xnf(t, two, nil), key)
	s.do(400, "GET", "/admin/users", nil, key)
	// Nothing but the health of the server is told without a signature, whatever a
	// path ends with.
	for _, prefix := range []string{"", "/auth/v1", "/.netlify/identity"} {
		s.do(200, "GET", prefix+"/health", nil)
	}
	for _, path := range []string{"/admin/users/health", "/dev/inbox/health", "/admin/webhooks/health", "/t/one/health", "/nothing/health"} {
		s.do(400, "GET", path, nil, bearer(operator))
	}
}

// A signature that a client slips past its proxy, beside the proxy's own or
// under another spelling, is not read.
func TestThreat_I12_aSignatureIsReadFromItsOneHeaderAlone(t *testing.T) {
	t.Parallel()
	s := start(t, "GATEHOUSE_MULTIINSTANCEMODE=true")
	one := s.do(201, "POST", "/instances", object{"uuid": "one"}, bearer(operator)).text("id")
	two := s.do(201, "POST", "/instances", object{"uuid": "two", "config": object{"disable_signup": true}}, bearer(operator)).text("id")
	a, b := strings.TrimPrefix(xnf(t, one, nil), "X-Nf-Sign: "), strings.TrimPrefix(xnf(t, two, nil), "X-Nf-Sign: ")
	get := func(lines ...string) (int, string) {
		t.Helper()
		return s.raw("GET /settings HTTP/1.1\r\nHost: auth.example\r\nConnection: close\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n")
	}
	for what, lines := range map[string][]string{
		"two":                       {"X-Nf-Sign: " + a, "X-Nf-Sign: " + b},
		"two in two cases":          {"x-nf-sign: " + a, "X-NF-SIGN: " + b},
		"two in one":                {"X-Nf-Sign: " + a + ", " + b},
		"with an underscore":        {"X_Nf_Sign: " + a},
		"with a blank":              {"X-Nf-Sign : " + a},
		"behind another header":     {"X-A: b", " X-Nf-Sign: " + a},
		"as a cookie":               {"Cookie: x-nf-sign=" + a},
		"as a bearer":               {"Authorization: Bearer " + a},
		"named for a proxy to drop": {"Connection: X-Nf-Sign"},
	} {
		if status, body := get(lines...); status != 400 {
			t.Errorf("%s: %d %s, want 400", what, status, body)
		}
	}
	status, body := s.raw("POST /signup HTTP/1.1\r\nHost: auth.example\r\nConnection: close\r\nContent-Type: application/json\r\nTrailer: X-Nf-Sign\r\n" +
		"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Nf-Sign: " + a + "\r\n\r\n")
	if status != 400 || !strings.Contains(body, "Operator microservice headers missing") {
		t.Errorf("in a trailer: %d %s", status, body)
	}
	for _, lines := range [][]string{{"X-Nf-Sign: " + b}, {"X-Nf-Sign: " + b, "X_Nf_Sign: " + a}, {"X-Nf-Sign: " + b, "X-Forwarded-Host: one", "X-Nf-Sign-2: " + a}} {
		if status, body := get(lines...); status != 200 || !strings.Contains(body, `"disable_signup":true`) {
			t.Errorf("%.40q: %d %s", lines, status, body)
		}
	}
}

// raw sends a request as it stands.
func (s *server) raw(request string) (status int, body string) {
	s.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	_, err = io.WriteString(c, request)
	if err != nil {
		s.t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// Whoever was an administrator is none from the moment their session, their role
// or their account ended, whatever their token says.
func TestThreat_I11_anAdministratorsTokenEndsWithTheirSession(t *testing.T) {
	t.Parallel()
	s := start(t)
	for what, end := range map[string]func(id, access, refresh string){
		"signed out":            func(_, access, _ string) { s.do(204, "POST", "/logout", nil, bearer(access)) },
		"signed out by another": func(id, _, _ string) { s.do(204, "DELETE", "/admin/users/"+id+"/sessions", nil, bearer(operator)) },
		"banned": func(id, _, _ string) {
			s.do(200, "PUT", "/admin/users/"+id, object{"ban_duration": "1h"}, bearer(operator))
		},
		"no administrator now": func(id, _, _ string) {
			s.do(200, "PUT", "/admin/users/"+id, object{"role": "authenticated"}, bearer(operator))
		},
		"given another password": func(id, _, _ string) {
			s.do(200, "PUT", "/admin/users/"+id, object{"password": "another horse battery"}, bearer(operator))
		},
		"deleted": func(id, _, _ string) { s.do(200, "DELETE", "/admin/users/"+id, nil, bearer(operator)) },
		"hidden": func(id, _, _ string) {
			s.do(200, "DELETE", "/admin/users/"+id, object{"should_soft_delete": true}, bearer(operator))
		},
		"robbed": func(_, _, refresh string) {
			next := s.refresh(200, refresh).text("refresh_token")
			s.refresh(200, s.refresh(200, next).text("refresh_token"))
			s.refresh(400, refresh)
		},
	} {
		email := strings.ReplaceAll(what, " ", ".") + "@example.com"
		id := s.person(email)
		s.do(200, "PUT", "/admin/users/"+id, object{"role": "admin"}, bearer(operator))
		in := s.signIn(email, password)
		access := in.text("access_token")
		s.do(200, "GET", "/admin/users", nil, bearer(access))
		end(id, access, in.text("refresh_token"))
		for _, route := range []string{"GET /admin/users", "POST /admin/users", "GET /admin/audit", "GET /admin/webhooks", "POST /invite", "POST /admin/generate_link"} {
			method, path, _ := strings.Cut(route, " ")
			a, err := s.ask(method, path, object{"email": "mine@example.com", "type": "magiclink"}, bearer(access))
			if err != nil || a.status != 403 && a.status != 401 {
				t.Errorf("%s by somebody %s: %d %s, %v", route, what, a.status, a.body, err)
			}
		}
	}
}

// An id below another's is nobody's: what is asked for must belong to what the
// path says, and to whoever asks.
func TestThreat_I01_anIDIsGoodOnlyBelowItsOwner(t *testing.T) {
	t.Parallel()
	s := start(t, "GATEHOUSE_OUTGOING_ALLOW_PRIVATE=true")
	type person struct{ id, access, session, identity string }
	of := func(email string) (p person) {
		p.id = s.person(email)
		p.access = s.signIn(email, password).text("access_token")
		p.session, _ = payload(t, p.access)["session_id"].(string)
		list, _ := s.do(200, "GET", "/user", nil, bearer(p.access)).at("identities").([]any)
		p.identity, _ = list[0].(object)["identity_id"].(string)
		return p
	}
	ada, eve := of("ada@example.com"), of("eve@example.com")
	hook := func() string {
		return s.do(201, "POST", "/admin/webhooks", object{"url": "http://127.0.0.1:9/" + t.Name(), "events": []string{"user.*"}, "disabled": true}, bearer(operator)).text("id")
	}
	mine, theirs := hook(), hook()
	for _, call := range []struct {
		want         int
		method, path string
		body         any
		token        string
	}{
		{404, "DELETE", "/sessions/" + ada.session, nil, eve.access},
		{404, "PATCH", "/sessions/" + ada.session, object{"name": "mine"}, eve.access},
		{0, "DELETE", "/user/identities/" + ada.identity, nil, eve.access},
		{404, "DELETE", "/admin/users/" + eve.id + "/sessions/" + ada.session, nil, operator},
		{404, "DELETE", "/admin/users/" + ada.session + "/sessions/" + ada.session, nil, operator},
		{404, "GET", "/admin/users/" + ada.session, nil, operator},
		{404, "GET", "/admin/users/" + mine, nil, operator},
		{404, "GET", "/admin/webhooks/" + ada.id, nil, operator},
		{404, "GET", "/admin/webhooks/" + ada.id + "/deliveries", nil, operator},
		{404, "POST", "/admin/webhooks/" + mine + "/deliveries/" + ada.id + "/replay", nil, operator},
		{404, "POST", "/admin/webhooks/" + mine + "/deliveries/" + theirs + "/replay", nil, operator},
	} {
		a, err := s.ask(call.method, call.path, call.body, bearer(call.token))
		if err != nil || a.status != call.want && call.want != 0 || a.status < 400 || a.status >= 500 {
			t.Errorf("%s %s: %d, want %d: %s, %v", call.method, call.path, a.status, call.want, a.body, err)
		}
	}
	// What a body says of whose it is changes nobody but who asks.
	s.do(200, "PUT", "/user", object{"id": ada.id, "user_id": ada.id, "data": object{"whose": "eve's"}}, bearer(eve.access))
	a := s.do(200, "GET", "/user", nil, bearer(ada.access))
	if a.at("user_metadata", "whose") != nil || a.text("id") != ada.id {
		t.Errorf("ada is %s", a.body)
	}
	if n := strings.Count(s.do(200, "GET", "/sessions", nil, bearer(eve.access)).body, ada.session); n != 0 {
		t.Error("eve is shown ada's session")
	}
}

// Whoever forges the place where a page begins, or the size of it, gets a
// reason and no rows but those of their own list.
func TestThreat_I09_aForgedPlaceInAListIsRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	for i := range 5 {
		s.person(fmt.Sprintf("u%d@example.com", i))
	}
	hook := s.do(201, "POST", "/admin/webhooks", object{"url": "https://hooks.example.com/x"}, bearer(operator)).text("id")
	evil := []string{
		"'", "' OR 1=1 --", "1; DROP TABLE users", "AAAA", "....", "%00", "\x00", "-1", "0", "1e9", "99999999999999999999", "0x10", "NaN", "[]", "{}",
		"00000000-0000-0000-0000-000000000000'", strings.Repeat("A", 4096), "MTcwMDAwMDAwMCAnIE9SIDE9MQ", "IA", "LTEgMA",
	}
	for _, list := range []struct{ path, param string }{
		{"/admin/users?limit=2", "cursor"},
		{"/admin/users?limit=2&sort=email", "cursor"},
		{"/admin/webhooks/" + hook + "/deliveries?limit=2", "cursor"},
		{"/admin/audit?per_page=2", "after"},
	} {
		for _, v := range evil {
			a, err := s.ask("GET", list.path+"&"+list.param+"="+url.QueryEscape(v), nil, bearer(operator))
			rows, _ := a.at("users").([]any) // a place by address may be any text
			if err != nil || a.status != 400 && (a.status != 200 || !strings.Contains(list.path, "sort=email") || len(rows) > 2) {
				t.Errorf("GET %s with %s %.40q: %d %s, %v", list.path, list.param, v, a.status, a.body, err)
			}
		}
	}
	for _, path := range []string{"/admin/users?per_page=", "/admin/users?page=", "/admin/users?limit=", "/admin/audit?per_page=", "/admin/audit?page=", "/admin/webhooks/" + hook + "/deliveries?limit=", "/admin/tenants?per_page="} {
		for _, v := range []string{"0", "-1", "1.5", "0x10", "99999999999999999999", "'", " 1", "+"} {
			a, err := s.ask("GET", path+url.QueryEscape(v), nil, bearer(operator))
			if err != nil || a.status != 400 {
				t.Errorf("GET %s%s: %d %s, %v", path, v, a.status, a.body, err)
			}
		}
		a, err := s.ask("GET", path+"1000000000", nil, bearer(operator))
		if err != nil || a.status != 200 {
			t.Errorf("GET %s1000000000: %d %s, %v", path, a.status, a.body, err)
		}
	}
	// A place in one order is none in another, and one list's place none in another list.
	place := s.do(200, "GET", "/admin/users?limit=2&sort=email", nil, bearer(operator)).text("pagination", "next_cursor")
	if place == "" {
		t.Fatal("there is no next page")
	}
	s.do(200, "GET", "/admin/users?limit=2&sort=email&cursor="+url.QueryEscape(place), nil, bearer(operator))
	s.do(400, "GET", "/admin/users?limit=2&sort=created_at&cursor="+url.QueryEscape(place), nil, bearer(operator))
	s.do(400, "GET", "/admin/webhooks/"+hook+"/deliveries?cursor="+url.QueryEscape(place), nil, bearer(operator))
}
