package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"gatehouse/internal/notify"
	"gatehouse/internal/storetest"
)

// entrance is a tenant as its clients reach it, through any of the nodes.
type entrance struct {
	t       *testing.T
	name    string
	tenant  string // what verbs call it; empty: the default one
	id      string
	nodes   []*server
	next    *atomic.Int64
	prefix  string
	headers []string
}

func (d entrance) ask(method, path string, body any, headers ...string) answer {
	d.t.Helper()
	s := d.nodes[int(d.next.Add(1))%len(d.nodes)]
	a, err := s.ask(method, d.prefix+path, body, append(slices.Clone(d.headers), headers...)...)
	if err != nil {
		d.t.Fatal(err)
	}
	return a
}

// do is ask that ends the test unless the answer has the status.
func (d entrance) do(status int, method, path string, body any, headers ...string) answer {
	d.t.Helper()
	a := d.ask(method, path, body, headers...)
	if a.status != status {
		d.t.Fatalf("%s: %s %s: got %d, want %d: %s", d.name, method, path, a.status, status, a.body)
	}
	return a
}

// mail waits for a mail of a kind to an address, whichever node delivered it.
func (d entrance) mail(to string, kind notify.Kind) (found notify.Received) {
	d.t.Helper()
	until(d.t, fmt.Sprintf("%s: %s to %s", d.name, kind, to), func() bool {
		for _, m := range d.inbox(to) {
			if m.Kind == kind && m.At.After(found.At) {
				found = m
			}
		}
		return !found.At.IsZero()
	})
	return found
}

func (d entrance) inbox(to string) (all []notify.Received) {
	d.t.Helper()
	if slices.Contains(d.headers, "Host: store.example") { // under which the inbox is not shown, as a page elsewhere could read it
		d.prefix, d.headers = "/t/store", nil
	}
	for range d.nodes { // which take turns
		var list []notify.Received
		err := json.Unmarshal([]byte(d.do(200, "GET", "/dev/inbox.json?to="+url.QueryEscape(to), nil).body), &list)
		if err != nil {
			d.t.Fatal(err)
		}
		all = append(all, list...)
	}
	return all
}

// secretOf is what a mail's link carries.
func secretOf(t *testing.T, m notify.Received) string {
	t.Helper()
	for _, link := range m.Links {
		u, err := url.Parse(link)
		if err == nil && u.Query().Get("token") != "" {
			return u.Query().Get("token")
		}
	}
	t.Fatalf("no link of the mail %s has a token: %q", m.Kind, m.Links)
	return ""
}

// loot is what somebody in a tenant has, and brings to another.
type loot struct {
	entrance                      entrance
	password                      string
	user, session                 string
	access, refresh               string // of ada
	root, rootID                  string // of an administrator
	service                       string
	recovery, code, magic, change string // of mails
	authCode, undo                string
	kid, issuer                   string
}

const (
	pkceVerifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" // RFC 7636, appendix B
	pkceChallenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	ada           = "ada@example.com"
)

// settle has people live in a tenant; the addresses are the same in all.
func (d entrance) settle(issue func(tenant string) string) *loot {
	d.t.Helper()
	l := &loot{entrance: d, password: "the password at " + d.name}
	l.user = d.do(200, "POST", "/signup", object{"email": ada, "password": l.password, "data": object{"home": d.name}}).text("id")
	in := d.do(200, "POST", "/verify", object{"type": "signup", "token_hash": secretOf(d.t, d.mail(ada, notify.Confirmation))})
	l.access, l.refresh = in.text("access_token"), in.text("refresh_token")
	claims := payload(d.t, l.access)
	l.session, l.issuer = fmt.Sprint(claims["session_id"]), fmt.Sprint(claims["iss"])
	if got := in.text("user", "id"); got != l.user {
		d.t.Fatalf("%s: the link signed %s in, want %s", d.name, got, l.user)
	}
	a := d.do(200, "POST", "/admin/users", object{"email": "root@example.com", "password": l.password, "email_confirm": true, "role": "admin"}, bearer(operator))
	l.rootID = a.text("id")
	l.root = d.do(200, "POST", "/token?grant_type=password", object{"email": "root@example.com", "password": l.password}).text("access_token")
	l.service = issue(d.tenant)

	l.undoable()
	d.do(200, "PUT", "/user", object{"email": "new@example.com"}, bearer(l.access))
	l.change = secretOf(d.t, d.mail("new@example.com", notify.EmailChange))
	d.do(200, "POST", "/otp", object{"email": ada, "code_challenge": pkceChallenge, "code_challenge_method": "s256"})
	a = d.do(303, "POST", "/verify", url.Values{"token": {secretOf(d.t, d.mail(ada, notify.MagicLink))}, "type": {"magiclink"}})
	u, err := url.Parse(a.header.Get("Location"))
	if err != nil || u.Query().Get("code") == "" {
		d.t.Fatalf("%s: the link leads to %s", d.name, a.header.Get("Location"))
	}
	l.authCode = u.Query().Get("code")
	d.do(200, "POST", "/otp", object{"email": "root@example.com"})
	l.magic = secretOf(d.t, d.mail("root@example.com", notify.MagicLink))
	d.do(200, "POST", "/recover", object{"email": ada})
	m := d.mail(ada, notify.Recovery)
	l.recovery, l.code = secretOf(d.t, m), m.Code
	keys, _ := d.do(200, "GET", "/.well-known/jwks.json", nil).at("keys").([]any)
	for _, k := range keys {
		l.kid += fmt.Sprint(k.(object)["kid"])
	}
	return l
}

// undoable has ada's password changed, which mails a way back.
func (l *loot) undoable() {
	l.entrance.t.Helper()
	l.entrance.do(200, "PUT", "/user", object{"password": l.password + "?"}, bearer(l.access))
	l.password += "?"
	l.undo = secretOf(l.entrance.t, l.entrance.mail(ada, notify.PasswordChanged))
}

// payload reads a token, unverified.
func payload(t *testing.T, token string) (claims object) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no token", token)
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(b, &claims)
	}
	if err != nil {
		t.Fatal(err)
	}
	return claims
}

// open are the routes that answer anybody, and what others do who own nothing.
var openRoutes = []string{
	"GET /health", "GET /settings", "GET /.well-known/jwks.json", "GET /", "POST /signup", "POST /token", "GET /verify", "POST /verify", "POST /recover", "POST /otp",
	"POST /magiclink", "POST /resend", "GET /captcha", "POST /captcha", "GET /captcha/pow.js",
	// The ways to accounts elsewhere and back, where no token counts; what does is of one tenant, see class F.
	"GET /authorize", "POST /authorize", "GET /callback", "POST /callback", "POST /sso", "GET /sso/start", "GET /sso/saml/acs", "POST /sso/saml/acs",
	"GET /sso/saml/finish", "GET /sso/saml/metadata", "POST /saml/acs", "GET /saml/finish", "GET /saml/metadata",
}

// routes are all of the edge that are described, but for those openRoutes and
// the operator's own.
func routes(t *testing.T) (list [][2]string) {
	t.Helper()
	b, err := os.ReadFile("../../api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	path := ""
	for line := range strings.Lines(string(b)) {
		if m := regexp.MustCompile(`^  (/\S*):$`).FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil {
			path = m[1]
		}
		if m := regexp.MustCompile(`^    (get|post|put|delete|patch):$`).FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil && path != "" {
			method := strings.ToUpper(m[1])
			if !slices.Contains(openRoutes, method+" "+path) && !strings.HasPrefix(path, "/instances") && !strings.HasPrefix(path, "/admin/tenants") {
				list = append(list, [2]string{method, path})
			}
		}
		if strings.HasPrefix(line, "components:") {
			break
		}
	}
	if len(list) < 20 {
		t.Fatalf("only %d routes were found: %v", len(list), list)
	}
	return list
}

// isolated holds that nothing of one tenant is good in another.
func isolated(t *testing.T, entrances []entrance, issue func(tenant string) string) {
	t.Helper()
	var all []*loot
	for _, d := range entrances {
		all = append(all, d.settle(issue))
	}
	list := routes(t)
	for _, l := range all {
		for _, other := range all {
			if other == l {
				continue
			}
			l.carry(other, list)
		}
	}
	for _, l := range all {
		l.still(all)
	}
}

// carry tries everything of l at another tenant's entrance.
func (l *loot) carry(other *loot, list [][2]string) {
	d := other.entrance
	t := d.t
	t.Helper()
	refused := func(what string, a answer) {
		t.Helper()
		if a.status < 400 || a.status == 500 || a.status == 429 {
			t.Errorf("%s of %s at %s: %d %s", what, l.entrance.name, d.name, a.status, a.body)
		}
		for _, x := range []string{l.user, l.session, l.rootID, l.entrance.name + `"`} {
			if strings.Contains(a.body, x) {
				t.Errorf("%s of %s at %s tells %s: %s", what, l.entrance.name, d.name, x, a.body)
			}
		}
	}
	multi := strings.HasPrefix(l.entrance.name, "instance") // all behind one address, which is their issuer unless JWT_ISSUER is set
	if l.user == other.user || l.kid == other.kid || l.issuer == other.issuer && !multi || l.session == other.session {
		t.Errorf("%s and %s share a user, a key, an issuer or a session: %q %q", l.entrance.name, d.name, []string{l.user, l.kid, l.issuer, l.session}, []string{other.user, other.kid, other.issuer, other.session})
	}
	for who, token := range map[string]string{"a user": l.access, "an administrator": l.root, "a service": l.service} {
		for _, r := range list {
			path := strings.NewReplacer("{id}", l.user, "{session}", l.session).Replace(r[1])
			a := d.ask(r[0], path, object{"email": "x@example.com", "type": "magiclink", "data": object{}}, bearer(token))
			if a.status != 401 && a.status != 403 && a.status != 404 {
				t.Errorf("%s %s with the token of %s of %s at %s: %d %s", r[0], path, who, l.entrance.name, d.name, a.status, a.body)
			}
			refused(r[0]+" "+path, a)
		}
	}
	refused("the refresh token", d.ask("POST", "/token?grant_type=refresh_token", object{"refresh_token": l.refresh}))
	refused("the password", d.ask("POST", "/token?grant_type=password", object{"email": ada, "password": l.password}))
	refused("the PKCE code", d.ask("POST", "/token?grant_type=pkce", object{"auth_code": l.authCode, "code_verifier": pkceVerifier}))
	refused("the recovery link", d.ask("POST", "/verify", object{"type": "recovery", "token_hash": l.recovery}))
	refused("the recovery code", d.ask("POST", "/verify", object{"type": "recovery", "email": "nobody-" + ada, "token": l.code}))
	refused("the magic link", d.ask("POST", "/verify", object{"type": "magiclink", "token_hash": l.magic}))
	refused("the change of address", d.ask("POST", "/verify", object{"type": "email_change", "token_hash": l.change}))
	refused("the change, by its user there", d.ask("PUT", "/user", object{"email_change_token": l.change}, bearer(other.access)))
	d.ask("POST", "/undo", url.Values{"token": {l.undo}})

	// Ids of one tenant are nobody's in another, for whoever asks.
	for _, token := range []string{operator, other.root, other.service} {
		for _, r := range [][2]string{
			{"GET", "/admin/users/" + l.user},
			{"PUT", "/admin/users/" + l.user},
			{"DELETE", "/admin/users/" + l.user},
			{"GET", "/admin/users/" + l.user + "/sessions"},
			{"DELETE", "/admin/users/" + l.user + "/sessions/" + l.session},
			{"DELETE", "/admin/users/" + other.user + "/sessions/" + l.session},
		} {
			refused(r[0]+" "+r[1], d.ask(r[0], r[1], object{"user_metadata": object{"home": "taken over"}, "ban_duration": "1h"}, bearer(token)))
		}
		for _, path := range []string{"/admin/users?per_page=1000", "/admin/audit?per_page=1000", "/admin/audit?filter=author:" + ada} {
			a := d.do(200, "GET", path, nil, bearer(token))
			if strings.Contains(a.body, l.user) || strings.Contains(a.body, l.rootID) || strings.Contains(a.body, l.session) {
				t.Errorf("GET %s at %s tells of %s: %s", path, d.name, l.entrance.name, a.body)
			}
			if !strings.Contains(a.body, other.user) && !strings.Contains(path, "filter") {
				t.Errorf("GET %s at %s does not tell of its own: %s", path, d.name, a.body)
			}
		}
	}
	refused("the session, ended by a user there", d.ask("DELETE", "/sessions/"+l.session, nil, bearer(other.access)))
}

// still holds that nothing of a tenant was changed or used up, and that each
// has its own mail.
func (l *loot) still(all []*loot) {
	d := l.entrance
	t := d.t
	t.Helper()
	for _, m := range d.inbox(ada) {
		for _, link := range m.Links {
			for _, other := range all {
				if strings.HasPrefix(link, other.issuer+"/") && other != l && len(other.issuer) > len(l.issuer) {
					t.Errorf("a mail of %s leads to %s: %s", d.name, other.entrance.name, link)
				}
			}
			if _, ok := strings.CutPrefix(link, l.issuer); !ok && len(d.nodes) == 1 {
				t.Errorf("a mail of %s leads to %s, want %s…", d.name, link, l.issuer)
			}
		}
	}
	kinds := map[notify.Kind]int{}
	for _, m := range d.inbox("root@example.com") {
		kinds[m.Kind]++
	}
	if kinds[notify.MagicLink] != 1 {
		t.Errorf("root of %s was mailed %v, want one link", d.name, kinds)
	}
	u := d.do(200, "GET", "/user", nil, bearer(l.access))
	if u.text("id") != l.user || u.text("user_metadata", "home") != d.name || u.text("email") != ada {
		t.Errorf("ada of %s is %s", d.name, u.body)
	}
	d.do(200, "POST", "/token?grant_type=refresh_token", object{"refresh_token": l.refresh})
	d.do(200, "POST", "/token?grant_type=password", object{"email": ada, "password": l.password})
	d.do(200, "POST", "/token?grant_type=pkce", object{"auth_code": l.authCode, "code_verifier": pkceVerifier})
	d.do(200, "POST", "/verify", object{"type": "magiclink", "token_hash": l.magic})
	if a := d.do(200, "POST", "/verify", object{"type": "recovery", "email": ada, "token": l.code}); a.text("user", "id") != l.user {
		t.Errorf("the code of %s signs in %s", d.name, a.body)
	}
	d.do(200, "GET", "/admin/users/"+l.user, nil, bearer(l.root))
	d.do(200, "GET", "/admin/users", nil, bearer(l.service))
}

// addTenant makes a tenant by the command line.
func (d database) addTenant(t *testing.T, args ...string) (id string) {
	t.Helper()
	out, err := d.do(t, nil, append([]string{"tenant", "add", "--json"}, args...)...)
	var made struct{ ID string }
	if err == nil {
		err = json.Unmarshal([]byte(out), &made)
	}
	if err != nil {
		t.Fatalf("tenant add %q: %v\n%s", args, err, out)
	}
	return made.ID
}

// issue returns what makes a service's tokens.
func (d database) issue(t *testing.T) func(tenant string) string {
	return func(tenant string) string {
		t.Helper()
		args := []string{"keys", "issue"}
		if tenant != "" {
			args = append([]string{"--tenant", tenant}, args...)
		}
		out, err := d.do(t, nil, args...)
		if err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(out)
	}
}

// tenantSettings keep the limits of one client out of the way.
var tenantSettings = []string{"GATEHOUSE_SMTP_MAX_FREQUENCY=0s", "GATEHOUSE_RATE_LIMIT_OTP=100000", "GATEHOUSE_RATE_LIMIT_VERIFY=100000", "GATEHOUSE_RATE_LIMIT_TOKEN_REFRESH=100000", "GATEHOUSE_PASSWORD_TRIES_FREE=50"}

// entrancesOf are the default tenant and two more, over nodes of one database.
func entrancesOf(t *testing.T, d database, n int) []entrance {
	t.Helper()
	var nodes []*server
	for range n {
		nodes = append(nodes, start(t, d.settings(tenantSettings...)...))
	}
	shop := d.addTenant(t, "shop")
	store := d.addTenant(t, "store", "--host", "store.example")
	list := []entrance{
		{name: "the default", nodes: nodes},
		{name: "the shop", tenant: "shop", id: shop, prefix: "/t/shop", nodes: nodes},
		{name: "the store", tenant: "store", id: store, headers: []string{"Host: store.example"}, nodes: nodes},
	}
	for i := range list {
		list[i].t, list[i].next = t, new(atomic.Int64)
		for range nodes {
			until(t, list[i].name+" to be reached", func() bool {
				a := list[i].ask("GET", "/.well-known/jwks.json", nil)
				return a.status == 200 && (list[i].id == "" || a.body != list[0].ask("GET", "/.well-known/jwks.json", nil).body)
			})
		}
	}
	return list
}

// Mission: U14
func TestThreat_I01_nothingOfOneTenantIsGoodInAnother(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t *testing.T, d database) { isolated(t, entrancesOf(t, d, 1), d.issue(t)) })
}

// Mission: U14
func TestThreat_I01_norOnAnyOfThreeNodes(t *testing.T) {
	t.Parallel()
	if !slices.Contains(storetest.Engines(), "postgres") {
		t.Skip("PostgreSQL is not tested")
	}
	d := database{"postgres", storetest.MigratedURL(t, "postgres")}
	isolated(t, entrancesOf(t, d, 3), d.issue(t))
}

// xnf is the header of a proxy that speaks for an instance.
func xnf(t *testing.T, id string, more jwt.MapClaims) string {
	t.Helper()
	claims := jwt.MapClaims{"id": id}
	for k, v := range more {
		claims[k] = v
	}
	s, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(operator))
	if err != nil {
		t.Fatal(err)
	}
	return "X-Nf-Sign: " + s
}
